/* fuzz_engine.c - scripts of events into a real engine, as links, disk,
 * collectd and operators bring them. What the world asserts: fuzz_world.h.
 *
 * Input: a byte of flavor, then operations, each a byte and its arguments. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include <pb_decode.h>

#include "base/text.h"
#include "fuzz_twin.h"
#include "sim/bundle_kit.h"
#include "wire/frame.h"

#define OPERATIONS_MAX 400
#define TWIN_PASS_MAX_MS 20000

/* The node, its twin if the script wants one, and of which it speaks. */
static struct world worlds[2], *w;
static argus_Frame frame;
static argus_Statement statement;

static enum link_end end_of(uint8_t n)
{
    return (enum link_end)(n % (LINK_END_LOCAL + 1));
}

static argus_LinkKind kind_of(uint8_t n)
{
    return (argus_LinkKind)(argus_LinkKind_LINK_MESH +
                            n % argus_LinkKind_LINK_BUNDLE);
}

static const char *bundle_name(uint8_t n)
{
    static const char *const names[] = {"web", "base", "a", "z.9_-"};
    return names[n % 4];
}

/* ----------------------------------------------------------------- links */

static void op_pass(struct fuzz_input *in)
{
    uint32_t ms = fuzz_u16(in);

    world_pass(w, ms < 0x8000 ? ms : (ms - 0x8000) * 100);
}

/* Nobody but a probe gets through its Hello with our own id. */
static void op_accept(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), who = fuzz_u8(in), kind = fuzz_u8(in);

    if (who != w->who || kind_of(kind) == argus_LinkKind_LINK_PROBE)
        world_link_up(w, slot, who, kind_of(kind), 0);
}

/* The dial gets through: to whom it was meant for, or to anyone. */
static void op_dialed(struct fuzz_input *in)
{
    struct world_dial *d = &w->dials[fuzz_u8(in) % WORLD_DIALS];
    uint8_t slot = fuzz_u8(in), who = fuzz_u8(in);

    for (uint32_t i = 0; d->id == 0 && i < WORLD_DIALS; i++)
        d = &w->dials[i];
    if (d->id == 0 || w->links[slot % WORLD_LINKS].id != 0)
        return;
    if (d->has_expected)
        who = d->expected.bytes[15];
    struct node_id id = world_id(who);
    if ((d->has_expected && !node_id_is_equal(&d->expected, &id)) ||
        (who == w->who && d->kind != argus_LinkKind_LINK_PROBE))
        return;
    dial_id dial = d->id;
    d->id = 0;
    world_link_up(w, slot, who, d->kind, dial);
}

static void op_dial_failed(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), why = fuzz_u8(in), code = fuzz_u8(in);

    world_dial_failed(w, slot, end_of(why), (argus_RefuseCode)(code % 16));
}

static void op_down(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), why = fuzz_u8(in), code = fuzz_u8(in);

    world_link_down(w, slot, end_of(why), (argus_RefuseCode)(code % 16));
}

static void op_frame(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in);
    struct fuzz_input part = fuzz_part(in);

    if (frame_decode(part.data, part.size, &frame, NULL) == ARGUS_OK)
        world_frame(w, slot, &frame);
}

static void op_drained(struct fuzz_input *in)
{
    struct event ev = {.type = EVENT_LINK_DRAINED};

    ev.drained = w->links[fuzz_u8(in) % WORLD_LINKS].id;
    if (ev.drained != 0)
        world_step(w, &ev);
}

