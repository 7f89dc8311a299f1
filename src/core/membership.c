/* membership.c - links, the handshake, the active view: the same for all
 * strategies. See membership.h. */
#include "core/membership.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"
#include "base/status.h"
#include "core/membership_impl.h"

/** An accepted link whose peer asks for nothing is closed after this. */
#define WAITING_MS 5000

/** Pings of a peer that deny a link we hold active, until we let go. */
#define AUDIT_MISSES_MAX 2

/** A nearer peer that gains nothing by us is not asked again before. */
#define NEAR_AGAIN_MS 60000

/** The log has one word of a full view in so long. */
#define LIMIT_TOLD_MS 3600000

/* ------------------------------------------------------------ life */

static const struct strategy *const strategies[MEMBERSHIP_STRATEGIES] = {
    [MEMBERSHIP_HYPARVIEW] = &strategy_hyparview,
    [MEMBERSHIP_FULL] = &strategy_full,
    [MEMBERSHIP_CLIENT_SERVER] = &strategy_client_server,
    [MEMBERSHIP_STATIC] = &strategy_static,
};

const char *membership_strategy_name(enum membership_strategy strategy)
{
    assert((unsigned)strategy < MEMBERSHIP_STRATEGIES);
    return strategies[strategy]->name;
}

bool membership_strategy_find(const char *name, enum membership_strategy *out)
{
    for (int i = 0; i < MEMBERSHIP_STRATEGIES; i++) {
        if (strcmp(name, strategies[i]->name) != 0)
            continue;
        *out = (enum membership_strategy)i;
        return true;
    }
    return false;
}

uint32_t membership_limit(const struct membership_options *options)
{
    return strategies[options->strategy]->limit(options);
}

static bool keep_contact(struct membership *v, const char *address)
{
    for (uint32_t i = 0; i < v->contacts_count; i++)
        if (strcmp(v->contacts[i].address, address) == 0)
            return true;
    if (v->contacts_count == MEMBERSHIP_CONTACTS_MAX)
        return false;

    struct contact *grown =
        realloc(v->contacts, (v->contacts_count + 1) * sizeof *v->contacts);
    if (grown == NULL)
        return false;
    v->contacts = grown;
    struct contact *c = &v->contacts[v->contacts_count++];
    memset(c, 0, sizeof *c);
    address_copy(c->address, address);
    membership_new_contact(v, c);
    return true;
}

int membership_new(const struct membership_options *options,
                   const struct membership_listener *listener,
                   struct membership **out)
{
    if ((unsigned)options->strategy >= MEMBERSHIP_STRATEGIES ||
        options->active_max == 0 ||
        options->active_max > MEMBERSHIP_ACTIVE_LIMIT ||
        options->passive_max > MEMBERSHIP_PASSIVE_LIMIT ||
        options->shuffle_ms == 0 || options->answer_ms == 0 ||
        options->contacts_count > MEMBERSHIP_CONTACTS_MAX ||
        node_id_is_zero(&options->id))
        return ARGUS_EINVAL;

    struct membership *v = lines_alloc(sizeof *v);
    if (v == NULL)
        return ARGUS_ENOMEM;
    v->options = *options;
    v->listener = *listener;
    v->strategy = strategies[options->strategy];
    v->limit = v->strategy->limit(options);
    v->deadline_ms = UINT64_MAX;
    v->join_tokens_milli = MEMBERSHIP_JOIN_BURST * 1000;
    prng_seed(&v->prng, options->seed);
    uint32_t kept = v->strategy->passive_max(options);
    peerlist_init(&v->passive, kept);
    peerlist_init(&v->lost, kept == 0 ? 0 : MEMBERSHIP_LOST_MAX);
    for (uint32_t i = 0; i < options->contacts_count; i++) {
        if (!keep_contact(v, options->contacts[i])) {
            membership_free(v);
            return ARGUS_ENOMEM;
        }
    }
    v->options.contacts = NULL; /* the caller's */
    *out = v;
    return ARGUS_OK;
}

void membership_free(struct membership *v)
{
    if (v == NULL)
        return;
    peerlist_close(&v->passive);
    peerlist_close(&v->lost);
    callers_close(&v->callers);
    free(v->contacts);
    free(v->links);
    free(v->link_ids);
    free(v);
}

/* ----------------------------------------------------------- links */

struct hlink *membership_find_link(const struct membership *v, link_id link)
{
    for (uint32_t i = 0; i < v->links_count; i++)
        if (v->link_ids[i] == link)
            return &v->links[i];
    return NULL;
}

struct hlink *membership_link_of(const struct membership *v,
                                 const struct node_id *peer,
                                 enum hlink_state state)
{
    for (uint32_t i = 0; i < v->links_count; i++)
        if (v->links[i].state == state &&
            node_id_is_equal(&v->links[i].peer.id, peer))
            return &v->links[i];
    return NULL;
}

