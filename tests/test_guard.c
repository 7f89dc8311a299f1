#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certs.h"
#include "folder.h"
#include "link_bed.h"
#include "runtime/identity.h"
#include "runtime/tls.h"
#include "wire/frame.h"

/* Links between "a" and "b" that are protected. */
static struct identity *identity_a, *identity_b;
static char folder[256];

static struct keyring ring_of(const char *bytes)
{
    struct keyring ring = {.count = 0};
    uint8_t secret[MESH_KEY_SIZE];

    for (; *bytes != '\0'; bytes++) {
        memset(secret, *bytes, sizeof secret);
        mesh_key_of(secret, &ring.keys[ring.count++]);
    }
    return ring;
}

static struct tls_context *context_of_keys(const char *bytes)
{
    struct keyring ring = ring_of(bytes);
    struct tls_context *context = NULL;

    CU_ASSERT_EQUAL_FATAL(tls_context_of_keys(&ring, &context, NULL), ARGUS_OK);
    return context;
}

static int read_files(const char *name, bool has_crl,
                      struct tls_context **context, struct argus_error *err)
{
    char certificate[300], private_key[300], ca[300], crl[300];
    const struct tls_files files = {certificate, private_key, ca,
                                    has_crl ? crl : NULL, name};

    (void)snprintf(certificate, sizeof certificate, "%s/%s.crt", folder, name);
    (void)snprintf(private_key, sizeof private_key, "%s/%s.pem", folder, name);
    (void)snprintf(ca, sizeof ca, "%s/ca.crt", folder);
    (void)snprintf(crl, sizeof crl, "%s/list.crl", folder);
    return tls_context_of_files(&files, context, err);
}

static struct tls_context *context_of_files(const char *name, bool has_crl)
{
    struct tls_context *context = NULL;
    struct argus_error err = {{0}};

    CU_ASSERT_EQUAL_FATAL(read_files(name, has_crl, &context, &err), ARGUS_OK);
    return context;
}

/* Each side holds what it needs; NULL: in the clear. */
static void start_with(struct tls_context *a, struct tls_context *b)
{
    CU_ASSERT_EQUAL_FATAL(identity_open(NULL, "default", &identity_a, NULL),
                          ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(identity_open(NULL, "default", &identity_b, NULL),
                          ARGUS_OK);
    side_a.options.identity = identity_a;
    side_b.options.identity = identity_b;
    side_a.options.self.id = *identity_id(identity_a);
    side_b.options.self.id = *identity_id(identity_b);
    side_a.options.protection = a;
    side_b.options.protection = b;
    side_a.options.grace_ms = side_b.options.grace_ms = 100;
    /* No handshake fails for a busy machine. */
    side_a.options.hello_ms = side_b.options.hello_ms = 30000;
    bed_start();
    tls_context_release(a);
    tls_context_release(b);
}

static void finish(void)
{
    bed_stop();
    identity_free(identity_a);
    identity_free(identity_b);
}

static void dial_is_refused(argus_RefuseCode code)
{
    bed_dial(argus_LinkKind_LINK_MESH, NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 1));
    CU_ASSERT_EQUAL(side_a.why, LINK_END_DENIED);
    CU_ASSERT_EQUAL(side_a.code, code);
    CU_ASSERT_EQUAL(side_a.ups + side_b.ups, 0);
}

/* Goal: with a key in common a link comes up, whichever of the acceptor's keys
 * the dialer uses; frames of all sizes pass both ways, in order. */
