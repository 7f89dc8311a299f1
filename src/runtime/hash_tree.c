#include "runtime/hash_tree.h"

#include <string.h>

#include "runtime/identity.h"

void hash_tree_leaf(const uint8_t *data, size_t size,
                    uint8_t out[HASH_TREE_HASH])
{
    identity_hash(data, size, out);
}

static void join(const uint8_t left[HASH_TREE_HASH],
                 const uint8_t right[HASH_TREE_HASH],
                 uint8_t out[HASH_TREE_HASH])
{
    uint8_t text[1 + 2 * HASH_TREE_HASH] = {1};

    memcpy(text + 1, left, HASH_TREE_HASH);
    memcpy(text + 1 + HASH_TREE_HASH, right, HASH_TREE_HASH);
    identity_hash(text, sizeof text, out);
}

void hash_tree_build(struct hash_tree *t,
                     const uint8_t (*leaves)[HASH_TREE_HASH], uint32_t count)
{
    t->levels = 0;
    while (1u << t->levels < count)
        t->levels++;
    uint32_t first = 1u << t->levels;
    memset(t->nodes[first], 0, first * HASH_TREE_HASH);
    memcpy(t->nodes[first], leaves, count * HASH_TREE_HASH);
    for (uint32_t i = first; i-- > 1;)
        join(t->nodes[2 * i], t->nodes[2 * i + 1], t->nodes[i]);
}

size_t hash_tree_path(const struct hash_tree *t, uint32_t place,
                      uint8_t out[HASH_TREE_LEVELS * HASH_TREE_HASH])
{
    uint32_t node = (1u << t->levels) + place;
    size_t size = 0;

    for (; node > 1; node /= 2, size += HASH_TREE_HASH)
        memcpy(out + size, t->nodes[node ^ 1], HASH_TREE_HASH);
    return size;
}

bool hash_tree_climb(const uint8_t leaf[HASH_TREE_HASH], const uint8_t *path,
                     size_t size, uint32_t place, uint8_t root[HASH_TREE_HASH])
{
    size_t levels = size / HASH_TREE_HASH;

    if (size % HASH_TREE_HASH != 0 || levels > HASH_TREE_LEVELS ||
        place >> levels != 0)
        return false;
    memcpy(root, leaf, HASH_TREE_HASH);
    for (size_t i = 0; i < levels; i++, path += HASH_TREE_HASH) {
        if (place >> i & 1)
            join(path, root, root);
        else
            join(root, path, root);
    }
    return true;
}
