#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link_bed.h"
#include "wire/frame.h"

static argus_Frame frame;

/* Goal: both sides come up with the facts of the other; frames pass; a close
 * from within a handler is heard of later, by both, with its code. */
static void test_transport_handshake_and_frames(void)
{
    bed_start();
    bed_dial(argus_LinkKind_LINK_MESH, &side_b.options.self.id);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.ups, 1));
    CU_ASSERT_TRUE(bed_wait_for(&side_b.ups, 1));
    CU_ASSERT_EQUAL(side_a.dial, 77);
    CU_ASSERT_EQUAL(side_b.dial, 0);
    CU_ASSERT_EQUAL(side_a.peer.id.bytes[0], 2);
    CU_ASSERT_EQUAL(side_b.peer.id.bytes[0], 1);
    CU_ASSERT_EQUAL(side_b.peer.kind, argus_LinkKind_LINK_MESH);
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", side_a.port);
    CU_ASSERT_STRING_EQUAL(side_b.peer.address, address);
    CU_ASSERT_STRING_EQUAL(side_a.observed_host, "127.0.0.1");

    for (uint32_t i = 1; i <= 100; i++)
        bed_ping(&side_a, i);
    CU_ASSERT_TRUE(bed_wait_for(&side_b.frames, 100));
    CU_ASSERT_EQUAL(side_b.last_number, 100);
    side_b.is_answering = true;
    bed_ping(&side_a, 101);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.downs, 1));
    CU_ASSERT_TRUE(bed_wait_for(&side_b.downs, 1));
    CU_ASSERT_EQUAL(side_a.why, LINK_END_CLOSED);
    CU_ASSERT_EQUAL(side_a.code, argus_RefuseCode_REFUSE_BYE);
    CU_ASSERT_EQUAL(side_b.why, LINK_END_CLOSED);
    bed_ping(&side_a, 102); /* a link that is gone: nothing happens */
    CU_ASSERT_EQUAL(transport_queued_bytes(side_a.transport, side_a.link), 0);
    bed_stop();
}

/* Goal: wrong cluster, wrong id and oneself end the dial with their codes. */
static void test_transport_hello_denied(void)
{
    struct node_id stranger = {{9}};
    char address[32];

    (void)strcpy(side_b.options.self.cluster, "prod");
    bed_start();
    bed_dial(argus_LinkKind_LINK_MESH, NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 1));
    CU_ASSERT_EQUAL(side_a.why, LINK_END_DENIED);
    CU_ASSERT_EQUAL(side_a.code, argus_RefuseCode_REFUSE_CLUSTER);
    CU_ASSERT_EQUAL(side_a.dial, 77);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "\"prod\""));
    CU_ASSERT_EQUAL(transport_stats(side_b.transport)->hellos_refused, 1);

    (void)strcpy(side_b.options.self.cluster, "default");
    transport_set_self(side_b.transport, &side_b.options.self);
    bed_dial(argus_LinkKind_LINK_MESH, &stranger);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 2));
    CU_ASSERT_EQUAL(side_a.code, argus_RefuseCode_REFUSE_WRONG_ID);

    (void)snprintf(address, sizeof address, "127.0.0.1:%u", side_a.port);
    transport_dial(side_a.transport, 78, argus_LinkKind_LINK_MESH, address,
                   NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 3));
    CU_ASSERT_EQUAL(side_a.code, argus_RefuseCode_REFUSE_SELF);
    CU_ASSERT_EQUAL(side_a.ups + side_b.ups, 0);
    bed_stop();
}

/* Goal: dials that cannot work are told apart: nobody there, no address, not
 * allowed, silent. */
static void test_transport_dial_failures(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t size = sizeof in;
    char address[64];

    bed_start();
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (void *)&in, sizeof in), 0);
    CU_ASSERT_EQUAL(getsockname(fd, (void *)&in, &size), 0);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u",
                   ntohs(in.sin_port)); /* bound, not listening */
    transport_dial(side_a.transport, 1, argus_LinkKind_LINK_MESH, address,
                   NULL);
    CU_ASSERT_EQUAL(side_a.fails, 0); /* never from within the call */
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 1));
    CU_ASSERT_EQUAL(side_a.why, LINK_END_REFUSED);

    transport_dial(side_a.transport, 2, argus_LinkKind_LINK_MESH, "nonsense",
                   NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 2));
    CU_ASSERT_EQUAL(side_a.why, LINK_END_LOCAL);
    transport_dial(side_a.transport, 3, argus_LinkKind_LINK_MESH, "192.0.2.1:9",
                   NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 3));
    CU_ASSERT_EQUAL(side_a.why, LINK_END_LOCAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "AllowPlaintext"));

    CU_ASSERT_EQUAL(listen(fd, 5), 0); /* connects, never answers */
    transport_dial(side_a.transport, 4, argus_LinkKind_LINK_MESH, address,
                   NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 4));
    CU_ASSERT_EQUAL(side_a.why, LINK_END_TIMEOUT);
    (void)close(fd);
    bed_stop();
}

