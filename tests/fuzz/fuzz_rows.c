/* fuzz_rows.c - what lies on disk and may not be what was put there: rows of
 * the database as the store gives them back to the engine, a database that is
 * damaged, the node's own key, keys of operators.
 *
 * Input: a byte that picks, then rows, each a byte and its arguments; or the
 * bytes of a file. */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <pb_decode.h>
#include <pb_encode.h>
#include <sqlite3.h>

#include "core/manifest.h"
#include "core/orders.h"
#include "fuzz_world.h"
#include "runtime/identity.h"
#include "runtime/keyring.h"
#include "runtime/operator_key.h"
#include "runtime/store.h"
#include "sim/bundle_kit.h"

#define ROWS_MAX 100

static struct world w;

/* ------------------------------------------------------- into the engine */

static void on_record(void *context, const struct node_id *id,
                      const uint8_t *data, size_t size)
{
    struct event event = {.type = EVENT_RECORD,
                          .record = {*id, data, (uint32_t)size}};
    (void)context;
    world_step(&w, &event);
}

static void on_address(void *context, const struct node_id *id,
                       const uint8_t *data, size_t size)
{
    struct event event = {.type = EVENT_ADDRESS,
                          .address = {*id, (const char *)data}};
    (void)context;
    assert(size > 0 && data[size - 1] == '\0');
    world_step(&w, &event);
}

static void on_bundle(void *context, const struct node_id *id,
                      const uint8_t *data, size_t size)
{
    struct event event = {.type = EVENT_BUNDLE_ROW,
                          .bundle_row = {data, (uint32_t)size}};
    (void)context;
    (void)id;
    world_step(&w, &event);
}

static void on_event(void *context, const struct node_id *key,
                     const uint8_t *data, size_t size)
{
    struct event event = {.type = EVENT_EVENT_ROW,
                          .event_row = {data, (uint32_t)size}};
    (void)context;
    (void)key;
    world_step(&w, &event);
}

static void on_applied(void *context, const char *name,
                       const struct store_applied *applied)
{
    (void)context;
    (void)applied;
    assert(strlen(name) < 64);
}

/* What was read is checked before it is handed on: somebody asks for events. */
static void hand_on(void)
{
    static argus_Frame frame;

    world_link_up(&w, 1, 3, argus_LinkKind_LINK_SYNC, 0);
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_digest_tag;
    frame.body.digest.last = true;
    memset(frame.body.digest.to, 0xff, NODE_ID_SIZE);
    world_frame(&w, 1, &frame);
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_event_digest_tag;
    frame.body.event_digest.retain = 1;
    frame.body.event_digest.has_from = true;
    frame.body.event_digest.ranges_count = 1;
    world_frame(&w, 1, &frame);
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_event_want_tag;
    frame.body.event_want.keys_count = 1;
    frame.body.event_want.keys[0] = w.event_key;
    world_frame(&w, 1, &frame);
}

static void begin_life(void)
{
    struct event start = {.type = EVENT_START};

    world_step(&w, &start);
    world_pass(&w, 5000);
    hand_on();
    world_ask(&w, "self");
    world_close(&w);
}

/* A value: as it is, or signed by somebody, so that it is believed. */
static const uint8_t *value_of(struct fuzz_input *in, uint8_t flags,
                               size_t *size)
{
    static uint8_t packed[SEALED_SIZE_MAX + 64];
    static argus_Signed sealed;
    struct node_id author = world_id(flags >> 4);
    struct fuzz_input part = fuzz_part(in);

    if ((flags & 1) == 0 || part.size > sizeof sealed.statement.bytes) {
        *size = part.size;
        return part.data;
    }
    /* field 1: key, 2: signature, 3: statement, as the schema has it */
    uint8_t *at = packed;
    *at++ = 0x0a;
    *at++ = 32;
    memset(at, 0, 32);
    memcpy(at, author.bytes, NODE_ID_SIZE);
    at += 32;
    *at++ = 0x12;
    *at++ = 64;
    memset(at, 0, 64);
    at += 64;
    *at++ = 0x1a;
    *at++ = (uint8_t)(0x80 | (part.size & 0x7f));
    *at++ = (uint8_t)(part.size >> 7);
    if (part.size > 0)
        memcpy(at, part.data, part.size);
    *size = (size_t)(at - packed) + part.size;
    return packed;
}

