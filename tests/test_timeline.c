#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "base/status.h"
#include "core/timeline.h"
#include "directory_net.h" /* the stand-in for a seal */
#include "sim/bundle_kit.h"

#define T0_US UINT64_C(1700000000000000)

static struct node_id origin_of(uint32_t number)
{
    struct node_id id = {{0}};

    memcpy(id.bytes, &number, sizeof number);
    return id;
}

static argus_Event event_of(uint64_t hlc, uint32_t generation, uint64_t number)
{
    argus_Event e = {.hlc = hlc,
                     .generation = generation,
                     .number = number,
                     .severity = argus_Severity_SEVERITY_WARNING,
                     .time = 42};

    strcpy(e.node, "web-17");
    strcpy(e.host, "web-17");
    strcpy(e.plugin, "df");
    strcpy(e.plugin_instance, "root");
    strcpy(e.type, "df_complex");
    strcpy(e.type_instance, "free");
    (void)snprintf(e.message, sizeof e.message,
                   "Host web-17, plugin df: value is below %u",
                   (unsigned)number);
    return e;
}

static struct timeline *timeline_of(uint32_t retain)
{
    struct timeline *t = NULL;
    struct timeline_options options = {.self = origin_of(1),
                                       .generation = 3,
                                       .retain_events = retain,
                                       .event_rate = 10,
                                       .digest = kit_digest};

    CU_ASSERT_EQUAL_FATAL(timeline_new(&options, &t), ARGUS_OK);
    return t;
}

static enum timeline_result add(struct timeline *t,
                                const struct node_id *origin,
                                const argus_Event *event, uint64_t received_us)
{
    argus_Statement s = {.which_body = argus_Statement_event_tag,
                         .body.event = *event};
    uint8_t payload[SEALED_SIZE_MAX];
    struct node_id author = *origin;
    const struct timeline_input in = {.origin = origin,
                                      .event = event,
                                      .payload = payload,
                                      .size = fake_close(&author, &s, payload),
                                      .received_us = received_us};

    CU_ASSERT_TRUE_FATAL(in.size > 0);
    return timeline_add(t, &in, NULL);
}

static bool is_in_order(const struct timeline *t)
{
    static argus_EventReply a, b;

    for (uint32_t i = 0; i + 1 < timeline_count(t); i++) {
        (void)timeline_get(t, i, &a);
        (void)timeline_get(t, i + 1, &b);
        int order = memcmp(a.origin, b.origin, NODE_ID_SIZE);
        if (a.event.hlc > b.event.hlc)
            return false;
        if (a.event.hlc == b.event.hlc &&
            (order > 0 ||
             (order == 0 && (a.event.generation > b.event.generation ||
                             (a.event.generation == b.event.generation &&
                              a.event.number >= b.event.number)))))
            return false;
    }
    return true;
}

/* Goal: events come out in the one order of the mesh, however they came in,
 * and the oldest go when there are too many.
 * Method: random stamps, few enough that many are equal; compare what is left
 * with what was dropped and refused. */
static void test_random_arrival_one_order(void)
{
    struct timeline *t = timeline_of(500);
    struct prng prng;
    uint32_t added = 0, too_old = 0;

    prng_seed(&prng, test_seed());
    for (uint32_t i = 0; i < 5000; i++) {
        struct node_id origin = origin_of(prng_below(&prng, 20));
        argus_Event e =
            event_of(hlc_from_us(T0_US) + prng_below(&prng, 1000 + i),
                     1 + prng_below(&prng, 2), i);
        enum timeline_result r = add(t, &origin, &e, T0_US + i);
        added += r == TIMELINE_ADDED;
        too_old += r == TIMELINE_TOO_OLD;
        CU_ASSERT_TRUE_FATAL(timeline_count(t) <= 500);
    }
    CU_ASSERT_EQUAL(added + too_old, 5000);
    CU_ASSERT_EQUAL(timeline_count(t), 500);
    CU_ASSERT_TRUE(is_in_order(t));
    const struct timeline_stats *s = timeline_stats(t);
    CU_ASSERT_EQUAL(s->event_added, added);
    CU_ASSERT_EQUAL(s->event_too_old, too_old);
    CU_ASSERT_EQUAL(s->event_dropped, added - 500);
    CU_ASSERT_TRUE(too_old > 0);
    timeline_free(t);
}

