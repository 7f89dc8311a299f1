/* sim_node.c - what runs on a node: an engine, or the overlay alone, which is
 * the same object file. The rest of the simulator asks either through here. */
#include "sim/sim_impl.h"
#include "sim/sim_hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------ full nodes */

static void fill_options(struct sim *s, struct sim_node *n,
                         struct engine_options *o)
{
    memset(o, 0, sizeof *o);
    o->seed = n->seed + n->generation;
    o->seal = sim_seal(n);
    o->describe = values_describe;
    o->id = n->id;
    o->generation = n->generation;
    o->instance = n->instance;
    o->started_ms = n->started_wall_us / 1000;
    o->hlc_mark = n->last_hlc;
    o->epoch = n->epoch;
    (void)snprintf(o->name, sizeof o->name, "n%u", n->index);
    simnet_address(n->index, o->address);
    o->role = simnet_role(n);
    o->strategy = s->strategy;
    o->zone_bias = s->options.zone_bias;
    simnet_zone(n, o->zone);
    o->weight = 1;
    (void)snprintf(o->software, sizeof o->software, "sim");
    o->active_max = s->options.active_max;
    o->passive_max = s->options.passive_max;
    o->shuffle_ms = s->options.shuffle_ms;
    o->ping_ms = s->options.ping_ms;
    o->suspect_ms = s->options.suspect_ms;
    o->retain_offline_s = s->options.forget_ms / 1000;
    o->route = !n->is_aggregator;
    o->spool_bytes_max = 16 << 20;
    o->intake_queue_max = 1024;
    o->clock_max_offset_ms = 500;
    o->forward = argus_Severity_SEVERITY_WARNING;
    o->retain_events = s->options.retain_events;
    o->event_rate = 100;
    o->chunks = kit_store(&n->chunks);
    o->trusted_keys = kit_keys;
    o->trusted_keys_count = 3;
    o->bundle_size_max = 4 << 20;
}

static bool start_full(struct sim *s, struct sim_node *n)
{
    struct engine_options o;
    struct event start = {.type = EVENT_START};
    char contact[ADDRESS_SIZE];
    const char *contacts[] = {contact};

    fill_options(s, n, &o);
    if (n->contact != SIM_NOBODY) {
        simnet_address(n->contact, contact);
        o.contacts = contacts;
        o.contacts_count = 1;
    }
    if (engine_new(&o, &n->engine) != ARGUS_OK)
        return false;
    disk_load(s, n);
    sim_step(s, n, &start);
    return true;
}

/* ----------------------------------------------------------- light nodes */

/* A directory would tell a node whom its mesh reaches. A light one asks the
 * simulator instead, which looks once a cycle (sim_check.c): who is alive, and
 * was of the same island then. */
static struct sim_node *member_of(const struct sim_node *n, uint32_t index)
{
    if (index >= n->sim->nodes_count || !sim_is_alive(n->sim, index))
        return NULL;
    struct sim_node *other = n->sim->nodes[index];
    return other != n && other->island == n->island ? other : NULL;
}

static bool is_live(void *context, const struct node_id *id)
{
    uint64_t tail;

    memcpy(&tail, id->bytes + 8, 8);
    return tail > 0 && member_of(context, (uint32_t)tail - 1) != NULL;
}

static bool is_live_address(void *context, const char *address)
{
    const struct sim_node *n = context;
    uint32_t index = simnet_node_at(n->sim, address);

    return index != SIM_NOBODY && member_of(n, index) != NULL;
}

static bool any_member(void *context, uint32_t pick,
                       struct membership_wish wish, struct membership_peer *out)
{
    static char address[ADDRESS_SIZE]; /* borrowed until the next input */
    char zone[8];
    const struct sim_node *n = context;
    const struct sim *s = n->sim;

