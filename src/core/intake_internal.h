/* intake_internal.h - what the files of the intake share:
 *   intake.c         the door: links, frames and what they must keep to
 *   intake_series.c  senders, hosts and series
 *   intake_flow.c    values: dispatch, seen, settled, acknowledged
 *
 * Ownership: intake owns all. A value belongs to its series' queue, then to a
 * flight, then to the settling queue. A batch lives while a value mentions it
 * or its link lists it. A series lives while a link names it or a value of it
 * is here, and after that until room is needed. */
#ifndef ARGUS_CORE_INTAKE_INTERNAL_H
#define ARGUS_CORE_INTAKE_INTERNAL_H

#include "core/table.h"

#include <sys/queue.h>

#include "core/identifier.h"
#include "core/intake.h"
#include "core/pool.h"

/* Definitions that wait behind values of the one before, in all. */
#define CHANGES_MAX 1024

struct link;

struct batch {
    TAILQ_ENTRY(batch) line; /* of its link */
    struct link *link;       /* NULL: gone */
    uint64_t number;
    uint32_t values;
    uint32_t unsettled;
};

struct value {
    STAILQ_ENTRY(value) line; /* of its series, or of what settles */
    struct series *series;
    union {
        struct batch *batch;
        argus_SeriesDef *change; /* count is 0: not a value, but the series'
                                  * next definition, at its turn */
    };
    uint64_t number;
    uint64_t time;
    uint64_t settle_ms;
    uint32_t count;
    uint32_t tries; /* times it was handed to collectd again */
    uint64_t numbers[];
};

STAILQ_HEAD(value_queue, value);

/* The series of one identifier, of whichever sender. */
struct name {
    UT_hash_handle hh; /* by key */
    LIST_HEAD(, series) series;
    uint32_t size;
    char key[];
};

/* A host as one sender sends it. */
struct host {
    UT_hash_handle hh; /* by name, in its sender */
    uint32_t series;
    bool released; /* its values go elsewhere now */
    char name[];
};

TAILQ_HEAD(series_list, series);

struct sender {
    UT_hash_handle hh; /* by id */
    struct node_id id;
    uint32_t generation;
    uint64_t instance;
    uint32_t life;     /* grows when numbers begin anew */
    struct link *link; /* the living one; NULL: none */
    struct host *hosts;
    uint32_t series;
    struct series_list idle; /* evictable, least recently used first */
};

struct series {
    LIST_ENTRY(series) same;      /* of its name */
    TAILQ_ENTRY(series) turn;     /* in x->ready */
    TAILQ_ENTRY(series) idle;     /* in x->idle */
    TAILQ_ENTRY(series) idle_own; /* in sender->idle */
    struct name *name;
    struct sender *sender;
    struct host *host;
    uint64_t handle;
    uint64_t last_number; /* dispatched last; of sender->life == life */
    uint32_t life;
    uint32_t links; /* indices that mean this series */
    struct value_queue waiting;
    struct flight *ghost; /* a stopped value that might yet be seen */
    struct value *change; /* newest definition that waits; NULL: none */
    uint64_t interval;
    uint64_t sources; /* hash of the data sources */
    uint64_t gauges;  /* bit i: source i is a gauge */
    uint32_t count;
    bool is_ready;
    bool is_under_way; /* from dispatch until seen or stopped */
    bool is_idle;
    bool is_stopped; /* a chain stopped its last value */
};

/* A value in collectd. Its token is its place and a sequence number. */
struct flight {
    TAILQ_ENTRY(flight) order; /* of dispatch; or free */
    struct value *value;       /* NULL: free */
    struct series *stopped;    /* while free: whose value was given up here */
    uint64_t sequence;
    uint64_t overtaken_ms; /* when a later one had left the queue; 0: not yet */
    uint32_t turns;        /* waits it outlasted in the hands of a thread */
    bool is_brief;
};

TAILQ_HEAD(flight_queue, flight);

/* Flights in the order of dispatch; behind them those whose wait began anew.
 * Those before `next` were overtaken. */
struct flight_line {
    struct flight_queue flights;
    struct flight *next; /* NULL: all were */
    uint32_t wait_ms;
};

struct link {
    UT_hash_handle hh;        /* by id */
    TAILQ_ENTRY(link) acking; /* while ack_ms != 0 */
    link_id id;
    struct sender *sender;
    struct series **series; /* by index - 1 */
    uint32_t series_count, series_room;
    TAILQ_HEAD(, batch) batches; /* not acknowledged, in order */
    uint64_t batch_last;
    uint64_t batch_settled;
    uint64_t ack_ms;
    uint32_t under_way; /* values not yet acknowledged */
    uint32_t window;    /* the largest that was granted */
};

struct intake {
    uint64_t now_ms;
    struct intake_options options;
    bool is_frozen;
    struct pool pool;
    struct sender *senders;
    struct name *names;
    struct link *links;
    struct series_list ready;
    struct series_list idle;
    struct flight *slots; /* queue_max of them */
    struct flight_queue free;
    struct flight_line steady; /* series whose values are seen */
    struct flight_line brief;  /* series whose last value was stopped */
    struct value_queue settling;
    TAILQ_HEAD(, link) acking; /* soonest first */
    uint64_t handles;
    uint64_t sequences;
    uint32_t changes;
    struct intake_stats stats;
    argus_Frame ack;
};

/* ---- intake_series.c */
struct sender *intake_sender_of(struct intake *x, const struct node_id *id);
void intake_sender_forget(struct intake *x, struct sender *sender);
struct host *intake_host_find(const struct sender *sender, const char *name);
struct name *intake_name_find(const struct intake *x,
                              const struct identifier *id);

enum series_fate { SERIES_OK, SERIES_FULL, SERIES_BAD, SERIES_NO_MEMORY };

/** Find or make the series that a sender defines; a changed definition is told
 *  to collectd, at its turn. */
enum series_fate intake_series_define(struct intake *x, struct sender *sender,
                                      const argus_SeriesDef *def,
                                      struct series **out, struct actions *act);
/** After a link or a value let go of it. */
void intake_series_check_idle(struct intake *x, struct series *series);
void intake_series_tell(struct intake *x, const struct series *series,
                        const argus_SeriesDef *def, struct actions *out);
void intake_series_free_all(struct intake *x);

/* ---- intake_flow.c */
void intake_flow_open(struct intake *x);
void intake_flow_ready(struct intake *x, struct series *series);
void intake_flow_pump(struct intake *x, struct actions *out);
void intake_flow_seen(struct intake *x, uint64_t token);
void intake_flow_passed(struct intake *x, uint64_t token);
void intake_flow_progress(struct intake *x, uint64_t token);
void intake_flow_timeout(struct intake *x, struct actions *out);
uint64_t intake_flow_deadline_ms(const struct intake *x);
void intake_flow_free_value(struct intake *x, struct value *v);
/** The batches of a link that ends stay with their values. */
void intake_flow_detach(struct intake *x, struct link *link);
size_t intake_flow_value_size(uint32_t count);

#endif
