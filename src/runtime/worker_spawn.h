/* worker_spawn.h - starting the process of a worker, and ending it with all
 * that it started.
 *
 * A worker leads a session of its own and gets five descriptors: nothing, its
 * output twice, the socket, the text of the bundle. No child of the daemon is
 * waited for, since SIGCHLD is ignored or another plugin's: that it ended is
 * seen by a pidfd, or by its id where the kernel has none. */
#ifndef ARGUS_RUNTIME_WORKER_SPAWN_H
#define ARGUS_RUNTIME_WORKER_SPAWN_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

/** Descriptors that a worker finds open besides 0, 1 and 2. */
#define WORKER_SOCKET_FD 3
#define WORKER_TEXT_FD 4

/* What each process of a worker may use. */
#define WORKER_MEMORY_MAX ((uint64_t)768 << 20)
#define WORKER_FILE_MAX ((uint64_t)1 << 30)
#define WORKER_FILES_OPEN_MAX 1024

/** Walks through /proc after which strays are given up. */
#define WORKER_HUNTS_MAX 100

struct worker_spawn {
    const char *program; /* NULL: the program that runs here */
    const char *title;   /* its argv[0] */
    const char *config, *work_dir;
    const char *mark;         /* in the environment of all that it starts */
    int socket, text, output; /* stay the caller's */
};

struct worker_process {
    pid_t pid;
    int pidfd; /* -1: the kernel has none */
    char mark[64];
    DIR *proc; /* a walk under way */
    bool has_found;
    unsigned hunts;
};

int worker_spawn(const struct worker_spawn *how, struct worker_process *out,
                 struct argus_error *err);

/** SIGKILL for its process group, itself included. */
void worker_process_kill(const struct worker_process *p);

bool worker_process_is_dead(const struct worker_process *p);

/** Once it is dead: look at some more entries of /proc, and kill what bears its
 *  session or its mark. @return true: nothing is left, or it was given up. */
bool worker_process_hunt(struct worker_process *p, unsigned entries);

void worker_process_close(struct worker_process *p);

/** Does one of its descriptors hold a UNIX socket that is bound to a path? */
bool worker_process_holds_path(const struct worker_process *p);

#endif
