#include "runtime/transport.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/log.h"
#include "base/text.h"
#include "runtime/conn.h"
#include "runtime/resolve.h"

#define LISTENERS_MAX 16
#define BACKLOG 512
/** Addresses of one name that are tried. */
#define DIAL_ADDRESSES_MAX 16
/** Dials there was no memory for, until that is told; more than the core has
 *  under way. */
#define STARVED_MAX 64

struct dial {
    TAILQ_ENTRY(dial) next;
    struct transport *owner;
    dial_id id;
    argus_LinkKind kind;
    char address[ADDRESS_SIZE];
    bool has_expected;
    struct node_id expected;

    struct lookup *lookup;
    struct sockaddr_storage to[DIAL_ADDRESSES_MAX];
    unsigned to_count, to_next;
    struct link *link; /* the attempt under way */
    bool has_failed;   /* why, code and text say how */
    enum link_end why;
    argus_RefuseCode code;
    char text[256];
};

TAILQ_HEAD(dial_list, dial);

/* One attempt, one stranger or one link. */
struct link {
    struct conn conn; /* first: a conn is its link */
    TAILQ_ENTRY(link) next;
    UT_hash_handle hh; /* by id, once it is up */
    struct transport *owner;
    link_id id;
    struct dial *dial; /* until it is up */
    dial_id dial_number;
    bool is_accepted, is_up;
    bool is_muted; /* the listener hears no more of it */
    argus_LinkKind kind;
};

TAILQ_HEAD(link_list, link);

struct listener {
    uv_tcp_t tcp;
    struct transport *owner;
    bool is_stalled; /* one waits to be accepted, there was no memory */
};

struct transport {
    struct transport_options options;
    struct transport_listener listener;
    struct transport_stats stats;
    struct conn_shared shared;
    struct resolver *resolver;
    struct listener *listeners[LISTENERS_MAX];
    unsigned listeners_count;
    unsigned handles; /* listeners, idle and resolver not yet closed */

    struct link_list links;
    struct link *by_id; /* uthash */
    unsigned links_count, strangers_count;
    struct dial_list dials;  /* under way */
    struct dial_list failed; /* over, not yet reported */
    unsigned dials_count;
    dial_id starved[STARVED_MAX];
    unsigned starved_count;
    link_id next_link;
    bool is_paused, is_stopping;
    struct log_limit refused_limit, denied_limit, broken_limit, dial_limit;
    void (*done)(void *context);
    void *done_context;
};

static struct link *link_of(struct conn *c)
{
    return (struct link *)c;
}

static uint64_t now_ms(const struct transport *t)
{
    return uv_now(t->shared.loop);
}

/* ------------------------------------------------------------ dials */

static void dial_next(struct dial *d);
static void maybe_done(struct transport *t);
static void on_connection(uv_stream_t *stream, int status);

static void dial_forget(struct dial *d)
{
    if (d->lookup != NULL)
        resolve_cancel(d->lookup);
    if (d->link != NULL)
        d->link->dial = NULL;
    TAILQ_REMOVE(&d->owner->dials, d, next);
    d->owner->dials_count--;
    free(d);
}

/* What the dial as a whole will answer. One's own address among those of a
 * name says nothing of the others; and "nobody listens" holds only when it is
 * so at each of them. */
static void dial_note(struct dial *d, enum link_end why, argus_RefuseCode code,
                      const char *text)
{
    bool is_self = code == argus_RefuseCode_REFUSE_SELF;

    if (d->has_failed && (is_self || (why == LINK_END_REFUSED &&
                                      d->code != argus_RefuseCode_REFUSE_SELF)))
        return;
    d->has_failed = true;
    d->why = why;
    d->code = code;
    text_clean(d->text, sizeof d->text, text);
}

static void dial_fail(struct dial *d)
{
    struct transport *t = d->owner;

    t->stats.dials_failed++;
    TAILQ_REMOVE(&t->dials, d, next);
    t->dials_count--;
    TAILQ_INSERT_TAIL(&t->failed, d, next);
    conn_shared_wake(&t->shared);
}