    for (uint32_t i = 0; i < s->alive_count && i < 64; i++) {
        uint32_t at = (uint32_t)(((uint64_t)pick + i) % s->alive_count);
        const struct sim_node *m = member_of(n, s->alive[at]);
        if (m == NULL || (wish.aggregator && !m->is_aggregator))
            continue;
        simnet_address(m->index, address);
        simnet_zone(m, zone);
        *out = (struct membership_peer){.id = m->id,
                                        .generation = m->generation,
                                        .role = simnet_role(m),
                                        .zone = zone_pack(zone),
                                        .address = address};
        return true;
    }
    return false;
}

/* Who joins has the island of whom it joins until the next look. */
static void neighbor_up(void *context, link_id link,
                        const struct peer_info *peer, struct actions *out)
{
    struct sim_node *n = context;
    uint64_t tail;

    (void)link;
    (void)out;
    memcpy(&tail, peer->id.bytes + 8, 8);
    if (n->island == n->index && n->sim->nodes[tail - 1]->island < n->island)
        n->island = n->sim->nodes[tail - 1]->island;
    if (n->sim->line != NULL)
        sim_tell(n->sim, n->index, "view: n%u is a neighbor",
                 (unsigned)tail - 1);
}

static void neighbor_down(void *context, link_id link,
                          const struct node_id *peer, enum link_end why,
                          argus_RefuseCode code, struct actions *out)
{
    struct sim_node *n = context;
    uint64_t tail;

    (void)link;
    (void)why;
    (void)code;
    (void)out;
    memcpy(&tail, peer->bytes + 8, 8);
    if (n->sim->line != NULL)
        sim_tell(n->sim, n->index, "view: n%u is no neighbor any more",
                 (unsigned)tail - 1);
}

/* As the engine does: see insiders_judge(), and plumtree.h for echoes. */
static enum plumtree_verdict deliver(void *context, link_id from,
                                     const uint8_t *payload, size_t size,
                                     const uint8_t id[CONTENT_ID_SIZE])
{
    struct sim_node *n = context;
    struct links *links = overlay_links(n->light);

    (void)payload;
    (void)size;
    links_know(links, from);
    if (!follow_delivered(n->sim, n, id))
        return PLUMTREE_STALE;
    links_refund(links, from, 1);
    return PLUMTREE_NEWS;
}

static bool new_light(struct sim *s, struct sim_node *n)
{
    struct overlay_listener up = {.context = n,
                                  .deliver = deliver,
                                  .neighbor_up = neighbor_up,
                                  .neighbor_down = neighbor_down,
                                  .is_live = is_live,
                                  .is_live_address = is_live_address,
                                  .any_member = any_member};
    struct actions sink = {.emit = sim_on_action, .context = n};
    struct overlay_options o = {.tree_seed = n->seed + n->generation + 1,
                                .hash = sim_content_hash,
                                .ping_ms = s->options.ping_ms,
                                .suspect_ms = s->options.suspect_ms,
                                .started_ms = n->started_wall_us / 1000,
                                .hlc_mark = n->last_hlc,
                                .clock_max_offset_ms = 500,
                                .clock_peers = s->options.clock_peers};
    struct membership_options *m = &o.membership;
    char contact[ADDRESS_SIZE], zone[8];
    const char *contacts[] = {contact};

    m->seed = n->seed + n->generation;
    m->id = n->id;
    m->strategy = s->strategy;
    m->role = simnet_role(n);
    simnet_zone(n, zone);
    m->zone = zone_pack(zone);
    m->zone_bias = s->options.zone_bias;
    m->generation = n->generation;
    simnet_address(n->index, m->address);
    m->active_max = s->options.active_max;
    m->passive_max = s->options.passive_max;
    m->shuffle_ms = s->options.shuffle_ms;
    if (n->contact != SIM_NOBODY) {
        simnet_address(n->contact, contact);
        m->contacts = contacts;
        m->contacts_count = 1;
    }
    return overlay_new(&o, &up, &sink, &n->light) == ARGUS_OK;
}

static bool start_light(struct sim *s, struct sim_node *n)
{
    struct event start = {.type = EVENT_START};

    n->island = n->index;
    if (!new_light(s, n))
        return false;
    sim_step(s, n, &start);
    return true;
}

