/* sim_values.c - a collectd on every node: agents read values, aggregators
 * write them after a random while in the queue. The ledger knows of each value
 * whether it was written, and asserts that no process writes one of a series
 * twice or out of order. */
#include "sim/sim_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX_US 20000 /* in collectd's queue */

/* One series of one agent; values are numbered from 1. */
struct origin {
    struct sent_value {
        uint64_t wall_us;
        bool is_written;
    } * values; /* by number */
    uint64_t sent, room;
    uint64_t void_to; /* the agent died with these, nobody can have them */
};

struct ledger {
    struct origin **origins; /* by agent, series */
    uint32_t agents, series;
    uint64_t sent, written;
};

/* A series as an aggregator's collectd knows it. */
struct known_series {
    uint64_t handle;
    uint32_t agent, series;
    UT_hash_handle hh;
};

struct collectd {
    struct known_series *series;
    uint64_t *last; /* by agent and series: highest number written */
    size_t lasts;
};

void values_describe(const void *set, argus_SeriesDef *def)
{
    (void)set;
    def->sources_count = 1;
    memset(&def->sources[0], 0, sizeof def->sources[0]);
    (void)snprintf(def->sources[0].name, sizeof def->sources[0].name, "value");
    def->sources[0].type = argus_SourceType_SOURCE_DERIVE;
}

static void enter_sent(struct sim *s, struct origin *o, uint64_t wall_us)
{
    if (++o->sent >= o->room) {
        o->room = o->room == 0 ? 64 : 2 * o->room;
        o->values = realloc(o->values, o->room * sizeof *o->values);
        if (o->values == NULL)
            abort();
    }
    o->values[o->sent] = (struct sent_value){.wall_us = wall_us};
    s->ledger->sent++;
}

/* One read pass: a value of each series, in one call as from the mailbox. */
static void read_values(struct sim *s, struct sim_node *n)
{
    static struct value_input inputs[256];
    static uint64_t numbers[256];
    static char names[256][16];
    char host[16];
    uint64_t wall_us = sim_wall_us(s, n);
    uint32_t count = s->ledger->series;

    (void)snprintf(host, sizeof host, "n%u", n->index);
    for (uint32_t i = 0; i < count; i++) {
        struct origin *o = &s->ledger->origins[n->index][i];
        enter_sent(s, o, wall_us);
        numbers[i] = o->sent;
        (void)snprintf(names[i], sizeof names[i], "s%u", i);
        inputs[i] = (struct value_input){
            .host = host,
            .plugin = "sim",
            .plugin_instance = "",
            .type = "derive",
            .type_instance = names[i],
            .set = s,
            .time = (wall_us << 30) / 1000000,
            .interval = ((uint64_t)s->values_interval_ms << 30) / 1000,
            .numbers = &numbers[i],
            .count = 1};
    }
    struct event ev = {.type = EVENT_VALUES,
                       .values = {.values = inputs, .count = count}};
    sim_step(s, n, &ev);
}

static void on_values(struct sim *s, struct sim_node *n)
{
    if (s->values_interval_ms == 0)
        return;
    struct happening *h =
        sim_schedule(s, s->now_us + (uint64_t)s->values_interval_ms * 1000,
                     WHAT_VALUES, n->index);
    h->life = SIM_NOBODY;
    if (sim_is_alive(s, n->index))
        read_values(s, n);
}

void sim_values(struct sim *s, uint32_t series, uint32_t interval_ms)
{
    s->values_interval_ms = interval_ms;
    if (interval_ms == 0 || s->ledger != NULL)
        return;
    s->ledger = sim_alloc(sizeof *s->ledger);
    s->ledger->agents = s->nodes_count;
    s->ledger->series = series < 256 ? series : 256;
    s->ledger->origins = sim_alloc(s->nodes_count * sizeof(struct origin *));
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        s->ledger->origins[i] =
            sim_alloc(s->ledger->series * sizeof(struct origin));
        if (s->nodes[i]->is_aggregator)
            continue;
        uint64_t phase = prng_below(&s->prng, interval_ms * 1000);
        sim_schedule(s, s->now_us + phase, WHAT_VALUES, i)->life = SIM_NOBODY;
    }
}

/* ------------------------------------------------------------ aggregator */

static struct known_series *find_series(const struct collectd *c,
                                        uint64_t handle)
{
    struct known_series *k = NULL;
    if (c != NULL)
        HASH_FIND(hh, c->series, &handle, sizeof handle, k);
    return k;
}

