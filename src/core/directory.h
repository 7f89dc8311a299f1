/* directory.h - who is in the mesh and how they are.
 *
 * Source: SWIM (DSN 2002) for suspicion and refutation; Lifeguard (DSN-W 2018)
 * for the patience of a late node and for that with one witness or several.
 * Words:
 *   record   what a node states of itself, signed; newer: (generation, version)
 *   report   what a witness states of another node: SUSPECT or OFFLINE. Void as
 *            soon as the subject's record is newer than the one it names
 *   refute   the subject publishes a version above the one a report names
 *   lease    a record is published anew every max(300 s, 10 s x members), so
 *            the whole mesh sees at most one refresh every ten seconds
 *   unheard  known from disk alone, or from memory since this node is cut off
 *            from everyone: listed offline, neither handed on nor reported,
 *            until someone speaks of it
 *
 * Failure. A neighbor's link that is reset, or ends without a word: one dial;
 * refused means OFFLINE, answered means nothing happened, anything else
 * SUSPECT. A silent one: SUSPECT. What is not refuted within seven tenths of
 * suspect_ms, or half of that once two witnesses agree, is offline, on each
 * node by its own timer; the witness dials once more and then says OFFLINE. A
 * node that was late itself dials before it accuses. A member with a live link
 * to this node is at worst suspect here. Those whose neighbors died with them
 * are found by probes, see core/failure.h.
 *
 * A clean stop is told by the node itself: a report on itself, OFFLINE,
 * "stopped". So no neighbor has to guess what a closed link meant, and a next
 * life with a higher generation makes it void.
 *
 * Anti-entropy: core/sync.h. Statements that came by it are broadcast again
 * only (a) when they are the record of the peer itself, which started after
 * this node (it just joined), or (b) when they are news to a node that is
 * established: it has a neighbor and has completed a session since it last had
 * none. Reason: after a split heals, the two nodes that meet speak for their
 * sides and must pass on what the other side knows; a newcomer that reads
 * 10,000 records has nobody behind it who lacks them. What is broadcast
 * needlessly dies after one hop, since nobody else forwards what is not news.
 * The queue is paced (SPREAD_BURST each SPREAD_PERIOD_MS) so that a merge of
 * two large meshes does not overrun the links.
 *
 * Two holders of one id (a cloned disk): a record of our own id with another
 * instance and another address is looked up by one dial an instance. Answered:
 * the one that started later (tie: the higher instance) makes a new key.
 * Otherwise it is our own older life, and we only outrun its version.
 *
 * Pure: time comes in with each call (now_ms monotonic, wall_us Unix), effects
 * leave in struct actions and by the listener, who must not call back. Memory
 * is taken when the table grows; a refused growth is counted and the statement
 * dropped, to be had again by anti-entropy. */
#ifndef ARGUS_CORE_DIRECTORY_H
#define ARGUS_CORE_DIRECTORY_H

#include "base/status.h"
#include "core/actions.h"
#include "core/departures.h"
#include "core/engine.h"
#include "core/event_sync.h"
#include "core/members.h"
#include "core/peer.h"

/** Members known at most, if the owner does not say. Beyond, whoever is gone
 *  longest makes room for a new one; else whoever was heard of by hearsay alone
 *  and is the longest without a new word, without leaving a tombstone. So
 *  identities that were made up cannot keep others out. Nobody else goes, and
 *  at most DIRECTORY_EVICT_RATE a second: then a new one is refused. */
#define DIRECTORY_MEMBERS_MAX 65536
#define DIRECTORY_EVICT_RATE 20
#define DIRECTORY_EVICT_BURST 100

/** Top byte of the dial numbers that the directory makes. */
#define DIRECTORY_DIAL_TAG 2

/** Neighbors followed at most; beyond: refused and counted. */
#define DIRECTORY_NEIGHBORS_MAX 1024

struct directory;

/* What the directory tells its owner, in the middle of a call. All are set. */
struct directory_listener {
    void *context;
    /** Hand a sealed statement to the broadcast. Bytes are borrowed. */
    void (*broadcast)(void *context, const uint8_t *payload, size_t size);
    /** A fresh HLC stamp; the owner keeps the mark on disk. */
    uint64_t (*stamp)(void *context);
    /** State or record changed; old_state == m->state: the record alone.
     *  UNKNOWN: the member is new. Own record included. */
    void (*member_changed)(void *context, const struct member *m,
                           argus_MemberState old_state);
    void (*member_forgotten)(void *context, const struct node_id *id);
    /** Another life of this id was ahead: from now on Hellos carry this
     *  generation, and the owner stores it. */
    void (*generation_raised)(void *context, uint32_t generation);

    /** Send a Summary to a neighbor, with that sum of records. NULL, or false:
     *  open a session instead. */
    bool (*summarize)(void *context, const struct node_id *neighbor,
                      uint64_t records);

