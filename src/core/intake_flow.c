#include "core/intake_internal.h"

#include <stdlib.h>

#define SLOT_BITS 20
#define SLOT_MASK (((uint64_t)1 << SLOT_BITS) - 1)

size_t intake_flow_value_size(uint32_t count)
{
    return sizeof(struct value) + count * sizeof(uint64_t);
}

static void line_open(struct flight_line *line, uint32_t wait_ms)
{
    TAILQ_INIT(&line->flights);
    line->wait_ms = wait_ms;
}

void intake_flow_open(struct intake *x)
{
    line_open(&x->steady, INTAKE_STOPPED_MS);
    line_open(&x->brief, INTAKE_STOPPED_AGAIN_MS);
    TAILQ_INIT(&x->ready);
    TAILQ_INIT(&x->idle);
    TAILQ_INIT(&x->acking);
    TAILQ_INIT(&x->free);
    STAILQ_INIT(&x->settling);
    for (uint32_t i = 0; x->slots != NULL && i < x->options.queue_max; i++)
        TAILQ_INSERT_TAIL(&x->free, &x->slots[i], order);
}

/* ---------------------------------------------------------------- batches */

static void batch_release(struct batch *batch)
{
    if (batch->link == NULL && batch->unsettled == 0)
        free(batch);
}

/* All batches up to the first that is not settled can be acknowledged. */
static void link_advance(struct intake *x, struct link *link)
{
    struct batch *batch;
    uint64_t before = link->batch_settled;

    while ((batch = TAILQ_FIRST(&link->batches)) != NULL &&
           batch->unsettled == 0) {
        TAILQ_REMOVE(&link->batches, batch, line);
        link->batch_settled = batch->number;
        link->under_way -= batch->values;
        free(batch);
        x->stats.batches_acked++;
    }
    if (link->batch_settled == before || link->ack_ms != 0)
        return;
    link->ack_ms = x->now_ms + INTAKE_ACK_LINGER_MS;
    TAILQ_INSERT_TAIL(&x->acking, link, acking);
}

void intake_flow_detach(struct intake *x, struct link *link)
{
    struct batch *batch;

    while ((batch = TAILQ_FIRST(&link->batches)) != NULL) {
        TAILQ_REMOVE(&link->batches, batch, line);
        batch->link = NULL;
        batch_release(batch);
    }
    if (link->ack_ms != 0)
        TAILQ_REMOVE(&x->acking, link, acking);
    link->ack_ms = 0;
}

/* The windows of all links share the budget; the fuller it is, the smaller
 * the share. */
static uint32_t window_of(const struct intake *x)
{
    uint64_t budget = x->options.budget;
    uint64_t taken = x->stats.values_waiting + x->stats.values_in_queue +
                     x->stats.values_settling;
    uint64_t share = budget / (x->stats.links == 0 ? 1 : x->stats.links);
    uint64_t free_part = taken < budget ? budget - taken : 0;
    uint64_t window = share / 4 + share * 3 / 4 * free_part / budget;

    if (window < INTAKE_WINDOW_MIN)
        return INTAKE_WINDOW_MIN;
    return window > INTAKE_WINDOW_MAX ? INTAKE_WINDOW_MAX : (uint32_t)window;
}

static void ack_send(struct intake *x, struct link *link, struct actions *out)
{
    uint32_t window = window_of(x);

    TAILQ_REMOVE(&x->acking, link, acking);
    link->ack_ms = 0;
    if (window > link->window)
        link->window = window;
    x->ack.which_body = argus_Frame_ack_tag;
    x->ack.body.ack.batch = link->batch_settled;
    x->ack.body.ack.window = window;
    actions_send(out, link->id, &x->ack);
    x->stats.acks_sent++;
}

/* ----------------------------------------------------------------- values */

void intake_flow_free_value(struct intake *x, struct value *v)
{
    if (v->count == 0) {
        if (v->series->change == v)
            v->series->change = NULL;
        free(v->change);
        x->changes--;
    } else {
        v->batch->unsettled--;
        batch_release(v->batch);
    }
    pool_give(&x->pool, v, intake_flow_value_size(v->count));
}

static void value_settle(struct intake *x, struct value *v)
{
    struct link *link = v->batch->link;

    intake_flow_free_value(x, v);
    x->stats.values_settled++;
    if (link != NULL)
        link_advance(x, link);
}

void intake_flow_ready(struct intake *x, struct series *series)
{
    if (series->is_ready || series->is_under_way ||
        STAILQ_EMPTY(&series->waiting))
        return;
    series->is_ready = true;
    TAILQ_INSERT_TAIL(&x->ready, series, turn);
}

