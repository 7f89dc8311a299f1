#include "worker_life.h"

#include "collectd.h"

#include "cmd.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "worker_guard.h"
#include "worker_log.h"
#include "worker_up.h"
#include "worker_values.h"

/** Until collectd's main thread is out of its loop it is woken so often. */
#define WAKE_EVERY_MS 5

/** How long the last words may take. */
#define LAST_WORDS_MS 1000

static struct {
    struct life_options options;
    pthread_t watch;
    pthread_mutex_t lock;
    enum pair_phase phase;
    _Atomic uint64_t deadline_ms; /* of the phase; 0: none */
    bool stop_asked;
    atomic_bool stopping; /* collectd is to leave its loop */
    atomic_bool orphaned;
} life = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --------------------------------------------------------------- phases */

static size_t put_phase(uint8_t *out, size_t room, const void *what)
{
    return pair_put_phase(out, room, *(const enum pair_phase *)what);
}

static uint64_t deadline_of(enum pair_phase phase)
{
    uint64_t now = guard_now();

    switch (phase) {
    case PAIR_PHASE_VET: return now + LIFE_VET_MS;
    case PAIR_PHASE_CONFIG: return now + life.options.start_ms;
    case PAIR_PHASE_INIT: return life.deadline_ms; /* one time for both */
    case PAIR_PHASE_STOP: return now + LIFE_STOP_MS;
    default: return 0;
    }
}

/* What was asked to stop does not go back to an earlier phase. */
void life_phase(enum pair_phase phase)
{
    pthread_mutex_lock(&life.lock);
    bool is_next = life.phase != PAIR_PHASE_STOP;
    if (is_next) {
        life.phase = phase;
        life.deadline_ms = deadline_of(phase);
        guard_phase(phase);
    }
    pthread_mutex_unlock(&life.lock);
    if (is_next)
        (void)up_add(UP_STATE, put_phase, &phase);
    up_wake();
}

enum pair_phase life_phase_now(void)
{
    pthread_mutex_lock(&life.lock);
    enum pair_phase phase = life.phase;
    pthread_mutex_unlock(&life.lock);
    return phase;
}

void life_read_by(uint64_t ms)
{
    pthread_mutex_lock(&life.lock);
    if (life.phase == PAIR_PHASE_READ)
        life.deadline_ms = guard_now() + ms;
    pthread_mutex_unlock(&life.lock);
    up_wake();
}

/* ----------------------------------------------------------------- ends */

struct verdict {
    enum pair_type type;
    enum pair_phase phase;
    const char *text;
};

static size_t put_verdict(uint8_t *out, size_t room, const void *what)
{
    const struct verdict *v = what;

    return pair_put_text(out, room, v->type, v->phase, v->text);
}

static size_t put_bye(uint8_t *out, size_t room, const void *what)
{
    (void)what;
    return pair_put_plain(out, room, PAIR_BYE);
}

/* Also in the thread that sends. */
static void send_last_words(void)
{
    uint64_t until = guard_now() + LAST_WORDS_MS;
    struct pollfd p = {.fd = life.options.socket, .events = POLLOUT};

    if (!pthread_equal(pthread_self(), life.watch)) {
        (void)up_flush(LAST_WORDS_MS);
        return;
    }
    while (up_send() && guard_now() < until)
        (void)poll(&p, 1, 100);
}

static _Noreturn void end_with(enum pair_type type, const char *text)
{
    struct verdict v = {type, life_phase_now(), text};

    (void)up_add(UP_STATE, put_verdict, &v);
    send_last_words();
    guard_end();
}

void life_refuse(const char *text)
{
    end_with(PAIR_REFUSED, text);
}

void life_fail(const char *format, ...)
{
    char text[PAIR_TEXT_SIZE];
    va_list ap;

    va_start(ap, format);
    text_format(text, sizeof text, format, ap);
    va_end(ap);
    end_with(PAIR_FAILED, text);
}

static void begin_stop(void)
{
    if (atomic_exchange(&life.stopping, true))
        return;
    stop_collectd();
    life.options.stopped();
    up_wake();
}

static void *run_drain(void *unused)
{
    (void)values_drain(LIFE_DRAIN_MS);
    values_close();
    begin_stop();
    return unused;
}

void life_stop(void)
{
    enum pair_phase before = life_phase_now();
    pthread_t thread;

    pthread_mutex_lock(&life.lock);
    bool is_first = !life.stop_asked;
    life.stop_asked = true;
    pthread_mutex_unlock(&life.lock);
    if (!is_first)
        return;
    life_phase(PAIR_PHASE_STOP);
    if (before < PAIR_PHASE_READ ||
        pthread_create(&thread, NULL, run_drain, NULL) != 0)
        begin_stop();
    else
        (void)pthread_detach(thread);
}

/* The daemon is gone, and so is the sense of all that is queued. */
static void orphan(void)
{
    life.orphaned = true;
    up_close();
    values_close();
    pthread_mutex_lock(&life.lock);
    life.phase = PAIR_PHASE_STOP;
    life.stop_asked = true;
    life.deadline_ms = guard_now() + LIFE_ORPHAN_MS;
    guard_phase(PAIR_PHASE_STOP);
    pthread_mutex_unlock(&life.lock);
    begin_stop();
}

