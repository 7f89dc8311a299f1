#include "core/failure.h"

#include "base/prng.h"
#include "core/directory_state.h"

/* ----------------------------------------------------------- deaths */

void failure_start(struct directory *d)
{
    d->failure.slow_due_ms = d->now_ms + prng_below(&d->prng, PROBE_LOST_MS);
}

void failure_note_death(struct directory *d)
{
    struct failure *f = &d->failure;

    f->lost_ms = d->now_ms;
    f->has_lost = true;
    if (f->slow_due_ms > d->now_ms + PROBE_LOST_MS)
        f->slow_due_ms = d->now_ms + prng_jitter(&d->prng, PROBE_LOST_MS);
    memmove(&f->deaths_ms[0], &f->deaths_ms[1],
            (DEATHS_MANY - 1) * sizeof f->deaths_ms[0]);
    f->deaths_ms[DEATHS_MANY - 1] = d->now_ms;
    if (f->deaths_count < DEATHS_MANY)
        f->deaths_count++;

    bool is_many = f->deaths_count == DEATHS_MANY &&
                   d->now_ms - f->deaths_ms[0] <= DEATHS_WINDOW_MS;
    if (!is_many && !f->is_mass)
        return;
    f->mass_until_ms = d->now_ms + DEATHS_WINDOW_MS;
    if (f->is_mass)
        return;
    f->is_mass = true;
    f->mass_since_ms = d->now_ms;
    f->mass_due_ms = d->now_ms + prng_jitter(&d->prng, MASS_ROUND_MS);
    d->stats.mass_deaths++;
}

/* All must agree. */
static uint64_t rendezvous(const struct node_id *prober,
                           const struct node_id *member)
{
    uint64_t a = prng_mix(node_id_half(prober, 0) ^ node_id_half(member, 8));
    return prng_mix(a + node_id_half(prober, 8) * 3 + node_id_half(member, 0));
}

/* May it be left to that one to look after others? */
static bool is_survivor(const struct directory *d, const struct member *c)
{
    const struct failure *f = &d->failure;

    return c->state == argus_MemberState_MEMBER_ONLINE &&
           (!f->is_mass || c->is_neighbor || c->heard_ms >= f->mass_since_ms ||
            d->now_ms - f->mass_since_ms < d->suspect_ms);
}

bool failure_is_prober(const struct directory *d, const struct member *m)
{
    uint64_t own = rendezvous(&d->id, &m->id);
    uint32_t better = 0;

    /* Ends early for all but the few that score high: about 2 ln N steps on
     * average, not N. */
    for (uint32_t i = 0; i < d->members.count; i++) {
        const struct member *c = d->members.list[i];
        if (c == m || c->is_self || !is_survivor(d, c))
            continue;
        if (rendezvous(&c->id, &m->id) > own && ++better == PROBERS)
            return false;
    }
    return true;
}

/* --------------------------------------------------- probes: to begin */

static struct probe *find_probe(struct failure *f, const struct node_id *id)
{
    for (uint32_t i = 0; i < f->probes_count; i++)
        if (node_id_is_equal(&f->probes[i].id, id))
            return &f->probes[i];
    return NULL;
}

static struct probe *find_dial(struct failure *f, dial_id dial)
{
    for (uint32_t i = 0; i < f->probes_count; i++)
        if (f->probes[i].dial == dial)
            return &f->probes[i];
    return NULL;
}

static struct probe *dial_probe(struct directory *d, const struct node_id *id,
                                const char *address, enum probe_reason reason,
                                struct actions *out)
{
    struct failure *f = &d->failure;
    struct probe *p = &f->probes[f->probes_count++];

    *p = (struct probe){.dial = directory_next_dial(d),
                        .id = *id,
                        .reason = reason,
                        .started_ms = d->now_ms};
    d->stats.probes_sent++;
    actions_dial(out, p->dial, argus_LinkKind_LINK_PROBE, address, id);
    return p;
}

