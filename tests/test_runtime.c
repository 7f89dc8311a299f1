/* test_runtime.c - a few real nodes on loopback: sockets, threads, files. */
#include "test.h"

#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "folder.h"
#include "runtime/guard.h"
#include "runtime/identity.h"
#include "runtime/keyring.h"
#include "runtime/runtime.h"

/** Waits end here at the latest; a sound run needs a small part of it. */
#define LIMIT_S 20

/* What any node did, for whoever waits. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char wanted_line[128];
static unsigned wanted_lines;
static unsigned all_values; /* of all nodes */

enum chain { CHAIN_NONE, CHAIN_BYPASSES, CHAIN_STOPS };

struct node {
    enum chain chain;
    uint64_t last_token;
    char dir[256];
    struct runtime_options options;
    struct runtime *rt;
    pthread_t loop, deliver;
    /* under the lock */
    unsigned values, series, events, disorder, resets;
    uint64_t last_number[64]; /* by series */
    char last_host[128], last_message[256];
};

static void keep_line(enum log_level level, const char *line)
{
    (void)level;
    (void)pthread_mutex_lock(&lock);
    if (wanted_line[0] != '\0' && strstr(line, wanted_line) != NULL) {
        wanted_lines++;
        (void)pthread_cond_broadcast(&changed);
    }
    (void)pthread_mutex_unlock(&lock);
}

static void want_line(const char *text)
{
    (void)pthread_mutex_lock(&lock);
    (void)snprintf(wanted_line, sizeof wanted_line, "%s", text);
    wanted_lines = 0;
    (void)pthread_mutex_unlock(&lock);
}

static bool wait_for(const unsigned *number, unsigned least)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LIMIT_S;
    (void)pthread_mutex_lock(&lock);
    while (*number < least)
        if (pthread_cond_timedwait(&changed, &lock, &until) != 0)
            break;
    bool reached = *number >= least;
    (void)pthread_mutex_unlock(&lock);
    return reached;
}

/* ------------------------------------------------------------ hooks */

static void describe(const void *set, argus_SeriesDef *def)
{
    (void)set;
    def->sources_count = 1;
    (void)strcpy(def->sources[0].name, "value");
    def->sources[0].type = argus_SourceType_SOURCE_GAUGE;
}

static void on_series_begin(void *context, const struct series_begin *begin)
{
    struct node *n = context;

    (void)pthread_mutex_lock(&lock);
    n->series++;
    memcpy(n->last_host, begin->def->host, sizeof n->last_host);
    (void)pthread_mutex_unlock(&lock);
}

static void on_series_end(void *context, uint64_t series)
{
    (void)context;
    (void)series;
}

/* As if the write callback had seen it before the dispatch returned, or a
 * chain had kept it from argus. */
static bool on_dispatch(void *context, const struct value_ref *value)
{
    struct node *n = context;

    (void)pthread_mutex_lock(&lock);
    n->values++;
    all_values++;
    uint64_t *last = &n->last_number[value->series % 64];
    n->disorder += value->numbers[0] <= *last;
    *last = value->numbers[0];
    n->last_token = value->token;
    enum chain chain = n->chain;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
    if (chain == CHAIN_BYPASSES)
        runtime_post_passed(n->rt, value->token);
    return chain == CHAIN_NONE;
}