static struct hlink *add_link(struct membership *v, link_id link,
                              const struct peer_info *peer)
{
    if (v->links_count == v->links_room) {
        uint32_t room = v->links_room == 0 ? 8 : 2 * v->links_room;
        if (room > MEMBERSHIP_LINKS_MAX)
            room = MEMBERSHIP_LINKS_MAX;
        if (room == v->links_room)
            return NULL;
        struct hlink *grown = realloc(v->links, room * sizeof *grown);
        if (grown == NULL)
            return NULL;
        v->links = grown;
        link_id *ids = realloc(v->link_ids, room * sizeof *ids);
        if (ids == NULL)
            return NULL;
        v->link_ids = ids;
        v->links_room = room;
    }
    v->link_ids[v->links_count] = link;
    struct hlink *hl = &v->links[v->links_count++];
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

/** @param instead  NULL: nobody in particular. */
static void send_disconnect(link_id link, bool leaving,
                            const argus_Peer *instead, struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_disconnect_tag;
    f.body.disconnect =
        (argus_Disconnect){.leaving = leaving, .has_instead = instead != NULL};
    if (instead != NULL)
        f.body.disconnect.instead = *instead;
    actions_send(out, link, &f);
}

/* ------------------------------------------------- the active view */

static void trust(struct membership *v, struct hlink *hl)
{
    v->doubted -= hl->audit_misses > 0;
    hl->audit_misses = 0;
}

static void doubt(struct membership *v, struct hlink *hl)
{
    v->doubted += hl->audit_misses == 0;
    hl->audit_misses++;
}

/* Out of the active view; the link is the caller's to close. */
static void deactivate(struct membership *v, struct hlink *hl,
                       enum link_end why, argus_RefuseCode code,
                       struct actions *out)
{
    assert(hl->state == HLINK_ACTIVE && v->active_count > 0);
    hl->state = HLINK_WAITING;
    hl->deadline_ms = v->now_ms;
    trust(v, hl);
    v->active_count--;
    membership_shuffle_soon(v);
    if (v->active_count == 0)
        membership_seek_alone(v);
    if (hl->is_near)
        hyparview_near_start(v); /* look for another */
    v->listener.neighbor_down(v->listener.context, hl->link, &hl->peer.id, why,
                              code, out);
}

/* End a neighborhood that works: the peer hears whom else it could ask, then
 * Disconnect; the owner flushes both before it closes. */
static void end_neighbor(struct membership *v, struct hlink *hl, bool leaving,
                         const argus_Peer *instead, struct actions *out)
{
    struct membership_peer peer = membership_peer_at(hl);
    argus_Frame f;

    if (!leaving) {
        f.hlc = 0;
        f.which_body = argus_Frame_shuffle_reply_tag;
        f.body.shuffle_reply.peers_count = (pb_size_t)membership_sample(
            v, &hl->peer.id, 4, 4, f.body.shuffle_reply.peers);
        actions_send(out, hl->link, &f);
    }
    send_disconnect(hl->link, leaving, instead, out);
    deactivate(v, hl, LINK_END_CLOSED, argus_RefuseCode_REFUSE_BYE, out);
    membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                     leaving ? "leaving" : "no longer neighbors", out);
    membership_add_passive(v, &peer);
    membership_postpone(v, &hl->peer.id, PARTED_MS, false);
}

static void evict(struct membership *v, struct hlink *hl,
                  const argus_Peer *instead, struct actions *out)
{
    v->stats.peer_evicted++;
    end_neighbor(v, hl, false, instead, out);
}

/* A view that is to hold everyone does so no more. */
static void note_limit(struct membership *v, struct actions *out)
{
    if (v->limit < MEMBERSHIP_NEIGHBORS_MAX)
        return;
    v->stats.limit_reached++;
    if (v->limit_told_ms != 0 && v->now_ms - v->limit_told_ms < LIMIT_TOLD_MS)
        return;
    v->limit_told_ms = v->now_ms;
    actions_log(out, LOG_LEVEL_WARNING,
                "this node has %u neighbors, as many as Strategy %s allows: "
                "others are refused, or take the place of one. Strategy "
                "hyparview has no such bound",
                v->active_count, v->strategy->name);
}

