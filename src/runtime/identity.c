#include "runtime/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "runtime/ed25519.h"
#include "runtime/file.h"
#include "runtime/hash_tree.h"
#include "runtime/operator_key.h"

#define KEY_SIZE ED25519_KEY_SIZE
#define HASH_SIZE 32
/** A PEM with an Ed25519 key is 119 bytes; more is no key of ours. */
#define PEM_SIZE_MAX 4096
/** Old identities kept; beyond, the last name is used again. */
#define CLONED_MAX 1000

static const char purpose[] = "argus-statement-1"; /* its NUL is signed too */
static const char batch_purpose[] = "argus-batch-1";

/** Roots that were checked not long ago. */
#define ROOTS_MAX 32

struct known_root {
    uint8_t key[KEY_SIZE];
    uint8_t root[HASH_TREE_HASH];
    uint8_t signature[ED25519_SIGNATURE_SIZE];
};

#define BATCH_TEXT_MAX (sizeof batch_purpose + 64 + HASH_TREE_HASH)
_Static_assert(SEAL_BATCH_MAX == HASH_TREE_LEAVES, "one leaf for each");

struct identity {
    EVP_PKEY *key;
    uint8_t public_key[KEY_SIZE];
    struct node_id id;
    char path[1100]; /* empty: in memory alone */
    uint8_t text[sizeof purpose + 64 + sizeof(((argus_Signed *)0)->statement)];
    size_t prefix; /* bytes of text before the statement */
    argus_Signed scratch;
    struct known_root roots[ROOTS_MAX]; /* a ring */
    uint32_t roots_next;                /* counts on */
};

/* Fetched once: else OpenSSL looks for it in each call, which takes longer than
 * the hash of an event. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* Fails only without memory or without SHA-256; a hash that is then the same
 * for all makes everything a duplicate: quiet, not wrong. */
static void digest(const uint8_t *data, size_t size, uint8_t out[HASH_SIZE])
{
    (void)pthread_once(&sha256_once, fetch_sha256);
    if (EVP_Digest(data, size, out, NULL, sha256, NULL) != 1)
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
    rc = file_replace(path, pem, (size_t)size, NULL, err);

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
            return file_fail(err, "keep", old);
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

/* The prefix and the statement, as they are signed. @return the size. */
static size_t put_text(struct identity *identity, const argus_Signed *s)
{
    memcpy(identity->text + identity->prefix, s->statement.bytes,
           s->statement.size);
    return identity->prefix + s->statement.size;
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
    s->path.size = 0;
    s->place = 0;
    if (!ed25519_sign(identity->key, identity->text, put_text(identity, s),
                      s->signature))
        return 0;
    stream = pb_ostream_from_buffer(out, SEALED_SIZE_MAX);
    if (!pb_encode(&stream, argus_Signed_fields, s))
        return 0;
    return stream.bytes_written;
}

/* "argus-batch-1" NUL, the cluster's name, NUL, the root. @return the size. */
static size_t put_root(const struct identity *identity,
                       const uint8_t root[HASH_TREE_HASH],
                       uint8_t out[BATCH_TEXT_MAX])
{
    size_t cluster = identity->prefix - sizeof purpose; /* with its NUL */
    uint8_t *at = out;

    memcpy(at, batch_purpose, sizeof batch_purpose);
    memcpy(at += sizeof batch_purpose, identity->text + sizeof purpose,
           cluster);
    memcpy(at += cluster, root, HASH_TREE_HASH);
    return (size_t)(at - out) + HASH_TREE_HASH;
}

static void grow_tree(struct identity *identity, const struct seal_part *parts,
                      uint32_t count, struct hash_tree *tree)
{
    uint8_t leaves[HASH_TREE_LEAVES][HASH_TREE_HASH];

    for (uint32_t i = 0; i < count; i++) {
        memcpy(identity->text + identity->prefix, parts[i].statement,
               parts[i].size);
        hash_tree_leaf(identity->text, identity->prefix + parts[i].size,
                       leaves[i]);
    }
    hash_tree_build(tree, (const uint8_t(*)[HASH_TREE_HASH])leaves, count);
}

/* One alone is signed as it is. */
static bool sign_all(struct identity *identity, const struct hash_tree *tree,
                     size_t text_size)
{
    uint8_t text[BATCH_TEXT_MAX];
    uint8_t *signature = identity->scratch.signature;

    if (tree->levels == 0)
        return ed25519_sign(identity->key, identity->text, text_size,
                            signature);
    return ed25519_sign(identity->key, text,
                        put_root(identity, tree->nodes[1], text), signature);
}

static bool seal_close_all(void *context, const struct seal_part *parts,
                           uint32_t count,
                           void (*take)(void *taker, uint32_t index,
                                        const uint8_t *data, size_t size),
                           void *taker)
{
    struct identity *identity = context;
    argus_Signed *s = &identity->scratch;
    struct hash_tree tree;
    uint8_t out[SEALED_SIZE_MAX];

    for (uint32_t i = 0; i < count; i++)
        if (parts[i].size > sizeof s->statement.bytes)
            return false;
    grow_tree(identity, parts, count, &tree);
    memcpy(s->key, identity->public_key, KEY_SIZE);
    if (!sign_all(identity, &tree, identity->prefix + parts[0].size))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        pb_ostream_t stream = pb_ostream_from_buffer(out, sizeof out);
        memcpy(s->statement.bytes, parts[i].statement, parts[i].size);
        s->statement.size = (pb_size_t)parts[i].size;
        s->path.size = (pb_size_t)hash_tree_path(&tree, i, s->path.bytes);
        s->place = i;
        bool fits = pb_encode(&stream, argus_Signed_fields, s);
        take(taker, i, out, fits ? stream.bytes_written : 0);
    }
    return true;
}

