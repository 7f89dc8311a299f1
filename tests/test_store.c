#include "test.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <signal.h>

#include <openssl/evp.h>
#include <sqlite3.h>

#include "base/log.h"
#include "folder.h"
#include "runtime/store.h"

static char line[LOG_LINE_SIZE];
static unsigned lines;

static void keep_line(enum log_level level, const char *text)
{
    (void)level;
    lines++;
    (void)strcpy(line, text);
}

static struct node_id id_of(uint32_t n)
{
    struct node_id id = {{0}};

    memcpy(id.bytes, &n, sizeof n);
    id.bytes[15] = 1;
    return id;
}

/* Change the database behind the store's back. @return rows changed. */
static int change_db(const char *dir, const char *sql)
{
    char path[300];
    sqlite3 *db;

    (void)snprintf(path, sizeof path, "%s/argus.db", dir);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &db), SQLITE_OK);
    CU_ASSERT_EQUAL(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    int rows = sqlite3_changes(db);
    (void)sqlite3_close(db);
    return rows;
}

struct seen {
    unsigned count;
    uint32_t first, last;
    char text[64];
};

static void see(void *context, const struct node_id *id, const uint8_t *data,
                size_t size)
{
    struct seen *seen = context;

    memcpy(&seen->last, id->bytes, sizeof seen->last);
    if (seen->count++ == 0)
        seen->first = seen->last;
    memset(seen->text, 0, sizeof seen->text);
    memcpy(seen->text, data, size < 63 ? size : 63);
}

/* Goal: what was written is there after a restart; the newer of two writes
 * wins; forgetting forgets. */
static void test_store_remembers(void)
{
    char dir[256];
    struct argus_error err = {{0}};
    struct store *s;
    struct node_id a = id_of(1), b = id_of(2);

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(store_next_generation(s, 1000), 1000);
    store_put_record(s, &a, (const uint8_t *)"old", 3);
    store_put_record(s, &a, (const uint8_t *)"new", 3);
    store_put_record(s, &b, (const uint8_t *)"b", 1);
    store_tick(s, 1);
    store_put_report(s, &b, (const uint8_t *)"gone", 4);
    store_put_report(s, &a, (const uint8_t *)"gone", 4);
    store_put_report(s, &a, NULL, 0);
    store_put_address(s, &a, "10.0.0.1:25827");
    store_put_hlc(s, 0x123456789abcdef0u);
    store_close(s);

    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    struct seen records = {0}, reports = {0}, addresses = {0};
    store_each_record(s, see, &records);
    store_each_report(s, see, &reports);
    store_each_address(s, see, &addresses);
    CU_ASSERT_EQUAL(records.count, 2);
    CU_ASSERT_EQUAL(records.first, 1);
    CU_ASSERT_STRING_EQUAL(records.text, "b");
    CU_ASSERT_EQUAL(reports.count, 1);
    CU_ASSERT_EQUAL(reports.last, 2);
    CU_ASSERT_EQUAL(addresses.count, 1);
    CU_ASSERT_STRING_EQUAL(addresses.text, "10.0.0.1:25827");
    CU_ASSERT_EQUAL(store_hlc_mark(s), 0x123456789abcdef0u);
    CU_ASSERT_EQUAL(store_next_generation(s, 900), 1001); /* clock went back */
    CU_ASSERT_EQUAL(store_next_generation(s, 2000), 2000);

    store_forget(s, &b);
    store_tick(s, 2);
    records = reports = (struct seen){0};
    store_each_record(s, see, &records);
    store_each_report(s, see, &reports);
    CU_ASSERT_EQUAL(records.count, 1);
    CU_ASSERT_STRING_EQUAL(records.text, "new");
    CU_ASSERT_EQUAL(reports.count, 0);
    store_close(s);
    folder_remove(dir);
}

