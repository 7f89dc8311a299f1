/* 10,000 records: what they cost, and how soon questions about them are
 * answered. The bounds have a wide margin, for sanitizers; what was measured is
 * printed. */
#include "test.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <pb_encode.h>

#include "base/status.h"
#include "cli_bed.h"
#include "core/engine_impl.h"
#include "core/publishers.h"
#include "directory_net.h" /* the stand-in for a seal */
#include "sim/bundle_kit.h"

#define NODES 10000u
#define WALL_US UINT64_C(1700000000000000)
#define BYTES_MAX (12u << 20)
#define ANSWER_MAX_MS 1000 /* a hundred are promised */
#define CALL_MAX_MS 4000   /* of CPU, with argusctl; JSON is parsed here too */

static void on_action(void *context, const struct action *a)
{
    (void)context;
    (void)a;
}

static struct actions out = {.emit = on_action};
static struct kit_chunks chunks; /* no bundle comes here */

static void describe(const void *set, argus_SeriesDef *def)
{
    (void)set;
    def->sources_count = 1;
}

static void seal_hash(const uint8_t *data, size_t size,
                      uint8_t id[CONTENT_ID_SIZE])
{
    (void)data;
    (void)size;
    memset(id, 1, CONTENT_ID_SIZE);
}

static struct engine *engine_of_one(void)
{
    static struct engine_options o;
    struct engine *e = NULL;

    memset(&o, 0, sizeof o);
    o.seal = (struct seal){.context = &o.id,
                           .close = fake_close,
                           .open = fake_open,
                           .hash = seal_hash,
                           .digest = kit_digest,
                           .vouches = kit_vouches};
    o.chunks = kit_store(&chunks);
    o.describe = describe;
    o.id.bytes[0] = 9;
    o.generation = 2;
    (void)snprintf(o.name, sizeof o.name, "self");
    (void)snprintf(o.address, sizeof o.address, "10.0.0.1:25827");
    o.active_max = 5;
    o.passive_max = 30;
    o.shuffle_ms = 10000;
    o.ping_ms = 2000;
    o.suspect_ms = 3500;
    o.retain_offline_s = 3600;
    o.spool_bytes_max = 1 << 20;
    o.intake_queue_max = 100;
    o.forward = argus_Severity_SEVERITY_WARNING;
    o.retain_events = 100;
    o.event_rate = 10;
    CU_ASSERT_EQUAL_FATAL(engine_new(&o, &e), ARGUS_OK);
    return e;
}

static void nobody_listens(void *context, enum publishers_news news,
                           const char *text)
{
    (void)context;
    (void)news;
    (void)text;
}

/* What a host of 8 processors with the usual plugins publishes. */
static size_t usual_digest(uint8_t digest[DIGEST_SIZE_MAX])
{
    static const char *const names[][2] = {
        {"load", ""},       {"memory", ""},     {"swap", ""},
        {"users", ""},      {"df", "root"},     {"df", "var"},
        {"disk", "sda"},    {"disk", "sdb"},    {"irq", ""},
        {"uptime", ""},     {"processes", ""},  {"entropy", ""},
        {"argus", "mesh"},  {"argus", "route"}, {"interface", "eth0"},
        {"interface", "lo"}};
    const struct publishers_listener up = {.say = nobody_listens};
    const uint64_t number = 0;
    struct publishers *p = NULL;
    uint32_t missing = 0;
    char cpu[8];

    CU_ASSERT_EQUAL_FATAL(publishers_new(&up, &p), ARGUS_OK);
    struct value_input in = {.host = "h",
                             .type = "gauge",
                             .type_instance = "",
                             .numbers = &number,
                             .count = 1};
    for (uint32_t i = 0; i < sizeof names / sizeof names[0] + 8; i++) {
        (void)snprintf(cpu, sizeof cpu, "%u", i);
        in.plugin = i < 8 ? "cpu" : names[i - 8][0];
        in.plugin_instance = i < 8 ? cpu : names[i - 8][1];
        publishers_on_value(p, 1000, WALL_US, &in);
    }
    size_t size = publishers_digest(p, "h", WALL_US / 1000, digest, &missing);
    CU_ASSERT_EQUAL(missing, 0);
    publishers_free(p);
    return size;
}

