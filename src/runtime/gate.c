#include "runtime/gate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
#include <uthash.h>

/** A bundle has at most an old, a new and one more worker at once. */
#define WORKERS_MAX 4

#define CDTIME_PER_S ((uint64_t)1 << 30)
#define MARGIN_MAX (CDTIME_PER_S / 10)

/** A last value so far ahead of the next one: the clock was set back. */
#define AHEAD_MAX (10 * CDTIME_PER_S)

/** Turns of a replay that spare each series a second value; what is left then
 *  comes at once. */
#define TURNS_MAX 10

/** From a turn to the next one, so that collectd has written what it got. */
#define TURN_MS 30

struct series {
    UT_hash_handle hh;
    uint64_t last; /* time of its last value, cdtime */
    uint64_t interval;
    uint64_t seen_ms;
    uint64_t turn;    /* in which its last value passed */
    uint32_t owner;   /* 0: whoever comes */
    bool has_changed; /* hands, and the new one's first value is to come */
    uint32_t identity_size;
    char identity[];
};

struct held {
    STAILQ_ENTRY(held) next;
    size_t size;
    bool is_value;
    uint8_t message[];
};

STAILQ_HEAD(held_list, held);

struct source {
    uint32_t worker; /* 0: free */
    bool is_open;
    struct held_list held; /* of an open one: what is still to be replayed */
    size_t held_bytes;
    unsigned turns;
    uint64_t turn_ms; /* when the last one was */
    struct gate_tally tally;
};

struct gate {
    gate_pass pass;
    void *context;
    struct series *series;
    struct source sources[WORKERS_MAX];
    uint64_t turn;
};

static struct gate_stats stats; /* of the loop thread */

/* -------------------------------------------------------------- sources */

static struct source *find(const struct gate *g, uint32_t worker)
{
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (g->sources[i].worker == worker)
            return (struct source *)(uintptr_t)&g->sources[i];
    return NULL;
}

static void drop_oldest(struct source *s)
{
    struct held *h = STAILQ_FIRST(&s->held);

    STAILQ_REMOVE_HEAD(&s->held, next);
    s->held_bytes -= sizeof *h + h->size;
    free(h);
}

static void drop_held(struct source *s)
{
    while (!STAILQ_EMPTY(&s->held))
        drop_oldest(s);
}

static void hold(struct source *s, bool is_value, const uint8_t *message,
                 size_t size)
{
    struct held *h = malloc(sizeof *h + size);

    if (h == NULL) {
        stats.held_dropped++;
        return;
    }
    h->size = size;
    h->is_value = is_value;
    memcpy(h->message, message, size);
    STAILQ_INSERT_TAIL(&s->held, h, next);
    s->held_bytes += sizeof *h + size;
    while (s->held_bytes > GATE_HELD_MAX) {
        drop_oldest(s);
        stats.held_dropped++;
    }
}

/* --------------------------------------------------------------- series */

static struct series *find_series(struct gate *g, const struct pair_value *v)
{
    struct series *s;

    HASH_FIND(hh, g->series, v->identity, v->identity_size, s);
    return s;
}

static struct series *add_series(struct gate *g, const struct pair_value *v,
                                 uint64_t now_ms)
{
    if (HASH_COUNT(g->series) >= GATE_SERIES_MAX)
        gate_forget_old(g, now_ms);
    struct series *s = HASH_COUNT(g->series) < GATE_SERIES_MAX
                           ? calloc(1, sizeof *s + v->identity_size)
                           : NULL;
    if (s != NULL) {
        s->identity_size = v->identity_size;
        memcpy(s->identity, v->identity, v->identity_size);
        HASH_ADD_KEYPTR(hh, g->series, s->identity, s->identity_size, s);
        if (s->hh.tbl == NULL) { /* no memory for the table */
            free(s);
            s = NULL;
        }
    }
    if (s == NULL)
        stats.series_refused++;
    return s;
}

static void drop_series(struct gate *g, struct series *s)
{
    HASH_DEL(g->series, s);
    free(s);
}

void gate_forget_old(struct gate *g, uint64_t now_ms)
{
    struct series *s, *next;

    HASH_ITER(hh, g->series, s, next)
    {
        uint64_t keep_ms = 3 * (s->interval >> 30) * 1000;
        if (keep_ms < GATE_KEEP_MS)
            keep_ms = GATE_KEEP_MS;
        if (now_ms - s->seen_ms > keep_ms)
            drop_series(g, s);
    }
}

static bool is_too_near(const struct series *s, const struct pair_value *v)
{
    uint64_t margin = v->interval / 10;

    if (margin > MARGIN_MAX)
        margin = MARGIN_MAX;
    if (v->time + AHEAD_MAX < s->last)
        return false;
    return v->time < s->last + margin || v->time == s->last;
}

/* May it pass? Decides whose the series is. The newer worker takes it with its
 * first value, also when that one is too near to the last: its next one comes
 * no later than an interval after. */
static bool admit(struct series *s, uint32_t worker, const struct pair_value *v,
                  bool *begins)
{
    *begins = false;
    if (s->owner > worker) {
        stats.superseded++;
        return false;
    }
    if (s->owner < worker) {
        s->owner = worker;
        s->has_changed = s->last != 0;
        stats.switched += s->has_changed;
    }
    if (s->has_changed && is_too_near(s, v)) {
        stats.early++;
        return false;
    }
    if (v->time == s->last) {
        stats.repeated++;
        return false;
    }
    *begins = s->has_changed;
    s->has_changed = false;
    return true;
}