/* Goal: events are there after a restart as they were written, those that were
 * dropped are not; and a row costs the disk little more than its bytes, however
 * many came and went.
 * Method: 60,000 events pass through, of which the newest 2000 stay. */
static void test_store_keeps_events(void)
{
    enum { ALL = 60000, KEPT = 2000, SIZE = 300 };
    char dir[256], path[300];
    struct argus_error err = {{0}};
    struct seen seen = {0};
    struct stat file;
    uint8_t row[SIZE];
    struct store *s;

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    for (uint32_t n = 0; n < ALL; n++) {
        struct node_id id = id_of(n), old = id_of(n - KEPT);
        memset(row, (int)(n % 251), sizeof row);
        (void)snprintf((char *)row, sizeof row, "event %u", n);
        store_put_event(s, &id, row, sizeof row);
        if (n >= KEPT)
            store_put_event(s, &old, NULL, 0);
        if (n % 1000 == 999)
            store_tick(s, n);
    }
    store_close(s);

    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    store_each_event(s, see, &seen);
    CU_ASSERT_EQUAL(seen.count, KEPT);
    CU_ASSERT_EQUAL(seen.first, ALL - KEPT);
    CU_ASSERT_STRING_EQUAL(seen.text, "event 59999");
    CU_ASSERT_EQUAL(store_stats(s)->rows_dropped, 0);
    store_close(s);
    (void)snprintf(path, sizeof path, "%s/argus.db", dir);
    CU_ASSERT_EQUAL_FATAL(stat(path, &file), 0);
    printf("  %d events of %d bytes: %lld KiB on disk\n", KEPT, SIZE,
           (long long)file.st_size >> 10);
    CU_ASSERT_TRUE(file.st_size < 3 * KEPT * SIZE);
    folder_remove(dir);
}

/* Goal: known addresses are bounded, the oldest goes. */
static void test_store_addresses_are_bounded(void)
{
    struct argus_error err = {{0}};
    struct store *s;

    CU_ASSERT_EQUAL_FATAL(store_open(NULL, &s, &err), ARGUS_OK);
    for (uint32_t n = 0; n < STORE_ADDRESSES_MAX + 100; n++) {
        struct node_id id = id_of(n);
        store_put_address(s, &id, "10.0.0.1:1");
    }
    struct node_id first = id_of(100); /* written again: young */
    store_tick(s, 1);
    store_put_address(s, &first, "10.0.0.1:2");
    for (uint32_t n = 1000; n < 1010; n++) {
        struct node_id id = id_of(n);
        store_put_address(s, &id, "10.0.0.1:1");
    }
    store_tick(s, 2);
    struct seen seen = {0};
    store_each_address(s, see, &seen);
    CU_ASSERT_EQUAL(seen.count, STORE_ADDRESSES_MAX);
    CU_ASSERT_EQUAL(seen.first, 111); /* 0..99 and 101..110 went */
    CU_ASSERT_EQUAL(store_stats(s)->rows_dropped, 110);
    store_close(s);
}

/* Goal: a damaged database is kept aside and said; life goes on. */
static void test_store_damaged_is_put_aside(void)
{
    char dir[256], junk[8192];
    struct argus_error err = {{0}};
    struct store *s;
    struct node_id a = id_of(1);

    folder_make(dir);
    memset(junk, 'j', sizeof junk);
    log_set_sink(keep_line);
    for (int i = 1; i <= 2; i++) {
        CU_ASSERT_TRUE(file_write(dir, "argus.db", junk, sizeof junk));
        lines = 0;
        CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
        CU_ASSERT_EQUAL(lines, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(line, "argus.db.damaged-"));
        store_put_record(s, &a, (const uint8_t *)"x", 1);
        store_tick(s, 1);
        CU_ASSERT_EQUAL(store_stats(s)->writes_done, 1);
        store_close(s);
    }
    log_set_sink(NULL);
    CU_ASSERT_TRUE(file_exists(dir, "argus.db.damaged-1"));
    CU_ASSERT_TRUE(file_exists(dir, "argus.db.damaged-2"));
    folder_remove(dir);
}

