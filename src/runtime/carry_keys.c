/* carry_keys.c - what the engine and the keyring have to say to each other:
 * orders of operators one way, which keys are held the other. */
#include <string.h>

#include "runtime/runtime_impl.h"

/* For the record of this node. */
static void tell_keys(struct runtime *rt)
{
    const struct keyring *ring = security_keyring(rt->security);
    argus_HeldKey held[KEYRING_MAX];
    struct event event = {.type = EVENT_KEYS, .keys = {held, 0}};

    memset(held, 0, sizeof held);
    for (unsigned i = 0; ring != NULL && i < ring->count; i++) {
        memcpy(held[i].id, ring->keys[i].id, sizeof held[i].id);
        held[i].dial = i == 0;
        event.keys.count++;
    }
    runtime_step(rt, &event);
}

void carry_keys_changed(struct runtime *rt)
{
    transport_set_protection(rt->transport, security_context(rt->security));
    tell_keys(rt);
}

void carry_keys_obey(struct runtime *rt)
{
    static const argus_KeyringOrder none;
    struct bundle_view view;
    const argus_KeyringOrder *order =
        engine_order(rt->engine, ORDER_KEYS, &view)
            ? &view.manifest->order.body.keys
            : &none;

    rt->keys_changed = false;
    if (security_obey(rt->security, order))
        carry_keys_changed(rt);
}

void carry_keys_start(struct runtime *rt)
{
    carry_keys_obey(rt);
    tell_keys(rt);
}
