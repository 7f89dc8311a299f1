#include "test.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/node_id.h"
#include "base/prng.h"
#include "base/status.h"

static char last_line[LOG_LINE_SIZE];
static unsigned lines;

static void keep_line(enum log_level level, const char *line)
{
    (void)level;
    lines++;
    (void)strncpy(last_line, line, sizeof last_line - 1);
}

/* Goal: a failure names its code and cuts a text that is too long. */
static void test_fail_long_text_is_cut(void)
{
    struct argus_error err;
    char text[2 * ARGUS_ERROR_SIZE];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    CU_ASSERT_EQUAL(argus_fail(&err, ARGUS_EFULL, "%s", text), ARGUS_EFULL);
    CU_ASSERT_EQUAL(strlen(err.text), ARGUS_ERROR_SIZE - 1);

    errno = ENOENT;
    CU_ASSERT_EQUAL(argus_fail_errno(&err, "open %s", "f"), ARGUS_EIO);
    CU_ASSERT_STRING_EQUAL(err.text, "open f: No such file or directory");
    CU_ASSERT_STRING_EQUAL(argus_strstatus(ARGUS_EBUSY), "in use by another");
    CU_ASSERT_STRING_EQUAL(argus_strstatus(-99), "unknown status");
}

/* Goal: the same seed gives the same numbers, bounds are kept. */
static void test_prng_same_seed_same_numbers(void)
{
    struct prng a, b;

    prng_seed(&a, 42);
    prng_seed(&b, 42);
    for (int i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(prng_next(&a), prng_next(&b));
        CU_ASSERT_TRUE(prng_below(&a, 7) < 7);
        (void)prng_below(&b, 7);
        uint32_t ms = prng_jitter(&a, 1000);
        CU_ASSERT_TRUE(ms >= 800 && ms <= 1200);
        (void)prng_jitter(&b, 1000);
        double d = prng_double(&a);
        CU_ASSERT_TRUE(d >= 0.0 && d < 1.0);
        (void)prng_double(&b);
    }
    prng_seed(&b, 43);
    CU_ASSERT_NOT_EQUAL(prng_next(&a), prng_next(&b));
}

/* Goal: a limited line says how many were held back, and speaks again in the
 * next period. */
static void test_log_limited_counts_what_it_holds(void)
{
    struct log_limit limit = {.burst = 2, .period_ms = 1000};

    lines = 0;
    log_set_sink(keep_line);
    for (int i = 0; i < 5; i++)
        log_limited(&limit, 10000, LOG_LEVEL_INFO, "line");
    CU_ASSERT_EQUAL(lines, 2);
    log_limited(&limit, 11000, LOG_LEVEL_INFO, "line");
    CU_ASSERT_EQUAL(lines, 3);
    CU_ASSERT_STRING_EQUAL(last_line, "line (and 3 lines like it held back)");
    log_set_sink(NULL);
}

/* Goal: what a stranger wrote cannot end a line or speak to a terminal. */
static void test_log_line_is_one_and_harmless(void)
{
    struct log_limit limit = {.burst = 1, .period_ms = 1000};

    log_set_sink(keep_line);
    log_write(LOG_LEVEL_INFO, "node %s is online", "a\nb\033[2J\x7f\xc3\xa9");
    CU_ASSERT_STRING_EQUAL(last_line, "node a?b?[2J?\xc3\xa9 is online");
    log_limited(&limit, 1000, LOG_LEVEL_INFO, "node %s", "c\rd");
    CU_ASSERT_STRING_EQUAL(last_line, "node c?d");
    log_set_sink(NULL);
}

static void test_node_id_order_and_text(void)
{
    struct node_id a = {{0}}, b = {{0}};
    char text[NODE_ID_TEXT_SIZE];

    CU_ASSERT_TRUE(node_id_is_zero(&a));
    b.bytes[0] = 0xab;
    CU_ASSERT_TRUE(node_id_compare(&a, &b) < 0);
    node_id_format(&b, text);
    CU_ASSERT_STRING_EQUAL(text, "ab000000000000000000000000000000");
}

CU_TestInfo suite_base[] = {
    {"fail_long_text_is_cut", test_fail_long_text_is_cut},
    {"prng_same_seed_same_numbers", test_prng_same_seed_same_numbers},
    {"log_limited_counts_what_it_holds", test_log_limited_counts_what_it_holds},
    {"log_line_is_one_and_harmless", test_log_line_is_one_and_harmless},
    {"node_id_order_and_text", test_node_id_order_and_text},
    CU_TEST_INFO_NULL,
};
