#include "test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "runtime/transport.h"
#include "wire/frame.h"

/* Two transports, "a" and "b", in one loop; a record of what each heard. */
struct side {
    struct transport *transport;
    struct transport_options options;
    uint16_t port;
    unsigned ups, downs, fails, frames, drains, observed;
    link_id link;
    dial_id dial;
    enum link_end why;
    argus_RefuseCode code;
    struct peer_info peer;
    pb_size_t last_frame;
    uint32_t last_number;
    bool is_answering, is_done;
    char observed_host[64];
};

static uv_loop_t loop;
static struct side a, b;
static argus_Frame frame;
static char last_line[LOG_LINE_SIZE];

static void keep_line(enum log_level level, const char *line)
{
    (void)level;
    (void)strcpy(last_line, line);
}

static void on_up(void *context, link_id link, dial_id dial,
                  const struct peer_info *peer)
{
    struct side *s = context;
    s->ups++;
    s->link = link;
    s->dial = dial;
    s->peer = *peer;
}

static void on_down(void *context, link_id link, enum link_end why,
                    argus_RefuseCode code)
{
    struct side *s = context;
    (void)link;
    s->downs++;
    s->why = why;
    s->code = code;
}

static void on_failed(void *context, dial_id dial, enum link_end why,
                      argus_RefuseCode code)
{
    struct side *s = context;
    s->fails++;
    s->dial = dial;
    s->why = why;
    s->code = code;
}

static void ping(struct side *s, uint32_t number)
{
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_ping_tag;
    frame.body.ping.number = number;
    transport_send(s->transport, s->link, &frame);
}

static void on_frame(void *context, link_id link, const argus_Frame *received)
{
    struct side *s = context;
    s->frames++;
    s->last_frame = received->which_body;
    if (received->which_body == argus_Frame_ping_tag)
        s->last_number = received->body.ping.number;
    if (s->is_answering) { /* from within: must not come back to us here */
        s->is_answering = false;
        transport_close(s->transport, link, argus_RefuseCode_REFUSE_BYE, "bye");
        CU_ASSERT_EQUAL(s->downs, 0);
    }
}

static void on_drained(void *context, link_id link)
{
    (void)link;
    ((struct side *)context)->drains++;
}

static void on_observed(void *context, const char *host)
{
    struct side *s = context;
    s->observed++;
    (void)snprintf(s->observed_host, sizeof s->observed_host, "%s", host);
}

