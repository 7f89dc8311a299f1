/* timeline_impl.h - what the files of the timeline share. Nobody else includes
 * it. */
#ifndef ARGUS_CORE_TIMELINE_IMPL_H
#define ARGUS_CORE_TIMELINE_IMPL_H

#include "core/table.h"

#include "core/bucket.h"
#include "core/timeline.h"

/* Most that retain_events may be: 16 million are some 5 GB. */
#define RETAIN_MAX (1u << 24)

#define HEADS_MAX 64
#define KINDS_MAX 3
#define KIND_SIZE 64

/* Pointers to events in order of their places; the head moves up as the oldest
 * go, so that neither end costs a move of all others. */
struct row {
    struct entry **at;
    uint32_t head, count, size;
};

/* A node that events are from. It lives as long as one of them does. */
struct origin {
    struct node_id id;
    uint8_t key[32]; /* of the first event here */
    uint32_t ranked; /* see timeline_range.c */
    struct row events;
    UT_hash_handle hh;
};

struct entry {
    uint64_t hlc;
    uint64_t number;
    uint64_t received_us;
    uint64_t key;
    uint64_t sum; /* of the keys in view, up to this one */
    struct origin *origin;
    uint32_t generation;
    uint32_t epoch;
    uint32_t rank; /* events in view, up to this one */
    uint32_t uncertainty_us;
    uint16_t size; /* of what is packed */
    uint8_t parents_count;
    bool has_own_key : 1; /* packed with it */
    bool is_in_view : 1;
    bool is_unproven : 1;
    uint64_t parents[]; /* then the packed bytes */
};

/* Open addressing by key; a power of two, at most three quarters full. */
struct key_index {
    struct entry **at;
    uint32_t size, used;
};

/* Which events have sums, see timeline_range.c. */
struct view {
    uint32_t retain; /* 0: all are in view */
    bool is_stale;   /* is_in_view is not right any more */
    uint32_t valid;  /* so many of the first have a right sum and rank */
    uint64_t base_sum;
    uint32_t base_rank; /* of those that went before */
};

/* Delivered, and named by nobody yet. */
struct head {
    uint64_t key;
    struct node_id origin;
    uint32_t generation;
    uint64_t number;
};

struct heads {
    struct head at[HEADS_MAX]; /* the one delivered last is the last */
    uint32_t count;
    uint64_t named[HEADS_MAX]; /* parents that are not here yet; a ring */
    uint32_t named_next;
};

/* Own events that were too many. */
struct suppressed {
    uint64_t count;
    uint64_t first_ms; /* monotonic */
    uint64_t from_us, to_us;
    argus_Severity worst;
    struct {
        char name[KIND_SIZE];
        uint64_t count;
    } kinds[KINDS_MAX];
    uint32_t kinds_count;
    uint64_t others;
};

struct timeline {
    struct timeline_options options;
    struct timeline_stats stats;
    struct origin *origins; /* hash */
    struct row events;
    struct key_index index;
    struct origin *loud[TIMELINE_SHARE + 1]; /* over their share */
    uint32_t loud_count;
    size_t bytes;
    struct view view;
    struct heads heads;
    uint64_t own_number;
    struct bucket tokens; /* for events of our own */
    struct suppressed suppressed;
};

static inline struct entry *row_at(const struct row *r, uint32_t place)
{
    return r->at[r->head + place];
}

/** Place of the first event of a row that does not come before e. */
uint32_t row_find(const struct row *r, const struct entry *e);

struct entry *timeline_entry(const struct timeline *t, uint64_t key);

/* timeline_cause.c: an event entered, or none did and parents are wanted. */
void heads_on_event(struct timeline *t, const struct entry *e);
pb_size_t heads_name(const struct timeline *t,
                     uint64_t parents[TIMELINE_PARENTS_MAX]);

/* timeline_range.c: at that place of the row. */
void view_on_inserted(struct timeline *t, uint32_t place);
void view_on_removed(struct timeline *t, uint32_t place, const struct entry *e);

#endif
