/* timeline_own.c - events of this node: their rate, and what is said of those
 * that were too many. See timeline.h. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "core/timeline_impl.h"

/* @param spare  so many more must be there. */
static bool take_token(struct timeline *t, uint64_t now_ms, uint32_t spare)
{
    uint32_t rate = t->options.event_rate, burst = rate * TIMELINE_BURST_S;

    bucket_settle(&t->tokens, now_ms, rate);
    return bucket_has(&t->tokens, burst, 1 + spare) &&
           bucket_take(&t->tokens, now_ms, rate, burst, 1);
}

/* The next token is for the summary then: in a flood that goes on it would
 * never get one. */
static bool is_summary_due(const struct timeline *t, uint64_t now_ms)
{
    return t->suppressed.count > 0 &&
           now_ms >= t->suppressed.first_ms + TIMELINE_SUMMARY_MS;
}

static const char *severity_word(argus_Severity s)
{
    return s == argus_Severity_SEVERITY_FAILURE   ? "FAILURE"
           : s == argus_Severity_SEVERITY_WARNING ? "WARNING"
                                                  : "OKAY";
}

/* "cpu/load WARNING" */
static void count_kind(struct suppressed *s, const argus_Event *event)
{
    char name[KIND_SIZE];
    uint32_t i = 0;

    text_say(name, sizeof name, "%.24s%s%.24s %s", event->plugin,
             event->plugin[0] != '\0' && event->type[0] != '\0' ? "/" : "",
             event->type, severity_word(event->severity));
    while (i < s->kinds_count && strcmp(s->kinds[i].name, name) != 0)
        i++;
    if (i == KINDS_MAX) {
        s->others++;
        return;
    }
    if (i == s->kinds_count) {
        text_copy(s->kinds[i].name, sizeof s->kinds[i].name, name);
        s->kinds_count++;
    }
    s->kinds[i].count++;
}

static void suppress(struct timeline *t, uint64_t now_ms, uint64_t wall_us,
                     const argus_Event *event)
{
    struct suppressed *s = &t->suppressed;

    t->stats.event_limited++;
    if (s->count++ == 0) {
        s->first_ms = now_ms;
        s->from_us = wall_us;
        s->worst = event->severity;
    }
    s->to_us = wall_us;
    if (event->severity < s->worst)
        s->worst = event->severity;
    count_kind(s, event);
}

static void stamp(struct timeline *t, struct hlc *h, uint64_t wall_us,
                  argus_Event *event)
{
    event->generation = t->options.generation;
    event->number = ++t->own_number;
    event->hlc = hlc_stamp(h, wall_us);
    event->parents_count = heads_name(t, event->parents);
}

bool timeline_stamp_own(struct timeline *t, struct hlc *h, uint64_t now_ms,
                        uint64_t wall_us, argus_Event *event)
{
    if (!take_token(t, now_ms, is_summary_due(t, now_ms))) {
        suppress(t, now_ms, wall_us, event);
        return false;
    }
    stamp(t, h, wall_us, event);
    return true;
}

static void say(const struct suppressed *s, char *out, size_t size)
{
    char from[32], to[32];

    text_time(from, sizeof from, s->from_us);
    text_time(to, sizeof to, s->to_us);
    text_say(out, size,
             "%" PRIu64 " event%s suppressed by RateLimit, from %s to %s",
             s->count, s->count == 1 ? "" : "s", from, to);
    for (uint32_t i = 0; i < s->kinds_count; i++) {
        size_t used = strlen(out);
        text_say(out + used, size - used, "%s %" PRIu64 " %s",
                 i == 0 ? ":" : ",", s->kinds[i].count, s->kinds[i].name);
    }
    size_t used = strlen(out);
    if (s->others > 0)
        text_say(out + used, size - used, ", %" PRIu64 " of other kinds",
                 s->others);
}

bool timeline_summary(struct timeline *t, struct hlc *h, uint64_t now_ms,
                      uint64_t wall_us, argus_Event *event)
{
    struct suppressed *s = &t->suppressed;

    if (!is_summary_due(t, now_ms) || !take_token(t, now_ms, 0))
        return false;
    event->severity = s->worst;
    text_copy(event->plugin_instance, sizeof event->plugin_instance, "events");
    text_copy(event->type, sizeof event->type, "count");
    text_copy(event->type_instance, sizeof event->type_instance, "suppressed");
    say(s, event->message, sizeof event->message);
    *s = (struct suppressed){0};
    t->stats.event_summaries++;
    stamp(t, h, wall_us, event);
    return true;
}

uint64_t timeline_deadline_ms(const struct timeline *t)
{
    uint32_t rate = t->options.event_rate;
    uint64_t full_milli = rate * (uint64_t)TIMELINE_BURST_S * 1000;
    uint64_t token_ms = t->tokens.at_ms;

    if (t->suppressed.count == 0)
        return UINT64_MAX;
    if (t->tokens.used_milli + 1000ull > full_milli) {
        uint64_t missing = t->tokens.used_milli + 1000ull - full_milli;
        token_ms += (missing + rate - 1) / rate;
    }
    uint64_t due_ms = t->suppressed.first_ms + TIMELINE_SUMMARY_MS;
    return token_ms > due_ms ? token_ms : due_ms;
}
