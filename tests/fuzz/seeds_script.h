/* seeds_script.h - words of a script for fuzz_engine.c. */
#ifndef ARGUS_TESTS_SEEDS_SCRIPT_H
#define ARGUS_TESTS_SEEDS_SCRIPT_H

#include "seeds.h"

/* Operations by their place in the table of fuzz_engine.c. */
enum {
    PASS,
    ACCEPT,
    DIALED,
    DIAL_FAILED,
    DOWN,
    FRAME,
    DRAINED,
    MEMBERSHIP,
    STATEMENT,
    DIGEST,
    PUSH,
    BUNDLE_ITEMS,
    BUNDLE_SESSION,
    VALUES,
    ACK,
    SERIES,
    BATCH,
    TOKENS,
    NOTICE,
    OPERATOR,
    STATES,
    STOP,
    EVENT_SESSION,
    REACH,
    SUMS,
    SUMMARY,
    TURN,
    TWIN_PASS,
    TREE
};
enum { MESH, METRICS, SYNC, PROBE, BUNDLE };

void op(uint8_t operation, uint64_t arguments, size_t size);
void op_accept(uint8_t slot, uint8_t who, uint8_t kind);

/** A neighbor on slot 1, who passes on what others state. */
void op_neighbor(void);
/** In its place when it is gone. */
void op_other_neighbor(uint8_t who);

/** Broadcast by the neighbor: the record of `who`, what it says of `subject`,
 *  and an encoded statement as the author of which it is named. */
void op_record(uint8_t who, uint8_t flags, uint8_t version);
void op_report(uint8_t who, uint8_t subject, uint8_t state);
void op_raw_statement(uint8_t who, const pb_msgdesc_t *fields, pb_size_t tag);

void op_stated_event(uint8_t slot, uint8_t who, uint8_t severity,
                     uint8_t number);
/** Events of this node. */
void op_notices(int count);

#endif
