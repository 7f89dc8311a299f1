/* membership.h - whom this node talks to, and whom it could.
 *
 * One interface for all strategies; who uses it knows no other name than that
 * of the strategy it chooses:
 *   hyparview      a few random neighbors, symmetric; the mesh scales and mends
 *                  itself. Leitao, Pereira, Rodrigues, "HyParView" (DSN 2007,
 *                  technical report edition)
 *   full           everyone known is a neighbor
 *   client-server  aggregators are neighbors of each other, an agent of
 *                  some aggregators and of no agent
 *   static         the contacts, and whoever dials us; nobody else
 * Words are HyParView's: active view (neighbors: one TCP link each, symmetric),
 * passive view (addresses in reserve), JOIN, FORWARDJOIN, NEIGHBOR, SHUFFLE,
 * ARWL and PRWL. Where practice showed the paper to fall short the
 * code says "departs:" and why.
 *
 * All have in common: links are numbered by the owner (link_id); whatever comes
 * on a link that is not the one in force for its peer is ignored and counted. A
 * peer is active only after the handshake: at the acceptor when it says yes, at
 * the dialer when it hears the yes. One node is at most once in the views; of
 * two links to it the one of the newer generation stays, of equals the one that
 * the node with the lower id dialed.
 *
 * Beside the two views stand `lost` (nodes that died or fell silent: probed
 * slowly for ever, since that is what heals a partition) and the contacts
 * (Seeds). An evicted peer goes to the passive view, a dead one to lost. A
 * passive view that runs dry is filled again from the directory.
 *
 * Strategies mix in one mesh, since they speak the same messages and each node
 * decides for its own view alone. What a node does not want it refuses, and
 * tells whom else to ask.
 *
 * Zones: with zone_bias, hyparview exchanges neighbors now and then for nearer
 * ones (base/zone.h), up to all but HYPARVIEW_UNBIASED of its view, which stay
 * random: they hold the mesh together when a zone goes. See hyparview_near.c.
 *
 * Pure; all tables are bounded by the constants below or the options. Input
 * from the network is hostile: it can change views, not break them. */
#ifndef ARGUS_CORE_MEMBERSHIP_H
#define ARGUS_CORE_MEMBERSHIP_H

#include "core/actions.h"
#include "core/peer.h"

struct membership; /* opaque; one an engine */

#define MEMBERSHIP_DIAL_TAG 1

#define HYPARVIEW_ARWL 6 /* paper */
#define HYPARVIEW_PRWL 3 /* paper */
#define HYPARVIEW_SHUFFLE_ACTIVE 3
#define HYPARVIEW_SHUFFLE_PASSIVE 4
#define HYPARVIEW_UNBIASED 2 /* neighbors that no zone chooses, at least */

#define CLIENT_SERVERS 3 /* aggregators that an agent holds */

#define MEMBERSHIP_ACTIVE_LIMIT 32    /* highest active_max */
#define MEMBERSHIP_PASSIVE_LIMIT 4096 /* highest passive_max; meant by 0 */
#define MEMBERSHIP_NEIGHBORS_MAX 256  /* where active_max is not looked at */
#define MEMBERSHIP_LOST_MAX 64        /* oldest are dropped first */
#define MEMBERSHIP_CONTACTS_MAX 64
#define MEMBERSHIP_LINKS_MAX 320 /* MESH links at once; more are told BUSY */
#define MEMBERSHIP_DIALS_MAX 24  /* under way at once */
#define MEMBERSHIP_JOIN_BURST 20 /* joins accepted at once ... */
#define MEMBERSHIP_JOIN_RATE 20  /* ... and then a second */

enum membership_strategy {
    MEMBERSHIP_HYPARVIEW,
    MEMBERSHIP_FULL,
    MEMBERSHIP_CLIENT_SERVER,
    MEMBERSHIP_STATIC,
    MEMBERSHIP_STRATEGIES
};

