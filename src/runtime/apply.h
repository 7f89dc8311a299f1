/* apply.h - which bundles run on this node, and in which version.
 *
 * For each name there is a version that is wanted (the head in force, if this
 * node is its target, trusts its key and may run it) and a last good one, which
 * passed its trial. What is wanted starts beside what runs, with its values
 * held (gate.h); once it is ready it takes over and is on trial for Probation
 * seconds, in which it must live and publish; then it is the good one.
 *   - It cannot start: what ran runs on; `failed`. If what ran holds what the
 *     new one needs (a port, a socket's path), that is stopped first and the
 *     new one started alone; fails that, too, the old one is brought back.
 *   - It dies or falls silent on trial: the last good one again; `rolled-back`.
 *   - A good one dies: it is started again, after 1, 2, 4, ... 60 seconds.
 *   - Something newer is wanted: a start or a trial ends, and that is next.
 *   - The key that signed it is revoked: it ends at once, `refused`.
 * A version that failed or was rolled back is not tried again until another one
 * is wanted. What was on trial when the daemon died without a word neither.
 *
 * At start, what is known to work comes first: the last good version, before
 * any other node was heard of; then what is wanted.
 *
 * One thread, the loop's. */
#ifndef ARGUS_RUNTIME_APPLY_H
#define ARGUS_RUNTIME_APPLY_H

#include <uv.h>

#include "core/engine.h"
#include "runtime/runtime.h"
#include "runtime/store.h"

/** Names that have something to do with this node; as the core's bound. */
#define APPLY_SUBJECTS_MAX 320

/** A start that takes no longer is told to nobody. */
#define APPLY_HUSH_MS 3000

struct apply;

/* What apply needs of its owner. Called from the loop; none may call back. */
struct apply_world {
    void *context;
    bool (*head)(void *context, uint32_t index, struct bundle_view *out);
    bool (*by_hash)(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                    struct bundle_view *out);
    /** All states, whenever one of them has changed. */
    void (*states)(void *context, const argus_BundleState *states,
                   uint32_t count);
    /** Versions that run or are to run again, all of them, whenever that
     *  changes: they must not be forgotten. */
    void (*kept)(void *context, const uint8_t (*hashes)[CONTENT_HASH_SIZE],
                 uint32_t count);
    /** Keep on disk; NULL: forget the name. */
    void (*keep)(void *context, const char *name,
                 const struct store_applied *applied);
    /** Something went wrong: for the timeline. */
    void (*report)(void *context, argus_Severity severity, const char *bundle,
                   const char *text);
    /** A message of a worker, for collectd; see gate_pass. */
    void (*pass)(void *context, uint32_t worker, bool begins,
                 const uint8_t *message, size_t size);
    void (*gone)(void *context, uint32_t worker); /* it sends no more */
    /** Does any worker want the daemon's values? */
    void (*wants_down)(void *context, bool wants);
    bool (*is_loaded)(void *context, const char *plugin); /* may be NULL */
};

struct apply_options {
    uv_loop_t *loop;
    const struct runtime_options *runtime; /* outlives it */
    struct chunk_store chunks;
    const char *program; /* what workers run; NULL: what runs here */
};

struct apply_stats {
    uint64_t starts, switches, good; /* workers; versions */
    uint64_t failed, refused, rolled_back, crashed, restarted;
    uint64_t old_first;
    uint64_t states_dropped; /* no room in the record */
    uint64_t sets_refused;   /* types that workers are not told of */
};

/** Makes folders ready. What is missing to run workers does not fail it: it is
 *  then the error of each bundle. @retval ARGUS_ENOMEM */
int apply_new(const struct apply_options *options,
              const struct apply_world *world, struct apply **out);

/** What the disk remembers of a name; before apply_start(). */
void apply_recall(struct apply *a, const char *name,
                  const struct store_applied *applied);

/** The heads are known as far as the disk knows them. */
void apply_start(struct apply *a);

/** A head, or whether its content is here, has changed. */
void apply_changed(struct apply *a);

/** The states must be told anew: there is another engine. */
void apply_republish(struct apply *a);

/** Take nothing more from workers for now, or again. */
void apply_pause(struct apply *a, bool pause);

/** A message for all workers that want it but `except`: notifications all do,
 *  values and flushes those with writers. */
void apply_down(struct apply *a, uint32_t except, const uint8_t *message,
                size_t size);

/** In order: workers drain and end; nothing starts any more. */
void apply_stop(struct apply *a);
bool apply_is_stopped(const struct apply *a);

/** End what is left at once. The loop must turn once more; then apply_free().
 */
void apply_close(struct apply *a);
void apply_free(struct apply *a);

/** StatusReply.workers. */
void apply_status(const struct apply *a, argus_StatusReply *out);

const struct apply_stats *apply_stats(const struct apply *a);

/** Workers in their final state; those that start or end. */
void apply_workers(const struct apply *a, uint32_t *running, uint32_t *other);

#endif
