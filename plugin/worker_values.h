/* worker_values.h - values, notifications and flushes, between collectd in this
 * process and the daemon.
 *
 * What came down is not sent up again. A value is known by a mark in its plugin
 * context, which goes with it through collectd's queue. A match of our own, the
 * first rule of the first chain, takes the mark off there, so that what other
 * plugins make of such a value is this worker's own. The same match sees how
 * far the queue is, whatever the bundle's chains do with a value later. */
#ifndef ARGUS_PLUGIN_WORKER_VALUES_H
#define ARGUS_PLUGIN_WORKER_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/pair.h"

/** Values that came down and wait in collectd's queue; then the next one waits
 *  in the socket. */
#define VALUES_DOWN_MAX 4096

/** Types that the daemon knows and this collectd does not. */
#define VALUES_SETS_MAX 256

/** Put the match into that chain; before the bundle's own lines are read. */
int values_watch_chain(const char *chain);

/** Register what takes values and notifications up: last of all, so that every
 *  other writer has had them. */
int values_register(void);

/** Has a plugin of the bundle dispatched a value? */
bool values_are_made(void);

/** VALUE, NOTIFICATION, FLUSH or SET from the daemon. In the one thread that
 *  reads; may wait. @return false: it is not what its type says. */
bool values_take(const struct pair_message *m);

/** Wait until what is in collectd's queue now has been written, at most so
 *  long. @return false: it has not. */
bool values_drain(unsigned timeout_ms);

/** Nobody waits for room any more. */
void values_close(void);

#endif
