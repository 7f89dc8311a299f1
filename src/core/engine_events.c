/* engine_events.c - events: those of this node, those of others, what is kept
 * of them on disk, and which of them collectd is told. */
#include <stdlib.h>
#include <string.h>

#include <pb_encode.h>

#include "base/text.h"
#include "core/engine_impl.h"

/* A row on disk: a checksum of the rest (head of its digest), the author, when
 * it was received, the encoded Signed. Signatures are too dear to be checked at
 * each start; it is done before an event is handed on. */
#define ROW_SUM_SIZE 8
#define ROW_HEAD_SIZE (ROW_SUM_SIZE + NODE_ID_SIZE + 8)

/* ------------------------------------------------------------------ disk */

static void store_row(struct engine *e, uint64_t event_key, const uint8_t *row,
                      size_t size)
{
    struct action a = {
        .type = ACTION_STORE,
        .store = {.what = STORE_EVENT, .data = row, .size = size}};

    memcpy(a.store.key.bytes, &event_key, sizeof event_key);
    e->owner->emit(e->owner->context, &a);
}

static void row_sum(const struct engine *e, const uint8_t *row, size_t size,
                    uint8_t sum[ROW_SUM_SIZE])
{
    uint8_t hash[32];

    e->options.seal.digest(row + ROW_SUM_SIZE, size - ROW_SUM_SIZE, hash);
    memcpy(sum, hash, ROW_SUM_SIZE);
}

static void store_event(struct engine *e, uint64_t key,
                        const struct timeline_input *in)
{
    uint8_t row[ROW_HEAD_SIZE + SEALED_SIZE_MAX];
    size_t size = ROW_HEAD_SIZE + in->size;

    memcpy(row + ROW_SUM_SIZE, in->origin->bytes, NODE_ID_SIZE);
    memcpy(row + ROW_SUM_SIZE + NODE_ID_SIZE, &in->received_us, 8);
    memcpy(row + ROW_HEAD_SIZE, in->payload, in->size);
    row_sum(e, row, size, row);
    store_row(e, key, row, size);
}

static void dropped(void *context, uint64_t key)
{
    store_row(context, key, NULL, 0);
}

/* @return false: it is not what was written. */
static bool read_row(const struct engine *e, const uint8_t *row, size_t size,
                     struct node_id *author, struct timeline_input *in)
{
    uint8_t sum[ROW_SUM_SIZE];

    if (size <= ROW_HEAD_SIZE || size > ROW_HEAD_SIZE + SEALED_SIZE_MAX)
        return false;
    row_sum(e, row, size, sum);
    if (memcmp(sum, row, sizeof sum) != 0)
        return false;
    *author = node_id_of(row + ROW_SUM_SIZE);
    *in = (struct timeline_input){.origin = author,
                                  .payload = row + ROW_HEAD_SIZE,
                                  .size = size - ROW_HEAD_SIZE,
                                  .is_unproven = true};
    memcpy(&in->received_us, row + ROW_SUM_SIZE + NODE_ID_SIZE, 8);
    return true;
}

void engine_events_load(struct engine *e, const uint8_t *row, size_t size)
{
    argus_Event event;
    struct timeline_input in;
    struct node_id author;

    if (!read_row(e, row, size, &author, &in) ||
        !timeline_unpack(in.payload, in.size, &event)) {
        e->stats.event_unread++;
        return;
    }
    in.event = &event;
    uint64_t key;
    if (timeline_add(e->timeline, &in, &key) == TIMELINE_TOO_OLD)
        dropped(e, key); /* Retain is less than it was */
}

/* --------------------------------------------------------------- telling */

static void tell(struct engine *e, enum action_type type,
                 const argus_Event *event, const struct node_id *origin)
{
    struct action a = {
        .type = type,
        .event = {.event = event, .origin = origin, .received_us = e->wall_us}};
    e->owner->emit(e->owner->context, &a);
}

static bool is_aggregator(const struct engine *e)
{
    return e->options.role == argus_Role_ROLE_AGGREGATOR;
}

