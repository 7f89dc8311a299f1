/* argusctl as scripts use it; see cli_bed.h. */
#include "argus_config.h" /* GNU extensions */

#include "test.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "cli/table.h"
#include "cli_bed.h"
#include "core/digest.h"

static struct {
    uint32_t contributed;
    argus_NodeState state;
    uint32_t events;
    char joined[144];
    bool is_foreign; /* names in other writings */
} fake;

static void fake_status(void *context, argus_StatusReply *out)
{
    (void)context;
    (void)snprintf(out->name, sizeof out->name, "web-17");
    (void)snprintf(out->aggregators[0], sizeof out->aggregators[0], "agg-1");
    out->aggregators_count = 1;
    (void)snprintf(out->counters[0].name, sizeof out->counters[0].name,
                   "gossip_received");
    out->counters[0].value = 42;
    (void)snprintf(out->counters[1].name, sizeof out->counters[1].name,
                   "gossip_bad");
    out->counters_count = 2;
    out->state = fake.state;
    out->hlc = 0xabcdef;
    out->offset_s = NAN;
    out->online = 3;
}

static bool fake_member(void *context, uint32_t index, argus_MemberReply *out)
{
    static const char *const names[] = {"web-1", "db-1", "evil\033[2J"};
    static const char *const zones[] = {"eu1/rack4", "eu10", "eu1"};
    static const char *const foreign[] = {
        "größenwahn-ß-1", "データベース・東京・一号機",
        "e\xcc\x81lan-\xf0\x9f\x94\xa5-\xff\xfe"};

    (void)context;
    if (index >= 3)
        return false;
    out->has_record = true;
    out->state = index == 1 ? argus_MemberState_MEMBER_OFFLINE
                            : argus_MemberState_MEMBER_ONLINE;
    out->since_us = 1769860800000042u;
    argus_NodeRecord *r = &out->record;
    (void)snprintf(r->name, sizeof r->name, "%s",
                   fake.is_foreign ? foreign[index] : names[index]);
    (void)snprintf(r->zone, sizeof r->zone, "%s", zones[index]);
    r->role = index == 1 ? argus_Role_ROLE_AGGREGATOR : argus_Role_ROLE_AGENT;
    r->tags_count = 1;
    (void)snprintf(r->tags[0].key, sizeof r->tags[0].key, "service");
    (void)snprintf(r->tags[0].value, sizeof r->tags[0].value, "%s",
                   index == 0 ? "www" : "db");
    return true;
}

static bool fake_offline(void *context, uint32_t index, argus_OfflineReply *out)
{
    (void)context;
    if (index >= 3)
        return false;
    if (index == 1) /* back again */
        return true;
    out->state = index == 0 ? argus_MemberState_MEMBER_OFFLINE
                            : argus_MemberState_MEMBER_SUSPECT;
    out->since_us = out->gone_us = 1769860800000042u;
    out->last_seen_us = index == 0 ? 1769860799000000u : 0;
    (void)snprintf(out->name, sizeof out->name, "gone-%u\033[2J", index);
    (void)snprintf(out->group, sizeof out->group, "%s",
                   index == 0 ? "eu1/rack4" : "");
    (void)snprintf(out->witnesses[0], sizeof out->witnesses[0], "web-1");
    out->witnesses_count = 1;
    out->unsure = index == 0;
    return true;
}

/* Two of this node, then a record with three, then a broken one. */
static bool fake_publisher(void *context, uint32_t *index,
                           argus_PublisherReply *out)
{
    struct digest d;

    (void)context;
    if (*index > 3)
        return false;
    out->live = *index < 2;
    out->started_ms = 1769860800000u;
    out->stated_us = 1769860860000000u;
    out->heard_us = 1769860870000000u;
    (void)snprintf(out->node, sizeof out->node, "web-%u", *index);
    if (out->live) {
        (void)snprintf(out->host, sizeof out->host, "web-0");
        (void)snprintf(out->plugin, sizeof out->plugin, "%s",
                       *index == 0 ? "cpu" : "exec");
        (void)snprintf(out->plugin_instance, sizeof out->plugin_instance, "%s",
                       *index == 0 ? "0" : "backup");
        (void)snprintf(out->app, sizeof out->app, "%s",
                       *index == 0 ? "" : "backup");
        out->since_us = 1769860800000042u;
        out->last_us = 1769860871000007u;
        out->rate = 2.5;
        return true;
    }
    digest_begin(&d, out->node, out->started_ms, out->publishers.bytes,
                 sizeof out->publishers.bytes);
    const struct digest_entry entries[] = {
        {"web-2", "cpu", "0", "", 1769860805000000u, 0, 2},
        {"web-2", "statsd", "", "shop", 1769860805000000u, 0, 2},
        {"relayed", "load", "", "", 1769860805000000u, 1769860830000000u, 0},
    };
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT_TRUE(digest_put(&d, &entries[i]));
    out->publishers.size = (pb_size_t)d.size;
    if (*index == 3)
        memset(out->publishers.bytes, 0xff, d.size);
    return true;
}

