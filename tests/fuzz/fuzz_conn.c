/* fuzz_conn.c - the handshake and what follows it: a real transport in a loop,
 * and peers on raw sockets that dial it or are dialed by it, and send whatever,
 * in pieces; with a key also inside of TLS. What its owner hears keeps the
 * promises of transport.h, and with a key no link comes up for a peer that has
 * not proven its id.
 *
 * Input: a byte of flavor, then operations, each a byte and its arguments. */
#include "argus_config.h" /* GNU extensions */

#include "fuzz.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certs.h"
#include "runtime/identity.h"
#include "runtime/tls.h"
#include "runtime/transport.h"
#include "wire/frame.h"

#define PEERS 4
#define LINKS_MAX 64 /* that come up in one run */
#define DIALS_MAX 16
#define OPERATIONS_MAX 120

struct raw_peer {
    int fd; /* -1: none */
    bool was_dialed, has_heard;
    struct tls *tls; /* NULL: it speaks plain */
    struct tls_output cipher;
    size_t used;
    uint8_t bytes[2 * (FRAME_HEADER_SIZE + FRAME_BODY_MAX)];
};

enum life { NEVER, PENDING, UP, OVER };

static struct {
    uv_loop_t loop;
    struct transport *transport;
    struct hello_facts self;
    uint16_t port;
    int listener; /* where the transport dials */
    uint16_t listener_port;
    struct raw_peer peers[PEERS];
    enum life links[LINKS_MAX], dials[DIALS_MAX];
    link_id last_link;
    uint32_t dials_count;
    bool is_done;
    bool is_protected, has_certificates;
    uint32_t ups, proofs_sent; /* sound ones */
    uint64_t bytes_sent;       /* by peers, as far as they may arrive */
} at;

/* Made once: rings of keys 1 and 2, of key 2, of key 3; certificates of this
 * side, the same when the peer's is revoked, and of the peer; who they are. */
static struct tls_context *rings[3], *certified[3];
static struct identity *self_identity, *peer_identity;

/* --------------------------------------------------------- what is heard */

static enum life *life_of(link_id link)
{
    assert(link > 0);
    return link < LINKS_MAX ? &at.links[link] : NULL;
}

static void dial_ends(dial_id dial)
{
    assert(dial > 0 && dial < DIALS_MAX && at.dials[dial] == PENDING);
    at.dials[dial] = OVER;
}

static void on_up(void *context, link_id link, dial_id dial,
                  const struct peer_info *peer)
{
    enum life *life = life_of(link);

    (void)context;
    assert(link > at.last_link);
    at.last_link = link;
    at.ups++;
    assert(!at.is_protected || at.ups <= at.proofs_sent);
    if (life != NULL)
        *life = UP;
    if (dial != 0)
        dial_ends(dial);
    assert(peer->kind >= argus_LinkKind_LINK_MESH &&
           peer->kind <= argus_LinkKind_LINK_BUNDLE);
    assert(strlen(peer->name) < sizeof peer->name);
    assert(strlen(peer->address) < sizeof peer->address);
    assert(peer->kind == argus_LinkKind_LINK_PROBE ||
           !node_id_is_equal(&peer->id, &at.self.id));
}

static void on_down(void *context, link_id link, enum link_end why,
                    argus_RefuseCode code)
{
    enum life *life = life_of(link);

    (void)context;
    (void)why;
    (void)code;
    assert(life == NULL || *life == UP);
    if (life != NULL)
        *life = OVER;
}

static void on_failed(void *context, dial_id dial, enum link_end why,
                      argus_RefuseCode code)
{
    (void)context;
    (void)why;
    (void)code;
    dial_ends(dial);
}

static void on_frame(void *context, link_id link, const argus_Frame *frame)
{
    enum life *life = life_of(link);

    (void)context;
    assert(life == NULL || *life == UP);
    assert(frame->which_body != 0 &&
           frame->which_body != argus_Frame_hello_tag &&
           frame->which_body != argus_Frame_refuse_tag);
}

