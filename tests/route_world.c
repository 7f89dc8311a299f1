#include "route_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "wire/frame.h"

#define LINKS_MAX 4096
#define THREADS_MAX 8
#define SILENT_MS 3500
#define DIAL_TIMEOUT_MS 3000
#define LOCAL_MS 500
#define CDTIME_MS (((uint64_t)1 << 30) / 1000)
#define TIME_BASE ((uint64_t)1700000000 << 30)

enum kind {
    EV_VALUE,       /* agent a publishes value k of series n */
    EV_DIAL,        /* agent a's dial reaches aggregator b */
    EV_DIAL_FAILED, /* at agent a */
    EV_UP_AGENT,
    EV_UP_AGGREGATOR,
    EV_TO_AGENT, /* a frame arrives */
    EV_TO_AGGREGATOR,
    EV_DOWN_AGENT,
    EV_DOWN_AGGREGATOR,
    EV_SILENT,  /* has the peer of a link been frozen all the while? */
    EV_ENQUEUE, /* the deliver thread hands a value to collectd */
    EV_SEEN,
    EV_PASSED,
    EV_WRITTEN,
    EV_THREAD, /* a write thread is free again */
    EV_LOCAL,  /* the aggregator's daemon has a value of its own */
    EV_THAW,
    EV_GONE, /* a cleanly stopping aggregator has exited */
    EV_TELL, /* agents hear of the aggregators */
};

struct event {
    uint64_t time, order;
    enum kind kind;
    uint32_t a, b, life, n, k;
    uint64_t number; /* dial or token */
    uint64_t after;  /* of a local value: the token in front of it */
    uint32_t link;
    uint8_t *bytes;
    uint32_t size;
};

struct events {
    struct event *list;
    size_t count, room;
};

struct wire {
    uint32_t agent, aggregator, life;
    bool agent_up, aggregator_up, broken;
    uint64_t last_to_agent, last_to_aggregator;
};

struct queued {
    uint64_t token, after;
    uint32_t n, k;
    bool garbled;
};

struct aggregator_node {
    struct intake *intake;
    struct node_id id;
    bool alive, usable;
    uint32_t life;
    uint64_t frozen_until, hung_until;
    struct events held;  /* while frozen */
    uint32_t *series_of; /* by handle */
    uint64_t handles;
    uint32_t *last; /* by series: 1 + last value written in this life */
    struct queued *queue;
    size_t head, tail, room;
    uint64_t handed; /* the newest token in the queue */
    uint32_t turn;
    bool busy[THREADS_MAX];
    uint64_t hands[THREADS_MAX]; /* token each thread holds; 0: none */
};

struct world {
    struct world_options o;
    struct prng prng;
    uint64_t now, order;
    struct events heap;
    struct spool *spools[WORLD_AGENTS_MAX];
    struct aggregator_node nodes[WORLD_AGGREGATORS_MAX];
    struct wire wires[LINKS_MAX];
    uint32_t wires_count;
    uint32_t series;
    char (*hosts)[32];
    uint8_t *state; /* by series and value: 1 published, 2 written, 4 stopped */
    uint8_t *stopped, *passing; /* by series */
    uint32_t *writer;           /* by series */
    struct world_ledger ledger;
    argus_Frame frame;
};

/* Whose action is being carried out. */
struct sink {
    struct world *w;
    uint32_t who;
    bool is_agent;
};

/* ------------------------------------------------------------- event heap */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void events_append(struct events *e, const struct event *ev)
{
    if (e->count == e->room) {
        e->room = e->room == 0 ? 1024 : e->room * 2;
        e->list = realloc(e->list, e->room * sizeof *e->list);
        assert(e->list != NULL);
    }
    e->list[e->count++] = *ev;
}

static void schedule(struct world *w, uint64_t time, struct event ev)
{
    ev.time = time;
    ev.order = ++w->order;
    events_append(&w->heap, &ev);
    struct event *list = w->heap.list;
    for (size_t i = w->heap.count - 1; i > 0;) {
        size_t up = (i - 1) / 2;
        if (!is_before(&list[i], &list[up]))
            break;
        struct event swap = list[i];
        list[i] = list[up];
        list[up] = swap;
        i = up;
    }
}

static struct event heap_pop(struct world *w)
{
    struct event *list = w->heap.list;
    struct event top = list[0];

