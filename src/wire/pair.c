#include "wire/pair.h"

#include <string.h>

const char *pair_phase_word(uint32_t phase)
{
    static const char *const words[] = {
        [PAIR_PHASE_START] = "start",
        [PAIR_PHASE_VET] = "vetting",
        [PAIR_PHASE_CONFIG] = "configuration",
        [PAIR_PHASE_INIT] = "init",
        [PAIR_PHASE_READ] = "first read",
        [PAIR_PHASE_RUN] = "run",
        [PAIR_PHASE_STOP] = "stop",
    };

    return phase < sizeof words / sizeof words[0] ? words[phase] : "unknown";
}

/* -------------------------------------------------------------- writing */

/* A message in the making; once something did not fit, nothing more does. */
struct put {
    uint8_t *start;
    size_t used, room;
    bool full;
};

static void put_bytes(struct put *put, const void *bytes, size_t size)
{
    if (put->full || size > put->room - put->used) {
        put->full = true;
        return;
    }
    memcpy(put->start + put->used, bytes, size);
    put->used += size;
}

static void put_u8(struct put *put, uint32_t number)
{
    uint8_t byte = (uint8_t)number;

    put_bytes(put, &byte, 1);
}

static void put_u32(struct put *put, uint32_t number)
{
    put_bytes(put, &number, sizeof number);
}

static void put_u64(struct put *put, uint64_t number)
{
    put_bytes(put, &number, sizeof number);
}

/* With its NUL; `size_max` counts it. A longer one is no text of ours. */
static void put_text(struct put *put, const char *text, size_t size_max)
{
    size_t size = strnlen(text, size_max);

    if (size == size_max) {
        put->full = true;
        return;
    }
    put_bytes(put, text, size + 1);
}

static void put_text_cut(struct put *put, const char *text)
{
    put_bytes(put, text, strnlen(text, PAIR_TEXT_SIZE - 1));
    put_u8(put, 0);
}

static struct put put_begin(uint8_t *out, size_t room, enum pair_type type)
{
    struct put put = {
        .start = out,
        .room = room < PAIR_MESSAGE_MAX ? room : PAIR_MESSAGE_MAX,
    };

    put_u32(&put, 0);
    put_u8(&put, type);
    return put;
}

static size_t put_end(struct put *put)
{
    uint32_t size = (uint32_t)put->used - (uint32_t)sizeof size;

    if (put->full)
        return 0;
    memcpy(put->start, &size, sizeof size);
    return put->used;
}

static void put_names(struct put *put, const char *const names[5])
{
    for (int i = 0; i < 5; i++)
        put_text(put, names[i], PAIR_NAME_SIZE);
}

static void put_metas(struct put *put, const struct pair_meta *metas,
                      uint32_t count)
{
    if (count > PAIR_METAS_MAX) {
        put->full = true;
        return;
    }
    put_u8(put, count);
    for (uint32_t i = 0; i < count; i++) {
        put_u8(put, metas[i].type);
        put_text(put, metas[i].key, PAIR_MESSAGE_MAX);
        if (metas[i].type == PAIR_META_STRING)
            put_text(put, metas[i].text, PAIR_MESSAGE_MAX);
        else
            put_u64(put, metas[i].bits);
    }
}

size_t pair_put_plain(uint8_t *out, size_t room, enum pair_type type)
{
    struct put put = put_begin(out, room, type);

    return put_end(&put);
}

size_t pair_put_phase(uint8_t *out, size_t room, enum pair_phase phase)
{
    struct put put = put_begin(out, room, PAIR_PHASE);

    put_u8(&put, phase);
    return put_end(&put);
}

size_t pair_put_text(uint8_t *out, size_t room, enum pair_type type,
                     uint32_t number, const char *text)
{
    struct put put = put_begin(out, room, type);

    put_u8(&put, type == PAIR_REFUSED ? PAIR_PHASE_VET : number);
    put_text_cut(&put, text);
    return put_end(&put);
}

size_t pair_put_hello(uint8_t *out, size_t room, const struct pair_hello *h)
{
    struct put put = put_begin(out, room, PAIR_HELLO);

    put_u32(&put, h->protocol);
    put_u32(&put, h->pid);
    put_text(&put, h->version, PAIR_NAME_SIZE);
    return put_end(&put);
}

size_t pair_put_ready(uint8_t *out, size_t room, const struct pair_ready *r)
{
    struct put put = put_begin(out, room, PAIR_READY);

    put_u32(&put, r->failed_inits);
    put_u32(&put, r->failed_reads);
    put_u32(&put, r->errors);
    put_u8(&put, r->is_late);
    put_u8(&put, r->has_reads);
    put_u8(&put, r->has_writers);
    put_text_cut(&put, r->text);
    return put_end(&put);
}

