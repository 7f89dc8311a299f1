/* sim.h - many nodes in one process, in virtual time, on a network that fails.
 *
 * The nodes are the real engine (the object files of the plugin) and every
 * frame passes through wire/frame.c, so each scenario tries the codec too.
 *
 * What keeps a run repeatable: one seed; events at the same time are ordered by
 * a sequence number; each node has a generator of its own. What keeps it
 * honest: links keep TCP's promises (order, no silent loss) and break only as
 * TCP does, whole, with all that is in flight. A partition holds packets back
 * until it heals. Wall clocks have offsets.
 *
 * Invariants, beside those that the engine asserts: views within their bounds,
 * the node itself in none, nobody twice; no link one-sided for long; hybrid
 * clocks only go forward; tables within their bounds; nothing is delivered
 * twice; nobody honest in quarantine. What breaks one stops the run, and
 * sim_failure() says what it was.
 *
 * No thread, nothing buffered: after a warm-up a process may fork(), and each
 * child goes on from there.
 *
 * Nodes are known by index from 0. Times are virtual milliseconds. */
#ifndef ARGUS_TESTS_SIM_H
#define ARGUS_TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

struct sim; /* opaque */

/* How far apart nodes are, one way. A dial costs three ways. Packets on a link
 * stay in order, so a fast one behind a slow one waits. */
enum sim_latency {
    SIM_UNIFORM,    /* each packet anew, latency_min_us..latency_max_us */
    SIM_LOG_NORMAL, /* each pair of nodes once: latency_median_us and
                     * latency_sigma; each packet up to jitter_pct % more */
};

#define SIM_ZONES_MAX 16

struct sim_options {
    uint64_t seed;
    uint32_t nodes;       /* node 0 is the one contact of all others */
    uint32_t aggregators; /* so many, from node 0 on; the rest are agents */
    uint32_t spread_ms;   /* starts are spread over this; 0: all at once */
    uint32_t join_gap_us; /* one by one: node i starts at i times this; then
                           * spread_ms is not looked at */
    bool quiet;           /* no node is started by sim_new() */

    /* ---- what runs on a node */
    bool overlay_only;      /* light nodes: core/overlay without what the engine
                             * adds (directory, timeline, values, bundles). For
                             * thousands. Verbs and predicates that are about the
                             * rest say so below */
    bool pass_codec_by;     /* frames are copied, not encoded and decoded; bytes
                             * are then an estimate */
    const char *strategy;   /* NULL: "hyparview"; borrowed for sim_new() */
    uint32_t active_max;    /* 0: 5 */
    uint32_t passive_max;   /* 0: 30 */
    uint32_t ping_ms;       /* 0: 2000 */
    uint32_t suspect_ms;    /* 0: 3500 */
    uint32_t shuffle_ms;    /* 0: 10000; one cycle */
    uint32_t retain_events; /* 0: 10000 */
    uint32_t forget_ms;     /* RetainOffline; 0: a week */

    /* ---- network */
    enum sim_latency latency;
    uint32_t latency_min_us, latency_max_us; /* one way; 0, 0: 200..2000 */
    uint32_t latency_median_us;              /* of LOG_NORMAL; 0: 10000 */
    double latency_sigma;                    /* 0: 0.5 */
    uint32_t jitter_pct;
    uint32_t asymmetry_pct;  /* the two directions of a pair differ: one takes
                              * up to so much % more, the other as much less */
    uint32_t zones;          /* node i is in zone i modulo this; 0: no zones.
                              * At most SIM_ZONES_MAX */
    const uint32_t *zone_us; /* zones x zones: one way from row to column, on
                              * top of the latency; copied. NULL: 0 within,
                              * zone_far_us between */
    uint32_t zone_far_us;
    bool zone_bias;     /* hyparview prefers near neighbors; see membership.h */
    uint32_t node_mbit; /* what a node sends at most, Mbit/s; 0: no bound */
    uint32_t cut_ppm;   /* links reset, for a million frames */

    uint32_t offset_ms;       /* wall clocks are off by up to this, uniformly */
    uint32_t offset_sigma_us; /* ... or normally, by this deviation */
    uint32_t clock_peers;     /* K of core/clock.h; 0: as there. Light nodes */