static void op_membership(struct fuzz_input *in)
{
    static const pb_size_t tags[] = {
        argus_Frame_join_tag,         argus_Frame_forward_join_tag,
        argus_Frame_neighbor_tag,     argus_Frame_neighbor_reply_tag,
        argus_Frame_disconnect_tag,   argus_Frame_shuffle_tag,
        argus_Frame_shuffle_reply_tag};
    uint8_t slot = fuzz_u8(in), who = fuzz_u8(in), flags = fuzz_u8(in);
    struct node_id id = world_id(who);
    argus_Peer peer = {.generation = flags};

    memcpy(peer.id, id.bytes, NODE_ID_SIZE);
    (void)snprintf(peer.address, sizeof peer.address, "10.0.0.%u:1", who);
    memset(&frame, 0, sizeof frame);
    frame.which_body = tags[flags % 7];
    switch (frame.which_body) {
    case argus_Frame_forward_join_tag:
        frame.body.forward_join.has_joiner = (flags & 64) == 0;
        frame.body.forward_join.joiner = peer;
        frame.body.forward_join.ttl = flags >> 4;
        break;
    case argus_Frame_neighbor_tag:
        frame.body.neighbor.high = (flags & 64) != 0;
        break;
    case argus_Frame_neighbor_reply_tag:
        frame.body.neighbor_reply.accepted = (flags & 64) != 0;
        frame.body.neighbor_reply.peers_count = 1;
        frame.body.neighbor_reply.peers[0] = peer;
        break;
    case argus_Frame_disconnect_tag:
        frame.body.disconnect.leaving = (flags & 64) != 0;
        frame.body.disconnect.has_instead = (flags & 128) != 0;
        frame.body.disconnect.instead = peer;
        break;
    case argus_Frame_shuffle_tag:
        frame.body.shuffle.has_origin = true;
        frame.body.shuffle.origin = peer;
        frame.body.shuffle.ttl = flags >> 4;
        frame.body.shuffle.peers_count = 1;
        frame.body.shuffle.peers[0] = peer;
        break;
    case argus_Frame_shuffle_reply_tag:
        frame.body.shuffle_reply.peers_count = 1;
        frame.body.shuffle_reply.peers[0] = peer;
        break;
    default: break;
    }
    world_frame(w, slot, &frame);
}

/* What the tree is made of; of a broadcast that is here, or is not. */
static void op_tree(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), what = fuzz_u8(in), n = fuzz_u8(in);
    uint8_t id[CONTENT_ID_SIZE] = {n};

    memset(&frame, 0, sizeof frame);
    if ((n & 3) == 3)
        memcpy(id, w->announced, sizeof id);
    switch (what % 4) {
    case 0: frame.which_body = argus_Frame_prune_tag; break;
    case 1: frame.which_body = argus_Frame_gossip_tag; break; /* of nothing */
    case 2:
        frame.which_body = argus_Frame_graft_tag;
        frame.body.graft.id.size = n & 4 ? 5 : n == 0 ? 0 : sizeof id;
        memcpy(frame.body.graft.id.bytes, id, sizeof id);
        break;
    default:
        frame.which_body = argus_Frame_ihave_tag;
        frame.body.ihave.announced_count = 1;
        memcpy(frame.body.ihave.announced[0].id, id, sizeof id);
    }
    world_frame(w, slot, &frame);
}

/* ------------------------------------------------------------ statements */

static void fill_record(struct fuzz_input *in, argus_NodeRecord *r, uint8_t who)
{
    uint8_t flags = fuzz_u8(in);

    r->generation = fuzz_u8(in);
    r->version = fuzz_u8(in);
    (void)snprintf(r->name, sizeof r->name, "n%u", who);
    (void)snprintf(r->address, sizeof r->address, "10.0.0.%u:1", who);
    (void)snprintf(r->zone, sizeof r->zone, flags & 1 ? "eu/1" : "eu/2");
    r->role = flags & 2 ? argus_Role_ROLE_AGGREGATOR : argus_Role_ROLE_AGENT;
    r->weight = flags & 4 ? 1 : (float)fuzz_u8(in) / 16;
    r->instance = flags & 8 ? 77 : who;
    r->left = (flags & 16) != 0;
    r->hlc = (w->wall_us / 1000) << 16;
    r->started_ms = w->wall_us / 1000 + fuzz_u32(in);
    if ((flags & 32) != 0) {
        r->bundles_count = 1;
        text_copy(r->bundles[0].name, sizeof r->bundles[0].name,
                  bundle_name(flags >> 6));
        r->bundles[0].desired = r->bundles[0].running = 1;
        r->bundles[0].phase = argus_BundlePhase_BUNDLE_APPLIED;
    }
    if ((flags & 64) != 0)
        r->keys_count = 1;
}

