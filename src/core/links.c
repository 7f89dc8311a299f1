#include "core/links.h"

#include <stdlib.h>
#include <string.h>

/* A refused allocation is an answer here, not the end of the process. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/status.h"

#define SAMPLES 8

/** Stamps further apart than this are nonsense, whatever the clocks. About 30
 *  years; keeps the sums below from overflowing. */
#define STAMP_SPAN_US 1000000000000000ll

struct sample {
    int64_t rtt_us; /* -1: none */
    int64_t offset_us;
};

struct link_entry {
    link_id id;
    dial_id dial;
    struct peer_info peer;
    bool is_closing;
    uint64_t heard_ms;  /* when the last frame came, or a fresh wait began */
    uint64_t pinged_ms; /* last ping, or link up */
    uint64_t unanswered_ms; /* first ping since heard_ms; 0: none */
    uint32_t ping_number;   /* of the ping under way; 0: none */
    int64_t ping_sent_us;
    struct sample samples[SAMPLES];
    uint32_t samples_next;
    UT_hash_handle hh;
};

struct links {
    struct links_options options;
    struct links_listener listener;
    struct link_entry *table; /* walked in insertion order */
    uint32_t count;
    uint32_t ping_number;
    uint64_t deadline_ms;
    struct links_stats stats;
};

int links_new(const struct links_options *options,
              const struct links_listener *listener, struct links **out)
{
    if (options->ping_ms == 0 || options->suspect_ms == 0 ||
        options->links_max <= LINKS_RESERVED || options->peer_links_max == 0)
        return ARGUS_EINVAL;

    struct links *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ARGUS_ENOMEM;
    l->options = *options;
    l->listener = *listener;
    l->deadline_ms = UINT64_MAX;
    *out = l;
    return ARGUS_OK;
}

static struct link_entry *find(const struct links *l, link_id link)
{
    struct link_entry *e;
    HASH_FIND(hh, l->table, &link, sizeof link, e);
    return e;
}

static void drop(struct links *l, struct link_entry *e)
{
    HASH_DELETE(hh, l->table, e);
    l->count--;
    free(e);
}

void links_free(struct links *l)
{
    struct link_entry *e, *next;

    if (l == NULL)
        return;
    HASH_ITER(hh, l->table, e, next)
    drop(l, e);
    free(l);
}

static uint32_t accepted_from(const struct links *l, const struct node_id *id)
{
    uint32_t n = 0;
    for (const struct link_entry *e = l->table; e != NULL; e = e->hh.next)
        n +=
            e->dial == 0 && !e->is_closing && node_id_is_equal(&e->peer.id, id);
    return n;
}

static bool has_room(const struct links *l, dial_id dial,
                     const struct node_id *id)
{
    if (dial != 0)
        return l->count < l->options.links_max;
    return l->count < l->options.links_max - LINKS_RESERVED &&
           accepted_from(l, id) < l->options.peer_links_max;
}

static bool is_pinged(const struct link_entry *e)
{
    return !e->is_closing && (e->peer.kind == argus_LinkKind_LINK_MESH ||
                              e->peer.kind == argus_LinkKind_LINK_METRICS);
}

static bool is_active(const struct links *l, const struct link_entry *e)
{
    return e->peer.kind == argus_LinkKind_LINK_MESH &&
           l->listener.is_active(l->listener.context, e->id);
}

static uint64_t ping_due_ms(const struct links *l, const struct link_entry *e)
{
    uint64_t from = e->pinged_ms;
    if (e->heard_ms > from && !is_active(l, e))
        from = e->heard_ms;
    return from + l->options.ping_ms;
}

/* Silence counts from the last frame, but a ping must have had its part of
 * the wait too: the peer may have had nothing to say before. */
static uint64_t silent_due_ms(const struct links *l, const struct link_entry *e)
{
    uint32_t ping = l->options.ping_ms, suspect = l->options.suspect_ms;

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

    for (const struct link_entry *e = l->table; e != NULL; e = e->hh.next) {
        if (!is_pinged(e))
            continue;
        uint64_t ping = ping_due_ms(l, e), silent = silent_due_ms(l, e);
        best = ping < best ? ping : best;
        best = silent < best ? silent : best;
    }
    l->deadline_ms = best;
}