    /* 0: the invariants of a node are checked after each event there, those of
     * the whole mesh once a cycle. Else: all of them each check_ms. */
    uint32_t check_ms;
    bool disks_off; /* nothing is kept on disks; else up to 256 nodes keep */
};

/** NULL: no memory, or an option is out of range. */
struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *s);

/** What broke, with the seed that replays it; NULL: nothing. */
const char *sim_failure(const struct sim *s);

/** The scenario demands something that did not come: as a broken invariant. */
void sim_break(struct sim *s, const char *why);

uint64_t sim_now_ms(const struct sim *s);
uint32_t sim_cycle_ms(const struct sim *s);

/* ---- the story: dials, links up and down, views, broadcasts, deliveries,
 * faults, lines that nodes log. text is borrowed for the call; no line ends. */
typedef void (*sim_line)(void *context, uint64_t now_us, uint32_t node,
                         const char *text);

/** NULL: no story (the default). node is UINT32_MAX where it is nobody's. */
void sim_trace(struct sim *s, sim_line line, void *context);

/* ---- verbs */

/** One more node that knows `contact` alone (UINT32_MAX: nobody); started. */
uint32_t sim_add(struct sim *s, uint32_t contact);
void sim_start(struct sim *s, uint32_t node);
/** The process dies; its kernel resets the links. */
void sim_crash(struct sim *s, uint32_t node);
/** The machine dies: not a word to anybody. */
void sim_unplug(struct sim *s, uint32_t node);
/** SIGSTOP for so long; where one lasts longer already, for that long. */
void sim_freeze(struct sim *s, uint32_t node, uint32_t ms);
/** The daemon is stopped in order. */
void sim_stop(struct sim *s, uint32_t node);
/** A stopped or dead node comes back: same identity, higher generation. */
void sim_restart(struct sim *s, uint32_t node);
void sim_crash_random(struct sim *s, uint32_t count);
/** So many machines die at the same moment, before anybody notices. */
void sim_unplug_random(struct sim *s, uint32_t count);
/** A second process with a copy of the disk: same id, generation after that of
 *  the copy; started. Of the two the later must take a new identity.
 *  @return its index. Full engines only. */
uint32_t sim_clone(struct sim *s, uint32_t node);
/** Each frame costs the node so long, one after another; 0: as others. */
void sim_slow(struct sim *s, uint32_t node, uint32_t us);

/* ---- partitions: one at a time; a new one takes the place of the old. What is
 * sent across is held back until the way is free again. */

/** Nodes below `first` and the others cannot reach each other any more. */
void sim_partition(struct sim *s, uint32_t first);
/** What the nodes from `first` on send does not come through to those below;
 *  the other way it does. New connections need both ways. */
void sim_partition_one_way(struct sim *s, uint32_t first);
/** As sim_partition() for cut_ms, whole for whole_ms, and so on. */
void sim_partition_flapping(struct sim *s, uint32_t first, uint32_t cut_ms,
                            uint32_t whole_ms);
/** A zone against all others. */
void sim_partition_zone(struct sim *s, uint32_t zone);
/** Crash all of a zone. */
void sim_crash_zone(struct sim *s, uint32_t zone);
/** No faults from here on: partition over, links are not cut, nobody slow. */
void sim_heal(struct sim *s);

/* ---- wall clocks; monotonic clocks are always right. */

/** Off by so much from true time, from now on; drift as it was. */
void sim_clock_offset(struct sim *s, uint32_t node, int64_t us);
/** It jumps, by so much. */
void sim_clock_step(struct sim *s, uint32_t node, int64_t us);
/** It runs fast (slow, if negative) by so much. */
void sim_clock_drift(struct sim *s, uint32_t node, double ppm);
/** It stands still for so long, and runs on from where it stood. */
void sim_clock_freeze(struct sim *s, uint32_t node, uint32_t ms);
/** How far it is off, in microseconds. */
int64_t sim_clock_error(const struct sim *s, uint32_t node);

/** argusctl join. */
void sim_join(struct sim *s, uint32_t node, uint32_t contact);
/** Break one link of the active view of a node, as a network does. */
void sim_cut_random(struct sim *s);

/** A Disconnect that a neighbor sent long ago arrives, by an old connection;
 * the link that the two have now is another. */
void sim_late_disconnect(struct sim *s, uint32_t node);

