/* statements.h - judges records and reports and keeps what is newer.
 *
 * A part of the directory (see directory.h), not of its door. Every statement
 * has been opened before: its author is known and its signature holds. */
#ifndef ARGUS_CORE_STATEMENTS_H
#define ARGUS_CORE_STATEMENTS_H

#include "core/directory.h"

enum statement_source {
    FROM_BROADCAST, /* a sign of life of its author */
    FROM_SYNC,      /* hearsay */
    FROM_DISK,      /* memory */
    FROM_SELF,
};

enum directory_verdict statements_apply(struct directory *d,
                                        enum statement_source source,
                                        const uint8_t *payload, size_t size,
                                        const argus_Statement *statement,
                                        const struct node_id *author,
                                        struct actions *out);

/** Judge the state of a member anew. @return true: it changed, and the
 *  listener knows. */
bool statements_refresh(struct directory *d, struct member *m,
                        uint64_t since_us);

/** Take over a record that is known to be newer (or our own), keep it on disk
 *  (out NULL: it comes from there), tell the listener. @return false: no
 *  memory, all is as before. */
bool statements_keep_record(struct directory *d, struct member *m,
                            const argus_NodeRecord *record,
                            const uint8_t *payload, size_t size,
                            struct actions *out);

/** Sign and broadcast a report. Not said: what two others said already, or
 *  anything on a member that has a link to us. */
void statements_accuse(struct directory *d, struct member *m,
                       argus_MemberState state, const char *reason,
                       struct actions *out);

/** OFFLINE, for a dial was refused: what was thought from silence is proven. */
void statements_accuse_refused(struct directory *d, struct member *m,
                               struct actions *out);

/** Drop what this node itself said from silence: it was its own. */
void statements_withdraw(struct directory *d, struct member *m,
                         struct actions *out);

void statements_heard(struct directory *d, struct member *m);

/** How long a suspicion waits for who refutes it, until the suspect is taken
 *  for offline. */
uint32_t statements_patience_ms(const struct directory *d);

/** The same once a second witness agrees (directory.h, Failure). */
uint32_t statements_patience_confirmed_ms(const struct directory *d);

/** Suspicions that ran out of time. */
void statements_on_timeout(struct directory *d, struct actions *out);
uint64_t statements_deadline_ms(const struct directory *d);

/** Free the member and leave a tombstone. */
void statements_forget(struct directory *d, struct member *m,
                       struct actions *out);

#endif
