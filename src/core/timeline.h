/* timeline.h - the events of the whole mesh, in HLC order, as they were signed.
 *
 * Order: (epoch, hlc, origin id, generation, number), total and the same on
 * every node. An event is known by (origin, generation, number) and kept once,
 * as the statement that its origin signed: so any node can prove it to another.
 *
 * Which events are kept is a function of those that ever came and of
 * retain_events alone, whatever their order of arrival: of n events of one
 * origin the newest 1/TIMELINE_SHARE of retain_events rank equal with those of
 * all others, the one behind comes after them, the next after that. Kept are
 * the first retain_events by (rank, newest first). So an origin that says much
 * makes room among its own and cannot push out what others said; what was once
 * dropped is never taken again; and what a node keeps is kept by each that has
 * a higher retain_events. Anti-entropy (core/event_sync.h) hangs on all three.
 *
 * Cost: 72 bytes an event, 8 for each parent, the signed statement (without the
 * author's key, which is kept once an origin) and some 28 for the indexes;
 * ordinary events some 330 in all (a test measures it). Memory grows with use;
 * a failed malloc refuses the event and is counted.
 *
 *   timeline.c        what is kept
 *   timeline_own.c    events of this node: rate, what is said of those too many
 *   timeline_cause.c  what came before what: parents, concurrency
 *   timeline_range.c  sums over ranges, for anti-entropy */
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

/** Parents that an event names at most; as in argus.options. */
#define TIMELINE_PARENTS_MAX 8

/** After the first event that was too many: time to count them. */
#define TIMELINE_SUMMARY_MS 1000

/** Of a stamp whose origin does not say it: as MaxOffset is by default. */
#define TIMELINE_UNCERTAINTY_US 500000

/** Neighbors on each side of an event that may be concurrent with it, and
 *  events that a search for a path looks at. Beyond, they count as ordered. */
#define TIMELINE_NEAR_MAX 32
#define TIMELINE_SEARCH_MAX 256

struct timeline; /* opaque */

struct timeline_options {
    struct node_id self;
    uint32_t generation;
    uint32_t retain_events; /* at least 1 */
    uint32_t event_rate;    /* own events a second, 1..TIMELINE_RATE_MAX */
    void (*digest)(const uint8_t *data, size_t size, uint8_t out[32]);
    /** An event was dropped to make room; from within timeline_add(), may be
     *  NULL. */
    void (*dropped)(void *context, uint64_t key);
    void *context;
};

/* A place in the order; fields at 0 come first. */
struct timeline_place {
    uint32_t epoch;
    uint64_t hlc;
    struct node_id origin;
    uint32_t generation;
    uint64_t number;
    bool is_end; /* behind all */
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
    uint64_t event_summaries;   /* own, that tell of those */
    uint64_t event_damaged;     /* from disk, and not what was signed */
    uint64_t memory_refused;
};

/** @retval ARGUS_EINVAL, ARGUS_ENOMEM; *out is written on ARGUS_OK only. */
int timeline_new(const struct timeline_options *options, struct timeline **out);
void timeline_free(struct timeline *t);

/* An event that comes in; all is copied. */
struct timeline_input {
    const struct node_id *origin;
    const argus_Event *event; /* as unpacked from: */
    const uint8_t *payload;   /* an encoded Signed */
    size_t size;
    uint64_t received_us; /* wall clock here */
    bool is_unproven;     /* its signature was not checked */
};

/** @param out_key  NULL, or the event's key; see Event.parents. */
enum timeline_result timeline_add(struct timeline *t,
                                  const struct timeline_input *in,
                                  uint64_t *out_key);

/** Is that event here? */
bool timeline_has(const struct timeline *t, const struct node_id *origin,
                  uint32_t generation, uint64_t number);
bool timeline_has_key(const struct timeline *t, uint64_t key);

uint32_t timeline_count(const struct timeline *t);

/** What is in an encoded Signed, unchecked. @return false: no event. */
bool timeline_unpack(const uint8_t *payload, size_t size, argus_Event *out);

/** Event by place, oldest first, without what timeline_order() fills in.
 *  @return false: no such place. */
bool timeline_get(const struct timeline *t, uint32_t index,
                  argus_EventReply *out);

/** Only where it stands; cheap. */
bool timeline_place(const struct timeline *t, uint32_t index,
                    struct timeline_place *out);

/** Index of the first event not before that place; the count: none. */
uint32_t timeline_index(const struct timeline *t,
                        const struct timeline_place *place);

/** Place of the first event not before that stamp; the count: none. */
uint32_t timeline_find(const struct timeline *t, uint64_t hlc);

int timeline_place_compare(const struct timeline_place *a,
                           const struct timeline_place *b);

/** Bytes taken by the events and their indexes (not what malloc adds). */
size_t timeline_bytes(const struct timeline *t);

const struct timeline_stats *timeline_stats(const struct timeline *t);

/* ---- timeline_own.c */

/**
 * Make an event of this node: fill its generation, number, hlc and parents. It
 * enters the timeline by timeline_add(), as any other.
 * @return false: over the rate; counted, event and clock unchanged.
 */
bool timeline_stamp_own(struct timeline *t, struct hlc *h, uint64_t now_ms,
                        uint64_t wall_us, argus_Event *event);

/**
 * What is to be said of events that were too many: within the rate as any
 * other, and before any other once TIMELINE_SUMMARY_MS have passed.
 * @param event  severity (the worst of them), type and message are filled, and
 *               what timeline_stamp_own() does.
 * @return false: nothing, or not now.
 */
bool timeline_summary(struct timeline *t, struct hlc *h, uint64_t now_ms,
                      uint64_t wall_us, argus_Event *event);

/** When to call timeline_summary() next; UINT64_MAX: not needed. */
uint64_t timeline_deadline_ms(const struct timeline *t);

/* ---- timeline_cause.c */

/**
 * Fill uncertainty_s and concurrent of the event at that place: is there
 * another event, with no path between the two by parents or by one origin's own
 * order, whose stamp differs by less than both uncertainties?
 */
void timeline_order(const struct timeline *t, uint32_t index,
                    argus_EventReply *out);

/* ---- timeline_range.c: the events [from, to) by index, of those that a node
 * with that retain_events would keep (ours or more: all). */

struct timeline_sum {
    uint32_t count;
    uint64_t keys; /* sum modulo 2^64 */
};

struct timeline_sum timeline_sum(struct timeline *t, uint32_t retain,
                                 uint32_t from, uint32_t to);

/** @return false: it is not one of those. Call timeline_sum() before. */
bool timeline_key(const struct timeline *t, uint32_t index, uint64_t *key);

/** Nothing before it is ever taken again. */
void timeline_floor(const struct timeline *t, struct timeline_place *out);

/** The encoded Signed, byte by byte as it came. @return its size, 0: no such
 *  index. */
size_t timeline_packed(const struct timeline *t, uint32_t index, uint8_t *out,
                       size_t out_size);
/** The same by key. */
size_t timeline_packed_by_key(const struct timeline *t, uint64_t key,
                              uint8_t *out, size_t out_size, bool *is_unproven);
/** Its signature was checked: it holds, or the event goes (and is counted). */
void timeline_prove(struct timeline *t, uint64_t key, bool holds);

#endif
