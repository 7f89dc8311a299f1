/* sim.c - nodes, their steps, and the verbs about them. See sim.h. */
#include "sim/sim_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A daemon that stops has so long to say goodbye. */
#define EXIT_US 300000

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (p == NULL)
        abort();
    return p;
}

void *sim_alloc_lines(size_t size)
{
    void *p = lines_alloc(size);
    if (p == NULL)
        abort();
    return p;
}

void *sim_grow(void *array, uint32_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return array;
    void *grown = realloc(array, (count == 0 ? 1 : 2 * (size_t)count) * size);
    if (grown == NULL)
        abort();
    return grown;
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

uint32_t sim_cycle_ms(const struct sim *s)
{
    return s->options.shuffle_ms;
}

void sim_break(struct sim *s, const char *why)
{
    sim_fail(s, "%s", why);
}

/* ---------------------------------------------------------------- story */

void sim_trace(struct sim *s, sim_line line, void *context)
{
    s->line = line;
    s->line_context = context;
}

void sim_tell(struct sim *s, uint32_t node, const char *format, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    s->line(s->line_context, s->now_us, node, text);
}

/* ARGUS_TRACE=1: to where the tests print. */
static void print_line(void *context, uint64_t now_us, uint32_t node,
                       const char *text)
{
    (void)context;
    if (node == SIM_NOBODY)
        printf("[%7" PRIu64 "] %s\n", now_us / 1000, text);
    else
        printf("[%7" PRIu64 "] n%u: %s\n", now_us / 1000, node, text);
}

/* --------------------------------------------------------------- steps */

void sim_on_action(void *context, const struct action *a)
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
    case ACTION_TIMELINE: follow_timeline(s, n, a); break;
    case ACTION_NOTIFY: break;
    case ACTION_STORE: disk_on_store(s, n, a); break;
    case ACTION_NEW_IDENTITY: n->wants_identity = true; break;
    case ACTION_BUNDLES: n->bundles_changed = true; break;
    case ACTION_KEYS: n->keys_told++; break;
    case ACTION_ADDRESS: break; /* nobody checks it */
    case ACTION_CALL: break;    /* there is no local network */
    case ACTION_LOG:
        if (s->line != NULL)
            sim_tell(s, n->index, "%s", a->log.line);
        break;
    }
}

static void arm_timer(struct sim *s, struct sim_node *n)
{
    uint64_t deadline_ms = node_deadline_ms(n);

    if (deadline_ms == UINT64_MAX)
        return;
    uint64_t at =
        deadline_ms * 1000 < n->boot_us ? 0 : deadline_ms * 1000 - n->boot_us;
    if (at < s->now_us)
        at = s->now_us;
    if (n->slow_us > 0 && at < n->work_us)
        at = n->work_us;
    if (at >= n->timer_us)
        return;
    if (n->timer_us < n->later_us)
        n->later_us = n->timer_us;
    n->timer_us = at;
    (void)sim_schedule(s, at, WHAT_TIMER, n->index);
}

static bool has_double(const struct sim *s, const struct sim_node *n)
{
    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (s->nodes[i] != n && node_is_up(s->nodes[i]) &&
            node_id_is_equal(&s->nodes[i]->id, &n->id))
            return true;
    return false;
}

/* The daemon of a clone makes itself another identity and starts anew. */
static void change_identity(struct sim *s, struct sim_node *n)
{
    n->wants_identity = false;
    if (!has_double(s, n)) {
        sim_fail(s, "n%u takes itself for a clone", n->index);
        return;
    }
    if (s->line != NULL)
        sim_tell(s, n->index, "takes a new identity");
    sim_crash(s, n->index);
    disk_clear(n);
    sim_new_identity(s, n);
    n->generation = 0;
    sim_start(s, n->index);
}

void sim_step(struct sim *s, struct sim_node *n, struct event *event)
{
    struct actions out = {.emit = sim_on_action, .context = n};

    event->now_ms = sim_mono_ms(s, n);
    event->wall_us = sim_wall_us(s, n);
    node_step(n, event, &out);
    if (n->bundles_changed)
        bundles_check(s, n);
    if (s->options.check_ms == 0)
        check_node(s, n);
    if (n->wants_identity) {
        change_identity(s, n);
        return;
    }
    arm_timer(s, n);
}

static void on_timer(struct sim *s, struct sim_node *n,
                     const struct happening *h)
{
    struct event ev = {.type = EVENT_TIMEOUT};

    if (n->timer_us != h->at_us)
        return;
    n->timer_us = n->later_us;
    n->later_us = UINT64_MAX;
    if (node_deadline_ms(n) <= sim_mono_ms(s, n))
        sim_step(s, n, &ev);
    else
        arm_timer(s, n);
}

