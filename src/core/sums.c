#include "core/sums.h"

#include <string.h>

#include "base/prng.h"

#define LEAVES_MIN 16

static uint64_t sum_of(const struct member *m)
{
    uint64_t z = prng_mix(node_id_half(&m->id, 0));

    z = prng_mix(z ^ node_id_half(&m->id, 8));
    z = prng_mix(z ^ ((uint64_t)m->generation << 32 | m->version));
    return m->report == NULL ? z : prng_mix(z ^ m->report->hlc);
}

uint64_t sums_of_all(const struct members *t)
{
    uint64_t sum;

    sums_of_ranges(t, 1, &sum);
    return sum;
}

bool sums_count_is_sound(uint32_t count)
{
    return count > 0 && count <= SUMS_MAX && (count & (count - 1)) == 0;
}

uint32_t sums_range_of(const struct node_id *id, uint32_t count)
{
    return id->bytes[0] * count / SUMS_MAX;
}

struct node_id sums_first(uint32_t range, uint32_t count)
{
    struct node_id id = {{0}};

    id.bytes[0] = (uint8_t)(range * (SUMS_MAX / count));
    return id;
}

struct node_id sums_last(uint32_t range, uint32_t count)
{
    struct node_id id;

    memset(id.bytes, 0xff, sizeof id.bytes);
    id.bytes[0] = (uint8_t)((range + 1) * (SUMS_MAX / count) - 1);
    return id;
}

void sums_of_ranges(const struct members *t, uint32_t count, uint64_t *sums)
{
    memset(sums, 0, count * sizeof sums[0]);
    for (uint32_t i = 0; i < t->count; i++)
        if (member_is_listed(t->list[i]))
            sums[sums_range_of(&t->list[i]->id, count)] += sum_of(t->list[i]);
}

void sums_of_leaves(const struct members *t, argus_Sums *out)
{
    uint32_t leaves = LEAVES_MIN;

    while (leaves < SUMS_MAX && leaves * leaves < 4 * t->count)
        leaves *= 2;
    out->sums_count = (pb_size_t)leaves;
    sums_of_ranges(t, leaves, out->sums);
}
