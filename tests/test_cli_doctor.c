/* argusctl doctor and argusctl debug bundle, against files of the test and a
 * daemon that is played, or none. */
#include "argus_config.h" /* GNU extensions */

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_bed.h"
#include "folder.h"

/* 32 bytes: 0, 1, ... 31. */
#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_HEX                                                                \
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
/* One that stands in no keyring: 32 bytes of 'k'. */
#define OTHER_KEY "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="

static argus_NodeState state;

static void fake_status(void *context, argus_StatusReply *out)
{
    (void)context;
    (void)snprintf(out->name, sizeof out->name, "web-17");
    out->state = state;
    out->online = 3;
    out->offline = 1;
    out->quarantined_count = 1;
    (void)snprintf(out->quarantined[0].name, sizeof out->quarantined[0].name,
                   "odd-1");
    (void)snprintf(out->quarantined[0].reason,
                   sizeof out->quarantined[0].reason, "clock of tomorrow");
}

/* An event that quotes a key, as a careless script might. */
static bool fake_event(void *context, uint32_t index, argus_EventReply *out)
{
    (void)context;
    out->has_event = true;
    out->event.hlc = 1u << 16;
    (void)snprintf(out->event.message, sizeof out->event.message,
                   "key=" OTHER_KEY " hex " KEY_HEX);
    return index < 1;
}

static uint32_t fake_events_count(void *context)
{
    (void)context;
    return 1;
}

static bool fake_member(void *context, uint32_t index, argus_MemberReply *out)
{
    (void)context;
    out->has_record = true;
    (void)snprintf(out->record.name, sizeof out->record.name, "web-17");
    return index < 1;
}

static bool no_offline(void *context, uint32_t index, argus_OfflineReply *out)
{
    (void)context;
    (void)index;
    (void)out;
    return false;
}

static bool no_peer(void *context, uint32_t index, argus_PeerReply *out)
{
    (void)context;
    (void)index;
    (void)out;
    return false;
}

static bool no_route(void *context, const char *key, uint32_t index,
                     argus_RouteReply *out)
{
    (void)context;
    (void)key;
    (void)index;
    (void)out;
    return false;
}

static bool no_bundle(void *context, uint32_t index, argus_BundleReply *out)
{
    (void)context;
    (void)index;
    (void)out;
    return false;
}

static bool no_operator(void *context, uint32_t index, argus_OperatorReply *out)
{
    (void)context;
    (void)index;
    (void)out;
    return false;
}

static int no_keyring(void *context, struct argus_error *err)
{
    (void)context;
    return argus_fail(err, ARGUS_EDENIED, "no keyring");
}

static void fake_clock(void *context, argus_ClockReply *out)
{
    (void)context;
    (void)snprintf(out->state, sizeof out->state, "good");
}

static bool no_clock_node(void *context, uint32_t *index,
                          argus_ClockNodeReply *out)
{
    (void)context;
    (void)index;
    (void)out;
    return false;
}

static bool no_publisher(void *context, uint32_t *index,
                         argus_PublisherReply *out)
{
    (void)context;
    (void)index;
    (void)out;
    return false;
}

static bool no_place(void *context, uint32_t index, struct timeline_place *out)
{
    (void)context;
    (void)index;
    (void)out;
    return false;
}

static void no_order(void *context, uint32_t index, argus_EventReply *out)
{
    (void)context;
    (void)index;
    (void)out;
}

static void fake_coverage(void *context, argus_Coverage *out)
{
    (void)context;
    out->known = out->contributed = 1;
}

static const struct control_hooks hooks = {
    .status = fake_status,
    .member = fake_member,
    .offline = no_offline,
    .publisher = no_publisher,
    .publishers_coverage = fake_coverage,
    .peer = no_peer,
    .route = no_route,
    .events_count = fake_events_count,
    .event = fake_event,
    .event_place = no_place,
    .event_order = no_order,
    .coverage = fake_coverage,
    .bundle = no_bundle,
    .operator_key = no_operator,
    .has_keyring = no_keyring,
    .clock = fake_clock,
    .clock_node = no_clock_node,
};

