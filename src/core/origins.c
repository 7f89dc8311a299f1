#include "core/table.h"

#include "core/origins.h"

#include <stdlib.h>

#include "core/timeline.h"

struct origin_rate {
    struct node_id id;
    struct bucket buckets[ORIGIN_KINDS];
    uint64_t at_ms;
    TAILQ_ENTRY(origin_rate) order;
    UT_hash_handle hh;
};

struct limit {
    uint32_t per_s, burst;
};

static struct limit limit_of(const struct origins *o, enum origin_kind kind)
{
    static const struct limit limits[] = {
        [ORIGIN_RECORD] = {ORIGINS_RECORD_RATE, ORIGINS_RECORD_BURST},
        [ORIGIN_REPORT] = {ORIGINS_REPORT_RATE, ORIGINS_REPORT_BURST},
        [ORIGIN_BUNDLE] = {ORIGINS_BUNDLE_RATE, ORIGINS_BUNDLE_BURST},
        [ORIGIN_OTHERS] = {ORIGINS_OTHERS_RATE, ORIGINS_OTHERS_BURST},
    };

    return kind == ORIGIN_EVENT ? (struct limit){o->event_rate, o->event_burst}
                                : limits[kind];
}

void origins_init(struct origins *o, uint32_t max, uint32_t rate_limit)
{
    *o = (struct origins){.max = max == 0 ? ORIGINS_MAX : max};
    if (rate_limit < ORIGINS_EVENT_RATE_MIN)
        rate_limit = ORIGINS_EVENT_RATE_MIN;
    o->event_rate = rate_limit + rate_limit / 4;
    o->event_burst = o->event_rate * TIMELINE_BURST_S;
    TAILQ_INIT(&o->latest_first);
}

static void drop(struct origins *o, struct origin_rate *r)
{
    HASH_DEL(o->by_id, r);
    TAILQ_REMOVE(&o->latest_first, r, order);
    free(r);
}

void origins_close(struct origins *o)
{
    struct origin_rate *r;

    while ((r = TAILQ_FIRST(&o->latest_first)) != NULL)
        drop(o, r);
}

static struct origin_rate *find(const struct origins *o,
                                const struct node_id *id)
{
    struct origin_rate *r;

    HASH_FIND(hh, o->by_id, id, sizeof *id, r);
    return r;
}

bool origins_may(struct origins *o, uint64_t now_ms, const struct node_id *id,
                 enum origin_kind kind)
{
    struct bucket *b = &o->others;

    if (kind != ORIGIN_OTHERS) {
        struct origin_rate *r = find(o, id);
        if (r == NULL)
            return true;
        b = &r->buckets[kind];
    }
    struct limit limit = limit_of(o, kind);
    bucket_settle(b, now_ms, limit.per_s);
    return bucket_has(b, limit.burst, 1);
}

/* Those that have been quiet go by the way, so the table is as large as the
 * number of authors in a quarter of a minute. */
static void make_room(struct origins *o, uint64_t now_ms)
{
    struct origin_rate *r;

    while ((r = TAILQ_LAST(&o->latest_first, origin_list)) != NULL) {
        bool is_quiet = now_ms - r->at_ms >= ORIGINS_QUIET_MS;
        if (!is_quiet && HASH_COUNT(o->by_id) < o->max)
            return;
        o->stats.dropped += !is_quiet;
        drop(o, r);
    }
}

static struct origin_rate *add(struct origins *o, uint64_t now_ms,
                               const struct node_id *id)
{
    make_room(o, now_ms);
    struct origin_rate *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->id = *id;
    HASH_ADD(hh, o->by_id, id, sizeof r->id, r);
    if (!table_has_taken(&r->hh)) {
        free(r);
        return NULL;
    }
    TAILQ_INSERT_HEAD(&o->latest_first, r, order);
    return r;
}

void origins_take(struct origins *o, uint64_t now_ms, const struct node_id *id,
                  enum origin_kind kind)
{
    struct bucket *b = &o->others;

    if (kind != ORIGIN_OTHERS) {
        struct origin_rate *r = find(o, id);
        if (r == NULL)
            r = add(o, now_ms, id);
        if (r == NULL) {
            o->stats.memory_refused++;
            return;
        }
        r->at_ms = now_ms;
        TAILQ_REMOVE(&o->latest_first, r, order);
        TAILQ_INSERT_HEAD(&o->latest_first, r, order);
        b = &r->buckets[kind];
    }
    struct limit limit = limit_of(o, kind);
    (void)bucket_take(b, now_ms, limit.per_s, limit.burst, 1);
}

uint32_t origins_count(const struct origins *o)
{
    return HASH_COUNT(o->by_id);
}
