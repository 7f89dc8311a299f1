#include "sim/bundle_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pb_encode.h>
#include <uthash.h>

#include "base/prng.h"
#include "core/orders.h"
#include "sim/sim_hash.h"

#define KEY(n)                                                                 \
    {                                                                          \
        n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n,   \
            n, n, n, n, n, n, n, n, n                                          \
    }
const uint8_t kit_keys[4][32] = {KEY(1), KEY(2), KEY(3), KEY(4)};

/* ---------------------------------------------------------- operators */

void kit_digest(const uint8_t *data, size_t size, uint8_t out[32])
{
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t part = sim_hash64(data, size, i + 1);
        memcpy(out + 8 * i, &part, 8);
    }
}

static uint64_t signature(const argus_SignedBundle *b)
{
    return sim_hash64(b->manifest.bytes, b->manifest.size,
                      sim_hash64(b->key, sizeof b->key, 5));
}

bool kit_vouches(void *context, const argus_SignedBundle *bundle)
{
    uint64_t sum;

    (void)context;
    memcpy(&sum, bundle->signature, sizeof sum);
    return sum == signature(bundle);
}

void kit_sign(uint8_t operator_number, argus_SignedBundle *out)
{
    memset(out->key, operator_number, sizeof out->key);
    memset(out->signature, 0, sizeof out->signature);
    uint64_t sum = signature(out);
    memcpy(out->signature, &sum, sizeof sum);
}

void kit_pack(const argus_Manifest *manifest, argus_SignedBundle *out)
{
    pb_ostream_t stream =
        pb_ostream_from_buffer(out->manifest.bytes, sizeof out->manifest.bytes);

    if (!pb_encode(&stream, argus_Manifest_fields, manifest))
        abort();
    out->manifest.size = (pb_size_t)stream.bytes_written;
}

/* ------------------------------------------------------------- chunks */

struct blob {
    uint8_t hash[CONTENT_HASH_SIZE];
    uint32_t references, size;
    UT_hash_handle hh;
    uint8_t data[];
};

struct kit_pool {
    struct blob *blobs;
};

struct kit_chunk {
    uint8_t hash[CONTENT_HASH_SIZE];
    struct blob *blob;
    UT_hash_handle hh;
};

struct kit_pool *kit_pool_new(void)
{
    return calloc(1, sizeof(struct kit_pool));
}

void kit_pool_free(struct kit_pool *pool)
{
    if (pool != NULL && pool->blobs != NULL)
        abort(); /* a table was not cleared */
    free(pool);
}

static struct kit_chunk *find(struct kit_chunks *chunks, const uint8_t *hash)
{
    struct kit_chunk *c;
    HASH_FIND(hh, chunks->table, hash, CONTENT_HASH_SIZE, c);
    return c;
}

static bool has(void *context, const uint8_t hash[CONTENT_HASH_SIZE])
{
    return find(context, hash) != NULL;
}

static size_t get(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                  uint8_t out[CONTENT_CHUNK_SIZE])
{
    const struct kit_chunk *c = find(context, hash);

    if (c == NULL)
        return 0;
    memcpy(out, c->blob->data, c->blob->size);
    return c->blob->size;
}

static struct blob *share(struct kit_pool *pool, const uint8_t *hash,
                          const uint8_t *data, size_t size)
{
    struct blob *b;

    HASH_FIND(hh, pool->blobs, hash, CONTENT_HASH_SIZE, b);
    if (b == NULL) {
        b = calloc(1, sizeof *b + size);
        if (b == NULL)
            abort();
        memcpy(b->hash, hash, CONTENT_HASH_SIZE);
        memcpy(b->data, data, size);
        b->size = (uint32_t)size;
        HASH_ADD(hh, pool->blobs, hash, CONTENT_HASH_SIZE, b);
    }
    b->references++;
    return b;
}

static bool put(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                const uint8_t *data, size_t size)
{
    struct kit_chunks *chunks = context;

    if (chunks->is_full)
        return false;
    if (find(chunks, hash) != NULL)
        return true;
    struct kit_chunk *c = calloc(1, sizeof *c);
    if (c == NULL)
        abort();
    memcpy(c->hash, hash, CONTENT_HASH_SIZE);
    c->blob = share(chunks->pool, hash, data, size);
    HASH_ADD(hh, chunks->table, hash, CONTENT_HASH_SIZE, c);
    chunks->count++;
    return true;
}