static bool is_known_root(const struct identity *identity,
                          const struct known_root *r)
{
    for (uint32_t i = 0; i < ROOTS_MAX && i < identity->roots_next; i++)
        if (memcmp(&identity->roots[i], r, sizeof *r) == 0)
            return true;
    return false;
}

/* The root of several is checked once, as long as it is remembered. */
static bool root_holds(struct identity *identity, const argus_Signed *s,
                       size_t text_size)
{
    uint8_t leaf[HASH_TREE_HASH], text[BATCH_TEXT_MAX];
    struct known_root r;

    hash_tree_leaf(identity->text, text_size, leaf);
    if (!hash_tree_climb(leaf, s->path.bytes, s->path.size, s->place, r.root))
        return false;
    memcpy(r.key, s->key, sizeof r.key);
    memcpy(r.signature, s->signature, sizeof r.signature);
    if (is_known_root(identity, &r))
        return true;
    if (!ed25519_verify(s->key, text, put_root(identity, r.root, text),
                        s->signature))
        return false;
    identity->roots[identity->roots_next++ % ROOTS_MAX] = r;
    return true;
}

static bool is_signed(struct identity *identity, const argus_Signed *s)
{
    size_t size = put_text(identity, s);

    if (s->path.size > 0)
        return root_holds(identity, s, size);
    return s->place == 0 &&
           ed25519_verify(s->key, identity->text, size, s->signature);
}

static bool seal_open(void *context, const uint8_t *data, size_t size,
                      argus_Statement *statement, struct node_id *author)
{
    struct identity *identity = context;
    argus_Signed *s = &identity->scratch;

    pb_istream_t stream = pb_istream_from_buffer(data, size);
    if (!pb_decode(&stream, argus_Signed_fields, s) || !is_signed(identity, s))
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
        .close_all = seal_close_all,
        .open = seal_open,
        .hash = identity_hash,
        .digest = digest,
        .vouches = seal_vouches,
    };
}

/* ------------------------------------------------------------ its links */

static const char link_purpose[] = "argus-link-1"; /* its NUL is signed too */

#define LINK_TEXT_SIZE (sizeof link_purpose + 1 + 32)

static void put_link_text(char side, const uint8_t exported[32],
                          uint8_t out[LINK_TEXT_SIZE])
{
    memcpy(out, link_purpose, sizeof link_purpose);
    out[sizeof link_purpose] = (uint8_t)side;
    memcpy(out + sizeof link_purpose + 1, exported, 32);
}

bool identity_prove(const struct identity *identity, char side,
                    const uint8_t exported[32], uint8_t key[IDENTITY_KEY_SIZE],
                    uint8_t proof[IDENTITY_PROOF_SIZE])
{
    uint8_t text[LINK_TEXT_SIZE];

    put_link_text(side, exported, text);
    memcpy(key, identity->public_key, KEY_SIZE);
    return ed25519_sign(identity->key, text, sizeof text, proof);
}

bool identity_is_proven(const uint8_t id[NODE_ID_SIZE], char side,
                        const uint8_t exported[32],
                        const uint8_t key[IDENTITY_KEY_SIZE],
                        const uint8_t proof[IDENTITY_PROOF_SIZE])
{
    uint8_t text[LINK_TEXT_SIZE], hash[CONTENT_ID_SIZE];

    identity_hash(key, KEY_SIZE, hash);
    put_link_text(side, exported, text);
    return memcmp(hash, id, NODE_ID_SIZE) == 0 &&
           ed25519_verify(key, text, sizeof text, proof);
}
