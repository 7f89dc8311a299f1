#include "core/engine_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINKS_MAX 512
#define LINKS_OF_A_PEER_MAX 8
#define AGGREGATORS_FIRST 16

/* ------------------------------------------------------- the way out */

/* Every frame that leaves carries a stamp, and none leaves on a link that we
 * have closed: a part may not know yet what another did in the same step. The
 * frames of the parts are their own scratch, const only on their way to us. */
static void sink_emit(void *context, const struct action *action)
{
    struct engine *e = context;

    if (action->type == ACTION_SEND) {
        if (!links_is_open(e->links, action->send.link)) {
            e->stats.send_dropped++;
            return;
        }
        ((argus_Frame *)(uintptr_t)action->send.frame)->hlc =
            hlc_stamp(&e->hlc, e->wall_us);
    } else if (action->type == ACTION_CLOSE) {
        (void)links_on_close(e->links, action->close.link);
    }
    e->out->emit(e->out->context, action);
}

static void store_number(struct engine *e, enum store_what what, uint64_t n)
{
    struct action a = {.type = ACTION_STORE,
                       .store = {.what = what, .number = n}};
    sink_emit(e, &a);
}

/* -------------------------------------------- what the parts tell us */

/* The parts whose links are of a kind; each ignores those that are not its
 * own. */
static void tell_link_down(struct engine *e, argus_LinkKind kind, link_id link,
                           enum link_end why, argus_RefuseCode code)
{
    switch (kind) {
    case argus_LinkKind_LINK_MESH:
        hyparview_on_link_down(e->hyparview, e->now_ms, link, why, code,
                               &e->sink);
        break;
    case argus_LinkKind_LINK_SYNC:
    case argus_LinkKind_LINK_PROBE:
        directory_on_link_down(e->directory, e->now_ms, e->wall_us, link, why,
                               code, &e->sink);
        break;
    case argus_LinkKind_LINK_METRICS:
        spool_on_link_down(e->spool, e->now_ms, link, why, code, &e->sink);
        intake_on_link_down(e->intake, e->now_ms, link, &e->sink);
        break;
    case argus_LinkKind_LINK_NONE: break;
    }
}

static void on_silent(void *context, link_id link, const struct peer_info *peer,
                      struct actions *out)
{
    struct engine *e = context;

    (void)out;
    tell_link_down(e, peer->kind, link, LINK_END_TIMEOUT,
                   argus_RefuseCode_REFUSE_SILENT);
}

static bool on_is_active(void *context, link_id link)
{
    struct engine *e = context;

    return hyparview_is_active_link(e->hyparview, link);
}

static void on_audited(void *context, link_id link, bool active,
                       struct actions *out)
{
    struct engine *e = context;

    hyparview_on_audit(e->hyparview, e->now_ms, link, active, out);
}

static void on_neighbor_up(void *context, link_id link,
                           const struct peer_info *peer, struct actions *out)
{
    struct engine *e = context;

    plumtree_neighbor_up(e->plumtree, e->now_ms, link, out);
    directory_neighbor_up(e->directory, e->now_ms, e->wall_us, peer, out);
}

static void on_neighbor_down(void *context, link_id link,
                             const struct node_id *peer, enum link_end why,
                             argus_RefuseCode code, struct actions *out)
{
    struct engine *e = context;

    plumtree_neighbor_down(e->plumtree, e->now_ms, link, out);
    if (why == LINK_END_CLOSED || why == LINK_END_LOCAL)
        directory_neighbor_released(e->directory, e->now_ms, e->wall_us, peer,
                                    out);
    else
        directory_neighbor_lost(e->directory, e->now_ms, e->wall_us, peer, why,
                                code, out);
}

static void on_learned_address(void *context, const struct node_id *peer,
                               const char *address, struct actions *out)
{
    struct action a = {
        .type = ACTION_STORE,
        .store = {.what = STORE_ADDRESS, .key = *peer, .text = address}};

    (void)context;
    out->emit(out->context, &a);
}

