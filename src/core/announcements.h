/* announcements.h - messages that neighbors off the tree are yet to be told of.
 *
 * Part of plumtree.c. One list for all of them, each message once, with the
 * slots that it is for: what most messages touch stays small. The owner tells
 * all and empties the list when it is full. */
#ifndef ARGUS_CORE_ANNOUNCEMENTS_H
#define ARGUS_CORE_ANNOUNCEMENTS_H

#include "core/missing.h"

/** Ids that fit in one IHave; as in argus.options. */
#define ANNOUNCED_MAX 64

struct announcement {
    uint8_t id[CONTENT_ID_SIZE];
    struct slots to;
};

struct announcements {
    uint32_t count;
    struct announcement list[ANNOUNCED_MAX];
};

/** The list is not full. */
void announcements_add(struct announcements *a,
                       const uint8_t id[CONTENT_ID_SIZE],
                       const struct slots *to);

/** The peer has shown that it has the message. */
void announcements_drop(struct announcements *a, unsigned slot,
                        const uint8_t id[CONTENT_ID_SIZE]);

/** The neighbor is gone. */
void announcements_clear_slot(struct announcements *a, unsigned slot);

/** All that a neighbor is to be told. @return false: nothing. */
bool announcements_for(const struct announcements *a, unsigned slot,
                       argus_IHave *out);

#endif
