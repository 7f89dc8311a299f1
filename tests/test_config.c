#include "test.h"

#include "config.h"
#include "mock/collectd.h"

static struct config config;
static struct argus_error err;

static const struct config_host usual_host = {
    .hostname = "web-17",
    .base_dir = "/var/lib/collectd",
    .work_dir = "/var/lib/collectd",
    .write_threads = "5",
    .plugin_dir = "/usr/lib/collectd",
    .interval_s = 10,
};

/* Read the lines as one block and resolve; the status of what failed first. */
static int read_on(const struct config_host *host, const char *const *lines)
{
    config_free(&config);
    config_init(&config);
    err.text[0] = '\0';
    int rc = config_block(&config, mock_lines(lines), &err);
    return rc == ARGUS_OK ? config_resolve(&config, host, &err) : rc;
}

#define READ(...) read_on(&usual_host, (const char *const[]){__VA_ARGS__, NULL})

static void begin(void)
{
    mock_reset();
    config_free(&config);
    config_init(&config);
}

static void end(void)
{
    config_free(&config);
    mock_reset();
}

/* Goal: with an empty block every option has the default of the manual. */
static void test_defaults(void)
{
    const struct runtime_options *o = &config.options;

    begin();
    CU_ASSERT_EQUAL_FATAL(read_on(&usual_host, (const char *const[]){NULL}),
                          ARGUS_OK);
    CU_ASSERT_EQUAL(o->role, argus_Role_ROLE_AGENT);
    CU_ASSERT_STRING_EQUAL(o->cluster, "default");
    CU_ASSERT_EQUAL(o->listen_count, 0);
    CU_ASSERT_STRING_EQUAL(o->advertise.host, "");
    CU_ASSERT_EQUAL(o->seeds_count, 0);
    CU_ASSERT_STRING_EQUAL(o->name, "web-17");
    CU_ASSERT_STRING_EQUAL(o->zone, "");
    CU_ASSERT_EQUAL(o->tags_count, 0);
    CU_ASSERT_STRING_EQUAL(o->state_dir, "/var/lib/collectd/argus");
    CU_ASSERT_STRING_EQUAL(o->control_socket,
                           "/var/lib/collectd/argus/control.sock");
    CU_ASSERT_STRING_EQUAL(o->control_group, "");
    CU_ASSERT_FALSE(o->allow_plaintext);
    CU_ASSERT_EQUAL(o->active_max, 5);
    CU_ASSERT_EQUAL(o->passive_max, 30);
    CU_ASSERT_EQUAL(o->shuffle_ms, 10000);
    CU_ASSERT_EQUAL(o->ping_ms, 2000);
    CU_ASSERT_EQUAL(o->suspect_ms, 3500);
    CU_ASSERT_EQUAL(o->retain_offline_s, 604800);
    CU_ASSERT_TRUE(o->route);
    CU_ASSERT_EQUAL(o->weight, 1.0f);
    CU_ASSERT_EQUAL(o->spool_bytes_max, 64u << 20);
    CU_ASSERT_EQUAL(o->clock_max_offset_ms, 500);
    CU_ASSERT_EQUAL(o->clock_alarm_ms, 100);
    CU_ASSERT_EQUAL(o->forward, argus_Severity_SEVERITY_WARNING);
    CU_ASSERT_EQUAL(o->retain_events, 100000);
    CU_ASSERT_EQUAL(o->event_rate, 10);
    CU_ASSERT_EQUAL(o->write_threads, 5);
    CU_ASSERT_EQUAL(o->write_limit, 0);
    CU_ASSERT_TRUE(strlen(o->collectd_version) > 0);
    CU_ASSERT_TRUE(o->apply);
    CU_ASSERT_EQUAL(o->trusted_keys_count, 0);
    CU_ASSERT_EQUAL(o->allow_count, 0);
    CU_ASSERT_EQUAL(o->deny_count, 5);
    CU_ASSERT_STRING_EQUAL(o->deny[0], "exec");
    CU_ASSERT_STRING_EQUAL(o->deny[4], "java");
    CU_ASSERT_STRING_EQUAL(o->apply_user, "");
    CU_ASSERT_EQUAL(o->workers_max, 8);
    CU_ASSERT_EQUAL(o->start_timeout_ms, 30000);
    CU_ASSERT_EQUAL(o->probation_ms, 30000);
    CU_ASSERT_EQUAL(o->bundle_size_max, 4u << 20);
    CU_ASSERT_STRING_EQUAL(o->hostname, "web-17");
    CU_ASSERT_STRING_EQUAL(o->plugin_dir, "/usr/lib/collectd");
    CU_ASSERT_EQUAL(o->interval_s, 10.0);

    CU_ASSERT_EQUAL(READ("Role aggregator"), ARGUS_OK);
    CU_ASSERT_FALSE(o->route);
    end();
}