static void fake_coverage(void *context, argus_Coverage *out);

static void fake_publishers_coverage(void *context, argus_Coverage *out)
{
    fake_coverage(context, out);
    out->publishers_missing = 3 - fake.contributed;
}

static bool fake_peer(void *context, uint32_t index, argus_PeerReply *out)
{
    (void)context;
    out->active = index == 0;
    out->rtt_s = NAN;
    (void)snprintf(out->name, sizeof out->name, "peer-%u", index);
    return index < 2;
}

static bool fake_route(void *context, const char *key, uint32_t index,
                       argus_RouteReply *out)
{
    (void)context;
    (void)snprintf(out->key, sizeof out->key, "%s", key);
    (void)snprintf(out->name, sizeof out->name, "agg-%u", index);
    out->in_use = index == 0;
    return index < 2;
}

static uint32_t fake_events_count(void *context)
{
    (void)context;
    return fake.events;
}

static bool fake_event(void *context, uint32_t index, argus_EventReply *out)
{
    (void)context;
    out->has_event = true;
    out->event.hlc = (uint64_t)(index + 1) << 16;
    out->event.severity = argus_Severity_SEVERITY_WARNING;
    out->event.time = (uint64_t)3 << 29;
    out->received_us = 1;
    (void)snprintf(out->event.message, sizeof out->event.message, "m%u", index);
    return index < fake.events;
}

static bool fake_event_place(void *context, uint32_t index,
                             struct timeline_place *out)
{
    (void)context;
    *out = (struct timeline_place){.hlc = (uint64_t)(index + 1) << 16};
    return index < fake.events;
}

static void fake_event_order(void *context, uint32_t index,
                             argus_EventReply *out)
{
    (void)context;
    out->uncertainty_s = index / 4.0;
}

static void fake_coverage(void *context, argus_Coverage *out)
{
    (void)context;
    out->known = 3;
    out->contributed = fake.contributed;
    if (fake.contributed >= 3)
        return;
    out->cut_off = 1;
    out->zones_count = 1;
    (void)snprintf(out->zones[0], sizeof out->zones[0], "eu1/rack4");
}

static int fake_notify(void *context, const argus_NotifyRequest *request,
                       argus_NotifyReply *out, struct argus_error *err)
{
    (void)context;
    if (request->severity != argus_Severity_SEVERITY_FAILURE)
        return argus_fail(err, ARGUS_EFULL, "at most 10 a second");
    out->hlc = 0x1234;
    (void)snprintf(out->id, sizeof out->id, "%.20s", request->message);
    return ARGUS_OK;
}

static int fake_join(void *context, const char *address,
                     struct argus_error *err)
{
    (void)context;
    (void)err;
    (void)snprintf(fake.joined, sizeof fake.joined, "%s", address);
    return ARGUS_OK;
}

static int fake_leave(void *context, struct argus_error *err)
{
    (void)context;
    (void)err;
    return ARGUS_OK;
}

static const struct control_hooks hooks = {
    .status = fake_status,
    .member = fake_member,
    .offline = fake_offline,
    .publisher = fake_publisher,
    .publishers_coverage = fake_publishers_coverage,
    .peer = fake_peer,
    .route = fake_route,
    .events_count = fake_events_count,
    .event = fake_event,
    .event_place = fake_event_place,
    .event_order = fake_event_order,
    .coverage = fake_coverage,
    .notify = fake_notify,
    .join = fake_join,
    .leave = fake_leave,
};

