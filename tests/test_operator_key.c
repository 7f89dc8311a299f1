/* Keys of operators: what is read from disk, and what they vouch for. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "folder.h"
#include "runtime/operator_key.h"

static char dir[256], path[300];

static void write_pem(const char *name, EVP_PKEY *key, bool is_private)
{
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    int ok = is_private
                 ? PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL)
                 : PEM_write_PUBKEY(file, key);
    CU_ASSERT_EQUAL(ok, 1);
    (void)fclose(file);
}

static void raw_key(EVP_PKEY *key, uint8_t out[32])
{
    size_t size = 32;
    CU_ASSERT_EQUAL(EVP_PKEY_get_raw_public_key(key, out, &size), 1);
}

/* Goal: the public half of an Ed25519 key is read; every other file is refused
 * with a text that names it and says what it is. */
static void test_key_is_read_or_named(void)
{
    struct argus_error err = {{0}};
    uint8_t wanted[32], found[32];
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_PKEY *other = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");

    folder_make(dir);
    raw_key(key, wanted);
    write_pem("key.pub", key, false);
    CU_ASSERT_EQUAL(operator_key_read(path, found, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(memcmp(found, wanted, sizeof found), 0);

    write_pem("key", key, true);
    CU_ASSERT_EQUAL(operator_key_read(path, found, &err), ARGUS_ECORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "private key"));
    write_pem("other.pub", other, false);
    CU_ASSERT_EQUAL(operator_key_read(path, found, &err), ARGUS_ECORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "Ed25519"));
    CU_ASSERT_TRUE(file_write(dir, "other.pub", "\0\xff junk", 8));
    CU_ASSERT_EQUAL(operator_key_read(path, found, &err), ARGUS_ECORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, path));
    CU_ASSERT_TRUE(file_write(dir, "other.pub", "", 0));
    CU_ASSERT_EQUAL(operator_key_read(path, found, &err), ARGUS_ECORRUPT);
    CU_ASSERT_EQUAL(operator_key_read("/nowhere/key", found, &err), ARGUS_EIO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nowhere/key"));
    CU_ASSERT_EQUAL(operator_key_read(dir, found, &err), ARGUS_EIO);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    folder_remove(dir);
}

/* As seal.h and argus.proto say it, by hand. */
static void sign(EVP_PKEY *key, const char *cluster, argus_SignedBundle *b)
{
    uint8_t text[8192] = "argus-bundle-1";
    size_t used = sizeof "argus-bundle-1", size = sizeof b->signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    memcpy(text + used, cluster, strlen(cluster) + 1);
    used += strlen(cluster) + 1;
    memcpy(text + used, b->manifest.bytes, b->manifest.size);
    used += b->manifest.size;
    CU_ASSERT_EQUAL(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key), 1);
    CU_ASSERT_EQUAL(EVP_DigestSign(ctx, b->signature, &size, text, used), 1);
    EVP_MD_CTX_free(ctx);
}

/* Goal: a signature holds for that manifest, key and cluster, and no other. */
static void test_key_vouches_for_what_was_signed(void)
{
    static argus_SignedBundle b;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    memset(&b, 0, sizeof b);
    raw_key(key, b.key);
    b.manifest.size = sizeof b.manifest.bytes; /* the longest */
    memset(b.manifest.bytes, 'm', b.manifest.size);
    sign(key, "default", &b);
    CU_ASSERT_TRUE(operator_key_vouches(&b, "default"));
    CU_ASSERT_FALSE(operator_key_vouches(&b, "defaul"));
    CU_ASSERT_FALSE(operator_key_vouches(&b, "other"));
    b.manifest.bytes[100] ^= 1;
    CU_ASSERT_FALSE(operator_key_vouches(&b, "default"));
    b.manifest.bytes[100] ^= 1;
    b.signature[3] ^= 1;
    CU_ASSERT_FALSE(operator_key_vouches(&b, "default"));
    b.signature[3] ^= 1;
    b.key[0] ^= 1;
    CU_ASSERT_FALSE(operator_key_vouches(&b, "default"));
    b.key[0] ^= 1;
    b.manifest.size--;
    CU_ASSERT_FALSE(operator_key_vouches(&b, "default"));
    memset(&b, 0, sizeof b);
    CU_ASSERT_FALSE(operator_key_vouches(&b, "default"));
    EVP_PKEY_free(key);
}

CU_TestInfo suite_operator_key[] = {
    {"is_read_or_named", test_key_is_read_or_named},
    {"vouches_for_what_was_signed", test_key_vouches_for_what_was_signed},
    CU_TEST_INFO_NULL,
};
