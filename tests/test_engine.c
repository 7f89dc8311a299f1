/* test_engine.c - the door: routing by kind and type, stamps, bounds, status.
 * What engines do together is in test_mesh.c. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/engine.h"
#include "directory_net.h" /* the stand-in for a seal */
#include "sim/bundle_kit.h"

static struct {
    uint32_t sends, closes, timelines, notifies;
    uint64_t last_hlc;
    bool hlc_went_back;
    link_id closed;
    argus_RefuseCode code;
    uint32_t metrics_dials;
    dial_id metrics_dial;
} seen;

static void on_action(void *context, const struct action *a)
{
    (void)context;
    switch (a->type) {
    case ACTION_SEND:
        seen.sends++;
        seen.hlc_went_back |= a->send.frame->hlc <= seen.last_hlc;
        seen.last_hlc = a->send.frame->hlc;
        break;
    case ACTION_CLOSE:
        seen.closes++;
        seen.closed = a->close.link;
        seen.code = a->close.code;
        break;
    case ACTION_DIAL:
        if (a->dial.kind == argus_LinkKind_LINK_METRICS) {
            seen.metrics_dials++;
            seen.metrics_dial = a->dial.dial;
        }
        break;
    case ACTION_TIMELINE: seen.timelines++; break;
    case ACTION_NOTIFY: seen.notifies++; break;
    default: break;
    }
}

static struct actions out = {.emit = on_action};

static void seal_hash(const uint8_t *data, size_t size,
                      uint8_t id[CONTENT_ID_SIZE])
{
    static uint8_t count;
    (void)data;
    (void)size;
    memset(id, ++count, CONTENT_ID_SIZE);
}

static void describe(const void *set, argus_SeriesDef *def)
{
    (void)set;
    def->sources_count = 1;
}

static struct kit_chunks chunks; /* no bundle comes here */

static struct engine *new_engine(argus_Role role)
{
    static struct engine_options o;
    struct engine *e = NULL;

    memset(&o, 0, sizeof o);
    memset(&seen, 0, sizeof seen);
    o.seed = test_seed();
    o.seal = (struct seal){.context = &o.id,
                           .close = fake_close,
                           .open = fake_open,
                           .hash = seal_hash,
                           .digest = kit_digest,
                           .vouches = kit_vouches};
    o.chunks = kit_store(&chunks);
    o.describe = describe;
    o.id.bytes[0] = 9;
    o.generation = 2;
    o.instance = 77;
    (void)snprintf(o.name, sizeof o.name, "self");
    (void)snprintf(o.address, sizeof o.address, ":25827");
    o.role = role;
    o.weight = 1;
    o.route = role == argus_Role_ROLE_AGENT;
    o.active_max = 5;
    o.passive_max = 30;
    o.shuffle_ms = 10000;
    o.ping_ms = 2000;
    o.suspect_ms = 3500;
    o.retain_offline_s = 3600;
    o.spool_bytes_max = 1 << 20;
    o.intake_queue_max = 100;
    o.clock_max_offset_ms = 500;
    o.forward = argus_Severity_SEVERITY_WARNING;
    o.retain_events = 100;
    o.event_rate = 10;
    CU_ASSERT_EQUAL_FATAL(engine_new(&o, &e), ARGUS_OK);
    return e;
}

static void step(struct engine *e, uint64_t now, struct event ev)
{
    ev.now_ms = now;
    ev.wall_us = 1700000000000000u + now * 1000;
    engine_step(e, &ev, &out);
}

static void link_up(struct engine *e, uint64_t now, link_id link, uint8_t who,
                    argus_LinkKind kind)
{
    struct peer_info p;

    memset(&p, 0, sizeof p);
    p.id.bytes[0] = who;
    p.generation = 1;
    p.kind = kind;
    (void)snprintf(p.address, sizeof p.address, "n%u:1", who);
    step(e, now,
         (struct event){.type = EVENT_LINK_UP,
                        .link_up = {.link = link, .peer = &p}});
}

static void receive(struct engine *e, uint64_t now, link_id link,
                    argus_Frame *f)
{
    step(e, now,
         (struct event){.type = EVENT_FRAME,
                        .frame = {.link = link, .frame = f}});
}

static uint64_t counter(const struct engine *e, const char *name)
{
    struct engine_counter c[256];
    uint32_t count = engine_counters(e, c, 256);

    for (uint32_t i = 0; i < count; i++)
        if (strcmp(c[i].name, name) == 0)
            return c[i].value;
    CU_FAIL("no such counter");
    return 0;
}

static argus_Frame frame;

/* Goal: a frame on a link of the wrong kind, or on none, reaches no part; a
 * probe is answered by its Hello alone. */
