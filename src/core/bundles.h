/* bundles.h - signed configuration: which versions there are, which is in
 * force.
 *
 * Words:
 *   slot     the versions of one name by one operator's key. So a stranger's
 *            key cannot take a name away.
 *   head     of a slot: the highest version; of equal ones (two pushes at once)
 *            the lower hash of the manifest
 *   in force the head that counts for a name on this node: of slots whose key
 *            is trusted here before others, then the highest version, then the
 *            lowest hash
 *   order    a bundle without content (core/orders.h). Of orders those of
 *            trusted keys alone are ever in force, and lists of bundles do not
 *            show them
 *   trusted  a key that is in TrustedKey here and that no order revokes
 *
 * What two nodes know of a slot merges to the higher head, whatever the order;
 * a removal is a version like any other. So all agree in the end, and nothing
 * comes back with a node that was away: slots are never forgotten.
 *
 * Of a slot BUNDLES_HISTORY versions are kept: the last ones, for people, and
 * what the owner wants to run again. Bounds: BUNDLES_TRUSTED_MAX slots of keys
 * in TrustedKey, whose orders come on top (three a key), BUNDLES_UNTRUSTED_MAX
 * of others; beyond them a bundle is refused and counted, but for one that is
 * trusted and takes the place of what a revoked key signed. A version costs
 * 12 KiB.
 *
 * Nothing is believed unchecked: shape (core/manifest.h), signature, and of the
 * content (core/bundle_sync.h brings it) each chunk's hash.
 *
 * Pure, as the directory is. */
#ifndef ARGUS_CORE_BUNDLES_H
#define ARGUS_CORE_BUNDLES_H

#include "core/actions.h"
#include "core/content.h"
#include "core/engine.h"
#include "core/orders.h"
#include "core/seal.h"

#define BUNDLES_HISTORY 8
#define BUNDLES_TRUSTED_MAX 256
#define BUNDLES_UNTRUSTED_MAX 64
#define BUNDLES_KEYS_MAX 16 /* in TrustedKey */
#define BUNDLES_ORDERS_MAX (BUNDLES_KEYS_MAX * (ORDER_KINDS - 1))
/** As BundleDigest.entries in argus.options. */
#define BUNDLES_MAX                                                            \
    (BUNDLES_TRUSTED_MAX + BUNDLES_UNTRUSTED_MAX + BUNDLES_ORDERS_MAX)

/** Content of strangers' heads that is fetched: so many bytes in all. */
#define BUNDLES_UNTRUSTED_BYTES (64u << 20)

#define BUNDLE_SLOT_ID_SIZE 16

struct bundle_slot;

struct bundle_version {
    struct bundle_slot *slot;
    argus_SignedBundle bundle;
    argus_Manifest manifest; /* the same, unpacked */
    uint8_t hash[CONTENT_HASH_SIZE];
    bool is_complete; /* all of its content is here; kept of heads alone */
    bool is_expired;  /* when it was last looked at */
    bool is_kept;     /* by the owner's wish */
    bool is_pushed;   /* at this node, in this life of it */
    bool is_doubtful; /* ... and whether what overtook it builds on it is not
                       * known, for versions between the two may follow */
};

struct bundle_slot {
    uint8_t id[BUNDLE_SLOT_ID_SIZE]; /* head of SHA-256 of key and name */
    enum order_kind kind;            /* ORDER_NONE: of a bundle */
    uint8_t signer[OPERATOR_ID_SIZE];
    bool is_named;     /* its key is in TrustedKey here */
    bool is_revoked;   /* by an order */
    bool is_trusted;   /* named and not revoked */
    bool is_spreading; /* of bundle_sync.h: to be broadcast again */
    struct bundle_version *versions[BUNDLES_HISTORY]; /* the head first */
    uint32_t count;                                   /* at least 1 */
};

struct bundles;

struct bundles_listener {
    void *context;
    /** A version that was pushed at this node is in force no more, and the one
     *  that is does not build on it: another push won. is_certain: false when
     *  versions between the two are not known here. Both are borrowed. */
    void (*lost)(void *context, const struct bundle_version *loser,
                 const struct bundle_version *winner, bool is_certain);
};

enum bundles_verdict {
    BUNDLES_NEWS,    /* the new head of its slot: pass it on */
    BUNDLES_KNOWN,   /* known, or overtaken */
    BUNDLES_NO_ROOM, /* a bound, or no memory; others may have room */
    BUNDLES_BAD,     /* nobody may say such a thing */
};

struct bundles_stats {
    uint64_t bundles_news, bundles_known;
    uint64_t bundles_bad;     /* shape or signature */
    uint64_t bundles_refused; /* a bound */
    uint64_t pushes_accepted, pushes_refused;
    uint64_t pushes_lost;     /* accepted here, then another one won */
    uint64_t slots_reclaimed; /* of a revoked key, for one that is trusted */
    uint64_t memory_refused;
};

