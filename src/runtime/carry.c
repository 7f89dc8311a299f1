/* carry.c - what collectd's threads post goes into the engine; what the engine
 * asks for goes to links, disk, deliver thread and log. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "runtime/runtime_impl.h"
#include "runtime/tls.h"

enum in_type { IN_VALUE, IN_NOTICE, IN_DOWN };

struct in_value {
    const void *set;
    uint64_t time, interval;
    uint32_t count, unused;
};

/* ------------------------------------------------------------ posting */

bool runtime_post_value(struct runtime *rt, const struct value_input *value)
{
    const char *source = value->source != NULL ? value->source : "";
    const struct in_value head = {value->set, value->time, value->interval,
                                  value->count, 0};
    const struct mailbox_part parts[] = {
        {&head, sizeof head},
        {value->numbers, value->count * sizeof *value->numbers},
        {value->host, strlen(value->host) + 1},
        {value->plugin, strlen(value->plugin) + 1},
        {value->plugin_instance, strlen(value->plugin_instance) + 1},
        {value->type, strlen(value->type) + 1},
        {value->type_instance, strlen(value->type_instance) + 1},
        {source, strlen(source) + 1},
    };

    return mailbox_post(rt->in, IN_VALUE, parts,
                        sizeof parts / sizeof parts[0]);
}

bool runtime_post_notice(struct runtime *rt, const argus_Event *event)
{
    size_t size = offsetof(argus_Event, message) + strlen(event->message) + 1;
    const struct mailbox_part part = {event, size};

    if (!mailbox_post(rt->in, IN_NOTICE, &part, 1))
        return false;
    atomic_store(&rt->is_notice_in, true);
    (void)uv_async_send(&rt->wake); /* values may be gathered just now */
    return true;
}

bool runtime_wants_down(struct runtime *rt)
{
    return atomic_load_explicit(&rt->wants_down, memory_order_relaxed);
}

bool runtime_post_down(struct runtime *rt, uint32_t except,
                       const uint8_t *message, size_t size)
{
    const uint64_t head = except; /* what follows stays aligned */
    const struct mailbox_part parts[] = {{&head, sizeof head}, {message, size}};

    return mailbox_post(rt->in, IN_DOWN, parts, 2);
}

static void post_token(struct runtime *rt, struct token_list *l, uint64_t token)
{
    (void)pthread_mutex_lock(&l->lock);
    bool was_empty = l->count == 0;
    if (l->count < l->max)
        l->filling[l->count++] = token;
    else
        l->dropped++;
    (void)pthread_mutex_unlock(&l->lock);
    if (was_empty)
        mailbox_poke(rt->in);
}

void runtime_post_seen(struct runtime *rt, uint64_t token)
{
    post_token(rt, &rt->seen, token);
}

void runtime_post_passed(struct runtime *rt, uint64_t token)
{
    post_token(rt, &rt->passed, token);
}

void runtime_post_progress(struct runtime *rt, uint64_t token)
{
    if (atomic_exchange(&rt->progress, token) == 0)
        mailbox_poke(rt->in);
}

void runtime_post_freeze(struct runtime *rt)
{
    atomic_store(&rt->is_frozen, true);
}

static int tokens_open(struct token_list *l, uint32_t max)
{
    if (pthread_mutex_init(&l->lock, NULL) != 0)
        return ARGUS_ENOMEM;
    l->max = max;
    l->filling = malloc(max * sizeof *l->filling);
    l->taken = malloc(max * sizeof *l->taken);
    return l->filling != NULL && l->taken != NULL ? ARGUS_OK : ARGUS_ENOMEM;
}

static void tokens_close(struct token_list *l)
{
    if (l->max == 0)
        return; /* never opened */
    (void)pthread_mutex_destroy(&l->lock);
    free(l->filling);
    free(l->taken);
}

static uint64_t tokens_dropped(struct token_list *l)
{
    (void)pthread_mutex_lock(&l->lock);
    uint64_t dropped = l->dropped;
    (void)pthread_mutex_unlock(&l->lock);
    return dropped;
}

uint64_t carry_tokens_dropped(struct runtime *rt)
{
    return tokens_dropped(&rt->seen) + tokens_dropped(&rt->passed);
}

static bool is_held(void *context, uint64_t token)
{
    const struct runtime *rt = context;

    return rt->hooks.is_held != NULL &&
           rt->hooks.is_held(rt->hooks.context, token + rt->token_offset);
}

