#include "core/intake_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/status.h"

#define QUEUE_MAX (1u << 20) /* a token has 20 bits for the place */
#define REDISPATCH_MAX 3
#define GENERATION_MASK 0xffffffu /* as it stands in a number */

int intake_new(const struct intake_options *options, struct intake **out)
{
    if (options->queue_max == 0 || options->queue_max > QUEUE_MAX ||
        options->redispatch_max > REDISPATCH_MAX ||
        options->listener.is_online == NULL)
        return ARGUS_EINVAL;

    struct intake *x = calloc(1, sizeof *x);
    if (x == NULL)
        return ARGUS_ENOMEM;
    x->options = *options;
    if (x->options.budget == 0)
        x->options.budget = INTAKE_BUDGET;
    if (x->options.series_max == 0)
        x->options.series_max = INTAKE_SERIES_MAX;
    if (x->options.sender_series_max == 0)
        x->options.sender_series_max = INTAKE_SENDER_SERIES_MAX;
    if (options->is_aggregator) {
        x->slots = calloc(options->queue_max, sizeof *x->slots);
        if (x->slots == NULL) {
            free(x);
            return ARGUS_ENOMEM;
        }
    }
    intake_flow_open(x);
    *out = x;
    return ARGUS_OK;
}

static struct link *link_find(const struct intake *x, link_id id)
{
    struct link *link;

    HASH_FIND(hh, x->links, &id, sizeof id, link);
    return link;
}

/* Forget a link; what came by it stays. */
static void link_drop(struct intake *x, struct link *link)
{
    struct sender *sender = link->sender;

    intake_flow_detach(x, link);
    for (uint32_t i = 0; i < link->series_count; i++) {
        link->series[i]->links--;
        intake_series_check_idle(x, link->series[i]);
    }
    HASH_DEL(x->links, link);
    free(link->series);
    free(link);
    x->stats.links--;
    sender->link = NULL;
    intake_sender_forget(x, sender);
}

static void link_refuse(struct intake *x, struct link *link,
                        argus_RefuseCode code, const char *text,
                        struct actions *out)
{
    if (code == argus_RefuseCode_REFUSE_MALFORMED)
        x->stats.links_malformed++;
    else if (code == argus_RefuseCode_REFUSE_REPLACED)
        x->stats.links_replaced++;
    else
        x->stats.links_busy++;
    char id[NODE_ID_TEXT_SIZE];
    node_id_format(&link->sender->id, id);
    actions_log(out,
                code == argus_RefuseCode_REFUSE_REPLACED ? LOG_LEVEL_DEBUG
                                                         : LOG_LEVEL_WARNING,
                "metrics link of node %s closed: %s", id, text);
    actions_close(out, link->id, code, text);
    link_drop(x, link);
}

void intake_free(struct intake *x)
{
    struct link *link, *next;
    struct value *v;

    if (x == NULL)
        return;
    HASH_ITER(hh, x->links, link, next)
    link_drop(x, link);
    for (uint32_t i = 0; x->slots != NULL && i < x->options.queue_max; i++)
        if (x->slots[i].value != NULL)
            intake_flow_free_value(x, x->slots[i].value);
    while ((v = STAILQ_FIRST(&x->settling)) != NULL) {
        STAILQ_REMOVE_HEAD(&x->settling, line);
        intake_flow_free_value(x, v);
    }
    intake_series_free_all(x);
    pool_close(&x->pool);
    free(x->slots);
    free(x);
}

/* ------------------------------------------------------------------ links */

static void begin(struct intake *x, uint64_t now_ms)
{
    assert(now_ms >= x->now_ms);
    x->now_ms = now_ms;
}

static void finish(struct intake *x)
{
    x->stats.bytes = x->pool.used;
}

/* The peer may have started anew. One that comes back with an older generation
 * lost its state directory's last days: its numbers begin below those we have,
 * and must not be taken for duplicates. */
