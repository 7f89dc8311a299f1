/* runtime.h - a node of the mesh: the engine in a loop, with sockets, disk and
 * clocks around it.
 *
 * Threads: the owner runs runtime_run() in one thread and runtime_deliver() in
 * another; both block until runtime_stop(). The post functions may be called
 * from any thread at any time between runtime_new() and runtime_free() and
 * never block. The loop thread owns every piece of state.
 *
 * An assertion that fails in the loop or the deliver thread (a bug of argus)
 * costs one error line and takes argus out of service: links are cut, posts
 * are refused, the two functions return. collectd goes on. */
#ifndef ARGUS_RUNTIME_RUNTIME_H
#define ARGUS_RUNTIME_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "core/membership.h"
#include "core/value.h"

struct runtime;

struct runtime_address {
    char host[128]; /* name or IP literal */
    char port[32];  /* number or service name */
};

/* From the configuration, names and paths resolved. Copied. */
struct runtime_options {
    argus_Role role;
    char cluster[64];
    struct runtime_address listen[8];
    uint32_t listen_count; /* 0: all interfaces with a key, else loopback */
    struct runtime_address advertise; /* empty host: as observed */
    const char *const *seeds;         /* "host:port"; copied */
    uint32_t seeds_count;
    char name[128];
    char zone[128];
    argus_Tag tags[16];
    uint32_t tags_count;
    char state_dir[1024];
    char control_socket[108]; /* fits sockaddr_un; empty: none */
    char control_group[64];   /* empty: leave the group */

    /* <Security>: paths, empty where there is none */
    char key_file[1024];
    char certificate[1024], private_key[1024], ca[1024], crl[1024];
    bool allow_plaintext; /* clear links beyond loopback */

    bool multicast;
    enum membership_strategy strategy;
    bool zone_bias;
    uint32_t active_max, passive_max;
    uint32_t shuffle_ms, ping_ms, suspect_ms;
    uint32_t retain_offline_s;
    bool route;
    float weight;
    uint64_t spool_bytes_max;
    uint32_t clock_max_offset_ms;
    uint32_t clock_alarm_ms;
    argus_Severity forward;
    uint32_t retain_events;
    uint32_t event_rate;

    /* <Apply> */
    bool apply;                   /* run what is pushed, if a key is trusted */
    uint8_t trusted_keys[16][32]; /* Ed25519 */
    uint32_t trusted_keys_count;
    char allow[64][64]; /* plugin names; "*": any */
    uint32_t allow_count;
    char deny[64][64];
    uint32_t deny_count;
    char apply_user[64]; /* whom workers run as; empty: whom the daemon does */
    uint32_t workers_max;
    uint32_t start_timeout_ms, probation_ms;
    uint64_t bundle_size_max; /* bytes of content of one bundle */

    /* of collectd, for the configuration of a worker */
    char hostname[128];
    char plugin_dir[1024];
    char types_db[1024]; /* the stock one */
    double interval_s;
    uint32_t write_threads; /* collectd's WriteThreads */
    uint64_t write_limit;   /* collectd's WriteQueueLimitLow; 0: none */
    char collectd_version[32];
};

struct runtime_counter {
    const char *name; /* snake_case, stable */
    uint64_t value;
};

/* What the plugin does for the runtime. describe, counters, is_held, backlog
 * and is_loaded are called in the loop thread, the others in the deliver
 * thread, in the order of the mesh. */
