#include "core/timeline.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "core/bucket.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Most that retain_events may be: 16 million are some 3 GB. */
#define RETAIN_MAX (1u << 24)

/* Strings of an event, each a byte of length and as many bytes. A length over
 * 127 cannot come from a name of the wire: it says "as before". */
#define STRINGS_COUNT 7
#define STRINGS_SIZE_MAX (6 * 128 + 256)
#define SAME 255

/* Pointers to events in some order; the head moves up as the oldest go, so that
 * neither end costs a move of all others. */
struct row {
    struct entry **at;
    uint32_t head, count, size;
};

/* A node that events are from. It lives as long as one of them does. */
struct origin {
    struct node_id id;
    struct row events; /* by (generation, number) */
    UT_hash_handle hh;
    char name[]; /* as its first event here had it */
};

struct entry {
    uint64_t hlc;
    uint64_t number;
    uint64_t time;
    uint64_t received_us;
    struct origin *origin;
    uint32_t generation;
    uint32_t epoch;
    uint8_t severity;
    uint8_t strings[];
};

struct timeline {
    struct timeline_options options;
    struct timeline_stats stats;
    struct origin *origins; /* hash */
    struct row events;      /* by (epoch, hlc, origin, generation, number) */
    size_t bytes;
    uint64_t own_number;
    struct bucket tokens; /* for events of our own */
    bool out_of_memory;   /* set within one insertion */
};

/* ------------------------------------------------------------------ rows */

/* Room behind, or so much before that moving all down pays: then an append is
 * cheap on the average, whatever goes at the other end. */
static bool row_is_ready(const struct row *r)
{
    return r->head + r->count < r->size || r->head > r->count / 4 + 1;
}

/** @return false: no memory; nothing changed. */
static bool row_reserve(struct timeline *t, struct row *r)
{
    if (row_is_ready(r))
        return true;
    uint32_t size = r->size == 0 ? 4 : r->size + r->size / 2;
    struct entry **at = realloc(r->at, size * sizeof *at);
    if (at == NULL)
        return false;
    t->bytes += (size - r->size) * sizeof *at;
    r->at = at;
    r->size = size;
    return true;
}

/* After row_reserve(). Moves the shorter side where there is room for it. */
static void row_insert(struct row *r, uint32_t place, struct entry *e)
{
    assert(place <= r->count && row_is_ready(r));
    if (r->head + r->count == r->size) {
        memmove(r->at, r->at + r->head, r->count * sizeof *r->at);
        r->head = 0;
    }
    struct entry **first = r->at + r->head;
    if (r->head > 0 && place < r->count / 2) {
        memmove(first - 1, first, place * sizeof *first);
        r->head--;
        first--;
    } else {
        memmove(first + place + 1, first + place,
                (r->count - place) * sizeof *first);
    }
    first[place] = e;
    r->count++;
}

static void row_remove(struct row *r, uint32_t place)
{
    struct entry **first = r->at + r->head;

    assert(place < r->count);
    if (place < r->count / 2) {
        memmove(first + 1, first, place * sizeof *first);
        r->head++;
    } else {
        memmove(first + place, first + place + 1,
                (r->count - place - 1) * sizeof *first);
    }
    r->count--;
}