static void on_notify(void *context, const argus_Event *event)
{
    struct node *n = context;

    (void)pthread_mutex_lock(&lock);
    n->events++;
    memcpy(n->last_message, event->message, sizeof n->last_message);
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void on_reset(void *context)
{
    struct node *n = context;

    (void)pthread_mutex_lock(&lock);
    n->resets++;
    (void)pthread_mutex_unlock(&lock);
}

static size_t own_counters(void *context, struct runtime_counter *out,
                           size_t max)
{
    (void)context;
    if (max > 0)
        out[0] = (struct runtime_counter){"bridge_value_refused", 3};
    return max > 0 ? 1 : 0;
}

/* ------------------------------------------------------------ nodes */

static void set_options(struct node *n, const char *name, argus_Role role,
                        const char *seed)
{
    struct runtime_options *o = &n->options;
    static const char *seeds[1];

    seeds[0] = seed;
    (void)snprintf(o->name, sizeof o->name, "%s", name);
    (void)snprintf(o->cluster, sizeof o->cluster, "test");
    o->role = role;
    o->route = role == argus_Role_ROLE_AGENT;
    (void)snprintf(o->state_dir, sizeof o->state_dir, "%s", n->dir);
    (void)snprintf(o->control_socket, sizeof o->control_socket, "%.90s/c.sock",
                   n->dir);
    (void)snprintf(o->key_file, sizeof o->key_file, "%s/mesh.key", n->dir);
    o->listen_count = 1;
    (void)strcpy(o->listen[0].host, "127.0.0.1");
    (void)strcpy(o->listen[0].port, "0");
    o->seeds = seeds;
    o->seeds_count = seed != NULL;
    o->active_max = 5;
    o->passive_max = 30;
    o->shuffle_ms = 500;
    o->ping_ms = 500;
    o->suspect_ms = 1500;
    o->retain_offline_s = 3600;
    o->weight = 1.0f;
    o->spool_bytes_max = 8 << 20;
    o->clock_max_offset_ms = 500;
    o->forward = argus_Severity_SEVERITY_WARNING;
    o->retain_events = 1000;
    o->event_rate = 100;
    o->write_threads = 5;
    o->bundle_size_max = 4 << 20;
}

static void *run_loop(void *context)
{
    runtime_run(context);
    return NULL;
}

static void *run_deliver(void *context)
{
    runtime_deliver(context);
    return NULL;
}

/* All nodes have the same key, but for those that do without. */
static void write_key(const struct node *n)
{
    struct keyring ring = {.count = 1};
    const uint8_t secret[MESH_KEY_SIZE] = {42};

    mesh_key_of(secret, &ring.keys[0]);
    if (n->options.key_file[0] != '\0')
        CU_ASSERT_EQUAL_FATAL(keyring_write(n->options.key_file, &ring, NULL),
                              ARGUS_OK);
}

static int open_node(struct node *n, struct argus_error *err)
{
    write_key(n);
    const struct runtime_hooks hooks = {.context = n,
                                        .describe = describe,
                                        .counters = own_counters,
                                        .series_begin = on_series_begin,
                                        .series_end = on_series_end,
                                        .dispatch = on_dispatch,
                                        .notify = on_notify,
                                        .series_reset = on_reset};

    int rc = runtime_new(&n->options, &hooks, &n->rt, err);
    if (rc != ARGUS_OK)
        return rc;
    rc = runtime_open(n->rt, err);
    if (rc != ARGUS_OK) {
        runtime_free(n->rt);
        n->rt = NULL;
    }
    return rc;
}

/* With an eighth of the stack that a thread has by default. */
static void start_threads(struct node *n)
{
    pthread_attr_t attr;

    CU_ASSERT_EQUAL_FATAL(pthread_attr_init(&attr), 0);
    CU_ASSERT_EQUAL(pthread_attr_setstacksize(&attr, 1 << 20), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&n->loop, &attr, run_loop, n->rt), 0);
    CU_ASSERT_EQUAL_FATAL(
        pthread_create(&n->deliver, &attr, run_deliver, n->rt), 0);
    (void)pthread_attr_destroy(&attr);
}

static void start_node(struct node *n, const char *name, argus_Role role,
                       const char *seed)
{
    struct argus_error err = {{0}};

    log_set_sink(keep_line);
    if (n->dir[0] == '\0')
        folder_make(n->dir);
    set_options(n, name, role, seed);
    int rc = open_node(n, &err);
    if (rc != ARGUS_OK)
        printf("  %s\n", err.text);
    CU_ASSERT_EQUAL_FATAL(rc, ARGUS_OK);
    start_threads(n);
}

static void stop_node(struct node *n, uint32_t drain_ms)
{
    runtime_stop(n->rt, drain_ms);
    (void)pthread_join(n->loop, NULL);
    (void)pthread_join(n->deliver, NULL);
    runtime_free(n->rt);
    n->rt = NULL;
}

static void remove_node(struct node *n)
{
    folder_remove(n->dir);
    memset(n, 0, sizeof *n);
}

/* Numbers go over twenty series in turn: in each only one value at a time is
 * on its way into collectd. */
