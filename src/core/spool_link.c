#include "core/spool_internal.h"

#include <stdlib.h>

#include "base/status.h"

/* As in argus.options. */
#define BATCH_VALUES_MAX 1024
#define BATCH_NUMBERS_MAX 2048
#define DEFS_MAX 4

/* Values of one lane in a row, before the next lane has its turn. */
#define TURN_MAX 64

/* Bytes under way on a link, as estimated; the transport's queue takes four
 * times as many before it calls the peer slow. */
#define LINK_BYTES_MAX (1024u * 1024u)

/* With less room than this in the window, and values under way, wait: small
 * batches cost more than they bring. */
#define ROOM_MIN 64

/* Least window: a peer must not stall the link by a number. */
#define WINDOW_MIN 16

/* ------------------------------------------------------ life of a target */

struct target *spool_target_find(const struct spool *s,
                                 const struct node_id *id)
{
    struct target *t;

    HASH_FIND(hh, s->targets, id, sizeof *id, t);
    return t;
}

struct target *spool_target_of_link(const struct spool *s, link_id link)
{
    struct target *t = s->targets;

    while (t != NULL && t->link != link)
        t = t->hh.next;
    return t;
}

static struct target *target_new(struct spool *s, const struct node_id *id)
{
    struct target *t = calloc(1, sizeof *t);

    if (t == NULL) {
        s->stats.memory_refused++;
        return NULL;
    }
    t->id = *id;
    TAILQ_INIT(&t->under_way);
    TAILQ_INIT(&t->ready);
    HASH_ADD(hh, s->targets, id, sizeof *id, t);
    if (!table_has_taken(&t->hh)) {
        s->stats.memory_refused++;
        free(t);
        return NULL;
    }
    return t;
}

int spool_targets_list(struct spool *s)
{
    struct target *t;

    for (t = s->targets; t != NULL; t = t->hh.next)
        t->position = NOT_LISTED;
    for (uint32_t i = 0; i < router_count(s->router); i++) {
        const struct node_id *id = &router_at(s->router, i)->id;
        t = spool_target_find(s, id);
        if (t == NULL)
            t = target_new(s, id);
        if (t == NULL)
            return ARGUS_ENOMEM;
        t->position = i;
    }
    return ARGUS_OK;
}

void spool_targets_free_all(struct spool *s)
{
    struct target *t, *next;

    HASH_ITER(hh, s->targets, t, next)
    {
        HASH_DEL(s->targets, t);
        free(t->known);
        free(t);
    }
}

void spool_targets_forget(struct spool *s)
{
    struct target *t, *next;

    HASH_ITER(hh, s->targets, t, next)
    {
        if (t->position != NOT_LISTED || t->link != 0 || t->dial != 0 ||
            t->lanes != 0)
            continue;
        HASH_DEL(s->targets, t);
        free(t->known);
        free(t);
    }
}

bool spool_target_is_open(const struct spool *s, const struct target *t)
{
    return t->position != NOT_LISTED &&
           router_at(s->router, t->position)->usable &&
           (t->link != 0 || t->dial != 0 || t->retry_ms == 0);
}

void spool_target_dial(struct spool *s, struct target *t, struct actions *out)
{
    t->dial = (uint64_t)SPOOL_DIAL_TAG << 56 | ++s->dials;
    actions_dial(out, t->dial, argus_LinkKind_LINK_METRICS,
                 router_at(s->router, t->position)->address, &t->id);
}

void spool_target_up(struct spool *s, struct target *t, link_id link)
{
    t->dial = 0;
    t->link = link;
    t->window = SPOOL_WINDOW_FIRST;
    t->batch_sent = t->batch_acked = 0;
    t->linger_ms = 0;
    t->idle_ms = s->now_ms;
    t->bytes = 0;
    s->stats.links_opened++;
    s->stats.links++;
}

