/* seeds_frame.c - of what is decoded before its sender is known, and of the
 * words between a daemon and its worker. */
#include "seeds.h"

#include <stdlib.h>
#include <string.h>

#include <pb_encode.h>

#include "core/digest.h"
#include "wire/frame.h"
#include "wire/pair.h"

static struct digest digest;

/* Each message of a oneof, as parts of kind `kind`. */
static void put_messages(const pb_msgdesc_t *fields, pb_size_t first,
                         pb_size_t last, uint8_t kind, bool is_long)
{
    for (pb_size_t tag = first; tag <= last; tag++) {
        size_t size = make(fields, tag, is_long, bytes, sizeof bytes);
        put_number(kind, 1);
        put_part(bytes, size);
    }
}

static void sound_manifest(argus_Manifest *f)
{
    memset(&m, 0, sizeof m);
    (void)strcpy(f->name, "web");
    f->version = 2;
    f->before.size = 32;
    (void)strcpy(f->target, "zone=eu1,role=agent; tag:os=deb*; name=w[a-c]?");
    f->index.size = 32;
    f->files_count = 3;
    f->files[0].size = 40000;
    (void)strcpy(f->files[1].name, "types.db");
    f->files[1].size = 10;
    (void)strcpy(f->files[2].name, "x.py");
}

/* A sound one, and one for each promise that it could break. */
static void put_manifests(void)
{
    argus_Manifest *f = &m.manifest;

    for (int broken = 0; broken < 15; broken++) {
        sound_manifest(f);
        switch (broken) {
        case 1: f->name[0] = '-'; break;
        case 2: f->version = 0; break;
        case 3: f->before.size = 5; break;
        case 4: f->before.size = 0; break;
        case 5: f->files_count = 0; break;
        case 6: (void)strcpy(f->files[0].name, "text"); break;
        case 7: f->files[0].size = 0; break;
        case 8: f->files[1].name[0] = '.'; break;
        case 9: (void)strcpy(f->files[2].name, "types.db"); break;
        case 10: f->files[1].size = UINT32_MAX; break;
        case 11: f->index.size = 31; break;
        case 12: f->removed = true; break;
        case 13:
            f->removed = true;
            f->files_count = 0;
            f->target[0] = '\0';
            f->index.size = 0;
            break;
        case 14:
            (void)strcpy(f->name, "@revoked");
            f->has_order = true;
            f->order.which_body = argus_Order_revoked_tag;
            f->order.body.revoked.keys_count = 1;
            f->files_count = 0;
            f->target[0] = '\0';
            f->index.size = 0;
            break;
        default: break;
        }
        put_number(4, 1);
        put_part(bytes, pack(argus_Manifest_fields, bytes, sizeof bytes));
    }
    put_number(4, 1);
    put_part("", 0);
}

/* A frame, with nothing done to it. */
static void put_frame(void)
{
    put_number(0, 1);
    put_part(bytes, pack(argus_Frame_fields, bytes, sizeof bytes));
}

/* Hellos that are refused, each for a reason of its own; see judge_hello(). */
static void put_hellos(void)
{
    argus_Hello *h = &m.frame.body.hello;

    for (int broken = 0; broken < 11; broken++) {
        memset(&m, 0, sizeof m);
        m.frame.which_body = argus_Frame_hello_tag;
        h->protocol_min = h->protocol_max = 1;
        (void)strcpy(h->cluster, "default");
        memcpy(h->id, "\4\5\6", 3);
        h->kind = argus_LinkKind_LINK_MESH;
        (void)strcpy(h->address, ":25827");
        switch (broken) {
        case 1: h->protocol_min = h->protocol_max = 9; break;
        case 2: (void)strcpy(h->cluster, "other\n\""); break;
        case 3: h->kind = (argus_LinkKind)77; break;
        case 4:
            memcpy(h->id, "\1\2\3", 3);
            h->instance = 77;
            break;
        case 5: memcpy(h->id, "\1\2\3", 3); break;
        case 6:
            memcpy(h->id, "\1\2\3", 3);
            h->kind = argus_LinkKind_LINK_PROBE;
            break;
        case 7: h->expected_id.size = 5; break;
        case 8:
            h->expected_id.size = 16;
            memcpy(h->expected_id.bytes, "\1\2\3", 3);
            break;
        case 9:
            h->expected_id.size = 16;
            h->expected_id.bytes[0] = 5;
            break;
        case 10: h->id[0] = 7; break;
        default: break;
        }
        put_frame();
    }
}

