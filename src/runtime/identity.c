#include "runtime/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "runtime/operator_key.h"

#define KEY_SIZE 32
#define SIGNATURE_SIZE 64
#define HASH_SIZE 32
/** A PEM with an Ed25519 key is 119 bytes; more is no key of ours. */
#define PEM_SIZE_MAX 4096
/** Old identities kept; beyond, the last name is used again. */
#define CLONED_MAX 1000

static const char purpose[] = "argus-statement-1"; /* its NUL is signed too */

struct identity {
    EVP_PKEY *key;
    uint8_t public_key[KEY_SIZE];
    struct node_id id;
    char path[1100]; /* empty: in memory alone */
    uint8_t text[sizeof purpose + 64 + sizeof(((argus_Signed *)0)->statement)];
    size_t prefix; /* bytes of text before the statement */
    argus_Signed scratch;
};

/* Fails only without memory or without SHA-256; a hash that is then the same
 * for all makes everything a duplicate: quiet, not wrong. */
static void digest(const uint8_t *data, size_t size, uint8_t out[HASH_SIZE])
{
    if (EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL) != 1)
        memset(out, 0, HASH_SIZE);
}

void identity_hash(const uint8_t *data, size_t size,
                   uint8_t out[CONTENT_ID_SIZE])
{
    uint8_t full[HASH_SIZE];

    digest(data, size, full);
    memcpy(out, full, CONTENT_ID_SIZE);
}

/* ------------------------------------------------------------ the key */

static int adopt(struct identity *identity, EVP_PKEY *key)
{
    size_t size = KEY_SIZE;

    if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(key, identity->public_key, &size) != 1 ||
        size != KEY_SIZE)
        return ARGUS_ECORRUPT;
    EVP_PKEY_free(identity->key);
    identity->key = key;
    identity_hash(identity->public_key, KEY_SIZE, identity->id.bytes);
    return ARGUS_OK;
}

static int write_error(struct argus_error *err, const char *verb,
                       const char *path)
{
    bool is_full = errno == ENOSPC || errno == EDQUOT;

    (void)argus_fail_errno(err, "%s %s", verb, path);
    return is_full ? ARGUS_EFULL : ARGUS_EIO;
}

static int sync_folder(const char *path)
{
    char folder[1100];

    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return 0;
    slash[slash == folder] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    (void)close(fd);
    return rc;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return fsync(fd);
}

/* Beside the target, then renamed over it: whole or not at all. */
static int write_file(const char *path, const char *data, size_t size,
                      struct argus_error *err)
{
    char fresh[1110];
    int rc;

    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    (void)unlink(fresh); /* left by a crash; O_EXCL keeps links out */
    int fd =
        open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return write_error(err, "create", fresh);
    if (write_all(fd, data, size) != 0) {
        rc = write_error(err, "write", fresh);
        goto close_fd;
    }
    if (rename(fresh, path) != 0) {
        rc = write_error(err, "rename to", path);
        goto close_fd;
    }
    (void)close(fd);
    if (sync_folder(path) != 0)
        return write_error(err, "sync the folder of", path);
    return ARGUS_OK;

close_fd:
    (void)close(fd);
    (void)unlink(fresh);
    return rc;
}

static int store_key(EVP_PKEY *key, const char *path, struct argus_error *err)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *pem = NULL;
    int rc;

    if (bio == NULL ||
        PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
        rc = argus_fail(err, ARGUS_ENOMEM, "no memory for the key");
        goto free_bio;
    }
    long size = BIO_get_mem_data(bio, &pem);
    rc = write_file(path, pem, (size_t)size, err);

free_bio:
    BIO_free(bio);
    return rc;
}

static int load_key(struct identity *identity, int fd, struct argus_error *err)
{
    char pem[PEM_SIZE_MAX];
    EVP_PKEY *key = NULL;
    ssize_t size = read(fd, pem, sizeof pem);
    int rc = ARGUS_ECORRUPT;

    if (size < 0)
        return argus_fail_errno(err, "read %s", identity->path);
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    if (bio != NULL)
        key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
    if (key != NULL)
        rc = adopt(identity, key);
    if (rc != ARGUS_OK) {
        EVP_PKEY_free(key);
        (void)argus_fail(
            err, rc,
            "%s holds no Ed25519 key: restore it, or remove it and "
            "this node starts under a new id",
            identity->path);
    }
    BIO_free(bio);
    OPENSSL_cleanse(pem, sizeof pem);
    return rc;
}

static int make_key(struct identity *identity, struct argus_error *err)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    int rc = ARGUS_OK;

    if (key == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "cannot make an Ed25519 key");
    if (identity->path[0] != '\0')
        rc = store_key(key, identity->path, err);
    if (rc == ARGUS_OK)
        rc = adopt(identity, key);
    if (rc != ARGUS_OK)
        EVP_PKEY_free(key);
    return rc;
}

