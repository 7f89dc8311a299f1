#include "core/table.h"

#include "core/publishers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/text.h"

#define TICK_MAX_MS 5000
#define TICK_MIN_MS 1000

/* A tick may be so late without excuse: it comes on the occasion of something
 * else if it can, and costs no wake of its own then. */
#define TICK_LATE_MS 800
#define INTERVAL_DEFAULT_MS 10000
#define INTERVAL_MAX_MS (24 * 3600 * 1000u)
#define WINDOW_MS 10000 /* a rate is measured over, at least */
#define KEY_MAX (4 * 128)
#define OVERFLOW_BITS 65536
#define TALE_SIZE 180 /* of names; with the words around it fits a message */

struct publisher {
    UT_hash_handle hh;
    const char *host, *plugin, *instance, *app; /* in key */
    uint64_t since_us, last_us;                 /* Unix */
    uint64_t first_ms, last_ms;
    uint64_t interval_ms;
    uint64_t window_ms; /* begin of the present window: a value's time */
    uint32_t window_values;
    double rate; /* of the last window; below 0: there was none yet */
    double told_rate;
    bool is_silent;
    bool is_in;          /* of a digest that is being written */
    uint8_t stops;       /* since stops_ms, at most PUBLISHERS_FLAPS */
    uint64_t stops_ms;   /* when the first of them was */
    uint64_t changed_ms; /* when it last stopped or came back */
    bool is_flapping;
    char key[];
};

struct publishers {
    struct publishers_listener listener;
    struct publisher *table;
    struct publisher **sorted; /* by names; NULL: to be made */
    uint32_t sorted_count, sorted_room;
    uint8_t *overflow; /* one bit for each hash that found no room */
    uint32_t overflow_count;
    uint64_t tick_ms;         /* next look; UINT64_MAX: nobody publishes */
    uint64_t interval_min_ms; /* of them all */
    bool has_news, has_rate_news;
    uint64_t news_ms; /* when the first of them came; of a rate: no matter */
    uint64_t credit_ms, credit_at_ms; /* see publishers_news() */
    uint32_t members;
    struct publishers_stats stats;
};

int publishers_new(const struct publishers_listener *listener,
                   struct publishers **out)
{
    struct publishers *p = calloc(1, sizeof *p);

    if (p == NULL)
        return ARGUS_ENOMEM;
    p->listener = *listener;
    p->tick_ms = UINT64_MAX;
    p->interval_min_ms = INTERVAL_DEFAULT_MS;
    p->credit_ms = UINT64_MAX; /* a full purse, of whatever size */
    *out = p;
    return ARGUS_OK;
}

static void drop(struct publishers *p, struct publisher *e)
{
    HASH_DEL(p->table, e);
    free(e);
    p->sorted_count = 0;
}

void publishers_free(struct publishers *p)
{
    struct publisher *e, *next;

    if (p == NULL)
        return;
    HASH_ITER(hh, p->table, e, next)
    drop(p, e);
    free(p->sorted);
    free(p->overflow);
    free(p);
}

/* ------------------------------------------------------- applications */

/* Plugins of which a user names what they publish. */
static bool serves_applications(const char *plugin)
{
    static const char *const names[] = {
        "statsd", "tail",   "tail_csv", "curl", "curl_json", "curl_xml",
        "exec",   "python", "perl",     "lua",  "java"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(plugin, names[i]) == 0)
            return true;
    return false;
}

/* "shop.orders.paid" and "shop-average" are of shop. */
static size_t first_part(const char *metric)
{
    size_t length = strcspn(metric, ".:/");

    return metric[length] != '\0' ? length : strcspn(metric, "-");
}

