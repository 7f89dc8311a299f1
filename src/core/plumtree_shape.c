/* plumtree_shape.c - which links the tree goes by: near its root. See
 * plumtree.h. */
#include "core/plumtree_impl.h"

/* Whoever sent STEADY_MIN broadcasts in this ROOT_MS and the one before ranks
 * before all who did not. */
#define ROOT_MS 60000
#define STEADY_MIN 10
#define RANK_SELDOM 0x80000000u

/* A root is gone when it was not heard of for so long. At most a ping's wait
 * is added at each hop. */
#define AGE_MAX_MS 150000

/* What a hop costs besides the way. */
#define HOP_US 500

/* Nobody is farther from the root; what is told beyond is not believed. */
#define DISTANCE_MAX_US 60000000u

static void turn_window(struct plumtree *p)
{
    struct shape *s = &p->shape;
    uint64_t window = p->now_ms / ROOT_MS;

    if (window == s->window)
        return;
    s->sent_before = window == s->window + 1 ? s->sent_now : 0;
    s->sent_now = 0;
    s->window = window;
}

void plumtree_note_own(struct plumtree *p)
{
    turn_window(p);
    p->shape.sent_now++;
}

static uint32_t own_rank(struct plumtree *p)
{
    turn_window(p);
    bool is_steady = p->shape.sent_now + p->shape.sent_before >= STEADY_MIN;

    return (p->options.rank & ~RANK_SELDOM) | 1 | (is_steady ? 0 : RANK_SELDOM);
}

/* Where n is, as told. @return false: not known, or too old. */
static bool position_of(const struct plumtree *p, const struct neighbor *n,
                        struct position *out)
{
    *out = n->position;
    out->age_ms += (uint32_t)(p->now_ms - n->told_ms) + n->cost_us / 1000;
    return out->root != 0 && n->cost_us != 0 && out->age_ms <= AGE_MAX_MS;
}

static bool is_before(const struct position *a, const struct position *b)
{
    return a->root < b->root ||
           (a->root == b->root && a->distance_us < b->distance_us);
}

/* Where this node is: the least root that an eager link leads to, by the
 * shortest way; the way it has stays until another is shorter by half a hop.
 * @param parent  out: the first step there; NULL: we are the root. */
static struct position find_own(struct plumtree *p, struct neighbor **parent)
{
    struct position best = {.root = own_rank(p)}, at;
    uint32_t margin_us = 0;

    *parent = NULL;
    for (unsigned i = 0; i < p->slots; i++) {
        struct neighbor *n = &p->neighbors[i];

        if (!slots_has(&p->eager, i) || !position_of(p, n, &at))
            continue;
        bool is_parent = n->link == p->shape.parent;
        uint32_t less_us = is_parent ? n->cost_us / 2 : 0;
        struct position judged = at;
        at.distance_us += n->cost_us;
        judged.distance_us = at.distance_us - less_us + margin_us;
        if (!is_before(&judged, &best))
            continue;
        best = at;
        margin_us = less_us;
        *parent = n;
    }
    return best;
}

/* Has our place changed, for the worse by more than what is measured of ways
 * wavers? Then what others tell counts once it left the root after that. */
static struct position note_own(struct plumtree *p, struct neighbor **parent)
{
    struct shape *s = &p->shape;
    struct position own = find_own(p, parent);
    link_id link = *parent != NULL ? (*parent)->link : 0;
    bool is_worse =
        own.root != s->own.root ||
        own.distance_us > s->own.distance_us + s->own.distance_us / 4;

    if (is_worse || link != s->parent)
        s->changed_ms = p->now_ms;
    if (own.root != s->own.root)
        s->shortcut_after_ms =
            p->now_ms + prng_below(&p->prng, p->options.shortcut_gap_ms);
    if (is_worse || own.distance_us < s->own.distance_us)
        s->own = own;
    s->parent = link;
    return own;
}

/* The peer tells nothing to its parent, so then it is behind us. */
bool plumtree_is_branch(const struct plumtree *p, const struct neighbor *n)
{
    return n->told_ms != 0 &&
           (n->position.root == 0 || n->link == p->shape.parent);
}

/* The parent is told nothing: what we know of the root we have from it, and
 * when the root dies we must not tell it back. */
