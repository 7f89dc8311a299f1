#include "runtime/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

/** One write to the socket: a frame of the control lane waits for no more. */
#define FLYING_FRAMES_MAX 16
#define FLYING_BYTES_MAX 65536
/** Frames that are held for one write. */
#define HELD_BYTES_MAX 8192
/** A buffer for partial frames up to this size is kept. */
#define PARTIAL_KEPT 4096

struct out {
    STAILQ_ENTRY(out) next;
    size_t size;
    uint8_t bytes[];
};

static void on_timer(uv_timer_t *timer);
static void start_write(struct conn *c);
static void flush_cipher(struct conn *c);
static void write_held(struct conn *c);

/* ------------------------------------------------------------ the end */

static void on_idle(uv_idle_t *idle)
{
    struct conn_shared *shared = idle->data;
    struct conn *c;

    (void)uv_idle_stop(idle);
    while ((c = TAILQ_FIRST(&shared->ended)) != NULL) {
        TAILQ_REMOVE(&shared->ended, c, ended_entry);
        c->has_reported = true;
        shared->events.ended(c, c->why, c->code, c->text);
        if (c->handles == 0)
            shared->events.gone(c);
    }
    shared->events.turn(shared);
}

void conn_shared_wake(struct conn_shared *shared)
{
    (void)uv_idle_start(&shared->idle, on_idle);
}

static void end_with(struct conn *c, enum link_end why, argus_RefuseCode code,
                     const char *text)
{
    if (c->has_end)
        return;
    c->has_end = true;
    c->why = why;
    c->code = code;
    text_clean(c->text, sizeof c->text, text);
    TAILQ_INSERT_TAIL(&c->shared->ended, c, ended_entry);
    conn_shared_wake(c->shared);
}

