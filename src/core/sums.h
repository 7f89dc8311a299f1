/* sums.h - what a directory keeps, as sums over ranges of ids: two that are
 * equal are found to be so by one number, and else by where they differ.
 *
 * A Merkle tree of two levels, the root and SUMS_MAX leaves at most, about
 * twice the square root of the members: a session that finds one difference in
 * 10,000 members costs 2 KiB of leaves and one page of 40 entries. Sums are
 * modulo 2^64 of a hash of each entry, so that the order does not matter.
 *
 * departs from keeping the sums up to date with each change: one pass over
 * 10,000 members takes a fifth of a millisecond, twice a minute, and leaves no
 * state that could be wrong.
 *
 * An insider can choose versions of its own record so that sums of different
 * sets meet; it hides a difference between two nodes so, until either compares
 * with a third. */
#ifndef ARGUS_CORE_SUMS_H
#define ARGUS_CORE_SUMS_H

#include "core/members.h"

#define SUMS_MAX 256 /* as Sums.sums in argus.options */

/** Over all that is listed, see member_is_listed(). */
uint64_t sums_of_all(const struct members *t);

/** As many as suit the members that are there. */
void sums_of_leaves(const struct members *t, argus_Sums *out);

/** Over `count` ranges, a power of two up to SUMS_MAX. */
void sums_of_ranges(const struct members *t, uint32_t count, uint64_t *sums);

/** Is that a number of ranges? */
bool sums_count_is_sound(uint32_t count);

/** Of `count` ranges: the one that an id is in, and its first and last id. */
uint32_t sums_range_of(const struct node_id *id, uint32_t count);
struct node_id sums_first(uint32_t range, uint32_t count);
struct node_id sums_last(uint32_t range, uint32_t count);

#endif
