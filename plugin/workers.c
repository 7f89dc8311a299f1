#include "workers.h"

#include <pthread.h>
#include <stdatomic.h>

#include "utils_cache.h"

#include "base/log.h"

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
#include <uthash.h>

/** Meta data of argus' own: what it means here, only argus says. */
#define OWN_PREFIX "argus:"
#define MARK "argus:received"

/** The upper half of a flush_timeout that names a worker. No timeout is so
 *  long, and a token of the mesh comes with a mark. */
#define ORIGIN ((uint64_t)0x80000000)

/* A type as a worker has it. */
struct type {
    UT_hash_handle hh;
    char key[DATA_MAX_NAME_LEN + 16]; /* number of the worker, "/", type */
    uint32_t worker;
    bool is_known; /* to this daemon, alike */
    bool has_counter;
    data_set_t ds; /* ds.ds points to sources */
    data_source_t sources[];
};

#define WORKERS_COUNTERS(X)                                                    \
    X(value_failed)                                                            \
    X(value_direct)                                                            \
    X(value_untyped)                                                           \
    X(type_refused)                                                            \
    X(counter_begun)                                                           \
    X(down_refused)

struct workers {
    struct type *types; /* of the deliver thread */
    atomic_bool untyped_said;
    atomic_uint_fast64_t handed, seen;
    uint64_t forgiven, last_seen, last_seen_ms; /* of workers_backlog() */
#define WORKERS_COUNTER(name) atomic_uint_fast64_t name;
    WORKERS_COUNTERS(WORKERS_COUNTER)
#undef WORKERS_COUNTER
};

_Static_assert(PAIR_NAME_SIZE == DATA_MAX_NAME_LEN, "names are collectd's");
_Static_assert((int)PAIR_META_STRING == MD_TYPE_STRING &&
                   (int)PAIR_META_SIGNED == MD_TYPE_SIGNED_INT &&
                   (int)PAIR_META_UNSIGNED == MD_TYPE_UNSIGNED_INT &&
                   (int)PAIR_META_DOUBLE == MD_TYPE_DOUBLE &&
                   (int)PAIR_META_BOOLEAN == MD_TYPE_BOOLEAN,
               "types of meta data are collectd's");

static void count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

#define COPY(to, from) (void)snprintf(to, sizeof to, "%s", from)

/* ---------------------------------------------------------------- origin */

uint32_t workers_origin(void)
{
    uint64_t origin = plugin_get_ctx().flush_timeout;

    return origin >> 32 == ORIGIN ? (uint32_t)origin : 0;
}

static plugin_ctx_t enter(uint32_t worker)
{
    plugin_ctx_t ctx = plugin_get_ctx();
    plugin_ctx_t before = ctx;

    ctx.flush_timeout = ORIGIN << 32 | worker;
    (void)plugin_set_ctx(ctx);
    return before;
}

/* ----------------------------------------------------------------- types */

static void type_key(char *out, size_t size, uint32_t worker, const char *type)
{
    (void)snprintf(out, size, "%u/%s", worker, type);
}

static struct type *type_find(struct workers *w, uint32_t worker,
                              const char *name)
{
    char key[sizeof((struct type *)0)->key];
    struct type *type;

    type_key(key, sizeof key, worker, name);
    HASH_FIND_STR(w->types, key, type);
    return type;
}

static void type_drop(struct workers *w, struct type *type)
{
    HASH_DEL(w->types, type);
    free(type);
}

static bool is_known_here(const data_set_t *ds)
{
    const data_set_t *own = plugin_get_ds(ds->type);

    if (own == NULL || own->ds_num != ds->ds_num)
        return false;
    for (size_t i = 0; i < ds->ds_num; i++)
        if (own->ds[i].type != ds->ds[i].type)
            return false;
    return true;
}

/* What stands in a types.db file and in rrdtool's "DS:name:..." */
static bool source_is_valid(const struct pair_source *source)
{
    return source->name[0] != '\0' &&
           strpbrk(source->name, ":,/ \t\r\n") == NULL &&
           (source->type == DS_TYPE_COUNTER || source->type == DS_TYPE_GAUGE ||
            source->type == DS_TYPE_DERIVE || source->type == DS_TYPE_ABSOLUTE);
}

