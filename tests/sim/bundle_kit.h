/* bundle_kit.h - operators, bundles and chunk stores for tests: cheap
 * stand-ins for Ed25519, SHA-256 and SQLite. Operator n's key is 32 times n. */
#ifndef ARGUS_TESTS_BUNDLE_KIT_H
#define ARGUS_TESTS_BUNDLE_KIT_H

#include "core/content.h"
#include "core/seal.h"

/** For struct seal; the first 16 bytes are those of the simulator's hash. */
void kit_digest(const uint8_t *data, size_t size, uint8_t out[32]);
bool kit_vouches(void *context, const argus_SignedBundle *bundle);

/** Operators 1 to 4, for engine_options.trusted_keys. */
extern const uint8_t kit_keys[4][32];

/* Chunks in memory. Tables of one pool share the bytes, so that a thousand
 * nodes may hold the same mebibyte. */
struct kit_pool;
struct kit_chunks {
    struct kit_pool *pool;
    struct kit_chunk *table;
    uint32_t count;
    bool is_full; /* put answers false */
};

struct kit_pool *kit_pool_new(void);
/** After its tables were cleared. */
void kit_pool_free(struct kit_pool *pool);
void kit_chunks_clear(struct kit_chunks *chunks);
struct chunk_store kit_store(struct kit_chunks *chunks);

struct kit_spec {
    uint8_t operator_number; /* 1 to 255; 0: 1 */
    const char *name;
    uint32_t version;
    const uint8_t *before; /* NULL: none */
    const char *target;    /* NULL: "*" */
    uint32_t size;         /* of the text; 0: a removal */
    uint32_t file_size;    /* of a file "data"; 0: none */
    uint64_t seed;         /* of what is in them */
    uint64_t expires_ms;
};

/** Make and sign; the content goes into `chunks` (NULL: nowhere). */
void kit_make(const struct kit_spec *spec, struct kit_chunks *chunks,
              argus_SignedBundle *out);

/** An order of an operator; before NULL: none. */
void kit_order(uint8_t operator_number, const argus_Order *order,
               uint32_t version, const uint8_t *before,
               argus_SignedBundle *out);

/** What an operator's key is known by. */
void kit_operator_id(uint8_t operator_number, uint8_t out[16]);

/** Sign what out->manifest holds. */
void kit_sign(uint8_t operator_number, argus_SignedBundle *out);
void kit_pack(const argus_Manifest *manifest, argus_SignedBundle *out);

#endif