static bool is_live(const struct member *m)
{
    return m != NULL && !m->is_self &&
           (m->state == argus_MemberState_MEMBER_ONLINE ||
            m->state == argus_MemberState_MEMBER_SUSPECT);
}

static bool on_is_live_address(void *context, const char *address)
{
    struct engine *e = context;

    return directory_find_address(e->directory, address) != NULL;
}

static bool on_is_live(void *context, const struct node_id *peer)
{
    struct engine *e = context;

    return is_live(directory_find(e->directory, peer));
}

static void on_broadcast(void *context, const uint8_t *payload, size_t size)
{
    struct engine *e = context;

    (void)plumtree_broadcast(e->plumtree, e->now_ms, payload, size, &e->sink);
}

static uint64_t on_stamp(void *context)
{
    struct engine *e = context;
    uint64_t stamp = hlc_stamp(&e->hlc, e->wall_us);

    store_number(e, STORE_HLC, stamp);
    return stamp;
}

const char *engine_state_text(uint8_t state)
{
    switch ((argus_MemberState)state) {
    case argus_MemberState_MEMBER_UNKNOWN: break;
    case argus_MemberState_MEMBER_ONLINE: return "online";
    case argus_MemberState_MEMBER_SUSPECT: return "suspect";
    case argus_MemberState_MEMBER_OFFLINE: return "offline";
    case argus_MemberState_MEMBER_LEFT: return "left";
    }
    return "unknown";
}

/* One line for each turn in a member's life that somebody will want to find in
 * the log. A newcomer's first record is no news at NOTICE: a mesh of thousands
 * would fill the log of each node that starts. */
static void log_turn(struct engine *e, const struct member *m,
                     argus_MemberState old_state)
{
    if (m->is_self || m->state == old_state || m->is_unheard)
        return;
    bool is_bad = m->state == argus_MemberState_MEMBER_OFFLINE ||
                  m->state == argus_MemberState_MEMBER_SUSPECT;
    enum log_level level = old_state == argus_MemberState_MEMBER_UNKNOWN
                               ? LOG_LEVEL_INFO
                           : is_bad ? LOG_LEVEL_WARNING
                                    : LOG_LEVEL_NOTICE;
    const char *says = "";
    if (m->report != NULL)
        says = directory_name(e->directory, &m->report->author);
    actions_log(&e->sink, level, "%s (%s) is %s%s%s", m->name, m->address,
                engine_state_text(m->state), says[0] != '\0' ? ", says " : "",
                says);
}

static void on_member_changed(void *context, const struct member *m,
                              argus_MemberState old_state)
{
    struct engine *e = context;

    log_turn(e, m, old_state);
    if (m->is_self)
        return;
    switch (m->state) {
    case argus_MemberState_MEMBER_ONLINE:
        hyparview_offer(e->hyparview, e->now_ms, &m->id, m->address,
                        m->generation, &e->sink);
        break;
    case argus_MemberState_MEMBER_OFFLINE:
        hyparview_lose(e->hyparview, e->now_ms, &m->id, &e->sink);
        break;
    case argus_MemberState_MEMBER_LEFT:
        hyparview_forget(e->hyparview, &m->id);
        break;
    default: break;
    }
}

static void on_member_forgotten(void *context, const struct node_id *id)
{
    struct engine *e = context;

    hyparview_forget(e->hyparview, id);
}

static void on_generation_raised(void *context, uint32_t generation)
{
    struct engine *e = context;

    e->options.generation = generation;
    store_number(e, STORE_GENERATION, generation);
}

static bool on_is_online(void *context, const struct node_id *id)
{
    return on_is_live(context, id);
}

/* ------------------------------------------------------------ events */

static void emit_event(struct engine *e, enum action_type type,
                       const struct node_id *origin, const argus_Event *event)
{
    struct action a = {
        .type = type,
        .event = {.event = event, .origin = origin, .received_us = e->wall_us}};
    sink_emit(e, &a);
}

static bool is_severity(argus_Severity s)
{
    return s == argus_Severity_SEVERITY_FAILURE ||
           s == argus_Severity_SEVERITY_WARNING ||
           s == argus_Severity_SEVERITY_OKAY;
}

