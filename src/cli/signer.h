/* signer.h - keys that people make; an operator's private key, read and used to
 * sign. It never leaves this process. */
#ifndef ARGUS_CLI_SIGNER_H
#define ARGUS_CLI_SIGNER_H

#include <stdbool.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/status.h"

#define SIGNER_KEY_SIZE 32
/** 16 hex digits, the head of the SHA-256 of a public key, and a NUL. */
#define FINGERPRINT_SIZE 17

struct signer; /* opaque */

void fingerprint_of(const uint8_t key[SIGNER_KEY_SIZE],
                    char out[FINGERPRINT_SIZE]);

/**
 * Make a key pair: path (private, mode 0600) and path.pub. Neither may be there
 * before; on failure neither is left behind.
 * @retval ARGUS_EBUSY  one of them is there; err names it.
 * @retval ARGUS_EIO, ARGUS_ENOMEM
 */
int signer_make(const char *path, char fingerprint[FINGERPRINT_SIZE],
                struct argus_error *err);

/** 16 hex digits, the head of a hash of the key, and a NUL. */
#define MESH_KEY_NAME_SIZE 17

/**
 * Make a keyring with one key of a mesh, mode 0600 (see runtime/keyring.h).
 * @param id  names the key and says nothing about it.
 * @retval ARGUS_EBUSY  the file is there. ARGUS_EIO, ARGUS_ENOMEM
 */
int signer_make_mesh(const char *path, char id[MESH_KEY_NAME_SIZE],
                     struct argus_error *err);

/**
 * Read a keyring that holds one key and no other.
 * @param is_exposed  others than its owner and its group may read the file.
 * @retval ARGUS_EIO       cannot read; err names the file.
 * @retval ARGUS_ECORRUPT  it is no such file; err says why.
 */
int signer_read_mesh(const char *path, uint8_t out[SIGNER_KEY_SIZE],
                     char id[MESH_KEY_NAME_SIZE], bool *is_exposed,
                     struct argus_error *err);

/**
 * Read a private key.
 * @param is_exposed  others than its owner may read the file.
 * @retval ARGUS_EIO       cannot read; err names the file.
 * @retval ARGUS_ECORRUPT  no Ed25519 private key in PEM; err says what it is.
 */
int signer_open(const char *path, struct signer **out, bool *is_exposed,
                struct argus_error *err);
void signer_close(struct signer *signer);

/** Fill in key and signature for the manifest in it. */
int signer_sign(const struct signer *signer, const char *cluster,
                argus_SignedBundle *bundle, struct argus_error *err);

/**
 * Pack a manifest and sign it; hash is that of what was signed.
 * @retval ARGUS_ETOOLARGE  it does not fit in a SignedBundle.
 */
int signer_seal(const struct signer *signer, const char *cluster,
                const argus_Manifest *manifest, argus_SignedBundle *bundle,
                uint8_t hash[32], struct argus_error *err);

/** Does the key in it vouch for the manifest, in that cluster? */
bool signer_vouches(const argus_SignedBundle *bundle, const char *cluster);

/** The public key of it. */
int signer_key(const struct signer *signer, uint8_t out[SIGNER_KEY_SIZE]);

/** SHA-256. */
void signer_digest(const void *data, size_t size, uint8_t out[32]);

#endif
