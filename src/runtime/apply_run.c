/* apply_run.c - one worker of a version, through its states. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "runtime/apply_impl.h"
#include "runtime/runtime_impl.h" /* runtime_now_ms() */
#include "runtime/worker_conf.h"

/* --------------------------------------------------------------- states */

static const struct {
    const char *word;
    uint32_t next; /* bits of the states that may follow */
} moves[RUN_STATES] = {
#define TO(state) (1u << (state))
    [RUN_STARTING] = {"starting",
                      TO(RUN_HELD) | TO(RUN_DRAINING) | TO(RUN_FAILED)},
    [RUN_HELD] = {"held", TO(RUN_TRIAL) | TO(RUN_GOOD) | TO(RUN_DRAINING) |
                              TO(RUN_FAILED)},
    [RUN_TRIAL] = {"trial", TO(RUN_GOOD) | TO(RUN_YIELDING) | TO(RUN_DRAINING) |
                                TO(RUN_FAILED)},
    [RUN_GOOD] = {"good", TO(RUN_YIELDING) | TO(RUN_DRAINING) | TO(RUN_FAILED)},
    [RUN_YIELDING] = {"yielding",
                      TO(RUN_GOOD) | TO(RUN_DRAINING) | TO(RUN_FAILED)},
    [RUN_DRAINING] = {"draining", TO(RUN_DEAD)},
    [RUN_FAILED] = {"failed", TO(RUN_DEAD)},
    [RUN_DEAD] = {"dead", 0},
#undef TO
};

static bool passes(const struct run *r)
{
    return r->state == RUN_TRIAL || r->state == RUN_GOOD;
}

/* Do the daemon's values have to be told to anybody? */
static void count_writers(struct apply *a)
{
    bool wants = false;

    for (uint32_t i = 0; i < a->subjects_count; i++)
        for (size_t k = 0; k < RUNS_MAX; k++) {
            const struct run *r = &a->subjects[i]->runs[k];
            wants |= r->subject != NULL && passes(r) && r->has_writers;
        }
    if (wants != a->wants_down)
        a->world.wants_down(a->world.context, wants);
    a->wants_down = wants;
}

static void move(struct run *r, enum run_state to)
{
    assert((moves[r->state].next & (1u << to)) != 0);
    r->state = to;
    r->since_ms = runtime_now_ms();
    apply_stir(r->subject->apply);
    count_writers(r->subject->apply);
    log_write(LOG_LEVEL_DEBUG, "bundle \"%s\" version %u: worker %u is %s",
              r->subject->name, r->version, r->number, moves[to].word);
}

const char *run_state_word(const struct run *r)
{
    return moves[r->state].word;
}

struct run *run_in(struct subject *s, enum run_state state)
{
    for (size_t i = 0; i < RUNS_MAX; i++)
        if (s->runs[i].subject != NULL && s->runs[i].state == state)
            return &s->runs[i];
    return NULL;
}

struct run *run_current(struct subject *s)
{
    struct run *r = run_in(s, RUN_TRIAL);

    return r != NULL ? r : run_in(s, RUN_GOOD);
}

struct run *run_next(struct subject *s)
{
    struct run *r = run_in(s, RUN_STARTING);

    return r != NULL ? r : run_in(s, RUN_HELD);
}

bool run_is_restless(const struct run *r)
{
    return r->subject != NULL &&
           (r->state == RUN_TRIAL || r->state == RUN_YIELDING);
}

/* -------------------------------------------------------------- reports */

static void report(struct run *r, argus_Severity severity, const char *what,
                   const char *text)
{
    struct subject *s = r->subject;
    struct apply *a = s->apply;
    char line[512];

    (void)snprintf(line, sizeof line, "bundle \"%s\" version %u %s: %s",
                   s->name, r->version, what, text);
    log_write(severity == argus_Severity_SEVERITY_FAILURE ? LOG_LEVEL_ERROR
                                                          : LOG_LEVEL_WARNING,
              "%s", line);
    a->world.report(a->world.context, severity, s->name, line);
}

static bool is_proven(const struct run *r)
{
    return hash_is(r->hash, r->subject->applied.good);
}

/* This version does not run here by itself any more. What was rolled back stays
 * on trial on the disk, so that a restart does not try it again; what could not
 * be started did no harm and may be tried. */
