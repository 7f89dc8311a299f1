/* answer_bundles.c - pushed configuration: what is known, and pushes. */
#include "runtime/answer_impl.h"

#include <stdio.h>
#include <string.h>

/* The same status means another thing here than it does elsewhere. */
static const char *bundle_code(int status)
{
    switch (status) {
    case ARGUS_EBUSY: return "superseded";
    case ARGUS_EFULL: return "no-room";
    default: return answer_code(status);
    }
}

static enum answer_step end_result(argus_Reply *out, int status,
                                   const struct argus_error *err)
{
    answer_end(out, bundle_code(status), status == ARGUS_OK ? "" : err->text);
    return ANSWER_END;
}

/* --------------------------------------------------------------- pushing */

void answer_take_chunk(struct answer *a, const argus_BundleChunkRequest *chunk,
                       uint64_t *staged)
{
    if (chunk->data.size == 0) {
        a->result = argus_fail(&a->result_err, ARGUS_EINVAL, "an empty chunk");
        return;
    }
    a->result =
        a->hooks->bundle_chunk(a->hooks->context, *staged, chunk->data.bytes,
                               chunk->data.size, &a->result_err);
    if (a->result == ARGUS_OK)
        *staged += chunk->data.size;
}

void answer_take_push(struct answer *a, const argus_BundlePushRequest *push)
{
    a->result = push->has_bundle
                    ? a->hooks->bundle_push(a->hooks->context, &push->bundle,
                                            &a->result_err)
                    : argus_fail(&a->result_err, ARGUS_EINVAL,
                                 "a push without a bundle");
}

/* --------------------------------------------------------------- reading */

static enum answer_step next_listed(struct answer *a, argus_Reply *out)
{
    if (!a->hooks->bundle(a->hooks->context, a->index++,
                          answer_row_begin(out, argus_Reply_bundle_tag)))
        return answer_end_plain(out);
    return ANSWER_ROW;
}

static enum answer_step end_unknown(argus_Reply *out, const char *name,
                                    uint32_t version)
{
    struct argus_error err;
    int rc = version == 0
                 ? argus_fail(&err, ARGUS_ENOENT,
                              "no bundle \"%s\" is known here", name)
                 : argus_fail(&err, ARGUS_ENOENT,
                              "version %u of bundle \"%s\" is not kept here",
                              version, name);
    return end_result(out, rc, &err);
}

static enum answer_step next_got(struct answer *a, argus_Reply *out)
{
    const argus_BundleGetRequest *get = &a->request.bundle_get;

    if (a->index++ > 0)
        return answer_end_plain(out);
    if (!a->hooks->bundle_version(
            a->hooks->context, get->name, get->version,
            answer_row_begin(out, argus_Reply_bundle_tag)))
        return end_unknown(out, get->name, get->version);
    return ANSWER_ROW;
}

/* The version that is read is pinned by its hash: a push in the middle does
 * not mix two of them. */
static int begin_content(struct answer *a, argus_Reply *out,
                         struct argus_error *err)
{
    const argus_BundleContentRequest *r = &a->request.bundle_content;
    argus_BundleReply *b = answer_row_begin(out, argus_Reply_bundle_tag);

    if (!a->hooks->bundle_version(a->hooks->context, r->name, r->version, b))
        return argus_fail(err, ARGUS_ENOENT,
                          "no such version of bundle \"%s\" is kept here",
                          r->name);
    if (!b->complete)
        return argus_fail(err, ARGUS_ENOENT,
                          "the content of bundle \"%s\" has not wholly arrived "
                          "here yet",
                          r->name);
    memcpy(a->hash, b->hash, sizeof a->hash);
    return ARGUS_OK;
}

static enum answer_step next_content(struct answer *a, argus_Reply *out)
{
    struct argus_error err = {{0}};
    bool is_first = a->index++ == 0;

    int rc = is_first ? begin_content(a, out, &err) : ARGUS_OK;
    if (rc != ARGUS_OK)
        return end_result(out, rc, &err);
    argus_ContentReply *c = answer_row_begin(out, argus_Reply_content_tag);
    size_t size =
        a->hooks->bundle_content(a->hooks->context, a->hash, a->offset,
                                 c->data.bytes, sizeof c->data.bytes, &a->size);
    if (size > 0) {
        c->data.size = (pb_size_t)size;
        a->offset += size;
        return ANSWER_ROW;
    }
    if (a->offset >= a->size)
        return answer_end_plain(out);
    rc = argus_fail(&err, ARGUS_ECORRUPT,
                    "a part of the content is damaged or gone; it is fetched "
                    "again from a neighbor: try later");
    return end_result(out, rc, &err);
}

static enum answer_step next_node(struct answer *a, argus_Reply *out)
{
    const char *name = a->request.bundle_status.name;
    const struct control_hooks *hooks = a->hooks;

    if (a->index == 0) {
        a->index = 1;
        return hooks->bundle_status(
                   hooks->context, name,
                   answer_row_begin(out, argus_Reply_bundle_status_tag))
                   ? ANSWER_ROW
                   : end_unknown(out, name, 0);
    }
    if (!hooks->bundle_node(hooks->context, name, a->index - 1,
                            answer_row_begin(out, argus_Reply_bundle_node_tag)))
        return answer_end_covered(a, out);
    a->index++;
    return ANSWER_ROW;
}

enum answer_step answer_next_bundle(struct answer *a, argus_Reply *out)
{
    switch (a->verb) {
    case argus_Request_bundle_list_tag: return next_listed(a, out);
    case argus_Request_bundle_get_tag: return next_got(a, out);
    case argus_Request_bundle_content_tag: return next_content(a, out);
    case argus_Request_bundle_status_tag: return next_node(a, out);
    default: return end_result(out, a->result, &a->result_err);
    }
}