static void queue_probe(struct directory *d, const struct node_id *id,
                        enum probe_reason reason)
{
    struct failure *f = &d->failure;

    if (reason < PROBE_LOST || f->queue_count == PROBES_QUEUED_MAX) {
        d->stats.probes_dropped++;
        return;
    }
    uint32_t at = (f->queue_first + f->queue_count++) % PROBES_QUEUED_MAX;
    f->queue[at] = (struct probe_wish){.id = *id, .reason = reason};
}

static void on_silent(struct directory *d, struct member *m,
                      enum probe_reason reason, bool is_ours,
                      struct actions *out);

void failure_probe(struct directory *d, struct member *m,
                   enum probe_reason reason, struct actions *out)
{
    struct failure *f = &d->failure;
    struct probe *p = find_probe(f, &m->id);

    if (d->own.is_silent || m->is_self)
        return;
    if (p != NULL && !p->is_settled) {
        if (p->reason < reason)
            p->reason = reason;
        return;
    }
    if (!address_can_be_dialed(m->address))
        on_silent(d, m, reason, true, out);
    else if (f->probes_count < PROBES_MAX)
        (void)dial_probe(d, &m->id, m->address, reason, out);
    else
        queue_probe(d, &m->id, reason);
}

bool failure_probe_clone(struct directory *d, const argus_NodeRecord *record,
                         struct actions *out)
{
    struct failure *f = &d->failure;

    if (f->probes_count == PROBES_MAX || find_probe(f, &d->id) != NULL)
        return false;
    struct probe *p = dial_probe(d, &d->id, record->address, PROBE_CLONE, out);
    p->instance = record->instance;
    p->peer_started_ms = record->started_ms;
    return true;
}

static void probe_queued(struct directory *d, struct actions *out)
{
    struct failure *f = &d->failure;

    while (f->queue_count > 0 && f->probes_count < PROBES_MAX) {
        struct probe_wish wish = f->queue[f->queue_first];
        f->queue_first = (f->queue_first + 1) % PROBES_QUEUED_MAX;
        f->queue_count--;
        struct member *m = members_find(&d->members, &wish.id);
        if (m != NULL && !m->is_neighbor && !member_is_gone(m))
            failure_probe(d, m, wish.reason, out);
    }
}

/* ---------------------------------------------------- probes: to judge */

/* peer NULL: it refused us with a reason that shows it alive. */
static void on_answered(struct directory *d, struct member *m,
                        const struct peer_info *peer, struct actions *out)
{
    bool is_overdue =
        d->now_ms - m->renewed_ms > (uint64_t)LEASES_MISSED * own_lease_ms(d);
    bool is_other_life = peer != NULL && peer->instance != m->instance;

    d->stats.probes_answered++;
    m->is_accused = false;
    m->is_undialable = false;
    statements_heard(d, m);
    if (m->state == argus_MemberState_MEMBER_ONLINE && !is_overdue &&
        !is_other_life)
        return;
    /* It lives and does not know what is said of it, or has not told us its
     * newest record. */
    m->renewed_ms = d->now_ms;
    sync_request(d, m, out);
}

static void on_refused(struct directory *d, struct member *m,
                       enum probe_reason reason, struct actions *out)
{
    bool was_undialable = m->is_undialable;

    d->stats.probes_refused++;
    failure_on_sign_of_life(d); /* its host is */
    if (m->is_neighbor || (m->report != NULL && m->report->is_proven))
        return;
    if (was_undialable) { /* its address lies: no proof */
        if (reason != PROBE_SLOW)
            statements_accuse(d, m, argus_MemberState_MEMBER_SUSPECT,
                              "not reached", out);
        return;
    }
    m->is_accused = true;
    statements_accuse_refused(d, m, out);
}

void failure_on_sign_of_life(struct directory *d)
{
    d->failure.lost_count = 0;
    d->failure.silent_count = 0;
}

static bool is_cut_off(const struct directory *d)
{
    return d->sync.neighbors_count == 0 && d->failure.lost_count > 0 &&
           d->failure.silent_count >= DEATHS_MANY;
}