    list[0] = list[--w->heap.count];
    for (size_t i = 0;;) {
        size_t least = i, left = 2 * i + 1, right = left + 1;
        if (left < w->heap.count && is_before(&list[left], &list[least]))
            least = left;
        if (right < w->heap.count && is_before(&list[right], &list[least]))
            least = right;
        if (least == i)
            return top;
        struct event swap = list[i];
        list[i] = list[least];
        list[least] = swap;
        i = least;
    }
}

static uint64_t soon(struct world *w, uint32_t min_ms, uint32_t max_ms)
{
    return w->now + min_ms + prng_below(&w->prng, max_ms - min_ms + 1);
}

/* -------------------------------------------------------- what nodes emit */

static void wire_send(struct world *w, const struct sink *sink,
                      const struct action *a)
{
    static uint8_t bytes[FRAME_HEADER_SIZE + FRAME_BODY_MAX];
    struct wire *wire = &w->wires[a->send.link];
    int size = frame_encode(argus_Frame_fields, a->send.frame, bytes,
                            sizeof bytes, NULL);

    assert(size > 0);
    if (wire->broken)
        return;
    struct event ev = {.kind = sink->is_agent ? EV_TO_AGGREGATOR : EV_TO_AGENT,
                       .a = wire->agent,
                       .b = wire->aggregator,
                       .life = wire->life,
                       .link = (uint32_t)a->send.link,
                       .size = (uint32_t)size};
    ev.bytes = malloc((size_t)size);
    assert(ev.bytes != NULL);
    memcpy(ev.bytes, bytes, (size_t)size);
    uint64_t *last =
        sink->is_agent ? &wire->last_to_aggregator : &wire->last_to_agent;
    uint64_t at = soon(w, 1, 8);
    if (at < *last)
        at = *last;
    *last = at;
    schedule(w, at, ev);
}

/* Orderly: what was sent arrives first. */
static void wire_close(struct world *w, uint32_t link)
{
    struct wire *wire = &w->wires[link];
    uint64_t at = w->now + 10;

    if (at < wire->last_to_aggregator)
        at = wire->last_to_aggregator;
    if (at < wire->last_to_agent)
        at = wire->last_to_agent;
    struct event ev = {.a = wire->agent,
                       .b = wire->aggregator,
                       .life = wire->life,
                       .link = link};
    ev.kind = EV_DOWN_AGENT;
    schedule(w, at, ev);
    ev.kind = EV_DOWN_AGGREGATOR;
    schedule(w, at, ev);
}

static void take_dial(struct world *w, uint32_t agent, const struct action *a)
{
    uint32_t b = 0;

    while (b < w->o.aggregators &&
           !node_id_is_equal(&w->nodes[b].id, a->dial.expected))
        b++;
    assert(b < w->o.aggregators && a->dial.kind == argus_LinkKind_LINK_METRICS);
    assert(a->dial.dial >> 56 == SPOOL_DIAL_TAG);
    schedule(w, soon(w, 1, 10),
             (struct event){
                 .kind = EV_DIAL, .a = agent, .b = b, .number = a->dial.dial});
}

static void take_begin(struct world *w, struct aggregator_node *node,
                       const struct series_begin *begin)
{
    uint32_t n;

    if (begin->series >= node->handles) {
        uint64_t room = begin->series + 64;
        node->series_of = realloc(node->series_of, room * sizeof(uint32_t));
        assert(node->series_of != NULL);
        for (uint64_t i = node->handles; i < room; i++)
            node->series_of[i] = UINT32_MAX;
        node->handles = room;
    }
    int got = sscanf(begin->def->type_instance, "s%u", &n);
    assert(got == 1 && strcmp(begin->def->host, w->hosts[n]) == 0);
    node->series_of[begin->series] = n;
}

static void take_dispatch(struct world *w, uint32_t b,
                          const struct value_ref *value)
{
    struct aggregator_node *node = &w->nodes[b];
    uint32_t n = (uint32_t)(value->numbers[0] >> 32);
    uint32_t k = (uint32_t)value->numbers[0];
    bool garbled =
        value->series >= node->handles || node->series_of[value->series] != n ||
        value->count != 1 + (n & 1) ||
        value->time != TIME_BASE + k * w->o.interval_ms * CDTIME_MS ||
        (value->count > 1 && value->numbers[1] != ~value->numbers[0]);

    assert(n < w->series && k < w->o.values);
    schedule(w, w->now,
             (struct event){.kind = EV_ENQUEUE,
                            .b = b,
                            .life = node->life,
                            .n = n,
                            .k = k,
                            .number = value->token,
                            .size = garbled});
}