static void step_light(struct sim_node *n, const struct event *ev)
{
    struct overlay *o = n->light;

    overlay_advance(o, ev->now_ms, ev->wall_us);
    switch (ev->type) {
    case EVENT_START: overlay_start(o); break;
    case EVENT_TIMEOUT: overlay_on_timeout(o); break;
    case EVENT_LINK_UP:
        (void)overlay_on_link_up(o, ev->link_up.link, ev->link_up.dial,
                                 ev->link_up.peer);
        break;
    case EVENT_LINK_DOWN:
        overlay_on_link_down(o, ev->link_down.link, ev->link_down.why,
                             ev->link_down.code);
        break;
    case EVENT_DIAL_FAILED:
        (void)overlay_on_dial_failed(o, ev->dial_failed.dial,
                                     ev->dial_failed.why, ev->dial_failed.code);
        break;
    case EVENT_FRAME:
        overlay_on_frame(o, ev->frame.link, ev->frame.frame);
        break;
    case EVENT_NOTICE:
        if (overlay_broadcast(o, n->light_payload, n->light_payload_size))
            n->light_payload = NULL;
        break;
    case EVENT_JOIN:
        *ev->join.result = overlay_join(o, ev->join.address);
        break;
    case EVENT_LEAVE:
    case EVENT_STOP:
        overlay_hurry(o);
        overlay_leave(o);
        break;
    default: break; /* about what a light node does not have */
    }
}

/* Names as engine_counters() has them. */
#define LIGHT_COUNTERS(X)                                                      \
    X(links, "ping_sent", ping_sent)                                           \
    X(links, "pong_received", pong_received)                                   \
    X(links, "pong_refused", pong_refused)                                     \
    X(links, "link_silent", link_silent)                                       \
    X(links, "peers_flooded", peer_flooded)                                    \
    X(views, "near_sent", near_sent)                                           \
    X(views, "near_gained", near_gained)                                       \
    X(overlay, "walks_limited", walk_limited)                                  \
    X(overlay, "frames_received", frame_received)                              \
    X(overlay, "frames_sent", frame_sent)                                      \
    X(views, "join_sent", join_sent)                                           \
    X(views, "join_accepted", join_accepted)                                   \
    X(views, "join_throttled", join_throttled)                                 \
    X(views, "neighbor_sent", neighbor_sent)                                   \
    X(views, "neighbor_accepted", neighbor_accepted)                           \
    X(views, "neighbor_rejected", neighbor_rejected)                           \
    X(views, "handshake_expired", handshake_expired)                           \
    X(views, "link_replaced", link_replaced)                                   \
    X(views, "peer_evicted", peer_evicted)                                     \
    X(views, "peer_failed", peer_failed)                                       \
    X(views, "peer_lost", peer_lost)                                           \
    X(views, "peer_returned", peer_returned)                                   \
    X(views, "frame_stale", frame_stale)                                       \
    X(views, "shuffle_sent", shuffle_sent)                                     \
    X(views, "audit_failed", audit_failed)                                     \
    X(views, "probe_sent", probe_sent)                                         \
    X(views, "swap_sent", swap_sent)                                           \
    X(views, "view_refilled", refilled)                                        \
    X(views, "dial_refused", dial_refused)                                     \
    X(tree, "gossip_delivered", gossip_delivered)                              \
    X(tree, "gossip_duplicate", gossip_duplicate)                              \
    X(tree, "gossip_sent", gossip_sent)                                        \
    X(tree, "graft_sent", graft_sent)                                          \
    X(tree, "graft_received", graft_received)                                  \
    X(tree, "graft_unanswered", graft_unanswered)                              \
    X(tree, "graft_limited", graft_limited)                                    \
    X(tree, "prune_sent", prune_sent)                                          \
    X(tree, "prune_received", prune_received)                                  \
    X(tree, "prune_limited", prune_limited)                                    \
    X(tree, "shortcut_taken", shortcut_taken)                                  \
    X(tree, "missing_dropped", missing_dropped)                                \
    X(tree, "missing_expired", missing_expired)                                \
    X(tree, "tree_seen_dropped", seen_dropped)                                 \
    X(tree, "tree_cache_dropped", cache_dropped)

