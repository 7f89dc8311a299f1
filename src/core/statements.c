#include "core/statements.h"

#include <stdlib.h>

#include "base/text.h"
#include "core/directory_state.h"

/* Enough voices: a third witness of the same adds nothing but traffic. Two that
 * agree halve the wait (Lifeguard, "dynamic suspicion timeout"): one may be at
 * fault himself, two are not by chance. */
#define WITNESSES_ENOUGH 2

#define FRESH_MS 5000

static void store(struct actions *out, enum store_what what,
                  const struct node_id *key, const uint8_t *data, size_t size)
{
    if (out == NULL)
        return;
    struct action a = {
        .type = ACTION_STORE,
        .store = {.what = what, .key = *key, .data = data, .size = size}};
    out->emit(out->context, &a);
}

/* What is broadcast again after a split may be old: only a fresh stamp shows
 * that its author was alive just now. */
static bool is_fresh(const struct directory *d, uint64_t hlc)
{
    return (hlc >> 16) + FRESH_MS >= d->wall_us / 1000;
}

void statements_heard(struct directory *d, struct member *m)
{
    if (!m->is_self)
        failure_on_sign_of_life(d);
    m->heard_ms = d->now_ms;
    m->heard_us = d->wall_us;
}

/* ------------------------------------------------------ aggregators */

static void aggregators_remove(struct directory *d, uint32_t at)
{
    d->aggregators_count--;
    memmove(&d->aggregators[at], &d->aggregators[at + 1],
            (d->aggregators_count - at) * sizeof(struct member *));
}

static bool aggregators_add(struct directory *d, struct member *m)
{
    if (d->aggregators_count == d->aggregators_room) {
        uint32_t room = d->aggregators_room == 0 ? 8 : 2 * d->aggregators_room;
        struct member **list =
            realloc(d->aggregators, room * sizeof(struct member *));
        if (list == NULL)
            return false;
        d->aggregators = list;
        d->aggregators_room = room;
    }
    uint32_t at = d->aggregators_count++;
    for (; at > 0 && d->aggregators[at - 1]->index > m->index; at--)
        d->aggregators[at] = d->aggregators[at - 1];
    d->aggregators[at] = m;
    return true;
}

/* A member's role or state may have changed: is it in the list rightly? */
static void aggregators_update(struct directory *d, struct member *m)
{
    bool belongs = m->role == argus_Role_ROLE_AGGREGATOR &&
                   (m->state == argus_MemberState_MEMBER_ONLINE ||
                    m->state == argus_MemberState_MEMBER_SUSPECT);
    uint32_t at = 0;

    while (at < d->aggregators_count && d->aggregators[at] != m)
        at++;
    bool is_there = at < d->aggregators_count;
    if (belongs || is_there)
        d->aggregators_stamp++;
    if (is_there && !belongs)
        aggregators_remove(d, at);
    if (belongs && !is_there && !aggregators_add(d, m))
        d->stats.memory_refused++;
}

/* ------------------------------------------------------------ state */

static argus_MemberState judge(const struct member *m)
{
    const struct member_report *r = m->report;

    if (m->has_left)
        return argus_MemberState_MEMBER_LEFT;
    if (m->is_unheard)
        return argus_MemberState_MEMBER_OFFLINE;
    if (r == NULL)
        return argus_MemberState_MEMBER_ONLINE;
    /* We see it alive; only its own word that it stops weighs more. */
    if (m->is_neighbor && !node_id_is_equal(&r->author, &m->id))
        return argus_MemberState_MEMBER_SUSPECT;
    if (r->state == argus_MemberState_MEMBER_SUSPECT && !r->is_expired)
        return argus_MemberState_MEMBER_SUSPECT;
    return argus_MemberState_MEMBER_OFFLINE;
}

static struct member *older_of(struct member *a, struct member *b)
{
    bool a_is_gone = member_is_gone(a);

    if (a_is_gone != member_is_gone(b))
        return a_is_gone ? a : b;
    return a->started_ms < b->started_ms ? a : b;
}

