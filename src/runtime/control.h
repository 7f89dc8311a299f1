/* control.h - the local socket that argusctl talks to.
 *
 * A Unix stream socket in the loop of its owner. A client sends a Request, the
 * answer is any number of Replies that end with an End; then it may ask again.
 * Frames are those of wire/frame.h. Who may ask is a matter of the file's mode
 * (0660) and group; to have a mesh key sealed one must be root or the daemon's
 * own user, as the kernel says (SO_PEERCRED).
 *
 * All questions go through struct control_hooks, so that this file knows
 * neither engine nor links: the owner fills in what only it knows. Rows are
 * asked for one by one as the client reads, so that an answer of 10,000 members
 * costs one buffer. A list may change while it is read: members may then come
 * twice or be missed, events do not (they are found again by their key).
 *
 * Everything happens in the loop's thread. Bounds: below, all enforced. */
#ifndef ARGUS_RUNTIME_CONTROL_H
#define ARGUS_RUNTIME_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "argus.pb.h"
#include "base/node_id.h"
#include "base/status.h"
#include "core/content.h"
#include "core/timeline.h"

/** Clients at a time; one more is told "busy" and closed. */
#define CONTROL_CLIENTS_MAX 32
/** Longest request; a longer one ends the connection with a message. */
#define CONTROL_REQUEST_MAX 40960
/** From connect, or from the End before, to a whole request. */
#define CONTROL_REQUEST_WAIT_MS 10000
/** A client that reads nothing for so long is cut. */
#define CONTROL_WRITE_WAIT_MS 30000
/** What may wait for a follower that reads slowly; then it is cut. */
#define CONTROL_FOLLOW_BYTES_MAX (256 * 1024)
/** New events that may come in one turn of the loop. */
#define CONTROL_NEWS_MAX 4096

struct control; /* opaque; one thread only */

struct control_options {
    const char *path;             /* fits sockaddr_un; copied */
    const char *group;            /* empty or NULL: leave the group */
    const char *collectd_version; /* for the verb `version`; copied */
    uint32_t request_wait_ms;     /* 0: CONTROL_REQUEST_WAIT_MS */
    uint32_t write_wait_ms;       /* 0: CONTROL_WRITE_WAIT_MS */
};

/* What the owner answers. Called in the loop, never from within
 * control_on_event(); the hooks may step the engine. `out` comes zeroed. */
struct control_hooks {
    void *context;
    /** engine_status(), counters of engine and runtime appended. */
    void (*status)(void *context, argus_StatusReply *out);
    /** As engine_member(). */
    bool (*member)(void *context, uint32_t index, argus_MemberReply *out);
    /** As engine_offline(). */
    bool (*offline)(void *context, uint32_t index, argus_OfflineReply *out);
    /** As engine_publisher() and engine_publishers_coverage(). */
    bool (*publisher)(void *context, uint32_t *index,
                      argus_PublisherReply *out);
    void (*publishers_coverage)(void *context, argus_Coverage *out);
    /** As engine_peer(), queued_bytes filled in. */
    bool (*peer)(void *context, uint32_t index, argus_PeerReply *out);
    /** As engine_route(); key is never empty for a RouteRequest that has one,
     *  else "" stands for this host. */
    bool (*route)(void *context, const char *key, uint32_t index,
                  argus_RouteReply *out);
    /** As engine_events_count() and engine_event(): ascending by event.hlc. */
    uint32_t (*events_count)(void *context);
    bool (*event)(void *context, uint32_t index, argus_EventReply *out);
    /** As engine_event_place() and engine_event_order(). */
    bool (*event_place)(void *context, uint32_t index,
                        struct timeline_place *out);
    void (*event_order)(void *context, uint32_t index, argus_EventReply *out);
    void (*coverage)(void *context, argus_Coverage *out);

    /** An event of argusctl's, always broadcast. severity is never NONE.
     *  @retval ARGUS_EFULL  the rate limit refused it. */
    int (*notify)(void *context, const argus_NotifyRequest *request,
                  argus_NotifyReply *out, struct argus_error *err);
    /** @param address "host:port", never empty. Returns at once. */
    int (*join)(void *context, const char *address, struct argus_error *err);
    int (*leave)(void *context, struct argus_error *err);

