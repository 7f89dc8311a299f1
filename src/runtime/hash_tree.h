/* hash_tree.h - one signature for several statements.
 *
 * Source: R. Merkle, "A Certified Digital Signature" (CRYPTO 1989). The leaves
 * are the heads of SHA-256 of what would be signed one by one, a node is that
 * of a byte 1 and its two children; what is signed is the root. With the hashes
 * beside its way up (the path) each statement is checked by itself, and whoever
 * has checked the root once need not do so for the others. Missing leaves, up
 * to a power of two, are zero.
 *
 * Heads of 16 bytes: another statement for a path is as hard to find as a key.
 * Whoever signs can find two that share one; he could as well sign both. */
#ifndef ARGUS_RUNTIME_HASH_TREE_H
#define ARGUS_RUNTIME_HASH_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_TREE_HASH 16
#define HASH_TREE_LEVELS 4 /* as Signed.path in argus.options */
#define HASH_TREE_LEAVES (1 << HASH_TREE_LEVELS)

struct hash_tree {
    uint32_t levels;
    uint8_t nodes[2 * HASH_TREE_LEAVES][HASH_TREE_HASH]; /* root: 1 */
};

void hash_tree_leaf(const uint8_t *data, size_t size,
                    uint8_t out[HASH_TREE_HASH]);

/** @param count  1..HASH_TREE_LEAVES */
void hash_tree_build(struct hash_tree *t,
                     const uint8_t (*leaves)[HASH_TREE_HASH], uint32_t count);
/** @return its size; 0 for a tree of one leaf, which is the root. */
size_t hash_tree_path(const struct hash_tree *t, uint32_t place,
                      uint8_t out[HASH_TREE_LEVELS * HASH_TREE_HASH]);

/** The root that a leaf and its path lead to.
 *  @return false: no such path or place. */
bool hash_tree_climb(const uint8_t leaf[HASH_TREE_HASH], const uint8_t *path,
                     size_t size, uint32_t place, uint8_t root[HASH_TREE_HASH]);

#endif
