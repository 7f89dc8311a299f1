#include "runtime/apply.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "runtime/apply_impl.h"
#include "runtime/runtime_impl.h" /* runtime_now_ms() */
#include "runtime/worker_conf.h"

/** Heads are looked at anew so often: one may have expired. */
#define REFRESH_MS 1000

/** The same where no bundle concerns this node: should memory have been short.
 */
#define REST_MS 60000

/** After a run has moved things are watched closely for so long: longer than
 *  APPLY_HUSH_MS, for a state that is not told at once. */
#define STIRRED_MS (APPLY_HUSH_MS + 500)

/** A start that fails at once leads to the next choice; there are not more. */
#define CHOICES_MAX 3

bool hash_is(const uint8_t a[CONTENT_HASH_SIZE],
             const uint8_t b[CONTENT_HASH_SIZE])
{
    return memcmp(a, b, CONTENT_HASH_SIZE) == 0;
}

bool hash_is_zero(const uint8_t hash[CONTENT_HASH_SIZE])
{
    static const uint8_t zero[CONTENT_HASH_SIZE];

    return hash_is(hash, zero);
}

void apply_keep(struct apply *a, struct subject *s)
{
    bool is_empty =
        hash_is_zero(s->applied.good) && hash_is_zero(s->applied.trial);

    a->world.keep(a->world.context, s->name, is_empty ? NULL : &s->applied);
    apply_pin(a);
}

void apply_pin(struct apply *a)
{
    uint8_t(*pins)[CONTENT_HASH_SIZE] =
        calloc(a->subjects_count * (RUNS_MAX + 1) + 1, sizeof *pins);
    uint32_t count = 0;

    if (pins == NULL)
        return; /* those of before stand */
    for (uint32_t i = 0; i < a->subjects_count; i++) {
        const struct subject *s = a->subjects[i];
        if (!hash_is_zero(s->applied.good))
            memcpy(pins[count++], s->applied.good, sizeof *pins);
        for (size_t k = 0; k < RUNS_MAX; k++)
            if (s->runs[k].subject != NULL)
                memcpy(pins[count++], s->runs[k].hash, sizeof *pins);
    }
    a->world.kept(a->world.context, (const uint8_t(*)[CONTENT_HASH_SIZE])pins,
                  count);
    free(pins);
}

/* ------------------------------------------------------------- subjects */

static void subject_free(struct subject *s)
{
    if (s == NULL)
        return;
    gate_free(s->gate);
    free(s);
}

/* Where that name is, or belongs. */
static uint32_t seat(const struct apply *a, const char *name)
{
    uint32_t i = 0;

    while (i < a->subjects_count && strcmp(a->subjects[i]->name, name) < 0)
        i++;
    return i;
}

static struct subject *subject_get(struct apply *a, const char *name)
{
    uint32_t i = seat(a, name);

    if (i < a->subjects_count && strcmp(a->subjects[i]->name, name) == 0)
        return a->subjects[i];
    struct subject *s =
        a->subjects_count < APPLY_SUBJECTS_MAX ? calloc(1, sizeof *s) : NULL;
    if (s == NULL)
        return NULL;
    s->apply = a;
    text_copy(s->name, sizeof s->name, name);
    s->gate = gate_new(run_pass, s);
    if (s->gate == NULL) {
        free(s);
        return NULL;
    }
    memmove(&a->subjects[i + 1], &a->subjects[i],
            (a->subjects_count - i) * sizeof a->subjects[0]);
    a->subjects[i] = s;
    a->subjects_count++;
    return s;
}

static bool has_runs(const struct subject *s)
{
    for (size_t i = 0; i < RUNS_MAX; i++)
        if (s->runs[i].subject != NULL)
            return true;
    return false;
}

static void forget_idle(struct apply *a)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < a->subjects_count; i++) {
        struct subject *s = a->subjects[i];
        bool is_idle = s->wish == WISH_NOTHING &&
                       s->phase == argus_BundlePhase_BUNDLE_NONE &&
                       !has_runs(s) && hash_is_zero(s->applied.good) &&
                       hash_is_zero(s->applied.trial);
        if (is_idle && s->is_told)
            a->must_tell = true;
        if (is_idle)
            subject_free(s);
        else
            a->subjects[kept++] = s;
    }
    a->subjects_count = kept;
}

