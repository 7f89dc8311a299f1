/* sim_impl.h - shared by the files of the simulator:
 *   sim.c           nodes, steps, verbs about nodes
 *   sim_time.c      what happens when: a wheel of happenings; running
 *   sim_net.c       links
 *   sim_frame.c     frames on their way; what is counted of them
 *   sim_distance.c  latencies
 *   sim_faults.c    partitions, slow nodes, wall clocks, clones
 *   sim_disk.c      what a node keeps
 *   sim_node.c      what runs on a node: an engine, or the overlay alone
 *   sim_check.c     predicates and invariants
 *   sim_follow.c    broadcasts and their fate
 *   sim_measure.c   the overlay as a graph, figures
 *   sim_graph.c     the graph alone
 *   sim_insider.c   nodes that are hostile
 *   sim_values.c    a collectd on each node
 *   sim_bundles.c   pushed configuration
 *   sim_seal.c      the cheap stand-in for Ed25519 */
#ifndef ARGUS_TESTS_SIM_IMPL_H
#define ARGUS_TESTS_SIM_IMPL_H

#include <uthash.h>

#include "base/lines.h"
#include "base/prng.h"
#include "core/engine_impl.h"
#include "sim/bundle_kit.h"
#include "sim/sim.h"

#define SIM_PORT 25827
#define SIM_NOBODY UINT32_MAX
#define SIM_DIAL_WAIT_US 3000000
#define FRAME_CLASSES 5
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

/** heal of a packet that has come as far as the kernel of a frozen node. */
#define HEAL_NEEDLESS UINT8_MAX

/* Something that will happen. Taken from a pool: there are millions. Which
 * members of the unions are meant follows from `what`. */
struct happening {
    uint64_t at_us, sequence;
    struct happening *next; /* in a slot of the wheel, or free */
    uint32_t node;
    uint32_t life;    /* of the node; another one by then: nothing happens */
    uint8_t what : 7; /* enum what */
    bool is_encoded : 1;
    uint8_t why;   /* enum link_end */
    uint8_t code;  /* argus_RefuseCode */
    uint8_t heal;  /* as of its side when it was queued there */
    uint32_t size; /* of bytes */
    union {
        struct cable *cable; /* of packets: UP, FRAME, FIN, RESET */
        uint64_t number;     /* of a value */
    };
    union {
        struct dialing *dialing; /* CONNECT, DIAL_END, UP */
        uint64_t token;          /* of a value; CLOSED: the link */
    };
    union {
        uint8_t *bytes;  /* FRAME; owned */
        uint64_t series; /* of a value */
    };
};

/* A connection. side 0 dialed. What each frame asks for is in the first cache
 * line. */
struct cable {
    uint64_t number;     /* serial << CABLE_SLOT_BITS | slot */
    uint32_t references; /* the table's and those of happenings */
    bool is_broken;      /* whatever is in flight is gone */
    bool is_listed;      /* in the table, and at its nodes */
    bool is_cross;       /* between zones */
    uint8_t kind;        /* argus_LinkKind */
    struct {
        uint64_t last_us; /* arrival of the last packet sent to this side */
        uint32_t node, life;
        uint32_t distance_us; /* to this side, without what varies */
        bool is_up;
        uint8_t heal; /* the last that set free packets on that way */
    } side[2];
    _Alignas(LINE_SIZE) struct {
        struct cable *next, *previous; /* in order of age */
    } of_node[2];
    uint64_t one_sided_us; /* seen so first, and ever since; 0: not */
    uint64_t behind_us[2]; /* behind what was held back on its way to a side */
    uint32_t arrived[2];   /* sequence of the last one there, its lower half;
                            * since the first partition */
};
_Static_assert(sizeof(struct cable) == 2 * LINE_SIZE, "");

struct stored {
    struct node_id id;
    enum store_what what;
    uint8_t *data;
    uint32_t size;
    char address[ADDRESS_SIZE];
};

