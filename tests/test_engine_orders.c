/* test_engine_orders.c - orders of operators in a small mesh: all nodes end
 * with the same, whoever was away, apart or restarted. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "sim/sim_impl.h"

static struct sim *sim;

static bool is_known(struct sim *s)
{
    return sim_all_joined(s) && sim_all_known(s);
}

static void set_up(uint32_t nodes)
{
    sim = sim_new(&(struct sim_options){
        .seed = test_seed(), .nodes = nodes, .aggregators = 1});
    CU_ASSERT_PTR_NOT_NULL_FATAL(sim);
    CU_ASSERT_TRUE(sim_run_until(sim, is_known, 5000));
    sim_run(sim, 5000);
}

static void tear_down(void)
{
    if (sim_failure(sim) != NULL)
        printf("  %s\n", sim_failure(sim));
    CU_ASSERT_PTR_NULL(sim_failure(sim));
    sim_free(sim);
}

static const struct engine *engine(uint32_t node)
{
    return sim->nodes[node]->engine;
}

static const struct member *member(uint32_t at, uint32_t node)
{
    return directory_find(engine(at)->directory, &sim->nodes[node]->id);
}

static argus_Order revoke(const char *whom)
{
    argus_Order o = {.which_body = argus_Order_revoked_tag};

    for (; *whom != '\0'; whom++)
        kit_operator_id((uint8_t)(*whom - '0'),
                        o.body.revoked.keys[o.body.revoked.keys_count++]);
    return o;
}

static argus_Order forget(uint32_t node, uint32_t generation, uint32_t version)
{
    argus_Order o = {.which_body = argus_Order_forgotten_tag};
    argus_ForgottenNode *f = &o.body.forgotten.nodes[0];

    o.body.forgotten.nodes_count = 1;
    memcpy(f->id, sim->nodes[node]->id.bytes, NODE_ID_SIZE);
    f->generation = generation;
    f->version = version;
    return o;
}

static argus_Order keys(uint8_t dial, uint8_t removed)
{
    argus_Order o = {.which_body = argus_Order_keys_tag};

    o.body.keys.dial.size = dial != 0 ? 8 : 0;
    memset(o.body.keys.dial.bytes, dial, 8);
    o.body.keys.removed_count = removed != 0;
    memset(o.body.keys.removed[0], removed, 8);
    return o;
}

/* A push with the reason of its refusal. */
static int give(uint32_t node, uint8_t by, const argus_Order *o,
                struct argus_error *err)
{
    argus_SignedBundle b;
    struct bundle_view head;
    enum order_kind kind = order_kind_of_body(o);
    bool has = engine_order(engine(node), kind, &head);
    int result = ARGUS_OK;
    struct event ev = {.type = EVENT_BUNDLE_PUSH,
                       .bundle_push = {&b, &result, err}};

    kit_order(by, o, has ? head.manifest->version + 1 : 1,
              has ? head.hash : NULL, &b);
    sim_step(sim, sim->nodes[node], &ev);
    sim_run(sim, 500);
    return result;
}

static void set_keys(uint32_t node, uint8_t first, uint8_t second)
{
    argus_HeldKey held[2] = {{.dial = true}, {.dial = false}};
    struct event ev = {.type = EVENT_KEYS, .keys = {held, second != 0 ? 2 : 1}};

    memset(held[0].id, first, 8);
    memset(held[1].id, second, 8);
    sim_step(sim, sim->nodes[node], &ev);
}

static bool is_revoked(uint32_t node, uint8_t operator_number)
{
    struct operator_view v;

    return engine_operator(engine(node), operator_number - 1u, &v) &&
           v.is_named && v.is_revoked;
}

/* ------------------------------------------------------------- revocation */

/* Goal: two operators revoke each other and a third pushes on in two halves of
 * a mesh that cannot hear each other; once they can, all agree, also who was
 * down all the while and who starts again. */