/* @return its length; 0: it is none of an application's. */
static size_t app_of(const struct value_input *v, const char **app)
{
    const char *source =
        v->source != NULL && v->source[0] != '\0' ? v->source : v->plugin;

    *app = "";
    if (!serves_applications(source))
        return 0;
    if (strcmp(source, v->plugin) != 0) {
        *app = v->plugin;
    } else if (v->plugin_instance[0] != '\0') {
        *app = v->plugin_instance;
    } else if (strcmp(source, "statsd") == 0 && first_part(v->type_instance)) {
        *app = v->type_instance;
        return first_part(v->type_instance);
    } else {
        *app = v->plugin;
    }
    return strlen(*app);
}

/* ------------------------------------------------------------- values */

static void put_part(char **at, const char *text, size_t length)
{
    length = length < 127 ? length : 127;
    memcpy(*at, text, length);
    (*at)[length] = '\0';
    *at += length + 1;
}

static size_t make_key(const struct value_input *v, char key[KEY_MAX])
{
    const char *app;
    size_t app_length = app_of(v, &app);
    char *at = key;

    put_part(&at, v->host, strlen(v->host));
    put_part(&at, v->plugin, strlen(v->plugin));
    put_part(&at, v->plugin_instance, strlen(v->plugin_instance));
    put_part(&at, app, app_length);
    return (size_t)(at - key);
}

static void note_news(struct publishers *p, uint64_t now_ms)
{
    if (!p->has_news)
        p->news_ms = now_ms;
    p->has_news = true;
}

static void count_overflow(struct publishers *p, unsigned hash, uint64_t now_ms)
{
    uint32_t bit = hash % OVERFLOW_BITS;

    p->stats.refused++;
    if (p->overflow == NULL)
        p->overflow = calloc(1, OVERFLOW_BITS / 8);
    if (p->overflow == NULL || p->overflow[bit / 8] & 1u << bit % 8)
        return;
    p->overflow[bit / 8] |= (uint8_t)(1u << bit % 8);
    p->overflow_count++;
    note_news(p, now_ms);
}

/* The one that is silent the longest. */
static bool make_room(struct publishers *p)
{
    struct publisher *oldest = NULL;

    for (struct publisher *e = p->table; e != NULL; e = e->hh.next)
        if (e->is_silent && (oldest == NULL || e->last_ms < oldest->last_ms))
            oldest = e;
    if (oldest != NULL)
        drop(p, oldest);
    return oldest != NULL;
}

static struct publisher *add(struct publishers *p, const char *key, size_t size,
                             unsigned hash)
{
    struct publisher *e = NULL;

    /* Rather one that is counted than a walk for each value of it. */
    if (HASH_COUNT(p->table) < PUBLISHERS_MAX ||
        (p->overflow_count == 0 && make_room(p)))
        e = calloc(1, sizeof *e + size);
    if (e == NULL)
        return NULL;
    memcpy(e->key, key, size);
    e->host = e->key;
    e->plugin = e->host + strlen(e->host) + 1;
    e->instance = e->plugin + strlen(e->plugin) + 1;
    e->app = e->instance + strlen(e->instance) + 1;
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, p->table, e->key, size, hash, e);
    if (!table_has_taken(&e->hh)) {
        free(e);
        return NULL;
    }
    p->sorted_count = 0;
    p->stats.come++;
    return e;
}

static uint64_t interval_ms(const struct value_input *v)
{
    uint64_t ms = (v->interval >> 30) * 1000 +
                  ((v->interval & ((1u << 30) - 1)) * 1000 >> 30);

    return ms == 0                ? INTERVAL_DEFAULT_MS
           : ms < INTERVAL_MAX_MS ? ms
                                  : INTERVAL_MAX_MS;
}

static void plan_tick(struct publishers *p, uint64_t now_ms)
{
    uint64_t tick_ms = p->interval_min_ms / 2;

    tick_ms = tick_ms < TICK_MIN_MS   ? TICK_MIN_MS
              : tick_ms > TICK_MAX_MS ? TICK_MAX_MS
                                      : tick_ms;
    if (p->tick_ms > now_ms + tick_ms)
        p->tick_ms = now_ms + tick_ms;
}