static void fill_report(struct fuzz_input *in, argus_Report *r)
{
    struct node_id subject = world_id(fuzz_u8(in));
    uint8_t flags = fuzz_u8(in);

    memcpy(r->subject, subject.bytes, NODE_ID_SIZE);
    r->generation = fuzz_u8(in);
    r->version = fuzz_u8(in);
    r->state = (argus_MemberState)(flags % 6);
    r->hlc = ((w->wall_us / 1000) << 16) + flags;
    text_copy(r->reason, sizeof r->reason, "reset");
}

static void fill_event(struct fuzz_input *in, argus_Event *e)
{
    uint8_t flags = fuzz_u8(in);

    e->generation = flags >> 4;
    e->number = fuzz_u8(in);
    e->hlc = ((w->wall_us / 1000 + fuzz_u8(in)) << 16) + (flags & 3);
    e->severity = (argus_Severity)(flags % 5);
    text_copy(e->node, sizeof e->node, "n1");
    fuzz_text(in, e->message, sizeof e->message);
}

/* @return false: not even a statement. */
static bool fill_statement(struct fuzz_input *in, uint8_t who)
{
    struct fuzz_input part;
    pb_istream_t stream;

    memset(&statement, 0, sizeof statement);
    switch (fuzz_u8(in) % 5) {
    case 0:
        statement.which_body = argus_Statement_record_tag;
        fill_record(in, &statement.body.record, who);
        return true;
    case 1:
        statement.which_body = argus_Statement_report_tag;
        fill_report(in, &statement.body.report);
        return true;
    case 2:
        statement.which_body = argus_Statement_event_tag;
        fill_event(in, &statement.body.event);
        return true;
    case 3: {
        const struct kit_spec spec = {.operator_number = 1 + who % 3,
                                      .name = bundle_name(fuzz_u8(in)),
                                      .version = 1,
                                      .size = fuzz_u8(in),
                                      .seed = fuzz_u8(in)};
        statement.which_body = argus_Statement_bundle_tag;
        kit_make(&spec, NULL, &statement.body.bundle);
        return true;
    }
    default:
        part = fuzz_part(in);
        stream = pb_istream_from_buffer(part.data, part.size);
        return pb_decode(&stream, argus_Statement_fields, &statement);
    }
}

/* Somebody passes on what somebody stated: by broadcast, or in a session. */
static void op_statement(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), who = fuzz_u8(in), flags = fuzz_u8(in);
    struct node_id author = world_id(who);
    uint8_t packed[SEALED_SIZE_MAX];

    if (!fill_statement(in, who))
        return;
    size_t size = world_seal(&author, &statement, packed);
    if (size == 0)
        return;
    packed[0] ^= flags & 8; /* damaged */
    memset(&frame, 0, sizeof frame);
    frame.hlc = flags & 1 ? (w->wall_us / 1000) << 16 : 0;
    if ((flags & 2) != 0) {
        argus_Items *items = &frame.body.items;
        frame.which_body = argus_Frame_items_tag;
        items->payloads_count = 1;
        items->payloads[0].size = (pb_size_t)size;
        memcpy(items->payloads[0].bytes, packed, size);
    } else {
        argus_Gossip *g = &frame.body.gossip;
        frame.which_body = argus_Frame_gossip_tag;
        g->round = flags >> 4;
        g->survey = (flags & 4) != 0;
        g->payload.size = (pb_size_t)size;
        memcpy(g->payload.bytes, packed, size);
    }
    world_frame(w, slot, &frame);
}

