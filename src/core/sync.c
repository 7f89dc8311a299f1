#include "core/sync.h"

#include <stdlib.h>

#include "base/text.h"
#include "core/directory_state.h"
#include "core/sums.h"
#include "core/sync_impl.h"

void sync_init(struct directory *d)
{
    TAILQ_INIT(&d->sync.spreading);
    d->sync.due_ms = UINT64_MAX;
}

void sync_close(struct directory *d)
{
    free(d->sync.neighbors);
}

static uint64_t after(struct directory *d, uint32_t period_ms)
{
    return d->now_ms + period_ms + prng_below(&d->prng, period_ms + 1);
}

void sync_start(struct directory *d)
{
    d->sync.due_ms = after(d, SYNC_PERIOD_MS);
}

/* -------------------------------------------------------- neighbors */

static void sync_soon(struct directory *d)
{
    uint64_t settled_ms = after(d, SYNC_SETTLE_MS);

    if (settled_ms < d->sync.due_ms)
        d->sync.due_ms = settled_ms;
}

static struct neighbor *find_neighbor(const struct directory *d,
                                      const struct node_id *id)
{
    for (uint32_t i = 0; i < d->sync.neighbors_count; i++)
        if (node_id_is_equal(&d->sync.neighbors[i].id, id))
            return &d->sync.neighbors[i];
    return NULL;
}

bool sync_has_neighbor(const struct directory *d, const struct node_id *id)
{
    return find_neighbor(d, id) != NULL;
}

static struct neighbor *add_neighbor(struct directory *d)
{
    struct sync *s = &d->sync;

    if (s->neighbors_count == s->neighbors_room) {
        uint32_t room = s->neighbors_room == 0 ? 8 : 2 * s->neighbors_room;
        if (room > DIRECTORY_NEIGHBORS_MAX)
            return NULL;
        struct neighbor *list =
            realloc(s->neighbors, room * sizeof(struct neighbor));
        if (list == NULL)
            return NULL;
        s->neighbors = list;
        s->neighbors_room = room;
    }
    return &s->neighbors[s->neighbors_count++];
}

bool sync_on_neighbor_up(struct directory *d, const struct peer_info *peer)
{
    struct neighbor *n = find_neighbor(d, &peer->id);

    if (n == NULL && (n = add_neighbor(d)) == NULL)
        return false;
    *n = (struct neighbor){.id = peer->id};
    text_copy(n->address, sizeof n->address, peer->address);
    bool is_ours = node_id_compare(&d->id, &peer->id) < 0;
    n->sync_due_ms = d->now_ms + (is_ours ? 0 : SYNC_FALLBACK_MS) +
                     prng_below(&d->prng, SYNC_DELAY_MS);
    sync_soon(d);
    return true;
}

void sync_on_neighbor_down(struct directory *d, const struct node_id *id)
{
    struct sync *s = &d->sync;
    struct neighbor *n = find_neighbor(d, id);

    if (n == NULL)
        return;
    *n = s->neighbors[--s->neighbors_count];
    if (s->neighbors_count == 0)
        s->is_established = false;
}

/* --------------------------------------------------------- sessions */

static struct session *find_link(struct sync *s, link_id link)
{
    for (uint32_t i = 0; i < s->sessions_count; i++)
        if (s->sessions[i].link == link)
            return &s->sessions[i];
    return NULL;
}

static struct session *find_peer(struct sync *s, const struct node_id *id)
{
    for (uint32_t i = 0; i < s->sessions_count; i++)
        if (node_id_is_equal(&s->sessions[i].peer, id))
            return &s->sessions[i];
    return NULL;
}

static void remove_session(struct directory *d, struct session *session,
                           bool is_done)
{
    struct sync *s = &d->sync;
    struct neighbor *n = find_neighbor(d, &session->peer);

    if (is_done) {
        d->stats.syncs_done++;
        if (s->neighbors_count > 0)
            s->is_established = true;
        if (n != NULL)
            n->sync_due_ms = UINT64_MAX;
    } else {
        d->stats.syncs_failed++;
        if (n != NULL && n->retries < SYNC_RETRIES) {
            n->retries++;
            n->sync_due_ms = after(d, SYNC_SETTLE_MS);
        }
    }
    if (session->events.learned > 0)
        sync_soon(d);
    if (session->dial != 0)
        s->dialed_count--;
    *session = s->sessions[--s->sessions_count];
}

static void end_session(struct directory *d, struct session *session,
                        bool is_done, argus_RefuseCode code, const char *text,
                        struct actions *out)
{
    actions_close(out, session->link, code, text);
    remove_session(d, session, is_done);
}