size_t pair_put_set(uint8_t *out, size_t room, const struct pair_set *set)
{
    struct put put = put_begin(out, room, PAIR_SET);

    if (set->count == 0 || set->count > PAIR_SOURCES_MAX)
        return 0;
    put_text(&put, set->type, PAIR_NAME_SIZE);
    put_u8(&put, set->count);
    for (uint32_t i = 0; i < set->count; i++) {
        const struct pair_source *source = &set->sources[i];
        put_u8(&put, source->type);
        put_bytes(&put, &source->min, sizeof source->min);
        put_bytes(&put, &source->max, sizeof source->max);
        put_text(&put, source->name, PAIR_NAME_SIZE);
    }
    return put_end(&put);
}

size_t pair_put_flush(uint8_t *out, size_t room, const struct pair_flush *f)
{
    struct put put = put_begin(out, room, PAIR_FLUSH);

    put_u64(&put, f->timeout);
    put_text(&put, f->identifier, PAIR_TEXT_SIZE);
    return put_end(&put);
}

size_t pair_put_value(uint8_t *out, size_t room, const struct pair_value *v,
                      const struct pair_meta *metas)
{
    struct put put = put_begin(out, room, PAIR_VALUE);

    if (v->count == 0 || v->count > PAIR_SOURCES_MAX || v->names[3][0] == '\0')
        return 0;
    put_u64(&put, v->time);
    put_u64(&put, v->interval);
    put_u8(&put, v->count);
    put_names(&put, v->names);
    put_bytes(&put, v->numbers, v->count * sizeof(uint64_t));
    put_metas(&put, metas, v->metas_count);
    return put_end(&put);
}

size_t pair_put_notification(uint8_t *out, size_t room,
                             const struct pair_notification *n,
                             const struct pair_meta *metas)
{
    struct put put = put_begin(out, room, PAIR_NOTIFICATION);

    put_u32(&put, (uint32_t)n->severity);
    put_u64(&put, n->time);
    put_names(&put, n->names);
    put_text_cut(&put, n->message);
    put_metas(&put, metas, n->metas_count);
    return put_end(&put);
}

/* -------------------------------------------------------------- reading */

/* The rest of a body; once something was not there, nothing more is. */
struct take {
    const uint8_t *at;
    size_t left;
    bool broken;
};

static const uint8_t *take_bytes(struct take *take, size_t size)
{
    const uint8_t *bytes = take->at;

    if (take->broken || size > take->left) {
        take->broken = true;
        return NULL;
    }
    take->at += size;
    take->left -= size;
    return bytes;
}

static uint32_t take_u8(struct take *take)
{
    const uint8_t *byte = take_bytes(take, 1);

    return byte != NULL ? *byte : 0;
}

/* A number that may not be above `max`. */
static uint32_t take_small(struct take *take, uint32_t max)
{
    uint32_t number = take_u8(take);

    if (number > max)
        take->broken = true;
    return number;
}

static uint32_t take_u32(struct take *take)
{
    const uint8_t *bytes = take_bytes(take, sizeof(uint32_t));
    uint32_t number = 0;

    if (bytes != NULL)
        memcpy(&number, bytes, sizeof number);
    return number;
}

static uint64_t take_u64(struct take *take)
{
    const uint8_t *bytes = take_bytes(take, sizeof(uint64_t));
    uint64_t number = 0;

    if (bytes != NULL)
        memcpy(&number, bytes, sizeof number);
    return number;
}

static double take_double(struct take *take)
{
    const uint8_t *bytes = take_bytes(take, sizeof(double));
    double number = 0;

    if (bytes != NULL)
        memcpy(&number, bytes, sizeof number);
    return number;
}

/* `size_max` counts the NUL. Never NULL, so that a broken message cannot be
 * followed by a broken pointer. */
static const char *take_text(struct take *take, size_t size_max)
{
    size_t window = take->left < size_max ? take->left : size_max;

    if (take->broken || memchr(take->at, '\0', window) == NULL) {
        take->broken = true;
        return "";
    }
    const char *text = (const char *)take->at;
    (void)take_bytes(take, strlen(text) + 1);
    return text;
}

static struct take take_begin(const struct pair_message *m)
{
    return (struct take){.at = m->body, .left = m->size};
}

/* All of it was there, and there is no more. */
static bool take_end(const struct take *take)
{
    return !take->broken && take->left == 0;
}

int pair_next(const uint8_t *data, size_t size, struct pair_message *out)
{
    uint32_t follows;

    if (size < sizeof follows)
        return 0;
    memcpy(&follows, data, sizeof follows);
    if (follows == 0 || follows > PAIR_MESSAGE_MAX - sizeof follows)
        return -1;
    if (size < PAIR_HEADER_SIZE)
        return 0;
    if (data[sizeof follows] < PAIR_HELLO || data[sizeof follows] > PAIR_STOP)
        return -1;
    if (size - sizeof follows < follows)
        return 0;
    *out = (struct pair_message){
        .type = (enum pair_type)data[sizeof follows],
        .body = data + PAIR_HEADER_SIZE,
        .size = follows - 1,
    };
    return (int)(follows + sizeof follows);
}

