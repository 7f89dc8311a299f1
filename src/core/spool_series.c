#include "core/spool_internal.h"

#include <stdlib.h>

/* Series looked at, from the least recently used on, for one to evict. */
#define EVICT_TRIES 16

#define SOURCE_TEXT_MAX (1 + 2 * sizeof(double) + IDENTIFIER_PART_SIZE)

/* ---------------------------------------------------------- data sources */

static void sources_unref(struct spool *s, struct sources *sources)
{
    if (--sources->refs > 0)
        return;
    HASH_DEL(s->sources, sources);
    free(sources);
}

static uint32_t source_pack(uint8_t *out, const argus_DataSource *source)
{
    size_t length = strnlen(source->name, sizeof source->name - 1);
    uint8_t *p = out;

    *p++ = (uint8_t)source->type;
    memcpy(p, &source->min, sizeof source->min);
    p += sizeof source->min;
    memcpy(p, &source->max, sizeof source->max);
    p += sizeof source->max;
    memcpy(p, source->name, length);
    p[length] = '\0';
    return (uint32_t)(p - out + (ptrdiff_t)length + 1);
}

/* The shared list that equals what was described; new ones are added. */
static struct sources *sources_of(struct spool *s, const argus_SeriesDef *def)
{
    uint8_t text[SOURCES_MAX * SOURCE_TEXT_MAX];
    uint64_t gauges = 0;
    uint32_t size = 0;
    struct sources *found;

    for (uint32_t i = 0; i < def->sources_count; i++) {
        size += source_pack(text + size, &def->sources[i]);
        if (def->sources[i].type == argus_SourceType_SOURCE_GAUGE)
            gauges |= (uint64_t)1 << i;
    }
    HASH_FIND(hh, s->sources, text, size, found);
    if (found != NULL) {
        found->refs++;
        return found;
    }
    found = calloc(1, sizeof *found + size);
    if (found == NULL)
        return NULL;
    found->refs = 1;
    found->count = def->sources_count;
    found->gauges = gauges;
    found->size = size;
    memcpy(found->text, text, size);
    HASH_ADD(hh, s->sources, text, size, found);
    if (!table_has_taken(&found->hh)) {
        free(found);
        return NULL;
    }
    return found;
}

/* ----------------------------------------------------------- definitions */

void spool_definition_unref(struct spool *s, struct definition *def)
{
    if (--def->refs > 0)
        return;
    sources_unref(s, def->sources);
    free(def);
}

/* Replace the present definition of a series if the value brings another. */
static bool series_define(struct spool *s, struct series *series,
                          const struct value_input *in)
{
    struct definition *old = series->now;

    s->scratch->described.sources_count = 0;
    s->describe(in->set, &s->scratch->described);
    if (s->scratch->described.sources_count != in->count || in->count == 0 ||
        in->count > SOURCES_MAX)
        return false;
    struct sources *sources = sources_of(s, &s->scratch->described);
    if (sources == NULL) {
        s->stats.memory_refused++;
        return false;
    }
    series->set = in->set;
    if (old != NULL && old->sources == sources &&
        old->interval == in->interval) {
        sources_unref(s, sources);
        return true;
    }
    struct definition *def = malloc(sizeof *def);
    if (def == NULL) {
        sources_unref(s, sources);
        s->stats.memory_refused++;
        return false;
    }
    *def = (struct definition){.series = series,
                               .sources = sources,
                               .interval = in->interval,
                               .version = ++s->versions,
                               .refs = 1};
    series->now = def;
    if (old != NULL)
        spool_definition_unref(s, old);
    return true;
}

void spool_definition_fill(const struct definition *def, argus_SeriesDef *out)
{
    const struct series *series = def->series;
    char *const parts[5] = {out->host, out->plugin, out->plugin_instance,
                            out->type, out->type_instance};
    const char *name = series->key;
    const uint8_t *p = def->sources->text;

    for (int i = 0; i < 5; i++) {
        size_t size = strlen(name) + 1;
        memcpy(parts[i], name, size);
        name += size;
    }
    out->interval = def->interval;
    out->sources_count = (pb_size_t)def->sources->count;
    for (uint32_t i = 0; i < def->sources->count; i++) {
        argus_DataSource *source = &out->sources[i];
        source->type = (argus_SourceType)*p++;
        memcpy(&source->min, p, sizeof source->min);
        p += sizeof source->min;
        memcpy(&source->max, p, sizeof source->max);
        p += sizeof source->max;
        size_t size = strlen((const char *)p) + 1;
        memcpy(source->name, p, size);
        p += size;
    }
}

/* ---------------------------------------------------------------- series */

static void series_free(struct spool *s, struct series *series)
{
    if (series->now != NULL)
        spool_definition_unref(s, series->now);
    if (series->lane != NULL)
        spool_lane_unref(s, series->lane);
    free(series);
}

/* Make room for one series. Its slot is the next one's: links tell the two
 * apart by the version of the definition. */
static bool series_evict(struct spool *s, uint32_t *slot)
{
    struct series *series = TAILQ_FIRST(&s->used);

    for (int i = 0; i < EVICT_TRIES && series != NULL; i++) {
        if (series->values == 0) {
            *slot = series->slot;
            HASH_DEL(s->series, series);
            TAILQ_REMOVE(&s->used, series, used);
            series_free(s, series);
            s->stats.series_evicted++;
            s->stats.series--;
            return true;
        }
        series = TAILQ_NEXT(series, used);
    }
    return false;
}

static struct series *series_new(struct spool *s, const struct identifier *id,
                                 const struct value_input *in)
{
    struct series *series = calloc(1, sizeof *series + id->size);

    if (series == NULL) {
        s->stats.memory_refused++;
        return NULL;
    }
    series->key_size = id->size;
    memcpy(series->key, id->text, id->size);
    if (!series_define(s, series, in))
        goto free_series;
    series->slot = s->slots;
    if (s->stats.series >= s->series_max && !series_evict(s, &series->slot))
        goto free_series;
    series->lane = spool_lane_of(s, in->host);
    if (series->lane == NULL)
        goto free_series;
    HASH_ADD(hh, s->series, key, id->size, series);
    if (!table_has_taken(&series->hh)) {
        s->stats.memory_refused++;
        goto free_series;
    }
    if (series->slot == s->slots)
        s->slots++;
    TAILQ_INSERT_TAIL(&s->used, series, used);
    s->stats.series++;
    return series;

free_series:
    series_free(s, series);
    return NULL;
}

struct series *spool_series_of(struct spool *s, const struct value_input *in)
{
    const char *const parts[5] = {in->host, in->plugin, in->plugin_instance,
                                  in->type, in->type_instance};
    struct identifier id;
    struct series *series;

    if (!identifier_make(&id, parts))
        return NULL;
    HASH_FIND(hh, s->series, id.text, id.size, series);
    if (series == NULL)
        return series_new(s, &id, in);
    if ((series->set != in->set || series->now->interval != in->interval ||
         series->now->sources->count != in->count) &&
        !series_define(s, series, in))
        return NULL;
    TAILQ_REMOVE(&s->used, series, used);
    TAILQ_INSERT_TAIL(&s->used, series, used);
    return series;
}

void spool_series_free_all(struct spool *s)
{
    struct series *series, *next;

    HASH_ITER(hh, s->series, series, next)
    {
        HASH_DEL(s->series, series);
        series_free(s, series);
    }
}