static void fill_record(argus_NodeRecord *r, uint32_t i)
{
    r->generation = r->version = 1;
    (void)snprintf(r->name, sizeof r->name, "web-%05u.eu1.example.org", i);
    (void)snprintf(r->address, sizeof r->address, "10.%u.%u.%u:25827", i >> 16,
                   i >> 8 & 255, i & 255);
    (void)snprintf(r->zone, sizeof r->zone, "eu1/rack%02u", i % 100);
    (void)snprintf(r->software, sizeof r->software, "0.1.0");
    r->started_ms = WALL_US / 1000;
    r->hlc = WALL_US / 1000 << 16;
    r->tags_count = 1;
    (void)snprintf(r->tags[0].key, sizeof r->tags[0].key, "service");
    (void)snprintf(r->tags[0].value, sizeof r->tags[0].value, "db");
}

static void tell(struct engine *e, const argus_Statement *s,
                 const struct node_id *author)
{
    static uint8_t packed[SEALED_SIZE_MAX];

    size_t size = fake_close((void *)(uintptr_t)author, s, packed);
    CU_ASSERT_EQUAL_FATAL(directory_on_statement(e->directory, 1, WALL_US,
                                                 packed, size, s, author, &out),
                          DIRECTORY_NEWS);
}

/* Every tenth node is gone. */
static struct engine *crowd(size_t digest_size)
{
    static argus_Statement s;
    struct engine *e = engine_of_one();
    uint8_t digest[DIGEST_SIZE_MAX] = {0};
    size_t usual_size = usual_digest(digest);
    const struct node_id witness = {{1, 1}};

    if (digest_size == 0)
        digest_size = usual_size;
    for (uint32_t i = 0; i < NODES; i++) {
        struct node_id id = {{1}};
        memcpy(id.bytes + 4, &i, sizeof i);
        memset(&s, 0, sizeof s);
        s.which_body = argus_Statement_record_tag;
        fill_record(&s.body.record, i);
        memcpy(s.body.record.publishers.bytes, digest, digest_size);
        s.body.record.publishers.size = (pb_size_t)digest_size;
        tell(e, &s, &id);
        if (i % 10 != 0)
            continue;
        memset(&s, 0, sizeof s);
        s.which_body = argus_Statement_report_tag;
        memcpy(s.body.report.subject, id.bytes, NODE_ID_SIZE);
        s.body.report.generation = s.body.report.version = 1;
        s.body.report.state = argus_MemberState_MEMBER_OFFLINE;
        (void)snprintf(s.body.report.reason, sizeof s.body.report.reason,
                       "connection refused");
        tell(e, &s, &witness);
    }
    return e;
}

/* Of this process: the machine has other work. */
static double now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* As the control socket does, but for the socket. */
static bool next_row(struct engine *e, pb_size_t what, uint32_t *index,
                     argus_Reply *reply)
{
    bool is_there;

    memset(reply, 0, sizeof *reply);
    reply->which_body = what;
    if (what == argus_Reply_member_tag)
        is_there = engine_member(e, *index, 2, WALL_US, &reply->body.member);
    else if (what == argus_Reply_offline_tag)
        is_there = engine_offline(e, *index, WALL_US, &reply->body.offline);
    else
        is_there = engine_publisher(e, index, WALL_US, &reply->body.publisher);
    ++*index;
    return is_there;
}

static void ask(struct engine *e, const char *verb, pb_size_t what,
                uint32_t rows_wanted)
{
    static argus_Reply reply;
    static uint8_t frame[argus_Reply_size];
    uint32_t index = 0, rows = 0;
    argus_Coverage coverage;
    double begun_ms = now_ms();

    while (next_row(e, what, &index, &reply)) {
        pb_ostream_t stream = pb_ostream_from_buffer(frame, sizeof frame);
        CU_ASSERT_TRUE_FATAL(pb_encode(&stream, argus_Reply_fields, &reply));
        rows++;
    }
    engine_coverage(e, WALL_US, &coverage);
    double took_ms = now_ms() - begun_ms;
    printf("  %s of %u records: %u rows in %.1f ms\n", verb, NODES, rows,
           took_ms);
    CU_ASSERT_EQUAL(rows, rows_wanted);
    CU_ASSERT_TRUE(took_ms <= ANSWER_MAX_MS);
}