static void target_back_off(struct spool *s, struct target *t)
{
    uint32_t wait = t->backoff_ms * 2;

    if (wait < SPOOL_BACKOFF_MIN_MS)
        wait = SPOOL_BACKOFF_MIN_MS;
    if (wait > SPOOL_BACKOFF_MAX_MS)
        wait = SPOOL_BACKOFF_MAX_MS;
    t->backoff_ms = wait;
    t->retry_ms = s->now_ms + prng_jitter(&s->prng, wait);
    s->stats.links_failed++;
}

void spool_target_lost(struct spool *s, struct target *t, bool failed)
{
    struct value *v;

    if (t->link != 0)
        s->stats.links--;
    t->link = 0;
    t->dial = 0;
    while ((v = TAILQ_LAST(&t->under_way, value_line)) != NULL) {
        TAILQ_REMOVE(&t->under_way, v, line);
        s->stats.values_under_way--;
        spool_lane_return(s, v);
    }
    t->under_way_count = 0;
    t->bytes = 0;
    free(t->known);
    t->known = NULL;
    t->known_size = 0;
    t->indices = 0;
    if (failed)
        target_back_off(s, t);
}

void spool_target_close(struct spool *s, struct target *t,
                        argus_RefuseCode code, const char *text, bool failed,
                        struct actions *out)
{
    actions_close(out, t->link, code, text);
    spool_target_lost(s, t, failed);
}

void spool_target_release(struct spool *s, struct target *t, const char *host,
                          struct actions *out)
{
    if (t->link == 0)
        return;
    argus_Frame *frame = &s->scratch->release;
    frame->which_body = argus_Frame_release_tag;
    memcpy(frame->body.release.host, host, strlen(host) + 1);
    actions_send(out, t->link, frame);
}

/* -------------------------------------------------------- naming series */

static bool known_reserve(struct spool *s, struct target *t, uint32_t slot)
{
    uint32_t size = t->known_size == 0 ? 64 : t->known_size;

    if (slot < t->known_size)
        return true;
    while (size <= slot)
        size *= 2;
    struct known *grown = realloc(t->known, size * sizeof *grown);
    if (grown == NULL) {
        s->stats.memory_refused++;
        return false;
    }
    memset(grown + t->known_size, 0, (size - t->known_size) * sizeof *grown);
    t->known = grown;
    t->known_size = size;
    return true;
}

static void defs_send(struct spool *s, struct target *t, struct actions *out)
{
    argus_Frame *frame = &s->scratch->defs;

    if (frame->body.series_defs.series_count == 0)
        return;
    actions_send(out, t->link, frame);
    frame->body.series_defs.series_count = 0;
}

/* The index by which a link knows a definition; named first if need be. The
 * frame of names leaves when it is full, and before the batch. 0: no memory. */
static uint32_t target_index(struct spool *s, struct target *t,
                             const struct definition *def, struct actions *out)
{
    uint32_t slot = def->series->slot;
    argus_SeriesDefs *defs = &s->scratch->defs.body.series_defs;

    if (!known_reserve(s, t, slot))
        return 0;
    struct known *known = &t->known[slot];
    if (known->version == def->version)
        return known->index;
    if (known->index == 0)
        known->index = ++t->indices;
    known->version = def->version;
    argus_SeriesDef *named = &defs->series[defs->series_count++];
    named->index = known->index;
    spool_definition_fill(def, named);
    t->bytes += def->series->key_size + def->sources->size + 64;
    s->stats.series_defined++;
    if (defs->series_count == DEFS_MAX)
        defs_send(s, t, out);
    return known->index;
}

/* --------------------------------------------------------------- batches */

static uint64_t value_bytes(const struct value *v)
{
    return 12 + 9 * (uint64_t)v->def->sources->count;
}

struct batch_end {
    uint64_t number; /* of the last value; 0: none yet */
    uint64_t time;
};

/* May this value be the next of the batch? Its number is what it has, or
 * what it will get. */
static bool batch_fits(const argus_Batch *b, const struct batch_end *end,
                       const struct value *v, uint64_t number)
{
    uint32_t count = v->def->sources->count;

    if (b->series_count == BATCH_VALUES_MAX ||
        b->gauges_count + count > BATCH_NUMBERS_MAX ||
        b->integers_count + count > BATCH_NUMBERS_MAX)
        return false;
    return end->number == 0 ||
           (number > end->number && number - end->number <= UINT32_MAX);
}