int carry_open(struct runtime *rt)
{
    struct engine_options *e = &rt->engine_options;
    uint64_t limit = rt->options.write_limit;

    /* collectd drops from its low limit on: other plugins use it as well. */
    e->intake_queue_max = limit == 0 || limit / 2 > INTAKE_QUEUE_MAX
                              ? INTAKE_QUEUE_MAX
                          : limit < 2 ? 1
                                      : (uint32_t)(limit / 2);
    e->redispatch_max = limit == 0 ? 0 : REDISPATCH_MAX;
    e->threads = (struct intake_threads){rt, is_held};
    if (tokens_open(&rt->seen, 2 * e->intake_queue_max) == ARGUS_OK &&
        tokens_open(&rt->passed, 2 * e->intake_queue_max) == ARGUS_OK)
        return ARGUS_OK;
    carry_close(rt);
    return ARGUS_ENOMEM;
}

void carry_close(struct runtime *rt)
{
    tokens_close(&rt->seen);
    tokens_close(&rt->passed);
}

/* --------------------------------------------------- into the engine */

static void unpack_value(const struct mailbox_record *r,
                         struct value_input *out)
{
    struct in_value head;
    const uint8_t *data = r->data + sizeof head;

    memcpy(&head, r->data, sizeof head);
    out->set = head.set;
    out->time = head.time;
    out->interval = head.interval;
    out->count = head.count;
    out->numbers = (const uint64_t *)(const void *)data;

    const char *text = (const char *)(data + head.count * sizeof(uint64_t));
    const char **names[] = {
        &out->host, &out->plugin,        &out->plugin_instance,
        &out->type, &out->type_instance, &out->source};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *names[i] = text;
        text += strlen(text) + 1;
    }
}

static void step_notice(struct runtime *rt, const struct mailbox_record *r)
{
    argus_Event notice;
    uint64_t hlc, number;
    struct event event = {.type = EVENT_NOTICE};

    memset(&notice, 0, sizeof notice);
    memcpy(&notice, r->data, r->size);
    event.notice.event = &notice;
    event.notice.hlc = &hlc;
    event.notice.number = &number;
    runtime_step(rt, &event);
}

static void step_values(struct runtime *rt, const struct value_input *values,
                        uint32_t count)
{
    struct event event = {.type = EVENT_VALUES};

    if (count == 0)
        return;
    event.values.values = values;
    event.values.count = count;
    runtime_step(rt, &event);
}

static void take_down(struct runtime *rt, const struct mailbox_record *r)
{
    uint64_t except;

    memcpy(&except, r->data, sizeof except);
    apply_down(rt->apply, (uint32_t)except, r->data + sizeof except,
               r->size - sizeof except);
}

/* Names and numbers stay in the mailbox's chunk: what was gathered is stepped
 * with the last record of it at the latest. */
static void take_records(struct runtime *rt)
{
    struct value_input values[VALUES_STEP_MAX];
    uint32_t count = 0;
    struct mailbox_record r;

    while (mailbox_next(rt->in, &r)) {
        if (r.type == IN_VALUE)
            unpack_value(&r, &values[count++]);
        if (count == VALUES_STEP_MAX || (count > 0 && r.is_last) ||
            r.type != IN_VALUE) {
            step_values(rt, values, count);
            count = 0;
        }
        if (r.type == IN_NOTICE)
            step_notice(rt, &r);
        else if (r.type == IN_DOWN)
            take_down(rt, &r);
    }
}

static void take_tokens(struct runtime *rt, struct token_list *l,
                        enum event_type type)
{
    struct event event = {.type = type};

    (void)pthread_mutex_lock(&l->lock);
    uint64_t *swap = l->taken;
    l->taken = l->filling;
    l->filling = swap;
    event.seen.tokens = l->taken;
    event.seen.count = l->count;
    l->count = 0;
    (void)pthread_mutex_unlock(&l->lock);
    for (uint32_t i = 0; i < event.seen.count; i++)
        l->taken[i] -= rt->token_offset;
    if (event.seen.count > 0 && !atomic_load(&rt->is_frozen))
        runtime_step(rt, &event);
}

static void take_progress(struct runtime *rt)
{
    struct event event = {.type = EVENT_PROGRESS,
                          .progress = atomic_exchange(&rt->progress, 0)};

    if (event.progress == 0 || atomic_load(&rt->is_frozen))
        return;
    event.progress -= rt->token_offset;
    runtime_step(rt, &event);
}

static void pause_sources(struct runtime *rt, bool pause)
{
    transport_pause_metrics(rt->transport, pause);
    apply_pause(rt->apply, pause || rt->is_backlogged);
}

/* The deliver thread says when it has room again, unless it had just done so
 * when the flag was set: so the loop looks for itself now and then. */
