/* timeline_cause.c - what came before what. See timeline.h and
 * argus-protocol(7), EVENTS.
 *
 * A path leads from an event to each of its parents, and to the one before of
 * its origin: so nobody names an event that a later one of the same origin, or
 * one that named it, stands for. */
#include <string.h>

#include "core/timeline_impl.h"

/* ---------------------------------------------------------------- heads */

static void heads_remove(struct heads *h, uint32_t at)
{
    h->count--;
    memmove(&h->at[at], &h->at[at + 1], (h->count - at) * sizeof h->at[0]);
}

/* A parent that comes later than its child was named before it was there. */
static bool was_named(const struct heads *h, uint64_t key)
{
    for (uint32_t i = 0; i < HEADS_MAX; i++)
        if (h->named[i] == key)
            return true;
    return false;
}

static void name_parents(struct timeline *t, const struct entry *e)
{
    struct heads *h = &t->heads;

    for (uint32_t k = 0; k < e->parents_count; k++) {
        for (uint32_t i = h->count; i-- > 0;)
            if (h->at[i].key == e->parents[k])
                heads_remove(h, i);
        if (timeline_entry(t, e->parents[k]) == NULL)
            h->named[h->named_next++ % HEADS_MAX] = e->parents[k];
    }
}

static bool is_before(const struct head *a, const struct entry *e)
{
    return a->generation < e->generation ||
           (a->generation == e->generation && a->number < e->number);
}

void heads_on_event(struct timeline *t, const struct entry *e)
{
    struct heads *h = &t->heads;

    name_parents(t, e);
    for (uint32_t i = h->count; i-- > 0;) {
        if (!node_id_is_equal(&h->at[i].origin, &e->origin->id))
            continue;
        if (!is_before(&h->at[i], e))
            return; /* a later one of its origin stands for it */
        heads_remove(h, i);
    }
    if (was_named(h, e->key))
        return;
    if (h->count == HEADS_MAX)
        heads_remove(h, 0);
    h->at[h->count++] = (struct head){.key = e->key,
                                      .origin = e->origin->id,
                                      .generation = e->generation,
                                      .number = e->number};
}

/* The latest ones: an answer follows soon. Those left over stay heads, and are
 * named by later events. */
pb_size_t heads_name(const struct timeline *t,
                     uint64_t parents[TIMELINE_PARENTS_MAX])
{
    const struct heads *h = &t->heads;
    pb_size_t count = 0;

    for (uint32_t i = h->count; i-- > 0 && count < TIMELINE_PARENTS_MAX;)
        if (!node_id_is_equal(&h->at[i].origin, &t->options.self))
            parents[count++] = h->at[i].key;
    return count;
}

/* ---------------------------------------------------------------- paths */

/* Events still to be looked at, and all that ever were, by a small hash. */
struct search {
    const struct entry *list[TIMELINE_SEARCH_MAX];
    uint32_t count, next;
    const struct entry *seen[4 * TIMELINE_SEARCH_MAX];
    bool is_cut; /* there was more than that */
};

static void look_at(struct search *s, const struct entry *e)
{
    const uint32_t mask = 4 * TIMELINE_SEARCH_MAX - 1;
    uint32_t i = (uint32_t)(e->key >> 17) & mask;

    for (; s->seen[i] != NULL; i = (i + 1) & mask)
        if (s->seen[i] == e)
            return;
    if (s->count == TIMELINE_SEARCH_MAX) {
        s->is_cut = true;
        return;
    }
    s->seen[i] = e;
    s->list[s->count++] = e;
}

static const struct entry *one_before(const struct entry *e)
{
    const struct row *r = &e->origin->events;
    uint32_t place = row_find(r, e);

    return place > 0 ? row_at(r, place - 1) : NULL;
}

/* Of the target's origin: at or behind it, or there is no way on to it. */
static bool is_behind(const struct entry *e, const struct entry *target)
{
    return e->generation > target->generation ||
           (e->generation == target->generation && e->number >= target->number);
}

/* Does a path lead from e back to the target? *is_cut: perhaps. */
static bool reaches(const struct timeline *t, const struct entry *e,
                    const struct entry *target, bool *is_cut)
{
    struct search s;

    memset(&s, 0, sizeof s);
    look_at(&s, e);
    while (s.next < s.count) {
        const struct entry *at = s.list[s.next++];
        if (at->origin == target->origin) {
            if (is_behind(at, target))
                return true;
            continue;
        }
        for (uint32_t i = 0; i < at->parents_count; i++) {
            const struct entry *parent = timeline_entry(t, at->parents[i]);
            if (parent != NULL)
                look_at(&s, parent);
        }
        const struct entry *before = one_before(at);
        if (before != NULL)
            look_at(&s, before);
    }
    *is_cut |= s.is_cut;
    return false;
}

/* ------------------------------------------------------------ concurrent */

static bool is_near(const struct entry *a, const struct entry *b)
{
    uint64_t a_ms = a->hlc >> 16, b_ms = b->hlc >> 16;
    uint64_t apart_ms = a_ms > b_ms ? a_ms - b_ms : b_ms - a_ms;

    return a->epoch == b->epoch &&
           apart_ms <
               ((uint64_t)a->uncertainty_us + b->uncertainty_us + 999) / 1000;
}

static bool is_concurrent(const struct timeline *t, const struct entry *a,
                          const struct entry *b)
{
    bool is_cut = false;

    return a->origin != b->origin && is_near(a, b) &&
           !reaches(t, a, b, &is_cut) && !reaches(t, b, a, &is_cut) && !is_cut;
}

void timeline_order(const struct timeline *t, uint32_t index,
                    argus_EventReply *out)
{
    if (index >= t->events.count)
        return;
    const struct entry *e = row_at(&t->events, index);

    out->uncertainty_s = e->uncertainty_us / 1e6;
    out->concurrent = false;
    for (uint32_t k = 1; k <= TIMELINE_NEAR_MAX && !out->concurrent; k++)
        out->concurrent =
            (index >= k &&
             is_concurrent(t, e, row_at(&t->events, index - k))) ||
            (index + k < t->events.count &&
             is_concurrent(t, e, row_at(&t->events, index + k)));
}