/* -------------------------------------------------------------- sessions */

static void op_digest(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), flags = fuzz_u8(in), count = fuzz_u8(in);

    memset(&frame, 0, sizeof frame);
    if ((flags & 1) != 0) {
        argus_Want *want = &frame.body.want;
        frame.which_body = argus_Frame_want_tag;
        want->ids_count = count % 8;
        for (pb_size_t i = 0; i < want->ids_count; i++) {
            struct node_id id = world_id(fuzz_u8(in));
            memcpy(want->ids[i], id.bytes, NODE_ID_SIZE);
        }
        want->last = (flags & 2) != 0;
        memset(want->to, 0xff, sizeof want->to);
    } else {
        argus_Digest *d = &frame.body.digest;
        frame.which_body = argus_Frame_digest_tag;
        memset(d->to, 0xff, sizeof d->to);
        d->entries_count = count % 8;
        for (pb_size_t i = 0; i < d->entries_count; i++) {
            struct node_id id = world_id(fuzz_u8(in));
            memcpy(d->entries[i].id, id.bytes, NODE_ID_SIZE);
            d->entries[i].generation = fuzz_u8(in);
            d->entries[i].version = 1;
        }
        d->last = (flags & 2) != 0;
    }
    world_frame(w, slot, &frame);
}

/* Of what is kept: of all, or of ranges; the same as here, or something else.
 */
static void op_sums(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), count = fuzz_u8(in), flags = fuzz_u8(in);
    argus_Sums *s = &frame.body.sums;

    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_sums_tag;
    s->sums_count = (pb_size_t)((flags & 2) != 0 ? count : 1 << count % 9);
    for (pb_size_t i = 0; i < s->sums_count; i++)
        s->sums[i] = (flags & 4) != 0 ? 0 : i + flags;
    if ((flags & 1) != 0)
        s->sums[0] = w->sum;
    world_frame(w, slot, &frame);
}

/* Of what a node with one of these keeps: ours is 100, or 8. */
static uint32_t retain_of(uint8_t n)
{
    static const uint32_t retains[] = {0, 1, 8, 100, 200};
    return retains[n % 5];
}

/* The beginning, a moment of late, one within it, or no place at all. */
static argus_EventPlace place_of(uint8_t n)
{
    argus_EventPlace place = {.number = n % 3};

    if (n != 0)
        place.hlc = ((w->wall_us / 1000) << 16) - n;
    place.origin.size = n == 255 ? 3 : n == 254 ? NODE_ID_SIZE : 0;
    return place;
}

/* Of ranges that are empty first, or last. */
static void fill_event_digest(argus_EventDigest *d, uint8_t n)
{
    bool is_full_first = (n & 8) != 0;

    d->retain = retain_of(n & 15);
    d->has_from = (n & 64) == 0;
    d->from = place_of(is_full_first ? 254 : 0);
    d->ranges_count = 1 + (n >> 4 & 3);
    for (pb_size_t i = 0; i < d->ranges_count; i++) {
        bool is_last = i + 1 == d->ranges_count;
        d->ranges[i].count = is_full_first ? d->ranges_count - 1u - i : i;
        d->ranges[i].has_to = is_last == ((n & 128) != 0);
        d->ranges[i].to = place_of((uint8_t)(200 - i));
    }
}

static void fill_event_keys(argus_EventKeys *k, uint8_t n)
{
    k->retain = retain_of(n & 15);
    k->same = (n & 16) != 0;
    k->has_from = (n & 64) == 0;
    k->from = place_of(n & 32 ? 255 : 0);
    k->has_to = (n & 128) != 0;
    k->to = place_of(n & 32 ? 0 : 1);
    k->keys_count = 3;
    k->keys[0] = w->event_key;
    k->keys[1] = k->keys[2] = n;
}

