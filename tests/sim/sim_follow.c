/* sim_follow.c - broadcasts that are followed on their way. See sim.h.
 *
 * A broadcast is known by its content id: so its payloads can be counted where
 * they are sent, whatever node sends them. */
#include "sim/sim_impl.h"
#include "sim/sim_hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Who made an event, and which of his. */
struct event_key {
    uint64_t number;
    struct node_id origin;
    uint32_t generation, zero;
};

/* What became of it at a node. */
struct receipt {
    uint32_t life;     /* of the receiver, plus one; 0: not yet */
    uint32_t after_ms; /* it was sent */
};

struct followed {
    uint8_t id[CONTENT_ID_SIZE];
    struct event_key key; /* full engines */
    uint32_t origin;
    uint64_t sent_us, last_us;
    uint32_t nodes;
    struct receipt *receipts; /* by node */
    uint64_t complete_us;     /* every node that was up had it; 0: not so yet */
    uint64_t payloads, cross_payloads, cross_bytes;
    uint32_t last_hop;
    UT_hash_handle hh; /* by id */
    UT_hash_handle by_key;
};

struct follow {
    struct followed **list;
    uint32_t count;
    uint32_t incomplete; /* all before it are complete */
    struct followed *by_id, *by_key;
    struct followed *sealing; /* the event that is being made */
    uint64_t serial;          /* of broadcasts of light nodes */
    uint32_t tree_memory_ms;  /* their trees know a message for so long */
};

void follow_new(struct sim *s)
{
    struct plumtree_options tree;

    plumtree_defaults(&tree);
    s->follow = sim_alloc(sizeof *s->follow);
    s->follow->tree_memory_ms = tree.seen_ms;
}

void sim_forget(struct sim *s)
{
    struct follow *f = s->follow;

    HASH_CLEAR(hh, f->by_id);
    HASH_CLEAR(by_key, f->by_key);
    for (uint32_t i = 0; i < f->count; i++) {
        free(f->list[i]->receipts);
        free(f->list[i]);
    }
    free(f->list);
    f->list = NULL;
    f->count = f->incomplete = 0;
}

void follow_free(struct sim *s)
{
    sim_forget(s);
    free(s->follow);
}

/* ------------------------------------------------------------- broadcasts */

/* Known before it is sent: its first payloads leave within the step. */
static void enter(struct follow *w, struct followed *f,
                  const uint8_t id[CONTENT_ID_SIZE])
{
    memcpy(f->id, id, CONTENT_ID_SIZE);
    HASH_ADD(hh, w->by_id, id, CONTENT_ID_SIZE, f);
}

void follow_sealed(struct sim *s, const uint8_t *packed, size_t size)
{
    uint8_t id[CONTENT_ID_SIZE];

    if (s->follow->sealing == NULL)
        return;
    sim_content_hash(packed, size, id);
    enter(s->follow, s->follow->sealing, id);
    s->follow->sealing = NULL;
}

static bool send_event(struct sim *s, struct sim_node *n, struct followed *f,
                       const char *text)
{
    argus_Event e = argus_Event_init_zero;
    uint64_t hlc = 0, number = 0;
    struct event ev = {
        .type = EVENT_NOTICE,
        .notice = {
            .event = &e, .always = true, .hlc = &hlc, .number = &number}};

    e.severity = argus_Severity_SEVERITY_WARNING;
    (void)snprintf(e.node, sizeof e.node, "n%u", n->index);
    (void)snprintf(e.message, sizeof e.message, "%s", text);
    s->follow->sealing = f;
    sim_step(s, n, &ev);
    if (hlc == 0) {
        s->follow->sealing = NULL;
        return false;
    }
    f->key.number = number;
    HASH_ADD(by_key, s->follow->by_key, key, sizeof f->key, f);
    return true;
}

