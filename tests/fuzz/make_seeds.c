/* make_seeds.c - writes the seeds: make_seeds FOLDER, which then holds a folder
 * for each target. Messages are filled field by field from the schema, so each
 * type of message is there once, and twice where it is short and long. The same
 * on each run. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <pb_common.h>
#include <pb_encode.h>

#include "argus.pb.h"
#include "base/prng.h"
#include "core/digest.h"
#include "core/orders.h"
#include "wire/frame.h"
#include "wire/pair.h"

static const char *base;
static struct prng prng;

/* ------------------------------------------------------------- the output */

static struct {
    uint8_t bytes[1 << 18];
    size_t used;
} out;

static void put(const void *data, size_t size)
{
    if (size > sizeof out.bytes - out.used)
        abort();
    memcpy(out.bytes + out.used, data, size);
    out.used += size;
}

static void put_number(uint64_t number, size_t size)
{
    for (size_t i = size; i > 0; i--) {
        uint8_t byte = (uint8_t)(number >> (8 * (i - 1)));
        put(&byte, 1);
    }
}

static void put_part(const void *data, size_t size)
{
    put_number(size, 2);
    put(data, size);
}

static void put_text(const char *text)
{
    put_part(text, strlen(text));
}

static void write_seed(const char *target, const char *name)
{
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/%s", base, target);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        abort();
    (void)snprintf(path, sizeof path, "%s/%s/%s", base, target, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(out.bytes, 1, out.used, file) != out.used ||
        fclose(file) != 0)
        abort();
    out.used = 0;
}

/* ------------------------------------------------------ messages, filled */

static void fill(const pb_msgdesc_t *fields, void *message, bool is_long,
                 pb_size_t oneof_tag);

static uint64_t small(void)
{
    return 1 + prng_below(&prng, 5);
}

static void fill_text(char *text, size_t size, bool is_long)
{
    static const char letters[] = "abcdefghij.-_/:=*0123456789 ";
    size_t length = is_long ? size - 1 : prng_below(&prng, 9);

    if (length >= size)
        length = size - 1;
    for (size_t i = 0; i < length; i++)
        text[i] = letters[prng_below(&prng, sizeof letters - 1)];
    text[length] = '\0';
}

static void fill_bytes(uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)prng_next(&prng);
}

static void fill_value(const pb_field_iter_t *field, void *value, bool is_long)
{
    uint64_t number = small();

    switch (PB_LTYPE(field->type)) {
    case PB_LTYPE_STRING: fill_text(value, field->data_size, is_long); break;
    case PB_LTYPE_FIXED_LENGTH_BYTES:
        fill_bytes(value, field->data_size);
        break;
    case PB_LTYPE_BYTES: {
        pb_bytes_array_t *bytes = value;
        size_t room = field->data_size - offsetof(pb_bytes_array_t, bytes);
        bytes->size = (pb_size_t)(is_long && room <= 64 ? room : room / 40);
        fill_bytes(bytes->bytes, bytes->size);
        break;
    }
    case PB_LTYPE_SUBMESSAGE:
    case PB_LTYPE_SUBMSG_W_CB:
        fill(field->submsg_desc, value, is_long, 0);
        break;
    default: memcpy(value, &number, field->data_size); break;
    }
}

static void fill_field(pb_field_iter_t *field, bool is_long)
{
    pb_size_t count = 1;

    if (PB_HTYPE(field->type) == PB_HTYPE_REPEATED) {
        count = (pb_size_t)(is_long ? 2 : prng_below(&prng, 3));
        if (count > field->array_size)
            count = field->array_size;
        *(pb_size_t *)field->pSize = count;
    } else if (PB_HTYPE(field->type) == PB_HTYPE_OPTIONAL &&
               field->pSize != NULL) {
        *(bool *)field->pSize = true;
    }
    for (pb_size_t i = 0; i < count; i++)
        fill_value(field, (char *)field->pData + i * field->data_size, is_long);
}

/* Of a oneof the field with that tag; 0: the first. */
static void fill(const pb_msgdesc_t *fields, void *message, bool is_long,
                 pb_size_t oneof_tag)
{
    pb_field_iter_t field;
    bool has_body = false;

    if (!pb_field_iter_begin(&field, fields, message))
        return;
    do {
        if (PB_HTYPE(field.type) == PB_HTYPE_ONEOF) {
            if (has_body || (oneof_tag != 0 && field.tag != oneof_tag))
                continue;
            has_body = true;
            *(pb_size_t *)field.pSize = field.tag;
            fill_value(&field, field.pData, is_long);
        } else {
            fill_field(&field, is_long);
        }
    } while (pb_field_iter_next(&field));
}

