/* hyparview.c - a few random neighbors, found by walks and shuffles. See
 * membership.h. */
#include "core/membership_impl.h"

/* Waits in milliseconds, all jittered. Guesses. */
#define SWAP_MS 3600000  /* one neighbor exchanged to mix the overlay */
#define SWAP_MIN_MS 5000 /* ... after a split; doubles */
#define RETURNED_MS 5000 /* so many ... */
#define RETURNED_MIN 3   /* ... lost peers back within this: a split healed */
#define REJECTED_MAX 3   /* rejections in a row until we insist */
#define SEEKER_HOPS 3    /* so far from a seeker at least are its new links */

static uint32_t limit(const struct membership_options *options)
{
    return options->active_max;
}

/* departs: the paper insists (high priority) only when the active view is
 * empty. Then a few nodes can hang together by themselves while all others are
 * full, so a node that lacks two or more insists after some rejections. */
static bool is_insisting(const struct membership *v)
{
    return v->active_count == 0 ||
           (v->rejected_row >= REJECTED_MAX &&
            v->active_count + 1 < v->options.active_max);
}

static uint32_t fill_want(const struct membership *v)
{
    uint32_t asking = membership_asking(v), max = v->options.active_max;
    if (v->active_count >= max)
        return 0;
    uint32_t want = max - v->active_count;

    /* After a massive failure half of the candidates are dead: ask some more
     * than there are places, or the rounds add up. */
    if (v->active_count <= max / 2)
        want += 2;
    if (v->rejected_row > 0)
        want = 1;
    return want > asking ? want - asking : 0;
}

/* ---------------------------------------------------------------- walks */

/* The walk of a joiner ends here: make it a neighbor, if it has room. */
static void end_walk(struct membership *v, const struct membership_peer *joiner,
                     struct actions *out)
{
    membership_add_passive(v, joiner);
    if (!membership_is_dialing(v, &joiner->id) &&
        !membership_is_active(v, &joiner->id))
        (void)membership_ask(v, &joiner->id, joiner->address, false,
                             INTENT_SWAP, out);
}

static void on_forward_join(struct membership *v, struct hlink *from,
                            const argus_ForwardJoin *m, struct actions *out)
{
    struct membership_peer joiner = membership_peer_of(&m->joiner);
    uint32_t ttl = m->ttl < HYPARVIEW_ARWL ? m->ttl : HYPARVIEW_ARWL;

    struct hlink *next =
        membership_random_active(v, &from->peer.id, &joiner.id);
    if (ttl == 0 || v->active_count == 1 || next == NULL) {
        end_walk(v, &joiner, out);
        return;
    }
    if (ttl == HYPARVIEW_PRWL)
        membership_add_passive(v, &joiner);
    membership_send_walk(next->link, &m->joiner, ttl - 1, out);
}

/* departs: when nearly all views are full, who lacks a neighbor meets another
 * such node by asking one after the other only after minutes. A shuffle passes
 * by several nodes: whoever of them has room, too, takes the chance. Not the
 * second one: a neighbor of a neighbor closes a triangle. Thousands that joined
 * one by one had ten times the clustering of a random graph from those. */
static void meet_seeker(struct membership *v, const argus_Shuffle *m,
                        struct actions *out)
{
    struct node_id id = node_id_of(m->origin.id);

    if (m->seeks && m->ttl + SEEKER_HOPS <= HYPARVIEW_ARWL + 1 &&
        fill_want(v) > 0 && is_dialable(m->origin.address) &&
        !node_id_is_zero(&id) && !membership_is_active(v, &id) &&
        !membership_is_dialing(v, &id))
        (void)membership_ask(v, &id, m->origin.address, false, INTENT_FILL,
                             out);
}

/* §4.4: a walk, ended by its length or by having nowhere to go; the last node
 * answers the origin with as many peers as it was given. */
