/* spool.h - values of this node on their way to an aggregator: what waits, in
 * what order, what is dropped first.
 *
 * Words: a *lane* holds the values of one host, in order; all of a lane go to
 * one aggregator at a time. A value is *under way* when it was sent and not yet
 * acknowledged, else it is *waiting*. A *number* is given to a value when it
 * is first sent and stays with it however often it is sent again: within a
 * series numbers grow in the order of sending, so the receiver knows a value
 * that it had before (intake.h).
 *
 * Order: a lane moves to another aggregator only when nothing of it is under
 * way, so its backlog is written before what came later. When a link breaks,
 * what was under way goes back to the head of its lane, numbers and all.
 *
 * Bound: values take at most bytes_max; beyond, the oldest waiting value is
 * dropped and counted. Series are bounded too. Times in ms are monotonic.
 *
 * Pure: time comes in with each call, effects leave through struct actions,
 * memory that cannot be had drops a value and counts it. One thread. */
#ifndef ARGUS_CORE_SPOOL_H
#define ARGUS_CORE_SPOOL_H

#include "core/actions.h"
#include "core/peer.h"
#include "core/router.h"
#include "core/value.h"

/** Top byte of the dial numbers that the spool makes. */
#define SPOOL_DIAL_TAG 3

/** Series remembered; the least recently used one that has no value here
 *  makes room for a new one. */
#define SPOOL_SERIES_MAX 1000000

/** Values under way on a link before its first Ack says how many may be. */
#define SPOOL_WINDOW_FIRST 1024

/** Largest window that is believed. */
#define SPOOL_WINDOW_MAX 131072

/** A value that may have been overtaken in collectd's write threads waits so
 *  long for the one before it. */
#define SPOOL_HOLD_MS 100

/** A batch that is not full waits so long for more, while others are under
 *  way. */
#define SPOOL_LINGER_MS 20

/** Without any acknowledgement for so long the link is given up. */
#define SPOOL_ACK_WAIT_MS 30000

/** A link that no lane needs is closed after so long. */
#define SPOOL_IDLE_MS 60000

/** Pause after a link failed; doubles up to the second, with jitter. */
#define SPOOL_BACKOFF_MIN_MS 500
#define SPOOL_BACKOFF_MAX_MS 10000

struct spool_options {
    uint64_t seed;
    uint32_t generation; /* of this node; its low 24 bits head the numbers */
    const char *zone;    /* of this node; copied */
    uint64_t bytes_max;
    bool write_order_known; /* one write thread: no value is overtaken */
    value_describe describe;
    uint32_t series_max; /* 0: SPOOL_SERIES_MAX */
};

struct spool_stats {
    uint64_t values_queued; /* taken in */
    uint64_t values_sent;   /* for the first time */
    uint64_t values_resent; /* again, after a link broke */
    uint64_t values_acked;
    uint64_t values_dropped;   /* oldest waiting ones, beyond bytes_max */
    uint64_t values_refused;   /* bad name, bad count, no room for a series */
    uint64_t values_late;      /* came after a newer one had been sent */
    uint64_t values_reordered; /* put back before a newer waiting one */
    uint64_t values_held;      /* waited for a possible predecessor */
    uint64_t batches_sent;
    uint64_t series_defined;
    uint64_t series_evicted;
    uint64_t lanes_moved; /* from one living link to another */
    uint64_t links_opened;
    uint64_t links_failed; /* dials and links that broke or were refused */
    uint64_t links_stuck;  /* given up after SPOOL_ACK_WAIT_MS */
    uint64_t links_idle;
    uint64_t acks_bad;
    uint64_t memory_refused; /* allocations that failed */
    uint64_t aggregators_cut;
    /* as they are now */
    uint64_t values; /* waiting and under way */
    uint64_t values_under_way;
    uint64_t bytes;
    uint64_t series;
    uint64_t lanes;
    uint64_t links;
};

struct spool; /* opaque; one per node */

/** @retval ARGUS_ENOMEM, ARGUS_EINVAL (no describe) */
int spool_new(const struct spool_options *options, struct spool **out);
void spool_free(struct spool *s);

/** The aggregators known now, whole, online or not (usable); on each change
 *  in what struct aggregator says. This node itself must not be among them. */
void spool_on_aggregators(struct spool *s, uint64_t now_ms,
                          const struct aggregator *list, uint32_t count,
                          struct actions *out);

void spool_on_values(struct spool *s, uint64_t now_ms,
                     const struct value_input *values, uint32_t count,
                     struct actions *out);

/* Links and dials of the spool; others are ignored. */
void spool_on_link_up(struct spool *s, uint64_t now_ms, link_id link,
                      dial_id dial, const struct peer_info *peer,
                      struct actions *out);
void spool_on_link_down(struct spool *s, uint64_t now_ms, link_id link,
                        enum link_end why, argus_RefuseCode code,
                        struct actions *out);
void spool_on_dial_failed(struct spool *s, uint64_t now_ms, dial_id dial,
                          enum link_end why, argus_RefuseCode code,
                          struct actions *out);

/** Takes Ack; any other body is ignored. */
void spool_on_frame(struct spool *s, uint64_t now_ms, link_id link,
                    const argus_Frame *frame, struct actions *out);

/** The transport's queue of a link has room again. */
void spool_on_drained(struct spool *s, uint64_t now_ms, link_id link,
                      struct actions *out);
void spool_on_timeout(struct spool *s, uint64_t now_ms, struct actions *out);

/** UINT64_MAX: none. */
uint64_t spool_deadline_ms(const struct spool *s);

/** The daemon stops: from now on nothing lingers and nothing is held back for
 *  a predecessor; done when spool_pending() is 0. */
void spool_flush(struct spool *s, uint64_t now_ms, struct actions *out);

/** Values waiting or under way. */
uint64_t spool_pending(const struct spool *s);

/** For `argusctl route` and `status`: the same router the lanes follow. */
const struct router *spool_router(const struct spool *s);

/** Do values of this host go to that aggregator now? */
bool spool_is_in_use(const struct spool *s, const char *host,
                     const struct node_id *aggregator);

/** Is there a link, or a dial for one? */
bool spool_can_send(const struct spool *s);

/** Is there a living metrics link to that aggregator? */
bool spool_has_link(const struct spool *s, const struct node_id *aggregator);

const struct spool_stats *spool_stats(const struct spool *s);

#endif
