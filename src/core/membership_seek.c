/* membership_seek.c - whom to dial, and when: what strategies have in common.
 * See membership.h. */
#include <limits.h>
#include <string.h>

#include "core/membership_impl.h"

/* Waits in milliseconds, all jittered. Guesses. */
#define SEEK_MIN_MS 200  /* between contacts while without neighbors ... */
#define SEEK_MAX_MS 5000 /* ... and after several rounds without an answer */
#define PROBE_MS 10000   /* one contact or lost node while joined, ... */
#define PROBE_SCAN_MS 500000 /* ... sooner if not all had their turn in it */
#define SELF_RETRY_MS 60000  /* a name that was ours is looked up again */
#define SEARCH_MIN_MS 1000   /* a name is searched for strangers; doubles */
#define SEARCH_MAX_MS 600000
#define REFILL_MS 10000 /* the directory is asked for candidates */
#define REFILL_PEERS 8
#define SHUFFLE_REST_AFTER 2 /* shuffles; then shuffle_rest times the wait */
#define RETRY_MS 500         /* after the first failed dial; doubles */
#define RETRY_MAX_MS 30000
#define FILL_MIN_MS 500 /* after a rejection; doubles */
#define FILL_MAX_MS 20000
#define FAILS_MAX 3 /* failed dials in a row until a peer is lost */

/** See membership_random_victim(). */
#define SPARE_MS 2000

struct hdial *membership_dial(struct membership *v, enum dial_purpose purpose,
                              const struct node_id *peer, const char *address,
                              struct actions *out)
{
    if (v->dials_count == MEMBERSHIP_DIALS_MAX) {
        v->stats.dial_refused++;
        return NULL;
    }
    struct hdial *d = &v->dials[v->dials_count++];
    *d = (struct hdial){.dial = (uint64_t)MEMBERSHIP_DIAL_TAG << 56 |
                                ++v->dial_counter,
                        .purpose = purpose,
                        .contact = -1};
    if (peer != NULL)
        d->peer = *peer;
    if (purpose == DIAL_SEARCH)
        actions_search(out, d->dial, argus_LinkKind_LINK_MESH, address);
    else
        actions_dial(out, d->dial, argus_LinkKind_LINK_MESH, address, peer);
    return d;
}

bool membership_take_dial(struct membership *v, dial_id dial, struct hdial *out)
{
    for (uint32_t i = 0; i < v->dials_count; i++) {
        if (v->dials[i].dial != dial)
            continue;
        *out = v->dials[i];
        v->dials[i] = v->dials[--v->dials_count];
        return true;
    }
    return false;
}

bool membership_is_dialing(const struct membership *v,
                           const struct node_id *peer)
{
    for (uint32_t i = 0; i < v->dials_count; i++)
        if (v->dials[i].purpose != DIAL_REPLY &&
            node_id_is_equal(&v->dials[i].peer, peer))
            return true;
    return membership_link_of(v, peer, HLINK_ASKED) != NULL;
}

static bool is_dialing_contact(const struct membership *v, uint32_t contact)
{
    for (uint32_t i = 0; i < v->dials_count; i++)
        if (v->dials[i].contact == (int32_t)contact)
            return true;
    return false;
}

uint32_t membership_asking(const struct membership *v)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < v->dials_count; i++)
        n += v->dials[i].purpose == DIAL_NEIGHBOR &&
             v->dials[i].intent == INTENT_FILL;
    for (uint32_t i = 0; i < v->links_count; i++)
        n += v->links[i].state == HLINK_ASKED &&
             v->links[i].intent == INTENT_FILL;
    return n;
}

uint32_t membership_doubled(uint32_t ms, uint32_t times, uint32_t max_ms)
{
    while (times-- > 0 && ms < max_ms)
        ms *= 2;
    return ms < max_ms ? ms : max_ms;
}

uint64_t membership_soon(struct membership *v, uint32_t ms)
{
    return v->now_ms + prng_below(&v->prng, ms) + 1;
}