void sync_malformed(struct directory *d, struct session *session,
                    const char *text, struct actions *out)
{
    d->stats.syncs_malformed++;
    end_session(d, session, false, argus_RefuseCode_REFUSE_MALFORMED, text,
                out);
}

/* @return false: no room now, or nothing to dial. */
static bool dial_session(struct directory *d, const struct node_id *peer,
                         const char *address, struct actions *out)
{
    struct sync *s = &d->sync;

    if (s->dialed_count == SYNC_OUT_MAX || s->sessions_count == SYNC_MAX ||
        find_peer(s, peer) != NULL || d->own.is_silent ||
        !address_can_be_dialed(address)) {
        d->stats.syncs_refused++;
        return false;
    }
    struct session *session = &s->sessions[s->sessions_count++];
    *session = (struct session){.dial = directory_next_dial(d),
                                .peer = *peer,
                                .started_ms = d->now_ms,
                                .active_ms = d->now_ms};
    s->dialed_count++;
    d->stats.syncs_begun++;
    actions_dial(out, session->dial, argus_LinkKind_LINK_SYNC, address, peer);
    return true;
}

void sync_request(struct directory *d, const struct member *m,
                  struct actions *out)
{
    (void)dial_session(d, &m->id, m->address, out);
}
/* Records are equal: now events, if there are any here. */
void sync_go_on(struct directory *d, struct session *session,
                struct actions *out)
{
    if (d->listener.events_begin != NULL)
        d->listener.events_begin(d->listener.context, &session->events,
                                 session->link, out);
    else
        end_session(d, session, true, argus_RefuseCode_REFUSE_BYE, "in sync",
                    out);
}

/* ------------------------------------------------------------- items */

/* See directory.h on what is broadcast again, and why. */
static void spread(struct directory *d, const struct node_id *id,
                   bool is_record)
{
    struct sync *s = &d->sync;
    struct member *m = members_find(&d->members, id);

    if (m == NULL)
        return;
    if (!m->spreads_record && !m->spreads_report) {
        if (s->spreading_count++ == 0)
            s->spread_due_ms = d->now_ms;
        TAILQ_INSERT_TAIL(&s->spreading, m, spreading);
    }
    if (is_record)
        m->spreads_record = true;
    else
        m->spreads_report = true;
}

void sync_forget(struct directory *d, struct member *m)
{
    if (!m->spreads_record && !m->spreads_report)
        return;
    TAILQ_REMOVE(&d->sync.spreading, m, spreading);
    d->sync.spreading_count--;
    m->spreads_record = m->spreads_report = false;
}

static void spread_some(struct directory *d)
{
    struct sync *s = &d->sync;
    struct member *m;

    for (uint32_t n = 0;
         n < SPREAD_BURST && (m = TAILQ_FIRST(&s->spreading)) != NULL; n++) {
        bool with_record = m->spreads_record;
        bool with_report = m->spreads_report && m->report != NULL;
        sync_forget(d, m);
        if (with_record)
            d->listener.broadcast(d->listener.context, m->packed,
                                  m->packed_size);
        if (with_report)
            d->listener.broadcast(d->listener.context, m->report->packed,
                                  m->report->packed_size);
        d->stats.spread_again += (uint64_t)with_record + with_report;
    }
    s->spread_due_ms = d->now_ms + SPREAD_PERIOD_MS;
}

/* Did the peer of a session join after this node? Then this is its first
 * statement, and nobody but its neighbors may know it. */
static bool is_newcomer(const struct directory *d, const struct node_id *peer,
                        const struct node_id *author,
                        const argus_NodeRecord *record)
{
    return node_id_is_equal(author, peer) &&
           record->started_ms >= d->own.record.started_ms;
}

/* @return false: the peer hands on what it cannot have checked. */
static bool take_item(struct directory *d, const struct node_id *peer,
                      const argus_Items_payloads_t *payload,
                      struct actions *out)
{
    argus_Statement statement;
    struct node_id author;

    d->stats.items_received++;
    if (!d->seal.open(d->seal.context, payload->bytes, payload->size,
                      &statement, &author))
        return false;
    enum directory_verdict verdict = statements_apply(
        d, FROM_SYNC, payload->bytes, payload->size, &statement, &author, out);
    if (verdict != DIRECTORY_NEWS)
        return verdict != DIRECTORY_BAD;
    bool is_record = statement.which_body == argus_Statement_record_tag;
    if (is_record && (d->sync.is_established ||
                      is_newcomer(d, peer, &author, &statement.body.record)))
        spread(d, &author, true);
    if (!is_record && d->sync.is_established) {
        struct node_id subject = node_id_of(statement.body.report.subject);
        spread(d, &subject, false);
    }
    return true;
}

