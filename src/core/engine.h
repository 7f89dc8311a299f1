/* engine.h - the one door of the core: events and time in, actions out.
 *
 * Pure and single-threaded: no socket, file, clock, thread or rand behind it.
 * The same options and the same events give the same actions. It wires
 *   links      what is connected, pings, silence
 *   membership  active and passive view
 *   plumtree   broadcast
 *   directory  who is in the mesh and how they are; anti-entropy
 *   timeline   events in HLC order
 *   spool      values that wait for an aggregator; router picks it
 *   intake     values from agents on their way into collectd
 *   bundles    signed configuration: versions, chunks, who has what; orders of
 *              operators, which travel the same way
 * A part never calls another: the engine carries what one tells to the next. */
#ifndef ARGUS_CORE_ENGINE_H
#define ARGUS_CORE_ENGINE_H

#include "core/actions.h"
#include "core/content.h"
#include "core/intake.h"
#include "core/membership.h"
#include "core/orders.h"
#include "core/peer.h"
#include "core/seal.h"
#include "core/timeline.h"

struct engine;

/* What a node is told about itself at start. Copied by engine_new(). */
struct engine_options {
    uint64_t seed; /* of the random numbers */
    struct seal seal;
    value_describe describe;

    struct node_id id;
    uint32_t generation; /* bumped by the owner at each start */
    uint64_t instance;   /* random at each start */
    uint64_t started_ms; /* wall clock */
    uint64_t hlc_mark;   /* greatest stamp of our own on disk; 0: none */
    char name[128];
    char address[ADDRESS_SIZE]; /* ":port" until the host part is learned */
    argus_Role role;
    char zone[128];
    argus_Tag tags[16];
    uint32_t tags_count;
    float weight;
    char software[32];

    const char *const *contacts; /* Seeds, addresses; tried for ever */
    uint32_t contacts_count;

    bool calls;           /* see membership.h */
    bool checks_address;  /* ask neighbors to dial it; see reach.h */
    uint16_t listen_port; /* 0: not known */
    enum membership_strategy strategy;
    bool zone_bias; /* see membership.h */
    uint32_t active_max;
    uint32_t passive_max; /* 0: everyone known */
    uint32_t shuffle_ms;
    uint32_t ping_ms;
    uint32_t suspect_ms;
    uint32_t retain_offline_s;

    bool route;             /* send values to aggregators */
    bool write_order_known; /* one write thread: values arrive in order */
    uint64_t spool_bytes_max;
    uint32_t intake_queue_max; /* values in collectd's queue not yet seen */
    uint32_t redispatch_max;   /* see intake.h */
    struct intake_threads threads;

    uint32_t clock_max_offset_ms;
    uint32_t clock_alarm_ms; /* 0: CLOCK_ALARM_MS */
    uint32_t epoch;          /* of the clock, on disk; 0: none was begun */
    argus_Severity forward;  /* mildest severity that is broadcast */
    uint32_t retain_events;
    uint32_t event_rate; /* events a second; burst ten times that */
    uint64_t born_ms;    /* wall clock at the first start of all; 0: unknown */

    struct chunk_store chunks;
    const uint8_t (*trusted_keys)[32]; /* copied */
    uint32_t trusted_keys_count;       /* 0: nothing is ever trusted; at most
                                        * BUNDLES_KEYS_MAX */
    uint64_t bundle_size_max;          /* bytes of content of one bundle */
};

enum event_type {
    EVENT_START, /* once, first */
    EVENT_TIMEOUT,
    EVENT_LINK_UP, /* a dial or an accept got through its Hellos */
    EVENT_LINK_DOWN,
    EVENT_DIAL_FAILED,
    EVENT_FRAME,        /* a frame arrived; Hello and Refuse never do */
    EVENT_LINK_DRAINED, /* the send queue of a link fell below half its bound */
    EVENT_VALUES,       /* from the write callback */
    EVENT_SEEN,         /* dispatched values that the write callback saw */
    EVENT_PASSED,       /* dispatched values that passed by it; see intake.h */
    EVENT_PROGRESS,     /* collectd's queue moved on */
    EVENT_NOTICE,       /* a local notification, or argusctl notify */
    EVENT_SETTLE,       /* somebody asks for events: engine_is_settled() */
    EVENT_RECORD,       /* from disk, before START: a packed Signed */
    EVENT_EVENT_ROW,    /* from disk, before START: as STORE_EVENT wrote it */
    EVENT_ADDRESS,      /* from disk, before START: where a node was reached */
    EVENT_OBSERVED,     /* a peer says at which host it sees us */
    EVENT_CALL,         /* a node calls on the local network */
    EVENT_JOIN,         /* argusctl join */
    EVENT_LEAVE,        /* argusctl leave */
    EVENT_BUNDLE_ROW,   /* from disk, before START: a packed SignedBundle */
    EVENT_BUNDLE_PUSH,  /* argusctl config push; its chunks are in the store.
                         * Orders come so too */
    EVENT_BUNDLE_STATES, /* how bundles are on this node, for its record */
    EVENT_BUNDLES_KEPT,  /* versions that run here, or are to run again */
    EVENT_KEYS, /* which mesh keys this node holds, for its record; before START
                 * too */
    EVENT_STOP, /* the daemon stops: say goodbye, acknowledge no more */
};

