#include "core/clock.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"
#include "base/status.h"

/** A wall clock may be slewed against boot time by that much: none of it is a
 *  step, however late a tick comes. */
#define SLEW_PPM 1000

/* While the table grows: so many peers at least, and five in six of them agree.
 * With one clock in five wrong, chance does that once in 200,000 times. */
#define FEW_PEERS 12
#define FEW_AGREE_NUM 5
#define FEW_AGREE_DEN 6

/** Distances of points that slopes are taken over: one in so many. */
#define SLOPE_STEP 5
#define SLOPES_MAX                                                             \
    (CLOCK_DRIFT_POINTS / 2 * (CLOCK_DRIFT_POINTS / 2 / SLOPE_STEP + 1))

/** A slope is a whole number of these shares; none is steeper. */
#define SLOPE_UNIT 1e12
#define SLOPE_MAX 1e6

/** The greatest number of peers is forgotten one by one. */
#define PEAK_FORGET_US INT64_C(3600000000)

struct sample {
    uint64_t at_us; /* boot; 0: none */
    int64_t base_us;
    int64_t round_trip_us;
};

struct peer {
    struct node_id id;
    uint64_t heard_us; /* the newest sample */
    struct sample ring[CLOCK_RING];
    uint32_t next;
};

struct point {
    uint64_t at_us;
    int64_t lead_us; /* less all steps */
    uint64_t base_at_us;
    int64_t base_us;
};

/* Of the last windows, some CLOCK_MEAN_WINDOWS: the newer, the more it counts.
 */
struct mean {
    double share;
    uint32_t windows;
};

/* What each input of a node asks for comes first, in one cache line. */
struct clock {
    uint64_t tick_ms, boot_us; /* of the last tick */
    uint64_t window_at_us;     /* the next begins */
    int64_t base_us;           /* the estimate of the last window */
    struct clock_options options;
    uint32_t count; /* of peers */
    struct peer *peers;
    uint32_t epoch;
    bool is_ticking, is_alarmed, is_drifting;

    int64_t lead_us;
    int64_t steps_us, step_us; /* sum, last */
    uint32_t peak;             /* most peers there were */
    uint64_t peak_us;
    uint32_t windows_full; /* since the peak last rose */

    /* The estimate, and what it is worth. */
    bool has_base;
    int64_t uncertainty_us;
    uint64_t base_at_us;             /* when it was measured, on the average */
    uint32_t samples;                /* it is made of */
    uint32_t votes_off, votes_right; /* of them, the side of the estimate */

    /* Windows in a row, and shares of votes on the average; of off, below zero:
     * we are behind. */
    int32_t off_sure, right_sure;
    struct mean off, right;
    bool is_doubted; /* in the last window */

    struct point points[CLOCK_DRIFT_POINTS];
    uint32_t points_count, points_next;
    double drift_ppm;
    struct clock_stats stats;
};

int clock_new(const struct clock_options *options, struct clock **out)
{
    uint32_t k = options->peers_max != 0 ? options->peers_max : CLOCK_PEERS;

    if (k > CLOCK_PEERS_LIMIT || options->window_ms < CLOCK_TICK_MS ||
        options->alarm_us == 0)
        return ARGUS_EINVAL;
    struct clock *c = lines_alloc(sizeof *c);
    if (c == NULL)
        return ARGUS_ENOMEM;
    c->options = *options;
    c->options.peers_max = k;
    c->peers = calloc(k, sizeof *c->peers);
    if (c->peers == NULL) {
        clock_free(c);
        return ARGUS_ENOMEM;
    }
    *out = c;
    return ARGUS_OK;
}

void clock_free(struct clock *c)
{
    if (c == NULL)
        return;
    free(c->peers);
    free(c);
}

static int64_t magnitude(int64_t a)
{
    return a < 0 ? -a : a;
}

static int64_t lead_of(const struct clock_reading *r)
{
    return (int64_t)(r->wall_us - r->boot_us);
}

