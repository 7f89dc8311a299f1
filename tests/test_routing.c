/* Spool and intake together, over the network of route_world.h. Each scenario
 * runs over several seeds; the ledger judges. */
#include "test.h"

#include "base/prng.h"
#include "route_world.h"

#define RUNS 12

static struct world_options usual(uint64_t seed)
{
    return (struct world_options){.seed = seed,
                                  .agents = 3,
                                  .aggregators = 2,
                                  .hosts = 4,
                                  .series = 5,
                                  .values = 60,
                                  .interval_ms = 100,
                                  .threads = 5,
                                  .swap_ppm = 100000};
}

static struct world *started(const struct world_options *options,
                             uint32_t aggregators)
{
    struct world *w = world_new(options);

    for (uint32_t b = 0; b < aggregators; b++)
        world_start(w, b);
    return w;
}

/* What holds at the end of every scenario without a bound that drops. */
static void check_ledger(struct world *w, uint64_t seed)
{
    struct world_ledger ledger = world_ledger(w);

    if (ledger.missing + ledger.disorder + ledger.garbled + ledger.spinning > 0)
        printf("    seed %" PRIu64 ": %" PRIu64 " missing, %" PRIu64
               " out of order, %" PRIu64 " garbled, %" PRIu64 " spinning\n",
               seed, ledger.missing, ledger.disorder, ledger.garbled,
               ledger.spinning);
    CU_ASSERT_EQUAL(ledger.missing, 0);
    CU_ASSERT_EQUAL(ledger.disorder, 0);
    CU_ASSERT_EQUAL(ledger.garbled, 0);
    CU_ASSERT_EQUAL(ledger.spinning, 0);
}

/* Goal: every value is written once and in order, although write threads swap
 * values before the spool and behind the intake. */
static void test_swapped_input_is_written_in_order(void)
{
    uint64_t seed = test_seed();

    for (uint64_t run = 0; run < RUNS; run++) {
        struct world_options o = usual(seed + run);
        struct world *w = started(&o, 2);
        uint64_t reordered = 0;

        CU_ASSERT_TRUE(world_settle(w, 30000));
        check_ledger(w, seed + run);
        for (uint32_t a = 0; a < o.agents; a++) {
            const struct spool_stats *stats = spool_stats(world_spool(w, a));
            reordered += stats->values_reordered;
            CU_ASSERT_EQUAL(stats->values_late, 0);
            CU_ASSERT_EQUAL(stats->values_dropped, 0);
            CU_ASSERT_EQUAL(stats->bytes, 0);
        }
        CU_ASSERT_TRUE(reordered > 100);
        world_free(w);
    }
}

/* Goal: with one write thread nothing is held back, and order holds. */
static void test_known_order_is_not_held(void)
{
    uint64_t seed = test_seed();
    struct world_options o = usual(seed);

    o.swap_ppm = 0;
    o.order_known = true;
    o.threads = 1;
    o.aggregators = 1;
    struct world *w = started(&o, 1);
    CU_ASSERT_TRUE(world_settle(w, 30000));
    check_ledger(w, seed);
    CU_ASSERT_EQUAL(spool_stats(world_spool(w, 0))->values_held, 0);
    world_free(w);
}

/* Goal: links that break at random moments lose nothing and double nothing. */
static void test_broken_links_lose_nothing(void)
{
    uint64_t seed = test_seed();
    uint64_t resent = 0, duplicate = 0;

    for (uint64_t run = 0; run < RUNS; run++) {
        struct world_options o = usual(seed + run);
        struct world *w = started(&o, 2);
        struct prng prng;

        prng_seed(&prng, seed + run);
        for (int i = 0; i < 20; i++) {
            world_run(w, 100 + prng_below(&prng, 400));
            world_break_links(w, prng_below(&prng, 2));
        }
        CU_ASSERT_TRUE(world_settle(w, 60000));
        check_ledger(w, seed + run);
        for (uint32_t a = 0; a < o.agents; a++)
            resent += spool_stats(world_spool(w, a))->values_resent;
        for (uint32_t b = 0; b < 2; b++)
            duplicate += intake_stats(world_intake(w, b))->values_duplicate;
        world_free(w);
    }
    CU_ASSERT_TRUE(resent > 0);
    CU_ASSERT_TRUE(duplicate > 0);
}

/* Goal: an aggregator that is killed takes nothing with it that it had
 * acknowledged; the other takes over; it comes back and takes its share. */