static void begin(struct publishers *p, struct publisher *e, uint64_t now_ms,
                  uint64_t wall_us)
{
    e->since_us = wall_us;
    e->first_ms = e->window_ms = now_ms;
    e->rate = e->told_rate = -1;
    e->changed_ms = now_ms;
    note_news(p, now_ms);
}

void publishers_on_value(struct publishers *p, uint64_t now_ms,
                         uint64_t wall_us, const struct value_input *value)
{
    char key[KEY_MAX];
    size_t size = make_key(value, key);
    uint64_t interval = interval_ms(value);
    struct publisher *e;
    unsigned hash;

    HASH_VALUE(key, size, hash);
    HASH_FIND_BYHASHVALUE(hh, p->table, key, size, hash, e);
    if (e == NULL) {
        e = add(p, key, size, hash);
        if (e == NULL) {
            count_overflow(p, hash, now_ms);
            return;
        }
        begin(p, e, now_ms, wall_us);
    }
    e->last_ms = now_ms;
    e->last_us = wall_us;
    e->window_values++;
    if (e->interval_ms < interval)
        e->interval_ms = interval;
    if (interval < p->interval_min_ms)
        p->interval_min_ms = interval;
    plan_tick(p, now_ms);
}

/* -------------------------------------------------------------- rates */

/* Both ends of a window are the times of values, so a slow interval does not
 * blur it. */
static double rate_now(const struct publisher *e)
{
    if (e->is_silent)
        return 0;
    if (e->rate >= 0)
        return e->rate;
    uint64_t span_ms = e->last_ms - e->first_ms + e->interval_ms;
    return span_ms == 0 ? 0 : e->window_values * 1000.0 / (double)span_ms;
}

static void close_window(struct publishers *p, struct publisher *e)
{
    uint64_t span_ms = e->last_ms - e->window_ms;
    uint64_t least_ms =
        2 * e->interval_ms > WINDOW_MS ? 2 * e->interval_ms : WINDOW_MS;

    if (span_ms < least_ms)
        return;
    if (e->rate < 0) /* the values at its beginning are one too many */
        span_ms += e->interval_ms;
    e->rate = e->window_values * 1000.0 / (double)span_ms;
    e->window_ms = e->last_ms;
    e->window_values = 0;
    if (e->told_rate >= 0 &&
        (e->rate > 2 * e->told_rate || 2 * e->rate < e->told_rate))
        p->has_rate_news = true;
}

/* ------------------------------------------------------------ silence */

/* What is to be said of one kind, gathered over a look at all. */
struct tale {
    uint32_t count, named;
    char text[TALE_SIZE];
    size_t used;
};

static void tell_of(struct tale *t, const struct publisher *e)
{
    char name[TALE_SIZE];
    bool has_app = e->app[0] != '\0' && strcmp(e->app, e->instance) != 0 &&
                   strcmp(e->app, e->plugin) != 0;

    t->count++;
    text_say(name, sizeof name, "%s%.60s/%.40s%s%.40s%s%.30s%s",
             t->used > 0 ? ", " : "", e->host, e->plugin,
             e->instance[0] != '\0' ? "-" : "", e->instance,
             has_app ? " (" : "", has_app ? e->app : "", has_app ? ")" : "");
    size_t length = strlen(name);
    if (t->used + length >= sizeof t->text)
        return;
    memcpy(t->text + t->used, name, length + 1);
    t->used += length;
    t->named++;
}

static void say(struct publishers *p, enum publishers_news news,
                const struct tale *t)
{
    static const char *const words[] = {"stopped publishing", "publishes again",
                                        "stops publishing again and again"};
    char text[256], more[32] = "";

    if (t->count == 0)
        return;
    if (t->count > t->named)
        text_say(more, sizeof more, " and %u more", t->count - t->named);
    text_say(text, sizeof text, "%s: %s%s", words[news], t->text, more);
    p->listener.say(p->listener.context, news, text);
}

