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
    {"bad_options_are_refused", test_bad_options_are_refused},
    CU_TEST_INFO_NULL,
};