/* A name becomes part of a path in some writers. */
static bool name_is_valid(const char *name, bool may_be_empty)
{
    if ((name[0] == '\0' && !may_be_empty) || strcmp(name, "..") == 0)
        return false;
    for (; *name != '\0'; name++)
        if ((unsigned char)*name < ' ' || *name == 0x7f)
            return false;
    return true;
}

static struct type *type_new(uint32_t worker, const struct pair_set *set)
{
    struct type *type =
        calloc(1, sizeof *type + set->count * sizeof type->sources[0]);

    if (type == NULL)
        return NULL;
    type_key(type->key, sizeof type->key, worker, set->type);
    type->worker = worker;
    COPY(type->ds.type, set->type);
    type->ds.ds_num = set->count;
    type->ds.ds = type->sources;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct pair_source *from = &set->sources[i];
        data_source_t *to = &type->sources[i];
        COPY(to->name, from->name);
        to->type = (int)from->type;
        to->min = from->min;
        to->max = from->max;
        type->has_counter |= to->type == DS_TYPE_COUNTER;
    }
    type->is_known = is_known_here(&type->ds);
    return type;
}

static bool set_is_valid(const struct pair_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (!source_is_valid(&set->sources[i]))
            return false;
    return set->count > 0 && name_is_valid(set->type, false) &&
           strchr(set->type, '/') == NULL;
}

static void take_set(struct workers *w, uint32_t worker,
                     const struct pair_set *set)
{
    struct type *type = type_find(w, worker, set->type);

    if (type != NULL)
        type_drop(w, type); /* its worker knows better */
    type = set_is_valid(set) && HASH_COUNT(w->types) < WORKERS_TYPES_MAX
               ? type_new(worker, set)
               : NULL;
    if (type != NULL) {
        HASH_ADD_STR(w->types, key, type);
        if (type->hh.tbl != NULL)
            return;
        free(type); /* no memory for the table */
    }
    count(&w->type_refused);
}

/* ---------------------------------------------------------------- values */

static meta_data_t *take_metas(const uint8_t *at, uint32_t number)
{
    meta_data_t *md = number > 0 ? meta_data_create() : NULL;
    struct pair_meta meta;
    double real;

    for (uint32_t i = 0; md != NULL && i < number; i++) {
        at += pair_meta_next(at, &meta);
        if (strncmp(meta.key, OWN_PREFIX, sizeof OWN_PREFIX - 1) == 0)
            continue;
        memcpy(&real, &meta.bits, sizeof real);
        switch (meta.type) {
        case PAIR_META_STRING:
            (void)meta_data_add_string(md, meta.key, meta.text);
            break;
        case PAIR_META_SIGNED:
            (void)meta_data_add_signed_int(md, meta.key, (int64_t)meta.bits);
            break;
        case PAIR_META_UNSIGNED:
            (void)meta_data_add_unsigned_int(md, meta.key, meta.bits);
            break;
        case PAIR_META_DOUBLE:
            (void)meta_data_add_double(md, meta.key, real);
            break;
        case PAIR_META_BOOLEAN:
            (void)meta_data_add_boolean(md, meta.key, meta.bits != 0);
            break;
        }
    }
    return md;
}

/* Has one of its counters gone back? */
static bool counter_began(const struct type *type, const value_list_t *vl)
{
    value_t *last = uc_get_value(&type->ds, vl);
    bool began = false;

    for (size_t i = 0; last != NULL && i < vl->values_len; i++)
        began |= type->ds.ds[i].type == DS_TYPE_COUNTER &&
                 vl->values[i].counter < last[i].counter;
    free(last);
    return began;
}

/* The cache takes the step back for a wrap, and the tick after for no change:
 * so the value itself comes with a rate of zero. Both are between its time and
 * that of the last one. */
static void begin_counter(struct workers *w, const struct type *type,
                          const value_list_t *vl)
{
    value_list_t before = *vl;

    if (!counter_began(type, vl))
        return;
    count(&w->counter_begun);
    before.time = vl->time - 2;
    (void)uc_update(&type->ds, &before);
    before.time = vl->time - 1;
    (void)uc_update(&type->ds, &before);
}

/* collectd turns every slash into something else, but not on the way of
 * plugin_write(). */
static void replace_slashes(char *name)
{
    while ((name = strchr(name, '/')) != NULL)
        *name = '_';
}

