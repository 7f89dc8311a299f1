#include "core/bundles.h"

#include <stdlib.h>
#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/node_id.h"
#include "base/text.h"
#include "core/manifest.h"
#include "core/target.h"

/** Wall clocks jump: expiry is looked at so often at least. */
#define EXPIRY_LOOK_MS 60000

/** Versions pushed one after the other may overtake each other by so much. */
#define DOUBT_MS 5000

struct bundles {
    struct seal seal;
    struct chunk_store chunks;
    struct bundles_listener listener;
    uint8_t (*trusted)[32];
    uint32_t trusted_count;
    uint64_t size_max;

    struct bundle_slot *slots[BUNDLES_MAX]; /* by id */
    uint32_t slots_count, untrusted_count;
    struct bundle_slot *names[BUNDLES_MAX]; /* in force, by name */
    uint32_t names_count;
    bool is_started, is_changed;
    uint64_t expiry_due_ms;
    uint64_t doubt_due_ms;  /* 0: to be set; UINT64_MAX: no doubts */
    argus_Manifest scratch; /* large */
    struct bundles_stats stats;
};

/* ------------------------------------------------------------------ life */

int bundles_new(const struct engine_options *node,
                const struct bundles_listener *listener, struct bundles **out)
{
    uint32_t count = node->trusted_keys_count;

    if (node->seal.digest == NULL || node->seal.vouches == NULL ||
        node->chunks.has == NULL || node->chunks.get == NULL ||
        node->chunks.put == NULL)
        return ARGUS_EINVAL;
    struct bundles *b = calloc(1, sizeof *b);
    if (b == NULL)
        return ARGUS_ENOMEM;
    b->trusted = calloc(count + 1u, sizeof *b->trusted);
    if (b->trusted == NULL) {
        free(b);
        return ARGUS_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++)
        memcpy(b->trusted[i], node->trusted_keys[i], sizeof *b->trusted);
    b->trusted_count = count;
    b->seal = node->seal;
    b->chunks = node->chunks;
    b->listener = *listener;
    b->size_max = node->bundle_size_max;
    b->doubt_due_ms = UINT64_MAX;
    *out = b;
    return ARGUS_OK;
}

void bundles_free(struct bundles *b)
{
    if (b == NULL)
        return;
    for (uint32_t i = 0; i < b->slots_count; i++) {
        for (uint32_t k = 0; k < b->slots[i]->count; k++)
            free(b->slots[i]->versions[k]);
        free(b->slots[i]);
    }
    free(b->trusted);
    free(b);
}

/* ----------------------------------------------------------------- slots */

int bundles_compare(uint32_t va, const uint8_t *ha, uint32_t vb,
                    const uint8_t *hb, size_t n)
{
    if (va != vb)
        return va < vb ? -1 : 1;
    return memcmp(hb, ha, n);
}

static int compare_versions(const struct bundle_version *a,
                            const struct bundle_version *b)
{
    return bundles_compare(a->manifest.version, a->hash, b->manifest.version,
                           b->hash, CONTENT_HASH_SIZE);
}

static bool key_is_trusted(const struct bundles *b, const uint8_t key[32])
{
    for (uint32_t i = 0; i < b->trusted_count; i++)
        if (memcmp(b->trusted[i], key, 32) == 0)
            return true;
    return false;
}

static void slot_id(const struct bundles *b, const argus_SignedBundle *bundle,
                    const argus_Manifest *m, uint8_t id[BUNDLE_SLOT_ID_SIZE])
{
    uint8_t text[32 + sizeof m->name], hash[CONTENT_HASH_SIZE];
    size_t size = strlen(m->name);

    memcpy(text, bundle->key, 32);
    memcpy(text + 32, m->name, size);
    b->seal.digest(text, 32 + size, hash);
    memcpy(id, hash, BUNDLE_SLOT_ID_SIZE);
}

