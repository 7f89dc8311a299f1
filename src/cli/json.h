/* json.h - the shapes that all JSON answers share (argusctl(1)), and the
 * names of enumerations, which tables use too. Each json_* makes a new
 * reference for its caller. */
#ifndef ARGUS_CLI_JSON_H
#define ARGUS_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "argus.pb.h"

/** "2026-01-31T12:00:00.000000Z" and a NUL, for years up to 9999. */
#define TIME_TEXT_SIZE 28

/** RFC 3339, UTC, microseconds. */
void time_text(uint64_t unix_us, char out[TIME_TEXT_SIZE]);

uint64_t cdtime_to_us(uint64_t cdtime);

/** Bytes that are no UTF-8 become U+FFFD: JSON has no other way. */
json_t *json_text(const char *text);
/** null for NaN and infinities. */
json_t *json_number(double value);
json_t *json_count(uint64_t value);
/** null for 0. */
json_t *json_time(uint64_t unix_us);
json_t *json_hlc(uint64_t hlc);
json_t *json_id(const uint8_t *id);
json_t *json_coverage(const argus_Coverage *coverage);

/** Print one object and a newline, flush, and drop the reference. */
void json_print(json_t *object);

/** Rows of an answer that may be long. They are kept as text, not as one tree:
 *  that of 10,000 nodes takes longer to make and to print than all else. {0}
 *  has none. */
struct json_rows {
    char *text;
    size_t used, room;
};

/** Drops the reference. Ends the program where there is no memory. */
void json_rows_add(struct json_rows *rows, json_t *row);
/** Print {name: [rows], "coverage": COVERAGE} as json_print() does. */
void json_rows_print(const struct json_rows *rows, const char *name,
                     const argus_Coverage *coverage);
void json_rows_free(struct json_rows *rows);

const char *role_text(argus_Role role);
const char *node_state_text(argus_NodeState state);
const char *member_state_text(argus_MemberState state);
const char *severity_text(argus_Severity severity);
/** Any case. @return false: no such severity. */
bool severity_parse(const char *text, argus_Severity *out);

#endif
