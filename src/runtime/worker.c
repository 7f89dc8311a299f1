#include "argus_config.h" /* first: what glibc shows hangs on it */

#include "runtime/worker.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "runtime/runtime_impl.h" /* runtime_now_ms() */
#include "runtime/worker_launch.h"
#include "runtime/worker_spawn.h"

/** Entries of /proc, and of its folder, looked at in a turn. */
#define HUNT_STEP 48
#define REMOVE_STEP 256
#define STEP_MS 2

/** Output read in a turn; a line of it. */
#define OUTPUT_TURN 16384
#define LINE_SIZE 512

enum life {
    LIFE_RUNNING,
    LIFE_LAST_WORDS, /* it ends or must: what it says is still read */
    LIFE_DYING,      /* killed, or ended by itself */
    LIFE_HUNTING,    /* dead; what it started is looked for */
    LIFE_REMOVING,   /* ... and its folder removed */
    LIFE_ENDED,
};

/* What it may still send in this second. */
struct budget {
    uint64_t second;
    uint32_t bytes, messages, output;
};

struct worker {
    uv_loop_t *loop;
    struct worker_listener listener;
    char bundle[64];
    uint32_t number, start_timeout_ms;
    struct worker_dir dir;
    struct worker_process process;
    struct worker_links links;
    /* Their numbers stay taken until libuv has let go of its handles: closing
     * one drops the poll of whatever has that number by then. */
    int old_socket, old_output;
    uv_poll_t on_socket, on_output, on_death;
    uv_timer_t timer;
    unsigned handles;
    bool has_death; /* on_death is in use */

    enum life life;
    enum pair_phase phase;
    uint64_t deadline_ms;
    bool is_ready, is_stopping, said_bye, has_failed, is_owner_done;
    bool is_held, is_spent, is_output_spent; /* reading waits */
    struct budget budget;
    unsigned flood_seconds; /* one after the other, spent whole */

    uint8_t *in; /* PAIR_MESSAGE_MAX + WORKER_TURN_BYTES */
    size_t in_size;
    uint8_t *out;
    size_t out_size, out_room;
    bool is_drop_said;

    char line[LINE_SIZE]; /* of the output, not yet whole */
    size_t line_size;
    char word[LINE_SIZE]; /* what explains its end best so far */
    bool is_word_of_crash;
    char why[LINE_SIZE]; /* its text once it must go */
    bool is_refusal;
    struct log_limit log_limit, output_limit, flood_limit;
};

static struct worker_stats stats; /* of the loop thread */

