/* engine_alarms.c - what an aggregator tells its collectd of nodes that go and
 * come, and what a node tells of another that has its name.
 *
 * Each aggregator tells what it sees itself: nothing of it is sent, and the
 * notifications carry the mark of what came from the mesh, so no other node
 * sends them either. Changes are held back ALARMS_SETTLE_MS from the last one,
 * ALARMS_HOLD_MS from the first, so that nodes that go together are one
 * notification with their number and names: a whole zone (see departures.h), or
 * ALARMS_MANY nodes wherever they are.
 *
 * A node that goes for the ALARMS_FLAPS-th time within ALARMS_FLAP_MS is told
 * to do so once; then there is silence until it has stayed as it is for as
 * long. That a node is back is told only if it was told that it went. */
#include "core/table.h"

#include "core/engine_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define ALARMS_SETTLE_MS 2000
#define ALARMS_HOLD_MS 10000
#define ALARMS_MANY 3
#define ALARMS_SWEEP_MS 60000
#define NAMES_SIZE 150 /* of the names in one message */
/** Another node of our name that stays so long is told of. */
#define NAMESAKE_WAIT_MS 5000

enum alarm_news { NEWS_NONE, NEWS_GONE, NEWS_BACK, NEWS_LEFT, NEWS_FLAPS };

struct alarm {
    UT_hash_handle hh;
    struct node_id id;
    uint8_t news;  /* enum alarm_news, to be told */
    uint8_t stops; /* since stops_ms */
    bool is_gone, is_told_gone, is_flapping;
    uint64_t stops_ms, changed_ms;
};

/* --------------------------------------------------------- to collectd */

static void notify(struct engine *e, argus_Severity severity, const char *host,
                   const char *instance, const char *text)
{
    argus_Event event = argus_Event_init_zero;
    struct action a = {.type = ACTION_NOTIFY};

    event.severity = severity;
    event.hlc = hlc_now(e->hlc, e->wall_us);
    event.generation = e->options.generation;
    event.epoch = clock_epoch(overlay_clock(e->overlay));
    event.time = engine_cdtime(e->wall_us);
    text_copy(event.node, sizeof event.node, e->options.name);
    text_copy(event.host, sizeof event.host, host);
    text_copy(event.plugin, sizeof event.plugin, "argus");
    text_copy(event.plugin_instance, sizeof event.plugin_instance, "members");
    text_copy(event.type, sizeof event.type, "node");
    text_copy(event.type_instance, sizeof event.type_instance, instance);
    text_copy(event.message, sizeof event.message, text);
    a.event.event = &event;
    a.event.origin = &e->options.id;
    a.event.received_us = e->wall_us;
    e->owner->emit(e->owner->context, &a);
}

/* ------------------------------------------------------------- changes */

static struct alarm *find(const struct engine *e, const struct node_id *id)
{
    struct alarm *a;

    HASH_FIND(hh, e->alarms.table, id, sizeof *id, a);
    return a;
}

static struct alarm *add(struct engine *e, const struct node_id *id)
{
    struct alarm *a = calloc(1, sizeof *a);

    if (a == NULL)
        return NULL;
    a->id = *id;
    HASH_ADD(hh, e->alarms.table, id, sizeof a->id, a);
    if (!table_has_taken(&a->hh)) {
        free(a);
        return NULL;
    }
    return a;
}

static void drop(struct engine *e, struct alarm *a)
{
    HASH_DEL(e->alarms.table, a);
    free(a);
}

static void plan(struct engine *e)
{
    struct alarms *all = &e->alarms;

    if (all->hold_ms == UINT64_MAX)
        all->hold_ms = e->now_ms + ALARMS_HOLD_MS;
    all->due_ms = e->now_ms + ALARMS_SETTLE_MS;
    if (all->due_ms > all->hold_ms)
        all->due_ms = all->hold_ms;
    if (all->sweep_ms == UINT64_MAX)
        all->sweep_ms = e->now_ms + ALARMS_SWEEP_MS;
}

/* On its way back a node may be suspect first, with a link to us and the report
 * still in force. */