/* Goal: each option, in its block, with another value, arrives in its unit. */
static void test_every_option_arrives(void)
{
    const struct runtime_options *o = &config.options;

    begin();
    CU_ASSERT_EQUAL_FATAL(
        READ("Role \"Agent\"", "Cluster \"prod\"", "Listen \"127.0.0.1\" 2001",
             "Advertise \"127.0.0.9\" \"2002\"", "NodeName \"n1\"",
             "Zone \"eu1/rack4\"", "Tag \"service\" \"db\"", "StateDir \"/s\"",
             "ControlSocket \"/run/c.sock\"", "ControlGroup \"adm\"",
             "Security.AllowPlaintext true", "Membership.ActiveView 4",
             "Membership.PassiveView 0", "Membership.ShuffleInterval 2.5",
             "Membership.PingInterval 0.5", "Membership.SuspectTimeout 1.25",
             "Membership.ZoneBias false", "Membership.Strategy \"hyparview\"",
             "Membership.RetainOffline 3600", "Route.Enable false",
             "Route.SpoolMemory 3", "Clock.MaxOffset 0.25",
             "Clock.AlarmOffset 0.2", "Events.Forward OKAY", "Events.Retain 7",
             "Events.RateLimit 3"),
        ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(o->cluster, "prod");
    CU_ASSERT_EQUAL(o->listen_count, 1);
    CU_ASSERT_STRING_EQUAL(o->listen[0].host, "127.0.0.1");
    CU_ASSERT_STRING_EQUAL(o->listen[0].port, "2001");
    CU_ASSERT_STRING_EQUAL(o->advertise.host, "127.0.0.9");
    CU_ASSERT_STRING_EQUAL(o->advertise.port, "2002");
    CU_ASSERT_STRING_EQUAL(o->name, "n1");
    CU_ASSERT_STRING_EQUAL(o->zone, "eu1/rack4");
    CU_ASSERT_STRING_EQUAL(o->tags[0].key, "service");
    CU_ASSERT_STRING_EQUAL(o->tags[0].value, "db");
    CU_ASSERT_STRING_EQUAL(o->state_dir, "/s");
    CU_ASSERT_STRING_EQUAL(o->control_socket, "/run/c.sock");
    CU_ASSERT_STRING_EQUAL(o->control_group, "adm");
    CU_ASSERT_TRUE(o->allow_plaintext);
    CU_ASSERT_EQUAL(o->strategy, MEMBERSHIP_HYPARVIEW);
    CU_ASSERT_FALSE(o->zone_bias);
    CU_ASSERT_EQUAL(o->active_max, 4);
    CU_ASSERT_EQUAL(o->passive_max, 0);
    CU_ASSERT_EQUAL(o->shuffle_ms, 2500);
    CU_ASSERT_EQUAL(o->ping_ms, 500);
    CU_ASSERT_EQUAL(o->suspect_ms, 1250);
    CU_ASSERT_EQUAL(o->retain_offline_s, 3600);
    CU_ASSERT_FALSE(o->route);
    CU_ASSERT_EQUAL(o->spool_bytes_max, 3u << 20);
    CU_ASSERT_EQUAL(o->clock_max_offset_ms, 250);
    CU_ASSERT_EQUAL(o->clock_alarm_ms, 200);
    CU_ASSERT_EQUAL(o->forward, argus_Severity_SEVERITY_OKAY);
    CU_ASSERT_EQUAL(o->retain_events, 7);
    CU_ASSERT_EQUAL(o->event_rate, 3);

    CU_ASSERT_EQUAL(
        READ("Membership.Strategy FULL", "Membership.PassiveView 0"), ARGUS_OK);
    CU_ASSERT_EQUAL(o->strategy, MEMBERSHIP_FULL);
    CU_ASSERT_TRUE(o->zone_bias);
    CU_ASSERT_EQUAL(READ("Membership.Strategy client-server"), ARGUS_OK);
    CU_ASSERT_EQUAL(o->strategy, MEMBERSHIP_CLIENT_SERVER);
    CU_ASSERT_EQUAL(READ("Membership.Strategy static"), ARGUS_OK);
    CU_ASSERT_EQUAL(o->strategy, MEMBERSHIP_STATIC);

    CU_ASSERT_EQUAL(READ("role AGGREGATOR", "Route.Weight 2.5"), ARGUS_OK);
    CU_ASSERT_EQUAL(o->role, argus_Role_ROLE_AGGREGATOR);
    CU_ASSERT_EQUAL(o->weight, 2.5f);
    end();
}

/* Goal: every form of an address means the same host and port. */
static void test_addresses_take_all_forms(void)
{
    static const struct {
        const char *line, *seed;
    } forms[] = {
        {"Seed \"a.example\"", "a.example:25827"},
        {"Seed \"a.example\" \"99\"", "a.example:99"},
        {"Seed \"a.example\" 99", "a.example:99"},
        {"Seed \"a.example:99\"", "a.example:99"},
        {"Seed \"127.0.0.1:99\"", "127.0.0.1:99"},
        {"Seed \"[::1]:99\"", "[::1]:99"},
        {"Seed \"[::1]\"", "[::1]:25827"},
        {"Seed \"[::1]\" 99", "[::1]:99"},
        {"Seed \"::1\"", "[::1]:25827"},
        {"Seed \"::1\" 99", "[::1]:99"},
        {"seed \"a.example\" \"argus-mesh\"", "a.example:argus-mesh"},
        {"SeedService \"_argus._tcp.a.example\"", "_argus._tcp.a.example"},
    };

    begin();
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        CU_ASSERT_EQUAL_FATAL(READ(forms[i].line), ARGUS_OK);
        CU_ASSERT_EQUAL_FATAL(config.options.seeds_count, 1);
        CU_ASSERT_STRING_EQUAL(config.options.seeds[0], forms[i].seed);
    }
    CU_ASSERT_EQUAL(READ("Listen \"[::1]:7\""), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(config.options.listen[0].host, "::1");
    CU_ASSERT_STRING_EQUAL(config.options.listen[0].port, "7");
    end();
}

/* Goal: blocks add up: what may be repeated accumulates, else the last wins. */
static void test_blocks_add_up(void)
{
    begin();
    CU_ASSERT_EQUAL(
        config_block(&config,
                     mock_lines((const char *const[]){
                         "Seed \"a\"", "Tag \"k\" \"1\"", "Cluster \"x\"",
                         "Membership.PingInterval 1", NULL}),
                     &err),
        ARGUS_OK);
    CU_ASSERT_EQUAL(
        config_block(&config,
                     mock_lines((const char *const[]){
                         "Seed \"b\"", "Tag \"k\" 2", "Tag \"l\" true_enough",
                         "Cluster \"y\"", "Membership.ActiveView 3", NULL}),
                     &err),
        ARGUS_OK);
    CU_ASSERT_EQUAL(config_resolve(&config, &usual_host, &err), ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(config.options.seeds_count, 2);
    CU_ASSERT_STRING_EQUAL(config.options.seeds[1], "b:25827");
    CU_ASSERT_EQUAL_FATAL(config.options.tags_count, 2);
    CU_ASSERT_STRING_EQUAL(config.options.tags[0].value, "2");
    CU_ASSERT_STRING_EQUAL(config.options.cluster, "y");
    CU_ASSERT_EQUAL(config.options.ping_ms, 1000);
    CU_ASSERT_EQUAL(config.options.active_max, 3);
    end();
}

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* Goal: each option refuses what it must, and says which option, which value
 * and what is allowed. */
static void test_every_option_refuses(void)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"Role server", "option \"Role\": \"server\" is none of agent, "
                        "aggregator"},
        {"Role 3", "option \"Role\": 3 is none of agent, aggregator"},
        {"Cluster \"\"", "option \"Cluster\": \"\" is too short; 1 to 63 bytes "
                         "are allowed"},
        {"Cluster \"" A64 "\"", "is 64 bytes long; 63 are allowed"},
        {"Cluster \"a\tb\"", "option \"Cluster\": a control character"},
        {"Cluster a b", "option \"Cluster\": 2 values; exactly one"},
        {"Listen", "option \"Listen\": takes a host and an optional port"},
        {"Listen \"127.0.0.1\" 0", "option \"Listen\": port 0 is outside "
                                   "1..65535"},
        {"Listen \"0.0.0.0\"", "option \"Listen\": \"0.0.0.0\" is beyond "
                               "loopback, which needs a KeyFile or "
                               "certificates in <Security>"},
        {"Security.KeyFile \"\"", "option \"KeyFile\" in <Security>"},
        {"Listen \"::\"", "option \"Listen\": \"::\" is beyond loopback"},
        {"Advertise \"a:1\" 2", "option \"Advertise\": \"a\" has its port "
                                "twice"},
        {"Seed \"\"", "option \"Seed\": \"\" is too short"},
        {"Seed \"a:\"", "option \"Seed\": \"a\" port \"\" is no address"},
        {"Seed \":9\"", "option \"Seed\": \"\" port \"9\" is no address"},
        {"Seed \"a b\"", "option \"Seed\": \"a b\" is no host"},
        {"Seed \"a\" 65536", "option \"Seed\": port 65536 is outside 1..65535"},
        {"Seed \"a\" \"1 2\"", "option \"Seed\": \"1 2\" is no port"},
        {"Seed \"a:b:c\"", "option \"Seed\": \"a:b:c\" is no IPv6 address"},
        {"Seed \"[::1\"", "option \"Seed\": \"[::1\" is no address"},
        {"Seed \"[x]\"", "option \"Seed\": \"[x]\" holds no IPv6 address"},
        {"Seed true", "option \"Seed\": true is no text"},
        {"Seed \"10.0.0.1\"", "option \"Seed\": \"10.0.0.1\" is beyond "
                              "loopback"},
        {"Seed \"[2001:db8::1]:5\"", "\"2001:db8::1\" is beyond loopback"},
        {"Multicast 1", "option \"Multicast\": 1 is neither true nor false"},
        {"SeedService \"x\"", "option \"SeedService\": \"x\" is no name of a "
                              "DNS service; one like "
                              "\"_argus._tcp.example.org\""},
        {"SeedService \"_argus._tcp\"", "\"_argus._tcp\" is no name"},
        {"SeedService \"_argus._tcp.a..b\"", "is no name of a DNS service"},
        {"SeedService \"_argus._tcp.a:1\"", "is no name of a DNS service"},
        {"SeedService \"_a._tcp.b\" 1", "takes the name of one service"},
        {"NodeName \"" A64 A64 "\"", "option \"NodeName\": \"" A64},
        {"NodeName \"\"", "option \"NodeName\": \"\" is too short"},
        {"Zone \"/a\"", "option \"Zone\": \"/a\" has an empty part"},
        {"Zone \"a//b\"", "option \"Zone\": \"a//b\" has an empty part"},
        {"Zone a b", "option \"Zone\": takes one path"},
        {"Tag \"k\"", "option \"Tag\": takes a key and a value"},
        {"Tag \"\" \"v\"", "option \"Tag\": \"\" is too short"},
        {"StateDir \"\"", "option \"StateDir\": \"\" is too short"},
        {"ControlSocket \"/" A64 A64 "\"", "option \"ControlSocket\": \"/" A64},
        {"ControlGroup \"\"", "option \"ControlGroup\": \"\" is too short"},
        {"Security.AllowPlaintext 1", "option \"AllowPlaintext\" in "
                                      "<Security>: 1 is neither true nor "
                                      "false"},
        {"Membership.Strategy ring", "option \"Strategy\" in <Membership>: "
                                     "\"ring\" is none of hyparview, full, "
                                     "client-server, static"},
        {"Membership.ActiveView 1", "option \"ActiveView\" in <Membership>: 1 "
                                    "is outside 2..32"},
        {"Membership.ActiveView 4.5", "option \"ActiveView\" in <Membership>: "
                                      "4.5 is not whole"},
        {"Membership.PassiveView -1", "option \"PassiveView\" in <Membership>: "
                                      "-1 is outside 0..4096"},
        {"Membership.PassiveView 4", "option \"PassiveView\" in <Membership>: "
                                     "4 is less than ActiveView, 5"},
        {"Membership.ShuffleInterval 0", "0 is outside 0.1..3600 s"},
        {"Membership.PingInterval 0", "option \"PingInterval\" in "
                                      "<Membership>: 0 is outside 0.1..3600 s"},
        {"Membership.PingInterval fast", "option \"PingInterval\" in "
                                         "<Membership>: \"fast\" is no number; "
                                         "0.1..3600 s is allowed"},
        {"Membership.SuspectTimeout 2", "option \"SuspectTimeout\" in "
                                        "<Membership>: 2 s does not exceed "
                                        "PingInterval, 2 s"},
        {"Membership.SuspectTimeout 99999", "99999 is outside 0.2..7200 s"},
        {"Membership.RetainOffline 5", "5 is outside 60..315360000 s"},
        {"Route.Enable maybe", "option \"Enable\" in <Route>: \"maybe\" is "
                               "neither true nor false"},
        {"Route.SpoolMemory 0", "option \"SpoolMemory\" in <Route>: 0 is "
                                "outside 1..65536 MiB"},
        {"Route.Weight 0", "option \"Weight\" in <Route>: 0 is outside "
                           "0.001..1000"},
        {"Route.Weight 2", "option \"Weight\" in <Route>: 2 is for aggregators "
                           "alone"},
        {"Clock.MaxOffset 0", "option \"MaxOffset\" in <Clock>: 0 is outside "
                              "0.001..3600 s"},
        {"Events.Forward NEVER", "option \"Forward\" in <Events>: \"NEVER\" is "
                                 "none of OKAY, WARNING, FAILURE"},
        {"Events.Retain 0", "option \"Retain\" in <Events>: 0 is outside "
                            "1..10000000"},
        {"Events.RateLimit 0", "option \"RateLimit\" in <Events>: 0 is outside "
                               "1..100000"},
        {"Colour blue", "option \"Colour\" is unknown"},
        {"Membership.Colour blue", "option \"Colour\" in <Membership> is "
                                   "unknown"},
        {"Colours.Red 1", "option \"Colours\" is unknown"},
        {"Role.Agent 1", "option \"Role\": is an option, not a block"},
        {"Membership 5", "block <Membership> takes no value"},
        {"Apply.Enable maybe", "option \"Enable\" in <Apply>: \"maybe\" is "
                               "neither true nor false"},
        {"Apply.TrustedKey \"/nowhere/k.pub\"",
         "option \"TrustedKey\" in <Apply>: cannot read /nowhere/k.pub"},
        {"Apply.TrustedKey \"\"", "option \"TrustedKey\" in <Apply>: \"\" is "
                                  "too short"},
        {"Apply.Allow \"../df\"",
         "option \"Allow\" in <Apply>: \"../df\" is no "
         "name of a plugin"},
        {"Apply.Deny true", "option \"Deny\" in <Apply>: true is no text"},
        {"Apply.User \"no-such-user\"", "option \"User\" in <Apply>: there is "
                                        "no user \"no-such-user\""},
        {"Apply.MaxWorkers 0", "option \"MaxWorkers\" in <Apply>: 0 is outside "
                               "1..16"},
        {"Apply.MaxWorkers 17", "outside 1..16"},
        {"Apply.StartTimeout 0", "option \"StartTimeout\" in <Apply>: 0 is "
                                 "outside 1..3600 s"},
        {"Apply.Probation 0", "option \"Probation\" in <Apply>: 0 is outside "
                              "1..86400 s"},
        {"Apply.MaxSize 33", "option \"MaxSize\" in <Apply>: 33 is outside "
                             "0.001..32 MiB"},
        {"Apply.Colour blue", "option \"Colour\" in <Apply> is unknown"},
    };

    begin();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mock_reset();
        CU_ASSERT_EQUAL(READ(cases[i].line), ARGUS_EINVAL);
        if (strstr(err.text, cases[i].text) == NULL)
            printf("\n  %s: %s\n", cases[i].line, err.text);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].text));
    }
    end();
}