/* A reimaged host comes back with its name and address but a new id. The sweep
 * looks at the old one: forgotten if it is offline, else dialed first, since a
 * claim alone must not erase anybody. */
static void supersede(struct directory *d, struct member *m)
{
    for (struct member *o = members_at(&d->members, m->address); o != NULL;
         o = o->same_address) {
        if (o == m || strcmp(o->name, m->name) != 0 ||
            (member_is_gone(m) && member_is_gone(o)))
            continue;
        struct member *old = older_of(m, o);
        if (old->is_self)
            continue;
        if (!old->is_superseded || member_is_gone(old))
            d->sweep_due_ms = d->now_ms;
        old->is_superseded = true;
    }
}

/* Of old deaths, learned after a split or by a newcomer, nothing follows. */
static bool is_death(const struct directory *d, const struct member *m,
                     argus_MemberState old_state)
{
    return old_state == argus_MemberState_MEMBER_ONLINE && !m->is_self &&
           m->report != NULL && is_fresh(d, m->report->hlc) &&
           (m->state == argus_MemberState_MEMBER_SUSPECT ||
            m->state == argus_MemberState_MEMBER_OFFLINE) &&
           !node_id_is_equal(&m->report->author, &m->id);
}

bool statements_refresh(struct directory *d, struct member *m,
                        uint64_t since_us)
{
    argus_MemberState old_state = (argus_MemberState)m->state;
    argus_MemberState state = judge(m);

    if (state == old_state)
        return false;
    if (old_state == argus_MemberState_MEMBER_ONLINE ||
        old_state == argus_MemberState_MEMBER_UNKNOWN)
        m->gone_us = since_us;
    members_set_state(&d->members, m, state);
    m->since_us = since_us;
    aggregators_update(d, m);
    supersede(d, m);
    if (member_is_gone(m) && forgotten_has(d, m))
        d->sweep_due_ms = d->now_ms;
    if (is_death(d, m, old_state))
        failure_note_death(d);
    d->listener.member_changed(d->listener.context, m, old_state);
    return true;
}

/* ---------------------------------------------------------- reports */

static struct suspicion_queue *suspicion_queue_of(struct directory *d,
                                                  const struct member_report *r)
{
    return r->is_confirmed ? &d->confirmed : &d->suspicions;
}

static void suspicion_end(struct directory *d, struct member_report *r)
{
    if (!r->is_waiting)
        return;
    TAILQ_REMOVE(suspicion_queue_of(d, r), r, suspicion);
    r->is_waiting = false;
}

uint32_t statements_patience_ms(const struct directory *d)
{
    return d->suspect_ms / 10 * 7;
}

uint32_t statements_patience_confirmed_ms(const struct directory *d)
{
    return statements_patience_ms(d) / 2;
}

/* All in a queue wait equally long, so it is ordered by deadline. */
static void suspicion_begin(struct directory *d, struct member_report *r)
{
    r->is_confirmed = r->witnesses_count >= WITNESSES_ENOUGH;
    r->deadline_ms =
        d->now_ms + (r->is_confirmed ? statements_patience_confirmed_ms(d)
                                     : statements_patience_ms(d));
    r->is_waiting = true;
    TAILQ_INSERT_TAIL(suspicion_queue_of(d, r), r, suspicion);
}

/* A further witness never makes the wait longer. */
static void suspicion_confirm(struct directory *d, struct member_report *r)
{
    if (!r->is_waiting || r->is_confirmed ||
        r->witnesses_count < WITNESSES_ENOUGH ||
        r->deadline_ms <= d->now_ms + statements_patience_confirmed_ms(d))
        return;
    suspicion_end(d, r);
    suspicion_begin(d, r);
}

static void report_drop(struct directory *d, struct member *m,
                        struct actions *out)
{
    if (m->report == NULL)
        return;
    suspicion_end(d, m->report);
    free(m->report);
    m->report = NULL;
    store(out, STORE_REPORT, &m->id, NULL, 0);
}

void statements_withdraw(struct directory *d, struct member *m,
                         struct actions *out)
{
    const struct member_report *r = m->report;

    if (r != NULL && !r->is_proven && node_id_is_equal(&r->author, &d->id))
        report_drop(d, m, out);
}