struct membership_options {
    uint64_t seed;
    enum membership_strategy strategy;
    struct node_id id;
    uint32_t generation;
    argus_Role role;
    uint64_t zone;              /* zone_pack() */
    bool zone_bias;             /* of hyparview */
    char address[ADDRESS_SIZE]; /* ours; "" until known */
    uint32_t active_max;        /* 1..MEMBERSHIP_ACTIVE_LIMIT; of hyparview */
    uint32_t passive_max;       /* 0: MEMBERSHIP_PASSIVE_LIMIT */
    uint32_t shuffle_ms;
    uint32_t shuffle_rest; /* so many times as long between shuffles while the
                              neighbors stay; 0: 1 */
    uint32_t answer_ms;    /* wait for a NeighborReply; SuspectTimeout */
    const char *const *contacts;
    uint32_t contacts_count;
    bool calls; /* into the local network while alone; answers others' calls */
};

/* An entry of a view, for control and tests; or a member. */
struct membership_peer {
    struct node_id id;
    uint32_t generation; /* 0: not known */
    argus_Role role;
    uint64_t zone;
    const char *address; /* borrowed until the next input */
    link_id link;        /* 0: passive */
    bool is_near;        /* active, and chosen for its zone */
};

/* Which members are meant. */
struct membership_wish {
    bool live;       /* only those thought to be online */
    bool aggregator; /* only aggregators */
};

/* What the membership tells upward, from within its inputs. */
struct membership_listener {
    void *context;
    void (*neighbor_up)(void *context, link_id link,
                        const struct peer_info *peer, struct actions *out);
    /** why and code as the link ended; CLOSED with REFUSE_BYE when we or the
     *  peer only stopped being neighbors, or the peer left. */
    void (*neighbor_down)(void *context, link_id link,
                          const struct node_id *peer, enum link_end why,
                          argus_RefuseCode code, struct actions *out);
    /** A neighbor can be dialed there: worth keeping over a restart. */
    void (*learned_address)(void *context, const struct node_id *peer,
                            const char *address, struct actions *out);
    /** Is some member thought to be online at that address? */
    bool (*is_live_address)(void *context, const char *address);
    /** Does what is broadcast come or go by that active link? Then its loss
     *  costs more than that of another. */
    bool (*is_used)(void *context, link_id link);
    /** Is that node a member and thought to be online? */
    bool (*is_live)(void *context, const struct node_id *peer);
    /** Has it left for good? Then it is neither a candidate nor lost. */
    bool (*has_left)(void *context, const struct node_id *peer);
    /** A link to a node that we met at random will live for a moment: ask it
     *  what there is to ask. It ends by membership_met(), or by answer_ms.
     *  May be NULL: then it ends at once. */
    void (*met)(void *context, link_id link, struct actions *out);
    /** Some member that has not left, picked by a random number. The link is 0.
     *  @return false: there is none. */
    bool (*any_member)(void *context, uint32_t pick,
                       struct membership_wish wish,
                       struct membership_peer *out);
};

struct membership_stats {
    uint64_t join_sent, join_accepted, join_throttled;
    uint64_t neighbor_sent, neighbor_accepted, neighbor_rejected;
    uint64_t handshake_expired; /* asked, no answer in time */
    uint64_t link_replaced;     /* two links to one peer: one was closed */
    uint64_t link_refused;      /* a table was full */
    uint64_t peer_evicted;      /* made room for another */
    uint64_t peer_failed;       /* an active neighbor died or fell silent */
    uint64_t peer_lost;         /* entered lost */
    uint64_t peer_returned;     /* was lost, is back with the same life */
    uint64_t frame_stale;       /* on a link not in force, or out of turn */
    uint64_t shuffle_sent, shuffle_answered, shuffle_unasked;
    uint64_t audit_failed;  /* one-sided link found and ended */
    uint64_t probe_sent;    /* contacts and lost nodes tried while joined */
    uint64_t swap_sent;     /* links exchanged only to mix the overlay */
    uint64_t refilled;      /* members taken in when the passive view was dry */
    uint64_t dial_refused;  /* MEMBERSHIP_DIALS_MAX reached */
    uint64_t limit_reached; /* times that a view got full which should not */
    uint64_t unsuited;      /* refused, or let go: of a role not wanted here */
    uint64_t near_sent;     /* nearer peers asked to take another's place */
    uint64_t near_gained;   /* ... that did */
    uint64_t call_sent, call_heard;
    uint64_t call_known;    /* by a member, or by one who has its turn */
    uint64_t call_unsuited; /* by one who cannot be a neighbor here */
    uint64_t call_dropped;  /* callers were too many */
    uint64_t call_answered; /* dialed */
};