static bool send_light(struct sim *s, struct sim_node *n, struct followed *f,
                       const char *text)
{
    uint8_t payload[SEALED_SIZE_MAX] = {0};
    uint8_t id[CONTENT_ID_SIZE];
    uint64_t serial = ++s->follow->serial;
    size_t size = strlen(text);
    struct event ev = {.type = EVENT_NOTICE};

    if (size > sizeof payload - sizeof serial)
        size = sizeof payload - sizeof serial;
    memcpy(payload, &serial, sizeof serial);
    memcpy(payload + sizeof serial, text, size);
    size += sizeof serial;
    sim_content_hash(payload, size, id);
    enter(s->follow, f, id);
    n->light_payload = payload;
    n->light_payload_size = size;
    sim_step(s, n, &ev);
    bool is_sent = n->light_payload == NULL;
    n->light_payload = NULL;
    return is_sent;
}

void sim_broadcast(struct sim *s, uint32_t node, const char *text)
{
    struct follow *w = s->follow;

    if (node >= s->nodes_count || !node_is_up(s->nodes[node])) {
        sim_fail(s, "n%u is not up and cannot broadcast", node);
        return;
    }
    struct sim_node *n = s->nodes[node];
    struct followed *f = sim_alloc(sizeof *f);
    if (s->line != NULL)
        sim_tell(s, node, "broadcasts %u: %s", w->count, text);
    f->origin = node;
    f->key.origin = n->id;
    f->key.generation = n->generation;
    f->sent_us = f->last_us = s->now_us;
    f->nodes = s->nodes_count;
    f->receipts = sim_alloc(s->nodes_count * sizeof *f->receipts);
    f->receipts[node].life = n->life + 1;
    w->list = sim_grow(w->list, w->count, sizeof(struct followed *));
    w->list[w->count++] = f;
    if (!(n->light != NULL ? send_light(s, n, f, text)
                           : send_event(s, n, f, text)))
        sim_fail(s, "n%u: an event was refused", node);
}

/* ------------------------------------------------------------ on the way */

void follow_sent(struct sim *s, const argus_Gossip *gossip, uint32_t size,
                 bool is_cross)
{
    uint8_t id[CONTENT_ID_SIZE];
    struct followed *f;

    if (s->follow->count == 0)
        return;
    sim_content_hash(gossip->payload.bytes, gossip->payload.size, id);
    HASH_FIND(hh, s->follow->by_id, id, CONTENT_ID_SIZE, f);
    if (f == NULL)
        return;
    f->payloads++;
    if (is_cross) {
        f->cross_payloads++;
        f->cross_bytes += size;
    }
}

static uint32_t age_ms(const struct sim *s, const struct followed *f)
{
    return (uint32_t)((s->now_us - f->sent_us) / 1000);
}

static bool has_it(const struct sim *s, const struct followed *f, uint32_t node)
{
    return f->receipts[node].life == s->nodes[node]->life + 1;
}

static void deliver(struct sim *s, struct sim_node *n, struct followed *f)
{
    if (n->index >= f->nodes)
        return;
    if (has_it(s, f, n->index)) {
        sim_fail(s, "n%u: a broadcast of n%u was delivered twice", n->index,
                 f->origin);
        return;
    }
    f->receipts[n->index] = (struct receipt){n->life + 1, age_ms(s, f)};
    f->last_us = s->now_us;
    if (s->hop > f->last_hop)
        f->last_hop = s->hop;
    if (s->line != NULL)
        sim_tell(s, n->index, "delivers a broadcast of n%u, over %u links",
                 f->origin, s->hop);
}

/* The tree has forgotten it, and may: an engine would know it all the same. */
static bool is_echo(const struct sim *s, const struct sim_node *n,
                    const struct followed *f)
{
    return n->index < f->nodes && has_it(s, f, n->index) &&
           age_ms(s, f) - f->receipts[n->index].after_ms >=
               s->follow->tree_memory_ms;
}

bool follow_delivered(struct sim *s, struct sim_node *n,
                      const uint8_t id[CONTENT_ID_SIZE])
{
    struct followed *f;

    HASH_FIND(hh, s->follow->by_id, id, CONTENT_ID_SIZE, f);
    if (f != NULL && is_echo(s, n, f))
        return false;
    if (f != NULL)
        deliver(s, n, f);
    return true;
}

