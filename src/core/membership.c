/* membership.c - links, the active view and messages. See membership.h. */
#include "core/membership.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "core/membership_impl.h"

/** An accepted link whose peer asks for nothing is closed after this. */
#define WAITING_MS 5000

/** A neighbor is not evicted in its first moments if others are there: who has
 *  just come is most likely to depend on us. */
#define SPARE_MS 2000

/** Pings of a peer that deny a link we hold active, until we let go. */
#define AUDIT_MISSES_MAX 2

/** A peer that just parted is not asked again before. */
#define PARTED_MS 3000

/* ------------------------------------------------------------ life */

static bool keep_contact(struct membership *h, const char *address)
{
    for (uint32_t i = 0; i < h->contacts_count; i++)
        if (strcmp(h->contacts[i].address, address) == 0)
            return true;
    if (h->contacts_count == MEMBERSHIP_CONTACTS_MAX)
        return false;

    struct contact *grown =
        realloc(h->contacts, (h->contacts_count + 1) * sizeof *h->contacts);
    if (grown == NULL)
        return false;
    h->contacts = grown;
    struct contact *c = &h->contacts[h->contacts_count++];
    memset(c, 0, sizeof *c);
    address_copy(c->address, address);
    return true;
}

int membership_new(const struct membership_options *options,
                   const struct membership_listener *listener,
                   struct membership **out)
{
    if (options->active_max == 0 ||
        options->active_max > MEMBERSHIP_ACTIVE_LIMIT ||
        options->passive_max > MEMBERSHIP_PASSIVE_LIMIT ||
        options->shuffle_ms == 0 || options->answer_ms == 0 ||
        options->contacts_count > MEMBERSHIP_CONTACTS_MAX ||
        node_id_is_zero(&options->id))
        return ARGUS_EINVAL;

    struct membership *h = calloc(1, sizeof *h);
    if (h == NULL)
        return ARGUS_ENOMEM;
    h->options = *options;
    h->listener = *listener;
    h->deadline_ms = UINT64_MAX;
    h->join_tokens_milli = MEMBERSHIP_JOIN_BURST * 1000;
    prng_seed(&h->prng, options->seed);
    peerlist_init(&h->passive, options->passive_max != 0
                                   ? options->passive_max
                                   : MEMBERSHIP_PASSIVE_LIMIT);
    peerlist_init(&h->lost, MEMBERSHIP_LOST_MAX);
    for (uint32_t i = 0; i < options->contacts_count; i++) {
        if (!keep_contact(h, options->contacts[i])) {
            membership_free(h);
            return ARGUS_ENOMEM;
        }
    }
    h->options.contacts = NULL; /* the caller's */
    *out = h;
    return ARGUS_OK;
}

void membership_free(struct membership *h)
{
    if (h == NULL)
        return;
    peerlist_close(&h->passive);
    peerlist_close(&h->lost);
    free(h->contacts);
    free(h->links);
    free(h);
}

/* ----------------------------------------------------------- links */

struct hlink *membership_find_link(const struct membership *h, link_id link)
{
    for (uint32_t i = 0; i < h->links_count; i++)
        if (h->links[i].link == link)
            return &h->links[i];
    return NULL;
}

struct hlink *membership_link_of(const struct membership *h,
                                 const struct node_id *peer,
                                 enum hlink_state state)
{
    for (uint32_t i = 0; i < h->links_count; i++)
        if (h->links[i].state == state &&
            node_id_is_equal(&h->links[i].peer.id, peer))
            return &h->links[i];
    return NULL;
}

static struct hlink *add_link(struct membership *h, link_id link,
                              const struct peer_info *peer)
{
    if (h->links_count == h->links_room) {
        uint32_t room = h->links_room == 0 ? 8 : 2 * h->links_room;
        if (room > MEMBERSHIP_LINKS_MAX)
            return NULL;
        struct hlink *grown = realloc(h->links, room * sizeof *grown);
        if (grown == NULL)
            return NULL;
        h->links = grown;
        h->links_room = room;
    }
    struct hlink *hl = &h->links[h->links_count++];
    memset(hl, 0, sizeof *hl);
    hl->link = link;
    hl->peer = *peer;
    return hl;
}