static void consider(struct worker *w);
static void doom_format(struct worker *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void on_socket(uv_poll_t *handle, int status, int events);
static void on_output(uv_poll_t *handle, int status, int events);
static void on_timer(uv_timer_t *timer);

/* -------------------------------------------------------------- timers */

static uint64_t next_second_ms(const struct worker *w)
{
    return (w->budget.second + 1) * 1000;
}

/* One timer for all: the deadline of the phase, or the next second when
 * something waits for it. */
static void arm(struct worker *w)
{
    uint64_t now = runtime_now_ms(), at = w->deadline_ms;

    if ((w->is_spent || w->is_output_spent) && next_second_ms(w) < at)
        at = next_second_ms(w);
    if (at == UINT64_MAX) {
        (void)uv_timer_stop(&w->timer);
        return;
    }
    uv_update_time(w->loop);
    (void)uv_timer_start(&w->timer, on_timer, at > now ? at - now : 0, 0);
}

static void set_deadline(struct worker *w, uint64_t in_ms)
{
    w->deadline_ms = in_ms == UINT64_MAX ? in_ms : runtime_now_ms() + in_ms;
    arm(w);
}

/* What each phase may take. */
static void enter_phase(struct worker *w, enum pair_phase phase)
{
    bool same_budget =
        w->phase == PAIR_PHASE_CONFIG && phase == PAIR_PHASE_INIT;

    if (phase <= w->phase)
        return; /* it only goes on */
    w->phase = phase;
    if (w->is_stopping || same_budget)
        return;
    switch (phase) {
    case PAIR_PHASE_START: break;
    case PAIR_PHASE_VET: set_deadline(w, WORKER_VET_MS); break;
    case PAIR_PHASE_CONFIG:
    case PAIR_PHASE_INIT:
        /* The worker itself knows which plugin hangs, and says so first. */
        set_deadline(w, w->start_timeout_ms + WORKER_GRACE_MS);
        break;
    case PAIR_PHASE_READ: set_deadline(w, WORKER_READ_MS); break;
    case PAIR_PHASE_RUN:
    case PAIR_PHASE_STOP: set_deadline(w, UINT64_MAX); break;
    }
}

/* -------------------------------------------------------------- polling */

static void poll_socket(struct worker *w)
{
    int events = 0;

    if (w->links.socket < 0)
        return;
    if (!w->is_held && !w->is_spent)
        events |= UV_READABLE;
    if (w->out_size > 0)
        events |= UV_WRITABLE;
    if (events != 0)
        (void)uv_poll_start(&w->on_socket, events, on_socket);
    else
        (void)uv_poll_stop(&w->on_socket);
}

static void poll_output(struct worker *w)
{
    if (w->links.output < 0)
        return;
    if (w->is_output_spent)
        (void)uv_poll_stop(&w->on_output);
    else
        (void)uv_poll_start(&w->on_output, UV_READABLE, on_output);
}

/* A burst is over in a while; what is not is no use to anybody. While all of
 * them are held, nothing can be told. */
static void judge_second(struct worker *w, bool is_next)
{
    if (w->is_held)
        return;
    w->flood_seconds = is_next && (w->is_spent || w->is_output_spent)
                           ? w->flood_seconds + 1
                           : 0;
    if (w->flood_seconds < WORKER_FLOOD_SECONDS || w->life != LIFE_RUNNING)
        return;
    if (w->is_spent)
        doom_format(w,
                    "it floods this daemon: more than %u messages or %u MiB a "
                    "second for %u seconds",
                    WORKER_SECOND_MESSAGES, WORKER_SECOND_BYTES >> 20,
                    w->flood_seconds);
    else
        doom_format(w, "it prints more than %u KiB a second for %u seconds",
                    WORKER_SECOND_OUTPUT >> 10, w->flood_seconds);
}

static void renew_budget(struct worker *w)
{
    uint64_t second = runtime_now_ms() / 1000;

    if (second == w->budget.second)
        return;
    judge_second(w, second == w->budget.second + 1);
    w->budget = (struct budget){.second = second};
    if (w->is_spent || w->is_output_spent) {
        w->is_spent = w->is_output_spent = false;
        poll_socket(w);
        poll_output(w);
    }
}

static void spend(struct worker *w, size_t bytes, uint32_t messages)
{
    w->budget.bytes += (uint32_t)bytes;
    w->budget.messages += messages;
    if (w->is_spent || (w->budget.bytes < WORKER_SECOND_BYTES &&
                        w->budget.messages < WORKER_SECOND_MESSAGES))
        return;
    w->is_spent = true;
    stats.pauses++;
    log_limited(&w->flood_limit, runtime_now_ms(), LOG_LEVEL_WARNING,
                "bundle \"%s\" sends more than %u messages or %u MiB a second: "
                "it is held back",
                w->bundle, WORKER_SECOND_MESSAGES, WORKER_SECOND_BYTES >> 20);
    poll_socket(w);
    arm(w);
}

void worker_pause(struct worker *w, bool pause)
{
    if (w->is_held == pause)
        return;
    w->is_held = pause;
    poll_socket(w);
}

static void close_socket(struct worker *w)
{
    if (w->links.socket < 0)
        return;
    (void)uv_poll_stop(&w->on_socket);
    (void)shutdown(w->links.socket, SHUT_RDWR); /* what tells the worker */
    w->old_socket = w->links.socket;
    w->links.socket = -1;
}

static void close_output(struct worker *w)
{
    if (w->links.output < 0)
        return;
    (void)uv_poll_stop(&w->on_output);
    w->old_output = w->links.output;
    w->links.output = -1;
}

/* --------------------------------------------------------------- ending */

static const char *phase_word(const struct worker *w)
{
    return pair_phase_word(w->phase);
}

/* Only the first reason counts: what follows it is its consequence. */
static void doom(struct worker *w, bool refused, const char *text)
{
    if (w->why[0] == '\0') {
        text_clean(w->why, sizeof w->why, text[0] != '\0' ? text : "no reason");
        w->is_refusal = refused;
    }
    if (w->life == LIFE_RUNNING) {
        w->life = LIFE_LAST_WORDS;
        set_deadline(w, 0);
    }
}

static void doom_format(struct worker *w, const char *format, ...)
{
    char text[LINE_SIZE];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    doom(w, false, text);
}

/* It ended, or broke its connection, without a word: see what it printed. */
static void wait_for_words(struct worker *w)
{
    if (w->life != LIFE_RUNNING)
        return;
    w->life = LIFE_LAST_WORDS;
    set_deadline(w, WORKER_LAST_WORDS_MS);
}

/* It hangs: its handler prints which plugin, and then it must go. */
static void time_out(struct worker *w, const char *what)
{
    (void)snprintf(w->why, sizeof w->why, "%s", what);
    (void)kill(w->process.pid, SIGABRT);
    wait_for_words(w);
}

static void explain(struct worker *w)
{
    char text[LINE_SIZE];

    if (w->why[0] == '\0' && w->is_word_of_crash)
        doom(w, false, w->word);
    else if (w->why[0] == '\0' && w->word[0] != '\0')
        doom_format(w, "it ended by itself in %s: %.300s", phase_word(w),
                    w->word);
    else if (w->why[0] == '\0')
        doom_format(w,
                    "it was ended in %s without a word: killed, or out of "
                    "memory",
                    phase_word(w));
    else if (w->is_word_of_crash) {
        (void)snprintf(text, sizeof text, "%.200s: %.300s", w->why, w->word);
        memcpy(w->why, text, sizeof w->why);
    }
}

static void report(struct worker *w)
{
    if (w->has_failed || w->is_stopping)
        return;
    explain(w);
    w->has_failed = true;
    w->listener.failed(w->listener.context, w, w->is_refusal, w->why);
}

static void begin_dying(struct worker *w)
{
    report(w);
    close_socket(w);
    w->life = LIFE_DYING;
    worker_process_kill(&w->process);
    set_deadline(w, STEP_MS);
}

void worker_kill(struct worker *w)
{
    if (w->life >= LIFE_DYING)
        return;
    w->is_stopping = true; /* nothing of it is a failure any more */
    begin_dying(w);
}

static void end(struct worker *w)
{
    w->life = LIFE_ENDED;
    set_deadline(w, UINT64_MAX);
    close_output(w);
    w->listener.ended(w->listener.context, w);
}

static void step_life(struct worker *w)
{
    switch (w->life) {
    case LIFE_RUNNING:
    case LIFE_ENDED: return;
    case LIFE_LAST_WORDS: begin_dying(w); return;
    case LIFE_DYING:
        if (worker_process_is_dead(&w->process))
            w->life = LIFE_HUNTING;
        break;
    case LIFE_HUNTING:
        if (worker_process_hunt(&w->process, HUNT_STEP))
            w->life = LIFE_REMOVING;
        break;
    case LIFE_REMOVING:
        if (worker_dir_remove(&w->dir, REMOVE_STEP)) {
            end(w);
            return;
        }
    }
    set_deadline(w, STEP_MS);
}

/* Its deadline has passed. */
static void on_late(struct worker *w)
{
    char text[LINE_SIZE];

    if (w->life != LIFE_RUNNING) {
        step_life(w);
        return;
    }
    if (w->is_stopping) {
        log_write(LOG_LEVEL_WARNING,
                  "bundle \"%s\": its worker does not stop; it is killed",
                  w->bundle);
        begin_dying(w);
        return;
    }
    (void)snprintf(text, sizeof text, "no end of %s in time", phase_word(w));
    time_out(w, text);
}

static void on_timer(uv_timer_t *timer)
{
    struct worker *w = timer->data;

    renew_budget(w);
    if (w->deadline_ms <= runtime_now_ms())
        on_late(w);
    else
        arm(w);
}

/* The process may be there although its socket is not, and the other way
 * round. */
static void consider(struct worker *w)
{
    if (w->life == LIFE_RUNNING && w->is_stopping && w->links.socket < 0) {
        w->life = LIFE_DYING; /* as it was told */
        set_deadline(w, 0);
    } else if (w->life == LIFE_RUNNING && w->links.socket < 0) {
        wait_for_words(w);
    } else if (w->life == LIFE_LAST_WORDS && w->links.output < 0) {
        set_deadline(w, 0);
    }
}

static void on_death(uv_poll_t *handle, int status, int events)
{
    struct worker *w = handle->data;

    (void)status;
    (void)events;
    (void)uv_poll_stop(&w->on_death);
    if (w->life == LIFE_RUNNING && w->links.socket < 0)
        consider(w);
    else if (w->life == LIFE_RUNNING)
        /* What it sent before is still in the socket. Whatever holds the other
         * end of that open is of its making and goes with it. */
        set_deadline(w, WORKER_LAST_WORDS_MS);
    else
        set_deadline(w, 0);
}

/* -------------------------------------------------------- what it prints */

/* Behind the prefix that all such lines share. */
#define WORD_PREFIX_SIZE (sizeof "argus_worker: " - 1)

static bool is_crash_line(const char *line)
{
    return strncmp(line, PAIR_CRASH_PREFIX, sizeof PAIR_CRASH_PREFIX - 1) ==
               0 ||
           strncmp(line, PAIR_EXIT_PREFIX, sizeof PAIR_EXIT_PREFIX - 1) == 0;
}

static void take_line(struct worker *w)
{
    char text[LINE_SIZE];

    w->line[w->line_size] = '\0';
    w->line_size = 0;
    text_clean(text, sizeof text, w->line);
    if (text[0] == '\0')
        return;
    if (is_crash_line(text) && !w->is_word_of_crash) {
        text_copy(w->word, sizeof w->word, text + WORD_PREFIX_SIZE);
        w->is_word_of_crash = true;
    } else if (!w->is_word_of_crash) {
        text_copy(w->word, sizeof w->word, text);
    }
    log_limited(&w->output_limit, runtime_now_ms(), LOG_LEVEL_INFO,
                "bundle \"%s\" prints: %s", w->bundle, text);
}

static void take_output(struct worker *w, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n')
            take_line(w);
        else if (w->line_size + 1 < sizeof w->line)
            w->line[w->line_size++] = data[i];
    }
}

