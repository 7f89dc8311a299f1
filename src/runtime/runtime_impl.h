/* runtime_impl.h - what the files of the runtime share. Nobody else includes
 * it.
 *   runtime.c    life: open, loop, timers, stop
 *   carry.c      collectd's threads -> engine; engine -> links, disk, log
 *   carry_apply.c  engine <-> workers
 *   carry_keys.c   engine <-> keyring
 *   deliver.c    engine and workers -> deliver thread
 *   counters.c   what is counted, for status and for metrics
 *   questions.c  control socket, series_moved
 *   questions_bundles.c  control socket: pushed configuration
 *   questions_orders.c  control socket: operators and mesh keys */
#ifndef ARGUS_RUNTIME_RUNTIME_IMPL_H
#define ARGUS_RUNTIME_RUNTIME_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include <uv.h>

#include "core/engine.h"
#include "runtime/apply.h"
#include "runtime/beacon.h"
#include "runtime/control.h"
#include "runtime/identity.h"
#include "runtime/mailbox.h"
#include "runtime/runtime.h"
#include "runtime/security.h"
#include "runtime/store.h"
#include "runtime/transport.h"
#include "runtime/trim.h"

/** Bytes from collectd's threads that wait for the loop. */
#define IN_BYTES_MAX (16u << 20)

/** Bytes that wait for the deliver thread. Above half of it metrics links are
 *  not read, so that it does not fill up. */
#define OUT_BYTES_MAX (32u << 20)
#define OUT_BYTES_HIGH (OUT_BYTES_MAX / 2)
#define OUT_BYTES_LOW (OUT_BYTES_MAX / 8)

/** Values in collectd's queue not yet seen, where it has no limit itself. */
#define INTAKE_QUEUE_MAX 16384u

/** Values handed to the engine in one event. */
#define VALUES_STEP_MAX 256

/** Values of workers in collectd's queue, which has no bound itself: beyond the
 *  first workers are not read until they are fewer than the second. */
#define BACKLOG_HIGH 8192u
#define BACKLOG_LOW 2048u

/** What workers get on top of the drain time to end, or to be ended. */
#define WORKERS_END_MS 7000

/** Stored changes and queues that are full are looked after so often. When
 * there are none, all the rest is on the occasion of something else, from EARLY
 * on, or by itself at REST. */
#define TICK_MS 500
#define TICK_EARLY_MS 1900
#define TICK_REST_MS 3000

/** Values of collectd's threads are gathered for so long. */
#define GATHER_MS 20

/* Events that collectd is told of are written first, so that nobody is told
 * twice over a restart; but not more often than that: what comes faster is told
 * before it is written. */
#define NOTIFY_WRITE_MS 20

/** Between two looks at the files of keys and certificates. */
#define SECURITY_MS 1900

/** Between two looks for content that is no longer used. */
#define SWEEP_MS 60000

/** Counters of all parts together; as StatusReply.counters in argus.options. */
#define COUNTERS_MAX 384

struct counters {
    struct engine_counter list[COUNTERS_MAX];
    uint32_t count;
};

/** Times a value that collectd's own limit dropped is dispatched again. */
#define REDISPATCH_MAX 3

/* Tokens of values that the write callback saw, or that passed by it; two
 * buffers change places. A token comes at most once, so twice the queue always
 * suffices, unless chains write a value twice: what is too much is counted, and
 * the value is then taken for stopped by a chain. */
struct token_list {
    pthread_mutex_t lock;
    uint64_t *filling, *taken;
    uint32_t count, max;
    uint64_t dropped;
};

enum question_kind {
    QUESTION_SERIES_MOVED, /* names */
    QUESTION_STATS,        /* answered by counters_snapshot() */
};

/* One question at a time from another thread to the loop. */
struct question {
    enum question_kind kind;
    pthread_mutex_t turn; /* held by the asker */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    uint64_t number, answered_number; /* equal: nothing is asked */
    bool is_closed, answer;
    char names[5][128];
};

enum phase {
    PHASE_RUNNING,
    PHASE_DRAINING, /* EVENT_STOP done; the spool empties */
    PHASE_CLOSING,  /* links say goodbye, handles close */
};

struct runtime {
    struct runtime_options options;
    char **seeds;
    struct runtime_hooks hooks;
    struct mailbox *in, *out;
    struct token_list seen, passed;
    atomic_uint_fast64_t progress; /* token; 0: nothing new */
    struct question question;
    atomic_bool is_frozen, is_stop_wanted, is_out_high, wants_down;
    atomic_uint drain_ms;

    uv_loop_t loop;
    bool is_open, is_broken;
    uv_async_t wake;
    uv_timer_t deadline, tick;
    unsigned handles; /* of the three above */
    uint64_t armed_ms;
    int lock_fd;
    struct identity *identity;
    struct store *store;
    struct security *security; /* NULL: links in the clear */
    struct transport *transport;
    struct beacon *beacon; /* NULL: no Multicast */
    struct control *control;
    uint32_t own_member; /* where we were last found among the members */
    struct apply *apply;
    struct engine *engine;
    struct engine_options engine_options;
    struct hello_facts self;
    struct actions sink;
    bool in_step, wants_identity;
    bool bundles_changed;  /* ACTION_BUNDLES since it was last looked at */
    bool keys_changed;     /* ACTION_KEYS since then */
    bool is_backlogged;    /* workers wait for collectd's queue */
    uint32_t passes;       /* of workers, since the backlog was looked at */
    bool is_applying;      /* apply was started */
    uint64_t token_offset; /* differs for each identity: tokens of values that
                            * an engine of before dispatched mean nothing */
    enum phase phase;
    uint64_t drain_end_ms;
    struct log_limit refused_limit;
    uint64_t intake_refused;  /* the deliver mailbox was full */
    argus_StatusReply status; /* scratch; large */
    argus_SeriesDef series;   /* scratch of the deliver thread */
    uv_timer_t gather;        /* see GATHER_MS */
    atomic_bool is_notice_in; /* a notification is among what was posted */
    uint64_t notified_ms;     /* see NOTIFY_WRITE_MS */
    bool tick_is_slow, tick_is_soon; /* the latter: NOTIFY_WRITE_MS */
    uint64_t ticked_ms;
    uint64_t sweep_due_ms, security_due_ms;
    struct trim trim;