void membership_close(struct hlink *hl, argus_RefuseCode code, const char *text,
                      struct actions *out)
{
    assert(hl->state != HLINK_ACTIVE);
    if (hl->state == HLINK_CLOSING)
        return;
    hl->state = HLINK_CLOSING;
    actions_close(out, hl->link, code, text);
}

static void send_disconnect(link_id link, bool leaving, struct actions *out)
{
    argus_Frame f;
    f.hlc = 0;
    f.which_body = argus_Frame_disconnect_tag;
    f.body.disconnect = (argus_Disconnect){.leaving = leaving};
    actions_send(out, link, &f);
}

/* ------------------------------------------------- the active view */

/* Out of the active view; the link is the caller's to close. */
static void deactivate(struct membership *h, struct hlink *hl,
                       enum link_end why, argus_RefuseCode code,
                       struct actions *out)
{
    assert(hl->state == HLINK_ACTIVE && h->active_count > 0);
    hl->state = HLINK_WAITING;
    hl->deadline_ms = h->now_ms;
    h->active_count--;
    if (h->active_count == 0)
        membership_seek_alone(h);
    h->listener.neighbor_down(h->listener.context, hl->link, &hl->peer.id, why,
                              code, out);
}

/* End a neighborhood that works: the peer hears whom else it could ask, then
 * Disconnect; the owner flushes both before it closes. */
static void end_neighbor(struct membership *h, struct hlink *hl, bool leaving,
                         struct actions *out)
{
    argus_Frame f;

    if (!leaving) {
        f.hlc = 0;
        f.which_body = argus_Frame_shuffle_reply_tag;
        f.body.shuffle_reply.peers_count = (pb_size_t)membership_sample(
            h, &hl->peer.id, 4, 4, f.body.shuffle_reply.peers);
        actions_send(out, hl->link, &f);
    }
    send_disconnect(hl->link, leaving, out);
    deactivate(h, hl, LINK_END_CLOSED, argus_RefuseCode_REFUSE_BYE, out);
    membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                     leaving ? "leaving" : "no longer neighbors", out);
    membership_add_passive(h, &hl->peer.id, hl->peer.address,
                           hl->peer.generation);
    membership_postpone(h, &hl->peer.id, PARTED_MS, false);
}

static void evict_other(struct membership *h, const struct node_id *but,
                        struct actions *out)
{
    struct hlink *hl = NULL;

    for (int tries = 0; tries < 4; tries++) {
        hl = membership_random_active(h, but, NULL);
        if (hl == NULL || h->now_ms - hl->up_ms > SPARE_MS)
            break;
    }
    if (hl == NULL)
        return;
    h->stats.peer_evicted++;
    end_neighbor(h, hl, false, out);
}

static void activate(struct membership *h, struct hlink *hl,
                     struct actions *out)
{
    assert(hl->state != HLINK_ACTIVE && hl->state != HLINK_CLOSING);
    assert(!membership_is_active(h, &hl->peer.id));
    if (h->active_count == h->options.active_max)
        evict_other(h, &hl->peer.id, out);
    (void)peerlist_remove(&h->passive, &hl->peer.id);
    (void)peerlist_remove(&h->lost, &hl->peer.id);
    hl->state = HLINK_ACTIVE;
    hl->up_ms = h->now_ms;
    hl->audit_misses = 0;
    if (h->active_count++ == 0)
        membership_seek_joined(h);
    h->rejected_row = 0;
    h->fill_at_ms = 0;
    h->listener.neighbor_up(h->listener.context, hl->link, &hl->peer, out);
    if (is_dialable(hl->peer.address))
        h->listener.learned_address(h->listener.context, &hl->peer.id,
                                    hl->peer.address, out);
}

/* Another link to the same peer took over, or that life of the peer is past. */
static void replace(struct membership *h, struct hlink *old,
                    struct actions *out)
{
    h->stats.link_replaced++;
    if (old->state == HLINK_ACTIVE)
        deactivate(h, old, LINK_END_CLOSED, argus_RefuseCode_REFUSE_REPLACED,
                   out);
    membership_close(old, argus_RefuseCode_REFUSE_REPLACED,
                     "another link of this node took over", out);
}