/* Goal: what would do nothing with a strategy is refused with it. */
static void test_options_of_other_strategies_are_refused(void)
{
    static const char *const strategies[] = {"full", "client-server", "static"};
    static const struct {
        const char *line, *name;
        bool by_static_alone;
    } options[] = {
        {"Membership.ActiveView 5", "ActiveView", false},
        {"Membership.PassiveView 30", "PassiveView", false},
        {"Membership.ZoneBias true", "ZoneBias", false},
        {"Membership.ShuffleInterval 10", "ShuffleInterval", true},
    };
    char strategy[64], expected[64];

    begin();
    for (size_t i = 0; i < 12; i++) {
        const char *name = strategies[i % 3];
        size_t option = i / 3;
        bool fine = options[option].by_static_alone && i % 3 != 2;

        mock_reset();
        (void)snprintf(strategy, sizeof strategy, "Membership.Strategy %s",
                       name);
        (void)snprintf(expected, sizeof expected,
                       "option \"%s\" in <Membership>: ", options[option].name);
        CU_ASSERT_EQUAL(READ(strategy, options[option].line),
                        fine ? ARGUS_OK : ARGUS_EINVAL);
        if (!fine)
            CU_ASSERT_PTR_EQUAL(strstr(err.text, expected), err.text);
    }
    end();
}