static bool is_witness(const struct member_report *r,
                       const struct node_id *author)
{
    for (uint32_t i = 0; i < r->witnesses_count; i++)
        if (node_id_is_equal(&r->witnesses[i], author))
            return true;
    return false;
}

static bool add_witness(struct member_report *r, const struct node_id *author)
{
    if (r->witnesses_count == WITNESSES_MAX || is_witness(r, author))
        return false;
    r->witnesses[r->witnesses_count++] = *author;
    return true;
}

/* The order among reports on one version; see struct member_report. */
static bool is_stronger(const argus_Report *a, const struct node_id *author,
                        const struct member_report *b)
{
    if (a->state != b->state)
        return a->state == argus_MemberState_MEMBER_OFFLINE;
    if (a->proven != b->is_proven)
        return a->proven;
    if (a->hlc != b->hlc)
        return a->hlc < b->hlc;
    return node_id_compare(author, &b->author) < 0;
}

static bool keep_report(struct directory *d, struct member *m,
                        const argus_Report *report,
                        const struct node_id *author, const uint8_t *payload,
                        size_t size, struct actions *out)
{
    struct member_report *old = m->report;
    bool is_same = old != NULL && old->generation == report->generation &&
                   old->version == report->version &&
                   old->state == report->state;
    bool was_expired = is_same && old->is_expired;
    bool was_waiting = is_same && old->is_waiting;
    uint64_t deadline_ms = is_same ? old->deadline_ms : 0;
    bool was_confirmed = is_same && old->is_confirmed;
    struct member_report *before =
        was_waiting ? TAILQ_NEXT(old, suspicion) : NULL;

    if (old != NULL)
        suspicion_end(d, old);
    struct member_report *r =
        members_set_report(m, report, author, payload, size);
    if (r == NULL) {
        if (was_waiting)
            suspicion_begin(d, old);
        return false;
    }
    r->is_expired = was_expired;
    (void)add_witness(r, author);
    if (was_waiting) { /* in its old place: the time does not begin anew */
        r->deadline_ms = deadline_ms;
        r->is_waiting = true;
        r->is_confirmed = was_confirmed;
        if (before != NULL)
            TAILQ_INSERT_BEFORE(before, r, suspicion);
        else
            TAILQ_INSERT_TAIL(suspicion_queue_of(d, r), r, suspicion);
        suspicion_confirm(d, r);
    } else if (r->state == argus_MemberState_MEMBER_SUSPECT && !was_expired) {
        suspicion_begin(d, r);
    }
    store(out, STORE_REPORT, &m->id, payload, size);
    return true;
}

static bool report_is_absurd(const struct member *m, const argus_Report *r,
                             const struct node_id *author)
{
    if (r->state != argus_MemberState_MEMBER_SUSPECT &&
        r->state != argus_MemberState_MEMBER_OFFLINE)
        return true;
    if (r->state == argus_MemberState_MEMBER_SUSPECT &&
        node_id_is_equal(author, &m->id))
        return true;
    return (r->generation > m->generation &&
            r->generation - m->generation > VERSION_LEAP_MAX) ||
           (r->generation == m->generation && r->version > m->version &&
            r->version - m->version > VERSION_LEAP_MAX);
}

/* Void, or no more than what is known. A further witness is kept here. */
static bool report_is_stale(struct directory *d, struct member *m,
                            const argus_Report *report,
                            const struct node_id *author, bool *is_further)
{
    struct member_report *r = m->report;

    *is_further = false;
    if (m->has_left || version_compare(report->generation, report->version,
                                       m->generation, m->version) < 0)
        return true;
    if (r == NULL)
        return false;

    int order = version_compare(report->generation, report->version,
                                r->generation, r->version);
    if (order != 0)
        return order < 0;
    if (is_stronger(report, author, r))
        return false;
    *is_further = report->state == r->state && add_witness(r, author);
    suspicion_confirm(d, r);
    return true;
}