/* --------------------------------------------------------------- wishes */

static void wish(struct subject *s, enum wish what, argus_BundlePhase phase,
                 const char *error)
{
    s->wish = what;
    s->phase = phase;
    text_copy(s->error, sizeof s->error, error);
}

static const char *revoked_text(const struct bundle_view *view,
                                char out[APPLY_WHY_SIZE])
{
    char fingerprint[2 * FINGERPRINT_BYTES + 1];

    for (size_t i = 0; i < FINGERPRINT_BYTES; i++)
        (void)snprintf(fingerprint + 2 * i, 3, "%02x", view->signer[i]);
    (void)snprintf(out, APPLY_WHY_SIZE,
                   "the key %s of its operator was revoked", fingerprint);
    return out;
}

/* May that version run here, as far as can be seen from here? NULL: it may.
 * The answer may be in `room`. */
static const char *obstacle(const struct apply *a,
                            const struct bundle_view *view,
                            char room[APPLY_WHY_SIZE])
{
    const struct runtime_options *o = a->options.runtime;

    if (o->trusted_keys_count == 0)
        return "there is no TrustedKey on this node, which stores it only";
    if (view->is_revoked)
        return revoked_text(view, room);
    if (!view->is_trusted)
        return "it is signed by a key that is not trusted here";
    if (!o->apply)
        return "<Apply> is switched off on this node";
    if (view->is_expired)
        return "it has expired";
    if (content_size(view->manifest) > o->bundle_size_max)
        return "it is larger than MaxSize in <Apply> allows";
    return NULL;
}

static void judge(struct apply *a, struct subject *s,
                  const struct bundle_view *view)
{
    char room[APPLY_WHY_SIZE];
    const char *why = obstacle(a, view, room);

    if (view->manifest->removed || !view->is_target) {
        wish(s, WISH_NOTHING, argus_BundlePhase_BUNDLE_NONE, "");
        return;
    }
    if (why != NULL)
        wish(s,
             view->is_trusted && a->options.runtime->apply && !view->is_expired
                 ? WISH_OLD
                 : WISH_NOTHING,
             argus_BundlePhase_BUNDLE_REFUSED, why);
    else if (!a->can_run)
        wish(s, WISH_NOTHING, argus_BundlePhase_BUNDLE_FAILED, a->cannot);
    else if (!view->is_complete)
        wish(s, WISH_OLD, argus_BundlePhase_BUNDLE_PENDING, "");
    else
        wish(s, WISH_RUN, argus_BundlePhase_BUNDLE_APPLYING, "");
}

/* Another head than before: what was said of versions does not hold any more.
 */
static void renew(struct subject *s, const struct bundle_view *view)
{
    if (hash_is(s->head, view->hash))
        return;
    memcpy(s->head, view->hash, sizeof s->head);
    memset(s->alone, 0, sizeof s->alone);
    s->version = view->manifest->version;
}

/* Nothing of it is remembered any more. */
static void forget_past(struct apply *a, struct subject *s)
{
    if (hash_is_zero(s->applied.good) && hash_is_zero(s->applied.trial))
        return;
    memset(&s->applied, 0, sizeof s->applied);
    apply_keep(a, s);
}

static void see_head(struct apply *a, const struct bundle_view *view)
{
    bool concerns = view->is_target && !view->manifest->removed;
    uint32_t i = seat(a, view->manifest->name);

    if (!concerns && (i == a->subjects_count ||
                      strcmp(a->subjects[i]->name, view->manifest->name) != 0))
        return;
    struct subject *s = subject_get(a, view->manifest->name);
    if (s == NULL)
        return;
    s->is_seen = true;
    renew(s, view);
    judge(a, s, view);
    if (!concerns)
        forget_past(a, s);
}

/* Which run is decided by name alone, so that every start ends the same. */
static void bound_workers(struct apply *a)
{
    uint32_t max = a->options.runtime->workers_max, count = 0;
    char error[160];

    (void)snprintf(error, sizeof error,
                   "MaxWorkers in <Apply> is %u, and so many bundles with "
                   "lesser names run here",
                   max);
    for (uint32_t i = 0; i < a->subjects_count; i++) {
        struct subject *s = a->subjects[i];
        if (s->wish == WISH_NOTHING || count++ < max)
            continue;
        wish(s, WISH_NOTHING, argus_BundlePhase_BUNDLE_REFUSED, error);
    }
}

