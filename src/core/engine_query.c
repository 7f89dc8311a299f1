/* engine_query.c - the questions of the control socket: what engine.h promises
 * at its end. Nothing here changes anything. */
#include "core/engine_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define US_PER_S 1e6

/* ------------------------------------------------------------ status */

static argus_NodeState node_state(const struct engine *e)
{
    const struct directory *d = e->directory;

    if (hyparview_active_count(e->hyparview) > 0)
        return argus_NodeState_NODE_JOINED;
    uint32_t known = directory_count(d, argus_MemberState_MEMBER_ONLINE) +
                     directory_count(d, argus_MemberState_MEMBER_SUSPECT) +
                     directory_count(d, argus_MemberState_MEMBER_OFFLINE);
    return known > 1 ? argus_NodeState_NODE_ISOLATED
                     : argus_NodeState_NODE_ALONE;
}

struct sample {
    double offset_s, bound_s;
};

static int by_offset(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;

    return (x->offset_s > y->offset_s) - (x->offset_s < y->offset_s);
}

/* Own clock against the neighbors': minus the median of how far theirs are
 * ahead, half the round trip as its bound. NaN while nobody was measured. */
static void fill_clock(const struct engine *e, argus_StatusReply *out)
{
    struct sample samples[HYPARVIEW_ACTIVE_LIMIT];
    struct hyparview_peer peer;
    uint32_t count = 0;

    for (uint32_t i = 0; hyparview_active(e->hyparview, i, &peer); i++) {
        int64_t rtt_us, offset_us;
        if (links_clock(e->links, peer.link, &rtt_us, &offset_us))
            samples[count++] = (struct sample){-(double)offset_us / US_PER_S,
                                               (double)rtt_us / 2 / US_PER_S};
    }
    out->drift_ppm = NAN;
    out->offset_s = out->uncertainty_s = NAN;
    if (count == 0)
        return;
    qsort(samples, count, sizeof samples[0], by_offset);
    out->offset_s = samples[count / 2].offset_s;
    out->uncertainty_s = samples[count / 2].bound_s;
}

static void fill_aggregators(const struct engine *e, argus_StatusReply *out)
{
    const pb_size_t max = sizeof out->aggregators / sizeof out->aggregators[0];

    for (pb_size_t i = 0; i < max; i++) {
        const struct aggregator *a =
            router_rank(e->router, e->options.name, i, NULL);
        if (a == NULL)
            break;
        memcpy(out->aggregators[i], a->name, sizeof out->aggregators[i]);
        out->aggregators_count = (pb_size_t)(i + 1);
    }
}

void engine_status(const struct engine *e, uint64_t now_ms, uint64_t wall_us,
                   argus_StatusReply *out)
{
    const struct directory *d = e->directory;
    const struct engine_options *o = &e->options;

    *out = (argus_StatusReply)argus_StatusReply_init_zero;
    memcpy(out->name, o->name, sizeof out->name);
    memcpy(out->id, o->id.bytes, sizeof out->id);
    out->role = o->role;
    memcpy(out->zone, o->zone, sizeof out->zone);
    memcpy(out->address, o->address, sizeof out->address);
    out->generation = o->generation;
    out->state = node_state(e);
    out->uptime_s = (double)(now_ms - e->start_ms) / 1000.0;
    out->hlc = hlc_now(&e->hlc, wall_us);
    fill_clock(e, out);
    out->active = hyparview_active_count(e->hyparview);
    out->passive = hyparview_passive_count(e->hyparview);
    out->online = directory_count(d, argus_MemberState_MEMBER_ONLINE);
    out->suspect = directory_count(d, argus_MemberState_MEMBER_SUSPECT);
    out->offline = directory_count(d, argus_MemberState_MEMBER_OFFLINE);
    out->left = directory_count(d, argus_MemberState_MEMBER_LEFT);
    fill_aggregators(e, out);
    out->queue_values = spool_stats(e->spool)->values;
    out->queue_bytes = spool_stats(e->spool)->bytes;

    struct engine_counter counters[256];
    uint32_t count = engine_counters(e, counters, 256);
    const uint32_t max = sizeof out->counters / sizeof out->counters[0];
    for (uint32_t i = 0; i < count && i < max; i++) {
        argus_Counter *c = &out->counters[out->counters_count++];
        (void)snprintf(c->name, sizeof c->name, "%s", counters[i].name);
        c->value = counters[i].value;
    }
}

