/* test_mesh.c - scenarios: many engines on the simulator. The seed is printed;
 * ARGUS_SEED replays it. */
#include "test.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/status.h"
#include "sim/sim.h"

static struct sim *new_sim(struct sim_options o)
{
    if (o.seed == 0)
        o.seed = test_seed();
    struct sim *s = sim_new(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    return s;
}

/* A handshake takes milliseconds, so a mesh at rest may have one under way
 * (nodes with room for a neighbor go on asking): where a scenario asks whether
 * a state still holds, it gives it 200 ms to be seen. */

/* What every scenario ends with. */
static void end_sim(struct sim *s)
{
    const char *failure = sim_failure(s);

    if (failure != NULL)
        printf("  %s\n", failure);
    CU_ASSERT_PTR_NULL(failure);
    sim_free(s);
}

static bool reaches(struct sim *s, bool (*predicate)(struct sim *), uint32_t ms,
                    const char *what)
{
    uint64_t from = sim_now_ms(s);
    bool ok = sim_run_until(s, predicate, ms);

    printf("  %s: %s after %llu ms\n", what, ok ? "yes" : "NO",
           (unsigned long long)(sim_now_ms(s) - from));
    return ok;
}

static bool is_mesh_known(struct sim *s)
{
    return sim_all_joined(s) && sim_all_known(s);
}

/* A node that lost several neighbors at once finds others soon: so the least
 * view is waited for, not sampled. */
static bool are_views_filled(struct sim *s)
{
    struct sim_figures f;

    sim_figures(s, &f);
    return f.active_min >= 3;
}

/* Goal: 64 nodes with one seed become one mesh with symmetric links, everybody
 * known everywhere, views well filled. Method: all start at once, so that the
 * seed must throttle and evict. */
static void test_join_storm_one_symmetric_mesh(void)
{
    struct sim_figures f;
    struct sim *s = new_sim((struct sim_options){.nodes = 64});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 5000, "joined and known"));
    sim_run(s, 30000);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 200, "at rest"));
    sim_figures(s, &f);
    printf("  active %u..%u, mean %.2f\n", f.active_min, f.active_max,
           f.active_mean);
    CU_ASSERT_TRUE(reaches(s, are_views_filled, 5000, "views filled"));
    CU_ASSERT_TRUE(f.active_mean >= 4.5);
    CU_ASSERT_EQUAL(sim_counter(s, "audit_failed"), 0);
    end_sim(s);
}

/* Goal: the mesh needs its seed no more once it stands, and who comes later
 * joins by any other node. */
static void test_seed_killed_newcomer_joins_elsewhere(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 32, .spread_ms = 1000});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    sim_crash(s, 0);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 12000, "seed known dead"));
    (void)sim_add(s, 17);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 5000, "newcomer known"));
    end_sim(s);
}

/* Goal: when half of the nodes die at once the rest is one mesh within 5 s, no
 * later broadcast is missed, and the dead are known as such within 12 s. */
static void test_half_killed_rest_mends(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 32, .spread_ms = 1000});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    sim_run(s, 20000);
    sim_crash_random(s, 16);
    uint64_t killed_ms = sim_now_ms(s);
    CU_ASSERT_TRUE(reaches(s, sim_all_joined, 5000, "one mesh again"));
    for (int i = 0; i < 20; i++)
        sim_broadcast(s, sim_random_alive(s), "who is left?");
    CU_ASSERT_TRUE(reaches(s, sim_all_delivered, 5000, "delivered"));
    CU_ASSERT_TRUE(reaches(s, sim_all_known, 12000, "16 online"));
    CU_ASSERT_TRUE(sim_now_ms(s) - killed_ms <= 12000);
    end_sim(s);
}

/* The same with machines that vanish without a word. */
static void test_third_unplugged_rest_mends(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 32, .spread_ms = 1000});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    sim_run(s, 20000);
    for (uint32_t i = 0; i < 10; i++)
        sim_unplug(s, 3 * i);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 30000, "mended"));
    sim_broadcast(s, sim_random_alive(s), "who is left?");
    CU_ASSERT_TRUE(reaches(s, sim_all_delivered, 5000, "delivered"));
    end_sim(s);
}

/* Goal: two halves that did not see each other for a minute are one mesh again
 * within 30 s, with everything known everywhere. */