/* Goal: what the manual names but this version cannot do is refused by name. */
static void test_later_options_are_refused_by_name(void)
{
    static const char *const later[] = {
        "Route.Placement", "Route.Copies",   "Route.SpoolDisk",
        "Route.Accept",    "Route.Dispatch",
    };

    begin();
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        char line[64], expected[64];
        const char *dot = strchr(later[i], '.');

        mock_reset();
        (void)snprintf(line, sizeof line, "%s 1", later[i]);
        (void)snprintf(expected, sizeof expected, "option \"%s\"",
                       dot != NULL ? dot + 1 : later[i]);
        CU_ASSERT_EQUAL(READ(line), ARGUS_EINVAL);
        CU_ASSERT_PTR_EQUAL(strstr(err.text, expected), err.text);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "not built yet"));
    }
    end();
}

static void test_nan_is_no_number_of_seconds(void)
{
    begin();
    oconfig_item_t *block = mock_block();
    oconfig_item_t *item = mock_line(block, "Membership.PingInterval 1");
    item->values[0].value.number = NAN;
    CU_ASSERT_EQUAL(config_block(&config, block, &err), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "nan is outside 0.1..3600 s"));
    end();
}

/* Goal: every list has its end. */
static void test_too_many_are_refused(void)
{
    begin();
    oconfig_item_t *seeds = mock_block();
    for (int i = 0; i < CONFIG_SEEDS_MAX; i++)
        (void)mock_line(seeds, "Seed \"a\"");
    CU_ASSERT_EQUAL(config_block(&config, seeds, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(READ("Seed \"b\""), ARGUS_OK);
    (void)mock_line(seeds, "Seed \"a\"");
    config_free(&config);
    config_init(&config);
    CU_ASSERT_EQUAL(config_block(&config, seeds, &err), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "one too many; 32"));

    oconfig_item_t *listens = mock_block(), *tags = mock_block();
    for (int i = 0; i < 9; i++)
        (void)mock_line(listens, "Listen \"127.0.0.1\"");
    for (int i = 0; i < 100000; i++) {
        char line[32];
        (void)snprintf(line, sizeof line, "Tag \"k%d\" \"v\"", i);
        (void)mock_line(tags, line);
    }
    CU_ASSERT_EQUAL(config_block(&config, listens, &err), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "one too many; 8"));
    CU_ASSERT_EQUAL(config_block(&config, tags, &err), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "\"k16\" is one too many; 16"));
    end();
}