/* The part of a session that is about events; see event_sync.h. */
static void op_event_session(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), what = fuzz_u8(in), n = fuzz_u8(in);
    struct node_id author = world_id(1 + n % 8);

    memset(&frame, 0, sizeof frame);
    switch (what % 4) {
    case 0:
        frame.which_body = argus_Frame_event_digest_tag;
        fill_event_digest(&frame.body.event_digest, n);
        break;
    case 1:
        frame.which_body = argus_Frame_event_keys_tag;
        fill_event_keys(&frame.body.event_keys, n);
        break;
    case 2:
        frame.which_body = argus_Frame_event_want_tag;
        frame.body.event_want.keys_count = n % 8;
        frame.body.event_want.keys[0] = w->event_key;
        break;
    default: {
        argus_Items *items = &frame.body.event_items;
        frame.which_body = argus_Frame_event_items_tag;
        items->last = (n & 8) != 0;
        items->payloads_count = 1 + n % 2;
        memset(&statement, 0, sizeof statement);
        statement.which_body = argus_Statement_event_tag;
        fill_event(in, &statement.body.event);
        for (pb_size_t i = 0; i < items->payloads_count; i++)
            items->payloads[i].size = (pb_size_t)world_seal(
                &author, &statement, items->payloads[i].bytes);
    }
    }
    world_frame(w, slot, &frame);
}

/* What a neighbor keeps: as this node said of itself, or something else. */
static void op_summary(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), flags = fuzz_u8(in), n = fuzz_u8(in);
    argus_Summary *s = &frame.body.summary;

    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_summary_tag;
    *s = w->summary;
    if ((flags & 1) != 0)
        s->records++;
    if ((flags & 2) != 0)
        s->bundles++;
    if ((flags & 4) != 0) {
        s->has_events = true;
        memset(&s->events, 0, sizeof s->events);
        fill_event_digest(&s->events, n);
    }
    world_frame(w, slot, &frame);
}

/* Can I be dialed, somebody asks; or answers what was asked, number 0: whoever
 * was asked last. */
static void op_reach(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), number = fuzz_u8(in), what = fuzz_u8(in);

    memset(&frame, 0, sizeof frame);
    if ((what & 128) != 0) {
        argus_AddressCheck *check = &frame.body.address_check;
        frame.which_body = argus_Frame_address_check_tag;
        check->number = number;
        (void)snprintf(check->address, sizeof check->address, "%s:1",
                       what & 1 ? "" : "10.0.0.1");
    } else {
        frame.which_body = argus_Frame_address_result_tag;
        frame.body.address_result.number = number == 0 ? w->check : number;
        slot = number == 0 ? (uint8_t)w->check_slot : slot;
        frame.body.address_result.outcome = (argus_AddressOutcome)(what % 8);
    }
    world_frame(w, slot, &frame);
}

/* A bundle whose content is at hand somewhere: here (a push), or with whoever
 * offers it. */
static void make_bundle(struct fuzz_input *in, bool here,
                        argus_SignedBundle *out)
{
    uint8_t flags = fuzz_u8(in), name = fuzz_u8(in);
    struct bundle_view head;
    struct kit_spec spec = {.operator_number = 1 + (flags & 3),
                            .name = bundle_name(name),
                            .version = 1,
                            .target = flags & 4 ? "name=self" : NULL,
                            .size = flags & 8 ? 0 : 1 + fuzz_u8(in) * 300u,
                            .file_size = flags & 16 ? 40000 : 0,
                            .seed = flags >> 5};

    if (engine_bundle_version(w->engine, spec.name, 0, w->wall_us, &head) &&
        head.manifest->version < UINT32_MAX - 1) {
        spec.version = head.manifest->version + 1;
        spec.before = head.hash;
    }
    if ((flags & 0x60) == 0x60)
        spec.expires_ms = w->wall_us / 1000 + 1000;
    kit_make(&spec, here ? w->chunks : NULL, out);
}

