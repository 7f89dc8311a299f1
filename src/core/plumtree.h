/* plumtree.h - broadcast along a tree that repairs itself.
 *
 * Source: Leitao, Pereira, Rodrigues, "Epidemic Broadcast Trees", SRDS 2007
 * (TR-07-14). Words are the paper's: a payload is pushed over eager links and
 * announced (IHave) over lazy ones; a copy too many prunes its link, an
 * announced payload that does not come is fetched by a graft. Where we leave
 * the paper, the comment says "departs:" and gives the reason.
 *
 * Vocabulary: a message is known by its content id, computed by each receiver,
 * never believed. Its round is the number of links it crossed before the link
 * it came by. A neighbor is a link of the active view.
 *
 * departs, for many senders: when several messages spread at once, each would
 * cut the cycles of the overlay at another place, and the tree would fall apart
 * (riak_core #378). So one message at a time, the surveyor, decides about
 * prunes: of those received within a while, the one of the least id, which is
 * the same nearly everywhere. The first receipts of one message are a spanning
 * tree by themselves.
 *
 * departs from §3.8 (tree optimisation): what is a detour for the messages of
 * one sender is the way of another's. By announcements alone the tree of many
 * senders never rests, each change is a cycle and its duplicates, and it drifts
 * towards a spanning tree drawn at random, which is deep. So the tree has a
 * root, the node of least rank; neighbors tell each other how far they are from
 * it along the tree (Standing, on the pings that links have anyway, as bridges
 * do in the spanning tree protocol, Perlman 1985), and who has a shorter way by
 * a lazy link takes that in place of its own. Nodes that send steadily rank
 * first: a single sender is the root of its tree. From any sender nobody is
 * farther than twice the root's farthest. Distances are times, so that between
 * zones far links are few.
 *
 * departs: the wait before a Graft (§3.5, timeout1) follows what this node
 * measures, by how much the copies of one message differ in time of arrival.
 * The retry (timeout2) is half of it, a Prune waits for a quarter of it.
 *
 * What holds: as long as a link lasts, each of its ends pushes or announces to
 * the other whatever it delivers. So wherever the overlay is connected, each
 * node hears of each message, whatever the prunes cut: pruning too much costs
 * time (a graft), never a message.
 *
 * Pure: time arrives with each call (milliseconds, never going back), effects
 * leave in struct actions. Every table is bounded and expires; a failed malloc
 * is a counted refusal. */
#ifndef ARGUS_CORE_PLUMTREE_H
#define ARGUS_CORE_PLUMTREE_H

#include "core/actions.h"
#include "core/seal.h"

struct plumtree; /* opaque; one per mesh, used from one thread only */

/* plumtree_defaults() fills all but seed, rank and hash. */
struct plumtree_options {
    uint64_t seed; /* of the jitter */
    uint32_t rank; /* of this node as root, not 0; drawn once, by its id */
    void (*hash)(const uint8_t *data, size_t size,
                 uint8_t out[CONTENT_ID_SIZE]); /* seal.hash */
    uint32_t graft_wait_ms; /* least time from IHave to Graft; grows with
                               what is measured, see below */
    uint32_t graft_wait_max_ms;
    uint32_t announce_wait_ms; /* IHaves are collected for so long */
    uint32_t shortcut_gap_ms;  /* between two tree optimisations of a node */
    uint32_t prune_gap_ms;     /* least time between two Prunes on a link */
    uint32_t grafts_per_s;     /* sent on a link; twice that are answered */
    uint32_t neighbors_max;
    uint32_t missing_max;      /* announced ids remembered; oldest go first */
    uint32_t missing_link_max; /* of these, first announced by one link */
    uint32_t missing_ms;       /* an id that nobody delivers is given up */
    uint32_t seen_max;         /* ids of messages known; oldest go first */
    uint32_t seen_ms;
    uint32_t cache_bytes_max; /* payloads kept for Grafts; oldest go first */
    uint32_t cache_ms;
    uint32_t recent_ms; /* what a new neighbor is told of */
    uint32_t recent_max;
};

enum plumtree_verdict {
    PLUMTREE_NEWS,  /* valid and new: forward it */
    PLUMTREE_STALE, /* valid, but known otherwise or overtaken: no further */
    PLUMTREE_BAD,   /* damaged or signed wrongly: closes the link it came by */
};

struct plumtree_listener {
    void *context;
    /** A message not seen before, or not within seen_ms; called before it is
     *  forwarded. While links break all the time copies go around for longer:
     *  who calls those stale that it knows ends that. May broadcast and take
     *  neighbors up and down; no frame or timeout comes from within. */
    enum plumtree_verdict (*deliver)(void *context, link_id from,
                                     const uint8_t *payload, size_t size,
                                     const uint8_t id[CONTENT_ID_SIZE]);
};

