#include "runtime/keyring.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "runtime/file.h"

/** Room for eight keys and a page of comments. */
#define FILE_SIZE_MAX 8192
/** 32 bytes in base64, and what EVP_DecodeBlock() makes of them. */
#define KEY_TEXT_SIZE 44
#define KEY_DECODED_SIZE 33

#define NONCE_SIZE 12
#define TAG_SIZE 16

_Static_assert(MESH_KEY_SEALED_SIZE == NONCE_SIZE + MESH_KEY_SIZE + TAG_SIZE,
               "a sealed key is a nonce, the key and a tag");

/* ------------------------------------------------------------- its id */

void mesh_key_of(const uint8_t secret[MESH_KEY_SIZE], struct mesh_key *out)
{
    static const char purpose[] = "argus-mesh-key"; /* its NUL counts */
    uint8_t text[sizeof purpose + MESH_KEY_SIZE], hash[EVP_MAX_MD_SIZE];

    memcpy(text, purpose, sizeof purpose);
    memcpy(text + sizeof purpose, secret, MESH_KEY_SIZE);
    memset(hash, 0, sizeof hash); /* no SHA-256: keys are then all alike */
    (void)EVP_Digest(text, sizeof text, hash, NULL, EVP_sha256(), NULL);
    OPENSSL_cleanse(text, sizeof text);
    memcpy(out->id, hash, MESH_KEY_ID_SIZE);
    memmove(out->secret, secret, MESH_KEY_SIZE);
}

