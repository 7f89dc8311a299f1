/* resolve.h - host names to addresses, each look-up in a thread of its own.
 *
 * departs from uv_getaddrinfo(): a look-up cannot be broken off, so a loop that
 * uses libuv's pool can neither close nor let the process end before a dead
 * name server has timed out. Here a look-up is abandoned in no time, and its
 * thread frees what is left of it. Loop thread only. */
#ifndef ARGUS_RUNTIME_RESOLVE_H
#define ARGUS_RUNTIME_RESOLVE_H

#include <netdb.h>

#include <uv.h>

#include "base/status.h"

/** Look-ups at a time; more are refused with ARGUS_EFULL. */
#define RESOLVE_MAX 16

struct resolver;
struct lookup; /* one look-up, until done() or resolve_cancel() */

/** @param list  owned by the callee, freeaddrinfo(); NULL: err says why. */
typedef void (*resolve_done)(void *context, struct addrinfo *list,
                             const struct argus_error *err);

int resolver_new(uv_loop_t *loop, struct resolver **out);

/** @param done  called later from the loop, once, unless cancelled.
 *  @retval ARGUS_EFULL, ARGUS_ENOMEM  err says so; done is not called. */
int resolve_start(struct resolver *r, const char *host, const char *port,
                  resolve_done done, void *context, struct lookup **out,
                  struct argus_error *err);
void resolve_cancel(struct lookup *l);

/** Abandon all; closed() is called once the handle is gone, which frees r. */
void resolver_close(struct resolver *r, void (*closed)(void *context),
                    void *context);

#endif
