/* bundles_push.c - what argusctl brings: may it be pushed here? */
#include <stdlib.h>
#include <string.h>

#include "core/bundles_impl.h"
#include "core/manifest.h"
#include "core/target.h"

static void hex(const uint8_t *bytes, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

/* "3 weeks" is for people to make of it. */
static int check_expiry(const argus_Manifest *m, uint64_t wall_us,
                        struct argus_error *err)
{
    uint64_t now_ms = wall_us / 1000;

    if (m->expires_ms == 0 || m->expires_ms > now_ms)
        return ARGUS_OK;
    return argus_fail(err, ARGUS_EDENIED,
                      "version %u of %s expired %llu s ago, by the clock of "
                      "this node",
                      m->version, m->name,
                      (unsigned long long)(now_ms - m->expires_ms) / 1000);
}

static int check_vouch(struct bundles *b, const argus_SignedBundle *bundle,
                       const argus_Manifest *m, struct argus_error *err)
{
    uint8_t id[OPERATOR_ID_SIZE];
    char key[2 * FINGERPRINT_BYTES + 1];

    bundles_operator_id(b, bundle->key, id);
    hex(id, FINGERPRINT_BYTES, key);
    if (!b->seal.vouches(b->seal.context, bundle))
        return argus_fail(err, ARGUS_EDENIED,
                          "the signature on %s is wrong: key %s did not sign "
                          "this, or for another cluster",
                          m->name, key);
    if (key_is_revoked(b, id))
        return argus_fail(err, ARGUS_EDENIED,
                          "the key %s was revoked: nothing that it signs "
                          "counts any more",
                          key);
    if (key_is_trusted(b, bundle->key))
        return ARGUS_OK;
    if (m->has_order)
        return argus_fail(err, ARGUS_EDENIED,
                          "the key %s is not trusted here (TrustedKey): give "
                          "orders at a node that trusts it",
                          key);
    if (b->trusted_count > 0)
        return argus_fail(err, ARGUS_EDENIED,
                          "the key %s is not trusted here (TrustedKey): %s "
                          "would not run",
                          key, m->name);
    return ARGUS_OK;
}

/* The next version is the one in force plus one, and says so by its hash. */
static int check_sequence(const struct bundles *b,
                          const argus_SignedBundle *bundle,
                          const argus_Manifest *m, struct argus_error *err)
{
    const struct bundle_version *head = bundles_version(b, m->name, 0);
    char hash[17];

    if (bundles_knows(b, bundle))
        return argus_fail(err, ARGUS_EBUSY,
                          "version %u of %s was pushed already", m->version,
                          m->name);
    if (head == NULL) {
        if (m->removed)
            return argus_fail(err, ARGUS_EINVAL,
                              "there is no %s that could be removed", m->name);
        if (m->version != 1)
            return argus_fail(err, ARGUS_EBUSY,
                              "no version of %s is known here, this is "
                              "version %u",
                              m->name, m->version);
        return ARGUS_OK;
    }
    if (m->version != head->manifest.version + 1 ||
        memcmp(m->before.bytes, head->hash, CONTENT_HASH_SIZE) != 0) {
        hex(head->hash, 8, hash);
        return argus_fail(err, ARGUS_EBUSY,
                          "version %u of %s does not follow version %u (%s), "
                          "which is the newest here: another push came before",
                          m->version, m->name, head->manifest.version, hash);
    }
    if (m->removed && head->manifest.removed)
        return argus_fail(err, ARGUS_EINVAL, "%s is removed already", m->name);
    return ARGUS_OK;
}

/* What was sent before the push, to the byte: every chunk of the size that the
 * manifest says, every file with the hash it names. */
static int check_files(const struct bundles *b, const argus_Manifest *m,
                       struct argus_error *err)
{
    uint64_t offset = 0;
    uint8_t hash[CONTENT_HASH_SIZE];

    for (pb_size_t i = 0; i < m->files_count; i++) {
        const argus_BundleFile *f = &m->files[i];
        const char *name = f->name[0] == '\0' ? "the text" : f->name;
        uint8_t *data = malloc((size_t)f->size + 1);
        if (data == NULL)
            return argus_fail(err, ARGUS_EFULL, "no memory to check %s", name);
        bool is_whole =
            content_read(&b->chunks, m, offset, data, f->size) == f->size;
        b->seal.digest(data, f->size, hash);
        free(data);
        if (!is_whole)
            return argus_fail(err, ARGUS_EINVAL,
                              "%s: the chunks do not make up %s", m->name,
                              name);
        if (memcmp(hash, f->sha256, CONTENT_HASH_SIZE) != 0)
            return argus_fail(err, ARGUS_EINVAL,
                              "%s: the content of %s is not what was signed",
                              m->name, name);
        offset += f->size;
    }
    return ARGUS_OK;
}

static int check_content(const struct bundles *b, const argus_Manifest *m,
                         struct argus_error *err)
{
    uint8_t missing[CONTENT_HASH_SIZE];
    char hash[17];

    if (content_size(m) > b->size_max)
        return argus_fail(err, ARGUS_EINVAL,
                          "%s holds %llu bytes, MaxSize here is %llu", m->name,
                          (unsigned long long)content_size(m),
                          (unsigned long long)b->size_max);
    if (content_is_complete(&b->chunks, m, missing))
        return check_files(b, m, err);
    hex(missing, 8, hash);
    return argus_fail(err, ARGUS_ENOENT,
                      "%s: chunk %s was not sent before the push", m->name,
                      hash);
}

static int check_push(struct bundles *b, uint64_t wall_us,
                      const argus_SignedBundle *bundle, const argus_Manifest *m,
                      struct argus_error *err)
{
    int rc = check_vouch(b, bundle, m, err);

    if (rc == ARGUS_OK)
        rc = check_expiry(m, wall_us, err);
    if (rc == ARGUS_OK)
        rc = check_sequence(b, bundle, m, err);
    if (rc != ARGUS_OK || m->removed || m->has_order)
        return rc;
    rc = target_check(m->target, err);
    return rc == ARGUS_OK ? check_content(b, m, err) : rc;
}

int bundles_check_push(struct bundles *b, uint64_t wall_us,
                       const argus_SignedBundle *bundle, argus_Manifest *out,
                       struct argus_error *err)
{
    int rc = manifest_open(bundle, out, err);

    if (rc == ARGUS_OK)
        rc = check_push(b, wall_us, bundle, out, err);
    b->stats.pushes_refused += rc != ARGUS_OK;
    return rc;
}

int bundles_push(struct bundles *b, uint64_t wall_us,
                 const argus_SignedBundle *bundle, struct bundle_slot **slot,
                 struct actions *out, struct argus_error *err)
{
    struct bundle_version *v = NULL;

    if (manifest_open(bundle, &b->scratch, err) != ARGUS_OK)
        return ARGUS_EINVAL;
    if (bundles_take_sound(b, wall_us, bundle, &b->scratch, &v, out) !=
        BUNDLES_NEWS) {
        b->stats.pushes_refused++;
        return argus_fail(err, ARGUS_EFULL,
                          "no room for another bundle: %u slots are taken",
                          b->slots_count);
    }
    v->is_pushed = true;
    *slot = v->slot;
    b->stats.pushes_accepted++;
    return ARGUS_OK;
}
