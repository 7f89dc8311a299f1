#include "core/spool_internal.h"

#include <stdlib.h>

/* Values of a lane looked at for the place of one that was overtaken. Write
 * threads overtake each other by some; beyond, it goes to the end. */
#define REORDER_STEPS_MAX 10000

/* ------------------------------------------------------- life of a lane */

struct lane *spool_lane_of(struct spool *s, const char *host)
{
    size_t size = strlen(host) + 1;
    struct lane *lane;

    HASH_FIND(hh, s->lanes, host, (unsigned)size, lane);
    if (lane == NULL) {
        lane = calloc(1, sizeof *lane + size);
        if (lane == NULL) {
            s->stats.memory_refused++;
            return NULL;
        }
        memcpy(lane->host, host, size);
        lane->key = router_key(host);
        TAILQ_INIT(&lane->waiting);
        HASH_ADD(hh, s->lanes, host, (unsigned)size, lane);
        if (!table_has_taken(&lane->hh)) {
            s->stats.memory_refused++;
            free(lane);
            return NULL;
        }
        s->stats.lanes++;
    }
    lane->series++;
    return lane;
}

static void target_mention(struct spool *s, struct target **place,
                           struct target *t)
{
    if (*place != NULL && --(*place)->lanes == 0)
        (*place)->idle_ms = s->now_ms;
    *place = t;
    if (t != NULL)
        t->lanes++;
}

static void lane_set_state(struct spool *s, struct lane *lane,
                           enum lane_state state)
{
    if (lane->state == state)
        return;
    if (lane->state == LANE_READY) {
        TAILQ_REMOVE(&lane->to->ready, lane, turn);
        lane->to->ready_values -= lane->waiting_count;
    } else if (lane->state == LANE_HELD) {
        TAILQ_REMOVE(&s->held, lane, turn);
    }
    lane->state = state;
    if (state == LANE_READY) {
        TAILQ_INSERT_TAIL(&lane->to->ready, lane, turn);
        lane->to->ready_values += lane->waiting_count;
    } else if (state == LANE_HELD) {
        TAILQ_INSERT_TAIL(&s->held, lane, turn);
    }
}

void spool_lane_unref(struct spool *s, struct lane *lane)
{
    if (--lane->series > 0)
        return;
    lane_set_state(s, lane, LANE_RESTS);
    target_mention(s, &lane->at, NULL);
    target_mention(s, &lane->to, NULL);
    HASH_DEL(s->lanes, lane);
    free(lane);
    s->stats.lanes--;
}

/* --------------------------------------------------------------- values */

static size_t value_size(uint32_t count)
{
    return sizeof(struct value) + count * sizeof(uint64_t);
}

void spool_value_free(struct spool *s, struct value *v)
{
    uint32_t count = v->def->sources->count;

    v->def->series->values--;
    spool_definition_unref(s, v->def);
    pool_give(&s->pool, v, value_size(count));
    s->stats.values--;
}

static void waiting_remove(struct spool *s, struct lane *lane, struct value *v)
{
    TAILQ_REMOVE(&lane->waiting, v, line);
    TAILQ_REMOVE(&s->ages, v, age);
    lane->waiting_count--;
    if (lane->state == LANE_READY)
        lane->to->ready_values--;
    if (v->number == 0)
        v->def->series->fresh--;
}

static void waiting_count_one(struct lane *lane)
{
    lane->waiting_count++;
    if (lane->state == LANE_READY)
        lane->to->ready_values++;
}

void spool_value_drop_oldest(struct spool *s)
{
    struct value *v = TAILQ_FIRST(&s->ages);
    struct lane *lane = v->def->series->lane;

    waiting_remove(s, lane, v);
    if (lane->waiting_count == 0)
        lane_set_state(s, lane, LANE_RESTS);
    spool_value_free(s, v);
    s->stats.values_dropped++;
}

struct value *spool_lane_take(struct spool *s, struct lane *lane)
{
    struct value *v = TAILQ_FIRST(&lane->waiting);

    waiting_remove(s, lane, v);
    lane->under_way++;
    if (v->time > v->def->series->time_sent)
        v->def->series->time_sent = v->time;
    return v;
}

void spool_lane_return(struct spool *s, struct value *v)
{
    struct lane *lane = v->def->series->lane;

    lane->under_way--;
    v->hold_ms = 0;
    TAILQ_INSERT_HEAD(&lane->waiting, v, line);
    TAILQ_INSERT_HEAD(&s->ages, v, age);
    waiting_count_one(lane);
}

/* Is the value about one interval after the one before it? Then nothing can
 * be missing between the two. */
static bool is_next(const struct series *series, const struct value_input *in)
{
    uint64_t before = series->time_newest;

    if (before == 0 || in->time <= before)
        return false;
    uint64_t gap = in->time - before;
    return gap >= in->interval / 2 && gap <= in->interval + in->interval / 2;
}

/* The first of the values not yet sent that is newer than `time`. One that
 * has its number cannot be passed: numbers grow within a series. */
static struct value *find_newer(const struct series *series, uint64_t time)
{
    struct value *newer = NULL;
    struct value *v = TAILQ_LAST(&series->lane->waiting, value_line);
    uint32_t left = series->fresh;

    for (uint32_t i = 0; v != NULL && left > 0 && i < REORDER_STEPS_MAX; i++) {
        if (v->def->series == series) {
            if (v->number != 0 || v->time <= time)
                break;
            newer = v;
            left--;
        }
        v = TAILQ_PREV(v, value_line, line);
    }
    return newer;
}