static enum plumtree_verdict on_event_statement(struct engine *e,
                                                const struct node_id *author,
                                                const argus_Event *event)
{
    if (!is_severity(event->severity)) {
        e->stats.event_malformed++;
        return PLUMTREE_BAD;
    }
    directory_heard(e->directory, e->now_ms, e->wall_us, author);
    switch (timeline_add(e->timeline, author, event, e->wall_us)) {
    case TIMELINE_ADDED: break;
    case TIMELINE_KNOWN: return PLUMTREE_STALE;
    case TIMELINE_TOO_OLD: /* others may keep more than we do */
    case TIMELINE_FAILED: return PLUMTREE_NEWS;
    }
    e->stats.event_received++;
    emit_event(e, ACTION_TIMELINE, author, event);
    if (e->options.role == argus_Role_ROLE_AGGREGATOR)
        emit_event(e, ACTION_NOTIFY, author, event);
    return PLUMTREE_NEWS;
}

static enum plumtree_verdict on_deliver(void *context, link_id from,
                                        const uint8_t *payload, size_t size,
                                        const uint8_t id[CONTENT_ID_SIZE])
{
    struct engine *e = context;
    struct node_id author;

    (void)from;
    (void)id;
    if (!e->options.seal.open(e->options.seal.context, payload, size,
                              &e->statement, &author))
        return PLUMTREE_BAD;
    if (e->statement.which_body == argus_Statement_event_tag)
        return on_event_statement(e, &author, &e->statement.body.event);

    switch (directory_on_statement(e->directory, e->now_ms, e->wall_us, payload,
                                   size, &e->statement, &author, &e->sink)) {
    case DIRECTORY_NEWS: return PLUMTREE_NEWS;
    case DIRECTORY_STALE: return PLUMTREE_STALE;
    case DIRECTORY_BAD: break;
    }
    return PLUMTREE_BAD;
}

/* A notification of this daemon, or an operator's. One that came as a
 * notification has been dispatched here already; an operator's has not. */
static void on_notice(struct engine *e, const struct event *ev)
{
    *ev->notice.hlc = 0;
    *ev->notice.number = 0;
    if (!ev->notice.always && ev->notice.event->severity > e->options.forward) {
        e->stats.notice_kept++;
        return;
    }

    argus_Event *event = &e->statement.body.event;
    e->statement.which_body = argus_Statement_event_tag;
    *event = *ev->notice.event;
    (void)snprintf(event->node, sizeof event->node, "%s", e->options.name);
    if (!timeline_stamp_own(e->timeline, &e->hlc, e->now_ms, e->wall_us, event))
        return;

    size_t size = e->options.seal.close(e->options.seal.context, &e->statement,
                                        e->sealed);
    if (size == 0) {
        e->stats.event_malformed++;
        return;
    }
    store_number(e, STORE_HLC, event->hlc);
    *ev->notice.hlc = event->hlc;
    *ev->notice.number = event->number;
    e->stats.notice_broadcast++;
    (void)timeline_add(e->timeline, &e->options.id, event, e->wall_us);
    (void)plumtree_broadcast(e->plumtree, e->now_ms, e->sealed, size, &e->sink);
    emit_event(e, ACTION_TIMELINE, &e->options.id, event);
    if (ev->notice.always && e->options.role == argus_Role_ROLE_AGGREGATOR)
        emit_event(e, ACTION_NOTIFY, &e->options.id, event);
}

/* ------------------------------------------------------------- links */

static void tell_dial_failed(struct engine *e, dial_id dial, enum link_end why,
                             argus_RefuseCode code)
{
    switch (dial >> 56) {
    case HYPARVIEW_DIAL_TAG:
        hyparview_on_dial_failed(e->hyparview, e->now_ms, dial, why, code,
                                 &e->sink);
        break;
    case DIRECTORY_DIAL_TAG:
        directory_on_dial_failed(e->directory, e->now_ms, e->wall_us, dial, why,
                                 code, &e->sink);
        break;
    case SPOOL_DIAL_TAG:
        spool_on_dial_failed(e->spool, e->now_ms, dial, why, code, &e->sink);
        break;
    default: assert(!"a dial of nobody"); break;
    }
}