/* ----------------------------------------------------- members, peers */

bool engine_member(const struct engine *e, uint32_t index, uint64_t now_ms,
                   uint64_t wall_us, argus_MemberReply *out)
{
    const struct member *m = directory_member(e->directory, index);

    (void)now_ms;
    if (m == NULL)
        return false;
    *out = (argus_MemberReply)argus_MemberReply_init_zero;
    memcpy(out->id, m->id.bytes, sizeof out->id);
    out->state = (argus_MemberState)m->state;
    out->since_us = m->since_us;
    out->last_heard_us = m->is_self ? wall_us : directory_heard_us(m, wall_us);
    out->has_record = directory_record(m, &out->record);
    if (m->report == NULL)
        return true;
    for (uint8_t i = 0; i < m->report->witnesses_count; i++) {
        const char *name =
            directory_name(e->directory, &m->report->witnesses[i]);
        char *to = out->witnesses[out->witnesses_count];
        if (name[0] != '\0')
            (void)snprintf(to, sizeof out->witnesses[0], "%s", name);
        else
            node_id_format(&m->report->witnesses[i], to);
        out->witnesses_count++;
    }
    return true;
}

bool engine_peer(const struct engine *e, uint32_t index, argus_PeerReply *out,
                 link_id *link)
{
    struct hyparview_peer peer;
    uint32_t active = hyparview_active_count(e->hyparview);
    bool is_active = index < active;

    if (is_active ? !hyparview_active(e->hyparview, index, &peer)
                  : !hyparview_passive(e->hyparview, index - active, &peer))
        return false;

    *out = (argus_PeerReply)argus_PeerReply_init_zero;
    *link = peer.link;
    out->active = is_active;
    memcpy(out->id, peer.id.bytes, sizeof out->id);
    (void)snprintf(out->name, sizeof out->name, "%s",
                   directory_name(e->directory, &peer.id));
    (void)snprintf(out->address, sizeof out->address, "%s", peer.address);
    (void)snprintf(out->state, sizeof out->state, "%s",
                   is_active ? "active" : "passive");
    out->rtt_s = out->offset_s = NAN;
    if (!is_active)
        return true;
    out->eager = plumtree_is_eager(e->plumtree, peer.link);
    int64_t rtt_us, offset_us;
    if (links_clock(e->links, peer.link, &rtt_us, &offset_us)) {
        out->rtt_s = (double)rtt_us / US_PER_S;
        out->offset_s = (double)offset_us / US_PER_S;
    }
    return true;
}

/* ------------------------------------------------------ route, events */

bool engine_route(const struct engine *e, const char *key, uint32_t index,
                  argus_RouteReply *out)
{
    struct router_score score;
    const char *host = key[0] != '\0' ? key : e->options.name;
    const struct aggregator *a = router_rank(e->router, host, index, &score);

    if (a == NULL)
        return false;
    *out = (argus_RouteReply)argus_RouteReply_init_zero;
    (void)snprintf(out->key, sizeof out->key, "%s", host);
    memcpy(out->name, a->name, sizeof out->name);
    memcpy(out->zone, a->zone, sizeof out->zone);
    out->score = score.score;

    const struct member *m = directory_find(e->directory, &a->id);
    (void)snprintf(out->state, sizeof out->state, "%s",
                   m == NULL ? "unknown" : engine_state_text(m->state));
    char lane[128];
    (void)snprintf(lane, sizeof lane, "%.*s", (int)strcspn(host, "/"), host);
    out->in_use = spool_is_in_use(e->spool, lane, &a->id);
    return true;
}

uint32_t engine_events_count(const struct engine *e)
{
    return timeline_count(e->timeline);
}

bool engine_event(const struct engine *e, uint32_t index, argus_EventReply *out)
{
    return timeline_get(e->timeline, index, out);
}

void engine_coverage(const struct engine *e, uint64_t wall_us,
                     argus_Coverage *out)
{
    directory_coverage(e->directory, wall_us, out);
}

