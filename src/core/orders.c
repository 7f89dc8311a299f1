#include "core/orders.h"

#include <stddef.h>
#include <string.h>

static const char *const names[ORDER_KINDS] = {
    [ORDER_NONE] = "",
    [ORDER_KEYS] = "@keys",
    [ORDER_FORGOTTEN] = "@forgotten",
    [ORDER_REVOKED] = "@revoked",
    [ORDER_CLOCK] = "@clock",
};

enum order_kind order_kind_of(const char *name)
{
    for (int kind = ORDER_NONE + 1; kind < ORDER_KINDS; kind++)
        if (strcmp(name, names[kind]) == 0)
            return (enum order_kind)kind;
    return ORDER_NONE;
}

const char *order_name(enum order_kind kind)
{
    return names[kind];
}

/* ---------------------------------------------------------------- shapes */

enum order_kind order_kind_of_body(const argus_Order *order)
{
    switch (order->which_body) {
    case argus_Order_keys_tag: return ORDER_KEYS;
    case argus_Order_forgotten_tag: return ORDER_FORGOTTEN;
    case argus_Order_revoked_tag: return ORDER_REVOKED;
    case argus_Order_clock_tag: return ORDER_CLOCK;
    default: return ORDER_NONE;
    }
}

/* Does the i-th of `count` things, each `size` bytes behind the one before,
 * begin with the same n bytes as an earlier one? */
static bool is_repeated(const void *list, size_t size, size_t n, uint32_t i)
{
    const uint8_t *bytes = list;

    for (uint32_t k = 0; k < i; k++)
        if (memcmp(bytes + k * size, bytes + i * size, n) == 0)
            return true;
    return false;
}

bool order_adds(const argus_KeyringOrder *order, const uint8_t *key)
{
    for (pb_size_t i = 0; i < order->added_count; i++)
        if (memcmp(order->added[i].id, key, MESH_KEY_ID_BYTES) == 0)
            return true;
    return false;
}

bool order_removes(const argus_KeyringOrder *order, const uint8_t *key)
{
    for (pb_size_t i = 0; i < order->removed_count; i++)
        if (memcmp(order->removed[i], key, MESH_KEY_ID_BYTES) == 0)
            return true;
    return false;
}

static int check_keys(const argus_KeyringOrder *o, struct argus_error *err)
{
    if (o->dial.size != 0 && o->dial.size != MESH_KEY_ID_BYTES)
        return argus_fail(err, ARGUS_EINVAL,
                          "the id of the key to dial with is not one");
    if (o->dial.size != 0 && order_removes(o, o->dial.bytes))
        return argus_fail(err, ARGUS_EINVAL,
                          "the key to dial with is to be removed too");
    for (pb_size_t i = 0; i < o->added_count; i++) {
        if (is_repeated(o->added, sizeof o->added[0], MESH_KEY_ID_BYTES, i))
            return argus_fail(err, ARGUS_EINVAL, "a key is added twice");
        if (order_removes(o, o->added[i].id))
            return argus_fail(err, ARGUS_EINVAL,
                              "a key is both added and removed");
    }
    for (pb_size_t i = 0; i < o->removed_count; i++)
        if (is_repeated(o->removed, sizeof o->removed[0], MESH_KEY_ID_BYTES, i))
            return argus_fail(err, ARGUS_EINVAL, "a key is removed twice");
    return ARGUS_OK;
}

static int check_forgotten(const argus_ForgottenOrder *o,
                           struct argus_error *err)
{
    _Static_assert(offsetof(argus_ForgottenNode, id) == 0,
                   "is_repeated() compares what comes first");
    for (pb_size_t i = 0; i < o->nodes_count; i++)
        if (is_repeated(o->nodes, sizeof o->nodes[0], sizeof o->nodes[0].id, i))
            return argus_fail(err, ARGUS_EINVAL, "a node is forgotten twice");
    return ARGUS_OK;
}

static int check_revoked(const argus_RevokedOrder *o, struct argus_error *err)
{
    for (pb_size_t i = 0; i < o->keys_count; i++)
        if (is_repeated(o->keys, sizeof o->keys[0], OPERATOR_ID_SIZE, i))
            return argus_fail(err, ARGUS_EINVAL, "a key is revoked twice");
    return ARGUS_OK;
}

