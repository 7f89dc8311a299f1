#include "runtime/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/srv.h"
#include "base/text.h"
#include "runtime/resolve_dns.h"

/** Names remembered as failing; of more the oldest is told of again. */
#define TOLD_MAX 64

/* One name under way; shared with its thread, and the last of the two to leave
 * frees it. */
struct query {
    struct query *next; /* in the resolver's list; the loop's */
    char host[256], port[32];
    bool is_service;
    /* under the lock */
    pthread_mutex_t lock;
    bool is_done, is_abandoned, is_truncated;
    uv_async_t *wake;
    struct resolve_answer answer; /* grows while a service is looked up */
    char why[128];                /* there is none, or not all */
};

struct lookup {
    struct lookup *next;
    struct resolver *resolver;
    struct query *query;
    resolve_done done;
    void *context;
    uint64_t deadline_ms;
};

struct resolver {
    uv_async_t async;
    uv_timer_t timer;
    struct lookup *first;
    struct query *queries;
    unsigned queries_count;
    char told[TOLD_MAX][256]; /* names that fail, as the log knows */
    unsigned told_next;
    struct resolve_stats stats;
    unsigned handles;
    void (*closed)(void *context);
    void *closed_context;
};

/* ------------------------------------------------------------ the thread */

static void query_free(struct query *q)
{
    (void)pthread_mutex_destroy(&q->lock);
    free(q);
}

/* What is found is there for those who wait no longer. */
static void add_host(struct query *q, const char *host, const char *port,
                     struct resolve_answer *found)
{
    bool truncated = false;
    int code = dns_host(host, port, found, &truncated);

    (void)pthread_mutex_lock(&q->lock);
    q->answer = *found;
    q->is_truncated |= truncated;
    if (code != 0)
        (void)snprintf(q->why, sizeof q->why, "%s%.64s%s",
                       q->is_service ? host : "", q->is_service ? ": " : "",
                       gai_strerror(code));
    (void)pthread_mutex_unlock(&q->lock);
}

static bool is_abandoned(struct query *q)
{
    (void)pthread_mutex_lock(&q->lock);
    bool abandoned = q->is_abandoned;
    (void)pthread_mutex_unlock(&q->lock);
    return abandoned;
}

static void add_services(struct query *q, struct resolve_answer *found)
{
    struct dns_services services;
    char why[sizeof q->why], port[8];

    if (!dns_service(q->host, &services, why, sizeof why)) {
        (void)pthread_mutex_lock(&q->lock);
        memcpy(q->why, why, sizeof why);
        (void)pthread_mutex_unlock(&q->lock);
        return;
    }
    for (unsigned i = 0; i < services.count && !is_abandoned(q); i++) {
        (void)snprintf(port, sizeof port, "%u", services.list[i].port);
        add_host(q, services.list[i].target, port, found);
    }
    (void)pthread_mutex_lock(&q->lock);
    q->is_truncated |= services.is_truncated;
    (void)pthread_mutex_unlock(&q->lock);
}

static void *look_up(void *arg)
{
    struct query *q = arg;
    struct resolve_answer found = {0};

    if (q->is_service)
        add_services(q, &found);
    else
        add_host(q, q->host, q->port, &found);
    (void)pthread_mutex_lock(&q->lock);
    q->is_done = true;
    bool abandoned = q->is_abandoned;
    if (!abandoned)
        (void)uv_async_send(q->wake);
    (void)pthread_mutex_unlock(&q->lock);
    if (abandoned)
        query_free(q);
    return NULL;
}

static int start_thread(struct query *q)
{
    pthread_t thread;
    pthread_attr_t attr;
    int rc;

    if (pthread_attr_init(&attr) != 0)
        return ARGUS_ENOMEM;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, 256 * 1024);
    rc = pthread_create(&thread, &attr, look_up, q);
    (void)pthread_attr_destroy(&attr);
    return rc == 0 ? ARGUS_OK : ARGUS_ENOMEM;
}

/* --------------------------------------------------------- what is told */

