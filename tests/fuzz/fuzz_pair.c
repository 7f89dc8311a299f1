/* fuzz_pair.c - what a worker says to its daemon, and the other way round
 * (wire/pair.h), as a stream. A message that reads is written again and is the
 * same. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "wire/pair.h"

static uint8_t again[PAIR_MESSAGE_MAX];

static void writes_again(const struct pair_message *m, size_t size)
{
    assert(size == m->size + PAIR_HEADER_SIZE);
    assert(memcmp(again + PAIR_HEADER_SIZE, m->body, m->size) == 0);
}

static const struct pair_meta *metas_of(const uint8_t *at, uint32_t count,
                                        uint32_t size)
{
    static struct pair_meta metas[PAIR_METAS_MAX + 1];
    const uint8_t *end = at + size;

    assert(count <= PAIR_METAS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t taken = pair_meta_next(at, &metas[i]);
        assert(taken <= (size_t)(end - at));
        at += taken;
        assert(metas[i].key != NULL && metas[i].text != NULL);
        assert(metas[i].type >= PAIR_META_STRING &&
               metas[i].type <= PAIR_META_BOOLEAN);
    }
    assert(at == end);
    return metas;
}

static void names_are_sound(const char *const names[5])
{
    for (int i = 0; i < 5; i++)
        assert(strnlen(names[i], PAIR_NAME_SIZE) < PAIR_NAME_SIZE);
}

/* What breaks a bound is not written. */
static void breaks_bounds(const struct pair_value *v,
                          const struct pair_meta *metas)
{
    static char name[PAIR_NAME_SIZE + 1];
    struct pair_value broken = *v;

    memset(name, 'x', PAIR_NAME_SIZE);
    broken.names[1] = name;
    assert(pair_put_value(again, sizeof again, &broken, metas) == 0);
    broken = *v;
    broken.count = 0;
    assert(pair_put_value(again, sizeof again, &broken, metas) == 0);
    broken = *v;
    broken.metas_count = PAIR_METAS_MAX + 1;
    assert(pair_put_value(again, sizeof again, &broken, metas) == 0);
}

static void try_value(const struct pair_message *m)
{
    struct pair_value v;

    if (!pair_read_value(m, &v))
        return;
    assert(v.count >= 1 && v.count <= PAIR_SOURCES_MAX);
    names_are_sound(v.names);
    assert(v.identity_size <= 5 * PAIR_NAME_SIZE);
    assert(v.names[0] == v.identity);
    const struct pair_meta *metas =
        metas_of(v.metas, v.metas_count, v.metas_size);
    writes_again(m, pair_put_value(again, sizeof again, &v, metas));
    assert(pair_put_value(again, m->size, &v, metas) == 0);
    breaks_bounds(&v, metas);
}

static void try_notification(const struct pair_message *m)
{
    struct pair_notification n;

    if (!pair_read_notification(m, &n))
        return;
    names_are_sound(n.names);
    assert(strnlen(n.message, PAIR_TEXT_SIZE) < PAIR_TEXT_SIZE);
    const struct pair_meta *metas =
        metas_of(n.metas, n.metas_count, n.metas_size);
    writes_again(m, pair_put_notification(again, sizeof again, &n, metas));
    assert(pair_put_notification(again, m->size, &n, metas) == 0);
}

static void try_set(const struct pair_message *m)
{
    struct pair_set set;

    if (!pair_read_set(m, &set))
        return;
    assert(set.count >= 1 && set.count <= PAIR_SOURCES_MAX);
    for (uint32_t i = 0; i < set.count; i++)
        assert(strnlen(set.sources[i].name, PAIR_NAME_SIZE) < PAIR_NAME_SIZE);
    writes_again(m, pair_put_set(again, sizeof again, &set));
    assert(pair_put_set(again, m->size, &set) == 0);
    set.count = 0;
    assert(pair_put_set(again, sizeof again, &set) == 0);
}

static void try_hello(const struct pair_message *m)
{
    struct pair_hello hello;

    if (pair_read_hello(m, &hello))
        writes_again(m, pair_put_hello(again, sizeof again, &hello));
}

static void try_ready(const struct pair_message *m)
{
    struct pair_ready ready;

    if (pair_read_ready(m, &ready))
        writes_again(m, pair_put_ready(again, sizeof again, &ready));
}

static void try_flush(const struct pair_message *m)
{
    struct pair_flush flush;

    if (pair_read_flush(m, &flush))
        writes_again(m, pair_put_flush(again, sizeof again, &flush));
}

static void try_text(const struct pair_message *m)
{
    uint32_t number;
    const char *text;

    if (!pair_read_text(m, &number, &text))
        return;
    assert(pair_phase_word(number) != NULL);
    size_t size = pair_put_text(again, sizeof again, m->type, number, text);
    if (m->type == PAIR_REFUSED) /* of that the phase goes without saying */
        again[PAIR_HEADER_SIZE] = (uint8_t)number;
    writes_again(m, size);
}

static void try_phase(const struct pair_message *m)
{
    enum pair_phase phase;

    if (!pair_read_phase(m, &phase))
        return;
    assert(strcmp(pair_phase_word(phase), "unknown") != 0);
    writes_again(m, pair_put_phase(again, sizeof again, phase));
}

static void try_message(const struct pair_message *m)
{
    switch (m->type) {
    case PAIR_HELLO: try_hello(m); break;
    case PAIR_PHASE: try_phase(m); break;
    case PAIR_REFUSED:
    case PAIR_FAILED:
    case PAIR_LOG: try_text(m); break;
    case PAIR_READY: try_ready(m); break;
    case PAIR_SET: try_set(m); break;
    case PAIR_VALUE: try_value(m); break;
    case PAIR_NOTIFICATION: try_notification(m); break;
    case PAIR_FLUSH: try_flush(m); break;
    case PAIR_BYE:
    case PAIR_STOP:
        if (m->size == 0)
            writes_again(m, pair_put_plain(again, sizeof again, m->type));
        break;
    }
}

FUZZ_TARGET(pair)
{
    struct pair_message m;

    while (size > 0) {
        /* At the end of its own memory, so that a read beyond is seen. */
        uint8_t *copy = malloc(size);
        if (copy == NULL)
            abort();
        memcpy(copy, data, size);
        int taken = pair_next(copy, size, &m);
        assert(taken >= -1 && taken <= (int)size);
        if (taken > 0) {
            assert(m.size + PAIR_HEADER_SIZE == (uint32_t)taken);
            assert(m.type >= PAIR_HELLO && m.type <= PAIR_STOP);
            /* Nothing may be read behind its end. */
            uint8_t *body = malloc(m.size + 1);
            if (body == NULL)
                abort();
            memcpy(body + 1, m.body, m.size);
            m.body = body + 1;
            try_message(&m);
            free(body);
        }
        free(copy);
        if (taken <= 0)
            break;
        data += taken;
        size -= (size_t)taken;
    }
    return 0;
}
