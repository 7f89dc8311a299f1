/* conn.h - one TCP connection under transport.c: frames in, frames out, bounds.
 *
 * Two lanes wait for the socket, control before bulk, a frame at a time. What
 * waits is bounded in bytes and in time without progress; whoever breaks that
 * is told and cut.
 *
 * Under TLS frames are encrypted when their turn comes, so that the lanes keep
 * their meaning; what is encrypted waits in a lane of its own before both. Who
 * waits for TLS and hears a plain frame (or the other way round) says so in a
 * plain Refuse, which is all that a side with a key takes in the clear: it ends
 * the link and shows up in a log line, nothing else. Of a handshake so many
 * bytes are taken: CONN_HANDSHAKE_MAX.
 *
 * Events come from the loop, never from within a call below; ended comes once,
 * gone comes last. */
#ifndef ARGUS_RUNTIME_CONN_H
#define ARGUS_RUNTIME_CONN_H

#include <stdbool.h>
#include <sys/queue.h>

#include <uv.h>

#include "argus.pb.h"
#include "core/peer.h"
#include "runtime/tls.h"
#include "runtime/transport.h"
#include "wire/frame.h"

struct conn;
struct conn_shared;
struct out; /* an encoded frame that waits */

struct conn_events {
    void (*opened)(struct conn *c); /* conn_connect() went well */
    void (*talks)(struct conn *c);  /* frames may be sent; after conn_start() */
    void (*frame)(struct conn *c, const argus_Frame *frame); /* not Refuse */
    void (*ended)(struct conn *c, enum link_end why, argus_RefuseCode code,
                  const char *text);
    void (*drained)(struct conn *c);
    void (*gone)(struct conn *c); /* free it */
    void (*turn)(
        struct conn_shared *shared); /* conn_shared_wake() was called */
};

TAILQ_HEAD(conn_list, conn);

/* What the connections of one transport share. */
struct conn_shared {
    uv_loop_t *loop;
    struct conn_events events;
    uint32_t stall_ms, linger_ms;
    struct transport_stats *stats;
    uv_idle_t idle;           /* reports the ended */
    struct conn_list ended;   /* not yet reported */
    unsigned holds;           /* conn_shared_hold() without its end */
    struct conn_list held;    /* frames wait for that end */
    argus_Frame *frame;       /* scratch of decoding */
    argus_Frame *refuse;      /* scratch of saying why */
    uint8_t *read_buffer;     /* CONN_READ_SIZE */
    uint8_t *write_buffer;    /* one whole frame */
    uint8_t *plain_buffer;    /* CONN_PLAIN_SIZE, what TLS decrypted */
    struct tls_output cipher; /* what TLS has to send; empty between calls */
};

#define CONN_READ_SIZE 65536
#define CONN_PLAIN_SIZE 16384 /* one record */

/** Bytes taken of a peer until its handshake is done: chains of certificates
 *  are the longest. */
#define CONN_HANDSHAKE_MAX 32768

enum conn_state {
    CONN_NEW,
    CONN_CONNECTING,
    CONN_OPEN,
    CONN_CLOSING, /* flushing; what arrives is thrown away */
    CONN_CLOSED,  /* handles are on their way out */
};

/* How bytes are protected. */
enum conn_guard {
    GUARD_NONE,   /* in the clear */
    GUARD_AWAITS, /* TLS, and the peer has not begun */
    GUARD_SHAKES,
    GUARD_UP,
    GUARD_REFUSES, /* TLS, and the peer speaks plain: only Refuse passes */
};

STAILQ_HEAD(out_list, out);

struct conn {
    struct conn_shared *shared;
    enum conn_state state;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_connect_t connecting;
    uv_write_t writing;
    uv_shutdown_t shutting;
    unsigned handles;
    char where[96]; /* "ip:port" of the peer */
    char ip[64];

    /* protection */
    enum conn_guard guard;
    struct tls_context *protection; /* until TLS has begun; held */
    struct tls *tls;
    size_t shaken; /* bytes of the peer's handshake */
    bool has_read;

    /* reading */
    size_t body_max;
    uint8_t *partial; /* a frame that is not whole yet, header first */
    size_t partial_used, partial_room;
    bool is_paused, is_ready;

    /* writing */
    struct out_list cipher, control, bulk, flying;
    size_t queued_bytes, queued_max;
    bool is_writing, is_congested, is_shut;
    bool is_held;
    TAILQ_ENTRY(conn) holding;
    uint64_t written, written_seen, progress_ms;

    /* the end */
    TAILQ_ENTRY(conn) ended_entry;
    bool has_end, has_reported;
    enum link_end why;
    argus_RefuseCode code;
    char text[256];
};

int conn_shared_init(struct conn_shared *shared, uv_loop_t *loop);
/** Frees the scratch; the idle handle is closed by its owner before. */
void conn_shared_close(struct conn_shared *shared);

/** From the first to its release frames wait for others to the same peer, a few
 *  at most, so that one write carries them. Calls may nest. */
void conn_shared_hold(struct conn_shared *shared);
void conn_shared_release(struct conn_shared *shared);

/** Call turn from the loop, soon. */
void conn_shared_wake(struct conn_shared *shared);

/** @return 0 or libuv's code; then no handle is open. */
int conn_init(struct conn *c, struct conn_shared *shared);

/** Begin to connect; opened or ended follows. */
void conn_connect(struct conn *c, const struct sockaddr *to, uint32_t wait_ms);

/**
 * Accepted or connected: shake hands, then read frames of at most body_max;
 * unless conn_ready() comes within wait_ms, it ends with TIMEOUT. talks()
 * follows; for a plain connection from within this call.
 * @param protection  NULL: in the clear.
 * @return false: ended.
 */
bool conn_start(struct conn *c, struct tls_context *protection, bool is_dialer,
                size_t body_max, uint32_t wait_ms);

/** Both Hellos went well: full frames, a queue of its kind. */
void conn_ready(struct conn *c, size_t queued_max);

void conn_send(struct conn *c, const argus_Frame *frame, bool is_urgent);
void conn_pause(struct conn *c, bool pause);

/** Flush, say Refuse(code, text), shut down, close; ended says CLOSED. */
void conn_close(struct conn *c, argus_RefuseCode code, const char *text);

/** Close at once; ended says why. */
void conn_abort(struct conn *c, enum link_end why, argus_RefuseCode code,
                const char *text);

/** A broken frame: counted, told, closed. */
void conn_malformed(struct conn *c, const char *text);

/** Fill where and ip from the socket. */
int conn_name_peer(struct conn *c, const struct sockaddr *address);

#endif
