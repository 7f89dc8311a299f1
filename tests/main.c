/* main.c - runs the CUnit suites: those named as arguments in this process, one
 * after the other, or all of them, side by side. Ends with "N passed, N
 * failed", counted in tests. */
#include "test.h"

#ifndef TEST_PLUGIN
#include "fake_worker.h"
#endif

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CUnit/Basic.h>

static const struct {
    const char *name;
    CU_TestInfo *tests;
} suites[] = {
#define TEST_SUITE_ROW(name) {#name, suite_##name},
    TEST_SUITES(TEST_SUITE_ROW)
#undef TEST_SUITE_ROW
};

uint64_t test_seed(void)
{
    const char *text = getenv("ARGUS_SEED");
    uint64_t seed = 0;

    if (text != NULL)
        seed = strtoull(text, NULL, 0);
    else if (getentropy(&seed, sizeof seed) != 0)
        abort();
    printf("  replay: ARGUS_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    return seed;
}

static bool is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

struct result {
    unsigned passed, failed;
};

/* The suites of these numbers, here and now. */
static bool run_suites(const size_t *numbers, size_t count,
                       struct result *result)
{
    if (CU_initialize_registry() != CUE_SUCCESS)
        return false;
    for (size_t i = 0; i < count; i++) {
        CU_SuiteInfo info[] = {{suites[numbers[i]].name, NULL, NULL, NULL, NULL,
                                suites[numbers[i]].tests},
                               CU_SUITE_INFO_NULL};
        if (CU_register_suites(info) != CUE_SUCCESS)
            return false;
    }
    CU_basic_set_mode(CU_BRM_VERBOSE);
    if (CU_basic_run_tests() != CUE_SUCCESS)
        return false;
    result->failed = CU_get_number_of_tests_failed();
    result->passed = CU_get_number_of_tests_run() - result->failed;
    CU_cleanup_registry();
    return true;
}

/* ---- all suites, some at a time: each in a process of its own */

struct run {
    pid_t pid;
    FILE *output;
};

static void begin_run(struct run *run, size_t suite, struct result *result)
{
    run->output = tmpfile();
    if (run->output == NULL || fflush(NULL) != 0 || (run->pid = fork()) < 0) {
        perror("a process for a suite");
        exit(2);
    }
    if (run->pid != 0)
        return;
    if (dup2(fileno(run->output), STDOUT_FILENO) < 0 ||
        dup2(fileno(run->output), STDERR_FILENO) < 0)
        exit(2);
    exit(run_suites(&suite, 1, result) ? 0 : 2);
}

/* Wait for any of them: show what it said. One that crashed, or that a
 * sanitizer complains of at its end, counts as one that failed. Returns its
 * number. */
static size_t end_run(struct run *runs, struct result *results)
{
    char text[4096];
    size_t i = 0, n;
    int status;
    pid_t pid = wait(&status);

    while (runs[i].pid != pid)
        i++;
    rewind(runs[i].output);
    while ((n = fread(text, 1, sizeof text, runs[i].output)) > 0)
        (void)fwrite(text, 1, n, stdout);
    (void)fclose(runs[i].output);
    runs[i].pid = 0;
    if (status != 0) {
        printf("ERROR: suite %s ended by %s %d\n", suites[i].name,
               WIFSIGNALED(status) ? "signal" : "exit",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        results[i].failed++;
    }
    return i;
}

/* Most of the time of many suites is waiting: one more than there are
 * processors. */
static struct result run_all(void)
{
    enum { SUITES = sizeof suites / sizeof suites[0] };
    struct run runs[SUITES] = {{0}};
    struct result sum = {0};
    long most = sysconf(_SC_NPROCESSORS_ONLN) + 1, running = 0;
    struct result *results =
        mmap(NULL, SUITES * sizeof *results, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (results == MAP_FAILED) {
        perror("the results");
        exit(2);
    }
    for (size_t next = 0; next < SUITES || running > 0;) {
        if (next < SUITES && running < most) {
            begin_run(&runs[next], next, &results[next]);
            next++;
            running++;
            continue;
        }
        const struct result *r = &results[end_run(runs, results)];
        sum.passed += r->passed;
        sum.failed += r->failed;
        running--;
    }
    (void)munmap(results, SUITES * sizeof *results);
    return sum;
}

int main(int argc, char **argv)
{
    size_t wanted[sizeof suites / sizeof suites[0]], count = 0;
    struct result result = {0};

#ifndef TEST_PLUGIN
    if (fake_worker_is_wanted(argv[0]))
        fake_worker_run();
#endif
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++)
        if (is_wanted(suites[i].name, argc, argv))
            wanted[count++] = i;
    if (argc < 2)
        result = run_all();
    else if (count == 0)
        fprintf(stderr, "no such suite\n");
    if (argc >= 2 && (count == 0 || !run_suites(wanted, count, &result)))
        return 2;
    printf("%u passed, %u failed\n", result.passed, result.failed);
    return result.failed == 0 ? 0 : 1;
}