/* Goal: an aggregator is not told to forward. */
static void test_aggregator_that_routes_is_refused(void)
{
    begin();
    CU_ASSERT_EQUAL(READ("Role aggregator", "Route.Enable true"), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "option \"Enable\" in <Route>"));
    CU_ASSERT_EQUAL(READ("Role aggregator", "Route.Enable false"), ARGUS_OK);
    end();
}

/* Goal: beyond loopback goes where it is allowed, by whatever order. */
static void test_plaintext_lifts_the_loopback_rule(void)
{
    begin();
    CU_ASSERT_EQUAL(READ("Listen \"0.0.0.0\"", "Seed \"10.0.0.1\"",
                         "Security.AllowPlaintext on"),
                    ARGUS_OK);
    CU_ASSERT_EQUAL(READ("Listen \"127.8.8.8\"", "Seed \"::ffff:127.0.0.1\"",
                         "Security.AllowPlaintext no"),
                    ARGUS_OK);
    end();
}

/* Goal: so it does with a key; a key goes with nothing else, certificates go
 * together. */
static void test_security_options_go_together(void)
{
    const struct runtime_options *o = &config.options;

    begin();
    CU_ASSERT_EQUAL(READ("Listen \"0.0.0.0\"", "Security.KeyFile \"k\""),
                    ARGUS_OK);
    CU_ASSERT_TRUE(config_protects(&config));
    CU_ASSERT_TRUE(o->key_file[0] == '/');
    CU_ASSERT_EQUAL(READ("Security.Certificate \"/c\"",
                         "Security.PrivateKey \"/p\"", "Security.CA \"/a\"",
                         "Security.CRL \"/l\"", "Listen \"::\""),
                    ARGUS_OK);
    CU_ASSERT_TRUE(config_protects(&config));
    CU_ASSERT_STRING_EQUAL(o->crl, "/l");
    CU_ASSERT_EQUAL(
        READ("Security.KeyFile \"/k\"", "Security.AllowPlaintext true"),
        ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "contradicts KeyFile"));
    CU_ASSERT_EQUAL(READ("Security.KeyFile \"/k\"", "Security.CRL \"/l\""),
                    ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "beside certificates"));
    CU_ASSERT_EQUAL(READ("Multicast true", "Security.KeyFile \"/k\""),
                    ARGUS_OK);
    CU_ASSERT_TRUE(o->multicast);
    CU_ASSERT_EQUAL(READ("Multicast true", "Membership.Strategy \"static\""),
                    ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "contradicts Strategy static"));
    CU_ASSERT_EQUAL(READ("Multicast true", "Security.Certificate \"/c\"",
                         "Security.PrivateKey \"/p\"", "Security.CA \"/a\""),
                    ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "needs a KeyFile"));
    CU_ASSERT_EQUAL(READ("Security.Certificate \"/c\"", "Security.CA \"/a\""),
                    ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(err.text, "option \"PrivateKey\" in <Security>: is missing"));
    end();
}