/* Goal: damage behind a sound header is found at open as well. */
static void test_store_damaged_page_is_found(void)
{
    static char bytes[1 << 20];
    char dir[256];
    struct argus_error err = {{0}};
    struct store *s;

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    for (uint32_t n = 0; n < 200; n++) {
        struct node_id id = id_of(n);
        store_put_record(s, &id, (const uint8_t *)bytes, 500);
    }
    store_close(s);
    long size = file_read(dir, "argus.db", bytes, sizeof bytes);
    CU_ASSERT_TRUE_FATAL(size > 3 * 4096);
    memset(bytes + 4096, 0xee, (size_t)size - 4096);
    CU_ASSERT_TRUE(file_write(dir, "argus.db", bytes, (size_t)size));
    log_set_sink(keep_line);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    log_set_sink(NULL);
    CU_ASSERT_TRUE(file_exists(dir, "argus.db.damaged-1"));
    struct seen seen = {0};
    store_each_record(s, see, &seen);
    CU_ASSERT_EQUAL(seen.count, 0);
    store_close(s);
    folder_remove(dir);
}

/* Goal: a schema that never was is damage, too. */
static void test_store_damaged_schema_is_put_aside(void)
{
    char dir[256];
    struct argus_error err = {{0}};
    struct store *s;

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    store_close(s);
    (void)change_db(dir, "PRAGMA user_version=-5");
    log_set_sink(keep_line);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, "schema -5"));
    log_set_sink(NULL);
    store_close(s);
    CU_ASSERT_TRUE(file_exists(dir, "argus.db.damaged-1"));
    folder_remove(dir);
}

/* Goal: a database of a newer argus is not touched. */
static void test_store_newer_schema_is_refused(void)
{
    char dir[256], path[300];
    struct argus_error err = {{0}};
    struct store *s;

    folder_make(dir);
    (void)snprintf(path, sizeof path, "%s/argus.db", dir);
    (void)change_db(dir, "PRAGMA user_version=99");
    CU_ASSERT_EQUAL(store_open(dir, &s, &err), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, path));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "99"));
    folder_remove(dir);
}

/* Goal: a database that refuses writes costs one line and no entry; when it
 * takes them again all is written.
 * Method: another connection holds the write lock. */
static void test_store_failing_disk_keeps_entries(void)
{
    char dir[256], path[300];
    struct argus_error err = {{0}};
    struct store *s;
    struct node_id a = id_of(1);
    sqlite3 *other;

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    (void)snprintf(path, sizeof path, "%s/argus.db", dir);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &other), SQLITE_OK);
    CU_ASSERT_EQUAL(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL),
                    SQLITE_OK);
    log_set_sink(keep_line);
    lines = 0;
    for (uint64_t now = 100000; now < 130000; now += 1000) {
        store_put_record(s, &a, (const uint8_t *)"x", 1);
        store_tick(s, now);
    }
    CU_ASSERT_EQUAL(lines, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(line, path));
    CU_ASSERT_TRUE(store_stats(s)->writes_failed >= 5);
    CU_ASSERT_EQUAL(store_stats(s)->writes_pending, 1);
    for (uint32_t n = 0; n < STORE_PENDING_MAX + 5; n++) {
        struct node_id id = id_of(n + 10);
        store_put_record(s, &id, (const uint8_t *)"y", 1);
    }
    CU_ASSERT_EQUAL(store_stats(s)->writes_pending, STORE_PENDING_MAX);
    CU_ASSERT_EQUAL(store_stats(s)->writes_dropped, 6);
    CU_ASSERT_EQUAL(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(other);
    store_tick(s, 200000);
    log_set_sink(NULL);
    CU_ASSERT_EQUAL(store_stats(s)->writes_pending, 0);
    CU_ASSERT_EQUAL(store_stats(s)->writes_done, STORE_PENDING_MAX);
    store_close(s);
    folder_remove(dir);
}

