#include "core/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/status.h"
#include "base/text.h"
#include "core/engine_impl.h"

/* --------------------------------------------------- the way outward */

/* Whatever the overlay lets out passes here. */
static void engine_emit(void *context, const struct action *action)
{
    struct engine *e = context;

    if (action->type == ACTION_DIAL &&
        !insiders_on_dial(e, action->dial.dial, action->dial.expected))
        return;
    if (action->type == ACTION_LOG && !insiders_on_log(e, action->log.level))
        return;
    e->owner->emit(e->owner->context, action);
}

static void store(struct engine *e, enum store_what what,
                  const struct node_id *key, const char *text, uint64_t number)
{
    struct action a = {.type = ACTION_STORE,
                       .store = {.what = what, .text = text, .number = number}};
    if (key != NULL)
        a.store.key = *key;
    e->owner->emit(e->owner->context, &a);
}

/* --------------------------------------------------- what parts tell */

static void flooded(void *context, const struct peer_info *peer)
{
    insiders_on_flood(context, peer);
}

static void broken(void *context, link_id link)
{
    insiders_strike(context, link);
}

static void neighbor_up(void *context, link_id link,
                        const struct peer_info *peer, struct actions *out)
{
    struct engine *e = context;

    (void)link;
    reach_neighbor_up(&e->reach, e->now_ms);
    directory_neighbor_up(e->directory, e->now_ms, e->wall_us, peer, out);
    bundle_sync_neighbor_up(e->bundle_sync, e->now_ms, e->wall_us, peer, out);
}

/* An orderly end says nothing about the peer's health; all else is evidence,
 * and so is that its key or certificate is worth nothing any more. */
static void neighbor_down(void *context, link_id link,
                          const struct node_id *peer, enum link_end why,
                          argus_RefuseCode code, struct actions *out)
{
    struct engine *e = context;

    (void)link;
    bundle_sync_neighbor_down(e->bundle_sync, peer);
    if (why == LINK_END_CLOSED && code != argus_RefuseCode_REFUSE_KEY)
        directory_neighbor_released(e->directory, e->now_ms, e->wall_us, peer,
                                    out);
    else
        directory_neighbor_lost(e->directory, e->now_ms, e->wall_us, peer, why,
                                code, out);
}

static void learned_address(void *context, const struct node_id *peer,
                            const char *address, struct actions *out)
{
    (void)out;
    store(context, STORE_ADDRESS, peer, address, 0);
}

static bool is_live_member(const struct member *m)
{
    return m != NULL && !m->is_self &&
           (m->state == argus_MemberState_MEMBER_ONLINE ||
            m->state == argus_MemberState_MEMBER_SUSPECT);
}

bool engine_knows_address(const struct engine *e, const char *address)
{
    return directory_find_address(e->directory, address) != NULL;
}

static bool is_live_address(void *context, const char *address)
{
    return engine_knows_address(context, address);
}

static bool is_live(void *context, const struct node_id *id)
{
    struct engine *e = context;
    return is_live_member(directory_find(e->directory, id));
}

static bool has_left(void *context, const struct node_id *id)
{
    struct engine *e = context;
    const struct member *m = directory_find(e->directory, id);

    return m != NULL && m->has_left;
}

static struct membership_peer peer_of(const struct member *m)
{
    return (struct membership_peer){.id = m->id,
                                    .generation = m->generation,
                                    .role = m->role,
                                    .zone = zone_pack(m->zone),
                                    .address = m->address};
}

static bool is_meant(const struct member *m, struct membership_wish wish)
{
    return !m->is_self && (wish.live ? is_live_member(m) : !m->has_left) &&
           (!wish.aggregator || m->role == argus_Role_ROLE_AGGREGATOR);
}

bool engine_any_member(struct engine *e, uint32_t pick,
                       struct membership_wish wish, struct membership_peer *out)
{
    const struct member *m = NULL;
    uint32_t count = 0;

    for (int s = argus_MemberState_MEMBER_UNKNOWN;
         s <= argus_MemberState_MEMBER_LEFT; s++)
        count += directory_count(e->directory, (argus_MemberState)s);
    for (uint32_t i = 0; i < count; i++) {
        m = directory_member(e->directory, (pick % count + i) % count);
        if (is_meant(m, wish)) {
            *out = peer_of(m);
            return true;
        }
    }
    return false;
}