/* There is room. */
static void activate(struct membership *v, struct hlink *hl,
                     struct actions *out)
{
    assert(hl->state != HLINK_ACTIVE && hl->state != HLINK_CLOSING);
    assert(!membership_is_active(v, &hl->peer.id));
    assert(v->active_count < v->limit);
    (void)peerlist_remove(&v->passive, &hl->peer.id);
    (void)peerlist_remove(&v->lost, &hl->peer.id);
    hl->state = HLINK_ACTIVE;
    hl->up_ms = v->now_ms;
    membership_shuffle_soon(v);
    if (v->active_count++ == 0)
        membership_seek_joined(v);
    v->rejected_row = 0;
    v->fill_at_ms = 0;
    v->listener.neighbor_up(v->listener.context, hl->link, &hl->peer, out);
    if (is_dialable(hl->peer.address))
        v->listener.learned_address(v->listener.context, &hl->peer.id,
                                    hl->peer.address, out);
}

/* Another link to the same peer took over, or that life of the peer is past. */
static void replace(struct membership *v, struct hlink *old,
                    struct actions *out)
{
    v->stats.link_replaced++;
    if (old->state == HLINK_ACTIVE)
        deactivate(v, old, LINK_END_CLOSED, argus_RefuseCode_REFUSE_REPLACED,
                   out);
    membership_close(old, argus_RefuseCode_REFUSE_REPLACED,
                     "another link of this node took over", out);
}

/* An accepted link asks to be the one. Of the links to that peer the newest
 * generation stays; of two that the peer dialed the later, since it knows
 * best; of crossing dials the one from the lower id. Both ends judge alike. */
static bool is_better(const struct membership *v, const struct hlink *hl,
                      const struct hlink *old)
{
    if (hl->peer.generation != old->peer.generation)
        return hl->peer.generation > old->peer.generation;
    return !old->is_dialed || node_id_compare(&hl->peer.id, &v->options.id) < 0;
}

/** @param victim  who is to make room, or NULL; set to NULL if it is itself
 *                replaced. */
static bool admit(struct membership *v, struct hlink *hl, struct hlink **victim,
                  struct actions *out)
{
    static const enum hlink_state rivals[] = {HLINK_ACTIVE, HLINK_ASKED};

    for (size_t i = 0; i < sizeof rivals / sizeof rivals[0]; i++) {
        struct hlink *old = membership_link_of(v, &hl->peer.id, rivals[i]);
        if (old == NULL)
            continue;
        if (!is_better(v, hl, old)) {
            v->stats.link_replaced++;
            membership_close(hl, argus_RefuseCode_REFUSE_REPLACED,
                             "there is a link between us already", out);
            return false;
        }
        if (victim != NULL && old->state == HLINK_ACTIVE)
            *victim = NULL; /* its own place is free now */
        replace(v, old, out);
    }
    return true;
}

/** @param displaced  made room for this one; NULL: nobody had to. */
static void reply(struct membership *v, struct hlink *hl, bool accepted,
                  const argus_Peer *displaced, struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_neighbor_reply_tag;
    f.body.neighbor_reply.accepted = accepted;
    f.body.neighbor_reply.has_displaced = displaced != NULL;
    if (displaced != NULL)
        f.body.neighbor_reply.displaced = *displaced;
    f.body.neighbor_reply.peers_count = (pb_size_t)membership_sample(
        v, &hl->peer.id, 4, 4, f.body.neighbor_reply.peers);
    actions_send(out, hl->link, &f);
    if (!accepted)
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "no room for a neighbor", out);
}

/* Who asked becomes a neighbor, and who makes room for it hears so. */
static void accept(struct membership *v, struct hlink *hl, struct hlink *victim,
                   struct actions *out)
{
    argus_Peer displaced;

    if (victim == NULL) {
        reply(v, hl, true, NULL, out);
    } else {
        struct membership_peer peer = membership_peer_at(victim);
        membership_put_peer(&displaced, &peer);
        reply(v, hl, true, is_dialable(peer.address) ? &displaced : NULL, out);
        evict(v, victim, NULL, out);
    }
    activate(v, hl, out);
}

/* Could it be a neighbor? Of a full view somebody must go, if it insists. */
static bool has_room(struct membership *v, const struct hlink *hl, bool insists,
                     struct hlink **victim, struct actions *out)
{
    *victim = NULL;
    if (v->has_left)
        return false;
    if (!v->strategy->may_hold(v, hl->peer.role)) {
        v->stats.unsuited++;
        return false;
    }
    if (v->strategy->has_room(v, hl->peer.role))
        return true;
    note_limit(v, out);
    if (insists)
        *victim = v->strategy->victim(v, hl);
    return *victim != NULL;
}

/* -------------------------------------------------------- messages */

static bool take_join_token(struct membership *v)
{
    uint64_t passed = v->now_ms - v->join_tokens_at_ms;
    uint64_t most = MEMBERSHIP_JOIN_BURST * 1000;

    v->join_tokens_at_ms = v->now_ms;
    if (passed > 1000 * MEMBERSHIP_JOIN_BURST / MEMBERSHIP_JOIN_RATE)
        v->join_tokens_milli = most;
    else
        v->join_tokens_milli += passed * MEMBERSHIP_JOIN_RATE;
    if (v->join_tokens_milli > most)
        v->join_tokens_milli = most;
    if (v->join_tokens_milli < 1000)
        return false;
    v->join_tokens_milli -= 1000;
    return true;
}

