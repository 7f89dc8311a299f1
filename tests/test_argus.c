#include "test.h"

#include "mock/collectd.h"
#include "mock/runtime.h"

static void begin(void)
{
    mock_reset();
    mock_runtime_reset();
    module_register();
}

static int configure(const char *const *lines)
{
    return mock_configure(mock_lines(lines));
}

#define CONFIGURE(...) configure((const char *const[]){__VA_ARGS__, NULL})

static value_list_t some_value(void)
{
    static value_t number = {.gauge = 1.0};
    value_list_t vl = VALUE_LIST_INIT;

    vl.values = &number;
    vl.values_len = 1;
    vl.time = (cdtime_t)1 << 30;
    vl.interval = (cdtime_t)1 << 30;
    (void)strcpy(vl.host, "h");
    (void)strcpy(vl.plugin, "p");
    (void)strcpy(vl.type, "gauge");
    return vl;
}

/* Goal: with no block at all argus runs as an agent, writes last, and stops in
 * order: freeze before collectd throws its queue away. */
static void test_no_block_runs_and_stops(void)
{
    begin();
    mock_register_writer(); /* registers its writer in init, after argus's */
    CU_ASSERT_EQUAL(mock_readers, 1); /* so read threads start */
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(mock_trace, "argus keeper argus-write"));
    CU_ASSERT_EQUAL(mock_rt.opened, 1);
    CU_ASSERT_EQUAL(mock_writers, 2);
    CU_ASSERT_STRING_EQUAL(mock_rt.options.name, "here.example.org");
    CU_ASSERT_STRING_EQUAL(mock_rt.options.state_dir,
                           "/var/lib/collectd/argus");

    value_list_t vl = some_value();
    (void)plugin_dispatch_values(&vl);
    mock_write_all();
    CU_ASSERT_EQUAL(mock_writes, 1);
    CU_ASSERT_EQUAL(mock_rt.values, 1);

    mock_trace[0] = '\0';
    mock_shutdown();
    CU_ASSERT_STRING_EQUAL(mock_trace,
                           "freeze reads-gone flushed freeze stop free shut ");
    CU_ASSERT_EQUAL(mock_rt.running, 0);
    CU_ASSERT_EQUAL(mock_rt.freed, 1);
    CU_ASSERT_TRUE(mock_rt.drain_ms > 0);
    CU_ASSERT_TRUE(mock_rt.signals_blocked);
    CU_ASSERT_EQUAL(mock_log_lines, 1);
    CU_ASSERT_STRING_EQUAL(
        mock_log,
        "argus: there is no key (KeyFile in <Security>), so this node stays on "
        "loopback");
}

/* Goal: who lifts the loopback rule is told so at every start. */
static void test_plaintext_is_warned_of(void)
{
    begin();
    CU_ASSERT_EQUAL(CONFIGURE("Security.AllowPlaintext true"), 0);
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    CU_ASSERT_EQUAL(mock_log_lines, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(mock_log, "AllowPlaintext is true"));
    CU_ASSERT_TRUE(mock_rt.options.allow_plaintext);
    mock_shutdown();
}

/* Goal: a late notification of another plugin's thread reaches nothing. */
static void test_notification_after_shutdown_is_harmless(void)
{
    notification_t n = {.severity = NOTIF_FAILURE, .message = "late"};

    begin();
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    (void)plugin_dispatch_notification(&n);
    CU_ASSERT_EQUAL(mock_rt.notices, 1);
    mock_shutdown();
    begin();
    (void)plugin_dispatch_notification(&n); /* not yet attached */
    CU_ASSERT_EQUAL(mock_rt.notices, 0);
    mock_shutdown();
}

/* Goal: a writer even where nothing is routed: what is published here is told
 * all the same. */
static void test_agent_that_does_not_route_has_a_writer(void)
{
    begin();
    CU_ASSERT_EQUAL(CONFIGURE("Route.Enable false"), 0);
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    CU_ASSERT_EQUAL(mock_rt.opened, 1);
    CU_ASSERT_EQUAL(mock_writers, 1);
    CU_ASSERT_EQUAL(mock_cache_watchers, 0);
    mock_shutdown();

    begin();
    CU_ASSERT_EQUAL(CONFIGURE("Role aggregator"), 0);
#ifdef COLLECTD_CACHE_EVENTS
    CU_ASSERT_EQUAL(mock_cache_watchers, 1); /* before there are threads */
    CU_ASSERT_EQUAL(CONFIGURE("NodeName second"), 0);
    CU_ASSERT_EQUAL(mock_cache_watchers, 1); /* a second block: no second */
#endif
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    CU_ASSERT_EQUAL(mock_writers, 1);
    value_list_t vl = some_value();
    CU_ASSERT_EQUAL(mock_missing(&vl), 0);
    mock_rt.moved = true;
    CU_ASSERT_EQUAL(mock_missing(&vl), 1);
    mock_shutdown();
}

