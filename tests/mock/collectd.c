#include "mock/collectd.h"

#include <pthread.h>

#include "configfile.h"
#include "utils_cache.h"

#define CALLBACKS_MAX 16
#define OPTIONS_MAX 16
#define BLOCKS_MAX 64
#define METAS_MAX 8
#define CACHE_MAX 64

struct callback {
    char name[DATA_MAX_NAME_LEN];
    void *function;
    user_data_t data;
    plugin_ctx_t ctx;
};

struct list {
    struct callback of[CALLBACKS_MAX];
    unsigned count;
};

struct queued {
    struct queued *next;
    value_list_t vl;
    plugin_ctx_t ctx;
};

struct meta_data_s {
    struct {
        char key[DATA_MAX_NAME_LEN]; /* empty: free */
        int type;                    /* MD_TYPE_* */
        uint64_t value;              /* bits, unless it is a text */
        char text[DATA_MAX_NAME_LEN];
    } of[METAS_MAX];
};

static struct list inits, reads, writes, notifications, misses, flushes,
    shutdowns, cache_events;
static unsigned cache_count;
static int (*config_callback)(oconfig_item_t *);
static struct queued *queue_head, **queue_tail = &queue_head;
static struct {
    const char *name, *value;
} options[OPTIONS_MAX];
static oconfig_item_t *blocks[BLOCKS_MAX];
static unsigned blocks_count;
static __thread plugin_ctx_t context;
static int threads_made;

char *hostname_g;
int (*mock_chain)(value_list_t *vl);
const char *mock_only_writer;
int mock_threads_fail_at, mock_dispatch_status;
char mock_log[1024];
unsigned mock_log_lines, mock_queue_length, mock_queue_lost, mock_notifications;
unsigned mock_writers, mock_readers, mock_cache_watchers, mock_writes;
unsigned mock_written_metas;
notification_t mock_notified;
value_list_t mock_written;
uint64_t mock_written_first;
char mock_written_set[DATA_MAX_NAME_LEN];
bool mock_cached;
value_t mock_cached_value;
cdtime_t mock_cached_time;
plugin_ctx_t mock_notified_ctx;
const char *mock_loaded;
notification_meta_t mock_notified_metas[METAS_MAX];
unsigned mock_notified_metas_count;
char mock_trace[4096];

void mock_note(const char *word)
{
    size_t used = strlen(mock_trace);
    (void)snprintf(mock_trace + used, sizeof mock_trace - used, "%s ", word);
}

/* ------------------------------------------------------------ callbacks */

static int add(struct list *list, const char *name, void *function,
               const user_data_t *data)
{
    struct callback *callback = &list->of[list->count];

    if (list->count == CALLBACKS_MAX)
        return -1;
    memset(callback, 0, sizeof *callback);
    (void)snprintf(callback->name, sizeof callback->name, "%s", name);
    callback->function = function;
    callback->ctx = context;
    if (data != NULL)
        callback->data = *data;
    list->count++;
    return 0;
}

static void drop(struct list *list)
{
    for (unsigned i = 0; i < list->count; i++)
        if (list->of[i].data.free_func != NULL)
            list->of[i].data.free_func(list->of[i].data.data);
    list->count = 0;
}

int plugin_register_complex_config(const char *type,
                                   int (*callback)(oconfig_item_t *))
{
    (void)type;
    config_callback = callback;
    return 0;
}

int plugin_register_init(const char *name, plugin_init_cb callback)
{
    return add(&inits, name, (void *)callback, NULL);
}

int plugin_register_complex_read(const char *group, const char *name,
                                 plugin_read_cb callback, cdtime_t interval,
                                 user_data_t const *data)
{
    (void)group;
    (void)interval;
    mock_readers++;
    return add(&reads, name, (void *)callback, data);
}

int plugin_register_write(const char *name, plugin_write_cb callback,
                          user_data_t const *data)
{
    mock_writers++;
    return add(&writes, name, (void *)callback, data);
}

int plugin_register_flush(const char *name, plugin_flush_cb callback,
                          user_data_t const *data)
{
    return add(&flushes, name, (void *)callback, data);
}

