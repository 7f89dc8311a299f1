#include "core/announcements.h"

#include <assert.h>
#include <string.h>

void announcements_add(struct announcements *a,
                       const uint8_t id[CONTENT_ID_SIZE],
                       const struct slots *to)
{
    assert(a->count < ANNOUNCED_MAX);
    struct announcement *one = &a->list[a->count++];

    memcpy(one->id, id, CONTENT_ID_SIZE);
    one->to = *to;
}

void announcements_drop(struct announcements *a, unsigned slot,
                        const uint8_t id[CONTENT_ID_SIZE])
{
    for (uint32_t i = 0; i < a->count; i++)
        if (memcmp(a->list[i].id, id, CONTENT_ID_SIZE) == 0)
            slots_remove(&a->list[i].to, slot);
}

void announcements_clear_slot(struct announcements *a, unsigned slot)
{
    for (uint32_t i = 0; i < a->count; i++)
        slots_remove(&a->list[i].to, slot);
}

bool announcements_for(const struct announcements *a, unsigned slot,
                       argus_IHave *out)
{
    out->announced_count = 0;
    for (uint32_t i = 0; i < a->count; i++)
        if (slots_has(&a->list[i].to, slot))
            memcpy(out->announced[out->announced_count++].id, a->list[i].id,
                   CONTENT_ID_SIZE);
    return out->announced_count > 0;
}
