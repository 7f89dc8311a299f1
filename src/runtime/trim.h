/* trim.h - gives the kernel back what the allocator keeps after bursts.
 *
 * Bytes in use are flat in a mesh that lives through restarts, cuts and bursts
 * of events, but glibc keeps the pages that were once needed, and other places
 * each time: private memory of nodes in a soak of an hour grew by 8 %. So now
 * and then, when at least TRIM_FREE_MIN is free, malloc_trim() hands whole free
 * pages back; they cost a fault each when they are needed again.
 *
 * left out: fewer arenas (M_ARENA_MAX is the host process's own affair), and
 * pools of buffers (what is large already lives in rings of fixed size).
 *
 * It walks all that is free in the process, collectd's other plugins included:
 * .2 ms for a mesh of 64, more in a large daemon or on a busy machine. The time
 * until the next call grows with it, so that it costs no more than one part in
 * TRIM_SHARE of a processor, from TRIM_EVERY_MS up to TRIM_EVERY_MAX_MS. */
#ifndef ARGUS_RUNTIME_TRIM_H
#define ARGUS_RUNTIME_TRIM_H

#include <stdbool.h>
#include <stdint.h>

#define TRIM_EVERY_MS 120000
#define TRIM_EVERY_MAX_MS 3840000
#define TRIM_FREE_MIN (128u << 10)
#define TRIM_SHARE 20000

/* All zero at first. */
struct trim {
    uint64_t due_ms;
};

/** Call it at rest, at any rate. @return true: it was time, and pages may have
 *  gone back. */
bool trim_tick(struct trim *t, uint64_t now_ms);

/** How long to wait after a call that took so long. */
uint32_t trim_next_ms(uint64_t took_us);

#endif
