/* engine_offline.c - who is gone, as it is asked and told. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/engine_impl.h"

struct offline_row {
    struct node_id id;
    uint32_t group; /* as in struct departure */
    bool is_unsure;
};

void engine_offline_free(struct engine *e)
{
    free(e->offline.rows);
    free(e->offline.groups);
    e->offline = (struct offline_view){0};
}

static void take_view(struct engine *e)
{
    struct offline_view *v = &e->offline;
    struct departures all;

    engine_offline_free(e);
    if (!directory_departures(e->directory, &all) || all.count == 0) {
        departures_free(&all);
        return;
    }
    v->rows = malloc(all.count * sizeof *v->rows);
    v->groups = malloc((all.groups_count + 1) * sizeof *v->groups);
    if (v->rows == NULL || v->groups == NULL) {
        e->stats.memory_refused++;
    } else {
        for (uint32_t i = 0; i < all.count; i++)
            v->rows[i] =
                (struct offline_row){.id = all.list[i].member->id,
                                     .group = all.list[i].group,
                                     .is_unsure = all.list[i].is_unsure};
        for (uint32_t i = 0; i < all.groups_count; i++)
            departure_group_name(&all.groups[i], v->groups[i],
                                 sizeof v->groups[i]);
        v->count = all.count;
    }
    departures_free(&all);
}

static void fill_reason(const struct member *m, argus_OfflineReply *out)
{
    argus_Report report;

    if (m->is_unheard)
        text_copy(out->reason, sizeof out->reason,
                  "known from this node's memory alone");
    else if (directory_report(m, &report))
        text_copy(out->reason, sizeof out->reason, report.reason);
}

static void fill_row(const struct engine *e, const struct offline_row *row,
                     const struct member *m, uint64_t wall_us,
                     argus_OfflineReply *out)
{
    uint64_t stated_us = (m->hlc >> 16) * 1000;

    memset(out, 0, sizeof *out);
    memcpy(out->id, m->id.bytes, NODE_ID_SIZE);
    text_copy(out->name, sizeof out->name, m->name);
    text_copy(out->address, sizeof out->address, m->address);
    text_copy(out->zone, sizeof out->zone, m->zone);
    out->state = (argus_MemberState)m->state;
    out->since_us = m->since_us;
    out->gone_us = m->gone_us;
    out->last_seen_us = directory_heard_us(m, wall_us);
    if (out->last_seen_us < stated_us)
        out->last_seen_us = stated_us;
    for (uint32_t i = 0; m->report != NULL && i < m->report->witnesses_count;
         i++)
        text_copy(out->witnesses[out->witnesses_count++],
                  sizeof out->witnesses[0],
                  directory_name(e->directory, &m->report->witnesses[i]));
    if (row->group != DEPARTURES_NO_GROUP)
        text_copy(out->group, sizeof out->group, e->offline.groups[row->group]);
    out->unsure = row->is_unsure;
    fill_reason(m, out);
}

bool engine_offline(struct engine *e, uint32_t index, uint64_t wall_us,
                    argus_OfflineReply *out)
{
    if (index == 0)
        take_view(e);
    memset(out, 0, sizeof *out); /* an empty name: it is back */
    if (index >= e->offline.count) {
        engine_offline_free(e);
        return false;
    }
    const struct offline_row *row = &e->offline.rows[index];
    const struct member *m = directory_find(e->directory, &row->id);
    if (m != NULL && (m->state == argus_MemberState_MEMBER_SUSPECT ||
                      m->state == argus_MemberState_MEMBER_OFFLINE))
        fill_row(e, row, m, wall_us, out);
    return true;
}