    /** The second part of a session, about events (core/event_sync.h); both
     *  NULL: there is none. Begun by the dialer. */
    void (*events_begin)(void *context, struct event_session *session,
                         link_id link, struct actions *out);
    enum event_step (*events_frame)(void *context,
                                    struct event_session *session, link_id link,
                                    const argus_Frame *frame,
                                    struct actions *out);
};

enum directory_verdict {
    DIRECTORY_NEWS,  /* pass it on */
    DIRECTORY_STALE, /* known, older, void, or refused for a bound of ours */
    DIRECTORY_BAD,   /* nobody may say such a thing */
};

struct directory_stats {
    uint64_t records_news, records_stale, records_bad;
    uint64_t records_forgotten; /* came although an order forgets them */
    uint64_t reports_news, reports_stale, reports_bad, reports_stranger;
    uint64_t members_refused; /* the table is full */
    uint64_t members_evicted; /* ... and they made room */
    uint64_t memory_refused;
    uint64_t members_forgotten, members_superseded;
    uint64_t members_ordered_away; /* forgotten because an order says so */
    uint64_t tombstones_dropped;   /* before their time: too many */
    uint64_t records_published, reports_published, seal_failed;
    uint64_t records_trimmed;   /* texts of bundles cut to fit */
    uint64_t bundle_states_cut; /* more than a record has room for */
    uint64_t refutations, generations_raised, clones_found;
    uint64_t probes_sent, probes_answered, probes_refused, probes_silent;
    uint64_t probes_dropped;    /* no room in the queue */
    uint64_t mass_deaths;       /* episodes */
    uint64_t cut_offs;          /* this node found itself alone */
    uint64_t late_wakeups;      /* this node missed its own timer */
    uint64_t neighbors_refused; /* more than DIRECTORY_NEIGHBORS_MAX */
    uint64_t syncs_begun, syncs_accepted, syncs_done, syncs_failed;
    uint64_t syncs_refused;   /* too many at once, or a second of one peer */
    uint64_t syncs_malformed; /* a peer broke the rules of a session */
    uint64_t summaries_same, summaries_other; /* that neighbors sent */
    uint64_t frames_stranger;                 /* of no session */
    uint64_t items_sent, items_received, items_bad;
    uint64_t spread_again; /* statements broadcast after a sync */
};

/**
 * @param node  what the node is told about itself; copied.
 * @param members_max  0: DIRECTORY_MEMBERS_MAX.
 * @retval ARGUS_EINVAL  suspect_ms or retain_offline_s is 0, or a listener or
 *                       seal function is missing.
 * @retval ARGUS_ENOMEM
 */
int directory_new(const struct engine_options *node, uint32_t members_max,
                  const struct directory_listener *listener,
                  struct directory **out);
void directory_free(struct directory *d);

/** From disk, before the start: a record or, after its record, the report on
 *  it. Opened and checked. @return false: damaged, or it is not about `id`. */
bool directory_load(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                    const struct node_id *id, const uint8_t *packed,
                    size_t size);

/** Publish the own record for the first time; timers run from here. */
void directory_start(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                     struct actions *out);

/** "host:port" under which peers reach this node; published if it is new. */
void directory_set_address(struct directory *d, uint64_t now_ms,
                           uint64_t wall_us, const char *address,
                           struct actions *out);

/** How bundles are on this node; published soon if it is new. */
void directory_set_bundles(struct directory *d, uint64_t now_ms,
                           uint64_t wall_us, const argus_BundleState *states,
                           uint32_t count, struct actions *out);

/** Which mesh keys this node holds; published soon if it is new. */
void directory_set_keys(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                        const argus_HeldKey *held, uint32_t count,
                        struct actions *out);

/** How this node's clock is; published if it is new. The offset is that of the
 *  moment: it is not news by itself. */
void directory_set_clock(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                         const argus_ClockState *clock, struct actions *out);

/** What this node publishes (see core/publishers.h). Not news: the next record
 *  carries it, whenever that is. */
void directory_set_publishers(struct directory *d, uint64_t now_ms,
                              uint64_t wall_us, const uint8_t *digest,
                              size_t size, uint32_t count, uint32_t missing,
                              bool is_news, struct actions *out);

/** The records that operators ordered away, all of them; see core/forgotten.h.
 *  Those that are here go at once, if their nodes are offline or have left. */
void directory_set_forgotten(struct directory *d, uint64_t now_ms,
                             uint64_t wall_us, const argus_ForgottenNode *nodes,
                             uint32_t count, struct actions *out);

/** Leave for good: the record says so. Nothing is published afterwards. */
void directory_leave(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                     struct actions *out);

/** Undo a leave: the record is published again. Nothing without one. */
void directory_return(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                      struct actions *out);

/** The daemon stops: say so. Call it while the neighbors are still there. */
void directory_stop(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                    struct actions *out);