static uint64_t light_counter(const struct sim_node *n, const char *name)
{
    const struct links_stats *links = links_stats(overlay_links(n->light));
    const struct overlay_stats *overlay = overlay_stats(n->light);
    const struct membership_stats *views =
        membership_stats(overlay_membership(n->light));
    const struct plumtree_stats *tree = plumtree_stats(overlay_tree(n->light));

#define COUNTER(part, text, field)                                             \
    if (strcmp(name, text) == 0)                                               \
        return part->field;
    LIGHT_COUNTERS(COUNTER)
#undef COUNTER
    sim_fail(n->sim, "a light node has no counter \"%s\"", name);
    return 0;
}

/* ----------------------------------------------------------------- either */

bool node_start(struct sim *s, struct sim_node *n)
{
    uint32_t passive_max = s->options.passive_max;
    bool is_bounded = s->strategy == MEMBERSHIP_HYPARVIEW;

    n->active_bound = is_bounded ? s->options.active_max : 0;
    n->passive_bound =
        passive_max == 0 ? MEMBERSHIP_PASSIVE_LIMIT : passive_max;
    return s->options.overlay_only ? start_light(s, n) : start_full(s, n);
}

void node_free(struct sim_node *n)
{
    engine_free(n->engine);
    overlay_free(n->light);
    n->engine = NULL;
    n->light = NULL;
}

void node_step(struct sim_node *n, const struct event *event,
               struct actions *out)
{
    if (n->light != NULL)
        step_light(n, event);
    else
        engine_step(n->engine, event, out);
}

uint64_t node_deadline_ms(const struct sim_node *n)
{
    return n->light != NULL ? overlay_deadline_ms(n->light)
                            : engine_deadline_ms(n->engine);
}

static uint64_t engine_counter_of(const struct sim_node *n, const char *name)
{
    struct engine_counter counters[256];
    uint32_t count = engine_counters(
        n->engine, counters, (uint32_t)(sizeof counters / sizeof counters[0]));

    for (uint32_t i = 0; i < count; i++)
        if (strcmp(counters[i].name, name) == 0)
            return counters[i].value;
    sim_fail(n->sim, "a node has no counter \"%s\"", name);
    return 0;
}

uint64_t node_counter(const struct sim_node *n, const char *name)
{
    if (!node_is_up(n))
        return 0;
    return n->light != NULL ? light_counter(n, name)
                            : engine_counter_of(n, name);
}

uint64_t node_hlc(const struct sim *s, const struct sim_node *n)
{
    const struct hlc *hlc =
        n->light != NULL ? overlay_hlc(n->light) : n->engine->hlc;

    return hlc_now(hlc, sim_wall_us(s, n));
}

static const struct membership *views_of(const struct sim_node *n)
{
    return n->light != NULL ? overlay_membership(n->light)
                            : n->engine->membership;
}

const struct plumtree *node_tree(const struct sim_node *n)
{
    return n->light != NULL ? overlay_tree(n->light) : n->engine->plumtree;
}

struct overlay *node_overlay(const struct sim_node *n)
{
    return n->light != NULL ? n->light : n->engine->overlay;
}

bool node_active(const struct sim_node *n, uint32_t index, struct sim_peer *out)
{
    struct membership_peer p;

    if (!membership_active(views_of(n), index, &p))
        return false;
    *out = (struct sim_peer){.id = p.id, .link = p.link};
    return true;
}

bool node_passive(const struct sim_node *n, uint32_t index,
                  struct sim_peer *out)
{
    struct membership_peer p;

    if (!membership_passive(views_of(n), index, &p))
        return false;
    *out = (struct sim_peer){.id = p.id};
    return true;
}

uint32_t node_active_count(const struct sim_node *n)
{
    return membership_active_count(views_of(n));
}

uint32_t node_passive_count(const struct sim_node *n)
{
    return membership_passive_count(views_of(n));
}

bool node_holds(const struct sim_node *n, link_id link)
{
    return membership_is_active_link(views_of(n), link);
}
