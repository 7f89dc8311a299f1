/* The intake alone: one or two senders by hand, collectd by hand. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/intake.h"

#define SEEN_MAX 4096

/* What the intake asked for, and the frame under construction. */
static struct {
    uint32_t begun, ended, dispatched, acks, closes;
    uint64_t tokens[SEEN_MAX];
    uint64_t times[SEEN_MAX];
    uint64_t begun_before[SEEN_MAX]; /* series begun at that dispatch */
    uint64_t acked;
    uint32_t window;
    argus_RefuseCode code;
    char text[128];
    link_id closed;
    uint32_t last_sources;
} got;

static argus_Frame frame;
static bool online;

static void emit(void *context, const struct action *a)
{
    (void)context;
    switch (a->type) {
    case ACTION_SERIES_BEGIN:
        got.begun++;
        got.last_sources = a->series_begin->def->sources_count;
        break;
    case ACTION_SERIES_END: got.ended++; break;
    case ACTION_DISPATCH:
        got.begun_before[got.dispatched % SEEN_MAX] = got.begun;
        got.times[got.dispatched % SEEN_MAX] = a->value->time;
        got.tokens[got.dispatched++ % SEEN_MAX] = a->value->token;
        break;
    case ACTION_SEND:
        got.acks++;
        got.acked = a->send.frame->body.ack.batch;
        got.window = a->send.frame->body.ack.window;
        break;
    case ACTION_CLOSE:
        got.closes++;
        got.code = a->close.code;
        got.closed = a->close.link;
        snprintf(got.text, sizeof got.text, "%s", a->close.text);
        break;
    default: break;
    }
}

static struct actions *const out = &(struct actions){.emit = emit};

static bool is_online(void *context, const struct node_id *id)
{
    (void)context;
    (void)id;
    return online;
}

static uint64_t held;

static bool is_held(void *context, uint64_t token)
{
    (void)context;
    return token == held;
}

static struct intake_options usual(void)
{
    return (struct intake_options){.is_aggregator = true,
                                   .queue_max = 1000,
                                   .listener = {.is_online = is_online}};
}

static void link_up(struct intake *x, uint64_t now, link_id link,
                    uint8_t sender, uint32_t generation)
{
    struct peer_info peer = {.kind = argus_LinkKind_LINK_METRICS,
                             .generation = generation,
                             .instance = generation * 1000u + (uint32_t)link};
    peer.id.bytes[0] = sender;
    intake_on_link_up(x, now, link, &peer, out);
}

static struct intake *intake_with(const struct intake_options *options)
{
    struct intake *x;

    memset(&got, 0, sizeof got);
    online = true;
    held = 0;
    CU_ASSERT_EQUAL_FATAL(intake_new(options, &x), ARGUS_OK);
    link_up(x, 1000, 1, 7, 1);
    return x;
}

static argus_SeriesDef *def_begin(uint32_t index, const char *host,
                                  uint32_t sources)
{
    argus_SeriesDef *def = &frame.body.series_defs.series[0];

    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_series_defs_tag;
    frame.body.series_defs.series_count = 1;
    def->index = index;
    strcpy(def->host, host);
    strcpy(def->plugin, "cpu");
    strcpy(def->type, "cpu");
    snprintf(def->type_instance, sizeof def->type_instance, "s%u", index);
    def->interval = 10;
    def->sources_count = (pb_size_t)sources;
    for (uint32_t i = 0; i < sources; i++) {
        strcpy(def->sources[i].name, "value");
        def->sources[i].type = argus_SourceType_SOURCE_GAUGE;
    }
    return def;
}

static void name_series(struct intake *x, uint64_t now, link_id link,
                        uint32_t index, const char *host)
{
    (void)def_begin(index, host, 1);
    intake_on_frame(x, now, link, &frame, out);
}

/* `count` values of series first, first + 1, ... (step 1) or first (step 0). */
static argus_Batch *batch_begin(uint64_t number, uint64_t first_number,
                                uint32_t first, uint32_t step, uint32_t count)
{
    argus_Batch *b = &frame.body.batch;

    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_batch_tag;
    b->number = number;
    b->first_number = ((uint64_t)1 << 40) + first_number;
    b->first_time = first_number;
    for (uint32_t i = 0; i < count; i++) {
        b->series[i] = first + i * step;
        b->number_step[i] = i == 0 ? 0 : 1;
        b->time_step[i] = i == 0 ? 0 : 1;
        b->gauges[i] = i;
    }
    b->series_count = b->number_step_count = b->time_step_count =
        b->gauges_count = (pb_size_t)count;
    return b;
}