struct runtime_hooks {
    void *context;
    value_describe describe;
    /** The owner's own counters, for status and metrics; may be NULL. @return
     *  number written, at most max. */
    size_t (*counters)(void *context, struct runtime_counter *out, size_t max);
    void (*series_begin)(void *context, const struct series_begin *series);
    void (*series_end)(void *context, uint64_t series);
    /** Hand a value to collectd. @return true: already written (plugin_write
     *  returned), so it counts as seen; false: the write callback will say. */
    bool (*dispatch)(void *context, const struct value_ref *value);
    /** Is that value in the hands of a write thread, not yet posted as seen or
     *  passed? In the loop thread; must be quick. NULL: nobody knows. */
    bool (*is_held)(void *context, uint64_t token);
    void (*notify)(void *context, const argus_Event *event);
    /** Every series begun so far is void, without a series_end for each: this
     *  node got a new identity, and handles are given out anew. */
    void (*series_reset)(void *context);
    /** A message of a worker (wire/pair.h: SET, VALUE or NOTIFICATION), checked
     *  already. Workers are told apart by a number that is never used again;
     *  a SET comes before the first value of its type. begins: the first value
     *  that this worker has for a series that another one delivered before. */
    void (*worker_message)(void *context, uint32_t worker, bool begins,
                           const uint8_t *message, size_t size);
    /** That worker sends no more. */
    void (*worker_end)(void *context, uint32_t worker);
    /** Values of workers in collectd's queue; NULL: nobody knows. */
    uint64_t (*backlog)(void *context);
    /** Did the daemon's own configuration load that plugin? */
    bool (*is_loaded)(void *context, const char *plugin);
};

/** Opens nothing yet. @retval ARGUS_ENOMEM, ARGUS_EINVAL with a text. */
int runtime_new(const struct runtime_options *options,
                const struct runtime_hooks *hooks, struct runtime **out,
                struct argus_error *err);

/** Lock StateDir, load the identity, bind, open the control socket. Call in
 *  init, before the threads. On failure nothing stays open. */
int runtime_open(struct runtime *rt, struct argus_error *err);

/** Where peers dial this node; ":port" while peers must say which host they
 *  see. After runtime_open(), before the threads. */
const char *runtime_address(const struct runtime *rt);

/** The loop; returns after runtime_stop() once all is closed. */
void runtime_run(struct runtime *rt);

/** The deliver thread; returns after runtime_stop(). */
void runtime_deliver(struct runtime *rt);

/** From any thread, once: what is queued for the mesh is sent for at most
 *  drain_ms, then links close. */
void runtime_stop(struct runtime *rt, uint32_t drain_ms);

/** After both threads have been joined (or never started). */
void runtime_free(struct runtime *rt);

/** @return false when refused (mailbox full) and counted. */
bool runtime_post_value(struct runtime *rt, const struct value_input *value);
bool runtime_post_notice(struct runtime *rt, const argus_Event *event);

/** A dispatched value reached the write callback. Never refused. */
void runtime_post_seen(struct runtime *rt, uint64_t token);

/** A dispatched value is through with chains and writers, and the write
 *  callback was not among them. Never refused. */
void runtime_post_passed(struct runtime *rt, uint64_t token);

/** The dispatched value with that token, and all before it, have left
 *  collectd's queue. Of several posts the last one counts. */
void runtime_post_progress(struct runtime *rt, uint64_t token);

/** Does any worker want the daemon's values and flushes? Costs one atomic read.
 *  Notifications are few: they are posted in any case. */
bool runtime_wants_down(struct runtime *rt);

/** One of them, as a message of wire/pair.h, for every worker that wants it
 *  but `except` (0: none): what a worker sent does not go back to it.
 *  @return false when refused and counted. */
bool runtime_post_down(struct runtime *rt, uint32_t except,
                       const uint8_t *message, size_t size);

/** Nothing is acknowledged from here on: collectd is shutting down. */
void runtime_post_freeze(struct runtime *rt);

/** Does a series that went missing here live on at another aggregator? Asks
 *  the loop and waits for at most a second; false when unknown. */
bool runtime_series_moved(struct runtime *rt, const char *host,
                          const char *plugin, const char *plugin_instance,
                          const char *type, const char *type_instance);

/* What an operator would graph, for the read callback: asks the loop and waits
 * for at most a second; the last answer counts if there is none. All other
 * counters are in argusctl status --json. */
struct runtime_stat {
    const char *group; /* plugin instance: mesh, route, apply, spool, ... */
    const char *type;  /* of the stock types.db */
    const char *instance;
    bool gauge; /* else derive */
    double gauge_value;
    int64_t derive_value;
};

/** @return number of entries written, at most max. Any thread. */
size_t runtime_stats(struct runtime *rt, struct runtime_stat *out, size_t max);

#endif