static void on_link_up(struct engine *e, const struct event *ev)
{
    link_id link = ev->link_up.link;
    dial_id dial = ev->link_up.dial;
    const struct peer_info *peer = ev->link_up.peer;

    if (!links_on_link_up(e->links, e->now_ms, link, dial, peer, &e->sink)) {
        if (dial != 0)
            tell_dial_failed(e, dial, LINK_END_LOCAL,
                             argus_RefuseCode_REFUSE_BUSY);
        return;
    }
    directory_heard(e->directory, e->now_ms, e->wall_us, &peer->id);
    switch (peer->kind) {
    case argus_LinkKind_LINK_MESH:
        hyparview_on_link_up(e->hyparview, e->now_ms, link, dial, peer,
                             &e->sink);
        break;
    case argus_LinkKind_LINK_SYNC:
        directory_on_link_up(e->directory, e->now_ms, e->wall_us, link, dial,
                             peer, &e->sink);
        break;
    case argus_LinkKind_LINK_PROBE:
        if (dial != 0)
            directory_on_link_up(e->directory, e->now_ms, e->wall_us, link,
                                 dial, peer, &e->sink);
        else /* our Hello was the answer */
            actions_close(&e->sink, link, argus_RefuseCode_REFUSE_BYE,
                          "you are answered");
        break;
    case argus_LinkKind_LINK_METRICS:
        if (dial != 0)
            spool_on_link_up(e->spool, e->now_ms, link, dial, peer, &e->sink);
        else
            intake_on_link_up(e->intake, e->now_ms, link, peer, &e->sink);
        break;
    case argus_LinkKind_LINK_NONE: break;
    }
}

static void on_link_down(struct engine *e, const struct event *ev)
{
    link_id link = ev->link_down.link;

    if (!links_on_link_down(e->links, link))
        return;
    tell_link_down(e, links_peer(e->links, link)->kind, link, ev->link_down.why,
                   ev->link_down.code);
    links_forget(e->links, link);
}

static void on_frame(struct engine *e, const struct event *ev)
{
    link_id link = ev->frame.link;
    const argus_Frame *frame = ev->frame.frame;

    if (!links_on_frame(e->links, e->now_ms, e->wall_us, link, frame, &e->sink))
        return;
    (void)hlc_merge(&e->hlc, frame->hlc, e->wall_us);

    switch (frame->which_body) {
    case argus_Frame_join_tag:
    case argus_Frame_forward_join_tag:
    case argus_Frame_neighbor_tag:
    case argus_Frame_neighbor_reply_tag:
    case argus_Frame_disconnect_tag:
    case argus_Frame_shuffle_tag:
    case argus_Frame_shuffle_reply_tag:
        hyparview_on_frame(e->hyparview, e->now_ms, link, frame, &e->sink);
        break;
    case argus_Frame_gossip_tag:
    case argus_Frame_ihave_tag:
    case argus_Frame_graft_tag:
    case argus_Frame_prune_tag:
        plumtree_on_frame(e->plumtree, e->now_ms, link, frame, &e->sink);
        break;
    case argus_Frame_digest_tag:
    case argus_Frame_want_tag:
    case argus_Frame_items_tag:
        directory_on_frame(e->directory, e->now_ms, e->wall_us, link, frame,
                           &e->sink);
        break;
    case argus_Frame_series_defs_tag:
    case argus_Frame_batch_tag:
    case argus_Frame_release_tag:
        intake_on_frame(e->intake, e->now_ms, link, frame, &e->sink);
        break;
    case argus_Frame_ack_tag:
        spool_on_frame(e->spool, e->now_ms, link, frame, &e->sink);
        break;
    default: break; /* ping and pong: links has them */
    }
}

