/* sim_time.c - what happens when. See sim.h.
 *
 * Happenings wait in a wheel of three rounds: a quarter of a millisecond, a
 * second and 71 minutes a slot, 4096 slots each. What is in the slot at hand is
 * sorted by time, and then by the order in which it was scheduled; what comes
 * later for the same slot is a heap. So most are put in and taken out in
 * constant time, whatever waits, and it is known what comes next: see
 * look_ahead(). */
#include "sim/sim_impl.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 3
#define SLOT_BITS 12
#define SLOTS (1u << SLOT_BITS)
#define TICK_BITS 8 /* 256 us */

/** Happenings at one and the same microsecond that mean an endless loop. */
#define STANDSTILL_MAX 2000000

/** Taken from the system at once. */
#define BLOCK 512

struct round {
    struct happening *slots[SLOTS];
    uint64_t used[SLOTS / 64]; /* a bit for each slot */
    uint64_t used_words;       /* a bit for each word of that */
};

struct due {
    uint64_t at_us, sequence;
    struct happening *h;
};

struct block {
    struct block *next;
    struct happening happenings[BLOCK];
};

struct wheel {
    struct round rounds[ROUNDS];
    uint64_t tick;    /* what is due up to and with this one is in these two */
    struct due *line; /* in order */
    uint32_t line_next, line_count, line_room;
    struct due *heap;
    uint32_t heap_count, heap_room;
    struct happening *free;
    struct block *blocks;
};

struct wheel *wheel_new(void)
{
    return sim_alloc(sizeof(struct wheel));
}

/* ------------------------------------------------------- the slot at hand */

/* Room for one more. */
static struct due *due_room(struct due *array, uint32_t *room, uint32_t count)
{
    if (count < *room)
        return array;
    *room = *room == 0 ? 64 : 2 * *room;
    array = realloc(array, *room * sizeof *array);
    if (array == NULL)
        abort();
    return array;
}

static bool is_before(const struct due *a, const struct due *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us
                                : a->sequence < b->sequence;
}

static struct due due_of(struct happening *h)
{
    return (struct due){.at_us = h->at_us, .sequence = h->sequence, .h = h};
}

