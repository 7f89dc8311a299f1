/* resolve_dns.h - what a thread of the resolver does: ask, check, put in order.
 *
 * Nothing here knows of the loop. The call that asks blocks for as long as the
 * system's resolver likes; so does that of base/srv.h. */
#ifndef ARGUS_RUNTIME_RESOLVE_DNS_H
#define ARGUS_RUNTIME_RESOLVE_DNS_H

#include <stdbool.h>

#include "runtime/resolve.h"

/**
 * Addresses of a host, put behind those that are there.
 * @param truncated  set when some found no room.
 * @return 0, or what getaddrinfo(3) said (see gai_strerror).
 */
int dns_host(const char *host, const char *port, struct resolve_answer *out,
             bool *truncated);

/** See struct resolve_answer; of the addresses of one host. */
void dns_order_addresses(union resolve_address *list, unsigned count);

#endif