/* A peer tells at which host it sees us: our address, where none was given. */
static void on_observed(struct engine *e, const char *host)
{
    char *address = e->options.address;
    char port[ADDRESS_SIZE];
    bool is_v6 = strchr(host, ':') != NULL;

    if (address[0] != ':' || host[0] == '\0')
        return;
    (void)snprintf(port, sizeof port, "%s", address);
    if (strlen(host) + strlen(port) + 3 > ADDRESS_SIZE)
        return;
    int n =
        snprintf(address, ADDRESS_SIZE, is_v6 ? "[%s]%s" : "%s%s", host, port);
    assert(n > 0 && n < ADDRESS_SIZE);
    hyparview_set_address(e->hyparview, address);
    directory_set_address(e->directory, e->now_ms, e->wall_us, address,
                          &e->sink);
}

static void on_timeout(struct engine *e)
{
    uint64_t now = e->now_ms;

    if (links_deadline_ms(e->links) <= now)
        links_on_timeout(e->links, now, e->wall_us, &e->sink);
    if (hyparview_deadline_ms(e->hyparview) <= now)
        hyparview_on_timeout(e->hyparview, now, &e->sink);
    if (plumtree_deadline_ms(e->plumtree) <= now)
        plumtree_on_timeout(e->plumtree, now, &e->sink);
    if (directory_deadline_ms(e->directory) <= now)
        directory_on_timeout(e->directory, now, e->wall_us, &e->sink);
    if (spool_deadline_ms(e->spool) <= now)
        spool_on_timeout(e->spool, now, &e->sink);
    if (intake_deadline_ms(e->intake) <= now)
        intake_on_timeout(e->intake, now, &e->sink);
}

/* Sent first to whoever can still be reached, then the links go. */
static void on_leave(struct engine *e)
{
    directory_leave(e->directory, e->now_ms, e->wall_us, &e->sink);
    hyparview_leave(e->hyparview, e->now_ms, &e->sink);
}

static void on_stop(struct engine *e)
{
    intake_freeze(e->intake);
    spool_flush(e->spool, e->now_ms, &e->sink);
    directory_stop(e->directory, e->now_ms, e->wall_us, &e->sink);
}

/* -------------------------------------------------------- the routers */

static bool aggregators_reserve(struct engine *e, uint32_t count)
{
    if (count <= e->aggregators_room)
        return true;
    uint32_t room =
        e->aggregators_room == 0 ? AGGREGATORS_FIRST : 2 * e->aggregators_room;
    struct aggregator *grown = realloc(e->aggregators, room * sizeof *grown);
    if (grown == NULL)
        return false;
    e->aggregators = grown;
    e->aggregators_room = room;
    return true;
}

/* The routers follow the directory: after each step in which the list or
 * anything in it has changed. Ours goes last, so that the spool's is a prefix:
 * nobody sends values to himself. */
static void refresh_aggregators(struct engine *e)
{
    uint64_t stamp = directory_aggregators_stamp(e->directory);
    const struct member *self = NULL;
    uint32_t count = 0;

    if (stamp == e->aggregators_stamp)
        return;
    e->aggregators_stamp = stamp;
    for (uint32_t i = 0;; i++) {
        const struct member *m = directory_aggregator(e->directory, i);
        if (m == NULL)
            break;
        if (m->is_self) {
            self = m;
            continue;
        }
        if (!aggregators_reserve(e, count + 2))
            break;
        struct aggregator *a = &e->aggregators[count++];
        *a = (struct aggregator){
            .id = m->id, .weight = m->weight, .usable = true};
        (void)snprintf(a->name, sizeof a->name, "%s", m->name);
        (void)snprintf(a->zone, sizeof a->zone, "%s", m->zone);
        (void)snprintf(a->address, sizeof a->address, "%s", m->address);
    }
    spool_on_aggregators(e->spool, e->now_ms, e->aggregators, count, &e->sink);
    if (self != NULL && aggregators_reserve(e, count + 1)) {
        struct aggregator *a = &e->aggregators[count++];
        *a = (struct aggregator){
            .id = self->id, .weight = self->weight, .usable = true};
        (void)snprintf(a->name, sizeof a->name, "%s", self->name);
        (void)snprintf(a->zone, sizeof a->zone, "%s", self->zone);
        (void)snprintf(a->address, sizeof a->address, "%s", self->address);
    }
    (void)router_set(e->router, e->aggregators, count);
}