static enum alarm_news news_of(const struct member *m, argus_MemberState old,
                               const struct alarm *a)
{
    bool was_there = old == argus_MemberState_MEMBER_ONLINE ||
                     old == argus_MemberState_MEMBER_SUSPECT;
    bool was_gone = a != NULL && a->is_gone;

    if (m->state == argus_MemberState_MEMBER_OFFLINE && was_there && !was_gone)
        return NEWS_GONE;
    if (m->state == argus_MemberState_MEMBER_ONLINE && was_gone)
        return NEWS_BACK;
    if (m->state == argus_MemberState_MEMBER_LEFT &&
        old != argus_MemberState_MEMBER_UNKNOWN)
        return NEWS_LEFT;
    return NEWS_NONE;
}

/* What it did before it was told of is told no more. */
static void merge(struct alarm *a, enum alarm_news news)
{
    if (news == NEWS_GONE && a->is_told_gone)
        news = NEWS_NONE; /* it was back for a moment only */
    else if (news == NEWS_BACK && !a->is_told_gone)
        news = NEWS_NONE;
    a->news = (uint8_t)news;
}

static void count_stop(struct engine *e, struct alarm *a)
{
    if (a->stops == 0 || e->now_ms - a->stops_ms > ALARMS_FLAP_MS) {
        a->stops = 0;
        a->stops_ms = e->now_ms;
    }
    if (a->stops < ALARMS_FLAPS)
        a->stops++;
}

void engine_alarms_on_change(struct engine *e, const struct member *m,
                             argus_MemberState old_state)
{
    struct alarm *a = find(e, &m->id);
    enum alarm_news news = news_of(m, old_state, a);

    if (e->options.role != argus_Role_ROLE_AGGREGATOR || !e->is_started ||
        e->is_stopped || news == NEWS_NONE)
        return;
    if (a == NULL && (a = add(e, &m->id)) == NULL) {
        e->stats.memory_refused++;
        return;
    }
    a->changed_ms = e->now_ms;
    a->is_gone = news == NEWS_GONE;
    if (news == NEWS_GONE)
        count_stop(e, a);
    if (a->is_flapping)
        return;
    merge(a, news);
    if (a->stops >= ALARMS_FLAPS && news == NEWS_GONE) {
        a->is_flapping = true;
        a->news = NEWS_FLAPS;
    }
    plan(e);
}

void engine_alarms_forget(struct engine *e, const struct node_id *id)
{
    struct alarm *a = find(e, id);

    if (a != NULL)
        drop(e, a);
}

void engine_alarms_free(struct engine *e)
{
    struct alarm *a, *next;

    HASH_ITER(hh, e->alarms.table, a, next)
    drop(e, a);
}

/* ------------------------------------------------------------- telling */

/* Nodes that are told of together. */
struct tale {
    uint32_t count, named;
    bool has_silent; /* some of them may be cut off */
    char names[NAMES_SIZE];
    size_t used;
};

static void add_name(struct tale *t, const struct member *m)
{
    char name[140];

    t->count++;
    text_say(name, sizeof name, "%s%s", t->used > 0 ? ", " : "", m->name);
    size_t length = strlen(name);
    if (t->used + length >= sizeof t->names)
        return;
    memcpy(t->names + t->used, name, length + 1);
    t->used += length;
    t->named++;
}

static void put_more(const struct tale *t, char *out, size_t size)
{
    out[0] = '\0';
    if (t->count > t->named)
        text_say(out, size, " and %u more", t->count - t->named);
}

static void tell_gone(struct engine *e, const struct member *m)
{
    argus_Report report;
    char text[256];
    bool is_own_word =
        m->report != NULL && node_id_is_equal(&m->report->author, &m->id);

    if (is_own_word)
        text_say(text, sizeof text, "node %.100s was stopped", m->name);
    else if (directory_report(m, &report))
        text_say(text, sizeof text, "node %.90s is offline: %.60s, says %.60s",
                 m->name, report.reason,
                 directory_name(e->directory, &m->report->author));
    else
        text_say(text, sizeof text, "node %.100s is offline", m->name);
    notify(e,
           is_own_word ? argus_Severity_SEVERITY_WARNING
                       : argus_Severity_SEVERITY_FAILURE,
           m->name, "offline", text);
}

static void tell_group(struct engine *e, const struct tale *t, const char *zone)
{
    char text[256], more[32];

    put_more(t, more, sizeof more);
    if (zone[0] != '\0')
        text_say(text, sizeof text,
                 "zone %.40s, all %u nodes of it, is %s: %s%s", zone, t->count,
                 t->has_silent ? "offline or cut off" : "offline", t->names,
                 more);
    else
        text_say(text, sizeof text, "%u nodes are %s: %s%s", t->count,
                 t->has_silent ? "offline or cut off" : "offline", t->names,
                 more);
    notify(e, argus_Severity_SEVERITY_FAILURE, e->options.name, "offline",
           text);
}