int plugin_register_missing(const char *name, plugin_missing_cb callback,
                            user_data_t const *data)
{
    return add(&misses, name, (void *)callback, data);
}

#ifdef COLLECTD_CACHE_EVENTS
int plugin_register_cache_event(const char *name,
                                plugin_cache_event_cb callback,
                                user_data_t const *data)
{
    mock_cache_watchers++;
    return add(&cache_events, name, (void *)callback, data);
}
#endif

int plugin_register_notification(const char *name,
                                 plugin_notification_cb callback,
                                 user_data_t const *data)
{
    return add(&notifications, name, (void *)callback, data);
}

int plugin_register_shutdown(const char *name, plugin_shutdown_cb callback)
{
    return add(&shutdowns, name, (void *)callback, NULL);
}

/* ------------------------------------------------------- the daemon's life */

int mock_configure(oconfig_item_t *block)
{
    return config_callback != NULL ? config_callback(block) : -1;
}

int mock_init_all(void)
{
    int status = 0;

    for (unsigned i = 0; i < inits.count; i++) {
        plugin_ctx_t before = plugin_set_ctx(inits.of[i].ctx);
        mock_note(inits.of[i].name);
        if (((plugin_init_cb)inits.of[i].function)() != 0)
            status = -1;
        (void)plugin_set_ctx(before);
    }
    return status;
}

void mock_read_all(void)
{
    for (unsigned i = 0; i < reads.count; i++)
        (void)((plugin_read_cb)reads.of[i].function)(&reads.of[i].data);
}

#ifdef COLLECTD_CACHE_EVENTS
static struct {
    char name[6 * DATA_MAX_NAME_LEN];
    bool is_watched;
} cache[CACHE_MAX];

/* With the context of the registration, not of the value; who says no to a new
 * series never hears of it again. */
static bool tell_watcher(struct callback *watcher, const value_list_t *vl,
                         enum cache_event_type_e type)
{
    cache_event_t event = {.type = type, .value_list = vl};
    plugin_ctx_t before = plugin_set_ctx(watcher->ctx);

    int status =
        ((plugin_cache_event_cb)watcher->function)(&event, &watcher->data);
    (void)plugin_set_ctx(before);
    return status == 0 && event.ret != 0;
}

static void update_cache(const value_list_t *vl)
{
    char name[sizeof cache[0].name];
    unsigned i = 0;

    (void)snprintf(name, sizeof name, "%s/%s-%s/%s-%s", vl->host, vl->plugin,
                   vl->plugin_instance, vl->type, vl->type_instance);
    while (i < cache_count && strcmp(cache[i].name, name) != 0)
        i++;
    if (cache_events.count == 0 || i == CACHE_MAX)
        return;
    if (i == cache_count) {
        (void)strcpy(cache[cache_count++].name, name);
        cache[i].is_watched =
            tell_watcher(&cache_events.of[0], vl, CE_VALUE_NEW);
    } else if (cache[i].is_watched) {
        (void)tell_watcher(&cache_events.of[0], vl, CE_VALUE_UPDATE);
    }
}
#else
static void update_cache(const value_list_t *vl)
{
    (void)vl;
}
#endif

static void write_one(const data_set_t *ds, const value_list_t *vl)
{
    for (unsigned i = 0; i < writes.count; i++) {
        if (mock_only_writer != NULL &&
            strcmp(mock_only_writer, writes.of[i].name) != 0)
            continue;
        plugin_ctx_t before = plugin_get_ctx(), ctx = before;
        ctx.name = writes.of[i].ctx.name;
        (void)plugin_set_ctx(ctx);
        (void)((plugin_write_cb)writes.of[i].function)(ds, vl,
                                                       &writes.of[i].data);
        (void)plugin_set_ctx(before);
    }
}

static void queued_free(struct queued *q)
{
    if (q->vl.meta != NULL)
        meta_data_destroy(q->vl.meta);
    free(q->vl.values);
    free(q);
}