static void send_batch(struct intake *x, uint64_t now, link_id link,
                       uint64_t number, uint64_t first_number, uint32_t first,
                       uint32_t step, uint32_t count)
{
    (void)batch_begin(number, first_number, first, step, count);
    intake_on_frame(x, now, link, &frame, out);
}

static void see(struct intake *x, uint64_t now, uint32_t dispatch)
{
    intake_on_seen(x, now, &got.tokens[dispatch], 1, out);
}

/* Run timeouts up to a moment. */
static void pass(struct intake *x, uint64_t until)
{
    uint64_t due;

    while ((due = intake_deadline_ms(x)) <= until)
        intake_on_timeout(x, due, out);
}

/* Goal: a node that is no aggregator says so; bad options are refused. */
static void test_agent_refuses_metrics_links(void)
{
    struct intake_options o = usual();
    struct intake *x;

    o.is_aggregator = false;
    x = intake_with(&o);
    CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_ROLE);
    CU_ASSERT_EQUAL(intake_stats(x)->links_refused, 1);
    send_batch(x, 1000, 1, 1, 1, 1, 1, 1);
    CU_ASSERT_EQUAL(got.dispatched, 0);
    intake_free(x);
    o.queue_max = 0;
    CU_ASSERT_EQUAL(intake_new(&o, &x), ARGUS_EINVAL);
}

/* Goal: an acknowledgement follows 20 ms after the last value was seen, and
 * covers batches only in order. */
static void test_ack_follows_last_seen(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    name_series(x, 1000, 1, 2, "a");
    send_batch(x, 1000, 1, 1, 1, 1, 1, 1);
    send_batch(x, 1000, 1, 2, 2, 2, 1, 1);
    CU_ASSERT_EQUAL_FATAL(got.dispatched, 2);
    see(x, 1100, 1); /* the second batch is settled first */
    pass(x, 1190);
    CU_ASSERT_EQUAL(got.acks, 0);
    see(x, 1200, 0);
    pass(x, 1219);
    CU_ASSERT_EQUAL(got.acks, 0);
    pass(x, 1225);
    CU_ASSERT_EQUAL(got.acks, 1);
    CU_ASSERT_EQUAL(got.acked, 2);
    CU_ASSERT_EQUAL(got.window, INTAKE_WINDOW_MAX);
    CU_ASSERT_EQUAL(intake_deadline_ms(x), UINT64_MAX);
    intake_free(x);
}

/* Goal: of a series one value at a time, until it is settled; of all no more
 * than the bound. */
static void test_one_of_a_series_at_a_time(void)
{
    struct intake_options o = usual();
    o.queue_max = 3;
    struct intake *x = intake_with(&o);

    for (uint32_t i = 1; i <= 5; i++)
        name_series(x, 1000, 1, i, "a");
    send_batch(x, 1000, 1, 1, 1, 1, 0, 3);
    CU_ASSERT_EQUAL(got.dispatched, 1);
    send_batch(x, 1000, 1, 2, 11, 2, 1, 4);
    CU_ASSERT_EQUAL(got.dispatched, 3);
    CU_ASSERT_EQUAL(intake_stats(x)->values_in_queue, 3);
    see(x, 1001, 0); /* room for another series, not for the same */
    CU_ASSERT_EQUAL_FATAL(got.dispatched, 4);
    CU_ASSERT_EQUAL(got.times[3], 13);
    see(x, 1002, 1);
    see(x, 1002, 2);
    pass(x, 1021);
    CU_ASSERT_EQUAL_FATAL(got.dispatched, 6);
    CU_ASSERT_EQUAL(got.times[4], 14);
    CU_ASSERT_EQUAL(got.times[5], 2);
    intake_free(x);
}

/* Goal: a value that comes again, on another link, waits for the first one and
 * is then settled without being dispatched. */
