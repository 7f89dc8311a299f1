#include "runtime/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/log.h"
#include "base/text.h"

/* Pre-shared keys go with SHA-256 alone, so certificates do as well. */
#define CIPHERS "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256"

struct tls_context {
    SSL_CTX *ssl;
    unsigned holders;
    bool has_keys;
    struct keyring ring;
};

struct tls {
    SSL *ssl;
    struct tls_context *context;
    struct tls_output *output;
    const uint8_t *in; /* lent */
    size_t in_size;
    bool is_dialer, is_up, has_failed;
    bool has_key;
    uint8_t key_id[MESH_KEY_ID_SIZE];
    char identity[MESH_KEY_ID_TEXT_SIZE]; /* as offered; for OpenSSL too */
    char text[200];
};

/* -------------------------------------------------- between the callbacks */

static int bio_read(BIO *bio, char *out, int size)
{
    struct tls *t = BIO_get_data(bio);
    size_t n = t->in_size < (size_t)size ? t->in_size : (size_t)size;

    BIO_clear_retry_flags(bio);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, t->in, n);
    t->in += n;
    t->in_size -= n;
    return (int)n;
}

static bool output_reserve(struct tls_output *o, size_t more)
{
    size_t room = o->room;

    if (o->room - o->used >= more)
        return true;
    while (room - o->used < more)
        room = room == 0 ? 16384 : 2 * room;
    uint8_t *grown = realloc(o->bytes, room);
    if (grown == NULL)
        return false;
    o->bytes = grown;
    o->room = room;
    return true;
}

static int bio_write(BIO *bio, const char *data, int size)
{
    struct tls_output *o = ((struct tls *)BIO_get_data(bio))->output;

    BIO_clear_retry_flags(bio);
    if (size <= 0 || !output_reserve(o, (size_t)size))
        return -1;
    memcpy(o->bytes + o->used, data, (size_t)size);
    o->used += (size_t)size;
    return size;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* Made once, in the first thread that needs it, and kept. */
static BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method;

    if (method == NULL &&
        (method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(),
                               "argus")) != NULL) {
        (void)BIO_meth_set_read(method, bio_read);
        (void)BIO_meth_set_write(method, bio_write);
        (void)BIO_meth_set_ctrl(method, bio_control);
    }
    return method;
}

/* ------------------------------------------------------ pre-shared keys */

static SSL_SESSION *session_of(SSL *ssl, const struct mesh_key *key)
{
    static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    SSL_SESSION *session = SSL_SESSION_new();

    if (session != NULL && cipher != NULL &&
        SSL_SESSION_set1_master_key(session, key->secret, MESH_KEY_SIZE) == 1 &&
        SSL_SESSION_set_cipher(session, cipher) == 1 &&
        SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1)
        return session;
    SSL_SESSION_free(session);
    return NULL;
}

static void use_key(struct tls *t, const struct mesh_key *key)
{
    memcpy(t->key_id, key->id, MESH_KEY_ID_SIZE);
    t->has_key = true;
}

/* The dialer offers its first key. md is not NULL when a hash has been chosen;
 * all our ciphers have the same. */
static int on_offer(SSL *ssl, const EVP_MD *md, const unsigned char **id,
                    size_t *id_size, SSL_SESSION **session)
{
    struct tls *t = SSL_get_app_data(ssl);
    const struct mesh_key *key = &t->context->ring.keys[0];

    (void)md;
    *session = session_of(ssl, key);
    if (*session == NULL)
        return 0;
    mesh_key_id_format(key->id, t->identity);
    use_key(t, key);
    *id = (const unsigned char *)t->identity;
    *id_size = MESH_KEY_ID_TEXT_SIZE - 1;
    return 1;
}

/* Without a session the handshake goes on to look for a certificate, and fails
 * since there is none. */
static int on_offered(SSL *ssl, const unsigned char *id, size_t id_size,
                      SSL_SESSION **session)
{
    struct tls *t = SSL_get_app_data(ssl);
    char offered[MESH_KEY_ID_TEXT_SIZE] = "", mine[MESH_KEY_ID_TEXT_SIZE];

    *session = NULL;
    if (id_size < sizeof offered)
        memcpy(offered, id, id_size);
    text_clean_word(t->identity, sizeof t->identity, offered);
    for (unsigned i = 0; i < t->context->ring.count; i++) {
        const struct mesh_key *key = &t->context->ring.keys[i];
        mesh_key_id_format(key->id, mine);
        if (strcmp(mine, offered) != 0)
            continue;
        *session = session_of(ssl, key);
        if (*session == NULL)
            return 0;
        use_key(t, key);
        break;
    }
    return 1;
}