static struct queued *dequeue(void)
{
    struct queued *q = queue_head;

    if (q != NULL) {
        queue_head = q->next;
        if (queue_head == NULL)
            queue_tail = &queue_head;
        mock_queue_length--;
    }
    return q;
}

void mock_write_one(void)
{
    struct queued *q = dequeue();

    if (q == NULL)
        return;
    (void)plugin_set_ctx(q->ctx);
    const data_set_t *ds = plugin_get_ds(q->vl.type);
    if (ds != NULL && (mock_chain == NULL || mock_chain(&q->vl) == 0)) {
        update_cache(&q->vl);
        write_one(ds, &q->vl);
    }
    queued_free(q);
    (void)plugin_set_ctx((plugin_ctx_t){0});
}

void mock_write_all(void)
{
    while (queue_head != NULL)
        mock_write_one();
}

void mock_flush(cdtime_t timeout, const char *identifier)
{
    for (unsigned i = 0; i < flushes.count; i++)
        (void)((plugin_flush_cb)flushes.of[i].function)(timeout, identifier,
                                                        &flushes.of[i].data);
}

int mock_missing(const value_list_t *vl)
{
    for (unsigned i = 0; i < misses.count; i++) {
        int status =
            ((plugin_missing_cb)misses.of[i].function)(vl, &misses.of[i].data);
        if (status != 0)
            return status;
    }
    return 0;
}

void mock_shutdown(void)
{
    struct queued *q;

    drop(&inits);
    drop(&reads);
    mock_note("reads-gone");
    while ((q = dequeue()) != NULL) {
        queued_free(q);
        mock_queue_lost++;
    }
    for (unsigned i = 0; i < flushes.count; i++)
        (void)((plugin_flush_cb)flushes.of[i].function)(0, NULL,
                                                        &flushes.of[i].data);
    mock_note("flushed");
    for (unsigned i = 0; i < shutdowns.count; i++)
        (void)((plugin_shutdown_cb)shutdowns.of[i].function)();
    mock_note("shut");
    drop(&flushes);
    drop(&misses);
    drop(&cache_events);
    drop(&writes);
    drop(&notifications);
    drop(&shutdowns);
}

static int keep_written(const data_set_t *ds, const value_list_t *vl,
                        user_data_t *data)
{
    (void)data;
    mock_written = *vl;
    memcpy(&mock_written_first, vl->values, sizeof mock_written_first);
    (void)snprintf(mock_written_set, sizeof mock_written_set, "%s", ds->type);
    mock_writes++;
    mock_written_metas = 0;
    for (unsigned i = 0; vl->meta != NULL && i < METAS_MAX; i++)
        mock_written_metas += vl->meta->of[i].key[0] != '\0';
    mock_note("written");
    return 0;
}

static int init_writer(void)
{
    return plugin_register_write("keeper", keep_written, NULL);
}

void mock_register_writer(void)
{
    (void)plugin_register_init("keeper", init_writer);
}

/* ------------------------------------------------------- values and data */

static data_source_t one_gauge[] = {{"value", DS_TYPE_GAUGE, NAN, NAN}};
static data_source_t one_derive[] = {{"value", DS_TYPE_DERIVE, 0, NAN}};
static data_source_t one_counter[] = {{"value", DS_TYPE_COUNTER, 0, NAN}};
static data_source_t three_gauges[] = {{"shortterm", DS_TYPE_GAUGE, 0, 5000},
                                       {"midterm", DS_TYPE_GAUGE, 0, 5000},
                                       {"longterm", DS_TYPE_GAUGE, 0, 5000}};
static data_source_t two_derives[] = {{"rx", DS_TYPE_DERIVE, 0, NAN},
                                      {"tx", DS_TYPE_DERIVE, 0, NAN}};
static const data_set_t sets[] = {
    {"gauge", 1, one_gauge},       {"derive", 1, one_derive},
    {"counter", 1, one_counter},   {"load", 3, three_gauges},
    {"if_octets", 2, two_derives},
};

