/* verbs_events.c - the timeline: events, notify. */
#include "argus_config.h" /* GNU extensions */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/table.h"
#include "cli/when.h"

/* --------------------------------------------------------------- events */

struct events {
    argus_Request request;
    const struct cli *cli;
    struct json_rows rows; /* not when following */
    struct table *table;
};

enum {
    OPTION_SINCE = 1,
    OPTION_NODE,
    OPTION_SEVERITY,
    OPTION_FOLLOW,
    OPTION_LIMIT,
    OPTION_TYPE
};

static const struct option events_options[] = {
    {"since", required_argument, NULL, OPTION_SINCE},
    {"node", required_argument, NULL, OPTION_NODE},
    {"severity", required_argument, NULL, OPTION_SEVERITY},
    {"follow", no_argument, NULL, OPTION_FOLLOW},
    {"limit", required_argument, NULL, OPTION_LIMIT},
    {0},
};

static bool take_severity(struct cli *cli, const char *value,
                          argus_Severity *out)
{
    if (severity_parse(value, out))
        return true;
    (void)cli_fail(cli, EXIT_USAGE, "usage",
                   "--severity %s: OKAY, WARNING or FAILURE", value);
    return false;
}

/* @return false, with a complaint, when text does not fit. */
static bool take_text(struct cli *cli, const char *name, const char *text,
                      char *out, size_t size)
{
    if (strlen(text) < size) {
        memcpy(out, text, strlen(text) + 1);
        return true;
    }
    (void)cli_fail(cli, EXIT_USAGE, "usage",
                   "%s: at most %zu bytes are allowed", name, size - 1);
    return false;
}

static bool take_limit(struct cli *cli, const char *value, uint32_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long limit = strtoul(value, &end, 10);

    if (errno == 0 && value[0] >= '0' && value[0] <= '9' && *end == '\0' &&
        limit > 0 && limit <= UINT32_MAX) {
        *out = (uint32_t)limit;
        return true;
    }
    (void)cli_fail(cli, EXIT_USAGE, "usage", "--limit %s: a number from 1 on",
                   value);
    return false;
}

static bool on_events_option(struct cli *cli, void *context, int option,
                             const char *value)
{
    struct events *events = context;
    argus_EventsRequest *r = &events->request.body.events;

    switch (option) {
    case OPTION_SINCE:
        if (when_past(value, &r->since_us) || when_rfc3339(value, &r->since_us))
            return true;
        (void)cli_fail(cli, EXIT_USAGE, "usage",
                       "--since %s: a time such as 2026-01-31T12:00:00Z, or "
                       "10m for ten minutes ago",
                       value);
        return false;
    case OPTION_NODE:
        return take_text(cli, "--node", value, r->node, sizeof r->node);
    case OPTION_SEVERITY: return take_severity(cli, value, &r->severity);
    case OPTION_LIMIT: return take_limit(cli, value, &r->limit);
    case OPTION_FOLLOW: r->follow = true; return true;
    }
    return false;
}

static uint64_t hlc_us(uint64_t hlc)
{
    return (hlc >> 16) * 1000;
}

static json_t *event_json(const argus_EventReply *reply)
{
    const argus_Event *e = &reply->event;

    return json_pack(
        "{s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o,"
        " s:o, s:o}",
        "hlc", json_hlc(e->hlc), "time", json_time(cdtime_to_us(e->time)),
        "received", json_time(reply->received_us), "node", json_text(e->node),
        "severity", severity_text(e->severity), "host", json_text(e->host),
        "plugin", json_text(e->plugin), "type", json_text(e->type), "message",
        json_text(e->message), "uncertainty_s",
        json_number(reply->uncertainty_s), "concurrent", (int)reply->concurrent,
        "plugin_instance", json_text(e->plugin_instance), "type_instance",
        json_text(e->type_instance), "origin", json_id(reply->origin), "number",
        json_count(e->number));
}

static enum table_color severity_color(argus_Severity severity)
{
    switch (severity) {
    case argus_Severity_SEVERITY_FAILURE: return COLOR_BAD;
    case argus_Severity_SEVERITY_WARNING: return COLOR_WARN;
    case argus_Severity_SEVERITY_OKAY: return COLOR_GOOD;
    case argus_Severity_SEVERITY_NONE: return COLOR_PLAIN;
    }
    return COLOR_PLAIN;
}

/* "plugin-instance/type-instance", without what is empty. */
static void source_text(const argus_Event *e, char *out, size_t size)
{
    (void)snprintf(out, size, "%s%s%s%s%s%s%s", e->plugin,
                   e->plugin_instance[0] != '\0' ? "-" : "", e->plugin_instance,
                   e->plugin[0] != '\0' && e->type[0] != '\0' ? "/" : "",
                   e->type, e->type_instance[0] != '\0' ? "-" : "",
                   e->type_instance);
}

/* Columns of a terminal that has no room for dates. */
#define NARROW 72

static void event_row(struct table *t, const argus_EventReply *reply, int width)
{
    const argus_Event *e = &reply->event;
    char time[TIME_TEXT_SIZE];
    char source[600];

    time_text(hlc_us(e->hlc), time);
    source_text(e, source, sizeof source);
    if (width > 0 && width < NARROW)
        table_cell(t, COLOR_PLAIN, "%.8sZ", time + 11);
    else
        table_cell(t, COLOR_PLAIN, "%.10s %.12sZ", time, time + 11);
    table_cell(t, COLOR_FAINT, "%s", reply->concurrent ? "~" : "");
    table_cell(t, severity_color(e->severity), "%s",
               severity_text(e->severity));
    table_cell(t, COLOR_PLAIN, "%s", e->node);
    table_cell(t, COLOR_PLAIN, "%s", source);
    table_cell(t, COLOR_PLAIN, "%s", e->message);
}

