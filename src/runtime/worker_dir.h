/* worker_dir.h - the folders of workers, StateDir/workers/<bundle>-<number>.
 *
 *   collectd.conf  what the worker's collectd reads; generated
 *   bundle/        the files of the bundle
 *   work/          where it runs; the only place that its user may write to
 *
 * All but work/ belongs to the daemon's user and is readable by the worker's
 * group alone. A worker fills work/ with what it likes: removing it follows no
 * link, and goes in small steps, since the loop must not wait for it. */
#ifndef ARGUS_RUNTIME_WORKER_DIR_H
#define ARGUS_RUNTIME_WORKER_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

#define WORKER_PATH_SIZE 1280

/** Folders in folders that are removed; deeper ones stay and are counted. */
#define WORKER_DIR_DEPTH_MAX 64

/* Whom a worker runs as. */
struct worker_user {
    bool is_other; /* not whom the daemon does: it must drop privileges */
    uid_t uid;
    gid_t gid;
    char name[64];
};

/** Look a user up. An empty name, or the daemon's own: is_other is false.
 *  @retval ARGUS_ENOENT  no such user; ARGUS_EDENIED: the daemon is not root.
 */
int worker_user_find(const char *name, struct worker_user *out,
                     struct argus_error *err);

struct worker_dir {
    char path[WORKER_PATH_SIZE];
};

/** Make StateDir/workers, and both such that the user can get through them but
 *  not list them; what an earlier daemon left there is removed. */
int worker_dirs_open(const char *state_dir, const struct worker_user *user,
                     struct argus_error *err);

/** Make a folder of its own. On failure nothing is left. */
int worker_dir_make(const char *state_dir, const char *bundle, uint32_t number,
                    const struct worker_user *user, struct worker_dir *out,
                    struct argus_error *err);

/** Write a file at once, read-only. @param name  "collectd.conf" or
 *  "bundle/x". */
int worker_dir_write(const struct worker_dir *dir, const char *name,
                     const void *data, size_t size, struct argus_error *err);

/** Make one that the caller fills and closes. @return descriptor, or -1. */
int worker_dir_create(const struct worker_dir *dir, const char *name,
                      bool executable, const struct worker_user *user,
                      struct argus_error *err);

/** Remove at most `entries` of it. @return true: all is gone, or cannot be. */
bool worker_dir_remove(const struct worker_dir *dir, uint32_t entries);

#endif
