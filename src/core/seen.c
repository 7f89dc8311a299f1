#include "core/seen.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void seen_init(struct seen *s, const struct plumtree_options *options,
               struct plumtree_stats *stats)
{
    *s = (struct seen){.options = options, .stats = stats};
    TAILQ_INIT(&s->cache);
}

void seen_close(struct seen *s)
{
    while (s->messages != NULL)
        seen_remove(s, s->messages);
}

struct seen_message *seen_find(const struct seen *s,
                               const uint8_t id[CONTENT_ID_SIZE])
{
    struct seen_message *m;

    HASH_FIND(hh, s->messages, id, CONTENT_ID_SIZE, m);
    return m;
}

static void drop_payload(struct seen *s, struct seen_message *m)
{
    if (m->payload == NULL)
        return;
    assert(s->cache_bytes >= m->size);
    s->cache_bytes -= m->size;
    TAILQ_REMOVE(&s->cache, m, cached);
    free(m->payload);
    m->payload = NULL;
}

void seen_remove(struct seen *s, struct seen_message *m)
{
    drop_payload(s, m);
    HASH_DEL(s->messages, m);
    free(m);
}

#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) (s->out_of_memory = true)

struct seen_message *seen_add(struct seen *s, uint64_t now_ms,
                              const uint8_t id[CONTENT_ID_SIZE], link_id from,
                              uint32_t round)
{
    struct seen_message *m = calloc(1, sizeof *m);

    if (m == NULL) {
        s->stats->memory_refused++;
        return NULL;
    }
    memcpy(m->id, id, CONTENT_ID_SIZE);
    m->at_ms = now_ms;
    m->heard_ms = now_ms;
    m->from = from;
    m->round = round;

    s->out_of_memory = false;
    HASH_ADD(hh, s->messages, id, CONTENT_ID_SIZE, m);
    if (s->out_of_memory) {
        s->stats->memory_refused++;
        free(m);
        return NULL;
    }
    if (HASH_COUNT(s->messages) > s->options->seen_max) {
        s->stats->seen_dropped++;
        seen_remove(s, s->messages);
    }
    return m;
}

void seen_keep_payload(struct seen *s, struct seen_message *m,
                       const uint8_t *payload, size_t size)
{
    assert(m->payload == NULL && size > 0 && size <= SEALED_SIZE_MAX);
    m->payload = malloc(size);
    if (m->payload == NULL) {
        s->stats->memory_refused++;
        return;
    }
    memcpy(m->payload, payload, size);
    m->size = (uint32_t)size;
    s->cache_bytes += m->size;
    TAILQ_INSERT_TAIL(&s->cache, m, cached);

    while (s->cache_bytes > s->options->cache_bytes_max) {
        s->stats->cache_dropped++;
        drop_payload(s, TAILQ_FIRST(&s->cache));
    }
}

uint64_t seen_expire(struct seen *s, uint64_t now_ms)
{
    const struct plumtree_options *o = s->options;
    struct seen_message *m;
    uint64_t next_ms = UINT64_MAX;

    while ((m = s->messages) != NULL && now_ms - m->at_ms >= o->seen_ms)
        seen_remove(s, m);
    if (m != NULL)
        next_ms = m->at_ms + o->seen_ms;

    while ((m = TAILQ_FIRST(&s->cache)) != NULL &&
           now_ms - m->at_ms >= o->cache_ms)
        drop_payload(s, m);
    if (m != NULL && m->at_ms + o->cache_ms < next_ms)
        next_ms = m->at_ms + o->cache_ms;
    return next_ms;
}

uint32_t seen_count(const struct seen *s)
{
    return HASH_COUNT(s->messages);
}
