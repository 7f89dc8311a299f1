#include "test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "runtime/apply.h"
#include "wire/pair.h"
#include "worker_bed.h"

static struct apply *apply;
static struct runtime_options options;

/* What the engine would know of a version. */
struct version {
    struct bed_bundle *bundle;
    bool is_trusted, is_revoked, is_target, is_complete, is_expired;
};

static struct version versions[BED_BUNDLES_MAX];
static unsigned versions_count;
static struct version *heads[BED_BUNDLES_MAX]; /* in order of names */
static unsigned heads_count;

/* What apply told. */
static argus_BundleState states[16];
static uint32_t states_count;
static unsigned told, reports, values, gone;
static char report_text[512];
static bool wants_down;
static struct store_applied kept;
static char kept_name[64];

static struct version *version(const char *name, uint32_t number,
                               const char *script)
{
    struct version *v = &versions[versions_count++];

    *v = (struct version){.bundle = bed_bundle(name, number, script, NULL),
                          .is_trusted = true,
                          .is_target = true,
                          .is_complete = true};
    return v;
}

static void show(const struct version *v, struct bundle_view *out)
{
    memset(out, 0, sizeof *out);
    out->manifest = &v->bundle->manifest;
    memcpy(out->hash, v->bundle->hash, sizeof out->hash);
    out->is_trusted = v->is_trusted;
    out->is_revoked = v->is_revoked;
    memset(out->signer, 0xab, sizeof out->signer);
    out->is_target = v->is_target;
    out->is_complete = v->is_complete;
    out->is_expired = v->is_expired;
}

static bool on_head(void *context, uint32_t index, struct bundle_view *out)
{
    (void)context;
    if (index >= heads_count)
        return false;
    show(heads[index], out);
    return true;
}

static bool on_by_hash(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                       struct bundle_view *out)
{
    (void)context;
    for (unsigned i = 0; i < versions_count; i++)
        if (memcmp(versions[i].bundle->hash, hash, CONTENT_HASH_SIZE) == 0) {
            show(&versions[i], out);
            return true;
        }
    return false;
}

static void on_states(void *context, const argus_BundleState *list,
                      uint32_t count)
{
    (void)context;
    memcpy(states, list, count * sizeof *list);
    states_count = count;
    told++;
}

static void on_kept(void *context, const uint8_t (*hashes)[CONTENT_HASH_SIZE],
                    uint32_t count)
{
    (void)context;
    (void)hashes;
    (void)count;
}

static void on_keep(void *context, const char *name,
                    const struct store_applied *applied)
{
    (void)context;
    (void)snprintf(kept_name, sizeof kept_name, "%s", name);
    kept = applied != NULL ? *applied : (struct store_applied){{0}, {0}};
}

static void on_report(void *context, argus_Severity severity,
                      const char *bundle, const char *text)
{
    (void)context;
    (void)severity;
    (void)bundle;
    (void)snprintf(report_text, sizeof report_text, "%s", text);
    reports++;
}

static void on_pass(void *context, uint32_t worker, bool begins,
                    const uint8_t *message, size_t size)
{
    struct pair_message m;

    (void)context;
    (void)worker;
    (void)begins;
    CU_ASSERT_TRUE(pair_next(message, size, &m) == (int)size);
    values += m.type == PAIR_VALUE;
}

static void on_gone(void *context, uint32_t worker)
{
    (void)context;
    (void)worker;
    gone++;
}

static void on_wants_down(void *context, bool wants)
{
    (void)context;
    wants_down = wants;
}

static void new_apply(void)
{
    const struct apply_options o = {.loop = &wbed.loop,
                                    .runtime = &options,
                                    .chunks = wbed.chunks,
                                    .program = "/proc/self/exe"};
    const struct apply_world world = {
        .head = on_head,
        .by_hash = on_by_hash,
        .states = on_states,
        .kept = on_kept,
        .keep = on_keep,
        .report = on_report,
        .pass = on_pass,
        .gone = on_gone,
        .wants_down = on_wants_down,
    };

    CU_ASSERT_EQUAL_FATAL(apply_new(&o, &world, &apply), ARGUS_OK);
}