static void dial_fail_with(struct dial *d, enum link_end why, const char *text)
{
    dial_note(d, why, argus_RefuseCode_REFUSE_NONE, text);
    dial_fail(d);
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in =
            (const struct sockaddr_in *)(const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *a =
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(a))
            return a->s6_addr[12] == 127;
        return IN6_IS_ADDR_LOOPBACK(a);
    }
    return false;
}

static void on_resolved(void *context, struct addrinfo *list,
                        const struct argus_error *err)
{
    struct dial *d = context;

    d->lookup = NULL;
    for (const struct addrinfo *a = list;
         a != NULL && d->to_count < DIAL_ADDRESSES_MAX; a = a->ai_next)
        if (a->ai_addrlen <= sizeof d->to[0])
            memcpy(&d->to[d->to_count++], a->ai_addr, a->ai_addrlen);
    if (list != NULL)
        freeaddrinfo(list);
    if (d->to_count == 0)
        dial_fail_with(d, LINK_END_LOCAL, err->text);
    else
        dial_next(d);
}

/* A literal needs no look-up. */
static bool literal_address(const char *host, const char *port,
                            struct sockaddr_storage *out)
{
    if (strspn(port, "0123456789") != strlen(port))
        return false;
    int number = atoi(port);
    return uv_ip4_addr(host, number, (struct sockaddr_in *)(void *)out) == 0 ||
           uv_ip6_addr(host, number, (struct sockaddr_in6 *)(void *)out) == 0;
}

static void dial_begin(struct dial *d)
{
    char host[ADDRESS_SIZE], port[32];
    struct argus_error err = {{0}};

    if (!text_split_address(d->address, host, sizeof host, port, sizeof port) ||
        host[0] == '\0') {
        dial_fail_with(d, LINK_END_LOCAL, "this is no host:port");
        return;
    }
    if (literal_address(host, port, &d->to[0])) {
        d->to_count = 1;
        dial_next(d);
        return;
    }
    if (resolve_start(d->owner->resolver, host, port, on_resolved, d,
                      &d->lookup, &err) != ARGUS_OK) {
        d->lookup = NULL;
        dial_fail_with(d, LINK_END_LOCAL, err.text);
    }
}

void transport_dial(struct transport *t, dial_id dial, argus_LinkKind kind,
                    const char *address, const struct node_id *expected)
{
    struct dial *d = calloc(1, sizeof *d);

    if (d == NULL || t->is_stopping) {
        free(d);
        t->stats.dials_failed++;
        if (!t->is_stopping && t->starved_count < STARVED_MAX) {
            t->starved[t->starved_count++] = dial;
            conn_shared_wake(&t->shared);
        }
        return;
    }
    d->owner = t;
    d->id = dial;
    d->kind = kind;
    (void)snprintf(d->address, sizeof d->address, "%s", address);
    if (expected != NULL) {
        d->has_expected = true;
        d->expected = *expected;
    }
    TAILQ_INSERT_TAIL(&t->dials, d, next);
    t->dials_count++;
    if (t->dials_count > t->options.dials_max)
        dial_fail_with(d, LINK_END_LOCAL, "too many dials are under way");
    else
        dial_begin(d);
}

static struct transport *transport_of(struct conn_shared *shared)
{
    return (struct transport *)((char *)shared -
                                offsetof(struct transport, shared));
}

static void report_starved(struct transport *t)
{
    dial_id starved[STARVED_MAX];
    unsigned count = t->starved_count;

    memcpy(starved, t->starved, count * sizeof starved[0]);
    t->starved_count = 0;
    for (unsigned i = 0; i < count; i++)
        t->listener.dial_failed(t->listener.context, starved[i], LINK_END_LOCAL,
                                argus_RefuseCode_REFUSE_NONE);
}

