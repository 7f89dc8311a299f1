/* argus.c - the collectd plugin: config, init, shutdown, nothing clever.
 *
 * collectd reads its configuration before it forks and walks most of its lists
 * without a lock, so callbacks are registered at load or in init and threads
 * start in init. Whatever goes wrong, argus then stays inert: its callbacks do
 * nothing, and the daemon goes on as if it were not there.
 *
 * Three things hang on the order in which collectd does things (plugin.c):
 * - `missing` is registered at load, so that it is asked before threshold's,
 *   which registers its own only when it reads its configuration.
 * - The write callback is registered last of all, so that a value that reaches
 *   it has been through every other writer. plugin_init_all() walks its list
 *   while init callbacks append to it: a second one, appended by the first,
 * runs after every other plugin's.
 * - The first certain sign of a shutdown is that the read callbacks are freed,
 *   with their user data, before the write threads stop. flush comes later, and
 *   comes at any time when a user asks for it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* dladdr */
#endif
#include "collectd.h"

#include "configfile.h"
#include "plugin.h"

#include <dlfcn.h>
#include <pthread.h>

#include "base/log.h"
#include "bridge.h"
#include "config.h"
#include "runtime/runtime.h"

/** How long a stop waits for what is queued for the mesh to leave. */
#define DRAIN_MS 2000

static struct {
    struct config config;
    bool refused; /* a block was; the rest is not even read */
    struct bridge *bridge;
    struct runtime *runtime; /* NULL: inert */
    bool touches; /* collectd tells of values that it puts into the cache */
    pthread_t loop, deliver;
} argus;

static int stay_inert(const struct argus_error *err)
{
    log_write(LOG_LEVEL_ERROR, "%s; argus stays inert", err->text);
    argus.refused = true;
    return 0; /* any other value ends the daemon, or fails its start */
}

/* -------------------------------------------------------------- threads */

static void *run_loop(void *rt)
{
    runtime_run(rt);
    return NULL;
}

static void *run_deliver(void *rt)
{
    runtime_deliver(rt);
    return NULL;
}

static int create_thread(pthread_t *thread, void *(*run)(void *),
                         const char *name)
{
#ifdef PLUGIN_THREAD_CREATE_ATTR
    return plugin_thread_create(thread, NULL, run, argus.runtime, name);
#else
    return plugin_thread_create(thread, run, argus.runtime, name);
#endif
}

/* Both or none. Signals are for the daemon's main thread: threads begin with
 * the mask of whoever makes them. */
