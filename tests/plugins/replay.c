/* replay.c - a source of values for the end-to-end tests: plays a recording of
 * stock plugins over many hosts at a steady rate, and keeps a ledger of exactly
 * what it dispatched.
 *
 *   <Plugin replay>
 *     Recording   "tests/e2e/recording.txt"
 *     HostPattern "a1-%"      # % becomes 0000, 0001, ...
 *     Hosts       40
 *     Rate        5000        # values a second
 *     Duration    30          # seconds; Rate * Duration values in all
 *     Ledger      "/tmp/x/sent"   # also LEDGER.names, and LEDGER.done at the
 * end StartFile   "/tmp/x/go"     # begins when this file is there; optional
 *   </Plugin>
 *
 * A line of a recording is one sample, in order of time, "-" for an empty name:
 *   type type_instance plugin plugin_instance interval value...
 * Round after round each series of each host gets its next sample, with the
 * time of its dispatch. When the samples of a series are used up they begin
 * anew; counters are lifted so that they go on growing. */
#include "record.h"

#include <pthread.h>
#include <stdatomic.h>

#define VALUES_MAX 16
#define BATCH 256 /* records of one write to the ledger */

struct sample {
    value_t values[VALUES_MAX];
};

struct series {
    value_list_t vl; /* names only */
    const data_set_t *ds;
    struct sample *samples;
    size_t samples_count;
};

static struct {
    char *recording, *pattern, *ledger, *start_file;
    double hosts, rate, duration;
} config = {.hosts = 1, .rate = 100, .duration = 10};

static struct series *series;
static size_t series_count;
static cdtime_t *last_time; /* by host and series */
static int ledger = -1;
static struct record batch[BATCH];
static size_t batch_count;
static pthread_t player;
static bool has_player;
static atomic_bool is_stopping;

/* ------------------------------------------------------------- recording */

static void set_name(char *to, const char *word)
{
    (void)snprintf(to, DATA_MAX_NAME_LEN, "%s",
                   strcmp(word, "-") == 0 ? "" : word);
}

static struct series *series_of(const value_list_t *names)
{
    for (size_t i = 0; i < series_count; i++) {
        const value_list_t *vl = &series[i].vl;
        if (strcmp(vl->type, names->type) == 0 &&
            strcmp(vl->type_instance, names->type_instance) == 0 &&
            strcmp(vl->plugin, names->plugin) == 0 &&
            strcmp(vl->plugin_instance, names->plugin_instance) == 0)
            return &series[i];
    }
    struct series *grown = realloc(series, (series_count + 1) * sizeof *series);
    if (grown == NULL)
        return NULL;
    series = grown;
    series[series_count] =
        (struct series){.vl = *names, .ds = plugin_get_ds(names->type)};
    return &series[series_count++];
}

static bool parse_values(const data_set_t *ds, char *rest, struct sample *out)
{
    for (size_t i = 0; i < ds->ds_num; i++) {
        char *word = strsep(&rest, " \n");
        char *end = NULL;
        if (word == NULL || *word == '\0')
            return false;
        if (ds->ds[i].type == DS_TYPE_GAUGE)
            out->values[i].gauge = strtod(word, &end);
        else
            out->values[i].derive = strtoll(word, &end, 10);
        if (*end != '\0')
            return false;
    }
    return true;
}

static bool load_line(char *line)
{
    value_list_t names = VALUE_LIST_INIT;
    char *to[] = {names.type, names.type_instance, names.plugin,
                  names.plugin_instance};
    struct sample sample;

    for (size_t i = 0; i < 4; i++) {
        char *word = strsep(&line, " \n");
        if (word == NULL || *word == '\0')
            return false;
        set_name(to[i], word);
    }
    (void)strsep(&line, " \n"); /* interval: the rate sets it anew */
    struct series *s = series_of(&names);
    if (s == NULL || s->ds == NULL || s->ds->ds_num > VALUES_MAX ||
        line == NULL || !parse_values(s->ds, line, &sample))
        return false;
    struct sample *grown =
        realloc(s->samples, (s->samples_count + 1) * sizeof sample);
    if (grown == NULL)
        return false;
    s->samples = grown;
    s->samples[s->samples_count++] = sample;
    return true;
}

