#include "core/table.h"

#include "core/links.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/lines.h"
#include "base/prng.h"
#include "base/status.h"
#include "core/bucket.h"

#define SAMPLES 8

/** Stamps further apart than this are nonsense, whatever the clocks. About 30
 *  years; keeps the sums below from overflowing. */
#define STAMP_SPAN_US 1000000000000000ll

struct sample {
    int64_t rtt_us; /* -1: none */
    int64_t offset_us;
};

/* Of a peer without links it is kept until it would be as a new one. */
#define ACCOUNT_IDLE_MS                                                        \
    (LINKS_BUDGET_BURST / LINKS_BUDGET_RATE * 1000 + LINKS_STRIKES_MS)

/* A batch of fewer values than that is no better than any other frame. */
#define BATCH_USEFUL 16

/* Ids announced that are as much work as a frame. */
#define IHAVE_IDS 8

/* Answered at once, whoever asks; passed on. */
#define PING_COST 4
#define WALK_COST 4

/* Answered by up to SYNC_PAGE_BYTES of items. */
#define DIGEST_COST 8

/* What all links of a peer have in common. */
struct account {
    struct node_id id;
    uint32_t links, accepted; /* that are not closing: accepted alone */
    struct bucket budget;
    uint64_t known;  /* links->known, as last seen, and what it brought */
    uint32_t copies; /* of what is known that it may still bring for nothing */
    uint32_t strikes;
    uint64_t strike_ms; /* of the first of them */
    uint64_t idle_ms;   /* without links since */
    TAILQ_ENTRY(account) idle;
    UT_hash_handle hh;
};

/* What is asked of a link all the time: by each frame the first cache line, by
 * pings and pongs the second too. With thousands of nodes in one process, as in
 * the simulator, each line that a frame touches is one that the cache does not
 * have. */
struct pulse {
    uint64_t heard_ms;    /* when the last frame came, or a fresh wait began */
    uint64_t pinged_ms;   /* last ping; 0: none */
    uint64_t answered_ms; /* last ping of the peer's, or link up */
    uint64_t unanswered_ms; /* first ping since heard_ms; 0: none */
    struct account *account;
    struct link_entry *entry;
    uint32_t jitter_ms;   /* of the next ping */
    uint32_t ping_number; /* of the ping under way; 0: none */
    uint8_t kind;         /* argus_LinkKind */
    bool is_active, is_dialed, is_closing;
    _Alignas(LINE_SIZE) int64_t ping_sent_us;
    struct sample best; /* of the entry's */
};
_Static_assert(sizeof(struct pulse) == 2 * LINE_SIZE, "");

struct link_entry {
    link_id id;
    uint32_t at; /* its place among the pulses */
    uint32_t samples_next;
    dial_id dial;
    struct sample samples[SAMPLES];
    struct peer_info peer;
    UT_hash_handle hh;
};

/* So many links are found faster by looking at each than by a hash. */
#define FEW_LINKS 16

struct links {
    uint64_t deadline_ms;
    uint64_t now_ms; /* of the last input */
    /* By place, in one block of memory. */
    struct pulse *pulses;
    link_id *ids;
    uint64_t *due_ms; /* of the next ping or of silence, or earlier */
    uint32_t count, room;
    struct links_options options;
    struct prng prng;
    struct links_listener listener;
    struct link_entry *table; /* by id */
    struct account *accounts;
    TAILQ_HEAD(, account) idle; /* those without links, oldest first */
    uint32_t idle_count;
    uint64_t known; /* broadcasts */
    uint32_t ping_number;
    struct links_stats stats;
};

int links_new(const struct links_options *options,
              const struct links_listener *listener, struct links **out)
{
    if (options->ping_ms == 0 || options->suspect_ms == 0 ||
        options->links_max <= LINKS_RESERVED || options->peer_links_max == 0)
        return ARGUS_EINVAL;

    struct links *l = lines_alloc(sizeof *l);
    if (l == NULL)
        return ARGUS_ENOMEM;
    l->options = *options;
    l->listener = *listener;
    prng_seed(&l->prng, options->seed);
    l->deadline_ms = UINT64_MAX;
    TAILQ_INIT(&l->idle);
    *out = l;
    return ARGUS_OK;
}