void membership_postpone(struct membership *v, const struct node_id *id,
                         uint32_t wait_ms, bool failed)
{
    struct peer_entry *e = peerlist_find(&v->passive, id);
    bool was_passive = e != NULL;

    if (e == NULL)
        e = peerlist_find(&v->lost, id);
    if (e == NULL)
        return;
    e->fails += failed;
    if (failed)
        wait_ms = membership_doubled(RETRY_MS, e->fails - 1, RETRY_MAX_MS);
    e->next_try_ms = v->now_ms + prng_jitter(&v->prng, wait_ms);
    if (was_passive && e->fails >= FAILS_MAX)
        membership_move_lost(v, e);
}

/* ------------------------------------------------- fill the active view */

/* departs: the paper drops a candidate that does not answer, and
 * passive views ran dry (in reproductions); here it steps back. */
struct peer_entry *membership_candidate(struct membership *v,
                                        const struct peerlist *from)
{
    struct peer_entry *best = NULL;
    uint32_t ties = 0;

    for (uint32_t i = 0; i < from->count; i++) {
        struct peer_entry *e = &from->entries[i];
        if (e->next_try_ms > v->now_ms || membership_is_dialing(v, &e->id))
            continue;
        if (best != NULL && e->fails > best->fails)
            continue;
        if (best == NULL || e->fails < best->fails)
            ties = 0;
        if (prng_below(&v->prng, ++ties) == 0)
            best = e;
    }
    return best;
}

struct hdial *membership_ask(struct membership *v, const struct node_id *id,
                             const char *address, bool high, enum intent intent,
                             struct actions *out)
{
    struct hdial *d = membership_dial(v, DIAL_NEIGHBOR, id, address, out);

    if (d == NULL)
        return NULL;
    d->is_high = high;
    d->intent = intent;
    return d;
}

/* The passive view ran dry: some members, whom nobody here has spoken with
 * lately. Without neighbors the directory may be as old as the last run, so
 * then whoever has not left will do. */
static void refill(struct membership *v)
{
    struct membership_peer p;
    uint32_t before = v->passive.count;

    if (v->passive.count > 0 || v->now_ms < v->refill_at_ms)
        return;
    v->refill_at_ms = v->now_ms + prng_jitter(&v->prng, REFILL_MS);
    struct membership_wish wish = {
        .live = v->active_count > 0,
        .aggregator = !v->strategy->is_candidate(v, argus_Role_ROLE_AGENT)};
    for (uint32_t i = 0; i < REFILL_PEERS; i++)
        if (v->listener.any_member(v->listener.context,
                                   (uint32_t)prng_next(&v->prng), wish, &p))
            membership_add_passive(v, &p);
    v->stats.refilled += v->passive.count - before;
}

static void fill(struct membership *v, struct actions *out)
{
    if (v->active_count > 0 && v->now_ms < v->fill_at_ms)
        return;
    uint32_t want = v->strategy->want(v);
    if (want > 0)
        refill(v);
    for (; want > 0; want--) {
        struct peer_entry *e = membership_candidate(v, &v->passive);
        if (e == NULL ||
            membership_ask(v, &e->id, e->address, v->strategy->insists(v),
                           INTENT_FILL, out) == NULL)
            return;
    }
}

/* ---------------------------------------------- contacts and lost nodes */

void membership_new_contact(struct membership *v, struct contact *c)
{
    c->is_name = c->address[0] != '[' &&
                 strspn(c->address, "0123456789.:") != strlen(c->address);
    c->search_wait_ms = SEARCH_MIN_MS;
    c->search_at_ms = v->now_ms;
}

/* A literal that is ours stays so; behind a name somebody else may appear. */
static bool is_still_self(const struct membership *v, const struct contact *c)
{
    return c->is_self &&
           (!c->is_name || v->now_ms - c->tried_ms < SELF_RETRY_MS);
}

