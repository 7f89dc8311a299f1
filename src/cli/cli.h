/* cli.h - what the verbs of argusctl share: options, exit codes, complaints.
 *
 * Every verb asks one question of the daemon, prints a table for people or one
 * JSON object for programs, and returns an exit code. */
#ifndef ARGUS_CLI_CLI_H
#define ARGUS_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>

#include "argus.pb.h"
#include "cli/client.h"

/* The contract with scripts. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_BAD = 1, /* it failed, or the answer is bad news */
    EXIT_USAGE = 2,
    EXIT_PARTIAL = 3, /* lacks nodes that are not known to be offline */
    EXIT_NO_DAEMON = 4,
};

struct cli {
    const char *socket;
    bool json;
    double watch_s; /* 0: once */
    bool color;     /* standard output is a terminal that may have it */
    int width;      /* columns of it; 0: no limit */
    bool help;      /* -h was given */
};

struct verb {
    const char *name;
    const char *arguments; /* as the usage line shows them */
    const char *help;      /* ends with a newline */
    /** argv[0] is the verb. @return an exit code. */
    int (*run)(struct cli *cli, int argc, char **argv);
};

extern const struct verb verb_status, verb_version, verb_join, verb_leave;
extern const struct verb verb_members, verb_peers, verb_route;
extern const struct verb verb_offline, verb_publishers;
extern const struct verb verb_events, verb_notify;
extern const struct verb verb_config, verb_keygen;
extern const struct verb verb_forget, verb_operators, verb_keys, verb_clock;
extern const struct verb verb_watch, verb_doctor, verb_debug;

/** Complain in the mode of the call: a line on standard error, and with
 *  --json an error object on standard output too. @return exit_code. */
int cli_fail(const struct cli *cli, int exit_code, const char *code,
             const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Options of one verb besides the general ones. */
struct cli_options {
    const struct option *own; /* ends with a zero entry; NULL: none */
    const char *shorts;       /* of its own, as getopt(3) has them; NULL */
    /** @return false: the value is refused (the callee complained). */
    bool (*on_option)(struct cli *cli, void *context, int option,
                      const char *value);
    void *context;
};

/** Parse a verb's options; general ones may stand among them.
 *  @return index of the first operand, or -1: complained about. With
 *  cli->help set the caller returns EXIT_DONE at once. */
int cli_parse(struct cli *cli, int argc, char **argv,
              const struct cli_options *options);

/** Ask the daemon and hand each row to on_row; the End is checked.
 *  @param end  may be NULL. @return EXIT_DONE, or a code complained about. */
int cli_ask(const struct cli *cli, const argus_Request *request, bool follow,
            client_on_row on_row, void *context, argus_End *end);

/** The same over a connection of one's own; see client_next(). */
int cli_connect(const struct cli *cli, struct client *c);
int cli_next(const struct cli *cli, struct client *c,
             const argus_Request *request, client_on_row on_row, void *context,
             argus_End *end);

/** A row of no use, and one to be copied to an argus_Reply. */
bool cli_ignore_row(void *context, const argus_Reply *row);
bool cli_keep_row(void *context, const argus_Reply *row);

/** The beginning of a verb that takes no arguments and no options of its own.
 *  @return EXIT_DONE: connected, unless cli->help is set (then the caller
 *  returns at once); or a code complained about. */
int cli_open_plain(struct cli *cli, int argc, char **argv, const char *verb,
                   struct client *c);

/** A remark on standard error; the call goes on. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** @return true, complained about: --watch makes no sense with that verb. */
bool cli_refuse_watch(const struct cli *cli, const char *verb);

struct table;

/** A time in a table: to the second, since people compare hours; "-" for 0. */
void cli_cell_time(struct table *t, uint64_t unix_us);

/** EXIT_PARTIAL when the answer lacks nodes, else EXIT_DONE. */
int cli_coverage_code(const argus_End *end);

/** What is missing, under a table; nothing when the answer is whole. */
void cli_print_coverage(const struct cli *cli, const argus_End *end);

/** A sentence on standard output, as many lines of the terminal as it needs;
 *  what is no printable text is escaped. */
void cli_say(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
