/* scenario.c - files, names, blocks, the run. See scenario.h. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "sim/scenario_impl.h"

/* ------------------------------------------------------------- the file */

static int split(struct scenario *sc, char *text, uint32_t number,
                 struct argus_error *err)
{
    char *save = NULL, *comment = strchr(text, '#');
    struct line l = {.number = number};

    if (comment != NULL)
        *comment = '\0';
    for (char *w = strtok_r(text, " \t\r\n", &save); w != NULL;
         w = strtok_r(NULL, " \t\r\n", &save)) {
        if (l.words_count == SCENARIO_WORDS_MAX ||
            strlen(w) >= SCENARIO_WORD_SIZE)
            return argus_fail(
                err, ARGUS_EINVAL, "%s:%u: at most %d words of %d characters",
                sc->path, number, SCENARIO_WORDS_MAX, SCENARIO_WORD_SIZE - 1);
        text_copy(l.words[l.words_count++], SCENARIO_WORD_SIZE, w);
    }
    if (l.words_count == 0)
        return ARGUS_OK;
    if (sc->count == SCENARIO_LINES_MAX)
        return argus_fail(err, ARGUS_EINVAL, "%s: more than %d lines", sc->path,
                          SCENARIO_LINES_MAX);
    sc->lines[sc->count++] = l;
    return ARGUS_OK;
}

static bool begins_block(const struct line *l)
{
    return strcmp(l->words[0], "repeat") == 0 ||
           strcmp(l->words[0], "branch") == 0;
}

/* Each block's begin learns its end. */
static int match_ends(struct scenario *sc, struct argus_error *err)
{
    uint32_t open[SCENARIO_LINES_MAX], depth = 0;

    for (uint32_t i = 0; i < sc->count; i++) {
        struct line *l = &sc->lines[i];
        if (begins_block(l)) {
            open[depth++] = i;
        } else if (strcmp(l->words[0], "end") == 0) {
            if (depth == 0)
                return argus_fail(err, ARGUS_EINVAL, "%s:%u: nothing to end",
                                  sc->path, l->number);
            sc->lines[open[--depth]].end = i;
        }
    }
    if (depth > 0)
        return argus_fail(err, ARGUS_EINVAL, "%s:%u: it has no end", sc->path,
                          sc->lines[open[depth - 1]].number);
    return ARGUS_OK;
}

int scenario_read(const char *path, struct scenario **out,
                  struct argus_error *err)
{
    char text[4096];
    FILE *file = fopen(path, "re");
    int rc = ARGUS_OK;

    if (file == NULL)
        return argus_fail_errno(err, "cannot read %s", path);
    struct scenario *sc = calloc(1, sizeof *sc);
    if (sc != NULL)
        sc->lines = calloc(SCENARIO_LINES_MAX, sizeof *sc->lines);
    if (sc == NULL || sc->lines == NULL) {
        free(sc);
        fclose(file);
        return argus_fail(err, ARGUS_ENOMEM, "out of memory");
    }
    text_copy(sc->path, sizeof sc->path, path);
    for (uint32_t number = 1;
         rc == ARGUS_OK && fgets(text, sizeof text, file) != NULL; number++)
        rc = split(sc, text, number, err);
    fclose(file);
    if (rc == ARGUS_OK)
        rc = match_ends(sc, err);
    if (rc != ARGUS_OK) {
        scenario_free(sc);
        return rc;
    }
    *out = sc;
    return ARGUS_OK;
}

void scenario_free(struct scenario *sc)
{
    if (sc == NULL)
        return;
    free(sc->lines);
    free(sc);
}

/* --------------------------------------------------------------- telling */