/* One event as it comes: columns cannot wait for the widest. */
static void event_line(const struct cli *cli, const argus_EventReply *reply)
{
    const argus_Event *e = &reply->event;
    char time[TIME_TEXT_SIZE];
    char line[1200];
    char source[600];

    time_text(hlc_us(e->hlc), time);
    source_text(e, source, sizeof source);
    (void)snprintf(line, sizeof line, "%.10s %.12sZ  %c %-7s  %-16s  %-20s  %s",
                   time, time + 11, reply->concurrent ? '~' : ' ',
                   severity_text(e->severity), e->node, source, e->message);
    char *safe = table_escape(line);
    (void)table_put(stdout, safe != NULL ? safe : "", cli->width);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    free(safe);
}

static bool on_event(void *context, const argus_Reply *reply)
{
    struct events *events = context;
    const argus_EventReply *e = &reply->body.event;

    if (reply->which_body != argus_Reply_event_tag)
        return true;
    if (events->table != NULL)
        event_row(events->table, e, events->cli->width);
    else if (!events->cli->json)
        event_line(events->cli, e);
    else if (events->request.body.events.follow)
        json_print(event_json(e));
    else
        json_rows_add(&events->rows, event_json(e));
    return ferror(stdout) == 0;
}

static int ask_events(struct cli *cli, struct events *events)
{
    static const char *const titles[] = {"TIME",  "",        "SEVERITY", "NODE",
                                         "?FROM", "MESSAGE", NULL};
    bool follow = events->request.body.events.follow;
    argus_End end;

    events->table = cli->json || follow ? NULL : table_new(titles);
    int code = cli_ask(cli, &events->request, follow, on_event, events, &end);
    if (code == EXIT_DONE && cli->json && !follow) {
        json_rows_print(&events->rows, "events", &end.coverage);
        code = cli_coverage_code(&end);
    } else if (code == EXIT_DONE && events->table != NULL) {
        table_print(events->table, stdout, cli->width, cli->color);
        cli_print_coverage(cli, &end);
        code = cli_coverage_code(&end);
    }
    json_rows_free(&events->rows);
    table_free(events->table);
    return code;
}

static int run_events(struct cli *cli, int argc, char **argv)
{
    static struct events events;
    const struct cli_options options = {.own = events_options,
                                        .on_option = on_events_option,
                                        .context = &events};

    memset(&events, 0, sizeof events);
    events.cli = cli;
    events.request.which_body = argus_Request_events_tag;
    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < argc)
        return cli_fail(cli, EXIT_USAGE, "usage", "events takes no `%s`",
                        argv[at]);
    if (cli->watch_s > 0 && events.request.body.events.follow)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "--follow and --watch do not go together");
    return ask_events(cli, &events);
}

const struct verb verb_events = {
    .name = "events",
    .arguments = "[--since T] [--node N] [--severity S] [--follow] [--limit N]",
    .help =
        "Notifications of the whole mesh, in the order of their stamps.\n"
        "\"~\" marks one whose order against its neighbors cannot be told.\n"
        "\n"
        "  --since T     2026-01-31T12:00:00Z, or 90s, 10m, 2h, 1d ago\n"
        "  --node N      of that node\n"
        "  --severity S  OKAY, WARNING or FAILURE: this and worse\n"
        "  --follow      and then those to come, one a line\n"
        "  --limit N     the newest N\n",
    .run = run_events,
};

/* --------------------------------------------------------------- notify */

static const struct option notify_options[] = {
    {"severity", required_argument, NULL, OPTION_SEVERITY},
    {"type", required_argument, NULL, OPTION_TYPE},
    {0},
};

static bool on_notify_option(struct cli *cli, void *context, int option,
                             const char *value)
{
    argus_NotifyRequest *r = context;

    if (option == OPTION_SEVERITY)
        return take_severity(cli, value, &r->severity);
    return option == OPTION_TYPE &&
           take_text(cli, "--type", value, r->type, sizeof r->type);
}

static bool keep_notify(void *context, const argus_Reply *reply)
{
    if (reply->which_body == argus_Reply_notify_tag)
        memcpy(context, &reply->body.notify, sizeof reply->body.notify);
    return true;
}

static int run_notify(struct cli *cli, int argc, char **argv)
{
    argus_Request request = {.which_body = argus_Request_notify_tag};
    argus_NotifyRequest *r = &request.body.notify;
    const struct cli_options options = {
        .own = notify_options, .on_option = on_notify_option, .context = r};
    argus_NotifyReply reply = {0};

    r->severity = argus_Severity_SEVERITY_WARNING;
    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (cli->watch_s > 0)
        return cli_fail(cli, EXIT_USAGE, "usage", "notify cannot be watched");
    if (argc - at != 1 || argv[at][0] == '\0')
        return cli_fail(cli, EXIT_USAGE, "usage", "notify takes one MESSAGE");
    if (!take_text(cli, "MESSAGE", argv[at], r->message, sizeof r->message))
        return EXIT_USAGE;
    int code = cli_ask(cli, &request, false, keep_notify, &reply, NULL);
    if (code != EXIT_DONE)
        return code;
    if (cli->json)
        json_print(json_pack("{s:o, s:o}", "hlc", json_hlc(reply.hlc), "id",
                             json_text(reply.id)));
    else
        puts("The event is on the timeline.");
    return EXIT_DONE;
}

const struct verb verb_notify = {
    .name = "notify",
    .arguments = "[--severity S] [--type T] MESSAGE",
    .help = "Put an event of one's own on the timeline of the whole mesh.\n\n"
            "  --severity S  OKAY, WARNING (default) or FAILURE\n"
            "  --type T      a word of one's own, shown with the event\n",
    .run = run_notify,
};