const data_set_t *plugin_get_ds(const char *name)
{
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++)
        if (strcmp(sets[i].type, name) == 0)
            return &sets[i];
    return NULL;
}

int plugin_dispatch_values(value_list_t const *vl)
{
    if (mock_dispatch_status != 0)
        return mock_dispatch_status;

    struct queued *q = calloc(1, sizeof *q);
    if (q == NULL)
        return ENOMEM;
    q->vl = *vl;
    q->vl.values = calloc(vl->values_len, sizeof *vl->values);
    if (q->vl.values == NULL) {
        free(q);
        return ENOMEM;
    }
    memcpy(q->vl.values, vl->values, vl->values_len * sizeof *vl->values);
    q->vl.meta = vl->meta != NULL ? meta_data_clone(vl->meta) : NULL;
    if (q->vl.host[0] == '\0')
        (void)snprintf(q->vl.host, sizeof q->vl.host, "%s", hostname_g);
    if (q->vl.time == 0)
        q->vl.time = cdtime();
    if (q->vl.interval == 0)
        q->vl.interval = plugin_get_interval();
    q->ctx = plugin_get_ctx();
    *queue_tail = q;
    queue_tail = &q->next;
    mock_queue_length++;
    return 0;
}

int plugin_write(const char *plugin, const data_set_t *ds,
                 const value_list_t *vl)
{
    (void)plugin;
    write_one(ds, vl);
    return 0;
}

meta_data_t *meta_data_create(void)
{
    return calloc(1, sizeof(meta_data_t));
}

meta_data_t *meta_data_clone(meta_data_t *from)
{
    meta_data_t *to = meta_data_create();

    if (to != NULL)
        *to = *from;
    return to;
}

void meta_data_destroy(meta_data_t *md)
{
    free(md);
}

/* Of an entry, or of a free place for it; -1: none. */
static int meta_find(const meta_data_t *md, const char *key, bool or_free)
{
    int place = -1;

    for (int i = 0; i < METAS_MAX; i++) {
        if (strcmp(md->of[i].key, key) == 0)
            return i;
        if (or_free && place < 0 && md->of[i].key[0] == '\0')
            place = i;
    }
    return place;
}

static int value_meta_add(meta_data_t *md, const char *key, int type,
                          uint64_t value, const char *text)
{
    int i = meta_find(md, key, true);

    if (i < 0)
        return -ENOMEM;
    (void)snprintf(md->of[i].key, sizeof md->of[i].key, "%s", key);
    (void)snprintf(md->of[i].text, sizeof md->of[i].text, "%s", text);
    md->of[i].type = type;
    md->of[i].value = value;
    return 0;
}

int meta_data_exists(meta_data_t *md, const char *key)
{
    return meta_find(md, key, false) >= 0;
}

int meta_data_delete(meta_data_t *md, const char *key)
{
    int i = meta_find(md, key, false);

    if (i < 0)
        return -ENOENT;
    md->of[i].key[0] = '\0';
    return 0;
}

int meta_data_add_boolean(meta_data_t *md, const char *key, bool value)
{
    return value_meta_add(md, key, MD_TYPE_BOOLEAN, value, "");
}

int meta_data_add_unsigned_int(meta_data_t *md, const char *key, uint64_t value)
{
    return value_meta_add(md, key, MD_TYPE_UNSIGNED_INT, value, "");
}

int meta_data_add_signed_int(meta_data_t *md, const char *key, int64_t value)
{
    return value_meta_add(md, key, MD_TYPE_SIGNED_INT, (uint64_t)value, "");
}

int meta_data_add_double(meta_data_t *md, const char *key, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return value_meta_add(md, key, MD_TYPE_DOUBLE, bits, "");
}

int meta_data_add_string(meta_data_t *md, const char *key, const char *value)
{
    return value_meta_add(md, key, MD_TYPE_STRING, 0, value);
}

int meta_data_type(meta_data_t *md, const char *key)
{
    int i = meta_find(md, key, false);

    return i < 0 ? 0 : md->of[i].type;
}

