/* engine_query.c - what the control socket and the read callback ask of an
 * engine. Nothing here changes it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/engine_impl.h"

/* ------------------------------------------------------------- status */

/* Members that could be reached, this node apart. */
static uint32_t others_known(const struct engine *e)
{
    uint32_t n = 0;
    for (int state = argus_MemberState_MEMBER_ONLINE;
         state <= argus_MemberState_MEMBER_OFFLINE; state++)
        n += directory_count(e->directory, (argus_MemberState)state);
    return n > 0 ? n - 1 : n;
}

/* Whoever left for good is alone by its own will: no bad news. */
static argus_NodeState node_state(const struct engine *e)
{
    const struct member *self = directory_find(e->directory, &e->options.id);

    if (membership_active_count(e->membership) > 0)
        return argus_NodeState_NODE_JOINED;
    if (self != NULL && self->has_left)
        return argus_NodeState_NODE_ALONE;
    return others_known(e) > 0 ? argus_NodeState_NODE_ISOLATED
                               : argus_NodeState_NODE_ALONE;
}

static void fill_clock(const struct engine *e, uint64_t now_ms,
                       uint64_t wall_us, argus_StatusReply *out)
{
    argus_ClockReply clock;

    engine_clock(e, now_ms, wall_us, &clock);
    out->offset_s = clock.offset_s;
    out->uncertainty_s = clock.uncertainty_s;
    out->drift_ppm = clock.drift_ppm;
    out->clock_alarm = clock.alarm;
}

static void fill_aggregators(const struct engine *e, argus_StatusReply *out)
{
    const size_t max = sizeof out->aggregators / sizeof out->aggregators[0];
    const struct aggregator *a;

    for (uint32_t i = 0; i < max; i++) {
        a = router_rank(e->router, e->options.name, i, NULL);
        if (a == NULL)
            return;
        text_copy(out->aggregators[out->aggregators_count++],
                  sizeof out->aggregators[0], a->name);
    }
}

static void fill_counters(const struct engine *e, argus_StatusReply *out)
{
    enum { MAX = sizeof out->counters / sizeof out->counters[0] };
    struct engine_counter counters[MAX];
    uint32_t count = engine_counters(e, counters, MAX);

    for (uint32_t i = 0; i < count; i++) {
        text_copy(out->counters[i].name, sizeof out->counters[i].name,
                  counters[i].name);
        out->counters[i].value = counters[i].value;
    }
    out->counters_count = (pb_size_t)count;
}

void engine_status(const struct engine *e, uint64_t now_ms, uint64_t wall_us,
                   argus_StatusReply *out)
{
    const struct engine_options *o = &e->options;
    const struct spool_stats *spool = spool_stats(e->spool);

    memset(out, 0, sizeof *out);
    text_copy(out->name, sizeof out->name, o->name);
    memcpy(out->id, o->id.bytes, NODE_ID_SIZE);
    out->role = o->role;
    text_copy(out->zone, sizeof out->zone, o->zone);
    text_copy(out->strategy, sizeof out->strategy,
              membership_strategy_name(o->strategy));
    text_copy(out->address, sizeof out->address, o->address);
    text_copy(out->reach, sizeof out->reach, reach_state_name(&e->reach));
    if (e->reach.state == REACH_ELSEWHERE || e->reach.state == REACH_BAD)
        text_copy(out->advertised, sizeof out->advertised, e->reach.own);
    out->generation = directory_generation(e->directory);
    out->state = node_state(e);
    if (e->is_started)
        out->uptime_s = (double)(now_ms - e->start_ms) / 1000;
    out->hlc = hlc_now(e->hlc, engine_time_us(e, now_ms, wall_us));
    fill_clock(e, now_ms, wall_us, out);
    out->active = membership_active_count(e->membership);
    out->passive = membership_passive_count(e->membership);
    out->online =
        directory_count(e->directory, argus_MemberState_MEMBER_ONLINE);
    out->suspect =
        directory_count(e->directory, argus_MemberState_MEMBER_SUSPECT);
    out->offline =
        directory_count(e->directory, argus_MemberState_MEMBER_OFFLINE);
    out->left = directory_count(e->directory, argus_MemberState_MEMBER_LEFT);
    fill_aggregators(e, out);
    insiders_status(e, out);
    out->queue_values = spool->values;
    out->queue_bytes = spool->bytes;
    fill_counters(e, out);
}

