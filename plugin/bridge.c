#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* a rwlock that prefers writers */
#endif
#include "bridge.h"
#include "workers.h"

#include <pthread.h>
#include <stdatomic.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
#include <uthash.h>

#define MARK "argus:received"
#define TOKEN "argus:token"
#define AFTER "argus:after"

/** Slots of the fast way from collectd's data set to ours. */
#define SET_SLOTS 1024

/** Self-metrics that one read takes. */
#define READ_MAX 96

/** A loop that took so long to answer is left alone for a while: the missing
 *  callback runs in collectd's main loop, once for each lost series. */
#define MISSING_SLOW_MS 500
#define MISSING_PAUSE_MS 10000

/* A copy of a data set, so that what the loop later reads of it does not hang
 * on whose it was: Perl scripts pass sets that live for one call. */
struct set {
    struct set *next;
    atomic_bool went_down; /* workers were told of it */
    data_set_t ds;         /* ds.ds points to sources */
    data_source_t sources[];
};

/* A series of another node, ready to be handed to collectd. */
struct series {
    UT_hash_handle hh;
    uint64_t handle;
    value_list_t vl; /* vl.values points to values */
    data_set_t *own; /* not NULL: for plugin_write(), past the chains */
    value_t values[];
};

/* What a write thread holds; each in a cache line of its own. */
struct hand {
    _Atomic uint64_t token; /* 0: nothing of ours */
    char apart[64 - sizeof(uint64_t)];
};

#define BRIDGE_COUNTERS(X)                                                     \
    X(value_refused)                                                           \
    X(value_dropped)                                                           \
    X(value_stray)                                                             \
    X(value_unknown)                                                           \
    X(value_failed)                                                            \
    X(value_direct)                                                            \
    X(series_refused)                                                          \
    X(notice_refused)

struct bridge {
    pthread_rwlock_t gate; /* held to read while the runtime is in use */
    struct runtime *runtime;
    struct bridge_options options;
    const char *script; /* see script_plugin() */

    pthread_mutex_t handing; /* held while something enters collectd */
    bool frozen;

    pthread_mutex_t sets_lock; /* to add one; found ones are read without */
    struct set *sets;
    uint32_t sets_count;
    _Atomic(struct set *) slots[SET_SLOTS];

    struct series *series; /* of the deliver thread alone */
    struct workers *workers;

    atomic_bool touches;
    _Atomic uint64_t handed; /* token; 0: none yet */
    struct hand hands[BRIDGE_THREADS_MAX];

    uint64_t missing_paused_until_ms; /* of the main loop alone */
    atomic_bool refused_said, set_said, series_said, type_said;
#define BRIDGE_COUNTER(name) atomic_uint_fast64_t name;
    BRIDGE_COUNTERS(BRIDGE_COUNTER)
#undef BRIDGE_COUNTER
};

_Static_assert(sizeof(value_t) == sizeof(uint64_t), "a value is 8 bytes");
_Static_assert(sizeof(cdtime_t) == sizeof(uint64_t), "a token fits a time");
_Static_assert((int)argus_SourceType_SOURCE_COUNTER == DS_TYPE_COUNTER &&
                   (int)argus_SourceType_SOURCE_GAUGE == DS_TYPE_GAUGE &&
                   (int)argus_SourceType_SOURCE_DERIVE == DS_TYPE_DERIVE &&
                   (int)argus_SourceType_SOURCE_ABSOLUTE == DS_TYPE_ABSOLUTE,
               "source types are collectd's");
_Static_assert((int)argus_Severity_SEVERITY_FAILURE == NOTIF_FAILURE &&
                   (int)argus_Severity_SEVERITY_WARNING == NOTIF_WARNING &&
                   (int)argus_Severity_SEVERITY_OKAY == NOTIF_OKAY,
               "severities are collectd's");

static void count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void bridge_log(enum log_level level, const char *line)
{
    plugin_log((int)level, "argus: %s", line);
}

/* --------------------------------------------------------- data sets */

static bool source_is_equal(const data_source_t *a, const data_source_t *b)
{
    /* Bits, not numbers: NaN stands for "no bound". */
    return a->type == b->type && memcmp(&a->min, &b->min, sizeof a->min) == 0 &&
           memcmp(&a->max, &b->max, sizeof a->max) == 0 &&
           strcmp(a->name, b->name) == 0;
}