void mesh_key_id_format(const uint8_t id[MESH_KEY_ID_SIZE],
                        char out[MESH_KEY_ID_TEXT_SIZE])
{
    for (unsigned i = 0; i < MESH_KEY_ID_SIZE; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", id[i]);
}

const struct mesh_key *keyring_find(const struct keyring *ring,
                                    const uint8_t id[MESH_KEY_ID_SIZE])
{
    for (unsigned i = 0; i < ring->count; i++)
        if (memcmp(ring->keys[i].id, id, MESH_KEY_ID_SIZE) == 0)
            return &ring->keys[i];
    return NULL;
}

/* ------------------------------------------------------------- the file */

static bool decode_key(const char *text, struct mesh_key *out)
{
    uint8_t decoded[KEY_DECODED_SIZE];
    int size = EVP_DecodeBlock(decoded, (const uint8_t *)text, KEY_TEXT_SIZE);
    bool ok = size == KEY_DECODED_SIZE && text[KEY_TEXT_SIZE - 1] == '=' &&
              text[KEY_TEXT_SIZE - 2] != '=';

    if (ok)
        mesh_key_of(decoded, out);
    OPENSSL_cleanse(decoded, sizeof decoded);
    return ok;
}

/* One line, without its end. The text of an error must not show a key. */
static int parse_line(const char *line, size_t size, const char *where,
                      unsigned number, struct keyring *ring,
                      struct argus_error *err)
{
    const char *comment = memchr(line, '#', size);
    struct mesh_key key;

    if (comment != NULL)
        size = (size_t)(comment - line);
    while (size > 0 && strchr(" \t\r", line[size - 1]) != NULL)
        size--;
    while (size > 0 && strchr(" \t", line[0]) != NULL) {
        line++;
        size--;
    }
    if (size == 0)
        return ARGUS_OK;
    if (size != KEY_TEXT_SIZE || !decode_key(line, &key))
        return argus_fail(err, ARGUS_ECORRUPT,
                          "line %u of %s is no key: %d bytes in base64, as "
                          "`argusctl keygen mesh FILE` makes them",
                          number, where, MESH_KEY_SIZE);
    if (keyring_find(ring, key.id) != NULL)
        return argus_fail(err, ARGUS_ECORRUPT,
                          "line %u of %s holds a key that stands above already",
                          number, where);
    if (ring->count == KEYRING_MAX)
        return argus_fail(err, ARGUS_ECORRUPT,
                          "line %u of %s is one key too many: a keyring holds "
                          "at most %d",
                          number, where, KEYRING_MAX);
    ring->keys[ring->count++] = key;
    OPENSSL_cleanse(&key, sizeof key);
    return ARGUS_OK;
}

int keyring_parse(const char *text, size_t size, const char *where,
                  struct keyring *out, struct argus_error *err)
{
    struct keyring ring = {.count = 0};
    int rc = ARGUS_OK;

    for (unsigned number = 1; size > 0 && rc == ARGUS_OK; number++) {
        const char *end = memchr(text, '\n', size);
        size_t line = end != NULL ? (size_t)(end - text) : size;

        rc = parse_line(text, line, where, number, &ring, err);
        line += end != NULL;
        text += line;
        size -= line;
    }
    if (rc == ARGUS_OK && ring.count == 0)
        rc = argus_fail(err, ARGUS_ECORRUPT,
                        "%s holds no key: `argusctl keygen mesh FILE` makes "
                        "one",
                        where);
    if (rc == ARGUS_OK)
        *out = ring;
    OPENSSL_cleanse(&ring, sizeof ring);
    return rc;
}

static int read_checked(int fd, const char *path, struct keyring *out,
                        struct argus_error *err)
{
    char text[FILE_SIZE_MAX + 1];
    struct stat st;

    if (fstat(fd, &st) != 0)
        return argus_fail_errno(err, "cannot read %s", path);
    if (!S_ISREG(st.st_mode))
        return argus_fail(err, ARGUS_ECORRUPT, "%s is no regular file", path);
    if ((st.st_mode & 0007) != 0)
        return argus_fail(err, ARGUS_EDENIED,
                          "%s may be read or written by everyone (mode %03o): "
                          "chmod 600 it",
                          path, (unsigned)st.st_mode & 0777);
    ssize_t size = read(fd, text, sizeof text);
    int rc = ARGUS_OK;
    if (size < 0)
        rc = argus_fail_errno(err, "cannot read %s", path);
    else if (size > FILE_SIZE_MAX)
        rc = argus_fail(err, ARGUS_ECORRUPT,
                        "%s is larger than %d bytes: that is no keyring", path,
                        FILE_SIZE_MAX);
    else
        rc = keyring_parse(text, (size_t)size, path, out, err);
    OPENSSL_cleanse(text, sizeof text);
    return rc;
}

int keyring_read(const char *path, struct keyring *out, struct argus_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return argus_fail_errno(err, "cannot read %s", path);
    int rc = read_checked(fd, path, out, err);
    (void)close(fd);
    return rc;
}

int keyring_write(const char *path, const struct keyring *ring,
                  struct argus_error *err)
{
    char text[KEYRING_MAX * (KEY_TEXT_SIZE + 1) + 128];
    char line[KEY_TEXT_SIZE + 1];
    struct stat st;
    size_t used = (size_t)snprintf(
        text, sizeof text,
        "# Keyring of argus: the first key dials, all are accepted.\n");

    for (unsigned i = 0; i < ring->count; i++) {
        (void)EVP_EncodeBlock((uint8_t *)line, ring->keys[i].secret,
                              MESH_KEY_SIZE);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\n", line);
    }
    bool is_there = stat(path, &st) == 0;
    int rc = file_replace(path, text, used, is_there ? &st : NULL, err);
    OPENSSL_cleanse(text, sizeof text);
    OPENSSL_cleanse(line, sizeof line);
    return rc;
}

/* ---------------------------------------------------- a key that travels */

static bool derive(const struct mesh_key *by, uint8_t out[MESH_KEY_SIZE])
{
    static char info[] = "argus-wrap-1", digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(
            OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)by->secret, MESH_KEY_SIZE),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info,
                                          sizeof info - 1),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    bool ok =
        ctx != NULL && EVP_KDF_derive(ctx, out, MESH_KEY_SIZE, params) > 0;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok;
}

static bool seal(const uint8_t key[MESH_KEY_SIZE], const struct mesh_key *what,
                 uint8_t out[MESH_KEY_SEALED_SIZE])
{
    uint8_t *nonce = out, *text = out + NONCE_SIZE;
    uint8_t *tag = text + MESH_KEY_SIZE;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int size = 0, more = 0;
    bool ok =
        ctx != NULL && RAND_bytes(nonce, NONCE_SIZE) == 1 &&
        EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
        EVP_EncryptUpdate(ctx, NULL, &size, what->id, MESH_KEY_ID_SIZE) == 1 &&
        EVP_EncryptUpdate(ctx, text, &size, what->secret, MESH_KEY_SIZE) == 1 &&
        size == MESH_KEY_SIZE && EVP_EncryptFinal_ex(ctx, tag, &more) == 1 &&
        more == 0 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, tag) == 1;

    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