static union {
    argus_Frame frame;
    argus_Request request;
    argus_Reply reply;
    argus_Statement statement;
    argus_Order order;
    argus_Signed sealed;
    argus_Manifest manifest;
} m;

static size_t pack(const pb_msgdesc_t *fields, uint8_t *bytes, size_t room)
{
    pb_ostream_t stream = pb_ostream_from_buffer(bytes, room);

    if (!pb_encode(&stream, fields, &m)) {
        fprintf(stderr, "cannot encode: %s\n", PB_GET_ERROR(&stream));
        abort();
    }
    return stream.bytes_written;
}

/* A batch must be even to be one. */
static void even_out(argus_Batch *b)
{
    b->number_step_count = b->time_step_count = b->series_count;
}

static size_t make(const pb_msgdesc_t *fields, pb_size_t tag, bool is_long,
                   uint8_t *bytes, size_t room)
{
    memset(&m, 0, sizeof m);
    fill(fields, &m, is_long, tag);
    if (fields == argus_Frame_fields && tag == argus_Frame_batch_tag)
        even_out(&m.frame.body.batch);
    return pack(fields, bytes, room);
}

/* --------------------------------------------------------------- the seeds */

static uint8_t bytes[1 << 16];
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

/* What a node publishes, of every kind of application; then one that is broken.
 */
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
}

static void seed_frame(void)
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

static void seed_pair(void)
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

/* Scripts by chance; the fuzzer does the rest. In front what every life has: a
 * neighbor, and links of the other kinds. */
static void seed_engine(void)
{
    for (unsigned n = 0; n < 6; n++) {
        char name[16];
        put_number(n | 8, 1);
        for (uint64_t slot = 1; slot <= 10; slot++) {
            put_number(1, 1); /* accept: slot, who, kind */
            put_number(slot << 16 | slot << 8 | (slot - 1) % 5, 3);
        }
        put_number(7, 1); /* a neighbor */
        put_number(0x010141, 3);
        for (int i = 0; i < 60; i++) {
            uint64_t word = prng_next(&prng);
            put_number(word % 22, 1);
            put_number(word >> 8, 1 + prng_below(&prng, 5));
        }
        (void)snprintf(name, sizeof name, "script%u", n);
        write_seed("engine", name);
    }
    put_number(1, 1);
    for (pb_size_t tag = argus_Frame_ping_tag; tag <= argus_Frame_key_proof_tag;
         tag++) {
        size_t size = make(argus_Frame_fields, tag, false, bytes, sizeof bytes);
        put_number(1, 1); /* accept */
        put_number(tag, 1);
        put_number(tag, 1);
        put_number(tag < argus_Frame_digest_tag          ? 0
                   : tag < argus_Frame_series_defs_tag   ? 2
                   : tag < argus_Frame_bundle_digest_tag ? 1
                                                         : 4,
                   1);
        put_number(5, 1); /* frame */
        put_number(tag, 1);
        put_part(bytes, size);
    }
    write_seed("engine", "frames");
}

/* Scripts of what a life is made of; operations by their place in the table of
 * fuzz_engine.c. */
enum {
    PASS,
    ACCEPT,
    DIALED,
    DIAL_FAILED,
    DOWN,
    FRAME,
    DRAINED,
    MEMBERSHIP,
    STATEMENT,
    DIGEST,
    PUSH,
    BUNDLE_ITEMS,
    BUNDLE_SESSION,
    VALUES,
    ACK,
    SERIES,
    BATCH,
    TOKENS,
    NOTICE,
    OPERATOR,
    STATES,
    STOP,
    EVENT_SESSION,
    REACH,
    SUMS,
    SUMMARY,
    TURN,
    TWIN_PASS,
    TREE
};
enum { MESH, METRICS, SYNC, PROBE, BUNDLE };

static void op(uint8_t operation, uint64_t arguments, size_t size)
{
    put_number(operation, 1);
    put_number(arguments, size);
}

static void op_accept(uint8_t slot, uint8_t who, uint8_t kind)
{
    op(ACCEPT, (uint32_t)slot << 16 | (uint32_t)who << 8 | kind, 3);
}

/* A neighbor on slot 1, who passes on what others state. */
static void op_neighbor(void)
{
    op_accept(1, 1, MESH);
    op(MEMBERSHIP, 0x010141, 3);
}

/* In its place when it is gone. */
static void op_other_neighbor(uint8_t who)
{
    op_accept(1, who, MESH);
    op(MEMBERSHIP, 0x010041u | (uint32_t)who << 8, 3);
}