/* A machine where all is well, as far as a test can have one. */
static void write_conf(const char *more)
{
    char text[4096];
    int size = snprintf(text, sizeof text,
                        "# a comment with \"quotes\n"
                        "BaseDir \"%s\"\nPluginDir \"%s\"\n"
                        "Include \"%s/more*.conf\"\n"
                        "LoadPlugin logfile\n"
                        "<Plugin logfile>\n  File \"%s/log\"\n</Plugin>\n",
                        bed.dir, bed.dir, bed.dir, bed.dir);

    CU_ASSERT_TRUE(file_write(bed.dir, "collectd.conf", text, (size_t)size));
    size = snprintf(text, sizeof text,
                    "LoadPlugin argus\n<Plugin argus>\n"
                    "  StateDir \"%s\"\n  Listen \"127.0.0.1\" \"0\"\n"
                    "  <Security>\n    KeyFile \\\n \"%s/mesh.key\"\n"
                    "  </Security>\n%s\n</Plugin>\n",
                    bed.dir, bed.dir, more);
    CU_ASSERT_TRUE(file_write(bed.dir, "more.conf", text, (size_t)size));
    CU_ASSERT_TRUE(file_write(bed.dir, "argus.so", "", 0));
}

static void write_key(const char *text, mode_t mode)
{
    char path[300];

    CU_ASSERT_TRUE(file_write(bed.dir, "mesh.key", text, strlen(text)));
    (void)snprintf(path, sizeof path, "%s/mesh.key", bed.dir);
    CU_ASSERT_EQUAL(chmod(path, mode), 0);
}

static void begin(void)
{
    state = argus_NodeState_NODE_JOINED;
    bed_begin(&hooks);
    write_conf("");
    write_key("# the mesh\n" KEY "\n", 0600);
}

/* The finding whose text or mending has these words; "(none)": its level. */
static const char *level_of(const char *words)
{
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(bed.json, "findings"), i, row)
    {
        const char *mend = json_string_value(json_object_get(row, "mend"));
        if (strstr(text_at(row, "text"), words) != NULL ||
            (mend != NULL && strstr(mend, words) != NULL))
            return text_at(row, "level");
    }
    return "(none)";
}

static bool finds(const char *level, const char *words)
{
    if (strcmp(level_of(words), level) == 0)
        return true;
    printf("  %s is %s, not %s, in %s\n", words, level_of(words), level,
           bed.out);
    return false;
}

#define DOCTOR "--json doctor --config DIR/collectd.conf"
#define NO_DAEMON "-s /nowhere/at/all "

/* Goal: what is well is said to be so; what the daemon knows is told. */
static void test_doctor_finds_a_machine_well(void)
{
    begin();
    CU_ASSERT_EQUAL(run(DOCTOR), 0);
    CU_ASSERT_TRUE(json_is_true(json_object_get(bed.json, "healthy")));
    CU_ASSERT_TRUE(finds("ok", "web-17 answers"));
    CU_ASSERT_TRUE(finds("ok", "version 5.12.0"));
    CU_ASSERT_TRUE(finds("ok", "mesh.key holds 1 key"));
    CU_ASSERT_TRUE(finds("ok", "loads argus"));
    CU_ASSERT_TRUE(finds("ok", "3 nodes online"));
    CU_ASSERT_TRUE(finds("warn", "1 offline"));
    CU_ASSERT_TRUE(finds("warn", "odd-1 is refused: clock of tomorrow"));
    CU_ASSERT_TRUE(finds("warn", "no Seed is named"));
    CU_ASSERT_EQUAL(run("doctor --config DIR/collectd.conf"), 0);
    CU_ASSERT_TRUE(prints("0 bad\n"));

    state = argus_NodeState_NODE_ISOLATED;
    CU_ASSERT_EQUAL(run(DOCTOR), 1);
    CU_ASSERT_TRUE(finds("bad", "isolated: 4 nodes are known"));
    CU_ASSERT_TRUE(finds("bad", "firewalls"));
    bed_finish();
}

