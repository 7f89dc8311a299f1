/* sim_frame.c - frames on their way, and what is counted of them. See sim.h.
 *
 * With the codec passed by, what a body really holds is copied, in memory's
 * shape: the union of a frame has room for 64 KiB, a ping needs 24 bytes. Large
 * and rare bodies are encoded all the same. */
#include "sim/sim_hash.h"
#include "sim/sim_impl.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

/* A frame that is not encoded. */
struct parcel {
    uint64_t hlc;
    uint32_t round; /* Gossip */
    uint16_t which_body;
    bool survey; /* Gossip */
    uint8_t body[];
};

/* A list that is cut behind its count must be the last member. */
#define IS_LAST(message, list)                                                 \
    (offsetof(message, list) + sizeof(((message *)0)->list) == sizeof(message))
_Static_assert(IS_LAST(argus_ShuffleReply, peers), "cut in body_size()");
_Static_assert(IS_LAST(argus_IHave, announced), "cut in body_size()");

#define CUT_SIZE(message, list, count)                                         \
    (offsetof(message, list) +                                                 \
     sizeof(((message *)0)->list[0]) * (size_t)(count))

/* Bytes of the body that mean something. @return 0: encode it. */
static size_t body_size(const argus_Frame *f)
{
    switch (f->which_body) {
    case argus_Frame_ping_tag: return sizeof f->body.ping;
    case argus_Frame_pong_tag: return sizeof f->body.pong;
    case argus_Frame_join_tag: return sizeof f->body.join;
    case argus_Frame_forward_join_tag: return sizeof f->body.forward_join;
    case argus_Frame_neighbor_tag: return sizeof f->body.neighbor;
    case argus_Frame_disconnect_tag: return sizeof f->body.disconnect;
    case argus_Frame_graft_tag: return sizeof f->body.graft;
    case argus_Frame_prune_tag: return sizeof f->body.prune;
    case argus_Frame_neighbor_reply_tag: return sizeof f->body.neighbor_reply;
    case argus_Frame_shuffle_tag: return sizeof f->body.shuffle;
    case argus_Frame_shuffle_reply_tag:
        return CUT_SIZE(argus_ShuffleReply, peers,
                        f->body.shuffle_reply.peers_count);
    case argus_Frame_ihave_tag:
        return CUT_SIZE(argus_IHave, announced, f->body.ihave.announced_count);
    default: return 0;
    }
}

/* Blocks of a few sizes are kept for the next taker: malloc keeps seven. */
static const uint16_t block_sizes[FRAME_CLASSES] = {48, 96, 192, 512, 2048};

static uint8_t class_of(size_t size)
{
    uint8_t i = 0;

    while (i < FRAME_CLASSES && size > block_sizes[i])
        i++;
    return i;
}

static uint8_t *take_bytes(struct sim *s, size_t size)
{
    uint8_t class = class_of(size);
    uint8_t *p;

    if (class < FRAME_CLASSES && s->blocks[class] != NULL) {
        p = s->blocks[class];
        memcpy(&s->blocks[class], p, sizeof(uint8_t *));
        return p;
    }
    p = malloc(class < FRAME_CLASSES ? block_sizes[class] : size);
    if (p == NULL)
        abort();
    return p;
}

static size_t block_size(const struct happening *h)
{
    return h->is_encoded ? h->size : sizeof(struct parcel) + h->size;
}

void frame_free(struct sim *s, struct happening *h)
{
    uint8_t class = class_of(block_size(h));

    if (class == FRAME_CLASSES) {
        free(h->bytes);
        return;
    }
    memcpy(h->bytes, &s->blocks[class], sizeof(uint8_t *));
    s->blocks[class] = h->bytes;
}

void frame_free_all(struct sim *s)
{
    for (int i = 0; i < FRAME_CLASSES; i++)
        while (s->blocks[i] != NULL) {
            uint8_t *p = s->blocks[i];
            memcpy(&s->blocks[i], p, sizeof(uint8_t *));
            free(p);
        }
}

static void pack_parcel(struct sim *s, const argus_Frame *f, const void *body,
                        size_t size, struct happening *out)
{
    uint8_t *bytes = take_bytes(s, sizeof(struct parcel) + size);
    struct parcel p = {.hlc = f->hlc, .which_body = f->which_body};

    if (f->which_body == argus_Frame_gossip_tag) {
        p.round = f->body.gossip.round;
        p.survey = f->body.gossip.survey;
    }
    memcpy(bytes, &p, sizeof p);
    memcpy(bytes + sizeof p, body, size);
    out->bytes = bytes;
    out->size = (uint32_t)size;
    out->is_encoded = false;
}