static bool any_member(void *context, uint32_t pick,
                       struct membership_wish wish, struct membership_peer *out)
{
    return engine_any_member(context, pick, wish, out);
}

static void spread(void *context, const uint8_t *payload, size_t size)
{
    struct engine *e = context;
    (void)overlay_broadcast(e->overlay, payload, size);
}

static uint64_t stamp_own(void *context)
{
    struct engine *e = context;
    uint64_t stamp = hlc_stamp(e->hlc, e->wall_us);

    store(e, STORE_HLC, NULL, NULL, stamp);
    return stamp;
}

static void generation_raised(void *context, uint32_t generation)
{
    struct engine *e = context;

    e->options.generation = generation;
    membership_set_generation(e->membership, generation);
    store(e, STORE_GENERATION, &e->options.id, NULL, generation);
}

/* "node web-17 is offline (reset, says web-3)" */
static void log_change(struct engine *e, const struct member *m)
{
    argus_Report report;
    const char *name = m->name != NULL && m->name[0] != '\0' ? m->name : "?";
    enum log_level level = m->state == argus_MemberState_MEMBER_OFFLINE
                               ? LOG_LEVEL_WARNING
                               : LOG_LEVEL_NOTICE;

    if ((m->state == argus_MemberState_MEMBER_OFFLINE ||
         m->state == argus_MemberState_MEMBER_SUSPECT) &&
        directory_report(m, &report))
        actions_log(&e->out, level, "node %s is %s (%s, says %s)", name,
                    member_state_word(m->state), report.reason,
                    directory_name(e->directory, &m->report->author));
    else
        actions_log(&e->out, level, "node %s is %s", name,
                    member_state_word(m->state));
}

static void note_changed(struct engine *e, const struct node_id *id)
{
    if (e->changed_count == e->changed_room) {
        uint32_t room = e->changed_room == 0 ? 16 : 2 * e->changed_room;
        struct node_id *grown = realloc(e->changed, room * sizeof *grown);
        if (grown == NULL) {
            e->stats.memory_refused++;
            return;
        }
        e->changed = grown;
        e->changed_room = room;
    }
    e->changed[e->changed_count++] = *id;
}

static void member_changed(void *context, const struct member *m,
                           argus_MemberState old_state)
{
    struct engine *e = context;

    if (m->is_self)
        return;
    if (old_state != m->state && e->is_started)
        log_change(e, m);
    if (old_state != m->state)
        engine_alarms_on_change(e, m, old_state);
    engine_namesake_on_change(e, m);
    note_changed(e, &m->id);
}

static void member_forgotten(void *context, const struct node_id *id)
{
    engine_alarms_forget(context, id);
    note_changed(context, id);
}

static void offer(struct engine *e, const struct member *m)
{
    const struct membership_peer peer = peer_of(m);
    membership_offer(e->membership, e->now_ms, &peer, &e->out);
}

/* What follows for the views, once the directory is at rest again. */
static void settle_changes(struct engine *e)
{
    for (uint32_t i = 0; i < e->changed_count; i++) {
        const struct node_id id = e->changed[i];
        const struct member *m = directory_find(e->directory, &id);

        if (m == NULL || m->state == argus_MemberState_MEMBER_LEFT)
            membership_forget(e->membership, &id);
        else if (m->state == argus_MemberState_MEMBER_ONLINE)
            offer(e, m);
        else if (m->state == argus_MemberState_MEMBER_OFFLINE)
            membership_lose(e->membership, e->now_ms, &id, &e->out);
    }
    e->changed_count = 0;
}

static bool reserve_aggregators(struct engine *e, uint32_t count)
{
    if (count <= e->aggregators_room)
        return true;
    struct aggregator *grown = realloc(e->aggregators, count * sizeof *grown);
    if (grown == NULL)
        return false;
    e->aggregators = grown;
    e->aggregators_room = count;
    return true;
}

/* One that is only suspect stays in use: whether it answers, the metrics link
 * finds out by itself, and most suspicions are refuted. */