static bool is_severity(argus_Severity s)
{
    return s == argus_Severity_SEVERITY_FAILURE ||
           s == argus_Severity_SEVERITY_WARNING ||
           s == argus_Severity_SEVERITY_OKAY;
}

/* Of what comes by anti-entropy: what is history, or was before this node's
 * time, is on the timeline and raises no alarm any more. */
static bool is_worth_an_alarm(const struct engine *e, const argus_Event *event)
{
    uint64_t ms = event->hlc >> 16;

    return ms >= e->options.born_ms &&
           ms + ENGINE_ALARM_AGE_MS >= e->wall_us / 1000;
}

static enum timeline_result add(struct engine *e, const struct node_id *author,
                                const argus_Event *event,
                                const uint8_t *payload, size_t size)
{
    const struct timeline_input in = {.origin = author,
                                      .event = event,
                                      .payload = payload,
                                      .size = size,
                                      .received_us = e->wall_us};
    uint64_t key;
    enum timeline_result result = timeline_add(e->timeline, &in, &key);

    if (result != TIMELINE_ADDED)
        return result;
    store_event(e, key, &in);
    tell(e, ACTION_TIMELINE, event, author);
    return result;
}

/* ---------------------------------------------------------------- others */

enum plumtree_verdict engine_events_deliver(struct engine *e,
                                            const uint8_t *payload, size_t size,
                                            const argus_Event *event,
                                            const struct node_id *author)
{
    if (!is_severity(event->severity)) {
        e->stats.statement_bad++;
        return PLUMTREE_BAD;
    }
    switch (add(e, author, event, payload, size)) {
    case TIMELINE_KNOWN: return PLUMTREE_STALE;
    case TIMELINE_TOO_OLD: /* others may keep more than we do */
    case TIMELINE_FAILED: return PLUMTREE_NEWS;
    case TIMELINE_ADDED: break;
    }
    e->stats.event_received++;
    directory_heard(e->directory, e->now_ms, e->wall_us, author);
    if (is_aggregator(e))
        tell(e, ACTION_NOTIFY, event, author);
    return PLUMTREE_NEWS;
}

/* Strangers can be made up: of their events there are as many a second as by
 * broadcast; the rest comes another time. */
static bool may_come(struct engine *e, const struct node_id *author)
{
    const struct member *m = directory_find(e->directory, author);
    struct origins *o = &e->insiders.origins;

    if (m != NULL && m->packed != NULL)
        return true;
    if (!origins_may(o, e->now_ms, author, ORIGIN_OTHERS)) {
        e->stats.statement_limited++;
        return false;
    }
    origins_take(o, e->now_ms, author, ORIGIN_OTHERS);
    return true;
}

static enum event_taken take(void *context, const uint8_t *payload, size_t size)
{
    argus_Statement s;
    struct engine *e = context;
    struct node_id author;

    if (!e->options.seal.open(e->options.seal.context, payload, size, &s,
                              &author) ||
        s.which_body != argus_Statement_event_tag ||
        !is_severity(s.body.event.severity)) {
        e->stats.statement_bad++;
        return EVENT_TAKEN_BAD;
    }
    if (!may_come(e, &author) ||
        add(e, &author, &s.body.event, payload, size) != TIMELINE_ADDED)
        return EVENT_TAKEN_OLD;
    e->stats.event_learned++;
    if (is_aggregator(e) && is_worth_an_alarm(e, &s.body.event))
        tell(e, ACTION_NOTIFY, &s.body.event, &author);
    return EVENT_TAKEN_NEW;
}

static bool holds(void *context, const uint8_t *payload, size_t size)
{
    argus_Statement s;
    struct engine *e = context;
    struct node_id author;

    return e->options.seal.open(e->options.seal.context, payload, size, &s,
                                &author);
}

void engine_events_begin(void *context, struct event_session *session,
                         link_id link, struct actions *out)
{
    struct engine *e = context;

    event_sync_begin(&e->event_sync, session, link, out);
}

/* An event that was not known is worth its price. */
enum event_step engine_events_frame(void *context,
                                    struct event_session *session, link_id link,
                                    const argus_Frame *frame,
                                    struct actions *out)
{
    struct engine *e = context;
    uint32_t learned = session->learned;
    enum event_step step =
        event_sync_on_frame(&e->event_sync, session, link, frame, out);

