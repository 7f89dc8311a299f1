#include "runtime/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The loop must go on when memory is short: a table that cannot grow drops the
 * entry, which is counted. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/log.h"
#include "runtime/store_impl.h"

#define DAMAGED_MAX 1000
#define PATH_SIZE 1200
/** Pending entries that are written without waiting for the tick. */
#define FLUSH_COUNT 1024

static const struct {
    const char *name;
    int64_t rows_max;
} tables[TABLE_COUNT] = {
    {"record", STORE_MEMBERS_MAX},    {"report", STORE_MEMBERS_MAX},
    {"address", STORE_ADDRESSES_MAX}, {"number", 16},
    {"bundle", STORE_BUNDLES_MAX},    {"applied", STORE_APPLIED_MAX},
    {"event", STORE_EVENTS_MAX},
};

enum number {
    NUMBER_GENERATION = 1,
    NUMBER_HLC = 2,
    NUMBER_EPOCH = 3,
    NUMBER_BORN = 4
};

struct pending_key {
    struct node_id id;
    uint32_t table;
};

struct pending {
    struct pending_key key;
    UT_hash_handle hh;
    size_t size; /* 0: remove the row */
    uint8_t data[];
};

/* ------------------------------------------------------------ StateDir */

static bool is_full(int code)
{
    return code == ENOSPC || code == EDQUOT;
}

static const char *user_name(void)
{
    const struct passwd *pw = getpwuid(geteuid());
    return pw != NULL ? pw->pw_name : "this user";
}

static int fail_unwritable(struct argus_error *err, const char *what,
                           const char *path)
{
    int code = errno;

    if (is_full(code))
        return argus_fail(err, ARGUS_EFULL, "%s %s: %s", what, path,
                          strerror(code));
    return argus_fail(err, ARGUS_EIO,
                      "%s %s as user \"%s\": %s. Give that user the folder, or "
                      "name another in StateDir",
                      what, path, user_name(), strerror(code));
}

/* Parents are the administrator's, except for one level: collectd's BaseDir
 * may not be there before anything was ever written. */
static int make_folder(const char *dir, struct argus_error *err)
{
    char parent[PATH_SIZE];

    if (mkdir(dir, 0750) == 0 || errno == EEXIST)
        return ARGUS_OK;
    if (errno == ENOENT) {
        (void)snprintf(parent, sizeof parent, "%s", dir);
        char *slash = strrchr(parent, '/');
        if (slash != NULL && slash != parent) {
            *slash = '\0';
            (void)mkdir(parent, 0755);
        }
        if (mkdir(dir, 0750) == 0)
            return ARGUS_OK;
    }
    return fail_unwritable(err, "cannot create StateDir", dir);
}

static int fail_locked(struct argus_error *err, const char *dir, int fd)
{
    char pid[32] = "";
    ssize_t size = pread(fd, pid, sizeof pid - 1, 0);

    if (size <= 0)
        return argus_fail(err, ARGUS_EBUSY,
                          "StateDir %s is in use by another process", dir);
    pid[strspn(pid, "0123456789")] = '\0';
    return argus_fail(err, ARGUS_EBUSY,
                      "StateDir %s is in use by process %s: stop it, or name "
                      "another in StateDir",
                      dir, pid);
}

int store_lock(const char *dir, int *out_fd, struct argus_error *err)
{
    char path[PATH_SIZE], pid[32];

    *out_fd = -1;
    if ((size_t)snprintf(path, sizeof path, "%s/lock", dir) >= sizeof path)
        return argus_fail(err, ARGUS_EINVAL, "StateDir is too long: %s", dir);
    int rc = make_folder(dir, err);
    if (rc != ARGUS_OK)
        return rc;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return fail_unwritable(err, "cannot write", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK ? fail_locked(err, dir, fd)
                                  : argus_fail_errno(err, "lock %s", path);
        (void)close(fd);
        return rc;
    }
    *out_fd = fd;
    /* The lock holds without the pid, which only helps whoever comes late; in
     * place, so that a full disk takes it where one was written before. */
    int size = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (pwrite(fd, pid, (size_t)size, 0) == size)
        (void)!ftruncate(fd, size);
    return ARGUS_OK;
}

