#include "directory_net.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/prng.h"
#include "wire/frame.h"

/* ----------------------------------------------------------- the seal */

static uint64_t checksum(const argus_Signed *s)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < sizeof s->key; i++)
        h = (h ^ s->key[i]) * 0x100000001b3u;
    for (size_t i = 0; i < s->statement.size; i++)
        h = (h ^ s->statement.bytes[i]) * 0x100000001b3u;
    return h;
}

size_t fake_seal(const struct node_id *author, const uint8_t *statement,
                 size_t size, uint8_t out[SEALED_SIZE_MAX])
{
    argus_Signed s = argus_Signed_init_zero;

    assert(size <= sizeof s.statement.bytes);
    s.statement.size = (pb_size_t)size;
    memcpy(s.statement.bytes, statement, size);
    memcpy(s.key, author->bytes, NODE_ID_SIZE);
    memset(s.signature, 0x5a, sizeof s.signature);
    uint64_t sum = checksum(&s);
    memcpy(s.signature, &sum, sizeof sum);
    pb_ostream_t outer = pb_ostream_from_buffer(out, SEALED_SIZE_MAX);
    return pb_encode(&outer, argus_Signed_fields, &s) ? outer.bytes_written : 0;
}

size_t fake_close(void *context, const argus_Statement *statement,
                  uint8_t out[SEALED_SIZE_MAX])
{
    uint8_t bytes[argus_Statement_size];
    pb_ostream_t inner = pb_ostream_from_buffer(bytes, sizeof bytes);

    if (!pb_encode(&inner, argus_Statement_fields, statement))
        return 0;
    return fake_seal(context, bytes, inner.bytes_written, out);
}

bool fake_open(void *context, const uint8_t *data, size_t size,
               argus_Statement *statement, struct node_id *author)
{
    argus_Signed s;
    pb_istream_t in = pb_istream_from_buffer(data, size);

    (void)context;
    if (!pb_decode(&in, argus_Signed_fields, &s))
        return false;
    uint64_t sum = checksum(&s);
    if (memcmp(s.signature, &sum, sizeof sum) != 0)
        return false;
    in = pb_istream_from_buffer(s.statement.bytes, s.statement.size);
    *author = node_id_of(s.key);
    return pb_decode(&in, argus_Statement_fields, statement);
}

/* ------------------------------------------------------------- events */

enum net_what { NET_UP, NET_DOWN, NET_FAILED, NET_FRAME, NET_GOSSIP, NET_LOST };

struct net_event {
    struct net_event *next;
    uint64_t when_ms, sequence;
    enum net_what what;
    uint32_t node, from;
    link_id link;
    dial_id dial;
    argus_LinkKind kind;
    enum link_end why;
    argus_RefuseCode code;
    size_t size;
    uint8_t bytes[];
};

static struct net_event *post(struct net *net, uint64_t delay_ms,
                              enum net_what what, uint32_t node,
                              const uint8_t *bytes, size_t size)
{
    struct net_event *e = calloc(1, sizeof *e + size);
    assert(e != NULL);
    e->when_ms = net->now_ms + delay_ms;
    e->sequence = net->sequence++;
    e->what = what;
    e->node = node;
    e->size = size;
    if (size > 0)
        memcpy(e->bytes, bytes, size);

    struct net_event **at = &net->events;
    while (*at != NULL && (*at)->when_ms <= e->when_ms)
        at = &(*at)->next;
    e->next = *at;
    *at = e;
    return e;
}

uint64_t net_wall_us(const struct net *net)
{
    return NET_WALL_US + net->now_ms * 1000;
}

/* -------------------------------------------------- what a node asks for */

static struct net_node *node_at(struct net *net, const char *address)
{
    for (uint32_t i = 0; i < net->count; i++)
        if (strcmp(net->nodes[i].options.address, address) == 0)
            return &net->nodes[i];
    return NULL;
}

static void fail_dial(struct net *net, uint32_t from, dial_id dial,
                      uint64_t delay_ms, enum link_end why,
                      argus_RefuseCode code)
{
    struct net_event *e = post(net, delay_ms, NET_FAILED, from, NULL, 0);

    e->dial = dial;
    e->why = why;
    e->code = code;
}

