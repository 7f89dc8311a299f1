#include "core/router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/status.h"

struct router {
    char zone[128];
    struct aggregator *list; /* in order of ids */
    uint32_t *near;          /* by the same position */
    uint32_t count;
};

int router_new(const char *zone, struct router **out)
{
    struct router *r = calloc(1, sizeof *r);

    if (r == NULL)
        return ARGUS_ENOMEM;
    strncpy(r->zone, zone, sizeof r->zone - 1);
    *out = r;
    return ARGUS_OK;
}

void router_free(struct router *r)
{
    if (r == NULL)
        return;
    free(r->list);
    free(r->near);
    free(r);
}

/* Leading parts that two paths share: whole parts, so "eu1/rack1" is not near
 * "eu1/rack12" beyond "eu1". */
static uint32_t zone_shared(const char *a, const char *b)
{
    uint32_t shared = 0;

    for (;;) {
        size_t la = strcspn(a, "/"), lb = strcspn(b, "/");
        if (la == 0 || la != lb || memcmp(a, b, la) != 0)
            return shared;
        shared++;
        if (a[la] == '\0' || b[lb] == '\0')
            return shared;
        a += la + 1;
        b += lb + 1;
    }
}

static int by_id(const void *a, const void *b)
{
    const struct aggregator *left = a, *right = b;
    return node_id_compare(&left->id, &right->id);
}

/* A weight from the wire may be anything. */
static float weight_sane(float weight)
{
    if (!(weight > 0.0f))
        return 0.0f;
    return weight > 1e6f ? 1e6f : weight;
}

int router_set(struct router *r, const struct aggregator *list, uint32_t count)
{
    uint32_t kept =
        count > ROUTER_AGGREGATORS_MAX ? ROUTER_AGGREGATORS_MAX : count;
    size_t room = count == 0 ? 1 : count;
    struct aggregator *copy = malloc(room * sizeof *copy);
    uint32_t *near = malloc(room * sizeof *near);

    if (copy == NULL || near == NULL) {
        free(copy);
        free(near);
        return ARGUS_ENOMEM;
    }
    if (count > 0) {
        memcpy(copy, list, count * sizeof *copy);
        qsort(copy, count, sizeof *copy, by_id);
    }
    for (uint32_t i = 0; i < kept; i++) {
        copy[i].weight = weight_sane(copy[i].weight);
        near[i] = zone_shared(r->zone, copy[i].zone);
    }
    free(r->list);
    free(r->near);
    r->list = copy;
    r->near = near;
    r->count = kept;
    return kept < count ? ARGUS_EFULL : ARGUS_OK;
}

uint32_t router_count(const struct router *r)
{
    return r->count;
}

const struct aggregator *router_at(const struct router *r, uint32_t position)
{
    return position < r->count ? &r->list[position] : NULL;
}

static uint64_t key_of(const char *text, size_t length)
{
    return XXH3_64bits(text, length);
}

uint64_t router_key(const char *host)
{
    return key_of(host, strlen(host));
}

struct router_score router_score(const struct router *r, uint32_t position,
                                 uint64_t key)
{
    const struct aggregator *a = &r->list[position];
    uint64_t hash = XXH3_64bits_withSeed(a->id.bytes, NODE_ID_SIZE, key);
    /* 53 bits and a half: never 0, never 1, so ln(u) is neither inf nor 0. */
    double u = ((double)(hash >> 11) + 0.5) * 0x1.0p-53;

    if (u >= 1.0)
        u = 1.0 - 0x1.0p-53;
    return (struct router_score){.near = r->near[position],
                                 .score = -(double)a->weight / log(u)};
}

bool router_is_better(const struct router_score *a, uint32_t a_position,
                      const struct router_score *b, uint32_t b_position)
{
    if (a->near != b->near)
        return a->near > b->near;
    if (a->score > b->score)
        return true;
    if (a->score < b->score)
        return false;
    return a_position < b_position;
}

/* Selection by counting, not sorting: no scratch memory, and the lists that
 * people look at are short. */
const struct aggregator *router_rank(const struct router *r, const char *host,
                                     uint32_t index, struct router_score *score)
{
    uint64_t key = key_of(host, strcspn(host, "/"));

    for (uint32_t i = 0; i < r->count; i++) {
        struct router_score mine = router_score(r, i, key);
        uint32_t before = 0;
        for (uint32_t k = 0; k < r->count && before <= index; k++) {
            struct router_score other = router_score(r, k, key);
            if (k != i && router_is_better(&other, k, &mine, i))
                before++;
        }
        if (before != index)
            continue;
        if (score != NULL)
            *score = mine;
        return &r->list[i];
    }
    return NULL;
}