void membership_send_walk(link_id link, const argus_Peer *joiner, uint32_t ttl,
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

static void on_join(struct membership *v, struct hlink *hl, struct actions *out)
{
    struct hlink *victim;

    if (hl->is_dialed || hl->state != HLINK_WAITING) {
        v->stats.frame_stale++;
        return;
    }
    /* Before admit(): who is sent away keeps the link it may have. */
    if (!has_room(v, hl, true, &victim, out)) {
        v->stats.neighbor_rejected++;
        reply(v, hl, false, NULL, out);
        return;
    }
    if (!take_join_token(v)) {
        v->stats.join_throttled++;
        reply(v, hl, false, NULL, out);
        return;
    }
    if (!admit(v, hl, &victim, out))
        return;
    v->stats.join_accepted++;
    accept(v, hl, victim, out);
    if (is_dialable(hl->peer.address))
        v->strategy->on_joined(v, hl, out);
}

static void on_neighbor(struct membership *v, struct hlink *hl,
                        const argus_Neighbor *m, struct actions *out)
{
    struct hlink *victim = NULL;

    if (hl->is_dialed || hl->state != HLINK_WAITING) {
        v->stats.frame_stale++;
        return;
    }
    if (!admit(v, hl, NULL, out))
        return;
    bool insists = m->high && (!m->swap || membership_has_spare(v));
    bool room = m->near && !v->has_left
                    ? hyparview_near_gains(v, hl, &victim)
                    : has_room(v, hl, insists, &victim, out);
    if (!room) {
        v->stats.neighbor_rejected++;
        reply(v, hl, false, NULL, out);
        return;
    }
    hl->is_near = m->near;
    v->stats.neighbor_accepted++;
    accept(v, hl, victim, out);
}

/* Asked, and not wanted any more. */
static void decline(struct membership *v, struct hlink *hl, const char *text,
                    struct actions *out)
{
    struct membership_peer peer = membership_peer_at(hl);

    send_disconnect(hl->link, false, NULL, out);
    membership_close(hl, argus_RefuseCode_REFUSE_BYE, text, out);
    membership_add_passive(v, &peer);
    membership_postpone(v, &hl->peer.id, PARTED_MS, false);
}

static void on_rejected(struct membership *v, struct hlink *hl,
                        struct actions *out)
{
    struct membership_peer peer = membership_peer_at(hl);

    membership_close(hl, argus_RefuseCode_REFUSE_BYE, "as you wish", out);
    membership_add_passive(v, &peer);
    membership_postpone(v, &hl->peer.id,
                        hl->intent == INTENT_NEAR ? NEAR_AGAIN_MS : PARTED_MS,
                        false);
    if (hl->intent == INTENT_FILL)
        membership_seek_rejected(v);
}

/* The peer holds us; do we still want it, and who makes room? */
static bool is_still_wanted(struct membership *v, struct hlink *hl,
                            struct hlink **victim, struct actions *out)
{
    if (hl->intent == INTENT_NEAR)
        return hyparview_near_gains(v, hl, victim);
    return has_room(v, hl, hl->intent != INTENT_FILL, victim, out);
}

static void on_accepted(struct membership *v, struct hlink *hl,
                        const argus_NeighborReply *m, struct actions *out)
{
    struct hlink *victim;

    if (!is_still_wanted(v, hl, &victim, out)) {
        decline(v, hl, "others were faster", out);
        return;
    }
    if (victim != NULL) /* whom we displace may ask whom it displaced */
        evict(v, victim, m->has_displaced ? &m->displaced : NULL, out);
    if (hl->is_joining && v->active_count > 0)
        membership_seek_bridged(v);
    hl->is_near = hl->intent == INTENT_NEAR;
    if (hl->is_near)
        hyparview_near_gained(v);
    activate(v, hl, out);
}

static void on_neighbor_reply(struct membership *v, struct hlink *hl,
                              const argus_NeighborReply *m, struct actions *out)
{
    if (hl->state != HLINK_ASKED) {
        v->stats.frame_stale++;
        return;
    }
    if (m->accepted)
        on_accepted(v, hl, m, out);
    else
        on_rejected(v, hl, out);
    membership_take_in(v, m->peers, m->peers_count);
}

static void on_forward_join(struct membership *v, struct hlink *from,
                            const argus_ForwardJoin *m, struct actions *out)
{
    struct node_id id = node_id_of(m->joiner.id);

    if (from->state != HLINK_ACTIVE || !m->has_joiner ||
        !is_dialable(m->joiner.address) || node_id_is_zero(&id)) {
        v->stats.frame_stale++;
        return;
    }
    if (!node_id_is_equal(&id, &v->options.id))
        v->strategy->on_forward_join(v, from, m, out);
}

/* Somebody else has lost a neighbor in the same exchange: the two can have each
 * other, and all have as many as before. */
static void ask_instead(struct membership *v, const argus_Peer *instead,
                        struct actions *out)
{
    struct membership_peer peer = membership_peer_of(instead);

    membership_add_passive(v, &peer);
    if (peerlist_find(&v->passive, &peer.id) == NULL ||
        membership_is_dialing(v, &peer.id) || v->strategy->want(v) == 0)
        return;
    (void)membership_ask(v, &peer.id, peer.address, false, INTENT_FILL, out);
}

static void on_disconnect(struct membership *v, struct hlink *hl,
                          const argus_Disconnect *m, struct actions *out)
{
    struct membership_peer peer = membership_peer_at(hl);
    bool was_active = hl->state == HLINK_ACTIVE;

    if (!was_active && hl->state != HLINK_ASKED) {
        v->stats.frame_stale++;
        return;
    }
    if (was_active)
        deactivate(v, hl, LINK_END_CLOSED, argus_RefuseCode_REFUSE_BYE, out);
    membership_close(hl, argus_RefuseCode_REFUSE_BYE, "as you wish", out);
    if (m->leaving) {
        membership_add_lost(v, &peer);
        return;
    }
    membership_add_passive(v, &peer);
    membership_postpone(v, &hl->peer.id, PARTED_MS, false);
    if (was_active && m->has_instead)
        ask_instead(v, &m->instead, out);
}

static void answer_shuffle(struct membership *v, link_id link,
                           const struct node_id *to, struct actions *out)
{
    /* Who keeps nobody in reserve has only neighbors to tell of. */
    uint32_t actives = v->passive.max == 0 ? MESSAGE_PEERS : 0;
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_shuffle_reply_tag;
    f.body.shuffle_reply.peers_count = (pb_size_t)membership_sample(
        v, to, actives, MESSAGE_PEERS - actives, f.body.shuffle_reply.peers);
    v->stats.shuffle_answered++;
    actions_send(out, link, &f);
}

static void on_shuffle(struct membership *v, struct hlink *from,
                       argus_Frame *frame, struct actions *out)
{
    struct node_id origin = node_id_of(frame->body.shuffle.origin.id);

    if (from->state != HLINK_ACTIVE || !frame->body.shuffle.has_origin ||
        v->has_left || node_id_is_equal(&origin, &v->options.id)) {
        v->stats.frame_stale++;
        return;
    }
    v->strategy->on_shuffle(v, from, frame, out);
}

void membership_end_shuffle(struct membership *v, const argus_Shuffle *m,
                            struct actions *out)
{
    struct membership_peer origin = membership_peer_of(&m->origin);
    struct hlink *direct = membership_link_of(v, &origin.id, HLINK_ACTIVE);

    if (direct != NULL)
        answer_shuffle(v, direct->link, &origin.id, out);
    else if (is_dialable(origin.address) && !node_id_is_zero(&origin.id))
        (void)membership_dial(v, DIAL_REPLY, &origin.id, origin.address, out);
    membership_add_passive(v, &origin);
    membership_take_in(v, m->peers, m->peers_count);
}

/* The two ends of a walk are random nodes of the mesh: who wants to know
 * something of such a one has the link for a moment. The answer came first, so
 * that it is not lost by an end that closes at once (one of an older version).
 */
static void meet(struct membership *v, struct hlink *hl, const char *text,
                 struct actions *out)
{
    if (v->listener.met == NULL) {
        membership_close(hl, argus_RefuseCode_REFUSE_BYE, text, out);
        return;
    }
    hl->is_meeting = true;
    hl->deadline_ms = v->now_ms + v->options.answer_ms;
    v->listener.met(v->listener.context, hl->link, out);
}

/* Asked for by a shuffle of ours, or a neighbor's parting gift. */
static void on_shuffle_reply(struct membership *v, struct hlink *hl,
                             const argus_ShuffleReply *m, struct actions *out)
{
    bool expected = v->now_ms <= v->shuffle_answer_until_ms;

    if (!expected && hl->state != HLINK_ACTIVE) {
        v->stats.shuffle_unasked++;
        return;
    }
    if (expected && hl->state != HLINK_ACTIVE)
        v->shuffle_answer_until_ms = 0;
    membership_take_in(v, m->peers, m->peers_count);
    if (hl->state == HLINK_WAITING)
        meet(v, hl, "thank you", out);
}

/* ---------------------------------------------------------- inputs */

static void advance(struct membership *v, uint64_t now_ms)
{
    assert(now_ms >= v->now_ms);
    v->now_ms = now_ms;
}

void membership_start(struct membership *v, uint64_t now_ms,
                      struct actions *out)
{
    advance(v, now_ms);
    v->join_tokens_at_ms = now_ms;
    v->is_started = true;
    v->strategy->start(v);
    v->strategy->on_timeout(v, out);
    membership_settle(v, out);
}

static void ask_join(struct membership *v, struct hlink *hl,
                     const struct hdial *d, struct actions *out)
{
    argus_Frame f;
    bool joined = v->active_count > 0 && !d->is_forced;

    /* Joined already, and so is it: nothing to heal. */
    if (joined && v->listener.is_live(v->listener.context, &hl->peer.id)) {
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "in the same mesh already", out);
        struct membership_peer peer = membership_peer_at(hl);
        membership_add_passive(v, &peer);
        return;
    }
    f.hlc = 0;
    f.which_body = argus_Frame_join_tag;
    f.body.join = (argus_Join){0};
    v->stats.join_sent++;
    hl->state = HLINK_ASKED;
    hl->is_joining = true;
    hl->intent = INTENT_SWAP;
    actions_send(out, hl->link, &f);
}