static link_id id_of(const struct links *l, const struct pulse *p)
{
    return l->ids[p - l->pulses];
}

static struct pulse *find(const struct links *l, link_id link)
{
    struct link_entry *e;

    if (l->count <= FEW_LINKS) {
        for (uint32_t i = 0; i < l->count; i++)
            if (l->ids[i] == link)
                return &l->pulses[i];
        return NULL;
    }
    HASH_FIND(hh, l->table, &link, sizeof link, e);
    return e != NULL ? &l->pulses[e->at] : NULL;
}

/* ------------------------------------------------------------- accounts */

static struct account *account_find(const struct links *l,
                                    const struct node_id *id)
{
    struct account *a;
    HASH_FIND(hh, l->accounts, id, sizeof *id, a);
    return a;
}

static void account_drop(struct links *l, struct account *a)
{
    TAILQ_REMOVE(&l->idle, a, idle);
    l->idle_count--;
    HASH_DELETE(hh, l->accounts, a);
    free(a);
}

static void account_expire(struct links *l)
{
    struct account *a;

    while ((a = TAILQ_FIRST(&l->idle)) != NULL) {
        bool is_early = l->now_ms - a->idle_ms < ACCOUNT_IDLE_MS;
        if (is_early && l->idle_count <= LINKS_ACCOUNTS_MAX)
            return;
        l->stats.account_dropped += is_early;
        account_drop(l, a);
    }
}

/* @return the account for one more link; NULL: no memory. */
static struct account *account_open(struct links *l, const struct node_id *id)
{
    struct account *a = account_find(l, id);

    if (a == NULL) {
        a = calloc(1, sizeof *a);
        if (a == NULL)
            return NULL;
        a->id = *id;
        a->known = l->known;
        HASH_ADD(hh, l->accounts, id, sizeof a->id, a);
        if (!table_has_taken(&a->hh)) {
            free(a);
            return NULL;
        }
    } else if (a->links == 0) {
        TAILQ_REMOVE(&l->idle, a, idle);
        l->idle_count--;
    }
    a->links++;
    return a;
}

static void account_close(struct links *l, struct account *a)
{
    if (--a->links > 0)
        return;
    a->idle_ms = l->now_ms;
    TAILQ_INSERT_TAIL(&l->idle, a, idle);
    l->idle_count++;
    account_expire(l);
}

/* What a frame costs, and what its sender gets back for it at once. Bundles and
 * statements in items cost one signature each. A chunk was asked for, or costs
 * the link. Series cost until there are values of them. */
static uint32_t cost_of(const struct pulse *e, const argus_Frame *f,
                        uint32_t *back)
{
    bool is_metrics = e->kind == argus_LinkKind_LINK_METRICS;

    *back = 0;
    switch (f->which_body) {
    case argus_Frame_chunk_tag:
        return e->kind == argus_LinkKind_LINK_BUNDLE ? 0 : 1;
    case argus_Frame_batch_tag:
        if (!is_metrics || f->body.batch.series_count < BATCH_USEFUL)
            return 1;
        *back = f->body.batch.series_count;
        return 0;
    case argus_Frame_series_defs_tag:
        return 1 + f->body.series_defs.series_count;
    case argus_Frame_items_tag: return 1 + f->body.items.payloads_count;
    case argus_Frame_bundle_items_tag:
        return 1 + f->body.bundle_items.bundles_count;
    case argus_Frame_ihave_tag:
        return 1 + f->body.ihave.announced_count / IHAVE_IDS;
    case argus_Frame_event_items_tag:
        return 1 + f->body.event_items.payloads_count;
    case argus_Frame_summary_tag:
    case argus_Frame_sums_tag:
    case argus_Frame_digest_tag:
    case argus_Frame_event_digest_tag:
    case argus_Frame_event_keys_tag:
    case argus_Frame_event_want_tag: return DIGEST_COST;
    case argus_Frame_ping_tag: return PING_COST;
    case argus_Frame_shuffle_tag:
    case argus_Frame_forward_join_tag: return WALK_COST;
    default: return 1;
    }
}

