#include "runtime/ed25519.h"

#include <openssl/evp.h>

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
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key,
                                                 ED25519_KEY_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = pkey != NULL && ctx != NULL &&
              EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
              EVP_DigestVerify(ctx, signature, ED25519_SIGNATURE_SIZE, data,
                               size) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return ok;
}
