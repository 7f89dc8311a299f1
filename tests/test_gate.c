#include "test.h"

#include <stdio.h>
#include <string.h>

#include "runtime/gate.h"

#define S ((uint64_t)1 << 30) /* a second, in cdtime */
#define OLD 1
#define NEW 2

static struct gate *gate;

/* What passed, newest last. */
static struct {
    uint32_t worker;
    bool begins, is_value;
    uint64_t time;
    char plugin[16];
} passed[64];
static size_t passed_count;

static void on_pass(void *context, uint32_t worker, bool begins,
                    const uint8_t *message, size_t size)
{
    struct pair_message m;
    struct pair_value v;

    CU_ASSERT_PTR_EQUAL(context, &passed);
    CU_ASSERT_FATAL(passed_count < 64);
    CU_ASSERT_TRUE(pair_next(message, size, &m) == (int)size);
    memset(&passed[passed_count], 0, sizeof passed[0]);
    passed[passed_count].worker = worker;
    passed[passed_count].begins = begins;
    passed[passed_count].is_value = pair_read_value(&m, &v);
    if (passed[passed_count].is_value) {
        passed[passed_count].time = v.time;
        (void)snprintf(passed[passed_count].plugin, 16, "%s", v.names[1]);
    }
    passed_count++;
}

static void begin(void)
{
    gate = gate_new(on_pass, &passed);
    CU_ASSERT_PTR_NOT_NULL_FATAL(gate);
    passed_count = 0;
}

static void take(uint32_t worker, const char *plugin, uint64_t time)
{
    static const double number = 1;
    uint8_t message[512];
    struct pair_value v = {.names = {"h", plugin, "", "gauge", ""},
                           .time = time,
                           .interval = S,
                           .count = 1,
                           .numbers = (const uint8_t *)&number};
    struct pair_message m;

    size_t size = pair_put_value(message, sizeof message, &v, NULL);
    CU_ASSERT_TRUE(pair_next(message, size, &m) > 0);
    CU_ASSERT_TRUE(pair_read_value(&m, &v));
    gate_take(gate, worker, &v, message, size, (time >> 30) * 1000);
}

static void take_notification(uint32_t worker)
{
    uint8_t message[512];
    const struct pair_notification n = {
        .severity = 1, .names = {"h", "p", "", "", ""}, .message = "m"};

    size_t size = pair_put_notification(message, sizeof message, &n, NULL);
    gate_take(gate, worker, NULL, message, size, 1000000);
}

static void open_worker(uint32_t worker)
{
    CU_ASSERT_TRUE(gate_hold(gate, worker));
    gate_open(gate, worker, 0);
}

/* Goal: nothing of a worker passes before its gate opens; then what is newer
 * than the old one's last value of a series does, and no more. */
static void test_held_values_are_replayed_if_newer(void)
{
    begin();
    open_worker(OLD);
    take(OLD, "a", 100 * S);
    CU_ASSERT_TRUE(gate_hold(gate, NEW));
    take(NEW, "a", 100 * S - 1); /* older */
    take(NEW, "b", 100 * S);     /* the old one has no such series */
    take_notification(NEW);
    take(OLD, "a", 101 * S);
    take(NEW, "a", 101 * S + S / 2);
    CU_ASSERT_EQUAL(passed_count, 2);
    gate_open(gate, NEW, 0);
    CU_ASSERT_EQUAL_FATAL(passed_count, 5);
    CU_ASSERT_STRING_EQUAL(passed[2].plugin, "b");
    CU_ASSERT_FALSE(passed[2].begins);
    CU_ASSERT_FALSE(passed[3].is_value);
    CU_ASSERT_EQUAL(passed[4].time, 101 * S + S / 2);
    CU_ASSERT_TRUE(passed[4].begins);
    take(NEW, "a", 102 * S + S / 2);
    CU_ASSERT_FALSE(passed[5].begins);
    gate_free(gate);
}

/* Goal: a replay gives collectd no two values of a series at once, and what
 * comes meanwhile waits behind; other series do not wait. */
static void test_replays_take_turns(void)
{
    begin();
    CU_ASSERT_TRUE(gate_hold(gate, NEW));
    take(NEW, "a", 100 * S);
    take(NEW, "a", 101 * S);
    take(NEW, "b", 101 * S);
    gate_open(gate, NEW, 0);
    CU_ASSERT_EQUAL_FATAL(passed_count, 2);
    CU_ASSERT_EQUAL(passed[0].time, 100 * S);
    CU_ASSERT_STRING_EQUAL(passed[1].plugin, "b");
    take(NEW, "a", 102 * S);
    CU_ASSERT_EQUAL(passed_count, 2);
    gate_turn(gate, 102050);
    CU_ASSERT_EQUAL_FATAL(passed_count, 3);
    CU_ASSERT_EQUAL(passed[2].time, 101 * S);
    CU_ASSERT_TRUE(gate_waits(gate, 102051));
    gate_turn(gate, 102051); /* too soon: collectd may still be at it */
    CU_ASSERT_EQUAL(passed_count, 3);
    gate_turn(gate, 102999);
    CU_ASSERT_EQUAL_FATAL(passed_count, 4);
    CU_ASSERT_EQUAL(passed[3].time, 102 * S);
    take(NEW, "a", 103 * S); /* a millisecond later */
    CU_ASSERT_EQUAL(passed_count, 4);
    gate_turn(gate, 103050);
    CU_ASSERT_EQUAL_FATAL(passed_count, 5);
    CU_ASSERT_TRUE(gate_waits(gate, 103051)); /* what comes next would */
    CU_ASSERT_FALSE(gate_waits(gate, 103999));
    take(NEW, "a", 104 * S);
    CU_ASSERT_EQUAL(passed_count, 6);
    gate_free(gate);
}