static int start_threads(struct argus_error *err)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = create_thread(&argus.loop, run_loop, "argus-loop");
    if (rc == 0) {
        rc = create_thread(&argus.deliver, run_deliver, "argus-deliver");
        if (rc != 0) {
            runtime_stop(argus.runtime, 0);
            (void)pthread_join(argus.loop, NULL);
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return argus_fail(err, ARGUS_EIO, "cannot start a thread: %s",
                          strerror(rc));
    return ARGUS_OK;
}

/* ------------------------------------------------------------ callbacks */

static int on_write(const data_set_t *ds, const value_list_t *vl,
                    user_data_t *data)
{
    (void)data;
    return bridge_write(argus.bridge, ds, vl);
}

static int on_notification(const notification_t *n, user_data_t *data)
{
    (void)data;
    return bridge_notification(argus.bridge, n);
}

#ifdef COLLECTD_CACHE_EVENTS
static int on_cache_event(cache_event_t *event, user_data_t *data)
{
    (void)data;
    if (event->type == CE_VALUE_EXPIRED)
        return 0;   /* nothing was written */
    event->ret = 1; /* of a new one: further values of it, too */
    bridge_touch(argus.bridge, event->value_list);
    return 0;
}

/* Before there are write threads: a series that is in the cache already is
 * never asked about again. */
static void watch_cache(void)
{
    if (argus.config.options.role == argus_Role_ROLE_AGGREGATOR &&
        !argus.touches)
        argus.touches =
            plugin_register_cache_event("argus", on_cache_event, NULL) == 0;
}
#else
static void watch_cache(void)
{
}
#endif

static int on_missing(const value_list_t *vl, user_data_t *data)
{
    (void)data;
    return bridge_missing(argus.bridge, vl);
}

static int on_read(user_data_t *data)
{
    (void)data;
    return bridge_read(argus.bridge);
}

/* The user data of on_read is freed: collectd shuts down. */
static void on_read_freed(void *data)
{
    (void)data;
    bridge_freeze(argus.bridge);
}

static int on_flush(cdtime_t timeout, const char *identifier, user_data_t *data)
{
    (void)data;
    return bridge_flush(argus.bridge, timeout, identifier);
}

static int on_config(oconfig_item_t *block)
{
    struct argus_error err;

    if (argus.refused)
        return 0;
    if (config_block(&argus.config, block, &err) != ARGUS_OK)
        return stay_inert(&err);
    watch_cache();
    return 0;
}

/* Runs after the init callbacks of all other plugins; see above. */
static int on_init_last(void)
{
    if (argus.runtime != NULL)
        (void)plugin_register_write("argus", on_write, NULL);
    return 0;
}

/* ----------------------------------------------------------------- life */

/* collectd does not tell its PluginDir; it found this file there. */
static const char *own_folder(void)
{
    static char path[PATH_MAX];
    Dl_info info;

    if (dladdr((void *)(uintptr_t)module_register, &info) == 0 ||
        realpath(info.dli_fname, path) == NULL)
        return "";
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        *slash = '\0';
    return path;
}

static int resolve(struct argus_error *err)
{
    char work_dir[PATH_MAX];

    if (getcwd(work_dir, sizeof work_dir) == NULL)
        return argus_fail_errno(err, "the folder collectd works in");
    return config_resolve(
        &argus.config,
        &(struct config_host){
            .hostname = hostname_g,
            .base_dir = global_option_get("BaseDir"),
            .work_dir = work_dir,
            .write_threads = global_option_get("WriteThreads"),
            .write_limit_high = global_option_get("WriteQueueLimitHigh"),
            .write_limit_low = global_option_get("WriteQueueLimitLow"),
            .plugin_dir = own_folder(),
            .interval_s = CDTIME_T_TO_DOUBLE(cf_get_default_interval()),
            .is_root = geteuid() == 0,
        },
        err);
}

/* Under `collectd -T` another daemon may be alive on this configuration. */
static bool is_test_run(void)
{
    const char *threads = global_option_get("ReadThreads");

    return threads != NULL && strcmp(threads, "-1") == 0;
}

static int start(struct argus_error *err)
{
    const struct runtime_options *options = &argus.config.options;
    struct bridge_options bridge = {
        .route = options->route,
        .aggregator = options->role == argus_Role_ROLE_AGGREGATOR,
        .touches = argus.touches,
    };
    struct runtime_hooks hooks = bridge_hooks(argus.bridge);

    int rc = runtime_new(options, &hooks, &argus.runtime, err);
    if (rc != ARGUS_OK)
        return rc;
    rc = runtime_open(argus.runtime, err);
    if (rc == ARGUS_OK)
        rc = start_threads(err);
    if (rc != ARGUS_OK) {
        runtime_free(argus.runtime);
        argus.runtime = NULL;
        return rc;
    }
    bridge_attach(argus.bridge, argus.runtime, &bridge);
    (void)plugin_register_init("argus-write", on_init_last);
    return ARGUS_OK;
}

static void say_how_far(void)
{
    if (config_protects(&argus.config))
        return;
    if (argus.config.options.allow_plaintext)
        log_write(LOG_LEVEL_WARNING,
                  "AllowPlaintext is true: links are not protected, whoever "
                  "reaches this node can read and send");
    else
        log_write(
            LOG_LEVEL_NOTICE,
            "there is no key (KeyFile in <Security>), so this node stays on "
            "loopback");
}

static int on_init(void)
{
    struct argus_error err = {{0}};

    if (argus.refused)
        return 0;
    if (resolve(&err) != ARGUS_OK)
        return stay_inert(&err);
    if (is_test_run())
        return 0;
    if (start(&err) != ARGUS_OK)
        return stay_inert(&err);
    say_how_far();
    return 0;
}

static int on_shutdown(void)
{
    struct runtime *rt = argus.runtime;

    if (rt != NULL) {
        bridge_freeze(argus.bridge);
        bridge_detach(argus.bridge);
        runtime_stop(rt, DRAIN_MS);
        (void)pthread_join(argus.loop, NULL);
        (void)pthread_join(argus.deliver, NULL);
        argus.runtime = NULL;
        runtime_free(rt);
    }
    /* The bridge itself stays: threads of other plugins may still notify. */
    bridge_forget(argus.bridge);
    config_free(&argus.config);
    return 0;
}

__attribute__((visibility("default"))) void module_register(void)
{
    user_data_t read_data = {.data = &argus, .free_func = on_read_freed};

    log_set_sink(bridge_log);
    config_init(&argus.config);
    argus.refused = argus.touches = false;
    if (argus.bridge == NULL && bridge_new(&argus.bridge) != ARGUS_OK) {
        log_write(LOG_LEVEL_ERROR, "out of memory; argus stays inert");
        return;
    }
    (void)plugin_register_complex_config("argus", on_config);
    (void)plugin_register_init("argus", on_init);
    (void)plugin_register_missing("argus", on_missing, NULL);
    (void)plugin_register_notification("argus", on_notification, NULL);
    (void)plugin_register_flush("argus", on_flush, NULL);
    (void)plugin_register_complex_read(NULL, "argus", on_read, 0, &read_data);
    (void)plugin_register_shutdown("argus", on_shutdown);
}
