#include "runtime/resolve.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Shared with the thread; the last of the two to leave frees it. */
struct lookup {
    struct lookup *next; /* in the resolver's list; the loop's */
    struct resolver *resolver;
    resolve_done done;
    void *context;
    char host[256], port[32];
    /* under the lock */
    pthread_mutex_t lock;
    bool is_done, is_abandoned;
    uv_async_t *wake;
    struct addrinfo *list;
    int code;
};

struct resolver {
    uv_async_t async;
    struct lookup *first;
    unsigned count;
    void (*closed)(void *context);
    void *closed_context;
};

static void lookup_free(struct lookup *l)
{
    if (l->list != NULL)
        freeaddrinfo(l->list);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

static void *look_up(void *arg)
{
    struct lookup *l = arg;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_family = AF_UNSPEC};
    struct addrinfo *list = NULL;
    int code = getaddrinfo(l->host, l->port, &hints, &list);

    (void)pthread_mutex_lock(&l->lock);
    l->list = code == 0 ? list : NULL;
    l->code = code;
    l->is_done = true;
    bool is_abandoned = l->is_abandoned;
    if (!is_abandoned)
        (void)uv_async_send(l->wake);
    (void)pthread_mutex_unlock(&l->lock);
    if (is_abandoned)
        lookup_free(l);
    return NULL;
}

static void unlink_lookup(struct lookup *l)
{
    struct lookup **at = &l->resolver->first;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    l->resolver->count--;
}

void resolve_cancel(struct lookup *l)
{
    unlink_lookup(l);
    (void)pthread_mutex_lock(&l->lock);
    l->is_abandoned = true;
    bool is_done = l->is_done;
    (void)pthread_mutex_unlock(&l->lock);
    if (is_done)
        lookup_free(l);
}

static void finish(struct lookup *l)
{
    struct argus_error err = {{0}};
    struct addrinfo *list = l->list;

    unlink_lookup(l);
    l->list = NULL;
    if (list == NULL)
        (void)argus_fail(&err, ARGUS_ENOENT, "look up \"%s\": %s", l->host,
                         gai_strerror(l->code));
    l->done(l->context, list, &err);
    lookup_free(l);
}

static struct lookup *first_done(struct resolver *r)
{
    for (struct lookup *l = r->first; l != NULL; l = l->next) {
        (void)pthread_mutex_lock(&l->lock);
        bool is_done = l->is_done;
        (void)pthread_mutex_unlock(&l->lock);
        if (is_done)
            return l;
    }
    return NULL;
}

/* From the head again after each: done() may cancel others. */
static void on_async(uv_async_t *async)
{
    struct resolver *r = async->data;
    struct lookup *l;

    while ((l = first_done(r)) != NULL)
        finish(l);
}

int resolver_new(uv_loop_t *loop, struct resolver **out)
{
    struct resolver *r = calloc(1, sizeof *r);

    if (r == NULL)
        return ARGUS_ENOMEM;
    r->async.data = r;
    if (uv_async_init(loop, &r->async, on_async) != 0) {
        free(r);
        return ARGUS_EIO;
    }
    *out = r;
    return ARGUS_OK;
}

static int start_thread(struct lookup *l)
{
    pthread_t thread;
    pthread_attr_t attr;
    int rc;

    if (pthread_attr_init(&attr) != 0)
        return ARGUS_ENOMEM;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, 256 * 1024);
    rc = pthread_create(&thread, &attr, look_up, l);
    (void)pthread_attr_destroy(&attr);
    return rc == 0 ? ARGUS_OK : ARGUS_ENOMEM;
}

int resolve_start(struct resolver *r, const char *host, const char *port,
                  resolve_done done, void *context, struct lookup **out,
                  struct argus_error *err)
{
    if (r->count >= RESOLVE_MAX)
        return argus_fail(err, ARGUS_EFULL,
                          "look up \"%s\": %d others are under way", host,
                          RESOLVE_MAX);
    struct lookup *l = calloc(1, sizeof *l);
    if (l == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "look up \"%s\": no memory", host);
    (void)snprintf(l->host, sizeof l->host, "%s", host);
    (void)snprintf(l->port, sizeof l->port, "%s", port);
    l->resolver = r;
    l->done = done;
    l->context = context;
    l->wake = &r->async;
    (void)pthread_mutex_init(&l->lock, NULL);
    if (start_thread(l) != ARGUS_OK) {
        lookup_free(l);
        return argus_fail(err, ARGUS_ENOMEM, "look up \"%s\": no thread", host);
    }
    l->next = r->first;
    r->first = l;
    r->count++;
    *out = l;
    return ARGUS_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct resolver *r = handle->data;
    void (*closed)(void *) = r->closed;
    void *context = r->closed_context;

    free(r);
    closed(context);
}

void resolver_close(struct resolver *r, void (*closed)(void *context),
                    void *context)
{
    while (r->first != NULL)
        resolve_cancel(r->first);
    r->closed = closed;
    r->closed_context = context;
    uv_close((uv_handle_t *)&r->async, on_closed);
}
