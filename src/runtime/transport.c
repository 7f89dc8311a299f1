#include "runtime/transport_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/text.h"

/** Links at most, if descriptors suffice. */
#define LINKS_MAX 16384u

struct link *link_new(struct transport *t)
{
    struct link *l = calloc(1, sizeof *l);

    if (l == NULL)
        return NULL;
    l->owner = t;
    if (conn_init(&l->conn, &t->shared) != 0) {
        free(l);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&t->links, l, next);
    t->links_count++;
    return l;
}
static void on_opened(struct conn *c)
{
    struct link *l = link_of(c);

    if (l->dial != NULL)
        (void)conn_start(c, l->owner->protection, true, FRAME_HELLO_MAX,
                         l->owner->options.hello_ms);
}

static void on_talks(struct conn *c)
{
    struct link *l = link_of(c);

    if (l->dial != NULL)
        guard_say_hello(l, l->dial->has_expected ? &l->dial->expected : NULL);
}

static void fill_peer(const struct link *l, const argus_Hello *hello,
                      struct peer_info *out)
{
    memset(out, 0, sizeof *out);
    out->id = node_id_of(hello->id);
    out->generation = hello->generation;
    out->instance = hello->instance;
    out->started_ms = hello->started_ms;
    out->kind = l->kind;
    out->role = hello->role;
    out->zone = hello->zone;
    text_clean(out->name, sizeof out->name, hello->name);
    (void)hello_address(hello, l->conn.ip, out->address, sizeof out->address);
}

static void tell_observed(struct transport *t, const argus_Hello *hello)
{
    unsigned char scratch[16];

    if (uv_inet_pton(AF_INET, hello->observed, scratch) == 0 ||
        uv_inet_pton(AF_INET6, hello->observed, scratch) == 0)
        t->listener.observed(t->listener.context, hello->observed);
}

void link_is_up(struct link *l, const argus_Hello *hello)
{
    struct transport *t = l->owner;
    struct peer_info peer;
    bool is_metrics = l->kind == argus_LinkKind_LINK_METRICS;

    l->id = ++t->next_link;
    HASH_ADD(hh, t->by_id, id, sizeof l->id, l);
    if (l->hh.tbl == NULL) {
        conn_close(&l->conn, argus_RefuseCode_REFUSE_BUSY, "out of memory");
        return;
    }
    l->is_up = true;
    if (l->is_accepted) {
        t->strangers_count--;
        t->stats.links_accepted++;
    } else {
        t->stats.links_dialed++;
        dial_succeed(l);
    }
    t->stats.links_now++;
    conn_ready(&l->conn, is_metrics ? t->options.queue_metrics_bytes_max
                                    : t->options.queue_bytes_max);
    if (t->is_paused && is_metrics)
        conn_pause(&l->conn, true);
    fill_peer(l, hello, &peer);
    tell_observed(t, hello);
    t->listener.link_up(t->listener.context, l->id, l->dial_number, &peer);
}

static void on_frame(struct conn *c, const argus_Frame *frame)
{
    struct link *l = link_of(c);
    struct transport *t = l->owner;
    bool is_hello = frame->which_body == argus_Frame_hello_tag;

    if (l->is_muted)
        return;
    if (l->is_up != is_hello) {
        if (!l->is_up)
            guard_on_hello(l, &frame->body.hello);
        else if (frame->which_body == argus_Frame_key_proof_tag)
            guard_on_key_proof(l, &frame->body.key_proof);
        else
            t->listener.frame(t->listener.context, l->id, frame);
        return;
    }
    conn_malformed(c, l->is_up ? "a second Hello" : "a frame before the Hello");
}

static void log_end(struct link *l, enum link_end why, argus_RefuseCode code,
                    const char *text)
{
    struct transport *t = l->owner;

    if (code == argus_RefuseCode_REFUSE_MALFORMED ||
        code == argus_RefuseCode_REFUSE_QUARANTINE ||
        code == argus_RefuseCode_REFUSE_SLOW)
        log_limited(&t->broken_limit, transport_now_ms(t), LOG_LEVEL_WARNING,
                    "link with %s cut: %s%s", l->conn.where,
                    code == argus_RefuseCode_REFUSE_QUARANTINE ? "quarantine: "
                                                               : "",
                    text);
    else if (!l->is_up && l->is_accepted && code == argus_RefuseCode_REFUSE_KEY)
        log_limited(&t->refused_limit, transport_now_ms(t), LOG_LEVEL_WARNING,
                    "refused a link from %s: %s", l->conn.where, text);
    else if (!l->is_up && l->dial != NULL && why == LINK_END_CLOSED &&
             code != argus_RefuseCode_REFUSE_SELF)
        log_limited(&t->denied_limit, transport_now_ms(t), LOG_LEVEL_WARNING,
                    "no link with %s: %s", l->conn.where, text);
}

