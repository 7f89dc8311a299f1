#include "runtime/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int file_fail(struct argus_error *err, const char *verb, const char *path)
{
    bool is_full = errno == ENOSPC || errno == EDQUOT;

    (void)argus_fail_errno(err, "%s %s", verb, path);
    return is_full ? ARGUS_EFULL : ARGUS_EIO;
}

static int sync_folder(const char *path)
{
    char folder[1100];

    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return 0;
    slash[slash == folder] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    (void)close(fd);
    return rc;
}

/* Not allowed to give it away: then it stays our own, and nobody else gets to
 * read it. */
static void make_like(int fd, const struct stat *like)
{
    if (fchown(fd, like->st_uid, like->st_gid) == 0)
        (void)fchmod(fd, like->st_mode & 0777);
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return fsync(fd);
}

int file_replace(const char *path, const char *data, size_t size,
                 const struct stat *like, struct argus_error *err)
{
    char fresh[1110];
    int rc;

    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    (void)unlink(fresh); /* left by a crash; O_EXCL keeps links out */
    int fd =
        open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return file_fail(err, "create", fresh);
    if (like != NULL)
        make_like(fd, like);
    if (write_all(fd, data, size) != 0) {
        rc = file_fail(err, "write", fresh);
        goto close_fd;
    }
    if (rename(fresh, path) != 0) {
        rc = file_fail(err, "rename to", path);
        goto close_fd;
    }
    (void)close(fd);
    if (sync_folder(path) != 0)
        return file_fail(err, "sync the folder of", path);
    return ARGUS_OK;

close_fd:
    (void)close(fd);
    (void)unlink(fresh);
    return rc;
}