/* A row of an event begins with a checksum; see engine_events.c. */
static void try_event(const struct node_id *author, const uint8_t *value,
                      size_t size, bool is_sound)
{
    static uint8_t row[8 + NODE_ID_SIZE + 8 + sizeof(argus_Signed)];
    uint8_t hash[32];

    memset(row, 0, 32);
    memcpy(row + 8, author->bytes, NODE_ID_SIZE);
    if (size > sizeof row - 32)
        size = sizeof row - 32;
    if (size > 0)
        memcpy(row + 32, value, size);
    kit_digest(row + 8, 24 + size, hash);
    memcpy(row, hash, is_sound ? 8 : 7);
    on_event(NULL, author, row, 32 + size);
}

static void try_rows(struct fuzz_input *in)
{
    world_open(&w, fuzz_u8(in), 0);
    for (int i = 0; in->size > 0 && i < ROWS_MAX; i++) {
        uint8_t flags = fuzz_u8(in);
        struct node_id id = world_id(flags >> 4);
        char text[2000];
        size_t size;

        if ((flags & 6) == 6) {
            fuzz_text(in, text, sizeof text);
            on_address(NULL, &id, (const uint8_t *)text, strlen(text) + 1);
            continue;
        }
        const uint8_t *value = value_of(in, flags, &size);
        if ((flags & 10) == 10)
            try_event(&id, value, size, (flags >> 4) % 4 != 3);
        else if ((flags & 2) != 0)
            on_bundle(NULL, &id, value, size);
        else
            on_record(NULL, &id, value, size);
    }
    begin_life();
}

/* ---------------------------------------------------------- the database */

static const char *const tables[] = {"record", "report",  "address", "number",
                                     "bundle", "applied", "event"};
#define TABLES (sizeof tables / sizeof tables[0])

static void remove_database(void)
{
    static const char *const names[] = {"argus.db",
                                        "argus.db-wal",
                                        "argus.db-shm",
                                        "argus.db.damaged-1",
                                        "argus.db.damaged-1-wal",
                                        "argus.db.damaged-1-shm"};
    char path[256];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", fuzz_folder(), names[i]);
        (void)unlink(path);
    }
}

/* An empty one of ours; a copy of it begins each run. */
static const uint8_t *empty_database(size_t *size)
{
    static uint8_t *bytes;
    static size_t bytes_size;
    struct store *s;
    char path[256];

    if (bytes == NULL) {
        remove_database();
        if (store_open(fuzz_folder(), &s, NULL) != ARGUS_OK)
            abort();
        store_close(s);
        (void)snprintf(path, sizeof path, "%s/argus.db", fuzz_folder());
        FILE *file = fopen(path, "rb");
        bytes = malloc(1 << 20);
        if (file == NULL || bytes == NULL)
            abort();
        bytes_size = fread(bytes, 1, 1 << 20, file);
        (void)fclose(file);
    }
    *size = bytes_size;
    return bytes;
}

static void lay_out_database(void)
{
    size_t size;
    const uint8_t *bytes = empty_database(&size);
    char path[256];

    remove_database();
    fuzz_write_file("argus.db", bytes, size, path);
}

/* Keys of any size, values of any type. */
static void insert(sqlite3 *db, struct fuzz_input *in, int64_t seq)
{
    uint8_t flags = fuzz_u8(in);
    struct node_id id = world_id(flags >> 4);
    char sql[128];
    sqlite3_stmt *stmt;
    size_t size;

    (void)snprintf(sql, sizeof sql,
                   "INSERT OR REPLACE INTO %s(key,value,seq) VALUES(?,?,?)",
                   tables[fuzz_u8(in) % TABLES]);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        abort();
    const uint8_t *value = value_of(in, flags, &size);
    if ((flags & 2) != 0)
        id = (struct node_id){{(uint8_t)(flags >> 4)}};
    (void)sqlite3_bind_blob(stmt, 1, id.bytes,
                            flags & 4 ? flags >> 4 : NODE_ID_SIZE,
                            SQLITE_STATIC);
    if ((flags & 8) != 0)
        (void)sqlite3_bind_int64(stmt, 2, (int64_t)size);
    else
        (void)sqlite3_bind_blob(stmt, 2, value, (int)size, SQLITE_STATIC);
    (void)sqlite3_bind_int64(stmt, 3, seq);
    (void)sqlite3_step(stmt);
    (void)sqlite3_finalize(stmt);
}

