#include "core/table.h"

#include "core/quarantine.h"

#include <stdlib.h>

#include "base/text.h"

void quarantine_init(struct quarantine *q, const struct node_id *self)
{
    *q = (struct quarantine){.self = *self};
    TAILQ_INIT(&q->newest_first);
}

static struct quarantined *find(const struct quarantine *q,
                                const struct node_id *id)
{
    struct quarantined *e;

    HASH_FIND(hh, q->by_id, id, sizeof *id, e);
    return e;
}

static void drop(struct quarantine *q, struct quarantined *e)
{
    q->count -= !e->is_over;
    HASH_DEL(q->by_id, e);
    TAILQ_REMOVE(&q->newest_first, e, order);
    free(e);
}

void quarantine_close(struct quarantine *q)
{
    struct quarantined *e;

    while ((e = TAILQ_FIRST(&q->newest_first)) != NULL)
        drop(q, e);
}

static void make_room(struct quarantine *q)
{
    struct quarantined *e;

    if (HASH_COUNT(q->by_id) < QUARANTINE_NODES_MAX)
        return;
    TAILQ_FOREACH_REVERSE(e, &q->newest_first, quarantined_list, order)
    {
        if (e->is_over) {
            drop(q, e);
            return;
        }
    }
    q->stats.dropped++;
    drop(q, TAILQ_LAST(&q->newest_first, quarantined_list));
}

static struct quarantined *add(struct quarantine *q, const struct node_id *id)
{
    struct quarantined *e = calloc(1, sizeof *e);

    if (e == NULL)
        return NULL;
    e->id = *id;
    e->is_over = true;
    HASH_ADD(hh, q->by_id, id, sizeof e->id, e);
    if (!table_has_taken(&e->hh)) {
        free(e);
        return NULL;
    }
    TAILQ_INSERT_HEAD(&q->newest_first, e, order);
    return e;
}

static uint64_t span_ms(uint32_t times)
{
    uint64_t span = QUARANTINE_MS;

    while (--times > 0 && span < QUARANTINE_MAX_MS)
        span *= 2;
    return span < QUARANTINE_MAX_MS ? span : QUARANTINE_MAX_MS;
}

const struct quarantined *quarantine_put(struct quarantine *q, uint64_t now_ms,
                                         uint64_t wall_us,
                                         const struct node_id *id,
                                         const char *name, const char *reason)
{
    struct quarantined *e = find(q, id);

    if (node_id_is_equal(id, &q->self) || (e != NULL && !e->is_over))
        return NULL;
    if (e == NULL) {
        make_room(q);
        e = add(q, id);
    }
    if (e == NULL) {
        q->stats.memory_refused++;
        return NULL;
    }
    TAILQ_REMOVE(&q->newest_first, e, order);
    TAILQ_INSERT_HEAD(&q->newest_first, e, order);
    text_copy(e->name, sizeof e->name, name);
    text_copy(e->reason, sizeof e->reason, reason);
    e->times++;
    e->is_over = false;
    e->since_ms = now_ms;
    e->since_us = wall_us;
    e->until_ms = now_ms + span_ms(e->times);
    e->until_us = wall_us + span_ms(e->times) * 1000;
    q->count++;
    q->stats.begun++;
    return e;
}

const struct quarantined *quarantine_find(const struct quarantine *q,
                                          const struct node_id *id)
{
    if (q->count == 0)
        return NULL;
    const struct quarantined *e = find(q, id);
    return e != NULL && !e->is_over ? e : NULL;
}

const struct quarantined *quarantine_expire(struct quarantine *q,
                                            uint64_t now_ms)
{
    struct quarantined *e, *next;

    for (e = TAILQ_FIRST(&q->newest_first); e != NULL; e = next) {
        next = TAILQ_NEXT(e, order);
        if (!e->is_over && e->until_ms <= now_ms) {
            e->is_over = true;
            q->count--;
            return e;
        }
        if (e->is_over && e->until_ms + QUARANTINE_MAX_MS <= now_ms)
            drop(q, e);
    }
    return NULL;
}

/* What is only remembered has no deadline: it goes when there is another. */
uint64_t quarantine_deadline_ms(const struct quarantine *q)
{
    const struct quarantined *e;
    uint64_t deadline = UINT64_MAX;

    if (q->count == 0)
        return deadline;
    TAILQ_FOREACH(e, &q->newest_first, order)
    {
        if (!e->is_over && e->until_ms < deadline)
            deadline = e->until_ms;
    }
    return deadline;
}

const struct quarantined *quarantine_at(const struct quarantine *q,
                                        uint32_t index)
{
    const struct quarantined *e;

    TAILQ_FOREACH(e, &q->newest_first, order)
    {
        if (!e->is_over && index-- == 0)
            return e;
    }
    return NULL;
}
