/* missing.h - messages that neighbors announced and nobody delivered yet.
 *
 * Part of plumtree.c. Neighbors are told apart by slot, a number below
 * MISSING_SLOTS, so that all announcers of an id fit in a few words: each of
 * them can be asked in turn, whichever link breaks. The oldest ids go first;
 * one link cannot fill the table, since an id counts against the link that
 * announced it first, up to missing_link_max. */
#ifndef ARGUS_CORE_MISSING_H
#define ARGUS_CORE_MISSING_H

#include "core/plumtree.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define MISSING_SLOTS 256

/* A set of slots. */
struct slots {
    uint64_t words[MISSING_SLOTS / 64];
};

static inline bool slots_has(const struct slots *s, unsigned slot)
{
    return (s->words[slot / 64] >> slot % 64 & 1) != 0;
}

static inline void slots_add(struct slots *s, unsigned slot)
{
    s->words[slot / 64] |= UINT64_C(1) << slot % 64;
}

static inline void slots_remove(struct slots *s, unsigned slot)
{
    s->words[slot / 64] &= ~(UINT64_C(1) << slot % 64);
}

/** The least; MISSING_SLOTS: there is none. */
unsigned slots_first(const struct slots *s);

/** Are all of a in b? */
bool slots_are_in(const struct slots *a, const struct slots *b);

struct missing_id {
    uint8_t id[CONTENT_ID_SIZE];
    uint64_t since_ms;
    uint64_t due_ms;        /* ask somebody then */
    struct slots announced; /* who has the payload */
    struct slots asked;     /* of these, in this round of asking */
    uint32_t retries;       /* rounds of asking that went by */
    uint8_t first_slot;     /* whom this id counts against */
    UT_hash_handle hh;
};

struct missing {
    const struct plumtree_options *options; /* the tree's */
    struct plumtree_stats *stats;
    struct missing_id *ids; /* hash; in order of arrival */
    uint32_t charged[MISSING_SLOTS];
    bool out_of_memory; /* set within one insertion */
};

void missing_init(struct missing *t, const struct plumtree_options *options,
                  struct plumtree_stats *stats);
void missing_close(struct missing *t);

struct missing_id *missing_find(const struct missing *t,
                                const uint8_t id[CONTENT_ID_SIZE]);

/** @param due_ms  counts for an id that was not missing before.
 *  @return NULL: over a bound or no memory, counted. */
struct missing_id *missing_announce(struct missing *t, uint64_t now_ms,
                                    unsigned slot,
                                    const uint8_t id[CONTENT_ID_SIZE],
                                    uint64_t due_ms);
void missing_remove(struct missing *t, struct missing_id *m);

/** A neighbor is gone: nobody asks it any more. */
void missing_clear_slot(struct missing *t, unsigned slot);

uint32_t missing_count(const struct missing *t);

#endif