/* Place of the first event of a row that does not come before key. */
static uint32_t row_find(const struct row *r, const struct entry *key,
                         int (*compare)(const struct entry *,
                                        const struct entry *))
{
    uint32_t low = 0, high = r->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare(r->at[r->head + middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---------------------------------------------------------------- orders */

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_number(const struct entry *a, const struct entry *b)
{
    int order = compare_u64(a->generation, b->generation);

    return order != 0 ? order : compare_u64(a->number, b->number);
}

static int compare_hlc(const struct entry *a, const struct entry *b)
{
    int order = compare_u64(a->epoch, b->epoch);

    return order != 0 ? order : compare_u64(a->hlc, b->hlc);
}

static int compare_place(const struct entry *a, const struct entry *b)
{
    int order = compare_hlc(a, b);

    if (order == 0)
        order = node_id_compare(&a->origin->id, &b->origin->id);
    return order != 0 ? order : compare_number(a, b);
}

/* --------------------------------------------------------------- packing */

static size_t put_string(uint8_t *out, const char *text, size_t size_max,
                         const char *same)
{
    size_t length = strnlen(text, size_max - 1);

    if (same != NULL && strlen(same) == length &&
        memcmp(same, text, length) == 0) {
        out[0] = SAME;
        return 1;
    }
    out[0] = (uint8_t)length;
    memcpy(out + 1, text, length);
    return 1 + length;
}

static size_t pack_strings(uint8_t *out, const argus_Event *e,
                           const struct origin *origin)
{
    size_t n = put_string(out, e->node, sizeof e->node, origin->name);

    n += put_string(out + n, e->host, sizeof e->host, e->node);
    n += put_string(out + n, e->plugin, sizeof e->plugin, NULL);
    n += put_string(out + n, e->plugin_instance, sizeof e->plugin_instance,
                    NULL);
    n += put_string(out + n, e->type, sizeof e->type, e->plugin);
    n += put_string(out + n, e->type_instance, sizeof e->type_instance, NULL);
    n += put_string(out + n, e->message, sizeof e->message, NULL);
    assert(n <= STRINGS_SIZE_MAX + STRINGS_COUNT);
    return n;
}

static const uint8_t *get_string(const uint8_t *in, char *text,
                                 const char *same)
{
    if (in[0] == SAME && same != NULL) {
        memcpy(text, same, strlen(same) + 1);
        return in + 1;
    }
    memcpy(text, in + 1, in[0]);
    text[in[0]] = '\0';
    return in + 1 + in[0];
}

static void unpack(const struct entry *e, argus_Event *out)
{
    const uint8_t *in = e->strings;

    *out = (argus_Event){
        .generation = e->generation,
        .number = e->number,
        .hlc = e->hlc,
        .severity = (argus_Severity)e->severity,
        .time = e->time,
        .epoch = e->epoch,
    };
    in = get_string(in, out->node, e->origin->name);
    in = get_string(in, out->host, out->node);
    in = get_string(in, out->plugin, NULL);
    in = get_string(in, out->plugin_instance, NULL);
    in = get_string(in, out->type, out->plugin);
    in = get_string(in, out->type_instance, NULL);
    (void)get_string(in, out->message, NULL);
}

/* --------------------------------------------------------------- origins */

static struct origin *origin_find(const struct timeline *t,
                                  const struct node_id *id)
{
    struct origin *o;

    HASH_FIND(hh, t->origins, id, sizeof *id, o);
    return o;
}

#undef uthash_nonfatal_oom
#define uthash_nonfatal_oom(element) (t->out_of_memory = true)

static size_t origin_size(const struct origin *o)
{
    return sizeof *o + strlen(o->name) + 1;
}

static struct origin *origin_add(struct timeline *t, const struct node_id *id,
                                 const argus_Event *event)
{
    size_t length = strnlen(event->node, sizeof event->node - 1);
    struct origin *o = calloc(1, sizeof *o + length + 1);

    if (o == NULL)
        return NULL;
    o->id = *id;
    memcpy(o->name, event->node, length);
    t->out_of_memory = false;
    HASH_ADD(hh, t->origins, id, sizeof o->id, o);
    if (t->out_of_memory) {
        free(o);
        return NULL;
    }
    t->bytes += origin_size(o);
    return o;
}

static void origin_drop_unused(struct timeline *t, struct origin *o)
{
    if (o->events.count > 0)
        return;
    t->bytes -= origin_size(o) + o->events.size * sizeof o->events.at[0];
    HASH_DEL(t->origins, o);
    free(o->events.at);
    free(o);
}

/* ---------------------------------------------------------------- events */

static size_t entry_size(const struct entry *e)
{
    const uint8_t *in = e->strings;

    for (int i = 0; i < STRINGS_COUNT; i++) {
        bool is_message = i == STRINGS_COUNT - 1;
        in += 1 + (in[0] == SAME && !is_message ? 0 : in[0]);
    }
    return (size_t)(in - (const uint8_t *)e);
}

static void drop_entry(struct timeline *t, struct entry *e, uint32_t place)
{
    struct origin *o = e->origin;

    row_remove(&t->events, place);
    row_remove(&o->events, row_find(&o->events, e, compare_number));
    t->bytes -= entry_size(e);
    free(e);
    origin_drop_unused(t, o);
}

static void drop_oldest(struct timeline *t)
{
    drop_entry(t, t->events.at[t->events.head], 0);
}

/* An origin in order numbers its events as it stamps them; of one that does not
 * some other event than the oldest goes, which is its own affair. */
static struct entry *first_of(const struct origin *o)
{
    return o->events.at[o->events.head];
}

static bool has_spent_share(const struct timeline *t, const struct origin *o)
{
    return o != NULL &&
           o->events.count > t->options.retain_events / TIMELINE_SHARE;
}

static void make_room(struct timeline *t, struct origin *o)
{
    struct entry *e = t->events.at[t->events.head];

    t->stats.event_dropped++;
    if (has_spent_share(t, o) && first_of(o) != e) {
        t->stats.event_share_spent++;
        e = first_of(o);
    }
    drop_entry(t, e, row_find(&t->events, e, compare_place));
}

/** @return NULL: no memory; t keeps nothing of it. */
static struct entry *entry_new(struct timeline *t, struct origin *o,
                               const argus_Event *event, uint64_t received_us)
{
    uint8_t strings[STRINGS_SIZE_MAX + STRINGS_COUNT];
    size_t size = pack_strings(strings, event, o);

    if (!row_reserve(t, &t->events) || !row_reserve(t, &o->events))
        return NULL;
    struct entry *e = malloc(sizeof *e + size);
    if (e == NULL)
        return NULL;
    *e = (struct entry){
        .hlc = event->hlc,
        .number = event->number,
        .time = event->time,
        .received_us = received_us,
        .origin = o,
        .generation = event->generation,
        .epoch = event->epoch,
        .severity = (uint8_t)event->severity,
    };
    memcpy(e->strings, strings, size);
    t->bytes += entry_size(e);
    return e;
}

static bool is_in_row(const struct row *r, uint32_t place,
                      const struct entry *key)
{
    return place < r->count && compare_number(r->at[r->head + place], key) == 0;
}

bool timeline_has(const struct timeline *t, const struct node_id *origin,
                  uint32_t generation, uint64_t number)
{
    const struct entry key = {.generation = generation, .number = number};
    const struct origin *o = origin_find(t, origin);

    return o != NULL &&
           is_in_row(&o->events, row_find(&o->events, &key, compare_number),
                     &key);
}

/* Full, and the event would be the one to go? */
static bool is_too_old(const struct timeline *t, const struct node_id *origin,
                       const argus_Event *event)
{
    const struct origin *known = origin_find(t, origin);
    struct origin o = {.id = *origin};
    const struct entry key = {.hlc = event->hlc,
                              .epoch = event->epoch,
                              .origin = &o,
                              .generation = event->generation,
                              .number = event->number};

    if (t->events.count < t->options.retain_events)
        return false;
    if (has_spent_share(t, known) && compare_number(&key, first_of(known)) < 0)
        return true;
    return compare_place(&key, t->events.at[t->events.head]) < 0;
}

enum timeline_result timeline_add(struct timeline *t,
                                  const struct node_id *origin,
                                  const argus_Event *event,
                                  uint64_t received_us)
{
    if (timeline_has(t, origin, event->generation, event->number)) {
        t->stats.event_duplicate++;
        return TIMELINE_KNOWN;
    }
    if (is_too_old(t, origin, event)) {
        t->stats.event_too_old++;
        return TIMELINE_TOO_OLD;
    }

    struct origin *o = origin_find(t, origin);
    if (o == NULL)
        o = origin_add(t, origin, event);
    struct entry *e = o != NULL ? entry_new(t, o, event, received_us) : NULL;
    if (e == NULL) {
        if (o != NULL)
            origin_drop_unused(t, o);
        t->stats.memory_refused++;
        return TIMELINE_FAILED;
    }
    row_insert(&o->events, row_find(&o->events, e, compare_number), e);
    row_insert(&t->events, row_find(&t->events, e, compare_place), e);
    t->stats.event_added++;
    if (t->events.count > t->options.retain_events)
        make_room(t, o);
    return TIMELINE_ADDED;
}

uint32_t timeline_count(const struct timeline *t)
{
    return t->events.count;
}

/* Uncertainty and concurrency need the clocks' measured offsets and the
 * events' parents (PROTOCOLS §6, §8): not known here, so 0 and false. */
bool timeline_get(const struct timeline *t, uint32_t index,
                  argus_EventReply *out)
{
    if (index >= t->events.count)
        return false;
    const struct entry *e = t->events.at[t->events.head + index];

    *out = (argus_EventReply){.has_event = true, .received_us = e->received_us};
    unpack(e, &out->event);
    memcpy(out->origin, e->origin->id.bytes, NODE_ID_SIZE);
    return true;
}

uint32_t timeline_find(const struct timeline *t, uint64_t hlc)
{
    const struct entry key = {.hlc = hlc};

    return row_find(&t->events, &key, compare_hlc);
}

size_t timeline_bytes(const struct timeline *t)
{
    return t->bytes;
}

const struct timeline_stats *timeline_stats(const struct timeline *t)
{
    return &t->stats;
}

/* ----------------------------------------------------------- own, life */

static bool take_token(struct timeline *t, uint64_t now_ms)
{
    uint32_t rate = t->options.event_rate;

    return bucket_take(&t->tokens, now_ms, rate, rate * TIMELINE_BURST_S, 1);
}

bool timeline_stamp_own(struct timeline *t, struct hlc *h, uint64_t now_ms,
                        uint64_t wall_us, argus_Event *event)
{
    if (!take_token(t, now_ms)) {
        t->stats.event_limited++;
        return false;
    }
    event->generation = t->options.generation;
    event->number = ++t->own_number;
    event->hlc = hlc_stamp(h, wall_us);
    return true;
}

int timeline_new(const struct timeline_options *options, struct timeline **out)
{
    if (options->retain_events == 0 || options->retain_events > RETAIN_MAX ||
        options->event_rate == 0 || options->event_rate > TIMELINE_RATE_MAX)
        return ARGUS_EINVAL;

    struct timeline *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ARGUS_ENOMEM;
    t->options = *options;
    *out = t;
    return ARGUS_OK;
}

void timeline_free(struct timeline *t)
{
    if (t == NULL)
        return;
    while (t->events.count > 0)
        drop_oldest(t);
    free(t->events.at);
    free(t);
}
