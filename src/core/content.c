#include "core/content.h"

#include <string.h>

#define INDEX_HASHES (CONTENT_CHUNK_SIZE / CONTENT_HASH_SIZE)

uint64_t content_size(const argus_Manifest *manifest)
{
    uint64_t size = 0;

    for (pb_size_t i = 0; i < manifest->files_count; i++)
        size += manifest->files[i].size;
    return size;
}

uint32_t content_chunks(const argus_Manifest *manifest)
{
    uint64_t size = content_size(manifest);

    if (size > CONTENT_SIZE_MAX) /* no index describes it */
        return INDEX_HASHES;
    return (uint32_t)((size + CONTENT_CHUNK_SIZE - 1) / CONTENT_CHUNK_SIZE);
}

bool content_index(const struct chunk_store *store,
                   const argus_Manifest *manifest,
                   uint8_t out[CONTENT_CHUNK_SIZE])
{
    size_t size = store->get(store->context, manifest->index.bytes, out);

    return size > 0 &&
           size == (size_t)content_chunks(manifest) * CONTENT_HASH_SIZE;
}

static bool is_missing(const uint8_t *hash, uint8_t missing[CONTENT_HASH_SIZE])
{
    if (missing != NULL)
        memcpy(missing, hash, CONTENT_HASH_SIZE);
    return false;
}

bool content_is_complete(const struct chunk_store *store,
                         const argus_Manifest *manifest,
                         uint8_t missing[CONTENT_HASH_SIZE])
{
    uint8_t index[CONTENT_CHUNK_SIZE];
    uint32_t chunks = content_chunks(manifest);

    if (chunks == 0)
        return true;
    if (!content_index(store, manifest, index))
        return is_missing(manifest->index.bytes, missing);
    for (uint32_t i = 0; i < chunks; i++) {
        const uint8_t *hash = index + (size_t)i * CONTENT_HASH_SIZE;
        if (!store->has(store->context, hash))
            return is_missing(hash, missing);
    }
    return true;
}

/* Of a chunk in the middle CONTENT_CHUNK_SIZE bytes, of the last one the rest.
 * An operator who signed an index that says otherwise is answered "missing". */
static size_t chunk_size(uint64_t total, uint32_t number)
{
    uint64_t left = total - (uint64_t)number * CONTENT_CHUNK_SIZE;

    return left < CONTENT_CHUNK_SIZE ? (size_t)left : CONTENT_CHUNK_SIZE;
}

size_t content_read(const struct chunk_store *store,
                    const argus_Manifest *manifest, uint64_t offset,
                    uint8_t *out, size_t size)
{
    uint8_t index[CONTENT_CHUNK_SIZE], chunk[CONTENT_CHUNK_SIZE];
    uint64_t total = content_size(manifest);
    size_t done = 0;

    if (total > CONTENT_SIZE_MAX || offset >= total ||
        !content_index(store, manifest, index))
        return 0;
    while (done < size && offset < total) {
        uint32_t number = (uint32_t)(offset / CONTENT_CHUNK_SIZE);
        size_t skip = (size_t)(offset % CONTENT_CHUNK_SIZE);
        size_t whole = chunk_size(total, number), part = whole - skip;
        const uint8_t *hash = index + (size_t)number * CONTENT_HASH_SIZE;

        if (store->get(store->context, hash, chunk) != whole)
            break;
        if (part > size - done)
            part = size - done;
        memcpy(out + done, chunk + skip, part);
        done += part;
        offset += part;
    }
    return done;
}
