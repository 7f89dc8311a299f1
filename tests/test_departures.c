/* Who went together, and who may be cut off; see core/departures.h. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "core/departures.h"

#define ONLINE argus_MemberState_MEMBER_ONLINE
#define OFFLINE argus_MemberState_MEMBER_OFFLINE
#define LEFT argus_MemberState_MEMBER_LEFT
#define SECOND UINT64_C(1000000)
#define START (UINT64_C(1700000000) * SECOND)

struct crowd {
    struct members table;
    struct departures all;
    uint32_t count;
};

/* The next member, in that zone. */
static struct member *add(struct crowd *c, const char *zone)
{
    argus_NodeRecord record = argus_NodeRecord_init_zero;
    struct node_id id = {{0}};

    id.bytes[0] = (uint8_t)(++c->count >> 8);
    id.bytes[1] = (uint8_t)c->count;
    (void)snprintf(record.name, sizeof record.name, "n%u", c->count);
    (void)snprintf(record.zone, sizeof record.zone, "%s", zone);
    struct member *m = members_add(&c->table, &id);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_TRUE_FATAL(
        members_set_record(&c->table, m, &record, (const uint8_t *)"x", 1));
    members_set_state(&c->table, m, ONLINE);
    return m;
}

static struct member *gone(struct crowd *c, const char *zone, uint64_t at_s,
                           bool is_proven)
{
    const struct node_id witness = {{0}};
    argus_Report report = argus_Report_init_zero;
    struct member *m = add(c, zone);

    report.state = OFFLINE;
    report.proven = is_proven;
    CU_ASSERT_PTR_NOT_NULL_FATAL(
        members_set_report(m, &report, &witness, (const uint8_t *)"x", 1));
    members_set_state(&c->table, m, OFFLINE);
    m->gone_us = START + at_s * SECOND;
    return m;
}

static void look(struct crowd *c)
{
    departures_free(&c->all);
    CU_ASSERT_TRUE_FATAL(departures_of(&c->table, &c->all));
}

static struct crowd crowd_new(void)
{
    struct crowd c = {.count = 0};

    members_init(&c.table, 65536, 16);
    return c;
}

static void crowd_free(struct crowd *c)
{
    departures_free(&c->all);
    members_close(&c->table);
}

static const char *group_of(const struct crowd *c, const struct member *m)
{
    static char name[128];

    for (uint32_t i = 0; i < c->all.count; i++)
        if (c->all.list[i].member == m) {
            if (c->all.list[i].group == DEPARTURES_NO_GROUP)
                return "-";
            departure_group_name(&c->all.groups[c->all.list[i].group], name,
                                 sizeof name);
            return name;
        }
    return "not listed";
}

/* Goal: the outermost zone of which all went is the group, by the longest
 * prefix they share; a zone with one left alive is none, nor is one node. */
static void test_whole_zones_are_grouped(void)
{
    struct crowd c = crowd_new();
    struct member *a = gone(&c, "eu1/rack1", 10, true);
    struct member *b = gone(&c, "eu1/rack2/low", 12, true);
    struct member *b2 = gone(&c, "eu1/rack2/high", 16, true);
    struct member *exact = gone(&c, "eu1", 11, true);
    struct member *d = gone(&c, "eu10/rack1", 12, true);
    (void)add(&c, "eu10/rack2");
    struct member *e = gone(&c, "us/rack7/shelf", 100, true);
    struct member *f = gone(&c, "us/rack7/shelf", 101, true);
    struct member *bare = gone(&c, "", 10, true);
    struct member *bare2 = gone(&c, "", 10, true);

    look(&c);
    CU_ASSERT_EQUAL(c.all.count, 9);
    CU_ASSERT_EQUAL(c.all.groups_count, 2);
    CU_ASSERT_STRING_EQUAL(group_of(&c, a), "eu1");
    CU_ASSERT_STRING_EQUAL(group_of(&c, b), "eu1");
    CU_ASSERT_STRING_EQUAL(group_of(&c, b2), "eu1");
    CU_ASSERT_STRING_EQUAL(group_of(&c, exact), "eu1");
    CU_ASSERT_STRING_EQUAL(group_of(&c, d), "-");
    CU_ASSERT_STRING_EQUAL(group_of(&c, e), "us/rack7/shelf");
    CU_ASSERT_STRING_EQUAL(group_of(&c, f), "us/rack7/shelf");
    CU_ASSERT_STRING_EQUAL(group_of(&c, bare), "-");
    CU_ASSERT_STRING_EQUAL(group_of(&c, bare2), "-");
    CU_ASSERT_EQUAL(c.all.unsure, 0); /* dials were refused: known to be dead */
    crowd_free(&c);
}

/* Goal: those that had gone long before, or left, do not stand in the way of a
 * group and are not in it; a zone that went earlier inside it is its own. */