static void test_duplicate_waits_for_the_first(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    send_batch(x, 1000, 1, 1, 5, 1, 0, 2);
    intake_on_link_down(x, 1001, 1, out);
    link_up(x, 1002, 2, 7, 1);
    name_series(x, 1002, 2, 1, "a");
    send_batch(x, 1002, 2, 1, 5, 1, 0, 3);
    CU_ASSERT_EQUAL(got.begun, 1);
    pass(x, 1500);
    CU_ASSERT_EQUAL(got.acks, 0);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL_FATAL(got.dispatched, i + 1);
        see(x, 1600 + 100 * i, i);
        pass(x, 1650 + 100 * i);
    }
    CU_ASSERT_EQUAL(got.acked, 1);
    CU_ASSERT_EQUAL(got.dispatched, 3);
    CU_ASSERT_EQUAL(intake_stats(x)->values_duplicate, 2);
    intake_free(x);
}

/* Goal: unseen for 1 s after a later one counts as stopped, the next of the
 * series after 50 ms, until one is seen. */
static void test_stopped_by_a_chain(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    name_series(x, 1000, 1, 2, "b");
    send_batch(x, 1000, 1, 1, 1, 1, 0, 3); /* 0: stopped */
    pass(x, 60000);
    CU_ASSERT_EQUAL(intake_stats(x)->values_stopped, 0); /* nothing is seen */
    send_batch(x, 60000, 1, 2, 4, 2, 0, 3);
    see(x, 60000, 1);
    pass(x, 60999);
    CU_ASSERT_EQUAL(intake_stats(x)->values_stopped, 0);
    pass(x, 61000); /* dispatches 3 of series 1 after 2 of series 2 */
    CU_ASSERT_EQUAL(intake_stats(x)->values_stopped, 1);
    CU_ASSERT_EQUAL_FATAL(got.dispatched, 4);
    intake_on_progress(x, 61010, got.tokens[3]);
    pass(x, 61059);
    CU_ASSERT_EQUAL(intake_stats(x)->values_stopped, 1);
    pass(x, 61060);
    CU_ASSERT_EQUAL(intake_stats(x)->values_stopped, 2);
    CU_ASSERT_EQUAL_FATAL(got.dispatched, 5);
    see(x, 61061, 3); /* given up too early: known, but not counted seen */
    CU_ASSERT_EQUAL(intake_stats(x)->seen_unknown, 1);
    see(x, 61061, 4);
    CU_ASSERT_EQUAL(intake_stats(x)->values_seen, 2);
    pass(x, 61100);
    CU_ASSERT_EQUAL(got.acked, 1);
    intake_free(x);
}

/* Goal: what passed by is settled at once, lets the next of its series go, and
 * says that all before it has left the queue; a later one waits 1 s again. */
static void test_passed_by_is_settled_at_once(void)
{
    struct intake_options o = usual();
    o.redispatch_max = 3;
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    name_series(x, 1000, 1, 2, "b");
    send_batch(x, 1000, 1, 1, 1, 1, 1, 2); /* 0: a, 1: b */
    send_batch(x, 1000, 1, 2, 3, 2, 0, 2); /* of b */
    CU_ASSERT_EQUAL_FATAL(got.dispatched, 2);
    intake_on_passed(x, 2000, &got.tokens[1], 1, out);
    CU_ASSERT_EQUAL(intake_stats(x)->values_passed, 1);
    CU_ASSERT_EQUAL(intake_stats(x)->values_settled, 1);
    CU_ASSERT_EQUAL_FATAL(got.dispatched, 3);
    intake_on_passed(x, 2000, &got.tokens[1], 1, out); /* is told twice */
    CU_ASSERT_EQUAL(intake_stats(x)->seen_unknown, 1);
    intake_on_passed(x, 2010, &got.tokens[2], 1, out);
    CU_ASSERT_EQUAL_FATAL(got.dispatched, 4);
    pass(x, 2999);
    CU_ASSERT_EQUAL(got.dispatched, 4);
    CU_ASSERT_EQUAL(got.acks, 0);
    pass(x, 3000); /* a: overtaken at 2000, so it is dispatched again */
    CU_ASSERT_EQUAL_FATAL(got.dispatched, 5);
    intake_on_passed(x, 3100, &got.tokens[4], 1, out);
    pass(x, 3105);
    CU_ASSERT_EQUAL(got.acked, 1);
    pass(x, 4099); /* b's third: overtaken at 3100 */
    CU_ASSERT_EQUAL(got.dispatched, 5);
    pass(x, 4100);
    CU_ASSERT_EQUAL(got.dispatched, 6);
    intake_free(x);
}

