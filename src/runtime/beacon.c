#define _GNU_SOURCE /* struct in6_pktinfo */
#include "runtime/beacon.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/log.h"
#include "base/text.h"
#include "core/bucket.h"
#include "runtime/resolve.h"
#include "wire/beacon.h"

#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

/** Datagrams read in one turn of the loop. */
#define READ_TURN 32

/* An address that calls go out from. */
struct place {
    unsigned interface;
    uint16_t port; /* where this node can be dialed */
    union resolve_address at;
};

/* One for each family. */
struct ear {
    struct beacon *owner;
    int family, fd; /* -1: there is none */
    uv_poll_t poll;
};

struct beacon {
    struct beacon_listener listener;
    argus_Role role;
    uint8_t cluster[BEACON_CLUSTER_SIZE];
    struct ear ears[2];
    uv_timer_t timer; /* look at interfaces; or read again */
    unsigned handles;
    bool is_resting;
    struct place places[BEACON_PLACES_MAX];
    unsigned places_count;
    struct bucket looked_at, old;
    struct log_limit trouble;
    struct beacon_stats stats;
};

/* ------------------------------------------------------------------ keys */

static bool mac_by_ring(void *context, const uint8_t key[BEACON_KEY_SIZE],
                        const uint8_t *data, size_t size,
                        uint8_t out[BEACON_MAC_SIZE])
{
    static const char purpose[] = "argus-beacon-1"; /* its NUL counts */
    const struct mesh_key *held = keyring_find(context, key);
    uint8_t text[sizeof purpose + BEACON_SIZE_MAX];

    if (held == NULL || size > BEACON_SIZE_MAX)
        return false;
    memcpy(text, purpose, sizeof purpose);
    memcpy(text + sizeof purpose, data, size);
    return HMAC(EVP_sha256(), held->secret, MESH_KEY_SIZE, text,
                sizeof purpose + size, out, NULL) != NULL;
}

static struct beacon_keys keys_of(const struct beacon *b)
{
    const struct keyring *ring = b->listener.keyring(b->listener.context);
    struct beacon_keys keys = {.mac = mac_by_ring};

    if (ring != NULL && ring->count > 0) {
        keys.key = ring->keys[0].id;
        memcpy(&keys.context, &ring, sizeof ring); /* only read there */
    }
    return keys;
}

/* ---------------------------------------------------------------- places */

static bool is_usable(const struct ifaddrs *i)
{
    if (i->ifa_addr == NULL || (i->ifa_flags & IFF_UP) == 0)
        return false;
    if (i->ifa_addr->sa_family == AF_INET)
        return (i->ifa_flags & (IFF_MULTICAST | IFF_LOOPBACK)) != 0;
    if (i->ifa_addr->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *in6 =
        (const struct sockaddr_in6 *)(const void *)i->ifa_addr;
    return (i->ifa_flags & IFF_MULTICAST) != 0 &&
           !IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr);
}

static int join_group(const struct ear *e, unsigned interface)
{
    if (e->family == AF_INET) {
        struct ip_mreqn m = {.imr_ifindex = (int)interface};
        (void)inet_pton(AF_INET, BEACON_GROUP_V4, &m.imr_multiaddr);
        return setsockopt(e->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m);
    }
    struct ipv6_mreq m = {.ipv6mr_interface = interface};
    (void)inet_pton(AF_INET6, BEACON_GROUP_V6, &m.ipv6mr_multiaddr);
    return setsockopt(e->fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m);
}

static struct ear *ear_of(struct beacon *b, int family)
{
    return &b->ears[family == AF_INET6];
}

static void add_place(struct beacon *b, const struct ifaddrs *i)
{
    struct place p = {.interface = if_nametoindex(i->ifa_name)};
    struct ear *e = ear_of(b, i->ifa_addr->sa_family);

    p.port = b->listener.port_at(b->listener.context, i->ifa_addr);
    if (p.port == 0 || p.interface == 0 || e->fd < 0)
        return;
    if (b->places_count == BEACON_PLACES_MAX) {
        b->stats.places_dropped++;
        return;
    }
    if (join_group(e, p.interface) != 0 && errno != EADDRINUSE) {
        log_limited(&b->trouble, uv_now(b->timer.loop), LOG_LEVEL_WARNING,
                    "Multicast: cannot listen on %s: %s", i->ifa_name,
                    strerror(errno));
        return;
    }
    if (e->family == AF_INET)
        memcpy(&p.at.v4, i->ifa_addr, sizeof p.at.v4);
    else
        memcpy(&p.at.v6, i->ifa_addr, sizeof p.at.v6);
    b->places[b->places_count++] = p;
}

