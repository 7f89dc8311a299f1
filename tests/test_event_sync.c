/* test_event_sync.c - two timelines become one: what is sent for it, and what
 * is not sent again. Signatures are those of tests/directory_net.h. */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/status.h"
#include "core/event_sync.h"
#include "directory_net.h"
#include "sim/bundle_kit.h"
#include "wire/frame.h"

#define HOUR_MS 3600000u
#define FRAMES_MAX 200000

/* A node of two, and the frames that are under way to it. */
struct side {
    struct event_sync sync;
    struct event_session session;
    struct side *other;
    struct {
        uint8_t *bytes;
        size_t size;
    } * queue;
    uint32_t queued, taken;
    uint64_t bytes_sent;
    bool has_damage; /* signatures that it opens do not hold */
};

static enum event_taken take(void *context, const uint8_t *payload, size_t size)
{
    struct side *n = context;
    argus_Statement s;
    struct node_id author;
    struct timeline_input in = {.payload = payload, .size = size};

    if (n->has_damage || !fake_open(NULL, payload, size, &s, &author))
        return EVENT_TAKEN_BAD;
    in.origin = &author;
    in.event = &s.body.event;
    return timeline_add(n->sync.timeline, &in, NULL) == TIMELINE_ADDED
               ? EVENT_TAKEN_NEW
               : EVENT_TAKEN_OLD;
}

static bool holds(void *context, const uint8_t *payload, size_t size)
{
    argus_Statement s;
    struct node_id author;

    (void)context;
    return fake_open(NULL, payload, size, &s, &author);
}

static void on_action(void *context, const struct action *a)
{
    struct side *n = context, *to = n->other;
    static uint8_t bytes[FRAME_HEADER_SIZE + FRAME_BODY_MAX];
    struct argus_error err;

    CU_ASSERT_EQUAL_FATAL(a->type, ACTION_SEND);
    CU_ASSERT_TRUE_FATAL(to->queued < FRAMES_MAX);
    int size = frame_encode(argus_Frame_fields, a->send.frame, bytes,
                            sizeof bytes, &err);
    CU_ASSERT_TRUE_FATAL(size > 0);
    n->bytes_sent += (uint64_t)size;
    to->queue[to->queued].bytes = malloc((size_t)size);
    memcpy(to->queue[to->queued].bytes, bytes, (size_t)size);
    to->queue[to->queued++].size = (size_t)size;
}

static struct side *side_of(uint32_t retain)
{
    struct side *n = calloc(1, sizeof *n);
    struct timeline_options options = {
        .retain_events = retain, .event_rate = 10, .digest = kit_digest};

    CU_ASSERT_PTR_NOT_NULL_FATAL(n);
    n->sync = (struct event_sync){
        .context = n, .retain = retain, .take = take, .holds = holds};
    CU_ASSERT_EQUAL_FATAL(timeline_new(&options, &n->sync.timeline), ARGUS_OK);
    n->queue = calloc(FRAMES_MAX, sizeof *n->queue);
    CU_ASSERT_PTR_NOT_NULL_FATAL(n->queue);
    return n;
}

static void side_free(struct side *n)
{
    timeline_free(n->sync.timeline);
    free(n->queue);
    free(n);
}

static struct node_id origin_of(uint32_t number)
{
    struct node_id id = {{0}};

    memcpy(id.bytes, &number, sizeof number);
    id.bytes[15] = 1;
    return id;
}

static void add(struct side *n, uint32_t origin, uint64_t ms, uint64_t number)
{
    argus_Statement s = {.which_body = argus_Statement_event_tag};
    struct node_id id = origin_of(origin);
    uint8_t payload[SEALED_SIZE_MAX];

    s.body.event = (argus_Event){.hlc = ms << 16,
                                 .generation = 1,
                                 .number = number,
                                 .severity = argus_Severity_SEVERITY_WARNING};
    (void)snprintf(s.body.event.message, sizeof s.body.event.message,
                   "event %u of n%u", (unsigned)number, origin);
    const struct timeline_input in = {.origin = &id,
                                      .event = &s.body.event,
                                      .payload = payload,
                                      .size = fake_close(&id, &s, payload)};
    (void)timeline_add(n->sync.timeline, &in, NULL);
}

/* @return false: nothing was under way to it. */
static bool step(struct side *n, enum event_step *result)
{
    static argus_Frame frame;
    struct actions out = {.emit = on_action, .context = n};
    struct argus_error err;

    if (n->taken == n->queued)
        return false;
    uint8_t *bytes = n->queue[n->taken].bytes;
    CU_ASSERT_EQUAL_FATAL(
        frame_decode(bytes + FRAME_HEADER_SIZE,
                     n->queue[n->taken++].size - FRAME_HEADER_SIZE, &frame,
                     &err),
        ARGUS_OK);
    free(bytes);
    *result = event_sync_on_frame(&n->sync, &n->session, 1, &frame, &out);
    return true;
}