static char *find_told(struct resolver *r, const char *name)
{
    for (unsigned i = 0; i < TOLD_MAX; i++)
        if (strcmp(r->told[i], name) == 0)
            return r->told[i];
    return NULL;
}

static void tell_failure(struct resolver *r, const char *name, const char *why)
{
    r->stats.failures++;
    if (find_told(r, name) != NULL)
        return;
    text_copy(r->told[r->told_next], sizeof r->told[0], name);
    r->told_next = (r->told_next + 1) % TOLD_MAX;
    log_write(LOG_LEVEL_WARNING,
              "cannot look up \"%s\": %s. It is tried again and again; the log "
              "will say when it works",
              name, why);
}

static void tell_success(struct resolver *r, const char *name)
{
    char *told = find_told(r, name);

    if (told == NULL)
        return;
    told[0] = '\0';
    log_write(LOG_LEVEL_NOTICE, "\"%s\" can be looked up again", name);
}

/* -------------------------------------------------------------- waiting */

static void unlink_lookup(struct lookup *l)
{
    struct lookup **at = &l->resolver->first;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
}

/* The thread goes on, for whoever asks next. */
void resolve_cancel(struct lookup *l)
{
    unlink_lookup(l);
    free(l);
}

static void finish(struct lookup *l, const struct resolve_answer *answer,
                   const char *why)
{
    struct resolver *r = l->resolver;
    struct argus_error err = {{0}};

    if (answer->count > 0) {
        tell_success(r, l->query->host);
    } else {
        tell_failure(r, l->query->host, why);
        (void)argus_fail(&err, ARGUS_ENOENT, "look up \"%s\": %s",
                         l->query->host, why);
    }
    unlink_lookup(l);
    l->done(l->context, answer, &err);
    free(l);
}

/* @return false: it is under way. */
static bool read_query(struct query *q, struct resolve_answer *answer,
                       char why[sizeof q->why])
{
    (void)pthread_mutex_lock(&q->lock);
    bool is_done = q->is_done;
    *answer = q->answer;
    memcpy(why, q->why, sizeof q->why);
    (void)pthread_mutex_unlock(&q->lock);
    return is_done;
}

static struct lookup *waiting_for(struct resolver *r, const struct query *q)
{
    for (struct lookup *l = r->first; l != NULL; l = l->next)
        if (l->query == q)
            return l;
    return NULL;
}

/* Taken off the list before anybody hears of it: done() may ask anew, or cancel
 * others. */
static void settle(struct resolver *r, struct query *q)
{
    struct resolve_answer answer;
    char why[sizeof q->why];
    struct lookup *l;
    struct query **at = &r->queries;

    if (!read_query(q, &answer, why))
        return;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    r->queries_count--;
    r->stats.truncated += q->is_truncated;
    while ((l = waiting_for(r, q)) != NULL)
        finish(l, &answer, why[0] != '\0' ? why : "it has no address");
    query_free(q);
}

/* From the head again after each. */
static void on_async(uv_async_t *async)
{
    struct resolver *r = async->data;
    struct query *q = r->queries;

    while (q != NULL) {
        (void)pthread_mutex_lock(&q->lock);
        bool is_done = q->is_done;
        (void)pthread_mutex_unlock(&q->lock);
        if (is_done)
            settle(r, q);
        q = is_done ? r->queries : q->next;
    }
}

static void on_timer(uv_timer_t *timer);

static void arm(struct resolver *r)
{
    uint64_t now = uv_now(r->timer.loop), due = UINT64_MAX;

    for (struct lookup *l = r->first; l != NULL; l = l->next)
        if (l->deadline_ms < due)
            due = l->deadline_ms;
    if (due == UINT64_MAX)
        (void)uv_timer_stop(&r->timer);
    else
        (void)uv_timer_start(&r->timer, on_timer, due > now ? due - now : 0, 0);
}

static struct lookup *first_late(struct resolver *r)
{
    for (struct lookup *l = r->first; l != NULL; l = l->next)
        if (l->deadline_ms <= uv_now(r->timer.loop))
            return l;
    return NULL;
}