static void op_record(uint8_t who, uint8_t flags, uint8_t version)
{
    op(STATEMENT, (uint64_t)who << 8 | 1u << 16, 3); /* slot 1, gossip */
    put_number(0, 1);                                /* a record */
    put_number((uint32_t)flags << 16 | 1u << 8 | version, 3);
    put_number(0, 4);
}

static void op_report(uint8_t who, uint8_t subject, uint8_t state)
{
    op(STATEMENT, (uint64_t)who << 8 | 1u << 16, 3);
    put_number(1, 1);
    put_number((uint32_t)subject << 24 | (uint32_t)state << 16 | 0x0101, 4);
}

static void seed_agent(void)
{
    put_number(2, 1);
    op_neighbor();
    op_record(5, 6, 1); /* aggregators */
    op_record(6, 6, 1);
    op(VALUES, 0x0003, 2);
    put_number(0x01020304, 4);
    op(DIALED, 0x000203, 3);
    op(DIALED, 0x000303, 3);
    op(DIALED, 0x000403, 3);
    for (uint8_t n = 1; n < 5; n++) {
        op(VALUES, (uint64_t)n << 8 | 1, 2);
        put_number(0x0506u + n, 2);
        op(PASS, 100, 2);
        for (uint8_t slot = 2; slot < 5; slot++)
            op(ACK, (uint32_t)slot << 24 | (uint32_t)n << 16 | 0x0400, 4);
    }
    op(DRAINED, 2, 1);
    op(DOWN, 0x020100, 3);
    op(PASS, 3000, 2);
    op(DIALED, 0x000503, 3);
    op(VALUES, 0x0700, 2);
    put_number(9, 1);
    op_record(5, 22, 2); /* leaves */
    op(STOP, 0, 1);
    op(PASS, 40000, 2);
    write_seed("engine", "agent");
}

static void seed_aggregator(void)
{
    put_number(1, 1);
    op_accept(2, 2, METRICS);
    op(SERIES, 0x020b, 2); /* gauges */
    put_number(0x01020304, 4);
    for (uint8_t n = 1; n < 5; n++) {
        op(BATCH, (uint64_t)2 << 16 | 4u << 8 | 0x40, 3);
        put_number(n, 1);
        put_number(0x0100u + n * 10u, 2);
        for (uint8_t i = 0; i < 4; i++)
            put_number((i + 1u) << 8 | n, 2);
        op(TOKENS, 0x00010f, 3); /* seen */
        op(PASS, 30, 2);
    }
    op(TOKENS, 0x020000, 3); /* the queue moved on */
    op(PASS, 1500, 2);
    op(TOKENS, 0x010104, 3); /* passed by */
    memset(&m, 0, sizeof m);
    m.frame.which_body = argus_Frame_release_tag;
    (void)strcpy(m.frame.body.release.host, "h0");
    size_t size = pack(argus_Frame_fields, bytes, sizeof bytes);
    op(FRAME, 2, 1);
    put_part(bytes, size);
    op(DOWN, 0x020100, 3);
    op_accept(3, 2, METRICS);
    op(SERIES, 0x030b, 2);
    put_number(0x01020304, 4);
    op(BATCH, (uint64_t)3 << 16 | 4u << 8 | 0x40, 3); /* out of turn */
    put_number(7, 1);
    put_number(0x0100, 2);
    put_number(0x0101020103010401, 8);
    op_accept(4, 4, METRICS);
    op(SERIES, 0x040b, 2);
    put_number(0x00010203, 4); /* named out of turn */
    op(OPERATOR, 3, 1);
    put_text("h0");
    op(PASS, 40000, 2);
    write_seed("engine", "aggregator");
}

static void seed_bundles(void)
{
    put_number(0, 1);
    op_neighbor();
    op(PUSH, 0, 1);
    put_number(0x000005, 3); /* flags, name, size */
    op(PUSH, 0, 1);
    put_number(0x000009, 3);
    op_accept(2, 2, BUNDLE);
    op(BUNDLE_SESSION, 0x020000, 3); /* digest */
    op(BUNDLE_SESSION, 0x020200, 3); /* a chunk is wanted */
    op(BUNDLE_SESSION, 0x028100, 3); /* a want */
    op(BUNDLE_ITEMS, 2, 1);
    put_number(0x000107, 3);
    op(DIALED, 0x000301, 3);
    op(DIALED, 0x000401, 3);
    op(BUNDLE_SESSION, 0x030301, 3);
    put_text("chunk");
    op(BUNDLE_SESSION, 0x040301, 3);
    put_text("");
    op(PASS, 5000, 2);
    op(STATES, 1, 1);
    put_text("no such file");
    put_text("");
    op(DOWN, 0x030100, 3);
    op(PASS, 40000, 2);
    op(DIALED, 0x000501, 3);
    op(OPERATOR, 3, 1);
    put_text("web");
    write_seed("engine", "bundles");
}