/* --------------------------------------------------------------- contexts */

static struct tls_context *context_new(struct argus_error *err)
{
    struct tls_context *c = calloc(1, sizeof *c);

    if (c != NULL)
        c->ssl = SSL_CTX_new(TLS_method());
    if (c == NULL || c->ssl == NULL || bio_method() == NULL ||
        SSL_CTX_set_min_proto_version(c->ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(c->ssl, CIPHERS) != 1 ||
        SSL_CTX_set1_groups_list(c->ssl, GROUPS) != 1 ||
        SSL_CTX_set_num_tickets(c->ssl, 0) != 1) {
        ERR_clear_error();
        if (c != NULL)
            SSL_CTX_free(c->ssl);
        free(c);
        (void)argus_fail(err, ARGUS_ENOMEM,
                         "cannot set up TLS 1.3: no memory, or OpenSSL is "
                         "configured without what it needs");
        return NULL;
    }
    c->holders = 1;
    (void)SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
    (void)SSL_CTX_clear_options(c->ssl, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    return c;
}

int tls_context_of_keys(const struct keyring *ring, struct tls_context **out,
                        struct argus_error *err)
{
    struct tls_context *c = context_new(err);

    if (c == NULL)
        return ARGUS_ENOMEM;
    c->has_keys = true;
    c->ring = *ring;
    SSL_CTX_set_psk_use_session_callback(c->ssl, on_offer);
    SSL_CTX_set_psk_find_session_callback(c->ssl, on_offered);
    *out = c;
    return ARGUS_OK;
}

/* A list that has run out is still the best that is known of who is revoked:
 * to refuse everybody for it would end the mesh at a forgotten date. The one
 * who loads it is warned. */
static int on_verify(int ok, X509_STORE_CTX *store)
{
    if (ok == 0 &&
        X509_STORE_CTX_get_error(store) == X509_V_ERR_CRL_HAS_EXPIRED) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    return ok;
}

static int fail_file(struct argus_error *err, int status, const char *what,
                     const char *path)
{
    char reason[160];
    unsigned long code = ERR_peek_last_error();

    ERR_error_string_n(code, reason, sizeof reason);
    ERR_clear_error();
    return argus_fail(err, status, "%s %s: %s", what, path,
                      code == 0 ? "unusable" : reason);
}

static void warn_if_expired(const X509_CRL *crl, const char *path)
{
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);

    if (next != NULL && X509_cmp_current_time(next) < 0)
        log_write(LOG_LEVEL_WARNING,
                  "CRL %s has run out: it is still honoured, but certificates "
                  "revoked since are not in it. Put a fresh one in its place",
                  path);
}

static int load_crls(SSL_CTX *ssl, const char *path, struct argus_error *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    BIO *bio = BIO_new_file(path, "r");
    X509_CRL *crl;
    unsigned count = 0;
    bool ok = true;

    if (bio == NULL)
        return fail_file(err, ARGUS_EIO, "cannot read CRL", path);
    while (ok && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
        ok = X509_STORE_add_crl(store, crl) == 1;
        warn_if_expired(crl, path);
        X509_CRL_free(crl);
        count++;
    }
    BIO_free(bio);
    if (!ok || count == 0)
        return fail_file(err, ARGUS_ECORRUPT, "no list of revocations in CRL",
                         path);
    ERR_clear_error(); /* the end of the file */
    (void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    return ARGUS_OK;
}

static int load_files(SSL_CTX *ssl, const struct tls_files *f,
                      struct argus_error *err)
{
    if (SSL_CTX_use_certificate_chain_file(ssl, f->certificate) != 1)
        return fail_file(err, ARGUS_ECORRUPT, "cannot use Certificate",
                         f->certificate);
    if (SSL_CTX_use_PrivateKey_file(ssl, f->private_key, SSL_FILETYPE_PEM) !=
            1 ||
        SSL_CTX_check_private_key(ssl) != 1)
        return fail_file(err, ARGUS_ECORRUPT, "cannot use PrivateKey",
                         f->private_key);
    if (SSL_CTX_load_verify_file(ssl, f->ca) != 1)
        return fail_file(err, ARGUS_ECORRUPT, "cannot use CA", f->ca);
    if (X509_check_host(SSL_CTX_get0_certificate(ssl), f->name, 0,
                        X509_CHECK_FLAG_NO_WILDCARDS, NULL) != 1)
        return argus_fail(err, ARGUS_EINVAL,
                          "Certificate %s is not for \"%s\", the name of this "
                          "node: it must be among the DNS names in it",
                          f->certificate, f->name);
    return f->crl != NULL ? load_crls(ssl, f->crl, err) : ARGUS_OK;
}

/* A key with a passphrase cannot be used by a daemon: never ask a terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *context)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)context;
    return -1;
}

int tls_context_of_files(const struct tls_files *files,
                         struct tls_context **out, struct argus_error *err)
{
    struct tls_context *c = context_new(err);

    if (c == NULL)
        return ARGUS_ENOMEM;
    SSL_CTX_set_default_passwd_cb(c->ssl, no_passphrase);
    SSL_CTX_set_verify(
        c->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
    int rc = load_files(c->ssl, files, err);
    if (rc != ARGUS_OK) {
        tls_context_release(c);
        return rc;
    }
    *out = c;
    return ARGUS_OK;
}

struct tls_context *tls_context_hold(struct tls_context *context)
{
    context->holders++;
    return context;
}

void tls_context_release(struct tls_context *context)
{
    if (context == NULL || --context->holders > 0)
        return;
    SSL_CTX_free(context->ssl);
    OPENSSL_cleanse(&context->ring, sizeof context->ring);
    free(context);
}

const struct keyring *tls_context_keyring(const struct tls_context *context)
{
    return context->has_keys ? &context->ring : NULL;
}

/* -------------------------------------------------------------- one link */

static bool connect_bios(struct tls *t)
{
    BIO *bio = BIO_new(bio_method());

    if (bio == NULL)
        return false;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    return true;
}

struct tls *tls_new(struct tls_context *context, bool is_dialer,
                    struct tls_output *output)
{
    struct tls *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->context = tls_context_hold(context);
    t->output = output;
    t->is_dialer = is_dialer;
    t->ssl = SSL_new(context->ssl);
    if (t->ssl == NULL || SSL_set_app_data(t->ssl, t) != 1 ||
        !connect_bios(t)) {
        tls_free(t);
        return NULL;
    }
    if (is_dialer)
        SSL_set_connect_state(t->ssl);
    else
        SSL_set_accept_state(t->ssl);
    return t;
}

void tls_free(struct tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    tls_context_release(t->context);
    free(t);
}

/* ------------------------------------------------------------ what failed */

static bool is_alert(unsigned long code, int alert)
{
    return ERR_GET_LIB(code) == ERR_LIB_SSL &&
           ERR_GET_REASON(code) == SSL_AD_REASON_OFFSET + alert;
}

static void explain_keys(struct tls *t, unsigned long code)
{
    if (t->is_dialer && is_alert(code, SSL_AD_HANDSHAKE_FAILURE))
        (void)snprintf(t->text, sizeof t->text,
                       "the other side does not have key %s: is it in its "
                       "KeyFile?",
                       t->identity);
    else if (!t->is_dialer && !t->has_key && t->identity[0] != '\0')
        (void)snprintf(t->text, sizeof t->text,
                       "it offers key %s, which is not in the KeyFile here",
                       t->identity);
    else if (!t->is_dialer && !t->has_key)
        (void)snprintf(t->text, sizeof t->text,
                       "it speaks TLS and offers no key of a mesh");
}

static void explain_certificate(struct tls *t)
{
    long verdict = SSL_get_verify_result(t->ssl);

    if (verdict != X509_V_OK)
        (void)snprintf(t->text, sizeof t->text, "its certificate: %s",
                       X509_verify_cert_error_string(verdict));
}

/* The queue of errors is the thread's, and other plugins use OpenSSL too: it
 * is emptied before each call and after each failure. */
static void explain(struct tls *t, int result)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);