struct sim_node {
    /* Asked for with each happening; the first three cache lines. */
    struct engine *engine; /* NULL: down, or a light node */
    struct overlay *light; /* NULL: down, or a full one */
    uint32_t life;         /* counts starts and ends */
    uint32_t index;
    uint64_t timer_us; /* scheduled first; UINT64_MAX: none */
    uint64_t later_us; /* scheduled too, known to be so; UINT64_MAX: none */
    uint64_t boot_us;  /* of its monotonic clock */
    uint64_t frozen_until_us;
    uint64_t last_hlc;

    /* its wall clock: at clock_us of true time it stood at wall_us */
    uint64_t clock_us, wall_us;
    double drift; /* microseconds a microsecond */
    uint64_t clock_frozen_until_us;
    struct sim *sim;
    uint32_t slow_us; /* what a frame costs */
    uint8_t zone;
    uint8_t side; /* of a partition */
    bool bundles_changed;
    bool wants_identity; /* it found itself to be a clone */
    uint64_t sent_us;    /* its wire is busy until then */
    uint64_t work_us;    /* it is busy until then, if slow */

    uint64_t bytes_sent[8]; /* by kind of link */

    uint32_t epoch; /* of its clock, on disk */
    struct cable *cables, *cables_last;
    uint32_t alive_at; /* place in sim.alive; SIM_NOBODY: not in it */
    bool is_aggregator, is_unplugged, is_stopping, is_hostile;

    uint32_t active_bound, passive_bound; /* of its views; 0: not hyparview */

    /* of light nodes */
    uint32_t island; /* as it was seen last: its node of the least number */
    const uint8_t *light_payload; /* to be broadcast in this step */
    size_t light_payload_size;

    struct node_id id;
    uint32_t generation;
    uint64_t instance;
    uint64_t seed;
    uint32_t contact;
    uint64_t started_us, started_wall_us;
    struct stored *disk;
    uint32_t disk_count, disk_room;
    struct collectd *collectd; /* of sim_values.c */

    /* of sim_insider.c */
    enum sim_nonsense nonsense;
    uint32_t flood_per_ms;
    uint64_t flooded; /* frames */

    /* of sim_bundles.c */
    struct kit_chunks chunks; /* on disk */
    struct head *heads;
    uint32_t heads_count;
    uint64_t bundles_told; /* times */
    uint32_t keys_told;    /* other orders about keys came in force */
    uint32_t revoked;      /* operators' keys, when it was last looked at */
    struct stored *kept;   /* the disk as it once was */
    uint32_t kept_count;
};

struct sim {
    struct sim_options options;
    enum membership_strategy strategy;
    struct prng prng;
    uint64_t now_us, sequence;
    struct sim_node **nodes;
    uint32_t nodes_count;
    uint32_t *alive; /* indices of nodes, in no order */
    uint32_t alive_count, alive_room;
    uint32_t starts_pending; /* scheduled, not done */
    struct wheel *wheel;     /* of sim_time.c */

    /* of sim_net.c */
    struct cable **cables; /* by slot; NULL: free */
    uint32_t *cables_free;
    uint32_t cables_room, cables_free_count, cables_used;
    uint64_t cables_made;

    /* of sim_faults.c */
    struct happening **stuck; /* behind a partition, in order */
    uint32_t stuck_count, stuck_room;
    uint64_t behind_us; /* the latest of all cables */
    uint8_t heal;       /* of the network: number of the last */
    bool is_parted, is_one_way;
    bool is_any_slow;
    uint32_t flap_cut_ms, flap_whole_ms;
    uint64_t flap_at_us; /* UINT64_MAX: not flapping */
    uint64_t fault_us;   /* when the last fault began or ended */

    /* of sim_follow.c */
    struct follow *follow;
    uint32_t hop; /* links that the frame at hand has crossed */

    /* of sim_check.c */
    uint64_t check_at_us;

