/* spool_internal.h - what the files of the spool share:
 *   spool.c         the door: inputs, deadlines, the bound
 *   spool_series.c  series and their definitions
 *   spool_lane.c    values in order, and the aggregator each lane goes to
 *   spool_link.c    links: batches, acknowledgements, back-off
 *
 * Ownership: spool owns all. A value points to its definition, which keeps the
 * definition alive; a definition to its series; a series to its lane. */
#ifndef ARGUS_CORE_SPOOL_INTERNAL_H
#define ARGUS_CORE_SPOOL_INTERNAL_H

#include "core/table.h"

#include <sys/queue.h>

#include "base/prng.h"
#include "core/identifier.h"
#include "core/pool.h"
#include "core/spool.h"

/* Data sources of a type; series of the same type share them. */
struct sources {
    UT_hash_handle hh; /* by text */
    uint32_t refs;
    uint32_t count;
    uint64_t gauges; /* bit i: source i is a gauge */
    uint32_t size;
    uint8_t text[]; /* for each: type, min, max, name with its NUL */
};

/* What a link is told of a series. A new one is made when the data sources or
 * the interval change; values keep the one they came with. */
struct definition {
    struct series *series;
    struct sources *sources;
    uint64_t interval;
    uint64_t version; /* never used twice */
    uint32_t refs;    /* values, and the series if it is the present one */
};

struct series {
    UT_hash_handle hh; /* by key */
    TAILQ_ENTRY(series) used;
    struct lane *lane;
    struct definition *now;
    const void *set;      /* as last described */
    uint64_t time_newest; /* of all values taken; 0: none yet */
    uint64_t time_sent;   /* of the newest value that was given a number */
    uint32_t fresh;       /* waiting and never sent */
    uint32_t values;      /* waiting and under way */
    uint32_t slot;        /* position in a link's table of what it knows */
    uint32_t key_size;
    char key[];
};

struct value {
    TAILQ_ENTRY(value)
    line;                   /* of its lane, or of the link it is under way on */
    TAILQ_ENTRY(value) age; /* while it waits */
    struct definition *def;
    uint64_t number; /* 0: never sent */
    uint64_t time;
    union {
        uint64_t hold_ms; /* waiting: not to be sent before; 0: none */
        uint64_t batch;   /* under way */
    };
    uint64_t numbers[];
};

TAILQ_HEAD(value_line, value);

enum lane_state {
    LANE_RESTS, /* nothing to send, or nowhere to send it */
    LANE_HELD,  /* its first value waits for a predecessor */
    LANE_READY, /* in its target's list */
};

struct lane {
    UT_hash_handle hh; /* by host */
    TAILQ_ENTRY(lane) turn;
    enum lane_state state;
    struct value_line waiting;
    uint32_t waiting_count;
    uint32_t under_way;
    uint32_t series;
    uint64_t key;
    uint64_t epoch;    /* of the last choice of a target */
    struct target *at; /* on whose living link it last sent; may be NULL */
    struct target *to; /* where it goes next; may be NULL */
    char host[];
};

TAILQ_HEAD(lane_list, lane);

/* What a link was told about a series, by slot. */
struct known {
    uint64_t version; /* of the definition; 0: none */
    uint32_t index;   /* 0: none */
};

/* An aggregator, with the link to it if there is one. */
struct target {
    UT_hash_handle hh; /* by id */
    struct node_id id;
    uint32_t position; /* in the router; NOT_LISTED: not an aggregator now */
    uint32_t lanes;    /* mentions in `at` and `to` */
    dial_id dial;      /* under way; 0: none */
    link_id link;      /* up; 0: none */
    uint64_t retry_ms; /* not to be dialed before; 0: free */
    uint32_t backoff_ms;
    uint64_t idle_ms; /* since when no lane needs it */

    struct value_line under_way;
    uint32_t under_way_count;
    uint32_t window;
    uint64_t bytes; /* estimate of what is sent and not acknowledged */
    uint64_t batch_sent, batch_acked;
    uint64_t progress_ms; /* last acknowledgement, or first value since idle */
    uint64_t linger_ms; /* when a batch that is not full goes; 0: none waits */
    struct lane_list ready;
    uint32_t ready_values;
    struct known *known;
    uint32_t known_size;
    uint32_t indices; /* given out on this link */
};