    t->has_failed = true;
    if (SSL_get_error(t->ssl, result) == SSL_ERROR_ZERO_RETURN) {
        (void)snprintf(t->text, sizeof t->text, "closed without a word");
    } else if (!t->is_up && t->context->has_keys) {
        explain_keys(t, code);
    } else if (!t->is_up) {
        explain_certificate(t);
    }
    if (t->text[0] == '\0')
        (void)snprintf(t->text, sizeof t->text, "TLS: %s",
                       reason != NULL ? reason : "it failed");
    ERR_clear_error();
}

const char *tls_text(const struct tls *t)
{
    return t->text;
}

/* ---------------------------------------------------------------- flowing */

void tls_lend(struct tls *t, const uint8_t *data, size_t size)
{
    t->in = data;
    t->in_size = size;
}

/* @return as tls_read(). */
static ssize_t shake(struct tls *t)
{
    ERR_clear_error();
    int result = SSL_do_handshake(t->ssl);
    if (result == 1) {
        t->is_up = true;
        return 0;
    }
    int code = SSL_get_error(t->ssl, result);
    if (code == SSL_ERROR_WANT_READ)
        return 0;
    explain(t, result);
    return -1;
}

void tls_begin(struct tls *t)
{
    (void)shake(t);
}

ssize_t tls_read(struct tls *t, uint8_t *out, size_t size)
{
    if (t->has_failed)
        return -1;
    if (!t->is_up)
        return shake(t);
    ERR_clear_error();
    int result = SSL_read(t->ssl, out, (int)size);
    if (result > 0)
        return result;
    if (SSL_get_error(t->ssl, result) == SSL_ERROR_WANT_READ)
        return 0;
    explain(t, result);
    return -1;
}

