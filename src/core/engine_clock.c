/* engine_clock.c - what is told of this node's clock, and asked of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/engine_impl.h"

uint64_t engine_cdtime(uint64_t wall_us)
{
    return (wall_us / 1000000 << 30) + ((wall_us % 1000000 << 30) / 1000000);
}

/* The clocks at a moment after the last step: boot time went on like the
 * monotonic clock, unless the machine slept. */
static struct clock_reading reading_at(const struct engine *e, uint64_t now_ms,
                                       uint64_t wall_us)
{
    struct clock_reading r = *overlay_reading(e->overlay);

    if (now_ms > r.now_ms) {
        r.boot_us += (now_ms - r.now_ms) * 1000;
        r.now_ms = now_ms;
    }
    r.wall_us = wall_us;
    return r;
}

uint64_t engine_time_us(const struct engine *e, uint64_t now_ms,
                        uint64_t wall_us)
{
    const struct clock_reading r = reading_at(e, now_ms, wall_us);

    return clock_time_us(overlay_clock(e->overlay), &r);
}

/* ------------------------------------------------------------- to tell */

static void announce(struct engine *e, argus_Severity severity,
                     const char *instance, const char *message)
{
    argus_Event event = argus_Event_init_zero;

    event.severity = severity;
    event.time = engine_cdtime(e->wall_us);
    text_copy(event.host, sizeof event.host, e->options.name);
    text_copy(event.plugin, sizeof event.plugin, "argus");
    text_copy(event.plugin_instance, sizeof event.plugin_instance, "clock");
    text_copy(event.type, sizeof event.type, "time_offset");
    text_copy(event.type_instance, sizeof event.type_instance, instance);
    text_copy(event.message, sizeof event.message, message);
    actions_log(&e->out,
                severity == argus_Severity_SEVERITY_OKAY ? LOG_LEVEL_NOTICE
                                                         : LOG_LEVEL_WARNING,
                "%s", message);
    if (e->is_started && !e->is_stopped)
        engine_announce(e, &event);
}

static void tell_alarm(struct engine *e, const struct clock_view *v)
{
    double off_s = (double)v->offset_us / 1e6;
    char text[256];

    text_say(text, sizeof text,
             "the clock of %.64s is %.3f s %s the median of %u other nodes' "
             "(give or take %.3f s): set it and let NTP keep it (chronyc "
             "tracking, timedatectl); until then its stamps follow the others",
             e->options.name, fabs(off_s), off_s < 0 ? "behind" : "ahead of",
             v->samples, (double)v->uncertainty_us / 1e6);
    announce(e, argus_Severity_SEVERITY_FAILURE, "alarm", text);
}

static void tell_clear(struct engine *e, const struct clock_view *v)
{
    char text[256];

    text_say(text, sizeof text,
             "the clock of %.64s is right again: %.3f s from the median of %u "
             "other nodes'",
             e->options.name, fabs((double)v->offset_us / 1e6), v->samples);
    announce(e, argus_Severity_SEVERITY_OKAY, "alarm", text);
}

static void tell_step(struct engine *e, const struct clock_view *v)
{
    double step_s = (double)v->step_us / 1e6;
    char text[256];

    text_say(
        text, sizeof text,
        "the clock of %.64s was set %s by %.3f s: if nobody meant to, look "
        "for two programs that set it, or a virtual machine that slept",
        e->options.name, step_s < 0 ? "back" : "ahead", fabs(step_s));
    announce(e, argus_Severity_SEVERITY_WARNING, "step", text);
}

/* Not for the whole mesh: machines without NTP drift, and the alarm comes when
 * it has done harm. */
static void tell_drift(struct engine *e, const struct clock_view *v)
{
    actions_log(
        &e->out, LOG_LEVEL_NOTICE,
        "the clock runs %.0f ppm too %s against the median of %u other "
        "nodes': nothing disciplines it (chronyc tracking, timedatectl)",
        fabs(v->drift_ppm), v->drift_ppm < 0 ? "slow" : "fast", v->samples);
}

static void set_record(struct engine *e, const struct clock_view *v)
{
    const argus_ClockState state = {.alarm = v->state == CLOCK_ALARMED,
                                    .offset_us = v->offset_us,
                                    .epoch = v->epoch};

    directory_set_clock(e->directory, e->now_ms, e->wall_us, &state, &e->out);
}