static void bar(struct run *r, argus_BundlePhase verdict, const char *text)
{
    struct subject *s = r->subject;

    memcpy(s->barred, r->hash, sizeof s->barred);
    s->verdict = verdict;
    text_copy(s->verdict_error, sizeof s->verdict_error, text);
    memset(s->alone, 0, sizeof s->alone);
    if (verdict != argus_BundlePhase_BUNDLE_ROLLED_BACK &&
        hash_is(s->applied.trial, r->hash)) {
        memset(s->applied.trial, 0, sizeof s->applied.trial);
        apply_keep(s->apply, s);
    }
}

/* -------------------------------------------------------------- failing */

/* The text says that something which only one can have is taken. */
static bool is_conflict(const char *text)
{
    return strstr(text, "ddress already in use") != NULL ||
           strstr(text, "EADDRINUSE") != NULL;
}

/* It never took over: what ran runs on. */
static void fail_start(struct run *r, bool refused, const char *text)
{
    struct subject *s = r->subject;
    struct apply *a = s->apply;
    struct run *old = run_current(s);

    if (!refused && is_conflict(text) && old != NULL && !r->is_alone) {
        memcpy(s->alone, r->hash, sizeof s->alone);
        a->stats.old_first++;
        run_drain(a, old);
        return;
    }
    if (refused) {
        a->stats.refused++;
        bar(r, argus_BundlePhase_BUNDLE_REFUSED, text);
        report(r, argus_Severity_SEVERITY_WARNING, "is refused", text);
        return;
    }
    a->stats.failed++;
    bar(r, argus_BundlePhase_BUNDLE_FAILED, text);
    report(r, argus_Severity_SEVERITY_FAILURE, "cannot be started", text);
}

static void fail_trial(struct run *r, const char *text)
{
    struct subject *s = r->subject;
    struct run *old = run_in(s, RUN_YIELDING);

    s->apply->stats.rolled_back++;
    bar(r, argus_BundlePhase_BUNDLE_ROLLED_BACK, text);
    report(r, argus_Severity_SEVERITY_FAILURE, "is rolled back", text);
    if (old != NULL && is_proven(old))
        move(old, RUN_GOOD);
}

/* What is known to work died, or cannot be started just now: again, later. */
static void fail_good(struct run *r, uint64_t lived_ms, const char *text)
{
    struct subject *s = r->subject;
    char what[64];

    if (lived_ms >= RESTART_QUIET_MS)
        s->crashes = 0;
    uint64_t wait_ms = RESTART_MS;
    for (uint32_t i = 0; i < s->crashes && wait_ms < RESTART_MAX_MS; i++)
        wait_ms *= 2;
    if (wait_ms > RESTART_MAX_MS)
        wait_ms = RESTART_MAX_MS;
    s->crashes++;
    s->retry_ms = runtime_now_ms() + wait_ms;
    s->apply->stats.crashed++;
    text_copy(s->crash, sizeof s->crash, text);
    (void)snprintf(what, sizeof what, "died; it is started again in %u s",
                   (unsigned)(wait_ms / 1000));
    report(r, argus_Severity_SEVERITY_FAILURE, what, text);
}

static void fail(struct run *r, bool refused, const char *text)
{
    struct subject *s = r->subject;
    enum run_state was = r->state;
    uint64_t lived_ms = runtime_now_ms() - r->since_ms;

    if (was == RUN_DRAINING || was == RUN_FAILED || was == RUN_DEAD)
        return;
    move(r, RUN_FAILED);
    gate_close(s->gate, r->number);
    switch (was) {
    case RUN_STARTING:
    case RUN_HELD:
        if (is_proven(r))
            fail_good(r, 0, text);
        else
            fail_start(r, refused, text);
        break;
    case RUN_TRIAL: fail_trial(r, text); break;
    case RUN_GOOD: fail_good(r, lived_ms, text); break;
    default: break; /* it was on its way out */
    }
    apply_reconcile(s->apply, s);
    apply_tell(s->apply);
}

/* ------------------------------------------------------------ switching */

static void become_good(struct run *r)
{
    struct subject *s = r->subject;

    move(r, RUN_GOOD);
    log_write(LOG_LEVEL_INFO, "bundle \"%s\" version %u runs", s->name,
              r->version);
    if (is_proven(r)) {
        s->apply->stats.restarted += s->crashes > 0;
        return;
    }
    memset(s->applied.trial, 0, sizeof s->applied.trial);
    memcpy(s->applied.good, r->hash, sizeof s->applied.good);
    s->apply->stats.good++;
    s->crashes = 0;
    apply_keep(s->apply, s);
}

static void begin_probation(struct run *r)
{
    const struct runtime_options *o = r->subject->apply->options.runtime;

    move(r, RUN_TRIAL);
    log_write(LOG_LEVEL_INFO,
              "bundle \"%s\" version %u took over; it is on trial for %g s",
              r->subject->name, r->version, o->probation_ms / 1000.0);
}

