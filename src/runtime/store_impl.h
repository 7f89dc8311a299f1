/* store_impl.h - what the files of the store share. Nobody else includes it.
 *   store.c          StateDir, the database, rows that wait to be written
 *   store_bundles.c  bundles, chunks, what this node ran */
#ifndef ARGUS_RUNTIME_STORE_IMPL_H
#define ARGUS_RUNTIME_STORE_IMPL_H

#include <sqlite3.h>

#include "base/log.h"
#include "runtime/store.h"

/** After a failed transaction, before the next attempt. */
#define STORE_RETRY_MS 5000

enum table {
    TABLE_RECORD,
    TABLE_REPORT,
    TABLE_ADDRESS,
    TABLE_NUMBER, /* key: one of enum number, rest zero */
    TABLE_BUNDLE,
    TABLE_APPLIED, /* key: head of the hash of the name */
    TABLE_EVENT,   /* key: of the event, then zeros */
    TABLE_COUNT
};

struct pending;

struct store_chunk_statements {
    sqlite3_stmt *has, *get, *put, *drop, *old;
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *put[TABLE_COUNT], *drop[TABLE_COUNT], *trim[TABLE_COUNT];
    int64_t rows[TABLE_COUNT];
    int64_t next_seq;
    char path[1200];         /* empty: in memory */
    struct pending *pending; /* uthash: in order of insertion */
    uint64_t now_ms, retry_ms;
    uint64_t first_ms; /* of the first tick; 0: none yet */
    uint64_t hlc_mark;
    struct log_limit limit;
    struct store_stats stats;

    struct store_chunk_statements chunk;
    uint64_t chunk_bytes_max;
    int64_t chunk_first;  /* from this id on chunks were put in this life */
    int64_t chunk_next;   /* id of the next one */
    int64_t chunk_cursor; /* where the next sweep goes on */
};

/** Describe what SQLite just answered; ARGUS_EFULL when the disk is. */
int store_fail(struct store *s, struct argus_error *err, const char *verb);

/** A write failed: one line a minute, no further try for a while. */
void store_complain(struct store *s);

/** One number that a statement answers. @return SQLITE_OK or its error. */
int store_ask_number(sqlite3 *db, const char *sql, int64_t *out);

/** Step a statement that answers nothing, and make it ready for the next time.
 */
bool store_run(sqlite3_stmt *stmt);

void store_each(struct store *s, enum table t, store_row row, void *context);
void store_put(struct store *s, enum table t, const struct node_id *id,
               const void *data, size_t size);
void store_flush(struct store *s);

/** On disk when it returns, unless the disk refuses. */
void store_flush_synced(struct store *s);

/* ---- store_bundles.c */
int store_bundles_open(struct store *s, struct argus_error *err);
void store_bundles_close(struct store *s);

#endif