/* ------------------------------------------------------------ opening */

/* What each schema adds to the one before; never changed, only added to, so
 * that a database of any age becomes the newest. */
static const char *const schema_steps[] = {
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
    "CREATE INDEX address_seq ON address(seq);",

    "CREATE TABLE bundle(key BLOB PRIMARY KEY, value BLOB NOT NULL,"
    " seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE applied(key BLOB PRIMARY KEY, value BLOB NOT NULL,"
    " seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX bundle_seq ON bundle(seq);"
    "CREATE TABLE chunk(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,"
    " at INTEGER NOT NULL, content BLOB NOT NULL);",

    "CREATE TABLE event(key BLOB PRIMARY KEY, value BLOB NOT NULL,"
    " seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX event_seq ON event(seq);",
};
#define SCHEMA_VERSION ((int)(sizeof schema_steps / sizeof schema_steps[0]))

int store_fail(struct store *s, struct argus_error *err, const char *verb)
{
    int code = s->db != NULL ? sqlite3_errcode(s->db) : SQLITE_NOMEM;
    int rc = ARGUS_EIO;

    if (code == SQLITE_FULL ||
        (s->db != NULL && is_full(sqlite3_system_errno(s->db))))
        rc = ARGUS_EFULL;
    else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        rc = ARGUS_ECORRUPT;
    else if (code == SQLITE_NOMEM)
        rc = ARGUS_ENOMEM;
    return argus_fail(err, rc, "%s %s: %s%s", verb, s->path,
                      s->db != NULL ? sqlite3_errmsg(s->db) : "out of memory",
                      rc == ARGUS_EFULL ? ", no space left on the disk" : "");
}

int store_ask_number(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *stmt;
    int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(stmt);
    if (code == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* @return true: the file is whole. Any other answer leaves SQLite's own code in
 * the handle, except for damage that only the check finds. */
static bool is_whole(sqlite3 *db)
{
    sqlite3_stmt *stmt;
    bool whole = false;

    if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt, NULL) !=
        SQLITE_OK)
        return false;
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        const unsigned char *answer = sqlite3_column_text(stmt, 0);
        whole = answer != NULL && strcmp((const char *)answer, "ok") == 0;
    }
    (void)sqlite3_finalize(stmt);
    return whole;
}

/* From what version of the schema the file is to ours, whole or not at all. */
static int upgrade(struct store *s, int from, struct argus_error *err)
{
    char sql[64];

    if (from == SCHEMA_VERSION)
        return ARGUS_OK;
    int code = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    for (int v = from; code == SQLITE_OK && v < SCHEMA_VERSION; v++)
        code = sqlite3_exec(s->db, schema_steps[v], NULL, NULL, NULL);
    (void)snprintf(sql, sizeof sql, "PRAGMA user_version=%d; COMMIT",
                   SCHEMA_VERSION);
    if (code == SQLITE_OK)
        code = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        return ARGUS_OK;
    int rc = store_fail(s, err, from == 0 ? "set up" : "upgrade");
    (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static int check_schema(struct store *s, struct argus_error *err)
{
    int64_t version = 0;

    if (store_ask_number(s->db, "PRAGMA user_version", &version) != SQLITE_OK)
        return store_fail(s, err, "open");
    if (version > SCHEMA_VERSION)
        return argus_fail(err, ARGUS_EINVAL,
                          "%s is of schema %" PRId64 ", this argus knows %d: "
                          "run the newer argus, or move the file away",
                          s->path, version, SCHEMA_VERSION);
    if (version < 0) /* nobody wrote that */
        return argus_fail(err, ARGUS_ECORRUPT, "open %s: schema %" PRId64,
                          s->path, version);
    if (version > 0 && !is_whole(s->db)) {
        int code = sqlite3_errcode(s->db);
        if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW)
            return argus_fail(err, ARGUS_ECORRUPT, "open %s: failed its check",
                              s->path);
        return store_fail(s, err, "check");
    }
    return upgrade(s, (int)version, err);
}

static int prepare(struct store *s, sqlite3_stmt **out, const char *format,
                   const char *table, struct argus_error *err)
{
    char sql[256];

    (void)snprintf(sql, sizeof sql, format, table, table);
    if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out,
                           NULL) != SQLITE_OK)
        return store_fail(s, err, "prepare");
    return ARGUS_OK;
}

