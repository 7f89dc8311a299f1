/* beacon.h - the local network: a node that is alone calls, and others hear it.
 *
 * UDP to a multicast group, 239.255.100.227 and ff12::64e3, port 25827, one hop
 * far. A call is sent from each address that this node listens at, so where it
 * comes from is where its sender can be dialed; addresses that mean something
 * on one link only (fe80::) are left out. Sockets are bound to the group: they
 * get nothing that is sent to this host alone, and never answer.
 *
 * A call makes at most an event of the engine, and that at most one dial (see
 * core/callers.h). What is read in a second is bounded before any MAC is
 * computed; a call whose time is off, by a wrong clock or because somebody
 * repeats it, counts among few. Loop thread only. */
#ifndef ARGUS_RUNTIME_BEACON_H
#define ARGUS_RUNTIME_BEACON_H

#include <uv.h>

#include "argus.pb.h"
#include "base/node_id.h"
#include "base/status.h"
#include "runtime/keyring.h"

#define BEACON_PORT 25827
#define BEACON_GROUP_V4 "239.255.100.227"
#define BEACON_GROUP_V6 "ff12::64e3"

/** Datagrams looked at a second, and at once; then sockets rest for a moment,
 *  and the kernel drops what is too much. */
#define BEACON_RATE 100
#define BEACON_BURST 200
#define BEACON_REST_MS 250
/** A call of another time than ours is one of few: so many in a minute. */
#define BEACON_CLOCK_MS 60000
#define BEACON_OLD_RATE 6
/** Addresses called from, at most. */
#define BEACON_PLACES_MAX 16
/** Interfaces come and go: looked at before a call, and so often. */
#define BEACON_REFRESH_MS 30000

struct beacon; /* opaque */

struct beacon_options {
    const char *cluster;
    argus_Role role;
};

struct beacon_listener {
    void *context;
    /** Somebody of this mesh is alone. @param address  borrowed. */
    void (*called)(void *context, const struct node_id *id, argus_Role role,
                   const char *address);
    /** Where can this node be dialed at one of its own addresses? @return port;
     *  0: nowhere. */
    uint16_t (*port_at)(void *context, const struct sockaddr *address);
    /** NULL: calls are sent and heard without a MAC. */
    const struct keyring *(*keyring)(void *context);
};

struct beacon_stats {
    uint64_t sent, send_failed;
    uint64_t received;
    uint64_t rested; /* times that reading paused, for too much came */
    uint64_t malformed, forged;
    uint64_t foreign;   /* of another cluster */
    uint64_t misplaced; /* not from where it says */
    uint64_t old;       /* of another time, and too many */
    uint64_t places_dropped;
};

/** @retval ARGUS_EIO  there is no socket to be had; err says why. */
int beacon_new(uv_loop_t *loop, const struct beacon_options *options,
               const struct beacon_listener *listener, struct beacon **out,
               struct argus_error *err);

/** Call, from every address. */
void beacon_call(struct beacon *b, const struct node_id *own);

const struct beacon_stats *beacon_stats(const struct beacon *b);

/** Frees b once its handles are closed; the loop has to turn for that. */
void beacon_close(struct beacon *b);

#endif
