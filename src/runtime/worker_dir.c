#include "runtime/worker_dir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/** Entries that one turn of worker_dirs_open() removes; it goes on until all
 *  is gone, for nothing else runs yet. */
#define SWEEP_STEP 1024

/* -------------------------------------------------------------- users */

int worker_user_find(const char *name, struct worker_user *out,
                     struct argus_error *err)
{
    char scratch[4096];
    struct passwd entry, *found = NULL;

    memset(out, 0, sizeof *out);
    out->uid = geteuid();
    out->gid = getegid();
    if (name[0] == '\0')
        return ARGUS_OK;
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    if (getpwnam_r(name, &entry, scratch, sizeof scratch, &found) != 0 ||
        found == NULL)
        return argus_fail(err, ARGUS_ENOENT, "there is no user \"%s\"", name);
    if (entry.pw_uid == out->uid)
        return ARGUS_OK;
    if (out->uid != 0)
        return argus_fail(err, ARGUS_EDENIED,
                          "only root can run workers as user \"%s\"", name);
    out->is_other = true;
    out->uid = entry.pw_uid;
    out->gid = entry.pw_gid;
    return ARGUS_OK;
}

/* -------------------------------------------------------------- making */

/* What a bundle is called may be no name of a file. */
static void safe_name(const char *bundle, char *out, size_t size)
{
    size_t n = 0;

    for (; bundle[n] != '\0' && n + 1 < size; n++) {
        unsigned char c = (unsigned char)bundle[n];
        out[n] = isalnum(c) || c == '-' || c == '_' || (c == '.' && n > 0)
                     ? (char)c
                     : '_';
    }
    out[n] = '\0';
}

static int make_dir(const char *path, mode_t mode, uid_t uid, gid_t gid,
                    struct argus_error *err)
{
    if (mkdir(path, 0700) != 0)
        return argus_fail_errno(err, "make the folder %s", path);
    if ((geteuid() == 0 && chown(path, uid, gid) != 0) ||
        chmod(path, mode) != 0) {
        (void)argus_fail_errno(err, "give the folder %s away", path);
        (void)rmdir(path);
        return ARGUS_EIO;
    }
    return ARGUS_OK;
}

int worker_dir_make(const char *state_dir, const char *bundle, uint32_t number,
                    const struct worker_user *user, struct worker_dir *out,
                    struct argus_error *err)
{
    char name[80], inner[WORKER_PATH_SIZE + 16];

    safe_name(bundle, name, sizeof name);
    int length = snprintf(out->path, sizeof out->path, "%s/workers/%s-%u",
                          state_dir, name, number);
    if (length < 0 || (size_t)length >= sizeof out->path)
        return argus_fail(err, ARGUS_EINVAL,
                          "the path of StateDir is too long");

    int rc = make_dir(out->path, 0750, geteuid(), user->gid, err);
    if (rc != ARGUS_OK)
        return rc;
    (void)snprintf(inner, sizeof inner, "%s/bundle", out->path);
    rc = make_dir(inner, 0750, geteuid(), user->gid, err);
    if (rc == ARGUS_OK) {
        (void)snprintf(inner, sizeof inner, "%s/work", out->path);
        rc = make_dir(inner, 0700, user->uid, user->gid, err);
    }
    if (rc != ARGUS_OK)
        (void)worker_dir_remove(out, UINT32_MAX);
    return rc;
}

int worker_dir_create(const struct worker_dir *dir, const char *name,
                      bool executable, const struct worker_user *user,
                      struct argus_error *err)
{
    char path[WORKER_PATH_SIZE + 128];

    (void)snprintf(path, sizeof path, "%s/%s", dir->path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)argus_fail_errno(err, "make the file %s", path);
        return -1;
    }
    if ((geteuid() == 0 && fchown(fd, geteuid(), user->gid) != 0) ||
        fchmod(fd, executable ? 0550 : 0440) != 0) {
        (void)argus_fail_errno(err, "make the file %s readable", path);
        (void)close(fd);
        return -1;
    }
    return fd;
}

int worker_dir_write(const struct worker_dir *dir, const char *name,
                     const void *data, size_t size, struct argus_error *err)
{
    const struct worker_user self = {.gid = getegid()};
    int fd = worker_dir_create(dir, name, false, &self, err);

    if (fd < 0)
        return ARGUS_EIO;
    ssize_t written = write(fd, data, size);
    if (close(fd) != 0 || written != (ssize_t)size)
        return argus_fail_errno(err, "write %s/%s", dir->path, name);
    return ARGUS_OK;
}

/* ------------------------------------------------------------ removing */

static bool remove_in(int dir_fd, const char *name, unsigned depth,
                      uint32_t *entries);