/* Before a link is up, an orderly end means that a Hello was refused. */
static void on_ended(struct conn *c, enum link_end why, argus_RefuseCode code,
                     const char *text)
{
    struct link *l = link_of(c);
    struct transport *t = l->owner;

    if (!l->is_up && why == LINK_END_BROKEN)
        why = LINK_END_CLOSED;
    if (l->is_up) {
        HASH_DEL(t->by_id, l);
        t->stats.links_now--;
    } else if (l->is_accepted) {
        t->strangers_count--;
    }
    if (l->is_muted)
        return;
    log_end(l, why, code, text);
    if (l->is_up) {
        t->listener.link_down(t->listener.context, l->id, why, code);
    } else if (l->dial != NULL) {
        dial_attempt_ended(l, why == LINK_END_CLOSED ? LINK_END_DENIED : why,
                           code, text);
    }
}

static void on_drained(struct conn *c)
{
    struct link *l = link_of(c);

    if (l->is_up && !l->is_muted)
        l->owner->listener.drained(l->owner->listener.context, l->id);
}

static void on_gone(struct conn *c)
{
    struct link *l = link_of(c);
    struct transport *t = l->owner;

    if (l->dial != NULL)
        dial_attempt_gone(l);
    TAILQ_REMOVE(&t->links, l, next);
    t->links_count--;
    free(l);
    listen_resume(t);
    transport_maybe_done(t);
}

static struct link *find_link(const struct transport *t, link_id id)
{
    struct link *l;

    HASH_FIND(hh, t->by_id, &id, sizeof id, l);
    return l;
}

/* Pings and acknowledgements overtake bulk; on a metrics or a sync link the
 * rest keeps its order, for it refers to what went before. */
static bool is_urgent(const struct link *l, const argus_Frame *frame)
{
    switch (frame->which_body) {
    case argus_Frame_ping_tag:
    case argus_Frame_pong_tag:
    case argus_Frame_ack_tag: return true;
    case argus_Frame_batch_tag:
    case argus_Frame_series_defs_tag:
    case argus_Frame_items_tag:
    case argus_Frame_digest_tag: return false;
    default: return l->kind == argus_LinkKind_LINK_MESH;
    }
}

void transport_hold(struct transport *t)
{
    conn_shared_hold(&t->shared);
}

void transport_release(struct transport *t)
{
    conn_shared_release(&t->shared);
}

void transport_send(struct transport *t, link_id link, const argus_Frame *frame)
{
    struct link *l = find_link(t, link);

    if (l != NULL)
        conn_send(&l->conn, frame, is_urgent(l, frame));
}

void transport_close(struct transport *t, link_id link, argus_RefuseCode code,
                     const char *text)
{
    struct link *l = find_link(t, link);

    if (l != NULL)
        conn_close(&l->conn, code, text);
}

void transport_close_all(struct transport *t, argus_RefuseCode code,
                         const char *text)
{
    struct link *l;
    struct dial *d;

    t->starved_count = 0;
    while ((d = TAILQ_FIRST(&t->dials)) != NULL)
        dial_forget(d);
    while ((d = TAILQ_FIRST(&t->failed)) != NULL) {
        TAILQ_REMOVE(&t->failed, d, next);
        free(d->answer);
        free(d);
    }
    TAILQ_FOREACH(l, &t->links, next)
    {
        l->is_muted = true;
        conn_close(&l->conn, code, text);
    }
}

void transport_pause_metrics(struct transport *t, bool pause)
{
    struct link *l;

    if (t->is_paused == pause)
        return;
    t->is_paused = pause;
    TAILQ_FOREACH(l, &t->links, next)
    {
        if (l->is_up && l->kind == argus_LinkKind_LINK_METRICS)
            conn_pause(&l->conn, pause);
    }
}

size_t transport_queued_bytes(const struct transport *t, link_id link)
{
    const struct link *l = find_link(t, link);
    return l != NULL ? l->conn.queued_bytes : 0;
}

bool transport_peer(const struct transport *t, link_id link, char *out,
                    size_t out_size)
{
    const struct link *l = find_link(t, link);

    if (l != NULL)
        (void)snprintf(out, out_size, "%s", l->conn.where);
    return l != NULL;
}