static void on_output(uv_poll_t *handle, int status, int events)
{
    struct worker *w = handle->data;
    char data[OUTPUT_TURN];

    (void)status;
    (void)events;
    renew_budget(w);
    ssize_t size = read(w->links.output, data, sizeof data);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        if (w->line_size > 0)
            take_line(w);
        close_output(w);
        consider(w);
        return;
    }
    stats.output_bytes += (uint64_t)size;
    take_output(w, data, (size_t)size);
    w->budget.output += (uint32_t)size;
    if (w->budget.output >= WORKER_SECOND_OUTPUT) {
        w->is_output_spent = true;
        stats.pauses++;
        log_limited(&w->flood_limit, runtime_now_ms(), LOG_LEVEL_WARNING,
                    "bundle \"%s\" prints more than %u KiB a second: it is "
                    "held back",
                    w->bundle, WORKER_SECOND_OUTPUT >> 10);
        poll_output(w);
        arm(w);
    }
}

/* --------------------------------------------------------- what it sends */

static void take_hello(struct worker *w, const struct pair_message *m)
{
    struct pair_hello hello;

    if (!pair_read_hello(m, &hello))
        doom(w, false, "it does not speak argus' protocol");
    else if (hello.protocol != PAIR_PROTOCOL ||
             strcmp(hello.version, ARGUS_VERSION) != 0)
        doom_format(w,
                    "argus_worker.so is of version %.40s, this daemon's argus "
                    "of %s: install one version and restart collectd",
                    hello.version, ARGUS_VERSION);
    else
        enter_phase(w, PAIR_PHASE_VET);
}

