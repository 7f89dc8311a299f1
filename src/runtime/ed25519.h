/* ed25519.h - signatures of bytes (RFC 8032). Keys are OpenSSL's, and it signs;
 * to verify, which each node does with each message, libsodium takes about half
 * the time. */
#ifndef ARGUS_RUNTIME_ED25519_H
#define ARGUS_RUNTIME_ED25519_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#define ED25519_KEY_SIZE 32
#define ED25519_SIGNATURE_SIZE 64

/** @return false: no memory. */
bool ed25519_sign(EVP_PKEY *key, const uint8_t *data, size_t size,
                  uint8_t signature[ED25519_SIGNATURE_SIZE]);

/** false: wrong, or no memory. */
bool ed25519_verify(const uint8_t key[ED25519_KEY_SIZE], const uint8_t *data,
                    size_t size,
                    const uint8_t signature[ED25519_SIGNATURE_SIZE]);

#endif