/* An accepted link asks to be the one. Of the links to that peer the newest
 * generation stays; of two that the peer dialed the later, since it knows
 * best; of crossing dials the one from the lower id. Both ends judge alike. */
static bool is_better(const struct membership *h, const struct hlink *hl,
                      const struct hlink *old)
{
    if (hl->peer.generation != old->peer.generation)
        return hl->peer.generation > old->peer.generation;
    return !old->is_dialed || node_id_compare(&hl->peer.id, &h->options.id) < 0;
}

static bool admit(struct membership *h, struct hlink *hl, struct actions *out)
{
    static const enum hlink_state rivals[] = {HLINK_ACTIVE, HLINK_ASKED};

    for (size_t i = 0; i < sizeof rivals / sizeof rivals[0]; i++) {
        struct hlink *old = membership_link_of(h, &hl->peer.id, rivals[i]);
        if (old == NULL)
            continue;
        if (!is_better(h, hl, old)) {
            h->stats.link_replaced++;
            membership_close(hl, argus_RefuseCode_REFUSE_REPLACED,
                             "there is a link between us already", out);
            return false;
        }
        replace(h, old, out);
    }
    return true;
}

static void reply(struct membership *h, struct hlink *hl, bool accepted,
                  struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_neighbor_reply_tag;
    f.body.neighbor_reply.accepted = accepted;
    f.body.neighbor_reply.peers_count = (pb_size_t)membership_sample(
        h, &hl->peer.id, 4, 4, f.body.neighbor_reply.peers);
    actions_send(out, hl->link, &f);
    if (!accepted)
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "no room for a neighbor", out);
}

/* -------------------------------------------------------- messages */

static bool take_join_token(struct membership *h)
{
    uint64_t passed = h->now_ms - h->join_tokens_at_ms;
    uint64_t most = MEMBERSHIP_JOIN_BURST * 1000;

    h->join_tokens_at_ms = h->now_ms;
    if (passed > 1000 * MEMBERSHIP_JOIN_BURST / MEMBERSHIP_JOIN_RATE)
        h->join_tokens_milli = most;
    else
        h->join_tokens_milli += passed * MEMBERSHIP_JOIN_RATE;
    if (h->join_tokens_milli > most)
        h->join_tokens_milli = most;
    if (h->join_tokens_milli < 1000)
        return false;
    h->join_tokens_milli -= 1000;
    return true;
}

static void send_walk(link_id link, const argus_Peer *joiner, uint32_t ttl,
                      struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_forward_join_tag;
    f.body.forward_join.has_joiner = true;
    f.body.forward_join.joiner = *joiner;
    f.body.forward_join.ttl = ttl;
    actions_send(out, link, &f);
}

static void on_join(struct membership *h, struct hlink *hl, struct actions *out)
{
    if (hl->is_dialed || hl->state != HLINK_WAITING) {
        h->stats.frame_stale++;
        return;
    }
    /* Before admit(): who is sent away keeps the link it may have. */
    if (h->has_left || !take_join_token(h)) {
        h->stats.join_throttled++;
        reply(h, hl, false, out);
        return;
    }
    if (!admit(h, hl, out))
        return;
    h->stats.join_accepted++;
    reply(h, hl, true, out);
    activate(h, hl, out);
    if (!is_dialable(hl->peer.address))
        return;

    argus_Peer joiner;
    membership_put_peer(&joiner, &hl->peer.id, hl->peer.address,
                        hl->peer.generation);
    for (uint32_t i = 0; i < h->links_count; i++)
        if (h->links[i].state == HLINK_ACTIVE && &h->links[i] != hl)
            send_walk(h->links[i].link, &joiner, HYPARVIEW_ARWL, out);
}

