#include "test.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/table.h"

static char *printed;
static size_t printed_size;

static void print_table(const struct table *t, int width, bool color)
{
    free(printed);
    FILE *out = open_memstream(&printed, &printed_size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    table_print(t, out, width, color);
    CU_ASSERT_EQUAL(fclose(out), 0);
}

static int widest_line(const char *text)
{
    int widest = 0;

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        char *line = strndup(text, length);
        CU_ASSERT_PTR_NOT_NULL_FATAL(line);
        if (table_width(line) > widest)
            widest = table_width(line);
        free(line);
        text += length + (text[length] == '\n');
    }
    return widest;
}

static struct table *sample(void)
{
    static const char *const titles[] = {"NAME", ">COUNT", "TEXT", NULL};
    struct table *t = table_new(titles);

    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    table_cell(t, COLOR_PLAIN, "a");
    table_cell(t, COLOR_PLAIN, "%d", 7);
    table_cell(t, COLOR_BAD, "%060d", 1);
    table_cell(t, COLOR_PLAIN, "long-name");
    table_cell(t, COLOR_PLAIN, "%d", 123456);
    table_cell(t, COLOR_GOOD, "gr\xc3\xbc\xc3\x9f");
    return t;
}

static void test_columns_are_aligned(void)
{
    struct table *t = sample();

    table_cell(t, COLOR_PLAIN, "no text");
    table_cell(t, COLOR_PLAIN, "8");
    table_cell(t, COLOR_PLAIN, "%s", "");
    CU_ASSERT_EQUAL(table_rows(t), 3);
    print_table(t, 0, false);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed, "NAME        COUNT  TEXT\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed, "a               7  0000"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed, "long-name  123456  gr"));
    CU_ASSERT_PTR_NULL(strstr(printed, " \n"));
    CU_ASSERT_PTR_NULL(strchr(printed, '\033'));
    print_table(t, 0, true);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed, "\033[31m0000"));
    table_free(t);
}

/* Goal: no line is wider than the terminal, at any width. */
static void test_lines_fit_the_terminal(void)
{
    struct table *t = sample();

    for (int width = 4; width < 90; width++) {
        print_table(t, width, false);
        CU_ASSERT_TRUE(widest_line(printed) <= width);
    }
    print_table(t, 40, false);
    CU_ASSERT_EQUAL(widest_line(printed), 40);
    table_free(t);
}

/* Goal: where not all columns can be read, those that may go are left out, the
 * rightmost first, rather than all cut to pieces. */
static void test_columns_are_left_out(void)
{
    static const char *const titles[] = {"NAME", "?ZONE", "?>AGE", "TEXT",
                                         NULL};
    struct table *t = table_new(titles);

    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    table_cell(t, COLOR_PLAIN, "database-17");
    table_cell(t, COLOR_PLAIN, "eu1/rack4");
    table_cell(t, COLOR_PLAIN, "123456");
    table_cell(t, COLOR_PLAIN, "it burns here");
    print_table(t, 0, false);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed, "NAME         ZONE          AGE  "
                                           "TEXT\n"));
    print_table(t, 40, false);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed, "database-17  eu1/rack4  it burns"));
    CU_ASSERT_PTR_NULL(strstr(printed, "AGE"));
    print_table(t, 28, false);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed, "database-17  it burns here"));
    table_free(t);
}

/* Goal: sentences break at spaces; a word too long is broken within. */
static void test_text_is_wrapped(void)
{
    free(printed);
    FILE *out = open_memstream(&printed, &printed_size);

    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    table_wrap(out, "one two /a/very/long/path x", 2, 10);
    table_wrap(out, "whole line\n", 2, 0);
    (void)fclose(out);
    CU_ASSERT_STRING_EQUAL(printed, "one two\n  /a/very/\n  long/pat\n  h x\n"
                                    "whole line\\x0a\n");
}

/* Goal: what could move the cursor, ring, recolor or turn the line round is
 * shown, not obeyed; other languages are left as they are. */
static void test_hostile_text_is_shown(void)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"\033[2Jx\n\r\a\x7f", "\\x1b[2Jx\\x0a\\x0d\\x07\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"},          /* C1 */
        {"\xff\xc3", "\\xff\\xc3"}, /* no UTF-8 */
        {"a\xe2\x80\xae"
         "b",
         "a\\xe2\\x80\\xae"
         "b"}, /* U+202E */
        {"gr\xc3\xbc\xc3\x9f \xe6\x97\xa5", "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5"},
    };

    CU_ASSERT_PTR_NOT_NULL_FATAL(setlocale(LC_CTYPE, "C.UTF-8"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *safe = table_escape(cases[i].in);
        CU_ASSERT_PTR_NOT_NULL_FATAL(safe);
        CU_ASSERT_STRING_EQUAL(safe, cases[i].out);
        free(safe);
    }
    CU_ASSERT_EQUAL(table_width("\xe6\x97\xa5"), 2);
}

static void test_times_are_rfc3339(void)
{
    char text[TIME_TEXT_SIZE];

    time_text(1769860800000042u, text);
    CU_ASSERT_STRING_EQUAL(text, "2026-01-31T12:00:00.000042Z");
    time_text(UINT64_MAX, text);
    CU_ASSERT_EQUAL(strlen(text), TIME_TEXT_SIZE - 1);
    CU_ASSERT_EQUAL(cdtime_to_us(UINT64_C(3) << 29), 1500000);
}

static void test_json_is_always_valid(void)
{
    json_t *text = json_text("ok\xff\xed\xa0\x80z");
    CU_ASSERT_STRING_EQUAL(
        json_string_value(text),
        "ok\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
    json_decref(text);

    json_t *none = json_number(NAN);
    CU_ASSERT_TRUE(json_is_null(none));
    json_decref(none);
    json_t *never = json_time(0);
    CU_ASSERT_TRUE(json_is_null(never));
    json_decref(never);
    json_t *hlc = json_hlc(0xabc);
    CU_ASSERT_STRING_EQUAL(json_string_value(hlc), "0000000000000abc");
    json_decref(hlc);
}

static void test_severities_have_names(void)
{
    argus_Severity severity;

    CU_ASSERT_TRUE(severity_parse("failure", &severity));
    CU_ASSERT_EQUAL(severity, argus_Severity_SEVERITY_FAILURE);
    CU_ASSERT_FALSE(severity_parse("NONE", &severity));
    CU_ASSERT_FALSE(severity_parse("", &severity));
    free(printed);
    printed = NULL;
}

CU_TestInfo suite_table[] = {
    {"hostile_text_is_shown", test_hostile_text_is_shown},
    {"columns_are_aligned", test_columns_are_aligned},
    {"lines_fit_the_terminal", test_lines_fit_the_terminal},
    {"columns_are_left_out", test_columns_are_left_out},
    {"text_is_wrapped", test_text_is_wrapped},
    {"times_are_rfc3339", test_times_are_rfc3339},
    {"json_is_always_valid", test_json_is_always_valid},
    {"severities_have_names", test_severities_have_names},
    CU_TEST_INFO_NULL,
};