/* Goal: a name is looked up and each of its addresses tried, and a look-up
 * under way does not hold up the end. */
static void test_transport_dials_a_name(void)
{
    char address[64];

    /* No literal to us, and a name that every resolver knows, even without
     * /etc/hosts: inet_aton(3). */
    bed_start();
    (void)snprintf(address, sizeof address, "127.1:%u", side_b.port);
    transport_dial(side_a.transport, 5, argus_LinkKind_LINK_MESH, address,
                   NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.ups, 1));
    CU_ASSERT_EQUAL(side_a.dial, 5);
    transport_dial(side_a.transport, 6, argus_LinkKind_LINK_MESH,
                   "no-such-host.invalid:1", NULL);
    bed_stop();
    CU_ASSERT_EQUAL(side_a.fails, 0);
}

/* ---- a peer that does not play by the rules: a plain socket */

static int raw_connect(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in.sin_port = htons(side_b.port);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (void *)&in, sizeof in), 0);
    CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static int encode_hello(uint8_t *out, size_t size, argus_LinkKind kind)
{
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_hello_tag;
    hello_build(&side_a.options.self, kind, NULL, NULL, &frame.body.hello);
    return frame_encode(argus_Frame_fields, &frame, out, size, NULL);
}

/* Read what b sent until it closes; the last frame is decoded. */
static bool raw_read_to_end(int fd)
{
    static uint8_t bytes[1 << 20];
    size_t used = 0, at = 0;
    struct bed_limit limit;

    bed_limit_start(&limit, BED_LIMIT_MS);
    while (!limit.is_over && used < sizeof bytes) {
        ssize_t n = read(fd, bytes + used, sizeof bytes - used);
        if (n == 0)
            break;
        if (n > 0)
            used += (size_t)n;
        else
            (void)uv_run(&bed_loop, UV_RUN_NOWAIT);
    }
    bed_limit_stop(&limit);
    while (at + FRAME_HEADER_SIZE <= used) {
        int length = frame_length(bytes + at, FRAME_BODY_MAX, NULL);
        at += FRAME_HEADER_SIZE;
        if (length < 0 || at + (size_t)length > used ||
            frame_decode(bytes + at, (size_t)length, &frame, NULL) != ARGUS_OK)
            return false;
        at += (size_t)length;
    }
    return !limit.is_over && used > 0;
}

