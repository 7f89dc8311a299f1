/* What an aggregator tells its collectd: of nodes that go and come, of another
 * of its name (core/engine_alarms.c), of events of other nodes that
 * anti-entropy brings (core/engine_events.c). */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/engine_impl.h"
#include "directory_net.h" /* the stand-in for a seal */
#include "sim/bundle_kit.h"

#define START_US UINT64_C(1700000000000000)
#define OFFLINE argus_MemberState_MEMBER_OFFLINE

static struct {
    struct engine *e;
    uint64_t now_ms;
    uint32_t notified, timeline, logged;
    argus_Event last;
    uint32_t versions[64];
    uint64_t back_us; /* the wall clock was set back by so much */
    uint64_t born_ms;
    uint8_t row[1024]; /* the event that went to disk last */
    size_t row_size;
} at;

static void on_action(void *context, const struct action *a)
{
    (void)context;
    if (a->type == ACTION_NOTIFY) {
        at.notified++;
        at.last = *a->event.event;
    } else if (a->type == ACTION_TIMELINE) {
        at.timeline++;
    } else if (a->type == ACTION_LOG) {
        at.logged += strstr(a->log.line, "two nodes are named") != NULL;
    } else if (a->type == ACTION_STORE && a->store.what == STORE_EVENT &&
               a->store.data != NULL) {
        CU_ASSERT_TRUE_FATAL(a->store.size <= sizeof at.row);
        memcpy(at.row, a->store.data, a->store.size);
        at.row_size = a->store.size;
    }
}

static struct actions out = {.emit = on_action};
static struct kit_chunks chunks; /* no bundle comes here */

static void describe(const void *set, argus_SeriesDef *def)
{
    (void)set;
    def->sources_count = 1;
}

static void seal_hash(const uint8_t *data, size_t size,
                      uint8_t id[CONTENT_ID_SIZE])
{
    static uint8_t count;

    (void)data;
    (void)size;
    memset(id, ++count, CONTENT_ID_SIZE);
}

static void step(struct event event)
{
    event.now_ms = at.now_ms;
    event.wall_us = START_US + at.now_ms * 1000 - at.back_us;
    engine_step(at.e, &event, &out);
}

static void start(argus_Role role)
{
    static struct engine_options o;

    memset(&o, 0, sizeof o);
    o.seal = (struct seal){.context = &o.id,
                           .close = fake_close,
                           .open = fake_open,
                           .hash = seal_hash,
                           .digest = kit_digest,
                           .vouches = kit_vouches};
    o.chunks = kit_store(&chunks);
    o.describe = describe;
    o.id.bytes[0] = 9;
    o.generation = 1;
    (void)snprintf(o.name, sizeof o.name, "self");
    (void)snprintf(o.address, sizeof o.address, "10.0.0.1:25827");
    o.role = role;
    o.active_max = 5;
    o.passive_max = 30;
    o.shuffle_ms = 10000;
    o.ping_ms = 2000;
    o.suspect_ms = 3500;
    o.retain_offline_s = 360000;
    o.spool_bytes_max = 1 << 20;
    o.intake_queue_max = 100;
    o.clock_max_offset_ms = 500;
    o.forward = argus_Severity_SEVERITY_WARNING;
    o.retain_events = 100;
    o.event_rate = 10;
    o.born_ms = at.born_ms;
    CU_ASSERT_EQUAL_FATAL(engine_new(&o, &at.e), ARGUS_OK);
}

static void begin(argus_Role role)
{
    memset(&at, 0, sizeof at);
    start(role);
    step((struct event){.type = EVENT_START});
}

static void end(void)
{
    engine_free(at.e);
}

static void pass(uint64_t ms)
{
    uint64_t until_ms = at.now_ms + ms;

    while (engine_deadline_ms(at.e) <= until_ms) {
        uint64_t due_ms = engine_deadline_ms(at.e);
        at.now_ms = due_ms > at.now_ms ? due_ms : at.now_ms;
        step((struct event){.type = EVENT_TIMEOUT});
    }
    at.now_ms = until_ms;
    step((struct event){.type = EVENT_TIMEOUT});
}

static struct node_id id_of(uint32_t n)
{
    struct node_id id = {{0}};

    id.bytes[0] = 1;
    id.bytes[1] = (uint8_t)n;
    return id;
}

/* A word of a node; statements reach the engine outside of its steps here, so
 * it is stepped for what follows. */
static void say(const argus_Statement *s, const struct node_id *author)
{
    static uint8_t packed[SEALED_SIZE_MAX];
    size_t size = fake_close((void *)(uintptr_t)author, s, packed);

    at.e->owner = &out;
    (void)directory_on_statement(at.e->directory, at.now_ms,
                                 START_US + at.now_ms * 1000 - at.back_us,
                                 packed, size, s, author, &out);
    at.e->owner = NULL;
    step((struct event){.type = EVENT_TIMEOUT});
}