static int prepare_table(struct store *s, enum table t, struct argus_error *err)
{
    const char *name = tables[t].name;
    char sql[128];
    int rc = prepare(s, &s->put[t],
                     "INSERT OR REPLACE INTO %s(key,value,seq) VALUES(?,?,?)",
                     name, err);
    if (rc == ARGUS_OK)
        rc = prepare(s, &s->drop[t], "DELETE FROM %s WHERE key=?", name, err);
    if (rc == ARGUS_OK)
        rc = prepare(s, &s->trim[t],
                     "DELETE FROM %s WHERE key IN"
                     " (SELECT key FROM %s ORDER BY seq LIMIT ?)",
                     name, err);
    if (rc != ARGUS_OK)
        return rc;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", name);
    if (store_ask_number(s->db, sql, &s->rows[t]) != SQLITE_OK)
        return store_fail(s, err, "read");
    int64_t seq = 0;
    (void)snprintf(sql, sizeof sql, "SELECT max(seq) FROM %s", name);
    if (store_ask_number(s->db, sql, &seq) != SQLITE_OK)
        return store_fail(s, err, "read");
    if (seq >= s->next_seq)
        s->next_seq = seq + 1;
    return ARGUS_OK;
}

static bool read_number(struct store *s, enum number which, uint64_t *out);

static void close_db(struct store *s)
{
    for (int t = 0; t < TABLE_COUNT; t++) {
        (void)sqlite3_finalize(s->put[t]);
        (void)sqlite3_finalize(s->drop[t]);
        (void)sqlite3_finalize(s->trim[t]);
        s->put[t] = s->drop[t] = s->trim[t] = NULL;
    }
    store_bundles_close(s);
    (void)sqlite3_close(s->db);
    s->db = NULL;
}

static int open_db(struct store *s, struct argus_error *err)
{
    const char *name = s->path[0] != '\0' ? s->path : ":memory:";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int rc = ARGUS_OK;

    if (sqlite3_open_v2(name, &s->db, flags, NULL) != SQLITE_OK) {
        rc = store_fail(s, err, "open");
        goto close;
    }
    /* Nobody else writes: StateDir is locked. A reader with the sqlite3 shell
     * must not stall the loop for long. */
    (void)sqlite3_busy_timeout(s->db, 50);
    if (sqlite3_exec(
            s->db,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            "PRAGMA cache_size=-512; PRAGMA journal_size_limit=1048576",
            NULL, NULL, NULL) != SQLITE_OK) {
        rc = store_fail(s, err, "open");
        goto close;
    }
    rc = check_schema(s, err);
    for (int t = 0; rc == ARGUS_OK && t < TABLE_COUNT; t++)
        rc = prepare_table(s, (enum table)t, err);
    if (rc == ARGUS_OK)
        rc = store_bundles_open(s, err);
    if (rc == ARGUS_OK) {
        (void)read_number(s, NUMBER_HLC, &s->hlc_mark);
        return ARGUS_OK;
    }
close:
    close_db(s);
    return rc;
}

/* Out of the way, journal and all; the error line says where it went. */
static int put_aside(struct store *s, const struct argus_error *why,
                     struct argus_error *err)
{
    static const char *const parts[] = {"-wal", "-shm", ""};
    char from[PATH_SIZE + 8], to[PATH_SIZE + 64];
    int n = 1;

