#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "bridge.h"
#include "workers.h"
#include "mock/collectd.h"
#include "mock/runtime.h"

static struct bridge *bridge;
static struct runtime_hooks hooks;

static int on_write(const data_set_t *ds, const value_list_t *vl,
                    user_data_t *data)
{
    (void)data;
    return bridge_write(bridge, ds, vl);
}

#ifdef COLLECTD_CACHE_EVENTS
static int on_cache_event(cache_event_t *event, user_data_t *data)
{
    (void)data;
    event->ret = 1;
    bridge_touch(bridge, event->value_list);
    return 0;
}
#endif

static int on_notification(const notification_t *n, user_data_t *data)
{
    (void)data;
    return bridge_notification(bridge, n);
}

/* A bridge between the stand-ins, behind another writer. */
static void begin(bool route, bool aggregator)
{
    mock_reset();
    mock_runtime_reset();
    CU_ASSERT_EQUAL_FATAL(bridge_new(&bridge), ARGUS_OK);
    log_set_sink(bridge_log);
    hooks = bridge_hooks(bridge);
    mock_rt.hooks = hooks;
    bridge_attach(
        bridge, mock_runtime_get(),
        &(struct bridge_options){.route = route, .aggregator = aggregator});
    mock_register_writer();
    CU_ASSERT_EQUAL(mock_init_all(), 0);
    (void)plugin_register_write("argus", on_write, NULL);
    (void)plugin_register_notification("argus", on_notification, NULL);
}

static void end(void)
{
    bridge_detach(bridge);
    bridge_free(bridge);
    bridge = NULL;
    log_set_sink(NULL);
    mock_reset();
}

#ifdef COLLECTD_CACHE_EVENTS
/* ... of an aggregator, and collectd tells of what it puts into the cache. */
static void begin_with_touches(void)
{
    begin(false, true);
    bridge_attach(
        bridge, mock_runtime_get(),
        &(struct bridge_options){.aggregator = true, .touches = true});
    (void)plugin_register_cache_event("argus", on_cache_event, NULL);
}
#endif

static value_t numbers[SOURCES_MAX + 1];

static value_list_t local_value(const char *type, size_t count)
{
    value_list_t vl = VALUE_LIST_INIT;

    vl.values = numbers;
    vl.values_len = count;
    vl.time = (cdtime_t)1700000000 << 30;
    vl.interval = (cdtime_t)10 << 30;
    (void)strcpy(vl.host, "h1");
    (void)strcpy(vl.plugin, "cpu");
    (void)strcpy(vl.type, type);
    return vl;
}

/* Goal: a local value reaches the runtime as it was, with its data sources. */
static void test_local_value_is_posted(void)
{
    begin(true, false);
    numbers[0].derive = -5;
    numbers[1].derive = INT64_MAX;
    value_list_t vl = local_value("if_octets", 2);
    CU_ASSERT_EQUAL(plugin_dispatch_values(&vl), 0);
    mock_write_all();

    CU_ASSERT_EQUAL_FATAL(mock_rt.values, 1);
    CU_ASSERT_STRING_EQUAL(mock_rt.value.host, "h1");
    CU_ASSERT_STRING_EQUAL(mock_rt.value.type, "if_octets");
    CU_ASSERT_EQUAL(mock_rt.value.interval, (uint64_t)10 << 30);
    CU_ASSERT_EQUAL(mock_rt.value_time, (uint64_t)1700000000 << 30);
    CU_ASSERT_EQUAL_FATAL(mock_rt.value_count, 2);
    CU_ASSERT_EQUAL((int64_t)mock_rt.value_numbers[0], -5);
    CU_ASSERT_EQUAL((int64_t)mock_rt.value_numbers[1], INT64_MAX);
    CU_ASSERT_EQUAL_FATAL(mock_rt.value.sources_count, 2);
    CU_ASSERT_STRING_EQUAL(mock_rt.value.sources[1].name, "tx");
    CU_ASSERT_EQUAL(mock_rt.value.sources[1].type,
                    argus_SourceType_SOURCE_DERIVE);
    CU_ASSERT_EQUAL(mock_rt.value.sources[1].min, 0.0);
    CU_ASSERT_TRUE(isnan(mock_rt.value.sources[1].max));
    CU_ASSERT_EQUAL(mock_rt.seen, 0);
    end();
}

/* Goal: with no routing a local value is posted for what it tells of its
 * publisher, without its data set; with no runtime it goes nowhere. */
