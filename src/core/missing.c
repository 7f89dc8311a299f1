#include "core/missing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

unsigned slots_first(const struct slots *s)
{
    for (unsigned i = 0; i < MISSING_SLOTS / 64; i++)
        if (s->words[i] != 0)
            return i * 64 + (unsigned)__builtin_ctzll(s->words[i]);
    return MISSING_SLOTS;
}

bool slots_are_in(const struct slots *a, const struct slots *b)
{
    for (unsigned i = 0; i < MISSING_SLOTS / 64; i++)
        if ((a->words[i] & ~b->words[i]) != 0)
            return false;
    return true;
}

void missing_init(struct missing *t, const struct plumtree_options *options,
                  struct plumtree_stats *stats)
{
    *t = (struct missing){.options = options, .stats = stats};
}

void missing_close(struct missing *t)
{
    while (t->ids != NULL)
        missing_remove(t, t->ids);
}

struct missing_id *missing_find(const struct missing *t,
                                const uint8_t id[CONTENT_ID_SIZE])
{
    struct missing_id *m;

    HASH_FIND(hh, t->ids, id, CONTENT_ID_SIZE, m);
    return m;
}

void missing_remove(struct missing *t, struct missing_id *m)
{
    assert(t->charged[m->first_slot] > 0);
    t->charged[m->first_slot]--;
    HASH_DEL(t->ids, m);
    free(m);
}

#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) (t->out_of_memory = true)

static struct missing_id *missing_add(struct missing *t, uint64_t now_ms,
                                      unsigned slot,
                                      const uint8_t id[CONTENT_ID_SIZE])
{
    if (t->charged[slot] >= t->options->missing_link_max) {
        t->stats->missing_refused++;
        return NULL;
    }

    struct missing_id *m = calloc(1, sizeof *m);
    t->out_of_memory = m == NULL;
    if (m != NULL) {
        memcpy(m->id, id, CONTENT_ID_SIZE);
        m->since_ms = now_ms;
        m->first_slot = (uint8_t)slot;
        HASH_ADD(hh, t->ids, id, CONTENT_ID_SIZE, m);
    }
    if (t->out_of_memory) {
        t->stats->missing_refused++;
        t->stats->memory_refused++;
        free(m);
        return NULL;
    }
    t->charged[slot]++;
    if (HASH_COUNT(t->ids) > t->options->missing_max) {
        t->stats->missing_dropped++;
        missing_remove(t, t->ids);
    }
    return m;
}

struct missing_id *missing_announce(struct missing *t, uint64_t now_ms,
                                    unsigned slot,
                                    const uint8_t id[CONTENT_ID_SIZE],
                                    uint64_t due_ms)
{
    struct missing_id *m = missing_find(t, id);

    assert(slot < MISSING_SLOTS);
    if (m == NULL) {
        m = missing_add(t, now_ms, slot, id);
        if (m == NULL)
            return NULL;
        m->due_ms = due_ms;
    }
    slots_add(&m->announced, slot);
    return m;
}

/* The id counts from now on against another of its announcers. */
static void charge_another(struct missing *t, struct missing_id *m)
{
    t->charged[m->first_slot]--;
    m->first_slot = (uint8_t)slots_first(&m->announced);
    t->charged[m->first_slot]++;
}

void missing_clear_slot(struct missing *t, unsigned slot)
{
    struct missing_id *m, *next;

    HASH_ITER(hh, t->ids, m, next)
    {
        slots_remove(&m->announced, slot);
        slots_remove(&m->asked, slot);
        if (slots_first(&m->announced) == MISSING_SLOTS) {
            missing_remove(t, m);
            continue;
        }
        if (m->first_slot == slot)
            charge_another(t, m);
    }
    assert(t->charged[slot] == 0);
}

uint32_t missing_count(const struct missing *t)
{
    return HASH_COUNT(t->ids);
}