static void write_direct(struct workers *w, const struct type *type,
                         value_list_t *vl)
{
    replace_slashes(vl->host);
    replace_slashes(vl->plugin);
    replace_slashes(vl->plugin_instance);
    replace_slashes(vl->type_instance);
    (void)plugin_write(NULL, &type->ds, vl);
    count(&w->value_direct);
}

static bool fill_value(value_list_t *vl, value_t values[PAIR_SOURCES_MAX],
                       const struct pair_value *v)
{
    for (size_t i = 0; i < 5; i++)
        if (!name_is_valid(v->names[i], i == 2 || i == 4))
            return false;
    memcpy(values, v->numbers, v->count * sizeof values[0]);
    vl->values = values;
    vl->values_len = v->count;
    vl->time = v->time;
    vl->interval = v->interval;
    COPY(vl->host, v->names[0]);
    COPY(vl->plugin, v->names[1]);
    COPY(vl->plugin_instance, v->names[2]);
    COPY(vl->type, v->names[3]);
    COPY(vl->type_instance, v->names[4]);
    return v->time != 0;
}

static void take_value(struct workers *w, uint32_t worker, bool begins,
                       const struct pair_value *v)
{
    value_list_t vl = VALUE_LIST_INIT;
    value_t values[PAIR_SOURCES_MAX];
    const struct type *type = type_find(w, worker, v->names[3]);

    if (type == NULL || type->ds.ds_num != v->count) {
        count(&w->value_untyped);
        if (!atomic_exchange(&w->untyped_said, true))
            log_write(LOG_LEVEL_WARNING,
                      "a worker sent a value of type \"%s\", which it did not "
                      "name before; further ones are only counted "
                      "(workers_value_untyped)",
                      v->names[3]);
        return;
    }
    if (!fill_value(&vl, values, v)) {
        count(&w->value_failed);
        return;
    }
    vl.meta = take_metas(v->metas, v->metas_count);
    plugin_ctx_t before = enter(worker);
    if (!type->is_known) {
        write_direct(w, type, &vl);
    } else {
        if (begins && type->has_counter)
            begin_counter(w, type, &vl);
        if (plugin_dispatch_values(&vl) != 0)
            count(&w->value_failed);
        else
            count(&w->handed);
    }
    (void)plugin_set_ctx(before);
    if (vl.meta != NULL)
        meta_data_destroy(vl.meta);
}

void workers_seen(struct workers *w)
{
    count(&w->seen);
}

uint64_t workers_backlog(struct workers *w, uint64_t now_ms)
{
    uint64_t seen = atomic_load(&w->seen), handed = atomic_load(&w->handed);

    if (seen != w->last_seen) {
        w->last_seen = seen;
        w->last_seen_ms = now_ms;
    } else if (now_ms - w->last_seen_ms > WORKERS_STALL_MS) {
        w->forgiven = handed - seen;
        w->last_seen_ms = now_ms;
    }
    uint64_t gone = seen + w->forgiven;
    return handed > gone ? handed - gone : 0;
}

/* --------------------------------------------------------- notifications */

static void add_meta(notification_t *n, const struct pair_meta *meta)
{
    double real;

    if (strncmp(meta->key, OWN_PREFIX, sizeof OWN_PREFIX - 1) == 0)
        return;
    memcpy(&real, &meta->bits, sizeof real);
    switch (meta->type) {
    case PAIR_META_STRING:
        (void)plugin_notification_meta_add_string(n, meta->key, meta->text);
        break;
    case PAIR_META_SIGNED:
        (void)plugin_notification_meta_add_signed_int(n, meta->key,
                                                      (int64_t)meta->bits);
        break;
    case PAIR_META_UNSIGNED:
        (void)plugin_notification_meta_add_unsigned_int(n, meta->key,
                                                        meta->bits);
        break;
    case PAIR_META_DOUBLE:
        (void)plugin_notification_meta_add_double(n, meta->key, real);
        break;
    case PAIR_META_BOOLEAN:
        (void)plugin_notification_meta_add_boolean(n, meta->key,
                                                   meta->bits != 0);
        break;
    }
}