static void begin(void)
{
    (void)signal(SIGCHLD, SIG_IGN);
    bed_open();
    versions_count = heads_count = states_count = 0;
    told = reports = values = gone = 0;
    wants_down = false;
    memset(&kept, 0, sizeof kept);
    memset(states, 0, sizeof states);
    report_text[0] = '\0';
    options = (struct runtime_options){.apply = true,
                                       .trusted_keys_count = 1,
                                       .workers_max = 8,
                                       .start_timeout_ms = 3000,
                                       .probation_ms = 300,
                                       .bundle_size_max = 4096,
                                       .interval_s = 0.1};
    (void)snprintf(options.state_dir, sizeof options.state_dir, "%s", wbed.dir);
    new_apply();
}

static bool is_stopped(void)
{
    return apply_is_stopped(apply);
}

static void stop(void)
{
    apply_stop(apply);
    CU_ASSERT_TRUE(bed_wait(is_stopped, 8000));
    apply_close(apply);
    bed_turn(20);
    apply_free(apply);
}

static void end(void)
{
    stop();
    bed_close();
    (void)signal(SIGCHLD, SIG_DFL);
}

/* That version is the head of its name from now on. */
static void push(struct version *v)
{
    const char *name = v->bundle->manifest.name;
    unsigned i = 0;

    while (i < heads_count && strcmp(heads[i]->bundle->manifest.name, name) < 0)
        i++;
    if (i == heads_count ||
        strcmp(heads[i]->bundle->manifest.name, name) != 0) {
        memmove(&heads[i + 1], &heads[i], (heads_count - i) * sizeof heads[0]);
        heads_count++;
    }
    heads[i] = v;
    apply_changed(apply);
}

/* ---- conditions on the first state and on the workers */

static argus_BundlePhase wanted_phase;
static uint32_t wanted_running;

static bool is_wanted(void)
{
    return states_count > 0 && states[0].phase == wanted_phase &&
           states[0].running == wanted_running;
}

static bool becomes(argus_BundlePhase phase, uint32_t running)
{
    wanted_phase = phase;
    wanted_running = running;
    bool holds = bed_wait(is_wanted, 8000);
    if (!holds && states_count > 0)
        printf("\n  phase %d, running %u: %s\n", (int)states[0].phase,
               states[0].running, states[0].error);
    return holds;
}

static bool shows(const char *state, uint32_t number)
{
    static argus_StatusReply reply;

    memset(&reply, 0, sizeof reply);
    apply_status(apply, &reply);
    for (pb_size_t i = 0; i < reply.workers_count; i++)
        if (strcmp(reply.workers[i].state, state) == 0 &&
            reply.workers[i].version == number)
            return true;
    return false;
}

static bool first_is_good(void)
{
    return shows("good", 1);
}

static bool second_is_good(void)
{
    return shows("good", 2) && !shows("yielding", 1) && !shows("draining", 1);
}

static bool nothing_runs(void)
{
    static argus_StatusReply reply;

    memset(&reply, 0, sizeof reply);
    apply_status(apply, &reply);
    return reply.workers_count == 0;
}

#define GOOD "start\nvalue p\nready reads\nrun p\n"
#define APPLIED argus_BundlePhase_BUNDLE_APPLIED

/* Goal: a bundle is applied, passes its trial, is followed by the next version
 * without a break, and goes when it is removed. */
static void test_apply_versions_follow_each_other(void)
{
    struct version *removal;

    begin();
    struct version *first = version("web", 1, GOOD);
    push(first);
    apply_start(apply);
    CU_ASSERT_TRUE(becomes(APPLIED, 1));
    CU_ASSERT_TRUE(shows("trial", 1));
    CU_ASSERT_EQUAL(memcmp(kept.trial, first->bundle->hash, 32), 0);
    CU_ASSERT_TRUE(bed_wait(first_is_good, 3000));
    CU_ASSERT_EQUAL(memcmp(kept.good, first->bundle->hash, 32), 0);
    CU_ASSERT_EQUAL(kept.trial[0], 0);

    push(version("web", 2, GOOD));
    CU_ASSERT_TRUE(becomes(APPLIED, 2));
    CU_ASSERT_TRUE(bed_wait(second_is_good, 5000));
    CU_ASSERT_EQUAL(gone, 1);
    CU_ASSERT_EQUAL(reports, 0);
    CU_ASSERT_TRUE(values > 5);

    removal = version("web", 3, "");
    removal->bundle->manifest.removed = true;
    push(removal);
    CU_ASSERT_TRUE(bed_wait(nothing_runs, 5000));
    bed_turn(100);
    CU_ASSERT_EQUAL(states_count, 0);
    CU_ASSERT_EQUAL(kept.good[0], 0); /* nothing is remembered */
    end();
}

