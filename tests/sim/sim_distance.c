/* sim_distance.c - how long a packet is under way. See sim.h. */
#include "base/prng.h"
#include "sim/sim_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TWO_PI 6.283185307179586

/* What is drawn for a pair of nodes comes from their numbers and the seed: it
 * is the same for each of their links, and nothing has to be kept. */
static uint64_t pair_number(const struct sim *s, uint32_t a, uint32_t b)
{
    uint64_t z = s->options.seed + 0x9e3779b97f4a7c15u +
                 ((uint64_t)(a < b ? a : b) << 32 | (a < b ? b : a));

    return prng_mix(z);
}

static double unit(uint64_t bits)
{
    return (double)(bits >> 11) / 9007199254740992.0;
}

/* Box and Muller. */
static double normal(uint64_t number)
{
    double u = unit(number), v = unit(number * 0x9e3779b97f4a7c15u);

    return sqrt(-2 * log(1 - u)) * cos(TWO_PI * v);
}

static uint32_t between_zones(const struct sim *s, uint32_t from, uint32_t to)
{
    if (s->zone_us == NULL)
        return 0;
    return s
        ->zone_us[s->nodes[from]->zone * s->options.zones + s->nodes[to]->zone];
}

uint32_t distance_between(const struct sim *s, uint32_t from, uint32_t to)
{
    const struct sim_options *o = &s->options;
    uint64_t number = pair_number(s, from, to);
    double us = between_zones(s, from, to);

    if (o->latency == SIM_LOG_NORMAL)
        us += o->latency_median_us * exp(o->latency_sigma * normal(number));
    if (o->asymmetry_pct > 0) {
        double share = (2 * unit(number * 0xd1342543de82ef95u) - 1) *
                       o->asymmetry_pct / 100;
        us *= from < to ? 1 + share : 1 - share;
    }
    return us < 4e9 ? (uint32_t)us : UINT32_MAX;
}

uint32_t distance_vary(struct sim *s, uint32_t base_us)
{
    const struct sim_options *o = &s->options;

    if (o->latency == SIM_UNIFORM)
        return base_us + o->latency_min_us +
               prng_below(&s->prng, o->latency_max_us - o->latency_min_us + 1);
    if (o->jitter_pct == 0)
        return base_us + 1;
    uint64_t most = (uint64_t)base_us * o->jitter_pct / 100;
    return base_us + 1 + prng_below(&s->prng, (uint32_t)most + 1);
}

bool distance_init(struct sim *s)
{
    struct sim_options *o = &s->options;

    if (o->latency_max_us == 0) {
        o->latency_min_us = 200;
        o->latency_max_us = 2000;
    }
    if (o->latency_median_us == 0)
        o->latency_median_us = 10000;
    if (o->latency_sigma == 0)
        o->latency_sigma = 0.5;
    if (o->latency_min_us > o->latency_max_us || o->zones > SIM_ZONES_MAX ||
        o->asymmetry_pct > 100 || o->latency_sigma < 0)
        return false;
    if (o->zones == 0)
        return true;
    size_t cells = (size_t)o->zones * o->zones;
    s->zone_us = sim_alloc(cells * sizeof *s->zone_us);
    for (size_t i = 0; i < cells; i++)
        s->zone_us[i] = o->zone_us != NULL             ? o->zone_us[i]
                        : i / o->zones == i % o->zones ? 0
                                                       : o->zone_far_us;
    return true;
}