static void test_killed_aggregator_loses_nothing(void)
{
    uint64_t seed = test_seed();

    for (uint64_t run = 0; run < RUNS; run++) {
        struct world_options o = usual(seed + run);
        struct world *w = started(&o, 2);
        struct prng prng;

        prng_seed(&prng, seed + run);
        for (uint32_t i = 0; i < 6; i++) {
            world_run(w, 300 + prng_below(&prng, 700));
            world_kill(w, i % 2);
            world_run(w, 200 + prng_below(&prng, 700));
            world_start(w, i % 2);
        }
        CU_ASSERT_TRUE(world_settle(w, 60000));
        check_ledger(w, seed + run);
        world_free(w);
    }
}

/* Goal: a clean stop acknowledges nothing that collectd then drops. */
static void test_stopped_aggregator_loses_nothing(void)
{
    uint64_t seed = test_seed();

    for (uint64_t run = 0; run < RUNS; run++) {
        struct world_options o = usual(seed + run);
        struct world *w = started(&o, 2);
        struct prng prng;

        prng_seed(&prng, seed + run);
        for (uint32_t i = 0; i < 4; i++) {
            world_run(w, 500 + prng_below(&prng, 700));
            world_stop(w, i % 2);
            world_run(w, 600);
            CU_ASSERT_FALSE(world_is_alive(w, i % 2));
            world_start(w, i % 2);
        }
        CU_ASSERT_TRUE(world_settle(w, 60000));
        check_ledger(w, seed + run);
        world_free(w);
    }
}

/* Goal: an aggregator that freezes for 10 s delays its agents by about
 * SuspectTimeout, and neither life of a value breaks an order. */
static void test_frozen_aggregator_is_left(void)
{
    uint64_t seed = test_seed();

    for (uint64_t run = 0; run < RUNS; run++) {
        struct world_options o = usual(seed + run);
        o.values = 150;
        struct world *w = started(&o, 2);

        world_run(w, 2000);
        world_freeze(w, run % 2, 10000);
        CU_ASSERT_TRUE(world_settle(w, 60000));
        check_ledger(w, seed + run);
        world_free(w);
    }
}

/* Goal: series that a chain stops hold up nobody and are acknowledged; all
 * others are written. */
static void test_stopped_series_hold_up_nobody(void)
{
    uint64_t seed = test_seed();

    for (uint64_t run = 0; run < RUNS; run++) {
        struct world_options o = usual(seed + run);
        o.stopped_ppm = 200000;
        struct world *w = started(&o, 2);

        world_run(w, 3000);
        world_break_links(w, 0);
        CU_ASSERT_TRUE(world_settle(w, 60000));
        check_ledger(w, seed + run);
        CU_ASSERT_TRUE(world_ledger(w).stopped > 0);
        world_free(w);
    }
}

/* Goal: where collectd's queue limit drops values, they are handed over
 * again. */
static void test_dropped_in_collectd_is_dispatched_again(void)
{
    uint64_t seed = test_seed();
    struct world_options o = usual(seed);

    o.drop_ppm = 20000;
    o.redispatch_max = 3;
    o.values = 40;
    struct world *w = started(&o, 2);
    CU_ASSERT_TRUE(world_settle(w, 60000));
    check_ledger(w, seed);
    CU_ASSERT_TRUE(intake_stats(world_intake(w, 0))->values_redispatched +
                       intake_stats(world_intake(w, 1))->values_redispatched >
                   0);
    world_free(w);
}

/* Goal: values that chains give to other writers only are settled as the write
 * threads go on, and none of them is taken for dropped and written twice.
 * Method: some series, then all of them, so that nothing is ever seen. */
static void test_values_that_pass_by_are_settled(void)
{
    uint64_t seed = test_seed();

    for (unsigned run = 0; run < 2; run++) {
        struct world_options o = usual(seed);
        o.passing_ppm = run == 0 ? 300000 : 1000000;
        o.redispatch_max = 3;
        struct world *w = started(&o, 2);
        world_run(w, 3000);
        world_break_links(w, 0);
        CU_ASSERT_TRUE(world_settle(w, 60000));
        check_ledger(w, seed);
        uint64_t passed = 0, seen = 0;
        for (uint32_t b = 0; b < 2; b++) {
            const struct intake_stats *stats = intake_stats(world_intake(w, b));
            CU_ASSERT_EQUAL(stats->values_redispatched, 0);
            CU_ASSERT_EQUAL(stats->values_stopped, 0);
            passed += stats->values_passed;
            seen += stats->values_seen;
        }
        CU_ASSERT_TRUE(passed > 0);
        CU_ASSERT_EQUAL(seen > 0, run == 0);
        world_free(w);
    }
}

