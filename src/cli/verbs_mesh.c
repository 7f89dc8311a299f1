/* verbs_mesh.c - the others: members, peers, route. */
#include <inttypes.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/node_id.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/table.h"

/* -------------------------------------------------------------- members */

struct members {
    const char *role, *state, *zone, *tag;
    regex_t name;
    bool has_name;
    struct json_rows rows;
    struct table *table; /* NULL: JSON */
};

enum { OPTION_ROLE = 1, OPTION_STATE, OPTION_ZONE, OPTION_TAG };

static const struct option members_options[] = {
    {"role", required_argument, NULL, OPTION_ROLE},
    {"state", required_argument, NULL, OPTION_STATE},
    {"zone", required_argument, NULL, OPTION_ZONE},
    {"tag", required_argument, NULL, OPTION_TAG},
    {0},
};

static bool is_one_of(const char *value, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(value, *words) == 0)
            return true;
    return false;
}

static bool on_members_option(struct cli *cli, void *context, int option,
                              const char *value)
{
    static const char *const roles[] = {"agent", "aggregator", NULL};
    static const char *const states[] = {"online", "suspect", "offline",
                                         "left",   "unknown", NULL};
    struct members *m = context;

    switch (option) {
    case OPTION_ROLE:
        m->role = value;
        if (is_one_of(value, roles))
            return true;
        (void)cli_fail(cli, EXIT_USAGE, "usage",
                       "--role %s: agent or aggregator", value);
        return false;
    case OPTION_STATE:
        m->state = value;
        if (is_one_of(value, states))
            return true;
        (void)cli_fail(cli, EXIT_USAGE, "usage",
                       "--state %s: online, suspect, offline or left", value);
        return false;
    case OPTION_ZONE: m->zone = value; return true;
    case OPTION_TAG:
        m->tag = value;
        if (strchr(value, '=') != NULL)
            return true;
        (void)cli_fail(cli, EXIT_USAGE, "usage", "--tag %s: KEY=VALUE", value);
        return false;
    }
    return false;
}

/* A zone holds what lies deeper in it: eu1 holds eu1/rack4, not eu10. */
static bool zone_holds(const char *outer, const char *zone)
{
    size_t length = strlen(outer);

    return strncmp(outer, zone, length) == 0 &&
           (zone[length] == '\0' || zone[length] == '/' || length == 0);
}

static bool has_tag(const argus_NodeRecord *record, const char *wanted)
{
    const char *equals = strchr(wanted, '=');
    size_t length = (size_t)(equals - wanted);

    for (pb_size_t i = 0; i < record->tags_count; i++)
        if (strncmp(record->tags[i].key, wanted, length) == 0 &&
            record->tags[i].key[length] == '\0' &&
            strcmp(record->tags[i].value, equals + 1) == 0)
            return true;
    return false;
}

static bool members_wants(const struct members *m, const argus_MemberReply *row)
{
    const argus_NodeRecord *record = &row->record;

    return (m->role == NULL || strcmp(m->role, role_text(record->role)) == 0) &&
           (m->state == NULL ||
            strcmp(m->state, member_state_text(row->state)) == 0) &&
           (m->zone == NULL || zone_holds(m->zone, record->zone)) &&
           (m->tag == NULL || has_tag(record, m->tag)) &&
           (!m->has_name || regexec(&m->name, record->name, 0, NULL, 0) == 0);
}

static json_t *member_json(const argus_MemberReply *row)
{
    const argus_NodeRecord *record = &row->record;
    json_t *tags = json_object();
    json_t *witnesses = json_array();
    json_t *bundles = json_object();

    for (pb_size_t i = 0; i < record->bundles_count; i++) {
        if (record->bundles[i].running == 0)
            continue;
        json_t *name = json_text(record->bundles[i].name);
        (void)json_object_set_new(bundles, json_string_value(name),
                                  json_integer(record->bundles[i].running));
        json_decref(name);
    }
    for (pb_size_t i = 0; i < record->tags_count; i++) {
        json_t *name = json_text(record->tags[i].key);
        (void)json_object_set_new(tags, json_string_value(name),
                                  json_text(record->tags[i].value));
        json_decref(name);
    }
    for (pb_size_t i = 0; i < row->witnesses_count; i++)
        (void)json_array_append_new(witnesses, json_text(row->witnesses[i]));
    return json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o,"
                     " s:o, s:I, s:b}",
                     "name", json_text(record->name), "id", json_id(row->id),
                     "address", json_text(record->address), "role",
                     role_text(record->role), "zone", json_text(record->zone),
                     "tags", tags, "state", member_state_text(row->state),
                     "since", json_time(row->since_us), "version",
                     json_text(record->software), "bundles", bundles,
                     "last_heard", json_time(row->last_heard_us), "witnesses",
                     witnesses, "generation", (json_int_t)record->generation,
                     "duplicate", (int)row->namesake);
}

