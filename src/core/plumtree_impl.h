/* plumtree_impl.h - what the parts of the broadcast tree share.
 *
 *   plumtree.c        the protocol: push, announce, prune, graft
 *   plumtree_shape.c  which links the tree goes by: near its root
 *   seen.[ch]         messages delivered, missing.[ch]: those announced,
 *   announcements.[ch]  those to be announced
 */
#ifndef ARGUS_CORE_PLUMTREE_IMPL_H
#define ARGUS_CORE_PLUMTREE_IMPL_H

#include <string.h>

#include "base/lines.h"
#include "base/prng.h"
#include "core/announcements.h"
#include "core/missing.h"
#include "core/plumtree.h"
#include "core/seen.h"

/* How far a node is from the root of the tree, along the tree. */
struct position {
    uint32_t root; /* its rank; 0: unknown */
    uint32_t distance_us;
    uint32_t age_ms; /* since the root said so itself */
};

/* So many of one kind in each second. */
struct rate {
    uint64_t second;
    uint32_t used;
};

/* What each ping asks for is in the first cache line. */
struct neighbor {
    _Alignas(LINE_SIZE) link_id link; /* 0: free */
    uint64_t told_ms;
    struct position position; /* as the peer told it */
    uint32_t cost_us;         /* of the way here; 0: not measured yet */
    unsigned slot;
    bool pruned; /* by us, ever: then pruned_ms holds */
    uint64_t pruned_ms;
    uint64_t prune_due_ms; /* UINT64_MAX: not seen to be redundant */
    uint8_t redundant_id[CONTENT_ID_SIZE]; /* the surveyor that showed it */
    struct rate grafts_sent;
    struct rate grafts_answered;
};

/* Of plumtree_shape.c. */
struct shape {
    uint64_t shortcut_after_ms;
    link_id from, to;    /* a shortcut under way; 0: none */
    uint64_t switch_ms;  /* then from leaves the tree; UINT64_MAX */
    struct position own; /* as last found */
    uint64_t changed_ms; /* own became worse, or the parent another */
    link_id parent;      /* 0: none */
    uint64_t window;     /* of ROOT_MS, by its number */
    uint32_t sent_now, sent_before; /* own broadcasts, in it and in the last */
};

/* What every frame asks for comes first.
 *
 * departs: one set of links, the eager ones, in place of the paper's two: what
 * is not in it is lazy, so that a peer cannot be in both. */
struct plumtree {
    uint64_t now_ms;
    uint64_t announce_ms; /* deadlines; UINT64_MAX: none */
    uint64_t prune_ms;
    uint64_t missing_ms;
    uint64_t expire_ms;
    struct neighbor *neighbors; /* by slot */
    link_id *slot_links;        /* theirs, side by side; 0: free */
    unsigned slots;             /* room for so many; grows */
    struct slots eager;
    struct shape shape;
    struct plumtree_options options;
    uint8_t surveyor_id[CONTENT_ID_SIZE];
    uint64_t surveyor_until_ms; /* when any other may follow */
    struct seen seen;
    struct plumtree_listener listener;
    struct prng prng;
    uint64_t announced_ms;    /* last; 0: never */
    uint64_t cut_until_ms;    /* an eager link was lost not long ago */
    uint64_t missing_scan_ms; /* last walk of the missing table */
    uint32_t lag;             /* 1/LAG_UNIT ms; see plumtree.c */
    struct plumtree_stats stats;
    struct missing missing;
    struct announcements pending;
};

void plumtree_advance(struct plumtree *p, uint64_t now_ms);

/** From an announcement to the Graft. */
uint32_t plumtree_wait_ms(const struct plumtree *p);

/** NULL: no neighbor. It holds until the next neighbor comes. */
struct neighbor *plumtree_neighbor(const struct plumtree *p, link_id link);

static inline bool is_eager(const struct plumtree *p, const struct neighbor *n)
{
    return slots_has(&p->eager, n->slot);
}

static inline void set_eager(struct plumtree *p, const struct neighbor *n,
                             bool eager)
{
    if (eager)
        slots_add(&p->eager, n->slot);
    else
        slots_remove(&p->eager, n->slot);
}

/** One more, if it is not too many. */
static inline bool rate_take(struct rate *r, uint64_t now_ms, uint32_t per_s)
{
    uint64_t second = now_ms / 1000;

    if (r->second != second)
        *r = (struct rate){.second = second};
    if (r->used >= per_s)
        return false;
    r->used++;
    return true;
}

/** @param id  NULL: no payload is wanted, only the link. */
void plumtree_send_graft(struct plumtree *p, struct neighbor *n,
                         const uint8_t *id, struct actions *out);
void plumtree_send_prune(struct plumtree *p, struct neighbor *n,
                         struct actions *out);

/* plumtree_shape.c */

/** A broadcast of our own. */
void plumtree_note_own(struct plumtree *p);

/** Does one of the two ends have the root by this link, as far as is known? */
bool plumtree_is_branch(const struct plumtree *p, const struct neighbor *n);

/** Is it one of the two links of a shortcut under way? */
static inline bool plumtree_is_moving(const struct plumtree *p, link_id link)
{
    return p->shape.to != 0 && (link == p->shape.to || link == p->shape.from);
}

/** Would it take what the shortcut brought back to where it replaces? */
static inline bool plumtree_is_detour(const struct plumtree *p, link_id from,
                                      link_id to)
{
    return p->shape.to != 0 && from == p->shape.to && to == p->shape.from;
}

/** End the shortcut under way, when it is time. */
void plumtree_switch(struct plumtree *p, struct actions *out);

#endif
