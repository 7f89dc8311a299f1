#include "mock/runtime.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mock/collectd.h"
#include "wire/pair.h"

struct runtime {
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool is_stopped;
};

static struct runtime the_runtime = {PTHREAD_MUTEX_INITIALIZER,
                                     PTHREAD_COND_INITIALIZER, false};

struct mock_runtime mock_rt;

void mock_runtime_reset(void)
{
    memset(&mock_rt, 0, sizeof mock_rt);
    the_runtime.is_stopped = false;
}

struct runtime *mock_runtime_get(void)
{
    return &the_runtime;
}

int runtime_new(const struct runtime_options *options,
                const struct runtime_hooks *hooks, struct runtime **out,
                struct argus_error *err)
{
    (void)err;
    mock_rt.options = *options;
    mock_rt.hooks = *hooks;
    mock_rt.made++;
    *out = &the_runtime;
    return ARGUS_OK;
}

int runtime_open(struct runtime *rt, struct argus_error *err)
{
    (void)rt;
    if (mock_rt.open_status != ARGUS_OK)
        return argus_fail(err, mock_rt.open_status, "StateDir is locked");
    mock_rt.opened++;
    return ARGUS_OK;
}

static void run_until_stop(struct runtime *rt)
{
    pthread_mutex_lock(&rt->lock);
    mock_rt.running++;
    while (!rt->is_stopped)
        pthread_cond_wait(&rt->stop, &rt->lock);
    mock_rt.running--;
    pthread_mutex_unlock(&rt->lock);
}

void runtime_run(struct runtime *rt)
{
    sigset_t mask;

    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    mock_rt.signals_blocked =
        sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGCHLD) == 1;
    run_until_stop(rt);
}

void runtime_deliver(struct runtime *rt)
{
    run_until_stop(rt);
}

void runtime_stop(struct runtime *rt, uint32_t drain_ms)
{
    mock_note("stop");
    pthread_mutex_lock(&rt->lock);
    mock_rt.stopped++;
    mock_rt.drain_ms = drain_ms;
    rt->is_stopped = true;
    pthread_cond_broadcast(&rt->stop);
    pthread_mutex_unlock(&rt->lock);
}

void runtime_free(struct runtime *rt)
{
    (void)rt;
    mock_note("free");
    mock_rt.freed++;
}

/* Posts come from any thread. */
static void post_begin(struct runtime *rt)
{
    pthread_mutex_lock(&rt->lock);
    if (mock_rt.gone)
        mock_rt.posts_late++;
}

static void post_end(struct runtime *rt)
{
    pthread_mutex_unlock(&rt->lock);
}

static void keep_value(const struct value_input *value)
{
    argus_SeriesDef *def = &mock_rt.value;
    memset(def, 0, sizeof *def);
    (void)snprintf(def->host, sizeof def->host, "%s", value->host);
    (void)snprintf(def->plugin, sizeof def->plugin, "%s", value->plugin);
    (void)snprintf(def->type, sizeof def->type, "%s", value->type);
    def->interval = value->interval;
    if (value->set != NULL)
        mock_rt.hooks.describe(value->set, def);
    (void)snprintf(mock_rt.value_source, sizeof mock_rt.value_source, "%s",
                   value->source != NULL ? value->source : "");
    mock_rt.value_time = value->time;
    mock_rt.value_count = value->count;
    memcpy(mock_rt.value_numbers, value->numbers,
           value->count * sizeof value->numbers[0]);
    mock_rt.values++;
}

bool runtime_post_value(struct runtime *rt, const struct value_input *value)
{
    post_begin(rt);
    bool taken = !mock_rt.full;
    if (taken)
        keep_value(value);
    post_end(rt);
    return taken;
}

bool runtime_post_notice(struct runtime *rt, const argus_Event *event)
{
    post_begin(rt);
    bool taken = !mock_rt.full;
    if (taken) {
        mock_rt.notice = *event;
        mock_rt.notices++;
    }
    post_end(rt);
    return taken;
}

void runtime_post_seen(struct runtime *rt, uint64_t token)
{
    post_begin(rt);
    mock_note("seen");
    mock_rt.seen_token = token;
    mock_rt.seen++;
    post_end(rt);
}

void runtime_post_passed(struct runtime *rt, uint64_t token)
{
    post_begin(rt);
    mock_note("passed");
    mock_rt.passed_token = token;
    mock_rt.passed++;
    post_end(rt);
}

void runtime_post_progress(struct runtime *rt, uint64_t token)
{
    post_begin(rt);
    mock_rt.progress_token = token;
    mock_rt.progresses++;
    post_end(rt);
}

bool runtime_wants_down(struct runtime *rt)
{
    (void)rt;
    return mock_rt.wants_down;
}

bool runtime_post_down(struct runtime *rt, uint32_t except,
                       const uint8_t *message, size_t size)
{
    post_begin(rt);
    mock_rt.downs++;
    if (message[PAIR_HEADER_SIZE - 1] == PAIR_SET) {
        mock_rt.down_set_except = except;
        mock_rt.down_set_size = size;
        memcpy(mock_rt.down_set, message, size);
    }
    mock_rt.down_except = except;
    mock_rt.down_size = size;
    memcpy(mock_rt.down, message, size);
    post_end(rt);
    return true;
}

void runtime_post_freeze(struct runtime *rt)
{
    (void)rt;
    mock_note("freeze");
    mock_rt.freezes++;
}

bool runtime_series_moved(struct runtime *rt, const char *host,
                          const char *plugin, const char *plugin_instance,
                          const char *type, const char *type_instance)
{
    (void)rt;
    (void)host;
    (void)plugin;
    (void)plugin_instance;
    (void)type;
    (void)type_instance;
    mock_rt.moved_asked++;
    if (mock_rt.moved_ms > 0)
        (void)usleep(mock_rt.moved_ms * 1000);
    return mock_rt.moved;
}

size_t runtime_stats(struct runtime *rt, struct runtime_stat *out, size_t max)
{
    static const struct runtime_stat stats[] = {
        {"mesh", "gauge", "active", true, 5.0, 0},
        {"route", "derive", "value_sent", false, 0, 42},
        {"mesh", "nosuchtype", "x", true, 1.0, 0},
        {"mesh", "load", "three_sources", true, 1.0, 0},
    };
    size_t i;

    (void)rt;
    for (i = 0; i < max && i < sizeof stats / sizeof stats[0]; i++)
        out[i] = stats[i];
    return i;
}