static void take_end(struct worker *w, const struct pair_message *m)
{
    uint32_t number;
    const char *text;

    if (!pair_read_text(m, &number, &text))
        doom(w, false, "it sends what it may not");
    else
        doom(w, m->type == PAIR_REFUSED, text);
}

static void take_log(struct worker *w, const struct pair_message *m)
{
    uint32_t severity;
    const char *text;

    if (!pair_read_text(m, &severity, &text))
        return;
    stats.logs++;
    if (severity < LOG_LEVEL_ERROR || severity > LOG_LEVEL_DEBUG)
        severity = LOG_LEVEL_INFO;
    uint32_t held = w->log_limit.held;
    log_limited(&w->log_limit, runtime_now_ms(), (enum log_level)severity,
                "bundle \"%s\": %s", w->bundle, text);
    if (w->log_limit.held > held)
        stats.logs_held++;
}

static void take_ready(struct worker *w, const struct pair_message *m)
{
    struct pair_ready ready;

    if (!pair_read_ready(m, &ready) || w->is_ready) {
        doom(w, false, "it sends what it may not");
        return;
    }
    w->is_ready = true;
    enter_phase(w, PAIR_PHASE_RUN);
    if (!w->is_stopping)
        w->listener.ready(w->listener.context, w, &ready);
}

