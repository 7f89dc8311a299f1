/* sim_main.c - argus-sim: random faults from a seed until an invariant breaks,
 * then peace, and progress is demanded. Prints the line that replays a run. */
#include "sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/prng.h"

struct settings {
    uint64_t seed;
    uint32_t nodes, minutes;
    bool soak, has_seed;
};

static void crash_and_restart(struct sim *s, struct prng *p, uint32_t nodes)
{
    uint32_t node = prng_below(p, nodes);

    if (!sim_is_alive(s, node)) {
        if (prng_below(p, 4) == 0)
            sim_old_disk(s, node);
        sim_restart(s, node);
        return;
    }
    if (sim_alive_count(s) <= nodes / 2)
        return;
    switch (prng_below(p, 4)) {
    case 0: sim_crash(s, node); break;
    case 1: sim_unplug(s, node); break;
    case 2: sim_stop(s, node); break;
    case 3: sim_restart(s, node); break;
    }
}

/* An operator pushes, or removes, at a node of his choice. */
static void push(struct sim *s, struct prng *p)
{
    static const char *const names[] = {"web", "db", "mail", "dns", "time"};
    const char *name = names[prng_below(p, 5)];
    uint32_t size = prng_below(p, 5) == 0 ? 0 : 1 + prng_below(p, 200000);

    (void)sim_push(s, sim_random_alive(s), name, size);
}

/* One fault of any kind. */
static void fault(struct sim *s, struct prng *p, uint32_t nodes)
{
    switch (prng_below(p, 13)) {
    case 0: sim_partition(s, 1 + prng_below(p, nodes - 1)); break;
    case 1: sim_heal(s); break;
    case 2:
        sim_freeze(s, sim_random_alive(s), 100 + prng_below(p, 15000));
        break;
    case 3:
    case 4:
    case 5: sim_cut_random(s); break;
    case 6: sim_broadcast(s, sim_random_alive(s), "under fire"); break;
    case 7:
    case 8: push(s, p); break;
    case 9: sim_keep_disk(s, prng_below(p, nodes)); break;
    default: crash_and_restart(s, p, nodes); break;
    }
}

static bool demand(struct sim *s, bool (*predicate)(struct sim *), uint32_t ms,
                   const char *what)
{
    if (sim_run_until(s, predicate, ms))
        return true;
    printf("FAILED: %s within %u s of peace\n", what, ms / 1000);
    return false;
}

static bool make_peace(struct sim *s, uint32_t nodes)
{
    sim_heal(s);
    sim_run(s, 16000); /* the last frozen one thaws */
    for (uint32_t i = 0; i < nodes; i++)
        if (!sim_is_alive(s, i))
            sim_start(s, i);
    sim_values(s, 0, 0);
    if (!demand(s, sim_all_joined, 60000, "one symmetric mesh") ||
        !demand(s, sim_all_known, 120000, "all known everywhere") ||
        !demand(s, sim_all_written, 120000, "all values written") ||
        !demand(s, sim_all_bundles, 120000, "one configuration everywhere"))
        return false;
    sim_forget(s); /* across a partition a broadcast does not come later */
    sim_broadcast(s, sim_random_alive(s), "in peace");
    return demand(s, sim_all_delivered, 10000, "a broadcast delivered");
}

static bool run(const struct settings *o, uint64_t seed)
{
    struct prng p;
    struct sim_figures f;
    struct sim *s = sim_new(&(struct sim_options){.seed = seed,
                                                  .nodes = o->nodes,
                                                  .aggregators = 2,
                                                  .spread_ms = 2000,
                                                  .latency_min_us = 100,
                                                  .latency_max_us = 20000,
                                                  .offset_ms = 100});

    if (s == NULL)
        return false;
    prng_seed(&p, seed ^ 0x5eed);
    printf("replay: argus-sim --seed %" PRIu64 " --nodes %u --minutes %u\n",
           seed, o->nodes, o->minutes);
    fflush(stdout);
    sim_run(s, 5000);
    sim_values(s, 5, 1000);
    while (sim_now_ms(s) < (uint64_t)o->minutes * 60000 &&
           sim_failure(s) == NULL) {
        sim_run(s, 200 + prng_below(&p, 4000));
        fault(s, &p, o->nodes);
    }
    bool ok = make_peace(s, o->nodes) && sim_failure(s) == NULL;
    if (sim_failure(s) != NULL)
        printf("FAILED: %s\n", sim_failure(s));
    sim_figures(s, &f);
    printf("%s: %" PRIu64 " events, %" PRIu64 " frames, %" PRIu64
           " links cut, %" PRIu64 " of %" PRIu64 " values written\n",
           ok ? "held" : "broke", f.events, f.frames, f.links_cut,
           f.values_written, f.values_sent);
    sim_free(s);
    return ok;
}

static void usage(void)
{
    fprintf(stderr, "usage: argus-sim [--seed N] [--nodes N] [--minutes N] "
                    "[--soak]\n");
    exit(2);
}

static uint64_t number(char **argv, int *i)
{
    char *end;
    if (argv[*i + 1] == NULL)
        usage();
    uint64_t n = strtoull(argv[++*i], &end, 0);
    if (*end != '\0')
        usage();
    return n;
}

int main(int argc, char **argv)
{
    struct settings o = {.nodes = 32, .minutes = 10};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) {
            o.seed = number(argv, &i);
            o.has_seed = true;
        } else if (strcmp(argv[i], "--nodes") == 0) {
            o.nodes = (uint32_t)number(argv, &i);
        } else if (strcmp(argv[i], "--minutes") == 0) {
            o.minutes = (uint32_t)number(argv, &i);
        } else if (strcmp(argv[i], "--soak") == 0) {
            o.soak = true;
        } else {
            usage();
        }
    }
    if (o.nodes < 3 || o.minutes == 0)
        usage();
    if (!o.has_seed && getentropy(&o.seed, sizeof o.seed) != 0)
        return 2;
    do {
        if (!run(&o, o.seed))
            return 1;
        o.seed++;
    } while (o.soak);
    return 0;
}
