/* seeds_local.c - of what this machine itself brings: the control socket, links
 * to a real transport, the disk, a bundle's text. */
#include "seeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/orders.h"

/* Each verb once, by three clients in turn; then in one go, and a follower. */
void seed_control(void)
{
    put_number(0x32, 1);
    for (pb_size_t tag = argus_Request_status_tag;
         tag <= argus_Request_publishers_tag; tag++) {
        size_t size =
            make(argus_Request_fields, tag, false, bytes, sizeof bytes);
        put_number((tag % 3u) << 4 | 1, 1);
        put_number(tag, 1);
        put_part(bytes, size);
        put_number((tag % 3u) << 4 | 2, 1);
    }
    write_seed("control", "verbs");
    put_number(0xf1, 1);
    for (pb_size_t tag = argus_Request_status_tag;
         tag <= argus_Request_publishers_tag; tag++) {
        size_t size =
            make(argus_Request_fields, tag, true, bytes, sizeof bytes);
        put_number(1 << 8, 2);
        put_part(bytes, size);
    }
    write_seed("control", "at_once");
    memset(&m, 0, sizeof m);
    m.request.which_body = argus_Request_events_tag;
    m.request.body.events.follow = true;
    m.request.body.events.limit = 3;
    size_t size = pack(argus_Request_fields, bytes, sizeof bytes);
    put_number(0x04, 1);
    put_number(1 << 8, 2);
    put_part(bytes, size);
    put_number(0x060302, 3); /* turn, events, read */
    put_number(0x030f, 2);
    put_number(0x1000, 2); /* another, half of a frame */
    put_part("\0\0", 2);
    put_number(0x050303, 3);
    write_seed("control", "follow");
}

/* Clients that go: before a request is whole, and before it is answered. */
void seed_hangups(void)
{
    size_t size = make(argus_Request_fields, argus_Request_members_tag, false,
                       bytes, sizeof bytes);

    put_number(0xf0, 1);
    put_number(0, 1);
    put_part("\0\0", 2);
    put_number(0x060506, 3); /* turn, no more comes, turn */
    for (uint8_t client = 1; client < 3; client++) {
        put_number((uint32_t)client << 4 | 1, 1);
        put_number(0, 1);
        put_part(bytes, size);
        put_number((uint32_t)client << 4 | 4, 1); /* gone */
        put_number(0x06, 1);
    }
    write_seed("control", "hangups");
}

/* One request, its answer to the end, and the next. */
static void ask_alone(size_t size)
{
    put_number(0x0100, 2);
    put_part(bytes, size);
    put_number(0x0606020602, 5);
}

static void ask_notify(argus_Severity severity, const char *message)
{
    memset(&m, 0, sizeof m);
    m.request.which_body = argus_Request_notify_tag;
    m.request.body.notify.severity = severity;
    (void)strcpy(m.request.body.notify.message, message);
    ask_alone(pack(argus_Request_fields, bytes, sizeof bytes));
}

static void ask_events(bool follow, uint32_t limit, const char *node)
{
    memset(&m, 0, sizeof m);
    m.request.which_body = argus_Request_events_tag;
    m.request.body.events.follow = follow;
    m.request.body.events.limit = limit;
    (void)strcpy(m.request.body.events.node, node);
    ask_alone(pack(argus_Request_fields, bytes, sizeof bytes));
}