static void sender_meet(struct intake *x, struct sender *sender,
                        const struct peer_info *peer)
{
    if (sender->instance != 0 && sender->instance != peer->instance &&
        peer->generation <= sender->generation) {
        sender->life++;
        x->stats.senders_reset++;
    }
    sender->generation = peer->generation;
    sender->instance = peer->instance;
}

static struct link *link_new(struct intake *x, link_id id,
                             struct sender *sender)
{
    struct link *link = calloc(1, sizeof *link);

    if (link == NULL)
        return NULL;
    link->id = id;
    link->sender = sender;
    link->window = INTAKE_WINDOW_FIRST;
    TAILQ_INIT(&link->batches);
    HASH_ADD(hh, x->links, id, sizeof link->id, link);
    if (!table_has_taken(&link->hh)) {
        free(link);
        return NULL;
    }
    sender->link = link;
    x->stats.links++;
    return link;
}

void intake_on_link_up(struct intake *x, uint64_t now_ms, link_id id,
                       const struct peer_info *peer, struct actions *out)
{
    begin(x, now_ms);
    if (peer->kind != argus_LinkKind_LINK_METRICS)
        return;
    if (!x->options.is_aggregator) {
        x->stats.links_refused++;
        actions_close(out, id, argus_RefuseCode_REFUSE_ROLE,
                      "this node is not an aggregator");
        return;
    }
    struct sender *sender = intake_sender_of(x, &peer->id);
    if (sender != NULL && sender->link != NULL)
        /* May free the sender: it is looked up again. */
        link_refuse(x, sender->link, argus_RefuseCode_REFUSE_REPLACED,
                    "a newer metrics link of the same node came up", out);
    sender = intake_sender_of(x, &peer->id);
    if (sender == NULL || link_new(x, id, sender) == NULL) {
        x->stats.memory_refused++;
        actions_close(out, id, argus_RefuseCode_REFUSE_BUSY, "out of memory");
        if (sender != NULL)
            intake_sender_forget(x, sender);
        return;
    }
    sender_meet(x, sender, peer);
    x->stats.links_accepted++;
    finish(x);
}

void intake_on_link_down(struct intake *x, uint64_t now_ms, link_id id,
                         struct actions *out)
{
    struct link *link = link_find(x, id);

    (void)out;
    begin(x, now_ms);
    if (link != NULL)
        link_drop(x, link);
    finish(x);
}

/* ----------------------------------------------------------- SeriesDefs */

/* Indices are dense, so a table of them cannot be larger than what was said. */
static bool link_name(struct link *link, uint32_t index, struct series *series)
{
    if (index == link->series_count + 1) {
        if (link->series_count == link->series_room) {
            uint32_t room = link->series_room == 0 ? 64 : link->series_room * 2;
            struct series **grown =
                realloc(link->series, room * sizeof(struct series *));
            if (grown == NULL)
                return false;
            link->series = grown;
            link->series_room = room;
        }
        link->series[link->series_count++] = series;
        return true;
    }
    link->series[index - 1] = series;
    return true;
}

/* @return what was wrong, or NULL. */
static const char *def_take(struct intake *x, struct link *link,
                            const argus_SeriesDef *def, argus_RefuseCode *code,
                            struct actions *out)
{
    struct series *series = NULL;

    *code = argus_RefuseCode_REFUSE_MALFORMED;
    if (def->index == 0 || def->index > link->series_count + 1)
        return "a series was named by an index out of turn";
    struct series *before =
        def->index <= link->series_count ? link->series[def->index - 1] : NULL;
    switch (intake_series_define(x, link->sender, def, &series, out)) {
    case SERIES_OK: break;
    case SERIES_BAD: return "a series without host or with wrong data sources";
    case SERIES_FULL:
        *code = argus_RefuseCode_REFUSE_BUSY;
        return "too many series, or definitions that change too fast";
    case SERIES_NO_MEMORY:
        x->stats.memory_refused++;
        *code = argus_RefuseCode_REFUSE_BUSY;
        return "out of memory";
    }
    series->links++; /* before the other lets go: it may be the same */
    intake_series_check_idle(x, series);
    if (!link_name(link, def->index, series)) {
        series->links--;
        intake_series_check_idle(x, series);
        x->stats.memory_refused++;
        *code = argus_RefuseCode_REFUSE_BUSY;
        return "out of memory";
    }
    if (before != NULL) {
        before->links--;
        intake_series_check_idle(x, before);
    }
    return NULL;
}