static void seed_members(void)
{
    put_number(8, 1);
    op_neighbor();
    op_record(2, 4, 1);
    op_record(3, 4, 1);
    op_record(4, 0x64, 2);
    op_report(1, 2, 2); /* suspect */
    op_report(3, 2, 3); /* offline */
    op_report(3, 0, 3); /* and we ourselves */
    op_accept(2, 2, SYNC);
    op(DIGEST, 0x020202, 3);
    put_number(0x01050305, 4);
    op(DIGEST, 0x020302, 3); /* a want */
    put_number(0x0204, 2);
    op_accept(3, 3, MESH);
    op(MEMBERSHIP, 0x030300, 3); /* join */
    op(MEMBERSHIP, 0x010411, 3); /* shuffles and the like */
    op(MEMBERSHIP, 0x010512, 3);
    op(DOWN, 0x010100, 3);
    op(DIAL_FAILED, 0x000200, 3);
    op(PASS, 5000, 2);
    op(DIALED, 0x000404, 3);
    op(DIALED, 0x000505, 3);
    op(DIAL_FAILED, 0x010300, 3);
    op(NOTICE, 1, 1);
    put_text("it is so");
    op(PASS, 50000, 2);
    op(OPERATOR, 0, 1);
    put_text("10.0.0.9:1");
    op(OPERATOR, 1, 1);
    put_text("");
    op(PASS, 3000, 2);
    write_seed("engine", "members");
}

static void op_notices(int count)
{
    for (int i = 0; i < count; i++) {
        op(NOTICE, 1, 1);
        put_text("it is so");
        op(PASS, 30, 2);
    }
}

/* Each message of the membership, from somebody who is a neighbor and from
 * somebody who is not yet. */
static void seed_membership(void)
{
    static const uint8_t flags[] = {50, 1,  64,   54, 5,   6,    0,  2,
                                    65, 66, 0x82, 4,  130, 0x43, 67, 3};

    put_number(4, 1); /* small views */
    op_neighbor();
    for (uint8_t i = 0; i < sizeof flags; i++) {
        uint8_t slot = (uint8_t)(2 + 2 * i);
        op_accept(slot, slot, MESH);
        op(MEMBERSHIP, (uint64_t)slot << 16 | (uint64_t)slot << 8 | flags[i],
           3);
        op_accept(slot + 1, slot + 1, MESH);
        op(MEMBERSHIP, (uint64_t)(slot + 1) << 16 | 0x41, 3);
        op(MEMBERSHIP,
           (uint64_t)(slot + 1) << 16 | (uint64_t)slot << 8 | flags[i], 3);
        op(PASS, 300, 2);
    }
    op(PASS, 20000, 2);
    for (uint8_t dial = 0; dial < 6; dial++) {
        uint8_t slot = (uint8_t)(50 + dial);
        op(DIALED, (uint64_t)dial << 16 | (uint64_t)slot << 8 | slot, 3);
        op(MEMBERSHIP,
           (uint64_t)slot << 16 | (dial % 2 == 0 ? 66u : 3u) | 0x0700, 3);
        op(MEMBERSHIP, (uint64_t)slot << 16 | 0x0706, 3);
    }
    op(PASS, 20000, 2);
    write_seed("engine", "membership");
}

static void op_raw_statement(uint8_t who, const pb_msgdesc_t *fields,
                             pb_size_t tag)
{
    op(STATEMENT, (uint64_t)who << 8 | 1u << 16, 3);
    put_number(4, 1);
    put_part(bytes, make(fields, tag, false, bytes, sizeof bytes));
}

static void op_stated_event(uint8_t slot, uint8_t who, uint8_t severity,
                            uint8_t number)
{
    op(STATEMENT, (uint64_t)slot << 16 | (uint64_t)who << 8, 3);
    put_number(2, 1);
    put_number((uint32_t)severity << 16 | (uint32_t)number << 8, 3);
    put_text("of another");
}

