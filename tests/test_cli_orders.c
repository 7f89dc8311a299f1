/* `argusctl operators | forget | keys` as scripts use them; see cli_bed.h. The
 * daemon is a list of nodes and the last order of each kind. */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "cli_bed.h"
#include "core/manifest.h"
#include "core/orders.h"
#include "folder.h"
#include "runtime/keyring.h"
#include "runtime/operator_key.h"

#define NODES_MAX 80
#define ONLINE argus_MemberState_MEMBER_ONLINE
#define OFFLINE argus_MemberState_MEMBER_OFFLINE
#define LEFT argus_MemberState_MEMBER_LEFT

static struct {
    argus_SignedBundle orders[ORDER_KINDS];
    argus_Manifest now[ORDER_KINDS]; /* the same, unpacked */
    uint32_t versions[ORDER_KINDS];
    bool is_untrusted; /* the daemon calls the head so */
    uint32_t retain_s; /* RetainOffline */
    argus_MemberReply nodes[NODES_MAX];
    uint32_t nodes_count;
    argus_OperatorReply operators[8];
    uint32_t operators_count;
    struct keyring ring;       /* of the daemon; empty: it has none */
    uint32_t asked;            /* members, whole lists */
    uint32_t follow_at;        /* when the nodes follow the order about keys */
    uint32_t epoch;            /* that the daemon is in */
    argus_MemberState alarmed; /* state of the nodes whose clocks are wrong */
} mesh;

/* --------------------------------------------------------- the fake daemon */

static void hash_of(enum order_kind kind, uint8_t out[32])
{
    const argus_SignedBundle *b = &mesh.orders[kind];
    CU_ASSERT_EQUAL(EVP_Digest(b->manifest.bytes, b->manifest.size, out, NULL,
                               EVP_sha256(), NULL),
                    1);
}

static bool fake_version(void *context, const char *name, uint32_t version,
                         argus_BundleReply *out)
{
    enum order_kind kind = order_kind_of(name);

    (void)context;
    CU_ASSERT_NOT_EQUAL(kind, ORDER_NONE);
    CU_ASSERT_EQUAL(version, 0);
    if (mesh.versions[kind] == 0)
        return false;
    out->has_bundle = true;
    out->bundle = mesh.orders[kind];
    hash_of(kind, out->hash);
    out->head = true;
    out->trusted = !mesh.is_untrusted;
    return true;
}

/* One bundle in force, of the first operator. */
static bool fake_bundle(void *context, uint32_t index, argus_BundleReply *out)
{
    (void)context;
    if (index > 0 || mesh.versions[ORDER_NONE] == 0)
        return false;
    out->has_bundle = true;
    out->bundle = mesh.orders[ORDER_NONE];
    return true;
}

static int fake_push(void *context, const argus_SignedBundle *bundle,
                     struct argus_error *err)
{
    argus_Manifest m;
    uint8_t head[32];

    (void)context;
    int rc = manifest_open(bundle, &m, err);
    CU_ASSERT_EQUAL_FATAL(rc, ARGUS_OK);
    CU_ASSERT_TRUE(operator_key_vouches(bundle, "default"));
    enum order_kind kind = order_kind_of(m.name);
    if (m.version != mesh.versions[kind] + 1)
        return argus_fail(err, ARGUS_EBUSY, "not the next version");
    if (m.version > 1) {
        hash_of(kind, head);
        CU_ASSERT_EQUAL(memcmp(head, m.before.bytes, sizeof head), 0);
    }
    mesh.orders[kind] = *bundle;
    mesh.now[kind] = m;
    mesh.versions[kind] = m.version;
    return ARGUS_OK;
}

static void fake_status(void *context, argus_StatusReply *out)
{
    (void)context;
    (void)strcpy(out->cluster, "default");
    out->retain_offline_s = mesh.retain_s;
}