bool links_on_link_up(struct links *l, uint64_t now_ms, link_id link,
                      dial_id dial, const struct peer_info *peer,
                      struct actions *out)
{
    struct link_entry *e = NULL;

    if (has_room(l, dial, &peer->id))
        e = calloc(1, sizeof *e);
    if (e != NULL) {
        e->id = link;
        HASH_ADD(hh, l->table, id, sizeof e->id, e);
        if (e->hh.tbl == NULL) {
            free(e);
            e = NULL;
        }
    }
    if (e == NULL) {
        l->stats.link_refused++;
        actions_close(out, link, argus_RefuseCode_REFUSE_BUSY,
                      "too many links here");
        return false;
    }
    l->count++;
    e->dial = dial;
    e->peer = *peer;
    e->heard_ms = now_ms;
    e->pinged_ms = now_ms;
    for (uint32_t i = 0; i < SAMPLES; i++)
        e->samples[i].rtt_us = -1;
    if (is_pinged(e) && ping_due_ms(l, e) < l->deadline_ms)
        l->deadline_ms = ping_due_ms(l, e);
    return true;
}

bool links_on_link_down(struct links *l, link_id link)
{
    return find(l, link) != NULL;
}

void links_forget(struct links *l, link_id link)
{
    struct link_entry *e = find(l, link);
    if (e != NULL)
        drop(l, e);
}

bool links_on_close(struct links *l, link_id link)
{
    struct link_entry *e = find(l, link);
    if (e == NULL || e->is_closing)
        return false;
    e->is_closing = true;
    return true;
}

static void answer(uint64_t wall_us, link_id link, const argus_Ping *ping,
                   struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_pong_tag;
    f.body.pong = (argus_Pong){.number = ping->number,
                               .sent_us = ping->sent_us,
                               .received_us = (int64_t)wall_us,
                               .replied_us = (int64_t)wall_us};
    actions_send(out, link, &f);
}

static bool is_near(int64_t a, int64_t b)
{
    return a >= 0 && b >= 0 && (a > b ? a - b : b - a) < STAMP_SPAN_US;
}

/* A clock that steps between ping and pong would give a round trip that the
 * monotonic clock contradicts. */
static bool measure(const struct link_entry *e, const argus_Pong *pong,
                    uint64_t now_ms, uint64_t wall_us, struct sample *out)
{
    int64_t t1 = pong->sent_us, t2 = pong->received_us;
    int64_t t3 = pong->replied_us, t4 = (int64_t)wall_us;

    if (e->ping_number == 0 || pong->number != e->ping_number ||
        t1 != e->ping_sent_us)
        return false;
    if (!is_near(t1, t2) || !is_near(t2, t3) || !is_near(t3, t4) || t3 < t2)
        return false;
    int64_t rtt = (t4 - t1) - (t3 - t2);
    int64_t elapsed_us = (int64_t)(now_ms - e->pinged_ms) * 1000;
    if (rtt < 0 || rtt > elapsed_us + 2000)
        return false;
    *out = (struct sample){.rtt_us = rtt,
                           .offset_us = ((t2 - t1) + (t3 - t4)) / 2};
    return true;
}

static void on_pong(struct links *l, struct link_entry *e,
                    const argus_Pong *pong, uint64_t now_ms, uint64_t wall_us)
{
    struct sample s;

    if (!measure(e, pong, now_ms, wall_us, &s)) {
        l->stats.pong_refused++;
        return;
    }
    l->stats.pong_received++;
    e->ping_number = 0;
    e->samples[e->samples_next] = s;
    e->samples_next = (e->samples_next + 1) % SAMPLES;
}

