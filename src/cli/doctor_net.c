#include "argus_config.h" /* GNU extensions */

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/srv.h"
#include "cli/doctor.h"

#define DIALS_MAX 64 /* addresses of all seeds together */
#define DIAL_WAIT_MS 2000
#define PORT_DEFAULT "25827"

static int look_up(const char *host, const char *port, int flags,
                   struct addrinfo **out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = flags};

    return getaddrinfo(host, port, &hints, out);
}

/* ----------------------------------------------------------------- ports */

/* Can it be listened on? @return 0 or an errno. */
static int try_to_listen(const struct addrinfo *a)
{
    int one = 1, error = 0;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 1) != 0)
        error = errno;
    (void)close(fd);
    return error;
}

static void find_no_listen(struct doctor *d, const struct doctor_address *l,
                           int error)
{
    doctor_find(d, "port", DOCTOR_BAD, "%s port %s: %s", l->host, l->port,
                strerror(error));
    switch (error) {
    case EADDRINUSE:
        doctor_mend(d, "another program has that port (ss -ltnp): end it, or "
                       "set Listen");
        break;
    case EACCES:
        doctor_mend(d, "ports below 1024 want root, or CAP_NET_BIND_SERVICE");
        break;
    case EADDRNOTAVAIL:
        doctor_mend(d, "this machine has no such address: set Listen");
        break;
    default: doctor_mend(d, "set Listen"); break;
    }
}

static void check_free(struct doctor *d, const struct doctor_address *l)
{
    struct addrinfo *found = NULL;
    int rc = look_up(l->host, l->port, AI_PASSIVE | AI_NUMERICSERV, &found);

    if (rc != 0) {
        doctor_find(d, "port", DOCTOR_BAD, "Listen %s %s: %s", l->host, l->port,
                    gai_strerror(rc));
        doctor_mend(d, "name an address of this machine and a port");
        return;
    }
    int error = try_to_listen(found);
    freeaddrinfo(found);
    if (error == EAFNOSUPPORT) /* argus takes IPv4 alone then */
        error = 0;
    if (error != 0)
        find_no_listen(d, l, error);
    else
        doctor_find(d, "port", DOCTOR_OK, "%s port %s is free", l->host,
                    l->port);
}

/* ----------------------------------------------------------------- dials */

/* An address that is tried, and what came of it. */
struct dial {
    unsigned seed;
    int fd;    /* -1: done */
    int error; /* 0: it answered */
    char text[INET6_ADDRSTRLEN + 16];
};

static void begin_dial(struct dial *dial, const struct addrinfo *a)
{
    char host[INET6_ADDRSTRLEN] = "", port[16] = "";

    (void)getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, port,
                      sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    (void)snprintf(dial->text, sizeof dial->text,
                   a->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    dial->error = ETIMEDOUT;
    dial->fd =
        socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dial->fd < 0) {
        dial->error = errno;
        return;
    }
    if (connect(dial->fd, a->ai_addr, a->ai_addrlen) == 0) {
        dial->error = 0;
    } else if (errno == EINPROGRESS) {
        return; /* end_dials() sees */
    } else {
        dial->error = errno;
    }
    (void)close(dial->fd);
    dial->fd = -1;
}

static void end_dial(struct dial *dial, bool is_over)
{
    socklen_t size = sizeof dial->error;

    if (is_over)
        (void)getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &dial->error, &size);
    (void)close(dial->fd);
    dial->fd = -1;
}

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* All at once, until each has an outcome or the time is up. */
static void end_dials(struct dial *dials, unsigned count)
{
    int64_t end = now_ms() + DIAL_WAIT_MS;

    for (;;) {
        struct pollfd polls[DIALS_MAX];
        unsigned waiting = 0;
        for (unsigned i = 0; i < count; i++) {
            polls[i] = (struct pollfd){.fd = dials[i].fd, .events = POLLOUT};
            waiting += dials[i].fd >= 0;
        }
        int64_t left = end - now_ms();
        if (waiting == 0 || left <= 0 || poll(polls, count, (int)left) < 0)
            break;
        for (unsigned i = 0; i < count; i++)
            if (dials[i].fd >= 0 && polls[i].revents != 0)
                end_dial(&dials[i], true);
    }
    for (unsigned i = 0; i < count; i++)
        if (dials[i].fd >= 0)
            end_dial(&dials[i], false);
}

static unsigned begin_dials(struct doctor *d, const struct doctor_address *to,
                            unsigned seed, struct dial *dials, unsigned count)
{
    struct addrinfo *found = NULL;
    int rc = look_up(to->host, to->port, AI_NUMERICSERV, &found);

    if (rc != 0) {
        doctor_find(d, "seeds", DOCTOR_BAD, "%s: %s", to->host,
                    gai_strerror(rc));
        doctor_mend(d, "mend the name, or DNS; argus looks it up again and "
                       "again");
        return count;
    }
    for (struct addrinfo *a = found; a != NULL && count < DIALS_MAX;
         a = a->ai_next) {
        dials[count].seed = seed;
        begin_dial(&dials[count++], a);
    }
    freeaddrinfo(found);
    return count;
}

/* -------------------------------------------------------------- verdicts */