static bool take_copy(const struct links *l, struct account *a)
{
    uint64_t copies = a->copies + (l->known - a->known);

    a->known = l->known;
    a->copies = copies < LINKS_COPIES_MAX ? (uint32_t)copies : LINKS_COPIES_MAX;
    if (a->copies == 0)
        return false;
    a->copies--;
    return true;
}

/* @return false: there is nothing left. */
static bool account_charge(struct links *l, struct account *a, uint32_t tokens)
{
    if (bucket_take(&a->budget, l->now_ms, LINKS_BUDGET_RATE,
                    LINKS_BUDGET_BURST, tokens))
        return true;
    l->stats.peer_flooded++;
    return false;
}

void links_refund(struct links *l, link_id link, uint32_t tokens)
{
    struct pulse *e = find(l, link);
    if (e != NULL)
        bucket_give(&e->account->budget, tokens);
}

void links_charge(struct links *l, uint64_t now_ms, link_id link,
                  uint32_t tokens, struct actions *out)
{
    struct pulse *e = find(l, link);

    l->now_ms = now_ms;
    if (e != NULL && !e->is_closing && !account_charge(l, e->account, tokens))
        l->listener.flooded(l->listener.context, link, &e->entry->peer, out);
}

void links_know(struct links *l, link_id by)
{
    struct pulse *e = by != 0 ? find(l, by) : NULL;

    l->known++;
    if (e != NULL)
        e->account->known++;
}

uint32_t links_strike(struct links *l, uint64_t now_ms, link_id link)
{
    struct pulse *e = find(l, link);

    if (e == NULL)
        return 0;
    struct account *a = e->account;
    if (a->strikes == 0 || now_ms - a->strike_ms >= LINKS_STRIKES_MS) {
        a->strikes = 0;
        a->strike_ms = now_ms;
    }
    l->stats.peer_struck++;
    return ++a->strikes;
}

void links_close_peer(struct links *l, const struct node_id *id,
                      argus_RefuseCode code, const char *text,
                      struct actions *out)
{
    struct account *a = account_find(l, id);

    for (uint32_t i = 0; i < l->count; i++)
        if (!l->pulses[i].is_closing &&
            node_id_is_equal(&l->pulses[i].entry->peer.id, id))
            actions_close(out, l->ids[i], code, text);
    if (a == NULL)
        return;
    a->budget = (struct bucket){.at_ms = l->now_ms};
    a->strikes = 0;
}

/* ---------------------------------------------------------------- links */

static void drop(struct links *l, struct pulse *p)
{
    struct link_entry *e = p->entry;
    uint32_t last = --l->count;

    if (!p->is_dialed && !p->is_closing)
        p->account->accepted--;
    account_close(l, p->account);
    HASH_DELETE(hh, l->table, e);
    *p = l->pulses[last];
    l->ids[e->at] = l->ids[last];
    l->due_ms[e->at] = l->due_ms[last];
    p->entry->at = e->at; /* e's own, if it was the last */
    free(e);
}

void links_free(struct links *l)
{
    if (l == NULL)
        return;
    while (l->count > 0)
        drop(l, &l->pulses[l->count - 1]);
    while (!TAILQ_EMPTY(&l->idle))
        account_drop(l, TAILQ_FIRST(&l->idle));
    free(l->pulses);
    free(l);
}

static bool has_room(const struct links *l, dial_id dial,
                     const struct node_id *id)
{
    const struct account *a = account_find(l, id);

    if (dial != 0)
        return l->count < l->options.links_max;
    return l->count < l->options.links_max - LINKS_RESERVED &&
           (a == NULL || a->accepted < l->options.peer_links_max);
}