bool engine_series_moved(const struct engine *e, const char *host,
                         const char *plugin, const char *plugin_instance,
                         const char *type, const char *type_instance)
{
    return intake_series_moved(e->intake, host, plugin, plugin_instance, type,
                               type_instance);
}

/* ---------------------------------------------------------- counters */

struct counter_row {
    const char *name;
    size_t offset;
    bool gauge;
};

#define ROW(part, field)                                                       \
    {                                                                          \
#part "_" #field, offsetof(struct part##_stats, field), false          \
    }
#define NOW(part, field)                                                       \
    {                                                                          \
#part "_" #field, offsetof(struct part##_stats, field), true           \
    }

static const struct counter_row engine_rows[] = {
    ROW(engine, notice_broadcast), ROW(engine, notice_kept),
    ROW(engine, event_received),   ROW(engine, event_malformed),
    ROW(engine, send_dropped),
};

static const struct counter_row hlc_rows[] = {
    ROW(hlc, remote_merged),
    ROW(hlc, remote_refused),
};

static const struct counter_row links_rows[] = {
    ROW(links, ping_sent),     ROW(links, pong_received),
    ROW(links, pong_refused),  ROW(links, link_silent),
    ROW(links, link_refused),  ROW(links, timer_missed),
    ROW(links, frame_unknown),
};

static const struct counter_row hyparview_rows[] = {
    ROW(hyparview, join_sent),         ROW(hyparview, join_accepted),
    ROW(hyparview, join_throttled),    ROW(hyparview, neighbor_sent),
    ROW(hyparview, neighbor_accepted), ROW(hyparview, neighbor_rejected),
    ROW(hyparview, handshake_expired), ROW(hyparview, link_replaced),
    ROW(hyparview, link_refused),      ROW(hyparview, peer_evicted),
    ROW(hyparview, peer_failed),       ROW(hyparview, peer_lost),
    ROW(hyparview, peer_returned),     ROW(hyparview, frame_stale),
    ROW(hyparview, shuffle_sent),      ROW(hyparview, shuffle_answered),
    ROW(hyparview, shuffle_unasked),   ROW(hyparview, audit_failed),
    ROW(hyparview, probe_sent),        ROW(hyparview, swap_sent),
    ROW(hyparview, dial_refused),
};

static const struct counter_row plumtree_rows[] = {
    ROW(plumtree, broadcast_sent),   ROW(plumtree, broadcast_refused),
    ROW(plumtree, gossip_delivered), ROW(plumtree, gossip_stale),
    ROW(plumtree, gossip_bad),       ROW(plumtree, gossip_duplicate),
    ROW(plumtree, gossip_sent),      ROW(plumtree, ihave_sent),
    ROW(plumtree, ihave_received),   ROW(plumtree, graft_sent),
    ROW(plumtree, graft_received),   ROW(plumtree, graft_delayed),
    ROW(plumtree, graft_unanswered), ROW(plumtree, graft_limited),
    ROW(plumtree, prune_sent),       ROW(plumtree, prune_received),
    ROW(plumtree, prune_limited),    ROW(plumtree, shortcut_taken),
    ROW(plumtree, frame_stranger),   ROW(plumtree, frame_malformed),
    ROW(plumtree, neighbor_refused), ROW(plumtree, missing_dropped),
    ROW(plumtree, missing_refused),  ROW(plumtree, missing_expired),
    ROW(plumtree, seen_dropped),     ROW(plumtree, cache_dropped),
    ROW(plumtree, memory_refused),
};

static const struct counter_row directory_rows[] = {
    ROW(directory, records_news),       ROW(directory, records_stale),
    ROW(directory, records_bad),        ROW(directory, reports_news),
    ROW(directory, reports_stale),      ROW(directory, reports_bad),
    ROW(directory, reports_stranger),   ROW(directory, members_refused),
    ROW(directory, memory_refused),     ROW(directory, members_forgotten),
    ROW(directory, members_superseded), ROW(directory, tombstones_dropped),
    ROW(directory, records_published),  ROW(directory, reports_published),
    ROW(directory, seal_failed),        ROW(directory, refutations),
    ROW(directory, generations_raised), ROW(directory, clones_found),
    ROW(directory, probes_sent),        ROW(directory, probes_answered),
    ROW(directory, probes_refused),     ROW(directory, probes_silent),
    ROW(directory, probes_dropped),     ROW(directory, mass_deaths),
    ROW(directory, late_wakeups),       ROW(directory, neighbors_refused),
    ROW(directory, syncs_begun),        ROW(directory, syncs_accepted),
    ROW(directory, syncs_done),         ROW(directory, syncs_failed),
    ROW(directory, syncs_refused),      ROW(directory, syncs_malformed),
    ROW(directory, frames_stranger),    ROW(directory, items_sent),
    ROW(directory, items_received),     ROW(directory, items_bad),
    ROW(directory, spread_again),
};