static link_id open_link(struct net *net, uint32_t a, uint32_t b)
{
    if (net->links + 1 >= net->link_room) {
        net->link_room = net->link_room == 0 ? 64 : 2 * net->link_room;
        net->link =
            realloc(net->link, net->link_room * sizeof(struct net_link));
        assert(net->link != NULL);
    }
    net->link[++net->links] = (struct net_link){a, b, true};
    return net->links;
}

static void on_dial(struct net *net, struct net_node *from,
                    const struct action *a)
{
    struct net_node *to = node_at(net, a->dial.address);
    dial_id dial = a->dial.dial;

    if (to == NULL || to->side != from->side || to->is_mute) {
        fail_dial(net, from->index, dial, NET_DIAL_TIMEOUT_MS, LINK_END_TIMEOUT,
                  0);
    } else if (!to->is_alive) {
        fail_dial(net, from->index, dial, NET_LATENCY_MS, LINK_END_REFUSED, 0);
    } else if (a->dial.expected != NULL &&
               !node_id_is_equal(a->dial.expected, &to->id)) {
        fail_dial(net, from->index, dial, NET_LATENCY_MS, LINK_END_DENIED,
                  argus_RefuseCode_REFUSE_WRONG_ID);
    } else if (node_id_is_equal(&from->id, &to->id)) {
        fail_dial(net, from->index, dial, NET_LATENCY_MS, LINK_END_DENIED,
                  from == to ? argus_RefuseCode_REFUSE_SELF
                             : argus_RefuseCode_REFUSE_CLONE);
    } else {
        link_id link = open_link(net, from->index, to->index);
        struct net_event *e =
            post(net, 2 * NET_LATENCY_MS, NET_UP, from->index, NULL, 0);
        e->link = link;
        e->dial = dial;
        e->from = to->index;
        e->kind = a->dial.kind;
        e = post(net, NET_LATENCY_MS, NET_UP, to->index, NULL, 0);
        e->link = link;
        e->from = from->index;
        e->kind = a->dial.kind;
    }
}

static void on_send(struct net *net, struct net_node *from, link_id link,
                    const argus_Frame *frame)
{
    static uint8_t bytes[FRAME_HEADER_SIZE + FRAME_BODY_MAX];
    const struct net_link *l = &net->link[link];
    struct argus_error err;

    int size =
        frame_encode(argus_Frame_fields, frame, bytes, sizeof bytes, &err);
    assert(size > 0);
    net->frames++;
    if (net->frame_bytes_max < (uint64_t)size)
        net->frame_bytes_max = (uint64_t)size;
    uint32_t to = l->a == from->index ? l->b : l->a;
    struct net_event *e =
        post(net, NET_LATENCY_MS, NET_FRAME, to, bytes, (size_t)size);
    e->link = link;
}

static void on_close(struct net *net, struct net_node *from, link_id link,
                     argus_RefuseCode code)
{
    const struct net_link *l = &net->link[link];

    for (int i = 0; i < 2; i++) {
        struct net_event *e =
            post(net, NET_LATENCY_MS, NET_DOWN, i == 0 ? l->a : l->b, NULL, 0);
        e->link = link;
        e->why = LINK_END_CLOSED;
        e->code = code;
    }
    from->close_code = code;
}

static void emit(void *context, const struct action *a)
{
    struct net_node *node = context;

    switch (a->type) {
    case ACTION_DIAL: on_dial(node->net, node, a); break;
    case ACTION_SEND:
        on_send(node->net, node, a->send.link, a->send.frame);
        break;
    case ACTION_CLOSE:
        on_close(node->net, node, a->close.link, a->close.code);
        break;
    case ACTION_NEW_IDENTITY: node->new_identities++; break;
    default: break;
    }
}