static uint64_t window_us(const struct clock *c)
{
    return (uint64_t)c->options.window_ms * 1000;
}

/* ---------------------------------------------------------------- samples */

static struct peer *find_peer(struct clock *c, const struct node_id *id)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (node_id_is_equal(&c->peers[i].id, id))
            return &c->peers[i];
    return NULL;
}

/* A full table gives up whom it has not heard for longest. */
static struct peer *add_peer(struct clock *c, const struct node_id *id)
{
    struct peer *p;

    if (c->count < c->options.peers_max) {
        p = &c->peers[c->count++];
    } else {
        p = &c->peers[0];
        for (uint32_t i = 1; i < c->count; i++)
            if (c->peers[i].heard_us < p->heard_us)
                p = &c->peers[i];
        c->stats.peer_dropped++;
    }
    memset(p, 0, sizeof *p);
    p->id = *id;
    return p;
}

/* Who has given no sample for too long goes; the others keep their order. */
static void drop_older(struct clock *c, uint64_t boot_us, uint64_t age_us)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < c->count; i++) {
        struct peer *p = &c->peers[i];
        if (boot_us - p->heard_us > age_us)
            continue;
        for (uint32_t k = 0; k < CLOCK_RING; k++)
            if (p->ring[k].at_us != 0 && boot_us - p->ring[k].at_us > age_us)
                p->ring[k].at_us = 0;
        if (kept != i)
            c->peers[kept] = *p;
        kept++;
    }
    c->count = kept;
}

bool clock_sample(struct clock *c, const struct clock_reading *r,
                  const struct node_id *peer, int64_t round_trip_us,
                  int64_t offset_us)
{
    if (node_id_is_zero(peer) || round_trip_us < 0 ||
        round_trip_us > CLOCK_ROUND_TRIP_MAX_US ||
        offset_us > CLOCK_OFFSET_MAX_US || offset_us < -CLOCK_OFFSET_MAX_US ||
        r->boot_us == 0 || r->boot_us < c->boot_us ||
        r->wall_us > CLOCK_OFFSET_MAX_US * 1000) {
        c->stats.sample_refused++;
        return false;
    }
    struct peer *p = find_peer(c, peer);
    if (p == NULL)
        p = add_peer(c, peer);
    p->heard_us = r->boot_us;
    p->ring[p->next] = (struct sample){.at_us = r->boot_us,
                                       .base_us = lead_of(r) + offset_us,
                                       .round_trip_us = round_trip_us};
    p->next = (p->next + 1) % CLOCK_RING;
    c->stats.sample_taken++;
    return true;
}

/* NULL: all are too old. */
static const struct sample *best_sample(const struct peer *p)
{
    const struct sample *best = NULL;

    for (uint32_t i = 0; i < CLOCK_RING; i++) {
        const struct sample *s = &p->ring[i];
        if (s->at_us != 0 &&
            (best == NULL || s->round_trip_us < best->round_trip_us))
            best = s;
    }
    return best;
}

/* --------------------------------------------------------------- estimate */

/* What the peers say: one vote each, and one for ourselves at the end. */
struct votes {
    int64_t base_us[CLOCK_PEERS_LIMIT + 1];
    int64_t half_us[CLOCK_PEERS_LIMIT]; /* of the round trip */
    uint32_t count;                     /* without our own */
    uint64_t at_us;                     /* on the average */
};

/* The one that would be at `at` if they were sorted (Hoare): what is before it
 * then is not greater, what is behind it not less. */
static int64_t at_rank(int64_t *values, uint32_t count, uint32_t at)
{
    uint32_t low = 0, high = count - 1;

    while (low < high) {
        int64_t middle = values[low + (high - low) / 2];
        uint32_t i = low, k = high;
        for (;; i++, k--) {
            for (; values[i] < middle; i++)
                continue;
            for (; values[k] > middle; k--)
                continue;
            if (i >= k)
                break;
            int64_t swap = values[i];
            values[i] = values[k];
            values[k] = swap;
        }
        if (at <= k)
            high = k;
        else
            low = k + 1;
    }
    return values[at];
}

