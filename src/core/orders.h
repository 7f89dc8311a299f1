/* orders.h - what operators order the mesh to do, as far as it can be judged
 * from the order alone.
 *
 * An order is a bundle without content (core/bundles.h): it has versions,
 * spreads, stays and yields to higher versions in the same way. Its name says
 * of which kind it is, and no bundle can have such a name:
 *   @keys       mesh keys to hold, to dial with, to give up
 *   @forgotten  records of nodes that are gone for good
 *   @revoked    operators' keys that are never to be trusted again
 *   @clock      the epoch of all stamps
 * A version carries on what the version before said. Orders count on nodes
 * that trust their operator (TrustedKey), and on no other.
 *
 * Pure, no memory of its own; argusctl asks the same questions before it
 * signs. */
#ifndef ARGUS_CORE_ORDERS_H
#define ARGUS_CORE_ORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/status.h"

enum order_kind {
    ORDER_NONE, /* a bundle */
    ORDER_KEYS,
    ORDER_FORGOTTEN,
    ORDER_REVOKED,
    ORDER_CLOCK,
    ORDER_KINDS,
};

/** An operator's key is known by the head of the SHA-256 of its public part;
 *  people read the first half of it as the fingerprint. */
#define OPERATOR_ID_SIZE 16
#define FINGERPRINT_BYTES 8

#define MESH_KEY_ID_BYTES 8 /* as KeyProof.key in argus.proto */

/** ORDER_NONE for every name that is no order's. */
enum order_kind order_kind_of(const char *name);
const char *order_name(enum order_kind kind);
/** By what the order says; ORDER_NONE: nothing that is known here. */
enum order_kind order_kind_of_body(const argus_Order *order);

/**
 * Has the manifest exactly the shape of an order? For those that have an order
 * or the name of one; version and predecessor are not looked at.
 * @retval ARGUS_EINVAL  err says what is wrong.
 */
int order_check(const argus_Manifest *manifest, struct argus_error *err);

bool order_revokes(const argus_RevokedOrder *order,
                   const uint8_t id[OPERATOR_ID_SIZE]);

/** The entry about a node; NULL: none. */
const argus_ForgottenNode *order_forgets(const argus_ForgottenOrder *order,
                                         const uint8_t *node);

/* Why an order about keys would cut a node off. */
enum key_bar {
    KEY_BAR_NONE,
    KEY_BAR_LACKS, /* it does not hold the key that is to be dialed with */
    KEY_BAR_DIALS, /* it dials with a key that is to go */
    KEY_BAR_LAST,  /* it would hold no key any more */
};

/**
 * What stands against `now`, by what the node says of the keys it holds. Only
 * what `now` asks for beyond `was` (NULL: nothing was ordered yet) is judged.
 * A node that holds no key at all links by other means: nothing stands against.
 */
enum key_bar order_keys_bar(const argus_KeyringOrder *was,
                            const argus_KeyringOrder *now,
                            const argus_NodeRecord *record);

/** "does not hold it", for a sentence about the node and the key. */
const char *key_bar_text(enum key_bar bar);

bool order_adds(const argus_KeyringOrder *order, const uint8_t *key);
bool order_removes(const argus_KeyringOrder *order, const uint8_t *key);

#endif