int meta_data_toc(meta_data_t *md, char ***toc)
{
    int n = 0;

    *toc = calloc(METAS_MAX, sizeof **toc);
    for (int i = 0; *toc != NULL && i < METAS_MAX; i++)
        if (md->of[i].key[0] != '\0')
            (*toc)[n++] = strdup(md->of[i].key);
    return n;
}

static int value_meta_get(meta_data_t *md, const char *key, int type,
                          void *value)
{
    int i = meta_find(md, key, false);

    if (i < 0 || md->of[i].type != type)
        return -ENOENT;
    memcpy(value, &md->of[i].value, sizeof md->of[i].value);
    return 0;
}

int meta_data_get_unsigned_int(meta_data_t *md, const char *key,
                               uint64_t *value)
{
    return value_meta_get(md, key, MD_TYPE_UNSIGNED_INT, value);
}

int meta_data_get_signed_int(meta_data_t *md, const char *key, int64_t *value)
{
    return value_meta_get(md, key, MD_TYPE_SIGNED_INT, value);
}

int meta_data_get_double(meta_data_t *md, const char *key, double *value)
{
    return value_meta_get(md, key, MD_TYPE_DOUBLE, value);
}

int meta_data_get_boolean(meta_data_t *md, const char *key, bool *value)
{
    uint64_t bits;
    int status = value_meta_get(md, key, MD_TYPE_BOOLEAN, &bits);

    if (status == 0)
        *value = bits != 0;
    return status;
}

int meta_data_get_string(meta_data_t *md, const char *key, char **value)
{
    int i = meta_find(md, key, false);

    if (i < 0 || md->of[i].type != MD_TYPE_STRING)
        return -ENOENT;
    *value = strdup(md->of[i].text);
    return *value != NULL ? 0 : -ENOMEM;
}

/* ----------------------------------------------------------- value cache */

/* Of one series, which is whichever was given last. */
value_t *uc_get_value(const data_set_t *ds, const value_list_t *vl)
{
    value_t *values = mock_cached ? calloc(ds->ds_num, sizeof *values) : NULL;

    (void)vl;
    if (values != NULL)
        values[0] = mock_cached_value;
    return values;
}

int uc_update(const data_set_t *ds, const value_list_t *vl)
{
    (void)ds;
    mock_note("cached");
    mock_cached_time = vl->time;
    mock_cached_value = vl->values[0];
    return 0;
}

/* --------------------------------------------------------- notifications */

int plugin_dispatch_notification(const notification_t *n)
{
    mock_notified = *n;
    mock_notified.meta = NULL;
    mock_notified_ctx = context;
    mock_notified_metas_count = 0;
    for (const notification_meta_t *m = n->meta; m != NULL; m = m->next)
        mock_notified_metas[mock_notified_metas_count++] = *m;
    mock_notifications++;
    for (unsigned i = 0; i < notifications.count; i++)
        (void)((plugin_notification_cb)notifications.of[i].function)(
            n, &notifications.of[i].data);
    return 0;
}

static notification_meta_t *meta_add(notification_t *n, const char *name)
{
    notification_meta_t **tail = &n->meta;

    while (*tail != NULL)
        tail = &(*tail)->next;
    *tail = calloc(1, sizeof **tail);
    if (*tail != NULL)
        (void)snprintf((*tail)->name, sizeof(*tail)->name, "%s", name);
    return *tail;
}

int plugin_notification_meta_add_boolean(notification_t *n, const char *name,
                                         bool value)
{
    notification_meta_t *meta = meta_add(n, name);

    if (meta == NULL)
        return -1;
    meta->type = NM_TYPE_BOOLEAN;
    meta->nm_value.nm_boolean = value;
    return 0;
}

int plugin_notification_meta_add_string(notification_t *n, const char *name,
                                        const char *value)
{
    notification_meta_t *meta = meta_add(n, name);

    if (meta == NULL)
        return -1;
    meta->type = NM_TYPE_STRING;
    meta->nm_value.nm_string = strdup(value);
    mock_note(name);
    mock_note(value);
    return meta->nm_value.nm_string != NULL ? 0 : -1;
}