static void collect(const struct clock *c, struct votes *v)
{
    uint64_t ages_us = 0;

    v->count = 0;
    v->at_us = c->boot_us;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct sample *s = best_sample(&c->peers[i]);
        if (s == NULL)
            continue;
        v->base_us[v->count] = s->base_us;
        v->half_us[v->count++] = s->round_trip_us / 2;
        ages_us += c->boot_us - s->at_us;
    }
    v->base_us[v->count] = c->lead_us;
    if (v->count > 0)
        v->at_us -= ages_us / v->count;
}

/* How many say that we are off, on the side of the estimate, and how many that
 * we are right? Each by the milder bound, so that a clock that is off by little
 * more than alarm_us does not hang on the errors of single samples. */
static void count_votes(struct clock *c, const struct votes *v)
{
    bool is_behind = c->lead_us < c->base_us;

    c->votes_off = 0;
    c->votes_right = 0;
    for (uint32_t i = 0; i <= v->count; i++) {
        int64_t off_us = c->lead_us - v->base_us[i];
        c->votes_off += (off_us < 0) == is_behind &&
                        magnitude(off_us) > c->options.alarm_us / 2;
        c->votes_right += magnitude(off_us) < c->options.alarm_us;
    }
    c->votes_right--; /* our own */
}

/* Of an even number of votes the middle one that is nearer to our own counts:
 * a tie speaks for us. */
static int64_t median(int64_t *votes, uint32_t count, int64_t own)
{
    int64_t low = at_rank(votes, count, (count - 1) / 2);
    int64_t high = at_rank(votes, count, count / 2);

    return magnitude(low - own) <= magnitude(high - own) ? low : high;
}

/* Drop the votes that are further than `most` from `from`. @return how many
 * are left. */
static uint32_t keep_near(int64_t *votes, uint32_t count, int64_t from,
                          int64_t most)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++)
        if (magnitude(votes[i] - from) <= most)
            votes[kept++] = votes[i];
    return kept;
}

/* Wrong clocks on one side alone push the median to the other end of the right
 * ones: a fifth of them by a third of their spread. So the median says who is
 * right, and the median of those alone what time it is. */
static void estimate(struct clock *c)
{
    struct votes v;

    collect(c, &v);
    const uint32_t n = v.count;
    c->samples = n;
    c->votes_off = 0;
    c->votes_right = 0;
    if (n == 0)
        return;
    c->base_us = n == 1 ? v.base_us[0] : median(v.base_us, n + 1, c->lead_us);
    c->has_base = true;
    c->base_at_us = v.at_us;
    c->uncertainty_us = at_rank(v.half_us, n, n / 2);
    count_votes(c, &v);
    if (n > 1) {
        uint32_t near =
            keep_near(v.base_us, n + 1, c->base_us, c->options.alarm_us);
        c->base_us = median(v.base_us, near, c->lead_us);
    }
}

/* ------------------------------------------------------------------ alarm */

/* Offset less what it may be wrong by; the sign is that of the offset. */
static int64_t certain_offset(const struct clock *c)
{
    int64_t off_us = c->lead_us - c->base_us;
    int64_t sure_us = magnitude(off_us) - c->uncertainty_us;

    if (sure_us <= 0)
        return 0;
    return off_us < 0 ? -sure_us : sure_us;
}

/* Is this a fair part of the peers that there are, as far as we know? */
static bool is_heard_widely(const struct clock *c)
{
    if (c->samples < 2 || 2 * c->samples < c->peak)
        return false;
    if (c->samples == c->options.peers_max || c->windows_full >= CLOCK_WINDOWS)
        return true;
    return c->samples >= FEW_PEERS &&
           c->votes_off * FEW_AGREE_DEN >= c->samples * FEW_AGREE_NUM;
}

