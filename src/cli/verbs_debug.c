/* verbs_debug.c - `argusctl debug bundle`: what support needs, in one tar.
 *
 * Everything passes through scrub.h, and what is known to hold secrets is not
 * looked at: no private key, no text of pushed configuration, no environment of
 * the daemon, no block of collectd.conf but argus' own. */
#include "argus_config.h" /* GNU extensions */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "cli/capture.h"
#include "cli/cli.h"
#include "cli/conf.h"
#include "cli/doctor.h"
#include "cli/json.h"
#include "cli/scrub.h"
#include "cli/tar.h"

#define FOLDER "argus-debug/"
#define LOG_TAIL_BYTES (4L << 20) /* read from the end of the log, */
#define LOG_KEPT_BYTES (1u << 20) /* of which at most so much is kept */
#define FILE_BYTES_MAX (256 * 1024)

/* What is being made. */
struct parcel {
    struct cli *cli;
    struct scrub scrub;
    struct doctor *doctor;
    FILE *out;
    time_t now;
    unsigned files, blots;
    bool has_failed;
};

static void add(struct parcel *p, const char *name, char *text, size_t size)
{
    char path[TAR_NAME_SIZE];

    if (text == NULL || p->has_failed)
        return;
    (void)snprintf(path, sizeof path, FOLDER "%s", name);
    p->blots += scrub_clean(&p->scrub, text, size);
    p->has_failed |= !tar_add(p->out, path, text, size, p->now);
    p->files++;
}

/* ------------------------------------------------------------- the verbs */

static const struct {
    const char *file;
    const struct verb *verb;
    const char *words;
} answers[] = {
    {"version.json", &verb_version, "version"},
    {"status.json", &verb_status, "status"},
    {"members.json", &verb_members, "members"},
    {"offline.json", &verb_offline, "offline"},
    {"publishers.json", &verb_publishers, "publishers"},
    {"peers.json", &verb_peers, "peers"},
    {"route.json", &verb_route, "route"},
    {"clock.json", &verb_clock, "clock"},
    {"events.json", &verb_events, "events --limit 2000"},
    {"config-list.json", &verb_config, "config list"},
    {"operators.json", &verb_operators, "operators list"},
    {"keys.json", &verb_keys, "keys list"},
};

static void add_answers(struct parcel *p)
{
    char doctor[] = "doctor", config[] = "--config";
    char *argv[] = {doctor, config, p->doctor->settings.file, NULL};

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct cli cli = *p->cli;
        cli.json = true;
        struct capture c =
            capture_words(&cli, answers[i].verb, answers[i].words, false);
        add(p, answers[i].file, c.text, c.size);
        free(c.text);
    }
    struct cli cli = *p->cli;
    cli.json = true;
    struct capture c = capture_run(&cli, &verb_doctor, 3, argv, false);
    add(p, "doctor.json", c.text, c.size);
    free(c.text);
}

/* ------------------------------------------------------ the configuration */

/* At the top of collectd.conf: what says how the daemon works. */
static const char *const top_options[] = {
    "Hostname",
    "FQDNLookup",
    "BaseDir",
    "PIDFile",
    "PluginDir",
    "TypesDB",
    "Interval",
    "MaxReadInterval",
    "Timeout",
    "ReadThreads",
    "WriteThreads",
    "WriteQueueLimitHigh",
    "WriteQueueLimitLow",
    "AutoLoadPlugin",
    "LoadPlugin",
    "CollectInternalStats",
    "PreCacheChain",
    "PostCacheChain",
};

static bool is_top_option(const char *key)
{
    for (size_t i = 0; i < sizeof top_options / sizeof top_options[0]; i++)
        if (strcasecmp(key, top_options[i]) == 0)
            return true;
    return false;
}

static bool is_about_secrets(const struct conf_option *o)
{
    static const char *const words[] = {"key",     "secret", "pass",
                                        "private", "token",  "psk"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(o->key, words[i]) != NULL)
            return true;
    return false;
}

/* What must not get out: the keys in every file that is named as one, and those
 * that somebody wrote in its place. */
static void on_secret(void *context, const struct conf_option *o)
{
    struct scrub *scrub = context;

    for (unsigned i = 0; i < o->count && is_about_secrets(o); i++)
        if (o->values[i][0] == '/') {
            scrub_learn(scrub, o->values[i]);
        } else {
            scrub_learn_line(scrub, o->values[i]);
            scrub_learn_word(scrub, o->values[i]);
        }
}