static void test_value_without_routing_stays(void)
{
    begin(false, true);
    value_list_t vl = local_value("gauge", 1);
    (void)plugin_dispatch_values(&vl);
    mock_write_all();
    CU_ASSERT_EQUAL(mock_rt.values, 1);
    CU_ASSERT_EQUAL(mock_rt.value.sources_count, 0);
    mock_rt.values = 0;
    bridge_attach(bridge, mock_runtime_get(),
                  &(struct bridge_options){.route = true});
    bridge_detach(bridge);
    (void)plugin_dispatch_values(&vl);
    mock_write_all();
    CU_ASSERT_EQUAL(mock_rt.values, 0);
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_refused, 0);
    end();
}

static const char *source_seen(const char *host, const char *plugin)
{
    value_list_t vl = local_value("gauge", 1);

    (void)snprintf(vl.host, sizeof vl.host, "%s", host);
    (void)snprintf(vl.plugin, sizeof vl.plugin, "%s", plugin);
    (void)plugin_dispatch_values(&vl);
    mock_write_all();
    return mock_rt.value_source;
}

/* Goal: what a script names itself is told from plugins, and from what others
 * relay through this daemon. */
static void test_scripts_are_told_from_plugins(void)
{
    begin(true, false);
    CU_ASSERT_STRING_EQUAL(source_seen(hostname_g, "backup"), "");
    mock_loaded = "exec";
    bridge_attach(bridge, mock_runtime_get(),
                  &(struct bridge_options){.route = true});
    CU_ASSERT_STRING_EQUAL(source_seen(hostname_g, "backup"), "exec");
    CU_ASSERT_STRING_EQUAL(source_seen(hostname_g, "cpu"), "");
    CU_ASSERT_STRING_EQUAL(source_seen(hostname_g, "exec"), "");
    CU_ASSERT_STRING_EQUAL(source_seen(hostname_g, "collectd"), "");
    CU_ASSERT_STRING_EQUAL(source_seen("relayed", "backup"), "");
    mock_loaded = NULL;
    end();
}

/* Goal: what cannot travel is counted, and said once. */
static void test_unfit_values_are_refused_and_counted(void)
{
    data_source_t sources[SOURCES_MAX + 1];
    data_set_t wide = {"wide", SOURCES_MAX + 1, sources};

    memset(sources, 0, sizeof sources);
    begin(true, false);
    const data_set_t *gauge = plugin_get_ds("gauge");
    value_list_t vl = local_value("wide", SOURCES_MAX + 1);
    bridge_write(bridge, &wide, &vl);
    CU_ASSERT_PTR_NOT_NULL(strstr(mock_log, "argus: a value of h1/cpu/wide "
                                            "cannot be sent: too many data "
                                            "sources"));
    vl = local_value("gauge", 2); /* more than its type has */
    bridge_write(bridge, gauge, &vl);
    vl = local_value("gauge", 0);
    bridge_write(bridge, gauge, &vl);
    vl = local_value("gauge", 1);
    vl.host[0] = '\0';
    bridge_write(bridge, gauge, &vl);
    vl = local_value("gauge", 1);
    vl.time = 0;
    bridge_write(bridge, gauge, &vl);
    vl = local_value("gauge", 1);
    memset(vl.type_instance, 'x', sizeof vl.type_instance);
    bridge_write(bridge, gauge, &vl);
    CU_ASSERT_EQUAL(mock_rt.values, 0);
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_refused, 6);
    CU_ASSERT_EQUAL(mock_log_lines, 1);

    wide.ds_num = SOURCES_MAX; /* as many as there may be */
    vl = local_value("wide", SOURCES_MAX);
    bridge_write(bridge, &wide, &vl);
    CU_ASSERT_EQUAL(mock_rt.values, 1);
    CU_ASSERT_EQUAL(mock_rt.value.sources_count, SOURCES_MAX);
    mock_rt.full = true;
    bridge_write(bridge, &wide, &vl);
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_dropped, 1);
    end();
}

/* Goal: a data set that lives for one call is not remembered by its address,
 * and the table of sets has an end.
 * Method: the same address with another definition each time. */