static void on_drained(void *context, link_id link)
{
    (void)context;
    assert(life_of(link) == NULL || *life_of(link) == UP);
}

static bool is_known(void *context, const char *address)
{
    (void)context;
    (void)address;
    return false;
}

static void on_observed(void *context, const char *host)
{
    (void)context;
    assert(strlen(host) > 0 && strlen(host) < 64);
}

/* ----------------------------------------------------------------- peers */

static void turn(unsigned times)
{
    while (times-- > 0)
        (void)uv_run(&at.loop, UV_RUN_NOWAIT);
}

/* Bytes on loopback are there at once, but for a machine that has much to do:
 * wait a moment for those that were sent. */
static void turn_until_read(void)
{
    const struct transport_stats *stats = transport_stats(at.transport);
    struct pollfd loop = {.fd = uv_backend_fd(&at.loop), .events = POLLIN};

    turn(1);
    for (int i = 0; i < 3 && stats->bytes_received < at.bytes_sent; i++) {
        (void)poll(&loop, 1, 1);
        turn(1);
    }
    at.bytes_sent = stats->bytes_received; /* what is not read by now is lost */
}

/* With a reset: nothing waits in the kernel for a minute, run after run. */
static void peer_close(struct raw_peer *p)
{
    const struct linger at_once = {.l_onoff = 1};

    if (p->fd < 0)
        return;
    (void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)close(p->fd);
    p->fd = -1;
    tls_free(p->tls);
    p->tls = NULL;
}

static void peer_begin(struct raw_peer *p, int fd)
{
    if (fd < 0)
        abort();
    p->fd = fd;
    p->used = 0;
    p->has_heard = p->was_dialed = false;
}