static void test_partition_60s_heals(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 32, .spread_ms = 1000});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    sim_run(s, 10000);
    sim_partition(s, 16);
    sim_run(s, 60000);
    CU_ASSERT_FALSE(sim_is_connected(s));
    sim_heal(s);
    uint64_t healed_ms = sim_now_ms(s);
    CU_ASSERT_TRUE(reaches(s, sim_all_joined, 30000, "one mesh again"));
    sim_run(s, 2000); /* let the first links across settle */
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 28000, "all known again"));
    CU_ASSERT_TRUE(sim_now_ms(s) - healed_ms <= 30000);
    sim_broadcast(s, sim_random_alive(s), "together");
    CU_ASSERT_TRUE(reaches(s, sim_all_delivered, 2000, "delivered"));
    sim_run(s, 60000);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 200, "still one"));
    end_sim(s);
}

/* Goal: a node that comes back at once under the same identity replaces its
 * former life everywhere, and is never thought dead for long. */
static void test_quick_restart_same_identity(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 16, .spread_ms = 500});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    for (uint32_t i = 0; i < 16; i++) {
        sim_restart(s, i);
        sim_run(s, 300);
    }
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "all back"));
    sim_run(s, 10000);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 200, "still"));
    end_sim(s);
}

/* Goal: two nodes that dial each other in the same moment end with one link.
 * Method: each is the other's contact; many times over. */
static void test_crossing_dials_leave_one_link(void)
{
    uint64_t seed = test_seed();

    for (uint32_t i = 0; i < 50; i++) {
        struct sim_figures f;
        struct sim *s =
            new_sim((struct sim_options){.seed = seed + i, .nodes = 2});
        sim_run(s, 1);
        sim_join(s, 0, 1);
        CU_ASSERT_TRUE(sim_run_until(s, is_mesh_known, 3000));
        sim_run(s, 10000);
        CU_ASSERT_TRUE(is_mesh_known(s));
        sim_figures(s, &f);
        CU_ASSERT_EQUAL(f.active_min, 1);
        CU_ASSERT_EQUAL(f.active_max, 1);
        CU_ASSERT_EQUAL(sim_counter(s, "links"), 2);
        end_sim(s);
    }
}

/* Goal: two meshes that never met become one, and stay one, when an operator
 * points a single node of one at the other. */
static void test_two_meshes_joined_by_hand(void)
{
    struct sim *s = new_sim((struct sim_options){.nodes = 24, .quiet = true});

    for (uint32_t i = 0; i < 12; i++)
        sim_start(s, i);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "first"));
    uint32_t other = sim_add(s, UINT32_MAX);
    for (uint32_t i = 0; i < 11; i++)
        (void)sim_add(s, other);
    sim_run(s, 10000);
    CU_ASSERT_FALSE(sim_is_connected(s));
    sim_join(s, 5, other + 5);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 10000, "one"));
    sim_run(s, 120000);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 200, "still one"));
    end_sim(s);
}

/* Share of copies too many, after the first ten of 200 messages of 8 nodes. */
static double duplicates_of_a_mesh(uint64_t seed)
{
    struct sim_figures a = {0}, b;
    struct sim *s = new_sim(
        (struct sim_options){.seed = seed, .nodes = 32, .spread_ms = 1000});

    CU_ASSERT_TRUE(sim_run_until(s, is_mesh_known, 6000));
    sim_run(s, 20000);
    for (uint32_t i = 0; i < 200; i++) {
        if (i == 10)
            sim_figures(s, &a);
        sim_broadcast(s, i % 8 * 4, "hello");
        sim_run(s, 50);
    }
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_delivered, 2000));
    sim_figures(s, &b);
    end_sim(s);
    return (double)(b.gossip_duplicate - a.gossip_duplicate) /
           (double)(b.gossip_delivered - a.gossip_delivered);
}

/* Goal: at rest each broadcast reaches all and costs about one copy a node:
 * duplicates at most 5 % of deliveries, in each of five meshes. */
static void test_broadcast_reaches_all_cheaply(void)
{
    uint64_t seed = test_seed();
    double sum = 0, worst = 0;

    for (uint64_t i = 0; i < 5; i++) {
        double d = duplicates_of_a_mesh(seed + i);
        sum += d;
        worst = d > worst ? d : worst;
    }
    printf("  duplicates: mean %.2f %%, worst %.2f %% of deliveries\n",
           100 * sum / 5, 100 * worst);
    CU_ASSERT_TRUE(worst <= 0.05);
}

/* Goal: nodes whose process stood still accuse nobody when they wake, and are
 * members again soon after. */
