/* clock.h - is this node's wall clock right, by the clocks of the others?
 *
 * Source: Jon Moore, "Distributed Monotonic Clocks" (DMC, 2015), with random
 * pairwise meetings (Busnel, Bertier, Kermarrec) in place of his hierarchy:
 * each node compares its clock with those of some tens of others and takes the
 * median. See argus-protocol(7), CLOCKS.
 *
 * Words: *boot* time counts from the start of the machine, suspend included,
 * and nobody can set it; *lead* is wall clock minus boot time, so it changes
 * when the wall clock is set and else hardly; *base* is the mesh's time minus
 * our boot time. All samples are kept against boot time: whatever happens to
 * our wall clock, what was measured stays true, and the offset is lead - base.
 *
 * The estimate is the median over the samples of distinct peers and one vote of
 * our own, so that a tie speaks for us, and then the median of those votes
 * alone that are within alarm_us of it: how far off the others are says nothing
 * about the time. Of a peer that sample counts which had the least round trip
 * of the last CLOCK_RING: one peer has one vote, however often it is measured.
 * Half the median round trip is the uncertainty: a minority that answers late
 * on purpose cannot widen it at will.
 *
 * Alarm: the offset less its uncertainty is beyond alarm_us, and in
 * CLOCK_WINDOWS windows one after the other two in three peers agree, or on the
 * average of the last CLOCK_MEAN_WINDOWS (at least a quarter as many)
 * CLOCK_MEAN_SHARE of them do; it ends when the offset is below half of
 * alarm_us by the same rule. Nothing is judged on the word of a few out of
 * many: while the table still grows only if nearly all agree, and not by less
 * than half of the peers that there were (a partition leaves a handful
 * together, and most of them may be wrong). Two nodes alone cannot tell which
 * of them is right.
 *
 * While alarmed the node stamps by clock_time_us(): base plus boot time, in
 * place of the wall clock. departs: DMC goes on from the stamps received; one
 * stamp may come from anywhere, the median cannot. The stamps received are
 * merged on top of it by the rules of hlc.h. What is *measured* is the wall
 * clock as it is, always: a correction is never measured as if it were a clock.
 *
 * Pure and bounded: memory is taken by clock_new() alone. Samples are hostile:
 * the caller vouches that it asked that peer for this one, and for nothing
 * else. Units: microseconds; offsets are positive when the clock is ahead. */
#ifndef ARGUS_CORE_CLOCK_H
#define ARGUS_CORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/node_id.h"

struct clock; /* opaque; one an overlay */

#define CLOCK_PEERS 31 /* K; odd. 63 where 30 % of the clocks may be wrong */
#define CLOCK_PEERS_LIMIT 255
#define CLOCK_ALARM_MS 100 /* default of alarm_us */
#define CLOCK_RING 8
#define CLOCK_WINDOWS 3
#define CLOCK_MEAN_WINDOWS 48 /* in which as many peers again are met */
#define CLOCK_MEAN_SHARE 0.52
#define CLOCK_AGE_US                                                           \
    INT64_C(600000000) /* samples older than that are dropped */

/** Between two looks at the clocks. A look comes on the occasion of something
 *  else, from EARLY on, or by itself at LATE. */
#define CLOCK_TICK_MS 1000
#define CLOCK_TICK_EARLY_MS 900
#define CLOCK_TICK_LATE_MS 2000

/** The wall clock moved against boot time by more than that between two. */
#define CLOCK_STEP_US 50000

/** Round trips longer than that tell nothing. */
#define CLOCK_ROUND_TRIP_MAX_US 10000000
/** About 30 years: offsets beyond are nonsense, and cannot overflow a sum. */
#define CLOCK_OFFSET_MAX_US INT64_C(1000000000000000)

/* Drift is the slope over so many windows; it is told from DRIFT_POINTS_MIN on,
 * and called drifting from DRIFT_POINTS_SURE on, if beyond the first bound and
 * until it is below the second. */
#define CLOCK_DRIFT_POINTS 60
#define CLOCK_DRIFT_POINTS_MIN 12
#define CLOCK_DRIFT_POINTS_SURE 48
#define CLOCK_DRIFT_PPM 30.0
#define CLOCK_DRIFT_CLEAR_PPM 15.0

struct clock_options {
    uint32_t peers_max; /* 0: CLOCK_PEERS; at most CLOCK_PEERS_LIMIT */
    uint32_t window_ms; /* at least CLOCK_TICK_MS; one meeting a window */
    uint32_t alarm_us;
};

/* The two clocks of this node, read together. */
struct clock_reading {
    uint64_t now_ms; /* monotonic, as everywhere in core */
    uint64_t boot_us;
    uint64_t wall_us;
};

/* What a tick found out; several may be set. */
enum clock_news {
    CLOCK_NEWS_STEP = 1 << 0,
    CLOCK_NEWS_ALARM = 1 << 1,
    CLOCK_NEWS_CLEAR = 1 << 2,
    CLOCK_NEWS_DRIFT = 1 << 3,
    CLOCK_NEWS_STEADY = 1 << 4,
};

enum clock_state {
    CLOCK_UNMEASURED, /* no peer was heard within CLOCK_AGE_US */
    CLOCK_ALONE,      /* one peer: which of the two is right, none can tell */
    CLOCK_GOOD,
    CLOCK_DOUBTED, /* off, and not yet for CLOCK_WINDOWS */
    CLOCK_ALARMED,
};

struct clock_stats {
    uint64_t sample_taken;
    uint64_t sample_refused; /* impossible, or of a peer without a vote */
    uint64_t peer_dropped;   /* made room for another */
    uint64_t alarm_raised, alarm_cleared;
    uint64_t step_seen;
};

struct clock_view {
    enum clock_state state;
    bool is_measured;
    int64_t offset_us; /* of our wall clock; 0 while not measured */
    int64_t uncertainty_us;
    uint32_t samples; /* peers */
    bool has_drift, is_drifting;
    double drift_ppm; /* positive: the wall clock goes too fast */
    int64_t step_us;  /* the last one seen; 0: none */
    uint32_t epoch;
};

/** @retval ARGUS_EINVAL, ARGUS_ENOMEM; *out is written on ARGUS_OK only. */
int clock_new(const struct clock_options *options, struct clock **out);
void clock_free(struct clock *c);

/**
 * A sample: its clock was ahead of our wall clock by so much, with an error of
 * half the round trip at most.
 * @return false: it cannot be; counted.
 */
bool clock_sample(struct clock *c, const struct clock_reading *r,
                  const struct node_id *peer, int64_t round_trip_us,
                  int64_t offset_us);

/** Time passes; to be called as often as one likes, at clock_deadline_ms() at
 *  the latest. @return enum clock_news, or-ed. */
unsigned clock_tick(struct clock *c, const struct clock_reading *r);
uint64_t clock_deadline_ms(const struct clock *c);

/** What to stamp with. */
uint64_t clock_time_us(const struct clock *c, const struct clock_reading *r);

void clock_view(const struct clock *c, const struct clock_reading *r,
                struct clock_view *out);

/**
 * Begin an epoch: only what was measured within the last CLOCK_WINDOWS windows
 * still counts, and says at once whether the clock is right.
 * @return false: it is not later than the epoch we are in; nothing changed.
 */
bool clock_begin_epoch(struct clock *c, const struct clock_reading *r,
                       uint32_t epoch);
uint32_t clock_epoch(const struct clock *c);

const struct clock_stats *clock_stats(const struct clock *c);

/** What must always hold; asserted after each input. */
void clock_check(const struct clock *c);

#endif
