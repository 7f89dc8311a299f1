/* worker_ready.h - when a worker is ready: every init went well, and each of
 * two passes of reads came back.
 *
 * As many barrier reads as there are read threads wait for each other. They are
 * due after every read that was registered before, so once all threads sit in
 * them, each earlier read has returned. */
#ifndef ARGUS_PLUGIN_WORKER_READY_H
#define ARGUS_PLUGIN_WORKER_READY_H

#include <stdbool.h>
#include <stdint.h>

/** The second pass comes one interval after the first, at most so much later.
 */
#define READY_GAP_MAX_S 10

/** How the names of barrier reads begin. */
#define BARRIER_NAME "argus_worker/barrier-"

/** In the last init callback: judge the inits, then register the barrier reads.
 *  May not return (life_fail()). */
void ready_begin(bool has_writers, uint32_t read_timeout_ms);

/** A pass took too long: the worker is ready, but late. */
void ready_late(void);

/** collectd is to end: no read thread stays in a barrier. */
void ready_abandon(void);

#endif