static void comes_as(uint32_t n, const char *name, const char *zone)
{
    static argus_Statement s;
    const struct node_id id = id_of(n);

    memset(&s, 0, sizeof s);
    s.which_body = argus_Statement_record_tag;
    argus_NodeRecord *r = &s.body.record;
    r->generation = 1;
    r->version = ++at.versions[n];
    r->started_ms = START_US / 1000;
    r->hlc = (START_US / 1000 + at.now_ms) << 16;
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    /* nobody answers here: such a place is not dialed */
    (void)snprintf(r->address, sizeof r->address, ":%u", n);
    (void)snprintf(r->zone, sizeof r->zone, "%s", zone);
    say(&s, &id);
}

static void comes(uint32_t n, const char *zone)
{
    char name[16];

    (void)snprintf(name, sizeof name, "n%u", n);
    comes_as(n, name, zone);
}

static void goes_by(uint32_t n, uint32_t witness, bool is_proven)
{
    static argus_Statement s;
    const struct node_id id = id_of(n), author = id_of(witness);

    memset(&s, 0, sizeof s);
    s.which_body = argus_Statement_report_tag;
    memcpy(s.body.report.subject, id.bytes, NODE_ID_SIZE);
    s.body.report.generation = 1;
    s.body.report.version = at.versions[n];
    s.body.report.state = OFFLINE;
    s.body.report.hlc = (START_US / 1000 + at.now_ms) << 16;
    s.body.report.proven = is_proven;
    (void)snprintf(s.body.report.reason, sizeof s.body.report.reason,
                   "connection refused");
    say(&s, &author);
}

static void goes(uint32_t n)
{
    goes_by(n, 1, true);
}

static bool tells(const char *text)
{
    return strstr(at.last.message, text) != NULL;
}

/* Goal: one node that goes and comes back is told to collectd on an aggregator,
 * not to the timeline; a clean stop and a leave are told from it; on an agent
 * nothing is told. */
static void test_going_and_coming_is_told_on_aggregators(void)
{
    begin(argus_Role_ROLE_AGGREGATOR);
    for (uint32_t n = 1; n < 9; n++)
        comes(n, "");
    pass(60000);
    CU_ASSERT_EQUAL(at.notified, 0); /* new ones are no news of this kind */
    goes(2);
    pass(5000);
    CU_ASSERT_EQUAL(at.notified, 1);
    CU_ASSERT_TRUE(tells("node n2 is offline: connection refused, says n1"));
    CU_ASSERT_EQUAL(at.last.severity, argus_Severity_SEVERITY_FAILURE);
    CU_ASSERT_STRING_EQUAL(at.last.host, "n2");
    CU_ASSERT_STRING_EQUAL(at.last.node, "self");
    CU_ASSERT_TRUE(at.last.hlc > 0);
    pass(600000);
    comes(2, "");
    pass(5000);
    CU_ASSERT_EQUAL(at.notified, 2);
    CU_ASSERT_TRUE(tells("node n2 is back"));
    CU_ASSERT_EQUAL(at.last.severity, argus_Severity_SEVERITY_OKAY);
    goes_by(3, 3, true); /* its own word */
    pass(5000);
    CU_ASSERT_EQUAL(at.notified, 3);
    CU_ASSERT_TRUE(tells("n3 was stopped"));
    CU_ASSERT_EQUAL(at.last.severity, argus_Severity_SEVERITY_WARNING);
    CU_ASSERT_EQUAL(at.timeline, 0);
    end();

    begin(argus_Role_ROLE_AGENT);
    comes(1, "");
    comes(2, "");
    goes(2);
    pass(60000);
    CU_ASSERT_EQUAL(at.notified, 0);
    end();
}

/* Goal: a whole zone is one notification with number and names, and so are many
 * nodes without one; one that was back before it was told is not told. */
static void test_those_that_go_together_are_told_once(void)
{
    begin(argus_Role_ROLE_AGGREGATOR);
    for (uint32_t n = 1; n < 30; n++)
        comes(n, n < 10 ? "eu/a" : n < 20 ? "eu/b" : "us");
    for (uint32_t n = 10; n < 20; n++) {
        goes(n);
        pass(100);
    }
    pass(5000);
    CU_ASSERT_EQUAL(at.notified, 1);
    CU_ASSERT_TRUE(tells("zone eu/b, all 10 nodes of it, is offline: n10, n1"));
    for (uint32_t n = 20; n < 25; n++)
        goes_by(n, 1, false);
    pass(5000);
    CU_ASSERT_EQUAL(at.notified, 2);
    CU_ASSERT_TRUE(tells("5 nodes are offline"));
    for (uint32_t n = 10; n < 25; n++)
        comes(n, n < 20 ? "eu/b" : "us");
    pass(5000);
    CU_ASSERT_EQUAL(at.notified, 3);
    CU_ASSERT_TRUE(tells("15 nodes are back"));
    goes(2);
    pass(500);
    comes(2, "eu/a");
    pass(60000);
    CU_ASSERT_EQUAL(at.notified, 3);
    end();
}