bool membership_is_contact_due(const struct membership *v, uint32_t i)
{
    const struct contact *c = &v->contacts[i];

    return !is_still_self(v, c) && !is_dialing_contact(v, i) &&
           (node_id_is_zero(&c->id) || (!membership_is_active(v, &c->id) &&
                                        !membership_is_dialing(v, &c->id)));
}

static void join_contact(struct membership *v, uint32_t i, struct actions *out)
{
    struct contact *c = &v->contacts[i];

    if (!membership_is_contact_due(v, i))
        return;
    c->tried_ms = v->now_ms;
    struct hdial *d = membership_dial(v, DIAL_JOIN, NULL, c->address, out);
    if (d != NULL)
        d->contact = (int32_t)i;
}

/* Who is alone calls; those who hear it and are still strangers dial it. */
void membership_answer_calls(struct membership *v, struct actions *out)
{
    struct caller *c;

    while ((c = callers_next(&v->callers, v->now_ms, v->active_count == 0)) !=
           NULL) {
        if (v->listener.is_live(v->listener.context, &c->id) ||
            membership_is_active(v, &c->id) ||
            membership_is_dialing(v, &c->id)) {
            callers_drop(&v->callers, c);
            continue;
        }
        callers_dialed(&v->callers, c, v->now_ms, &v->prng);
        if (membership_dial(v, DIAL_JOIN, &c->id, c->address, out) != NULL)
            v->stats.call_answered++;
    }
}

static void call(struct membership *v, struct actions *out)
{
    if (!v->options.calls)
        return;
    v->stats.call_sent++;
    actions_call(out);
}

/* Without neighbors: the next contact, and beside it one of the lost. The
 * wait grows after each round of the contacts. */
static void seek(struct membership *v, struct actions *out)
{
    struct peer_entry *e = membership_candidate(v, &v->lost);

    if (v->contacts_count > 0) {
        join_contact(v, v->contact_next, out);
        v->contact_next = (v->contact_next + 1) % v->contacts_count;
    }
    if (e != NULL)
        (void)membership_ask(v, &e->id, e->address, true, INTENT_FILL, out);

    uint32_t wait = SEEK_MIN_MS;
    if (v->contact_next == 0) {
        call(v, out);
        wait = v->seek_wait_ms;
        v->seek_wait_ms = membership_doubled(v->seek_wait_ms, 1, SEEK_MAX_MS);
    }
    v->seek_at_ms = v->now_ms + prng_jitter(&v->prng, wait);
}

static bool is_worth_probing(const struct membership *v,
                             const struct contact *c)
{
    void *context = v->listener.context;

    if (is_still_self(v, c) || v->listener.is_live_address(context, c->address))
        return false;
    return node_id_is_zero(&c->id) || (!v->listener.is_live(context, &c->id) &&
                                       !membership_is_active(v, &c->id));
}

/* When the next name is to be searched. */
static uint64_t search_ms(const struct membership *v)
{
    uint64_t due = UINT64_MAX;

    for (uint32_t i = 0; i < v->contacts_count; i++)
        if (v->contacts[i].is_name)
            due = least(due, v->contacts[i].search_at_ms);
    return due;
}

static uint64_t next_probe_ms(struct membership *v)
{
    uint32_t count = v->contacts_count + v->lost.count;
    uint32_t wait_ms = count == 0 ? PROBE_MS : PROBE_SCAN_MS / count;
    uint64_t search_at_ms = search_ms(v);

    wait_ms = prng_jitter(&v->prng, wait_ms < PROBE_MS ? wait_ms : PROBE_MS);
    if (search_at_ms >= v->now_ms + wait_ms)
        return v->now_ms + wait_ms;
    return search_at_ms > v->now_ms ? search_at_ms
                                    : membership_soon(v, SEARCH_MIN_MS);
}

/* departs: nodes that start together, each with another one of the addresses of
 * one name, may be islands. So a name is searched for nodes that are not known
 * here: soon after a neighbor was found, then ever more seldom. Where all are
 * known, that is a look-up and no more. */