static void test_frozen_node_accuses_nobody(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 16, .spread_ms = 500});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    uint64_t silent = sim_counter(s, "link_silent");
    sim_freeze(s, 5, 3000); /* shorter than SuspectTimeout */
    sim_run(s, 10000);
    CU_ASSERT_EQUAL(sim_counter(s, "link_silent"), silent);
    sim_freeze(s, 5, 10000);
    sim_run(s, 10000);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 10000, "back"));
    CU_ASSERT_TRUE(sim_counter(s, "timer_missed") > 0);
    end_sim(s);
}

/* Goal: a daemon that is stopped in order is known as gone at once, and no
 * neighbor takes it for a crash. */
static void test_clean_stop_is_known_at_once(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 16, .spread_ms = 500});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    uint64_t failed = sim_counter(s, "peer_failed");
    sim_stop(s, 7);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 1000, "known"));
    CU_ASSERT_EQUAL(sim_counter(s, "peer_failed"), failed);
    end_sim(s);
}

/* Goal: random cuts break nothing that peace does not mend. */
static void test_random_cuts_then_peace(void)
{
    struct sim *s = new_sim((struct sim_options){.nodes = 48,
                                                 .spread_ms = 2000,
                                                 .latency_min_us = 500,
                                                 .latency_max_us = 40000,
                                                 .cut_ppm = 2000,
                                                 .offset_ms = 200});

    sim_run(s, 60000);
    sim_crash_random(s, 16);
    sim_run(s, 20000);
    sim_heal(s); /* up to here safety, from here progress */
    CU_ASSERT_TRUE(reaches(s, sim_all_joined, 10000, "connected"));
    CU_ASSERT_TRUE(reaches(s, sim_all_known, 30000, "known"));
    sim_broadcast(s, sim_random_alive(s), "hello");
    CU_ASSERT_TRUE(reaches(s, sim_all_delivered, 5000, "delivered"));
    end_sim(s);
}

/* Goal: every value an agent sends is written by an aggregator, none twice by
 * one process, in order per series, though the aggregators come and go.
 * Method: the ledger of the simulator; two aggregators; one killed and back,
 * one stopped in order, one frozen for 10 s. */
static void test_values_survive_their_aggregators(void)
{
    struct sim_figures f;
    struct sim *s = new_sim(
        (struct sim_options){.nodes = 8, .aggregators = 2, .spread_ms = 500});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    sim_values(s, 20, 500);
    sim_run(s, 5000);
    sim_crash(s, 0);
    sim_run(s, 8000);
    sim_restart(s, 0);
    sim_run(s, 8000);
    sim_stop(s, 1);
    sim_run(s, 8000);
    sim_restart(s, 1);
    sim_run(s, 8000);
    sim_freeze(s, 1, 10000);
    sim_run(s, 15000);
    sim_values(s, 0, 0);
    CU_ASSERT_TRUE(reaches(s, sim_all_written, 20000, "all written"));
    sim_figures(s, &f);
    printf("  %llu values\n", (unsigned long long)f.values_sent);
    CU_ASSERT_EQUAL(f.values_sent, f.values_written);
    CU_ASSERT_TRUE(f.values_sent > 6 * 20 * 50);
    end_sim(s);
}

/* Goal: what is pushed at any node is on all of them soon, content included,
 * and there alone where it differs is pulled; also while links break. */
static void test_push_reaches_all_under_cuts(void)
{
    struct sim_figures f;
    struct sim *s = new_sim((struct sim_options){
        .nodes = 60, .spread_ms = 1000, .cut_ppm = 3000, .offset_ms = 100});

    CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 8000));
    sim_run(s, 10000);
    CU_ASSERT_EQUAL(sim_push(s, 17, "web", 65536), ARGUS_OK);
    CU_ASSERT_TRUE(reaches(s, sim_all_bundles, 10000, "64 KiB under cuts"));
    for (uint32_t i = 0; i < 10; i++) {
        (void)sim_push(s, sim_random_alive(s), i % 3 == 0 ? "web" : "db",
                       1000 + 20000 * i);
        sim_run(s, 300);
    }
    CU_ASSERT_TRUE(reaches(s, sim_all_bundles, 20000, "ten more under cuts"));
    sim_figures(s, &f);
    CU_ASSERT_TRUE(f.links_cut > 0);
    CU_ASSERT_EQUAL(sim_counter(s, "bundle_links_malformed"), 0);
    CU_ASSERT_EQUAL(sim_counter(s, "chunks_bad"), 0);
    end_sim(s);
}

