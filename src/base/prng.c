#include "base/prng.h"

#include <assert.h>

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t splitmix(uint64_t *x)
{
    return prng_mix(*x += 0x9e3779b97f4a7c15u);
}

void prng_seed(struct prng *p, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        p->s[i] = splitmix(&seed);
}

uint64_t prng_next(struct prng *p)
{
    uint64_t *s = p->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint32_t prng_below(struct prng *p, uint32_t bound)
{
    assert(bound > 0);
    return (uint32_t)(((prng_next(p) >> 32) * bound) >> 32);
}

double prng_double(struct prng *p)
{
    return (double)(prng_next(p) >> 11) * 0x1.0p-53;
}

uint32_t prng_jitter(struct prng *p, uint32_t ms)
{
    uint32_t fifth = ms / 5;
    return fifth == 0 ? ms : ms - fifth + prng_below(p, 2 * fifth + 1);
}
