/* worker_life.h - the phases of a worker, the time each may take, and its end.
 *
 * Two threads of ours: one reads from the daemon and hands on what it says; one
 * watches: it sends, sees when the daemon is gone, and keeps the time. */
#ifndef ARGUS_PLUGIN_WORKER_LIFE_H
#define ARGUS_PLUGIN_WORKER_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/pair.h"

/* What each end takes at most, in milliseconds; the daemon's own times are a
 * little longer. */
#define LIFE_VET_MS 2000
#define LIFE_DRAIN_MS 3000
#define LIFE_STOP_MS 4500
#define LIFE_ORPHAN_MS 3000
/** A signal to the whole process group is the daemon's to act on first. */
#define LIFE_SIGNAL_MS 5000

struct life_options {
    int socket; /* of up_open() */
    uint32_t start_ms;
    void (*late)(void);    /* the time of life_read_by() is over */
    void (*stopped)(void); /* collectd is told to end */
};

/** @return false: no thread. */
bool life_start(const struct life_options *options);

/** Enter a phase: the daemon is told, and its time begins. */
void life_phase(enum pair_phase phase);

enum pair_phase life_phase_now(void);

/** In the phase of first reads: `late` is called then, unless the phase is
 * over. */
void life_read_by(uint64_t ms);

/** Tell the daemon, and end this process with its group. */
_Noreturn void life_refuse(const char *text);
_Noreturn void life_fail(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/** Write out what is queued, then make collectd end. Returns at once. */
void life_stop(void);

/** collectd has called every callback it ever will. Does not return unless this
 *  process leads no group. */
void life_ended(void);

#endif
