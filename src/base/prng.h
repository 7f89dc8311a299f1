/* prng.h - seeded random numbers: the same seed gives the same run.
 *
 * xoshiro256** (Blackman, Vigna, "Scrambled linear pseudorandom number
 * generators", 2018), seeded by splitmix64. Not for secrets. */
#ifndef ARGUS_BASE_PRNG_H
#define ARGUS_BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t s[4];
};

/** A number from which each bit of z has an equal say in each bit: the finish
 * of splitmix64. Always the same of the same. */
static inline uint64_t prng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void prng_seed(struct prng *p, uint64_t seed);
uint64_t prng_next(struct prng *p);

/** Uniform in [0, bound); bound must not be 0. */
uint32_t prng_below(struct prng *p, uint32_t bound);

/** Uniform in [0, 1). */
double prng_double(struct prng *p);

/** `ms` with a jitter of +-20 %, so that nodes do not march in step. */
uint32_t prng_jitter(struct prng *p, uint32_t ms);

#endif
