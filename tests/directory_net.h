/* directory_net.h - directories on a small simulated network, for their tests.
 *
 * Virtual time; links keep order and lose nothing; frames pass the codec. A
 * broadcast floods from neighbor to neighbor as long as it is news. Seals are a
 * checksum: enough to tell a forged statement from a sound one. */
#ifndef ARGUS_TESTS_DIRECTORY_NET_H
#define ARGUS_TESTS_DIRECTORY_NET_H

#include "core/directory.h"

#define NET_NODES_MAX 64
#define NET_NEIGHBORS_MAX 16
#define NET_LATENCY_MS 2
#define NET_DIAL_TIMEOUT_MS 3000 /* as connect_ms of the transport */
#define NET_WALL_US UINT64_C(1700000000000000)

/* ---- The stand-in for Ed25519; context: the id of the node. */
size_t fake_close(void *context, const argus_Statement *statement,
                  uint8_t out[SEALED_SIZE_MAX]);
bool fake_open(void *context, const uint8_t *data, size_t size,
               argus_Statement *statement, struct node_id *author);
/** An encoded Statement, as whoever knows the format better may have made it.
 */
size_t fake_seal(const struct node_id *author, const uint8_t *statement,
                 size_t size, uint8_t out[SEALED_SIZE_MAX]);

struct net;

struct net_node {
    struct net *net;
    uint32_t index;
    struct node_id id;
    struct engine_options options;
    struct directory *d;
    bool is_alive;
    bool is_mute;  /* takes connections and says nothing, as if stopped */
    uint32_t side; /* nodes of other sides cannot be reached */
    uint32_t neighbors[NET_NEIGHBORS_MAX];
    uint32_t neighbors_count;
    uint32_t broadcasts, new_identities, raised, forgotten;
    argus_RefuseCode close_code; /* of the last close it asked for */
    uint64_t stamp;
    struct actions out;
};

struct net {
    struct net_node nodes[NET_NODES_MAX];
    uint32_t count;
    uint64_t now_ms;
    struct net_event *events; /* by time, then sequence */
    uint64_t sequence;
    link_id links;
    struct net_link {
        uint32_t a, b; /* dialer, other side */
        bool is_open;
    } * link;
    uint32_t link_room;
    uint64_t frames, frame_bytes_max;
};

struct net *net_new(uint32_t count, uint64_t seed);
void net_free(struct net *net);
struct actions *net_out(struct net_node *node);
uint64_t net_wall_us(const struct net *net);

/** Node i gets an id, a name "n<i>", an address "10.0.0.<i>:1" and a
 *  directory; not started yet. */
void net_make(struct net *net, uint32_t i, uint64_t seed);
void net_start(struct net *net, uint32_t i);
void net_connect(struct net *net, uint32_t a, uint32_t b);
/** A ring with chords: each node has about `degree` neighbors. */
void net_connect_all(struct net *net, uint32_t degree);

/** Gone without a word: links reset, dials refused. */
void net_kill(struct net *net, uint32_t i);
/** Neighbors that cannot reach each other any more find each other silent. */
void net_break_sides(struct net *net);
void net_run(struct net *net, uint64_t for_ms);
/** @return milliseconds it took, or UINT64_MAX. */
uint64_t net_run_until(struct net *net, bool (*is_so)(struct net *net),
                       uint64_t within_ms);

/** Every live node counts as many online as there are alive on its side, all
 *  of which know the same. */
bool net_is_agreed(struct net *net);

#endif
