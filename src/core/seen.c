#include "core/seen.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"

#define ROOM_MIN 16u

/* A message is in one cache line. */
_Static_assert(sizeof(struct seen_message) == LINE_SIZE, "aligned in resize()");

/* A place of the index: 0 is free, else 1 + the position in the ring, below 8
 * bits of the hash, so that the wrong entries are seldom looked at. */
#define POSITION_BITS 24
#define POSITION_MASK ((1u << POSITION_BITS) - 1)

void seen_init(struct seen *s, const struct plumtree_options *options,
               struct plumtree_stats *stats)
{
    *s = (struct seen){.options = options, .stats = stats};
}

static struct seen_message *message(const struct seen *s, uint64_t number)
{
    return &s->ring[number & (s->room - 1)];
}

/* ----------------------------------------------------------------- index */

static uint64_t hash_of(const struct seen *s, const uint8_t *id)
{
    uint64_t seed = s->options->seed, a, b;

    memcpy(&a, id, 8);
    memcpy(&b, id + 8, 8);
    __uint128_t p = (__uint128_t)(a ^ seed ^ 0x9e3779b97f4a7c15u) *
                    (b ^ (seed << 32 | seed >> 32) ^ 0xe7037ed1a0b428dbu);
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint32_t place_of(const struct seen *s, uint64_t hash)
{
    return (uint32_t)hash & (2 * s->room - 1);
}

static void index_add(struct seen *s, uint32_t position)
{
    uint64_t hash = hash_of(s, s->ring[position].id);
    uint32_t place = place_of(s, hash);

    while (s->index[place] != 0)
        place = (place + 1) & (2 * s->room - 1);
    s->index[place] = (uint32_t)(hash >> 56) << POSITION_BITS | (position + 1);
}

/* @return its place; 2 * room: none. */
static uint32_t index_find(const struct seen *s, const uint8_t *id)
{
    if (s->room == 0)
        return 0; /* which is 2 * room */
    uint64_t hash = hash_of(s, id);
    uint32_t place = place_of(s, hash);

    for (; s->index[place] != 0; place = (place + 1) & (2 * s->room - 1)) {
        uint32_t position = (s->index[place] & POSITION_MASK) - 1;
        if (s->index[place] >> POSITION_BITS == hash >> 56 &&
            memcmp(s->ring[position].id, id, CONTENT_ID_SIZE) == 0)
            return place;
    }
    return 2 * s->room;
}

/* What stands behind a free place moves up, unless it is where it belongs. */
static void index_remove(struct seen *s, const uint8_t *id)
{
    uint32_t mask = 2 * s->room - 1, hole = index_find(s, id);

    assert(hole <= mask);
    for (uint32_t i = (hole + 1) & mask; s->index[i] != 0; i = (i + 1) & mask) {
        uint32_t position = (s->index[i] & POSITION_MASK) - 1;
        uint32_t home = place_of(s, hash_of(s, s->ring[position].id));
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        s->index[hole] = s->index[i];
        hole = i;
    }
    s->index[hole] = 0;
}

/* ------------------------------------------------------------------ ring */

/* @return false: no memory; all is as it was. */
static bool resize(struct seen *s, uint32_t room)
{
    struct seen_message *ring = aligned_alloc(LINE_SIZE, room * sizeof *ring);
    uint32_t *index = calloc(2 * (size_t)room, sizeof *index);

    if (ring == NULL || index == NULL) {
        free(ring);
        free(index);
        return false;
    }
    for (uint64_t i = s->first; i < s->next; i++)
        ring[i & (room - 1)] = *message(s, i);
    free(s->ring);
    free(s->index);
    s->ring = ring;
    s->index = index;
    s->room = room;
    for (uint64_t i = s->first; i < s->next; i++)
        if (!message(s, i)->removed)
            index_add(s, (uint32_t)i & (room - 1));
    return true;
}

static bool reserve(struct seen *s)
{
    uint64_t used = s->next - s->first;

    if (used < s->room)
        return true;
    if (resize(s, s->room == 0 ? ROOM_MIN : 2 * s->room))
        return true;
    s->stats->memory_refused++;
    return false;
}

/* A backlog, once gone, gives its memory back. */
static void shrink(struct seen *s)
{
    if (s->room > ROOM_MIN && s->next - s->first < s->room / 8)
        (void)resize(s, s->room / 4);
}

static void drop_payload(struct seen *s, struct seen_message *m)
{
    if (m->payload == NULL)
        return;
    assert(s->cache_bytes >= m->size);
    s->cache_bytes -= m->size;
    free(m->payload);
    m->payload = NULL;
}

static void drop_first(struct seen *s)
{
    struct seen_message *m = message(s, s->first);

    if (!m->removed)
        seen_remove(s, m);
    s->first++;
    if (s->cached_first < s->first)
        s->cached_first = s->first;
}

/* The oldest with a payload; NULL: there is none. */
static struct seen_message *cached_first(struct seen *s)
{
    while (s->cached_first < s->next &&
           message(s, s->cached_first)->payload == NULL)
        s->cached_first++;
    return s->cached_first < s->next ? message(s, s->cached_first) : NULL;
}

void seen_close(struct seen *s)
{
    for (uint64_t i = s->first; i < s->next; i++)
        drop_payload(s, message(s, i));
    free(s->ring);
    free(s->index);
    *s = (struct seen){0};
}

struct seen_message *seen_find(const struct seen *s,
                               const uint8_t id[CONTENT_ID_SIZE])
{
    uint32_t place = index_find(s, id);

    return place < 2 * s->room ? &s->ring[(s->index[place] & POSITION_MASK) - 1]
                               : NULL;
}

void seen_remove(struct seen *s, struct seen_message *m)
{
    drop_payload(s, m);
    index_remove(s, m->id);
    m->removed = true;
    s->count--;
}

struct seen_message *seen_add(struct seen *s, uint64_t now_ms,
                              const uint8_t id[CONTENT_ID_SIZE], link_id from,
                              uint32_t round)
{
    if (!reserve(s))
        return NULL;
    struct seen_message *m = message(s, s->next);

    assert(round <= UINT16_MAX);
    *m = (struct seen_message){.at_ms = now_ms,
                               .heard_ms = now_ms,
                               .from = from,
                               .round = (uint16_t)round};
    memcpy(m->id, id, CONTENT_ID_SIZE);
    index_add(s, (uint32_t)s->next & (s->room - 1));
    s->next++;
    s->count++;
    if (s->count > s->options->seen_max) {
        while (message(s, s->first)->removed)
            drop_first(s);
        s->stats->seen_dropped++;
        drop_first(s);
    }
    return m;
}

void seen_keep_payload(struct seen *s, struct seen_message *m,
                       const uint8_t *payload, size_t size)
{
    struct seen_message *oldest;

    assert(m->payload == NULL && size > 0 && size <= SEALED_SIZE_MAX);
    m->payload = malloc(size);
    if (m->payload == NULL) {
        s->stats->memory_refused++;
        return;
    }
    memcpy(m->payload, payload, size);
    m->size = (uint32_t)size;
    s->cache_bytes += m->size;

    /* What its delivery brought about may have gone before it. */
    uint64_t number =
        s->first + (((uint64_t)(m - s->ring) - s->first) & (s->room - 1));
    if (s->cached_first > number)
        s->cached_first = number;
    while (s->cache_bytes > s->options->cache_bytes_max &&
           (oldest = cached_first(s)) != NULL) {
        s->stats->cache_dropped++;
        drop_payload(s, oldest);
    }
}

const struct seen_message *seen_back(const struct seen *s, uint32_t back)
{
    return back < s->next - s->first ? message(s, s->next - 1 - back) : NULL;
}

uint64_t seen_expire(struct seen *s, uint64_t now_ms)
{
    const struct plumtree_options *o = s->options;
    const struct seen_message *m = NULL;
    uint64_t next_ms = UINT64_MAX;

    while (s->first < s->next &&
           (message(s, s->first)->removed ||
            now_ms - message(s, s->first)->at_ms >= o->seen_ms))
        drop_first(s);
    if (s->first < s->next)
        next_ms = message(s, s->first)->at_ms + o->seen_ms;

    while ((m = cached_first(s)) != NULL && now_ms - m->at_ms >= o->cache_ms)
        drop_payload(s, message(s, s->cached_first));
    if (m != NULL && m->at_ms + o->cache_ms < next_ms)
        next_ms = m->at_ms + o->cache_ms;
    shrink(s);
    return next_ms;
}

uint32_t seen_count(const struct seen *s)
{
    return s->count;
}

void seen_prefetch(const struct seen *s, const uint8_t id[CONTENT_ID_SIZE])
{
    if (s->room == 0)
        return;
    __builtin_prefetch(&s->index[place_of(s, hash_of(s, id))]);
    __builtin_prefetch(message(s, s->next), 1);
}