/* Goal: paths hang on the folder collectd works in, and have to fit. */
static void test_paths(void)
{
    struct config_host host = usual_host;
    char deep[128];

    begin();
    host.base_dir = "var//";
    host.work_dir = "/home/x/var";
    CU_ASSERT_EQUAL(read_on(&host, (const char *const[]){NULL}), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(config.options.state_dir, "/home/x/var/argus");
    host.base_dir = "/b/";
    CU_ASSERT_EQUAL(read_on(&host, (const char *const[]){NULL}), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(config.options.state_dir, "/b/argus");
    CU_ASSERT_EQUAL(
        read_on(&host, (const char *const[]){"StateDir \"s\"", NULL}),
        ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(config.options.control_socket,
                           "/home/x/var/s/control.sock");

    memset(deep, 'd', sizeof deep);
    deep[0] = '/';
    deep[100] = '\0';
    host.base_dir = deep;
    CU_ASSERT_EQUAL(read_on(&host, (const char *const[]){NULL}), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "option \"ControlSocket\": the "
                                            "path /ddd"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "is 119 bytes long; 107 are "
                                            "allowed"));
    end();
}

/* Goal: Hostname is a name only if it fits. */
static void test_hostname_too_long_is_refused(void)
{
    struct config_host host = usual_host;

    begin();
    host.hostname = A64 A64;
    CU_ASSERT_EQUAL(read_on(&host, (const char *const[]){NULL}), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "option \"NodeName\": Hostname"));
    CU_ASSERT_EQUAL(
        read_on(&host, (const char *const[]){"NodeName \"n\"", NULL}),
        ARGUS_OK);
    end();
}

/* Goal: collectd's queue is seen as collectd sees it. */
static void test_queue_options(void)
{
    static const struct {
        const char *threads, *high, *low;
        uint32_t threads_seen;
        uint64_t limit;
    } cases[] = {
        {"1", NULL, NULL, 1, 0},     {"0", NULL, "50", 5, 0},
        {"5", "1000", NULL, 5, 500}, {"5", "1000", "100", 5, 100},
        {"5", "10", "100", 5, 10},   {"5", "-1", "7", 5, 0},
        {"5", "10", "0", 5, 1},      {NULL, "10", "-4", 5, 5},
    };

    begin();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config_host host = usual_host;
        host.write_threads = cases[i].threads;
        host.write_limit_high = cases[i].high;
        host.write_limit_low = cases[i].low;
        CU_ASSERT_EQUAL(read_on(&host, (const char *const[]){NULL}), ARGUS_OK);
        CU_ASSERT_EQUAL(config.options.write_threads, cases[i].threads_seen);
        CU_ASSERT_EQUAL(config.options.write_limit, cases[i].limit);
    }
    end();
}