/* Goal: a series stays the old one's until the new one has it, then never goes
 * back; two values that are too near to each other do not both pass, and yet no
 * gap is longer than an interval and a tenth. */
static void test_series_change_hands_one_by_one(void)
{
    uint64_t interval;

    begin();
    open_worker(OLD);
    take(OLD, "a", 100 * S);
    take(OLD, "b", 100 * S);
    open_worker(NEW);
    take(NEW, "a", 100 * S + S / 20); /* too near */
    take(OLD, "b", 101 * S);
    take(OLD, "a", 101 * S); /* not its own any more */
    CU_ASSERT_EQUAL(passed_count, 3);
    take(NEW, "a", 101 * S + S / 20);
    CU_ASSERT_EQUAL(passed_count, 4);
    CU_ASSERT_EQUAL(passed[3].worker, NEW);
    CU_ASSERT_TRUE(passed[3].begins);
    CU_ASSERT_EQUAL(gate_owned(gate, OLD, &interval), 1);
    CU_ASSERT_EQUAL(interval, S);
    take(NEW, "b", 102 * S);
    CU_ASSERT_EQUAL(gate_owned(gate, OLD, &interval), 0);
    take_notification(OLD); /* what it says is old */
    CU_ASSERT_EQUAL(passed_count, 5);
    take_notification(NEW);
    CU_ASSERT_EQUAL(passed_count, 6);
    gate_free(gate);
}

/* Goal: once a worker is gone, its series are anybody's: also an older one's.
 */
static void test_series_of_the_dead_are_free(void)
{
    begin();
    open_worker(OLD);
    open_worker(NEW);
    take(NEW, "a", 100 * S);
    take(OLD, "a", 101 * S);
    CU_ASSERT_EQUAL(passed_count, 1);
    gate_close(gate, NEW);
    take(NEW, "a", 101 * S); /* nobody */
    take(OLD, "a", 102 * S);
    CU_ASSERT_EQUAL(passed_count, 2);
    CU_ASSERT_EQUAL(passed[1].worker, OLD);
    CU_ASSERT_TRUE(passed[1].begins);
    gate_free(gate);
}

/* Goal: a value of the same time does not come twice; a clock that was set back
 * stops no series. */
static void test_repeated_values_and_clocks_set_back(void)
{
    struct gate_tally tally;

    begin();
    open_worker(OLD);
    take(OLD, "a", 1000 * S);
    take(OLD, "a", 1000 * S);
    CU_ASSERT_EQUAL(passed_count, 1);
    take(OLD, "a", 500 * S);
    CU_ASSERT_EQUAL(passed_count, 2);
    take(OLD, "a", 1000 * S);
    open_worker(NEW);
    take(NEW, "a", 400 * S);
    CU_ASSERT_EQUAL(passed_count, 4);
    CU_ASSERT_TRUE(gate_tally(gate, OLD, &tally));
    CU_ASSERT_EQUAL(tally.values, 3);
    CU_ASSERT_EQUAL(tally.interval, S);
    CU_ASSERT_FALSE(gate_tally(gate, 3, &tally));
    gate_free(gate);
}

/* Goal: what is held is bounded, the oldest go; series are bounded, and those
 * that nobody delivers are forgotten. */
static void test_bounds(void)
{
    const struct gate_stats *stats = gate_stats();
    uint64_t dropped = stats->held_dropped, refused = stats->series_refused;
    char name[16];

    begin();
    CU_ASSERT_TRUE(gate_hold(gate, OLD));
    for (uint32_t i = 0; i < GATE_HELD_MAX / 64; i++)
        take(OLD, "a", i * S + 1);
    CU_ASSERT_TRUE(stats->held_dropped > dropped);
    gate_close(gate, OLD);
    CU_ASSERT_EQUAL(passed_count, 0);

    open_worker(NEW);
    for (uint32_t i = 0; i <= GATE_SERIES_MAX; i++) {
        (void)snprintf(name, sizeof name, "p%u", i);
        passed_count = 0;
        take(NEW, name, S);
    }
    CU_ASSERT_EQUAL(stats->series_refused, refused + 1);
    gate_forget_old(gate, GATE_KEEP_MS + 1002);
    passed_count = 0;
    take(NEW, "again", S);
    CU_ASSERT_EQUAL(passed_count, 1);
    CU_ASSERT_EQUAL(stats->series_refused, refused + 1);
    for (uint32_t i = 10; i < 13; i++)
        CU_ASSERT_TRUE(gate_hold(gate, i));
    CU_ASSERT_FALSE(gate_hold(gate, 13));
    gate_free(gate);
}

CU_TestInfo suite_gate[] = {
    {"replays_take_turns", test_replays_take_turns},
    {"held_values_are_replayed_if_newer",
     test_held_values_are_replayed_if_newer},
    {"series_change_hands_one_by_one", test_series_change_hands_one_by_one},
    {"series_of_the_dead_are_free", test_series_of_the_dead_are_free},
    {"repeated_values_and_clocks_set_back",
     test_repeated_values_and_clocks_set_back},
    {"bounds", test_bounds},
    CU_TEST_INFO_NULL,
};
