/* questions.c - what the control socket, the read callback and the missing
 * callback want to know. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/hyparview.h" /* HYPARVIEW_CONTACTS_MAX */
#include "runtime/runtime_impl.h"

/** How long an asker waits for the loop. */
#define ANSWER_WAIT_S 1

/* ------------------------------------------------------------ counters */

struct own_counter {
    const char *name;
    uint64_t value;
    bool gauge;
};

#define OWN_COUNTERS_MAX 48

static size_t add(struct own_counter *out, size_t n, const char *name,
                  uint64_t value, bool gauge)
{
    if (n < OWN_COUNTERS_MAX)
        out[n++] = (struct own_counter){name, value, gauge};
    return n;
}

#define ADD(prefix, stats, field, gauge)                                       \
    n = add(out, n, prefix #field, (stats)->field, gauge)

static size_t add_transport(const struct runtime *rt, struct own_counter *out,
                            size_t n)
{
    const struct transport_stats *t = transport_stats(rt->transport);

    ADD("transport_", t, links_now, true);
    ADD("transport_", t, links_accepted, false);
    ADD("transport_", t, links_dialed, false);
    ADD("transport_", t, dials_failed, false);
    ADD("transport_", t, hellos_refused, false);
    ADD("transport_", t, strangers_refused, false);
    ADD("transport_", t, frames_received, false);
    ADD("transport_", t, frames_sent, false);
    ADD("transport_", t, frames_malformed, false);
    ADD("transport_", t, bytes_received, false);
    ADD("transport_", t, bytes_sent, false);
    ADD("transport_", t, peers_expelled, false);
    return n;
}

static size_t add_store(const struct runtime *rt, struct own_counter *out,
                        size_t n)
{
    const struct store_stats *s = store_stats(rt->store);

    ADD("store_", s, writes_done, false);
    ADD("store_", s, writes_failed, false);
    ADD("store_", s, writes_dropped, false);
    ADD("store_", s, rows_dropped, false);
    ADD("store_", s, writes_pending, true);
    return n;
}

static size_t add_control(const struct runtime *rt, struct own_counter *out,
                          size_t n)
{
    if (rt->control == NULL)
        return n;
    const struct control_stats *c = control_stats(rt->control);

    ADD("control_", c, clients_accepted, false);
    ADD("control_", c, clients_refused, false);
    ADD("control_", c, requests_answered, false);
    ADD("control_", c, requests_invalid, false);
    ADD("control_", c, clients_late, false);
    ADD("control_", c, clients_slow, false);
    return n;
}

static size_t own_counters(struct runtime *rt,
                           struct own_counter out[OWN_COUNTERS_MAX])
{
    struct mailbox_stats in, deliver;
    size_t n = 0;

    mailbox_stats(rt->in, &in);
    mailbox_stats(rt->out, &deliver);
    n = add(out, n, "inbox_posted", in.records_posted, false);
    n = add(out, n, "inbox_refused", in.records_refused, false);
    n = add(out, n, "deliver_posted", deliver.records_posted, false);
    n = add(out, n, "deliver_refused", deliver.records_refused, false);
    n = add(out, n, "deliver_queued_bytes", deliver.bytes_queued, true);
    n = add(out, n, "seen_dropped", carry_tokens_dropped(rt), false);
    n = add_transport(rt, out, n);
    n = add_store(rt, out, n);
    return add_control(rt, out, n);
}

/* ------------------------------------------------------------ snapshot */

/* Names of counters begin with the part they are of. */
static const char *group_of(const char *name)
{
    static const struct {
        const char *prefix, *group;
    } groups[] = {
        {"spool_", "spool"},        {"intake_", "route"},
        {"router_", "route"},       {"inbox_", "route"},
        {"deliver_", "route"},      {"seen_", "route"},
        {"timeline_", "events"},    {"event_", "events"},
        {"engine_event", "events"}, {"hlc_", "clock"},
        {"clock_", "clock"},
    };

    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (strncmp(name, groups[i].prefix, strlen(groups[i].prefix)) == 0)
            return groups[i].group;
    return "mesh";
}

static size_t add_stat(struct runtime_stat *out, size_t n, const char *name,
                       uint64_t value, bool gauge)
{
    if (n < STATS_MAX)
        out[n++] = (struct runtime_stat){
            .group = group_of(name),
            .type = gauge ? "gauge" : "derive",
            .instance = name,
            .gauge = gauge,
            .gauge_value = (double)value,
            .derive_value = (int64_t)value,
        };
    return n;
}

void questions_snapshot(struct runtime *rt)
{
    struct engine_counter counters[256];
    struct own_counter own[OWN_COUNTERS_MAX];
    uint32_t count = engine_counters(rt->engine, counters, 256);
    size_t own_count = own_counters(rt, own), n = 0;

    (void)pthread_mutex_lock(&rt->stats_lock);
    for (uint32_t i = 0; i < count; i++)
        n = add_stat(rt->stats, n, counters[i].name, counters[i].value,
                     counters[i].gauge);
    for (size_t i = 0; i < own_count; i++)
        n = add_stat(rt->stats, n, own[i].name, own[i].value, own[i].gauge);
    rt->stats_count = n;
    (void)pthread_mutex_unlock(&rt->stats_lock);
}

size_t runtime_stats(struct runtime *rt, struct runtime_stat *out, size_t max)
{
    (void)pthread_mutex_lock(&rt->stats_lock);
    size_t count = rt->stats_count < max ? rt->stats_count : max;
    memcpy(out, rt->stats, count * sizeof *out);
    (void)pthread_mutex_unlock(&rt->stats_lock);
    return count;
}

/* ------------------------------------------------------------ control */

static void on_status(void *context, argus_StatusReply *out)
{
    struct runtime *rt = context;
    struct own_counter own[OWN_COUNTERS_MAX];
    const size_t max = sizeof out->counters / sizeof out->counters[0];
    size_t count = own_counters(rt, own);

    engine_status(rt->engine, runtime_now_ms(), runtime_wall_us(), out);
    (void)snprintf(out->cluster, sizeof out->cluster, "%s",
                   rt->options.cluster);
    for (size_t i = 0; i < count && out->counters_count < max; i++) {
        argus_Counter *c = &out->counters[out->counters_count++];
        (void)snprintf(c->name, sizeof c->name, "%s", own[i].name);
        c->value = own[i].value;
    }
}

static bool on_member(void *context, uint32_t index, argus_MemberReply *out)
{
    struct runtime *rt = context;
    return engine_member(rt->engine, index, runtime_now_ms(), runtime_wall_us(),
                         out);
}

static bool on_peer(void *context, uint32_t index, argus_PeerReply *out)
{
    struct runtime *rt = context;
    link_id link = 0;

    if (!engine_peer(rt->engine, index, out, &link))
        return false;
    out->queued_bytes = transport_queued_bytes(rt->transport, link);
    return true;
}

static bool on_route(void *context, const char *key, uint32_t index,
                     argus_RouteReply *out)
{
    struct runtime *rt = context;
    return engine_route(rt->engine, key[0] != '\0' ? key : rt->options.name,
                        index, out);
}

static uint32_t on_events_count(void *context)
{
    struct runtime *rt = context;
    return engine_events_count(rt->engine);
}

static bool on_event(void *context, uint32_t index, argus_EventReply *out)
{
    struct runtime *rt = context;
    return engine_event(rt->engine, index, out);
}

static void on_coverage(void *context, argus_Coverage *out)
{
    struct runtime *rt = context;
    engine_coverage(rt->engine, runtime_wall_us(), out);
}

/* 2^-30 seconds. 10^6 = 2^6 * 15625. */
static uint64_t cdtime_of_us(uint64_t us)
{
    return (us / 15625 << 24) + (us % 15625 << 24) / 15625;
}

static int on_notify(void *context, const argus_NotifyRequest *request,
                     argus_NotifyReply *out, struct argus_error *err)
{
    struct runtime *rt = context;
    char id[NODE_ID_TEXT_SIZE];
    argus_Event notice;
    struct event event = {.type = EVENT_NOTICE};
    uint64_t hlc = 0, number = 0;

    memset(&notice, 0, sizeof notice);
    notice.severity = request->severity;
    notice.time = cdtime_of_us(runtime_wall_us());
    (void)snprintf(notice.node, sizeof notice.node, "%s", rt->options.name);
    (void)snprintf(notice.host, sizeof notice.host, "%s", rt->options.name);
    (void)snprintf(notice.plugin, sizeof notice.plugin, "argus");
    (void)snprintf(notice.type, sizeof notice.type, "%s", request->type);
    (void)snprintf(notice.message, sizeof notice.message, "%s",
                   request->message);
    event.notice.event = &notice;
    event.notice.always = true;
    event.notice.hlc = &hlc;
    event.notice.number = &number;
    runtime_step(rt, &event);
    if (hlc == 0)
        return argus_fail(err, ARGUS_EFULL,
                          "more events than RateLimit allows: try again later");
    node_id_format(identity_id(rt->identity), id);
    out->hlc = hlc;
    (void)snprintf(out->id, sizeof out->id, "%.8s-%u-%llu", id,
                   rt->self.generation, (unsigned long long)number);
    return ARGUS_OK;
}

static int on_join(void *context, const char *address, struct argus_error *err)
{
    int rc = ARGUS_OK;
    struct event event = {.type = EVENT_JOIN, .join = {address, &rc}};

    runtime_step(context, &event);
    if (rc == ARGUS_EFULL)
        return argus_fail(err, rc,
                          "%u contacts are known already, no more are kept",
                          HYPARVIEW_CONTACTS_MAX);
    return rc == ARGUS_OK ? rc
                          : argus_fail(err, rc, "cannot join \"%s\": %s",
                                       address, argus_strstatus(rc));
}

static int on_leave(void *context, struct argus_error *err)
{
    struct event event = {.type = EVENT_LEAVE};

    (void)err;
    runtime_step(context, &event);
    return ARGUS_OK;
}

struct control_hooks questions_hooks(struct runtime *rt)
{
    return (struct control_hooks){
        .context = rt,
        .status = on_status,
        .member = on_member,
        .peer = on_peer,
        .route = on_route,
        .events_count = on_events_count,
        .event = on_event,
        .coverage = on_coverage,
        .notify = on_notify,
        .join = on_join,
        .leave = on_leave,
    };
}

/* ------------------------------------------------------------ series_moved */

int questions_open(struct runtime *rt)
{
    struct question *q = &rt->question;
    pthread_condattr_t attr;

    q->is_closed = true;
    if (pthread_condattr_init(&attr) != 0)
        return ARGUS_ENOMEM;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(&q->answered, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (rc != 0)
        return ARGUS_ENOMEM;
    (void)pthread_mutex_init(&q->turn, NULL);
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_mutex_init(&rt->stats_lock, NULL);
    return ARGUS_OK;
}

void questions_close(struct runtime *rt)
{
    (void)pthread_cond_destroy(&rt->question.answered);
    (void)pthread_mutex_destroy(&rt->question.turn);
    (void)pthread_mutex_destroy(&rt->question.lock);
    (void)pthread_mutex_destroy(&rt->stats_lock);
}

void questions_begin(struct runtime *rt)
{
    (void)pthread_mutex_lock(&rt->question.lock);
    rt->question.is_closed = false;
    (void)pthread_mutex_unlock(&rt->question.lock);
}

void questions_shut(struct runtime *rt)
{
    (void)pthread_mutex_lock(&rt->question.lock);
    rt->question.is_closed = true;
    (void)pthread_cond_broadcast(&rt->question.answered);
    (void)pthread_mutex_unlock(&rt->question.lock);
}

/* Without the lock while the engine thinks: an assertion in it must not leave
 * the lock behind. */
void questions_answer(struct runtime *rt)
{
    struct question *q = &rt->question;
    char names[5][128];

    (void)pthread_mutex_lock(&q->lock);
    uint64_t number = q->number;
    bool is_asked = number != q->answered_number;
    memcpy(names, q->names, sizeof names);
    (void)pthread_mutex_unlock(&q->lock);
    if (!is_asked)
        return;
    bool answer = engine_series_moved(rt->engine, names[0], names[1], names[2],
                                      names[3], names[4]);
    (void)pthread_mutex_lock(&q->lock);
    if (q->number == number) {
        q->answer = answer;
        q->answered_number = number;
        (void)pthread_cond_broadcast(&q->answered);
    }
    (void)pthread_mutex_unlock(&q->lock);
}

static bool wait_for_answer(struct question *q, uint64_t number)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ANSWER_WAIT_S;
    while (!q->is_closed && q->answered_number != number)
        if (pthread_cond_timedwait(&q->answered, &q->lock, &until) != 0)
            break;
    return q->answered_number == number && q->answer;
}

bool runtime_series_moved(struct runtime *rt, const char *host,
                          const char *plugin, const char *plugin_instance,
                          const char *type, const char *type_instance)
{
    struct question *q = &rt->question;
    const char *names[] = {host, plugin, plugin_instance, type, type_instance};
    bool answer = false;

    (void)pthread_mutex_lock(&q->turn);
    (void)pthread_mutex_lock(&q->lock);
    bool is_closed = q->is_closed;
    uint64_t number = ++q->number;
    for (size_t i = 0; i < 5; i++)
        (void)snprintf(q->names[i], sizeof q->names[i], "%s", names[i]);
    (void)pthread_mutex_unlock(&q->lock);
    if (!is_closed) {
        mailbox_poke(rt->in);
        (void)pthread_mutex_lock(&q->lock);
        answer = wait_for_answer(q, number);
        (void)pthread_mutex_unlock(&q->lock);
    }
    (void)pthread_mutex_unlock(&q->turn);
    return answer;
}