static void op_push(struct fuzz_input *in)
{
    static argus_SignedBundle bundle;
    struct argus_error err = {{0}};
    int result = 1;
    bool is_here = (fuzz_u8(in) & 1) == 0;
    struct event ev = {
        .type = EVENT_BUNDLE_PUSH,
        .bundle_push = {.bundle = &bundle, .result = &result, .err = &err}};

    make_bundle(in, is_here, &bundle);
    world_step(w, &ev);
    assert(result == ARGUS_OK || (result < 0 && err.text[0] != '\0'));
}

static void op_bundle_items(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in);

    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_bundle_items_tag;
    frame.body.bundle_items.bundles_count = 1;
    make_bundle(in, false, &frame.body.bundle_items.bundles[0]);
    if ((slot & 128) != 0)
        frame.body.bundle_items.bundles[0].signature[0] =
            0xff; /* a wrong one */
    world_frame(w, slot, &frame);
}

static void op_bundle_session(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), what = fuzz_u8(in), n = fuzz_u8(in);
    struct bundle_view view;
    bool is_known = engine_bundle(w->engine, n % 4, w->wall_us, &view);

    memset(&frame, 0, sizeof frame);
    switch (what % 4) {
    case 0: {
        argus_BundleDigest *d = &frame.body.bundle_digest;
        frame.which_body = argus_Frame_bundle_digest_tag;
        d->entries_count = n & 3;
        for (pb_size_t i = 0; i < d->entries_count; i++) {
            d->entries[i].slot[0] = (uint8_t)(i + (n >> 4));
            d->entries[i].version = n & 4 ? 0 : 1;
        }
        break;
    }
    case 1:
        frame.which_body = argus_Frame_bundle_want_tag;
        frame.body.bundle_want.slots_count = what >> 7;
        break;
    case 2:
        frame.which_body = argus_Frame_chunk_want_tag;
        if (is_known && view.manifest->index.size == CONTENT_HASH_SIZE)
            memcpy(frame.body.chunk_want.hash, view.manifest->index.bytes,
                   CONTENT_HASH_SIZE);
        break;
    default: {
        struct fuzz_input part = fuzz_part(in);
        argus_Chunk *chunk = &frame.body.chunk;
        frame.which_body = argus_Frame_chunk_tag;
        chunk->data.size = (pb_size_t)(part.size % sizeof chunk->data.bytes);
        if (part.size > 0)
            memcpy(chunk->data.bytes, part.data, chunk->data.size);
        if (is_known && view.manifest->index.size == CONTENT_HASH_SIZE)
            memcpy(chunk->hash, view.manifest->index.bytes, CONTENT_HASH_SIZE);
        else
            kit_digest(chunk->data.bytes, chunk->data.size, chunk->hash);
    }
    }
    world_frame(w, slot, &frame);
}

/* ---------------------------------------------------------------- values */

static void op_values(struct fuzz_input *in)
{
    uint8_t n = fuzz_u8(in), count = fuzz_u8(in);
    struct value_input values[8];
    uint64_t numbers[8] = {n};
    char host[8];

    (void)snprintf(host, sizeof host, "h%u", n % 4u);
    count = (uint8_t)(1 + count % 8);
    for (uint32_t i = 0; i < count; i++)
        values[i] = (struct value_input){
            .host = host,
            .plugin = i % 2 ? "cpu" : "df",
            .plugin_instance = "",
            .type = "gauge",
            .type_instance = "",
            .set = w,
            .time = (w->wall_us / 1000000 + fuzz_u8(in)) << 30,
            .interval = (uint64_t)1 << 30,
            .numbers = &numbers[i],
            .count = 1};
    struct event ev = {.type = EVENT_VALUES, .values = {values, count}};
    world_step(w, &ev);
}

static void op_ack(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in);

    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_ack_tag;
    frame.body.ack.batch = fuzz_u8(in);
    frame.body.ack.window = fuzz_u16(in);
    world_frame(w, slot, &frame);
}

