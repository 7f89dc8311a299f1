/* resolve.h - names to addresses: hosts (A, AAAA) and services (DNS SRV), each
 * looked up in a thread of its own.
 *
 * departs from uv_getaddrinfo(): a look-up cannot be broken off, so a loop that
 * uses libuv's pool can neither close nor let the process end before a dead
 * name server has timed out. Here a look-up is abandoned in no time, and its
 * thread frees what is left of it.
 *
 * A resolver that hangs costs one thread for each name, however often the name
 * is asked for: who asks for a name that is being looked up waits for the same
 * answer. What was found until then is given after RESOLVE_WAIT_MS. That a name
 * cannot be looked up is logged once, and once when it can be again. What
 * name servers say is hostile: names are checked, all is bounded.
 *
 * Loop thread only. */
#ifndef ARGUS_RUNTIME_RESOLVE_H
#define ARGUS_RUNTIME_RESOLVE_H

#include <netinet/in.h>

#include <uv.h>

#include "base/status.h"

/** Names looked up at a time; more are refused with ARGUS_EFULL. */
#define RESOLVE_MAX 32
/** Addresses kept of one name; of services see base/srv.h. */
#define RESOLVE_ADDRESSES_MAX 64
/** Whoever waits gets what there is, or a failure. */
#define RESOLVE_WAIT_MS 10000

union resolve_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* In the order in which they are to be tried; no address twice.
 *
 * Of a host: IPv6 and IPv4 in turn, beginning with the one that the system
 * prefers, each by number. departs from the order of the answer: name servers
 * rotate it, and nodes that start together and each dial another one would form
 * islands; so all begin with the same.
 *
 * Of a service: by priority, and at random by weight (RFC 2782). */
struct resolve_answer {
    unsigned count;
    union resolve_address to[RESOLVE_ADDRESSES_MAX];
};

struct resolve_stats {
    uint64_t lookups;   /* threads started */
    uint64_t failures;  /* no address, or no answer in time */
    uint64_t truncated; /* answers with more than is kept */
};

struct resolver;
struct lookup; /* one who waits, until done() or resolve_cancel() */

/** @param answer  borrowed; count 0: err says why. */
typedef void (*resolve_done)(void *context, const struct resolve_answer *answer,
                             const struct argus_error *err);

int resolver_new(uv_loop_t *loop, struct resolver **out);

/**
 * @param port  number or service name; NULL: host is the name of SRV records,
 *              which name ports themselves.
 * @param done  called later from the loop, once, unless cancelled.
 * @retval ARGUS_EFULL, ARGUS_ENOMEM  err says so; done is not called.
 */
int resolve_start(struct resolver *r, const char *host, const char *port,
                  resolve_done done, void *context, struct lookup **out,
                  struct argus_error *err);
void resolve_cancel(struct lookup *l);

const struct resolve_stats *resolve_stats(const struct resolver *r);

/** Abandon all; closed() is called once no handle is left, which frees r. */
void resolver_close(struct resolver *r, void (*closed)(void *context),
                    void *context);

#endif
