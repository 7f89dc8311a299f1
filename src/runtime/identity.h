/* identity.h - who this node is: an Ed25519 key in StateDir/identity.pem. Its
 * id is the head of the SHA-256 of the public key, so nobody else can sign for
 * it.
 *
 * The file is made once, mode 0600, by fsync and rename: it is there whole or
 * not at all. One thread at a time. */
#ifndef ARGUS_RUNTIME_IDENTITY_H
#define ARGUS_RUNTIME_IDENTITY_H

#include "base/status.h"
#include "core/seal.h"

struct identity;

/**
 * Load the key, or make one.
 * @param dir      StateDir; NULL: keep the key in memory alone.
 * @param cluster  part of every signature; copied.
 * @retval ARGUS_EFULL     no room to store a new key: use dir NULL.
 * @retval ARGUS_ECORRUPT  the file is no Ed25519 key; it is left alone.
 * @retval ARGUS_EIO       cannot read or write; err names the file.
 */
int identity_open(const char *dir, const char *cluster, struct identity **out,
                  struct argus_error *err);
void identity_free(struct identity *identity);

const struct node_id *identity_id(const struct identity *identity);

/** Close and open statements with this key; valid until identity_free(), and
 *  after identity_renew() with the new key. */
struct seal identity_seal(struct identity *identity);

/**
 * Become somebody else: the old file is kept as identity.pem.cloned-<n>. When
 * the disk refuses, the new key lives in memory alone, err says why, and the
 * answer is ARGUS_EIO; the identity has changed all the same.
 * @retval ARGUS_ENOMEM  nothing has changed.
 */
int identity_renew(struct identity *identity, struct argus_error *err);

#define IDENTITY_KEY_SIZE 32
#define IDENTITY_PROOF_SIZE 64

/** Sign that this node is at one side ('D' dialed, 'A' accepted) of the
 *  connection that exported those bytes (see Hello in argus.proto). */
bool identity_prove(const struct identity *identity, char side,
                    const uint8_t exported[32], uint8_t key[IDENTITY_KEY_SIZE],
                    uint8_t proof[IDENTITY_PROOF_SIZE]);

/** Is it the node with that id? */
bool identity_is_proven(const uint8_t id[NODE_ID_SIZE], char side,
                        const uint8_t exported[32],
                        const uint8_t key[IDENTITY_KEY_SIZE],
                        const uint8_t proof[IDENTITY_PROOF_SIZE]);

/** The hash of seal.h: head of the SHA-256. */
void identity_hash(const uint8_t *data, size_t size,
                   uint8_t out[CONTENT_ID_SIZE]);

#endif
