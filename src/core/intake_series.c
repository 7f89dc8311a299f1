#include "core/intake_internal.h"

#include <stdlib.h>

struct sender *intake_sender_of(struct intake *x, const struct node_id *id)
{
    struct sender *sender;

    HASH_FIND(hh, x->senders, id, sizeof *id, sender);
    if (sender != NULL)
        return sender;
    sender = calloc(1, sizeof *sender);
    if (sender == NULL)
        return NULL;
    sender->id = *id;
    TAILQ_INIT(&sender->idle);
    HASH_ADD(hh, x->senders, id, sizeof *id, sender);
    if (!table_has_taken(&sender->hh)) {
        free(sender);
        return NULL;
    }
    x->stats.senders++;
    return sender;
}

void intake_sender_forget(struct intake *x, struct sender *sender)
{
    if (sender->link != NULL || sender->series > 0)
        return;
    HASH_DEL(x->senders, sender);
    free(sender);
    x->stats.senders--;
}

struct host *intake_host_find(const struct sender *sender, const char *name)
{
    struct host *host;

    HASH_FIND(hh, sender->hosts, name, (unsigned)strlen(name), host);
    return host;
}

static struct host *host_of(struct sender *sender, const char *name)
{
    size_t length = strlen(name);
    struct host *host = intake_host_find(sender, name);

    if (host != NULL)
        return host;
    host = calloc(1, sizeof *host + length + 1);
    if (host == NULL)
        return NULL;
    memcpy(host->name, name, length + 1);
    HASH_ADD(hh, sender->hosts, name, (unsigned)length, host);
    if (!table_has_taken(&host->hh)) {
        free(host);
        return NULL;
    }
    return host;
}

struct name *intake_name_find(const struct intake *x,
                              const struct identifier *id)
{
    struct name *name;

    HASH_FIND(hh, x->names, id->text, id->size, name);
    return name;
}

static struct name *name_of(struct intake *x, const struct identifier *id)
{
    struct name *name = intake_name_find(x, id);

    if (name != NULL)
        return name;
    name = calloc(1, sizeof *name + id->size);
    if (name == NULL)
        return NULL;
    LIST_INIT(&name->series);
    name->size = id->size;
    memcpy(name->key, id->text, id->size);
    HASH_ADD(hh, x->names, key, id->size, name);
    if (!table_has_taken(&name->hh)) {
        free(name);
        return NULL;
    }
    return name;
}

/* ---------------------------------------------------------------- series */

static void series_unlink(struct intake *x, struct series *series)
{
    if (series->ghost != NULL)
        series->ghost->stopped = NULL;
    if (series->name != NULL) {
        LIST_REMOVE(series, same);
        if (LIST_EMPTY(&series->name->series)) {
            HASH_DEL(x->names, series->name);
            free(series->name);
        }
    }
    if (series->host != NULL && --series->host->series == 0) {
        HASH_DEL(series->sender->hosts, series->host);
        free(series->host);
    }
    free(series);
}

static void series_set_idle(struct intake *x, struct series *series, bool idle)
{
    if (series->is_idle == idle)
        return;
    series->is_idle = idle;
    if (idle) {
        TAILQ_INSERT_TAIL(&x->idle, series, idle);
        TAILQ_INSERT_TAIL(&series->sender->idle, series, idle_own);
    } else {
        TAILQ_REMOVE(&x->idle, series, idle);
        TAILQ_REMOVE(&series->sender->idle, series, idle_own);
    }
}

void intake_series_check_idle(struct intake *x, struct series *series)
{
    series_set_idle(x, series,
                    series->links == 0 && !series->is_under_way &&
                        STAILQ_EMPTY(&series->waiting));
}

static void series_evict(struct intake *x, struct series *series,
                         const struct sender *keep, struct actions *out)
{
    struct sender *sender = series->sender;
    struct action a = {.type = ACTION_SERIES_END, .series_end = series->handle};

    out->emit(out->context, &a);
    series_set_idle(x, series, false);
    series_unlink(x, series);
    x->stats.series_evicted++;
    x->stats.series--;
    sender->series--;
    if (sender != keep)
        intake_sender_forget(x, sender);
}

/* Room for one more of this sender, at the cost of its own idle ones first. */
static bool series_make_room(struct intake *x, struct sender *sender,
                             struct actions *out)
{
    if (sender->series >= x->options.sender_series_max) {
        if (TAILQ_EMPTY(&sender->idle))
            return false;
        series_evict(x, TAILQ_FIRST(&sender->idle), sender, out);
    }
    if (x->stats.series >= x->options.series_max) {
        if (TAILQ_EMPTY(&x->idle))
            return false;
        series_evict(x, TAILQ_FIRST(&x->idle), sender, out);
    }
    return true;
}

static struct series *series_new(struct intake *x, struct sender *sender,
                                 const struct identifier *id)
{
    struct series *series = calloc(1, sizeof *series);

    if (series == NULL)
        return NULL;
    STAILQ_INIT(&series->waiting);
    series->sender = sender;
    series->life = sender->life;
    series->host = host_of(sender, id->text);
    if (series->host == NULL)
        goto free_series;
    series->host->series++;
    series->name = name_of(x, id);
    if (series->name == NULL)
        goto free_series;
    LIST_INSERT_HEAD(&series->name->series, series, same);
    series->handle = ++x->handles;
    sender->series++;
    x->stats.series++;
    return series;

free_series:
    series_unlink(x, series);
    return NULL;
}