static void ask_neighbor(struct membership *v, struct hlink *hl,
                         const struct hdial *d, struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_neighbor_tag;
    f.body.neighbor =
        (argus_Neighbor){.high = d->is_high,
                         .near = d->intent == INTENT_NEAR,
                         .swap = d->is_high && d->intent == INTENT_SWAP};
    v->stats.neighbor_sent++;
    hl->state = HLINK_ASKED;
    hl->intent = d->intent;
    actions_send(out, hl->link, &f);
}

static void on_dialed(struct membership *v, struct hlink *hl, struct hdial *d,
                      struct actions *out)
{
    const struct node_id *id = &hl->peer.id;

    if (d->contact >= 0)
        v->contacts[d->contact].id = *id;
    if (d->purpose == DIAL_REPLY) {
        answer_shuffle(v, hl->link, id, out);
        meet(v, hl, "shuffled", out);
        return;
    }
    if (v->has_left || node_id_is_equal(id, &v->options.id) ||
        membership_is_active(v, id) ||
        membership_link_of(v, id, HLINK_ASKED) != NULL) {
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "there is a link between us already", out);
        return;
    }
    hl->deadline_ms = v->now_ms + v->options.answer_ms;
    if (d->purpose == DIAL_JOIN || d->purpose == DIAL_SEARCH)
        ask_join(v, hl, d, out);
    else
        ask_neighbor(v, hl, d, out);
}