static void heap_push(struct wheel *w, struct happening *h)
{
    struct due d = due_of(h);

    w->heap = due_room(w->heap, &w->heap_room, w->heap_count);
    uint32_t i = w->heap_count++;
    while (i > 0 && is_before(&d, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = d;
}

static struct happening *heap_pop(struct wheel *w)
{
    struct happening *top = w->heap[0].h;
    struct due last = w->heap[--w->heap_count];
    uint32_t i = 0, child;

    while ((child = 2 * i + 1) < w->heap_count) {
        if (child + 1 < w->heap_count &&
            is_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!is_before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    if (w->heap_count > 0)
        w->heap[i] = last;
    return top;
}

static int by_time(const void *a, const void *b)
{
    return is_before(a, b) ? -1 : 1;
}

/* A whole slot; the line is used up. */
static void line_fill(struct wheel *w, struct happening *h)
{
    w->line_next = w->line_count = 0;
    for (; h != NULL; h = h->next) {
        w->line = due_room(w->line, &w->line_room, w->line_count);
        w->line[w->line_count++] = due_of(h);
    }
    if (w->line_count > 1)
        qsort(w->line, w->line_count, sizeof *w->line, by_time);
}

static bool line_is_first(const struct wheel *w)
{
    return w->line_next < w->line_count &&
           (w->heap_count == 0 ||
            is_before(&w->line[w->line_next], &w->heap[0]));
}

/* What comes first; there is something. */
static uint64_t first_us(const struct wheel *w)
{
    return line_is_first(w) ? w->line[w->line_next].at_us : w->heap[0].at_us;
}

static struct happening *take_first(struct wheel *w)
{
    return line_is_first(w) ? w->line[w->line_next++].h : heap_pop(w);
}

/* ----------------------------------------------------------------- wheel */

static void slot_add(struct round *r, uint32_t slot, struct happening *h)
{
    h->next = r->slots[slot];
    r->slots[slot] = h;
    r->used[slot / 64] |= UINT64_C(1) << slot % 64;
    r->used_words |= UINT64_C(1) << slot / 64;
}

static struct happening *slot_take(struct round *r, uint32_t slot)
{
    struct happening *list = r->slots[slot];

    r->slots[slot] = NULL;
    r->used[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    if (r->used[slot / 64] == 0)
        r->used_words &= ~(UINT64_C(1) << slot / 64);
    return list;
}

/* The first used slot at `from` or behind it. @return SLOTS: none. */
static uint32_t slot_next(const struct round *r, uint32_t from)
{
    if (from >= SLOTS)
        return SLOTS;
    uint32_t word = from / 64;
    uint64_t bits = r->used[word] & UINT64_MAX << from % 64;
    if (bits != 0)
        return word * 64 + (uint32_t)__builtin_ctzll(bits);
    if (word + 1 == SLOTS / 64)
        return SLOTS;
    uint64_t words = r->used_words & UINT64_MAX << (word + 1);
    if (words == 0)
        return SLOTS;
    word = (uint32_t)__builtin_ctzll(words);
    return word * 64 + (uint32_t)__builtin_ctzll(r->used[word]);
}

/* A round holds what falls into the slot at hand of the round above. */
static void put(struct wheel *w, struct happening *h)
{
    uint64_t tick = h->at_us >> TICK_BITS;

    if (tick <= w->tick) {
        heap_push(w, h);
        return;
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t shift = i * SLOT_BITS;
        if (tick >> (shift + SLOT_BITS) == w->tick >> (shift + SLOT_BITS)) {
            slot_add(&w->rounds[i], (uint32_t)(tick >> shift) & (SLOTS - 1), h);
            return;
        }
    }
    abort(); /* beyond half a year */
}

/* Spread the next slot of a round over those below. @return false: none. */
static bool turn(struct wheel *w, uint32_t round)
{
    struct round *r = &w->rounds[round];
    uint32_t shift = round * SLOT_BITS;
    uint64_t at = w->tick >> shift;
    uint32_t slot = slot_next(r, ((uint32_t)at & (SLOTS - 1)) + 1);

    if (slot == SLOTS)
        return false;
    at = (at & ~(uint64_t)(SLOTS - 1)) | slot;
    /* Round 0: its ticks are due. Else just before the first tick of that slot,
     * but of the same slot above, so that all of it falls below. */
    w->tick = at << shift;
    struct happening *h = slot_take(r, slot), *next;
    if (round == 0) {
        line_fill(w, h);
        return true;
    }
    for (; h != NULL; h = next) {
        next = h->next;
        put(w, h);
    }
    return true;
}

/* @return false: nothing waits. Else first_us() says when that comes. */
static bool wheel_look(struct wheel *w)
{
    while (w->heap_count == 0 && w->line_next == w->line_count)
        if (!turn(w, 0) && !turn(w, 1) && !turn(w, 2))
            return false;
    return true;
}

/* --------------------------------------------------------- happenings */

static struct happening *take_free(struct wheel *w)
{
    struct happening *h = w->free;

    if (h == NULL) {
        struct block *b = sim_alloc(sizeof *b);
        b->next = w->blocks;
        w->blocks = b;
        for (uint32_t i = 0; i < BLOCK; i++) {
            b->happenings[i].next = h;
            h = &b->happenings[i];
        }
    }
    w->free = h->next;
    return h;
}

struct happening *sim_schedule(struct sim *s, uint64_t at_us, enum what what,
                               uint32_t node)
{
    return sim_schedule_in(s, at_us, what, node,
                           what == WHAT_START ? SIM_NOBODY
                                              : s->nodes[node]->life);
}

struct happening *sim_schedule_in(struct sim *s, uint64_t at_us, enum what what,
                                  uint32_t node, uint32_t life)
{
    struct happening *h = take_free(s->wheel);

    *h = (struct happening){.at_us = at_us,
                            .sequence = ++s->sequence,
                            .what = (uint8_t)what,
                            .node = node,
                            .life = life};
    s->starts_pending += what == WHAT_START;
    put(s->wheel, h);
    return h;
}

void sim_schedule_again(struct sim *s, struct happening *h, uint64_t at_us)
{
    h->at_us = at_us; /* its place in the order stays */
    put(s->wheel, h);
}

void sim_drop(struct sim *s, struct happening *h)
{
    if (what_is_packet(h->what))
        simnet_release(s, h->cable);
    if (h->what == WHAT_CONNECT || h->what == WHAT_DIAL_END ||
        h->what == WHAT_UP)
        simnet_forget_dialing(h->dialing);
    if (h->what == WHAT_FRAME)
        frame_free(s, h);
    h->next = s->wheel->free;
    s->wheel->free = h;
}

void wheel_free(struct sim *s)
{
    struct wheel *w = s->wheel;

    while (wheel_look(w))
        sim_drop(s, take_first(w));
    while (w->blocks != NULL) {
        struct block *b = w->blocks;
        w->blocks = b->next;
        free(b);
    }
    free(w->line);
    free(w->heap);
    free(w);
}

/* --------------------------------------------------------------- running */

/* A frozen process takes nothing; its kernel keeps all for it. */
static bool is_frozen(const struct sim *s, const struct sim_node *n,
                      const struct happening *h)
{
    return s->now_us < n->frozen_until_us && h->what != WHAT_START &&
           node_is_up(n);
}

static void wait_for_thaw(struct sim *s, struct sim_node *n,
                          struct happening *h)
{
    if (h->what == WHAT_TIMER && n->timer_us == h->at_us) {
        n->timer_us = n->frozen_until_us;
        n->later_us = UINT64_MAX; /* that one comes then too, for nothing */
    }
    sim_schedule_again(s, h, n->frozen_until_us);
}

/* With thousands of nodes, what a happening needs is not in the cache, and one
 * place says where the next is. So those that are to come are asked for in
 * stages, each so many happenings ahead: several are on their way at a time. */
#define AHEAD 12

static void ask_for_node(const struct sim *s, const struct happening *h)
{
    const char *n = (const char *)s->nodes[h->node];

    for (size_t line = 0; line < 3; line++)
        __builtin_prefetch(n + 64 * line);
    if (what_is_packet(h->what)) {
        __builtin_prefetch(h->cable);
        __builtin_prefetch((const char *)h->cable + 64);
    }
    if (h->what == WHAT_FRAME)
        __builtin_prefetch(h->bytes);
}

static void look_ahead(const struct sim *s)
{
    const struct wheel *w = s->wheel;

    for (uint32_t stage = 0; stage < 4; stage++) {
        uint32_t at = w->line_next + AHEAD - stage * AHEAD / 4;
        if (at >= w->line_count)
            continue;
        const struct happening *h = w->line[at].h;
        if (stage == 0)
            ask_for_node(s, h);
        else if (s->nodes[h->node]->light != NULL)
            overlay_prefetch(s->nodes[h->node]->light, stage);
    }
}

static void advance(struct sim *s)
{
    struct happening *h = take_first(s->wheel);
    struct sim_node *n = s->nodes[h->node];

    s->now_us = h->at_us;
    s->events++;
    if (h->life != SIM_NOBODY && h->life != n->life) {
        sim_drop(s, h);
        return;
    }
    if (s->is_parted && what_is_packet(h->what) &&
        faults_is_parted(s, simnet_peer_of(h), h->node)) {
        faults_hold_back(s, h);
        return;
    }
    if (is_frozen(s, n, h)) {
        wait_for_thaw(s, n, h);
        return;
    }
    look_ahead(s);
    sim_on_happening(s, n, h);
    sim_drop(s, h);
}

/* What is to be done at its time beside all happenings. */
static void keep_house(struct sim *s, uint64_t next_us)
{
    while (!s->is_failed && s->flap_at_us <= next_us) {
        s->now_us = s->flap_at_us;
        faults_flap(s);
    }
    while (!s->is_failed && s->check_at_us <= next_us) {
        s->now_us = s->check_at_us;
        check_mesh(s);
    }
}

bool sim_run_until(struct sim *s, bool (*predicate)(struct sim *s), uint32_t ms)
{
    const uint64_t pause_us = 20000; /* a predicate walks all nodes */
    struct wheel *w = s->wheel;
    uint64_t end_us = s->now_us + (uint64_t)ms * 1000;
    uint64_t look_us = s->now_us;
    uint32_t standstill = 0;

    while (!s->is_failed) {
        bool is_over = !wheel_look(w) || first_us(w) > end_us;
        uint64_t next_us = is_over ? end_us : first_us(w);
        uint64_t before_us = s->now_us;
        if (s->flap_at_us <= next_us || s->check_at_us <= next_us) {
            keep_house(s, next_us);
            continue; /* packets that were held back may come first now */
        }
        if (is_over || next_us >= look_us) {
            look_us = next_us + pause_us;
            if (is_over)
                s->now_us = end_us;
            if (predicate != NULL && predicate(s))
                return !s->is_failed;
            if (is_over)
                return false;
        }
        advance(s);
        standstill = s->now_us == before_us ? standstill + 1 : 0;
        if (standstill > STANDSTILL_MAX)
            sim_fail(s, "time stands still");
    }
    return false;
}

void sim_run(struct sim *s, uint32_t ms)
{
    (void)sim_run_until(s, NULL, ms);
}
