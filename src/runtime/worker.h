/* worker.h - one worker: the collectd that runs one version of a bundle, from
 * its folder and its process to the last of what it started.
 *
 * Happy path: worker_start() makes a folder, starts the process and waits for
 * HELLO; phases pass within their time-outs; `ready` comes once every init and
 * two read passes went well, and values may come before and after it;
 * worker_stop() lets it drain and end; `ended` comes when process, strays and
 * folder are gone, and then worker_free() may be called.
 *
 * Otherwise `failed` comes, once and with the text that explains it, and later
 * `ended` all the same. Its fate is read from what it said, from its output and
 * from whether it still lives; nobody waits for it.
 *
 * It runs what somebody pushed: whatever it does must cost the loop next to
 * nothing. So its socket is read at so many bytes a turn and a second and its
 * output at fewer; beyond that it waits, and nobody else. Nothing it sends is
 * believed before wire/pair.h has checked it. */
#ifndef ARGUS_RUNTIME_WORKER_H
#define ARGUS_RUNTIME_WORKER_H

#include <uv.h>

#include "core/content.h"
#include "runtime/worker_dir.h"
#include "wire/pair.h"

/* Bounds of one worker. */
#define WORKER_TURN_BYTES PAIR_MESSAGE_MAX /* read in a turn of the loop */
#define WORKER_SECOND_BYTES (4u << 20)     /* ... and in a second */
#define WORKER_SECOND_MESSAGES 10000u
#define WORKER_SECOND_OUTPUT 65536u      /* of standard output and error */
#define WORKER_DOWN_BYTES_MAX (4u << 20) /* that wait for it to read */
#define WORKER_FLOOD_SECONDS 4u /* that it may spend whole; then it must go */
#define WORKER_LOG_BURST 20u    /* log lines in ten seconds */

/* Time-outs. A worker calls a read late itself at 10 s, and has the grace to
 * say so. */
#define WORKER_HELLO_MS 5000u
#define WORKER_VET_MS 5000u
#define WORKER_READ_MS 32000u
#define WORKER_GRACE_MS 1500u
#define WORKER_STOP_MS 5000u
#define WORKER_LAST_WORDS_MS 300u /* for a crash line to arrive */

struct worker;

struct worker_options {
    const char *program; /* NULL: the one that runs here */
    const char *state_dir;
    const struct worker_user *user;
    const char *bundle;
    uint32_t number; /* never used again */
    const argus_Manifest *manifest;
    const struct chunk_store *chunks;
    uint32_t start_timeout_ms; /* for configuration and init */
    /** Write collectd.conf for a worker with that folder. @return its length;
     *  0: too long. */
    size_t (*configure)(void *context, const char *bundle, const char *dir,
                        char *out, size_t size);
    void *context; /* of configure */
};

/* Called from the loop, never from within worker_start(). They may call
 * worker_stop() and worker_kill(), but not worker_free(). */
struct worker_listener {
    void *context;
    void (*ready)(void *context, struct worker *w,
                  const struct pair_ready *ready);
    /** SET, VALUE or NOTIFICATION, checked. */
    void (*message)(void *context, struct worker *w,
                    const struct pair_message *m, const uint8_t *whole,
                    size_t size);
    /** refused: the bundle may not run at all. */
    void (*failed)(void *context, struct worker *w, bool refused,
                   const char *text);
    void (*ended)(void *context, struct worker *w);
};

struct worker_stats {
    uint64_t values_up, notifications_up;
    uint64_t values_down, down_dropped;
    uint64_t logs, logs_held, output_bytes;
    uint64_t pauses; /* times it had to wait for the next second */
};

/** Copies what it needs. @retval ARGUS_EIO, ARGUS_EINVAL, ARGUS_ENOMEM with a
 *  text; then nothing is left. */
int worker_start(uv_loop_t *loop, const struct worker_options *options,
                 const struct worker_listener *listener, struct worker **out,
                 struct argus_error *err);

/** Queue a message for it. @return false: no room; counted. */
bool worker_send(struct worker *w, const uint8_t *message, size_t size);

/** Let it drain and end; killed after WORKER_STOP_MS. */
void worker_stop(struct worker *w);

/** End it at once, with all that it started. */
void worker_kill(struct worker *w);

/** Take nothing more from it for now, or again. */
void worker_pause(struct worker *w, bool pause);

/** After `ended`; it frees itself once the loop has let go of it. */
void worker_free(struct worker *w);

/** When no loop turns any more: kill, close, remove, free. */
void worker_abandon(struct worker *w);

uint32_t worker_number(const struct worker *w);
uint32_t worker_pid(const struct worker *w);
enum pair_phase worker_phase(const struct worker *w);

/** Does it hold a UNIX socket bound to a path? What starts beside it would lose
 *  its own when this one ends. */
bool worker_holds_path(const struct worker *w);

/** Sums over all workers there ever were. */
const struct worker_stats *worker_stats(void);

#endif
