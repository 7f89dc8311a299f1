/* make_crowd.c - the StateDir of a node that knows many others: their records,
 * signed by a key of each, in the database that a daemon finds at its start.
 *
 *   make_crowd STATE_DIR COUNT
 *
 * Each publishes what a host with the usual plugins does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/publishers.h"
#include "runtime/identity.h"
#include "runtime/store.h"

#define CLUSTER "default"
#define COUNT_MAX 50000
#define BATCH 1000 /* written at a time; see STORE_PENDING_MAX */

static void must(bool claim, const char *what)
{
    if (claim)
        return;
    (void)fprintf(stderr, "make_crowd: %s\n", what);
    exit(1);
}

static void nobody_listens(void *context, enum publishers_news news,
                           const char *text)
{
    (void)context;
    (void)news;
    (void)text;
}

static void fill_digest(argus_NodeRecord *r, uint64_t wall_us)
{
    static const char *const names[] = {
        "cpu", "df", "disk", "load", "interface", "memory", "swap", "uptime"};
    const struct publishers_listener up = {.say = nobody_listens};
    const uint64_t number = 0;
    struct publishers *p = NULL;
    uint32_t missing = 0;

    must(publishers_new(&up, &p) == ARGUS_OK, "out of memory");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct value_input in = {.host = r->name,
                                 .plugin = names[i],
                                 .plugin_instance = "",
                                 .type = "gauge",
                                 .type_instance = "",
                                 .numbers = &number,
                                 .count = 1};
        publishers_on_value(p, 1000, wall_us, &in);
    }
    r->publishers.size = (pb_size_t)publishers_digest(
        p, r->name, wall_us / 1000, r->publishers.bytes, &missing);
    must(missing == 0, "the digest has no room for all");
    publishers_free(p);
}

static void fill_record(argus_NodeRecord *r, uint32_t i, uint64_t wall_us)
{
    r->generation = (uint32_t)(wall_us / 1000000);
    r->version = 1;
    (void)snprintf(r->name, sizeof r->name, "web-%05u.eu1.example.org", i);
    (void)snprintf(r->address, sizeof r->address, "127.9.%u.%u:9", i >> 8,
                   i & 255);
    (void)snprintf(r->zone, sizeof r->zone, "eu1/rack%02u", i % 100);
    (void)snprintf(r->software, sizeof r->software, "0.1.0");
    r->started_ms = wall_us / 1000;
    r->hlc = wall_us / 1000 << 16;
    fill_digest(r, wall_us);
}

static void add(struct store *store, uint32_t i, uint64_t wall_us)
{
    static argus_Statement s;
    static uint8_t packed[SEALED_SIZE_MAX];
    struct identity *identity = NULL;
    struct argus_error err;

    must(identity_open(NULL, CLUSTER, &identity, &err) == ARGUS_OK,
         "cannot make a key");
    memset(&s, 0, sizeof s);
    s.which_body = argus_Statement_record_tag;
    fill_record(&s.body.record, i, wall_us);
    struct seal seal = identity_seal(identity);
    size_t size = seal.close(seal.context, &s, packed);
    must(size > 0, "a record is too large");
    store_put_record(store, identity_id(identity), packed, size);
    identity_free(identity);
}

int main(int count_args, char **args)
{
    struct store *store = NULL;
    struct argus_error err;
    struct timespec t;

    must(count_args == 3, "usage: make_crowd STATE_DIR COUNT");
    unsigned long count = strtoul(args[2], NULL, 10);
    must(count > 0 && count <= COUNT_MAX, "COUNT is 1 to 50000");
    (void)mkdir(args[1], 0750);
    must(store_open(args[1], &store, &err) == ARGUS_OK,
         "cannot open the database");
    (void)clock_gettime(CLOCK_REALTIME, &t);
    uint64_t wall_us =
        (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
    for (uint32_t i = 0; i < count; i++) {
        add(store, i, wall_us);
        if (i % BATCH == BATCH - 1)
            store_tick(store, (i + 1) * 1000ull);
    }
    must(store_stats(store)->writes_failed == 0 &&
             store_stats(store)->writes_dropped == 0,
         "the disk refuses");
    store_close(store);
    return 0;
}
