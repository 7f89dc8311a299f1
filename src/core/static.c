/* static.c - exactly the contacts, and whoever dials us. See membership.h.
 *
 * Nobody is kept in reserve, replaced, or made room for: a contact that is gone
 * is dialed again, for ever. It is asked to be a neighbor, not joined, so the
 * mesh behind it is not told to look for us. Walks and shuffles of others pass
 * through. */
#include "core/membership_impl.h"

#define REDIAL_MIN_MS 200  /* after a loss; doubles ... */
#define REDIAL_MAX_MS 5000 /* ... up to this */

static uint32_t nobody_kept(const struct membership_options *options)
{
    (void)options;
    return 0;
}

static uint32_t want_none(const struct membership *v)
{
    (void)v;
    return 0;
}

static void start(struct membership *v)
{
    v->seek_at_ms = v->now_ms;
    v->seek_wait_ms = REDIAL_MIN_MS;
}

static void on_joined(struct membership *v, struct hlink *hl,
                      struct actions *out)
{
    (void)v;
    (void)hl;
    (void)out;
}

static void on_forward_join(struct membership *v, struct hlink *from,
                            const argus_ForwardJoin *m, struct actions *out)
{
    struct node_id id = node_id_of(m->joiner.id);
    struct hlink *next = membership_random_active(v, &from->peer.id, &id);

    if (m->ttl > 0 && m->ttl <= HYPARVIEW_ARWL && next != NULL)
        membership_send_walk(next->link, &m->joiner, m->ttl - 1, out);
}

/* A neighbor that is alone insists; others need not make room for us. */
static void redial(struct membership *v, uint32_t i, struct actions *out)
{
    struct contact *c = &v->contacts[i];

    if (!membership_is_contact_due(v, i))
        return;
    c->tried_ms = v->now_ms;
    struct hdial *d = membership_dial(v, DIAL_NEIGHBOR, NULL, c->address, out);
    if (d == NULL)
        return;
    d->contact = (int32_t)i;
    d->is_high = v->active_count == 0;
}

static void on_timeout(struct membership *v, struct actions *out)
{
    if (v->now_ms < v->seek_at_ms)
        return;
    for (uint32_t i = 0; i < v->contacts_count; i++)
        redial(v, (v->contact_next + i) % v->contacts_count, out);
    if (v->contacts_count > 0) /* there may be more than dials at once */
        v->contact_next = (v->contact_next + 1) % v->contacts_count;
    v->seek_at_ms = v->now_ms + prng_jitter(&v->prng, v->seek_wait_ms);
    v->seek_wait_ms = membership_doubled(v->seek_wait_ms, 1, REDIAL_MAX_MS);
}

static uint64_t deadline_ms(const struct membership *v)
{
    for (uint32_t i = 0; i < v->contacts_count; i++)
        if (membership_is_contact_due(v, i))
            return v->seek_at_ms;
    return UINT64_MAX;
}

const struct strategy strategy_static = {
    .name = "static",
    .limit = membership_neighbors_max,
    .passive_max = nobody_kept,
    .is_candidate = membership_anyone,
    .may_hold = membership_anyone,
    .want = want_none,
    .insists = membership_insists_alone,
    .has_room = membership_has_place,
    .victim = membership_nobody,
    .start = start,
    .on_joined = on_joined,
    .on_forward_join = on_forward_join,
    .on_shuffle = membership_walk_shuffle,
    .on_timeout = on_timeout,
    .deadline_ms = deadline_ms,
};
