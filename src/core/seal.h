/* seal.h - signing and checking, handed to the core as pure functions.
 *
 * Ed25519 signatures and SHA-256 are calculations, so the core may use them,
 * but not the library that makes them: the owner passes these in (OpenSSL in
 * the daemon, a cheap stand-in where the simulator runs thousands of nodes).
 *
 * A statement is checked once, on first receipt: after the duplicate check by
 * content hash and before anything believes a word of it. */
#ifndef ARGUS_CORE_SEAL_H
#define ARGUS_CORE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/node_id.h"

/** Largest packed Signed; as Gossip.payload in argus.options. */
#define SEALED_SIZE_MAX 6144

/** A broadcast is known by the head of the SHA-256 of its payload. */
#define CONTENT_ID_SIZE 16

/** Statements that may share a signature. */
#define SEAL_BATCH_MAX 16

struct seal_part {
    uint8_t *statement; /* encoded */
    size_t size;
};

struct seal {
    void *context;
    /** Encode, sign with this node's key and pack. @return size, 0: too large.
     */
    size_t (*close)(void *context, const argus_Statement *statement,
                    uint8_t out[SEALED_SIZE_MAX]);
    /** Sign several by one signature; each comes out packed by itself, in
     *  order. NULL: one by one is as cheap. @return false: not signed. */
    bool (*close_all)(void *context, const struct seal_part *parts,
                      uint32_t count,
                      void (*take)(void *taker, uint32_t index,
                                   const uint8_t *data, size_t size),
                      void *taker);
    /** Unpack and check. @return false: damaged or signature wrong. */
    bool (*open)(void *context, const uint8_t *data, size_t size,
                 argus_Statement *statement, struct node_id *author);
    void (*hash)(const uint8_t *data, size_t size,
                 uint8_t out[CONTENT_ID_SIZE]);
    /** The whole of that SHA-256. */
    void (*digest)(const uint8_t *data, size_t size, uint8_t out[32]);
    /** Does the operator's key in it vouch for the manifest, in this cluster?
     */
    bool (*vouches)(void *context, const argus_SignedBundle *bundle);
};

#endif