/* @param hash  of it, or of something else: what is asked for later. */
static void insert_chunk(sqlite3 *db, struct fuzz_input *in, bool is_sound,
                         uint8_t hash[CONTENT_HASH_SIZE])
{
    struct fuzz_input part = fuzz_part(in);
    sqlite3_stmt *stmt;

    if (sqlite3_prepare_v2(db,
                           "INSERT OR REPLACE INTO chunk(key,at,content,id)"
                           " VALUES(?,1,?,1)",
                           -1, &stmt, NULL) != SQLITE_OK)
        abort();
    if (is_sound &&
        EVP_Digest(part.data, part.size, hash, NULL, EVP_sha256(), NULL) != 1)
        abort();
    (void)sqlite3_bind_blob(stmt, 1, hash, CONTENT_HASH_SIZE, SQLITE_STATIC);
    (void)sqlite3_bind_blob(stmt, 2, part.data, (int)part.size, SQLITE_STATIC);
    (void)sqlite3_step(stmt);
    (void)sqlite3_finalize(stmt);
}

static bool is_nothing(void *context, const uint8_t hash[CONTENT_HASH_SIZE])
{
    (void)context;
    (void)hash;
    return false;
}

/* What runtime.c and carry.c do with it at a start. */
static void live_on(struct store *s, uint8_t flavor,
                    const uint8_t hash[CONTENT_HASH_SIZE])
{
    static uint8_t chunk[CONTENT_CHUNK_SIZE];
    struct chunk_store chunks = store_chunks(s);

    assert(store_next_generation(s, 1000) >= 1000);
    assert(store_born_ms(s, 1) > 0 || flavor > 0);
    (void)store_hlc_mark(s);
    (void)store_epoch(s);
    world_open(&w, flavor, 0);
    store_each_record(s, on_record, NULL);
    store_each_report(s, on_record, NULL);
    store_each_address(s, on_address, NULL);
    store_each_event(s, on_event, NULL);
    store_each_bundle(s, on_bundle, NULL);
    store_each_applied(s, on_applied, NULL);
    (void)chunks.has(chunks.context, hash);
    size_t size = chunks.get(chunks.context, hash, chunk);
    assert(size <= sizeof chunk);
    store_tick(s, 1000);
    store_tick(s, 2 * (uint64_t)STORE_CHUNK_KEEP_MS);
    store_sweep_chunks(s, is_nothing, NULL);
    begin_life();
    store_close(s);
}

