/* sim_check.c - what must always hold, and what a scenario asks of all nodes at
 * once. See sim.h. */
#include "sim/sim_graph.h"
#include "sim/sim_hash.h"
#include "sim/sim_impl.h"

#include <stdlib.h>
#include <string.h>

/* As in plumtree_defaults(). */
#define SEEN_MAX 65536
#define MISSING_MAX 8192
#define CACHE_BYTES_MAX (8u << 20)

/* A handshake that was cut short leaves a link that one end alone holds; pings
 * find that out: three of them (AUDIT_MISSES_MAX), or silence. Beside that an
 * accepted link may wait for 5 s. */
#define ONE_SIDED_PINGS 4
#define ONE_SIDED_SLACK_MS 6000

/* ------------------------------------------------------------ one node */

static bool is_among(const struct node_id *ids, uint32_t count,
                     const struct node_id *id)
{
    for (uint32_t i = 0; i < count; i++)
        if (node_id_is_equal(&ids[i], id))
            return true;
    return false;
}

static void check_views(struct sim *s, struct sim_node *n)
{
    struct node_id active[MEMBERSHIP_NEIGHBORS_MAX];
    bool is_bounded = n->active_bound > 0;
    uint32_t count = 0;
    struct sim_peer p;

    if (is_bounded && (node_active_count(n) > n->active_bound ||
                       node_passive_count(n) > n->passive_bound))
        sim_fail(s, "n%u: its views hold %u and %u", n->index,
                 node_active_count(n), node_passive_count(n));
    for (uint32_t i = 0; node_active(n, i, &p); i++) {
        if (i >= MEMBERSHIP_NEIGHBORS_MAX || is_among(&n->id, 1, &p.id) ||
            is_among(active, count, &p.id)) {
            sim_fail(s, "n%u: it, or somebody twice, is in its active view",
                     n->index);
            return;
        }
        active[count++] = p.id;
    }
    for (uint32_t i = 0; node_passive(n, i, &p); i++)
        if (is_among(&n->id, 1, &p.id) ||
            (is_bounded && is_among(active, count, &p.id)))
            sim_fail(s, "n%u: it, or a neighbor, is in its passive view",
                     n->index);
}

static void check_tables(struct sim *s, struct sim_node *n)
{
    struct plumtree_usage u;

    plumtree_usage(node_tree(n), &u);
    if (u.seen > SEEN_MAX || u.missing > MISSING_MAX ||
        u.cache_bytes > CACHE_BYTES_MAX)
        sim_fail(s, "n%u: its tables hold %u, %u and %u", n->index, u.seen,
                 u.missing, u.cache_bytes);
    if (u.neighbors != node_active_count(n))
        sim_fail(s, "n%u: its tree has %u neighbors, its view %u", n->index,
                 u.neighbors, node_active_count(n));
}

void check_node(struct sim *s, struct sim_node *n)
{
    if (n->is_hostile)
        return;
    check_views(s, n);
    check_tables(s, n);
}

/* ------------------------------------------------------------ the mesh */

bool check_is_mutual(const struct sim *s, const struct sim_peer *p,
                     struct sim_node **peer)
{
    const struct cable *c = simnet_find(s, p->link);

    if (peer != NULL)
        *peer = NULL;
    if (c == NULL)
        return false;
    struct sim_node *other = s->nodes[c->side[!(p->link & 1)].node];
    if (peer != NULL)
        *peer = other;
    return sim_is_alive(s, other->index) && node_holds(other, p->link ^ 1);
}

static bool is_excused(const struct sim *s, const struct sim_node *n)
{
    return n->is_hostile || n->slow_us > 0 || s->now_us < n->frozen_until_us;
}

static void check_sides(struct sim *s, struct sim_node *n, uint64_t limit_us)
{
    struct sim_node *other;
    struct sim_peer p;

    for (uint32_t i = 0; node_active(n, i, &p); i++) {
        struct cable *c = simnet_find(s, p.link);
        if (c == NULL)
            continue;
        if (check_is_mutual(s, &p, &other) || other == NULL) {
            c->one_sided_us = 0;
            continue;
        }
        if (c->one_sided_us == 0)
            c->one_sided_us = s->now_us;
        uint64_t from_us = c->one_sided_us;
        if (s->fault_us > from_us)
            from_us = s->fault_us;
        if (!s->is_parted && s->now_us > from_us + limit_us &&
            !is_excused(s, n) && !is_excused(s, other))
            sim_fail(s, "n%u holds a link to n%u that n%u does not", n->index,
                     other->index, other->index);
    }
}

/* The overlay of the living as a graph; its nodes are in the order of s->alive.
 * *one_sided and *cross may be NULL. */
void check_graph(struct sim *s, struct graph *out, uint32_t *one_sided,
                 uint32_t *cross)
{
    struct sim_node *other;
    struct sim_peer p;
    uint32_t edges = 0, room = 0;

    *out = (struct graph){.nodes = s->alive_count};
    out->starts = sim_alloc((s->alive_count + 1) * sizeof *out->starts);
    for (uint32_t i = 0; i < s->alive_count; i++) {
        const struct sim_node *n = s->nodes[s->alive[i]];
        out->starts[i] = edges;
        for (uint32_t j = 0; node_active(n, j, &p); j++) {
            if (!check_is_mutual(s, &p, &other)) {
                if (one_sided != NULL && (other == NULL || !other->is_hostile))
                    ++*one_sided;
                continue;
            }
            if (cross != NULL)
                *cross += other->zone != n->zone;
            if (edges == room) {
                room = room == 0 ? 1024 : 2 * room;
                out->ends = realloc(out->ends, room * sizeof *out->ends);
                if (out->ends == NULL)
                    abort();
            }
            out->ends[edges++] = other->alive_at;
        }
    }
    out->starts[s->alive_count] = edges;
}

