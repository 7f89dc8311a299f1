/* counters.c - what is counted: all of it for argusctl status, and of it what
 * an operator would graph as metrics of this daemon. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/gate.h"
#include "runtime/runtime_impl.h"
#include "runtime/worker.h"

/* ------------------------------------------------------------ gathering */

static void add(struct counters *c, const char *name, uint64_t value,
                bool gauge)
{
    if (c->count < COUNTERS_MAX)
        c->list[c->count++] = (struct engine_counter){name, value, gauge};
}

#define ADD(prefix, stats, field, gauge)                                       \
    add(c, prefix #field, (stats)->field, gauge)

static void add_queues(struct runtime *rt, struct counters *c)
{
    struct mailbox_stats in, deliver;

    mailbox_stats(rt->in, &in);
    mailbox_stats(rt->out, &deliver);
    add(c, "inbox_posted", in.records_posted, false);
    add(c, "inbox_refused", in.records_refused, false);
    add(c, "deliver_posted", deliver.records_posted, false);
    add(c, "deliver_refused", deliver.records_refused, false);
    add(c, "deliver_queued_bytes", deliver.bytes_queued, true);
    add(c, "seen_dropped", carry_tokens_dropped(rt), false);
}

static void add_transport(const struct runtime *rt, struct counters *c)
{
    const struct transport_stats *t = transport_stats(rt->transport);

    ADD("transport_", t, links_now, true);
    ADD("transport_", t, links_max, true);
    ADD("transport_", t, links_accepted, false);
    ADD("transport_", t, links_dialed, false);
    ADD("transport_", t, dials_failed, false);
    ADD("transport_", t, hellos_refused, false);
    ADD("transport_", t, strangers_refused, false);
    ADD("transport_", t, accepts_put_off, false);
    ADD("transport_", t, handshakes_failed, false);
    ADD("transport_", t, links_rekeyed_out, false);
    ADD("transport_", t, frames_received, false);
    ADD("transport_", t, frames_sent, false);
    ADD("transport_", t, frames_malformed, false);
    ADD("transport_", t, bytes_received, false);
    ADD("transport_", t, bytes_sent, false);
    ADD("transport_", t, peers_expelled, false);
}

static void add_resolve(const struct runtime *rt, struct counters *c)
{
    const struct resolve_stats *r = transport_resolve_stats(rt->transport);

    ADD("resolve_", r, lookups, false);
    ADD("resolve_", r, failures, false);
    ADD("resolve_", r, truncated, false);
}

static void add_beacon(const struct runtime *rt, struct counters *c)
{
    if (rt->beacon == NULL)
        return;
    const struct beacon_stats *b = beacon_stats(rt->beacon);

    ADD("beacon_", b, sent, false);
    ADD("beacon_", b, send_failed, false);
    ADD("beacon_", b, received, false);
    ADD("beacon_", b, rested, false);
    ADD("beacon_", b, malformed, false);
    ADD("beacon_", b, forged, false);
    ADD("beacon_", b, foreign, false);
    ADD("beacon_", b, misplaced, false);
    ADD("beacon_", b, old, false);
    ADD("beacon_", b, places_dropped, false);
}

static void add_security(const struct runtime *rt, struct counters *c)
{
    const struct security_stats *s = security_stats(rt->security);

    ADD("security_", s, keys_reloaded, false);
    ADD("security_", s, certificates_reloaded, false);
    ADD("security_", s, reloads_failed, false);
    ADD("security_", s, keyring_unwritten, false);
    ADD("security_", s, orders_unfulfilled, false);
}

static void add_store(const struct runtime *rt, struct counters *c)
{
    const struct store_stats *s = store_stats(rt->store);

    ADD("store_", s, writes_done, false);
    ADD("store_", s, writes_failed, false);
    ADD("store_", s, writes_dropped, false);
    ADD("store_", s, rows_dropped, false);
    ADD("store_", s, writes_pending, true);
    ADD("store_", s, chunk_bytes, true);
    ADD("store_", s, chunks_refused, false);
    ADD("store_", s, chunks_damaged, false);
    ADD("store_", s, chunks_swept, false);
}

static void add_control(const struct runtime *rt, struct counters *c)
{
    if (rt->control == NULL)
        return;
    const struct control_stats *s = control_stats(rt->control);

    ADD("control_", s, clients_accepted, false);
    ADD("control_", s, clients_refused, false);
    ADD("control_", s, requests_answered, false);
    ADD("control_", s, requests_invalid, false);
    ADD("control_", s, clients_late, false);
    ADD("control_", s, clients_slow, false);
}

static void add_apply(const struct runtime *rt, struct counters *c)
{
    const struct apply_stats *a = apply_stats(rt->apply);
    const struct worker_stats *w = worker_stats();
    const struct gate_stats *g = gate_stats();
    uint32_t running, other;

    if (!rt->options.apply || rt->options.trusted_keys_count == 0)
        return; /* no bundle ever runs here */
    apply_workers(rt->apply, &running, &other);
    add(c, "apply_workers", running, true);
    add(c, "apply_workers_other", other, true);
    ADD("apply_", a, starts, false);
    ADD("apply_", a, switches, false);
    ADD("apply_", a, good, false);
    ADD("apply_", a, failed, false);
    ADD("apply_", a, refused, false);
    ADD("apply_", a, rolled_back, false);
    ADD("apply_", a, crashed, false);
    ADD("apply_", a, restarted, false);
    ADD("apply_", a, old_first, false);
    ADD("apply_", a, states_dropped, false);
    ADD("apply_", a, sets_refused, false);
    ADD("apply_", w, values_up, false);
    ADD("apply_", w, notifications_up, false);
    ADD("apply_", w, values_down, false);
    ADD("apply_", w, down_dropped, false);
    ADD("apply_", w, logs, false);
    ADD("apply_", w, logs_held, false);
    ADD("apply_", w, output_bytes, false);
    ADD("apply_", w, pauses, false);
    ADD("apply_", g, held_dropped, false);
    ADD("apply_", g, early, false);
    ADD("apply_", g, superseded, false);
    ADD("apply_", g, repeated, false);
    ADD("apply_", g, series_refused, false);
    ADD("apply_", g, switched, false);
}

static void add_owner(const struct runtime *rt, struct counters *c)
{
    struct runtime_counter list[COUNTERS_MAX];
    size_t count = 0;

    if (rt->hooks.counters != NULL)
        count = rt->hooks.counters(rt->hooks.context, list, COUNTERS_MAX);
    for (size_t i = 0; i < count; i++)
        add(c, list[i].name, list[i].value, false);
}

/* All but the engine's. */
static void add_own(struct runtime *rt, struct counters *c)
{
    add_queues(rt, c);
    add_transport(rt, c);
    add_resolve(rt, c);
    add_beacon(rt, c);
    add_security(rt, c);
    add_store(rt, c);
    add_control(rt, c);
    add_apply(rt, c);
    add_owner(rt, c);
}

void counters_status(struct runtime *rt, argus_StatusReply *out)
{
    const size_t max = sizeof out->counters / sizeof out->counters[0];
    struct counters own = {.count = 0};

    add_own(rt, &own);
    for (uint32_t i = 0; i < own.count && out->counters_count < max; i++) {
        argus_Counter *c = &out->counters[out->counters_count++];
        (void)snprintf(c->name, sizeof c->name, "%s", own.list[i].name);
        c->value = own.list[i].value;
    }
}

/* ------------------------------------------------------------ metrics */

enum whose { OF_ANY, OF_AGENT, OF_AGGREGATOR };

struct metric {
    const char *counter;
    const char *group, *type, *instance;
    enum whose whose;
};

/* clang-format off: one metric a line */
static const struct metric metrics[] = {
    {"members_online", "mesh", "count", "members_online", OF_ANY},
    {"members_suspect", "mesh", "count", "members_suspect", OF_ANY},
    {"members_offline", "mesh", "count", "members_offline", OF_ANY},
    {"active", "mesh", "count", "active_view", OF_ANY},
    {"passive", "mesh", "count", "passive_view", OF_ANY},
    {"lost", "mesh", "count", "lost", OF_ANY},
    {"links", "mesh", "count", "links", OF_ANY},
    {"join_accepted", "mesh", "derive", "joins_accepted", OF_ANY},
    {"join_throttled", "mesh", "derive", "joins_throttled", OF_ANY},
    {"peer_failed", "mesh", "derive", "peers_failed", OF_ANY},
    {"link_silent", "mesh", "derive", "links_silent", OF_ANY},
    {"refutations", "mesh", "derive", "refutations", OF_ANY},
    {"gossip_delivered", "mesh", "derive", "gossip_delivered", OF_ANY},
    {"gossip_duplicate", "mesh", "derive", "gossip_duplicate", OF_ANY},
    {"graft_sent", "mesh", "derive", "grafts_sent", OF_ANY},
    {"transport_bytes_received", "mesh", "total_bytes", "received", OF_ANY},
    {"transport_bytes_sent", "mesh", "total_bytes", "sent", OF_ANY},
    {"transport_hellos_refused", "mesh", "derive", "hellos_refused", OF_ANY},
    {"transport_frames_malformed", "mesh", "derive", "frames_malformed",
     OF_ANY},
    {"transport_peers_expelled", "mesh", "derive", "peers_expelled", OF_ANY},
    {"statements_bad", "mesh", "derive", "statements_bad", OF_ANY},
    {"memory_refused", "mesh", "derive", "memory_refused", OF_ANY},
    {"store_writes_failed", "mesh", "derive", "store_writes_failed", OF_ANY},

    {"values_received", "route", "total_values", "received", OF_AGGREGATOR},
    {"values_dispatched", "route", "total_values", "dispatched", OF_AGGREGATOR},
    {"values_seen", "route", "total_values", "written", OF_AGGREGATOR},
    {"values_duplicate", "route", "derive", "values_duplicate", OF_AGGREGATOR},
    {"values_stopped", "route", "derive", "values_stopped", OF_AGGREGATOR},
    {"intake_waiting", "route", "queue_length", "waiting", OF_AGGREGATOR},
    {"deliver_queued_bytes", "route", "bytes", "waiting", OF_AGGREGATOR},
    {"inbox_refused", "route", "derive", "inbox_refused", OF_ANY},
    {"bridge_value_refused", "route", "derive", "values_refused", OF_ANY},

    {"apply_workers", "apply", "count", "workers", OF_ANY},
    {"apply_values_up", "apply", "total_values", "received", OF_ANY},
    {"apply_values_down", "apply", "total_values", "sent", OF_ANY},
    {"apply_down_dropped", "apply", "derive", "values_dropped", OF_ANY},
    {"apply_switches", "apply", "derive", "switches", OF_ANY},
    {"apply_failed", "apply", "derive", "failed", OF_ANY},
    {"apply_rolled_back", "apply", "derive", "rolled_back", OF_ANY},
    {"apply_crashed", "apply", "derive", "crashed", OF_ANY},

    {"queue_values", "spool", "queue_length", "values", OF_AGENT},
    {"queue_bytes", "spool", "bytes", "values", OF_AGENT},
    {"values_queued", "spool", "total_values", "queued", OF_AGENT},
    {"values_acked", "spool", "total_values", "acknowledged", OF_AGENT},
    {"values_resent", "spool", "derive", "values_resent", OF_AGENT},
    {"values_dropped", "spool", "derive", "values_dropped", OF_AGENT},
    {"lanes_moved", "spool", "derive", "lanes_moved", OF_AGENT},

    {"hlc_refused", "clock", "derive", "stamps_refused", OF_ANY},
    {"clock_samples", "clock", "count", "samples", OF_ANY},
    {"clock_alarm", "clock", "count", "alarm", OF_ANY},
    {"clock_steps", "clock", "derive", "steps", OF_ANY},

    {"events", "events", "count", "kept", OF_ANY},
    {"events_sent", "events", "derive", "sent", OF_ANY},
    {"events_received", "events", "derive", "received", OF_ANY},
    {"event_limited", "events", "derive", "limited", OF_ANY},
    {"event_dropped", "events", "derive", "dropped", OF_ANY},
};
/* clang-format on */

static const struct engine_counter *find(const struct counters *c,
                                         const char *name)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (strcmp(c->list[i].name, name) == 0)
            return &c->list[i];
    return NULL;
}