/* Its first value may have been one that was held. */
static void note_published(struct run *r)
{
    struct gate_tally tally;

    r->has_published =
        r->has_published ||
        (passes(r) && gate_tally(r->subject->gate, r->number, &tally) &&
         tally.values > 0);
}

static void take_over(struct run *r)
{
    struct subject *s = r->subject;
    struct run *old = run_current(s);

    if (old != NULL)
        move(old, RUN_YIELDING);
    if (is_proven(r))
        become_good(r);
    else
        begin_probation(r);
    if (hash_is(s->alone, r->hash))
        memset(s->alone, 0, sizeof s->alone);
    s->apply->stats.switches++;
    gate_open(s->gate, r->number, runtime_now_ms());
    note_published(r);
    down_begin(s->apply, r);
}

/* Why it is not taken although it is ready; NULL: it is. What a read that hangs
 * would have delivered cannot be told from what does not exist. */
static const char *fault(const struct pair_ready *ready)
{
    if (ready->failed_inits > 0 || ready->failed_reads > 0)
        return ready->text[0] != '\0' ? ready->text
                                      : "an init or a read failed";
    if (ready->is_late)
        return "a first read does not come to an end in time";
    return NULL;
}

static void on_ready(void *context, struct worker *w,
                     const struct pair_ready *ready)
{
    struct run *r = context;
    const char *text = fault(ready);

    (void)w;
    if (r->state != RUN_STARTING)
        return;
    if (text != NULL) {
        worker_kill(r->worker);
        fail(r, false, text);
        return;
    }
    r->has_reads = ready->has_reads;
    r->has_writers = ready->has_writers;
    if (ready->errors > 0)
        (void)snprintf(r->warning, sizeof r->warning,
                       "%u ERROR lines; the first: %s", ready->errors,
                       ready->text);
    move(r, RUN_HELD);
    take_over(r);
    apply_tell(r->subject->apply);
}

/* ------------------------------------------------------------ messages */

void run_pass(void *context, uint32_t worker, bool begins,
              const uint8_t *message, size_t size)
{
    const struct subject *s = context;

    s->apply->world.pass(s->apply->world.context, worker, begins, message,
                         size);
}

static void on_message(void *context, struct worker *w,
                       const struct pair_message *m, const uint8_t *whole,
                       size_t size)
{
    struct run *r = context;
    struct subject *s = r->subject;
    struct pair_value value;

    (void)w;
    if (m->type == PAIR_SET) { /* values of that type follow, sooner or later */
        run_pass(s, r->number, false, whole, size);
        return;
    }
    bool is_value = m->type == PAIR_VALUE && pair_read_value(m, &value);
    gate_take(s->gate, r->number, is_value ? &value : NULL, whole, size,
              runtime_now_ms());
    if (is_value && !r->has_published) {
        note_published(r);
        apply_tell(s->apply);
    }
}

static void on_failed(void *context, struct worker *w, bool refused,
                      const char *text)
{
    (void)w;
    fail(context, refused, text);
}

static void on_ended(void *context, struct worker *w)
{
    struct run *r = context;
    struct subject *s = r->subject;
    struct apply *a = s->apply;

    move(r, RUN_DEAD);
    gate_close(s->gate, r->number);
    a->world.gone(a->world.context, r->number);
    worker_free(w);
    memset(r, 0, sizeof *r);
    apply_reconcile(a, s);
    apply_tell(a);
}

/* ------------------------------------------------------------- starting */

static size_t configure(void *context, const char *bundle, const char *dir,
                        char *out, size_t size)
{
    const struct apply *a = context;

    return worker_conf_write(a->options.runtime, &a->user, bundle, dir,
                             a->world.is_loaded, a->world.context, out, size);
}

static struct run *place(struct subject *s)
{
    for (size_t i = 0; i < RUNS_MAX; i++)
        if (s->runs[i].subject == NULL)
            return &s->runs[i];
    return NULL;
}

