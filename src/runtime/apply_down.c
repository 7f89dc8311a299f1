/* apply_down.c - what the daemon hands to workers: values and flushes to those
 * that have writers, notifications to all, each but to where it came from.
 *
 * A worker knows the stock types alone. What else the daemon has it is told
 * once, before the first value of that type (PAIR_SET); who comes later gets
 * them all at its switch. */
#include <stdlib.h>
#include <string.h>

#include "runtime/apply_impl.h"
#include "wire/pair.h"

/** Types that are remembered; as many as the bridge tells apart. */
#define DOWN_SETS_MAX 4096

struct down_set {
    struct down_set *next;
    size_t size;
    uint8_t message[];
};

static bool is_remembered(const struct apply *a, const uint8_t *message,
                          size_t size)
{
    for (const struct down_set *s = a->sets; s != NULL; s = s->next)
        if (s->size == size && memcmp(s->message, message, size) == 0)
            return true;
    return false;
}

/* @return false: known already, or there is no room. */
static bool remember(struct apply *a, const uint8_t *message, size_t size)
{
    if (is_remembered(a, message, size))
        return false;
    struct down_set *set =
        a->sets_count < DOWN_SETS_MAX ? malloc(sizeof *set + size) : NULL;
    if (set == NULL) {
        a->stats.sets_refused++;
        return false;
    }
    set->size = size;
    memcpy(set->message, message, size);
    set->next = a->sets;
    a->sets = set;
    a->sets_count++;
    return true;
}

void down_begin(struct apply *a, struct run *r)
{
    if (!r->has_writers)
        return;
    for (const struct down_set *s = a->sets; s != NULL; s = s->next)
        (void)worker_send(r->worker, s->message, s->size);
}

void down_close(struct apply *a)
{
    while (a->sets != NULL) {
        struct down_set *s = a->sets;
        a->sets = s->next;
        free(s);
    }
}

/* What is notified need not write: a mail plugin alone in a bundle. */
static bool wants(const struct run *r, enum pair_type type)
{
    return r != NULL && (r->has_writers || type == PAIR_NOTIFICATION);
}

void apply_down(struct apply *a, uint32_t except, const uint8_t *message,
                size_t size)
{
    struct pair_message m;

    if (pair_next(message, size, &m) <= 0 ||
        (m.type == PAIR_SET && !remember(a, message, size)))
        return;
    for (uint32_t i = 0; i < a->subjects_count; i++) {
        struct run *r = run_current(a->subjects[i]);
        if (wants(r, m.type) && r->number != except)
            (void)worker_send(r->worker, message, size);
    }
}