static void try_database(struct fuzz_input *in)
{
    char path[256];
    sqlite3 *db;
    struct store *s;
    uint8_t flavor = fuzz_u8(in);
    uint8_t hash[CONTENT_HASH_SIZE] = {1};

    lay_out_database();
    (void)snprintf(path, sizeof path, "%s/argus.db", fuzz_folder());
    if (sqlite3_open(path, &db) != SQLITE_OK)
        abort();
    (void)sqlite3_exec(db, "PRAGMA synchronous=OFF; BEGIN", NULL, NULL, NULL);
    if ((flavor & 16) != 0)
        insert_chunk(db, in, (flavor & 32) != 0, hash);
    for (int i = 0; in->size > 0 && i < ROWS_MAX; i++)
        insert(db, in, i);
    (void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    (void)sqlite3_close(db);
    int rc = store_open(fuzz_folder(), &s, NULL);
    assert(rc == ARGUS_OK && "rows do not damage a database");
    live_on(s, flavor, hash);
}

/* Bytes of it are others. */
static void try_damage(struct fuzz_input *in)
{
    struct argus_error err = {{0}};
    struct store *s;
    size_t size;
    char path[256];
    uint8_t flavor = fuzz_u8(in);
    const uint8_t *empty = empty_database(&size);
    uint8_t *bytes = malloc(size);

    if (bytes == NULL)
        abort();
    memcpy(bytes, empty, size);
    for (int i = 0; in->size > 0 && i < ROWS_MAX; i++) {
        uint16_t at = fuzz_u16(in);
        bytes[at % (flavor & 32 ? size : 100)] = fuzz_u8(in);
    }
    lay_out_database();
    fuzz_write_file("argus.db", bytes, flavor & 64 ? size / 2 : size, path);
    free(bytes);
    if (store_open(fuzz_folder(), &s, &err) == ARGUS_OK)
        live_on(s, flavor, (const uint8_t[CONTENT_HASH_SIZE]){1});
    else
        assert(err.text[0] != '\0');
}

/* ------------------------------------------------------------------ files */

/* Several under one signature: each holds by itself, where it stands. */
struct batch {
    struct seal seal;
    struct node_id author;
};

static void open_part(void *context, uint32_t index, const uint8_t *data,
                      size_t size)
{
    static argus_Statement back;
    const struct batch *b = context;
    uint8_t packed[SEALED_SIZE_MAX];
    struct node_id author;

    assert(size > 0);
    bool is_sound = b->seal.open(b->seal.context, data, size, &back, &author) &&
                    node_id_is_equal(&author, &b->author) &&
                    back.body.report.generation == index + 1;
    assert(is_sound);
    memcpy(packed, data, size);
    packed[size - 1 - index % 8] ^= 1; /* of its path, or its place */
    assert(!b->seal.open(b->seal.context, packed, size, &back, &author));
}

static void try_batch(const struct identity *identity, struct seal seal,
                      uint32_t count)
{
    static uint8_t statements[SEAL_BATCH_MAX][64];
    struct batch b = {seal, *identity_id(identity)};
    struct seal_part parts[SEAL_BATCH_MAX];

    for (uint32_t i = 0; i < count; i++) {
        static argus_Statement s;
        pb_ostream_t out =
            pb_ostream_from_buffer(statements[i], sizeof statements[i]);
        s.which_body = argus_Statement_report_tag;
        s.body.report.generation = i + 1;
        if (!pb_encode(&out, argus_Statement_fields, &s))
            abort();
        parts[i] = (struct seal_part){statements[i], out.bytes_written};
    }
    bool is_closed = seal.close_all(seal.context, parts, count, open_part, &b);
    assert(is_closed);
}

static void try_identity(struct fuzz_input *in)
{
    static argus_Statement statement, back;
    struct argus_error err = {{0}};
    struct identity *identity;
    struct node_id author;
    uint8_t packed[SEALED_SIZE_MAX];
    char path[256];

    fuzz_write_file("identity.pem", in->data, in->size, path);
    if (identity_open(fuzz_folder(), "default", &identity, &err) != ARGUS_OK) {
        assert(err.text[0] != '\0');
        return;
    }
    struct seal seal = identity_seal(identity);
    memset(&statement, 0, sizeof statement);
    statement.which_body = argus_Statement_report_tag;
    size_t size = seal.close(seal.context, &statement, packed);
    assert(size > 0);
    bool is_sound = seal.open(seal.context, packed, size, &back, &author);
    assert(is_sound && node_id_is_equal(&author, identity_id(identity)));
    packed[size - 1] ^= 1;
    assert(!seal.open(seal.context, packed, size, &back, &author));
    try_batch(identity, seal, 1 + (uint32_t)(in->size % SEAL_BATCH_MAX));
    identity_free(identity);
}

static void try_operator_key(struct fuzz_input *in)
{
    struct argus_error err = {{0}};
    uint8_t key[32];
    char path[256];

    fuzz_write_file("operator.pub", in->data, in->size, path);
    if (operator_key_read(path, key, &err) != ARGUS_OK)
        assert(err.text[0] != '\0');
}

/* What was read is written, and read again the same. */
static void try_keyring(struct fuzz_input *in)
{
    static struct keyring ring, again;
    struct argus_error err = {{0}};
    char path[256];

    fuzz_write_file("mesh.key", in->data, in->size, path);
    if (keyring_read(path, &ring, &err) != ARGUS_OK) {
        assert(err.text[0] != '\0');
        return;
    }
    assert(ring.count >= 1 && ring.count <= KEYRING_MAX);
    for (unsigned i = 0; i < ring.count; i++)
        assert(keyring_find(&ring, ring.keys[i].id) == &ring.keys[i]);
    int rc = keyring_write(path, &ring, &err);
    assert(rc == ARGUS_OK);
    rc = keyring_read(path, &again, &err);
    assert(rc == ARGUS_OK && again.count == ring.count);
    assert(memcmp(&again, &ring, sizeof ring) == 0);
}

/* An order of keys: its bytes in front of the file. */
static void try_order(struct fuzz_input *in)
{
    static argus_KeyringOrder order;
    static struct keyring ring;
    struct fuzz_input part = fuzz_part(in);
    pb_istream_t stream = pb_istream_from_buffer(part.data, part.size);
    struct mesh_key key;
    uint8_t secret[MESH_KEY_SIZE] = {0};

    if (!pb_decode(&stream, argus_KeyringOrder_fields, &order))
        return;
    memset(&ring, 0, sizeof ring);
    ring.count = 1 + fuzz_u8(in) % KEYRING_MAX;
    for (unsigned i = 0; i < ring.count; i++) {
        secret[0] = (uint8_t)(i + 1);
        mesh_key_of(secret, &ring.keys[i]);
    }
    secret[0] = 200;
    mesh_key_of(secret, &key);
    uint8_t flags = fuzz_u8(in); /* what it says of keys that are here */
    if ((flags & 1) != 0 && order.added_count > 0)
        (void)keyring_wrap(&ring, &key, &order.added[0]);
    if ((flags & 2) != 0 && order.removed_count > 0)
        memcpy(order.removed[0],
               flags & 8 ? key.id : ring.keys[flags >> 4 & 1].id,
               MESH_KEY_ID_SIZE);
    if ((flags & 4) != 0) {
        order.dial.size = MESH_KEY_ID_SIZE;
        memcpy(order.dial.bytes, ring.keys[ring.count - 1].id,
               MESH_KEY_ID_SIZE);
    }
    (void)keyring_obey(&ring, &order);
    assert(ring.count >= 1 && ring.count <= KEYRING_MAX);
    for (unsigned i = 0; i < ring.count; i++)
        assert(keyring_find(&ring, ring.keys[i].id) == &ring.keys[i]);
}

static void order_is_sound(const argus_Order *o)
{
    if (o->which_body != argus_Order_keys_tag)
        return;
    const argus_KeyringOrder *keys = &o->body.keys;
    for (pb_size_t i = 0; i < keys->removed_count; i++)
        assert(!order_adds(keys, keys->removed[i]));
    for (pb_size_t i = 0; i < keys->added_count; i++)
        assert(!order_removes(keys, keys->added[i].id));
    assert(keys->dial.size == 0 || !order_removes(keys, keys->dial.bytes));
}

/* An order of an operator, in the manifest that carries it. */
static void try_manifest(struct fuzz_input *in)
{
    static argus_Manifest m, opened;
    static argus_SignedBundle bundle;
    struct argus_error err = {{0}};
    uint8_t flags = fuzz_u8(in);
    pb_istream_t order = pb_istream_from_buffer(in->data, in->size);
    pb_ostream_t out = pb_ostream_from_buffer(bundle.manifest.bytes,
                                              sizeof bundle.manifest.bytes);

    memset(&m, 0, sizeof m);
    if (!pb_decode(&order, argus_Order_fields, &m.order))
        return;
    (void)snprintf(m.name, sizeof m.name, "%s",
                   order_name((enum order_kind)(flags % ORDER_KINDS)));
    m.has_order = (flags & 8) == 0;
    m.version = 1;
    m.removed = (flags & 16) != 0;
    if (!pb_encode(&out, argus_Manifest_fields, &m))
        return;
    bundle.manifest.size = (pb_size_t)out.bytes_written;
    if (manifest_open(&bundle, &opened, &err) != ARGUS_OK) {
        assert(err.text[0] != '\0');
        return;
    }
    assert(opened.has_order && order_kind_of(opened.name) != ORDER_NONE);
    order_is_sound(&opened.order);
}

FUZZ_TARGET(rows)
{
    static void (*const tries[])(struct fuzz_input *) = {
        try_rows,   try_rows,     try_rows,         try_database,
        try_damage, try_identity, try_operator_key, try_keyring,
        try_order,  try_manifest};
    struct fuzz_input in = {data, size};

    fuzz_quiet();
    tries[fuzz_u8(&in) % 10](&in);
    return 0;
}