/* Each verb alone, taken and refused; then what is no request. */
void seed_verbs(void)
{
    for (uint8_t flavor = 0; flavor < 2; flavor++) {
        put_number(0x30u | flavor, 1);
        for (pb_size_t tag = argus_Request_status_tag;
             tag <= argus_Request_publishers_tag; tag++)
            ask_alone(
                make(argus_Request_fields, tag, false, bytes, sizeof bytes));
        ask_notify(argus_Severity_SEVERITY_NONE, "it is so");
        ask_notify(argus_Severity_SEVERITY_FAILURE, "it is so");
        ask_notify((argus_Severity)3, "it is so");
        ask_notify(argus_Severity_SEVERITY_OKAY, "");
        ask_events(false, 0, "node1");
        ask_events(false, 2, "nobody");
        ask_events(true, 2, "");
        put_number(0x0307060602, 5); /* news for who follows */
        put_number(0x0307060602, 5);
        put_number(0x0403, 2);
        write_seed("control", flavor == 0 ? "alone" : "denied");
    }
    put_number(0x34, 1); /* many events */
    ask_events(false, 0, "");
    ask_events(false, 5, "nobody");
    ask_events(true, 0, "");
    put_number(0x0304060602, 5);
    write_seed("control", "long");
    put_number(0x30, 1);
    put_number(0, 1);
    put_part("\377\377\377\377", 4); /* longer than any */
    put_number(0x0602, 2);
    put_number(0x1100, 2);
    put_part("\377\377", 2); /* no message */
    put_number(0x0612, 2);
    put_number(0x20, 1);
    memset(bytes, 0, 41000);
    bytes[2] = 0x9f; /* as long as one may be, and more behind */
    put_part(bytes, 41000);
    put_number(0x0606062206, 5);
    write_seed("control", "broken");
}

/* See operate() of fuzz_conn.c. */
static void put_operation(unsigned peer, unsigned operation)
{
    for (unsigned what = 0; what < 256; what++)
        if (what % 10 == operation && (what >> 4) % 4 == peer) {
            put_number(what, 1);
            return;
        }
    abort();
}

static void put_hello(unsigned peer, uint8_t cut, uint8_t flags, uint8_t kind)
{
    put_operation(peer, 2);
    put_number((uint32_t)cut << 16 | (uint32_t)flags << 8 | kind, 3);
}

/* A peer that shakes hands, says Hello and something more. */
static void put_protected(const char *name, unsigned peer, bool is_dialed,
                          uint8_t ring, pb_size_t tag)
{
    size_t size = make(argus_Frame_fields, tag, false, bytes, sizeof bytes);

    put_number(8, 1);
    if (is_dialed) {
        put_operation(peer, 3);
        put_number(1, 1);
    }
    put_operation(peer, 9);
    put_number(ring, 1);
    put_hello(peer, 0x51, 0, 1);
    put_operation(peer, 1);
    put_number(0x37, 1);
    put_part(bytes, size);
    put_operation(peer, 4);
    put_operation(peer, 5);
    put_number(4u << 8 | 1, 2);
    write_seed("conn", name);
}

