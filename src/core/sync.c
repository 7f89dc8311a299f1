#include "core/sync.h"

#include <stdlib.h>

#include "base/text.h"
#include "core/directory_state.h"
#include "core/sums.h"

static const struct node_id lowest_id;
static const struct node_id highest_id = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                           0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                           0xff, 0xff, 0xff, 0xff}};

static struct node_id next_id(struct node_id id)
{
    for (size_t i = NODE_ID_SIZE; i-- > 0;)
        if (++id.bytes[i] != 0)
            break;
    return id;
}

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

static void malformed(struct directory *d, struct session *session,
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

/* ------------------------------------------------------------- pages */

static void fill_entry(argus_DigestEntry *e, const struct member *m)
{
    memcpy(e->id, m->id.bytes, NODE_ID_SIZE);
    e->generation = m->generation;
    e->version = m->version;
    e->report_hlc = m->report == NULL ? 0 : m->report->hlc;
}

static size_t size_of(const struct member *m)
{
    return m->packed_size + (m->report == NULL ? 0 : m->report->packed_size);
}

static bool range_differs(const struct session *session, uint32_t range)
{
    return session->differing[range / 64] >> range % 64 & 1;
}

/* Of the ranges that differ, from the one that *id is in: *id becomes the first
 * id there, *to the last one before a range that does not. @return false: none.
 */
static bool next_piece(const struct session *session, struct node_id *id,
                       struct node_id *to)
{
    uint32_t count = session->ranges, first = sums_range_of(id, count);
    uint32_t range = first;

    while (range < count && !range_differs(session, range))
        range++;
    if (range == count)
        return false;
    if (range > first)
        *id = sums_first(range, count);
    while (range + 1 < count && range_differs(session, range + 1))
        range++;
    *to = sums_last(range, count);
    return true;
}

/* Does nothing differ behind that id? */
static bool is_last_piece(const struct session *session,
                          const struct node_id *to)
{
    struct node_id next = next_id(*to), end;

    return node_id_is_equal(to, &highest_id) ||
           !next_piece(session, &next, &end);
}

/* Entries from session->from on, as many as fit; session->to is where it ends.
 */
static void fill_page(struct directory *d, struct session *session,
                      argus_Digest *page)
{
    const struct members *t = &d->members;
    struct node_id last = session->from;
    size_t bytes = 0;

    page->entries_count = 0;
    for (uint32_t i = members_lower_bound(t, &last);
         i < t->count && node_id_compare(&t->sorted[i]->id, &session->to) <= 0;
         i++) {
        if (page->entries_count == SYNC_PAGE_MAX || bytes >= SYNC_PAGE_BYTES) {
            session->to = last;
            return;
        }
        last = t->sorted[i]->id;
        if (!member_is_listed(t->sorted[i]))
            continue;
        fill_entry(&page->entries[page->entries_count++], t->sorted[i]);
        bytes += size_of(t->sorted[i]);
    }
}

/* What differs from that id on. @return false: nothing, all is compared. */
static bool send_page(struct directory *d, struct session *session,
                      struct node_id from, struct actions *out)
{
    argus_Frame frame;
    argus_Digest *page = &frame.body.digest;

    if (!next_piece(session, &from, &session->to))
        return false;
    session->from = from;
    frame.hlc = 0;
    frame.which_body = argus_Frame_digest_tag;
    fill_page(d, session, page);
    page->last = session->is_last = is_last_piece(session, &session->to);
    session->is_waiting = true;
    session->items_left = 2 * SYNC_PAGE_MAX;
    memcpy(page->from, session->from.bytes, NODE_ID_SIZE);
    memcpy(page->to, session->to.bytes, NODE_ID_SIZE);
    actions_send(out, session->link, &frame);
    return true;
}

/* The dialer's first word. */
static void send_sum(struct directory *d, struct session *session,
                     struct actions *out)
{
    argus_Frame frame;
    argus_Sums *sums = &frame.body.sums;

    frame.hlc = 0;
    frame.which_body = argus_Frame_sums_tag;
    sums->sums_count = 1;
    sums->sums[0] = sums_of_all(&d->members);
    session->from = lowest_id;
    session->to = highest_id;
    session->is_waiting = session->is_last = true;
    session->items_left = 0;
    actions_send(out, session->link, &frame);
}

/* Items on their way: sent when a frame is full. */
struct items {
    struct directory *d;
    link_id link;
    struct actions *out;
    size_t bytes;
    argus_Frame frame;
};

static void items_begin(struct items *it, struct directory *d, link_id link,
                        struct actions *out)
{
    it->d = d;
    it->link = link;
    it->out = out;
    it->bytes = 0;
    it->frame.hlc = 0;
    it->frame.which_body = argus_Frame_items_tag;
    it->frame.body.items.payloads_count = 0;
    it->frame.body.items.last = false; /* the frame is not cleared */
}

static void items_flush(struct items *it)
{
    argus_Items *items = &it->frame.body.items;

    if (items->payloads_count == 0)
        return;
    it->d->stats.items_sent += items->payloads_count;
    actions_send(it->out, it->link, &it->frame);
    items->payloads_count = 0;
}

static void items_put(struct items *it, const uint8_t *packed, uint32_t size)
{
    argus_Items *items = &it->frame.body.items;
    argus_Items_payloads_t *p = &items->payloads[items->payloads_count++];

    memcpy(p->bytes, packed, size);
    p->size = (pb_size_t)size;
    it->bytes += size;
    if (items->payloads_count == SYNC_ITEMS_MAX)
        items_flush(it);
}

static void items_put_report(struct items *it, const struct member *m)
{
    if (m->report != NULL)
        items_put(it, m->report->packed, m->report->packed_size);
}

static void items_put_member(struct items *it, const struct member *m)
{
    items_put(it, m->packed, m->packed_size);
    items_put_report(it, m);
}

/* The answer to a page: merges it with what is known here. */
struct answer {
    struct items items;
    argus_Want want;
    uint32_t differences;
};

static void answer_want(struct directory *d, struct answer *a,
                        const argus_DigestEntry *e)
{
    struct node_id id = node_id_of(e->id);

    if (forgotten_is_buried(d, &id, e->generation, e->version))
        return;
    memcpy(a->want.ids[a->want.ids_count++], e->id, NODE_ID_SIZE);
    a->differences++;
}

static void answer_item(struct answer *a, const struct member *m)
{
    items_put_member(&a->items, m);
    a->differences++;
}

static void answer_both(struct directory *d, struct answer *a,
                        const struct member *m, const argus_DigestEntry *e)
{
    int order =
        version_compare(m->generation, m->version, e->generation, e->version);
    uint64_t report_hlc = m->report == NULL ? 0 : m->report->hlc;

    if (order > 0) {
        answer_item(a, m);
    } else if (order < 0) {
        answer_want(d, a, e);
    } else if (report_hlc != e->report_hlc) { /* each may know one */
        items_put_report(&a->items, m);
        if (e->report_hlc != 0)
            answer_want(d, a, e);
        else
            a->differences++;
    }
}

static bool answer_is_full(const struct answer *a)
{
    return a->differences >= SYNC_PAGE_MAX || a->items.bytes >= SYNC_PAGE_BYTES;
}

/* @return up to which id the page is answered. */
static struct node_id answer_merge(struct directory *d, struct answer *a,
                                   const argus_Digest *page)
{
    const struct members *t = &d->members;
    struct node_id from = node_id_of(page->from), to = node_id_of(page->to);
    struct node_id reached = from;
    uint32_t i = members_lower_bound(t, &from), k = 0;

    for (;;) {
        while (i < t->count && !member_is_listed(t->sorted[i]))
            i++;
        const struct member *m = i < t->count ? t->sorted[i] : NULL;
        if (m != NULL && node_id_compare(&m->id, &to) > 0)
            m = NULL;
        const argus_DigestEntry *e =
            k < page->entries_count ? &page->entries[k] : NULL;
        if (m == NULL && e == NULL)
            return to;
        if (answer_is_full(a))
            return reached;

        int order = m == NULL   ? 1
                    : e == NULL ? -1
                                : memcmp(m->id.bytes, e->id, NODE_ID_SIZE);
        if (order < 0)
            answer_item(a, m);
        else if (order > 0)
            answer_want(d, a, e);
        else
            answer_both(d, a, m, e);
        reached = order <= 0 ? m->id : node_id_of(e->id);
        i += order <= 0;
        k += order >= 0;
    }
}

static void send_want(struct session *session, const argus_Want *want,
                      struct actions *out)
{
    argus_Frame frame;

    frame.hlc = 0;
    frame.which_body = argus_Frame_want_tag;
    frame.body.want = *want;
    actions_send(out, session->link, &frame);
}

static bool page_is_sound(const struct session *session,
                          const argus_Digest *page)
{
    const uint8_t *before = page->from;

    if (memcmp(page->from, session->from.bytes, NODE_ID_SIZE) < 0 ||
        memcmp(page->from, page->to, NODE_ID_SIZE) > 0 ||
        (!page->last && memcmp(page->to, highest_id.bytes, NODE_ID_SIZE) == 0))
        return false;
    for (pb_size_t i = 0; i < page->entries_count; i++) {
        int order = memcmp(before, page->entries[i].id, NODE_ID_SIZE);
        if (order > 0 || (order == 0 && i > 0))
            return false;
        before = page->entries[i].id;
    }
    return memcmp(before, page->to, NODE_ID_SIZE) <= 0;
}

static void on_digest(struct directory *d, struct session *session,
                      const argus_Digest *page, struct actions *out)
{
    struct answer a;

    if (session->dial != 0 || session->is_answered ||
        !page_is_sound(session, page)) {
        malformed(d, session, "digest out of turn or order", out);
        return;
    }
    items_begin(&a.items, d, session->link, out);
    a.want.ids_count = 0;
    a.differences = 0;
    struct node_id reached = answer_merge(d, &a, page);
    items_flush(&a.items);

    a.want.last =
        page->last && memcmp(reached.bytes, page->to, NODE_ID_SIZE) == 0;
    memcpy(a.want.to, reached.bytes, NODE_ID_SIZE);
    session->is_answered = a.want.last;
    session->from = next_id(reached);
    session->items_left = 2 * (uint32_t)a.want.ids_count;
    send_want(session, &a.want, out);
}

static bool want_is_sound(const struct session *session, const argus_Want *want)
{
    const uint8_t *before = session->from.bytes;

    if (!session->is_waiting ||
        memcmp(want->to, session->to.bytes, NODE_ID_SIZE) > 0 ||
        want->last != (session->is_last &&
                       memcmp(want->to, session->to.bytes, NODE_ID_SIZE) == 0))
        return false;
    for (pb_size_t i = 0; i < want->ids_count; i++) {
        int order = memcmp(before, want->ids[i], NODE_ID_SIZE);
        if (order > 0 || (order == 0 && i > 0))
            return false;
        before = want->ids[i];
    }
    return memcmp(before, want->to, NODE_ID_SIZE) <= 0;
}

static void send_wanted(struct directory *d, struct session *session,
                        const argus_Want *want, struct actions *out)
{
    struct items items;

    items_begin(&items, d, session->link, out);
    for (pb_size_t i = 0; i < want->ids_count; i++) {
        struct node_id id = node_id_of(want->ids[i]);
        const struct member *m = members_find(&d->members, &id);
        if (m != NULL && member_is_listed(m))
            items_put_member(&items, m);
    }
    items_flush(&items);
}

/* Records are equal: now events, if there are any here. */
static void go_on(struct directory *d, struct session *session,
                  struct actions *out)
{
    if (d->listener.events_begin != NULL)
        d->listener.events_begin(d->listener.context, &session->events,
                                 session->link, out);
    else
        end_session(d, session, true, argus_RefuseCode_REFUSE_BYE, "in sync",
                    out);
}

static void on_want(struct directory *d, struct session *session,
                    const argus_Want *want, struct actions *out)
{
    if (!want_is_sound(session, want)) {
        malformed(d, session, "want out of turn or order", out);
        return;
    }
    session->is_waiting = false;
    send_wanted(d, session, want, out);
    if (want->last ||
        !send_page(d, session, next_id(node_id_of(want->to)), out))
        go_on(d, session, out);
}

/* --------------------------------------------------------------- sums */

/* The dialer's, of all: the same as ours, or where may the difference be? */
static void answer_sum(struct directory *d, struct session *session,
                       uint64_t sum, struct actions *out)
{
    argus_Frame frame;

    frame.hlc = 0;
    session->is_summed = true;
    session->is_answered = sum == sums_of_all(&d->members);
    if (session->is_answered) {
        frame.which_body = argus_Frame_want_tag;
        frame.body.want = (argus_Want){.last = true, .to = {0}};
        memcpy(frame.body.want.to, highest_id.bytes, NODE_ID_SIZE);
    } else {
        frame.which_body = argus_Frame_sums_tag;
        sums_of_leaves(&d->members, &frame.body.sums);
    }
    actions_send(out, session->link, &frame);
}

/* The other side's, of ranges. What has become equal meanwhile needs no page,
 * but the other side waits for the last one. */
static void compare_sums(struct directory *d, struct session *session,
                         const argus_Sums *theirs, struct actions *out)
{
    uint64_t own[SUMS_MAX];

    session->is_summed = true;
    session->ranges = theirs->sums_count;
    sums_of_ranges(&d->members, session->ranges, own);
    for (uint32_t i = 0; i < session->ranges; i++)
        if (own[i] != theirs->sums[i])
            session->differing[i / 64] |= (uint64_t)1 << i % 64;
    bool is_same = true;
    for (uint32_t i = 0; i < SUMS_MAX / 64; i++)
        is_same = is_same && session->differing[i] == 0;
    if (is_same)
        session->differing[0] = 1;
    (void)send_page(d, session, lowest_id, out);
}

static void on_sums(struct directory *d, struct session *session,
                    const argus_Sums *sums, struct actions *out)
{
    bool is_turn =
        !session->is_summed && !session->is_answered &&
        (session->dial != 0 ? session->is_waiting : sums->sums_count == 1);

    if (!is_turn || !sums_count_is_sound(sums->sums_count))
        malformed(d, session, "sums out of turn or number", out);
    else if (session->dial == 0)
        answer_sum(d, session, sums->sums[0], out);
    else
        compare_sums(d, session, sums, out);
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
        malformed(d, session, "items nobody asked for", out);
        return;
    }
    session->items_left -= items->payloads_count;
    for (pb_size_t i = 0; i < items->payloads_count; i++)
        if (!take_item(d, &session->peer, &items->payloads[i], out)) {
            d->stats.items_bad++;
            malformed(d, session, "a statement that is damaged or absurd", out);
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
        malformed(d, session, "events out of turn", out);
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
        malformed(d, session, "events that are damaged or out of order", out);
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
                send_sum(d, &s->sessions[i], out);
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
        on_sums(d, session, &frame->body.sums, out);
        return;
    case argus_Frame_digest_tag:
        on_digest(d, session, &frame->body.digest, out);
        return;
    case argus_Frame_want_tag:
        on_want(d, session, &frame->body.want, out);
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
    default: malformed(d, session, "not a frame of a sync link", out);
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
