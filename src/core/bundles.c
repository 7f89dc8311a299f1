#include "core/bundles_impl.h"

#include <stdlib.h>
#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/node_id.h"
#include "core/manifest.h"

/** Wall clocks jump: expiry is looked at so often at least. */
#define EXPIRY_LOOK_MS 60000

/** Versions pushed one after the other may overtake each other by so much. */
#define DOUBT_MS 5000

/* ------------------------------------------------------------------ life */

int bundles_new(const struct engine_options *node,
                const struct bundles_listener *listener, struct bundles **out)
{
    uint32_t count = node->trusted_keys_count;

    if (node->seal.digest == NULL || node->seal.vouches == NULL ||
        node->chunks.has == NULL || node->chunks.get == NULL ||
        node->chunks.put == NULL || count > BUNDLES_KEYS_MAX)
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

int bundles_compare_heads(const struct bundle_slot *slot_a,
                          const struct bundle_slot *slot_b)
{
    const struct bundle_version *a = bundle_slot_head(slot_a);
    const struct bundle_version *b = bundle_slot_head(slot_b);

    return bundles_compare(a->manifest.version, a->hash, b->manifest.version,
                           b->hash, CONTENT_HASH_SIZE);
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
    const struct bundle_slot *force = force_of(b, v->manifest.name);
    struct bundle_version *was = force != NULL ? bundle_slot_head(force) : NULL;
    struct bundle_version *gone = insert_version(slot, v, place, replaces);

    store_version(b, v, out);
    if (place == 0)
        force_settle(b, slot);
    force = force_of(b, v->manifest.name); /* of an order there may be none */
    if (was != NULL && force != NULL && was != bundle_slot_head(force))
        on_overtaken(b, was, bundle_slot_head(force));
    if (gone != NULL)
        drop_version(b, gone, out);
}

/* Slots are counted by whose key is in TrustedKey, revoked or not: so no bound
 * breaks with a revocation, whenever it comes. */
static enum slot_class class_of(const struct bundle_slot *slot)
{
    if (!slot->is_named)
        return SLOT_STRANGERS;
    return slot->kind == ORDER_NONE ? SLOT_TRUSTED : SLOT_ORDERS;
}

static void insert_slot(struct bundles *b, struct bundle_slot *slot)
{
    uint32_t at = lower_bound(b, slot->id);

    memmove(&b->slots[at + 1], &b->slots[at],
            (b->slots_count - at) * sizeof b->slots[0]);
    b->slots[at] = slot;
    b->slots_count++;
    b->counts[class_of(slot)]++;
}

/* Whoever stole an operator's key may have filled the table before it was
 * revoked: what it signed makes room for what counts. The slot itself is used
 * again, since others may point at it; a new head in it is no news to them. */
static struct bundle_slot *reclaim_slot(struct bundles *b, struct actions *out)
{
    for (uint32_t i = 0; i < b->slots_count; i++) {
        struct bundle_slot *slot = b->slots[i];
        if (class_of(slot) != SLOT_TRUSTED || !slot->is_revoked)
            continue;
        for (uint32_t k = 0; k < slot->count; k++)
            drop_version(b, slot->versions[k], out);
        b->counts[SLOT_TRUSTED]--;
        b->slots_count--;
        memmove(&b->slots[i], &b->slots[i + 1],
                (b->slots_count - i) * sizeof b->slots[0]);
        force_rebuild(b);
        b->stats.slots_reclaimed++;
        return slot;
    }
    return NULL;
}

/* @return NULL: no room or no memory, counted. */
static struct bundle_slot *open_slot(struct bundles *b,
                                     const uint8_t id[BUNDLE_SLOT_ID_SIZE],
                                     const argus_SignedBundle *bundle,
                                     const argus_Manifest *m,
                                     struct actions *out)
{
    static const uint32_t most[] = {[SLOT_TRUSTED] = BUNDLES_TRUSTED_MAX,
                                    [SLOT_STRANGERS] = BUNDLES_UNTRUSTED_MAX,
                                    [SLOT_ORDERS] = BUNDLES_ORDERS_MAX};
    struct bundle_slot fresh = {.kind = order_kind_of(m->name)};
    struct bundle_slot *slot;

    memcpy(fresh.id, id, BUNDLE_SLOT_ID_SIZE);
    force_sign(b, &fresh, bundle->key);
    if (b->counts[class_of(&fresh)] < most[class_of(&fresh)]) {
        slot = malloc(sizeof *slot);
        b->stats.memory_refused += slot == NULL;
    } else {
        slot = fresh.is_trusted ? reclaim_slot(b, out) : NULL;
        b->stats.bundles_refused += slot == NULL;
        fresh.is_spreading = slot != NULL && slot->is_spreading;
    }
    if (slot == NULL)
        return NULL;
    *slot = fresh;
    insert_slot(b, slot);
    return slot;
}

/* ----------------------------------------------------------------- intake */

enum bundles_verdict bundles_take_sound(struct bundles *b, uint64_t wall_us,
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
    struct bundle_version *v = make_version(bundle, m, hash);
    b->stats.memory_refused += v == NULL;
    if (v != NULL && slot == NULL)
        slot = open_slot(b, id, bundle, m, out);
    if (v == NULL || slot == NULL) {
        free(v);
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
        bundles_take_sound(b, wall_us, bundle, &b->scratch, &v, out);
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

/* By now the versions between have come, or will not. Of an order none is in
 * force once all that gave one are revoked: then nothing won. */
static void settle_doubt(struct bundles *b, struct bundle_version *v)
{
    const char *name = v->manifest.name;
    const struct bundle_version *next =
        bundles_version(b, name, v->manifest.version + 1);
    const struct bundle_version *winner = bundles_version(b, name, 0);

    if (winner == NULL || (next != NULL && builds_on(next, v)))
        v->is_pushed = v->is_doubtful = false;
    else
        tell_loss(b, v, winner, next != NULL);
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
    const struct bundle_slot *force = force_of(b, name);
    const struct bundle_version *v;

    if (force == NULL)
        return NULL;
    if (version == 0)
        return bundle_slot_head(force);
    if ((v = find_in_slot(force, version)) != NULL)
        return v;
    for (uint32_t i = 0; i < b->slots_count; i++)
        if (strcmp(bundle_slot_name(b->slots[i]), name) == 0 &&
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
    const struct bundle_slot *force = force_of(b, version->manifest.name);

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