/* Sound, as far as can be seen without knowing what it means. */
static bool is_sound(const struct pair_message *m)
{
    struct pair_set set;
    struct pair_value value;
    struct pair_notification notification;

    switch (m->type) {
    case PAIR_SET: return pair_read_set(m, &set);
    case PAIR_VALUE: return pair_read_value(m, &value);
    default: return pair_read_notification(m, &notification);
    }
}

static void take_data(struct worker *w, const struct pair_message *m,
                      const uint8_t *whole, size_t size)
{
    if (!is_sound(m)) {
        doom(w, false, "it sends what it may not");
        return;
    }
    stats.values_up += m->type == PAIR_VALUE;
    stats.notifications_up += m->type == PAIR_NOTIFICATION;
    w->listener.message(w->listener.context, w, m, whole, size);
}

static void take(struct worker *w, const struct pair_message *m,
                 const uint8_t *whole, size_t size)
{
    enum pair_phase phase;

    if (w->phase == PAIR_PHASE_START && m->type != PAIR_HELLO &&
        m->type != PAIR_FAILED && m->type != PAIR_REFUSED) {
        doom(w, false, "it does not speak argus' protocol");
        return;
    }
    switch (m->type) {
    case PAIR_HELLO: take_hello(w, m); break;
    case PAIR_PHASE:
        if (pair_read_phase(m, &phase) && phase < PAIR_PHASE_RUN)
            enter_phase(w, phase);
        break;
    case PAIR_REFUSED:
    case PAIR_FAILED: take_end(w, m); break;
    case PAIR_READY: take_ready(w, m); break;
    case PAIR_BYE: w->said_bye = true; break;
    case PAIR_LOG: take_log(w, m); break;
    case PAIR_SET:
    case PAIR_VALUE:
    case PAIR_NOTIFICATION: take_data(w, m, whole, size); break;
    default: doom(w, false, "it sends what it may not");
    }
}