static void on_neighbor(struct membership *h, struct hlink *hl,
                        const argus_Neighbor *m, struct actions *out)
{
    if (hl->is_dialed || hl->state != HLINK_WAITING) {
        h->stats.frame_stale++;
        return;
    }
    if (!admit(h, hl, out))
        return;
    if (h->has_left || (!m->high && h->active_count == h->options.active_max)) {
        h->stats.neighbor_rejected++;
        reply(h, hl, false, out);
        return;
    }
    h->stats.neighbor_accepted++;
    reply(h, hl, true, out);
    activate(h, hl, out);
}

static void on_neighbor_reply(struct membership *h, struct hlink *hl,
                              const argus_NeighborReply *m, struct actions *out)
{
    if (hl->state != HLINK_ASKED) {
        h->stats.frame_stale++;
        return;
    }
    if (!m->accepted) {
        membership_close(hl, argus_RefuseCode_REFUSE_BYE, "as you wish", out);
        membership_add_passive(h, &hl->peer.id, hl->peer.address,
                               hl->peer.generation);
        membership_postpone(h, &hl->peer.id, PARTED_MS, false);
        if (!hl->is_displacing)
            membership_seek_rejected(h);
    } else if (!hl->is_displacing && h->active_count == h->options.active_max) {
        send_disconnect(hl->link, false, out);
        membership_close(hl, argus_RefuseCode_REFUSE_BYE, "others were faster",
                         out);
        membership_add_passive(h, &hl->peer.id, hl->peer.address,
                               hl->peer.generation);
    } else {
        if (hl->is_joining && h->active_count > 0)
            membership_seek_bridged(h);
        activate(h, hl, out);
    }
    membership_take_in(h, m->peers, m->peers_count);
}

/* The walk of a joiner ends here: make it a neighbor, if it has room. */
static void end_walk(struct membership *h, const argus_Peer *joiner,
                     struct actions *out)
{
    struct node_id id = node_id_of(joiner->id);

    membership_add_passive(h, &id, joiner->address, joiner->generation);
    if (membership_is_dialing(h, &id) || membership_is_active(h, &id))
        return;
    struct hdial *d =
        membership_dial(h, DIAL_NEIGHBOR, &id, joiner->address, out);
    if (d != NULL)
        d->is_displacing = true;
}

static void on_forward_join(struct membership *h, struct hlink *from,
                            const argus_ForwardJoin *m, struct actions *out)
{
    struct node_id id = node_id_of(m->joiner.id);
    uint32_t ttl = m->ttl < HYPARVIEW_ARWL ? m->ttl : HYPARVIEW_ARWL;

    if (from->state != HLINK_ACTIVE || !m->has_joiner ||
        !is_dialable(m->joiner.address) || node_id_is_zero(&id)) {
        h->stats.frame_stale++;
        return;
    }
    if (node_id_is_equal(&id, &h->options.id))
        return;
    struct hlink *next = membership_random_active(h, &from->peer.id, &id);
    if (ttl == 0 || h->active_count == 1 || next == NULL) {
        end_walk(h, &m->joiner, out);
        return;
    }
    if (ttl == HYPARVIEW_PRWL)
        membership_add_passive(h, &id, m->joiner.address, m->joiner.generation);
    send_walk(next->link, &m->joiner, ttl - 1, out);
}

static void on_disconnect(struct membership *h, struct hlink *hl,
                          const argus_Disconnect *m, struct actions *out)
{
    if (hl->state != HLINK_ACTIVE && hl->state != HLINK_ASKED) {
        h->stats.frame_stale++;
        return;
    }
    if (hl->state == HLINK_ACTIVE)
        deactivate(h, hl, LINK_END_CLOSED, argus_RefuseCode_REFUSE_BYE, out);
    membership_close(hl, argus_RefuseCode_REFUSE_BYE, "as you wish", out);
    if (m->leaving) {
        membership_add_lost(h, &hl->peer.id, hl->peer.address,
                            hl->peer.generation);
        return;
    }
    membership_add_passive(h, &hl->peer.id, hl->peer.address,
                           hl->peer.generation);
    membership_postpone(h, &hl->peer.id, PARTED_MS, false);
}

static void answer_shuffle(struct membership *h, link_id link, uint32_t count,
                           const struct node_id *to, struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_shuffle_reply_tag;
    f.body.shuffle_reply.peers_count = (pb_size_t)membership_sample(
        h, to, 0, count, f.body.shuffle_reply.peers);
    h->stats.shuffle_answered++;
    actions_send(out, link, &f);
}