static void test_misplaced_frames_reach_nobody(void)
{
    struct engine *e = new_engine(argus_Role_ROLE_AGENT);

    step(e, 1000, (struct event){.type = EVENT_START});
    link_up(e, 1001, 1, 1, argus_LinkKind_LINK_SYNC);
    frame.hlc = 0;
    frame.which_body = argus_Frame_join_tag;
    receive(e, 1002, 1, &frame);
    link_up(e, 1003, 2, 2, argus_LinkKind_LINK_MESH);
    frame.which_body = argus_Frame_digest_tag;
    memset(&frame.body.digest, 0, sizeof frame.body.digest);
    receive(e, 1004, 2, &frame);
    receive(e, 1005, 99, &frame); /* no such link */
    CU_ASSERT_EQUAL(counter(e, "frames_misplaced"), 1);
    CU_ASSERT_EQUAL(counter(e, "join_accepted"), 0);
    link_up(e, 1006, 3, 3, argus_LinkKind_LINK_PROBE);
    CU_ASSERT_EQUAL(seen.closed, 3);
    CU_ASSERT_EQUAL(seen.code, argus_RefuseCode_REFUSE_BYE);
    engine_free(e);
}

/* Goal: every frame bears a stamp later than the one before; stamps of a far
 * future are not merged. */
static void test_frames_are_stamped_in_order(void)
{
    struct engine *e = new_engine(argus_Role_ROLE_AGENT);
    argus_StatusReply *status = malloc(sizeof *status);

    CU_ASSERT_PTR_NOT_NULL_FATAL(status);
    step(e, 1000, (struct event){.type = EVENT_START});
    link_up(e, 1001, 1, 1, argus_LinkKind_LINK_MESH);
    for (uint64_t i = 0; i < 10; i++) {
        frame.hlc = UINT64_MAX >> 1; /* thousands of years ahead */
        frame.which_body = argus_Frame_ping_tag;
        frame.body.ping = (argus_Ping){.number = 1};
        receive(e, 1002, 1, &frame);
    }
    CU_ASSERT_TRUE(seen.sends >= 10);
    CU_ASSERT_FALSE(seen.hlc_went_back);
    engine_status(e, 3000, 1700000003000000u, status);
    CU_ASSERT_EQUAL(status->hlc >> 16, 1700000003000u);
    CU_ASSERT_EQUAL(counter(e, "hlc_refused"), 10);
    CU_ASSERT_EQUAL(status->state, argus_NodeState_NODE_ALONE);
    CU_ASSERT_DOUBLE_EQUAL(status->uptime_s, 2.0, 0.001);
    free(status);
    engine_free(e);
}

/* Goal: a mild notification stays here, an operator's word never does; on an
 * aggregator the latter goes to collectd too. */
static void test_notices_go_out_by_severity(void)
{
    struct engine *e = new_engine(argus_Role_ROLE_AGGREGATOR);
    argus_Event event = argus_Event_init_zero;
    uint64_t hlc, number;
    struct event ev = {
        .type = EVENT_NOTICE,
        .notice = {.event = &event, .hlc = &hlc, .number = &number}};

    step(e, 1000, (struct event){.type = EVENT_START});
    event.severity = argus_Severity_SEVERITY_OKAY;
    step(e, 1001, ev);
    CU_ASSERT_EQUAL(hlc, 0);
    CU_ASSERT_EQUAL(engine_events_count(e), 0);
    event.severity = argus_Severity_SEVERITY_FAILURE;
    step(e, 1002, ev);
    CU_ASSERT_TRUE(hlc > 0);
    CU_ASSERT_EQUAL(seen.timelines, 1);
    CU_ASSERT_EQUAL(seen.notifies, 0); /* collectd had it already */
    event.severity = argus_Severity_SEVERITY_OKAY;
    ev.notice.always = true;
    step(e, 1003, ev);
    CU_ASSERT_EQUAL(seen.timelines, 2);
    CU_ASSERT_EQUAL(seen.notifies, 1);
    CU_ASSERT_EQUAL(engine_events_count(e), 2);
    engine_free(e);
}

/* Goal: a node that has no host in its address takes the one it is seen at, and
 * leaves a loopback address for a real one, never the other way. */
static void test_observed_host_completes_the_address(void)
{
    static const struct {
        const char *seen, *then;
    } story[] = {{"127.0.0.1", "127.0.0.1:25827"},
                 {"10.0.0.7", "10.0.0.7:25827"},
                 {"127.0.0.1", "10.0.0.7:25827"},
                 {"fe80::1", "10.0.0.7:25827"}};
    struct engine *e = new_engine(argus_Role_ROLE_AGENT);
    argus_StatusReply *status = malloc(sizeof *status);

    CU_ASSERT_PTR_NOT_NULL_FATAL(status);
    step(e, 1000, (struct event){.type = EVENT_START});
    for (size_t i = 0; i < sizeof story / sizeof story[0]; i++) {
        step(e, 1001,
             (struct event){.type = EVENT_OBSERVED, .observed = story[i].seen});
        engine_status(e, 1001, 1700000001001000u, status);
        CU_ASSERT_STRING_EQUAL(status->address, story[i].then);
    }
    free(status);
    engine_free(e);
}