static void test_passing_data_sets_are_copied(void)
{
    data_source_t source = {"value", DS_TYPE_GAUGE, NAN, NAN};
    data_set_t passing = {"passing", 1, &source};
    value_list_t vl;

    begin(true, false);
    vl = local_value("passing", 1);
    bridge_write(bridge, &passing, &vl);
    CU_ASSERT_EQUAL(mock_rt.value.sources[0].type,
                    argus_SourceType_SOURCE_GAUGE);
    source.type = DS_TYPE_ABSOLUTE;
    bridge_write(bridge, &passing, &vl);
    CU_ASSERT_EQUAL(mock_rt.value.sources[0].type,
                    argus_SourceType_SOURCE_ABSOLUTE);
    for (int i = 0; i < BRIDGE_SETS_MAX; i++) {
        source.max = i;
        bridge_write(bridge, &passing, &vl);
    }
    CU_ASSERT_EQUAL(mock_rt.values, BRIDGE_SETS_MAX);
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_refused, 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(mock_log, "too many different types"));
    end();
}

/* ------------------------------------------------------- from the mesh */

static argus_SeriesDef def_of(const char *type, pb_size_t count,
                              argus_SourceType kind)
{
    argus_SeriesDef def = argus_SeriesDef_init_zero;

    (void)strcpy(def.host, "far");
    (void)strcpy(def.plugin, "load");
    (void)strcpy(def.type, type);
    def.interval = (uint64_t)5 << 30;
    def.sources_count = count;
    for (pb_size_t i = 0; i < count; i++) {
        (void)snprintf(def.sources[i].name, sizeof def.sources[i].name, "s%u",
                       (unsigned)i);
        def.sources[i].type = kind;
        def.sources[i].max = NAN;
    }
    return def;
}

static void series(uint64_t handle, const argus_SeriesDef *def)
{
    hooks.series_begin(hooks.context,
                       &(struct series_begin){.series = handle, .def = def});
}

static bool value(uint64_t handle, uint64_t token, uint32_t count)
{
    static const uint64_t three[SOURCES_MAX] = {0x3ff0000000000000, 2, 3};

    return hooks.dispatch(hooks.context,
                          &(struct value_ref){.series = handle,
                                              .token = token,
                                              .time = (uint64_t)77 << 30,
                                              .numbers = three,
                                              .count = count});
}

/* Goal: a value of the mesh goes the usual way through collectd, and its token
 * comes back once every writer has had it. */
static void test_dispatched_value_is_seen_with_its_token(void)
{
    argus_SeriesDef def = def_of("load", 3, argus_SourceType_SOURCE_GAUGE);

    begin(true, true);
    series(1, &def);
    CU_ASSERT_FALSE(value(1, 4711, 3));
    CU_ASSERT_EQUAL(mock_rt.seen, 0);
    CU_ASSERT_EQUAL(mock_queue_length, 1);
    CU_ASSERT_EQUAL(plugin_get_ctx().flush_timeout, 0);
    mock_write_all();
    CU_ASSERT_EQUAL(mock_rt.seen, 1);
    CU_ASSERT_EQUAL(mock_rt.seen_token, 4711);
    CU_ASSERT_PTR_NOT_NULL(strstr(mock_trace, "written seen"));
    CU_ASSERT_EQUAL(mock_rt.values, 0); /* not sent again */
    CU_ASSERT_STRING_EQUAL(mock_written.host, "far");
    CU_ASSERT_EQUAL(mock_written.interval, (uint64_t)5 << 30);
    CU_ASSERT_EQUAL(mock_written.time, (uint64_t)77 << 30);
    CU_ASSERT_EQUAL(mock_written_first, 0x3ff0000000000000);
    end();
}

static int rename_in_chain(value_list_t *vl)
{
    (void)strcpy(vl->host, "renamed");
    (void)strcpy(vl->type_instance, "by chain");
    return 0;
}

/* Goal: a chain may rename a series; its token is still known. */
static void test_renamed_value_is_seen(void)
{
    argus_SeriesDef def = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);

    begin(false, true);
    mock_chain = rename_in_chain;
    series(1, &def);
    (void)value(1, 9, 1);
    mock_write_all();
    CU_ASSERT_STRING_EQUAL(mock_written.host, "renamed");
    CU_ASSERT_EQUAL(mock_rt.seen_token, 9);
    end();
}

static int derive_in_chain(value_list_t *vl)
{
    static bool inside;
    value_list_t derived = *vl;

    if (inside)
        return 0;
    inside = true;
    derived.meta = NULL;
    (void)strcpy(derived.plugin, "derived");
    (void)plugin_dispatch_values(&derived);
    return 1; /* as v5upgrade does: the first value goes no further */
}

