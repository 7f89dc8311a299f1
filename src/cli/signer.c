#include "argus_config.h" /* GNU extensions */

#include "cli/signer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <pb_encode.h>

#define SIGNATURE_SIZE 64
/** A PEM with an Ed25519 key is 119 bytes; an encrypted one 300. */
#define PEM_SIZE_MAX 16384
#define CLUSTER_SIZE 64
/** 32 bytes in base64. */
#define MESH_LINE_SIZE 44

static const char purpose[] = "argus-bundle-1"; /* its NUL is signed too */

struct signer {
    EVP_PKEY *key;
};

void signer_digest(const void *data, size_t size, uint8_t out[32])
{
    if (EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL) != 1) {
        fputs("argusctl: OpenSSL has no SHA-256, or no memory\n", stderr);
        exit(1);
    }
}

void fingerprint_of(const uint8_t key[SIGNER_KEY_SIZE],
                    char out[FINGERPRINT_SIZE])
{
    uint8_t hash[32];

    signer_digest(key, SIGNER_KEY_SIZE, hash);
    for (size_t i = 0; i < (FINGERPRINT_SIZE - 1) / 2; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

/* --------------------------------------------------------------- making */

/* Made, never replaced. */
static int write_fresh(const char *path, mode_t mode, BIO *pem,
                       struct argus_error *err)
{
    char *data = NULL;
    long size = BIO_get_mem_data(pem, &data);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0 && errno == EEXIST)
        return argus_fail(err, ARGUS_EBUSY,
                          "%s is there already: keys are never overwritten",
                          path);
    if (fd < 0)
        return argus_fail_errno(err, "cannot make %s", path);
    bool ok = write(fd, data, (size_t)size) == size && fsync(fd) == 0;
    int rc = ok ? ARGUS_OK : argus_fail_errno(err, "cannot write %s", path);
    if (close(fd) != 0 && rc == ARGUS_OK)
        rc = argus_fail_errno(err, "cannot write %s", path);
    if (rc != ARGUS_OK)
        (void)unlink(path);
    return rc;
}

static int write_pair(EVP_PKEY *key, const char *path, struct argus_error *err)
{
    BIO *hidden = BIO_new(BIO_s_secmem()), *shown = BIO_new(BIO_s_mem());
    char *public_path = NULL;
    int rc = ARGUS_ENOMEM;

    if (hidden == NULL || shown == NULL ||
        asprintf(&public_path, "%s.pub", path) < 0 ||
        PEM_write_bio_PrivateKey(hidden, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_PUBKEY(shown, key) != 1) {
        rc = argus_fail(err, ARGUS_ENOMEM, "no memory for a key");
        goto free_all;
    }
    rc = write_fresh(path, 0600, hidden, err);
    if (rc != ARGUS_OK)
        goto free_all;
    rc = write_fresh(public_path, 0644, shown, err);
    if (rc != ARGUS_OK)
        (void)unlink(path); /* ours: made a moment ago */

free_all:
    free(public_path);
    BIO_free(hidden);
    BIO_free(shown);
    return rc;
}

static int public_key(EVP_PKEY *key, uint8_t out[SIGNER_KEY_SIZE])
{
    size_t size = SIGNER_KEY_SIZE;

    return EVP_PKEY_get_raw_public_key(key, out, &size) == 1 &&
                   size == SIGNER_KEY_SIZE
               ? ARGUS_OK
               : ARGUS_ECORRUPT;
}

int signer_make(const char *path, char fingerprint[FINGERPRINT_SIZE],
                struct argus_error *err)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    uint8_t raw[SIGNER_KEY_SIZE];

    if (key == NULL || public_key(key, raw) != ARGUS_OK) {
        EVP_PKEY_free(key);
        return argus_fail(err, ARGUS_ENOMEM, "OpenSSL makes no Ed25519 key");
    }
    fingerprint_of(raw, fingerprint);
    int rc = write_pair(key, path, err);
    EVP_PKEY_free(key);
    return rc;
}

/* The id is that of KeyProof in argus.proto. */
static void name_mesh_key(const uint8_t key[SIGNER_KEY_SIZE],
                          char out[MESH_KEY_NAME_SIZE])
{
    static const char mesh_purpose[] = "argus-mesh-key"; /* its NUL counts */
    uint8_t text[sizeof mesh_purpose + SIGNER_KEY_SIZE], hash[32];

    memcpy(text, mesh_purpose, sizeof mesh_purpose);
    memcpy(text + sizeof mesh_purpose, key, SIGNER_KEY_SIZE);
    signer_digest(text, sizeof text, hash);
    OPENSSL_cleanse(text, sizeof text);
    for (size_t i = 0; i < (MESH_KEY_NAME_SIZE - 1) / 2; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

int signer_make_mesh(const char *path, char id[MESH_KEY_NAME_SIZE],
                     struct argus_error *err)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    uint8_t key[SIGNER_KEY_SIZE], line[4 * (SIGNER_KEY_SIZE / 3 + 1) + 1];
    int rc;

    if (bio == NULL || RAND_bytes(key, sizeof key) != 1 ||
        EVP_EncodeBlock(line, key, sizeof key) <= 0 ||
        BIO_printf(bio, "%s\n", (char *)line) <= 0) {
        rc = argus_fail(err, ARGUS_ENOMEM, "no memory or no random numbers");
    } else {
        name_mesh_key(key, id);
        rc = write_fresh(path, 0600, bio, err);
    }
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_cleanse(line, sizeof line);
    BIO_free(bio);
    return rc;
}

/* -------------------------------------------------------------- reading */

static bool mentions(const char *pem, size_t size, const char *words)
{
    return memmem(pem, size, words, strlen(words)) != NULL;
}

static int fail_kind(const char *path, const char *pem, size_t size,
                     struct argus_error *err)
{
    if (mentions(pem, size, "ENCRYPTED"))
        return argus_fail(err, ARGUS_ECORRUPT, "%s cannot be decrypted", path);
    if (mentions(pem, size, "PUBLIC KEY"))
        return argus_fail(err, ARGUS_ECORRUPT,
                          "%s holds a public key: to sign, name the private "
                          "one",
                          path);
    return argus_fail(err, ARGUS_ECORRUPT,
                      "%s holds no private key in PEM (argusctl keygen "
                      "operator FILE makes one)",
                      path);
}

/* One line of a keyring, its comment cut off. @return true: it is a key. */
static bool parse_mesh_line(char *line, uint8_t out[SIGNER_KEY_SIZE])
{
    uint8_t raw[3 * (MESH_LINE_SIZE / 4)];
    bool is_key = strlen(line) == MESH_LINE_SIZE &&
                  line[MESH_LINE_SIZE - 1] == '=' &&
                  line[MESH_LINE_SIZE - 2] != '=' &&
                  EVP_DecodeBlock(raw, (const uint8_t *)line, MESH_LINE_SIZE) ==
                      sizeof raw;

    if (is_key)
        memcpy(out, raw, SIGNER_KEY_SIZE);
    OPENSSL_cleanse(raw, sizeof raw);
    return is_key;
}

static int parse_mesh(const char *path, char *text,
                      uint8_t out[SIGNER_KEY_SIZE], struct argus_error *err)
{
    unsigned keys = 0;
    char *rest = text;

    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        line[strcspn(line, "#")] = '\0';
        line += strspn(line, " \t");
        line[strcspn(line, " \t\r")] = '\0';
        if (line[0] == '\0')
            continue;
        if (!parse_mesh_line(line, out))
            return argus_fail(err, ARGUS_ECORRUPT,
                              "%s holds no key of a mesh (argusctl keygen mesh "
                              "FILE makes one)",
                              path);
        keys++;
    }
    return keys == 1 ? ARGUS_OK
                     : argus_fail(err, ARGUS_ECORRUPT,
                                  "%s holds %u keys: name a file with the new "
                                  "one alone (argusctl keygen mesh FILE)",
                                  path, keys);
}

int signer_read_mesh(const char *path, uint8_t out[SIGNER_KEY_SIZE],
                     char id[MESH_KEY_NAME_SIZE], bool *is_exposed,
                     struct argus_error *err)
{
    char text[PEM_SIZE_MAX];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0)
        return argus_fail_errno(err, "cannot read the key %s", path);
    *is_exposed = S_ISREG(st.st_mode) && (st.st_mode & 0007) != 0;
    ssize_t size = read(fd, text, sizeof text - 1);
    int rc = ARGUS_OK;
    if (size < 0)
        rc = argus_fail_errno(err, "cannot read the key %s", path);
    (void)close(fd);
    if (rc == ARGUS_OK) {
        text[size] = '\0';
        rc = parse_mesh(path, text, out, err);
    }
    if (rc == ARGUS_OK)
        name_mesh_key(out, id);
    OPENSSL_cleanse(text, sizeof text);
    return rc;
}

