/* sim_measure.c - figures. See sim.h. */
#include "sim/sim_graph.h"
#include "sim/sim_impl.h"

#include <stdlib.h>
#include <string.h>

static void count_degrees(const struct graph *g, struct sim_shape *out)
{
    for (uint32_t i = 0; i < g->nodes; i++) {
        uint32_t degree = g->starts[i + 1] - g->starts[i];
        out->degree[degree < SIM_DEGREES ? degree : SIM_DEGREES - 1]++;
    }
    if (g->nodes > 0)
        out->degree_mean = (double)g->starts[g->nodes] / g->nodes;
}

/* Whoever holds a node active counts, though the node may not hold him. */
static void count_in_degrees(struct sim *s, struct sim_shape *out)
{
    uint32_t *in = sim_alloc((s->nodes_count + 1) * sizeof *in);
    struct sim_node *other;
    struct sim_peer p;

    for (uint32_t i = 0; i < s->alive_count; i++)
        for (uint32_t j = 0; node_active(s->nodes[s->alive[i]], j, &p); j++) {
            (void)check_is_mutual(s, &p, &other);
            if (other != NULL)
                in[other->index]++;
        }
    for (uint32_t i = 0; i < s->alive_count; i++) {
        uint32_t degree = in[s->alive[i]];
        out->in_degree[degree < SIM_DEGREES ? degree : SIM_DEGREES - 1]++;
    }
    free(in);
}

void sim_shape(struct sim *s, uint32_t sources, struct sim_shape *out)
{
    struct graph g;
    struct graph_paths paths;
    struct prng prng;

    memset(out, 0, sizeof *out);
    prng_seed(&prng, s->options.seed); /* a look changes nothing */
    check_graph(s, &g, &out->one_sided, &out->cross_zone);
    out->cross_zone /= 2;
    out->nodes = g.nodes;
    out->islands = graph_islands(&g, NULL, &out->largest);
    graph_paths(&g, &prng, sources, &paths);
    out->path_mean = paths.mean;
    out->hops_max_mean = paths.longest_mean;
    out->hops_max = paths.longest;
    out->clustering = graph_clustering(&g);
    count_degrees(&g, out);
    count_in_degrees(s, out);
    check_graph_free(&g);
}

static int by_amount(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* What the nodes say of their own clocks, against what those are. */
static void judge_estimates(struct sim *s, struct sim_clocks *out)
{
    double *errors = calloc(s->alive_count + 1, sizeof *errors);

    for (uint32_t i = 0; errors != NULL && i < s->alive_count; i++) {
        const struct sim_node *n = s->nodes[s->alive[i]];
        int64_t error = sim_clock_error(s, n->index);
        struct overlay *o = node_overlay(n);
        struct clock_view v;

        const struct clock_stats *stats = clock_stats(overlay_clock(o));

        clock_view(overlay_clock(o), overlay_reading(o), &v);
        out->stepped += stats->step_seen > 0;
        out->drifting += v.is_drifting;
        out->drift_false += v.is_drifting && !(n->drift < 0 || n->drift > 0);
        if (error > 500000 || error < -500000) {
            out->wrong++;
            out->missed += v.state != CLOCK_ALARMED;
            continue;
        }
        out->false_alarms += v.state == CLOCK_ALARMED;
        out->false_ever += stats->alarm_raised > 0;
        errors[out->right++] = v.offset_us > error
                                   ? (double)(v.offset_us - error)
                                   : (double)(error - v.offset_us);
    }
    if (errors != NULL && out->right > 0) {
        qsort(errors, out->right, sizeof *errors, by_amount);
        out->estimate_median = errors[out->right / 2];
        out->estimate_p99 = errors[(uint64_t)out->right * 99 / 100];
    }
    free(errors);
}

void sim_clocks(struct sim *s, struct sim_clocks *out)
{
    double sum = 0;

    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < s->alive_count; i++) {
        const struct sim_node *n = s->nodes[s->alive[i]];
        int64_t error = sim_clock_error(s, n->index);
        int64_t ahead = (int64_t)(hlc_to_us(node_hlc(s, n)) -
                                  (SIM_WALL_START_US + s->now_us));
        sum += (double)ahead;
        if (i == 0 || ahead > out->hlc_ahead_max)
            out->hlc_ahead_max = ahead;
        if (error < 0)
            error = -error;
        if (error > out->error_max)
            out->error_max = error;
    }
    if (s->alive_count > 0)
        out->hlc_ahead_mean = sum / s->alive_count;
    judge_estimates(s, out);
}

void sim_figures(struct sim *s, struct sim_figures *out)
{
    uint64_t links = 0;

    memset(out, 0, sizeof *out);
    out->events = s->events;
    out->frames = s->frames;
    out->links_cut = s->links_cut;
    out->active_min = UINT32_MAX;
    for (uint32_t i = 0; i < s->alive_count; i++) {
        const struct sim_node *n = s->nodes[s->alive[i]];
        const struct plumtree_stats *tree = plumtree_stats(node_tree(n));
        uint32_t active = node_active_count(n);

        links += active;
        if (active < out->active_min)
            out->active_min = active;
        if (active > out->active_max)
            out->active_max = active;
        out->gossip_delivered += tree->gossip_delivered;
        out->gossip_duplicate += tree->gossip_duplicate;
    }
    if (s->alive_count > 0)
        out->active_mean = (double)links / s->alive_count;
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        const uint64_t *bytes = s->nodes[i]->bytes_sent;
        out->bytes_mesh += bytes[argus_LinkKind_LINK_MESH];
        out->bytes_sync += bytes[argus_LinkKind_LINK_SYNC];
        out->bytes_bundle += bytes[argus_LinkKind_LINK_BUNDLE];
    }
    values_figures(s, &out->values_sent, &out->values_written);
}

uint64_t sim_counter(struct sim *s, const char *name)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (!s->nodes[i]->is_hostile)
            sum += node_counter(s->nodes[i], name);
    return sum;
}