static int load(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[1024];
    unsigned number = 0;
    int status = 0;

    if (file == NULL) {
        ERROR("replay: cannot open Recording \"%s\": %s", path,
              strerror(errno));
        return -1;
    }
    while (status == 0 && fgets(line, sizeof line, file) != NULL) {
        number++;
        if (line[0] != '#' && line[0] != '\n' && !load_line(line)) {
            ERROR("replay: %s:%u cannot be read", path, number);
            status = -1;
        }
    }
    fclose(file);
    return status;
}

/* ---------------------------------------------------------------- playing */

static void host_name(char *to, unsigned host)
{
    int before = (int)strcspn(config.pattern, "%");
    const char *after =
        config.pattern[before] != '\0' ? config.pattern + before + 1 : "";

    (void)snprintf(to, DATA_MAX_NAME_LEN, "%.*s%04u%s", before, config.pattern,
                   host, after);
}

/* Which series has which number in the ledgers. */
static void write_names(void)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s.names", config.ledger);
    FILE *file = fopen(path, "we");

    if (file == NULL)
        return;
    value_t value = {0};
    for (unsigned host = 0; host < (unsigned)config.hosts; host++) {
        for (size_t i = 0; i < series_count; i++) {
            value_list_t vl = series[i].vl;
            vl.values = &value;
            vl.values_len = 1;
            host_name(vl.host, host);
            fprintf(file, "%016" PRIx64 " %s/%s-%s/%s-%s\n",
                    record_of(&vl).series, vl.host, vl.plugin,
                    vl.plugin_instance, vl.type, vl.type_instance);
        }
    }
    fclose(file);
}

static void flush_batch(void)
{
    if (batch_count > 0 && records_append(ledger, batch, batch_count) != 0)
        ERROR("replay: cannot write to the ledger: %s", strerror(errno));
    batch_count = 0;
}

static void next_values(const struct series *s, uint64_t round, value_t *out)
{
    uint64_t loops = round / s->samples_count;
    const struct sample *sample = &s->samples[round % s->samples_count];
    const struct sample *first = &s->samples[0];
    const struct sample *last = &s->samples[s->samples_count - 1];

    for (size_t i = 0; i < s->ds->ds_num; i++) {
        out[i] = sample->values[i];
        if (s->ds->ds[i].type != DS_TYPE_GAUGE)
            out[i].derive += (derive_t)loops * (last->values[i].derive -
                                                first->values[i].derive + 1);
    }
}

/* Values are numbered through: by round, then series, then host. */
static void play(uint64_t number)
{
    unsigned hosts = (unsigned)config.hosts;
    uint64_t all = (uint64_t)series_count * hosts;
    uint64_t place = number % all;
    const struct series *s = &series[place / hosts];
    value_t values[VALUES_MAX];
    value_list_t vl = s->vl;

    next_values(s, number / all, values);
    vl.values = values;
    vl.values_len = s->ds->ds_num;
    host_name(vl.host, (unsigned)(place % hosts));
    vl.interval = DOUBLE_TO_CDTIME_T((double)all / config.rate);
    vl.time = cdtime();
    if (vl.time <= last_time[place])
        vl.time = last_time[place] + 1;
    last_time[place] = vl.time;
    if (plugin_dispatch_values(&vl) != 0)
        return;
    batch[batch_count++] = record_of(&vl);
    if (batch_count == BATCH)
        flush_batch();
}

static void nap(long ms)
{
    struct timespec time = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&time, NULL);
}

