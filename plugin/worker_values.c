#include "worker_values.h"

#include "collectd.h"

#include "filter_chain.h"
#include "liboconfig/oconfig.h"
#include "plugin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "base/text.h"
#include "worker_up.h"
#include "worker_vet.h"

/* Marks in plugin_ctx_t.flush_timeout, above every time there is. */
#define MARK_DOWN (UINT64_C(1) << 63)
#define MARK_BARRIER (UINT64_C(1) << 62)

/** One word for the match, its rule and the writer. */
#define OWN_NAME "argus_worker"

/** A full table of types is begun anew; sets are then sent once more. */
#define SENT_SLOTS 1024
#define SENT_MAX 768

_Static_assert(sizeof(value_t) == sizeof(uint64_t), "a value is 8 bytes");
_Static_assert((int)PAIR_META_STRING == MD_TYPE_STRING &&
                   (int)PAIR_META_BOOLEAN == MD_TYPE_BOOLEAN,
               "types of meta data are collectd's");

/* The value that this thread is busy with came down. */
static _Thread_local bool is_from_daemon;

/* The notification that came down, while it is dispatched. */
static _Thread_local const notification_t *notice_from_daemon;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned barriers_wanted, barriers_in; /* write threads */
    uint64_t round;                        /* of barriers; 0: none */
    bool closed;

    atomic_uint down; /* values from the daemon in collectd's queue */
    atomic_bool down_waits, made;

    pthread_mutex_t sent_lock;
    struct {
        uint64_t type, content; /* hashes; type 0: free */
    } sent[SENT_SLOTS];
    unsigned sent_count;

    data_set_t *sets[VALUES_SETS_MAX]; /* of the reading thread alone */
    unsigned sets_count;
} values = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .moved = PTHREAD_COND_INITIALIZER,
    .sent_lock = PTHREAD_MUTEX_INITIALIZER,
};

