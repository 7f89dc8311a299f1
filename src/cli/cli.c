#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/table.h"

#define WATCH_DEFAULT_S 2.0
#define WATCH_MAX_S 86400.0

/* The daemon may quote the mesh. */
static void complain(const char *text)
{
    char *safe = table_escape(text);

    fprintf(stderr, "argusctl: %s\n", safe != NULL ? safe : "out of memory");
    free(safe);
}

int cli_fail(const struct cli *cli, int exit_code, const char *code,
             const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);

    if (cli->json)
        json_print(json_pack("{s:{s:s, s:o}}", "error", "code", code, "message",
                             json_text(text)));
    complain(text);
    return exit_code;
}

void cli_note(const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    complain(text);
}

/* ------------------------------------------------------------- options */

enum general_option { OPTION_JSON = 0x100, OPTION_WATCH };

static const struct option general[] = {
    {"socket", required_argument, NULL, 's'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"watch", optional_argument, NULL, OPTION_WATCH},
    {"help", no_argument, NULL, 'h'},
};
#define GENERAL_COUNT (sizeof general / sizeof general[0])
#define OWN_MAX 16

static bool watch_parse(struct cli *cli, const char *text)
{
    char *end = NULL;

    if (text == NULL) {
        cli->watch_s = WATCH_DEFAULT_S;
        return true;
    }
    cli->watch_s = strtod(text, &end);
    if (end != text && *end == '\0' && cli->watch_s >= 0.1 &&
        cli->watch_s <= WATCH_MAX_S)
        return true;
    (void)cli_fail(cli, EXIT_USAGE, "usage",
                   "--watch=%s: seconds from 0.1 to %g are allowed", text,
                   WATCH_MAX_S);
    return false;
}

static bool on_general(struct cli *cli, int option, const char *value)
{
    switch (option) {
    case 's': cli->socket = value; return true;
    case 'h': cli->help = true; return true;
    case OPTION_JSON: cli->json = true; return true;
    case OPTION_WATCH: return watch_parse(cli, value);
    }
    return false;
}

/* getopt's own texts name the program by path and know no JSON. */
static int complain_option(const struct cli *cli, int c, char **argv)
{
    const char *word = argv[optind > 0 ? optind - 1 : 0];

    if (c == ':')
        return cli_fail(cli, EXIT_USAGE, "usage", "option %s needs a value",
                        word);
    if (optopt > 0 && optopt < 0x100)
        return cli_fail(cli, EXIT_USAGE, "usage", "unknown option -%c", optopt);
    if (optopt != 0)
        return cli_fail(cli, EXIT_USAGE, "usage", "option %s takes no value",
                        word);
    return cli_fail(cli, EXIT_USAGE, "usage", "unknown option %s", word);
}

/* A complaint must come as JSON even when --json stands behind what is wrong.
 */
static void look_for_json(struct cli *cli, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            cli->json = true;
}

int cli_parse(struct cli *cli, int argc, char **argv,
              const struct cli_options *options)
{
    struct option all[GENERAL_COUNT + OWN_MAX + 1];
    size_t count = 0;
    char shorts[32];

    /* "+": a program's own words end the options before the verb. */
    (void)snprintf(
        shorts, sizeof shorts, "%s:hs:%s", options == NULL ? "+" : "",
        options != NULL && options->shorts != NULL ? options->shorts : "");

    memcpy(all, general, sizeof general);
    if (options != NULL && options->own != NULL)
        while (options->own[count].name != NULL && count < OWN_MAX) {
            all[GENERAL_COUNT + count] = options->own[count];
            count++;
        }
    memset(&all[GENERAL_COUNT + count], 0, sizeof all[0]);

    look_for_json(cli, argc, argv);
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        int c = getopt_long(argc, argv, shorts, all, NULL);
        if (c == -1)
            return optind;
        if (c == '?' || c == ':') {
            (void)complain_option(cli, c, argv);
            return -1;
        }
        bool is_own = c != 's' && c != 'h' && c < OPTION_JSON;
        if (is_own ? !options->on_option(cli, options->context, c, optarg)
                   : !on_general(cli, c, optarg))
            return -1;
    }
}

/* ------------------------------------------------------------- asking */

static int complain_about(const struct cli *cli, int status,
                          const struct argus_error *err)
{
    switch (status) {
    case ARGUS_ENOENT:
        return cli_fail(cli, EXIT_NO_DAEMON, "no-daemon", "%s", err->text);
    case ARGUS_EDENIED:
        return cli_fail(cli, EXIT_NO_DAEMON, "no-permission", "%s", err->text);
    case ARGUS_EINVAL:
    case ARGUS_EFULL:
        return cli_fail(cli, EXIT_USAGE, "usage", "%s", err->text);
    default: return cli_fail(cli, EXIT_NO_DAEMON, "no-answer", "%s", err->text);
    }
}