static void on_start(struct sim *s, struct sim_node *n)
{
    if (node_is_up(n))
        return;
    n->life++;
    n->generation++;
    n->instance = prng_next(&s->prng);
    n->started_us = s->now_us;
    n->started_wall_us = sim_wall_us(s, n);
    n->timer_us = n->later_us = UINT64_MAX;
    n->frozen_until_us = 0;
    n->is_unplugged = n->is_stopping = false;
    if (!disk_is_used(s))
        bundles_forget(n);
    if (s->line != NULL)
        sim_tell(s, n->index, "starts");
    if (!node_start(s, n))
        abort();
    sim_count_alive(s, n);
}

void sim_down(struct sim *s, struct sim_node *n)
{
    if (!node_is_up(n))
        return;
    values_down(s, n);
    node_free(n);
    n->life++;
    n->wants_identity = false;
    sim_count_alive(s, n);
}

void sim_on_happening(struct sim *s, struct sim_node *n, struct happening *h)
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

/* ---------------------------------------------------------------- verbs */

/* The order of ids says nothing about that of the nodes. */
void sim_new_identity(struct sim *s, struct sim_node *n)
{
    uint64_t head = prng_next(&s->prng), tail = n->index + 1;

    memcpy(n->id.bytes, &head, 8);
    memcpy(n->id.bytes + 8, &tail, 8);
}

struct sim_node *sim_new_node(struct sim *s, uint32_t contact)
{
    struct sim_node *n = sim_alloc_lines(sizeof *n);

    s->nodes = sim_grow(s->nodes, s->nodes_count, sizeof(struct sim_node *));
    n->index = s->nodes_count++;
    s->nodes[n->index] = n;
    n->sim = s;
    n->contact = contact;
    n->seed = prng_next(&s->prng);
    n->boot_us = (uint64_t)prng_below(&s->prng, 1000000) * 1000;
    n->is_aggregator = n->index < s->options.aggregators;
    n->zone = s->options.zones > 0 ? (uint8_t)(n->index % s->options.zones) : 0;
    n->alive_at = SIM_NOBODY;
    faults_new_clock(s, n);
    sim_new_identity(s, n);
    n->timer_us = n->later_us = UINT64_MAX;
    n->chunks.pool = s->pool;
    return n;
}

static bool set_defaults(struct sim *s)
{
    struct sim_options *o = &s->options;

    if (o->active_max == 0)
        o->active_max = 5;
    if (o->passive_max == 0)
        o->passive_max = 30;
    if (o->ping_ms == 0)
        o->ping_ms = 2000;
    if (o->suspect_ms == 0)
        o->suspect_ms = 3500;
    if (o->shuffle_ms == 0)
        o->shuffle_ms = 10000;
    if (o->strategy != NULL &&
        !membership_strategy_find(o->strategy, &s->strategy))
        return false;
    if (o->retain_events == 0)
        o->retain_events = 10000;
    if (o->forget_ms < 1000)
        o->forget_ms = 604800000;
    o->strategy = NULL; /* the caller's */
    s->flap_at_us = UINT64_MAX;
    s->check_at_us =
        (uint64_t)(o->check_ms > 0 ? o->check_ms : o->shuffle_ms) * 1000;
    return distance_init(s);
}

static uint64_t first_start_us(struct sim *s, uint32_t node)
{
    const struct sim_options *o = &s->options;

    if (o->join_gap_us > 0)
        return (uint64_t)o->join_gap_us * node;
    if (o->spread_ms == 0 || node == 0)
        return 0;
    return prng_below(&s->prng, o->spread_ms * 1000);
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->options = *options;
    s->wheel = wheel_new();
    s->pool = kit_pool_new();
    if (s->pool == NULL)
        abort();
    follow_new(s);
    prng_seed(&s->prng, options->seed);
    if (!set_defaults(s)) {
        sim_free(s);
        return NULL;
    }
    if (getenv("ARGUS_TRACE") != NULL)
        sim_trace(s, print_line, NULL);
    for (uint32_t i = 0; i < options->nodes; i++) {
        (void)sim_new_node(s, i == 0 ? SIM_NOBODY : 0);
        uint64_t wait_us = first_start_us(s, i);
        if (!options->quiet)
            (void)sim_schedule(s, wait_us, WHAT_START, i);
    }
    return s;
}

static void free_node(struct sim_node *n)
{
    disk_clear(n);
    bundles_forget(n);
    bundles_drop_kept(n);
    kit_chunks_clear(&n->chunks);
}

