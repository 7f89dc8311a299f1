/* sim_main.c - argus-sim: plays scenarios (scenario.h), one seed or many. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "sim/scenario.h"

#define JOBS_MAX 64
#define FILES_MAX 256

static const char usage_text[] =
    "usage: argus-sim [OPTION]... FILE...\n"
    "Plays scenarios of many nodes in virtual time; see tests/sim/scenarios.\n"
    "  --seed N        begin with this seed (default: a random one)\n"
    "  --seeds N       play so many, one after the other; 0: without end\n"
    "  --jobs N        so many at once (default 1)\n"
    "  --set NAME=TEXT for $NAME in the file\n"
    "  --out FOLDER    rows of figures are added to CSV files there\n"
    "  --trace         tell the whole story, a line each\n"
    "  --quiet         say nothing but what failed\n"
    "Exit code 0: all held; 1: one broke, and the line that replays it was "
    "printed.\n";

struct settings {
    struct scenario_options play;
    uint64_t seeds;
    uint32_t jobs;
    const char *files[FILES_MAX];
    uint32_t files_count;
};

static void usage(void)
{
    fputs(usage_text, stderr);
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 0);

    if (end == text || *end != '\0')
        usage();
    return n;
}

static void set_name(struct settings *o, const char *text)
{
    const char *is = strchr(text, '=');
    struct scenario_name *n = &o->play.names[o->play.names_count];

    if (is == NULL || is == text || (size_t)(is - text) >= sizeof n->name ||
        strlen(is + 1) >= sizeof n->value ||
        o->play.names_count == SCENARIO_NAMES_MAX)
        usage();
    memcpy(n->name, text, (size_t)(is - text));
    n->name[is - text] = '\0';
    text_copy(n->value, sizeof n->value, is + 1);
    o->play.names_count++;
}

/* @return words used. */
static int take_option(struct settings *o, const char *option,
                       const char *value)
{
    if (strcmp(option, "--trace") == 0) {
        o->play.trace = true;
        return 1;
    }
    if (strcmp(option, "--quiet") == 0) {
        o->play.quiet = true;
        return 1;
    }
    if (value == NULL)
        usage();
    if (strcmp(option, "--seed") == 0)
        o->play.seed = number(value);
    else if (strcmp(option, "--seeds") == 0)
        o->seeds = number(value);
    else if (strcmp(option, "--jobs") == 0)
        o->jobs = (uint32_t)number(value);
    else if (strcmp(option, "--set") == 0)
        set_name(o, value);
    else if (strcmp(option, "--out") == 0)
        o->play.out = value;
    else
        usage();
    return 2;
}

static void read_options(struct settings *o, int argc, char **argv)
{
    if (getentropy(&o->play.seed, sizeof o->play.seed) != 0)
        exit(2);
    o->play.seed %= 1000000000; /* one that can be told on the telephone */
    for (int i = 1; i < argc;) {
        if (strncmp(argv[i], "--", 2) == 0) {
            i += take_option(o, argv[i], argv[i + 1]);
            continue;
        }
        if (o->files_count == FILES_MAX)
            usage();
        o->files[o->files_count++] = argv[i++];
    }
    if (o->files_count == 0 || o->jobs == 0 || o->jobs > JOBS_MAX)
        usage();
}

/* Files are read before anything runs: a mistake shows at once. */
static void read_scenarios(const struct settings *o, struct scenario **out)
{
    struct argus_error err;

    for (uint32_t i = 0; i < o->files_count; i++) {
        if (scenario_read(o->files[i], &out[i], &err) != ARGUS_OK) {
            fprintf(stderr, "argus-sim: %s\n", err.text);
            exit(2);
        }
    }
}

static pid_t begin(const struct settings *o, const struct scenario *sc,
                   uint64_t seed)
{
    struct scenario_options play = o->play;

    fflush(stdout);
    pid_t child = fork();
    if (child != 0)
        return child;
    play.seed = seed;
    if (!play.quiet)
        printf("seed %" PRIu64 "\n", seed);
    bool ok = scenario_run(sc, &play);
    fflush(stdout);
    _exit(ok ? 0 : 1);
}

struct tally {
    uint32_t running;
    uint64_t held, broke;
};

/* @return false: nothing was running. */
static bool wait_one(struct tally *t)
{
    int status;

    if (t->running == 0)
        return false;
    while (wait(&status) < 0)
        if (errno != EINTR)
            return false;
    t->running--;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        t->held++;
    else
        t->broke++;
    if (WIFSIGNALED(status))
        printf("FAILED: signal %d, a seed above\n", WTERMSIG(status));
    return true;
}

/* Each run is a process of its own: one that crashes ends no other. */
static void play_seeds(const struct settings *o, const struct scenario *sc,
                       struct tally *t)
{
    for (uint64_t i = 0; (o->seeds == 0 || i < o->seeds); i++) {
        if (t->running == o->jobs)
            (void)wait_one(t);
        if (t->broke > 0 && o->seeds == 0)
            break; /* without end means: until one breaks */
        if (begin(o, sc, o->play.seed + i) < 0) {
            perror("argus-sim: fork");
            exit(2);
        }
        t->running++;
    }
    while (wait_one(t))
        continue;
}

/* Thousands of nodes lie all over the heap, so pages of 2 MiB save a walk of
 * the page table for most of what a frame touches (a seventh of the time). The
 * C library must know before it starts. Where it does not, nothing changes. */
static void take_large_pages(char **argv)
{
    if (getenv("GLIBC_TUNABLES") == NULL &&
        setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", 0) == 0)
        (void)execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    struct settings o = {.seeds = 1, .jobs = 1};
    struct scenario *scenarios[FILES_MAX];
    uint32_t failed = 0;

    take_large_pages(argv);
    read_options(&o, argc, argv);
    read_scenarios(&o, scenarios);
    for (uint32_t i = 0; i < o.files_count; i++) {
        struct tally t = {0};
        play_seeds(&o, scenarios[i], &t);
        printf("%s %s: %" PRIu64 " of %" PRIu64 " seeds from %" PRIu64
               " on held\n",
               t.broke == 0 ? "ok" : "not ok", o.files[i], t.held,
               t.held + t.broke, o.play.seed);
        failed += t.broke > 0;
        scenario_free(scenarios[i]);
    }
    printf("%u passed, %u failed\n", o.files_count - failed, failed);
    return failed == 0 ? 0 : 1;
}