static void emit(void *context, const struct action *a)
{
    struct sink *sink = context;
    struct world *w = sink->w;

    switch (a->type) {
    case ACTION_DIAL: take_dial(w, sink->who, a); break;
    case ACTION_SEND: wire_send(w, sink, a); break;
    case ACTION_CLOSE: wire_close(w, (uint32_t)a->close.link); break;
    case ACTION_SERIES_BEGIN:
        take_begin(w, &w->nodes[sink->who], a->series_begin);
        break;
    case ACTION_DISPATCH: take_dispatch(w, sink->who, a->value); break;
    default: break;
    }
}

#define SINK_OF(world, number, agent)                                          \
    &(struct actions)                                                          \
    {                                                                          \
        .emit = emit, .context = &(struct sink)                                \
        {                                                                      \
            .w = (world), .who = (number), .is_agent = (agent)                 \
        }                                                                      \
    }

/* -------------------------------------------------------------- collectd */

/* The thread works on a value until it is seen, or until the next one when a
 * chain keeps it from argus. */
static void thread_work(struct world *w, uint32_t b, uint32_t t,
                        const struct queued *q)
{
    struct aggregator_node *node = &w->nodes[b];
    struct event ev = {.a = t,
                       .b = b,
                       .life = node->life,
                       .n = q->n,
                       .k = q->k,
                       .number = node->hands[t],
                       .after = q->after,
                       .size = q->garbled};
    uint64_t from = w->now > node->hung_until ? w->now : node->hung_until;
    uint64_t written = from + prng_below(&w->prng, 12);
    uint64_t seen = written + prng_below(&w->prng, 4);

    node->busy[t] = true;
    ev.kind = EV_PASSED;
    if (node->hands[t] != 0)
        schedule(w, w->now, ev);
    node->hands[t] = ev.number = q->token;
    ev.kind = EV_WRITTEN;
    if (q->token != 0)
        schedule(w, written, ev);
    ev.kind = EV_SEEN;
    if (q->token == 0 || !w->passing[q->n])
        schedule(w, seen, ev);
    ev.kind = EV_THREAD;
    schedule(w, seen, ev);
}

static void threads_run(struct world *w, uint32_t b)
{
    struct aggregator_node *node = &w->nodes[b];
    uint32_t busy;

    while (node->head < node->tail) {
        /* The one that waits longest is woken first, more or less. */
        for (busy = 0; busy < w->o.threads && node->busy[node->turn]; busy++)
            node->turn = (node->turn + 1) % w->o.threads;
        if (busy == w->o.threads)
            return;
        struct queued q = node->queue[node->head++];
        if (q.token != 0 && w->stopped[q.n]) {
            w->state[(size_t)q.n * w->o.values + q.k] |= 4;
            continue;
        }
        if (w->o.drop_ppm > 0 && prng_below(&w->prng, 1000000) < w->o.drop_ppm)
            continue;
        thread_work(w, b, node->turn, &q);
        node->turn = (node->turn + 1) % w->o.threads;
    }
}

static void on_enqueue(struct world *w, const struct event *ev)
{
    struct aggregator_node *node = &w->nodes[ev->b];

    if (node->tail == node->room) {
        node->room = node->room == 0 ? 256 : node->room * 2;
        node->queue = realloc(node->queue, node->room * sizeof *node->queue);
        assert(node->queue != NULL);
    }
    node->queue[node->tail++] = (struct queued){.token = ev->number,
                                                .after = node->handed,
                                                .n = ev->n,
                                                .k = ev->k,
                                                .garbled = ev->size != 0};
    if (ev->number != 0)
        node->handed = ev->number;
    threads_run(w, ev->b);
}

/* Values of the daemon itself go through the same queue. Their token is 0. */
static void on_local(struct world *w, const struct event *ev)
{
    struct event value = *ev;

    value.number = 0;
    on_enqueue(w, &value);
    schedule(w, w->now + LOCAL_MS, *ev);
}

static void on_seen(struct world *w, const struct event *ev)
{
    struct aggregator_node *node = &w->nodes[ev->b];

    if (ev->number == 0) {
        intake_on_progress(node->intake, w->now, ev->after);
        return;
    }
    intake_on_seen(node->intake, w->now, &ev->number, 1,
                   SINK_OF(w, ev->b, false));
    if (node->hands[ev->a] == ev->number)
        node->hands[ev->a] = 0;
}

