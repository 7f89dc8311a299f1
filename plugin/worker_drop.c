#include "worker_drop.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/** Of the 1000 that oom_score_adj goes up to. */
#define OOM_SCORE "500"

static size_t read_file(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, out, size - 1) : -1;

    if (fd >= 0)
        (void)close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

/* Not being able to is no reason to stop. */
static void volunteer_for_oom(void)
{
    static const char path[] = "/proc/self/oom_score_adj";
    char text[16];
    int fd = -1;

    if (read_file(path, text, sizeof text) > 0 && atoi(text) < atoi(OOM_SCORE))
        fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!write(fd, OOM_SCORE, strlen(OOM_SCORE));
    (void)close(fd);
}

static unsigned field_of(const char *status, const char *name)
{
    const char *at = strstr(status, name);

    return at != NULL ? (unsigned)strtoul(at + strlen(name), NULL, 10) : 0;
}

/* Processes and threads of a user now. The owner of /proc/N does not tell: that
 * is root for every process that has dropped its rights. */
static rlim_t count_tasks(uid_t uid)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    rlim_t count = 0;

    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        char path[sizeof "/proc//status" + sizeof entry->d_name];
        char status[2048];
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        (void)snprintf(path, sizeof path, "/proc/%s/status", entry->d_name);
        if (read_file(path, status, sizeof status) > 0 &&
            field_of(status, "\nUid:") == uid)
            count += field_of(status, "\nThreads:");
    }
    if (proc != NULL)
        (void)closedir(proc);
    return count;
}

/* The kernel counts over all processes of a user and compares with the limit of
 * the one that forks. On top of what there is, a bundle that forks without end
 * leaves those room that start later. */
static int limit_tasks(uid_t uid, uint32_t processes, struct argus_error *err)
{
    struct rlimit old, limit;

    if (processes == 0)
        return ARGUS_OK;
    limit.rlim_cur = limit.rlim_max = count_tasks(uid) + processes;
    if (getrlimit(RLIMIT_NPROC, &old) == 0 && old.rlim_max < limit.rlim_max)
        limit = old;
    if (setrlimit(RLIMIT_NPROC, &limit) != 0)
        return argus_fail_errno(err, "a limit of %u processes", processes);
    return ARGUS_OK;
}

static int become(const struct passwd *user, struct argus_error *err)
{
    if (initgroups(user->pw_name, user->pw_gid) != 0 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0) {
        (void)argus_fail_errno(err, "cannot become user \"%s\"", user->pw_name);
        return ARGUS_EDENIED;
    }
    if (user->pw_uid != 0 && setuid(0) == 0)
        return argus_fail(err, ARGUS_EDENIED,
                          "user \"%s\" can become root again", user->pw_name);
    return ARGUS_OK;
}

static int become_named(const char *name, uint32_t processes,
                        struct argus_error *err)
{
    struct passwd *user;
    int rc;

    errno = 0;
    user = getpwnam(name); /* there is one thread yet */
    if (user == NULL)
        return argus_fail(err, ARGUS_ENOENT, "there is no user \"%s\"", name);
    if (geteuid() != 0 && user->pw_uid != geteuid())
        return argus_fail(err, ARGUS_EDENIED,
                          "only root can become user \"%s\"", name);
    rc = limit_tasks(user->pw_uid, processes, err);
    if (rc == ARGUS_OK && geteuid() == 0)
        rc = become(user, err);
    return rc;
}

/* The process stays not dumpable, as the kernel makes it when the user changes:
 * so one bundle cannot trace another that runs as the same user. */
int drop_rights(const char *user, uint32_t processes, struct argus_error *err)
{
    volunteer_for_oom();
    if (user != NULL && user[0] != '\0') {
        int rc = become_named(user, processes, err);
        if (rc != ARGUS_OK)
            return rc;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        (void)argus_fail_errno(err, "cannot give up new privileges");
        return ARGUS_EDENIED;
    }
    return ARGUS_OK;
}
