#include "test.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/log.h"
#include "base/prng.h"
#include "base/srv.h"
#include "runtime/resolve.h"
#include "runtime/resolve_dns.h"

/* ------------------------------------------------- a DNS message, by hand */

static uint8_t message[65536];
static size_t used;
static unsigned records;

static void put16(size_t at, unsigned number)
{
    message[at] = (uint8_t)(number >> 8);
    message[at + 1] = (uint8_t)number;
}

static void put_name(const char *name)
{
    while (*name != '\0') {
        size_t length = strcspn(name, ".");
        message[used++] = (uint8_t)length;
        memcpy(message + used, name, length);
        used += length;
        name += length + (name[length] == '.');
    }
    message[used++] = 0;
}

static void begin_message(void)
{
    memset(message, 0, 12);
    put16(2, 0x8580);
    put16(4, 1); /* one question */
    used = 12;
    records = 0;
    put_name("_argus._tcp.test");
    put16(used, 33);
    put16(used + 2, 1);
    used += 4;
}

static void put_record(unsigned type, unsigned priority, unsigned weight,
                       unsigned port, const char *target)
{
    message[used++] = 0xc0; /* the name of the question */
    message[used++] = 12;
    put16(used, type);
    put16(used + 2, 1);
    memset(message + used + 4, 0, 4);
    size_t length_at = used + 8;
    used += 10;
    put16(used, priority);
    put16(used + 2, weight);
    put16(used + 4, port);
    used += 6;
    put_name(target);
    put16(length_at, (unsigned)(used - length_at - 2));
    put16(6, ++records);
}

static void put_service(unsigned priority, unsigned weight, unsigned port,
                        const char *target)
{
    put_record(33, priority, weight, port, target);
}

/* Goal: what a name server says is taken field by field; what cannot be dialed,
 * and what is of another type, is left out. */
static void test_services_are_read(void)
{
    struct dns_services s;

    begin_message();
    put_service(3, 7, 25827, "n1.example.org");
    put_service(0, 0, 0, "no-port.example.org");
    put_service(0, 0, 1, "");
    put_service(0, 0, 1, "a b");
    put_service(0, 0, 1, "x\"y\n");
    put_service(0, 0, 1, "-v");
    put_record(1, 0, 0, 1, "of.another.type");
    put_service(65535, 65535, 65535, "N_2.Example.org");
    CU_ASSERT_TRUE_FATAL(dns_parse_services(message, used, &s));
    CU_ASSERT_EQUAL_FATAL(s.count, 2);
    CU_ASSERT_STRING_EQUAL(s.list[0].target, "n1.example.org");
    CU_ASSERT_EQUAL(s.list[0].priority, 3);
    CU_ASSERT_EQUAL(s.list[0].weight, 7);
    CU_ASSERT_EQUAL(s.list[0].port, 25827);
    CU_ASSERT_STRING_EQUAL(s.list[1].target, "N_2.Example.org");
    CU_ASSERT_EQUAL(s.list[1].port, 65535);
    CU_ASSERT_FALSE(s.is_truncated);
}

/* Goal: no answer, however broken, is read beyond its end or believed by half;
 * a long one has an end. */
static void test_broken_answers_do_no_harm(void)
{
    struct dns_services s;

    CU_ASSERT_FALSE(dns_parse_services(message, 0, &s));
    begin_message();
    CU_ASSERT_FALSE(dns_parse_services(message, used, &s));
    put_service(1, 1, 1, "a.test");
    put_service(1, 1, 1, "b.test");
    for (size_t size = 0; size < used; size++) {
        (void)dns_parse_services(message, size, &s);
        CU_ASSERT_TRUE(s.count < 2);
    }
    struct prng prng;
    prng_seed(&prng, test_seed());
    for (int i = 0; i < 20000; i++) {
        uint8_t mangled[512];
        memcpy(mangled, message, used);
        for (int k = 0; k < 3; k++)
            mangled[prng_below(&prng, (uint32_t)used)] =
                (uint8_t)prng_next(&prng);
        (void)dns_parse_services(mangled, used, &s);
        CU_ASSERT_TRUE(s.count <= 2);
    }

    begin_message();
    for (unsigned i = 0; i < 1000; i++)
        put_service(1, 1, i + 1, "a.test");
    CU_ASSERT_TRUE(dns_parse_services(message, used, &s));
    CU_ASSERT_EQUAL(s.count, DNS_SERVICES_MAX);
    CU_ASSERT_TRUE(s.is_truncated);
}

static uint32_t draw(void *context, uint32_t bound)
{
    return prng_below(context, bound);
}

/* Goal: RFC 2782: a lower priority always comes first; among equals as often as
 * the weight says; nothing is lost on the way. */
static void test_services_are_ordered(void)
{
    struct prng prng;
    unsigned first[4] = {0};

    prng_seed(&prng, test_seed());
    for (int run = 0; run < 8000; run++) {
        struct dns_services s = {.count = 4};
        for (unsigned i = 0; i < 4; i++)
            s.list[i] = (struct dns_service){.priority = i == 0 ? 9 : 2,
                                             .port = (uint16_t)(i + 1)};
        s.list[1].weight = 10;
        s.list[2].weight = 30;
        dns_order_services(&s, draw, &prng);
        CU_ASSERT_EQUAL(s.list[3].port, 1);
        unsigned sum = 0;
        for (unsigned i = 0; i < 4; i++)
            sum += 1u << s.list[i].port;
        CU_ASSERT_EQUAL(sum, 2 + 4 + 8 + 16);
        first[s.list[0].port - 1]++;
    }
    CU_ASSERT_TRUE(first[1] > 1600 && first[1] < 2400); /* 10 of 41: 1951 */
    CU_ASSERT_TRUE(first[2] > 5400 && first[2] < 6300); /* 30 of 41: 5854 */
    CU_ASSERT_TRUE(first[3] > 50 && first[3] < 400);    /* weight 0, yet not
                                                         * never: 195 */
}