static bool is_pinged(const struct pulse *p)
{
    return !p->is_closing && (p->kind == argus_LinkKind_LINK_MESH ||
                              p->kind == argus_LinkKind_LINK_METRICS);
}

/* The links of a node must not be pinged all at the same time: whoever stops is
 * found out by the one whose turn comes first. */
static void draw_jitter(struct links *l, struct pulse *p)
{
    p->jitter_ms = prng_below(&l->prng, l->options.jitter_ms + 1);
}

/* Whoever pinged a link last gives the other end the first turn. */
static uint32_t own_turn_ms(const struct links *l)
{
    return l->options.ping_ms + l->options.ping_ms / 4;
}

static uint64_t ping_due_ms(const struct links *l, const struct pulse *p)
{
    uint64_t from = p->is_active ? p->answered_ms : p->heard_ms;
    uint64_t own_ms = p->pinged_ms + own_turn_ms(l);
    uint64_t other_ms = from + l->options.ping_ms;

    return (own_ms > other_ms ? own_ms : other_ms) + p->jitter_ms;
}

/* Silence counts from the last frame, but a ping must have had its part of
 * the wait too: the peer may have had nothing to say before. */
static uint64_t silent_due_ms(const struct links *l, const struct pulse *e)
{
    uint32_t ping = own_turn_ms(l), suspect = l->options.suspect_ms;

    if (e->unanswered_ms == 0)
        return UINT64_MAX;
    uint64_t by_heard = e->heard_ms + suspect;
    uint64_t by_ping =
        e->unanswered_ms + (suspect > ping ? suspect - ping : suspect);
    return by_heard > by_ping ? by_heard : by_ping;
}

static void find_deadline(struct links *l)
{
    uint64_t best = UINT64_MAX;

    for (uint32_t i = 0; i < l->count; i++)
        best = l->due_ms[i] < best ? l->due_ms[i] : best;
    l->deadline_ms = best;
}

static void find_due(struct links *l, const struct pulse *p)
{
    uint64_t due_ms = UINT64_MAX;

    if (is_pinged(p)) {
        uint64_t ping = ping_due_ms(l, p), silent = silent_due_ms(l, p);
        due_ms = ping < silent ? ping : silent;
    }
    l->due_ms[p - l->pulses] = due_ms;
}

static bool reserve(struct links *l)
{
    if (l->count < l->room)
        return true;
    uint32_t room = l->room == 0 ? 8 : 2 * l->room;
    struct pulse *pulses = lines_alloc(
        room * (sizeof *pulses + sizeof *l->ids + sizeof *l->due_ms));
    if (pulses == NULL)
        return false;
    link_id *ids = (link_id *)(pulses + room);
    uint64_t *due_ms = ids + room;
    if (l->count > 0) {
        memcpy(pulses, l->pulses, l->count * sizeof *pulses);
        memcpy(ids, l->ids, l->count * sizeof *ids);
        memcpy(due_ms, l->due_ms, l->count * sizeof *due_ms);
    }
    free(l->pulses);
    l->pulses = pulses;
    l->ids = ids;
    l->due_ms = due_ms;
    l->room = room;
    return true;
}

/* @return NULL: no room. */
static struct pulse *add_link(struct links *l, link_id link, dial_id dial,
                              const struct peer_info *peer)
{
    struct link_entry *e = NULL;
    struct account *a = NULL;

    if (has_room(l, dial, &peer->id) && reserve(l))
        e = calloc(1, sizeof *e);
    if (e == NULL || (a = account_open(l, &peer->id)) == NULL) {
        free(e);
        return NULL;
    }
    e->id = link;
    HASH_ADD(hh, l->table, id, sizeof e->id, e);
    if (!table_has_taken(&e->hh)) {
        account_close(l, a);
        free(e);
        return NULL;
    }
    e->at = l->count++;
    e->dial = dial;
    e->peer = *peer;
    a->accepted += dial == 0;
    for (uint32_t i = 0; i < SAMPLES; i++)
        e->samples[i].rtt_us = -1;
    l->ids[e->at] = link;
    l->pulses[e->at] = (struct pulse){.entry = e,
                                      .account = a,
                                      .kind = (uint8_t)peer->kind,
                                      .is_dialed = dial != 0,
                                      .best = {.rtt_us = -1}};
    return &l->pulses[e->at];
}

