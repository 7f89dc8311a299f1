/* links.h - every link that is up, whatever its kind: who is at the other end,
 * how far away, and whether it still answers.
 *
 * TCP says at once when a peer's process dies, and nothing at all when its
 * machine or the network does (a half-open connection). So MESH and
 * METRICS links are pinged when nothing came for ping_ms; one on which nothing
 * came for suspect_ms although it was pinged is closed and reported silent.
 * Links of the active view are pinged every ping_ms even when busy, by their
 * two ends in turn: ping and pong say how the sender stands to the receiver, of
 * which "you are in my active view" is the symmetry audit.
 *
 * Round trip and clock offset come from the four stamps of ping and pong (NTP);
 * of the last 8 samples the one with the least round trip counts.
 *
 * A node that comes late to its own timers (stopped, overloaded) has no right
 * to accuse others: it gives every link a fresh full wait (Lifeguard, Dadgar,
 * Phillips, Currey 2018).
 *
 * Hostile input: a pong that answers no ping of ours, or whose stamps cannot
 * be, is counted and ignored. Bounds: links_max, peer_links_max.
 *
 * Useless frames: each peer has a budget, one for all of its links, that lives
 * on for a while when they end: LINKS_BUDGET_RATE a second, LINKS_BUDGET_BURST
 * at once. A frame costs a token (what makes more work costs more, see
 * links.c); one that brought news gets it back by links_refund(). A broadcast
 * that is known here may come once more by every other link for nothing:
 * links_know(). Whoever has no token left is flooding. What an
 * honest node does at most stays well below: see origins.h, and
 * OVERLAY_WALKS_RATE for what it passes on. */
#ifndef ARGUS_CORE_LINKS_H
#define ARGUS_CORE_LINKS_H

#include "core/actions.h"
#include "core/peer.h"

struct links; /* opaque; one an engine */

/** Accepted links leave so many of links_max to our own dials. */
#define LINKS_RESERVED 32

#define LINKS_BUDGET_RATE 2000
#define LINKS_BUDGET_BURST 10000
#define LINKS_COPIES_MAX 10000  /* copies of broadcasts that are yet to come */
#define LINKS_UP_COST 50        /* of a link that comes up */
#define LINKS_ACCOUNTS_MAX 1024 /* of peers that have no link just now */
#define LINKS_STRIKES_MS 60000  /* strikes further back do not count */

struct links_options {
    uint64_t seed;
    uint32_t ping_ms;
    uint32_t jitter_ms; /* a ping comes up to so much later */
    uint32_t suspect_ms;
    uint32_t links_max;      /* > LINKS_RESERVED */
    uint32_t peer_links_max; /* accepted from one node at a time */
};

/* What links tells upward, from within its inputs. */
struct links_listener {
    void *context;
    /** A link fell silent: it is closed and forgotten already; no other word
     *  of it will come. peer is borrowed for the call. */
    void (*silent)(void *context, link_id link, const struct peer_info *peer,
                   struct actions *out);
    /** What to tell the peer of a MESH link about itself and us: all but
     *  whether it is active. */
    void (*standing)(void *context, link_id link, argus_Standing *out);
    /** What the peer told, with a ping or pong. */
    void (*told)(void *context, link_id link, const argus_Standing *standing,
                 struct actions *out);
    /** A ping was answered: a sample of the peer's clock, which was ahead of
     *  ours by so much, give or take half the round trip. May be NULL. */
    void (*measured)(void *context, link_id link, const struct peer_info *peer,
                     int64_t round_trip_us, int64_t offset_us);
    /** A peer has used up its budget. Its links are still open. */
    void (*flooded)(void *context, link_id link, const struct peer_info *peer,
                    struct actions *out);
};

struct links_stats {
    uint64_t ping_sent, pong_received;
    uint64_t pong_refused;    /* no such ping, or stamps that cannot be */
    uint64_t link_silent;     /* closed for silence */
    uint64_t link_refused;    /* a bound was reached */
    uint64_t timer_missed;    /* we came late and accused nobody */
    uint64_t frame_unknown;   /* on a link that is closed or was never up */
    uint64_t peer_flooded;    /* times that a budget was used up */
    uint64_t peer_struck;     /* frames that broke a rule and cost the link */
    uint64_t account_dropped; /* the budget of a peer, forgotten too early */
};

/** @retval ARGUS_EINVAL, ARGUS_ENOMEM; *out is written on ARGUS_OK only. */
int links_new(const struct links_options *options,
              const struct links_listener *listener, struct links **out);
void links_free(struct links *l);

/** @return false: refused with REFUSE_BUSY; the link was never up. */
bool links_on_link_up(struct links *l, uint64_t now_ms, link_id link,
                      dial_id dial, const struct peer_info *peer,
                      struct actions *out);

/** @return false: not known (closed for silence before). After true the link
 *  is still there; links_forget() ends it. */
bool links_on_link_down(struct links *l, link_id link);
void links_forget(struct links *l, link_id link);

/** Any frame came on a link. Pings and pongs are dealt with here.
 *  @return false: on no link that is up; ignore it. */
bool links_on_frame(struct links *l, uint64_t now_ms, uint64_t wall_us,
                    link_id link, const argus_Frame *frame,
                    struct actions *out);

/** The frame that came last on a link was of use: so many tokens back. */
void links_refund(struct links *l, link_id link, uint32_t tokens);

/** It was worse than useless: so many more. */
void links_charge(struct links *l, uint64_t now_ms, link_id link,
                  uint32_t tokens, struct actions *out);

/** A broadcast has become known here. @param by  who brought it; 0: we. */
void links_know(struct links *l, link_id by);

/** The peer broke a rule. @return how often in LINKS_STRIKES_MS. */
uint32_t links_strike(struct links *l, uint64_t now_ms, link_id link);

/** Close all links of a node; its budget begins anew. */
void links_close_peer(struct links *l, const struct node_id *id,
                      argus_RefuseCode code, const char *text,
                      struct actions *out);

void links_on_timeout(struct links *l, uint64_t now_ms, uint64_t wall_us,
                      struct actions *out);
uint64_t links_deadline_ms(const struct links *l);

/** Ping on a link now; for those that do not live until the next ping. */
void links_ping(struct links *l, uint64_t now_ms, uint64_t wall_us,
                link_id link, struct actions *out);

/** We have asked for this link to be closed: nothing is sent or believed on
 *  it any more. @return false: it is not up or was closed before. */
bool links_on_close(struct links *l, link_id link);

/** The peer has come into our active view by this link, or has left it. */
void links_set_active(struct links *l, link_id link, bool is_active);
bool links_is_active(const struct links *l, link_id link);

/** Can a frame be sent on it? */
bool links_is_open(const struct links *l, link_id link);

/** NULL: not up. Borrowed until the link is forgotten. */
const struct peer_info *links_peer(const struct links *l, link_id link);

/** Did we dial it, and by which dial? 0: accepted, or not up. */
dial_id links_dial(const struct links *l, link_id link);

/** Best sample of the last 8. offset: the peer's clock minus ours.
 *  @return false: none yet. */
bool links_clock(const struct links *l, link_id link, int64_t *rtt_us,
                 int64_t *offset_us);

/** See overlay_prefetch(). Stages 0 to 2. @param link  a frame came on it. */
void links_prefetch(const struct links *l, unsigned stage, link_id link);

uint32_t links_count(const struct links *l);
const struct links_stats *links_stats(const struct links *l);

#endif