void engine_clock_settle(struct engine *e)
{
    unsigned news = overlay_take_clock_news(e->overlay);
    struct clock_view v;

    if (news == 0)
        return;
    clock_view(overlay_clock(e->overlay), overlay_reading(e->overlay), &v);
    set_record(e, &v);
    if (news & CLOCK_NEWS_STEP)
        tell_step(e, &v);
    if (news & CLOCK_NEWS_ALARM)
        tell_alarm(e, &v);
    if (news & CLOCK_NEWS_CLEAR)
        tell_clear(e, &v);
    if (news & CLOCK_NEWS_DRIFT)
        tell_drift(e, &v);
    if (news & CLOCK_NEWS_STEADY)
        actions_log(&e->out, LOG_LEVEL_NOTICE,
                    "the clock drifts no more against the other nodes'");
}

/* The mark on disk is of that epoch, so the hybrid clock stays as it is. */
void engine_clock_start(struct engine *e)
{
    struct clock_view v;

    if (!clock_begin_epoch(overlay_clock(e->overlay),
                           overlay_reading(e->overlay), e->options.epoch))
        return;
    clock_view(overlay_clock(e->overlay), overlay_reading(e->overlay), &v);
    set_record(e, &v);
}

/* The mark on disk goes back with the stamps: else the next start would begin
 * where the old epoch ended. */
void engine_clock_begin(struct engine *e, uint32_t epoch)
{
    struct action a = {.type = ACTION_STORE};
    struct clock_view v;

    if (!overlay_begin_epoch(e->overlay, epoch))
        return;
    e->wall_us = overlay_time_us(e->overlay);
    a.store.what = STORE_EPOCH;
    a.store.number = epoch;
    e->owner->emit(e->owner->context, &a);
    a.store.what = STORE_HLC;
    a.store.number = e->hlc->last;
    e->owner->emit(e->owner->context, &a);
    clock_view(overlay_clock(e->overlay), overlay_reading(e->overlay), &v);
    set_record(e, &v);
    actions_log(&e->out, LOG_LEVEL_NOTICE,
                "clock epoch %u begins, by order of an operator", epoch);
}

/* ----------------------------------------------------------- questions */

static const char *state_word(enum clock_state state)
{
    switch (state) {
    case CLOCK_UNMEASURED: return "unmeasured";
    case CLOCK_ALONE: return "alone";
    case CLOCK_GOOD: return "good";
    case CLOCK_DOUBTED: return "doubted";
    case CLOCK_ALARMED: break;
    }
    return "alarmed";
}

void engine_clock(const struct engine *e, uint64_t now_ms, uint64_t wall_us,
                  argus_ClockReply *out)
{
    const struct clock *c = overlay_clock(e->overlay);
    const struct clock_reading r = reading_at(e, now_ms, wall_us);
    struct clock_view v;

    clock_view(c, &r, &v);
    memset(out, 0, sizeof *out);
    out->offset_s = v.is_measured ? (double)v.offset_us / 1e6 : NAN;
    out->uncertainty_s = v.is_measured ? (double)v.uncertainty_us / 1e6 : NAN;
    out->drift_ppm = v.has_drift ? v.drift_ppm : NAN;
    out->drifting = v.is_drifting;
    out->samples = v.samples;
    text_copy(out->state, sizeof out->state, state_word(v.state));
    out->alarm = v.state == CLOCK_ALARMED;
    out->epoch = v.epoch;
    out->step_s = (double)v.step_us / 1e6;
    out->step_count = clock_stats(c)->step_seen;
}

bool engine_clock_node(const struct engine *e, uint32_t *index,
                       argus_ClockNodeReply *out)
{
    const struct member *m;
    static argus_NodeRecord record; /* large; one thread owns all engines */

    for (; (m = directory_member(e->directory, *index)) != NULL; ++*index)
        if (m->has_clock_alarm && directory_record(m, &record))
            break;
    if (m == NULL)
        return false;
    memset(out, 0, sizeof *out);
    text_copy(out->name, sizeof out->name, m->name);
    memcpy(out->id, m->id.bytes, NODE_ID_SIZE);
    out->state = (argus_MemberState)m->state;
    out->offset_s = (double)record.clock.offset_us / 1e6;
    out->epoch = record.clock.epoch;
    return true;
}