    uint64_t events, frames, links_cut;
    struct sim_traffic traffic;
    uint8_t *blocks[FRAME_CLASSES]; /* free ones, of sim_frame.c */
    uint32_t *zone_us;              /* zones x zones */
    struct ledger *ledger;          /* of sim_values.c */
    struct kit_pool *pool;          /* of chunks */
    uint32_t values_series, values_interval_ms;
    sim_line line;
    void *line_context;
    bool is_failed;
    char failure[512];
};

static inline bool node_is_up(const struct sim_node *n)
{
    return n->engine != NULL || n->light != NULL;
}

/* sim.c */
void *sim_alloc(size_t size);
void *sim_alloc_lines(size_t size);
/** For count + 1 elements: doubles when count is a power of two. */
void *sim_grow(void *array, uint32_t count, size_t size);
void sim_fail(struct sim *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sim_step(struct sim *s, struct sim_node *n, struct event *event);
void sim_on_action(void *context, const struct action *a);
uint64_t sim_mono_ms(const struct sim *s, const struct sim_node *n);
void sim_down(struct sim *s, struct sim_node *n);
void sim_on_happening(struct sim *s, struct sim_node *n, struct happening *h);
/** Is it among the living now? To be called after whatever may change that. */
void sim_count_alive(struct sim *s, struct sim_node *n);
/** A node that knows `contact` alone; not started. */
struct sim_node *sim_new_node(struct sim *s, uint32_t contact);
void sim_new_identity(struct sim *s, struct sim_node *n);
/** A line of the story. Ask first: `if (s->line != NULL)`. */
void sim_tell(struct sim *s, uint32_t node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* sim_time.c */
struct wheel *wheel_new(void);
void wheel_free(struct sim *s);
struct happening *sim_schedule(struct sim *s, uint64_t at_us, enum what what,
                               uint32_t node);
/** The same in a life of the node that the caller knows (SIM_NOBODY: whichever
 *  there is then), so that the node itself need not be looked at. */
struct happening *sim_schedule_in(struct sim *s, uint64_t at_us, enum what what,
                                  uint32_t node, uint32_t life);
/** One that was taken out is put in again. */
void sim_schedule_again(struct sim *s, struct happening *h, uint64_t at_us);
/** Gives it back to the pool. */
void sim_drop(struct sim *s, struct happening *h);

/* sim_faults.c */
/** @return true: a partition holds that packet back, or what one held back and
 *  is still on its way: it comes later. */
bool faults_hinder(struct sim *s, struct happening *h);
/** The way itself is checked, for partitions reorder it: a packet that arrives
 *  before one that was sent earlier fails the run. */
void faults_check_order(struct sim *s, const struct happening *h);
/** When a node gets to a frame that arrives at at_us. */
uint64_t faults_queue(struct sim_node *n, uint64_t at_us);
bool faults_is_parted(const struct sim *s, uint32_t from, uint32_t to);
void faults_flap(struct sim *s);
void faults_new_clock(struct sim *s, struct sim_node *n);
uint64_t sim_wall_us(const struct sim *s, const struct sim_node *n);

/* sim_distance.c */
bool distance_init(struct sim *s);
/** From one node to the other, without what varies from packet to packet. */
uint32_t distance_between(const struct sim *s, uint32_t from, uint32_t to);
uint32_t distance_vary(struct sim *s, uint32_t base_us);

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
uint32_t simnet_peer_of(const struct happening *h);
/** NULL: there is no such connection any more. */
struct cable *simnet_find(const struct sim *s, link_id link);
int simnet_side(const struct cable *c, uint32_t node);
/** By which the engine at that side knows it. */
link_id simnet_link(const struct cable *c, int side);
void simnet_cut(struct sim *s, struct cable *c);
void simnet_release(struct sim *s, struct cable *c);
void simnet_forget_dialing(struct dialing *d);
void simnet_free(struct sim *s);
void simnet_address(uint32_t node, char out[ADDRESS_SIZE]);
/** Its Zone: "z2"; "" without zones. */
void simnet_zone(const struct sim_node *n, char out[8]);
argus_Role simnet_role(const struct sim_node *n);
/** SIM_NOBODY: none. */
uint32_t simnet_node_at(const struct sim *s, const char *address);

static inline bool what_is_packet(uint8_t what)
{
    return what == WHAT_UP || what == WHAT_FRAME || what == WHAT_FIN ||
           what == WHAT_RESET;
}

/* sim_frame.c */
/** @return its size on the wire, an estimate if the codec is passed by; 0: it
 *  cannot be encoded, and the run has failed. */
uint32_t frame_pack(struct sim *s, const struct sim_node *n,
                    const argus_Frame *frame, struct happening *out);
/** NULL: it does not parse, and the run has failed. */
const argus_Frame *frame_unpack(struct sim *s, const struct happening *h);
/** Give back its bytes. */
void frame_free(struct sim *s, struct happening *h);
void frame_free_all(struct sim *s);
/** Count a frame that is sent. */
void frame_count(struct sim *s, const struct cable *c, const argus_Frame *frame,
                 uint32_t size);
uint32_t frame_measure(const argus_Frame *frame);
/** See overlay_prefetch_id(). */
void frame_prefetch(const struct happening *h, const struct overlay *to);

/* sim_disk.c */
void disk_on_store(struct sim *s, struct sim_node *n, const struct action *a);
void disk_load(struct sim *s, struct sim_node *n);
bool disk_is_used(const struct sim *s);
/** What is on it now; the data are copies. */
struct stored *disk_copy(const struct sim_node *n, uint32_t *count);
void disk_clear(struct sim_node *n);

/* sim_node.c */
/** Bring an engine or a light node to life, with all that is on its disk.
 *  @return false: no memory. */
bool node_start(struct sim *s, struct sim_node *n);
void node_free(struct sim_node *n);
void node_step(struct sim_node *n, const struct event *event,
               struct actions *out);
uint64_t node_deadline_ms(const struct sim_node *n);
uint64_t node_counter(const struct sim_node *n, const char *name);
/** The hybrid clock, as it stands. */
uint64_t node_hlc(const struct sim *s, const struct sim_node *n);

/* A neighbor, or a candidate: then link is 0. */
struct sim_peer {
    struct node_id id;
    link_id link;
};
/** By index from 0. @return false: no such index. */
bool node_active(const struct sim_node *n, uint32_t index,
                 struct sim_peer *out);
bool node_passive(const struct sim_node *n, uint32_t index,
                  struct sim_peer *out);
uint32_t node_active_count(const struct sim_node *n);
uint32_t node_passive_count(const struct sim_node *n);
bool node_holds(const struct sim_node *n, link_id link);
const struct plumtree *node_tree(const struct sim_node *n);
struct overlay *node_overlay(const struct sim_node *n);

/* sim_check.c */
/** After a step of a node. */
void check_node(struct sim *s, struct sim_node *n);
/** When check_at_us has come. */
void check_mesh(struct sim *s);
/** The link of an active peer is held active by the other end too, which lives.
 *  @param peer  NULL, or who that is. */
bool check_is_mutual(const struct sim *s, const struct sim_peer *p,
                     struct sim_node **peer);

/** The overlay of the living; node i of the graph is s->alive[i]. The counts
 *  are added to, where not NULL. */
struct graph;
void check_graph(struct sim *s, struct graph *out, uint32_t *one_sided,
                 uint32_t *cross);
void check_graph_free(struct graph *g);

/* sim_follow.c */
void follow_new(struct sim *s);
void follow_free(struct sim *s);
/** A full engine sealed an event. */
void follow_sealed(struct sim *s, const uint8_t *packed, size_t size);
void follow_sent(struct sim *s, const argus_Gossip *gossip, uint32_t size,
                 bool is_cross);
/** @return false: an echo, which came when the tree had forgotten it. */
bool follow_delivered(struct sim *s, struct sim_node *n,
                      const uint8_t id[CONTENT_ID_SIZE]);
void follow_timeline(struct sim *s, struct sim_node *n, const struct action *a);

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