/* Into the line of its lane; overtaken values go back to their place. */
static void lane_place(struct spool *s, struct series *series, struct value *v,
                       bool next)
{
    struct value *newer = NULL;

    if (!s->write_order_known && !next) {
        v->hold_ms = s->now_ms + SPOOL_HOLD_MS;
        if (v->time < series->time_newest)
            newer = find_newer(series, v->time);
        s->stats.values_held++;
    }
    if (v->time < series->time_sent)
        s->stats.values_late++;
    if (newer != NULL) {
        v->hold_ms = newer->hold_ms; /* it is what that one waited for */
        TAILQ_INSERT_BEFORE(newer, v, line);
        s->stats.values_reordered++;
    } else {
        TAILQ_INSERT_TAIL(&series->lane->waiting, v, line);
    }
}

bool spool_lane_add(struct spool *s, struct series *series,
                    const struct value_input *in)
{
    struct value *v = pool_take(&s->pool, value_size(in->count));

    if (v == NULL) {
        s->stats.memory_refused++;
        return false;
    }
    v->def = series->now;
    v->def->refs++;
    v->number = 0;
    v->time = in->time;
    v->hold_ms = 0;
    memcpy(v->numbers, in->numbers, in->count * sizeof v->numbers[0]);

    lane_place(s, series, v, is_next(series, in));
    TAILQ_INSERT_TAIL(&s->ages, v, age);
    waiting_count_one(series->lane);
    series->fresh++;
    series->values++;
    if (v->time > series->time_newest)
        series->time_newest = v->time;
    s->stats.values++;
    return true;
}

/* ------------------------------------------------------- where a lane goes */

/** @param linked  of those that have a link now, alone. */
static struct target *lane_best(const struct spool *s, const struct lane *lane,
                                bool linked)
{
    struct target *best = NULL, *t;
    struct router_score best_score = {0};

    for (t = s->targets; t != NULL; t = t->hh.next) {
        if (!spool_target_is_open(s, t) || (linked && t->link == 0))
            continue;
        struct router_score score =
            router_score(s->router, t->position, lane->key);
        if (best == NULL || router_is_better(&score, t->position, &best_score,
                                             best->position)) {
            best = t;
            best_score = score;
        }
    }
    return best;
}

/* A better aggregator without a link is dialed first; until it answers, the
 * lane stays where it is served, or goes where it can be: a dead one may take
 * long to not answer. */
static void lane_choose(struct spool *s, struct lane *lane, struct actions *out)
{
    struct target *best = lane_best(s, lane, false);

    lane->epoch = s->epoch;
    if (best != NULL && best->link == 0) {
        if (best->dial == 0)
            spool_target_dial(s, best, out);
        if (lane->to != NULL && lane->to->link != 0 &&
            spool_target_is_open(s, lane->to))
            return;
        struct target *served = lane_best(s, lane, true);
        if (served != NULL)
            best = served;
    }
    if (best == lane->to)
        return;
    lane_set_state(s, lane, LANE_RESTS);
    target_mention(s, &lane->to, best);
}

/* The lane goes from one link to another once nothing is under way. */
static void lane_move(struct spool *s, struct lane *lane, struct actions *out)
{
    if (lane->at != NULL) {
        spool_target_release(s, lane->at, lane->host, out);
        s->stats.lanes_moved++;
    }
    target_mention(s, &lane->at, lane->to);
}

bool spool_lane_is_held(const struct spool *s, const struct lane *lane)
{
    const struct value *v = TAILQ_FIRST(&lane->waiting);

    return v->number == 0 && v->hold_ms > s->now_ms && !s->flushing;
}

void spool_lane_update(struct spool *s, struct lane *lane, struct actions *out)
{
    if (lane->waiting_count == 0) {
        lane_set_state(s, lane, LANE_RESTS);
        return;
    }
    if (lane->epoch != s->epoch)
        lane_choose(s, lane, out);
    if (lane->to == NULL || lane->to->link == 0 ||
        (lane->at != lane->to && lane->under_way > 0)) {
        lane_set_state(s, lane, LANE_RESTS);
        return;
    }
    if (lane->at != lane->to)
        lane_move(s, lane, out);
    if (spool_lane_is_held(s, lane)) {
        uint64_t due = TAILQ_FIRST(&lane->waiting)->hold_ms;
        lane_set_state(s, lane, LANE_HELD);
        if (due < s->held_ms)
            s->held_ms = due;
    } else {
        lane_set_state(s, lane, LANE_READY);
    }
}

void spool_lanes_reconsider(struct spool *s, struct actions *out)
{
    struct lane *lane;

    s->epoch++;
    for (lane = s->lanes; lane != NULL; lane = lane->hh.next) {
        /* A link that is gone is not told of the move. */
        if (lane->at != NULL && lane->at->link == 0)
            target_mention(s, &lane->at, NULL);
        if (lane->to != NULL && lane->waiting_count == 0 && lane->to->link == 0)
            target_mention(s, &lane->to, NULL);
        spool_lane_update(s, lane, out);
    }
}

void spool_lanes_wake(struct spool *s, struct actions *out)
{
    struct lane *lane, *next;

    if (s->held_ms > s->now_ms && !s->flushing)
        return;
    s->held_ms = UINT64_MAX;
    for (lane = TAILQ_FIRST(&s->held); lane != NULL; lane = next) {
        next = TAILQ_NEXT(lane, turn);
        spool_lane_update(s, lane, out);
    }
}
