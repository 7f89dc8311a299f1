/* sim.c - time, nodes and the verbs of a scenario. See sim.h. */
#include "sim/sim_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Above this many nodes nothing is kept on their disks: N x N records. */
#define DISK_NODES_MAX 256

/** Events at one and the same microsecond that mean an endless loop. */
#define STANDSTILL_MAX 2000000

/** A daemon that stops has so long to say goodbye. */
#define EXIT_US 300000

/** TCP tries again so long after a partition has healed. */
#define RESEND_US 400000

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (p == NULL)
        abort();
    return p;
}

void sim_fail(struct sim *s, const char *format, ...)
{
    char text[256];
    va_list ap;

    if (s->is_failed)
        return;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    s->is_failed = true;
    (void)snprintf(s->failure, sizeof s->failure,
                   "[%" PRIu64 " ms] %s (seed %" PRIu64 ")", sim_now_ms(s),
                   text, s->options.seed);
}

const char *sim_failure(const struct sim *s)
{
    return s->is_failed ? s->failure : NULL;
}

uint64_t sim_now_ms(const struct sim *s)
{
    return s->now_us / 1000;
}

uint64_t sim_mono_ms(const struct sim *s, const struct sim_node *n)
{
    return (s->now_us + n->boot_us) / 1000;
}

uint64_t sim_wall_us(const struct sim *s, const struct sim_node *n)
{
    return SIM_WALL_START_US + s->now_us + (uint64_t)n->offset_us;
}

/* ---------------------------------------------------- heap of happenings */

static bool is_before(const struct happening *a, const struct happening *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us
                                : a->sequence < b->sequence;
}

