/* origins.h - how much each author has said lately by broadcast.
 *
 * Counted is what was news and freshly stamped, by a member of the mesh: what
 * others repeat of it, or dig out, is never counted against an author. Beyond
 * its rate a statement is dropped here and passed on to nobody.
 *
 * The rates are what no node does that is configured as this one:
 *   records  PUBLISH_GAP_MS gives 10 a second, after a refutation more at once
 *   reports  probes find at most some 100 dead a second
 *   events   a quarter more than this node itself may make by its RateLimit,
 *            or than a node may whose RateLimit is ORIGINS_EVENT_RATE_MIN
 *   bundles  BUNDLE_SPREAD_BURST each BUNDLE_SPREAD_MS gives 160 a second
 *
 * All others share one bucket: statements of strangers (a record that makes a
 * member among them), those with an old stamp (broadcast again after a split,
 * or of a node whose clock is wrong) and those that are not understood. So an
 * honest node never passes on more of them than its neighbors put up with.
 *
 * Bound: ORIGINS_MAX authors; who spoke last the longest ago goes, counted only
 * when that was in the last ORIGINS_QUIET_MS: else all its buckets are full. */
#ifndef ARGUS_CORE_ORIGINS_H
#define ARGUS_CORE_ORIGINS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/node_id.h"
#include "core/bucket.h"

#include <uthash.h>

#define ORIGINS_MAX 16384
#define ORIGINS_QUIET_MS 15000

#define ORIGINS_RECORD_RATE 20
#define ORIGINS_RECORD_BURST 100
#define ORIGINS_REPORT_RATE 200
#define ORIGINS_REPORT_BURST 2000
#define ORIGINS_EVENT_RATE_MIN 50
#define ORIGINS_BUNDLE_RATE 200
#define ORIGINS_BUNDLE_BURST 400
#define ORIGINS_OTHERS_RATE 800
#define ORIGINS_OTHERS_BURST 4000

enum origin_kind {
    ORIGIN_RECORD,
    ORIGIN_REPORT,
    ORIGIN_EVENT,
    ORIGIN_BUNDLE,
    ORIGIN_KINDS,
    ORIGIN_OTHERS = ORIGIN_KINDS, /* whoever the author is */
};

TAILQ_HEAD(origin_list, origin_rate);

struct origins_stats {
    uint64_t dropped; /* authors forgotten too early */
    uint64_t memory_refused;
};

struct origins {
    struct origin_rate *by_id;
    struct origin_list latest_first;
    struct bucket others;
    uint32_t max;
    uint32_t event_rate, event_burst;
    struct origins_stats stats;
};

/** @param max         0: ORIGINS_MAX.
 *  @param rate_limit  events a second that this node itself may make. */
void origins_init(struct origins *o, uint32_t max, uint32_t rate_limit);
void origins_close(struct origins *o);

/** May that author say one more of that kind now? Takes nothing. */
bool origins_may(struct origins *o, uint64_t now_ms, const struct node_id *id,
                 enum origin_kind kind);

/** It said one. Without memory that is not remembered, and counted. */
void origins_take(struct origins *o, uint64_t now_ms, const struct node_id *id,
                  enum origin_kind kind);

/** Authors that are remembered. */
uint32_t origins_count(const struct origins *o);

#endif