static void note_peak(struct clock *c)
{
    c->windows_full++;
    if (c->samples > c->peak) {
        c->peak = c->samples;
        c->peak_us = c->boot_us;
        c->windows_full = 0;
    } else if (c->samples == c->peak) {
        c->peak_us = c->boot_us;
    } else if (c->boot_us - c->peak_us > PEAK_FORGET_US) {
        c->peak--;
        c->peak_us = c->boot_us;
    }
}

/* Is it as bad (or as good) as that, by the median? */
static bool is_off(const struct clock *c)
{
    return magnitude(certain_offset(c)) > c->options.alarm_us &&
           is_heard_widely(c);
}

static bool is_right(const struct clock *c)
{
    return magnitude(certain_offset(c)) < c->options.alarm_us / 2;
}

static bool is_sure(uint32_t votes, uint32_t of)
{
    return 3 * votes >= 2 * of;
}

/* A row of windows ahead (above zero) or behind grows, turns or ends. */
static void count_window(int32_t *row, bool holds, bool is_behind)
{
    int32_t sign = is_behind ? -1 : 1;

    if (!holds)
        *row = 0;
    else if (*row * sign < 0)
        *row = sign;
    else if (*row * sign < CLOCK_WINDOWS)
        *row += sign;
}

static void mean_add(struct mean *m, double share)
{
    if (m->windows < CLOCK_MEAN_WINDOWS)
        m->windows++;
    m->share += (share - m->share) / m->windows;
}

static void count_windows(struct clock *c)
{
    bool is_behind = certain_offset(c) < 0;
    double off = (double)c->votes_off / c->samples;

    count_window(&c->off_sure, is_off(c) && is_sure(c->votes_off, c->samples),
                 is_behind);
    count_window(&c->right_sure,
                 is_right(c) && is_sure(c->votes_right, c->samples), false);
    if (is_heard_widely(c))
        mean_add(&c->off, c->lead_us < c->base_us ? -off : off);
    mean_add(&c->right, (double)c->votes_right / c->samples);
    c->is_doubted = is_off(c) && 2 * c->votes_off > c->samples;
}

/* With one clock in five wrong there are always some nodes for whom most of K
 * peers are wrong ones. For hardly any they are two in three, or most on the
 * average of some minutes, in which it meets others. */
static bool is_proved(int32_t sure, const struct mean *m, bool is_so)
{
    return sure == CLOCK_WINDOWS || sure == -CLOCK_WINDOWS ||
           (is_so && m->windows >= CLOCK_MEAN_WINDOWS / 4 &&
            fabs(m->share) >= CLOCK_MEAN_SHARE);
}

static void forget_rows(struct clock *c)
{
    c->off_sure = c->right_sure = 0;
    c->off = c->right = (struct mean){0};
    c->is_doubted = false;
}

static unsigned judge(struct clock *c)
{
    count_windows(c);
    if (!c->is_alarmed && is_proved(c->off_sure, &c->off, is_off(c))) {
        c->is_alarmed = true;
        forget_rows(c);
        c->stats.alarm_raised++;
        return CLOCK_NEWS_ALARM;
    }
    if (c->is_alarmed && is_proved(c->right_sure, &c->right, is_right(c))) {
        c->is_alarmed = false;
        forget_rows(c);
        c->stats.alarm_cleared++;
        return CLOCK_NEWS_CLEAR;
    }
    return 0;
}

/* ------------------------------------------------------------------ drift */

static const struct point *point_at(const struct clock *c, uint32_t age)
{
    uint32_t i = c->points_next + CLOCK_DRIFT_POINTS - 1 - age;

    return &c->points[i % CLOCK_DRIFT_POINTS];
}

/* What the wall clock gained between two points: what it gained on boot time,
 * less what the mesh did, in 1/SLOPE_UNIT of itself. The samples of a point are
 * some minutes old, and not always equally so: each slope has its own time. */