    pthread_mutex_t stats_lock;
    struct counters stats;
    argus_ClockReply stats_clock;
    bool has_stats;
};

uint64_t runtime_now_ms(void);
uint64_t runtime_wall_us(void);

/** Stored changes are written within NOTIFY_WRITE_MS. */
void runtime_write_soon(struct runtime *rt);

/** One step of the engine; sets its timer anew. Never from within another. */
void runtime_step(struct runtime *rt, struct event *event);

/* ---- carry.c */
int carry_open(struct runtime *rt);
void carry_close(struct runtime *rt);

/** Tokens that found no room; see token_list. */
uint64_t carry_tokens_dropped(struct runtime *rt);

/** What collectd's threads posted, into the engine. */
void carry_in(struct runtime *rt);

/** Read metrics links and workers again once the deliver thread has caught up.
 */
void carry_relieve(struct runtime *rt);

/** Stop reading them, if it has much to do. */
void carry_maybe_high(struct runtime *rt);

/** The engine's actions. */
void carry_out(void *context, const struct action *action);
struct transport_listener carry_listener(struct runtime *rt);

struct beacon_listener carry_beacon_listener(struct runtime *rt);

/** What the disk remembers, before EVENT_START. */
void carry_memory(struct runtime *rt);

/** Content that no version of a bundle refers to goes from the disk. */
void carry_sweep(struct runtime *rt);

/* ---- carry_apply.c */
int carry_apply_open(struct runtime *rt, struct argus_error *err);

/** After EVENT_START: what ran before runs again; after the start of another
 *  engine: tell it how bundles are. */
void carry_apply_start(struct runtime *rt);

/* ---- carry_keys.c */

/** Before EVENT_START: what was ordered holds before anybody is dialed. */
void carry_keys_start(struct runtime *rt);

/** Another order about keys is in force. */
void carry_keys_obey(struct runtime *rt);

/** The files gave other keys or certificates. */
void carry_keys_changed(struct runtime *rt);

/* ---- deliver.c */
void deliver_series_begin(struct runtime *rt, const struct series_begin *begin);
void deliver_series_end(struct runtime *rt, uint64_t series);
void deliver_series_reset(struct runtime *rt);
void deliver_value(struct runtime *rt, const struct value_ref *value);
void deliver_event(struct runtime *rt, const argus_Event *event);
void deliver_worker(struct runtime *rt, uint32_t worker, bool begins,
                    const uint8_t *message, size_t size);
void deliver_worker_end(struct runtime *rt, uint32_t worker);

/* ---- questions.c */
int questions_open(struct runtime *rt);
void questions_close(struct runtime *rt);

/** The loop runs: from now on it answers. */
void questions_begin(struct runtime *rt);

/** Nobody is answered from now on; who waits is let go. */
void questions_shut(struct runtime *rt);

void questions_answer(struct runtime *rt);

/** From a thread of collectd's; waits for a second at most.
 *  @param names  of a series, or NULL
 *  @return the answer; false if there is none. */
bool questions_ask(struct runtime *rt, enum question_kind kind,
                   const char *const names[5]);
struct control_hooks questions_hooks(struct runtime *rt);

/* ---- questions_bundles.c: hooks of control.h */
bool questions_bundle(void *context, uint32_t index, argus_BundleReply *out);
bool questions_bundle_version(void *context, const char *name, uint32_t version,
                              argus_BundleReply *out);
size_t questions_bundle_content(void *context,
                                const uint8_t hash[CONTENT_HASH_SIZE],
                                uint64_t offset, uint8_t *out, size_t size,
                                uint64_t *total);
int questions_bundle_chunk(void *context, uint64_t staged, const uint8_t *data,
                           size_t size, struct argus_error *err);
int questions_bundle_push(void *context, const argus_SignedBundle *bundle,
                          struct argus_error *err);
bool questions_bundle_status(void *context, const char *name,
                             argus_BundleStatusReply *out);
bool questions_bundle_node(void *context, const char *name, uint32_t index,
                           argus_BundleNodeReply *out);

/* ---- questions_orders.c: hooks of control.h */
bool questions_operator(void *context, uint32_t index,
                        argus_OperatorReply *out);
int questions_has_keyring(void *context, struct argus_error *err);
bool questions_key(void *context, uint32_t index, argus_KeyReply *out);
int questions_key_wrap(void *context, const uint8_t secret[32],
                       argus_WrappedKey *out, struct argus_error *err);
void questions_clock(void *context, argus_ClockReply *out);
bool questions_clock_node(void *context, uint32_t *index,
                          argus_ClockNodeReply *out);

/* ---- counters.c */

/** The runtime's and its owner's, appended to the engine's. */
void counters_status(struct runtime *rt, argus_StatusReply *out);

/** For runtime_stats(). */
void counters_snapshot(struct runtime *rt);

#endif