/* Goal: with no trouble 1 KiB is everywhere within 200 ms, 64 KiB within 300 ms
 * and 1 MiB within a second, on a LAN with 1 Gbit/s at each node; and all of it
 * travels about once to each node. */
static void test_push_is_fast(void)
{
    static const struct {
        uint32_t size, ms;
    } cases[] = {{1024, 200}, {65536, 300}, {1 << 20, 1000}};

    for (size_t i = 0; i < 3; i++) {
        struct sim_figures before, after;
        struct sim *s = new_sim((struct sim_options){
            .nodes = 32, .spread_ms = 1000, .node_mbit = 1000});
        CU_ASSERT_TRUE(sim_run_until(s, is_mesh_known, 6000));
        sim_run(s, 20000);
        sim_broadcast(s, 3, "warms up the tree");
        sim_run(s, 1000);
        sim_figures(s, &before);
        CU_ASSERT_EQUAL(sim_push(s, 3, "web", cases[i].size), ARGUS_OK);
        CU_ASSERT_TRUE(reaches(s, sim_all_bundles, cases[i].ms, "pushed"));
        sim_figures(s, &after);
        uint64_t bytes = after.bytes_bundle - before.bytes_bundle;
        printf("  %u bytes: %.2f copies a node\n", cases[i].size,
               (double)bytes / cases[i].size / 31);
        CU_ASSERT_TRUE(i == 0 || bytes < 31 * (uint64_t)cases[i].size * 5 / 4);
        end_sim(s);
    }
}

/* Goal: a node that was away catches up, whatever its disk remembers, and what
 * was removed meanwhile does not come back with it. */
static void test_absent_node_brings_nothing_back(void)
{
    bool removed = false;
    struct sim *s =
        new_sim((struct sim_options){.nodes = 24, .spread_ms = 1000});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    CU_ASSERT_EQUAL(sim_push(s, 1, "web", 5000), ARGUS_OK);
    CU_ASSERT_EQUAL(sim_push(s, 2, "gone", 70000), ARGUS_OK);
    CU_ASSERT_TRUE(reaches(s, sim_all_bundles, 2000, "pushed"));
    sim_keep_disk(s, 5);
    sim_stop(s, 5);
    sim_crash(s, 6);
    sim_run(s, 600000);
    CU_ASSERT_EQUAL(sim_push(s, 7, "web", 6000), ARGUS_OK);
    CU_ASSERT_EQUAL(sim_push(s, 8, "gone", 0), ARGUS_OK);
    CU_ASSERT_EQUAL(sim_push(s, 9, "new", 40000), ARGUS_OK);
    sim_run(s, 600000);
    sim_old_disk(s, 5);
    sim_start(s, 5);
    sim_start(s, 6);
    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 5000, "back"));
    CU_ASSERT_TRUE(reaches(s, sim_all_bundles, 5000, "caught up"));
    sim_run(s, 300000);
    CU_ASSERT_TRUE(reaches(s, sim_all_bundles, 200, "still"));
    for (uint32_t i = 0; i < 24; i++) {
        CU_ASSERT_EQUAL(sim_bundle(s, i, "web", &removed), 2);
        CU_ASSERT_FALSE(removed);
        CU_ASSERT_EQUAL(sim_bundle(s, i, "gone", &removed), 2);
        CU_ASSERT_TRUE(removed);
    }
    end_sim(s);
}

/* Goal: of two pushes in the same moment the same one wins on all nodes, and
 * the node where the other one was pushed says so. */
static void test_two_pushes_at_once_one_wins(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 32, .spread_ms = 1000});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    for (uint64_t i = 1; i <= 20; i++) {
        CU_ASSERT_EQUAL(sim_push(s, 1, "web", 3000), ARGUS_OK);
        CU_ASSERT_EQUAL(sim_push(s, 30, "web", 4000), ARGUS_OK);
        CU_ASSERT_TRUE(sim_run_until(s, sim_all_bundles, 2000));
        CU_ASSERT_EQUAL(sim_counter(s, "bundle_pushes_lost"), i);
    }
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_delivered, 2000));
    CU_ASSERT_EQUAL(sim_counter(s, "events"), 20 * 32);
    end_sim(s);
}

/* Goal: both halves of a partition are pushed at; once it heals, all have the
 * same, the longer history or the lower hash. */
