/* own_record.h - what this node states of itself: publish, refute, outrun.
 *
 * A part of the directory (see directory.h), not of its door.
 *
 * Versions count up within a generation. Another life of our id that is ahead
 * (a restored disk, a clone) is outrun by a higher generation: first at once,
 * then with a wait that doubles up to CONTEST_WAIT_MAX_MS, so that two living
 * holders who cannot reach each other do not fill the mesh. */
#ifndef ARGUS_CORE_OWN_RECORD_H
#define ARGUS_CORE_OWN_RECORD_H

#include "core/directory.h"

#define LEASE_MIN_MS 300000
#define LEASE_MEMBER_MS 10000
#define PUBLISH_GAP_MS 100 /* between two versions, at least */
/* News of bundles and keys wait up to so long for each member: a push that all
 * nodes follow at once must not make all publish at once. */
#define PUBLISH_MEMBER_US 500
#define CONTEST_WAIT_MAX_MS 60000
#define CONTEST_QUIET_MS 600000 /* then the wait begins anew */
#define CLONES_REMEMBERED 8
/* What a statement on us may be ahead at most: else one lie would use up the
 * numbers that there are. */
#define VERSION_LEAP_MAX 65536

struct own {
    argus_NodeRecord record; /* as last published */
    struct member *member;
    uint32_t publishers; /* that there are, in the record or not */
    bool is_started;
    bool is_silent; /* stopped, left, or yielded to a clone */
    bool was_alone; /* published while nobody was there to hear it */
    uint64_t published_ms;
    uint64_t due_ms;   /* of the lease, or of a refutation that had to wait */
    uint32_t lease_ms; /* that due_ms goes by; 0: it is of something else */
    uint64_t contest_ms;
    uint32_t contest_wait_ms;           /* 0: no contest lately */
    uint64_t clones[CLONES_REMEMBERED]; /* instances looked up already */
    uint32_t clones_count;
};

void own_init(struct directory *d, const struct engine_options *node);

/** due_ms has come. A lease that was reckoned when the mesh was less than half
 *  as large (at the start nobody else is known) is not over yet: the rest of
 *  the new one is used at random, so that those who started together do not all
 *  publish at once. */
void own_on_due(struct directory *d, struct actions *out);

/** The lease that every node keeps at the present size of the mesh. */
uint32_t own_lease_ms(const struct directory *d);
void own_publish(struct directory *d, struct actions *out);

/** Now, or PUBLISH_GAP_MS after the last time. */
void own_publish_soon(struct directory *d, struct actions *out);

/** How bundles are here. At most as many as a record has room for. */
void own_set_bundles(struct directory *d, const argus_BundleState *states,
                     uint32_t count, struct actions *out);

/** Which mesh keys are held here. At most as many as a record has room for. */
void own_set_keys(struct directory *d, const argus_HeldKey *held,
                  uint32_t count, struct actions *out);

/** How this node's clock is; alarms are published soon, the others in turn. */
void own_set_clock(struct directory *d, const argus_ClockState *clock,
                   struct actions *out);

/** What is published here: a digest of at most DIGEST_SIZE_MAX bytes. */
void own_set_publishers(struct directory *d, const uint8_t *digest, size_t size,
                        uint32_t count, uint32_t missing, bool is_news,
                        struct actions *out);

/** An order forgets this node up to that version: publish one above it. */
void own_on_forgotten(struct directory *d, uint32_t generation,
                      uint32_t version, struct actions *out);

/** Someone says that we are suspect or offline. */
enum directory_verdict own_on_report(struct directory *d,
                                     const argus_Report *report,
                                     struct actions *out);
/** A record of our id. out NULL: from disk. */
enum directory_verdict own_on_record(struct directory *d,
                                     const argus_NodeRecord *record,
                                     struct actions *out);
/** Another process answers with our id: one of the two must go. */
void own_on_clone(struct directory *d, uint64_t instance, uint64_t started_ms,
                  struct actions *out);

#endif