static void finish(uint64_t count)
{
    char path[PATH_MAX];

    flush_batch();
    (void)snprintf(path, sizeof path, "%s.done", config.ledger);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd >= 0)
        close(fd);
    INFO("replay: %" PRIu64 " values of %zu series on %u hosts dispatched",
         count, series_count, (unsigned)config.hosts);
}

static void *run_player(void *unused)
{
    (void)unused;
    while (!is_stopping && config.start_file != NULL &&
           access(config.start_file, F_OK) != 0)
        nap(20);

    uint64_t total = (uint64_t)(config.rate * config.duration), done = 0;
    cdtime_t begin = cdtime();
    while (!is_stopping && done < total) {
        double elapsed = CDTIME_T_TO_DOUBLE(cdtime() - begin);
        uint64_t due = (uint64_t)(elapsed * config.rate);
        while (done < total && done < due)
            play(done++);
        flush_batch();
        nap(2);
    }
    finish(done);
    return NULL;
}

/* ------------------------------------------------------------------- life */

static int on_config(oconfig_item_t *block)
{
    static const struct {
        const char *name;
        char **text;
        double *number;
    } known[] = {
        {"Recording", &config.recording, NULL},
        {"HostPattern", &config.pattern, NULL},
        {"Ledger", &config.ledger, NULL},
        {"StartFile", &config.start_file, NULL},
        {"Hosts", NULL, &config.hosts},
        {"Rate", NULL, &config.rate},
        {"Duration", NULL, &config.duration},
    };
    for (int i = 0; i < block->children_num; i++) {
        oconfig_item_t *item = &block->children[i];
        int status = -1;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
            if (strcasecmp(item->key, known[k].name) != 0)
                continue;
            status = known[k].text != NULL
                         ? cf_util_get_string(item, known[k].text)
                         : cf_util_get_double(item, known[k].number);
        }
        if (status != 0) {
            ERROR("replay: option \"%s\" is unknown or malformed", item->key);
            return -1;
        }
    }
    return 0;
}

static int prepare(void)
{
    if (config.recording == NULL || config.pattern == NULL ||
        config.ledger == NULL || config.hosts < 1 || config.rate <= 0) {
        ERROR("replay: Recording, HostPattern, Ledger, Hosts and Rate are "
              "needed");
        return -1;
    }
    if (load(config.recording) != 0 || series_count == 0)
        return -1;
    last_time = calloc(series_count * (size_t)config.hosts, sizeof *last_time);
    ledger = ledger_open(config.ledger);
    if (last_time == NULL || ledger < 0) {
        ERROR("replay: cannot open Ledger \"%s\": %s", config.ledger,
              strerror(errno));
        return -1;
    }
    write_names();
    return 0;
}

static int on_init(void)
{
    const char *threads = global_option_get("ReadThreads");

    if (threads != NULL && strcmp(threads, "-1") == 0)
        return 0; /* -T */
    if (prepare() != 0)
        return -1;
#ifdef PLUGIN_THREAD_CREATE_ATTR
    int rc = plugin_thread_create(&player, NULL, run_player, NULL, "replay");
#else
    int rc = plugin_thread_create(&player, run_player, NULL, "replay");
#endif
    has_player = rc == 0;
    return rc;
}

static int on_shutdown(void)
{
    is_stopping = true;
    if (has_player)
        pthread_join(player, NULL);
    has_player = false;
    if (ledger >= 0)
        close(ledger);
    ledger = -1;
    for (size_t i = 0; i < series_count; i++)
        free(series[i].samples);
    free(series);
    series = NULL;
    series_count = 0;
    free(last_time);
    last_time = NULL;
    free(config.recording);
    free(config.pattern);
    free(config.ledger);
    free(config.start_file);
    memset(&config, 0, sizeof config);
    return 0;
}

__attribute__((visibility("default"))) void module_register(void)
{
    plugin_register_complex_config("replay", on_config);
    plugin_register_init("replay", on_init);
    plugin_register_shutdown("replay", on_shutdown);
}
