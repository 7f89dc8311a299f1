/* verbs_publishers.c - who publishes what. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/table.h"
#include "core/digest.h"

struct publishers {
    const char *plugin, *host, *app;
    struct json_rows rows;
    struct table *table; /* NULL: JSON */
};

/* One publisher of a node, by the node's record or as it is now. */
struct row {
    const argus_PublisherReply *node;
    struct digest_entry e;
    uint64_t last_us;
    bool is_live;
};

enum { OPTION_PLUGIN = 1, OPTION_HOST, OPTION_APP };

static const struct option publishers_options[] = {
    {"plugin", required_argument, NULL, OPTION_PLUGIN},
    {"host", required_argument, NULL, OPTION_HOST},
    {"app", required_argument, NULL, OPTION_APP},
    {0},
};

static bool on_publishers_option(struct cli *cli, void *context, int option,
                                 const char *value)
{
    struct publishers *p = context;

    (void)cli;
    switch (option) {
    case OPTION_PLUGIN: p->plugin = value; return true;
    case OPTION_HOST: p->host = value; return true;
    case OPTION_APP: p->app = value; return true;
    }
    return false;
}

/* An application by its name or by that of the plugin that serves it. A metric
 * of statsd may be given whole: only its first part is known. */
static bool is_app(const struct digest_entry *e, const char *wanted)
{
    size_t length = strlen(e->app);

    if (length == 0)
        return false;
    if (strcmp(e->app, wanted) == 0 || strcmp(e->plugin, wanted) == 0 ||
        strcmp(e->plugin_instance, wanted) == 0)
        return true;
    return strcmp(e->plugin, "statsd") == 0 &&
           strncmp(wanted, e->app, length) == 0 && wanted[length] != '\0' &&
           strchr(".:/-", wanted[length]) != NULL;
}

static bool is_wanted(const struct publishers *p, const struct digest_entry *e)
{
    return (p->plugin == NULL || strcmp(p->plugin, e->plugin) == 0) &&
           (p->host == NULL || strcmp(p->host, e->host) == 0) &&
           (p->app == NULL || is_app(e, p->app));
}

static json_t *row_json(const struct row *r)
{
    const struct digest_entry *e = &r->e;

    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:b, s:o}", "host",
        json_text(e->host), "plugin", json_text(e->plugin), "plugin_instance",
        json_text(e->plugin_instance), "node", json_text(r->node->node),
        "since", json_time(e->since_us), "last", json_time(r->last_us), "rate",
        json_number(e->rate), "state",
        e->silent_us != 0 ? "stopped" : "publishing", "app",
        e->app[0] != '\0' ? json_text(e->app) : json_null(), "live",
        (int)r->is_live, "stated", json_time(r->node->stated_us));
}

static void cell_name(struct table *t, const struct digest_entry *e)
{
    table_cell(t, COLOR_PLAIN, "%s%s%s", e->plugin,
               e->plugin_instance[0] != '\0' ? "-" : "", e->plugin_instance);
}

static void row_cells(struct table *t, const struct row *r)
{
    const struct digest_entry *e = &r->e;

    table_cell(t, COLOR_PLAIN, "%s", e->host);
    cell_name(t, e);
    table_cell(t, COLOR_PLAIN, "%s", e->app);
    table_cell(t, e->silent_us != 0 ? COLOR_BAD : COLOR_GOOD, "%s",
               e->silent_us != 0 ? "stopped" : "publishing");
    table_cell(t, COLOR_PLAIN, "%.3g", e->rate);
    cli_cell_time(t, e->since_us);
    cli_cell_time(t, r->last_us);
    table_cell(t, COLOR_PLAIN, "%s", r->node->node);
}

static void put_row(struct publishers *p, const struct row *r)
{
    if (!is_wanted(p, &r->e))
        return;
    if (p->table == NULL)
        json_rows_add(&p->rows, row_json(r));
    else
        row_cells(p->table, r);
}

static void put_live(struct publishers *p, const argus_PublisherReply *n)
{
    const struct row row = {
        .node = n,
        .e = {.host = n->host,
              .plugin = n->plugin,
              .plugin_instance = n->plugin_instance,
              .app = n->app,
              .since_us = n->since_us,
              .silent_us = n->silent ? n->last_us : 0,
              .rate = n->rate},
        .last_us = n->last_us,
        .is_live = true,
    };
    put_row(p, &row);
}

/* A node that lives and has not said that a publisher stopped was publishing
 * when it was last heard of. */
static void put_record(struct publishers *p, const argus_PublisherReply *n)
{
    struct digest_reader reader;
    struct row row = {.node = n};

    digest_open(&reader, n->node, n->started_ms, n->publishers.bytes,
                n->publishers.size);
    while (digest_next(&reader, &row.e)) {
        row.last_us = row.e.silent_us != 0         ? row.e.silent_us
                      : n->heard_us > n->stated_us ? n->heard_us
                                                   : n->stated_us;
        put_row(p, &row);
    }
}

static bool on_publisher(void *context, const argus_Reply *reply)
{
    const argus_PublisherReply *n = &reply->body.publisher;

    if (reply->which_body != argus_Reply_publisher_tag)
        return true;
    if (n->live)
        put_live(context, n);
    else
        put_record(context, n);
    return true;
}

static int print(struct cli *cli, struct publishers *p, const argus_End *end)
{
    if (p->table == NULL) {
        json_rows_print(&p->rows, "publishers", &end->coverage);
        return cli_coverage_code(end);
    }
    table_sort(p->table, 3); /* host, plugin, application */
    if (table_rows(p->table) == 0)
        puts("Nobody publishes such a thing.");
    else
        table_print(p->table, stdout, cli->width, cli->color);
    cli_print_coverage(cli, end);
    return cli_coverage_code(end);
}

static int run_publishers(struct cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"HOST",  "PLUGIN", "?APPLICATION",
                                         "STATE", ">RATE",  "?SINCE",
                                         "LAST",  "?NODE",  NULL};
    const argus_Request request = {.which_body = argus_Request_publishers_tag};
    struct publishers p = {0};
    const struct cli_options options = {.own = publishers_options,
                                        .on_option = on_publishers_option,
                                        .context = &p};
    argus_End end;

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < argc)
        return cli_fail(cli, EXIT_USAGE, "usage", "publishers takes no `%s`",
                        argv[at]);
    p.table = cli->json ? NULL : table_new(titles);
    int code = cli_ask(cli, &request, false, on_publisher, &p, &end);
    if (code == EXIT_DONE)
        code = print(cli, &p, &end);
    json_rows_free(&p.rows);
    table_free(p.table);
    return code;
}

const struct verb verb_publishers = {
    .name = "publishers",
    .arguments = "[--plugin P] [--host H] [--app A]",
    .help =
        "Which hosts and which plugins and applications publish metrics: "
        "since\n"
        "when, values a second, when the last value was seen, and which node\n"
        "says so. Those of nodes that are offline are not listed.\n\n"
        "  --plugin P   of that plugin\n"
        "  --host H     with that host\n"
        "  --app A      an application: what a user named in statsd, tail, "
        "curl,\n"
        "               exec and the like, or that plugin itself\n\n"
        "This node's own are as they are now (`live` with --json). Those of\n"
        "others are as their records say: that one stopped is known within\n"
        "seconds, its rate is to a quarter of a power of two, and `last` is "
        "the\n"
        "last sign of life of a node that has not said that it stopped.\n",
    .run = run_publishers,
};
