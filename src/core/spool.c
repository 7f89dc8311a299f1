#include "core/spool_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/status.h"

int spool_new(const struct spool_options *options, struct spool **out)
{
    if (options->describe == NULL || options->zone == NULL)
        return ARGUS_EINVAL;

    struct spool *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ARGUS_ENOMEM;
    if (router_new(options->zone, &s->router) != ARGUS_OK) {
        free(s);
        return ARGUS_ENOMEM;
    }
    prng_seed(&s->prng, options->seed);
    s->number_base = (uint64_t)(options->generation & 0xffffff) << 40;
    s->bytes_max = options->bytes_max;
    s->series_max =
        options->series_max != 0 ? options->series_max : SPOOL_SERIES_MAX;
    s->write_order_known = options->write_order_known;
    s->describe = options->describe;
    s->held_ms = UINT64_MAX;
    s->epoch = 1; /* lanes begin with 0: they have not chosen yet */
    TAILQ_INIT(&s->ages);
    TAILQ_INIT(&s->used);
    TAILQ_INIT(&s->held);
    *out = s;
    return ARGUS_OK;
}

void spool_free(struct spool *s)
{
    struct target *t;

    if (s == NULL)
        return;
    for (t = s->targets; t != NULL; t = t->hh.next)
        spool_target_lost(s, t, false);
    while (!TAILQ_EMPTY(&s->ages))
        spool_value_drop_oldest(s);
    spool_series_free_all(s);
    spool_targets_free_all(s);
    free(s->scratch);
    pool_close(&s->pool);
    router_free(s->router);
    free(s);
}

static void begin(struct spool *s, uint64_t now_ms)
{
    assert(now_ms >= s->now_ms);
    s->now_ms = now_ms;
}

/* Every input ends here: lanes may have come free. */
static void finish(struct spool *s, struct actions *out)
{
    spool_lanes_wake(s, out);
    for (struct target *t = s->targets; t != NULL; t = t->hh.next)
        spool_target_pump(s, t, out);
    s->stats.bytes = s->pool.used;
}

void spool_on_aggregators(struct spool *s, uint64_t now_ms,
                          const struct aggregator *list, uint32_t count,
                          struct actions *out)
{
    begin(s, now_ms);
    int rc = router_set(s->router, list, count);
    if (rc == ARGUS_EFULL)
        s->stats.aggregators_cut++;
    if (rc == ARGUS_ENOMEM)
        s->stats.memory_refused++;
    (void)spool_targets_list(s);
    spool_lanes_reconsider(s, out);
    spool_targets_forget(s);
    finish(s, out);
}

void spool_on_values(struct spool *s, uint64_t now_ms,
                     const struct value_input *values, uint32_t count,
                     struct actions *out)
{
    begin(s, now_ms);
    if (s->scratch == NULL)
        s->scratch = calloc(1, sizeof *s->scratch);
    if (s->scratch == NULL) {
        s->stats.memory_refused++;
        s->stats.values_refused += count;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct series *series = spool_series_of(s, &values[i]);
        if (series == NULL || !spool_lane_add(s, series, &values[i])) {
            s->stats.values_refused++;
            continue;
        }
        s->stats.values_queued++;
        if (series->lane->state == LANE_RESTS)
            spool_lane_update(s, series->lane, out);
        while (s->pool.used > s->bytes_max && !TAILQ_EMPTY(&s->ages))
            spool_value_drop_oldest(s);
    }
    finish(s, out);
}

void spool_on_link_up(struct spool *s, uint64_t now_ms, link_id link,
                      dial_id dial, const struct peer_info *peer,
                      struct actions *out)
{
    struct target *t = spool_target_find(s, &peer->id);

    begin(s, now_ms);
    if (t == NULL || t->dial != dial || dial == 0) {
        actions_close(out, link, argus_RefuseCode_REFUSE_BYE,
                      "no longer needed");
        return;
    }
    spool_target_up(s, t, link);
    spool_lanes_reconsider(s, out);
    finish(s, out);
}

