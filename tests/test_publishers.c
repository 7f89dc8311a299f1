/* What a node publishes, and how its record says so; see core/publishers.h and
 * core/digest.h. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/publishers.h"

#define WALL_US UINT64_C(1700000000000000)
#define STARTED_MS (WALL_US / 1000)

struct desk {
    struct publishers *p;
    uint64_t now_ms;
    char said[256];
    enum publishers_news news;
    uint32_t times;
};

static void on_say(void *context, enum publishers_news news, const char *text)
{
    struct desk *desk = context;

    desk->news = news;
    desk->times++;
    (void)snprintf(desk->said, sizeof desk->said, "%s", text);
}

static struct desk *desk_new(void)
{
    struct desk *desk = calloc(1, sizeof *desk);

    CU_ASSERT_PTR_NOT_NULL_FATAL(desk);
    const struct publishers_listener up = {.context = desk, .say = on_say};
    desk->now_ms = 1000;
    CU_ASSERT_EQUAL_FATAL(publishers_new(&up, &desk->p), ARGUS_OK);
    return desk;
}

static void desk_free(struct desk *desk)
{
    publishers_free(desk->p);
    free(desk);
}

static uint64_t wall_us(const struct desk *desk)
{
    return WALL_US + desk->now_ms * 1000;
}

static void value(struct desk *desk, const char *source, const char *plugin,
                  const char *instance, const char *metric, uint32_t interval_s)
{
    const uint64_t number = 0;
    const struct value_input in = {.host = "web-1",
                                   .plugin = plugin,
                                   .plugin_instance = instance,
                                   .type = "gauge",
                                   .type_instance = metric,
                                   .time = 1,
                                   .interval = (uint64_t)interval_s << 30,
                                   .numbers = &number,
                                   .count = 1,
                                   .source = source};

    publishers_on_value(desk->p, desk->now_ms, wall_us(desk), &in);
}

/* Time passes as the engine would have it. */
static void pass(struct desk *desk, uint64_t ms)
{
    uint64_t until_ms = desk->now_ms + ms;

    while (publishers_deadline_ms(desk->p) <= until_ms) {
        uint64_t due_ms = publishers_deadline_ms(desk->p);
        desk->now_ms = due_ms > desk->now_ms ? due_ms : desk->now_ms;
        (void)publishers_on_timeout(desk->p, desk->now_ms);
        (void)publishers_news(desk->p, desk->now_ms, 10);
    }
    desk->now_ms = until_ms;
}

static void publish_for(struct desk *desk, uint32_t seconds, const char *plugin,
                        uint32_t interval_s)
{
    for (uint32_t i = 0; i < seconds; i += interval_s) {
        value(desk, NULL, plugin, "", "", interval_s);
        pass(desk, interval_s * 1000u);
    }
}

static bool find(struct desk *desk, const char *plugin, const char *app,
                 struct digest_entry *out, uint64_t *last_us)
{
    for (uint32_t i = 0; publishers_get(desk->p, i, out, last_us); i++)
        if (strcmp(out->plugin, plugin) == 0 && strcmp(out->app, app) == 0)
            return true;
    return false;
}

/* Goal: since, last and rate of what publishes; what the digest says of it
 * comes back, to a quarter of a power of two and a second. */
