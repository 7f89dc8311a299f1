/* test_sim.c - the simulator itself: its measures on graphs whose figures are
 * known, its network, its clocks, and that it plays a seed the same way again.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/membership.h"
#include "sim/sim_graph.h"
#include "sim/sim_impl.h"

/* --------------------------------------------------------------- graphs */

#define EDGES_MAX 64

/* Each pair once; both directions are made of it. */
static struct graph make_graph(uint32_t nodes, const uint32_t (*pairs)[2],
                               uint32_t count)
{
    static uint32_t starts[EDGES_MAX], ends[2 * EDGES_MAX];
    struct graph g = {.nodes = nodes, .starts = starts, .ends = ends};
    uint32_t at = 0;

    for (uint32_t i = 0; i < nodes; i++) {
        starts[i] = at;
        for (uint32_t j = 0; j < count; j++) {
            if (pairs[j][0] == i)
                ends[at++] = pairs[j][1];
            else if (pairs[j][1] == i)
                ends[at++] = pairs[j][0];
        }
    }
    starts[nodes] = at;
    return g;
}

static bool is_near(double a, double b)
{
    return a - b < 1e-9 && b - a < 1e-9;
}

/* A ring of six: 1, 1, 2, 2, 3 hops from each; nobody's neighbors meet. */
static void test_ring_is_measured(void)
{
    static const uint32_t ring[][2] = {{0, 1}, {1, 2}, {2, 3},
                                       {3, 4}, {4, 5}, {5, 0}};
    struct graph g = make_graph(6, ring, 6);
    struct graph_paths p;
    struct prng prng;
    uint32_t largest;

    prng_seed(&prng, 1);
    graph_paths(&g, &prng, 0, &p);
    CU_ASSERT_TRUE(is_near(p.mean, 1.8));
    CU_ASSERT_TRUE(is_near(p.longest_mean, 3));
    CU_ASSERT_EQUAL(p.longest, 3);
    graph_paths(&g, &prng, 2, &p); /* each source sees the same */
    CU_ASSERT_TRUE(is_near(p.mean, 1.8));
    CU_ASSERT_TRUE(is_near(graph_clustering(&g), 0));
    CU_ASSERT_EQUAL(graph_islands(&g, NULL, &largest), 1);
    CU_ASSERT_EQUAL(largest, 6);
}

/* Two triangles that share node 2, a pair, and one alone: clustering is 1 at
 * the four corners and 1/3 at node 2, where 2 of 6 pairs are linked. */
static void test_triangles_are_measured(void)
{
    static const uint32_t pairs[][2] = {{0, 1}, {1, 2}, {2, 0}, {2, 3},
                                        {3, 4}, {4, 2}, {5, 6}};
    struct graph g = make_graph(8, pairs, 7);
    struct graph_paths p;
    struct prng prng;
    uint32_t island[8], largest;

    prng_seed(&prng, 1);
    CU_ASSERT_TRUE(is_near(graph_clustering(&g), (4 + 1.0 / 3) / 5));
    CU_ASSERT_EQUAL(graph_islands(&g, island, &largest), 3);
    CU_ASSERT_EQUAL(largest, 5);
    CU_ASSERT_EQUAL(island[4], 0);
    CU_ASSERT_EQUAL(island[6], 5);
    CU_ASSERT_EQUAL(island[7], 7);
    graph_paths(&g, &prng, 0, &p); /* 4 + 4 * 6 hops in one, 2 in the other */
    CU_ASSERT_TRUE(is_near(p.mean, 30.0 / 22));
    CU_ASSERT_EQUAL(p.longest, 2);
}

/* -------------------------------------------------------------- networks */

static struct sim *new_sim(struct sim_options o)
{
    if (o.seed == 0)
        o.seed = test_seed();
    struct sim *s = sim_new(&o);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    return s;
}

static void end_sim(struct sim *s)
{
    if (sim_failure(s) != NULL)
        printf("\n  %s\n", sim_failure(s));
    CU_ASSERT_PTR_NULL(sim_failure(s));
    sim_free(s);
}