static enum directory_verdict
apply_report(struct directory *d, enum statement_source source,
             const argus_Report *report, const struct node_id *author,
             const uint8_t *payload, size_t size, struct actions *out)
{
    struct node_id subject = node_id_of(report->subject);
    bool is_further;

    if (node_id_is_equal(&subject, &d->id) && source != FROM_SELF)
        return source == FROM_DISK ? DIRECTORY_STALE
                                   : own_on_report(d, report, out);
    struct member *witness = members_find(&d->members, author);
    if (witness != NULL && source == FROM_BROADCAST && is_fresh(d, report->hlc))
        statements_heard(d, witness);

    struct member *m = members_find(&d->members, &subject);
    if (m == NULL) {
        d->stats.reports_stranger++;
        return DIRECTORY_STALE;
    }
    if (report_is_absurd(m, report, author)) {
        d->stats.reports_bad++;
        return DIRECTORY_BAD;
    }
    if (report_is_stale(d, m, report, author, &is_further)) {
        d->stats.reports_stale += !is_further;
        d->stats.reports_news += is_further;
        return is_further ? DIRECTORY_NEWS : DIRECTORY_STALE;
    }
    if (!keep_report(d, m, report, author, payload, size, out)) {
        d->stats.memory_refused++;
        return DIRECTORY_STALE;
    }
    d->stats.reports_news++;
    if (source != FROM_DISK)
        m->is_unheard = false;
    if (!statements_refresh(d, m, directory_hlc_us(d, report->hlc)) &&
        m->is_unheard)
        m->since_us = m->gone_us = directory_hlc_us(d, report->hlc);
    return DIRECTORY_NEWS;
}

static void accuse(struct directory *d, struct member *m,
                   argus_MemberState state, const char *reason, bool is_proven,
                   struct actions *out)
{
    const struct member_report *r = m->report;
    bool is_better = is_proven && r != NULL && !r->is_proven;

    if (d->own.is_silent || m->is_self || m->is_neighbor || m->has_left ||
        m->is_unheard)
        return;
    if (r != NULL && r->state >= state && !is_better &&
        (r->witnesses_count >= WITNESSES_ENOUGH || is_witness(r, &d->id)))
        return;

    argus_Statement statement = {.which_body = argus_Statement_report_tag};
    argus_Report *report = &statement.body.report;
    memcpy(report->subject, m->id.bytes, NODE_ID_SIZE);
    report->generation = r != NULL ? r->generation : m->generation;
    report->version = r != NULL ? r->version : m->version;
    report->state = state;
    report->hlc = d->listener.stamp(d->listener.context);
    report->proven = is_proven;
    text_copy(report->reason, sizeof report->reason, reason);

    uint8_t packed[SEALED_SIZE_MAX];
    size_t size = d->seal.close(d->seal.context, &statement, packed);
    if (size == 0) {
        d->stats.seal_failed++;
        return;
    }
    if (statements_apply(d, FROM_SELF, packed, size, &statement, &d->id, out) !=
        DIRECTORY_NEWS)
        return;
    d->stats.reports_published++;
    actions_log(out, LOG_LEVEL_NOTICE, "%s is %s: %s", m->name,
                state == argus_MemberState_MEMBER_SUSPECT ? "suspect"
                                                          : "offline",
                reason);
    d->listener.broadcast(d->listener.context, packed, size);
}

void statements_accuse(struct directory *d, struct member *m,
                       argus_MemberState state, const char *reason,
                       struct actions *out)
{
    accuse(d, m, state, reason, false, out);
}

void statements_accuse_refused(struct directory *d, struct member *m,
                               struct actions *out)
{
    accuse(d, m, argus_MemberState_MEMBER_OFFLINE, "connection refused", true,
           out);
}

/* The witness ends its last look before it speaks; the others just believe the
 * time that has passed. */
static void suspicion_on_timeout(struct directory *d, struct member_report *r,
                                 struct actions *out)
{
    struct member *m = r->member;

    suspicion_end(d, r);
    if (!node_id_is_equal(&r->author, &d->id) && !m->is_neighbor) {
        r->is_expired = true;
        (void)statements_refresh(d, m, d->wall_us);
        return;
    }
    if (!m->is_neighbor)
        failure_end_last_look(d, m, out);
    if (m->report != r) /* it has been judged */
        return;
    suspicion_begin(d, r);
    if (!m->is_neighbor)
        failure_probe(d, m, PROBE_SUSPECT, out);
}