static bool post_value(struct node *n, uint64_t number)
{
    char instance[8];

    (void)snprintf(instance, sizeof instance, "%u", (unsigned)(number % 20));
    const struct value_input value = {
        .host = n->options.name,
        .plugin = "cpu",
        .plugin_instance = "0",
        .type = "gauge",
        .type_instance = instance,
        .set = &number,
        .time = number << 30,
        .interval = (uint64_t)10 << 30,
        .numbers = &number,
        .count = 1,
    };
    return runtime_post_value(n->rt, &value);
}

static struct node aggregator, agent, other;

/* Goal: an agent that knows one seed finds the aggregator by itself; every
 * value arrives, in order and once; a notification arrives; a clean stop waits
 * for the last acknowledgement. */
static void test_runtime_values_and_events_arrive(void)
{
    const argus_Event notice = {.severity = argus_Severity_SEVERITY_FAILURE,
                                .message = "it burns"};

    start_node(&other, "seed", argus_Role_ROLE_AGENT, NULL);
    start_node(&aggregator, "agg", argus_Role_ROLE_AGGREGATOR,
               runtime_address(other.rt));
    start_node(&agent, "agent", argus_Role_ROLE_AGENT,
               runtime_address(other.rt));
    want_line("not acknowledged before the stop");
    for (uint64_t i = 1; i <= 1000; i++)
        CU_ASSERT_TRUE(post_value(&agent, i));
    CU_ASSERT_TRUE(wait_for(&aggregator.values, 1000));
    CU_ASSERT_EQUAL(aggregator.disorder, 0);
    CU_ASSERT_EQUAL(aggregator.series, 20);
    CU_ASSERT_STRING_EQUAL(aggregator.last_host, "agent");

    CU_ASSERT_TRUE(runtime_post_notice(agent.rt, &notice));
    CU_ASSERT_TRUE(wait_for(&aggregator.events, 1));
    CU_ASSERT_STRING_EQUAL(aggregator.last_message, "it burns");
    CU_ASSERT_FALSE(
        runtime_series_moved(aggregator.rt, "agent", "cpu", "0", "gauge", "0"));

    CU_ASSERT_TRUE(post_value(&agent, 1001));
    stop_node(&agent, 10000);
    CU_ASSERT_TRUE(wait_for(&aggregator.values, 1001));
    CU_ASSERT_EQUAL(aggregator.values, 1001);
    CU_ASSERT_EQUAL(wanted_lines, 0);
    stop_node(&other, 1000);
    stop_node(&aggregator, 1000);
    remove_node(&agent);
    remove_node(&other);
    remove_node(&aggregator);
}

static void set_chain(enum chain chain)
{
    (void)pthread_mutex_lock(&lock);
    aggregator.chain = chain;
    (void)pthread_mutex_unlock(&lock);
}

/* Goal: values that a chain keeps from argus are acknowledged: those for other
 * writers at once, those stopped when collectd's queue has moved beyond them.
 */