static struct aggregator aggregator_of(const struct member *m)
{
    struct aggregator a = {
        .id = m->id,
        .weight = m->weight,
        .usable = m->state == argus_MemberState_MEMBER_ONLINE ||
                  m->state == argus_MemberState_MEMBER_SUSPECT,
    };
    text_copy(a.name, sizeof a.name, m->name);
    text_copy(a.zone, sizeof a.zone, m->zone);
    text_copy(a.address, sizeof a.address, m->address);
    return a;
}

/* Both routers follow the directory. This node comes last in the list, so that
 * the spool's is the same without it: nobody sends values to himself. */
static void settle_aggregators(struct engine *e)
{
    uint64_t stamp = directory_aggregators_stamp(e->directory);
    const struct member *m, *self = NULL;
    uint32_t count = 0;

    if (e->aggregators_told && stamp == e->aggregators_stamp)
        return;
    for (uint32_t i = 0; (m = directory_aggregator(e->directory, i)); i++) {
        if (!reserve_aggregators(e, count + 2)) {
            e->stats.memory_refused++;
            return;
        }
        if (m->is_self)
            self = m;
        else
            e->aggregators[count++] = aggregator_of(m);
    }
    e->aggregators_stamp = stamp;
    e->aggregators_told = true;
    spool_on_aggregators(e->spool, e->now_ms, e->aggregators, count, &e->out);
    if (self != NULL)
        e->aggregators[count++] = aggregator_of(self);
    if (router_set(e->router, e->aggregators, count) == ARGUS_ENOMEM)
        e->stats.memory_refused++;
}

/* ------------------------------------------------------- broadcasts */

static enum plumtree_verdict deliver_body(struct engine *e, link_id from,
                                          const uint8_t *payload, size_t size,
                                          const argus_Statement *s,
                                          const struct node_id *author)
{
    switch (s->which_body) {
    case argus_Statement_event_tag:
        return engine_events_deliver(e, payload, size, &s->body.event, author);
    case argus_Statement_bundle_tag:
        return engine_bundles_deliver(e, from, &s->body.bundle);
    case argus_Statement_record_tag:
    case argus_Statement_report_tag: break;
    default: /* of a later version; it is signed, so pass it on */
        return PLUMTREE_NEWS;
    }
    switch (directory_on_statement(e->directory, e->now_ms, e->wall_us, payload,
                                   size, s, author, &e->out)) {
    case DIRECTORY_NEWS: return PLUMTREE_NEWS;
    case DIRECTORY_BAD: e->stats.statement_bad++; return PLUMTREE_BAD;
    case DIRECTORY_STALE: break;
    }
    return PLUMTREE_STALE;
}

static enum plumtree_verdict deliver(void *context, link_id from,
                                     const uint8_t *payload, size_t size,
                                     const uint8_t id[CONTENT_ID_SIZE])
{
    struct engine *e = context;
    enum plumtree_verdict verdict = PLUMTREE_STALE;
    argus_Statement s;
    struct node_id author;
    struct guarded g;

    (void)id;
    if (!e->options.seal.open(e->options.seal.context, payload, size, &s,
                              &author)) {
        e->stats.statement_bad++;
        return PLUMTREE_BAD;
    }
    if (insiders_admit(e, from, &s, &author, &g))
        verdict = deliver_body(e, from, payload, size, &s, &author);
    insiders_judge(e, &g, verdict);
    return verdict;
}

/* ------------------------------------------- links of other kinds */

static void link_up(void *context, link_id link, dial_id dial,
                    const struct peer_info *peer)
{
    struct engine *e = context;
    uint32_t tag = (uint32_t)(dial >> 56);

    if (tag == REACH_DIAL_TAG)
        reach_on_dialed(&e->reach, dial, &e->out);

    directory_heard(e->directory, e->now_ms, e->wall_us, &peer->id);
    if (peer->kind == argus_LinkKind_LINK_MESH &&
        (dial == 0 || tag == MEMBERSHIP_DIAL_TAG))
        return; /* the membership's */
    if (peer->kind == argus_LinkKind_LINK_METRICS && dial == 0)
        intake_on_link_up(e->intake, e->now_ms, link, peer, &e->out);
    else if (peer->kind == argus_LinkKind_LINK_METRICS && tag == SPOOL_DIAL_TAG)
        spool_on_link_up(e->spool, e->now_ms, link, dial, peer, &e->out);
    else if (peer->kind == argus_LinkKind_LINK_BUNDLE &&
             (dial == 0 || tag == BUNDLE_DIAL_TAG))
        bundle_sync_on_link_up(e->bundle_sync, e->now_ms, e->wall_us, link,
                               dial, peer, &e->out);
    else if (tag == DIRECTORY_DIAL_TAG ||
             peer->kind == argus_LinkKind_LINK_SYNC)
        directory_on_link_up(e->directory, e->now_ms, e->wall_us, link, dial,
                             peer, &e->out);
    else
        actions_close(&e->out, link, argus_RefuseCode_REFUSE_BYE, "answered");
}

