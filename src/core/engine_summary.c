/* engine_summary.c - what neighbors keep, compared over the link that is there:
 * only who differs opens another (core/sync.h, core/bundle_sync.h). */
#include "core/engine_impl.h"

static bool link_to(const struct engine *e, const struct node_id *neighbor,
                    link_id *out)
{
    struct membership_peer p;

    for (uint32_t i = 0; membership_active(e->membership, i, &p); i++)
        if (node_id_is_equal(&p.id, neighbor)) {
            *out = p.link;
            return true;
        }
    return false;
}

static void send_summary(struct engine *e, link_id link, uint64_t records)
{
    argus_Frame frame;
    argus_Summary *s = &frame.body.summary;

    frame.hlc = 0;
    frame.which_body = argus_Frame_summary_tag;
    s->records = records;
    s->bundles = bundle_sync_sum(e->bundle_sync);
    s->has_events = true;
    s->events = (argus_EventDigest){0};
    event_sync_summary(&e->event_sync, &s->events);
    actions_send(&e->out, link, &frame);
}

bool engine_summarize(void *context, const struct node_id *neighbor,
                      uint64_t records)
{
    struct engine *e = context;
    link_id link;

    if (!link_to(e, neighbor, &link))
        return false;
    send_summary(e, link, records);
    return true;
}

/* With the larger Retain they must compare: they are told ours. Our answer
 * cannot be answered so. */
void engine_on_summary(struct engine *e, link_id link,
                       const struct peer_info *peer, const argus_Summary *s)
{
    enum event_compared events =
        s->has_events ? event_sync_compare(&e->event_sync, &s->events)
                      : EVENT_COMPARED_SAME;

    if (!membership_is_active_link(e->membership, link))
        return;
    if (events == EVENT_COMPARED_NOT)
        send_summary(e, link, directory_sum(e->directory));
    directory_on_summary(e->directory, e->now_ms, e->wall_us, &peer->id,
                         s->records, events != EVENT_COMPARED_OTHER);
    bundle_sync_on_summary(e->bundle_sync, e->now_ms, e->wall_us, &peer->id,
                           s->bundles);
}
