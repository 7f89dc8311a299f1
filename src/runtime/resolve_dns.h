/* resolve_dns.h - what a thread of the resolver does: ask, check, put in order.
 *
 * Nothing here knows of the loop. The two calls that ask block for as long as
 * the system's resolver likes. */
#ifndef ARGUS_RUNTIME_RESOLVE_DNS_H
#define ARGUS_RUNTIME_RESOLVE_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/resolve.h"

struct dns_service {
    uint16_t priority, weight, port;
    char target[256]; /* checked: letters, digits, '-', '_', '.' */
};

struct dns_services {
    unsigned count;
    bool is_truncated; /* there were more than RESOLVE_SERVICES_MAX */
    struct dns_service list[RESOLVE_SERVICES_MAX];
};

/**
 * Addresses of a host, put behind those that are there.
 * @param truncated  set when some found no room.
 * @return 0, or what getaddrinfo(3) said (see gai_strerror).
 */
int dns_host(const char *host, const char *port, struct resolve_answer *out,
             bool *truncated);

/** Services of an SRV name, in the order in which they are to be tried.
 *  @return false: why says so. */
bool dns_service(const char *name, struct dns_services *out, char *why,
                 size_t why_size);

/** The same from a DNS message; the order is that of the message.
 *  @return false: it is no answer with SRV records that can be used. */
bool dns_parse_services(const uint8_t *message, size_t size,
                        struct dns_services *out);

/** By priority, within one at random by weight: RFC 2782.
 *  @param draw  a random number below the bound. */
void dns_order_services(struct dns_services *s,
                        uint32_t (*draw)(void *context, uint32_t bound),
                        void *context);

/** See struct resolve_answer; of the addresses of one host. */
void dns_order_addresses(union resolve_address *list, unsigned count);

#endif
