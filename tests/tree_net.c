#include "tree_net.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum net_kind { NET_FRAME, NET_DOWN };

struct net_event {
    uint64_t at_us;
    uint64_t sequence;
    enum net_kind kind;
    int to;
    link_id link;
    pb_size_t which;
    uint32_t round; /* of a Gossip */
    bool survey;    /* of a Gossip */
    uint32_t size;  /* of what lies in data */
    uint8_t data[];
};

static argus_Frame scratch; /* frames are large: one is enough */

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* ----------------------------------------------- events by (time, sequence) */

static bool is_before(const struct net_event *a, const struct net_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us
                                : a->sequence < b->sequence;
}

static void heap_push(struct net *net, struct net_event *e)
{
    if (net->heap_count == net->heap_size) {
        net->heap_size = net->heap_size == 0 ? 1024 : 2 * net->heap_size;
        net->heap =
            must(realloc(net->heap, net->heap_size * sizeof net->heap[0]));
    }
    e->sequence = net->sequence++;
    uint32_t i = net->heap_count++;
    for (; i > 0 && is_before(e, net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = e;
}

static struct net_event *heap_pop(struct net *net)
{
    struct net_event *top = net->heap[0];
    struct net_event *last = net->heap[--net->heap_count];
    uint32_t i = 0, child;

    while ((child = 2 * i + 1) < net->heap_count) {
        if (child + 1 < net->heap_count &&
            is_before(net->heap[child + 1], net->heap[child]))
            child++;
        if (!is_before(net->heap[child], last))
            break;
        net->heap[i] = net->heap[child];
        i = child;
    }
    net->heap[i] = last;
    return top;
}

/* ------------------------------------------------------------ the wire */

static struct net_link *link_find(struct net *net, int node, link_id id)
{
    for (int i = 0; i < NET_DEGREE_MAX; i++)
        if (net->nodes[node].links[i].peer >= 0 &&
            net->nodes[node].links[i].id == id)
            return &net->nodes[node].links[i];
    return NULL;
}

static struct net_event *event_new(const argus_Frame *frame)
{
    const void *data = NULL;
    uint32_t size = 0, round = 0;
    bool survey = false;

    switch (frame->which_body) {
    case argus_Frame_gossip_tag:
        data = frame->body.gossip.payload.bytes;
        size = frame->body.gossip.payload.size;
        round = frame->body.gossip.round;
        survey = frame->body.gossip.survey;
        break;
    case argus_Frame_ihave_tag:
        data = frame->body.ihave.announced;
        size = (uint32_t)(frame->body.ihave.announced_count *
                          sizeof frame->body.ihave.announced[0]);
        break;
    case argus_Frame_graft_tag:
        data = frame->body.graft.id.bytes;
        size = frame->body.graft.id.size;
        break;
    default: break;
    }
    struct net_event *e = must(calloc(1, sizeof *e + size));
    e->which = frame->which_body;
    e->round = round;
    e->survey = survey;
    e->size = size;
    if (size > 0)
        memcpy(e->data, data, size);
    return e;
}

static const argus_Frame *event_frame(const struct net_event *e)
{
    scratch.which_body = e->which;
    switch (e->which) {
    case argus_Frame_gossip_tag:
        scratch.body.gossip.round = e->round;
        scratch.body.gossip.survey = e->survey;
        scratch.body.gossip.payload.size = (pb_size_t)e->size;
        memcpy(scratch.body.gossip.payload.bytes, e->data, e->size);
        break;
    case argus_Frame_ihave_tag:
        scratch.body.ihave.announced_count =
            (pb_size_t)(e->size / sizeof scratch.body.ihave.announced[0]);
        memcpy(scratch.body.ihave.announced, e->data, e->size);
        break;
    case argus_Frame_graft_tag:
        scratch.body.graft.id.size = (pb_size_t)e->size;
        memcpy(scratch.body.graft.id.bytes, e->data, e->size);
        break;
    default: break;
    }
    return &scratch;
}

static void wire_send(struct net *net, struct net_link *link,
                      struct net_event *e)
{
    uint64_t at_us = net->now_us + link->latency_us;

    if (net->options.jitter_us > 0)
        at_us += prng_below(&net->prng, net->options.jitter_us);
    if (at_us < link->last_us)
        at_us = link->last_us;
    link->last_us = at_us;
    e->at_us = at_us;
    e->to = link->peer;
    e->link = link->id;
    heap_push(net, e);
}

static void carry_out(void *context, const struct action *action)
{
    struct net *net = context;

    if (action->type == ACTION_CLOSE) {
        net->frames_malformed++;
        return;
    }
    assert(action->type == ACTION_SEND);
    struct net_link *link = link_find(net, net->acting, action->send.link);
    if (link != NULL)
        wire_send(net, link, event_new(action->send.frame));
}

static struct actions act_as(struct net *net, int node)
{
    net->acting = node;
    return (struct actions){.emit = carry_out, .context = net};
}

/* ------------------------------------------------------------ the nodes */

/* Stands in for SHA-256: the net only needs distinct ids. */
static void hash_cheap(const uint8_t *data, size_t size,
                       uint8_t out[CONTENT_ID_SIZE])
{
    struct prng prng;
    uint64_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum = (sum ^ data[i]) * UINT64_C(0x100000001b3);
    prng_seed(&prng, sum);
    for (int i = 0; i < CONTENT_ID_SIZE; i += 8) {
        uint64_t word = prng_next(&prng);
        memcpy(out + i, &word, 8);
    }
}

struct owner { /* context of a tree's listener */
    struct net *net;
    int node;
};

static struct owner owners[NET_NODES_MAX];

static enum plumtree_verdict on_deliver(void *context, link_id from,
                                        const uint8_t *payload, size_t size,
                                        const uint8_t id[CONTENT_ID_SIZE])
{
    const struct owner *owner = context;
    struct net *net = owner->net;
    uint32_t number;

    (void)from;
    (void)id;
    assert(size >= sizeof number);
    memcpy(&number, payload, sizeof number);
    if (number >= net->messages_count)
        return PLUMTREE_BAD;
    struct net_message *m = &net->messages[number];
    if (net->got[owner->node][number]++ > 0)
        return PLUMTREE_STALE;
    m->delivered++;
    if (net->acting_round + 1 > m->hops_max)
        m->hops_max = net->acting_round + 1;
    if (net->latencies_count % 65536 == 0)
        net->latencies_us =
            must(realloc(net->latencies_us,
                         (net->latencies_count + 65536) * sizeof(uint32_t)));
    net->latencies_us[net->latencies_count++] =
        (uint32_t)(net->now_us - m->sent_us);
    return PLUMTREE_NEWS;
}

static uint64_t now_ms(const struct net *net)
{
    return net->now_us / 1000;
}

static struct net_link *link_free(struct net *net, int node)
{
    for (int i = 0; i < NET_DEGREE_MAX; i++)
        if (net->nodes[node].links[i].peer < 0)
            return &net->nodes[node].links[i];
    return NULL;
}

static bool are_linked(const struct net *net, int a, int b)
{
    for (int i = 0; i < NET_DEGREE_MAX; i++)
        if (net->nodes[a].links[i].peer == b)
            return true;
    return a == b;
}

static int degree(const struct net *net, int node)
{
    int count = 0;

    for (int i = 0; i < NET_DEGREE_MAX; i++)
        if (net->nodes[node].links[i].peer >= 0)
            count++;
    return count;
}

void tree_net_connect(struct net *net, int a, int b)
{
    struct net_link *ends[2] = {link_free(net, a), link_free(net, b)};
    const int nodes[2] = {a, b};
    uint32_t spread =
        net->options.latency_max_us - net->options.latency_min_us + 1;

    assert(ends[0] != NULL && ends[1] != NULL && !are_linked(net, a, b));
    link_id id = ++net->link_last;
    uint32_t latency_us =
        net->options.latency_min_us + prng_below(&net->prng, spread);
    for (int i = 0; i < 2; i++)
        *ends[i] = (struct net_link){
            .id = id, .peer = nodes[1 - i], .latency_us = latency_us};
    for (int i = 0; i < 2; i++) {
        struct actions out = act_as(net, nodes[i]);
        plumtree_neighbor_up(net->nodes[nodes[i]].tree, now_ms(net), id, &out);
    }
}

static void tell_down(struct net *net, int node, link_id link,
                      uint32_t latency_us)
{
    struct net_event *e = must(calloc(1, sizeof *e));

    e->kind = NET_DOWN;
    e->at_us = net->now_us + latency_us;
    e->to = node;
    e->link = link;
    heap_push(net, e);
}

void tree_net_cut(struct net *net, int a, struct net_link *link)
{
    int b = link->peer;
    link_id id = link->id;
    struct net_link *other = link_find(net, b, id);

    tell_down(net, a, id, link->latency_us);
    tell_down(net, b, id, link->latency_us);
    link->peer = -1; /* frames under way find no link when they arrive */
    other->peer = -1;
}

void tree_net_kill(struct net *net, int node)
{
    net->nodes[node].dead = true;
    for (int i = 0; i < NET_DEGREE_MAX; i++)
        if (net->nodes[node].links[i].peer >= 0)
            tree_net_cut(net, node, &net->nodes[node].links[i]);
}

/* --------------------------------------------------------- the overlay */

static void mark_reached(const struct net *net, int node, bool *reached)
{
    reached[node] = true;
    for (int i = 0; i < NET_DEGREE_MAX; i++) {
        int peer = net->nodes[node].links[i].peer;
        if (peer >= 0 && !reached[peer])
            mark_reached(net, peer, reached);
    }
}

static int random_alive(struct net *net)
{
    int node;

    do
        node = (int)prng_below(&net->prng, (uint32_t)net->options.nodes);
    while (net->nodes[node].dead);
    return node;
}

void tree_net_mend(struct net *net)
{
    for (int a = 0; a < net->options.nodes; a++) {
        for (int tries = 0; !net->nodes[a].dead && tries < 50 &&
                            degree(net, a) < net->options.degree;
             tries++) {
            int b = random_alive(net);
            if (!are_linked(net, a, b) &&
                degree(net, b) < net->options.degree + (tries > 25))
                tree_net_connect(net, a, b);
        }
    }
    for (;;) { /* islands */
        bool reached[NET_NODES_MAX] = {false};
        int a = random_alive(net), b = -1;

        mark_reached(net, a, reached);
        for (int i = 0; i < net->options.nodes; i++)
            if (!net->nodes[i].dead && !reached[i])
                b = i;
        if (b < 0)
            return;
        tree_net_connect(net, a, b);
    }
}

struct net *tree_net_new(const struct net_options *options)
{
    struct net *net = must(calloc(1, sizeof *net));
    struct plumtree_options tree;

    assert(options->nodes <= NET_NODES_MAX);
    net->options = *options;
    net->now_us = 1000000;
    net->payload_size = 200;
    prng_seed(&net->prng, options->seed);
    plumtree_defaults(&tree);
    if (options->adjust != NULL)
        options->adjust(&tree);
    tree.hash = hash_cheap;
    for (int i = 0; i < options->nodes; i++) {
        owners[i] = (struct owner){.net = net, .node = i};
        struct plumtree_listener listener = {.context = &owners[i],
                                             .deliver = on_deliver};
        tree.seed = prng_next(&net->prng);
        tree.rank = (uint32_t)tree.seed | 1;
        if (plumtree_new(&tree, &listener, &net->nodes[i].tree) != 0)
            abort();
        for (int l = 0; l < NET_DEGREE_MAX; l++)
            net->nodes[i].links[l].peer = -1;
    }
    tree_net_mend(net);
    return net;
}

void tree_net_free(struct net *net)
{
    for (int i = 0; i < net->options.nodes; i++)
        plumtree_free(net->nodes[i].tree);
    while (net->heap_count > 0)
        free(heap_pop(net));
    free(net->heap);
    free(net->latencies_us);
    free(net);
}

/* ------------------------------------------------------------- running */

uint32_t tree_net_broadcast(struct net *net, int origin)
{
    uint8_t payload[SEALED_SIZE_MAX] = {0};
    uint32_t number = net->messages_count++;
    struct net_message *m = &net->messages[number];

    assert(number < NET_MESSAGES_MAX && !net->nodes[origin].dead);
    *m = (struct net_message){.origin = origin, .sent_us = net->now_us};
    for (int i = 0; i < net->options.nodes; i++)
        if (i != origin && !net->nodes[i].dead)
            m->expected++;
    memcpy(payload, &number, sizeof number);
    net->got[origin][number] = 1;
    struct actions out = act_as(net, origin);
    if (!plumtree_broadcast(net->nodes[origin].tree, now_ms(net), payload,
                            net->payload_size, &out))
        abort();
    return number;
}

static int next_timeout(const struct net *net, uint64_t *at_us)
{
    int node = -1;

    *at_us = UINT64_MAX;
    for (int i = 0; i < net->options.nodes; i++) {
        uint64_t ms = plumtree_deadline_ms(net->nodes[i].tree);
        if (net->nodes[i].dead || ms >= *at_us / 1000)
            continue;
        *at_us = ms * 1000;
        node = i;
    }
    return node;
}

static void handle(struct net *net, struct net_event *e)
{
    struct net_node *node = &net->nodes[e->to];
    struct actions out = act_as(net, e->to);

    if (node->dead)
        return;
    if (e->kind == NET_DOWN) {
        plumtree_neighbor_down(node->tree, now_ms(net), e->link, &out);
    } else if (link_find(net, e->to, e->link) != NULL) {
        net->acting_round = e->round;
        plumtree_on_frame(node->tree, now_ms(net), e->link, event_frame(e),
                          &out);
    }
}

/* One event or timeout not after until_us. */
static bool step(struct net *net, uint64_t until_us)
{
    uint64_t timeout_us;
    int node = next_timeout(net, &timeout_us);
    uint64_t event_us = net->heap_count > 0 ? net->heap[0]->at_us : UINT64_MAX;

    if ((event_us < timeout_us ? event_us : timeout_us) > until_us)
        return false;
    if (event_us <= timeout_us) {
        struct net_event *e = heap_pop(net);
        net->now_us = e->at_us;
        handle(net, e);
        free(e);
    } else {
        struct actions out = act_as(net, node);
        if (timeout_us > net->now_us)
            net->now_us = timeout_us;
        plumtree_on_timeout(net->nodes[node].tree, now_ms(net), &out);
    }
    return true;
}

void tree_net_run(struct net *net, uint64_t duration_us)
{
    uint64_t until_us = net->now_us + duration_us;

    while (step(net, until_us))
        ;
    net->now_us = until_us;
}

bool net_run_until_quiet(struct net *net, uint64_t limit_us)
{
    uint64_t until_us = net->now_us + limit_us;

    for (;;) {
        uint64_t timeout_us;
        (void)next_timeout(net, &timeout_us);
        /* Expiry alone is due a second away or later. */
        if (net->heap_count == 0 && timeout_us >= net->now_us + 900000)
            return true;
        if (!step(net, until_us))
            return false;
    }
}

/* ------------------------------------------------------------- figures */

uint32_t tree_net_missed(const struct net *net, uint32_t first)
{
    uint32_t missed = 0;

    for (int i = 0; i < net->options.nodes; i++)
        for (uint32_t m = first; m < net->messages_count; m++)
            if (!net->nodes[i].dead && net->got[i][m] == 0)
                missed++;
    return missed;
}

uint32_t tree_net_repeated(const struct net *net)
{
    uint32_t repeated = 0;

    for (int i = 0; i < net->options.nodes; i++)
        for (uint32_t m = 0; m < net->messages_count; m++)
            if (net->got[i][m] > 1)
                repeated++;
    return repeated;
}

struct net_sums tree_net_sums(const struct net *net)
{
    struct net_sums sums = {0};

    for (int i = 0; i < net->options.nodes; i++) {
        const struct plumtree_stats *s = plumtree_stats(net->nodes[i].tree);
        sums.delivered += s->gossip_delivered;
        sums.duplicate += s->gossip_duplicate;
        sums.grafts += s->graft_sent;
        sums.prunes += s->prune_sent;
        sums.gossip_sent += s->gossip_sent;
    }
    return sums;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

double net_latency_ms(struct net *net, uint32_t from, double share)
{
    uint32_t count = net->latencies_count - from;

    if (count == 0)
        return 0;
    uint32_t *sorted = must(malloc(count * sizeof *sorted));
    memcpy(sorted, net->latencies_us + from, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_u32);
    double ms = sorted[(uint32_t)(share * (count - 1))] / 1000.0;
    free(sorted);
    return ms;
}

uint32_t net_hops_max(const struct net *net, uint32_t first)
{
    uint32_t hops = 0;

    for (uint32_t m = first; m < net->messages_count; m++)
        if (net->messages[m].hops_max > hops)
            hops = net->messages[m].hops_max;
    return hops;
}
