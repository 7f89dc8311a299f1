/* deliver.c - from the loop to the deliver thread, packed: series, values and
 * events stay in the order the engine gave them. */
#include <stddef.h>
#include <string.h>

#include "base/log.h"
#include "runtime/guard.h"
#include "runtime/runtime_impl.h"

enum out_type {
    OUT_SERIES_BEGIN,
    OUT_SERIES_END,
    OUT_SERIES_RESET,
    OUT_VALUE,
    OUT_EVENT,
    OUT_WORKER,
    OUT_WORKER_END,
};

struct out_series {
    uint64_t series;
    uint64_t interval;
    uint32_t index;
    uint32_t sources;
};

struct out_source {
    double min, max;
    uint32_t type;
    uint32_t name_size;
};

struct out_value {
    uint64_t series, token, time;
    uint32_t count, unused;
};

struct out_worker {
    uint32_t worker, begins;
};

/* ------------------------------------------------------------ packing */

static void post(struct runtime *rt, enum out_type type,
                 const struct mailbox_part *parts, size_t count)
{
    if (mailbox_post(rt->out, type, parts, count))
        return;
    rt->intake_refused++;
    log_limited(&rt->refused_limit, runtime_now_ms(), LOG_LEVEL_ERROR,
                "no room on the way into collectd: something of the mesh or of "
                "a worker is lost");
}

static struct mailbox_part text_part(const char *text)
{
    return (struct mailbox_part){text, strlen(text) + 1};
}

void deliver_series_begin(struct runtime *rt, const struct series_begin *begin)
{
    const argus_SeriesDef *def = begin->def;
    struct out_series head = {begin->series, def->interval, def->index,
                              def->sources_count};
    struct out_source sources[SOURCES_MAX];
    struct mailbox_part parts[6 + 2 * SOURCES_MAX];
    size_t n = 0;

    parts[n++] = (struct mailbox_part){&head, sizeof head};
    for (pb_size_t i = 0; i < def->sources_count; i++) {
        const argus_DataSource *s = &def->sources[i];
        sources[i] = (struct out_source){s->min, s->max, (uint32_t)s->type, 0};
        parts[n++] = (struct mailbox_part){&sources[i], sizeof sources[i]};
    }
    parts[n++] = text_part(def->host);
    parts[n++] = text_part(def->plugin);
    parts[n++] = text_part(def->plugin_instance);
    parts[n++] = text_part(def->type);
    parts[n++] = text_part(def->type_instance);
    for (pb_size_t i = 0; i < def->sources_count; i++)
        parts[n++] = text_part(def->sources[i].name);
    post(rt, OUT_SERIES_BEGIN, parts, n);
}

void deliver_series_end(struct runtime *rt, uint64_t series)
{
    const struct mailbox_part part = {&series, sizeof series};
    post(rt, OUT_SERIES_END, &part, 1);
}

void deliver_series_reset(struct runtime *rt)
{
    post(rt, OUT_SERIES_RESET, NULL, 0);
}

void deliver_value(struct runtime *rt, const struct value_ref *value)
{
    struct out_value head = {value->series, value->token + rt->token_offset,
                             value->time, value->count, 0};
    const struct mailbox_part parts[] = {
        {&head, sizeof head},
        {value->numbers, value->count * sizeof *value->numbers},
    };
    post(rt, OUT_VALUE, parts, 2);
}

/* The message stands last in the struct and is mostly short. */
void deliver_event(struct runtime *rt, const argus_Event *event)
{
    size_t size = offsetof(argus_Event, message) + strlen(event->message) + 1;
    const struct mailbox_part part = {event, size};
    post(rt, OUT_EVENT, &part, 1);
}

void deliver_worker(struct runtime *rt, uint32_t worker, bool begins,
                    const uint8_t *message, size_t size)
{
    struct out_worker head = {worker, begins};
    const struct mailbox_part parts[] = {{&head, sizeof head}, {message, size}};

    post(rt, OUT_WORKER, parts, 2);
}

void deliver_worker_end(struct runtime *rt, uint32_t worker)
{
    struct out_worker head = {worker, 0};
    const struct mailbox_part part = {&head, sizeof head};

    post(rt, OUT_WORKER_END, &part, 1);
}

/* ------------------------------------------------------------ unpacking */