static void test_runtime_what_argus_does_not_see_is_acknowledged(void)
{
    start_node(&aggregator, "agg", argus_Role_ROLE_AGGREGATOR, NULL);
    start_node(&agent, "agent", argus_Role_ROLE_AGENT,
               runtime_address(aggregator.rt));
    set_chain(CHAIN_BYPASSES);
    want_line("not acknowledged before the stop");
    for (uint64_t i = 1; i <= 200; i++)
        CU_ASSERT_TRUE(post_value(&agent, i));
    CU_ASSERT_TRUE(wait_for(&aggregator.values, 200));

    set_chain(CHAIN_STOPS);
    CU_ASSERT_TRUE(post_value(&agent, 201));
    CU_ASSERT_TRUE(wait_for(&aggregator.values, 201));
    runtime_post_progress(aggregator.rt, aggregator.last_token);
    stop_node(&agent, 5000);
    CU_ASSERT_EQUAL(wanted_lines, 0);
    CU_ASSERT_EQUAL(aggregator.values, 201);
    CU_ASSERT_EQUAL(aggregator.disorder, 0);
    stop_node(&aggregator, 1000);
    remove_node(&agent);
    remove_node(&aggregator);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Goal: a stop does not wait for values that nobody is there to take, and says
 * so. Method: the only aggregator is stopped before. */
static void test_runtime_stop_waits_for_nobody(void)
{
    start_node(&aggregator, "agg", argus_Role_ROLE_AGGREGATOR, NULL);
    start_node(&agent, "agent", argus_Role_ROLE_AGENT,
               runtime_address(aggregator.rt));
    CU_ASSERT_TRUE(post_value(&agent, 1));
    CU_ASSERT_TRUE(wait_for(&aggregator.values, 1));
    want_line("node agg is offline");
    stop_node(&aggregator, 1000);
    CU_ASSERT_TRUE(wait_for(&wanted_lines, 1));
    for (uint64_t i = 2; i < 100; i++)
        CU_ASSERT_TRUE(post_value(&agent, i));
    want_line("values were not acknowledged before the stop");
    uint64_t before_ms = now_ms();
    stop_node(&agent, 15000);
    CU_ASSERT_TRUE(now_ms() - before_ms < 3000); /* links say goodbye */
    CU_ASSERT_EQUAL(wanted_lines, 1);
    remove_node(&agent);
    remove_node(&aggregator);
}

static void check_stats(struct node *n, size_t least)
{
    static const char *const groups[] = {"mesh", "route", "spool", "clock",
                                         "events"};
    static const char *const gauges[] = {"count",           "queue_length",
                                         "bytes",           "time_offset",
                                         "time_dispersion", "frequency_offset"};
    struct runtime_stat stats[64];
    size_t count = runtime_stats(n->rt, stats, 64);

    printf("  %s: %zu series\n", n->options.name, count);
    CU_ASSERT_TRUE(count >= least && count <= least + 3); /* no counter fell
                                                             off the list */
    for (size_t i = 0; i < count; i++) {
        bool is_group = false, is_gauge = false;
        for (size_t k = 0; k < sizeof groups / sizeof groups[0]; k++)
            is_group |= strcmp(stats[i].group, groups[k]) == 0;
        for (size_t k = 0; k < sizeof gauges / sizeof gauges[0]; k++)
            is_gauge |= strcmp(stats[i].type, gauges[k]) == 0;
        CU_ASSERT_TRUE(is_group);
        CU_ASSERT_EQUAL(stats[i].gauge, is_gauge);
        CU_ASSERT_TRUE(is_gauge || strcmp(stats[i].type, "derive") == 0 ||
                       strncmp(stats[i].type, "total_", 6) == 0);
        for (size_t k = 0; k < i; k++)
            CU_ASSERT_FALSE(strcmp(stats[i].group, stats[k].group) == 0 &&
                            strcmp(stats[i].type, stats[k].type) == 0 &&
                            strcmp(stats[i].instance, stats[k].instance) == 0);
    }
}

/* Goal: of all that is counted, a node tells collectd the some forty series
 * that its role makes worth a graph, each once, in the groups of the contract;
 * the clock's offset, its bound and the drift once they are measured. */
static void test_runtime_metrics_are_few(void)
{
    start_node(&aggregator, "agg", argus_Role_ROLE_AGGREGATOR, NULL);
    start_node(&agent, "agent", argus_Role_ROLE_AGENT,
               runtime_address(aggregator.rt));
    CU_ASSERT_TRUE(post_value(&agent, 1));
    CU_ASSERT_TRUE(wait_for(&aggregator.values, 1));
    check_stats(&aggregator, 41);
    check_stats(&agent, 41);
    stop_node(&agent, 1000);
    stop_node(&aggregator, 1000);
    remove_node(&agent);
    remove_node(&aggregator);
}

/* Goal: the clean stop of one aggregator moves its agent to the other. */
static void test_runtime_agent_fails_over(void)
{
    all_values = 0;
    start_node(&aggregator, "agg1", argus_Role_ROLE_AGGREGATOR, NULL);
    start_node(&other, "agg2", argus_Role_ROLE_AGGREGATOR,
               runtime_address(aggregator.rt));
    start_node(&agent, "agent", argus_Role_ROLE_AGENT,
               runtime_address(aggregator.rt));
    uint64_t number = 0;
    for (; number < 100; number++)
        CU_ASSERT_TRUE(post_value(&agent, number + 1));
    CU_ASSERT_TRUE(wait_for(&all_values, 100));
    struct node *used = aggregator.values > 0 ? &aggregator : &other;
    struct node *spare = used == &aggregator ? &other : &aggregator;
    unsigned before = spare->values;
    stop_node(used, 1000);
    for (; number < 200; number++)
        CU_ASSERT_TRUE(post_value(&agent, number + 1));
    CU_ASSERT_TRUE(wait_for(&spare->values, before + 100));
    stop_node(&agent, 5000);
    stop_node(spare, 1000);
    CU_ASSERT_EQUAL(spare->disorder, 0);
    remove_node(&agent);
    remove_node(&other);
    remove_node(&aggregator);
}

/* Goal: once collectd shuts down an aggregator acknowledges nothing, so its
 * agent keeps the values. */
static void test_runtime_frozen_acknowledges_nothing(void)
{
    start_node(&aggregator, "agg", argus_Role_ROLE_AGGREGATOR, NULL);
    start_node(&agent, "agent", argus_Role_ROLE_AGENT,
               runtime_address(aggregator.rt));
    CU_ASSERT_TRUE(post_value(&agent, 1));
    CU_ASSERT_TRUE(wait_for(&aggregator.values, 1));
    runtime_post_freeze(aggregator.rt);
    CU_ASSERT_TRUE(post_value(&agent, 2));
    want_line("not acknowledged before the stop");
    stop_node(&agent, 300);
    CU_ASSERT_TRUE(wanted_lines == 1);
    CU_ASSERT_EQUAL(aggregator.values, 1);
    stop_node(&aggregator, 1000);
    remove_node(&agent);
    remove_node(&aggregator);
}

/* Goal: what cannot start says why, and leaves nothing open behind it. */
static void test_runtime_open_refusals(void)
{
    struct argus_error err = {{0}};

    start_node(&agent, "agent", argus_Role_ROLE_AGENT, NULL);
    other.options = agent.options;
    CU_ASSERT_EQUAL(open_node(&other, &err), ARGUS_EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, agent.dir));

    folder_make(other.dir);
    set_options(&other, "other", argus_Role_ROLE_AGENT, NULL);
    const char *port = strchr(runtime_address(agent.rt), ':') + 1;
    (void)strcpy(other.options.listen[0].port, port);
    CU_ASSERT_EQUAL(open_node(&other, &err), ARGUS_EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, port));
    (void)strcpy(other.options.listen[0].host, "0.0.0.0");
    other.options.key_file[0] = '\0';
    CU_ASSERT_EQUAL(open_node(&other, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "AllowPlaintext"));
    (void)strcpy(other.options.listen[0].host, "127.0.0.1");
    (void)strcpy(other.options.listen[0].port, "0");
    CU_ASSERT_EQUAL(open_node(&other, &err), ARGUS_OK); /* lock was let go */
    runtime_free(other.rt);                             /* never ran */
    other.rt = NULL;
    stop_node(&agent, 0);
    remove_node(&agent);
    remove_node(&other);
}