static void on_written(struct world *w, const struct event *ev)
{
    uint32_t *last = &w->nodes[ev->b].last[ev->n];

    if (ev->k < *last)
        w->ledger.disorder++;
    else
        *last = ev->k + 1;
    if (ev->size != 0)
        w->ledger.garbled++;
    w->state[(size_t)ev->n * w->o.values + ev->k] |= 2;
    w->writer[ev->n] = ev->b;
}

/* ----------------------------------------------------------------- events */

static void describe(const void *set, argus_SeriesDef *def)
{
    static const char *const names[2] = {"value", "second"};

    def->sources_count = (pb_size_t) * (const uint32_t *)set;
    for (uint32_t i = 0; i < def->sources_count; i++) {
        memset(&def->sources[i], 0, sizeof def->sources[i]);
        strcpy(def->sources[i].name, names[i]);
        def->sources[i].type = i == 0 ? argus_SourceType_SOURCE_DERIVE
                                      : argus_SourceType_SOURCE_GAUGE;
        def->sources[i].max = 1e9;
    }
}

static void on_value(struct world *w, const struct event *ev)
{
    static const uint32_t sets[2] = {1, 2};
    uint64_t number = (uint64_t)ev->n << 32 | ev->k;
    uint64_t numbers[2] = {number, ~number};
    char instance[16];
    struct value_input in = {.host = w->hosts[ev->n],
                             .plugin = "cpu",
                             .plugin_instance = "",
                             .type = "cpu",
                             .type_instance = instance,
                             .set = &sets[ev->n & 1],
                             .time = TIME_BASE +
                                     ev->k * w->o.interval_ms * CDTIME_MS,
                             .interval = w->o.interval_ms * CDTIME_MS,
                             .numbers = numbers,
                             .count = 1 + (ev->n & 1)};

    snprintf(instance, sizeof instance, "s%u", ev->n);
    w->ledger.published++;
    w->state[(size_t)ev->n * w->o.values + ev->k] |= 1;
    spool_on_values(w->spools[ev->a], w->now, &in, 1, SINK_OF(w, ev->a, true));
}

static void on_dial(struct world *w, const struct event *ev)
{
    struct aggregator_node *node = &w->nodes[ev->b];
    struct event next = {.a = ev->a, .b = ev->b, .number = ev->number};

    if (!node->alive) {
        next.kind = EV_DIAL_FAILED;
        schedule(w, soon(w, 1, 3), next);
        return;
    }
    if (node->frozen_until > w->now) {
        next.kind = EV_DIAL_FAILED;
        schedule(w, w->now + DIAL_TIMEOUT_MS, next);
        return;
    }
    assert(w->wires_count + 1 < LINKS_MAX);
    next.link = ++w->wires_count;
    next.life = node->life;
    w->wires[next.link] =
        (struct wire){.agent = ev->a, .aggregator = ev->b, .life = node->life};
    next.kind = EV_UP_AGGREGATOR;
    schedule(w, soon(w, 1, 3), next);
    next.kind = EV_UP_AGENT;
    w->wires[next.link].last_to_agent = soon(w, 4, 8);
    schedule(w, w->wires[next.link].last_to_agent, next);
}

static void on_frame(struct world *w, struct event *ev)
{
    struct wire *wire = &w->wires[ev->link];
    bool to_agent = ev->kind == EV_TO_AGENT;

    if (!wire->broken && (to_agent ? wire->agent_up : wire->aggregator_up)) {
        int rc = frame_decode(ev->bytes + FRAME_HEADER_SIZE,
                              ev->size - FRAME_HEADER_SIZE, &w->frame, NULL);
        assert(rc == ARGUS_OK);
        if (to_agent)
            spool_on_frame(w->spools[ev->a], w->now, ev->link, &w->frame,
                           SINK_OF(w, ev->a, true));
        else
            intake_on_frame(w->nodes[ev->b].intake, w->now, ev->link, &w->frame,
                            SINK_OF(w, ev->b, false));
    }
    free(ev->bytes);
}

static void on_up(struct world *w, const struct event *ev)
{
    struct wire *wire = &w->wires[ev->link];
    struct peer_info peer = {.kind = argus_LinkKind_LINK_METRICS,
                             .generation = 1,
                             .instance = ev->a + 1};

    if (ev->kind == EV_UP_AGENT) {
        if (wire->broken) {
            spool_on_dial_failed(w->spools[ev->a], w->now, ev->number,
                                 LINK_END_RESET, argus_RefuseCode_REFUSE_NONE,
                                 SINK_OF(w, ev->a, true));
            return;
        }
        wire->agent_up = true;
        peer.id = w->nodes[ev->b].id;
        spool_on_link_up(w->spools[ev->a], w->now, ev->link, ev->number, &peer,
                         SINK_OF(w, ev->a, true));
    } else if (!wire->broken) {
        wire->aggregator_up = true;
        peer.id.bytes[0] = (uint8_t)(ev->a + 1);
        intake_on_link_up(w->nodes[ev->b].intake, w->now, ev->link, &peer,
                          SINK_OF(w, ev->b, false));
    }
}