static void test_earlier_deaths_are_apart(void)
{
    struct crowd c = crowd_new();
    struct member *old = gone(&c, "eu/a", 10, true);
    struct member *x = gone(&c, "eu/a", 5000, true);
    struct member *y = gone(&c, "eu/b", 5004, true);
    struct member *z = gone(&c, "eu/b", 5009, true);
    struct member *p = gone(&c, "eu/c", 700, true);
    struct member *q = gone(&c, "eu/c", 701, true);
    struct member *was = gone(&c, "eu/d", 700, true);
    struct member *was2 = gone(&c, "eu/d", 700, true);
    struct member *last = gone(&c, "eu/d", 5005, true);

    members_set_state(&c.table, add(&c, "eu/a"), LEFT);
    look(&c);
    CU_ASSERT_STRING_EQUAL(group_of(&c, x), "eu");
    CU_ASSERT_STRING_EQUAL(group_of(&c, y), "eu");
    CU_ASSERT_STRING_EQUAL(group_of(&c, z), "eu");
    CU_ASSERT_STRING_EQUAL(group_of(&c, last), "eu");
    CU_ASSERT_STRING_EQUAL(group_of(&c, old), "-");
    CU_ASSERT_STRING_EQUAL(group_of(&c, p), "eu/c");
    CU_ASSERT_STRING_EQUAL(group_of(&c, q), "eu/c");
    CU_ASSERT_STRING_EQUAL(group_of(&c, was), "-"); /* one of d lived on */
    CU_ASSERT_STRING_EQUAL(group_of(&c, was2), "-");
    CU_ASSERT_EQUAL(c.all.count, 9);
    /* in order of time, groups together */
    CU_ASSERT_PTR_EQUAL(c.all.list[0].member, old);
    CU_ASSERT_EQUAL(c.all.list[8].group, c.all.list[5].group);
    crowd_free(&c);
}

/* Goal: silence of a whole zone, or of a quarter of the mesh at once, is no
 * proof; silence of one node, or of two among many, is an offline node. */
static void test_silence_of_many_is_unsure(void)
{
    struct crowd c = crowd_new();

    for (int i = 0; i < 9; i++)
        (void)add(&c, i < 5 ? "eu" : "us");
    (void)gone(&c, "eu", 10, false);
    look(&c);
    CU_ASSERT_EQUAL(c.all.unsure, 0);
    (void)gone(&c, "asia", 100, false);
    (void)gone(&c, "asia", 101, false);
    (void)gone(&c, "asia", 101, true); /* of this one it is known */
    look(&c);
    CU_ASSERT_EQUAL(c.all.unsure, 2);
    CU_ASSERT_EQUAL(c.all.groups_count, 1);
    CU_ASSERT_EQUAL(c.all.groups[0].count, 3);
    CU_ASSERT_EQUAL(c.all.groups[0].unsure, 2);
    (void)gone(&c, "eu", 1000, false);
    (void)gone(&c, "us", 1000, false);
    look(&c);
    CU_ASSERT_EQUAL(c.all.unsure, 2);
    (void)gone(&c, "us", 1003, false);
    look(&c);
    CU_ASSERT_EQUAL(c.all.unsure, 5);
    crowd_free(&c);
}

/* Goal: zones that strangers made up, as deep as fits, cost no more than time
 * in proportion, and nobody is lost from the list. */
static void test_hostile_zones_are_listed(void)
{
    static const char *const zones[] = {"/",   "//", "a/",   "/a", "a//b",
                                        "a//", "",   "\xff", "a",  "a/b"};
    struct crowd c = crowd_new();
    char deep[128];

    for (uint32_t i = 0; i < 400; i++)
        (void)gone(&c, zones[i % 10], i / 10, i % 3 == 0);
    for (uint32_t i = 0; i < sizeof deep - 1; i++)
        deep[i] = i % 2 == 0 ? 'a' : '/';
    deep[sizeof deep - 1] = '\0';
    for (uint32_t i = 0; i < 2000; i++) {
        deep[2 * (i % 64)] = "ab"[i % 2];
        (void)gone(&c, deep, i, false);
    }
    look(&c);
    CU_ASSERT_EQUAL(c.all.count, 2400);
    for (uint32_t i = 0; i < c.all.groups_count; i++) {
        uint32_t members = 0;
        for (uint32_t j = 0; j < c.all.count; j++)
            members += c.all.list[j].group == i;
        CU_ASSERT_EQUAL(members, c.all.groups[i].count);
    }
    crowd_free(&c);
}

CU_TestInfo suite_departures[] = {
    {"whole_zones_are_grouped", test_whole_zones_are_grouped},
    {"earlier_deaths_are_apart", test_earlier_deaths_are_apart},
    {"silence_of_many_is_unsure", test_silence_of_many_is_unsure},
    {"hostile_zones_are_listed", test_hostile_zones_are_listed},
    CU_TEST_INFO_NULL,
};