static void test_partition_with_pushes_heals_to_one(void)
{
    bool removed;
    struct sim *s =
        new_sim((struct sim_options){.nodes = 32, .spread_ms = 1000});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    CU_ASSERT_EQUAL(sim_push(s, 1, "web", 3000), ARGUS_OK);
    CU_ASSERT_TRUE(reaches(s, sim_all_bundles, 2000, "pushed"));
    sim_partition(s, 16);
    sim_run(s, 30000);
    for (uint32_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(sim_push(s, 2, "web", 3000), ARGUS_OK);
    CU_ASSERT_EQUAL(sim_push(s, 20, "web", 100000), ARGUS_OK);
    CU_ASSERT_EQUAL(sim_push(s, 3, "left", 3000), ARGUS_OK);
    CU_ASSERT_EQUAL(sim_push(s, 21, "right", 3000), ARGUS_OK);
    CU_ASSERT_EQUAL(sim_push(s, 4, "both", 3000), ARGUS_OK);
    CU_ASSERT_EQUAL(sim_push(s, 22, "both", 3000), ARGUS_OK);
    sim_run(s, 30000);
    CU_ASSERT_FALSE(sim_all_bundles(s));
    sim_heal(s);
    CU_ASSERT_TRUE(reaches(s, sim_all_joined, 30000, "one mesh again"));
    CU_ASSERT_TRUE(reaches(s, sim_all_bundles, 5000, "one configuration"));
    for (uint32_t i = 0; i < 32; i++) {
        CU_ASSERT_EQUAL(sim_bundle(s, i, "web", &removed), 4);
        CU_ASSERT_EQUAL(sim_bundle(s, i, "left", &removed), 1);
        CU_ASSERT_EQUAL(sim_bundle(s, i, "right", &removed), 1);
    }
    sim_run(s, 6000); /* a doubt is kept for so long */
    CU_ASSERT_EQUAL(sim_counter(s, "bundle_pushes_lost"), 2);
    end_sim(s);
}

/* Goal: a node that dies right after a push took its content with it, and no
 * other node has all of it; when it is back, all have, within the longest
 * back-off of half a minute (mostly within three seconds). */
static void test_push_survives_its_node(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 24, .spread_ms = 1000});

    CU_ASSERT_TRUE(reaches(s, is_mesh_known, 6000, "joined"));
    sim_run(s, 5000);
    CU_ASSERT_EQUAL(sim_push(s, 5, "web", 1 << 20), ARGUS_OK);
    sim_run(s, 8);
    sim_crash(s, 5);
    sim_run(s, 60000);
    CU_ASSERT_FALSE(sim_all_bundles(s));
    uint64_t asked = sim_counter(s, "chunks_absent");
    sim_run(s, 60000);
    asked = sim_counter(s, "chunks_absent") - asked;
    printf("  %.1f questions a node and minute\n", (double)asked / 23);
    CU_ASSERT_TRUE(asked < 23 * 40); /* in vain, so they are few */
    sim_start(s, 5);
    CU_ASSERT_TRUE(reaches(s, sim_all_bundles, 35000, "all have it"));
    end_sim(s);
}

/* Goal: agreeing costs little when there is nothing to agree about: at most
 * 100 bytes a node and minute without a bundle and 2 KiB with twenty. */
static void test_idle_anti_entropy_is_cheap(void)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g",
                                        "h", "i", "j", "k", "l", "m", "n",
                                        "o", "p", "q", "r", "s", "t"};
    struct sim_figures f[3], g;
    struct sim *s =
        new_sim((struct sim_options){.nodes = 32, .spread_ms = 1000});

    CU_ASSERT_TRUE(sim_run_until(s, is_mesh_known, 6000));
    sim_run(s, 60000);
    sim_figures(s, &f[0]);
    sim_run(s, 600000);
    sim_figures(s, &f[1]);
    for (uint32_t i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(sim_push(s, i, names[i], 700), ARGUS_OK);
    CU_ASSERT_TRUE(reaches(s, sim_all_bundles, 5000, "twenty pushes"));
    sim_run(s, 30000);
    sim_figures(s, &f[2]);
    sim_run(s, 600000);
    sim_figures(s, &g);
    double none = (double)(f[1].bytes_bundle - f[0].bytes_bundle) / 10 / 32;
    double twenty = (double)(g.bytes_bundle - f[2].bytes_bundle) / 10 / 32;
    printf("  bytes a node and minute: %.0f without, %.0f with 20 bundles\n",
           none, twenty);
    CU_ASSERT_TRUE(none > 0 && none <= 100);
    CU_ASSERT_TRUE(twenty <= 2048);
    end_sim(s);
}