static int check_clock(const argus_ClockOrder *o, struct argus_error *err)
{
    if (o->epoch == 0)
        return argus_fail(err, ARGUS_EINVAL, "epoch 0 is the one before all");
    return ARGUS_OK;
}

int order_check(const argus_Manifest *m, struct argus_error *err)
{
    enum order_kind kind = order_kind_of_body(&m->order);

    if (!m->has_order || kind == ORDER_NONE)
        return argus_fail(err, ARGUS_EINVAL, "%s holds no order",
                          order_kind_of(m->name) != ORDER_NONE ? m->name
                                                               : "it");
    if (kind != order_kind_of(m->name))
        return argus_fail(err, ARGUS_EINVAL,
                          "an order of this kind is named %s and nothing else",
                          order_name(kind));
    if (m->removed || m->target[0] != '\0' || m->index.size != 0 ||
        m->files_count != 0 || m->expires_ms != 0)
        return argus_fail(err, ARGUS_EINVAL,
                          "%s: an order has no target, expiry, content or "
                          "removal",
                          m->name);
    switch (kind) {
    case ORDER_KEYS: return check_keys(&m->order.body.keys, err);
    case ORDER_FORGOTTEN: return check_forgotten(&m->order.body.forgotten, err);
    case ORDER_CLOCK: return check_clock(&m->order.body.clock, err);
    default: return check_revoked(&m->order.body.revoked, err);
    }
}

/* ------------------------------------------------------------- questions */

bool order_revokes(const argus_RevokedOrder *order,
                   const uint8_t id[OPERATOR_ID_SIZE])
{
    for (pb_size_t i = 0; i < order->keys_count; i++)
        if (memcmp(order->keys[i], id, OPERATOR_ID_SIZE) == 0)
            return true;
    return false;
}

const argus_ForgottenNode *order_forgets(const argus_ForgottenOrder *order,
                                         const uint8_t *node)
{
    for (pb_size_t i = 0; i < order->nodes_count; i++)
        if (memcmp(order->nodes[i].id, node, sizeof order->nodes[i].id) == 0)
            return &order->nodes[i];
    return NULL;
}

/* To go by `now`, and not before. */
static bool is_newly_removed(const argus_KeyringOrder *was,
                             const argus_KeyringOrder *now, const uint8_t *key)
{
    return order_removes(now, key) && (was == NULL || !order_removes(was, key));
}

static bool holds(const argus_NodeRecord *record, const uint8_t *key)
{
    for (pb_size_t i = 0; i < record->keys_count; i++)
        if (memcmp(record->keys[i].id, key, MESH_KEY_ID_BYTES) == 0)
            return true;
    return false;
}

enum key_bar order_keys_bar(const argus_KeyringOrder *was,
                            const argus_KeyringOrder *now,
                            const argus_NodeRecord *record)
{
    bool has_other = false, loses = false;
    bool is_dial_new =
        now->dial.size != 0 &&
        (was == NULL || was->dial.size == 0 ||
         memcmp(was->dial.bytes, now->dial.bytes, MESH_KEY_ID_BYTES) != 0);

    if (record->keys_count == 0)
        return KEY_BAR_NONE;
    if (is_dial_new && !holds(record, now->dial.bytes))
        return KEY_BAR_LACKS;
    for (pb_size_t i = 0; i < record->keys_count; i++) {
        const argus_HeldKey *key = &record->keys[i];
        has_other |= !order_removes(now, key->id);
        if (!is_newly_removed(was, now, key->id))
            continue;
        if (key->dial)
            return KEY_BAR_DIALS;
        loses = true;
    }
    return loses && !has_other ? KEY_BAR_LAST : KEY_BAR_NONE;
}

const char *key_bar_text(enum key_bar bar)
{
    switch (bar) {
    case KEY_BAR_LACKS: return "does not hold it";
    case KEY_BAR_DIALS: return "dials with it";
    case KEY_BAR_LAST: return "holds no other";
    case KEY_BAR_NONE: break;
    }
    return "";
}
