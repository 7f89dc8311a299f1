/* main.c - runs the CUnit suites: all, or those named as arguments. Ends with
 * "N passed, N failed", counted in tests. */
#include "test.h"

#ifndef TEST_PLUGIN
#include "fake_worker.h"
#endif

#include <stdio.h>
#include <string.h>
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

static int is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return 1;
    return argc < 2;
}

int main(int argc, char **argv)
{
    unsigned wanted = 0;

#ifndef TEST_PLUGIN
    if (fake_worker_is_wanted(argv[0]))
        fake_worker_run();
#endif
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        if (!is_wanted(suites[i].name, argc, argv))
            continue;
        CU_SuiteInfo info[] = {
            {suites[i].name, NULL, NULL, NULL, NULL, suites[i].tests},
            CU_SUITE_INFO_NULL};
        if (CU_register_suites(info) != CUE_SUCCESS)
            return 2;
        wanted++;
    }
    if (wanted == 0) {
        fprintf(stderr, "no such suite\n");
        return 2;
    }

    CU_basic_set_mode(CU_BRM_VERBOSE);
    if (CU_basic_run_tests() != CUE_SUCCESS)
        return 2;

    unsigned failed = CU_get_number_of_tests_failed();
    unsigned run = CU_get_number_of_tests_run();
    CU_cleanup_registry();
    printf("%u passed, %u failed\n", run - failed, failed);
    return failed == 0 ? 0 : 1;
}