static void on_option(void *context, const struct conf_option *o)
{
    FILE *out = context;
    bool is_argus = strcasecmp(o->path, "Plugin argus") == 0 ||
                    strncasecmp(o->path, "Plugin argus/", 13) == 0;

    if (!is_argus && (o->path[0] != '\0' || !is_top_option(o->key)))
        return;
    fprintf(out, "%s:%u: %s%s%s", o->file, o->line, o->path,
            o->path[0] != '\0' ? ": " : "", o->key);
    for (unsigned i = 0; i < o->count; i++)
        fprintf(out, " \"%s\"",
                is_about_secrets(o) && o->values[i][0] != '/' ? "(left out)"
                                                              : o->values[i]);
    fputc('\n', out);
}

static void add_settings(struct parcel *p)
{
    struct argus_error err = {{0}};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return;
    if (conf_read(p->doctor->settings.file, on_option, out, &err) != ARGUS_OK)
        fprintf(out, "%s\n", err.text);
    (void)fclose(out);
    add(p, "collectd.conf.txt", text, size);
    free(text);
}

/* --------------------------------------------------------- files and proc */

static void copy_file(FILE *out, const char *path)
{
    char bytes[4096];
    size_t n, total = 0;
    FILE *f = fopen(path, "re");

    fprintf(out, "== %s\n", path);
    if (f == NULL) {
        fprintf(out, "%s\n", strerror(errno));
        return;
    }
    while (total < FILE_BYTES_MAX &&
           (n = fread(bytes, 1, sizeof bytes, f)) > 0) {
        (void)fwrite(bytes, 1, n, out);
        total += n;
    }
    (void)fclose(f);
}

static void add_system(struct parcel *p)
{
    static const char *const files[] = {"/etc/os-release", "/proc/uptime",
                                        "/proc/loadavg", "/proc/meminfo",
                                        "/proc/net/sockstat"};
    struct utsname name;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return;
    if (uname(&name) == 0)
        fprintf(out, "%s %s %s %s\n", name.sysname, name.release, name.version,
                name.machine);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        copy_file(out, files[i]);
    (void)fclose(out);
    add(p, "system.txt", text, size);
    free(text);
}

/* Its environment and its memory are left alone. */
static void add_process(struct parcel *p)
{
    static const char *const files[] = {"status", "limits", "smaps_rollup",
                                        "stat", "schedstat"};
    char path[64], *text = NULL;
    size_t size;
    FILE *out;

    if (p->doctor->pid == 0 || (out = open_memstream(&text, &size)) == NULL)
        return;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)snprintf(path, sizeof path, "/proc/%ld/%s", (long)p->doctor->pid,
                       files[i]);
        copy_file(out, path);
    }
    (void)fclose(out);
    add(p, "process.txt", text, size);
    free(text);
}