/* Goal: a full disk loses nothing that still fits in memory.
 * Method: in a child, files may not grow beyond a limit (EFBIG, as SQLite sees
 * it a failed write), then the limit is lifted. */
static int full_disk_child(const char *dir)
{
    struct rlimit limit, old;
    struct argus_error err = {{0}};
    struct store *s;

    (void)signal(SIGXFSZ, SIG_IGN);
    log_set_sink(keep_line);
    if (store_open(dir, &s, &err) != ARGUS_OK)
        return 1;
    (void)getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 65536;
    (void)setrlimit(RLIMIT_FSIZE, &limit);
    uint8_t data[900] = {1};
    for (uint32_t n = 0; n < 500; n++) {
        struct node_id id = id_of(n);
        store_put_record(s, &id, data, sizeof data);
    }
    store_tick(s, 1000);
    if (store_stats(s)->writes_failed == 0 ||
        store_stats(s)->writes_pending != 500 || lines == 0)
        return 2;
    (void)setrlimit(RLIMIT_FSIZE, &old);
    store_tick(s, 100000);
    if (store_stats(s)->writes_pending != 0)
        return 3;
    store_close(s);
    return 0;
}

static void test_store_full_disk_catches_up(void)
{
    char dir[256];
    int status = 0;
    struct argus_error err = {{0}};
    struct store *s;
    struct seen seen = {0};

    folder_make(dir);
    pid_t child = fork();
    if (child == 0)
        _exit(full_disk_child(dir));
    CU_ASSERT_TRUE_FATAL(child > 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    store_each_record(s, see, &seen);
    CU_ASSERT_EQUAL(seen.count, 500);
    store_close(s);
    folder_remove(dir);
}

/* Goal: StateDir is made when missing, and locked: the second holder is told
 * where and who. */
static void test_store_lock_names_the_holder(void)
{
    char base[256], dir[300], pid[32];
    struct argus_error err = {{0}};
    int first, second;

    folder_make(base);
    (void)snprintf(dir, sizeof dir, "%s/argus", base);
    CU_ASSERT_EQUAL_FATAL(store_lock(dir, &first, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(store_lock(dir, &second, &err), ARGUS_EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, dir));
    (void)snprintf(pid, sizeof pid, "process %d", (int)getpid());
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, pid));
    CU_ASSERT_EQUAL(second, -1);
    CU_ASSERT_TRUE(fcntl(first, F_GETFD) & FD_CLOEXEC);
    (void)close(first);
    CU_ASSERT_EQUAL(store_lock(dir, &first, &err), ARGUS_OK);
    (void)close(first);
    folder_remove(dir);

    /* A folder that cannot be: below a file. */
    CU_ASSERT_TRUE(file_write(base, "file", "", 0));
    (void)snprintf(dir, sizeof dir, "%s/file/argus", base);
    CU_ASSERT_EQUAL(store_lock(dir, &first, &err), ARGUS_EIO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, dir));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "user \""));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "StateDir"));
    folder_remove(base);
}

/* ------------------------------------------------------------ bundles */

static void hash_of(const void *data, size_t size,
                    uint8_t out[CONTENT_HASH_SIZE])
{
    CU_ASSERT_EQUAL_FATAL(EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL),
                          1);
}

/* Chunk n of some content, full size. @return its hash in `hash`. */
static void chunk_of(uint32_t n, uint8_t data[CONTENT_CHUNK_SIZE],
                     uint8_t hash[CONTENT_HASH_SIZE])
{
    memset(data, 'c', CONTENT_CHUNK_SIZE);
    memcpy(data, &n, sizeof n);
    hash_of(data, CONTENT_CHUNK_SIZE, hash);
}