static void make_side(struct side *s, uint8_t id)
{
    const struct transport_listener listener = {
        s, on_up, on_down, on_failed, on_frame, on_drained, on_observed};
    struct argus_error err = {{0}};

    s->options.self.id.bytes[0] = id;
    s->options.self.instance = id;
    s->options.hello_ms = s->options.connect_ms = 500;
    s->options.linger_ms = 300;
    if (s->options.self.cluster[0] == '\0')
        (void)strcpy(s->options.self.cluster, "default");
    (void)strcpy(s->options.self.name, id == 1 ? "a" : "b");
    CU_ASSERT_EQUAL_FATAL(
        transport_new(&loop, &s->options, &listener, &s->transport, &err),
        ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(
        transport_listen(s->transport, "127.0.0.1", "0", &s->port, &err),
        ARGUS_OK);
    (void)snprintf(s->options.self.address, sizeof s->options.self.address,
                   ":%u", s->port);
    transport_set_self(s->transport, &s->options.self);
}

static void start(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    log_set_sink(keep_line);
    CU_ASSERT_EQUAL_FATAL(uv_loop_init(&loop), 0);
    make_side(&a, 1);
    make_side(&b, 2);
}

static void on_done(void *context)
{
    struct side *s = context;
    s->is_done = true;
    transport_free(s->transport);
}

/* Every handle must go: the loop closes with 0. */
static void stop(void)
{
    transport_stop(a.transport, argus_RefuseCode_REFUSE_BYE, "bye", on_done,
                   &a);
    transport_stop(b.transport, argus_RefuseCode_REFUSE_BYE, "bye", on_done,
                   &b);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    CU_ASSERT_TRUE(a.is_done && b.is_done);
    CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    log_set_sink(NULL);
}

static void on_late(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void on_timer_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

/* Turn the loop until a number is reached, for at most five seconds. */
static bool wait_for(const unsigned *number, unsigned wanted)
{
    bool is_late = false;
    uv_timer_t timer;

    (void)uv_timer_init(&loop, &timer);
    timer.data = &is_late;
    (void)uv_timer_start(&timer, on_late, 5000, 0);
    while (*number < wanted && !is_late)
        (void)uv_run(&loop, UV_RUN_ONCE);
    bool is_closed = false;
    timer.data = &is_closed;
    uv_close((uv_handle_t *)&timer, on_timer_closed);
    while (!is_closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    return *number >= wanted;
}

static bool wait_stat(const uint64_t *number, uint64_t wanted)
{
    bool is_late = false;
    uv_timer_t timer;

    (void)uv_timer_init(&loop, &timer);
    timer.data = &is_late;
    (void)uv_timer_start(&timer, on_late, 5000, 0);
    while (*number < wanted && !is_late)
        (void)uv_run(&loop, UV_RUN_ONCE);
    bool is_closed = false;
    timer.data = &is_closed;
    uv_close((uv_handle_t *)&timer, on_timer_closed);
    while (!is_closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    return *number >= wanted;
}

static void dial_b(argus_LinkKind kind, const struct node_id *expected)
{
    char address[32];

    (void)snprintf(address, sizeof address, "127.0.0.1:%u", b.port);
    transport_dial(a.transport, 77, kind, address, expected);
}

static void link_up(argus_LinkKind kind)
{
    dial_b(kind, NULL);
    CU_ASSERT_TRUE_FATAL(wait_for(&a.ups, 1));
    CU_ASSERT_TRUE_FATAL(wait_for(&b.ups, 1));
}

/* Goal: both sides come up with the facts of the other; frames pass; a close
 * from within a handler is heard of later, by both, with its code. */
static void test_transport_handshake_and_frames(void)
{
    start();
    dial_b(argus_LinkKind_LINK_MESH, &b.options.self.id);
    CU_ASSERT_TRUE(wait_for(&a.ups, 1));
    CU_ASSERT_TRUE(wait_for(&b.ups, 1));
    CU_ASSERT_EQUAL(a.dial, 77);
    CU_ASSERT_EQUAL(b.dial, 0);
    CU_ASSERT_EQUAL(a.peer.id.bytes[0], 2);
    CU_ASSERT_EQUAL(b.peer.id.bytes[0], 1);
    CU_ASSERT_EQUAL(b.peer.kind, argus_LinkKind_LINK_MESH);
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", a.port);
    CU_ASSERT_STRING_EQUAL(b.peer.address, address);
    CU_ASSERT_STRING_EQUAL(a.observed_host, "127.0.0.1");

    for (uint32_t i = 1; i <= 100; i++)
        ping(&a, i);
    CU_ASSERT_TRUE(wait_for(&b.frames, 100));
    CU_ASSERT_EQUAL(b.last_number, 100);
    b.is_answering = true;
    ping(&a, 101);
    CU_ASSERT_TRUE(wait_for(&a.downs, 1));
    CU_ASSERT_TRUE(wait_for(&b.downs, 1));
    CU_ASSERT_EQUAL(a.why, LINK_END_CLOSED);
    CU_ASSERT_EQUAL(a.code, argus_RefuseCode_REFUSE_BYE);
    CU_ASSERT_EQUAL(b.why, LINK_END_CLOSED);
    ping(&a, 102); /* a link that is gone: nothing happens */
    CU_ASSERT_EQUAL(transport_queued_bytes(a.transport, a.link), 0);
    stop();
}

/* Goal: wrong cluster, wrong id and oneself end the dial with their codes. */
static void test_transport_hello_denied(void)
{
    struct node_id stranger = {{9}};
    char address[32];

    (void)strcpy(b.options.self.cluster, "prod");
    start();
    dial_b(argus_LinkKind_LINK_MESH, NULL);
    CU_ASSERT_TRUE(wait_for(&a.fails, 1));
    CU_ASSERT_EQUAL(a.why, LINK_END_DENIED);
    CU_ASSERT_EQUAL(a.code, argus_RefuseCode_REFUSE_CLUSTER);
    CU_ASSERT_EQUAL(a.dial, 77);
    CU_ASSERT_PTR_NOT_NULL(strstr(last_line, "\"prod\""));
    CU_ASSERT_EQUAL(transport_stats(b.transport)->hellos_refused, 1);

    (void)strcpy(b.options.self.cluster, "default");
    transport_set_self(b.transport, &b.options.self);
    dial_b(argus_LinkKind_LINK_MESH, &stranger);
    CU_ASSERT_TRUE(wait_for(&a.fails, 2));
    CU_ASSERT_EQUAL(a.code, argus_RefuseCode_REFUSE_WRONG_ID);

    (void)snprintf(address, sizeof address, "127.0.0.1:%u", a.port);
    transport_dial(a.transport, 78, argus_LinkKind_LINK_MESH, address, NULL);
    CU_ASSERT_TRUE(wait_for(&a.fails, 3));
    CU_ASSERT_EQUAL(a.code, argus_RefuseCode_REFUSE_SELF);
    CU_ASSERT_EQUAL(a.ups + b.ups, 0);
    stop();
}

/* Goal: dials that cannot work are told apart: nobody there, no address, not
 * allowed, silent. */
static void test_transport_dial_failures(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t size = sizeof in;
    char address[64];

    start();
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (void *)&in, sizeof in), 0);
    CU_ASSERT_EQUAL(getsockname(fd, (void *)&in, &size), 0);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u",
                   ntohs(in.sin_port)); /* bound, not listening */
    transport_dial(a.transport, 1, argus_LinkKind_LINK_MESH, address, NULL);
    CU_ASSERT_EQUAL(a.fails, 0); /* never from within the call */
    CU_ASSERT_TRUE(wait_for(&a.fails, 1));
    CU_ASSERT_EQUAL(a.why, LINK_END_REFUSED);

    transport_dial(a.transport, 2, argus_LinkKind_LINK_MESH, "nonsense", NULL);
    CU_ASSERT_TRUE(wait_for(&a.fails, 2));
    CU_ASSERT_EQUAL(a.why, LINK_END_LOCAL);
    transport_dial(a.transport, 3, argus_LinkKind_LINK_MESH, "192.0.2.1:9",
                   NULL);
    CU_ASSERT_TRUE(wait_for(&a.fails, 3));
    CU_ASSERT_EQUAL(a.why, LINK_END_LOCAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(last_line, "AllowPlaintext"));

    CU_ASSERT_EQUAL(listen(fd, 5), 0); /* connects, never answers */
    transport_dial(a.transport, 4, argus_LinkKind_LINK_MESH, address, NULL);
    CU_ASSERT_TRUE(wait_for(&a.fails, 4));
    CU_ASSERT_EQUAL(a.why, LINK_END_TIMEOUT);
    (void)close(fd);
    stop();
}

/* Goal: a name is looked up and each of its addresses tried, and a look-up
 * under way does not hold up the end. */
static void test_transport_dials_a_name(void)
{
    char address[64];

    /* No literal to us, and a name that every resolver knows, even without
     * /etc/hosts: inet_aton(3). */
    start();
    (void)snprintf(address, sizeof address, "127.1:%u", b.port);
    transport_dial(a.transport, 5, argus_LinkKind_LINK_MESH, address, NULL);
    CU_ASSERT_TRUE(wait_for(&a.ups, 1));
    CU_ASSERT_EQUAL(a.dial, 5);
    transport_dial(a.transport, 6, argus_LinkKind_LINK_MESH,
                   "no-such-host.invalid:1", NULL);
    stop();
    CU_ASSERT_EQUAL(a.fails, 0);
}

/* ---- a peer that does not play by the rules: a plain socket */

static int raw_connect(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons(b.port);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (void *)&in, sizeof in), 0);
    CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static int encode_hello(uint8_t *out, size_t size, argus_LinkKind kind)
{
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_hello_tag;
    hello_build(&a.options.self, kind, NULL, NULL, &frame.body.hello);
    return frame_encode(argus_Frame_fields, &frame, out, size, NULL);
}