    /** The heads, as engine_bundle(). */
    bool (*bundle)(void *context, uint32_t index, argus_BundleReply *out);
    /** As engine_bundle_version(). */
    bool (*bundle_version)(void *context, const char *name, uint32_t version,
                           argus_BundleReply *out);
    /** A stretch of the content of the version with that hash. *total is all
     *  of it. @return bytes written; 0: at the end, or it is not here. */
    size_t (*bundle_content)(void *context,
                             const uint8_t hash[CONTENT_HASH_SIZE],
                             uint64_t offset, uint8_t *out, size_t size,
                             uint64_t *total);
    /** Keep a chunk of a push to come. staged: bytes that the same client
     *  brought before.
     *  @retval ARGUS_ETOOLARGE  more than one bundle may have.
     *  @retval ARGUS_EFULL      no room. */
    int (*bundle_chunk)(void *context, uint64_t staged, const uint8_t *data,
                        size_t size, struct argus_error *err);
    /** As EVENT_BUNDLE_PUSH, and ARGUS_ETOOLARGE. */
    int (*bundle_push)(void *context, const argus_SignedBundle *bundle,
                       struct argus_error *err);
    /** @return false: no such bundle. */
    bool (*bundle_status)(void *context, const char *name,
                          argus_BundleStatusReply *out);
    /** As engine_bundle_node(). */
    bool (*bundle_node)(void *context, const char *name, uint32_t index,
                        argus_BundleNodeReply *out);

    /** As engine_operator(). */
    bool (*operator_key)(void *context, uint32_t index,
                         argus_OperatorReply *out);
    /** Does this node have a keyring?
     *  @retval ARGUS_EDENIED  no; err says so. */
    int (*has_keyring)(void *context, struct argus_error *err);
    /** The keys of it, in order. */
    bool (*key)(void *context, uint32_t index, argus_KeyReply *out);
    /** Seal a key by one of them. @retval ARGUS_EINVAL, ARGUS_EDENIED. */
    int (*key_wrap)(void *context, const uint8_t secret[32],
                    argus_WrappedKey *out, struct argus_error *err);

    /** As engine_clock() and engine_clock_node(). */
    void (*clock)(void *context, argus_ClockReply *out);
    bool (*clock_node)(void *context, uint32_t *index,
                       argus_ClockNodeReply *out);
};

/* Counters, for the status counters of the owner: control_* there. */
struct control_stats {
    uint64_t clients_accepted;
    uint64_t clients_refused; /* the table was full */
    uint64_t requests_answered;
    uint64_t requests_invalid; /* too long, not parsed, unknown verb */
    uint64_t clients_late;     /* no whole request in time */
    uint64_t clients_slow;     /* did not read; followers among them */
};

/**
 * Bind, set mode and group, listen. The loop need not run yet.
 * @param out  written on ARGUS_OK only; control_close() takes it down.
 * @retval ARGUS_EINVAL  the path does not fit, or no such group; the text names
 *                       it.
 * @retval ARGUS_EBUSY   another daemon answers at that path.
 * @retval ARGUS_EIO     the system refused; the text names path and reason. A
 *                       file there that is no socket is left alone.
 */
int control_new(uv_loop_t *loop, const struct control_options *options,
                const struct control_hooks *hooks, struct control **out,
                struct argus_error *err);

/** An event entered the timeline (ACTION_TIMELINE): followers get it in the
 *  next turn of the loop. May be called from within a step of the engine. */
void control_on_event(struct control *c, const argus_Event *event,
                      const struct node_id *origin);

const struct control_stats *control_stats(const struct control *c);

/** Remove the socket file and close all clients. c is gone for the caller; its
 *  memory is freed when the loop has closed the handles, so run the loop until
 *  nothing is left of it. NULL is allowed. */
void control_close(struct control *c);

#endif