static enum table_color member_color(argus_MemberState state)
{
    switch (state) {
    case argus_MemberState_MEMBER_ONLINE: return COLOR_GOOD;
    case argus_MemberState_MEMBER_SUSPECT: return COLOR_WARN;
    case argus_MemberState_MEMBER_OFFLINE: return COLOR_BAD;
    case argus_MemberState_MEMBER_UNKNOWN:
    case argus_MemberState_MEMBER_LEFT: return COLOR_FAINT;
    }
    return COLOR_PLAIN;
}

static void cell_tags(struct table *t, const argus_NodeRecord *record)
{
    char text[16 * (64 + 128 + 2)] = "";
    size_t used = 0;

    for (pb_size_t i = 0; i < record->tags_count && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s=%s",
                                 i > 0 ? " " : "", record->tags[i].key,
                                 record->tags[i].value);
    table_cell(t, COLOR_PLAIN, "%s", text);
}

static void cell_bundles(struct table *t, const argus_NodeRecord *record)
{
    char text[16 * (64 + 12)] = "";
    size_t used = 0;

    for (pb_size_t i = 0; i < record->bundles_count && used < sizeof text; i++)
        if (record->bundles[i].running != 0)
            used += (size_t)snprintf(
                text + used, sizeof text - used, "%s%s=%u", used > 0 ? " " : "",
                record->bundles[i].name, record->bundles[i].running);
    table_cell(t, COLOR_PLAIN, "%s", text);
}

static void member_row(struct table *t, const argus_MemberReply *row)
{
    table_cell(t, row->namesake ? COLOR_WARN : COLOR_PLAIN, "%s%s",
               row->record.name, row->namesake ? " (name twice)" : "");
    table_cell(t, member_color(row->state), "%s",
               member_state_text(row->state));
    table_cell(t, COLOR_PLAIN, "%s", role_text(row->record.role));
    table_cell(t, COLOR_PLAIN, "%s", row->record.zone);
    table_cell(t, COLOR_PLAIN, "%s", row->record.address);
    cli_cell_time(t, row->since_us);
    table_cell(t, COLOR_PLAIN, "%s", row->record.software);
    cell_bundles(t, &row->record);
    cell_tags(t, &row->record);
}

static bool on_member(void *context, const argus_Reply *reply)
{
    struct members *m = context;
    const argus_MemberReply *row = &reply->body.member;

    if (reply->which_body != argus_Reply_member_tag || !members_wants(m, row))
        return true;
    if (m->table == NULL)
        json_rows_add(&m->rows, member_json(row));
    else
        member_row(m->table, row);
    return true;
}

static int ask_members(struct cli *cli, struct members *m)
{
    static const char *const titles[] = {
        "NAME",   "STATE",    "?ROLE",    "?ZONE", "?ADDRESS",
        "?SINCE", "?VERSION", "?BUNDLES", "?TAGS", NULL};
    const argus_Request request = {.which_body = argus_Request_members_tag};
    argus_End end;

    m->table = cli->json ? NULL : table_new(titles);
    int code = cli_ask(cli, &request, false, on_member, m, &end);
    if (code == EXIT_DONE && m->table == NULL) {
        json_rows_print(&m->rows, "members", &end.coverage);
        code = cli_coverage_code(&end);
    } else if (code == EXIT_DONE) {
        table_sort(m->table, 1);
        table_print(m->table, stdout, cli->width, cli->color);
        cli_print_coverage(cli, &end);
        code = cli_coverage_code(&end);
    }
    json_rows_free(&m->rows);
    table_free(m->table);
    return code;
}

