/* carry_apply.c - what the engine and the workers have to say to each other. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "runtime/runtime_impl.h"

static bool on_head(void *context, uint32_t index, struct bundle_view *out)
{
    const struct runtime *rt = context;

    return engine_bundle(rt->engine, index, runtime_wall_us(), out);
}

static bool on_by_hash(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                       struct bundle_view *out)
{
    const struct runtime *rt = context;

    return engine_bundle_hash(rt->engine, hash, runtime_wall_us(), out);
}

static void on_states(void *context, const argus_BundleState *states,
                      uint32_t count)
{
    struct event event = {.type = EVENT_BUNDLE_STATES,
                          .bundle_states = {states, count}};
    runtime_step(context, &event);
}

static void on_kept(void *context, const uint8_t (*hashes)[CONTENT_HASH_SIZE],
                    uint32_t count)
{
    struct event event = {.type = EVENT_BUNDLES_KEPT,
                          .bundles_kept = {hashes, count}};
    runtime_step(context, &event);
}

static void on_keep(void *context, const char *name,
                    const struct store_applied *applied)
{
    const struct runtime *rt = context;

    store_put_applied(rt->store, name, applied);
}

static void on_report(void *context, argus_Severity severity,
                      const char *bundle, const char *text)
{
    struct runtime *rt = context;
    argus_Event notice;
    uint64_t hlc, number, wall_us = runtime_wall_us();
    struct event event = {.type = EVENT_NOTICE};

    memset(&notice, 0, sizeof notice);
    notice.severity = severity;
    /* cdtime: 2^-30 s */
    notice.time = (wall_us / 1000000 << 30) +
                  ((wall_us % 1000000 << 30) + 500000) / 1000000;
    text_copy(notice.host, sizeof notice.host, rt->options.name);
    text_copy(notice.plugin, sizeof notice.plugin, "argus");
    text_copy(notice.plugin_instance, sizeof notice.plugin_instance, "apply");
    text_copy(notice.type, sizeof notice.type, "bundle");
    text_copy(notice.type_instance, sizeof notice.type_instance, bundle);
    text_copy(notice.message, sizeof notice.message, text);
    event.notice.event = &notice;
    event.notice.always = true;
    event.notice.hlc = &hlc;
    event.notice.number = &number;
    runtime_step(rt, &event);
}

/** Values between two looks at the backlog. */
#define PASSES_MAX 256

static void look_at_backlog(struct runtime *rt)
{
    if (rt->hooks.backlog == NULL || rt->is_backlogged ||
        ++rt->passes < PASSES_MAX)
        return;
    rt->passes = 0;
    if (rt->hooks.backlog(rt->hooks.context) <= BACKLOG_HIGH)
        return;
    rt->is_backlogged = true;
    apply_pause(rt->apply, true);
}

static void on_pass(void *context, uint32_t worker, bool begins,
                    const uint8_t *message, size_t size)
{
    deliver_worker(context, worker, begins, message, size);
    carry_maybe_high(context);
    look_at_backlog(context);
}

/* A stop waits for the last of them. */
static void on_gone(void *context, uint32_t worker)
{
    struct runtime *rt = context;

    deliver_worker_end(rt, worker);
    if (rt->phase == PHASE_DRAINING)
        (void)uv_async_send(&rt->wake);
}

static void on_wants_down(void *context, bool wants)
{
    struct runtime *rt = context;

    atomic_store(&rt->wants_down, wants);
}

static bool on_is_loaded(void *context, const char *plugin)
{
    const struct runtime *rt = context;

    return rt->hooks.is_loaded != NULL &&
           rt->hooks.is_loaded(rt->hooks.context, plugin);
}

int carry_apply_open(struct runtime *rt, struct argus_error *err)
{
    const struct apply_options options = {
        .loop = &rt->loop,
        .runtime = &rt->options,
        .chunks = store_chunks(rt->store),
    };
    const struct apply_world world = {
        .context = rt,
        .head = on_head,
        .by_hash = on_by_hash,
        .states = on_states,
        .kept = on_kept,
        .keep = on_keep,
        .report = on_report,
        .pass = on_pass,
        .gone = on_gone,
        .wants_down = on_wants_down,
        .is_loaded = on_is_loaded,
    };

    if (apply_new(&options, &world, &rt->apply) == ARGUS_OK)
        return ARGUS_OK;
    return argus_fail(err, ARGUS_ENOMEM, "no memory for bundles");
}

static void on_applied_row(void *context, const char *name,
                           const struct store_applied *applied)
{
    apply_recall(context, name, applied);
}

void carry_apply_start(struct runtime *rt)
{
    rt->bundles_changed = false;
    if (rt->is_applying) {
        apply_republish(rt->apply);
        return;
    }
    rt->is_applying = true;
    store_each_applied(rt->store, on_applied_row, rt->apply);
    apply_start(rt->apply);
}