void life_ended(void)
{
    if (!life.stopping) {
        guard_say_exit("collectd ended by itself");
        send_last_words();
    } else if (!life.orphaned) {
        (void)up_add(UP_STATE, put_bye, NULL);
        send_last_words();
    }
    guard_end();
}

/* ---------------------------------------------------------------- watch */

static void on_deadline(enum pair_phase phase)
{
    char plugin[128];

    switch (phase) {
    case PAIR_PHASE_VET:
        life_fail("vetting took more than %d s", LIFE_VET_MS / 1000);
    case PAIR_PHASE_CONFIG:
    case PAIR_PHASE_INIT:
        if (!guard_main_plugin(plugin, sizeof plugin))
            text_copy(plugin, sizeof plugin, "unknown");
        life_fail("plugin `%s' hangs: its %s did not end within %g s", plugin,
                  pair_phase_word(phase), life.options.start_ms / 1000.0);
    case PAIR_PHASE_READ: life.options.late(); break;
    case PAIR_PHASE_STOP: guard_end();
    default: break;
    }
}

static void check_forks(void)
{
    char plugin[64];

    if (guard_forks_wildly(plugin, sizeof plugin))
        life_fail("plugin `%s' forks without end: %d times in a second", plugin,
                  GUARD_FORKS_MAX);
}

static void check_times(void)
{
    uint64_t now = guard_now(), signaled = guard_signaled_ms();

    pthread_mutex_lock(&life.lock);
    enum pair_phase phase = life.phase;
    bool is_over = life.deadline_ms != 0 && now >= life.deadline_ms;
    if (is_over)
        life.deadline_ms = 0;
    pthread_mutex_unlock(&life.lock);
    if (is_over)
        on_deadline(phase);
    if (signaled != 0 && now - signaled >= LIFE_SIGNAL_MS)
        life_stop();
    if (life.stopping && !log_is_leaving())
        guard_wake_main();
}

/* Nothing is due: then this thread sleeps until something comes. */
static int next_time(void)
{
    uint64_t now = guard_now(), due = UINT64_MAX;
    uint64_t deadline = life.deadline_ms, signaled = guard_signaled_ms();

    if (life.stopping && !log_is_leaving())
        return WAKE_EVERY_MS;
    if (deadline != 0)
        due = deadline;
    if (signaled != 0 && life_phase_now() != PAIR_PHASE_STOP &&
        signaled + LIFE_SIGNAL_MS < due)
        due = signaled + LIFE_SIGNAL_MS;
    if (due == UINT64_MAX)
        return -1;
    return due > now ? (int)(due - now) : 0;
}

static void clear_event(int fd)
{
    const struct timespec little = {.tv_nsec = 1000000};
    uint64_t count;

    (void)!read(fd, &count, sizeof count);
    if (up_may_wait())
        (void)nanosleep(&little, NULL);
}

static void *run_watch(void *unused)
{
    struct pollfd polled[2] = {{.fd = life.options.socket},
                               {.fd = up_event(), .events = POLLIN}};

    for (;;) {
        polled[0].events = (short)(POLLRDHUP | (up_send() ? POLLOUT : 0));
        if (poll(polled, 2, next_time()) < 0 && errno != EINTR)
            guard_end();
        if (((polled[0].revents | polled[1].revents) & POLLNVAL) != 0)
            guard_end_closed();
        if (polled[1].revents & POLLIN)
            clear_event(polled[1].fd);
        if (polled[0].fd >= 0 &&
            (polled[0].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
            polled[0].fd = -1;
            orphan();
        }
        check_forks();
        check_times();
    }
    return unused;
}

/* ----------------------------------------------------------------- read */

/* What stands whole in the buffer. @return bytes taken. */
static size_t take_messages(const uint8_t *data, size_t size)
{
    struct pair_message m;
    size_t done = 0;
    int taken;

    while ((taken = pair_next(data + done, size - done, &m)) > 0) {
        done += (size_t)taken;
        enum pair_phase phase = life_phase_now();
        if (m.type == PAIR_STOP)
            life_stop();
        else if ((phase == PAIR_PHASE_READ || phase == PAIR_PHASE_RUN) &&
                 !values_take(&m))
            taken = -1;
        if (taken < 0)
            break;
    }
    if (taken < 0)
        life_fail("the daemon sent what is no message");
    return done;
}

static void *run_read(void *unused)
{
    static uint8_t buffer[PAIR_MESSAGE_MAX];
    struct pollfd p = {.fd = life.options.socket, .events = POLLIN};
    size_t size = 0;

    for (;;) {
        (void)poll(&p, 1, -1);
        ssize_t got =
            recv(p.fd, buffer + size, sizeof buffer - size, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            break; /* the other thread sees it, too */
        size += (size_t)got;
        size_t done = take_messages(buffer, size);
        memmove(buffer, buffer + done, size - done);
        size -= done;
    }
    return unused;
}

bool life_start(const struct life_options *options)
{
    pthread_t reader;

    life.options = *options;
    if (pthread_create(&life.watch, NULL, run_watch, NULL) != 0 ||
        pthread_create(&reader, NULL, run_read, NULL) != 0)
        return false;
    (void)pthread_setname_np(life.watch, "argus-watch");
    (void)pthread_setname_np(reader, "argus-read");
    (void)pthread_detach(reader);
    return true;
}
