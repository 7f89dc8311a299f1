/* main.c - argusctl: which verb, how often, how it looks. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/repeat.h"
#include "cli/table.h"

static const struct verb *const verbs[] = {
    &verb_status,  &verb_members, &verb_offline,   &verb_publishers,
    &verb_peers,   &verb_route,   &verb_events,    &verb_notify,
    &verb_config,  &verb_keygen,  &verb_operators, &verb_keys,
    &verb_forget,  &verb_clock,   &verb_join,      &verb_leave,
    &verb_version, &verb_watch,   &verb_doctor,    &verb_debug,
};
#define VERBS_COUNT (sizeof verbs / sizeof verbs[0])

/* Verbs of the contract that this version does not have. */
static const char *const not_built[] = {
    "drain",
    "web",
};

static const char usage_head[] =
    "Usage: argusctl [-s SOCKET] [--json] [--watch[=SECONDS]] VERB "
    "[ARGUMENT...]\n"
    "\n"
    "Asks the argus plugin of the local collectd about its mesh.\n"
    "\n"
    "  -s, --socket SOCKET  where it listens; else $ARGUS_SOCKET, else\n"
    "                       " ARGUS_SOCKET_DEFAULT "\n"
    "      --json           one JSON object a call\n"
    "      --watch[=S]      ask again every S seconds (2)\n"
    "  -h, --help           this text, or that of a verb\n"
    "\n"
    "Verbs:\n";

static const char usage_tail[] =
    "\n"
    "Exit codes: 0 done; 1 it failed, or the answer is bad news; 2 usage;\n"
    "3 the answer covers only part of the nodes; 4 no daemon answers.\n";

static void print_usage(void)
{
    fputs(usage_head, stdout);
    for (size_t i = 0; i < VERBS_COUNT; i++)
        printf("  %s %s\n", verbs[i]->name, verbs[i]->arguments);
    fputs(usage_tail, stdout);
}

static void print_verb_help(const struct verb *verb)
{
    printf("Usage: argusctl %s %s\n\n%s", verb->name, verb->arguments,
           verb->help);
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERBS_COUNT; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static int refuse_verb(const struct cli *cli, const char *name)
{
    for (size_t i = 0; i < sizeof not_built / sizeof not_built[0]; i++)
        if (strcmp(not_built[i], name) == 0)
            return cli_fail(cli, EXIT_USAGE, "not-built",
                            "`%s` is not built yet", name);
    return cli_fail(cli, EXIT_USAGE, "usage",
                    "there is no verb `%s`; see argusctl --help", name);
}

static bool wants_color(void)
{
    const char *no_color = getenv("NO_COLOR"); /* see no-color.org */
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

/* Asked before the verb reads its options: the first answer is painted too. */
static bool asks_to_repeat(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--watch") == 0 ||
            strncmp(argv[i], "--watch=", 8) == 0)
            return true;
    return false;
}

static int run_verb(struct cli *cli, const struct verb *verb, int argc,
                    char **argv)
{
    bool repeats = verb != &verb_watch && /* it paints by itself */
                   (cli->watch_s > 0 || asks_to_repeat(argc, argv));
    int code = repeats ? repeat_verb(cli, verb, argc, argv)
                       : verb->run(cli, argc, argv);

    if (!repeats && cli->watch_s > 0 && code != EXIT_USAGE && !cli->help)
        code = repeat_verb(cli, verb, argc, argv); /* it was abbreviated */
    if (cli->help) {
        print_verb_help(verb);
        return EXIT_DONE;
    }
    return code;
}

int main(int argc, char **argv)
{
    struct cli cli = {.socket = getenv("ARGUS_SOCKET")};

    if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1)
        (void)setlocale(LC_CTYPE, "C.UTF-8");
    if (cli.socket == NULL || cli.socket[0] == '\0')
        cli.socket = ARGUS_SOCKET_DEFAULT;
    cli.width = table_terminal_width(stdout);
    cli.color = wants_color();

    int at = cli_parse(&cli, argc, argv, NULL);
    if (at < 0)
        return EXIT_USAGE;
    if (cli.help && at == argc) {
        print_usage();
        return EXIT_DONE;
    }
    if (at == argc)
        return cli_fail(&cli, EXIT_USAGE, "usage",
                        "a verb is missing; see argusctl --help");
    const struct verb *verb = find_verb(argv[at]);
    if (verb == NULL)
        return refuse_verb(&cli, argv[at]);
    if (cli.help) {
        print_verb_help(verb);
        return EXIT_DONE;
    }
    int code = run_verb(&cli, verb, argc - at, argv + at);
    return fflush(stdout) == 0 ? code : EXIT_BAD;
}
