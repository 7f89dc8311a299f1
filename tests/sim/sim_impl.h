/* sim_impl.h - shared by the files of the simulator:
 *   sim.c        time, nodes, verbs
 *   sim_net.c    links
 *   sim_check.c  predicates and followed events
 *   sim_insider.c  nodes that are hostile
 *   sim_values.c a collectd on each node
 *   sim_bundles.c  pushed configuration
 *   sim_seal.c   the cheap stand-in for Ed25519 */
#ifndef ARGUS_TESTS_SIM_IMPL_H
#define ARGUS_TESTS_SIM_IMPL_H

#include <uthash.h>

#include "base/prng.h"
#include "core/engine_impl.h"
#include "sim/bundle_kit.h"
#include "sim/sim.h"

#define SIM_PORT 25827
#define SIM_NOBODY UINT32_MAX
#define SIM_DIAL_WAIT_US 3000000
#define SIM_WALL_START_US 1700000000000000ull

enum what {
    WHAT_TIMER,
    WHAT_START,
    WHAT_EXIT,     /* of a node that was stopped in order */
    WHAT_CONNECT,  /* the Hello of a dialer arrives */
    WHAT_DIAL_END, /* a dial is refused, denied or has waited long enough */
    WHAT_UP,       /* the Hello of the acceptor arrives */
    WHAT_FRAME,
    WHAT_FIN, /* Refuse, then end of file */
    WHAT_RESET,
    WHAT_CLOSED, /* our own close is through */
    WHAT_SEEN,   /* collectd's write callback */
    WHAT_VALUES,
    WHAT_FLOOD,
};

struct dialing; /* of sim_net.c */
struct cable;

/* Something that will happen. Owned by the heap. */
struct happening {
    uint64_t at_us, sequence;
    enum what what;
    uint32_t node;
    uint32_t life; /* of the node; another one by then: nothing happens */
    struct cable *cable;
    struct dialing *dialing;
    enum link_end why;
    argus_RefuseCode code;
    uint64_t token, series, number; /* of a value; token: a link too */
    uint32_t size;
    uint8_t *bytes; /* owned */
};

/* A connection. side 0 dialed. */
struct cable {
    uint64_t number;
    uint32_t references; /* the table's and those of happenings */
    bool is_broken;      /* whatever is in flight is gone */
    argus_LinkKind kind;
    struct {
        uint32_t node, life;
        bool is_up;
        uint64_t last_us; /* arrival of the last packet sent to this side */
    } side[2];
    UT_hash_handle hh;
};

struct stored {
    struct node_id id;
    enum store_what what;
    uint8_t *data;
    uint32_t size;
    char address[ADDRESS_SIZE];
};

struct sim_node {
    uint32_t index;
    struct engine *engine; /* NULL: down */
    uint32_t life;         /* counts starts and ends */
    uint32_t generation;
    struct node_id id;
    uint64_t instance;
    uint64_t seed;
    uint64_t boot_us; /* of its monotonic clock */
    int64_t offset_us;
    uint32_t contact;
    bool is_aggregator, is_unplugged, is_stopping;
    uint64_t frozen_until_us;
    uint64_t timer_us; /* scheduled; UINT64_MAX: none */
    uint64_t started_us;
    uint64_t last_hlc;
    uint8_t side; /* of a partition */
    struct stored *disk;
    uint32_t disk_count, disk_room;
    struct sim *sim;
    struct collectd *collectd; /* of sim_values.c */
    uint64_t sent_us;          /* its wire is busy until then */
    uint64_t bytes_sent[8];    /* by kind of link */

    /* of sim_insider.c */
    bool is_hostile;
    enum sim_nonsense nonsense;
    uint32_t flood_per_ms;
    uint64_t flooded; /* frames */

    /* of sim_bundles.c */
    struct kit_chunks chunks; /* on disk */
    struct head *heads;
    uint32_t heads_count;
    bool bundles_changed;
    uint64_t bundles_told; /* times */
    uint32_t keys_told;    /* other orders about keys came in force */
    uint32_t revoked;      /* operators' keys, when it was last looked at */
    struct stored *kept;   /* the disk as it once was */
    uint32_t kept_count;
};

struct followed {
    uint32_t origin;
    uint32_t generation;
    uint64_t number;
    uint64_t sent_us;
    uint32_t *life; /* by node: of the receiver, plus one; 0: not received */
    uint32_t nodes;
};

struct sim {
    struct sim_options options;
    struct prng prng;
    uint64_t now_us, sequence;
    struct sim_node **nodes;
    uint32_t nodes_count;
    uint32_t starts_pending; /* scheduled, not done */
    struct happening **heap;
    uint32_t heap_count, heap_room;
    struct cable *cables;
    uint64_t cables_made;
    struct happening **stuck; /* behind a partition, in order */
    uint32_t stuck_count, stuck_room;
    bool is_parted;
    struct followed *followed;
    uint32_t followed_count;
    uint64_t events, frames, links_cut;
    struct ledger *ledger; /* of sim_values.c */
    struct kit_pool *pool; /* of chunks */
    uint32_t values_series, values_interval_ms;
    bool is_failed;
    char failure[512];
};

/* sim.c */
void *sim_alloc(size_t size);
void sim_fail(struct sim *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct happening *sim_schedule(struct sim *s, uint64_t at_us, enum what what,
                               uint32_t node);
void sim_drop(struct sim *s, struct happening *h);
void sim_step(struct sim *s, struct sim_node *n, struct event *event);
uint64_t sim_mono_ms(const struct sim *s, const struct sim_node *n);
uint64_t sim_wall_us(const struct sim *s, const struct sim_node *n);
void sim_down(struct sim *s, struct sim_node *n);

/* sim_net.c */
void simnet_dial(struct sim *s, struct sim_node *n, const struct action *a);
void simnet_send(struct sim *s, struct sim_node *n, const struct action *a);
/** A frame that no engine made. */
void simnet_inject(struct sim *s, struct sim_node *n, struct cable *c, int side,
                   const argus_Frame *frame);
void simnet_close(struct sim *s, struct sim_node *n, const struct action *a);
void simnet_arrive(struct sim *s, struct sim_node *n, struct happening *h);
/** All links of a node end; with_reset: and its peers are told. */
void simnet_end_node(struct sim *s, struct sim_node *n, bool with_reset);
bool simnet_is_parted(const struct sim *s, uint32_t a, uint32_t b);
uint32_t simnet_peer_of(const struct happening *h);
void simnet_cut(struct sim *s, struct cable *c);
void simnet_release(struct sim *s, struct cable *c);
void simnet_free(struct sim *s);
void simnet_address(uint32_t node, char out[ADDRESS_SIZE]);

/* sim_check.c */
void check_timeline(struct sim *s, struct sim_node *n, const struct action *a);
void check_free(struct sim *s);

/* sim_values.c */
void values_on_action(struct sim *s, struct sim_node *n,
                      const struct action *a);
void values_on_happening(struct sim *s, struct sim_node *n,
                         struct happening *h);
void values_describe(const void *set, argus_SeriesDef *def);
void values_down(struct sim *s, struct sim_node *n);
void values_free(struct sim *s);
void values_figures(const struct sim *s, uint64_t *sent, uint64_t *written);

/* sim_bundles.c */
void bundles_check(struct sim *s, struct sim_node *n);
void bundles_forget(struct sim_node *n);
void bundles_drop_kept(struct sim_node *n);

/* sim_insider.c */
void insider_on_flood(struct sim *s, struct sim_node *n);

/* sim_seal.c */
struct seal sim_seal(struct sim_node *n);

#endif
