#include "core/event_sync.h"

#include <stdlib.h>
#include <string.h>

#include "core/seal.h"

/* ---------------------------------------------------------------- places */

static void put_place(argus_EventPlace *out, const struct timeline_place *p)
{
    static const struct node_id nobody;

    *out = (argus_EventPlace){.epoch = p->epoch,
                              .hlc = p->hlc,
                              .generation = p->generation,
                              .number = p->number};
    if (node_id_is_equal(&p->origin, &nobody))
        return;
    out->origin.size = NODE_ID_SIZE;
    memcpy(out->origin.bytes, p->origin.bytes, NODE_ID_SIZE);
}

/** @return false: not a place. */
static bool get_place(bool has, const argus_EventPlace *in,
                      struct timeline_place *out)
{
    *out = (struct timeline_place){.is_end = !has};
    if (!has)
        return true;
    out->epoch = in->epoch;
    out->hlc = in->hlc;
    out->generation = in->generation;
    out->number = in->number;
    if (in->origin.size == NODE_ID_SIZE)
        out->origin = node_id_of(in->origin.bytes);
    return in->origin.size == NODE_ID_SIZE || in->origin.size == 0;
}

/* Before that event; without its origin where the stamp is enough. */
static struct timeline_place boundary(const struct timeline *t, uint32_t index)
{
    struct timeline_place at = {.is_end = true}, before;

    if (!timeline_place(t, index, &at) || index == 0 ||
        !timeline_place(t, index - 1, &before))
        return at;
    if (before.epoch == at.epoch && before.hlc == at.hlc)
        return at;
    return (struct timeline_place){.epoch = at.epoch, .hlc = at.hlc};
}

static bool is_before(const struct timeline_place *a,
                      const struct timeline_place *b)
{
    return timeline_place_compare(a, b) < 0;
}

/* ---------------------------------------------------------------- digest */

static uint32_t root_of(uint32_t n)
{
    uint32_t root = 0;

    while ((root + 1) * (root + 1) <= n)
        root++;
    return root;
}

/* A piece of keys and the ranges that lead to it are about as many bytes. */
static uint32_t pieces_of(uint32_t count)
{
    uint32_t pieces = root_of(count) / 2 + 1;

    return pieces < EVENT_RANGES_MAX ? pieces : EVENT_RANGES_MAX;
}

static void put_range(struct event_sync *s, const struct event_session *session,
                      argus_EventRange *out, uint32_t from, uint32_t to)
{
    struct timeline_sum sum =
        timeline_sum(s->timeline, session->retain, from, to);

    *out = (argus_EventRange){.count = sum.count, .sum = sum.keys};
    out->has_to = to < timeline_count(s->timeline);
    if (!out->has_to)
        return;
    struct timeline_place place = boundary(s->timeline, to);
    put_place(&out->to, &place);
}

static void fill_digest(struct event_sync *s,
                        const struct event_session *session, bool is_first,
                        argus_EventDigest *d)
{
    uint32_t count = timeline_count(s->timeline);
    uint32_t from = timeline_index(s->timeline, &session->from);
    uint32_t pieces = is_first ? 1 : pieces_of(count - from);
    uint32_t step = (count - from) / pieces + 1;

    d->retain = session->retain;
    d->has_from = true;
    put_place(&d->from, &session->from);
    do {
        uint32_t to = count - from > step ? from + step : count;
        put_range(s, session, &d->ranges[d->ranges_count++], from, to);
        from = to;
    } while (from < count);
}

static void send_digest(struct event_sync *s, struct event_session *session,
                        link_id link, bool is_first, struct actions *out)
{
    argus_Frame frame = {.which_body = argus_Frame_event_digest_tag};

    fill_digest(s, session, is_first, &frame.body.event_digest);
    session->turn = EVENT_TURN_KEYS;
    actions_send(out, link, &frame);
}

void event_sync_summary(struct event_sync *s, argus_EventDigest *out)
{
    struct event_session session = {.retain = s->retain};

    timeline_floor(s->timeline, &session.from);
    fill_digest(s, &session, true, out);
}

/* With Retain as it is here; what nobody would take is left out. */
static void begin_with(struct event_sync *s, struct event_session *session,
                       link_id link, uint32_t retain, struct actions *out)
{
    session->is_begun = true;
    session->retain = retain;
    timeline_floor(s->timeline, &session->from);
    send_digest(s, session, link, true, out);
}

