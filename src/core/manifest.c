#include "core/manifest.h"

#include <string.h>

#include <pb_decode.h>

#include "core/content.h"
#include "core/orders.h"

bool manifest_name_is_sound(const char *name)
{
    size_t size = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789._-");

    return size >= 1 && size <= 63 && name[size] == '\0' && name[0] != '.' &&
           name[0] != '-';
}

static int check_removal(const argus_Manifest *m, struct argus_error *err)
{
    if (m->target[0] != '\0' || m->index.size != 0 || m->files_count != 0 ||
        m->expires_ms != 0)
        return argus_fail(err, ARGUS_EINVAL,
                          "a removal has no target, expiry or content");
    return ARGUS_OK;
}

static int check_file(const argus_Manifest *m, pb_size_t i,
                      struct argus_error *err)
{
    const argus_BundleFile *f = &m->files[i];

    if (i == 0) {
        if (f->name[0] != '\0')
            return argus_fail(err, ARGUS_EINVAL,
                              "the text is not the first "
                              "file");
        if (f->size == 0)
            return argus_fail(err, ARGUS_EINVAL, "the text is empty");
        return ARGUS_OK;
    }
    if (!manifest_name_is_sound(f->name))
        return argus_fail(err, ARGUS_EINVAL,
                          "file %u has no sound name: 1 to 63 letters, digits, "
                          "\".\", \"_\" and \"-\", not \".\" or \"-\" first",
                          (unsigned)i);
    for (pb_size_t k = 1; k < i; k++)
        if (strcmp(m->files[k].name, f->name) == 0)
            return argus_fail(err, ARGUS_EINVAL, "two files are named %s",
                              f->name);
    return ARGUS_OK;
}

static int check_content(const argus_Manifest *m, struct argus_error *err)
{
    if (m->files_count == 0)
        return argus_fail(err, ARGUS_EINVAL, "there is no text");
    for (pb_size_t i = 0; i < m->files_count; i++) {
        int rc = check_file(m, i, err);
        if (rc != ARGUS_OK)
            return rc;
    }
    if (content_size(m) > CONTENT_SIZE_MAX)
        return argus_fail(err, ARGUS_EINVAL,
                          "%llu bytes of content, at most %llu can be named",
                          (unsigned long long)content_size(m),
                          (unsigned long long)CONTENT_SIZE_MAX);
    if (m->index.size != CONTENT_HASH_SIZE)
        return argus_fail(err, ARGUS_EINVAL,
                          "the hash of the index is not one");
    return ARGUS_OK;
}

static int check(const argus_Manifest *m, struct argus_error *err)
{
    bool is_order = m->has_order || order_kind_of(m->name) != ORDER_NONE;

    if (!is_order && !manifest_name_is_sound(m->name))
        return argus_fail(err, ARGUS_EINVAL,
                          "a bundle's name is 1 to 63 letters, digits, \".\", "
                          "\"_\" and \"-\", not \".\" or \"-\" first");
    if (m->version == 0 || m->version == UINT32_MAX)
        return argus_fail(err, ARGUS_EINVAL, "%s: versions count from 1",
                          m->name);
    if (m->before.size != 0 && m->before.size != CONTENT_HASH_SIZE)
        return argus_fail(err, ARGUS_EINVAL,
                          "%s: the hash of the version before is not one",
                          m->name);
    if ((m->version == 1) != (m->before.size == 0))
        return argus_fail(err, ARGUS_EINVAL,
                          "%s: every version but the first names the one "
                          "before",
                          m->name);
    if (is_order)
        return order_check(m, err);
    return m->removed ? check_removal(m, err) : check_content(m, err);
}

int manifest_open(const argus_SignedBundle *bundle, argus_Manifest *out,
                  struct argus_error *err)
{
    pb_istream_t in =
        pb_istream_from_buffer(bundle->manifest.bytes, bundle->manifest.size);

    if (bundle->manifest.size == 0)
        return argus_fail(err, ARGUS_EINVAL, "there is no manifest");
    if (!pb_decode(&in, argus_Manifest_fields, out))
        return argus_fail(err, ARGUS_EINVAL, "the manifest is damaged: %s",
                          PB_GET_ERROR(&in));
    return check(out, err);
}