static void begin(void)
{
    memset(&fake, 0, sizeof fake);
    fake.contributed = 3;
    bed_begin(&hooks);
}

/* --------------------------------------------------------------- tests */

/* Goal: every key of the contract is there, NaN is null, exit 1 is bad news. */
static void test_status_keeps_the_contract(void)
{
    static const char *const names[] = {
        "name",     "id",          "role",  "cluster", "zone",
        "state",    "uptime_s",    "hlc",   "clock",   "views",
        "members",  "aggregators", "queue", "spool",   "workers",
        "counters", "quarantined", NULL};

    begin();
    CU_ASSERT_EQUAL(run("--json status"), 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bed.json);
    CU_ASSERT_TRUE(has_keys(bed.json, names));
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "hlc"), "0000000000abcdef");
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "state"), "alone");
    json_t *clock = json_object_get(bed.json, "clock");
    CU_ASSERT_TRUE(json_is_null(json_object_get(clock, "offset_s")));
    json_t *counters = json_object_get(bed.json, "counters");
    CU_ASSERT_EQUAL(
        json_integer_value(json_object_get(counters, "gossip_received")), 42);
    CU_ASSERT_TRUE(json_is_integer(json_object_get(counters, "gossip_bad")));

    fake.state = argus_NodeState_NODE_ISOLATED;
    CU_ASSERT_EQUAL(run("status --json"), 1);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "state"), "isolated");
    CU_ASSERT_EQUAL(run("status"), 1);
    CU_ASSERT_TRUE(prints("web-17"));
    CU_ASSERT_TRUE(prints("not measured yet"));
    CU_ASSERT_TRUE(prints("gossip_received"));
    CU_ASSERT_FALSE(prints("gossip_bad")); /* nothing to say */
    bed_finish();
}

static void test_members_are_filtered(void)
{
    static const struct {
        const char *words;
        size_t count;
    } cases[] = {
        {"--json members", 3},
        {"--json members --role agent", 2},
        {"--json members --state offline", 1},
        {"--json members --zone eu1", 2},
        {"--json members --tag service=db", 2},
        {"--json members ^(web|db)-", 2},
        {"--json members --role agent --zone eu1/rack4 web", 1},
    };

    begin();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CU_ASSERT_EQUAL(run(cases[i].words), 0);
        CU_ASSERT_EQUAL(json_array_size(json_object_get(bed.json, "members")),
                        cases[i].count);
    }
    json_t *row = json_array_get(json_object_get(bed.json, "members"), 0);
    static const char *const names[] = {
        "name",  "id",    "address", "role",    "zone", "tags",
        "state", "since", "version", "bundles", NULL};
    CU_ASSERT_TRUE(has_keys(row, names));
    CU_ASSERT_STRING_EQUAL(text_at(row, "since"),
                           "2026-01-31T12:00:00.000042Z");
    bed_finish();
}

