/* callers.h - nodes that call on the local network because they are alone, and
 * that this node may dial.
 *
 * All that hear a call could dial the caller, and one is enough. So each waits
 * for a random time, which is longer where there are more who could, and drops
 * the caller if meanwhile it has become a member. Whoever is left was met by
 * nobody, or by another mesh: it is dialed, so that no two meshes stay apart
 * that hear each other.
 *
 * A caller costs one dial in CALLERS_AGAIN_MS, all of them together one in
 * CALLERS_GAP_MS; so does whoever replays calls. Pure; bounded by
 * CALLERS_MAX. */
#ifndef ARGUS_CORE_CALLERS_H
#define ARGUS_CORE_CALLERS_H

#include <stdbool.h>

#include "base/prng.h"
#include "core/actions.h"

/** Callers remembered; more are refused and counted. */
#define CALLERS_MAX 64
/** A caller that was dialed is not dialed again before. */
#define CALLERS_AGAIN_MS 30000
/** Between two dials. */
#define CALLERS_GAP_MS 300
/** Wait: up to so long for each node that may hear the call as well, within
 *  these bounds. */
#define CALLERS_SPREAD_MS 20
#define CALLERS_WAIT_MIN_MS 100
#define CALLERS_WAIT_MAX_MS 10000

struct caller {
    struct node_id id;
    char address[ADDRESS_SIZE];
    bool was_dialed;
    uint64_t due_ms; /* to be dialed; or, once it was, to be forgotten */
};

struct callers {
    struct caller *list; /* NULL until somebody calls */
    uint32_t count;
    uint64_t next_ms; /* no dial before */
};

enum callers_verdict {
    CALLERS_KEPT,
    CALLERS_KNOWN, /* waits already, or was dialed lately */
    CALLERS_FULL,
};

void callers_close(struct callers *c);

/** @param online  members that may hear the call, this node included. */
enum callers_verdict callers_add(struct callers *c, uint64_t now_ms,
                                 const struct node_id *id, const char *address,
                                 uint32_t online, struct prng *prng);

/**
 * Whose turn it is.
 * @param alone  this node has no neighbor either: then of all who called the
 *               one with the lowest id, so that all who are alone dial the
 * same.
 * @return NULL: nobody's. Else say callers_dialed() or callers_drop().
 */
struct caller *callers_next(struct callers *c, uint64_t now_ms, bool alone);
void callers_dialed(struct callers *c, struct caller *caller, uint64_t now_ms,
                    struct prng *prng);
void callers_drop(struct callers *c, struct caller *caller);

/** When callers_next() may have somebody. */
uint64_t callers_deadline_ms(const struct callers *c);

#endif