/* What is broadcast, and is refused, stale, or of this node itself. */
static void seed_statements(void)
{
    uint8_t who = 100;

    put_number(1, 1);
    op_other_neighbor(who++);
    op_record(2, 4, 1);
    op_other_neighbor(who++);
    op_record(2, 4, 1);
    op_other_neighbor(who++);
    op_record(2, 8, 200); /* absurd */
    op_other_neighbor(who++);
    op_record(3, 4, 5);
    op_other_neighbor(who++);
    op_record(3, 4, 4); /* stale */
    op_other_neighbor(who++);
    op_record(0, 4, 77); /* of us */
    op_other_neighbor(who++);
    op_report(2, 3, 2); /* suspect */
    op_other_neighbor(who++);
    op_report(4, 3, 2); /* a stranger's word */
    op_other_neighbor(who++);
    op_report(1, 3, 2); /* a further witness */
    op_other_neighbor(who++);
    op_report(3, 3, 2); /* of himself */
    op_other_neighbor(who++);
    op_report(2, 9, 2); /* of a stranger */
    op_other_neighbor(who++);
    op_report(2, 3, 1); /* no such report */
    op_other_neighbor(who++);
    op_report(2, 3, 3); /* offline */
    op_other_neighbor(who++);
    op_report(2, 3, 2); /* weaker */
    op_other_neighbor(who++);
    op_report(1, 0, 2); /* of us */
    op_other_neighbor(who++);
    op_record(3, 20, 9); /* leaves */
    op_other_neighbor(who++);
    op_report(2, 3, 3); /* too late */
    op_other_neighbor(who++);
    op_raw_statement(5, argus_Statement_fields, argus_Statement_record_tag);
    op_other_neighbor(who++);
    op_raw_statement(5, argus_Statement_fields, argus_Statement_report_tag);
    op_other_neighbor(who++);
    op_raw_statement(5, argus_Statement_fields, argus_Statement_bundle_tag);
    for (uint8_t n = 0; n < 5; n++) { /* of each severity; 0, 3: none */
        op_other_neighbor(who++);
        op_stated_event(1, 2, n, n);
    }
    op_accept(2, 2, MESH);
    op(MEMBERSHIP, 0x020241, 3);
    op_stated_event(2, 2, 4, 4); /* again, from another */
    op_other_neighbor(who++);
    for (uint8_t n = 0; n < 30; n++)
        op_stated_event(1, 60, 4, n); /* more than a stranger may */
    op_other_neighbor(who++);
    op(TREE, 0x010000, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010100, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010200, 3);
    op_other_neighbor(who++);
    op(TREE, 0x020203, 3); /* one that is here */
    for (int i = 0; i < 40; i++)
        op(TREE, 0x010203, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010303, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010300, 3);
    op_other_neighbor(who++);
    op(TREE, 0x010204, 3); /* of a wrong size */
    op(PASS, 3000, 2);
    write_seed("engine", "statements");
}

/* Sessions that break the rules, each in its own way. */
static void seed_rules(void)
{
    static const uint32_t first[] = {
        0x0200c3, /* no beginning */
        0x020083, /* an end that is none */
        0x0200b3, /* ranges */
        0x0201ff, /* keys out of turn */
        0x020203, /* a want */
        0x020308, /* items that nobody wanted */
    };

    put_number(1, 1);
    op_neighbor();
    op_notices(4);
    for (uint8_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        op_accept(2, (uint8_t)(2 + i), SYNC);
        op(DIGEST, 0x020200, 3);
        op(EVENT_SESSION, first[i], 3);
        if ((first[i] >> 8 & 3) == 3) {
            put_number(0x100101, 3);
            put_text("of another");
        }
        op(DOWN, 0x020100, 3);
    }
    op_accept(3, 20, SYNC); /* pages */
    op(DIGEST, 0x030203, 3);
    put_number(0x010501020502, 6);
    op_accept(4, 21, SYNC);
    op(DIGEST, 0x040203, 3); /* out of order */
    put_number(0x050101010301, 6);
    op_accept(5, 22, SYNC);
    op(EVENT_SESSION, 0x050003, 3); /* before records */
    op_accept(6, 23, SYNC);
    op(MEMBERSHIP, 0x060000, 3); /* no frame of such a link */
    op_accept(7, 24, SYNC);
    op(STATEMENT, 0x070102, 3); /* items nobody asked for */
    put_number(0, 1);
    put_number(0x040101, 3);
    put_number(0, 4);
    for (uint8_t n = 0; n < 6; n++) { /* columns of a batch */
        uint8_t slot = (uint8_t)(10 + n);
        op_accept(slot, slot, METRICS);
        op(SERIES, (uint64_t)slot << 8 | 0x0b, 2);
        put_number(0x01020304, 4);
        op(BATCH,
           (uint64_t)slot << 16 | (n == 0 ? 0u : 2u) << 8 |
               (n == 1 ? 0x10u : 0x20u),
           3);
        put_number(n == 2 ? 3 : 1, 1);
        put_number(n == 3 ? 0xff00 : 0x0101, 2);
        if (n != 0)
            put_number(n == 4 ? 0x01010901 : 0x01010201, 4);
        op(SERIES, (uint64_t)slot << 8 | 0x0b, 2); /* other series */
        put_number(0x02010403, 4);
        op(SERIES, (uint64_t)slot << 8 | 0x20, 2); /* no such source */
        put_number(1, 1);
    }
    write_seed("engine", "rules");
}

