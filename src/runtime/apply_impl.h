/* apply_impl.h - what the files of apply share. Nobody else includes it.
 *   apply.c        life; what is wanted of each name; what to do about it
 *   apply_run.c    one worker of a version, through its states
 *   apply_state.c  what others are told */
#ifndef ARGUS_RUNTIME_APPLY_IMPL_H
#define ARGUS_RUNTIME_APPLY_IMPL_H

#include "runtime/apply.h"
#include "runtime/gate.h"
#include "runtime/worker.h"

/** Workers of one name at once: old, new, and those on their way out. */
#define RUNS_MAX 4

/** Why a version does not run; as BundleState.error in argus.options. */
#define APPLY_WHY_SIZE 256

/** Looks for what is due while something is. */
#define APPLY_TICK_MS 50

/** Times a good version that died is started again: after so long, doubled each
 *  time, at most; what lived so long begins anew. */
#define RESTART_MS 1000u
#define RESTART_MAX_MS 60000u
#define RESTART_QUIET_MS 300000u

/** How long an old version may go on with series that the new one does not
 *  deliver: an interval of them and this, and never longer than the second. */
#define YIELD_GRACE_MS 1000u
#define YIELD_MAX_MS 60000u

/** Intervals without a value after which a version on trial has fallen silent,
 *  and what is allowed on top. */
#define SILENT_INTERVALS 3
#define SILENT_GRACE_MS 1000u

/* A worker's way; run_move() holds it to this.
 *
 *            ready        switch        probation
 *   STARTING -----> HELD --------> TRIAL ---------> GOOD
 *                     `------- a proven version ----^ |
 *                                    newer is ready   v
 *   DEAD <----- DRAINING <----------------------- YIELDING
 *     ^                         (back when its successor died at once)
 *     `-------- FAILED <----- from wherever it died or was judged */
enum run_state {
    RUN_STARTING, /* until every init and two read passes went well */
    RUN_HELD,     /* ready; its values wait for the switch */
    RUN_TRIAL,    /* its values pass; it must live and publish */
    RUN_GOOD,     /* it passed its trial */
    RUN_YIELDING, /* a newer one took over what it delivers already */
    RUN_DRAINING, /* told to end */
    RUN_FAILED,   /* it died, or must */
    RUN_DEAD,     /* gone with all that it started */
    RUN_STATES,
};

struct run {
    struct subject *subject; /* NULL: this place is free */
    struct worker *worker;
    uint32_t number, version;
    uint8_t hash[CONTENT_HASH_SIZE];
    enum run_state state;
    uint64_t since_ms; /* in this state */
    bool is_alone;     /* started after the old one was stopped */
    bool has_reads, has_writers, has_published;
    char warning[160];
};

/* What is to become of a name. */
enum wish {
    WISH_NOTHING, /* it does not run here */
    WISH_OLD,     /* the head cannot run (yet); what ran runs on */
    WISH_RUN,
};

struct subject {
    struct apply *apply;
    char name[64];
    bool is_seen; /* while the heads are walked */
    enum wish wish;
    uint32_t version; /* of the head */
    uint8_t head[CONTENT_HASH_SIZE];
    argus_BundlePhase phase; /* while the wish is not WISH_RUN */
    char error[256];
    char said[256]; /* refusal that the log has */

    struct store_applied applied;
    uint8_t barred[CONTENT_HASH_SIZE]; /* not tried again by itself */
    argus_BundlePhase verdict;         /* of it: failed, rolled back, refused */
    char verdict_error[256];
    uint8_t alone[CONTENT_HASH_SIZE]; /* to start once nothing else runs */

    uint32_t crashes; /* of the good one, one after the other */
    uint64_t retry_ms;
    char crash[256];

    struct run runs[RUNS_MAX];
    struct gate *gate;

    bool is_told; /* `told` is in the record */
    argus_BundleState told;
    uint64_t applying_since_ms; /* 0: it is not */
};

struct apply {
    struct apply_options options;
    struct apply_world world;
    struct worker_user user;
    bool can_run;
    char cannot[256]; /* why workers cannot be started at all */
    uv_timer_t timer;
    bool is_timer_open, is_started, is_stopping, is_paused, wants_down;
    bool must_tell;
    uint32_t next_number;
    struct subject *subjects[APPLY_SUBJECTS_MAX]; /* in order of names */
    uint32_t subjects_count;
    uint64_t refreshed_ms, stirred_ms;
    struct down_set *sets; /* see apply_down.c */
    uint32_t sets_count;
    struct apply_stats stats;
};

bool hash_is(const uint8_t a[CONTENT_HASH_SIZE],
             const uint8_t b[CONTENT_HASH_SIZE]);
bool hash_is_zero(const uint8_t hash[CONTENT_HASH_SIZE]);

/* ---- apply.c */

/** Act on the difference between what is wanted and what runs. */
void apply_reconcile(struct apply *a, struct subject *s);
void apply_keep(struct apply *a, struct subject *s);

/** A run has moved: more may follow soon. */
void apply_stir(struct apply *a);

/** Say which versions run or are to run again. */
void apply_pin(struct apply *a);

/* ---- apply_down.c */

/** What a worker that begins to get the daemon's values must know. */
void down_begin(struct apply *a, struct run *r);
void down_close(struct apply *a);

/* ---- apply_run.c */

/** The one of that state, or NULL. */
struct run *run_in(struct subject *s, enum run_state state);

/** The one whose values pass: on trial or good. */
struct run *run_current(struct subject *s);

/** The one that is on its way: starting or held. */
struct run *run_next(struct subject *s);

bool run_start(struct apply *a, struct subject *s,
               const struct bundle_view *view);
void run_drain(struct apply *a, struct run *r);

/** What is due by now. */
void run_tick(struct apply *a, struct run *r, uint64_t now_ms);

/** Does something of it come due? */
bool run_is_restless(const struct run *r);
const char *run_state_word(const struct run *r);

/** gate_pass: what passes the gate of a subject. */
void run_pass(void *context, uint32_t worker, bool begins,
              const uint8_t *message, size_t size);

/* ---- apply_state.c */

/** Tell the states, if one of them has changed. */
void apply_tell(struct apply *a);

#endif