static void on_items(struct directory *d, struct session *session,
                     const argus_Items *items, struct actions *out)
{
    if (items->payloads_count > session->items_left) {
        sync_malformed(d, session, "items nobody asked for", out);
        return;
    }
    session->items_left -= items->payloads_count;
    for (pb_size_t i = 0; i < items->payloads_count; i++)
        if (!take_item(d, &session->peer, &items->payloads[i], out)) {
            d->stats.items_bad++;
            sync_malformed(d, session, "a statement that is damaged or absurd",
                           out);
            return;
        }
}

/* ------------------------------------------------------------ events */

/* Records come first: who an event is from is known then. */
static void on_event_frame(struct directory *d, struct session *session,
                           const argus_Frame *frame, struct actions *out)
{
    bool is_their_turn =
        session->dial != 0 ? session->events.is_begun : session->is_answered;

    if (!is_their_turn || d->listener.events_frame == NULL) {
        sync_malformed(d, session, "events out of turn", out);
        return;
    }
    switch (d->listener.events_frame(d->listener.context, &session->events,
                                     session->link, frame, out)) {
    case EVENT_STEP_ON: return;
    case EVENT_STEP_DONE:
        end_session(d, session, true, argus_RefuseCode_REFUSE_BYE, "in sync",
                    out);
        return;
    case EVENT_STEP_BAD:
        sync_malformed(d, session, "events that are damaged or out of order",
                       out);
        return;
    }
}

/* ------------------------------------------------------------- inputs */

void sync_on_link_up(struct directory *d, link_id link, dial_id dial,
                     const struct peer_info *peer, struct actions *out)
{
    struct sync *s = &d->sync;

    if (dial != 0) {
        for (uint32_t i = 0; i < s->sessions_count; i++)
            if (s->sessions[i].dial == dial) {
                s->sessions[i].link = link;
                s->sessions[i].active_ms = d->now_ms;
                sync_send_sum(d, &s->sessions[i], out);
                return;
            }
        actions_close(out, link, argus_RefuseCode_REFUSE_BYE, "not needed");
        return;
    }

    uint32_t accepted = s->sessions_count - s->dialed_count;
    const struct session *other = find_peer(s, &peer->id);
    bool is_second = other != NULL && other->dial == 0;
    if (accepted == SYNC_IN_MAX || is_second || d->own.is_silent) {
        d->stats.syncs_refused++;
        actions_close(out, link, argus_RefuseCode_REFUSE_BUSY,
                      "enough sync sessions for now");
        return;
    }
    struct session *session = &s->sessions[s->sessions_count++];
    *session = (struct session){.link = link,
                                .peer = peer->id,
                                .started_ms = d->now_ms,
                                .active_ms = d->now_ms};
    d->stats.syncs_accepted++;
}

void sync_on_link_down(struct directory *d, link_id link, enum link_end why,
                       argus_RefuseCode code)
{
    struct session *session = find_link(&d->sync, link);

    if (session != NULL)
        remove_session(d, session,
                       session->is_answered && why == LINK_END_CLOSED &&
                           code == argus_RefuseCode_REFUSE_BYE);
}

void sync_on_dial_failed(struct directory *d, dial_id dial)
{
    struct sync *s = &d->sync;

    for (uint32_t i = 0; i < s->sessions_count; i++)
        if (s->sessions[i].dial == dial) {
            remove_session(d, &s->sessions[i], false);
            return;
        }
}

void sync_on_frame(struct directory *d, link_id link, const argus_Frame *frame,
                   struct actions *out)
{
    struct session *session = find_link(&d->sync, link);

    if (session == NULL) { /* sent before our close reached the peer */
        d->stats.frames_stranger++;
        return;
    }
    session->active_ms = d->now_ms;
    switch (frame->which_body) {
    case argus_Frame_sums_tag:
        sync_on_sums(d, session, &frame->body.sums, out);
        return;
    case argus_Frame_digest_tag:
        sync_on_digest(d, session, &frame->body.digest, out);
        return;
    case argus_Frame_want_tag:
        sync_on_want(d, session, &frame->body.want, out);
        return;
    case argus_Frame_items_tag:
        on_items(d, session, &frame->body.items, out);
        return;
    case argus_Frame_event_digest_tag:
    case argus_Frame_event_keys_tag:
    case argus_Frame_event_want_tag:
    case argus_Frame_event_items_tag:
        on_event_frame(d, session, frame, out);
        return;
    default: sync_malformed(d, session, "not a frame of a sync link", out);
    }
}