static bool has_ipv6(void)
{
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6,
                                     .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool ok =
        fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof any) == 0;

    if (fd >= 0)
        (void)close(fd);
    if (!ok)
        printf("  no IPv6 on this machine\n");
    return ok;
}

/* Goal: whatever is listened on, peers are told an address that they can dial:
 * of several the widest one, IPv6 in brackets, Advertise before all. */
static void test_runtime_address_can_be_dialed(void)
{
    static const struct {
        const char *listen[2], *advertise, *address; /* its beginning */
    } cases[] = {
        {{"127.0.0.1", NULL}, "", "127.0.0.1:"},
        {{"::1", NULL}, "", "[::1]:"},
        {{"127.0.0.1", "::"}, "", ":"},
        {{"127.0.0.1", "0.0.0.0"}, "", ":"},
        {{"127.0.0.1", "127.0.0.2"}, "", "127.0.0.1:"},
        {{"127.0.0.1", NULL}, "web.example", "web.example:"},
        {{"127.0.0.1", NULL}, "2001:db8::7", "[2001:db8::7]:"},
    };
    struct argus_error err = {{0}};

    folder_make(other.dir);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct runtime_options *o = &other.options;
        if (strcmp(cases[i].listen[0], "::1") == 0 && !has_ipv6())
            continue;
        set_options(&other, "other", argus_Role_ROLE_AGENT, NULL);
        o->key_file[0] = '\0';
        o->allow_plaintext = true;
        for (uint32_t k = 0; k < 2 && cases[i].listen[k] != NULL; k++) {
            o->listen_count = k + 1;
            (void)strcpy(o->listen[k].host, cases[i].listen[k]);
            (void)strcpy(o->listen[k].port, "0");
        }
        (void)strcpy(o->advertise.host, cases[i].advertise);
        CU_ASSERT_EQUAL_FATAL(open_node(&other, &err), ARGUS_OK);
        const char *address = runtime_address(other.rt);
        size_t size = strlen(cases[i].address);
        CU_ASSERT_TRUE(strncmp(address, cases[i].address, size) == 0);
        CU_ASSERT_TRUE(strspn(address + size, "0123456789") ==
                           strlen(address + size) &&
                       address[size] != '0');
        runtime_free(other.rt);
        other.rt = NULL;
    }
    remove_node(&other);
}