/* Goal: a value that a write thread holds is not given up while nothing else
 * moves, and not handed to collectd again; but it holds up its series for some
 * turns only. */
static void test_held_value_is_waited_for(void)
{
    struct intake_options o = usual();
    o.threads.is_held = is_held;
    o.redispatch_max = 3;
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    name_series(x, 1000, 1, 2, "b");
    send_batch(x, 1000, 1, 1, 1, 1, 0, 2);
    send_batch(x, 1000, 1, 2, 10, 2, 0, 30);
    held = got.tokens[0];
    /* Each wait begins behind what was dispatched meanwhile: see both. */
    for (uint32_t i = 0; i <= INTAKE_HELD_TURNS; i++) {
        CU_ASSERT_EQUAL(intake_stats(x)->values_stopped, 0);
        see(x, (i + 1) * 100000, 2 * i + 1);
        see(x, (i + 1) * 100000, 2 * i + 2);
        pass(x, (i + 1) * 100000 + 999);
        CU_ASSERT_EQUAL_FATAL(got.dispatched, 2 * i + 4);
        pass(x, (i + 1) * 100000 + 90000); /* all hang */
    }
    CU_ASSERT_EQUAL(intake_stats(x)->values_stopped, 1);
    CU_ASSERT_EQUAL(intake_stats(x)->values_redispatched, 0);
    CU_ASSERT_EQUAL(got.times[got.dispatched - 1], 2);
    intake_free(x);
}

/* Goal: tokens that are not under way are ignored and counted. */
static void test_strange_tokens_are_ignored(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);
    const uint64_t strange[] = {0, 1, UINT64_MAX, (uint64_t)1 << 20 | 5};

    intake_on_seen(x, 1000, strange, 4, out);
    intake_on_passed(x, 1000, strange, 4, out);
    for (uint32_t i = 0; i < 4; i++)
        intake_on_progress(x, 1000, strange[i]);
    CU_ASSERT_EQUAL(intake_stats(x)->seen_unknown, 8);
    name_series(x, 1000, 1, 1, "a");
    send_batch(x, 1000, 1, 1, 1, 1, 0, 1);
    see(x, 1001, 0);
    see(x, 1001, 0);
    CU_ASSERT_EQUAL(intake_stats(x)->seen_unknown, 9);
    CU_ASSERT_EQUAL(intake_stats(x)->values_seen, 1);
    intake_free(x);
}

/* Goal: after a freeze nothing is acknowledged or dispatched. */
static void test_freeze_acknowledges_nothing(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    send_batch(x, 1000, 1, 1, 1, 1, 0, 1);
    see(x, 1001, 0);
    intake_freeze(x);
    CU_ASSERT_EQUAL(intake_deadline_ms(x), UINT64_MAX);
    intake_on_timeout(x, 5000, out);
    send_batch(x, 5000, 1, 2, 2, 1, 0, 1);
    CU_ASSERT_EQUAL(got.acks, 0);
    CU_ASSERT_EQUAL(got.dispatched, 1);
    intake_free(x);
}

/* Break one promise of a batch of three good values; 0 breaks none. */
static void break_batch(argus_Batch *b, int which)
{
    switch (which) {
    case 1: b->number = 2; break;
    case 2: b->number = 0; break;
    case 3: b->series[1] = 0; break;
    case 4: b->series[1] = 3; break;
    case 5: b->gauges_count = 2; break;
    case 6: b->gauges_count = 4; break;
    case 7: b->integers_count = 1; break;
    case 8: b->number_step[2] = 0; break;
    case 9: b->first_number = 0; break;
    case 10: b->first_number = UINT64_MAX; break;
    case 11: b->first_number = (uint64_t)2 << 40; break;
    case 12: b->time_step_count = 2; break;
    case 13:
        b->series_count = b->number_step_count = b->time_step_count = 0;
        break;
    default: break;
    }
}

