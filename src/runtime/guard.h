/* guard.h - an assertion that fails must not end collectd.
 *
 * Assertions stay on in the daemon. Inside guard_run() a failed one is logged
 * and leaves the whole call: what the call was working on is lost and must not
 * be touched again but to cut it off. Outside of it assert() aborts as always,
 * so tests and the simulator stop where the bug is.
 *
 * How: this object defines __assert_fail(), hidden in argus.so, so that it
 * serves argus' own assert() alone and not collectd's. It leaves by longjmp to
 * guard_run() of the same thread. */
#ifndef ARGUS_RUNTIME_GUARD_H
#define ARGUS_RUNTIME_GUARD_H

#include <stdbool.h>

/** @return false: an assertion failed in run(). */
bool guard_run(void (*run)(void *context), void *context);

#endif