void event_sync_begin(struct event_sync *s, struct event_session *session,
                      link_id link, struct actions *out)
{
    begin_with(s, session, link, s->retain, out);
}

/* ----------------------------------------------------------------- items */

/* Events on their way: sent when a frame is full. */
struct batch {
    struct event_sync *s;
    link_id link;
    struct actions *out;
    size_t bytes;
    argus_Frame frame;
};

static void batch_begin(struct batch *b, struct event_sync *s, link_id link,
                        struct actions *out)
{
    b->s = s;
    b->link = link;
    b->out = out;
    b->bytes = 0;
    b->frame.hlc = 0;
    b->frame.which_body = argus_Frame_event_items_tag;
    b->frame.body.event_items.payloads_count = 0;
}

static void batch_flush(struct batch *b, bool is_last)
{
    argus_Items *items = &b->frame.body.event_items;

    if (items->payloads_count == 0 && !is_last)
        return;
    items->last = is_last;
    b->s->stats.items_sent += items->payloads_count;
    actions_send(b->out, b->link, &b->frame);
    items->payloads_count = 0;
}

/* One from disk is looked at before it leaves: so no damage of ours spreads. */
static bool is_fit(struct event_sync *s, uint64_t key, bool is_unproven,
                   const uint8_t *payload, size_t size)
{
    if (!is_unproven)
        return true;
    bool holds = s->holds(s->context, payload, size);
    timeline_prove(s->timeline, key, holds);
    return holds;
}

static void batch_put(struct batch *b, uint64_t key)
{
    argus_Items *items = &b->frame.body.event_items;
    argus_Items_payloads_t *p = &items->payloads[items->payloads_count];
    bool is_unproven = false;
    size_t size = timeline_packed_by_key(b->s->timeline, key, p->bytes,
                                         sizeof p->bytes, &is_unproven);

    if (size == 0 || !is_fit(b->s, key, is_unproven, p->bytes, size))
        return;
    p->size = (pb_size_t)size;
    b->bytes += size;
    if (++items->payloads_count ==
        sizeof items->payloads / sizeof items->payloads[0])
        batch_flush(b, false);
}

static bool take_items(struct event_sync *s, struct event_session *session,
                       const argus_Items *items)
{
    if (items->payloads_count > session->items_left)
        return false;
    session->items_left -= items->payloads_count;
    for (pb_size_t i = 0; i < items->payloads_count; i++) {
        const argus_Items_payloads_t *p = &items->payloads[i];
        s->stats.items_received++;
        switch (s->take(s->context, p->bytes, p->size)) {
        case EVENT_TAKEN_BAD: return false;
        case EVENT_TAKEN_OLD: break;
        case EVENT_TAKEN_NEW:
            s->stats.items_added++;
            session->added++;
            session->learned++;
            break;
        }
    }
    return true;
}

/* ------------------------------------------------- the side that answers */

static bool ranges_are_sound(const argus_EventDigest *d)
{
    struct timeline_place last, to;

    if (!d->has_from || d->retain == 0 || d->ranges_count == 0 ||
        !get_place(true, &d->from, &last))
        return false;
    for (pb_size_t i = 0; i < d->ranges_count; i++) {
        bool is_last = i + 1 == d->ranges_count;
        if (!get_place(d->ranges[i].has_to, &d->ranges[i].to, &to) ||
            is_before(&to, &last) || to.is_end != is_last)
            return false;
        last = to;
    }
    return true;
}

/* The first ranges, one behind the other, in which we differ. @return false:
 * none. */
static bool find_piece(struct event_sync *s, const argus_EventDigest *d,
                       struct timeline_place *from, struct timeline_place *to)
{
    struct timeline_place low, high, floor;
    bool is_found = false;

    timeline_floor(s->timeline, &floor);
    (void)get_place(true, &d->from, &low);
    for (pb_size_t i = 0; i < d->ranges_count; i++, low = high) {
        const argus_EventRange *r = &d->ranges[i];
        (void)get_place(r->has_to, &r->to, &high);
        struct timeline_sum own = timeline_sum(
            s->timeline, d->retain, timeline_index(s->timeline, &low),
            timeline_index(s->timeline, &high));
        bool is_same = own.count == r->count && own.keys == r->sum;
        if ((is_same && is_found))
            break;
        if (is_same || !is_before(&floor, &high))
            continue;
        if (!is_found)
            *from = is_before(&low, &floor) ? floor : low;
        is_found = true;
        *to = high;
    }
    return is_found;
}

