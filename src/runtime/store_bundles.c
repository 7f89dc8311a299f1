/* store_bundles.c - versions of bundles, their chunks, and what this node ran.
 *
 * Versions and what was run are rows like those of members: they wait for the
 * next transaction. Chunks are large and few: each is written at once. */
#include "runtime/store_impl.h"

#include <string.h>

#include <openssl/evp.h>

/** Chunks that one call of store_sweep_chunks() looks at. */
#define SWEEP_MAX 256
/** A chunk put again is not written again while it is younger than this. */
#define FRESH_MS (STORE_CHUNK_KEEP_MS / 2)
#define NAME_SIZE 64

static void sha256(const void *data, size_t size,
                   uint8_t out[CONTENT_HASH_SIZE])
{
    if (EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL) != 1)
        memset(out, 0, CONTENT_HASH_SIZE);
}

/* -------------------------------------------------------------- opening */

static int prepare(struct store *s, sqlite3_stmt **out, const char *sql,
                   struct argus_error *err)
{
    if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out,
                           NULL) != SQLITE_OK)
        return store_fail(s, err, "prepare");
    return ARGUS_OK;
}

static int prepare_all(struct store *s, struct argus_error *err)
{
    struct store_chunk_statements *c = &s->chunk;
    const struct {
        sqlite3_stmt **out;
        const char *sql;
    } all[] = {
        {&c->has, "SELECT id,at FROM chunk WHERE key=?"},
        {&c->get, "SELECT content FROM chunk WHERE key=?"},
        {&c->put, "INSERT OR REPLACE INTO chunk(key,at,content,id)"
                  " VALUES(?,?,?,?)"},
        {&c->drop, "DELETE FROM chunk WHERE key=? RETURNING length(content)"},
        {&c->old, "SELECT id,key FROM chunk WHERE id>?1 AND"
                  " (id<?2 OR (id>=?3 AND at<=?4)) ORDER BY id LIMIT ?5"},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int rc = prepare(s, all[i].out, all[i].sql, err);
        if (rc != ARGUS_OK)
            return rc;
    }
    return ARGUS_OK;
}

int store_bundles_open(struct store *s, struct argus_error *err)
{
    int64_t bytes = 0, last = 0;

    s->chunk_bytes_max =
        s->path[0] != '\0' ? STORE_CHUNK_BYTES_MAX : STORE_CHUNK_MEMORY_MAX;
    int rc = prepare_all(s, err);
    if (rc != ARGUS_OK)
        return rc;
    if (store_ask_number(s->db,
                         "SELECT ifnull(sum(length(content)),0) FROM chunk",
                         &bytes) != SQLITE_OK ||
        store_ask_number(s->db, "SELECT ifnull(max(id),0) FROM chunk", &last) !=
            SQLITE_OK)
        return store_fail(s, err, "read");
    s->stats.chunk_bytes = (uint64_t)bytes;
    s->chunk_first = s->chunk_next = last + 1;
    return ARGUS_OK;
}

void store_bundles_close(struct store *s)
{
    (void)sqlite3_finalize(s->chunk.has);
    (void)sqlite3_finalize(s->chunk.get);
    (void)sqlite3_finalize(s->chunk.put);
    (void)sqlite3_finalize(s->chunk.drop);
    (void)sqlite3_finalize(s->chunk.old);
    memset(&s->chunk, 0, sizeof s->chunk);
}

/* --------------------------------------------------------------- chunks */