/** At random among the living; UINT32_MAX: there is none. */
uint32_t sim_random_alive(struct sim *s);
uint32_t sim_nodes(const struct sim *s);
uint32_t sim_zone(const struct sim *s, uint32_t node);
bool sim_is_alive(const struct sim *s, uint32_t node);
uint32_t sim_alive_count(const struct sim *s);

/** Put an event on the timeline (light nodes: broadcast the text); its fate is
 *  followed on every node. */
void sim_broadcast(struct sim *s, uint32_t node, const char *text);
/** Follow none of the events sent so far any more. */
void sim_forget(struct sim *s);

/** argusctl config push at a node: the version after the one in force there,
 *  with a text of `size` bytes; 0: a removal. @return as EVENT_BUNDLE_PUSH. */
int sim_push(struct sim *s, uint32_t node, const char *name, uint32_t size);
/** An operator (1 to 3, trusted everywhere) gives an order at a node: the
 *  version after the one in force there. order: an argus_Order.
 *  @return as EVENT_BUNDLE_PUSH. */
int sim_order(struct sim *s, uint32_t node, uint8_t operator_number,
              const void *order);
/** The version in force on a node; 0: none, or the node is down. */
uint32_t sim_bundle(struct sim *s, uint32_t node, const char *name,
                    bool *is_removed);
/** Keep a copy of a node's disk; put it in place of the one it has (while the
 *  node is down), without content of bundles. */
void sim_keep_disk(struct sim *s, uint32_t node);
void sim_old_disk(struct sim *s, uint32_t node);

/* ---- insiders: what is valid, and of no use */

enum sim_nonsense {
    NONSENSE_PING,
    NONSENSE_PONG,
    NONSENSE_IHAVE,
    NONSENSE_GRAFT,
    NONSENSE_PRUNE,
    NONSENSE_SHUFFLE,
    NONSENSE_WALK,
    NONSENSE_EVENT,   /* its own, over any rate */
    NONSENSE_STALE,   /* its own old record, in ever new envelopes */
    NONSENSE_MADE_UP, /* records of nodes that are not */
    NONSENSE_MISPLACED,
    NONSENSE_ALL, /* of each in turn */
    NONSENSE_KINDS
};

/** From now on the node is hostile: it fills each of its mesh links beside
 *  all that it does as a node; 0: it stops, and is hostile still. Predicates
 *  and followed events leave it out. That a node which is not hostile gets
 *  into quarantine breaks an invariant, in every scenario. */
void sim_insider(struct sim *s, uint32_t node, enum sim_nonsense what,
                 uint32_t frames_per_ms);
/** Frames that it has sent. */
uint64_t sim_flooded(const struct sim *s, uint32_t node);
/** Predicate: no hostile node has a link that is up. */
bool sim_is_shut_out(struct sim *s);

/* ---- time */

void sim_run(struct sim *s, uint32_t ms);

/** @return false: ms passed without it, or an invariant broke. */
bool sim_run_until(struct sim *s, bool (*predicate)(struct sim *s),
                   uint32_t ms);

/* ---- predicates, over the nodes that live */

/** One mesh, by links that both ends hold active. */
bool sim_is_connected(struct sim *s);
/** Every active link is held so by both its ends. */
bool sim_is_symmetric(struct sim *s);
/** Connected, symmetric, and nobody without a neighbor. */
bool sim_all_joined(struct sim *s);
/** Every node lists exactly the living as online; while the mesh is parted,
 *  those of its own side. */
bool sim_all_known(struct sim *s);
/** Each followed event is on every node that was up when it was sent. */
bool sim_all_delivered(struct sim *s);
/** Every value sent was written by some aggregator. */
bool sim_all_written(struct sim *s);

/** Every node keeps the same events, byte for byte and in the same order. */
bool sim_all_timelines(struct sim *s);

/** The whole replicated state is the same, byte for byte, on every node: the
 *  records and reports of the directory, the timeline, bundles, orders. */
bool sim_all_identical(struct sim *s);

/** Every node has the same bundles in force, with all of their content, the
 * same orders, and trusts the same keys. */
bool sim_all_bundles(struct sim *s);

/* ---- figures */

struct sim_figures {
    uint64_t events, frames; /* of the simulator; delivered */
    uint64_t gossip_delivered, gossip_duplicate;
    uint64_t links_cut;
    uint32_t active_min, active_max;
    double active_mean;
    uint64_t values_sent, values_written;
    uint64_t bytes_mesh, bytes_sync, bytes_bundle; /* sent, by kind of link */
};
void sim_figures(struct sim *s, struct sim_figures *out);

