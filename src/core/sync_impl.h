/* sync_impl.h - shared by
 *   sync.c        neighbors, sessions, what is learned, timers
 *   sync_pages.c  what the two sides compare: sums, pages, wants
 * Nobody else includes it. */
#ifndef ARGUS_CORE_SYNC_IMPL_H
#define ARGUS_CORE_SYNC_IMPL_H

#include "core/sync.h"

/* ------------------------------------------------------------- sync.c */

/** End the session for what the peer sent; it is counted. */
void sync_malformed(struct directory *d, struct session *session,
                    const char *text, struct actions *out);

/** Records are equal: now events, if there are any here. */
void sync_go_on(struct directory *d, struct session *session,
                struct actions *out);

/* ------------------------------------------------------- sync_pages.c */

/** The dialer's first word. */
void sync_send_sum(struct directory *d, struct session *session,
                   struct actions *out);

/* What the peer sends; each checks that it comes in turn. */
void sync_on_sums(struct directory *d, struct session *session,
                  const argus_Sums *sums, struct actions *out);
void sync_on_digest(struct directory *d, struct session *session,
                    const argus_Digest *page, struct actions *out);
void sync_on_want(struct directory *d, struct session *session,
                  const argus_Want *want, struct actions *out);

#endif