/* Goal: an event is kept once; another generation's is another event. */
static void test_same_number_twice_is_refused(void)
{
    struct timeline *t = timeline_of(10);
    struct node_id a = origin_of(5), b = origin_of(6);
    argus_Event e = event_of(100, 1, 7);

    CU_ASSERT_EQUAL(add(t, &a, &e, 1), TIMELINE_ADDED);
    CU_ASSERT_EQUAL(add(t, &a, &e, 2), TIMELINE_KNOWN);
    e.hlc = 50; /* an origin that lies: still the same event */
    CU_ASSERT_EQUAL(add(t, &a, &e, 3), TIMELINE_KNOWN);
    CU_ASSERT_EQUAL(add(t, &b, &e, 4), TIMELINE_ADDED);
    e.generation = 2;
    CU_ASSERT_EQUAL(add(t, &a, &e, 5), TIMELINE_ADDED);
    CU_ASSERT_TRUE(timeline_has(t, &a, 2, 7));
    CU_ASSERT_FALSE(timeline_has(t, &a, 2, 8));
    CU_ASSERT_FALSE(timeline_has(t, &b, 2, 7));
    CU_ASSERT_EQUAL(timeline_count(t), 3);
    CU_ASSERT_EQUAL(timeline_stats(t)->event_duplicate, 2);
    timeline_free(t);
}

/* Goal: what goes in comes out, field by field, also at the greatest length
 * and where packing leaves something out. */
static void test_every_field_survives(void)
{
    struct timeline *t = timeline_of(10);
    struct node_id origin = origin_of(9);
    static argus_Event in[3];
    static argus_EventReply out;

    in[0] = event_of(1, 1, 1);
    in[1] = event_of(2, 1, 2); /* all strings as long as they can be */
    memset(in[1].node, 'n', 127);
    memset(in[1].host, 'h', 127);
    memset(in[1].plugin, 'p', 127);
    memset(in[1].plugin_instance, 'q', 127);
    memset(in[1].type, 't', 127);
    memset(in[1].type_instance, 'u', 127);
    memset(in[1].message, 'm', 255);
    in[2] = (argus_Event){.hlc = UINT64_MAX, /* all empty */
                          .generation = UINT32_MAX,
                          .number = UINT64_MAX,
                          .severity = argus_Severity_SEVERITY_OKAY,
                          .time = UINT64_MAX};
    for (uint32_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(add(t, &origin, &in[i], T0_US + i), TIMELINE_ADDED);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(timeline_get(t, i, &out));
        CU_ASSERT_TRUE(out.has_event);
        CU_ASSERT_EQUAL(out.event.hlc, in[i].hlc);
        CU_ASSERT_EQUAL(out.event.generation, in[i].generation);
        CU_ASSERT_EQUAL(out.event.number, in[i].number);
        CU_ASSERT_EQUAL(out.event.severity, in[i].severity);
        CU_ASSERT_EQUAL(out.event.time, in[i].time);
        CU_ASSERT_STRING_EQUAL(out.event.node, in[i].node);
        CU_ASSERT_STRING_EQUAL(out.event.host, in[i].host);
        CU_ASSERT_STRING_EQUAL(out.event.plugin, in[i].plugin);
        CU_ASSERT_STRING_EQUAL(out.event.plugin_instance,
                               in[i].plugin_instance);
        CU_ASSERT_STRING_EQUAL(out.event.type, in[i].type);
        CU_ASSERT_STRING_EQUAL(out.event.type_instance, in[i].type_instance);
        CU_ASSERT_STRING_EQUAL(out.event.message, in[i].message);
        CU_ASSERT_EQUAL(memcmp(out.origin, origin.bytes, NODE_ID_SIZE), 0);
        CU_ASSERT_EQUAL(out.received_us, T0_US + i);
        CU_ASSERT_FALSE(out.concurrent);
    }
    CU_ASSERT_FALSE(timeline_get(t, 3, &out));
    timeline_free(t);
}