static const struct counter_row timeline_rows[] = {
    ROW(timeline, event_added),   ROW(timeline, event_duplicate),
    ROW(timeline, event_too_old), ROW(timeline, event_dropped),
    ROW(timeline, event_limited), ROW(timeline, memory_refused),
};

static const struct counter_row spool_rows[] = {
    ROW(spool, values_queued),  ROW(spool, values_sent),
    ROW(spool, values_resent),  ROW(spool, values_acked),
    ROW(spool, values_dropped), ROW(spool, values_refused),
    ROW(spool, values_late),    ROW(spool, values_reordered),
    ROW(spool, values_held),    ROW(spool, batches_sent),
    ROW(spool, series_defined), ROW(spool, series_evicted),
    ROW(spool, lanes_moved),    ROW(spool, links_opened),
    ROW(spool, links_failed),   ROW(spool, links_stuck),
    ROW(spool, links_idle),     ROW(spool, acks_bad),
    ROW(spool, memory_refused), ROW(spool, aggregators_cut),
    NOW(spool, values),         NOW(spool, values_under_way),
    NOW(spool, bytes),          NOW(spool, series),
    NOW(spool, lanes),          NOW(spool, links),
};

static const struct counter_row intake_rows[] = {
    ROW(intake, values_received),
    ROW(intake, values_dispatched),
    ROW(intake, values_redispatched),
    ROW(intake, values_seen),
    ROW(intake, values_duplicate),
    ROW(intake, values_stopped),
    ROW(intake, values_settled),
    ROW(intake, seen_unknown),
    ROW(intake, batches_acked),
    ROW(intake, acks_sent),
    ROW(intake, links_accepted),
    ROW(intake, links_refused),
    ROW(intake, links_replaced),
    ROW(intake, links_malformed),
    ROW(intake, links_busy),
    ROW(intake, senders_reset),
    ROW(intake, series_begun),
    ROW(intake, series_evicted),
    ROW(intake, hosts_released),
    ROW(intake, memory_refused),
    NOW(intake, values_waiting),
    NOW(intake, values_in_queue),
    NOW(intake, values_settling),
    NOW(intake, bytes),
    NOW(intake, series),
    NOW(intake, senders),
    NOW(intake, links),
};

struct counter_sink {
    struct engine_counter *out;
    uint32_t max, count;
};

static void add_rows(struct counter_sink *sink, const struct counter_row *rows,
                     size_t rows_count, const void *stats)
{
    for (size_t i = 0; i < rows_count && sink->count < sink->max; i++) {
        struct engine_counter *c = &sink->out[sink->count++];
        c->name = rows[i].name;
        c->gauge = rows[i].gauge;
        memcpy(&c->value, (const char *)stats + rows[i].offset,
               sizeof c->value);
    }
}

#define ADD(part, stats)                                                       \
    add_rows(&sink, part##_rows, sizeof part##_rows / sizeof part##_rows[0],   \
             (stats))

uint32_t engine_counters(const struct engine *e, struct engine_counter *out,
                         uint32_t max)
{
    struct counter_sink sink = {.out = out, .max = max};

    ADD(engine, &e->stats);
    ADD(hlc, &e->hlc.stats);
    ADD(links, links_stats(e->links));
    ADD(hyparview, hyparview_stats(e->hyparview));
    ADD(plumtree, plumtree_stats(e->plumtree));
    ADD(directory, directory_stats(e->directory));
    ADD(timeline, timeline_stats(e->timeline));
    ADD(spool, spool_stats(e->spool));
    ADD(intake, intake_stats(e->intake));
    return sink.count;
}
