/* sim_time.c - what happens when. See sim.h.
 *
 * Happenings wait in a wheel of four rounds: 16 us, 66 ms, 4.5 minutes and 13
 * days a slot, 4096 slots each. What is in the slots at hand
 * is a line, sorted by time, and then by the order in which it was scheduled;
 * what comes later for the same slots is a heap. So most are put in and taken
 * out in constant time, whatever waits, and it is known what comes next: see
 * look_ahead(). What waits is sorted and spread without a look at it. */
#include "sim/sim_impl.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 4
#define SLOT_BITS 12
#define SLOTS (1u << SLOT_BITS)
#define TICK_BITS 4 /* 16 us */

/** Happenings at one and the same microsecond that mean an endless loop. */
#define STANDSTILL_MAX 2000000

/** Taken from the system at once. */
#define BLOCK 512

/** The line is kept longer than that while there is something for so many
 *  ticks to come. */
#define LINE_MIN 64
#define LINE_TICKS 256

/** What is taken out of the line stays there until it is so much. */
#define LINE_PAST 1024

/** Of a slot; four cache lines. */
#define BUNCH 10

struct due {
    uint64_t at_us, sequence;
    struct happening *h;
};

struct bunch {
    struct bunch *next;
    uint32_t count;
    struct due dues[BUNCH];
};

struct round {
    struct bunch *slots[SLOTS];
    uint64_t used[SLOTS / 64]; /* a bit for each slot */
    uint64_t used_words;       /* a bit for each word of that */
};

/* Each in a cache line of its own. */
struct block {
    struct happening happenings[BLOCK];
    struct block *next;
};
_Static_assert(sizeof(struct happening) == 64, "");

