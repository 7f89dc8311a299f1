/* sync.h - plain anti-entropy: makes two directories equal.
 *
 * A part of the directory, not of its door. A session is one link of kind SYNC:
 *   dialer -> Sums     one, of all it knows (core/sums.h)
 *          <- Want       nothing: we are equal. Else Sums, of ranges of ids:
 *   dialer -> Digest   a page: what it knows of ids in [from, to], in order, of
 *                      ranges whose sums differ
 *          <- Items    what the other side has newer, or the page lacks
 *          <- Want     ids that the other side lacks or has older; `to`: the
 *                      page is answered up to here
 *          -> Items    what was wanted
 *          -> Digest   the next page, from behind `to`
 * until nothing that differs is left; then come events (core/event_sync.h), and
 * then the dialer closes (REFUSE_BYE). So at most a page is under way in each
 * direction (SYNC_PAGE_BYTES, SYNC_PAGE_MAX ids), whatever the difference: a
 * newcomer that knows only itself is answered in as many pages as it takes, at
 * its own pace.
 *
 * departs from both sides sending digests: one of them suffices for both to
 * learn the difference.
 *
 * Unheard members are in no page and count as absent, so a node that starts
 * again asks anew about those it knows from disk.
 *
 * When: with a new neighbor (the lower id dials after up to SYNC_DELAY_MS; the
 * other one if that has not happened after SYNC_FALLBACK_MS), once more with a
 * random neighbor shortly after any change of neighbors (what another had not
 * heard yet at the first time), then every 30 to 60 s with a random neighbor
 * and each SYNC_STRANGER_TURN-th time with a member that is none. Whoever
 * learned of events in a session has the next one soon.
 *
 * A neighbor to which a link is up is sent a Summary over it first, and dials
 * only if it keeps something else: so a mesh at rest opens no links for it. */
#ifndef ARGUS_CORE_SYNC_H
#define ARGUS_CORE_SYNC_H

#include "core/directory.h"

#define SYNC_OUT_MAX 4 /* sessions dialed at a time */
#define SYNC_IN_MAX 32 /* accepted */
#define SYNC_MAX (SYNC_OUT_MAX + SYNC_IN_MAX)
#define SYNC_PAGE_MAX 256 /* as Digest.entries in argus.options */
#define SYNC_PAGE_BYTES (128 * 1024)
#define SYNC_ITEMS_MAX 8 /* as Items.payloads */
#define SYNC_DELAY_MS 200
#define SYNC_FALLBACK_MS 1500
#define SYNC_SETTLE_MS 1000  /* to twice this */
#define SYNC_PERIOD_MS 30000 /* to twice this */
#define SYNC_STRANGER_TURN 4
#define SYNC_RETRIES 5
#define SYNC_IDLE_MS 10000
#define SYNC_SESSION_MS 120000
#define SPREAD_BURST 32
#define SPREAD_PERIOD_MS 50

struct session {
    dial_id dial; /* 0: accepted */
    link_id link; /* 0: still dialing */
    struct node_id peer;
    uint64_t started_ms, active_ms;
    struct node_id from, to; /* dialer: page that waits for its Want. Other
                                side: before `from` all is answered */
    uint64_t differing[4];   /* dialer: ranges, a bit each */
    uint32_t ranges;
    bool is_summed;              /* sums were answered */
    bool is_last;                /* dialer: nothing differs behind `to` */
    uint32_t items_left;         /* payloads that the peer may send */
    bool is_waiting;             /* dialer: for a Want */
    bool is_answered;            /* other side: the last Want is sent */
    struct event_session events; /* what follows upon that */
};

struct neighbor {
    struct node_id id;
    char address[ADDRESS_SIZE];
    uint64_t sync_due_ms;   /* UINT64_MAX: none */
    uint64_t deaf_until_ms; /* to its summaries: no more than one session */
    uint32_t retries;
};

struct sync {
    struct session sessions[SYNC_MAX];
    uint32_t sessions_count, dialed_count;
    struct neighbor *neighbors; /* grows up to DIRECTORY_NEIGHBORS_MAX */
    uint32_t neighbors_count, neighbors_room;
    uint64_t due_ms; /* of the periodic one */
    uint32_t turn;
    bool is_established; /* see directory.h */
    struct member_queue spreading;
    uint32_t spreading_count;
    uint64_t spread_due_ms;
};

void sync_init(struct directory *d);
void sync_close(struct directory *d);
void sync_start(struct directory *d);

/** @return false: no room for another neighbor. */
bool sync_on_neighbor_up(struct directory *d, const struct peer_info *peer);
void sync_on_neighbor_down(struct directory *d, const struct node_id *id);
bool sync_has_neighbor(const struct directory *d, const struct node_id *id);

/** Now, if there is room; else it is left to the next occasion. */
void sync_request(struct directory *d, const struct member *m,
                  struct actions *out);

void sync_on_link_up(struct directory *d, link_id link, dial_id dial,
                     const struct peer_info *peer, struct actions *out);
void sync_on_link_down(struct directory *d, link_id link, enum link_end why,
                       argus_RefuseCode code);
void sync_on_dial_failed(struct directory *d, dial_id dial);
void sync_on_frame(struct directory *d, link_id link, const argus_Frame *frame,
                   struct actions *out);
void sync_forget(struct directory *d, struct member *m);
/** A neighbor's summary came. */
void sync_on_summary(struct directory *d, const struct node_id *peer,
                     uint64_t sum, bool are_events_same);
void sync_on_timeout(struct directory *d, struct actions *out);
uint64_t sync_deadline_ms(const struct directory *d);

#endif