static bool put_chunk(struct store *s, uint32_t n)
{
    static uint8_t data[CONTENT_CHUNK_SIZE];
    uint8_t hash[CONTENT_HASH_SIZE];
    struct chunk_store chunks = store_chunks(s);

    chunk_of(n, data, hash);
    return chunks.put(chunks.context, hash, data, sizeof data);
}

static bool has_chunk(struct store *s, uint32_t n)
{
    static uint8_t data[CONTENT_CHUNK_SIZE], out[CONTENT_CHUNK_SIZE];
    uint8_t hash[CONTENT_HASH_SIZE];
    struct chunk_store chunks = store_chunks(s);

    chunk_of(n, data, hash);
    bool has = chunks.has(chunks.context, hash);
    if (chunks.get(chunks.context, hash, out) == 0)
        return false;
    CU_ASSERT_TRUE(has);
    return memcmp(out, data, sizeof data) == 0;
}

/* The schema as the first release had it. */
static const char schema_1[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE record(key BLOB PRIMARY KEY, value BLOB NOT NULL,"
    " seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE report(key BLOB PRIMARY KEY, value BLOB NOT NULL,"
    " seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE address(key BLOB PRIMARY KEY, value BLOB NOT NULL,"
    " seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE number(key BLOB PRIMARY KEY, value BLOB NOT NULL,"
    " seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX record_seq ON record(seq);"
    "CREATE INDEX report_seq ON report(seq);"
    "CREATE INDEX address_seq ON address(seq);"
    "PRAGMA user_version=1;"
    "COMMIT;"
    "INSERT INTO record VALUES"
    " (x'01000000000000000000000000000001','old',1);"
    "INSERT INTO number VALUES"
    " (x'01000000000000000000000000000000',x'0000000000000539',2);";

/* Goal: a database of schema 1 is upgraded in place and keeps what it holds;
 * what is new works in it and is there at the next start. */
static void test_store_schema_1_is_upgraded(void)
{
    char dir[256];
    struct argus_error err = {{0}};
    struct store *s;
    struct node_id a = id_of(7);

    folder_make(dir);
    (void)change_db(dir, schema_1);
    for (int start = 0; start < 2; start++) {
        CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
        struct seen records = {0}, bundles = {0};
        store_each_record(s, see, &records);
        CU_ASSERT_EQUAL(records.count, 1);
        CU_ASSERT_STRING_EQUAL(records.text, "old");
        CU_ASSERT_EQUAL(store_next_generation(s, 5), 1338 + (uint32_t)start);
        store_each_bundle(s, see, &bundles);
        CU_ASSERT_EQUAL(bundles.count, (unsigned)start);
        store_put_bundle(s, &a, (const uint8_t *)"signed", 6);
        CU_ASSERT_EQUAL(has_chunk(s, 1), start == 1);
        CU_ASSERT_TRUE(put_chunk(s, 1));
        store_close(s);
    }
    CU_ASSERT_FALSE(file_exists(dir, "argus.db.damaged-1"));
    folder_remove(dir);
}

/* Goal: a stored generation that is more than one can be is damage: the next
 * one is the time of day, as at a first start. (Cut to 32 bits it went back,
 * and the mesh took the node's records for old ones.) */
static void test_store_generation_is_damaged(void)
{
    char dir[256];
    struct argus_error err = {{0}};
    struct store *s;

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(store_next_generation(s, 5), 5);
    store_close(s);
    CU_ASSERT_EQUAL(change_db(dir,
                              "UPDATE number SET value=x'0000000100000000'"
                              " WHERE key=x'01000000000000000000000000000000'"),
                    1);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(store_next_generation(s, 1000), 1000);
    CU_ASSERT_EQUAL(store_next_generation(s, 900), 1001);
    store_close(s);
    folder_remove(dir);
}

/* Goal: versions are kept and removed by their key. */
static void test_store_keeps_bundles(void)
{
    char dir[256];
    struct argus_error err = {{0}};
    struct store *s;
    struct node_id a = id_of(1), b = id_of(2);

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    store_put_bundle(s, &a, (const uint8_t *)"one", 3);
    store_put_bundle(s, &b, (const uint8_t *)"two", 3);
    store_put_bundle(s, &a, NULL, 0);
    store_close(s);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    struct seen seen = {0};
    store_each_bundle(s, see, &seen);
    CU_ASSERT_EQUAL(seen.count, 1);
    CU_ASSERT_STRING_EQUAL(seen.text, "two");
    store_close(s);
    folder_remove(dir);
}

struct applied_seen {
    unsigned count;
    char name[64];
    struct store_applied applied;
};

static void see_applied(void *context, const char *name,
                        const struct store_applied *applied)
{
    struct applied_seen *seen = context;

    seen->count++;
    (void)snprintf(seen->name, sizeof seen->name, "%s", name);
    seen->applied = *applied;
}

/* Goal: what ran is on disk when the call returns.
 * Method: another connection reads it before any tick. */
static void test_store_remembers_what_ran(void)
{
    char dir[256], path[300], name[64];
    struct argus_error err = {{0}};
    struct store *s;
    struct store_applied applied = {.good = {1}, .trial = {2}};
    struct applied_seen seen = {0};
    sqlite3 *other;
    sqlite3_stmt *stmt;

    folder_make(dir);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0'; /* the longest there is */
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    store_put_applied(s, "base", &applied);
    memset(applied.trial, 0, sizeof applied.trial);
    store_put_applied(s, "base", &applied);
    store_put_applied(s, name, &applied);

    (void)snprintf(path, sizeof path, "%s/argus.db", dir);
    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &other), SQLITE_OK);
    CU_ASSERT_EQUAL(sqlite3_prepare_v2(other, "SELECT count(*) FROM applied",
                                       -1, &stmt, NULL),
                    SQLITE_OK);
    CU_ASSERT_EQUAL(sqlite3_step(stmt), SQLITE_ROW);
    CU_ASSERT_EQUAL(sqlite3_column_int(stmt, 0), 2);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(other);
    store_close(s);

    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    store_each_applied(s, see_applied, &seen);
    CU_ASSERT_EQUAL(seen.count, 2);
    CU_ASSERT_STRING_EQUAL(seen.name, name);
    CU_ASSERT_EQUAL(memcmp(&seen.applied, &applied, sizeof applied), 0);
    store_put_applied(s, name, NULL);
    seen = (struct applied_seen){0};
    store_each_applied(s, see_applied, &seen);
    CU_ASSERT_EQUAL(seen.count, 1);
    CU_ASSERT_STRING_EQUAL(seen.name, "base");
    store_close(s);
    folder_remove(dir);
}

