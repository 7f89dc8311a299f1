/* bundle_sync.h - makes all nodes hold the same bundles, content included.
 *
 * A manifest is news by broadcast; its content is pulled, chunk by chunk, over
 * a link of kind BUNDLE: first from whoever delivered the manifest, then from
 * the neighbors in turn, then again after a pause that doubles. Whoever is
 * asked for a chunk that he is about to get himself answers when he has it, so
 * content flows down the tree of the broadcast behind the manifest.
 *
 *   either side -> ChunkWant   at most BUNDLE_WINDOW without an answer
 *               <- Chunk       the data; empty: not here
 *
 * What a broadcast missed anti-entropy brings, once a link at most:
 *   dialer -> BundleDigest     all heads it knows, in order of slots
 *          <- BundleItems      heads that are higher or unknown there
 *          <- BundleWant       slots that are higher there; always one
 *          -> BundleItems      those
 * When: with a new neighbor (the lower id dials at once, the other one if that
 * has not happened), with a random neighbor shortly after each change, with one
 * whose Summary shows that it knows something else (core/sync.h), and every two
 * to four minutes with a member that is no neighbor. A difference too large for
 * one exchange (BUNDLE_ITEMS_BYTES) is news, so the next follows soon.
 *
 * What came by it and is news to an established node (see directory.h) is
 * broadcast again, for the same reason.
 *
 * A link is closed by its dialer once it has been idle for a while, and by
 * either side when the other breaks a promise: a chunk nobody asked for, one
 * whose hash is wrong, more wants than the window, a digest or a want out of
 * order, items nobody asked for. That is REFUSE_MALFORMED and counted.
 *
 * Bounds: BUNDLE_OUT_MAX sessions dialed, BUNDLE_IN_MAX accepted, one of them
 * from each node: the newer takes over.
 *
 * Pure, as the directory is. */
#ifndef ARGUS_CORE_BUNDLE_SYNC_H
#define ARGUS_CORE_BUNDLE_SYNC_H

#include "core/bundles.h"
#include "core/peer.h"

/** Top byte of the dial numbers made here. */
#define BUNDLE_DIAL_TAG 4

#define BUNDLE_OUT_MAX 12
#define BUNDLE_IN_MAX 48
#define BUNDLE_SESSIONS_MAX (BUNDLE_OUT_MAX + BUNDLE_IN_MAX)
#define BUNDLE_NEIGHBORS_MAX 1024 /* followed; beyond: refused, counted */
#define BUNDLE_WINDOW 8
#define BUNDLE_ITEMS_MAX 4 /* as BundleItems.bundles in argus.options */
#define BUNDLE_ITEMS_BYTES (256 * 1024)
#define BUNDLE_WAIT_MS 1000   /* a want may wait for a chunk on its way here */
#define BUNDLE_ANSWER_MS 3000 /* so long whoever wants waits */
#define BUNDLE_LINGER_MS 2000
#define BUNDLE_IDLE_MS 10000
#define BUNDLE_SESSION_MS 600000
#define BUNDLE_BACKOFF_MIN_MS 250
#define BUNDLE_BACKOFF_MAX_MS 30000
#define BUNDLE_DELAY_MS 200
#define BUNDLE_FALLBACK_MS 1500
#define BUNDLE_SETTLE_MS 1000   /* to twice this */
#define BUNDLE_PERIOD_MS 120000 /* to twice this */
#define BUNDLE_RETRIES 5
#define BUNDLE_SPREAD_BURST 8
#define BUNDLE_SPREAD_MS 50

struct bundle_sync;

struct bundle_sync_listener {
    void *context;
    /** Broadcast it under this node's seal. */
    void (*broadcast)(void *context, const argus_SignedBundle *bundle);
    /** Where a member is dialed; "": nowhere. Borrowed until the next call. */
    const char *(*address)(void *context, const struct node_id *id);
    /** Some member thought to be online, this node apart, picked by a random
     *  number. @return false: there is none. */
    bool (*any_member)(void *context, uint32_t pick, struct node_id *id);
};

struct bundle_sync_stats {
    uint64_t syncs_begun, syncs_accepted, syncs_done, syncs_failed;
    uint64_t links_refused; /* too many at once */
    uint64_t malformed;     /* a peer broke a promise */
    uint64_t frames_stranger;
    uint64_t items_sent, items_received;
    uint64_t spread_again;
    uint64_t chunks_sent, chunks_received;
    uint64_t chunks_absent;   /* asked for, and not there */
    uint64_t chunks_denied;   /* we did not have them */
    uint64_t chunks_bad;      /* wrong hash or size */
    uint64_t chunks_unstored; /* the store had no room */
    uint64_t chunks_late;     /* no answer in time */
    uint64_t fetches_done, fetches_paused;
    uint64_t neighbors_refused, memory_refused;
};

/** @param bundles  borrowed; outlives it. */
int bundle_sync_new(const struct engine_options *node, struct bundles *bundles,
                    const struct bundle_sync_listener *listener,
                    struct bundle_sync **out);
void bundle_sync_free(struct bundle_sync *s);

void bundle_sync_start(struct bundle_sync *s, uint64_t now_ms, uint64_t wall_us,
                       struct actions *out);
/** Dial nobody and serve nobody from here on; start undoes it. */
void bundle_sync_stop(struct bundle_sync *s);

/** A slot has a new head. from: who delivered it; NULL: it was pushed here, or
 *  nobody in particular. */
void bundle_sync_on_news(struct bundle_sync *s, uint64_t now_ms,
                         uint64_t wall_us, struct bundle_slot *slot,
                         const struct node_id *from, struct actions *out);

void bundle_sync_neighbor_up(struct bundle_sync *s, uint64_t now_ms,
                             uint64_t wall_us, const struct peer_info *peer,
                             struct actions *out);
void bundle_sync_neighbor_down(struct bundle_sync *s, const struct node_id *id);

/** Sum of the heads known here, as in a Summary. */
uint64_t bundle_sync_sum(const struct bundle_sync *s);
/** A neighbor's summary came. */
void bundle_sync_on_summary(struct bundle_sync *s, uint64_t now_ms,
                            uint64_t wall_us, const struct node_id *neighbor,
                            uint64_t sum);

/** Links of kind BUNDLE, dialed or accepted. */
void bundle_sync_on_link_up(struct bundle_sync *s, uint64_t now_ms,
                            uint64_t wall_us, link_id link, dial_id dial,
                            const struct peer_info *peer, struct actions *out);
void bundle_sync_on_link_down(struct bundle_sync *s, uint64_t now_ms,
                              uint64_t wall_us, link_id link,
                              struct actions *out);
void bundle_sync_on_dial_failed(struct bundle_sync *s, uint64_t now_ms,
                                uint64_t wall_us, dial_id dial,
                                struct actions *out);
void bundle_sync_on_frame(struct bundle_sync *s, uint64_t now_ms,
                          uint64_t wall_us, link_id link,
                          const argus_Frame *frame, struct actions *out);
void bundle_sync_on_timeout(struct bundle_sync *s, uint64_t now_ms,
                            uint64_t wall_us, struct actions *out);
uint64_t bundle_sync_deadline_ms(const struct bundle_sync *s);

/** Heads whose content is being fetched. */
uint32_t bundle_sync_fetches(const struct bundle_sync *s);

const struct bundle_sync_stats *bundle_sync_stats(const struct bundle_sync *s);

#endif