/* Names, sizes and modes; what is in the files stays there. */
static void add_state_dir(struct parcel *p)
{
    const char *path = p->doctor->settings.state_dir;
    char *text = NULL;
    size_t size;
    DIR *folder = opendir(path);
    FILE *out = open_memstream(&text, &size);

    if (out != NULL)
        fprintf(out, "%s%s%s\n", path, folder == NULL ? ": " : "",
                folder == NULL ? strerror(errno) : "");
    for (struct dirent *e;
         out != NULL && folder != NULL && (e = readdir(folder)) != NULL;) {
        struct stat st;
        if (fstatat(dirfd(folder), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            fprintf(out, "%06o %5ld %5ld %12lld %lld %s\n",
                    (unsigned)st.st_mode, (long)st.st_uid, (long)st.st_gid,
                    (long long)st.st_size, (long long)st.st_mtime, e->d_name);
    }
    if (folder != NULL)
        (void)closedir(folder);
    if (out != NULL)
        (void)fclose(out);
    add(p, "state-dir.txt", text, size);
    free(text);
}

/* The daemon's lines about argus, the newest of them. */
static void add_log(struct parcel *p)
{
    const char *path = p->doctor->settings.log_file;
    char line[4096], *text = NULL;
    size_t size;
    FILE *f = path[0] == '/' ? fopen(path, "re") : NULL;
    FILE *out = f != NULL ? open_memstream(&text, &size) : NULL;

    if (out == NULL) {
        if (f != NULL)
            (void)fclose(f);
        return;
    }
    if (fseek(f, -LOG_TAIL_BYTES, SEEK_END) != 0)
        rewind(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (strstr(line, "argus") != NULL)
            fputs(line, out);
    (void)fclose(out);
    (void)fclose(f);
    size_t skip = size > LOG_KEPT_BYTES ? size - LOG_KEPT_BYTES : 0;
    add(p, "log.txt", text + skip, size - skip);
    free(text);
}

static void add_readme(struct parcel *p)
{
    char text[1024], time[TIME_TEXT_SIZE];

    time_text((uint64_t)p->now * 1000000, time);
    int size = snprintf(
        text, sizeof text,
        "Made by argusctl %s on %s.\n\n"
        "*.json             what argusctl answers here\n"
        "collectd.conf.txt  options of argus, and those of the daemon\n"
        "log.txt            log lines about argus\n"
        "system.txt, process.txt, state-dir.txt\n\n"
        "No key, no text of pushed configuration and no other plugin's "
        "options\nare in it. What could have been a key is blotted out with "
        "X; %u places were.\n",
        ARGUS_VERSION, time, p->blots);
    add(p, "README", text, size > 0 ? (size_t)size : 0);
}

/* ----------------------------------------------------------------- verb */

static void fill(struct parcel *p)
{
    struct argus_error err = {{0}};

    /* What a broken file holds behind its mistake is not shown either. */
    (void)conf_read(p->doctor->settings.file, on_secret, &p->scrub, &err);
    add_answers(p);
    add_settings(p);
    add_system(p);
    add_process(p);
    add_state_dir(p);
    add_log(p);
    add_readme(p);
    p->has_failed |= !tar_finish(p->out) || fflush(p->out) != 0;
}

static int make_bundle(struct cli *cli, struct doctor *doctor, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct parcel p = {.cli = cli, .doctor = doctor, .now = time(NULL)};

    if (fd < 0)
        return cli_fail(cli, EXIT_BAD, errno == EEXIST ? "exists" : "failed",
                        "%s: %s", path, strerror(errno));
    p.out = fdopen(fd, "w");
    if (p.out == NULL) {
        (void)close(fd);
        return cli_fail(cli, EXIT_BAD, "failed", "out of memory");
    }
    fill(&p);
    scrub_close(&p.scrub);
    p.has_failed |= fclose(p.out) != 0;
    if (p.has_failed) {
        (void)unlink(path);
        return cli_fail(cli, EXIT_BAD, "failed", "cannot write %s", path);
    }
    if (!doctor->answers)
        cli_note("no daemon answers at %s: its part is missing", cli->socket);
    if (cli->json)
        json_print(json_pack("{s:o, s:i, s:i}", "file", json_text(path),
                             "files", (int)p.files, "blots", (int)p.blots));
    else
        printf("%s holds %u files. Look it over before you send it: names,\n"
               "addresses and events of the mesh are in it.\n",
               path, p.files);
    return EXIT_DONE;
}

enum { OPTION_CONFIG = 1 };

static const struct option debug_options[] = {
    {"config", required_argument, NULL, OPTION_CONFIG},
    {0},
};

static bool on_debug_option(struct cli *cli, void *context, int option,
                            const char *value)
{
    (void)cli;
    if (option != OPTION_CONFIG)
        return false;
    *(const char **)context = value;
    return true;
}

static int run_debug(struct cli *cli, int argc, char **argv)
{
    const char *file = NULL;
    const struct cli_options options = {
        .own = debug_options, .on_option = on_debug_option, .context = &file};

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (cli_refuse_watch(cli, "debug"))
        return EXIT_USAGE;
    if (argc - at != 2 || strcmp(argv[at], "bundle") != 0)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "debug bundle takes one FILE");
    struct doctor *doctor = calloc(1, sizeof *doctor);
    if (doctor == NULL)
        return cli_fail(cli, EXIT_BAD, "failed", "out of memory");
    doctor->cli = cli;
    doctor_meet_daemon(doctor);
    doctor_read_settings(doctor, file);
    int code = make_bundle(cli, doctor, argv[at + 1]);
    free(doctor);
    return code;
}

const struct verb verb_debug = {
    .name = "debug",
    .arguments = "bundle FILE [--config FILE]",
    .help = "Everything that support needs, in one tar (mode 600, never\n"
            "overwritten): what the verbs answer, what the doctor found,\n"
            "argus' options, its log lines, limits and memory of the daemon.\n"
            "No secrets: no key, no text of pushed configuration, no options\n"
            "of other plugins. Works without a daemon too.\n"
            "\n"
            "  --config FILE  as of doctor\n",
    .run = run_debug,
};