/* Goal: a chunk that is not what its hash says is not handed out, and goes. */
static void test_store_damaged_chunk_is_dropped(void)
{
    char dir[256];
    struct argus_error err = {{0}};
    struct store *s;

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    CU_ASSERT_TRUE(put_chunk(s, 1) && put_chunk(s, 2));
    CU_ASSERT_EQUAL(store_stats(s)->chunk_bytes, 2 * CONTENT_CHUNK_SIZE);
    (void)change_db(dir, "UPDATE chunk SET content=zeroblob(32768)"
                         " WHERE id=1");
    CU_ASSERT_FALSE(has_chunk(s, 1));
    CU_ASSERT_TRUE(has_chunk(s, 2));
    CU_ASSERT_EQUAL(store_stats(s)->chunks_damaged, 1);
    CU_ASSERT_EQUAL(store_stats(s)->chunk_bytes, CONTENT_CHUNK_SIZE);
    CU_ASSERT_TRUE(put_chunk(s, 1)); /* a neighbor has it whole */
    CU_ASSERT_TRUE(has_chunk(s, 1));
    store_close(s);
    folder_remove(dir);
}

/* Goal: content is bounded, also where there is no disk; what is refused is
 * counted; what goes makes room. */
static void test_store_chunks_are_bounded(void)
{
    static uint8_t data[CONTENT_CHUNK_SIZE];
    uint8_t hash[CONTENT_HASH_SIZE];
    struct argus_error err = {{0}};
    struct store *s;
    const uint32_t most = STORE_CHUNK_MEMORY_MAX / CONTENT_CHUNK_SIZE;

    CU_ASSERT_EQUAL_FATAL(store_open(NULL, &s, &err), ARGUS_OK);
    struct chunk_store chunks = store_chunks(s);
    for (uint32_t n = 0; n < most; n++)
        CU_ASSERT_TRUE_FATAL(put_chunk(s, n));
    CU_ASSERT_FALSE(put_chunk(s, most));
    CU_ASSERT_EQUAL(store_stats(s)->chunks_refused, 1);
    CU_ASSERT_TRUE(put_chunk(s, 7)); /* here already */
    CU_ASSERT_EQUAL(store_stats(s)->chunk_bytes, STORE_CHUNK_MEMORY_MAX);
    chunk_of(3, data, hash);
    chunks.drop(chunks.context, hash);
    CU_ASSERT_FALSE(has_chunk(s, 3));
    CU_ASSERT_TRUE(put_chunk(s, most));
    CU_ASSERT_FALSE(chunks.put(chunks.context, hash, data, 0));
    store_close(s);
}