/** "hyparview", "full", "client-server", "static". */
const char *membership_strategy_name(enum membership_strategy strategy);

/** @return false: no such name. */
bool membership_strategy_find(const char *name, enum membership_strategy *out);

/** Most neighbors at once with those options. */
uint32_t membership_limit(const struct membership_options *options);

/** @retval ARGUS_EINVAL, ARGUS_ENOMEM; *out is written on ARGUS_OK only. */
int membership_new(const struct membership_options *options,
                   const struct membership_listener *listener,
                   struct membership **out);
void membership_free(struct membership *v);

/** Begin to look for others. */
void membership_start(struct membership *v, uint64_t now_ms,
                      struct actions *out);
void membership_on_link_up(struct membership *v, uint64_t now_ms, link_id link,
                           dial_id dial, const struct peer_info *peer,
                           struct actions *out);
void membership_on_link_down(struct membership *v, uint64_t now_ms,
                             link_id link, enum link_end why,
                             argus_RefuseCode code, struct actions *out);
void membership_on_dial_failed(struct membership *v, uint64_t now_ms,
                               dial_id dial, enum link_end why,
                               argus_RefuseCode code, struct actions *out);
/** Join, ForwardJoin, Neighbor, NeighborReply, Disconnect, Shuffle and
 *  ShuffleReply; any other is ignored. */
void membership_on_frame(struct membership *v, uint64_t now_ms, link_id link,
                         const argus_Frame *frame, struct actions *out);
void membership_on_timeout(struct membership *v, uint64_t now_ms,
                           struct actions *out);
uint64_t membership_deadline_ms(const struct membership *v);

/** The peer's half of the symmetry audit: it pinged on this link and said
 *  whether we are in its active view. */
void membership_on_audit(struct membership *v, uint64_t now_ms, link_id link,
                         bool active, struct actions *out);
/** Has the peer of some active link denied it? If not, and a peer confirms its
 *  active link, membership_on_audit() changes nothing. */
bool membership_has_doubts(const struct membership *v);

/** Is that the link of a meeting; see met above. */
bool membership_is_meeting(const struct membership *v, link_id link);
/** All that was asked there is answered. */
void membership_met(struct membership *v, uint64_t now_ms, link_id link,
                    struct actions *out);

/** A node is known to live (directory, disk, a link of another kind). Takes it
 *  into the passive view when there is room or it was thought lost. */
void membership_offer(struct membership *v, uint64_t now_ms,
                      const struct membership_peer *peer, struct actions *out);

/** A node is known to be dead or unreachable: no candidate any more. */
void membership_lose(struct membership *v, uint64_t now_ms,
                     const struct node_id *id, struct actions *out);

/** A node left for good: not even probed. */
void membership_forget(struct membership *v, const struct node_id *id);

/** Meet a mesh now; the address is kept as a contact. Also undoes leave.
 *  @retval ARGUS_EFULL  there are MEMBERSHIP_CONTACTS_MAX contacts. */
int membership_join(struct membership *v, uint64_t now_ms, const char *address,
                    struct actions *out);

/** A node calls on the local network, see callers.h; may be nobody we want.
 *  @param online  members thought to be online, this node included. */
void membership_on_call(struct membership *v, uint64_t now_ms,
                        const struct membership_peer *caller, uint32_t online,
                        struct actions *out);

/** Say goodbye to all and stay by oneself. */
void membership_leave(struct membership *v, uint64_t now_ms,
                      struct actions *out);

/** What peers are told of us from now on. */
void membership_set_address(struct membership *v, const char *address);
void membership_set_generation(struct membership *v, uint32_t generation);

bool membership_is_active_link(const struct membership *v, link_id link);
bool membership_is_active(const struct membership *v, const struct node_id *id);
uint32_t membership_active_count(const struct membership *v);
uint32_t membership_passive_count(const struct membership *v);
uint32_t membership_lost_count(const struct membership *v);

/** By index from 0; false: no such index. */
bool membership_active(const struct membership *v, uint32_t index,
                       struct membership_peer *out);
bool membership_passive(const struct membership *v, uint32_t index,
                        struct membership_peer *out);

const struct membership_stats *membership_stats(const struct membership *v);

/** What must always hold; asserted after each input. */
void membership_check(const struct membership *v);

#endif
