/* questions_orders.c - what the control socket wants to know of operators' keys
 * and of the keys of the mesh. */
#include <string.h>

#include "runtime/runtime_impl.h"

bool questions_operator(void *context, uint32_t index, argus_OperatorReply *out)
{
    struct runtime *rt = context;
    struct operator_view view;

    if (!engine_operator(rt->engine, index, &view))
        return false;
    memcpy(out->id, view.id, sizeof out->id);
    out->trusted = view.is_named;
    out->revoked = view.is_revoked;
    return true;
}

int questions_has_keyring(void *context, struct argus_error *err)
{
    struct runtime *rt = context;

    if (security_keyring(rt->security) != NULL)
        return ARGUS_OK;
    return argus_fail(err, ARGUS_EDENIED,
                      "this node has no keyring (KeyFile in <Security>): its "
                      "links are %s",
                      rt->security != NULL ? "protected by certificates"
                                           : "not protected");
}

bool questions_key(void *context, uint32_t index, argus_KeyReply *out)
{
    struct runtime *rt = context;
    const struct keyring *ring = security_keyring(rt->security);

    if (ring == NULL || index >= ring->count)
        return false;
    memcpy(out->id, ring->keys[index].id, sizeof out->id);
    out->dial = index == 0;
    out->links = transport_links_of_key(rt->transport, ring->keys[index].id);
    return true;
}

int questions_key_wrap(void *context, const uint8_t secret[32],
                       argus_WrappedKey *out, struct argus_error *err)
{
    struct runtime *rt = context;
    const struct keyring *ring = security_keyring(rt->security);
    struct mesh_key key;
    int rc;

    mesh_key_of(secret, &key);
    if (memcmp(key.id, ring->keys[0].id, sizeof key.id) == 0)
        rc = argus_fail(err, ARGUS_EINVAL,
                        "this node dials with that key already");
    else if (keyring_wrap(ring, &key, out) != ARGUS_OK)
        rc = argus_fail(err, ARGUS_ENOMEM, "the key cannot be sealed");
    else
        rc = ARGUS_OK;
    explicit_bzero(&key, sizeof key);
    return rc;
}
