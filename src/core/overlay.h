/* overlay.h - links, membership and broadcast tree of one node, wired together.
 *
 * What an engine stands on, and all that a light node of the simulator has: who
 * is connected (links.h), who is a neighbor (membership.h), how a broadcast
 * reaches everyone (plumtree.h), the hybrid clock that every frame carries
 * (hlc.h) and what other clocks say of ours (clock.h): asked are the neighbors,
 * whom we dialed, and one random node a shuffle (its walk's other end). It
 * knows no directory: what it must know of members it asks its listener, and a
 * listener that answers nothing will do.
 *
 * A part never calls another: the overlay carries what one tells to the next,
 * and to the owner.
 *
 * Actions: whatever the owner sends, dials or closes by its own parts goes
 * through overlay_actions() as well. There a frame gets its stamp, nothing is
 * sent on a link that is closing, and no link is closed twice; what remains is
 * passed to the sink.
 *
 * Pure, as all of the core: overlay_advance() says what time it is for the
 * calls that follow. Memory grows with the links and with what was broadcast
 * lately; nothing is allocated for a frame that brings no news. */
#ifndef ARGUS_CORE_OVERLAY_H
#define ARGUS_CORE_OVERLAY_H

#include "core/clock.h"
#include "core/hlc.h"
#include "core/links.h"
#include "core/membership.h"
#include "core/plumtree.h"

struct overlay; /* opaque; one a node */

/** Links of every kind at once, and accepted from one node. */
#define OVERLAY_LINKS_MAX 4096
#define OVERLAY_PEER_LINKS_MAX 12

/** ForwardJoin and Shuffle taken from neighbors, most of which are passed on. A
 *  join makes some 30 of them in the whole mesh; one that is lost is one
 *  candidate less. So its neighbors have no reason to take an honest node for
 *  the source of a flood; see links.h. */
#define OVERLAY_WALKS_RATE 200
#define OVERLAY_WALKS_BURST 1000

/** Shuffles of a mesh at rest are at most so much more seldom. */
#define SHUFFLE_REST_MAX 4

struct overlay_options {
    /* seed is that of the membership; answer_ms and shuffle_rest are set from
     * what stands below. */
    struct membership_options membership;
    uint64_t tree_seed;
    const struct plumtree_options *tree; /* NULL: plumtree_defaults(). Copied;
                                          * seed, rank, hash and neighbors_max
                                          * are set from here */
    void (*hash)(const uint8_t *data, size_t size,
                 uint8_t out[CONTENT_ID_SIZE]); /* seal.hash */
    uint32_t ping_ms;
    uint32_t suspect_ms;
    uint64_t started_ms; /* wall clock */
    uint64_t hlc_mark;   /* see hlc_init() */
    uint32_t clock_max_offset_ms;
    uint32_t clock_alarm_ms;  /* 0: CLOCK_ALARM_MS */
    uint32_t clock_window_ms; /* 0: one shuffle, and at least CLOCK_TICK_MS */
    uint32_t clock_peers;     /* 0: CLOCK_PEERS */
};

/* What the overlay tells and asks, from within its inputs. NULL: the owner does
 * not care, or knows nobody; deliver alone must be there. */
struct overlay_listener {
    void *context;

    /** A broadcast not seen before; see plumtree.h. */
    enum plumtree_verdict (*deliver)(void *context, link_id from,
                                     const uint8_t *payload, size_t size,
                                     const uint8_t id[CONTENT_ID_SIZE]);

    /* As in membership.h. */
    void (*neighbor_up)(void *context, link_id link,
                        const struct peer_info *peer, struct actions *out);
    void (*neighbor_down)(void *context, link_id link,
                          const struct node_id *peer, enum link_end why,
                          argus_RefuseCode code, struct actions *out);
    void (*learned_address)(void *context, const struct node_id *peer,
                            const char *address, struct actions *out);
    bool (*is_live_address)(void *context, const char *address);
    bool (*is_live)(void *context, const struct node_id *peer);
    bool (*has_left)(void *context, const struct node_id *peer);
    bool (*any_member)(void *context, uint32_t pick,
                       struct membership_wish wish,
                       struct membership_peer *out);

    /** A link of any kind is up; told before the membership hears of it. */
    void (*link_up)(void *context, link_id link, dial_id dial,
                    const struct peer_info *peer);
    /** A link of another kind than MESH ended, in whatever way. */
    void (*link_down)(void *context, link_id link, const struct peer_info *peer,
                      enum link_end why, argus_RefuseCode code);
    /** A frame on a link of another kind, and one on a MESH link that is not
     * the overlay's; Ping and Pong never come.
     *  @return false: links of that kind never have it. */
    bool (*frame)(void *context, link_id link, const struct peer_info *peer,
                  const argus_Frame *frame);
    /** The peer used up its budget; see links.h. */
    void (*flooded)(void *context, const struct peer_info *peer);
    /** The peer broke a rule, and the link is being closed for it. From within
     *  some part: what follows from it must wait for the end of the step. */
    void (*broken)(void *context, link_id link);
};

