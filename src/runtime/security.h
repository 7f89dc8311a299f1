/* security.h - what protects this node's links now: a keyring or certificates.
 *
 * Owns the files: they are read at the start and again when they change, so
 * that neither a new key nor a new list of revocations needs a restart. A file
 * that cannot be used is told once and changes nothing. An operator's order
 * outranks the file: what it adds, uses and removes is done to whatever the
 * file says, at once and after each reading, and the file is rewritten.
 * Loop thread only. */
#ifndef ARGUS_RUNTIME_SECURITY_H
#define ARGUS_RUNTIME_SECURITY_H

#include "runtime/keyring.h"

struct security;
struct tls_context;

/* Paths; "" where there is none. Copied. Either a key file or all of the first
 * three others. */
struct security_options {
    const char *key_file;
    const char *certificate, *private_key, *ca, *crl;
    const char *name; /* of this node */
};

struct security_stats {
    uint64_t keys_reloaded; /* file or order gave another keyring */
    uint64_t certificates_reloaded;
    uint64_t reloads_failed;
    uint64_t keyring_unwritten;  /* an order could not be written to the file */
    uint64_t orders_unfulfilled; /* a key could not be opened, or had no room */
};

/** @param out  NULL when there are no paths: links in the clear.
 *  @return as keyring_read() and tls_context_of_files(). */
int security_open(const struct security_options *options, struct security **out,
                  struct argus_error *err);
void security_close(struct security *s);

/** Borrowed until the next poll or order. */
struct tls_context *security_context(const struct security *s);

/** NULL: certificates, or s is NULL. Borrowed likewise. */
const struct keyring *security_keyring(const struct security *s);

/** Look at the files. @return true: there is another context. */
bool security_poll(struct security *s);

/** The order in force. Without a keyring (s may be NULL) it does nothing.
 *  @return true: there is another context. */
bool security_obey(struct security *s, const argus_KeyringOrder *order);

const struct security_stats *security_stats(const struct security *s);

#endif