/* Only those that had failed before: whoever hears of one may dial again. */
static void report_failed(struct conn_shared *shared)
{
    struct transport *t = transport_of(shared);
    struct dial_list failed = TAILQ_HEAD_INITIALIZER(failed);
    struct dial *d;

    report_starved(t);
    TAILQ_CONCAT(&failed, &t->failed, next);
    while ((d = TAILQ_FIRST(&failed)) != NULL) {
        TAILQ_REMOVE(&failed, d, next);
        if (d->why != LINK_END_DENIED)
            log_limited(&t->dial_limit, now_ms(t), LOG_LEVEL_INFO,
                        "cannot reach %s: %s", d->address, d->text);
        t->listener.dial_failed(t->listener.context, d->id, d->why, d->code);
        free(d);
    }
}

/* ------------------------------------------------------------ links */

static struct link *link_new(struct transport *t)
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

static void dial_next(struct dial *d)
{
    struct transport *t = d->owner;

    while (d->to_next < d->to_count) {
        const struct sockaddr *to =
            (const struct sockaddr *)(const void *)&d->to[d->to_next++];
        if (!t->options.allow_plaintext && !is_loopback(to)) {
            dial_note(d, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                      "not on loopback; there is no key, and "
                      "Security/AllowPlaintext is not set");
            continue;
        }
        struct link *l =
            t->links_count < t->options.links_max ? link_new(t) : NULL;
        if (l == NULL) {
            dial_note(d, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                      "no room for a link");
            continue;
        }
        l->kind = d->kind;
        l->dial = d;
        l->dial_number = d->id;
        d->link = l;
        (void)conn_name_peer(&l->conn, to);
        conn_connect(&l->conn, to, t->options.connect_ms);
        return;
    }
    dial_fail(d);
}

static void say_hello(struct link *l, const struct node_id *expected)
{
    argus_Frame *frame = l->owner->shared.refuse;

    memset(frame, 0, sizeof *frame);
    frame->which_body = argus_Frame_hello_tag;
    hello_build(&l->owner->options.self, l->kind, expected, l->conn.ip,
                &frame->body.hello);
    conn_send(&l->conn, frame, true);
}

static void on_opened(struct conn *c)
{
    struct link *l = link_of(c);

    if (l->dial == NULL ||
        !conn_start(c, FRAME_HELLO_MAX, l->owner->options.hello_ms))
        return;
    say_hello(l, l->dial->has_expected ? &l->dial->expected : NULL);
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
    text_clean(out->name, sizeof out->name, hello->name);
    (void)hello_address(hello, l->conn.ip, out->address, sizeof out->address);
}

static void tell_observed(struct transport *t, const argus_Hello *hello)
{
    unsigned char scratch[16];

    if (t->options.self.address[0] == ':' &&
        (uv_inet_pton(AF_INET, hello->observed, scratch) == 0 ||
         uv_inet_pton(AF_INET6, hello->observed, scratch) == 0))
        t->listener.observed(t->listener.context, hello->observed);
}

static void link_is_up(struct link *l, const argus_Hello *hello)
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
        struct dial *d = l->dial;
        t->stats.links_dialed++;
        d->link = NULL;
        l->dial = NULL;
        dial_forget(d);
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

static void on_hello(struct link *l, const argus_Hello *received)
{
    struct transport *t = l->owner;
    char text[HELLO_TEXT_SIZE];
    argus_Hello hello = *received; /* the scratch is used to answer */

    if (l->is_accepted)
        l->kind = hello.kind;
    argus_RefuseCode code = hello_check(
        &t->options.self, &hello, l->kind,
        l->dial != NULL && l->dial->has_expected ? &l->dial->expected : NULL,
        l->conn.where, text);
    if (code != argus_RefuseCode_REFUSE_NONE) {
        t->stats.hellos_refused++;
        if (code != argus_RefuseCode_REFUSE_SELF)
            log_limited(&t->refused_limit, now_ms(t), LOG_LEVEL_WARNING,
                        "refused a link: %s", text);
        conn_close(&l->conn, code, text);
        return;
    }
    if (l->is_accepted)
        say_hello(l, NULL);
    if (l->conn.state == CONN_OPEN && !l->conn.has_end)
        link_is_up(l, &hello);
}

