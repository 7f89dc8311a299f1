/* verbs_offline.c - who is gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/table.h"

struct offline {
    struct json_rows rows;
    struct table *table; /* NULL: JSON */
};

static json_t *offline_json(const argus_OfflineReply *r)
{
    json_t *witnesses = json_array();

    for (pb_size_t i = 0; i < r->witnesses_count; i++)
        (void)json_array_append_new(witnesses, json_text(r->witnesses[i]));
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "name",
        json_text(r->name), "id", json_id(r->id), "address",
        json_text(r->address), "zone", json_text(r->zone), "state",
        member_state_text(r->state), "since", json_time(r->since_us),
        "last_seen", json_time(r->last_seen_us), "gone", json_time(r->gone_us),
        "witnesses", witnesses, "group",
        r->group[0] != '\0' ? json_text(r->group) : json_null(), "reason",
        json_text(r->reason), "unsure", (int)r->unsure);
}

static void cell_witnesses(struct table *t, const argus_OfflineReply *r)
{
    char text[4 * 130] = "";
    size_t used = 0;

    for (pb_size_t i = 0; i < r->witnesses_count && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s",
                                 i > 0 ? " " : "", r->witnesses[i]);
    table_cell(t, COLOR_PLAIN, "%s", text);
}

static void offline_row(struct table *t, const argus_OfflineReply *r)
{
    bool is_suspect = r->state == argus_MemberState_MEMBER_SUSPECT;

    table_cell(t, COLOR_PLAIN, "%s", r->name);
    table_cell(t, is_suspect ? COLOR_WARN : COLOR_BAD, "%s",
               member_state_text(r->state));
    cli_cell_time(t, r->since_us);
    cli_cell_time(t, r->last_seen_us);
    table_cell(t, COLOR_PLAIN, "%s", r->zone);
    table_cell(t, COLOR_PLAIN, "%s", r->group);
    cell_witnesses(t, r);
    table_cell(t, COLOR_PLAIN, "%s", r->reason);
}

static bool on_offline(void *context, const argus_Reply *reply)
{
    struct offline *o = context;
    const argus_OfflineReply *r = &reply->body.offline;

    if (reply->which_body != argus_Reply_offline_tag ||
        r->state == argus_MemberState_MEMBER_UNKNOWN) /* it is back already */
        return true;
    if (o->table == NULL)
        json_rows_add(&o->rows, offline_json(r));
    else
        offline_row(o->table, r);
    return true;
}

static int ask_offline(struct cli *cli, struct offline *o)
{
    const argus_Request request = {.which_body = argus_Request_offline_tag};
    argus_End end;

    int code = cli_ask(cli, &request, false, on_offline, o, &end);
    if (code != EXIT_DONE)
        return code;
    if (o->table == NULL) {
        json_rows_print(&o->rows, "offline", &end.coverage);
        return cli_coverage_code(&end);
    }
    table_sort(o->table, 1);
    if (table_rows(o->table) == 0)
        puts("Nobody is suspect or offline.");
    else
        table_print(o->table, stdout, cli->width, cli->color);
    cli_print_coverage(cli, &end);
    return cli_coverage_code(&end);
}

static int run_offline(struct cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"NAME",       "STATE",   "SINCE",
                                         "?LAST SEEN", "?ZONE",   "?WENT WITH",
                                         "?WITNESSES", "?REASON", NULL};
    static const struct cli_options options;

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < argc)
        return cli_fail(cli, EXIT_USAGE, "usage", "offline takes no `%s`",
                        argv[at]);
    struct offline o = {.table = cli->json ? NULL : table_new(titles)};
    int code = ask_offline(cli, &o);
    json_rows_free(&o.rows);
    table_free(o.table);
    return code;
}

const struct verb verb_offline = {
    .name = "offline",
    .arguments = "",
    .help =
        "Members that are suspect or offline: since when, when they were last\n"
        "seen, who says so and why, and the zone all of whose nodes went\n"
        "together with them. Those that left for good are not listed.\n"
        "\n"
        "Nodes that fell silent together may be cut off rather than dead. "
        "They\n"
        "lower the coverage (exit code 3), and are marked `unsure` with "
        "--json.\n",
    .run = run_offline,
};
