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
 * Invariants are checked after every event (the engine asserts its own); what
 * breaks one stops the run, and sim_failure() says what it was.
 *
 * Nodes are known by index from 0. Times are virtual milliseconds. */
#ifndef ARGUS_TESTS_SIM_H
#define ARGUS_TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

struct sim; /* opaque */

struct sim_options {
    uint64_t seed;
    uint32_t nodes;       /* node 0 is the one contact of all others */
    uint32_t aggregators; /* so many, from node 0 on; the rest are agents */
    uint32_t spread_ms;   /* starts are spread over this; 0: all at once */
    uint32_t latency_min_us, latency_max_us; /* one way; 0, 0: 200..2000 */
    uint32_t node_mbit;     /* what a node sends at most, Mbit/s; 0: no bound */
    uint32_t cut_ppm;       /* links reset, for a million frames */
    uint32_t offset_ms;     /* wall clocks are off by up to this */
    uint32_t active_max;    /* 0: 5 */
    uint32_t passive_max;   /* 0: 30 */
    uint32_t retain_events; /* 0: 10000 */
    bool quiet;             /* no node is started by sim_new() */
};

/** NULL: no memory. */
struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *s);

/** What broke, with the seed that replays it; NULL: nothing. */
const char *sim_failure(const struct sim *s);

uint64_t sim_now_ms(const struct sim *s);

/* ---- verbs */

/** One more node that knows `contact` alone (UINT32_MAX: nobody); started. */
uint32_t sim_add(struct sim *s, uint32_t contact);
void sim_start(struct sim *s, uint32_t node);
/** The process dies; its kernel resets the links. */
void sim_crash(struct sim *s, uint32_t node);
/** The machine dies: not a word to anybody. */
void sim_unplug(struct sim *s, uint32_t node);
/** SIGSTOP for so long. */
void sim_freeze(struct sim *s, uint32_t node, uint32_t ms);
/** The daemon is stopped in order. */
void sim_stop(struct sim *s, uint32_t node);
/** A stopped or dead node comes back: same identity, higher generation. */
void sim_restart(struct sim *s, uint32_t node);
void sim_crash_random(struct sim *s, uint32_t count);
/** Nodes below `first` and the others cannot reach each other any more. */
void sim_partition(struct sim *s, uint32_t first);
/** No faults from here on: partition over, links are not cut. */
void sim_heal(struct sim *s);
/** argusctl join. */
void sim_join(struct sim *s, uint32_t node, uint32_t contact);
/** Break one link of the active view of a node, as a network does. */
void sim_cut_random(struct sim *s);

uint32_t sim_random_alive(struct sim *s);
bool sim_is_alive(const struct sim *s, uint32_t node);
uint32_t sim_alive_count(const struct sim *s);

/** Put an event on the timeline; its fate is followed on every node. */
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
/** Every node lists exactly the living as online. */
bool sim_all_known(struct sim *s);
/** Each followed event is on every node that was up when it was sent. */
bool sim_all_delivered(struct sim *s);
/** Every value sent was written by some aggregator. */
bool sim_all_written(struct sim *s);

/** Every node has the same bundles in force, with all of their content, the same
 *  orders, and trusts the same keys. */
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

/** A counter of the living nodes that are not hostile, summed; see engine_counters(). */
uint64_t sim_counter(struct sim *s, const char *name);

/* ---- values: a collectd on every node */

/** Each agent sends `series` values every interval_ms from now on; 0: stop. */
void sim_values(struct sim *s, uint32_t series, uint32_t interval_ms);

#endif