static void flood(struct net_node *node, const uint8_t *payload, size_t size,
                  uint32_t except)
{
    for (uint32_t i = 0; i < node->neighbors_count; i++) {
        uint32_t to = node->neighbors[i];
        if (to == except || node->net->nodes[to].side != node->side)
            continue;
        struct net_event *e =
            post(node->net, NET_LATENCY_MS, NET_GOSSIP, to, payload, size);
        e->from = node->index;
    }
}

static void on_broadcast(void *context, const uint8_t *payload, size_t size)
{
    struct net_node *node = context;

    node->broadcasts++;
    flood(node, payload, size, UINT32_MAX);
}

static uint64_t on_stamp(void *context)
{
    struct net_node *node = context;
    uint64_t now = net_wall_us(node->net) / 1000 << 16;

    node->stamp = now > node->stamp ? now : node->stamp + 1;
    return node->stamp;
}

static void on_changed(void *context, const struct member *m,
                       argus_MemberState old_state)
{
    (void)context;
    assert(m->state != argus_MemberState_MEMBER_UNKNOWN);
    (void)old_state;
}

static void on_forgotten(void *context, const struct node_id *id)
{
    struct net_node *node = context;

    (void)id;
    node->forgotten++;
}

static void on_raised(void *context, uint32_t generation)
{
    struct net_node *node = context;

    node->raised = generation;
}

/* --------------------------------------------------------------- life */

struct actions *net_out(struct net_node *node)
{
    return &node->out;
}

void net_make(struct net *net, uint32_t i, uint64_t seed)
{
    struct net_node *node = &net->nodes[i];
    struct engine_options *o = &node->options;
    struct prng prng;

    assert(i < NET_NODES_MAX);
    *node = (struct net_node){.net = net, .index = i};
    prng_seed(&prng, seed * 1000 + i);
    for (size_t k = 0; k < NODE_ID_SIZE; k++)
        node->id.bytes[k] = (uint8_t)prng_next(&prng);
    o->seed = prng_next(&prng);
    o->seal = (struct seal){
        .context = &node->id, .close = fake_close, .open = fake_open};
    o->id = node->id;
    o->generation = 1;
    o->instance = prng_next(&prng);
    o->started_ms = net_wall_us(net) / 1000;
    (void)snprintf(o->name, sizeof o->name, "n%u", i);
    (void)snprintf(o->address, sizeof o->address, "10.0.0.%u:1", i);
    (void)snprintf(o->zone, sizeof o->zone, "eu/%u", i % 2);
    o->weight = 1;
    o->suspect_ms = 3500;
    o->retain_offline_s = 3600;
    node->out = (struct actions){.emit = emit, .context = node};
    struct directory_listener listener = {.context = node,
                                          .broadcast = on_broadcast,
                                          .stamp = on_stamp,
                                          .member_changed = on_changed,
                                          .member_forgotten = on_forgotten,
                                          .generation_raised = on_raised};
    int rc = directory_new(o, 0, &listener, &node->d);
    assert(rc == ARGUS_OK);
    (void)rc;
    if (i >= net->count)
        net->count = i + 1;
}

struct net *net_new(uint32_t count, uint64_t seed)
{
    struct net *net = calloc(1, sizeof *net);

    assert(net != NULL);
    net->now_ms = 1000;
    for (uint32_t i = 0; i < count; i++)
        net_make(net, i, seed);
    return net;
}

void net_free(struct net *net)
{
    for (uint32_t i = 0; i < net->count; i++)
        directory_free(net->nodes[i].d);
    while (net->events != NULL) {
        struct net_event *e = net->events;
        net->events = e->next;
        free(e);
    }
    free(net->link);
    free(net);
}

void net_start(struct net *net, uint32_t i)
{
    struct net_node *node = &net->nodes[i];

    node->is_alive = true;
    directory_start(node->d, net->now_ms, net_wall_us(net), &node->out);
}

static struct peer_info info_of(const struct net_node *node,
                                argus_LinkKind kind)
{
    struct peer_info info = {.id = node->id,
                             .generation = node->options.generation,
                             .instance = node->options.instance,
                             .started_ms = node->options.started_ms,
                             .kind = kind};

    memcpy(info.name, node->options.name, sizeof info.name);
    memcpy(info.address, node->options.address, sizeof info.address);
    return info;
}

