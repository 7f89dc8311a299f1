#include "worker_log.h"

#include "collectd.h"

#include "plugin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <unistd.h>

#include "base/text.h"
#include "worker_guard.h"
#include "worker_ready.h"
#include "worker_up.h"

/* collectd's own texts, the same in 5.10 to 5.12. */
#define TEXT_INIT_FAILED "Initialization of plugin `"
#define TEXT_READ_FAILED "read-function of plugin `"
#define TEXT_FAILED "failed"
#define TEXT_WRITERS "Available write targets:"
#define TEXT_NO_WRITERS "[none]"
#define TEXT_LEAVING "Exiting normally."

/** collectd's own longest. */
#define LOG_LINE_MAX 1024

static struct {
    pthread_mutex_t lock;
    struct log_found found;
    char warning[512];
    uint64_t tokens_ms; /* when the bucket was filled last */
    uint32_t tokens;    /* lines that may be sent, in thousandths */
    uint32_t held;
    uint64_t second; /* that `lines` counts in */
    uint32_t lines, flood_seconds;
    bool asking, has_writers; /* for log_has_writers() */
    atomic_bool leaving;
    void (*ended)(void);
} logged = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .tokens = LOG_LINES_BURST * 1000,
};

/* -------------------------------------------------------------- reading */

static bool contains(const char *line, const char *word)
{
    return strcasestr(line, word) != NULL;
}

/* Plugins that cannot listen say so and are content: their init succeeds. So a
 * start beside a running version shows here alone. Not every "bind" is one:
 * there is a plugin of that name, and one that binds to LDAP servers. */
static bool tells_busy(const char *line)
{
    static const char *const calls[] = {"bind(", "bind (", "bind failed",
                                        "bind socket", "listening socket"};

    if (contains(line, "address already in use"))
        return true;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (contains(line, calls[i]) && contains(line, TEXT_FAILED))
            return true;
    return false;
}

static void keep_first(char *kept, size_t size, const char *line)
{
    if (kept[0] == '\0')
        text_clean(kept, size, line);
}

static void keep_more(char *kept, size_t size, const char *line)
{
    size_t used = strlen(kept);

    if (used + 4 >= size)
        return;
    (void)snprintf(kept + used, size - used, "%s%s", used > 0 ? "; " : "",
                   line);
    text_clean(kept, size, kept);
}

/* With the lock held. */
static void read_line(int severity, const char *line)
{
    struct log_found *found = &logged.found;

    if (strncmp(line, TEXT_READ_FAILED, strlen(TEXT_READ_FAILED)) == 0 &&
        strstr(line, TEXT_FAILED) != NULL) {
        found->failed_reads++;
        keep_first(found->read, sizeof found->read, line);
    }
    bool is_busy = tells_busy(line);
    if (is_busy)
        keep_first(found->busy, sizeof found->busy, line);
    if (severity == LOG_WARNING)
        keep_first(logged.warning, sizeof logged.warning, line);
    if (severity > LOG_ERR)
        return;
    found->errors++;
    if (strncmp(line, TEXT_INIT_FAILED, strlen(TEXT_INIT_FAILED)) == 0) {
        found->failed_inits++;
        keep_first(found->init, sizeof found->init, line);
        return;
    }
    found->is_busy |= is_busy;
    keep_more(found->error, sizeof found->error, line);
}

/* -------------------------------------------------------------- sending */

/* Said at every start and every end by collectd itself, and of no use to
 * whoever reads the daemon's log. */
