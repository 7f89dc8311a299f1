/* content.h - what a bundle holds, as chunks that are known by their hash.
 *
 * The files of a manifest lie one behind the other, cut into chunks of
 * CONTENT_CHUNK_SIZE bytes; the index is the SHA-256 of each chunk, one behind
 * the other, and is a chunk itself. So two versions share what they have in
 * common, and nothing that a neighbor sends is believed before its hash is. */
#ifndef ARGUS_CORE_CONTENT_H
#define ARGUS_CORE_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "argus.pb.h"

#define CONTENT_HASH_SIZE 32
#define CONTENT_CHUNK_SIZE 32768
/** An index is one chunk: so many hashes fit. */
#define CONTENT_SIZE_MAX                                                       \
    ((uint64_t)CONTENT_CHUNK_SIZE / CONTENT_HASH_SIZE * CONTENT_CHUNK_SIZE)

/* Where chunks are kept: SQLite in the daemon, a table in the simulator. The
 * functions are called from within the core's own calls and must not call back;
 * the same calls give the same answers. */
struct chunk_store {
    void *context;
    bool (*has)(void *context, const uint8_t hash[CONTENT_HASH_SIZE]);
    /** Checked against the hash. @return bytes written to out; 0: not here, or
     *  damaged. */
    size_t (*get)(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                  uint8_t out[CONTENT_CHUNK_SIZE]);
    /** The hash has been checked. @return false: no room. */
    bool (*put)(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                const uint8_t *data, size_t size);
    void (*drop)(void *context, const uint8_t hash[CONTENT_HASH_SIZE]);
};

/** Bytes of all files together. */
uint64_t content_size(const argus_Manifest *manifest);
uint32_t content_chunks(const argus_Manifest *manifest);

/** The index. @return false: not here, damaged, or not of this content's size.
 */
bool content_index(const struct chunk_store *store,
                   const argus_Manifest *manifest,
                   uint8_t out[CONTENT_CHUNK_SIZE]);

/** Is every chunk here, the index among them? The first that is not is written
 *  to missing (may be NULL). */
bool content_is_complete(const struct chunk_store *store,
                         const argus_Manifest *manifest,
                         uint8_t missing[CONTENT_HASH_SIZE]);

/**
 * Read a stretch of the content.
 * @return bytes written, at most size; 0: at the end, or a chunk is missing.
 */
size_t content_read(const struct chunk_store *store,
                    const argus_Manifest *manifest, uint64_t offset,
                    uint8_t *out, size_t size);

#endif
