/* tls.h - TLS 1.3 between bytes and bytes: no socket in it.
 *
 * A context is what links are protected by at a time: a keyring (external
 * pre-shared keys, RFC 8446 §4.2.11, always with a Diffie-Hellman exchange, so
 * that a stolen key opens no recorded traffic) or certificates on both sides.
 * It never changes; whoever reloads makes a new one. No tickets, no early data,
 * no resumption: each link proves itself anew.
 *
 * OpenSSL sits between two callbacks: bytes of the peer are lent to it for a
 * call, what it wants to send is appended to the owner's buffer. So a link at
 * rest holds no buffer. Loop thread only. */
#ifndef ARGUS_RUNTIME_TLS_H
#define ARGUS_RUNTIME_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/keyring.h"

/** First byte of a TLS handshake record; no frame begins with it. */
#define TLS_FIRST_BYTE 0x16
/** Of an alert record. */
#define TLS_ALERT_BYTE 0x15

#define TLS_EXPORT_SIZE 32
#define TLS_MAC_SIZE 32

struct tls_context;
struct tls;

/* PEM files; see collectd-argus(5). */
struct tls_files {
    const char *certificate; /* and the intermediate ones behind it */
    const char *private_key;
    const char *ca;
    const char *crl;  /* NULL: none */
    const char *name; /* of this node, which must be in the certificate */
};

/** @param ring  copied. @retval ARGUS_ENOMEM */
int tls_context_of_keys(const struct keyring *ring, struct tls_context **out,
                        struct argus_error *err);

/** @retval ARGUS_EIO, ARGUS_ECORRUPT, ARGUS_EINVAL (the certificate is for
 *  another name, or the key for another certificate); err names the file. */
int tls_context_of_files(const struct tls_files *files,
                         struct tls_context **out, struct argus_error *err);

struct tls_context *tls_context_hold(struct tls_context *context);
/** NULL is allowed. */
void tls_context_release(struct tls_context *context);

/** NULL: certificates. */
const struct keyring *tls_context_keyring(const struct tls_context *context);

/* What OpenSSL wants to send, until the owner takes it: used = 0. */
struct tls_output {
    uint8_t *bytes;
    size_t used, room;
};

/** @param output  borrowed, may be shared by all of one thread.
 *  @return NULL: no memory. */
struct tls *tls_new(struct tls_context *context, bool is_dialer,
                    struct tls_output *output);
/** NULL is allowed. */
void tls_free(struct tls *t);

/** The dialer's first flight goes to the output. */
void tls_begin(struct tls *t);

/** Lend bytes of the peer; tls_read() uses them up. */
void tls_lend(struct tls *t, const uint8_t *data, size_t size);

/** Go on with the handshake, or decrypt. The output may grow at each call.
 *  @return bytes of plain text; 0: all that was lent is used up; -1: it failed
 *  or was ended, tls_text() says how. */
ssize_t tls_read(struct tls *t, uint8_t *out, size_t size);

/** @return false: tls_read() would say 0. To ask is cheaper. */
bool tls_has_more(const struct tls *t);

/** Encrypt to the output. @return false: no memory; the link must end. */
bool tls_write(struct tls *t, const uint8_t *data, size_t size);

/** Is the handshake done, and the peer one of us? */
bool tls_is_up(const struct tls *t);

/** For the log and, from the side that knows, for the peer. */
const char *tls_text(const struct tls *t);

/** The id of the key that this link began with; NULL: certificates. */
const uint8_t *tls_key_id(const struct tls *t);

/** Is the name in the peer's certificate? true with keys: they name nobody. */
bool tls_names_peer(const struct tls *t, const char *name);

/** Would the peer's certificate pass in that context, by name and list of
 *  revocations of now? true with keys. */
bool tls_passes(const struct tls *t, const struct tls_context *context,
                const char **why);

/** Bytes that both sides of this connection share and nobody else knows
 *  (RFC 8446 §7.5). */
bool tls_export(struct tls *t, uint8_t out[TLS_EXPORT_SIZE]);

/** HMAC-SHA256 by a key of the keyring over "argus-key-1" NUL, the side that
 *  makes it ('D' or 'A') and the exported bytes. */
bool tls_key_mac(const struct mesh_key *key, char side,
                 const uint8_t exported[TLS_EXPORT_SIZE],
                 uint8_t out[TLS_MAC_SIZE]);

#endif
