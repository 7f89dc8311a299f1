/* peer.h - the other end of a link, as its Hello told. */
#ifndef ARGUS_CORE_PEER_H
#define ARGUS_CORE_PEER_H

#include <stdbool.h>

#include "core/actions.h"

struct peer_info {
    struct node_id id;
    uint32_t generation; /* bumped at each start of that node */
    uint64_t instance;   /* random at each start */
    uint64_t started_ms; /* its wall clock at start */
    argus_LinkKind kind;
    argus_Role role;
    uint64_t zone; /* zone_pack(); what it says of itself */
    char name[128];
    char address[ADDRESS_SIZE]; /* where it can be dialed */
};

/* Why a link or a dial ended. */
enum link_end {
    LINK_END_CLOSED,  /* orderly, by the peer or by us; refuse code says more */
    LINK_END_RESET,   /* reset, or end of file without a Refuse */
    LINK_END_REFUSED, /* nobody listens there: the process is gone */
    LINK_END_TIMEOUT, /* no answer in time, no route */
    LINK_END_DENIED,  /* the Hello failed; refuse code says why */
    LINK_END_BROKEN,  /* by us: a frame of the peer did not parse or broke a
                         bound */
    LINK_END_LOCAL,   /* our own trouble: no descriptor, bad address */
};

#endif