/* A neighbor with link 1. */
static void befriend(struct engine *e, uint64_t now)
{
    link_up(e, now, 1, 1, argus_LinkKind_LINK_MESH);
    frame.hlc = 0;
    frame.which_body = argus_Frame_neighbor_tag;
    frame.body.neighbor = (argus_Neighbor){.high = true};
    receive(e, now, 1, &frame);
}

/* The neighbor passes on what somebody states. */
static void passes_on(struct engine *e, uint64_t now, uint8_t author,
                      const argus_Statement *s)
{
    struct node_id id = {{author}};
    argus_Gossip *g = &frame.body.gossip;

    frame.which_body = argus_Frame_gossip_tag;
    g->round = 1;
    g->payload.size = (pb_size_t)fake_close(&id, s, g->payload.bytes);
    CU_ASSERT_FATAL(g->payload.size > 0);
    receive(e, now, 1, &frame);
}

static void passes_on_record(struct engine *e, uint64_t now, uint8_t author,
                             argus_Role role)
{
    argus_Statement s = {.which_body = argus_Statement_record_tag};
    argus_NodeRecord *r = &s.body.record;

    r->generation = r->version = 1;
    (void)snprintf(r->name, sizeof r->name, "n%u", author);
    (void)snprintf(r->address, sizeof r->address, "n%u:1", author);
    r->role = role;
    r->weight = 1;
    r->instance = author;
    passes_on(e, now, author, &s);
}

static void passes_on_report(struct engine *e, uint64_t now, uint8_t author,
                             uint8_t subject, argus_MemberState state)
{
    argus_Statement s = {.which_body = argus_Statement_report_tag};
    argus_Report *r = &s.body.report;

    r->subject[0] = subject;
    r->generation = r->version = 1;
    r->state = state;
    passes_on(e, now, author, &s);
}

static void publish(struct engine *e, uint64_t now)
{
    const uint64_t number = now;
    const struct value_input value = {.host = "self",
                                      .plugin = "cpu",
                                      .plugin_instance = "",
                                      .type = "gauge",
                                      .type_instance = "",
                                      .time = now << 30,
                                      .interval = (uint64_t)1 << 30,
                                      .numbers = &number,
                                      .count = 1};
    step(e, now, (struct event){.type = EVENT_VALUES, .values = {&value, 1}});
}

/* Goal: an event of a node whose clock is far ahead is delivered like any
 * other, though neither its stamp nor its frame's moves our clock. */
static void test_far_ahead_event_is_delivered_never_merged(void)
{
    struct engine *e = new_engine(argus_Role_ROLE_AGGREGATOR);
    argus_Statement s = {.which_body = argus_Statement_event_tag};
    argus_StatusReply *status = malloc(sizeof *status);
    uint64_t ahead = (1700000001002u + 3600000u) << 16;

    CU_ASSERT_PTR_NOT_NULL_FATAL(status);
    step(e, 1000, (struct event){.type = EVENT_START});
    befriend(e, 1001);
    s.body.event.hlc = ahead;
    s.body.event.number = 1;
    s.body.event.severity = argus_Severity_SEVERITY_WARNING;
    frame.hlc = ahead;
    passes_on(e, 1002, 3, &s);
    CU_ASSERT_EQUAL(seen.timelines, 1);
    CU_ASSERT_EQUAL(seen.notifies, 1);
    CU_ASSERT_EQUAL(counter(e, "hlc_refused"), 1);
    s.body.event.number = 2; /* handed on by one who keeps the time */
    frame.hlc = 0;
    passes_on(e, 1003, 3, &s);
    CU_ASSERT_EQUAL(seen.timelines, 2);
    engine_status(e, 1003, 1700000001003000u, status);
    CU_ASSERT_TRUE(status->hlc >> 16 <= 1700000001003u);
    free(status);
    engine_free(e);
}

/* Goal: an aggregator that somebody only suspects stays in use; one that is
 * offline does not. */