static size_t fill_metrics(const struct counters *c, enum whose whose,
                           struct runtime_stat *out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        const struct metric *m = &metrics[i];
        const struct engine_counter *e = find(c, m->counter);
        if (e == NULL || n == max || (m->whose != OF_ANY && m->whose != whose))
            continue;
        out[n++] = (struct runtime_stat){.group = m->group,
                                         .type = m->type,
                                         .instance = m->instance,
                                         .gauge = e->gauge,
                                         .gauge_value = (double)e->value,
                                         .derive_value = (int64_t)e->value};
    }
    return n;
}

static size_t add_measured(struct runtime_stat *out, size_t n, size_t max,
                           const char *type, double value)
{
    if (isnan(value) || n == max)
        return n;
    out[n] = (struct runtime_stat){.group = "clock",
                                   .type = type,
                                   .instance = "mesh",
                                   .gauge = true,
                                   .gauge_value = value};
    return n + 1;
}

/* What is not measured is not published. */
static size_t add_clock(const argus_ClockReply *clock, struct runtime_stat *out,
                        size_t n, size_t max)
{
    n = add_measured(out, n, max, "time_offset", clock->offset_s);
    n = add_measured(out, n, max, "time_dispersion", clock->uncertainty_s);
    return add_measured(out, n, max, "frequency_offset", clock->drift_ppm);
}

/* All of them; which are metrics is found out when somebody asks. */
void counters_snapshot(struct runtime *rt)
{
    (void)pthread_mutex_lock(&rt->stats_lock);
    rt->stats.count = engine_counters(rt->engine, rt->stats.list, COUNTERS_MAX);
    add_own(rt, &rt->stats);
    engine_clock(rt->engine, runtime_now_ms(), runtime_wall_us(),
                 &rt->stats_clock);
    rt->has_stats = true;
    (void)pthread_mutex_unlock(&rt->stats_lock);
}

size_t runtime_stats(struct runtime *rt, struct runtime_stat *out, size_t max)
{
    enum whose whose = rt->options.role == argus_Role_ROLE_AGGREGATOR
                           ? OF_AGGREGATOR
                           : OF_AGENT;
    size_t count = 0;

    /* No answer: what was told last stands. */
    (void)questions_ask(rt, QUESTION_STATS, NULL);
    (void)pthread_mutex_lock(&rt->stats_lock);
    if (rt->has_stats) {
        count = fill_metrics(&rt->stats, whose, out, max);
        count = add_clock(&rt->stats_clock, out, count, max);
    }
    (void)pthread_mutex_unlock(&rt->stats_lock);
    return count;
}
