/* membership_views.c - the passive view and the lost, what is told of the
 * views, and what must always hold of them. See membership.h. */
#include <assert.h>
#include <string.h>

#include "core/membership_impl.h"

/* ----------------------------------------------------------- views */

void membership_self(const struct membership *h, argus_Peer *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->id, h->options.id.bytes, NODE_ID_SIZE);
    address_copy(out->address, h->options.address);
    out->generation = h->options.generation;
}

static bool was_just_sent(const struct membership *h, const struct node_id *id)
{
    for (uint32_t i = 0; i < h->sent_ids_count; i++)
        if (node_id_is_equal(&h->sent_ids[i], id))
            return true;
    return false;
}

static bool has_left(const struct membership *h, const struct node_id *id)
{
    return h->listener.has_left(h->listener.context, id);
}

/* §4.4: the ids just sent to the peer go first, then random ones. */
static void make_passive_room(struct membership *h)
{
    if (h->passive.count < h->passive.max)
        return;
    for (uint32_t i = 0; i < h->passive.count; i++) {
        if (was_just_sent(h, &h->passive.entries[i].id)) {
            (void)peerlist_remove(&h->passive, &h->passive.entries[i].id);
            return;
        }
    }
    uint32_t i = prng_below(&h->prng, h->passive.count);
    (void)peerlist_remove(&h->passive, &h->passive.entries[i].id);
}

void membership_add_passive(struct membership *h, const struct node_id *id,
                            const char *address, uint32_t generation)
{
    if (node_id_is_zero(id) || node_id_is_equal(id, &h->options.id) ||
        !is_dialable(address) || membership_is_active(h, id) || has_left(h, id))
        return;

    struct peer_entry *e = peerlist_find(&h->passive, id);
    if (e != NULL) {
        if (generation > e->generation) {
            e->generation = generation;
            e->fails = 0;
            address_copy(e->address, address);
        }
        return;
    }
    /* Hearsay does not bring back the dead; a newer life does. */
    e = peerlist_find(&h->lost, id);
    if (e != NULL && generation <= e->generation)
        return;
    (void)peerlist_remove(&h->lost, id);
    make_passive_room(h);
    (void)peerlist_add(&h->passive, id, address, generation, h->now_ms);
}

/* The arguments may point into the entry of the passive view. */
void membership_add_lost(struct membership *h, const struct node_id *id,
                         const char *address, uint32_t generation)
{
    struct peer_entry entry = {.id = *id, .generation = generation};
    address_copy(entry.address, address);

    (void)peerlist_remove(&h->passive, &entry.id);
    if (node_id_is_equal(&entry.id, &h->options.id) ||
        !is_dialable(entry.address) || peerlist_find(&h->lost, &entry.id) ||
        has_left(h, &entry.id))
        return;
    if (h->lost.count == h->lost.max) {
        const struct peer_entry *oldest = &h->lost.entries[0];
        for (uint32_t i = 1; i < h->lost.count; i++)
            if (h->lost.entries[i].since_ms < oldest->since_ms)
                oldest = &h->lost.entries[i];
        struct node_id gone = oldest->id;
        (void)peerlist_remove(&h->lost, &gone);
    }
    h->stats.peer_lost++;
    (void)peerlist_add(&h->lost, &entry.id, entry.address, generation,
                       h->now_ms);
}

void membership_take_in(struct membership *h, const argus_Peer *peers,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct node_id id = node_id_of(peers[i].id);
        membership_add_passive(h, &id, peers[i].address, peers[i].generation);
    }
    h->sent_ids_count = 0;
}

void membership_put_peer(argus_Peer *out, const struct node_id *id,
                         const char *address, uint32_t generation)
{
    memset(out, 0, sizeof *out);
    memcpy(out->id, id->bytes, NODE_ID_SIZE);
    address_copy(out->address, address);
    out->generation = generation;
}

/* Random peers of both views, never `but`. Reservoir sampling: each equally
 * likely, no table. */
