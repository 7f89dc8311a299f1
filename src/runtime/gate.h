/* gate.h - which values of which worker of a bundle pass on into collectd.
 *
 * A new version starts beside the old one with its values held. Once it is
 * ready its gate opens: what is held is replayed, of each series one value a
 * turn, and each series changes hands with the first value that the newer
 * worker has for it. So no series waits for
 * another, and those that the new version does not deliver yet come from the
 * old one as long as that runs.
 *
 * In each series a value that changes hands must be newer than the last one by
 * at least a tenth of the interval (at most 0.1 s): both versions read the same
 * thing at nearly the same time, and collectd takes no two values of one time.
 * A series that nobody delivered for long is forgotten.
 *
 * A newer worker is one with a higher number. One thread. */
#ifndef ARGUS_RUNTIME_GATE_H
#define ARGUS_RUNTIME_GATE_H

#include "wire/pair.h"

/** Series of one bundle; values of further ones are refused and counted. */
#define GATE_SERIES_MAX 65536u

/** Bytes that one worker's held values may take; the oldest go first. */
#define GATE_HELD_MAX (8u << 20)

/** A series is kept for so long after its last value, or three intervals. */
#define GATE_KEEP_MS 3600000u

struct gate;

/* What a worker of the bundle delivered through the gate. */
struct gate_tally {
    uint64_t values;   /* passed */
    uint64_t last_ms;  /* when the last one did */
    uint64_t interval; /* longest of its series, cdtime */
};

struct gate_stats {
    uint64_t held_dropped;   /* no room while held */
    uint64_t early;          /* too near to the last one at a change of hands */
    uint64_t superseded;     /* a newer worker delivers that series */
    uint64_t repeated;       /* of the same time as the last one */
    uint64_t series_refused; /* too many series */
    uint64_t switched;       /* series that changed hands */
};

/** Pass a message on. begins: the first value that this worker has for a series
 *  that another one delivered before. */
typedef void (*gate_pass)(void *context, uint32_t worker, bool begins,
                          const uint8_t *message, size_t size);

/** NULL: no memory. */
struct gate *gate_new(gate_pass pass, void *context);
void gate_free(struct gate *g);

/** Values and notifications of a worker are held, then pass, then are dropped.
 *  @retval false  no memory, or too many workers at once. */
bool gate_hold(struct gate *g, uint32_t worker);
void gate_open(struct gate *g, uint32_t worker, uint64_t now_ms);
/** Go on with replays. To be called a few times a second while gate_waits(). */
void gate_turn(struct gate *g, uint64_t now_ms);
/** Is there a replay to go on with? */
bool gate_waits(const struct gate *g, uint64_t now_ms);
void gate_close(struct gate *g, uint32_t worker);

/** A VALUE or NOTIFICATION of a worker. @param value  NULL for the latter. */
void gate_take(struct gate *g, uint32_t worker, const struct pair_value *value,
               const uint8_t *message, size_t size, uint64_t now_ms);

/** @return false: that worker is not known here. */
bool gate_tally(const struct gate *g, uint32_t worker, struct gate_tally *out);

/** Series that this worker is still the last to have delivered; *interval is
 *  the longest of them. */
uint32_t gate_owned(const struct gate *g, uint32_t worker, uint64_t *interval);

void gate_forget_old(struct gate *g, uint64_t now_ms);

/** Sums over all gates. */
const struct gate_stats *gate_stats(void);

#endif
