/* event_sync.h - anti-entropy of the timeline: the second part of a session.
 *
 * Source: A. Meyer, "Range-Based Set Reconciliation" (2022), with two levels.
 * The session is that of core/sync.h, which opens and ends it and keeps its
 * time; when records and reports are equal, the dialer goes on: dialer ->
 * EventDigest  count and sum of keys of all it has; later of some sqrt(n)
 * ranges from a place on
 *          <- EventKeys    the keys of the first piece in which the other side
 *                          differs, at most EVENT_KEYS_MAX; or: the same
 *          -> Items        what the other side lacks in that piece
 *          -> EventWant    the keys of what the dialer lacks
 *          <- Items        those; the last one says so
 *          -> EventDigest  from behind that piece on
 * So two nodes that have the same exchange some 50 bytes, and else about
 * 8 bytes for each event of a piece beside the events that differ.
 *
 * Retain. Both speak of what a node keeps that has the smaller Retain of the
 * two: the one with more leaves the rest out (core/timeline.h says why that is
 * well defined), so a difference in it is no difference. What is older than all
 * that a full timeline keeps is neither compared nor sent. What one side
 * dropped for an origin's share, the other side will drop as well once it has
 * the same; then nothing more is sent. So differences end.
 *
 * Items are hostile until opened: the listener checks signature and cluster and
 * judges the event as if it came by broadcast. An insider can choose numbers of
 * its own events so that sums of different sets meet; it hides a difference
 * between two nodes from them so, until either compares with a third.
 *
 * What came is not broadcast again: whoever has learned something compares with
 * another neighbor soon (core/sync.h). A rumor of that kind reaches n nodes in
 * some log2 n rounds, and each event each node about once. */
#ifndef ARGUS_CORE_EVENT_SYNC_H
#define ARGUS_CORE_EVENT_SYNC_H

#include "core/actions.h"
#include "core/timeline.h"

#define EVENT_KEYS_MAX 512 /* as EventKeys.keys and EventWant.keys */
#define EVENT_RANGES_MAX 128
#define EVENT_PAGE_BYTES (256 * 1024) /* of Items in one turn */

enum event_turn {
    EVENT_TURN_DIGEST, /* the other side waits for one */
    EVENT_TURN_KEYS,   /* the dialer waits for them */
    EVENT_TURN_WANT,
    EVENT_TURN_ITEMS,
};

/* One a session; all zero is one that has not begun. */
struct event_session {
    enum event_turn turn;
    bool is_begun, has_begun_again; /* with a smaller Retain */
    uint32_t retain;
    struct timeline_place from, to; /* the piece at hand */
    uint32_t items_left;            /* that the peer may still send */
    uint32_t added;                 /* of the piece at hand */
    uint32_t learned;               /* in the session */
};

enum event_step {
    EVENT_STEP_ON,
    EVENT_STEP_DONE, /* the dialer: nothing is left to compare */
    EVENT_STEP_BAD,  /* the peer broke the rules */
};

struct event_sync_stats {
    uint64_t items_sent, items_received, items_added;
    uint64_t digests_same;
    uint64_t pieces; /* in which two nodes differed, on either side */
};

enum event_taken { EVENT_TAKEN_NEW, EVENT_TAKEN_OLD, EVENT_TAKEN_BAD };

/* What it needs of its owner; borrowed. */
struct event_sync {
    void *context;
    struct timeline *timeline;
    uint32_t retain; /* of that timeline */
    /** Open, judge and keep an event. */
    enum event_taken (*take)(void *context, const uint8_t *payload,
                             size_t size);
    /** Does the signature hold? Of one that came from disk. */
    bool (*holds)(void *context, const uint8_t *payload, size_t size);
    struct event_sync_stats stats;
};

/** The dialer's first word, for those who have no session yet. */
void event_sync_summary(struct event_sync *s, argus_EventDigest *out);

enum event_compared {
    EVENT_COMPARED_SAME,
    EVENT_COMPARED_OTHER,
    EVENT_COMPARED_NOT, /* they have a larger Retain: they must compare */
};
enum event_compared event_sync_compare(struct event_sync *s,
                                       const argus_EventDigest *theirs);

/** The dialer's first word. */
void event_sync_begin(struct event_sync *s, struct event_session *session,
                      link_id link, struct actions *out);

/** EventDigest, EventKeys, EventWant and Items about events. */
enum event_step event_sync_on_frame(struct event_sync *s,
                                    struct event_session *session, link_id link,
                                    const argus_Frame *frame,
                                    struct actions *out);

#endif