static int run_members(struct cli *cli, int argc, char **argv)
{
    struct members m = {0};
    const struct cli_options options = {
        .own = members_options, .on_option = on_members_option, .context = &m};
    char text[128];

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0)
        return EXIT_USAGE;
    if (cli->help)
        return EXIT_DONE;
    if (argc - at > 1)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "members takes one regular expression");
    if (at < argc) {
        int rc = regcomp(&m.name, argv[at], REG_EXTENDED | REG_NOSUB);
        if (rc != 0) {
            (void)regerror(rc, &m.name, text, sizeof text);
            return cli_fail(cli, EXIT_USAGE, "usage", "%s: %s", argv[at], text);
        }
        m.has_name = true;
    }
    int code = ask_members(cli, &m);
    if (m.has_name)
        regfree(&m.name);
    return code;
}

const struct verb verb_members = {
    .name = "members",
    .arguments = "[--role R] [--state S] [--zone Z] [--tag K=V] [NAME-REGEX]",
    .help = "Every node known and its state.\n\n"
            "  --role R     agent or aggregator\n"
            "  --state S    online, suspect, offline or left\n"
            "  --zone Z     in that zone and what lies within it\n"
            "  --tag K=V    with that tag\n"
            "  NAME-REGEX   POSIX extended, anywhere in the name\n",
    .run = run_members,
};

/* ---------------------------------------------------------------- peers */

struct peers {
    json_t *active, *passive;
    struct table *table;
};

static json_t *peer_json(const argus_PeerReply *p)
{
    if (!p->active)
        return json_pack("{s:o, s:o, s:o, s:o}", "name", json_text(p->name),
                         "id", json_id(p->id), "address", json_text(p->address),
                         "zone", json_text(p->zone));
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:b}", "name",
        json_text(p->name), "id", json_id(p->id), "address",
        json_text(p->address), "state", json_text(p->state), "eager",
        (int)p->eager, "rtt_s", json_number(p->rtt_s), "offset_s",
        json_number(p->offset_s), "queued_bytes", json_count(p->queued_bytes),
        "zone", json_text(p->zone), "near", (int)p->near);
}

static void cell_ms(struct table *t, double seconds)
{
    if (isfinite(seconds))
        table_cell(t, COLOR_PLAIN, "%.3f ms", seconds * 1e3);
    else
        table_cell(t, COLOR_PLAIN, "-");
}

static void peer_row(struct table *t, const argus_PeerReply *p)
{
    struct node_id id = node_id_of(p->id);
    char text[NODE_ID_TEXT_SIZE];

    node_id_format(&id, text);
    table_cell(t, COLOR_PLAIN, "%s", p->name[0] != '\0' ? p->name : text);
    table_cell(t, p->active ? COLOR_GOOD : COLOR_FAINT, "%s",
               p->active ? "active" : "passive");
    table_cell(t, COLOR_PLAIN, "%s", p->address);
    table_cell(t, COLOR_PLAIN, "%s", p->active ? p->state : "-");
    table_cell(t, COLOR_PLAIN, "%s",
               !p->active ? "-"
               : p->eager ? "eager"
                          : "lazy");
    cell_ms(t, p->active ? p->rtt_s : NAN);
    cell_ms(t, p->active ? p->offset_s : NAN);
    table_cell(t, COLOR_PLAIN, "%" PRIu64, p->queued_bytes);
}

static bool on_peer(void *context, const argus_Reply *reply)
{
    struct peers *peers = context;
    const argus_PeerReply *p = &reply->body.peer;

    if (reply->which_body != argus_Reply_peer_tag)
        return true;
    if (peers->table != NULL)
        peer_row(peers->table, p);
    else
        (void)json_array_append_new(p->active ? peers->active : peers->passive,
                                    peer_json(p));
    return true;
}