/* Goal: a value that came before the switch makes a version applied at the
 * switch, however long the next one takes. */
static void test_apply_held_value_counts(void)
{
    begin();
    push(version("web", 1, "start\nvalue p\nready reads\nhang\n"));
    apply_start(apply);
    CU_ASSERT_TRUE(becomes(APPLIED, 1));
    CU_ASSERT_EQUAL(values, 1);
    end();
}

/* Goal: what cannot be started leaves the old one alone; it is not tried again,
 * but the next one is. */
static void test_apply_bad_start_leaves_the_old(void)
{
    begin();
    push(version("web", 1, GOOD));
    apply_start(apply);
    CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
    push(version("web", 2, "start\nfails no such file\n"));
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_FAILED, 1));
    CU_ASSERT_STRING_EQUAL(states[0].error, "no such file");
    CU_ASSERT_EQUAL(states[0].desired, 2);
    CU_ASSERT_STRING_EQUAL(report_text, "bundle \"web\" version 2 cannot be "
                                        "started: no such file");
    uint64_t starts = apply_stats(apply)->starts;
    bed_turn(300);
    CU_ASSERT_EQUAL(apply_stats(apply)->starts, starts);
    CU_ASSERT_TRUE(shows("good", 1));

    push(version("web", 3, "start\nready failed reads\nrun p\n"));
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_FAILED, 1));
    push(version("web", 4, "hello\nrefused plugin exec\n"));
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_REFUSED, 1));
    push(version("web", 5, "start\nready late reads\nrun p\n"));
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_FAILED, 1));
    push(version("web", 6, GOOD));
    CU_ASSERT_TRUE(becomes(APPLIED, 6));
    end();
}

/* Goal: what dies, or falls silent, on trial is rolled back to the last good
 * version, also over a restart. */
static void test_apply_trial_is_rolled_back(void)
{
    static const char *const bad[] = {
        "start\nvalue p\nready reads\nsleep 100\ncrash\n",
        "start\nvalue p\nready reads\nsleep 50\nvalue p\nrun \n",
    };

    for (uint32_t i = 0; i < 2; i++) {
        begin();
        options.probation_ms = i == 0 ? 300 : 5000;
        struct version *good = version("web", 1, GOOD);
        push(good);
        apply_recall(apply, "web", &(struct store_applied){.good = {'m', 1}});
        apply_start(apply);
        CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
        struct version *v = version("web", 2, bad[i]);
        push(v);
        CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_ROLLED_BACK, 1));
        CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
        CU_ASSERT_EQUAL(apply_stats(apply)->rolled_back, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(report_text, "is rolled back"));
        CU_ASSERT_EQUAL(memcmp(kept.trial, v->bundle->hash, 32), 0);
        if (i == 1)
            CU_ASSERT_PTR_NOT_NULL(strstr(states[0].error, "fell silent"));
        end();
    }
}

/* Goal: a version on trial when the daemon died is not tried again; the last
 * good one runs. A stop in order is no sign of trouble. */
static void test_apply_start_remembers(void)
{
    begin();
    version("web", 1, GOOD);
    push(version("web", 2, GOOD));
    apply_recall(apply, "web", &(struct store_applied){{'m', 1}, {'m', 2}});
    apply_start(apply);
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_ROLLED_BACK, 1));
    CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
    CU_ASSERT_EQUAL(apply_stats(apply)->starts, 1);
    options.probation_ms = 60000;
    push(version("web", 3, GOOD));
    CU_ASSERT_TRUE(becomes(APPLIED, 3));
    CU_ASSERT_EQUAL(kept.trial[1], 3);
    stop();
    CU_ASSERT_EQUAL(kept.trial[1], 0);
    CU_ASSERT_EQUAL(kept.good[1], 1);

    /* The good one first, then the head. */
    new_apply();
    memset(states, 0, sizeof states);
    options.probation_ms = 300;
    apply_recall(apply, "web", &kept);
    apply_start(apply);
    CU_ASSERT_TRUE(shows("starting", 1));
    CU_ASSERT_TRUE(becomes(APPLIED, 3));
    CU_ASSERT_EQUAL(apply_stats(apply)->starts, 2);
    end();
}