/* Goal: names of strangers cannot steer the terminal; lines fit. */
static void test_tables_are_safe_and_narrow(void)
{
    begin();
    CU_ASSERT_EQUAL(run("members"), 0);
    CU_ASSERT_TRUE(prints("NAME"));
    CU_ASSERT_PTR_NULL(strchr(bed.out, '\033'));
    size_t width = 0;
    for (char *line = strtok(bed.out, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        size_t columns = 0; /* characters, not bytes: the cut mark has three */
        for (char *c = line; *c != '\0'; c++)
            columns += ((unsigned char)*c & 0xc0) != 0x80;
        width = columns > width ? columns : width;
    }
    CU_ASSERT_TRUE(width > 40 && width <= 60);
    bed_finish();
}

/* Goal: rows come in the order of their first columns, web-2 before web-10. */
static void test_tables_are_in_order(void)
{
    static const char *const titles[] = {"NAME", "PLUGIN", "LAST", NULL};
    static const char *const rows[][3] = {
        {"web-10", "cpu", "1"}, {"web-2", "df", "2"}, {"web-2", "cpu", "3"}};
    char *text = NULL;
    size_t size;
    struct table *t = table_new(titles);
    FILE *out = open_memstream(&text, &size);

    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    table_sort(t, 2); /* of none */
    for (size_t i = 0; i < 9; i++)
        table_cell(t, COLOR_PLAIN, "%s", rows[i / 3][i % 3]);
    table_sort(t, 2);
    table_print(t, out, 0, false);
    (void)fclose(out);
    CU_ASSERT_STRING_EQUAL(text, "NAME    PLUGIN  LAST\n"
                                 "web-2   cpu     3\n"
                                 "web-2   df      2\n"
                                 "web-10  cpu     1\n");
    free(text);
    table_free(t);
}

/* Columns of the widest line; -1: bytes that are no text. */
static int widest_line(char *text)
{
    int widest = 0;

    for (char *line = strtok(text, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        wchar_t wide[1024];
        size_t count = mbstowcs(wide, line, 1024);
        int columns = count <= 1023 ? wcswidth(wide, count) : -1;
        if (columns < 0)
            return -1;
        widest = columns > widest ? columns : widest;
    }
    return widest;
}

/* Goal: at 40 columns no line of any table or help's text wraps, whatever
 * writing the names are in. */
static void test_tables_fit_40_columns(void)
{
    static const char *const words[] = {"status",
                                        "members",
                                        "offline",
                                        "peers",
                                        "route",
                                        "events",
                                        "members --role aggregator"};

    CU_ASSERT_PTR_NOT_NULL_FATAL(setlocale(LC_CTYPE, "C.UTF-8"));
    begin();
    bed.columns = "COLUMNS=40";
    fake.is_foreign = true;
    fake.events = 3;
    fake.contributed = 2;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        (void)run(words[i]);
        int columns = widest_line(bed.out);
        CU_ASSERT_TRUE(columns > 10 && columns <= 40);
        if (columns <= 10 || columns > 40)
            printf("  %s: %d columns\n", words[i], columns);
    }
    (void)setlocale(LC_CTYPE, "C");
    bed_finish();
}

static void test_partial_answers_exit_3(void)
{
    begin();
    fake.contributed = 2;
    CU_ASSERT_EQUAL(run("--json members"), 3);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(
                        json_object_get(bed.json, "coverage"), "contributed")),
                    2);
    CU_ASSERT_EQUAL(run("members"), 3);
    CU_ASSERT_TRUE(prints("Only 2 of 3 nodes"));
    bed_finish();
}

/* Goal: who is gone, with the zone that went; a zone that may be cut off lowers
 * the coverage and is named. */
static void test_offline_names_who_is_gone(void)
{
    static const char *const names[] = {
        "name",  "state", "since",  "last_seen", "witnesses",
        "group", "zone",  "reason", "unsure",    NULL};

    begin();
    CU_ASSERT_EQUAL(run("--json offline"), 0);
    json_t *rows = json_object_get(bed.json, "offline");
    CU_ASSERT_EQUAL(json_array_size(rows), 2);
    CU_ASSERT_TRUE(has_keys(json_array_get(rows, 0), names));
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(rows, 0), "group"),
                           "eu1/rack4");
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(rows, 0), "last_seen"),
                           "2026-01-31T11:59:59.000000Z");
    CU_ASSERT_TRUE(
        json_is_null(json_object_get(json_array_get(rows, 1), "group")));
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(rows, 1), "state"),
                           "suspect");
    CU_ASSERT_EQUAL(run("offline"), 0);
    CU_ASSERT_TRUE(prints("gone"));
    CU_ASSERT_PTR_NULL(strchr(bed.out, '\033'));
    fake.contributed = 2;
    CU_ASSERT_EQUAL(run("offline"), 3);
    CU_ASSERT_TRUE(prints("the whole of eu1/rack4"));
    CU_ASSERT_EQUAL(run("offline --json"), 3);
    json_t *zones =
        json_object_get(json_object_get(bed.json, "coverage"), "zones");
    CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(zones, 0)),
                           "eu1/rack4");
    CU_ASSERT_EQUAL(run("offline now"), 2);
    bed_finish();
}

/* Goal: who publishes what, of this node and by records of others, filtered; a
 * digest that does not name all lowers the coverage. */