/* Goal: the place of a time is found. */
static void test_find_gives_first_not_before(void)
{
    struct timeline *t = timeline_of(100);
    struct node_id origin = origin_of(2);

    CU_ASSERT_EQUAL(timeline_find(t, 0), 0);
    for (uint64_t i = 0; i < 50; i++) {
        argus_Event e = event_of(1000 + 10 * (i / 2), 1, i);
        CU_ASSERT_EQUAL(add(t, &origin, &e, 0), TIMELINE_ADDED);
    }
    CU_ASSERT_EQUAL(timeline_find(t, 0), 0);
    CU_ASSERT_EQUAL(timeline_find(t, 1010), 2);
    CU_ASSERT_EQUAL(timeline_find(t, 1011), 4);
    CU_ASSERT_EQUAL(timeline_find(t, 5000), 50);
    timeline_free(t);
}

/* Goal: events of a later epoch stand behind all of an earlier one, however far
 * ahead the stamps of that one ran. */
static void test_epoch_comes_before_stamp(void)
{
    struct timeline *t = timeline_of(100);
    struct node_id origin = origin_of(2);
    argus_EventReply out;

    for (uint64_t i = 0; i < 10; i++) {
        argus_Event e = event_of(5000 - 100 * i, 1, i);
        e.epoch = i % 2 == 0 ? 0 : 3;
        CU_ASSERT_EQUAL(add(t, &origin, &e, 0), TIMELINE_ADDED);
    }
    for (uint32_t i = 0; i < 10; i++) {
        CU_ASSERT_TRUE_FATAL(timeline_get(t, i, &out));
        CU_ASSERT_EQUAL(out.event.epoch, i < 5 ? 0 : 3);
        CU_ASSERT_EQUAL(out.event.hlc,
                        i < 5 ? 4200 + 200 * i : 4100 + 200 * (i - 5));
    }
    timeline_free(t);
}

/* Goal: a node makes at most a burst and then its rate of events; the numbers
 * of those let through have no gap, and a refused one does not move the clock.
 */
static void test_own_events_over_rate_are_refused(void)
{
    struct timeline *t = timeline_of(1000);
    struct hlc h;
    argus_Event e = {0};
    uint64_t last = 0;

    hlc_init(&h, 0, T0_US, 500);
    for (uint64_t i = 1; i <= 100; i++) {
        CU_ASSERT_TRUE_FATAL(timeline_stamp_own(t, &h, 5000, T0_US, &e));
        CU_ASSERT_EQUAL(e.number, i);
        CU_ASSERT_EQUAL(e.generation, 3);
        CU_ASSERT_TRUE(e.hlc > last);
        last = e.hlc;
    }
    CU_ASSERT_FALSE(timeline_stamp_own(t, &h, 5000, T0_US, &e));
    CU_ASSERT_FALSE(timeline_stamp_own(t, &h, 5099, T0_US, &e));
    CU_ASSERT_EQUAL(hlc_now(&h, T0_US), last);
    CU_ASSERT_EQUAL(e.number, 100);
    CU_ASSERT_TRUE(timeline_stamp_own(t, &h, 5100, T0_US, &e));
    CU_ASSERT_EQUAL(e.number, 101);
    CU_ASSERT_EQUAL(timeline_stats(t)->event_limited, 2);

    uint32_t allowed = 0; /* a quiet night does not add up to a storm */
    for (int i = 0; i < 1000; i++)
        allowed += timeline_stamp_own(t, &h, 90000000, T0_US, &e);
    CU_ASSERT_EQUAL(allowed, 99); /* one is for the summary */
    timeline_free(t);
}

