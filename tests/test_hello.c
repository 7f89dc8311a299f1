#include "test.h"

#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "wire/frame.h"
#include "wire/hello.h"

static struct hello_facts us, them;
static argus_Hello hello;
static char text[HELLO_TEXT_SIZE];

static void set_up(argus_LinkKind kind, const struct node_id *expected)
{
    memset(&us, 0, sizeof us);
    memset(&them, 0, sizeof them);
    us.id.bytes[0] = 1;
    us.instance = 11;
    (void)strcpy(us.cluster, "default");
    (void)strcpy(us.name, "us");
    them = us;
    them.id.bytes[0] = 2;
    them.instance = 22;
    them.generation = 5;
    them.started_ms = 99;
    (void)strcpy(them.name, "them");
    (void)strcpy(them.address, ":25827");
    hello_build(&them, kind, expected, "10.0.0.1", &hello);
}

static argus_RefuseCode check(const struct node_id *expected)
{
    return hello_check(&us, &hello, hello.kind, expected, "10.0.0.7:25827",
                       text);
}

/* Goal: two that fit together pass, and the facts arrive. */
static void test_hello_good_one_passes(void)
{
    set_up(argus_LinkKind_LINK_MESH, &us.id);
    us.id.bytes[0] = 1;
    hello_build(&them, argus_LinkKind_LINK_MESH, &us.id, "10.0.0.1", &hello);
    CU_ASSERT_EQUAL(check(&them.id), argus_RefuseCode_REFUSE_NONE);
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_NONE);
    CU_ASSERT_STRING_EQUAL(text, "");
    CU_ASSERT_EQUAL(hello.generation, 5);
    CU_ASSERT_EQUAL(hello.instance, 22);
    CU_ASSERT_EQUAL(hello.started_ms, 99);
    CU_ASSERT_STRING_EQUAL(hello.observed, "10.0.0.1");

    uint8_t bytes[FRAME_HELLO_MAX];
    argus_Frame frame;
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_hello_tag;
    memset(them.name, 'n', sizeof them.name - 1);
    memset(them.cluster, 'c', sizeof them.cluster - 1);
    memset(them.address, 'a', sizeof them.address - 1);
    hello_build(&them, argus_LinkKind_LINK_MESH, &us.id, "10.0.0.1",
                &frame.body.hello);
    CU_ASSERT_TRUE(frame_encode(argus_Frame_fields, &frame, bytes, sizeof bytes,
                                NULL) > 0);
}

/* Goal: each misfit has its code, and a text with what, where and ours. */
static void test_hello_misfits_are_named(void)
{
    struct node_id stranger = {{9}};

    set_up(argus_LinkKind_LINK_MESH, NULL);
    (void)strcpy(hello.cluster, "prod");
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_CLUSTER);
    CU_ASSERT_STRING_EQUAL(
        text, "cluster \"prod\" at 10.0.0.7:25827, ours is \"default\"");
    (void)strcpy(hello.cluster, "a\nfake \"line");
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_CLUSTER);
    CU_ASSERT_PTR_NULL(strchr(text, '\n'));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "a?fake ?line"));

    set_up(argus_LinkKind_LINK_MESH, NULL);
    hello.protocol_min = hello.protocol_max = 7;
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_VERSION);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "7 to 7 at 10.0.0.7:25827"));
    hello.protocol_min = ARGUS_PROTOCOL_MIN; /* newer, yet speaks ours */
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_NONE);

    CU_ASSERT_EQUAL(check(&stranger), argus_RefuseCode_REFUSE_WRONG_ID);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "10.0.0.7:25827"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "09000000"));
    set_up(argus_LinkKind_LINK_MESH, &stranger);
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_WRONG_ID);
    hello.expected_id.size = 3;
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_MALFORMED);
    set_up(argus_LinkKind_LINK_BUNDLE, NULL);
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_NONE);
    set_up((argus_LinkKind)(argus_LinkKind_LINK_BUNDLE + 1), NULL);
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_MALFORMED);
    set_up((argus_LinkKind)42, NULL);
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_MALFORMED);
    set_up(argus_LinkKind_LINK_NONE, NULL);
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_MALFORMED);
}

/* Goal: oneself and a clone are told apart; a probe gets to know a clone. */
static void test_hello_self_and_clone(void)
{
    set_up(argus_LinkKind_LINK_MESH, NULL);
    hello.id[0] = 1;
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_CLONE);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"them\" at 10.0.0.7:25827"));
    hello.kind = argus_LinkKind_LINK_PROBE;
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_NONE);
    hello.instance = 11;
    CU_ASSERT_EQUAL(check(NULL), argus_RefuseCode_REFUSE_SELF);
}

/* Goal: addresses are taken apart and put together, and nothing else passes
 * for one. */
static void test_hello_addresses(void)
{
    static const char *const bad[] = {
        "",        "host", "host:", "::1:5", "[::1]", "[::1]x:5", "a b:1",
        "h:65536", "h:0",  "[]:1",  "h\n:1", "h:1\"", "[[a]:b",   "a[b:1"};
    char host[64], port[32], out[144];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CU_ASSERT_FALSE(
            text_split_address(bad[i], host, sizeof host, port, sizeof port));
    CU_ASSERT_TRUE(text_split_address("[fe80::1]:5", host, sizeof host, port,
                                      sizeof port));
    CU_ASSERT_STRING_EQUAL(host, "fe80::1");
    CU_ASSERT_STRING_EQUAL(port, "5");

    set_up(argus_LinkKind_LINK_MESH, NULL);
    CU_ASSERT_TRUE(hello_address(&hello, "fe80::2", out, sizeof out));
    CU_ASSERT_STRING_EQUAL(out, "[fe80::2]:25827");
    (void)strcpy(hello.address, "web-1:99");
    CU_ASSERT_TRUE(hello_address(&hello, "10.0.0.7", out, sizeof out));
    CU_ASSERT_STRING_EQUAL(out, "web-1:99");
    (void)strcpy(hello.address, "nonsense");
    CU_ASSERT_FALSE(hello_address(&hello, "10.0.0.7", out, sizeof out));
    CU_ASSERT_STRING_EQUAL(out, "");
}

CU_TestInfo suite_hello[] = {
    {"good_one_passes", test_hello_good_one_passes},
    {"misfits_are_named", test_hello_misfits_are_named},
    {"self_and_clone", test_hello_self_and_clone},
    {"addresses", test_hello_addresses},
    CU_TEST_INFO_NULL,
};
