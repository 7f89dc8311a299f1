/* verbs_doctor.c - is argus well on this machine, and if not, what to do. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/json.h"
#include "cli/table.h"

void doctor_find(struct doctor *d, const char *check, enum doctor_level level,
                 const char *format, ...)
{
    va_list ap;

    if (d->count == DOCTOR_FINDINGS_MAX) {
        d->dropped++;
        return;
    }
    struct doctor_finding *f = &d->findings[d->count++];
    f->check = check;
    f->level = level;
    f->mend[0] = '\0';
    va_start(ap, format);
    (void)vsnprintf(f->text, sizeof f->text, format, ap);
    va_end(ap);
}

void doctor_mend(struct doctor *d, const char *format, ...)
{
    va_list ap;

    if (d->count == 0 || d->dropped > 0)
        return;
    va_start(ap, format);
    (void)vsnprintf(d->findings[d->count - 1].mend, DOCTOR_TEXT_SIZE, format,
                    ap);
    va_end(ap);
}

void doctor_look(struct doctor *d, const char *file)
{
    doctor_meet_daemon(d);
    doctor_read_settings(d, file);
    doctor_check_daemon(d);
    doctor_check_settings(d);
    doctor_check_security(d);
    doctor_check_state_dir(d);
    doctor_check_ports(d);
    doctor_check_seeds(d);
    doctor_check_clock(d);
}

/* --------------------------------------------------------------- telling */

static const char *level_text(enum doctor_level level)
{
    return level == DOCTOR_OK ? "ok" : level == DOCTOR_WARN ? "warn" : "bad";
}

static unsigned count_of(const struct doctor *d, enum doctor_level level)
{
    unsigned count = 0;

    for (unsigned i = 0; i < d->count; i++)
        count += d->findings[i].level == level;
    return count;
}

static json_t *finding_json(const struct doctor_finding *f)
{
    return json_pack("{s:s, s:s, s:o, s:o}", "check", f->check, "level",
                     level_text(f->level), "text", json_text(f->text), "mend",
                     f->mend[0] != '\0' ? json_text(f->mend) : json_null());
}

static void tell_json(const struct doctor *d)
{
    json_t *rows = json_array();

    for (unsigned i = 0; i < d->count; i++)
        (void)json_array_append_new(rows, finding_json(&d->findings[i]));
    json_print(json_pack("{s:b, s:o, s:o}", "healthy",
                         (int)(count_of(d, DOCTOR_BAD) == 0), "config",
                         json_text(d->settings.file), "findings", rows));
}

/* The worst last, where people look first. */
static void tell(const struct doctor *d)
{
    static const enum table_color colors[] = {COLOR_GOOD, COLOR_WARN,
                                              COLOR_BAD};
    const struct cli *cli = d->cli;

    for (int level = DOCTOR_OK; level <= DOCTOR_BAD; level++)
        for (unsigned i = 0; i < d->count; i++) {
            const struct doctor_finding *f = &d->findings[i];
            char line[2 * DOCTOR_TEXT_SIZE];
            if ((int)f->level != level)
                continue;
            table_put_word(stdout, colors[level], cli->color,
                           level_text(f->level), 6);
            (void)snprintf(line, sizeof line, "%s: %s", f->check, f->text);
            table_wrap(stdout, line, 6, cli->width);
            if (f->mend[0] != '\0') {
                (void)snprintf(line, sizeof line, "-> %s", f->mend);
                fputs("      ", stdout);
                table_wrap(stdout, line, 9, cli->width);
            }
        }
    if (d->dropped > 0)
        printf("%u findings more are left out.\n", d->dropped);
    printf("%u ok, %u warn, %u bad\n", count_of(d, DOCTOR_OK),
           count_of(d, DOCTOR_WARN), count_of(d, DOCTOR_BAD));
}

/* ----------------------------------------------------------------- verb */

enum { OPTION_CONFIG = 1 };

static const struct option doctor_options[] = {
    {"config", required_argument, NULL, OPTION_CONFIG},
    {0},
};

static bool on_doctor_option(struct cli *cli, void *context, int option,
                             const char *value)
{
    (void)cli;
    if (option != OPTION_CONFIG)
        return false;
    *(const char **)context = value;
    return true;
}

static int run_doctor(struct cli *cli, int argc, char **argv)
{
    const char *file = NULL;
    const struct cli_options options = {
        .own = doctor_options, .on_option = on_doctor_option, .context = &file};

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < argc)
        return cli_fail(cli, EXIT_USAGE, "usage", "doctor takes no `%s`",
                        argv[at]);
    struct doctor *d = calloc(1, sizeof *d);
    if (d == NULL)
        return cli_fail(cli, EXIT_BAD, "failed", "out of memory");
    d->cli = cli;
    doctor_look(d, file);
    if (cli->json)
        tell_json(d);
    else
        tell(d);
    int code = count_of(d, DOCTOR_BAD) > 0 ? EXIT_BAD : EXIT_DONE;
    free(d);
    return code;
}

const struct verb verb_doctor = {
    .name = "doctor",
    .arguments = "[--config FILE]",
    .help = "Looks at what argus needs on this machine: configuration, key,\n"
            "permissions, StateDir, ports, seeds, clock, versions, and what\n"
            "the daemon says of itself; tells how to mend what is not well.\n"
            "Works without a daemon too. Changes nothing. Exit code 1 when\n"
            "something is bad.\n"
            "\n"
            "  --config FILE  collectd.conf; else that of the daemon, else\n"
            "                 /etc/collectd/collectd.conf\n",
    .run = run_doctor,
};