/** @retval ARGUS_EINVAL  a function of seal or chunks is missing, or there are
 *                        more than BUNDLES_KEYS_MAX trusted keys. */
int bundles_new(const struct engine_options *node,
                const struct bundles_listener *listener, struct bundles **out);
void bundles_free(struct bundles *b);

/** From disk, before the start. @return false: damaged, or refused. */
bool bundles_load(struct bundles *b, const uint8_t *packed, size_t size);

/** All is loaded: which content is here? */
void bundles_start(struct bundles *b, uint64_t wall_us);

/** From the mesh. *slot (may be NULL) is written on BUNDLES_NEWS. */
enum bundles_verdict bundles_take(struct bundles *b, uint64_t wall_us,
                                  const argus_SignedBundle *bundle,
                                  struct bundle_slot **slot,
                                  struct actions *out);

/** Is there a version with that manifest already? Costs no signature check. */
bool bundles_knows(const struct bundles *b, const argus_SignedBundle *bundle);

/** The slot it belongs to, which need not exist. false: not sound. */
bool bundles_slot_of(struct bundles *b, const argus_SignedBundle *bundle,
                     uint8_t id[BUNDLE_SLOT_ID_SIZE]);

/** argusctl config push, but for the target: may it be pushed here? Results as
 *  in engine.h. */
int bundles_check_push(struct bundles *b, uint64_t wall_us,
                       const argus_SignedBundle *bundle, argus_Manifest *out,
                       struct argus_error *err);

/** After bundles_check_push(). @retval ARGUS_EFULL */
int bundles_push(struct bundles *b, uint64_t wall_us,
                 const argus_SignedBundle *bundle, struct bundle_slot **slot,
                 struct actions *out, struct argus_error *err);

/** The content of a slot's head has come. */
void bundles_completed(struct bundles *b, struct bundle_slot *slot);

/** A chunk that a complete head needs was not there: look again. */
void bundles_recheck(struct bundles *b);

/** These versions stay, however old they become; those named before and not
 *  now may go. */
void bundles_keep(struct bundles *b, const uint8_t (*hashes)[CONTENT_HASH_SIZE],
                  uint32_t count);

/** Expiry. */
void bundles_on_timeout(struct bundles *b, uint64_t now_ms, uint64_t wall_us);
uint64_t bundles_deadline_ms(const struct bundles *b);

/** Has a head of a bundle, its content, its expiry or who is trusted changed
 *  since this was last asked? */
bool bundles_take_changed(struct bundles *b);

/** Is another order of that kind in force, or none any more? */
bool bundles_take_order_changed(struct bundles *b, enum order_kind kind);

/* ---- Questions. */

uint32_t bundles_slots_count(const struct bundles *b);
/** In order of slot ids. */
struct bundle_slot *bundles_slot(const struct bundles *b, uint32_t index);
struct bundle_slot *bundles_find_slot(const struct bundles *b,
                                      const uint8_t id[BUNDLE_SLOT_ID_SIZE]);

static inline struct bundle_version *
bundle_slot_head(const struct bundle_slot *slot)
{
    return slot->versions[0];
}

/** Is the content of its head to be fetched? Not if it is here, too large for
 *  this node, or beyond what strangers may take. */
bool bundles_wants_content(const struct bundles *b,
                           const struct bundle_slot *slot);

/** Order of heads: < 0 when (va, ha) yields to (vb, hb). n bytes of hash. */
int bundles_compare(uint32_t va, const uint8_t *ha, uint32_t vb,
                    const uint8_t *hb, size_t n);

/** The order in force; NULL: none. */
const struct bundle_version *bundles_order(const struct bundles *b,
                                           enum order_kind kind);

void bundles_operator_id(const struct bundles *b, const uint8_t key[32],
                         uint8_t id[OPERATOR_ID_SIZE]);

struct bundle_operator {
    uint8_t id[OPERATOR_ID_SIZE];
    bool is_named, is_revoked;
};

/** Keys in TrustedKey, as configured, then all that orders revoke; one may come
 *  several times. @return false: no such index. */
bool bundles_operator(const struct bundles *b, uint32_t index,
                      struct bundle_operator *out);

/** Bundles in force, in order of names; NULL behind the last. */
const struct bundle_version *bundles_in_force(const struct bundles *b,
                                              uint32_t index);
/** A kept version of a name, of an order too; 0: the one in force. Of several
 * slots' versions with that number, the one whose slot is in force, then any.
 */
const struct bundle_version *
bundles_version(const struct bundles *b, const char *name, uint32_t version);
/** Of several slots' the trusted one. */
const struct bundle_version *
bundles_by_hash(const struct bundles *b, const uint8_t hash[CONTENT_HASH_SIZE]);
bool bundles_is_in_force(const struct bundles *b,
                         const struct bundle_version *version);
/** Is all of its content here? Asks the store for all but heads. */
bool bundles_is_complete(const struct bundles *b,
                         const struct bundle_version *version);

const struct bundles_stats *bundles_stats(const struct bundles *b);

#endif