void spool_on_link_down(struct spool *s, uint64_t now_ms, link_id link,
                        enum link_end why, argus_RefuseCode code,
                        struct actions *out)
{
    struct target *t = link == 0 ? NULL : spool_target_of_link(s, link);

    (void)why;
    (void)code;
    begin(s, now_ms);
    if (t == NULL) /* not ours, or we closed it */
        return;
    spool_target_lost(s, t, true);
    spool_lanes_reconsider(s, out);
    spool_targets_forget(s);
    finish(s, out);
}

void spool_on_dial_failed(struct spool *s, uint64_t now_ms, dial_id dial,
                          enum link_end why, argus_RefuseCode code,
                          struct actions *out)
{
    struct target *t = s->targets;

    (void)why;
    (void)code;
    begin(s, now_ms);
    while (t != NULL && (dial == 0 || t->dial != dial))
        t = t->hh.next;
    if (t == NULL)
        return;
    spool_target_lost(s, t, true);
    spool_lanes_reconsider(s, out);
    spool_targets_forget(s);
    finish(s, out);
}

void spool_on_frame(struct spool *s, uint64_t now_ms, link_id link,
                    const argus_Frame *frame, struct actions *out)
{
    struct target *t = link == 0 ? NULL : spool_target_of_link(s, link);

    begin(s, now_ms);
    if (t == NULL || frame->which_body != argus_Frame_ack_tag)
        return;
    spool_target_ack(s, t, &frame->body.ack, out);
    finish(s, out);
}

void spool_on_drained(struct spool *s, uint64_t now_ms, link_id link,
                      struct actions *out)
{
    struct target *t = link == 0 ? NULL : spool_target_of_link(s, link);

    begin(s, now_ms);
    if (t == NULL)
        return;
    t->bytes /= 2; /* at least that much has left the queue */
    finish(s, out);
}

void spool_on_timeout(struct spool *s, uint64_t now_ms, struct actions *out)
{
    bool changed = false;

    begin(s, now_ms);
    for (struct target *t = s->targets; t != NULL; t = t->hh.next)
        changed = spool_target_timeout(s, t, out) || changed;
    if (changed)
        spool_lanes_reconsider(s, out);
    spool_targets_forget(s);
    finish(s, out);
}

uint64_t spool_deadline_ms(const struct spool *s)
{
    uint64_t due = TAILQ_EMPTY(&s->held) ? UINT64_MAX : s->held_ms;

    for (const struct target *t = s->targets; t != NULL; t = t->hh.next) {
        uint64_t mine = spool_target_deadline_ms(t);
        if (mine < due)
            due = mine;
    }
    return due;
}

void spool_flush(struct spool *s, uint64_t now_ms, struct actions *out)
{
    begin(s, now_ms);
    s->flushing = true;
    finish(s, out);
}

uint64_t spool_pending(const struct spool *s)
{
    return s->stats.values;
}

const struct router *spool_router(const struct spool *s)
{
    return s->router;
}

bool spool_is_in_use(const struct spool *s, const char *host,
                     const struct node_id *aggregator)
{
    const struct target *t = spool_target_find(s, aggregator);
    struct lane *lane;

    HASH_FIND(hh, s->lanes, host, (unsigned)strlen(host) + 1, lane);
    return t != NULL && lane != NULL && t->link != 0 &&
           (lane->at == t || (lane->at == NULL && lane->to == t));
}

bool spool_can_send(const struct spool *s)
{
    for (const struct target *t = s->targets; t != NULL; t = t->hh.next)
        if (t->link != 0 || t->dial != 0)
            return true;
    return false;
}

bool spool_has_link(const struct spool *s, const struct node_id *aggregator)
{
    const struct target *t = spool_target_find(s, aggregator);

    return t != NULL && t->link != 0;
}

const struct spool_stats *spool_stats(const struct spool *s)
{
    return &s->stats;
}