/* A whole session that `a` dials. @return how it ended for it. */
static enum event_step meet(struct side *a, struct side *b)
{
    struct actions out = {.emit = on_action, .context = a};
    enum event_step of_a = EVENT_STEP_ON, of_b = EVENT_STEP_ON;

    a->other = b;
    b->other = a;
    a->session = b->session = (struct event_session){0};
    a->queued = a->taken = b->queued = b->taken = 0;
    a->bytes_sent = b->bytes_sent = 0;
    event_sync_begin(&a->sync, &a->session, 1, &out);
    while (of_a == EVENT_STEP_ON && of_b == EVENT_STEP_ON &&
           (step(b, &of_b) || step(a, &of_a)))
        ;
    while (a->taken < a->queued)
        free(a->queue[a->taken++].bytes);
    while (b->taken < b->queued)
        free(b->queue[b->taken++].bytes);
    return of_b == EVENT_STEP_BAD ? of_b : of_a;
}

static bool are_same(const struct side *a, const struct side *b)
{
    const struct timeline *x = a->sync.timeline, *y = b->sync.timeline;
    uint8_t p[SEALED_SIZE_MAX], q[SEALED_SIZE_MAX];

    if (timeline_count(x) != timeline_count(y))
        return false;
    for (uint32_t i = 0; i < timeline_count(x); i++) {
        size_t size = timeline_packed(x, i, p, sizeof p);
        if (size == 0 || size != timeline_packed(y, i, q, sizeof q) ||
            memcmp(p, q, size) != 0)
            return false;
    }
    return true;
}

static uint64_t items(const struct side *a, const struct side *b)
{
    return a->sync.stats.items_sent + b->sync.stats.items_sent;
}

/* Nothing differs any more: a digest, and the word that it is the same. */
static void expect_rest(struct side *a, struct side *b)
{
    uint64_t before = items(a, b);

    CU_ASSERT_EQUAL(meet(a, b), EVENT_STEP_DONE);
    CU_ASSERT_EQUAL(meet(b, a), EVENT_STEP_DONE);
    CU_ASSERT_EQUAL(items(a, b), before);
    CU_ASSERT_TRUE(a->bytes_sent + b->bytes_sent < 120);
}

/* Goal: a node that joins fresh gets the whole timeline, byte for byte, each
 * event once; equal ones cost next to nothing. */
static void test_newcomer_gets_all_once(void)
{
    struct side *a = side_of(20000), *b = side_of(20000);

    for (uint32_t i = 0; i < 10000; i++)
        add(a, i % 50, 1000 + i / 3, i);
    CU_ASSERT_EQUAL(meet(b, a), EVENT_STEP_DONE);
    CU_ASSERT_TRUE(are_same(a, b));
    CU_ASSERT_EQUAL(items(a, b), 10000);
    printf("  10,000 events to a newcomer: %.0f bytes each\n",
           (double)(a->bytes_sent + b->bytes_sent) / 10000);
    expect_rest(a, b);
    side_free(b);

    b = side_of(20000); /* ... and the other way round: it is pushed */
    CU_ASSERT_EQUAL(meet(a, b), EVENT_STEP_DONE);
    CU_ASSERT_TRUE(are_same(a, b));
    CU_ASSERT_TRUE(b->session.learned == 10000);
    expect_rest(a, b);
    side_free(a);
    side_free(b);
}

/* Goal: both sides of an hour apart get what the other has, and what is sent
 * beside it is little.
 * Method: 20,000 common events before; then 300 on each side, by other
 * origins, mixed in time. */
static void test_an_hour_apart_is_exchanged(void)
{
    struct side *a = side_of(100000), *b = side_of(100000);

    for (uint32_t i = 0; i < 20000; i++) {
        add(a, i % 50, 1000 + 2 * i, i);
        add(b, i % 50, 1000 + 2 * i, i);
    }
    for (uint32_t i = 0; i < 300; i++) {
        add(a, 100 + i % 7, 50000 + i * (HOUR_MS / 300), i);
        add(b, 200 + i % 7, 50005 + i * (HOUR_MS / 300), i);
    }
    CU_ASSERT_EQUAL(meet(a, b), EVENT_STEP_DONE);
    CU_ASSERT_TRUE(are_same(a, b));
    CU_ASSERT_EQUAL(items(a, b), 600);
    uint64_t spent = a->bytes_sent + b->bytes_sent;
    printf("  600 differ of 20,600: %.0f bytes for each of these\n",
           (double)spent / 600);
    CU_ASSERT_TRUE(spent < 600 * 300);
    expect_rest(a, b);
    side_free(a);
    side_free(b);
}

