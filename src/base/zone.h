/* zone.h - how near two nodes are, by their Zones.
 *
 * A Zone is a path, the most general part first: "eu1/rack4". Nearer means a
 * longer common prefix, counted in whole parts. On the wire and in views it is
 * a number, 16 bits for each of the first ZONE_PARTS parts, so that comparing
 * is cheap and a peer cannot send much of it. Two different parts look the same
 * once in 65,535 times: that makes a node seem nearer than it is, no more. */
#ifndef ARGUS_BASE_ZONE_H
#define ARGUS_BASE_ZONE_H

#include <stdint.h>

#define ZONE_PARTS 4

/** Parts after the fourth do not count. 0: no zone. */
uint64_t zone_pack(const char *zone);

/** Leading parts that both have, 0..ZONE_PARTS. */
uint32_t zone_common(uint64_t a, uint64_t b);

#endif