static void batch_put(argus_Batch *b, struct batch_end *end,
                      const struct value *v, uint32_t index)
{
    const struct sources *sources = v->def->sources;

    if (b->series_count == 0) {
        b->first_number = end->number = v->number;
        b->first_time = end->time = v->time;
    }
    b->series[b->series_count++] = index;
    b->number_step[b->number_step_count++] =
        (uint32_t)(v->number - end->number);
    b->time_step[b->time_step_count++] = (int64_t)(v->time - end->time);
    for (uint32_t i = 0; i < sources->count; i++) {
        if (sources->gauges >> i & 1)
            b->gauges[b->gauges_count++] = v->numbers[i];
        else
            b->integers[b->integers_count++] = (int64_t)v->numbers[i];
    }
    end->number = v->number;
    end->time = v->time;
}

static void value_sent(struct spool *s, struct target *t, struct value *v,
                       uint64_t number)
{
    if (v->number == 0) {
        v->number = number;
        s->number_count++;
        s->stats.values_sent++;
    } else {
        s->stats.values_resent++;
    }
    v->batch = t->batch_sent + 1;
    TAILQ_INSERT_TAIL(&t->under_way, v, line);
    t->under_way_count++;
    t->bytes += value_bytes(v);
    s->stats.values_under_way++;
}

/* One lane's turn. @return false: the batch is at its end. */
static bool batch_fill(struct spool *s, struct target *t, struct lane *lane,
                       struct batch_end *end, struct actions *out)
{
    argus_Batch *b = &s->scratch->batch.body.batch;

    for (int i = 0; i < TURN_MAX && lane->waiting_count > 0; i++) {
        struct value *v = TAILQ_FIRST(&lane->waiting);
        uint64_t number =
            v->number != 0 ? v->number : s->number_base + s->number_count + 1;
        if (t->under_way_count >= t->window || !batch_fits(b, end, v, number))
            return false;
        if (spool_lane_is_held(s, lane))
            break;
        uint32_t index = target_index(s, t, v->def, out);
        if (index == 0)
            return false;
        (void)spool_lane_take(s, lane);
        value_sent(s, t, v, number);
        batch_put(b, end, v, index);
    }
    spool_lane_update(s, lane, out);
    if (lane->state == LANE_READY) { /* to the end of the line */
        TAILQ_REMOVE(&t->ready, lane, turn);
        TAILQ_INSERT_TAIL(&t->ready, lane, turn);
    }
    return true;
}

/* @return false: nothing could be put into it. */
static bool batch_send(struct spool *s, struct target *t, struct actions *out)
{
    argus_Batch *b = &s->scratch->batch.body.batch;
    struct batch_end end = {0};
    struct lane *lane;

    s->scratch->defs.which_body = argus_Frame_series_defs_tag;
    s->scratch->defs.body.series_defs.series_count = 0;
    s->scratch->batch.which_body = argus_Frame_batch_tag;
    b->series_count = b->number_step_count = b->time_step_count = 0;
    b->gauges_count = b->integers_count = 0;
    if (t->under_way_count == 0)
        t->progress_ms = s->now_ms;

    while ((lane = TAILQ_FIRST(&t->ready)) != NULL && t->bytes < LINK_BYTES_MAX)
        if (!batch_fill(s, t, lane, &end, out))
            break;
    defs_send(s, t, out);
    if (b->series_count == 0)
        return false;
    b->number = ++t->batch_sent;
    actions_send(out, t->link, &s->scratch->batch);
    s->stats.batches_sent++;
    return true;
}

/* Is it time to send? A full batch goes at once, one on an idle link too. */
static bool target_may_send(struct spool *s, struct target *t)
{
    if (t->link == 0 || TAILQ_EMPTY(&t->ready) ||
        t->under_way_count >= t->window || t->bytes >= LINK_BYTES_MAX)
        return false;
    if (t->under_way_count == 0)
        return true;
    uint32_t room = t->window - t->under_way_count;
    if (room < ROOM_MIN && room < t->ready_values)
        return false; /* the next Ack makes more */
    if (t->ready_values >= BATCH_VALUES_MAX || s->flushing)
        return true;
    if (t->linger_ms == 0)
        t->linger_ms = s->now_ms + SPOOL_LINGER_MS;
    return t->linger_ms <= s->now_ms;
}

