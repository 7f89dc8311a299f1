/* clock_meetings.h - many clocks that meet in pairs at random, without any mesh
 * around them: what clock.h is worth by itself. For the tests and the bench.
 *
 * Own clocks are off by a normal deviate of 5 ms, faulty ones by 5 s more.
 * Round trips are log-normal (median 20 ms, sigma 0.5), and up to 35 % more or
 * less of one goes by on the way there. Each window every node asks one other
 * that is drawn at random, which asks back. */
#ifndef ARGUS_TESTS_CLOCK_MEETINGS_H
#define ARGUS_TESTS_CLOCK_MEETINGS_H

#include <stdint.h>

struct meetings_options {
    uint64_t seed;
    uint32_t nodes;
    uint32_t faulty; /* in a thousand */
    uint32_t peers;  /* K */
    uint32_t windows;
};

struct meetings_result {
    uint32_t healthy, faulty;
    uint32_t alarmed_ever;        /* of the healthy, at any time */
    uint32_t missed;              /* of the faulty, at the end */
    uint32_t alarm_windows_worst; /* until the last of the faulty was told */
    double error_median_us, error_p99_us; /* of the healthy, at the end */
};

void meetings_run(const struct meetings_options *options,
                  struct meetings_result *out);

#endif