/* From the time on that the test set, nodes hold what was ordered. */
static void follow(argus_NodeRecord *r)
{
    const argus_KeyringOrder *o = &mesh.now[ORDER_KEYS].order.body.keys;
    argus_NodeRecord was = *r;

    r->keys_count = 0;
    for (pb_size_t i = 0; i < was.keys_count; i++)
        if (!order_removes(o, was.keys[i].id))
            r->keys[r->keys_count++] = was.keys[i];
    for (pb_size_t i = 0; i < o->added_count; i++)
        memcpy(r->keys[r->keys_count++].id, o->added[i].id, 8);
    for (pb_size_t i = 0; o->dial.size > 0 && i < r->keys_count; i++)
        r->keys[i].dial = memcmp(r->keys[i].id, o->dial.bytes, 8) == 0;
}

static bool fake_member(void *context, uint32_t index, argus_MemberReply *out)
{
    (void)context;
    mesh.asked += index == 0;
    if (index >= mesh.nodes_count)
        return false;
    *out = mesh.nodes[index];
    if (out->state == ONLINE && mesh.follow_at > 0 &&
        mesh.asked >= mesh.follow_at)
        follow(&out->record);
    return true;
}

static void fake_coverage(void *context, argus_Coverage *out)
{
    (void)context;
    out->known = out->contributed = mesh.nodes_count;
}

static bool fake_operator(void *context, uint32_t index,
                          argus_OperatorReply *out)
{
    (void)context;
    if (index >= mesh.operators_count)
        return false;
    *out = mesh.operators[index];
    return true;
}

static int fake_has_keyring(void *context, struct argus_error *err)
{
    (void)context;
    return mesh.ring.count > 0
               ? ARGUS_OK
               : argus_fail(err, ARGUS_EDENIED, "this node has no keyring");
}

static bool fake_key(void *context, uint32_t index, argus_KeyReply *out)
{
    (void)context;
    if (index >= mesh.ring.count)
        return false;
    memcpy(out->id, mesh.ring.keys[index].id, sizeof out->id);
    out->dial = index == 0;
    out->links = 5 - index;
    return true;
}

static int fake_wrap(void *context, const uint8_t secret[32],
                     argus_WrappedKey *out, struct argus_error *err)
{
    struct mesh_key key;

    (void)context;
    (void)err;
    mesh_key_of(secret, &key);
    return keyring_wrap(&mesh.ring, &key, out);
}

static void fake_clock(void *context, argus_ClockReply *out)
{
    (void)context;
    out->offset_s = 0.012;
    out->uncertainty_s = 0.003;
    out->drift_ppm = NAN;
    out->samples = 7;
    out->epoch = mesh.epoch;
    (void)strcpy(out->state, "good");
}

/* Members 2 and 5 of 8. */
static bool fake_clock_node(void *context, uint32_t *index,
                            argus_ClockNodeReply *out)
{
    (void)context;
    if (mesh.alarmed == argus_MemberState_MEMBER_UNKNOWN || *index > 5)
        return false;
    *index = *index <= 2 ? 2 : 5;
    (void)snprintf(out->name, sizeof out->name, "late-%u", 9 - *index);
    out->id[0] = (uint8_t)*index;
    out->state = mesh.alarmed;
    out->offset_s = -5;
    return true;
}

static const struct control_hooks hooks = {
    .status = fake_status,
    .member = fake_member,
    .coverage = fake_coverage,
    .bundle = fake_bundle,
    .bundle_version = fake_version,
    .bundle_push = fake_push,
    .operator_key = fake_operator,
    .has_keyring = fake_has_keyring,
    .key = fake_key,
    .key_wrap = fake_wrap,
    .clock = fake_clock,
    .clock_node = fake_clock_node,
};

/* ------------------------------------------------------------------ fixture */