struct event {
    enum event_type type;
    uint64_t now_ms;  /* monotonic; never goes back */
    uint64_t wall_us; /* Unix; may jump */
    uint64_t boot_us; /* monotonic, suspend included; 0: as now_ms */
    union {
        struct {
            link_id link;
            dial_id dial; /* 0: accepted */
            const struct peer_info *peer;
        } link_up;
        struct {
            link_id link;
            enum link_end why;
            argus_RefuseCode code;
        } link_down;
        struct {
            dial_id dial;
            enum link_end why;
            argus_RefuseCode code;
        } dial_failed;
        struct {
            link_id link;
            const argus_Frame *frame;
        } frame;
        link_id drained;
        struct {
            const struct value_input *values;
            uint32_t count;
        } values;
        struct {
            const uint64_t *tokens;
            uint32_t count;
        } seen;            /* SEEN, PASSED */
        uint64_t progress; /* token: it and all before have left the queue */
        struct {
            const argus_Event *event; /* hlc, number, generation not yet set */
            bool always;              /* whatever its severity */
            uint64_t *hlc;            /* out, 0 when the rate limit refused */
            uint64_t *number;         /* out */
        } notice;
        struct {
            struct node_id id;
            const uint8_t *data;
            uint32_t size;
        } record;
        struct {
            struct node_id id;
            const char *address;
        } address;
        const char *observed; /* IP literal */
        struct {
            struct node_id id;
            argus_Role role;
            const char *address; /* where the call came from */
        } call;
        struct {
            const char *address;
            int *result; /* out: ARGUS_OK, ARGUS_EINVAL, ARGUS_EFULL */
        } join;
        struct {
            const uint8_t *data;
            uint32_t size;
        } bundle_row, event_row;
        struct {
            const argus_SignedBundle *bundle;
            int *result; /* out: ARGUS_OK; ARGUS_EINVAL, why in err;
                          * ARGUS_EBUSY: not the next version (superseded);
                          * ARGUS_ENOENT: a chunk is missing; ARGUS_EDENIED:
                          * signature, key, expiry, target, or that an order
                          * does harm; ARGUS_EFULL */
            struct argus_error *err;
        } bundle_push;
        struct {
            const argus_BundleState *states;
            uint32_t count; /* at most as many as a record has room for */
        } bundle_states;
        struct {
            const uint8_t (*hashes)[CONTENT_HASH_SIZE]; /* of manifests */
            uint32_t count;
        } bundles_kept; /* all of them; others may go with time */
        struct {
            const argus_HeldKey *held;
            uint32_t count; /* at most as many as a record has room for */
        } keys;
    };
};

/** @retval ARGUS_ENOMEM, ARGUS_EINVAL; *out is written on ARGUS_OK only. */
int engine_new(const struct engine_options *options, struct engine **out);
void engine_free(struct engine *e);

void engine_step(struct engine *e, const struct event *event,
                 struct actions *out);

/** Is that the address of this node, or of a member thought to be online? */
bool engine_knows_address(const struct engine *e, const char *address);

/** When to step with EVENT_TIMEOUT at the latest, by the clock of now_ms. */
uint64_t engine_deadline_ms(const struct engine *e);

/** Values that wait for an aggregator or its acknowledgement. */
uint64_t engine_pending(const struct engine *e);

/** Is there a metrics link to an aggregator, or a dial for one? Without,
 *  waiting for those values to leave is in vain. */
bool engine_can_send(const struct engine *e);

/* ---- Questions of the control socket. They change nothing; out is filled
 * whole. Lists are read by index from 0; false: no such index. */

void engine_status(const struct engine *e, uint64_t now_ms, uint64_t wall_us,
                   argus_StatusReply *out);
bool engine_member(const struct engine *e, uint32_t index, uint64_t now_ms,
                   uint64_t wall_us, argus_MemberReply *out);

/** Members that are suspect or offline, those that went together one behind the
 *  other, in order of time. As of the call with index 0. */
bool engine_offline(struct engine *e, uint32_t index, uint64_t wall_us,
                    argus_OfflineReply *out);

/** Who publishes what: first this node's, a row each, as it is now; then the
 *  records of those that are online or suspect and publish something.
 *  @param index  from 0; moved on to the next one that there is.
 *  @return false: there is none from there on. */
bool engine_publisher(struct engine *e, uint32_t *index, uint64_t wall_us,
                      argus_PublisherReply *out);