static void test_all_agree_on_trust(void)
{
    argus_Order r1 = revoke("1"), r2 = revoke("2");
    bool removed;

    set_up(12);
    CU_ASSERT_EQUAL(sim_push(sim, 0, "web", 500), ARGUS_OK); /* operator 1 */
    CU_ASSERT_TRUE(sim_run_until(sim, sim_all_bundles, 3000));
    sim_crash(sim, 11);
    sim_partition(sim, 6);
    CU_ASSERT_EQUAL(sim_order(sim, 0, 1, &r2), ARGUS_OK);
    CU_ASSERT_EQUAL(sim_order(sim, 8, 2, &r1), ARGUS_OK);
    sim_run(sim, 20000);
    CU_ASSERT_TRUE(is_revoked(3, 2) && !is_revoked(3, 1));
    CU_ASSERT_TRUE(is_revoked(9, 1) && !is_revoked(9, 2));
    CU_ASSERT_FALSE(sim_all_bundles(sim));
    CU_ASSERT_EQUAL(sim_push(sim, 9, "new", 10), ARGUS_EDENIED);
    sim_heal(sim);
    CU_ASSERT_TRUE(sim_run_until(sim, sim_all_bundles, 60000));
    sim_restart(sim, 11);
    sim_crash(sim, 4);
    sim_run(sim, 5000);
    sim_restart(sim, 4);
    CU_ASSERT_TRUE(sim_run_until(sim, is_known, 20000));
    CU_ASSERT_TRUE(sim_run_until(sim, sim_all_bundles, 60000));
    for (uint32_t i = 0; i < 12; i++) {
        struct bundle_view v;
        CU_ASSERT_TRUE(is_revoked(i, 1) && is_revoked(i, 2));
        CU_ASSERT_FALSE(is_revoked(i, 3));
        CU_ASSERT_EQUAL(sim_bundle(sim, i, "web", &removed), 1);
        CU_ASSERT_TRUE(engine_bundle(engine(i), 0, 0, &v));
        CU_ASSERT_TRUE(v.is_revoked && !v.is_trusted);
        CU_ASSERT_FALSE(engine_bundle(engine(i), 1, 0, &v)); /* no orders */
    }
    tear_down();
}

