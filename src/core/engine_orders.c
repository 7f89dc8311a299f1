/* engine_orders.c - what an engine does about the orders of operators. */
#include <string.h>

#include "base/text.h"
#include "core/engine_impl.h"

/** Epochs that nobody here heard of, one order may skip. */
#define EPOCH_LEAP_MAX 1000

static bool is_gone(const struct member *m)
{
    return m->state == argus_MemberState_MEMBER_OFFLINE ||
           m->state == argus_MemberState_MEMBER_LEFT;
}

/* ----------------------------------------------------- may it be given? */

/* Nodes for a sentence: as many as fit, then how many more. */
struct names {
    char text[160];
    uint32_t more;
};

static void names_add(struct names *n, const char *name, const char *why)
{
    char shown[64];
    size_t used = strlen(n->text);

    text_clean_word(shown, sizeof shown, name);
    if (used + strlen(shown) + strlen(why) + 4 > sizeof n->text)
        n->more++;
    else
        text_say(n->text + used, sizeof n->text - used, "%s%s %s",
                 used > 0 ? ", " : "", shown, why);
}

static int names_fail(const struct names *n, const char *what,
                      struct argus_error *err)
{
    if (n->more > 0)
        return argus_fail(err, ARGUS_EDENIED, "%s: %s, and %u more", what,
                          n->text, n->more);
    return argus_fail(err, ARGUS_EDENIED, "%s: %s", what, n->text);
}

/* Whoever is away is not asked: argusctl says who would be locked out. */
static int check_keys(const struct engine *e, const argus_KeyringOrder *now,
                      struct argus_error *err)
{
    const struct bundle_version *head = bundles_order(e->bundles, ORDER_KEYS);
    const argus_KeyringOrder *was =
        head != NULL ? &head->manifest.order.body.keys : NULL;
    struct names names = {{0}, 0};
    const struct member *m;
    argus_NodeRecord record;

    for (uint32_t i = 0; (m = directory_member(e->directory, i)) != NULL; i++) {
        if (is_gone(m) || !directory_record(m, &record))
            continue;
        enum key_bar bar = order_keys_bar(was, now, &record);
        if (bar != KEY_BAR_NONE)
            names_add(&names, record.name, key_bar_text(bar));
    }
    return names.text[0] == '\0'
               ? ARGUS_OK
               : names_fail(&names, "the key cannot be used or removed yet",
                            err);
}

/* An entry that the order before had too was judged then. */
static bool is_carried_on(const struct bundle_version *head,
                          const argus_ForgottenNode *node)
{
    const argus_ForgottenNode *old =
        head == NULL
            ? NULL
            : order_forgets(&head->manifest.order.body.forgotten, node->id);

    return old != NULL && old->generation == node->generation &&
           old->version == node->version;
}

static int check_forgotten_node(const struct engine *e,
                                const argus_ForgottenNode *node,
                                struct argus_error *err)
{
    const struct node_id id = node_id_of(node->id);
    const struct member *m = directory_find(e->directory, &id);
    char text[NODE_ID_TEXT_SIZE];

    node_id_format(&id, text);
    if (m == NULL)
        return argus_fail(err, ARGUS_EDENIED,
                          "no node %.8s is known here: it may be forgotten "
                          "already",
                          text);
    if (!is_gone(m))
        return argus_fail(err, ARGUS_EDENIED,
                          "%s is %s: only a node that is offline or has left "
                          "can be forgotten",
                          m->name, member_state_word(m->state));
    if (version_compare(node->generation, node->version, m->generation,
                        m->version) != 0)
        return argus_fail(err, ARGUS_EBUSY,
                          "the record of %s has changed meanwhile: ask again",
                          m->name);
    return ARGUS_OK;
}

static int check_forgotten(const struct engine *e,
                           const argus_ForgottenOrder *order,
                           struct argus_error *err)
{
    const struct bundle_version *head =
        bundles_order(e->bundles, ORDER_FORGOTTEN);

    for (pb_size_t i = 0; i < order->nodes_count; i++) {
        if (is_carried_on(head, &order->nodes[i]))
            continue;
        int rc = check_forgotten_node(e, &order->nodes[i], err);
        if (rc != ARGUS_OK)
            return rc;
    }
    return ARGUS_OK;
}

/* What is revoked stays so: an order that leaves a key out is a mistake. */
static int check_revoked(const struct engine *e,
                         const argus_RevokedOrder *order,
                         struct argus_error *err)
{
    struct bundle_operator op;

    for (uint32_t i = 0; bundles_operator(e->bundles, i, &op); i++)
        if (op.is_revoked && !order_revokes(order, op.id))
            return argus_fail(err, ARGUS_EDENIED,
                              "a key that is revoked already is missing in it: "
                              "what is revoked stays so");
    return ARGUS_OK;
}

/* The number is written into every record and event: a slip of the finger must
 * not use it up. */
static int check_clock(const struct engine *e, const argus_ClockOrder *order,
                       struct argus_error *err)
{
    uint32_t epoch = clock_epoch(overlay_clock(e->overlay));

    if (order->epoch <= epoch)
        return argus_fail(err, ARGUS_EBUSY,
                          "this node is in epoch %u already: ask again", epoch);
    if (order->epoch - epoch > EPOCH_LEAP_MAX)
        return argus_fail(err, ARGUS_EDENIED,
                          "this node is in epoch %u: %u is too far ahead",
                          epoch, order->epoch);
    return ARGUS_OK;
}

int engine_orders_check(const struct engine *e, const argus_Manifest *m,
                        struct argus_error *err)
{
    switch (order_kind_of(m->name)) {
    case ORDER_KEYS: return check_keys(e, &m->order.body.keys, err);
    case ORDER_FORGOTTEN:
        return check_forgotten(e, &m->order.body.forgotten, err);
    case ORDER_REVOKED: return check_revoked(e, &m->order.body.revoked, err);
    case ORDER_CLOCK: return check_clock(e, &m->order.body.clock, err);
    default: return ARGUS_EINVAL;
    }
}

/* ------------------------------------------------------------- to obey */

static void obey_forgotten(struct engine *e)
{
    static const argus_ForgottenOrder none;
    const struct bundle_version *head =
        bundles_order(e->bundles, ORDER_FORGOTTEN);
    const argus_ForgottenOrder *order =
        head != NULL ? &head->manifest.order.body.forgotten : &none;

    directory_set_forgotten(e->directory, e->now_ms, e->wall_us, order->nodes,
                            order->nodes_count, &e->out);
}

/* Revocations need nothing here: bundles.c has judged anew, and the owner looks
 * at all heads. */
void engine_orders_obey(struct engine *e)
{
    struct action keys = {.type = ACTION_KEYS};

    if (bundles_take_order_changed(e->bundles, ORDER_FORGOTTEN))
        obey_forgotten(e);
    if (bundles_take_order_changed(e->bundles, ORDER_CLOCK)) {
        const struct bundle_version *head =
            bundles_order(e->bundles, ORDER_CLOCK);
        if (head != NULL)
            engine_clock_begin(e, head->manifest.order.body.clock.epoch);
    }
    if (bundles_take_order_changed(e->bundles, ORDER_KEYS))
        e->out.emit(e->out.context, &keys);
}

/* ----------------------------------------------------------- questions */

bool engine_operator(const struct engine *e, uint32_t index,
                     struct operator_view *out)
{
    struct bundle_operator op;

    if (!bundles_operator(e->bundles, index, &op))
        return false;
    *out = (struct operator_view){.is_named = op.is_named,
                                  .is_revoked = op.is_revoked};
    memcpy(out->id, op.id, sizeof out->id);
    return true;
}