bool links_on_frame(struct links *l, uint64_t now_ms, uint64_t wall_us,
                    link_id link, const argus_Frame *frame, struct actions *out)
{
    struct link_entry *e = find(l, link);

    if (e == NULL || e->is_closing) {
        l->stats.frame_unknown++;
        return false;
    }
    e->heard_ms = now_ms;
    e->unanswered_ms = 0;
    if (frame->which_body == argus_Frame_ping_tag) {
        answer(wall_us, link, &frame->body.ping, out);
        if (e->peer.kind == argus_LinkKind_LINK_MESH)
            l->listener.audited(l->listener.context, link,
                                frame->body.ping.active, out);
    } else if (frame->which_body == argus_Frame_pong_tag) {
        on_pong(l, e, &frame->body.pong, now_ms, wall_us);
    }
    return true;
}

static void send_ping(struct links *l, struct link_entry *e, uint64_t now_ms,
                      uint64_t wall_us, struct actions *out)
{
    argus_Frame f;

    if (++l->ping_number == 0)
        l->ping_number = 1;
    e->ping_number = l->ping_number;
    e->ping_sent_us = (int64_t)wall_us;
    e->pinged_ms = now_ms;
    if (e->unanswered_ms == 0)
        e->unanswered_ms = now_ms;
    f.hlc = 0;
    f.which_body = argus_Frame_ping_tag;
    f.body.ping = (argus_Ping){.number = e->ping_number,
                               .sent_us = e->ping_sent_us,
                               .active = is_active(l, e)};
    l->stats.ping_sent++;
    actions_send(out, e->id, &f);
}

static void end_silent(struct links *l, struct link_entry *e,
                       struct actions *out)
{
    struct peer_info peer = e->peer;
    link_id link = e->id;

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
static struct link_entry *next_silent(const struct links *l, uint64_t now_ms)
{
    for (struct link_entry *e = l->table; e != NULL; e = e->hh.next)
        if (is_pinged(e) && silent_due_ms(l, e) <= now_ms)
            return e;
    return NULL;
}

void links_on_timeout(struct links *l, uint64_t now_ms, uint64_t wall_us,
                      struct actions *out)
{
    if (now_ms < l->deadline_ms)
        return;

    bool late = is_late(l, now_ms);
    l->stats.timer_missed += late;
    for (struct link_entry *e = l->table; late && e != NULL; e = e->hh.next) {
        e->heard_ms = now_ms;
        e->unanswered_ms = 0;
    }

    struct link_entry *silent;
    while ((silent = next_silent(l, now_ms)) != NULL)
        end_silent(l, silent, out);

    /* Pings that are nearly due go now too, so that many links do not wake
     * the loop one by one. */
    uint64_t until_ms = now_ms + l->options.ping_ms / 16;
    for (struct link_entry *e = l->table; e != NULL; e = e->hh.next)
        if (is_pinged(e) && (late || ping_due_ms(l, e) <= until_ms))
            send_ping(l, e, now_ms, wall_us, out);
    find_deadline(l);
}

uint64_t links_deadline_ms(const struct links *l)
{
    return l->deadline_ms;
}

bool links_is_open(const struct links *l, link_id link)
{
    const struct link_entry *e = find(l, link);
    return e != NULL && !e->is_closing;
}

const struct peer_info *links_peer(const struct links *l, link_id link)
{
    const struct link_entry *e = find(l, link);
    return e != NULL ? &e->peer : NULL;
}

dial_id links_dial(const struct links *l, link_id link)
{
    const struct link_entry *e = find(l, link);
    return e != NULL ? e->dial : 0;
}

bool links_clock(const struct links *l, link_id link, int64_t *rtt_us,
                 int64_t *offset_us)
{
    const struct link_entry *e = find(l, link);
    const struct sample *best = NULL;

    if (e == NULL)
        return false;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        const struct sample *s = &e->samples[i];
        if (s->rtt_us >= 0 && (best == NULL || s->rtt_us < best->rtt_us))
            best = s;
    }
    if (best == NULL)
        return false;
    *rtt_us = best->rtt_us;
    *offset_us = best->offset_us;
    return true;
}

uint32_t links_count(const struct links *l)
{
    return l->count;
}

const struct links_stats *links_stats(const struct links *l)
{
    return &l->stats;
}