static struct timespec deadline_of(unsigned timeout_ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

/* ------------------------------------------------------------ the match */

/* Each write thread stays until all of them are here: then each has finished
 * what it took from the queue before. */
static void enter_barrier(uint64_t round)
{
    pthread_mutex_lock(&values.lock);
    if (round == values.round)
        values.barriers_in++;
    pthread_cond_broadcast(&values.moved);
    while (!values.closed && round == values.round &&
           values.barriers_in < values.barriers_wanted)
        pthread_cond_wait(&values.moved, &values.lock);
    pthread_mutex_unlock(&values.lock);
}

static void count_down(void)
{
    unsigned down = values.down;

    while (down > 0 &&
           !atomic_compare_exchange_weak(&values.down, &down, down - 1))
        ;
    if (!values.down_waits)
        return;
    pthread_mutex_lock(&values.lock);
    pthread_cond_broadcast(&values.moved);
    pthread_mutex_unlock(&values.lock);
}

static int on_match(const data_set_t *ds, const value_list_t *vl,
                    notification_meta_t **meta, void **data)
{
    plugin_ctx_t ctx = plugin_get_ctx();

    (void)ds;
    (void)vl;
    (void)meta;
    (void)data;
    is_from_daemon = ctx.flush_timeout == MARK_DOWN;
    if ((ctx.flush_timeout & MARK_BARRIER) != 0) {
        enter_barrier(ctx.flush_timeout ^ MARK_BARRIER);
        return FC_MATCH_MATCHES; /* and the rule's target stops it */
    }
    if (!is_from_daemon) {
        values.made = true;
        return FC_MATCH_NO_MATCH;
    }
    ctx.flush_timeout = 0;
    (void)plugin_set_ctx(ctx);
    count_down();
    return FC_MATCH_NO_MATCH;
}

static oconfig_item_t block_of(char *key, oconfig_value_t *value,
                               oconfig_item_t *children, int count)
{
    return (oconfig_item_t){.key = key,
                            .values = value,
                            .values_num = 1,
                            .children = children,
                            .children_num = count};
}

int values_watch_chain(const char *chain)
{
    char name[DATA_MAX_NAME_LEN], own[] = OWN_NAME, stop[] = "stop";
    char chain_key[] = "Chain", rule_key[] = "Rule";
    char match_key[] = "Match", target_key[] = "Target";
    oconfig_value_t chain_name = {.type = OCONFIG_TYPE_STRING,
                                  .value.string = name};
    oconfig_value_t own_name = {.type = OCONFIG_TYPE_STRING,
                                .value.string = own};
    oconfig_value_t stop_name = {.type = OCONFIG_TYPE_STRING,
                                 .value.string = stop};
    oconfig_item_t lines[] = {block_of(match_key, &own_name, NULL, 0),
                              block_of(target_key, &stop_name, NULL, 0)};
    oconfig_item_t rule = block_of(rule_key, &own_name, lines, 2);
    oconfig_item_t block = block_of(chain_key, &chain_name, &rule, 1);

    text_copy(name, sizeof name, chain);
    if (fc_register_match(OWN_NAME, (match_proc_t){.match = on_match}) != 0)
        return -1;
    return fc_configure(&block);
}

bool values_are_made(void)
{
    return values.made;
}

/* ---------------------------------------------------------------- types */

static uint64_t hash_add(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return hash_add(hash, text, strlen(text) + 1);
}

#define HASH_START UINT64_C(0xcbf29ce484222325)

static uint64_t hash_set(const data_set_t *ds)
{
    uint64_t hash = HASH_START;

    for (size_t i = 0; i < ds->ds_num; i++) {
        hash = hash_text(hash, ds->ds[i].name);
        hash = hash_add(hash, &ds->ds[i].type, sizeof ds->ds[i].type);
        hash = hash_add(hash, &ds->ds[i].min, sizeof ds->ds[i].min);
        hash = hash_add(hash, &ds->ds[i].max, sizeof ds->ds[i].max);
    }
    return hash;
}

static size_t put_set(uint8_t *out, size_t room, const void *what)
{
    const data_set_t *ds = what;
    struct pair_set set = {.type = ds->type, .count = (uint32_t)ds->ds_num};

    if (ds->ds_num > PAIR_SOURCES_MAX)
        return 0;
    for (size_t i = 0; i < ds->ds_num; i++)
        set.sources[i] = (struct pair_source){
            .name = ds->ds[i].name,
            .type = (uint32_t)ds->ds[i].type,
            .min = ds->ds[i].min,
            .max = ds->ds[i].max,
        };
    return pair_put_set(out, room, &set);
}

/* With the lock held. @return true: not as it was sent last. */
static bool remember_set(uint64_t type, uint64_t content)
{
    size_t i = type % SENT_SLOTS;

    while (values.sent[i].type != 0 && values.sent[i].type != type)
        i = (i + 1) % SENT_SLOTS;
    if (values.sent[i].type == type && values.sent[i].content == content)
        return false;
    if (values.sent[i].type == 0 && ++values.sent_count > SENT_MAX) {
        memset(values.sent, 0, sizeof values.sent);
        values.sent_count = 1;
        i = type % SENT_SLOTS;
    }
    values.sent[i].type = type;
    values.sent[i].content = content;
    return true;
}

/* With the lock held while it is sent, so that no value of another write thread
 * comes before its type. */
static void send_set(const data_set_t *ds)
{
    uint64_t type = hash_text(HASH_START, ds->type) | 1;

    pthread_mutex_lock(&values.sent_lock);
    if (remember_set(type, hash_set(ds)))
        (void)up_add(UP_DATA, put_set, ds);
    pthread_mutex_unlock(&values.sent_lock);
}

/* ------------------------------------------------------------- meta data */

struct metas {
    struct pair_meta list[PAIR_METAS_MAX];
    char *owned[2 * PAIR_METAS_MAX]; /* keys, texts */
    uint32_t count, owned_count;
};

static bool meta_of(meta_data_t *md, char *key, struct metas *metas)
{
    struct pair_meta *m = &metas->list[metas->count];
    int type = meta_data_type(md, key), rc = -1;
    char *text = NULL;
    bool flag = false;

    *m = (struct pair_meta){.key = key, .type = (enum pair_meta_type)type};
    switch (type) {
    case MD_TYPE_STRING:
        rc = meta_data_get_string(md, key, &text);
        if (rc == 0)
            metas->owned[metas->owned_count++] = text;
        m->text = text;
        break;
    case MD_TYPE_SIGNED_INT:
        rc = meta_data_get_signed_int(md, key, (int64_t *)&m->bits);
        break;
    case MD_TYPE_UNSIGNED_INT:
        rc = meta_data_get_unsigned_int(md, key, &m->bits);
        break;
    case MD_TYPE_DOUBLE: {
        double number = 0;
        rc = meta_data_get_double(md, key, &number);
        memcpy(&m->bits, &number, sizeof m->bits);
        break;
    }
    case MD_TYPE_BOOLEAN:
        rc = meta_data_get_boolean(md, key, &flag);
        m->bits = flag;
        break;
    default: break;
    }
    return rc == 0;
}

static void metas_of(meta_data_t *md, struct metas *metas)
{
    char **keys = NULL;
    int count = md != NULL ? meta_data_toc(md, &keys) : 0;

    metas->count = metas->owned_count = 0;
    for (int i = 0; i < count; i++) {
        if (metas->count == PAIR_METAS_MAX) {
            free(keys[i]);
            continue;
        }
        metas->owned[metas->owned_count++] = keys[i];
        if (meta_of(md, keys[i], metas))
            metas->count++;
    }
    free(keys);
}

static void metas_free(struct metas *metas)
{
    for (uint32_t i = 0; i < metas->owned_count; i++)
        free(metas->owned[i]);
}

static void meta_add(meta_data_t *md, const struct pair_meta *m)
{
    double number;

    switch (m->type) {
    case PAIR_META_STRING:
        (void)meta_data_add_string(md, m->key, m->text);
        break;
    case PAIR_META_SIGNED:
        (void)meta_data_add_signed_int(md, m->key, (int64_t)m->bits);
        break;
    case PAIR_META_UNSIGNED:
        (void)meta_data_add_unsigned_int(md, m->key, m->bits);
        break;
    case PAIR_META_DOUBLE:
        memcpy(&number, &m->bits, sizeof number);
        (void)meta_data_add_double(md, m->key, number);
        break;
    case PAIR_META_BOOLEAN:
        (void)meta_data_add_boolean(md, m->key, m->bits != 0);
        break;
    }
}

static meta_data_t *metas_read(const uint8_t *at, uint32_t count)
{
    meta_data_t *md = count > 0 ? meta_data_create() : NULL;
    struct pair_meta m;

    for (uint32_t i = 0; i < count && md != NULL; i++) {
        at += pair_meta_next(at, &m);
        meta_add(md, &m);
    }
    return md;
}

/* -------------------------------------------------------------------- up */

struct value_up {
    struct pair_value value;
    const struct pair_meta *metas;
};

static size_t put_value(uint8_t *out, size_t room, const void *what)
{
    const struct value_up *v = what;

    return pair_put_value(out, room, &v->value, v->metas);
}

static int on_write(const data_set_t *ds, const value_list_t *vl,
                    user_data_t *data)
{
    struct metas metas;

    (void)data;
    if (is_from_daemon || vl->values_len > PAIR_SOURCES_MAX)
        return 0;
    send_set(ds);
    metas_of(vl->meta, &metas);
    struct value_up v = {
        .value = {.names = {vl->host, vl->plugin, vl->plugin_instance, vl->type,
                            vl->type_instance},
                  .time = vl->time,
                  .interval = vl->interval,
                  .count = (uint32_t)vl->values_len,
                  .numbers = (const uint8_t *)vl->values,
                  .metas_count = metas.count},
        .metas = metas.list,
    };
    /* Meta data can be larger than any message; the value is what counts. */
    if (!up_add(UP_DATA, put_value, &v)) {
        v.value.metas_count = 0;
        (void)up_add(UP_DATA, put_value, &v);
    }
    metas_free(&metas);
    return 0;
}

struct notice_up {
    struct pair_notification notice;
    struct pair_meta metas[PAIR_METAS_MAX];
};

static size_t put_notice(uint8_t *out, size_t room, const void *what)
{
    const struct notice_up *n = what;

    return pair_put_notification(out, room, &n->notice, n->metas);
}

static struct pair_meta notice_meta_of(const notification_meta_t *from)
{
    struct pair_meta m = {.key = from->name};

    switch (from->type) {
    case NM_TYPE_STRING:
        m.type = PAIR_META_STRING;
        m.text = from->nm_value.nm_string;
        break;
    case NM_TYPE_SIGNED_INT:
        m.type = PAIR_META_SIGNED;
        m.bits = (uint64_t)from->nm_value.nm_signed_int;
        break;
    case NM_TYPE_UNSIGNED_INT:
        m.type = PAIR_META_UNSIGNED;
        m.bits = from->nm_value.nm_unsigned_int;
        break;
    case NM_TYPE_DOUBLE:
        m.type = PAIR_META_DOUBLE;
        memcpy(&m.bits, &from->nm_value.nm_double, sizeof m.bits);
        break;
    case NM_TYPE_BOOLEAN:
        m.type = PAIR_META_BOOLEAN;
        m.bits = from->nm_value.nm_boolean;
        break;
    }
    return m;
}

static int on_notification(const notification_t *n, user_data_t *data)
{
    struct notice_up up = {
        .notice = {.severity = n->severity,
                   .time = n->time,
                   .names = {n->host, n->plugin, n->plugin_instance, n->type,
                             n->type_instance},
                   .message = n->message},
    };

    (void)data;
    if (n == notice_from_daemon)
        return 0;
    for (const notification_meta_t *m = n->meta;
         m != NULL && up.notice.metas_count < PAIR_METAS_MAX; m = m->next)
        up.metas[up.notice.metas_count++] = notice_meta_of(m);
    (void)up_add(UP_STATE, put_notice, &up);
    return 0;
}

int values_register(void)
{
    int rc = plugin_register_write(OWN_NAME, on_write, NULL);

    return rc != 0
               ? rc
               : plugin_register_notification(OWN_NAME, on_notification, NULL);
}

/* ------------------------------------------------------------------ down */

static data_set_t *find_set(const char *type)
{
    for (unsigned i = 0; i < values.sets_count; i++)
        if (strcmp(values.sets[i]->type, type) == 0)
            return values.sets[i];
    return NULL;
}

static bool take_set(const struct pair_message *m)
{
    struct pair_set set;

    if (!pair_read_set(m, &set))
        return false;
    if (plugin_get_ds(set.type) != NULL || find_set(set.type) != NULL ||
        values.sets_count == VALUES_SETS_MAX)
        return true;
    data_set_t *ds = calloc(1, sizeof *ds);
    data_source_t *sources = calloc(set.count, sizeof *sources);
    if (ds == NULL || sources == NULL) {
        free(ds);
        free(sources);
        return true;
    }
    text_copy(ds->type, sizeof ds->type, set.type);
    ds->ds = sources;
    ds->ds_num = set.count;
    for (uint32_t i = 0; i < set.count; i++) {
        text_copy(sources[i].name, sizeof sources[i].name, set.sources[i].name);
        sources[i].type = (int)set.sources[i].type;
        sources[i].min = set.sources[i].min;
        sources[i].max = set.sources[i].max;
    }
    values.sets[values.sets_count++] = ds;
    return true;
}

/* As long as collectd's queue holds so many of them, no more is read. When it
 * does not move for a second, collectd has dropped some: they never come to the
 * match. */
static void wait_for_queue(void)
{
    struct timespec until = deadline_of(1000);
    int rc = 0;

    if (values.down < VALUES_DOWN_MAX)
        return;
    pthread_mutex_lock(&values.lock);
    values.down_waits = true;
    while (!values.closed && rc == 0 && values.down >= VALUES_DOWN_MAX)
        rc = pthread_cond_timedwait(&values.moved, &values.lock, &until);
    values.down_waits = false;
    pthread_mutex_unlock(&values.lock);
    if (rc != 0)
        values.down = 0;
}

static void dispatch_marked(const value_list_t *vl)
{
    plugin_ctx_t before =
        plugin_set_ctx((plugin_ctx_t){.flush_timeout = MARK_DOWN});

    wait_for_queue();
    values.down++;
    (void)plugin_dispatch_values(vl);
    (void)plugin_set_ctx(before);
}

static void write_past_chains(const data_set_t *ds, const value_list_t *vl)
{
    is_from_daemon = true;
    (void)plugin_write(NULL, ds, vl);
    is_from_daemon = false;
}

/* Once: collectd itself would say it for each value. */
static void say_unknown(const char *type)
{
    static bool said;

    if (!said)
        plugin_log(LOG_WARNING,
                   "argus_worker: the type \"%s\" of a value of the daemon is "
                   "not known here; the like of it is passed over",
                   type);
    said = true;
}

static bool take_value(const struct pair_message *m)
{
    value_t numbers[PAIR_SOURCES_MAX];
    struct pair_value v;

    if (!pair_read_value(m, &v))
        return false;
    memcpy(numbers, v.numbers, v.count * sizeof numbers[0]);
    value_list_t vl = {
        .values = numbers,
        .values_len = v.count,
        .time = v.time,
        .interval = v.interval,
        .meta = metas_read(v.metas, v.metas_count),
    };
    text_copy(vl.host, sizeof vl.host, v.names[0]);
    text_copy(vl.plugin, sizeof vl.plugin, v.names[1]);
    text_copy(vl.plugin_instance, sizeof vl.plugin_instance, v.names[2]);
    text_copy(vl.type, sizeof vl.type, v.names[3]);
    text_copy(vl.type_instance, sizeof vl.type_instance, v.names[4]);

    const data_set_t *own = find_set(vl.type);
    if (own == NULL && plugin_get_ds(vl.type) != NULL)
        dispatch_marked(&vl);
    else if (own == NULL)
        say_unknown(vl.type);
    else if (own->ds_num == vl.values_len)
        write_past_chains(own, &vl);
    meta_data_destroy(vl.meta);
    return true;
}

static void notice_meta_add(notification_t *n, const struct pair_meta *m)
{
    double number;

    switch (m->type) {
    case PAIR_META_STRING:
        (void)plugin_notification_meta_add_string(n, m->key, m->text);
        break;
    case PAIR_META_SIGNED:
        (void)plugin_notification_meta_add_signed_int(n, m->key,
                                                      (int64_t)m->bits);
        break;
    case PAIR_META_UNSIGNED:
        (void)plugin_notification_meta_add_unsigned_int(n, m->key, m->bits);
        break;
    case PAIR_META_DOUBLE:
        memcpy(&number, &m->bits, sizeof number);
        (void)plugin_notification_meta_add_double(n, m->key, number);
        break;
    case PAIR_META_BOOLEAN:
        (void)plugin_notification_meta_add_boolean(n, m->key, m->bits != 0);
        break;
    }
}

static bool take_notice(const struct pair_message *m)
{
    struct pair_notification from;
    struct pair_meta meta;

    if (!pair_read_notification(m, &from))
        return false;
    notification_t n = {.severity = from.severity, .time = from.time};
    text_copy(n.message, sizeof n.message, from.message);
    text_copy(n.host, sizeof n.host, from.names[0]);
    text_copy(n.plugin, sizeof n.plugin, from.names[1]);
    text_copy(n.plugin_instance, sizeof n.plugin_instance, from.names[2]);
    text_copy(n.type, sizeof n.type, from.names[3]);
    text_copy(n.type_instance, sizeof n.type_instance, from.names[4]);
    const uint8_t *at = from.metas;
    for (uint32_t i = 0; i < from.metas_count; i++) {
        at += pair_meta_next(at, &meta);
        notice_meta_add(&n, &meta);
    }
    notice_from_daemon = &n;
    (void)plugin_dispatch_notification(&n);
    notice_from_daemon = NULL;
    if (n.meta != NULL)
        (void)plugin_notification_meta_free(n.meta);
    return true;
}

static bool take_flush(const struct pair_message *m)
{
    struct pair_flush flush;

    if (!pair_read_flush(m, &flush))
        return false;
    (void)plugin_flush(NULL, flush.timeout,
                       flush.identifier[0] != '\0' ? flush.identifier : NULL);
    return true;
}

bool values_take(const struct pair_message *m)
{
    switch ((int)m->type) {
    case PAIR_VALUE: return take_value(m);
    case PAIR_NOTIFICATION: return take_notice(m);
    case PAIR_FLUSH: return take_flush(m);
    case PAIR_SET: return take_set(m);
    default: return false;
    }
}

/* ----------------------------------------------------------------- drain */

static void dispatch_barriers(unsigned count, uint64_t round)
{
    value_t number = {.gauge = 0};
    value_list_t vl = {.values = &number,
                       .values_len = 1,
                       .time = 1,
                       .interval = 1,
                       .host = OWN_NAME,
                       .plugin = OWN_NAME,
                       .type = "gauge"};
    plugin_ctx_t before =
        plugin_set_ctx((plugin_ctx_t){.flush_timeout = MARK_BARRIER | round});

    for (unsigned i = 0; i < count; i++)
        (void)plugin_dispatch_values(&vl);
    (void)plugin_set_ctx(before);
}

bool values_drain(unsigned timeout_ms)
{
    struct timespec until = deadline_of(timeout_ms);
    long threads = global_option_get_long("WriteThreads", 1);
    int rc = 0;

    if (threads < 1 || threads > VET_WRITE_THREADS_MAX)
        threads = 1;
    pthread_mutex_lock(&values.lock);
    uint64_t round = ++values.round;
    values.barriers_in = 0;
    values.barriers_wanted = (unsigned)threads;
    pthread_cond_broadcast(&values.moved); /* of a round that did not end */
    pthread_mutex_unlock(&values.lock);
    dispatch_barriers((unsigned)threads, round);

    pthread_mutex_lock(&values.lock);
    while (!values.closed && rc == 0 && round == values.round &&
           values.barriers_in < values.barriers_wanted)
        rc = pthread_cond_timedwait(&values.moved, &values.lock, &until);
    bool all =
        round == values.round && values.barriers_in >= values.barriers_wanted;
    if (!all && round == values.round)
        values.round++; /* nobody stays in it */
    pthread_cond_broadcast(&values.moved);
    pthread_mutex_unlock(&values.lock);
    return all;
}

void values_close(void)
{
    pthread_mutex_lock(&values.lock);
    values.closed = true;
    pthread_cond_broadcast(&values.moved);
    pthread_mutex_unlock(&values.lock);
}