static void on_down(struct world *w, const struct event *ev)
{
    struct wire *wire = &w->wires[ev->link];

    wire->broken = true;
    if (ev->kind == EV_DOWN_AGENT && wire->agent_up) {
        wire->agent_up = false;
        spool_on_link_down(w->spools[ev->a], w->now, ev->link, LINK_END_RESET,
                           argus_RefuseCode_REFUSE_NONE,
                           SINK_OF(w, ev->a, true));
    }
    if (ev->kind == EV_DOWN_AGGREGATOR && wire->aggregator_up) {
        wire->aggregator_up = false;
        intake_on_link_down(w->nodes[ev->b].intake, w->now, ev->link,
                            SINK_OF(w, ev->b, false));
    }
}

static void tell_agents(struct world *w)
{
    struct aggregator list[WORLD_AGGREGATORS_MAX] = {0};
    uint32_t count = 0;

    for (uint32_t b = 0; b < w->o.aggregators; b++) {
        if (w->nodes[b].life == 0)
            continue; /* never started */
        list[count].id = w->nodes[b].id;
        snprintf(list[count].name, sizeof list[count].name, "agg%u", b);
        snprintf(list[count].address, sizeof list[count].address, "a:%u", b);
        list[count].weight = 1.0f;
        list[count++].usable = w->nodes[b].usable;
    }
    for (uint32_t a = 0; a < w->o.agents; a++)
        spool_on_aggregators(w->spools[a], w->now, list, count,
                             SINK_OF(w, a, true));
}

/* A silent link ends at the agent; what it sent before is in the frozen
 * kernel's buffers and will be read. */
static void on_silent(struct world *w, const struct event *ev)
{
    struct wire *wire = &w->wires[ev->link];

    if (wire->broken || !wire->agent_up ||
        w->nodes[ev->b].frozen_until <= w->now)
        return;
    wire->agent_up = false;
    spool_on_link_down(w->spools[ev->a], w->now, ev->link, LINK_END_TIMEOUT,
                       argus_RefuseCode_REFUSE_NONE, SINK_OF(w, ev->a, true));
    struct event down = *ev;
    down.kind = EV_DOWN_AGGREGATOR;
    schedule(w, w->now + 1, down);
}

static void on_thaw(struct world *w, uint32_t b)
{
    struct aggregator_node *node = &w->nodes[b];
    struct events held = node->held;

    node->held = (struct events){0};
    for (size_t i = 0; i < held.count; i++)
        schedule(w, w->now, held.list[i]);
    free(held.list);
}

static void node_end(struct world *w, uint32_t b)
{
    struct aggregator_node *node = &w->nodes[b];

    node->alive = false;
    intake_free(node->intake);
    node->intake = NULL;
    for (uint32_t i = 1; i <= w->wires_count; i++) {
        struct wire *wire = &w->wires[i];
        if (wire->aggregator != b || wire->life != node->life)
            continue;
        wire->broken = true;
        wire->aggregator_up = false;
        schedule(w, soon(w, 1, 5),
                 (struct event){.kind = EV_DOWN_AGENT,
                                .a = wire->agent,
                                .b = b,
                                .life = node->life,
                                .link = i});
    }
    schedule(w, soon(w, 50, 300), (struct event){.kind = EV_TELL});
}

static bool is_of_aggregator(enum kind kind)
{
    return kind == EV_TO_AGGREGATOR || kind == EV_UP_AGGREGATOR ||
           kind == EV_DOWN_AGGREGATOR || kind == EV_ENQUEUE ||
           kind == EV_SEEN || kind == EV_PASSED || kind == EV_LOCAL ||
           kind == EV_WRITTEN || kind == EV_THREAD || kind == EV_GONE;
}