/* Goal: what another plugin makes of a value in the write thread is local,
 * though it inherits the context. */
static void test_derived_value_is_local(void)
{
    argus_SeriesDef def = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);

    begin(true, true);
    mock_chain = derive_in_chain;
    series(1, &def);
    (void)value(1, 9, 1);
    mock_write_all();
    CU_ASSERT_EQUAL(mock_rt.seen, 0);
    CU_ASSERT_EQUAL(mock_rt.values, 1);
    CU_ASSERT_STRING_EQUAL(mock_rt.value.plugin, "derived");
    end();
}

/* Goal: a mark alone is never sent on, and never counts as seen. */
static void test_mark_without_token_is_ignored(void)
{
    begin(true, true);
    value_list_t vl = local_value("gauge", 1);
    vl.meta = meta_data_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(vl.meta);
    meta_data_add_boolean(vl.meta, "argus:received", true);
    (void)plugin_dispatch_values(&vl);
    mock_write_all();
    meta_data_destroy(vl.meta);
    CU_ASSERT_EQUAL(mock_rt.seen, 0);
    CU_ASSERT_EQUAL(mock_rt.values, 0);
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_stray, 1);

    /* A token alone is a local plugin with a FlushTimeout. */
    (void)plugin_set_ctx((plugin_ctx_t){.flush_timeout = 5});
    vl.meta = NULL;
    (void)plugin_dispatch_values(&vl);
    mock_write_all();
    CU_ASSERT_EQUAL(mock_rt.seen, 0);
    CU_ASSERT_EQUAL(mock_rt.values, 1);
    end();
}

#ifdef COLLECTD_CACHE_EVENTS
/* Goal: a value that a chain gives to another writer only is told of as soon as
 * its thread goes on, with its token, though a chain renamed it; one that argus
 * saw is not. Writers meet no meta data but the mark. */
static void test_value_that_passes_by_is_told_of(void)
{
    argus_SeriesDef def = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);

    begin_with_touches();
    series(1, &def);
    mock_chain = rename_in_chain;
    for (uint64_t token = 11; token <= 13; token++)
        (void)value(1, token, 1);
    mock_only_writer = "keeper";
    mock_write_one();
    CU_ASSERT_EQUAL(mock_writes, 1);
    CU_ASSERT_EQUAL(mock_written_metas, 1);
    CU_ASSERT_EQUAL(mock_rt.passed, 0);
    CU_ASSERT_TRUE(hooks.is_held(hooks.context, 11));
    mock_only_writer = NULL;
    mock_write_one();
    CU_ASSERT_EQUAL(mock_rt.passed, 1);
    CU_ASSERT_EQUAL(mock_rt.passed_token, 11);
    CU_ASSERT_EQUAL(mock_rt.seen_token, 12);
    CU_ASSERT_EQUAL(mock_written_metas, 1);
    mock_only_writer = "keeper";
    mock_write_one();
    CU_ASSERT_EQUAL(mock_rt.passed, 1);
    CU_ASSERT_FALSE(hooks.is_held(hooks.context, 12));

    value_list_t local = local_value("gauge", 1);
    (void)plugin_dispatch_values(&local);
    mock_write_all();
    CU_ASSERT_EQUAL(mock_rt.passed, 2);
    CU_ASSERT_EQUAL(mock_rt.passed_token, 13);
    CU_ASSERT_FALSE(hooks.is_held(hooks.context, 13));
    CU_ASSERT_EQUAL(mock_rt.seen, 1);
    end();
}

static void *write_one_elsewhere(void *unused)
{
    (void)unused;
    mock_write_one();
    return NULL;
}

/* Goal: each thread is told apart: what one does says nothing of the value in
 * the hands of another. */
static void test_threads_are_told_apart(void)
{
    argus_SeriesDef def = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);
    pthread_t thread;

    begin_with_touches();
    series(1, &def);
    mock_only_writer = "keeper";
    for (uint64_t token = 21; token <= 23; token++)
        (void)value(1, token, 1);
    mock_write_one();
    CU_ASSERT_EQUAL_FATAL(
        pthread_create(&thread, NULL, write_one_elsewhere, NULL), 0);
    (void)pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(mock_rt.passed, 0);
    CU_ASSERT_TRUE(hooks.is_held(hooks.context, 21));
    CU_ASSERT_TRUE(hooks.is_held(hooks.context, 22));
    mock_write_one();
    CU_ASSERT_EQUAL(mock_rt.passed, 1);
    CU_ASSERT_EQUAL(mock_rt.passed_token, 21);
    CU_ASSERT_TRUE(hooks.is_held(hooks.context, 22));
    end();
}