/* Goal: nodes of IPv6 alone find each other by a Seed in brackets. */
static void test_runtime_ipv6_mesh(void)
{
    struct argus_error err = {{0}};

    if (!has_ipv6())
        return;
    folder_make(aggregator.dir);
    log_set_sink(keep_line);
    set_options(&aggregator, "agg", argus_Role_ROLE_AGGREGATOR, NULL);
    (void)strcpy(aggregator.options.listen[0].host, "::1");
    CU_ASSERT_EQUAL_FATAL(open_node(&aggregator, &err), ARGUS_OK);
    start_threads(&aggregator);
    folder_make(agent.dir);
    set_options(&agent, "agent", argus_Role_ROLE_AGENT,
                runtime_address(aggregator.rt));
    (void)strcpy(agent.options.listen[0].host, "::1");
    CU_ASSERT_EQUAL_FATAL(open_node(&agent, &err), ARGUS_OK);
    start_threads(&agent);
    CU_ASSERT_TRUE(post_value(&agent, 1));
    CU_ASSERT_TRUE(wait_for(&aggregator.values, 1));
    stop_node(&agent, 1000);
    stop_node(&aggregator, 1000);
    remove_node(&agent);
    remove_node(&aggregator);
}

/* Goal: a stop before the loop runs, and posts at any time, do no harm; after
 * a restart the node is the same. */
static void test_runtime_restart_is_same_node(void)
{
    struct argus_error err = {{0}};
    struct identity *first, *second;

    log_set_sink(keep_line);
    folder_make(agent.dir);
    for (int i = 0; i < 3; i++) {
        set_options(&agent, "agent", argus_Role_ROLE_AGENT, NULL);
        CU_ASSERT_EQUAL_FATAL(open_node(&agent, &err), ARGUS_OK);
        CU_ASSERT_TRUE(post_value(&agent, 1));
        runtime_post_seen(agent.rt, 42);
        CU_ASSERT_FALSE(
            runtime_series_moved(agent.rt, "a", "b", "c", "d", "e"));
        runtime_stop(agent.rt, 0);
        start_threads(&agent);
        (void)pthread_join(agent.loop, NULL);
        (void)pthread_join(agent.deliver, NULL);
        CU_ASSERT_FALSE(post_value(&agent, 2)); /* refused, not a crash */
        runtime_post_seen(agent.rt, 43);
        runtime_free(agent.rt);
        CU_ASSERT_EQUAL_FATAL(
            identity_open(agent.dir, "test", i == 0 ? &first : &second, &err),
            ARGUS_OK);
        if (i > 0) {
            CU_ASSERT_TRUE(
                node_id_is_equal(identity_id(first), identity_id(second)));
            identity_free(second);
        }
    }
    identity_free(first);
    remove_node(&agent);
}

/* Goal: a cloned StateDir: one of the two becomes somebody else, by itself,
 * keeps the old key beside, and goes on routing. */