/* Goal: each broken promise closes the link, is counted, and leaves nothing
 * behind. */
static void test_malformed_batches_close_the_link(void)
{
    struct intake_options o = usual();

    for (int which = 0; which <= 13; which++) {
        struct intake *x = intake_with(&o);
        name_series(x, 1000, 1, 1, "a");
        name_series(x, 1000, 1, 2, "a");
        break_batch(batch_begin(1, 1, 1, 0, 3), which);
        intake_on_frame(x, 1000, 1, &frame, out);
        CU_ASSERT_EQUAL(got.closes, which == 0 ? 0 : 1);
        CU_ASSERT_EQUAL(got.dispatched, which == 0 ? 1 : 0);
        CU_ASSERT_EQUAL(intake_stats(x)->links_malformed, which == 0 ? 0 : 1);
        if (which != 0)
            CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_MALFORMED);
        CU_ASSERT_TRUE(which == 0 || got.text[0] != '\0');
        intake_free(x);
    }
}

static void test_malformed_series_close_the_link(void)
{
    struct intake_options o = usual();

    for (int which = 0; which < 5; which++) {
        struct intake *x = intake_with(&o);
        argus_SeriesDef *def = def_begin(1, "a", 1);
        switch (which) {
        case 0: def->index = 0; break;
        case 1: def->index = 2; break;
        case 2: def->host[0] = '\0'; break;
        case 3: def->sources_count = 0; break;
        default: def->sources[0].type = (argus_SourceType)9; break;
        }
        intake_on_frame(x, 1000, 1, &frame, out);
        CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_MALFORMED);
        CU_ASSERT_EQUAL(intake_stats(x)->series, 0);
        CU_ASSERT_EQUAL(intake_stats(x)->senders, 0);
        intake_free(x);
    }
}

/* Goal: the window is a promise, the budget a bound; a full one shrinks the
 * next windows. */
static void test_window_and_budget_hold(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    send_batch(x, 1000, 1, 1, 1, 1, 0, 1024);
    CU_ASSERT_EQUAL(got.closes, 0);
    send_batch(x, 1000, 1, 2, 2000, 1, 0, 1);
    CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_MALFORMED);
    intake_free(x);

    o.budget = 1000;
    x = intake_with(&o);
    for (link_id link = 1; link <= 3; link++) {
        if (link > 1)
            link_up(x, 1000, link, (uint8_t)link, 1);
        name_series(x, 1000, link, 1, "a");
        send_batch(x, 1000, link, 1, 1, 1, 0, 900);
    }
    CU_ASSERT_EQUAL(got.closed, 3);
    CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_BUSY);
    CU_ASSERT_EQUAL(intake_stats(x)->links_busy, 1);
    CU_ASSERT_EQUAL(intake_stats(x)->values_received, 1800);
    name_series(x, 1000, 2, 2, "b");
    send_batch(x, 1000, 2, 2, 2000, 2, 0, 1);
    intake_free(x);
}

/* Goal: an intake under load grants less. */
static void test_load_shrinks_the_window(void)
{
    struct intake_options o = usual();
    o.budget = 4000;
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    name_series(x, 1000, 1, 2, "a");
    send_batch(x, 1000, 1, 1, 1, 1, 0, 1);
    see(x, 1000, 0);
    pass(x, 1100);
    CU_ASSERT_EQUAL(got.window, 4000);
    send_batch(x, 1100, 1, 2, 2, 1, 0, 1);
    send_batch(x, 1100, 1, 3, 3, 2, 0, 1000);
    send_batch(x, 1100, 1, 4, 1003, 2, 0, 1000);
    see(x, 1100, 1);
    pass(x, 1200);
    CU_ASSERT_EQUAL(got.acked, 2);
    CU_ASSERT_TRUE(got.window < 3000 && got.window >= INTAKE_WINDOW_MIN);
    intake_free(x);
}

/* Goal: series are bounded; those that no link names make room, oldest first,
 * and collectd's side hears of it. */