bool links_on_link_up(struct links *l, uint64_t now_ms, link_id link,
                      dial_id dial, const struct peer_info *peer,
                      struct actions *out)
{
    l->now_ms = now_ms;
    struct pulse *e = add_link(l, link, dial, peer);
    if (e == NULL) {
        l->stats.link_refused++;
        actions_close(out, link, argus_RefuseCode_REFUSE_BUSY,
                      "too many links here");
        return false;
    }
    e->heard_ms = now_ms;
    e->answered_ms = now_ms;
    draw_jitter(l, e);
    find_due(l, e);
    find_deadline(l);
    if (dial == 0 && !account_charge(l, e->account, LINKS_UP_COST))
        l->listener.flooded(l->listener.context, link, peer, out);
    return true;
}

bool links_on_link_down(struct links *l, link_id link)
{
    return find(l, link) != NULL;
}

void links_forget(struct links *l, link_id link)
{
    struct pulse *e = find(l, link);
    if (e != NULL)
        drop(l, e);
}

bool links_on_close(struct links *l, link_id link)
{
    struct pulse *e = find(l, link);
    if (e == NULL || e->is_closing)
        return false;
    e->is_closing = true;
    e->account->accepted -= !e->is_dialed;
    find_due(l, e);
    return true;
}

void links_set_active(struct links *l, link_id link, bool is_active)
{
    struct pulse *e = find(l, link);

    if (e == NULL)
        return;
    e->is_active = is_active;
    find_due(l, e);
    find_deadline(l);
}

bool links_is_active(const struct links *l, link_id link)
{
    const struct pulse *e = find(l, link);
    return e != NULL && e->is_active;
}

/* @return false: nothing, on a link of another kind. */
static bool standing(const struct links *l, const struct pulse *p,
                     argus_Standing *out)
{
    if (p->kind != argus_LinkKind_LINK_MESH)
        return false;
    l->listener.standing(l->listener.context, id_of(l, p), out);
    out->active = p->is_active;
    return true;
}

static void answer(struct links *l, struct pulse *p, uint64_t now_ms,
                   uint64_t wall_us, const argus_Ping *ping,
                   struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_pong_tag;
    f.body.pong =
        (argus_Pong){.number = ping->number, .received_us = (int64_t)wall_us};
    f.body.pong.has_standing = standing(l, p, &f.body.pong.standing);
    p->answered_ms = now_ms;
    draw_jitter(l, p);
    /* Both pinged at once: who dialed goes first the next time. */
    if (p->ping_number != 0 && !p->is_dialed)
        p->answered_ms += l->options.ping_ms / 2;
    actions_send(out, id_of(l, p), &f);
}

static void hear(const struct links *l, const struct pulse *p,
                 const argus_Standing *said, struct actions *out)
{
    if (p->kind == argus_LinkKind_LINK_MESH)
        l->listener.told(l->listener.context, id_of(l, p), said, out);
}

static bool is_near(int64_t a, int64_t b)
{
    return a >= 0 && b >= 0 && (a > b ? a - b : b - a) < STAMP_SPAN_US;
}

/* A clock that steps between ping and pong would give a round trip that the
 * monotonic clock contradicts. */
