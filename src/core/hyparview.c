/* hyparview.c - whom to dial, and when. See membership.h. */
#include "core/membership_impl.h"

#include <string.h>

/* Waits in milliseconds, all jittered. Guesses, but for the shuffle. */
#define SEEK_MIN_MS 200  /* between contacts while without neighbors ... */
#define SEEK_MAX_MS 5000 /* ... and after several rounds without an answer */
#define PROBE_MS 10000   /* one contact or lost node while joined, ... */
#define PROBE_SCAN_MS                                                          \
    500000                  /* ... sooner if not all had their turn in this    \
                             */
#define SELF_RETRY_MS 60000 /* a name that was ours is looked up again */
#define REFILL_MS 10000     /* the directory is asked for candidates */
#define REFILL_PEERS 8
#define SWAP_MS 600000 /* one neighbor exchanged to mix the overlay */
#define RETRY_MS 500   /* after the first failed dial; doubles */
#define RETRY_MAX_MS 30000
#define FILL_MIN_MS 500 /* after a rejection; doubles */
#define FILL_MAX_MS 20000
#define FAILS_MAX 3      /* failed dials in a row until a peer is lost */
#define REJECTED_MAX 3   /* rejections in a row until we insist */
#define RETURNED_MIN 3   /* lost peers back within ... */
#define RETURNED_MS 5000 /* ... this: a partition has healed */

struct hdial *membership_dial(struct membership *h, enum dial_purpose purpose,
                              const struct node_id *peer, const char *address,
                              struct actions *out)
{
    if (h->dials_count == MEMBERSHIP_DIALS_MAX) {
        h->stats.dial_refused++;
        return NULL;
    }
    struct hdial *d = &h->dials[h->dials_count++];
    *d = (struct hdial){.dial = (uint64_t)MEMBERSHIP_DIAL_TAG << 56 |
                                ++h->dial_counter,
                        .purpose = purpose,
                        .contact = -1};
    if (peer != NULL)
        d->peer = *peer;
    actions_dial(out, d->dial, argus_LinkKind_LINK_MESH, address, peer);
    return d;
}

bool membership_take_dial(struct membership *h, dial_id dial, struct hdial *out)
{
    for (uint32_t i = 0; i < h->dials_count; i++) {
        if (h->dials[i].dial != dial)
            continue;
        *out = h->dials[i];
        h->dials[i] = h->dials[--h->dials_count];
        return true;
    }
    return false;
}

bool membership_is_dialing(const struct membership *h,
                           const struct node_id *peer)
{
    for (uint32_t i = 0; i < h->dials_count; i++)
        if (h->dials[i].purpose != DIAL_REPLY &&
            node_id_is_equal(&h->dials[i].peer, peer))
            return true;
    return membership_link_of(h, peer, HLINK_ASKED) != NULL;
}

static bool is_dialing_contact(const struct membership *h, uint32_t contact)
{
    for (uint32_t i = 0; i < h->dials_count; i++)
        if (h->dials[i].contact == (int32_t)contact)
            return true;
    return false;
}

/* Dialed or asked, and meant to take a free place in the active view. */
static uint32_t asking_count(const struct membership *h)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < h->dials_count; i++)
        n += h->dials[i].purpose == DIAL_NEIGHBOR && !h->dials[i].is_displacing;
    for (uint32_t i = 0; i < h->links_count; i++)
        n += h->links[i].state == HLINK_ASKED && !h->links[i].is_displacing;
    return n;
}

static uint32_t doubled(uint32_t ms, uint32_t times, uint32_t max_ms)
{
    while (times-- > 0 && ms < max_ms)
        ms *= 2;
    return ms < max_ms ? ms : max_ms;
}

void membership_postpone(struct membership *h, const struct node_id *id,
                         uint32_t wait_ms, bool failed)
{
    struct peer_entry *e = peerlist_find(&h->passive, id);
    bool was_passive = e != NULL;

    if (e == NULL)
        e = peerlist_find(&h->lost, id);
    if (e == NULL)
        return;
    e->fails += failed;
    if (failed)
        wait_ms = doubled(RETRY_MS, e->fails - 1, RETRY_MAX_MS);
    e->next_try_ms = h->now_ms + prng_jitter(&h->prng, wait_ms);
    if (was_passive && e->fails >= FAILS_MAX)
        membership_add_lost(h, id, e->address, e->generation);
}

/* ------------------------------------------------- fill the active view */

