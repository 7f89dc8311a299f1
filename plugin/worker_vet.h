/* worker_vet.h - what of collectd.conf may stand in a bundle.
 *
 * Judged is the tree that collectd's own parser made, so quoting, case, line
 * continuation and nesting cannot get around it. The top level is an allow
 * list; plugin names go through the node's Allow and Deny, compared as collectd
 * compares them when it loads.
 *
 * This is no wall around a plugin that is let in: what that may do is what its
 * user may do. */
#ifndef ARGUS_PLUGIN_WORKER_VET_H
#define ARGUS_PLUGIN_WORKER_VET_H

#include <stddef.h>
#include <stdint.h>

#include "collectd.h"

#include "liboconfig/oconfig.h"

#include "base/status.h"

/** Blocks in blocks; stock plugins need five. */
#define VET_DEPTH_MAX 16

/** What a worker may ask for; collectd itself knows no upper bound. */
#define VET_READ_THREADS_MAX 64
#define VET_WRITE_THREADS_MAX 16

struct vet_rules {
    const char *const *allow; /* plugin names; "*": any */
    size_t allow_count;       /* 0: any */
    const char *const *deny;  /* wins over allow; "": denies nothing */
    size_t deny_count;
    const char *const *loaded; /* by the daemon itself: not in a bundle, too */
    size_t loaded_count;
    const char *const *shares; /* folders that TypesDB may name files in */
    size_t shares_count;
    const char *files; /* the bundle's own folder, another such; "": none */
    uint32_t plugins_max;
};

struct vet_found {
    char pre_cache_chain[DATA_MAX_NAME_LEN]; /* the chain that comes first */
};

/**
 * @param out  written on ARGUS_OK only.
 * @retval ARGUS_EDENIED  err names the line and what may stand in its place.
 */
int vet_tree(const oconfig_item_t *root, const struct vet_rules *rules,
             struct vet_found *out, struct argus_error *err);

/**
 * What can be told before parsing: size, binary bytes, length of lines (the
 * parser takes time with the square of a token's length).
 * @param name  of the bundle, for the text.
 * @retval ARGUS_EDENIED  err names the line.
 */
int vet_text(const char *text, size_t size, size_t size_max, const char *name,
             struct argus_error *err);

#endif
