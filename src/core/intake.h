/* intake.h - values of other nodes on their way into collectd, on an
 * aggregator. The other end is spool.h.
 *
 * An acknowledgement means something: a batch is acknowledged when each of its
 * values is *settled*, and all batches before it are. A value is settled
 *   - INTAKE_WRITERS_MS after argus' own write callback saw it: collectd calls
 *     its writers one after the other, the rest of them need a moment;
 *   - as long after its turn, when its number is not above the last one
 *     dispatched in its series: it came before, on another link perhaps;
 *   - when it *passed by*: the write thread that put it into the cache goes on
 *     with another value, and the write callback did not see it. A chain gave
 *     it to other writers alone, or to none; all of that is over;
 *   - when it vanished: values behind it in collectd's queue have left it for
 *     INTAKE_STOPPED_MS, it was neither seen nor does a write thread hold it.
 *     A chain stopped it before the cache (or collectd dropped it, and it is
 *     dispatched again, see redispatch_max).
 * Does nothing of collectd's queue move, then the writers are stuck: nothing is
 * settled, and the sender waits. One thread that hangs while others go on costs
 * its own value only, after INTAKE_HELD_TURNS such waits.
 *
 * Order: values of a series wait in a queue of their own. At most one of them
 * is in collectd, from its dispatch until it is seen, for several write threads
 * would reorder them. (argus' write callback stands last in collectd's list, so
 * what it sees the other writers have had.) Other series do not wait for it.
 *
 * Series live on when a link ends and when the sender restarts; so do their
 * last numbers, and so do the values that were not dispatched yet.
 *
 * What arrives is not trusted: a frame that breaks a promise of the protocol
 * closes its link with REFUSE_MALFORMED, one beyond a bound with REFUSE_BUSY.
 *
 * Pure: time comes in with each call, effects leave through struct actions.
 * One thread. */
#ifndef ARGUS_CORE_INTAKE_H
#define ARGUS_CORE_INTAKE_H

#include "core/actions.h"
#include "core/peer.h"
#include "core/value.h"

/** From a value being seen to its acknowledgement. */
#define INTAKE_WRITERS_MS 20

/** Not seen so long after a later one: stopped by a chain. */
#define INTAKE_STOPPED_MS 1000

/** The same for a series whose last value was stopped. */
#define INTAKE_STOPPED_AGAIN_MS 50

/** So often the wait begins anew, behind all that was dispatched meanwhile, for
 *  a value that a write thread holds: the thread is in a slow writer, or idle
 *  and will tell when it gets its next value. */
#define INTAKE_HELD_TURNS 10

/** Acknowledgements of a link are merged for so long. */
#define INTAKE_ACK_LINGER_MS 5

/** Values waiting or in collectd that the windows of all links share. Twice
 *  as many are taken before a link is refused. */
#define INTAKE_BUDGET 131072

/** Values a link may have under way; before the first Ack, and at most. */
#define INTAKE_WINDOW_FIRST 1024
#define INTAKE_WINDOW_MIN 64
#define INTAKE_WINDOW_MAX 32768

/** Series known, of one sender and in all. Those that no link names and that
 *  have no value here make room, least recently used first. */
#define INTAKE_SENDER_SERIES_MAX 1000000
#define INTAKE_SERIES_MAX 1000000

struct intake_listener {
    void *context;
    /** Is that node online, as the mesh knows? */
    bool (*is_online)(void *context, const struct node_id *id);
};

/* What the owner knows of collectd's write threads. */
struct intake_threads {
    void *context;
    /** Is that value in the hands of one: touched, and neither seen nor passed
     *  by yet? NULL: nothing is known of them. */
    bool (*is_held)(void *context, uint64_t token);
};

struct intake_options {
    bool is_aggregator; /* else every metrics link is refused */
    uint32_t queue_max; /* values in collectd and not yet seen; >= 1 */
    /** Times an unseen value is handed to collectd again before it counts as
     *  stopped: 0, or up to 3 where collectd's queue has a limit and drops. */
    uint32_t redispatch_max;
    struct intake_listener listener;
    struct intake_threads threads;
    uint32_t budget;            /* 0: INTAKE_BUDGET */
    uint32_t series_max;        /* 0: INTAKE_SERIES_MAX */
    uint32_t sender_series_max; /* 0: INTAKE_SENDER_SERIES_MAX */
};

struct intake_stats {
    uint64_t values_received;
    uint64_t values_dispatched;
    uint64_t values_redispatched;
    uint64_t values_seen;
    uint64_t values_duplicate;
    uint64_t values_passed;  /* by: for other writers than argus, or none */
    uint64_t values_stopped; /* vanished before the cache */
    uint64_t values_settled;
    uint64_t seen_unknown; /* tokens not (or no longer) under way */
    uint64_t batches_acked;
    uint64_t acks_sent;
    uint64_t links_accepted;
    uint64_t links_refused;   /* no aggregator here */
    uint64_t links_replaced;  /* by a newer one of the same sender */
    uint64_t links_malformed; /* closed: the protocol was broken */
    uint64_t links_busy;      /* closed: beyond a bound */
    uint64_t senders_reset;   /* came back with an older generation */
    uint64_t series_begun;
    uint64_t series_evicted;
    uint64_t hosts_released;
    uint64_t memory_refused; /* allocations that failed */
    /* as they are now */
    uint64_t values_waiting;
    uint64_t values_in_queue; /* in collectd, not seen */
    uint64_t values_settling; /* seen, not settled */
    uint64_t bytes;
    uint64_t series;
    uint64_t senders;
    uint64_t links;
};

struct intake; /* opaque; one per node */

/** @retval ARGUS_EINVAL  queue_max is 0 or above 2^20, redispatch_max above 3,
 *                        no listener. @retval ARGUS_ENOMEM */
int intake_new(const struct intake_options *options, struct intake **out);
void intake_free(struct intake *x);

/* Accepted links of kind METRICS; others are ignored. */
void intake_on_link_up(struct intake *x, uint64_t now_ms, link_id link,
                       const struct peer_info *peer, struct actions *out);
void intake_on_link_down(struct intake *x, uint64_t now_ms, link_id link,
                         struct actions *out);

/** Takes SeriesDefs, Batch and Release; any other body is ignored. */
void intake_on_frame(struct intake *x, uint64_t now_ms, link_id link,
                     const argus_Frame *frame, struct actions *out);

/** The write callback saw dispatched values (EVENT_SEEN). */
void intake_on_seen(struct intake *x, uint64_t now_ms, const uint64_t *tokens,
                    uint32_t count, struct actions *out);

/** Dispatched values that passed by the write callback (EVENT_PASSED). */
void intake_on_passed(struct intake *x, uint64_t now_ms, const uint64_t *tokens,
                      uint32_t count, struct actions *out);

/** A value that entered collectd's queue behind the one with that token has
 *  left it, so that one has, and all before it. */
void intake_on_progress(struct intake *x, uint64_t now_ms, uint64_t token);
void intake_on_timeout(struct intake *x, uint64_t now_ms, struct actions *out);

/** UINT64_MAX: none. */
uint64_t intake_deadline_ms(const struct intake *x);

/** The daemon stops: from here on nothing is acknowledged or dispatched. */
void intake_freeze(struct intake *x);

/** Is that series one that an agent sent here and now sends elsewhere: it was
 *  released, or its sender lives without a metrics link to this node? */
bool intake_series_moved(const struct intake *x, const char *host,
                         const char *plugin, const char *plugin_instance,
                         const char *type, const char *type_instance);

const struct intake_stats *intake_stats(const struct intake *x);

#endif