static void on_series_defs(struct intake *x, struct link *link,
                           const argus_SeriesDefs *defs, struct actions *out)
{
    for (uint32_t i = 0; i < defs->series_count; i++) {
        argus_RefuseCode code;
        const char *wrong = def_take(x, link, &defs->series[i], &code, out);
        if (wrong != NULL) {
            link_refuse(x, link, code, wrong, out);
            return;
        }
    }
}

/* ---------------------------------------------------------------- Batch */

/* Nothing of a batch is believed before all of it is checked. */
static const char *batch_check(const struct link *link, const argus_Batch *b)
{
    uint32_t generation = link->sender->generation & GENERATION_MASK;
    uint64_t number = b->first_number;
    uint32_t gauges = 0, integers = 0;

    if (b->number != link->batch_last + 1)
        return "a batch out of turn";
    if (b->series_count == 0 || b->series_count != b->number_step_count ||
        b->series_count != b->time_step_count)
        return "a batch with columns of unequal length";
    if (link->under_way + b->series_count > link->window)
        return "more values under way than the window allows";
    for (uint32_t i = 0; i < b->series_count; i++) {
        if (b->series[i] == 0 || b->series[i] > link->series_count)
            return "a value of a series that was not named";
        const struct series *series = link->series[b->series[i] - 1];
        uint32_t of_gauges = (uint32_t)__builtin_popcountll(series->gauges);
        gauges += of_gauges;
        integers += series->count - of_gauges;
        if (i > 0 && b->number_step[i] == 0)
            return "two values with one number";
        number += b->number_step[i];
        if (number < b->first_number || number == 0 ||
            number >> 40 > generation)
            return "a value with an impossible number";
    }
    if (gauges != b->gauges_count || integers != b->integers_count)
        return "a batch whose columns do not fit its series";
    return NULL;
}

struct batch_cursor {
    uint64_t number;
    uint64_t time;
    uint32_t gauges, integers; /* taken from the columns */
};

static bool value_take(struct intake *x, struct series *series,
                       struct batch *batch, const argus_Batch *b,
                       struct batch_cursor *at)
{
    struct value *v =
        pool_take(&x->pool, intake_flow_value_size(series->count));

    for (uint32_t i = 0; i < series->count; i++) {
        bool gauge = series->gauges >> i & 1;
        uint64_t number = gauge ? b->gauges[at->gauges++]
                                : (uint64_t)b->integers[at->integers++];
        if (v != NULL)
            v->numbers[i] = number;
    }
    if (v == NULL)
        return false;
    v->series = series;
    v->batch = batch;
    v->number = at->number;
    v->time = at->time;
    v->count = series->count;
    v->tries = 0;
    STAILQ_INSERT_TAIL(&series->waiting, v, line);
    batch->values++;
    batch->unsettled++;
    series->host->released = false;
    intake_series_check_idle(x, series);
    intake_flow_ready(x, series);
    x->stats.values_waiting++;
    x->stats.values_received++;
    return true;
}

static const char *batch_take(struct intake *x, struct link *link,
                              const argus_Batch *b)
{
    struct batch_cursor at = {.number = b->first_number, .time = b->first_time};
    uint64_t taken = x->stats.values_waiting + x->stats.values_in_queue +
                     x->stats.values_settling;

    if (taken + b->series_count > 2 * (uint64_t)x->options.budget)
        return "too many values wait here";
    struct batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        x->stats.memory_refused++;
        return "out of memory";
    }
    batch->link = link;
    batch->number = b->number;
    TAILQ_INSERT_TAIL(&link->batches, batch, line);
    link->batch_last = b->number;
    link->under_way += b->series_count;
    for (uint32_t i = 0; i < b->series_count; i++) {
        at.number += b->number_step[i];
        at.time += (uint64_t)b->time_step[i];
        if (!value_take(x, link->series[b->series[i] - 1], batch, b, &at)) {
            x->stats.memory_refused++;
            return "out of memory";
        }
    }
    return NULL;
}