/* Goal: what an order says of revoked keys may only grow at a push. */
static void test_revocation_is_carried_on(void)
{
    struct argus_error err = {{0}};
    argus_Order one = revoke("3"), less = revoke("9"), more = revoke("39");

    set_up(3);
    CU_ASSERT_EQUAL(give(0, 1, &one, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(give(1, 2, &less, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "what is revoked stays so"));
    CU_ASSERT_EQUAL(give(1, 3, &more, &err), ARGUS_EDENIED); /* itself */
    CU_ASSERT_EQUAL(give(1, 2, &more, &err), ARGUS_OK);
    CU_ASSERT_TRUE(sim_run_until(sim, sim_all_bundles, 2000));
    tear_down();
}

/* ------------------------------------------------------------- forgotten */

static bool nobody_knows_three(struct sim *s)
{
    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (sim_is_alive(s, i) && i != 3 && member(i, 3) != NULL)
            return false;
    return true;
}

/* Goal: a node that is down is forgotten everywhere, also by who was down at
 * the order, whose disk still has it, and does not come back from there; when
 * it lives again, all know it. While it is online it cannot be forgotten. */
static void test_forgotten_everywhere(void)
{
    struct argus_error err = {{0}};

    set_up(8);
    const struct member *m = member(0, 3);
    argus_Order o = forget(3, m->generation, m->version);
    CU_ASSERT_EQUAL(give(0, 1, &o, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "n3 is online"));
    sim_keep_disk(sim, 5);
    sim_crash(sim, 3);
    CU_ASSERT_TRUE(sim_run_until(sim, sim_all_known, 20000));
    sim_stop(sim, 5);
    sim_run(sim, 2000);
    m = member(0, 3);
    o = forget(3, m->generation, m->version + 1);
    CU_ASSERT_EQUAL(give(0, 1, &o, &err), ARGUS_EBUSY);
    o = forget(3, m->generation, m->version);
    CU_ASSERT_EQUAL(give(0, 1, &o, &err), ARGUS_OK);
    CU_ASSERT_TRUE(sim_run_until(sim, nobody_knows_three, 2000));
    CU_ASSERT_EQUAL(give(1, 2, &o, &err), ARGUS_OK); /* carried on */
    sim_old_disk(sim, 5);
    sim_restart(sim, 5);
    CU_ASSERT_TRUE(sim_run_until(sim, is_known, 10000));
    sim_run(sim, 120000); /* anti-entropy with each other */
    CU_ASSERT_TRUE(nobody_knows_three(sim));
    o.body.forgotten.nodes[0].version++;
    CU_ASSERT_EQUAL(give(0, 1, &o, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "it may be forgotten already"));
    sim_restart(sim, 3);
    CU_ASSERT_TRUE(sim_run_until(sim, is_known, 20000));
    tear_down();
}

/* Goal: half a mesh believes the other half dead and forgets a node of it; that
 * node finds out and is known to all again. */
static void test_forgotten_by_mistake(void)
{
    set_up(8);
    sim_partition(sim, 4);
    sim_run(sim, 60000);
    const struct member *m = member(0, 6);
    CU_ASSERT_EQUAL(m->state, argus_MemberState_MEMBER_OFFLINE);
    argus_Order o = forget(6, m->generation, m->version);
    CU_ASSERT_EQUAL(sim_order(sim, 0, 1, &o), ARGUS_OK);
    CU_ASSERT_PTR_NULL(member(0, 6));
    sim_heal(sim);
    CU_ASSERT_TRUE(sim_run_until(sim, is_known, 120000));
    tear_down();
}

/* ------------------------------------------------------------------ keys */

/* Goal: an order about keys tells every owner once, also after a restart, and
 * is refused while it would cut somebody off, with the names. */
static void test_keys_are_safe(void)
{
    struct argus_error err = {{0}};
    argus_Order use = keys(2, 0), remove = keys(2, 1);

    set_up(6);
    for (uint32_t i = 0; i < 6; i++)
        set_keys(i, 1, i < 4 ? 2 : 0);
    sim_run(sim, 2000);
    CU_ASSERT_EQUAL(give(0, 1, &use, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "n4 does not hold it"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "n5 does not hold it"));
    CU_ASSERT_PTR_NULL(strstr(err.text, "n3"));
    set_keys(4, 1, 2);
    sim_crash(sim, 5); /* who is away is not asked */
    sim_run(sim, 20000);
    CU_ASSERT_EQUAL(member(0, 5)->state, argus_MemberState_MEMBER_OFFLINE);
    CU_ASSERT_EQUAL(give(0, 1, &use, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(give(2, 1, &remove, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "dials with it"));
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(sim->nodes[i]->keys_told, 1);
        set_keys(i, 2, 1);
    }
    sim_run(sim, 2000);
    CU_ASSERT_EQUAL(give(2, 1, &remove, &err), ARGUS_OK);
    sim_restart(sim, 5);
    CU_ASSERT_TRUE(sim_run_until(sim, sim_all_bundles, 60000));
    for (uint32_t i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(sim->nodes[i]->keys_told, 2);
    CU_ASSERT_TRUE(sim->nodes[5]->keys_told >= 1);
    sim_crash(sim, 0);
    sim_run(sim, 1000);
    sim_restart(sim, 0);
    sim_run(sim, 10);
    CU_ASSERT_EQUAL(sim->nodes[0]->keys_told, 3); /* from its disk */
    tear_down();
}

#define ROW(name)                                                              \
    {                                                                          \
#name, test_##name                                                     \
    }
/* ------------------------------------------------------------------ clock */

static argus_Order begin_epoch(uint32_t epoch)
{
    return (argus_Order){.which_body = argus_Order_clock_tag,
                         .body.clock = {.epoch = epoch}};
}

/* The longest between two pings of a link: PingInterval and its jitter, and a
 * round trip. */
#define PING_MAX_MS 2500

/* How far the next stamp of a node would be ahead of the true time, ms. */
static int64_t ahead_ms(uint32_t node)
{
    static argus_StatusReply r;
    uint64_t wall_us = sim_wall_us(sim, sim->nodes[node]);
    uint64_t true_us = wall_us - (uint64_t)sim_clock_error(sim, node);

    engine_status(engine(node), engine(node)->now_ms, wall_us, &r);
    return (int64_t)(r.hlc >> 16) - (int64_t)(true_us / 1000);
}

static uint32_t epoch_of(uint32_t node)
{
    return clock_epoch(overlay_clock(engine(node)->overlay));
}

static void note(uint32_t node, const char *text)
{
    argus_Event e = argus_Event_init_zero;
    uint64_t hlc, number;
    struct event ev = {.type = EVENT_NOTICE,
                       .notice = {&e, true, &hlc, &number}};

    e.severity = argus_Severity_SEVERITY_WARNING;
    (void)snprintf(e.message, sizeof e.message, "%s", text);
    sim_step(sim, sim->nodes[node], &ev);
    CU_ASSERT_NOT_EQUAL(hlc, 0);
}

/* Place of an event on the timeline of a node; -1: it is not there. */
static int place_of(uint32_t node, const char *text)
{
    argus_EventReply out;

    for (uint32_t i = 0; engine_event(engine(node), i, &out); i++)
        if (strcmp(out.event.message, text) == 0)
            return (int)i;
    return -1;
}

/* Goal: clocks that ran an hour ahead, and were mended, leave stamps that are
 * an hour ahead. A reset brings them back on every node, also on one that was
 * down and on one that starts again; events of before stay before. Replayed,
 * given twice or with a number too far ahead it does nothing. */
static void test_clock_epoch_brings_stamps_back(void)
{
    struct argus_error err = {{0}};
    argus_Order first = begin_epoch(1), far = begin_epoch(5000);
    const int64_t hour_us = INT64_C(3600000000);

    set_up(8);
    for (uint32_t i = 0; i < 8; i++)
        sim_clock_step(sim, i, hour_us);
    sim_run(sim, 20000);
    note(1, "of the old epoch");
    sim_run(sim, 3000);
    for (uint32_t i = 0; i < 8; i++)
        sim_clock_step(sim, i, -hour_us);
    sim_run(sim, 60000);
    CU_ASSERT_TRUE(ahead_ms(0) > 3000000 && ahead_ms(5) > 3000000);

    sim_crash(sim, 7);
    CU_ASSERT_EQUAL(give(0, 1, &far, &err), ARGUS_EDENIED);
    CU_ASSERT_EQUAL(give(0, 1, &first, &err), ARGUS_OK);
    sim_run(sim, 5000);
    for (uint32_t i = 0; i < 7; i++) {
        CU_ASSERT_EQUAL(epoch_of(i), 1);
        CU_ASSERT_TRUE(ahead_ms(i) < 1000);
    }
    CU_ASSERT_EQUAL(give(3, 1, &first, &err), ARGUS_EBUSY);
    note(2, "of the new epoch");
    sim_run(sim, 3000);
    for (uint32_t i = 0; i < 7; i++) {
        CU_ASSERT_TRUE(place_of(i, "of the old epoch") >= 0);
        CU_ASSERT_TRUE(place_of(i, "of the old epoch") <
                       place_of(i, "of the new epoch"));
    }

    sim_start(sim, 7);
    sim_crash(sim, 3);
    sim_run(sim, 1000);
    sim_start(sim, 3);
    CU_ASSERT_TRUE(sim_run_until(sim, is_known, 60000));
    sim_run(sim, 5000);
    CU_ASSERT_EQUAL(epoch_of(7), 1);
    CU_ASSERT_EQUAL(epoch_of(3), 1);
    CU_ASSERT_TRUE(ahead_ms(7) < 1000 && ahead_ms(3) < 1000);
    tear_down();
}

/* Goal: one clock of eight is off: its node alarms, all list it and no other;
 * its own stamps follow the others'; once it is right all is well again. */
static uint32_t alarmed_at(uint32_t node)
{
    argus_ClockNodeReply row;
    uint32_t count = 0;

    for (uint32_t i = 0; engine_clock_node(engine(node), &i, &row); i++) {
        CU_ASSERT_TRUE(row.offset_s < -4.5 && row.offset_s > -5.5);
        count++;
    }
    return count;
}

static bool is_alarm_known(struct sim *s)
{
    (void)s;
    for (uint32_t i = 0; i < 8; i++)
        if (alarmed_at(i) == 0)
            return false;
    return true;
}

static bool is_alarm_over(struct sim *s)
{
    (void)s;
    for (uint32_t i = 0; i < 8; i++)
        if (alarmed_at(i) != 0)
            return false;
    return true;
}

static void test_clock_alarm_is_known_everywhere(void)
{
    set_up(8);
    sim_clock_step(sim, 5, -5000000);
    CU_ASSERT_TRUE(sim_run_until(sim, is_alarm_known, 300000));
    sim_run(sim, 30000);
    for (uint32_t i = 0; i < 8; i++) {
        argus_ClockReply c;
        engine_clock(engine(i), engine(i)->now_ms, engine(i)->wall_us, &c);
        CU_ASSERT_EQUAL(c.alarm, i == 5);
        CU_ASSERT_EQUAL(alarmed_at(i), 1);
        /* Who is behind knows as of the last frame that came. */
        CU_ASSERT_TRUE(ahead_ms(i) < 1000 && ahead_ms(i) > -PING_MAX_MS);
    }
    note(0, "before");
    sim_run(sim, 2000);
    note(5, "by the one that is wrong");
    sim_run(sim, 2000);
    note(1, "after");
    sim_run(sim, 2000);
    for (uint32_t i = 0; i < 8; i++) {
        int at = place_of(i, "by the one that is wrong");
        CU_ASSERT_TRUE(place_of(i, "before") < at);
        CU_ASSERT_TRUE(at < place_of(i, "after"));
    }
    sim_clock_step(sim, 5, 5000000);
    CU_ASSERT_TRUE(sim_run_until(sim, is_alarm_over, 300000));
    tear_down();
}

CU_TestInfo suite_engine_orders[] = {
    {"clock_epoch_brings_stamps_back", test_clock_epoch_brings_stamps_back},
    {"clock_alarm_is_known_everywhere", test_clock_alarm_is_known_everywhere},
    ROW(all_agree_on_trust),
    ROW(revocation_is_carried_on),
    ROW(forgotten_everywhere),
    ROW(forgotten_by_mistake),
    ROW(keys_are_safe),
    CU_TEST_INFO_NULL,
};
