/* sim_graph.c - see sim_graph.h. Shortest paths by breadth-first search. */
#include "sim/sim_graph.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FAR UINT32_MAX

static uint32_t *take(uint32_t count)
{
    uint32_t *p = malloc(((size_t)count + 1) * sizeof *p);
    if (p == NULL)
        abort();
    return p;
}

/* @param hops  all FAR, but where it was reached before; @param queue  those
 *  that are reached, nearest first. @return their number. */
static uint32_t search(const struct graph *g, uint32_t from, uint32_t *hops,
                       uint32_t *queue)
{
    uint32_t head = 0, tail = 0;

    hops[from] = 0;
    queue[tail++] = from;
    while (head < tail) {
        uint32_t at = queue[head++];
        for (uint32_t e = g->starts[at]; e < g->starts[at + 1]; e++) {
            uint32_t to = g->ends[e];
            if (hops[to] != FAR)
                continue;
            hops[to] = hops[at] + 1;
            queue[tail++] = to;
        }
    }
    return tail;
}

/* The first `count` of a random order of all nodes. */
static uint32_t *draw(struct prng *prng, uint32_t nodes, uint32_t count)
{
    uint32_t *drawn = take(nodes);

    for (uint32_t i = 0; i < nodes; i++)
        drawn[i] = i;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = i + prng_below(prng, nodes - i);
        uint32_t swap = drawn[i];
        drawn[i] = drawn[j];
        drawn[j] = swap;
    }
    return drawn;
}

void graph_paths(const struct graph *g, struct prng *prng, uint32_t sources,
                 struct graph_paths *out)
{
    uint64_t sum = 0, pairs = 0, longest_sum = 0;

    memset(out, 0, sizeof *out);
    if (g->nodes == 0)
        return;
    if (sources == 0 || sources > g->nodes)
        sources = g->nodes;
    uint32_t *drawn = draw(prng, g->nodes, sources);
    uint32_t *hops = take(g->nodes), *queue = take(g->nodes);
    for (uint32_t i = 0; i < sources; i++) {
        memset(hops, 0xff, g->nodes * sizeof *hops);
        uint32_t reached = search(g, drawn[i], hops, queue);
        uint32_t longest = hops[queue[reached - 1]];
        for (uint32_t j = 0; j < reached; j++)
            sum += hops[queue[j]];
        pairs += reached - 1;
        longest_sum += longest;
        if (longest > out->longest)
            out->longest = longest;
    }
    if (pairs > 0)
        out->mean = (double)sum / (double)pairs;
    out->longest_mean = (double)longest_sum / sources;
    free(drawn);
    free(hops);
    free(queue);
}

static bool has_edge(const struct graph *g, uint32_t a, uint32_t b)
{
    for (uint32_t e = g->starts[a]; e < g->starts[a + 1]; e++)
        if (g->ends[e] == b)
            return true;
    return false;
}

static double clustering_at(const struct graph *g, uint32_t node)
{
    uint32_t first = g->starts[node], end = g->starts[node + 1];
    uint32_t degree = end - first, edges = 0;

    for (uint32_t i = first; i < end; i++)
        for (uint32_t j = i + 1; j < end; j++)
            edges += has_edge(g, g->ends[i], g->ends[j]);
    return 2.0 * edges / ((double)degree * (degree - 1));
}

double graph_clustering(const struct graph *g)
{
    double sum = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < g->nodes; i++) {
        if (g->starts[i + 1] - g->starts[i] < 2)
            continue;
        sum += clustering_at(g, i);
        count++;
    }
    return count > 0 ? sum / count : 0;
}

uint32_t graph_islands(const struct graph *g, uint32_t *island,
                       uint32_t *largest)
{
    uint32_t *hops = take(g->nodes), *queue = take(g->nodes);
    uint32_t islands = 0;

    *largest = 0;
    memset(hops, 0xff, g->nodes * sizeof *hops);
    for (uint32_t i = 0; i < g->nodes; i++) {
        if (hops[i] != FAR)
            continue;
        uint32_t reached = search(g, i, hops, queue);
        islands++;
        if (reached > *largest)
            *largest = reached;
        for (uint32_t j = 0; island != NULL && j < reached; j++)
            island[queue[j]] = i;
    }
    free(hops);
    free(queue);
    return islands;
}
