/* router.h - which aggregator takes the values of a host, and who is next in
 * line. Every node that knows the same aggregators gives the same answer.
 *
 * Source: Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit
 * Rates" (1998: rendezvous hashing), with the weights of Schindelhauer and
 * Schomaker, "Weighted Distributed Hash Tables" (2005): the score of a pair is
 * -weight / ln(u), u in (0, 1) being the hash of host and aggregator. A host
 * falls to an aggregator in proportion to its weight; when one joins, only the
 * hosts that fall to it move, about 1/N.
 *
 * Locality comes before score: a zone is a path, most general part first
 * ("eu1/rack4"), and of two aggregators the one that shares more leading parts
 * with our own zone wins.
 *
 * Pure; memory is taken in router_set() alone. One thread. */
#ifndef ARGUS_CORE_ROUTER_H
#define ARGUS_CORE_ROUTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/node_id.h"
#include "core/actions.h"

/** Aggregators that are looked at; of more, those with the least ids. */
#define ROUTER_AGGREGATORS_MAX 1024

struct aggregator {
    struct node_id id;
    char name[128];
    char zone[128];
    char address[ADDRESS_SIZE];
    float weight; /* share of the hosts; 0: only when no other is left */
    bool usable;  /* online; an unusable one is ranked, but gets nothing */
};

/* How well an aggregator suits a key; see router_is_better(). */
struct router_score {
    uint32_t near; /* leading parts of the zone that are shared */
    double score;
};

struct router; /* opaque */

/** @param zone  our own; copied, cut at 127 bytes. @retval ARGUS_ENOMEM */
int router_new(const char *zone, struct router **out);
void router_free(struct router *r);

/**
 * Replace the list; copied, and kept in order of ids.
 * @param list  no id twice.
 * @retval ARGUS_ENOMEM  the old list stands.
 * @retval ARGUS_EFULL   taken, but cut at ROUTER_AGGREGATORS_MAX.
 */
int router_set(struct router *r, const struct aggregator *list, uint32_t count);

uint32_t router_count(const struct router *r);

/** By position in order of ids; valid until the next router_set(). */
const struct aggregator *router_at(const struct router *r, uint32_t position);

/** Hash of what the choice hangs on: the host. */
uint64_t router_key(const char *host);

struct router_score router_score(const struct router *r, uint32_t position,
                                 uint64_t key);

/** Strict order: nearer, then higher score, then the lesser position. */
bool router_is_better(const struct router_score *a, uint32_t a_position,
                      const struct router_score *b, uint32_t b_position);

/**
 * The aggregator with `index` others before it in the order of preference.
 * For people: costs a comparison of each with each.
 * @param host   the key, or an identifier: the part before the first "/"
 * counts.
 * @param score  may be NULL.
 * @return NULL: no such index.
 */
const struct aggregator *router_rank(const struct router *r, const char *host,
                                     uint32_t index,
                                     struct router_score *score);

#endif