/* Goal: 100,000 events cost little and full ones stay bounded.
 * Method: what 1000 nodes with much the same messages would make, mostly in
 * order; then as many again, and the bytes must not grow any further. */
static void test_many_events_cost_little(void)
{
    struct timeline *t = timeline_of(100000);
    struct prng prng;
    size_t full = 0;

    prng_seed(&prng, test_seed());
    for (uint32_t i = 0; i < 300000; i++) {
        struct node_id origin = origin_of(prng_below(&prng, 1000));
        argus_Event e = event_of(1000000 + i - prng_below(&prng, 200), 1, i);
        CU_ASSERT_EQUAL_FATAL(add(t, &origin, &e, T0_US), TIMELINE_ADDED);
        if (i == 100000)
            full = timeline_bytes(t);
    }
    CU_ASSERT_EQUAL(timeline_count(t), 100000);
    printf("  100,000 events: %.0f bytes each\n",
           (double)timeline_bytes(t) / 100000);
    CU_ASSERT_TRUE(timeline_bytes(t) < 350 * 100000);
    CU_ASSERT_TRUE(timeline_bytes(t) < full + full / 10);
    CU_ASSERT_EQUAL(timeline_stats(t)->event_dropped, 200000);
    timeline_free(t);
}

/* Goal: an origin that says much cannot push out what others said, be it
 * stamped ahead or not; what it says itself comes and goes in its own share. */
static void test_loud_origin_keeps_to_its_share(void)
{
    struct timeline *t = timeline_of(100);
    struct node_id quiet = origin_of(7), loud = origin_of(8);

    for (uint32_t i = 0; i < 45; i++) {
        argus_Event e = event_of(1000 + i, 1, i);
        CU_ASSERT_EQUAL(add(t, &quiet, &e, 0), TIMELINE_ADDED);
    }
    for (uint32_t i = 0; i < 5000; i++) {
        argus_Event e = event_of(2000000 + i, 1, i);
        CU_ASSERT_EQUAL(add(t, &loud, &e, 0), TIMELINE_ADDED);
    }
    CU_ASSERT_EQUAL(timeline_count(t), 100);
    CU_ASSERT_TRUE(is_in_order(t));
    for (uint32_t i = 0; i < 45; i++)
        CU_ASSERT_TRUE(timeline_has(t, &quiet, 1, i));
    CU_ASSERT_TRUE(timeline_has(t, &loud, 1, 4999));
    CU_ASSERT_FALSE(timeline_has(t, &loud, 1, 4944));
    CU_ASSERT_EQUAL(timeline_stats(t)->event_share_spent, 4945);

    argus_Event e = event_of(2004944, 1, 4944); /* old among its own */
    CU_ASSERT_EQUAL(add(t, &loud, &e, 0), TIMELINE_TOO_OLD);
    e = event_of(3000, 1, 45); /* a quiet one costs one of the loud one */
    CU_ASSERT_EQUAL(add(t, &quiet, &e, 0), TIMELINE_ADDED);
    timeline_free(t);
}

/* Goal: what is kept hangs on what came, never on the order in which it came;
 * and whoever keeps more keeps that too.
 * Method: three loud origins and forty others, shuffled; the sum of what 300
 * keep against what 1000 say that they would keep with 300. */
