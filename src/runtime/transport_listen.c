#include "runtime/transport_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define BACKLOG 512

/** Connections accepted in one turn of the loop: some milliseconds at most, in
 *  which the links that are up wait. */
#define ACCEPTS_MAX 16

/* Too many of them: the oldest makes room, for an honest one is through with
 * its Hello in milliseconds, and whoever just sits there is the oldest soon. A
 * link of ours is never among them. Strangers are young, so the walk from the
 * young end is short. */
static void make_room(struct transport *t, const struct link *me)
{
    struct link *l, *oldest = NULL, *oldest_same = NULL, *victim = NULL;
    unsigned seen = 0, count = 0, same = 0;

    TAILQ_FOREACH_REVERSE(l, &t->links, link_list, next)
    {
        if (!l->is_accepted || l->is_up || l->conn.has_reported)
            continue;
        if (!l->conn.has_end) {
            oldest = l;
            count++;
            if (strcmp(l->conn.ip, me->conn.ip) == 0) {
                oldest_same = l;
                same++;
            }
        }
        if (++seen == t->strangers_count)
            break;
    }
    bool is_source = same > t->options.strangers_source_max;
    if (is_source)
        victim = oldest_same;
    else if (count > t->options.strangers_max)
        victim = oldest;
    if (victim == NULL)
        return;
    t->stats.strangers_refused++;
    log_limited(&t->refused_limit, transport_now_ms(t), LOG_LEVEL_WARNING,
                "cut a stranger at %s, who said no Hello yet: too many %s",
                victim->conn.where, is_source ? "from one address" : "of them");
    conn_abort(&victim->conn, LINK_END_CLOSED, argus_RefuseCode_REFUSE_BUSY,
               "too many strangers");
}

/* Being polite costs a descriptor for a while: not under a flood. */
static void turn_away(struct transport *t, struct link *l)
{
    static const char why[] = "too many links";

    t->stats.strangers_refused++;
    log_limited(&t->refused_limit, transport_now_ms(t), LOG_LEVEL_WARNING,
                "refused a link from %s: %s", l->conn.where, why);
    if (t->links_count > t->options.links_max + t->options.strangers_max)
        conn_abort(&l->conn, LINK_END_CLOSED, argus_RefuseCode_REFUSE_BUSY,
                   why);
    else
        conn_close(&l->conn, argus_RefuseCode_REFUSE_BUSY, why);
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
    if (!conn_start(&l->conn, t->protection, false, FRAME_HELLO_MAX,
                    t->options.hello_ms))
        return;
    if (!guard_reaches_out(t) && !guard_is_loopback(peer))
        conn_close(&l->conn, argus_RefuseCode_REFUSE_BUSY,
                   "loopback only: there is no key");
    else if (t->links_count > t->options.links_max)
        turn_away(t, l);
    else
        make_room(t, l);
}

/* libuv accepts as long as somebody knocks: under a flood of connections no
 * other socket would be looked at meanwhile. */
static bool has_turn(struct transport *t)
{
    if (transport_now_ms(t) != t->accepts_ms) {
        t->accepts_ms = transport_now_ms(t);
        t->accepts = 0;
    }
    if (t->accepts++ < ACCEPTS_MAX)
        return true;
    t->stats.accepts_put_off++;
    conn_shared_wake(&t->shared);
    return false;
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *listener = stream->data;
    struct transport *t = listener->owner;

    if (status != 0) {
        log_limited(&t->refused_limit, transport_now_ms(t), LOG_LEVEL_ERROR,
                    "cannot accept a link: %s", uv_strerror(status));
        return;
    }
    struct link *l = has_turn(t) ? link_new(t) : NULL;
    listener->is_stalled = l == NULL;
    if (l == NULL)
        return; /* listen_resume() comes back to it: libuv does not */
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
    transport_one_handle_less(t);
}

void listen_close(struct transport *t)
{
    for (unsigned i = 0; i < t->listeners_count; i++)
        uv_close((uv_handle_t *)&t->listeners[i]->tcp, on_listener_closed);
    t->listeners_count = 0;
}

void listen_turn(struct transport *t)
{
    t->accepts = 0;
    listen_resume(t);
}

void listen_resume(struct transport *t)
{
    for (unsigned i = 0; i < t->listeners_count; i++)
        if (t->listeners[i]->is_stalled)
            on_connection((uv_stream_t *)&t->listeners[i]->tcp, 0);
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
    if (!guard_reaches_out(t) && !guard_is_loopback(address))
        return argus_fail(err, ARGUS_EDENIED,
                          "Listen %s is not on loopback: without a key only "
                          "loopback is served. Set AllowPlaintext true in "
                          "<Security> to go on without protection",
                          where);
    int status = listen_at(t, address, out_port);
    return status == 0 ? ARGUS_OK : fail_listen(err, status, where);
}

static bool is_at(const union resolve_address *bound,
                  const struct sockaddr *address)
{
    const union resolve_address *a = (const union resolve_address *)address;

    if (bound->any.sa_family == AF_INET6 &&
        IN6_IS_ADDR_UNSPECIFIED(&bound->v6.sin6_addr)) /* of both families */
        return !guard_is_loopback(address);
    if (bound->any.sa_family != address->sa_family)
        return false;
    if (address->sa_family == AF_INET6)
        return IN6_ARE_ADDR_EQUAL(&bound->v6.sin6_addr, &a->v6.sin6_addr);
    if (bound->v4.sin_addr.s_addr == htonl(INADDR_ANY))
        return !guard_is_loopback(address);
    return bound->v4.sin_addr.s_addr == a->v4.sin_addr.s_addr;
}

uint16_t transport_port_at(const struct transport *t,
                           const struct sockaddr *address)
{
    for (unsigned i = 0; i < t->listeners_count; i++) {
        union resolve_address bound = {0};
        int size = sizeof bound;
        if (uv_tcp_getsockname(&t->listeners[i]->tcp, &bound.any, &size) == 0 &&
            is_at(&bound, address))
            return ntohs(bound.any.sa_family == AF_INET ? bound.v4.sin_port
                                                        : bound.v6.sin6_port);
    }
    return 0;
}

/* Where there is no IPv6, all interfaces are those of IPv4. */
static int listen_anywhere(struct transport *t, const char *port,
                           uint16_t *out_port, struct argus_error *err)
{
    struct sockaddr_storage any;
    char where[64];

    (void)snprintf(where, sizeof where, "[::]:%s", port);
    (void)uv_ip6_addr("::", atoi(port), (struct sockaddr_in6 *)(void *)&any);
    int status = guard_reaches_out(t)
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