/* One address that answers is enough for a seed. */
static bool tell_seed(struct doctor *d, const char *name, unsigned seed,
                      const struct dial *dials, unsigned count)
{
    const struct dial *failed = NULL;

    for (unsigned i = 0; i < count; i++) {
        if (dials[i].seed != seed)
            continue;
        if (dials[i].error == 0) {
            doctor_find(d, "seeds", DOCTOR_OK, "%s answers at %s", name,
                        dials[i].text);
            return true;
        }
        failed = &dials[i];
    }
    if (failed == NULL)
        return false; /* its name told nothing; said already */
    doctor_find(d, "seeds", DOCTOR_WARN, "%s at %s: %s", name, failed->text,
                strerror(failed->error));
    doctor_mend(d,
                "is collectd up there, and does the firewall let port %s "
                "through?",
                strrchr(failed->text, ':') + 1);
    return false;
}

/* The hosts of SeedService count as the addresses of one more seed. */
static unsigned dial_service(struct doctor *d, struct dial *dials,
                             unsigned count)
{
    const struct doctor_settings *s = &d->settings;
    struct dns_services found;
    char why[64];

    if (s->service[0] == '\0')
        return count;
    if (!dns_service(s->service, &found, why, sizeof why)) {
        doctor_find(d, "seeds", DOCTOR_BAD, "SeedService %s: %s", s->service,
                    why);
        doctor_mend(d, "mend its SRV records, or the name; argus looks it up "
                       "again and again");
        return count;
    }
    for (unsigned i = 0; i < found.count; i++) {
        struct doctor_address to;
        (void)snprintf(to.host, sizeof to.host, "%s", found.list[i].target);
        (void)snprintf(to.port, sizeof to.port, "%u", found.list[i].port);
        count = begin_dials(d, &to, s->seeds_count, dials, count);
    }
    return count;
}

void doctor_check_seeds(struct doctor *d)
{
    const struct doctor_settings *s = &d->settings;
    struct dial dials[DIALS_MAX];
    unsigned count = 0, answer = 0;
    bool is_any = s->seeds_count > 0 || s->service[0] != '\0';

    if (!s->is_known)
        return;
    for (unsigned i = 0; i < s->seeds_count; i++)
        count = begin_dials(d, &s->seeds[i], i, dials, count);
    count = dial_service(d, dials, count);
    end_dials(dials, count);
    for (unsigned i = 0; i < s->seeds_count; i++)
        answer += tell_seed(d, s->seeds[i].host, i, dials, count);
    answer += tell_seed(d, s->service, s->seeds_count, dials, count);
    if (is_any && answer == 0 &&
        !(d->answers && d->status.state == argus_NodeState_NODE_JOINED)) {
        doctor_find(d, "seeds", DOCTOR_BAD, "no Seed answers");
        doctor_mend(d, "a node meets its mesh by a Seed: name one that is up");
    }
    if (!is_any && !s->uses_multicast) {
        doctor_find(d, "seeds", DOCTOR_WARN, "no Seed is named");
        doctor_mend(d, "fine for the first node, and for one that all others "
                       "name; else set Seed");
    }
}

/* What peers found when they dialed this node. @return false: nothing yet. */
static bool tell_reach(struct doctor *d)
{
    const argus_StatusReply *s = &d->status;
    bool is_named = s->advertised[0] != '\0';

    if (strcmp(s->reach, "reachable") == 0) {
        doctor_find(d, "port", DOCTOR_OK, "peers reach this node at %s",
                    s->address);
    } else if (strcmp(s->reach, "elsewhere") == 0) {
        doctor_find(d, "port", DOCTOR_WARN,
                    "peers cannot dial this node at %s; they were given %s",
                    is_named ? s->advertised : "the address it had",
                    s->address);
        doctor_mend(d, "set Advertise to what peers reach this node by, or "
                       "leave it out");
    } else if (strcmp(s->reach, "unreachable") == 0) {
        doctor_find(d, "port", DOCTOR_BAD, "no peer can dial this node at %s",
                    is_named ? s->advertised : s->address);
        doctor_mend(d, "set Advertise to what peers reach this node by, and "
                       "look at its firewall and at Listen");
    } else {
        return false;
    }
    return true;
}

/* Where peers are told to dial. */
static void check_reached(struct doctor *d)
{
    struct doctor_address own = {{0}, {0}};
    struct dial dials[DIALS_MAX];
    const char *text = d->status.address;
    const char *colon = strrchr(text, ':');

    if (colon == NULL)
        return;
    bool is_v6 = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    (void)snprintf(own.host, sizeof own.host, "%.*s",
                   (int)(colon - text - (is_v6 ? 2 : 0)), text + is_v6);
    (void)snprintf(own.port, sizeof own.port, "%s", colon + 1);
    unsigned count = begin_dials(d, &own, 0, dials, 0);
    end_dials(dials, count);
    for (unsigned i = 0; i < count; i++)
        if (dials[i].error == 0) {
            doctor_find(d, "port", DOCTOR_OK, "%s answers", text);
            return;
        }
    doctor_find(d, "port", DOCTOR_BAD,
                "%s, where peers dial this node, does not answer: %s", text,
                count > 0 ? strerror(dials[0].error) : "no address");
    doctor_mend(d, "set Advertise to what peers reach this node by, and look "
                   "at its firewall");
}

void doctor_check_ports(struct doctor *d)
{
    const struct doctor_settings *s = &d->settings;
    const struct doctor_address any = {"::", PORT_DEFAULT};

    if (d->answers) {
        if (!tell_reach(d))
            check_reached(d);
        return;
    }
    if (!s->is_known)
        return;
    for (unsigned i = 0; i < s->listens_count; i++)
        check_free(d, &s->listens[i]);
    if (s->listens_count == 0)
        check_free(d, &any);
}
