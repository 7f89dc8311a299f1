/* questions_bundles.c - what the control socket wants to know of pushed
 * configuration, and pushes. */
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <pb_decode.h>

#include "core/content.h"
#include "runtime/runtime_impl.h"

static const char *phase_text(argus_BundlePhase phase)
{
    switch (phase) {
    case argus_BundlePhase_BUNDLE_PENDING: return "pending";
    case argus_BundlePhase_BUNDLE_APPLYING: return "applying";
    case argus_BundlePhase_BUNDLE_APPLIED: return "applied";
    case argus_BundlePhase_BUNDLE_FAILED: return "failed";
    case argus_BundlePhase_BUNDLE_ROLLED_BACK: return "rolled-back";
    case argus_BundlePhase_BUNDLE_REFUSED: return "refused";
    case argus_BundlePhase_BUNDLE_NONE: break;
    }
    return "stored";
}

/* Where this node stands among the members changes seldom: look there first. */
static bool own_member(struct runtime *rt, argus_MemberReply *out)
{
    const uint8_t *id = identity_id(rt->identity)->bytes;

    for (uint32_t pass = 0; pass < 2; pass++) {
        while (engine_member(rt->engine, rt->own_member, runtime_now_ms(),
                             runtime_wall_us(), out)) {
            if (memcmp(out->id, id, NODE_ID_SIZE) == 0)
                return out->has_record;
            rt->own_member++;
        }
        rt->own_member = 0;
    }
    return false;
}

/* How a version is on this node, by what its own record says of it. */
static const char *own_state(struct runtime *rt, const struct bundle_view *view)
{
    argus_MemberReply member;

    if (view->manifest->removed)
        return "removed";
    if (view->is_head && own_member(rt, &member)) {
        const argus_NodeRecord *record = &member.record;
        for (pb_size_t i = 0; i < record->bundles_count; i++)
            if (strcmp(record->bundles[i].name, view->manifest->name) == 0 &&
                record->bundles[i].desired == view->manifest->version)
                return phase_text(record->bundles[i].phase);
    }
    if (view->is_expired)
        return "expired";
    /* What is meant for this node and may run here has yet to begin. */
    return view->is_head && view->is_target && view->is_trusted ? "pending"
                                                                : "stored";
}

static void fill_bundle(struct runtime *rt, const struct bundle_view *view,
                        argus_BundleReply *out)
{
    out->has_bundle = true;
    out->bundle = *view->bundle;
    memcpy(out->hash, view->hash, sizeof out->hash);
    out->head = view->is_head;
    out->trusted = view->is_trusted;
    out->complete = view->is_complete;
    (void)snprintf(out->state, sizeof out->state, "%s", own_state(rt, view));
}

bool questions_bundle(void *context, uint32_t index, argus_BundleReply *out)
{
    struct runtime *rt = context;
    struct bundle_view view;

    if (!engine_bundle(rt->engine, index, runtime_wall_us(), &view))
        return false;
    fill_bundle(rt, &view, out);
    return true;
}

bool questions_bundle_version(void *context, const char *name, uint32_t version,
                              argus_BundleReply *out)
{
    struct runtime *rt = context;
    struct bundle_view view;

    if (!engine_bundle_version(rt->engine, name, version, runtime_wall_us(),
                               &view))
        return false;
    fill_bundle(rt, &view, out);
    return true;
}

size_t questions_bundle_content(void *context,
                                const uint8_t hash[CONTENT_HASH_SIZE],
                                uint64_t offset, uint8_t *out, size_t size,
                                uint64_t *total)
{
    struct runtime *rt = context;
    struct bundle_view view;

    *total = UINT64_MAX; /* gone meanwhile: not the end */
    if (!engine_bundle_hash(rt->engine, hash, runtime_wall_us(), &view))
        return 0;
    *total = content_size(view.manifest);
    struct chunk_store chunks = store_chunks(rt->store);
    return content_read(&chunks, view.manifest, offset, out, size);
}

/* ----------------------------------------------------------------- pushes */

static int fail_too_large(const struct runtime *rt, struct argus_error *err)
{
    return argus_fail(err, ARGUS_ETOOLARGE,
                      "with all its files it is larger than the %llu bytes "
                      "that this node takes (MaxSize)",
                      (unsigned long long)rt->options.bundle_size_max);
}

/* The index is a chunk too, beside the content. */
int questions_bundle_chunk(void *context, uint64_t staged, const uint8_t *data,
                           size_t size, struct argus_error *err)
{
    struct runtime *rt = context;
    struct chunk_store chunks = store_chunks(rt->store);
    uint8_t hash[CONTENT_HASH_SIZE];

    if (staged + size > rt->options.bundle_size_max + CONTENT_CHUNK_SIZE)
        return fail_too_large(rt, err);
    if (EVP_Digest(data, size, hash, NULL, EVP_sha256(), NULL) != 1)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for a hash");
    if (!chunks.put(chunks.context, hash, data, size))
        return argus_fail(err, ARGUS_EFULL,
                          "there is no room for more configuration in StateDir "
                          "of this node; see its log");
    return ARGUS_OK;
}

/* Which bound the content would break, so that the code tells it. */
static int check_size(const struct runtime *rt,
                      const argus_SignedBundle *bundle, struct argus_error *err)
{
    argus_Manifest manifest;
    pb_istream_t stream =
        pb_istream_from_buffer(bundle->manifest.bytes, bundle->manifest.size);

    if (!pb_decode(&stream, argus_Manifest_fields, &manifest))
        return argus_fail(err, ARGUS_EINVAL, "the manifest cannot be read: %s",
                          PB_GET_ERROR(&stream));
    return content_size(&manifest) > rt->options.bundle_size_max
               ? fail_too_large(rt, err)
               : ARGUS_OK;
}

/* On its way to disk before the operator hears of it. */
int questions_bundle_push(void *context, const argus_SignedBundle *bundle,
                          struct argus_error *err)
{
    struct runtime *rt = context;
    int result = ARGUS_EINVAL;
    struct argus_error why = {{0}};
    struct event event = {.type = EVENT_BUNDLE_PUSH,
                          .bundle_push = {bundle, &result, &why}};

    int rc = check_size(rt, bundle, err);
    if (rc != ARGUS_OK)
        return rc;
    runtime_step(rt, &event);
    if (result != ARGUS_OK)
        return argus_fail(err, result, "%s",
                          why.text[0] != '\0' ? why.text
                                              : argus_strstatus(result));
    store_tick(rt->store, runtime_now_ms());
    return ARGUS_OK;
}

/* ----------------------------------------------------------------- nodes */

/* Whether the nodes are through with it is for the asker to add up: their rows
 * follow. */
bool questions_bundle_status(void *context, const char *name,
                             argus_BundleStatusReply *out)
{
    struct runtime *rt = context;
    struct bundle_view view;

    if (!engine_bundle_version(rt->engine, name, 0, runtime_wall_us(), &view) ||
        view.manifest->has_order)
        return false;
    (void)snprintf(out->name, sizeof out->name, "%s", view.manifest->name);
    out->version = view.manifest->version;
    memcpy(out->hash, view.hash, sizeof out->hash);
    (void)snprintf(out->state, sizeof out->state, "%s",
                   view.manifest->removed ? "removed" : "rolling");
    if (view.is_expired)
        (void)snprintf(out->reason, sizeof out->reason, "it has expired");
    return true;
}

bool questions_bundle_node(void *context, const char *name, uint32_t index,
                           argus_BundleNodeReply *out)
{
    struct runtime *rt = context;
    return engine_bundle_node(rt->engine, name, index, out);
}
