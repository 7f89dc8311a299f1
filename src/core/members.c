#define HASH_NONFATAL_OOM 1
#include "core/members.h"

#include <math.h>
#include <stdlib.h>

#define MEMBERS_ROOM_FIRST 16

const char *member_state_word(uint32_t state)
{
    static const char *const texts[] = {"unknown", "online", "suspect",
                                        "offline", "left"};
    return state < sizeof texts / sizeof texts[0] ? texts[state] : texts[0];
}

void members_init(struct members *t, uint32_t max, uint32_t tombstones_max)
{
    *t = (struct members){.max = max, .tombstones_max = tombstones_max};
}

static void member_free(struct member *m)
{
    free(m->report);
    free(m->block);
    free(m);
}

void members_close(struct members *t)
{
    struct tombstone *dead, *next;

    HASH_CLEAR(hh, t->by_id);
    HASH_CLEAR(hh_address, t->by_address);
    for (uint32_t i = 0; i < t->count; i++)
        member_free(t->list[i]);
    free(t->list);
    free(t->sorted);
    HASH_ITER(hh, t->tombstones, dead, next)
    {
        HASH_DEL(t->tombstones, dead);
        free(dead);
    }
    members_init(t, t->max, t->tombstones_max);
}

struct member *members_find(const struct members *t, const struct node_id *id)
{
    struct member *m;

    HASH_FIND(hh, t->by_id, id, sizeof *id, m);
    return m;
}

/* An address whose host is not known yet is no place anybody can be dialed at:
 * such members would all share one chain. */
static bool address_has_host(const char *address)
{
    return address[0] != '\0' && address[0] != ':';
}

struct member *members_at(const struct members *t, const char *address)
{
    struct member *m;

    HASH_FIND(hh_address, t->by_address, address, strlen(address), m);
    return m;
}

/* So many at one address is nobody's honest doing, and each of them would walk
 * past all others. */
static bool chain_is_full(const struct member *head)
{
    uint32_t length = 0;

    for (; head != NULL; head = head->same_address)
        length++;
    return length >= SAME_ADDRESS_MAX;
}

static void address_link(struct members *t, struct member *m)
{
    if (m->address == NULL || !address_has_host(m->address))
        return;

    struct member *head = members_at(t, m->address);
    if (head != NULL) {
        if (chain_is_full(head))
            return;
        m->same_address = head->same_address;
        head->same_address = m;
        return;
    }
    /* Without memory for it the member is not found by address, no more. */
    HASH_ADD_KEYPTR(hh_address, t->by_address, m->address, strlen(m->address),
                    m);
}

static void address_unlink(struct members *t, struct member *m)
{
    if (m->address == NULL || !address_has_host(m->address))
        return;

    struct member *head = members_at(t, m->address);
    if (head == m) {
        struct member *next = m->same_address;
        HASH_DELETE(hh_address, t->by_address, m);
        if (next != NULL)
            HASH_ADD_KEYPTR(hh_address, t->by_address, next->address,
                            strlen(next->address), next);
    } else {
        while (head != NULL && head->same_address != m)
            head = head->same_address;
        if (head != NULL)
            head->same_address = m->same_address;
    }
    m->same_address = NULL;
}

static bool reserve(struct members *t)
{
    if (t->count < t->room)
        return true;

    uint32_t room = t->room == 0 ? MEMBERS_ROOM_FIRST : 2 * t->room;
    struct member **list = realloc(t->list, room * sizeof(struct member *));
    if (list == NULL)
        return false;
    t->list = list;
    struct member **sorted = realloc(t->sorted, room * sizeof(struct member *));
    if (sorted == NULL)
        return false;
    t->sorted = sorted;
    t->room = room;
    return true;
}

struct member *members_add(struct members *t, const struct node_id *id)
{
    if (t->count >= t->max || !reserve(t))
        return NULL;

    struct member *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->id = *id;
    HASH_ADD(hh, t->by_id, id, sizeof m->id, m);
    if (m->hh.tbl == NULL) {
        free(m);
        return NULL;
    }

    uint32_t at = members_lower_bound(t, id);
    memmove(&t->sorted[at + 1], &t->sorted[at],
            (t->count - at) * sizeof(struct member *));
    t->sorted[at] = m;
    m->name = m->zone = m->address = "";
    m->index = t->count;
    t->list[t->count++] = m;
    t->in_state[m->state]++;
    return m;
}