/* Chunk 0 alone is used. */
static bool is_zero(void *context, const uint8_t hash[CONTENT_HASH_SIZE])
{
    static uint8_t data[CONTENT_CHUNK_SIZE];
    uint8_t zero[CONTENT_HASH_SIZE];

    (*(unsigned *)context)++;
    chunk_of(0, data, zero);
    return memcmp(zero, hash, sizeof zero) == 0;
}

/* Goal: a sweep takes what is old and unused, in stretches; what was put again
 * is young; of an earlier start nothing is taken before its time. */
static void test_store_sweeps_old_chunks(void)
{
    char dir[256];
    struct argus_error err = {{0}};
    struct store *s;
    unsigned asked = 0;
    const uint64_t keep = STORE_CHUNK_KEEP_MS;

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    store_tick(s, 50 * keep);
    CU_ASSERT_TRUE(put_chunk(s, 0) && put_chunk(s, 1) && put_chunk(s, 3));
    store_tick(s, 50 * keep + keep - 1);
    store_sweep_chunks(s, is_zero, &asked);
    CU_ASSERT_EQUAL(asked, 0);
    CU_ASSERT_TRUE(put_chunk(s, 3));
    store_tick(s, 51 * keep);
    store_sweep_chunks(s, is_zero, &asked);
    CU_ASSERT_EQUAL(asked, 2);
    CU_ASSERT_TRUE(has_chunk(s, 0));
    CU_ASSERT_FALSE(has_chunk(s, 1));
    CU_ASSERT_TRUE(has_chunk(s, 3));
    CU_ASSERT_EQUAL(store_stats(s)->chunks_swept, 1);
    CU_ASSERT_EQUAL(store_stats(s)->chunk_bytes, 2 * CONTENT_CHUNK_SIZE);
    store_close(s);

    /* After a reboot the clock begins anew. */
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(store_stats(s)->chunk_bytes, 2 * CONTENT_CHUNK_SIZE);
    store_tick(s, keep);
    for (uint32_t n = 0; n < 300; n++)
        CU_ASSERT_TRUE_FATAL(put_chunk(s, n + 5));
    asked = 0;
    store_tick(s, 2 * keep - 1);
    store_sweep_chunks(s, is_zero, &asked);
    CU_ASSERT_EQUAL(asked, 0);
    store_tick(s, 2 * keep);
    store_sweep_chunks(s, is_zero, &asked);
    CU_ASSERT_TRUE(asked > 0 && asked < 302);
    store_sweep_chunks(s, is_zero, &asked);
    CU_ASSERT_EQUAL(asked, 302);
    CU_ASSERT_EQUAL(store_stats(s)->chunk_bytes, CONTENT_CHUNK_SIZE);
    CU_ASSERT_TRUE(has_chunk(s, 0));
    store_close(s);
    folder_remove(dir);
}