static void drop(void *context, const uint8_t hash[CONTENT_HASH_SIZE])
{
    struct kit_chunks *chunks = context;
    struct kit_chunk *c = find(chunks, hash);

    if (c == NULL)
        return;
    if (--c->blob->references == 0) {
        HASH_DELETE(hh, chunks->pool->blobs, c->blob);
        free(c->blob);
    }
    HASH_DELETE(hh, chunks->table, c);
    free(c);
    chunks->count--;
}

void kit_chunks_clear(struct kit_chunks *chunks)
{
    while (chunks->table != NULL)
        drop(chunks, chunks->table->hash);
}

struct chunk_store kit_store(struct kit_chunks *chunks)
{
    return (struct chunk_store){
        .context = chunks, .has = has, .get = get, .put = put, .drop = drop};
}

/* ------------------------------------------------------------- bundles */

static void store_content(const uint8_t *content, size_t size,
                          struct kit_chunks *chunks, uint8_t index_hash[32])
{
    static uint8_t index[CONTENT_CHUNK_SIZE];
    size_t used = 0;

    for (size_t at = 0; at < size; at += CONTENT_CHUNK_SIZE) {
        size_t part =
            size - at < CONTENT_CHUNK_SIZE ? size - at : CONTENT_CHUNK_SIZE;
        kit_digest(content + at, part, index + used);
        if (chunks != NULL)
            (void)put(chunks, index + used, content + at, part);
        used += CONTENT_HASH_SIZE;
    }
    kit_digest(index, used, index_hash);
    if (chunks != NULL)
        (void)put(chunks, index_hash, index, used);
}

static void add_file(argus_Manifest *m, const char *name, const uint8_t *data,
                     uint32_t size)
{
    argus_BundleFile *f = &m->files[m->files_count++];

    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->size = size;
    kit_digest(data, size, f->sha256);
}

static void fill_content(const struct kit_spec *spec, argus_Manifest *m,
                         struct kit_chunks *chunks)
{
    size_t size = (size_t)spec->size + spec->file_size;
    uint8_t *content = malloc(size + 8);
    struct prng prng;

    if (content == NULL)
        abort();
    prng_seed(&prng, spec->seed);
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = prng_next(&prng);
        memcpy(content + at, &word, 8);
    }
    add_file(m, "", content, spec->size);
    if (spec->file_size > 0)
        add_file(m, "data", content + spec->size, spec->file_size);
    store_content(content, size, chunks, m->index.bytes);
    m->index.size = CONTENT_HASH_SIZE;
    free(content);
}

void kit_make(const struct kit_spec *spec, struct kit_chunks *chunks,
              argus_SignedBundle *out)
{
    argus_Manifest m = argus_Manifest_init_zero;

    (void)snprintf(m.name, sizeof m.name, "%s", spec->name);
    m.version = spec->version;
    if (spec->before != NULL) {
        m.before.size = CONTENT_HASH_SIZE;
        memcpy(m.before.bytes, spec->before, CONTENT_HASH_SIZE);
    }
    m.created_ms = spec->seed; /* so that two removals may differ */
    m.expires_ms = spec->expires_ms;
    m.removed = spec->size == 0;
    if (!m.removed) {
        (void)snprintf(m.target, sizeof m.target, "%s",
                       spec->target != NULL ? spec->target : "*");
        fill_content(spec, &m, chunks);
    }
    kit_pack(&m, out);
    kit_sign(spec->operator_number == 0 ? 1 : spec->operator_number, out);
}

void kit_order(uint8_t operator_number, const argus_Order *order,
               uint32_t version, const uint8_t *before, argus_SignedBundle *out)
{
    argus_Manifest m = argus_Manifest_init_zero;
    enum order_kind kind = order_kind_of_body(order);

    (void)snprintf(m.name, sizeof m.name, "%s", order_name(kind));
    m.version = version;
    if (before != NULL) {
        m.before.size = CONTENT_HASH_SIZE;
        memcpy(m.before.bytes, before, CONTENT_HASH_SIZE);
    }
    m.has_order = true;
    m.order = *order;
    kit_pack(&m, out);
    kit_sign(operator_number, out);
}

void kit_operator_id(uint8_t operator_number, uint8_t out[16])
{
    uint8_t key[32], hash[32];

    memset(key, operator_number, sizeof key);
    kit_digest(key, sizeof key, hash);
    memcpy(out, hash, 16);
}
