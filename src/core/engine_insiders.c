/* engine_insiders.c - insiders: nodes that have the mesh's key and misuse it.
 *
 * A node goes into quarantine for what came over its own links alone, where
 * its id is proven (links.h counts useless frames, here strikes are counted).
 * What came in its name by others is dropped when it is too much (origins.h),
 * and that is all: whoever repeats old statements of a node, or its new ones
 * many times, must not get it shut out.
 *
 * And what an honest node passes on is bounded, so that its neighbors have no
 * reason to take it for the source: here, and in overlay.h. */
#include <string.h>

#include "base/text.h"
#include "core/engine_impl.h"

/** Links closed for a broken rule, in LINKS_STRIKES_MS. */
#define STRIKES_MAX 3

/** A stamp so near to our clock is fresh. */
#define FRESH_MS 10000

/** What a statement that is no news costs, beside the frame, for its signature
 *  had to be checked: of others, as after a split that heals, and a node's own,
 *  which it has no reason to send; that one over its rate as well. */
#define STALE_COST 1
#define OWN_COST 32

/** Lines of the log: warnings and worse, and all others. */
#define LINES_RATE 20
#define LINES_BURST 1000

static const char flood_text[] = "it sends more useless frames than any node "
                                 "in order";
static const char struck_text[] = "its frames broke the rules of the protocol "
                                  "again and again";

void insiders_open(struct engine *e)
{
    quarantine_init(&e->insiders.quarantine, &e->options.id);
    origins_init(&e->insiders.origins, 0, e->options.event_rate);
}

void insiders_close(struct engine *e)
{
    quarantine_close(&e->insiders.quarantine);
    origins_close(&e->insiders.origins);
}

/* ----------------------------------------------------------- quarantine */

static void shut_out(struct engine *e, const struct peer_info *peer,
                     const char *reason)
{
    const char *name = peer->name;
    char id[NODE_ID_TEXT_SIZE];

    if (name[0] == '\0')
        name = directory_name(e->directory, &peer->id);
    const struct quarantined *q =
        quarantine_put(&e->insiders.quarantine, e->now_ms, e->wall_us,
                       &peer->id, name, reason);
    if (q == NULL)
        return;
    node_id_format(&q->id, id);
    actions_log(&e->out, LOG_LEVEL_WARNING,
                "node %s (%s) is in quarantine for %llu s: %s", q->name, id,
                (unsigned long long)(q->until_ms - q->since_ms) / 1000,
                q->reason);
    links_close_peer(e->links, &q->id, argus_RefuseCode_REFUSE_QUARANTINE,
                     q->reason, &e->out);
    membership_forget(e->membership, &q->id);
}

void insiders_on_flood(struct engine *e, const struct peer_info *peer)
{
    struct peer_info copy = *peer; /* the link may go */

    shut_out(e, &copy, flood_text);
}

/* From within some part, perhaps: what follows waits for the end of the step.
 */
void insiders_strike(struct engine *e, link_id link)
{
    struct insiders *g = &e->insiders;
    const struct peer_info *peer = links_peer(e->links, link);

    if (peer == NULL || links_strike(e->links, e->now_ms, link) < STRIKES_MAX)
        return;
    if (g->pending_count < INSIDERS_PENDING_MAX)
        g->pending[g->pending_count++] = *peer;
}

bool insiders_on_link_up(struct engine *e, link_id link, dial_id dial,
                         const struct peer_info *peer)
{
    const struct quarantined *q =
        quarantine_find(&e->insiders.quarantine, &peer->id);

    if (q == NULL)
        return true;
    e->stats.quarantine_link_refused++;
    actions_close(&e->out, link, argus_RefuseCode_REFUSE_QUARANTINE, q->reason);
    if (dial != 0)
        engine_on_dial_failed(e, dial, LINK_END_DENIED,
                              argus_RefuseCode_REFUSE_QUARANTINE);
    return false;
}

bool insiders_on_dial(struct engine *e, dial_id dial,
                      const struct node_id *expected)
{
    struct insiders *g = &e->insiders;

    if (expected == NULL || quarantine_find(&g->quarantine, expected) == NULL ||
        g->dials_count == INSIDERS_DIALS_MAX)
        return true;
    e->stats.quarantine_dial_refused++;
    g->dials[g->dials_count++] = dial;
    return false;
}

void insiders_on_timeout(struct engine *e)
{
    const struct quarantined *q;
    char id[NODE_ID_TEXT_SIZE];

    while ((q = quarantine_expire(&e->insiders.quarantine, e->now_ms)) !=
           NULL) {
        node_id_format(&q->id, id);
        actions_log(&e->out, LOG_LEVEL_NOTICE,
                    "node %s (%s) is in quarantine no more", q->name, id);
    }
}

