/* link_bed.h - two transports, "a" and "b", in one loop, and a record of what
 * each heard. */
#ifndef ARGUS_TESTS_LINK_BED_H
#define ARGUS_TESTS_LINK_BED_H

#include <stdbool.h>

#include "base/log.h"
#include "runtime/transport.h"
#include "test.h"

struct side {
    struct transport *transport;
    struct transport_options options;
    uint16_t port;
    unsigned ups, downs, fails, frames, drains, observed;
    link_id link;
    dial_id dial;
    enum link_end why;
    argus_RefuseCode code;
    struct peer_info peer;
    pb_size_t last_frame;
    uint32_t last_number;
    bool is_answering, is_done;
    char observed_host[64];
};

extern uv_loop_t bed_loop;
extern struct side side_a, side_b;
extern char bed_log[16384]; /* lines since bed_start() */

/** Both listen on loopback. Options of a side that are not zero stand; so does
 *  an id. */
void bed_start(void);

/** Stop and free both; every handle must go: the loop closes with 0. */
void bed_stop(void);

#define BED_LIMIT_MS 5000

/* How long a test goes on turning the loop. */
struct bed_limit {
    uv_timer_t timer;
    bool is_over, is_closed;
};

void bed_limit_start(struct bed_limit *limit, uint64_t ms);
void bed_limit_stop(struct bed_limit *limit);

/** Turn the loop for so long. */
void bed_turn_ms(uint64_t ms);

/** Turn the loop until a number is reached, for at most BED_LIMIT_MS. */
bool bed_wait_for(const unsigned *number, unsigned wanted);
bool bed_wait_stat(const uint64_t *number, uint64_t wanted);

/** a dials b. */
void bed_dial(argus_LinkKind kind, const struct node_id *expected);
/** ... and both are up. */
void bed_link(argus_LinkKind kind);

/** On the link of that side. */
void bed_ping(struct side *s, uint32_t number);

#endif
