/* scenario_chaos.c - faults at random, then peace, and progress is demanded
 * (random faults for safety, then stop them). See scenario.h. */
#include <stddef.h>

#include "sim/scenario_impl.h"

/** Of each kind of fault so many in all, out of which one is drawn. */
struct fault {
    uint32_t weight;
    void (*happen)(struct play *p);
    bool is_full; /* of full engines only */
};

static uint32_t anyone(struct play *p)
{
    return prng_below(&p->prng, sim_nodes(p->sim));
}

static bool may_fall(struct play *p)
{
    return sim_alive_count(p->sim) > sim_nodes(p->sim) / 2;
}

/* ----------------------------------------------------------------- faults */

static void fall_or_rise(struct play *p)
{
    uint32_t node = anyone(p);

    if (!sim_is_alive(p->sim, node)) {
        if (!p->mesh.overlay_only && prng_below(&p->prng, 4) == 0)
            sim_old_disk(p->sim, node);
        sim_restart(p->sim, node);
        return;
    }
    if (!may_fall(p))
        return;
    switch (prng_below(&p->prng, 4)) {
    case 0: sim_crash(p->sim, node); break;
    case 1: sim_unplug(p->sim, node); break;
    case 2: sim_stop(p->sim, node); break;
    case 3: sim_restart(p->sim, node); break;
    }
}

static void part(struct play *p)
{
    uint32_t first = 1 + prng_below(&p->prng, sim_nodes(p->sim) - 1);

    switch (prng_below(&p->prng, 4)) {
    case 0: sim_partition_one_way(p->sim, first); break;
    case 1:
        sim_partition_flapping(p->sim, first, 500 + prng_below(&p->prng, 8000),
                               500 + prng_below(&p->prng, 8000));
        break;
    default: sim_partition(p->sim, first); break;
    }
}

static void heal(struct play *p)
{
    sim_heal(p->sim);
}

static void freeze(struct play *p)
{
    sim_freeze(p->sim, anyone(p), 100 + prng_below(&p->prng, 15000));
}

static void slow(struct play *p)
{
    sim_slow(p->sim, anyone(p), prng_below(&p->prng, 3000));
}

static void cut(struct play *p)
{
    sim_cut_random(p->sim);
}

static void say(struct play *p)
{
    sim_broadcast(p->sim, sim_random_alive(p->sim), "under fire");
}

/* An operator pushes, or removes, at a node of his choice. */
static void push(struct play *p)
{
    static const char *const names[] = {"web", "db", "mail", "dns", "time"};
    const char *name = names[prng_below(&p->prng, 5)];
    uint32_t size =
        prng_below(&p->prng, 5) == 0 ? 0 : 1 + prng_below(&p->prng, 200000);

    (void)sim_push(p->sim, sim_random_alive(p->sim), name, size);
}

static void keep_disk(struct play *p)
{
    sim_keep_disk(p->sim, anyone(p));
}

/* Wall clocks lie by less than what hybrid clocks merge, and drift. */
static void disturb_clock(struct play *p)
{
    uint32_t node = anyone(p);

    switch (prng_below(&p->prng, 3)) {
    case 0:
        sim_clock_offset(p->sim, node,
                         (int64_t)prng_below(&p->prng, 400000) - 200000);
        break;
    case 1:
        sim_clock_drift(p->sim, node,
                        (double)prng_below(&p->prng, 2000) - 1000);
        break;
    case 2: sim_clock_freeze(p->sim, node, prng_below(&p->prng, 300)); break;
    }
}

static void fault(struct play *p)
{
    static const struct fault faults[] = {
        {2, part, false},         {2, heal, false},          {2, freeze, false},
        {1, slow, false},         {6, cut, false},           {2, say, false},
        {8, fall_or_rise, false}, {2, disturb_clock, false}, {4, push, true},
        {2, keep_disk, true},
    };
    uint32_t all = 0, i = 0;

    for (i = 0; i < sizeof faults / sizeof faults[0]; i++)
        if (!faults[i].is_full || !p->mesh.overlay_only)
            all += faults[i].weight;
    uint32_t drawn = prng_below(&p->prng, all);
    for (i = 0;; i++) {
        if (faults[i].is_full && p->mesh.overlay_only)
            continue;
        if (drawn < faults[i].weight)
            break;
        drawn -= faults[i].weight;
    }
    if (sim_alive_count(p->sim) > 0)
        faults[i].happen(p);
}

/* chaos TIME [each TIME]: a fault of any kind, on average that often (2 s) */
void play_chaos(struct play *p)
{
    uint64_t until_ms = sim_now_ms(p->sim) + play_ms(p);
    uint32_t each_ms = play_is_word(p, "each") ? play_ms(p) : 2000;

    while (!p->is_broken && sim_now_ms(p->sim) < until_ms &&
           sim_failure(p->sim) == NULL) {
        sim_run(p->sim, 1 + prng_below(&p->prng, 2 * each_ms));
        fault(p);
    }
}

/* ------------------------------------------------------------------ peace */

/* peace: no faults any more, and everybody is there again */
void play_peace(struct play *p)
{
    sim_heal(p->sim);
    for (uint32_t i = 0; i < sim_nodes(p->sim); i++) {
        sim_clock_drift(p->sim, i, 0);
        sim_slow(p->sim, i, 0);
    }
    sim_run(p->sim, 16000); /* the last frozen one thaws */
    for (uint32_t i = 0; i < sim_nodes(p->sim); i++)
        if (!sim_is_alive(p->sim, i))
            sim_restart(p->sim, i);
    if (!p->mesh.overlay_only)
        sim_values(p->sim, 0, 0);
}