struct wheel {
    struct round rounds[ROUNDS];
    uint64_t tick;    /* what is due up to and with this one is in these two */
    struct due *line; /* in order */
    uint32_t line_next, line_count, line_room;
    struct due *heap;
    uint32_t heap_count, heap_room;
    struct happening *free;
    struct block *blocks;
    struct bunch *bunches; /* free ones */
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

static void heap_push(struct wheel *w, const struct due *d)
{
    w->heap = due_room(w->heap, &w->heap_room, w->heap_count);
    uint32_t i = w->heap_count++;
    while (i > 0 && is_before(d, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = *d;
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

static void sort_few(struct due *d, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct due one = d[i];
        uint32_t k = i;
        for (; k > 0 && is_before(&one, &d[k - 1]); k--)
            d[k] = d[k - 1];
        d[k] = one;
    }
}

static void give_back(struct wheel *w, struct bunch *b)
{
    b->next = w->bunches;
    w->bunches = b;
}

/* A whole slot, which comes after what is in the line. */
static void line_add(struct wheel *w, struct bunch *b)
{
    struct bunch *next;

    if (w->line_next >= LINE_PAST) {
        w->line_count -= w->line_next;
        if (w->line_count > 0)
            memmove(w->line, w->line + w->line_next,
                    w->line_count * sizeof *w->line);
        w->line_next = 0;
    }
    uint32_t first = w->line_count;
    for (; b != NULL; b = next) {
        for (uint32_t i = 0; i < b->count; i++) {
            w->line = due_room(w->line, &w->line_room, w->line_count);
            w->line[w->line_count++] = b->dues[i];
        }
        next = b->next;
        give_back(w, b);
    }
    if (w->line_count - first <= 2 * BUNCH)
        sort_few(w->line + first, w->line_count - first);
    else
        qsort(w->line + first, w->line_count - first, sizeof *w->line, by_time);
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

static struct bunch *take_bunch(struct wheel *w)
{
    struct bunch *b = w->bunches;

    if (b == NULL) {
        b = aligned_alloc(64, sizeof *b);
        if (b == NULL)
            abort();
    } else {
        w->bunches = b->next;
    }
    b->count = 0;
    return b;
}

static void slot_add(struct wheel *w, struct round *r, uint32_t slot,
                     const struct due *d)
{
    struct bunch *b = r->slots[slot];

    if (b == NULL || b->count == BUNCH) {
        struct bunch *more = take_bunch(w);
        more->next = b;
        r->slots[slot] = b = more;
    }
    b->dues[b->count++] = *d;
    r->used[slot / 64] |= UINT64_C(1) << slot % 64;
    r->used_words |= UINT64_C(1) << slot / 64;
}

static struct bunch *slot_take(struct round *r, uint32_t slot)
{
    struct bunch *list = r->slots[slot];

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
static void put(struct wheel *w, const struct due *d)
{
    uint64_t tick = d->at_us >> TICK_BITS;

    if (tick <= w->tick) {
        heap_push(w, d);
        return;
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t shift = i * SLOT_BITS;
        if (tick >> (shift + SLOT_BITS) == w->tick >> (shift + SLOT_BITS)) {
            slot_add(w, &w->rounds[i], (uint32_t)(tick >> shift) & (SLOTS - 1),
                     d);
            return;
        }
    }
    abort(); /* beyond a century */
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
    struct bunch *b = slot_take(r, slot), *next;
    if (round == 0) {
        line_add(w, b);
        return true;
    }
    for (; b != NULL; b = next) {
        next = b->next;
        for (uint32_t i = 0; i < b->count; i++)
            put(w, &b->dues[i]);
        give_back(w, b);
    }
    return true;
}

/* So that it is known what comes next. */
static void line_stretch(struct wheel *w)
{
    while (w->line_count - w->line_next < LINE_MIN) {
        uint32_t at = (uint32_t)w->tick & (SLOTS - 1);
        uint32_t slot = slot_next(&w->rounds[0], at + 1);
        uint64_t tick = w->tick - at + slot;
        if (slot == SLOTS || tick - (first_us(w) >> TICK_BITS) > LINE_TICKS ||
            !turn(w, 0))
            return;
    }
}

/* @return false: nothing waits. Else first_us() says when that comes. */
static bool wheel_look(struct wheel *w)
{
    while (w->heap_count == 0 && w->line_next == w->line_count)
        if (!turn(w, 0) && !turn(w, 1) && !turn(w, 2) && !turn(w, 3))
            return false;
    if (w->line_count - w->line_next < LINE_MIN / 2)
        line_stretch(w);
    return true;
}

/* --------------------------------------------------------- happenings */

static struct happening *take_free(struct wheel *w)
{
    struct happening *h = w->free;

    if (h == NULL) {
        struct block *b = aligned_alloc(64, (sizeof *b + 63) / 64 * 64);
        if (b == NULL)
            abort();
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
                            .what = what & 0x7f, /* as wide as it is there */
                            .node = node,
                            .life = life};
    s->starts_pending += what == WHAT_START;
    put(s->wheel, &(struct due){at_us, h->sequence, h});
    return h;
}

void sim_schedule_again(struct sim *s, struct happening *h, uint64_t at_us)
{
    h->at_us = at_us; /* its place in the order stays */
    put(s->wheel, &(struct due){at_us, h->sequence, h});
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
    while (w->bunches != NULL) {
        struct bunch *b = w->bunches;
        w->bunches = b->next;
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
    if (what_is_packet(h->what))
        h->heal = HEAL_NEEDLESS;
    sim_schedule_again(s, h, n->frozen_until_us);
}

/* With thousands of nodes, what a happening needs is not in the cache, and one
 * place says where the next is. So those that are to come are asked for in
 * stages, each so many happenings ahead: several are on their way at a time. */
#define STAGES (2 + OVERLAY_STAGES)
#define AHEAD 3
_Static_assert(AHEAD *STAGES < LINE_MIN / 2, "");

static void ask_for_node(const struct sim *s, const struct happening *h)
{
    const char *n = (const char *)s->nodes[h->node];

    for (size_t line = 0; line < 3; line++)
        __builtin_prefetch(n + LINE_SIZE * line);
    if (what_is_packet(h->what))
        __builtin_prefetch(h->cable);
    if (h->what == WHAT_FRAME)
        __builtin_prefetch(h->bytes);
}

static void ask_for_parts(const struct sim *s, const struct happening *h,
                          unsigned stage)
{
    const struct overlay *o = s->nodes[h->node]->light;
    bool is_frame = h->what == WHAT_FRAME;

    if (o == NULL)
        return;
    overlay_prefetch(
        o, stage,
        is_frame ? simnet_link(h->cable, simnet_side(h->cable, h->node)) : 0);
    if (is_frame && stage == OVERLAY_STAGES - 2)
        frame_prefetch(h, o);
}

static void look_ahead(const struct sim *s)
{
    const struct wheel *w = s->wheel;

    for (unsigned stage = 0; stage < STAGES; stage++) {
        uint32_t at = w->line_next + AHEAD * (STAGES - 1 - stage);
        if (at >= w->line_count)
            continue;
        const struct happening *h = w->line[at].h;
        if (stage == 0)
            __builtin_prefetch(h);
        else if (stage == 1)
            ask_for_node(s, h);
        else
            ask_for_parts(s, h, stage - 2);
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
    if ((s->is_parted || s->now_us < s->behind_us) && what_is_packet(h->what) &&
        faults_hinder(s, h))
        return;
    if (is_frozen(s, n, h)) {
        wait_for_thaw(s, n, h);
        return;
    }
    if (s->behind_us != 0 && what_is_packet(h->what))
        faults_check_order(s, h);
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