/* Of no message that is known, and a batch that is uneven. */
static void put_broken_frames(void)
{
    memset(&m, 0, sizeof m);
    m.frame.hlc = 5;
    put_frame();
    m.frame.which_body = argus_Frame_batch_tag;
    m.frame.body.batch.series_count = 2;
    m.frame.body.batch.time_step_count = 2;
    m.frame.body.batch.number_step_count = 1;
    put_frame();
    put_number(1, 1);
    put_part("", 0);
    put_number(2, 1);
    put_part("", 0);
    memset(&m, 0, sizeof m);
    m.frame.which_body = argus_Frame_ping_tag;
    m.frame.hlc = 7;
    size_t size = pack(argus_Frame_fields, bytes + 4, sizeof bytes - 4);
    memcpy(bytes, "\0\0\0", 3);
    bytes[3] = (uint8_t)size;
    memcpy(bytes + 4 + size, "\0\0\0\4\1", 5);
    put_number(3, 1);
    put_part(bytes, 4 + size + 5);
}

static void put_texts(const char *one, const char *other)
{
    put_number(7, 1);
    put_number(4 + strlen(one) + strlen(other), 2);
    put_text(one);
    put_text(other);
}

static void put_beacon(argus_BeaconBody *body, const char *key, size_t mac_size)
{
    argus_Beacon b = argus_Beacon_init_zero;
    pb_ostream_t inner =
        pb_ostream_from_buffer(b.body.bytes, sizeof b.body.bytes);
    pb_ostream_t outer = pb_ostream_from_buffer(bytes, sizeof bytes);

    if (!pb_encode(&inner, argus_BeaconBody_fields, body))
        abort();
    b.body.size = (pb_size_t)inner.bytes_written;
    b.key.size = (pb_size_t)strlen(key);
    memcpy(b.key.bytes, key, b.key.size);
    b.mac.size = (pb_size_t)mac_size;
    memset(b.mac.bytes, key[0], mac_size);
    if (!pb_encode(&outer, argus_Beacon_fields, &b))
        abort();
    put_number(8, 1);
    put_part(bytes, outer.bytes_written);
}

/* Plain, with a MAC, with a wrong one, and without a port or an address. */
static void put_beacons(void)
{
    argus_BeaconBody body = {.role = argus_Role_ROLE_AGENT,
                             .ip = {4, {10, 0, 0, 1}},
                             .port = 25827,
                             .time_ms = 1700000000000};

    put_beacon(&body, "", 0);
    put_beacon(&body, "\7\1\2\3\4\5\6\7", 32);
    put_beacon(&body, "\7\1\2\3\4\5\6\7", 31);
    body.ip.size = 5;
    put_beacon(&body, "", 0);
    body.ip.size = 16;
    body.port = 70000;
    put_beacon(&body, "", 0);
    body.port = 1;
    put_beacon(&body, "", 0);
    put_number(8, 1);
    put_part("\377", 1);
}

/* An answer about _a._tcp.t, in `bytes`; records follow. */
static size_t begin_answer(uint8_t records)
{
    static const char head[] = "\0\1\x85\x80\0\1\0\0\0\0\0\0"
                               "\2_a\4_tcp\1t\0\0\41\0\1";

    memcpy(bytes, head, sizeof head - 1);
    bytes[7] = records;
    return sizeof head - 1;
}

/* A service at `target`, beside the domain of the question; of a type and class
 * that are its own, or something else. */