/* ------------------------------------------------- members, peers, route */

bool engine_member(const struct engine *e, uint32_t index, uint64_t now_ms,
                   uint64_t wall_us, argus_MemberReply *out)
{
    (void)now_ms;
    if (index == 0)
        directory_find_namesakes(e->directory);
    const struct member *m = directory_member(e->directory, index);
    if (m == NULL)
        return false;
    memset(out, 0, sizeof *out);
    memcpy(out->id, m->id.bytes, NODE_ID_SIZE);
    out->state = (argus_MemberState)m->state;
    out->since_us = m->since_us;
    out->namesake = m->has_namesake;
    out->last_heard_us = directory_heard_us(m, wall_us);
    out->has_record = m->packed != NULL && directory_record(m, &out->record);
    for (uint32_t i = 0; m->report != NULL && i < m->report->witnesses_count;
         i++)
        text_copy(out->witnesses[out->witnesses_count++],
                  sizeof out->witnesses[0],
                  directory_name(e->directory, &m->report->witnesses[i]));
    return true;
}

static void fill_peer(const struct engine *e, const struct membership_peer *p,
                      argus_PeerReply *out)
{
    const struct peer_info *info = links_peer(e->links, p->link);
    const char *name = directory_name(e->directory, &p->id);
    const struct member *m = directory_find(e->directory, &p->id);

    memset(out, 0, sizeof *out);
    memcpy(out->id, p->id.bytes, NODE_ID_SIZE);
    if (m != NULL && m->zone != NULL)
        text_copy(out->zone, sizeof out->zone, m->zone);
    out->near = p->is_near;
    text_copy(out->name, sizeof out->name,
              name[0] == '\0' && info != NULL ? info->name : name);
    text_copy(out->address, sizeof out->address, p->address);
    out->rtt_s = NAN;
    out->offset_s = NAN;
    text_copy(out->state, sizeof out->state, "passive");
    if (p->link == 0)
        return;
    int64_t rtt, offset;
    out->active = true;
    text_copy(out->state, sizeof out->state, "active");
    out->eager = plumtree_is_eager(e->plumtree, p->link);
    if (links_clock(e->links, p->link, &rtt, &offset)) {
        out->rtt_s = (double)rtt / 1e6;
        out->offset_s = (double)offset / 1e6;
    }
}

bool engine_peer(const struct engine *e, uint32_t index, argus_PeerReply *out,
                 link_id *link)
{
    uint32_t active = membership_active_count(e->membership);
    struct membership_peer p;

    if (index < active ? !membership_active(e->membership, index, &p)
                       : !membership_passive(e->membership, index - active, &p))
        return false;
    *link = p.link;
    fill_peer(e, &p, out);
    return true;
}

bool engine_route(const struct engine *e, const char *key, uint32_t index,
                  argus_RouteReply *out)
{
    struct router_score score;
    char host[128] = "";

    if (key[0] == '\0')
        key = e->options.name;
    const struct aggregator *a = router_rank(e->router, key, index, &score);

    if (a == NULL)
        return false;
    memset(out, 0, sizeof *out);
    size_t length = strcspn(key, "/");
    if (length < sizeof host)
        memcpy(host, key, length);
    text_copy(out->key, sizeof out->key, key);
    text_copy(out->name, sizeof out->name, a->name);
    text_copy(out->zone, sizeof out->zone, a->zone);
    out->score = score.score;
    const struct member *m = directory_find(e->directory, &a->id);
    text_copy(out->state, sizeof out->state,
              member_state_word(m != NULL ? m->state : 0));
    out->in_use = spool_is_in_use(e->spool, host, &a->id);
    return true;
}