static void test_rate_since_and_last_are_kept(void)
{
    struct desk *desk = desk_new();
    uint8_t digest[DIGEST_SIZE_MAX];
    struct digest_reader reader;
    struct digest_entry e;
    uint32_t missing;
    uint64_t last_us;

    for (int i = 0; i < 20; i++) {
        for (int n = 0; n < 30; n++)
            value(desk, NULL, "cpu", "0", "", 10);
        pass(desk, 10000);
    }
    CU_ASSERT_TRUE_FATAL(find(desk, "cpu", "", &e, &last_us));
    CU_ASSERT_DOUBLE_EQUAL(e.rate, 3.0, 0.05);
    CU_ASSERT_EQUAL(e.since_us, WALL_US + 1000000);
    CU_ASSERT_EQUAL(last_us, WALL_US + 191000000);
    CU_ASSERT_EQUAL(e.silent_us, 0);

    size_t size =
        publishers_digest(desk->p, "web-1", STARTED_MS, digest, &missing);
    CU_ASSERT_EQUAL(missing, 0);
    digest_open(&reader, "web-1", STARTED_MS, digest, size);
    CU_ASSERT_TRUE_FATAL(digest_next(&reader, &e));
    CU_ASSERT_STRING_EQUAL(e.host, "web-1");
    CU_ASSERT_STRING_EQUAL(e.plugin, "cpu");
    CU_ASSERT_STRING_EQUAL(e.plugin_instance, "0");
    CU_ASSERT_EQUAL(e.since_us, WALL_US + 1000000);
    CU_ASSERT_DOUBLE_EQUAL(e.rate, 3.0, 0.3);
    CU_ASSERT_FALSE(digest_next(&reader, &e));
    CU_ASSERT_FALSE(reader.is_broken);
    desk_free(desk);
}

/* Goal: what users name in statsd, tail, curl and exec are applications. */
static void test_applications_are_told_apart(void)
{
    static const struct {
        const char *source, *plugin, *instance, *metric, *app;
    } cases[] = {
        {NULL, "cpu", "0", "", ""},
        {NULL, "statsd", "", "shop.orders.paid", "shop"},
        {"statsd", "statsd", "", "till-average", "till"},
        {NULL, "statsd", "", "plain", "plain"},
        {NULL, "tail", "mail", "in", "mail"},
        {"curl", "curl", "front_page", "", "front_page"},
        {"exec", "exec", "backup", "", "backup"},
        {"exec", "backup", "nightly", "", "backup"},
        {"exec", "exec", "", "", "exec"},
        {"cpu", "cpu", "", "", ""},
    };
    struct desk *desk = desk_new();
    struct digest_entry e;
    uint64_t last_us;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        value(desk, cases[i].source, cases[i].plugin, cases[i].instance,
              cases[i].metric, 10);
        CU_ASSERT_TRUE(find(desk, cases[i].plugin, cases[i].app, &e, &last_us));
    }
    desk_free(desk);
}

/* Goal: one that is silent for several of its intervals has stopped, and is
 * told to be back when it speaks; one sentence for all that stop at once. */
static void test_silence_is_told_once_for_all(void)
{
    struct desk *desk = desk_new();
    struct digest_entry e;
    uint64_t last_us;

    for (int i = 0; i < 10; i++) {
        value(desk, NULL, "df", "root", "", 10);
        value(desk, NULL, "disk", "sda", "", 10);
        value(desk, "exec", "exec", "backup", "", 10);
        value(desk, NULL, "load", "", "", 10);
        pass(desk, 10000);
    }
    CU_ASSERT_EQUAL(desk->times, 0);
    publish_for(desk, 30, "load", 10);
    CU_ASSERT_EQUAL(desk->times, 0);
    publish_for(desk, 20, "load", 10);
    CU_ASSERT_EQUAL(desk->times, 1);
    CU_ASSERT_EQUAL(desk->news, PUBLISHERS_STOPPED);
    CU_ASSERT_PTR_NOT_NULL(strstr(desk->said, "web-1/df-root"));
    CU_ASSERT_PTR_NOT_NULL(strstr(desk->said, "web-1/disk-sda"));
    CU_ASSERT_PTR_NOT_NULL(strstr(desk->said, "web-1/exec-backup"));
    CU_ASSERT_PTR_NULL(strstr(desk->said, "load"));
    CU_ASSERT_TRUE_FATAL(find(desk, "df", "", &e, &last_us));
    CU_ASSERT_EQUAL(e.silent_us, last_us);
    CU_ASSERT_EQUAL(last_us, WALL_US + 91000000);
    CU_ASSERT_TRUE(e.rate <= 0);

    value(desk, NULL, "df", "root", "", 10);
    publish_for(desk, 10, "load", 10);
    CU_ASSERT_EQUAL(desk->times, 2);
    CU_ASSERT_EQUAL(desk->news, PUBLISHERS_BACK);
    CU_ASSERT_STRING_EQUAL(desk->said, "publishes again: web-1/df-root");
    desk_free(desk);
}