static bool unseal(const uint8_t key[MESH_KEY_SIZE],
                   const argus_WrappedKey *wrapped, uint8_t out[MESH_KEY_SIZE])
{
    const uint8_t *nonce = wrapped->sealed, *text = nonce + NONCE_SIZE;
    uint8_t tag[TAG_SIZE];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int size = 0, more = 0;

    memcpy(tag, text + MESH_KEY_SIZE, TAG_SIZE);
    bool ok =
        ctx != NULL &&
        EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
        EVP_DecryptUpdate(ctx, NULL, &size, wrapped->id, MESH_KEY_ID_SIZE) ==
            1 &&
        EVP_DecryptUpdate(ctx, out, &size, text, MESH_KEY_SIZE) == 1 &&
        size == MESH_KEY_SIZE &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) == 1 &&
        EVP_DecryptFinal_ex(ctx, out + size, &more) == 1 && more == 0;

    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

int keyring_wrap(const struct keyring *ring, const struct mesh_key *key,
                 argus_WrappedKey *out)
{
    uint8_t derived[MESH_KEY_SIZE];
    bool ok = ring->count > 0 && derive(&ring->keys[0], derived) &&
              seal(derived, key, out->sealed);

    OPENSSL_cleanse(derived, sizeof derived);
    if (!ok)
        return ARGUS_EIO;
    memcpy(out->id, key->id, MESH_KEY_ID_SIZE);
    memcpy(out->by, ring->keys[0].id, MESH_KEY_ID_SIZE);
    return ARGUS_OK;
}

/* The id is the key's hash: a seal that opens to another key is no use. */
static bool unwrap(const struct keyring *ring, const argus_WrappedKey *wrapped,
                   struct mesh_key *out)
{
    const struct mesh_key *by = keyring_find(ring, wrapped->by);
    uint8_t derived[MESH_KEY_SIZE], secret[MESH_KEY_SIZE];

    if (by == NULL)
        return false;
    bool ok = derive(by, derived) && unseal(derived, wrapped, secret);
    if (ok)
        mesh_key_of(secret, out);
    OPENSSL_cleanse(derived, sizeof derived);
    OPENSSL_cleanse(secret, sizeof secret);
    return ok && memcmp(out->id, wrapped->id, MESH_KEY_ID_SIZE) == 0;
}

/* ---------------------------------------------------------------- orders */

static bool is_removed(const argus_KeyringOrder *order,
                       const uint8_t id[MESH_KEY_ID_SIZE])
{
    for (pb_size_t i = 0; i < order->removed_count; i++)
        if (memcmp(order->removed[i], id, MESH_KEY_ID_SIZE) == 0)
            return true;
    return false;
}

static void add_keys(struct keyring *ring, const argus_KeyringOrder *order,
                     struct keyring_change *change)
{
    for (pb_size_t i = 0; i < order->added_count; i++) {
        const argus_WrappedKey *wrapped = &order->added[i];
        struct mesh_key key;

        if (keyring_find(ring, wrapped->id) != NULL ||
            is_removed(order, wrapped->id))
            continue;
        if (ring->count == KEYRING_MAX) {
            change->no_room++;
        } else if (!unwrap(ring, wrapped, &key)) {
            change->unknown++;
        } else {
            ring->keys[ring->count++] = key;
            change->has_changed = true;
        }
        OPENSSL_cleanse(&key, sizeof key);
    }
}

static void dial_with(struct keyring *ring, const uint8_t id[MESH_KEY_ID_SIZE],
                      struct keyring_change *change)
{
    const struct mesh_key *found = keyring_find(ring, id);

    change->dial_unknown = found == NULL;
    if (found == NULL || found == &ring->keys[0])
        return;
    struct mesh_key key = *found;
    size_t before = (size_t)(found - ring->keys);
    memmove(&ring->keys[1], &ring->keys[0], before * sizeof key);
    ring->keys[0] = key;
    change->has_changed = true;
    OPENSSL_cleanse(&key, sizeof key);
}

static void remove_keys(struct keyring *ring, const argus_KeyringOrder *order,
                        struct keyring_change *change)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < ring->count; i++)
        if (!is_removed(order, ring->keys[i].id))
            ring->keys[kept++] = ring->keys[i];
    change->is_last_kept = kept == 0;
    if (kept == 0)
        kept = 1; /* the first is still in its place */
    change->has_changed |= kept != ring->count;
    OPENSSL_cleanse(&ring->keys[kept],
                    (KEYRING_MAX - kept) * sizeof ring->keys[0]);
    ring->count = kept;
}

struct keyring_change keyring_obey(struct keyring *ring,
                                   const argus_KeyringOrder *order)
{
    struct keyring_change change = {0};

    add_keys(ring, order, &change);
    if (order->dial.size == MESH_KEY_ID_SIZE)
        dial_with(ring, order->dial.bytes, &change);
    remove_keys(ring, order, &change);
    return change;
}
