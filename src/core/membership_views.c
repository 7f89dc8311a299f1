/* membership_views.c - the passive view and the lost, what is told of the
 * views, and what must always hold of them. See membership.h. */
#include <assert.h>
#include <string.h>

#include "core/membership_impl.h"

/** Of more links none is looked at against the others. */
#define PAIRS_CHECKED_MAX 64

/* ----------------------------------------------------------- views */

struct membership_peer membership_peer_of(const argus_Peer *peer)
{
    return (struct membership_peer){.id = node_id_of(peer->id),
                                    .generation = peer->generation,
                                    .role = peer->role,
                                    .zone = peer->zone,
                                    .address = peer->address};
}

struct membership_peer membership_peer_at(const struct hlink *hl)
{
    return (struct membership_peer){.id = hl->peer.id,
                                    .generation = hl->peer.generation,
                                    .role = hl->peer.role,
                                    .zone = hl->peer.zone,
                                    .address = hl->peer.address,
                                    .link = hl->link,
                                    .is_near = hl->is_near};
}

static struct membership_peer peer_in(const struct peer_entry *e)
{
    return (struct membership_peer){.id = e->id,
                                    .generation = e->generation,
                                    .role = e->role,
                                    .zone = e->zone,
                                    .address = e->address};
}

void membership_self(const struct membership *v, argus_Peer *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->id, v->options.id.bytes, NODE_ID_SIZE);
    address_copy(out->address, v->options.address);
    out->generation = v->options.generation;
    out->role = v->options.role;
    out->zone = v->options.zone;
}

static bool was_just_sent(const struct membership *v, const struct node_id *id)
{
    for (uint32_t i = 0; i < v->sent_ids_count; i++)
        if (node_id_is_equal(&v->sent_ids[i], id))
            return true;
    return false;
}

static bool has_left(const struct membership *v, const struct node_id *id)
{
    return v->listener.has_left(v->listener.context, id);
}

/* §4.4: the ids just sent to the peer go first, then random ones. */
static void make_passive_room(struct membership *v)
{
    if (v->passive.count < v->passive.max)
        return;
    for (uint32_t i = 0; i < v->passive.count; i++) {
        if (was_just_sent(v, &v->passive.entries[i].id)) {
            (void)peerlist_remove(&v->passive, &v->passive.entries[i].id);
            return;
        }
    }
    uint32_t i = prng_below(&v->prng, v->passive.count);
    (void)peerlist_remove(&v->passive, &v->passive.entries[i].id);
}

static void renew(struct peer_entry *e, const struct membership_peer *peer)
{
    if (peer->generation > e->generation) {
        e->fails = 0;
        e->generation = peer->generation;
        address_copy(e->address, peer->address);
    }
    if (peer->generation == e->generation && peer->generation != 0) {
        e->role = peer->role;
        e->zone = peer->zone;
    }
}

void membership_add_passive(struct membership *v,
                            const struct membership_peer *peer)
{
    const struct node_id *id = &peer->id;

    if (v->passive.max == 0 || node_id_is_zero(id) ||
        node_id_is_equal(id, &v->options.id) || !is_dialable(peer->address) ||
        !v->strategy->is_candidate(v, peer->role) ||
        membership_is_active(v, id) || has_left(v, id))
        return;

    struct peer_entry *e = peerlist_find(&v->passive, id);
    if (e != NULL) {
        renew(e, peer);
        return;
    }
    /* Hearsay does not bring back the dead; a newer life does. */
    e = peerlist_find(&v->lost, id);
    if (e != NULL && peer->generation <= e->generation)
        return;
    (void)peerlist_remove(&v->lost, id);
    make_passive_room(v);
    e = peerlist_add(&v->passive, id, peer->address, peer->generation,
                     v->now_ms);
    if (e == NULL)
        return;
    e->role = peer->role;
    e->zone = peer->zone;
}

static void make_lost_room(struct membership *v)
{
    if (v->lost.count < v->lost.max)
        return;
    const struct peer_entry *oldest = &v->lost.entries[0];
    for (uint32_t i = 1; i < v->lost.count; i++)
        if (v->lost.entries[i].since_ms < oldest->since_ms)
            oldest = &v->lost.entries[i];
    struct node_id gone = oldest->id;
    (void)peerlist_remove(&v->lost, &gone);
}

void membership_add_lost(struct membership *v,
                         const struct membership_peer *peer)
{
    struct node_id id = peer->id;
    char address[ADDRESS_SIZE];

    address_copy(address, peer->address);
    (void)peerlist_remove(&v->passive, &id);
    if (v->lost.max == 0 || node_id_is_equal(&id, &v->options.id) ||
        !is_dialable(address) || !v->strategy->is_candidate(v, peer->role) ||
        peerlist_find(&v->lost, &id) || has_left(v, &id))
        return;
    make_lost_room(v);
    v->stats.peer_lost++;
    struct peer_entry *e =
        peerlist_add(&v->lost, &id, address, peer->generation, v->now_ms);
    if (e == NULL)
        return;
    e->role = peer->role;
    e->zone = peer->zone;
}

void membership_move_lost(struct membership *v, const struct peer_entry *e)
{
    const struct peer_entry copy = *e; /* it is going to be removed */
    struct membership_peer peer = peer_in(&copy);

    membership_add_lost(v, &peer);
}

void membership_take_in(struct membership *v, const argus_Peer *peers,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct membership_peer peer = membership_peer_of(&peers[i]);
        membership_add_passive(v, &peer);
    }
    v->sent_ids_count = 0;
}

