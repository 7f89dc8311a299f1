/* engine_publishers.c - what is published here, and what others say they do. */
#include <string.h>

#include "base/text.h"
#include "core/engine_impl.h"

/** Rows from here on are of members, by their index. */
#define MEMBERS_FROM (2 * PUBLISHERS_MAX)

/* ------------------------------------------------------------- to tell */

static void say(void *context, enum publishers_news news, const char *text)
{
    static const char *const instances[] = {"stopped", "back", "flapping"};
    struct engine *e = context;
    argus_Event event = argus_Event_init_zero;
    bool is_good = news == PUBLISHERS_BACK;

    event.severity = is_good ? argus_Severity_SEVERITY_OKAY
                             : argus_Severity_SEVERITY_WARNING;
    event.time = engine_cdtime(e->wall_us);
    text_copy(event.host, sizeof event.host, e->options.name);
    text_copy(event.plugin, sizeof event.plugin, "argus");
    text_copy(event.plugin_instance, sizeof event.plugin_instance,
              "publishers");
    text_copy(event.type, sizeof event.type, "count");
    text_copy(event.type_instance, sizeof event.type_instance, instances[news]);
    text_copy(event.message, sizeof event.message, text);
    actions_log(&e->out, is_good ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING, "%s",
                text);
    if (e->is_started && !e->is_stopped)
        engine_announce(e, &event);
}

int engine_publishers_new(struct engine *e)
{
    const struct publishers_listener listener = {.context = e, .say = say};

    return publishers_new(&listener, &e->publishers);
}

void engine_publishers_on_values(struct engine *e,
                                 const struct value_input *values,
                                 uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        publishers_on_value(e->publishers, e->now_ms, e->wall_us, &values[i]);
}

/* The record keeps up with the rates, so that it is right whenever it is
 * published; it is published for what is news alone. */
void engine_publishers_on_timeout(struct engine *e)
{
    uint8_t digest[DIGEST_SIZE_MAX];
    uint32_t missing;

    if (!publishers_on_timeout(e->publishers, e->now_ms))
        return;
    bool is_news = publishers_news(e->publishers, e->now_ms,
                                   directory_members(e->directory));
    size_t size = publishers_digest(e->publishers, e->options.name,
                                    e->options.started_ms, digest, &missing);
    directory_set_publishers(e->directory, e->now_ms, e->wall_us, digest, size,
                             publishers_count(e->publishers), missing, is_news,
                             &e->out);
}

/* ----------------------------------------------------------- questions */

static bool own_row(struct engine *e, uint32_t index, uint64_t wall_us,
                    argus_PublisherReply *out)
{
    struct digest_entry entry;
    uint64_t last_us;

    if (!publishers_get(e->publishers, index, &entry, &last_us))
        return false;
    memset(out, 0, sizeof *out);
    memcpy(out->id, e->options.id.bytes, NODE_ID_SIZE);
    text_copy(out->node, sizeof out->node, e->options.name);
    out->state = argus_MemberState_MEMBER_ONLINE;
    out->started_ms = e->options.started_ms;
    out->stated_us = out->heard_us = wall_us;
    out->live = true;
    text_copy(out->host, sizeof out->host, entry.host);
    text_copy(out->plugin, sizeof out->plugin, entry.plugin);
    text_copy(out->plugin_instance, sizeof out->plugin_instance,
              entry.plugin_instance);
    text_copy(out->app, sizeof out->app, entry.app);
    out->since_us = entry.since_us;
    out->last_us = last_us;
    out->rate = entry.rate;
    out->silent = entry.silent_us != 0;
    return true;
}

static bool is_there(const struct member *m)
{
    return m->state == argus_MemberState_MEMBER_ONLINE ||
           m->state == argus_MemberState_MEMBER_SUSPECT;
}

static bool member_row(const struct member *m, uint64_t wall_us,
                       argus_PublisherReply *out)
{
    size_t size;

    if (m->is_self || !is_there(m))
        return false;
    const uint8_t *digest = directory_publishers(m, &size);
    if (size == 0 || size > sizeof out->publishers.bytes)
        return false;
    memset(out, 0, sizeof *out);
    memcpy(out->id, m->id.bytes, NODE_ID_SIZE);
    text_copy(out->node, sizeof out->node, m->name);
    out->state = (argus_MemberState)m->state;
    out->started_ms = m->started_ms;
    out->stated_us = (m->hlc >> 16) * 1000;
    out->heard_us = directory_heard_us(m, wall_us);
    memcpy(out->publishers.bytes, digest, size);
    out->publishers.size = (pb_size_t)size;
    return true;
}

bool engine_publisher(struct engine *e, uint32_t *index, uint64_t wall_us,
                      argus_PublisherReply *out)
{
    const struct member *m;

    if (*index < MEMBERS_FROM && own_row(e, *index, wall_us, out))
        return true;
    if (*index < MEMBERS_FROM)
        *index = MEMBERS_FROM;
    while ((m = directory_member(e->directory, *index - MEMBERS_FROM)) !=
           NULL) {
        if (member_row(m, wall_us, out))
            return true;
        ++*index;
    }
    return false;
}

void engine_publishers_coverage(const struct engine *e, uint64_t wall_us,
                                argus_Coverage *out)
{
    const struct member *m;

    engine_coverage(e, wall_us, out);
    for (uint32_t i = 0; (m = directory_member(e->directory, i)) != NULL; i++) {
        if (m->is_self || !is_there(m) || m->publishers_missing == 0)
            continue;
        out->publishers_missing += m->publishers_missing;
        out->contributed--;
    }
}