static size_t taken(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Goal: 10,000 records within 12 MiB, all of the node included, although the
 * digest of each is as large as it may be. */
static void test_ten_thousand_fit_with_full_digests(void)
{
    size_t before = taken();
    struct engine *e = crowd(DIGEST_SIZE_MAX);
    size_t bytes = taken() - before;

    printf("  %u records with full digests: %zu KiB\n", NODES, bytes >> 10);
    CU_ASSERT_TRUE(bytes <= BYTES_MAX);
    engine_free(e);
}

/* Goal: each question about 10,000 records is answered soon. */
static void test_ten_thousand_are_soon_told(void)
{
    struct engine *e = crowd(0);

    ask(e, "members", argus_Reply_member_tag, NODES + 1);
    ask(e, "offline", argus_Reply_offline_tag, NODES / 10);
    ask(e, "publishers", argus_Reply_publisher_tag, NODES - NODES / 10);
    engine_free(e);
}

/* ------------------------------------------------ the same by argusctl */

static bool hook_member(void *context, uint32_t index, argus_MemberReply *reply)
{
    return engine_member(context, index, 2, WALL_US, reply);
}

static bool hook_offline(void *context, uint32_t index,
                         argus_OfflineReply *reply)
{
    return engine_offline(context, index, WALL_US, reply);
}

static bool hook_publisher(void *context, uint32_t *index,
                           argus_PublisherReply *reply)
{
    return engine_publisher(context, index, WALL_US, reply);
}

static void hook_publishers_coverage(void *context, argus_Coverage *coverage)
{
    engine_publishers_coverage(context, WALL_US, coverage);
}

static void hook_coverage(void *context, argus_Coverage *coverage)
{
    engine_coverage(context, WALL_US, coverage);
}

/* Of the two processes together, in milliseconds: the machine has other work,
 * and on an idle one they take turns. */
static double both_ms(void)
{
    struct rusage children;

    (void)getrusage(RUSAGE_CHILDREN, &children);
    return now_ms() +
           1e3 * (double)(children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
           1e-3 *
               (double)(children.ru_utime.tv_usec + children.ru_stime.tv_usec);
}

/* Goal: argusctl as a whole, from fork to exit, is soon through with 10,000
 * records: what people call, and what programs do. */
static void test_ten_thousand_by_argusctl(void)
{
    static const char *const calls[] = {
        "members",
        "members --json",
        "offline",
        "offline --json",
        "publishers --plugin uptime",
        "publishers --plugin uptime --json",
        "publishers --host web-00001.eu1.example.org"};
    struct control_hooks hooks = {.context = crowd(0),
                                  .member = hook_member,
                                  .offline = hook_offline,
                                  .publisher = hook_publisher,
                                  .publishers_coverage =
                                      hook_publishers_coverage,
                                  .coverage = hook_coverage};

    bed_begin(&hooks);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        double begun_ms = both_ms();
        CU_ASSERT_EQUAL(run(calls[i]), 3); /* a tenth went at once */
        double cpu_ms = both_ms() - begun_ms;
        printf("  argusctl %s: %zu KiB in %.0f ms, of CPU %.0f ms\n", calls[i],
               strlen(bed.out) >> 10, bed.took_ms, cpu_ms);
        CU_ASSERT_TRUE(cpu_ms <= CALL_MAX_MS);
    }
    bed_finish();
    engine_free(hooks.context);
}

CU_TestInfo suite_crowd[] = {
    {"ten_thousand_fit_with_full_digests",
     test_ten_thousand_fit_with_full_digests},
    {"ten_thousand_are_soon_told", test_ten_thousand_are_soon_told},
    {"ten_thousand_by_argusctl", test_ten_thousand_by_argusctl},
    CU_TEST_INFO_NULL,
};