static uint32_t encode(struct sim *s, const struct sim_node *n,
                       const argus_Frame *frame, struct happening *out)
{
    static uint8_t buffer[FRAME_HEADER_SIZE + FRAME_BODY_MAX];
    struct argus_error err;

    int size =
        frame_encode(argus_Frame_fields, frame, buffer, sizeof buffer, &err);
    if (size < 0) {
        sim_fail(s, "n%u: frame %d: %s", n->index, frame->which_body, err.text);
        return 0;
    }
    out->bytes = take_bytes(s, (size_t)size);
    out->size = (uint32_t)size;
    out->is_encoded = true;
    memcpy(out->bytes, buffer, (size_t)size);
    return (uint32_t)size;
}

uint32_t frame_pack(struct sim *s, const struct sim_node *n,
                    const argus_Frame *frame, struct happening *out)
{
    const argus_Gossip *g = &frame->body.gossip;

    if (!s->options.pass_codec_by)
        return encode(s, n, frame, out);
    if (frame->which_body == argus_Frame_gossip_tag) {
        pack_parcel(s, frame, g->payload.bytes, g->payload.size, out);
        return frame_measure(frame);
    }
    size_t size = body_size(frame);
    if (size == 0)
        return encode(s, n, frame, out);
    pack_parcel(s, frame, &frame->body, size, out);
    return frame_measure(frame);
}

static const argus_Frame *unpack_parcel(const struct happening *h)
{
    static argus_Frame frame; /* what is behind the counts stays as it was */
    struct parcel p;

    memcpy(&p, h->bytes, sizeof p);
    frame.hlc = p.hlc;
    frame.which_body = p.which_body;
    if (p.which_body == argus_Frame_gossip_tag) {
        frame.body.gossip.round = p.round;
        frame.body.gossip.survey = p.survey;
        frame.body.gossip.payload.size = (pb_size_t)h->size;
        memcpy(frame.body.gossip.payload.bytes, h->bytes + sizeof p, h->size);
    } else {
        memcpy(&frame.body, h->bytes + sizeof p, h->size);
    }
    return &frame;
}

const argus_Frame *frame_unpack(struct sim *s, const struct happening *h)
{
    static argus_Frame frame;
    struct argus_error err;

    if (!h->is_encoded)
        return unpack_parcel(h);
    int body = frame_length(h->bytes, FRAME_BODY_MAX, &err);
    if (body < 0 || frame_decode(h->bytes + FRAME_HEADER_SIZE, (size_t)body,
                                 &frame, &err) != ARGUS_OK) {
        sim_fail(s, "n%u: %s", h->node, err.text);
        return NULL;
    }
    return &frame;
}

void frame_prefetch(const struct happening *h, const struct overlay *to)
{
    struct parcel p;
    uint8_t id[CONTENT_ID_SIZE];
    const uint8_t *body = h->bytes + sizeof p;

    if (h->is_encoded)
        return;
    memcpy(&p, h->bytes, sizeof p);
    if (p.which_body == argus_Frame_gossip_tag) {
        sim_content_hash(body, h->size, id);
        overlay_prefetch_id(to, id);
    }
    if (p.which_body != argus_Frame_ihave_tag)
        return;
    for (size_t at = offsetof(argus_IHave, announced);
         at + sizeof(argus_Announcement) <= h->size;
         at += sizeof(argus_Announcement))
        overlay_prefetch_id(to, body + at + offsetof(argus_Announcement, id));
}

/* --------------------------------------------------------------- measures */

static uint32_t varint(uint64_t n)
{
    uint32_t size = 1;

    while (n >>= 7)
        size++;
    return size;
}

/* A field of a one-byte tag; proto3 leaves out what is zero. */
static uint32_t number_field(uint64_t n)
{
    return n == 0 ? 0 : 1 + varint(n);
}

static uint32_t stamp_field(int64_t us)
{
    return number_field((uint64_t)us << 1); /* zigzag */
}

static uint32_t bytes_field(size_t size)
{
    return size == 0 ? 0 : (uint32_t)(1 + varint(size) + size);
}

static uint32_t standing_field(const argus_Standing *s, bool has)
{
    uint32_t size = number_field(s->active) + (s->root != 0 ? 5u : 0u) +
                    number_field(s->distance_us) + number_field(s->age_ms);

    return has ? 2 + size : 0;
}

static uint32_t peer_size(const argus_Peer *p)
{
    return bytes_field(NODE_ID_SIZE) + bytes_field(strlen(p->address)) +
           number_field(p->generation) + number_field(p->role) +
           (p->zone != 0 ? 9u : 0u);
}

static uint32_t peers_size(const argus_Peer *peers, size_t count)
{
    uint32_t size = 0;

    for (size_t i = 0; i < count; i++)
        size += bytes_field(peer_size(&peers[i]));
    return size;
}

static uint32_t ihave_size(const argus_IHave *m)
{
    return m->announced_count * bytes_field(bytes_field(CONTENT_ID_SIZE));
}