void play_fail(struct play *p, const char *format, ...)
{
    va_list ap;

    if (p->is_broken)
        return;
    p->is_broken = true;
    printf("FAILED: %s:%u: ", p->scenario->path, p->now.number);
    va_start(ap, format);
    (void)vprintf(format, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

void play_say(const struct play *p, const char *format, ...)
{
    va_list ap;

    if (p->options->quiet)
        return;
    printf("[%9.3f s] ", p->sim == NULL ? 0 : (double)sim_now_ms(p->sim) / 1e3);
    va_start(ap, format);
    (void)vprintf(format, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

double play_wall_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void on_story(void *context, uint64_t now_us, uint32_t node,
                     const char *text)
{
    (void)context;
    if (node == UINT32_MAX)
        printf("[%13.6f] %s\n", (double)now_us / 1e6, text);
    else
        printf("[%13.6f] n%u: %s\n", (double)now_us / 1e6, node, text);
}

/* ----------------------------------------------------------------- words */

bool play_has_word(const struct play *p)
{
    return p->word < p->now.words_count;
}

const char *play_word(struct play *p)
{
    if (play_has_word(p))
        return p->now.words[p->word++];
    play_fail(p, "%s: a word is missing", p->now.words[0]);
    return "";
}

bool play_is_word(struct play *p, const char *word)
{
    if (!play_has_word(p) || strcmp(p->now.words[p->word], word) != 0)
        return false;
    p->word++;
    return true;
}

double play_number(struct play *p)
{
    const char *word = play_word(p);
    char *end;
    double d = strtod(word, &end);

    if (end == word || *end != '\0')
        play_fail(p, "\"%s\" is no number", word);
    return d;
}

uint32_t play_count(struct play *p)
{
    double d = play_number(p);

    if (d < 0 || d > UINT32_MAX || d != (double)(uint32_t)d) {
        play_fail(p, "%g is no count", d);
        return 0;
    }
    return (uint32_t)d;
}

int64_t play_us(struct play *p)
{
    static const struct {
        const char *unit;
        double us;
    } units[] = {
        {"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}};
    const char *word = play_word(p);
    char *end;
    double d = strtod(word, &end);

    if (end != word && *end == '\0' && play_is_word(p, "cycles"))
        return (int64_t)(d * 1e3 *
                         (p->sim != NULL ? sim_cycle_ms(p->sim) : 10000));
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (end != word && strcmp(end, units[i].unit) == 0)
            return (int64_t)(d * units[i].us);
    play_fail(p, "\"%s\" is no time (5ms, 2s, 3m, 1h, 200us, 50 cycles)", word);
    return 0;
}

uint32_t play_ms(struct play *p)
{
    int64_t us = play_us(p);

    if (us < 0 || us / 1000 > UINT32_MAX) {
        play_fail(p, "a time out of range");
        return 0;
    }
    return (uint32_t)(us / 1000);
}

uint32_t play_share(struct play *p, uint32_t whole)
{
    const char *word = play_word(p);
    char *end;
    double d = strtod(word, &end);

    if (end == word || d < 0) {
        play_fail(p, "\"%s\" is neither a count nor a share (17, 40%%)", word);
        return 0;
    }
    if (strcmp(end, "%") == 0)
        d = (double)whole * d / 100 + 0.5;
    else if (*end != '\0')
        play_fail(p, "\"%s\" is neither a count nor a share (17, 40%%)", word);
    return d > whole ? whole : (uint32_t)d;
}

/* ----------------------------------------------------------------- names */

static struct scenario_name *find_name(struct scenario_name *names,
                                       uint32_t count, const char *name,
                                       size_t size)
{
    for (uint32_t i = 0; i < count; i++)
        if (strlen(names[i].name) == size &&
            memcmp(names[i].name, name, size) == 0)
            return &names[i];
    return NULL;
}

static void set_name(struct play *p, const char *name, const char *value)
{
    struct scenario_name *n =
        find_name(p->names, p->names_count, name, strlen(name));

    if (n == NULL && p->names_count == SCENARIO_NAMES_MAX) {
        play_fail(p, "more than %d names", SCENARIO_NAMES_MAX);
        return;
    }
    if (n == NULL)
        n = &p->names[p->names_count++];
    text_copy(n->name, sizeof n->name, name);
    text_copy(n->value, sizeof n->value, value);
}

/* A word with its $NAMES put in. */
static void put_names(struct play *p, const char *word,
                      char out[SCENARIO_WORD_SIZE])
{
    char text[2 * SCENARIO_WORD_SIZE];
    size_t used = 0;

    while (*word != '\0' && used < SCENARIO_WORD_SIZE) {
        if (*word != '$') {
            text[used++] = *word++;
            continue;
        }
        size_t size = 0;
        word++;
        while (isupper((unsigned char)word[size]) || word[size] == '_' ||
               (size > 0 && isdigit((unsigned char)word[size])))
            size++;
        const struct scenario_name *n =
            find_name(p->names, p->names_count, word, size);
        if (n == NULL) {
            play_fail(p, "$%.*s is set nowhere (--set or `default`)", (int)size,
                      word);
            break;
        }
        size_t length = strlen(n->value);
        memcpy(text + used, n->value, length);
        used += length;
        word += size;
    }
    if (used >= SCENARIO_WORD_SIZE) {
        play_fail(p, "a word of more than %d characters",
                  SCENARIO_WORD_SIZE - 1);
        used = 0;
    }
    text[used] = '\0';
    text_copy(out, SCENARIO_WORD_SIZE, text);
}

/* ------------------------------------------------------------- statements */

static void play_lines(struct play *p, uint32_t from, uint32_t to);

static void make_mesh(struct play *p)
{
    p->mesh.seed = p->options->seed;
    p->sim = sim_new(&p->mesh);
    if (p->sim == NULL)
        play_fail(p, "no such mesh: out of memory, or a setting out of range");
    else if (p->options->trace)
        sim_trace(p->sim, on_story, NULL);
}

static void default_name(struct play *p)
{
    const char *name = play_word(p), *value = play_word(p);

    if (find_name(p->names, p->names_count, name, strlen(name)) == NULL)
        set_name(p, name, value);
}

/* $I counts the turns, from 1; in a repeat within one it counts those. */
static void repeat(struct play *p, uint32_t at)
{
    char turn[16];
    uint32_t times = play_count(p), end = p->scenario->lines[at].end;

    for (uint32_t i = 1; i <= times && !p->is_broken; i++) {
        (void)snprintf(turn, sizeof turn, "%u", i);
        set_name(p, "I", turn);
        play_lines(p, at + 1, end);
    }
}

/* One branch, in a process of its own: this one stays as it is. */
static void branch_out(struct play *p, uint32_t at, const char *name,
                       const char *value)
{
    int status;

    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        set_name(p, name, value);
        p->in_branch++;
        play_lines(p, at + 1, p->scenario->lines[at].end);
        fflush(stdout);
        _exit(p->is_broken ? 1 : 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child ||
        !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        if (child < 0 || !WIFEXITED(status))
            play_fail(p, "branch %s=%s died", name, value);
        p->is_broken = true;
    }
}

static void branch(struct play *p, uint32_t at)
{
    const struct line l = p->now;

    if (l.words_count < 3) {
        play_fail(p, "branch NAME VALUE...");
        return;
    }
    bool is_broken = p->is_broken;
    for (uint32_t i = 2; i < l.words_count; i++) {
        p->is_broken = false; /* all branches are played, whatever one does */
        branch_out(p, at, l.words[1], l.words[i]);
        is_broken = is_broken || p->is_broken;
    }
    p->is_broken = is_broken;
}

static void statement(struct play *p)
{
    const char *word = play_word(p);

    if (strcmp(word, "default") == 0) {
        default_name(p);
    } else if (play_setting(p, word)) {
        if (p->sim != NULL)
            play_fail(p,
                      "%s: what the mesh is like stands before what happens "
                      "to it",
                      word);
    } else {
        if (p->sim == NULL)
            make_mesh(p);
        if (p->sim != NULL && !play_verb(p, word))
            play_fail(p, "there is no word \"%s\"", word);
    }
    if (!p->is_broken && play_has_word(p))
        play_fail(p, "\"%s\" is a word too many", play_word(p));
    if (p->sim != NULL && sim_failure(p->sim) != NULL)
        play_fail(p, "invariant broken: %s", sim_failure(p->sim));
}

static void play_lines(struct play *p, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to && !p->is_broken; i++) {
        const struct line *l = &p->scenario->lines[i];

        p->now = *l;
        for (uint32_t k = 0; k < l->words_count; k++)
            put_names(p, l->words[k], p->now.words[k]);
        p->word = 0;
        if (p->is_broken)
            return;
        if (!begins_block(l)) {
            statement(p);
            continue;
        }
        p->word = 1;
        if (strcmp(l->words[0], "repeat") == 0)
            repeat(p, i);
        else
            branch(p, i);
        i = l->end;
    }
}

static void tell_replay(const struct play *p)
{
    printf("replay: argus-sim --seed %" PRIu64, p->options->seed);
    for (uint32_t i = 0; i < p->options->names_count; i++)
        printf(" --set %s=%s", p->options->names[i].name,
               p->options->names[i].value);
    printf(" %s\n", p->scenario->path);
    fflush(stdout);
}

bool scenario_run(const struct scenario *sc,
                  const struct scenario_options *options)
{
    struct play *p = calloc(1, sizeof *p);

    if (p == NULL) {
        printf("FAILED: out of memory\n");
        return false;
    }
    p->scenario = sc;
    p->options = options;
    p->mesh.nodes = 32;
    p->started_s = play_wall_s();
    prng_seed(&p->prng, options->seed ^ 0x5eed);
    for (uint32_t i = 0; i < options->names_count; i++)
        set_name(p, options->names[i].name, options->names[i].value);
    play_lines(p, 0, sc->count);
    bool ok = !p->is_broken;
    if (!ok)
        tell_replay(p);
    sim_free(p->sim);
    free(p);
    return ok;
}