void carry_relieve(struct runtime *rt)
{
    struct mailbox_stats stats;

    mailbox_stats(rt->out, &stats);
    if (stats.bytes_queued <= OUT_BYTES_LOW)
        atomic_store(&rt->is_out_high, false);
    if (rt->is_backlogged && rt->hooks.backlog(rt->hooks.context) < BACKLOG_LOW)
        rt->is_backlogged = false;
    if (!atomic_load(&rt->is_out_high))
        pause_sources(rt, false);
}

void carry_in(struct runtime *rt)
{
    take_tokens(rt, &rt->seen, EVENT_SEEN);
    take_tokens(rt, &rt->passed, EVENT_PASSED);
    take_progress(rt);
    take_records(rt);
    if (!atomic_load(&rt->is_out_high))
        pause_sources(rt, false);
}

/* ------------------------------------------------------------ from links */

static void on_link_up(void *context, link_id link, dial_id dial,
                       const struct peer_info *peer)
{
    struct event event = {.type = EVENT_LINK_UP, .link_up = {link, dial, peer}};
    runtime_step(context, &event);
}

static void on_link_down(void *context, link_id link, enum link_end why,
                         argus_RefuseCode code)
{
    struct event event = {.type = EVENT_LINK_DOWN,
                          .link_down = {link, why, code}};
    runtime_step(context, &event);
}

static void on_dial_failed(void *context, dial_id dial, enum link_end why,
                           argus_RefuseCode code)
{
    struct event event = {.type = EVENT_DIAL_FAILED,
                          .dial_failed = {dial, why, code}};
    runtime_step(context, &event);
}

static void on_frame(void *context, link_id link, const argus_Frame *frame)
{
    struct event event = {.type = EVENT_FRAME, .frame = {link, frame}};
    runtime_step(context, &event);
}

static void on_drained(void *context, link_id link)
{
    struct event event = {.type = EVENT_LINK_DRAINED, .drained = link};
    runtime_step(context, &event);
}

static void on_observed(void *context, const char *host)
{
    struct event event = {.type = EVENT_OBSERVED, .observed = host};
    runtime_step(context, &event);
}

static bool is_known(void *context, const char *address)
{
    const struct runtime *rt = context;

    return engine_knows_address(rt->engine, address);
}

struct transport_listener carry_listener(struct runtime *rt)
{
    return (struct transport_listener){
        rt,       on_link_up, on_link_down, on_dial_failed,
        on_frame, on_drained, on_observed,  is_known};
}

static void on_called(void *context, const struct node_id *id, argus_Role role,
                      const char *address)
{
    struct event event = {.type = EVENT_CALL, .call = {*id, role, address}};
    runtime_step(context, &event);
}

static uint16_t port_at(void *context, const struct sockaddr *address)
{
    const struct runtime *rt = context;

    return transport_port_at(rt->transport, address);
}

static const struct keyring *keyring_now(void *context)
{
    const struct runtime *rt = context;

    return tls_context_keyring(security_context(rt->security));
}

struct beacon_listener carry_beacon_listener(struct runtime *rt)
{
    return (struct beacon_listener){rt, on_called, port_at, keyring_now};
}

/* ------------------------------------------------------------ from the disk */

static void on_record_row(void *context, const struct node_id *id,
                          const uint8_t *data, size_t size)
{
    struct event event = {.type = EVENT_RECORD,
                          .record = {*id, data, (uint32_t)size}};
    runtime_step(context, &event);
}

static void on_address_row(void *context, const struct node_id *id,
                           const uint8_t *data, size_t size)
{
    struct event event = {.type = EVENT_ADDRESS,
                          .address = {*id, (const char *)data}};
    (void)size;
    runtime_step(context, &event);
}

static void on_bundle_row(void *context, const struct node_id *id,
                          const uint8_t *data, size_t size)
{
    struct event event = {.type = EVENT_BUNDLE_ROW,
                          .bundle_row = {data, (uint32_t)size}};
    (void)id;
    runtime_step(context, &event);
}

static void on_event_row(void *context, const struct node_id *id,
                         const uint8_t *data, size_t size)
{
    struct event event = {.type = EVENT_EVENT_ROW,
                          .event_row = {data, (uint32_t)size}};
    (void)id;
    runtime_step(context, &event);
}

/* Records first: a report means something only beside its subject's. */
void carry_memory(struct runtime *rt)
{
    store_each_record(rt->store, on_record_row, rt);
    store_each_report(rt->store, on_record_row, rt);
    store_each_address(rt->store, on_address_row, rt);
    store_each_bundle(rt->store, on_bundle_row, rt);
    store_each_event(rt->store, on_event_row, rt);
}

void carry_sweep(struct runtime *rt)
{
    struct chunk_set *used = engine_chunks_used(rt->engine);

    if (used == NULL)
        return; /* no memory: another time */
    store_sweep_chunks(rt->store, chunk_set_has, used);
    chunk_set_free(used);
}