static void op_series(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), flags = fuzz_u8(in);
    argus_SeriesDefs *defs = &frame.body.series_defs;

    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_series_defs_tag;
    defs->series_count = 1 + flags % 4;
    for (pb_size_t i = 0; i < defs->series_count; i++) {
        argus_SeriesDef *d = &defs->series[i];
        d->index = fuzz_u8(in);
        (void)snprintf(d->host, sizeof d->host, "h%u", flags >> 6);
        text_copy(d->plugin, sizeof d->plugin, "cpu");
        (void)snprintf(d->type, sizeof d->type, "t%u", d->index % 8);
        d->interval = (uint64_t)10 << 30;
        d->sources_count = 1 + (flags >> 4) % 3;
        for (pb_size_t k = 0; k < d->sources_count; k++)
            d->sources[k].type = (argus_SourceType)((flags >> 3) % 5);
    }
    world_frame(w, slot, &frame);
}

static void op_batch(struct fuzz_input *in)
{
    uint8_t slot = fuzz_u8(in), count = fuzz_u8(in), numbers = fuzz_u8(in);
    argus_Batch *b = &frame.body.batch;

    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_batch_tag;
    b->number = fuzz_u8(in);
    b->first_number = ((uint64_t)fuzz_u8(in) << 40) + fuzz_u8(in);
    b->first_time = (w->wall_us / 1000000) << 30;
    b->series_count = b->number_step_count = b->time_step_count = count % 16;
    for (pb_size_t i = 0; i < b->series_count; i++) {
        b->series[i] = fuzz_u8(in);
        b->number_step[i] = 1;
        b->time_step[i] = (int8_t)fuzz_u8(in);
    }
    b->gauges_count = numbers >> 4;
    b->integers_count = numbers & 15;
    world_frame(w, slot, &frame);
}

static void op_tokens(struct fuzz_input *in)
{
    uint8_t what = fuzz_u8(in), from = fuzz_u8(in), count = fuzz_u8(in);
    uint64_t tokens[16];
    struct event ev = {.type = what % 3 == 0 ? EVENT_SEEN : EVENT_PASSED,
                       .seen = {tokens, 0}};

    if (what % 3 == 2) {
        ev = (struct event){.type = EVENT_PROGRESS,
                            .progress = w->last_token - from % 4u};
        if (w->last_token >= 4)
            world_step(w, &ev);
        return;
    }
    for (uint32_t i = from; ev.seen.count < 1u + count % 16 && i < 512u; i++)
        if (w->tokens[i] != 0) {
            tokens[ev.seen.count++] = w->tokens[i];
            w->tokens[i] = 0;
        }
    world_step(w, &ev);
}

/* ----------------------------------------------------------------- others */

static void op_notice(struct fuzz_input *in)
{
    static argus_Event event;
    uint64_t hlc, number;
    struct event ev = {
        .type = EVENT_NOTICE,
        .notice = {.event = &event, .hlc = &hlc, .number = &number}};

    memset(&event, 0, sizeof event);
    ev.notice.always = (fuzz_u8(in) & 1) != 0;
    event.severity = argus_Severity_SEVERITY_WARNING;
    fuzz_text(in, event.message, sizeof event.message);
    world_step(w, &ev);
}

static void op_operator(struct fuzz_input *in)
{
    char text[200];
    int result = 1;
    struct event join = {.type = EVENT_JOIN, .join = {text, &result}};
    struct event leave = {.type = EVENT_LEAVE};
    struct event observed = {.type = EVENT_OBSERVED, .observed = text};
    uint8_t what = fuzz_u8(in);

    fuzz_text(in, text, ADDRESS_SIZE);
    struct event call = {
        .type = EVENT_CALL,
        .call = {{{what, what}}, (argus_Role)(what & 1), text}};
    switch (what % 5) {
    case 0: world_step(w, &join); break;
    case 1: world_step(w, &leave); break;
    case 4: world_step(w, &call); break;
    case 2:
        (void)snprintf(text, sizeof text, "192.0.2.%u", what);
        world_step(w, &observed);
        break;
    default: world_ask(w, text); break;
    }
}

