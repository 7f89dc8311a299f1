/* file.h - small files that are there whole or not at all. */
#ifndef ARGUS_RUNTIME_FILE_H
#define ARGUS_RUNTIME_FILE_H

#include <stddef.h>
#include <sys/stat.h>

#include "base/status.h"

/**
 * Write a file beside the target (path.new), fsync it, rename it over the
 * target, fsync the folder.
 * @param like  owner, group and mode to give it, as far as allowed; NULL: 0600.
 * @retval ARGUS_EFULL  no room. ARGUS_EIO: anything else; the old file is as it
 *                      was, unless only the folder's fsync failed.
 */
int file_replace(const char *path, const char *data, size_t size,
                 const struct stat *like, struct argus_error *err);

/** err from errno: "verb path: ...". @return ARGUS_EFULL or ARGUS_EIO. */
int file_fail(struct argus_error *err, const char *verb, const char *path);

#endif
