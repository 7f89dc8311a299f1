/* value.h - a value on its way: from collectd into the spool, and from the
 * intake back to collectd. Shapes only.
 *
 * Numbers are 8 raw bytes: the bits of a double for a gauge, two's complement
 * for counter, derive and absolute. Times and intervals are cdtime. */
#ifndef ARGUS_CORE_VALUE_H
#define ARGUS_CORE_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/node_id.h"

/** Data sources a value may have; as SeriesDef.sources in argus.options. */
#define SOURCES_MAX 64

/* One value of this daemon, as the write callback had it. All borrowed. */
struct value_input {
    const char *host, *plugin, *plugin_instance, *type, *type_instance;
    const void *set; /* the owner's data set; value_describe tells of it */
    uint64_t time;
    uint64_t interval;
    const uint64_t *numbers;
    uint32_t count;     /* 1..SOURCES_MAX */
    const char *source; /* plugin that dispatched it; NULL or "": plugin */
};

/** Fill def->sources from a data set. Called once a series, in the loop. */
typedef void (*value_describe)(const void *set, argus_SeriesDef *def);

/* A series of another node begins (or begins anew with another definition). */
struct series_begin {
    uint64_t series; /* handle; never used for another series */
    const argus_SeriesDef *def;
};

/* A value for collectd's queue. At most one of a series is under way. */
struct value_ref {
    uint64_t series;
    uint64_t token; /* comes back when the value was seen; never 0 */
    uint64_t time;
    const uint64_t *numbers;
    uint32_t count;
};

#endif