static struct series *series_find(const struct intake *x,
                                  const struct sender *sender,
                                  const struct identifier *id)
{
    const struct name *name = intake_name_find(x, id);
    struct series *series;

    if (name == NULL)
        return NULL;
    LIST_FOREACH(series, &name->series, same)
    if (series->sender == sender)
        return series;
    return NULL;
}

/* ----------------------------------------------------------- definitions */

/* 64 bits are enough: a sender that makes two definitions collide misleads
 * nobody but itself. 0: a type that is none. */
static uint64_t sources_hash(const argus_SeriesDef *def)
{
    uint64_t hash = 1;

    for (uint32_t i = 0; i < def->sources_count; i++) {
        const argus_DataSource *s = &def->sources[i];
        if ((unsigned)s->type > argus_SourceType_SOURCE_ABSOLUTE)
            return 0;
        hash = XXH3_64bits_withSeed(s->name, strlen(s->name) + 1,
                                    hash + (uint64_t)s->type);
        hash = XXH3_64bits_withSeed(&s->min, sizeof s->min, hash);
        hash = XXH3_64bits_withSeed(&s->max, sizeof s->max, hash);
    }
    return hash == 0 ? 1 : hash;
}

static uint64_t gauges_of(const argus_SeriesDef *def)
{
    uint64_t gauges = 0;

    for (uint32_t i = 0; i < def->sources_count; i++)
        if (def->sources[i].type == argus_SourceType_SOURCE_GAUGE)
            gauges |= (uint64_t)1 << i;
    return gauges;
}

void intake_series_tell(struct intake *x, const struct series *series,
                        const argus_SeriesDef *def, struct actions *out)
{
    struct series_begin begin = {.series = series->handle, .def = def};
    struct action a = {.type = ACTION_SERIES_BEGIN, .series_begin = &begin};

    out->emit(out->context, &a);
    x->stats.series_begun++;
}

/* Values of the old definition come first: the new one waits behind them. */
static enum series_fate change_queue(struct intake *x, struct series *series,
                                     const argus_SeriesDef *def)
{
    struct value *last = series->change;

    if (last != NULL && STAILQ_NEXT(last, line) == NULL) {
        *last->change = *def; /* no value came with the one that waits */
        return SERIES_OK;
    }
    if (x->changes >= CHANGES_MAX)
        return SERIES_FULL;

    struct value *v = pool_take(&x->pool, intake_flow_value_size(0));
    if (v == NULL)
        return SERIES_NO_MEMORY;
    memset(v, 0, sizeof *v);
    v->series = series;
    v->change = malloc(sizeof *v->change);
    if (v->change == NULL) {
        pool_give(&x->pool, v, intake_flow_value_size(0));
        return SERIES_NO_MEMORY;
    }
    *v->change = *def;
    x->changes++;
    STAILQ_INSERT_TAIL(&series->waiting, v, line);
    series->change = v;
    intake_flow_ready(x, series);
    return SERIES_OK;
}

static enum series_fate series_change(struct intake *x, struct series *series,
                                      const argus_SeriesDef *def, uint64_t hash,
                                      struct actions *out)
{
    if (series->sources == hash && series->interval == def->interval)
        return SERIES_OK;
    if (series->is_under_way || !STAILQ_EMPTY(&series->waiting)) {
        enum series_fate fate = change_queue(x, series, def);
        if (fate != SERIES_OK)
            return fate;
    } else {
        intake_series_tell(x, series, def, out);
    }
    series->sources = hash;
    series->interval = def->interval;
    series->gauges = gauges_of(def);
    series->count = def->sources_count;
    return SERIES_OK;
}

enum series_fate intake_series_define(struct intake *x, struct sender *sender,
                                      const argus_SeriesDef *def,
                                      struct series **out, struct actions *act)
{
    const char *const parts[5] = {def->host, def->plugin, def->plugin_instance,
                                  def->type, def->type_instance};
    uint64_t hash = sources_hash(def);
    struct identifier id;

    if (!identifier_make(&id, parts) || hash == 0 || def->sources_count == 0)
        return SERIES_BAD;
    *out = series_find(x, sender, &id);
    if (*out == NULL) {
        if (!series_make_room(x, sender, act))
            return SERIES_FULL;
        *out = series_new(x, sender, &id);
        if (*out == NULL)
            return SERIES_NO_MEMORY;
    }
    return series_change(x, *out, def, hash, act);
}

void intake_series_free_all(struct intake *x)
{
    struct sender *sender, *next_sender;
    struct name *name, *next_name;

    HASH_ITER(hh, x->names, name, next_name)
    {
        bool last = false;
        while (!last) { /* the name goes with its last series */
            struct series *series = LIST_FIRST(&name->series);
            struct value *v;
            last = LIST_NEXT(series, same) == NULL;
            while ((v = STAILQ_FIRST(&series->waiting)) != NULL) {
                STAILQ_REMOVE_HEAD(&series->waiting, line);
                intake_flow_free_value(x, v);
            }
            series_unlink(x, series);
        }
    }
    HASH_ITER(hh, x->senders, sender, next_sender)
    {
        HASH_DEL(x->senders, sender);
        free(sender);
    }
}