void seed_conn(void)
{
    put_number(0, 1);
    for (unsigned peer = 0; peer < 4; peer++) {
        put_hello(peer, (uint8_t)(0x51 * peer), 0, (uint8_t)(1 + peer));
        size_t size =
            make(argus_Frame_fields, (pb_size_t)(argus_Frame_ping_tag + peer),
                 false, bytes, sizeof bytes);
        put_operation(peer, 1);
        put_number(0x37, 1);
        put_part(bytes, size);
        put_operation(peer, 4);
        put_operation(peer, 5);
        put_number(peer << 8 | 1, 2);
    }
    write_seed("conn", "accepted");
    put_number(4, 1);
    for (unsigned peer = 0; peer < 4; peer++) {
        put_operation(peer, 3);
        put_number(peer, 1);
        put_hello(peer, 0x48, (uint8_t)(peer == 3 ? 8 : 0), (uint8_t)peer);
        put_operation(peer, 4);
        put_operation(peer, 8);
        size_t size = make(argus_Frame_fields, argus_Frame_refuse_tag, false,
                           bytes, sizeof bytes);
        put_operation(peer, 1);
        put_number(0, 1);
        put_part(bytes, size);
    }
    write_seed("conn", "dialed");
    put_number(3, 1);
    for (unsigned peer = 0; peer < 4; peer++) {
        put_operation(peer, 0);
        put_part("GET / HTTP/1.1\r\n\r\n", 18);
        put_operation(peer, 4);
        put_operation(peer, 7);
        put_operation(peer, 6);
    }
    write_seed("conn", "strangers");
    put_protected("protected", 0, false, 0, argus_Frame_key_proof_tag);
    put_protected("protected_out", 1, true, 1, argus_Frame_gossip_tag);
    put_protected("wrong_key", 2, false, 2, argus_Frame_ping_tag);
    put_number(8, 1);
    put_operation(0, 0);
    put_part("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10);
    put_operation(0, 4);
    put_hello(1, 0, 0, 1);
    put_operation(1, 4);
    write_seed("conn", "unprotected");
}

/* What ends a handshake, and what may come after one. */
void seed_handshakes(void)
{
    put_number(0, 1); /* TLS, and there is no key here */
    put_operation(0, 0);
    put_part("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10);
    put_operation(1, 0);
    put_part("\0\0", 2); /* a frame of nothing, in pieces */
    put_operation(1, 0);
    put_part("\0\0\0", 3);
    put_operation(2, 0);
    put_part("\0", 1);
    put_operation(2, 0);
    put_part("\377\377\377\377\377", 5); /* one that is too long */
    write_seed("conn", "unprotected_tls");
    put_number(8, 1);
    memset(bytes, 0, 36000);
    for (int i = 0; i < 36000; i += 6) /* records that change nothing */
        memcpy(bytes + i, "\x14\x03\x03\x00\x01\x01", 6);
    memcpy(bytes, "\x16\x03\x03\x40\x00\x01", 6);
    put_operation(0, 0);
    put_part(bytes, 36000);
    put_operation(1, 3); /* who is dialed, and does not speak TLS */
    put_number(1, 1);
    put_operation(1, 0);
    put_part("\0\0\0\2", 4);
    put_operation(1, 0);
    put_part("\1\1", 2);
    write_seed("conn", "handshakes");
    for (uint8_t flags = 0; flags < 4; flags++) {
        char name[16];
        put_number(8, 1);
        put_operation(0, 9);
        put_number(0, 1);
        put_hello(0, 0x51, flags == 3 ? 4 : 0, flags == 3 ? 9 : 1);
        put_operation(0, 9);
        put_number((uint32_t)flags << 4, 1);
        put_operation(0, 9);
        put_number((uint32_t)flags << 4 | 1, 1);
        put_operation(0, 0);
        put_part("\x17\x03\x03\x00\x08nonsense", 13);
        put_operation(0, 4);
        (void)snprintf(name, sizeof name, "proofs%u", flags);
        write_seed("conn", name);
    }
}

/* A peer with a certificate: it gives its name, another, or is revoked. */
void seed_certificates(void)
{
    static const char *const names[] = {"peer", "another"};

    for (unsigned n = 0; n < 2; n++) {
        put_number(24, 1);
        put_operation(n, 3); /* is dialed */
        put_number(0, 1);
        put_operation(n, 9);
        put_number(0, 1);
        put_operation(n, 2);
        put_number(0x5120, 2);
        put_number(1, 1);
        put_text(names[n]);
        put_operation(n, 4);
    }
    put_operation(2, 9);
    put_number(0, 1);
    put_operation(2, 2);
    put_number(0x512001, 3);
    put_text(names[0]);
    put_operation(0, 5); /* what revokes it is read */
    put_number(9u << 8, 2);
    for (int i = 0; i < 3; i++)
        put_operation(2, 4);
    put_operation(3, 9); /* says who it is, and is gone */
    put_number(0, 1);
    put_operation(3, 2);
    put_number(0x512041, 3);
    put_text(names[0]);
    write_seed("conn", "certificates");
}

static void put_row(uint8_t flags, const pb_msgdesc_t *fields, pb_size_t tag)
{
    size_t size = make(fields, tag, false, bytes, sizeof bytes);

    put_number(flags, 1);
    put_part(bytes, size);
}

void seed_rows(void)
{
    put_number(0, 1);
    put_number(1, 1);
    for (uint8_t who = 1; who < 8; who++) {
        put_row((uint8_t)(who << 4 | 1), argus_Statement_fields,
                argus_Statement_record_tag);
        put_row((uint8_t)(who << 4 | 9), argus_Statement_fields,
                argus_Statement_report_tag);
        put_number((uint32_t)who << 4 | 6, 1);
        put_text("10.0.0.1:25827");
    }
    put_row(2, argus_SignedBundle_fields, 0);
    write_seed("rows", "rows");
    put_number(3, 1);
    put_number(0x11, 1);
    put_part("chunk", 5);
    for (unsigned table = 0; table < 6; table++) {
        put_number(1u << 4 | (table < 2 ? 1 : 0), 1);
        put_number(table, 1);
        size_t size = make(argus_Statement_fields,
                           table == 1 ? argus_Statement_report_tag
                                      : argus_Statement_record_tag,
                           false, bytes, sizeof bytes);
        put_part(bytes, table == 3 ? 8 : size);
    }
    write_seed("rows", "database");
    put_number(3, 1);
    put_number(0x11, 1);
    put_part("chunk", 5);
    put_number(0x12, 1); /* a generation of more than 32 bits */
    put_number(3, 1);
    put_part("\0\0\0\1\0\0\0\0", 8);
    write_seed("rows", "generation");
    put_number(0x040000120055, 6);
    write_seed("rows", "damage");
    put_number(0x0400003cff, 5); /* a schema below zero */
    write_seed("rows", "schema");
    static const char key[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERIT"
                              "FBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n";
    put_number(5, 1);
    put(key, sizeof key - 1);
    write_seed("rows", "identity");
    static const char public_key[] =
        "-----BEGIN PUBLIC KEY-----\n"
        "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n"
        "-----END PUBLIC KEY-----\n";
    put_number(6, 1);
    put(public_key, sizeof public_key - 1);
    write_seed("rows", "operator");
}

/* Of events: sound, damaged, twice, and no event at all. */
void seed_events(void)
{
    put_number(0, 1);
    put_number(1, 1);
    for (uint8_t who = 1; who < 6; who++) {
        put_row((uint8_t)(who << 4 | 11), argus_Statement_fields,
                argus_Statement_event_tag);
        put_row((uint8_t)(who << 4 | 10), argus_Statement_fields,
                argus_Statement_event_tag);
    }
    put_row(0x1b, argus_Statement_fields, argus_Statement_report_tag);
    put_number(0x1b, 1);
    put_text("\377");
    write_seed("rows", "events");
}

void seed_keys(void)
{
    static const char ring[] =
        "# first\nAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n\n"
        "IAIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA= # second\n";

    put_number(7, 1);
    put(ring, sizeof ring - 1);
    write_seed("rows", "keyring");
    put_number(8, 1);
    memset(&m, 0, sizeof m);
    fill(argus_KeyringOrder_fields, &m, true, 0);
    put_part(bytes, pack(argus_KeyringOrder_fields, bytes, sizeof bytes));
    put_number(0x0201, 2);
    write_seed("rows", "order");
}

static void put_file(const char *name, uint8_t kind, const char *text)
{
    put_number(kind, 1);
    put(text, strlen(text));
    write_seed("rows", name);
}

/* Files that are no keys, or others; orders that the ring can obey. */
void seed_key_files(void)
{
    static const char private_key[] =
        "-----BEGIN PRIVATE KEY-----\n"
        "MC4CAQAwBQYDK2VuBCIEIAABAgMEBQYHCAkKCwwNDg8QERIT"
        "FBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n";
    static const char public_key[] =
        "-----BEGIN PUBLIC KEY-----\n"
        "MCowBQYDK2VuAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n"
        "-----END PUBLIC KEY-----\n";
    char line[64];

    put_file("identity-other", 5, private_key);
    put_file("identity-none", 5, "nothing\n");
    put_file("operator-other", 6, public_key);
    put_file("operator-private", 6, private_key);
    put_file("operator-none", 6, "nothing\n");
    put_file("keyring-none", 7, "# nothing\n\n");
    put_file("keyring-broken", 7, "AQIDBAU=\n");
    put_file("keyring-twice", 7,
             " \tAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA= \r\n"
             "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=");
    put_number(7, 1);
    for (int i = 0; i < 9; i++) {
        (void)snprintf(line, sizeof line,
                       "%cQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n",
                       'A' + i);
        put(line, strlen(line));
    }
    write_seed("rows", "keyring-full");
    for (uint8_t flags = 0; flags < 16; flags++) {
        put_number(8, 1);
        memset(&m, 0, sizeof m);
        fill(argus_KeyringOrder_fields, &m, true, 0);
        put_part(bytes, pack(argus_KeyringOrder_fields, bytes, sizeof bytes));
        put_number((flags & 8 ? 7u : 2u) << 8 | (flags & 7u), 2);
        (void)snprintf(line, sizeof line, "order%u", flags);
        write_seed("rows", line);
    }
}

/* The database: numbers, addresses, a chunk; a schema that is newer, and pages
 * that are none. */
void seed_tables(void)
{
    static const uint32_t damages[] = {0x003f63, 0x103001, 0x1000ff, 0x2004ff};
    char name[32];

    put_number(0x0331, 2);
    put_text("a chunk");
    for (uint8_t which = 1; which < 5; which++) {
        put_number((uint32_t)which << 12 | 0x0203, 2);
        put_part("\0\0\0\0\0\0\1\2", 8);
    }
    put_number(0x1002, 2);
    put_part("10.0.0.1:25827", 15);
    put_number(0x2002, 2);
    put_text("no end");
    put_number(0x3402, 2); /* a short key */
    put_text("x");
    put_number(0x2800, 2); /* a number for a value */
    put_text("x");
    put_number(0x2105, 2);
    put_text("applied");
    put_number(0x2005, 2);
    memset(bytes, 0, 64);
    memcpy(bytes + 64, "web", 4);
    put_part(bytes, 68);
    put_number(0x2006, 2);
    put_text("event");
    write_seed("rows", "tables");
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        put_number(i == 0 ? 0x0400 : 0x0420, 2);
        put_number(damages[i], 3);
        (void)snprintf(name, sizeof name, "damage%zu", i);
        write_seed("rows", name);
    }
    put_number(0x0440, 2); /* half of it */
    write_seed("rows", "half");
}

/* An order in the manifest of its kind, and what is wrong with it. */
static void write_manifest(const char *name, enum order_kind kind,
                           uint8_t flags)
{
    put_number(9, 1);
    put_number((uint8_t)kind | flags, 1);
    put(bytes, pack(argus_Order_fields, bytes, sizeof bytes));
    write_seed("rows", name);
}

static argus_KeyringOrder *begin_keys(void)
{
    memset(&m, 0, sizeof m);
    fill(argus_Order_fields, &m, true, argus_Order_keys_tag);
    return &m.order.body.keys;
}

void seed_orders(void)
{
    argus_KeyringOrder *keys = begin_keys();

    write_manifest("keys", ORDER_KEYS, 0);
    write_manifest("misnamed", ORDER_REVOKED, 0);
    write_manifest("bare", ORDER_KEYS, 8);
    write_manifest("removal", ORDER_KEYS, 16);
    keys->added[1] = keys->added[0];
    write_manifest("twice-added", ORDER_KEYS, 0);
    keys = begin_keys();
    memcpy(keys->removed[1], keys->removed[0], sizeof keys->removed[0]);
    write_manifest("twice-removed", ORDER_KEYS, 0);
    memcpy(keys->removed[0], keys->added[0].id, sizeof keys->removed[0]);
    write_manifest("both", ORDER_KEYS, 0);
    memcpy(keys->dial.bytes, keys->removed[2], sizeof keys->removed[2]);
    write_manifest("dial-removed", ORDER_KEYS, 0);
    keys->dial.size = 3;
    write_manifest("dial-short", ORDER_KEYS, 0);
    keys = begin_keys();
    keys->dial.size = 8;
    memcpy(keys->dial.bytes, keys->removed[0], sizeof keys->removed[0]);
    write_manifest("dial-gone", ORDER_KEYS, 0);
    memset(&m, 0, sizeof m);
    fill(argus_Order_fields, &m, true, argus_Order_clock_tag);
    write_manifest("clock", ORDER_CLOCK, 0);
    memset(&m, 0, sizeof m);
    fill(argus_Order_fields, &m, true, argus_Order_forgotten_tag);
    write_manifest("forgotten", ORDER_FORGOTTEN, 0);
    m.order.body.forgotten.nodes[1] = m.order.body.forgotten.nodes[0];
    write_manifest("forgotten-twice", ORDER_FORGOTTEN, 0);
    memset(&m, 0, sizeof m);
    fill(argus_Order_fields, &m, true, argus_Order_revoked_tag);
    write_manifest("revoked", ORDER_REVOKED, 0);
    memcpy(m.order.body.revoked.keys[1], m.order.body.revoked.keys[0],
           sizeof m.order.body.revoked.keys[0]);
    write_manifest("revoked-twice", ORDER_REVOKED, 0);
}

static void put_conf(const char *name, uint8_t flavor, const char *text)
{
    put_number(flavor, 1);
    put(text, strlen(text));
    write_seed("vet", name);
}

void seed_vet(void)
{
    put_conf("plain", 4,
             "LoadPlugin df\n<LoadPlugin \"load\">\n  Interval 5\n"
             "</LoadPlugin>\n<Plugin df>\n  MountPoint \"/\"\n"
             "  IgnoreSelected true\n</Plugin>\nTypesDB \"@BUNDLE@/types.db\"\n"
             "Interval 0.5\nReadThreads 2 # few\nTimeout \"2\"\n");
    put_conf(
        "chains", 0,
        "PreCacheChain \"Mine\"\nLoadPlugin match_regex\n<Chain \"Mine\">\n"
        " <Rule \"r\">\n  <Match \"regex\">\n   Plugin \"^df$\"\n  </Match>\n"
        "  Target \"stop\"\n </Rule>\n Target \"write\"\n</Chain>\n");
    put_conf("refused", 2,
             "LoadPlugin \"exec\"\nInclude \"/etc/collectd.conf\"\n"
             "<Plugin python>\n</Plugin>\nLOADPLUGIN \"Perl\"\n"
             "LoadPlugin memory\nLoadPlugin libvirt\nReadThreads -1\n"
             "<LoadPlugin df>\n  Include x\n</LoadPlugin>\nHostname \"x\"\n"
             "TypesDB \"@BUNDLE@/../x\"\n<Chain \"x\">\n  <Target argus>\n"
             "  </Target>\n</Chain>\nTimeout 1\nPreCacheChain 1\n");
    put_conf("broken", 0, "<Plugin \"df\"\nLoadPlugin \\\n df\n");
    put_number(1, 1);
    for (int i = 0; i < 120; i++)
        put_number(prng_next(&prng) % 24, 1);
    write_seed("vet", "tree");
}

#define LONG_NAME                                                              \
    "LoadPlugin a12345678901234567890123456789012345678901234567890123456789"  \
    "012345"

/* One line for each refusal. */
void seed_vet_refusals(void)
{
    static const char *const lines[] = {
        "Hostname true 5 \"x\"",
        "LoadPlugin \"a/b\"",
        "LoadPlugin \"\"",
        "LoadPlugin argus",
        "LoadPlugin cpu",
        "LoadPlugin df load",
        "LoadPlugin 5",
        "Interval \"x\"",
        "Interval true",
        "Interval 1 2",
        "Interval -1",
        "WriteThreads 2",
        "WriteThreads 1.5",
        "TypesDB 5",
        "TypesDB \"@BUNDLE@/none\"",
        "TypesDB \"/proc/self\"",
        "TypesDB \"/proc/self/../self/stat\"",
        "<Plugin>\n</Plugin>",
        "<Plugin 5>\n</Plugin>",
        "PreCacheChain a b",
        "PreCacheChain \"\"",
        "Plugin df",
        "<Interval 5>\n x 1\n</Interval>",
        "<LoadPlugin df>\n Interval x\n</LoadPlugin>",
        "<LoadPlugin df>\n Globals \"x\"\n</LoadPlugin>",
        "<LoadPlugin df>\n What 5\n</LoadPlugin>",
        "TypesDB",
        LONG_NAME};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[200], name[16];
        (void)snprintf(text, sizeof text, "%s\n", lines[i]);
        (void)snprintf(name, sizeof name, "line%zu", i);
        put_conf(name, 2, text);
    }
    put_conf("many", 0,
             "LoadPlugin df\nLoadPlugin load\nLoadPlugin cpu\n"
             "LoadPlugin swap\n");
    char deep[400] = "<Plugin df>\n";
    for (int i = 0; i < 18; i++)
        (void)strcat(deep, "<a>\n");
    (void)strcat(deep, "x 1\n");
    for (int i = 0; i < 18; i++)
        (void)strcat(deep, "</a>\n");
    (void)strcat(deep, "</Plugin>\n");
    put_conf("deep", 0, deep);
    put_conf("nothing", 0, "\n");
    put_conf("no_text", 0, "LoadPlugin df\n\1\n");
}