static bool is_small_talk(int severity, const char *line)
{
    static const char *const starts[] = {
        "plugin_load: plugin \"",
        "Initialization complete, entering read-loop.",
        "collectd: Stopping ",
        TEXT_WRITERS,
        TEXT_LEAVING,
    };

    if (strstr(line, BARRIER_NAME) != NULL) /* it waits for the slowest read */
        return true;

    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (severity == LOG_INFO &&
            strncmp(line, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

struct message {
    int severity;
    const char *line;
};

static size_t put_line(uint8_t *out, size_t room, const void *what)
{
    const struct message *m = what;

    return pair_put_text(out, room, PAIR_LOG, (uint32_t)m->severity, m->line);
}

/* With the lock held. */
static bool take_token(void)
{
    uint64_t now = guard_now(), gone = now - logged.tokens_ms;
    uint64_t tokens = logged.tokens + gone * LOG_LINES_PER_S;

    logged.tokens_ms = now;
    logged.tokens = tokens < LOG_LINES_BURST * 1000 ? (uint32_t)tokens
                                                    : LOG_LINES_BURST * 1000;
    if (logged.tokens < 1000)
        return false;
    logged.tokens -= 1000;
    return true;
}

static size_t put_flood(uint8_t *out, size_t room, const void *what)
{
    char text[96];

    (void)what;
    (void)snprintf(text, sizeof text,
                   "it logs more than %d lines a second for %d seconds",
                   LOG_FLOOD_LINES, LOG_FLOOD_SECONDS);
    return pair_put_text(out, room, PAIR_FAILED, PAIR_PHASE_RUN, text);
}

/* With the lock held. The daemon ends what goes on without end. */
static void count_line(void)
{
    uint64_t second = guard_now() / 1000;

    if (second != logged.second) {
        bool is_flood =
            second == logged.second + 1 && logged.lines > LOG_FLOOD_LINES;
        logged.flood_seconds = is_flood ? logged.flood_seconds + 1 : 0;
        logged.second = second;
        logged.lines = 0;
        if (logged.flood_seconds == LOG_FLOOD_SECONDS)
            (void)up_add(UP_STATE, put_flood, NULL);
    }
    logged.lines++;
}

/* With the lock held, so that the number of those held back is said once. */
static void send_line(int severity, const char *line)
{
    char note[64];

    count_line();
    if (!take_token() ||
        !up_add(UP_LINE, put_line, &(struct message){severity, line})) {
        logged.held++;
        return;
    }
    if (logged.held == 0)
        return;
    (void)snprintf(note, sizeof note, "%u lines before this one held back",
                   logged.held);
    if (up_add(UP_LINE, put_line, &(struct message){LOG_WARNING, note}))
        logged.held = 0;
}

/* ------------------------------------------------------------ callbacks */

/* By one write, since it may be a child of two processes. */
static void say_here(int severity, const char *line)
{
    char text[LOG_LINE_MAX + 1];
    int size = snprintf(text, sizeof text, "%s\n", line);

    if (!is_small_talk(severity, line))
        (void)!write(STDERR_FILENO, text,
                     (size_t)size < sizeof text ? (size_t)size
                                                : sizeof text - 1);
}

static void on_log(int severity, const char *line, user_data_t *data)
{
    (void)data;
    if (guard_is_elsewhere()) {
        say_here(severity, line);
        return;
    }
    if (severity == LOG_INFO && strcmp(line, TEXT_LEAVING) == 0)
        logged.leaving = true;
    pthread_mutex_lock(&logged.lock);
    if (logged.asking && strncmp(line, TEXT_WRITERS, strlen(TEXT_WRITERS)) == 0)
        logged.has_writers = strstr(line, TEXT_NO_WRITERS) == NULL;
    read_line(severity, line);
    if (!is_small_talk(severity, line))
        send_line(severity > LOG_DEBUG ? LOG_DEBUG : severity, line);
    pthread_mutex_unlock(&logged.lock);
}

static void on_log_freed(void *data)
{
    (void)data;
    if (logged.ended != NULL)
        logged.ended();
}

int log_open(void (*ended)(void))
{
    logged.ended = ended;
    logged.tokens_ms = guard_now();
    return plugin_register_log(
        "argus_worker", on_log,
        &(user_data_t){.data = &logged, .free_func = on_log_freed});
}

void log_read(struct log_found *out)
{
    pthread_mutex_lock(&logged.lock);
    *out = logged.found;
    pthread_mutex_unlock(&logged.lock);
}

void log_first_warning(char *out, size_t size)
{
    pthread_mutex_lock(&logged.lock);
    text_copy(out, size, logged.warning);
    pthread_mutex_unlock(&logged.lock);
}

bool log_has_writers(void)
{
    pthread_mutex_lock(&logged.lock);
    logged.asking = true;
    logged.has_writers = false;
    pthread_mutex_unlock(&logged.lock);
    plugin_log_available_writers();
    pthread_mutex_lock(&logged.lock);
    logged.asking = false;
    bool has = logged.has_writers;
    pthread_mutex_unlock(&logged.lock);
    return has;
}

bool log_is_leaving(void)
{
    return logged.leaving;
}