/* §4.4: a walk, ended by its length or by having nowhere to go; the last node
 * answers the origin with as many peers as it was given. */
static void on_shuffle(struct membership *h, struct hlink *from,
                       argus_Frame *frame, struct actions *out)
{
    argus_Shuffle *m = &frame->body.shuffle;
    struct node_id origin = node_id_of(m->origin.id);

    if (from->state != HLINK_ACTIVE || !m->has_origin || h->has_left ||
        node_id_is_equal(&origin, &h->options.id)) {
        h->stats.frame_stale++;
        return;
    }
    if (m->ttl > HYPARVIEW_ARWL)
        m->ttl = HYPARVIEW_ARWL;
    struct hlink *next = membership_random_active(h, &from->peer.id, &origin);
    if (m->ttl > 1 && next != NULL) {
        m->ttl--;
        actions_send(out, next->link, frame);
        return;
    }
    struct hlink *direct = membership_link_of(h, &origin, HLINK_ACTIVE);
    if (direct != NULL)
        answer_shuffle(h, direct->link, MESSAGE_PEERS, &origin, out);
    else if (is_dialable(m->origin.address) && !node_id_is_zero(&origin))
        (void)membership_dial(h, DIAL_REPLY, &origin, m->origin.address, out);
    membership_add_passive(h, &origin, m->origin.address, m->origin.generation);
    membership_take_in(h, m->peers, m->peers_count);
}

/* The two ends of a walk are random nodes of the mesh: who wants to know
 * something of such a one has the link for a moment. The answer came first, so
 * that it is not lost by an end that closes at once (one of an older version).
 */
static void meet(struct membership *h, struct hlink *hl, const char *text,
                 struct actions *out)
{
    if (h->listener.met == NULL) {
        membership_close(hl, argus_RefuseCode_REFUSE_BYE, text, out);
        return;
    }
    hl->is_meeting = true;
    hl->deadline_ms = h->now_ms + h->options.answer_ms;
    h->listener.met(h->listener.context, hl->link, out);
}

/* Asked for by a shuffle of ours, or a neighbor's parting gift. */
static void on_shuffle_reply(struct membership *h, struct hlink *hl,
                             const argus_ShuffleReply *m, struct actions *out)
{
    bool expected = h->now_ms <= h->shuffle_answer_until_ms;

    if (!expected && hl->state != HLINK_ACTIVE) {
        h->stats.shuffle_unasked++;
        return;
    }
    if (expected && hl->state != HLINK_ACTIVE)
        h->shuffle_answer_until_ms = 0;
    membership_take_in(h, m->peers, m->peers_count);
    if (hl->state == HLINK_WAITING)
        meet(h, hl, "thank you", out);
}

/* ---------------------------------------------------------- inputs */

static void advance(struct membership *h, uint64_t now_ms)
{
    assert(now_ms >= h->now_ms);
    h->now_ms = now_ms;
}

void membership_start(struct membership *h, uint64_t now_ms,
                      struct actions *out)
{
    advance(h, now_ms);
    h->join_tokens_at_ms = now_ms;
    h->is_started = true;
    membership_seek_start(h);
    membership_seek_timeout(h, out);
    membership_settle(h, out);
}

static void ask_join(struct membership *h, struct hlink *hl,
                     const struct hdial *d, struct actions *out)
{
    argus_Frame f;
    bool joined = h->active_count > 0 && !d->is_forced;

    /* Joined already, and so is it: nothing to heal. */
    if (joined && h->listener.is_live(h->listener.context, &hl->peer.id)) {
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "in the same mesh already", out);
        membership_add_passive(h, &hl->peer.id, hl->peer.address,
                               hl->peer.generation);
        return;
    }
    f.hlc = 0;
    f.which_body = argus_Frame_join_tag;
    f.body.join = (argus_Join){0};
    h->stats.join_sent++;
    hl->state = HLINK_ASKED;
    hl->is_joining = true;
    hl->is_displacing = true;
    actions_send(out, hl->link, &f);
}

