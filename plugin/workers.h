/* workers.h - value lists, notifications and flushes to and from workers: from
 * collectd's shapes to messages of wire/pair.h and back.
 *
 * What a worker sent is handed to collectd as it is: time, interval and meta
 * data untouched. Where it came from stands in the flush_timeout of the plugin
 * context (see bridge.h), so that argus' own callbacks, which run under that
 * context, do not send it back there.
 *
 * A type that this daemon does not know, or knows otherwise, travels with its
 * data set and goes straight to the writers: they see it, cache and chains do
 * not.
 *
 * A counter that begins anew at zero because another process reads it would
 * look like one that wrapped, and its rate like 8e9. So the cache is told of
 * that value in advance, twice, a tick apart: the rate is then zero.
 *
 * Threads: workers_message() and workers_end() in the deliver thread, the rest
 * anywhere. */
#ifndef ARGUS_PLUGIN_WORKERS_H
#define ARGUS_PLUGIN_WORKERS_H

#include "collectd.h"

#include "plugin.h"

#include "wire/pair.h"

/** Types of all workers together; further ones are refused and counted. */
#define WORKERS_TYPES_MAX 8192

#define WORKERS_STALL_MS 2000

struct workers;

struct workers_stats {
    uint64_t value_failed;  /* collectd would not take it, or a name is none */
    uint64_t value_direct;  /* past cache and chains: type unknown here */
    uint64_t value_untyped; /* of a type that it never named */
    uint64_t type_refused;
    uint64_t counter_begun; /* counters that began anew */
    uint64_t down_refused;  /* does not fit into a message */
};

/** NULL: no memory. */
struct workers *workers_new(void);
void workers_free(struct workers *w);

/** Hand on what a worker sent; see runtime_hooks. */
void workers_message(struct workers *w, uint32_t worker, bool begins,
                     const uint8_t *message, size_t size);

/** It sends no more. */
void workers_end(struct workers *w, uint32_t worker);

/** All at once: no runtime knows them any more. */
void workers_forget(struct workers *w);

/** The worker that sent what the calling thread works on; 0: none did. */
uint32_t workers_origin(void);

/* For workers that want the daemon's values. Each returns the bytes of the
 * message in out, which holds PAIR_MESSAGE_MAX; 0: it does not fit, counted. */
size_t workers_pack_set(struct workers *w, const data_set_t *ds, uint8_t *out);
size_t workers_pack_value(struct workers *w, const value_list_t *vl,
                          uint8_t *out);
size_t workers_pack_notification(struct workers *w, const notification_t *n,
                                 uint8_t *out);
size_t workers_pack_flush(struct workers *w, cdtime_t timeout,
                          const char *identifier, uint8_t *out);

/** The write callback saw a value under the calling thread's origin. */
void workers_seen(struct workers *w);

/** Values handed to collectd and not yet seen. Chains stop values that are then
 *  never seen: when none was for WORKERS_STALL_MS, those under way count no
 *  more. One thread. */
uint64_t workers_backlog(struct workers *w, uint64_t now_ms);

struct workers_stats workers_stats(struct workers *w);

#endif