static void suspicions_on_timeout(struct directory *d,
                                  struct suspicion_queue *queue,
                                  struct actions *out)
{
    struct member_report *r;

    while ((r = TAILQ_FIRST(queue)) != NULL && r->deadline_ms <= d->now_ms)
        suspicion_on_timeout(d, r, out);
}

void statements_on_timeout(struct directory *d, struct actions *out)
{
    if (d->now_ms < d->failure.excused_until_ms)
        return;
    suspicions_on_timeout(d, &d->confirmed, out);
    suspicions_on_timeout(d, &d->suspicions, out);
}

uint64_t statements_deadline_ms(const struct directory *d)
{
    const struct member_report *r = TAILQ_FIRST(&d->suspicions),
                               *confirmed = TAILQ_FIRST(&d->confirmed);

    if (confirmed != NULL &&
        (r == NULL || confirmed->deadline_ms < r->deadline_ms))
        r = confirmed;
    if (r == NULL)
        return UINT64_MAX;
    return r->deadline_ms > d->failure.excused_until_ms
               ? r->deadline_ms
               : d->failure.excused_until_ms;
}

/* ---------------------------------------------------------- records */

static bool is_same_place(const struct member *m, const argus_NodeRecord *r)
{
    return m->role == r->role && strcmp(m->address, r->address) == 0 &&
           strcmp(m->zone, r->zone) == 0 && strcmp(m->name, r->name) == 0 &&
           !(m->weight < r->weight) && !(m->weight > r->weight);
}

/* What this node had said of it was answered: it lives although a dial from
 * here failed, so further failed dials alone do not count. */
static void on_refuted(struct member *m, const argus_NodeRecord *r)
{
    if (r->generation != m->generation || strcmp(m->address, r->address) != 0)
        m->is_undialable = false;
    else if (m->is_accused)
        m->is_undialable = true;
    m->is_accused = false;
}

bool statements_keep_record(struct directory *d, struct member *m,
                            const argus_NodeRecord *record,
                            const uint8_t *payload, size_t size,
                            struct actions *out)
{
    bool is_new = m->packed == NULL;
    bool is_moved = is_new || !is_same_place(m, record);
    struct member_report *r = m->report;
    uint64_t since_us = directory_hlc_us(d, record->hlc);

    if (!is_new)
        on_refuted(m, record);
    if (!members_set_record(&d->members, m, record, payload, size)) {
        d->stats.memory_refused++;
        return false;
    }
    if (m->is_unheard) /* since when, nobody here can tell */
        since_us = d->wall_us;
    else if (is_new && !record->left && record->started_ms < d->wall_us / 1000)
        since_us = record->started_ms * 1000;
    m->renewed_ms = d->now_ms;
    m->is_superseded = false;
    if (r != NULL && version_compare(m->generation, m->version, r->generation,
                                     r->version) > 0)
        report_drop(d, m, out);
    store(out, STORE_RECORD, &m->id, payload, size);
    if (is_moved)
        supersede(d, m);
    if (!statements_refresh(d, m, since_us)) {
        if (is_moved)
            aggregators_update(d, m);
        d->listener.member_changed(d->listener.context, m,
                                   (argus_MemberState)m->state);
    }
    return true;
}

/* See DIRECTORY_MEMBERS_MAX. NULL: nobody can go. */
static struct member *dispensable(const struct directory *d)
{
    struct member *gone = NULL, *hearsay = NULL;

    for (uint32_t i = 0; i < d->members.count; i++) {
        struct member *m = d->members.list[i];
        if (m->is_self || m->is_neighbor)
            continue;
        if (member_is_gone(m)) {
            if (gone == NULL || m->since_us < gone->since_us)
                gone = m;
        } else if (m->heard_us == 0) {
            if (hearsay == NULL || m->renewed_ms < hearsay->renewed_ms)
                hearsay = m;
        }
    }
    return gone != NULL ? gone : hearsay;
}