static void ready(sqlite3_stmt *stmt)
{
    (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
}

static void bind_hash(sqlite3_stmt *stmt, const uint8_t *hash)
{
    (void)sqlite3_bind_blob(stmt, 1, hash, CONTENT_HASH_SIZE, SQLITE_STATIC);
}

static bool chunk_has(void *context, const uint8_t hash[CONTENT_HASH_SIZE])
{
    struct store *s = context;

    bind_hash(s->chunk.has, hash);
    bool has = sqlite3_step(s->chunk.has) == SQLITE_ROW;
    ready(s->chunk.has);
    return has;
}

/* The bytes that went are free for others: the bound is on what is kept. */
static void chunk_drop(void *context, const uint8_t hash[CONTENT_HASH_SIZE])
{
    struct store *s = context;
    uint64_t bytes = 0;

    bind_hash(s->chunk.drop, hash);
    int code = sqlite3_step(s->chunk.drop);
    if (code == SQLITE_ROW) {
        bytes = (uint64_t)sqlite3_column_int64(s->chunk.drop, 0);
        code = sqlite3_step(s->chunk.drop);
    }
    ready(s->chunk.drop);
    if (code != SQLITE_DONE)
        store_complain(s); /* the next sweep tries again */
    else
        s->stats.chunk_bytes -= bytes;
}

static size_t chunk_get(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                        uint8_t out[CONTENT_CHUNK_SIZE])
{
    struct store *s = context;
    uint8_t found[CONTENT_HASH_SIZE];
    size_t size = 0;

    bind_hash(s->chunk.get, hash);
    bool has = sqlite3_step(s->chunk.get) == SQLITE_ROW;
    if (has) {
        const void *content = sqlite3_column_blob(s->chunk.get, 0);
        size = (size_t)sqlite3_column_bytes(s->chunk.get, 0);
        if (content == NULL || size > CONTENT_CHUNK_SIZE)
            size = 0;
        else
            memcpy(out, content, size);
    }
    ready(s->chunk.get);
    if (!has)
        return 0;
    sha256(out, size, found);
    if (size > 0 && memcmp(found, hash, sizeof found) == 0)
        return size;
    s->stats.chunks_damaged++;
    chunk_drop(s, hash);
    return 0;
}

/* Is it here, and not yet so old that a sweep may take it soon? */
static bool chunk_is_fresh(struct store *s, const uint8_t *hash)
{
    bind_hash(s->chunk.has, hash);
    bool fresh = sqlite3_step(s->chunk.has) == SQLITE_ROW &&
                 sqlite3_column_int64(s->chunk.has, 0) >= s->chunk_first &&
                 sqlite3_column_int64(s->chunk.has, 1) + (int64_t)FRESH_MS >
                     (int64_t)s->now_ms;
    ready(s->chunk.has);
    return fresh;
}

static bool chunk_put(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                      const uint8_t *data, size_t size)
{
    struct store *s = context;
    sqlite3_stmt *put = s->chunk.put;

    if (chunk_is_fresh(s, hash))
        return true;
    bool is_new = !chunk_has(s, hash);
    if (size == 0 || size > CONTENT_CHUNK_SIZE ||
        (is_new && s->stats.chunk_bytes + size > s->chunk_bytes_max)) {
        s->stats.chunks_refused++;
        return false;
    }
    if (s->now_ms < s->retry_ms) /* the disk refused a moment ago */
        return !is_new;
    bind_hash(put, hash);
    (void)sqlite3_bind_int64(put, 2, (int64_t)s->now_ms);
    (void)sqlite3_bind_blob(put, 3, data, (int)size, SQLITE_STATIC);
    (void)sqlite3_bind_int64(put, 4, s->chunk_next++);
    if (!store_run(put)) {
        store_complain(s);
        s->stats.chunks_refused += is_new;
        return !is_new;
    }
    s->stats.chunk_bytes += is_new ? size : 0;
    return true;
}

struct chunk_store store_chunks(struct store *s)
{
    return (struct chunk_store){
        .context = s,
        .has = chunk_has,
        .get = chunk_get,
        .put = chunk_put,
        .drop = chunk_drop,
    };
}

struct sweep_row {
    int64_t id;
    uint8_t hash[CONTENT_HASH_SIZE];
};

/* Chunks behind the cursor that are old enough. Of those that an earlier life
 * of the daemon put the age is not known: they count from our first tick. */
static size_t sweep_read(struct store *s, struct sweep_row *rows)
{
    sqlite3_stmt *old = s->chunk.old;
    uint64_t limit_ms = s->now_ms - STORE_CHUNK_KEEP_MS;
    bool takes_earlier = s->first_ms <= limit_ms;
    size_t count = 0;

    (void)sqlite3_bind_int64(old, 1, s->chunk_cursor);
    (void)sqlite3_bind_int64(old, 2, takes_earlier ? s->chunk_first : 0);
    (void)sqlite3_bind_int64(old, 3, s->chunk_first);
    (void)sqlite3_bind_int64(old, 4, (int64_t)limit_ms);
    (void)sqlite3_bind_int64(old, 5, SWEEP_MAX);
    while (count < SWEEP_MAX && sqlite3_step(old) == SQLITE_ROW) {
        const void *key = sqlite3_column_blob(old, 1);
        rows[count].id = sqlite3_column_int64(old, 0);
        if (key == NULL || sqlite3_column_bytes(old, 1) != CONTENT_HASH_SIZE)
            continue;
        memcpy(rows[count++].hash, key, CONTENT_HASH_SIZE);
    }
    ready(old);
    return count;
}

void store_sweep_chunks(struct store *s,
                        bool (*is_used)(void *context,
                                        const uint8_t hash[CONTENT_HASH_SIZE]),
                        void *context)
{
    struct sweep_row rows[SWEEP_MAX];

    if (s->now_ms <= STORE_CHUNK_KEEP_MS || s->now_ms < s->retry_ms)
        return;
    size_t count = sweep_read(s, rows);
    s->chunk_cursor = count == SWEEP_MAX ? rows[count - 1].id : 0;
    for (size_t i = 0; i < count; i++) {
        if (is_used(context, rows[i].hash))
            continue;
        chunk_drop(s, rows[i].hash);
        s->stats.chunks_swept++;
    }
}

/* -------------------------------------------------- versions, and what ran */

void store_put_bundle(struct store *s, const struct node_id *key,
                      const uint8_t *data, size_t size)
{
    store_put(s, TABLE_BUNDLE, key, data, size);
}

void store_each_bundle(struct store *s, store_row row, void *context)
{
    store_each(s, TABLE_BUNDLE, row, context);
}

/* The hash may be all zero (none), so a row of that kind is never empty. */
void store_put_applied(struct store *s, const char *name,
                       const struct store_applied *applied)
{
    uint8_t row[sizeof *applied + NAME_SIZE], hash[CONTENT_HASH_SIZE];
    size_t size = strnlen(name, NAME_SIZE - 1);

    sha256(name, size, hash);
    struct node_id key = node_id_of(hash);
    if (applied == NULL) {
        store_put(s, TABLE_APPLIED, &key, NULL, 0);
    } else {
        memcpy(row, applied, sizeof *applied);
        memcpy(row + sizeof *applied, name, size);
        row[sizeof *applied + size] = '\0';
        store_put(s, TABLE_APPLIED, &key, row, sizeof *applied + size + 1);
    }
    store_flush_synced(s);
}

struct applied_row {
    store_applied_row row;
    void *context;
};

static void on_applied(void *context, const struct node_id *id,
                       const uint8_t *data, size_t size)
{
    const struct applied_row *a = context;
    struct store_applied applied;

    (void)id;
    if (size <= sizeof applied || size > sizeof applied + NAME_SIZE ||
        data[size - 1] != '\0')
        return;
    memcpy(&applied, data, sizeof applied);
    a->row(a->context, (const char *)data + sizeof applied, &applied);
}

void store_each_applied(struct store *s, store_applied_row row, void *context)
{
    struct applied_row a = {row, context};
    store_each(s, TABLE_APPLIED, on_applied, &a);
}