static void take_messages(struct worker *w)
{
    struct pair_message m;
    size_t at = 0;
    uint32_t count = 0;
    int taken = 0;

    while (w->life == LIFE_RUNNING &&
           (taken = pair_next(w->in + at, w->in_size - at, &m)) > 0) {
        take(w, &m, w->in + at, (size_t)taken);
        at += (size_t)taken;
        count++;
    }
    if (taken < 0)
        doom(w, false, "it sends what it may not");
    w->in_size -= at;
    memmove(w->in, w->in + at, w->in_size);
    spend(w, at, count);
}

static void read_socket(struct worker *w)
{
    ssize_t size = recv(w->links.socket, w->in + w->in_size, WORKER_TURN_BYTES,
                        MSG_DONTWAIT);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size > 0) {
        w->in_size += (size_t)size;
        take_messages(w);
        return;
    }
    close_socket(w);
    consider(w);
}

/* ------------------------------------------------------ what it is sent */

static void write_socket(struct worker *w)
{
    while (w->out_size > 0) {
        ssize_t sent = send(w->links.socket, w->out, w->out_size,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0)
            break; /* it is slow, or gone: then reading says so */
        w->out_size -= (size_t)sent;
        memmove(w->out, w->out + sent, w->out_size);
    }
    poll_socket(w);
}

static bool queue(struct worker *w, const uint8_t *message, size_t size)
{
    if (w->out_size + size > w->out_room) {
        size_t room = w->out_room == 0 ? 65536 : w->out_room;
        while (room < w->out_size + size)
            room *= 2;
        uint8_t *bigger = realloc(w->out, room);
        if (bigger == NULL)
            return false;
        w->out = bigger;
        w->out_room = room;
    }
    memcpy(w->out + w->out_size, message, size);
    w->out_size += size;
    poll_socket(w);
    return true;
}

bool worker_send(struct worker *w, const uint8_t *message, size_t size)
{
    if (w->life == LIFE_RUNNING && w->links.socket >= 0 && !w->is_stopping &&
        w->out_size + size <= WORKER_DOWN_BYTES_MAX &&
        queue(w, message, size)) {
        stats.values_down++;
        return true;
    }
    stats.down_dropped++;
    if (!w->is_drop_said)
        log_write(LOG_LEVEL_WARNING,
                  "bundle \"%s\" is slower than this daemon's values: some do "
                  "not reach it; further ones are only counted "
                  "(apply_down_dropped)",
                  w->bundle);
    w->is_drop_said = true;
    return false;
}

void worker_stop(struct worker *w)
{
    uint8_t message[PAIR_HEADER_SIZE];

    if (w->is_stopping || w->life != LIFE_RUNNING)
        return;
    w->is_stopping = true;
    size_t size = pair_put_plain(message, sizeof message, PAIR_STOP);
    if (w->links.socket < 0 || !queue(w, message, size)) {
        begin_dying(w);
        return;
    }
    set_deadline(w, WORKER_STOP_MS);
}

static void on_socket(uv_poll_t *handle, int status, int events)
{
    struct worker *w = handle->data;

    renew_budget(w);
    if (status < 0) {
        close_socket(w);
        consider(w);
        return;
    }
    if (events & UV_WRITABLE)
        write_socket(w);
    if ((events & UV_READABLE) && w->links.socket >= 0)
        read_socket(w);
}

/* ------------------------------------------------------------- starting */

static void watch(struct worker *w)
{
    (void)uv_poll_init(w->loop, &w->on_socket, w->links.socket);
    (void)uv_poll_init(w->loop, &w->on_output, w->links.output);
    (void)uv_timer_init(w->loop, &w->timer);
    w->on_socket.data = w->on_output.data = w->timer.data = w;
    w->handles = 3;
    if (w->process.pidfd >= 0 &&
        uv_poll_init(w->loop, &w->on_death, w->process.pidfd) == 0) {
        w->on_death.data = w;
        w->has_death = true;
        w->handles++;
        (void)uv_poll_start(&w->on_death, UV_READABLE, on_death);
    }
    poll_socket(w);
    poll_output(w);
    set_deadline(w, WORKER_HELLO_MS);
}