/* Of those whose time has come the ones that failed least, and of these a
 * random one. departs: the paper drops a candidate that does not answer, and
 * passive views ran dry (PROTOCOLS.md §4); here it steps back. */
static struct peer_entry *candidate(struct membership *h,
                                    const struct peerlist *from)
{
    struct peer_entry *best = NULL;
    uint32_t ties = 0;

    for (uint32_t i = 0; i < from->count; i++) {
        struct peer_entry *e = &from->entries[i];
        if (e->next_try_ms > h->now_ms || membership_is_dialing(h, &e->id))
            continue;
        if (best != NULL && e->fails > best->fails)
            continue;
        if (best == NULL || e->fails < best->fails)
            ties = 0;
        if (prng_below(&h->prng, ++ties) == 0)
            best = e;
    }
    return best;
}

/* departs: the paper insists (high priority) only when the active view is
 * empty. Then a few nodes can hang together by themselves while all others are
 * full, so a node that lacks two or more insists after some rejections. */
static bool is_insisting(const struct membership *h)
{
    return h->active_count == 0 ||
           (h->rejected_row >= REJECTED_MAX &&
            h->active_count + 1 < h->options.active_max);
}

static bool ask(struct membership *h, const struct peer_entry *e, bool high,
                bool displacing, struct actions *out)
{
    struct hdial *d =
        membership_dial(h, DIAL_NEIGHBOR, &e->id, e->address, out);
    if (d == NULL)
        return false;
    d->is_high = high;
    d->is_displacing = displacing;
    return true;
}

static uint32_t fill_want(const struct membership *h)
{
    uint32_t asking = asking_count(h), max = h->options.active_max;
    if (h->active_count >= max)
        return 0;
    uint32_t want = max - h->active_count;

    /* After a massive failure half of the candidates are dead: ask some more
     * than there are places, or the rounds add up. */
    if (h->active_count <= max / 2)
        want += 2;
    if (h->rejected_row > 0)
        want = 1;
    return want > asking ? want - asking : 0;
}

/* The passive view ran dry: some members, whom nobody here has spoken with
 * lately. Without neighbors the directory may be as old as the last run, so
 * then whoever has not left will do. */
static void refill(struct membership *h)
{
    struct membership_peer p;
    uint32_t before = h->passive.count;

    if (h->passive.count > 0 || h->now_ms < h->refill_at_ms)
        return;
    h->refill_at_ms = h->now_ms + prng_jitter(&h->prng, REFILL_MS);
    for (uint32_t i = 0; i < REFILL_PEERS; i++)
        if (h->listener.any_member(h->listener.context,
                                   (uint32_t)prng_next(&h->prng),
                                   h->active_count > 0, &p))
            membership_add_passive(h, &p.id, p.address, p.generation);
    h->stats.refilled += h->passive.count - before;
}

static void fill(struct membership *h, struct actions *out)
{
    if (h->active_count > 0 && h->now_ms < h->fill_at_ms)
        return;
    uint32_t want = fill_want(h);
    if (want > 0)
        refill(h);
    for (; want > 0; want--) {
        struct peer_entry *e = candidate(h, &h->passive);
        if (e == NULL || !ask(h, e, is_insisting(h), false, out))
            return;
    }
}

/* ---------------------------------------------- contacts and lost nodes */

/* A literal that is ours stays so; behind a name somebody else may appear. */
static bool is_still_self(const struct membership *h, const struct contact *c)
{
    bool is_literal = c->address[0] == '[' ||
                      strspn(c->address, "0123456789.:") == strlen(c->address);

    return c->is_self &&
           (is_literal || h->now_ms - c->tried_ms < SELF_RETRY_MS);
}

static bool join_contact(struct membership *h, uint32_t i, struct actions *out)
{
    struct contact *c = &h->contacts[i];

    if (is_still_self(h, c) || is_dialing_contact(h, i) ||
        (!node_id_is_zero(&c->id) &&
         (membership_is_active(h, &c->id) || membership_is_dialing(h, &c->id))))
        return false;
    c->tried_ms = h->now_ms;
    struct hdial *d = membership_dial(h, DIAL_JOIN, NULL, c->address, out);
    if (d != NULL)
        d->contact = (int32_t)i;
    return d != NULL;
}

/* Without neighbors: the next contact, and beside it one of the lost. The
 * wait grows after each round of the contacts. */