/* What differs is looked for by somebody who dialed us. */
static void seed_event_answers(void)
{
    put_number(0, 1);
    op_neighbor();
    for (int i = 0; i < 3; i++) {
        op(NOTICE, 1, 1);
        put_text("it is so");
        op(PASS, 100, 2);
    }
    op_accept(2, 2, SYNC);
    op(DIGEST, 0x020200, 3); /* the only page */
    op(EVENT_SESSION, 0x020003, 3);
    op(EVENT_SESSION, 0x020202, 3); /* a want: two keys that it listed */
    op(EVENT_SESSION, 0x020003, 3);
    op(EVENT_SESSION, 0x020300, 3); /* what we lack */
    put_number(0x100101, 3);
    put_text("of another");
    op(EVENT_SESSION, 0x020200, 3);
    op(EVENT_SESSION, 0x020004, 3); /* with more Retain than here */
    op(EVENT_SESSION, 0x020023, 3); /* two ranges */
    op(EVENT_SESSION, 0x020400, 3); /* we have all that it has */
    op(EVENT_SESSION, 0x0200c3, 3); /* not sound */
    write_seed("engine", "event_answers");
}

/* We dial: the other side lists what it has. */
static void seed_event_questions(void)
{
    put_number(0, 1);
    op_neighbor();
    op_record(2, 4, 1);
    op(NOTICE, 1, 1);
    put_text("it is so");
    op(PASS, 0x8100, 2);
    for (uint8_t dial = 0; dial < 8; dial++)
        op(DIALED, (uint64_t)dial << 16 | (uint64_t)(2 + dial % 5) << 8 | 2, 3);
    for (uint8_t slot = 2; slot < 7; slot++) {
        op(DIGEST, (uint64_t)slot << 16 | 0x0300, 3); /* a want, the last */
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0105, 3);
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0113, 3);
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0308, 3);
        put_number(0x100101, 3);
        put_text("of another");
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0183, 3);
    }
    write_seed("engine", "event_questions");
}

/* What a session about bundles asks for, gets, and must not have. */
static void seed_bundle_rules(void)
{
    put_number(1, 1);
    op_neighbor();
    for (uint8_t slot = 2; slot < 8; slot++) {
        op_accept(slot, slot, BUNDLE);
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | (slot == 7 ? 5 : 3), 3);
        op(BUNDLE_ITEMS, slot | (slot == 6 ? 128u : 0), 1);
        put_number(slot < 4 ? (slot & 1u) << 8 | 7 : 0x020007u + slot, 3);
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | 0x0200, 3);
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | 0x0200, 3); /* again */
    }
    for (uint8_t dial = 0; dial < 12; dial++)
        op(DIALED, (uint64_t)dial << 16 | (uint64_t)(20 + dial) << 8, 3);
    for (uint8_t slot = 20; slot < 32; slot++) {
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | 0x0300, 3);
        put_text("");
        op(BUNDLE_SESSION, (uint64_t)slot << 16 | 0x0301, 3);
        put_text("another");
    }
    op(PASS, 20000, 2);
    write_seed("engine", "bundle_rules");
}

/* Sums of all, and of ranges: both sides of a session, and what is out of
 * turn. */
static void seed_sums(void)
{
    put_number(0, 1);
    op_neighbor();
    for (uint8_t who = 2; who < 7; who++)
        op_record(who, 4, 1);
    op(PASS, 0x8100, 2);
    for (uint8_t dial = 0; dial < 8; dial++)
        op(DIALED, (uint64_t)dial << 16 | (uint64_t)(2 + dial % 5) << 8 | 2, 3);
    op(SUMS, 0x020400, 3); /* of 16 ranges, in all of which we differ */
    op(DIGEST, 0x020300, 3);
    op(SUMS, 0x030804, 3);
    op(DIGEST, 0x030101, 3); /* a want that is not the last */
    put_number(5, 1);
    op(SUMS, 0x040302, 3); /* three */
    op(SUMS, 0x050001, 3); /* the same */
    op(SUMS, 0x050001, 3); /* twice */
    for (uint8_t slot = 10; slot < 13; slot++) {
        op_accept(slot, slot, SYNC);
        op(SUMS, (uint64_t)slot << 16 | (slot & 1), 3);
        op(DIGEST, (uint64_t)slot << 16 | 0x0200, 3);
        op(EVENT_SESSION, (uint64_t)slot << 16 | 0x0003, 3);
    }
    op_accept(13, 13, SYNC);
    op(SUMS, 0x0d0100, 3); /* of two ranges, who dialed */
    write_seed("engine", "sums");
}

