/* questions.c - what the control socket and collectd's threads want to know.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/membership.h" /* MEMBERSHIP_CONTACTS_MAX */
#include "runtime/runtime_impl.h"

/** How long an asker waits for the loop. */
#define ANSWER_WAIT_S 1

/* ------------------------------------------------------------ control */

static void on_status(void *context, argus_StatusReply *out)
{
    struct runtime *rt = context;

    engine_status(rt->engine, runtime_now_ms(), runtime_wall_us(), out);
    (void)snprintf(out->cluster, sizeof out->cluster, "%s",
                   rt->options.cluster);
    out->retain_offline_s = rt->options.retain_offline_s;
    counters_status(rt, out);
    apply_status(rt->apply, out);
}

void questions_clock(void *context, argus_ClockReply *out)
{
    struct runtime *rt = context;

    engine_clock(rt->engine, runtime_now_ms(), runtime_wall_us(), out);
}

bool questions_clock_node(void *context, uint32_t *index,
                          argus_ClockNodeReply *out)
{
    struct runtime *rt = context;

    return engine_clock_node(rt->engine, index, out);
}

static bool on_member(void *context, uint32_t index, argus_MemberReply *out)
{
    struct runtime *rt = context;
    return engine_member(rt->engine, index, runtime_now_ms(), runtime_wall_us(),
                         out);
}

static bool on_offline(void *context, uint32_t index, argus_OfflineReply *out)
{
    struct runtime *rt = context;
    return engine_offline(rt->engine, index, runtime_wall_us(), out);
}

static bool on_publisher(void *context, uint32_t *index,
                         argus_PublisherReply *out)
{
    struct runtime *rt = context;
    return engine_publisher(rt->engine, index, runtime_wall_us(), out);
}

static void on_publishers_coverage(void *context, argus_Coverage *out)
{
    struct runtime *rt = context;
    engine_publishers_coverage(rt->engine, runtime_wall_us(), out);
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
    struct event settle = {.type = EVENT_SETTLE};

    if (!engine_is_settled(rt->engine))
        runtime_step(rt, &settle);
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

static bool on_event_place(void *context, uint32_t index,
                           struct timeline_place *out)
{
    struct runtime *rt = context;
    return engine_event_place(rt->engine, index, out);
}

static void on_event_order(void *context, uint32_t index, argus_EventReply *out)
{
    struct runtime *rt = context;
    engine_event_order(rt->engine, index, out);
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
        return argus_fail(err, ARGUS_EDENIED,
                          "%u contacts are known already, no more are kept",
                          MEMBERSHIP_CONTACTS_MAX);
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
        .offline = on_offline,
        .publisher = on_publisher,
        .publishers_coverage = on_publishers_coverage,
        .peer = on_peer,
        .route = on_route,
        .events_count = on_events_count,
        .event = on_event,
        .event_place = on_event_place,
        .event_order = on_event_order,
        .coverage = on_coverage,
        .notify = on_notify,
        .join = on_join,
        .leave = on_leave,
        .bundle = questions_bundle,
        .bundle_version = questions_bundle_version,
        .bundle_content = questions_bundle_content,
        .bundle_chunk = questions_bundle_chunk,
        .bundle_push = questions_bundle_push,
        .bundle_status = questions_bundle_status,
        .bundle_node = questions_bundle_node,
        .operator_key = questions_operator,
        .has_keyring = questions_has_keyring,
        .key = questions_key,
        .key_wrap = questions_key_wrap,
        .clock = questions_clock,
        .clock_node = questions_clock_node,
    };
}

/* ------------------------------------------------ from collectd's threads */

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
    enum question_kind kind = q->kind;
    bool is_asked = number != q->answered_number;
    memcpy(names, q->names, sizeof names);
    (void)pthread_mutex_unlock(&q->lock);
    if (!is_asked)
        return;
    bool answer = true;
    if (kind == QUESTION_STATS)
        counters_snapshot(rt);
    else
        answer = engine_series_moved(rt->engine, names[0], names[1], names[2],
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

bool questions_ask(struct runtime *rt, enum question_kind kind,
                   const char *const names[5])
{
    struct question *q = &rt->question;
    bool answer = false;

    (void)pthread_mutex_lock(&q->turn);
    (void)pthread_mutex_lock(&q->lock);
    bool is_closed = q->is_closed;
    uint64_t number = ++q->number;
    q->kind = kind;
    for (size_t i = 0; names != NULL && i < 5; i++)
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

bool runtime_series_moved(struct runtime *rt, const char *host,
                          const char *plugin, const char *plugin_instance,
                          const char *type, const char *type_instance)
{
    const char *const names[] = {host, plugin, plugin_instance, type,
                                 type_instance};

    return questions_ask(rt, QUESTION_SERIES_MOVED, names);
}