/* Goal: each thing that is wrong is named, with what to do. */
static void test_doctor_names_what_is_wrong(void)
{
    static const struct {
        const char *key;
        mode_t mode;
        const char *more;
        const char *found, *mend;
    } cases[] = {
        {KEY "\n", 0644, "", "everyone (mode 644)", "chmod 600"},
        {"no key\n", 0600, "", "line 1 is no key", "base64"},
        {KEY "\n" KEY "x\n", 0600, "", "line 2 is no key", "another node"},
        {"# none\n", 0600, "", "holds 0 keys", "keygen mesh"},
        {KEY "\n", 0600, "ControlGroup \"no-such-group\"", "no-such-group",
         "addgroup"},
        {KEY "\n", 0600, "<Apply>\nTrustedKey \"/nowhere.pub\"\n</Apply>",
         "/nowhere.pub: No such file", "put the file there"},
        {KEY "\n", 0600, "<Security>\nCertificate \"/c\"\n</Security>",
         "without PrivateKey", "set all three"},
        {KEY "\n", 0600, "Listen \"192.0.2.1\" \"25827\"",
         "Cannot assign requested address", "set Listen"},
        {KEY "\n", 0600, "Seed \"127.0.0.1:1\"", "no Seed answers",
         "one that is up"},
        {KEY "\n", 0600, "Seed \"no-such-host.invalid\"", "no-such-host",
         "DNS"},
        {KEY "\n", 0600, "<Security", "a '>' is missing", "mend the file"},
        {KEY "\n", 0600, "NodeName \"x", "quote is not closed",
         "mend the file"},
    };

    begin();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_key(cases[i].key, cases[i].mode);
        write_conf(cases[i].more);
        CU_ASSERT_EQUAL(run(NO_DAEMON DOCTOR), 1);
        CU_ASSERT_TRUE(finds("bad", cases[i].found));
        CU_ASSERT_TRUE(finds("bad", cases[i].mend));
    }
    bed_finish();
}

/* Goal: without a daemon it still looks, and quotes the last trouble. */
static void test_doctor_works_without_a_daemon(void)
{
    static const char log[] = "[2026-01-31] [error] argus: old trouble\n"
                              "[2026-01-31] [error] argus: Role \"king\"\n"
                              "[2026-01-31] [error] disk: not ours\n";

    begin();
    CU_ASSERT_TRUE(file_write(bed.dir, "log", log, strlen(log)));
    CU_ASSERT_EQUAL(run(NO_DAEMON DOCTOR), 1);
    CU_ASSERT_TRUE(finds("bad", "/nowhere/at/all"));
    CU_ASSERT_TRUE(finds("bad", "start collectd"));
    CU_ASSERT_TRUE(finds("ok", "mesh.key holds 1 key"));
    CU_ASSERT_TRUE(finds("ok", "port 0 is free"));
    CU_ASSERT_TRUE(finds("warn", "Role \"king\""));
    CU_ASSERT_TRUE(finds("ok", "argus.so is there"));
    CU_ASSERT_EQUAL(run(NO_DAEMON "doctor --config /nowhere.conf"), 1);
    CU_ASSERT_TRUE(prints("/nowhere.conf"));
    bed_finish();
}

/* ----------------------------------------------------------- debug bundle */

static char archive[1 << 20];

static long read_archive(const char *name)
{
    long size = file_read(bed.dir, name, archive, sizeof archive);

    CU_ASSERT_TRUE(size > 0 && (size_t)size < sizeof archive);
    return size;
}

static bool archive_has(long size, const void *what, size_t length)
{
    return size > 0 && memmem(archive, (size_t)size, what, length) != NULL;
}

#define HAS(text) archive_has(size, text, strlen(text))

/* Goal: key material never gets in, whatever file or event holds it, in
 * whatever form. */