static void test_series_are_bounded(void)
{
    struct intake_options o = usual();
    o.sender_series_max = 3;
    struct intake *x = intake_with(&o);

    for (uint32_t i = 1; i <= 4; i++)
        name_series(x, 1000, 1, i, "a");
    CU_ASSERT_EQUAL(got.begun, 3);
    CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_BUSY);
    CU_ASSERT_EQUAL(intake_stats(x)->links_busy, 1);
    link_up(x, 1001, 2, 7, 1);
    name_series(x, 1001, 2, 1, "other");
    CU_ASSERT_EQUAL(got.ended, 1);
    CU_ASSERT_EQUAL(intake_stats(x)->series, 3);
    CU_ASSERT_EQUAL(intake_stats(x)->series_evicted, 1);
    CU_ASSERT_FALSE(intake_series_moved(x, "a", "cpu", "", "cpu", "s1"));
    intake_free(x);

    o.sender_series_max = 0;
    o.series_max = 2;
    x = intake_with(&o);
    name_series(x, 1000, 1, 1, "a");
    name_series(x, 1000, 1, 2, "a");
    link_up(x, 1001, 2, 8, 1);
    name_series(x, 1001, 2, 1, "b"); /* all are in use */
    CU_ASSERT_EQUAL(got.closed, 2);
    intake_on_link_down(x, 1002, 1, out);
    link_up(x, 1003, 3, 8, 1);
    name_series(x, 1003, 3, 1, "b");
    CU_ASSERT_EQUAL(intake_stats(x)->series, 2);
    name_series(x, 1003, 3, 2, "b");
    CU_ASSERT_EQUAL(intake_stats(x)->senders, 1); /* the other has none left */
    intake_free(x);
}

/* Goal: moved is what was released, or whose sender lives without a link. */
static void test_moved_series(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    CU_ASSERT_FALSE(intake_series_moved(x, "a", "cpu", "", "cpu", "s1"));
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_release_tag;
    strcpy(frame.body.release.host, "a");
    intake_on_frame(x, 1000, 1, &frame, out);
    CU_ASSERT_TRUE(intake_series_moved(x, "a", "cpu", "", "cpu", "s1"));
    send_batch(x, 1000, 1, 1, 1, 1, 0, 1);
    CU_ASSERT_FALSE(intake_series_moved(x, "a", "cpu", "", "cpu", "s1"));
    intake_on_link_down(x, 1001, 1, out);
    CU_ASSERT_TRUE(intake_series_moved(x, "a", "cpu", "", "cpu", "s1"));
    online = false;
    CU_ASSERT_FALSE(intake_series_moved(x, "a", "cpu", "", "cpu", "s1"));
    intake_free(x);
}

/* Goal: values of the old definition are dispatched before the new one is
 * told. */
static void test_new_definition_waits_its_turn(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    send_batch(x, 1000, 1, 1, 1, 1, 0, 2);
    (void)def_begin(1, "a", 2);
    intake_on_frame(x, 1000, 1, &frame, out);
    CU_ASSERT_EQUAL(got.begun, 1);
    argus_Batch *b = batch_begin(2, 3, 1, 0, 1);
    b->gauges_count = 2;
    intake_on_frame(x, 1000, 1, &frame, out);
    CU_ASSERT_EQUAL(got.closes, 0);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL_FATAL(got.dispatched, i + 1);
        CU_ASSERT_EQUAL(got.begun_before[i], i < 2 ? 1 : 2);
        see(x, 1000 + 100 * i, i);
        pass(x, 1050 + 100 * i);
    }
    CU_ASSERT_EQUAL(got.last_sources, 2);
    CU_ASSERT_EQUAL(got.acked, 2);
    intake_free(x);
}

/* Goal: definitions that wait behind values are bounded. */
static void test_waiting_definitions_are_bounded(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);

    for (uint32_t i = 1; i <= 1024; i++)
        name_series(x, 1000, 1, i, "a");
    send_batch(x, 1000, 1, 1, 1, 1, 1, 1024);
    for (uint32_t i = 1; i <= 1024; i++) {
        def_begin(i, "a", 1)->interval = 20;
        intake_on_frame(x, 1000, 1, &frame, out);
    }
    CU_ASSERT_EQUAL(got.closes, 0);
    def_begin(1, "a", 1)->interval = 30; /* in place of the one that waits */
    intake_on_frame(x, 1000, 1, &frame, out);
    CU_ASSERT_EQUAL(got.closes, 0);
    link_up(x, 1000, 2, 8, 1);
    name_series(x, 1000, 2, 1, "b");
    send_batch(x, 1000, 2, 1, 1, 1, 0, 1);
    def_begin(1, "b", 1)->interval = 20;
    intake_on_frame(x, 1000, 2, &frame, out);
    CU_ASSERT_EQUAL(got.closed, 2);
    CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_BUSY);
    CU_ASSERT_EQUAL(intake_stats(x)->links_busy, 1);
    intake_free(x);
}

