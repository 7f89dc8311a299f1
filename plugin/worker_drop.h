/* worker_drop.h - from the daemon's rights to those of a bundle. */
#ifndef ARGUS_PLUGIN_WORKER_DROP_H
#define ARGUS_PLUGIN_WORKER_DROP_H

#include <stdint.h>

#include "base/status.h"

/**
 * Become that user, with its groups and no others, for good; gain nothing by a
 * set-uid program; be the first to go when memory is short. Call while there is
 * one thread: two of these hold for threads made later only.
 * @param user       NULL or "": stay who the process is.
 * @param processes  how many more processes and threads of that user this
 *                   process may see before it can make none; 0: no limit.
 * @retval ARGUS_ENOENT  no such user. @retval ARGUS_EDENIED  it cannot be done.
 */
int drop_rights(const char *user, uint32_t processes, struct argus_error *err);

#endif