static int compare_distances(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Goal: distances are as asked for. Method: half of all pairs are nearer than
 * the median; a pair has one distance; the two directions differ by at most the
 * asymmetry and in the mean not at all; other zones are further away. */
static void test_distances_are_as_asked(void)
{
    static uint32_t us[200 * 199];
    struct sim *s = new_sim((struct sim_options){.nodes = 200,
                                                 .latency = SIM_LOG_NORMAL,
                                                 .latency_median_us = 10000,
                                                 .latency_sigma = 0.5,
                                                 .asymmetry_pct = 35,
                                                 .zones = 2,
                                                 .zone_far_us = 1000000,
                                                 .quiet = true});
    uint32_t count = 0;

    for (uint32_t i = 0; i < 200; i++)
        for (uint32_t j = 0; j < 200; j++) {
            if (i == j)
                continue;
            uint32_t there = distance_between(s, i, j);
            uint32_t back = distance_between(s, j, i);
            double mean = ((double)there + back) / 2;
            CU_ASSERT_EQUAL(there, distance_between(s, i, j));
            CU_ASSERT_TRUE((double)there <= 1.3501 * mean + 1);
            CU_ASSERT_TRUE((mean > 600000) == (i % 2 != j % 2));
            if (i % 2 == j % 2)
                us[count++] = (uint32_t)mean;
        }
    qsort(us, count, sizeof us[0], compare_distances);
    printf("  median %u us, quartiles %u and %u\n", us[count / 2],
           us[count / 4], us[count * 3 / 4]);
    CU_ASSERT_TRUE(us[count / 2] > 9600 && us[count / 2] < 10400);
    /* exp(+-0.6745 * 0.5) */
    CU_ASSERT_TRUE(us[count / 4] > 6800 && us[count / 4] < 7500);
    CU_ASSERT_TRUE(us[count * 3 / 4] > 13300 && us[count * 3 / 4] < 14700);
    end_sim(s);
}

static void test_bad_options_are_refused(void)
{
    CU_ASSERT_PTR_NULL(sim_new(&(struct sim_options){.nodes = 3, .zones = 17}));
    CU_ASSERT_PTR_NULL(
        sim_new(&(struct sim_options){.nodes = 3, .strategy = "none"}));
    CU_ASSERT_PTR_NULL(sim_new(&(struct sim_options){
        .nodes = 3, .latency_min_us = 2, .latency_max_us = 1}));
}

static void play(struct sim *s)
{
    sim_run(s, 15000);
    for (int i = 0; i < 5; i++) {
        sim_broadcast(s, sim_random_alive(s), "one of five");
        sim_run(s, 300);
    }
    sim_unplug_random(s, 10);
    sim_run(s, 20000);
    sim_broadcast(s, sim_random_alive(s), "the sixth");
    sim_run(s, 5000);
}

/* Goal: a frame that is copied is the frame that is encoded. Method: the same
 * seed, once through the codec and once not, gives the same run, happening by
 * happening; and what sizes are estimated differs by nothing. */
static void test_codec_changes_nothing(void)
{
    static const bool light[] = {true, false};
    uint64_t seed = test_seed();

    for (size_t i = 0; i < 2; i++) {
        struct sim_options o = {.seed = seed,
                                .nodes = 60,
                                .overlay_only = light[i],
                                .zones = 3,
                                .latency = SIM_LOG_NORMAL,
                                .jitter_pct = 10,
                                .spread_ms = 3000};
        struct sim *coded = new_sim(o);
        o.pass_codec_by = true;
        struct sim *copied = new_sim(o);
        struct sim_traffic a, b;
        struct sim_fates fa, fb;

        play(coded);
        play(copied);
        CU_ASSERT_EQUAL(coded->events, copied->events);
        CU_ASSERT_EQUAL(coded->frames, copied->frames);
        CU_ASSERT_EQUAL(coded->sequence, copied->sequence);
        sim_traffic(coded, &a);
        sim_traffic(copied, &b);
        for (uint32_t j = 0; j < SIM_FRAME_TYPES; j++) {
            CU_ASSERT_EQUAL(a.messages[j], b.messages[j]);
            if (a.bytes[j] != b.bytes[j])
                printf("  %s: %llu bytes, estimated %llu\n", sim_frame_name(j),
                       (unsigned long long)a.bytes[j],
                       (unsigned long long)b.bytes[j]);
            CU_ASSERT_EQUAL(a.bytes[j], b.bytes[j]);
        }
        sim_fates(coded, &fa);
        sim_fates(copied, &fb);
        CU_ASSERT_EQUAL(memcmp(&fa, &fb, sizeof fa), 0);
        CU_ASSERT_EQUAL(fa.count, 6);
        CU_ASSERT_TRUE(fa.reliability > 0.99);
        end_sim(coded);
        end_sim(copied);
    }
}

/* Goal: one-way is one-way. Method: what the upper half sends does not arrive
 * below; what is sent below arrives above; after it all is whole. */
static void test_partition_one_way(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 40, .spread_ms = 2000});
    struct sim_fate from_above, from_below;

    CU_ASSERT_TRUE(sim_run_until(s, sim_all_known, 20000));
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 20000));
    sim_run(s, 5000);
    sim_partition_one_way(s, 20);
    sim_broadcast(s, 30, "from above");
    sim_broadcast(s, 10, "from below");
    sim_run(s, 3000); /* grafts, too, go one way only */
    CU_ASSERT_TRUE(sim_fate(s, 0, &from_above));
    CU_ASSERT_TRUE(sim_fate(s, 1, &from_below));
    printf("  from above %u, from below %u of 40\n", from_above.reached,
           from_below.reached);
    CU_ASSERT_TRUE(from_above.reached <= 20);
    CU_ASSERT_TRUE(from_below.reached > 20);
    sim_run(s, 30000);
    sim_heal(s);
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 60000));
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_known, 60000));
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_identical, 60000));
    end_sim(s);
}