    if (session->learned > learned)
        links_refund(e->links, link, session->learned - learned);
    return step;
}

/* -------------------------------------------------------------- our own */

/* How far a stamp of ours may be off: our own clock's error as it is measured,
 * or that of the median, if that is what we stamp by. */
static uint64_t uncertainty_us(const struct engine *e)
{
    struct clock_view v;

    clock_view(overlay_clock(e->overlay), overlay_reading(e->overlay), &v);
    if (!v.is_measured)
        return (uint64_t)e->options.clock_max_offset_ms * 1000 + 1;
    uint64_t us = (uint64_t)v.uncertainty_us + 1;
    if (v.state != CLOCK_ALARMED)
        us += (uint64_t)llabs(v.offset_us);
    return us;
}

static void fill(const struct engine *e, argus_Event *event)
{
    event->epoch = clock_epoch(overlay_clock(e->overlay));
    event->uncertainty_us = uncertainty_us(e);
    text_copy(event->node, sizeof event->node, e->options.name);
}

/* It is signed. */
static void send_own(struct engine *e, const argus_Event *event,
                     const uint8_t *packed, size_t size, bool always)
{
    struct action mark = {.type = ACTION_STORE,
                          .store = {.what = STORE_HLC, .number = event->hlc}};

    e->owner->emit(e->owner->context, &mark);
    (void)add(e, &e->options.id, event, packed, size);
    /* A notification went through collectd here already; words of an operator
     * did not. */
    if (always && is_aggregator(e))
        tell(e, ACTION_NOTIFY, event, &e->options.id);
    (void)overlay_broadcast(e->overlay, packed, size);
    e->stats.event_sent++;
}

static void take_signed(void *context, uint32_t index, const uint8_t *packed,
                        size_t size)
{
    struct engine *e = context;
    argus_Event event;

    if (size == 0 || !timeline_unpack(packed, size, &event))
        e->stats.event_unsealed++;
    else
        send_own(e, &event, packed, size, e->batch.always[index]);
}

/* Those that wait get one signature. */
static void sign_waiting(struct engine *e)
{
    struct own_batch *b = &e->batch;

    if (b->count == 0)
        return;
    b->signed_ms = e->now_ms;
    if (!e->options.seal.close_all(e->options.seal.context, b->parts, b->count,
                                   take_signed, e))
        e->stats.event_unsealed += b->count;
    while (b->count > 0)
        free(b->parts[--b->count].statement);
}

/* @return false: no memory, or it cannot be encoded. */
static bool wait_signing(struct engine *e, const argus_Statement *s,
                         bool always)
{
    struct own_batch *b = &e->batch;
    struct seal_part *part = &b->parts[b->count];

    if (!pb_get_encoded_size(&part->size, argus_Statement_fields, s) ||
        (part->statement = malloc(part->size)) == NULL)
        return false;
    pb_ostream_t out = pb_ostream_from_buffer(part->statement, part->size);
    if (!pb_encode(&out, argus_Statement_fields, s)) {
        free(part->statement);
        return false;
    }
    b->always[b->count++] = always;
    if (b->count == SEAL_BATCH_MAX)
        sign_waiting(e);
    return true;
}

/* It has its stamp. The first is signed at once, what follows within
 * EVENT_BATCH_MS of a signature waits for others: a signature is most of what
 * an event costs each node. @return false: it cannot be signed. */
static bool publish(struct engine *e, const argus_Statement *s, bool always)
{
    uint8_t packed[SEALED_SIZE_MAX];
    bool is_early =
        e->batch.count > 0 || e->now_ms - e->batch.signed_ms < EVENT_BATCH_MS;

    if (e->options.seal.close_all != NULL && is_early &&
        wait_signing(e, s, always))
        return true;
    size_t size = e->options.seal.close(e->options.seal.context, s, packed);
    if (size == 0) {
        e->stats.event_unsealed++;
        return false;
    }
    e->batch.signed_ms = e->now_ms;
    send_own(e, &s->body.event, packed, size, always);
    return true;
}

