/* naughty.c - a plugin that does one bad thing, for tests of what runs it.
 *
 *   <Plugin naughty>
 *     Mode  "segfault-read"   # what, and where; see below. None: behaves
 *     After 5                 # seconds after init, for read and thread; the
 *                             # default is at once
 *   </Plugin>
 *
 * What: segfault, abort, exit, hang, fail (answers -1), sleep (After seconds,
 * once), silent (says nothing any more), error (one ERROR line, then goes on),
 * busy (the line of a port that is taken), fork, memory, stdout, log, close,
 * flood.
 * Where: config, init, read, shutdown, or thread (one of its own).
 *
 * Until then, and in all else, it is a healthy plugin with one series,
 * naughty/gauge. What could take the machine along (fork, memory) is done
 * under a resource limit only. */
#include "collectd.h"

#include "configfile.h"
#include "plugin.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NOISE_BYTES (UINT64_C(1) << 30)
#define NOISE_S 30 /* at least, on a machine that writes them in a moment */

enum place { PLACE_NONE, CONFIG, INIT, READ, SHUTDOWN, THREAD };

static const char *const places[] = {
    [CONFIG] = "config",     [INIT] = "init",     [READ] = "read",
    [SHUTDOWN] = "shutdown", [THREAD] = "thread",
};

struct deed {
    const char *name;
    int (*run)(void); /* what the callback answers, when it still can */
};

static const struct deed *deed;
static enum place where;
static unsigned after_s;
static struct timespec started;
static bool silent;

/* ---------------------------------------------------------------- deeds */

static int do_segfault(void)
{
    volatile int *nowhere = NULL;

    *nowhere = 1;
    return 0;
}

static int do_abort(void)
{
    abort();
}

static int do_exit(void)
{
    exit(7);
}

static int do_hang(void)
{
    volatile bool stuck = true;

    while (stuck)
        (void)pause();
    return 0;
}

static int do_fail(void)
{
    return -1;
}

static int do_sleep(void)
{
    static bool slept;

    if (!slept)
        (void)sleep(after_s);
    slept = true;
    return 0;
}

static int do_silent(void)
{
    silent = true;
    return 0;
}

static int do_error(void)
{
    ERROR("naughty: something is not as it should be");
    return 0;
}

static int do_busy(void)
{
    ERROR("naughty: bind (port 1) failed: %s", strerror(EADDRINUSE));
    return 0;
}