static bool measure(const struct pulse *p, const argus_Pong *pong,
                    uint64_t now_ms, uint64_t wall_us, struct sample *out)
{
    int64_t t1 = p->ping_sent_us, t2 = pong->received_us;
    int64_t t4 = (int64_t)wall_us;

    if (p->ping_number == 0 || pong->number != p->ping_number)
        return false;
    if (!is_near(t1, t2) || !is_near(t2, t4))
        return false;
    int64_t t3 = t2 + pong->took_us;
    int64_t rtt = (t4 - t1) - (t3 - t2);
    int64_t elapsed_us = (int64_t)(now_ms - p->pinged_ms) * 1000;
    if (rtt < 0 || rtt > elapsed_us + 2000)
        return false;
    *out = (struct sample){.rtt_us = rtt,
                           .offset_us = ((t2 - t1) + (t3 - t4)) / 2};
    return true;
}

static void keep_sample(struct pulse *p, struct sample s)
{
    struct link_entry *e = p->entry;

    e->samples[e->samples_next] = s;
    e->samples_next = (e->samples_next + 1) % SAMPLES;
    p->best = s;
    for (uint32_t i = 0; i < SAMPLES; i++)
        if (e->samples[i].rtt_us >= 0 && e->samples[i].rtt_us < p->best.rtt_us)
            p->best = e->samples[i];
}

/* @return false: it answers no ping of ours. */
static bool on_pong(struct links *l, struct pulse *p, const argus_Pong *pong,
                    uint64_t now_ms, uint64_t wall_us)
{
    struct sample s;

    if (!measure(p, pong, now_ms, wall_us, &s)) {
        l->stats.pong_refused++;
        return false;
    }
    l->stats.pong_received++;
    p->ping_number = 0;
    keep_sample(p, s);
    if (l->listener.measured != NULL)
        l->listener.measured(l->listener.context, id_of(l, p), &p->entry->peer,
                             s.rtt_us, s.offset_us);
    return true;
}

bool links_on_frame(struct links *l, uint64_t now_ms, uint64_t wall_us,
                    link_id link, const argus_Frame *frame, struct actions *out)
{
    struct pulse *e = find(l, link);
    uint32_t back;

    l->now_ms = now_ms;
    if (e == NULL || e->is_closing) {
        l->stats.frame_unknown++;
        return false;
    }
    uint32_t cost = cost_of(e, frame, &back);
    if (back > 0)
        bucket_give(&e->account->budget, back);
    if (frame->which_body == argus_Frame_gossip_tag && take_copy(l, e->account))
        cost = 0;
    if (cost > 0 && !account_charge(l, e->account, cost)) {
        l->listener.flooded(l->listener.context, link, &e->entry->peer, out);
        return false;
    }
    e->heard_ms = now_ms;
    e->unanswered_ms = 0;
    if (frame->which_body == argus_Frame_ping_tag) {
        const argus_Ping *ping = &frame->body.ping;
        answer(l, e, now_ms, wall_us, ping, out);
        find_due(l, e);
        find_deadline(l);
        hear(l, e, &ping->standing, out);
    } else if (frame->which_body == argus_Frame_pong_tag) {
        const argus_Pong *pong = &frame->body.pong;
        if (on_pong(l, e, pong, now_ms, wall_us)) {
            find_due(l, e);
            find_deadline(l);
            hear(l, e, &pong->standing, out);
        }
    }
    return true;
}

static void send_ping(struct links *l, struct pulse *p, uint64_t now_ms,
                      uint64_t wall_us, struct actions *out)
{
    argus_Frame f;

    if (++l->ping_number == 0)
        l->ping_number = 1;
    p->ping_number = l->ping_number;
    p->ping_sent_us = (int64_t)wall_us;
    p->pinged_ms = now_ms;
    draw_jitter(l, p);
    if (p->unanswered_ms == 0)
        p->unanswered_ms = now_ms;
    f.hlc = 0;
    f.which_body = argus_Frame_ping_tag;
    f.body.ping = (argus_Ping){.number = p->ping_number};
    f.body.ping.has_standing = standing(l, p, &f.body.ping.standing);
    l->stats.ping_sent++;
    actions_send(out, id_of(l, p), &f);
}

