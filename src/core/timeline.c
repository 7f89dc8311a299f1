#include "core/timeline_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <pb_decode.h>

#include "base/status.h"

/* How an encoded Signed begins: the author's key as field 1, of 32 bytes. */
#define KEY_HEAD_SIZE 34
static const uint8_t key_head[2] = {0x0a, 32};

/* As Gossip.payload in argus.options. */
#define PACKED_MAX 6144

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

/* ---------------------------------------------------------------- orders */

static struct timeline_place place_of(const struct entry *e)
{
    return (struct timeline_place){.epoch = e->epoch,
                                   .hlc = e->hlc,
                                   .origin = e->origin->id,
                                   .generation = e->generation,
                                   .number = e->number};
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int timeline_place_compare(const struct timeline_place *a,
                           const struct timeline_place *b)
{
    int order = compare_u64(a->is_end, b->is_end);

    if (order == 0)
        order = compare_u64(a->epoch, b->epoch);
    if (order == 0)
        order = compare_u64(a->hlc, b->hlc);
    if (order == 0)
        order = node_id_compare(&a->origin, &b->origin);
    if (order == 0)
        order = compare_u64(a->generation, b->generation);
    return order != 0 ? order : compare_u64(a->number, b->number);
}

static uint32_t row_find_place(const struct row *r,
                               const struct timeline_place *place)
{
    uint32_t low = 0, high = r->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct timeline_place at = place_of(row_at(r, middle));
        if (timeline_place_compare(&at, place) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t row_find(const struct row *r, const struct entry *e)
{
    struct timeline_place place = place_of(e);

    return row_find_place(r, &place);
}

/* ------------------------------------------------------------------ keys */

static void put_le(uint8_t *out, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t key_of(const struct timeline *t, const struct node_id *origin,
                       uint32_t generation, uint64_t number)
{
    uint8_t text[NODE_ID_SIZE + 12], hash[32];
    uint64_t key = 0;

    memcpy(text, origin->bytes, NODE_ID_SIZE);
    put_le(text + NODE_ID_SIZE, generation, 4);
    put_le(text + NODE_ID_SIZE + 4, number, 8);
    t->options.digest(text, sizeof text, hash);
    for (size_t i = 8; i-- > 0;)
        key = key << 8 | hash[i];
    return key;
}

static uint32_t slot_of(const struct key_index *x, uint64_t key)
{
    return (uint32_t)(key ^ key >> 32) & (x->size - 1);
}

static void index_put(struct key_index *x, struct entry *e)
{
    uint32_t i = slot_of(x, e->key);

    while (x->at[i] != NULL)
        i = (i + 1) & (x->size - 1);
    x->at[i] = e;
    x->used++;
}

/** @return false: no memory; nothing changed. */
static bool index_reserve(struct timeline *t)
{
    struct key_index *x = &t->index;

    if (x->size > 0 && (x->used + 1) * 4ull <= x->size * 3ull)
        return true;
    struct key_index grown = {.size = x->size == 0 ? 16 : 2 * x->size};
    grown.at = calloc(grown.size, sizeof(struct entry *));
    if (grown.at == NULL)
        return false;
    for (uint32_t i = 0; i < x->size; i++)
        if (x->at[i] != NULL)
            index_put(&grown, x->at[i]);
    t->bytes += (grown.size - x->size) * sizeof(struct entry *);
    free(x->at);
    *x = grown;
    return true;
}

/* What follows without a gap moves up where it may, so that there are no
 * tombstones. */
static void index_remove(struct key_index *x, const struct entry *e)
{
    uint32_t mask = x->size - 1, i = slot_of(x, e->key);

    while (x->at[i] != e)
        i = (i + 1) & mask;
    for (uint32_t k = (i + 1) & mask; x->at[k] != NULL; k = (k + 1) & mask) {
        uint32_t home = slot_of(x, x->at[k]->key);
        if (((k - home) & mask) < ((k - i) & mask))
            continue;
        x->at[i] = x->at[k];
        i = k;
    }
    x->at[i] = NULL;
    x->used--;
}

struct entry *timeline_entry(const struct timeline *t, uint64_t key)
{
    const struct key_index *x = &t->index;

    if (x->size == 0)
        return NULL;
    for (uint32_t i = slot_of(x, key); x->at[i] != NULL;
         i = (i + 1) & (x->size - 1))
        if (x->at[i]->key == key)
            return x->at[i];
    return NULL;
}

bool timeline_has_key(const struct timeline *t, uint64_t key)
{
    return timeline_entry(t, key) != NULL;
}

/* By the whole name: whoever makes keys meet hides nothing but his own. */
static bool has_event(const struct timeline *t, uint64_t key,
                      const struct node_id *origin, uint32_t generation,
                      uint64_t number)
{
    const struct key_index *x = &t->index;

    if (x->size == 0)
        return false;
    for (uint32_t i = slot_of(x, key); x->at[i] != NULL;
         i = (i + 1) & (x->size - 1)) {
        const struct entry *e = x->at[i];
        if (e->key == key && e->number == number &&
            e->generation == generation &&
            node_id_is_equal(&e->origin->id, origin))
            return true;
    }
    return false;
}

bool timeline_has(const struct timeline *t, const struct node_id *origin,
                  uint32_t generation, uint64_t number)
{
    return has_event(t, key_of(t, origin, generation, number), origin,
                     generation, number);
}

/* --------------------------------------------------------------- origins */

static struct origin *origin_find(const struct timeline *t,
                                  const struct node_id *id)
{
    struct origin *o;

    HASH_FIND(hh, t->origins, id, sizeof *id, o);
    return o;
}

static struct origin *origin_add(struct timeline *t, const struct node_id *id,
                                 const uint8_t *payload, size_t size)
{
    struct origin *o = calloc(1, sizeof *o);

    if (o == NULL)
        return NULL;
    o->id = *id;
    if (size >= KEY_HEAD_SIZE)
        memcpy(o->key, payload + sizeof key_head, sizeof o->key);
    HASH_ADD(hh, t->origins, id, sizeof o->id, o);
    if (!table_has_taken(&o->hh)) {
        free(o);
        return NULL;
    }
    t->bytes += sizeof *o;
    return o;
}

static void origin_drop_unused(struct timeline *t, struct origin *o)
{
    if (o->events.count > 0)
        return;
    t->bytes -= sizeof *o + o->events.size * sizeof o->events.at[0];
    HASH_DEL(t->origins, o);
    free(o->events.at);
    free(o);
}

/* ---------------------------------------------------------------- shares */

static uint32_t share_of(const struct timeline *t)
{
    return t->options.retain_events / TIMELINE_SHARE;
}

/* Its count has changed by one. There are never more than TIMELINE_SHARE + 1 of
 * them, since all together have no more than retain_events + 1 events. */
static void loud_update(struct timeline *t, struct origin *o)
{
    bool is_loud = o->events.count > share_of(t);

    for (uint32_t i = 0; i < t->loud_count; i++)
        if (t->loud[i] == o) {
            if (!is_loud)
                t->loud[i] = t->loud[--t->loud_count];
            return;
        }
    if (!is_loud)
        return;
    assert(t->loud_count < TIMELINE_SHARE + 1);
    t->loud[t->loud_count++] = o;
}

/* The last by the order of the header: of the origins over their share the one
 * with most events loses its oldest, of several such the oldest of all. */
static struct entry *last_ranked(const struct timeline *t)
{
    struct entry *last = NULL;

    for (uint32_t i = 0; i < t->loud_count; i++) {
        struct entry *e = row_at(&t->loud[i]->events, 0);
        if (last != NULL) {
            uint32_t most = last->origin->events.count;
            struct timeline_place a = place_of(e), b = place_of(last);
            if (e->origin->events.count < most ||
                (e->origin->events.count == most &&
                 timeline_place_compare(&a, &b) > 0))
                continue;
        }
        last = e;
    }
    return last != NULL ? last : row_at(&t->events, 0);
}

/* ---------------------------------------------------------------- events */

static uint8_t *packed_of(const struct entry *e)
{
    return (uint8_t *)(uintptr_t)(e->parents + e->parents_count);
}

static size_t entry_size(const struct entry *e)
{
    return sizeof *e + e->parents_count * sizeof e->parents[0] + e->size;
}

static void remove_entry(struct timeline *t, struct entry *e)
{
    struct origin *o = e->origin;
    uint32_t place = row_find(&t->events, e);

    view_on_removed(t, place, e);
    row_remove(&t->events, place);
    row_remove(&o->events, row_find(&o->events, e));
    index_remove(&t->index, e);
    loud_update(t, o);
    t->bytes -= entry_size(e);
    free(e);
    origin_drop_unused(t, o);
}

static uint32_t uncertainty_of(const argus_Event *event)
{
    uint64_t us = event->uncertainty_us;

    if (us == 0)
        return TIMELINE_UNCERTAINTY_US;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/** @return NULL: no memory; t keeps nothing of it. */
static struct entry *entry_new(struct timeline *t, struct origin *o,
                               const struct timeline_input *in, uint64_t key)
{
    const argus_Event *event = in->event;
    const uint8_t *packed = in->payload;
    size_t size = in->size;
    bool has_own_key =
        size < KEY_HEAD_SIZE ||
        memcmp(packed, key_head, sizeof key_head) != 0 ||
        memcmp(packed + sizeof key_head, o->key, sizeof o->key) != 0;

    if (!has_own_key) {
        packed += KEY_HEAD_SIZE;
        size -= KEY_HEAD_SIZE;
    }
    if (size > PACKED_MAX || !row_reserve(t, &t->events) ||
        !row_reserve(t, &o->events) || !index_reserve(t))
        return NULL;
    struct entry *e =
        malloc(sizeof *e + event->parents_count * sizeof e->parents[0] + size);
    if (e == NULL)
        return NULL;
    *e = (struct entry){
        .hlc = event->hlc,
        .number = event->number,
        .received_us = in->received_us,
        .key = key,
        .origin = o,
        .generation = event->generation,
        .epoch = event->epoch,
        .uncertainty_us = uncertainty_of(event),
        .size = (uint16_t)size,
        .parents_count = (uint8_t)event->parents_count,
        .has_own_key = has_own_key,
        .is_unproven = in->is_unproven,
    };
    memcpy(e->parents, event->parents,
           event->parents_count * sizeof e->parents[0]);
    memcpy(packed_of(e), packed, size);
    t->bytes += entry_size(e);
    return e;
}

static void insert_entry(struct timeline *t, struct entry *e)
{
    struct origin *o = e->origin;
    uint32_t place = row_find(&t->events, e);

    row_insert(&t->events, place, e);
    row_insert(&o->events, row_find(&o->events, e), e);
    index_put(&t->index, e);
    loud_update(t, o);
    view_on_inserted(t, place);
}

/* @return false: it was the new one that had to go. */
static bool make_room(struct timeline *t, const struct entry *added)
{
    if (t->events.count <= t->options.retain_events)
        return true;
    struct entry *last = last_ranked(t);
    bool is_added = last == added;
    uint64_t key = last->key;

    if (is_added) {
        t->stats.event_too_old++;
    } else {
        t->stats.event_dropped++;
        t->stats.event_share_spent += last != row_at(&t->events, 0);
    }
    remove_entry(t, last);
    if (!is_added && t->options.dropped != NULL)
        t->options.dropped(t->options.context, key);
    return !is_added;
}

enum timeline_result timeline_add(struct timeline *t,
                                  const struct timeline_input *in,
                                  uint64_t *out_key)
{
    const argus_Event *event = in->event;
    uint64_t key = key_of(t, in->origin, event->generation, event->number);

    if (out_key != NULL)
        *out_key = key;
    if (has_event(t, key, in->origin, event->generation, event->number)) {
        t->stats.event_duplicate++;
        return TIMELINE_KNOWN;
    }
    struct origin *o = origin_find(t, in->origin);
    if (o == NULL)
        o = origin_add(t, in->origin, in->payload, in->size);
    struct entry *e = o != NULL ? entry_new(t, o, in, key) : NULL;
    if (e == NULL) {
        if (o != NULL)
            origin_drop_unused(t, o);
        t->stats.memory_refused++;
        return TIMELINE_FAILED;
    }
    insert_entry(t, e);
    if (!make_room(t, e))
        return TIMELINE_TOO_OLD;
    t->stats.event_added++;
    heads_on_event(t, e);
    return TIMELINE_ADDED;
}

/* --------------------------------------------------------------- reading */

uint32_t timeline_count(const struct timeline *t)
{
    return t->events.count;
}

static size_t pack(const struct entry *e, uint8_t *out, size_t out_size)
{
    size_t head = e->has_own_key ? 0 : KEY_HEAD_SIZE;

    if (head + e->size > out_size)
        return 0;
    if (head > 0) {
        memcpy(out, key_head, sizeof key_head);
        memcpy(out + sizeof key_head, e->origin->key, sizeof e->origin->key);
    }
    memcpy(out + head, packed_of(e), e->size);
    return head + e->size;
}

size_t timeline_packed(const struct timeline *t, uint32_t index, uint8_t *out,
                       size_t out_size)
{
    return index < t->events.count
               ? pack(row_at(&t->events, index), out, out_size)
               : 0;
}

size_t timeline_packed_by_key(const struct timeline *t, uint64_t key,
                              uint8_t *out, size_t out_size, bool *is_unproven)
{
    const struct entry *e = timeline_entry(t, key);

    if (e == NULL)
        return 0;
    *is_unproven = e->is_unproven;
    return pack(e, out, out_size);
}

void timeline_prove(struct timeline *t, uint64_t key, bool holds)
{
    struct entry *e = timeline_entry(t, key);

    if (e == NULL)
        return;
    e->is_unproven = false;
    if (holds)
        return;
    t->stats.event_damaged++;
    remove_entry(t, e);
    if (t->options.dropped != NULL)
        t->options.dropped(t->options.context, key);
}

bool timeline_unpack(const uint8_t *payload, size_t size, argus_Event *out)
{
    argus_Signed sealed;
    argus_Statement statement;
    pb_istream_t in = pb_istream_from_buffer(payload, size);

    if (!pb_decode(&in, argus_Signed_fields, &sealed))
        return false;
    in = pb_istream_from_buffer(sealed.statement.bytes, sealed.statement.size);
    if (!pb_decode(&in, argus_Statement_fields, &statement) ||
        statement.which_body != argus_Statement_event_tag)
        return false;
    *out = statement.body.event;
    return true;
}

/* It was checked when it came; here it is only unpacked. */
static bool unpack(const struct entry *e, argus_Event *out)
{
    uint8_t packed[PACKED_MAX];

    return timeline_unpack(packed, pack(e, packed, sizeof packed), out);
}

bool timeline_get(const struct timeline *t, uint32_t index,
                  argus_EventReply *out)
{
    if (index >= t->events.count)
        return false;
    const struct entry *e = row_at(&t->events, index);

    *out = (argus_EventReply){.has_event = true, .received_us = e->received_us};
    memcpy(out->origin, e->origin->id.bytes, NODE_ID_SIZE);
    return unpack(e, &out->event);
}

bool timeline_place(const struct timeline *t, uint32_t index,
                    struct timeline_place *out)
{
    if (index >= t->events.count)
        return false;
    *out = place_of(row_at(&t->events, index));
    return true;
}

uint32_t timeline_index(const struct timeline *t,
                        const struct timeline_place *place)
{
    return place->is_end ? t->events.count : row_find_place(&t->events, place);
}

uint32_t timeline_find(const struct timeline *t, uint64_t hlc)
{
    const struct timeline_place place = {.hlc = hlc};

    return row_find_place(&t->events, &place);
}

size_t timeline_bytes(const struct timeline *t)
{
    return t->bytes;
}

const struct timeline_stats *timeline_stats(const struct timeline *t)
{
    return &t->stats;
}

/* ------------------------------------------------------------------ life */

int timeline_new(const struct timeline_options *options, struct timeline **out)
{
    if (options->retain_events == 0 || options->retain_events > RETAIN_MAX ||
        options->event_rate == 0 || options->event_rate > TIMELINE_RATE_MAX ||
        options->digest == NULL)
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
    struct origin *o, *next;

    if (t == NULL)
        return;
    for (uint32_t i = 0; i < t->events.count; i++)
        free(row_at(&t->events, i));
    HASH_ITER(hh, t->origins, o, next)
    {
        HASH_DEL(t->origins, o);
        free(o->events.at);
        free(o);
    }
    free(t->index.at);
    free(t->events.at);
    free(t);
}
