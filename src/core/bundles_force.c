/* bundles_force.c - whose key counts, and which head is in force for a name.
 *
 * Revoked is what any order of a key in TrustedKey revokes, also one whose key
 * is revoked itself: otherwise two operators who revoke each other would leave
 * it to the order of arrival which of them is trusted, and nodes would differ.
 */
#include "core/bundles_impl.h"

#include <string.h>

/* ----------------------------------------------------------------- trust */

bool key_is_trusted(const struct bundles *b, const uint8_t key[32])
{
    for (uint32_t i = 0; i < b->trusted_count; i++)
        if (memcmp(b->trusted[i], key, 32) == 0)
            return true;
    return false;
}

static bool slot_revokes(const struct bundle_slot *slot,
                         const uint8_t id[OPERATOR_ID_SIZE])
{
    return slot->is_named && slot->kind == ORDER_REVOKED && slot->count > 0 &&
           order_revokes(&bundle_slot_head(slot)->manifest.order.body.revoked,
                         id);
}

bool key_is_revoked(const struct bundles *b, const uint8_t id[OPERATOR_ID_SIZE])
{
    for (uint32_t i = 0; i < b->slots_count; i++)
        if (slot_revokes(b->slots[i], id))
            return true;
    return false;
}

void bundles_operator_id(const struct bundles *b, const uint8_t key[32],
                         uint8_t id[OPERATOR_ID_SIZE])
{
    uint8_t hash[CONTENT_HASH_SIZE];

    b->seal.digest(key, 32, hash);
    memcpy(id, hash, OPERATOR_ID_SIZE);
}

void force_sign(struct bundles *b, struct bundle_slot *slot,
                const uint8_t key[32])
{
    bundles_operator_id(b, key, slot->signer);
    slot->is_named = key_is_trusted(b, key);
    slot->is_revoked = key_is_revoked(b, slot->signer);
    slot->is_trusted = slot->is_named && !slot->is_revoked;
}

/* ---------------------------------------------------------------- bundles */

/* Place of the first name that is not below. */
static uint32_t name_bound(const struct bundles *b, const char *name)
{
    uint32_t low = 0, high = b->names_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (strcmp(bundle_slot_name(b->names[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool yields(const struct bundle_slot *a, const struct bundle_slot *b)
{
    if (a->is_trusted != b->is_trusted)
        return !a->is_trusted;
    return bundles_compare_heads(a, b) < 0;
}

static void settle_name(struct bundles *b, struct bundle_slot *slot)
{
    uint32_t at = name_bound(b, bundle_slot_name(slot));

    if (at == b->names_count ||
        strcmp(bundle_slot_name(b->names[at]), bundle_slot_name(slot)) != 0) {
        memmove(&b->names[at + 1], &b->names[at],
                (b->names_count - at) * sizeof b->names[0]);
        b->names[at] = slot;
        b->names_count++;
    } else if (yields(b->names[at], slot)) {
        b->names[at] = slot;
    }
}

void force_rebuild(struct bundles *b)
{
    b->names_count = 0;
    for (uint32_t i = 0; i < b->slots_count; i++)
        if (b->slots[i]->kind == ORDER_NONE)
            settle_name(b, b->slots[i]);
    b->is_changed = true;
}

/* ----------------------------------------------------------------- orders */

/* Of those that are trusted alone. news: has a new head; NULL: none has. */
static void settle_order(struct bundles *b, enum order_kind kind,
                         const struct bundle_slot *news)
{
    struct bundle_slot *best = NULL;

    for (uint32_t i = 0; i < b->slots_count; i++) {
        struct bundle_slot *slot = b->slots[i];
        if (slot->kind == kind && slot->is_trusted &&
            (best == NULL || bundles_compare_heads(best, slot) < 0))
            best = slot;
    }
    b->order_changed[kind] |=
        best != b->orders[kind] || (best != NULL && best == news);
    b->orders[kind] = best;
}

/* The revocations have changed. */
static void settle_trust(struct bundles *b)
{
    bool has_changed = false;

    for (uint32_t i = 0; i < b->slots_count; i++) {
        struct bundle_slot *slot = b->slots[i];
        bool is_revoked = key_is_revoked(b, slot->signer);
        has_changed |= is_revoked != slot->is_revoked;
        slot->is_revoked = is_revoked;
        slot->is_trusted = slot->is_named && !is_revoked;
    }
    if (!has_changed)
        return;
    force_rebuild(b);
    for (int kind = ORDER_NONE + 1; kind < ORDER_KINDS; kind++)
        settle_order(b, (enum order_kind)kind, NULL);
}

void force_settle(struct bundles *b, struct bundle_slot *slot)
{
    if (slot->kind == ORDER_NONE) {
        settle_name(b, slot);
        b->is_changed = true;
        return;
    }
    settle_order(b, slot->kind, slot);
    if (slot->kind == ORDER_REVOKED && slot->is_named)
        settle_trust(b);
}

/* -------------------------------------------------------------- questions */

struct bundle_slot *force_of(const struct bundles *b, const char *name)
{
    enum order_kind kind = order_kind_of(name);

    if (kind != ORDER_NONE)
        return b->orders[kind];
    uint32_t i = name_bound(b, name);
    return i < b->names_count &&
                   strcmp(bundle_slot_name(b->names[i]), name) == 0
               ? b->names[i]
               : NULL;
}

const struct bundle_version *bundles_order(const struct bundles *b,
                                           enum order_kind kind)
{
    return b->orders[kind] != NULL ? bundle_slot_head(b->orders[kind]) : NULL;
}

bool bundles_take_order_changed(struct bundles *b, enum order_kind kind)
{
    bool changed = b->order_changed[kind] && b->is_started;

    if (changed)
        b->order_changed[kind] = false;
    return changed;
}

/* The i-th of those that orders revoke; some may come twice. */
static bool revoked_at(const struct bundles *b, uint32_t index,
                       struct bundle_operator *out)
{
    for (uint32_t i = 0; i < b->slots_count; i++) {
        const struct bundle_slot *slot = b->slots[i];
        if (slot->kind != ORDER_REVOKED || !slot->is_named)
            continue;
        const argus_RevokedOrder *order =
            &bundle_slot_head(slot)->manifest.order.body.revoked;
        if (index < order->keys_count) {
            memcpy(out->id, order->keys[index], OPERATOR_ID_SIZE);
            return true;
        }
        index -= order->keys_count;
    }
    return false;
}

bool bundles_operator(const struct bundles *b, uint32_t index,
                      struct bundle_operator *out)
{
    memset(out, 0, sizeof *out);
    if (index < b->trusted_count) {
        bundles_operator_id(b, b->trusted[index], out->id);
        out->is_named = true;
        out->is_revoked = key_is_revoked(b, out->id);
        return true;
    }
    out->is_revoked = true;
    return revoked_at(b, index - b->trusted_count, out);
}
