/* failure.h - who is gone: suspicion, probes, deaths of many at once.
 *
 * A part of the directory (see directory.h for the rules), not of its door.
 *
 * Probes are dials of kind PROBE, closed at once when answered. Each node
 * probes
 *   - the neighbor whose link broke, at once;
 *   - what it suspects itself, once more before it says OFFLINE;
 *   - one random member every PROBE_SLOW_MS, in turns an online one that was
 *     not heard of lately and a lost one, for ever; sooner while some were lost
 *     not long ago. A lost one that answers is asked for a sync, and hears so
 *     what is said of it.
 *   - after DEATHS_MANY deaths within DEATHS_WINDOW_MS: every online member
 * with no sign of life since the last death known here. Only the two survivors
 *     with the highest hash(survivor, member) do so; survivors are those
 *     believed online, so when a prober turns out dead itself, the next in line
 *     takes over in the following round; once deaths have gone on for longer
 *     than suspect_ms, those not heard of since they began are left out: the
 *     few on a small island need not wait for each other's turn with those who
 *     are not there. Rounds end DEATHS_WINDOW_MS after the last death or probe.
 *   - a member whose lease ran out three times, likewise by two nodes.
 *
 * A node that lost its last neighbor dials DEATHS_MANY others beside; when as
 * many dials have failed and nobody is heard of, it is cut off: it knows the
 * others from memory alone, as after a start from disk ("unheard", see
 * directory.h). That takes two times of patience however many they are, no dial
 * for each, and leaves no reports that all the others had to refute.
 *
 * departs from "since the first death": members of a dying rack still report on
 * each other between the first death and their own, and would be passed over.
 */
#ifndef ARGUS_CORE_FAILURE_H
#define ARGUS_CORE_FAILURE_H

#include "core/directory.h"

#define PROBES_MAX 16        /* dials under way */
#define PROBES_QUEUED_MAX 64 /* waiting for one of them */
#define PROBERS 2            /* survivors that probe a silent member */
#define PROBE_SLOW_MS 60000
#define PROBE_LOST_MS 10000 /* while there are lost or unheard ones */
#define LOST_LATELY_MS 600000
#define DEATHS_MANY 3
#define DEATHS_WINDOW_MS 5000
#define MASS_ROUND_MS 500
#define LEASES_MISSED 3

/* From the weakest reason to the strongest. */
enum probe_reason {
    PROBE_SLOW,
    PROBE_MASS,
    PROBE_LOST,    /* the link to a neighbor broke */
    PROBE_SUSPECT, /* the last look of a witness */
    PROBE_CLONE,   /* is there another holder of our id? */
};

struct probe {
    dial_id dial;
    struct node_id id;
    enum probe_reason reason;
    bool is_settled; /* judged silent; the dial itself is still under way */
    uint64_t started_ms;
    uint64_t instance;        /* of a clone, from its record */
    uint64_t peer_started_ms; /* likewise */
};

struct probe_wish {
    struct node_id id;
    enum probe_reason reason;
};

struct failure {
    struct probe probes[PROBES_MAX];
    uint32_t probes_count;
    struct probe_wish queue[PROBES_QUEUED_MAX]; /* a ring */
    uint32_t queue_first, queue_count;
    uint64_t slow_due_ms;
    uint32_t slow_turn;
    uint64_t lost_ms; /* last time that a member was lost */
    bool has_lost;
    uint64_t deaths_ms[DEATHS_MANY]; /* newest last */
    uint32_t deaths_count;
    bool is_mass;
    uint64_t mass_since_ms, mass_due_ms, mass_until_ms;
    /* Since the last sign of life: */
    uint32_t lost_count;       /* neighbors */
    uint64_t lost_us;          /* Unix; when the first of them was */
    uint32_t silent_count;     /* dials that nobody answered */
    uint64_t excused_until_ms; /* this node was late: it dials first */
};

void failure_start(struct directory *d);

/** The link to a neighbor ended without a word. */
void failure_on_neighbor_lost(struct directory *d, struct member *m,
                              enum link_end why, struct actions *out);

/** Somebody else is there, whoever it is. */
void failure_on_sign_of_life(struct directory *d);

/** A member went from online to suspect or offline, by others' word or ours. */
void failure_note_death(struct directory *d);

/** Dial a member. Without room LOST and SUSPECT wait, others are dropped. */
void failure_probe(struct directory *d, struct member *m,
                   enum probe_reason reason, struct actions *out);

/** The suspicion of this node has had its time: if its last look has had half
 *  of it without an answer, it is silent for good. */
void failure_end_last_look(struct directory *d, struct member *m,
                           struct actions *out);

/** Look up another holder of our id. @return false: no room now. */
bool failure_probe_clone(struct directory *d, const argus_NodeRecord *record,
                         struct actions *out);

/** Is this node one of the two that look after a silent member? */
bool failure_is_prober(const struct directory *d, const struct member *m);

/** @return false: the dial is not of a probe. */
bool failure_on_link_up(struct directory *d, link_id link, dial_id dial,
                        const struct peer_info *peer, struct actions *out);
bool failure_on_dial_failed(struct directory *d, dial_id dial,
                            enum link_end why, argus_RefuseCode code,
                            struct actions *out);

/** This node was not run for `late_ms`: nobody is blamed for that time. */
void failure_on_late(struct directory *d, uint64_t late_ms);
void failure_on_timeout(struct directory *d, struct actions *out);

/** Members whose leases ran out; called by the sweep. */
void failure_check_leases(struct directory *d, struct actions *out);
uint64_t failure_deadline_ms(const struct directory *d);

#endif