void engine_coverage(const struct engine *e, uint64_t wall_us,
                     argus_Coverage *out)
{
    memset(out, 0, sizeof *out);
    directory_coverage(e->directory, wall_us, out);
}

bool engine_series_moved(const struct engine *e, const char *host,
                         const char *plugin, const char *plugin_instance,
                         const char *type, const char *type_instance)
{
    return intake_series_moved(e->intake, host, plugin, plugin_instance, type,
                               type_instance);
}

/* ----------------------------------------------------------- counters */

/* part, name for users, field */
#define COUNTERS(X)                                                            \
    X(links, "ping_sent", ping_sent)                                           \
    X(links, "pong_received", pong_received)                                   \
    X(links, "pong_refused", pong_refused)                                     \
    X(links, "link_silent", link_silent)                                       \
    X(links, "link_refused", link_refused)                                     \
    X(links, "timer_missed", timer_missed)                                     \
    X(links, "frame_unknown", frame_unknown)                                   \
    X(links, "peers_flooded", peer_flooded)                                    \
    X(links, "peers_struck", peer_struck)                                      \
    X(links, "budgets_dropped", account_dropped)                               \
    X(insiders, "quarantines_begun", begun)                                    \
    X(insiders, "quarantines_dropped", dropped)                                \
    X(insiders, "quarantine_memory_refused", memory_refused)                   \
    X(own, "quarantine_links_refused", quarantine_link_refused)                \
    X(own, "quarantine_dials_refused", quarantine_dial_refused)                \
    X(own, "statements_quarantined", statement_quarantined)                    \
    X(own, "statements_limited", statement_limited)                            \
    X(overlay, "walks_limited", walk_limited)                                  \
    X(own, "log_lines_held", log_held)                                         \
    X(authors, "origins_dropped", dropped)                                     \
    X(authors, "origins_memory_refused", memory_refused)                       \
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
    X(views, "shuffle_unasked", shuffle_unasked)                               \
    X(views, "audit_failed", audit_failed)                                     \
    X(views, "probe_sent", probe_sent)                                         \
    X(views, "swap_sent", swap_sent)                                           \
    X(views, "view_refilled", refilled)                                        \
    X(views, "view_link_refused", link_refused)                                \
    X(views, "dial_refused", dial_refused)                                     \
    X(views, "view_limit_reached", limit_reached)                              \
    X(views, "view_unsuited", unsuited)                                        \
    X(views, "near_sent", near_sent)                                           \
    X(views, "near_gained", near_gained)                                       \
    X(views, "call_sent", call_sent)                                           \
    X(views, "call_heard", call_heard)                                         \
    X(views, "call_known", call_known)                                         \
    X(views, "call_unsuited", call_unsuited)                                   \
    X(views, "call_dropped", call_dropped)                                     \
    X(views, "call_answered", call_answered)                                   \
    X(reach, "reach_asked", asked)                                             \
    X(reach, "reach_confirmed", confirmed)                                     \
    X(reach, "reach_denied", denied)                                           \
    X(reach, "reach_unanswered", unanswered)                                   \
    X(reach, "reach_served", served)                                           \
    X(reach, "reach_refused", refused)                                         \
    X(tree, "broadcast_sent", broadcast_sent)                                  \
    X(tree, "broadcast_refused", broadcast_refused)                            \
    X(tree, "gossip_delivered", gossip_delivered)                              \
    X(tree, "gossip_duplicate", gossip_duplicate)                              \
    X(tree, "gossip_stale", gossip_stale)                                      \
    X(tree, "gossip_bad", gossip_bad)                                          \
    X(tree, "gossip_sent", gossip_sent)                                        \
    X(tree, "graft_sent", graft_sent)                                          \
    X(tree, "graft_received", graft_received)                                  \
    X(tree, "prune_sent", prune_sent)                                          \
    X(tree, "prune_received", prune_received)                                  \
    X(tree, "frame_stranger", frame_stranger)                                  \
    X(tree, "frame_malformed", frame_malformed)                                \
    X(tree, "missing_dropped", missing_dropped)                                \
    X(tree, "missing_expired", missing_expired)                                \
    X(tree, "missing_refused", missing_refused)                                \
    X(tree, "tree_seen_dropped", seen_dropped)                                 \
    X(tree, "tree_cache_dropped", cache_dropped)                               \
    X(tree, "tree_neighbor_refused", neighbor_refused)                         \
    X(tree, "graft_delayed", graft_delayed)                                    \
    X(tree, "graft_limited", graft_limited)                                    \
    X(tree, "graft_unanswered", graft_unanswered)                              \
    X(tree, "prune_limited", prune_limited)                                    \
    X(tree, "tree_memory_refused", memory_refused)                             \
    X(members, "records_news", records_news)                                   \
    X(members, "records_bad", records_bad)                                     \
    X(members, "reports_news", reports_news)                                   \
    X(members, "reports_published", reports_published)                         \
    X(members, "members_refused", members_refused)                             \
    X(members, "members_evicted", members_evicted)                             \
    X(members, "members_forgotten", members_forgotten)                         \
    X(members, "members_ordered_away", members_ordered_away)                   \
    X(members, "records_forgotten", records_forgotten)                         \
    X(members, "refutations", refutations)                                     \
    X(members, "clones_found", clones_found)                                   \
    X(members, "probes_sent", probes_sent)                                     \
    X(members, "mass_deaths", mass_deaths)                                     \
    X(members, "cut_offs", cut_offs)                                           \
    X(members, "syncs_done", syncs_done)                                       \
    X(members, "syncs_failed", syncs_failed)                                   \
    X(members, "summaries_same", summaries_same)                               \
    X(members, "summaries_other", summaries_other)                             \
    X(members, "items_received", items_received)                               \
    X(members, "items_bad", items_bad)                                         \
    X(members, "syncs_refused", syncs_refused)                                 \
    X(members, "syncs_malformed", syncs_malformed)                             \
    X(members, "reports_bad", reports_bad)                                     \
    X(members, "neighbors_refused", neighbors_refused)                         \
    X(members, "probes_dropped", probes_dropped)                               \
    X(members, "tombstones_dropped", tombstones_dropped)                       \
    X(members, "late_wakeups", late_wakeups)                                   \
    X(members, "members_memory_refused", memory_refused)                       \
    X(events, "event_added", event_added)                                      \
    X(events, "event_duplicate", event_duplicate)                              \
    X(events, "event_dropped", event_dropped)                                  \
    X(events, "event_share_spent", event_share_spent)                          \
    X(events, "event_limited", event_limited)                                  \
    X(events, "event_too_old", event_too_old)                                  \
    X(events, "event_summaries", event_summaries)                              \
    X(events, "event_damaged", event_damaged)                                  \
    X(events, "event_memory_refused", memory_refused)                          \
    X(pieces, "event_items_sent", items_sent)                                  \
    X(pieces, "event_items_received", items_received)                          \
    X(pieces, "event_digests_same", digests_same)                              \
    X(pieces, "event_pieces", pieces)                                          \
    X(spool, "values_queued", values_queued)                                   \
    X(spool, "values_sent", values_sent)                                       \
    X(spool, "values_resent", values_resent)                                   \
    X(spool, "values_acked", values_acked)                                     \
    X(spool, "values_dropped", values_dropped)                                 \
    X(spool, "values_refused", values_refused)                                 \
    X(spool, "values_late", values_late)                                       \
    X(spool, "lanes_moved", lanes_moved)                                       \
    X(spool, "spool_links_failed", links_failed)                               \
    X(spool, "spool_links_stuck", links_stuck)                                 \
    X(spool, "spool_acks_bad", acks_bad)                                       \
    X(spool, "spool_series_evicted", series_evicted)                           \
    X(spool, "aggregators_cut", aggregators_cut)                               \
    X(spool, "spool_memory_refused", memory_refused)                           \
    X(intake, "values_received", values_received)                              \
    X(intake, "values_dispatched", values_dispatched)                          \
    X(intake, "values_redispatched", values_redispatched)                      \
    X(intake, "values_seen", values_seen)                                      \
    X(intake, "values_duplicate", values_duplicate)                            \
    X(intake, "values_passed", values_passed)                                  \
    X(intake, "values_stopped", values_stopped)                                \
    X(intake, "intake_links_busy", links_busy)                                 \
    X(intake, "intake_links_refused", links_refused)                           \
    X(intake, "intake_series_evicted", series_evicted)                         \
    X(intake, "intake_memory_refused", memory_refused)                         \
    X(intake, "links_malformed", links_malformed)                              \
    X(bundles, "bundles_news", bundles_news)                                   \
    X(bundles, "bundles_bad", bundles_bad)                                     \
    X(bundles, "bundles_refused", bundles_refused)                             \
    X(bundles, "bundle_slots_reclaimed", slots_reclaimed)                      \
    X(bundles, "bundle_pushes", pushes_accepted)                               \
    X(bundles, "bundle_pushes_refused", pushes_refused)                        \
    X(bundles, "bundle_pushes_lost", pushes_lost)                              \
    X(bundles, "bundle_memory_refused", memory_refused)                        \
    X(content, "bundle_syncs_done", syncs_done)                                \
    X(content, "bundle_syncs_failed", syncs_failed)                            \
    X(content, "bundle_links_refused", links_refused)                          \
    X(content, "bundle_links_malformed", malformed)                            \
    X(content, "bundle_items_received", items_received)                        \
    X(content, "bundles_spread_again", spread_again)                           \
    X(content, "chunks_sent", chunks_sent)                                     \
    X(content, "chunks_received", chunks_received)                             \
    X(content, "chunks_absent", chunks_absent)                                 \
    X(content, "chunks_denied", chunks_denied)                                 \
    X(content, "chunks_bad", chunks_bad)                                       \
    X(content, "chunks_unstored", chunks_unstored)                             \
    X(content, "chunks_late", chunks_late)                                     \
    X(content, "bundle_fetches_done", fetches_done)                            \
    X(content, "bundle_fetches_paused", fetches_paused)                        \
    X(content, "bundle_neighbors_refused", neighbors_refused)                  \
    X(content, "bundle_sync_memory_refused", memory_refused)                   \
    X(members, "records_trimmed", records_trimmed)                             \
    X(members, "bundle_states_cut", bundle_states_cut)                         \
    X(own, "bundles_unsealed", bundle_unsealed)                                \
    X(overlay, "frames_received", frame_received)                              \
    X(overlay, "frames_sent", frame_sent)                                      \
    X(overlay, "frames_misplaced", frame_misplaced)                            \
    X(overlay, "sends_dropped", send_dropped)                                  \
    X(own, "statements_bad", statement_bad)                                    \
    X(own, "events_sent", event_sent)                                          \
    X(own, "events_received", event_received)                                  \
    X(own, "events_learned", event_learned)                                    \
    X(own, "events_unread", event_unread)                                      \
    X(own, "events_mild", event_mild)                                          \
    X(own, "events_unsealed", event_unsealed)                                  \
    X(published, "publishers_refused", refused)                                \
    X(own, "memory_refused", memory_refused)                                   \
    X(clock, "hlc_merged", remote_merged)                                      \
    X(clock, "hlc_refused", remote_refused)                                    \
    X(wall, "clock_samples_taken", sample_taken)                               \
    X(wall, "clock_samples_refused", sample_refused)                           \
    X(wall, "clock_peers_dropped", peer_dropped)                               \
    X(wall, "clock_alarms_raised", alarm_raised)                               \
    X(wall, "clock_alarms_cleared", alarm_cleared)                             \
    X(wall, "clock_steps", step_seen)