static uint32_t body_measure(const argus_Frame *f)
{
    switch (f->which_body) {
    case argus_Frame_ping_tag:
        return number_field(f->body.ping.number) +
               standing_field(&f->body.ping.standing,
                              f->body.ping.has_standing);
    case argus_Frame_pong_tag:
        return number_field(f->body.pong.number) +
               stamp_field(f->body.pong.received_us) +
               number_field(f->body.pong.took_us) +
               standing_field(&f->body.pong.standing,
                              f->body.pong.has_standing);
    case argus_Frame_gossip_tag:
        return number_field(f->body.gossip.round) +
               bytes_field(f->body.gossip.payload.size) +
               number_field(f->body.gossip.survey);
    case argus_Frame_ihave_tag: return ihave_size(&f->body.ihave);
    case argus_Frame_graft_tag: return bytes_field(f->body.graft.id.size);
    case argus_Frame_forward_join_tag:
        return bytes_field(peer_size(&f->body.forward_join.joiner)) +
               number_field(f->body.forward_join.ttl);
    case argus_Frame_neighbor_tag:
        return number_field(f->body.neighbor.high) +
               number_field(f->body.neighbor.near) +
               number_field(f->body.neighbor.swap);
    case argus_Frame_neighbor_reply_tag:
        return number_field(f->body.neighbor_reply.accepted) +
               peers_size(f->body.neighbor_reply.peers,
                          f->body.neighbor_reply.peers_count) +
               peers_size(&f->body.neighbor_reply.displaced,
                          f->body.neighbor_reply.has_displaced);
    case argus_Frame_disconnect_tag:
        return number_field(f->body.disconnect.leaving) +
               peers_size(&f->body.disconnect.instead,
                          f->body.disconnect.has_instead);
    case argus_Frame_shuffle_tag:
        return bytes_field(peer_size(&f->body.shuffle.origin)) +
               number_field(f->body.shuffle.ttl) +
               number_field(f->body.shuffle.seeks) +
               peers_size(f->body.shuffle.peers, f->body.shuffle.peers_count);
    case argus_Frame_shuffle_reply_tag:
        return peers_size(f->body.shuffle_reply.peers,
                          f->body.shuffle_reply.peers_count);
    default: return 0; /* Join, Prune */
    }
}

uint32_t frame_measure(const argus_Frame *frame)
{
    uint32_t body = body_measure(frame);
    uint32_t tag = frame->which_body < 16 ? 1u : 2u;

    return FRAME_HEADER_SIZE + (frame->hlc != 0 ? 9u : 0u) + tag +
           varint(body) + body;
}

void frame_count(struct sim *s, const struct cable *c, const argus_Frame *frame,
                 uint32_t size)
{
    struct sim_traffic *t = &s->traffic;
    uint32_t type = frame->which_body < SIM_FRAME_TYPES ? frame->which_body : 0;

    t->messages[type]++;
    t->bytes[type] += size;
    t->messages_all++;
    t->bytes_all += size;
    if (c->is_cross) {
        t->cross_messages++;
        t->cross_bytes += size;
    }
    if (type == argus_Frame_gossip_tag)
        follow_sent(s, &frame->body.gossip, size, c->is_cross);
}

void sim_traffic(const struct sim *s, struct sim_traffic *out)
{
    *out = s->traffic;
}

const char *sim_frame_name(uint32_t type)
{
    switch (type) {
    case argus_Frame_ping_tag: return "ping";
    case argus_Frame_pong_tag: return "pong";
    case argus_Frame_join_tag: return "join";
    case argus_Frame_forward_join_tag: return "forward_join";
    case argus_Frame_neighbor_tag: return "neighbor";
    case argus_Frame_neighbor_reply_tag: return "neighbor_reply";
    case argus_Frame_disconnect_tag: return "disconnect";
    case argus_Frame_shuffle_tag: return "shuffle";
    case argus_Frame_shuffle_reply_tag: return "shuffle_reply";
    case argus_Frame_gossip_tag: return "gossip";
    case argus_Frame_ihave_tag: return "ihave";
    case argus_Frame_graft_tag: return "graft";
    case argus_Frame_prune_tag: return "prune";
    case argus_Frame_digest_tag: return "digest";
    case argus_Frame_want_tag: return "want";
    case argus_Frame_items_tag: return "items";
    case argus_Frame_event_digest_tag: return "event_digest";
    case argus_Frame_event_keys_tag: return "event_keys";
    case argus_Frame_event_want_tag: return "event_want";
    case argus_Frame_event_items_tag: return "event_items";
    case argus_Frame_series_defs_tag: return "series_defs";
    case argus_Frame_batch_tag: return "batch";
    case argus_Frame_ack_tag: return "ack";
    case argus_Frame_release_tag: return "release";
    case argus_Frame_bundle_digest_tag: return "bundle_digest";
    case argus_Frame_bundle_items_tag: return "bundle_items";
    case argus_Frame_bundle_want_tag: return "bundle_want";
    case argus_Frame_chunk_want_tag: return "chunk_want";
    case argus_Frame_chunk_tag: return "chunk";
    case argus_Frame_summary_tag: return "summary";
    default: return NULL;
    }
}
