#include "worker_ready.h"

#include "collectd.h"

#include "configfile.h"
#include "plugin.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "worker_guard.h"
#include "worker_life.h"
#include "worker_log.h"
#include "worker_up.h"
#include "worker_values.h"
#include "worker_vet.h"

#define PASSES 2

/** How long the values of the last pass may take through the chains. */
#define SETTLE_MS 1000

static struct {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    unsigned threads; /* read threads, and barrier reads */
    unsigned inside;
    unsigned passed; /* passes that are over */
    bool done, has_writers;
    uint32_t timeout_ms;
    uint64_t gap_ms;
} ready = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .opened = PTHREAD_COND_INITIALIZER,
};

static void name_barrier(unsigned i, char *out, size_t size)
{
    (void)snprintf(out, size, BARRIER_NAME "%u", i);
}

/* -------------------------------------------------------------- verdict */

static size_t put_ready(uint8_t *out, size_t room, const void *what)
{
    return pair_put_ready(out, room, what);
}

/* What is between two failures of one start: the line that names the plugin,
 * and what it said itself. */
static void join(char *out, size_t size, const char *line, const char *reason)
{
    (void)snprintf(out, size, "%s%s%s", line,
                   line[0] != '\0' && reason[0] != '\0' ? " " : "", reason);
}

/* The daemon starts what found its port taken once more, when the version that
 * holds it is gone. Not every plugin names the reason. */
static void name_busy(char *text, size_t size, const char *busy)
{
    static const char reason[] = "Address already in use";

    if (busy[0] == '\0' || strstr(text, reason) != NULL)
        return;
    size_t used = strlen(text);
    (void)snprintf(text + used, size - used, "; %s%s%s",
                   strstr(text, busy) == NULL ? busy : "probably",
                   strstr(busy, reason) == NULL ? ": " : "",
                   strstr(busy, reason) == NULL ? reason : "");
}

static void judge_inits(void)
{
    struct log_found found;
    char text[PAIR_TEXT_SIZE];

    log_read(&found);
    if (found.failed_inits > 0)
        join(text, sizeof text, found.init, found.error);
    else
        text_copy(text, sizeof text, found.busy);
    name_busy(text, sizeof text, found.busy);
    if (found.failed_inits > 0 || found.is_busy)
        life_fail("%s", text);
}

/* Once, by whoever ended the last pass. */
static void tell_ready(bool is_late)
{
    struct log_found found;
    char name[64], text[PAIR_TEXT_SIZE];

    if (!is_late) /* what was read is in collectd's queue yet */
        (void)values_drain(SETTLE_MS);
    judge_inits();
    log_read(&found);
    join(text, sizeof text, found.read, found.error);
    (void)up_add(UP_STATE, put_ready,
                 &(struct pair_ready){
                     .failed_inits = found.failed_inits,
                     .failed_reads = found.failed_reads,
                     .errors = found.errors,
                     .is_late = is_late,
                     .has_reads = values_are_made(),
                     .has_writers = ready.has_writers,
                     .text = text,
                 });
    life_phase(PAIR_PHASE_RUN);
    for (unsigned i = 0; i < ready.threads; i++) {
        name_barrier(i, name, sizeof name);
        (void)plugin_unregister_read(name);
    }
}

/* --------------------------------------------------------------- passes */

/* With the lock held: all read threads are here. @return true: for the last
 * time. */
static bool end_pass(void)
{
    ready.passed++;
    ready.inside = 0;
    ready.done = ready.passed == PASSES;
    pthread_cond_broadcast(&ready.opened);
    if (!ready.done)
        life_read_by(ready.gap_ms + ready.timeout_ms);
    return ready.done;
}

static int on_barrier(user_data_t *data)
{
    bool is_last = false;

    (void)data;
    pthread_mutex_lock(&ready.lock);
    if (!ready.done) {
        unsigned pass = ready.passed;
        if (++ready.inside == ready.threads)
            is_last = end_pass();
        while (!ready.done && ready.passed == pass)
            pthread_cond_wait(&ready.opened, &ready.lock);
    }
    pthread_mutex_unlock(&ready.lock);
    if (is_last)
        tell_ready(false);
    return 0;
}

void ready_late(void)
{
    pthread_mutex_lock(&ready.lock);
    bool is_first = !ready.done;
    ready.done = true;
    pthread_cond_broadcast(&ready.opened);
    pthread_mutex_unlock(&ready.lock);
    if (is_first)
        tell_ready(true);
}

void ready_abandon(void)
{
    pthread_mutex_lock(&ready.lock);
    ready.done = true;
    pthread_cond_broadcast(&ready.opened);
    pthread_mutex_unlock(&ready.lock);
}

/* As collectd counts them (plugin_init_all). */
static unsigned read_threads(void)
{
    int number = atoi(global_option_get("ReadThreads"));

    return number > 0 && number <= VET_READ_THREADS_MAX ? (unsigned)number : 5;
}

void ready_begin(bool has_writers, uint32_t read_timeout_ms)
{
    const cdtime_t gap_max = TIME_T_TO_CDTIME_T(READY_GAP_MAX_S);
    cdtime_t gap = cf_get_default_interval();
    char name[64];

    judge_inits();
    ready.has_writers = has_writers;
    if (gap > gap_max)
        gap = gap_max;
    ready.gap_ms = CDTIME_T_TO_MS(gap);
    ready.timeout_ms = read_timeout_ms;
    ready.threads = read_threads();
    life_phase(PAIR_PHASE_READ);
    life_read_by(read_timeout_ms);
    for (unsigned i = 0; i < ready.threads; i++) {
        name_barrier(i, name, sizeof name);
        (void)plugin_register_complex_read("argus_worker", name, on_barrier,
                                           gap, NULL);
    }
}
