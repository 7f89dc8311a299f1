/* bundles_impl.h - shared by
 *   bundles.c        slots and versions, intake, expiry, questions
 *   bundles_force.c  whose key counts; which head is in force for a name
 *   bundles_push.c   what argusctl brings
 * Nobody else includes it. */
#ifndef ARGUS_CORE_BUNDLES_IMPL_H
#define ARGUS_CORE_BUNDLES_IMPL_H

#include "core/bundles.h"

/* Each has a bound of its own. */
enum slot_class {
    SLOT_TRUSTED,   /* bundles of keys in TrustedKey */
    SLOT_STRANGERS, /* whatever other keys sign */
    SLOT_ORDERS,    /* orders of keys in TrustedKey: they always fit */
    SLOT_CLASSES,
};

struct bundles {
    struct seal seal;
    struct chunk_store chunks;
    struct bundles_listener listener;
    uint8_t (*trusted)[32];
    uint32_t trusted_count;
    uint64_t size_max;

    struct bundle_slot *slots[BUNDLES_MAX]; /* by id */
    uint32_t slots_count;
    uint32_t counts[SLOT_CLASSES];
    struct bundle_slot *names[BUNDLES_MAX]; /* in force, by name; no orders */
    uint32_t names_count;
    struct bundle_slot *orders[ORDER_KINDS]; /* in force; NULL: none */
    bool order_changed[ORDER_KINDS];
    bool is_started, is_changed;
    uint64_t expiry_due_ms;
    uint64_t doubt_due_ms;  /* 0: to be set; UINT64_MAX: no doubts */
    argus_Manifest scratch; /* large */
    struct bundles_stats stats;
};

/* ---- bundles.c */

/** The slot takes in what was opened and checked already, the signature too.
 *  *taken is written unless it is known or refused. */
enum bundles_verdict bundles_take_sound(struct bundles *b, uint64_t wall_us,
                                        const argus_SignedBundle *bundle,
                                        const argus_Manifest *m,
                                        struct bundle_version **taken,
                                        struct actions *out);
int bundles_compare_heads(const struct bundle_slot *a,
                          const struct bundle_slot *b);

static inline const char *bundle_slot_name(const struct bundle_slot *slot)
{
    return bundle_slot_head(slot)->manifest.name;
}

/* ---- bundles_force.c */

/** Whose slot it is, and whether that counts here; id, kind and versions are
 *  set by the caller. */
void force_sign(struct bundles *b, struct bundle_slot *slot,
                const uint8_t key[32]);

/** A slot has a new head: which one is in force may change with it, and with a
 *  revocation who is trusted. */
void force_settle(struct bundles *b, struct bundle_slot *slot);

/** A slot is gone: settle all names anew. */
void force_rebuild(struct bundles *b);

struct bundle_slot *force_of(const struct bundles *b, const char *name);

bool key_is_trusted(const struct bundles *b, const uint8_t key[32]);

/** By an order of a key that is in TrustedKey here. */
bool key_is_revoked(const struct bundles *b,
                    const uint8_t id[OPERATOR_ID_SIZE]);

#endif
