/* actions.h - what a node can ask of the world.
 *
 * The parts of the core append to struct actions; the owner (runtime or
 * simulator) carries each action out at once or queues it, and never calls
 * back into the engine from within. So nothing is copied on the way: a frame is
 * borrowed for the duration of the call and is encoded there.
 *
 * departs from an array that the step returns (raft's shape): a sink has no
 * bound to reserve for, and a batch of values is never copied. */
#ifndef ARGUS_CORE_ACTIONS_H
#define ARGUS_CORE_ACTIONS_H

#include <stdarg.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/log.h"
#include "base/node_id.h"
#include "base/status.h"
#include "core/value.h"

/* A link is one TCP connection on which the Hellos went well. The owner gives
 * the number; it is never used again in the life of the process. 0: none. */
typedef uint64_t link_id;

/* A dial that the core asked for; the core gives the number. 0: none. */
typedef uint64_t dial_id;

/** Longest address, "host:port", with its NUL. As in argus.options. */
#define ADDRESS_SIZE 144

enum action_type {
    ACTION_DIAL,  /* connect and say Hello; ends in LINK_UP or DIAL_FAILED */
    ACTION_SEND,  /* encode a frame and queue it on a link */
    ACTION_CLOSE, /* send what is queued, then Refuse(code, text), close */
    ACTION_SERIES_BEGIN, /* name a series of another node; see value.h */
    ACTION_SERIES_END,   /* ... and forget it */
    ACTION_DISPATCH,     /* hand a value to collectd; see value.h */
    ACTION_NOTIFY,       /* hand an event of the mesh to collectd */
    ACTION_TIMELINE,     /* an event entered the timeline (for followers) */
    ACTION_STORE,        /* keep on disk; see enum store_what */
    ACTION_NEW_IDENTITY, /* a clone of this node runs elsewhere and was first */
    ACTION_BUNDLES, /* a head, or whether its content is here, has changed: see
                     * engine_bundle() after the step */
    ACTION_KEYS,    /* another order about mesh keys is in force: see
                     * engine_order() after the step */
    ACTION_ADDRESS, /* others are to dial this node there: Hellos say so now */
    ACTION_CALL,    /* tell the local network that this node is alone */
    ACTION_LOG,
};

enum store_what {
    STORE_RECORD,  /* key: id of the node; value: its packed Signed */
    STORE_REPORT,  /* key: id of the subject; value: packed Signed; empty: drop
                    */
    STORE_FORGET,  /* key: id: drop record and report */
    STORE_HLC,     /* number: greatest stamp used in something of our own */
    STORE_ADDRESS, /* key: id; text: where it was reached. At most some hundred
                    */
    STORE_BUNDLE,  /* key: a number of the version's own; value: packed
                    * SignedBundle; empty: drop */
    STORE_EPOCH,   /* number: the clock epoch that this node is in */
    STORE_EVENT, /* key: of the event, then zeros; value: opaque; empty: drop */
    STORE_GENERATION, /* number: another life was ahead; Hellos carry this now
                       */
};

struct action {
    enum action_type type;
    union {
        struct {
            dial_id dial;
            argus_LinkKind kind;
            const char *address; /* borrowed; a name may be resolved */
            const struct node_id *expected; /* NULL: whoever answers */
            bool is_search; /* of the addresses of a name only those at which no
                             * live member is known */
        } dial;
        struct {
            link_id link;
            const argus_Frame
                *frame; /* borrowed; hlc is stamped by the engine */
        } send;
        struct {
            link_id link;
            argus_RefuseCode code;
            const char *text;
        } close;
        const struct series_begin *series_begin;
        uint64_t series_end; /* handle */
        const struct value_ref *value;
        struct {
            const argus_Event *event;
            const struct node_id *origin;
            uint64_t received_us; /* wall clock here */
        } event;
        struct {
            enum store_what what;
            struct node_id key;
            const uint8_t *data;
            size_t size;
            const char *text;
            uint64_t number;
        } store;
        const char *address;
        struct {
            enum log_level level;
            const char *line;
        } log;
    };
};

struct actions {
    void (*emit)(void *context, const struct action *action);
    void *context;
};

void actions_dial(struct actions *out, dial_id dial, argus_LinkKind kind,
                  const char *address, const struct node_id *expected);
/** Whoever answers at a contact, and is nobody that we know. */
void actions_search(struct actions *out, dial_id dial, argus_LinkKind kind,
                    const char *address);
void actions_send(struct actions *out, link_id link, const argus_Frame *frame);
void actions_address(struct actions *out, const char *address);
void actions_call(struct actions *out);
void actions_close(struct actions *out, link_id link, argus_RefuseCode code,
                   const char *text);
void actions_log(struct actions *out, enum log_level level, const char *format,
                 ...) __attribute__((format(printf, 3, 4)));

#endif