static int stop_in_chain(value_list_t *vl)
{
    return strcmp(vl->host, "far") == 0;
}

/* Goal: what a chain stops before the cache is never held nor told of, but own
 * metrics tell how far collectd's queue has moved; they pass in the cache or,
 * where collectd does not tell of that, in the write callback. */
static void test_own_metrics_tell_of_progress(void)
{
    argus_SeriesDef def = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);

    for (unsigned run = 0; run < 2; run++) {
        if (run == 0)
            begin_with_touches();
        else
            begin(false, true);
        mock_chain = stop_in_chain;
        series(1, &def);
        (void)bridge_read(bridge);
        mock_write_all();
        CU_ASSERT_EQUAL(mock_rt.progresses, 0); /* nothing was handed over */
        (void)value(1, 31, 1);
        (void)value(1, 32, 1);
        mock_write_all();
        CU_ASSERT_FALSE(hooks.is_held(hooks.context, 31));
        CU_ASSERT_EQUAL(mock_rt.progresses, 0);
        (void)bridge_read(bridge);
        (void)value(1, 33, 1);
        mock_only_writer = run == 0 ? "keeper" : NULL;
        mock_write_all();
        CU_ASSERT_TRUE(mock_rt.progresses > 0);
        CU_ASSERT_EQUAL(mock_rt.progress_token, 32);
        CU_ASSERT_EQUAL(mock_rt.passed, 0);
        CU_ASSERT_EQUAL(mock_rt.seen, 0);
        if (run == 0)
            CU_ASSERT_EQUAL(mock_written_metas, 0);
        end();
    }
}
#endif

/* Goal: a type that is unknown here, or is another, goes to the writers with
 * the sender's data sources, and counts as written. */
static void test_unknown_type_is_written_directly(void)
{
    static const struct {
        const char *type;
        pb_size_t count;
        argus_SourceType kind;
    } cases[] = {
        {"their_own", 2, argus_SourceType_SOURCE_ABSOLUTE},
        {"load", 2, argus_SourceType_SOURCE_GAUGE},
        {"gauge", 1, argus_SourceType_SOURCE_DERIVE},
    };

    begin(true, true);
    for (unsigned i = 0; i < 3; i++) {
        argus_SeriesDef def =
            def_of(cases[i].type, cases[i].count, cases[i].kind);
        series(i, &def);
        CU_ASSERT_TRUE(value(i, 100 + i, cases[i].count));
        CU_ASSERT_EQUAL(mock_writes, i + 1);
        CU_ASSERT_STRING_EQUAL(mock_written_set, cases[i].type);
    }
    CU_ASSERT_EQUAL(mock_queue_length, 0);
    CU_ASSERT_EQUAL(mock_rt.values, 0);
    CU_ASSERT_EQUAL(mock_rt.seen, 0); /* "true" said it already */
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_direct, 3);
    end();
}

/* Goal: names that a writer could turn into a path elsewhere do not pass. */
static void test_hostile_series_are_refused(void)
{
    argus_SeriesDef good = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);
    argus_SeriesDef bad[9];

    begin(false, true);
    for (int i = 0; i < 9; i++)
        bad[i] = good;
    (void)strcpy(bad[0].host, "..");
    bad[1].host[0] = '\0';
    bad[2].type[0] = '\0';
    (void)strcpy(bad[3].plugin, ".");
    (void)strcpy(bad[4].type_instance, "a\nb");
    bad[5].sources_count = 0;
    bad[6].sources[0].type = (argus_SourceType)9;
    (void)strcpy(bad[7].sources[0].name, "a:b");
    bad[8].sources[0].name[0] = '\0';
    for (uint64_t i = 0; i < 9; i++) {
        series(i, &bad[i]);
        CU_ASSERT_FALSE(value(i, 1 + i, 1));
    }
    CU_ASSERT_EQUAL(mock_queue_length, 0);
    CU_ASSERT_EQUAL(bridge_stats(bridge).series_refused, 9);
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_unknown, 9);
    CU_ASSERT_EQUAL(mock_log_lines, 1);

    (void)strcpy(good.host, "../../etc");
    series(20, &good);
    CU_ASSERT_FALSE(value(20, 1, 1));
    mock_write_all();
    CU_ASSERT_STRING_EQUAL(mock_written.host, ".._.._etc");
    end();
}