static void happen_at_aggregator(struct world *w, struct event *ev)
{
    struct aggregator_node *node = &w->nodes[ev->b];

    if (!node->alive || ev->life != node->life) {
        free(ev->bytes);
        return;
    }
    if (node->frozen_until > w->now) {
        events_append(&node->held, ev);
        return;
    }
    switch (ev->kind) {
    case EV_TO_AGGREGATOR: on_frame(w, ev); break;
    case EV_UP_AGGREGATOR: on_up(w, ev); break;
    case EV_DOWN_AGGREGATOR: on_down(w, ev); break;
    case EV_ENQUEUE: on_enqueue(w, ev); break;
    case EV_LOCAL: on_local(w, ev); break;
    case EV_SEEN: on_seen(w, ev); break;
    case EV_WRITTEN: on_written(w, ev); break;
    case EV_PASSED:
        intake_on_passed(node->intake, w->now, &ev->number, 1,
                         SINK_OF(w, ev->b, false));
        break;
    case EV_THREAD:
        node->busy[ev->a] = false;
        threads_run(w, ev->b);
        break;
    default: node_end(w, ev->b); break;
    }
}

static void happen(struct world *w, struct event *ev)
{
    if (is_of_aggregator(ev->kind)) {
        happen_at_aggregator(w, ev);
        return;
    }
    switch (ev->kind) {
    case EV_VALUE: on_value(w, ev); break;
    case EV_DIAL: on_dial(w, ev); break;
    case EV_DIAL_FAILED:
        spool_on_dial_failed(w->spools[ev->a], w->now, ev->number,
                             LINK_END_REFUSED, argus_RefuseCode_REFUSE_NONE,
                             SINK_OF(w, ev->a, true));
        break;
    case EV_UP_AGENT: on_up(w, ev); break;
    case EV_TO_AGENT: on_frame(w, ev); break;
    case EV_DOWN_AGENT: on_down(w, ev); break;
    case EV_SILENT: on_silent(w, ev); break;
    case EV_THAW: on_thaw(w, ev->b); break;
    default: tell_agents(w); break;
    }
}

/* ------------------------------------------------------------------- time */

static bool is_running(const struct world *w, uint32_t b)
{
    return w->nodes[b].alive && w->nodes[b].frozen_until <= w->now;
}

static uint64_t next_deadline(const struct world *w)
{
    uint64_t due = UINT64_MAX;

    for (uint32_t a = 0; a < w->o.agents; a++)
        if (spool_deadline_ms(w->spools[a]) < due)
            due = spool_deadline_ms(w->spools[a]);
    for (uint32_t b = 0; b < w->o.aggregators; b++)
        if (is_running(w, b) && intake_deadline_ms(w->nodes[b].intake) < due)
            due = intake_deadline_ms(w->nodes[b].intake);
    return due;
}

static void time_out(struct world *w)
{
    for (uint32_t a = 0; a < w->o.agents; a++) {
        if (spool_deadline_ms(w->spools[a]) > w->now)
            continue;
        spool_on_timeout(w->spools[a], w->now, SINK_OF(w, a, true));
        if (spool_deadline_ms(w->spools[a]) <= w->now)
            w->ledger.spinning++;
    }
    for (uint32_t b = 0; b < w->o.aggregators; b++) {
        struct intake *intake = w->nodes[b].intake;
        if (!is_running(w, b) || intake_deadline_ms(intake) > w->now)
            continue;
        intake_on_timeout(intake, w->now, SINK_OF(w, b, false));
        if (intake_deadline_ms(intake) <= w->now)
            w->ledger.spinning++;
    }
}

void world_run(struct world *w, uint32_t ms)
{
    uint64_t end = w->now + ms;

    while (w->ledger.spinning < 100) {
        uint64_t due = next_deadline(w);
        uint64_t next = w->heap.count > 0 ? w->heap.list[0].time : UINT64_MAX;
        if (due > end && next > end)
            break;
        if (next <= due) {
            struct event ev = heap_pop(w);
            if (ev.time > w->now)
                w->now = ev.time;
            happen(w, &ev);
        } else {
            if (due > w->now)
                w->now = due;
            time_out(w);
        }
    }
    w->now = end;
}

static bool is_settled(const struct world *w)
{
    uint64_t published = 0;

    for (uint32_t a = 0; a < w->o.agents; a++)
        if (spool_pending(w->spools[a]) > 0)
            return false;
    published = (uint64_t)w->series * w->o.values;
    return w->ledger.published == published;
}

bool world_settle(struct world *w, uint32_t limit_ms)
{
    for (uint32_t ms = 0; ms < limit_ms && w->ledger.spinning < 100;
         ms += 100) {
        if (is_settled(w))
            return true;
        world_run(w, 100);
    }
    return is_settled(w);
}