static bool set_is_equal(const data_set_t *a, const data_set_t *b)
{
    if (a->ds_num != b->ds_num || strcmp(a->type, b->type) != 0)
        return false;
    for (size_t i = 0; i < a->ds_num; i++)
        if (!source_is_equal(&a->ds[i], &b->ds[i]))
            return false;
    return true;
}

static struct set *set_copy(const data_set_t *ds)
{
    struct set *set = malloc(sizeof *set + ds->ds_num * sizeof set->sources[0]);

    if (set == NULL)
        return NULL;
    atomic_init(&set->went_down, false);
    set->ds = *ds;
    set->ds.ds = set->sources;
    memcpy(set->sources, ds->ds, ds->ds_num * sizeof set->sources[0]);
    return set;
}

/* Our copy of a data set; NULL when there is no room for it. */
static struct set *set_intern(struct bridge *b, const data_set_t *ds)
{
    _Atomic(struct set *) *slot = &b->slots[((uintptr_t)ds >> 4) % SET_SLOTS];
    struct set *set = atomic_load_explicit(slot, memory_order_acquire);

    if (set != NULL && set_is_equal(&set->ds, ds))
        return set;

    pthread_mutex_lock(&b->sets_lock);
    for (set = b->sets; set != NULL; set = set->next)
        if (set_is_equal(&set->ds, ds))
            break;
    if (set == NULL && b->sets_count < BRIDGE_SETS_MAX)
        set = set_copy(ds);
    else if (set != NULL)
        ds = NULL; /* found, so it is in the list */
    if (set != NULL && ds != NULL) {
        set->next = b->sets;
        b->sets = set;
        b->sets_count++;
    }
    if (set != NULL)
        atomic_store_explicit(slot, set, memory_order_release);
    pthread_mutex_unlock(&b->sets_lock);
    return set;
}

/* Hook, in the loop thread. */
static void describe(const void *context, argus_SeriesDef *def)
{
    const data_set_t *ds = &((const struct set *)context)->ds;

    def->sources_count = (pb_size_t)ds->ds_num;
    for (size_t i = 0; i < ds->ds_num; i++) {
        argus_DataSource *source = &def->sources[i];
        (void)snprintf(source->name, sizeof source->name, "%s", ds->ds[i].name);
        source->type = (argus_SourceType)ds->ds[i].type;
        source->min = ds->ds[i].min;
        source->max = ds->ds[i].max;
    }
}

/* ------------------------------------------------------- write threads */

/* Write threads live as long as the daemon: places are not given back. */
static atomic_uint places;

/* NULL: there are too many threads. */
static struct hand *own_hand(struct bridge *b)
{
    static _Thread_local unsigned place; /* counted from 1 */

    if (place == 0)
        place = atomic_fetch_add(&places, 1) + 1;
    return place <= BRIDGE_THREADS_MAX ? &b->hands[place - 1] : NULL;
}

/* Hook, in the loop thread. */
static bool is_held(void *context, uint64_t token)
{
    struct bridge *b = context;
    unsigned count = atomic_load(&places);

    for (unsigned i = 0; i < count && i < BRIDGE_THREADS_MAX; i++)
        if (atomic_load(&b->hands[i].token) == token)
            return true;
    return false;
}

/* Here and in hold() the post comes first: a value that is not held any more
 * has been told of. */
static void post_seen(struct bridge *b, uint64_t token)
{
    runtime_post_seen(b->runtime, token);
    struct hand *hand = atomic_load(&b->touches) ? own_hand(b) : NULL;
    if (hand != NULL && atomic_load(&hand->token) == token)
        atomic_store(&hand->token, 0);
}

static void hold(struct bridge *b, uint64_t token)
{
    struct hand *hand = own_hand(b);
    uint64_t before = hand != NULL ? atomic_load(&hand->token) : token;

    if (before == token)
        return;
    if (before != 0) {
        pthread_rwlock_rdlock(&b->gate);
        if (b->runtime != NULL)
            runtime_post_passed(b->runtime, before);
        pthread_rwlock_unlock(&b->gate);
    }
    atomic_store(&hand->token, token);
}

