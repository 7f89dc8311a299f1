/* test_quarantine.c - who is shut out, for how long; what an author may say. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "core/origins.h"
#include "core/quarantine.h"

#define WALL_US UINT64_C(1700000000000000)

static struct node_id id_of(uint32_t number)
{
    struct node_id id = {{0}};

    memcpy(id.bytes, &number, sizeof number);
    return id;
}

static const struct quarantined *put(struct quarantine *q, uint64_t now_ms,
                                     uint32_t who)
{
    struct node_id id = id_of(who);

    return quarantine_put(q, now_ms, WALL_US + now_ms * 1000, &id, "web-3",
                          "noise");
}

/* Goal: a minute at first, twice as long each time, up to an hour; whoever kept
 * quiet for an hour begins anew. */
static void test_repetition_doubles_up_to_an_hour(void)
{
    struct node_id self = id_of(1), other = id_of(2);
    struct quarantine q;
    uint64_t now = 1000, expected = 60000;

    quarantine_init(&q, &self);
    for (int i = 0; i < 9; i++) {
        const struct quarantined *e = put(&q, now, 2);
        CU_ASSERT_PTR_NOT_NULL_FATAL(e);
        CU_ASSERT_EQUAL(e->until_ms - now, expected);
        CU_ASSERT_EQUAL(e->until_us - e->since_us, expected * 1000);
        CU_ASSERT_PTR_NULL(put(&q, now, 2)); /* it is there already */
        CU_ASSERT_EQUAL(quarantine_deadline_ms(&q), now + expected);
        CU_ASSERT_PTR_NULL(quarantine_expire(&q, now + expected - 1));
        CU_ASSERT_PTR_EQUAL(quarantine_find(&q, &other), e);
        now += expected;
        CU_ASSERT_PTR_EQUAL(quarantine_expire(&q, now), e);
        CU_ASSERT_PTR_NULL(quarantine_expire(&q, now));
        CU_ASSERT_PTR_NULL(quarantine_find(&q, &other));
        CU_ASSERT_PTR_NULL(quarantine_at(&q, 0));
        expected = expected * 2 < 3600000 ? expected * 2 : 3600000;
    }
    CU_ASSERT_EQUAL(quarantine_deadline_ms(&q), UINT64_MAX);
    now += 3600000;
    CU_ASSERT_PTR_NULL(quarantine_expire(&q, now));
    const struct quarantined *e = put(&q, now, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(e);
    CU_ASSERT_EQUAL(e->until_ms - now, 60000);
    CU_ASSERT_EQUAL(q.stats.begun, 10);
    quarantine_close(&q);
}

/* Goal: never oneself; at most so many, those that are over go first, then the
 * oldest, counted; the list is newest first. */
static void test_bounded_and_never_oneself(void)
{
    struct node_id self = id_of(1), first = id_of(100), second = id_of(101);
    struct quarantine q;

    quarantine_init(&q, &self);
    CU_ASSERT_PTR_NULL(put(&q, 1000, 1));
    CU_ASSERT_PTR_NOT_NULL(put(&q, 1000, 100));
    for (uint32_t i = 1; i < QUARANTINE_NODES_MAX; i++)
        CU_ASSERT_PTR_NOT_NULL(put(&q, 2000, 100 + i));
    CU_ASSERT_PTR_NOT_NULL(quarantine_expire(&q, 61000)); /* the first */
    CU_ASSERT_PTR_NULL(quarantine_expire(&q, 61000));
    CU_ASSERT_PTR_NOT_NULL(put(&q, 61000, 9000));
    CU_ASSERT_EQUAL(q.stats.dropped, 0);
    CU_ASSERT_EQUAL(q.count, QUARANTINE_NODES_MAX);
    CU_ASSERT_PTR_NULL(quarantine_find(&q, &first));
    CU_ASSERT_PTR_NOT_NULL(quarantine_find(&q, &second));
    CU_ASSERT_PTR_NOT_NULL(put(&q, 61000, 9001));
    CU_ASSERT_EQUAL(q.stats.dropped, 1);
    CU_ASSERT_EQUAL(q.count, QUARANTINE_NODES_MAX);
    CU_ASSERT_PTR_NULL(quarantine_find(&q, &second));
    struct node_id newest = id_of(9001);
    CU_ASSERT_TRUE(node_id_is_equal(&quarantine_at(&q, 0)->id, &newest));
    CU_ASSERT_STRING_EQUAL(quarantine_at(&q, 0)->name, "web-3");
    CU_ASSERT_STRING_EQUAL(quarantine_at(&q, 0)->reason, "noise");
    CU_ASSERT_PTR_NULL(quarantine_at(&q, QUARANTINE_NODES_MAX));
    quarantine_close(&q);
}

static uint32_t say_all(struct origins *o, uint64_t now_ms, uint32_t who,
                        enum origin_kind kind)
{
    struct node_id id = id_of(who);
    uint32_t n = 0;

    while (n < 100000 && origins_may(o, now_ms, &id, kind)) {
        origins_take(o, now_ms, &id, kind);
        n++;
    }
    return n;
}

/* Goal: each author has a burst and then a rate of each kind, whatever the
 * others say; all that counts against nobody has one for all together. */
static void test_each_author_has_rates(void)
{
    struct origins o;

    origins_init(&o, 0, 10);
    CU_ASSERT_EQUAL(say_all(&o, 1000, 1, ORIGIN_RECORD), ORIGINS_RECORD_BURST);
    CU_ASSERT_EQUAL(say_all(&o, 1000, 1, ORIGIN_REPORT), ORIGINS_REPORT_BURST);
    CU_ASSERT_EQUAL(say_all(&o, 1000, 1, ORIGIN_EVENT), o.event_burst);
    CU_ASSERT_EQUAL(say_all(&o, 1000, 1, ORIGIN_BUNDLE), ORIGINS_BUNDLE_BURST);
    CU_ASSERT_EQUAL(say_all(&o, 1000, 1, ORIGIN_EVENT), 0);
    CU_ASSERT_EQUAL(say_all(&o, 1000, 2, ORIGIN_EVENT), o.event_burst);
    CU_ASSERT_EQUAL(say_all(&o, 2000, 1, ORIGIN_EVENT), o.event_rate);
    CU_ASSERT_EQUAL(say_all(&o, 2000, 1, ORIGIN_RECORD), ORIGINS_RECORD_RATE);
    CU_ASSERT_EQUAL(say_all(&o, 90000, 1, ORIGIN_EVENT), o.event_burst);
    CU_ASSERT_EQUAL(say_all(&o, 90000, 1, ORIGIN_OTHERS), ORIGINS_OTHERS_BURST);
    CU_ASSERT_EQUAL(say_all(&o, 90000, 2, ORIGIN_OTHERS), 0);
    CU_ASSERT_EQUAL(say_all(&o, 91000, 2, ORIGIN_OTHERS), ORIGINS_OTHERS_RATE);
    origins_close(&o);
}

/* Goal: authors are bounded; who has been quiet goes without a word, and who
 * has not is counted. */
static void test_authors_are_bounded(void)
{
    struct origins o;

    origins_init(&o, 100, 10);
    for (uint32_t i = 0; i < 100; i++)
        CU_ASSERT_TRUE(say_all(&o, 1000, i, ORIGIN_RECORD) > 0);
    CU_ASSERT_EQUAL(say_all(&o, 1000, 0, ORIGIN_RECORD), 0);
    CU_ASSERT_TRUE(say_all(&o, 1000, 500, ORIGIN_RECORD) > 0);
    CU_ASSERT_EQUAL(o.stats.dropped, 1);
    CU_ASSERT_TRUE(say_all(&o, 1000 + ORIGINS_QUIET_MS, 501, ORIGIN_RECORD) >
                   0);
    CU_ASSERT_EQUAL(o.stats.dropped, 1);
    CU_ASSERT_EQUAL(origins_count(&o), 1);
    origins_close(&o);
}

CU_TestInfo suite_quarantine[] = {
    {"repetition_doubles_up_to_an_hour", test_repetition_doubles_up_to_an_hour},
    {"bounded_and_never_oneself", test_bounded_and_never_oneself},
    {"each_author_has_rates", test_each_author_has_rates},
    {"authors_are_bounded", test_authors_are_bounded},
    CU_TEST_INFO_NULL,
};