/* Goal: one bad option: one line, argus inert, the daemon unharmed. */
static void test_bad_option_makes_inert(void)
{
    notification_t n = {.severity = NOTIF_FAILURE};
    value_list_t vl = some_value();

    begin();
    CU_ASSERT_EQUAL(CONFIGURE("Membership.PingInterval 0"), 0);
    CU_ASSERT_STRING_EQUAL(mock_log,
                           "argus: option \"PingInterval\" in <Membership>: 0 "
                           "is outside 0.1..3600 s; argus stays inert");
    CU_ASSERT_EQUAL(CONFIGURE("Nonsense 1"), 0); /* a second block */
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    mock_read_all();
    (void)plugin_dispatch_notification(&n);
    CU_ASSERT_EQUAL(mock_missing(&vl), 0);
    CU_ASSERT_EQUAL(mock_log_lines, 1);
    CU_ASSERT_EQUAL(mock_rt.made, 0);
    CU_ASSERT_EQUAL(mock_writers, 0);
    CU_ASSERT_EQUAL(mock_queue_length, 0);
    mock_shutdown();
    CU_ASSERT_EQUAL(mock_rt.freezes, 0);
}

/* Goal: what only init can know is refused in the same way. */
static void test_bad_value_found_in_init_makes_inert(void)
{
    begin();
    CU_ASSERT_EQUAL(CONFIGURE("Membership.SuspectTimeout 1"), 0);
    CU_ASSERT_EQUAL(mock_log_lines, 0);
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    CU_ASSERT_EQUAL(mock_log_lines, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(mock_log, "argus stays inert"));
    CU_ASSERT_EQUAL(mock_rt.made, 0);
    mock_shutdown();
}

/* Goal: a runtime that cannot open leaves the daemon alone. */
static void test_open_failure_makes_inert(void)
{
    begin();
    mock_rt.open_status = ARGUS_EBUSY;
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    CU_ASSERT_STRING_EQUAL(mock_log,
                           "argus: StateDir is locked; argus stays inert");
    CU_ASSERT_EQUAL(mock_rt.freed, 1);
    CU_ASSERT_EQUAL(mock_writers, 0);
    mock_read_all();
    CU_ASSERT_EQUAL(mock_queue_length, 0);
    mock_shutdown();
    CU_ASSERT_EQUAL(mock_rt.freed, 1);
}

/* Goal: whichever thread cannot start, none is left behind. */
static void test_thread_failure_makes_inert(void)
{
    for (int at = 1; at <= 2; at++) {
        begin();
        mock_threads_fail_at = at;
        CU_ASSERT_EQUAL(mock_init_all(), 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(mock_log, "cannot start a thread"));
        CU_ASSERT_EQUAL(mock_rt.running, 0);
        CU_ASSERT_EQUAL(mock_rt.stopped, (unsigned)at - 1);
        CU_ASSERT_EQUAL(mock_rt.freed, 1);
        CU_ASSERT_EQUAL(mock_writers, 0);
        mock_shutdown();
    }
}

/* Goal: `collectd -T` beside a live daemon touches nothing, but still finds
 * mistakes. */
static void test_test_run_touches_nothing(void)
{
    begin();
    mock_global("ReadThreads", "-1");
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    mock_read_all();
    CU_ASSERT_EQUAL(mock_rt.made, 0);
    CU_ASSERT_EQUAL(mock_writers, 0);
    CU_ASSERT_EQUAL(mock_queue_length, 0);
    CU_ASSERT_EQUAL(mock_log_lines, 0);
    mock_shutdown();

    begin();
    mock_global("ReadThreads", "-1");
    CU_ASSERT_EQUAL(CONFIGURE("Listen \"0.0.0.0\""), 0);
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(mock_log, "option \"Listen\""));
    mock_shutdown();
}

CU_TestInfo suite_argus[] = {
    {"no_block_runs_and_stops", test_no_block_runs_and_stops},
    {"plaintext_is_warned_of", test_plaintext_is_warned_of},
    {"notification_after_shutdown_is_harmless",
     test_notification_after_shutdown_is_harmless},
    {"agent_that_does_not_route_has_a_writer",
     test_agent_that_does_not_route_has_a_writer},
    {"bad_option_makes_inert", test_bad_option_makes_inert},
    {"bad_value_found_in_init_makes_inert",
     test_bad_value_found_in_init_makes_inert},
    {"open_failure_makes_inert", test_open_failure_makes_inert},
    {"thread_failure_makes_inert", test_thread_failure_makes_inert},
    {"test_run_touches_nothing", test_test_run_touches_nothing},
    CU_TEST_INFO_NULL,
};