static void post_progress(struct bridge *b, uint64_t after)
{
    pthread_rwlock_rdlock(&b->gate);
    if (b->runtime != NULL)
        runtime_post_progress(b->runtime, after);
    pthread_rwlock_unlock(&b->gate);
}

void bridge_touch(struct bridge *b, const value_list_t *vl)
{
    uint64_t token = 0, after;

    if (vl->meta != NULL &&
        meta_data_get_unsigned_int(vl->meta, TOKEN, &token) == 0) {
        (void)meta_data_delete(vl->meta, TOKEN);
    } else if (vl->meta != NULL &&
               meta_data_get_unsigned_int(vl->meta, AFTER, &after) == 0) {
        (void)meta_data_delete(vl->meta, AFTER);
        post_progress(b, after);
    }
    hold(b, token);
}

/* ------------------------------------------- from collectd to the mesh */

static bool is_marked(meta_data_t *meta)
{
    return meta != NULL && meta_data_exists(meta, MARK) > 0;
}

static bool name_fits(const char *name, bool may_be_empty)
{
    size_t length = strnlen(name, DATA_MAX_NAME_LEN);

    return length < DATA_MAX_NAME_LEN &&
           length < sizeof((argus_SeriesDef *)0)->host &&
           (length > 0 || may_be_empty);
}

/* Why a local value cannot travel; NULL: it can. */
static const char *unfit(const data_set_t *ds, const value_list_t *vl)
{
    if (vl->values == NULL || vl->values_len == 0)
        return "no values";
    if (vl->values_len > SOURCES_MAX)
        return "too many data sources";
    if (ds->ds_num != vl->values_len)
        return "as many values as its type has data sources it has not";
    if (vl->time == 0)
        return "no time";
    if (!name_fits(vl->host, false) || !name_fits(vl->plugin, false) ||
        !name_fits(vl->type, false))
        return "host, plugin or type is empty or too long";
    if (!name_fits(vl->plugin_instance, true) ||
        !name_fits(vl->type_instance, true))
        return "an instance is too long";
    return NULL;
}

static void refuse_value(struct bridge *b, const value_list_t *vl,
                         const char *why)
{
    count(&b->value_refused);
    if (!atomic_exchange(&b->refused_said, true))
        log_write(LOG_LEVEL_WARNING,
                  "a value of %.127s/%.127s/%.127s cannot be sent: %s; further "
                  "ones are only counted (value_refused)",
                  vl->host, vl->plugin, vl->type, why);
}

/* A plugin of which scripts may name what they publish. NULL: none is loaded.
 */