static void free_list(struct conn *c, struct out_list *list)
{
    struct out *o;

    while ((o = STAILQ_FIRST(list)) != NULL) {
        STAILQ_REMOVE_HEAD(list, next);
        c->queued_bytes -= o->size;
        free(o);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;

    if (--c->handles > 0)
        return;
    tls_free(c->tls);
    c->tls = NULL;
    tls_context_release(c->protection);
    c->protection = NULL;
    free_list(c, &c->cipher);
    free_list(c, &c->control);
    free_list(c, &c->bulk);
    free_list(c, &c->flying);
    free(c->partial);
    c->partial = NULL;
    if (c->has_reported)
        c->shared->events.gone(c);
}

static void let_go(struct conn *c)
{
    if (!c->is_held)
        return;
    c->is_held = false;
    TAILQ_REMOVE(&c->shared->held, c, holding);
}

static void close_handles(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    let_go(c);
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

void conn_abort(struct conn *c, enum link_end why, argus_RefuseCode code,
                const char *text)
{
    end_with(c, why, code, text);
    close_handles(c);
}

static void abort_uv(struct conn *c, int status)
{
    enum link_end why = LINK_END_RESET;

    if (status == UV_ETIMEDOUT || status == UV_EHOSTUNREACH ||
        status == UV_ENETUNREACH)
        why = LINK_END_TIMEOUT;
    else if (status == UV_ECONNREFUSED)
        why = LINK_END_REFUSED;
    else if (status == UV_ENOMEM || status == UV_ENOBUFS ||
             status == UV_EMFILE || status == UV_EINVAL ||
             status == UV_EADDRNOTAVAIL || status == UV_EAFNOSUPPORT)
        why = LINK_END_LOCAL;
    conn_abort(c, why, argus_RefuseCode_REFUSE_NONE,
               status == UV_EOF ? "closed without a word"
                                : uv_strerror(status));
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct conn *c = request->data;

    /* Now the peer has it all and closes; reading on until then keeps the
     * kernel from answering late bytes with a reset that eats the Refuse. */
    if (status != 0)
        close_handles(c);
}

static void shut_when_flushed(struct conn *c)
{
    if (c->state != CONN_CLOSING || c->is_writing || c->is_shut)
        return;
    c->is_shut = true;
    c->shutting.data = c;
    if (uv_shutdown(&c->shutting, (uv_stream_t *)&c->tcp, on_shutdown) != 0)
        close_handles(c);
}

/* The Refuse goes behind everything: the bulk lane is the last to be sent. */
static void refuse_and_flush(struct conn *c, argus_RefuseCode code,
                             const char *text)
{
    argus_Frame *frame = c->shared->refuse;

    memset(frame, 0, sizeof *frame);
    frame->which_body = argus_Frame_refuse_tag;
    frame->body.refuse.code = code;
    text_clean(frame->body.refuse.text, sizeof frame->body.refuse.text, text);
    c->queued_max = SIZE_MAX;
    conn_send(c, frame, false);
    write_held(c);
    if (c->state != CONN_OPEN)
        return; /* the socket is broken already */
    c->state = CONN_CLOSING;
    if (c->is_paused)
        conn_pause(c, false);
    (void)uv_timer_start(&c->timer, on_timer, c->shared->linger_ms, 0);
    shut_when_flushed(c);
}

void conn_close(struct conn *c, argus_RefuseCode code, const char *text)
{
    if (c->has_end)
        return;
    if (c->state != CONN_OPEN) {
        conn_abort(c, LINK_END_CLOSED, code, text);
        return;
    }
    end_with(c, LINK_END_CLOSED, code, text);
    refuse_and_flush(c, code, text);
}

void conn_malformed(struct conn *c, const char *text)
{
    c->shared->stats->frames_malformed++;
    if (c->has_end)
        return;
    end_with(c, LINK_END_BROKEN, argus_RefuseCode_REFUSE_MALFORMED, text);
    if (c->state == CONN_OPEN)
        refuse_and_flush(c, argus_RefuseCode_REFUSE_MALFORMED, text);
    else
        close_handles(c);
}

static void expel(struct conn *c, const char *text)
{
    if (c->has_end)
        return;
    c->shared->stats->peers_expelled++;
    end_with(c, LINK_END_CLOSED, argus_RefuseCode_REFUSE_SLOW, text);
    free_list(c, &c->control); /* only a frame under way is finished */
    free_list(c, &c->bulk);
    refuse_and_flush(c, argus_RefuseCode_REFUSE_SLOW, text);
}

/* ------------------------------------------------------------ time */

static void expect_progress(struct conn *c)
{
    uint64_t step_ms = c->shared->stall_ms / 4 + 1;

    c->progress_ms = uv_now(c->shared->loop);
    (void)uv_timer_start(&c->timer, on_timer, step_ms, step_ms);
}

static void watch_progress(struct conn *c)
{
    uint64_t now = uv_now(c->shared->loop);
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    uint64_t written = c->written - left;

    if (written != c->written_seen) {
        c->written_seen = written;
        c->progress_ms = now;
    }
    if (now - c->progress_ms >= c->shared->stall_ms)
        expel(c, "nothing was read for too long");
}

static void on_timer(uv_timer_t *timer)
{
    struct conn *c = timer->data;

    switch (c->state) {
    case CONN_CONNECTING:
        conn_abort(c, LINK_END_TIMEOUT, argus_RefuseCode_REFUSE_NONE,
                   "no answer");
        break;
    case CONN_OPEN:
        if (c->is_ready)
            watch_progress(c);
        else
            conn_abort(c, LINK_END_TIMEOUT, argus_RefuseCode_REFUSE_NONE,
                       "no Hello in time");
        break;
    case CONN_CLOSING: close_handles(c); break;
    case CONN_NEW:
    case CONN_CLOSED: break;
    }
}

/* ------------------------------------------------------------ reading */

static bool is_reading(const struct conn *c)
{
    return c->state == CONN_OPEN && !c->has_end;
}

static void on_body(struct conn *c, const uint8_t *body, size_t size)
{
    argus_Frame *frame = c->shared->frame;
    struct argus_error err = {{0}};

    if (frame_decode(body, size, frame, &err) != ARGUS_OK) {
        conn_malformed(c, err.text);
        return;
    }
    c->shared->stats->frames_received++;
    if (frame->which_body == argus_Frame_refuse_tag)
        conn_abort(c, LINK_END_CLOSED, frame->body.refuse.code,
                   frame->body.refuse.text);
    else if (c->guard == GUARD_REFUSES)
        conn_malformed(c, "a plain frame, in place of TLS");
    else
        c->shared->events.frame(c, frame);
}

/* @return the length of the body, or -1: refused. */
static int body_length(struct conn *c, const uint8_t *header)
{
    struct argus_error err = {{0}};
    int length = frame_length(header, c->body_max, &err);

    if (length >= 0)
        return length;
    conn_malformed(c, err.text);
    return -1;
}

static bool partial_reserve(struct conn *c, size_t room)
{
    if (room <= c->partial_room)
        return true;
    uint8_t *grown = realloc(c->partial, room);
    if (grown == NULL) {
        conn_abort(c, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                   "no memory for a frame");
        return false;
    }
    c->partial = grown;
    c->partial_room = room;
    return true;
}

static void partial_done(struct conn *c)
{
    c->partial_used = 0;
    if (c->partial_room > PARTIAL_KEPT) {
        free(c->partial);
        c->partial = NULL;
        c->partial_room = 0;
    }
}

/* Add bytes to the frame begun before. @return how many were taken. */
static size_t partial_add(struct conn *c, const uint8_t *data, size_t size)
{
    size_t want = FRAME_HEADER_SIZE;

    if (c->partial_used >= FRAME_HEADER_SIZE) {
        int length = body_length(c, c->partial);
        if (length < 0)
            return size;
        want += (size_t)length;
    }
    size_t take = want - c->partial_used;
    if (take > size)
        take = size;
    if (!partial_reserve(c, want))
        return size;
    if (take > 0)
        memcpy(c->partial + c->partial_used, data, take);
    c->partial_used += take;
    if (c->partial_used == want && want > FRAME_HEADER_SIZE) {
        on_body(c, c->partial + FRAME_HEADER_SIZE, want - FRAME_HEADER_SIZE);
        partial_done(c);
    } else if (c->partial_used == FRAME_HEADER_SIZE) {
        int length = body_length(c, c->partial);
        if (length == 0) {
            on_body(c, c->partial, 0);
            partial_done(c);
        }
    }
    return take;
}

/* All plain bytes come in here. */
static void bytes_in(struct conn *c, const uint8_t *data, size_t size)
{
    while (size > 0 && is_reading(c) && c->partial_used > 0) {
        size_t taken = partial_add(c, data, size);
        data += taken;
        size -= taken;
    }
    while (size >= FRAME_HEADER_SIZE && is_reading(c)) {
        int length = body_length(c, data);
        if (length < 0 || size < FRAME_HEADER_SIZE + (size_t)length)
            break;
        on_body(c, data + FRAME_HEADER_SIZE, (size_t)length);
        data += FRAME_HEADER_SIZE + (size_t)length;
        size -= FRAME_HEADER_SIZE + (size_t)length;
    }
    while (size > 0 && is_reading(c)) {
        size_t taken = partial_add(c, data, size);
        data += taken;
        size -= taken;
    }
}

/* ------------------------------------------------------------ TLS */

static void end_handshake(struct conn *c, const char *text)
{
    c->shared->stats->handshakes_failed++;
    flush_cipher(c); /* OpenSSL's alert */
    conn_abort(c, LINK_END_CLOSED, argus_RefuseCode_REFUSE_KEY, text);
}

/* @return false: ended. */
static bool begin_tls(struct conn *c, bool is_dialer)
{
    c->tls = tls_new(c->protection, is_dialer, &c->shared->cipher);
    tls_context_release(c->protection);
    c->protection = NULL;
    if (c->tls == NULL) {
        conn_abort(c, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                   "no memory for TLS");
        return false;
    }
    c->guard = GUARD_SHAKES;
    if (is_dialer) {
        tls_begin(c->tls);
        flush_cipher(c);
    }
    return c->state == CONN_OPEN;
}

/* The first bytes tell who does not speak TLS. @return false: nothing more is
 * to be done with them. */
static bool check_first(struct conn *c, uint8_t first)
{
    bool is_tls = first == TLS_FIRST_BYTE || first == TLS_ALERT_BYTE;

    switch (c->guard) {
    case GUARD_NONE:
        if (!is_tls)
            return true;
        conn_close(c, argus_RefuseCode_REFUSE_KEY,
                   "TLS, and this node has no key: set KeyFile (or "
                   "Certificate) in its <Security>");
        return false;
    case GUARD_AWAITS:
        if (is_tls)
            return begin_tls(c, false);
        conn_close(c, argus_RefuseCode_REFUSE_KEY,
                   "no TLS, and this node takes protected links only: set "
                   "KeyFile (or Certificate) in <Security>, as here");
        return false;
    case GUARD_SHAKES:
        if (!is_tls)
            c->guard = GUARD_REFUSES;
        return true;
    case GUARD_UP:
    case GUARD_REFUSES: break;
    }
    return true;
}

static void secure_in(struct conn *c, const uint8_t *data, size_t size)
{
    uint8_t *plain = c->shared->plain_buffer;
    ssize_t got = 0;

    if (c->guard == GUARD_SHAKES && (c->shaken += size) > CONN_HANDSHAKE_MAX) {
        end_handshake(c, "more bytes than a handshake has");
        return;
    }
    tls_lend(c->tls, data, size);
    do {
        got = tls_read(c->tls, plain, CONN_PLAIN_SIZE);
        flush_cipher(c);
        if (got < 0 && c->guard == GUARD_SHAKES) {
            end_handshake(c, tls_text(c->tls));
        } else if (got < 0) {
            conn_abort(c, LINK_END_RESET, argus_RefuseCode_REFUSE_NONE,
                       tls_text(c->tls));
        } else if (got > 0) {
            bytes_in(c, plain, (size_t)got);
        } else if (c->guard == GUARD_SHAKES && tls_is_up(c->tls)) {
            c->guard = GUARD_UP;
            c->shared->events.talks(c);
            got = 1; /* frames may have come with the last flight */
        }
    } while (got > 0 && is_reading(c) && tls_has_more(c->tls));
    tls_lend(c->tls, NULL, 0);
}

static void socket_in(struct conn *c, const uint8_t *data, size_t size)
{
    if (!is_reading(c) || size == 0)
        return;
    if (!c->has_read) {
        c->has_read = true;
        if (!check_first(c, data[0]))
            return;
    }
    if (c->guard == GUARD_NONE || c->guard == GUARD_REFUSES)
        bytes_in(c, data, size);
    else
        secure_in(c, data, size);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct conn *c = handle->data;

    (void)suggested;
    *out = uv_buf_init((char *)c->shared->read_buffer, CONN_READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct conn *c = stream->data;

    if (size < 0) {
        if (c->state == CONN_CLOSING)
            close_handles(c);
        else
            abort_uv(c, (int)size);
        return;
    }
    c->shared->stats->bytes_received += (uint64_t)size;
    conn_shared_hold(c->shared);
    socket_in(c, (const uint8_t *)buf->base, (size_t)size);
    conn_shared_release(c->shared);
}

bool conn_start(struct conn *c, struct tls_context *protection, bool is_dialer,
                size_t body_max, uint32_t wait_ms)
{
    c->state = CONN_OPEN;
    c->body_max = body_max;
    (void)uv_tcp_nodelay(&c->tcp, 1);
    (void)uv_timer_start(&c->timer, on_timer, wait_ms, 0);
    int status = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (status != 0) {
        abort_uv(c, status);
        return false;
    }
    if (protection == NULL) {
        c->shared->events.talks(c);
        return is_reading(c);
    }
    c->protection = tls_context_hold(protection);
    c->guard = GUARD_AWAITS;
    return !is_dialer || begin_tls(c, true);
}

void conn_ready(struct conn *c, size_t queued_max)
{
    c->body_max = FRAME_BODY_MAX;
    c->queued_max = queued_max;
    c->is_ready = true;
    if (c->is_writing)
        expect_progress(c);
    else
        (void)uv_timer_stop(&c->timer);
}

void conn_pause(struct conn *c, bool pause)
{
    if (c->is_paused == pause || c->state == CONN_CLOSED ||
        (pause && !is_reading(c)))
        return;
    c->is_paused = pause;
    if (pause)
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
    else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        conn_abort(c, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                   "cannot read on");
}

/* ------------------------------------------------------------ writing */

static void on_written(uv_write_t *request, int status)
{
    struct conn *c = request->data;

    c->is_writing = false;
    free_list(c, &c->flying);
    if (c->state == CONN_CLOSED)
        return;
    if (status != 0) {
        if (c->has_end)
            close_handles(c);
        else
            abort_uv(c, status);
        return;
    }
    if (c->is_congested && c->queued_bytes <= c->queued_max / 2) {
        c->is_congested = false;
        if (is_reading(c))
            c->shared->events.drained(c);
    }
    start_write(c);
    if (!c->is_writing && c->state == CONN_OPEN && c->is_ready)
        (void)uv_timer_stop(&c->timer);
    shut_when_flushed(c);
}

static unsigned take_lane(struct conn *c, struct out_list *lane, uv_buf_t *bufs,
                          unsigned count, size_t *bytes)
{
    struct out *o;

    while (count < FLYING_FRAMES_MAX && *bytes < FLYING_BYTES_MAX &&
           (o = STAILQ_FIRST(lane)) != NULL) {
        STAILQ_REMOVE_HEAD(lane, next);
        STAILQ_INSERT_TAIL(&c->flying, o, next);
        bufs[count++] = uv_buf_init((char *)o->bytes, (unsigned)o->size);
        *bytes += o->size;
    }
    return count;
}

static void encrypt(struct conn *c, const uint8_t *bytes, size_t size)
{
    if (size > 0 && !tls_write(c->tls, bytes, size))
        conn_abort(c, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                   tls_text(c->tls));
}

/* Encrypt what is next in the lanes; small frames share a record. */
static void encrypt_lane(struct conn *c, struct out_list *lane, size_t *bytes)
{
    uint8_t *record = c->shared->write_buffer;
    size_t used = 0;
    struct out *o;

    while (*bytes < FLYING_BYTES_MAX && (o = STAILQ_FIRST(lane)) != NULL) {
        STAILQ_REMOVE_HEAD(lane, next);
        c->queued_bytes -= o->size;
        *bytes += o->size;
        if (used + o->size > CONN_PLAIN_SIZE) {
            encrypt(c, record, used);
            used = 0;
        }
        if (o->size > CONN_PLAIN_SIZE) {
            encrypt(c, o->bytes, o->size);
        } else {
            memcpy(record + used, o->bytes, o->size);
            used += o->size;
        }
        free(o);
    }
    encrypt(c, record, used);
}

/* What TLS has to send goes before all else: it is one stream. */
static void queue_cipher(struct conn *c, size_t from)
{
    struct tls_output *cipher = &c->shared->cipher;
    size_t size = cipher->used - from;
    struct out *o = size > 0 ? malloc(sizeof *o + size) : NULL;

    if (o != NULL) {
        o->size = size;
        memcpy(o->bytes, cipher->bytes + from, size);
        STAILQ_INSERT_TAIL(&c->cipher, o, next);
        c->queued_bytes += size;
    } else if (size > 0) {
        conn_abort(c, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                   "no memory to send");
    }
    cipher->used = 0;
}

/* All bytes that had to wait leave through here. */
static void start_write(struct conn *c)
{
    uv_buf_t bufs[FLYING_FRAMES_MAX];
    size_t bytes = 0;

    if (c->is_writing || c->state == CONN_CLOSED)
        return;
    if (c->guard == GUARD_UP && STAILQ_EMPTY(&c->cipher)) {
        encrypt_lane(c, &c->control, &bytes);
        encrypt_lane(c, &c->bulk, &bytes);
        queue_cipher(c, 0);
        bytes = 0;
    }
    if (c->state == CONN_CLOSED)
        return;
    unsigned count = take_lane(c, &c->cipher, bufs, 0, &bytes);
    if (c->guard != GUARD_UP) {
        count = take_lane(c, &c->control, bufs, count, &bytes);
        count = take_lane(c, &c->bulk, bufs, count, &bytes);
    }
    if (count == 0)
        return;
    c->writing.data = c;
    int status =
        uv_write(&c->writing, (uv_stream_t *)&c->tcp, bufs, count, on_written);
    if (status != 0) {
        free_list(c, &c->flying);
        abort_uv(c, status);
        return;
    }
    c->is_writing = true;
    c->written += bytes;
    c->shared->stats->bytes_sent += bytes;
    if (c->state == CONN_OPEN && c->is_ready &&
        !uv_is_active((uv_handle_t *)&c->timer))
        expect_progress(c);
}

static void enqueue(struct conn *c, const uint8_t *bytes, size_t size,
                    struct out_list *lane)
{
    struct out *o = NULL;

    if (size <= c->queued_max && c->queued_bytes <= c->queued_max - size)
        o = malloc(sizeof *o + size);
    if (o == NULL) {
        expel(c, "too much waits to be read");
        return;
    }
    o->size = size;
    memcpy(o->bytes, bytes, size);
    STAILQ_INSERT_TAIL(lane, o, next);
    c->queued_bytes += size;
    if (c->queued_bytes > c->queued_max / 2)
        c->is_congested = true;
}

static bool has_waiting(const struct conn *c)
{
    return c->is_writing || !STAILQ_EMPTY(&c->cipher) ||
           !STAILQ_EMPTY(&c->control) || !STAILQ_EMPTY(&c->bulk);
}

/* Bytes go to the kernel at once, when nothing waits. @return how many went,
 * or -1: broken. */
static int write_now(struct conn *c, const uint8_t *bytes, int size)
{
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)size);

    int sent = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (sent == UV_EAGAIN)
        return 0;
    if (sent < 0) {
        abort_uv(c, sent);
        return -1;
    }
    c->written += (uint64_t)sent;
    c->shared->stats->bytes_sent += (uint64_t)sent;
    return sent;
}

/* Whatever TLS wants to send: the handshake, an alert, frames. */
static void flush_cipher(struct conn *c)
{
    struct tls_output *cipher = &c->shared->cipher;
    int sent = 0;

    if (cipher->used > 0 && c->state != CONN_CLOSED && !has_waiting(c))
        sent = write_now(c, cipher->bytes, (int)cipher->used);
    if (sent < 0 || c->state == CONN_CLOSED) {
        cipher->used = 0;
        return;
    }
    queue_cipher(c, (size_t)sent);
    if (!STAILQ_EMPTY(&c->cipher))
        start_write(c);
}

/* @return how many bytes of the frame need not be queued, or -1: broken. */
static int send_now(struct conn *c, const uint8_t *bytes, int size)
{
    if (has_waiting(c))
        return 0;
    if (c->guard != GUARD_UP)
        return write_now(c, bytes, size);
    if (!tls_write(c->tls, bytes, (size_t)size)) {
        conn_abort(c, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                   tls_text(c->tls));
        return -1;
    }
    flush_cipher(c);
    return c->state == CONN_CLOSED ? -1 : size;
}

/* ------------------------------------------------------------ holding */

/* What was held leaves in one write, at once if nothing else waits. */
static void write_held(struct conn *c)
{
    size_t bytes = 0;

    let_go(c);
    if (c->is_writing || c->state == CONN_CLOSED)
        return;
    if (c->guard != GUARD_UP || !STAILQ_EMPTY(&c->cipher)) {
        start_write(c);
        return;
    }
    encrypt_lane(c, &c->control, &bytes);
    encrypt_lane(c, &c->bulk, &bytes);
    flush_cipher(c);
}

/* @return false: it goes by itself. */
static bool hold(struct conn *c, const uint8_t *bytes, int size, bool is_urgent)
{
    if (c->shared->holds == 0 || c->state != CONN_OPEN || !c->is_ready ||
        c->queued_bytes + (size_t)size > HELD_BYTES_MAX)
        return false;
    enqueue(c, bytes, (size_t)size, is_urgent ? &c->control : &c->bulk);
    if (c->state == CONN_OPEN && !c->is_held) {
        c->is_held = true;
        TAILQ_INSERT_TAIL(&c->shared->held, c, holding);
    }
    return true;
}

void conn_shared_hold(struct conn_shared *shared)
{
    shared->holds++;
}

void conn_shared_release(struct conn_shared *shared)
{
    struct conn *c;

    if (--shared->holds > 0)
        return;
    while ((c = TAILQ_FIRST(&shared->held)) != NULL)
        write_held(c);
}

void conn_send(struct conn *c, const argus_Frame *frame, bool is_urgent)
{
    uint8_t *bytes = c->shared->write_buffer;
    struct argus_error err = {{0}};

    if (c->state != CONN_OPEN || c->guard == GUARD_SHAKES)
        return;
    int size = frame_encode(argus_Frame_fields, frame, bytes,
                            FRAME_HEADER_SIZE + FRAME_BODY_MAX, &err);
    if (size < 0) {
        log_write(LOG_LEVEL_ERROR, "frame of type %d for %s: %s",
                  (int)frame->which_body, c->where, err.text);
        return;
    }
    c->shared->stats->frames_sent++;
    if (hold(c, bytes, size, is_urgent))
        return;
    int sent = send_now(c, bytes, size);
    if (sent < 0 || sent == size)
        return;
    /* A frame begun is finished before any other: nothing else waits then. */
    enqueue(c, bytes + sent, (size_t)(size - sent),
            is_urgent ? &c->control : &c->bulk);
    start_write(c);
}

/* ------------------------------------------------------------ opening */

int conn_shared_init(struct conn_shared *shared, uv_loop_t *loop)
{
    shared->loop = loop;
    TAILQ_INIT(&shared->ended);
    TAILQ_INIT(&shared->held);
    shared->frame = calloc(1, sizeof *shared->frame);
    shared->refuse = calloc(1, sizeof *shared->refuse);
    shared->read_buffer = malloc(CONN_READ_SIZE);
    shared->write_buffer = malloc(FRAME_HEADER_SIZE + FRAME_BODY_MAX);
    shared->plain_buffer = malloc(CONN_PLAIN_SIZE);
    if (shared->frame == NULL || shared->refuse == NULL ||
        shared->read_buffer == NULL || shared->write_buffer == NULL ||
        shared->plain_buffer == NULL) {
        conn_shared_close(shared);
        return ARGUS_ENOMEM;
    }
    (void)uv_idle_init(loop, &shared->idle);
    shared->idle.data = shared;
    return ARGUS_OK;
}

void conn_shared_close(struct conn_shared *shared)
{
    free(shared->frame);
    free(shared->refuse);
    free(shared->read_buffer);
    free(shared->write_buffer);
    free(shared->plain_buffer);
    free(shared->cipher.bytes);
    shared->frame = shared->refuse = NULL;
    shared->read_buffer = shared->write_buffer = shared->plain_buffer = NULL;
    shared->cipher = (struct tls_output){0};
}

int conn_init(struct conn *c, struct conn_shared *shared)
{
    c->shared = shared;
    c->state = CONN_NEW;
    STAILQ_INIT(&c->cipher);
    STAILQ_INIT(&c->control);
    STAILQ_INIT(&c->bulk);
    STAILQ_INIT(&c->flying);
    c->queued_max = FRAME_HEADER_SIZE + FRAME_BODY_MAX;
    int status = uv_tcp_init(shared->loop, &c->tcp);
    if (status != 0)
        return status;
    (void)uv_timer_init(shared->loop, &c->timer); /* cannot fail */
    c->tcp.data = c;
    c->timer.data = c;
    c->handles = 2;
    return 0;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct conn *c = request->data;

    if (c->state != CONN_CONNECTING)
        return;
    if (status != 0)
        abort_uv(c, status);
    else
        c->shared->events.opened(c);
}

void conn_connect(struct conn *c, const struct sockaddr *to, uint32_t wait_ms)
{
    c->state = CONN_CONNECTING;
    c->connecting.data = c;
    (void)uv_timer_start(&c->timer, on_timer, wait_ms, 0);
    int status = uv_tcp_connect(&c->connecting, &c->tcp, to, on_connected);
    if (status != 0)
        abort_uv(c, status);
}

/* An IPv4 peer of a dual-stack socket is named as IPv4. */
int conn_name_peer(struct conn *c, const struct sockaddr *address)
{
    static const char mapped[] = "::ffff:";
    char ip[INET6_ADDRSTRLEN] = "", port[8];
    uint16_t number;

    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 =
            (const struct sockaddr_in6 *)(const void *)address;
        (void)uv_ip6_name(in6, ip, sizeof ip);
        number = ntohs(in6->sin6_port);
    } else if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in =
            (const struct sockaddr_in *)(const void *)address;
        (void)uv_ip4_name(in, ip, sizeof ip);
        number = ntohs(in->sin_port);
    } else {
        return ARGUS_EINVAL;
    }
    const char *text = ip;
    if (strncmp(ip, mapped, sizeof mapped - 1) == 0 && strchr(ip, '.') != NULL)
        text = ip + sizeof mapped - 1;
    (void)snprintf(c->ip, sizeof c->ip, "%s", text);
    (void)snprintf(port, sizeof port, "%u", number);
    (void)text_join_address(c->where, sizeof c->where, c->ip, port);
    return ARGUS_OK;
}