static void begin_series(struct sim *s, struct sim_node *n,
                         const struct series_begin *b)
{
    struct known_series *k = find_series(n->collectd, b->series);
    struct known_series id;

    if (s->ledger == NULL || sscanf(b->def->host, "n%u", &id.agent) != 1 ||
        sscanf(b->def->type_instance, "s%u", &id.series) != 1 ||
        id.agent >= s->ledger->agents || id.series >= s->ledger->series) {
        sim_fail(s, "n%u: a series that nobody sent begins", n->index);
        return;
    }
    if (n->collectd == NULL) {
        n->collectd = sim_alloc(sizeof *n->collectd);
        n->collectd->lasts = (size_t)s->ledger->agents * s->ledger->series;
        n->collectd->last = sim_alloc(n->collectd->lasts * sizeof(uint64_t));
    }
    if (k == NULL) {
        k = sim_alloc(sizeof *k);
        k->handle = b->series;
        HASH_ADD(hh, n->collectd->series, handle, sizeof k->handle, k);
    }
    k->agent = id.agent;
    k->series = id.series;
}

static void end_series(struct sim_node *n, uint64_t handle)
{
    struct known_series *k = find_series(n->collectd, handle);
    if (k == NULL)
        return;
    HASH_DELETE(hh, n->collectd->series, k);
    free(k);
}

static void queue_value(struct sim *s, struct sim_node *n,
                        const struct value_ref *v)
{
    if (find_series(n->collectd, v->series) == NULL) {
        sim_fail(s, "n%u: a value of no series", n->index);
        return;
    }
    struct happening *h =
        sim_schedule(s, s->now_us + 100 + prng_below(&s->prng, QUEUE_MAX_US),
                     WHAT_SEEN, n->index);
    h->token = v->token;
    h->series = v->series;
    h->number = v->numbers[0];
}

static bool is_in_order(const struct origin *o, uint64_t last, uint64_t number)
{
    return number > last || (number < last && o->values[number].wall_us >
                                                  o->values[last].wall_us);
}

static void write_value(struct sim *s, struct sim_node *n,
                        const struct happening *h)
{
    const struct known_series *k = find_series(n->collectd, h->series);
    struct event ev = {.type = EVENT_SEEN,
                       .seen = {.tokens = &h->token, .count = 1}};

    if (k != NULL) {
        struct origin *o = &s->ledger->origins[k->agent][k->series];
        uint64_t *last =
            &n->collectd
                 ->last[(size_t)k->agent * s->ledger->series + k->series];
        if (h->number == 0 || h->number > o->sent)
            sim_fail(s, "n%u: a value that was never sent", n->index);
        else if (!is_in_order(o, *last, h->number))
            sim_fail(s, "n%u: n%u/s%u: %llu written after %llu", n->index,
                     k->agent, k->series, (unsigned long long)h->number,
                     (unsigned long long)*last);
        else if (!o->values[h->number].is_written) {
            o->values[h->number].is_written = true;
            s->ledger->written++;
        }
        if (h->number > *last)
            *last = h->number;
    }
    sim_step(s, n, &ev);
}

void values_on_action(struct sim *s, struct sim_node *n, const struct action *a)
{
    switch (a->type) {
    case ACTION_SERIES_BEGIN: begin_series(s, n, a->series_begin); break;
    case ACTION_SERIES_END: end_series(n, a->series_end); break;
    default: queue_value(s, n, a->value); break;
    }
}

void values_on_happening(struct sim *s, struct sim_node *n, struct happening *h)
{
    if (h->what == WHAT_VALUES)
        on_values(s, n);
    else
        write_value(s, n, h);
}

/* A process ends: what its collectd held is gone, what its spool held too. */
void values_down(struct sim *s, struct sim_node *n)
{
    struct known_series *k, *next;

    if (n->collectd != NULL) {
        HASH_ITER(hh, n->collectd->series, k, next)
        {
            HASH_DELETE(hh, n->collectd->series, k);
            free(k);
        }
        free(n->collectd->last);
        free(n->collectd);
        n->collectd = NULL;
    }
    if (s->ledger == NULL || n->index >= s->ledger->agents)
        return;
    for (uint32_t i = 0; i < s->ledger->series; i++)
        s->ledger->origins[n->index][i].void_to =
            s->ledger->origins[n->index][i].sent;
}

bool sim_all_written(struct sim *s)
{
    const struct ledger *l = s->ledger;

    for (uint32_t i = 0; l != NULL && i < l->agents; i++)
        for (uint32_t j = 0; j < l->series; j++) {
            const struct origin *o = &l->origins[i][j];
            for (uint64_t k = o->void_to + 1; k <= o->sent; k++)
                if (!o->values[k].is_written)
                    return false;
        }
    return true;
}

void values_figures(const struct sim *s, uint64_t *sent, uint64_t *written)
{
    *sent = s->ledger != NULL ? s->ledger->sent : 0;
    *written = s->ledger != NULL ? s->ledger->written : 0;
}

void values_free(struct sim *s)
{
    struct ledger *l = s->ledger;

    if (l == NULL)
        return;
    for (uint32_t i = 0; i < l->agents; i++) {
        for (uint32_t j = 0; j < l->series; j++)
            free(l->origins[i][j].values);
        free(l->origins[i]);
    }
    free(l->origins);
    free(l);
}
