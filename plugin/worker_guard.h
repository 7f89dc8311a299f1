/* worker_guard.h - a worker's end: told on standard error when nobody planned
 * it, and taken along with whatever its plugins have started.
 *
 * collectd's main thread is the one that calls guard_install(). */
#ifndef ARGUS_PLUGIN_WORKER_GUARD_H
#define ARGUS_PLUGIN_WORKER_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/pair.h"

/** Handlers for crashes and for exit(); a forked child without an exec does not
 *  keep `socket`, so that the daemon sees the end of this process alone. */
void guard_install(int socket);

/** For the lines on standard error. */
void guard_phase(enum pair_phase phase);

/** SIGTERM and SIGINT are noted and nothing else. collectd's main installs its
 *  own after configuration: call again in the first init. */
void guard_hold_signals(void);

/** When the first of them came, in milliseconds of guard_now(); 0: none did. */
uint64_t guard_signaled_ms(void);

/** Not in the process that guard_install() was called in: before it was, or in
 * a child that a plugin forked. There locks may be held by threads that the
 * child does not have. */
bool guard_is_elsewhere(void);

/** Monotonic. */
uint64_t guard_now(void);

/** Interrupt what the main thread waits in. */
void guard_wake_main(void);

/** Which plugin is the main thread in? It writes its backtrace to standard
 *  error. @return false: unknown, or no answer in 200 ms. */
bool guard_main_plugin(char *out, size_t size);

/** A line on standard error that tells why there was no BYE. */
void guard_say_exit(const char *why);

/** Forks of one second that are no longer a plugin's way to run programs. */
#define GUARD_FORKS_MAX 250

/** Was that number reached? @param plugin  whose callback it was in. */
bool guard_forks_wildly(char *plugin, size_t size);

/** exit() is what we want, from here on. */
void guard_expect_exit(void);

/** End this process and its process group. */
_Noreturn void guard_end(void);

/** The same, when a plugin has closed descriptors that are not its own: without
 *  them nothing can be said any more. */
_Noreturn void guard_end_closed(void);

#endif