/* The series may have its next value in collectd. */
static void series_land(struct intake *x, struct series *series)
{
    series->is_under_way = false;
    intake_flow_ready(x, series);
    intake_series_check_idle(x, series);
}

/* --------------------------------------------------------------- dispatch */

static struct flight_line *line_of(struct intake *x, const struct flight *f)
{
    return f->is_brief ? &x->brief : &x->steady;
}

static uint64_t token_of(const struct intake *x, const struct flight *f)
{
    return f->sequence << SLOT_BITS | (uint64_t)(f - x->slots);
}

static void flight_start(struct intake *x, struct value *v, struct actions *out)
{
    struct flight *f = TAILQ_FIRST(&x->free);

    TAILQ_REMOVE(&x->free, f, order);
    if (f->stopped != NULL)
        f->stopped->ghost = NULL;
    *f = (struct flight){.value = v,
                         .sequence = ++x->sequences,
                         .is_brief = v->series->is_stopped};
    struct flight_line *line = line_of(x, f);
    TAILQ_INSERT_TAIL(&line->flights, f, order);
    if (line->next == NULL)
        line->next = f;
    x->stats.values_in_queue++;

    struct value_ref ref = {.series = v->series->handle,
                            .token = token_of(x, f),
                            .time = v->time,
                            .numbers = v->numbers,
                            .count = v->count};
    struct action a = {.type = ACTION_DISPATCH, .value = &ref};
    out->emit(out->context, &a);
}

/* Free slots are used in turn, so that a token stays known as long as can
 * be. */
static struct value *flight_end(struct intake *x, struct flight *f)
{
    struct flight_line *line = line_of(x, f);
    struct value *v = f->value;

    if (line->next == f)
        line->next = TAILQ_NEXT(f, order);
    TAILQ_REMOVE(&line->flights, f, order);
    f->value = NULL;
    TAILQ_INSERT_TAIL(&x->free, f, order);
    x->stats.values_in_queue--;
    return v;
}

static uint64_t series_last(struct series *series)
{
    if (series->life != series->sender->life) {
        series->life = series->sender->life;
        series->last_number = 0;
    }
    return series->last_number;
}

static void settle_later(struct intake *x, struct value *v)
{
    v->settle_ms = x->now_ms + INTAKE_WRITERS_MS;
    STAILQ_INSERT_TAIL(&x->settling, v, line);
    x->stats.values_settling++;
}

/* What is at the head of a series, until one of it is in collectd. */
static void series_turn(struct intake *x, struct series *series,
                        struct actions *out)
{
    struct value *v;

    while ((v = STAILQ_FIRST(&series->waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&series->waiting, line);
        if (v->count == 0) {
            intake_series_tell(x, series, v->change, out);
            intake_flow_free_value(x, v);
            continue;
        }
        x->stats.values_waiting--;
        if (v->number <= series_last(series)) {
            x->stats.values_duplicate++;
            settle_later(x, v); /* its first copy may be settling still */
            continue;
        }
        series->last_number = v->number;
        series->is_under_way = true;
        x->stats.values_dispatched++;
        flight_start(x, v, out);
        return;
    }
    intake_series_check_idle(x, series);
}

void intake_flow_pump(struct intake *x, struct actions *out)
{
    struct series *series;

    while (x->stats.values_in_queue < x->options.queue_max &&
           (series = TAILQ_FIRST(&x->ready)) != NULL) {
        TAILQ_REMOVE(&x->ready, series, turn);
        series->is_ready = false;
        series_turn(x, series, out);
    }
}

/* -------------------------------------- seen, passed by, stopped, settled */

static void line_overtake(struct intake *x, struct flight_line *line,
                          uint64_t sequence)
{
    while (line->next != NULL && line->next->sequence < sequence) {
        line->next->overtaken_ms = x->now_ms;
        line->next = TAILQ_NEXT(line->next, order);
    }
}

/* All that was dispatched before that one has left collectd's queue. */
static void flow_overtake(struct intake *x, uint64_t sequence)
{
    line_overtake(x, &x->steady, sequence);
    line_overtake(x, &x->brief, sequence);
}

void intake_flow_progress(struct intake *x, uint64_t token)
{
    uint64_t sequence = token >> SLOT_BITS;

    if (sequence <= x->sequences)
        flow_overtake(x, sequence + 1);
}

/* The slot of a token that was given out last for it; NULL: there is none. */
static struct flight *slot_of(struct intake *x, uint64_t token)
{
    uint64_t slot = token & SLOT_MASK;

