#include "core/plumtree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "core/plumtree_impl.h"

/* A round only grows, so a peer that lies cannot make it wrap. */
#define ROUND_MAX 0xffffu

/* Tables are walked for what is due at most this often. */
#define MISSING_SCAN_MS 5
#define EXPIRE_SCAN_MS 5000

/* What can wait is done on the occasion of something else, if that comes within
 * so long. */
#define EXPIRE_LATE_MS 2000

/* In shares of the graft wait. Measured on simulated meshes of 32 to 200 nodes
 * with 8 senders at once: less and two surveyors may prune side by side, more
 * and duplicates last longer. */
#define PRUNE_WAIT(wait_ms) ((wait_ms) / 4)
#define SURVEY(wait_ms) ((wait_ms)*3 / 2)
#define RETRY_WAIT(wait_ms) ((wait_ms) / 2)

/* Rounds of asking after which the retry wait doubles no further. */
#define RETRY_DOUBLINGS_MAX 5

/* After the loss of an eager link the tree is taken to be cut for so long, or
 * until the first graft; what is announced is asked for after so short a wait.
 */
#define CUT_MS 1000
#define CUT_WAIT(wait_ms) ((wait_ms) / 4)

/* The lag between the announcement of a message and its copies is kept in
 * fractions of a millisecond. Guesses: in whole trees of 1000 and 10,000 nodes
 * hardly anybody waits in vain. */
#define LAG_UNIT 256
#define LAG_RISE 4
#define LAG_FALL 1024
#define LAG_WAIT(lag) ((uint64_t)(lag)*3 / 2)

/* Messages come in a flow when the last were announced not longer ago; then
 * announcements wait so many times as long. Guesses: a message that was lost is
 * asked for later by less than half of the least graft wait. */
#define FLOW_MS 50
#define FLOW_WAITS 4

/* Slots for neighbors to begin with. */
#define SLOTS_MIN 8u

/* Greatest graft_wait_max_ms. */
#define GRAFT_WAIT_MAX_MS 10000

/* ------------------------------------------------------- life, questions */

void plumtree_defaults(struct plumtree_options *options)
{
    *options = (struct plumtree_options){
        .graft_wait_ms = 100,      /* guess; it grows with the lag */
        .graft_wait_max_ms = 1000, /* guess */
        .announce_wait_ms = 15,
        .shortcut_gap_ms = 10000, /* guess */
        .prune_gap_ms = 100,      /* guess */
        .grafts_per_s = 256,      /* guess */
        .neighbors_max = MISSING_SLOTS,
        .missing_max = 8192, /* guess, as are the following */
        .missing_link_max = 2048,
        .missing_ms = 30000,
        .seen_max = 65536,
        .seen_ms = 90000,
        .cache_bytes_max = 8u << 20,
        .cache_ms = 30000,
        .recent_ms = 10000,
        .recent_max = 1024,
    };
}

static bool options_are_valid(const struct plumtree_options *o)
{
    return o->hash != NULL && o->graft_wait_ms >= 4 &&
           o->graft_wait_ms <= o->graft_wait_max_ms &&
           o->graft_wait_max_ms <= GRAFT_WAIT_MAX_MS && o->rank != 0 &&
           o->shortcut_gap_ms > 0 && o->grafts_per_s > 0 &&
           o->neighbors_max > 0 && o->neighbors_max <= MISSING_SLOTS &&
           o->missing_max > 0 && o->missing_link_max > 0 &&
           o->missing_link_max <= o->missing_max && o->missing_ms > 0 &&
           o->seen_max > 0 && o->seen_max <= SEEN_LIMIT && o->cache_ms > 0 &&
           o->cache_ms <= o->seen_ms && o->recent_ms <= o->cache_ms &&
           o->cache_bytes_max >= SEALED_SIZE_MAX;
}

int plumtree_new(const struct plumtree_options *options,
                 const struct plumtree_listener *listener,
                 struct plumtree **out)
{
    if (!options_are_valid(options) || listener->deliver == NULL)
        return ARGUS_EINVAL;