static void heap_push(struct sim *s, struct happening *h)
{
    if (s->heap_count == s->heap_room) {
        s->heap_room = s->heap_room == 0 ? 1024 : 2 * s->heap_room;
        s->heap = realloc(s->heap, s->heap_room * sizeof(struct happening *));
        if (s->heap == NULL)
            abort();
    }
    uint32_t i = s->heap_count++;
    while (i > 0 && is_before(h, s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = h;
}

static struct happening *heap_pop(struct sim *s)
{
    struct happening *top = s->heap[0], *last = s->heap[--s->heap_count];
    uint32_t i = 0, child;

    while ((child = 2 * i + 1) < s->heap_count) {
        if (child + 1 < s->heap_count &&
            is_before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!is_before(s->heap[child], last))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    if (s->heap_count > 0)
        s->heap[i] = last;
    return top;
}

struct happening *sim_schedule(struct sim *s, uint64_t at_us, enum what what,
                               uint32_t node)
{
    struct happening *h = sim_alloc(sizeof *h);

    h->at_us = at_us;
    h->sequence = ++s->sequence;
    h->what = what;
    h->node = node;
    h->life = what == WHAT_START ? SIM_NOBODY : s->nodes[node]->life;
    s->starts_pending += what == WHAT_START;
    heap_push(s, h);
    return h;
}

/* ---------------------------------------------------------------- disk */

static struct stored *disk_find(struct sim_node *n, enum store_what what,
                                const struct node_id *id)
{
    for (uint32_t i = 0; i < n->disk_count; i++)
        if (n->disk[i].what == what && node_id_is_equal(&n->disk[i].id, id))
            return &n->disk[i];
    return NULL;
}

static void disk_drop(struct sim_node *n, enum store_what what,
                      const struct node_id *id)
{
    struct stored *d = disk_find(n, what, id);
    if (d == NULL)
        return;
    free(d->data);
    n->disk_count--;
    memmove(d, d + 1, (size_t)(n->disk + n->disk_count - d) * sizeof *d);
}

static void disk_put(struct sim_node *n, const struct action *a)
{
    struct stored *d = disk_find(n, a->store.what, &a->store.key);

    if (d == NULL) {
        if (n->disk_count == n->disk_room) {
            n->disk_room = n->disk_room == 0 ? 16 : 2 * n->disk_room;
            n->disk = realloc(n->disk, n->disk_room * sizeof *n->disk);
            if (n->disk == NULL)
                abort();
        }
        d = &n->disk[n->disk_count++];
        memset(d, 0, sizeof *d);
        d->id = a->store.key;
        d->what = a->store.what;
    }
    free(d->data);
    d->data = NULL;
    d->size = (uint32_t)a->store.size;
    if (a->store.size > 0) {
        d->data = sim_alloc(a->store.size);
        memcpy(d->data, a->store.data, a->store.size);
    }
    if (a->store.text != NULL)
        (void)snprintf(d->address, sizeof d->address, "%s", a->store.text);
}

static void on_store(struct sim *s, struct sim_node *n, const struct action *a)
{
    if (a->store.what == STORE_GENERATION)
        n->generation = (uint32_t)a->store.number;
    if (s->nodes_count > DISK_NODES_MAX)
        return;
    switch (a->store.what) {
    case STORE_FORGET:
        disk_drop(n, STORE_RECORD, &a->store.key);
        disk_drop(n, STORE_REPORT, &a->store.key);
        break;
    case STORE_REPORT:
        if (a->store.size == 0) {
            disk_drop(n, STORE_REPORT, &a->store.key);
            break;
        }
        disk_put(n, a);
        break;
    case STORE_BUNDLE:
        if (a->store.size == 0) {
            disk_drop(n, STORE_BUNDLE, &a->store.key);
            break;
        }
        disk_put(n, a);
        break;
    case STORE_RECORD:
    case STORE_ADDRESS: disk_put(n, a); break;
    case STORE_HLC:
    case STORE_GENERATION: break;
    }
}

/* --------------------------------------------------------------- steps */

static void trace(const struct sim *s, const struct sim_node *n,
                  const char *line)
{
    static int wanted = -1;

    if (wanted < 0)
        wanted = getenv("ARGUS_TRACE") != NULL;
    if (wanted)
        printf("[%7" PRIu64 "] n%u: %s\n", sim_now_ms(s), n->index, line);
}

static void on_action(void *context, const struct action *a)
{
    struct sim_node *n = context;
    struct sim *s = n->sim;

    switch (a->type) {
    case ACTION_DIAL: simnet_dial(s, n, a); break;
    case ACTION_SEND: simnet_send(s, n, a); break;
    case ACTION_CLOSE: simnet_close(s, n, a); break;
    case ACTION_SERIES_BEGIN:
    case ACTION_SERIES_END:
    case ACTION_DISPATCH: values_on_action(s, n, a); break;
    case ACTION_TIMELINE: check_timeline(s, n, a); break;
    case ACTION_NOTIFY: break;
    case ACTION_STORE: on_store(s, n, a); break;
    case ACTION_NEW_IDENTITY:
        sim_fail(s, "n%u takes itself for a clone", n->index);
        break;
    case ACTION_BUNDLES: n->bundles_changed = true; break;
    case ACTION_KEYS: n->keys_told++; break;
    case ACTION_LOG: trace(s, n, a->log.line); break;
    }
}

static void arm_timer(struct sim *s, struct sim_node *n)
{
    uint64_t deadline_ms = engine_deadline_ms(n->engine);

    if (deadline_ms == UINT64_MAX)
        return;
    uint64_t at =
        deadline_ms * 1000 < n->boot_us ? 0 : deadline_ms * 1000 - n->boot_us;
    if (at < s->now_us)
        at = s->now_us;
    if (at >= n->timer_us)
        return;
    n->timer_us = at;
    (void)sim_schedule(s, at, WHAT_TIMER, n->index);
}

void sim_step(struct sim *s, struct sim_node *n, struct event *event)
{
    struct actions out = {.emit = on_action, .context = n};

    event->now_ms = sim_mono_ms(s, n);
    event->wall_us = sim_wall_us(s, n);
    engine_step(n->engine, event, &out);
    if (n->bundles_changed)
        bundles_check(s, n);
    arm_timer(s, n);
}

static void on_timer(struct sim *s, struct sim_node *n,
                     const struct happening *h)
{
    struct event ev = {.type = EVENT_TIMEOUT};

    if (n->timer_us != h->at_us)
        return;
    n->timer_us = UINT64_MAX;
    if (engine_deadline_ms(n->engine) <= sim_mono_ms(s, n))
        sim_step(s, n, &ev);
    else
        arm_timer(s, n);
}

static void load_disk(struct sim *s, struct sim_node *n)
{
    for (uint32_t i = 0; i < n->disk_count; i++) {
        const struct stored *d = &n->disk[i];
        struct event record = {
            .type = EVENT_RECORD,
            .record = {.id = d->id, .data = d->data, .size = d->size}};
        struct event address = {
            .type = EVENT_ADDRESS,
            .address = {.id = d->id, .address = d->address}};
        struct event bundle = {
            .type = EVENT_BUNDLE_ROW,
            .bundle_row = {.data = d->data, .size = d->size}};
        sim_step(s, n,
                 d->what == STORE_ADDRESS  ? &address
                 : d->what == STORE_BUNDLE ? &bundle
                                           : &record);
    }
}

static void fill_options(struct sim *s, struct sim_node *n,
                         struct engine_options *o)
{
    memset(o, 0, sizeof *o);
    o->seed = n->seed + n->generation;
    o->seal = sim_seal(n);
    o->describe = values_describe;
    o->id = n->id;
    o->generation = n->generation;
    o->instance = n->instance;
    o->started_ms = sim_wall_us(s, n) / 1000;
    o->hlc_mark = n->last_hlc;
    (void)snprintf(o->name, sizeof o->name, "n%u", n->index);
    simnet_address(n->index, o->address);
    o->role =
        n->is_aggregator ? argus_Role_ROLE_AGGREGATOR : argus_Role_ROLE_AGENT;
    o->weight = 1;
    (void)snprintf(o->software, sizeof o->software, "sim");
    o->active_max = s->options.active_max;
    o->passive_max = s->options.passive_max;
    o->shuffle_ms = 10000;
    o->ping_ms = 2000;
    o->suspect_ms = 3500;
    o->retain_offline_s = 604800;
    o->route = !n->is_aggregator;
    o->spool_bytes_max = 16 << 20;
    o->intake_queue_max = 1024;
    o->clock_max_offset_ms = 500;
    o->forward = argus_Severity_SEVERITY_WARNING;
    o->retain_events = s->options.retain_events;
    o->event_rate = 100;
    o->chunks = kit_store(&n->chunks);
    o->trusted_keys = kit_keys;
    o->trusted_keys_count = 3;
    o->bundle_size_max = 4 << 20;
}

static void on_start(struct sim *s, struct sim_node *n)
{
    struct engine_options o;
    struct event start = {.type = EVENT_START};
    char contact[ADDRESS_SIZE];
    const char *contacts[] = {contact};

    if (n->engine != NULL)
        return;
    n->life++;
    n->generation++;
    n->instance = prng_next(&s->prng);
    n->started_us = s->now_us;
    n->timer_us = UINT64_MAX;
    n->frozen_until_us = 0;
    n->is_unplugged = n->is_stopping = false;
    if (s->nodes_count > DISK_NODES_MAX)
        bundles_forget(n);
    fill_options(s, n, &o);
    if (n->contact != SIM_NOBODY) {
        simnet_address(n->contact, contact);
        o.contacts = contacts;
        o.contacts_count = 1;
    }
    if (engine_new(&o, &n->engine) != ARGUS_OK)
        abort();
    load_disk(s, n);
    sim_step(s, n, &start);
}

void sim_down(struct sim *s, struct sim_node *n)
{
    if (n->engine == NULL)
        return;
    values_down(s, n);
    engine_free(n->engine);
    n->engine = NULL;
    n->life++;
}

static void on_happening(struct sim *s, struct sim_node *n, struct happening *h)
{
    switch (h->what) {
    case WHAT_TIMER: on_timer(s, n, h); break;
    case WHAT_START:
        s->starts_pending--;
        on_start(s, n);
        break;
    case WHAT_EXIT:
        simnet_end_node(s, n, true);
        sim_down(s, n);
        break;
    case WHAT_FLOOD: insider_on_flood(s, n); break;
    case WHAT_SEEN:
    case WHAT_VALUES: values_on_happening(s, n, h); break;
    default: simnet_arrive(s, n, h); break;
    }
}

/* ----------------------------------------------------------- partitions */

static bool is_packet(const struct happening *h)
{
    return h->cable != NULL;
}

static void hold_back(struct sim *s, struct happening *h)
{
    if (s->stuck_count == s->stuck_room) {
        s->stuck_room = s->stuck_room == 0 ? 256 : 2 * s->stuck_room;
        s->stuck =
            realloc(s->stuck, s->stuck_room * sizeof(struct happening *));
        if (s->stuck == NULL)
            abort();
    }
    s->stuck[s->stuck_count++] = h;
}

void sim_partition(struct sim *s, uint32_t first)
{
    s->is_parted = true;
    for (uint32_t i = 0; i < s->nodes_count; i++)
        s->nodes[i]->side = i >= first;
}

void sim_heal(struct sim *s)
{
    s->is_parted = false;
    s->options.cut_ppm = 0;
    for (uint32_t i = 0; i < s->stuck_count; i++) {
        struct happening *h = s->stuck[i];
        struct cable *c = h->cable;
        int to = c->side[0].node == h->node ? 0 : 1;
        uint64_t at = s->now_us + RESEND_US;

        if (at <= c->side[to].last_us)
            at = c->side[to].last_us + 1;
        c->side[to].last_us = at;
        h->at_us = at;
        h->sequence = ++s->sequence;
        heap_push(s, h);
    }
    s->stuck_count = 0;
}

/* ----------------------------------------------------------------- time */

/* A frozen process takes nothing; its kernel keeps all for it. */
static bool is_frozen(const struct sim *s, const struct sim_node *n,
                      const struct happening *h)
{
    return s->now_us < n->frozen_until_us && h->what != WHAT_START;
}

static void advance(struct sim *s)
{
    struct happening *h = heap_pop(s);
    struct sim_node *n = s->nodes[h->node];

    s->now_us = h->at_us;
    s->events++;
    if (h->life != SIM_NOBODY && h->life != n->life) {
        sim_drop(s, h);
        return;
    }
    if (is_packet(h) && simnet_is_parted(s, h->node, simnet_peer_of(h))) {
        hold_back(s, h);
        return;
    }
    if (n->engine != NULL && is_frozen(s, n, h)) {
        if (h->what == WHAT_TIMER && n->timer_us == h->at_us)
            n->timer_us = n->frozen_until_us;
        h->at_us = n->frozen_until_us;
        heap_push(s, h);
        return;
    }
    on_happening(s, n, h);
    sim_drop(s, h);
}

bool sim_run_until(struct sim *s, bool (*predicate)(struct sim *s), uint32_t ms)
{
    const uint64_t pause_us = 20000; /* a predicate walks all nodes */
    uint64_t end_us = s->now_us + (uint64_t)ms * 1000;
    uint64_t look_us = s->now_us;
    uint32_t standstill = 0;

    while (!s->is_failed) {
        bool is_over = s->heap_count == 0 || s->heap[0]->at_us > end_us;
        if (is_over || s->heap[0]->at_us >= look_us) {
            look_us = (is_over ? end_us : s->heap[0]->at_us) + pause_us;
            if (is_over)
                s->now_us = end_us;
            if (predicate != NULL && predicate(s))
                return !s->is_failed;
            if (is_over)
                return false;
        }
        uint64_t before_us = s->now_us;
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

/* ---------------------------------------------------------------- verbs */

static struct sim_node *add_node(struct sim *s, uint32_t contact)
{
    struct sim_node *n = sim_alloc(sizeof *n);
    uint32_t index = s->nodes_count;

    if ((index & (index - 1)) == 0) {
        size_t room = index == 0 ? 1 : 2 * (size_t)index;
        s->nodes = realloc(s->nodes, room * sizeof(struct sim_node *));
        if (s->nodes == NULL)
            abort();
    }
    s->nodes[s->nodes_count++] = n;
    n->index = index;
    n->sim = s;
    n->contact = contact;
    n->seed = prng_next(&s->prng);
    n->boot_us = (uint64_t)prng_below(&s->prng, 1000000) * 1000;
    n->is_aggregator = index < s->options.aggregators;
    if (s->options.offset_ms > 0)
        n->offset_us =
            ((int64_t)prng_below(&s->prng, 2 * s->options.offset_ms + 1) -
             s->options.offset_ms) *
            1000;
    /* The order of ids says nothing about that of the nodes. */
    uint64_t head = prng_next(&s->prng), tail = index + 1;
    memcpy(n->id.bytes, &head, 8);
    memcpy(n->id.bytes + 8, &tail, 8);
    n->timer_us = UINT64_MAX;
    n->chunks.pool = s->pool;
    return n;
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->options = *options;
    if (s->options.latency_max_us == 0) {
        s->options.latency_min_us = 200;
        s->options.latency_max_us = 2000;
    }
    if (s->options.active_max == 0)
        s->options.active_max = 5;
    if (s->options.passive_max == 0)
        s->options.passive_max = 30;
    if (s->options.retain_events == 0)
        s->options.retain_events = 10000;
    s->pool = kit_pool_new();
    if (s->pool == NULL)
        abort();
    prng_seed(&s->prng, options->seed);
    for (uint32_t i = 0; i < options->nodes; i++) {
        (void)add_node(s, i == 0 ? SIM_NOBODY : 0);
        uint64_t wait = options->spread_ms == 0 || i == 0
                            ? 0
                            : prng_below(&s->prng, options->spread_ms * 1000);
        if (!options->quiet)
            (void)sim_schedule(s, wait, WHAT_START, i);
    }
    return s;
}

void sim_free(struct sim *s)
{
    if (s == NULL)
        return;
    while (s->heap_count > 0)
        sim_drop(s, heap_pop(s));
    for (uint32_t i = 0; i < s->stuck_count; i++)
        sim_drop(s, s->stuck[i]);
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        struct sim_node *n = s->nodes[i];
        sim_down(s, n);
        for (uint32_t j = 0; j < n->disk_count; j++)
            free(n->disk[j].data);
        free(n->disk);
        bundles_forget(n);
        bundles_drop_kept(n);
        kit_chunks_clear(&n->chunks);
    }
    kit_pool_free(s->pool);
    simnet_free(s);
    values_free(s);
    check_free(s);
    for (uint32_t i = 0; i < s->nodes_count; i++)
        free(s->nodes[i]);
    free(s->nodes);
    free(s->heap);
    free(s->stuck);
    free(s);
}

uint32_t sim_add(struct sim *s, uint32_t contact)
{
    uint32_t index = add_node(s, contact)->index;
    sim_start(s, index);
    return index;
}

void sim_start(struct sim *s, uint32_t node)
{
    (void)sim_schedule(s, s->now_us, WHAT_START, node);
}

void sim_restart(struct sim *s, uint32_t node)
{
    if (s->nodes[node]->engine != NULL)
        sim_crash(s, node);
    sim_start(s, node);
}

void sim_crash(struct sim *s, uint32_t node)
{
    simnet_end_node(s, s->nodes[node], true);
    sim_down(s, s->nodes[node]);
}

void sim_unplug(struct sim *s, uint32_t node)
{
    simnet_end_node(s, s->nodes[node], false);
    sim_down(s, s->nodes[node]);
    s->nodes[node]->is_unplugged = true;
}

void sim_freeze(struct sim *s, uint32_t node, uint32_t ms)
{
    s->nodes[node]->frozen_until_us = s->now_us + (uint64_t)ms * 1000;
}

void sim_stop(struct sim *s, uint32_t node)
{
    struct sim_node *n = s->nodes[node];
    struct event stop = {.type = EVENT_STOP};

    if (n->engine == NULL || n->is_stopping)
        return;
    n->is_stopping = true;
    (void)sim_schedule(s, s->now_us + EXIT_US, WHAT_EXIT, node);
    sim_step(s, n, &stop);
}

void sim_join(struct sim *s, uint32_t node, uint32_t contact)
{
    char address[ADDRESS_SIZE];
    int result;
    struct event join = {.type = EVENT_JOIN, .join = {address, &result}};

    simnet_address(contact, address);
    if (s->nodes[node]->engine != NULL)
        sim_step(s, s->nodes[node], &join);
}

bool sim_is_alive(const struct sim *s, uint32_t node)
{
    const struct sim_node *n = s->nodes[node];

    return n->engine != NULL && !n->is_stopping && !n->is_hostile;
}

uint32_t sim_alive_count(const struct sim *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->nodes_count; i++)
        n += sim_is_alive(s, i);
    return n;
}

uint32_t sim_random_alive(struct sim *s)
{
    uint32_t left = prng_below(&s->prng, sim_alive_count(s));

    for (uint32_t i = 0;; i++)
        if (sim_is_alive(s, i) && left-- == 0)
            return i;
}

void sim_crash_random(struct sim *s, uint32_t count)
{
    while (count-- > 0)
        sim_crash(s, sim_random_alive(s));
}

void sim_cut_random(struct sim *s)
{
    struct sim_node *n = s->nodes[sim_random_alive(s)];
    struct membership_peer peer;
    uint64_t number;
    struct cable *c;

    if (!membership_active(n->engine->membership, 0, &peer))
        return;
    number = peer.link >> 1;
    HASH_FIND(hh, s->cables, &number, sizeof number, c);
    if (c != NULL)
        simnet_cut(s, c);
}