static void test_bundle_holds_no_secrets(void)
{
    static const char pem[] = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw"
                              "\n-----END PRIVATE KEY-----\n";
    char log[2048];
    uint8_t raw[32];

    begin();
    for (unsigned i = 0; i < sizeof raw; i++)
        raw[i] = (uint8_t)i;
    write_conf("  <Security>\n    KeyFile \"" KEY "\"\n  </Security>\n"
               "  # " OTHER_KEY "\n  Cluster \"" OTHER_KEY "\"\n"
               "  <Apply>\n    TrustedKey \"hunter2\"\n  </Apply>\n");
    int size_log =
        snprintf(log, sizeof log,
                 "argus: key " KEY "\nargus: %.43s\nargus: " KEY_HEX "\n"
                 "argus: a line to keep\n%s",
                 KEY, pem);
    CU_ASSERT_TRUE(file_write(bed.dir, "log", log, (size_t)size_log));
    CU_ASSERT_TRUE(
        file_write(bed.dir, "more2.conf",
                   "<Plugin mysql>\nPassword \"s3cret\"\n</Plugin>\n", 44));
    CU_ASSERT_EQUAL(run("debug bundle DIR/b.tar --config DIR/collectd.conf"),
                    0);
    long size = read_archive("b.tar");
    CU_ASSERT_TRUE(size % 512 == 0);
    CU_ASSERT_TRUE(HAS("argus-debug/status.json"));
    CU_ASSERT_TRUE(HAS("\"name\":\"web-17\""));
    CU_ASSERT_TRUE(HAS("argus: a line to keep"));
    CU_ASSERT_TRUE(HAS("argus-debug/doctor.json"));
    CU_ASSERT_TRUE(HAS("Listen \"127.0.0.1\""));

    CU_ASSERT_FALSE(archive_has(size, KEY, 43));
    CU_ASSERT_FALSE(HAS(KEY_HEX));
    CU_ASSERT_FALSE(archive_has(size, raw, sizeof raw));
    CU_ASSERT_FALSE(HAS(OTHER_KEY));
    CU_ASSERT_FALSE(HAS("MC4CAQ"));
    CU_ASSERT_FALSE(HAS("hunter2"));
    CU_ASSERT_FALSE(HAS("s3cret"));
    bed_finish();
}

/* Goal: never overwritten, readable by its owner alone, whole without a daemon;
 * and it is a tar. */
static void test_bundle_is_a_tar_of_ones_own(void)
{
    char command[600];
    struct stat st;

    begin();
    CU_ASSERT_EQUAL(run("-s /nowhere/at/all --json debug bundle DIR/b.tar "
                        "--config DIR/collectd.conf"),
                    0);
    CU_ASSERT_TRUE(complains("no daemon answers"));
    CU_ASSERT_TRUE(json_integer_value(json_object_get(bed.json, "files")) > 10);
    (void)snprintf(command, sizeof command, "%s/b.tar", bed.dir);
    CU_ASSERT_EQUAL(stat(command, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
    (void)snprintf(command, sizeof command,
                   "tar -xOf %s/b.tar argus-debug/README | grep -q ^Made",
                   bed.dir);
    CU_ASSERT_EQUAL(system(command), 0);
    CU_ASSERT_EQUAL(run("--json debug bundle DIR/b.tar"), 1);
    CU_ASSERT_STRING_EQUAL(text_at(json_object_get(bed.json, "error"), "code"),
                           "exists");
    CU_ASSERT_EQUAL(run("debug bundle /nowhere/b.tar"), 1);
    CU_ASSERT_EQUAL(run("debug bundle"), 2);
    CU_ASSERT_EQUAL(run("debug core x"), 2);
    bed_finish();
}

CU_TestInfo suite_cli_doctor[] = {
    {"doctor_finds_a_machine_well", test_doctor_finds_a_machine_well},
    {"doctor_names_what_is_wrong", test_doctor_names_what_is_wrong},
    {"doctor_works_without_a_daemon", test_doctor_works_without_a_daemon},
    {"bundle_holds_no_secrets", test_bundle_holds_no_secrets},
    {"bundle_is_a_tar_of_ones_own", test_bundle_is_a_tar_of_ones_own},
    CU_TEST_INFO_NULL,
};
