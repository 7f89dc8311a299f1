/* runtime.c - the life of a node: open, loop, timers, a new identity, stop. */
#include "runtime/runtime.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "argus_config.h"
#include "base/log.h"
#include "base/text.h"
#include "base/zone.h"
#include "runtime/guard.h"
#include "runtime/runtime_impl.h"

/* ------------------------------------------------------------ time, steps */

uint64_t runtime_now_ms(void)
{
    return uv_hrtime() / 1000000;
}

uint64_t runtime_wall_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* 0: the kernel has no such clock; the engine then goes by now_ms. */
static uint64_t boot_us(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void on_deadline(uv_timer_t *timer);
static void on_tick(uv_timer_t *timer);

/* Is there something that must not wait for TICK_REST_MS? */
static bool is_busy(struct runtime *rt)
{
    return store_stats(rt->store)->writes_pending > 0 || rt->is_backlogged ||
           atomic_load(&rt->is_out_high);
}

static void start_tick(struct runtime *rt)
{
    rt->tick_is_soon = false;
    rt->tick_is_slow = !is_busy(rt);
    (void)uv_timer_start(&rt->tick, on_tick,
                         rt->tick_is_slow ? TICK_REST_MS : TICK_MS, 0);
}

/* A tick at rest has no time of its own if it can help it: it is due at once
 * when there is something to write, or when the loop is awake anyway. */
static void hasten_tick(struct runtime *rt, uint64_t now_ms)
{
    if (!rt->tick_is_slow || rt->phase != PHASE_RUNNING)
        return;
    if (is_busy(rt)) {
        start_tick(rt);
    } else if (now_ms - rt->ticked_ms >= TICK_EARLY_MS) {
        rt->tick_is_slow = false;
        (void)uv_timer_start(&rt->tick, on_tick, 0, 0);
    }
}

static void arm(struct runtime *rt)
{
    uint64_t deadline = engine_deadline_ms(rt->engine);

    if (deadline == rt->armed_ms && uv_is_active((uv_handle_t *)&rt->deadline))
        return;
    rt->armed_ms = deadline;
    if (deadline == UINT64_MAX) {
        (void)uv_timer_stop(&rt->deadline);
        return;
    }
    uint64_t now = runtime_now_ms();
    uv_update_time(&rt->loop);
    (void)uv_timer_start(&rt->deadline, on_deadline,
                         deadline > now ? deadline - now : 0, 0);
}

void runtime_write_soon(struct runtime *rt)
{
    if (rt->tick_is_soon || rt->phase != PHASE_RUNNING)
        return;
    rt->tick_is_soon = true;
    rt->tick_is_slow = false;
    uv_update_time(&rt->loop);
    (void)uv_timer_start(&rt->tick, on_tick, NOTIFY_WRITE_MS, 0);
}

void runtime_step(struct runtime *rt, struct event *event)
{
    if (rt->phase == PHASE_CLOSING)
        return;
    assert(!rt->in_step);
    rt->in_step = true;
    event->now_ms = runtime_now_ms();
    event->wall_us = runtime_wall_us();
    event->boot_us = boot_us();
    if (rt->transport != NULL)
        transport_hold(rt->transport);
    engine_step(rt->engine, event, &rt->sink);
    rt->in_step = false;
    if (rt->transport != NULL)
        transport_release(rt->transport);
    arm(rt);
    hasten_tick(rt, event->now_ms);
    if (rt->phase == PHASE_DRAINING)
        (void)uv_async_send(&rt->wake); /* is it empty now? */
}

static void on_deadline(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;
    struct event event = {.type = EVENT_TIMEOUT};

    rt->armed_ms = UINT64_MAX;
    runtime_step(rt, &event);
}

/* ------------------------------------------------------------ closing */

static void on_handle_closed(uv_handle_t *handle)
{
    ((struct runtime *)handle->data)->handles--;
}

static void on_transport_done(void *context)
{
    struct runtime *rt = context;

    transport_free(rt->transport);
    rt->transport = NULL;
}

/* The loop runs out of handles, and so ends, once all of them are closed. */
static void begin_closing(struct runtime *rt)
{
    if (rt->phase == PHASE_CLOSING)
        return;
    rt->phase = PHASE_CLOSING;
    mailbox_set_wake(rt->in, NULL, NULL);
    mailbox_shut(rt->in);
    mailbox_shut(rt->out);
    questions_shut(rt);
    if (rt->control != NULL)
        control_close(rt->control);
    rt->control = NULL;
    if (rt->apply != NULL)
        apply_close(rt->apply);
    beacon_close(rt->beacon);
    rt->beacon = NULL;
    if (rt->transport != NULL)
        transport_stop(rt->transport, argus_RefuseCode_REFUSE_BYE,
                       "the daemon stops", on_transport_done, rt);
    if (rt->handles > 0) {
        uv_close((uv_handle_t *)&rt->wake, on_handle_closed);
        uv_close((uv_handle_t *)&rt->deadline, on_handle_closed);
        uv_close((uv_handle_t *)&rt->tick, on_handle_closed);
        uv_close((uv_handle_t *)&rt->gather, on_handle_closed);
    }
}

/* After the loop has ended, or without one. */
static void close_rest(struct runtime *rt)
{
    apply_free(rt->apply);
    engine_free(rt->engine);
    store_close(rt->store);
    identity_free(rt->identity);
    security_close(rt->security);
    rt->security = NULL;
    rt->apply = NULL;
    rt->engine = NULL;
    rt->store = NULL;
    rt->identity = NULL;
    if (rt->lock_fd >= 0)
        (void)close(rt->lock_fd);
    rt->lock_fd = -1;
}

static void close_loop(struct runtime *rt)
{
    if (!rt->is_open)
        return;
    rt->is_open = false;
    int status = uv_loop_close(&rt->loop);
    if (status != 0)
        log_write(LOG_LEVEL_ERROR, "the loop did not close: %s",
                  uv_strerror(status));
}

/* Handles close only while the loop turns. */
static void close_all(struct runtime *rt)
{
    if (rt->is_open) {
        begin_closing(rt);
        (void)uv_run(&rt->loop, UV_RUN_DEFAULT);
        close_loop(rt);
    }
    close_rest(rt);
}

/* ------------------------------------------------------------ identity */

static int new_engine(struct runtime *rt, struct argus_error *err)
{
    struct engine_options *o = &rt->engine_options;

    o->id = *identity_id(rt->identity);
    o->seal = identity_seal(rt->identity);
    o->hlc_mark = store_hlc_mark(rt->store);
    o->epoch = store_epoch(rt->store);
    o->chunks = store_chunks(rt->store);
    o->trusted_keys = rt->options.trusted_keys;
    o->trusted_keys_count = rt->options.trusted_keys_count;
    if (getentropy(&o->seed, sizeof o->seed) != 0)
        return argus_fail_errno(err, "random numbers");
    rt->self.id = o->id;
    int rc = engine_new(o, &rt->engine);
    if (rc != ARGUS_OK)
        return argus_fail(err, rc, "cannot make the engine: %s",
                          argus_strstatus(rc));
    return ARGUS_OK;
}

static void start_engine(struct runtime *rt)
{
    struct event event = {.type = EVENT_START};

    transport_set_self(rt->transport, &rt->self);
    carry_memory(rt);
    carry_keys_start(rt);
    runtime_step(rt, &event);
    carry_apply_start(rt);
}

/* A clone of this node was first. All that hangs on the old id goes with its
 * engine: links, views, values that wait. */
static void change_identity(struct runtime *rt)
{
    struct argus_error err = {{0}};
    char old[NODE_ID_TEXT_SIZE], new[NODE_ID_TEXT_SIZE];
    struct node_id old_id = *identity_id(rt->identity);

    rt->wants_identity = false;
    node_id_format(&old_id, old);
    if (identity_renew(rt->identity, &err) == ARGUS_ENOMEM) {
        log_write(LOG_LEVEL_ERROR,
                  "another node runs under id %.8s, and no new one can be "
                  "made: %s",
                  old, err.text);
        return;
    }
    node_id_format(identity_id(rt->identity), new);
    engine_status(rt->engine, runtime_now_ms(), runtime_wall_us(), &rt->status);
    log_write(LOG_LEVEL_ERROR,
              "another node runs under id %.8s and was first (a cloned "
              "StateDir?): this node is %.8s from now on; %llu waiting values "
              "are lost%s%s",
              old, new, (unsigned long long)rt->status.queue_values,
              err.text[0] != '\0' ? "; the new identity is in memory alone: "
                                  : "",
              err.text);
    transport_close_all(rt->transport, argus_RefuseCode_REFUSE_BYE,
                        "this node changes its identity");
    engine_free(rt->engine);
    rt->engine = NULL;
    deliver_series_reset(rt);
    /* The record of the old id on disk is what we said of ourselves under it:
     * to the new engine it would outrank the true owner's. */
    store_forget(rt->store, &old_id);
    if (new_engine(rt, &err) != ARGUS_OK ||
        getentropy(&rt->token_offset, sizeof rt->token_offset) != 0) {
        log_write(LOG_LEVEL_ERROR, "%s: argus is out of service", err.text);
        begin_closing(rt);
        return;
    }
    start_engine(rt);
}

/* ------------------------------------------------------------ the loop */

/* Waiting helps only while somebody is there to acknowledge. Workers end in
 * their own time, which is bounded. */
static void stop_if_drained(struct runtime *rt)
{
    uint64_t pending = engine_pending(rt->engine);

    if (!apply_is_stopped(rt->apply) &&
        runtime_now_ms() < rt->drain_end_ms + WORKERS_END_MS)
        return;
    if (pending > 0 && engine_can_send(rt->engine) &&
        runtime_now_ms() < rt->drain_end_ms)
        return;
    if (pending > 0)
        log_write(LOG_LEVEL_WARNING,
                  "%llu values were not acknowledged before the stop",
                  (unsigned long long)pending);
    begin_closing(rt);
}

static void on_drain_end(uv_timer_t *timer)
{
    stop_if_drained(timer->data);
}

static void begin_draining(struct runtime *rt)
{
    struct event event = {.type = EVENT_STOP};
    uint64_t drain_ms = atomic_load(&rt->drain_ms);

    rt->drain_end_ms = runtime_now_ms() + drain_ms;
    rt->phase = PHASE_DRAINING;
    apply_stop(rt->apply);
    uv_update_time(&rt->loop);
    (void)uv_timer_start(&rt->tick, on_drain_end, drain_ms, 10);
    runtime_step(rt, &event);
}

static void on_gathered(uv_timer_t *timer)
{
    carry_in(timer->data);
}

/* collectd's threads hand over one value at a time: an agent takes what comes
 * within GATHER_MS in one go, for each time the loop wakes costs more than a
 * value. What collectd acknowledges to an aggregator waits for nothing, nor
 * does what is left at a stop. */
static void take_in(struct runtime *rt)
{
    bool is_urgent = atomic_exchange(&rt->is_notice_in, false);

    if (is_urgent || rt->phase != PHASE_RUNNING ||
        atomic_load(&rt->is_stop_wanted) ||
        rt->options.role == argus_Role_ROLE_AGGREGATOR) {
        carry_in(rt);
        return;
    }
    if (uv_is_active((uv_handle_t *)&rt->gather))
        return;
    uv_update_time(&rt->loop);
    (void)uv_timer_start(&rt->gather, on_gathered, GATHER_MS, 0);
}

static void on_wake(uv_async_t *async)
{
    struct runtime *rt = async->data;

    if (rt->phase == PHASE_CLOSING)
        return;
    take_in(rt);
    questions_answer(rt);
    if (rt->wants_identity && rt->phase == PHASE_RUNNING)
        change_identity(rt);
    if (rt->bundles_changed && rt->phase == PHASE_RUNNING) {
        rt->bundles_changed = false;
        apply_changed(rt->apply);
    }
    if (rt->keys_changed && rt->phase == PHASE_RUNNING)
        carry_keys_obey(rt);
    if (rt->phase == PHASE_RUNNING && atomic_load(&rt->is_stop_wanted))
        begin_draining(rt);
    if (rt->phase == PHASE_DRAINING)
        stop_if_drained(rt);
}

static bool is_due(uint64_t *due_ms, uint64_t now_ms, uint32_t period_ms)
{
    if (now_ms < *due_ms)
        return false;
    *due_ms = now_ms + period_ms;
    return true;
}

static void on_tick(uv_timer_t *timer)
{
    struct runtime *rt = timer->data;
    uint64_t now_ms = runtime_now_ms();

    rt->ticked_ms = now_ms;
    store_tick(rt->store, now_ms);
    carry_relieve(rt);
    if (is_due(&rt->sweep_due_ms, now_ms, SWEEP_MS))
        carry_sweep(rt);
    if (is_due(&rt->security_due_ms, now_ms, SECURITY_MS) &&
        security_poll(rt->security))
        carry_keys_changed(rt);
    if (!is_busy(rt))
        (void)trim_tick(&rt->trim, now_ms);
    start_tick(rt);
}

static void wake_loop(void *context)
{
    (void)uv_async_send(context);
}

static int open_loop(struct runtime *rt, struct argus_error *err)
{
    int status = uv_loop_init(&rt->loop);

    if (status != 0)
        return argus_fail(err, ARGUS_EIO, "cannot make a loop: %s",
                          uv_strerror(status));
    rt->is_open = true;
    rt->phase = PHASE_RUNNING;
    status = uv_async_init(&rt->loop, &rt->wake, on_wake);
    if (status != 0)
        return argus_fail(err, ARGUS_EIO, "cannot make a loop: %s",
                          uv_strerror(status));
    (void)uv_timer_init(&rt->loop, &rt->deadline);
    (void)uv_timer_init(&rt->loop, &rt->tick);
    rt->wake.data = rt->deadline.data = rt->tick.data = rt;
    (void)uv_timer_init(&rt->loop, &rt->gather);
    rt->gather.data = rt;
    rt->handles = 4;
    mailbox_set_wake(rt->in, wake_loop, &rt->wake);
    return ARGUS_OK;
}

/* ------------------------------------------------------------ opening */

static const char *dir_after(int rc, const char *dir, struct argus_error *err)
{
    if (rc != ARGUS_EFULL)
        return dir;
    log_write(LOG_LEVEL_ERROR,
              "%s. This node runs with a new identity and remembers nothing "
              "until there is room and collectd is restarted",
              err->text);
    return NULL;
}

static int open_files(struct runtime *rt, struct argus_error *err)
{
    const char *dir = rt->options.state_dir;
    int rc = store_lock(dir, &rt->lock_fd, err);

    if (rc != ARGUS_OK && rc != ARGUS_EFULL)
        return rc;
    dir = dir_after(rc, dir, err);
    rc = identity_open(dir, rt->options.cluster, &rt->identity, err);
    if (rc == ARGUS_EFULL) {
        dir = dir_after(rc, dir, err);
        rc = identity_open(dir, rt->options.cluster, &rt->identity, err);
    }
    if (rc != ARGUS_OK)
        return rc;
    rc = store_open(dir, &rt->store, err);
    if (rc == ARGUS_EFULL) {
        log_write(LOG_LEVEL_ERROR,
                  "%s. This node remembers nothing until there is room and "
                  "collectd is restarted",
                  err->text);
        rc = store_open(NULL, &rt->store, err);
    }
    return rc;
}

static bool is_anywhere(const char *host)
{
    return host[0] == '\0' || strcmp(host, "*") == 0 ||
           strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0;
}

static bool reaches_out(const struct runtime *rt)
{
    return rt->security != NULL || rt->options.allow_plaintext;
}

/* Without a Listen: all interfaces if links may leave the host, else
 * loopback, in which IPv6 may be missing. */
static int listen_default(struct runtime *rt, uint16_t *port,
                          struct argus_error *err)
{
    struct argus_error v6_err;
    uint16_t v6_port;

    if (reaches_out(rt))
        return transport_listen(rt->transport, "::", ARGUS_PORT, port, err);
    int rc =
        transport_listen(rt->transport, "127.0.0.1", ARGUS_PORT, port, err);
    if (rc == ARGUS_OK && transport_listen(rt->transport, "::1", ARGUS_PORT,
                                           &v6_port, &v6_err) != ARGUS_OK)
        log_write(LOG_LEVEL_DEBUG, "%s", v6_err.text);
    return rc;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

/* Of several Listen the one that peers reach best: any interface, else the
 * first that is not loopback, else the first. */
static uint32_t widest_listen(const struct runtime_options *o)
{
    uint32_t best = 0;

    for (uint32_t i = 0; i < o->listen_count; i++) {
        if (is_anywhere(o->listen[i].host))
            return i;
        if (is_loopback(o->listen[best].host) &&
            !is_loopback(o->listen[i].host))
            best = i;
    }
    return best;
}

static int listen_all(struct runtime *rt, uint16_t *widest_port,
                      struct argus_error *err)
{
    const struct runtime_options *o = &rt->options;
    uint32_t widest = widest_listen(o);

    if (o->listen_count == 0)
        return listen_default(rt, widest_port, err);
    for (uint32_t i = 0; i < o->listen_count; i++) {
        uint16_t port = 0;
        const char *service =
            o->listen[i].port[0] != '\0' ? o->listen[i].port : ARGUS_PORT;
        int rc = transport_listen(rt->transport, o->listen[i].host, service,
                                  &port, err);
        if (rc != ARGUS_OK)
            return rc;
        if (i == widest)
            *widest_port = port;
    }
    return ARGUS_OK;
}

/* What peers dial: as told; or the address that is listened on; or only the
 * port, and they see the host. */
static int choose_address(struct runtime *rt, uint16_t port,
                          struct argus_error *err)
{
    const struct runtime_options *o = &rt->options;
    const char *host = o->advertise.host;
    const char *listened = o->listen[widest_listen(o)].host;
    char number[8];

    (void)snprintf(number, sizeof number, "%u", port);
    if (host[0] == '\0' && o->listen_count == 0)
        host = reaches_out(rt) ? "" : "127.0.0.1";
    else if (host[0] == '\0' && !is_anywhere(listened))
        host = listened;
    if (!text_join_address(rt->self.address, sizeof rt->self.address, host,
                           o->advertise.port[0] != '\0' ? o->advertise.port
                                                        : number))
        return argus_fail(err, ARGUS_EINVAL, "Advertise \"%s\" is too long",
                          host);
    memcpy(rt->engine_options.address, rt->self.address,
           sizeof rt->engine_options.address);
    rt->engine_options.listen_port = port;
    rt->engine_options.checks_address = true;
    return ARGUS_OK;
}

static int open_security(struct runtime *rt, struct argus_error *err)
{
    const struct security_options options = {
        .key_file = rt->options.key_file,
        .certificate = rt->options.certificate,
        .private_key = rt->options.private_key,
        .ca = rt->options.ca,
        .crl = rt->options.crl,
        .name = rt->options.name,
    };

    return security_open(&options, &rt->security, err);
}

static int open_transport(struct runtime *rt, struct argus_error *err)
{
    struct transport_options options = {
        .self = rt->self,
        .protection = security_context(rt->security),
        .identity = rt->identity,
        .allow_plaintext = rt->options.allow_plaintext};
    struct transport_listener listener = carry_listener(rt);
    uint16_t port = 0;

    int rc = transport_new(&rt->loop, &options, &listener, &rt->transport, err);
    if (rc == ARGUS_OK)
        rc = listen_all(rt, &port, err);
    if (rc == ARGUS_OK)
        rc = choose_address(rt, port, err);
    return rc;
}

/* A node that has no socket for calls still has its Seeds. */
static int open_beacon(struct runtime *rt, struct argus_error *err)
{
    const struct beacon_options options = {.cluster = rt->options.cluster,
                                           .role = rt->options.role};
    struct beacon_listener listener = carry_beacon_listener(rt);

    if (!rt->options.multicast)
        return ARGUS_OK;
    int rc = beacon_new(&rt->loop, &options, &listener, &rt->beacon, err);
    if (rc == ARGUS_EIO)
        log_write(LOG_LEVEL_WARNING, "%s; only Seeds are tried", err->text);
    return rc == ARGUS_EIO ? ARGUS_OK : rc;
}

static int open_control(struct runtime *rt, struct argus_error *err)
{
    const struct control_options options = {
        .path = rt->options.control_socket,
        .group = rt->options.control_group,
        .collectd_version = rt->options.collectd_version,
    };
    struct control_hooks hooks = questions_hooks(rt);

    if (options.path[0] == '\0')
        return ARGUS_OK;
    return control_new(&rt->loop, &options, &hooks, &rt->control, err);
}

static int fill_self(struct runtime *rt, struct argus_error *err)
{
    struct engine_options *o = &rt->engine_options;
    uint64_t wall_us = runtime_wall_us();

    if (getentropy(&o->instance, sizeof o->instance) != 0)
        return argus_fail_errno(err, "random numbers");
    o->started_ms = wall_us / 1000;
    o->born_ms = store_born_ms(rt->store, wall_us / 1000);
    o->generation = store_next_generation(rt->store, wall_us / 1000000);
    rt->self.id = *identity_id(rt->identity);
    rt->self.generation = o->generation;
    rt->self.instance = o->instance;
    rt->self.started_ms = o->started_ms;
    memcpy(rt->self.cluster, rt->options.cluster, sizeof rt->self.cluster);
    memcpy(rt->self.name, rt->options.name, sizeof rt->self.name);
    rt->self.zone = zone_pack(rt->options.zone);
    rt->self.role = rt->options.role;
    return ARGUS_OK;
}

static int open_all(struct runtime *rt, struct argus_error *err)
{
    int rc = open_security(rt, err);

    if (rc == ARGUS_OK)
        rc = open_files(rt, err);
    if (rc == ARGUS_OK)
        rc = fill_self(rt, err);
    if (rc == ARGUS_OK)
        rc = open_loop(rt, err);
    if (rc == ARGUS_OK)
        rc = open_transport(rt, err);
    if (rc == ARGUS_OK)
        rc = open_beacon(rt, err);
    if (rc == ARGUS_OK)
        rc = new_engine(rt, err);
    if (rc == ARGUS_OK)
        rc = carry_apply_open(rt, err);
    if (rc == ARGUS_OK)
        rc = open_control(rt, err);
    return rc;
}

int runtime_open(struct runtime *rt, struct argus_error *err)
{
    int rc = open_all(rt, err);

    if (rc != ARGUS_OK) {
        close_all(rt);
        return rc;
    }
    (void)uv_timer_start(&rt->tick, on_tick, 0, 0);
    return ARGUS_OK;
}

/* ------------------------------------------------------------ life */

static void fill_engine_options(struct runtime *rt)
{
    const struct runtime_options *o = &rt->options;
    struct engine_options *e = &rt->engine_options;

    e->describe = rt->hooks.describe;
    memcpy(e->name, o->name, sizeof e->name);
    e->role = o->role;
    memcpy(e->zone, o->zone, sizeof e->zone);
    memcpy(e->tags, o->tags, sizeof e->tags);
    e->tags_count = o->tags_count;
    e->weight = o->weight;
    (void)snprintf(e->software, sizeof e->software, "%s", ARGUS_VERSION);
    e->contacts = (const char *const *)rt->seeds;
    e->contacts_count = o->seeds_count;
    e->calls = o->multicast;
    e->strategy = o->strategy;
    e->zone_bias = o->zone_bias;
    e->active_max = o->active_max;
    e->passive_max = o->passive_max;
    e->shuffle_ms = o->shuffle_ms;
    e->ping_ms = o->ping_ms;
    e->suspect_ms = o->suspect_ms;
    e->retain_offline_s = o->retain_offline_s;
    e->route = o->route;
    e->write_order_known = o->write_threads == 1;
    e->spool_bytes_max = o->spool_bytes_max;
    e->clock_max_offset_ms = o->clock_max_offset_ms;
    e->clock_alarm_ms = o->clock_alarm_ms;
    e->forward = o->forward;
    e->retain_events = o->retain_events;
    e->event_rate = o->event_rate;
    e->bundle_size_max = o->bundle_size_max;
}

static int copy_seeds(struct runtime *rt, const struct runtime_options *options)
{
    rt->options.seeds = NULL;
    rt->seeds = calloc(options->seeds_count + 1, sizeof *rt->seeds);
    if (rt->seeds == NULL)
        return ARGUS_ENOMEM;
    for (uint32_t i = 0; i < options->seeds_count; i++) {
        rt->seeds[i] = strdup(options->seeds[i]);
        if (rt->seeds[i] == NULL)
            return ARGUS_ENOMEM;
    }
    return ARGUS_OK;
}

static void free_seeds(struct runtime *rt)
{
    for (uint32_t i = 0; rt->seeds != NULL && i < rt->options.seeds_count; i++)
        free(rt->seeds[i]);
    free(rt->seeds);
}

static int check_options(const struct runtime_options *o,
                         struct argus_error *err)
{
    if (o->listen_count > sizeof o->listen / sizeof o->listen[0] ||
        o->tags_count > sizeof o->tags / sizeof o->tags[0])
        return argus_fail(err, ARGUS_EINVAL, "too many Listen or Tag");
    if (o->cluster[0] == '\0' || o->name[0] == '\0' || o->state_dir[0] == '\0')
        return argus_fail(err, ARGUS_EINVAL,
                          "Cluster, NodeName and StateDir must not be empty");
    return ARGUS_OK;
}

int runtime_new(const struct runtime_options *options,
                const struct runtime_hooks *hooks, struct runtime **out,
                struct argus_error *err)
{
    int rc = check_options(options, err);
    if (rc != ARGUS_OK)
        return rc;
    struct runtime *rt = calloc(1, sizeof *rt);
    if (rt == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for the node");
    rt->options = *options;
    rt->hooks = *hooks;
    rt->lock_fd = -1;
    rt->armed_ms = UINT64_MAX;
    rt->sink = (struct actions){carry_out, rt};
    rt->refused_limit = (struct log_limit){.burst = 1, .period_ms = 10000};
    if (questions_open(rt) != ARGUS_OK)
        goto free_rt;
    if (carry_open(rt) != ARGUS_OK)
        goto close_questions;
    if (copy_seeds(rt, options) != ARGUS_OK ||
        mailbox_new(IN_BYTES_MAX, &rt->in) != ARGUS_OK ||
        mailbox_new(OUT_BYTES_MAX, &rt->out) != ARGUS_OK)
        goto free_all;
    fill_engine_options(rt);
    *out = rt;
    return ARGUS_OK;

free_all:
    mailbox_free(rt->in);
    free_seeds(rt);
    carry_close(rt);
close_questions:
    questions_close(rt);
free_rt:
    free(rt);
    return argus_fail(err, ARGUS_ENOMEM, "no memory for the node");
}

const char *runtime_address(const struct runtime *rt)
{
    return rt->self.address;
}

static void run_guarded(void *context)
{
    struct runtime *rt = context;

    questions_begin(rt);
    start_engine(rt);
    (void)uv_run(&rt->loop, UV_RUN_DEFAULT);
}

static void cut_socket(uv_handle_t *handle, void *context)
{
    uv_os_fd_t fd;

    (void)context;
    if ((handle->type == UV_TCP || handle->type == UV_POLL) &&
        uv_fileno(handle, &fd) == 0)
        (void)shutdown(fd, SHUT_RDWR);
}

/* An assertion failed: nothing of the loop can be trusted. Peers must not wait
 * for us, nor may collectd, and workers end with their sockets; memory and
 * files stay until the process ends. */
static void give_up(struct runtime *rt)
{
    rt->is_broken = true;
    mailbox_set_wake(rt->in, NULL, NULL);
    mailbox_shut(rt->in);
    mailbox_shut(rt->out);
    questions_shut(rt);
    uv_walk(&rt->loop, cut_socket, NULL);
}

/* libuv writes without MSG_NOSIGNAL; collectd ignores SIGPIPE, yet nothing is
 * to hang on that. One that is pending is taken off before it is unblocked. */
static void block_sigpipe(sigset_t *before)
{
    sigset_t pipe;

    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, before);
}

static void restore_signals(const sigset_t *before)
{
    const struct timespec at_once = {0, 0};
    sigset_t pipe;

    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    while (sigtimedwait(&pipe, NULL, &at_once) > 0 || errno == EINTR)
        errno = 0;
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

void runtime_run(struct runtime *rt)
{
    sigset_t before;

    assert(rt->is_open && rt->engine != NULL);
    block_sigpipe(&before);
    if (guard_run(run_guarded, rt)) {
        close_loop(rt);
        close_rest(rt);
    } else {
        give_up(rt);
    }
    restore_signals(&before);
}

void runtime_stop(struct runtime *rt, uint32_t drain_ms)
{
    atomic_store(&rt->drain_ms, drain_ms);
    atomic_store(&rt->is_stop_wanted, true);
    mailbox_poke(rt->in);
}

void runtime_free(struct runtime *rt)
{
    if (rt == NULL || rt->is_broken)
        return;
    close_all(rt);
    mailbox_free(rt->in);
    mailbox_free(rt->out);
    free_seeds(rt);
    carry_close(rt);
    questions_close(rt);
    free(rt);
}