static int parse(const char *path, const char *pem, size_t size, EVP_PKEY **out,
                 struct argus_error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    /* OpenSSL asks at the terminal for the words of an encrypted key. */
    void *words = mentions(pem, size, "ENCRYPTED") ? NULL : (void *)"";
    EVP_PKEY *key =
        bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, words) : NULL;

    BIO_free(bio);
    if (key == NULL)
        return fail_kind(path, pem, size, err);
    if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(key);
        return argus_fail(err, ARGUS_ECORRUPT,
                          "%s holds a key of another kind: an Ed25519 key is "
                          "needed (argusctl keygen operator FILE makes one)",
                          path);
    }
    *out = key;
    return ARGUS_OK;
}

int signer_open(const char *path, struct signer **out, bool *is_exposed,
                struct argus_error *err)
{
    char pem[PEM_SIZE_MAX];
    struct stat st;
    EVP_PKEY *key = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0)
        return argus_fail_errno(err, "cannot read the key %s", path);
    *is_exposed = S_ISREG(st.st_mode) && (st.st_mode & 0077) != 0;
    ssize_t size = read(fd, pem, sizeof pem);
    int rc = size < 0 ? argus_fail_errno(err, "cannot read the key %s", path)
                      : parse(path, pem, (size_t)size, &key, err);
    (void)close(fd);
    OPENSSL_cleanse(pem, sizeof pem);
    if (rc != ARGUS_OK)
        return rc;
    struct signer *signer = malloc(sizeof *signer);
    if (signer == NULL) {
        EVP_PKEY_free(key);
        return argus_fail(err, ARGUS_ENOMEM, "no memory for a key");
    }
    signer->key = key;
    *out = signer;
    return ARGUS_OK;
}