static bool search(struct membership *v, struct actions *out)
{
    for (uint32_t i = 0; i < v->contacts_count; i++) {
        struct contact *c = &v->contacts[i];
        if (!c->is_name || c->search_at_ms > v->now_ms)
            continue;
        c->search_at_ms = v->now_ms + prng_jitter(&v->prng, c->search_wait_ms);
        c->search_wait_ms =
            membership_doubled(c->search_wait_ms, 1, SEARCH_MAX_MS);
        if (is_still_self(v, c) || is_dialing_contact(v, i))
            continue;
        c->tried_ms = v->now_ms;
        struct hdial *d =
            membership_dial(v, DIAL_SEARCH, NULL, c->address, out);
        if (d != NULL)
            d->contact = (int32_t)i;
        return true;
    }
    return false;
}

/* Whose last probe is longest ago; of several one at random. */
static struct peer_entry *lost_in_turn(struct membership *v)
{
    struct peer_entry *oldest = NULL;
    uint32_t ties = 0;

    for (uint32_t i = 0; i < v->lost.count; i++) {
        struct peer_entry *e = &v->lost.entries[i];
        if ((oldest != NULL && e->probed_ms > oldest->probed_ms) ||
            membership_is_dialing(v, &e->id))
            continue;
        if (oldest == NULL || e->probed_ms < oldest->probed_ms)
            ties = 0;
        if (prng_below(&v->prng, ++ties) == 0)
            oldest = e;
    }
    return oldest;
}

/* While joined, one contact or lost node at a time, each in its turn: whoever
 * answers from the other side of a healed partition is joined. */
static void probe(struct membership *v, struct actions *out)
{
    if (search(v, out))
        return;

    struct peer_entry *lost = lost_in_turn(v);
    uint32_t contact = UINT32_MAX;

    for (uint32_t i = 0; i < v->contacts_count; i++)
        if (is_worth_probing(v, &v->contacts[i]) &&
            (contact == UINT32_MAX ||
             v->contacts[i].tried_ms < v->contacts[contact].tried_ms))
            contact = i;
    if (contact == UINT32_MAX && lost == NULL)
        return;
    v->stats.probe_sent++;
    if (lost == NULL || (contact != UINT32_MAX &&
                         v->contacts[contact].tried_ms < lost->probed_ms)) {
        join_contact(v, contact, out);
        return;
    }
    lost->probed_ms = v->now_ms;
    (void)membership_dial(v, DIAL_JOIN, &lost->id, lost->address, out);
}

/* -------------------------------------------------------------- shuffle */

static void shuffle(struct membership *v, struct actions *out)
{
    struct hlink *hl = membership_random_active(v, NULL, NULL);
    argus_Frame f;

    if (hl == NULL || !is_dialable(v->options.address))
        return;
    f.hlc = 0;
    f.which_body = argus_Frame_shuffle_tag;
    argus_Shuffle *s = &f.body.shuffle;
    memset(s, 0, sizeof *s);
    s->has_origin = true;
    membership_self(v, &s->origin);
    s->ttl = HYPARVIEW_ARWL;
    s->seeks = v->active_count < v->limit;
    s->peers_count =
        (pb_size_t)membership_sample(v, &hl->peer.id, HYPARVIEW_SHUFFLE_ACTIVE,
                                     HYPARVIEW_SHUFFLE_PASSIVE, s->peers);
    v->sent_ids_count = s->peers_count;
    for (uint32_t i = 0; i < s->peers_count; i++)
        v->sent_ids[i] = node_id_of(s->peers[i].id);
    v->shuffle_answer_until_ms = v->now_ms + v->options.shuffle_ms;
    v->stats.shuffle_sent++;
    actions_send(out, hl->link, &f);
}

/* Neighbors that have long been the same, and are enough, leave little for a
 * shuffle to mend: departs from one each cycle for ever, which in a mesh at
 * rest is most of what it sends. The clock must still meet enough others: how
 * long the rest may be is the owner's to say. */