/* Goal: a series lives from its begin to its end, and may be named anew. */
static void test_series_end_and_begin_anew(void)
{
    argus_SeriesDef one = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);
    argus_SeriesDef three = def_of("load", 3, argus_SourceType_SOURCE_GAUGE);

    begin(false, true);
    series(5, &one);
    CU_ASSERT_FALSE(value(5, 1, 3)); /* as many numbers as it has not */
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_unknown, 1);
    series(5, &three);
    (void)value(5, 2, 3);
    CU_ASSERT_EQUAL(mock_queue_length, 1);
    hooks.series_end(hooks.context, 5);
    hooks.series_end(hooks.context, 5);
    (void)value(5, 3, 3);
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_unknown, 2);
    CU_ASSERT_EQUAL(mock_queue_length, 1);
    end();
}

/* Goal: after a reset handles mean nothing until they are begun anew. */
static void test_series_reset_forgets_all(void)
{
    argus_SeriesDef def = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);

    begin(false, true);
    for (uint64_t i = 1; i <= 3; i++)
        series(i, &def);
    hooks.series_reset(hooks.context);
    CU_ASSERT_FALSE(value(2, 1, 1));
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_unknown, 1);
    series(2, &def);
    CU_ASSERT_FALSE(value(2, 1, 1));
    CU_ASSERT_EQUAL(mock_queue_length, 1);
    end();
}

/* Goal: collectd takes nothing: counted, not taken for written. */
static void test_refused_dispatch_is_counted(void)
{
    argus_SeriesDef def = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);

    begin(false, true);
    series(1, &def);
    mock_dispatch_status = ENOMEM;
    CU_ASSERT_FALSE(value(1, 1, 1));
    CU_ASSERT_EQUAL(bridge_stats(bridge).value_failed, 1);
    end();
}

/* Goal: from the first sign of a shutdown nothing enters collectd any more. */
static void test_freeze_stops_what_comes_from_the_mesh(void)
{
    argus_SeriesDef def = def_of("gauge", 1, argus_SourceType_SOURCE_GAUGE);
    argus_SeriesDef direct = def_of("theirs", 1, argus_SourceType_SOURCE_GAUGE);
    argus_Event event = argus_Event_init_zero;

    begin(false, true);
    series(1, &def);
    series(2, &direct);
    bridge_freeze(bridge);
    CU_ASSERT_EQUAL(mock_rt.freezes, 1);
    CU_ASSERT_FALSE(value(1, 1, 1));
    CU_ASSERT_FALSE(value(2, 2, 1));
    event.severity = argus_Severity_SEVERITY_FAILURE;
    hooks.notify(hooks.context, &event);
    CU_ASSERT_EQUAL(mock_queue_length, 0);
    CU_ASSERT_EQUAL(mock_writes, 0);
    CU_ASSERT_EQUAL(mock_notifications, 0);
    end();
}

/* ------------------------------------------------------- notifications */

/* Goal: a local notification becomes an event with all its fields. */
static void test_local_notification_is_posted(void)
{
    notification_t n = {.severity = NOTIF_WARNING,
                        .time = (cdtime_t)5 << 30,
                        .message = "full",
                        .host = "h",
                        .plugin = "df",
                        .plugin_instance = "root",
                        .type = "percent",
                        .type_instance = "used"};

    begin(true, false);
    (void)plugin_dispatch_notification(&n);
    CU_ASSERT_EQUAL_FATAL(mock_rt.notices, 1);
    CU_ASSERT_EQUAL(mock_rt.notice.severity, argus_Severity_SEVERITY_WARNING);
    CU_ASSERT_EQUAL(mock_rt.notice.time, (uint64_t)5 << 30);
    CU_ASSERT_STRING_EQUAL(mock_rt.notice.message, "full");
    CU_ASSERT_STRING_EQUAL(mock_rt.notice.host, "h");
    CU_ASSERT_STRING_EQUAL(mock_rt.notice.plugin, "df");
    CU_ASSERT_STRING_EQUAL(mock_rt.notice.plugin_instance, "root");
    CU_ASSERT_STRING_EQUAL(mock_rt.notice.type, "percent");
    CU_ASSERT_STRING_EQUAL(mock_rt.notice.type_instance, "used");

    n.host[0] = '\0';
    n.time = 0;
    (void)plugin_dispatch_notification(&n);
    CU_ASSERT_STRING_EQUAL(mock_rt.notice.host, "here.example.org");
    CU_ASSERT_EQUAL(mock_rt.notice.time, cdtime());
    n.severity = 3;
    (void)plugin_dispatch_notification(&n);
    mock_rt.full = true;
    n.severity = NOTIF_OKAY;
    (void)plugin_dispatch_notification(&n);
    CU_ASSERT_EQUAL(mock_rt.notices, 2);
    CU_ASSERT_EQUAL(bridge_stats(bridge).notice_refused, 2);
    end();
}

