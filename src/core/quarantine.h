/* quarantine.h - nodes that nobody here deals with for a while, and why.
 *
 * A node gets here by what came over a link of its own, where its id is proven;
 * never by what others say of it, or seem to say in its name. The first time is
 * QUARANTINE_MS, each further one twice as long, up to QUARANTINE_MAX_MS; that
 * it was here is remembered for QUARANTINE_MAX_MS after the end.
 *
 * Bound: QUARANTINE_NODES_MAX entries. Beyond, one that is over goes, else the
 * oldest, counted. A failed malloc is counted; then the node is not here. */
#ifndef ARGUS_CORE_QUARANTINE_H
#define ARGUS_CORE_QUARANTINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/node_id.h"

#include <uthash.h>

#define QUARANTINE_NODES_MAX 256
#define QUARANTINE_MS 60000
#define QUARANTINE_MAX_MS 3600000

struct quarantined {
    struct node_id id;
    char name[128];              /* "": not known */
    char reason[96];             /* of the last time */
    uint64_t since_ms, until_ms; /* monotonic */
    uint64_t since_us, until_us; /* Unix */
    uint32_t times;
    bool is_over;
    TAILQ_ENTRY(quarantined) order;
    UT_hash_handle hh;
};

TAILQ_HEAD(quarantined_list, quarantined);

struct quarantine_stats {
    uint64_t begun;
    uint64_t dropped; /* before their end, for want of room */
    uint64_t memory_refused;
};

struct quarantine {
    struct node_id self; /* never in it */
    struct quarantined *by_id;
    struct quarantined_list newest_first;
    uint32_t count; /* not over */
    struct quarantine_stats stats;
};

void quarantine_init(struct quarantine *q, const struct node_id *self);
void quarantine_close(struct quarantine *q);

/**
 * @param name, reason  copied, cut to fit.
 * @return the entry; NULL: it is this node, it is here already, or no memory.
 */
const struct quarantined *quarantine_put(struct quarantine *q, uint64_t now_ms,
                                         uint64_t wall_us,
                                         const struct node_id *id,
                                         const char *name, const char *reason);

/** NULL: it is not here. Cheap while nobody is. */
const struct quarantined *quarantine_find(const struct quarantine *q,
                                          const struct node_id *id);

/** One whose time has run out just now; NULL: no further one. */
const struct quarantined *quarantine_expire(struct quarantine *q,
                                            uint64_t now_ms);
uint64_t quarantine_deadline_ms(const struct quarantine *q);

/** By index from 0, newest first; NULL behind the last. */
const struct quarantined *quarantine_at(const struct quarantine *q,
                                        uint32_t index);

#endif