bool tls_has_more(const struct tls *t)
{
    return t->in_size > 0 || SSL_has_pending(t->ssl) == 1;
}

bool tls_write(struct tls *t, const uint8_t *data, size_t size)
{
    ERR_clear_error();
    int result = SSL_write(t->ssl, data, (int)size);
    if (result == (int)size)
        return true;
    explain(t, result);
    return false;
}

bool tls_is_up(const struct tls *t)
{
    return t->is_up && !t->has_failed;
}

/* ---------------------------------------------------------- who it is with */

const uint8_t *tls_key_id(const struct tls *t)
{
    return t->context->has_keys ? t->key_id : NULL;
}

bool tls_names_peer(const struct tls *t, const char *name)
{
    X509 *certificate;

    if (t->context->has_keys)
        return true;
    certificate = SSL_get0_peer_certificate(t->ssl);
    return certificate != NULL && name[0] != '\0' &&
           X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NO_WILDCARDS,
                           NULL) == 1;
}

bool tls_passes(const struct tls *t, const struct tls_context *context,
                const char **why)
{
    X509 *certificate;
    X509_STORE_CTX *store = NULL;
    bool ok = false;

    if (t->context->has_keys || context->has_keys)
        return true;
    *why = "no memory to check its certificate";
    certificate = SSL_get0_peer_certificate(t->ssl);
    if (certificate != NULL && (store = X509_STORE_CTX_new()) != NULL &&
        X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(context->ssl),
                            certificate,
                            SSL_get_peer_cert_chain(t->ssl)) == 1) {
        X509_STORE_CTX_set_verify_cb(store, on_verify);
        (void)X509_STORE_CTX_set_default(store, t->is_dialer ? "ssl_server"
                                                             : "ssl_client");
        ok = X509_verify_cert(store) == 1;
        *why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    }
    X509_STORE_CTX_free(store);
    ERR_clear_error();
    return ok;
}

bool tls_export(struct tls *t, uint8_t out[TLS_EXPORT_SIZE])
{
    static const char label[] = "EXPORTER-argus-link-1";

    return SSL_export_keying_material(t->ssl, out, TLS_EXPORT_SIZE, label,
                                      sizeof label - 1, NULL, 0, 0) == 1;
}

bool tls_key_mac(const struct mesh_key *key, char side,
                 const uint8_t exported[TLS_EXPORT_SIZE],
                 uint8_t out[TLS_MAC_SIZE])
{
    static const char purpose[] = "argus-key-1"; /* its NUL counts */
    uint8_t text[sizeof purpose + 1 + TLS_EXPORT_SIZE];

    memcpy(text, purpose, sizeof purpose);
    text[sizeof purpose] = (uint8_t)side;
    memcpy(text + sizeof purpose + 1, exported, TLS_EXPORT_SIZE);
    return HMAC(EVP_sha256(), key->secret, MESH_KEY_SIZE, text, sizeof text,
                out, NULL) != NULL;
}
