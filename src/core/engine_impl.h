/* engine_impl.h - what the files of the engine share. Nobody else includes it.
 *   engine.c          inputs, wiring
 *   engine_events.c   events, and what is kept of them
 *   engine_alarms.c   what collectd is told of nodes that go and come
 *   engine_clock.c    what is told of this node's clock, and asked of it
 *   engine_bundles.c  the same for bundles, and the questions about them
 *   engine_insiders.c  what insiders may not do: rates, quarantine
 *   engine_offline.c  who is gone
 *   engine_orders.c   the same for orders of operators
 *   engine_publishers.c  what is published here and elsewhere
 *   engine_summary.c  what neighbors keep, compared
 *   engine_query.c    all other questions */
#ifndef ARGUS_CORE_ENGINE_IMPL_H
#define ARGUS_CORE_ENGINE_IMPL_H

#include "base/zone.h"
#include "core/bundle_sync.h"
#include "core/bundles.h"
#include "core/directory.h"
#include "core/engine.h"
#include "core/event_sync.h"
#include "core/intake.h"
#include "core/origins.h"
#include "core/overlay.h"
#include "core/publishers.h"
#include "core/quarantine.h"
#include "core/reach.h"
#include "core/router.h"
#include "core/spool.h"
#include "core/timeline.h"

struct engine_stats {
    uint64_t statement_bad; /* signature wrong or no known body */
    uint64_t event_sent, event_received;
    uint64_t event_learned;   /* by anti-entropy */
    uint64_t event_unread;    /* a row on disk that is damaged */
    uint64_t event_mild;      /* below Forward */
    uint64_t event_unsealed;  /* too large to sign */
    uint64_t bundle_unsealed; /* too large to sign */
    uint64_t memory_refused;
    uint64_t statement_limited;     /* over the rate of its author */
    uint64_t statement_quarantined; /* by an author in quarantine */
    uint64_t quarantine_link_refused, quarantine_dial_refused;
    uint64_t log_held; /* lines that were too many */
};

/** Dials refused here in one step; beyond, the other end is refused. */
#define INSIDERS_DIALS_MAX 64
#define INSIDERS_PENDING_MAX 8

/* Of engine_insiders.c. */
struct insiders {
    struct quarantine quarantine;
    struct origins origins;
    struct bucket lines[2]; /* of the log: warnings, others */
    dial_id
        dials[INSIDERS_DIALS_MAX]; /* refused, to be told so after the step */
    uint32_t dials_count;
    struct peer_info
        pending[INSIDERS_PENDING_MAX]; /* struck out in this step */
    uint32_t pending_count;
};

/* A broadcast between insiders_admit() and insiders_judge(). */
struct guarded {
    link_id from;
    struct node_id author;
    enum origin_kind kind;
    bool is_settled; /* dropped at once */
};

/* Where engine_bundle_node() was: rows are read in order, and members are many.
 * Void after a step. */
struct bundle_cursor {
    char name[64];
    uint64_t step;
    uint32_t index;  /* of the row that was given last */
    uint32_t member; /* its place in the directory */
};

/** Nodes that go and come; see engine_alarms.c. */
#define ALARMS_FLAPS 3
#define ALARMS_FLAP_MS 600000u

struct alarms {
    struct alarm *table; /* nodes that went not long ago */
    uint64_t due_ms;     /* UINT64_MAX: nothing is to be told */
    uint64_t hold_ms;    /* not later than */
    uint64_t sweep_ms;
};

/* Another node of our name, online. */
struct namesake {
    struct node_id id;
    uint64_t due_ms; /* UINT64_MAX: there is none, or it was told of */
};

/* What engine_offline() reads on from: members come and go between two rows. */
struct offline_view {
    struct offline_row *rows;
    uint32_t count;
    char (*groups)[128];
};

/** Events wait no longer than that to share a signature. */
#define EVENT_BATCH_MS 10

/* Own events that have their stamp and no signature yet. */
struct own_batch {
    struct seal_part parts[SEAL_BATCH_MAX];
    bool always[SEAL_BATCH_MAX];
    uint32_t count;
    uint64_t signed_ms; /* the last signature */
};

struct engine {
    struct engine_options options; /* contacts: not kept */
    struct overlay *overlay;
    struct links *links; /* of the overlay, as are the next three */
    struct membership *membership;
    struct plumtree *plumtree;
    struct hlc *hlc;
    struct directory *directory;
    struct timeline *timeline;
    struct event_sync event_sync; /* between timelines */
    struct own_batch batch;
    struct publishers *publishers;
    struct spool *spool;
    struct intake *intake;
    struct router *router; /* with this node in it: for questions */
    struct bundles *bundles;
    struct bundle_sync *bundle_sync;
    struct bundle_cursor *bundle_cursor;
    struct offline_view offline;
    struct alarms alarms;
    struct namesake namesake;
    struct insiders insiders;
    struct reach reach;
    uint64_t steps;

