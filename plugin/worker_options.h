/* worker_options.h - the <Plugin argus_worker> block that the daemon writes;
 * what stands in it is in worker.h. */
#ifndef ARGUS_PLUGIN_WORKER_OPTIONS_H
#define ARGUS_PLUGIN_WORKER_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "collectd.h"

#include "liboconfig/oconfig.h"

#include "base/status.h"

#define OPTIONS_NAMES_MAX 256

struct option_names {
    char *list[OPTIONS_NAMES_MAX];
    size_t count;
};

struct worker_options {
    int socket, bundle; /* descriptors */
    char *name;         /* the texts are owned; NULL: not given */
    char *user;
    char *files;
    char *plugin_dir;
    struct option_names shares, allow, deny, loaded;
    uint32_t start_ms, read_ms;
    uint32_t processes;
    uint32_t plugins_max;
    uint32_t text_max;
};

/** @retval ARGUS_EINVAL  err names the line: a bug of the daemon's. */
int options_read(const oconfig_item_t *block, struct worker_options *out,
                 struct argus_error *err);

#endif