void membership_on_link_up(struct membership *v, uint64_t now_ms, link_id link,
                           dial_id dial, const struct peer_info *peer,
                           struct actions *out)
{
    struct hdial d = {.contact = -1};

    advance(v, now_ms);
    bool dialed = dial != 0 && membership_take_dial(v, dial, &d);
    struct hlink *hl = add_link(v, link, peer);
    if (hl == NULL || (dial != 0 && !dialed)) {
        v->stats.link_refused++;
        if (hl != NULL)
            hl->state = HLINK_CLOSING;
        actions_close(out, link, argus_RefuseCode_REFUSE_BUSY,
                      "too many links here");
        membership_settle(v, out);
        return;
    }
    hl->state = HLINK_WAITING;
    hl->is_dialed = dialed;
    hl->deadline_ms = now_ms + WAITING_MS;

    /* A newer life of a neighbor: the old one cannot answer any more. */
    struct hlink *old = membership_link_of(v, &peer->id, HLINK_ACTIVE);
    if (old != NULL && old->peer.generation < peer->generation)
        replace(v, old, out);
    if (dialed)
        on_dialed(v, hl, &d, out);
    membership_settle(v, out);
}

/* Where a neighbor goes whose link ended by itself. A reset may be a quick
 * restart, so it is asked once more; who is silent or gone is lost. */
static void sort_away(struct membership *v, const struct membership_peer *peer,
                      enum link_end why, argus_RefuseCode code)
{
    if (why == LINK_END_TIMEOUT || why == LINK_END_REFUSED) {
        membership_add_lost(v, peer);
        return;
    }
    membership_add_passive(v, peer);
    bool failed = why != LINK_END_CLOSED ||
                  code == argus_RefuseCode_REFUSE_SLOW ||
                  code == argus_RefuseCode_REFUSE_QUARANTINE;
    membership_postpone(v, &peer->id, PARTED_MS / 6, failed);
}

