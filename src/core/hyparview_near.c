/* hyparview_near.c - neighbors that are near, by their zones.
 *
 * Source: Leitao, Marques, Pereira, Rodrigues, "X-BOT: A Protocol for Resilient
 * Optimization of Unstructured Overlay Networks" (SRDS 2009). Words are the
 * paper's: node i would exchange its neighbor o for the candidate c, which
 * would give up d for it; then d and o take each other, so all four have as
 * many neighbors as before and the overlay stays connected. Some neighbors stay
 * unbiased.
 *
 * departs: the cost of a link is what the zones of its ends do not share, not a
 * round trip. Both ends know it alike before they have met, and it does not
 * change: nothing flaps, and no load is taken for distance.
 *
 * departs: no messages of its own. i asks c by a Neighbor that says `near`; c
 * names d in its reply, and i names it to o in its Disconnect: o asks d as it
 * would ask anybody for a free place. So c and i each judge for themselves, and
 * whoever does not know of all this takes part as if nothing was. */
#include "core/membership_impl.h"

/* The wait doubles while nothing is to be gained, so often. */
#define WAIT_DOUBLINGS 5

static uint32_t common(const struct membership *v, uint64_t zone)
{
    return zone_common(v->options.zone, zone);
}

/* The neighbor furthest away, of the near ones or of the others; of several a
 * random one. */
static struct hlink *furthest(struct membership *v, bool near,
                              const struct node_id *but)
{
    struct hlink *worst = NULL;
    uint32_t ties = 0;

    for (uint32_t i = 0; i < v->links_count; i++) {
        struct hlink *hl = &v->links[i];
        if (hl->state != HLINK_ACTIVE || hl->is_near != near ||
            node_id_is_equal(&hl->peer.id, but))
            continue;
        uint32_t mine = common(v, hl->peer.zone);
        if (worst != NULL && mine > common(v, worst->peer.zone))
            continue;
        if (worst == NULL || mine < common(v, worst->peer.zone))
            ties = 0;
        if (prng_below(&v->prng, ++ties) == 0)
            worst = hl;
    }
    return worst;
}

static uint32_t near_count(const struct membership *v)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < v->links_count; i++)
        count += v->links[i].state == HLINK_ACTIVE && v->links[i].is_near;
    return count;
}

static uint32_t near_max(const struct membership *v)
{
    if (v->strategy != &strategy_hyparview || !v->options.zone_bias ||
        v->options.zone == 0 || v->limit <= HYPARVIEW_UNBIASED)
        return 0;
    return v->limit - HYPARVIEW_UNBIASED;
}

static bool gains(struct membership *v, const struct node_id *id, uint64_t zone,
                  struct hlink **victim)
{
    uint32_t count = near_count(v), max = near_max(v);

    *victim = NULL;
    if (max == 0 || common(v, zone) == 0)
        return false;
    if (count < max && v->active_count < v->limit)
        return true;
    *victim = furthest(v, count >= max, id);
    return *victim != NULL && common(v, (*victim)->peer.zone) < common(v, zone);
}

bool hyparview_near_gains(struct membership *v, const struct hlink *newcomer,
                          struct hlink **victim)
{
    return gains(v, &newcomer->peer.id, newcomer->peer.zone, victim);
}

/* The nearest of the passive view by whom something is gained. */
static struct peer_entry *nearest(struct membership *v)
{
    struct peer_entry *best = NULL;
    struct hlink *victim;
    uint32_t ties = 0;

    for (uint32_t i = 0; i < v->passive.count; i++) {
        struct peer_entry *e = &v->passive.entries[i];
        uint32_t mine = common(v, e->zone);
        if (mine == 0 || e->fails > 0 || e->next_try_ms > v->now_ms ||
            (best != NULL && mine < common(v, best->zone)))
            continue;
        if (best == NULL || mine > common(v, best->zone))
            ties = 0;
        if (prng_below(&v->prng, ++ties) == 0)
            best = e;
    }
    if (best == NULL || membership_is_dialing(v, &best->id) ||
        !gains(v, &best->id, best->zone, &victim))
        return NULL;
    return best;
}

void hyparview_near_start(struct membership *v)
{
    v->near_wait_ms = v->options.shuffle_ms;
    v->near_at_ms = near_max(v) > 0 ? membership_soon(v, v->options.shuffle_ms)
                                    : UINT64_MAX;
}

/* Only out of a full view: who lacks neighbors has other troubles, and the
 * places that are free fill with random ones. */
void hyparview_near_timeout(struct membership *v, struct actions *out)
{
    uint32_t most_ms = v->options.shuffle_ms << WAIT_DOUBLINGS;
    bool is_full = v->active_count == v->limit;
    struct peer_entry *e = is_full ? nearest(v) : NULL;

    v->near_at_ms = v->now_ms + prng_jitter(&v->prng, v->near_wait_ms);
    if (is_full && v->near_wait_ms < most_ms)
        v->near_wait_ms *= 2;
    if (e == NULL)
        return;
    v->stats.near_sent++;
    (void)membership_ask(v, &e->id, e->address, false, INTENT_NEAR, out);
}

/* Where one was found there may be more. */
void hyparview_near_gained(struct membership *v)
{
    v->stats.near_gained++;
    hyparview_near_start(v);
}