void check_graph_free(struct graph *g)
{
    free(g->starts);
    free(g->ends);
}

/* Who is of one island, for the light nodes. */
static void note_islands(struct sim *s)
{
    struct graph g;
    uint32_t largest;

    check_graph(s, &g, NULL, NULL);
    uint32_t *island = sim_alloc((g.nodes + 1) * sizeof *island);
    (void)graph_islands(&g, island, &largest);
    for (uint32_t i = 0; i < g.nodes; i++)
        s->nodes[s->alive[i]]->island = s->alive[island[i]];
    free(island);
    check_graph_free(&g);
}

void check_mesh(struct sim *s)
{
    const struct sim_options *o = &s->options;
    uint64_t limit_us = ((uint64_t)ONE_SIDED_PINGS * o->ping_ms +
                         o->suspect_ms + ONE_SIDED_SLACK_MS) *
                        1000;

    s->check_at_us +=
        (uint64_t)(o->check_ms > 0 ? o->check_ms : o->shuffle_ms) * 1000;
    for (uint32_t i = 0; i < s->alive_count && !s->is_failed; i++) {
        struct sim_node *n = s->nodes[s->alive[i]];
        check_node(s, n);
        check_sides(s, n, limit_us);
    }
    if (o->overlay_only)
        note_islands(s);
}

/* ---------------------------------------------------------- predicates */

bool sim_is_connected(struct sim *s)
{
    struct graph g;
    uint32_t largest;

    if (s->alive_count == 0 || s->starts_pending > 0)
        return false;
    check_graph(s, &g, NULL, NULL);
    bool is_one = graph_islands(&g, NULL, &largest) == 1;
    check_graph_free(&g);
    return is_one;
}

bool sim_is_symmetric(struct sim *s)
{
    struct sim_node *other;
    struct sim_peer p;

    for (uint32_t j = 0; j < s->alive_count; j++)
        for (uint32_t i = 0; node_active(s->nodes[s->alive[j]], i, &p); i++)
            if (!check_is_mutual(s, &p, &other) &&
                (other == NULL || !other->is_hostile))
                return false;
    return true;
}

bool sim_all_joined(struct sim *s)
{
    return s->starts_pending == 0 && sim_is_symmetric(s) && sim_is_connected(s);
}

bool sim_all_known(struct sim *s)
{
    bool is_parted = s->is_parted && !s->is_one_way;
    uint32_t there[2] = {0, 0}; /* on either side */

    for (uint32_t i = 0; i < s->alive_count; i++)
        there[is_parted ? s->nodes[s->alive[i]]->side : 0]++;
    for (uint32_t i = 0; i < s->alive_count; i++) {
        const struct sim_node *n = s->nodes[s->alive[i]];
        if (n->engine != NULL &&
            directory_count(n->engine->directory,
                            argus_MemberState_MEMBER_ONLINE) !=
                there[is_parted ? n->side : 0])
            return false;
    }
    return s->alive_count > 0 && s->starts_pending == 0;
}

/* In whatever order the members came: a sum. */
static uint64_t directory_digest(const struct directory *d)
{
    const struct member *m;
    uint64_t sum = 0;

    for (uint32_t i = 0; (m = directory_member(d, i)) != NULL; i++) {
        uint64_t one = sim_hash64(m->id.bytes, sizeof m->id.bytes, 11);
        if (m->packed != NULL)
            one = sim_hash64(m->packed, m->packed_size, one);
        if (m->report != NULL)
            one = sim_hash64(m->report->packed, m->report->packed_size, one);
        sum += one;
    }
    return sum;
}

/* In order, byte for byte. */
static uint64_t timeline_digest(const struct timeline *t)
{
    uint8_t packed[SEALED_SIZE_MAX];
    uint64_t digest = 13;

    for (uint32_t i = 0; i < timeline_count(t); i++) {
        size_t size = timeline_packed(t, i, packed, sizeof packed);
        digest = sim_hash64(packed, size, digest);
    }
    return digest;
}

bool sim_all_timelines(struct sim *s)
{
    uint64_t first = 0;

    for (uint32_t i = 0; i < s->alive_count; i++) {
        const struct engine *e = s->nodes[s->alive[i]]->engine;
        if (e == NULL)
            return false; /* light nodes keep none */
        uint64_t digest = timeline_digest(e->timeline);
        if (i == 0)
            first = digest;
        else if (digest != first)
            return false;
    }
    return s->alive_count > 0;
}

bool sim_all_identical(struct sim *s)
{
    uint64_t first = 0;

    for (uint32_t i = 0; i < s->alive_count; i++) {
        const struct engine *e = s->nodes[s->alive[i]]->engine;
        if (e == NULL)
            return false; /* light nodes replicate nothing */
        uint64_t digest = directory_digest(e->directory);
        if (i == 0)
            first = digest;
        else if (digest != first)
            return false;
    }
    return sim_all_timelines(s) && sim_all_bundles(s);
}