static bool is_limited(__rlimit_resource_t what)
{
    struct rlimit limit;

    return getrlimit(what, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

/* Children wait; without them being limited there would be no end to them. A
 * limit of processes does not hold root. */
static int do_fork(void)
{
    if (geteuid() == 0 || !is_limited(RLIMIT_NPROC)) {
        ERROR("naughty: forks as a limited user only");
        return -1;
    }
    for (;;) {
        if (fork() != 0)
            continue;
        (void)alarm(60);
        (void)pause();
        _exit(0);
    }
}

static int do_memory(void)
{
    const size_t step = 1 << 20;

    if (!is_limited(RLIMIT_AS) && !is_limited(RLIMIT_DATA)) {
        ERROR("naughty: eats memory under a limit only");
        return -1;
    }
    for (;;) {
        char *memory = malloc(step);
        if (memory == NULL)
            abort(); /* as programs do that cannot go on */
        memset(memory, 1, step);
    }
}

static bool makes_noise(time_t since, uint64_t said)
{
    return said < NOISE_BYTES || time(NULL) < since + NOISE_S;
}

static int do_stdout(void)
{
    static char line[4096];
    time_t since = time(NULL);

    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (uint64_t said = 0; makes_noise(since, said); said += sizeof line)
        if (write(STDOUT_FILENO, line, sizeof line) < 0)
            return -1;
    return 0;
}

static int do_log(void)
{
    static char line[900];
    time_t since = time(NULL);

    memset(line, 'x', sizeof line - 1);
    for (uint64_t said = 0; makes_noise(since, said); said += sizeof line)
        WARNING("naughty: %s", line);
    return 0;
}

static int do_close(void)
{
    for (int fd = 0; fd < 1024; fd++)
        (void)close(fd);
    return 0;
}

static int dispatch(unsigned number)
{
    value_t value = {.gauge = number};
    value_list_t vl = {
        .values = &value,
        .values_len = 1,
        .plugin = "naughty",
        .type = "gauge",
    };

    if (number % 1000 > 0)
        (void)snprintf(vl.type_instance, sizeof vl.type_instance, "%u",
                       number % 1000);
    return plugin_dispatch_values(&vl);
}

static int do_flood(void)
{
    unsigned number = 0;

    while (dispatch(number++) >= 0)
        ;
    return 0;
}

static const struct deed deeds[] = {
    {"segfault", do_segfault}, {"abort", do_abort},   {"exit", do_exit},
    {"hang", do_hang},         {"fail", do_fail},     {"sleep", do_sleep},
    {"silent", do_silent},     {"error", do_error},   {"busy", do_busy},
    {"fork", do_fork},         {"memory", do_memory}, {"stdout", do_stdout},
    {"log", do_log},           {"close", do_close},   {"flood", do_flood},
};

/* ----------------------------------------------------------------- when */

static bool is_time(void)
{
    struct timespec now;

    if (deed->run == do_sleep) /* it is how long, not when */
        return true;
    if (where != READ && where != THREAD)
        return true;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec - started.tv_sec >= (time_t)after_s;
}

static int act(enum place here)
{
    return deed != NULL && where == here && is_time() ? deed->run() : 0;
}

static void *run_thread(void *unused)
{
    while (!is_time())
        (void)usleep(10000);
    (void)deed->run();
    return unused;
}

/* ------------------------------------------------------------ callbacks */

static int on_read(void)
{
    int status = act(READ);

    if (status == 0 && !silent)
        (void)dispatch(0);
    return status;
}

static int on_init(void)
{
    pthread_t thread;

    (void)clock_gettime(CLOCK_MONOTONIC, &started);
    if (deed != NULL && where == THREAD &&
        pthread_create(&thread, NULL, run_thread, NULL) == 0)
        (void)pthread_detach(thread);
    return act(INIT);
}

static int on_shutdown(void)
{
    return act(SHUTDOWN);
}

static bool read_mode(const char *mode)
{
    const char *dash = strrchr(mode, '-');
    size_t length = dash != NULL ? (size_t)(dash - mode) : 0;

    for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++)
        if (strlen(deeds[i].name) == length &&
            strncmp(deeds[i].name, mode, length) == 0)
            deed = &deeds[i];
    for (enum place p = CONFIG; dash != NULL && p <= THREAD; p++)
        if (strcmp(places[p], dash + 1) == 0)
            where = p;
    return deed != NULL && where != PLACE_NONE;
}

static int on_config(oconfig_item_t *block)
{
    for (int i = 0; i < block->children_num; i++) {
        const oconfig_item_t *item = &block->children[i];
        if (item->values_num != 1)
            return -1;
        const oconfig_value_t *value = &item->values[0];
        if (strcasecmp(item->key, "After") == 0 &&
            value->type == OCONFIG_TYPE_NUMBER)
            after_s = (unsigned)value->value.number;
        else if (strcasecmp(item->key, "Mode") != 0 ||
                 value->type != OCONFIG_TYPE_STRING ||
                 !read_mode(value->value.string)) {
            ERROR("naughty: option \"%s\" is unknown or wrong", item->key);
            return -1;
        }
    }
    return act(CONFIG);
}

__attribute__((visibility("default"))) void module_register(void)
{
    (void)clock_gettime(CLOCK_MONOTONIC, &started);
    plugin_register_complex_config("naughty", on_config);
    plugin_register_init("naughty", on_init);
    plugin_register_read("naughty", on_read);
    plugin_register_shutdown("naughty", on_shutdown);
}