static void link_down(void *context, link_id link, const struct peer_info *peer,
                      enum link_end why, argus_RefuseCode code)
{
    struct engine *e = context;

    switch (peer->kind) {
    case argus_LinkKind_LINK_METRICS: /* each ignores the other's */
        spool_on_link_down(e->spool, e->now_ms, link, why, code, &e->out);
        intake_on_link_down(e->intake, e->now_ms, link, &e->out);
        break;
    case argus_LinkKind_LINK_BUNDLE:
        bundle_sync_on_link_down(e->bundle_sync, e->now_ms, e->wall_us, link,
                                 &e->out);
        break;
    default:
        directory_on_link_down(e->directory, e->now_ms, e->wall_us, link, why,
                               code, &e->out);
        break;
    }
}

/* A member that was not known is worth its price, a newer word of one that was
 * half of it: a peer can make up many. */
static void on_sync_frame(struct engine *e, link_id link, const argus_Frame *f)
{
    const struct directory_stats *stats = directory_stats(e->directory);
    uint64_t news = stats->records_news + stats->reports_news;
    uint32_t members = directory_members(e->directory);

    directory_on_frame(e->directory, e->now_ms, e->wall_us, link, f, &e->out);
    news = stats->records_news + stats->reports_news - news;
    if (news > 0)
        links_refund(e->links, link,
                     (uint32_t)news / 2 +
                         (directory_members(e->directory) - members));
}

static void on_metrics_frame(struct engine *e, link_id link,
                             const argus_Frame *f)
{
    uint64_t released = intake_stats(e->intake)->hosts_released;

    if (links_dial(e->links, link) != 0) {
        spool_on_frame(e->spool, e->now_ms, link, f, &e->out);
        return;
    }
    intake_on_frame(e->intake, e->now_ms, link, f, &e->out);
    if (intake_stats(e->intake)->hosts_released != released)
        links_refund(e->links, link, 1);
}

/* Neighbors alone are asked, and answered. */
static bool on_address_frame(struct engine *e, link_id link,
                             const struct peer_info *peer, const argus_Frame *f)
{
    if (f->which_body != argus_Frame_address_check_tag &&
        f->which_body != argus_Frame_address_result_tag)
        return false;
    if (membership_is_active_link(e->membership, link))
        reach_on_frame(&e->reach, e->now_ms, link, &peer->id, peer->name, f,
                       &e->out);
    return true;
}

static bool any_neighbor(void *context, uint32_t pick,
                         const struct node_id *but, link_id *link,
                         struct node_id *id)
{
    struct engine *e = context;
    uint32_t count = membership_active_count(e->membership);
    struct membership_peer p;

    for (uint32_t i = 0; i < count; i++) {
        if (!membership_active(e->membership, (pick % count + i) % count, &p))
            return false;
        if (count > 1 && node_id_is_equal(&p.id, but))
            continue;
        *link = p.link;
        *id = p.id;
        return true;
    }
    return false;
}

static void set_address(struct engine *e, const char *address)
{
    text_copy(e->options.address, ADDRESS_SIZE, address);
    membership_set_address(e->membership, address);
    directory_set_address(e->directory, e->now_ms, e->wall_us, address,
                          &e->out);
}

static void moved(void *context, const char *address, struct actions *out)
{
    set_address(context, address);
    actions_address(out, address);
}