static void test_same_events_are_kept_in_whatever_order(void)
{
    enum { COUNT = 3000 };
    struct timeline *t[4];
    uint32_t order[COUNT];
    struct prng prng;

    prng_seed(&prng, test_seed());
    for (uint32_t i = 0; i < COUNT; i++)
        order[i] = i;
    for (int k = 0; k < 4; k++) {
        t[k] = timeline_of(k < 3 ? 300 : 1000);
        for (uint32_t i = COUNT - 1; i > 0; i--) {
            uint32_t j = prng_below(&prng, i + 1), kept = order[i];
            order[i] = order[j];
            order[j] = kept;
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            uint32_t n = order[i];
            struct node_id origin = origin_of(n % 3 < 2 ? n % 3 : n % 41);
            argus_Event e = event_of(1000 + n * 7919 % COUNT, 1, n);
            (void)add(t[k], &origin, &e, 0);
        }
    }
    struct timeline_sum first = timeline_sum(t[0], 300, 0, UINT32_MAX);
    CU_ASSERT_EQUAL(first.count, 300);
    for (int k = 1; k < 4; k++) {
        struct timeline_sum other = timeline_sum(t[k], 300, 0, UINT32_MAX);
        CU_ASSERT_EQUAL(other.count, first.count);
        CU_ASSERT_EQUAL(other.keys, first.keys);
    }
    for (int k = 0; k < 4; k++)
        timeline_free(t[k]);
}

/* Goal: a signed statement comes out as it came in, with fields that only a
 * newer version knows; and it is still an event.
 * Method: a field 100 is put behind the last one of the statement. */
static void test_newer_event_is_kept_byte_for_byte(void)
{
    static const uint8_t unknown[] = {0xa2, 0x06, 3, 'n', 'e', 'w'};
    struct timeline *t = timeline_of(10);
    struct node_id origin = origin_of(9);
    argus_Event e = event_of(1, 1, 1), read;
    argus_Statement s = {.which_body = argus_Statement_event_tag,
                         .body.event = e};
    uint8_t payload[SEALED_SIZE_MAX], out[SEALED_SIZE_MAX];
    size_t size = fake_close(&origin, &s, payload);

    memcpy(payload + size, unknown, sizeof unknown);
    size += sizeof unknown;
    const struct timeline_input in = {
        .origin = &origin, .event = &e, .payload = payload, .size = size};
    CU_ASSERT_EQUAL(timeline_add(t, &in, NULL), TIMELINE_ADDED);
    CU_ASSERT_EQUAL(timeline_packed(t, 0, out, sizeof out), size);
    CU_ASSERT_EQUAL(memcmp(out, payload, size), 0);
    CU_ASSERT_TRUE(timeline_unpack(out, size, &read));
    CU_ASSERT_STRING_EQUAL(read.message, e.message);
    timeline_free(t);
}

/* Goal: a million events go through in little time, and no more is kept than
 * Retain says. */
static void test_a_million_events_stay_bounded(void)
{
    struct timeline *t = timeline_of(20000);
    argus_Statement s = {.which_body = argus_Statement_event_tag,
                         .body.event = event_of(1, 1, 1)};
    struct node_id origin = origin_of(1);
    uint8_t payload[SEALED_SIZE_MAX];
    size_t size = fake_close(&origin, &s, payload), full = 0;

    for (uint32_t i = 0; i < 1000000; i++) {
        struct node_id author = origin_of(i % 500);
        argus_Event e = {.hlc = 1000 + i,
                         .generation = 1,
                         .number = i,
                         .severity = argus_Severity_SEVERITY_WARNING};
        const struct timeline_input in = {
            .origin = &author, .event = &e, .payload = payload, .size = size};
        CU_ASSERT_EQUAL_FATAL(timeline_add(t, &in, NULL), TIMELINE_ADDED);
        if (i == 40000)
            full = timeline_bytes(t);
    }
    CU_ASSERT_EQUAL(timeline_count(t), 20000);
    CU_ASSERT_EQUAL(timeline_stats(t)->event_dropped, 980000);
    CU_ASSERT_TRUE(timeline_bytes(t) < full + full / 10);
    timeline_free(t);
}

/* ------------------------------------------------------------- too many */