struct plumtree_stats {
    uint64_t broadcast_sent;    /* messages of our own */
    uint64_t broadcast_refused; /* too large, seen before, or no memory */
    uint64_t gossip_delivered;  /* first copies that were news */
    uint64_t gossip_stale;
    uint64_t gossip_bad;
    uint64_t gossip_duplicate;
    uint64_t gossip_sent;
    uint64_t ihave_sent; /* ids, not frames */
    uint64_t ihave_received;
    uint64_t graft_sent;
    uint64_t graft_received;
    uint64_t graft_delayed;    /* over grafts_per_s, sent later */
    uint64_t graft_unanswered; /* asked for what is no longer cached */
    uint64_t graft_limited;    /* asked for more than grafts_per_s */
    uint64_t prune_sent;
    uint64_t prune_received;
    uint64_t prune_limited;    /* duplicates that pruned nothing */
    uint64_t shortcut_taken;   /* tree optimisations, §3.8 */
    uint64_t frame_stranger;   /* from a link that is no neighbor */
    uint64_t frame_malformed;  /* broke a bound; closes the link */
    uint64_t neighbor_refused; /* more than neighbors_max */
    uint64_t missing_dropped;  /* pushed out by newer ones */
    uint64_t missing_refused;  /* over missing_link_max, or no memory */
    uint64_t missing_expired;  /* announced, never delivered */
    uint64_t seen_dropped;     /* pushed out before seen_ms */
    uint64_t cache_dropped;    /* pushed out before cache_ms */
    uint64_t memory_refused;   /* malloc failed */
};

void plumtree_defaults(struct plumtree_options *options);

/**
 * A tree with no neighbors; plumtree_free() takes it down.
 * @param out  written on ARGUS_OK only.
 * @retval ARGUS_EINVAL  an option is out of range.
 * @retval ARGUS_ENOMEM
 */
int plumtree_new(const struct plumtree_options *options,
                 const struct plumtree_listener *listener,
                 struct plumtree **out);
void plumtree_free(struct plumtree *p);

/** The link entered the active view at this end. A second call for a link, and
 *  the loss of a link that is no neighbor, change nothing. */
void plumtree_neighbor_up(struct plumtree *p, uint64_t now_ms, link_id link,
                          struct actions *out);
void plumtree_neighbor_down(struct plumtree *p, uint64_t now_ms, link_id link,
                            struct actions *out);

/** Send a message of our own to everyone; it is not delivered here.
 *  @return false: empty, too large, known already or no memory; counted. */
bool plumtree_broadcast(struct plumtree *p, uint64_t now_ms,
                        const uint8_t *payload, size_t size,
                        struct actions *out);

/** This node is about to go: what it broadcasts from here on is pushed over
 *  every link there is, for nobody will be able to ask for it later. */
void plumtree_hurry(struct plumtree *p);

/** Gossip, IHave, Graft and Prune; other frames are not for this part. */
void plumtree_on_frame(struct plumtree *p, uint64_t now_ms, link_id link,
                       const argus_Frame *frame, struct actions *out);

void plumtree_on_timeout(struct plumtree *p, uint64_t now_ms,
                         struct actions *out);

/** What to tell the neighbor of our place in the tree: fills all but active. */
void plumtree_standing(struct plumtree *p, uint64_t now_ms, link_id link,
                       argus_Standing *out);

/** A neighbor told of its place. @param rtt_us  of the link, at best. */
void plumtree_on_standing(struct plumtree *p, uint64_t now_ms, link_id link,
                          const argus_Standing *standing, uint64_t rtt_us,
                          struct actions *out);
uint64_t plumtree_deadline_ms(const struct plumtree *p);

/** false for a link that is lazy, and for one that is no neighbor. */
bool plumtree_is_eager(const struct plumtree *p, link_id link);

/** See overlay_prefetch(); stages 0 and 1. */
void plumtree_prefetch(const struct plumtree *p, unsigned stage);
void plumtree_prefetch_id(const struct plumtree *p,
                          const uint8_t id[CONTENT_ID_SIZE]);

const struct plumtree_stats *plumtree_stats(const struct plumtree *p);

/* How full the tables are now. */
struct plumtree_usage {
    uint32_t neighbors, eager;
    uint32_t seen, missing;
    uint32_t cache_bytes;
    uint32_t graft_wait_ms; /* as measured */
};
void plumtree_usage(const struct plumtree *p, struct plumtree_usage *out);

#endif