/* What is known of the others is memory now. Not a word of it to anybody. */
static void on_cut_off(struct directory *d, struct actions *out)
{
    actions_log(out, LOG_LEVEL_WARNING,
                "cut off: all neighbors are lost, and nobody answers");
    d->failure.lost_count = 0;
    d->stats.cut_offs++;
    for (uint32_t i = 0; i < d->members.count; i++) {
        struct member *m = d->members.list[i];
        if (m->is_self ||
            (member_is_gone(m) && m->gone_us < d->failure.lost_us))
            continue;
        m->is_unheard = true;
        statements_withdraw(d, m, out);
        (void)statements_refresh(d, m, d->wall_us);
    }
}

/* is_ours: the dial failed for a reason on this side. */
static void on_silent(struct directory *d, struct member *m,
                      enum probe_reason reason, bool is_ours,
                      struct actions *out)
{
    d->stats.probes_silent++;
    if (m->is_neighbor || member_is_gone(m))
        return;
    d->failure.silent_count++;
    if (is_cut_off(d)) {
        on_cut_off(d, out);
        return;
    }
    switch (reason) {
    case PROBE_SLOW:
    case PROBE_MASS:
        if (is_ours || (reason == PROBE_SLOW && m->is_undialable))
            return;
        m->is_accused = true;
        statements_accuse(d, m, argus_MemberState_MEMBER_SUSPECT, "no answer",
                          out);
        return;
    case PROBE_LOST:
        m->is_accused = !is_ours;
        statements_accuse(d, m, argus_MemberState_MEMBER_SUSPECT,
                          "link lost, no answer since", out);
        return;
    case PROBE_SUSPECT:
        if (m->state == argus_MemberState_MEMBER_SUSPECT)
            statements_accuse(d, m, argus_MemberState_MEMBER_OFFLINE,
                              "no answer", out);
        return;
    case PROBE_CLONE: return;
    }
}

static void probe_remove(struct failure *f, struct probe *p)
{
    *p = f->probes[--f->probes_count];
}

/* The probe that was under way by this dial, and is no more. */
static bool take_probe(struct failure *f, dial_id dial, struct probe *out)
{
    struct probe *found = find_dial(f, dial);

    if (found == NULL)
        return false;
    *out = *found;
    probe_remove(f, found);
    return true;
}

bool failure_on_link_up(struct directory *d, link_id link, dial_id dial,
                        const struct peer_info *peer, struct actions *out)
{
    struct probe p;

    if (!take_probe(&d->failure, dial, &p))
        return false;
    actions_close(out, link, argus_RefuseCode_REFUSE_BYE, "you are there");
    if (p.reason == PROBE_CLONE) {
        if (peer->instance != d->own.record.instance)
            own_on_clone(d, peer->instance, peer->started_ms, out);
    } else {
        struct member *m = members_find(&d->members, &p.id);
        if (m != NULL && node_id_is_equal(&peer->id, &p.id))
            on_answered(d, m, peer, out);
    }
    probe_queued(d, out);
    return true;
}

/* A refusal that only a living node of that id sends. */
static bool shows_life(argus_RefuseCode code)
{
    return code == argus_RefuseCode_REFUSE_BUSY ||
           code == argus_RefuseCode_REFUSE_BYE ||
           code == argus_RefuseCode_REFUSE_REPLACED;
}

static void judge_failed(struct directory *d, const struct probe *p,
                         enum link_end why, argus_RefuseCode code,
                         struct actions *out)
{
    struct member *m = members_find(&d->members, &p->id);

    if (p->reason == PROBE_CLONE) {
        if (why == LINK_END_DENIED && code == argus_RefuseCode_REFUSE_CLONE)
            own_on_clone(d, p->instance, p->peer_started_ms, out);
        return;
    }
    if (m == NULL || code == argus_RefuseCode_REFUSE_QUARANTINE)
        return; /* one of us two does not speak to the other: no news of it */
    if (why == LINK_END_REFUSED)
        on_refused(d, m, p->reason, out);
    else if ((why == LINK_END_DENIED || why == LINK_END_CLOSED) &&
             shows_life(code))
        on_answered(d, m, NULL, out);
    else if (!p->is_settled)
        on_silent(d, m, p->reason, why == LINK_END_LOCAL, out);
}

