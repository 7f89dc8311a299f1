#include "argus_config.h"

#include "fake_worker.h"

#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/worker_spawn.h"
#include "wire/pair.h"

static uint8_t message[PAIR_MESSAGE_MAX];
static bool has_writers, is_deaf;

bool fake_worker_is_wanted(const char *program)
{
    return strncmp(program, "argus-worker:", 13) == 0;
}

static void put(size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t n =
            send(WORKER_SOCKET_FD, message + sent, size - sent, MSG_NOSIGNAL);
        if (n <= 0)
            exit(0);
        sent += (size_t)n;
    }
}

static void hello(const char *version)
{
    put(pair_put_hello(
        message, sizeof message,
        &(struct pair_hello){PAIR_PROTOCOL, (uint32_t)getpid(), version}));
}

static void set(void)
{
    struct pair_set s = {.type = "gauge", .count = 1};

    s.sources[0] = (struct pair_source){"value", 1, 0, 1};
    put(pair_put_set(message, sizeof message, &s));
}

static void value(const char *plugin)
{
    static const double number = 42;
    struct timespec now;
    struct pair_value v = {.names = {"h", plugin, "", "gauge", ""},
                           .interval = (uint64_t)1 << 27, /* 125 ms */
                           .count = 1,
                           .numbers = (const uint8_t *)&number};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    v.time = ((uint64_t)now.tv_sec << 30) +
             ((uint64_t)now.tv_nsec << 30) / 1000000000;
    put(pair_put_value(message, sizeof message, &v, NULL));
}

static void text(enum pair_type type, uint32_t number, const char *words)
{
    put(pair_put_text(message, sizeof message, type, number, words));
}

/* What it finds open, and what it must not have inherited. */
static void tell_inheritance(void)
{
    char line[256] = "open:", *listen = getenv("LISTEN_FDS");
    sigset_t mask;

    for (int fd = 0; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            (void)snprintf(line + strlen(line), sizeof line - strlen(line),
                           " %d", fd);
    (void)sigprocmask(SIG_SETMASK, NULL, &mask);
    struct sigaction child;
    (void)sigaction(SIGCHLD, NULL, &child);
    (void)snprintf(line + strlen(line), sizeof line - strlen(line),
                   "%s%s%s%s%s", listen != NULL ? " LISTEN_FDS" : "",
                   getsid(0) != getpid() ? " session" : "",
                   sigismember(&mask, SIGPIPE) == 1 ? " mask" : "",
                   child.sa_handler == SIG_IGN ? " ignored" : "",
                   getenv("ARGUS_WORKER") == NULL ? " unmarked" : "");
    text(PAIR_LOG, 6, line);
}

static void tell_file(const char *name)
{
    char path[128], line[256], content[64] = "";
    struct stat s;

    (void)snprintf(path, sizeof path, "../bundle/%s", name);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(content, sizeof content, file) == NULL ||
        stat(path, &s) != 0) {
        text(PAIR_LOG, 6, "no such file");
        return;
    }
    (void)fclose(file);
    (void)snprintf(line, sizeof line, "%s %o", content,
                   (unsigned)(s.st_mode & 0777));
    text(PAIR_LOG, 6, line);
}

/* A child in a session of its own, which nothing but the mark betrays. */
static void leave_child(void)
{
    if (fork() != 0)
        return;
    (void)setsid();
    for (int fd = 0; fd < 16; fd++)
        (void)close(fd);
    for (;;)
        pause();
}

static void run_until_stop(const char *plugin)
{
    struct pair_message m;
    static uint8_t in[2 * PAIR_MESSAGE_MAX];
    size_t size = 0;

    for (;;) {
        struct timespec nap = {0, 30 * 1000000};
        ssize_t n = is_deaf ? -1
                            : recv(WORKER_SOCKET_FD, in + size,
                                   PAIR_MESSAGE_MAX, MSG_DONTWAIT);
        if (n == 0)
            exit(0);
        size += n > 0 ? (size_t)n : 0;
        for (int taken; (taken = pair_next(in, size, &m)) > 0;
             memmove(in, in + taken, size -= (size_t)taken)) {
            if (m.type == PAIR_STOP) {
                put(pair_put_plain(message, sizeof message, PAIR_BYE));
                exit(0);
            }
            if (m.type == PAIR_FLUSH || m.type == PAIR_VALUE)
                text(PAIR_LOG, 6, "it came down");
        }
        if (plugin[0] != '\0')
            value(plugin);
        (void)nanosleep(&nap, NULL);
    }
}