void membership_on_link_down(struct membership *v, uint64_t now_ms,
                             link_id link, enum link_end why,
                             argus_RefuseCode code, struct actions *out)
{
    advance(v, now_ms);
    struct hlink *hl = membership_find_link(v, link);
    if (hl == NULL)
        return;

    struct hlink ended = *hl;
    enum hlink_state state = hl->state;
    struct membership_peer peer = membership_peer_at(&ended);
    if (state == HLINK_ACTIVE)
        deactivate(v, hl, why, code, out);
    *hl = v->links[--v->links_count];
    v->link_ids[hl - v->links] = hl->link;

    if (state == HLINK_ACTIVE) {
        v->stats.peer_failed += why != LINK_END_CLOSED;
        v->fill_at_ms = 0;
        v->rejected_row = 0;
        sort_away(v, &peer, why, code);
    } else if (state == HLINK_ASKED) {
        bool crossed = code == argus_RefuseCode_REFUSE_REPLACED;
        membership_postpone(v, &peer.id, PARTED_MS / 6, !crossed);
    }
    membership_settle(v, out);
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

void membership_on_dial_failed(struct membership *v, uint64_t now_ms,
                               dial_id dial, enum link_end why,
                               argus_RefuseCode code, struct actions *out)
{
    struct hdial d;

    advance(v, now_ms);
    if (!membership_take_dial(v, dial, &d))
        return;
    if (d.contact >= 0)
        v->contacts[d.contact].is_self =
            why == LINK_END_DENIED && code == argus_RefuseCode_REFUSE_SELF;

    struct peer_entry *e = peerlist_find(&v->passive, &d.peer);
    if (is_hopeless(why, code)) {
        membership_forget(v, &d.peer);
    } else if (why == LINK_END_REFUSED && e != NULL) {
        membership_move_lost(v, e);
    } else {
        bool ours =
            why == LINK_END_LOCAL || code == argus_RefuseCode_REFUSE_BUSY;
        membership_postpone(v, &d.peer, PARTED_MS, !ours);
    }
    membership_settle(v, out);
}

void membership_on_frame(struct membership *v, uint64_t now_ms, link_id link,
                         const argus_Frame *frame, struct actions *out)
{
    advance(v, now_ms);
    struct hlink *hl = membership_find_link(v, link);
    if (hl == NULL || hl->state == HLINK_CLOSING) {
        v->stats.frame_stale++;
        return;
    }
    switch (frame->which_body) {
    case argus_Frame_join_tag: on_join(v, hl, out); break;
    case argus_Frame_neighbor_tag:
        on_neighbor(v, hl, &frame->body.neighbor, out);
        break;
    case argus_Frame_neighbor_reply_tag:
        on_neighbor_reply(v, hl, &frame->body.neighbor_reply, out);
        break;
    case argus_Frame_forward_join_tag:
        on_forward_join(v, hl, &frame->body.forward_join, out);
        break;
    case argus_Frame_disconnect_tag:
        on_disconnect(v, hl, &frame->body.disconnect, out);
        break;
    case argus_Frame_shuffle_tag: {
        argus_Frame copy; /* sent on with a shorter way to go */
        copy.hlc = 0;
        copy.which_body = frame->which_body;
        copy.body.shuffle = frame->body.shuffle;
        on_shuffle(v, hl, &copy, out);
        break;
    }
    case argus_Frame_shuffle_reply_tag:
        on_shuffle_reply(v, hl, &frame->body.shuffle_reply, out);
        break;
    }
    membership_settle(v, out);
}

static void expire_links(struct membership *v, struct actions *out)
{
    for (uint32_t i = 0; i < v->links_count; i++) {
        struct hlink *hl = &v->links[i];
        if ((hl->state != HLINK_WAITING && hl->state != HLINK_ASKED) ||
            hl->deadline_ms > v->now_ms)
            continue;
        if (hl->state == HLINK_ASKED) {
            v->stats.handshake_expired++;
            membership_postpone(v, &hl->peer.id, 0, true);
        }
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "nothing to do on this link", out);
    }
}

void membership_on_timeout(struct membership *v, uint64_t now_ms,
                           struct actions *out)
{
    advance(v, now_ms);
    if (now_ms < v->deadline_ms)
        return;
    expire_links(v, out);
    if (v->is_started && !v->has_left) {
        v->strategy->on_timeout(v, out);
        membership_answer_calls(v, out);
    }
    membership_settle(v, out);
}

uint64_t membership_deadline_ms(const struct membership *v)
{
    return v->deadline_ms;
}

/* departs: the paper re-sends NEIGHBOR; here each ping on a link says whether
 * its sender holds it active, so a one-sided link lives for some pings only. */