/* Goal: an event of the mesh becomes a marked notification, which does not go
 * round. */
static void test_mesh_event_is_notified_once(void)
{
    argus_Event event = argus_Event_init_zero;

    begin(true, true);
    event.severity = argus_Severity_SEVERITY_FAILURE;
    event.time = (uint64_t)9 << 30;
    event.hlc = 0x18c0ffee0001;
    (void)strcpy(event.node, "web-1");
    (void)strcpy(event.host, "web-1.example.org");
    (void)strcpy(event.message, "down");
    hooks.notify(hooks.context, &event);
    CU_ASSERT_EQUAL(mock_notifications, 1);
    CU_ASSERT_EQUAL(mock_notified.severity, NOTIF_FAILURE);
    CU_ASSERT_EQUAL(mock_notified.time, (cdtime_t)9 << 30);
    CU_ASSERT_STRING_EQUAL(mock_notified.host, "web-1.example.org");
    CU_ASSERT_STRING_EQUAL(mock_notified.message, "down");
    CU_ASSERT_PTR_NOT_NULL(
        strstr(mock_trace, "argus:origin web-1 argus:hlc 000018c0ffee0001"));
    CU_ASSERT_EQUAL(mock_rt.notices, 0);

    event.severity = (argus_Severity)3;
    hooks.notify(hooks.context, &event);
    CU_ASSERT_EQUAL(mock_notifications, 1);
    CU_ASSERT_EQUAL(bridge_stats(bridge).notice_refused, 1);
    end();
}

/* ---------------------------------------------------- missing, metrics */

/* Goal: only an aggregator answers for a series that moved; and a loop that is
 * slow to answer is not asked again at once. */
static void test_missing_series_that_moved(void)
{
    value_list_t vl = local_value("gauge", 1);

    begin(true, false);
    mock_rt.moved = true;
    CU_ASSERT_EQUAL(bridge_missing(bridge, &vl), 0);
    CU_ASSERT_EQUAL(mock_rt.moved_asked, 0);
    end();

    begin(false, true);
    CU_ASSERT_EQUAL(bridge_missing(bridge, &vl), 0);
    mock_rt.moved = true;
    CU_ASSERT_EQUAL(bridge_missing(bridge, &vl), 1);
    CU_ASSERT_EQUAL(mock_rt.moved_asked, 2);
    mock_rt.moved_ms = 550;
    CU_ASSERT_EQUAL(bridge_missing(bridge, &vl), 1);
    mock_rt.moved_ms = 0;
    CU_ASSERT_EQUAL(bridge_missing(bridge, &vl), 0);
    CU_ASSERT_EQUAL(mock_rt.moved_asked, 3);
    end();
}

/* Goal: the bridge hands its counters to the runtime, under names of their own,
 * and never more than there is room for. */
static void test_counters_are_handed_over(void)
{
    struct runtime_counter list[32];
    size_t fields =
        (sizeof(struct bridge_stats) + sizeof(struct workers_stats)) /
        sizeof(uint64_t);

    begin(true, false);
    value_list_t vl = local_value("gauge", 1);
    vl.host[0] = '\0';
    bridge_write(bridge, plugin_get_ds("gauge"), &vl);
    CU_ASSERT_EQUAL(hooks.counters(bridge, list, 3), 3);
    CU_ASSERT_EQUAL(hooks.counters(bridge, list, 32), fields);
    CU_ASSERT_STRING_EQUAL(list[0].name, "bridge_value_refused");
    CU_ASSERT_EQUAL(list[0].value, 1);
    end();
}

/* Goal: own metrics are dispatched with types that exist; others are left out
 * and named once. */
