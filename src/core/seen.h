/* seen.h - the messages a broadcast tree knows: their ids for long, their
 * payloads for a while, so that a Graft can be answered.
 *
 * Part of plumtree.c. Oldest first in both: an id lives seen_ms or until
 * seen_max newer ones came, a payload cache_ms or until cache_bytes_max are
 * exceeded. Dropping one before its time is counted. */
#ifndef ARGUS_CORE_SEEN_H
#define ARGUS_CORE_SEEN_H

#include <sys/queue.h>

#include "core/plumtree.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define SEEN_ASKED_MAX 6

struct seen_message {
    uint8_t id[CONTENT_ID_SIZE];
    uint64_t at_ms;
    uint64_t heard_ms; /* first heard of: announced, or at_ms */
    uint8_t
        asked[SEEN_ASKED_MAX]; /* slots that were sent a Graft for it, the
                                * first few: seldom are there more than one */
    uint8_t asked_count;
    link_id from;     /* brought the first copy; 0: our own */
    uint8_t *payload; /* NULL: no longer, or never, in the cache */
    uint32_t size;
    uint32_t round; /* links crossed before ours */
    bool survey;    /* its origin lets it shape the tree */
    TAILQ_ENTRY(seen_message) cached;
    UT_hash_handle hh;
};

TAILQ_HEAD(seen_cache, seen_message);

struct seen {
    const struct plumtree_options *options; /* the tree's */
    struct plumtree_stats *stats;
    struct seen_message *messages; /* hash; in order of arrival */
    struct seen_cache cache;       /* those with a payload, likewise */
    uint32_t cache_bytes;
    bool out_of_memory; /* set within one insertion */
};

void seen_init(struct seen *s, const struct plumtree_options *options,
               struct plumtree_stats *stats);
void seen_close(struct seen *s);

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

/** Drop what is too old. @return when to call again, UINT64_MAX: never. */
uint64_t seen_expire(struct seen *s, uint64_t now_ms);

uint32_t seen_count(const struct seen *s);

#endif