#define NOT_LISTED UINT32_MAX

/* Frames and definitions are built here. Large, so a node that never sends a
 * value has none. */
struct scratch {
    argus_SeriesDef described;
    argus_Frame batch;
    argus_Frame defs;
    argus_Frame release;
};

struct spool {
    uint64_t now_ms;
    struct prng prng;
    uint64_t number_base;
    uint64_t number_count;
    uint64_t bytes_max;
    uint32_t series_max;
    bool write_order_known;
    bool flushing;
    value_describe describe;
    struct router *router;

    struct pool pool;
    struct value_line ages; /* waiting values, oldest first */
    struct series *series;
    TAILQ_HEAD(series_list, series) used; /* least recently used first */
    uint32_t slots;
    uint64_t versions;
    struct sources *sources;
    struct lane *lanes;
    struct lane_list held;
    uint64_t held_ms; /* not before then is a held lane due; UINT64_MAX */
    struct target *targets;
    uint64_t epoch; /* grows when lanes might choose anew */
    uint64_t dials;
    struct spool_stats stats;
    struct scratch *scratch; /* NULL until the first value */
};

/* ---- spool_series.c */

/** The series of a value, made if it is new, its definition brought up to
 *  date. @return NULL: refused. */
struct series *spool_series_of(struct spool *s, const struct value_input *in);
void spool_definition_unref(struct spool *s, struct definition *def);
void spool_definition_fill(const struct definition *def, argus_SeriesDef *out);
void spool_series_free_all(struct spool *s);

/* ---- spool_lane.c */
struct lane *spool_lane_of(struct spool *s, const char *host);
void spool_lane_unref(struct spool *s, struct lane *lane);

/** Take a value in at its place. false: out of memory. */
bool spool_lane_add(struct spool *s, struct series *series,
                    const struct value_input *in);
/** Choose the target if something changed since, and the state. */
void spool_lane_update(struct spool *s, struct lane *lane, struct actions *out);
/** Something changed that may lead lanes elsewhere. */
void spool_lanes_reconsider(struct spool *s, struct actions *out);
void spool_lanes_wake(struct spool *s, struct actions *out);
/** Take the first value out of a lane that is ready. */
struct value *spool_lane_take(struct spool *s, struct lane *lane);
/** Put a value that was under way back to the head of its lane. */
void spool_lane_return(struct spool *s, struct value *v);
bool spool_lane_is_held(const struct spool *s, const struct lane *lane);
void spool_value_drop_oldest(struct spool *s);
void spool_value_free(struct spool *s, struct value *v);

/* ---- spool_link.c */
struct target *spool_target_of_link(const struct spool *s, link_id link);
struct target *spool_target_find(const struct spool *s,
                                 const struct node_id *id);
int spool_targets_list(struct spool *s);
bool spool_target_is_open(const struct spool *s, const struct target *t);
void spool_target_dial(struct spool *s, struct target *t, struct actions *out);
void spool_target_up(struct spool *s, struct target *t, link_id link);
/** The link or the dial ended; values go back to their lanes. */
void spool_target_lost(struct spool *s, struct target *t, bool failed);
void spool_target_close(struct spool *s, struct target *t,
                        argus_RefuseCode code, const char *text, bool failed,
                        struct actions *out);
void spool_target_ack(struct spool *s, struct target *t, const argus_Ack *ack,
                      struct actions *out);
void spool_target_release(struct spool *s, struct target *t, const char *host,
                          struct actions *out);
void spool_target_pump(struct spool *s, struct target *t, struct actions *out);
uint64_t spool_target_deadline_ms(const struct target *t);
/** What is due: back-off over, idle, stuck. @return true: lanes reconsider. */
bool spool_target_timeout(struct spool *s, struct target *t,
                          struct actions *out);
void spool_targets_forget(struct spool *s);
void spool_targets_free_all(struct spool *s);

#endif