static const char *script_plugin(void)
{
    static const char *const names[] = {"exec", "python", "perl", "lua",
                                        "java"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (plugin_is_loaded(names[i]))
            return names[i];
    return NULL;
}

/* collectd does not tell writers who dispatched a value. On this host a plugin
 * that is not loaded can only be a script's. */
static const char *source_of(const struct bridge *b, const value_list_t *vl)
{
    bool is_named_by_script = b->script != NULL && workers_origin() == 0 &&
                              strcmp(vl->host, hostname_g) == 0 &&
                              strcmp(vl->plugin, "collectd") != 0 &&
                              !plugin_is_loaded(vl->plugin);

    return is_named_by_script ? b->script : "";
}

/* Where nothing is routed, it is still told what is published. */
static void post_local(struct bridge *b, const data_set_t *ds,
                       const value_list_t *vl)
{
    uint64_t numbers[SOURCES_MAX];
    const char *why = unfit(ds, vl);
    const struct set *set =
        why == NULL && b->options.route ? set_intern(b, ds) : NULL;

    if (why != NULL || (set == NULL && b->options.route)) {
        refuse_value(b, vl, why != NULL ? why : "too many different types");
        return;
    }
    memcpy(numbers, vl->values, vl->values_len * sizeof numbers[0]);
    struct value_input input = {
        .host = vl->host,
        .plugin = vl->plugin,
        .plugin_instance = vl->plugin_instance,
        .type = vl->type,
        .type_instance = vl->type_instance,
        .set = set,
        .time = vl->time,
        .interval = vl->interval,
        .numbers = numbers,
        .count = (uint32_t)vl->values_len,
        .source = source_of(b, vl),
    };
    if (!runtime_post_value(b->runtime, &input))
        count(&b->value_dropped);
}

/* A worker knows the stock types and those it is told of. Whoever comes second
 * here tells it again rather than too late. */
static void set_down(struct bridge *b, const data_set_t *ds, uint8_t *message)
{
    struct set *set = set_intern(b, ds);

    if (set == NULL || atomic_load(&set->went_down))
        return;
    size_t size = workers_pack_set(b->workers, &set->ds, message);
    if (size > 0 && runtime_post_down(b->runtime, 0, message, size))
        atomic_store(&set->went_down, true);
}

/* To the workers that have writers, as to every writer of this daemon. */
static void write_down(struct bridge *b, const data_set_t *ds,
                       const value_list_t *vl, bool marked)
{
    uint8_t message[PAIR_MESSAGE_MAX];

    if (!runtime_wants_down(b->runtime))
        return;
    set_down(b, ds, message);
    size_t size = workers_pack_value(b->workers, vl, message);
    if (size > 0)
        (void)runtime_post_down(b->runtime, marked ? 0 : workers_origin(),
                                message, size);
}

static void write_marked(struct bridge *b)
{
    uint64_t token = plugin_get_ctx().flush_timeout;

    if (token != 0)
        post_seen(b, token);
    else
        count(&b->value_stray);
}

int bridge_write(struct bridge *b, const data_set_t *ds, const value_list_t *vl)
{
    bool marked = is_marked(vl->meta);
    uint64_t after;

    pthread_rwlock_rdlock(&b->gate);
    if (b->runtime != NULL && marked) {
        write_marked(b);
    } else if (b->runtime != NULL) {
        if (vl->meta != NULL &&
            meta_data_get_unsigned_int(vl->meta, AFTER, &after) == 0)
            runtime_post_progress(b->runtime, after);
        post_local(b, ds, vl);
    }
    if (b->runtime != NULL)
        write_down(b, ds, vl, marked);
    if (!marked && workers_origin() != 0)
        workers_seen(b->workers);
    pthread_rwlock_unlock(&b->gate);
    return 0;
}

static bool notification_is_marked(const notification_t *n)
{
    for (const notification_meta_t *meta = n->meta; meta != NULL;
         meta = meta->next)
        if (strcmp(meta->name, MARK) == 0)
            return true;
    return false;
}

static bool severity_is_known(int severity)
{
    return severity == NOTIF_FAILURE || severity == NOTIF_WARNING ||
           severity == NOTIF_OKAY;
}

#define COPY(to, from) (void)snprintf(to, sizeof to, "%s", from)

static void notify_down(struct bridge *b, const notification_t *n)
{
    uint8_t message[PAIR_MESSAGE_MAX];

    size_t size = workers_pack_notification(b->workers, n, message);
    if (size > 0)
        (void)runtime_post_down(b->runtime, workers_origin(), message, size);
}

/* @return false: it is not for the mesh. */
static bool fill_event(struct bridge *b, const notification_t *n,
                       argus_Event *out)
{
    if (notification_is_marked(n))
        return false;
    if (!severity_is_known(n->severity)) {
        count(&b->notice_refused);
        return false;
    }
    *out = (argus_Event)argus_Event_init_zero;
    out->severity = (argus_Severity)n->severity;
    out->time = n->time != 0 ? n->time : cdtime();
    COPY(out->host, n->host[0] != '\0' ? n->host : hostname_g);
    COPY(out->plugin, n->plugin);
    COPY(out->plugin_instance, n->plugin_instance);
    COPY(out->type, n->type);
    COPY(out->type_instance, n->type_instance);
    COPY(out->message, n->message);
    return true;
}

int bridge_notification(struct bridge *b, const notification_t *n)
{
    argus_Event event;
    bool is_for_mesh = fill_event(b, n, &event);

    pthread_rwlock_rdlock(&b->gate);
    if (b->runtime != NULL) {
        notify_down(b, n);
        if (is_for_mesh && !runtime_post_notice(b->runtime, &event))
            count(&b->notice_refused);
    }
    pthread_rwlock_unlock(&b->gate);
    return 0;
}

/* What argus sends leaves at once, so nothing is held back here that a flush
 * could send; what a worker writes may be. */
int bridge_flush(struct bridge *b, cdtime_t timeout, const char *identifier)
{
    uint8_t message[PAIR_MESSAGE_MAX];

    pthread_rwlock_rdlock(&b->gate);
    if (b->runtime != NULL && runtime_wants_down(b->runtime)) {
        size_t size =
            workers_pack_flush(b->workers, timeout, identifier, message);
        if (size > 0)
            (void)runtime_post_down(b->runtime, workers_origin(), message,
                                    size);
    }
    pthread_rwlock_unlock(&b->gate);
    return 0;
}

static uint64_t monotonic_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int bridge_missing(struct bridge *b, const value_list_t *vl)
{
    bool moved = false;

    pthread_rwlock_rdlock(&b->gate);
    uint64_t before_ms = monotonic_ms();
    if (b->runtime != NULL && b->options.aggregator &&
        before_ms >= b->missing_paused_until_ms) {
        moved = runtime_series_moved(b->runtime, vl->host, vl->plugin,
                                     vl->plugin_instance, vl->type,
                                     vl->type_instance);
        uint64_t after_ms = monotonic_ms();
        if (after_ms - before_ms >= MISSING_SLOW_MS)
            b->missing_paused_until_ms = after_ms + MISSING_PAUSE_MS;
    }
    pthread_rwlock_unlock(&b->gate);
    return moved ? 1 : 0;
}

/* ------------------------------------------- from the mesh to collectd */

/* A name becomes part of a path in some writers. collectd itself turns every
 * slash into something else, but not on the way of plugin_write(). */
static bool copy_name(char *to, const char *from, bool may_be_empty)
{
    if (!name_fits(from, may_be_empty) || strcmp(from, ".") == 0 ||
        strcmp(from, "..") == 0)
        return false;
    for (; *from != '\0'; from++, to++) {
        if ((unsigned char)*from < ' ' || *from == 0x7f)
            return false;
        *to = *from == '/' ? '_' : *from;
    }
    *to = '\0';
    return true;
}

static bool source_is_valid(const argus_DataSource *source)
{
    /* What stands in a types.db file and in rrdtool's "DS:name:..." */
    return source->name[0] != '\0' &&
           strpbrk(source->name, ":,/ \t\r\n") == NULL &&
           (source->type == argus_SourceType_SOURCE_COUNTER ||
            source->type == argus_SourceType_SOURCE_GAUGE ||
            source->type == argus_SourceType_SOURCE_DERIVE ||
            source->type == argus_SourceType_SOURCE_ABSOLUTE);
}

static bool name_series(value_list_t *vl, const argus_SeriesDef *def)
{
    for (pb_size_t i = 0; i < def->sources_count; i++)
        if (!source_is_valid(&def->sources[i]))
            return false;
    return def->sources_count > 0 && copy_name(vl->host, def->host, false) &&
           copy_name(vl->plugin, def->plugin, false) &&
           copy_name(vl->plugin_instance, def->plugin_instance, true) &&
           copy_name(vl->type, def->type, false) &&
           copy_name(vl->type_instance, def->type_instance, true);
}

static bool type_is_known_here(const argus_SeriesDef *def)
{
    const data_set_t *ds = plugin_get_ds(def->type);

    if (ds == NULL || ds->ds_num != def->sources_count)
        return false;
    for (size_t i = 0; i < ds->ds_num; i++)
        if (ds->ds[i].type != (int)def->sources[i].type)
            return false;
    return true;
}

/* The data set as its sender has it. */
static data_set_t *own_set(const argus_SeriesDef *def)
{
    data_set_t *ds = calloc(1, sizeof *ds);

    if (ds == NULL)
        return NULL;
    ds->ds_num = def->sources_count;
    ds->ds = calloc(ds->ds_num, sizeof *ds->ds);
    if (ds->ds == NULL) {
        free(ds);
        return NULL;
    }
    (void)copy_name(ds->type, def->type, false);
    for (size_t i = 0; i < ds->ds_num; i++) {
        COPY(ds->ds[i].name, def->sources[i].name);
        ds->ds[i].type = (int)def->sources[i].type;
        ds->ds[i].min = def->sources[i].min;
        ds->ds[i].max = def->sources[i].max;
    }
    return ds;
}

static void series_free(struct series *s)
{
    if (s == NULL)
        return;
    if (s->vl.meta != NULL)
        meta_data_destroy(s->vl.meta);
    if (s->own != NULL) {
        free(s->own->ds);
        free(s->own);
    }
    free(s);
}

/* NULL: the definition may not be, or there is no memory. */
static struct series *series_new(const struct series_begin *begin)
{
    const argus_SeriesDef *def = begin->def;
    struct series *s =
        calloc(1, sizeof *s + def->sources_count * sizeof s->values[0]);

    if (s == NULL)
        return NULL;
    s->handle = begin->series;
    s->vl.values = s->values;
    s->vl.values_len = def->sources_count;
    s->vl.interval = def->interval != 0 ? def->interval : plugin_get_interval();
    if (!name_series(&s->vl, def))
        goto free_series;

    s->vl.meta = meta_data_create();
    if (s->vl.meta == NULL ||
        meta_data_add_boolean(s->vl.meta, MARK, true) != 0)
        goto free_series;
    if (!type_is_known_here(def)) {
        s->own = own_set(def);
        if (s->own == NULL)
            goto free_series;
    }
    return s;

free_series:
    series_free(s);
    return NULL;
}

static struct series *series_find(struct bridge *b, uint64_t handle)
{
    struct series *s;

    HASH_FIND(hh, b->series, &handle, sizeof handle, s);
    return s;
}

/* Hook. */
static void series_end(void *context, uint64_t handle)
{
    struct bridge *b = context;
    struct series *s = series_find(b, handle);

    if (s != NULL) {
        HASH_DEL(b->series, s);
        series_free(s);
    }
}

/* Hook. */
static void series_reset(void *context)
{
    struct bridge *b = context;
    struct series *s, *next;

    HASH_ITER(hh, b->series, s, next)
    {
        HASH_DEL(b->series, s);
        series_free(s);
    }
}

/* Hook. */
static void series_begin(void *context, const struct series_begin *begin)
{
    struct bridge *b = context;

    series_end(b, begin->series);
    struct series *s =
        HASH_COUNT(b->series) < BRIDGE_SERIES_MAX ? series_new(begin) : NULL;
    if (s != NULL) {
        HASH_ADD(hh, b->series, handle, sizeof s->handle, s);
        if (s->hh.tbl == NULL) { /* no memory for the table */
            series_free(s);
            s = NULL;
        }
    }
    if (s != NULL)
        return;
    count(&b->series_refused);
    if (!atomic_exchange(&b->series_said, true))
        log_write(LOG_LEVEL_WARNING,
                  "a series from the mesh cannot be taken (host \"%s\", plugin "
                  "\"%s\", type \"%s\"); further ones are only counted "
                  "(series_refused)",
                  begin->def->host, begin->def->plugin, begin->def->type);
}

/* Hand one value over, with its token in the context. */
static bool hand_value(struct bridge *b, struct series *s, uint64_t token)
{
    plugin_ctx_t ctx = plugin_get_ctx();
    plugin_ctx_t before = ctx;
    bool written = false;

    ctx.flush_timeout = s->own == NULL ? token : 0;
    (void)plugin_set_ctx(ctx);
    if (s->own == NULL && atomic_load(&b->touches))
        (void)meta_data_add_unsigned_int(s->vl.meta, TOKEN, token);
    if (s->own != NULL) {
        (void)plugin_write(NULL, s->own, &s->vl);
        count(&b->value_direct);
        written = true;
    } else if (plugin_dispatch_values(&s->vl) != 0) {
        count(&b->value_failed);
    } else {
        atomic_store(&b->handed, token);
    }
    (void)plugin_set_ctx(before);
    return written;
}

/* Hook. */
static bool dispatch(void *context, const struct value_ref *value)
{
    struct bridge *b = context;
    struct series *s = series_find(b, value->series);
    bool written = false;

    if (s == NULL || value->count != s->vl.values_len || value->time == 0) {
        count(&b->value_unknown);
        return false;
    }
    memcpy(s->values, value->numbers, value->count * sizeof s->values[0]);
    s->vl.time = value->time;

    pthread_mutex_lock(&b->handing);
    if (!b->frozen)
        written = hand_value(b, s, value->token);
    pthread_mutex_unlock(&b->handing);
    return written;
}

/* Hook. Without its mark a notification would go round for ever. */
static void notify(void *context, const argus_Event *event)
{
    struct bridge *b = context;
    char hlc[17];
    notification_t n = {.severity = (int)event->severity, .time = event->time};

    COPY(n.message, event->message);
    COPY(n.host, event->host);
    COPY(n.plugin, event->plugin);
    COPY(n.plugin_instance, event->plugin_instance);
    COPY(n.type, event->type);
    COPY(n.type_instance, event->type_instance);
    (void)snprintf(hlc, sizeof hlc, "%016" PRIx64, event->hlc);
    if (!severity_is_known(n.severity) ||
        plugin_notification_meta_add_boolean(&n, MARK, true) != 0 ||
        plugin_notification_meta_add_string(&n, "argus:origin", event->node) !=
            0 ||
        plugin_notification_meta_add_string(&n, "argus:hlc", hlc) != 0) {
        count(&b->notice_refused);
    } else {
        pthread_mutex_lock(&b->handing);
        if (!b->frozen)
            (void)plugin_dispatch_notification(&n);
        pthread_mutex_unlock(&b->handing);
    }
    if (n.meta != NULL)
        (void)plugin_notification_meta_free(n.meta);
}

/* Hook. */
static void worker_message(void *context, uint32_t worker, bool begins,
                           const uint8_t *message, size_t size)
{
    struct bridge *b = context;

    pthread_mutex_lock(&b->handing);
    if (!b->frozen)
        workers_message(b->workers, worker, begins, message, size);
    pthread_mutex_unlock(&b->handing);
}

/* Hook. */
static void worker_end(void *context, uint32_t worker)
{
    workers_end(((struct bridge *)context)->workers, worker);
}

/* Hook, in the loop thread. */
static uint64_t backlog(void *context)
{
    return workers_backlog(((struct bridge *)context)->workers, monotonic_ms());
}

/* Hook, in the loop thread. Plugins are loaded before it runs, never later. */
static bool is_loaded(void *context, const char *plugin)
{
    (void)context;
    return plugin_is_loaded(plugin);
}

/* Hook, in the loop thread. */
static size_t counters(void *context, struct runtime_counter *out, size_t max)
{
    const struct bridge *b = context;
    const struct bridge_stats own = bridge_stats(context);
    const struct workers_stats workers = workers_stats(b->workers);
    const struct runtime_counter all[] = {
#define BRIDGE_ROW(name) {"bridge_" #name, own.name},
        BRIDGE_COUNTERS(BRIDGE_ROW)
#undef BRIDGE_ROW
            {"workers_value_failed", workers.value_failed},
        {"workers_value_direct", workers.value_direct},
        {"workers_value_untyped", workers.value_untyped},
        {"workers_type_refused", workers.type_refused},
        {"workers_counter_begun", workers.counter_begun},
        {"workers_down_refused", workers.down_refused},
    };
    size_t count = sizeof all / sizeof all[0];

    if (count > max)
        count = max;
    memcpy(out, all, count * sizeof all[0]);
    return count;
}

struct runtime_hooks bridge_hooks(struct bridge *b)
{
    return (struct runtime_hooks){
        .context = b,
        .describe = describe,
        .counters = counters,
        .series_begin = series_begin,
        .series_end = series_end,
        .dispatch = dispatch,
        .is_held = is_held,
        .notify = notify,
        .series_reset = series_reset,
        .worker_message = worker_message,
        .worker_end = worker_end,
        .backlog = backlog,
        .is_loaded = is_loaded,
    };
}

/* ---------------------------------------------------------- own metrics */

/* NULL when nothing of the mesh was handed to collectd, or no memory is left.
 */
static meta_data_t *after_meta(struct bridge *b)
{
    uint64_t handed = atomic_load(&b->handed);
    meta_data_t *meta = handed != 0 ? meta_data_create() : NULL;

    if (meta != NULL)
        (void)meta_data_add_unsigned_int(meta, AFTER, handed);
    return meta;
}

static void read_one(struct bridge *b, const struct runtime_stat *stat)
{
    const data_set_t *ds = plugin_get_ds(stat->type);
    value_t value;
    value_list_t vl = VALUE_LIST_INIT;

    if (ds == NULL || ds->ds_num != 1 ||
        ds->ds[0].type != (stat->gauge ? DS_TYPE_GAUGE : DS_TYPE_DERIVE)) {
        if (!atomic_exchange(&b->type_said, true))
            log_write(LOG_LEVEL_WARNING,
                      "type \"%s\" is not as in collectd's own types.db: some "
                      "metrics of argus itself stay away",
                      stat->type);
        return;
    }
    if (stat->gauge)
        value.gauge = stat->gauge_value;
    else
        value.derive = stat->derive_value;
    vl.values = &value;
    vl.values_len = 1;
    COPY(vl.plugin, "argus");
    COPY(vl.plugin_instance, stat->group);
    COPY(vl.type, stat->type);
    COPY(vl.type_instance, stat->instance);
    vl.meta = after_meta(b);
    (void)plugin_dispatch_values(&vl);
    meta_data_destroy(vl.meta);
}

int bridge_read(struct bridge *b)
{
    struct runtime_stat stats[READ_MAX];
    size_t stats_count = 0;

    pthread_rwlock_rdlock(&b->gate);
    if (b->runtime != NULL)
        stats_count = runtime_stats(b->runtime, stats, READ_MAX);
    pthread_rwlock_unlock(&b->gate);

    for (size_t i = 0; i < stats_count; i++)
        read_one(b, &stats[i]);
    return 0;
}

struct bridge_stats bridge_stats(struct bridge *b)
{
    return (struct bridge_stats){
#define BRIDGE_STAT(name) .name = atomic_load(&b->name),
        BRIDGE_COUNTERS(BRIDGE_STAT)
#undef BRIDGE_STAT
    };
}

/* ----------------------------------------------------------------- life */

int bridge_new(struct bridge **out)
{
    struct bridge *b = calloc(1, sizeof *b);
    pthread_rwlockattr_t attr;

    if (b == NULL)
        return ARGUS_ENOMEM;
    b->workers = workers_new();
    if (b->workers == NULL) {
        free(b);
        return ARGUS_ENOMEM;
    }
    /* Callbacks follow one another without end on a busy daemon: whoever takes
     * the runtime away must not wait for a moment without any. */
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr,
                                  PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&b->gate, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&b->handing, NULL);
    pthread_mutex_init(&b->sets_lock, NULL);
    *out = b;
    return ARGUS_OK;
}