static void flap(uint64_t seed)
{
    struct sim *s = new_sim((struct sim_options){.nodes = 30, .seed = seed});

    sim_run(s, 10000);
    sim_partition_flapping(s, 15, 3000, 2000);
    sim_run(s, 61000);
    CU_ASSERT_TRUE(s->is_parted); /* 61 s: in the first second of a cut */
    sim_run(s, 3000);
    CU_ASSERT_FALSE(s->is_parted);
    sim_heal(s);
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 60000));
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_identical, 60000));
    end_sim(s);
}

/* Goal: two halves that met again and again while the network flapped, and all
 * know each other as online, do not stay two meshes. One of a hundred did, when
 * who had met once did not try a second time. */
static void test_partition_flaps(void)
{
    uint64_t seed = test_seed();

    for (uint64_t i = 0; i < 10; i++)
        flap(seed + i);
}

/* Goal: a link delivers in order while the network breaks again before what was
 * held back has come. Method: the simulator checks each packet itself. */
static void test_partitions_keep_order(void)
{
    struct sim *s = new_sim((struct sim_options){
        .nodes = 30, .overlay_only = true, .latency_max_us = 300000});

    sim_run(s, 10000);
    for (uint32_t i = 0; i < 100; i++) {
        sim_partition(s, 1 + i % 29);
        sim_broadcast(s, i % 30, "while apart");
        sim_run(s, 100);
        sim_heal(s);
        sim_broadcast(s, i % 30, "while what was held back is on its way");
        sim_run(s, 100);
    }
    CU_ASSERT_PTR_NULL(sim_failure(s));
    end_sim(s);
}

/* Goal: of two processes with one identity the later takes another, and all
 * know both. */
static void test_clone_takes_a_new_identity(void)
{
    struct sim *s =
        new_sim((struct sim_options){.nodes = 20, .spread_ms = 1000});

    CU_ASSERT_TRUE(sim_run_until(s, sim_all_known, 20000));
    uint32_t clone = sim_clone(s, 7);
    CU_ASSERT_EQUAL(clone, 20);
    CU_ASSERT_TRUE(node_id_is_equal(&s->nodes[7]->id, &s->nodes[clone]->id));
    sim_run(s, 1);
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_known, 120000));
    CU_ASSERT_FALSE(node_id_is_equal(&s->nodes[7]->id, &s->nodes[clone]->id));
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 30000));
    end_sim(s);
}

/* ---------------------------------------------------------------- clocks */

static void test_clocks_go_as_told(void)
{
    struct sim *s = new_sim((struct sim_options){.nodes = 5, .quiet = true});

    CU_ASSERT_EQUAL(sim_clock_error(s, 1), 0);
    sim_clock_offset(s, 1, -250000);
    CU_ASSERT_EQUAL(sim_clock_error(s, 1), -250000);
    sim_clock_drift(s, 1, 100);
    sim_run(s, 100000);
    CU_ASSERT_EQUAL(sim_clock_error(s, 1), -240000);
    sim_clock_step(s, 1, 1000000);
    CU_ASSERT_EQUAL(sim_clock_error(s, 1), 760000);
    sim_clock_drift(s, 1, 0);
    sim_clock_freeze(s, 1, 3000);
    sim_run(s, 2000);
    CU_ASSERT_EQUAL(sim_clock_error(s, 1), -1240000);
    sim_run(s, 10000);
    CU_ASSERT_EQUAL(sim_clock_error(s, 1), -2240000);
    end_sim(s);
}