static bool has_neighbor(const struct net_node *node, uint32_t other)
{
    for (uint32_t i = 0; i < node->neighbors_count; i++)
        if (node->neighbors[i] == other)
            return true;
    return false;
}

static void drop_neighbor(struct net_node *node, uint32_t other)
{
    for (uint32_t i = 0; i < node->neighbors_count; i++)
        if (node->neighbors[i] == other)
            node->neighbors[i--] = node->neighbors[--node->neighbors_count];
}

void net_connect(struct net *net, uint32_t a, uint32_t b)
{
    if (a == b || has_neighbor(&net->nodes[a], b) ||
        net->nodes[a].neighbors_count == NET_NEIGHBORS_MAX ||
        net->nodes[b].neighbors_count == NET_NEIGHBORS_MAX)
        return;
    for (int i = 0; i < 2; i++) {
        struct net_node *node = &net->nodes[i == 0 ? a : b];
        struct net_node *other = &net->nodes[i == 0 ? b : a];
        struct peer_info info = info_of(other, argus_LinkKind_LINK_MESH);
        node->neighbors[node->neighbors_count++] = other->index;
        directory_neighbor_up(node->d, net->now_ms, net_wall_us(net), &info,
                              &node->out);
    }
}

void net_connect_all(struct net *net, uint32_t degree)
{
    for (uint32_t i = 0; i < net->count; i++)
        for (uint32_t k = 0; k < degree / 2; k++)
            net_connect(net, i, (i + 1 + 5 * k) % net->count);
}

static void lose(struct net *net, uint32_t i, uint32_t other, enum link_end why,
                 uint64_t delay_ms)
{
    drop_neighbor(&net->nodes[i], other);
    struct net_event *e = post(net, delay_ms, NET_LOST, i, NULL, 0);
    e->from = other;
    e->why = why;
}

void net_kill(struct net *net, uint32_t i)
{
    struct net_node *node = &net->nodes[i];

    node->is_alive = false;
    while (node->neighbors_count > 0) {
        uint32_t other = node->neighbors[0];
        lose(net, other, i, LINK_END_RESET, NET_LATENCY_MS);
        drop_neighbor(node, other);
    }
    for (link_id l = 1; l <= net->links; l++)
        if (net->link[l].is_open &&
            (net->link[l].a == i || net->link[l].b == i)) {
            net->link[l].is_open = false;
            uint32_t other =
                net->link[l].a == i ? net->link[l].b : net->link[l].a;
            struct net_event *e =
                post(net, NET_LATENCY_MS, NET_DOWN, other, NULL, 0);
            e->link = l;
            e->why = LINK_END_RESET;
        }
}

void net_break_sides(struct net *net)
{
    for (uint32_t i = 0; i < net->count; i++)
        for (uint32_t k = net->nodes[i].neighbors_count; k-- > 0;) {
            uint32_t other = net->nodes[i].neighbors[k];
            if (net->nodes[other].side != net->nodes[i].side ||
                net->nodes[other].is_mute)
                lose(net, i, other, LINK_END_TIMEOUT, 3500);
        }
}

/* ---------------------------------------------------------------- run */

static void on_gossip(struct net *net, struct net_node *node,
                      const struct net_event *e)
{
    argus_Statement statement;
    struct node_id author;

    if (!has_neighbor(node, e->from))
        return;
    bool is_sound = fake_open(NULL, e->bytes, e->size, &statement, &author);
    assert(is_sound);
    if (is_sound &&
        directory_on_statement(node->d, net->now_ms, net_wall_us(net), e->bytes,
                               e->size, &statement, &author,
                               &node->out) == DIRECTORY_NEWS)
        flood(node, e->bytes, e->size, e->from);
}

static void on_frame(struct net *net, struct net_node *node,
                     const struct net_event *e)
{
    static argus_Frame frame;
    struct argus_error err;

    if (!net->link[e->link].is_open)
        return;
    int rc = frame_decode(e->bytes + FRAME_HEADER_SIZE,
                          e->size - FRAME_HEADER_SIZE, &frame, &err);
    assert(rc == ARGUS_OK);
    (void)rc;
    directory_on_frame(node->d, net->now_ms, net_wall_us(net), e->link, &frame,
                       &node->out);
}

