/* answer_orders.c - operators' keys, and the keys of the mesh. The orders about
 * them come as pushes. */
#include "runtime/answer_impl.h"

static int take_key(struct answer *a, const argus_KeyWrapRequest *wrap,
                    bool is_owner)
{
    if (!is_owner)
        return argus_fail(&a->result_err, ARGUS_EDENIED,
                          "a key of the mesh is taken from root or the "
                          "daemon's own user alone");
    int rc = a->hooks->has_keyring(a->hooks->context, &a->result_err);
    return rc != ARGUS_OK ? rc
                          : a->hooks->key_wrap(a->hooks->context, wrap->secret,
                                               &a->wrapped, &a->result_err);
}

/* At once: the key itself is kept nowhere. */
void answer_take_key(struct answer *a, const argus_KeyWrapRequest *wrap,
                     bool is_owner)
{
    a->result = take_key(a, wrap, is_owner);
}

static enum answer_step next_wrapped(struct answer *a, argus_Reply *out)
{
    if (a->result != ARGUS_OK || a->index++ > 0)
        return answer_end_status(out, a->result, &a->result_err);
    argus_KeyWrapReply *reply = answer_row_begin(out, argus_Reply_key_wrap_tag);
    reply->has_key = true;
    reply->key = a->wrapped;
    return ANSWER_ROW;
}

static enum answer_step next_key(struct answer *a, argus_Reply *out)
{
    struct argus_error err = {{0}};
    int rc = a->hooks->has_keyring(a->hooks->context, &err);

    if (rc != ARGUS_OK)
        return answer_end_status(out, rc, &err);
    if (!a->hooks->key(a->hooks->context, a->index++,
                       answer_row_begin(out, argus_Reply_key_tag)))
        return answer_end_plain(out);
    return ANSWER_ROW;
}

static enum answer_step next_operator(struct answer *a, argus_Reply *out)
{
    if (!a->hooks->operator_key(
            a->hooks->context, a->index++,
            answer_row_begin(out, argus_Reply_operator_key_tag)))
        return answer_end_plain(out);
    return ANSWER_ROW;
}

enum answer_step answer_next_order(struct answer *a, argus_Reply *out)
{
    switch (a->verb) {
    case argus_Request_operators_tag: return next_operator(a, out);
    case argus_Request_keys_tag: return next_key(a, out);
    default: return next_wrapped(a, out);
    }
}