static void refresh(struct beacon *b)
{
    struct ifaddrs *list = NULL;

    b->places_count = 0;
    if (getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
        if (is_usable(i))
            add_place(b, i);
    freeifaddrs(list);
}

/* --------------------------------------------------------------- calling */

static void fill_body(const struct beacon *b, const struct node_id *own,
                      const struct place *p, argus_BeaconBody *body)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    *body = (argus_BeaconBody)argus_BeaconBody_init_zero;
    memcpy(body->cluster, b->cluster, sizeof body->cluster);
    memcpy(body->id, own->bytes, NODE_ID_SIZE);
    body->role = b->role;
    body->port = p->port;
    body->time_ms =
        (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    if (p->at.any.sa_family == AF_INET) {
        body->ip.size = sizeof p->at.v4.sin_addr;
        memcpy(body->ip.bytes, &p->at.v4.sin_addr, body->ip.size);
    } else {
        body->ip.size = sizeof p->at.v6.sin6_addr;
        memcpy(body->ip.bytes, &p->at.v6.sin6_addr, body->ip.size);
    }
}

/* The kernel is told interface and source of each. */
static size_t put_source(const struct place *p, struct cmsghdr *c)
{
    if (p->at.any.sa_family == AF_INET) {
        struct in_pktinfo info = {.ipi_ifindex = (int)p->interface,
                                  .ipi_spec_dst = p->at.v4.sin_addr};
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        return CMSG_SPACE(sizeof info);
    }
    struct in6_pktinfo info = {.ipi6_ifindex = p->interface,
                               .ipi6_addr = p->at.v6.sin6_addr};
    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(c), &info, sizeof info);
    return CMSG_SPACE(sizeof info);
}

