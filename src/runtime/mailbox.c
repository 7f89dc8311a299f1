#include "runtime/mailbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/status.h"

/** Empty chunks kept for the next burst; more go back to the system. */
#define SPARE_MAX 4

struct header {
    uint32_t type;
    uint32_t size;
};

struct chunk {
    STAILQ_ENTRY(chunk) next;
    size_t used;
    uint64_t bytes[(MAILBOX_CHUNK - sizeof(void *) - sizeof(size_t)) / 8];
};

STAILQ_HEAD(chunks, chunk);

_Static_assert(sizeof(struct chunk) <= MAILBOX_CHUNK, "a chunk fits");
_Static_assert(sizeof(struct header) + MAILBOX_RECORD_MAX <=
                   sizeof(((struct chunk *)0)->bytes),
               "the largest record fits in a chunk");

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    /* under the lock */
    struct chunks queue;
    struct chunk *last; /* of queue; NULL: it is empty */
    struct chunks spare;
    unsigned spare_count;
    size_t chunks_count; /* queued, or with the consumer */
    size_t chunks_max;
    bool is_shut;
    void (*wake)(void *context);
    void *wake_context;
    uint64_t posted, refused;
    /* the consumer's */
    struct chunks taken;
    size_t read; /* in the first of taken */
};

int mailbox_new(size_t bytes_max, struct mailbox **out)
{
    struct mailbox *m = calloc(1, sizeof *m);

    if (m == NULL)
        return ARGUS_ENOMEM;
    if (pthread_mutex_init(&m->lock, NULL) != 0)
        goto free_m;
    if (pthread_cond_init(&m->filled, NULL) != 0)
        goto destroy_lock;
    STAILQ_INIT(&m->queue);
    STAILQ_INIT(&m->spare);
    STAILQ_INIT(&m->taken);
    m->chunks_max = (bytes_max + MAILBOX_CHUNK - 1) / MAILBOX_CHUNK;
    if (m->chunks_max < 2)
        m->chunks_max = 2;
    *out = m;
    return ARGUS_OK;

destroy_lock:
    (void)pthread_mutex_destroy(&m->lock);
free_m:
    free(m);
    return ARGUS_ENOMEM;
}

static void free_all(struct chunks *list)
{
    struct chunk *c;

    while ((c = STAILQ_FIRST(list)) != NULL) {
        STAILQ_REMOVE_HEAD(list, next);
        free(c);
    }
}

void mailbox_free(struct mailbox *m)
{
    if (m == NULL)
        return;
    free_all(&m->queue);
    free_all(&m->spare);
    free_all(&m->taken);
    (void)pthread_cond_destroy(&m->filled);
    (void)pthread_mutex_destroy(&m->lock);
    free(m);
}

void mailbox_set_wake(struct mailbox *m, void (*wake)(void *context),
                      void *context)
{
    (void)pthread_mutex_lock(&m->lock);
    m->wake = wake;
    m->wake_context = context;
    if (wake != NULL && !STAILQ_EMPTY(&m->queue))
        wake(context);
    (void)pthread_mutex_unlock(&m->lock);
}

static void wake_consumer(struct mailbox *m)
{
    if (m->wake != NULL)
        m->wake(m->wake_context);
    (void)pthread_cond_signal(&m->filled);
}

/* The chunk the next record goes to; NULL: the bound is reached. */
static struct chunk *chunk_with_room(struct mailbox *m, size_t need)
{
    struct chunk *c = m->last;

    if (c != NULL && sizeof c->bytes - c->used >= need)
        return c;
    if (m->chunks_count >= m->chunks_max)
        return NULL;
    c = STAILQ_FIRST(&m->spare);
    if (c != NULL) {
        STAILQ_REMOVE_HEAD(&m->spare, next);
        m->spare_count--;
    } else if ((c = malloc(sizeof *c)) == NULL) {
        return NULL;
    }
    c->used = 0;
    m->chunks_count++;
    STAILQ_INSERT_TAIL(&m->queue, c, next);
    m->last = c;
    return c;
}

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

