#include "test.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/status.h"
#include "runtime/mailbox.h"

static bool post(struct mailbox *m, uint32_t type, const void *data, size_t n)
{
    const struct mailbox_part part = {data, n};
    return mailbox_post(m, type, &part, 1);
}

/* Goal: records come out as they went in, of every size, in order. */
static void test_mailbox_keeps_order_and_bytes(void)
{
    static uint8_t bytes[MAILBOX_RECORD_MAX + 1];
    struct mailbox *m;
    struct mailbox_record r;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    CU_ASSERT_EQUAL_FATAL(mailbox_new(1 << 22, &m), ARGUS_OK);
    CU_ASSERT_FALSE(mailbox_next(m, &r));
    for (uint32_t n = 0; n < 600; n++)
        CU_ASSERT_TRUE_FATAL(post(m, n, bytes, n));
    CU_ASSERT_TRUE(post(m, 600, bytes, MAILBOX_RECORD_MAX));
    CU_ASSERT_FALSE(post(m, 601, bytes, MAILBOX_RECORD_MAX + 1));
    for (uint32_t n = 0; n < 600; n++) {
        CU_ASSERT_TRUE_FATAL(mailbox_next(m, &r));
        CU_ASSERT_EQUAL(r.type, n);
        CU_ASSERT_EQUAL(r.size, n);
        CU_ASSERT_EQUAL((uintptr_t)r.data % 8, 0);
        CU_ASSERT_EQUAL(memcmp(r.data, bytes, n), 0);
    }
    CU_ASSERT_TRUE(mailbox_next(m, &r));
    CU_ASSERT_EQUAL(r.size, MAILBOX_RECORD_MAX);
    CU_ASSERT_FALSE(mailbox_next(m, &r));
    mailbox_free(m);
}

/* Goal: the bound holds, refusals are counted, and room comes back. */
static void test_mailbox_full_refuses(void)
{
    uint8_t record[1000] = {0};
    struct mailbox *m;
    struct mailbox_record r;
    struct mailbox_stats stats;
    unsigned fit = 0;

    CU_ASSERT_EQUAL_FATAL(mailbox_new(2 * MAILBOX_CHUNK, &m), ARGUS_OK);
    while (post(m, 1, record, sizeof record))
        fit++;
    CU_ASSERT_TRUE(fit > 100 && fit * sizeof record <= 2 * MAILBOX_CHUNK);
    CU_ASSERT_FALSE(post(m, 1, record, sizeof record));
    mailbox_stats(m, &stats);
    CU_ASSERT_EQUAL(stats.records_posted, fit);
    CU_ASSERT_EQUAL(stats.records_refused, 2);
    CU_ASSERT_TRUE(stats.bytes_queued >= fit * sizeof record);

    /* What the consumer holds still counts; what it gave back does not. */
    CU_ASSERT_TRUE(mailbox_next(m, &r));
    CU_ASSERT_FALSE(post(m, 1, record, sizeof record));
    for (unsigned i = 1; i < fit; i++)
        CU_ASSERT_TRUE_FATAL(mailbox_next(m, &r));
    CU_ASSERT_FALSE(mailbox_next(m, &r));
    CU_ASSERT_TRUE(post(m, 1, record, sizeof record));
    mailbox_free(m);
}

static void count_wake(void *context)
{
    ++*(unsigned *)context;
}

/* Goal: one wake-up for a burst, one more after it was drained; none once the
 * owner has taken its ear away. */
static void test_mailbox_wakes_once_a_burst(void)
{
    struct mailbox *m;
    struct mailbox_record r;
    unsigned wakes = 0;

    CU_ASSERT_EQUAL_FATAL(mailbox_new(1 << 20, &m), ARGUS_OK);
    CU_ASSERT_TRUE(post(m, 1, "x", 1));
    mailbox_set_wake(m, count_wake, &wakes);
    CU_ASSERT_EQUAL(wakes, 1); /* for what was there before */
    CU_ASSERT_TRUE(post(m, 1, "x", 1));
    CU_ASSERT_EQUAL(wakes, 1);
    while (mailbox_next(m, &r))
        continue;
    CU_ASSERT_TRUE(post(m, 1, "x", 1));
    CU_ASSERT_EQUAL(wakes, 2);
    mailbox_poke(m);
    CU_ASSERT_EQUAL(wakes, 3);
    mailbox_set_wake(m, NULL, NULL);
    mailbox_poke(m);
    CU_ASSERT_EQUAL(wakes, 3);
    mailbox_shut(m);
    CU_ASSERT_FALSE(post(m, 1, "x", 1));
    CU_ASSERT_TRUE(mailbox_wait(m)); /* the last one can still be read */
    CU_ASSERT_TRUE(mailbox_next(m, &r));
    CU_ASSERT_FALSE(mailbox_next(m, &r));
    CU_ASSERT_FALSE(mailbox_wait(m));
    mailbox_free(m);
}

#define PRODUCERS 3
#define EACH 200000

struct producer {
    struct mailbox *mailbox;
    uint64_t number;
    uint64_t refused;
};

static void *produce(void *arg)
{
    struct producer *p = arg;

    for (uint64_t i = 0; i < EACH; i++) {
        uint64_t record[5] = {p->number, i, 0, 0, 0};
        if (!post(p->mailbox, 1, record, sizeof record))
            p->refused++;
    }
    return NULL;
}

/* Goal: several producers at once lose nothing that was accepted, each keeps
 * its order, and half a million small records a second get through. */
static void test_mailbox_many_producers_one_consumer(void)
{
    struct producer producers[PRODUCERS] = {{0}};
    pthread_t threads[PRODUCERS];
    uint64_t next[PRODUCERS] = {0}, received = 0, refused = 0, disorder = 0;
    struct timespec from, to;
    struct mailbox *m;
    struct mailbox_record r;

    CU_ASSERT_EQUAL_FATAL(mailbox_new(64 << 20, &m), ARGUS_OK);
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint64_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.mailbox = m, .number = i};
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    while (received < PRODUCERS * EACH && mailbox_wait(m)) {
        while (mailbox_next(m, &r)) {
            const uint64_t *record = (const void *)r.data;
            disorder += record[1] != next[record[0]];
            next[record[0]] = record[1] + 1;
            received++;
        }
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        (void)pthread_join(threads[i], NULL);
        refused += producers[i].refused;
    }
    double seconds = (double)(to.tv_sec - from.tv_sec) +
                     (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    printf("  mailbox: %.0f records/s\n", (double)received / seconds);
    CU_ASSERT_EQUAL(received, PRODUCERS * EACH);
    CU_ASSERT_EQUAL(refused, 0);
    CU_ASSERT_EQUAL(disorder, 0);
    mailbox_free(m);
}

CU_TestInfo suite_mailbox[] = {
    {"keeps_order_and_bytes", test_mailbox_keeps_order_and_bytes},
    {"full_refuses", test_mailbox_full_refuses},
    {"wakes_once_a_burst", test_mailbox_wakes_once_a_burst},
    {"many_producers_one_consumer", test_mailbox_many_producers_one_consumer},
    CU_TEST_INFO_NULL,
};