/* ----------------------------------------------------------- life of nodes */

static bool all_are_online(void *context, const struct node_id *id)
{
    (void)context;
    (void)id;
    return true;
}

static bool is_in_hands(void *context, uint64_t token)
{
    const struct aggregator_node *node = context;

    for (uint32_t t = 0; t < THREADS_MAX; t++)
        if (node->hands[t] == token)
            return true;
    return false;
}

static void node_begin(struct world *w, uint32_t b)
{
    struct aggregator_node *node = &w->nodes[b];
    struct intake_options options = {
        .is_aggregator = true,
        .queue_max = w->o.queue_max != 0 ? w->o.queue_max : 4096,
        .redispatch_max = w->o.redispatch_max,
        .threads = {node, is_in_hands},
        .listener = {.is_online = all_are_online}};
    int rc = intake_new(&options, &node->intake);

    assert(rc == ARGUS_OK);
    node->alive = node->usable = true;
    node->life++;
    node->head = node->tail = 0;
    node->handed = node->turn = 0;
    memset(node->busy, 0, sizeof node->busy);
    memset(node->hands, 0, sizeof node->hands);
    node->hung_until = node->frozen_until = 0;
    node->handles = 0;
    memset(node->last, 0, w->series * sizeof *node->last);
    schedule(w, soon(w, 1, LOCAL_MS),
             (struct event){.kind = EV_LOCAL, .b = b, .life = node->life});
    schedule(w, soon(w, 50, 300), (struct event){.kind = EV_TELL});
}

static void publish_series(struct world *w, uint32_t agent, uint32_t n)
{
    uint64_t phase = w->now + 20 + prng_below(&w->prng, w->o.interval_ms);

    for (uint32_t k = 0; k < w->o.values; k++) {
        struct event ev = {.kind = EV_VALUE, .a = agent, .n = n, .k = k};
        uint64_t at = phase + (uint64_t)k * w->o.interval_ms;
        if (k + 1 < w->o.values &&
            prng_below(&w->prng, 1000000) < w->o.swap_ppm) {
            /* Both at once, in a burst, the later one first. */
            ev.k = k + 1;
            schedule(w, at + w->o.interval_ms, ev);
            ev.k = k;
            schedule(w, at + w->o.interval_ms + prng_below(&w->prng, 60), ev);
            k++;
            continue;
        }
        schedule(w, at, ev);
    }
}

static void world_tables(struct world *w)
{
    w->series = w->o.agents * w->o.hosts * w->o.series;
    w->hosts = calloc(w->series, sizeof *w->hosts);
    w->state = calloc(w->series, w->o.values);
    w->stopped = calloc(w->series, 1);
    w->passing = calloc(w->series, 1);
    w->writer = malloc(w->series * sizeof *w->writer);
    assert(w->hosts && w->state && w->stopped && w->passing && w->writer);
    memset(w->writer, 0xff, w->series * sizeof *w->writer);
}

struct world *world_new(const struct world_options *options)
{
    struct world *w = calloc(1, sizeof *w);

    assert(w != NULL && options->threads <= THREADS_MAX);
    w->o = *options;
    w->now = 1000;
    prng_seed(&w->prng, options->seed);
    world_tables(w);
    for (uint32_t b = 0; b < w->o.aggregators; b++) {
        w->nodes[b].id.bytes[0] = 0xa0;
        w->nodes[b].id.bytes[1] = (uint8_t)b;
        w->nodes[b].last = calloc(w->series, sizeof(uint32_t));
        assert(w->nodes[b].last != NULL);
    }
    for (uint32_t a = 0; a < w->o.agents; a++) {
        struct spool_options s = {
            .seed = prng_next(&w->prng),
            .generation = 1,
            .zone = "",
            .bytes_max = w->o.bytes_max != 0 ? w->o.bytes_max : 64u << 20,
            .write_order_known = w->o.order_known,
            .describe = describe};
        int rc = spool_new(&s, &w->spools[a]);
        assert(rc == ARGUS_OK);
    }
    for (uint32_t n = 0; n < w->series; n++) {
        uint32_t agent = n / (w->o.hosts * w->o.series);
        snprintf(w->hosts[n], sizeof w->hosts[n], "host-%u", n / w->o.series);
        w->stopped[n] = prng_below(&w->prng, 1000000) < w->o.stopped_ppm;
        w->passing[n] = prng_below(&w->prng, 1000000) < w->o.passing_ppm;
        publish_series(w, agent, n);
    }
    return w;
}