static bool slope_between(const struct point *a, const struct point *b,
                          int64_t *out)
{
    if (b->at_us <= a->at_us || b->base_at_us <= a->base_at_us)
        return false;
    double slope =
        (double)(b->lead_us - a->lead_us) / (double)(b->at_us - a->at_us) -
        (double)(b->base_us - a->base_us) /
            (double)(b->base_at_us - a->base_at_us);
    if (slope > SLOPE_MAX)
        slope = SLOPE_MAX;
    else if (slope < -SLOPE_MAX)
        slope = -SLOPE_MAX;
    *out = (int64_t)(slope * SLOPE_UNIT);
    return true;
}

/* The median of the slopes between points that lie at least half of all points
 * apart (after Theil and Sen): a few that are wrong do no harm. Points next to
 * each other are made of nearly the same samples, so a distance in every
 * SLOPE_STEP tells as much as all of them. Of one distance alone, half of all,
 * the ends are worth no more than the middle, and one clock of 50 ppm in 3000
 * was not found within ten minutes. */
static bool find_slope(struct clock *c)
{
    int64_t slopes[SLOPES_MAX];
    uint32_t n = 0;

    for (uint32_t d = c->points_count / 2; d < c->points_count; d += SLOPE_STEP)
        for (uint32_t i = 0; i + d < c->points_count; i++)
            n += slope_between(point_at(c, i + d), point_at(c, i), &slopes[n]);
    if (n == 0)
        return false;
    int64_t low = at_rank(slopes, n, (n - 1) / 2);
    int64_t high = at_rank(slopes, n, n / 2);
    c->drift_ppm = (double)(low + high) / 2 * 1e6 / SLOPE_UNIT;
    return true;
}

static void add_point(struct clock *c)
{
    c->points[c->points_next] =
        (struct point){.at_us = c->boot_us,
                       .lead_us = c->lead_us - c->steps_us,
                       .base_at_us = c->base_at_us,
                       .base_us = c->base_us};
    c->points_next = (c->points_next + 1) % CLOCK_DRIFT_POINTS;
    if (c->points_count < CLOCK_DRIFT_POINTS)
        c->points_count++;
}

static unsigned watch_drift(struct clock *c)
{
    add_point(c);
    if (c->points_count < CLOCK_DRIFT_POINTS_MIN || !find_slope(c))
        return 0;
    double ppm = c->drift_ppm < 0 ? -c->drift_ppm : c->drift_ppm;

    if (!c->is_drifting && c->points_count >= CLOCK_DRIFT_POINTS_SURE &&
        ppm > CLOCK_DRIFT_PPM) {
        c->is_drifting = true;
        return CLOCK_NEWS_DRIFT;
    }
    if (c->is_drifting && ppm < CLOCK_DRIFT_CLEAR_PPM) {
        c->is_drifting = false;
        return CLOCK_NEWS_STEADY;
    }
    return 0;
}

/* ------------------------------------------------------------------- time */

/* Slewing moves both clocks alike, and suspend too: what moves one of them
 * alone set the wall clock. */
static unsigned watch_steps(struct clock *c, const struct clock_reading *r)
{
    int64_t lead_us = lead_of(r), moved_us = lead_us - c->lead_us;
    uint64_t passed_us = r->boot_us - c->boot_us;
    uint64_t slew_us = passed_us * SLEW_PPM / 1000000;
    bool is_step = c->is_ticking &&
                   (uint64_t)magnitude(moved_us) > CLOCK_STEP_US + slew_us;

    c->lead_us = lead_us;
    c->boot_us = r->boot_us;
    c->tick_ms = r->now_ms;
    if (!is_step)
        return 0;
    c->step_us = moved_us;
    c->steps_us += moved_us;
    c->stats.step_seen++;
    return CLOCK_NEWS_STEP;
}

static unsigned end_window(struct clock *c)
{
    drop_older(c, c->boot_us, CLOCK_AGE_US);
    estimate(c);
    if (c->samples == 0) { /* what was found last stands */
        forget_rows(c);
        c->points_count = 0;
        return 0;
    }
    note_peak(c);
    return judge(c) | watch_drift(c);
}