static void test_runtime_clone_gets_new_identity(void)
{
    char pem[512];

    start_node(&aggregator, "agg", argus_Role_ROLE_AGGREGATOR, NULL);
    start_node(&agent, "agent", argus_Role_ROLE_AGENT,
               runtime_address(aggregator.rt));
    CU_ASSERT_TRUE(post_value(&agent, 1));
    CU_ASSERT_TRUE(wait_for(&aggregator.values, 1));
    folder_make(other.dir);
    long size = file_read(agent.dir, "identity.pem", pem, sizeof pem);
    CU_ASSERT_TRUE_FATAL(size > 0);
    CU_ASSERT_TRUE(file_write(other.dir, "identity.pem", pem, (size_t)size));
    want_line("and was first");
    start_node(&other, "clone", argus_Role_ROLE_AGENT,
               runtime_address(aggregator.rt));
    CU_ASSERT_TRUE(wait_for(&wanted_lines, 1));
    unsigned before = aggregator.values;
    CU_ASSERT_TRUE(post_value(&other, 100));
    CU_ASSERT_TRUE(wait_for(&aggregator.values, before + 1));
    stop_node(&other, 5000);
    stop_node(&agent, 5000);
    stop_node(&aggregator, 1000);
    CU_ASSERT_TRUE(file_exists(other.dir, "identity.pem.cloned-1"));
    CU_ASSERT_FALSE(file_exists(agent.dir, "identity.pem.cloned-1"));
    remove_node(&agent);
    remove_node(&other);
    remove_node(&aggregator);
}

/* ------------------------------------------------------------ the guard */

static void fail_inside(void *context)
{
    assert(context == NULL);
}

static void describe_badly(const void *set, argus_SeriesDef *def)
{
    (void)def;
    assert(set == NULL);
}

/* A node whose loop hits a bug of ours; in a child, since it leaks. */
static int broken_child(void)
{
    struct argus_error err = {{0}};
    const struct runtime_hooks hooks = {.context = &agent,
                                        .describe = describe_badly,
                                        .series_begin = on_series_begin,
                                        .series_end = on_series_end,
                                        .dispatch = on_dispatch,
                                        .notify = on_notify};

    write_key(&agent);
    if (runtime_new(&agent.options, &hooks, &agent.rt, &err) != ARGUS_OK ||
        runtime_open(agent.rt, &err) != ARGUS_OK)
        return 1;
    if (pthread_create(&agent.loop, NULL, run_loop, agent.rt) != 0 ||
        pthread_create(&agent.deliver, NULL, run_deliver, agent.rt) != 0)
        return 2;
    want_line("this is a bug of argus");
    if (!post_value(&agent, 1))
        return 3;
    (void)pthread_join(agent.loop, NULL);
    (void)pthread_join(agent.deliver, NULL);
    if (wanted_lines != 1 || post_value(&agent, 2))
        return 4;
    runtime_stop(agent.rt, 0);
    runtime_free(agent.rt);
    return 0;
}

/* Goal: a failed assertion of ours is one log line and the end of argus, not
 * of the process. */