static void open_reach(struct engine *e, uint64_t seed)
{
    const struct reach_options options = {.seed = seed,
                                          .is_on = e->options.checks_address,
                                          .listen_port =
                                              e->options.listen_port};
    const struct reach_listener listener = {e, any_neighbor, moved};

    reach_init(&e->reach, &options, &listener);
    reach_set_own(&e->reach, 0, e->options.address);
}

static bool on_mesh_frame(struct engine *e, link_id link,
                          const struct peer_info *peer, const argus_Frame *f)
{
    if (f->which_body != argus_Frame_summary_tag)
        return on_address_frame(e, link, peer, f);
    engine_on_summary(e, link, peer, &f->body.summary);
    return true;
}

static bool on_frame(void *context, link_id link, const struct peer_info *peer,
                     const argus_Frame *f)
{
    struct engine *e = context;

    switch (peer->kind) {
    case argus_LinkKind_LINK_MESH: return on_mesh_frame(e, link, peer, f);
    case argus_LinkKind_LINK_METRICS: on_metrics_frame(e, link, f); break;
    case argus_LinkKind_LINK_SYNC: on_sync_frame(e, link, f); break;
    case argus_LinkKind_LINK_BUNDLE:
        bundle_sync_on_frame(e->bundle_sync, e->now_ms, e->wall_us, link, f,
                             &e->out);
        break;
    default: return false;
    }
    return true;
}

/* ------------------------------------------------------------- life */

static int new_overlay(struct engine *e, uint64_t seed, uint64_t tree_seed)
{
    const struct engine_options *o = &e->options;
    struct overlay_options overlay = {
        .membership = {.seed = seed,
                       .strategy = o->strategy,
                       .role = o->role,
                       .zone = zone_pack(o->zone),
                       .zone_bias = o->zone_bias,
                       .id = o->id,
                       .generation = o->generation,
                       .active_max = o->active_max,
                       .passive_max = o->passive_max,
                       .shuffle_ms = o->shuffle_ms,
                       .contacts = o->contacts,
                       .contacts_count = o->contacts_count,
                       .calls = o->calls},
        .tree_seed = tree_seed,
        .hash = o->seal.hash,
        .ping_ms = o->ping_ms,
        .suspect_ms = o->suspect_ms,
        .started_ms = o->started_ms,
        .hlc_mark = o->hlc_mark,
        .clock_max_offset_ms = o->clock_max_offset_ms,
        .clock_alarm_ms = o->clock_alarm_ms};
    struct overlay_listener up = {.context = e,
                                  .deliver = deliver,
                                  .neighbor_up = neighbor_up,
                                  .neighbor_down = neighbor_down,
                                  .learned_address = learned_address,
                                  .is_live_address = is_live_address,
                                  .is_live = is_live,
                                  .has_left = has_left,
                                  .any_member = any_member,
                                  .link_up = link_up,
                                  .link_down = link_down,
                                  .frame = on_frame,
                                  .flooded = flooded,
                                  .broken = broken};
    struct actions sink = {.emit = engine_emit, .context = e};

    text_copy(overlay.membership.address, sizeof overlay.membership.address,
              o->address);
    int rc = overlay_new(&overlay, &up, &sink, &e->overlay);
    if (rc != ARGUS_OK)
        return rc;
    e->out = *overlay_actions(e->overlay);
    e->links = overlay_links(e->overlay);
    e->membership = overlay_membership(e->overlay);
    e->plumtree = overlay_tree(e->overlay);
    e->hlc = overlay_hlc(e->overlay);
    return ARGUS_OK;
}

static int new_statements(struct engine *e)
{
    const struct engine_options *o = &e->options;
    struct directory_listener directory_up = {
        .context = e,
        .broadcast = spread,
        .stamp = stamp_own,
        .member_changed = member_changed,
        .member_forgotten = member_forgotten,
        .generation_raised = generation_raised,
        .summarize = engine_summarize,
        .events_begin = engine_events_begin,
        .events_frame = engine_events_frame};

    int rc = engine_events_new(e);
    return rc != ARGUS_OK ? rc
                          : directory_new(o, 0, &directory_up, &e->directory);
}

