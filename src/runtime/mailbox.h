/* mailbox.h - a bounded queue of packed records from many threads to one.
 *
 * Records lie one behind the other in chunks of MAILBOX_CHUNK bytes. A producer
 * copies its record into the last chunk under a short lock; the consumer takes
 * all chunks at once, reads them without the lock and gives them back. So no
 * producer waits for the consumer, and a record costs no malloc.
 *
 * Full means refused and counted. The bound covers what waits and what the
 * consumer holds. Records of one producer keep their order. */
#ifndef ARGUS_RUNTIME_MAILBOX_H
#define ARGUS_RUNTIME_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes of a chunk; the largest record is a little smaller. */
#define MAILBOX_CHUNK 65536
#define MAILBOX_RECORD_MAX (MAILBOX_CHUNK - 64)

struct mailbox;

/* A piece of a record; the pieces are laid one behind the other. */
struct mailbox_part {
    const void *data;
    size_t size;
};

struct mailbox_record {
    uint32_t type;
    uint32_t size;
    bool is_last;        /* of its chunk: those before it go with it */
    const uint8_t *data; /* aligned to 8; readable until mailbox_next() is
                          * called after the last of its chunk */
};

struct mailbox_stats {
    uint64_t records_posted;
    uint64_t records_refused;
    uint64_t bytes_queued; /* now, in whole chunks, the consumer's included */
};

/** @param bytes_max  rounded up to whole chunks, at least two. */
int mailbox_new(size_t bytes_max, struct mailbox **out);
void mailbox_free(struct mailbox *m);

/** Called under the lock when the mailbox stops being empty, and by
 *  mailbox_poke(); must be quick. NULL: nobody is called any more. Once this
 *  returns, the one before is not running and will not run. */
void mailbox_set_wake(struct mailbox *m, void (*wake)(void *context),
                      void *context);

/** Any thread. @return false: full, too large or shut; counted. */
bool mailbox_post(struct mailbox *m, uint32_t type,
                  const struct mailbox_part *parts, size_t count);

/** Any thread: wake the consumer although there is no record. */
void mailbox_poke(struct mailbox *m);

/** Any thread: nothing is accepted from now on; what is queued can be read. */
void mailbox_shut(struct mailbox *m);

/** The consumer's thread: the next record, oldest first. @return false: empty;
 *  whatever was read before is gone. */
bool mailbox_next(struct mailbox *m, struct mailbox_record *out);

/** The consumer's thread: sleep until there is a record. @return false: shut
 *  and empty. */
bool mailbox_wait(struct mailbox *m);

void mailbox_stats(struct mailbox *m, struct mailbox_stats *out);

#endif
