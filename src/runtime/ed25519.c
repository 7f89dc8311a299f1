#include "runtime/ed25519.h"

#include <openssl/evp.h>
#include <sodium.h>

bool ed25519_sign(EVP_PKEY *key, const uint8_t *data, size_t size,
                  uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    size_t signature_size = ED25519_SIGNATURE_SIZE;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok =
        ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
        EVP_DigestSign(ctx, signature, &signature_size, data, size) == 1 &&
        signature_size == ED25519_SIGNATURE_SIZE;

    EVP_MD_CTX_free(ctx);
    return ok;
}

bool ed25519_verify(const uint8_t key[ED25519_KEY_SIZE], const uint8_t *data,
                    size_t size,
                    const uint8_t signature[ED25519_SIGNATURE_SIZE])
{
    return sodium_init() >= 0 &&
           crypto_sign_verify_detached(signature, data, size, key) == 0;
}