static int new_routing(struct engine *e, uint64_t seed)
{
    const struct engine_options *o = &e->options;
    struct spool_options spool = {.seed = seed,
                                  .generation = o->generation,
                                  .zone = o->zone,
                                  .bytes_max = o->spool_bytes_max,
                                  .write_order_known = o->write_order_known,
                                  .describe = o->describe};
    struct intake_options intake = {
        .is_aggregator = o->role == argus_Role_ROLE_AGGREGATOR,
        .queue_max = o->intake_queue_max,
        .redispatch_max = o->redispatch_max,
        .threads = o->threads,
        .listener = {.context = e, .is_online = is_live}};

    int rc = spool_new(&spool, &e->spool);
    if (rc == ARGUS_OK)
        rc = intake_new(&intake, &e->intake);
    return rc != ARGUS_OK ? rc : router_new(o->zone, &e->router);
}

int engine_new(const struct engine_options *options, struct engine **out)
{
    struct prng seeds;
    struct engine *e = calloc(1, sizeof *e);

    if (e == NULL)
        return ARGUS_ENOMEM;
    e->options = *options;
    insiders_open(e);
    engine_alarms_open(e);
    /* A generator of its own for each part: a change in one does not change
     * the run of the others. */
    prng_seed(&seeds, options->seed);
    uint64_t views_seed = prng_next(&seeds), tree_seed = prng_next(&seeds);
    int rc = new_overlay(e, views_seed, tree_seed);
    if (rc == ARGUS_OK)
        rc = new_statements(e);
    if (rc == ARGUS_OK)
        rc = new_routing(e, prng_next(&seeds));
    if (rc == ARGUS_OK)
        rc = engine_bundles_new(e, prng_next(&seeds));
    if (rc == ARGUS_OK)
        rc = engine_publishers_new(e);
    open_reach(e, prng_next(&seeds));
    if (rc != ARGUS_OK) {
        engine_free(e);
        return rc;
    }
    e->options.contacts = NULL; /* the caller's */
    *out = e;
    return ARGUS_OK;
}

void engine_free(struct engine *e)
{
    if (e == NULL)
        return;
    insiders_close(e);
    engine_offline_free(e);
    engine_alarms_free(e);
    engine_bundles_free(e);
    router_free(e->router);
    intake_free(e->intake);
    spool_free(e->spool);
    directory_free(e->directory);
    engine_events_free(e);
    publishers_free(e->publishers);
    overlay_free(e->overlay);
    free(e->aggregators);
    free(e->changed);
    free(e);
}

/* Whoever is on disk may still live: candidates, until a dial says no. */
static void on_start(struct engine *e)
{
    const struct member *m;

    for (uint32_t i = 0; (m = directory_member(e->directory, i)); i++)
        if (!m->is_self && !m->has_left)
            offer(e, m);
    e->is_started = true;
    e->start_ms = e->now_ms;
    engine_clock_start(e);
    directory_start(e->directory, e->now_ms, e->wall_us, &e->out);
    overlay_start(e->overlay);
    bundles_start(e->bundles, e->wall_us);
    bundle_sync_start(e->bundle_sync, e->now_ms, e->wall_us, &e->out);
}

/* The acknowledgements stop first: what collectd frees unwritten from here on
 * must stay with its sender. Then the news of the stop, while there are
 * neighbors to tell; then the goodbyes. */
static void on_stop(struct engine *e)
{
    if (e->is_stopped)
        return;
    e->is_stopped = true;
    engine_events_settle(e);
    intake_freeze(e->intake);
    spool_flush(e->spool, e->now_ms, &e->out);
    overlay_hurry(e->overlay);
    bundle_sync_stop(e->bundle_sync);
    directory_stop(e->directory, e->now_ms, e->wall_us, &e->out);
    overlay_leave(e->overlay);
}

/* ------------------------------------------------------------ links */

void engine_on_dial_failed(struct engine *e, dial_id dial, enum link_end why,
                           argus_RefuseCode code)
{
    switch (dial >> 56) {
    case MEMBERSHIP_DIAL_TAG:
        (void)overlay_on_dial_failed(e->overlay, dial, why, code);
        break;
    case DIRECTORY_DIAL_TAG:
        directory_on_dial_failed(e->directory, e->now_ms, e->wall_us, dial, why,
                                 code, &e->out);
        break;
    case SPOOL_DIAL_TAG:
        spool_on_dial_failed(e->spool, e->now_ms, dial, why, code, &e->out);
        break;
    case REACH_DIAL_TAG:
        reach_on_dial_failed(&e->reach, dial, why, code, &e->out);
        break;
    case BUNDLE_DIAL_TAG:
        bundle_sync_on_dial_failed(e->bundle_sync, e->now_ms, e->wall_us, dial,
                                   &e->out);
        break;
    }
}

