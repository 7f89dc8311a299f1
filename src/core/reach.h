/* reach.h - can others dial this node where it says?
 *
 * Once it has a neighbor, a node asks one to dial the address that it is known
 * by and to expect its id there; a second one too, if the first cannot. What
 * two neighbors (or the only one) cannot reach, nobody shall be told: the
 * address at which peers see this node, with the port that it listens at, is
 * tried in the same way and takes its place if it works. The log has one line,
 * status says it too. Asked again after a while, for firewalls change.
 *
 * A node dials for its neighbors, and answers whether the id was there and in
 * what way it was not: so a member can learn from a neighbor what listens at
 * some address. REACH_RATE bounds that. Pure. */
#ifndef ARGUS_CORE_REACH_H
#define ARGUS_CORE_REACH_H

#include "base/prng.h"
#include "core/actions.h"
#include "core/bucket.h"
#include "core/peer.h"

#define REACH_DIAL_TAG 5

/** After the first neighbor, with jitter: by then a node starts no more. */
#define REACH_FIRST_MS 1500
#define REACH_ANSWER_MS 15000
/** Asked again: after an answer that says nothing, a good and a bad one. */
#define REACH_RETRY_MS 5000
#define REACH_GOOD_MS 1800000
#define REACH_BAD_MS 300000
/** Neighbors that must have failed, where there are so many. */
#define REACH_WITNESSES 2
/** Dials for neighbors: a second, and at once. */
#define REACH_RATE 2
#define REACH_BURST 8

enum reach_state {
    REACH_UNCHECKED,
    REACH_GOOD,      /* where it was told to be */
    REACH_ELSEWHERE, /* not there, but where peers see it */
    REACH_BAD,
};

struct reach_stats {
    uint64_t asked, confirmed, denied, unanswered;
    uint64_t served, refused; /* for neighbors */
};

/* What it asks of its owner, from within its inputs. */
struct reach_listener {
    void *context;
    /** Some neighbor, picked by a random number, but not that one if there are
     *  others. @return false: there is none. */
    bool (*any_neighbor)(void *context, uint32_t pick,
                         const struct node_id *but, link_id *link,
                         struct node_id *id);
    /** Others are to be told that address from now on. */
    void (*moved)(void *context, const char *address, struct actions *out);
};

struct reach_options {
    uint64_t seed;
    bool is_on;
    uint16_t listen_port; /* 0: not known */
};

struct reach_serve {
    dial_id dial; /* 0: free */
    link_id link;
    uint32_t number;
};

struct reach {
    struct reach_options options;
    struct reach_listener listener;
    struct prng prng;
    struct reach_stats stats;
    enum reach_state state;
    char own[ADDRESS_SIZE];      /* as configured, or learned */
    char observed[ADDRESS_SIZE]; /* where peers see us; "": not known */
    bool is_second;              /* observed is being asked for, not own */
    bool was_told;               /* the log knows that own is bad */
    uint64_t due_ms;             /* next question, or the answer's last moment;
                                  * UINT64_MAX: none */
    link_id asked;               /* 0: no question is open */
    struct node_id asked_id;
    uint32_t number;
    unsigned failures; /* in a row, for the address that is asked for */
    char witness[192]; /* who failed last, and how */
    struct reach_serve serves[REACH_BURST];
    struct bucket bucket;
    uint64_t dials;
};

void reach_init(struct reach *r, const struct reach_options *options,
                const struct reach_listener *listener);

/** The address that this node is known by, when it becomes known. */
void reach_set_own(struct reach *r, uint64_t now_ms, const char *address);
/** A peer sees us at that IP. */
void reach_on_observed(struct reach *r, const char *ip);

void reach_neighbor_up(struct reach *r, uint64_t now_ms);

/** AddressCheck and AddressResult, from an active neighbor. */
void reach_on_frame(struct reach *r, uint64_t now_ms, link_id link,
                    const struct node_id *peer, const char *name,
                    const argus_Frame *frame, struct actions *out);

/** Of dials with REACH_DIAL_TAG. @param why  of a dial that failed. */
void reach_on_dialed(struct reach *r, dial_id dial, struct actions *out);
void reach_on_dial_failed(struct reach *r, dial_id dial, enum link_end why,
                          argus_RefuseCode code, struct actions *out);

void reach_on_timeout(struct reach *r, uint64_t now_ms, struct actions *out);
uint64_t reach_deadline_ms(const struct reach *r);

/** "unchecked", "reachable", "elsewhere", "unreachable". */
const char *reach_state_name(const struct reach *r);

#endif