static int run_peers(struct cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"NAME",     "VIEW",     "?ADDRESS",
                                         "?STATE",   "?TREE",    "?>RTT",
                                         "?>OFFSET", "?>QUEUED", NULL};
    static const struct cli_options options;
    const argus_Request request = {.which_body = argus_Request_peers_tag};

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < argc)
        return cli_fail(cli, EXIT_USAGE, "usage", "peers takes no `%s`",
                        argv[at]);
    struct peers peers = {
        .active = cli->json ? json_array() : NULL,
        .passive = cli->json ? json_array() : NULL,
        .table = cli->json ? NULL : table_new(titles),
    };
    int code = cli_ask(cli, &request, false, on_peer, &peers, NULL);
    if (code != EXIT_DONE) {
        json_decref(peers.active);
        json_decref(peers.passive);
    } else if (cli->json) {
        json_print(json_pack("{s:o, s:o}", "active", peers.active, "passive",
                             peers.passive));
    } else {
        table_print(peers.table, stdout, cli->width, cli->color);
    }
    table_free(peers.table);
    return code;
}

const struct verb verb_peers = {
    .name = "peers",
    .arguments = "",
    .help = "Active and passive view, and how each link is.\n",
    .run = run_peers,
};

/* ---------------------------------------------------------------- route */

struct route {
    json_t *rows;
    struct table *table;
    char key[768];
};

static bool on_route(void *context, const argus_Reply *reply)
{
    struct route *route = context;
    const argus_RouteReply *r = &reply->body.route;

    if (reply->which_body != argus_Reply_route_tag)
        return true;
    (void)snprintf(route->key, sizeof route->key, "%s", r->key);
    if (route->rows != NULL) {
        (void)json_array_append_new(
            route->rows,
            json_pack("{s:o, s:o, s:o, s:o, s:b}", "name", json_text(r->name),
                      "zone", json_text(r->zone), "score",
                      json_number(r->score), "state", json_text(r->state),
                      "in_use", (int)r->in_use));
        return true;
    }
    table_cell(route->table, COLOR_PLAIN, "%zu", table_rows(route->table) + 1);
    table_cell(route->table, COLOR_PLAIN, "%s", r->name);
    table_cell(route->table, COLOR_PLAIN, "%s", r->zone);
    table_cell(route->table, COLOR_PLAIN, "%.4f", r->score);
    table_cell(route->table, COLOR_PLAIN, "%s", r->state);
    table_cell(route->table, COLOR_GOOD, "%s", r->in_use ? "in use" : "");
    return true;
}

static int ask_route(struct cli *cli, struct route *route,
                     const argus_Request *request)
{
    argus_End end;
    int code = cli_ask(cli, request, false, on_route, route, &end);

    if (code != EXIT_DONE) {
        json_decref(route->rows);
    } else if (cli->json) {
        json_print(json_pack("{s:o, s:o, s:o}", "key", json_text(route->key),
                             "aggregators", route->rows, "coverage",
                             json_coverage(&end.coverage)));
    } else if (table_rows(route->table) == 0) {
        puts("No aggregator is known.");
    } else {
        table_print(route->table, stdout, cli->width, cli->color);
    }
    table_free(route->table);
    return code;
}

static int run_route(struct cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {
        ">#", "AGGREGATOR", "?ZONE", "?>SCORE", "STATE", "", NULL};
    static const struct cli_options options;
    argus_Request request = {.which_body = argus_Request_route_tag};
    char *key = request.body.route.key;

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (argc - at > 1)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "route takes one HOST or IDENTIFIER");
    if (at < argc && strlen(argv[at]) >= sizeof request.body.route.key)
        return cli_fail(cli, EXIT_USAGE, "usage", "%s is too long", argv[at]);
    if (at < argc)
        (void)snprintf(key, sizeof request.body.route.key, "%s", argv[at]);
    struct route route = {.rows = cli->json ? json_array() : NULL,
                          .table = cli->json ? NULL : table_new(titles)};
    (void)snprintf(route.key, sizeof route.key, "%s", key);
    return ask_route(cli, &route, &request);
}

const struct verb verb_route = {
    .name = "route",
    .arguments = "[HOST|IDENTIFIER]",
    .help = "The aggregators for a host (default: this one), best first.\n"
            "Those of the nearest zone come first, then the higher score.\n",
    .run = run_route,
};