static size_t put_record(size_t used, uint16_t type_and_class, uint8_t priority,
                         uint8_t weight, uint16_t port, const char *target)
{
    size_t length = strlen(target);
    uint8_t *at = bytes + used;
    const uint8_t head[] = {0xc0,
                            12,
                            0,
                            (uint8_t)(type_and_class >> 8),
                            0,
                            (uint8_t)type_and_class,
                            0,
                            0,
                            0,
                            9,
                            0,
                            (uint8_t)(9 + length),
                            0,
                            priority,
                            0,
                            weight,
                            (uint8_t)(port >> 8),
                            (uint8_t)port,
                            (uint8_t)length};

    memcpy(at, head, sizeof head);
    memcpy(at + sizeof head, target, length);
    at[sizeof head + length] = 0xc0;
    at[sizeof head + length + 1] = 20;
    return used + sizeof head + length + 2;
}

/* What a name server says: several to draw from, some that are none, one that
 * is cut off; more than there is room for; nothing. */
static void put_services(void)
{
    size_t used = begin_answer(10);

    for (uint8_t n = 0; n < 5; n++)
        used = put_record(used, 0x2101, n == 4 ? 2 : 10, (uint8_t)(n * 30),
                          25827, "node");
    used = put_record(used, 0x0101, 1, 1, 25827, "a");
    used = put_record(used, 0x2103, 1, 1, 25827, "chaos");
    used = put_record(used, 0x2101, 1, 1, 0, "n");
    used = put_record(used, 0x2101, 1, 1, 1, "-n");
    used = put_record(used, 0x2101, 1, 1, 1, "n n");
    put_number(9, 1);
    put_part(bytes, used);
    put_number(9, 1);
    put_part(bytes, put_record(used, 0x2101, 1, 1, 1, "n") - 4);
    used = begin_answer(2);
    used = put_record(used, 0x2101, 1, 1, 1, "n");
    size_t second = used;
    used = put_record(used, 0x2101, 1, 1, 1, "n");
    bytes[second + 1] = 0xff; /* its name is nowhere */
    put_number(9, 1);
    put_part(bytes, used);
    bytes[second + 1] = 12;
    bytes[second + 11] = 6; /* no room for a name */
    put_number(9, 1);
    put_part(bytes, second + 18);
    used = begin_answer(33);
    for (int n = 0; n < 33; n++)
        used = put_record(used, 0x2101, 1, 1, 1, "n");
    put_number(9, 1);
    put_part(bytes, used);
    put_number(9, 1);
    put_part(bytes, begin_answer(0));
    put_number(9, 1);
    put_part(bytes, 5);
}

static void put_publisher(const char *host, const char *plugin,
                          const char *instance, const char *app,
                          uint64_t silent_us, double rate)
{
    const struct digest_entry e = {.host = host,
                                   .plugin = plugin,
                                   .plugin_instance = instance,
                                   .app = app,
                                   .since_us = 5000000,
                                   .silent_us = silent_us,
                                   .rate = rate};
    if (!digest_put(&digest, &e))
        abort();
}

/* What a node publishes, of every kind of application; then ones that are
 * broken: a plugin that is not named, and a host whose name is empty. */
static void put_digest(void)
{
    digest_begin(&digest, "self", 1000, bytes, sizeof bytes);
    put_publisher("self", "cpu", "0", "", 0, 4);
    put_publisher("self", "exec", "backup", "backup", 9000000, 0);
    put_publisher("other", "kitchen", "", "kitchen", 0, 1e-9);
    put_publisher("other", "statsd", "", "shop", 0, 1e30);
    put_number(10, 1);
    put_part(bytes, digest.size);
    put_number(10, 1);
    put_part("\2\10\1", 3);
    put_number(10, 1);
    put_part("\13\12\0\22\3cpu\60\1\70\1", 12);
}