/* Once, when all is decided. */
static void say_refusals(struct apply *a)
{
    for (uint32_t i = 0; i < a->subjects_count; i++) {
        struct subject *s = a->subjects[i];
        bool is_refused = s->phase == argus_BundlePhase_BUNDLE_REFUSED;
        if (is_refused && strcmp(s->said, s->error) != 0)
            log_write(LOG_LEVEL_WARNING,
                      "bundle \"%s\" version %u does not run: %s", s->name,
                      s->version, s->error);
        text_copy(s->said, sizeof s->said, is_refused ? s->error : "");
    }
}

static void refresh(struct apply *a)
{
    struct bundle_view view;

    a->refreshed_ms = runtime_now_ms();
    for (uint32_t i = 0; i < a->subjects_count; i++)
        a->subjects[i]->is_seen = false;
    for (uint32_t i = 0; a->world.head(a->world.context, i, &view); i++)
        see_head(a, &view);
    for (uint32_t i = 0; i < a->subjects_count; i++)
        if (!a->subjects[i]->is_seen)
            wish(a->subjects[i], WISH_NOTHING, argus_BundlePhase_BUNDLE_NONE,
                 "");
    bound_workers(a);
    say_refusals(a);
}

/* ------------------------------------------------------------ reconciling */

static void drain_all(struct apply *a, struct subject *s)
{
    for (size_t i = 0; i < RUNS_MAX; i++)
        if (s->runs[i].subject != NULL)
            run_drain(a, &s->runs[i]);
}

static bool may_run(const struct apply *a, const struct bundle_view *view)
{
    char room[APPLY_WHY_SIZE];

    return !view->manifest->removed && obstacle(a, view, room) == NULL;
}

/* The last good version, if it still may run. */
static bool find_good(const struct apply *a, const struct subject *s,
                      struct bundle_view *out)
{
    return !hash_is_zero(s->applied.good) &&
           a->world.by_hash(a->world.context, s->applied.good, out) &&
           out->is_complete && may_run(a, out);
}

static bool may_run_on(const struct apply *a, const struct run *r,
                       struct bundle_view *out)
{
    return a->world.by_hash(a->world.context, r->hash, out) && may_run(a, out);
}

/* What should run now. @return false: nothing.
 *
 * If nothing runs, what is known to work comes first, unless it just died, or
 * made room for the newer one. */
static bool choose(const struct apply *a, struct subject *s,
                   struct bundle_view *out)
{
    const struct run *current = run_current(s);
    bool is_open = s->wish == WISH_RUN && !hash_is(s->barred, s->head);
    bool is_idle = current == NULL;

    /* A newer version that came to nothing does not end a trial. */
    if (!is_open && current != NULL && current->state == RUN_TRIAL &&
        may_run_on(a, current, out))
        return true;
    if (is_open && (!is_idle || s->crashes > 0 || hash_is(s->alone, s->head) ||
                    hash_is(s->applied.good, s->head)))
        return a->world.by_hash(a->world.context, s->head, out);
    if (find_good(a, s, out))
        return true;
    return is_open && a->world.by_hash(a->world.context, s->head, out);
}

/* Would what starts now lose its socket when the old one ends? */
static bool must_wait(struct apply *a, struct subject *s,
                      const struct bundle_view *view)
{
    struct run *old = run_current(s);

    if (old == NULL || !worker_holds_path(old->worker))
        return false;
    memcpy(s->alone, view->hash, sizeof s->alone);
    a->stats.old_first++;
    run_drain(a, old);
    return true;
}

/* Is one on its way out that has to be gone first? */
static bool is_alone_blocked(struct subject *s, const struct bundle_view *view)
{
    return hash_is(s->alone, view->hash) && has_runs(s);
}

