/* timeline_range.c - sums over ranges of events. See timeline.h.
 *
 * Each event has the sum of all keys up to it, so that a range is one
 * subtraction. The sums are made when they are asked for, from the first event
 * that has none; what enters or goes in the middle unmakes those behind it, and
 * since most events enter at the end, few are made twice.
 *
 * In view are the events that a node with a smaller retain_events would keep;
 * which these are is found anew when something has changed. */
#include <stdlib.h>

#include "core/timeline_impl.h"

void view_on_inserted(struct timeline *t, uint32_t place)
{
    struct view *v = &t->view;

    v->is_stale = true;
    if (v->valid > place)
        v->valid = place;
}

void view_on_removed(struct timeline *t, uint32_t place, const struct entry *e)
{
    struct view *v = &t->view;

    v->is_stale = true;
    if (place >= v->valid)
        return;
    if (place > 0) {
        v->valid = place;
        return;
    }
    v->base_sum = e->sum;
    v->base_rank = e->rank;
    v->valid--;
}

/* --------------------------------------------------------------- in view */

static uint64_t capped(const struct timeline *t, uint32_t level)
{
    const struct origin *o, *next;
    uint64_t sum = 0;

    HASH_ITER(hh, t->origins, o, next)
    {
        sum += o->events.count < level ? o->events.count : level;
    }
    return sum;
}

/* Of each origin the newest `level`, and of those at the level the newest
 * `rest`; or, where even the shares are too many, the newest `rest` of them. */
struct cut {
    uint32_t level, rest;
};

static struct cut cut_of(const struct timeline *t, uint32_t retain)
{
    uint32_t share = retain / TIMELINE_SHARE, low = share, high = retain;

    if (capped(t, share) >= retain)
        return (struct cut){share, retain};
    while (low < high) { /* the highest level that fits */
        uint32_t middle = low + (high - low + 1) / 2;
        if (capped(t, middle) <= retain)
            low = middle;
        else
            high = middle - 1;
    }
    return (struct cut){low, retain - (uint32_t)capped(t, low)};
}

static void mark_view(struct timeline *t, uint32_t retain)
{
    struct cut cut = cut_of(t, retain);
    bool is_by_share = capped(t, cut.level) >= retain;
    struct origin *o, *next;

    HASH_ITER(hh, t->origins, o, next)
    {
        o->ranked = 0;
    }
    for (uint32_t i = t->events.count; i-- > 0;) {
        struct entry *e = row_at(&t->events, i);
        uint32_t rank = e->origin->ranked++;
        bool needs_rest = is_by_share ? rank < cut.level : rank == cut.level;
        e->is_in_view = !is_by_share && rank < cut.level;
        if (needs_rest && cut.rest > 0) {
            e->is_in_view = true;
            cut.rest--;
        }
    }
}

static void choose_view(struct timeline *t, uint32_t retain)
{
    struct view *v = &t->view;

    if (retain >= t->options.retain_events)
        retain = 0;
    if (retain == v->retain && (retain == 0 || !v->is_stale))
        return;
    if (retain != 0)
        mark_view(t, retain);
    *v = (struct view){.retain = retain};
}

/* ------------------------------------------------------------------ sums */

static void make_sums(struct timeline *t, uint32_t to)
{
    struct view *v = &t->view;
    uint64_t sum = v->base_sum;
    uint32_t rank = v->base_rank;

    if (v->valid > 0) {
        sum = row_at(&t->events, v->valid - 1)->sum;
        rank = row_at(&t->events, v->valid - 1)->rank;
    }
    for (; v->valid < to; v->valid++) {
        struct entry *e = row_at(&t->events, v->valid);
        if (v->retain == 0 || e->is_in_view) {
            sum += e->key;
            rank++;
        }
        e->sum = sum;
        e->rank = rank;
    }
}

static struct timeline_sum sum_before(const struct timeline *t, uint32_t index)
{
    if (index == 0)
        return (struct timeline_sum){t->view.base_rank, t->view.base_sum};
    const struct entry *e = row_at(&t->events, index - 1);
    return (struct timeline_sum){e->rank, e->sum};
}

struct timeline_sum timeline_sum(struct timeline *t, uint32_t retain,
                                 uint32_t from, uint32_t to)
{
    choose_view(t, retain);
    if (to > t->events.count)
        to = t->events.count;
    if (from >= to)
        return (struct timeline_sum){0, 0};
    make_sums(t, to);
    struct timeline_sum a = sum_before(t, from), b = sum_before(t, to);
    return (struct timeline_sum){b.count - a.count, b.keys - a.keys};
}

bool timeline_key(const struct timeline *t, uint32_t index, uint64_t *key)
{
    if (index >= t->events.count)
        return false;
    const struct entry *e = row_at(&t->events, index);
    *key = e->key;
    return t->view.retain == 0 || e->is_in_view;
}

/* Where an origin is over its share, an older event of another may push out one
 * of it. */
void timeline_floor(const struct timeline *t, struct timeline_place *out)
{
    *out = (struct timeline_place){0};
    if (t->events.count >= t->options.retain_events && t->loud_count == 0)
        (void)timeline_place(t, 0, out);
}