/* @return true: it is spoken of. */
static bool note_stop(struct publisher *e, uint64_t now_ms,
                      enum publishers_news *news)
{
    e->changed_ms = now_ms;
    if (e->is_flapping)
        return false;
    if (e->stops == 0 || now_ms - e->stops_ms > PUBLISHERS_FLAP_MS) {
        e->stops = 0;
        e->stops_ms = now_ms;
    }
    e->is_flapping = ++e->stops >= PUBLISHERS_FLAPS;
    *news = e->is_flapping ? PUBLISHERS_FLAPS_ON : PUBLISHERS_STOPPED;
    return true;
}

/* In a test of silence the last value is late by more than its interval. */
static bool is_overdue(const struct publisher *e, uint64_t now_ms)
{
    return now_ms - e->last_ms >
           PUBLISHERS_SILENT_INTERVALS * e->interval_ms + TICK_MIN_MS;
}

static void fall_silent(struct publishers *p, struct publisher *e,
                        uint64_t now_ms, struct tale tales[3])
{
    enum publishers_news news;

    e->is_silent = true;
    p->stats.stopped++;
    note_news(p, now_ms);
    if (note_stop(e, now_ms, &news))
        tell_of(&tales[news], e);
}

static void speak_again(struct publishers *p, struct publisher *e,
                        uint64_t now_ms, struct tale tales[3])
{
    e->is_silent = false;
    e->rate = -1;
    e->first_ms = e->window_ms = e->last_ms;
    e->window_values = 1;
    e->since_us = e->last_us;
    e->changed_ms = now_ms;
    p->stats.back++;
    note_news(p, now_ms);
    if (!e->is_flapping)
        tell_of(&tales[PUBLISHERS_BACK], e);
}

/* Steady for long enough after it flapped: say how it is now. */
static void calm_down(struct publisher *e, uint64_t now_ms,
                      struct tale tales[3])
{
    if (!e->is_flapping || now_ms - e->changed_ms < PUBLISHERS_FLAP_MS)
        return;
    e->is_flapping = false;
    e->stops = 0;
    tell_of(&tales[e->is_silent ? PUBLISHERS_STOPPED : PUBLISHERS_BACK], e);
}

static void look_at(struct publishers *p, struct publisher *e, uint64_t now_ms,
                    struct tale tales[3])
{
    bool is_late = is_overdue(e, now_ms);

    if (e->is_silent && is_late && now_ms - e->last_ms > PUBLISHERS_KEEP_MS) {
        drop(p, e);
        note_news(p, now_ms);
        return;
    }
    if (!e->is_silent && is_late)
        fall_silent(p, e, now_ms, tales);
    else if (e->is_silent && !is_late)
        speak_again(p, e, now_ms, tales);
    if (!e->is_silent)
        close_window(p, e);
    calm_down(e, now_ms, tales);
}

/* This process stood still, or the machine slept: nobody is blamed for that. */
static void excuse(struct publishers *p, uint64_t now_ms, uint64_t late_ms)
{
    p->stats.excused++;
    for (struct publisher *e = p->table; e != NULL; e = e->hh.next)
        if (!e->is_silent)
            e->last_ms =
                e->last_ms + late_ms < now_ms ? e->last_ms + late_ms : now_ms;
}