static void test_guard_key_in_common(void)
{
    const struct transport_stats *stats;
    static argus_Frame frame;

    start_with(context_of_keys("A"), context_of_keys("BA"));
    bed_link(argus_LinkKind_LINK_MESH);
    CU_ASSERT_TRUE(node_id_is_equal(&side_a.peer.id, identity_id(identity_b)));
    CU_ASSERT_TRUE(node_id_is_equal(&side_b.peer.id, identity_id(identity_a)));
    for (uint32_t i = 1; i <= 1000; i++)
        bed_ping(&side_a, i);
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_chunk_tag;
    frame.body.chunk.data.size = 32768;
    for (uint32_t i = 0; i < 20; i++)
        transport_send(side_b.transport, side_b.link, &frame);
    CU_ASSERT_TRUE(bed_wait_for(&side_b.frames, 1000));
    CU_ASSERT_EQUAL(side_b.last_number, 1000);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.frames, 20));
    stats = transport_stats(side_a.transport);
    CU_ASSERT_TRUE(stats->bytes_received > 20 * 32768);
    CU_ASSERT_EQUAL(
        transport_links_of_key(side_a.transport, ring_of("A").keys[0].id), 1);
    transport_close(side_a.transport, side_a.link, argus_RefuseCode_REFUSE_BYE,
                    "bye");
    CU_ASSERT_TRUE(bed_wait_for(&side_b.downs, 1));
    CU_ASSERT_EQUAL(side_b.code, argus_RefuseCode_REFUSE_BYE);
    finish();
}

/* Goal: without a key in common both sides say which one it was about. */
static void test_guard_other_key(void)
{
    char id[MESH_KEY_ID_TEXT_SIZE];

    mesh_key_id_format(ring_of("A").keys[0].id, id);
    start_with(context_of_keys("A"), context_of_keys("B"));
    bed_dial(argus_LinkKind_LINK_MESH, NULL);
    CU_ASSERT_TRUE(bed_wait_stat(
        &transport_stats(side_b.transport)->handshakes_failed, 1));
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 1));
    CU_ASSERT_EQUAL(side_a.code, argus_RefuseCode_REFUSE_KEY);
    CU_ASSERT_EQUAL(side_a.why, LINK_END_DENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, id));
    finish();
}

/* Goal: who has a key and who has none tell each other in the clear, both ways
 * round, and what helps. */
static void test_guard_plain_meets_tls(void)
{
    start_with(NULL, context_of_keys("A"));
    dial_is_refused(argus_RefuseCode_REFUSE_KEY);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "KeyFile"));
    finish();
    start_with(context_of_keys("A"), NULL);
    dial_is_refused(argus_RefuseCode_REFUSE_KEY);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "KeyFile"));
    finish();
}

/* Goal: a member who takes another's id is refused, whether he dials or is
 * dialed. */
static void test_guard_id_is_proven(void)
{
    struct hello_facts self;

    start_with(context_of_keys("A"), context_of_keys("A"));
    self = side_a.options.self;
    self.id.bytes[0] ^= 1;
    transport_set_self(side_a.transport, &self);
    dial_is_refused(argus_RefuseCode_REFUSE_PROOF);
    finish();

    start_with(context_of_keys("A"), context_of_keys("A"));
    self = side_b.options.self;
    self.id.bytes[0] ^= 1;
    transport_set_self(side_b.transport, &self);
    bed_dial(argus_LinkKind_LINK_MESH, NULL);
    CU_ASSERT_TRUE(
        bed_wait_stat(&transport_stats(side_a.transport)->hellos_refused, 1));
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 1));
    CU_ASSERT_EQUAL(side_a.ups, 0);
    finish();
}

/* Goal: the proof holds for one connection and one side only. */
static void test_guard_proof_is_bound(void)
{
    uint8_t exported[TLS_EXPORT_SIZE] = {1}, key[32], proof[64];
    struct identity *identity;

    CU_ASSERT_EQUAL_FATAL(identity_open(NULL, "x", &identity, NULL), ARGUS_OK);
    const uint8_t *id = identity_id(identity)->bytes;
    CU_ASSERT_TRUE(identity_prove(identity, 'D', exported, key, proof));
    CU_ASSERT_TRUE(identity_is_proven(id, 'D', exported, key, proof));
    CU_ASSERT_FALSE(identity_is_proven(id, 'A', exported, key, proof));
    exported[31] ^= 1;
    CU_ASSERT_FALSE(identity_is_proven(id, 'D', exported, key, proof));
    exported[31] ^= 1;
    proof[5] ^= 1;
    CU_ASSERT_FALSE(identity_is_proven(id, 'D', exported, key, proof));
    identity_free(identity);
}

static void set_keys(struct side *s, const char *bytes)
{
    struct tls_context *context = context_of_keys(bytes);

    transport_set_protection(s->transport, context);
    tls_context_release(context);
}