/* Neighbors compare over the link that is there. */
static void seed_summaries(void)
{
    put_number(0, 1);
    op_neighbor();
    for (int i = 0; i < 20; i++) { /* more than share a signature */
        op(NOTICE, 1, 1);
        put_text("it is so");
    }
    for (int i = 0; i < 4; i++)
        op(PASS, 0x8100, 2); /* until we say what we keep */
    op(SUMMARY, 0x010000, 3);
    op(SUMMARY, 0x010100, 3);
    op(SUMMARY, 0x010200, 3);
    op(SUMMARY, 0x010404, 3); /* a larger Retain */
    op(SUMMARY, 0x010403, 3);
    op(SUMMARY, 0x010443, 3); /* not sound */
    op(SUMMARY, 0x020000, 3); /* no neighbor */
    op_accept(2, 2, MESH);
    op(SUMMARY, 0x020100, 3);
    op(PASS, 5000, 2);
    write_seed("engine", "summaries");
}

/* Can others dial us? And they ask the same. */
static void seed_reach(void)
{
    put_number(96, 1); /* Advertise says where */
    op_neighbor();
    for (uint8_t n = 0; n < 6; n++) {
        op(REACH, (uint64_t)1 << 16 | (uint64_t)n << 8 | 0x80 | (n == 5), 3);
        op(DIAL_FAILED, (uint64_t)n << 8 | n, 3);
        op(DIALED, (uint64_t)(2 + n) << 8 | 1, 3);
    }
    op(REACH, 0x010680, 3);
    op(DIAL_FAILED, 0x000600, 3); /* cannot be dialed */
    op(REACH, 0x010780, 3);
    op(DIAL_FAILED, 0x000407, 3); /* no room there */
    op_accept(2, 2, MESH);
    op(MEMBERSHIP, 0x020241, 3);
    op(PASS, 3000, 2);
    for (int turn = 0; turn < 12; turn++) {
        /* own address, by two; then the one at which it is seen */
        const uint8_t outcomes[] = {(uint8_t)(2 + turn % 5),
                                    (uint8_t)(2 + turn % 4),
                                    (uint8_t)(1 + turn % 3)};
        if (turn == 4) {
            op(OPERATOR, 2, 1);
            put_text("");
        }
        for (int i = 0; i < 3; i++) {
            uint8_t outcome = turn == 11 ? 1 : outcomes[i];
            op(REACH, (uint64_t)1 << 16 | outcome, 3);
            op(REACH, (uint64_t)2 << 16 | outcome, 3);
            op(PASS, 300, 2);
        }
        for (int i = 0; i < (turn < 2 ? 1 : 16); i++)
            op(PASS, 0x8000 + 200, 2);
    }
    write_seed("engine", "reach");
}

/* ----------------------------------------------- scripts with a twin */

static void op_twin_pass(uint16_t ms)
{
    op(TWIN_PASS, (uint32_t)ms << 8, 3);
}

/* One bit of one byte is another, in that frame and each `every` behind. */
static void op_twin_fault(uint16_t ms, uint16_t frame, uint16_t at,
                          uint8_t every)
{
    op(TWIN_PASS, (uint32_t)ms << 8 | 1u << prng_below(&prng, 8), 3);
    put_number(frame, 2);
    put_number(at, 2);
    put_number(every, 1);
}

/* They have met when it returns; the script speaks of the first. */
static void op_meet(uint8_t flavor)
{
    op(TURN, flavor, 1);
    op(OPERATOR, 0, 1);
    put_text("10.0.0.0:1");
    op(TURN, 0, 1);
    op_twin_pass(5000);
}

/* All links between them are cut for a while. */
static void op_part(void)
{
    for (uint8_t slot = 55; slot < 64; slot++)
        op(DOWN, (uint64_t)slot << 16 | 0x0100, 3);
}

/* Events that either lacks, and a Retain that differs. */
static void seed_twin_events(void)
{
    for (uint8_t small = 0; small < 2; small++) {
        put_number(small ? 5 : 1, 1);
        op_notices(12);
        op(TURN, 1, 1);
        op_notices(12);
        op(TURN, 0, 1);
        op_meet(0);
        for (int turn = 0; turn < 3; turn++) {
            op_part();
            op_notices(5);
            op(TURN, 0, 1);
            op_notices(3);
            op(TURN, 0, 1);
            op_twin_pass(19000);
        }
        op_twin_fault(19000, 60, 40, 7);
        write_seed("engine", small ? "twin_retain" : "twin_events");
    }
}