static bool send_from(struct beacon *b, const struct place *p,
                      const uint8_t *data, size_t size)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    } control;
    union resolve_address to = {0};
    uint8_t copy[BEACON_SIZE_MAX];
    struct iovec bytes = {copy, size};
    struct msghdr m = {.msg_name = &to,
                       .msg_iov = &bytes,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};

    memcpy(copy, data, size);
    memset(&control, 0, sizeof control);
    to.any.sa_family = p->at.any.sa_family;
    if (to.any.sa_family == AF_INET) {
        to.v4.sin_port = htons(BEACON_PORT);
        (void)inet_pton(AF_INET, BEACON_GROUP_V4, &to.v4.sin_addr);
        m.msg_namelen = sizeof to.v4;
    } else {
        to.v6.sin6_port = htons(BEACON_PORT);
        to.v6.sin6_scope_id = p->interface;
        (void)inet_pton(AF_INET6, BEACON_GROUP_V6, &to.v6.sin6_addr);
        m.msg_namelen = sizeof to.v6;
    }
    m.msg_controllen = put_source(p, CMSG_FIRSTHDR(&m));
    return sendmsg(ear_of(b, to.any.sa_family)->fd, &m,
                   MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

void beacon_call(struct beacon *b, const struct node_id *own)
{
    const struct beacon_keys keys = keys_of(b);
    uint8_t data[BEACON_SIZE_MAX];
    argus_BeaconBody body;

    refresh(b);
    for (unsigned i = 0; i < b->places_count; i++) {
        fill_body(b, own, &b->places[i], &body);
        size_t size = beacon_encode(&body, &keys, data);
        if (size > 0 && send_from(b, &b->places[i], data, size)) {
            b->stats.sent++;
            continue;
        }
        b->stats.send_failed++;
        log_limited(&b->trouble, uv_now(b->timer.loop), LOG_LEVEL_WARNING,
                    "Multicast: a call does not get out: %s", strerror(errno));
    }
}

/* --------------------------------------------------------------- hearing */

static bool is_from(const argus_BeaconBody *body,
                    const union resolve_address *from)
{
    if (from->any.sa_family == AF_INET)
        return body->ip.size == sizeof from->v4.sin_addr &&
               memcmp(body->ip.bytes, &from->v4.sin_addr, body->ip.size) == 0;
    return body->ip.size == sizeof from->v6.sin6_addr &&
           memcmp(body->ip.bytes, &from->v6.sin6_addr, body->ip.size) == 0;
}

static bool is_timely(struct beacon *b, uint64_t time_ms)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ours =
        (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uint64_t apart = ours > time_ms ? ours - time_ms : time_ms - ours;

    /* Tokens of a minute: the bucket counts in seconds. */
    return apart <= BEACON_CLOCK_MS ||
           bucket_take(&b->old, uv_now(b->timer.loop), BEACON_OLD_RATE,
                       60 * BEACON_OLD_RATE, 60);
}

static void on_datagram(struct beacon *b, const uint8_t *data, size_t size,
                        const union resolve_address *from)
{
    const struct beacon_keys keys = keys_of(b);
    char ip[INET6_ADDRSTRLEN], port[8], address[128];
    argus_BeaconBody body;

    b->stats.received++;
    switch (beacon_decode(data, size, &keys, &body)) {
    case BEACON_MALFORMED: b->stats.malformed++; return;
    case BEACON_FORGED: b->stats.forged++; return;
    case BEACON_OK: break;
    }
    if (memcmp(body.cluster, b->cluster, sizeof b->cluster) != 0) {
        b->stats.foreign++;
        return;
    }
    if (!is_from(&body, from)) {
        b->stats.misplaced++;
        return;
    }
    if (!is_timely(b, body.time_ms)) {
        b->stats.old++;
        return;
    }
    struct node_id id = node_id_of(body.id);
    (void)snprintf(port, sizeof port, "%u", (unsigned)body.port);
    if (uv_inet_ntop(from->any.sa_family, body.ip.bytes, ip, sizeof ip) == 0 &&
        text_join_address(address, sizeof address, ip, port))
        b->listener.called(b->listener.context, &id, body.role, address);
}

/* Of IPv6 also what was sent to this host alone arrives here. */
static bool is_to_group(struct msghdr *m, int family)
{
    struct in6_addr group;

    if (family == AF_INET)
        return true;
    (void)inet_pton(AF_INET6, BEACON_GROUP_V6, &group);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL;
         c = CMSG_NXTHDR(m, c)) {
        struct in6_pktinfo info;
        if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO)
            continue;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        return memcmp(&info.ipi6_addr, &group, sizeof group) == 0;
    }
    return false;
}

static void set_reading(struct beacon *b, bool reads);
static void arm(struct beacon *b);

static void rest(struct beacon *b)
{
    b->stats.rested++;
    b->is_resting = true;
    set_reading(b, false);
    arm(b);
}

/* @return false: nothing is there. */
static bool read_one(struct ear *e)
{
    struct beacon *b = e->owner;
    union resolve_address from = {0};
    uint8_t data[BEACON_SIZE_MAX];
    union {
        struct cmsghdr head;
        char room[256];
    } control;
    struct iovec bytes = {data, sizeof data};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof from,
                       .msg_iov = &bytes,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t size = recvmsg(e->fd, &m, MSG_DONTWAIT);

    if (size < 0)
        return errno == EINTR;
    if ((m.msg_flags & MSG_TRUNC) != 0)
        b->stats.malformed++;
    else if (is_to_group(&m, e->family))
        on_datagram(b, data, (size_t)size, &from);
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct ear *e = poll->data;
    struct beacon *b = e->owner;

    (void)events;
    if (status < 0)
        return;
    for (int i = 0; i < READ_TURN && !b->is_resting; i++) {
        if (!bucket_take(&b->looked_at, uv_now(b->timer.loop), BEACON_RATE,
                         BEACON_BURST, 1))
            rest(b);
        else if (!read_one(e))
            return;
    }
}