/* -------------------------------------------------------------- timers */

static void sync_neighbors(struct directory *d, struct actions *out)
{
    for (uint32_t i = 0; i < d->sync.neighbors_count; i++) {
        struct neighbor *n = &d->sync.neighbors[i];
        if (n->sync_due_ms > d->now_ms)
            continue;
        const struct member *m = members_find(&d->members, &n->id);
        const char *address = n->address;
        if (m != NULL && address_can_be_dialed(m->address))
            address = m->address;
        n->sync_due_ms = UINT64_MAX;
        if (find_peer(&d->sync, &n->id) != NULL) /* tries again if it fails */
            continue;
        if (dial_session(d, &n->id, address, out))
            continue;
        if (n->retries++ < SYNC_RETRIES)
            n->sync_due_ms = after(d, SYNC_SETTLE_MS);
    }
}

static const struct member *pick_stranger(struct directory *d)
{
    uint32_t count = d->members.count;
    uint32_t start = prng_below(&d->prng, count);

    for (uint32_t i = 0; i < count; i++) {
        const struct member *m = d->members.list[(start + i) % count];
        if (m->state == argus_MemberState_MEMBER_ONLINE && !m->is_self &&
            !m->is_neighbor && address_can_be_dialed(m->address))
            return m;
    }
    return NULL;
}

static void sync_somebody(struct directory *d, struct actions *out)
{
    struct sync *s = &d->sync;
    const struct member *m = NULL;

    s->due_ms = after(d, SYNC_PERIOD_MS);
    if (++s->turn % SYNC_STRANGER_TURN == 0)
        m = pick_stranger(d);
    if (m != NULL) {
        sync_request(d, m, out);
    } else if (s->neighbors_count > 0) {
        uint32_t at = prng_below(&d->prng, s->neighbors_count);
        struct neighbor *n = &s->neighbors[at];
        if (d->listener.summarize == NULL ||
            !d->listener.summarize(d->listener.context, &n->id,
                                   sums_of_all(&d->members)))
            n->sync_due_ms = d->now_ms;
    }
}

void sync_on_summary(struct directory *d, const struct node_id *peer,
                     uint64_t sum, bool are_events_same)
{
    struct neighbor *n = find_neighbor(d, peer);

    if (n == NULL)
        return;
    if (are_events_same && sum == sums_of_all(&d->members)) {
        d->stats.summaries_same++;
        return;
    }
    d->stats.summaries_other++;
    if (n->sync_due_ms != UINT64_MAX || d->now_ms < n->deaf_until_ms)
        return;
    n->deaf_until_ms = d->now_ms + SYNC_SETTLE_MS;
    n->sync_due_ms = d->now_ms;
}

static void end_stale_sessions(struct directory *d, struct actions *out)
{
    struct sync *s = &d->sync;

    for (uint32_t i = s->sessions_count; i-- > 0;) {
        struct session *session = &s->sessions[i];
        if (session->link != 0 &&
            (d->now_ms - session->active_ms >= SYNC_IDLE_MS ||
             d->now_ms - session->started_ms >= SYNC_SESSION_MS))
            end_session(d, session, false, argus_RefuseCode_REFUSE_SILENT,
                        "the sync session took too long", out);
    }
}

void sync_on_timeout(struct directory *d, struct actions *out)
{
    struct sync *s = &d->sync;

    end_stale_sessions(d, out);
    if (s->due_ms <= d->now_ms)
        sync_somebody(d, out);
    sync_neighbors(d, out);
    if (s->spreading_count > 0 && s->spread_due_ms <= d->now_ms)
        spread_some(d);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t sync_deadline_ms(const struct directory *d)
{
    const struct sync *s = &d->sync;
    uint64_t deadline = s->due_ms;

    if (s->spreading_count > 0)
        deadline = sooner(deadline, s->spread_due_ms);
    for (uint32_t i = 0; i < s->neighbors_count; i++)
        deadline = sooner(deadline, s->neighbors[i].sync_due_ms);
    for (uint32_t i = 0; i < s->sessions_count; i++)
        if (s->sessions[i].link != 0)
            deadline = sooner(
                deadline, sooner(s->sessions[i].active_ms + SYNC_IDLE_MS,
                                 s->sessions[i].started_ms + SYNC_SESSION_MS));
    return deadline;
}
