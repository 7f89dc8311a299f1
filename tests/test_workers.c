#include "test.h"

#include "bridge.h"
#include "mock/collectd.h"
#include "mock/runtime.h"
#include "wire/pair.h"
#include "workers.h"

#define NUMBER 7 /* of the worker */

static struct bridge *bridge;
static struct runtime_hooks hooks;
static uint8_t message[PAIR_MESSAGE_MAX];

static int on_write(const data_set_t *ds, const value_list_t *vl,
                    user_data_t *data)
{
    (void)data;
    return bridge_write(bridge, ds, vl);
}

static void begin(void)
{
    mock_reset();
    mock_runtime_reset();
    CU_ASSERT_EQUAL_FATAL(bridge_new(&bridge), ARGUS_OK);
    hooks = bridge_hooks(bridge);
    bridge_attach(bridge, mock_runtime_get(),
                  &(struct bridge_options){.route = true});
    mock_rt.hooks = hooks;
    mock_register_writer();
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    (void)plugin_register_write("argus", on_write, NULL);
}

static void end(void)
{
    bridge_detach(bridge);
    bridge_free(bridge);
    mock_reset();
}

static void send_set(const char *name, uint32_t type)
{
    struct pair_set set = {.type = name, .count = 1};

    set.sources[0] = (struct pair_source){"value", type, 0, NAN};
    size_t size = pair_put_set(message, sizeof message, &set);
    hooks.worker_message(hooks.context, NUMBER, false, message, size);
}

static void send_value(const char *type, uint64_t number, uint64_t time,
                       bool begins)
{
    static const struct pair_meta metas[] = {
        {.key = "text", .type = PAIR_META_STRING, .text = "words"},
        {.key = "number", .type = PAIR_META_UNSIGNED, .bits = 5},
        {.key = "argus:received", .type = PAIR_META_BOOLEAN, .bits = 1},
    };
    const struct pair_value v = {
        .names = {"there", "p", "i", type, ""},
        .time = time,
        .interval = 3,
        .count = 1,
        .numbers = (const uint8_t *)&number,
        .metas_count = 3,
    };

    size_t size = pair_put_value(message, sizeof message, &v, metas);
    CU_ASSERT_TRUE(size > 0);
    hooks.worker_message(hooks.context, NUMBER, begins, message, size);
}

/* Goal: a worker's value goes through collectd as it is, into the mesh as one
 * of this daemon's, and back to every worker but its own. */
static void test_value_goes_up_and_not_back(void)
{
    begin();
    mock_rt.wants_down = true;
    send_set("gauge", DS_TYPE_GAUGE);
    send_value("gauge", 42, 1000, false);
    CU_ASSERT_EQUAL(mock_queue_length, 1);
    CU_ASSERT_EQUAL(workers_origin(), 0); /* the thread is as before */
    mock_write_all();
    CU_ASSERT_EQUAL(mock_writes, 1);
    CU_ASSERT_STRING_EQUAL(mock_written.host, "there");
    CU_ASSERT_STRING_EQUAL(mock_written.plugin_instance, "i");
    CU_ASSERT_EQUAL(mock_written.time, 1000);
    CU_ASSERT_EQUAL(mock_written.interval, 3);
    CU_ASSERT_EQUAL(mock_written_first, 42);
    CU_ASSERT_EQUAL(mock_written_metas, 2); /* argus' own mark is no one's */
    CU_ASSERT_EQUAL(mock_rt.values, 1);
    CU_ASSERT_EQUAL(mock_rt.downs, 2); /* its type before it */
    CU_ASSERT_EQUAL(mock_rt.down_set_except, 0);
    CU_ASSERT_EQUAL(mock_rt.down_except, NUMBER);
    end();
}

/* Goal: the write callback tells workers of every value with its meta data, and
 * of whose it is; of its type once, before it. */
