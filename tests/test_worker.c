#include "test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/worker.h"
#include "runtime/worker_spawn.h"
#include "worker_bed.h"

static struct worker *worker;
static const struct worker_user self; /* is_other is false */

/* What was heard of it. */
static struct {
    unsigned ready, values, sets, failed, ended;
    bool refused;
    char text[512];
    struct pair_ready last;
} heard;

static void on_ready(void *context, struct worker *w,
                     const struct pair_ready *ready)
{
    CU_ASSERT_PTR_EQUAL(context, &heard);
    CU_ASSERT_PTR_EQUAL(w, worker);
    heard.ready++;
    heard.last = *ready;
}

static void on_message(void *context, struct worker *w,
                       const struct pair_message *m, const uint8_t *whole,
                       size_t size)
{
    (void)context;
    (void)w;
    CU_ASSERT_PTR_NOT_NULL(whole);
    CU_ASSERT_TRUE(size > PAIR_HEADER_SIZE);
    heard.values += m->type == PAIR_VALUE;
    heard.sets += m->type == PAIR_SET;
}

static void on_failed(void *context, struct worker *w, bool refused,
                      const char *text)
{
    (void)context;
    (void)w;
    heard.failed++;
    heard.refused = refused;
    (void)snprintf(heard.text, sizeof heard.text, "%s", text);
}

static void on_ended(void *context, struct worker *w)
{
    (void)context;
    heard.ended++;
    worker_free(w);
}

static size_t configure(void *context, const char *bundle, const char *dir,
                        char *out, size_t size)
{
    (void)context;
    CU_ASSERT_STRING_EQUAL(bundle, "web");
    return (size_t)snprintf(out, size, "# %s\n", dir);
}

static int start_with(const struct bed_bundle *b, uint32_t timeout_ms)
{
    struct argus_error err;
    const struct worker_options options = {.state_dir = wbed.dir,
                                           .user = &self,
                                           .bundle = "web",
                                           .number = 7,
                                           .manifest = &b->manifest,
                                           .chunks = &wbed.chunks,
                                           .start_timeout_ms = timeout_ms,
                                           .configure = configure};
    const struct worker_listener listener = {&heard, on_ready, on_message,
                                             on_failed, on_ended};

    return worker_start(&wbed.loop, &options, &listener, &worker, &err);
}

static void begin(const char *script)
{
    struct argus_error err;

    (void)signal(SIGCHLD, SIG_IGN); /* as collectd does */
    bed_open();
    memset(&heard, 0, sizeof heard);
    CU_ASSERT_EQUAL_FATAL(worker_dirs_open(wbed.dir, &self, &err), ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(
        start_with(bed_bundle("web", 1, script, "hello"), 5000), ARGUS_OK);
}

static bool is_ready(void)
{
    return heard.ready > 0;
}

static bool has_failed(void)
{
    return heard.failed > 0;
}

static bool has_ended(void)
{
    return heard.ended > 0;
}

static void end(void)
{
    CU_ASSERT_TRUE(bed_wait(has_ended, 8000));
    CU_ASSERT_EQUAL(heard.ended, 1);
    bed_close();
    (void)signal(SIGCHLD, SIG_DFL);
}

static bool has_value(void)
{
    return heard.values > 2;
}

/* Goal: it starts, delivers, stops when told, and leaves nothing. */
static void test_worker_lives_and_stops(void)
{
    begin("start\nready reads errors\nrun p\n");
    CU_ASSERT_TRUE_FATAL(bed_wait(is_ready, 5000));
    CU_ASSERT_TRUE(heard.last.has_reads);
    CU_ASSERT_EQUAL(heard.last.errors, 1);
    CU_ASSERT_EQUAL(worker_phase(worker), PAIR_PHASE_RUN);
    CU_ASSERT_TRUE(bed_wait(has_value, 5000));
    CU_ASSERT_EQUAL(heard.sets, 1);
    CU_ASSERT_EQUAL(bed_folders(), 1);
    CU_ASSERT_EQUAL(bed_processes(), 1);
    CU_ASSERT_FALSE(worker_holds_path(worker));
    worker_stop(worker);
    end();
    CU_ASSERT_EQUAL(heard.failed, 0);
}

/* Goal: of the daemon it inherits five descriptors, a session of its own, no
 * signal mask, no word of a service manager; the files are read-only. */
static void test_worker_inherits_nothing(void)
{
    sigset_t pipe, before;

    (void)setenv("LISTEN_FDS", "1", 1);
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)sigprocmask(SIG_BLOCK, &pipe, &before);
    begin("start\ninherits\nfile x\nready\nrun \n");
    CU_ASSERT_TRUE_FATAL(bed_wait(is_ready, 5000));
    CU_ASSERT_TRUE(bed_logged("open: 0 1 2 3 4\n"));
    CU_ASSERT_TRUE(bed_logged("hello 550"));
    worker_stop(worker);
    end();
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)unsetenv("LISTEN_FDS");
}