/* Empty the folder behind fd, which goes with it. @return it is empty. */
static bool empty_dir(int fd, unsigned depth, uint32_t *entries)
{
    DIR *list = fdopendir(fd);
    struct dirent *entry;
    bool is_empty = true;

    if (list == NULL) {
        (void)close(fd);
        return false;
    }
    while (*entries > 0 && (entry = readdir(list)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!remove_in(dirfd(list), entry->d_name, depth + 1, entries))
            is_empty = false;
    }
    if (*entries == 0)
        is_empty = false;
    (void)closedir(list);
    return is_empty;
}

/* A worker may have taken the right to list its folder away. */
static int open_dir(int dir_fd, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir_fd, name, flags);

    if (fd < 0 && errno == EACCES &&
        fchmodat(dir_fd, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
        fd = openat(dir_fd, name, flags);
    return fd;
}

static bool remove_in(int dir_fd, const char *name, unsigned depth,
                      uint32_t *entries)
{
    if (unlinkat(dir_fd, name, 0) == 0) {
        --*entries;
        return true;
    }
    if (errno == ENOENT)
        return true;
    if ((errno != EISDIR && errno != EPERM) || depth > WORKER_DIR_DEPTH_MAX)
        return false;
    int fd = open_dir(dir_fd, name);
    if (fd < 0 || !empty_dir(fd, depth, entries) || *entries == 0)
        return false;
    --*entries;
    return unlinkat(dir_fd, name, AT_REMOVEDIR) == 0;
}

bool worker_dir_remove(const struct worker_dir *dir, uint32_t entries)
{
    bool gone = remove_in(AT_FDCWD, dir->path, 0, &entries);

    if (gone || entries == 0)
        return gone;
    log_write(LOG_LEVEL_WARNING,
              "the folder %s of a worker cannot be removed: "
              "%s",
              dir->path, strerror(errno));
    return true;
}

/* ------------------------------------------------------------ opening */

static void remove_leftovers(const char *workers)
{
    DIR *list = opendir(workers);
    struct dirent *entry;
    struct worker_dir dir;

    while (list != NULL && (entry = readdir(list)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int length = snprintf(dir.path, sizeof dir.path, "%s/%s", workers,
                              entry->d_name);
        if (length < 0 || (size_t)length >= sizeof dir.path)
            continue;
        while (!worker_dir_remove(&dir, SWEEP_STEP))
            ;
    }
    if (list != NULL)
        (void)closedir(list);
}

/* The database is made with the umask of whoever started collectd: what was
 * out of reach behind a closed StateDir must stay so. */
static void close_files(const char *state_dir)
{
    static const char *const names[] = {"argus.db", "argus.db-wal",
                                        "argus.db-shm"};
    char path[WORKER_PATH_SIZE];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", state_dir, names[i]);
        (void)chmod(path, 0640);
    }
}

/* A folder that the user cannot get through: nothing of the bundle could be
 * opened by its path. Access lists are not looked at. */
static void warn_of_barrier(const char *state_dir,
                            const struct worker_user *user)
{
    char path[WORKER_PATH_SIZE];
    struct stat s;

    (void)snprintf(path, sizeof path, "%s", state_dir);
    for (char *slash = strrchr(path, '/'); slash != NULL && slash != path;
         slash = strrchr(path, '/')) {
        *slash = '\0';
        if (stat(path, &s) != 0)
            continue;
        mode_t bit = s.st_uid == user->uid   ? S_IXUSR
                     : s.st_gid == user->gid ? S_IXGRP
                                             : S_IXOTH;
        if ((s.st_mode & bit) == 0) {
            log_write(LOG_LEVEL_WARNING,
                      "user \"%s\" cannot get through %s (mode %o): bundles "
                      "cannot open their own files there",
                      user->name, path, (unsigned)(s.st_mode & 07777));
            return;
        }
    }
}

int worker_dirs_open(const char *state_dir, const struct worker_user *user,
                     struct argus_error *err)
{
    char workers[WORKER_PATH_SIZE];

    int length = snprintf(workers, sizeof workers, "%s/workers", state_dir);
    if (length < 0 || (size_t)length >= sizeof workers)
        return argus_fail(err, ARGUS_EINVAL,
                          "the path of StateDir is too long");
    if (mkdir(workers, 0700) != 0 && errno != EEXIST)
        return argus_fail_errno(err, "make the folder %s", workers);
    remove_leftovers(workers);
    if (!user->is_other)
        return ARGUS_OK;
    close_files(state_dir);
    if (chmod(state_dir, 0751) != 0 || chmod(workers, 0711) != 0)
        return argus_fail_errno(err, "let user \"%s\" through %s", user->name,
                                state_dir);
    warn_of_barrier(state_dir, user);
    return ARGUS_OK;
}