static void on_link_up(struct engine *e, link_id link, dial_id dial,
                       const struct peer_info *peer)
{
    if (!insiders_on_link_up(e, link, dial, peer))
        return;
    if (!overlay_on_link_up(e->overlay, link, dial, peer) && dial != 0 &&
        dial >> 56 != MEMBERSHIP_DIAL_TAG)
        engine_on_dial_failed(e, dial, LINK_END_LOCAL,
                              argus_RefuseCode_REFUSE_BUSY);
}

/* ------------------------------------------------------ other inputs */

static void on_timeout(struct engine *e)
{
    overlay_on_timeout(e->overlay);
    reach_on_timeout(&e->reach, e->now_ms, &e->out);
    directory_on_timeout(e->directory, e->now_ms, e->wall_us, &e->out);
    spool_on_timeout(e->spool, e->now_ms, &e->out);
    intake_on_timeout(e->intake, e->now_ms, &e->out);
    bundles_on_timeout(e->bundles, e->now_ms, e->wall_us);
    bundle_sync_on_timeout(e->bundle_sync, e->now_ms, e->wall_us, &e->out);
    engine_publishers_on_timeout(e);
    engine_alarms_on_timeout(e);
    insiders_on_timeout(e);
    engine_events_on_timeout(e);
}

static bool is_loopback(const char *ip)
{
    return strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0;
}

/* Our address lacks its host until a peer says where it sees us. A loopback
 * address gives way to a real one, and never the other way round. */
static void on_observed(struct engine *e, const char *ip)
{
    char address[ADDRESS_SIZE];
    char *own = e->options.address;
    const char *port = strrchr(own, ':');

    reach_on_observed(&e->reach, ip);
    bool open = own[0] == ':' && strncmp(ip, "fe80:", 5) != 0;
    bool loopback =
        strncmp(own, "127.", 4) == 0 || strncmp(own, "[::1]", 5) == 0;
    if (port == NULL || (!open && !(loopback && !is_loopback(ip))))
        return;
    if (!text_join_address(address, sizeof address, ip, port + 1))
        return;
    set_address(e, address);
    reach_set_own(&e->reach, e->now_ms, address);
}

/* From disk. Records came before, and say more than where it was reached. */
static void on_address(struct engine *e, const struct node_id *id,
                       const char *address)
{
    const struct member *m = directory_find(e->directory, id);
    struct membership_peer peer = {.id = *id};

    if (m != NULL)
        peer = peer_of(m);
    peer.generation = 0;
    peer.address = address;
    membership_offer(e->membership, e->now_ms, &peer, &e->out);
}

static void on_values(struct engine *e, const struct value_input *values,
                      uint32_t count)
{
    engine_publishers_on_values(e, values, count);
    if (e->options.route)
        spool_on_values(e->spool, e->now_ms, values, count, &e->out);
}

static void on_call(struct engine *e, const struct event *event)
{
    const struct membership_peer caller = {.id = event->call.id,
                                           .role = event->call.role,
                                           .address = event->call.address};

    overlay_on_call(
        e->overlay, &caller,
        directory_count(e->directory, argus_MemberState_MEMBER_ONLINE));
}

static void on_join(struct engine *e, const char *address, int *result)
{
    *result = overlay_join(e->overlay, address);
    if (*result != ARGUS_OK)
        return;
    directory_return(e->directory, e->now_ms, e->wall_us, &e->out);
    bundle_sync_start(e->bundle_sync, e->now_ms, e->wall_us, &e->out);
}

static void on_leave(struct engine *e)
{
    engine_events_settle(e);
    overlay_hurry(e->overlay);
    bundle_sync_stop(e->bundle_sync);
    directory_leave(e->directory, e->now_ms, e->wall_us, &e->out);
    overlay_leave(e->overlay);
}

