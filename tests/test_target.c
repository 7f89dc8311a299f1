#include "test.h"

#include <stdio.h>
#include <string.h>

#include "core/target.h"

static argus_NodeRecord node(void)
{
    argus_NodeRecord r = argus_NodeRecord_init_zero;

    (void)snprintf(r.name, sizeof r.name, "web-17.example.org");
    (void)snprintf(r.zone, sizeof r.zone, "eu1/rack4");
    r.role = argus_Role_ROLE_AGENT;
    r.tags_count = 3;
    (void)snprintf(r.tags[0].key, sizeof r.tags[0].key, "service");
    (void)snprintf(r.tags[0].value, sizeof r.tags[0].value, "db");
    (void)snprintf(r.tags[1].key, sizeof r.tags[1].key, "service");
    (void)snprintf(r.tags[1].value, sizeof r.tags[1].value, "mail=in");
    (void)snprintf(r.tags[2].key, sizeof r.tags[2].key, "empty");
    return r;
}

/* Goal: each kind of term, and how they are joined. */
static void test_expressions_match(void)
{
    static const struct {
        const char *expression;
        bool matches;
    } cases[] = {
        {"*", true},
        {"name=web-17.example.org", true},
        {"name=web-*", true},
        {"name=web-1?.*.org", true},
        {"name=web-[0-9]7*", true},
        {"name=web-[!0-9]*", false},
        {"name=[x,;w]eb*", true},
        {"name=Web-*", false},
        {"name=web", false},
        {"zone=eu1", true},
        {"zone=eu1/", true},
        {"zone=eu1/rack4", true},
        {"zone=eu1/rack", false},
        {"zone=eu", false},
        {"zone=eu1/rack4/x", false},
        {"role=agent", true},
        {"role=aggregator", false},
        {"tag:service=db", true},
        {"tag:service=mail=*", true},
        {"tag:service=d", false},
        {"tag:servic=db", false},
        {"tag:empty=", true},
        {"tag:service=", false},
        {"zone=eu1,role=agent", true},
        {"zone=eu1,role=aggregator", false},
        {"role=aggregator;zone=eu1", true},
        {"role=aggregator,zone=eu1;name=web-*,tag:service=db", true},
        {"name=web-*,role=aggregator;zone=us", false},
        {"zone=us;role=aggregator;name=x", false},
        {" zone=eu1 , role=agent ", true},
    };
    argus_NodeRecord r = node();

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool ok = target_matches_record(cases[i].expression, &r) ==
                      cases[i].matches &&
                  target_check(cases[i].expression, NULL) == ARGUS_OK;
        if (!ok)
            printf("  %s\n", cases[i].expression);
        CU_ASSERT_TRUE(ok);
    }
}

/* Goal: what is no target is refused with its place, and matches nothing, not
 * even beside a term that does. */
static void test_faults_are_named(void)
{
    static const struct {
        const char *expression, *text;
    } cases[] = {
        {"", "at character 1: there is nothing here"},
        {"*,", "at character 3: there is nothing here"},
        {"*;;role=agent", "at character 3: there is nothing here"},
        {"name=a,host=b", "\"host=b\" at character 8: a term is"},
        {"name=", "a name is missing"},
        {"zone=", "a zone is missing"},
        {"role=boss", "a role is agent or aggregator"},
        {"role=", "a role is agent or aggregator"},
        {"tag:x", "tag:KEY=VALUE"},
        {"tag:=x", "tag:KEY=VALUE"},
        {"name=[a", "a [ without its ]"},
        {"tag:a=[!]", "a [ without its ]"},
        {"**", "a term is"},
        {"*;a\nb=c", "\"a?b=c\""},
    };
    argus_NodeRecord r = node();

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct argus_error err = {{0}};
        CU_ASSERT_EQUAL(target_check(cases[i].expression, &err), ARGUS_EINVAL);
        bool says_so = strstr(err.text, cases[i].text) != NULL;
        if (!says_so)
            printf("  %s: %s\n", cases[i].expression, err.text);
        CU_ASSERT_TRUE(says_so);
        CU_ASSERT_FALSE(target_matches_record(cases[i].expression, &r));
    }
}

/* Goal: a glob made to be slow is not: it would take longer than the sun
 * shines where each "*" is tried anew. */
static void test_hostile_globs_end(void)
{
    char pattern[512], text[128];
    size_t n = 0;

    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    while (n + 3 < sizeof pattern) {
        pattern[n++] = '*';
        pattern[n++] = 'a';
    }
    pattern[n++] = 'b';
    pattern[n] = '\0';
    CU_ASSERT_FALSE(target_glob(pattern, text));

    for (n = 0; n + 6 < sizeof pattern; n += 5)
        memcpy(pattern + n, "*[a-c", 5);
    pattern[n] = '\0';
    CU_ASSERT_FALSE(target_glob(pattern, text));
    CU_ASSERT_TRUE(target_glob("*a*a*a*", text));
    CU_ASSERT_TRUE(target_glob("[]]x", "]x"));
    CU_ASSERT_TRUE(target_glob("[a-]", "-"));
    CU_ASSERT_FALSE(target_glob("?", ""));
    CU_ASSERT_TRUE(target_glob("", ""));
}

CU_TestInfo suite_target[] = {
    {"expressions_match", test_expressions_match},
    {"faults_are_named", test_faults_are_named},
    {"hostile_globs_end", test_hostile_globs_end},
    CU_TEST_INFO_NULL,
};
