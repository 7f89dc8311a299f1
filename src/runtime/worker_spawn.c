#include "argus_config.h" /* first: what glibc shows hangs on it */

#include "runtime/worker_spawn.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

extern char **environ;

/** Bytes of an environment in which the mark is looked for. */
#define ENVIRON_MAX 16384

/** Descriptors a worker holds that are looked through. */
#define HELD_MAX 1024

/* -------------------------------------------------------- environment */

/* Words of a service manager to the daemon alone. */
static bool is_for_daemon(const char *entry)
{
    static const char *const names[] = {
        "NOTIFY_SOCKET=",    "LISTEN_",        "WATCHDOG_",
        "ARGUS_WORKER=",     "INVOCATION_ID=", "JOURNAL_STREAM=",
        "MALLOC_ARENA_MAX=", "MAINPID=",       "SYSTEMD_EXEC_PID="};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* The strings stay whose they are; the list is the caller's. */
static char **make_environment(char *mark, char *arenas)
{
    size_t count = 0, n = 0;

    while (environ != NULL && environ[count] != NULL)
        count++;
    char **list = calloc(count + 3, sizeof *list);
    if (list == NULL)
        return NULL;
    list[n++] = mark; /* first: what looks for it reads the beginning */
    list[n++] = arenas;
    for (size_t i = 0; i < count; i++)
        if (!is_for_daemon(environ[i]))
            list[n++] = environ[i];
    return list;
}

/* ------------------------------------------------------------ spawning */

/* Descriptors above those that the worker gets, so that placing one there
 * cannot close another. */
static int lift(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, WORKER_TEXT_FD + 1);
}

static int place(posix_spawn_file_actions_t *files,
                 const struct worker_spawn *how, const int fds[3])
{
    int rc =
        posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, fds[2], 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, fds[2], 2);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, fds[0], WORKER_SOCKET_FD);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, fds[1], WORKER_TEXT_FD);
    if (rc == 0)
        rc =
            posix_spawn_file_actions_addclosefrom_np(files, WORKER_TEXT_FD + 1);
    if (rc == 0)
        rc = posix_spawn_file_actions_addchdir_np(files, how->work_dir);
    return rc;
}

/* A session of its own, and no signal ignored or blocked: what a daemon thread
 * blocks would pass on to every program that a plugin starts. */
static int describe(posix_spawnattr_t *attr)
{
    sigset_t all, none;

    (void)sigfillset(&all);
    (void)sigemptyset(&none);
    int rc = posix_spawnattr_setsigdefault(attr, &all);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attr, &none);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID |
                                                POSIX_SPAWN_SETSIGDEF |
                                                POSIX_SPAWN_SETSIGMASK);
    return rc;
}

/* /proc/self/exe is the image that runs here, also after its file was replaced;
 * under valgrind it is another program, and its path serves. */
static int run(const struct worker_spawn *how, posix_spawnattr_t *attr,
               posix_spawn_file_actions_t *files, char **env, pid_t *pid)
{
    char *argv[] = {(char *)(uintptr_t)how->title, "-f", "-C",
                    (char *)(uintptr_t)how->config, NULL};
    char path[PATH_MAX];

    if (how->program != NULL)
        return posix_spawn(pid, how->program, files, attr, argv, env);
    if (getenv("VALGRIND_LIB") == NULL &&
        posix_spawn(pid, "/proc/self/exe", files, attr, argv, env) == 0)
        return 0;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0)
        return errno;
    path[length] = '\0';
    return posix_spawn(pid, path, files, attr, argv, env);
}

/* What a sanitizer maps in advance would count. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DATA_MAX RLIM_INFINITY
#else
#define DATA_MAX WORKER_MEMORY_MAX
#endif

/* The worker has not yet read a line when this is done, or has read those that
 * argus wrote: it is a matter of bounds, not of rights. How many processes its
 * user may have, and that it goes first when memory runs out, it sees to
 * itself.
 */
static void limit(pid_t pid)
{
    const struct {
        enum __rlimit_resource what;
        rlim_t most;
    } limits[] = {
        {RLIMIT_CORE, 0},
        {RLIMIT_NOFILE, WORKER_FILES_OPEN_MAX},
        {RLIMIT_FSIZE, WORKER_FILE_MAX},
        {RLIMIT_DATA, DATA_MAX},
    };

    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct rlimit old, most = {limits[i].most, limits[i].most};
        if (prlimit(pid, limits[i].what, NULL, &old) != 0)
            continue;
        if (old.rlim_max != RLIM_INFINITY && old.rlim_max < most.rlim_max)
            most.rlim_cur = most.rlim_max = old.rlim_max;
        (void)prlimit(pid, limits[i].what, &most, NULL);
    }
}

static int spawn_with(const struct worker_spawn *how, const int fds[3],
                      pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    char mark[96], arenas[] = "MALLOC_ARENA_MAX=1";

    (void)snprintf(mark, sizeof mark, "ARGUS_WORKER=%s", how->mark);
    char **env = make_environment(mark, arenas);
    if (env == NULL)
        return ENOMEM;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc != 0)
        goto free_env;
    rc = posix_spawnattr_init(&attr);
    if (rc != 0)
        goto destroy_files;
    rc = place(&files, how, fds);
    if (rc == 0)
        rc = describe(&attr);
    if (rc == 0)
        rc = run(how, &attr, &files, env, pid);
    (void)posix_spawnattr_destroy(&attr);
destroy_files:
    (void)posix_spawn_file_actions_destroy(&files);
free_env:
    free(env);
    return rc;
}

