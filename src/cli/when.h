/* when.h - points in time as people type them. */
#ifndef ARGUS_CLI_WHEN_H
#define ARGUS_CLI_WHEN_H

#include <stdbool.h>
#include <stdint.h>

/** 9999-12-31T23:59:59Z: later cannot be written. */
#define WHEN_LAST_US (253402300799u * 1000000ull)

/** Unix, wall clock. */
uint64_t when_now_us(void);

/** "90", "90s", "10m", "2h", "1d": so long ago. @return false: not of that
 *  form; so below. */
bool when_past(const char *text, uint64_t *out_us);

/** "+90s", "+12h", "+30d": so far ahead. */
bool when_future(const char *text, uint64_t *out_us);

/** "2026-01-31T12:00:00Z", with a fraction and an offset if need be. */
bool when_rfc3339(const char *text, uint64_t *out_us);

#endif
