/* sim_check.c - what a scenario asks of all nodes at once. See sim.h. */
#include "sim/sim_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------ followed events */

void sim_broadcast(struct sim *s, uint32_t node, const char *text)
{
    struct sim_node *n = s->nodes[node];
    argus_Event e = argus_Event_init_zero;
    uint64_t hlc, number;
    struct event ev = {
        .type = EVENT_NOTICE,
        .notice = {
            .event = &e, .always = true, .hlc = &hlc, .number = &number}};

    e.severity = argus_Severity_SEVERITY_WARNING;
    (void)snprintf(e.node, sizeof e.node, "n%u", node);
    (void)snprintf(e.message, sizeof e.message, "%s", text);
    if ((s->followed_count & (s->followed_count - 1)) == 0) {
        size_t room = s->followed_count == 0 ? 1 : 2 * s->followed_count;
        s->followed = realloc(s->followed, room * sizeof *s->followed);
        if (s->followed == NULL)
            abort();
    }
    /* The followed event must be known before it is delivered here. */
    struct followed *f = &s->followed[s->followed_count];
    memset(f, 0, sizeof *f);
    f->origin = node;
    f->generation = n->generation;
    f->sent_us = s->now_us;
    f->nodes = s->nodes_count;
    f->life = sim_alloc(s->nodes_count * sizeof *f->life);
    f->life[node] = n->life + 1;
    sim_step(s, n, &ev);
    f->number = number;
    if (hlc == 0) {
        sim_fail(s, "n%u: an event was refused", node);
        free(f->life);
        return;
    }
    s->followed_count++;
}

void check_timeline(struct sim *s, struct sim_node *n, const struct action *a)
{
    uint64_t index;

    memcpy(&index, a->event.origin->bytes + 8, 8);
    for (uint32_t i = s->followed_count; i-- > 0;) {
        struct followed *f = &s->followed[i];
        if (f->origin + 1 != index || f->number != a->event.event->number ||
            f->generation != a->event.event->generation)
            continue;
        if (n->index >= f->nodes)
            return;
        if (f->life[n->index] == n->life + 1)
            sim_fail(s, "n%u: event %u was delivered twice", n->index, i);
        f->life[n->index] = n->life + 1;
        return;
    }
}

bool sim_all_delivered(struct sim *s)
{
    for (uint32_t i = 0; i < s->followed_count; i++) {
        const struct followed *f = &s->followed[i];
        for (uint32_t j = 0; j < f->nodes; j++) {
            const struct sim_node *n = s->nodes[j];
            if (sim_is_alive(s, j) && n->started_us <= f->sent_us &&
                f->life[j] != n->life + 1)
                return false;
        }
    }
    return true;
}

void sim_forget(struct sim *s)
{
    for (uint32_t i = 0; i < s->followed_count; i++)
        free(s->followed[i].life);
    free(s->followed);
    s->followed = NULL;
    s->followed_count = 0;
}

void check_free(struct sim *s)
{
    sim_forget(s);
}

/* ---------------------------------------------------------- the overlay */

static uint32_t index_of(const struct node_id *id)
{
    uint64_t index;
    memcpy(&index, id->bytes + 8, 8);
    return (uint32_t)index - 1;
}

/* Does the other end hold this link active too? Both ends of a link have the
 * same number but for the lowest bit. */
static bool is_mutual(const struct sim *s, const struct membership_peer *p)
{
    uint32_t peer = index_of(&p->id);
    return sim_is_alive(s, peer) &&
           membership_is_active_link(s->nodes[peer]->engine->membership,
                                     p->link ^ 1);
}

static uint32_t reach(struct sim *s, uint32_t from, uint8_t *seen)
{
    uint32_t *queue = sim_alloc(s->nodes_count * sizeof *queue);
    uint32_t head = 0, tail = 0;
    struct membership_peer p;

    queue[tail++] = from;
    seen[from] = 1;
    while (head < tail) {
        const struct sim_node *n = s->nodes[queue[head++]];
        for (uint32_t i = 0; membership_active(n->engine->membership, i, &p);
             i++) {
            uint32_t peer = index_of(&p.id);
            if (!seen[peer] && is_mutual(s, &p)) {
                seen[peer] = 1;
                queue[tail++] = peer;
            }
        }
    }
    free(queue);
    return tail;
}

bool sim_is_connected(struct sim *s)
{
    uint32_t first = 0;
    while (first < s->nodes_count && !sim_is_alive(s, first))
        first++;
    if (first == s->nodes_count || s->starts_pending > 0)
        return false;
    uint8_t *seen = sim_alloc(s->nodes_count);
    uint32_t reached = reach(s, first, seen);
    free(seen);
    return reached == sim_alive_count(s);
}

bool sim_is_symmetric(struct sim *s)
{
    struct membership_peer p;

    for (uint32_t j = 0; j < s->nodes_count; j++) {
        if (!sim_is_alive(s, j))
            continue;
        const struct sim_node *n = s->nodes[j];
        for (uint32_t i = 0; membership_active(n->engine->membership, i, &p);
             i++)
            if (!s->nodes[index_of(&p.id)]->is_hostile && !is_mutual(s, &p))
                return false;
    }
    return true;
}

bool sim_all_joined(struct sim *s)
{
    return sim_is_connected(s) && sim_is_symmetric(s);
}

bool sim_all_known(struct sim *s)
{
    uint32_t alive = sim_alive_count(s);

    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (sim_is_alive(s, i) &&
            directory_count(s->nodes[i]->engine->directory,
                            argus_MemberState_MEMBER_ONLINE) != alive)
            return false;
    return alive > 0 && s->starts_pending == 0;
}

/* --------------------------------------------------------------- figures */

void sim_figures(struct sim *s, struct sim_figures *out)
{
    uint32_t alive = 0;
    uint64_t links = 0;

    memset(out, 0, sizeof *out);
    out->events = s->events;
    out->frames = s->frames;
    out->links_cut = s->links_cut;
    out->active_min = UINT32_MAX;
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        if (!sim_is_alive(s, i))
            continue;
        const struct engine *e = s->nodes[i]->engine;
        const struct plumtree_stats *tree = plumtree_stats(e->plumtree);
        uint32_t active = membership_active_count(e->membership);

        alive++;
        links += active;
        if (active < out->active_min)
            out->active_min = active;
        if (active > out->active_max)
            out->active_max = active;
        out->gossip_delivered += tree->gossip_delivered;
        out->gossip_duplicate += tree->gossip_duplicate;
    }
    if (alive > 0)
        out->active_mean = (double)links / alive;
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
    struct engine_counter counters[256];
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->nodes_count; i++) {
        if (s->nodes[i]->engine == NULL || s->nodes[i]->is_hostile)
            continue;
        uint32_t count =
            engine_counters(s->nodes[i]->engine, counters,
                            (uint32_t)(sizeof counters / sizeof counters[0]));
        for (uint32_t j = 0; j < count; j++)
            if (strcmp(counters[j].name, name) == 0)
                sum += counters[j].value;
    }
    return sum;
}
