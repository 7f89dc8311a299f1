/* apply_state.c - what others are told of the bundles on this node. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "runtime/apply_impl.h"
#include "runtime/runtime_impl.h" /* runtime_now_ms() */

/** As NodeRecord.bundles in argus.options. */
#define STATES_MAX                                                             \
    (sizeof((argus_NodeRecord *)0)->bundles /                                  \
     sizeof((argus_NodeRecord *)0)->bundles[0])

/* The version whose values pass; else the one that still ends. */
static struct run *whose_values(struct subject *s)
{
    struct run *r = run_current(s);

    if (r == NULL)
        r = run_in(s, RUN_YIELDING);
    return r != NULL ? r : run_in(s, RUN_DRAINING);
}

static void set_warnings(const struct subject *s, const struct run *r,
                         argus_BundleState *out)
{
    const size_t size = sizeof out->warnings[0];

    if (r->warning[0] != '\0')
        text_copy(out->warnings[out->warnings_count++], size, r->warning);
    if (s->crashes > 0)
        (void)snprintf(out->warnings[out->warnings_count++], size,
                       "died %u times; the last: %.100s", s->crashes, s->crash);
}

/* How the head is, if it may run. */
static void judge_run(struct subject *s, argus_BundleState *out)
{
    const struct run *current = run_current(s);

    if (hash_is(s->barred, s->head)) {
        out->phase = s->verdict;
        text_copy(out->error, sizeof out->error, s->verdict_error);
        return;
    }
    out->phase = argus_BundlePhase_BUNDLE_APPLYING;
    if (current == NULL || !hash_is(current->hash, s->head)) {
        if (s->crashes > 0 && hash_is(s->applied.good, s->head))
            text_copy(out->error, sizeof out->error, s->crash);
        return;
    }
    if (current->has_published || !current->has_reads)
        out->phase = argus_BundlePhase_BUNDLE_APPLIED;
    set_warnings(s, current, out);
}

/* @return false: there is nothing to say of it. */
static bool fill(struct subject *s, argus_BundleState *out)
{
    const struct run *running = whose_values(s);

    memset(out, 0, sizeof *out);
    if (s->phase == argus_BundlePhase_BUNDLE_NONE && running == NULL)
        return false;
    text_copy(out->name, sizeof out->name, s->name);
    out->desired = s->version;
    out->desired_hash.size = sizeof out->desired_hash.bytes;
    memcpy(out->desired_hash.bytes, s->head, sizeof out->desired_hash.bytes);
    out->running = running != NULL ? running->version : 0;
    out->phase = s->phase == argus_BundlePhase_BUNDLE_NONE
                     ? argus_BundlePhase_BUNDLE_APPLYING
                     : s->phase;
    text_copy(out->error, sizeof out->error, s->error);
    if (s->wish == WISH_RUN)
        judge_run(s, out);
    return true;
}

/* In thousands of records, what is over in a moment is not worth a word. */
static bool is_hushed(struct subject *s, const argus_BundleState *now,
                      uint64_t now_ms)
{
    if (now->phase != argus_BundlePhase_BUNDLE_APPLYING &&
        now->phase != argus_BundlePhase_BUNDLE_PENDING) {
        s->applying_since_ms = 0;
        return false;
    }
    if (s->applying_since_ms == 0)
        s->applying_since_ms = now_ms;
    return now_ms - s->applying_since_ms < APPLY_HUSH_MS;
}

/* @return true: it is not what was told before. */
static bool update(struct subject *s, uint64_t now_ms)
{
    argus_BundleState state;
    bool is_there = fill(s, &state);

    if (is_there && is_hushed(s, &state, now_ms))
        return false;
    if (!is_there)
        s->applying_since_ms = 0;
    if (is_there == s->is_told &&
        (!is_there || memcmp(&state, &s->told, sizeof state) == 0))
        return false;
    s->is_told = is_there;
    s->told = state;
    return true;
}

void apply_tell(struct apply *a)
{
    argus_BundleState states[STATES_MAX];
    uint64_t now_ms = runtime_now_ms();
    bool has_changed = a->must_tell;
    uint32_t count = 0, dropped = 0;

    if (!a->is_started)
        return;
    for (uint32_t i = 0; i < a->subjects_count; i++)
        has_changed |= update(a->subjects[i], now_ms);
    if (!has_changed)
        return;
    a->must_tell = false;
    for (uint32_t i = 0; i < a->subjects_count; i++) {
        if (a->subjects[i]->is_told && count < STATES_MAX)
            states[count++] = a->subjects[i]->told;
        else
            dropped += a->subjects[i]->is_told;
    }
    a->stats.states_dropped += dropped;
    a->world.states(a->world.context, states, count);
}

/* -------------------------------------------------------------- questions */

static void add_row(const struct run *r, argus_StatusReply *out)
{
    if (out->workers_count == sizeof out->workers / sizeof out->workers[0])
        return;
    argus_WorkerReply *w = &out->workers[out->workers_count++];
    text_copy(w->bundle, sizeof w->bundle, r->subject->name);
    w->version = r->version;
    w->pid = worker_pid(r->worker);
    text_copy(w->state, sizeof w->state, run_state_word(r));
}

/* Of each name first the one whose values pass. */
void apply_status(const struct apply *a, argus_StatusReply *out)
{
    for (uint32_t i = 0; i < a->subjects_count; i++) {
        struct subject *s = a->subjects[i];
        const struct run *current = run_current(s);
        if (current != NULL)
            add_row(current, out);
        for (size_t k = 0; k < RUNS_MAX; k++)
            if (s->runs[k].subject != NULL && &s->runs[k] != current)
                add_row(&s->runs[k], out);
    }
}

const struct apply_stats *apply_stats(const struct apply *a)
{
    return &a->stats;
}

void apply_workers(const struct apply *a, uint32_t *running, uint32_t *other)
{
    *running = *other = 0;
    for (uint32_t i = 0; i < a->subjects_count; i++)
        for (size_t k = 0; k < RUNS_MAX; k++) {
            const struct run *r = &a->subjects[i]->runs[k];
            if (r->subject == NULL)
                continue;
            if (r->state == RUN_TRIAL || r->state == RUN_GOOD)
                ++*running;
            else
                ++*other;
        }
}