/* Goal: a link outlives the key it began with, when both sides take the steps
 * of a rotation, in whatever order; it ends when its peer never had the new
 * one. */
static void test_guard_link_outlives_its_key(void)
{
    start_with(context_of_keys("A"), context_of_keys("A"));
    bed_link(argus_LinkKind_LINK_MESH);
    set_keys(&side_a, "AB"); /* b does not know it: forgets the proof */
    bed_turn_ms(20);
    set_keys(&side_b, "AB"); /* ... and hears it again in answer to its own */
    bed_turn_ms(20);
    set_keys(&side_b, "BA");
    set_keys(&side_a, "BA");
    set_keys(&side_a, "B");
    bed_turn_ms(250);
    set_keys(&side_b, "B");
    bed_turn_ms(250);
    CU_ASSERT_EQUAL(side_a.downs + side_b.downs, 0);
    bed_ping(&side_a, 5);
    CU_ASSERT_TRUE(bed_wait_for(&side_b.frames, 1));

    set_keys(&side_a, "BC");
    set_keys(&side_a, "C");
    CU_ASSERT_TRUE(bed_wait_for(&side_b.downs, 1));
    CU_ASSERT_EQUAL(side_b.code, argus_RefuseCode_REFUSE_KEY);
    CU_ASSERT_EQUAL(transport_stats(side_a.transport)->links_rekeyed_out, 1);
    finish();
}

/* Goal: a proof that is wrong ends the link. */
static void test_guard_wrong_proof(void)
{
    static argus_Frame frame;

    start_with(context_of_keys("A"), context_of_keys("A"));
    bed_link(argus_LinkKind_LINK_MESH);
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_key_proof_tag;
    memcpy(frame.body.key_proof.key, ring_of("Z").keys[0].id, MESH_KEY_ID_SIZE);
    transport_send(side_a.transport, side_a.link, &frame); /* unknown: passes */
    bed_ping(&side_a, 1);
    CU_ASSERT_TRUE(bed_wait_for(&side_b.frames, 1));
    memcpy(frame.body.key_proof.key, ring_of("A").keys[0].id, MESH_KEY_ID_SIZE);
    transport_send(side_a.transport, side_a.link, &frame);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.downs, 1));
    CU_ASSERT_EQUAL(side_a.code, argus_RefuseCode_REFUSE_MALFORMED);
    finish();
}

static int raw_dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(side_b.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CU_ASSERT_EQUAL_FATAL(
        connect(fd, (struct sockaddr *)(void *)&to, sizeof to), 0);
    return fd;
}

/* Goal: no handshake is longer than one is; garbage ends one at once. */
static void test_guard_handshake_is_bounded(void)
{
    /* A ClientHello that announces more than it may have, in one-byte records
     * that never end. */
    uint8_t record[6] = {0x16, 3, 1, 0, 1, 1};
    uint8_t garbage[64] = {0x16, 3, 1, 0, 59, 9};
    const struct transport_stats *stats;

    start_with(context_of_keys("A"), context_of_keys("A"));
    stats = transport_stats(side_b.transport);
    int fd = raw_dial();
    CU_ASSERT_EQUAL(write(fd, garbage, sizeof garbage),
                    (ssize_t)sizeof garbage);
    CU_ASSERT_TRUE(bed_wait_stat(&stats->handshakes_failed, 1));
    (void)close(fd);

    fd = raw_dial();
    const uint8_t head[9] = {0x16, 3, 1, 0, 4, 1, 0, 0x1f, 0x00};
    CU_ASSERT_EQUAL(write(fd, head, sizeof head), (ssize_t)sizeof head);
    for (unsigned i = 0; i < 6000; i++) {
        if (send(fd, record, sizeof record, MSG_NOSIGNAL) < 0)
            break;
        (void)uv_run(&bed_loop, UV_RUN_NOWAIT);
    }
    CU_ASSERT_TRUE(bed_wait_stat(&stats->handshakes_failed, 2));
    (void)close(fd);
    finish();
}

/* ---------------------------------------------------------- certificates */