void membership_on_audit(struct membership *v, uint64_t now_ms, link_id link,
                         bool active, struct actions *out)
{
    advance(v, now_ms);
    struct hlink *hl = membership_find_link(v, link);
    if (hl == NULL)
        return;
    if (hl->state == HLINK_ACTIVE && active) { /* the rule: nothing changes */
        trust(v, hl);
        return;
    }
    if (hl->state == HLINK_ACTIVE) {
        doubt(v, hl);
        if (hl->audit_misses > AUDIT_MISSES_MAX) {
            v->stats.audit_failed++;
            end_neighbor(v, hl, false, NULL, out);
        }
    } else if (active && hl->state == HLINK_WAITING) {
        v->stats.audit_failed++;
        send_disconnect(link, false, NULL, out);
        membership_close(hl, argus_RefuseCode_REFUSE_BYE,
                         "not in the active view here", out);
    }
    membership_settle(v, out);
}

bool membership_has_doubts(const struct membership *v)
{
    return v->doubted > 0;
}

bool membership_is_meeting(const struct membership *v, link_id link)
{
    const struct hlink *hl = membership_find_link(v, link);

    return hl != NULL && hl->state == HLINK_WAITING && hl->is_meeting;
}

/* The dialer asked first, so it has its answers when the other end has its. */
void membership_met(struct membership *v, uint64_t now_ms, link_id link,
                    struct actions *out)
{
    advance(v, now_ms);
    struct hlink *hl = membership_find_link(v, link);
    if (hl == NULL || !membership_is_meeting(v, link) || hl->is_dialed)
        return;
    membership_close(hl, argus_RefuseCode_REFUSE_BYE, "thank you", out);
    membership_settle(v, out);
}

void membership_offer(struct membership *v, uint64_t now_ms,
                      const struct membership_peer *peer, struct actions *out)
{
    advance(v, now_ms);
    struct peer_entry *lost = peerlist_find(&v->lost, &peer->id);
    if (lost != NULL) {
        if (peer->generation != 0 && lost->generation == peer->generation) {
            v->stats.peer_returned++;
            membership_seek_returned(v);
        }
        (void)peerlist_remove(&v->lost, &peer->id);
    } else if (v->passive.count == v->passive.max &&
               peerlist_find(&v->passive, &peer->id) == NULL) {
        return;
    }
    membership_add_passive(v, peer);
    membership_settle(v, out);
}

void membership_lose(struct membership *v, uint64_t now_ms,
                     const struct node_id *id, struct actions *out)
{
    advance(v, now_ms);
    const struct peer_entry *e = peerlist_find(&v->passive, id);
    if (e == NULL)
        return;
    membership_move_lost(v, e);
    membership_settle(v, out);
}

void membership_forget(struct membership *v, const struct node_id *id)
{
    (void)peerlist_remove(&v->passive, id);
    (void)peerlist_remove(&v->lost, id);
}

int membership_join(struct membership *v, uint64_t now_ms, const char *address,
                    struct actions *out)
{
    advance(v, now_ms);
    if (!is_dialable(address) || strlen(address) >= ADDRESS_SIZE)
        return ARGUS_EINVAL;
    if (!keep_contact(v, address))
        return ARGUS_EFULL;
    v->has_left = false;
    struct hdial *d = membership_dial(v, DIAL_JOIN, NULL, address, out);
    if (d != NULL)
        d->is_forced = true;
    membership_settle(v, out);
    return ARGUS_OK;
}

void membership_on_call(struct membership *v, uint64_t now_ms,
                        const struct membership_peer *caller, uint32_t online,
                        struct actions *out)
{
    advance(v, now_ms);
    if (!v->options.calls || !v->is_started || v->has_left ||
        !is_dialable(caller->address) ||
        node_id_is_equal(&caller->id, &v->options.id))
        return;
    v->stats.call_heard++;
    if (!v->strategy->may_hold(v, caller->role)) {
        v->stats.call_unsuited++;
        return;
    }
    if (membership_is_active(v, &caller->id) ||
        v->listener.is_live(v->listener.context, &caller->id)) {
        v->stats.call_known++;
        return;
    }
    enum callers_verdict verdict = callers_add(
        &v->callers, now_ms, &caller->id, caller->address, online, &v->prng);
    v->stats.call_known += verdict == CALLERS_KNOWN;
    v->stats.call_dropped += verdict == CALLERS_FULL;
    membership_settle(v, out);
}

void membership_leave(struct membership *v, uint64_t now_ms,
                      struct actions *out)
{
    advance(v, now_ms);
    v->has_left = true;
    for (uint32_t i = 0; i < v->links_count; i++) {
        struct hlink *hl = &v->links[i];
        if (hl->state == HLINK_ACTIVE)
            end_neighbor(v, hl, true, NULL, out);
        else
            membership_close(hl, argus_RefuseCode_REFUSE_BYE, "leaving", out);
    }
    membership_settle(v, out);
}

void membership_set_address(struct membership *v, const char *address)
{
    address_copy(v->options.address, address);
}

void membership_set_generation(struct membership *v, uint32_t generation)
{
    v->options.generation = generation;
}