static void ask_neighbor(struct membership *h, struct hlink *hl,
                         const struct hdial *d, struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_neighbor_tag;
    f.body.neighbor = (argus_Neighbor){.high = d->is_high};
    h->stats.neighbor_sent++;
    hl->state = HLINK_ASKED;
    hl->is_displacing = d->is_displacing;
    actions_send(out, hl->link, &f);
}

static void on_dialed(struct membership *h, struct hlink *hl, struct hdial *d,
                      struct actions *out)
{
    const struct node_id *id = &hl->peer.id;

    if (d->contact >= 0)
        h->contacts[d->contact].id = *id;
    if (d->purpose == DIAL_REPLY) {
        answer_shuffle(h, hl->link, MESSAGE_PEERS, id, out);
        meet(h, hl, "shuffled", out);
        return;
    }
    if (h->has_left || node_id_is_equal(id, &h->options.id) ||
        membership_is_active(h, id) ||
        membership_link_of(h, id, HLINK_ASKED) != NULL) {
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "there is a link between us already", out);
        return;
    }
    hl->deadline_ms = h->now_ms + h->options.answer_ms;
    if (d->purpose == DIAL_JOIN)
        ask_join(h, hl, d, out);
    else
        ask_neighbor(h, hl, d, out);
}

void membership_on_link_up(struct membership *h, uint64_t now_ms, link_id link,
                           dial_id dial, const struct peer_info *peer,
                           struct actions *out)
{
    struct hdial d = {.contact = -1};

    advance(h, now_ms);
    bool dialed = dial != 0 && membership_take_dial(h, dial, &d);
    struct hlink *hl = add_link(h, link, peer);
    if (hl == NULL || (dial != 0 && !dialed)) {
        h->stats.link_refused++;
        if (hl != NULL)
            hl->state = HLINK_CLOSING;
        actions_close(out, link, argus_RefuseCode_REFUSE_BUSY,
                      "too many links here");
        membership_settle(h, out);
        return;
    }
    hl->state = HLINK_WAITING;
    hl->is_dialed = dialed;
    hl->deadline_ms = now_ms + WAITING_MS;

    /* A newer life of a neighbor: the old one cannot answer any more. */
    struct hlink *old = membership_link_of(h, &peer->id, HLINK_ACTIVE);
    if (old != NULL && old->peer.generation < peer->generation)
        replace(h, old, out);
    if (dialed)
        on_dialed(h, hl, &d, out);
    membership_settle(h, out);
}

/* Where a neighbor goes whose link ended by itself. A reset may be a quick
 * restart, so it is asked once more; who is silent or gone is lost. */
static void sort_away(struct membership *h, const struct peer_info *peer,
                      enum link_end why, argus_RefuseCode code)
{
    if (why == LINK_END_TIMEOUT || why == LINK_END_REFUSED) {
        membership_add_lost(h, &peer->id, peer->address, peer->generation);
        return;
    }
    membership_add_passive(h, &peer->id, peer->address, peer->generation);
    bool failed = why != LINK_END_CLOSED ||
                  code == argus_RefuseCode_REFUSE_SLOW ||
                  code == argus_RefuseCode_REFUSE_QUARANTINE;
    membership_postpone(h, &peer->id, PARTED_MS / 6, failed);
}

void membership_on_link_down(struct membership *h, uint64_t now_ms,
                             link_id link, enum link_end why,
                             argus_RefuseCode code, struct actions *out)
{
    advance(h, now_ms);
    struct hlink *hl = membership_find_link(h, link);
    if (hl == NULL)
        return;

    enum hlink_state state = hl->state;
    struct peer_info peer = hl->peer;
    if (state == HLINK_ACTIVE)
        deactivate(h, hl, why, code, out);
    *hl = h->links[--h->links_count];

    if (state == HLINK_ACTIVE) {
        h->stats.peer_failed += why != LINK_END_CLOSED;
        h->fill_at_ms = 0;
        h->rejected_row = 0;
        sort_away(h, &peer, why, code);
    } else if (state == HLINK_ASKED) {
        bool crossed = code == argus_RefuseCode_REFUSE_REPLACED;
        membership_postpone(h, &peer.id, PARTED_MS / 6, !crossed);
    }
    membership_settle(h, out);
}