/* Of RFC 8410, section 10.1. */
static const char operator_pem[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
    "-----END PUBLIC KEY-----\n";

/* Goal: the options of <Apply> arrive, lists add up, keys are read. */
static void test_apply_options_arrive(void)
{
    const struct runtime_options *o = &config.options;
    char path[] = "/tmp/test_config.XXXXXX", line[128];
    int fd = mkstemp(path);

    begin();
    CU_ASSERT_FATAL(fd >= 0 &&
                    write(fd, operator_pem, sizeof operator_pem - 1) > 0);
    (void)close(fd);
    (void)snprintf(line, sizeof line, "Apply.TrustedKey \"%s\"", path);
    CU_ASSERT_EQUAL_FATAL(READ(line, "Apply.Allow \"df\" \"load\"",
                               "Apply.Allow \"cpu\"", "Apply.Deny \"csv\"",
                               "Apply.Deny \"\"", "Apply.User \"root\"",
                               "Apply.MaxWorkers 3", "Apply.StartTimeout 1.5",
                               "Apply.Probation 2", "Apply.MaxSize 0.5"),
                          geteuid() == 0 ? ARGUS_OK : ARGUS_EINVAL);
    CU_ASSERT_EQUAL(o->allow_count, 3);
    CU_ASSERT_STRING_EQUAL(o->allow[1], "load");
    CU_ASSERT_EQUAL(o->deny_count, 1);
    CU_ASSERT_STRING_EQUAL(o->deny[0], "csv");
    CU_ASSERT_STRING_EQUAL(o->apply_user, "root");
    CU_ASSERT_EQUAL(o->workers_max, 3);
    CU_ASSERT_EQUAL(o->start_timeout_ms, 1500);
    CU_ASSERT_EQUAL(o->probation_ms, 2000);
    CU_ASSERT_EQUAL(o->bundle_size_max, 512u << 10);

    CU_ASSERT_EQUAL(READ(line), ARGUS_OK);
    CU_ASSERT_EQUAL(o->trusted_keys_count, 1);
    CU_ASSERT_EQUAL(o->trusted_keys[0][0], 0x19);
    CU_ASSERT_EQUAL(o->trusted_keys[0][31], 0xe1);
    CU_ASSERT_EQUAL(READ(line, "Apply.Enable false"), ARGUS_OK);
    CU_ASSERT_EQUAL(READ("Apply.Deny \"\""), ARGUS_OK);
    CU_ASSERT_EQUAL(o->deny_count, 0);
    (void)unlink(path);
    end();
}

/* Goal: a daemon that is root runs bundles as nobody. */
static void test_root_runs_bundles_as_nobody(void)
{
    struct config_host host = usual_host;

    begin();
    host.is_root = true;
    CU_ASSERT_EQUAL(read_on(&host, (const char *const[]){NULL}), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(config.options.apply_user, "nobody");
    end();
}

CU_TestInfo suite_config[] = {
    {"apply_options_arrive", test_apply_options_arrive},
    {"root_runs_bundles_as_nobody", test_root_runs_bundles_as_nobody},
    {"defaults", test_defaults},
    {"every_option_arrives", test_every_option_arrives},
    {"addresses_take_all_forms", test_addresses_take_all_forms},
    {"blocks_add_up", test_blocks_add_up},
    {"every_option_refuses", test_every_option_refuses},
    {"options_of_other_strategies_are_refused",
     test_options_of_other_strategies_are_refused},
    {"later_options_are_refused_by_name",
     test_later_options_are_refused_by_name},
    {"nan_is_no_number_of_seconds", test_nan_is_no_number_of_seconds},
    {"too_many_are_refused", test_too_many_are_refused},
    {"aggregator_that_routes_is_refused",
     test_aggregator_that_routes_is_refused},
    {"plaintext_lifts_the_loopback_rule",
     test_plaintext_lifts_the_loopback_rule},
    {"security_options_go_together", test_security_options_go_together},
    {"paths", test_paths},
    {"hostname_too_long_is_refused", test_hostname_too_long_is_refused},
    {"queue_options", test_queue_options},
    CU_TEST_INFO_NULL,
};