uint32_t membership_sample(struct membership *h, const struct node_id *but,
                           uint32_t actives, uint32_t passives,
                           argus_Peer peers[MESSAGE_PEERS])
{
    uint32_t count = 0, seen = 0;

    assert(actives + passives <= MESSAGE_PEERS);
    for (uint32_t i = 0; i < h->links_count && actives > 0; i++) {
        const struct hlink *hl = &h->links[i];
        if (hl->state != HLINK_ACTIVE || !is_dialable(hl->peer.address) ||
            node_id_is_equal(&hl->peer.id, but))
            continue;
        uint32_t at = ++seen <= actives ? count++ : prng_below(&h->prng, seen);
        if (at < actives)
            membership_put_peer(&peers[at], &hl->peer.id, hl->peer.address,
                                hl->peer.generation);
    }
    uint32_t base = count;
    seen = 0;
    for (uint32_t i = 0; i < h->passive.count && passives > 0; i++) {
        const struct peer_entry *e = &h->passive.entries[i];
        if (e->fails > 0 || node_id_is_equal(&e->id, but))
            continue;
        uint32_t at =
            ++seen <= passives ? count++ - base : prng_below(&h->prng, seen);
        if (at < passives)
            membership_put_peer(&peers[base + at], &e->id, e->address,
                                e->generation);
    }
    return count;
}

struct hlink *membership_random_active(struct membership *h,
                                       const struct node_id *but,
                                       const struct node_id *nor)
{
    struct hlink *chosen = NULL;
    uint32_t ties = 0;

    for (uint32_t i = 0; i < h->links_count; i++) {
        struct hlink *hl = &h->links[i];
        if (hl->state != HLINK_ACTIVE ||
            (but != NULL && node_id_is_equal(&hl->peer.id, but)) ||
            (nor != NULL && node_id_is_equal(&hl->peer.id, nor)))
            continue;
        if (prng_below(&h->prng, ++ties) == 0)
            chosen = hl;
    }
    return chosen;
}

/* -------------------------------------------------------- questions */

bool membership_is_active_link(const struct membership *h, link_id link)
{
    const struct hlink *hl = membership_find_link(h, link);
    return hl != NULL && hl->state == HLINK_ACTIVE;
}

bool membership_is_active(const struct membership *h, const struct node_id *id)
{
    return membership_link_of(h, id, HLINK_ACTIVE) != NULL;
}

uint32_t membership_active_count(const struct membership *h)
{
    return h->active_count;
}

uint32_t membership_passive_count(const struct membership *h)
{
    return h->passive.count;
}

uint32_t membership_lost_count(const struct membership *h)
{
    return h->lost.count;
}

bool membership_active(const struct membership *h, uint32_t index,
                       struct membership_peer *out)
{
    for (uint32_t i = 0; i < h->links_count; i++) {
        const struct hlink *hl = &h->links[i];
        if (hl->state != HLINK_ACTIVE || index-- > 0)
            continue;
        *out = (struct membership_peer){.id = hl->peer.id,
                                        .generation = hl->peer.generation,
                                        .address = hl->peer.address,
                                        .link = hl->link};
        return true;
    }
    return false;
}

bool membership_passive(const struct membership *h, uint32_t index,
                        struct membership_peer *out)
{
    if (index >= h->passive.count)
        return false;
    const struct peer_entry *e = &h->passive.entries[index];
    *out = (struct membership_peer){
        .id = e->id, .generation = e->generation, .address = e->address};
    return true;
}

const struct membership_stats *membership_stats(const struct membership *h)
{
    return &h->stats;
}

static void check_active(const struct membership *h)
{
    uint32_t active = 0;

    for (uint32_t i = 0; i < h->links_count; i++) {
        const struct hlink *hl = &h->links[i];
        if (hl->state != HLINK_ACTIVE)
            continue;
        active++;
        assert(!node_id_is_equal(&hl->peer.id, &h->options.id));
        assert(membership_link_of(h, &hl->peer.id, HLINK_ACTIVE) == hl);
        assert(peerlist_find(&h->passive, &hl->peer.id) == NULL);
        assert(peerlist_find(&h->lost, &hl->peer.id) == NULL);
    }
    assert(active == h->active_count);
}

void membership_check(const struct membership *h)
{
    check_active(h);
    assert(h->active_count <= h->options.active_max);
    assert(h->links_count <= MEMBERSHIP_LINKS_MAX);
    assert(h->dials_count <= MEMBERSHIP_DIALS_MAX);
    assert(h->passive.count <= h->passive.max);
    assert(h->lost.count <= h->lost.max);
    assert(peerlist_find(&h->passive, &h->options.id) == NULL);
    for (uint32_t i = 0; i < h->lost.count; i++)
        assert(peerlist_find(&h->passive, &h->lost.entries[i].id) == NULL);
}