void membership_put_peer(argus_Peer *out, const struct membership_peer *peer)
{
    memset(out, 0, sizeof *out);
    memcpy(out->id, peer->id.bytes, NODE_ID_SIZE);
    address_copy(out->address, peer->address);
    out->generation = peer->generation;
    out->role = peer->role;
    out->zone = peer->zone;
}

/* Random peers of both views, never `but`. Reservoir sampling: each equally
 * likely, no table. */
uint32_t membership_sample(struct membership *v, const struct node_id *but,
                           uint32_t actives, uint32_t passives,
                           argus_Peer peers[MESSAGE_PEERS])
{
    uint32_t count = 0, seen = 0;

    assert(actives + passives <= MESSAGE_PEERS);
    for (uint32_t i = 0; i < v->links_count && actives > 0; i++) {
        const struct hlink *hl = &v->links[i];
        if (hl->state != HLINK_ACTIVE || !is_dialable(hl->peer.address) ||
            !v->strategy->is_candidate(v, hl->peer.role) ||
            node_id_is_equal(&hl->peer.id, but))
            continue;
        struct membership_peer peer = membership_peer_at(hl);
        uint32_t at = ++seen <= actives ? count++ : prng_below(&v->prng, seen);
        if (at < actives)
            membership_put_peer(&peers[at], &peer);
    }
    uint32_t base = count;
    seen = 0;
    for (uint32_t i = 0; i < v->passive.count && passives > 0; i++) {
        const struct peer_entry *e = &v->passive.entries[i];
        if (e->fails > 0 || node_id_is_equal(&e->id, but))
            continue;
        struct membership_peer peer = peer_in(e);
        uint32_t at =
            ++seen <= passives ? count++ - base : prng_below(&v->prng, seen);
        if (at < passives)
            membership_put_peer(&peers[base + at], &peer);
    }
    return count;
}

struct hlink *membership_random_active(struct membership *v,
                                       const struct node_id *but,
                                       const struct node_id *nor)
{
    struct hlink *chosen = NULL;
    uint32_t ties = 0;

    for (uint32_t i = 0; i < v->links_count; i++) {
        struct hlink *hl = &v->links[i];
        if (hl->state != HLINK_ACTIVE ||
            (but != NULL && node_id_is_equal(&hl->peer.id, but)) ||
            (nor != NULL && node_id_is_equal(&hl->peer.id, nor)))
            continue;
        if (prng_below(&v->prng, ++ties) == 0)
            chosen = hl;
    }
    return chosen;
}

/* -------------------------------------------------------- questions */

bool membership_is_active_link(const struct membership *v, link_id link)
{
    const struct hlink *hl = membership_find_link(v, link);
    return hl != NULL && hl->state == HLINK_ACTIVE;
}

bool membership_is_active(const struct membership *v, const struct node_id *id)
{
    return membership_link_of(v, id, HLINK_ACTIVE) != NULL;
}

uint32_t membership_active_count(const struct membership *v)
{
    return v->active_count;
}

uint32_t membership_passive_count(const struct membership *v)
{
    return v->passive.count;
}

uint32_t membership_lost_count(const struct membership *v)
{
    return v->lost.count;
}

bool membership_active(const struct membership *v, uint32_t index,
                       struct membership_peer *out)
{
    for (uint32_t i = 0; i < v->links_count; i++) {
        const struct hlink *hl = &v->links[i];
        if (hl->state != HLINK_ACTIVE || index-- > 0)
            continue;
        *out = membership_peer_at(hl);
        return true;
    }
    return false;
}

bool membership_passive(const struct membership *v, uint32_t index,
                        struct membership_peer *out)
{
    if (index >= v->passive.count)
        return false;
    *out = peer_in(&v->passive.entries[index]);
    return true;
}

const struct membership_stats *membership_stats(const struct membership *v)
{
    return &v->stats;
}

/* A neighbor is one once, and no candidate. */
static void check_pairs(const struct membership *v, const struct hlink *hl)
{
    if (hl->state != HLINK_ACTIVE || v->links_count > PAIRS_CHECKED_MAX)
        return;
    assert(membership_link_of(v, &hl->peer.id, HLINK_ACTIVE) == hl);
    assert(peerlist_find(&v->passive, &hl->peer.id) == NULL);
    assert(peerlist_find(&v->lost, &hl->peer.id) == NULL);
}

static void check_active(const struct membership *v)
{
    uint32_t active = 0;

    for (uint32_t i = 0; i < v->links_count; i++) {
        const struct hlink *hl = &v->links[i];
        if (hl->state != HLINK_ACTIVE)
            continue;
        active++;
        assert(!node_id_is_equal(&hl->peer.id, &v->options.id));
    }
    assert(active == v->active_count);
}

void membership_check(const struct membership *v)
{
    check_active(v);
    if (v->links_count > 0) /* each in its turn */
        check_pairs(v, &v->links[v->now_ms % v->links_count]);
    assert(v->active_count <= v->limit);
    assert(v->links_count <= MEMBERSHIP_LINKS_MAX);
    assert(v->dials_count <= MEMBERSHIP_DIALS_MAX);
    assert(v->passive.count <= v->passive.max);
    assert(v->lost.count <= v->lost.max);
    assert(peerlist_find(&v->passive, &v->options.id) == NULL);
    for (uint32_t i = 0; i < v->lost.count; i++)
        assert(peerlist_find(&v->passive, &v->lost.entries[i].id) == NULL);
}