/* ------------------------------------------------------------ invariants */

/* A slow node is late with everything, and breaks nothing. */
static void test_slow_and_frozen_nodes_are_excused(void)
{
    struct sim *s = new_sim((struct sim_options){.nodes = 20});

    CU_ASSERT_TRUE(sim_run_until(s, sim_all_known, 20000));
    sim_slow(s, 3, 30000);
    sim_freeze(s, 4, 20000);
    sim_run(s, 60000);
    sim_heal(s);
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_known, 60000));
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_identical, 60000));
    end_sim(s);
}

/* Goal: an invariant that breaks stops the run and says how to replay it. */
static void test_failure_names_its_seed(void)
{
    struct sim *s = new_sim((struct sim_options){.seed = 4711, .nodes = 3});

    sim_run(s, 1000);
    sim_break(s, "nothing in particular");
    CU_ASSERT_PTR_NOT_NULL_FATAL(sim_failure(s));
    CU_ASSERT_PTR_NOT_NULL(strstr(sim_failure(s), "seed 4711"));
    sim_run(s, 1000);
    CU_ASSERT_EQUAL(sim_now_ms(s), 1000); /* it goes no further */
    sim_free(s);
}

static void count_line(void *context, uint64_t now_us, uint32_t node,
                       const char *text)
{
    uint32_t *counts = context;

    (void)now_us;
    (void)node;
    counts[0]++;
    counts[1] += strstr(text, "dials") != NULL;
    counts[2] += strstr(text, "up:") != NULL;
    counts[3] += strstr(text, "delivers") != NULL;
    counts[4] += strstr(text, "crashes") != NULL;
}

/* Goal: light nodes join one by one, are measured, and their story is told. */
static void test_light_nodes_tell_their_story(void)
{
    uint32_t counts[5] = {0};
    struct sim_shape shape;
    struct sim_fate fate;
    struct sim *s = new_sim((struct sim_options){
        .nodes = 50, .overlay_only = true, .join_gap_us = 60000});

    sim_trace(s, count_line, counts);
    sim_run(s, 10000);
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 20000));
    sim_shape(s, 0, &shape);
    CU_ASSERT_EQUAL(shape.nodes, 50);
    CU_ASSERT_EQUAL(shape.islands, 1);
    CU_ASSERT_EQUAL(shape.one_sided, 0);
    CU_ASSERT_TRUE(shape.degree_mean > 4);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < SIM_DEGREES; i++)
        sum += shape.in_degree[i];
    CU_ASSERT_EQUAL(sum, 50);
    sim_broadcast(s, 5, "well?");
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_delivered, 5000));
    CU_ASSERT_TRUE(sim_fate(s, 0, &fate));
    CU_ASSERT_EQUAL(fate.reached, 50);
    CU_ASSERT_TRUE(fate.payloads >= 49 && fate.last_hop >= 2);
    CU_ASSERT_TRUE(is_near(fate.rmr, (double)fate.payloads / 49 - 1));
    CU_ASSERT_EQUAL(counts[3], 49);
    sim_crash(s, 9);
    CU_ASSERT_EQUAL(counts[4], 1);
    CU_ASSERT_TRUE(counts[1] >= 49 && counts[2] >= 2 * 49);
    CU_ASSERT_EQUAL(sim_healing(s, 3, 5), 0);
    end_sim(s);
}

CU_TestInfo suite_sim[] = {
    {"ring_is_measured", test_ring_is_measured},
    {"triangles_are_measured", test_triangles_are_measured},
    {"distances_are_as_asked", test_distances_are_as_asked},
    {"bad_options_are_refused", test_bad_options_are_refused},
    {"codec_changes_nothing", test_codec_changes_nothing},
    {"partition_one_way", test_partition_one_way},
    {"partition_flaps", test_partition_flaps},
    {"partitions_keep_order", test_partitions_keep_order},
    {"clone_takes_a_new_identity", test_clone_takes_a_new_identity},
    {"clocks_go_as_told", test_clocks_go_as_told},
    {"slow_and_frozen_nodes_are_excused",
     test_slow_and_frozen_nodes_are_excused},
    {"failure_names_its_seed", test_failure_names_its_seed},
    {"light_nodes_tell_their_story", test_light_nodes_tell_their_story},
    CU_TEST_INFO_NULL,
};