enum event_compared event_sync_compare(struct event_sync *s,
                                       const argus_EventDigest *theirs)
{
    struct timeline_place from, to;

    if (!ranges_are_sound(theirs))
        return EVENT_COMPARED_OTHER;
    if (theirs->retain > s->retain)
        return EVENT_COMPARED_NOT;
    return find_piece(s, theirs, &from, &to) ? EVENT_COMPARED_OTHER
                                             : EVENT_COMPARED_SAME;
}

static void list_keys(struct event_sync *s, argus_EventKeys *k,
                      const struct timeline_place *from,
                      struct timeline_place *to)
{
    uint32_t i = timeline_index(s->timeline, from);
    uint32_t end = timeline_index(s->timeline, to);
    uint64_t key;

    for (; i < end; i++) {
        if (!timeline_key(s->timeline, i, &key))
            continue;
        if (k->keys_count == EVENT_KEYS_MAX) {
            *to = boundary(s->timeline, i);
            /* all of that stamp, or none: */
            if (!is_before(from, to))
                (void)timeline_place(s->timeline, i, to);
            return;
        }
        k->keys[k->keys_count++] = key;
    }
}

static enum event_step on_digest(struct event_sync *s,
                                 struct event_session *session, link_id link,
                                 const argus_EventDigest *d,
                                 struct actions *out)
{
    argus_Frame frame = {.which_body = argus_Frame_event_keys_tag};
    argus_EventKeys *k = &frame.body.event_keys;

    if (session->turn != EVENT_TURN_DIGEST || !ranges_are_sound(d))
        return EVENT_STEP_BAD;
    session->retain = d->retain;
    k->retain = d->retain < s->retain ? d->retain : s->retain;
    if (d->retain > s->retain) { /* begin again */
        actions_send(out, link, &frame);
        return EVENT_STEP_ON;
    }
    k->same = !find_piece(s, d, &session->from, &session->to);
    if (k->same) {
        s->stats.digests_same++;
        actions_send(out, link, &frame);
        return EVENT_STEP_ON;
    }
    s->stats.pieces++;
    list_keys(s, k, &session->from, &session->to);
    k->has_from = true;
    put_place(&k->from, &session->from);
    k->has_to = !session->to.is_end;
    if (k->has_to)
        put_place(&k->to, &session->to);
    session->turn = EVENT_TURN_WANT;
    session->items_left = 2 * EVENT_KEYS_MAX;
    actions_send(out, link, &frame);
    return EVENT_STEP_ON;
}

static enum event_step on_want(struct event_sync *s,
                               struct event_session *session, link_id link,
                               const argus_EventWant *want, struct actions *out)
{
    struct batch b;

    if (session->turn != EVENT_TURN_WANT)
        return EVENT_STEP_BAD;
    batch_begin(&b, s, link, out);
    for (pb_size_t i = 0; i < want->keys_count && b.bytes < EVENT_PAGE_BYTES;
         i++)
        batch_put(&b, want->keys[i]);
    batch_flush(&b, true);
    session->turn = EVENT_TURN_DIGEST;
    return EVENT_STEP_ON;
}

/* --------------------------------------------------- the side that dialed */