static void flood(const char *plugin)
{
    for (;;)
        value(plugin);
}

static void print_without_end(void)
{
    static const char line[] = "this is a line of no use at all\n";

    for (;;)
        if (write(1, line, sizeof line - 1) < 0)
            exit(0);
}

static void ready(const char *how)
{
    const struct pair_ready r = {
        .failed_reads = strstr(how, "failed") != NULL,
        .has_reads = strstr(how, "reads") != NULL,
        .has_writers = strstr(how, "writers") != NULL,
        .errors = strstr(how, "errors") != NULL,
        .is_late = strstr(how, "late") != NULL,
        .text = strstr(how, "failed") != NULL || strstr(how, "errors") != NULL
                    ? "read-function of plugin `x' failed"
                    : "",
    };

    has_writers = r.has_writers;
    put(pair_put_ready(message, sizeof message, &r));
}

static void phase(enum pair_phase which)
{
    put(pair_put_phase(message, sizeof message, which));
}

/* HELLO and all phases, as a healthy worker. */
static void start(void)
{
    hello(ARGUS_VERSION);
    phase(PAIR_PHASE_VET);
    phase(PAIR_PHASE_CONFIG);
    phase(PAIR_PHASE_INIT);
    phase(PAIR_PHASE_READ);
    set();
}

static void hang(void)
{
    for (;;)
        pause();
}

static bool starts(const char **line, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(*line, word, length) != 0)
        return false;
    *line += length + strspn(*line + length, " ");
    return true;
}

static void sleep_ms(const char *number)
{
    long ms = strtol(number, NULL, 10);
    struct timespec nap = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&nap, NULL);
}

static void step(const char *line)
{
    if (starts(&line, "start"))
        start();
    else if (starts(&line, "version"))
        hello(line);
    else if (starts(&line, "hello"))
        hello(ARGUS_VERSION);
    else if (starts(&line, "init"))
        phase(PAIR_PHASE_INIT);
    else if (starts(&line, "ready"))
        ready(line);
    else if (starts(&line, "value"))
        value(line);
    else if (starts(&line, "run"))
        run_until_stop(line);
    else if (starts(&line, "refused"))
        text(PAIR_REFUSED, 0, line);
    else if (starts(&line, "fails"))
        text(PAIR_FAILED, PAIR_PHASE_INIT, line);
    else if (starts(&line, "log"))
        text(PAIR_LOG, 6, line);
    else if (starts(&line, "print"))
        (void)!write(2, strcat((char *)(uintptr_t)line, "\n"),
                     strlen(line) + 1);
    else if (starts(&line, "crash"))
        abort();
    else if (starts(&line, "killed"))
        (void)raise(SIGKILL);
    else if (starts(&line, "exit"))
        exit(3);
    else if (starts(&line, "garbage"))
        (void)!send(WORKER_SOCKET_FD, "garbage of sorts", 16, MSG_NOSIGNAL);
    else if (starts(&line, "closes"))
        for (int fd = 0; fd < 16; fd++)
            (void)close(fd);
    else if (starts(&line, "inherits"))
        tell_inheritance();
    else if (starts(&line, "file"))
        tell_file(line);
    else if (starts(&line, "child"))
        leave_child();
    else if (starts(&line, "flood"))
        flood(line);
    else if (starts(&line, "goes-on printing"))
        print_without_end();
    else if (starts(&line, "deaf"))
        is_deaf = true;
    else if (starts(&line, "sleep"))
        sleep_ms(line);
    else if (starts(&line, "hang"))
        hang();
    else
        text(PAIR_LOG, 3, "what?");
}

void fake_worker_run(void)
{
    static char script[65536];
    char *rest = NULL;
    ssize_t size = read(WORKER_TEXT_FD, script, sizeof script - 1);

    script[size > 0 ? size : 0] = '\0';
    for (char *line = strtok_r(script, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        step(line);
    exit(0);
}