/* Goal: one that comes and goes is told to do so once, then silence until it
 * was steady for as long. */
static void test_flapping_is_told_once(void)
{
    struct desk *desk = desk_new();

    for (int i = 0; i < 20; i++) {
        publish_for(desk, 5, "odd", 1);
        pass(desk, 30000);
    }
    CU_ASSERT_EQUAL(desk->news, PUBLISHERS_FLAPS_ON);
    CU_ASSERT_EQUAL(desk->times, 2 * PUBLISHERS_FLAPS - 1);
    publish_for(desk, PUBLISHERS_FLAP_MS / 1000 + 60, "odd", 1);
    CU_ASSERT_EQUAL(desk->news, PUBLISHERS_BACK);
    CU_ASSERT_EQUAL(desk->times, 2 * PUBLISHERS_FLAPS);
    desk_free(desk);
}

/* Goal: a process that stood still blames nobody for it. */
static void test_standing_still_is_no_silence(void)
{
    struct desk *desk = desk_new();

    publish_for(desk, 60, "load", 10);
    desk->now_ms += 300000; /* nobody called */
    value(desk, NULL, "load", "", "", 10);
    pass(desk, 10000);
    publish_for(desk, 60, "load", 10);
    CU_ASSERT_EQUAL(desk->times, 0);
    CU_ASSERT_EQUAL(publishers_stats(desk->p)->excused, 1);
    pass(desk, 60000); /* and it is silent all the same if it is */
    CU_ASSERT_EQUAL(desk->times, 1);
    desk_free(desk);
}

/* Goal: a publisher that comes is published within seconds, a rate that swings
 * and publishers that come and go all the time are not more often than the
 * bound, whatever they do. */
static void test_news_are_bounded(void)
{
    struct desk *desk = desk_new();
    char name[16];

    value(desk, NULL, "load", "", "", 10);
    pass(desk, PUBLISHERS_SETTLE_MS);
    CU_ASSERT_EQUAL(publishers_stats(desk->p)->digests, 1);
    publish_for(desk, 600, "load", 10);
    CU_ASSERT_EQUAL(publishers_stats(desk->p)->digests, 1); /* at rest: none */
    value(desk, NULL, "df", "", "", 10);
    pass(desk, PUBLISHERS_SETTLE_MS);
    CU_ASSERT_EQUAL(publishers_stats(desk->p)->digests, 2);

    uint64_t before = publishers_stats(desk->p)->digests;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        value(desk, NULL, "odd", name, "", 1);
        for (int n = 0; n < (i % 50 < 25 ? 1 : 100); n++)
            value(desk, NULL, "rate", "", "", 1);
        pass(desk, 1000);
    }
    uint64_t gap_ms = PUBLISHERS_GAP_MS + 10 * PUBLISHERS_GAP_MEMBER_MS;
    CU_ASSERT_TRUE(publishers_stats(desk->p)->digests - before <=
                   1000000 / gap_ms + PUBLISHERS_BURST);
    desk_free(desk);
}

/* Goal: the digest keeps its bound, names something of each plugin, and counts
 * what it leaves out; a machine of 64 processors fits. */