static void test_values_go_down(void)
{
    value_t number = {.gauge = 1.5};
    value_list_t vl = VALUE_LIST_INIT;
    struct pair_message m;
    struct pair_value v;
    struct pair_set set;

    begin();
    vl.values = &number;
    vl.values_len = 1;
    vl.time = 77;
    vl.interval = 5;
    (void)strcpy(vl.host, "here");
    (void)strcpy(vl.plugin, "load");
    (void)strcpy(vl.type, "gauge");
    vl.meta = meta_data_create();
    (void)meta_data_add_string(vl.meta, "k", "words");
    (void)meta_data_add_signed_int(vl.meta, "s", -3);
    (void)meta_data_add_unsigned_int(vl.meta, "argus:token", 9);
    bridge_write(bridge, plugin_get_ds("gauge"), &vl);
    CU_ASSERT_EQUAL(mock_rt.downs, 0); /* nobody wants it */
    mock_rt.wants_down = true;
    bridge_write(bridge, plugin_get_ds("gauge"), &vl);
    CU_ASSERT_EQUAL_FATAL(mock_rt.downs, 2);
    CU_ASSERT_TRUE(pair_next(mock_rt.down_set, mock_rt.down_set_size, &m) > 0);
    CU_ASSERT_TRUE_FATAL(pair_read_set(&m, &set));
    CU_ASSERT_STRING_EQUAL(set.type, "gauge");
    CU_ASSERT_EQUAL_FATAL(set.count, 1);
    CU_ASSERT_EQUAL(set.sources[0].type, DS_TYPE_GAUGE);
    CU_ASSERT_EQUAL(mock_rt.down_except, 0);
    CU_ASSERT_TRUE(pair_next(mock_rt.down, mock_rt.down_size, &m) > 0);
    CU_ASSERT_TRUE_FATAL(pair_read_value(&m, &v));
    CU_ASSERT_STRING_EQUAL(v.names[1], "load");
    CU_ASSERT_EQUAL(v.time, 77);
    CU_ASSERT_EQUAL(v.metas_count, 2);

    (void)plugin_set_ctx(
        (plugin_ctx_t){.flush_timeout = (uint64_t)0x80000000 << 32 | NUMBER});
    bridge_write(bridge, plugin_get_ds("gauge"), &vl);
    CU_ASSERT_EQUAL(mock_rt.downs, 3);
    CU_ASSERT_EQUAL(mock_rt.down_except, NUMBER);
    CU_ASSERT_EQUAL(mock_rt.values, 3); /* the mesh gets each */
    (void)plugin_set_ctx((plugin_ctx_t){0});
    meta_data_destroy(vl.meta);
    end();
}

/* Goal: a type that is unknown here goes past cache and chains, with the set of
 * its worker; one that was never named goes nowhere, and is counted. */
static void test_types_of_a_worker(void)
{
    struct runtime_counter list[64];
    size_t count;
    uint64_t untyped = 0, direct = 0;

    begin();
    send_value("strange", 1, 1000, false);
    CU_ASSERT_EQUAL(mock_writes, 0);
    send_set("strange", DS_TYPE_DERIVE);
    send_value("strange", 1, 1000, false);
    CU_ASSERT_EQUAL(mock_writes, 1);
    CU_ASSERT_STRING_EQUAL(mock_written_set, "strange");
    send_set("gauge", DS_TYPE_DERIVE); /* here it is another */
    send_value("gauge", 1, 1000, false);
    CU_ASSERT_EQUAL(mock_writes, 2);
    CU_ASSERT_EQUAL(mock_queue_length, 0);
    hooks.worker_end(hooks.context, NUMBER);
    send_value("strange", 1, 1001, false);
    CU_ASSERT_EQUAL(mock_writes, 2);
    count = hooks.counters(hooks.context, list, 64);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].name, "workers_value_untyped") == 0)
            untyped = list[i].value;
        if (strcmp(list[i].name, "workers_value_direct") == 0)
            direct = list[i].value;
    }
    CU_ASSERT_EQUAL(untyped, 2);
    CU_ASSERT_EQUAL(direct, 2);
    end();
}

/* Goal: a counter that begins anew with another worker is told to the cache
 * twice, before it is dispatched; one that goes on is not. */
static void test_counter_that_begins_anew(void)
{
    begin();
    send_set("counter", DS_TYPE_COUNTER);
    mock_cached = true;
    mock_cached_value.counter = 500;
    send_value("counter", 600, 1000, true);
    CU_ASSERT_PTR_NULL(strstr(mock_trace, "cached"));
    send_value("counter", 10, 2000, false);
    CU_ASSERT_PTR_NULL(strstr(mock_trace, "cached"));
    send_value("counter", 10, 3000, true);
    CU_ASSERT_PTR_NOT_NULL(strstr(mock_trace, "cached cached"));
    CU_ASSERT_EQUAL(mock_cached_time, 2999);
    CU_ASSERT_EQUAL(mock_queue_length, 3);
    end();
}