static void test_publishers_are_named_and_filtered(void)
{
    static const char *const names[] = {"host", "plugin", "plugin_instance",
                                        "node", "since",  "last",
                                        "rate", "state",  "app",
                                        "live", "stated", NULL};
    static const struct {
        const char *words;
        size_t count;
    } cases[] = {
        {"publishers --json", 5},
        {"publishers --json --plugin cpu", 2},
        {"publishers --json --host relayed", 1},
        {"publishers --json --app backup", 1},
        {"publishers --json --app exec", 1},
        {"publishers --json --app shop.orders.paid", 1},
        {"publishers --json --app sho", 0},
        {"publishers --json --app cpu", 0},
        {"publishers --json --plugin cpu --host web-2", 1},
    };

    begin();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CU_ASSERT_EQUAL(run(cases[i].words), 0);
        CU_ASSERT_EQUAL(
            json_array_size(json_object_get(bed.json, "publishers")),
            cases[i].count);
    }
    CU_ASSERT_EQUAL(run("publishers --json"), 0);
    json_t *rows = json_object_get(bed.json, "publishers");
    CU_ASSERT_TRUE(has_keys(json_array_get(rows, 0), names));
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(rows, 0), "last"),
                           "2026-01-31T12:01:11.000007Z");
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(rows, 2), "last"),
                           "2026-01-31T12:01:10.000000Z");
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(rows, 2), "since"),
                           "2026-01-31T12:00:05.000000Z");
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(rows, 4), "state"),
                           "stopped");
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(rows, 4), "last"),
                           "2026-01-31T12:00:30.000000Z");
    CU_ASSERT_EQUAL(run("publishers"), 0);
    CU_ASSERT_TRUE(prints("backup"));
    fake.contributed = 2;
    CU_ASSERT_EQUAL(run("publishers"), 3);
    CU_ASSERT_TRUE(prints("1 publishers found no room"));
    CU_ASSERT_EQUAL(run("publishers now"), 2);
    bed_finish();
}

static void test_events_and_peers_and_route(void)
{
    static const char *const names[] = {
        "hlc",    "time", "received", "node",          "severity",   "host",
        "plugin", "type", "message",  "uncertainty_s", "concurrent", NULL};

    begin();
    fake.events = 3;
    CU_ASSERT_EQUAL(run("events --json --limit 2"), 0);
    json_t *events = json_object_get(bed.json, "events");
    CU_ASSERT_EQUAL(json_array_size(events), 2);
    CU_ASSERT_TRUE(has_keys(json_array_get(events, 0), names));
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(events, 0), "message"), "m1");
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(events, 0), "time"),
                           "1970-01-01T00:00:01.500000Z");
    CU_ASSERT_EQUAL(run("events --since 1970-01-01T01:00:00.002+01:00 --json"),
                    0);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(bed.json, "events")), 2);
    CU_ASSERT_EQUAL(run("events --since 10m --json"), 0);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(bed.json, "events")), 0);

    CU_ASSERT_EQUAL(run("peers --json"), 0);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(bed.json, "active")), 1);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(bed.json, "passive")), 1);
    CU_ASSERT_EQUAL(run("route web/cpu-0 --json"), 0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "key"), "web/cpu-0");
    CU_ASSERT_EQUAL(json_array_size(json_object_get(bed.json, "aggregators")),
                    2);
    CU_ASSERT_EQUAL(run("--json version"), 0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "collectd"), "5.12.0");
    bed_finish();
}

static void test_notify_and_join_reach_the_daemon(void)
{
    static const struct {
        const char *words, *address;
    } joins[] = {
        {"join seed", "seed:25827"}, {"join seed:1", "seed:1"},
        {"join ::1", "[::1]:25827"}, {"join [::1]", "[::1]:25827"},
        {"join [::1]:7", "[::1]:7"},
    };

    begin();
    CU_ASSERT_EQUAL(run("--json notify --severity failure it_burns"), 0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "hlc"), "0000000000001234");
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "id"), "it burns");
    CU_ASSERT_EQUAL(run("--json notify again"), 1);
    CU_ASSERT_STRING_EQUAL(text_at(json_object_get(bed.json, "error"), "code"),
                           "rate-limited");
    CU_ASSERT_TRUE(complains("argusctl: at most 10 a second\n"));
    for (size_t i = 0; i < sizeof joins / sizeof joins[0]; i++) {
        CU_ASSERT_EQUAL(run(joins[i].words), 0);
        CU_ASSERT_STRING_EQUAL(fake.joined, joins[i].address);
    }
    CU_ASSERT_EQUAL(run("leave"), 0);
    bed_finish();
}