/* Goal: however it ends before its time, the text says why. */
static void test_worker_failures_are_explained(void)
{
    static const struct {
        const char *script, *text;
        bool refused;
    } cases[] = {
        {"hello\nrefused plugin exec\n", "plugin exec", true},
        {"start\nfails no such file\n", "no such file", false},
        {"start\nprint argus_worker: crash: SIGSEGV, plugin `x'\nprint more\n"
         "crash\n",
         "crash: SIGSEGV, plugin `x'", false},
        {"start\nprint argus_worker: exit: exit(3), plugin `x'\nexit\n",
         "exit: exit(3), plugin `x'", false},
        {"start\nprint cannot go on\nexit\n",
         "it ended by itself in first read: cannot go on", false},
        {"start\nkilled\n", "it was ended in first read without a word", false},
        {"start\ngarbage\nhang\n", "it sends what it may not", false},
        {"value a\nhang\n", "it does not speak argus' protocol", false},
        {"version 9.9\nhang\n", "argus_worker.so is of version 9.9", false},
        {"start\ncloses\nhang\n", "it was ended in first read", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin(cases[i].script);
        CU_ASSERT_TRUE(bed_wait(has_failed, 5000));
        if (strncmp(heard.text, cases[i].text, strlen(cases[i].text)) != 0)
            printf("\n  %s\n  %s\n", cases[i].script, heard.text);
        CU_ASSERT_TRUE(
            strncmp(heard.text, cases[i].text, strlen(cases[i].text)) == 0);
        CU_ASSERT_EQUAL(heard.refused, cases[i].refused);
        end();
        CU_ASSERT_EQUAL(heard.failed, 1);
    }
}

/* Goal: a start that takes too long ends; who hangs is asked first. */
static void test_worker_that_hangs_is_ended(void)
{
    begin("hang\n");
    worker_kill(worker); /* nothing of it is a failure */
    end();
    CU_ASSERT_EQUAL(heard.failed, 0);

    (void)signal(SIGCHLD, SIG_IGN);
    bed_open();
    memset(&heard, 0, sizeof heard);
    (void)mkdir(strcat(strcpy((char[300]){0}, wbed.dir), "/workers"), 0700);
    CU_ASSERT_EQUAL_FATAL(
        start_with(bed_bundle("web", 1, "hello\ninit\nhang\n", NULL), 10),
        ARGUS_OK);
    CU_ASSERT_TRUE(bed_wait(has_failed, 5000));
    CU_ASSERT_STRING_EQUAL(heard.text, "no end of init in time");
    end();
}

/* Goal: what it leaves behind in another session is found by its mark. */
static void test_worker_strays_are_killed(void)
{
    begin("start\nchild\nready\nrun \n");
    CU_ASSERT_TRUE_FATAL(bed_wait(is_ready, 5000));
    CU_ASSERT_EQUAL(bed_processes(), 2);
    worker_stop(worker);
    end(); /* asserts that none is left */
}

/* Goal: a flood of values, or of output, is taken at a bounded rate, and the
 * loop turns meanwhile. */
static void test_worker_floods_are_slowed(void)
{
    struct worker_stats before = *worker_stats();

    begin("start\nready\nflood p\n");
    CU_ASSERT_TRUE_FATAL(bed_wait(is_ready, 5000));
    bed_turn(1500);
    CU_ASSERT_TRUE(worker_stats()->pauses > before.pauses);
    CU_ASSERT_TRUE(heard.values <= 3 * (WORKER_SECOND_MESSAGES + 1024));
    worker_pause(worker, true);
    bed_turn(10);
    unsigned values = heard.values;
    bed_turn(1100);
    CU_ASSERT_EQUAL(heard.values, values);
    worker_kill(worker);
    end();

    before = *worker_stats();
    begin("start\nready\ngoes-on printing\n");
    CU_ASSERT_TRUE_FATAL(bed_wait(is_ready, 5000));
    bed_turn(1500);
    CU_ASSERT_TRUE(worker_stats()->output_bytes - before.output_bytes <=
                   3 * (WORKER_SECOND_OUTPUT + 16384));
    CU_ASSERT_TRUE(bed_wait(has_failed, 8000)); /* it does not end by itself */
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.text, "prints more than"));
    end();
}

