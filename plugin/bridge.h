/* bridge.h - value lists, notifications and own metrics to the mesh and back.
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
 * Threads: bridge_hooks() are called as runtime.h says (describe in the loop
 * thread, the others in the deliver thread); bridge_write, _notification,
 * _missing, _read and _freeze from any thread of collectd, at any time between
 * bridge_new() and bridge_free(), also when no runtime is attached. */
#ifndef ARGUS_PLUGIN_BRIDGE_H
#define ARGUS_PLUGIN_BRIDGE_H

#include "collectd.h"

#include "plugin.h"

#include "runtime/runtime.h"

/** Series of other nodes that can be held ready; more are refused, counted. */
#define BRIDGE_SERIES_MAX (1u << 20)

/** Different data sets of this daemon; more are refused and counted. */
#define BRIDGE_SETS_MAX 4096

struct bridge; /* opaque; one a daemon */

struct bridge_options {
    bool route;      /* local values go to the mesh */
    bool aggregator; /* answers the missing callback */
};

/* How often the world sent what cannot be handed on. A snapshot. */
struct bridge_stats {
    uint64_t value_refused;    /* local: too many sources, empty names, ... */
    uint64_t value_marked;     /* marked, but not with a token of ours */
    uint64_t value_unknown;    /* from the mesh, of a series not held */
    uint64_t value_direct;     /* past cache and chains: type unknown here */
    uint64_t series_refused;   /* from the mesh: a name that may not be */
    uint64_t notice_refused;   /* local: severity or time that may not be */
};

/** @retval ARGUS_ENOMEM */
int bridge_new(const struct bridge_options *options, struct bridge **out);

/** The threads of the runtime have been joined or were never started. */
void bridge_free(struct bridge *b);

/** To pass to runtime_new(); valid until bridge_free(). */
struct runtime_hooks bridge_hooks(struct bridge *b);

/** From here on callbacks reach `rt`; NULL: they reach nothing, and no call of
 *  before is still under way when this returns. */
void bridge_attach(struct bridge *b, struct runtime *rt);

/* The callbacks of collectd. */
int bridge_write(struct bridge *b, const data_set_t *ds,
                 const value_list_t *vl);
int bridge_notification(struct bridge *b, const notification_t *n);
int bridge_missing(struct bridge *b, const value_list_t *vl);
int bridge_read(struct bridge *b);

/** collectd begins to shut down. */
void bridge_freeze(struct bridge *b);

struct bridge_stats bridge_stats(const struct bridge *b);

/** Sink for log_set_sink(): plugin_log() with "argus: " before the line. */
void bridge_log(enum log_level level, const char *line);

#endif