/* Goal: notifications go both ways, with meta data; flushes go down. */
static void test_notifications_and_flushes(void)
{
    static const struct pair_meta metas[] = {
        {.key = "text", .type = PAIR_META_STRING, .text = "words"},
        {.key = "flag", .type = PAIR_META_BOOLEAN, .bits = 1},
    };
    const struct pair_notification up = {
        .severity = NOTIF_WARNING,
        .time = 5,
        .names = {"there", "p", "", "", ""},
        .message = "it burns",
        .metas_count = 2,
    };
    notification_t down = {.severity = NOTIF_OKAY, .message = "m", .host = "h"};
    struct pair_message m;
    struct pair_notification read;
    struct pair_flush flush;

    begin();
    size_t size = pair_put_notification(message, sizeof message, &up, metas);
    hooks.worker_message(hooks.context, NUMBER, false, message, size);
    CU_ASSERT_EQUAL(mock_notifications, 1);
    CU_ASSERT_STRING_EQUAL(mock_notified.message, "it burns");
    CU_ASSERT_EQUAL(mock_notified.time, 5);
    CU_ASSERT_EQUAL(mock_notified_metas_count, 2);
    CU_ASSERT_EQUAL((uint32_t)mock_notified_ctx.flush_timeout, NUMBER);

    mock_rt.wants_down = true;
    bridge_notification(bridge, &down);
    CU_ASSERT_EQUAL(mock_rt.downs, 1);
    CU_ASSERT_TRUE(pair_next(mock_rt.down, mock_rt.down_size, &m) > 0);
    CU_ASSERT_TRUE(pair_read_notification(&m, &read));
    CU_ASSERT_EQUAL(read.severity, NOTIF_OKAY);
    bridge_flush(bridge, 9, "a/b/c");
    CU_ASSERT_EQUAL(mock_rt.downs, 2);
    CU_ASSERT_TRUE(pair_next(mock_rt.down, mock_rt.down_size, &m) > 0);
    CU_ASSERT_TRUE(pair_read_flush(&m, &flush));
    CU_ASSERT_EQUAL(flush.timeout, 9);
    CU_ASSERT_STRING_EQUAL(flush.identifier, "a/b/c");
    end();
}

/* Goal: what waits in collectd's queue is known; what a chain stopped is
 * forgiven after a while. */
static void test_backlog_is_known(void)
{
    struct workers *w = workers_new();
    struct pair_set set = {.type = "gauge", .count = 1};
    const double number = 1;
    struct pair_value v = {.names = {"h", "p", "", "gauge", ""},
                           .time = 1,
                           .count = 1,
                           .numbers = (const uint8_t *)&number};

    begin();
    set.sources[0] = (struct pair_source){"value", DS_TYPE_GAUGE, 0, 1};
    workers_message(w, NUMBER, false, message,
                    pair_put_set(message, sizeof message, &set));
    for (int i = 0; i < 3; i++)
        workers_message(w, NUMBER, false, message,
                        pair_put_value(message, sizeof message, &v, NULL));
    CU_ASSERT_EQUAL(workers_backlog(w, 1000), 3);
    workers_seen(w);
    CU_ASSERT_EQUAL(workers_backlog(w, 1001), 2);
    CU_ASSERT_EQUAL(workers_backlog(w, 1001 + WORKERS_STALL_MS), 2);
    CU_ASSERT_EQUAL(workers_backlog(w, 1002 + WORKERS_STALL_MS), 0);
    workers_message(w, NUMBER, false, message,
                    pair_put_value(message, sizeof message, &v, NULL));
    CU_ASSERT_EQUAL(workers_backlog(w, 1003 + WORKERS_STALL_MS), 1);
    workers_free(w);
    end();
}

/* Goal: once collectd shuts down nothing of a worker enters it, and what may
 * not be a name never does. */
static void test_what_may_not_enter(void)
{
    struct pair_set set = {.type = "a/b", .count = 1};

    begin();
    set.sources[0] = (struct pair_source){"value", DS_TYPE_GAUGE, 0, 1};
    hooks.worker_message(hooks.context, NUMBER, false, message,
                         pair_put_set(message, sizeof message, &set));
    send_value("a/b", 1, 1000, false);
    send_set("gauge", DS_TYPE_GAUGE);
    send_value("gauge", 1, 0, false); /* no time */
    CU_ASSERT_EQUAL(mock_queue_length, 0);
    CU_ASSERT_EQUAL(mock_writes, 0);
    CU_ASSERT_TRUE(hooks.is_loaded(hooks.context, "cpu"));
    CU_ASSERT_FALSE(hooks.is_loaded(hooks.context, "df"));
    bridge_freeze(bridge);
    send_value("gauge", 1, 1000, false);
    CU_ASSERT_EQUAL(mock_queue_length, 0);
    end();
}

CU_TestInfo suite_workers[] = {
    {"value_goes_up_and_not_back", test_value_goes_up_and_not_back},
    {"values_go_down", test_values_go_down},
    {"types_of_a_worker", test_types_of_a_worker},
    {"counter_that_begins_anew", test_counter_that_begins_anew},
    {"notifications_and_flushes", test_notifications_and_flushes},
    {"backlog_is_known", test_backlog_is_known},
    {"what_may_not_enter", test_what_may_not_enter},
    CU_TEST_INFO_NULL,
};