    if (x->slots == NULL || slot >= x->options.queue_max ||
        x->slots[slot].sequence != token >> SLOT_BITS)
        return NULL;
    return &x->slots[slot];
}

void intake_flow_seen(struct intake *x, uint64_t token)
{
    struct flight *f = slot_of(x, token);

    if (f == NULL || f->value == NULL) {
        x->stats.seen_unknown++;
        /* Given up too early: its series is not stopped after all. */
        if (f != NULL && f->stopped != NULL) {
            f->stopped->is_stopped = false;
            f->stopped->ghost = NULL;
            f->stopped = NULL;
        }
        return;
    }
    flow_overtake(x, f->sequence);
    struct value *v = flight_end(x, f);
    v->series->is_stopped = false;
    x->stats.values_seen++;
    series_land(x, v->series);
    settle_later(x, v);
}

/* Its thread is through with it and with every writer: no wait. */
void intake_flow_passed(struct intake *x, uint64_t token)
{
    struct flight *f = slot_of(x, token);

    if (f == NULL || f->value == NULL) {
        x->stats.seen_unknown++;
        return;
    }
    flow_overtake(x, f->sequence);
    struct value *v = flight_end(x, f);
    struct series *series = v->series;
    series->is_stopped = false;
    x->stats.values_passed++;
    value_settle(x, v);
    series_land(x, series);
}

static bool flight_is_held(const struct intake *x, const struct flight *f)
{
    const struct intake_threads *threads = &x->options.threads;

    return threads->is_held != NULL &&
           threads->is_held(threads->context, token_of(x, f));
}

/* To the end of its line: what stands there must be overtaken first, so that
 * threads which all hang never end a wait. */
static void flight_wait_anew(struct intake *x, struct flight *f)
{
    struct flight_line *line = line_of(x, f);

    TAILQ_REMOVE(&line->flights, f, order);
    TAILQ_INSERT_TAIL(&line->flights, f, order);
    f->overtaken_ms = 0;
    f->turns++;
    if (line->next == NULL)
        line->next = f;
}

static void flight_vanished(struct intake *x, struct flight *f,
                            struct actions *out)
{
    bool is_held = flight_is_held(x, f);

    if (is_held && f->turns < INTAKE_HELD_TURNS) {
        flight_wait_anew(x, f);
        return;
    }
    struct value *v = flight_end(x, f);
    struct series *series = v->series;

    if (!is_held && v->tries < x->options.redispatch_max &&
        !series->is_stopped) {
        v->tries++;
        x->stats.values_redispatched++;
        flight_start(x, v, out);
        return;
    }
    if (series->ghost != NULL)
        series->ghost->stopped = NULL;
    series->ghost = f;
    f->stopped = series;
    series->is_stopped = true;
    x->stats.values_stopped++;
    value_settle(x, v);
    series_land(x, series);
}

static void line_timeout(struct intake *x, struct flight_line *line,
                         struct actions *out)
{
    struct flight *f;

    while ((f = TAILQ_FIRST(&line->flights)) != NULL && f->overtaken_ms != 0 &&
           f->overtaken_ms + line->wait_ms <= x->now_ms)
        flight_vanished(x, f, out);
}

void intake_flow_timeout(struct intake *x, struct actions *out)
{
    struct value *v;
    struct link *link;

    while ((v = STAILQ_FIRST(&x->settling)) != NULL &&
           v->settle_ms <= x->now_ms) {
        STAILQ_REMOVE_HEAD(&x->settling, line);
        x->stats.values_settling--;
        value_settle(x, v);
    }
    line_timeout(x, &x->steady, out);
    line_timeout(x, &x->brief, out);
    intake_flow_pump(x, out);
    while ((link = TAILQ_FIRST(&x->acking)) != NULL &&
           link->ack_ms <= x->now_ms)
        ack_send(x, link, out);
}

static uint64_t line_deadline_ms(const struct flight_line *line)
{
    const struct flight *f = TAILQ_FIRST(&line->flights);

    return f == NULL || f->overtaken_ms == 0 ? UINT64_MAX
                                             : f->overtaken_ms + line->wait_ms;
}

uint64_t intake_flow_deadline_ms(const struct intake *x)
{
    uint64_t due = line_deadline_ms(&x->steady);
    uint64_t brief = line_deadline_ms(&x->brief);

    if (brief < due)
        due = brief;
    if (!STAILQ_EMPTY(&x->settling) &&
        STAILQ_FIRST(&x->settling)->settle_ms < due)
        due = STAILQ_FIRST(&x->settling)->settle_ms;
    if (!TAILQ_EMPTY(&x->acking) && TAILQ_FIRST(&x->acking)->ack_ms < due)
        due = TAILQ_FIRST(&x->acking)->ack_ms;
    return due;
}