/* Goal: writers that hang push back: nothing is taken for stopped, nothing is
 * lost, and all is written when they go on; though chains keep some from
 * argus. */
static void test_hanging_writers_push_back(void)
{
    uint64_t seed = test_seed();
    struct world_options o = usual(seed);

    o.aggregators = 1;
    o.passing_ppm = 200000;
    struct world *w = started(&o, 1);
    world_run(w, 1500);
    world_hang_writers(w, 0, 8000);
    CU_ASSERT_TRUE(world_settle(w, 60000));
    check_ledger(w, seed);
    CU_ASSERT_EQUAL(intake_stats(world_intake(w, 0))->values_stopped, 0);
    world_free(w);
}

/* Goal: a newcomer among N gets about 1/(N+1) of the hosts, the others stay,
 * and the move loses nothing and breaks no order.
 * Method: 120 hosts on three aggregators, a fourth starts while values flow. */
static void test_newcomer_takes_its_share(void)
{
    uint64_t seed = test_seed();
    struct world_options o = usual(seed);
    uint32_t before[240], moved = 0, elsewhere = 0;

    o.aggregators = 4;
    o.hosts = 40;
    o.series = 2;
    struct world *w = started(&o, 3);
    world_run(w, 3000);
    for (uint32_t n = 0; n < world_series(w); n++)
        before[n] = world_last_writer(w, n);
    world_start(w, 3);
    CU_ASSERT_TRUE(world_settle(w, 60000));
    check_ledger(w, seed);
    for (uint32_t n = 0; n < world_series(w); n++) {
        uint32_t now = world_last_writer(w, n);
        moved += now != before[n];
        elsewhere += now != before[n] && now != 3;
        struct spool *s = world_spool(w, n / (o.hosts * o.series));
        CU_ASSERT_TRUE(spool_is_in_use(
            s, world_host(w, n),
            &router_rank(spool_router(s), world_host(w, n), 0, NULL)->id));
    }
    CU_ASSERT_EQUAL(elsewhere, 0);
    CU_ASSERT_TRUE(moved > 240 * 12 / 100 && moved < 240 * 40 / 100);
    world_free(w);
}

/* Goal: what was released here is no reason for a missing alarm; what is sent
 * here is. */
static void test_released_series_are_moved(void)
{
    uint64_t seed = test_seed();
    struct world_options o = usual(seed);
    uint32_t moved = 0;

    o.hosts = 20;
    o.series = 1;
    o.agents = 1;
    o.values = 80;
    struct world *w = started(&o, 1);
    world_run(w, 2000);
    world_start(w, 1);
    CU_ASSERT_TRUE(world_settle(w, 60000));
    for (uint32_t n = 0; n < world_series(w); n++) {
        char instance[16];
        snprintf(instance, sizeof instance, "s%u", n);
        bool is_moved = intake_series_moved(
            world_intake(w, 0), world_host(w, n), "cpu", "", "cpu", instance);
        CU_ASSERT_EQUAL(is_moved, world_last_writer(w, n) == 1);
        moved += is_moved;
    }
    CU_ASSERT_TRUE(moved > 0 && moved < world_series(w));
    CU_ASSERT_FALSE(intake_series_moved(world_intake(w, 0), "stranger", "cpu",
                                        "", "cpu", "s0"));
    world_free(w);
}

/* Goal: with no aggregator the spool keeps to its bound, drops the oldest,
 * counts each, and the rest arrives in order. */
static void test_full_spool_drops_oldest(void)
{
    uint64_t seed = test_seed();
    struct world_options o = usual(seed);

    o.agents = o.aggregators = 1;
    o.hosts = 1;
    o.bytes_max = 16384;
    o.order_known = true;
    o.swap_ppm = 0;
    struct world *w = started(&o, 0);
    world_run(w, 10000);
    const struct spool_stats *stats = spool_stats(world_spool(w, 0));
    CU_ASSERT_TRUE(stats->bytes <= 16384 && stats->bytes > 16000);
    CU_ASSERT_TRUE(stats->values_dropped > 0);
    world_start(w, 0);
    CU_ASSERT_TRUE(world_settle(w, 10000));

    struct world_ledger ledger = world_ledger(w);
    CU_ASSERT_EQUAL(ledger.disorder, 0);
    CU_ASSERT_EQUAL(ledger.missing, stats->values_dropped);
    CU_ASSERT_EQUAL(ledger.written + ledger.missing, ledger.published);
    for (uint32_t n = 0; n < world_series(w); n++)
        CU_ASSERT_EQUAL(world_first_written(w, n) > 0,
                        stats->values_dropped > 0);
    world_free(w);
}