static uint32_t shuffle_wait_ms(const struct membership *v)
{
    bool is_at_rest = v->options.shuffle_rest > 1 &&
                      v->active_count >= v->limit &&
                      v->now_ms - v->changed_ms >=
                          (uint64_t)SHUFFLE_REST_AFTER * v->options.shuffle_ms;

    return v->options.shuffle_ms * (is_at_rest ? v->options.shuffle_rest : 1);
}

void membership_shuffle_soon(struct membership *v)
{
    v->changed_ms = v->now_ms;
    if (v->shuffle_at_ms > v->now_ms + v->options.shuffle_ms)
        v->shuffle_at_ms =
            v->now_ms + prng_jitter(&v->prng, v->options.shuffle_ms);
}

/* --------------------------------------------------------------- timers */

void membership_seek_alone(struct membership *v)
{
    v->seek_wait_ms = SEEK_MIN_MS;
    v->seek_at_ms = v->now_ms + prng_jitter(&v->prng, SEEK_MIN_MS);
    v->rejected_row = 0;
}

void membership_seek_joined(struct membership *v)
{
    v->seek_wait_ms = SEEK_MIN_MS;
    for (uint32_t i = 0; i < v->contacts_count; i++) {
        struct contact *c = &v->contacts[i];
        if (!c->is_name)
            continue;
        c->search_wait_ms = SEARCH_MIN_MS;
        c->search_at_ms = membership_soon(v, SEARCH_MIN_MS);
    }
    v->probe_at_ms = next_probe_ms(v);
}

void membership_start_timers(struct membership *v)
{
    v->shuffle_at_ms = membership_soon(v, v->options.shuffle_ms);
    v->probe_at_ms = membership_soon(v, PROBE_MS);
    v->seek_at_ms = v->now_ms;
    v->seek_wait_ms = SEEK_MIN_MS;
}

void membership_seek_timeout(struct membership *v, struct actions *out)
{
    if (v->active_count == 0) {
        if (v->now_ms >= v->seek_at_ms)
            seek(v, out);
        return;
    }
    if (v->now_ms >= v->shuffle_at_ms) {
        shuffle(v, out);
        v->shuffle_at_ms =
            v->now_ms + prng_jitter(&v->prng, shuffle_wait_ms(v));
    }
    if (v->now_ms >= v->probe_at_ms) {
        probe(v, out);
        v->probe_at_ms = next_probe_ms(v);
    }
}

uint64_t membership_seek_ms(const struct membership *v)
{
    if (v->active_count > 0)
        return least(v->probe_at_ms, v->shuffle_at_ms);
    return v->contacts_count + v->lost.count > 0 || v->options.calls
               ? v->seek_at_ms
               : UINT64_MAX;
}

/* When the next candidate may be asked, if one is wanted at all. */
static uint64_t fill_due_ms(const struct membership *v)
{
    uint64_t due = UINT64_MAX;

    if (v->strategy->want(v) == 0 || v->dials_count == MEMBERSHIP_DIALS_MAX)
        return due;
    if (v->passive.count == 0)
        due = v->refill_at_ms;
    for (uint32_t i = 0; i < v->passive.count; i++)
        if (!membership_is_dialing(v, &v->passive.entries[i].id))
            due = least(due, v->passive.entries[i].next_try_ms);
    if (v->active_count > 0 && due < v->fill_at_ms)
        due = v->fill_at_ms;
    return due;
}

void membership_settle(struct membership *v, struct actions *out)
{
    uint64_t due = UINT64_MAX;

    if (v->is_started && !v->has_left) {
        fill(v, out);
        due = least(fill_due_ms(v), v->strategy->deadline_ms(v));
        due = least(due, callers_deadline_ms(&v->callers));
    }
    for (uint32_t i = 0; i < v->links_count; i++) {
        const struct hlink *hl = &v->links[i];
        if (hl->state == HLINK_WAITING || hl->state == HLINK_ASKED)
            due = least(due, hl->deadline_ms);
    }
    v->deadline_ms = due;
    membership_check(v);
}