static int compare_keys(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Own events of the piece that the other side did not list. It may be cut
 * short; then the piece ends there. */
static void send_lacking(struct event_sync *s, struct event_session *session,
                         link_id link, const argus_EventKeys *k,
                         struct actions *out)
{
    uint64_t keys[EVENT_KEYS_MAX], key;
    uint32_t i = timeline_index(s->timeline, &session->from);
    uint32_t end = timeline_index(s->timeline, &session->to), count = 0;
    struct batch b;

    batch_begin(&b, s, link, out);
    memcpy(keys, k->keys, k->keys_count * sizeof keys[0]);
    qsort(keys, k->keys_count, sizeof keys[0], compare_keys);
    for (; i < end; i++) {
        if (!timeline_key(s->timeline, i, &key) ||
            bsearch(&key, keys, k->keys_count, sizeof keys[0], compare_keys) !=
                NULL)
            continue;
        if (b.bytes >= EVENT_PAGE_BYTES || count == 2 * EVENT_KEYS_MAX) {
            (void)timeline_place(s->timeline, i, &session->to);
            break;
        }
        uint32_t before = timeline_count(s->timeline);
        batch_put(&b, key);
        if (timeline_count(s->timeline) < before) { /* it was damaged */
            i--;
            end--;
            continue;
        }
        count++;
    }
    batch_flush(&b, false);
}

static void send_want(struct event_sync *s, struct event_session *session,
                      link_id link, const argus_EventKeys *k,
                      struct actions *out)
{
    argus_Frame frame = {.which_body = argus_Frame_event_want_tag};
    argus_EventWant *want = &frame.body.event_want;

    for (pb_size_t i = 0; i < k->keys_count; i++)
        if (!timeline_has_key(s->timeline, k->keys[i]))
            want->keys[want->keys_count++] = k->keys[i];
    session->items_left = want->keys_count;
    session->added = 0;
    session->turn = EVENT_TURN_ITEMS;
    actions_send(out, link, &frame);
}

static enum event_step begin_again(struct event_sync *s,
                                   struct event_session *session, link_id link,
                                   uint32_t retain, struct actions *out)
{
    if (retain == 0 || retain > session->retain || session->has_begun_again)
        return EVENT_STEP_BAD;
    session->has_begun_again = true;
    begin_with(s, session, link, retain, out);
    return EVENT_STEP_ON;
}

static enum event_step on_keys(struct event_sync *s,
                               struct event_session *session, link_id link,
                               const argus_EventKeys *k, struct actions *out)
{
    struct timeline_place from, to;

    if (session->turn != EVENT_TURN_KEYS || !session->is_begun)
        return EVENT_STEP_BAD;
    if (k->retain != session->retain)
        return begin_again(s, session, link, k->retain, out);
    if (k->same) {
        s->stats.digests_same++;
        return EVENT_STEP_DONE;
    }
    if (!k->has_from || !get_place(true, &k->from, &from) ||
        !get_place(k->has_to, &k->to, &to) ||
        is_before(&from, &session->from) || !is_before(&from, &to))
        return EVENT_STEP_BAD;
    s->stats.pieces++;
    session->from = from;
    session->to = to;
    /* a sum makes the view that timeline_key() speaks of */
    (void)timeline_sum(s->timeline, session->retain, 0, 1);
    send_lacking(s, session, link, k, out);
    send_want(s, session, link, k, out);
    return EVENT_STEP_ON;
}

/* Not all that was wanted came at once, or it is done with: what could not be
 * taken here is not asked for again. */
static enum event_step on_items(struct event_sync *s,
                                struct event_session *session, link_id link,
                                const argus_Items *items, struct actions *out)
{
    if (!take_items(s, session, items))
        return EVENT_STEP_BAD;
    if (session->turn == EVENT_TURN_WANT)
        return EVENT_STEP_ON;
    if (session->turn != EVENT_TURN_ITEMS)
        return EVENT_STEP_BAD;
    if (!items->last)
        return EVENT_STEP_ON;
    bool is_partial = session->items_left > 0 && session->added > 0;
    if (!is_partial && session->to.is_end)
        return EVENT_STEP_DONE;
    if (!is_partial)
        session->from = session->to;
    send_digest(s, session, link, false, out);
    return EVENT_STEP_ON;
}

enum event_step event_sync_on_frame(struct event_sync *s,
                                    struct event_session *session, link_id link,
                                    const argus_Frame *frame,
                                    struct actions *out)
{
    switch (frame->which_body) {
    case argus_Frame_event_digest_tag:
        return on_digest(s, session, link, &frame->body.event_digest, out);
    case argus_Frame_event_keys_tag:
        return on_keys(s, session, link, &frame->body.event_keys, out);
    case argus_Frame_event_want_tag:
        return on_want(s, session, link, &frame->body.event_want, out);
    case argus_Frame_event_items_tag:
        return on_items(s, session, link, &frame->body.event_items, out);
    default: return EVENT_STEP_BAD;
    }
}