/* Goal: a sender restored from an old state is heard, a restarted one too. */
static void test_restarted_senders_are_heard(void)
{
    struct intake_options o = usual();
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    send_batch(x, 1000, 1, 1, 500, 1, 0, 1);
    see(x, 1000, 0);
    pass(x, 1100);
    intake_on_link_down(x, 1100, 1, out);
    link_up(x, 1100, 2, 7, 1); /* same generation, other instance */
    CU_ASSERT_EQUAL(intake_stats(x)->senders_reset, 1);
    name_series(x, 1100, 2, 1, "a");
    send_batch(x, 1100, 2, 1, 1, 1, 0, 1);
    CU_ASSERT_EQUAL(got.dispatched, 2);
    link_up(x, 1100, 3, 7, 2);
    CU_ASSERT_EQUAL(intake_stats(x)->senders_reset, 1);
    CU_ASSERT_EQUAL(intake_stats(x)->links_replaced, 1);
    CU_ASSERT_EQUAL(got.closed, 2);
    CU_ASSERT_EQUAL(intake_stats(x)->links, 1);
    intake_free(x);
}

/* Goal: where collectd may drop, an unseen value is dispatched again, as often
 * as told. */
static void test_unseen_is_dispatched_again(void)
{
    struct intake_options o = usual();
    o.redispatch_max = 2;
    struct intake *x = intake_with(&o);

    name_series(x, 1000, 1, 1, "a");
    send_batch(x, 1000, 1, 1, 1, 1, 0, 1);
    for (uint32_t i = 1; i <= 3; i++) {
        CU_ASSERT_EQUAL(got.dispatched, i);
        intake_on_progress(x, 1000 + i * 2000, got.tokens[i - 1]);
        pass(x, 2500 + i * 2000);
    }
    CU_ASSERT_EQUAL(got.dispatched, 3);
    CU_ASSERT_EQUAL(intake_stats(x)->values_redispatched, 2);
    CU_ASSERT_EQUAL(intake_stats(x)->values_stopped, 1);
    CU_ASSERT_EQUAL(got.acked, 1);
    intake_free(x);
}

CU_TestInfo suite_intake[] = {
    {"agent_refuses_metrics_links", test_agent_refuses_metrics_links},
    {"ack_follows_last_seen", test_ack_follows_last_seen},
    {"one_of_a_series_at_a_time", test_one_of_a_series_at_a_time},
    {"duplicate_waits_for_the_first", test_duplicate_waits_for_the_first},
    {"stopped_by_a_chain", test_stopped_by_a_chain},
    {"passed_by_is_settled_at_once", test_passed_by_is_settled_at_once},
    {"held_value_is_waited_for", test_held_value_is_waited_for},
    {"strange_tokens_are_ignored", test_strange_tokens_are_ignored},
    {"freeze_acknowledges_nothing", test_freeze_acknowledges_nothing},
    {"malformed_batches_close_the_link", test_malformed_batches_close_the_link},
    {"malformed_series_close_the_link", test_malformed_series_close_the_link},
    {"window_and_budget_hold", test_window_and_budget_hold},
    {"load_shrinks_the_window", test_load_shrinks_the_window},
    {"series_are_bounded", test_series_are_bounded},
    {"moved_series", test_moved_series},
    {"new_definition_waits_its_turn", test_new_definition_waits_its_turn},
    {"waiting_definitions_are_bounded", test_waiting_definitions_are_bounded},
    {"restarted_senders_are_heard", test_restarted_senders_are_heard},
    {"unseen_is_dispatched_again", test_unseen_is_dispatched_again},
    CU_TEST_INFO_NULL,
};