static void op_states(struct fuzz_input *in)
{
    argus_BundleState states[2];
    uint8_t hashes[2][CONTENT_HASH_SIZE] = {{0}};
    uint8_t flags = fuzz_u8(in);
    struct event told = {.type = EVENT_BUNDLE_STATES,
                         .bundle_states = {states, 1 + (flags & 1)}};
    struct event kept = {
        .type = EVENT_BUNDLES_KEPT,
        .bundles_kept = {(const uint8_t(*)[CONTENT_HASH_SIZE])hashes, 1}};
    struct bundle_view view;

    memset(states, 0, sizeof states);
    for (int i = 0; i < 2; i++) {
        text_copy(states[i].name, sizeof states[i].name,
                  bundle_name((uint8_t)(flags + i)));
        states[i].desired = states[i].running = 1;
        states[i].phase = (argus_BundlePhase)(1 + flags % 6);
        fuzz_text(in, states[i].error, sizeof states[i].error);
    }
    if (engine_bundle(w->engine, flags % 4, w->wall_us, &view))
        memcpy(hashes[0], view.hash, CONTENT_HASH_SIZE);
    world_step(w, &told);
    world_step(w, &kept);
}

static void op_stop(struct fuzz_input *in)
{
    struct event stop = {.type = EVENT_STOP};

    if ((fuzz_u8(in) & 7) == 0)
        world_step(w, &stop);
}

/* ------------------------------------------------------------- the twin */

static void need_twin(uint8_t flavor)
{
    if (worlds[0].other == NULL)
        twin_open(&worlds[1], &worlds[0], flavor);
}

/* From here on the script speaks of the other one. */
static void op_turn(struct fuzz_input *in)
{
    need_twin(fuzz_u8(in));
    w = w->other;
}

static void op_twin_pass(struct fuzz_input *in)
{
    uint32_t ms = fuzz_u16(in);
    struct twin_fault fault = {.change = fuzz_u8(in)};

    if (fault.change != 0) {
        fault.frame = fuzz_u16(in);
        fault.at = fuzz_u16(in);
        fault.every = fuzz_u8(in);
    }
    need_twin(1);
    twin_pass(&worlds[0], ms % TWIN_PASS_MAX_MS, &fault);
}

FUZZ_TARGET(engine)
{
    static void (*const operations[])(struct fuzz_input *) = {
        op_pass,           op_accept,  op_dialed,        op_dial_failed,
        op_down,           op_frame,   op_drained,       op_membership,
        op_statement,      op_digest,  op_push,          op_bundle_items,
        op_bundle_session, op_values,  op_ack,           op_series,
        op_batch,          op_tokens,  op_notice,        op_operator,
        op_states,         op_stop,    op_event_session, op_reach,
        op_sums,           op_summary, op_turn,          op_twin_pass,
        op_tree,
    };
    const size_t count = sizeof operations / sizeof operations[0];
    struct fuzz_input in = {data, size};
    struct event start = {.type = EVENT_START};

    fuzz_quiet();
    w = &worlds[0];
    world_open(w, fuzz_u8(&in), 0);
    world_step(w, &start);
    for (int i = 0; in.size > 0 && i < OPERATIONS_MAX; i++)
        operations[fuzz_u8(&in) % count](&in);
    for (w = &worlds[0]; w != NULL; w = w == worlds ? w->other : NULL) {
        world_pass(w, 60000);
        world_ask(w, "self");
    }
    if (worlds[0].other != NULL)
        twin_close(&worlds[0]);
    else
        world_close(&worlds[0]);
    return 0;
}
