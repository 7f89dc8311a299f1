/* conf.h - what a collectd.conf says of argus, for the doctor.
 *
 * Not collectd's grammar, which lives in the daemon: options one a line,
 * quotes, blocks and Include are enough to find the <Plugin argus> blocks and
 * what they name. What cannot be read is reported, never guessed. */
#ifndef ARGUS_CLI_CONF_H
#define ARGUS_CLI_CONF_H

#include <stdbool.h>

#include "base/status.h"

#define CONF_VALUES_MAX 8
#define CONF_DEPTH_MAX 8 /* of blocks, and of files that include files */
#define CONF_FILES_MAX 256
#define CONF_LINE_MAX 4096

struct conf_option {
    const char *path; /* "" at the top; "Plugin argus", "Plugin
                         argus/Security": blocks as the file has them */
    const char *key;
    const char *values[CONF_VALUES_MAX];
    unsigned count;
    const char *file;
    unsigned line;
};

/** Borrowed for the call. */
typedef void (*conf_on_option)(void *context, const struct conf_option *option);

/** Hand on every option of the file and of what it includes.
 *  @retval ARGUS_EIO       a file cannot be read; err names it.
 *  @retval ARGUS_ECORRUPT  a line makes no sense; err names it. */
int conf_read(const char *path, conf_on_option on_option, void *context,
              struct argus_error *err);

#endif
