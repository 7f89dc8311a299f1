#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/trim.h"

#define BLOCKS 16384
#define BLOCK_SIZE 1000

/* Private memory of this process, KiB. */
static long private_kib(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long sum = 0, kib;

    if (f == NULL)
        return -1;
    while (fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "Private_Clean: %ld", &kib) == 1 ||
            sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            sum += kib;
    (void)fclose(f);
    return sum;
}

/* Goal: what a burst left behind goes back, but not before it is time. Method:
 * many small blocks, one of each hundred stays, as after a burst. */
static void test_room_after_a_burst_goes_back(void)
{
    static char *blocks[BLOCKS];
    struct trim trim = {0};

    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_SIZE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(blocks[i]);
        memset(blocks[i], 1, BLOCK_SIZE);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (i % 100 != 99)
            free(blocks[i]);
    long full = private_kib();
    CU_ASSERT_TRUE(full > 0);
    CU_ASSERT_FALSE(trim_tick(&trim, 1000));
    CU_ASSERT_FALSE(trim_tick(&trim, 1000 + TRIM_EVERY_MS - 1));
    bool is_done = trim_tick(&trim, 1000 + TRIM_EVERY_MS);
    long trimmed = private_kib();
    for (int i = 99; i < BLOCKS; i += 100)
        free(blocks[i]);
    printf("  %ld KiB, %ld after it\n", full, trimmed);
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) &&                    \
    !defined(__SANITIZE_THREAD__)
    CU_ASSERT_TRUE(is_done);
    CU_ASSERT_TRUE(full - trimmed > BLOCKS * BLOCK_SIZE / 1024 / 2);
#else
    (void)is_done;
    CU_ASSERT_TRUE(trimmed > 0);
#endif
    CU_ASSERT_FALSE(trim_tick(&trim, 1001 + TRIM_EVERY_MS));
}

/* Goal: it costs no more than its share, and is never given up: a busy machine
 * makes each call dear. */
static void test_dear_calls_are_rare(void)
{
    CU_ASSERT_EQUAL(trim_next_ms(0), TRIM_EVERY_MS);
    CU_ASSERT_EQUAL(trim_next_ms(5000), TRIM_EVERY_MS);
    CU_ASSERT_EQUAL(trim_next_ms(20000), 400000);
    CU_ASSERT_EQUAL(trim_next_ms(1000000), TRIM_EVERY_MAX_MS);
    CU_ASSERT_EQUAL(trim_next_ms(UINT64_MAX), TRIM_EVERY_MAX_MS);
}

CU_TestInfo suite_trim[] = {
    {"room_after_a_burst_goes_back", test_room_after_a_burst_goes_back},
    {"dear_calls_are_rare", test_dear_calls_are_rare},
    CU_TEST_INFO_NULL,
};