/* Goal: differences that are strewn all over are found too, each sent once. */
static void test_gaps_everywhere_are_filled(void)
{
    struct side *a = side_of(100000), *b = side_of(100000);
    struct prng prng;
    uint32_t missing = 0;

    prng_seed(&prng, test_seed());
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t who = prng_below(&prng, 200);
        bool in_a = who != 0, in_b = who != 1;
        missing += !in_a || !in_b;
        if (in_a)
            add(a, i % 90, 1000 + i, i);
        if (in_b)
            add(b, i % 90, 1000 + i, i);
    }
    CU_ASSERT_EQUAL(meet(a, b), EVENT_STEP_DONE);
    CU_ASSERT_TRUE(are_same(a, b));
    CU_ASSERT_EQUAL(timeline_count(a->sync.timeline), 20000);
    CU_ASSERT_EQUAL(items(a, b), missing);
    expect_rest(a, b);
    side_free(a);
    side_free(b);
}

/* Goal: two nodes with different Retain agree on what both would keep, and then
 * send nothing more; also where origins are over their share.
 * Method: the same events of three loud origins and many quiet ones come to
 * both in different orders, a tenth of them to one side alone. */
static void test_different_retain_comes_to_rest(void)
{
    struct side *a = side_of(1000), *b = side_of(8000);
    struct prng prng;

    prng_seed(&prng, test_seed());
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t origin = i % 4 < 3 ? i % 4 : 10 + prng_below(&prng, 100);
        uint32_t who = prng_below(&prng, 10);
        uint64_t ms = 1000 + prng_below(&prng, 50000);
        if (who != 0)
            add(a, origin, ms, i);
        if (who != 1)
            add(b, origin, ms, i);
    }
    CU_ASSERT_EQUAL(timeline_count(a->sync.timeline), 1000);
    CU_ASSERT_EQUAL(timeline_count(b->sync.timeline), 8000);
    /* What is dropped for what comes may leave some to be looked at again. */
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(i % 2 == 0 ? meet(a, b) : meet(b, a), EVENT_STEP_DONE);
    CU_ASSERT_EQUAL(timeline_count(a->sync.timeline), 1000);
    for (uint32_t i = 0; i < 1000; i++) { /* all that a keeps, b has */
        struct timeline_place place;
        (void)timeline_place(a->sync.timeline, i, &place);
        CU_ASSERT_TRUE(timeline_has(b->sync.timeline, &place.origin,
                                    place.generation, place.number));
    }
    uint64_t before = items(a, b);
    CU_ASSERT_EQUAL(meet(a, b), EVENT_STEP_DONE);
    CU_ASSERT_EQUAL(meet(b, a), EVENT_STEP_DONE);
    CU_ASSERT_EQUAL(items(a, b), before);
    side_free(a);
    side_free(b);
}

/* Goal: the same with one Retain, full on both sides, of which one lacks what
 * is newest: it gets that, and the old events that it still has are not offered
 * in vain. */
static void test_what_is_too_old_is_not_offered(void)
{
    struct side *a = side_of(1000), *b = side_of(1000);

    for (uint32_t i = 0; i < 3000; i++) {
        add(a, i % 20, 1000 + i, i);
        if (i < 2500)
            add(b, i % 20, 1000 + i, i);
    }
    CU_ASSERT_EQUAL(meet(b, a), EVENT_STEP_DONE);
    CU_ASSERT_TRUE(are_same(a, b));
    CU_ASSERT_EQUAL(items(a, b), 500);
    CU_ASSERT_EQUAL(a->sync.stats.items_received, 0);
    expect_rest(a, b);
    side_free(a);
    side_free(b);
}

/* Goal: many events of one stamp neither hide behind each other nor keep a
 * session from coming to its end. */
static void test_one_stamp_for_all(void)
{
    struct side *a = side_of(10000), *b = side_of(10000);

    for (uint32_t i = 0; i < 3000; i++) {
        if (i % 2 == 0 || i > 2000)
            add(a, i % 30, 77, i);
        if (i % 2 == 1)
            add(b, i % 30, 77, i);
    }
    CU_ASSERT_EQUAL(meet(a, b), EVENT_STEP_DONE);
    CU_ASSERT_TRUE(are_same(a, b));
    CU_ASSERT_EQUAL(timeline_count(a->sync.timeline), 3000);
    expect_rest(a, b);
    side_free(a);
    side_free(b);
}

/* ---------------------------------------------------------------- hostile */

static enum event_step give(struct side *n, const argus_Frame *frame)
{
    struct side *nobody = side_of(1);
    struct actions out = {.emit = on_action, .context = n};