/* Read what b sent until it closes; the last frame is decoded. */
static bool raw_read_to_end(int fd)
{
    static uint8_t bytes[1 << 20];
    size_t used = 0, at = 0;
    bool is_late = false, is_closed = false;
    uv_timer_t timer;

    (void)uv_timer_init(&loop, &timer);
    timer.data = &is_late;
    (void)uv_timer_start(&timer, on_late, 5000, 0);
    while (!is_late && used < sizeof bytes) {
        ssize_t n = read(fd, bytes + used, sizeof bytes - used);
        if (n == 0)
            break;
        if (n > 0)
            used += (size_t)n;
        else
            (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    timer.data = &is_closed;
    uv_close((uv_handle_t *)&timer, on_timer_closed);
    while (!is_closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
    while (at + FRAME_HEADER_SIZE <= used) {
        int length = frame_length(bytes + at, FRAME_BODY_MAX, NULL);
        at += FRAME_HEADER_SIZE;
        if (length < 0 || at + (size_t)length > used ||
            frame_decode(bytes + at, (size_t)length, &frame, NULL) != ARGUS_OK)
            return false;
        at += (size_t)length;
    }
    return !is_late && used > 0;
}

static void expect_malformed(const uint8_t *bytes, size_t size, bool with_hello)
{
    uint64_t before = transport_stats(b.transport)->frames_malformed;
    uint8_t hello[FRAME_HELLO_MAX];
    int fd = raw_connect();

    if (with_hello) {
        int n = encode_hello(hello, sizeof hello, argus_LinkKind_LINK_MESH);
        CU_ASSERT_EQUAL(write(fd, hello, (size_t)n), n);
    }
    CU_ASSERT_EQUAL(write(fd, bytes, size), (ssize_t)size);
    CU_ASSERT_TRUE(
        wait_stat(&transport_stats(b.transport)->frames_malformed, before + 1));
    CU_ASSERT_TRUE(raw_read_to_end(fd));
    CU_ASSERT_EQUAL(frame.which_body, argus_Frame_refuse_tag);
    CU_ASSERT_EQUAL(frame.body.refuse.code, argus_RefuseCode_REFUSE_MALFORMED);
    CU_ASSERT_TRUE(strlen(frame.body.refuse.text) > 0);
    (void)close(fd);
}

/* Goal: each broken frame is told, counted and ends the link; a peer that
 * waits with half a frame runs into the time-out. */
static void test_transport_broken_frames(void)
{
    static const uint8_t http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    static const uint8_t too_long[] = {0, 0, 5, 0};
    static const uint8_t empty[] = {0, 0, 0, 0};
    static const uint8_t garbage[] = {0, 0, 0, 3, 0xff, 0xff, 0xff};
    uint8_t hello[FRAME_HELLO_MAX];

    start();
    expect_malformed(http, sizeof http - 1, false);
    expect_malformed(too_long, sizeof too_long, false); /* before the Hello */
    expect_malformed(http, sizeof http - 1, true);
    expect_malformed(empty, sizeof empty, true);
    expect_malformed(garbage, sizeof garbage, true);
    CU_ASSERT_PTR_NOT_NULL(strstr(last_line, "127.0.0.1:"));

    int size = encode_hello(hello, sizeof hello, argus_LinkKind_LINK_MESH);
    expect_malformed(hello, (size_t)size, true); /* a second one */
    CU_ASSERT_TRUE(wait_for(&b.downs, 4));
    CU_ASSERT_EQUAL(b.code, argus_RefuseCode_REFUSE_MALFORMED);

    int fd = raw_connect(); /* half a Hello, then nothing */
    CU_ASSERT_EQUAL(write(fd, hello, (size_t)size / 2), size / 2);
    (void)raw_read_to_end(fd);
    CU_ASSERT_EQUAL(b.ups, 4);
    (void)close(fd);
    fd = raw_connect(); /* byte by byte is fine */
    for (int i = 0; i < size; i++) {
        CU_ASSERT_EQUAL(write(fd, hello + i, 1), 1);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT_TRUE(wait_for(&b.ups, 5));
    (void)close(fd); /* no Refuse: a reset */
    CU_ASSERT_TRUE(wait_for(&b.downs, 5));
    CU_ASSERT_EQUAL(b.why, LINK_END_RESET);
    stop();
}

static void send_bulk(struct side *s, unsigned count)
{
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_batch_tag;
    frame.body.batch.series_count = 1000;
    frame.body.batch.number_step_count = 1000;
    frame.body.batch.time_step_count = 1000;
    frame.body.batch.gauges_count = 1000;
    for (unsigned i = 0; i < count; i++)
        transport_send(s->transport, s->link, &frame);
}

/* Goal: who does not read is expelled when too much waits, and when nothing
 * moves for too long; the queue never passes its bound. */
static void test_transport_slow_reader_is_expelled(void)
{
    uint8_t hello[FRAME_HELLO_MAX];

    b.options.queue_bytes_max = 200000;
    b.options.stall_ms = 200;
    start();
    int size = encode_hello(hello, sizeof hello, argus_LinkKind_LINK_MESH);
    int fd = raw_connect();
    int small = 4096;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    CU_ASSERT_EQUAL(write(fd, hello, (size_t)size), size);
    CU_ASSERT_TRUE_FATAL(wait_for(&b.ups, 1));
    for (int i = 0; i < 2000 && b.downs == 0; i++) {
        send_bulk(&b, 1);
        CU_ASSERT_TRUE(transport_queued_bytes(b.transport, b.link) <= 200000);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT_EQUAL(b.downs, 1);
    CU_ASSERT_EQUAL(b.why, LINK_END_CLOSED);
    CU_ASSERT_EQUAL(b.code, argus_RefuseCode_REFUSE_SLOW);
    (void)close(fd);

    fd = raw_connect(); /* now little waits, but for long */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    CU_ASSERT_EQUAL(write(fd, hello, (size_t)size), size);
    CU_ASSERT_TRUE_FATAL(wait_for(&b.ups, 2));
    while (transport_queued_bytes(b.transport, b.link) == 0)
        send_bulk(&b, 1);
    CU_ASSERT_TRUE(wait_for(&b.downs, 2));
    CU_ASSERT_EQUAL(b.code, argus_RefuseCode_REFUSE_SLOW);
    CU_ASSERT_EQUAL(transport_stats(b.transport)->peers_expelled, 2);
    (void)close(fd);
    stop();
}

/* Goal: a metrics link that was congested says when it has room again, pings
 * overtake what waits, and a pause holds the peer back without loss. */
static void test_transport_congested_link_drains(void)
{
    start();
    link_up(argus_LinkKind_LINK_METRICS);
    transport_pause_metrics(b.transport, true);
    unsigned sent = 0;
    while (transport_queued_bytes(a.transport, a.link) < 2200000) {
        send_bulk(&a, 1);
        sent++;
    }
    ping(&a, 1);
    for (int i = 0; i < 10; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    CU_ASSERT_EQUAL(b.frames, 0);
    transport_pause_metrics(b.transport, false);
    CU_ASSERT_TRUE(wait_for(&b.frames, 1));
    while (b.last_number != 1 && b.frames < sent + 1)
        (void)uv_run(&loop, UV_RUN_ONCE);
    CU_ASSERT_TRUE(b.frames < sent); /* the ping was not the last */
    CU_ASSERT_TRUE(wait_for(&b.frames, sent + 1));
    CU_ASSERT_EQUAL(a.drains, 1);
    CU_ASSERT_EQUAL(a.downs + b.downs, 0);
    stop();
}

/* Goal: what was queued before a close arrives before the Refuse. */
static void test_transport_close_flushes(void)
{
    start();
    link_up(argus_LinkKind_LINK_METRICS);
    transport_pause_metrics(b.transport, true);
    unsigned sent = 0;
    while (transport_queued_bytes(a.transport, a.link) < 1000000) {
        send_bulk(&a, 1);
        sent++;
    }
    transport_close(a.transport, a.link, argus_RefuseCode_REFUSE_REPLACED,
                    "newer");
    transport_pause_metrics(b.transport, false);
    CU_ASSERT_TRUE(wait_for(&b.downs, 1));
    CU_ASSERT_EQUAL(b.frames, sent);
    CU_ASSERT_EQUAL(b.why, LINK_END_CLOSED);
    CU_ASSERT_EQUAL(b.code, argus_RefuseCode_REFUSE_REPLACED);
    CU_ASSERT_TRUE(wait_for(&a.downs, 1));
    stop();
}

/* Goal: strangers are bounded, in all, and from one source; whoever knocks
 * then is told "busy", and room comes back. */
static void test_transport_strangers_are_bounded(void)
{
    int fds[4];

    b.options.strangers_max = 10;
    b.options.strangers_source_max = 3;
    start();
    for (int i = 0; i < 3; i++)
        fds[i] = raw_connect();
    for (int i = 0; i < 5; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    CU_ASSERT_EQUAL(transport_stats(b.transport)->strangers_refused, 0);
    fds[3] = raw_connect();
    CU_ASSERT_TRUE(
        wait_stat(&transport_stats(b.transport)->strangers_refused, 1));
    CU_ASSERT_TRUE(raw_read_to_end(fds[3]));
    CU_ASSERT_EQUAL(frame.body.refuse.code, argus_RefuseCode_REFUSE_BUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(last_line, "from one address"));
    dial_b(argus_LinkKind_LINK_MESH, NULL);
    CU_ASSERT_TRUE(wait_for(&a.fails, 1));
    CU_ASSERT_EQUAL(a.why, LINK_END_DENIED);
    CU_ASSERT_EQUAL(a.code, argus_RefuseCode_REFUSE_BUSY);
    for (int i = 0; i < 4; i++)
        (void)close(fds[i]);
    for (int i = 0; i < 5; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    link_up(argus_LinkKind_LINK_MESH);
    stop();
}

/* Goal: links in all, strangers in all and dials under way are bounded, each
 * refusal is told. */
static void test_transport_totals_are_bounded(void)
{
    a.options.dials_max = 2;
    b.options.links_max = 2;
    start();
    for (int i = 0; i < 3; i++)
        dial_b(argus_LinkKind_LINK_SYNC, NULL);
    CU_ASSERT_TRUE(wait_for(&a.fails, 1));
    CU_ASSERT_EQUAL(a.why, LINK_END_LOCAL);
    CU_ASSERT_TRUE(wait_for(&a.ups, 2));
    CU_ASSERT_TRUE(wait_for(&b.ups, 2));
    dial_b(argus_LinkKind_LINK_SYNC, NULL);
    CU_ASSERT_TRUE(wait_for(&a.fails, 2));
    CU_ASSERT_EQUAL(a.code, argus_RefuseCode_REFUSE_BUSY);
    CU_ASSERT_EQUAL(transport_stats(b.transport)->links_now, 2);
    transport_close(a.transport, a.link, argus_RefuseCode_REFUSE_BYE, "bye");
    CU_ASSERT_TRUE(wait_for(&b.downs, 1));
    stop();

    b.options.strangers_max = 1;
    start();
    int one = raw_connect(), two = raw_connect();
    CU_ASSERT_TRUE(
        wait_stat(&transport_stats(b.transport)->strangers_refused, 1));
    CU_ASSERT_PTR_NOT_NULL(strstr(last_line, "too many strangers"));
    (void)close(one);
    (void)close(two);
    stop();
}

/* Goal: without a key nothing but loopback is listened on, and the refusal
 * names the way out; a port in use is named. */
static void test_transport_listen_refusals(void)
{
    struct argus_error err = {{0}};
    char port[8];
    uint16_t got;

    start();
    CU_ASSERT_EQUAL(transport_listen(a.transport, "0.0.0.0", "0", &got, &err),
                    ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "AllowPlaintext"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "0.0.0.0"));
    CU_ASSERT_EQUAL(transport_listen(a.transport, "::", "0", &got, &err),
                    ARGUS_EDENIED);
    (void)snprintf(port, sizeof port, "%u", b.port);
    CU_ASSERT_EQUAL(
        transport_listen(a.transport, "127.0.0.1", port, &got, &err),
        ARGUS_EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, port));
    stop();

    a.options.allow_plaintext = true;
    start();
    CU_ASSERT_EQUAL(transport_listen(a.transport, "::", "0", &got, &err),
                    ARGUS_OK);
    CU_ASSERT_TRUE(got > 0);
    stop();
}

CU_TestInfo suite_transport[] = {
    {"handshake_and_frames", test_transport_handshake_and_frames},
    {"hello_denied", test_transport_hello_denied},
    {"dial_failures", test_transport_dial_failures},
    {"dials_a_name", test_transport_dials_a_name},
    {"broken_frames", test_transport_broken_frames},
    {"slow_reader_is_expelled", test_transport_slow_reader_is_expelled},
    {"congested_link_drains", test_transport_congested_link_drains},
    {"close_flushes", test_transport_close_flushes},
    {"strangers_are_bounded", test_transport_strangers_are_bounded},
    {"totals_are_bounded", test_transport_totals_are_bounded},
    {"listen_refusals", test_transport_listen_refusals},
    CU_TEST_INFO_NULL,
};
