/* worker_log.h - what collectd and the bundle's plugins say: sent up, and read,
 * since failures are told nowhere else. */
#ifndef ARGUS_PLUGIN_WORKER_LOG_H
#define ARGUS_PLUGIN_WORKER_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Lines that are sent up: so many a second, and that many at once. The others
 *  are counted, and their number is said. */
#define LOG_LINES_PER_S 20
#define LOG_LINES_BURST 100

/** Lines a second that no plugin of use writes, and for how many seconds it may
 *  all the same. */
#define LOG_FLOOD_LINES 2000
#define LOG_FLOOD_SECONDS 4

/** Register the log callback, when this plugin is loaded: lines go to standard
 *  error until guard_install() was called, and up from then on. Its last act is
 * the last of collectd's own end, behind every other callback: then `ended` is
 * called. */
int log_open(void (*ended)(void));

struct log_found {
    uint32_t failed_inits, failed_reads, errors;
    char init[256];  /* the line of the first failed init; "" */
    char read[256];  /* and of the first failed read */
    char busy[512];  /* the first line that says: a port or socket is taken */
    bool is_busy;    /* and it was an ERROR */
    char error[512]; /* the first ERROR lines, with "; " between */
};

/** What was found so far. */
void log_read(struct log_found *out);

/** The first WARNING; "". For a configuration that failed without an ERROR. */
void log_first_warning(char *out, size_t size);

/** Is any writer registered? Asks collectd, which answers by a line. */
bool log_has_writers(void);

/** Has collectd left its main loop? */
bool log_is_leaving(void);

#endif