void seed_frame(void)
{
    put_messages(argus_Frame_fields, argus_Frame_hello_tag,
                 argus_Frame_event_items_tag, 0, false);
    write_seed("frame", "frames");
    put_messages(argus_Frame_fields, argus_Frame_hello_tag,
                 argus_Frame_event_items_tag, 0, true);
    write_seed("frame", "long_frames");
    put_messages(argus_Request_fields, argus_Request_status_tag,
                 argus_Request_publishers_tag, 1, false);
    put_messages(argus_Reply_fields, argus_Reply_status_tag,
                 argus_Reply_publisher_tag, 2, true);
    write_seed("frame", "control");
    put_messages(argus_Statement_fields, argus_Statement_record_tag,
                 argus_Statement_bundle_tag, 6, true);
    put_manifests();
    write_seed("frame", "statements");
    put_beacons();
    put_services();
    write_seed("frame", "first_contact");
    put_hellos();
    put_broken_frames();
    write_seed("frame", "refused");
    put_texts("zone=eu1,role=agent; tag:os=[!a-c]*; name=?*", "eu1/rack4");
    put_texts("*", "");
    put_texts("[2001:db8::1]:25827", "x");
    put_texts("host.example:service", "x");
    put_texts("types.db", "x");
    put_texts("[[[[a]:b", "x");
    static const char *const texts[] = {
        "[x:1",
        "a:70000",
        "a:se]rvice",
        "a:b:1",
        "a b:1",
        "_a._tcp.t",
        "name=",
        "name=[a",
        "tag:os",
        "tag:=x",
        "tag:os=w[a-c]",
        "role=x",
        "role=agent ;  ",
        "zone=",
        " zone=eu1/ , name=eu1",
        "tag:osx=x",
        "name=?; x",
        "host:a-service-whose-name-is-longer-than-any-that-there-is"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        put_texts(texts[i], "eu1");
    write_seed("frame", "texts");
    put_digest();
    write_seed("frame", "publishers");
}

void seed_pair(void)
{
    static const char *const names[5] = {"host", "cpu", "0", "gauge", "idle"};
    const struct pair_hello hello = {PAIR_PROTOCOL, 4711, "0.1.0"};
    const struct pair_ready ready = {
        1, 2, 3, true, true, false, "no such file"};
    struct pair_set set = {
        .type = "gauge",
        .count = 2,
        .sources = {{"value", 1, 0, 100}, {"other", 2, 0, 1}}};
    const struct pair_flush flush = {5, "host/cpu/gauge"};
    const struct pair_meta metas[3] = {
        {"network:received", PAIR_META_BOOLEAN, "", 1},
        {"what", PAIR_META_STRING, "text", 0},
        {"size", PAIR_META_DOUBLE, "", 7}};
    static const uint64_t numbers[2] = {1, 2};
    const struct pair_value value = {
        .names = {names[0], names[1], names[2], names[3], names[4]},
        .time = 1,
        .interval = 2,
        .count = 2,
        .numbers = (const uint8_t *)numbers,
        .metas_count = 3};
    const struct pair_notification notification = {
        .severity = 4,
        .time = 9,
        .names = {names[0], names[1], names[2], names[3], names[4]},
        .message = "it is so",
        .metas_count = 3};

    put(bytes, pair_put_hello(bytes, sizeof bytes, &hello));
    put(bytes, pair_put_phase(bytes, sizeof bytes, PAIR_PHASE_INIT));
    put(bytes, pair_put_ready(bytes, sizeof bytes, &ready));
    put(bytes, pair_put_text(bytes, sizeof bytes, PAIR_LOG, 3, "a line"));
    put(bytes, pair_put_text(bytes, sizeof bytes, PAIR_REFUSED, 0, "no"));
    put(bytes, pair_put_text(bytes, sizeof bytes, PAIR_FAILED, 3, "no"));
    put(bytes, pair_put_plain(bytes, sizeof bytes, PAIR_BYE));
    write_seed("pair", "life");
    put(bytes, pair_put_set(bytes, sizeof bytes, &set));
    put(bytes, pair_put_value(bytes, sizeof bytes, &value, metas));
    put(bytes,
        pair_put_notification(bytes, sizeof bytes, &notification, metas));
    put(bytes, pair_put_flush(bytes, sizeof bytes, &flush));
    put(bytes, pair_put_plain(bytes, sizeof bytes, PAIR_STOP));
    write_seed("pair", "values");
}