/* An agent and its aggregator, which loses it. */
static void seed_twin_values(void)
{
    put_number(2, 1);
    op_meet(1);
    for (uint8_t n = 0; n < 12; n++) {
        op(VALUES, (uint64_t)n << 8 | 3, 2);
        put_number(0x01020304u + n * 0x01010101u, 4);
        op_twin_pass(600);
        op(TURN, 0, 1);
        op(TOKENS, 0x00000f, 3); /* seen */
        op(TOKENS, 0x020000, 3);
        op(TURN, 0, 1);
        if (n == 7)
            op_part();
    }
    op_twin_fault(9000, 30, 12, 3);
    op(STOP, 0, 1);
    op_twin_pass(3000);
    write_seed("engine", "twin_values");
}

static void op_bundle(uint32_t flags_name_size)
{
    op(PUSH, 0, 1);
    put_number(flags_name_size, 3);
}

/* Bundles of several chunks, newer ones, and one whose content is nowhere. */
static void seed_twin_bundles(void)
{
    put_number(1, 1);
    op_bundle(0x110040);
    op_bundle(0x010102);
    op_meet(1);
    op_twin_pass(19000);
    op_part();
    op_bundle(0x010103);
    op(TURN, 0, 1);
    op_bundle(0x010004);
    op(PUSH, 1, 1);
    put_number(0x010240, 3);
    op(TURN, 0, 1);
    for (int i = 0; i < 3; i++)
        op_twin_pass(19000);
    op_bundle(0x110150);
    op_twin_fault(19000, 20, 300, 5);
    op_twin_pass(19000);
    write_seed("engine", "twin_bundles");
}

/* Records and reports that one of them was told of, then both. */
static void seed_twin_members(void)
{
    put_number(1, 1);
    op_neighbor();
    for (uint8_t who = 2; who < 9; who++)
        op_record(who, 4, who);
    op_report(1, 2, 2);
    op_report(3, 4, 3);
    op(TURN, 3, 1);
    op_neighbor();
    for (uint8_t who = 5; who < 11; who++)
        op_record(who, 4, 1);
    op(TURN, 0, 1);
    op_meet(1);
    op_twin_pass(19000);
    for (int i = 0; i < 4; i++) {
        op_part();
        op_record(3, 4, (uint8_t)(20 + i));
        op(TURN, 0, 1);
        op_record(4, 4, (uint8_t)(30 + i));
        op(TURN, 0, 1);
        op_twin_fault(19000, (uint16_t)(70 + 9 * i), (uint16_t)(9 * i), 11);
    }
    write_seed("engine", "twin_members");
}

/* Each verb once, by three clients in turn; then in one go, and a follower. */
static void seed_control(void)
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
static void seed_verbs(void)
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

static void seed_conn(void)
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
static void seed_handshakes(void)
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

static void put_row(uint8_t flags, const pb_msgdesc_t *fields, pb_size_t tag)
{
    size_t size = make(fields, tag, false, bytes, sizeof bytes);

    put_number(flags, 1);
    put_part(bytes, size);
}

static void seed_rows(void)
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
static void seed_events(void)
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

static void seed_keys(void)
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
static void seed_key_files(void)
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
static void seed_tables(void)
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

static void seed_orders(void)
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

static void seed_vet(void)
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
static void seed_vet_refusals(void)
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

int main(int argc, char **argv)
{
    static void (*const makers[])(void) = {
        seed_frame,        seed_pair,          seed_engine,
        seed_agent,        seed_aggregator,    seed_bundles,
        seed_members,      seed_control,       seed_conn,
        seed_rows,         seed_keys,          seed_vet,
        seed_orders,       seed_event_answers, seed_event_questions,
        seed_reach,        seed_sums,          seed_summaries,
        seed_events,       seed_twin_events,   seed_twin_values,
        seed_twin_bundles, seed_twin_members,  seed_membership,
        seed_statements,   seed_rules,         seed_bundle_rules,
        seed_key_files,    seed_tables,        seed_verbs,
        seed_vet_refusals, seed_handshakes};

    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    base = argv[1];
    if (mkdir(base, 0755) != 0 && errno != EEXIST) {
        perror(base);
        return 1;
    }
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        prng_seed(&prng, i); /* of its own: the others stay as they are */
        makers[i]();
    }
    return 0;
}