    for (; n <= DAMAGED_MAX; n++) {
        (void)snprintf(to, sizeof to, "%s.damaged-%d", s->path, n);
        if (access(to, F_OK) != 0)
            break;
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        (void)snprintf(from, sizeof from, "%s%s", s->path, parts[i]);
        (void)snprintf(to, sizeof to, "%s.damaged-%d%s", s->path, n, parts[i]);
        if (rename(from, to) != 0 && (errno != ENOENT || parts[i][0] == '\0'))
            return argus_fail_errno(err, "%s; rename to %s", why->text, to);
    }
    log_write(LOG_LEVEL_ERROR,
              "%s. It is kept as %s, this node starts with an empty database",
              why->text, to);
    return ARGUS_OK;
}

int store_open(const char *dir, struct store **out, struct argus_error *err)
{
    struct argus_error why = {{0}};
    struct store *s = calloc(1, sizeof *s);

    if (s == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for the store");
    s->limit = (struct log_limit){.burst = 1, .period_ms = 60000};
    if (dir != NULL && (size_t)snprintf(s->path, sizeof s->path, "%s/argus.db",
                                        dir) >= sizeof s->path - 64) {
        free(s);
        return argus_fail(err, ARGUS_EINVAL, "StateDir is too long: %s", dir);
    }
    int rc = open_db(s, &why);
    if (rc == ARGUS_ECORRUPT) {
        rc = put_aside(s, &why, err);
        if (rc == ARGUS_OK)
            rc = open_db(s, &why);
        else
            why = err != NULL ? *err : why;
    }
    if (rc != ARGUS_OK) {
        free(s);
        return argus_fail(err, rc, "%s", why.text);
    }
    *out = s;
    return ARGUS_OK;
}

/* ------------------------------------------------------------ reading */

/* Read what was put, that which still waits to be written too. */
void store_each(struct store *s, enum table t, store_row row, void *context)
{
    char sql[128];
    sqlite3_stmt *stmt;

    store_flush(s);
    (void)snprintf(sql, sizeof sql, "SELECT key,value FROM %s ORDER BY seq",
                   tables[t].name);
    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        return;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const void *key = sqlite3_column_blob(stmt, 0);
        const void *value = sqlite3_column_blob(stmt, 1);
        int size = sqlite3_column_bytes(stmt, 1);
        if (sqlite3_column_bytes(stmt, 0) != NODE_ID_SIZE || value == NULL)
            continue;
        struct node_id id = node_id_of(key);
        row(context, &id, value, (size_t)size);
    }
    (void)sqlite3_finalize(stmt);
}

void store_each_record(struct store *s, store_row row, void *context)
{
    store_each(s, TABLE_RECORD, row, context);
}

void store_each_report(struct store *s, store_row row, void *context)
{
    store_each(s, TABLE_REPORT, row, context);
}

struct address_row {
    store_row row;
    void *context;
};

/* What is handed on is text for certain, whatever the file holds. */
static void on_address(void *context, const struct node_id *id,
                       const uint8_t *data, size_t size)
{
    const struct address_row *a = context;

    if (size > 0 && memchr(data, '\0', size) == data + size - 1)
        a->row(a->context, id, data, size);
}

void store_each_address(struct store *s, store_row row, void *context)
{
    struct address_row a = {row, context};
    store_each(s, TABLE_ADDRESS, on_address, &a);
}

static struct node_id number_key(enum number which)
{
    struct node_id key = {{0}};
    key.bytes[0] = (uint8_t)which;
    return key;
}

struct wanted {
    struct node_id key;
    uint64_t *out;
    bool found;
};

static void on_number(void *context, const struct node_id *id,
                      const uint8_t *data, size_t size)
{
    struct wanted *w = context;

    if (!node_id_is_equal(id, &w->key) || size != sizeof *w->out)
        return;
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++)
        number = number << 8 | data[i];
    *w->out = number;
    w->found = true;
}

static bool read_number(struct store *s, enum number which, uint64_t *out)
{
    struct wanted w = {number_key(which), out, false};
    store_each(s, TABLE_NUMBER, on_number, &w);
    return w.found;
}

uint64_t store_hlc_mark(struct store *s)
{
    return s->hlc_mark;
}