static void on_batch(struct intake *x, struct link *link, const argus_Batch *b,
                     struct actions *out)
{
    const char *wrong = batch_check(link, b);

    if (wrong != NULL) {
        link_refuse(x, link, argus_RefuseCode_REFUSE_MALFORMED, wrong, out);
        return;
    }
    wrong = batch_take(x, link, b);
    if (wrong != NULL)
        link_refuse(x, link, argus_RefuseCode_REFUSE_BUSY, wrong, out);
}

/* ---------------------------------------------------------- other inputs */

static void on_release(struct intake *x, struct link *link,
                       const argus_Release *release)
{
    struct host *host = intake_host_find(link->sender, release->host);

    if (host == NULL || host->released)
        return;
    host->released = true;
    x->stats.hosts_released++;
}

void intake_on_frame(struct intake *x, uint64_t now_ms, link_id id,
                     const argus_Frame *frame, struct actions *out)
{
    struct link *link = link_find(x, id);

    begin(x, now_ms);
    if (link == NULL || x->is_frozen)
        return;
    switch (frame->which_body) {
    case argus_Frame_series_defs_tag:
        on_series_defs(x, link, &frame->body.series_defs, out);
        break;
    case argus_Frame_batch_tag:
        on_batch(x, link, &frame->body.batch, out);
        break;
    case argus_Frame_release_tag:
        on_release(x, link, &frame->body.release);
        break;
    default: return;
    }
    intake_flow_pump(x, out);
    finish(x);
}

void intake_on_seen(struct intake *x, uint64_t now_ms, const uint64_t *tokens,
                    uint32_t count, struct actions *out)
{
    begin(x, now_ms);
    if (x->is_frozen)
        return;
    for (uint32_t i = 0; i < count; i++)
        intake_flow_seen(x, tokens[i]);
    intake_flow_pump(x, out);
    finish(x);
}

void intake_on_passed(struct intake *x, uint64_t now_ms, const uint64_t *tokens,
                      uint32_t count, struct actions *out)
{
    begin(x, now_ms);
    if (x->is_frozen)
        return;
    for (uint32_t i = 0; i < count; i++)
        intake_flow_passed(x, tokens[i]);
    intake_flow_pump(x, out);
    finish(x);
}

void intake_on_progress(struct intake *x, uint64_t now_ms, uint64_t token)
{
    begin(x, now_ms);
    if (!x->is_frozen)
        intake_flow_progress(x, token);
}

void intake_on_timeout(struct intake *x, uint64_t now_ms, struct actions *out)
{
    begin(x, now_ms);
    if (x->is_frozen)
        return;
    intake_flow_timeout(x, out);
    finish(x);
}

uint64_t intake_deadline_ms(const struct intake *x)
{
    return x->is_frozen ? UINT64_MAX : intake_flow_deadline_ms(x);
}

void intake_freeze(struct intake *x)
{
    x->is_frozen = true;
}

/* ------------------------------------------------------------- questions */

static bool series_is_moved(const struct intake *x, const struct series *series)
{
    const struct sender *sender = series->sender;

    if (series->host->released)
        return true;
    return sender->link == NULL &&
           x->options.listener.is_online(x->options.listener.context,
                                         &sender->id);
}

bool intake_series_moved(const struct intake *x, const char *host,
                         const char *plugin, const char *plugin_instance,
                         const char *type, const char *type_instance)
{
    const char *const parts[5] = {host, plugin, plugin_instance, type,
                                  type_instance};
    const struct name *name;
    const struct series *series;
    struct identifier id;

    if (!identifier_make(&id, parts))
        return false;
    name = intake_name_find(x, &id);
    if (name == NULL)
        return false;
    LIST_FOREACH(series, &name->series, same)
    if (series_is_moved(x, series))
        return true;
    return false;
}

const struct intake_stats *intake_stats(const struct intake *x)
{
    return &x->stats;
}
