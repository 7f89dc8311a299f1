/* seen.h - the messages a broadcast tree knows: their ids for long, their
 * payloads for a while, so that a Graft can be answered.
 *
 * Part of plumtree.c. Oldest first in both: an id lives seen_ms or until
 * seen_max newer ones came, a payload cache_ms or until cache_bytes_max are
 * exceeded. Dropping one before its time is counted.
 *
 * They lie in a ring in order of arrival, 64 bytes each, and are found by an
 * open hash; its seed is the tree's, so that nobody can think of ids that meet
 * in one place. Both grow and shrink with what they hold. */
#ifndef ARGUS_CORE_SEEN_H
#define ARGUS_CORE_SEEN_H

#include "core/plumtree.h"

#define SEEN_ASKED_MAX 6

/** Greatest seen_max. */
#define SEEN_LIMIT (1u << 22)

struct seen_message {
    uint8_t id[CONTENT_ID_SIZE];
    uint64_t at_ms;
    uint64_t heard_ms; /* first heard of: announced, or at_ms */
    link_id from;      /* brought the first copy; 0: our own */
    uint8_t *payload;  /* NULL: no longer, or never, in the cache */
    uint32_t size;
    uint16_t round; /* links crossed before ours */
    uint8_t
        asked[SEEN_ASKED_MAX]; /* slots that were sent a Graft for it, the
                                * first few: seldom are there more than one */
    uint8_t asked_count;
    bool survey : 1;  /* its origin lets it shape the tree */
    bool removed : 1; /* before its time; of seen.c */
};

struct seen {
    const struct plumtree_options *options; /* the tree's */
    struct plumtree_stats *stats;
    struct seen_message *ring; /* room of them, a power of two */
    uint32_t *index;           /* by hash, 2 * room; see seen.c */
    uint32_t room;
    uint32_t count;        /* without those that were removed */
    uint64_t first, next;  /* numbers of the oldest and behind the newest */
    uint64_t cached_first; /* none before it has a payload */
    uint32_t cache_bytes;
};

void seen_init(struct seen *s, const struct plumtree_options *options,
               struct plumtree_stats *stats);
void seen_close(struct seen *s);

/** NULL: not known. Holds until the next seen_add(). */
struct seen_message *seen_find(const struct seen *s,
                               const uint8_t id[CONTENT_ID_SIZE]);

/** id must not be known. @return NULL: no memory, counted. */
struct seen_message *seen_add(struct seen *s, uint64_t now_ms,
                              const uint8_t id[CONTENT_ID_SIZE], link_id from,
                              uint32_t round);
void seen_remove(struct seen *s, struct seen_message *m);

/** Copy the payload in. Without memory it stays out, counted. */
void seen_keep_payload(struct seen *s, struct seen_message *m,
                       const uint8_t *payload, size_t size);

/** Counted from the newest, 0; NULL: behind the oldest. Those without a payload
 *  are among them. */
const struct seen_message *seen_back(const struct seen *s, uint32_t back);

/** Drop what is too old. @return when to call again, UINT64_MAX: never. */
uint64_t seen_expire(struct seen *s, uint64_t now_ms);

/** See overlay_prefetch(). */
void seen_prefetch(const struct seen *s, const uint8_t id[CONTENT_ID_SIZE]);

uint32_t seen_count(const struct seen *s);

#endif