void spool_target_pump(struct spool *s, struct target *t, struct actions *out)
{
    bool lingered = t->linger_ms != 0 && t->linger_ms <= s->now_ms;

    while (target_may_send(s, t)) {
        if (!batch_send(s, t, out))
            break;
        /* What lingered goes whole, in as many batches as it takes. */
        if (!lingered)
            t->linger_ms = 0;
    }
    if (lingered || TAILQ_EMPTY(&t->ready))
        t->linger_ms = 0;
}

/* ------------------------------------------------------- acknowledgements */

void spool_target_ack(struct spool *s, struct target *t, const argus_Ack *ack,
                      struct actions *out)
{
    struct value *v;

    if (ack->batch > t->batch_sent) {
        s->stats.acks_bad++;
        spool_target_close(s, t, argus_RefuseCode_REFUSE_MALFORMED,
                           "a batch was acknowledged that was not sent", true,
                           out);
        spool_lanes_reconsider(s, out);
        return;
    }
    t->window = ack->window < WINDOW_MIN         ? WINDOW_MIN
                : ack->window > SPOOL_WINDOW_MAX ? SPOOL_WINDOW_MAX
                                                 : ack->window;
    if (ack->batch <= t->batch_acked)
        return;
    t->batch_acked = ack->batch;
    t->progress_ms = s->now_ms;
    t->backoff_ms = 0;
    while ((v = TAILQ_FIRST(&t->under_way)) != NULL && v->batch <= ack->batch) {
        struct lane *lane = v->def->series->lane;
        uint64_t bytes = value_bytes(v);
        TAILQ_REMOVE(&t->under_way, v, line);
        t->under_way_count--;
        t->bytes -= bytes < t->bytes ? bytes : t->bytes;
        s->stats.values_under_way--;
        s->stats.values_acked++;
        spool_value_free(s, v);
        if (--lane->under_way == 0 && lane->at != lane->to)
            spool_lane_update(s, lane, out);
    }
    if (t->under_way_count == 0)
        t->bytes = 0;
}

/* ---------------------------------------------------------------- timers */

uint64_t spool_target_deadline_ms(const struct target *t)
{
    uint64_t due = UINT64_MAX;

    if (t->retry_ms != 0)
        due = t->retry_ms;
    if (t->link == 0)
        return due;
    if (t->linger_ms != 0 && t->linger_ms < due)
        due = t->linger_ms;
    if (t->under_way_count > 0 && t->progress_ms + SPOOL_ACK_WAIT_MS < due)
        due = t->progress_ms + SPOOL_ACK_WAIT_MS;
    if (t->lanes == 0 && t->idle_ms + SPOOL_IDLE_MS < due)
        due = t->idle_ms + SPOOL_IDLE_MS;
    return due;
}

bool spool_target_timeout(struct spool *s, struct target *t,
                          struct actions *out)
{
    bool changed = false;

    if (t->retry_ms != 0 && t->retry_ms <= s->now_ms) {
        t->retry_ms = 0;
        changed = true;
    }
    if (t->link == 0)
        return changed;
    if (t->under_way_count > 0 &&
        t->progress_ms + SPOOL_ACK_WAIT_MS <= s->now_ms) {
        s->stats.links_stuck++;
        spool_target_close(s, t, argus_RefuseCode_REFUSE_SLOW,
                           "no acknowledgement for 30 s", true, out);
        return true;
    }
    if (t->lanes == 0 && t->under_way_count == 0 &&
        t->idle_ms + SPOOL_IDLE_MS <= s->now_ms) {
        s->stats.links_idle++;
        spool_target_close(s, t, argus_RefuseCode_REFUSE_BYE,
                           "no longer needed", false, out);
    }
    return changed;
}