#define GAUGES(X)                                                              \
    X("members_online", count_of(e, argus_MemberState_MEMBER_ONLINE))          \
    X("members_suspect", count_of(e, argus_MemberState_MEMBER_SUSPECT))        \
    X("members_offline", count_of(e, argus_MemberState_MEMBER_OFFLINE))        \
    X("quarantined", e->insiders.quarantine.count)                             \
    X("clock_samples", clock_samples(e))                                       \
    X("clock_alarm", clock_is_alarmed(e))                                      \
    X("clock_epoch", clock_epoch(overlay_clock(e->overlay)))                   \
    X("links", links_count(e->links))                                          \
    X("active", membership_active_count(e->membership))                        \
    X("passive", membership_passive_count(e->membership))                      \
    X("lost", membership_lost_count(e->membership))                            \
    X("events", timeline_count(e->timeline))                                   \
    X("queue_values", spool->values)                                           \
    X("queue_bytes", spool->bytes)                                             \
    X("intake_waiting", intake->values_waiting)                                \
    X("bundle_slots", bundles_slots_count(e->bundles))                         \
    X("bundle_fetches", bundle_sync_fetches(e->bundle_sync))

static uint32_t count_of(const struct engine *e, argus_MemberState state)
{
    return directory_count(e->directory, state);
}