static void take_notification(uint32_t worker,
                              const struct pair_notification *from)
{
    notification_t n = {.severity = from->severity, .time = from->time};
    const uint8_t *at = from->metas;
    struct pair_meta meta;

    COPY(n.host, from->names[0]);
    COPY(n.plugin, from->names[1]);
    COPY(n.plugin_instance, from->names[2]);
    COPY(n.type, from->names[3]);
    COPY(n.type_instance, from->names[4]);
    COPY(n.message, from->message);
    for (uint32_t i = 0; i < from->metas_count; i++) {
        at += pair_meta_next(at, &meta);
        add_meta(&n, &meta);
    }
    plugin_ctx_t before = enter(worker);
    (void)plugin_dispatch_notification(&n);
    (void)plugin_set_ctx(before);
    if (n.meta != NULL)
        (void)plugin_notification_meta_free(n.meta);
}

void workers_message(struct workers *w, uint32_t worker, bool begins,
                     const uint8_t *message, size_t size)
{
    struct pair_message m;
    struct pair_set set;
    struct pair_value value;
    struct pair_notification notification;

    if (pair_next(message, size, &m) <= 0)
        return;
    if (m.type == PAIR_SET && pair_read_set(&m, &set))
        take_set(w, worker, &set);
    else if (m.type == PAIR_VALUE && pair_read_value(&m, &value))
        take_value(w, worker, begins, &value);
    else if (m.type == PAIR_NOTIFICATION &&
             pair_read_notification(&m, &notification))
        take_notification(worker, &notification);
}

void workers_end(struct workers *w, uint32_t worker)
{
    struct type *type, *next;

    HASH_ITER(hh, w->types, type, next)
    {
        if (type->worker == worker)
            type_drop(w, type);
    }
}

void workers_forget(struct workers *w)
{
    struct type *type, *next;

    HASH_ITER(hh, w->types, type, next)
    {
        type_drop(w, type);
    }
}

/* ------------------------------------------------------------------- down */

/* Meta data in the shape of messages; texts are the caller's to free. */
struct metas {
    struct pair_meta of[PAIR_METAS_MAX];
    uint32_t count;
};

static void metas_clear(struct metas *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->of[i].type == PAIR_META_STRING)
            free((char *)(uintptr_t)m->of[i].text);
    m->count = 0;
}

/* What argus itself is told by them is nobody else's. */
static bool is_for_all(const char *key)
{
    return strncmp(key, OWN_PREFIX, sizeof OWN_PREFIX - 1) != 0 ||
           strcmp(key, MARK) == 0;
}

static bool get_meta(meta_data_t *md, const char *key, struct pair_meta *out)
{
    char *text = NULL;
    int64_t number;
    double real;
    bool flag;
    int rc = -1;

    *out = (struct pair_meta){.key = key};
    switch (meta_data_type(md, key)) {
    case MD_TYPE_STRING:
        out->type = PAIR_META_STRING;
        rc = meta_data_get_string(md, key, &text);
        out->text = text;
        break;
    case MD_TYPE_SIGNED_INT:
        out->type = PAIR_META_SIGNED;
        rc = meta_data_get_signed_int(md, key, &number);
        out->bits = rc == 0 ? (uint64_t)number : 0;
        break;
    case MD_TYPE_UNSIGNED_INT:
        out->type = PAIR_META_UNSIGNED;
        rc = meta_data_get_unsigned_int(md, key, &out->bits);
        break;
    case MD_TYPE_DOUBLE:
        out->type = PAIR_META_DOUBLE;
        rc = meta_data_get_double(md, key, &real);
        if (rc == 0)
            memcpy(&out->bits, &real, sizeof real);
        break;
    case MD_TYPE_BOOLEAN:
        out->type = PAIR_META_BOOLEAN;
        rc = meta_data_get_boolean(md, key, &flag);
        out->bits = rc == 0 && flag;
        break;
    }
    return rc == 0;
}

/* @param keys  as meta_data_toc() gave them; they must live as long as out. */
static void get_metas(meta_data_t *md, char **keys, int keys_count,
                      struct metas *out)
{
    for (int i = 0; i < keys_count && out->count < PAIR_METAS_MAX; i++)
        if (is_for_all(keys[i]) && get_meta(md, keys[i], &out->of[out->count]))
            out->count++;
}

static size_t counted(struct workers *w, size_t size)
{
    if (size == 0)
        count(&w->down_refused);
    return size;
}

