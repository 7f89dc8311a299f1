/* engine_impl.h - what engine.c (inputs, wiring) and engine_query.c (questions)
 * share. Nobody else includes it. */
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

/** Links of every kind at once, and accepted from one node. */
#define ENGINE_LINKS_MAX 4096
#define ENGINE_PEER_LINKS_MAX 12

struct engine_stats {
    uint64_t frame_received, frame_sent;
    uint64_t frame_misplaced; /* of a type that its kind of link never has */
    uint64_t send_dropped;    /* on a link that is closing */
    uint64_t statement_bad;   /* signature wrong or no known body */
    uint64_t event_sent, event_received;
    uint64_t event_mild;     /* below Forward */
    uint64_t event_unsealed; /* too large to sign */
    uint64_t value_unrouted; /* came although routing is off */
    uint64_t memory_refused;
};

struct engine {
    struct engine_options options; /* contacts: not kept */
    struct hlc hlc;
    struct links *links;
    struct hyparview *hyparview;
    struct plumtree *plumtree;
    struct directory *directory;
    struct timeline *timeline;
    struct spool *spool;
    struct intake *intake;
    struct router *router; /* with this node in it: for questions */

    uint64_t start_ms; /* monotonic: uptime is not the wall clock's */
    uint64_t now_ms, wall_us;
    struct actions out;    /* through engine_emit() */
    struct actions *owner; /* during a step */
    bool is_started, is_stopped;

    /* Members that changed in this step: the directory must not be asked from
     * within its own call, so what follows from it waits here. */
    struct node_id *changed;
    uint32_t changed_count, changed_room;

    struct aggregator *aggregators; /* as last told to the spool */
    uint32_t aggregators_room;
    uint64_t aggregators_stamp;
    bool aggregators_told;
    struct engine_stats stats;
};

#endif
