/* bundle_sync_impl.h - shared by
 *   bundle_sync.c   sessions, neighbors, anti-entropy, timers
 *   bundle_fetch.c  chunks: who is asked for which, who is answered
 * Nobody else includes it. */
#ifndef ARGUS_CORE_BUNDLE_SYNC_IMPL_H
#define ARGUS_CORE_BUNDLE_SYNC_IMPL_H

#include "base/prng.h"
#include "core/bundle_sync.h"

/** Nodes that failed in one round of asking. */
#define BUNDLE_TRIED_MAX 32

/** Slots remembered for which there was no room: they are not asked for. */
#define BUNDLE_UNROOMED_MAX 256

/** What is complete is looked at again when a chunk of it turns out to be gone,
 *  but not more often. */
#define BUNDLE_RECHECK_MS 60000

/* A chunk under way: asked for by us, or by the peer. */
struct bundle_want {
    uint8_t hash[CONTENT_HASH_SIZE];
    uint64_t since_ms;
};

struct bundle_session {
    dial_id dial; /* 0: accepted */
    link_id link; /* 0: still dialing */
    struct node_id peer;
    uint64_t started_ms, active_ms;
    struct bundle_want wants[BUNDLE_WINDOW]; /* ours */
    uint32_t wants_count;
    struct bundle_want asked[BUNDLE_WINDOW]; /* the peer's, not yet answered */
    uint32_t asked_count;
    uint32_t items_left; /* bundles that the peer may send */
    bool wants_digest;   /* dialer: an exchange is to begin */
    bool is_digest_done; /* one was sent, or taken */
    bool is_waiting;     /* dialer: for the BundleWant */
};

/* The content of one slot's head on its way here. */
struct bundle_fetch {
    struct bundle_slot *slot;
    uint8_t hash[CONTENT_HASH_SIZE]; /* of the head's manifest */
    uint8_t *index;                  /* NULL: to be fetched first */
    uint32_t chunks, cursor;         /* all before it are here or asked for */
    struct node_id source;           /* zero: to be chosen */
    bool is_proven;                  /* it sent something already */
    struct node_id first;            /* to be tried first; zero: nobody */
    struct node_id tried[BUNDLE_TRIED_MAX];
    uint32_t tried_count;
    uint64_t due_ms; /* a pause */
    uint32_t backoff_ms;
};

struct bundle_neighbor {
    struct node_id id;
    char address[ADDRESS_SIZE];
    uint64_t due_ms;        /* of an exchange; UINT64_MAX: none */
    uint64_t deaf_until_ms; /* to its summaries: no more than one exchange */
    uint32_t retries;
};

struct bundle_sync {
    struct node_id id;
    struct bundles *bundles;
    struct chunk_store chunks;
    struct seal seal;
    struct bundle_sync_listener listener;
    struct prng prng;
    uint64_t now_ms, wall_us; /* of the call under way */
    bool is_started;

    struct bundle_session *sessions; /* grows up to BUNDLE_SESSIONS_MAX */
    uint32_t sessions_count, sessions_room, dialed_count;
    uint64_t dials;
    struct bundle_neighbor *neighbors;
    uint32_t neighbors_count, neighbors_room;
    uint64_t due_ms; /* of the periodic exchange */
    bool is_soon;    /* the next is with a neighbor */
    bool is_established;

    struct bundle_fetch *fetches[BUNDLES_MAX]; /* one a slot at most */
    uint32_t fetches_count;

    uint32_t spreading_count;
    uint64_t spread_due_ms;
    uint64_t recheck_ms;                      /* not before */
    uint8_t (*unroomed)[BUNDLE_SLOT_ID_SIZE]; /* NULL: none yet */
    uint32_t unroomed_count; /* counts on; the oldest is overwritten */
    struct bundle_sync_stats stats;
};

/* ---- bundle_sync.c */

/** An open or dialed session with that peer; dials if there is none, which
 *  moves all sessions. NULL: no room, or it cannot be dialed. */
struct bundle_session *bundle_session_with(struct bundle_sync *s,
                                           const struct node_id *peer,
                                           struct actions *out);
void bundle_session_malformed(struct bundle_sync *s,
                              struct bundle_session *session, const char *text,
                              struct actions *out);

/* ---- bundle_fetch.c */

/** Fetch what is missing of a slot's head, unless that is under way. */
void fetch_begin(struct bundle_sync *s, struct bundle_slot *slot,
                 const struct node_id *from);
/** Ask for what can be asked for now; drop what is done or overtaken. */
void fetch_run(struct bundle_sync *s, struct actions *out);
/** A session has ended, or its dial failed: others are asked. */
void fetch_on_session_end(struct bundle_sync *s, const struct node_id *peer);
/** There is somebody new to ask: pauses are over. */
void fetch_wake(struct bundle_sync *s);
/** A node speaks of bundles: what is in a pause asks it now. */
void fetch_ask_first(struct bundle_sync *s, const struct node_id *peer);
void fetch_close(struct bundle_sync *s);
uint64_t fetch_deadline_ms(const struct bundle_sync *s);

void chunk_on_want(struct bundle_sync *s, struct bundle_session *session,
                   const argus_ChunkWant *want, struct actions *out);
void chunk_on_chunk(struct bundle_sync *s, struct bundle_session *session,
                    const argus_Chunk *chunk, struct actions *out);
/** Say "not here" to those who waited long enough. */
void chunk_deny_late(struct bundle_sync *s, struct actions *out);
uint64_t chunk_deadline_ms(const struct bundle_sync *s);

#endif
