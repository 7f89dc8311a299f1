/* beacon.h - the datagram of a node that is alone: building it, and judging the
 * one that arrived. Pure; who owns the sockets brings the keys.
 *
 * A beacon names the address it is sent from, and counts only if it comes from
 * there: one that was caught and is sent again makes nobody dial somebody
 * else. */
#ifndef ARGUS_WIRE_BEACON_H
#define ARGUS_WIRE_BEACON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "argus.pb.h"

/** Room for one; longer datagrams are none. */
#define BEACON_SIZE_MAX argus_Beacon_size
#define BEACON_KEY_SIZE 8
#define BEACON_MAC_SIZE 32
#define BEACON_CLUSTER_SIZE 8

/* The keys of a mesh. key NULL: beacons carry no MAC, and those with one are
 * not believed. */
struct beacon_keys {
    const uint8_t *key; /* id of the one to send with */
    void *context;
    /** MAC by the key of that id over the bytes. @return false: not held. */
    bool (*mac)(void *context, const uint8_t key[BEACON_KEY_SIZE],
                const uint8_t *data, size_t size, uint8_t out[BEACON_MAC_SIZE]);
};

enum beacon_verdict {
    BEACON_OK,
    BEACON_MALFORMED,
    BEACON_FORGED, /* no key in common, or the MAC is wrong */
};

/** @return its size; 0: the key is not held. */
size_t beacon_encode(const argus_BeaconBody *body,
                     const struct beacon_keys *keys,
                     uint8_t out[BEACON_SIZE_MAX]);

/** @param out  written on BEACON_OK only; its fields are within their bounds:
 *              an address of 4 or 16 bytes, a port, a role. */
enum beacon_verdict beacon_decode(const uint8_t *data, size_t size,
                                  const struct beacon_keys *keys,
                                  argus_BeaconBody *out);

#endif