int cli_ask(const struct cli *cli, const argus_Request *request, bool follow,
            client_on_row on_row, void *context, argus_End *end)
{
    struct argus_error err = {{0}};
    argus_End own_end;

    if (end == NULL)
        end = &own_end;
    int rc =
        client_ask(cli->socket, request, follow, on_row, context, end, &err);
    if (rc != ARGUS_OK)
        return complain_about(cli, rc, &err);
    if (end->code[0] != '\0')
        return cli_fail(cli, EXIT_BAD, end->code, "%s", end->message);
    return EXIT_DONE;
}

int cli_connect(const struct cli *cli, struct client *c)
{
    struct argus_error err = {{0}};
    int rc = client_open(c, cli->socket, &err);

    return rc == ARGUS_OK ? EXIT_DONE : complain_about(cli, rc, &err);
}

int cli_open_plain(struct cli *cli, int argc, char **argv, const char *verb,
                   struct client *c)
{
    static const struct cli_options options;

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (argc != at)
        return cli_fail(cli, EXIT_USAGE, "usage", "%s takes no arguments",
                        verb);
    return cli_connect(cli, c);
}

int cli_next(const struct cli *cli, struct client *c,
             const argus_Request *request, client_on_row on_row, void *context,
             argus_End *end)
{
    struct argus_error err = {{0}};
    argus_End own_end;

    if (end == NULL)
        end = &own_end;
    int rc = client_next(c, request, on_row, context, end, &err);
    if (rc != ARGUS_OK)
        return complain_about(cli, rc, &err);
    if (end->code[0] != '\0')
        return cli_fail(cli, EXIT_BAD, end->code, "%s", end->message);
    return EXIT_DONE;
}

bool cli_ignore_row(void *context, const argus_Reply *row)
{
    (void)context;
    (void)row;
    return true;
}

bool cli_keep_row(void *context, const argus_Reply *row)
{
    memcpy(context, row, sizeof *row);
    return true;
}

bool cli_refuse_watch(const struct cli *cli, const char *verb)
{
    if (cli->watch_s <= 0)
        return false;
    (void)cli_fail(cli, EXIT_USAGE, "usage", "%s cannot be watched", verb);
    return true;
}

int cli_coverage_code(const argus_End *end)
{
    return end->has_coverage && end->coverage.contributed < end->coverage.known
               ? EXIT_PARTIAL
               : EXIT_DONE;
}

void cli_cell_time(struct table *t, uint64_t unix_us)
{
    char text[TIME_TEXT_SIZE];

    if (unix_us == 0) {
        table_cell(t, COLOR_PLAIN, "-");
        return;
    }
    time_text(unix_us, text);
    table_cell(t, COLOR_PLAIN, "%.10s %.8sZ", text, text + 11);
}

void cli_say(const struct cli *cli, const char *format, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    table_wrap(stdout, text, 0, cli->width);
}

/* Silence is all that is known of them. */
static void print_cut_off(const struct cli *cli, const argus_Coverage *c)
{
    char zones[1024] = "";
    size_t used = 0;

    if (c->cut_off == 0)
        return;
    for (pb_size_t i = 0; i < c->zones_count && used < sizeof zones; i++)
        used +=
            (size_t)snprintf(zones + used, sizeof zones - used, "%s%s",
                             i == 0 ? ", the whole of " : ", ", c->zones[i]);
    if (c->zones_more > 0 && used < sizeof zones)
        (void)snprintf(zones + used, sizeof zones - used, " and %u zones more",
                       c->zones_more);
    cli_say(cli, "%u nodes fell silent together%s: %s.", c->cut_off, zones,
            2 * c->cut_off >= c->known
                ? "it is this node, or its part of the mesh, that may be cut "
                  "off"
                : "dead, or cut off from here");
}

void cli_print_coverage(const struct cli *cli, const argus_End *end)
{
    if (cli_coverage_code(end) != EXIT_PARTIAL)
        return;
    cli_say(cli, "Only %u of %u nodes are in this answer.",
            end->coverage.contributed, end->coverage.known);
    print_cut_off(cli, &end->coverage);
    if (end->coverage.publishers_missing > 0)
        cli_say(cli,
                "%u publishers found no room in the records of their nodes: "
                "ask there.",
                end->coverage.publishers_missing);
}