static bool first_is_back(void)
{
    return apply_stats(apply)->restarted > 0 && shows("good", 1);
}

/* Goal: a good version that dies is started again, and that is said. */
static void test_apply_good_one_is_restarted(void)
{
    begin();
    push(version("web", 1,
                 "start\nvalue p\nready reads\nvalue p\nsleep 700\n"
                 "crash\n"));
    apply_start(apply);
    CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
    CU_ASSERT_TRUE(bed_wait(first_is_back, 5000));
    CU_ASSERT_TRUE(apply_stats(apply)->crashed >= 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(report_text, "died; it is started again in"));
    CU_ASSERT_TRUE(becomes(APPLIED, 1));
    CU_ASSERT_EQUAL(states[0].warnings_count, 1);
    end();
}

/* Goal: what needs something that the old one holds is started alone; when that
 * fails too, the old one is brought back. */
static void test_apply_old_first_is_the_second_way(void)
{
    begin();
    push(version("web", 1, GOOD));
    apply_start(apply);
    CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
    push(version("web", 2, "start\nfails bind: Address already in use\n"));
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_FAILED, 0) ||
                   becomes(argus_BundlePhase_BUNDLE_FAILED, 1));
    CU_ASSERT_EQUAL(apply_stats(apply)->old_first, 1);
    CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
    CU_ASSERT_EQUAL(apply_stats(apply)->starts, 4);
    CU_ASSERT_EQUAL(apply_stats(apply)->failed, 1);
    end();
}

static bool second_starts(void)
{
    return shows("starting", 2);
}

/* Goal: something newer ends a start; what may not run does not. */
static void test_apply_newer_ends_a_start(void)
{
    begin();
    push(version("web", 1, GOOD));
    apply_start(apply);
    CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
    push(version("web", 2, "start\nhang\n"));
    CU_ASSERT_TRUE(bed_wait(second_starts, 3000));
    push(version("web", 3, GOOD));
    CU_ASSERT_TRUE(becomes(APPLIED, 3));
    CU_ASSERT_EQUAL(reports, 0);
    end();
}

/* Goal: what may not run here says why, and does not. */
static void test_apply_refuses_what_may_not_run(void)
{
    static char large[5000];

    begin();
    options.workers_max = 1;
    memset(large, 'x', sizeof large - 1);
    push(version("a", 1, GOOD));
    struct version *second = version("b", 1, GOOD);
    push(second);
    apply_start(apply);
    CU_ASSERT_TRUE(becomes(APPLIED, 1));
    CU_ASSERT_EQUAL(states_count, 2);
    CU_ASSERT_EQUAL(states[1].phase, argus_BundlePhase_BUNDLE_REFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(states[1].error, "MaxWorkers"));
    CU_ASSERT_TRUE(bed_logged("\"b\" version 1 does not run: MaxWorkers"));
    memset(wbed.log, 0, sizeof wbed.log);
    apply_changed(apply);
    CU_ASSERT_FALSE(bed_logged("MaxWorkers")); /* said once */

    heads[0]->is_expired = true;
    apply_changed(apply);
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_REFUSED, 0));
    CU_ASSERT_STRING_EQUAL(states[0].error, "it has expired");
    second->is_trusted = false;
    apply_changed(apply);
    CU_ASSERT_TRUE(bed_wait(nothing_runs, 5000));
    CU_ASSERT_PTR_NOT_NULL(strstr(states[1].error, "not trusted"));
    push(version("a", 2, large));
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_REFUSED, 0));
    CU_ASSERT_PTR_NOT_NULL(strstr(states[0].error, "MaxSize"));
    end();
}

/* Goal: content that is awaited, a node that is no target, and a node that
 * trusts nobody. */