/* Somebody else lives at that address, or we could never speak: no candidate
 * at all, in either list. Keys may change, and a quarantine ends. */
static bool is_hopeless(enum link_end why, argus_RefuseCode code)
{
    return why == LINK_END_DENIED && code != argus_RefuseCode_REFUSE_BUSY &&
           code != argus_RefuseCode_REFUSE_KEY &&
           code != argus_RefuseCode_REFUSE_QUARANTINE &&
           code != argus_RefuseCode_REFUSE_NONE;
}

void membership_on_dial_failed(struct membership *h, uint64_t now_ms,
                               dial_id dial, enum link_end why,
                               argus_RefuseCode code, struct actions *out)
{
    struct hdial d;

    advance(h, now_ms);
    if (!membership_take_dial(h, dial, &d))
        return;
    if (d.contact >= 0)
        h->contacts[d.contact].is_self =
            why == LINK_END_DENIED && code == argus_RefuseCode_REFUSE_SELF;

    struct peer_entry *e = peerlist_find(&h->passive, &d.peer);
    if (is_hopeless(why, code)) {
        membership_forget(h, &d.peer);
    } else if (why == LINK_END_REFUSED && e != NULL) {
        membership_add_lost(h, &d.peer, e->address, e->generation);
    } else {
        bool ours =
            why == LINK_END_LOCAL || code == argus_RefuseCode_REFUSE_BUSY;
        membership_postpone(h, &d.peer, PARTED_MS, !ours);
    }
    membership_settle(h, out);
}

void membership_on_frame(struct membership *h, uint64_t now_ms, link_id link,
                         const argus_Frame *frame, struct actions *out)
{
    advance(h, now_ms);
    struct hlink *hl = membership_find_link(h, link);
    if (hl == NULL || hl->state == HLINK_CLOSING) {
        h->stats.frame_stale++;
        return;
    }
    switch (frame->which_body) {
    case argus_Frame_join_tag: on_join(h, hl, out); break;
    case argus_Frame_neighbor_tag:
        on_neighbor(h, hl, &frame->body.neighbor, out);
        break;
    case argus_Frame_neighbor_reply_tag:
        on_neighbor_reply(h, hl, &frame->body.neighbor_reply, out);
        break;
    case argus_Frame_forward_join_tag:
        on_forward_join(h, hl, &frame->body.forward_join, out);
        break;
    case argus_Frame_disconnect_tag:
        on_disconnect(h, hl, &frame->body.disconnect, out);
        break;
    case argus_Frame_shuffle_tag: {
        argus_Frame copy; /* sent on with a shorter way to go */
        copy.hlc = 0;
        copy.which_body = frame->which_body;
        copy.body.shuffle = frame->body.shuffle;
        on_shuffle(h, hl, &copy, out);
        break;
    }
    case argus_Frame_shuffle_reply_tag:
        on_shuffle_reply(h, hl, &frame->body.shuffle_reply, out);
        break;
    }
    membership_settle(h, out);
}

static void expire_links(struct membership *h, struct actions *out)
{
    for (uint32_t i = 0; i < h->links_count; i++) {
        struct hlink *hl = &h->links[i];
        if ((hl->state != HLINK_WAITING && hl->state != HLINK_ASKED) ||
            hl->deadline_ms > h->now_ms)
            continue;
        if (hl->state == HLINK_ASKED) {
            h->stats.handshake_expired++;
            membership_postpone(h, &hl->peer.id, 0, true);
        }
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "nothing to do on this link", out);
    }
}

void membership_on_timeout(struct membership *h, uint64_t now_ms,
                           struct actions *out)
{
    advance(h, now_ms);
    if (now_ms < h->deadline_ms)
        return;
    expire_links(h, out);
    membership_seek_timeout(h, out);
    membership_settle(h, out);
}

uint64_t membership_deadline_ms(const struct membership *h)
{
    return h->deadline_ms;
}