void bridge_attach(struct bridge *b, struct runtime *rt,
                   const struct bridge_options *options)
{
    pthread_mutex_lock(&b->handing);
    b->frozen = false;
    pthread_mutex_unlock(&b->handing);

    pthread_rwlock_wrlock(&b->gate);
    b->runtime = rt;
    b->options = *options;
    b->script = script_plugin();
    atomic_store(&b->touches, options->touches); /* read outside the gate */
    pthread_rwlock_unlock(&b->gate);
}

void bridge_detach(struct bridge *b)
{
    pthread_rwlock_wrlock(&b->gate);
    b->runtime = NULL;
    pthread_rwlock_unlock(&b->gate);
}

void bridge_freeze(struct bridge *b)
{
    pthread_rwlock_rdlock(&b->gate);
    if (b->runtime != NULL)
        runtime_post_freeze(b->runtime);
    pthread_rwlock_unlock(&b->gate);

    pthread_mutex_lock(&b->handing);
    b->frozen = true;
    pthread_mutex_unlock(&b->handing);
}

void bridge_forget(struct bridge *b)
{
    series_reset(b);
    workers_forget(b->workers);
    pthread_mutex_lock(&b->sets_lock);
    for (size_t i = 0; i < SET_SLOTS; i++)
        atomic_store(&b->slots[i], NULL);
    while (b->sets != NULL) {
        struct set *set = b->sets;
        b->sets = set->next;
        free(set);
    }
    b->sets_count = 0;
    pthread_mutex_unlock(&b->sets_lock);
}

void bridge_free(struct bridge *b)
{
    if (b == NULL)
        return;
    bridge_forget(b);
    workers_free(b->workers);
    pthread_rwlock_destroy(&b->gate);
    pthread_mutex_destroy(&b->handing);
    pthread_mutex_destroy(&b->sets_lock);
    free(b);
}
