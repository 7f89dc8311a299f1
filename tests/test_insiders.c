/* test_insiders.c - scenarios on the simulator: a node that has the mesh's key
 * and misuses it, and honest nodes that have much to say. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "sim/sim.h"

#define INSIDER 5

static struct sim *new_sim(uint32_t nodes)
{
    struct sim *s = sim_new(&(struct sim_options){
        .seed = test_seed(), .nodes = nodes, .spread_ms = 1000});

    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    return s;
}

static void end_sim(struct sim *s)
{
    const char *failure = sim_failure(s);

    if (failure != NULL)
        printf("  %s\n", failure);
    CU_ASSERT_PTR_NULL(failure);
    sim_free(s);
}

static bool is_mesh_known(struct sim *s)
{
    return sim_all_joined(s) && sim_all_known(s);
}

static bool is_someone_shut_out(struct sim *s)
{
    return sim_counter(s, "quarantined") > 0;
}

static void flood_with(enum sim_nonsense what, const char *name)
{
    struct sim *s = new_sim(12);

    CU_ASSERT_TRUE(sim_run_until(s, is_mesh_known, 6000));
    sim_run(s, 10000);
    uint64_t from_ms = sim_now_ms(s);
    sim_insider(s, INSIDER, what, 20);
    sim_run(s, 100);
    for (uint32_t i = 0; i < 10; i++)
        sim_broadcast(s, i < INSIDER ? i : i + 1, "meanwhile");
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_delivered, 1000));
    CU_ASSERT_TRUE(sim_run_until(s, is_someone_shut_out, 800));
    uint64_t first_ms = sim_now_ms(s);
    CU_ASSERT_TRUE(sim_run_until(s, sim_is_shut_out, 4000));
    printf("  %s: shut out by the first after %u ms, by all after %u ms\n",
           name, (unsigned)(first_ms - from_ms),
           (unsigned)(sim_now_ms(s) - from_ms));
    sim_insider(s, INSIDER, what, 0);
    sim_run(s, 5000);
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 5000));
    sim_broadcast(s, 9, "afterwards");
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_delivered, 1000));
    end_sim(s);
}

/* Goal: whatever valid nonsense an insider fills its links with, 20,000 frames
 * a second on each of five, its neighbors shut it out within 1 s; the others
 * stay one mesh, get every event at once, and blame nobody for what they passed
 * on. Method: each kind in a mesh of its own; that no honest node gets into
 * quarantine is an invariant of the simulator. */
static void test_flood_of_each_kind_is_shut_out(void)
{
    static const char *const names[NONSENSE_KINDS] = {
        "ping", "pong",  "ihave", "graft",   "prune",     "shuffle",
        "walk", "event", "stale", "made up", "misplaced", "all"};

    for (int what = 0; what < NONSENSE_KINDS; what++)
        flood_with((enum sim_nonsense)what, names[what]);
}

/* Goal: an insider that stays below what costs it its links makes honest nodes
 * pass on no more than their neighbors put up with.
 * Method: a frame a millisecond on each link, of all kinds that are passed on;
 * the invariant as above. */
static void test_quiet_insider_sets_nobody_at_odds(void)
{
    static const enum sim_nonsense kinds[] = {NONSENSE_SHUFFLE, NONSENSE_WALK,
                                              NONSENSE_MADE_UP};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct sim *s = new_sim(8);
        CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 6000));
        sim_insider(s, INSIDER, kinds[i], 1);
        sim_run(s, 8000);
        CU_ASSERT_TRUE(sim_flooded(s, INSIDER) > 10000);
        CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 5000));
        sim_broadcast(s, 2, "all the same");
        CU_ASSERT_TRUE(sim_run_until(s, sim_all_delivered, 1000));
        end_sim(s);
    }
}

/* Goal: an insider that mends its ways is a member again after the quarantine,
 * with whom it did not forget. */
static void test_quarantine_ends(void)
{
    struct sim *s = new_sim(12);

    CU_ASSERT_TRUE(sim_run_until(s, is_mesh_known, 6000));
    sim_insider(s, INSIDER, NONSENSE_PING, 100);
    CU_ASSERT_TRUE(sim_run_until(s, sim_is_shut_out, 4000));
    sim_insider(s, INSIDER, NONSENSE_PING, 0);
    sim_run(s, 30000);
    CU_ASSERT_TRUE(sim_counter(s, "quarantined") > 0);
    sim_run(s, 100000);
    CU_ASSERT_EQUAL(sim_counter(s, "quarantined"), 0);
    CU_ASSERT_FALSE(sim_is_shut_out(s));
    end_sim(s);
}

/* Goal: honest storms are no floods: 500 events at once from one node (what a
 * configuration allows at most), 200 from each of ten others, half of the mesh
 * dead at once, all joined again at once. */
static void test_honest_storms_pass(void)
{
    struct sim *s = new_sim(40);

    CU_ASSERT_TRUE(sim_run_until(s, is_mesh_known, 6000));
    for (int i = 0; i < 500; i++)
        sim_broadcast(s, 3, "storm");
    for (uint32_t i = 0; i < 2000; i++)
        sim_broadcast(s, 10 + i % 10, "storm as well");
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_delivered, 10000));
    sim_forget(s);
    for (uint32_t i = 20; i < 40; i++)
        sim_crash(s, i);
    CU_ASSERT_TRUE(sim_run_until(s, is_mesh_known, 15000));
    for (uint32_t i = 20; i < 40; i++)
        sim_restart(s, i);
    CU_ASSERT_TRUE(sim_run_until(s, is_mesh_known, 15000));
    CU_ASSERT_EQUAL(sim_counter(s, "statements_limited"), 0);
    CU_ASSERT_EQUAL(sim_counter(s, "quarantines_begun"), 0);
    end_sim(s);
}

CU_TestInfo suite_insiders[] = {
    {"flood_of_each_kind_is_shut_out", test_flood_of_each_kind_is_shut_out},
    {"quiet_insider_sets_nobody_at_odds",
     test_quiet_insider_sets_nobody_at_odds},
    {"quarantine_ends", test_quarantine_ends},
    {"honest_storms_pass", test_honest_storms_pass},
    CU_TEST_INFO_NULL,
};