/* Goal: a stopping agent holds nothing back and its spool drains. */
static void test_flush_drains(void)
{
    uint64_t seed = test_seed();
    struct world_options o = usual(seed);

    struct world *w = started(&o, 2);
    world_run(w, 2000);
    for (uint32_t a = 0; a < o.agents; a++)
        world_flush(w, a);
    for (uint32_t a = 0; a < o.agents; a++)
        CU_ASSERT_EQUAL(spool_deadline_ms(world_spool(w, a)) > world_now(w),
                        true);
    CU_ASSERT_TRUE(world_settle(w, 30000));
    CU_ASSERT_EQUAL(world_ledger(w).missing, 0);
    world_free(w);
}

/* Goal: everything at once, then peace; nothing is lost or out of order. */
static void test_storm_of_faults(void)
{
    uint64_t seed = test_seed();

    for (uint64_t run = 0; run < 2 * RUNS; run++) {
        struct world_options o = usual(seed + run);
        struct prng prng;
        o.aggregators = 3;
        o.values = 100;
        o.queue_max = 64;
        o.stopped_ppm = 50000;
        struct world *w = started(&o, 3);

        prng_seed(&prng, ~(seed + run));
        for (int i = 0; i < 25; i++) {
            uint32_t b = prng_below(&prng, 3);
            world_run(w, prng_below(&prng, 900));
            switch (prng_below(&prng, 6)) {
            case 0: world_kill(w, b); break;
            case 1: world_stop(w, b); break;
            case 2: world_freeze(w, b, prng_below(&prng, 9000)); break;
            case 3: world_break_links(w, b); break;
            default: world_start(w, b); break;
            }
        }
        for (uint32_t b = 0; b < 3; b++)
            world_start(w, b);
        CU_ASSERT_TRUE(world_settle(w, 120000));
        check_ledger(w, seed + run);
        world_free(w);
    }
}

/* Goal: the same seed gives the same run. */
static void test_same_seed_same_run(void)
{
    uint64_t seed = test_seed();
    uint64_t sent[2], received[2];

    for (int i = 0; i < 2; i++) {
        struct world_options o = usual(seed);
        struct world *w = started(&o, 2);
        world_run(w, 1000);
        world_break_links(w, 0);
        world_run(w, 2000);
        sent[i] = spool_stats(world_spool(w, 0))->batches_sent;
        received[i] = intake_stats(world_intake(w, 0))->values_received * 1000 +
                      intake_stats(world_intake(w, 1))->values_duplicate;
        world_free(w);
    }
    CU_ASSERT_EQUAL(sent[0], sent[1]);
    CU_ASSERT_EQUAL(received[0], received[1]);
}

CU_TestInfo suite_routing[] = {
    {"swapped_input_is_written_in_order",
     test_swapped_input_is_written_in_order},
    {"known_order_is_not_held", test_known_order_is_not_held},
    {"broken_links_lose_nothing", test_broken_links_lose_nothing},
    {"killed_aggregator_loses_nothing", test_killed_aggregator_loses_nothing},
    {"stopped_aggregator_loses_nothing", test_stopped_aggregator_loses_nothing},
    {"frozen_aggregator_is_left", test_frozen_aggregator_is_left},
    {"stopped_series_hold_up_nobody", test_stopped_series_hold_up_nobody},
    {"dropped_in_collectd_is_dispatched_again",
     test_dropped_in_collectd_is_dispatched_again},
    {"values_that_pass_by_are_settled", test_values_that_pass_by_are_settled},
    {"hanging_writers_push_back", test_hanging_writers_push_back},
    {"newcomer_takes_its_share", test_newcomer_takes_its_share},
    {"released_series_are_moved", test_released_series_are_moved},
    {"full_spool_drops_oldest", test_full_spool_drops_oldest},
    {"flush_drains", test_flush_drains},
    {"storm_of_faults", test_storm_of_faults},
    {"same_seed_same_run", test_same_seed_same_run},
    CU_TEST_INFO_NULL,
};