/* @return false: it was too soon. */
static bool tick(struct publishers *p, uint64_t now_ms)
{
    struct tale tales[3] = {{0}};
    struct publisher *e, *next;

    if (p->tick_ms > now_ms)
        return false;
    if (now_ms - p->tick_ms > TICK_MIN_MS)
        excuse(p, now_ms, now_ms - p->tick_ms);
    p->tick_ms = UINT64_MAX;
    p->interval_min_ms = INTERVAL_DEFAULT_MS;
    HASH_ITER(hh, p->table, e, next)
    {
        if (!e->is_silent && e->interval_ms < p->interval_min_ms)
            p->interval_min_ms = e->interval_ms;
        look_at(p, e, now_ms, tales);
    }
    if (p->overflow_count > 0 &&
        (HASH_COUNT(p->table) < PUBLISHERS_MAX || make_room(p))) {
        memset(p->overflow, 0, OVERFLOW_BITS / 8);
        p->overflow_count = 0;
        note_news(p, now_ms);
    }
    if (p->table != NULL)
        plan_tick(p, now_ms);
    for (int news = 0; news < 3; news++)
        say(p, (enum publishers_news)news, &tales[news]);
    return true;
}

/* ------------------------------------------------------------- digest */

static uint64_t gap_ms(const struct publishers *p)
{
    return PUBLISHERS_GAP_MS + (uint64_t)p->members * PUBLISHERS_GAP_MEMBER_MS;
}

/* Time is the money: a digest costs a gap, and at most PUBLISHERS_BURST of them
 * can be saved. */
static uint64_t credit_ms(const struct publishers *p, uint64_t now_ms)
{
    uint64_t most_ms = PUBLISHERS_BURST * gap_ms(p);
    uint64_t saved_ms = now_ms - p->credit_at_ms;

    return p->credit_ms >= most_ms || most_ms - p->credit_ms < saved_ms
               ? most_ms
               : p->credit_ms + saved_ms;
}

/* When the next digest is due; UINT64_MAX: there is no news. That a rate
 * changed alone never takes what is saved for other news. */
static uint64_t due_ms(const struct publishers *p)
{
    if (!p->has_news && !p->has_rate_news)
        return UINT64_MAX;
    uint64_t price_ms = p->has_news ? gap_ms(p) : PUBLISHERS_BURST * gap_ms(p);
    uint64_t credit = credit_ms(p, p->credit_at_ms);
    uint64_t paid_ms = p->credit_at_ms;
    if (credit < price_ms)
        paid_ms += price_ms - credit;
    uint64_t settled_ms = p->has_news ? p->news_ms + PUBLISHERS_SETTLE_MS : 0;
    return paid_ms > settled_ms ? paid_ms : settled_ms;
}

bool publishers_on_timeout(struct publishers *p, uint64_t now_ms)
{
    return tick(p, now_ms) || due_ms(p) <= now_ms;
}

bool publishers_news(struct publishers *p, uint64_t now_ms, uint32_t members)
{
    p->members = members;
    if (due_ms(p) > now_ms)
        return false;
    p->credit_ms = credit_ms(p, now_ms) - gap_ms(p);
    p->credit_at_ms = now_ms;
    p->has_news = p->has_rate_news = false;
    p->stats.digests++;
    return true;
}

uint64_t publishers_deadline_ms(const struct publishers *p)
{
    uint64_t due = due_ms(p);
    uint64_t tick_ms =
        p->tick_ms < UINT64_MAX ? p->tick_ms + TICK_LATE_MS : UINT64_MAX;

    return due < tick_ms ? due : tick_ms;
}

static int by_names(const void *a, const void *b)
{
    const struct publisher *x = *(struct publisher *const *)a;
    const struct publisher *y = *(struct publisher *const *)b;
    int order = strcmp(x->host, y->host);

    if (order == 0)
        order = strcmp(x->plugin, y->plugin);
    if (order == 0)
        order = strcmp(x->instance, y->instance);
    return order != 0 ? order : strcmp(x->app, y->app);
}

/* @return false: no memory. */
static bool sort(struct publishers *p)
{
    uint32_t count = HASH_COUNT(p->table);

    if (p->sorted_count > 0 || count == 0)
        return true;
    if (count > p->sorted_room) {
        struct publisher **grown =
            realloc(p->sorted, count * sizeof(struct publisher *));
        if (grown == NULL)
            return false;
        p->sorted = grown;
        p->sorted_room = count;
    }
    for (struct publisher *e = p->table; e != NULL; e = e->hh.next)
        p->sorted[p->sorted_count++] = e;
    qsort(p->sorted, count, sizeof(struct publisher *), by_names);
    return true;
}