/* departs: the paper re-sends NEIGHBOR; here each ping on a link says whether
 * its sender holds it active, so a one-sided link lives for some pings only. */
void membership_on_audit(struct membership *h, uint64_t now_ms, link_id link,
                         bool active, struct actions *out)
{
    advance(h, now_ms);
    struct hlink *hl = membership_find_link(h, link);
    if (hl == NULL)
        return;
    if (hl->state == HLINK_ACTIVE && active) { /* the rule: nothing changes */
        hl->audit_misses = 0;
        return;
    }
    if (hl->state == HLINK_ACTIVE) {
        hl->audit_misses++;
        if (hl->audit_misses > AUDIT_MISSES_MAX) {
            h->stats.audit_failed++;
            end_neighbor(h, hl, false, out);
        }
    } else if (active && hl->state == HLINK_WAITING) {
        h->stats.audit_failed++;
        send_disconnect(link, false, out);
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "not in the active view here", out);
    }
    membership_settle(h, out);
}

bool membership_is_meeting(const struct membership *h, link_id link)
{
    const struct hlink *hl = membership_find_link(h, link);

    return hl != NULL && hl->state == HLINK_WAITING && hl->is_meeting;
}

/* The dialer asked first, so it has its answers when the other end has its. */
void membership_met(struct membership *h, uint64_t now_ms, link_id link,
                    struct actions *out)
{
    advance(h, now_ms);
    struct hlink *hl = membership_find_link(h, link);
    if (hl == NULL || !membership_is_meeting(h, link) || hl->is_dialed)
        return;
    membership_close(hl, argus_RefuseCode_REFUSE_BYE, "thank you", out);
    membership_settle(h, out);
}

void membership_offer(struct membership *h, uint64_t now_ms,
                      const struct node_id *id, const char *address,
                      uint32_t generation, struct actions *out)
{
    advance(h, now_ms);
    struct peer_entry *lost = peerlist_find(&h->lost, id);
    if (lost != NULL) {
        if (generation != 0 && lost->generation == generation) {
            h->stats.peer_returned++;
            membership_seek_returned(h);
        }
        (void)peerlist_remove(&h->lost, id);
    } else if (h->passive.count == h->passive.max &&
               peerlist_find(&h->passive, id) == NULL) {
        return;
    }
    membership_add_passive(h, id, address, generation);
    membership_settle(h, out);
}

void membership_lose(struct membership *h, uint64_t now_ms,
                     const struct node_id *id, struct actions *out)
{
    advance(h, now_ms);
    const struct peer_entry *e = peerlist_find(&h->passive, id);
    if (e == NULL)
        return;
    membership_add_lost(h, id, e->address, e->generation);
    membership_settle(h, out);
}

void membership_forget(struct membership *h, const struct node_id *id)
{
    (void)peerlist_remove(&h->passive, id);
    (void)peerlist_remove(&h->lost, id);
}

int membership_join(struct membership *h, uint64_t now_ms, const char *address,
                    struct actions *out)
{
    advance(h, now_ms);
    if (!is_dialable(address) || strlen(address) >= ADDRESS_SIZE)
        return ARGUS_EINVAL;
    if (!keep_contact(h, address))
        return ARGUS_EFULL;
    h->has_left = false;
    struct hdial *d = membership_dial(h, DIAL_JOIN, NULL, address, out);
    if (d != NULL)
        d->is_forced = true;
    membership_settle(h, out);
    return ARGUS_OK;
}

void membership_leave(struct membership *h, uint64_t now_ms,
                      struct actions *out)
{
    advance(h, now_ms);
    h->has_left = true;
    for (uint32_t i = 0; i < h->links_count; i++) {
        struct hlink *hl = &h->links[i];
        if (hl->state == HLINK_ACTIVE)
            end_neighbor(h, hl, true, out);
        else
            membership_close(hl, argus_RefuseCode_REFUSE_BYE, "leaving", out);
    }
    membership_settle(h, out);
}

void membership_set_address(struct membership *h, const char *address)
{
    address_copy(h->options.address, address);
}

void membership_set_generation(struct membership *h, uint32_t generation)
{
    h->options.generation = generation;
}
