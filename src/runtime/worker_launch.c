#include "argus_config.h" /* first: what glibc shows hangs on it */

#include "runtime/worker_launch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONFIG_SIZE 32768

static int copy_content(const struct worker_options *o, uint64_t offset,
                        uint64_t size, int fd, struct argus_error *err)
{
    uint8_t data[CONTENT_CHUNK_SIZE];

    while (size > 0) {
        size_t step = size < sizeof data ? (size_t)size : sizeof data;
        step = content_read(o->chunks, o->manifest, offset, data, step);
        if (step == 0)
            return argus_fail(err, ARGUS_ECORRUPT,
                              "a piece of the bundle is missing or damaged");
        if (write(fd, data, step) != (ssize_t)step)
            return argus_fail_errno(err, "write a file of the bundle");
        offset += step;
        size -= step;
    }
    return ARGUS_OK;
}

/* The text, in memory that nobody can change any more. */
static int make_text(const struct worker_options *o, int *out,
                     struct argus_error *err)
{
    int fd = memfd_create("argus bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return argus_fail_errno(err, "memory for the text of the bundle");
    int rc = copy_content(o, 0, o->manifest->files[0].size, fd, err);
    if (rc == ARGUS_OK &&
        (lseek(fd, 0, SEEK_SET) != 0 ||
         fcntl(fd, F_ADD_SEALS,
               F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0))
        rc = argus_fail_errno(err, "seal the text of the bundle");
    if (rc == ARGUS_OK)
        *out = fd;
    else
        (void)close(fd);
    return rc;
}

static bool is_file_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

static int make_files(const struct worker_options *o,
                      const struct worker_dir *dir, struct argus_error *err)
{
    uint64_t offset = o->manifest->files[0].size;
    char name[96];

    for (pb_size_t i = 1; i < o->manifest->files_count; i++) {
        const argus_BundleFile *file = &o->manifest->files[i];
        if (!is_file_name(file->name))
            return argus_fail(err, ARGUS_EINVAL,
                              "\"%s\" is no name for a file of a bundle",
                              file->name);
        (void)snprintf(name, sizeof name, "bundle/%s", file->name);
        int fd = worker_dir_create(dir, name, file->executable, o->user, err);
        if (fd < 0)
            return ARGUS_EIO;
        int rc = copy_content(o, offset, file->size, fd, err);
        (void)close(fd);
        if (rc != ARGUS_OK)
            return rc;
        offset += file->size;
    }
    return ARGUS_OK;
}

static int make_config(const struct worker_options *o,
                       const struct worker_dir *dir, struct argus_error *err)
{
    char *text = malloc(CONFIG_SIZE);
    int rc = ARGUS_ENOMEM;

    if (text == NULL)
        return argus_fail(err, rc, "no memory for a worker's configuration");
    size_t size =
        o->configure(o->context, o->bundle, dir->path, text, CONFIG_SIZE);
    if (size == 0)
        rc = argus_fail(err, ARGUS_EINVAL,
                        "a worker's configuration is longer than %u bytes",
                        CONFIG_SIZE);
    else
        rc = worker_dir_write(dir, "collectd.conf", text, size, err);
    free(text);
    return rc;
}

/* The ends that the worker gets; they are closed here once it has them. */
struct ends {
    int socket, text, output;
};

static void close_ends(struct ends *e)
{
    if (e->socket >= 0)
        (void)close(e->socket);
    if (e->text >= 0)
        (void)close(e->text);
    if (e->output >= 0)
        (void)close(e->output);
}

static int make_ends(const struct worker_options *o, struct worker_links *ours,
                     struct ends *e, struct argus_error *err)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return argus_fail_errno(err, "a socket for a worker");
    ours->socket = pair[0];
    e->socket = pair[1];
    if (pipe2(pair, O_CLOEXEC) != 0)
        return argus_fail_errno(err, "a pipe for a worker");
    ours->output = pair[0];
    e->output = pair[1];
    if (fcntl(ours->socket, F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(ours->output, F_SETFL, O_NONBLOCK) != 0)
        return argus_fail_errno(err, "a pipe for a worker");
    return make_text(o, &e->text, err);
}

int worker_launch(const struct worker_options *o, const struct worker_dir *dir,
                  struct worker_links *ours, struct worker_process *out,
                  struct argus_error *err)
{
    char title[96], config[WORKER_PATH_SIZE + 32], work[WORKER_PATH_SIZE + 32];
    char mark[64];
    struct ends ends = {-1, -1, -1};

    int rc = make_files(o, dir, err);
    if (rc == ARGUS_OK)
        rc = make_config(o, dir, err);
    if (rc == ARGUS_OK)
        rc = make_ends(o, ours, &ends, err);
    (void)snprintf(title, sizeof title, "argus-worker: %s", o->bundle);
    (void)snprintf(config, sizeof config, "%s/collectd.conf", dir->path);
    (void)snprintf(work, sizeof work, "%s/work", dir->path);
    /* Of no other daemon on this machine: what bears it is killed in the end.
     */
    (void)snprintf(mark, sizeof mark, "%d.%u", (int)getpid(), o->number);
    const struct worker_spawn how = {
        .program = o->program,
        .title = title,
        .config = config,
        .work_dir = work,
        .mark = mark,
        .socket = ends.socket,
        .text = ends.text,
        .output = ends.output,
    };
    if (rc == ARGUS_OK)
        rc = worker_spawn(&how, out, err);
    close_ends(&ends);
    return rc;
}