/* Goal: what the limit held back is told in one event: how many, from when to
 * when, of which kinds, as bad as the worst of them; within the limit itself,
 * and also while the flood goes on. */
static void test_suppressed_events_are_counted_in_one(void)
{
    struct timeline *t = timeline_of(1000);
    struct hlc h;
    argus_Event e = event_of(0, 0, 0), told = {0};

    hlc_init(&h, 0, T0_US, 500);
    CU_ASSERT_EQUAL(timeline_deadline_ms(t), UINT64_MAX);
    for (int i = 0; i < 100; i++)
        CU_ASSERT_TRUE_FATAL(timeline_stamp_own(t, &h, 5000, T0_US, &e));
    for (int i = 0; i < 7; i++)
        CU_ASSERT_FALSE(timeline_stamp_own(t, &h, 5000, T0_US, &e));
    e.severity = argus_Severity_SEVERITY_FAILURE;
    strcpy(e.plugin, "load");
    strcpy(e.type, "load");
    CU_ASSERT_FALSE(timeline_stamp_own(t, &h, 5050, T0_US + 2000000, &e));
    CU_ASSERT_EQUAL(timeline_deadline_ms(t), 5000 + TIMELINE_SUMMARY_MS);
    CU_ASSERT_FALSE(timeline_summary(t, &h, 5999, T0_US, &told));
    CU_ASSERT_TRUE(timeline_summary(t, &h, 6000, T0_US + 3000000, &told));
    CU_ASSERT_EQUAL(told.severity, argus_Severity_SEVERITY_FAILURE);
    CU_ASSERT_EQUAL(told.number, 101);
    CU_ASSERT_STRING_EQUAL(
        told.message,
        "8 events suppressed by RateLimit, from 2023-11-14T22:13:20.000Z to "
        "2023-11-14T22:13:22.000Z: 7 df/df_complex WARNING, 1 load/load "
        "FAILURE");
    CU_ASSERT_FALSE(timeline_summary(t, &h, 9000, T0_US, &told));
    CU_ASSERT_EQUAL(timeline_stats(t)->event_limited, 8);
    CU_ASSERT_EQUAL(timeline_stats(t)->event_summaries, 1);

    uint32_t sent = 0, summaries = 0; /* a flood of a minute: 600 tokens */
    for (uint64_t ms = 100000; ms < 160000; ms++) {
        sent += timeline_stamp_own(t, &h, ms, T0_US, &e);
        if (timeline_deadline_ms(t) <= ms)
            summaries += timeline_summary(t, &h, ms, T0_US, &told);
    }
    CU_ASSERT_TRUE(sent + summaries <= 100 + 600);
    CU_ASSERT_TRUE(summaries >= 20);
    timeline_free(t);
}

/* ----------------------------------------------------------------- order */

/* A story of events of the nodes 1, 2, 3: at such a time by that node's own
 * clock, which is so uncertain; heard of before (numbers in the story). */
struct happened {
    uint32_t node;
    uint64_t ms;
    uint32_t uncertainty_ms;
    uint32_t heard[3]; /* from 1; 0: nothing */
};

