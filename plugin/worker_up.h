/* worker_up.h - what goes up to the daemon: many small messages, few writes.
 *
 * One bounded buffer is filled by any thread while the one before it is sent.
 * When it is full, values wait, so that a slow daemon slows the write threads
 * down instead of filling memory; lines of the log never wait. One thread
 * (worker_life.c) sends. */
#ifndef ARGUS_PLUGIN_WORKER_UP_H
#define ARGUS_PLUGIN_WORKER_UP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/pair.h"

/** Bytes of each of the two buffers; a part is kept free for other than values,
 *  so that a flood of these does not silence the rest. */
#define UP_SIZE ((size_t)131072)
#define UP_KEPT ((size_t)8192)

enum up_kind {
    UP_DATA,  /* waits for room */
    UP_STATE, /* waits too, but has what is kept free; sent at once */
    UP_LINE,  /* never waits */
};

/** Write a message of `what` into `out`. @return its size, 0: does not fit. */
typedef size_t (*up_put)(uint8_t *out, size_t room, const void *what);

/** The descriptor of the socket pair, non-blocking from here on. @return false:
 *  it is none. */
bool up_open(int fd);

/** Readable when there is something to send, or up_wake() was called. */
int up_event(void);

/** May be called in a signal handler. */
void up_wake(void);

/** @return false: not taken (closed; full and a line; larger than a buffer). */
bool up_add(enum up_kind kind, up_put put, const void *what);

/** Send what the socket takes now. For the one thread that sends.
 *  @return true: some is left, so wait until the socket is writable. */
bool up_send(void);

/** Was nothing but values added since the last up_send(), and little of it?
 * Then waiting for more is worth a millisecond. */
bool up_may_wait(void);

/** Wait until all is sent, at most so long. @return false: it is not. */
bool up_flush(unsigned timeout_ms);

/** The other end is gone: nothing is taken any more, and nobody waits. */
void up_close(void);

#endif
