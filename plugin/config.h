/* config.h - from the `<Plugin argus>` blocks to struct runtime_options, or to
 * one clear refusal.
 *
 * The file speaks in seconds and MiB, as collectd does; the options in
 * milliseconds and bytes; the unit changes here and nowhere else. Several
 * blocks add up: what may be repeated accumulates, of the rest the last one
 * stands. A bad value refuses everything: a node with half its settings is
 * worse than a node that does not start.
 *
 * Order of calls: config_init(), config_block() for each block while collectd
 * reads its file, config_resolve() in the init callback (Hostname and BaseDir
 * are not known earlier), config_free(). One thread. */
#ifndef ARGUS_PLUGIN_CONFIG_H
#define ARGUS_PLUGIN_CONFIG_H

#include "collectd.h"

#include "liboconfig/oconfig.h"

#include "runtime/runtime.h"

/** Port of a Listen, Advertise or Seed that names none. */
#define CONFIG_PORT "25827"

/** Seeds that all blocks together may name. The core has room for twice as
 *  many contacts: what argusctl join adds comes on top. */
#define CONFIG_SEEDS_MAX 32

/** TrustedKeys that all blocks together may name. */
#define CONFIG_KEYS_MAX 16

struct config {
    struct runtime_options options; /* whole after config_resolve() */
    char *seeds[CONFIG_SEEDS_MAX];  /* "host:port"; options.seeds points here */
    bool route_is_set;              /* Enable in <Route> was given */
    bool weight_is_set;             /* Weight in <Route> was given */
    bool active_is_set, passive_is_set, bias_is_set,
        shuffle_is_set;               /* likewise
                                       * in <Membership> */
    bool deny_is_set, user_is_set;    /* Deny, User in <Apply> were given */
    char *key_files[CONFIG_KEYS_MAX]; /* TrustedKey */
    uint32_t key_files_count;
};

/** Every option at its default; what depends on the host is left empty. */
void config_init(struct config *c);

/**
 * Take over one `<Plugin argus>` block.
 * @param block  borrowed; its own key and values are not looked at.
 * @retval ARGUS_EINVAL  an option is unknown, not built yet or out of range;
 *                       err names it, its value and what is allowed. What was
 *                       read so far stands, so the config is of no more use.
 * @retval ARGUS_ENOMEM  a seed could not be kept.
 */
int config_block(struct config *c, const oconfig_item_t *block,
                 struct argus_error *err);

/* What collectd itself knows of the host; all borrowed for the call. */
struct config_host {
    const char *hostname;         /* NodeName's default */
    const char *base_dir;         /* BaseDir; when relative, work_dir is it */
    const char *work_dir;         /* absolute; relative paths hang on it */
    const char *write_threads;    /* WriteThreads */
    const char *write_limit_high; /* WriteQueueLimitHigh; NULL: none */
    const char *write_limit_low;  /* WriteQueueLimitLow; NULL: half of that */
    const char *plugin_dir;       /* where argus.so lies; "": unknown */
    double interval_s;            /* Interval */
    bool is_root;
};

/**
 * Fill in what hangs on the host, read the trusted keys and check what options
 * ask of each other.
 * @retval ARGUS_EINVAL  with a text, as above.
 */
int config_resolve(struct config *c, const struct config_host *host,
                   struct argus_error *err);

/** Is there a key, or a certificate, to protect links with? */
bool config_protects(const struct config *c);

void config_free(struct config *c);

#endif