static void test_runtime_assertion_leaves_process_alive(void)
{
    int status = -1;

    log_set_sink(keep_line);
    want_line("this is a bug of argus: test_runtime.c");
    CU_ASSERT_TRUE(guard_run(fail_inside, NULL));
    CU_ASSERT_FALSE(guard_run(fail_inside, &status));
    CU_ASSERT_EQUAL(wanted_lines, 1);

    folder_make(agent.dir);
    set_options(&agent, "agent", argus_Role_ROLE_AGENT, NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(broken_child());
    CU_ASSERT_TRUE_FATAL(child > 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
    remove_node(&agent);
    log_set_sink(NULL);
}

/* Run argusctl against a node. @return its exit code; what it printed is in
 * `printed`. */
static char printed[65536];

static int ctl(const struct node *n, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int ctl(const struct node *n, const char *format, ...)
{
    const char *program = getenv("ARGUSCTL");
    char words[1024], command[1600];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(words, sizeof words, format, ap);
    va_end(ap);
    (void)snprintf(command, sizeof command, "%s -s %s %s 2>&1",
                   program != NULL ? program : "./argusctl",
                   n->options.control_socket, words);
    FILE *file = popen(command, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    size_t size = fread(printed, 1, sizeof printed - 1, file);
    printed[size] = '\0';
    int status = pclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Ask again until the answer is that, for at most LIMIT_S. */
static bool ctl_until(const struct node *n, const char *words, int code,
                      const char *text)
{
    const struct timespec turn = {.tv_nsec = 20000000};

    for (int i = 0; i < LIMIT_S * 50; i++) {
        if (ctl(n, "%s", words) == code && strstr(printed, text) != NULL)
            return true;
        (void)nanosleep(&turn, NULL);
    }
    printf("  argusctl %s: %s\n", words, printed);
    return false;
}

/* Goal: what argusctl pushes to one node is on the other, whole, with its
 * files; versions follow each other wherever they are pushed; both remember
 * over a restart, and what is refused is refused with its code. */
static void test_runtime_push_reaches_the_other(void)
{
    static char big[300000];
    const char *dir;
    char seed[144];

    start_node(&agent, "one", argus_Role_ROLE_AGENT, NULL);
    (void)snprintf(seed, sizeof seed, "%s", runtime_address(agent.rt));
    start_node(&other, "two", argus_Role_ROLE_AGENT, seed);
    dir = agent.dir;
    memset(big, 'b', sizeof big);
    (void)strcpy(big + sizeof big - 8, "the end");
    CU_ASSERT_TRUE(file_write(dir, "big", big, sizeof big));
    CU_ASSERT_TRUE(file_write(dir, "conf", "LoadPlugin df\n", 14));
    CU_ASSERT_EQUAL(ctl(&agent, "keygen operator %s/key", dir), 0);

    CU_ASSERT_TRUE(ctl_until(&agent, "members --state online two", 0, "two"));
    CU_ASSERT_EQUAL(ctl(&agent,
                        "config push %s/conf --name base --key %s/key"
                        " --file %s/big --target 'name=two;name=none'",
                        dir, dir, dir),
                    0);
    CU_ASSERT_TRUE(
        ctl_until(&other, "config list --json", 0, "\"complete\":true"));
    CU_ASSERT_EQUAL(ctl(&other, "config show base"), 0);
    CU_ASSERT_STRING_EQUAL(printed, "LoadPlugin df\n");
    CU_ASSERT_EQUAL(ctl(&other, "config show --json base"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed, "\"size\":300000"));

    /* The next one by way of the other; the first node then has it too. */
    CU_ASSERT_EQUAL(ctl(&other, "config remove base --key %s/key", dir), 0);
    CU_ASSERT_TRUE(ctl_until(&agent, "config list", 0, "removed"));
    CU_ASSERT_EQUAL(ctl(&agent, "config rollback base --key %s/key", dir), 0);
    CU_ASSERT_TRUE(ctl_until(&other, "config list --json", 0, "\"version\":3"));
    CU_ASSERT_EQUAL(ctl(&agent,
                        "config push %s/conf --name base --key %s/key"
                        " --target name=nobody",
                        dir, dir),
                    1);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed, "no known node"));

    stop_node(&other, 1000);
    start_node(&other, "two", argus_Role_ROLE_AGENT, seed);
    CU_ASSERT_EQUAL(ctl(&other, "config show base@1"), 0);
    CU_ASSERT_STRING_EQUAL(printed, "LoadPlugin df\n");
    CU_ASSERT_EQUAL(ctl(&other, "config diff base 1 3"), 0);
    stop_node(&other, 1000);
    stop_node(&agent, 1000);
    remove_node(&other);
    remove_node(&agent);
}

CU_TestInfo suite_runtime[] = {
    {"open_refusals", test_runtime_open_refusals},
    {"restart_is_same_node", test_runtime_restart_is_same_node},
    {"values_and_events_arrive", test_runtime_values_and_events_arrive},
    {"what_argus_does_not_see_is_acknowledged",
     test_runtime_what_argus_does_not_see_is_acknowledged},
    {"address_can_be_dialed", test_runtime_address_can_be_dialed},
    {"ipv6_mesh", test_runtime_ipv6_mesh},
    {"stop_waits_for_nobody", test_runtime_stop_waits_for_nobody},
    {"metrics_are_few", test_runtime_metrics_are_few},
    {"agent_fails_over", test_runtime_agent_fails_over},
    {"frozen_acknowledges_nothing", test_runtime_frozen_acknowledges_nothing},
    {"clone_gets_new_identity", test_runtime_clone_gets_new_identity},
    {"assertion_leaves_process_alive",
     test_runtime_assertion_leaves_process_alive},
    {"push_reaches_the_other", test_runtime_push_reaches_the_other},
    CU_TEST_INFO_NULL,
};