/* One step towards what is wanted. @return true: look again. */
static bool approach(struct apply *a, struct subject *s)
{
    struct bundle_view view;
    struct run *current = run_current(s), *next = run_next(s);

    if (!choose(a, s, &view)) {
        if (current != NULL && s->wish != WISH_OLD)
            run_drain(a, current);
        return false;
    }
    if (next != NULL && hash_is(next->hash, view.hash))
        return false;
    if (next != NULL)
        run_drain(a, next); /* something newer ends a start */
    if (current != NULL && hash_is(current->hash, view.hash))
        return false;
    if (hash_is(view.hash, s->applied.good) && runtime_now_ms() < s->retry_ms)
        return false;
    if (is_alone_blocked(s, &view) || must_wait(a, s, &view))
        return false;
    return !run_start(a, s, &view) && !has_runs(s);
}

/* What a key signed that was revoked meanwhile ends at once, whether something
 * else can take its place or not. */
static void drain_revoked(struct apply *a, struct subject *s)
{
    struct bundle_view view;

    for (size_t i = 0; i < RUNS_MAX; i++) {
        struct run *r = &s->runs[i];
        if (r->subject != NULL &&
            a->world.by_hash(a->world.context, r->hash, &view) &&
            view.is_revoked)
            run_drain(a, r);
    }
}

void apply_reconcile(struct apply *a, struct subject *s)
{
    if (!a->is_started || a->is_stopping)
        return;
    drain_revoked(a, s);
    if (s->wish == WISH_NOTHING) {
        drain_all(a, s);
        return;
    }
    for (int i = 0; i < CHOICES_MAX && approach(a, s); i++)
        ;
}

static void on_tick(uv_timer_t *timer);

static void tick_each(struct apply *a, uint64_t period_ms)
{
    if (a->is_timer_open && uv_timer_get_repeat(&a->timer) != period_ms)
        (void)uv_timer_start(&a->timer, on_tick, period_ms, period_ms);
}

/* Each time the loop wakes costs, and what runs well asks for no look. */
static void pace(struct apply *a, uint64_t now_ms)
{
    bool is_restless = now_ms - a->stirred_ms < STIRRED_MS;

    for (uint32_t i = 0; i < a->subjects_count && !is_restless; i++) {
        const struct subject *s = a->subjects[i];
        is_restless = s->retry_ms != 0 || gate_waits(s->gate, now_ms);
        for (size_t k = 0; k < RUNS_MAX; k++)
            is_restless |= run_is_restless(&s->runs[k]);
    }
    tick_each(a, a->subjects_count == 0 ? REST_MS
                 : is_restless          ? APPLY_TICK_MS
                                        : REFRESH_MS);
}

void apply_stir(struct apply *a)
{
    a->stirred_ms = runtime_now_ms();
    if (a->is_started)
        tick_each(a, APPLY_TICK_MS);
}

static void reconcile_all(struct apply *a)
{
    for (uint32_t i = 0; i < a->subjects_count; i++)
        apply_reconcile(a, a->subjects[i]);
    forget_idle(a);
    apply_tell(a);
    pace(a, runtime_now_ms());
}

/* ----------------------------------------------------------------- ticks */

