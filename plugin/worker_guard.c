#include "worker_guard.h"

#include "collectd.h"

#include "plugin.h"

#include <dlfcn.h>
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
    atomic_uint_fast64_t fork_second, forks; /* which one; in that one */
    atomic_int wild; /* 1: the name is written; 2: it is there */
    char wild_plugin[64];
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

static void add_place(struct line *line, const char *plugin)
{
    add_text(line, ", plugin `");
    add_text(line, plugin);
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

/* In a thread that a plugin made, collectd knows of no plugin: the first one
 * that is on the stack. Libraries are called lib*.so.N. */
static void plugin_on_stack(char *out, size_t size)
{
    void *frames[BACKTRACE_MAX];
    int count = backtrace(frames, BACKTRACE_MAX);
    Dl_info info;

    (void)strncpy(out, "unknown", size);
    for (int i = 0; i < count; i++) {
        if (dladdr(frames[i], &info) == 0 || info.dli_fname == NULL)
            continue;
        const char *slash = strrchr(info.dli_fname, '/');
        const char *name = slash != NULL ? slash + 1 : info.dli_fname;
        size_t length = strlen(name);
        if (length <= 3 || length - 3 >= size ||
            strcmp(name + length - 3, ".so") != 0 ||
            strcmp(name, "argus_worker.so") == 0)
            continue;
        memcpy(out, name, length - 3);
        out[length - 3] = '\0';
        return;
    }
}

static void name_plugin(char *out, size_t size)
{
    (void)strncpy(out, plugin_here(), size - 1);
    out[size - 1] = '\0';
    if (strcmp(out, "unknown") == 0)
        plugin_on_stack(out, size);
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
    char plugin[64];

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
    name_plugin(plugin, sizeof plugin);
    add_place(&line, plugin);
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
    add_place(&line, plugin_here());
    say(&line);
}

void guard_say_exit(const char *why)
{
    struct line line = {.used = 0};

    add_text(&line, PAIR_EXIT_PREFIX);
    add_text(&line, why);
    say(&line);
}

/* Counting is not exact between threads, and need not be. */
static void on_fork(void)
{
    uint64_t second = guard_now() / 1000;
    int none = 0;

    if (guard.fork_second != second) {
        guard.fork_second = second;
        guard.forks = 0;
    }
    if (++guard.forks < GUARD_FORKS_MAX || guard_is_elsewhere() ||
        !atomic_compare_exchange_strong(&guard.wild, &none, 1))
        return;
    name_plugin(guard.wild_plugin, sizeof guard.wild_plugin);
    guard.wild = 2;
    up_wake();
}

static void on_forked(void)
{
    (void)close(guard.socket);
}

bool guard_forks_wildly(char *plugin, size_t size)
{
    if (guard.wild != 2)
        return false;
    (void)snprintf(plugin, size, "%s", guard.wild_plugin);
    return true;
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
    add_text(&line, "argus_worker: hangs");
    add_place(&line, plugin_here());
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
    (void)pthread_atfork(on_fork, NULL, on_forked);
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
