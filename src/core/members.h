/* members.h - the table of nodes known here: shape and storage, no judgement.
 *
 * A member is the packed statement its node signed, kept as it came so that it
 * can be handed on, and beside it the few fields that are read often. Strings
 * and packed bytes share one allocation of their exact size: 10,000 members
 * with ordinary records cost at most 8 MiB (a test measures it).
 *
 * Owned by the directory. A pointer to a member holds until that member is
 * forgotten, which happens in directory_on_timeout() and
 * directory_set_forgotten() alone; strings in it hold until its next record,
 * which any input may bring.
 *
 * Orders: insertion (what lists show and random picks walk) and by id (what
 * anti-entropy compares); never that of a hash. */
#ifndef ARGUS_CORE_MEMBERS_H
#define ARGUS_CORE_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uthash.h>

#include "argus.pb.h"
#include "base/node_id.h"

/** Independent witnesses kept for one report. */
#define WITNESSES_MAX 4

/** Members found by one address; further ones are found by id alone. */
#define SAME_ADDRESS_MAX 16

struct member;

/* The report in force about a member. Of several about one version: OFFLINE
 * before SUSPECT, then what is proven before silence, then the earlier stamp,
 * then the lower author. Every node chooses so, hence all end with the same
 * one. */
struct member_report {
    argus_MemberState state;      /* SUSPECT or OFFLINE */
    uint32_t generation, version; /* of the record it speaks of */
    uint64_t hlc;
    struct node_id author;
    struct node_id witnesses[WITNESSES_MAX]; /* authors of all such reports */
    uint8_t witnesses_count;
    bool is_proven;    /* its own word, or its host says that nobody listens */
    bool is_expired;   /* suspicion that was not refuted in time */
    bool is_waiting;   /* in a queue of suspicions: */
    bool is_confirmed; /* ... of those whom several witnesses suspect */
    uint64_t deadline_ms;
    struct member *member;
    TAILQ_ENTRY(member_report) suspicion;
    uint32_t packed_size;
    uint8_t packed[]; /* Signed, as it came */
};

struct member {
    struct node_id id;
    uint32_t generation, version;
    uint64_t since_us; /* Unix; when the state began, as far as known */
    uint64_t gone_us; /* Unix; when it was online no more; else without sense */
    uint64_t heard_us;   /* Unix; last sign of life; 0: only by hearsay */
    uint64_t heard_ms;   /* the same, monotonic */
    uint64_t renewed_ms; /* monotonic; when this version came */
    uint64_t instance;
    uint64_t started_ms;               /* Unix, by its own clock */
    uint64_t hlc;                      /* of the record */
    const char *name, *zone, *address; /* in block */
    const uint8_t *packed;             /* in block: Signed, as it came */
    struct member_report *report;      /* NULL: none in force */
    float weight;
    uint32_t packed_size;
    uint16_t publishers_missing; /* in its record; 65535: so many and more */
    uint8_t state;               /* argus_MemberState */
    uint8_t role;                /* argus_Role */
    bool is_self : 1;
    bool has_left : 1;      /* its record says so */
    bool is_neighbor : 1;   /* a mesh link to it is up */
    bool is_unheard : 1;    /* from disk or memory, and nobody has spoken of it
                               since */
    bool is_accused : 1;    /* this node has reported this life of it */
    bool is_undialable : 1; /* it lives, yet a dial from here failed */
    bool has_clock_alarm : 1; /* its record says so */
    bool has_namesake : 1;    /* as of directory_find_namesakes() */
    bool is_superseded : 1;   /* another id holds its name and address */
    bool spreads_record : 1;  /* either: in the queue of what is */
    bool spreads_report : 1;  /* ... broadcast again */

    /* of members.c */
    uint32_t index;
    uint8_t *block;
    struct member *same_address;
    TAILQ_ENTRY(member) spreading;
    UT_hash_handle hh;
    UT_hash_handle hh_address;
};

TAILQ_HEAD(member_queue, member);
TAILQ_HEAD(suspicion_queue, member_report);

/* What is left of a forgotten member, so that it does not return by
 * anti-entropy from whoever has not forgotten it yet. */
struct tombstone {
    struct node_id id;
    uint32_t generation, version;
    uint64_t expires_ms;
    UT_hash_handle hh;
};

struct members {
    struct member *by_id;
    struct member *by_address; /* head of a chain through same_address */
    struct member **list;      /* in insertion order */
    struct member **sorted;    /* by id */
    uint32_t count, room, max;
    uint32_t in_state[5];         /* how many, by argus_MemberState */
    struct tombstone *tombstones; /* oldest first */
    uint32_t tombstones_max;
};

/** Does anti-entropy speak of it? */
static inline bool member_is_listed(const struct member *m)
{
    return !m->is_unheard && m->packed != NULL;
}

/** Word for an argus_MemberState, as users read it. */
const char *member_state_word(uint32_t state);

/** No memory is taken yet. */
void members_init(struct members *t, uint32_t max, uint32_t tombstones_max);
void members_close(struct members *t);

struct member *members_find(const struct members *t, const struct node_id *id);

/** First of those at an address; the others follow by same_address. */
struct member *members_at(const struct members *t, const char *address);

/** @return NULL: the table is full (count == max) or there is no memory. The
 *  new member has an id, state UNKNOWN and no record. */
struct member *members_add(struct members *t, const struct node_id *id);
void members_remove(struct members *t, struct member *m);

/** Take over a record. @return false: no memory; the member is as before. */
bool members_set_record(struct members *t, struct member *m,
                        const argus_NodeRecord *record, const uint8_t *packed,
                        size_t size);

/** @return the report, owned by the member; NULL: no memory, as before. The
 *  witnesses of a report about the same version are kept. */
struct member_report *members_set_report(struct member *m,
                                         const argus_Report *report,
                                         const struct node_id *author,
                                         const uint8_t *packed, size_t size);
void members_set_state(struct members *t, struct member *m,
                       argus_MemberState state);

/** Position in sorted of the first member whose id is not below `id`. */
uint32_t members_lower_bound(const struct members *t, const struct node_id *id);

/** The oldest goes when there are too many. @return false: it went. */
bool members_bury(struct members *t, const struct member *m,
                  uint64_t expires_ms);
const struct tombstone *members_tombstone(const struct members *t,
                                          const struct node_id *id);
void members_expire_tombstones(struct members *t, uint64_t now_ms);
void members_unbury(struct members *t, const struct node_id *id);

/** Order of versions: < 0 when (ga, va) is older than (gb, vb). */
static inline int version_compare(uint32_t ga, uint32_t va, uint32_t gb,
                                  uint32_t vb)
{
    if (ga != gb)
        return ga < gb ? -1 : 1;
    return va == vb ? 0 : va < vb ? -1 : 1;
}

#endif
