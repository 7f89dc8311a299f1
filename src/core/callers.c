#include "core/callers.h"

#include <stdlib.h>

#include "base/text.h"

void callers_close(struct callers *c)
{
    free(c->list);
    *c = (struct callers){0};
}

void callers_drop(struct callers *c, struct caller *caller)
{
    *caller = c->list[--c->count];
}

static void forget_old(struct callers *c, uint64_t now_ms)
{
    for (uint32_t i = c->count; i-- > 0;)
        if (c->list[i].was_dialed && c->list[i].due_ms <= now_ms)
            callers_drop(c, &c->list[i]);
}

static uint32_t wait_ms(uint32_t online)
{
    if (online >= CALLERS_WAIT_MAX_MS / CALLERS_SPREAD_MS)
        return CALLERS_WAIT_MAX_MS;
    uint32_t wait = online * CALLERS_SPREAD_MS;
    return wait > CALLERS_WAIT_MIN_MS ? wait : CALLERS_WAIT_MIN_MS;
}

enum callers_verdict callers_add(struct callers *c, uint64_t now_ms,
                                 const struct node_id *id, const char *address,
                                 uint32_t online, struct prng *prng)
{
    forget_old(c, now_ms);
    for (uint32_t i = 0; i < c->count; i++)
        if (node_id_is_equal(&c->list[i].id, id))
            return CALLERS_KNOWN;
    if (c->list == NULL)
        c->list = calloc(CALLERS_MAX, sizeof *c->list);
    if (c->list == NULL || c->count == CALLERS_MAX)
        return CALLERS_FULL;
    struct caller *caller = &c->list[c->count++];
    *caller = (struct caller){
        .id = *id, .due_ms = now_ms + prng_below(prng, wait_ms(online)) + 1};
    text_copy(caller->address, sizeof caller->address, address);
    return CALLERS_KEPT;
}

static struct caller *first_due(const struct callers *c)
{
    struct caller *best = NULL;

    for (uint32_t i = 0; i < c->count; i++)
        if (!c->list[i].was_dialed &&
            (best == NULL || c->list[i].due_ms < best->due_ms))
            best = &c->list[i];
    return best;
}

static struct caller *lowest(const struct callers *c)
{
    struct caller *best = NULL;

    for (uint32_t i = 0; i < c->count; i++)
        if (!c->list[i].was_dialed &&
            (best == NULL || node_id_compare(&c->list[i].id, &best->id) < 0))
            best = &c->list[i];
    return best;
}

struct caller *callers_next(struct callers *c, uint64_t now_ms, bool alone)
{
    struct caller *due = first_due(c);

    if (due == NULL || due->due_ms > now_ms || now_ms < c->next_ms)
        return NULL;
    return alone ? lowest(c) : due;
}

void callers_dialed(struct callers *c, struct caller *caller, uint64_t now_ms,
                    struct prng *prng)
{
    caller->was_dialed = true;
    caller->due_ms = now_ms + CALLERS_AGAIN_MS;
    c->next_ms = now_ms + prng_jitter(prng, CALLERS_GAP_MS);
}

uint64_t callers_deadline_ms(const struct callers *c)
{
    const struct caller *due = first_due(c);

    if (due == NULL)
        return UINT64_MAX;
    return due->due_ms > c->next_ms ? due->due_ms : c->next_ms;
}
