/* worker_launch.h - from a version of a bundle to a process: its files and its
 * configuration into the folder, its text into sealed memory, the ends of what
 * joins the two processes, the start. A part of worker.h, for it alone. */
#ifndef ARGUS_RUNTIME_WORKER_LAUNCH_H
#define ARGUS_RUNTIME_WORKER_LAUNCH_H

#include "base/status.h"
#include "runtime/worker.h"
#include "runtime/worker_dir.h"
#include "runtime/worker_spawn.h"

/* The daemon's ends; -1: none. Not blocking. */
struct worker_links {
    int socket; /* messages of wire/pair.h */
    int output; /* its standard output and error */
};

/** @param dir   made, and empty.
 *  @param ours  what is open in it is the caller's to close, on failure too.
 *  @retval ARGUS_EIO, ARGUS_EINVAL, ARGUS_ECORRUPT, ARGUS_ENOMEM with a text */
int worker_launch(const struct worker_options *options,
                  const struct worker_dir *dir, struct worker_links *ours,
                  struct worker_process *out, struct argus_error *err);

#endif
