/* verbs_node.c - this node: status, version, join, leave. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "argus_config.h"
#include "base/node_id.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/table.h"

#define PORT_DEFAULT "25827"

static const struct cli_options no_options;

/* Verbs without operands. @return false: *code is the verb's. */
static bool begin_plain(struct cli *cli, int argc, char **argv, int *code)
{
    int at = cli_parse(cli, argc, argv, &no_options);

    *code = at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < 0 || cli->help)
        return false;
    if (at < argc) {
        *code = cli_fail(cli, EXIT_USAGE, "usage", "%s takes no `%s`", argv[0],
                         argv[at]);
        return false;
    }
    return true;
}

/* The one row of an answer that must have one. */
static int ask_one(const struct cli *cli, const argus_Request *request,
                   pb_size_t wanted, argus_Reply *out)
{
    out->which_body = 0;
    int code = cli_ask(cli, request, false, cli_keep_row, out, NULL);
    if (code == EXIT_DONE && out->which_body != wanted)
        return cli_fail(cli, EXIT_BAD, "no-answer",
                        "the daemon gave an answer to another question");
    return code;
}

/* ------------------------------------------------------------- status */

static json_t *worker_json(const argus_WorkerReply *w)
{
    return json_pack("{s:o, s:I, s:I, s:o}", "bundle", json_text(w->bundle),
                     "version", (json_int_t)w->version, "pid",
                     (json_int_t)w->pid, "state", json_text(w->state));
}

static json_t *quarantine_json(const argus_QuarantineReply *q)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "name", json_text(q->name), "id",
                     json_id(q->id), "reason", json_text(q->reason), "until",
                     json_time(q->until_us));
}

static json_t *status_json(const argus_StatusReply *s)
{
    json_t *quarantined = json_array();
    json_t *aggregators = json_array();
    json_t *counters = json_object();
    json_t *workers = json_array();

    for (pb_size_t i = 0; i < s->aggregators_count; i++)
        (void)json_array_append_new(aggregators, json_text(s->aggregators[i]));
    for (pb_size_t i = 0; i < s->counters_count; i++)
        (void)json_object_set_new(counters, s->counters[i].name,
                                  json_count(s->counters[i].value));
    for (pb_size_t i = 0; i < s->workers_count; i++)
        (void)json_array_append_new(workers, worker_json(&s->workers[i]));
    for (pb_size_t i = 0; i < s->quarantined_count; i++)
        (void)json_array_append_new(quarantined,
                                    quarantine_json(&s->quarantined[i]));
    return json_pack(
        "{s:o, s:o, s:s, s:o, s:o, s:s, s:o, s:o,"
        " s:{s:o, s:o, s:o, s:b}, s:{s:i, s:i}, s:{s:i, s:i, s:i, s:i},"
        " s:o, s:{s:o, s:o}, s:{s:i, s:i}, s:o, s:o, s:o, s:I, s:o, s:o,"
        " s:o, s:o}",
        "name", json_text(s->name), "id", json_id(s->id), "role",
        role_text(s->role), "cluster", json_text(s->cluster), "zone",
        json_text(s->zone), "state", node_state_text(s->state), "uptime_s",
        json_number(s->uptime_s), "hlc", json_hlc(s->hlc),
        /**/
        "clock", "offset_s", json_number(s->offset_s), "uncertainty_s",
        json_number(s->uncertainty_s), "drift_ppm", json_number(s->drift_ppm),
        "alarm", (int)s->clock_alarm,
        /**/
        "views", "active", (int)s->active, "passive", (int)s->passive,
        "members", "online", (int)s->online, "suspect", (int)s->suspect,
        "offline", (int)s->offline, "left", (int)s->left,
        /**/
        "aggregators", aggregators, "queue", "values",
        json_count(s->queue_values), "bytes", json_count(s->queue_bytes),
        "spool", "values", 0, "bytes", 0, "workers", workers, "counters",
        counters, "address", json_text(s->address), "generation",
        (json_int_t)s->generation, "quarantined", quarantined, "strategy",
        json_text(s->strategy), "reach", json_text(s->reach), "advertised",
        json_text(s->advertised));
}

static enum table_color state_color(argus_NodeState state)
{
    switch (state) {
    case argus_NodeState_NODE_JOINED: return COLOR_GOOD;
    case argus_NodeState_NODE_ALONE: return COLOR_WARN;
    case argus_NodeState_NODE_ISOLATED: return COLOR_BAD;
    }
    return COLOR_PLAIN;
}

static void key(struct table *t, const char *name)
{
    table_cell(t, COLOR_FAINT, "%s", name);
}

/* "3 d 04:05:06" */
static void cell_uptime(struct table *t, double uptime_s)
{
    uint64_t s = isfinite(uptime_s) && uptime_s > 0 ? (uint64_t)uptime_s : 0;

    table_cell(t, COLOR_PLAIN,
               "%" PRIu64 " d %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64,
               s / 86400, s / 3600 % 24, s / 60 % 60, s % 60);
}