void membership_walk_shuffle(struct membership *v, struct hlink *from,
                             argus_Frame *frame, struct actions *out)
{
    argus_Shuffle *m = &frame->body.shuffle;
    struct node_id origin = node_id_of(m->origin.id);

    if (m->ttl > HYPARVIEW_ARWL)
        m->ttl = HYPARVIEW_ARWL;
    meet_seeker(v, m, out);
    struct hlink *next = membership_random_active(v, &from->peer.id, &origin);
    if (m->ttl > 1 && next != NULL) {
        m->ttl--;
        actions_send(out, next->link, frame);
        return;
    }
    membership_end_shuffle(v, m, out);
}

/* ---------------------------------------------------------------- time */

/* departs: the paper never changes a link that works. But two meshes that
 * hang together by one link can lose it to an eviction, and then each half
 * takes itself for the whole. So now and then a node exchanges a random
 * neighbor for a random passive peer: the overlay stays a random graph. Near
 * the root of the broadcast tree all links may be in use: then it can wait. */
static void swap(struct membership *v, struct actions *out)
{
    if (v->active_count < 2 || v->active_count < v->options.active_max)
        return;
    if (!membership_has_spare(v)) {
        v->swap_at_ms =
            least(v->swap_at_ms, membership_soon(v, v->options.shuffle_ms));
        return;
    }
    struct peer_entry *e = membership_candidate(v, &v->passive);
    if (e == NULL)
        return;
    v->stats.swap_sent++;
    (void)membership_ask(v, &e->id, e->address, true, INTENT_SWAP, out);
}

static void start(struct membership *v)
{
    membership_start_timers(v);
    v->swap_wait_ms = SWAP_MS;
    v->swap_at_ms = membership_soon(v, SWAP_MS);
    hyparview_near_start(v);
}

static void on_timeout(struct membership *v, struct actions *out)
{
    membership_seek_timeout(v, out);
    if (v->active_count == 0)
        return;
    if (v->now_ms >= v->swap_at_ms) {
        v->swap_at_ms = v->now_ms + prng_jitter(&v->prng, v->swap_wait_ms);
        v->swap_wait_ms = membership_doubled(v->swap_wait_ms, 1, SWAP_MS);
        swap(v, out);
    }
    if (v->now_ms >= v->near_at_ms)
        hyparview_near_timeout(v, out);
}

static uint64_t deadline_ms(const struct membership *v)
{
    uint64_t due = membership_seek_ms(v);

    if (v->active_count == 0)
        return due;
    return least(due, least(v->swap_at_ms, v->near_at_ms));
}

/* Two meshes may hang together by the link that was just made: others soon, and
 * ever more seldom, for the network may be gone again when their turn comes. */
void membership_seek_bridged(struct membership *v)
{
    v->swap_wait_ms = SWAP_MIN_MS;
    v->swap_at_ms = least(v->swap_at_ms, membership_soon(v, SWAP_MIN_MS));
}

/* Several peers that were lost are back in the same life: not they were
 * gone, the network was. Mix the two sides soon, each node at its own moment.
 */
void membership_seek_returned(struct membership *v)
{
    if (v->now_ms - v->returned_since_ms > RETURNED_MS) {
        v->returned_since_ms = v->now_ms;
        v->returned_row = 0;
    }
    if (++v->returned_row == RETURNED_MIN)
        membership_seek_bridged(v);
}

const struct strategy strategy_hyparview = {
    .name = "hyparview",
    .limit = limit,
    .passive_max = membership_passive_max,
    .is_candidate = membership_anyone,
    .may_hold = membership_anyone,
    .want = fill_want,
    .insists = is_insisting,
    .has_room = membership_has_place,
    .victim = membership_random_victim,
    .start = start,
    .on_joined = membership_tell_joined,
    .on_forward_join = on_forward_join,
    .on_shuffle = membership_walk_shuffle,
    .on_timeout = on_timeout,
    .deadline_ms = deadline_ms,
};
