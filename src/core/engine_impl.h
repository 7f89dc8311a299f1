/* engine_impl.h - what the files of the engine share. Nobody else includes it.
 *   engine.c          inputs, wiring
 *   engine_bundles.c  the same for bundles, and the questions about them
 *   engine_query.c    all other questions */
#ifndef ARGUS_CORE_ENGINE_IMPL_H
#define ARGUS_CORE_ENGINE_IMPL_H

#include "core/bundle_sync.h"
#include "core/bundles.h"
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
    uint64_t event_mild;      /* below Forward */
    uint64_t event_unsealed;  /* too large to sign */
    uint64_t value_unrouted;  /* came although routing is off */
    uint64_t bundle_unsealed; /* too large to sign */
    uint64_t memory_refused;
};

/* Where engine_bundle_node() was: rows are read in order, and members are many.
 * Void after a step. */
struct bundle_cursor {
    char name[64];
    uint64_t step;
    uint32_t index;  /* of the row that was given last */
    uint32_t member; /* its place in the directory */
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
    struct bundles *bundles;
    struct bundle_sync *bundle_sync;
    struct bundle_cursor *bundle_cursor;
    uint64_t steps;

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

/* ---- engine.c */

/** Put an event of this node on the timeline. *hlc is 0 if it was refused. */
void engine_notice(struct engine *e, const argus_Event *event, bool always,
                   uint64_t *hlc, uint64_t *number);
bool engine_any_member(struct engine *e, uint32_t pick, bool live,
                       struct hyparview_peer *out);

/* ---- engine_bundles.c */
int engine_bundles_new(struct engine *e, uint64_t seed);
void engine_bundles_free(struct engine *e);
enum plumtree_verdict engine_bundles_deliver(struct engine *e, link_id from,
                                             const argus_SignedBundle *bundle);
void engine_bundles_on_push(struct engine *e, const argus_SignedBundle *bundle,
                            int *result, struct argus_error *err);
/** After a step: tell the owner if something changed. */
void engine_bundles_settle(struct engine *e);

#endif