static void tick_subject(struct apply *a, struct subject *s, uint64_t now_ms)
{
    gate_turn(s->gate, now_ms);
    for (size_t i = 0; i < RUNS_MAX; i++)
        if (run_is_restless(&s->runs[i]))
            run_tick(a, &s->runs[i], now_ms);
    if (s->retry_ms != 0 && s->retry_ms <= now_ms) {
        s->retry_ms = 0;
        apply_reconcile(a, s);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct apply *a = timer->data;
    uint64_t now_ms = runtime_now_ms();

    for (uint32_t i = 0; i < a->subjects_count; i++)
        tick_subject(a, a->subjects[i], now_ms);
    if (a->is_started && !a->is_stopping &&
        now_ms - a->refreshed_ms >= REFRESH_MS)
        apply_changed(a);
    else
        apply_tell(a);
    pace(a, now_ms);
}

/* ------------------------------------------------------------------ life */

/* What each worker needs; without it none is started. */
static void make_ready(struct apply *a)
{
    const struct runtime_options *o = a->options.runtime;
    struct argus_error err = {{0}};

    a->can_run = false;
    if (!o->apply || o->trusted_keys_count == 0)
        return;
    int rc = worker_user_find(o->apply_user, &a->user, &err);
    if (rc == ARGUS_OK)
        rc = worker_dirs_open(o->state_dir, &a->user, &err);
    if (rc == ARGUS_OK && a->options.program == NULL &&
        !worker_conf_has_plugin(o))
        rc = argus_fail(&err, ARGUS_ENOENT,
                        "there is no argus_worker.so in %.400s", o->plugin_dir);
    a->can_run = rc == ARGUS_OK;
    if (rc == ARGUS_OK)
        return;
    text_copy(a->cannot, sizeof a->cannot, err.text);
    log_write(LOG_LEVEL_ERROR, "no bundle can run here: %s", err.text);
}

int apply_new(const struct apply_options *options,
              const struct apply_world *world, struct apply **out)
{
    struct apply *a = calloc(1, sizeof *a);

    if (a == NULL)
        return ARGUS_ENOMEM;
    a->options = *options;
    a->world = *world;
    (void)uv_timer_init(a->options.loop, &a->timer);
    a->timer.data = a;
    a->is_timer_open = true;
    make_ready(a);
    *out = a;
    return ARGUS_OK;
}

void apply_recall(struct apply *a, const char *name,
                  const struct store_applied *applied)
{
    struct subject *s = subject_get(a, name);

    if (s == NULL)
        return;
    s->applied = *applied;
    if (hash_is_zero(applied->trial))
        return;
    memcpy(s->barred, applied->trial, sizeof s->barred);
    s->verdict = argus_BundlePhase_BUNDLE_ROLLED_BACK;
    text_copy(s->verdict_error, sizeof s->verdict_error,
              "it was rolled back, or on trial when the daemon died; it is not "
              "tried again by itself");
}

void apply_start(struct apply *a)
{
    a->is_started = true;
    (void)uv_timer_start(&a->timer, on_tick, APPLY_TICK_MS, APPLY_TICK_MS);
    apply_pin(a);
    apply_changed(a);
}

void apply_changed(struct apply *a)
{
    if (!a->is_started || a->is_stopping)
        return;
    refresh(a);
    reconcile_all(a);
}

void apply_republish(struct apply *a)
{
    for (uint32_t i = 0; i < a->subjects_count; i++)
        a->subjects[i]->is_told = false;
    a->must_tell = true;
    apply_pin(a);
    apply_changed(a);
}

void apply_pause(struct apply *a, bool pause)
{
    if (a->is_paused == pause)
        return;
    a->is_paused = pause;
    for (uint32_t i = 0; i < a->subjects_count; i++)
        for (size_t k = 0; k < RUNS_MAX; k++)
            if (a->subjects[i]->runs[k].worker != NULL)
                worker_pause(a->subjects[i]->runs[k].worker, pause);
}

/* A stop in order is no sign of trouble: what is on trial may be tried again.
 */
static void end_trial(struct apply *a, struct subject *s)
{
    for (size_t i = 0; i < RUNS_MAX; i++) {
        const struct run *r = &s->runs[i];
        if (r->subject == NULL || r->state > RUN_TRIAL ||
            !hash_is(r->hash, s->applied.trial))
            continue;
        memset(s->applied.trial, 0, sizeof s->applied.trial);
        apply_keep(a, s);
    }
}

void apply_stop(struct apply *a)
{
    if (a->is_stopping)
        return;
    a->is_stopping = true;
    for (uint32_t i = 0; i < a->subjects_count; i++) {
        end_trial(a, a->subjects[i]);
        drain_all(a, a->subjects[i]);
    }
}

bool apply_is_stopped(const struct apply *a)
{
    for (uint32_t i = 0; i < a->subjects_count; i++)
        if (has_runs(a->subjects[i]))
            return false;
    return true;
}

void apply_close(struct apply *a)
{
    if (!a->is_timer_open)
        return;
    a->is_stopping = true;
    a->is_timer_open = false;
    uv_close((uv_handle_t *)&a->timer, NULL);
    for (uint32_t i = 0; i < a->subjects_count; i++)
        for (size_t k = 0; k < RUNS_MAX; k++) {
            struct run *r = &a->subjects[i]->runs[k];
            if (r->worker != NULL)
                worker_abandon(r->worker);
            memset(r, 0, sizeof *r);
        }
}

void apply_free(struct apply *a)
{
    if (a == NULL)
        return;
    for (uint32_t i = 0; i < a->subjects_count; i++)
        subject_free(a->subjects[i]);
    down_close(a);
    free(a);
}
