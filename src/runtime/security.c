#include "runtime/security.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/crypto.h>

#include "base/log.h"
#include "runtime/tls.h"

#define FILES 4
#define PATH_SIZE 1024

/* What tells that a file is another one than before. */
struct stamp {
    struct timespec modified;
    ino_t inode;
    off_t size;
};

struct security {
    bool has_keys;
    char paths[FILES][PATH_SIZE]; /* the key file; or certificate, private key,
                                   * CA, CRL */
    char name[128];
    struct stamp stamps[FILES];
    struct keyring ring;
    bool has_order;
    argus_KeyringOrder order;
    struct tls_context *context;
    struct security_stats stats;
};

static struct stamp stamp_of(const char *path)
{
    struct stamp stamp = {.inode = 0};
    struct stat st;

    if (path[0] != '\0' && stat(path, &st) == 0)
        stamp = (struct stamp){
            .modified = st.st_mtim, .inode = st.st_ino, .size = st.st_size};
    return stamp;
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
    return a->modified.tv_sec == b->modified.tv_sec &&
           a->modified.tv_nsec == b->modified.tv_nsec && a->inode == b->inode &&
           a->size == b->size;
}

/* @return true: some file is another one than when this was last asked. */
static bool take_stamps(struct security *s)
{
    bool has_changed = false;

    for (unsigned i = 0; i < FILES; i++) {
        struct stamp now = stamp_of(s->paths[i]);
        has_changed |= !is_same(&now, &s->stamps[i]);
        s->stamps[i] = now;
    }
    return has_changed;
}

static int load_certificates(struct security *s, struct argus_error *err)
{
    const struct tls_files files = {
        .certificate = s->paths[0],
        .private_key = s->paths[1],
        .ca = s->paths[2],
        .crl = s->paths[3][0] != '\0' ? s->paths[3] : NULL,
        .name = s->name,
    };
    struct tls_context *context;
    int rc = tls_context_of_files(&files, &context, err);

    if (rc != ARGUS_OK)
        return rc;
    tls_context_release(s->context);
    s->context = context;
    return ARGUS_OK;
}

static int use_ring(struct security *s, const struct keyring *ring,
                    struct argus_error *err)
{
    struct tls_context *context;
    int rc = tls_context_of_keys(ring, &context, err);

    if (rc != ARGUS_OK)
        return rc;
    tls_context_release(s->context);
    s->context = context;
    s->ring = *ring;
    return ARGUS_OK;
}

static void write_ring(struct security *s, const struct keyring *ring)
{
    struct argus_error err = {{0}};

    if (keyring_write(s->paths[0], ring, &err) == ARGUS_OK) {
        log_write(LOG_LEVEL_NOTICE,
                  "keyring %s rewritten as an operator ordered: %u keys",
                  s->paths[0], ring->count);
    } else {
        s->stats.keyring_unwritten++;
        log_write(LOG_LEVEL_ERROR,
                  "the keyring that an operator ordered cannot be written: %s. "
                  "It holds in memory, and again after a restart as long as "
                  "StateDir is kept; make the file writable for collectd",
                  err.text);
    }
    (void)take_stamps(s); /* our own writing is no news */
}

/* Of a ring that comes from the file or was in force before. */
static bool obey(struct security *s, struct keyring *ring)
{
    if (!s->has_order)
        return false;
    struct keyring_change change = keyring_obey(ring, &s->order);
    if (change.unknown + change.no_room > 0 || change.dial_unknown ||
        change.is_last_kept) {
        s->stats.orders_unfulfilled++;
        log_write(LOG_LEVEL_ERROR,
                  "an operator's order for the keyring is not wholly done: "
                  "%u keys cannot be opened here, %u find no room%s%s",
                  change.unknown, change.no_room,
                  change.dial_unknown ? ", the key to dial with is missing"
                                      : "",
                  change.is_last_kept ? ", the last key stays although it was "
                                        "to be removed"
                                      : "");
    }
    return change.has_changed;
}

static int load_keys(struct security *s, struct argus_error *err)
{
    struct keyring ring;
    int rc = keyring_read(s->paths[0], &ring, err);

    if (rc != ARGUS_OK)
        return rc;
    bool has_changed = obey(s, &ring);
    rc = use_ring(s, &ring, err);
    if (rc == ARGUS_OK && has_changed)
        write_ring(s, &ring);
    OPENSSL_cleanse(&ring, sizeof ring);
    return rc;
}

static int load(struct security *s, struct argus_error *err)
{
    return s->has_keys ? load_keys(s, err) : load_certificates(s, err);
}

static void copy_paths(struct security *s, const struct security_options *o)
{
    const char *paths[FILES] = {o->certificate, o->private_key, o->ca, o->crl};

    if (s->has_keys)
        (void)snprintf(s->paths[0], PATH_SIZE, "%s", o->key_file);
    for (unsigned i = 0; !s->has_keys && i < FILES; i++)
        (void)snprintf(s->paths[i], PATH_SIZE, "%s", paths[i]);
    (void)snprintf(s->name, sizeof s->name, "%s", o->name);
}

int security_open(const struct security_options *options, struct security **out,
                  struct argus_error *err)
{
    struct security *s;

    *out = NULL;
    if (options->key_file[0] == '\0' && options->certificate[0] == '\0')
        return ARGUS_OK;
    s = calloc(1, sizeof *s);
    if (s == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for the keys");
    s->has_keys = options->key_file[0] != '\0';
    copy_paths(s, options);
    (void)take_stamps(s);
    int rc = load(s, err);
    if (rc != ARGUS_OK) {
        security_close(s);
        return rc;
    }
    *out = s;
    return ARGUS_OK;
}

void security_close(struct security *s)
{
    if (s == NULL)
        return;
    tls_context_release(s->context);
    OPENSSL_cleanse(s, sizeof *s);
    free(s);
}

struct tls_context *security_context(const struct security *s)
{
    return s != NULL ? s->context : NULL;
}

const struct keyring *security_keyring(const struct security *s)
{
    return s != NULL && s->has_keys ? &s->ring : NULL;
}

bool security_poll(struct security *s)
{
    struct argus_error err = {{0}};

    if (s == NULL || !take_stamps(s))
        return false;
    if (load(s, &err) != ARGUS_OK) {
        s->stats.reloads_failed++;
        log_write(LOG_LEVEL_ERROR,
                  "%s has changed and is not used: %s. What was read before "
                  "stays in force",
                  s->has_keys ? "KeyFile" : "a certificate file", err.text);
        return false;
    }
    if (s->has_keys)
        s->stats.keys_reloaded++;
    else
        s->stats.certificates_reloaded++;
    log_write(LOG_LEVEL_NOTICE, "%s read again: it had changed",
              s->has_keys ? s->paths[0] : "certificate files");
    return true;
}

bool security_obey(struct security *s, const argus_KeyringOrder *order)
{
    struct argus_error err = {{0}};

    if (security_keyring(s) == NULL)
        return false;
    struct keyring ring = s->ring;
    s->order = *order;
    s->has_order = true;
    bool has_changed = obey(s, &ring);
    if (has_changed && use_ring(s, &ring, &err) != ARGUS_OK) {
        log_write(LOG_LEVEL_ERROR, "an ordered keyring is not used: %s",
                  err.text);
        has_changed = false;
    }
    if (has_changed) {
        s->stats.keys_reloaded++;
        write_ring(s, &ring);
    }
    OPENSSL_cleanse(&ring, sizeof ring);
    return has_changed;
}

const struct security_stats *security_stats(const struct security *s)
{
    static const struct security_stats none;

    return s != NULL ? &s->stats : &none;
}
