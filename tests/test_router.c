#include "test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/router.h"

#define HOSTS 4000

static struct aggregator list[ROUTER_AGGREGATORS_MAX + 1];

static uint32_t fill(uint32_t count)
{
    memset(list, 0, sizeof list);
    for (uint32_t i = 0; i < count; i++) {
        list[i].id.bytes[0] = (uint8_t)(i >> 8);
        list[i].id.bytes[1] = (uint8_t)i;
        list[i].id.bytes[2] = 7;
        list[i].weight = 1.0f;
        snprintf(list[i].name, sizeof list[i].name, "agg%u", i);
    }
    return count;
}

static struct router *router_with(const char *zone, uint32_t count)
{
    struct router *r;

    CU_ASSERT_EQUAL_FATAL(router_new(zone, &r), ARGUS_OK);
    CU_ASSERT_EQUAL(router_set(r, list, count), ARGUS_OK);
    return r;
}

static const char *host_name(uint32_t i)
{
    static char name[32];
    snprintf(name, sizeof name, "host-%u.example", i);
    return name;
}

/* Goal: the order of the list given does not matter, all are ranked once, and
 * an identifier stands for its host. */
static void test_rank_same_on_all_nodes(void)
{
    struct router *r = router_with("", fill(8));
    struct aggregator last = list[7];

    memmove(list + 1, list, 7 * sizeof list[0]);
    list[0] = last;
    struct router *other = router_with("", 8);
    for (uint32_t h = 0; h < 100; h++) {
        unsigned ranked = 0;
        for (uint32_t i = 0; i < 8; i++) {
            struct router_score a, b;
            const struct aggregator *one = router_rank(r, host_name(h), i, &a);
            const struct aggregator *two =
                router_rank(other, host_name(h), i, &b);
            CU_ASSERT_PTR_NOT_NULL_FATAL(one);
            CU_ASSERT_PTR_NOT_NULL_FATAL(two);
            CU_ASSERT_TRUE(node_id_is_equal(&one->id, &two->id));
            CU_ASSERT_EQUAL(a.score, b.score);
            ranked |= 1u << one->id.bytes[1];
        }
        CU_ASSERT_EQUAL(ranked, 0xff);
    }
    CU_ASSERT_PTR_NULL(router_rank(r, "h", 8, NULL));
    CU_ASSERT_PTR_EQUAL(router_rank(r, "h", 0, NULL),
                        router_rank(r, "h/cpu-0/cpu-idle", 0, NULL));
    router_free(r);
    router_free(other);
}

/* Goal: when one joins N, about 1/(N+1) of the hosts move, all of them to it.
 */
static void test_join_moves_its_share_only(void)
{
    struct router *before = router_with("", fill(9));
    struct router *after = router_with("", fill(10));
    uint32_t moved = 0;

    for (uint32_t h = 0; h < HOSTS; h++) {
        const struct aggregator *a = router_rank(before, host_name(h), 0, NULL);
        const struct aggregator *b = router_rank(after, host_name(h), 0, NULL);
        if (node_id_is_equal(&a->id, &b->id))
            continue;
        moved++;
        CU_ASSERT_STRING_EQUAL(b->name, "agg9");
    }
    CU_ASSERT_TRUE(moved > HOSTS / 10 * 8 / 10 && moved < HOSTS / 10 * 12 / 10);
    router_free(before);
    router_free(after);
}

/* Goal: hosts fall in proportion to weights; weights that are none count as
 * zero; zero gets nothing while others are there. */
static void test_weight_gives_share(void)
{
    uint32_t got[5] = {0};

    fill(5);
    list[1].weight = 3.0f;
    list[2].weight = 0.0f;
    list[3].weight = NAN;
    list[4].weight = -1.0f;
    struct router *r = router_with("", 5);
    for (uint32_t h = 0; h < HOSTS; h++)
        got[router_rank(r, host_name(h), 0, NULL)->id.bytes[1]]++;
    CU_ASSERT_EQUAL(got[2] + got[3] + got[4], 0);
    CU_ASSERT_TRUE(got[1] > HOSTS * 72 / 100 && got[1] < HOSTS * 78 / 100);
    router_free(r);
}

/* Goal: the nearest zone wins over any score; parts count whole. */
static void test_nearest_zone_first(void)
{
    fill(4);
    strcpy(list[0].zone, "us1/rack1");
    strcpy(list[1].zone, "eu1/rack12");
    strcpy(list[2].zone, "eu1/rack1");
    list[2].weight = 0.001f;
    strcpy(list[3].zone, "");
    struct router *r = router_with("eu1/rack1", 4);
    for (uint32_t h = 0; h < 200; h++) {
        struct router_score score;
        CU_ASSERT_STRING_EQUAL(router_rank(r, host_name(h), 0, &score)->name,
                               "agg2");
        CU_ASSERT_EQUAL(score.near, 2);
        CU_ASSERT_STRING_EQUAL(router_rank(r, host_name(h), 1, &score)->name,
                               "agg1");
        CU_ASSERT_EQUAL(score.near, 1);
        router_rank(r, host_name(h), 2, &score);
        CU_ASSERT_EQUAL(score.near, 0);
    }
    router_free(r);
}

/* Goal: the bound is kept, and which are left out is no matter of chance. */
static void test_too_many_are_cut(void)
{
    struct router *r;

    fill(ROUTER_AGGREGATORS_MAX + 1);
    CU_ASSERT_EQUAL_FATAL(router_new("", &r), ARGUS_OK);
    CU_ASSERT_EQUAL(router_set(r, list, ROUTER_AGGREGATORS_MAX + 1),
                    ARGUS_EFULL);
    CU_ASSERT_EQUAL(router_count(r), ROUTER_AGGREGATORS_MAX);
    CU_ASSERT_STRING_EQUAL(router_at(r, ROUTER_AGGREGATORS_MAX - 1)->name,
                           "agg1023");
    CU_ASSERT_PTR_NULL(router_at(r, ROUTER_AGGREGATORS_MAX));
    CU_ASSERT_EQUAL(router_set(r, NULL, 0), ARGUS_OK);
    CU_ASSERT_PTR_NULL(router_rank(r, "h", 0, NULL));
    router_free(r);
}

CU_TestInfo suite_router[] = {
    {"rank_same_on_all_nodes", test_rank_same_on_all_nodes},
    {"join_moves_its_share_only", test_join_moves_its_share_only},
    {"weight_gives_share", test_weight_gives_share},
    {"nearest_zone_first", test_nearest_zone_first},
    {"too_many_are_cut", test_too_many_are_cut},
    CU_TEST_INFO_NULL,
};