static void carry_out(struct net *net, const struct net_event *e)
{
    struct net_node *node = &net->nodes[e->node];
    uint64_t now = net->now_ms, wall = net_wall_us(net);
    struct peer_info info;

    if (!node->is_alive || node->is_mute)
        return;
    switch (e->what) {
    case NET_UP:
        info = info_of(&net->nodes[e->from], e->kind);
        if (e->dial != 0 || e->kind == argus_LinkKind_LINK_SYNC)
            directory_on_link_up(node->d, now, wall, e->link, e->dial, &info,
                                 &node->out);
        break;
    case NET_DOWN:
        directory_on_link_down(node->d, now, wall, e->link, e->why, e->code,
                               &node->out);
        break;
    case NET_FAILED:
        directory_on_dial_failed(node->d, now, wall, e->dial, e->why, e->code,
                                 &node->out);
        break;
    case NET_FRAME: on_frame(net, node, e); break;
    case NET_GOSSIP: on_gossip(net, node, e); break;
    case NET_LOST:
        directory_neighbor_lost(node->d, now, wall, &net->nodes[e->from].id,
                                e->why, e->code, &node->out);
        break;
    }
}

static uint64_t next_deadline(const struct net *net)
{
    uint64_t deadline = UINT64_MAX;

    for (uint32_t i = 0; i < net->count; i++) {
        const struct net_node *node = &net->nodes[i];
        if (!node->is_alive || node->is_mute)
            continue;
        uint64_t own = directory_deadline_ms(node->d);
        if (own < deadline)
            deadline = own;
    }
    return deadline;
}

static bool step(struct net *net, uint64_t until_ms)
{
    uint64_t deadline = next_deadline(net);
    struct net_event *e = net->events;

    if (e != NULL && e->when_ms <= deadline) {
        if (e->when_ms > until_ms)
            return false;
        net->events = e->next;
        net->now_ms = e->when_ms;
        carry_out(net, e);
        free(e);
        return true;
    }
    if (deadline > until_ms)
        return false;
    if (deadline > net->now_ms)
        net->now_ms = deadline;
    for (uint32_t i = 0; i < net->count; i++) {
        struct net_node *node = &net->nodes[i];
        if (node->is_alive && !node->is_mute &&
            directory_deadline_ms(node->d) <= net->now_ms)
            directory_on_timeout(node->d, net->now_ms, net_wall_us(net),
                                 &node->out);
    }
    return true;
}

void net_run(struct net *net, uint64_t for_ms)
{
    uint64_t until_ms = net->now_ms + for_ms;

    while (step(net, until_ms))
        ;
    net->now_ms = until_ms;
}

uint64_t net_run_until(struct net *net, bool (*is_so)(struct net *net),
                       uint64_t within_ms)
{
    uint64_t start_ms = net->now_ms;

    while (net->now_ms < start_ms + within_ms) {
        if (is_so(net))
            return net->now_ms - start_ms;
        net_run(net, 50);
    }
    return UINT64_MAX;
}

bool net_is_agreed(struct net *net)
{
    for (uint32_t i = 0; i < net->count; i++) {
        const struct net_node *node = &net->nodes[i];
        uint32_t alive = 0;
        if (!node->is_alive || node->is_mute)
            continue;
        for (uint32_t k = 0; k < net->count; k++) {
            const struct net_node *other = &net->nodes[k];
            if (!other->is_alive || other->is_mute || other->side != node->side)
                continue;
            alive++;
            const struct member *m = directory_find(node->d, &other->id);
            const struct member *own = directory_find(other->d, &other->id);
            if (m == NULL || m->state != argus_MemberState_MEMBER_ONLINE ||
                m->version != own->version)
                return false;
        }
        if (directory_count(node->d, argus_MemberState_MEMBER_ONLINE) != alive)
            return false;
    }
    return true;
}