static struct digest_entry entry_of(const struct publisher *e)
{
    return (struct digest_entry){.host = e->host,
                                 .plugin = e->plugin,
                                 .plugin_instance = e->instance,
                                 .app = e->app,
                                 .since_us = e->since_us,
                                 .silent_us = e->is_silent ? e->last_us : 0,
                                 .rate = rate_now(e)};
}

static bool is_first_of_plugin(const struct publishers *p, uint32_t i)
{
    return i == 0 || strcmp(p->sorted[i]->host, p->sorted[i - 1]->host) != 0 ||
           strcmp(p->sorted[i]->plugin, p->sorted[i - 1]->plugin) != 0;
}

/* Bytes of those that are chosen so far. */
static size_t write_chosen(const struct publishers *p, const char *node,
                           uint64_t started_ms, uint8_t out[DIGEST_SIZE_MAX],
                           bool *fits)
{
    struct digest d;

    *fits = true;
    digest_begin(&d, node, started_ms, out, DIGEST_SIZE_MAX);
    for (uint32_t i = 0; *fits && i < p->sorted_count; i++) {
        struct digest_entry e = entry_of(p->sorted[i]);
        if (p->sorted[i]->is_in)
            *fits = digest_put(&d, &e);
    }
    return d.size;
}

/* Mark the first `n` of a round. @return how many those are. */
static uint32_t mark(struct publishers *p, bool wants_first, uint32_t n)
{
    uint32_t marked = 0;

    for (uint32_t i = 0; i < p->sorted_count; i++)
        if (is_first_of_plugin(p, i) == wants_first) {
            p->sorted[i]->is_in = marked < n;
            marked += marked < n;
        }
    return marked;
}

/* As many of a round as fit: what one costs hangs on those around it, so their
 * number is halved until they do. */
static uint32_t choose(struct publishers *p, const char *node,
                       uint64_t started_ms, bool wants_first,
                       uint8_t out[DIGEST_SIZE_MAX])
{
    uint32_t low = 0, high = mark(p, wants_first, UINT32_MAX);
    bool fits;

    (void)write_chosen(p, node, started_ms, out, &fits);
    if (fits)
        return high;
    while (low + 1 < high) { /* low fits, high does not */
        uint32_t middle = low + (high - low) / 2;
        (void)mark(p, wants_first, middle);
        (void)write_chosen(p, node, started_ms, out, &fits);
        if (fits)
            low = middle;
        else
            high = middle;
    }
    return mark(p, wants_first, low);
}

size_t publishers_digest(struct publishers *p, const char *node,
                         uint64_t started_ms, uint8_t out[DIGEST_SIZE_MAX],
                         uint32_t *missing)
{
    bool fits;

    *missing = HASH_COUNT(p->table) + p->overflow_count;
    if (!sort(p))
        return 0;
    for (uint32_t i = 0; i < p->sorted_count; i++) {
        p->sorted[i]->is_in = false;
        p->sorted[i]->told_rate = rate_now(p->sorted[i]);
    }
    *missing -= choose(p, node, started_ms, true, out);
    *missing -= choose(p, node, started_ms, false, out);
    return write_chosen(p, node, started_ms, out, &fits);
}

uint32_t publishers_count(const struct publishers *p)
{
    return HASH_COUNT(p->table);
}

bool publishers_get(struct publishers *p, uint32_t index,
                    struct digest_entry *out, uint64_t *last_us)
{
    if (!sort(p) || index >= p->sorted_count)
        return false;
    *out = entry_of(p->sorted[index]);
    *last_us = p->sorted[index]->last_us;
    return true;
}

const struct publishers_stats *publishers_stats(const struct publishers *p)
{
    return &p->stats;
}
