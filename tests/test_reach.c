/* test_reach.c - whether others can dial this node where it says. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "core/reach.h"

static struct {
    uint32_t neighbors;
    struct reach reach;
    uint64_t now;
    /* what it asked for, and of whom */
    unsigned checks, dials, warnings, notices, answers;
    argus_AddressCheck check;
    argus_AddressResult answer;
    link_id to;
    dial_id dial;
    uint8_t expected;
    char moved[ADDRESS_SIZE], log[512];
} it;

static void on_action(void *context, const struct action *a)
{
    (void)context;
    if (a->type == ACTION_DIAL) {
        CU_ASSERT_EQUAL(a->dial.kind, argus_LinkKind_LINK_PROBE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(a->dial.expected);
        it.expected = a->dial.expected->bytes[0];
        it.dial = a->dial.dial;
        it.dials++;
    } else if (a->type == ACTION_LOG) {
        it.warnings += a->log.level == LOG_LEVEL_WARNING;
        it.notices += a->log.level == LOG_LEVEL_NOTICE;
        (void)snprintf(it.log, sizeof it.log, "%s", a->log.line);
    } else if (a->type == ACTION_SEND) {
        it.to = a->send.link;
        if (a->send.frame->which_body == argus_Frame_address_check_tag) {
            it.check = a->send.frame->body.address_check;
            it.checks++;
        } else {
            it.answer = a->send.frame->body.address_result;
            it.answers++;
        }
    }
}

static struct actions out = {.emit = on_action};

/* Neighbor i has the id and the link i + 1. */
static bool any_neighbor(void *context, uint32_t pick,
                         const struct node_id *but, link_id *link,
                         struct node_id *id)
{
    (void)context;
    for (uint32_t i = 0; i < it.neighbors; i++) {
        uint32_t at = (pick % it.neighbors + i) % it.neighbors + 1;
        if (it.neighbors > 1 && but->bytes[0] == at)
            continue;
        *link = at;
        *id = (struct node_id){{(uint8_t)at}};
        return true;
    }
    return false;
}

static void on_moved(void *context, const char *address, struct actions *o)
{
    (void)context;
    (void)o;
    (void)snprintf(it.moved, sizeof it.moved, "%s", address);
}

static void start(uint32_t neighbors, const char *own)
{
    const struct reach_options options = {
        .seed = test_seed(), .is_on = true, .listen_port = 7};
    const struct reach_listener listener = {NULL, any_neighbor, on_moved};

    memset(&it, 0, sizeof it);
    it.neighbors = neighbors;
    it.now = 1000;
    reach_init(&it.reach, &options, &listener);
    reach_set_own(&it.reach, it.now, own);
    CU_ASSERT_EQUAL(reach_deadline_ms(&it.reach), UINT64_MAX);
    reach_neighbor_up(&it.reach, it.now);
}

static void next(void)
{
    CU_ASSERT_TRUE(reach_deadline_ms(&it.reach) >= it.now);
    it.now = reach_deadline_ms(&it.reach);
    reach_on_timeout(&it.reach, it.now, &out);
}

static void result(link_id from, uint32_t number, argus_AddressOutcome outcome)
{
    const struct node_id id = {{(uint8_t)from}};
    argus_Frame f = {.which_body = argus_Frame_address_result_tag};

    f.body.address_result =
        (argus_AddressResult){.number = number, .outcome = outcome};
    reach_on_frame(&it.reach, it.now, from, &id, "web-1", &f, &out);
}

/* The next question, which has to be for that address, and its answer. */
static link_id ask(const char *address, argus_AddressOutcome outcome)
{
    unsigned before = it.checks;

    next();
    CU_ASSERT_EQUAL(it.checks, before + 1);
    CU_ASSERT_STRING_EQUAL(it.check.address, address);
    link_id asked = it.to;
    result(asked, it.check.number, outcome);
    return asked;
}

#define REACHED argus_AddressOutcome_ADDRESS_REACHED
#define REFUSED argus_AddressOutcome_ADDRESS_REFUSED

static const char *state(void)
{
    return reach_state_name(&it.reach);
}

/* Goal: a good address costs one question, and another one half an hour later;
 * the log is silent. */
static void test_good_address_is_asked_once(void)
{
    start(3, "10.0.0.1:7");
    CU_ASSERT_STRING_EQUAL(state(), "unchecked");
    (void)ask("10.0.0.1:7", REACHED);
    CU_ASSERT_STRING_EQUAL(state(), "reachable");
    CU_ASSERT_TRUE(reach_deadline_ms(&it.reach) >= it.now + REACH_GOOD_MS / 2);
    reach_neighbor_up(&it.reach, it.now); /* further ones: nothing new */
    CU_ASSERT_TRUE(reach_deadline_ms(&it.reach) >= it.now + REACH_GOOD_MS / 2);
    (void)ask("10.0.0.1:7", REACHED);
    CU_ASSERT_EQUAL(it.warnings + it.notices, 0);
    CU_ASSERT_STRING_EQUAL(it.moved, "");
}

/* Goal: two neighbors must have failed; then peers are told where they see this
 * node, if that works, with one line in the log; and the address comes back
 * once it is good. */
static void test_bad_address_gives_way(void)
{
    start(3, "10.9.9.9:7");
    reach_on_observed(&it.reach, "10.0.0.1");
    link_id first = ask("10.9.9.9:7", REFUSED);
    CU_ASSERT_STRING_EQUAL(state(), "unchecked");
    CU_ASSERT_NOT_EQUAL(ask("10.9.9.9:7", REFUSED), first);
    CU_ASSERT_EQUAL(it.warnings, 0);
    (void)ask("10.0.0.1:7", REACHED);
    CU_ASSERT_STRING_EQUAL(state(), "elsewhere");
    CU_ASSERT_STRING_EQUAL(it.moved, "10.0.0.1:7");
    CU_ASSERT_EQUAL(it.warnings, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(it.log, "10.9.9.9:7"));
    CU_ASSERT_PTR_NOT_NULL(strstr(it.log, "web-1 says: nothing listens"));
    CU_ASSERT_PTR_NOT_NULL(strstr(it.log, "10.0.0.1:7"));

    it.moved[0] = '\0';
    for (int i = 0; i < 3; i++) { /* it is as it was: not said again */
        (void)ask("10.9.9.9:7", REFUSED);
        (void)ask("10.9.9.9:7", REFUSED);
        (void)ask("10.0.0.1:7", REACHED);
    }
    CU_ASSERT_EQUAL(it.warnings, 1);
    CU_ASSERT_STRING_EQUAL(it.moved, "");
    (void)ask("10.9.9.9:7", REACHED);
    CU_ASSERT_STRING_EQUAL(state(), "reachable");
    CU_ASSERT_STRING_EQUAL(it.moved, "10.9.9.9:7");
    CU_ASSERT_EQUAL(it.notices, 1);
}

/* Goal: the only neighbor suffices; without another address the own one stays,
 * and is told to be bad once. */
static void test_bad_address_without_another(void)
{
    static const char *const seen[] = {"fe80::1", "10.0.0.1"};

    for (size_t i = 0; i < 2; i++) { /* of one link only; and as told */
        start(1, "10.0.0.1:7");
        reach_on_observed(&it.reach, seen[i]);
        (void)ask("10.0.0.1:7", argus_AddressOutcome_ADDRESS_SILENT);
        CU_ASSERT_STRING_EQUAL(state(), "unreachable");
        CU_ASSERT_EQUAL(it.warnings, 1);
        CU_ASSERT_STRING_EQUAL(it.moved, "");
        (void)ask("10.0.0.1:7", argus_AddressOutcome_ADDRESS_OTHER);
        CU_ASSERT_EQUAL(it.warnings, 1);
    }
    start(1, "10.9.9.9:7");
    reach_on_observed(&it.reach, "10.0.0.1");
    (void)ask("10.9.9.9:7", argus_AddressOutcome_ADDRESS_UNUSABLE);
    (void)ask("10.0.0.1:7", REFUSED);
    CU_ASSERT_STRING_EQUAL(state(), "unreachable");
    CU_ASSERT_PTR_NOT_NULL(strstr(it.log, ", nor at 10.0.0.1:7"));
}

/* Goal: answers that nobody asked for, late ones, none at all, and no neighbor
 * leave all as it is. */
static void test_only_the_asked_answers(void)
{
    start(2, "10.0.0.1:7");
    result(1, 0, REFUSED);
    next();
    link_id asked = it.to;
    result(3 - asked, it.check.number, REFUSED);
    result(asked, it.check.number + 1, REFUSED);
    CU_ASSERT_EQUAL(it.reach.stats.denied, 0);
    next(); /* no answer */
    CU_ASSERT_EQUAL(it.reach.stats.unanswered, 1);
    result(asked, it.check.number, REFUSED);
    CU_ASSERT_EQUAL(it.reach.stats.denied, 0);
    (void)ask("10.0.0.1:7", argus_AddressOutcome_ADDRESS_BUSY);
    it.neighbors = 0;
    for (int i = 0; i < 5; i++)
        next();
    CU_ASSERT_EQUAL(it.checks, 2);
    it.neighbors = 1;
    reach_set_own(&it.reach, it.now, ":7"); /* no host yet */
    for (int i = 0; i < 5; i++)
        next();
    CU_ASSERT_EQUAL(it.checks, 2);
    CU_ASSERT_STRING_EQUAL(state(), "unchecked");
}

static void check(link_id from, uint32_t number, const char *address)
{
    const struct node_id id = {{(uint8_t)from}};
    argus_Frame f = {.which_body = argus_Frame_address_check_tag};

    f.body.address_check.number = number;
    (void)snprintf(f.body.address_check.address,
                   sizeof f.body.address_check.address, "%s", address);
    reach_on_frame(&it.reach, it.now, from, &id, "web-1", &f, &out);
}

/* Goal: a neighbor's address is dialed for its id, and the outcome goes to who
 * asked; how many at once, and a second, is bounded. */
static void test_neighbors_are_served(void)
{
    const struct {
        enum link_end why;
        argus_RefuseCode code;
        argus_AddressOutcome outcome;
    } ends[] = {
        {LINK_END_REFUSED, 0, REFUSED},
        {LINK_END_TIMEOUT, 0, argus_AddressOutcome_ADDRESS_SILENT},
        {LINK_END_RESET, 0, argus_AddressOutcome_ADDRESS_SILENT},
        {LINK_END_LOCAL, 0, argus_AddressOutcome_ADDRESS_UNUSABLE},
        {LINK_END_DENIED, argus_RefuseCode_REFUSE_WRONG_ID,
         argus_AddressOutcome_ADDRESS_OTHER},
        {LINK_END_DENIED, argus_RefuseCode_REFUSE_BUSY,
         argus_AddressOutcome_ADDRESS_BUSY},
    };

    start(1, "10.0.0.1:7");
    check(5, 77, "10.0.0.5:7");
    CU_ASSERT_EQUAL(it.dials, 1);
    CU_ASSERT_EQUAL(it.dial >> 56, REACH_DIAL_TAG);
    CU_ASSERT_EQUAL(it.expected, 5);
    reach_on_dialed(&it.reach, it.dial, &out);
    CU_ASSERT_EQUAL(it.to, 5);
    CU_ASSERT_EQUAL(it.answer.number, 77);
    CU_ASSERT_EQUAL(it.answer.outcome, REACHED);
    reach_on_dialed(&it.reach, it.dial, &out); /* over and done */
    CU_ASSERT_EQUAL(it.answers, 1);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        it.now += 1000;
        check(5, 1, "10.0.0.5:7");
        reach_on_dial_failed(&it.reach, it.dial, ends[i].why, ends[i].code,
                             &out);
        CU_ASSERT_EQUAL(it.answer.outcome, ends[i].outcome);
    }

    it.now += 60000;
    unsigned before = it.dials;
    for (uint32_t i = 0; i < 100; i++)
        check(6, i, "10.0.0.6:7");
    CU_ASSERT_EQUAL(it.dials, before + REACH_BURST);
    CU_ASSERT_EQUAL(it.reach.stats.refused, 100 - REACH_BURST);
    CU_ASSERT_EQUAL(it.answer.outcome, argus_AddressOutcome_ADDRESS_BUSY);
    it.now += 60000;
    check(7, 1, ":7");
    CU_ASSERT_EQUAL(it.dials, before + REACH_BURST);
}

CU_TestInfo suite_reach[] = {
    {"good_address_is_asked_once", test_good_address_is_asked_once},
    {"bad_address_gives_way", test_bad_address_gives_way},
    {"bad_address_without_another", test_bad_address_without_another},
    {"only_the_asked_answers", test_only_the_asked_answers},
    {"neighbors_are_served", test_neighbors_are_served},
    CU_TEST_INFO_NULL,
};