static int launch(struct apply *a, struct run *r,
                  const argus_Manifest *manifest, struct argus_error *err)
{
    const struct runtime_options *o = a->options.runtime;
    const struct worker_options options = {
        .program = a->options.program,
        .state_dir = o->state_dir,
        .user = &a->user,
        .bundle = r->subject->name,
        .number = r->number,
        .manifest = manifest,
        .chunks = &a->options.chunks,
        .start_timeout_ms = o->start_timeout_ms,
        .configure = configure,
        .context = a,
    };
    const struct worker_listener listener = {
        .context = r,
        .ready = on_ready,
        .message = on_message,
        .failed = on_failed,
        .ended = on_ended,
    };

    if (!gate_hold(r->subject->gate, r->number))
        return argus_fail(err, ARGUS_ENOMEM, "too many workers of one bundle");
    int rc =
        worker_start(a->options.loop, &options, &listener, &r->worker, err);
    if (rc != ARGUS_OK)
        gate_close(r->subject->gate, r->number);
    return rc;
}

/* In one write with what else is remembered. */
static void begin_trial(struct subject *s, const struct run *r)
{
    if (is_proven(r) || hash_is(s->applied.trial, r->hash))
        return;
    memcpy(s->applied.trial, r->hash, sizeof s->applied.trial);
    apply_keep(s->apply, s);
}

bool run_start(struct apply *a, struct subject *s,
               const struct bundle_view *view)
{
    const argus_Manifest manifest = *view->manifest; /* steps come between */
    struct run *r = place(s);
    struct argus_error err = {{0}};

    if (r == NULL)
        return false; /* one of them is about to end */
    memset(r, 0, sizeof *r);
    r->subject = s;
    r->number = ++a->next_number;
    r->version = view->manifest->version;
    memcpy(r->hash, view->hash, sizeof r->hash);
    r->state = RUN_STARTING;
    apply_stir(a);
    r->since_ms = runtime_now_ms();
    r->is_alone = hash_is(s->alone, r->hash);
    begin_trial(s, r);
    apply_pin(a);
    a->stats.starts++;
    if (launch(a, r, &manifest, &err) == ARGUS_OK) {
        worker_pause(r->worker, a->is_paused);
        return true;
    }
    move(r, RUN_FAILED);
    if (is_proven(r))
        fail_good(r, 0, err.text);
    else
        fail_start(r, false, err.text);
    memset(r, 0, sizeof *r);
    return false;
}

void run_drain(struct apply *a, struct run *r)
{
    enum run_state was = r->state;

    if (was == RUN_DRAINING || was == RUN_FAILED || was == RUN_DEAD)
        return;
    move(r, RUN_DRAINING);
    (void)a;
    if (was == RUN_STARTING || was == RUN_HELD)
        worker_kill(r->worker);
    else
        worker_stop(r->worker);
}

/* --------------------------------------------------------------- ticking */

static uint64_t ms_of(uint64_t cdtime)
{
    return (cdtime >> 30) * 1000 + (((cdtime & 0x3fffffff) * 1000) >> 30);
}

static void tick_trial(struct run *r, uint64_t now_ms)
{
    struct subject *s = r->subject;
    const struct runtime_options *o = s->apply->options.runtime;
    struct gate_tally tally = {0};
    char text[128];

    (void)gate_tally(s->gate, r->number, &tally);
    uint64_t interval_ms = ms_of(tally.interval);
    if (tally.values > 0 &&
        now_ms - tally.last_ms >
            SILENT_INTERVALS * interval_ms + SILENT_GRACE_MS) {
        (void)snprintf(text, sizeof text, "it fell silent: no value for %u s",
                       (unsigned)((now_ms - tally.last_ms) / 1000));
        worker_stop(r->worker);
        fail(r, false, text);
        return;
    }
    if (now_ms - r->since_ms < o->probation_ms)
        return;
    if (tally.values > 0 || !r->has_reads) {
        become_good(r);
        apply_tell(s->apply);
        return;
    }
    uint64_t patience_ms =
        (uint64_t)(SILENT_INTERVALS * o->interval_s * 1000.0) + SILENT_GRACE_MS;
    if (now_ms - r->since_ms < patience_ms)
        return;
    worker_stop(r->worker);
    fail(r, false, "it has published no value");
}

static void tick_yielding(struct run *r, uint64_t now_ms)
{
    uint64_t interval;
    uint32_t owned = gate_owned(r->subject->gate, r->number, &interval);
    uint64_t patience_ms = ms_of(interval) + YIELD_GRACE_MS;

    if (patience_ms > YIELD_MAX_MS)
        patience_ms = YIELD_MAX_MS;
    if (owned == 0 || now_ms - r->since_ms > patience_ms)
        run_drain(r->subject->apply, r);
}

void run_tick(struct apply *a, struct run *r, uint64_t now_ms)
{
    (void)a;
    if (r->state == RUN_TRIAL)
        tick_trial(r, now_ms);
    else if (r->state == RUN_YIELDING)
        tick_yielding(r, now_ms);
}
