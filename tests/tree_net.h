/* tree_net.h - a small network of broadcast trees in virtual time, to test
 * plumtree.c alone: the overlay is given, nobody joins or shuffles.
 *
 * As TCP: each direction of a link keeps its order and loses nothing, until
 * the link breaks with all that is under way. Latencies are random for each
 * link and jitter a little with each frame. The same seed gives the same run.
 */
#ifndef ARGUS_TESTS_TREE_NET_H
#define ARGUS_TESTS_TREE_NET_H

#include "base/prng.h"
#include "core/plumtree.h"

#define NET_NODES_MAX 256
#define NET_DEGREE_MAX 16
#define NET_MESSAGES_MAX 4096

struct net_link {
    link_id id; /* seen from both ends alike; never used twice */
    int peer;   /* -1: free */
    uint32_t latency_us;
    uint64_t last_us; /* arrival of the last frame sent from here */
};

struct net_node {
    struct plumtree *tree;
    struct net_link links[NET_DEGREE_MAX];
    bool dead;
};

struct net_message {
    int origin;
    uint64_t sent_us;
    uint32_t expected; /* nodes alive when it was sent, less the origin */
    uint32_t delivered;
    uint32_t hops_max;
};

struct net_event;

struct net_options {
    uint64_t seed;
    int nodes;
    int degree;
    uint32_t latency_min_us, latency_max_us;          /* one way, of a link */
    uint32_t jitter_us;                               /* of a frame, on top */
    void (*adjust)(struct plumtree_options *options); /* or NULL */
};

struct net {
    struct net_options options;
    struct prng prng;
    struct net_node nodes[NET_NODES_MAX];
    struct net_message messages[NET_MESSAGES_MAX];
    uint32_t messages_count;
    uint8_t got[NET_NODES_MAX][NET_MESSAGES_MAX]; /* times delivered */
    uint32_t *latencies_us; /* of all deliveries, in order */
    uint32_t latencies_count;
    link_id link_last;
    uint64_t now_us;
    uint64_t sequence;
    struct net_event **heap;
    uint32_t heap_count, heap_size;
    uint32_t payload_size;
    int acting;                /* node whose actions are being carried out */
    uint32_t acting_round;     /* round of the frame it handles */
    uint64_t frames_malformed; /* links closed as malformed */
};

/** A connected random overlay; every tree link is up. Aborts without memory. */
struct net *tree_net_new(const struct net_options *options);
void tree_net_free(struct net *net);

/** @return number of the message. */
uint32_t tree_net_broadcast(struct net *net, int origin);

void tree_net_run(struct net *net, uint64_t duration_us);

/** Until nothing is under way and no IHave or Graft waits; at most limit_us. */
bool net_run_until_quiet(struct net *net, uint64_t limit_us);

void tree_net_connect(struct net *net, int a, int b);
/** Both ends hear of it a latency later; what is under way is lost. */
void tree_net_cut(struct net *net, int a, struct net_link *link);
void tree_net_kill(struct net *net, int node);
/** Give each node alive new random links up to the degree; connect islands. */
void tree_net_mend(struct net *net);

/** Of the messages from first on: how many nodes alive did not get one? */
uint32_t tree_net_missed(const struct net *net, uint32_t first);
/** How often was a message delivered more than once at a node? */
uint32_t tree_net_repeated(const struct net *net);

struct net_sums {
    uint64_t delivered, duplicate, grafts, prunes, gossip_sent;
};
struct net_sums tree_net_sums(const struct net *net);

/** Latency below which a share of the deliveries from the one given lies. */
double net_latency_ms(struct net *net, uint32_t from, double share);

/** Greatest number of links on the way of a message. */
uint32_t net_hops_max(const struct net *net, uint32_t first);

#endif