    struct plumtree *p = lines_alloc(sizeof *p);
    if (p == NULL)
        return ARGUS_ENOMEM;
    p->options = *options;
    p->listener = *listener;
    prng_seed(&p->prng, options->seed);
    p->lag = options->graft_wait_ms * LAG_UNIT / 2;
    seen_init(&p->seen, &p->options, &p->stats);
    missing_init(&p->missing, &p->options, &p->stats);
    p->announce_ms = p->prune_ms = UINT64_MAX;
    p->missing_ms = p->expire_ms = p->shape.switch_ms = UINT64_MAX;
    *out = p;
    return ARGUS_OK;
}

void plumtree_free(struct plumtree *p)
{
    if (p == NULL)
        return;
    seen_close(&p->seen);
    missing_close(&p->missing);
    free(p->neighbors);
    free(p->slot_links);
    free(p);
}

const struct plumtree_stats *plumtree_stats(const struct plumtree *p)
{
    return &p->stats;
}

struct neighbor *plumtree_neighbor(const struct plumtree *p, link_id link)
{
    for (unsigned i = 0; link != 0 && i < p->slots; i++)
        if (p->slot_links[i] == link)
            return &p->neighbors[i];
    return NULL;
}

/* A free slot, grown if need be. @return p->slots: there is none. */
static unsigned slot_find(struct plumtree *p)
{
    unsigned slot = 0;

    while (slot < p->slots && p->slot_links[slot] != 0)
        slot++;
    if (slot < p->slots || p->slots == p->options.neighbors_max)
        return slot;
    unsigned slots = p->slots == 0 ? SLOTS_MIN : 2 * p->slots;
    if (slots > p->options.neighbors_max)
        slots = p->options.neighbors_max;
    struct neighbor *neighbors = lines_alloc(slots * sizeof *neighbors);
    link_id *links = lines_alloc(slots * sizeof *links);
    if (neighbors == NULL || links == NULL) {
        free(neighbors);
        free(links);
        p->stats.memory_refused++;
        return p->slots;
    }
    if (p->slots > 0) {
        memcpy(neighbors, p->neighbors, p->slots * sizeof *neighbors);
        memcpy(links, p->slot_links, p->slots * sizeof *links);
    }
    free(p->neighbors);
    free(p->slot_links);
    p->neighbors = neighbors;
    p->slot_links = links;
    p->slots = slots;
    return slot;
}

bool plumtree_is_eager(const struct plumtree *p, link_id link)
{
    const struct neighbor *n = plumtree_neighbor(p, link);

    return n != NULL && is_eager(p, n);
}

static uint32_t eager_count(const struct plumtree *p)
{
    uint32_t count = 0;

    for (unsigned i = 0; i < MISSING_SLOTS / 64; i++)
        count += (uint32_t)__builtin_popcountll(p->eager.words[i]);
    return count;
}

void plumtree_usage(const struct plumtree *p, struct plumtree_usage *out)
{
    *out = (struct plumtree_usage){
        .eager = eager_count(p),
        .seen = seen_count(&p->seen),
        .missing = missing_count(&p->missing),
        .cache_bytes = p->seen.cache_bytes,
        .graft_wait_ms = plumtree_wait_ms(p),
    };
    for (unsigned i = 0; i < p->slots; i++)
        if (p->slot_links[i] != 0)
            out->neighbors++;
}

void plumtree_prefetch(const struct plumtree *p, unsigned stage)
{
    if (stage == 0) {
        __builtin_prefetch(p->slot_links);
        __builtin_prefetch(&p->seen);
        __builtin_prefetch(&p->listener);
    }
    for (unsigned i = 0; stage == 1 && i < p->slots && i < 64; i++)
        if (slots_has(&p->eager, i))
            __builtin_prefetch(&p->neighbors[i]);
}

void plumtree_prefetch_id(const struct plumtree *p,
                          const uint8_t id[CONTENT_ID_SIZE])
{
    seen_prefetch(&p->seen, id);
}

