#include "runtime/worker_conf.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/worker_spawn.h"

/** Values that may wait inside a worker; about 1 KiB each. */
#define QUEUE_HIGH 50000
#define QUEUE_LOW 25000

/** Seconds for each of the two read passes, unless StartTimeout is shorter. */
#define READ_TIMEOUT_MAX 10.0

/** Processes and threads that its user may have on top of those there are: a
 *  hundred daemons on one machine may start their workers at the same moment.
 */
#define PROCESSES 1024

struct text {
    char *at;
    size_t used, room;
    bool is_full;
};

static void put(struct text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    int length = vsnprintf(t->at + t->used, t->room - t->used, format, ap);
    va_end(ap);
    if (length < 0 || (size_t)length >= t->room - t->used)
        t->is_full = true;
    else
        t->used += (size_t)length;
}

/* One option with a text in quotes. No text here has a line feed: the
 * configuration that they come from refuses control characters. */
static void put_text(struct text *t, const char *key, const char *value)
{
    put(t, "%s \"", key);
    for (; *value != '\0'; value++)
        put(t, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    put(t, "\"\n");
}

bool worker_conf_may_double(const char *plugin)
{
    static const char *const many[] = {
        "aggregation",    "amqp",         "amqp1",         "csv",
        "exec",           "grpc",         "java",          "logfile",
        "log_logstash",   "lua",          "mqtt",          "network",
        "notify_desktop", "notify_email", "notify_nagios", "perl",
        "python",         "rrdcached",    "rrdtool",       "statsd",
        "syslog",         "table",        "tail",          "tail_csv",
        "threshold",      "unixsock",     "curl",          "curl_json",
        "curl_xml"};
    static const char *const kinds[] = {"write_", "match_", "target_"};

    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++)
        if (strcmp(plugin, many[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(plugin, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

static void put_loaded(struct text *t, const char *plugin_dir,
                       bool (*is_loaded)(void *context, const char *plugin),
                       void *context)
{
    DIR *list = is_loaded != NULL ? opendir(plugin_dir) : NULL;
    struct dirent *entry;
    char name[128];

    while (list != NULL && (entry = readdir(list)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (length <= 3 || length - 3 >= sizeof name ||
            strcmp(entry->d_name + length - 3, ".so") != 0)
            continue;
        memcpy(name, entry->d_name, length - 3);
        name[length - 3] = '\0';
        if (!worker_conf_may_double(name) && is_loaded(context, name))
            put_text(t, "  Loaded", name);
    }
    if (list != NULL)
        (void)closedir(list);
}

/* The folder that a file lies in. */
static void put_folder(struct text *t, const char *key, const char *path)
{
    char folder[1024];

    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL && slash != folder)
        *slash = '\0';
    put_text(t, key, folder);
}

static void put_block(struct text *t, const struct runtime_options *o,
                      const struct worker_user *user, const char *bundle,
                      const char *dir)
{
    char files[WORKER_PATH_SIZE + 16];

    put(t, "<Plugin argus_worker>\n  Socket %d\n  Bundle %d\n",
        WORKER_SOCKET_FD, WORKER_TEXT_FD);
    put_text(t, "  Name", bundle);
    if (user->is_other) {
        put_text(t, "  User", user->name);
        put(t, "  Processes %d\n", PROCESSES);
    }
    (void)snprintf(files, sizeof files, "%s/bundle", dir);
    put_text(t, "  Files", files);
    put_text(t, "  PluginDir", o->plugin_dir);
    put_folder(t, "  Share", o->types_db);
    for (uint32_t i = 0; i < o->allow_count; i++)
        put_text(t, "  Allow", o->allow[i]);
    for (uint32_t i = 0; i < o->deny_count; i++)
        put_text(t, "  Deny", o->deny[i]);
    double start_s = o->start_timeout_ms / 1000.0;
    put(t, "  StartTimeout %g\n  ReadTimeout %g\n", start_s,
        start_s < READ_TIMEOUT_MAX ? start_s : READ_TIMEOUT_MAX);
}

size_t worker_conf_write(const struct runtime_options *options,
                         const struct worker_user *user, const char *bundle,
                         const char *dir,
                         bool (*is_loaded)(void *context, const char *plugin),
                         void *context, char *out, size_t size)
{
    const struct runtime_options *o = options;
    struct text t = {out, 0, size, false};

    put_text(&t, "Hostname", o->hostname);
    put(&t, "FQDNLookup false\nInterval %.9g\nBaseDir \".\"\n", o->interval_s);
    put_text(&t, "TypesDB", o->types_db);
    put(&t,
        "WriteThreads 1\nReadThreads 5\nWriteQueueLimitHigh %d\n"
        "WriteQueueLimitLow %d\n",
        QUEUE_HIGH, QUEUE_LOW);
    put_text(&t, "PluginDir", o->plugin_dir);
    put(&t, "LoadPlugin argus_worker\n");
    put_block(&t, o, user, bundle, dir);
    put_loaded(&t, o->plugin_dir, is_loaded, context);
    put(&t, "</Plugin>\n");
    return t.is_full ? 0 : t.used;
}

bool worker_conf_has_plugin(const struct runtime_options *options)
{
    char path[1100];

    (void)snprintf(path, sizeof path, "%s/argus_worker.so",
                   options->plugin_dir);
    return access(path, R_OK) == 0;
}