size_t workers_pack_set(struct workers *w, const data_set_t *ds, uint8_t *out)
{
    struct pair_set set = {.type = ds->type, .count = (uint32_t)ds->ds_num};

    for (size_t i = 0; i < ds->ds_num && i < PAIR_SOURCES_MAX; i++)
        set.sources[i] = (struct pair_source){.name = ds->ds[i].name,
                                              .type = (uint32_t)ds->ds[i].type,
                                              .min = ds->ds[i].min,
                                              .max = ds->ds[i].max};
    return counted(w, pair_put_set(out, PAIR_MESSAGE_MAX, &set));
}

size_t workers_pack_value(struct workers *w, const value_list_t *vl,
                          uint8_t *out)
{
    struct metas metas = {.count = 0};
    char **keys = NULL;
    int keys_count = vl->meta != NULL ? meta_data_toc(vl->meta, &keys) : 0;
    struct pair_value v = {
        .names = {vl->host, vl->plugin, vl->plugin_instance, vl->type,
                  vl->type_instance},
        .time = vl->time,
        .interval = vl->interval,
        .count = (uint32_t)vl->values_len,
        .numbers = (const uint8_t *)vl->values,
    };

    get_metas(vl->meta, keys, keys_count, &metas);
    v.metas_count = metas.count;
    size_t size = vl->values_len <= PAIR_SOURCES_MAX
                      ? pair_put_value(out, PAIR_MESSAGE_MAX, &v, metas.of)
                      : 0;
    metas_clear(&metas);
    for (int i = 0; i < keys_count; i++)
        free(keys[i]);
    free(keys);
    return counted(w, size);
}

static struct pair_meta meta_of(const notification_meta_t *from)
{
    struct pair_meta to = {.key = from->name};

    switch (from->type) {
    case NM_TYPE_STRING:
        to.type = PAIR_META_STRING;
        to.text = from->nm_value.nm_string;
        break;
    case NM_TYPE_SIGNED_INT:
        to.type = PAIR_META_SIGNED;
        to.bits = (uint64_t)from->nm_value.nm_signed_int;
        break;
    case NM_TYPE_UNSIGNED_INT:
        to.type = PAIR_META_UNSIGNED;
        to.bits = from->nm_value.nm_unsigned_int;
        break;
    case NM_TYPE_DOUBLE:
        to.type = PAIR_META_DOUBLE;
        memcpy(&to.bits, &from->nm_value.nm_double, sizeof to.bits);
        break;
    case NM_TYPE_BOOLEAN:
        to.type = PAIR_META_BOOLEAN;
        to.bits = from->nm_value.nm_boolean;
        break;
    }
    return to;
}

size_t workers_pack_notification(struct workers *w, const notification_t *n,
                                 uint8_t *out)
{
    struct pair_meta metas[PAIR_METAS_MAX];
    struct pair_notification to = {
        .severity = n->severity,
        .time = n->time,
        .names = {n->host, n->plugin, n->plugin_instance, n->type,
                  n->type_instance},
        .message = n->message,
    };

    for (const notification_meta_t *m = n->meta;
         m != NULL && to.metas_count < PAIR_METAS_MAX; m = m->next)
        if (is_for_all(m->name))
            metas[to.metas_count++] = meta_of(m);
    return counted(w, pair_put_notification(out, PAIR_MESSAGE_MAX, &to, metas));
}

size_t workers_pack_flush(struct workers *w, cdtime_t timeout,
                          const char *identifier, uint8_t *out)
{
    const struct pair_flush flush = {
        .timeout = timeout,
        .identifier = identifier != NULL ? identifier : "",
    };

    return counted(w, pair_put_flush(out, PAIR_MESSAGE_MAX, &flush));
}

/* ------------------------------------------------------------------ life */

struct workers *workers_new(void)
{
    return calloc(1, sizeof(struct workers));
}

void workers_free(struct workers *w)
{
    if (w == NULL)
        return;
    workers_forget(w);
    free(w);
}

struct workers_stats workers_stats(struct workers *w)
{
    return (struct workers_stats){
#define WORKERS_STAT(name) .name = atomic_load(&w->name),
        WORKERS_COUNTERS(WORKERS_STAT)
#undef WORKERS_STAT
    };
}