void plumtree_standing(struct plumtree *p, uint64_t now_ms, link_id link,
                       argus_Standing *out)
{
    struct neighbor *parent;

    plumtree_advance(p, now_ms);
    struct position at = note_own(p, &parent);
    if (parent != NULL && parent->link == link)
        at = (struct position){0};
    out->root = at.root;
    out->distance_us = at.distance_us;
    out->age_ms = at.age_ms;
}

/* Did what n tells leave the root after our own place last changed? Then n
 * knows of it, if it is behind us. */
static bool is_fresh(const struct plumtree *p, const struct position *at)
{
    return at->age_ms < p->now_ms - p->shape.changed_ms;
}

/* Is the way by n so much better? It is shorter by half a hop at least; or much
 * nearer, if not shorter, so that few links of the tree cross from zone to
 * zone. n is nearer to the root in any case, so it is not behind us and the
 * tree is not cut. */
static bool is_shortcut(const struct position *own,
                        const struct neighbor *parent,
                        const struct position *at, const struct neighbor *n)
{
    if (parent == NULL || at->root != own->root ||
        at->distance_us >= own->distance_us)
        return false;
    return at->distance_us + n->cost_us + n->cost_us / 2 <= own->distance_us ||
           4 * (uint64_t)n->cost_us <= parent->cost_us;
}

/* One link comes into the tree and one goes, so it stays a tree. First the new
 * one brings what the old one brings too, so that nothing is missed that is
 * under way; until the switch nothing is pushed over it from here, nor what it
 * brought over the old one, so no other node sees a cycle. Seldom, and at a
 * time drawn at random, also when there is a new root: of many nodes behind the
 * same long way the first to act spares the others the change. */
static void take_shortcut(struct plumtree *p, struct neighbor *n,
                          const struct neighbor *parent, struct actions *out)
{
    struct shape *s = &p->shape;

    if (s->to != 0 || p->now_ms < s->shortcut_after_ms ||
        !rate_take(&n->grafts_sent, p->now_ms, p->options.grafts_per_s))
        return;
    s->shortcut_after_ms =
        p->now_ms + prng_jitter(&p->prng, p->options.shortcut_gap_ms);
    p->stats.shortcut_taken++;
    plumtree_send_graft(p, n, NULL, out);
    set_eager(p, n, false);
    s->from = parent->link;
    s->to = n->link;
    s->switch_ms = p->now_ms + plumtree_wait_ms(p);
}

/* An eager link is a branch when one of its ends has the root by it. Any other
 * closes a cycle. */
static void consider(struct plumtree *p, struct neighbor *n,
                     struct actions *out)
{
    struct neighbor *parent;
    struct position own = note_own(p, &parent), at;

    if (!position_of(p, n, &at) || !is_fresh(p, &at) ||
        plumtree_is_moving(p, n->link))
        return;
    if (!is_eager(p, n) && is_shortcut(&own, parent, &at, n))
        take_shortcut(p, n, parent, out);
    else if (is_eager(p, n) && at.root == own.root && !plumtree_is_branch(p, n))
        plumtree_send_prune(p, n, out);
}

void plumtree_switch(struct plumtree *p, struct actions *out)
{
    struct shape *s = &p->shape;

    if (s->to == 0 || p->now_ms < s->switch_ms)
        return;
    struct neighbor *to = plumtree_neighbor(p, s->to);
    struct neighbor *from = plumtree_neighbor(p, s->from);
    s->from = s->to = 0;
    s->switch_ms = UINT64_MAX;
    if (to == NULL)
        return;
    set_eager(p, to, true);
    if (from != NULL && is_eager(p, from))
        plumtree_send_prune(p, from, out);
}

void plumtree_on_standing(struct plumtree *p, uint64_t now_ms, link_id link,
                          const argus_Standing *standing, uint64_t rtt_us,
                          struct actions *out)
{
    struct neighbor *n = plumtree_neighbor(p, link);

    plumtree_advance(p, now_ms);
    if (n == NULL)
        return;
    n->told_ms = now_ms;
    n->cost_us =
        rtt_us / 2 < DISTANCE_MAX_US ? (uint32_t)(rtt_us / 2) + HOP_US : 0;
    n->position = (struct position){0};
    if (standing->distance_us <= DISTANCE_MAX_US &&
        standing->age_ms <= AGE_MAX_MS)
        n->position = (struct position){.root = standing->root,
                                        .distance_us = standing->distance_us,
                                        .age_ms = standing->age_ms};
    consider(p, n, out);
}