static const char *take_text(const char *from, char *to)
{
    size_t size = strlen(from) + 1;

    memcpy(to, from, size);
    return from + size;
}

static void on_series_begin(struct runtime *rt, const uint8_t *data)
{
    argus_SeriesDef *def = &rt->series;
    struct out_series head;
    struct out_source source;

    memcpy(&head, data, sizeof head);
    data += sizeof head;
    memset(def, 0, offsetof(argus_SeriesDef, sources));
    def->index = head.index;
    def->interval = head.interval;
    def->sources_count = (pb_size_t)head.sources;
    for (uint32_t i = 0; i < head.sources; i++) {
        memcpy(&source, data, sizeof source);
        data += sizeof source;
        def->sources[i].min = source.min;
        def->sources[i].max = source.max;
        def->sources[i].type = (argus_SourceType)source.type;
    }
    const char *text = (const char *)data;
    text = take_text(text, def->host);
    text = take_text(text, def->plugin);
    text = take_text(text, def->plugin_instance);
    text = take_text(text, def->type);
    text = take_text(text, def->type_instance);
    for (uint32_t i = 0; i < head.sources; i++)
        text = take_text(text, def->sources[i].name);
    rt->hooks.series_begin(rt->hooks.context,
                           &(struct series_begin){head.series, def});
}

static void on_value(struct runtime *rt, const uint8_t *data)
{
    struct out_value head;

    memcpy(&head, data, sizeof head);
    const struct value_ref value = {
        .series = head.series,
        .token = head.token,
        .time = head.time,
        .numbers = (const uint64_t *)(const void *)(data + sizeof head),
        .count = head.count,
    };
    if (rt->hooks.dispatch(rt->hooks.context, &value))
        runtime_post_seen(rt, head.token);
}

static void on_event(struct runtime *rt, const struct mailbox_record *r)
{
    argus_Event event;

    memset(&event, 0, sizeof event);
    memcpy(&event, r->data, r->size);
    rt->hooks.notify(rt->hooks.context, &event);
}

static void on_worker(struct runtime *rt, const struct mailbox_record *r)
{
    struct out_worker head;

    memcpy(&head, r->data, sizeof head);
    if (r->type == OUT_WORKER && rt->hooks.worker_message != NULL)
        rt->hooks.worker_message(rt->hooks.context, head.worker,
                                 head.begins != 0, r->data + sizeof head,
                                 r->size - sizeof head);
    else if (r->type == OUT_WORKER_END && rt->hooks.worker_end != NULL)
        rt->hooks.worker_end(rt->hooks.context, head.worker);
}

static void on_record(struct runtime *rt, const struct mailbox_record *r)
{
    uint64_t series;

    switch ((enum out_type)r->type) {
    case OUT_SERIES_BEGIN: on_series_begin(rt, r->data); break;
    case OUT_SERIES_END:
        memcpy(&series, r->data, sizeof series);
        rt->hooks.series_end(rt->hooks.context, series);
        break;
    case OUT_SERIES_RESET:
        if (rt->hooks.series_reset != NULL)
            rt->hooks.series_reset(rt->hooks.context);
        break;
    case OUT_VALUE: on_value(rt, r->data); break;
    case OUT_EVENT: on_event(rt, r); break;
    case OUT_WORKER:
    case OUT_WORKER_END: on_worker(rt, r); break;
    }
}

/* The loop stopped reading metrics links when this mailbox filled up: tell it
 * when there is room again. */
static void maybe_low(struct runtime *rt)
{
    struct mailbox_stats stats;

    if (!atomic_load(&rt->is_out_high))
        return;
    mailbox_stats(rt->out, &stats);
    if (stats.bytes_queued > OUT_BYTES_LOW)
        return;
    atomic_store(&rt->is_out_high, false);
    mailbox_poke(rt->in);
}

static void deliver_all(void *context)
{
    struct runtime *rt = context;
    struct mailbox_record r;

    while (mailbox_wait(rt->out)) {
        /* Once frozen, no value goes into collectd any more: what is queued
         * there from now on would be freed unwritten. */
        while (mailbox_next(rt->out, &r))
            if (r.type != OUT_VALUE || !atomic_load(&rt->is_frozen))
                on_record(rt, &r);
        maybe_low(rt);
    }
}

void runtime_deliver(struct runtime *rt)
{
    if (!guard_run(deliver_all, rt))
        runtime_stop(rt, 0);
}