bool mailbox_post(struct mailbox *m, uint32_t type,
                  const struct mailbox_part *parts, size_t count)
{
    struct header h = {.type = type};
    size_t size = 0;
    struct chunk *c = NULL;

    for (size_t i = 0; i < count; i++)
        size += parts[i].size;

    (void)pthread_mutex_lock(&m->lock);
    bool was_empty = STAILQ_EMPTY(&m->queue);
    if (!m->is_shut && size <= MAILBOX_RECORD_MAX)
        c = chunk_with_room(m, sizeof h + padded(size));
    if (c == NULL) {
        m->refused++;
        (void)pthread_mutex_unlock(&m->lock);
        return false;
    }
    h.size = (uint32_t)size;
    uint8_t *to = (uint8_t *)c->bytes + c->used;
    memcpy(to, &h, sizeof h);
    to += sizeof h;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size > 0)
            memcpy(to, parts[i].data, parts[i].size);
        to += parts[i].size;
    }
    c->used += sizeof h + padded(size);
    m->posted++;
    if (was_empty)
        wake_consumer(m);
    (void)pthread_mutex_unlock(&m->lock);
    return true;
}

void mailbox_poke(struct mailbox *m)
{
    (void)pthread_mutex_lock(&m->lock);
    wake_consumer(m);
    (void)pthread_mutex_unlock(&m->lock);
}

void mailbox_shut(struct mailbox *m)
{
    (void)pthread_mutex_lock(&m->lock);
    m->is_shut = true;
    wake_consumer(m);
    (void)pthread_mutex_unlock(&m->lock);
}

/* Give the chunk just read back; take all that waits when it was the last. */
static struct chunk *next_chunk(struct mailbox *m)
{
    struct chunk *done = STAILQ_FIRST(&m->taken), *surplus = NULL;

    (void)pthread_mutex_lock(&m->lock);
    if (done != NULL) {
        STAILQ_REMOVE_HEAD(&m->taken, next);
        m->chunks_count--;
        if (m->spare_count < SPARE_MAX) {
            STAILQ_INSERT_HEAD(&m->spare, done, next);
            m->spare_count++;
        } else {
            surplus = done;
        }
    }
    if (STAILQ_EMPTY(&m->taken)) {
        STAILQ_CONCAT(&m->taken, &m->queue);
        m->last = NULL;
    }
    (void)pthread_mutex_unlock(&m->lock);
    free(surplus);
    m->read = 0;
    return STAILQ_FIRST(&m->taken);
}

bool mailbox_next(struct mailbox *m, struct mailbox_record *out)
{
    struct chunk *c = STAILQ_FIRST(&m->taken);
    struct header h;

    while (c == NULL || m->read == c->used) {
        c = next_chunk(m);
        if (c == NULL)
            return false;
    }
    const uint8_t *from = (const uint8_t *)c->bytes + m->read;
    memcpy(&h, from, sizeof h);
    out->type = h.type;
    out->size = h.size;
    out->data = from + sizeof h;
    m->read += sizeof h + padded(h.size);
    out->is_last = m->read == c->used;
    return true;
}

bool mailbox_wait(struct mailbox *m)
{
    struct chunk *c = STAILQ_FIRST(&m->taken);

    if (c != NULL && (m->read < c->used || STAILQ_NEXT(c, next) != NULL))
        return true;
    (void)pthread_mutex_lock(&m->lock);
    while (STAILQ_EMPTY(&m->queue) && !m->is_shut)
        (void)pthread_cond_wait(&m->filled, &m->lock);
    bool has_more = !STAILQ_EMPTY(&m->queue);
    (void)pthread_mutex_unlock(&m->lock);
    return has_more;
}

void mailbox_stats(struct mailbox *m, struct mailbox_stats *out)
{
    memset(out, 0, sizeof *out);
    (void)pthread_mutex_lock(&m->lock);
    out->records_posted = m->posted;
    out->records_refused = m->refused;
    out->bytes_queued = m->chunks_count * MAILBOX_CHUNK;
    (void)pthread_mutex_unlock(&m->lock);
}