void signer_close(struct signer *signer)
{
    if (signer == NULL)
        return;
    EVP_PKEY_free(signer->key);
    free(signer);
}

/* -------------------------------------------------------------- signing */

#define SIGNED_SIZE_MAX                                                        \
    (sizeof purpose + CLUSTER_SIZE +                                           \
     sizeof((argus_SignedBundle *)0)->manifest.bytes)

/* What a signature covers. @return its size. */
static size_t signed_text(const argus_SignedBundle *bundle, const char *cluster,
                          uint8_t out[SIGNED_SIZE_MAX])
{
    size_t name_size = strnlen(cluster, CLUSTER_SIZE - 1);
    size_t used = sizeof purpose;

    memcpy(out, purpose, sizeof purpose);
    memcpy(out + used, cluster, name_size);
    used += name_size;
    out[used++] = '\0';
    memcpy(out + used, bundle->manifest.bytes, bundle->manifest.size);
    return used + bundle->manifest.size;
}

int signer_sign(const struct signer *signer, const char *cluster,
                argus_SignedBundle *bundle, struct argus_error *err)
{
    uint8_t text[SIGNED_SIZE_MAX];
    size_t used = signed_text(bundle, cluster, text), size = SIGNATURE_SIZE;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    bool ok = ctx != NULL && public_key(signer->key, bundle->key) == ARGUS_OK &&
              EVP_DigestSignInit(ctx, NULL, NULL, NULL, signer->key) == 1 &&
              EVP_DigestSign(ctx, bundle->signature, &size, text, used) == 1 &&
              size == SIGNATURE_SIZE;
    EVP_MD_CTX_free(ctx);
    return ok ? ARGUS_OK
              : argus_fail(err, ARGUS_ENOMEM, "OpenSSL does not sign");
}

bool signer_vouches(const argus_SignedBundle *bundle, const char *cluster)
{
    uint8_t text[SIGNED_SIZE_MAX];
    size_t used = signed_text(bundle, cluster, text);
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                                bundle->key, SIGNER_KEY_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    bool ok = key != NULL && ctx != NULL &&
              EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(ctx, bundle->signature, SIGNATURE_SIZE, text,
                               used) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}

int signer_seal(const struct signer *signer, const char *cluster,
                const argus_Manifest *manifest, argus_SignedBundle *bundle,
                uint8_t hash[32], struct argus_error *err)
{
    pb_ostream_t stream = pb_ostream_from_buffer(bundle->manifest.bytes,
                                                 sizeof bundle->manifest.bytes);

    if (!pb_encode(&stream, argus_Manifest_fields, manifest))
        return argus_fail(err, ARGUS_ETOOLARGE,
                          "names and target of this bundle take more than %zu "
                          "bytes: fewer files, or shorter names",
                          sizeof bundle->manifest.bytes);
    bundle->manifest.size = (pb_size_t)stream.bytes_written;
    int rc = signer_sign(signer, cluster, bundle, err);
    if (rc == ARGUS_OK)
        signer_digest(bundle->manifest.bytes, bundle->manifest.size, hash);
    return rc;
}

int signer_key(const struct signer *signer, uint8_t out[SIGNER_KEY_SIZE])
{
    return public_key(signer->key, out);
}