bool failure_on_dial_failed(struct directory *d, dial_id dial,
                            enum link_end why, argus_RefuseCode code,
                            struct actions *out)
{
    struct probe p;

    if (!take_probe(&d->failure, dial, &p))
        return false;
    judge_failed(d, &p, why, code, out);
    probe_queued(d, out);
    return true;
}

/* The last look of a witness began with the suspicion and ends with it: else
 * the witnesses were the last of all to take the dead for dead. */
static uint64_t settle_due_ms(const struct directory *d, const struct probe *p)
{
    return p->started_ms + (p->reason == PROBE_SUSPECT
                                ? statements_patience_ms(d)
                                : d->suspect_ms);
}

static void settle(struct directory *d, struct probe *p, struct member *m,
                   struct actions *out)
{
    p->is_settled = true;
    if (m != NULL)
        on_silent(d, m, p->reason, false, out);
}

/* A dial may take longer to fail than anybody wants to wait. Its place stays
 * taken until it ends, so that dials under way are bounded. */
static void settle_probes(struct directory *d, struct actions *out)
{
    struct failure *f = &d->failure;

    for (uint32_t i = 0; i < f->probes_count; i++) {
        struct probe *p = &f->probes[i];
        if (!p->is_settled && p->reason != PROBE_CLONE &&
            d->now_ms >= settle_due_ms(d, p))
            settle(d, p, members_find(&d->members, &p->id), out);
    }
}

void failure_end_last_look(struct directory *d, struct member *m,
                           struct actions *out)
{
    struct probe *p = find_probe(&d->failure, &m->id);

    if (p != NULL && !p->is_settled && p->reason == PROBE_SUSPECT &&
        d->now_ms >= p->started_ms + statements_patience_confirmed_ms(d))
        settle(d, p, m, out);
}

/* -------------------------------------------------- whom to probe, when */

/* The last neighbor is lost: is anybody there? */
static void look_around(struct directory *d, struct actions *out)
{
    uint32_t count = d->members.count, asked = 0;
    uint32_t start = prng_below(&d->prng, count);

    for (uint32_t i = 0; i < count && asked < DEATHS_MANY; i++) {
        struct member *m = d->members.list[(start + i) % count];
        if (m->is_self || m->state != argus_MemberState_MEMBER_ONLINE ||
            !address_can_be_dialed(m->address))
            continue;
        failure_probe(d, m, PROBE_MASS, out);
        asked++;
    }
}

void failure_on_neighbor_lost(struct directory *d, struct member *m,
                              enum link_end why, struct actions *out)
{
    if (d->failure.lost_count++ == 0)
        d->failure.lost_us = d->wall_us / 1000 * 1000; /* as of reports */
    if (d->sync.neighbors_count == 0)
        look_around(d, out);
    if (member_is_gone(m))
        return;
    if (why != LINK_END_TIMEOUT || d->now_ms < d->failure.excused_until_ms) {
        failure_probe(d, m, PROBE_LOST, out);
        return;
    }
    statements_accuse(d, m, argus_MemberState_MEMBER_SUSPECT, "silent", out);
    failure_probe(d, m, PROBE_SUSPECT, out);
}