const struct transport_stats *transport_stats(const struct transport *t)
{
    return &t->stats;
}
const struct resolve_stats *transport_resolve_stats(const struct transport *t)
{
    return resolve_stats(t->resolver);
}

/* ------------------------------------------------------------ life */

static struct transport *transport_of(struct conn_shared *shared)
{
    return (struct transport *)((char *)shared -
                                offsetof(struct transport, shared));
}

static void on_turn(struct conn_shared *shared)
{
    dial_report_failed(transport_of(shared));
    listen_turn(transport_of(shared));
}

static void or_default(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

/* A quarter of the descriptors stays for collectd and its other plugins. */
static uint32_t links_allowed(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur > LINKS_MAX * 4 / 3)
        return LINKS_MAX;
    return (uint32_t)(limit.rlim_cur - limit.rlim_cur / 4);
}

static void fill_defaults(struct transport_options *o)
{
    or_default(&o->links_max, links_allowed());
    or_default(&o->strangers_max, 256);
    or_default(&o->strangers_source_max, 64);
    or_default(&o->dials_max, 256);
    or_default(&o->connect_ms, 3000);
    or_default(&o->hello_ms, 3000);
    or_default(&o->stall_ms, 10000);
    or_default(&o->linger_ms, 1000);
    or_default(&o->grace_ms, 5000);
    or_default(&o->queue_bytes_max, 1024 * 1024);
    or_default(&o->queue_metrics_bytes_max, 4 * 1024 * 1024);
}

int transport_new(uv_loop_t *loop, const struct transport_options *options,
                  const struct transport_listener *listener,
                  struct transport **out, struct argus_error *err)
{
    const struct log_limit limit = {.burst = 5, .period_ms = 10000};
    struct transport *t = calloc(1, sizeof *t);

    if (t == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for the transport");
    t->options = *options;
    fill_defaults(&t->options);
    t->listener = *listener;
    t->refused_limit = t->denied_limit = limit;
    t->broken_limit = t->dial_limit = limit;
    TAILQ_INIT(&t->links);
    TAILQ_INIT(&t->dials);
    TAILQ_INIT(&t->failed);
    if (resolver_new(loop, &t->resolver) != ARGUS_OK)
        goto free_t;
    if (conn_shared_init(&t->shared, loop) != ARGUS_OK)
        goto close_resolver;
    t->shared.stall_ms = t->options.stall_ms;
    t->shared.linger_ms = t->options.linger_ms;
    t->shared.stats = &t->stats;
    t->shared.events = (struct conn_events){
        on_opened, on_talks, on_frame, on_ended, on_drained, on_gone, on_turn};
    t->handles = 2;
    t->stats.links_max = t->options.links_max;
    guard_open(t);
    dial_open(t);
    *out = t;
    return ARGUS_OK;

close_resolver:
    resolver_close(t->resolver, free, NULL);
free_t:
    free(t);
    return argus_fail(err, ARGUS_ENOMEM, "no memory for the transport");
}

void transport_set_self(struct transport *t, const struct hello_facts *self)
{
    t->options.self = *self;
}

void transport_one_handle_less(struct transport *t)
{
    t->handles--;
    transport_maybe_done(t);
}

static void on_resolver_closed(void *context)
{
    transport_one_handle_less(context);
}

static void on_idle_closed(uv_handle_t *handle)
{
    transport_one_handle_less(transport_of(handle->data));
}

/* The idle handle goes last: without it no end would be reported. */
void transport_maybe_done(struct transport *t)
{
    if (!t->is_stopping || t->links_count > 0)
        return;
    if (t->handles == 1 && !uv_is_closing((uv_handle_t *)&t->shared.idle))
        uv_close((uv_handle_t *)&t->shared.idle, on_idle_closed);
    else if (t->handles == 0)
        t->done(t->done_context);
}

void transport_stop(struct transport *t, argus_RefuseCode code,
                    const char *text, void (*done)(void *context),
                    void *context)
{
    t->is_stopping = true;
    t->done = done;
    t->done_context = context;
    transport_close_all(t, code, text);
    listen_close(t);
    guard_close(t);
    dial_close(t);
    resolver_close(t->resolver, on_resolver_closed, t);
}

void transport_free(struct transport *t)
{
    if (t == NULL)
        return;
    assert(TAILQ_EMPTY(&t->links) && TAILQ_EMPTY(&t->dials));
    HASH_CLEAR(hh, t->by_id);
    conn_shared_close(&t->shared);
    tls_context_release(t->protection);
    free(t);
}
