/* sim_bundles.c - pushed configuration on the nodes. See sim.h. */
#include "sim/sim_impl.h"

#include <stdlib.h>
#include <string.h>

/* What was in force on a node when it was last looked at: from there it only
 * rises, whatever comes by. */
struct head {
    char name[64];
    uint32_t version;
    uint8_t hash[CONTENT_HASH_SIZE];
};

/* ----------------------------------------------------------- invariant */

static struct head *find_head(struct sim_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->heads_count; i++)
        if (strcmp(n->heads[i].name, name) == 0)
            return &n->heads[i];
    n->heads = realloc(n->heads, (n->heads_count + 1) * sizeof *n->heads);
    if (n->heads == NULL)
        abort();
    struct head *h = &n->heads[n->heads_count++];
    memset(h, 0, sizeof *h);
    memcpy(h->name, name, strlen(name) + 1);
    return h;
}

static uint32_t count_revoked(const struct sim_node *n)
{
    struct operator_view v;
    uint32_t count = 0;

    for (uint32_t i = 0; engine_operator(n->engine, i, &v); i++)
        count += v.is_named && v.is_revoked;
    return count;
}

void bundles_check(struct sim *s, struct sim_node *n)
{
    struct bundle_view v;

    n->bundles_changed = false;
    n->bundles_told++;
    uint32_t revoked = count_revoked(n);
    if (revoked != n->revoked) /* what they signed counts no more */
        bundles_forget(n);
    n->revoked = revoked;
    for (uint32_t i = 0; engine_bundle(n->engine, i, 0, &v); i++) {
        struct head *h = find_head(n, v.manifest->name);
        if (bundles_compare(v.manifest->version, v.hash, h->version, h->hash,
                            sizeof h->hash) < 0)
            sim_fail(s, "n%u: %s went back from version %u to %u", n->index,
                     h->name, h->version, v.manifest->version);
        h->version = v.manifest->version;
        memcpy(h->hash, v.hash, sizeof h->hash);
    }
}

void bundles_forget(struct sim_node *n)
{
    free(n->heads);
    n->heads = NULL;
    n->heads_count = 0;
}

/* --------------------------------------------------------------- verbs */

int sim_push(struct sim *s, uint32_t node, const char *name, uint32_t size)
{
    static argus_SignedBundle bundle;
    struct sim_node *n = s->nodes[node];
    struct bundle_view head;
    struct argus_error err;
    int result = ARGUS_EINVAL;
    bool has_head = engine_bundle_version(n->engine, name, 0, 0, &head);
    struct kit_spec spec = {.name = name,
                            .version =
                                has_head ? head.manifest->version + 1 : 1,
                            .before = has_head ? head.hash : NULL,
                            .size = size,
                            .seed = prng_next(&s->prng)};
    struct event ev = {
        .type = EVENT_BUNDLE_PUSH,
        .bundle_push = {.bundle = &bundle, .result = &result, .err = &err}};

    kit_make(&spec, &n->chunks, &bundle);
    sim_step(s, n, &ev);
    return result;
}

int sim_order(struct sim *s, uint32_t node, uint8_t operator_number,
              const void *order)
{
    static argus_SignedBundle bundle;
    const argus_Order *o = order;
    enum order_kind kind = order_kind_of_body(o);
    struct sim_node *n = s->nodes[node];
    struct bundle_view head;
    int result = ARGUS_EINVAL;
    bool has_head = engine_order(n->engine, kind, &head);
    struct event ev = {.type = EVENT_BUNDLE_PUSH,
                       .bundle_push = {.bundle = &bundle, .result = &result}};

    kit_order(operator_number, o, has_head ? head.manifest->version + 1 : 1,
              has_head ? head.hash : NULL, &bundle);
    sim_step(s, n, &ev);
    return result;
}

uint32_t sim_bundle(struct sim *s, uint32_t node, const char *name,
                    bool *is_removed)
{
    struct bundle_view v;

    if (s->nodes[node]->engine == NULL ||
        !engine_bundle_version(s->nodes[node]->engine, name, 0, 0, &v))
        return 0;
    *is_removed = v.manifest->removed;
    return v.manifest->version;
}

/* ---------------------------------------------------------- predicates */

static bool has_same_orders(const struct sim_node *a, const struct sim_node *b)
{
    struct bundle_view va, vb;

    for (int kind = ORDER_NONE + 1; kind < ORDER_KINDS; kind++) {
        bool one = engine_order(a->engine, (enum order_kind)kind, &va);
        bool other = engine_order(b->engine, (enum order_kind)kind, &vb);
        if (one != other ||
            (one && memcmp(va.hash, vb.hash, sizeof va.hash) != 0))
            return false;
    }
    return count_revoked(a) == count_revoked(b);
}

static bool has_same(const struct sim_node *a, const struct sim_node *b)
{
    struct bundle_view va, vb;

    if (!has_same_orders(a, b))
        return false;
    for (uint32_t i = 0;; i++) {
        bool one = engine_bundle(a->engine, i, 0, &va);
        bool other = engine_bundle(b->engine, i, 0, &vb);
        if (!one || !other)
            return one == other;
        if (memcmp(va.hash, vb.hash, sizeof va.hash) != 0 ||
            va.is_trusted != vb.is_trusted || !va.is_complete ||
            !vb.is_complete)
            return false;
    }
}

bool sim_all_bundles(struct sim *s)
{
    const struct sim_node *first = NULL;

    for (uint32_t i = 0; i < s->nodes_count; i++) {
        if (!sim_is_alive(s, i))
            continue;
        if (first == NULL)
            first = s->nodes[i];
        if (!has_same(first, s->nodes[i]))
            return false;
    }
    return first != NULL && s->starts_pending == 0;
}

/* ------------------------------------------------------------ old disks */

void sim_keep_disk(struct sim *s, uint32_t node)
{
    struct sim_node *n = s->nodes[node];

    bundles_drop_kept(n);
    n->kept = disk_copy(n, &n->kept_count);
}

void bundles_drop_kept(struct sim_node *n)
{
    for (uint32_t i = 0; i < n->kept_count; i++)
        free(n->kept[i].data);
    free(n->kept);
    n->kept = NULL;
    n->kept_count = 0;
}

void sim_old_disk(struct sim *s, uint32_t node)
{
    struct sim_node *n = s->nodes[node];

    disk_clear(n);
    n->disk = n->kept;
    n->disk_count = n->disk_room = n->kept_count;
    n->kept = NULL;
    n->kept_count = 0;
    kit_chunks_clear(&n->chunks);
    bundles_forget(n);
}