static bool came_down(void)
{
    return bed_logged("it came down");
}

/* Goal: what the daemon sends arrives; to one that does not read, so much as
 * fits, and the rest is counted. */
static void test_worker_gets_what_is_sent(void)
{
    uint8_t message[1024];
    struct worker_stats before = *worker_stats();
    const struct pair_flush flush = {0, "an identifier"};

    begin("start\nready writers\nrun \n");
    CU_ASSERT_TRUE_FATAL(bed_wait(is_ready, 5000));
    size_t size = pair_put_flush(message, sizeof message, &flush);
    CU_ASSERT_TRUE(worker_send(worker, message, size));
    CU_ASSERT_TRUE(bed_wait(came_down, 5000));
    worker_stop(worker);
    CU_ASSERT_FALSE(worker_send(worker, message, size));
    end();

    begin("start\ndeaf\nready writers\nrun \n");
    CU_ASSERT_TRUE_FATAL(bed_wait(is_ready, 5000));
    uint32_t sent = 0;
    while (worker_send(worker, message, size))
        sent += (uint32_t)size;
    CU_ASSERT_TRUE(sent <= WORKER_DOWN_BYTES_MAX);
    CU_ASSERT_EQUAL(worker_stats()->down_dropped, before.down_dropped + 2);
    CU_ASSERT_TRUE(bed_logged("is slower than this daemon's values"));
    worker_kill(worker);
    end();
}

/* Goal: a start that cannot be leaves nothing. */
static void test_worker_start_fails_whole(void)
{
    struct argus_error err;
    struct bed_bundle *b;

    bed_open();
    CU_ASSERT_EQUAL(worker_dirs_open(wbed.dir, &self, &err), ARGUS_OK);
    b = bed_bundle("web", 1, "run \n", "file");
    (void)snprintf(b->manifest.files[1].name, 8, "../x");
    CU_ASSERT_EQUAL(start_with(b, 1000), ARGUS_EINVAL);
    b->manifest.files_count = 0;
    CU_ASSERT_EQUAL(start_with(b, 1000), ARGUS_EINVAL);
    CU_ASSERT_EQUAL(bed_folders(), 0);
    bed_close();
}

CU_TestInfo suite_worker[] = {
    {"worker_lives_and_stops", test_worker_lives_and_stops},
    {"worker_inherits_nothing", test_worker_inherits_nothing},
    {"worker_failures_are_explained", test_worker_failures_are_explained},
    {"worker_that_hangs_is_ended", test_worker_that_hangs_is_ended},
    {"worker_strays_are_killed", test_worker_strays_are_killed},
    {"worker_floods_are_slowed", test_worker_floods_are_slowed},
    {"worker_gets_what_is_sent", test_worker_gets_what_is_sent},
    {"worker_start_fails_whole", test_worker_start_fails_whole},
    CU_TEST_INFO_NULL,
};