int worker_spawn(const struct worker_spawn *how, struct worker_process *out,
                 struct argus_error *err)
{
    int fds[3] = {lift(how->socket), lift(how->text), lift(how->output)};
    int rc = EMFILE;

    memset(out, 0, sizeof *out);
    out->pidfd = -1; /* also when it fails: 0 would be closed as its own */
    if (fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0)
        rc = spawn_with(how, fds, &out->pid);
    for (size_t i = 0; i < 3; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    if (rc != 0)
        return argus_fail(err, ARGUS_EIO, "cannot start a worker: %s",
                          strerror(rc));
    out->pidfd = pidfd_open(out->pid, 0);
    if (out->pidfd >= 0)
        (void)fcntl(out->pidfd, F_SETFD, FD_CLOEXEC);
    (void)snprintf(out->mark, sizeof out->mark, "%s", how->mark);
    limit(out->pid);
    return ARGUS_OK;
}

/* -------------------------------------------------------------- ending */

void worker_process_kill(const struct worker_process *p)
{
    (void)kill(-p->pid, SIGKILL);
    if (p->pidfd >= 0)
        (void)pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
}

bool worker_process_is_dead(const struct worker_process *p)
{
    struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};
    siginfo_t info;
    bool is_dead = p->pidfd >= 0 ? poll(&fd, 1, 0) == 1
                                 : kill(p->pid, 0) != 0 && errno == ESRCH;

    /* Where SIGCHLD is neither ignored nor handled it would stay a zombie.
     * This asks for one process alone, so it takes no other's child away. */
    (void)waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG);
    return is_dead;
}

/* Session of a process that is no zombie; 0: it is one, or is gone. */
static pid_t session_of(const char *pid)
{
    char path[64], line[512], state;
    int parent, group, session;

    (void)snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, line, sizeof line - 1);
    (void)close(fd);
    if (size <= 0)
        return 0;
    line[size] = '\0';
    /* The name stands in brackets and may contain anything. */
    const char *rest = strrchr(line, ')');
    if (rest == NULL ||
        sscanf(rest, ") %c %d %d %d", &state, &parent, &group, &session) != 4)
        return 0;
    return state == 'Z' || state == 'X' ? 0 : session;
}

static bool bears_mark(const char *pid, const char *mark)
{
    char path[64], text[ENVIRON_MAX], wanted[96];

    (void)snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, text, sizeof text);
    (void)close(fd);
    int length = snprintf(wanted, sizeof wanted, "ARGUS_WORKER=%s", mark);
    return size > 0 && length > 0 &&
           memmem(text, (size_t)size, wanted, (size_t)length + 1) != NULL;
}

static void kill_if_stray(struct worker_process *p, const char *pid)
{
    pid_t session = session_of(pid);

    if (session == 0 || (session != p->pid && !bears_mark(pid, p->mark)))
        return;
    p->has_found = true;
    (void)kill((pid_t)strtol(pid, NULL, 10), SIGKILL);
}

bool worker_process_hunt(struct worker_process *p, unsigned entries)
{
    struct dirent *entry;

    if (p->proc == NULL) {
        (void)kill(-p->pid, SIGKILL); /* all of its own group at once */
        p->has_found = false;
        p->proc = opendir("/proc");
        if (p->proc == NULL)
            return true;
    }
    while (entries-- > 0) {
        entry = readdir(p->proc);
        if (entry == NULL)
            break;
        if (isdigit((unsigned char)entry->d_name[0]))
            kill_if_stray(p, entry->d_name);
        if (entries == 0)
            return false;
    }
    (void)closedir(p->proc);
    p->proc = NULL;
    if (!p->has_found)
        return true;
    if (++p->hunts < WORKER_HUNTS_MAX)
        return false;
    log_write(LOG_LEVEL_WARNING,
              "processes of the worker with id %d do not end; they are left "
              "alone",
              (int)p->pid);
    return true;
}

void worker_process_close(struct worker_process *p)
{
    if (p->proc != NULL)
        (void)closedir(p->proc);
    if (p->pidfd >= 0)
        (void)close(p->pidfd);
    p->proc = NULL;
    p->pidfd = -1;
}

/* ------------------------------------------------------- bound sockets */

/* Numbers of the sockets that it has open. */
static size_t held_sockets(pid_t pid, unsigned long *out, size_t max)
{
    char path[64], target[64];
    struct dirent *entry;
    size_t n = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *list = opendir(path);
    while (list != NULL && n < max && (entry = readdir(list)) != NULL) {
        ssize_t length =
            readlinkat(dirfd(list), entry->d_name, target, sizeof target - 1);
        if (length <= 0)
            continue;
        target[length] = '\0';
        if (sscanf(target, "socket:[%lu]", &out[n]) == 1)
            n++;
    }
    if (list != NULL)
        (void)closedir(list);
    return n;
}

bool worker_process_holds_path(const struct worker_process *p)
{
    unsigned long held[HELD_MAX], inode;
    char path[64], line[512], at[256];
    bool found = false;

    size_t count = held_sockets(p->pid, held, HELD_MAX);
    (void)snprintf(path, sizeof path, "/proc/%d/net/unix", (int)p->pid);
    FILE *file = count > 0 ? fopen(path, "re") : NULL;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%*s %*s %*s %*s %*s %*s %lu %255s", &inode, at) != 2)
            continue;
        for (size_t i = 0; i < count && !found; i++)
            found = held[i] == inode && at[0] != '@';
    }
    if (file != NULL)
        (void)fclose(file);
    return found;
}