static void seek(struct membership *h, struct actions *out)
{
    struct peer_entry *e = candidate(h, &h->lost);

    if (h->contacts_count > 0) {
        (void)join_contact(h, h->contact_next, out);
        h->contact_next = (h->contact_next + 1) % h->contacts_count;
    }
    if (e != NULL)
        (void)ask(h, e, true, false, out);

    uint32_t wait = SEEK_MIN_MS;
    if (h->contact_next == 0) {
        wait = h->seek_wait_ms;
        h->seek_wait_ms = doubled(h->seek_wait_ms, 1, SEEK_MAX_MS);
    }
    h->seek_at_ms = h->now_ms + prng_jitter(&h->prng, wait);
}

static bool is_worth_probing(const struct membership *h,
                             const struct contact *c)
{
    void *context = h->listener.context;

    if (is_still_self(h, c) || h->listener.is_live_address(context, c->address))
        return false;
    return node_id_is_zero(&c->id) || (!h->listener.is_live(context, &c->id) &&
                                       !membership_is_active(h, &c->id));
}

static uint32_t probe_wait_ms(struct membership *h)
{
    uint32_t count = h->contacts_count + h->lost.count;
    uint32_t wait_ms = count == 0 ? PROBE_MS : PROBE_SCAN_MS / count;

    return prng_jitter(&h->prng, wait_ms < PROBE_MS ? wait_ms : PROBE_MS);
}

/* Whose last probe is longest ago; of several one at random. */
static struct peer_entry *lost_in_turn(struct membership *h)
{
    struct peer_entry *oldest = NULL;
    uint32_t ties = 0;

    for (uint32_t i = 0; i < h->lost.count; i++) {
        struct peer_entry *e = &h->lost.entries[i];
        if ((oldest != NULL && e->probed_ms > oldest->probed_ms) ||
            membership_is_dialing(h, &e->id))
            continue;
        if (oldest == NULL || e->probed_ms < oldest->probed_ms)
            ties = 0;
        if (prng_below(&h->prng, ++ties) == 0)
            oldest = e;
    }
    return oldest;
}

/* While joined, one contact or lost node at a time, each in its turn: whoever
 * answers from the other side of a healed partition is joined. */
static void probe(struct membership *h, struct actions *out)
{
    struct peer_entry *lost = lost_in_turn(h);
    uint32_t contact = UINT32_MAX;

    for (uint32_t i = 0; i < h->contacts_count; i++)
        if (is_worth_probing(h, &h->contacts[i]) &&
            (contact == UINT32_MAX ||
             h->contacts[i].tried_ms < h->contacts[contact].tried_ms))
            contact = i;
    if (contact == UINT32_MAX && lost == NULL)
        return;
    h->stats.probe_sent++;
    if (lost == NULL || (contact != UINT32_MAX &&
                         h->contacts[contact].tried_ms < lost->probed_ms)) {
        (void)join_contact(h, contact, out);
        return;
    }
    lost->probed_ms = h->now_ms;
    (void)membership_dial(h, DIAL_JOIN, &lost->id, lost->address, out);
}

/* departs: the paper never changes a link that works. But two meshes that
 * hang together by one link can lose it to an eviction, and then each half
 * takes itself for the whole. So now and then a node exchanges a random
 * neighbor for a random passive peer: the overlay stays a random graph. */
static void swap(struct membership *h, struct actions *out)
{
    if (h->active_count < 2 || h->active_count < h->options.active_max)
        return;
    struct peer_entry *e = candidate(h, &h->passive);
    if (e == NULL)
        return;
    h->stats.swap_sent++;
    (void)ask(h, e, true, true, out);
}

/* -------------------------------------------------------------- shuffle */

static void shuffle(struct membership *h, struct actions *out)
{
    struct hlink *hl = membership_random_active(h, NULL, NULL);
    argus_Frame f;

    if (hl == NULL || !is_dialable(h->options.address))
        return;
    f.hlc = 0;
    f.which_body = argus_Frame_shuffle_tag;
    argus_Shuffle *s = &f.body.shuffle;
    memset(s, 0, sizeof *s);
    s->has_origin = true;
    membership_self(h, &s->origin);
    s->ttl = HYPARVIEW_ARWL;
    s->peers_count =
        (pb_size_t)membership_sample(h, &hl->peer.id, HYPARVIEW_SHUFFLE_ACTIVE,
                                     HYPARVIEW_SHUFFLE_PASSIVE, s->peers);
    h->sent_ids_count = s->peers_count;
    for (uint32_t i = 0; i < s->peers_count; i++)
        h->sent_ids[i] = node_id_of(s->peers[i].id);
    h->shuffle_answer_until_ms = h->now_ms + h->options.shuffle_ms;
    h->stats.shuffle_sent++;
    actions_send(out, hl->link, &f);
}