static void make_room(struct directory *d, struct actions *out)
{
    struct member *m;

    if (d->members.count < d->members.max ||
        !bucket_take(&d->evictions, d->now_ms, DIRECTORY_EVICT_RATE,
                     DIRECTORY_EVICT_BURST, 1) ||
        (m = dispensable(d)) == NULL)
        return;
    struct node_id id = m->id;
    bool was_gone = member_is_gone(m);
    d->stats.members_evicted++;
    statements_forget(d, m, out);
    if (!was_gone)
        members_unbury(&d->members, &id);
}

static struct member *add_member(struct directory *d, const struct node_id *id,
                                 struct actions *out)
{
    make_room(d, out);
    struct member *m = members_add(&d->members, id);

    if (m == NULL) {
        if (d->members.count >= d->members.max)
            d->stats.members_refused++;
        else
            d->stats.memory_refused++;
        return NULL;
    }
    m->is_neighbor = sync_has_neighbor(d, id);
    return m;
}

/* The same version again is news only of one that we knew from disk alone. */
static enum directory_verdict on_known_version(struct directory *d,
                                               struct member *m)
{
    if (!m->is_unheard) {
        d->stats.records_stale++;
        return DIRECTORY_STALE;
    }
    m->is_unheard = false;
    m->renewed_ms = d->now_ms;
    (void)statements_refresh(d, m, directory_hlc_us(d, m->hlc));
    d->stats.records_news++;
    return DIRECTORY_NEWS;
}

static enum directory_verdict
apply_record(struct directory *d, enum statement_source source,
             const argus_NodeRecord *record, const struct node_id *author,
             const uint8_t *payload, size_t size, struct actions *out)
{
    if (node_id_is_equal(author, &d->id))
        return own_on_record(d, record, out);

    struct member *m = members_find(&d->members, author);
    int order = 1;
    if (m != NULL)
        order = version_compare(record->generation, record->version,
                                m->generation, m->version);
    else if (forgotten_is_buried(d, author, record->generation,
                                 record->version))
        order = -1;
    if (order < 0) {
        d->stats.records_stale++;
        return DIRECTORY_STALE;
    }
    if (order == 0)
        return on_known_version(d, m);

    bool is_new = m == NULL;
    if (is_new && (m = add_member(d, author, out)) == NULL)
        return DIRECTORY_STALE;
    if (source == FROM_BROADCAST && is_fresh(d, record->hlc))
        statements_heard(d, m);
    m->is_unheard = source == FROM_DISK;
    if (!statements_keep_record(d, m, record, payload, size, out)) {
        if (is_new)
            members_remove(&d->members, m);
        return DIRECTORY_STALE;
    }
    members_unbury(&d->members, author);
    d->stats.records_news++;
    return DIRECTORY_NEWS;
}

enum directory_verdict statements_apply(struct directory *d,
                                        enum statement_source source,
                                        const uint8_t *payload, size_t size,
                                        const argus_Statement *statement,
                                        const struct node_id *author,
                                        struct actions *out)
{
    switch (statement->which_body) {
    case argus_Statement_record_tag:
        return apply_record(d, source, &statement->body.record, author, payload,
                            size, out);
    case argus_Statement_report_tag:
        return apply_report(d, source, &statement->body.report, author, payload,
                            size, out);
    default: d->stats.records_bad++; return DIRECTORY_BAD;
    }
}

void statements_forget(struct directory *d, struct member *m,
                       struct actions *out)
{
    struct node_id id = m->id;

    report_drop(d, m, NULL);
    sync_forget(d, m);
    if (!members_bury(&d->members, m, d->now_ms + d->retain_ms))
        d->stats.tombstones_dropped++;
    for (uint32_t i = 0; i < d->aggregators_count; i++)
        if (d->aggregators[i] == m) {
            aggregators_remove(d, i);
            d->aggregators_stamp++;
            break;
        }
    members_remove(&d->members, m);
    d->stats.members_forgotten++;
    store(out, STORE_FORGET, &id, NULL, 0);
    d->listener.member_forgotten(d->listener.context, &id);
}