static void test_apply_waits_and_leaves_alone(void)
{
    begin();
    struct version *v = version("web", 1, GOOD);
    v->is_complete = false;
    push(v);
    apply_start(apply);
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_PENDING, 0));
    v->is_complete = true;
    apply_changed(apply);
    CU_ASSERT_TRUE(becomes(APPLIED, 1));
    v->is_target = false;
    apply_changed(apply);
    CU_ASSERT_TRUE(bed_wait(nothing_runs, 5000));
    end();

    begin();
    stop();
    options.trusted_keys_count = 0;
    new_apply();
    v = version("web", 1, GOOD);
    v->is_trusted = false;
    push(v);
    apply_start(apply);
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_REFUSED, 0));
    CU_ASSERT_PTR_NOT_NULL(strstr(states[0].error, "no TrustedKey"));
    CU_ASSERT_EQUAL(apply_stats(apply)->starts, 0);
    end();
}

static void revoke_key_of(struct version *v)
{
    v->is_revoked = true;
    v->is_trusted = false;
}

/* Goal: what runs ends when its operator's key is revoked, with the reason, and
 * does not run after a restart either. */
static void test_apply_revoked_key_ends_it(void)
{
    begin();
    struct version *v = version("web", 1, GOOD);
    push(v);
    apply_start(apply);
    CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
    revoke_key_of(v);
    apply_changed(apply);
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_REFUSED, 0));
    CU_ASSERT_STRING_EQUAL(
        states[0].error,
        "the key abababababababab of its operator was revoked");
    CU_ASSERT_TRUE(bed_wait(nothing_runs, 5000));
    CU_ASSERT_EQUAL(reports, 0);
    struct store_applied before = kept;
    stop();

    new_apply();
    apply_recall(apply, "web", &before);
    apply_start(apply);
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_REFUSED, 0));
    bed_turn(200);
    CU_ASSERT_EQUAL(apply_stats(apply)->starts, 0);
    end();
}

/* Goal: it ends too where another operator's version of the name came before,
 * which cannot run yet: nothing that is revoked bridges the time. */
static void test_apply_revoked_key_bridges_nothing(void)
{
    begin();
    struct version *v = version("web", 1, GOOD);
    struct version *other = version("web", 2, GOOD);
    other->is_complete = false;
    push(v);
    apply_start(apply);
    CU_ASSERT_TRUE(bed_wait(first_is_good, 5000));
    push(other);
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_PENDING, 1));
    revoke_key_of(v);
    apply_changed(apply);
    CU_ASSERT_TRUE(becomes(argus_BundlePhase_BUNDLE_PENDING, 0));
    other->is_complete = true;
    apply_changed(apply);
    CU_ASSERT_TRUE(becomes(APPLIED, 2));
    end();
}

/* Goal: whoever has writers is told what this daemon has, from the switch on.
 */
static void test_apply_writers_are_known(void)
{
    begin();
    push(version("web", 1, "start\nready writers\nrun \n"));
    apply_start(apply);
    CU_ASSERT_TRUE(becomes(APPLIED, 1));
    CU_ASSERT_TRUE(wants_down);
    push(version("web", 2, GOOD));
    CU_ASSERT_TRUE(becomes(APPLIED, 2));
    CU_ASSERT_FALSE(wants_down);
    end();
}

CU_TestInfo suite_apply[] = {
    {"apply_versions_follow_each_other", test_apply_versions_follow_each_other},
    {"apply_held_value_counts", test_apply_held_value_counts},
    {"apply_bad_start_leaves_the_old", test_apply_bad_start_leaves_the_old},
    {"apply_trial_is_rolled_back", test_apply_trial_is_rolled_back},
    {"apply_start_remembers", test_apply_start_remembers},
    {"apply_good_one_is_restarted", test_apply_good_one_is_restarted},
    {"apply_old_first_is_the_second_way",
     test_apply_old_first_is_the_second_way},
    {"apply_newer_ends_a_start", test_apply_newer_ends_a_start},
    {"apply_refuses_what_may_not_run", test_apply_refuses_what_may_not_run},
    {"apply_revoked_key_ends_it", test_apply_revoked_key_ends_it},
    {"apply_revoked_key_bridges_nothing",
     test_apply_revoked_key_bridges_nothing},
    {"apply_waits_and_leaves_alone", test_apply_waits_and_leaves_alone},
    {"apply_writers_are_known", test_apply_writers_are_known},
    CU_TEST_INFO_NULL,
};