void membership_seek_rejected(struct membership *v)
{
    v->rejected_row++;
    v->fill_at_ms =
        v->now_ms + prng_jitter(&v->prng, membership_doubled(
                                              FILL_MIN_MS, v->rejected_row - 1,
                                              FILL_MAX_MS));
}

/* ------------------------------------- what strategies have in common */

bool membership_anyone(const struct membership *v, argus_Role role)
{
    (void)v;
    (void)role;
    return true;
}

uint32_t membership_passive_max(const struct membership_options *options)
{
    return options->passive_max != 0 ? options->passive_max
                                     : MEMBERSHIP_PASSIVE_LIMIT;
}

uint32_t membership_everyone(const struct membership_options *options)
{
    (void)options;
    return MEMBERSHIP_PASSIVE_LIMIT;
}

uint32_t membership_neighbors_max(const struct membership_options *options)
{
    (void)options;
    return MEMBERSHIP_NEIGHBORS_MAX;
}

bool membership_insists_alone(const struct membership *v)
{
    return v->active_count == 0;
}

struct hlink *membership_nobody(struct membership *v,
                                const struct hlink *newcomer)
{
    (void)v;
    (void)newcomer;
    return NULL;
}

static bool is_used(const struct membership *v, const struct hlink *hl)
{
    return v->listener.is_used(v->listener.context, hl->link);
}

bool membership_has_spare(const struct membership *v)
{
    for (uint32_t i = 0; i < v->links_count; i++)
        if (v->links[i].state == HLINK_ACTIVE && !is_used(v, &v->links[i]))
            return true;
    return false;
}

/* What is lost with it, the worst first. */
static unsigned loss_of(const struct membership *v, const struct hlink *hl)
{
    bool has_just_come = v->now_ms - hl->up_ms <= SPARE_MS;

    return 4u * hl->is_near + 2u * has_just_come + is_used(v, hl);
}

struct hlink *membership_random_victim(struct membership *v,
                                       const struct hlink *newcomer)
{
    struct hlink *best = NULL;
    unsigned least = UINT_MAX;
    uint32_t ties = 0;

    for (uint32_t i = 0; i < v->links_count; i++) {
        struct hlink *hl = &v->links[i];
        if (hl->state != HLINK_ACTIVE ||
            node_id_is_equal(&hl->peer.id, &newcomer->peer.id))
            continue;
        unsigned loss = loss_of(v, hl);
        if (loss < least)
            ties = 0;
        if (loss <= least && prng_below(&v->prng, ++ties) == 0) {
            best = hl;
            least = loss;
        }
    }
    return best;
}

bool membership_has_place(const struct membership *v, argus_Role role)
{
    (void)role;
    return v->active_count < v->limit;
}

uint32_t membership_want_all(const struct membership *v)
{
    uint32_t asking = membership_asking(v), taken = v->active_count + asking;

    if (taken >= v->limit)
        return 0;
    if (v->rejected_row > 0) /* somebody has no room: no storm */
        return asking == 0 ? 1 : 0;
    return v->limit - taken;
}

void membership_tell_joined(struct membership *v, struct hlink *hl,
                            struct actions *out)
{
    struct membership_peer peer = membership_peer_at(hl);
    argus_Peer joiner;

    membership_put_peer(&joiner, &peer);
    for (uint32_t i = 0; i < v->links_count; i++)
        if (v->links[i].state == HLINK_ACTIVE && &v->links[i] != hl)
            membership_send_walk(v->links[i].link, &joiner, HYPARVIEW_ARWL,
                                 out);
}

void membership_keep_joiner(struct membership *v, struct hlink *from,
                            const argus_ForwardJoin *m, struct actions *out)
{
    struct membership_peer joiner = membership_peer_of(&m->joiner);

    (void)from;
    (void)out; /* whoever is wanted is asked at the end of the input */
    membership_add_passive(v, &joiner);
}

void membership_stop_shuffle(struct membership *v, struct hlink *from,
                             argus_Frame *frame, struct actions *out)
{
    (void)from;
    membership_end_shuffle(v, &frame->body.shuffle, out);
}