/* Goal: on a full disk a chunk is refused and counted, what is there can still
 * be read, and what ran is written once there is room. */
static int full_disk_chunks_child(const char *dir)
{
    struct rlimit limit, old;
    struct argus_error err = {{0}};
    struct store_applied applied = {.good = {1}};
    struct store *s;
    uint32_t n = 0;

    lines = 0;
    (void)signal(SIGXFSZ, SIG_IGN);
    log_set_sink(keep_line);
    if (store_open(dir, &s, &err) != ARGUS_OK)
        return 1;
    (void)getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 400000;
    (void)setrlimit(RLIMIT_FSIZE, &limit);
    store_tick(s, 1000);
    while (n < 100 && put_chunk(s, n))
        n++;
    store_put_applied(s, "base", &applied);
    if (n == 0 || n == 100 || store_stats(s)->chunks_refused != 1 ||
        !has_chunk(s, 0) || has_chunk(s, n) || lines != 1 ||
        store_stats(s)->chunk_bytes != (uint64_t)n * CONTENT_CHUNK_SIZE)
        return 2;
    (void)setrlimit(RLIMIT_FSIZE, &old);
    store_tick(s, 100000);
    if (!put_chunk(s, n) || !has_chunk(s, n) ||
        store_stats(s)->writes_pending != 0)
        return 3;
    store_close(s);
    return 0;
}

static void test_store_full_disk_refuses_chunks(void)
{
    char dir[256];
    int status = 0;
    struct argus_error err = {{0}};
    struct applied_seen seen = {0};
    struct store *s;

    folder_make(dir);
    pid_t child = fork();
    if (child == 0)
        _exit(full_disk_chunks_child(dir));
    CU_ASSERT_TRUE_FATAL(child > 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
    CU_ASSERT_EQUAL_FATAL(store_open(dir, &s, &err), ARGUS_OK);
    CU_ASSERT_TRUE(has_chunk(s, 0));
    store_each_applied(s, see_applied, &seen);
    CU_ASSERT_STRING_EQUAL(seen.name, "base");
    store_close(s);
    folder_remove(dir);
}

CU_TestInfo suite_store[] = {
    {"remembers", test_store_remembers},
    {"keeps_events", test_store_keeps_events},
    {"addresses_are_bounded", test_store_addresses_are_bounded},
    {"damaged_is_put_aside", test_store_damaged_is_put_aside},
    {"damaged_page_is_found", test_store_damaged_page_is_found},
    {"damaged_schema_is_put_aside", test_store_damaged_schema_is_put_aside},
    {"newer_schema_is_refused", test_store_newer_schema_is_refused},
    {"failing_disk_keeps_entries", test_store_failing_disk_keeps_entries},
    {"full_disk_catches_up", test_store_full_disk_catches_up},
    {"lock_names_the_holder", test_store_lock_names_the_holder},
    {"schema_1_is_upgraded", test_store_schema_1_is_upgraded},
    {"generation_is_damaged", test_store_generation_is_damaged},
    {"keeps_bundles", test_store_keeps_bundles},
    {"remembers_what_ran", test_store_remembers_what_ran},
    {"damaged_chunk_is_dropped", test_store_damaged_chunk_is_dropped},
    {"chunks_are_bounded", test_store_chunks_are_bounded},
    {"sweeps_old_chunks", test_store_sweeps_old_chunks},
    {"full_disk_refuses_chunks", test_store_full_disk_refuses_chunks},
    CU_TEST_INFO_NULL,
};