void follow_timeline(struct sim *s, struct sim_node *n, const struct action *a)
{
    struct event_key key = {.number = a->event.event->number,
                            .origin = *a->event.origin,
                            .generation = a->event.event->generation};
    struct followed *f;

    HASH_FIND(by_key, s->follow->by_key, &key, sizeof key, f);
    if (f != NULL)
        deliver(s, n, f);
}

/* ------------------------------------------------------------ their fate */

static bool is_due(const struct sim *s, const struct followed *f, uint32_t node)
{
    return sim_is_alive(s, node) && s->nodes[node]->started_us <= f->sent_us;
}

/* Who had it keeps it, who dies is not asked, who comes later neither: so it
 * stays complete. */
static bool is_complete(const struct sim *s, struct followed *f)
{
    if (f->complete_us != 0)
        return true;
    for (uint32_t i = 0; i < f->nodes; i++)
        if (is_due(s, f, i) && !has_it(s, f, i))
            return false;
    f->complete_us = s->now_us;
    return true;
}

bool sim_all_delivered(struct sim *s)
{
    struct follow *w = s->follow;

    while (w->incomplete < w->count && is_complete(s, w->list[w->incomplete]))
        w->incomplete++;
    return w->incomplete == w->count;
}

bool sim_fate(struct sim *s, uint32_t index, struct sim_fate *out)
{
    if (index >= s->follow->count)
        return false;
    const struct followed *f = s->follow->list[index];
    *out = (struct sim_fate){.origin = f->origin,
                             .sent_ms = f->sent_us / 1000,
                             .payloads = f->payloads,
                             .last_hop = f->last_hop,
                             .last_ms = (f->last_us - f->sent_us) / 1000,
                             .cross_bytes = f->cross_bytes,
                             .cross_payloads = f->cross_payloads};
    uint32_t had = 0;
    for (uint32_t i = 0; i < f->nodes; i++) {
        had += f->receipts[i].life != 0;
        if (!is_due(s, f, i))
            continue;
        out->due++;
        out->reached += has_it(s, f, i);
    }
    out->reliability = out->due > 0 ? (double)out->reached / out->due : 1;
    if (had > 1)
        out->rmr = (double)f->payloads / (had - 1) - 1;
    return true;
}

void sim_fates(struct sim *s, struct sim_fates *out)
{
    struct sim_fate f;

    *out = (struct sim_fates){.reliability_min = 1};
    for (uint32_t i = 0; sim_fate(s, i, &f); i++) {
        out->count++;
        out->complete += f.reached == f.due;
        out->reliability += f.reliability;
        out->rmr += f.rmr;
        out->last_hop += f.last_hop;
        out->last_ms += (double)f.last_ms;
        out->cross_bytes += (double)f.cross_bytes;
        if (f.reliability < out->reliability_min)
            out->reliability_min = f.reliability;
        if (f.rmr > out->rmr_max)
            out->rmr_max = f.rmr;
        if (f.last_hop > out->last_hop_max)
            out->last_hop_max = f.last_hop;
    }
    if (out->count == 0)
        return;
    out->reliability /= out->count;
    out->rmr /= out->count;
    out->last_hop /= out->count;
    out->last_ms /= out->count;
    out->cross_bytes /= out->count;
}

uint32_t sim_healing(struct sim *s, uint32_t probes, uint32_t max)
{
    for (uint32_t cycle = 0; cycle <= max; cycle++) {
        sim_forget(s);
        for (uint32_t i = 0; i < probes && s->alive_count > 0; i++)
            sim_broadcast(s, sim_random_alive(s), "are you healed?");
        sim_run(s, sim_cycle_ms(s));
        if (sim_failure(s) != NULL)
            break;
        if (sim_all_delivered(s))
            return cycle;
    }
    return max + 1;
}