static void free_memory(struct worker *w)
{
    const int fds[] = {w->links.socket, w->links.output, w->old_socket,
                       w->old_output};

    worker_process_close(&w->process);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    free(w->in);
    free(w->out);
    free(w);
}

static struct worker *new_worker(uv_loop_t *loop,
                                 const struct worker_options *o,
                                 const struct worker_listener *listener)
{
    struct worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->loop = loop;
    w->listener = *listener;
    w->number = o->number;
    w->start_timeout_ms = o->start_timeout_ms;
    text_copy(w->bundle, sizeof w->bundle, o->bundle);
    w->links.socket = w->links.output = w->process.pidfd = -1;
    w->old_socket = w->old_output = -1;
    w->log_limit = w->output_limit =
        (struct log_limit){.burst = WORKER_LOG_BURST, .period_ms = 10000};
    w->flood_limit = (struct log_limit){.burst = 1, .period_ms = 60000};
    w->in = malloc(PAIR_MESSAGE_MAX + WORKER_TURN_BYTES);
    if (w->in != NULL)
        return w;
    free(w);
    return NULL;
}

int worker_start(uv_loop_t *loop, const struct worker_options *options,
                 const struct worker_listener *listener, struct worker **out,
                 struct argus_error *err)
{
    if (options->manifest->files_count == 0)
        return argus_fail(err, ARGUS_EINVAL, "the bundle has no text");
    struct worker *w = new_worker(loop, options, listener);
    if (w == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for a worker");
    int rc = worker_dir_make(options->state_dir, options->bundle,
                             options->number, options->user, &w->dir, err);
    if (rc != ARGUS_OK)
        goto free_worker;
    rc = worker_launch(options, &w->dir, &w->links, &w->process, err);
    if (rc != ARGUS_OK)
        goto remove_dir;
    watch(w);
    *out = w;
    return ARGUS_OK;

remove_dir:
    (void)worker_dir_remove(&w->dir, UINT32_MAX);
free_worker:
    free_memory(w);
    return rc;
}

/* --------------------------------------------------------------- freeing */

static void on_closed(uv_handle_t *handle)
{
    struct worker *w = handle->data;

    if (--w->handles == 0)
        free_memory(w);
}

void worker_free(struct worker *w)
{
    assert(w->life == LIFE_ENDED && !w->is_owner_done);
    w->is_owner_done = true;
    uv_close((uv_handle_t *)&w->on_socket, on_closed);
    uv_close((uv_handle_t *)&w->on_output, on_closed);
    uv_close((uv_handle_t *)&w->timer, on_closed);
    if (w->has_death)
        uv_close((uv_handle_t *)&w->on_death, on_closed);
}

void worker_abandon(struct worker *w)
{
    if (w->life == LIFE_ENDED)
        return;
    w->is_stopping = true;
    close_socket(w);
    worker_process_kill(&w->process);
    for (int tries = 0; tries < 1000 && !worker_process_is_dead(&w->process);
         tries++)
        (void)usleep(1000);
    while (!worker_process_hunt(&w->process, UINT32_MAX))
        (void)usleep(1000);
    (void)worker_dir_remove(&w->dir, UINT32_MAX);
    w->life = LIFE_ENDED;
    worker_free(w);
}

/* -------------------------------------------------------------- questions */

uint32_t worker_number(const struct worker *w)
{
    return w->number;
}

uint32_t worker_pid(const struct worker *w)
{
    return (uint32_t)w->process.pid;
}

enum pair_phase worker_phase(const struct worker *w)
{
    return w->phase;
}

bool worker_holds_path(const struct worker *w)
{
    return worker_process_holds_path(&w->process);
}

const struct worker_stats *worker_stats(void)
{
    return &stats;
}