/* A group's members follow one another in the list. */
static void tell_groups(struct engine *e, const struct departures *all,
                        struct tale *others)
{
    struct tale t = {0};
    char zone[128];

    for (uint32_t i = 0; i < all->count; i++) {
        const struct departure *d = &all->list[i];
        struct alarm *a = find(e, &d->member->id);
        bool is_alone = d->group == DEPARTURES_NO_GROUP;
        bool is_last =
            i + 1 == all->count || all->list[i + 1].group != d->group;
        if (a != NULL && a->news == NEWS_GONE) {
            add_name(is_alone ? others : &t, d->member);
            (is_alone ? others : &t)->has_silent |= d->is_unsure;
            a->is_told_gone = true;
            if (!is_alone)
                a->news = NEWS_NONE;
        }
        if (is_alone || !is_last || t.count == 0)
            continue;
        departure_group_name(&all->groups[d->group], zone, sizeof zone);
        if (t.count == 1) /* the others were told before */
            tell_gone(e, d->member);
        else
            tell_group(e, &t, zone);
        t = (struct tale){0};
    }
}

static void tell_gone_ones(struct engine *e)
{
    struct departures all;
    struct tale others = {0};

    if (!directory_departures(e->directory, &all)) {
        e->stats.memory_refused++;
        return;
    }
    tell_groups(e, &all, &others);
    if (others.count >= ALARMS_MANY)
        tell_group(e, &others, "");
    for (uint32_t i = 0; i < all.count; i++) {
        struct alarm *a = find(e, &all.list[i].member->id);
        if (a == NULL || a->news != NEWS_GONE)
            continue;
        a->news = NEWS_NONE;
        if (others.count < ALARMS_MANY)
            tell_gone(e, all.list[i].member);
    }
    departures_free(&all);
}

static void tell_back(struct engine *e, const struct tale *t, const char *name)
{
    char text[256], more[32];

    put_more(t, more, sizeof more);
    if (t->count == 1)
        text_say(text, sizeof text, "node %.100s is back", name);
    else
        text_say(text, sizeof text, "%u nodes are back: %s%s", t->count,
                 t->names, more);
    notify(e, argus_Severity_SEVERITY_OKAY,
           t->count == 1 ? name : e->options.name, "online", text);
}

static void tell_back_ones(struct engine *e)
{
    struct tale all = {0};
    struct alarm *a, *next;

    for (int round = 0; round < 2; round++) {
        HASH_ITER(hh, e->alarms.table, a, next)
        {
            const struct member *m = directory_find(e->directory, &a->id);
            if (a->news != NEWS_BACK || m == NULL)
                continue;
            if (round == 0) {
                add_name(&all, m);
                continue;
            }
            a->news = NEWS_NONE;
            a->is_told_gone = false;
            if (all.count < ALARMS_MANY) {
                struct tale one = {.count = 1, .named = 1};
                tell_back(e, &one, m->name);
            }
        }
        if (round == 0 && all.count >= ALARMS_MANY)
            tell_back(e, &all, "");
    }
}

static void tell_one(struct engine *e, struct alarm *a, const struct member *m)
{
    char text[256];

    if (a->news == NEWS_LEFT) {
        text_say(text, sizeof text, "node %.100s left for good", m->name);
        notify(e, argus_Severity_SEVERITY_OKAY, m->name, "left", text);
        a->is_told_gone = false;
    } else if (a->news == NEWS_FLAPS) {
        text_say(text, sizeof text,
                 "node %.100s goes and comes: %u times within %u minutes; no "
                 "more is said of it until it stays for as long",
                 m->name, (unsigned)ALARMS_FLAPS,
                 (unsigned)(ALARMS_FLAP_MS / 60000));
        notify(e, argus_Severity_SEVERITY_WARNING, m->name, "flapping", text);
        a->is_told_gone = true;
    } else {
        return;
    }
    a->news = NEWS_NONE;
}

