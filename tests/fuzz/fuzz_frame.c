/* fuzz_frame.c - everything that is decoded before its sender is known: frames
 * of links and of the control socket, what lies packed in them, and the pure
 * judgements behind: Hellos, manifests, targets, addresses; the datagrams of
 * nodes that are alone, and what a name server says of a service.
 *
 * Input: parts, each a kind and its bytes. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <pb_decode.h>

#include "base/srv.h"
#include "base/text.h"
#include "core/actions.h" /* ADDRESS_SIZE */
#include "core/content.h"
#include "core/digest.h"
#include "core/manifest.h"
#include "core/seal.h"
#include "core/target.h"
#include "runtime/hash_tree.h"
#include "wire/beacon.h"
#include "wire/frame.h"
#include "wire/hello.h"

static union {
    argus_Frame frame;
    argus_Request request;
    argus_Reply reply;
    argus_Signed sealed;
    argus_Statement statement;
    argus_SignedBundle bundle;
    argus_NodeRecord record;
} m;

static argus_Manifest manifest;

static bool has_nul(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* ------------------------------------------------------------- judgements */

static void judge_address(const char *address)
{
    char host[ADDRESS_SIZE], port[32], whole[ADDRESS_SIZE + 40];
    char host_again[ADDRESS_SIZE], port_again[32];

    if (!text_split_address(address, host, sizeof host, port, sizeof port))
        return;
    assert(port[0] != '\0' && strchr(host, ' ') == NULL);
    bool fits = text_join_address(whole, sizeof whole, host, port);
    assert(fits);
    bool splits = text_split_address(whole, host_again, sizeof host_again,
                                     port_again, sizeof port_again);
    assert(splits && strcmp(host, host_again) == 0 &&
           strcmp(port, port_again) == 0);
}

static void judge_text(const char *text)
{
    char clean[64];

    text_clean(clean, sizeof clean, text);
    for (const char *p = clean; *p != '\0'; p++)
        assert((unsigned char)*p >= 0x20 && *p != 0x7f);
    text_clean_word(clean, sizeof clean, text);
    assert(strchr(clean, '"') == NULL);
    text_clean(clean, 0, text);
    text_time(clean, sizeof clean, strlen(text) * UINT64_C(123456789012));
    assert(strlen(clean) == 24);
    text_copy(clean, sizeof clean, text);
    text_copy(clean, sizeof clean, NULL);
}

/* As a dialer that expected somebody, as one that did not, and as the side that
 * accepts. The facts of this node lie close to what a seed says. */
static void judge_hello(const argus_Hello *hello)
{
    static const struct hello_facts own = {
        .cluster = "default",
        .id = {{1, 2, 3}},
        .generation = 7,
        .instance = 77,
        .name = "self",
        .address = ":25827",
    };
    const struct node_id expected = {{4, 5, 6}};
    static argus_Hello answer;
    char text[HELLO_TEXT_SIZE], address[ADDRESS_SIZE];

    for (int i = 0; i < 3; i++) {
        argus_RefuseCode code = hello_check(
            &own, hello, i == 2 ? hello->kind : argus_LinkKind_LINK_MESH,
            i == 1 ? &expected : NULL, "192.0.2.1:1", text);
        assert(has_nul(text, sizeof text));
        assert((code == argus_RefuseCode_REFUSE_NONE) == (text[0] == '\0'));
    }
    for (int i = 0; i < 2; i++) { /* with room, and with hardly any */
        if (hello_address(hello, "2001:db8::1", address,
                          i == 0 ? sizeof address : 16))
            judge_address(address);
        else
            assert(address[0] == '\0');
    }
    judge_address(hello->address);
    judge_text(hello->name);
    hello_build(&own, hello->kind, &expected, hello->observed, &answer);
    hello_build(&own, hello->kind, NULL, NULL, &answer);
}

static void judge_target(const char *expression, const char *text)
{
    argus_Tag tag;
    struct argus_error err = {{0}};

    text_copy(tag.key, sizeof tag.key, "os");
    text_copy(tag.value, sizeof tag.value, text);
    const struct target_node node = {
        .name = text, .zone = text, .tags = &tag, .tags_count = 1};
    int rc = target_check(expression, &err);
    bool matches = target_matches(expression, &node);
    assert(rc == ARGUS_OK || (rc == ARGUS_EINVAL && err.text[0] != '\0'));
    assert(rc == ARGUS_OK || !matches);
    if (target_glob(expression, text))
        assert(target_glob("*", text));
}

/* What a digest says can be said again, and means the same. */
static void judge_digest(const uint8_t *data, size_t size, uint64_t started_ms)
{
    static uint8_t again[1 << 16];
    static struct digest_reader one, other;
    struct digest_entry e, same;
    struct digest d;

    digest_begin(&d, "self", started_ms, again, sizeof again);
    digest_open(&one, "self", started_ms, data, size);
    while (digest_next(&one, &e)) {
        size_t before = d.size;
        struct digest_reader at = {.p = d.before, .started_ms = started_ms};
        assert(e.plugin[0] != '\0' && strlen(e.app) < sizeof one.p.app);
        if (!digest_put(&d, &e))
            return; /* no room for so many */
        other = at;
        other.data = again + before;
        other.size = d.size - before;
        assert(digest_next(&other, &same) && other.size == 0);
        assert(strcmp(e.host, same.host) == 0 &&
               strcmp(e.plugin, same.plugin) == 0 &&
               strcmp(e.plugin_instance, same.plugin_instance) == 0 &&
               strcmp(e.app, same.app) == 0);
        assert(digest_rate_code(e.rate) == digest_rate_code(same.rate));
    }
}

static void judge_record(const argus_NodeRecord *record)
{
    judge_digest(record->publishers.bytes, record->publishers.size,
                 record->started_ms);
    (void)target_matches_record("name=*; zone=eu1, tag:os=[a-z]*", record);
    judge_address(record->address);
}

/* A manifest that may exist has what the rest of the code counts on. */
static void judge_bundle(argus_SignedBundle *bundle)
{
    struct argus_error err = {{0}};
    const argus_Manifest *f = &manifest;

    if (manifest_open(bundle, &manifest, &err) != ARGUS_OK) {
        assert(err.text[0] != '\0');
    } else {
        assert(f->version > 0 && f->version < UINT32_MAX);
        assert(f->removed || f->files_count > 0 || f->has_order);
        assert(content_size(f) <= CONTENT_SIZE_MAX);
        assert(content_chunks(f) <= CONTENT_CHUNK_SIZE / CONTENT_HASH_SIZE);
        for (pb_size_t i = 1; i < f->files_count; i++)
            assert(manifest_name_is_sound(f->files[i].name));
        judge_target(f->target, "web-1");
        fuzz_encodes_again(argus_Manifest_fields, &manifest, sizeof manifest,
                           sizeof bundle->manifest.bytes);
    }
    fuzz_encodes_again(argus_SignedBundle_fields, bundle, sizeof *bundle,
                       argus_SignedBundle_size);
}

static void judge_statement(const uint8_t *data, size_t size)
{
    static argus_Statement statement;
    pb_istream_t in = pb_istream_from_buffer(data, size);

    if (!pb_decode(&in, argus_Statement_fields, &statement))
        return;
    if (statement.which_body == argus_Statement_record_tag)
        judge_record(&statement.body.record);
    if (statement.which_body == argus_Statement_bundle_tag)
        judge_bundle(&statement.body.bundle);
    fuzz_encodes_again(argus_Statement_fields, &statement, sizeof statement,
                       1 << 17);
}

/* A path leads to one root, and only a leaf and a place of that tree do. */
static void judge_path(const argus_Signed *sealed)
{
    uint8_t leaf[HASH_TREE_HASH], root[HASH_TREE_HASH], other[HASH_TREE_HASH];
    const uint8_t *path = sealed->path.bytes;
    size_t size = sealed->path.size;

    hash_tree_leaf(sealed->statement.bytes, sealed->statement.size, leaf);
    if (!hash_tree_climb(leaf, path, size, sealed->place, root)) {
        assert(size % HASH_TREE_HASH != 0 ||
               sealed->place >= 1u << size / HASH_TREE_HASH);
        return;
    }
    if (size == 0) {
        assert(sealed->place == 0 && memcmp(root, leaf, sizeof root) == 0);
        return;
    }
    bool is_path = hash_tree_climb(leaf, path, size, sealed->place ^ 1, other);
    assert(is_path && memcmp(root, other, sizeof root) != 0);
    leaf[0] ^= 1;
    is_path = hash_tree_climb(leaf, path, size, sealed->place, other);
    assert(is_path && memcmp(root, other, sizeof root) != 0);
}

static void judge_sealed(const uint8_t *data, size_t size)
{
    static argus_Signed sealed;
    pb_istream_t in = pb_istream_from_buffer(data, size);

    if (!pb_decode(&in, argus_Signed_fields, &sealed))
        return;
    judge_path(&sealed);
    judge_statement(sealed.statement.bytes, sealed.statement.size);
    fuzz_encodes_again(argus_Signed_fields, &sealed, sizeof sealed,
                       SEALED_SIZE_MAX);
}

/* --------------------------------------------------------------- decoders */

static void judge_frame(argus_Frame *frame)
{
    switch (frame->which_body) {
    case argus_Frame_hello_tag: judge_hello(&frame->body.hello); break;
    case argus_Frame_refuse_tag: judge_text(frame->body.refuse.text); break;
    case argus_Frame_gossip_tag:
        judge_sealed(frame->body.gossip.payload.bytes,
                     frame->body.gossip.payload.size);
        break;
    case argus_Frame_items_tag:
        for (pb_size_t i = 0; i < frame->body.items.payloads_count; i++)
            judge_sealed(frame->body.items.payloads[i].bytes,
                         frame->body.items.payloads[i].size);
        break;
    case argus_Frame_bundle_items_tag:
        for (pb_size_t i = 0; i < frame->body.bundle_items.bundles_count; i++)
            judge_bundle(&frame->body.bundle_items.bundles[i]);
        break;
    case argus_Frame_batch_tag:
        assert(frame->body.batch.series_count ==
               frame->body.batch.time_step_count);
        break;
    default: break;
    }
}

static void try_frame(const uint8_t *data, size_t size)
{
    struct argus_error err = {{0}};

    if (frame_decode(data, size, &m.frame, &err) != ARGUS_OK) {
        assert(err.text[0] != '\0');
        return;
    }
    assert(m.frame.which_body != 0);
    judge_frame(&m.frame);
    fuzz_encodes_again(argus_Frame_fields, &m.frame, sizeof m.frame,
                       FRAME_BODY_MAX);
}

static void try_request(const uint8_t *data, size_t size)
{
    struct argus_error err = {{0}};

    if (request_decode(data, size, &m.request, &err) != ARGUS_OK) {
        assert(err.text[0] != '\0');
        return;
    }
    assert(m.request.which_body != 0);
    fuzz_encodes_again(argus_Request_fields, &m.request, sizeof m.request,
                       FRAME_BODY_MAX);
}

static void try_reply(const uint8_t *data, size_t size)
{
    struct argus_error err = {{0}};

    if (reply_decode(data, size, &m.reply, &err) != ARGUS_OK) {
        assert(err.text[0] != '\0');
        return;
    }
    assert(m.reply.which_body != 0);
    fuzz_encodes_again(argus_Reply_fields, &m.reply, sizeof m.reply,
                       FRAME_BODY_MAX);
}

/* A stretch of a stream: whole frames, as a link takes them. The length is
 * believed only within the bound; room for a frame is bounded likewise. */
static void try_stream(const uint8_t *data, size_t size)
{
    static uint8_t again[FRAME_HEADER_SIZE + FRAME_BODY_MAX];
    struct argus_error err = {{0}};

    while (size >= FRAME_HEADER_SIZE) {
        int length = frame_length(data, FRAME_HELLO_MAX, &err);
        if (length < 0) {
            assert(err.text[0] != '\0');
            return;
        }
        assert(length <= FRAME_HELLO_MAX);
        data += FRAME_HEADER_SIZE;
        size -= FRAME_HEADER_SIZE;
        if ((size_t)length > size)
            return;
        if (frame_decode(data, (size_t)length, &m.frame, &err) == ARGUS_OK) {
            int whole = frame_encode(argus_Frame_fields, &m.frame, again,
                                     sizeof again, &err);
            assert(whole > 0 &&
                   frame_length(again, FRAME_BODY_MAX, &err) + 4 == whole);
            assert(frame_encode(argus_Frame_fields, &m.frame, again,
                                (size_t)whole - 1, &err) == ARGUS_EFULL);
            assert(frame_encode(argus_Frame_fields, &m.frame, again, 3, &err) ==
                   ARGUS_EFULL);
        }
        data += length;
        size -= (size_t)length;
    }
}

static void try_manifest(const uint8_t *data, size_t size)
{
    if (size > sizeof m.bundle.manifest.bytes)
        return;
    memset(&m.bundle, 0, sizeof m.bundle);
    memcpy(m.bundle.manifest.bytes, data, size);
    m.bundle.manifest.size = (pb_size_t)size;
    judge_bundle(&m.bundle);
}

static void try_texts(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    char one[600], other[128];

    fuzz_text(&in, one, sizeof one);
    fuzz_text(&in, other, sizeof other);
    judge_target(one, other);
    judge_address(one);
    judge_text(one);
    (void)manifest_name_is_sound(one);
}

/* A MAC that whoever looks for mistakes can make: the first byte of the key. */
static bool easy_mac(void *context, const uint8_t key[BEACON_KEY_SIZE],
                     const uint8_t *data, size_t size,
                     uint8_t out[BEACON_MAC_SIZE])
{
    (void)context;
    (void)data;
    assert(size <= BEACON_SIZE_MAX);
    memset(out, key[0], BEACON_MAC_SIZE);
    return key[0] != 0;
}

static void try_beacon(const uint8_t *data, size_t size)
{
    static const uint8_t key[BEACON_KEY_SIZE] = {7};
    const struct beacon_keys rings[] = {{.key = key, .mac = easy_mac},
                                        {.mac = easy_mac}};
    uint8_t again[BEACON_SIZE_MAX];
    argus_BeaconBody body, same;

    for (int i = 0; i < 2; i++) {
        if (beacon_decode(data, size, &rings[i], &body) != BEACON_OK)
            continue;
        assert(body.port > 0 && body.port <= 65535);
        assert(body.ip.size == 4 || body.ip.size == 16);
        size_t whole = beacon_encode(&body, &rings[i], again);
        assert(whole > 0 &&
               beacon_decode(again, whole, &rings[i], &same) == BEACON_OK);
        assert(same.port == body.port && same.time_ms == body.time_ms);
        assert(beacon_decode(again, whole, &rings[!i], &same) == BEACON_FORGED);
    }
}

static uint32_t draw_last(void *context, uint32_t bound)
{
    (void)context;
    return bound - 1;
}

static void try_digest(const uint8_t *data, size_t size)
{
    judge_digest(data, size, 1700000000000);
}

/* What a name server says. */
static void try_services(const uint8_t *data, size_t size)
{
    static struct dns_services s;

    if (!dns_parse_services(data, size, &s))
        return;
    assert(s.count > 0 && s.count <= DNS_SERVICES_MAX);
    dns_order_services(&s, draw_last, NULL);
    for (unsigned i = 0; i < s.count; i++) {
        assert(s.list[i].port > 0 && has_nul(s.list[i].target, 256));
        assert(i == 0 || s.list[i - 1].priority <= s.list[i].priority);
        judge_text(s.list[i].target);
    }
}

FUZZ_TARGET(frame)
{
    static void (*const tries[])(const uint8_t *, size_t) = {
        try_frame,    try_request,  try_reply,       try_stream,
        try_manifest, judge_sealed, judge_statement, try_texts,
        try_beacon,   try_services, try_digest,
    };
    struct fuzz_input in = {data, size};

    fuzz_quiet();
    for (int parts = 0; in.size > 0 && parts < 64; parts++) {
        uint8_t kind = fuzz_u8(&in);
        struct fuzz_input part = fuzz_part(&in);
        /* At the end of its own memory, so that a read beyond is seen. */
        uint8_t *copy = malloc(part.size + 1);
        if (copy == NULL)
            abort();
        memcpy(copy + 1, part.data, part.size);
        tries[kind % (sizeof tries / sizeof tries[0])](copy + 1, part.size);
        free(copy);
    }
    return 0;
}