/* The overlay as a graph: the living nodes, their active links held by both
 * ends. */
#define SIM_DEGREES 64
struct sim_shape {
    uint32_t nodes;
    uint32_t islands;     /* connected components */
    uint32_t largest;     /* nodes of the largest */
    double path_mean;     /* hops, over all pairs (source, reachable node) */
    double hops_max_mean; /* longest shortest path from a source, averaged */
    uint32_t hops_max;    /* greatest of these */
    double clustering;    /* mean over nodes with two neighbors or more */
    uint32_t degree[SIM_DEGREES];    /* nodes with so many links; the last: or
                                      * more */
    uint32_t in_degree[SIM_DEGREES]; /* nodes that so many hold active */
    double degree_mean;
    uint32_t one_sided;  /* active links that the other end does not hold */
    uint32_t cross_zone; /* links between zones */
};
/** @param sources  nodes drawn to measure paths from; 0 or more than there are:
 *  all. */
void sim_shape(struct sim *s, uint32_t sources, struct sim_shape *out);

/* What became of a followed broadcast. */
struct sim_fate {
    uint32_t origin;
    uint64_t sent_ms;
    uint32_t due;       /* nodes that were up when it was sent, and still are */
    uint32_t reached;   /* of these */
    double reliability; /* reached / due */
    uint64_t payloads;  /* messages sent that carried it */
    double rmr;         /* payloads / (reached - 1) - 1; 0 with reached < 2 */
    uint32_t last_hop;  /* LDH: most links that a first copy crossed */
    uint64_t last_ms;   /* from sent to the last delivery */
    uint64_t cross_bytes, cross_payloads; /* of these messages, between zones */
};
/** By index from 0, in the order sent since sim_forget(). @return false: no
 *  such index. */
bool sim_fate(struct sim *s, uint32_t index, struct sim_fate *out);

/* Means over all that are followed. */
struct sim_fates {
    uint32_t count, complete; /* of these, with reliability 1 */
    double reliability, reliability_min;
    double rmr, rmr_max;
    double last_hop;
    uint32_t last_hop_max;
    double last_ms;
    double cross_bytes;
};
void sim_fates(struct sim *s, struct sim_fates *out);

/** Cycles until each of `probes` broadcasts, sent at the begin of a cycle by
 *  random nodes, reaches all: 0 when the first ones do. max + 1: never. Forgets
 *  what was followed before. */
uint32_t sim_healing(struct sim *s, uint32_t probes, uint32_t max);

/* What was sent since the start, by type of frame (tag of argus_Frame). */
#define SIM_FRAME_TYPES 64
struct sim_traffic {
    uint64_t messages[SIM_FRAME_TYPES], bytes[SIM_FRAME_TYPES];
    uint64_t messages_all, bytes_all;
    uint64_t cross_messages, cross_bytes; /* between zones */
    uint64_t links;                       /* made, whatever became of them */
};
void sim_traffic(const struct sim *s, struct sim_traffic *out);
/** "ping"; NULL: no such type. */
const char *sim_frame_name(uint32_t type);

/* Clocks of the living, in microseconds. */
struct sim_clocks {
    double hlc_ahead_mean; /* of hybrid clocks before the true time */
    int64_t hlc_ahead_max;
    int64_t error_max; /* of wall clocks, absolute */

    /* What core/clock.h makes of it. A clock is wrong from half a second on. */
    uint32_t right, wrong;
    uint32_t false_alarms, missed;
    uint32_t false_ever; /* of those that are right now: they once had one */
    double estimate_median, estimate_p99; /* error, of those that are right */
    uint32_t stepped;                     /* saw their clock step */
    uint32_t drifting, drift_false;       /* say it; of these, it is not so */
};
void sim_clocks(struct sim *s, struct sim_clocks *out);

/** A counter of the living nodes that are not hostile, summed; see
 * engine_counters(). */
uint64_t sim_counter(struct sim *s, const char *name);

/* ---- values: a collectd on every node */

/** Each agent sends `series` values every interval_ms from now on; 0: stop. */
void sim_values(struct sim *s, uint32_t series, uint32_t interval_ms);

#endif