static void expect_malformed(const uint8_t *bytes, size_t size, bool with_hello)
{
    uint64_t before = transport_stats(side_b.transport)->frames_malformed;
    uint8_t hello[FRAME_HELLO_MAX];
    int fd = raw_connect();

    if (with_hello) {
        int n = encode_hello(hello, sizeof hello, argus_LinkKind_LINK_MESH);
        CU_ASSERT_EQUAL(write(fd, hello, (size_t)n), n);
    }
    CU_ASSERT_EQUAL(write(fd, bytes, size), (ssize_t)size);
    CU_ASSERT_TRUE(bed_wait_stat(
        &transport_stats(side_b.transport)->frames_malformed, before + 1));
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

    bed_start();
    expect_malformed(http, sizeof http - 1, false);
    expect_malformed(too_long, sizeof too_long, false); /* before the Hello */
    expect_malformed(http, sizeof http - 1, true);
    expect_malformed(empty, sizeof empty, true);
    expect_malformed(garbage, sizeof garbage, true);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "127.0.0.1:"));

    int size = encode_hello(hello, sizeof hello, argus_LinkKind_LINK_MESH);
    expect_malformed(hello, (size_t)size, true); /* a second one */
    CU_ASSERT_TRUE(bed_wait_for(&side_b.downs, 4));
    CU_ASSERT_EQUAL(side_b.code, argus_RefuseCode_REFUSE_MALFORMED);

    int fd = raw_connect(); /* half a Hello, then nothing */
    CU_ASSERT_EQUAL(write(fd, hello, (size_t)size / 2), size / 2);
    (void)raw_read_to_end(fd);
    CU_ASSERT_EQUAL(side_b.ups, 4);
    (void)close(fd);
    fd = raw_connect(); /* byte by byte is fine */
    for (int i = 0; i < size; i++) {
        CU_ASSERT_EQUAL(write(fd, hello + i, 1), 1);
        (void)uv_run(&bed_loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT_TRUE(bed_wait_for(&side_b.ups, 5));
    (void)close(fd); /* no Refuse: a reset */
    CU_ASSERT_TRUE(bed_wait_for(&side_b.downs, 5));
    CU_ASSERT_EQUAL(side_b.why, LINK_END_RESET);
    bed_stop();
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

    side_b.options.queue_bytes_max = 200000;
    side_b.options.stall_ms = 200;
    bed_start();
    int size = encode_hello(hello, sizeof hello, argus_LinkKind_LINK_MESH);
    int fd = raw_connect();
    int small = 4096;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    CU_ASSERT_EQUAL(write(fd, hello, (size_t)size), size);
    CU_ASSERT_TRUE_FATAL(bed_wait_for(&side_b.ups, 1));
    for (int i = 0; i < 2000 && side_b.downs == 0; i++) {
        send_bulk(&side_b, 1);
        CU_ASSERT_TRUE(transport_queued_bytes(side_b.transport, side_b.link) <=
                       200000);
        (void)uv_run(&bed_loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT_EQUAL(side_b.downs, 1);
    CU_ASSERT_EQUAL(side_b.why, LINK_END_CLOSED);
    CU_ASSERT_EQUAL(side_b.code, argus_RefuseCode_REFUSE_SLOW);
    (void)close(fd);

    fd = raw_connect(); /* now little waits, but for long */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    CU_ASSERT_EQUAL(write(fd, hello, (size_t)size), size);
    CU_ASSERT_TRUE_FATAL(bed_wait_for(&side_b.ups, 2));
    while (transport_queued_bytes(side_b.transport, side_b.link) == 0)
        send_bulk(&side_b, 1);
    CU_ASSERT_TRUE(bed_wait_for(&side_b.downs, 2));
    CU_ASSERT_EQUAL(side_b.code, argus_RefuseCode_REFUSE_SLOW);
    CU_ASSERT_EQUAL(transport_stats(side_b.transport)->peers_expelled, 2);
    (void)close(fd);
    bed_stop();
}

/* Goal: a metrics link that was congested says when it has room again, pings
 * overtake what waits, and a pause holds the peer back without loss. */
static void test_transport_congested_link_drains(void)
{
    bed_start();
    bed_link(argus_LinkKind_LINK_METRICS);
    transport_pause_metrics(side_b.transport, true);
    unsigned sent = 0;
    while (transport_queued_bytes(side_a.transport, side_a.link) < 2200000) {
        send_bulk(&side_a, 1);
        sent++;
    }
    bed_ping(&side_a, 1);
    for (int i = 0; i < 10; i++)
        (void)uv_run(&bed_loop, UV_RUN_NOWAIT);
    CU_ASSERT_EQUAL(side_b.frames, 0);
    transport_pause_metrics(side_b.transport, false);
    CU_ASSERT_TRUE(bed_wait_for(&side_b.frames, 1));
    while (side_b.last_number != 1 && side_b.frames < sent + 1)
        (void)uv_run(&bed_loop, UV_RUN_ONCE);
    CU_ASSERT_TRUE(side_b.frames < sent); /* the ping was not the last */
    CU_ASSERT_TRUE(bed_wait_for(&side_b.frames, sent + 1));
    CU_ASSERT_EQUAL(side_a.drains, 1);
    CU_ASSERT_EQUAL(side_a.downs + side_b.downs, 0);
    bed_stop();
}

/* Goal: what was queued before a close arrives before the Refuse. */
static void test_transport_close_flushes(void)
{
    side_a.options.linger_ms = 60000; /* however busy the machine is */
    bed_start();
    bed_link(argus_LinkKind_LINK_METRICS);
    transport_pause_metrics(side_b.transport, true);
    unsigned sent = 0;
    while (transport_queued_bytes(side_a.transport, side_a.link) < 1000000) {
        send_bulk(&side_a, 1);
        sent++;
    }
    transport_close(side_a.transport, side_a.link,
                    argus_RefuseCode_REFUSE_REPLACED, "newer");
    transport_pause_metrics(side_b.transport, false);
    CU_ASSERT_TRUE(bed_wait_for(&side_b.downs, 1));
    CU_ASSERT_EQUAL(side_b.frames, sent);
    CU_ASSERT_EQUAL(side_b.why, LINK_END_CLOSED);
    CU_ASSERT_EQUAL(side_b.code, argus_RefuseCode_REFUSE_REPLACED);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.downs, 1));
    bed_stop();
}

static bool raw_is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

/* Goal: strangers from one source are few; the oldest makes room, so that who
 * just sits there keeps nobody out. */
static void test_transport_strangers_are_bounded(void)
{
    int fds[4];

    side_b.options.strangers_max = 10;
    side_b.options.strangers_source_max = 3;
    bed_start();
    for (int i = 0; i < 3; i++)
        fds[i] = raw_connect();
    for (int i = 0; i < 5; i++)
        (void)uv_run(&bed_loop, UV_RUN_NOWAIT);
    CU_ASSERT_EQUAL(transport_stats(side_b.transport)->strangers_refused, 0);
    fds[3] = raw_connect();
    CU_ASSERT_TRUE(bed_wait_stat(
        &transport_stats(side_b.transport)->strangers_refused, 1));
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "from one address"));
    CU_ASSERT_TRUE(raw_is_closed(fds[0]));
    CU_ASSERT_FALSE(raw_is_closed(fds[1]));
    CU_ASSERT_FALSE(raw_is_closed(fds[3]));
    bed_link(argus_LinkKind_LINK_MESH); /* an honest one gets through */
    CU_ASSERT_TRUE(raw_is_closed(fds[1]));
    CU_ASSERT_FALSE(raw_is_closed(fds[2]));
    for (int i = 0; i < 4; i++)
        (void)close(fds[i]);
    bed_stop();
}

