/* collectd.h - a stand-in for the daemon: keeps what a plugin registers and
 * calls it as collectd 5.12 does.
 *
 * Like the real one it runs init callbacks that an init callback appends, keeps
 * the plugin context with a queued value and restores it for the writers, frees
 * the user data of read callbacks first at shutdown, and loses what is then in
 * its queue. Values are written by the thread that calls mock_write_all().
 * Whatever a test can see is a plain variable below. */
#ifndef ARGUS_TESTS_MOCK_COLLECTD_H
#define ARGUS_TESTS_MOCK_COLLECTD_H

#include "collectd.h"

#include "liboconfig/oconfig.h"
#include "plugin.h"

/** Forget everything, also what tests have set. */
void mock_reset(void);

/* ---- configuration */

/** A new, empty `<Plugin argus>`; freed by mock_reset(). */
oconfig_item_t *mock_block(void);

/** Add one line: `Seed "host" 25827`, or `Route.Enable true` for an option in a
 *  block. Numbers, true and false are themselves, all else is text. */
oconfig_item_t *mock_line(oconfig_item_t *block, const char *line);

/** Several lines at once, the last NULL. */
oconfig_item_t *mock_lines(const char *const *lines);

/** Global options as in collectd.conf; NULL: not set. Text is borrowed. */
void mock_global(const char *name, const char *value);

/* ---- the life of the daemon */

int mock_configure(oconfig_item_t *block); /* what the plugin answered */
int mock_init_all(void);                   /* 0: every init did */
void mock_read_all(void);
/** The queue, through the chains, to the writers; by the calling thread. */
void mock_write_all(void);
void mock_write_one(void);
int mock_missing(const value_list_t *vl);
void mock_flush(cdtime_t timeout, const char *identifier);
void mock_shutdown(void);

/* ---- what tests set and see */

/** Before the cache; non-zero: stop; NULL: none. */
extern int (*mock_chain)(value_list_t *vl);
/** Behind the cache: the one writer that gets values; NULL: all do. */
extern const char *mock_only_writer;
extern int
    mock_threads_fail_at; /* number of the plugin thread that fails; 0: none */
extern int mock_dispatch_status; /* what plugin_dispatch_values() returns */

extern char mock_log[1024]; /* the last line */
extern unsigned mock_log_lines;
extern unsigned mock_queue_length;
extern unsigned mock_queue_lost;     /* freed unwritten at shutdown */
extern notification_t mock_notified; /* the last one dispatched, without meta */
extern unsigned mock_notifications;
extern plugin_ctx_t mock_notified_ctx;
extern const char *mock_loaded; /* a plugin besides cpu; NULL: none */
extern notification_meta_t mock_notified_metas[]; /* texts are gone */
extern unsigned mock_notified_metas_count;
extern unsigned mock_writers, mock_readers, mock_cache_watchers;

/* The value cache: one entry. */
extern bool mock_cached; /* there is one */
extern value_t mock_cached_value;
extern cdtime_t mock_cached_time; /* as uc_update() had it last */

/** A writer that comes before the plugin's own, and what it saw last. */
void mock_register_writer(void);
extern value_list_t mock_written;   /* values are not kept */
extern uint64_t mock_written_first; /* bits of the first value */
extern char mock_written_set[DATA_MAX_NAME_LEN];
extern unsigned mock_writes;
extern unsigned mock_written_metas; /* entries of its meta data */

/** Order of what happened: words with a blank behind each. */
extern char mock_trace[4096];
void mock_note(const char *word);

#endif