/* Goal: a node that flaps is told of once as flapping, then not until it was
 * steady, when it is told how it is. */
static void test_flapping_node_is_told_once(void)
{
    begin(argus_Role_ROLE_AGGREGATOR);
    for (uint32_t n = 1; n < 9; n++)
        comes(n, "");
    for (uint32_t i = 0; i < 20; i++) {
        goes(2);
        pass(10000);
        comes(2, "");
        pass(10000);
    }
    CU_ASSERT_EQUAL(at.notified, 2 * ALARMS_FLAPS - 1);
    CU_ASSERT_TRUE(tells("node n2 goes and comes: 3 times"));
    CU_ASSERT_STRING_EQUAL(at.last.type_instance, "flapping");
    pass(ALARMS_FLAP_MS + 120000);
    CU_ASSERT_EQUAL(at.notified, 2 * ALARMS_FLAPS);
    CU_ASSERT_TRUE(tells("node n2 is back"));
    end();
}

static bool is_marked(uint32_t member)
{
    static argus_MemberReply reply;

    for (uint32_t i = 0; engine_member(at.e, i, at.now_ms, START_US, &reply);
         i++)
        if (i == member)
            return reply.namesake;
    return false;
}

/* Goal: another node of our name is told of in the log and by an event, once,
 * and both are marked among the members; a reimaged host is not. */
static void test_two_of_one_name_are_told(void)
{
    begin(argus_Role_ROLE_AGENT);
    comes(1, "");
    comes_as(2, "self", "");
    CU_ASSERT_TRUE(is_marked(0));
    CU_ASSERT_FALSE(is_marked(1));
    CU_ASSERT_TRUE(is_marked(2));
    pass(60000);
    CU_ASSERT_EQUAL(at.timeline, 1);
    CU_ASSERT_EQUAL(at.logged, 1);
    comes_as(2, "self", "");
    pass(60000);
    CU_ASSERT_EQUAL(at.timeline, 1);
    comes_as(2, "other", ""); /* it was given another one, and lost it */
    CU_ASSERT_FALSE(is_marked(0));
    comes_as(2, "self", "");
    pass(60000);
    CU_ASSERT_EQUAL(at.timeline, 2);
    end();
}

/* Goal: a wall clock that is set back by a year harms nobody: who is there
 * stays there, who is gone is still told and remembered. */
static void test_clock_set_back_by_a_year(void)
{
    begin(argus_Role_ROLE_AGGREGATOR);
    for (uint32_t n = 1; n < 9; n++)
        comes(n, "");
    goes(3);
    pass(5000);
    at.back_us = UINT64_C(365) * 86400 * 1000000;
    pass(5000);
    comes(1, "");
    CU_ASSERT_EQUAL(
        directory_count(at.e->directory, argus_MemberState_MEMBER_ONLINE), 8);
    goes(2);
    pass(60000);
    CU_ASSERT_TRUE(tells("node n2 is offline"));
    CU_ASSERT_EQUAL(directory_count(at.e->directory, OFFLINE), 2);
    comes(3, "");
    pass(5000);
    CU_ASSERT_TRUE(tells("node n3 is back"));
    end();
}

/* ------------------------------------------------ events of other nodes */

static argus_Statement happening(uint64_t wall_ms, uint64_t number)
{
    argus_Statement s = {.which_body = argus_Statement_event_tag};

    s.body.event.hlc = wall_ms << 16;
    s.body.event.generation = 1;
    s.body.event.number = number;
    s.body.event.severity = argus_Severity_SEVERITY_WARNING;
    (void)snprintf(s.body.event.message, sizeof s.body.event.message,
                   "event %u", (unsigned)number);
    return s;
}

/* An event as a neighbor's anti-entropy brings it. */
static enum event_taken learns(const argus_Statement *s)
{
    struct node_id author = id_of(1);
    uint8_t packed[SEALED_SIZE_MAX];
    size_t size = fake_close(&author, s, packed);

    at.e->owner = &out;
    enum event_taken taken = at.e->event_sync.take(at.e, packed, size);
    at.e->owner = NULL;
    return taken;
}

/* Goal: an aggregator tells its collectd of an event once, also when it was
 * restarted meanwhile and hears of it anew, and tells of none that came before
 * the age that is worth an alarm or before its own first start.
 * Method: what goes to disk at the first telling is loaded by a second engine,
 * to which a neighbor brings the event again. */
