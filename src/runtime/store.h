/* store.h - what a node remembers over a restart: SQLite in StateDir/argus.db.
 *
 * generation, HLC mark, known addresses, member records and reports, events,
 * versions of bundles and their content, what was run. Writes
 * gather in memory, the newer replaces the older of the same key, and go to
 * disk in one transaction at each store_tick(). A disk that is full or fails
 * costs one error line a minute and memory up to STORE_PENDING_MAX entries; the
 * entries stay and are tried again. One thread at a time. */
#ifndef ARGUS_RUNTIME_STORE_H
#define ARGUS_RUNTIME_STORE_H

#include "base/node_id.h"
#include "base/status.h"
#include "core/content.h"

/** Bounds; the oldest entry goes first and is counted. */
#define STORE_ADDRESSES_MAX 512
#define STORE_MEMBERS_MAX 65536 /* records; reports likewise */
#define STORE_PENDING_MAX 8192
#define STORE_EVENTS_MAX (1 << 24) /* as Retain; the core drops the others */
#define STORE_BUNDLES_MAX 4096     /* versions; the core keeps fewer */
#define STORE_APPLIED_MAX 1024
/** Content of bundles; beyond it a chunk is refused and counted. */
#define STORE_CHUNK_BYTES_MAX (256ull << 20)
#define STORE_CHUNK_MEMORY_MAX (32ull << 20) /* where there is no disk */
/** A chunk that nothing refers to stays for so long: its push may follow. */
#define STORE_CHUNK_KEEP_MS 3600000u

struct store;

struct store_stats {
    uint64_t writes_done;    /* entries that reached the database */
    uint64_t writes_failed;  /* transactions that did not */
    uint64_t writes_dropped; /* entries given up for want of room */
    uint64_t rows_dropped;   /* oldest rows removed by a bound */
    uint64_t writes_pending; /* now */
    uint64_t chunk_bytes;    /* now */
    uint64_t chunks_refused; /* for want of room, or the disk failed */
    uint64_t chunks_damaged; /* found not to be what their hash says; dropped */
    uint64_t chunks_swept;   /* nothing referred to them */
};

/* ---- StateDir */

/**
 * Create StateDir (0750) when it is missing, and lock it.
 * @param out_fd  the lock: close it to unlock. -1: no lock, for want of room.
 * @retval ARGUS_EBUSY  another process holds it; err names dir and pid.
 * @retval ARGUS_EIO    not writable; err names path, user and what to do.
 * @retval ARGUS_EFULL  no room on the disk; err names dir. Go on in memory.
 */
int store_lock(const char *dir, int *out_fd, struct argus_error *err);

/* ---- the database */

/**
 * Open or make the database; a damaged one is renamed to
 * argus.db.damaged-<n> with an error line.
 * @param dir  NULL: in memory alone.
 * @retval ARGUS_EINVAL  written by a newer argus; err says what to do.
 * @retval ARGUS_EFULL   no room on the disk: use dir NULL.
 * @retval ARGUS_EIO, ARGUS_ENOMEM
 */
int store_open(const char *dir, struct store **out, struct argus_error *err);

/** Writes what is pending, then closes. */
void store_close(struct store *s);

/** Bump and keep the generation: the one stored plus one, at least now_s
 *  (Unix), so that it grows even when the database was lost. */
uint32_t store_next_generation(struct store *s, uint64_t now_s);

/** Another life of this node was ahead: the next start goes beyond it. */
void store_put_generation(struct store *s, uint32_t generation);

uint64_t store_hlc_mark(struct store *s);
/** Of the clock; 0 unless one was begun. */
uint32_t store_epoch(struct store *s);

/** Oldest first. The callback may put rows and use chunks, nothing else. */
typedef void (*store_row)(void *context, const struct node_id *id,
                          const uint8_t *data, size_t size);
void store_each_record(struct store *s, store_row row, void *context);
void store_each_report(struct store *s, store_row row, void *context);
/** data is the address with its NUL. */
void store_each_address(struct store *s, store_row row, void *context);

/** Writes; data is copied. A size of 0 removes. */
void store_put_record(struct store *s, const struct node_id *id,
                      const uint8_t *data, size_t size);
void store_put_report(struct store *s, const struct node_id *subject,
                      const uint8_t *data, size_t size);
void store_put_address(struct store *s, const struct node_id *id,
                       const char *address);
void store_put_hlc(struct store *s, uint64_t mark);
void store_put_epoch(struct store *s, uint64_t epoch);

/** Events, by key; what is in a row is the core's affair. */
void store_put_event(struct store *s, const struct node_id *key,
                     const uint8_t *data, size_t size);
void store_each_event(struct store *s, store_row row, void *context);

/** When this database was begun, Unix; now, if it is new. */
uint64_t store_born_ms(struct store *s, uint64_t now_ms);

/** Drop record and report of a node. */
void store_forget(struct store *s, const struct node_id *id);

/* ---- bundles */

/** Versions of bundles by the head of the hash of their manifest; data is a
 *  packed SignedBundle, a size of 0 removes. */
void store_put_bundle(struct store *s, const struct node_id *key,
                      const uint8_t *data, size_t size);
void store_each_bundle(struct store *s, store_row row, void *context);

/** Chunks of content, read and written at once; valid until store_close(). What
 *  is read is checked against its hash. To put a chunk again makes it young. */
struct chunk_store store_chunks(struct store *s);

/** Remove chunks that no version refers to any more (`is_used` says so; it may
 *  read chunks) and that are older than STORE_CHUNK_KEEP_MS, by the clock of
 *  store_tick(). A call looks at some hundred chunks, the next goes on there;
 *  so call it every minute or so. */
void store_sweep_chunks(struct store *s,
                        bool (*is_used)(void *context,
                                        const uint8_t hash[CONTENT_HASH_SIZE]),
                        void *context);

/* What this node remembers of running a bundle: hashes of manifests, all zero:
 * none. On disk when store_put_applied() returns; where the disk refuses, it is
 * written later, as all else. */
struct store_applied {
    uint8_t good[CONTENT_HASH_SIZE];  /* the last one that passed its trial */
    uint8_t trial[CONTENT_HASH_SIZE]; /* under way: if the machine dies now, it
                                       * is not tried again by itself */
};
/** applied NULL: forget the name. */
void store_put_applied(struct store *s, const char *name,
                       const struct store_applied *applied);
typedef void (*store_applied_row)(void *context, const char *name,
                                  const struct store_applied *applied);
void store_each_applied(struct store *s, store_applied_row row, void *context);

/** Write what is pending in one transaction. */
void store_tick(struct store *s, uint64_t now_ms);

const struct store_stats *store_stats(struct store *s);

#endif