/* -------------------------------------------------------------- door */

void engine_step(struct engine *e, const struct event *ev, struct actions *out)
{
    assert(ev->now_ms >= e->now_ms);
    e->now_ms = ev->now_ms;
    e->wall_us = ev->wall_us;
    e->out = out;

    switch (ev->type) {
    case EVENT_START:
        e->start_ms = ev->now_ms;
        directory_start(e->directory, ev->now_ms, ev->wall_us, &e->sink);
        hyparview_start(e->hyparview, ev->now_ms, &e->sink);
        break;
    case EVENT_TIMEOUT: on_timeout(e); break;
    case EVENT_LINK_UP: on_link_up(e, ev); break;
    case EVENT_LINK_DOWN: on_link_down(e, ev); break;
    case EVENT_DIAL_FAILED:
        tell_dial_failed(e, ev->dial_failed.dial, ev->dial_failed.why,
                         ev->dial_failed.code);
        break;
    case EVENT_FRAME: on_frame(e, ev); break;
    case EVENT_LINK_DRAINED:
        spool_on_drained(e->spool, ev->now_ms, ev->drained, &e->sink);
        break;
    case EVENT_VALUES:
        if (e->options.route)
            spool_on_values(e->spool, ev->now_ms, ev->values.values,
                            ev->values.count, &e->sink);
        break;
    case EVENT_SEEN:
        intake_on_seen(e->intake, ev->now_ms, ev->seen.tokens, ev->seen.count,
                       &e->sink);
        break;
    case EVENT_PROGRESS:
        intake_on_progress(e->intake, ev->now_ms, ev->progress_queued_ms,
                           &e->sink);
        break;
    case EVENT_NOTICE: on_notice(e, ev); break;
    case EVENT_RECORD:
        (void)directory_load(e->directory, ev->now_ms, ev->wall_us,
                             &ev->record.id, ev->record.data, ev->record.size);
        break;
    case EVENT_ADDRESS:
        hyparview_offer(e->hyparview, ev->now_ms, &ev->address.id,
                        ev->address.address, 0, &e->sink);
        break;
    case EVENT_OBSERVED: on_observed(e, ev->observed); break;
    case EVENT_JOIN:
        if (hyparview_join(e->hyparview, ev->now_ms, ev->join, &e->sink) !=
            ARGUS_OK)
            actions_log(&e->sink, LOG_LEVEL_ERROR,
                        "join %s: there are %d contacts already", ev->join,
                        HYPARVIEW_CONTACTS_MAX);
        break;
    case EVENT_LEAVE: on_leave(e); break;
    case EVENT_STOP: on_stop(e); break;
    }
    refresh_aggregators(e);
    hyparview_check(e->hyparview);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t engine_deadline_ms(const struct engine *e)
{
    uint64_t at = links_deadline_ms(e->links);

    at = least(at, hyparview_deadline_ms(e->hyparview));
    at = least(at, plumtree_deadline_ms(e->plumtree));
    at = least(at, directory_deadline_ms(e->directory));
    at = least(at, spool_deadline_ms(e->spool));
    return least(at, intake_deadline_ms(e->intake));
}

uint64_t engine_pending(const struct engine *e)
{
    return spool_pending(e->spool);
}

/* ------------------------------------------------------ birth, death */

static int new_mesh(struct engine *e, const struct engine_options *o)
{
    struct links_options links = {.ping_ms = o->ping_ms,
                                  .suspect_ms = o->suspect_ms,
                                  .links_max = LINKS_MAX,
                                  .peer_links_max = LINKS_OF_A_PEER_MAX};
    struct links_listener links_listener = {.context = e,
                                            .silent = on_silent,
                                            .is_active = on_is_active,
                                            .audited = on_audited};
    struct hyparview_options view = {.seed = o->seed,
                                     .id = o->id,
                                     .generation = o->generation,
                                     .active_max = o->active_max,
                                     .passive_max = o->passive_max,
                                     .shuffle_ms = o->shuffle_ms,
                                     .answer_ms = o->suspect_ms,
                                     .contacts = o->contacts,
                                     .contacts_count = o->contacts_count};
    struct hyparview_listener view_listener = {
        .context = e,
        .neighbor_up = on_neighbor_up,
        .neighbor_down = on_neighbor_down,
        .learned_address = on_learned_address,
        .is_live_address = on_is_live_address,
        .is_live = on_is_live};
    struct plumtree_options tree;
    struct plumtree_listener tree_listener = {.context = e,
                                              .deliver = on_deliver};

    memcpy(view.address, o->address, sizeof view.address);
    plumtree_defaults(&tree);
    tree.seed = o->seed ^ 1;
    tree.hash = o->seal.hash;

    int rc = links_new(&links, &links_listener, &e->links);
    if (rc == ARGUS_OK)
        rc = hyparview_new(&view, &view_listener, &e->hyparview);
    if (rc == ARGUS_OK)
        rc = plumtree_new(&tree, &tree_listener, &e->plumtree);
    return rc;
}

static int new_knowledge(struct engine *e, const struct engine_options *o)
{
    struct directory_listener listener = {
        .context = e,
        .broadcast = on_broadcast,
        .stamp = on_stamp,
        .member_changed = on_member_changed,
        .member_forgotten = on_member_forgotten,
        .generation_raised = on_generation_raised};
    struct timeline_options timeline = {.self = o->id,
                                        .generation = o->generation,
                                        .retain_events = o->retain_events,
                                        .event_rate = o->event_rate};

    int rc = directory_new(o, 0, &listener, &e->directory);
    if (rc == ARGUS_OK)
        rc = timeline_new(&timeline, &e->timeline);
    return rc;
}

static int new_metrics(struct engine *e, const struct engine_options *o)
{
    struct spool_options spool = {.seed = o->seed ^ 2,
                                  .generation = o->generation,
                                  .zone = o->zone,
                                  .bytes_max = o->spool_bytes_max,
                                  .write_order_known = o->write_order_known,
                                  .describe = o->describe};
    struct intake_options intake = {
        .is_aggregator = o->role == argus_Role_ROLE_AGGREGATOR,
        .queue_max = o->intake_queue_max,
        .redispatch_max = o->redispatch_max,
        .listener = {.context = e, .is_online = on_is_online}};

    int rc = spool_new(&spool, &e->spool);
    if (rc == ARGUS_OK)
        rc = intake_new(&intake, &e->intake);
    if (rc == ARGUS_OK)
        rc = router_new(o->zone, &e->router);
    return rc;
}

int engine_new(const struct engine_options *options, struct engine **out)
{
    struct engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return ARGUS_ENOMEM;

    e->options = *options;
    e->options.contacts = NULL;
    e->options.contacts_count = 0;
    e->sink = (struct actions){.emit = sink_emit, .context = e};
    e->aggregators_stamp = UINT64_MAX;
    hlc_init(&e->hlc, options->hlc_mark, options->started_ms * 1000,
             options->clock_max_offset_ms);

    int rc = new_mesh(e, options);
    if (rc == ARGUS_OK)
        rc = new_knowledge(e, options);
    if (rc == ARGUS_OK)
        rc = new_metrics(e, options);
    if (rc != ARGUS_OK) {
        engine_free(e);
        return rc;
    }
    *out = e;
    return ARGUS_OK;
}

void engine_free(struct engine *e)
{
    if (e == NULL)
        return;
    router_free(e->router);
    intake_free(e->intake);
    spool_free(e->spool);
    timeline_free(e->timeline);
    directory_free(e->directory);
    plumtree_free(e->plumtree);
    hyparview_free(e->hyparview);
    links_free(e->links);
    free(e->aggregators);
    free(e);
}
