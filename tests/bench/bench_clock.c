/* bench_clock.c - the clocks' median by itself: false alarms, alarms missed and
 * the error of the estimate against the share of faulty clocks, as CSV. See
 * clock_meetings.h for what is drawn. ARGUS_SEED (default 1) is the first of
 * three seeds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock_meetings.h"

#define NODES 10000
#define WINDOWS 60      /* ten minutes */
#define WINDOWS_MANY 90 /* K = 63 takes longer to know its peers */
#define SEEDS 3

static void run(uint64_t seed, uint32_t faulty, uint32_t peers,
                uint32_t windows)
{
    const struct meetings_options o = {.seed = seed,
                                       .nodes = NODES,
                                       .faulty = faulty,
                                       .peers = peers,
                                       .windows = windows};
    struct meetings_result r;

    meetings_run(&o, &r);
    printf("%" PRIu64 ",%u,%g,%u,%u,%u,%u,%u,%.2f,%.2f\n", seed, NODES,
           faulty / 10.0, peers, r.alarmed_ever, r.missed, r.faulty,
           r.alarm_windows_worst, r.error_median_us / 1000,
           r.error_p99_us / 1000);
    fflush(stdout);
}

int main(void)
{
    const char *text = getenv("ARGUS_SEED");
    uint64_t first = text != NULL ? strtoull(text, NULL, 0) : 1;

    puts("seed,nodes,faulty_percent,peers,false_alarms,missed,faulty,"
         "last_alarm_window,error_median_ms,error_p99_ms");
    for (uint64_t seed = first; seed < first + SEEDS; seed++) {
        for (uint32_t faulty = 0; faulty <= 200; faulty += 50)
            run(seed, faulty, 31, WINDOWS);
        run(seed, 300, 63, WINDOWS_MANY);
    }
    return 0;
}