uint64_t engine_events_deadline_ms(const struct engine *e)
{
    uint64_t limit_ms = timeline_deadline_ms(e->timeline);
    uint64_t batch_ms = e->batch.signed_ms + EVENT_BATCH_MS;

    return e->batch.count > 0 && batch_ms < limit_ms ? batch_ms : limit_ms;
}

void engine_events_settle(struct engine *e)
{
    sign_waiting(e);
}

void engine_notice(struct engine *e, const argus_Event *event, bool always,
                   uint64_t *hlc, uint64_t *number)
{
    argus_Statement s;

    *hlc = 0;
    *number = 0;
    if (!always && event->severity > e->options.forward) {
        e->stats.event_mild++;
        return;
    }
    s.which_body = argus_Statement_event_tag;
    s.body.event = *event;
    fill(e, &s.body.event);
    if (!timeline_stamp_own(e->timeline, e->hlc, e->now_ms, e->wall_us,
                            &s.body.event) ||
        !publish(e, &s, always))
        return;
    *hlc = s.body.event.hlc;
    *number = s.body.event.number;
}

void engine_announce(struct engine *e, const argus_Event *event)
{
    argus_Event told = *event;

    engine_notice(e, event, true, &told.hlc, &told.number);
    if (is_aggregator(e)) /* done */
        return;
    told.generation = e->options.generation;
    told.epoch = clock_epoch(overlay_clock(e->overlay));
    text_copy(told.node, sizeof told.node, e->options.name);
    tell(e, ACTION_NOTIFY, &told, &e->options.id);
}

/* Events that were too many are told of, once there is a token for that. */
static void tell_of_limited(struct engine *e)
{
    argus_Statement s; /* large: cleared only when there is something to tell */
    argus_Event *event = &s.body.event;

    memset(&s, 0, sizeof s);
    s.which_body = argus_Statement_event_tag;
    fill(e, event);
    event->time = engine_cdtime(e->wall_us);
    text_copy(event->host, sizeof event->host, e->options.name);
    text_copy(event->plugin, sizeof event->plugin, "argus");
    if (!timeline_summary(e->timeline, e->hlc, e->now_ms, e->wall_us, event))
        return;
    actions_log(&e->out, LOG_LEVEL_WARNING, "%s", event->message);
    (void)publish(e, &s, true);
}

void engine_events_on_timeout(struct engine *e)
{
    if (timeline_deadline_ms(e->timeline) <= e->now_ms)
        tell_of_limited(e);
    if (e->now_ms >= e->batch.signed_ms + EVENT_BATCH_MS)
        sign_waiting(e);
}

/* ------------------------------------------------------------------ life */

void engine_events_free(struct engine *e)
{
    while (e->batch.count > 0)
        free(e->batch.parts[--e->batch.count].statement);
    timeline_free(e->timeline);
}

int engine_events_new(struct engine *e)
{
    const struct engine_options *o = &e->options;
    struct timeline_options options = {.self = o->id,
                                       .generation = o->generation,
                                       .retain_events = o->retain_events,
                                       .event_rate = o->event_rate,
                                       .digest = o->seal.digest,
                                       .dropped = dropped,
                                       .context = e};
    int rc = timeline_new(&options, &e->timeline);

    e->event_sync = (struct event_sync){.context = e,
                                        .timeline = e->timeline,
                                        .retain = o->retain_events,
                                        .take = take,
                                        .holds = holds};
    return rc;
}

bool engine_is_settled(const struct engine *e)
{
    return e->batch.count == 0;
}

uint32_t engine_events_count(const struct engine *e)
{
    return timeline_count(e->timeline);
}

bool engine_event(const struct engine *e, uint32_t index, argus_EventReply *out)
{
    return timeline_get(e->timeline, index, out);
}

bool engine_event_place(const struct engine *e, uint32_t index,
                        struct timeline_place *out)
{
    return timeline_place(e->timeline, index, out);
}

void engine_event_order(const struct engine *e, uint32_t index,
                        argus_EventReply *out)
{
    timeline_order(e->timeline, index, out);
}