static const struct {
    const char *what;
    struct happened story[5];
    uint32_t count;
    char concurrent[6]; /* "~" or "." for each */
} cases[] = {
    {"one alone", {{1, 1000, 50, {0}}}, 1, "."},
    {"the same moment", {{1, 1000, 50, {0}}, {2, 1000, 50, {0}}}, 2, "~~"},
    {"just within both uncertainties",
     {{1, 1000, 50, {0}}, {2, 1099, 50, {0}}},
     2,
     "~~"},
    {"just outside", {{1, 1000, 50, {0}}, {2, 1100, 50, {0}}}, 2, ".."},
    {"a wide one beside a narrow one",
     {{1, 1000, 1, {0}}, {2, 1500, 600, {0}}},
     2,
     "~~"},
    {"an answer at once", {{1, 1000, 50, {0}}, {2, 1001, 50, {1}}}, 2, ".."},
    {"an answer by a clock that is an hour slow",
     {{1, 3601000, 1, {0}}, {2, 1001, 3600000, {1}}},
     2,
     ".."},
    {"two of one node", {{1, 1000, 500, {0}}, {1, 1001, 500, {0}}}, 2, ".."},
    {"an answer to an answer",
     {{1, 1000, 50, {0}}, {2, 1001, 50, {1}}, {3, 1002, 50, {2}}},
     3,
     "..."},
    {"two answers to one know nothing of each other",
     {{1, 1000, 50, {0}}, {2, 1001, 50, {1}}, {3, 1002, 50, {1}}},
     3,
     ".~~"},
    {"one that heard both sides",
     {{1, 1000, 50, {0}}, {2, 1000, 50, {0}}, {3, 1001, 50, {1, 2}}},
     3,
     "~~."},
    {"over the one before of the same node",
     {{1, 1000, 50, {0}},
      {2, 1001, 50, {1}},
      {2, 1002, 50, {0}},
      {3, 1003, 50, {3}}},
     4,
     "...."},
    {"an answer to the second does not order the third",
     {{1, 1000, 50, {0}},
      {1, 1001, 50, {0}},
      {1, 1002, 50, {0}},
      {2, 1003, 50, {2}}},
     4,
     "..~~"},
    {"apart for long, then within a moment",
     {{1, 1000, 5, {0}},
      {2, 2000, 5, {0}},
      {1, 3000, 5, {2}},
      {2, 3000, 5, {1}}},
     4,
     "..~~"},
    {"a parent that is not here",
     {{1, 1000, 50, {0}}, {2, 1001, 50, {9}}},
     2,
     "~~"},
};

static uint64_t key_at(const struct happened *story, uint32_t number)
{
    uint8_t text[28] = {0}, hash[32];
    struct node_id origin = origin_of(story[number - 1].node);
    uint64_t key;

    memcpy(text, origin.bytes, 16);
    text[16] = 1; /* generation */
    text[20] = (uint8_t)number;
    kit_digest(text, sizeof text, hash);
    memcpy(&key, hash, sizeof key);
    return key;
}

/* Goal: order as timeline.h has it, whatever came first.
 * Method: each case of the table, told forwards and backwards. */
static void test_order_is_as_tabled(void)
{
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        for (int backwards = 0; backwards < 2; backwards++) {
            struct timeline *t = timeline_of(100);
            for (uint32_t i = 0; i < cases[c].count; i++) {
                uint32_t n = backwards ? cases[c].count - 1 - i : i;
                const struct happened *h = &cases[c].story[n];
                struct node_id origin = origin_of(h->node);
                argus_Event e = event_of(h->ms << 16, 1, n + 1);
                e.uncertainty_us = h->uncertainty_ms * 1000;
                for (int k = 0; k < 3 && h->heard[k] != 0; k++)
                    e.parents[e.parents_count++] =
                        h->heard[k] == 9 ? 9
                                         : key_at(cases[c].story, h->heard[k]);
                (void)add(t, &origin, &e, 0);
            }
            for (uint32_t i = 0; i < cases[c].count; i++) {
                argus_EventReply out;
                CU_ASSERT_TRUE_FATAL(timeline_get(t, i, &out));
                timeline_order(t, i, &out);
                uint64_t n = out.event.number;
                bool wanted = cases[c].concurrent[n - 1] == '~';
                CU_ASSERT_EQUAL(out.concurrent, wanted);
                if (out.concurrent != wanted)
                    printf("  %s: event %u\n", cases[c].what, (unsigned)n);
            }
            timeline_free(t);
        }
}

/* Goal: an own event names what was delivered and nobody has named, at most 8
 * of it and the latest; what one event stands for is not named again. */
