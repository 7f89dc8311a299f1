/* operator_key.h - the keys of operators: Ed25519, PEM. */
#ifndef ARGUS_RUNTIME_OPERATOR_KEY_H
#define ARGUS_RUNTIME_OPERATOR_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/status.h"

/**
 * Read a public key (TrustedKey).
 * @retval ARGUS_EIO       cannot read; err names the file.
 * @retval ARGUS_ECORRUPT  no Ed25519 public key in PEM; err says so.
 */
int operator_key_read(const char *path, uint8_t out[32],
                      struct argus_error *err);

/** Does the key in it vouch for the manifest, in that cluster? */
bool operator_key_vouches(const argus_SignedBundle *bundle,
                          const char *cluster);

#endif