static void cell_clock(struct table *t, const argus_StatusReply *s)
{
    if (!isfinite(s->offset_s))
        table_cell(t, COLOR_PLAIN, "not measured yet");
    else if (!isfinite(s->uncertainty_s))
        table_cell(t, s->clock_alarm ? COLOR_BAD : COLOR_PLAIN,
                   "%+.3f ms against the mesh", s->offset_s * 1e3);
    else
        table_cell(t, s->clock_alarm ? COLOR_BAD : COLOR_PLAIN,
                   "%+.3f ms \xc2\xb1 %.3f ms against the mesh",
                   s->offset_s * 1e3, s->uncertainty_s * 1e3);
}

static void status_rows_mesh(struct table *t, const argus_StatusReply *s)
{
    key(t, "state");
    table_cell(t, state_color(s->state), "%s", node_state_text(s->state));
    key(t, "members");
    table_cell(t, s->offline + s->suspect > 0 ? COLOR_WARN : COLOR_PLAIN,
               "%u online, %u suspect, %u offline, %u left", s->online,
               s->suspect, s->offline, s->left);
    key(t, "views");
    table_cell(t, COLOR_PLAIN, "%u active, %u passive (%s)", s->active,
               s->passive, s->strategy);
    key(t, "clock");
    cell_clock(t, s);
    key(t, "hlc");
    table_cell(t, COLOR_PLAIN, "%016" PRIx64, (uint64_t)s->hlc);
    for (pb_size_t i = 0; i < s->aggregators_count; i++) {
        key(t, i == 0 ? "aggregators" : "");
        table_cell(t, COLOR_PLAIN, "%s", s->aggregators[i]);
    }
    key(t, "queue");
    table_cell(t, COLOR_PLAIN, "%" PRIu64 " values, %" PRIu64 " bytes",
               s->queue_values, s->queue_bytes);
    for (pb_size_t i = 0; i < s->workers_count; i++) {
        const argus_WorkerReply *w = &s->workers[i];
        key(t, i == 0 ? "workers" : "");
        table_cell(t, COLOR_PLAIN, "%s %u: %s, process %u", w->bundle,
                   w->version, w->state, w->pid);
    }
}

static void status_rows_quarantine(struct table *t, const argus_StatusReply *s)
{
    char id[NODE_ID_TEXT_SIZE], until[TIME_TEXT_SIZE];

    for (pb_size_t i = 0; i < s->quarantined_count; i++) {
        const argus_QuarantineReply *q = &s->quarantined[i];
        struct node_id node = node_id_of(q->id);
        node_id_format(&node, id);
        time_text(q->until_us, until);
        key(t, i == 0 ? "quarantine" : "");
        table_cell(t, COLOR_BAD, "%s (%s) until %s: %s", q->name, id, until,
                   q->reason);
    }
}

static void status_table(const struct cli *cli, const argus_StatusReply *s)
{
    static const char *const titles[] = {"THIS NODE", "", NULL};
    struct node_id id = node_id_of(s->id);
    char text[NODE_ID_TEXT_SIZE];
    struct table *t = table_new(titles);

    if (t == NULL)
        return;
    node_id_format(&id, text);
    key(t, "name");
    table_cell(t, COLOR_PLAIN, "%s", s->name);
    key(t, "id");
    table_cell(t, COLOR_PLAIN, "%s", text);
    key(t, "role");
    table_cell(t, COLOR_PLAIN, "%s", role_text(s->role));
    key(t, "cluster");
    table_cell(t, COLOR_PLAIN, "%s", s->cluster);
    key(t, "zone");
    table_cell(t, COLOR_PLAIN, "%s", s->zone);
    key(t, "address");
    if (s->advertised[0] == '\0')
        table_cell(t, COLOR_PLAIN, "%s", s->address);
    else if (strcmp(s->advertised, s->address) == 0)
        table_cell(t, COLOR_BAD, "%s, where others cannot dial it", s->address);
    else
        table_cell(t, COLOR_WARN, "%s, for others cannot dial %s", s->address,
                   s->advertised);
    key(t, "uptime");
    cell_uptime(t, s->uptime_s);
    status_rows_mesh(t, s);
    status_rows_quarantine(t, s);
    for (pb_size_t i = 0; i < s->counters_count; i++) {
        if (s->counters[i].value == 0)
            continue; /* all of them: --json */
        key(t, s->counters[i].name);
        table_cell(t, COLOR_PLAIN, "%" PRIu64, s->counters[i].value);
    }
    table_print(t, stdout, cli->width, cli->color);
    table_free(t);
}