void members_remove(struct members *t, struct member *m)
{
    uint32_t at = members_lower_bound(t, &m->id);

    HASH_DELETE(hh, t->by_id, m);
    address_unlink(t, m);
    t->count--;
    t->in_state[m->state]--;
    memmove(&t->sorted[at], &t->sorted[at + 1],
            (t->count - at) * sizeof(struct member *));
    memmove(&t->list[m->index], &t->list[m->index + 1],
            (t->count - m->index) * sizeof(struct member *));
    for (uint32_t i = m->index; i < t->count; i++)
        t->list[i]->index = i;
    member_free(m);
}

static const char *put_string(uint8_t **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *start = memcpy(*at, text, size);

    *at += size;
    return start;
}

bool members_set_record(struct members *t, struct member *m,
                        const argus_NodeRecord *record, const uint8_t *packed,
                        size_t size)
{
    uint8_t *block = malloc(size + strlen(record->name) + strlen(record->zone) +
                            strlen(record->address) + 3);
    if (block == NULL)
        return false;

    address_unlink(t, m);
    uint8_t *at = block;
    memcpy(at, packed, size);
    at += size;
    m->name = put_string(&at, record->name);
    m->zone = put_string(&at, record->zone);
    m->address = put_string(&at, record->address);
    free(m->block);
    m->block = block;
    m->packed = block;
    m->packed_size = (uint32_t)size;
    m->generation = record->generation;
    m->version = record->version;
    m->instance = record->instance;
    m->started_ms = record->started_ms;
    m->hlc = record->hlc;
    m->role = (uint8_t)record->role;
    m->has_left = record->left;
    m->publishers_missing = (uint16_t)(record->publishers_missing < UINT16_MAX
                                           ? record->publishers_missing
                                           : UINT16_MAX);
    m->has_clock_alarm = record->has_clock && record->clock.alarm;
    m->weight =
        isfinite(record->weight) && record->weight > 0 ? record->weight : 0;
    address_link(t, m);
    return true;
}

struct member_report *members_set_report(struct member *m,
                                         const argus_Report *report,
                                         const struct node_id *author,
                                         const uint8_t *packed, size_t size)
{
    struct member_report *r = calloc(1, sizeof *r + size);
    if (r == NULL)
        return NULL;

    const struct member_report *old = m->report;
    if (old != NULL && old->generation == report->generation &&
        old->version == report->version) {
        memcpy(r->witnesses, old->witnesses, sizeof r->witnesses);
        r->witnesses_count = old->witnesses_count;
    }
    r->state = report->state;
    r->generation = report->generation;
    r->version = report->version;
    r->hlc = report->hlc;
    r->is_proven = report->proven;
    r->author = *author;
    r->member = m;
    r->packed_size = (uint32_t)size;
    memcpy(r->packed, packed, size);
    free(m->report);
    m->report = r;
    return r;
}

void members_set_state(struct members *t, struct member *m,
                       argus_MemberState state)
{
    t->in_state[m->state]--;
    m->state = (uint8_t)state;
    t->in_state[m->state]++;
}

uint32_t members_lower_bound(const struct members *t, const struct node_id *id)
{
    uint32_t low = 0, high = t->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (node_id_compare(&t->sorted[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void tombstone_drop(struct members *t, struct tombstone *stone)
{
    HASH_DEL(t->tombstones, stone);
    free(stone);
}

void members_unbury(struct members *t, const struct node_id *id)
{
    struct tombstone *stone;

    HASH_FIND(hh, t->tombstones, id, sizeof *id, stone);
    if (stone != NULL)
        tombstone_drop(t, stone);
}

bool members_bury(struct members *t, const struct member *m,
                  uint64_t expires_ms)
{
    bool fits = HASH_COUNT(t->tombstones) < t->tombstones_max;
    struct tombstone *stone = calloc(1, sizeof *stone);

    if (stone == NULL)
        return false;
    members_unbury(t, &m->id);
    if (!fits && t->tombstones != NULL)
        tombstone_drop(t, t->tombstones);
    stone->id = m->id;
    stone->generation = m->generation;
    stone->version = m->version;
    stone->expires_ms = expires_ms;
    HASH_ADD(hh, t->tombstones, id, sizeof stone->id, stone);
    if (stone->hh.tbl == NULL) {
        free(stone);
        return false;
    }
    return fits;
}

const struct tombstone *members_tombstone(const struct members *t,
                                          const struct node_id *id)
{
    struct tombstone *stone;

    HASH_FIND(hh, t->tombstones, id, sizeof *id, stone);
    return stone;
}

void members_expire_tombstones(struct members *t, uint64_t now_ms)
{
    while (t->tombstones != NULL && t->tombstones->expires_ms <= now_ms)
        tombstone_drop(t, t->tombstones);
}
