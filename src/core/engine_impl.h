/* engine_impl.h - what engine.c and engine_query.c share. */
#ifndef ARGUS_CORE_ENGINE_IMPL_H
#define ARGUS_CORE_ENGINE_IMPL_H

#include "core/directory.h"
#include "core/engine.h"
#include "core/hlc.h"
#include "core/hyparview.h"
#include "core/intake.h"
#include "core/links.h"
#include "core/plumtree.h"
#include "core/router.h"
#include "core/spool.h"
#include "core/timeline.h"

struct engine_stats {
    uint64_t notice_broadcast;
    uint64_t notice_kept;     /* milder than Forward: not for the mesh */
    uint64_t event_received;
    uint64_t event_malformed; /* well signed, but nothing an honest node sends */
    uint64_t send_dropped;    /* on a link that was closed in the meantime */
};

struct engine {
    struct engine_options options; /* contacts not kept: hyparview's */
    struct engine_stats stats;
    struct hlc hlc;
    struct links *links;
    struct hyparview *hyparview;
    struct plumtree *plumtree;
    struct directory *directory;
    struct timeline *timeline;
    struct spool *spool;
    struct intake *intake;

    struct router *router; /* all aggregators, this node too: for questions */
    struct aggregator *aggregators; /* scratch for the two routers */
    uint32_t aggregators_room;
    uint64_t aggregators_stamp; /* of the list the routers have */

    /* of the step in progress */
    uint64_t now_ms, wall_us;
    struct actions *out; /* the owner's */
    struct actions sink; /* ours: stamps and checks, then the owner's */
    argus_Statement statement; /* scratch */
    uint8_t sealed[SEALED_SIZE_MAX];

    uint64_t start_ms;
};

/** Word for an argus_MemberState, as users read it. */
const char *engine_state_text(uint8_t state);

#endif