/* The thread sanitizer keeps data of its own on a thread's stack. */
#ifdef __SANITIZE_THREAD__
#define STACK_SIZE (8u << 20)
#else
#define STACK_SIZE (1u << 20)
#endif

static void *mesh_on_a_small_stack(void *context)
{
    struct sim *s = context;

    sim_values(s, 5, 500);
    sim_run(s, 20000);
    sim_crash_random(s, 16);
    sim_run(s, 20000);
    return NULL;
}

/* Goal: an engine never needs half of a mebibyte of stack, though frames are
 * large and handlers call each other; a thread has eight by default.
 * Method: a mesh with joins, evictions, deaths, syncs and values on a stack
 * that was painted before: how much of the paint is left? */
static void test_little_stack_is_enough(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    size_t clean = 0;
    struct sim *s = new_sim(
        (struct sim_options){.nodes = 48, .aggregators = 2, .cut_ppm = 2000});
    uint8_t *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CU_ASSERT_PTR_NOT_EQUAL_FATAL(stack, MAP_FAILED);
    memset(stack, 0xa5, STACK_SIZE);
    CU_ASSERT_EQUAL_FATAL(pthread_attr_init(&attr), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_attr_setstack(&attr, stack, STACK_SIZE), 0);
    CU_ASSERT_EQUAL_FATAL(
        pthread_create(&thread, &attr, mesh_on_a_small_stack, s), 0);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    while (clean < STACK_SIZE && stack[clean] == 0xa5)
        clean++;
    printf("  %zu KiB of stack\n", (STACK_SIZE - clean) / 1024);
    CU_ASSERT_TRUE(clean >= STACK_SIZE / 2);
    CU_ASSERT_TRUE(clean < STACK_SIZE - 65536); /* it was used at all */
    (void)pthread_attr_destroy(&attr);
    (void)munmap(stack, STACK_SIZE);
    end_sim(s);
}

/* Goal: the same seed gives the same run, event for event. */
static void test_same_seed_same_run(void)
{
    struct sim_figures f[2];

    for (int i = 0; i < 2; i++) {
        struct sim *s = new_sim((struct sim_options){
            .seed = 4711, .nodes = 16, .spread_ms = 500, .cut_ppm = 3000});
        sim_run(s, 20000);
        sim_crash_random(s, 4);
        sim_run(s, 20000);
        sim_figures(s, &f[i]);
        end_sim(s);
    }
    CU_ASSERT_EQUAL(f[0].events, f[1].events);
    CU_ASSERT_EQUAL(f[0].frames, f[1].frames);
    CU_ASSERT_EQUAL(f[0].gossip_delivered, f[1].gossip_delivered);
    CU_ASSERT_TRUE(f[0].frames > 1000);
}

CU_TestInfo suite_mesh[] = {
    {"join_storm_one_symmetric_mesh", test_join_storm_one_symmetric_mesh},
    {"seed_killed_newcomer_joins_elsewhere",
     test_seed_killed_newcomer_joins_elsewhere},
    {"half_killed_rest_mends", test_half_killed_rest_mends},
    {"third_unplugged_rest_mends", test_third_unplugged_rest_mends},
    {"partition_60s_heals", test_partition_60s_heals},
    {"quick_restart_same_identity", test_quick_restart_same_identity},
    {"crossing_dials_leave_one_link", test_crossing_dials_leave_one_link},
    {"two_meshes_joined_by_hand", test_two_meshes_joined_by_hand},
    {"broadcast_reaches_all_cheaply", test_broadcast_reaches_all_cheaply},
    {"frozen_node_accuses_nobody", test_frozen_node_accuses_nobody},
    {"clean_stop_is_known_at_once", test_clean_stop_is_known_at_once},
    {"random_cuts_then_peace", test_random_cuts_then_peace},
    {"values_survive_their_aggregators", test_values_survive_their_aggregators},
    {"push_reaches_all_under_cuts", test_push_reaches_all_under_cuts},
    {"push_is_fast", test_push_is_fast},
    {"absent_node_brings_nothing_back", test_absent_node_brings_nothing_back},
    {"two_pushes_at_once_one_wins", test_two_pushes_at_once_one_wins},
    {"partition_with_pushes_heals_to_one",
     test_partition_with_pushes_heals_to_one},
    {"push_survives_its_node", test_push_survives_its_node},
    {"idle_anti_entropy_is_cheap", test_idle_anti_entropy_is_cheap},
    {"little_stack_is_enough", test_little_stack_is_enough},
    {"same_seed_same_run", test_same_seed_same_run},
    CU_TEST_INFO_NULL,
};
