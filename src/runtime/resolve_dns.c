#include "runtime/resolve_dns.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

static bool is_same(const union resolve_address *a,
                    const union resolve_address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->v4.sin_port == b->v4.sin_port &&
               a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    return a->v6.sin6_port == b->v6.sin6_port &&
           a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
           memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) ==
               0;
}

static bool has_address(const struct resolve_answer *a,
                        const union resolve_address *address)
{
    for (unsigned i = 0; i < a->count; i++)
        if (is_same(&a->to[i], address))
            return true;
    return false;
}

static bool take_address(const struct addrinfo *from,
                         union resolve_address *out)
{
    memset(out, 0, sizeof *out);
    if (from->ai_family == AF_INET && from->ai_addrlen == sizeof out->v4)
        memcpy(&out->v4, from->ai_addr, sizeof out->v4);
    else if (from->ai_family == AF_INET6 && from->ai_addrlen == sizeof out->v6)
        memcpy(&out->v6, from->ai_addr, sizeof out->v6);
    else
        return false;
    return true;
}

static int by_number(const void *a, const void *b)
{
    const union resolve_address *x = a, *y = b;

    if (x->any.sa_family == AF_INET)
        return memcmp(&x->v4.sin_addr, &y->v4.sin_addr, sizeof x->v4.sin_addr);
    return memcmp(&x->v6.sin6_addr, &y->v6.sin6_addr, sizeof x->v6.sin6_addr);
}

/* Both families are sorted in place, then drawn from in turn. */
void dns_order_addresses(union resolve_address *list, unsigned count)
{
    union resolve_address sorted[2][RESOLVE_ADDRESSES_MAX];
    unsigned counts[2] = {0, 0}, taken[2] = {0, 0};

    if (count < 2 || count > RESOLVE_ADDRESSES_MAX)
        return;
    int first = list[0].any.sa_family;
    for (unsigned i = 0; i < count; i++) {
        int kind = list[i].any.sa_family != first;
        sorted[kind][counts[kind]++] = list[i];
    }
    for (int kind = 0; kind < 2; kind++)
        qsort(sorted[kind], counts[kind], sizeof sorted[kind][0], by_number);
    for (unsigned i = 0, kind = 0; i < count; kind = !kind)
        if (taken[kind] < counts[kind])
            list[i++] = sorted[kind][taken[kind]++];
}

int dns_host(const char *host, const char *port, struct resolve_answer *out,
             bool *truncated)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_family = AF_UNSPEC};
    struct addrinfo *list = NULL;
    unsigned before = out->count;
    union resolve_address address;
    int code = getaddrinfo(host, port, &hints, &list);

    if (code != 0)
        return code;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        if (!take_address(a, &address) || has_address(out, &address))
            continue;
        if (out->count == RESOLVE_ADDRESSES_MAX)
            *truncated = true;
        else
            out->to[out->count++] = address;
    }
    freeaddrinfo(list);
    dns_order_addresses(&out->to[before], out->count - before);
    return 0;
}