static union resolve_address address(const char *text)
{
    union resolve_address a = {.any.sa_family = AF_INET};

    if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1)
        return a;
    memset(&a, 0, sizeof a);
    a.v6.sin6_family = AF_INET6;
    CU_ASSERT_EQUAL(inet_pton(AF_INET6, text, &a.v6.sin6_addr), 1);
    return a;
}

/* Goal: in whatever order a name server lists them, all nodes begin with the
 * same address, and both families have their turn. */
static void test_addresses_are_ordered(void)
{
    static const char *const expected[] = {"fd00::1", "10.0.0.1", "fd00::2",
                                           "10.0.0.2", "10.0.0.30"};
    union resolve_address list[] = {address("fd00::2"), address("10.0.0.30"),
                                    address("10.0.0.1"), address("fd00::1"),
                                    address("10.0.0.2")};
    char text[INET6_ADDRSTRLEN];

    dns_order_addresses(list, 5);
    for (int i = 0; i < 5; i++) {
        const void *at = list[i].any.sa_family == AF_INET
                             ? (const void *)&list[i].v4.sin_addr
                             : (const void *)&list[i].v6.sin6_addr;
        CU_ASSERT_PTR_NOT_NULL(
            inet_ntop(list[i].any.sa_family, at, text, sizeof text));
        CU_ASSERT_STRING_EQUAL(text, expected[i]);
    }
}

/* ------------------------------------------------------------- the threads */

static unsigned answers, failures, lines;
static uv_loop_t loop;

static void on_done(void *context, const struct resolve_answer *answer,
                    const struct argus_error *err)
{
    (void)context;
    if (answer->count > 0) {
        CU_ASSERT_EQUAL(answer->to[0].any.sa_family, AF_INET);
        CU_ASSERT_EQUAL(ntohs(answer->to[0].v4.sin_port), 25827);
        answers++;
    } else {
        CU_ASSERT_PTR_NOT_NULL(strstr(err->text, "\"127.0.0.1\""));
        failures++;
    }
}

static void count_lines(enum log_level level, const char *line)
{
    (void)level;
    lines += strstr(line, "cannot look up") != NULL;
}

static void on_closed(void *context)
{
    *(bool *)context = true;
}

static void ask(struct resolver *r, const char *host, const char *port)
{
    struct argus_error err;
    struct lookup *l;

    CU_ASSERT_EQUAL(resolve_start(r, host, port, on_done, NULL, &l, &err),
                    ARGUS_OK);
}

/* Goal: who asks for the same name shares a thread, a name that fails has one
 * line in the log, and there is a bound. */
static void test_lookups_are_shared(void)
{
    struct resolver *r;
    struct lookup *cancelled;
    struct argus_error err;
    bool is_closed = false;
    char host[32];

    answers = failures = lines = 0;
    log_set_sink(count_lines);
    CU_ASSERT_EQUAL_FATAL(uv_loop_init(&loop), 0);
    CU_ASSERT_EQUAL_FATAL(resolver_new(&loop, &r), ARGUS_OK);
    for (int i = 0; i < 5; i++)
        ask(r, "127.1",
            "25827"); /* no literal to us; no name server is asked */
    CU_ASSERT_EQUAL(
        resolve_start(r, "127.1", "25827", on_done, NULL, &cancelled, &err),
        ARGUS_OK);
    resolve_cancel(cancelled);
    CU_ASSERT_EQUAL(resolve_stats(r)->lookups, 1);
    while (answers < 5)
        (void)uv_run(&loop, UV_RUN_ONCE);
    CU_ASSERT_EQUAL(failures, 0);

    for (unsigned i = 1; i <= 3; i++) {
        ask(r, "127.0.0.1", "no-such-port");
        while (failures < i)
            (void)uv_run(&loop, UV_RUN_ONCE);
    }
    CU_ASSERT_EQUAL(lines, 1);
    CU_ASSERT_EQUAL(resolve_stats(r)->failures, 3);

    for (int i = 0; i < RESOLVE_MAX; i++) {
        (void)snprintf(host, sizeof host, "127.%d", i + 1);
        ask(r, host, "25827");
    }
    CU_ASSERT_EQUAL(
        resolve_start(r, "128.1", "1", on_done, NULL, &cancelled, &err),
        ARGUS_EFULL);
    resolver_close(r, on_closed, &is_closed); /* with all of them under way */
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CU_ASSERT_TRUE(is_closed);
    CU_ASSERT_EQUAL(answers, 5);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
    log_set_sink(NULL);
}

CU_TestInfo suite_resolve[] = {
    {"services_are_read", test_services_are_read},
    {"broken_answers_do_no_harm", test_broken_answers_do_no_harm},
    {"services_are_ordered", test_services_are_ordered},
    {"addresses_are_ordered", test_addresses_are_ordered},
    {"lookups_are_shared", test_lookups_are_shared},
    CU_TEST_INFO_NULL,
};