/* ------------------------------------------------ the engine's wishes */

static void carry_store(struct runtime *rt, const struct action *a)
{
    switch (a->store.what) {
    case STORE_RECORD:
        store_put_record(rt->store, &a->store.key, a->store.data,
                         a->store.size);
        break;
    case STORE_REPORT:
        store_put_report(rt->store, &a->store.key, a->store.data,
                         a->store.size);
        break;
    case STORE_FORGET: store_forget(rt->store, &a->store.key); break;
    case STORE_HLC: store_put_hlc(rt->store, a->store.number); break;
    case STORE_EPOCH: store_put_epoch(rt->store, a->store.number); break;
    case STORE_ADDRESS:
        store_put_address(rt->store, &a->store.key, a->store.text);
        break;
    case STORE_BUNDLE:
        store_put_bundle(rt->store, &a->store.key, a->store.data,
                         a->store.size);
        break;
    case STORE_EVENT:
        store_put_event(rt->store, &a->store.key, a->store.data, a->store.size);
        break;
    case STORE_GENERATION:
        rt->self.generation = (uint32_t)a->store.number;
        rt->engine_options.generation = rt->self.generation;
        store_put_generation(rt->store, rt->self.generation);
        transport_set_self(rt->transport, &rt->self);
        break;
    }
}

void carry_maybe_high(struct runtime *rt)
{
    struct mailbox_stats stats;

    if (atomic_load(&rt->is_out_high))
        return;
    mailbox_stats(rt->out, &stats);
    if (stats.bytes_queued < OUT_BYTES_HIGH)
        return;
    atomic_store(&rt->is_out_high, true);
    pause_sources(rt, true);
}

/* Once collectd shuts down, what it queues is freed unwritten: no more
 * acknowledgement may leave, whatever the engine knows yet. */
static void carry_send(struct runtime *rt, const struct action *a)
{
    if (a->send.frame->which_body != argus_Frame_ack_tag ||
        !atomic_load(&rt->is_frozen))
        transport_send(rt->transport, a->send.link, a->send.frame);
}

static void carry_dial(struct runtime *rt, const struct action *a)
{
    if (a->dial.is_search)
        transport_search(rt->transport, a->dial.dial, a->dial.kind,
                         a->dial.address);
    else
        transport_dial(rt->transport, a->dial.dial, a->dial.kind,
                       a->dial.address, a->dial.expected);
}

/* On disk before collectd hears of it, so that it is not told again after a
 * crash; in a storm that waits for the tick. */
static void carry_notify(struct runtime *rt, const struct action *a)
{
    uint64_t now_ms = runtime_now_ms();

    if (now_ms - rt->notified_ms >= NOTIFY_WRITE_MS) {
        rt->notified_ms = now_ms;
        store_tick(rt->store, now_ms);
    } else {
        runtime_write_soon(rt);
    }
    deliver_event(rt, a->event.event);
}

void carry_out(void *context, const struct action *a)
{
    struct runtime *rt = context;

    switch (a->type) {
    case ACTION_DIAL: carry_dial(rt, a); break;
    case ACTION_SEND: carry_send(rt, a); break;
    case ACTION_CLOSE:
        transport_close(rt->transport, a->close.link, a->close.code,
                        a->close.text);
        break;
    case ACTION_SERIES_BEGIN:
        deliver_series_begin(rt, a->series_begin);
        carry_maybe_high(rt);
        break;
    case ACTION_SERIES_END: deliver_series_end(rt, a->series_end); break;
    case ACTION_DISPATCH: deliver_value(rt, a->value); break;
    case ACTION_NOTIFY: carry_notify(rt, a); break;
    case ACTION_TIMELINE:
        if (rt->control != NULL)
            control_on_event(rt->control, a->event.event, a->event.origin);
        break;
    case ACTION_STORE: carry_store(rt, a); break;
    case ACTION_NEW_IDENTITY:
        rt->wants_identity = true;
        mailbox_poke(rt->in);
        break;
    case ACTION_BUNDLES:
        rt->bundles_changed = true;
        mailbox_poke(rt->in);
        break;
    case ACTION_KEYS:
        rt->keys_changed = true;
        mailbox_poke(rt->in);
        break;
    case ACTION_ADDRESS:
        text_copy(rt->self.address, sizeof rt->self.address, a->address);
        transport_set_self(rt->transport, &rt->self);
        break;
    case ACTION_CALL:
        if (rt->beacon != NULL)
            beacon_call(rt->beacon, &rt->self.id);
        break;
    case ACTION_LOG: log_write(a->log.level, "%s", a->log.line); break;
    }
}