static void test_suspect_aggregator_stays_in_use(void)
{
    struct engine *e = new_engine(argus_Role_ROLE_AGENT);

    step(e, 1000, (struct event){.type = EVENT_START});
    befriend(e, 1001);
    passes_on_record(e, 1002, 5, argus_Role_ROLE_AGGREGATOR);
    passes_on_report(e, 1003, 3, 5, argus_MemberState_MEMBER_SUSPECT);
    CU_ASSERT_EQUAL(counter(e, "reports_news"), 1);
    publish(e, 1004);
    CU_ASSERT_EQUAL(seen.metrics_dials, 1);
    passes_on_report(e, 1005, 3, 5, argus_MemberState_MEMBER_OFFLINE);
    step(e, 1006,
         (struct event){.type = EVENT_DIAL_FAILED,
                        .dial_failed = {seen.metrics_dial, LINK_END_REFUSED,
                                        argus_RefuseCode_REFUSE_NONE}});
    for (uint64_t now = 2000; now < 30000; now += 500) {
        step(e, now, (struct event){.type = EVENT_TIMEOUT});
        publish(e, now);
    }
    CU_ASSERT_EQUAL(seen.metrics_dials, 1);
    CU_ASSERT_TRUE(engine_pending(e) > 50);
    engine_free(e);
}

/* Goal: a node that left is a member again after a join, and hears why a join
 * cannot be. */
static void test_join_takes_back_a_leave(void)
{
    struct engine *e = new_engine(argus_Role_ROLE_AGENT);
    argus_StatusReply *status = malloc(sizeof *status);
    char address[ADDRESS_SIZE];
    int rc = ARGUS_OK;
    struct event join = {.type = EVENT_JOIN, .join = {address, &rc}};

    CU_ASSERT_PTR_NOT_NULL_FATAL(status);
    step(e, 1000, (struct event){.type = EVENT_START});
    befriend(e, 1001);
    step(e, 1002, (struct event){.type = EVENT_LEAVE});
    engine_status(e, 1002, 1700000001002000u, status);
    CU_ASSERT_EQUAL(status->left, 1);
    CU_ASSERT_EQUAL(status->active, 0);
    (void)snprintf(address, sizeof address, ":1");
    step(e, 1003, join);
    CU_ASSERT_EQUAL(rc, ARGUS_EINVAL);
    for (int i = 0; rc != ARGUS_EFULL && i < 1000; i++) {
        (void)snprintf(address, sizeof address, "c%d:1", i);
        step(e, 1004, join);
        CU_ASSERT_TRUE(rc == ARGUS_OK || rc == ARGUS_EFULL);
    }
    CU_ASSERT_EQUAL(rc, ARGUS_EFULL);
    engine_status(e, 1004, 1700000001004000u, status);
    CU_ASSERT_EQUAL(status->left, 0);
    CU_ASSERT_EQUAL(status->online, 1);
    free(status);
    engine_free(e);
}

/* Goal: events are bounded: own ones in a second, all of them in memory. */
static void test_events_are_bounded(void)
{
    struct engine *e = new_engine(argus_Role_ROLE_AGENT);
    argus_Statement s = {.which_body = argus_Statement_event_tag};
    argus_Event event = argus_Event_init_zero;
    uint64_t hlc, number;
    struct event ev = {
        .type = EVENT_NOTICE,
        .notice = {
            .event = &event, .always = true, .hlc = &hlc, .number = &number}};

    step(e, 1000, (struct event){.type = EVENT_START});
    befriend(e, 1001);
    event.severity = argus_Severity_SEVERITY_WARNING;
    for (int i = 0; i < 100; i++) {
        step(e, 1002, ev);
        CU_ASSERT_TRUE(hlc > 0);
    }
    step(e, 1002, ev);
    CU_ASSERT_EQUAL(hlc, 0);
    CU_ASSERT_EQUAL(counter(e, "event_limited"), 1);
    CU_ASSERT_EQUAL(engine_events_count(e), 100);
    s.body.event.severity = argus_Severity_SEVERITY_WARNING;
    for (uint64_t i = 1; i <= 50; i++) {
        s.body.event.hlc = (1700000002000u + i) << 16;
        s.body.event.number = i;
        passes_on(e, 1002, 3, &s);
    }
    CU_ASSERT_EQUAL(engine_events_count(e), 100);
    CU_ASSERT_EQUAL(counter(e, "event_dropped"), 50);
    engine_free(e);
}

CU_TestInfo suite_engine[] = {
    {"far_ahead_event_is_delivered_never_merged",
     test_far_ahead_event_is_delivered_never_merged},
    {"suspect_aggregator_stays_in_use", test_suspect_aggregator_stays_in_use},
    {"join_takes_back_a_leave", test_join_takes_back_a_leave},
    {"events_are_bounded", test_events_are_bounded},
    {"misplaced_frames_reach_nobody", test_misplaced_frames_reach_nobody},
    {"frames_are_stamped_in_order", test_frames_are_stamped_in_order},
    {"notices_go_out_by_severity", test_notices_go_out_by_severity},
    {"observed_host_completes_the_address",
     test_observed_host_completes_the_address},
    CU_TEST_INFO_NULL,
};