static void set_reading(struct beacon *b, bool reads)
{
    for (int i = 0; i < 2; i++) {
        if (b->ears[i].fd < 0)
            continue;
        if (reads)
            (void)uv_poll_start(&b->ears[i].poll, UV_READABLE, on_readable);
        else
            (void)uv_poll_stop(&b->ears[i].poll);
    }
}

static void on_timer(uv_timer_t *timer);

static void arm(struct beacon *b)
{
    (void)uv_timer_start(&b->timer, on_timer,
                         b->is_resting ? BEACON_REST_MS : BEACON_REFRESH_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct beacon *b = timer->data;

    if (b->is_resting) {
        b->is_resting = false;
        set_reading(b, true);
    }
    refresh(b);
    arm(b);
}

/* ------------------------------------------------------------------ life */

static bool set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

static bool bind_v4(int fd)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(BEACON_PORT)};

    (void)inet_pton(AF_INET, BEACON_GROUP_V4, &at.sin_addr);
    (void)set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    return set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1) &&
           bind(fd, (const struct sockaddr *)(const void *)&at, sizeof at) == 0;
}

static bool bind_v6(int fd)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6,
                              .sin6_port = htons(BEACON_PORT),
                              .sin6_addr = IN6ADDR_ANY_INIT};

    (void)set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
    return set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
           set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
           set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1) &&
           bind(fd, (const struct sockaddr *)(const void *)&at, sizeof at) == 0;
}

static bool open_ear(uv_loop_t *loop, struct ear *e, struct argus_error *err)
{
    e->poll.data = e;
    e->fd = socket(e->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (e->fd >= 0 && set(e->fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
        (e->family == AF_INET ? bind_v4(e->fd) : bind_v6(e->fd)) &&
        uv_poll_init(loop, &e->poll, e->fd) == 0)
        return true;
    (void)argus_fail_errno(err, "Multicast: port %d/udp", BEACON_PORT);
    if (e->fd >= 0)
        (void)close(e->fd);
    e->fd = -1;
    return false;
}

static void hash_cluster(const char *cluster, uint8_t out[BEACON_CLUSTER_SIZE])
{
    uint8_t hash[EVP_MAX_MD_SIZE] = {0};

    (void)EVP_Digest(cluster, strlen(cluster), hash, NULL, EVP_sha256(), NULL);
    memcpy(out, hash, BEACON_CLUSTER_SIZE);
}

int beacon_new(uv_loop_t *loop, const struct beacon_options *options,
               const struct beacon_listener *listener, struct beacon **out,
               struct argus_error *err)
{
    struct beacon *b = calloc(1, sizeof *b);

    if (b == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for Multicast");
    b->listener = *listener;
    b->role = options->role;
    b->trouble = (struct log_limit){.burst = 1, .period_ms = 3600000};
    hash_cluster(options->cluster, b->cluster);
    for (int i = 0; i < 2; i++) {
        b->ears[i].owner = b;
        b->ears[i].family = i == 0 ? AF_INET : AF_INET6;
        b->handles += open_ear(loop, &b->ears[i], err);
    }
    if (b->handles == 0) {
        free(b);
        return ARGUS_EIO;
    }
    (void)uv_timer_init(loop, &b->timer);
    b->timer.data = b;
    b->handles++;
    uv_update_time(loop);
    refresh(b);
    set_reading(b, true);
    arm(b);
    *out = b;
    return ARGUS_OK;
}

const struct beacon_stats *beacon_stats(const struct beacon *b)
{
    return &b->stats;
}

static void on_closed(struct beacon *b)
{
    if (--b->handles == 0)
        free(b);
}

static void on_ear_closed(uv_handle_t *handle)
{
    struct ear *e = handle->data;

    (void)close(e->fd);
    on_closed(e->owner);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_closed(handle->data);
}

void beacon_close(struct beacon *b)
{
    if (b == NULL)
        return;
    for (int i = 0; i < 2; i++)
        if (b->ears[i].fd >= 0)
            uv_close((uv_handle_t *)&b->ears[i].poll, on_ear_closed);
    uv_close((uv_handle_t *)&b->timer, on_timer_closed);
}