/* Place of the first slot whose id is not below. */
static uint32_t lower_bound(const struct bundles *b, const uint8_t *id)
{
    uint32_t low = 0, high = b->slots_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (memcmp(b->slots[middle]->id, id, BUNDLE_SLOT_ID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct bundle_slot *bundles_find_slot(const struct bundles *b,
                                      const uint8_t id[BUNDLE_SLOT_ID_SIZE])
{
    uint32_t i = lower_bound(b, id);

    return i < b->slots_count &&
                   memcmp(b->slots[i]->id, id, BUNDLE_SLOT_ID_SIZE) == 0
               ? b->slots[i]
               : NULL;
}

static bool has_room(const struct bundles *b, bool is_trusted)
{
    return is_trusted
               ? b->slots_count - b->untrusted_count < BUNDLES_TRUSTED_MAX
               : b->untrusted_count < BUNDLES_UNTRUSTED_MAX;
}

static struct bundle_slot *add_slot(struct bundles *b,
                                    const uint8_t id[BUNDLE_SLOT_ID_SIZE],
                                    bool is_trusted)
{
    uint32_t at = lower_bound(b, id);
    struct bundle_slot *slot = calloc(1, sizeof *slot);

    if (slot == NULL)
        return NULL;
    memcpy(slot->id, id, BUNDLE_SLOT_ID_SIZE);
    slot->is_trusted = is_trusted;
    memmove(&b->slots[at + 1], &b->slots[at],
            (b->slots_count - at) * sizeof b->slots[0]);
    b->slots[at] = slot;
    b->slots_count++;
    b->untrusted_count += !is_trusted;
    return slot;
}

/* ---------------------------------------------------------------- in force */

static const char *name_of(const struct bundle_slot *slot)
{
    return bundle_slot_head(slot)->manifest.name;
}

/* Place of the first name that is not below. */
static uint32_t name_bound(const struct bundles *b, const char *name)
{
    uint32_t low = 0, high = b->names_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (strcmp(name_of(b->names[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct bundle_slot *slot_in_force(const struct bundles *b,
                                         const char *name)
{
    uint32_t i = name_bound(b, name);

    return i < b->names_count && strcmp(name_of(b->names[i]), name) == 0
               ? b->names[i]
               : NULL;
}

static bool yields(const struct bundle_slot *a, const struct bundle_slot *b)
{
    if (a->is_trusted != b->is_trusted)
        return !a->is_trusted;
    return compare_versions(bundle_slot_head(a), bundle_slot_head(b)) < 0;
}

/* A slot has a new head. */
static void settle_name(struct bundles *b, struct bundle_slot *slot)
{
    uint32_t at = name_bound(b, name_of(slot));

    if (at == b->names_count ||
        strcmp(name_of(b->names[at]), name_of(slot)) != 0) {
        memmove(&b->names[at + 1], &b->names[at],
                (b->names_count - at) * sizeof b->names[0]);
        b->names[at] = slot;
        b->names_count++;
    } else if (yields(b->names[at], slot)) {
        b->names[at] = slot;
    }
}

/* ----------------------------------------------------------------- versions */

/* Two keys may sign one manifest: those are two versions, of two slots. */
static struct node_id disk_key(const struct bundles *b,
                               const struct bundle_version *v)
{
    uint8_t text[32 + CONTENT_HASH_SIZE], hash[CONTENT_HASH_SIZE];

    memcpy(text, v->bundle.key, 32);
    memcpy(text + 32, v->hash, CONTENT_HASH_SIZE);
    b->seal.digest(text, sizeof text, hash);
    return node_id_of(hash);
}

static void store_version(const struct bundles *b,
                          const struct bundle_version *v, struct actions *out)
{
    uint8_t packed[argus_SignedBundle_size];
    pb_ostream_t stream = pb_ostream_from_buffer(packed, sizeof packed);

    if (out == NULL || !pb_encode(&stream, argus_SignedBundle_fields,
                                  &v->bundle)) /* it fits: the bound is its */
        return;
    struct action a = {.type = ACTION_STORE,
                       .store = {.what = STORE_BUNDLE,
                                 .key = disk_key(b, v),
                                 .data = packed,
                                 .size = stream.bytes_written}};
    out->emit(out->context, &a);
}

static void drop_version(const struct bundles *b, struct bundle_version *v,
                         struct actions *out)
{
    struct action a = {.type = ACTION_STORE,
                       .store = {.what = STORE_BUNDLE, .key = disk_key(b, v)}};

    if (out != NULL)
        out->emit(out->context, &a);
    free(v);
}

static struct bundle_version *find_in_slot(const struct bundle_slot *slot,
                                           uint32_t version)
{
    for (uint32_t i = 0; i < slot->count; i++)
        if (slot->versions[i]->manifest.version == version)
            return slot->versions[i];
    return NULL;
}

/* The place in a full slot of the version that goes: the oldest that nobody
 * wants to run again, the head apart. */
static uint32_t dispensable(const struct bundle_slot *slot)
{
    uint32_t i = slot->count - 1;

    while (i > 0 && slot->versions[i]->is_kept)
        i--;
    return i > 0 ? i : slot->count - 1; /* all are wanted */
}

/* Where a version belongs in its slot, the head first. false: nowhere. */
static bool find_place(const struct bundle_slot *slot, uint32_t version,
                       const uint8_t *hash, uint32_t *place, bool *replaces)
{
    uint32_t i = 0;

    while (i < slot->count && slot->versions[i]->manifest.version > version)
        i++;
    *place = i;
    *replaces =
        i < slot->count && slot->versions[i]->manifest.version == version;
    if (*replaces)
        return bundles_compare(version, hash, version, slot->versions[i]->hash,
                               CONTENT_HASH_SIZE) > 0;
    return slot->count < BUNDLES_HISTORY || i <= dispensable(slot);
}

/* @return what went for it, NULL: nothing. */
static struct bundle_version *insert_version(struct bundle_slot *slot,
                                             struct bundle_version *v,
                                             uint32_t place, bool replaces)
{
    struct bundle_version *gone = NULL;
    uint32_t last = slot->count;

    v->slot = slot;
    if (replaces) {
        gone = slot->versions[place];
        slot->versions[place] = v;
        return gone;
    }
    if (slot->count == BUNDLES_HISTORY) {
        last = dispensable(slot);
        gone = slot->versions[last];
    } else {
        slot->count++;
    }
    memmove(&slot->versions[place + 1], &slot->versions[place],
            (last - place) * sizeof slot->versions[0]);
    slot->versions[place] = v;
    return gone;
}

static bool is_expired(const struct bundle_version *v, uint64_t wall_us)
{
    return v->manifest.expires_ms != 0 &&
           v->manifest.expires_ms <= wall_us / 1000;
}

static struct bundle_version *make_version(const argus_SignedBundle *bundle,
                                           const argus_Manifest *m,
                                           const uint8_t *hash)
{
    struct bundle_version *v = calloc(1, sizeof *v);

    if (v == NULL)
        return NULL;
    v->bundle = *bundle;
    v->manifest = *m;
    memcpy(v->hash, hash, CONTENT_HASH_SIZE);
    return v;
}

static bool builds_on(const struct bundle_version *v,
                      const struct bundle_version *before)
{
    return v->manifest.version == before->manifest.version + 1 &&
           memcmp(v->manifest.before.bytes, before->hash, CONTENT_HASH_SIZE) ==
               0;
}

static void tell_loss(struct bundles *b, struct bundle_version *loser,
                      const struct bundle_version *winner, bool is_certain)
{
    loser->is_pushed = loser->is_doubtful = false;
    b->stats.pushes_lost++;
    b->listener.lost(b->listener.context, loser, winner, is_certain);
}

/* Did the push of `was` at this node come to nothing? */
static void on_overtaken(struct bundles *b, struct bundle_version *was,
                         const struct bundle_version *now)
{
    if (!was->is_pushed)
        return;
    if (builds_on(now, was)) {
        was->is_pushed = false;
    } else if (now->manifest.version <= was->manifest.version + 1) {
        tell_loss(b, was, now, true);
    } else {
        was->is_doubtful = true;
        b->doubt_due_ms = 0;
    }
}

/* The slot takes the version in; which one is in force may change with it. */
static void put_version(struct bundles *b, struct bundle_slot *slot,
                        struct bundle_version *v, uint32_t place, bool replaces,
                        struct actions *out)
{
    const struct bundle_slot *force = slot_in_force(b, v->manifest.name);
    struct bundle_version *was = force != NULL ? bundle_slot_head(force) : NULL;
    struct bundle_version *gone = insert_version(slot, v, place, replaces);

    store_version(b, v, out);
    if (place == 0) {
        settle_name(b, slot);
        b->is_changed = true;
    }
    const struct bundle_version *now =
        bundle_slot_head(slot_in_force(b, v->manifest.name));
    if (was != NULL && was != now)
        on_overtaken(b, was, now);
    if (gone != NULL)
        drop_version(b, gone, out);
}

/* ----------------------------------------------------------------- intake */

/* manifest: opened and checked already, the signature too. */
static enum bundles_verdict take_sound(struct bundles *b, uint64_t wall_us,
                                       const argus_SignedBundle *bundle,
                                       const argus_Manifest *m,
                                       struct bundle_version **taken,
                                       struct actions *out)
{
    uint8_t id[BUNDLE_SLOT_ID_SIZE], hash[CONTENT_HASH_SIZE];
    uint32_t place = 0;
    bool replaces = false;

    b->seal.digest(bundle->manifest.bytes, bundle->manifest.size, hash);
    slot_id(b, bundle, m, id);
    struct bundle_slot *slot = bundles_find_slot(b, id);
    if (slot != NULL &&
        !find_place(slot, m->version, hash, &place, &replaces)) {
        b->stats.bundles_known++;
        return BUNDLES_KNOWN;
    }
    bool is_trusted = key_is_trusted(b, bundle->key);
    if (slot == NULL && !has_room(b, is_trusted)) {
        b->stats.bundles_refused++;
        return BUNDLES_NO_ROOM;
    }
    struct bundle_version *v = make_version(bundle, m, hash);
    if (v == NULL ||
        (slot == NULL && (slot = add_slot(b, id, is_trusted)) == NULL)) {
        free(v);
        b->stats.memory_refused++;
        return BUNDLES_NO_ROOM;
    }
    v->is_expired = is_expired(v, wall_us);
    put_version(b, slot, v, place, replaces, out);
    *taken = v;
    if (place == 0 && b->is_started)
        v->is_complete = content_is_complete(&b->chunks, m, NULL);
    if (m->expires_ms != 0)
        b->expiry_due_ms = 0;
    b->stats.bundles_news++;
    return place == 0 ? BUNDLES_NEWS : BUNDLES_KNOWN;
}

bool bundles_knows(const struct bundles *b, const argus_SignedBundle *bundle)
{
    uint8_t hash[CONTENT_HASH_SIZE];

    b->seal.digest(bundle->manifest.bytes, bundle->manifest.size, hash);
    const struct bundle_version *v = bundles_by_hash(b, hash);
    /* Another key's signature on the same manifest is another slot's. If it is
     * known it is found out later, by its place. */
    return v != NULL && memcmp(v->bundle.key, bundle->key, 32) == 0;
}

bool bundles_slot_of(struct bundles *b, const argus_SignedBundle *bundle,
                     uint8_t id[BUNDLE_SLOT_ID_SIZE])
{
    if (manifest_open(bundle, &b->scratch, NULL) != ARGUS_OK)
        return false;
    slot_id(b, bundle, &b->scratch, id);
    return true;
}

enum bundles_verdict bundles_take(struct bundles *b, uint64_t wall_us,
                                  const argus_SignedBundle *bundle,
                                  struct bundle_slot **slot,
                                  struct actions *out)
{
    struct bundle_version *v = NULL;

    if (bundles_knows(b, bundle)) {
        b->stats.bundles_known++;
        return BUNDLES_KNOWN;
    }
    if (manifest_open(bundle, &b->scratch, NULL) != ARGUS_OK ||
        !b->seal.vouches(b->seal.context, bundle)) {
        b->stats.bundles_bad++;
        return BUNDLES_BAD;
    }
    enum bundles_verdict verdict =
        take_sound(b, wall_us, bundle, &b->scratch, &v, out);
    if (verdict == BUNDLES_NEWS && slot != NULL)
        *slot = v->slot;
    return verdict;
}

bool bundles_load(struct bundles *b, const uint8_t *packed, size_t size)
{
    argus_SignedBundle bundle;
    pb_istream_t in = pb_istream_from_buffer(packed, size);

    if (!pb_decode(&in, argus_SignedBundle_fields, &bundle))
        return false;
    enum bundles_verdict verdict = bundles_take(b, 0, &bundle, NULL, NULL);
    return verdict == BUNDLES_NEWS || verdict == BUNDLES_KNOWN;
}

void bundles_start(struct bundles *b, uint64_t wall_us)
{
    b->is_started = true;
    b->is_changed = true;
    for (uint32_t i = 0; i < b->slots_count; i++) {
        struct bundle_version *v = bundle_slot_head(b->slots[i]);
        v->is_complete = content_is_complete(&b->chunks, &v->manifest, NULL);
        v->is_expired = is_expired(v, wall_us);
    }
}

/* ------------------------------------------------------------------- pushes */

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
    char key[17];

    hex(bundle->key, 8, key);
    if (!b->seal.vouches(b->seal.context, bundle))
        return argus_fail(err, ARGUS_EDENIED,
                          "the signature on %s is wrong: key %s did not sign "
                          "this, or for another cluster",
                          m->name, key);
    if (b->trusted_count > 0 && !key_is_trusted(b, bundle->key))
        return argus_fail(err, ARGUS_EDENIED,
                          "the key %s is not trusted here (TrustedKey): %s "
                          "would not run",
                          key, m->name);
    return ARGUS_OK;
}

/* The next version is the one in force plus one, and says so by its hash. */
static int check_order(const struct bundles *b,
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
        rc = check_order(b, bundle, m, err);
    if (rc == ARGUS_OK && !m->removed)
        rc = target_check(m->target, err);
    if (rc == ARGUS_OK && !m->removed)
        rc = check_content(b, m, err);
    return rc;
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
    if (take_sound(b, wall_us, bundle, &b->scratch, &v, out) != BUNDLES_NEWS) {
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

/* ------------------------------------------------------ content, expiry */

void bundles_completed(struct bundles *b, struct bundle_slot *slot)
{
    bundle_slot_head(slot)->is_complete = true;
    b->is_changed = true;
}

void bundles_recheck(struct bundles *b)
{
    for (uint32_t i = 0; i < b->slots_count; i++) {
        struct bundle_version *v = bundle_slot_head(b->slots[i]);
        if (!v->is_complete ||
            content_is_complete(&b->chunks, &v->manifest, NULL))
            continue;
        v->is_complete = false;
        b->is_changed = true;
    }
}

static void look_at_expiry(struct bundles *b, uint64_t now_ms, uint64_t wall_us)
{
    uint64_t next_ms = EXPIRY_LOOK_MS;
    bool any = false;

    for (uint32_t i = 0; i < b->slots_count; i++) {
        struct bundle_version *v = bundle_slot_head(b->slots[i]);
        bool was = v->is_expired;
        v->is_expired = is_expired(v, wall_us);
        b->is_changed |= was != v->is_expired;
        if (v->manifest.expires_ms == 0)
            continue;
        any = true;
        if (!v->is_expired && v->manifest.expires_ms - wall_us / 1000 < next_ms)
            next_ms = v->manifest.expires_ms - wall_us / 1000;
    }
    b->expiry_due_ms = any ? now_ms + next_ms : UINT64_MAX;
}

/* By now the versions between have come, or will not. */
static void settle_doubt(struct bundles *b, struct bundle_version *v)
{
    const char *name = v->manifest.name;
    const struct bundle_version *next =
        bundles_version(b, name, v->manifest.version + 1);

    if (next != NULL && builds_on(next, v))
        v->is_pushed = v->is_doubtful = false;
    else
        tell_loss(b, v, bundles_version(b, name, 0), next != NULL);
}

static void settle_doubts(struct bundles *b, uint64_t now_ms)
{
    if (b->doubt_due_ms == 0) {
        b->doubt_due_ms = now_ms + DOUBT_MS;
        return;
    }
    b->doubt_due_ms = UINT64_MAX;
    for (uint32_t i = 0; i < b->slots_count; i++)
        for (uint32_t k = 0; k < b->slots[i]->count; k++)
            if (b->slots[i]->versions[k]->is_doubtful)
                settle_doubt(b, b->slots[i]->versions[k]);
}

void bundles_keep(struct bundles *b, const uint8_t (*hashes)[CONTENT_HASH_SIZE],
                  uint32_t count)
{
    for (uint32_t i = 0; i < b->slots_count; i++)
        for (uint32_t k = 0; k < b->slots[i]->count; k++) {
            struct bundle_version *v = b->slots[i]->versions[k];
            v->is_kept = false;
            for (uint32_t h = 0; h < count && !v->is_kept; h++)
                v->is_kept = memcmp(v->hash, hashes[h], CONTENT_HASH_SIZE) == 0;
        }
}

void bundles_on_timeout(struct bundles *b, uint64_t now_ms, uint64_t wall_us)
{
    if (!b->is_started)
        return;
    if (b->expiry_due_ms <= now_ms)
        look_at_expiry(b, now_ms, wall_us);
    if (b->doubt_due_ms <= now_ms)
        settle_doubts(b, now_ms);
}

uint64_t bundles_deadline_ms(const struct bundles *b)
{
    if (!b->is_started)
        return UINT64_MAX;
    return b->expiry_due_ms < b->doubt_due_ms ? b->expiry_due_ms
                                              : b->doubt_due_ms;
}

bool bundles_take_changed(struct bundles *b)
{
    bool changed = b->is_changed && b->is_started;

    if (changed)
        b->is_changed = false;
    return changed;
}

/* ---------------------------------------------------------------- questions */

uint32_t bundles_slots_count(const struct bundles *b)
{
    return b->slots_count;
}

struct bundle_slot *bundles_slot(const struct bundles *b, uint32_t index)
{
    return index < b->slots_count ? b->slots[index] : NULL;
}

/* Strangers' content in order of slots, up to the bound: the same answer for
 * the same table. */
static bool stranger_fits(const struct bundles *b,
                          const struct bundle_slot *slot)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < b->slots_count; i++) {
        if (b->slots[i]->is_trusted)
            continue;
        for (uint32_t k = 0; k < b->slots[i]->count; k++)
            bytes += content_size(&b->slots[i]->versions[k]->manifest);
        if (b->slots[i] == slot)
            break;
    }
    return bytes <= BUNDLES_UNTRUSTED_BYTES;
}

bool bundles_wants_content(const struct bundles *b,
                           const struct bundle_slot *slot)
{
    const struct bundle_version *v = bundle_slot_head(slot);

    return !v->is_complete && content_size(&v->manifest) <= b->size_max &&
           (slot->is_trusted || stranger_fits(b, slot));
}

const struct bundle_version *bundles_in_force(const struct bundles *b,
                                              uint32_t index)
{
    return index < b->names_count ? bundle_slot_head(b->names[index]) : NULL;
}

const struct bundle_version *bundles_version(const struct bundles *b,
                                             const char *name, uint32_t version)
{
    const struct bundle_slot *force = slot_in_force(b, name);
    const struct bundle_version *v;

    if (force == NULL)
        return NULL;
    if (version == 0)
        return bundle_slot_head(force);
    if ((v = find_in_slot(force, version)) != NULL)
        return v;
    for (uint32_t i = 0; i < b->slots_count; i++)
        if (strcmp(name_of(b->slots[i]), name) == 0 &&
            (v = find_in_slot(b->slots[i], version)) != NULL)
            return v;
    return NULL;
}

const struct bundle_version *
bundles_by_hash(const struct bundles *b, const uint8_t hash[CONTENT_HASH_SIZE])
{
    const struct bundle_version *found = NULL;

    for (uint32_t i = 0; i < b->slots_count; i++)
        for (uint32_t k = 0; k < b->slots[i]->count; k++) {
            const struct bundle_version *v = b->slots[i]->versions[k];
            if (memcmp(v->hash, hash, CONTENT_HASH_SIZE) == 0 &&
                (found == NULL || b->slots[i]->is_trusted))
                found = v;
        }
    return found;
}

bool bundles_is_in_force(const struct bundles *b,
                         const struct bundle_version *version)
{
    const struct bundle_slot *force = slot_in_force(b, version->manifest.name);

    return force != NULL && bundle_slot_head(force) == version;
}

bool bundles_is_complete(const struct bundles *b,
                         const struct bundle_version *version)
{
    if (bundle_slot_head(version->slot) == version)
        return version->is_complete;
    return content_is_complete(&b->chunks, &version->manifest, NULL);
}

const struct bundles_stats *bundles_stats(const struct bundles *b)
{
    return &b->stats;
}
