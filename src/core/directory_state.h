/* directory_state.h - what the files of the directory share. For them alone. */
#ifndef ARGUS_CORE_DIRECTORY_STATE_H
#define ARGUS_CORE_DIRECTORY_STATE_H

#include "base/prng.h"
#include "core/bucket.h"
#include "core/directory.h"
#include "core/failure.h"
#include "core/forgotten.h"
#include "core/own_record.h"
#include "core/statements.h"
#include "core/sync.h"

#define TOMBSTONES_MAX 16384
#define SWEEP_MS 60000

struct directory {
    struct seal seal;
    struct directory_listener listener;
    struct node_id id;
    uint32_t suspect_ms;
    uint64_t retain_ms;
    struct prng prng;

    uint64_t now_ms, wall_us; /* of the call under way */
    uint64_t dials;           /* counts dial numbers */
    struct members members;
    struct suspicion_queue suspicions, confirmed; /* each by deadline */
    struct bucket evictions;
    struct own own;
    struct failure failure;
    struct sync sync;
    argus_ForgottenNode *forgotten; /* by order; see forgotten.h */
    uint32_t forgotten_count;

    uint64_t sweep_due_ms;
    uint64_t watch_due_ms; /* shows in time whether this node stood still */
    uint64_t aggregators_stamp;
    struct member **aggregators; /* online or suspect, in insertion order */
    uint32_t aggregators_count, aggregators_room;
    struct directory_stats stats;
};

static inline dial_id directory_next_dial(struct directory *d)
{
    return (uint64_t)DIRECTORY_DIAL_TAG << 56 | ++d->dials;
}

/** Wall clock of a stamp, never in the future. */
static inline uint64_t directory_hlc_us(const struct directory *d, uint64_t hlc)
{
    uint64_t us = (hlc >> 16) * 1000;
    return us < d->wall_us ? us : d->wall_us;
}

static inline bool member_is_gone(const struct member *m)
{
    return m->state == argus_MemberState_MEMBER_OFFLINE ||
           m->state == argus_MemberState_MEMBER_LEFT;
}

static inline bool address_can_be_dialed(const char *address)
{
    return address[0] != '\0' && address[0] != ':';
}

#endif
