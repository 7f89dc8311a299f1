#include "argus_config.h" /* GNU extensions */

#include "runtime/operator_key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "runtime/ed25519.h"

#define KEY_SIZE ED25519_KEY_SIZE
/** A PEM with an Ed25519 public key is 113 bytes; people add comments. */
#define PEM_SIZE_MAX 16384

static const char purpose[] = "argus-bundle-1"; /* its NUL is signed too */

static int parse(const char *path, const char *pem, int size, uint8_t out[32],
                 struct argus_error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, size);
    EVP_PKEY *key = NULL;
    size_t key_size = KEY_SIZE;
    int rc = ARGUS_OK;

    if (bio != NULL)
        key = PEM_read_bio_PUBKEY(bio, NULL, NULL, (void *)"");
    if (key == NULL && memmem(pem, (size_t)size, "PRIVATE KEY", 11) != NULL)
        rc = argus_fail(err, ARGUS_ECORRUPT,
                        "%s holds a private key: name the public one (.pub), "
                        "the private one belongs to the operator alone",
                        path);
    else if (key == NULL)
        rc = argus_fail(err, ARGUS_ECORRUPT, "%s holds no public key in PEM",
                        path);
    else if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519)
        rc = argus_fail(err, ARGUS_ECORRUPT,
                        "%s holds a key of another kind: an Ed25519 key is "
                        "needed (argusctl keygen operator FILE)",
                        path);
    else if (EVP_PKEY_get_raw_public_key(key, out, &key_size) != 1 ||
             key_size != KEY_SIZE)
        rc = argus_fail(err, ARGUS_ECORRUPT, "%s holds a damaged key", path);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return rc;
}

int operator_key_read(const char *path, uint8_t out[32],
                      struct argus_error *err)
{
    char pem[PEM_SIZE_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return argus_fail_errno(err, "cannot read %s", path);
    ssize_t size = read(fd, pem, sizeof pem);
    int rc = size < 0 ? argus_fail_errno(err, "cannot read %s", path)
                      : parse(path, pem, (int)size, out, err);
    (void)close(fd);
    return rc;
}

bool operator_key_vouches(const argus_SignedBundle *bundle, const char *cluster)
{
    uint8_t text[sizeof purpose + 64 + sizeof bundle->manifest.bytes];
    size_t cluster_size = strnlen(cluster, 63);
    size_t used = sizeof purpose;

    memcpy(text, purpose, sizeof purpose);
    memcpy(text + used, cluster, cluster_size);
    used += cluster_size;
    text[used++] = '\0';
    memcpy(text + used, bundle->manifest.bytes, bundle->manifest.size);
    used += bundle->manifest.size;

    return ed25519_verify(bundle->key, text, used, bundle->signature);
}
