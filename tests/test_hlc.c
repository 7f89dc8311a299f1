#include "test.h"

#include "base/prng.h"
#include "core/hlc.h"

#define T0_US UINT64_C(1700000000000000)

static uint64_t ms_of(uint64_t stamp)
{
    return stamp >> HLC_COUNTER_BITS;
}

/* Goal: a start begins at the greater of the mark and the wall clock. */
static void test_init_begins_at_greater(void)
{
    struct hlc h;
    uint64_t mark = hlc_from_us(T0_US + 5000000);

    hlc_init(&h, 0, T0_US, 500);
    CU_ASSERT_EQUAL(hlc_stamp(&h, T0_US), hlc_from_us(T0_US) + 1);
    hlc_init(&h, mark, T0_US, 500);
    CU_ASSERT_EQUAL(hlc_stamp(&h, T0_US), mark + 1);
    hlc_init(&h, mark, T0_US + 9000000, 500);
    CU_ASSERT_EQUAL(ms_of(hlc_stamp(&h, T0_US + 9000000)),
                    (T0_US + 9000000) / 1000);
}

/* Goal: stamps grow whatever the wall clock does.
 * Method: a clock that stands still, goes on and jumps back at random, with
 * remote stamps in between. */
static void test_wall_jumps_stamps_grow(void)
{
    struct hlc h;
    struct prng prng;
    uint64_t wall_us = T0_US, last = 0;

    prng_seed(&prng, test_seed());
    hlc_init(&h, 0, wall_us, 500);
    for (int i = 0; i < 20000; i++) {
        switch (prng_below(&prng, 4)) {
        case 0: wall_us += prng_below(&prng, 3000000); break;
        case 1: wall_us -= prng_below(&prng, 2000000); break;
        case 2:
            (void)hlc_merge(
                &h, hlc_from_us(wall_us + prng_below(&prng, 2000000)), wall_us);
            break;
        default: break;
        }
        uint64_t stamp = hlc_stamp(&h, wall_us);
        CU_ASSERT_TRUE_FATAL(stamp > last);
        CU_ASSERT_TRUE_FATAL(ms_of(stamp) >= wall_us / 1000);
        last = stamp;
    }
    CU_ASSERT_TRUE(h.stats.remote_refused > 0 && h.stats.remote_merged > 0);
}

/* Goal: a full counter carries into the milliseconds. */
static void test_counter_full_carries(void)
{
    struct hlc h;

    hlc_init(&h, hlc_from_us(T0_US) | 0xffff, T0_US, 500);
    uint64_t stamp = hlc_stamp(&h, T0_US);
    CU_ASSERT_EQUAL(stamp, hlc_from_us(T0_US + 1000));
    CU_ASSERT_EQUAL(hlc_to_us(stamp), T0_US + 1000);
}

/* Goal: a stamp sent after a receipt is greater than the one received. */
static void test_merge_then_stamp_is_after(void)
{
    struct hlc h;
    uint64_t remote = hlc_from_us(T0_US + 400000) + 7;

    hlc_init(&h, 0, T0_US, 500);
    CU_ASSERT_TRUE(hlc_merge(&h, remote, T0_US));
    CU_ASSERT_EQUAL(hlc_now(&h, T0_US), remote);
    CU_ASSERT_EQUAL(hlc_stamp(&h, T0_US), remote + 1);
    /* One from the past changes nothing. */
    CU_ASSERT_TRUE(hlc_merge(&h, 1, T0_US));
    CU_ASSERT_EQUAL(hlc_stamp(&h, T0_US), remote + 2);
}

/* Goal: what is further ahead than MaxOffset is counted, never merged. */
static void test_merge_far_ahead_is_refused(void)
{
    struct hlc h;

    hlc_init(&h, 0, T0_US, 500);
    CU_ASSERT_TRUE(hlc_merge(&h, hlc_from_us(T0_US + 500000), T0_US));
    CU_ASSERT_FALSE(hlc_merge(&h, hlc_from_us(T0_US + 501000), T0_US));
    CU_ASSERT_FALSE(hlc_merge(&h, UINT64_MAX, T0_US));
    CU_ASSERT_EQUAL(h.stats.remote_merged, 1);
    CU_ASSERT_EQUAL(h.stats.remote_refused, 2);
    CU_ASSERT_EQUAL(hlc_stamp(&h, T0_US), hlc_from_us(T0_US + 500000) + 1);
    /* A wall clock beyond all bounds does not wrap the stamps round. */
    CU_ASSERT_EQUAL(hlc_from_us(UINT64_MAX), UINT64_C(0xffffffffffff0000));
}

CU_TestInfo suite_hlc[] = {
    {"init_begins_at_greater", test_init_begins_at_greater},
    {"wall_jumps_stamps_grow", test_wall_jumps_stamps_grow},
    {"counter_full_carries", test_counter_full_carries},
    {"merge_then_stamp_is_after", test_merge_then_stamp_is_after},
    {"merge_far_ahead_is_refused", test_merge_far_ahead_is_refused},
    CU_TEST_INFO_NULL,
};
