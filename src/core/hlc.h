/* hlc.h - hybrid logical clock.
 *
 * Source: Kulkarni et al., "Logical Physical Clocks", OPODIS 2014, §4. A stamp
 * is 64 bits: 48 of Unix milliseconds above 16 of counter. So "max, then count
 * one further" is plain arithmetic on the whole number, and a full counter
 * carries into the milliseconds by itself.
 *
 * departs: a stamp that is further ahead of the local wall clock than
 * max_offset_ms is never merged, only counted: else one node with a wrong clock
 * drags every other node's clock with it.
 *
 * Units: wall_us is Unix microseconds and may jump; stamps never go back. */
#ifndef ARGUS_CORE_HLC_H
#define ARGUS_CORE_HLC_H

#include <stdbool.h>
#include <stdint.h>

#define HLC_COUNTER_BITS 16

struct hlc_stats {
    uint64_t remote_merged;
    uint64_t remote_refused; /* further ahead than max_offset_ms */
};

struct hlc {
    uint64_t last; /* greatest stamp made or merged */
    uint32_t max_offset_ms;
    struct hlc_stats stats;
};

/** @param mark  greatest stamp of our own on disk, 0: none. The clock starts
 *               at the greater of it and the wall clock. */
void hlc_init(struct hlc *h, uint64_t mark, uint64_t wall_us,
              uint32_t max_offset_ms);

/** A stamp greater than every one made or merged before. */
uint64_t hlc_stamp(struct hlc *h, uint64_t wall_us);

/** Take in the stamp of a message. @return false: too far ahead, so counted
 *  and not merged; the message itself is to be delivered all the same. */
bool hlc_merge(struct hlc *h, uint64_t remote, uint64_t wall_us);

/** Begin anew at that time, even if it is before the last stamp: for a new
 *  epoch, whose stamps come after all others whatever their number. */
void hlc_restart(struct hlc *h, uint64_t wall_us);

/** The clock's reading now; makes no stamp. */
uint64_t hlc_now(const struct hlc *h, uint64_t wall_us);

/** Unix microseconds of a stamp (its milliseconds; the counter is no time). */
uint64_t hlc_to_us(uint64_t stamp);

/** The least stamp of that time. */
uint64_t hlc_from_us(uint64_t wall_us);

#endif