bool pair_read_phase(const struct pair_message *m, enum pair_phase *out)
{
    struct take take = take_begin(m);

    *out = (enum pair_phase)take_small(&take, PAIR_PHASE_STOP);
    return take_end(&take);
}

bool pair_read_text(const struct pair_message *m, uint32_t *number,
                    const char **text)
{
    struct take take = take_begin(m);
    uint32_t debug = 7; /* the mildest of syslog's severities */

    *number = take_small(&take, m->type == PAIR_LOG ? debug : PAIR_PHASE_STOP);
    *text = take_text(&take, PAIR_TEXT_SIZE);
    return take_end(&take);
}

bool pair_read_hello(const struct pair_message *m, struct pair_hello *out)
{
    struct take take = take_begin(m);

    out->protocol = take_u32(&take);
    out->pid = take_u32(&take);
    out->version = take_text(&take, PAIR_NAME_SIZE);
    return take_end(&take);
}

bool pair_read_ready(const struct pair_message *m, struct pair_ready *out)
{
    struct take take = take_begin(m);

    out->failed_inits = take_u32(&take);
    out->failed_reads = take_u32(&take);
    out->errors = take_u32(&take);
    out->is_late = take_small(&take, 1) == 1;
    out->has_reads = take_small(&take, 1) == 1;
    out->has_writers = take_small(&take, 1) == 1;
    out->text = take_text(&take, PAIR_TEXT_SIZE);
    return take_end(&take);
}

/* collectd's DS_TYPE_*: COUNTER, GAUGE, DERIVE, ABSOLUTE. */
#define SOURCE_TYPE_MAX 3

bool pair_read_set(const struct pair_message *m, struct pair_set *out)
{
    struct take take = take_begin(m);

    out->type = take_text(&take, PAIR_NAME_SIZE);
    out->count = take_small(&take, PAIR_SOURCES_MAX);
    if (take.broken || out->count == 0 || out->type[0] == '\0')
        return false;
    for (uint32_t i = 0; i < out->count; i++) {
        struct pair_source *source = &out->sources[i];
        source->type = take_small(&take, SOURCE_TYPE_MAX);
        source->min = take_double(&take);
        source->max = take_double(&take);
        source->name = take_text(&take, PAIR_NAME_SIZE);
    }
    return take_end(&take);
}

bool pair_read_flush(const struct pair_message *m, struct pair_flush *out)
{
    struct take take = take_begin(m);

    out->timeout = take_u64(&take);
    out->identifier = take_text(&take, PAIR_TEXT_SIZE);
    return take_end(&take);
}

static void take_names(struct take *take, const char *names[5])
{
    for (int i = 0; i < 5; i++)
        names[i] = take_text(take, PAIR_NAME_SIZE);
}

static void take_meta(struct take *take, struct pair_meta *out)
{
    *out = (struct pair_meta){.text = ""};
    out->type = (enum pair_meta_type)take_small(take, PAIR_META_BOOLEAN);
    if (out->type < PAIR_META_STRING)
        take->broken = true;
    out->key = take_text(take, PAIR_MESSAGE_MAX);
    if (out->type == PAIR_META_STRING)
        out->text = take_text(take, PAIR_MESSAGE_MAX);
    else
        out->bits = take_u64(take);
    if (out->type == PAIR_META_BOOLEAN && out->bits > 1)
        take->broken = true;
}

/* Walked once here, so that pair_meta_next() need not look. */
static void take_metas(struct take *take, uint32_t *count,
                       const uint8_t **metas, uint32_t *size)
{
    struct pair_meta meta;

    *count = take_small(take, PAIR_METAS_MAX);
    *metas = take->at;
    for (uint32_t i = 0; i < *count && !take->broken; i++)
        take_meta(take, &meta);
    *size = (uint32_t)(take->at - *metas);
}

bool pair_read_value(const struct pair_message *m, struct pair_value *out)
{
    struct take take = take_begin(m);

    out->time = take_u64(&take);
    out->interval = take_u64(&take);
    out->count = take_small(&take, PAIR_SOURCES_MAX);
    out->identity = (const char *)take.at;
    take_names(&take, out->names);
    out->identity_size = (uint32_t)((const char *)take.at - out->identity);
    out->numbers = take_bytes(&take, out->count * sizeof(uint64_t));
    take_metas(&take, &out->metas_count, &out->metas, &out->metas_size);
    return take_end(&take) && out->count > 0 && out->names[3][0] != '\0';
}

bool pair_read_notification(const struct pair_message *m,
                            struct pair_notification *out)
{
    struct take take = take_begin(m);

    out->severity = (int32_t)take_u32(&take);
    out->time = take_u64(&take);
    take_names(&take, out->names);
    out->message = take_text(&take, PAIR_TEXT_SIZE);
    take_metas(&take, &out->metas_count, &out->metas, &out->metas_size);
    return take_end(&take);
}

uint32_t pair_meta_next(const uint8_t *at, struct pair_meta *out)
{
    struct take take = {.at = at, .left = PAIR_MESSAGE_MAX};

    take_meta(&take, out);
    return (uint32_t)(take.at - at);
}
