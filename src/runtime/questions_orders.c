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
    (void)context;
    return argus_fail(err, ARGUS_EDENIED,
                      "this node has no keyring (KeyFile in <Security>): its "
                      "links are not protected by keys of the mesh");
}

bool questions_key(void *context, uint32_t index, argus_KeyReply *out)
{
    (void)context;
    (void)index;
    (void)out;
    return false;
}

int questions_key_wrap(void *context, const uint8_t secret[32],
                       argus_WrappedKey *out, struct argus_error *err)
{
    (void)secret;
    (void)out;
    return questions_has_keyring(context, err);
}