/* Goal: what is wrong is named, exit 2, in both modes; nothing is ignored. */
static void test_usage_is_checked(void)
{
    static const struct {
        const char *words, *text;
    } cases[] = {
        {"", "a verb is missing"},
        {"dance", "no verb `dance`"},
        {"config plan x", "`config plan` is not built yet"},
        {"config dance", "no `config dance`"},
        {"watch now", "watch takes no `now`"},
        {"watch --json", "watch is for people"},
        {"watch", "watch "}, /* needs a terminal, or is for people */
        {"doctor now", "doctor takes no `now`"},
        {"--watch debug bundle x", "cannot be watched"},
        {"keygen dance x", "keygen makes no `dance`"},
        {"keygen mesh", "one FILE"},
        {"drain --json", "`drain` is not built yet"},
        {"status now", "status takes no `now`"},
        {"status --key k", "unknown option --key"},
        {"members --role king", "--role king"},
        {"members --tag x", "--tag x"},
        {"members (", "("},
        {"events --limit 0", "--limit 0"},
        {"events --since yesterday", "--since yesterday"},
        {"events --follow --watch", "--follow and --watch"},
        {"notify", "one MESSAGE"},
        {"notify --severity LOUD x", "--severity LOUD"},
        {"join", "HOST[:PORT]"},
        {"--watch=0 status", "--watch=0"},
        {"--watch leave", "cannot be watched"},
        {"-z status", "unknown option -z"},
    };

    begin();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char words[256];
        CU_ASSERT_EQUAL(run(cases[i].words), 2);
        CU_ASSERT_TRUE(complains(cases[i].text));
        (void)snprintf(words, sizeof words, "--json %s", cases[i].words);
        CU_ASSERT_EQUAL(run(words), 2);
        json_t *error = json_object_get(bed.json, "error");
        CU_ASSERT_PTR_NOT_NULL(
            strstr(text_at(error, "message"), cases[i].text));
    }
    bed_finish();
}

static void test_help_and_absent_daemon(void)
{
    begin();
    CU_ASSERT_EQUAL(run("--help"), 0);
    CU_ASSERT_TRUE(prints("Usage: argusctl"));
    CU_ASSERT_EQUAL(run("events -h"), 0);
    CU_ASSERT_TRUE(prints("--since T"));
    static const char *const verbs[] = {
        "status",    "members", "offline", "peers",  "route",
        "events",    "notify",  "config",  "keygen", "forget",
        "operators", "keys",    "clock",   "join",   "leave",
        "version",   "watch",   "doctor",  "debug"};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        char words[64], usage[64];
        (void)snprintf(words, sizeof words, "%s --help", verbs[i]);
        (void)snprintf(usage, sizeof usage, "Usage: argusctl %s", verbs[i]);
        CU_ASSERT_EQUAL(run(words), 0);
        CU_ASSERT_TRUE(prints(usage));
        CU_ASSERT_EQUAL(run("--help"), 0);
        (void)snprintf(usage, sizeof usage, "\n  %s", verbs[i]);
        CU_ASSERT_TRUE(prints(usage));
    }
    CU_ASSERT_EQUAL(run("-s /nowhere/at/all status --json"), 4);
    CU_ASSERT_STRING_EQUAL(text_at(json_object_get(bed.json, "error"), "code"),
                           "no-daemon");
    CU_ASSERT_TRUE(complains("/nowhere/at/all"));
    bed_finish();
}

CU_TestInfo suite_cli[] = {
    {"status_keeps_the_contract", test_status_keeps_the_contract},
    {"members_are_filtered", test_members_are_filtered},
    {"tables_are_safe_and_narrow", test_tables_are_safe_and_narrow},
    {"tables_are_in_order", test_tables_are_in_order},
    {"tables_fit_40_columns", test_tables_fit_40_columns},
    {"partial_answers_exit_3", test_partial_answers_exit_3},
    {"offline_names_who_is_gone", test_offline_names_who_is_gone},
    {"publishers_are_named_and_filtered",
     test_publishers_are_named_and_filtered},
    {"events_and_peers_and_route", test_events_and_peers_and_route},
    {"notify_and_join_reach_the_daemon", test_notify_and_join_reach_the_daemon},
    {"usage_is_checked", test_usage_is_checked},
    {"help_and_absent_daemon", test_help_and_absent_daemon},
    CU_TEST_INFO_NULL,
};