static void dispatch(struct engine *e, const struct event *event)
{
    switch (event->type) {
    case EVENT_START: on_start(e); break;
    case EVENT_TIMEOUT: on_timeout(e); break;
    case EVENT_LINK_UP:
        on_link_up(e, event->link_up.link, event->link_up.dial,
                   event->link_up.peer);
        break;
    case EVENT_LINK_DOWN:
        overlay_on_link_down(e->overlay, event->link_down.link,
                             event->link_down.why, event->link_down.code);
        break;
    case EVENT_DIAL_FAILED:
        engine_on_dial_failed(e, event->dial_failed.dial,
                              event->dial_failed.why, event->dial_failed.code);
        break;
    case EVENT_FRAME:
        overlay_on_frame(e->overlay, event->frame.link, event->frame.frame);
        break;
    case EVENT_LINK_DRAINED:
        spool_on_drained(e->spool, e->now_ms, event->drained, &e->out);
        break;
    case EVENT_VALUES:
        on_values(e, event->values.values, event->values.count);
        break;
    case EVENT_SEEN:
        intake_on_seen(e->intake, e->now_ms, event->seen.tokens,
                       event->seen.count, &e->out);
        break;
    case EVENT_PASSED:
        intake_on_passed(e->intake, e->now_ms, event->seen.tokens,
                         event->seen.count, &e->out);
        break;
    case EVENT_PROGRESS:
        intake_on_progress(e->intake, e->now_ms, event->progress);
        break;
    case EVENT_NOTICE:
        engine_notice(e, event->notice.event, event->notice.always,
                      event->notice.hlc, event->notice.number);
        break;
    case EVENT_SETTLE: engine_events_settle(e); break;
    case EVENT_RECORD:
        (void)directory_load(e->directory, e->now_ms, e->wall_us,
                             &event->record.id, event->record.data,
                             event->record.size);
        break;
    case EVENT_EVENT_ROW:
        engine_events_load(e, event->event_row.data, event->event_row.size);
        break;
    case EVENT_ADDRESS:
        on_address(e, &event->address.id, event->address.address);
        break;
    case EVENT_OBSERVED: on_observed(e, event->observed); break;
    case EVENT_CALL: on_call(e, event); break;
    case EVENT_JOIN: on_join(e, event->join.address, event->join.result); break;
    case EVENT_LEAVE: on_leave(e); break;
    case EVENT_BUNDLE_ROW:
    case EVENT_BUNDLE_PUSH:
    case EVENT_BUNDLE_STATES:
    case EVENT_BUNDLES_KEPT:
    case EVENT_KEYS: engine_bundles_on_event(e, event); break;
    case EVENT_STOP: on_stop(e); break;
    }
}

void engine_step(struct engine *e, const struct event *event,
                 struct actions *out)
{
    assert(event->now_ms >= e->now_ms);
    e->now_ms = event->now_ms;
    overlay_advance_boot(e->overlay, event->now_ms,
                         event->boot_us != 0 ? event->boot_us
                                             : event->now_ms * 1000,
                         event->wall_us);
    e->wall_us = overlay_time_us(e->overlay);
    e->owner = out;
    e->steps++;
    dispatch(e, event);
    insiders_settle(e);
    engine_orders_obey(e);
    engine_clock_settle(e);
    settle_changes(e);
    settle_aggregators(e);
    engine_bundles_settle(e);
    e->owner = NULL;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t engine_deadline_ms(const struct engine *e)
{
    uint64_t d = overlay_deadline_ms(e->overlay);
    d = least(d, directory_deadline_ms(e->directory));
    d = least(d, spool_deadline_ms(e->spool));
    d = least(d, bundles_deadline_ms(e->bundles));
    d = least(d, bundle_sync_deadline_ms(e->bundle_sync));
    d = least(d, insiders_deadline_ms(e));
    d = least(d, publishers_deadline_ms(e->publishers));
    d = least(d, reach_deadline_ms(&e->reach));
    d = least(d, engine_events_deadline_ms(e));
    d = least(d, engine_alarms_deadline_ms(e));
    return least(d, intake_deadline_ms(e->intake));
}

uint64_t engine_pending(const struct engine *e)
{
    return spool_pending(e->spool);
}

bool engine_can_send(const struct engine *e)
{
    return spool_can_send(e->spool);
}