static struct clock_view clock_now(const struct engine *e)
{
    struct clock_view v;

    clock_view(overlay_clock(e->overlay), overlay_reading(e->overlay), &v);
    return v;
}

static uint32_t clock_samples(const struct engine *e)
{
    return clock_now(e).samples;
}

static bool clock_is_alarmed(const struct engine *e)
{
    return clock_now(e).state == CLOCK_ALARMED;
}

uint32_t engine_counters(const struct engine *e, struct engine_counter *out,
                         uint32_t max)
{
    const struct overlay_stats *overlay = overlay_stats(e->overlay);
    const struct links_stats *links = links_stats(e->links);
    const struct membership_stats *views = membership_stats(e->membership);
    const struct plumtree_stats *tree = plumtree_stats(e->plumtree);
    const struct directory_stats *members = directory_stats(e->directory);
    const struct timeline_stats *events = timeline_stats(e->timeline);
    const struct event_sync_stats *pieces = &e->event_sync.stats;
    const struct spool_stats *spool = spool_stats(e->spool);
    const struct intake_stats *intake = intake_stats(e->intake);
    const struct bundles_stats *bundles = bundles_stats(e->bundles);
    const struct bundle_sync_stats *content = bundle_sync_stats(e->bundle_sync);
    const struct engine_stats *own = &e->stats;
    const struct publishers_stats *published = publishers_stats(e->publishers);
    const struct quarantine_stats *insiders = &e->insiders.quarantine.stats;
    const struct reach_stats *reach = &e->reach.stats;
    const struct origins_stats *authors = &e->insiders.origins.stats;
    const struct hlc_stats *clock = &e->hlc->stats;
    const struct clock_stats *wall = clock_stats(overlay_clock(e->overlay));
    const struct engine_counter all[] = {
#define COUNTER_ROW(part, name, field) {name, part->field, false},
        COUNTERS(COUNTER_ROW)
#undef COUNTER_ROW
#define GAUGE_ROW(name, value) {name, value, true},
            GAUGES(GAUGE_ROW)
#undef GAUGE_ROW
    };
    uint32_t count = (uint32_t)(sizeof all / sizeof all[0]);

    if (count > max)
        count = max;
    memcpy(out, all, count * sizeof all[0]);
    return count;
}