unsigned clock_tick(struct clock *c, const struct clock_reading *r)
{
    unsigned news;

    if (c->is_ticking && r->now_ms - c->tick_ms < CLOCK_TICK_EARLY_MS)
        return 0;
    if (r->boot_us < c->boot_us) /* the owner's clock is broken: no tick */
        return 0;
    news = watch_steps(c, r);
    if (!c->is_ticking) {
        c->is_ticking = true;
        c->window_at_us = r->boot_us + window_us(c);
    }
    if (r->boot_us >= c->window_at_us) {
        c->window_at_us = r->boot_us + window_us(c);
        news |= end_window(c);
    }
    clock_check(c);
    return news;
}

uint64_t clock_deadline_ms(const struct clock *c)
{
    return c->is_ticking ? c->tick_ms + CLOCK_TICK_LATE_MS : 0;
}

uint64_t clock_time_us(const struct clock *c, const struct clock_reading *r)
{
    int64_t time_us = c->base_us + (int64_t)r->boot_us;

    return c->is_alarmed && time_us > 0 ? (uint64_t)time_us : r->wall_us;
}

bool clock_begin_epoch(struct clock *c, const struct clock_reading *r,
                       uint32_t epoch)
{
    if (epoch <= c->epoch)
        return false;
    c->epoch = epoch;
    (void)watch_steps(c, r);
    drop_older(c, c->boot_us, CLOCK_WINDOWS * window_us(c));
    estimate(c);
    c->is_alarmed =
        c->samples > 0 && is_off(c) && is_sure(c->votes_off, c->samples);
    c->is_drifting = false;
    forget_rows(c);
    c->points_count = 0;
    clock_check(c);
    return true;
}

/* -------------------------------------------------------------- questions */

static enum clock_state state_of(const struct clock *c)
{
    if (c->is_alarmed)
        return CLOCK_ALARMED;
    if (c->samples == 0)
        return CLOCK_UNMEASURED;
    if (c->is_doubted)
        return CLOCK_DOUBTED;
    return c->samples == 1 ? CLOCK_ALONE : CLOCK_GOOD;
}

/* By the samples of this moment; the windows judge by those of theirs. */
void clock_view(const struct clock *last, const struct clock_reading *r,
                struct clock_view *out)
{
    struct clock now = *last, *c = &now;

    c->lead_us = lead_of(r);
    if (r->boot_us > c->boot_us)
        c->boot_us = r->boot_us;
    estimate(c);
    *out = (struct clock_view){
        .state = state_of(c),
        .is_measured = c->samples > 0,
        .samples = c->samples,
        .has_drift = c->points_count >= CLOCK_DRIFT_POINTS_MIN,
        .is_drifting = c->is_drifting,
        .step_us = c->step_us,
        .epoch = c->epoch,
    };
    if (out->is_measured) {
        out->offset_us = lead_of(r) - c->base_us;
        out->uncertainty_us = c->uncertainty_us;
    }
    if (out->has_drift)
        out->drift_ppm = c->drift_ppm;
}

uint32_t clock_epoch(const struct clock *c)
{
    return c->epoch;
}

const struct clock_stats *clock_stats(const struct clock *c)
{
    return &c->stats;
}

void clock_check(const struct clock *c)
{
    assert(c->count <= c->options.peers_max);
    assert(c->samples <= c->options.peers_max);
    assert(c->votes_off <= c->samples && c->votes_right <= c->samples);
    assert(magnitude(c->off_sure) <= CLOCK_WINDOWS);
    assert(c->off.windows <= CLOCK_MEAN_WINDOWS && fabs(c->off.share) <= 1);
    assert(c->points_count <= CLOCK_DRIFT_POINTS);
    assert(!c->is_alarmed || c->has_base);
    assert(c->uncertainty_us >= 0 &&
           c->uncertainty_us <= CLOCK_ROUND_TRIP_MAX_US / 2);
}