/** A record or report that came by broadcast, opened by the caller. */
enum directory_verdict
directory_on_statement(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                       const uint8_t *payload, size_t size,
                       const argus_Statement *statement,
                       const struct node_id *author, struct actions *out);

/** Any other sign of life: an event by that node was news, or it dialed us. */
void directory_heard(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                     const struct node_id *id);

/** A neighbor entered the active view. Tell the broadcast first: the own record
 *  may be published here. */
void directory_neighbor_up(struct directory *d, uint64_t now_ms,
                           uint64_t wall_us, const struct peer_info *peer,
                           struct actions *out);

/** A neighbor left the active view, and one of the two said so (Disconnect,
 *  eviction, a crossing or replaced link): no sign of trouble. */
void directory_neighbor_released(struct directory *d, uint64_t now_ms,
                                 uint64_t wall_us, const struct node_id *id,
                                 struct actions *out);

/** The link to a neighbor ended, and neither side had asked for it. */
void directory_neighbor_lost(struct directory *d, uint64_t now_ms,
                             uint64_t wall_us, const struct node_id *id,
                             enum link_end why, argus_RefuseCode code,
                             struct actions *out);

/** Links of kind SYNC, dialed or accepted, and PROBE links dialed here. */
void directory_on_link_up(struct directory *d, uint64_t now_ms,
                          uint64_t wall_us, link_id link, dial_id dial,
                          const struct peer_info *peer, struct actions *out);
/** Links that are not of the directory are ignored. */
void directory_on_link_down(struct directory *d, uint64_t now_ms,
                            uint64_t wall_us, link_id link, enum link_end why,
                            argus_RefuseCode code, struct actions *out);
void directory_on_dial_failed(struct directory *d, uint64_t now_ms,
                              uint64_t wall_us, dial_id dial, enum link_end why,
                              argus_RefuseCode code, struct actions *out);
/** A neighbor sent a Summary. */
void directory_on_summary(struct directory *d, uint64_t now_ms,
                          uint64_t wall_us, const struct node_id *neighbor,
                          uint64_t records, bool are_events_same);
/** Sum of the records and reports that are here, as in a Summary. */
uint64_t directory_sum(const struct directory *d);

/** Sums, Digest, Want, Items. */
void directory_on_frame(struct directory *d, uint64_t now_ms, uint64_t wall_us,
                        link_id link, const argus_Frame *frame,
                        struct actions *out);
void directory_on_timeout(struct directory *d, uint64_t now_ms,
                          uint64_t wall_us, struct actions *out);
uint64_t directory_deadline_ms(const struct directory *d);

/* ---- Questions. */

/** Members in a state, this node among the online ones (or left). */
uint32_t directory_count(const struct directory *d, argus_MemberState state);

/** In all states. */
uint32_t directory_members(const struct directory *d);

/** In insertion order, from 0; NULL behind the last. O(1). */
const struct member *directory_member(const struct directory *d,
                                      uint32_t index);
const struct member *directory_find(const struct directory *d,
                                    const struct node_id *id);
/** "" for a node whose record is not at hand. */
const char *directory_name(const struct directory *d, const struct node_id *id);

/** The online or suspect member that is dialed there; NULL: none. */
const struct member *directory_find_address(const struct directory *d,
                                            const char *address);

/** Aggregators online or suspect, this node among them, in insertion order. */
const struct member *directory_aggregator(const struct directory *d,
                                          uint32_t index);
/** Changes whenever the list above, or a state, weight, zone or address in it
 *  does. */
uint64_t directory_aggregators_stamp(const struct directory *d);

/** The whole record, unpacked. @return false: damaged memory, never expected.
 */
bool directory_record(const struct member *m, argus_NodeRecord *out);

/** The report in force about it, unpacked. @return false: there is none. */
bool directory_report(const struct member *m, argus_Report *out);

/** The digest of what a member publishes, in its record as it came: borrowed
 *  until its next one. NULL: none. */
const uint8_t *directory_publishers(const struct member *m, size_t *size);

/** Time of the last sign of life, Unix; now, where a link is up. 0: hearsay. */
uint64_t directory_heard_us(const struct member *m, uint64_t wall_us);

/** Mark the members that are there and have the name of another that is. */
void directory_find_namesakes(struct directory *d);

/** Who is suspect or offline. Members in it hold until the next input. */
bool directory_departures(const struct directory *d, struct departures *out);

/** Known are all but those known to be offline: so a zone that fell silent at
 *  once, or most of the mesh, lowers the coverage, and a single node does not.
 *  A node without a neighbor counts whom it knows from disk alone. */
void directory_coverage(const struct directory *d, uint64_t wall_us,
                        argus_Coverage *out);

/** This node's own (generation, version). */
uint32_t directory_generation(const struct directory *d);

const struct directory_stats *directory_stats(const struct directory *d);

#endif