static int run_status(struct cli *cli, int argc, char **argv)
{
    static argus_Reply reply;
    const argus_Request request = {.which_body = argus_Request_status_tag};
    int code;

    if (!begin_plain(cli, argc, argv, &code))
        return code;
    code = ask_one(cli, &request, argus_Reply_status_tag, &reply);
    if (code != EXIT_DONE)
        return code;
    const argus_StatusReply *s = &reply.body.status;
    if (cli->json)
        json_print(status_json(s));
    else
        status_table(cli, s);
    return s->state == argus_NodeState_NODE_ISOLATED ? EXIT_BAD : EXIT_DONE;
}

const struct verb verb_status = {
    .name = "status",
    .arguments = "",
    .help = "How this node is: identity, views, members, clock, queue,\n"
            "and the counters that are not zero (--json: all of them).\n"
            "Exit code 1 when it knows peers and reaches none.\n",
    .run = run_status,
};

/* ------------------------------------------------------------- version */

static int run_version(struct cli *cli, int argc, char **argv)
{
    static argus_Reply reply;
    const argus_Request request = {.which_body = argus_Request_version_tag};
    int code;

    if (!begin_plain(cli, argc, argv, &code))
        return code;
    code = ask_one(cli, &request, argus_Reply_version_tag, &reply);
    if (code != EXIT_DONE)
        return code;
    const argus_VersionReply *v = &reply.body.version;
    if (cli->json) {
        json_print(json_pack("{s:o, s:i, s:o, s:s}", "argus",
                             json_text(v->argus), "protocol", (int)v->protocol,
                             "collectd", json_text(v->collectd), "argusctl",
                             ARGUS_VERSION));
        return EXIT_DONE;
    }
    cli_say(cli, "argus %s, protocol %u, collectd %s, argusctl %s", v->argus,
            v->protocol, v->collectd, ARGUS_VERSION);
    return EXIT_DONE;
}

const struct verb verb_version = {
    .name = "version",
    .arguments = "",
    .help = "Versions of argus, its protocol, collectd and argusctl.\n",
    .run = run_version,
};

/* -------------------------------------------------------- join and leave */

/* "host", "host:port", "[v6]", "[v6]:port" or a bare v6 address.
 * @return false: it does not fit. */
static bool complete_address(const char *text, char *out, size_t size)
{
    const char *colon = strchr(text, ':');
    bool is_bare_v6 =
        text[0] != '[' && colon != NULL && strchr(colon + 1, ':') != NULL;
    const char *end = strchr(text, ']');
    bool has_port = text[0] == '[' ? end != NULL && end[1] == ':'
                                   : colon != NULL && !is_bare_v6;
    const char *format = is_bare_v6 ? "[%s]:" PORT_DEFAULT
                         : has_port ? "%s"
                                    : "%s:" PORT_DEFAULT;
    int length;

    /* The three formats are the literals above, each with one %s. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    length = snprintf(out, size, format, text);
#pragma GCC diagnostic pop
    return text[0] != '\0' && length > 0 && (size_t)length < size;
}

static int run_join(struct cli *cli, int argc, char **argv)
{
    argus_Request request = {.which_body = argus_Request_join_tag};
    char *address = request.body.join.address;

    int at = cli_parse(cli, argc, argv, &no_options);
    if (at < 0)
        return EXIT_USAGE;
    if (cli->help)
        return EXIT_DONE;
    if (cli_refuse_watch(cli, "join"))
        return EXIT_USAGE;
    if (argc - at != 1 ||
        !complete_address(argv[at], address, sizeof request.body.join.address))
        return cli_fail(cli, EXIT_USAGE, "usage", "join takes one HOST[:PORT]");
    int code = cli_ask(cli, &request, false, cli_ignore_row, NULL, NULL);
    if (code != EXIT_DONE)
        return code;
    if (cli->json)
        json_print(json_pack("{s:o}", "address", json_text(address)));
    else
        printf("Asking %s to let this node in; see argusctl status.\n",
               address);
    return EXIT_DONE;
}

const struct verb verb_join = {
    .name = "join",
    .arguments = "HOST[:PORT]",
    .help = "Meet the mesh of that node now (port " PORT_DEFAULT
            " if none is given).\nIt is tried for ever, as a Seed is.\n",
    .run = run_join,
};

static int run_leave(struct cli *cli, int argc, char **argv)
{
    const argus_Request request = {.which_body = argus_Request_leave_tag};
    int code;

    if (!begin_plain(cli, argc, argv, &code))
        return code;
    if (cli_refuse_watch(cli, "leave"))
        return EXIT_USAGE;
    code = cli_ask(cli, &request, false, cli_ignore_row, NULL, NULL);
    if (code != EXIT_DONE)
        return code;
    if (cli->json)
        json_print(json_pack("{s:b}", "left", 1));
    else
        puts("This node leaves the mesh for good.");
    return EXIT_DONE;
}

const struct verb verb_leave = {
    .name = "leave",
    .arguments = "",
    .help = "Leave the mesh for good: the others show this node as left.\n",
    .run = run_leave,
};