/* --------------------------------------------------------------- timers */

void membership_seek_alone(struct membership *h)
{
    h->seek_wait_ms = SEEK_MIN_MS;
    h->seek_at_ms = h->now_ms + prng_jitter(&h->prng, SEEK_MIN_MS);
    h->rejected_row = 0;
}

void membership_seek_joined(struct membership *h)
{
    h->seek_wait_ms = SEEK_MIN_MS;
    h->probe_at_ms = h->now_ms + probe_wait_ms(h);
}

static uint64_t soon(struct membership *h, uint32_t ms)
{
    return h->now_ms + prng_below(&h->prng, ms) + 1;
}

void membership_seek_start(struct membership *h)
{
    h->shuffle_at_ms = soon(h, h->options.shuffle_ms);
    h->swap_at_ms = soon(h, SWAP_MS);
    h->probe_at_ms = soon(h, PROBE_MS);
    h->seek_at_ms = h->now_ms;
    h->seek_wait_ms = SEEK_MIN_MS;
}

void membership_seek_timeout(struct membership *h, struct actions *out)
{
    if (!h->is_started || h->has_left)
        return;
    if (h->active_count == 0) {
        if (h->now_ms >= h->seek_at_ms)
            seek(h, out);
        return;
    }
    if (h->now_ms >= h->shuffle_at_ms) {
        shuffle(h, out);
        h->shuffle_at_ms =
            h->now_ms + prng_jitter(&h->prng, h->options.shuffle_ms);
    }
    if (h->now_ms >= h->probe_at_ms) {
        probe(h, out);
        h->probe_at_ms = h->now_ms + probe_wait_ms(h);
    }
    if (h->now_ms >= h->swap_at_ms) {
        swap(h, out);
        h->swap_at_ms = h->now_ms + prng_jitter(&h->prng, SWAP_MS);
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When the next candidate may be asked, if one is wanted at all. */
static uint64_t fill_due_ms(const struct membership *h)
{
    uint64_t due = UINT64_MAX;

    if (fill_want(h) == 0 || h->dials_count == MEMBERSHIP_DIALS_MAX)
        return due;
    if (h->passive.count == 0)
        due = h->refill_at_ms;
    for (uint32_t i = 0; i < h->passive.count; i++)
        if (!membership_is_dialing(h, &h->passive.entries[i].id))
            due = least(due, h->passive.entries[i].next_try_ms);
    if (h->active_count > 0 && due < h->fill_at_ms)
        due = h->fill_at_ms;
    return due;
}

void membership_settle(struct membership *h, struct actions *out)
{
    uint64_t due = UINT64_MAX;

    if (h->is_started && !h->has_left) {
        fill(h, out);
        due = fill_due_ms(h);
        if (h->active_count > 0)
            due = least(least(due, h->shuffle_at_ms),
                        least(h->probe_at_ms, h->swap_at_ms));
        else if (h->contacts_count + h->lost.count > 0)
            due = least(due, h->seek_at_ms);
    }
    for (uint32_t i = 0; i < h->links_count; i++) {
        const struct hlink *hl = &h->links[i];
        if (hl->state == HLINK_WAITING || hl->state == HLINK_ASKED)
            due = least(due, hl->deadline_ms);
    }
    h->deadline_ms = due;
    membership_check(h);
}

void membership_seek_rejected(struct membership *h)
{
    h->rejected_row++;
    h->fill_at_ms =
        h->now_ms +
        prng_jitter(&h->prng,
                    doubled(FILL_MIN_MS, h->rejected_row - 1, FILL_MAX_MS));
}

/* Two meshes hang together by the link that was just made: a second one soon.
 */
void membership_seek_bridged(struct membership *h)
{
    h->swap_at_ms = least(h->swap_at_ms, soon(h, RETURNED_MS));
}

/* Several peers that were lost are back in the same life: not they were
 * gone, the network was. Mix the two sides soon, each node at its own moment.
 */
void membership_seek_returned(struct membership *h)
{
    if (h->now_ms - h->returned_since_ms > RETURNED_MS) {
        h->returned_since_ms = h->now_ms;
        h->returned_row = 0;
    }
    if (++h->returned_row == RETURNED_MIN)
        membership_seek_bridged(h);
}