static void pass_value(struct gate *g, struct source *src,
                       const struct pair_value *v, const uint8_t *message,
                       size_t size, uint64_t now_ms)
{
    struct series *s = find_series(g, v);
    bool begins;

    if (s == NULL)
        s = add_series(g, v, now_ms);
    if (s == NULL || !admit(s, src->worker, v, &begins))
        return;
    s->last = v->time;
    s->interval = v->interval;
    s->seen_ms = now_ms;
    s->turn = g->turn;
    src->tally.values++;
    src->tally.last_ms = now_ms;
    if (v->interval > src->tally.interval)
        src->tally.interval = v->interval;
    g->pass(g->context, src->worker, begins, message, size);
}

/* ------------------------------------------------------------------ life */

struct gate *gate_new(gate_pass pass, void *context)
{
    struct gate *g = calloc(1, sizeof *g);

    if (g == NULL)
        return NULL;
    g->pass = pass;
    g->context = context;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        STAILQ_INIT(&g->sources[i].held);
    return g;
}

void gate_free(struct gate *g)
{
    struct series *s, *next;

    if (g == NULL)
        return;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        drop_held(&g->sources[i]);
    HASH_ITER(hh, g->series, s, next)
    {
        drop_series(g, s);
    }
    free(g);
}

bool gate_hold(struct gate *g, uint32_t worker)
{
    struct source *s = find(g, 0);

    if (s == NULL)
        return false;
    s->worker = worker;
    s->is_open = false;
    s->turns = 0;
    s->tally = (struct gate_tally){0};
    return true;
}

/* The message was read before, so it is sound. @return false: its series had a
 * value in this turn. */
static bool replay(struct gate *g, struct source *src, const struct held *h,
                   uint64_t now_ms)
{
    struct pair_message m;
    struct pair_value v;

    if (!h->is_value) {
        g->pass(g->context, src->worker, false, h->message, h->size);
        return true;
    }
    if (pair_next(h->message, h->size, &m) <= 0 || !pair_read_value(&m, &v))
        return true;
    const struct series *s = find_series(g, &v);
    if (s != NULL && s->turn == g->turn && src->turns < TURNS_MAX)
        return false;
    pass_value(g, src, &v, h->message, h->size, now_ms);
    return true;
}

/* collectd has several write threads: of two values of a series that come at
 * once the later one may be written first. */
static void take_turn(struct gate *g, struct source *src, uint64_t now_ms)
{
    struct held_list rest = STAILQ_HEAD_INITIALIZER(rest);
    struct held *h;

    g->turn++;
    src->turns++;
    src->turn_ms = now_ms;
    while ((h = STAILQ_FIRST(&src->held)) != NULL) {
        STAILQ_REMOVE_HEAD(&src->held, next);
        if (!replay(g, src, h, now_ms)) {
            STAILQ_INSERT_TAIL(&rest, h, next);
            continue;
        }
        src->held_bytes -= sizeof *h + h->size;
        free(h);
    }
    STAILQ_CONCAT(&src->held, &rest);
}

void gate_open(struct gate *g, uint32_t worker, uint64_t now_ms)
{
    struct source *src = find(g, worker);

    if (src == NULL || src->is_open)
        return;
    src->is_open = true;
    take_turn(g, src, now_ms);
}

void gate_turn(struct gate *g, uint64_t now_ms)
{
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        struct source *src = &g->sources[i];
        if (src->is_open && !STAILQ_EMPTY(&src->held) &&
            now_ms - src->turn_ms >= TURN_MS)
            take_turn(g, src, now_ms);
    }
}

/* What comes right after a turn has to wait as well. */
bool gate_waits(const struct gate *g, uint64_t now_ms)
{
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        const struct source *src = &g->sources[i];
        if (src->is_open &&
            (!STAILQ_EMPTY(&src->held) || now_ms - src->turn_ms < 2 * TURN_MS))
            return true;
    }
    return false;
}

/* Must what comes now wait: for the gate, or behind what is replayed? */
static bool must_wait(const struct source *src, uint64_t now_ms)
{
    return !src->is_open || !STAILQ_EMPTY(&src->held) ||
           now_ms - src->turn_ms < TURN_MS;
}

void gate_close(struct gate *g, uint32_t worker)
{
    struct source *src = find(g, worker);

    if (src == NULL)
        return;
    drop_held(src);
    src->worker = 0;
    for (struct series *s = g->series; s != NULL; s = s->hh.next)
        if (s->owner == worker)
            s->owner = 0;
}

/* Once a newer worker passes, what the older one has to say is old. */
static bool is_outdone(const struct gate *g, const struct source *src)
{
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (g->sources[i].is_open && g->sources[i].worker > src->worker)
            return true;
    return false;
}

void gate_take(struct gate *g, uint32_t worker, const struct pair_value *value,
               const uint8_t *message, size_t size, uint64_t now_ms)
{
    struct source *src = find(g, worker);

    if (src == NULL)
        return;
    if (must_wait(src, now_ms))
        hold(src, value != NULL, message, size);
    else if (value != NULL)
        pass_value(g, src, value, message, size, now_ms);
    else if (!is_outdone(g, src))
        g->pass(g->context, worker, false, message, size);
}

/* ------------------------------------------------------------- questions */

bool gate_tally(const struct gate *g, uint32_t worker, struct gate_tally *out)
{
    const struct source *src = find(g, worker);

    if (src == NULL)
        return false;
    *out = src->tally;
    return true;
}

uint32_t gate_owned(const struct gate *g, uint32_t worker, uint64_t *interval)
{
    uint32_t count = 0;

    *interval = 0;
    for (const struct series *s = g->series; s != NULL; s = s->hh.next) {
        if (s->owner != worker)
            continue;
        count++;
        if (s->interval > *interval)
            *interval = s->interval;
    }
    return count;
}

const struct gate_stats *gate_stats(void)
{
    return &stats;
}