    n->other = nobody;
    enum event_step result =
        event_sync_on_frame(&n->sync, &n->session, 1, frame, &out);
    for (uint32_t i = 0; i < nobody->queued; i++)
        free(nobody->queue[i].bytes);
    side_free(nobody);
    return result;
}

/* Goal: whatever is out of turn, out of order or not asked for ends the
 * session. */
static void test_rules_are_kept(void)
{
    static argus_Frame f;
    struct side *n = side_of(100);

    f.which_body = argus_Frame_event_keys_tag; /* nobody asked */
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_BAD);
    f.which_body = argus_Frame_event_want_tag;
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_BAD);
    f.which_body = argus_Frame_event_items_tag;
    f.body.event_items.payloads_count = 1;
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_BAD);
    f.which_body = argus_Frame_ping_tag;
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_BAD);

    memset(&f, 0, sizeof f);
    f.which_body = argus_Frame_event_digest_tag;
    argus_EventDigest *d = &f.body.event_digest;
    d->retain = 100;
    d->has_from = true;
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_BAD); /* no range */
    d->ranges_count = 2;
    CU_ASSERT_EQUAL(give(n, &f),
                    EVENT_STEP_BAD); /* the first goes to the end */
    d->ranges[0].has_to = true;
    d->from.hlc = 5;
    d->ranges[0].to.hlc = 4;
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_BAD); /* backwards */
    d->ranges[0].to.hlc = 6;
    d->ranges[0].to.origin.size = 3;
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_BAD); /* no place */
    d->ranges[0].to.origin.size = 0;
    d->retain = 0;
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_BAD);
    d->retain = 100;
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_ON); /* sound, and the same */
    d->ranges[1].count = 1;
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_ON);
    CU_ASSERT_EQUAL(give(n, &f), EVENT_STEP_BAD); /* it is for a Want now */
    side_free(n);
}

/* Goal: a forged event among those that come ends the session and enters no
 * timeline. */
static void test_forged_event_ends_it(void)
{
    struct side *a = side_of(100), *b = side_of(100);

    for (uint32_t i = 0; i < 10; i++)
        add(a, 1, 1000 + i, i);
    b->has_damage = true;
    CU_ASSERT_EQUAL(meet(b, a), EVENT_STEP_BAD);
    CU_ASSERT_EQUAL(timeline_count(b->sync.timeline), 0);
    CU_ASSERT_EQUAL(meet(a, b), EVENT_STEP_BAD);
    CU_ASSERT_EQUAL(timeline_count(b->sync.timeline), 0);
    side_free(a);
    side_free(b);
}

/* Goal: an event that lay on disk and is not what was signed is never handed
 * on, and goes; the sound ones beside it are handed on. */
static void test_damage_from_disk_does_not_spread(void)
{
    struct side *a = side_of(100), *b = side_of(100);
    argus_Statement s = {.which_body = argus_Statement_event_tag};
    struct node_id id = origin_of(3);
    uint8_t payload[SEALED_SIZE_MAX];

    for (uint32_t i = 0; i < 3; i++) {
        s.body.event.number = i;
        s.body.event.hlc = (uint64_t)(1000 + i) << 16;
        struct timeline_input in = {.origin = &id,
                                    .event = &s.body.event,
                                    .payload = payload,
                                    .size = fake_close(&id, &s, payload),
                                    .is_unproven = true};
        if (i == 1)
            payload[40] ^= 1; /* in the signature */
        CU_ASSERT_EQUAL(timeline_add(a->sync.timeline, &in, NULL),
                        TIMELINE_ADDED);
    }
    CU_ASSERT_EQUAL(meet(b, a), EVENT_STEP_DONE);
    CU_ASSERT_EQUAL(timeline_count(b->sync.timeline), 2);
    CU_ASSERT_EQUAL(timeline_count(a->sync.timeline), 2);
    CU_ASSERT_EQUAL(timeline_stats(a->sync.timeline)->event_damaged, 1);
    expect_rest(a, b);
    side_free(a);
    side_free(b);
}

CU_TestInfo suite_event_sync[] = {
    {"newcomer_gets_all_once", test_newcomer_gets_all_once},
    {"an_hour_apart_is_exchanged", test_an_hour_apart_is_exchanged},
    {"gaps_everywhere_are_filled", test_gaps_everywhere_are_filled},
    {"different_retain_comes_to_rest", test_different_retain_comes_to_rest},
    {"what_is_too_old_is_not_offered", test_what_is_too_old_is_not_offered},
    {"one_stamp_for_all", test_one_stamp_for_all},
    {"rules_are_kept", test_rules_are_kept},
    {"forged_event_ends_it", test_forged_event_ends_it},
    {"damage_from_disk_does_not_spread", test_damage_from_disk_does_not_spread},
    CU_TEST_INFO_NULL,
};