static void test_own_metrics_are_dispatched(void)
{
    begin(true, false);
    CU_ASSERT_EQUAL(bridge_read(bridge), 0);
    CU_ASSERT_EQUAL(mock_queue_length, 2);
    mock_write_all();
    CU_ASSERT_EQUAL(mock_rt.values, 2); /* routed like any other */
    CU_ASSERT_STRING_EQUAL(mock_written.plugin, "argus");
    CU_ASSERT_STRING_EQUAL(mock_written.plugin_instance, "route");
    CU_ASSERT_STRING_EQUAL(mock_written.type_instance, "value_sent");
    CU_ASSERT_EQUAL(mock_log_lines, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(mock_log, "type \"nosuchtype\""));
    end();
}

/* ---------------------------------------------------------------- threads */

#define THREADS 4
#define ROUNDS_MIN 200
#define ROUNDS_MAX 1000000

static atomic_bool enough;

static void *call_back(void *unused)
{
    notification_t n = {.severity = NOTIF_OKAY, .message = "m", .host = "h"};
    value_t number = {.gauge = 1};
    value_list_t vl = local_value("gauge", 1);
    const char *const types[] = {"gauge", "derive", "load", "if_octets"};

    (void)unused;
    vl.values = &number;
    for (int i = 0; !enough; i++) {
        const data_set_t *ds = plugin_get_ds(types[i % 4]);
        (void)strcpy(vl.type, ds->type);
        bridge_write(bridge, ds, &vl);
        bridge_notification(bridge, &n);
    }
    return NULL;
}

/* Goal: callbacks of many threads reach the runtime while it is there, and
 * never once bridge_detach() has returned.
 * Method: take it away and bring it back under their feet. */
static void test_detach_lets_no_callback_through(void)
{
    pthread_t threads[THREADS];
    struct bridge_options options = {.route = true};

    begin(true, false);
    enough = false;
    for (int i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&threads[i], NULL, call_back, NULL), 0);
    unsigned values = 0;
    for (int i = 0; i < ROUNDS_MIN || (values < 100 && i < ROUNDS_MAX); i++) {
        bridge_detach(bridge);
        mock_rt.gone = true;
        values = mock_rt.values; /* nobody else touches it now */
        sched_yield();
        mock_rt.gone = false;
        bridge_attach(bridge, mock_runtime_get(), &options);
        sched_yield();
    }
    enough = true;
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(mock_rt.posts_late, 0);
    CU_ASSERT_TRUE(mock_rt.values >= 100);
    /* "load" and "if_octets" have more sources than the value has numbers. */
    CU_ASSERT_TRUE(bridge_stats(bridge).value_refused > 0);
    end();
}

CU_TestInfo suite_bridge[] = {
    {"local_value_is_posted", test_local_value_is_posted},
    {"value_without_routing_stays", test_value_without_routing_stays},
    {"scripts_are_told_from_plugins", test_scripts_are_told_from_plugins},
    {"unfit_values_are_refused_and_counted",
     test_unfit_values_are_refused_and_counted},
    {"passing_data_sets_are_copied", test_passing_data_sets_are_copied},
    {"dispatched_value_is_seen_with_its_token",
     test_dispatched_value_is_seen_with_its_token},
    {"renamed_value_is_seen", test_renamed_value_is_seen},
    {"derived_value_is_local", test_derived_value_is_local},
    {"mark_without_token_is_ignored", test_mark_without_token_is_ignored},
#ifdef COLLECTD_CACHE_EVENTS
    {"value_that_passes_by_is_told_of", test_value_that_passes_by_is_told_of},
    {"threads_are_told_apart", test_threads_are_told_apart},
    {"own_metrics_tell_of_progress", test_own_metrics_tell_of_progress},
#endif
    {"unknown_type_is_written_directly", test_unknown_type_is_written_directly},
    {"hostile_series_are_refused", test_hostile_series_are_refused},
    {"series_end_and_begin_anew", test_series_end_and_begin_anew},
    {"series_reset_forgets_all", test_series_reset_forgets_all},
    {"refused_dispatch_is_counted", test_refused_dispatch_is_counted},
    {"freeze_stops_what_comes_from_the_mesh",
     test_freeze_stops_what_comes_from_the_mesh},
    {"local_notification_is_posted", test_local_notification_is_posted},
    {"mesh_event_is_notified_once", test_mesh_event_is_notified_once},
    {"missing_series_that_moved", test_missing_series_that_moved},
    {"counters_are_handed_over", test_counters_are_handed_over},
    {"own_metrics_are_dispatched", test_own_metrics_are_dispatched},
    {"detach_lets_no_callback_through", test_detach_lets_no_callback_through},
    CU_TEST_INFO_NULL,
};
