#include "core/sync_impl.h"

#include <string.h>

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
void sync_send_sum(struct directory *d, struct session *session,
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

void sync_on_digest(struct directory *d, struct session *session,
                    const argus_Digest *page, struct actions *out)
{
    struct answer a;

    if (session->dial != 0 || session->is_answered ||
        !page_is_sound(session, page)) {
        sync_malformed(d, session, "digest out of turn or order", out);
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

void sync_on_want(struct directory *d, struct session *session,
                  const argus_Want *want, struct actions *out)
{
    if (!want_is_sound(session, want)) {
        sync_malformed(d, session, "want out of turn or order", out);
        return;
    }
    session->is_waiting = false;
    send_wanted(d, session, want, out);
    if (want->last ||
        !send_page(d, session, next_id(node_id_of(want->to)), out))
        sync_go_on(d, session, out);
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

void sync_on_sums(struct directory *d, struct session *session,
                  const argus_Sums *sums, struct actions *out)
{
    bool is_turn =
        !session->is_summed && !session->is_answered &&
        (session->dial != 0 ? session->is_waiting : sums->sums_count == 1);

    if (!is_turn || !sums_count_is_sound(sums->sums_count))
        sync_malformed(d, session, "sums out of turn or number", out);
    else if (session->dial == 0)
        answer_sum(d, session, sums->sums[0], out);
    else
        compare_sums(d, session, sums, out);
}
