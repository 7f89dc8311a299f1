/* timeline.h - the events of the whole mesh, in memory, in HLC order.
 *
 * Order: (epoch, hlc, origin id, generation, number), total and the same on
 * every node. An event is known by (origin, generation, number) and kept once.
 * At most retain_events are kept, the oldest in that order go first, counted;
 * but an origin that has more than 1/TIMELINE_SHARE of all makes room among its
 * own for what it adds, so that it cannot push out what others said.
 *
 * Events lie packed: their strings one behind the other, what an origin repeats
 * (its id and name) once an origin. Memory grows with use; a failed malloc
 * refuses the event and is counted. */
#ifndef ARGUS_CORE_TIMELINE_H
#define ARGUS_CORE_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/node_id.h"
#include "core/hlc.h"

/** Events an origin may make at once: so many seconds of event_rate. */
#define TIMELINE_BURST_S 10

/** Highest event_rate. */
#define TIMELINE_RATE_MAX 100000

#define TIMELINE_SHARE 4

struct timeline; /* opaque */

struct timeline_options {
    struct node_id self;
    uint32_t generation;
    uint32_t retain_events; /* at least 1 */
    uint32_t event_rate;    /* own events a second, 1..TIMELINE_RATE_MAX */
};

enum timeline_result {
    TIMELINE_ADDED,
    TIMELINE_KNOWN,   /* that (origin, generation, number) is here */
    TIMELINE_TOO_OLD, /* the timeline, or the origin's share, is full of newer
                         ones */
    TIMELINE_FAILED,  /* no memory */
};

struct timeline_stats {
    uint64_t event_added;
    uint64_t event_duplicate;
    uint64_t event_too_old;
    uint64_t event_dropped;     /* the oldest, to make room */
    uint64_t event_share_spent; /* of these, the oldest of their origin alone */
    uint64_t event_limited;     /* own, over event_rate */
    uint64_t memory_refused;
};

/** @retval ARGUS_EINVAL, ARGUS_ENOMEM; *out is written on ARGUS_OK only. */
int timeline_new(const struct timeline_options *options, struct timeline **out);
void timeline_free(struct timeline *t);

/**
 * Make an event of this node: fill its generation, number and hlc. It enters
 * the timeline by timeline_add(), as any other.
 * @return false: over the rate; counted, event and clock unchanged.
 */
bool timeline_stamp_own(struct timeline *t, struct hlc *h, uint64_t now_ms,
                        uint64_t wall_us, argus_Event *event);

/** @param received_us  wall clock here. The event is copied. */
enum timeline_result timeline_add(struct timeline *t,
                                  const struct node_id *origin,
                                  const argus_Event *event,
                                  uint64_t received_us);

/** Is that event here? */
bool timeline_has(const struct timeline *t, const struct node_id *origin,
                  uint32_t generation, uint64_t number);

uint32_t timeline_count(const struct timeline *t);

/** Event by place, oldest first. @return false: no such place. */
bool timeline_get(const struct timeline *t, uint32_t index,
                  argus_EventReply *out);

/** Place of the first event not before that stamp; the count: none. */
uint32_t timeline_find(const struct timeline *t, uint64_t hlc);

/** Bytes taken by the events and their indexes (not what malloc adds). */
size_t timeline_bytes(const struct timeline *t);

const struct timeline_stats *timeline_stats(const struct timeline *t);

#endif