/** As engine_coverage(); nodes whose digest does not name all lower it. */
void engine_publishers_coverage(const struct engine *e, uint64_t wall_us,
                                argus_Coverage *out);

/** Our wall clock against the median of others', by what is measured now. */
void engine_clock(const struct engine *e, uint64_t now_ms, uint64_t wall_us,
                  argus_ClockReply *out);

/** Nodes that say that their clock is alarmed, this one among them.
 *  @param index  of a member; those without an alarm are passed over and
 *                *index is moved on to the one that is written.
 *  @return false: there is none from there on. */
bool engine_clock_node(const struct engine *e, uint32_t *index,
                       argus_ClockNodeReply *out);

/** *link is 0 for a passive peer; queued_bytes is the owner's to fill. */
bool engine_peer(const struct engine *e, uint32_t index, argus_PeerReply *out,
                 link_id *link);

/** Aggregators for a host or an identifier (the part before the first "/"
 *  counts), best first. */
bool engine_route(const struct engine *e, const char *key, uint32_t index,
                  argus_RouteReply *out);

/** Are all events that this node originated among those below? Else after
 *  EVENT_SETTLE, or a few milliseconds later. */
bool engine_is_settled(const struct engine *e);

/** Events oldest first, in HLC order. The second gives all but uncertainty and
 *  `concurrent`, which the last one fills in; the third only where it stands.
 */
uint32_t engine_events_count(const struct engine *e);
bool engine_event(const struct engine *e, uint32_t index,
                  argus_EventReply *out);
bool engine_event_place(const struct engine *e, uint32_t index,
                        struct timeline_place *out);
void engine_event_order(const struct engine *e, uint32_t index,
                        argus_EventReply *out);

void engine_coverage(const struct engine *e, uint64_t wall_us,
                     argus_Coverage *out);

/** Is that series one of ours from the mesh, and does its agent send it to
 *  another aggregator now? */
bool engine_series_moved(const struct engine *e, const char *host,
                         const char *plugin, const char *plugin_instance,
                         const char *type, const char *type_instance);

/* A version of a bundle as this node sees it. */
struct bundle_view {
    const argus_SignedBundle *bundle; /* borrowed until the next step */
    const argus_Manifest *manifest;   /* the same, unpacked */
    uint8_t hash[CONTENT_HASH_SIZE];  /* SHA-256 of the manifest */
    bool is_head;                     /* in force for its name on this node */
    bool is_trusted;                  /* signed by one of trusted_keys, which
                                       * was not revoked */
    bool is_revoked;                  /* the key was, and is not trusted */
    uint8_t signer[OPERATOR_ID_SIZE]; /* whose key it is */
    bool is_target;                   /* its target means this node */
    bool is_complete;                 /* all of its content is here */
    bool is_expired;
};

/** The heads, one a name, removals among them, in order of names. Of several
 *  operators' the one in force: trusted before not trusted, then the higher
 *  version, then the lower hash. */
bool engine_bundle(const struct engine *e, uint32_t index, uint64_t wall_us,
                   struct bundle_view *out);

/** A kept version of a name; version 0: the head. */
bool engine_bundle_version(const struct engine *e, const char *name,
                           uint32_t version, uint64_t wall_us,
                           struct bundle_view *out);

/** The order in force, of operators trusted here. @return false: none. */
bool engine_order(const struct engine *e, enum order_kind kind,
                  struct bundle_view *out);

/* An operator's key. */
struct operator_view {
    uint8_t id[OPERATOR_ID_SIZE];
    bool is_named;   /* one of trusted_keys */
    bool is_revoked; /* by an order: then it is not trusted, named or not */
};

/** All of trusted_keys, then what orders revoke; one may come several times. */
bool engine_operator(const struct engine *e, uint32_t index,
                     struct operator_view *out);

/** The kept version with that hash. */
bool engine_bundle_hash(const struct engine *e,
                        const uint8_t hash[CONTENT_HASH_SIZE], uint64_t wall_us,
                        struct bundle_view *out);

/** How the head of a name is on each node that its target means (and on those
 *  that still run it), by what their records say. */
bool engine_bundle_node(const struct engine *e, const char *name,
                        uint32_t index, argus_BundleNodeReply *out);

/* The chunks that some kept version is made of: what a sweep must spare. */
struct chunk_set;

/** As of now. NULL: no memory; then nothing may be swept. */
struct chunk_set *engine_chunks_used(const struct engine *e);
/** For store_sweep_chunks(); context: the set. */
bool chunk_set_has(void *context, const uint8_t hash[CONTENT_HASH_SIZE]);
void chunk_set_free(struct chunk_set *set);

struct engine_counter {
    const char *name; /* snake_case, stable: users read it in status */
    uint64_t value;
    bool gauge;
};

/** @return number written, at most max. */
uint32_t engine_counters(const struct engine *e, struct engine_counter *out,
                         uint32_t max);

#endif
