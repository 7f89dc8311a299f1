/* publishers.h - what this node publishes: hosts, plugins, applications.
 *
 * Fed with every value that collectd dispatches here, those of workers among
 * them; values of other nodes never come. Words:
 *   publisher  one host, plugin and plugin instance, and for statsd one
 *              application
 *   app        of a plugin whose instances are named by a user (statsd, tail,
 *              curl, exec, scripts): what he named. For statsd the first part
 *              of the metric's name; of a script that names a plugin of its
 *              own, that plugin
 *   silent     no value for PUBLISHERS_SILENT_INTERVALS of its intervals
 *   digest     what of it fits into the record; see core/digest.h. At least one
 *              publisher of each plugin comes before the others
 *
 * The mesh is told by a new digest when a publisher comes, falls silent, speaks
 * again, or its rate doubled or halved: PUBLISHERS_SETTLE_MS later, so that
 * what one read pass brings comes together, and in the long run once each
 * PUBLISHERS_GAP_MS plus PUBLISHERS_GAP_MEMBER_MS for each member, whatever
 * comes and goes: so ten such news a second are all that a mesh sees. A rate
 * alone waits for the gap. Three may come sooner.
 *
 * Pure: time comes with each call (now_ms monotonic, wall_us Unix). */
#ifndef ARGUS_CORE_PUBLISHERS_H
#define ARGUS_CORE_PUBLISHERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/digest.h"
#include "core/value.h"

/** Publishers known at most. Beyond, one that is silent makes room; else the
 *  new one is counted, no more. */
#define PUBLISHERS_MAX 4096
#define PUBLISHERS_SILENT_INTERVALS 4
/** A silent one is listed so long. */
#define PUBLISHERS_KEEP_MS (24 * 3600 * 1000u)
#define PUBLISHERS_SETTLE_MS 2000
#define PUBLISHERS_GAP_MS 10000
#define PUBLISHERS_GAP_MEMBER_MS 100
#define PUBLISHERS_BURST 3
/** One that stopped so often within PUBLISHERS_FLAP_MS is told once to come and
 *  go, and not spoken of until it was steady for as long. */
#define PUBLISHERS_FLAPS 3
#define PUBLISHERS_FLAP_MS 3600000u

struct publishers; /* opaque */

/* What is told on the timeline. */
enum publishers_news {
    PUBLISHERS_STOPPED,
    PUBLISHERS_BACK,
    PUBLISHERS_FLAPS_ON
};

struct publishers_listener {
    void *context;
    /** @param text  a sentence that names them. */
    void (*say)(void *context, enum publishers_news news, const char *text);
};

struct publishers_stats {
    uint64_t come, stopped, back;
    uint64_t refused; /* values of publishers that found no room */
    uint64_t digests; /* handed out by publishers_news() */
    uint64_t excused; /* this node stood still: nobody was blamed */
};

/** @retval ARGUS_ENOMEM */
int publishers_new(const struct publishers_listener *listener,
                   struct publishers **out);
void publishers_free(struct publishers *p);

void publishers_on_value(struct publishers *p, uint64_t now_ms,
                         uint64_t wall_us, const struct value_input *value);

/** Who fell silent; the listener is called. @return false: nothing can have
 *  changed in the digest. */
bool publishers_on_timeout(struct publishers *p, uint64_t now_ms);
uint64_t publishers_deadline_ms(const struct publishers *p);

/** Is there a digest to publish now? Then it counts as published. */
bool publishers_news(struct publishers *p, uint64_t now_ms, uint32_t members);

/** Write the digest. @return its size; *missing: publishers that are not in. */
size_t publishers_digest(struct publishers *p, const char *node,
                         uint64_t started_ms, uint8_t out[DIGEST_SIZE_MAX],
                         uint32_t *missing);

uint32_t publishers_count(const struct publishers *p);

/** By index from 0, in order of names; as it is now. The texts hold until the
 *  next value or timeout. */
bool publishers_get(struct publishers *p, uint32_t index,
                    struct digest_entry *out, uint64_t *last_us);

const struct publishers_stats *publishers_stats(const struct publishers *p);

#endif