static void on_frame(struct conn *c, const argus_Frame *frame)
{
    struct link *l = link_of(c);
    struct transport *t = l->owner;
    bool is_hello = frame->which_body == argus_Frame_hello_tag;

    if (l->is_muted)
        return;
    if (l->is_up != is_hello) {
        if (l->is_up)
            t->listener.frame(t->listener.context, l->id, frame);
        else
            on_hello(l, &frame->body.hello);
        return;
    }
    conn_malformed(c, l->is_up ? "a second Hello" : "a frame before the Hello");
}

static void log_end(struct link *l, enum link_end why, argus_RefuseCode code,
                    const char *text)
{
    struct transport *t = l->owner;

    if (code == argus_RefuseCode_REFUSE_MALFORMED ||
        code == argus_RefuseCode_REFUSE_SLOW)
        log_limited(&t->broken_limit, now_ms(t), LOG_LEVEL_WARNING,
                    "link with %s cut: %s", l->conn.where, text);
    else if (!l->is_up && l->dial != NULL && why == LINK_END_CLOSED &&
             code != argus_RefuseCode_REFUSE_SELF)
        log_limited(&t->denied_limit, now_ms(t), LOG_LEVEL_WARNING,
                    "no link with %s: %s", l->conn.where, text);
}

/* Before a link is up, an orderly end means that a Hello was refused. */
static void on_ended(struct conn *c, enum link_end why, argus_RefuseCode code,
                     const char *text)
{
    struct link *l = link_of(c);
    struct transport *t = l->owner;

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
        struct dial *d = l->dial;
        l->dial = NULL;
        d->link = NULL;
        dial_note(d, why == LINK_END_CLOSED ? LINK_END_DENIED : why, code,
                  text);
        dial_next(d);
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
        l->dial->link = NULL;
    TAILQ_REMOVE(&t->links, l, next);
    t->links_count--;
    free(l);
    for (unsigned i = 0; i < t->listeners_count; i++)
        if (t->listeners[i]->is_stalled)
            on_connection((uv_stream_t *)&t->listeners[i]->tcp, 0);
    maybe_done(t);
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

/* ------------------------------------------------------------ listening */

/* Strangers are young, so the walk from the young end is short. */
static const char *why_no_room(const struct transport *t, const struct link *me)
{
    const struct link *l;
    unsigned seen = 0, count = 0, same = 0;

    if (t->links_count > t->options.links_max)
        return "too many links";
    TAILQ_FOREACH_REVERSE(l, &t->links, link_list, next)
    {
        if (!l->is_accepted || l->is_up || l->conn.has_reported)
            continue;
        if (!l->conn.has_end) {
            count++;
            same += strcmp(l->conn.ip, me->conn.ip) == 0;
        }
        if (++seen == t->strangers_count)
            break;
    }
    if (count > t->options.strangers_max)
        return "too many strangers";
    if (same > t->options.strangers_source_max)
        return "too many strangers from one address";
    return NULL;
}

static void accept_link(struct transport *t, struct link *l)
{
    struct sockaddr_storage address = {0};
    struct sockaddr *peer = (struct sockaddr *)(void *)&address;
    int size = sizeof address;

    if (uv_tcp_getpeername(&l->conn.tcp, peer, &size) != 0 ||
        conn_name_peer(&l->conn, peer) != ARGUS_OK) {
        conn_abort(&l->conn, LINK_END_RESET, argus_RefuseCode_REFUSE_NONE,
                   "gone before it was seen");
        return;
    }
    if (!conn_start(&l->conn, FRAME_HELLO_MAX, t->options.hello_ms))
        return;
    if (!t->options.allow_plaintext && !is_loopback(peer)) {
        conn_close(&l->conn, argus_RefuseCode_REFUSE_BUSY,
                   "loopback only: there is no key");
        return;
    }
    const char *why = why_no_room(t, l);
    if (why == NULL)
        return;
    t->stats.strangers_refused++;
    log_limited(&t->refused_limit, now_ms(t), LOG_LEVEL_WARNING,
                "refused a link from %s: %s", l->conn.where, why);
    /* Being polite costs a descriptor for a while: not under a flood. */
    if (t->links_count > t->options.links_max + t->options.strangers_max)
        conn_abort(&l->conn, LINK_END_CLOSED, argus_RefuseCode_REFUSE_BUSY,
                   why);
    else
        conn_close(&l->conn, argus_RefuseCode_REFUSE_BUSY, why);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *listener = stream->data;
    struct transport *t = listener->owner;

    if (status != 0) {
        log_limited(&t->refused_limit, now_ms(t), LOG_LEVEL_ERROR,
                    "cannot accept a link: %s", uv_strerror(status));
        return;
    }
    struct link *l = link_new(t);
    listener->is_stalled = l == NULL;
    if (l == NULL)
        return; /* on_gone() comes back to it: libuv does not */
    l->is_accepted = true;
    t->strangers_count++;
    if (uv_accept(stream, (uv_stream_t *)&l->conn.tcp) != 0) {
        conn_abort(&l->conn, LINK_END_RESET, argus_RefuseCode_REFUSE_NONE,
                   "gone before it was accepted");
        return;
    }
    accept_link(t, l);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    struct transport *t = listener->owner;

    free(listener);
    t->handles--;
    maybe_done(t);
}

static int bind_and_listen(struct listener *listener,
                           const struct sockaddr *address, uint16_t *out_port)
{
    struct sockaddr_storage bound = {0};
    int size = sizeof bound;
    int status = uv_tcp_bind(&listener->tcp, address, 0);

    if (status == 0)
        status =
            uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    if (status == 0)
        status = uv_tcp_getsockname(&listener->tcp,
                                    (struct sockaddr *)(void *)&bound, &size);
    if (status == 0)
        *out_port = ntohs(((struct sockaddr_in *)(void *)&bound)->sin_port);
    return status;
}

static int fail_listen(struct argus_error *err, int status, const char *where)
{
    if (status == UV_EADDRINUSE)
        return argus_fail(err, ARGUS_EBUSY,
                          "cannot listen on %s: the port is in use. Stop who "
                          "has it, or name another port in Listen",
                          where);
    if (status == UV_EADDRNOTAVAIL)
        return argus_fail(err, ARGUS_EINVAL,
                          "cannot listen on %s: no interface has that address",
                          where);
    return argus_fail(err, ARGUS_EIO, "cannot listen on %s: %s", where,
                      uv_strerror(status));
}

/* @return libuv's code; ARGUS_OK is 0 as well. */
static int listen_at(struct transport *t, const struct sockaddr *address,
                     uint16_t *out_port)
{
    struct listener *listener = NULL;

    if (t->listeners_count < LISTENERS_MAX)
        listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return UV_ENOMEM;
    listener->owner = t;
    int status = uv_tcp_init(t->shared.loop, &listener->tcp);
    if (status != 0) {
        free(listener);
        return status;
    }
    listener->tcp.data = listener;
    t->handles++;
    status = bind_and_listen(listener, address, out_port);
    if (status == 0)
        t->listeners[t->listeners_count++] = listener;
    else
        uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
    return status;
}

static int listen_checked(struct transport *t, const struct sockaddr *address,
                          const char *where, uint16_t *out_port,
                          struct argus_error *err)
{
    if (!t->options.allow_plaintext && !is_loopback(address))
        return argus_fail(err, ARGUS_EDENIED,
                          "Listen %s is not on loopback: without a key only "
                          "loopback is served. Set AllowPlaintext true in "
                          "<Security> to go on without protection",
                          where);
    int status = listen_at(t, address, out_port);
    return status == 0 ? ARGUS_OK : fail_listen(err, status, where);
}

/* Where there is no IPv6, all interfaces are those of IPv4. */
static int listen_anywhere(struct transport *t, const char *port,
                           uint16_t *out_port, struct argus_error *err)
{
    struct sockaddr_storage any;
    char where[64];

    (void)snprintf(where, sizeof where, "[::]:%s", port);
    (void)uv_ip6_addr("::", atoi(port), (struct sockaddr_in6 *)(void *)&any);
    int status = t->options.allow_plaintext
                     ? listen_at(t, (struct sockaddr *)(void *)&any, out_port)
                     : UV_EPERM;
    if (status == UV_EAFNOSUPPORT || status == UV_EADDRNOTAVAIL ||
        status == UV_EINVAL) {
        (void)snprintf(where, sizeof where, "0.0.0.0:%s", port);
        (void)uv_ip4_addr("0.0.0.0", atoi(port),
                          (struct sockaddr_in *)(void *)&any);
    }
    if (status == 0)
        return ARGUS_OK;
    if (status == UV_EADDRINUSE)
        return fail_listen(err, status, where);
    return listen_checked(t, (struct sockaddr *)(void *)&any, where, out_port,
                          err);
}

static int listen_each(struct transport *t, const struct addrinfo *list,
                       const char *where, uint16_t *out_port,
                       struct argus_error *err)
{
    int rc = ARGUS_EINVAL;

    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        rc = listen_checked(t, a->ai_addr, where, out_port, err);
        if (rc != ARGUS_OK)
            break;
    }
    return rc;
}