void links_ping(struct links *l, uint64_t now_ms, uint64_t wall_us,
                link_id link, struct actions *out)
{
    struct pulse *e = find(l, link);

    if (e == NULL || !is_pinged(e))
        return;
    l->now_ms = now_ms;
    send_ping(l, e, now_ms, wall_us, out);
    find_due(l, e);
    find_deadline(l);
}

static void end_silent(struct links *l, struct pulse *e, struct actions *out)
{
    struct peer_info peer = e->entry->peer;
    link_id link = id_of(l, e);

    l->stats.link_silent++;
    actions_close(out, link, argus_RefuseCode_REFUSE_SILENT,
                  "no answer to pings");
    links_forget(l, link);
    l->listener.silent(l->listener.context, link, &peer, out);
}

/* How late a timer may be before we suspect ourselves. */
static bool is_late(const struct links *l, uint64_t now_ms)
{
    uint32_t slack = l->options.ping_ms / 2;
    return now_ms > l->deadline_ms && now_ms - l->deadline_ms > slack;
}

/* The first silent link, or NULL. One at a time: what the listener does about
 * one may close others. */
static struct pulse *next_silent(const struct links *l, uint64_t now_ms)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (is_pinged(&l->pulses[i]) &&
            silent_due_ms(l, &l->pulses[i]) <= now_ms)
            return &l->pulses[i];
    return NULL;
}

void links_on_timeout(struct links *l, uint64_t now_ms, uint64_t wall_us,
                      struct actions *out)
{
    l->now_ms = now_ms;
    if (now_ms < l->deadline_ms)
        return;

    bool late = is_late(l, now_ms);
    l->stats.timer_missed += late;
    for (uint32_t i = 0; late && i < l->count; i++) {
        l->pulses[i].heard_ms = now_ms;
        l->pulses[i].unanswered_ms = 0;
    }

    struct pulse *silent;
    while ((silent = next_silent(l, now_ms)) != NULL)
        end_silent(l, silent, out);

    for (uint32_t i = 0; i < l->count; i++) {
        struct pulse *e = &l->pulses[i];
        if (is_pinged(e) && (late || ping_due_ms(l, e) <= now_ms))
            send_ping(l, e, now_ms, wall_us, out);
        find_due(l, e);
    }
    find_deadline(l);
}

uint64_t links_deadline_ms(const struct links *l)
{
    return l->deadline_ms;
}

bool links_is_open(const struct links *l, link_id link)
{
    const struct pulse *e = find(l, link);
    return e != NULL && !e->is_closing;
}

const struct peer_info *links_peer(const struct links *l, link_id link)
{
    const struct pulse *e = find(l, link);
    return e != NULL ? &e->entry->peer : NULL;
}

dial_id links_dial(const struct links *l, link_id link)
{
    const struct pulse *e = find(l, link);
    return e != NULL ? e->entry->dial : 0;
}

bool links_clock(const struct links *l, link_id link, int64_t *rtt_us,
                 int64_t *offset_us)
{
    const struct pulse *e = find(l, link);

    if (e == NULL || e->best.rtt_us < 0)
        return false;
    *rtt_us = e->best.rtt_us;
    *offset_us = e->best.offset_us;
    return true;
}

void links_prefetch(const struct links *l, unsigned stage, link_id link)
{
    if (stage == 0) {
        __builtin_prefetch(l->ids);
        __builtin_prefetch(l->due_ms);
        return;
    }
    for (uint32_t i = 0; i < l->count && i < FEW_LINKS; i++) {
        if (l->ids[i] != link)
            continue;
        if (stage == 1) {
            __builtin_prefetch(&l->pulses[i]);
            __builtin_prefetch(&l->pulses[i].ping_sent_us);
        } else {
            __builtin_prefetch(l->pulses[i].account);
            __builtin_prefetch(&l->pulses[i].account->budget);
        }
    }
}

uint32_t links_count(const struct links *l)
{
    return l->count;
}

const struct links_stats *links_stats(const struct links *l)
{
    return &l->stats;
}
