/* route_world.h - agents (spool) and aggregators (intake) on a tiny network in
 * virtual time, with a stand-in for collectd behind each aggregator and a
 * ledger of what was written.
 *
 * The network keeps TCP's promises: order, nothing lost silently, a link breaks
 * whole with all in flight. Every frame goes through the codec. The stand-in
 * has several write threads: a value is written at a random moment after its
 * thread took it, and then seen, for argus' callback is collectd's last.
 *
 * The ledger holds at each write: in one life of an aggregator the values of a
 * series are written in order and none twice. The same seed gives the same
 * run. */
#ifndef ARGUS_TESTS_ROUTE_WORLD_H
#define ARGUS_TESTS_ROUTE_WORLD_H

#include "core/intake.h"
#include "core/spool.h"

#define WORLD_AGENTS_MAX 8
#define WORLD_AGGREGATORS_MAX 8

struct world_options {
    uint64_t seed;
    uint32_t agents, aggregators;
    uint32_t hosts;  /* of an agent */
    uint32_t series; /* of a host */
    uint32_t values; /* of a series */
    uint32_t interval_ms;
    uint32_t threads;     /* write threads of the stand-in */
    uint32_t swap_ppm;    /* values that come after their successor */
    uint32_t stopped_ppm; /* series that a chain stops before the cache */
    uint32_t passing_ppm; /* series that a chain gives to other writers only */
    uint32_t redispatch_max;
    uint32_t drop_ppm;  /* values that collectd's queue limit drops */
    uint64_t bytes_max; /* of a spool; 0: plenty */
    uint32_t queue_max; /* of an intake; 0: 4096 */
    bool order_known;
};

struct world; /* opaque */

struct world *world_new(const struct world_options *options);
void world_free(struct world *w);

/** Let time pass. */
void world_run(struct world *w, uint32_t ms);

/** Until all that was published is acknowledged or dropped.
 *  @return false: not within limit_ms. */
bool world_settle(struct world *w, uint32_t limit_ms);

/* Faults. */
void world_break_links(struct world *w, uint32_t aggregator);
void world_kill(struct world *w, uint32_t aggregator);
void world_stop(struct world *w, uint32_t aggregator); /* clean */
void world_start(struct world *w, uint32_t aggregator);
void world_freeze(struct world *w, uint32_t aggregator, uint32_t ms);
/** collectd's writers hang: nothing is seen or written. */
void world_hang_writers(struct world *w, uint32_t aggregator, uint32_t ms);
bool world_is_alive(const struct world *w, uint32_t aggregator);

struct spool *world_spool(struct world *w, uint32_t agent);
struct intake *world_intake(struct world *w, uint32_t aggregator);
uint64_t world_now(const struct world *w);
void world_flush(struct world *w, uint32_t agent);

/* The ledger. */
struct world_ledger {
    uint64_t published;
    uint64_t written;  /* different values, by whichever aggregator */
    uint64_t stopped;  /* different values that a chain stopped */
    uint64_t missing;  /* published, neither written nor stopped */
    uint64_t disorder; /* written behind a newer one, or twice, in one life */
    uint64_t garbled;  /* written with other contents than published */
    uint64_t spinning; /* timeouts that did not move the deadline */
};
struct world_ledger world_ledger(const struct world *w);

/** Oldest value of a series that was written; UINT32_MAX: none. */
uint32_t world_first_written(const struct world *w, uint32_t series);
uint32_t world_series(const struct world *w);
const char *world_host(const struct world *w, uint32_t series);

/** Which aggregator wrote last of a series; UINT32_MAX: none. */
uint32_t world_last_writer(const struct world *w, uint32_t series);

#endif