/* A part that dials again at once is answered in the next step. */
void insiders_settle(struct engine *e)
{
    struct insiders *g = &e->insiders;
    dial_id dials[INSIDERS_DIALS_MAX];
    uint32_t count = g->dials_count;

    for (uint32_t i = 0; i < g->pending_count; i++)
        shut_out(e, &g->pending[i], struck_text);
    g->pending_count = 0;
    if (count == 0)
        return;
    memcpy(dials, g->dials, count * sizeof dials[0]);
    g->dials_count = 0;
    for (uint32_t i = 0; i < count; i++)
        engine_on_dial_failed(e, dials[i], LINK_END_DENIED,
                              argus_RefuseCode_REFUSE_QUARANTINE);
}

uint64_t insiders_deadline_ms(const struct engine *e)
{
    return e->insiders.dials_count > 0
               ? e->now_ms
               : quarantine_deadline_ms(&e->insiders.quarantine);
}

void insiders_status(const struct engine *e, argus_StatusReply *out)
{
    const size_t max = sizeof out->quarantined / sizeof out->quarantined[0];
    const struct quarantined *q;

    while (out->quarantined_count < max &&
           (q = quarantine_at(&e->insiders.quarantine,
                              out->quarantined_count)) != NULL) {
        argus_QuarantineReply *r = &out->quarantined[out->quarantined_count++];
        text_copy(r->name, sizeof r->name, q->name);
        text_copy(r->reason, sizeof r->reason, q->reason);
        memcpy(r->id, q->id.bytes, NODE_ID_SIZE);
        r->until_us = q->until_us;
    }
}

/* --------------------------------------------------------------- rates */

bool insiders_on_log(struct engine *e, enum log_level level)
{
    struct bucket *b = &e->insiders.lines[level > LOG_LEVEL_WARNING];

    if (bucket_take(b, e->now_ms, LINES_RATE, LINES_BURST, 1))
        return true;
    e->stats.log_held++;
    return false;
}

static bool is_fresh(const struct engine *e, uint64_t hlc)
{
    uint64_t ms = hlc >> 16, now_ms = e->wall_us / 1000;

    return ms + FRESH_MS >= now_ms && ms <= now_ms + FRESH_MS;
}

static enum origin_kind kind_of(const struct engine *e,
                                const argus_Statement *s,
                                const struct node_id *author)
{
    const struct member *m = directory_find(e->directory, author);
    enum origin_kind kind = ORIGIN_BUNDLE;
    uint64_t hlc = e->wall_us / 1000 << 16;

    if (m == NULL || m->packed == NULL)
        return ORIGIN_OTHERS;
    switch (s->which_body) {
    case argus_Statement_record_tag:
        kind = ORIGIN_RECORD;
        hlc = s->body.record.hlc;
        break;
    case argus_Statement_report_tag:
        kind = ORIGIN_REPORT;
        hlc = s->body.report.hlc;
        break;
    case argus_Statement_event_tag:
        kind = ORIGIN_EVENT;
        hlc = s->body.event.hlc;
        break;
    case argus_Statement_bundle_tag: break; /* without a stamp of its own */
    default: return ORIGIN_OTHERS;
    }
    return is_fresh(e, hlc) ? kind : ORIGIN_OTHERS;
}

static bool is_own(const struct engine *e, const struct guarded *g)
{
    const struct peer_info *peer = links_peer(e->links, g->from);

    return peer != NULL && node_id_is_equal(&peer->id, &g->author);
}

/* Nobody is to blame for what he passes on of others, unless it is old. */
static void on_limited(struct engine *e, const struct guarded *g)
{
    e->stats.statement_limited++;
    if (is_own(e, g))
        links_charge(e->links, e->now_ms, g->from, OWN_COST, &e->out);
    else if (g->kind != ORIGIN_OTHERS)
        links_refund(e->links, g->from, 1);
}

bool insiders_admit(struct engine *e, link_id from, const argus_Statement *s,
                    const struct node_id *author, struct guarded *out)
{
    *out = (struct guarded){.from = from, .author = *author};
    if (quarantine_find(&e->insiders.quarantine, author) != NULL) {
        e->stats.statement_quarantined++;
        out->is_settled = true;
        links_refund(e->links, from, 1);
        return false;
    }
    out->kind = kind_of(e, s, author);
    if (origins_may(&e->insiders.origins, e->now_ms, author, out->kind))
        return true;
    on_limited(e, out);
    out->is_settled = true;
    return false;
}

void insiders_judge(struct engine *e, const struct guarded *g,
                    enum plumtree_verdict verdict)
{
    if (verdict == PLUMTREE_BAD)
        return;
    links_know(e->links, g->from);
    if (g->is_settled)
        return;
    if (verdict != PLUMTREE_NEWS) {
        links_charge(e->links, e->now_ms, g->from,
                     is_own(e, g) ? OWN_COST : STALE_COST, &e->out);
        return;
    }
    origins_take(&e->insiders.origins, e->now_ms, &g->author, g->kind);
    if (g->kind != ORIGIN_OTHERS)
        links_refund(e->links, g->from, 1);
}