int plugin_notification_meta_add_signed_int(notification_t *n, const char *name,
                                            int64_t value)
{
    notification_meta_t *meta = meta_add(n, name);

    if (meta == NULL)
        return -1;
    meta->type = NM_TYPE_SIGNED_INT;
    meta->nm_value.nm_signed_int = value;
    return 0;
}

int plugin_notification_meta_add_unsigned_int(notification_t *n,
                                              const char *name, uint64_t value)
{
    notification_meta_t *meta = meta_add(n, name);

    if (meta == NULL)
        return -1;
    meta->type = NM_TYPE_UNSIGNED_INT;
    meta->nm_value.nm_unsigned_int = value;
    return 0;
}

int plugin_notification_meta_add_double(notification_t *n, const char *name,
                                        double value)
{
    notification_meta_t *meta = meta_add(n, name);

    if (meta == NULL)
        return -1;
    meta->type = NM_TYPE_DOUBLE;
    meta->nm_value.nm_double = value;
    return 0;
}

int plugin_notification_meta_free(notification_meta_t *meta)
{
    while (meta != NULL) {
        notification_meta_t *next = meta->next;
        if (meta->type == NM_TYPE_STRING)
            free((void *)(uintptr_t)meta->nm_value.nm_string);
        free(meta);
        meta = next;
    }
    return 0;
}

/* --------------------------------------------------------- everything else */

plugin_ctx_t plugin_get_ctx(void)
{
    return context;
}

plugin_ctx_t plugin_set_ctx(plugin_ctx_t ctx)
{
    plugin_ctx_t before = context;

    context = ctx;
    return before;
}

bool plugin_is_loaded(char const *name)
{
    return strcmp(name, "cpu") == 0 ||
           (mock_loaded != NULL && strcmp(name, mock_loaded) == 0);
}

cdtime_t cf_get_default_interval(void)
{
    return (cdtime_t)10 << 30;
}

cdtime_t plugin_get_interval(void)
{
    return (cdtime_t)10 << 30;
}

cdtime_t cdtime(void)
{
    return (cdtime_t)1700000000 << 30;
}

#ifdef PLUGIN_THREAD_CREATE_ATTR
int plugin_thread_create(pthread_t *thread, const pthread_attr_t *attr,
                         void *(*start)(void *), void *arg, char const *name)
#else
int plugin_thread_create(pthread_t *thread, void *(*start)(void *), void *arg,
                         char const *name)
#endif
{
    (void)name;
    if (++threads_made == mock_threads_fail_at)
        return EAGAIN;
    return pthread_create(thread, NULL, start, arg);
}

void plugin_log(int level, const char *format, ...)
{
    va_list ap;

    (void)level;
    va_start(ap, format);
    (void)vsnprintf(mock_log, sizeof mock_log, format, ap);
    va_end(ap);
    mock_log_lines++;
}

const char *global_option_get(const char *name)
{
    for (unsigned i = 0; i < OPTIONS_MAX; i++)
        if (options[i].name != NULL && strcasecmp(options[i].name, name) == 0)
            return options[i].value;
    return NULL;
}

void mock_global(const char *name, const char *value)
{
    for (unsigned i = 0; i < OPTIONS_MAX; i++) {
        if (options[i].name == NULL || strcasecmp(options[i].name, name) == 0) {
            options[i].name = name;
            options[i].value = value;
            return;
        }
    }
}

/* ---------------------------------------------------------- configuration */

static oconfig_item_t *item_add(oconfig_item_t *parent, const char *key)
{
    size_t count = (size_t)parent->children_num;

    if ((count & (count - 1)) == 0) { /* full: it doubles, from 1 */
        oconfig_item_t *grown =
            realloc(parent->children,
                    (count == 0 ? 1 : 2 * count) * sizeof *parent->children);
        if (grown == NULL)
            abort();
        parent->children = grown;
    }
    oconfig_item_t *item = &parent->children[parent->children_num++];
    memset(item, 0, sizeof *item);
    item->key = strdup(key);
    item->parent = parent;
    return item;
}