struct overlay_stats {
    uint64_t frame_received, frame_sent;
    uint64_t frame_misplaced; /* of a type that its kind of link never has */
    uint64_t send_dropped;    /* on a link that is closing */
    uint64_t walk_limited; /* ForwardJoin, Shuffle: over OVERLAY_WALKS_RATE */
};

/**
 * @param sink  copied; takes what the node asks of the world.
 * @param out   written on ARGUS_OK only; overlay_free() takes it down.
 * @retval ARGUS_EINVAL, ARGUS_ENOMEM
 */
int overlay_new(const struct overlay_options *options,
                const struct overlay_listener *listener,
                const struct actions *sink, struct overlay **out);
void overlay_free(struct overlay *o);

/** The time of all calls that follow: monotonic, which never goes back, and
 *  Unix, which may jump. */
void overlay_advance(struct overlay *o, uint64_t now_ms, uint64_t wall_us);

/** The same where time passes while the machine is suspended; see clock.h. */
void overlay_advance_boot(struct overlay *o, uint64_t now_ms, uint64_t boot_us,
                          uint64_t wall_us);

/** What to stamp with, and to judge stamps by: the wall clock, or the mesh's
 *  time while the wall clock is alarmed. */
uint64_t overlay_time_us(const struct overlay *o);
/** The clocks as last told. */
const struct clock_reading *overlay_reading(const struct overlay *o);
/** enum clock_news since the last call. */
unsigned overlay_take_clock_news(struct overlay *o);
/** Begin a clock epoch: the hybrid clock goes on from overlay_time_us(), back
 *  if need be. @return false: it is no later one; nothing changed. */
bool overlay_begin_epoch(struct overlay *o, uint32_t epoch);

/** Where the owner's other parts put their actions. Borrowed. */
struct actions *overlay_actions(struct overlay *o);

/** Begin to look for others. */
void overlay_start(struct overlay *o);
/** This node is about to go; see plumtree_hurry(). */
void overlay_hurry(struct overlay *o);
/** Say goodbye to all neighbors and stay by oneself. */
void overlay_leave(struct overlay *o);
/** Meet a mesh now; see membership_join(). */
int overlay_join(struct overlay *o, const char *address);

/** A node calls on the local network; see membership_on_call(). */
void overlay_on_call(struct overlay *o, const struct membership_peer *caller,
                     uint32_t online);

/** @return false: refused; the link was never up, and a dial of the owner's
 *  own has failed with LINK_END_LOCAL and REFUSE_BUSY. */
bool overlay_on_link_up(struct overlay *o, link_id link, dial_id dial,
                        const struct peer_info *peer);
void overlay_on_link_down(struct overlay *o, link_id link, enum link_end why,
                          argus_RefuseCode code);
/** @return false: no dial of the overlay's. */
bool overlay_on_dial_failed(struct overlay *o, dial_id dial, enum link_end why,
                            argus_RefuseCode code);
void overlay_on_frame(struct overlay *o, link_id link,
                      const argus_Frame *frame);
void overlay_on_timeout(struct overlay *o);
uint64_t overlay_deadline_ms(const struct overlay *o);

/** To everyone but this node. @return false: see plumtree_broadcast(). */
bool overlay_broadcast(struct overlay *o, const uint8_t *payload, size_t size);

/** What the next input will read is asked for in stage 0, what that points to
 *  in 1, and so on to OVERLAY_STAGES - 1; for owners of thousands of nodes,
 * whose memory no cache holds, some time before the input. Changes nothing.
 *  @param link  a frame is coming on it; 0: something else. */
#define OVERLAY_STAGES 5
void overlay_prefetch(const struct overlay *o, unsigned stage, link_id link);
/** The same for a broadcast that is coming, or the announcement of one; after
 *  stage 2. */
void overlay_prefetch_id(const struct overlay *o,
                         const uint8_t id[CONTENT_ID_SIZE]);

/* Its parts, for questions, and for inputs that are theirs alone: offers and
 * losses of members, budgets of peers. Borrowed. */
struct links *overlay_links(struct overlay *o);
struct membership *overlay_membership(struct overlay *o);
struct plumtree *overlay_tree(struct overlay *o);
struct hlc *overlay_hlc(struct overlay *o);
struct clock *overlay_clock(struct overlay *o);
const struct overlay_stats *overlay_stats(const struct overlay *o);

#endif
