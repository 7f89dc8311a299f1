#include "worker_guard.h"

#include "collectd.h"

#include "plugin.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "worker_up.h"

#define BACKTRACE_MAX 32

/** Ours among those that no stock plugin takes. */
#define WAKE_SIGNAL (SIGRTMIN + 3)

static struct {
    pthread_t main;
    pid_t pid; /* a child that was forked has another */
    int socket;
    atomic_int phase;
    atomic_bool exit_expected;
    _Atomic uint64_t signaled_ms;
    atomic_int asked; /* 0: no; 1: where is main? 2: answered */
    char main_plugin[128];
} guard;

uint64_t guard_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool guard_is_elsewhere(void)
{
    return getpid() != guard.pid;
}

/* ------------------------------------ lines, by what a handler may call */

struct line {
    char text[256];
    size_t used;
};

static void add_text(struct line *line, const char *text)
{
    while (*text != '\0' && line->used < sizeof line->text - 1)
        line->text[line->used++] = *text++;
}

static void add_number(struct line *line, int number)
{
    char digits[12];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 && at > 0);
    add_text(line, digits + at);
}

/* The plugin whose callback this thread is in, for collectd. */
static const char *plugin_here(void)
{
    const char *name = plugin_get_ctx().name;

    return name != NULL ? name : "unknown";
}

static void add_place(struct line *line)
{
    add_text(line, ", plugin `");
    add_text(line, plugin_here());
    add_text(line, "', phase ");
    add_text(line, pair_phase_word((uint32_t)guard.phase));
}

static void say(struct line *line)
{
    line->text[line->used++] = '\n';
    (void)!write(STDERR_FILENO, line->text, line->used);
}

static void say_backtrace(void)
{
    void *frames[BACKTRACE_MAX];

    backtrace_symbols_fd(frames, backtrace(frames, BACKTRACE_MAX),
                         STDERR_FILENO);
}

/* ------------------------------------------------------- unplanned ends */

static const struct {
    int number;
    const char *name;
} crashes[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGILL, "SIGILL"},
    {SIGFPE, "SIGFPE"},   {SIGABRT, "SIGABRT"},
};

/* Whatever broke may have held a lock that is needed here: after two seconds
 * the alarm ends it. */
static void on_crash(int number)
{
    struct line line = {.used = 0};

    (void)signal(number, SIG_DFL);
    if (guard_is_elsewhere()) {
        (void)raise(number);
        return;
    }
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(2);
    add_text(&line, PAIR_CRASH_PREFIX);
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        if (crashes[i].number == number)
            add_text(&line, crashes[i].name);
    add_place(&line);
    say(&line);
    say_backtrace();
    (void)raise(number);
}

static void on_exit_called(int status, void *unused)
{
    struct line line = {.used = 0};

    (void)unused;
    if (guard_is_elsewhere() || guard.exit_expected)
        return;
    add_text(&line, PAIR_EXIT_PREFIX "exit(");
    add_number(&line, status & 0xff);
    add_text(&line, ") was called");
    add_place(&line);
    say(&line);
}

void guard_say_exit(const char *why)
{
    struct line line = {.used = 0};

    add_text(&line, PAIR_EXIT_PREFIX);
    add_text(&line, why);
    say(&line);
}

static void on_forked(void)
{
    (void)close(guard.socket);
}

/* -------------------------------------------------------------- signals */

/* A signal to one thread is a plugin's that ends a thread of its own. */
static void on_hold(int number, siginfo_t *info, void *context)
{
    uint64_t none = 0;

    (void)number;
    (void)context;
    if (info->si_code == SI_TKILL)
        return;
    (void)atomic_compare_exchange_strong(&guard.signaled_ms, &none,
                                         guard_now());
    up_wake();
}

static void on_wake(int number)
{
    struct line line = {.used = 0};
    int asked = 1;

    (void)number;
    if (guard.asked != asked)
        return;
    add_text(&line, plugin_here());
    memcpy(guard.main_plugin, line.text, sizeof guard.main_plugin - 1);
    line = (struct line){.used = 0};
    add_text(&line, "argus_worker: no way on");
    add_place(&line);
    say(&line);
    say_backtrace();
    guard.asked = 2;
}

static void set_handler(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(number, &action, NULL);
}

void guard_install(int socket)
{
    void *frame[1];

    guard.main = pthread_self();
    guard.pid = getpid();
    guard.socket = socket;
    (void)backtrace(frame, 1); /* loads what it needs, while one may */
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        set_handler(crashes[i].number, on_crash, SA_NODEFER);
    set_handler(WAKE_SIGNAL, on_wake, 0);
    guard_hold_signals();
    (void)on_exit(on_exit_called, NULL);
    (void)pthread_atfork(NULL, NULL, on_forked);
}

/* Without SA_RESTART, as collectd's own: plugins end threads that wait in a
 * call that way. */
void guard_hold_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_hold, .sa_flags = SA_SIGINFO};

    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
}

void guard_phase(enum pair_phase phase)
{
    guard.phase = (int)phase;
}

uint64_t guard_signaled_ms(void)
{
    return guard.signaled_ms;
}

void guard_wake_main(void)
{
    (void)pthread_kill(guard.main, WAKE_SIGNAL);
}

bool guard_main_plugin(char *out, size_t size)
{
    const struct timespec tick = {.tv_nsec = 1000000};

    guard.asked = 1;
    guard_wake_main();
    for (int i = 0; i < 200 && guard.asked != 2; i++)
        (void)nanosleep(&tick, NULL);
    if (guard.asked != 2)
        return false;
    guard.asked = 0;
    (void)snprintf(out, size, "%s", guard.main_plugin);
    return strcmp(out, "unknown") != 0;
}

void guard_expect_exit(void)
{
    guard.exit_expected = true;
}

/* Children that have a session of their own are the daemon's limits' matter. */
void guard_end(void)
{
    guard_expect_exit();
    if (getpgrp() == guard.pid)
        (void)kill(0, SIGKILL);
    _exit(1);
}

void guard_end_closed(void)
{
    guard_say_exit("a plugin closed descriptors that are not its own");
    guard_end();
}