/* Goal: connections that all come at once are accepted a few a turn of the
 * loop, so that what is up is served in between; none is forgotten. */
static void test_transport_accepts_take_turns(void)
{
    enum { COUNT = 40 };
    int fds[COUNT];

    bed_start();
    const struct transport_stats *stats = transport_stats(side_b.transport);
    for (int i = 0; i < COUNT; i++)
        fds[i] = raw_connect();
    CU_ASSERT_TRUE(bed_wait_stat(&stats->accepts_put_off, 1));
    bed_link(argus_LinkKind_LINK_MESH); /* comes behind all of them */
    CU_ASSERT_TRUE(stats->accepts_put_off >= 2);
    CU_ASSERT_EQUAL(stats->strangers_refused, 0);
    for (int i = 0; i < COUNT; i++) {
        CU_ASSERT_FALSE(raw_is_closed(fds[i]));
        (void)close(fds[i]);
    }
    bed_stop();
}

/* Goal: links in all, strangers in all and dials under way are bounded, each
 * refusal is told. */
static void test_transport_totals_are_bounded(void)
{
    side_a.options.dials_max = 2;
    side_b.options.links_max = 2;
    bed_start();
    for (int i = 0; i < 3; i++)
        bed_dial(argus_LinkKind_LINK_SYNC, NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 1));
    CU_ASSERT_EQUAL(side_a.why, LINK_END_LOCAL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.ups, 2));
    CU_ASSERT_TRUE(bed_wait_for(&side_b.ups, 2));
    bed_dial(argus_LinkKind_LINK_SYNC, NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 2));
    CU_ASSERT_EQUAL(side_a.code, argus_RefuseCode_REFUSE_BUSY);
    CU_ASSERT_EQUAL(transport_stats(side_b.transport)->links_now, 2);
    transport_close(side_a.transport, side_a.link, argus_RefuseCode_REFUSE_BYE,
                    "bye");
    CU_ASSERT_TRUE(bed_wait_for(&side_b.downs, 1));
    bed_stop();

    side_b.options.strangers_max = 1;
    bed_start();
    int one = raw_connect(), two = raw_connect();
    CU_ASSERT_TRUE(bed_wait_stat(
        &transport_stats(side_b.transport)->strangers_refused, 1));
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "too many of them"));
    (void)close(one);
    (void)close(two);
    bed_stop();
}

/* Goal: without a key nothing but loopback is listened on, and the refusal
 * names the way out; a port in use is named. */
static void test_transport_listen_refusals(void)
{
    struct argus_error err = {{0}};
    char port[8];
    uint16_t got;

    bed_start();
    CU_ASSERT_EQUAL(
        transport_listen(side_a.transport, "0.0.0.0", "0", &got, &err),
        ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "AllowPlaintext"));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "0.0.0.0"));
    CU_ASSERT_EQUAL(transport_listen(side_a.transport, "::", "0", &got, &err),
                    ARGUS_EDENIED);
    (void)snprintf(port, sizeof port, "%u", side_b.port);
    CU_ASSERT_EQUAL(
        transport_listen(side_a.transport, "127.0.0.1", port, &got, &err),
        ARGUS_EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, port));
    bed_stop();

    side_a.options.allow_plaintext = true;
    bed_start();
    CU_ASSERT_EQUAL(transport_listen(side_a.transport, "::", "0", &got, &err),
                    ARGUS_OK);
    CU_ASSERT_TRUE(got > 0);
    bed_stop();
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
    {"accepts_take_turns", test_transport_accepts_take_turns},
    {"totals_are_bounded", test_transport_totals_are_bounded},
    {"listen_refusals", test_transport_listen_refusals},
    CU_TEST_INFO_NULL,
};