static void tell_all(struct engine *e)
{
    struct alarm *a, *next;

    e->alarms.due_ms = e->alarms.hold_ms = UINT64_MAX;
    tell_gone_ones(e);
    tell_back_ones(e);
    HASH_ITER(hh, e->alarms.table, a, next)
    {
        const struct member *m = directory_find(e->directory, &a->id);
        if (m != NULL)
            tell_one(e, a, m);
    }
}

/* It stayed as it is: how that is, and the count begins anew. */
static void calm_down(struct engine *e, struct alarm *a)
{
    const struct member *m = directory_find(e->directory, &a->id);

    a->is_flapping = false;
    a->stops = 0;
    if (m == NULL)
        return;
    if (m->state == argus_MemberState_MEMBER_ONLINE)
        a->news = NEWS_BACK;
    else if (m->state == argus_MemberState_MEMBER_LEFT)
        a->news = NEWS_LEFT;
    else
        a->news = NEWS_GONE;
    plan(e);
}

static void sweep(struct engine *e)
{
    struct alarm *a, *next;

    e->alarms.sweep_ms = UINT64_MAX;
    HASH_ITER(hh, e->alarms.table, a, next)
    {
        bool is_steady = e->now_ms - a->changed_ms >= ALARMS_FLAP_MS;
        if (a->is_flapping && is_steady)
            calm_down(e, a);
        else if (is_steady && a->news == NEWS_NONE && !a->is_told_gone)
            drop(e, a);
    }
    if (e->alarms.table != NULL)
        e->alarms.sweep_ms = e->now_ms + ALARMS_SWEEP_MS;
}

/* ----------------------------------------------------- nodes of our name */

/* A reimaged host has the address too: that is no second node. */
void engine_namesake_on_change(struct engine *e, const struct member *m)
{
    struct namesake *n = &e->namesake;
    bool is_there = m->state == argus_MemberState_MEMBER_ONLINE &&
                    strcmp(m->name, e->options.name) == 0 &&
                    strcmp(m->address, e->options.address) != 0;

    if (!is_there) {
        if (node_id_is_equal(&n->id, &m->id))
            *n = (struct namesake){.due_ms = UINT64_MAX};
        return;
    }
    if (node_id_is_equal(&n->id, &m->id))
        return; /* told, or about to be */
    *n = (struct namesake){.id = m->id, .due_ms = e->now_ms + NAMESAKE_WAIT_MS};
}

static void tell_namesake(struct engine *e)
{
    const struct member *m = directory_find(e->directory, &e->namesake.id);
    argus_Event event = argus_Event_init_zero;

    e->namesake.due_ms = UINT64_MAX;
    if (m == NULL || m->state != argus_MemberState_MEMBER_ONLINE)
        return;
    event.severity = argus_Severity_SEVERITY_WARNING;
    event.time = engine_cdtime(e->wall_us);
    text_copy(event.host, sizeof event.host, e->options.name);
    text_copy(event.plugin, sizeof event.plugin, "argus");
    text_copy(event.plugin_instance, sizeof event.plugin_instance, "members");
    text_copy(event.type, sizeof event.type, "node");
    text_copy(event.type_instance, sizeof event.type_instance, "namesake");
    text_say(event.message, sizeof event.message,
             "two nodes are named %.80s: at %.50s and at %.50s; give one of "
             "them another NodeName",
             e->options.name, e->options.address, m->address);
    actions_log(&e->out, LOG_LEVEL_WARNING, "%s", event.message);
    engine_announce(e, &event);
}

/* ---------------------------------------------------------------- time */

void engine_alarms_open(struct engine *e)
{
    e->alarms.due_ms = e->alarms.hold_ms = e->alarms.sweep_ms = UINT64_MAX;
    e->namesake.due_ms = UINT64_MAX;
}

void engine_alarms_on_timeout(struct engine *e)
{
    if (e->is_stopped)
        return;
    if (e->alarms.due_ms <= e->now_ms)
        tell_all(e);
    if (e->alarms.sweep_ms <= e->now_ms)
        sweep(e);
    if (e->namesake.due_ms <= e->now_ms)
        tell_namesake(e);
}

uint64_t engine_alarms_deadline_ms(const struct engine *e)
{
    uint64_t deadline = e->alarms.due_ms;

    if (e->is_stopped)
        return UINT64_MAX;
    if (e->alarms.sweep_ms < deadline)
        deadline = e->alarms.sweep_ms;
    return e->namesake.due_ms < deadline ? e->namesake.due_ms : deadline;
}