static void test_parents_are_the_latest_heads(void)
{
    struct timeline *t = timeline_of(100);
    struct hlc h;
    argus_Event own = {0};

    hlc_init(&h, 0, T0_US, 500);
    for (uint32_t i = 1; i <= 12; i++) { /* of 12 nodes, two events each */
        struct node_id origin = origin_of(100 + i);
        for (uint32_t k = 1; k <= 2; k++) {
            argus_Event e = event_of(1000 + i, 1, k);
            CU_ASSERT_EQUAL(add(t, &origin, &e, 0), TIMELINE_ADDED);
        }
    }
    CU_ASSERT_TRUE(timeline_stamp_own(t, &h, 1000, T0_US, &own));
    CU_ASSERT_EQUAL(own.parents_count, 8);
    struct node_id self = origin_of(1);
    CU_ASSERT_EQUAL(add(t, &self, &own, 0), TIMELINE_ADDED);
    CU_ASSERT_TRUE(timeline_stamp_own(t, &h, 1000, T0_US, &own));
    CU_ASSERT_EQUAL(own.parents_count, 4); /* those left over */
    CU_ASSERT_EQUAL(add(t, &self, &own, 0), TIMELINE_ADDED);
    CU_ASSERT_TRUE(timeline_stamp_own(t, &h, 1000, T0_US, &own));
    CU_ASSERT_EQUAL(own.parents_count, 0);
    timeline_free(t);
}

static void test_bad_options_are_refused(void)
{
    struct timeline *t = NULL;
    struct timeline_options o = {
        .retain_events = 0, .event_rate = 1, .digest = kit_digest};

    CU_ASSERT_EQUAL(timeline_new(&o, &t), ARGUS_EINVAL);
    o.retain_events = UINT32_MAX;
    CU_ASSERT_EQUAL(timeline_new(&o, &t), ARGUS_EINVAL);
    o = (struct timeline_options){
        .retain_events = 1, .event_rate = 0, .digest = kit_digest};
    CU_ASSERT_EQUAL(timeline_new(&o, &t), ARGUS_EINVAL);
    o = (struct timeline_options){.retain_events = 1,
                                  .event_rate = TIMELINE_RATE_MAX + 1,
                                  .digest = kit_digest};
    CU_ASSERT_EQUAL(timeline_new(&o, &t), ARGUS_EINVAL);
    o = (struct timeline_options){.retain_events = 1, .event_rate = 1};
    CU_ASSERT_EQUAL(timeline_new(&o, &t), ARGUS_EINVAL);
    CU_ASSERT_PTR_NULL(t);
}

CU_TestInfo suite_timeline[] = {
    {"epoch_comes_before_stamp", test_epoch_comes_before_stamp},
    {"random_arrival_one_order", test_random_arrival_one_order},
    {"same_number_twice_is_refused", test_same_number_twice_is_refused},
    {"every_field_survives", test_every_field_survives},
    {"find_gives_first_not_before", test_find_gives_first_not_before},
    {"own_events_over_rate_are_refused", test_own_events_over_rate_are_refused},
    {"many_events_cost_little", test_many_events_cost_little},
    {"loud_origin_keeps_to_its_share", test_loud_origin_keeps_to_its_share},
    {"same_events_are_kept_in_whatever_order",
     test_same_events_are_kept_in_whatever_order},
    {"newer_event_is_kept_byte_for_byte",
     test_newer_event_is_kept_byte_for_byte},
    {"a_million_events_stay_bounded", test_a_million_events_stay_bounded},
    {"suppressed_events_are_counted_in_one",
     test_suppressed_events_are_counted_in_one},
    {"order_is_as_tabled", test_order_is_as_tabled},
    {"parents_are_the_latest_heads", test_parents_are_the_latest_heads},
    {"bad_options_are_refused", test_bad_options_are_refused},
    CU_TEST_INFO_NULL,
};
