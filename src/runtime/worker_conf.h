/* worker_conf.h - the configuration that a worker's collectd starts with: what
 * it needs of the daemon's own, and the block of argus_worker.so (see
 * plugin/worker.h). The bundle's text is not in it. */
#ifndef ARGUS_RUNTIME_WORKER_CONF_H
#define ARGUS_RUNTIME_WORKER_CONF_H

#include "runtime/runtime.h"
#include "runtime/worker_dir.h"

/**
 * @param dir        the worker's folder.
 * @param is_loaded  asked of each plugin in PluginDir; may be NULL.
 * @return length without the NUL; 0: does not fit.
 */
size_t worker_conf_write(const struct runtime_options *options,
                         const struct worker_user *user, const char *bundle,
                         const char *dir,
                         bool (*is_loaded)(void *context, const char *plugin),
                         void *context, char *out, size_t size);

/** May a bundle load that plugin although the daemon has it, too? Those that
 *  are configured many times may. */
bool worker_conf_may_double(const char *plugin);

/** Where argus_worker.so lies: beside argus.so. false: it does not. */
bool worker_conf_has_plugin(const struct runtime_options *options);

#endif
