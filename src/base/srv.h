/* srv.h - the services behind a name: SRV records of DNS (RFC 2782). */
#ifndef ARGUS_BASE_SRV_H
#define ARGUS_BASE_SRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_SERVICES_MAX 32

struct dns_service {
    uint16_t priority, weight, port;
    char target[256]; /* checked: letters, digits, '-', '_', '.' */
};

struct dns_services {
    unsigned count;
    bool is_truncated; /* there were more than DNS_SERVICES_MAX */
    struct dns_service list[DNS_SERVICES_MAX];
};

/** Services of an SRV name, in the order in which they are to be tried. Blocks
 *  for as long as the system's resolver likes.
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

#endif
