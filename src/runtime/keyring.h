/* keyring.h - the keys of a mesh: 32 random bytes that every node has.
 *
 * A keyring is a file: one key a line in base64, the first is used to dial, all
 * are accepted; "#" begins a comment. A key is named by its id, which says
 * nothing about it. Rotation rewrites the file: with a new key added
 * everywhere, then used everywhere, then the old one removed, no two nodes are
 * ever without a key in common.
 *
 * A key that travels through the mesh is sealed by another one: AES-256-GCM
 * under a key derived by HKDF-SHA256 (RFC 5869). No thread, no global state. */
#ifndef ARGUS_RUNTIME_KEYRING_H
#define ARGUS_RUNTIME_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/status.h"

#define KEYRING_MAX 8 /* as NodeRecord.keys in argus.options */
#define MESH_KEY_SIZE 32
#define MESH_KEY_ID_SIZE 8
#define MESH_KEY_ID_TEXT_SIZE (2 * MESH_KEY_ID_SIZE + 1)
#define MESH_KEY_SEALED_SIZE 60

struct mesh_key {
    uint8_t id[MESH_KEY_ID_SIZE]; /* head of SHA-256 of a purpose and secret */
    uint8_t secret[MESH_KEY_SIZE];
};

struct keyring {
    struct mesh_key keys[KEYRING_MAX]; /* the first dials */
    unsigned count;
};

/** Fill in the id of a secret. */
void mesh_key_of(const uint8_t secret[MESH_KEY_SIZE], struct mesh_key *out);

/** 16 lower-case hex digits. */
void mesh_key_id_format(const uint8_t id[MESH_KEY_ID_SIZE],
                        char out[MESH_KEY_ID_TEXT_SIZE]);

/**
 * Parse the text of a keyring.
 * @param where  for the text of an error, such as the path.
 * @retval ARGUS_ECORRUPT  as keyring_read().
 */
int keyring_parse(const char *text, size_t size, const char *where,
                  struct keyring *out, struct argus_error *err);

/**
 * Read a keyring (KeyFile).
 * @retval ARGUS_EIO       cannot read; err names the file.
 * @retval ARGUS_EDENIED   others than its owner and its group may read it.
 * @retval ARGUS_ECORRUPT  a line is no key, a key comes twice, there is none or
 *                         there are too many; err names the line.
 */
int keyring_read(const char *path, struct keyring *out,
                 struct argus_error *err);

/** Replace the file by fsync and rename; it keeps owner and mode (where that is
 *  allowed), its comments are lost.
 *  @retval ARGUS_EIO, ARGUS_EFULL  the old file is as it was. */
int keyring_write(const char *path, const struct keyring *ring,
                  struct argus_error *err);

/** NULL: not held. */
const struct mesh_key *keyring_find(const struct keyring *ring,
                                    const uint8_t id[MESH_KEY_ID_SIZE]);

/** Seal a key with the one that dials. @retval ARGUS_EIO  no randomness. */
int keyring_wrap(const struct keyring *ring, const struct mesh_key *key,
                 argus_WrappedKey *out);

/** What became of an order; see keyring_obey(). */
struct keyring_change {
    bool has_changed;
    unsigned unknown;  /* keys that none held here can open */
    unsigned no_room;  /* the ring is full */
    bool dial_unknown; /* the key to dial with is not held */
    bool is_last_kept; /* all were to be removed: one stays */
};

/** Add, use and remove what the order says. What is held stays unless it says
 *  so, and the ring never becomes empty. */
struct keyring_change keyring_obey(struct keyring *ring,
                                   const argus_KeyringOrder *order);

#endif