static void open_authority(void)
{
    folder_make(folder);
    certs_open(folder);
    (void)certs_make("a", "a", 3600);
}

static void close_authority(void)
{
    certs_close();
    folder_remove(folder);
}

/* Goal: both certificates of one authority, each for its node's name. */
static void test_guard_certificates(void)
{
    open_authority();
    (void)certs_make("b", "b", 3600);
    start_with(context_of_files("a", false), context_of_files("b", false));
    bed_link(argus_LinkKind_LINK_MESH);
    bed_ping(&side_a, 1);
    CU_ASSERT_TRUE(bed_wait_for(&side_b.frames, 1));
    finish();
    close_authority();
}

/* Goal: a certificate for another name, one that has run out and one of another
 * authority are refused, with the reason. */
static void test_guard_bad_certificates(void)
{
    struct tls_context *context;
    struct argus_error err = {{0}};

    open_authority();
    (void)certs_make("b", "c", 3600);
    CU_ASSERT_EQUAL(read_files("b", false, &context, &err), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "is not for \"b\""));
    CU_ASSERT_EQUAL(read_files("nobody", false, &context, &err),
                    ARGUS_ECORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "nobody.crt"));

    (void)certs_make("c", "c", 3600); /* sound, but this node is called b */
    start_with(context_of_files("a", false), context_of_files("c", false));
    bed_dial(argus_LinkKind_LINK_MESH, NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 1));
    CU_ASSERT_EQUAL(side_a.ups, 0);
    CU_ASSERT_EQUAL(transport_stats(side_a.transport)->hellos_refused, 1);
    finish();

    (void)certs_make("b", "b", -60);
    start_with(context_of_files("a", false), context_of_files("b", false));
    dial_is_refused(argus_RefuseCode_REFUSE_KEY);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "expired"));
    finish();

    struct tls_context *old = context_of_files("a", false);
    certs_close();
    certs_open(folder); /* another authority under the same name */
    (void)certs_make("b", "b", 3600);
    start_with(old, context_of_files("b", false));
    dial_is_refused(argus_RefuseCode_REFUSE_KEY);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "certificate"));
    finish();
    close_authority();
}

/* Goal: a revoked certificate is refused; a link that is up ends when its
 * peer's is revoked; a list that has run out is still honoured, and told. */
static void test_guard_revocation(void)
{
    struct tls_context *context;

    open_authority();
    long serial = certs_make("b", "b", 3600);
    certs_revoke(0, 3600);
    start_with(context_of_files("a", true), context_of_files("b", true));
    bed_link(argus_LinkKind_LINK_MESH);
    certs_revoke(0, -60);
    context = context_of_files("a", true);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "has run out"));
    transport_set_protection(side_a.transport, context);
    tls_context_release(context);
    bed_turn_ms(50);
    CU_ASSERT_EQUAL(side_a.downs, 0);

    certs_revoke(serial, -60);
    context = context_of_files("a", true);
    transport_set_protection(side_a.transport, context);
    tls_context_release(context);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.downs, 1));
    CU_ASSERT_EQUAL(side_a.code, argus_RefuseCode_REFUSE_KEY);
    CU_ASSERT_PTR_NOT_NULL(strstr(bed_log, "revoked"));
    bed_dial(argus_LinkKind_LINK_MESH, NULL);
    CU_ASSERT_TRUE(bed_wait_for(&side_a.fails, 1));
    CU_ASSERT_EQUAL(side_a.ups, 1);
    finish();
    close_authority();
}

CU_TestInfo suite_guard[] = {
    {"key_in_common", test_guard_key_in_common},
    {"other_key", test_guard_other_key},
    {"plain_meets_tls", test_guard_plain_meets_tls},
    {"id_is_proven", test_guard_id_is_proven},
    {"proof_is_bound", test_guard_proof_is_bound},
    {"link_outlives_its_key", test_guard_link_outlives_its_key},
    {"wrong_proof", test_guard_wrong_proof},
    {"handshake_is_bounded", test_guard_handshake_is_bounded},
    {"certificates", test_guard_certificates},
    {"bad_certificates", test_guard_bad_certificates},
    {"revocation", test_guard_revocation},
    CU_TEST_INFO_NULL,
};