uint32_t store_epoch(struct store *s)
{
    uint64_t epoch = 0;

    (void)read_number(s, NUMBER_EPOCH, &epoch);
    return epoch <= UINT32_MAX ? (uint32_t)epoch : 0;
}

void store_each_event(struct store *s, store_row row, void *context)
{
    store_each(s, TABLE_EVENT, row, context);
}

/* ------------------------------------------------------------ writing */

static void forget_pending(struct store *s, struct pending *p)
{
    HASH_DEL(s->pending, p);
    free(p);
    s->stats.writes_pending--;
}

void store_put(struct store *s, enum table t, const struct node_id *id,
               const void *data, size_t size)
{
    struct pending_key key;
    struct pending *old, *p = malloc(sizeof *p + size);

    if (p == NULL) {
        s->stats.writes_dropped++;
        return;
    }
    memset(&key, 0, sizeof key);
    key.id = *id;
    key.table = t;
    p->key = key;
    p->size = size;
    if (size > 0)
        memcpy(p->data, data, size);

    HASH_FIND(hh, s->pending, &key, sizeof key, old);
    if (old != NULL)
        forget_pending(s, old);
    else if (s->stats.writes_pending >= STORE_PENDING_MAX) {
        forget_pending(s, s->pending); /* the oldest */
        s->stats.writes_dropped++;
    }
    HASH_ADD(hh, s->pending, key, sizeof p->key, p);
    if (p->hh.tbl == NULL) { /* no memory for the table */
        free(p);
        s->stats.writes_dropped++;
        return;
    }
    s->stats.writes_pending++;
    if (s->stats.writes_pending >= FLUSH_COUNT && s->now_ms >= s->retry_ms)
        store_flush(s);
}