static void test_event_is_told_once_over_a_restart(void)
{
    const uint64_t now_ms = START_US / 1000 + 5000;
    argus_Statement s = happening(now_ms - 1000, 1);

    begin(argus_Role_ROLE_AGGREGATOR);
    comes(1, "");
    pass(5000);
    CU_ASSERT_EQUAL(learns(&s), EVENT_TAKEN_NEW);
    CU_ASSERT_EQUAL(at.notified, 1);
    CU_ASSERT_EQUAL(learns(&s), EVENT_TAKEN_OLD);
    CU_ASSERT_EQUAL(at.notified, 1);
    end();

    CU_ASSERT_TRUE_FATAL(at.row_size > 0);
    start(argus_Role_ROLE_AGGREGATOR);
    step((struct event){
        .type = EVENT_EVENT_ROW,
        .event_row = {.data = at.row, .size = (uint32_t)at.row_size}});
    step((struct event){.type = EVENT_START});
    at.versions[1] = 0;
    comes(1, "");
    CU_ASSERT_EQUAL(engine_events_count(at.e), 1);
    CU_ASSERT_EQUAL(learns(&s), EVENT_TAKEN_OLD);
    CU_ASSERT_EQUAL(at.notified, 1);
    s = happening(now_ms, 2); /* it happened while this one was away */
    CU_ASSERT_EQUAL(learns(&s), EVENT_TAKEN_NEW);
    CU_ASSERT_EQUAL(at.notified, 2);
    CU_ASSERT_TRUE(tells("event 2"));
    end();
}

/* Goal: of what anti-entropy brings, history is on the timeline and raises no
 * alarm: what is older than an hour, or than this node. */
static void test_history_raises_no_alarm(void)
{
    const uint64_t now_ms = START_US / 1000 + 5000;
    const struct {
        uint64_t ms, born_ms;
        bool is_told;
    } cases[] = {{now_ms - ENGINE_ALARM_AGE_MS - 1, 0, false},
                 {now_ms - ENGINE_ALARM_AGE_MS, 0, true},
                 {now_ms - 1001, now_ms - 1000, false},
                 {now_ms - 1000, now_ms - 1000, true}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        argus_Statement s = happening(cases[i].ms, 1);
        memset(&at, 0, sizeof at);
        at.born_ms = cases[i].born_ms;
        start(argus_Role_ROLE_AGGREGATOR);
        step((struct event){.type = EVENT_START});
        comes(1, "");
        pass(5000);
        CU_ASSERT_EQUAL(learns(&s), EVENT_TAKEN_NEW);
        CU_ASSERT_EQUAL(at.timeline, 1);
        CU_ASSERT_EQUAL(at.notified, cases[i].is_told ? 1 : 0);
        end();
    }
}

/* Goal: an event that is stamped a year ahead and comes by anti-entropy is
 * kept, shown and told as any other, and moves nobody's clock: an event of this
 * node's own is stamped by its own time, and so is before that one. */
static void test_learned_event_a_year_ahead_moves_no_clock(void)
{
    const uint64_t now_ms = START_US / 1000 + 5000;
    const uint64_t year_ms = UINT64_C(365) * 86400 * 1000;
    argus_Statement s = happening(now_ms + year_ms, 1);
    argus_Event own = {.severity = argus_Severity_SEVERITY_WARNING};
    uint64_t hlc = 0, number = 0;
    argus_EventReply last;

    begin(argus_Role_ROLE_AGGREGATOR);
    comes(1, "");
    pass(5000);
    CU_ASSERT_EQUAL(learns(&s), EVENT_TAKEN_NEW);
    CU_ASSERT_EQUAL(at.timeline, 1);
    CU_ASSERT_EQUAL(at.notified, 1);
    step((struct event){
        .type = EVENT_NOTICE,
        .notice = {
            .event = &own, .always = true, .hlc = &hlc, .number = &number}});
    CU_ASSERT_EQUAL(hlc >> 16, now_ms);
    CU_ASSERT_EQUAL_FATAL(engine_events_count(at.e), 2);
    CU_ASSERT_TRUE(engine_event(at.e, 1, &last));
    CU_ASSERT_STRING_EQUAL(last.event.message, "event 1");
    end();
}

#define ROW(name)                                                              \
    {                                                                          \
#name, name                                                            \
    }
CU_TestInfo suite_alarms[] = {
    ROW(test_going_and_coming_is_told_on_aggregators),
    ROW(test_those_that_go_together_are_told_once),
    ROW(test_flapping_node_is_told_once),
    ROW(test_two_of_one_name_are_told),
    ROW(test_clock_set_back_by_a_year),
    ROW(test_event_is_told_once_over_a_restart),
    ROW(test_history_raises_no_alarm),
    ROW(test_learned_event_a_year_ahead_moves_no_clock),
    CU_TEST_INFO_NULL,
};
