/* bridge.h - value lists, notifications and own metrics to the mesh and back,
 * and by way of workers.h to the workers and back.
 *
 * Mark: what the mesh brought carries the meta data `argus:received` and never
 * enters the mesh again. A dispatched value also carries its token, in the
 * flush_timeout of the plugin context: collectd keeps the context of the
 * dispatching thread with the queued value and restores it in the write thread
 * (plugin.c, plugin_write_enqueue and plugin_write_dequeue), and no one between
 * there and the writers touches that field. So the write callback knows which
 * value it sees even when a chain renamed its series. The mark tells the value
 * itself from one that another plugin derived from it in the write thread,
 * which inherits the context but not the mark.
 *
 * What a worker sent bears no mark: it goes into the mesh as if a plugin of
 * this daemon had read it. Its place in the context says from which worker it
 * came, in a form that no token and no timeout has (workers.h).
 *
 * Values that pass by: chains may keep a value from argus' write callback,
 * which then never sees it. But a write thread tells of every value that it
 * puts into the cache (bridge_touch), before the writers have it, and works on
 * one value at a time: when it tells of the next one and the former was not
 * seen, then that one passed by. In that callback collectd has put another
 * context in place, so there the token comes by meta data, "argus:token", which
 * is taken off again: no writer behind the cache meets it. What a chain stops
 * before the cache is never told of. For those, argus' own metrics carry
 * "argus:after", the token that collectd was handed last: when one comes out of
 * collectd's queue, all before it are out as well.
 *
 * Threads: the hooks are called as runtime.h says (describe in the loop thread,
 * the others in the deliver thread); the callbacks from any thread of collectd
 * at any time, also before bridge_attach() and after it took the runtime away:
 * other plugins' threads may send notifications until the process ends. */
#ifndef ARGUS_PLUGIN_BRIDGE_H
#define ARGUS_PLUGIN_BRIDGE_H

#include "collectd.h"

#include "plugin.h"

#include "base/log.h"
#include "runtime/runtime.h"

/** Series of other nodes that can be held ready; more are refused, counted. */
#define BRIDGE_SERIES_MAX (1u << 20)

/** Different data sets of this daemon; more are refused and counted. */
#define BRIDGE_SETS_MAX 4096

/** Write threads that are told apart. What passes by in the hands of further
 *  ones is not noticed at once. */
#define BRIDGE_THREADS_MAX 256

struct bridge; /* opaque; one a daemon */

struct bridge_options {
    bool route;      /* local values go to the mesh; else it is only told what
                      * is published here */
    bool aggregator; /* answers the missing callback */
    bool touches;    /* collectd calls bridge_touch(); aggregators only */
};

/* What could not be handed on, or went another way. A snapshot. */
struct bridge_stats {
    uint64_t value_refused;  /* local: too many sources, empty names, ... */
    uint64_t value_dropped;  /* local: the runtime's mailbox was full */
    uint64_t value_stray;    /* marked, but without a token */
    uint64_t value_unknown;  /* from the mesh, of no series held, or misfit */
    uint64_t value_failed;   /* from the mesh, collectd would not take it */
    uint64_t value_direct;   /* past cache and chains: type unknown here */
    uint64_t series_refused; /* from the mesh: a definition that may not be */
    uint64_t notice_refused; /* local or mesh: no such severity, no room */
};

/** @retval ARGUS_ENOMEM */
int bridge_new(struct bridge **out);

/** What to pass to runtime_new(); valid until bridge_free(). */
struct runtime_hooks bridge_hooks(struct bridge *b);

/** From here on callbacks reach `rt`. */
void bridge_attach(struct bridge *b, struct runtime *rt,
                   const struct bridge_options *options);

/** They reach nothing any more, and none of before is still under way. */
void bridge_detach(struct bridge *b);

/** collectd begins to shut down. When this returns nothing from the mesh is on
 *  its way into collectd any more, nor will be: writers may go. */
void bridge_freeze(struct bridge *b);

/** Drop all series and data sets. Only when no runtime knows them any more;
 *  callbacks may still come, and reach nothing. */
void bridge_forget(struct bridge *b);

/** Only when no callback can come any more either. */
void bridge_free(struct bridge *b);

/* The callbacks of collectd; bridge_missing may answer other than 0. */
int bridge_write(struct bridge *b, const data_set_t *ds,
                 const value_list_t *vl);
int bridge_notification(struct bridge *b, const notification_t *n);
int bridge_missing(struct bridge *b, const value_list_t *vl);
int bridge_flush(struct bridge *b, cdtime_t timeout, const char *identifier);
int bridge_read(struct bridge *b);

/** A write thread has put a value into the cache. */
void bridge_touch(struct bridge *b, const value_list_t *vl);

struct bridge_stats bridge_stats(struct bridge *b);

/** Sink for log_set_sink(): plugin_log() with "argus: " before the line. */
void bridge_log(enum log_level level, const char *line);

#endif