bool store_run(sqlite3_stmt *stmt)
{
    int code = sqlite3_step(stmt);
    (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
    return code == SQLITE_DONE;
}

/* Removing first tells whether the row is new: the bound needs the count. */
static bool write_entry(struct store *s, const struct pending *p,
                        int64_t rows[TABLE_COUNT])
{
    uint32_t t = p->key.table;

    (void)sqlite3_bind_blob(s->drop[t], 1, p->key.id.bytes, NODE_ID_SIZE,
                            SQLITE_STATIC);
    if (!store_run(s->drop[t]))
        return false;
    rows[t] -= sqlite3_changes(s->db);
    if (p->size == 0)
        return true;
    (void)sqlite3_bind_blob(s->put[t], 1, p->key.id.bytes, NODE_ID_SIZE,
                            SQLITE_STATIC);
    (void)sqlite3_bind_blob(s->put[t], 2, p->data, (int)p->size, SQLITE_STATIC);
    (void)sqlite3_bind_int64(s->put[t], 3, s->next_seq++);
    if (!store_run(s->put[t]))
        return false;
    rows[t]++;
    return true;
}

static bool trim_tables(struct store *s, int64_t rows[TABLE_COUNT],
                        uint64_t *dropped)
{
    for (int t = 0; t < TABLE_COUNT; t++) {
        int64_t surplus = rows[t] - tables[t].rows_max;
        if (surplus <= 0)
            continue;
        (void)sqlite3_bind_int64(s->trim[t], 1, surplus);
        if (!store_run(s->trim[t]))
            return false;
        rows[t] -= surplus;
        *dropped += (uint64_t)surplus;
    }
    return true;
}

static bool write_all(struct store *s, int64_t rows[TABLE_COUNT],
                      uint64_t *dropped)
{
    struct pending *p, *next;

    HASH_ITER(hh, s->pending, p, next)
    {
        if (!write_entry(s, p, rows))
            return false;
    }
    return trim_tables(s, rows, dropped);
}

void store_complain(struct store *s)
{
    log_limited(&s->limit, s->now_ms, LOG_LEVEL_ERROR,
                "cannot write %s: %s. %" PRIu64 " changes wait in memory",
                s->path[0] != '\0' ? s->path : "the database in memory",
                sqlite3_errmsg(s->db), s->stats.writes_pending);
    s->stats.writes_failed++;
    s->retry_ms = s->now_ms + STORE_RETRY_MS;
}

static void on_failed(struct store *s)
{
    store_complain(s);
    (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

void store_flush(struct store *s)
{
    int64_t rows[TABLE_COUNT];
    uint64_t dropped = 0;
    struct pending *p, *next;

    if (s->pending == NULL)
        return;
    memcpy(rows, s->rows, sizeof rows);
    if (sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
        !write_all(s, rows, &dropped) ||
        sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
        on_failed(s);
        return;
    }
    memcpy(s->rows, rows, sizeof rows);
    s->stats.rows_dropped += dropped;
    s->stats.writes_done += s->stats.writes_pending;
    HASH_ITER(hh, s->pending, p, next)
    {
        forget_pending(s, p);
    }
}

void store_flush_synced(struct store *s)
{
    (void)sqlite3_exec(s->db, "PRAGMA synchronous=FULL", NULL, NULL, NULL);
    store_flush(s);
    (void)sqlite3_exec(s->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
}

void store_tick(struct store *s, uint64_t now_ms)
{
    if (s->first_ms == 0)
        s->first_ms = now_ms;
    s->now_ms = now_ms;
    if (now_ms >= s->retry_ms)
        store_flush(s);
}

void store_close(struct store *s)
{
    struct pending *p, *next;

    if (s == NULL)
        return;
    store_flush(s);
    s->stats.writes_dropped += s->stats.writes_pending;
    HASH_ITER(hh, s->pending, p, next)
    {
        forget_pending(s, p);
    }
    close_db(s);
    free(s);
}

static void put_number(struct store *s, enum number which, uint64_t number)
{
    struct node_id key = number_key(which);
    uint8_t data[8];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(number >> (56 - 8 * i));
    store_put(s, TABLE_NUMBER, &key, data, sizeof data);
}

/* On disk before anybody hears of it: this one is worth a sync. */
uint32_t store_next_generation(struct store *s, uint64_t now_s)
{
    uint64_t generation = 0;

    /* More than a generation can be was written by nobody: damage. */
    if (read_number(s, NUMBER_GENERATION, &generation) &&
        generation < UINT32_MAX)
        generation++;
    else
        generation = 0;
    if (generation < now_s)
        generation = now_s;
    put_number(s, NUMBER_GENERATION, generation);
    store_flush_synced(s);
    return (uint32_t)generation;
}

uint64_t store_born_ms(struct store *s, uint64_t now_ms)
{
    uint64_t born_ms = 0;

    if (read_number(s, NUMBER_BORN, &born_ms))
        return born_ms;
    put_number(s, NUMBER_BORN, now_ms);
    return now_ms;
}

void store_put_event(struct store *s, const struct node_id *key,
                     const uint8_t *data, size_t size)
{
    store_put(s, TABLE_EVENT, key, data, size);
}

void store_put_generation(struct store *s, uint32_t generation)
{
    put_number(s, NUMBER_GENERATION, generation);
}

void store_put_record(struct store *s, const struct node_id *id,
                      const uint8_t *data, size_t size)
{
    store_put(s, TABLE_RECORD, id, data, size);
}

void store_put_report(struct store *s, const struct node_id *subject,
                      const uint8_t *data, size_t size)
{
    store_put(s, TABLE_REPORT, subject, data, size);
}

void store_put_address(struct store *s, const struct node_id *id,
                       const char *address)
{
    store_put(s, TABLE_ADDRESS, id, address,
              address[0] != '\0' ? strlen(address) + 1 : 0);
}

void store_put_hlc(struct store *s, uint64_t mark)
{
    s->hlc_mark = mark;
    put_number(s, NUMBER_HLC, mark);
}

void store_put_epoch(struct store *s, uint64_t epoch)
{
    put_number(s, NUMBER_EPOCH, epoch);
}

void store_forget(struct store *s, const struct node_id *id)
{
    store_put(s, TABLE_RECORD, id, NULL, 0);
    store_put(s, TABLE_REPORT, id, NULL, 0);
}

const struct store_stats *store_stats(struct store *s)
{
    return &s->stats;
}