static void value_add(oconfig_item_t *item, const char *word, bool quoted)
{
    oconfig_value_t value = {.type = OCONFIG_TYPE_STRING};
    char *end;
    double number = strtod(word, &end);

    if (!quoted && *end == '\0' && strspn(word, "0123456789.-") > 0) {
        value.type = OCONFIG_TYPE_NUMBER;
        value.value.number = number;
    } else if (!quoted &&
               (strcmp(word, "true") == 0 || strcmp(word, "false") == 0)) {
        value.type = OCONFIG_TYPE_BOOLEAN;
        value.value.boolean = word[0] == 't';
    } else {
        value.value.string = strdup(word);
    }
    item->values = realloc(item->values, ((size_t)item->values_num + 1) *
                                             sizeof *item->values);
    if (item->values == NULL)
        abort();
    item->values[item->values_num++] = value;
}

oconfig_item_t *mock_line(oconfig_item_t *block, const char *line)
{
    char text[2048];
    char *at = text;
    oconfig_item_t *item;

    (void)snprintf(text, sizeof text, "%s", line);
    char *key = strsep(&at, " ");
    char *dot = strchr(key, '.');
    if (dot != NULL) {
        *dot = '\0';
        block = item_add(block, key);
        key = dot + 1;
    }
    if (*key == '\0')
        return block; /* "Apply." is an empty block */
    item = item_add(block, key);
    while (at != NULL && *at != '\0') {
        bool quoted = *at == '"';
        if (quoted)
            at++;
        char *word = strsep(&at, quoted ? "\"" : " ");
        value_add(item, word, quoted);
        while (at != NULL && *at == ' ')
            at++;
    }
    return item;
}

oconfig_item_t *mock_block(void)
{
    if (blocks_count == BLOCKS_MAX)
        abort();
    oconfig_item_t *block = calloc(1, sizeof *block);
    if (block == NULL)
        abort();
    block->key = strdup("Plugin");
    value_add(block, "argus", true);
    blocks[blocks_count++] = block;
    return block;
}

oconfig_item_t *mock_lines(const char *const *lines)
{
    oconfig_item_t *block = mock_block();

    for (; *lines != NULL; lines++)
        (void)mock_line(block, *lines);
    return block;
}

static void item_clear(oconfig_item_t *item)
{
    for (int i = 0; i < item->children_num; i++)
        item_clear(&item->children[i]);
    for (int i = 0; i < item->values_num; i++)
        if (item->values[i].type == OCONFIG_TYPE_STRING)
            free(item->values[i].value.string);
    free(item->children);
    free(item->values);
    free(item->key);
}

void mock_reset(void)
{
    static char hostname[] = "here.example.org";
    struct queued *q;

    for (unsigned i = 0; i < blocks_count; i++) {
        item_clear(blocks[i]);
        free(blocks[i]);
    }
    blocks_count = 0;
    while ((q = dequeue()) != NULL)
        queued_free(q);
    struct list *lists[] = {&inits,  &reads,   &writes,    &notifications,
                            &misses, &flushes, &shutdowns, &cache_events};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        lists[i]->count = 0;
    memset(options, 0, sizeof options);
    mock_global("BaseDir", "/var/lib/collectd");
    mock_global("ReadThreads", "5");
    mock_global("WriteThreads", "5");
    hostname_g = hostname;
    config_callback = NULL;
    mock_chain = NULL;
    mock_only_writer = NULL;
    cache_count = mock_cache_watchers = mock_written_metas = 0;
    mock_threads_fail_at = threads_made = mock_dispatch_status = 0;
    mock_log_lines = mock_queue_lost = mock_notifications = 0;
    mock_writers = mock_readers = mock_writes = 0;
    mock_log[0] = mock_trace[0] = mock_written_set[0] = '\0';
    mock_cached = false;
    memset(&mock_notified, 0, sizeof mock_notified);
    memset(&mock_written, 0, sizeof mock_written);
    mock_written_first = 0;
    (void)plugin_set_ctx((plugin_ctx_t){0});
}