void plumtree_advance(struct plumtree *p, uint64_t now_ms)
{
    assert(now_ms >= p->now_ms);
    p->now_ms = now_ms;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t plumtree_deadline_ms(const struct plumtree *p)
{
    uint64_t expire_ms =
        p->expire_ms < UINT64_MAX ? p->expire_ms + EXPIRE_LATE_MS : UINT64_MAX;

    return earlier(earlier(earlier(p->announce_ms, p->prune_ms),
                           earlier(p->missing_ms, expire_ms)),
                   p->shape.switch_ms);
}

/* --------------------------------------------------------------- sending */

static void send_gossip(struct plumtree *p, link_id to,
                        const struct seen_message *m, const uint8_t *payload,
                        size_t size, struct actions *out)
{
    argus_Frame frame; /* large: only the fields of its body are set */

    frame.hlc = 0;
    frame.which_body = argus_Frame_gossip_tag;
    frame.body.gossip.round = m->from == 0 ? 0 : m->round + 1;
    frame.body.gossip.survey = m->survey;
    frame.body.gossip.payload.size = (pb_size_t)size;
    memcpy(frame.body.gossip.payload.bytes, payload, size);
    p->stats.gossip_sent++;
    actions_send(out, to, &frame);
}

void plumtree_send_graft(struct plumtree *p, struct neighbor *n,
                         const uint8_t *id, struct actions *out)
{
    argus_Frame frame;

    frame.hlc = 0;
    frame.which_body = argus_Frame_graft_tag;
    frame.body.graft.id.size = id != NULL ? CONTENT_ID_SIZE : 0;
    if (id != NULL)
        memcpy(frame.body.graft.id.bytes, id, CONTENT_ID_SIZE);
    set_eager(p, n, true);
    p->stats.graft_sent++;
    actions_send(out, n->link, &frame);
}

void plumtree_send_prune(struct plumtree *p, struct neighbor *n,
                         struct actions *out)
{
    argus_Frame frame;

    frame.hlc = 0;
    frame.which_body = argus_Frame_prune_tag;
    set_eager(p, n, false);
    n->prune_due_ms = UINT64_MAX;
    n->pruned = true;
    n->pruned_ms = p->now_ms;
    p->stats.prune_sent++;
    actions_send(out, n->link, &frame);
}

static void send_ihave(struct plumtree *p, link_id to, argus_Frame *frame,
                       struct actions *out)
{
    frame->hlc = 0;
    frame->which_body = argus_Frame_ihave_tag;
    p->stats.ihave_sent += frame->body.ihave.announced_count;
    actions_send(out, to, frame);
}

static void announce_all(struct plumtree *p, struct actions *out)
{
    argus_Frame frame;

    for (unsigned i = 0; i < p->slots; i++)
        if (p->slot_links[i] != 0 &&
            announcements_for(&p->pending, i, &frame.body.ihave))
            send_ihave(p, p->slot_links[i], &frame, out);
    p->pending.count = 0;
    p->announce_ms = UINT64_MAX;
    p->announced_ms = p->now_ms;
}

/* Half of it to half as long again: of the two ends of a link one is first
 * then, and the other has nothing left to say. The payload is past by that
 * time; to announce while it is on its way is work at the moment when all have
 * most. While message follows message they are announced together. */
static uint32_t announce_wait_ms(struct plumtree *p)
{
    uint32_t wait_ms = p->options.announce_wait_ms;

    if (p->announced_ms != 0 && p->now_ms - p->announced_ms < FLOW_MS)
        wait_ms *= FLOW_WAITS;
    return wait_ms / 2 + prng_below(&p->prng, wait_ms + 1);
}

static void announce_later(struct plumtree *p, const struct seen_message *m,
                           const struct slots *to, struct actions *out)
{
    announcements_add(&p->pending, m->id, to);
    if (p->pending.count == ANNOUNCED_MAX)
        announce_all(p, out);
    else
        p->announce_ms =
            earlier(p->announce_ms, p->now_ms + announce_wait_ms(p));
}

/* Algorithm 1, EagerPush and LazyPush.
 * departs: not to those that have announced it themselves.
 * @param have  who has the message. */
static void forward(struct plumtree *p, const struct seen_message *m,
                    const uint8_t *payload, size_t size,
                    const struct slots *have, struct actions *out)
{
    struct slots lazy = {{0}};

    for (unsigned i = 0; i < p->slots; i++) {
        link_id link = p->slot_links[i];

        if (link == 0 || slots_has(have, i))
            continue;
        if (slots_has(&p->eager, i) && !plumtree_is_detour(p, m->from, link))
            send_gossip(p, link, m, payload, size, out);
        else
            slots_add(&lazy, i);
    }
    if (slots_first(&lazy) != MISSING_SLOTS)
        announce_later(p, m, &lazy, out);
}

static void expire_later(struct plumtree *p, uint64_t due_ms)
{
    if (due_ms != UINT64_MAX && due_ms < p->now_ms + EXPIRE_SCAN_MS)
        due_ms = p->now_ms + EXPIRE_SCAN_MS;
    p->expire_ms = earlier(p->expire_ms, due_ms);
}

/* ------------------------------------------------- surveyor and measures */

/* One message at a time shapes the tree, the same on every node: the links over
 * which it came first are a spanning tree, so those over which it came again
 * can go. Were two messages to prune at once, each by its own tree, a cycle
 * could be cut in two places. So the origin appoints a message surveyor if it
 * has heard of none for a while; of two that were appointed at the same time
 * the lesser id counts. */
static void survey(struct plumtree *p, const struct seen_message *m)
{
    const uint8_t *id = m->id;

    if (!m->survey)
        return;
    if (p->now_ms < p->surveyor_until_ms &&
        memcmp(id, p->surveyor_id, CONTENT_ID_SIZE) > 0)
        return;
    memcpy(p->surveyor_id, id, CONTENT_ID_SIZE);
    p->surveyor_until_ms = p->now_ms + SURVEY(plumtree_wait_ms(p));
}

static bool is_surveyor(const struct plumtree *p, const uint8_t *id)
{
    return memcmp(id, p->surveyor_id, CONTENT_ID_SIZE) == 0;
}

/* How long an announced message may take: what all but one in LAG_FALL /
 * LAG_RISE or so stay below. It rises by a share for each that took longer,
 * however much, so that a straggler, or a peer that lies, moves it by little;
 * and the whole tree waits for its longest ways, not for the usual ones, since
 * each Graft where nothing is missing bends the tree. */
static void raise_lag(struct plumtree *p)
{
    uint32_t most = p->options.graft_wait_max_ms * LAG_UNIT;

    p->lag += p->lag / LAG_RISE;
    if (p->lag > most)
        p->lag = most;
}

/* Once to the root and back is what the tree needs at least. */
uint32_t plumtree_wait_ms(const struct plumtree *p)
{
    uint64_t wait_ms = LAG_WAIT(p->lag) / LAG_UNIT;
    uint64_t way_ms = 2 * (uint64_t)p->shape.own.distance_us / 1000;

    if (wait_ms < way_ms)
        wait_ms = way_ms;
    if (wait_ms < p->options.graft_wait_ms)
        wait_ms = p->options.graft_wait_ms;
    return (uint32_t)earlier(wait_ms, p->options.graft_wait_max_ms);
}

/* A copy of m came that nobody was asked for. */
static void measure_lag(struct plumtree *p, const struct neighbor *n,
                        const struct seen_message *m)
{
    for (unsigned i = 0; i < m->asked_count; i++)
        if (m->asked[i] == n->slot)
            return;
    if ((p->now_ms - m->heard_ms) * LAG_UNIT > p->lag)
        raise_lag(p);
    else if (p->lag > LAG_UNIT)
        p->lag -= p->lag / LAG_FALL;
}

bool plumtree_broadcast(struct plumtree *p, uint64_t now_ms,
                        const uint8_t *payload, size_t size,
                        struct actions *out)
{
    uint8_t id[CONTENT_ID_SIZE];
    struct seen_message *m = NULL;

    plumtree_advance(p, now_ms);
    if (size > 0 && size <= SEALED_SIZE_MAX) {
        p->options.hash(payload, size, id);
        if (seen_find(&p->seen, id) == NULL)
            m = seen_add(&p->seen, now_ms, id, 0, 0);
    }
    if (m == NULL) {
        p->stats.broadcast_refused++;
        return false;
    }
    struct missing_id *announced = missing_find(&p->missing, id);
    if (announced != NULL) /* we speak again of what another said */
        missing_remove(&p->missing, announced);
    p->stats.broadcast_sent++;
    plumtree_note_own(p);
    m->survey = now_ms >= p->surveyor_until_ms;
    survey(p, m);
    seen_keep_payload(&p->seen, m, payload, size);
    forward(p, m, payload, size, &(struct slots){{0}}, out);
    expire_later(p, now_ms + p->options.cache_ms);
    return true;
}

void plumtree_hurry(struct plumtree *p)
{
    for (unsigned i = 0; i < p->slots; i++)
        if (p->slot_links[i] != 0)
            slots_add(&p->eager, i);
}

/* ------------------------------------------------------------- neighbors */

/* departs: a new neighbor is told at once what was delivered lately, so that
 * what was under way when other links broke is not lost. */
static void announce_recent(struct plumtree *p, const struct neighbor *n,
                            struct actions *out)
{
    const struct seen_message *m;
    uint32_t count = 0, back = 0;
    argus_Frame frame;
    argus_IHave *ihave = &frame.body.ihave;

    for (; (m = seen_back(&p->seen, back)) != NULL; back++) {
        if (p->now_ms - m->at_ms > p->options.recent_ms ||
            count == p->options.recent_max)
            break;
        count += m->payload != NULL;
    }
    ihave->announced_count = 0;
    while (back-- > 0) {
        m = seen_back(&p->seen, back);
        if (m->payload == NULL)
            continue;
        memcpy(ihave->announced[ihave->announced_count++].id, m->id,
               CONTENT_ID_SIZE);
        if (ihave->announced_count < ANNOUNCED_MAX)
            continue;
        send_ihave(p, n->link, &frame, out);
        ihave->announced_count = 0;
    }
    if (ihave->announced_count > 0)
        send_ihave(p, n->link, &frame, out);
}

void plumtree_neighbor_up(struct plumtree *p, uint64_t now_ms, link_id link,
                          struct actions *out)
{
    plumtree_advance(p, now_ms);
    if (plumtree_neighbor(p, link) != NULL)
        return;
    unsigned slot = slot_find(p);
    if (slot == p->slots) {
        p->stats.neighbor_refused++;
        return;
    }

    struct neighbor *n = &p->neighbors[slot];
    *n = (struct neighbor){
        .link = link, .slot = slot, .prune_due_ms = UINT64_MAX};
    p->slot_links[slot] = link;
    set_eager(p, n, true);
    announce_recent(p, n, out);
}

static void neighbor_remove(struct plumtree *p, struct neighbor *n)
{
    missing_clear_slot(&p->missing, n->slot);
    announcements_clear_slot(&p->pending, n->slot);
    set_eager(p, n, false);
    p->slot_links[n->slot] = 0;
    *n = (struct neighbor){0};
}

void plumtree_neighbor_down(struct plumtree *p, uint64_t now_ms, link_id link,
                            struct actions *out)
{
    struct neighbor *n = plumtree_neighbor(p, link);

    (void)out; /* the tree mends itself by the next announcement */
    plumtree_advance(p, now_ms);
    if (n == NULL)
        return;
    if (is_eager(p, n))
        p->cut_until_ms = now_ms + CUT_MS;
    neighbor_remove(p, n);
}

static void refuse_neighbor(struct plumtree *p, struct neighbor *n,
                            const char *text, struct actions *out)
{
    link_id link = n->link;

    neighbor_remove(p, n);
    actions_close(out, link, argus_RefuseCode_REFUSE_MALFORMED, text);
}

/* ---------------------------------------------------------------- gossip */

static bool has_just_pruned(const struct plumtree *p, const struct neighbor *n)
{
    return n->pruned && p->now_ms - n->pruned_ms < p->options.prune_gap_ms;
}

/* A later copy shows its link to be redundant: it leaves the tree, and the
 * sender is told so. Algorithm 1, Receive(Gossip), else branch.
 * departs: only for the surveyor, and after a wait in which a lesser id may yet
 * replace it. Not when the same link brought the first copy too (it answered
 * two grafts: no cycle there), and at most once in prune_gap_ms on a link,
 * since copies are under way while the Prune travels. */
static void on_duplicate(struct plumtree *p, struct neighbor *n,
                         const struct seen_message *m)
{
    p->stats.gossip_duplicate++;
    announcements_drop(&p->pending, n->slot, m->id);
    if (m->from == n->link)
        return;
    measure_lag(p, n, m);
    if (!is_surveyor(p, m->id) || n->prune_due_ms != UINT64_MAX ||
        has_just_pruned(p, n) || plumtree_is_moving(p, n->link) ||
        plumtree_is_branch(p, n)) {
        p->stats.prune_limited++;
        return;
    }
    memcpy(n->redundant_id, m->id, CONTENT_ID_SIZE);
    n->prune_due_ms = p->now_ms + PRUNE_WAIT(plumtree_wait_ms(p));
    p->prune_ms = earlier(p->prune_ms, n->prune_due_ms);
}

static void prune_redundant(struct plumtree *p, struct actions *out)
{
    p->prune_ms = UINT64_MAX;
    for (unsigned i = 0; i < p->slots; i++) {
        struct neighbor *n = &p->neighbors[i];

        if (n->link == 0 || n->prune_due_ms == UINT64_MAX)
            continue;
        if (n->prune_due_ms > p->now_ms) {
            p->prune_ms = earlier(p->prune_ms, n->prune_due_ms);
            continue;
        }
        n->prune_due_ms = UINT64_MAX;
        if (is_surveyor(p, n->redundant_id))
            plumtree_send_prune(p, n, out);
        else
            p->stats.prune_limited++;
    }
}

/* A first copy shows that its link is needed, unless it was sent before our
 * Prune arrived there. */
static void keep_in_tree(struct plumtree *p, const struct neighbor *n)
{
    if (!is_eager(p, n) && !has_just_pruned(p, n) && n->link != p->shape.to)
        set_eager(p, n, true);
}

static void note_asked(struct seen_message *m, const struct slots *asked)
{
    struct slots left = *asked;

    while (m->asked_count < SEEN_ASKED_MAX) {
        unsigned slot = slots_first(&left);
        if (slot == MISSING_SLOTS)
            return;
        m->asked[m->asked_count++] = (uint8_t)slot;
        slots_remove(&left, slot);
    }
}

/** @param n  NULL: the link is gone. */
static void on_news(struct plumtree *p, struct neighbor *n,
                    struct seen_message *m, const argus_Gossip *gossip,
                    struct actions *out)
{
    struct missing_id *announced = missing_find(&p->missing, m->id);
    struct slots have = {{0}};

    p->stats.gossip_delivered++;
    survey(p, m);
    if (n != NULL)
        keep_in_tree(p, n);
    if (announced != NULL) {
        have = announced->announced;
        m->heard_ms = announced->since_ms;
        note_asked(m, &announced->asked);
        if (n != NULL)
            measure_lag(p, n, m);
        missing_remove(&p->missing, announced);
    }
    if (n != NULL)
        slots_add(&have, n->slot);
    seen_keep_payload(&p->seen, m, gossip->payload.bytes, gossip->payload.size);
    forward(p, m, gossip->payload.bytes, gossip->payload.size, &have, out);
}

/* The first copy of a message keeps its link in the tree. */
static void on_first(struct plumtree *p, struct neighbor *n,
                     const argus_Gossip *gossip, const uint8_t *id,
                     struct actions *out)
{
    uint32_t round = gossip->round < ROUND_MAX ? gossip->round : ROUND_MAX;
    link_id link = n->link;

    /* Known before it is delivered: the listener may broadcast. */
    struct seen_message *m = seen_add(&p->seen, p->now_ms, id, link, round);
    if (m == NULL)
        return; /* a neighbor will announce it */
    m->survey = gossip->survey;
    enum plumtree_verdict verdict =
        p->listener.deliver(p->listener.context, link, gossip->payload.bytes,
                            gossip->payload.size, id);

    m = seen_find(&p->seen, id);
    assert(m != NULL);
    n = plumtree_neighbor(p, link); /* NULL: what it said ended the link */
    if (verdict == PLUMTREE_NEWS) {
        on_news(p, n, m, gossip, out);
        expire_later(p, p->now_ms + p->options.cache_ms);
        return;
    }

    struct missing_id *announced = missing_find(&p->missing, id);
    if (announced != NULL)
        missing_remove(&p->missing, announced);
    if (verdict == PLUMTREE_STALE) {
        p->stats.gossip_stale++;
        if (n != NULL)
            keep_in_tree(p, n);
        expire_later(p, p->now_ms + p->options.seen_ms);
        return;
    }
    p->stats.gossip_bad++;
    seen_remove(&p->seen, m);
    if (n != NULL)
        refuse_neighbor(p, n, "a broadcast that is damaged or signed wrongly",
                        out);
}

static void on_gossip(struct plumtree *p, struct neighbor *n,
                      const argus_Gossip *gossip, struct actions *out)
{
    uint8_t id[CONTENT_ID_SIZE];

    if (gossip->payload.size == 0) {
        p->stats.frame_malformed++;
        refuse_neighbor(p, n, "a Gossip without payload", out);
        return;
    }
    p->options.hash(gossip->payload.bytes, gossip->payload.size, id);
    const struct seen_message *m = seen_find(&p->seen, id);
    if (m != NULL)
        on_duplicate(p, n, m);
    else
        on_first(p, n, gossip, id, out);
}

/* ----------------------------------------------- announcements and grafts */

static void missing_later(struct plumtree *p, uint64_t due_ms)
{
    uint64_t scan_ms = p->missing_scan_ms + MISSING_SCAN_MS;

    p->missing_ms = earlier(p->missing_ms, due_ms > scan_ms ? due_ms : scan_ms);
}

/* How long to wait for a message that was announced.
 * departs: without any eager link there is nothing to wait for, and a graft can
 * close no cycle. Next to a link that was lost the wait is short: this is the
 * node whose graft mends the tree for all behind it. */
static uint32_t wait_for_payload(struct plumtree *p)
{
    if (eager_count(p) == 0)
        return 0;
    return prng_jitter(&p->prng, p->now_ms < p->cut_until_ms
                                     ? CUT_WAIT(plumtree_wait_ms(p))
                                     : plumtree_wait_ms(p));
}

/* Algorithm 2, Receive(IHave). The wait is jittered: where a part of the tree
 * was cut off, the first to graft brings the payload in for all of it. */
static void on_ihave(struct plumtree *p, struct neighbor *n,
                     const argus_IHave *ihave, struct actions *out)
{
    (void)out;
    for (pb_size_t i = 0; i < ihave->announced_count; i++) {
        const argus_Announcement *a = &ihave->announced[i];

        p->stats.ihave_received++;
        if (seen_find(&p->seen, a->id) != NULL) {
            announcements_drop(&p->pending, n->slot, a->id);
            continue;
        }
        uint64_t due_ms = p->now_ms + wait_for_payload(p);
        if (missing_announce(&p->missing, p->now_ms, n->slot, a->id, due_ms) !=
            NULL)
            missing_later(p, due_ms);
    }
}

/* Whom to ask: an eager link, whose graft changes nothing in the tree, before
 * the first announcer, before any other; of those not asked in this round and
 * with a graft left in this second. */
static struct neighbor *choose_announcer(struct plumtree *p,
                                         const struct missing_id *m)
{
    struct neighbor *chosen = NULL;

    for (unsigned i = 0; i < p->slots; i++) {
        struct neighbor *n = &p->neighbors[i];

        if (!slots_has(&m->announced, i) || slots_has(&m->asked, i))
            continue;
        assert(n->link != 0);
        if (n->grafts_sent.second == p->now_ms / 1000 &&
            n->grafts_sent.used >= p->options.grafts_per_s)
            continue;
        if (chosen == NULL || (is_eager(p, n) && !is_eager(p, chosen)) ||
            (is_eager(p, n) == is_eager(p, chosen) && i == m->first_slot))
            chosen = n;
    }
    return chosen;
}

static void ask_for(struct plumtree *p, struct missing_id *m,
                    struct actions *out)
{
    if (slots_are_in(&m->announced, &m->asked)) {
        m->asked = (struct slots){{0}};
        m->retries++;
    }
    struct neighbor *n = choose_announcer(p, m);
    if (n == NULL) {
        p->stats.graft_delayed++;
        m->due_ms = (p->now_ms / 1000 + 1) * 1000;
        return;
    }
    bool taken = rate_take(&n->grafts_sent, p->now_ms, p->options.grafts_per_s);
    assert(taken);
    slots_add(&m->asked, n->slot);
    uint32_t doublings =
        m->retries < RETRY_DOUBLINGS_MAX ? m->retries : RETRY_DOUBLINGS_MAX;
    m->due_ms =
        p->now_ms + ((uint64_t)RETRY_WAIT(plumtree_wait_ms(p)) << doublings);
    plumtree_send_graft(p, n, m->id, out);
    p->cut_until_ms = 0;
}

/* Algorithm 2, Timer(missing). */
static void ask_for_missing(struct plumtree *p, struct actions *out)
{
    struct missing_id *m, *next;
    uint64_t due_ms = UINT64_MAX;

    HASH_ITER(hh, p->missing.ids, m, next)
    {
        if (p->now_ms - m->since_ms >= p->options.missing_ms) {
            p->stats.missing_expired++;
            missing_remove(&p->missing, m);
            continue;
        }
        if (m->due_ms <= p->now_ms)
            ask_for(p, m, out);
        due_ms = earlier(due_ms, m->due_ms);
    }
    p->missing_scan_ms = p->now_ms;
    p->missing_ms = UINT64_MAX;
    if (due_ms != UINT64_MAX)
        missing_later(p, due_ms);
}

/* Algorithm 2, Receive(Graft). */
static void on_graft(struct plumtree *p, struct neighbor *n,
                     const argus_Graft *graft, struct actions *out)
{
    if (graft->id.size != 0 && graft->id.size != CONTENT_ID_SIZE) {
        p->stats.frame_malformed++;
        refuse_neighbor(p, n, "a Graft for an id of the wrong size", out);
        return;
    }
    p->stats.graft_received++;
    set_eager(p, n, true);
    n->prune_due_ms = UINT64_MAX;
    if (graft->id.size == 0)
        return;

    const struct seen_message *m = seen_find(&p->seen, graft->id.bytes);
    if (m == NULL || m->payload == NULL) {
        p->stats.graft_unanswered++;
        return;
    }
    /* Twice what a peer of ours would send: its seconds are not ours. */
    if (!rate_take(&n->grafts_answered, p->now_ms,
                   2 * p->options.grafts_per_s)) {
        p->stats.graft_limited++;
        return;
    }
    announcements_drop(&p->pending, n->slot, m->id);
    send_gossip(p, n->link, m, m->payload, m->size, out);
}

/* ------------------------------------------------------- frames and time */

void plumtree_on_frame(struct plumtree *p, uint64_t now_ms, link_id link,
                       const argus_Frame *frame, struct actions *out)
{
    struct neighbor *n = plumtree_neighbor(p, link);

    plumtree_advance(p, now_ms);
    if (n == NULL) { /* sent before it heard that we parted, or a stranger */
        p->stats.frame_stranger++;
        return;
    }
    switch (frame->which_body) {
    case argus_Frame_gossip_tag:
        on_gossip(p, n, &frame->body.gossip, out);
        break;
    case argus_Frame_ihave_tag: on_ihave(p, n, &frame->body.ihave, out); break;
    case argus_Frame_graft_tag: on_graft(p, n, &frame->body.graft, out); break;
    case argus_Frame_prune_tag:
        p->stats.prune_received++;
        set_eager(p, n, false);
        n->prune_due_ms = UINT64_MAX;
        break;
    default: assert(false); /* the engine routes by type */
    }
}

void plumtree_on_timeout(struct plumtree *p, uint64_t now_ms,
                         struct actions *out)
{
    plumtree_advance(p, now_ms);
    if (now_ms >= p->announce_ms)
        announce_all(p, out);
    if (now_ms >= p->prune_ms)
        prune_redundant(p, out);
    plumtree_switch(p, out);
    if (now_ms >= p->missing_ms)
        ask_for_missing(p, out);
    if (now_ms >= p->expire_ms) {
        p->expire_ms = UINT64_MAX;
        expire_later(p, seen_expire(&p->seen, now_ms));
    }
}