    uint64_t start_ms; /* monotonic: uptime is not the wall clock's */
    uint64_t now_ms, wall_us;
    struct actions out;    /* the overlay's, then engine_emit() */
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

bool engine_any_member(struct engine *e, uint32_t pick,
                       struct membership_wish wish,
                       struct membership_peer *out);
void engine_on_dial_failed(struct engine *e, dial_id dial, enum link_end why,
                           argus_RefuseCode code);

/* ---- engine_insiders.c */
void insiders_open(struct engine *e);
void insiders_close(struct engine *e);

/** A peer used up its budget; called at the door, no part is at work. */
void insiders_on_flood(struct engine *e, const struct peer_info *peer);

/** The peer of a link broke a rule, and the link is being closed for it. */
void insiders_strike(struct engine *e, link_id link);

/** @return false: the peer is in quarantine, its link was closed. */
bool insiders_on_link_up(struct engine *e, link_id link, dial_id dial,
                         const struct peer_info *peer);
/** @return false: to a node in quarantine; it fails after this step. */
bool insiders_on_dial(struct engine *e, dial_id dial,
                      const struct node_id *expected);
/** @return false: there were too many lines. */
bool insiders_on_log(struct engine *e, enum log_level level);
/** Is a broadcast to be believed? It was opened before. false: no further. */
bool insiders_admit(struct engine *e, link_id from, const argus_Statement *s,
                    const struct node_id *author, struct guarded *out);
/** What became of it. */
void insiders_judge(struct engine *e, const struct guarded *g,
                    enum plumtree_verdict verdict);

void insiders_on_timeout(struct engine *e);
/** Last in each step: what could not be done from within the parts. */
void insiders_settle(struct engine *e);
uint64_t insiders_deadline_ms(const struct engine *e);
void insiders_status(const struct engine *e, argus_StatusReply *out);

/* ---- engine_bundles.c */
int engine_bundles_new(struct engine *e, uint64_t seed);
void engine_bundles_free(struct engine *e);
enum plumtree_verdict engine_bundles_deliver(struct engine *e, link_id from,
                                             const argus_SignedBundle *bundle);
/** The events about bundles, orders and keys. */
void engine_bundles_on_event(struct engine *e, const struct event *event);
/** After a step: tell the owner if something changed. */
void engine_bundles_settle(struct engine *e);

/* ---- engine_events.c */

/** Of an event that comes by anti-entropy, collectd is told only if it is no
 *  older than that, and no older than this node. */
#define ENGINE_ALARM_AGE_MS 3600000u

int engine_events_new(struct engine *e);
/** From disk. */
void engine_events_load(struct engine *e, const uint8_t *row, size_t size);
enum plumtree_verdict engine_events_deliver(struct engine *e,
                                            const uint8_t *payload, size_t size,
                                            const argus_Event *event,
                                            const struct node_id *author);

/** Put an event of this node on the timeline. *hlc is 0 if it was refused. */
void engine_notice(struct engine *e, const argus_Event *event, bool always,
                   uint64_t *hlc, uint64_t *number);
/** The same, to everyone and here too: collectd knows nothing of it yet. */
void engine_announce(struct engine *e, const argus_Event *event);
void engine_events_on_timeout(struct engine *e);
uint64_t engine_events_deadline_ms(const struct engine *e);
/** What waits for a signature gets it now. */
void engine_events_settle(struct engine *e);
void engine_events_free(struct engine *e);

/** As directory_listener wants it. */
void engine_events_begin(void *context, struct event_session *session,
                         link_id link, struct actions *out);
enum event_step engine_events_frame(void *context,
                                    struct event_session *session, link_id link,
                                    const argus_Frame *frame,
                                    struct actions *out);

/* ---- engine_clock.c */

/** After the event of a step: tell what the clock found out. */
void engine_clock_settle(struct engine *e);
/** The epoch that the disk knows of goes on. */
void engine_clock_start(struct engine *e);
/** An order begins an epoch. */
void engine_clock_begin(struct engine *e, uint32_t epoch);
uint64_t engine_cdtime(uint64_t wall_us);
/** What a stamp would be made of at that time; see overlay_time_us(). */
uint64_t engine_time_us(const struct engine *e, uint64_t now_ms,
                        uint64_t wall_us);

/* ---- engine_alarms.c */
void engine_alarms_open(struct engine *e);
void engine_alarms_free(struct engine *e);
void engine_alarms_on_change(struct engine *e, const struct member *m,
                             argus_MemberState old_state);
void engine_alarms_forget(struct engine *e, const struct node_id *id);
/** A record or state of another node is new. */
void engine_namesake_on_change(struct engine *e, const struct member *m);
void engine_alarms_on_timeout(struct engine *e);
uint64_t engine_alarms_deadline_ms(const struct engine *e);

/* ---- engine_offline.c */
void engine_offline_free(struct engine *e);

/* ---- engine_summary.c */
/** As directory_listener wants it. */
bool engine_summarize(void *context, const struct node_id *neighbor,
                      uint64_t records);
void engine_on_summary(struct engine *e, link_id link,
                       const struct peer_info *peer, const argus_Summary *s);

/* ---- engine_publishers.c */
int engine_publishers_new(struct engine *e);
void engine_publishers_on_values(struct engine *e,
                                 const struct value_input *values,
                                 uint32_t count);
void engine_publishers_on_timeout(struct engine *e);

/* ---- engine_orders.c */

/** May that order be given, by what is known of the nodes?
 *  @retval ARGUS_EDENIED  err names who stands in the way. */
int engine_orders_check(const struct engine *e, const argus_Manifest *m,
                        struct argus_error *err);

/** After the event of a step: follow the orders that came in force. */
void engine_orders_obey(struct engine *e);

#endif