static void test_digest_is_bounded_and_counts(void)
{
    struct desk *desk = desk_new();
    uint8_t digest[DIGEST_SIZE_MAX];
    struct digest_reader reader;
    struct digest_entry e;
    char name[64];
    uint32_t missing, in = 0;
    bool has_zoo = false;

    for (int i = 0; i < 64; i++) {
        (void)snprintf(name, sizeof name, "%d", i);
        value(desk, NULL, "cpu", name, "", 10);
    }
    static const char *const usual[] = {"load", "memory", "swap", "users"};
    for (size_t i = 0; i < 4; i++)
        value(desk, NULL, usual[i], "", "", 10);
    size_t size =
        publishers_digest(desk->p, "web-1", STARTED_MS, digest, &missing);
    CU_ASSERT_EQUAL(missing, 0);
    printf("  64 processors and 4 plugins: %zu bytes\n", size);

    for (int i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof name, "a-long-name-of-a-disk-%d", i);
        value(desk, NULL, "disk", name, "", 10);
    }
    value(desk, NULL, "zoo", "", "", 10);
    size = publishers_digest(desk->p, "web-1", STARTED_MS, digest, &missing);
    digest_open(&reader, "web-1", STARTED_MS, digest, size);
    for (; digest_next(&reader, &e); in++)
        has_zoo |= strcmp(e.plugin, "zoo") == 0;
    CU_ASSERT_FALSE(reader.is_broken);
    CU_ASSERT_TRUE(has_zoo);
    CU_ASSERT_EQUAL(in + missing, 569);
    CU_ASSERT_TRUE(in > 60);

    for (uint32_t i = 0; i < 2 * PUBLISHERS_MAX; i++) {
        (void)snprintf(name, sizeof name, "x%u", i);
        value(desk, NULL, "many", name, "", 10);
    }
    CU_ASSERT_EQUAL(publishers_count(desk->p), PUBLISHERS_MAX);
    (void)publishers_digest(desk->p, "web-1", STARTED_MS, digest, &missing);
    CU_ASSERT_TRUE(missing > 7000 && missing <= 569 + 2 * PUBLISHERS_MAX);
    /* when they are gone there is room again */
    pass(desk, 60000);
    value(desk, NULL, "late", "", "", 10);
    uint64_t last_us;
    CU_ASSERT_TRUE(find(desk, "late", "", &e, &last_us));
    desk_free(desk);
}

/* Goal: what a stranger sends as a digest ends the reading, no more. Method:
 * all cuts and single flips of a sound one. */
static void test_hostile_digest_is_read_to_the_fault(void)
{
    static const uint8_t no_host[] = "\x0b\x0a\0\x12\x03"
                                     "cpu\x30\1\x38\1";
    struct desk *desk = desk_new();
    uint8_t digest[DIGEST_SIZE_MAX];
    struct digest_reader reader;
    struct digest_entry e;
    uint32_t missing;

    value(desk, NULL, "cpu", "0", "", 10);
    value(desk, "statsd", "statsd", "", "shop.x", 10);
    value(desk, "exec", "backup", "nightly", "", 60);
    size_t size =
        publishers_digest(desk->p, "web-1", STARTED_MS, digest, &missing);
    for (size_t cut = 0; cut < size; cut++) {
        digest_open(&reader, "web-1", STARTED_MS, digest, cut);
        uint32_t n = 0;
        while (digest_next(&reader, &e))
            n++;
        CU_ASSERT_TRUE(n < 3);
    }
    for (size_t at = 0; at < size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            digest[at] ^= (uint8_t)(1u << bit);
            digest_open(&reader, "web-1", UINT64_MAX, digest, size);
            uint32_t n = 0;
            while (digest_next(&reader, &e) && n < 100)
                n++;
            CU_ASSERT_TRUE(n < 100);
            digest[at] ^= (uint8_t)(1u << bit);
        }
    /* an empty name of a host: it could not be told from "as before" */
    digest_open(&reader, "web-1", STARTED_MS, no_host, sizeof no_host - 1);
    CU_ASSERT_FALSE(digest_next(&reader, &e));
    CU_ASSERT_TRUE(reader.is_broken);
    desk_free(desk);
}

#define ROW(name)                                                              \
    {                                                                          \
#name, name                                                            \
    }
CU_TestInfo suite_publishers[] = {
    ROW(test_rate_since_and_last_are_kept),
    ROW(test_applications_are_told_apart),
    ROW(test_silence_is_told_once_for_all),
    ROW(test_flapping_is_told_once),
    ROW(test_standing_still_is_no_silence),
    ROW(test_news_are_bounded),
    ROW(test_digest_is_bounded_and_counts),
    ROW(test_hostile_digest_is_read_to_the_fault),
    CU_TEST_INFO_NULL,
};