static void mass_round(struct directory *d, struct actions *out)
{
    struct failure *f = &d->failure;
    uint64_t last_death_ms = f->deaths_ms[DEATHS_MANY - 1];

    if (d->now_ms >= f->mass_until_ms) {
        f->is_mass = false;
        return;
    }
    f->mass_due_ms = d->now_ms + prng_jitter(&d->prng, MASS_ROUND_MS);
    for (uint32_t i = 0; i < d->members.count; i++) {
        struct member *m = d->members.list[i];
        if (m->state != argus_MemberState_MEMBER_ONLINE || m->is_self ||
            m->is_neighbor || m->heard_ms > last_death_ms ||
            !address_can_be_dialed(m->address) || !failure_is_prober(d, m))
            continue;
        if (f->probes_count == PROBES_MAX)
            return; /* the rest in the next round */
        failure_probe(d, m, PROBE_MASS, out);
        f->mass_until_ms = d->now_ms + DEATHS_WINDOW_MS; /* what it will tell */
    }
}

void failure_check_leases(struct directory *d, struct actions *out)
{
    uint64_t patience_ms = (uint64_t)LEASES_MISSED * own_lease_ms(d);

    for (uint32_t i = 0; i < d->members.count; i++) {
        struct member *m = d->members.list[i];
        if (m->state == argus_MemberState_MEMBER_ONLINE && !m->is_self &&
            !m->is_neighbor && d->now_ms - m->renewed_ms > patience_ms &&
            d->failure.probes_count < PROBES_MAX && failure_is_prober(d, m))
            failure_probe(d, m, PROBE_MASS, out);
    }
}

static bool is_worth_a_look(const struct directory *d, const struct member *m,
                            bool wants_lost)
{
    if (m->is_self || m->is_neighbor || !address_can_be_dialed(m->address))
        return false;
    if (wants_lost)
        return m->state == argus_MemberState_MEMBER_OFFLINE;
    return m->state == argus_MemberState_MEMBER_ONLINE &&
           d->now_ms - m->heard_ms >= PROBE_SLOW_MS;
}

static struct member *pick(struct directory *d, bool wants_lost)
{
    uint32_t count = d->members.count;
    uint32_t start = prng_below(&d->prng, count);

    for (uint32_t i = 0; i < count; i++) {
        struct member *m = d->members.list[(start + i) % count];
        if (is_worth_a_look(d, m, wants_lost))
            return m;
    }
    return NULL;
}

static void probe_slowly(struct directory *d, struct actions *out)
{
    struct failure *f = &d->failure;
    bool wants_lost = f->slow_turn++ % 2 == 0;
    struct member *m = pick(d, wants_lost);

    if (m == NULL)
        m = pick(d, !wants_lost);
    bool is_urgent = (f->has_lost && d->now_ms - f->lost_ms < LOST_LATELY_MS) ||
                     (m != NULL && m->is_unheard);
    f->slow_due_ms =
        d->now_ms +
        prng_jitter(&d->prng, is_urgent ? PROBE_LOST_MS : PROBE_SLOW_MS);
    if (m != NULL)
        failure_probe(d, m, PROBE_SLOW, out);
}

/* Lifeguard: whoever was stopped himself sees all others silent. */
void failure_on_late(struct directory *d, uint64_t late_ms)
{
    struct failure *f = &d->failure;

    d->stats.late_wakeups++;
    f->excused_until_ms = d->now_ms + d->suspect_ms;
    for (uint32_t i = 0; i < f->probes_count; i++)
        f->probes[i].started_ms += late_ms;
}

void failure_on_timeout(struct directory *d, struct actions *out)
{
    settle_probes(d, out);
    if (d->failure.is_mass && d->failure.mass_due_ms <= d->now_ms)
        mass_round(d, out);
    if (d->failure.slow_due_ms <= d->now_ms)
        probe_slowly(d, out);
}

uint64_t failure_deadline_ms(const struct directory *d)
{
    const struct failure *f = &d->failure;
    uint64_t deadline = f->slow_due_ms;

    if (f->is_mass && f->mass_due_ms < deadline)
        deadline = f->mass_due_ms;
    for (uint32_t i = 0; i < f->probes_count; i++) {
        const struct probe *p = &f->probes[i];
        if (!p->is_settled && p->reason != PROBE_CLONE &&
            settle_due_ms(d, p) < deadline)
            deadline = settle_due_ms(d, p);
    }
    return deadline;
}