void sim_free(struct sim *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < s->stuck_count; i++)
        sim_drop(s, s->stuck[i]);
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        sim_down(s, s->nodes[i]);
        free_node(s->nodes[i]);
    }
    wheel_free(s);
    frame_free_all(s);
    kit_pool_free(s->pool);
    simnet_free(s);
    values_free(s);
    follow_free(s);
    for (uint32_t i = 0; i < s->nodes_count; i++)
        free(s->nodes[i]);
    free(s->nodes);
    free(s->alive);
    free(s->stuck);
    free(s->zone_us);
    free(s);
}

uint32_t sim_add(struct sim *s, uint32_t contact)
{
    uint32_t index = sim_new_node(s, contact)->index;
    sim_start(s, index);
    return index;
}

void sim_start(struct sim *s, uint32_t node)
{
    (void)sim_schedule(s, s->now_us, WHAT_START, node);
}

void sim_restart(struct sim *s, uint32_t node)
{
    if (node_is_up(s->nodes[node]))
        sim_crash(s, node);
    sim_start(s, node);
}

void sim_crash(struct sim *s, uint32_t node)
{
    if (s->line != NULL)
        sim_tell(s, node, "crashes");
    simnet_end_node(s, s->nodes[node], true);
    sim_down(s, s->nodes[node]);
}

void sim_unplug(struct sim *s, uint32_t node)
{
    if (s->line != NULL)
        sim_tell(s, node, "is unplugged");
    s->fault_us = s->now_us;
    simnet_end_node(s, s->nodes[node], false);
    sim_down(s, s->nodes[node]);
    s->nodes[node]->is_unplugged = true;
}

void sim_stop(struct sim *s, uint32_t node)
{
    struct sim_node *n = s->nodes[node];
    struct event stop = {.type = EVENT_STOP};

    if (!node_is_up(n) || n->is_stopping)
        return;
    if (s->line != NULL)
        sim_tell(s, node, "is stopped");
    n->is_stopping = true;
    sim_count_alive(s, n);
    (void)sim_schedule(s, s->now_us + EXIT_US, WHAT_EXIT, node);
    sim_step(s, n, &stop);
}

void sim_join(struct sim *s, uint32_t node, uint32_t contact)
{
    char address[ADDRESS_SIZE];
    int result;
    struct event join = {.type = EVENT_JOIN, .join = {address, &result}};

    simnet_address(contact, address);
    if (node_is_up(s->nodes[node]))
        sim_step(s, s->nodes[node], &join);
}

/* --------------------------------------------------------- who is alive */

bool sim_is_alive(const struct sim *s, uint32_t node)
{
    return s->nodes[node]->alive_at != SIM_NOBODY;
}

void sim_count_alive(struct sim *s, struct sim_node *n)
{
    bool is_alive = node_is_up(n) && !n->is_stopping && !n->is_hostile;

    if (is_alive == (n->alive_at != SIM_NOBODY))
        return;
    if (is_alive) {
        s->alive = sim_grow(s->alive, s->alive_count, sizeof *s->alive);
        n->alive_at = s->alive_count;
        s->alive[s->alive_count++] = n->index;
        return;
    }
    uint32_t last = s->alive[--s->alive_count];
    s->alive[n->alive_at] = last;
    s->nodes[last]->alive_at = n->alive_at;
    n->alive_at = SIM_NOBODY;
}

uint32_t sim_alive_count(const struct sim *s)
{
    return s->alive_count;
}

uint32_t sim_nodes(const struct sim *s)
{
    return s->nodes_count;
}

uint32_t sim_zone(const struct sim *s, uint32_t node)
{
    return s->nodes[node]->zone;
}

uint32_t sim_random_alive(struct sim *s)
{
    if (s->alive_count == 0)
        return SIM_NOBODY;
    return s->alive[prng_below(&s->prng, s->alive_count)];
}

void sim_crash_random(struct sim *s, uint32_t count)
{
    while (count-- > 0 && s->alive_count > 0)
        sim_crash(s, sim_random_alive(s));
}

void sim_unplug_random(struct sim *s, uint32_t count)
{
    while (count-- > 0 && s->alive_count > 0)
        sim_unplug(s, sim_random_alive(s));
}

void sim_crash_zone(struct sim *s, uint32_t zone)
{
    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (s->nodes[i]->zone == zone && node_is_up(s->nodes[i]))
            sim_crash(s, i);
}

void sim_cut_random(struct sim *s)
{
    struct sim_peer peer;
    uint32_t node = sim_random_alive(s);

    if (node == SIM_NOBODY || !node_active(s->nodes[node], 0, &peer))
        return;
    struct cable *c = simnet_find(s, peer.link);
    if (c == NULL)
        return;
    if (s->line != NULL)
        sim_tell(s, node, "its link %llu is cut",
                 (unsigned long long)peer.link);
    simnet_cut(s, c);
}