void world_free(struct world *w)
{
    for (size_t i = 0; i < w->heap.count; i++)
        free(w->heap.list[i].bytes);
    free(w->heap.list);
    for (uint32_t a = 0; a < w->o.agents; a++)
        spool_free(w->spools[a]);
    for (uint32_t b = 0; b < w->o.aggregators; b++) {
        struct aggregator_node *node = &w->nodes[b];
        for (size_t i = 0; i < node->held.count; i++)
            free(node->held.list[i].bytes);
        free(node->held.list);
        intake_free(node->intake);
        free(node->series_of);
        free(node->last);
        free(node->queue);
    }
    free(w->hosts);
    free(w->state);
    free(w->stopped);
    free(w->passing);
    free(w->writer);
    free(w);
}

/* ----------------------------------------------------------------- faults */

void world_start(struct world *w, uint32_t b)
{
    if (!w->nodes[b].alive)
        node_begin(w, b);
}

void world_kill(struct world *w, uint32_t b)
{
    if (!w->nodes[b].alive)
        return;
    w->nodes[b].usable = false;
    node_end(w, b);
}

/* collectd drops its queue, runs the shutdown callbacks, then exits. */
void world_stop(struct world *w, uint32_t b)
{
    struct aggregator_node *node = &w->nodes[b];

    if (!node->alive)
        return;
    intake_freeze(node->intake);
    node->head = node->tail;
    node->usable = false;
    schedule(w, soon(w, 20, 200),
             (struct event){.kind = EV_GONE, .b = b, .life = node->life});
}

void world_break_links(struct world *w, uint32_t b)
{
    for (uint32_t i = 1; i <= w->wires_count; i++) {
        struct wire *wire = &w->wires[i];
        if (wire->aggregator != b || wire->broken || !wire->agent_up)
            continue;
        struct event ev = {
            .a = wire->agent, .b = b, .life = wire->life, .link = i};
        wire->broken = true;
        ev.kind = EV_DOWN_AGENT;
        schedule(w, soon(w, 1, 50), ev);
        ev.kind = EV_DOWN_AGGREGATOR;
        schedule(w, soon(w, 1, 800), ev); /* may outlive the next link */
    }
}

void world_freeze(struct world *w, uint32_t b, uint32_t ms)
{
    if (!is_running(w, b))
        return;
    w->nodes[b].frozen_until = w->now + ms;
    schedule(w, w->now + ms, (struct event){.kind = EV_THAW, .b = b});
    for (uint32_t i = 1; i <= w->wires_count; i++)
        if (w->wires[i].aggregator == b && !w->wires[i].broken)
            schedule(w, w->now + SILENT_MS,
                     (struct event){.kind = EV_SILENT,
                                    .a = w->wires[i].agent,
                                    .b = b,
                                    .life = w->wires[i].life,
                                    .link = i});
}

void world_hang_writers(struct world *w, uint32_t b, uint32_t ms)
{
    w->nodes[b].hung_until = w->now + ms;
}

/* -------------------------------------------------------------- questions */

bool world_is_alive(const struct world *w, uint32_t b)
{
    return w->nodes[b].alive;
}

struct spool *world_spool(struct world *w, uint32_t agent)
{
    return w->spools[agent];
}

struct intake *world_intake(struct world *w, uint32_t aggregator)
{
    return w->nodes[aggregator].intake;
}

uint64_t world_now(const struct world *w)
{
    return w->now;
}

void world_flush(struct world *w, uint32_t agent)
{
    spool_flush(w->spools[agent], w->now, SINK_OF(w, agent, true));
}

struct world_ledger world_ledger(const struct world *w)
{
    struct world_ledger ledger = w->ledger;

    for (size_t i = 0; i < (size_t)w->series * w->o.values; i++) {
        if (w->state[i] & 2)
            ledger.written++;
        else if (w->state[i] & 4)
            ledger.stopped++;
        else if (w->state[i] & 1)
            ledger.missing++;
    }
    return ledger;
}

uint32_t world_first_written(const struct world *w, uint32_t series)
{
    for (uint32_t k = 0; k < w->o.values; k++)
        if (w->state[(size_t)series * w->o.values + k] & 2)
            return k;
    return UINT32_MAX;
}

uint32_t world_series(const struct world *w)
{
    return w->series;
}

const char *world_host(const struct world *w, uint32_t series)
{
    return w->hosts[series];
}

uint32_t world_last_writer(const struct world *w, uint32_t series)
{
    return w->writer[series];
}