static int load_or_make(struct identity *identity, struct argus_error *err)
{
    if (identity->path[0] == '\0')
        return make_key(identity, err);

    int fd = open(identity->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT
                   ? make_key(identity, err)
                   : argus_fail_errno(err, "open %s", identity->path);
    int rc = load_key(identity, fd, err);
    (void)close(fd);
    return rc;
}

int identity_open(const char *dir, const char *cluster, struct identity **out,
                  struct argus_error *err)
{
    struct identity *identity = calloc(1, sizeof *identity);

    if (identity == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for the identity");
    memcpy(identity->text, purpose, sizeof purpose);
    int size =
        snprintf((char *)identity->text + sizeof purpose, 64, "%s", cluster);
    identity->prefix = sizeof purpose + (size_t)(size < 63 ? size : 63) + 1;
    int rc = ARGUS_OK;
    if (dir != NULL) {
        size = snprintf(identity->path, sizeof identity->path,
                        "%s/identity.pem", dir);
        if ((size_t)size >= sizeof identity->path)
            rc = argus_fail(err, ARGUS_EINVAL, "StateDir is too long: %s", dir);
    }
    if (rc == ARGUS_OK)
        rc = load_or_make(identity, err);
    if (rc != ARGUS_OK) {
        identity_free(identity);
        return rc;
    }
    *out = identity;
    return ARGUS_OK;
}

void identity_free(struct identity *identity)
{
    if (identity == NULL)
        return;
    EVP_PKEY_free(identity->key);
    free(identity);
}

const struct node_id *identity_id(const struct identity *identity)
{
    return &identity->id;
}

/* The next free name for the key that was cloned. link() does not replace. */
static int keep_old(const char *path, struct argus_error *err)
{
    char old[1130];

    for (int n = 1; n <= CLONED_MAX; n++) {
        (void)snprintf(old, sizeof old, "%s.cloned-%d", path, n);
        if (link(path, old) == 0)
            return ARGUS_OK;
        if (errno == ENOENT)
            return ARGUS_OK; /* nothing to keep */
        if (errno != EEXIST)
            return write_error(err, "keep", old);
    }
    return argus_fail(err, ARGUS_EIO, "%s was cloned more than %d times", path,
                      CLONED_MAX);
}

int identity_renew(struct identity *identity, struct argus_error *err)
{
    int rc = ARGUS_OK;

    if (identity->path[0] != '\0')
        rc = keep_old(identity->path, err);
    if (rc == ARGUS_OK)
        rc = make_key(identity, err);
    if (rc == ARGUS_OK || rc == ARGUS_ENOMEM)
        return rc;

    struct argus_error memory_err;
    char path[sizeof identity->path];
    memcpy(path, identity->path, sizeof path);
    identity->path[0] = '\0';
    if (make_key(identity, &memory_err) != ARGUS_OK) {
        memcpy(identity->path, path, sizeof path);
        return argus_fail(err, ARGUS_ENOMEM, "%s", memory_err.text);
    }
    return ARGUS_EIO;
}

/* ------------------------------------------------------------ the seal */

static bool sign(struct identity *identity, argus_Signed *s)
{
    size_t size = SIGNATURE_SIZE;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    memcpy(identity->text + identity->prefix, s->statement.bytes,
           s->statement.size);
    bool ok = ctx != NULL &&
              EVP_DigestSignInit(ctx, NULL, NULL, NULL, identity->key) == 1 &&
              EVP_DigestSign(ctx, s->signature, &size, identity->text,
                             identity->prefix + s->statement.size) == 1 &&
              size == SIGNATURE_SIZE;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static size_t seal_close(void *context, const argus_Statement *statement,
                         uint8_t out[SEALED_SIZE_MAX])
{
    struct identity *identity = context;
    argus_Signed *s = &identity->scratch;

    pb_ostream_t stream =
        pb_ostream_from_buffer(s->statement.bytes, sizeof s->statement.bytes);
    if (!pb_encode(&stream, argus_Statement_fields, statement))
        return 0;
    s->statement.size = (pb_size_t)stream.bytes_written;
    memcpy(s->key, identity->public_key, KEY_SIZE);
    if (!sign(identity, s))
        return 0;
    stream = pb_ostream_from_buffer(out, SEALED_SIZE_MAX);
    if (!pb_encode(&stream, argus_Signed_fields, s))
        return 0;
    return stream.bytes_written;
}

static bool verify(struct identity *identity, const argus_Signed *s)
{
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, s->key, KEY_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    memcpy(identity->text + identity->prefix, s->statement.bytes,
           s->statement.size);
    bool ok =
        key != NULL && ctx != NULL &&
        EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
        EVP_DigestVerify(ctx, s->signature, SIGNATURE_SIZE, identity->text,
                         identity->prefix + s->statement.size) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}

static bool seal_open(void *context, const uint8_t *data, size_t size,
                      argus_Statement *statement, struct node_id *author)
{
    struct identity *identity = context;
    argus_Signed *s = &identity->scratch;

    pb_istream_t stream = pb_istream_from_buffer(data, size);
    if (!pb_decode(&stream, argus_Signed_fields, s) || !verify(identity, s))
        return false;
    stream = pb_istream_from_buffer(s->statement.bytes, s->statement.size);
    if (!pb_decode(&stream, argus_Statement_fields, statement) ||
        statement->which_body == 0)
        return false;
    identity_hash(s->key, KEY_SIZE, author->bytes);
    return true;
}

static bool seal_vouches(void *context, const argus_SignedBundle *bundle)
{
    const struct identity *identity = context;
    const char *cluster = (const char *)identity->text + sizeof purpose;

    return operator_key_vouches(bundle, cluster);
}

struct seal identity_seal(struct identity *identity)
{
    return (struct seal){
        .context = identity,
        .close = seal_close,
        .open = seal_open,
        .hash = identity_hash,
        .digest = digest,
        .vouches = seal_vouches,
    };
}