static void peer_dial(struct raw_peer *p)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(at.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    if (p->fd >= 0)
        return;
    peer_begin(p,
               socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (connect(p->fd, (struct sockaddr *)&to, sizeof to) != 0 &&
        errno != EINPROGRESS)
        peer_close(p);
    turn(2);
}

/* The transport dials us. */
static void peer_is_dialed(struct raw_peer *p, uint8_t flags)
{
    struct node_id expected = {{4}};
    char address[32];

    if (p->fd >= 0 || at.dials_count + 1 >= DIALS_MAX)
        return;
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", at.listener_port);
    at.dials[++at.dials_count] = PENDING;
    transport_dial(at.transport, at.dials_count,
                   (argus_LinkKind)(1 + flags % 5), address,
                   flags & 8 ? &expected : NULL);
    for (int i = 0; i < 20 && p->fd < 0; i++) {
        turn(1);
        int fd = accept4(at.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            peer_begin(p, fd);
        p->was_dialed = true;
    }
    turn(1);
}

/* What the transport sends are whole frames: first a Hello, or a Refuse. */
static size_t whole_frames(struct raw_peer *p)
{
    static argus_Frame frame;
    struct argus_error err = {{0}};
    size_t done = 0;

    while (p->used - done >= FRAME_HEADER_SIZE) {
        int length = frame_length(p->bytes + done, FRAME_BODY_MAX, &err);
        assert(length >= 0);
        if (p->used - done < FRAME_HEADER_SIZE + (size_t)length)
            break;
        int rc = frame_decode(p->bytes + done + FRAME_HEADER_SIZE,
                              (size_t)length, &frame, &err);
        assert(rc == ARGUS_OK && "a frame that is sent decodes");
        bool is_hello = frame.which_body == argus_Frame_hello_tag;
        assert(frame.which_body == argus_Frame_refuse_tag ||
               is_hello == !p->has_heard);
        p->has_heard = true;
        done += FRAME_HEADER_SIZE + (size_t)length;
    }
    return done;
}

static void take_frames(struct raw_peer *p)
{
    size_t done = whole_frames(p);

    memmove(p->bytes, p->bytes + done, p->used - done);
    p->used -= done;
}

/* What the peer's own TLS has to say goes out. */
static void flush_cipher(struct raw_peer *p)
{
    size_t size = p->cipher.used;

    if (size > 0 && send(p->fd, p->cipher.bytes, size, MSG_NOSIGNAL) > 0)
        at.bytes_sent += size;
    p->cipher.used = 0;
}

static void decrypt(struct raw_peer *p, const uint8_t *data, size_t size)
{
    ssize_t got;

    tls_lend(p->tls, data, size);
    while ((got = tls_read(p->tls, p->bytes + p->used,
                           sizeof p->bytes - p->used)) > 0) {
        p->used += (size_t)got;
        take_frames(p);
    }
    flush_cipher(p);
    if (got < 0) {
        assert(tls_text(p->tls) != NULL);
        peer_close(p);
    }
}

static bool peer_read(struct raw_peer *p)
{
    static uint8_t bytes[65536];
    size_t room = sizeof p->bytes - p->used;
    ssize_t got =
        p->fd < 0
            ? 0
            : recv(p->fd, bytes, room < sizeof bytes ? room : sizeof bytes, 0);

    if (got == 0 || (got < 0 && errno != EAGAIN && errno != ENOTCONN))
        peer_close(p);
    if (got <= 0)
        return false;
    if (p->tls != NULL) {
        decrypt(p, bytes, (size_t)got);
    } else if (!at.is_protected) {
        memcpy(p->bytes + p->used, bytes, (size_t)got);
        p->used += (size_t)got;
        take_frames(p);
    } /* else records of TLS, which a plain peer does not know */
    return true;
}

static void peer_send_raw(struct raw_peer *p, const void *data, size_t size)
{
    if (p->fd < 0)
        peer_dial(p);
    ssize_t sent =
        p->fd >= 0 && size > 0 ? send(p->fd, data, size, MSG_NOSIGNAL) : 0;
    at.bytes_sent += sent > 0 ? (uint64_t)sent : 0;
}

static void peer_send(struct raw_peer *p, const uint8_t *data, size_t size)
{
    if (p->fd < 0 || p->tls == NULL || !tls_is_up(p->tls)) {
        peer_send_raw(p, data, size);
    } else if (size > 0) {
        (void)tls_write(p->tls, data, size);
        flush_cipher(p);
    }
}

/* It says that it holds a key, which it does or does not. */
static void peer_prove_key(struct raw_peer *p, uint8_t flags)
{
    static const uint8_t secrets[2][MESH_KEY_SIZE] = {{1}, {2}};
    static argus_Frame frame;
    uint8_t bytes[FRAME_HEADER_SIZE + FRAME_HELLO_MAX];
    uint8_t exported[TLS_EXPORT_SIZE];
    argus_KeyProof *proof = &frame.body.key_proof;
    struct mesh_key key;
    char side = p->was_dialed ? 'A' : 'D';

    mesh_key_of(secrets[flags & 1], &key);
    frame.which_body = argus_Frame_key_proof_tag;
    memcpy(proof->key, key.id, sizeof proof->key);
    if (!tls_is_up(p->tls) || !tls_export(p->tls, exported) ||
        !tls_key_mac(&key, side, exported, proof->mac))
        return;
    proof->mac[0] ^= flags >> 4;
    int size =
        frame_encode(argus_Frame_fields, &frame, bytes, sizeof bytes, NULL);
    peer_send(p, bytes, (size_t)size);
    turn_until_read();
}

/* The peer shakes hands as it should; with which keys the input says, or with
 * its certificate. */
static void peer_protect(struct raw_peer *p, uint8_t flags)
{
    if (p->fd < 0)
        peer_dial(p);
    if (p->fd >= 0 && p->tls != NULL)
        peer_prove_key(p, flags);
    if (p->fd < 0 || p->tls != NULL)
        return;
    p->tls = tls_new(at.has_certificates ? certified[2] : rings[flags % 3],
                     !p->was_dialed, &p->cipher);
    if (p->tls == NULL)
        abort();
    if (!p->was_dialed)
        tls_begin(p->tls);
    flush_cipher(p);
    for (int i = 0; i < 4 && p->fd >= 0 && !tls_is_up(p->tls); i++) {
        struct pollfd more = {.fd = p->fd, .events = POLLIN};
        turn_until_read();
        (void)poll(&more, 1, 2);
        (void)peer_read(p);
    }
    turn_until_read();
}

/* ------------------------------------------------------------ operations */

static void op_bytes(struct raw_peer *p, struct fuzz_input *in)
{
    struct fuzz_input part = fuzz_part(in);

    peer_send_raw(p, part.data, part.size);
    turn_until_read();
}

/* A frame whose length is right, in up to three pieces: a part of it, then all
 * but the last few bytes. */
static void send_in_pieces(struct raw_peer *p, const uint8_t *bytes,
                           size_t size, uint8_t cut)
{
    size_t late = cut & 15u, second = late < size ? size - late : size;
    size_t first = second * (cut >> 4) / 15;

    peer_send(p, bytes, first);
    turn_until_read();
    peer_send(p, bytes + first, second - first);
    turn_until_read();
    peer_send(p, bytes + second, size - second);
    turn_until_read();
}

static void op_frame(struct raw_peer *p, struct fuzz_input *in)
{
    static uint8_t bytes[FRAME_HEADER_SIZE + FRAME_BODY_MAX];
    uint8_t cut = fuzz_u8(in);
    struct fuzz_input part = fuzz_part(in);

    bytes[2] = (uint8_t)(part.size >> 8);
    bytes[3] = (uint8_t)part.size;
    if (part.size > 0)
        memcpy(bytes + FRAME_HEADER_SIZE, part.data, part.size);
    send_in_pieces(p, bytes, FRAME_HEADER_SIZE + part.size, cut);
}

/* With a proof of who it is, or one for the other side of the link. */
static void prove(struct raw_peer *p, bool is_sound, argus_Hello *hello)
{
    uint8_t exported[TLS_EXPORT_SIZE];
    char side = p->was_dialed == is_sound ? 'A' : 'D';

    if (p->fd < 0 || p->tls == NULL || !tls_is_up(p->tls) ||
        !tls_export(p->tls, exported))
        return;
    hello->key.size = IDENTITY_KEY_SIZE;
    hello->proof.size = IDENTITY_PROOF_SIZE;
    if (!identity_prove(peer_identity, side, exported, hello->key.bytes,
                        hello->proof.bytes))
        abort();
    at.proofs_sent +=
        is_sound &&
        memcmp(hello->id, identity_id(peer_identity)->bytes, NODE_ID_SIZE) == 0;
}

/* A Hello as it should be, but for what the flags say. */
static void op_hello(struct raw_peer *p, struct fuzz_input *in)
{
    static argus_Frame frame;
    uint8_t bytes[FRAME_HEADER_SIZE + FRAME_HELLO_MAX];
    uint8_t cut = fuzz_u8(in), flags = fuzz_u8(in), kind = fuzz_u8(in);
    struct hello_facts facts = at.self;

    if ((flags & 3) == 0)
        facts.id = *identity_id(peer_identity);
    else if ((flags & 1) == 0)
        facts.id = (struct node_id){{4}};
    facts.instance = flags & 4 ? facts.instance : 100;
    if ((flags & 8) != 0)
        facts.cluster[0] = 'x';
    if ((flags & 16) != 0)
        fuzz_text(in, facts.address, sizeof facts.address);
    if ((flags & 32) != 0)
        fuzz_text(in, facts.name, sizeof facts.name);
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_hello_tag;
    hello_build(&facts, (argus_LinkKind)(kind % 8),
                flags & 64 ? &facts.id : NULL,
                flags & 128 ? "192.0.2.7" : "nonsense", &frame.body.hello);
    prove(p, (kind & 8) == 0, &frame.body.hello);
    int size =
        frame_encode(argus_Frame_fields, &frame, bytes, sizeof bytes, NULL);
    if (size > 0 && (kind & 64) != 0) { /* and is gone before it is read */
        peer_send(p, bytes, (size_t)size);
        peer_close(p);
        turn_until_read();
    } else if (size > 0) {
        send_in_pieces(p, bytes, (size_t)size, cut);
    }
}

/* The owner says something on a link. */
static void op_owner(struct fuzz_input *in)
{
    static argus_Frame frame;
    uint8_t what = fuzz_u8(in);
    link_id link = fuzz_u8(in) % 8u;

    memset(&frame, 0, sizeof frame);
    switch (what % 5) {
    case 4:
        if (at.has_certificates)
            transport_set_protection(at.transport, certified[what / 5 % 2]);
        else if (at.is_protected)
            transport_set_protection(at.transport, rings[what / 5 % 3]);
        break;
    case 0:
        frame.which_body = argus_Frame_ping_tag;
        transport_send(at.transport, link, &frame);
        break;
    case 1:
        frame.which_body = argus_Frame_chunk_tag;
        frame.body.chunk.data.size = 32768;
        for (int i = 0; i < 1 + what / 4; i++)
            transport_send(at.transport, link, &frame);
        break;
    case 2:
        transport_close(at.transport, link, argus_RefuseCode_REFUSE_BYE, "bye");
        break;
    default:
        transport_pause_metrics(at.transport, (what & 4) != 0);
        (void)transport_queued_bytes(at.transport, link);
        break;
    }
    turn(1);
}

static void operate(struct fuzz_input *in)
{
    uint8_t what = fuzz_u8(in);
    struct raw_peer *p = &at.peers[(what >> 4) % PEERS];

    switch (what % 10) {
    case 9: peer_protect(p, fuzz_u8(in)); break;
    case 0: op_bytes(p, in); break;
    case 1: op_frame(p, in); break;
    case 2: op_hello(p, in); break;
    case 3: peer_is_dialed(p, fuzz_u8(in)); break;
    case 4: (void)peer_read(p); break;
    case 5: op_owner(in); break;
    case 6: peer_close(p); break;
    case 7:
        if (p->fd >= 0)
            (void)shutdown(p->fd, SHUT_WR);
        turn(1);
        break;
    default: turn(3); break;
    }
}

/* ------------------------------------------------------------------ life */

static void open_listener(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;

    at.listener =
        socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (at.listener < 0 ||
        bind(at.listener, (struct sockaddr *)&in, sizeof in) != 0 ||
        listen(at.listener, DIALS_MAX) != 0 ||
        getsockname(at.listener, (struct sockaddr *)&in, &size) != 0)
        abort();
    at.listener_port = ntohs(in.sin_port);
}

static struct tls_context *certified_by(const char *name, const char *crl)
{
    static char paths[4][256];
    const struct tls_files files = {.certificate = paths[0],
                                    .private_key = paths[1],
                                    .ca = paths[2],
                                    .crl = crl != NULL ? paths[3] : NULL,
                                    .name = name};
    struct tls_context *context;
    const char *folder = fuzz_folder();

    (void)snprintf(paths[0], sizeof paths[0], "%s/%s.crt", folder, name);
    (void)snprintf(paths[1], sizeof paths[1], "%s/%s.pem", folder, name);
    (void)snprintf(paths[2], sizeof paths[2], "%s/ca.crt", folder);
    (void)snprintf(paths[3], sizeof paths[3], "%s/%s", folder, crl);
    if (tls_context_of_files(&files, &context, NULL) != ARGUS_OK)
        abort();
    return context;
}

static void make_certificates(void)
{
    certs_open(fuzz_folder());
    (void)certs_make("self", "self", 86400);
    certs_revoke(certs_make("peer", "peer", 86400), 86400);
    certified[0] = certified_by("self", NULL);
    certified[1] = certified_by("self", "list.crl");
    certified[2] = certified_by("peer", NULL);
    certs_close();
}

static void make_keys(void)
{
    static const uint8_t secrets[3][MESH_KEY_SIZE] = {{1}, {2}, {3}};
    struct keyring ring = {.count = 2};

    if (rings[0] != NULL)
        return;
    for (int i = 0; i < 3; i++) {
        mesh_key_of(secrets[i], &ring.keys[0]);
        mesh_key_of(secrets[1], &ring.keys[1]);
        ring.count = i == 0 ? 2 : 1;
        if (tls_context_of_keys(&ring, &rings[i], NULL) != ARGUS_OK)
            abort();
    }
    make_certificates();
    if (identity_open(NULL, "default", &self_identity, NULL) != ARGUS_OK ||
        identity_open(NULL, "default", &peer_identity, NULL) != ARGUS_OK)
        abort();
}

static void open_transport(uint8_t flavor)
{
    static const struct transport_listener heard = {
        NULL,     on_up,      on_down,     on_failed,
        on_frame, on_drained, on_observed, is_known};
    struct transport_options options = {
        .self = {.cluster = "default",
                 .id = {{1}},
                 .generation = 3,
                 .instance = 77,
                 .name = "self",
                 .address = ":25827"},
        .strangers_source_max = flavor & 1 ? 2 : 0,
        .links_max = flavor & 2 ? 3 : 0,
        .queue_bytes_max = flavor & 4 ? 70000 : 0,
        .linger_ms = 50,
        .grace_ms = 1};
    struct argus_error err = {{0}};

    at.is_protected = (flavor & 8) != 0;
    at.has_certificates = at.is_protected && (flavor & 16) != 0;
    if (at.is_protected) {
        options.protection = at.has_certificates ? certified[0] : rings[0];
        options.identity = self_identity;
        options.self.id = *identity_id(self_identity);
    }
    at.self = options.self;
    if (uv_loop_init(&at.loop) != 0 ||
        transport_new(&at.loop, &options, &heard, &at.transport, &err) !=
            ARGUS_OK ||
        transport_listen(at.transport, "127.0.0.1", "0", &at.port, &err) !=
            ARGUS_OK)
        abort();
}

static void on_done(void *context)
{
    (void)context;
    at.is_done = true;
    transport_free(at.transport);
}

static void close_all(void)
{
    for (int i = 0; i < PEERS; i++) {
        peer_close(&at.peers[i]);
        free(at.peers[i].cipher.bytes);
        at.peers[i].cipher = (struct tls_output){.bytes = NULL};
    }
    (void)close(at.listener); /* resets who waits there */
    turn(3);
    transport_stop(at.transport, argus_RefuseCode_REFUSE_BYE, "bye", on_done,
                   NULL);
    (void)uv_run(&at.loop, UV_RUN_DEFAULT);
    assert(at.is_done);
    int rc = uv_loop_close(&at.loop);
    assert(rc == 0 && "every handle goes");
}

FUZZ_TARGET(conn)
{
    struct fuzz_input in = {data, size};
    bool has_more = true;

    fuzz_quiet();
    memset(at.links, 0, sizeof at.links);
    memset(at.dials, 0, sizeof at.dials);
    at.last_link = 0;
    at.dials_count = 0;
    at.is_done = false;
    at.ups = at.proofs_sent = 0;
    at.bytes_sent = 0;
    make_keys();
    for (int i = 0; i < PEERS; i++)
        at.peers[i].fd = -1;
    open_listener();
    open_transport(fuzz_u8(&in));
    for (int i = 0; in.size > 0 && i < OPERATIONS_MAX; i++)
        operate(&in);
    for (int i = 0; has_more && i < 100; i++) {
        turn(2);
        has_more = false;
        for (int k = 0; k < PEERS; k++)
            has_more |= peer_read(&at.peers[k]);
    }
    assert(transport_stats(at.transport)->links_now <= PEERS);
    close_all();
    return 0;
}
