#include "core/departures.h"

#include <stdlib.h>
#include <string.h>

/* A member that is asked about: all but those that left. */
struct seat {
    const struct member *m;
    uint32_t group;
    bool is_gone;
};

struct work {
    struct seat *seats;  /* by zone */
    struct seat **order; /* room to sort some of them by time */
    uint32_t count;
    struct departures *out;
};

/* ------------------------------------------------------------- orders */

/* A zone stands before what lies in it, and all of that before the next: so
 * each prefix is one stretch. */
static int zone_compare(const char *a, const char *b)
{
    for (; *a == *b; a++, b++)
        if (*a == '\0')
            return 0;
    int left = *a == '/' ? 1 : (unsigned char)*a + (*a != '\0');
    int right = *b == '/' ? 1 : (unsigned char)*b + (*b != '\0');
    return left - right;
}

static int by_zone(const void *a, const void *b)
{
    const struct seat *x = a, *y = b;
    int order = zone_compare(x->m->zone, y->m->zone);

    return order != 0 ? order : node_id_compare(&x->m->id, &y->m->id);
}

static int by_time(const void *a, const void *b)
{
    const struct seat *x = *(struct seat *const *)a;
    const struct seat *y = *(struct seat *const *)b;

    if (x->m->gone_us != y->m->gone_us)
        return x->m->gone_us < y->m->gone_us ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* ------------------------------------------------------------- groups */

/* Of `count` seats by time, how many at the end went together. */
static uint32_t newest(struct seat *const *order, uint32_t count)
{
    uint32_t n = 1;

    while (n < count &&
           order[count - n]->m->gone_us - order[count - n - 1]->m->gone_us <=
               DEPARTURES_GAP_MS * 1000u)
        n++;
    return n;
}

static size_t shared_length(const char *a, const char *b)
{
    size_t at = 0, end = 0;

    for (;; at++) {
        bool a_ends = a[at] == '\0' || a[at] == '/';
        bool b_ends = b[at] == '\0' || b[at] == '/';
        if (a_ends && b_ends)
            end = at;
        if (a[at] != b[at] || a[at] == '\0')
            return end;
    }
}

static bool is_silent(const struct member *m)
{
    return m->report != NULL && !m->report->is_proven;
}

/* Seats by time, all of one zone. */
static void make_group(struct work *w, struct seat *const *order,
                       uint32_t count)
{
    struct departures *out = w->out;
    struct departure_group *g = &out->groups[out->groups_count];
    const struct seat *low = order[0], *high = order[0];

    *g = (struct departure_group){.count = count,
                                  .first_us = order[0]->m->gone_us,
                                  .last_us = order[count - 1]->m->gone_us};
    for (uint32_t i = 0; i < count; i++) {
        low = order[i] < low ? order[i] : low;
        high = order[i] > high ? order[i] : high;
        order[i]->group = out->groups_count;
        g->unsure += is_silent(order[i]->m);
    }
    g->first = low->m;
    g->zone_length = shared_length(low->m->zone, high->m->zone);
    out->groups_count++;
}

/* Those of the seats that went last may be all of a zone that was left. They
 * are not if a zone around it went with them. */
static void look_at(struct work *w, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        if (!w->seats[i].is_gone)
            return;
    for (uint32_t i = from; i < to; i++)
        w->order[i - from] = &w->seats[i];
    uint32_t all = to - from;
    qsort(w->order, all, sizeof(struct seat *), by_time);
    uint32_t count = newest(w->order, all);
    struct seat **group = &w->order[all - count];
    if (count >= 2 && group[count - 1]->group == DEPARTURES_NO_GROUP)
        make_group(w, group, count);
}

static bool lies_in(const char *zone, const char *outer, size_t length)
{
    return strncmp(zone, outer, length) == 0 &&
           (zone[length] == '/' || zone[length] == '\0');
}

/* Seats that share the first `shared` characters of their zones, whole parts.
 */
static void walk(struct work *w, uint32_t from, uint32_t to, size_t shared)
{
    while (from < to) {
        const char *zone = w->seats[from].m->zone;
        if (zone[shared] == '\0') { /* in the zone itself, not deeper */
            from++;
            continue;
        }
        size_t end = shared + (zone[shared] == '/');
        end += strcspn(zone + end, "/");
        uint32_t next = from + 1;
        while (next < to && lies_in(w->seats[next].m->zone, zone, end))
            next++;
        look_at(w, from, next);
        walk(w, from, next, end);
        from = next;
    }
}

/* ------------------------------------------------------------- unsure */

/* Many at once, wherever they are. */
static void look_for_many(struct work *w, bool *is_many)
{
    struct departures *out = w->out;
    uint32_t gone = 0, online = 0;

    for (uint32_t i = 0; i < w->count; i++) {
        if (w->seats[i].is_gone && is_silent(w->seats[i].m))
            w->order[gone++] = &w->seats[i];
        online += !w->seats[i].is_gone;
    }
    qsort(w->order, gone, sizeof(struct seat *), by_time);
    while (gone > 0) {
        uint32_t count = newest(w->order, gone);
        bool is_so = count >= DEPARTURES_MANY && 4 * count >= online + count;
        for (uint32_t i = gone - count; i < gone; i++) {
            bool is_unsure = is_so || w->order[i]->group != DEPARTURES_NO_GROUP;
            is_many[w->order[i] - w->seats] = is_unsure;
            out->unsure += is_unsure;
        }
        gone -= count;
    }
}

/* ----------------------------------------------------------- the list */

static int by_beginning(const void *a, const void *b)
{
    const struct departure *x = a, *y = b;

    if (x->began_us != y->began_us)
        return x->began_us < y->began_us ? -1 : 1;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return strcmp(x->member->name, y->member->name);
}

/* Those of whom only the disk knows are listed, but when they went nobody
 * here can tell. */
static void take_seats(struct work *w, const struct members *t)
{
    struct departures *out = w->out;

    for (uint32_t i = 0; i < t->count; i++) {
        const struct member *m = t->list[i];
        if (m->state == argus_MemberState_MEMBER_LEFT)
            continue;
        if (m->is_unheard) {
            out->list[out->count++] =
                (struct departure){.member = m,
                                   .group = DEPARTURES_NO_GROUP,
                                   .began_us = m->gone_us};
            continue;
        }
        struct seat *s = &w->seats[w->count++];
        *s = (struct seat){.m = m, .group = DEPARTURES_NO_GROUP};
        s->is_gone = m->state == argus_MemberState_MEMBER_SUSPECT ||
                     m->state == argus_MemberState_MEMBER_OFFLINE;
    }
}

static void fill(struct work *w, const bool *is_unsure)
{
    struct departures *out = w->out;

    for (uint32_t i = 0; i < w->count; i++) {
        const struct seat *s = &w->seats[i];
        bool is_alone = s->group == DEPARTURES_NO_GROUP;
        if (s->is_gone)
            out->list[out->count++] = (struct departure){
                .member = s->m,
                .group = s->group,
                .began_us =
                    is_alone ? s->m->gone_us : out->groups[s->group].first_us,
                .is_unsure = is_unsure[i]};
    }
    qsort(out->list, out->count, sizeof out->list[0], by_beginning);
}

bool departures_of(const struct members *t, struct departures *out)
{
    struct work w = {.out = out};
    uint32_t gone = t->in_state[argus_MemberState_MEMBER_SUSPECT] +
                    t->in_state[argus_MemberState_MEMBER_OFFLINE];

    *out = (struct departures){0};
    if (gone == 0)
        return true;
    w.seats = malloc(t->count * sizeof *w.seats);
    w.order = malloc(t->count * sizeof(struct seat *));
    bool *is_unsure = calloc(t->count, sizeof *is_unsure);
    out->list = malloc(gone * sizeof *out->list);
    out->groups = malloc((gone / 2 + 1) * sizeof *out->groups);
    bool is_ok = w.seats != NULL && w.order != NULL && is_unsure != NULL &&
                 out->list != NULL && out->groups != NULL;
    if (is_ok) {
        take_seats(&w, t);
        qsort(w.seats, w.count, sizeof *w.seats, by_zone);
        walk(&w, 0, w.count, 0);
        look_for_many(&w, is_unsure);
        fill(&w, is_unsure);
    } else {
        departures_free(out);
    }
    free(w.seats);
    free(w.order);
    free(is_unsure);
    return is_ok;
}

void departures_free(struct departures *d)
{
    free(d->list);
    free(d->groups);
    *d = (struct departures){0};
}

void departure_group_name(const struct departure_group *g, char *out,
                          size_t size)
{
    size_t length = g->zone_length < size - 1 ? g->zone_length : size - 1;

    memcpy(out, g->first->zone, length);
    out[length] = '\0';
}