static void on_timer(uv_timer_t *timer)
{
    struct resolver *r = timer->data;
    struct resolve_answer answer;
    struct lookup *l;

    while ((l = first_late(r)) != NULL) {
        char why[sizeof l->query->why];
        (void)read_query(l->query, &answer, why);
        finish(l, &answer, "the resolver does not answer");
    }
    arm(r);
}

/* --------------------------------------------------------------- asking */

static struct query *find_query(struct resolver *r, const char *host,
                                const char *port)
{
    for (struct query *q = r->queries; q != NULL; q = q->next)
        if (q->is_service == (port == NULL) && strcmp(q->host, host) == 0 &&
            (port == NULL || strcmp(q->port, port) == 0))
            return q;
    return NULL;
}

static int new_query(struct resolver *r, const char *host, const char *port,
                     struct query **out, struct argus_error *err)
{
    if (r->queries_count >= RESOLVE_MAX)
        return argus_fail(err, ARGUS_EFULL,
                          "look up \"%s\": %d others are under way", host,
                          RESOLVE_MAX);
    struct query *q = calloc(1, sizeof *q);
    if (q == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "look up \"%s\": no memory", host);
    text_copy(q->host, sizeof q->host, host);
    text_copy(q->port, sizeof q->port, port);
    q->is_service = port == NULL;
    q->wake = &r->async;
    (void)pthread_mutex_init(&q->lock, NULL);
    if (start_thread(q) != ARGUS_OK) {
        query_free(q);
        return argus_fail(err, ARGUS_ENOMEM, "look up \"%s\": no thread", host);
    }
    r->stats.lookups++;
    q->next = r->queries;
    r->queries = q;
    r->queries_count++;
    *out = q;
    return ARGUS_OK;
}

int resolve_start(struct resolver *r, const char *host, const char *port,
                  resolve_done done, void *context, struct lookup **out,
                  struct argus_error *err)
{
    struct lookup *l = calloc(1, sizeof *l);

    if (l == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "look up \"%s\": no memory", host);
    l->query = find_query(r, host, port);
    if (l->query == NULL) {
        int rc = new_query(r, host, port, &l->query, err);
        if (rc != ARGUS_OK) {
            free(l);
            return rc;
        }
    }
    l->resolver = r;
    l->done = done;
    l->context = context;
    uv_update_time(r->timer.loop);
    l->deadline_ms = uv_now(r->timer.loop) + RESOLVE_WAIT_MS;
    l->next = r->first;
    r->first = l;
    arm(r);
    *out = l;
    return ARGUS_OK;
}

/* ----------------------------------------------------------------- life */

const struct resolve_stats *resolve_stats(const struct resolver *r)
{
    return &r->stats;
}

int resolver_new(uv_loop_t *loop, struct resolver **out)
{
    struct resolver *r = calloc(1, sizeof *r);

    if (r == NULL)
        return ARGUS_ENOMEM;
    r->async.data = r->timer.data = r;
    if (uv_async_init(loop, &r->async, on_async) != 0) {
        free(r);
        return ARGUS_EIO;
    }
    (void)uv_timer_init(loop, &r->timer);
    r->handles = 2;
    *out = r;
    return ARGUS_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct resolver *r = handle->data;

    if (--r->handles > 0)
        return;
    void (*closed)(void *) = r->closed;
    void *context = r->closed_context;
    free(r);
    closed(context);
}

static void abandon(struct query *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->is_abandoned = true;
    bool is_done = q->is_done;
    (void)pthread_mutex_unlock(&q->lock);
    if (is_done)
        query_free(q);
}

void resolver_close(struct resolver *r, void (*closed)(void *context),
                    void *context)
{
    while (r->first != NULL)
        resolve_cancel(r->first);
    while (r->queries != NULL) {
        struct query *q = r->queries;
        r->queries = q->next;
        abandon(q);
    }
    r->closed = closed;
    r->closed_context = context;
    uv_close((uv_handle_t *)&r->async, on_closed);
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