/* The id of an operator's key in the folder. */
static void operator_id(const char *name, uint8_t out[16])
{
    struct argus_error err;
    char path[400];
    uint8_t key[32], hash[32];

    (void)snprintf(path, sizeof path, "%s/%s.pub", bed.dir, name);
    CU_ASSERT_EQUAL_FATAL(operator_key_read(path, key, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(EVP_Digest(key, sizeof key, hash, NULL, EVP_sha256(), NULL),
                    1);
    memcpy(out, hash, 16);
}

static void trust(const char *name)
{
    argus_OperatorReply *op = &mesh.operators[mesh.operators_count++];

    operator_id(name, op->id);
    op->trusted = true;
}

static void begin(void)
{
    memset(&mesh, 0, sizeof mesh);
    mesh.retain_s = 3600;
    bed_begin(&hooks);
    CU_ASSERT_EQUAL_FATAL(run("keygen operator DIR/anna"), 0);
    CU_ASSERT_EQUAL_FATAL(run("keygen operator DIR/bert"), 0);
    trust("anna");
    trust("bert");
}

static argus_NodeRecord *node(const char *name, argus_MemberState state)
{
    argus_MemberReply *m = &mesh.nodes[mesh.nodes_count++];

    m->state = state;
    m->has_record = true;
    m->id[0] = (uint8_t)mesh.nodes_count;
    m->id[1] = 0xaa;
    (void)snprintf(m->record.name, sizeof m->record.name, "%s", name);
    m->record.generation = 7;
    m->record.version = mesh.nodes_count;
    return &m->record;
}

static int run_with(const char *format, const char *word)
{
    char words[400];

    (void)snprintf(words, sizeof words, format, word);
    return run(words);
}

/* Head of the digits of an operator's key. */
static const char *digits_of(const char *name, int count)
{
    static char text[33];
    uint8_t id[16];

    operator_id(name, id);
    for (int i = 0; i < 16; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", id[i]);
    text[count] = '\0';
    return text;
}

static const char *error_code(void)
{
    return text_at(json_object_get(bed.json, "error"), "code");
}

static const argus_RevokedOrder *revoked(void)
{
    return &mesh.now[ORDER_REVOKED].order.body.revoked;
}

static const argus_ForgottenOrder *forgotten(void)
{
    return &mesh.now[ORDER_FORGOTTEN].order.body.forgotten;
}

static const argus_KeyringOrder *keys(void)
{
    return &mesh.now[ORDER_KEYS].order.body.keys;
}

/* --------------------------------------------------------------- operators */

/* Goal: a list of keys that says what each counts, and what it signed. */
static void test_operators_list(void)
{
    static const char *const names[] = {"fingerprint", "id",      "trusted",
                                        "revoked",     "bundles", NULL};

    begin();
    mesh.operators[1].revoked = true;
    mesh.operators[2] = mesh.operators[1]; /* said twice: one row */
    mesh.operators_count = 3;
    CU_ASSERT_EQUAL(run("--json operators list"), 0);
    json_t *rows = json_object_get(bed.json, "operators");
    CU_ASSERT_EQUAL(json_array_size(rows), 2);
    CU_ASSERT_TRUE(has_keys(json_array_get(rows, 0), names));
    CU_ASSERT_STRING_EQUAL(text_at(json_array_get(rows, 0), "fingerprint"),
                           digits_of("anna", 16));
    CU_ASSERT_TRUE(
        json_is_true(json_object_get(json_array_get(rows, 0), "trusted")));
    CU_ASSERT_TRUE(
        json_is_false(json_object_get(json_array_get(rows, 1), "trusted")));
    CU_ASSERT_TRUE(
        json_is_true(json_object_get(json_array_get(rows, 1), "revoked")));
    CU_ASSERT_EQUAL(run("operators list"), 0);
    CU_ASSERT_TRUE(prints("trusted") && prints("revoked"));
    mesh.operators_count = 0;
    CU_ASSERT_EQUAL(run("operators list"), 0);
    CU_ASSERT_TRUE(prints("No operator's key is trusted here"));
    CU_ASSERT_EQUAL(run("operators"), 2);
    CU_ASSERT_EQUAL(run("operators list more"), 2);
    CU_ASSERT_EQUAL(run("operators --help"), 0);
    CU_ASSERT_TRUE(prints("revoke FINGERPRINT --key K"));
    bed_finish();
}

/* Goal: the key that is meant is revoked beside those that are already, by
 * whoever; what cannot be meant is refused, and who loses his own key is told.
 */
static void test_operators_revoke(void)
{
    uint8_t anna[16], bert[16];

    begin();
    operator_id("anna", anna);
    operator_id("bert", bert);
    CU_ASSERT_EQUAL(run_with("operators revoke %s", digits_of("bert", 8)), 2);
    CU_ASSERT_TRUE(complains("--key K is missing"));
    CU_ASSERT_EQUAL(run("--json operators revoke 0000 --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "not-found");
    mesh.operators[2] = mesh.operators[0];
    mesh.operators[2].id[15] ^= 1; /* differs in the last digit alone */
    mesh.operators_count = 3;
    CU_ASSERT_EQUAL(run_with("--json operators revoke %s --key DIR/anna",
                             digits_of("anna", 16)),
                    1);
    CU_ASSERT_STRING_EQUAL(error_code(), "ambiguous");
    CU_ASSERT_EQUAL(mesh.versions[ORDER_REVOKED], 0);
    mesh.operators_count = 2;

    CU_ASSERT_EQUAL(run_with("--json operators revoke %s --key DIR/anna",
                             digits_of("bert", 8)),
                    0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "fingerprint"),
                           digits_of("bert", 16));
    CU_ASSERT_EQUAL(revoked()->keys_count, 1);
    CU_ASSERT_EQUAL(memcmp(revoked()->keys[0], bert, 16), 0);
    mesh.operators[1].revoked = true;
    CU_ASSERT_EQUAL(run_with("--json operators revoke %s --key DIR/anna",
                             digits_of("bert", 8)),
                    1);
    CU_ASSERT_STRING_EQUAL(error_code(), "revoked");

    mesh.operators[2] = (argus_OperatorReply){.id = {9}, .revoked = true};
    mesh.operators_count = 3; /* by an order of another operator */
    CU_ASSERT_EQUAL(run("operators revoke 00112233445566778899AABBCCDDEEFF "
                        "--key DIR/anna"),
                    0);
    CU_ASSERT_EQUAL(revoked()->keys_count, 3);
    CU_ASSERT_EQUAL(revoked()->keys[1][0], 9);
    CU_ASSERT_EQUAL(revoked()->keys[2][1], 0x11);
    CU_ASSERT_FALSE(complains("warning"));
    CU_ASSERT_EQUAL(
        run_with("operators revoke %s --key DIR/anna", digits_of("anna", 4)),
        0);
    CU_ASSERT_TRUE(complains("this key revokes itself"));
    CU_ASSERT_TRUE(complains("the last operator's key"));
    CU_ASSERT_EQUAL(memcmp(revoked()->keys[3], anna, 16), 0);
    bed_finish();
}

/* Goal: nothing is signed on top of what no operator gave, and on top of what
 * another one gave only with a word about it. */
static void test_order_carries_on(void)
{
    begin();
    CU_ASSERT_EQUAL(run_with("operators revoke %s --key DIR/anna",
                             "00112233445566778899aabbccddeeff"),
                    0);
    CU_ASSERT_EQUAL(run_with("operators revoke %s --key DIR/bert",
                             "10112233445566778899aabbccddeeff"),
                    0);
    CU_ASSERT_TRUE(complains("carried on: version 1 of @revoked, by operator"));
    CU_ASSERT_EQUAL(mesh.versions[ORDER_REVOKED], 2);
    CU_ASSERT_EQUAL(revoked()->keys_count, 2);
    mesh.orders[ORDER_REVOKED].signature[5] ^= 1;
    CU_ASSERT_EQUAL(run_with("--json operators revoke %s --key DIR/bert",
                             "20112233445566778899aabbccddeeff"),
                    1);
    CU_ASSERT_TRUE(complains("that no operator gave"));
    mesh.orders[ORDER_REVOKED].signature[5] ^= 1;
    mesh.is_untrusted = true;
    CU_ASSERT_EQUAL(run_with("--json operators revoke %s --key DIR/bert",
                             "20112233445566778899aabbccddeeff"),
                    1);
    CU_ASSERT_EQUAL(mesh.versions[ORDER_REVOKED], 2);
    bed_finish();
}

/* ------------------------------------------------------------------ forget */

static uint64_t now_ms(void)
{
    return (uint64_t)time(NULL) * 1000;
}

/* Goal: the record of a node that is gone is named as it is; a node that lives
 * and a name that means several are refused. */
static void test_forget(void)
{
    begin();
    (void)node("web-1", ONLINE);
    (void)node("web-2", OFFLINE);
    (void)node("web-3", LEFT);
    (void)node("twin", OFFLINE);
    (void)node("twin", OFFLINE);
    (void)node("new", ONLINE);
    (void)node("new", OFFLINE); /* reimaged */
    CU_ASSERT_EQUAL(run("forget web-2"), 2);
    CU_ASSERT_EQUAL(run("forget --key DIR/anna"), 2);
    CU_ASSERT_EQUAL(run("--json forget web-1 --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "refused");
    CU_ASSERT_TRUE(complains("web-1 is online"));
    CU_ASSERT_EQUAL(run("--json forget web-9 --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "not-found");
    CU_ASSERT_EQUAL(run("--json forget twin --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "ambiguous");
    CU_ASSERT_TRUE(complains("04aa000000000000"));
    CU_ASSERT_EQUAL(mesh.versions[ORDER_FORGOTTEN], 0);

    CU_ASSERT_EQUAL(run("--json forget web-2 --key DIR/anna"), 0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "name"), "web-2");
    CU_ASSERT_EQUAL(forgotten()->nodes_count, 1);
    const argus_ForgottenNode *f = &forgotten()->nodes[0];
    CU_ASSERT_EQUAL(f->id[0], 2);
    CU_ASSERT_EQUAL(f->generation, 7);
    CU_ASSERT_EQUAL(f->version, 2);
    CU_ASSERT_TRUE(f->forgotten_ms + 60000 > now_ms());
    CU_ASSERT_EQUAL(run("forget web-3 --key DIR/bert"), 0);
    CU_ASSERT_TRUE(prints("web-3 is forgotten"));
    CU_ASSERT_EQUAL(run("forget 04aa0000 --key DIR/bert"), 0);
    CU_ASSERT_EQUAL(run("forget new --key DIR/bert"), 0);
    CU_ASSERT_EQUAL(forgotten()->nodes_count, 4);
    CU_ASSERT_EQUAL(forgotten()->nodes[2].id[0], 4);
    CU_ASSERT_EQUAL(forgotten()->nodes[3].id[0], 7);
    CU_ASSERT_EQUAL(run("forget new --key DIR/bert"), 0); /* again: one entry */
    CU_ASSERT_EQUAL(forgotten()->nodes_count, 4);
    bed_finish();
}

/* Goal: at most 64 at a time; what is longer away than RetainOffline (an hour
 * here) makes room. */
static void test_forget_is_bounded(void)
{
    char name[16], words[64];

    begin();
    for (uint32_t i = 0; i < 65; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        (void)node(name, OFFLINE);
    }
    for (uint32_t i = 0; i < 64; i++) {
        (void)snprintf(words, sizeof words, "forget n%u --key DIR/anna", i);
        CU_ASSERT_EQUAL(run(words), 0);
    }
    CU_ASSERT_EQUAL(forgotten()->nodes_count, 64);
    CU_ASSERT_EQUAL(run("--json forget n64 --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "no-room");
    mesh.retain_s = 1; /* all of them are older before long */
    for (int i = 0; i < 1000 && (run("forget n64 --key DIR/anna") != 0 ||
                                 forgotten()->nodes_count == 64);
         i++)
        ; /* the first time there may be room for this one alone */
    CU_ASSERT_TRUE(forgotten()->nodes_count < 64);
    CU_ASSERT_EQUAL(forgotten()->nodes[forgotten()->nodes_count - 1].id[0], 65);
    bed_finish();
}

/* -------------------------------------------------------------------- keys */

static uint8_t key_id(uint8_t number)
{
    return (uint8_t)(0x10 * number + number);
}

/* A node that holds the keys of these numbers, the first dials. */
static void holder(const char *name, argus_MemberState state, const char *held)
{
    argus_NodeRecord *r = node(name, state);

    for (; *held != '\0'; held++) {
        argus_HeldKey *k = &r->keys[r->keys_count];
        memset(k->id, key_id((uint8_t)(*held - '0')), sizeof k->id);
        k->dial = r->keys_count++ == 0;
    }
}

/* The daemon holds the keys of these numbers. */
static void ring(const char *held)
{
    for (; *held != '\0'; held++) {
        struct mesh_key *k = &mesh.ring.keys[mesh.ring.count++];
        memset(k->id, key_id((uint8_t)(*held - '0')), sizeof k->id);
        memset(k->secret, *held, sizeof k->secret);
    }
}

/* Goal: who holds what, and who lacks it; without a keyring a clear refusal. */
static void test_keys_list(void)
{
    static const char *const names[] = {
        "id",    "held",    "dial",    "links",
        "nodes", "dialing", "missing", "missing_offline",
        NULL};

    begin();
    CU_ASSERT_EQUAL(run("--json keys list"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "refused");
    CU_ASSERT_TRUE(complains("this node has no keyring"));
    ring("12");
    holder("web-1", ONLINE, "12");
    holder("web-2", ONLINE, "1");
    holder("web-3", OFFLINE, "3");
    holder("web-4", ONLINE, "");
    CU_ASSERT_EQUAL(run("--json keys list"), 0);
    json_t *rows = json_object_get(bed.json, "keys");
    CU_ASSERT_EQUAL(json_array_size(rows), 3);
    json_t *one = json_array_get(rows, 0), *two = json_array_get(rows, 1);
    CU_ASSERT_TRUE(has_keys(one, names));
    CU_ASSERT_STRING_EQUAL(text_at(one, "id"), "1111111111111111");
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(one, "nodes")), 2);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(one, "dialing")), 2);
    CU_ASSERT_EQUAL(json_integer_value(json_object_get(one, "links")), 5);
    CU_ASSERT_EQUAL(json_array_size(json_object_get(one, "missing")), 0);
    CU_ASSERT_STRING_EQUAL(
        json_string_value(json_array_get(json_object_get(two, "missing"), 0)),
        "web-2");
    CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(
                               json_object_get(two, "missing_offline"), 0)),
                           "web-3");
    CU_ASSERT_TRUE(
        json_is_false(json_object_get(json_array_get(rows, 2), "held")));
    CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(
                               json_object_get(bed.json, "without"), 0)),
                           "web-4");
    CU_ASSERT_EQUAL(run("keys list"), 0);
    CU_ASSERT_TRUE(prints("dials"));
    CU_ASSERT_TRUE(prints("Missing on nodes, 2222222222222222: web-2"));
    CU_ASSERT_TRUE(prints("Nodes that hold no key: web-4"));
    CU_ASSERT_EQUAL(run("keys"), 2);
    CU_ASSERT_EQUAL(run("keys --help"), 0);
    bed_finish();
}

/* Goal: a new key goes out sealed, and nothing of it stands in the order; a
 * file that is none is refused before anything is asked. */
static void test_keys_add(void)
{
    argus_KeyringOrder order = argus_KeyringOrder_init_zero;
    struct keyring other;

    begin();
    ring("1");
    holder("web-1", ONLINE, "1");
    CU_ASSERT_EQUAL(run("keygen mesh DIR/new"), 0);
    CU_ASSERT_EQUAL(run("keys add DIR/new"), 2);
    CU_ASSERT_EQUAL(run("keys add --key DIR/anna"), 2);
    CU_ASSERT_EQUAL(run("keys use 11 --file DIR/new --key DIR/anna"), 2);
    CU_ASSERT_EQUAL(run("--json keys add DIR/anna --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "key");
    CU_ASSERT_TRUE(complains("holds no key of a mesh"));
    CU_ASSERT_EQUAL(run("--json keys add DIR/new --key DIR/anna"), 0);
    CU_ASSERT_EQUAL(keys()->added_count, 1);
    order = *keys();
    other = mesh.ring;
    struct keyring_change c = keyring_obey(&other, &order);
    CU_ASSERT_TRUE(c.has_changed);
    CU_ASSERT_EQUAL(c.unknown, 0);
    CU_ASSERT_EQUAL(other.count, 2);
    char id[MESH_KEY_ID_TEXT_SIZE];
    mesh_key_id_format(other.keys[1].id, id);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "id"), id);
    CU_ASSERT_EQUAL(run("--json keys add --file DIR/new --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "known");
    mesh.nodes[0].record.keys_count = 0;
    mesh.nodes_count = 0;
    holder("full", ONLINE, "12345678");
    CU_ASSERT_EQUAL(run("keygen mesh DIR/more"), 0);
    CU_ASSERT_EQUAL(run("--json keys add DIR/more --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "no-room");
    CU_ASSERT_TRUE(complains("full"));
    bed_finish();
}

/* Goal: what would cut a living node off is refused with its name; who is away
 * is warned of. */
static void test_keys_use_and_remove(void)
{
    begin();
    ring("12");
    holder("web-1", ONLINE, "12");
    holder("web-2", ONLINE, "1");
    holder("web-3", OFFLINE, "1");
    holder("web-4", argus_MemberState_MEMBER_SUSPECT, "1");
    CU_ASSERT_EQUAL(run("--json keys use 22 --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "refused");
    CU_ASSERT_TRUE(complains("web-2 does not hold it, web-4 does not hold it"));
    CU_ASSERT_FALSE(complains("web-3"));
    CU_ASSERT_EQUAL(run("--json keys use 33 --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "not-found");
    CU_ASSERT_EQUAL(run("--json keys remove 11 --key DIR/anna"), 1);
    CU_ASSERT_TRUE(complains("web-1 dials with it"));
    CU_ASSERT_EQUAL(mesh.versions[ORDER_KEYS], 0);

    mesh.nodes_count = 0;
    memset(mesh.nodes, 0, sizeof mesh.nodes);
    holder("web-1", ONLINE, "12");
    holder("web-2", ONLINE, "12");
    holder("web-3", OFFLINE, "1");
    holder("web-5", ONLINE, ""); /* certificates */
    CU_ASSERT_EQUAL(run("--json keys use 2 --key DIR/anna"), 0);
    CU_ASSERT_EQUAL(keys()->dial.size, 8);
    CU_ASSERT_EQUAL(keys()->dial.bytes[0], 0x22);
    CU_ASSERT_EQUAL(run("--json keys use 2 --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "known");
    CU_ASSERT_EQUAL(run("--json keys remove 2 --key DIR/anna"), 1);
    CU_ASSERT_TRUE(complains("it is the one to dial with"));
    CU_ASSERT_EQUAL(run("--json keys remove 1 --key DIR/anna"), 1);
    CU_ASSERT_TRUE(complains("web-1 dials with it, web-2 dials with it"));

    mesh.nodes_count = 0;
    memset(mesh.nodes, 0, sizeof mesh.nodes);
    holder("web-1", ONLINE, "21");
    holder("web-3", OFFLINE, "1");
    CU_ASSERT_EQUAL(run("keys remove 1 --key DIR/anna"), 0);
    CU_ASSERT_TRUE(complains("is locked out: web-3 dials with it"));
    CU_ASSERT_EQUAL(keys()->removed_count, 1);
    CU_ASSERT_EQUAL(keys()->dial.bytes[0], 0x22); /* carried on */
    CU_ASSERT_EQUAL(run("--json keys remove 1 --key DIR/anna"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "known");
    bed_finish();
}

/* Goal: the clock of this node and those that are wrong, by names; exit code 1
 * while one of them is there. */
static void test_clock_lists_alarms(void)
{
    begin();
    CU_ASSERT_EQUAL(run("--json clock"), 0);
    CU_ASSERT_STRING_EQUAL(text_at(bed.json, "state"), "good");
    mesh.alarmed = ONLINE;
    CU_ASSERT_EQUAL(run("clock"), 1);
    CU_ASSERT_TRUE(strstr(bed.out, "late-4") < strstr(bed.out, "late-7"));
    CU_ASSERT_PTR_NOT_NULL(strstr(bed.out, "+12.000 ms"));
    mesh.alarmed = OFFLINE;
    CU_ASSERT_EQUAL(run("clock"), 0);
    CU_ASSERT_EQUAL(run("clock much"), 2);
    bed_finish();
}

/* Goal: a reset goes one beyond the order in force and the epoch that the
 * daemon is in, whichever is higher, and wants a key. */
static void test_clock_reset(void)
{
    begin();
    CU_ASSERT_EQUAL(run("clock reset"), 2);
    CU_ASSERT_EQUAL(run("clock reset now --key DIR/anna"), 2);
    CU_ASSERT_EQUAL(run("--json clock reset --key DIR/anna"), 0);
    CU_ASSERT_EQUAL(mesh.now[ORDER_CLOCK].order.body.clock.epoch, 1);
    CU_ASSERT_EQUAL(run("clock reset --key DIR/bert"), 0);
    CU_ASSERT_EQUAL(mesh.now[ORDER_CLOCK].order.body.clock.epoch, 2);
    CU_ASSERT_EQUAL(mesh.versions[ORDER_CLOCK], 2);
    mesh.epoch = 40;
    CU_ASSERT_EQUAL(run("clock reset --key DIR/anna"), 0);
    CU_ASSERT_EQUAL(mesh.now[ORDER_CLOCK].order.body.clock.epoch, 41);
    bed_finish();
}

/* Goal: --wait ends when all that are not offline have followed, and with exit
 * code 1 and their names when the time is up before. */
static void test_keys_wait(void)
{
    begin();
    ring("12");
    holder("web-1", ONLINE, "12");
    holder("web-2", ONLINE, "12");
    holder("web-3", OFFLINE, "1");
    CU_ASSERT_EQUAL(run("--json keys use 2 --key DIR/anna --wait=0.3"), 1);
    CU_ASSERT_STRING_EQUAL(error_code(), "timeout");
    CU_ASSERT_TRUE(complains("2 nodes have not followed: web-1, web-2"));
    CU_ASSERT_EQUAL(run("keygen mesh DIR/new"), 0);
    mesh.follow_at = mesh.asked + 4;
    CU_ASSERT_EQUAL(run("keys add DIR/new --key DIR/anna --wait"), 0);
    CU_ASSERT_TRUE(mesh.asked >= mesh.follow_at);
    CU_ASSERT_EQUAL(run("keys remove 11111111 --key DIR/anna --wait=10"), 0);
    CU_ASSERT_EQUAL(run("keys use 2 --key DIR/anna --wait=0"), 2);
    bed_finish();
}

#define ROW(name)                                                              \
    {                                                                          \
#name, test_##name                                                     \
    }
CU_TestInfo suite_cli_orders[] = {
    ROW(operators_list),    ROW(operators_revoke),
    ROW(order_carries_on),  ROW(forget),
    ROW(forget_is_bounded), ROW(keys_list),
    ROW(keys_add),          ROW(keys_use_and_remove),
    ROW(keys_wait),         ROW(clock_lists_alarms),
    ROW(clock_reset),       CU_TEST_INFO_NULL,
};
