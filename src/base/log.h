/* log.h - log lines, to a sink that the owner of the process gives.
 *
 * Without a sink, lines go to standard error. The sink is set once, before any
 * thread starts, and may then be called from every thread. Levels are
 * syslog's, as collectd's are. Control characters of a line become "?". */
#ifndef ARGUS_BASE_LOG_H
#define ARGUS_BASE_LOG_H

#include <stdint.h>

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/** Longest line, with its NUL; longer ones are cut. */
#define LOG_LINE_SIZE 1024

void log_set_sink(void (*sink)(enum log_level level, const char *line));

void log_write(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One place in the code that may speak too often: at most `burst` lines in
 * each `period_ms`; what was held back is counted and said with the next
 * line. Zero-initialised but for the two bounds; one thread only. */
struct log_limit {
    uint32_t burst;
    uint32_t period_ms;
    uint64_t period_start_ms;
    uint32_t said;
    uint32_t held;
};

void log_limited(struct log_limit *limit, uint64_t now_ms, enum log_level level,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
