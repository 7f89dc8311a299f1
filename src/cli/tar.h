/* tar.h - an archive of texts, as POSIX (ustar) has it: what every tar reads.
 */
#ifndef ARGUS_CLI_TAR_H
#define ARGUS_CLI_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

/** Longest name of a file in it, its NUL counted. */
#define TAR_NAME_SIZE 100

/** Add a file, mode 0600. @return false: it could not be written, or the name
 *  is too long. */
bool tar_add(FILE *out, const char *name, const void *data, size_t size,
             time_t time);

/** The end of it. */
bool tar_finish(FILE *out);

#endif