int transport_listen(struct transport *t, const char *host, const char *port,
                     uint16_t *out_port, struct argus_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    char where[ADDRESS_SIZE + 40];

    if (host[0] == '\0' || strcmp(host, "*") == 0)
        host = "::";
    if (!text_join_address(where, sizeof where, host, port))
        return argus_fail(err, ARGUS_EINVAL, "Listen \"%s\" is too long", host);
    int code = getaddrinfo(host, port, &hints, &list);
    if (code != 0)
        return argus_fail(err, ARGUS_EINVAL, "cannot listen on %s: %s", where,
                          gai_strerror(code));
    char number[8];
    const struct sockaddr_in *first =
        (const struct sockaddr_in *)(const void *)list->ai_addr;
    (void)snprintf(number, sizeof number, "%u", ntohs(first->sin_port));
    int rc = strcmp(host, "::") == 0
                 ? listen_anywhere(t, number, out_port, err)
                 : listen_each(t, list, where, out_port, err);
    freeaddrinfo(list);
    return rc;
}

/* ------------------------------------------------------------ life */

static void or_default(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void fill_defaults(struct transport_options *o)
{
    or_default(&o->links_max, 16384);
    or_default(&o->strangers_max, 256);
    or_default(&o->strangers_source_max, 64);
    or_default(&o->dials_max, 256);
    or_default(&o->connect_ms, 3000);
    or_default(&o->hello_ms, 3000);
    or_default(&o->stall_ms, 10000);
    or_default(&o->linger_ms, 1000);
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
        on_opened, on_frame, on_ended, on_drained, on_gone, report_failed};
    t->handles = 2;
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

static void one_handle_less(struct transport *t)
{
    t->handles--;
    maybe_done(t);
}

static void on_resolver_closed(void *context)
{
    one_handle_less(context);
}

static void on_idle_closed(uv_handle_t *handle)
{
    one_handle_less(transport_of(handle->data));
}

/* The idle handle goes last: without it no end would be reported. */
static void maybe_done(struct transport *t)
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
    for (unsigned i = 0; i < t->listeners_count; i++)
        uv_close((uv_handle_t *)&t->listeners[i]->tcp, on_listener_closed);
    t->listeners_count = 0;
    resolver_close(t->resolver, on_resolver_closed, t);
}

void transport_free(struct transport *t)
{
    if (t == NULL)
        return;
    assert(TAILQ_EMPTY(&t->links) && TAILQ_EMPTY(&t->dials));
    HASH_CLEAR(hh, t->by_id);
    conn_shared_close(&t->shared);
    free(t);
}
