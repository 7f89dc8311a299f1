/* sim_net.c - links: dials, frames, ends, partitions. See sim.h. */
#include "sim/sim_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

struct dialing {
    uint32_t references;
    uint32_t node, life; /* who dials */
    uint32_t target;
    dial_id dial;
    argus_LinkKind kind;
    struct node_id expected; /* zero: anyone */
    bool is_done;
    uint64_t end_us; /* of the wait */
};

void simnet_address(uint32_t node, char out[ADDRESS_SIZE])
{
    (void)snprintf(out, ADDRESS_SIZE, "10.%u.%u.%u:%u", node >> 16 & 255,
                   node >> 8 & 255, node & 255, SIM_PORT);
}

static uint32_t node_at(const struct sim *s, const char *address)
{
    unsigned a, b, c, port;

    if (sscanf(address, "10.%u.%u.%u:%u", &a, &b, &c, &port) != 4 ||
        port != SIM_PORT)
        return SIM_NOBODY;
    uint32_t node = a << 16 | b << 8 | c;
    return node < s->nodes_count ? node : SIM_NOBODY;
}

static uint64_t latency(struct sim *s)
{
    uint32_t min = s->options.latency_min_us, max = s->options.latency_max_us;
    return min + prng_below(&s->prng, max - min + 1);
}

bool simnet_is_parted(const struct sim *s, uint32_t a, uint32_t b)
{
    return s->is_parted && s->nodes[a]->side != s->nodes[b]->side;
}

/* --------------------------------------------------------- life times */

static void forget_dialing(struct dialing *d)
{
    if (d != NULL && --d->references == 0)
        free(d);
}

void simnet_release(struct sim *s, struct cable *c)
{
    (void)s;
    if (c != NULL && --c->references == 0)
        free(c);
}

void sim_drop(struct sim *s, struct happening *h)
{
    simnet_release(s, h->cable);
    forget_dialing(h->dialing);
    free(h->bytes);
    free(h);
}

static struct cable *find_cable(struct sim *s, link_id link)
{
    uint64_t number = link >> 1;
    struct cable *c;

    HASH_FIND(hh, s->cables, &number, sizeof number, c);
    return c;
}

static link_id link_at(const struct cable *c, int side)
{
    return c->number << 1 | (unsigned)side;
}

static void side_down(struct sim *s, struct cable *c, int side)
{
    bool was_up = c->side[0].is_up || c->side[1].is_up;

    c->side[side].is_up = false;
    if (was_up && !c->side[0].is_up && !c->side[1].is_up) {
        HASH_DELETE(hh, s->cables, c);
        simnet_release(s, c);
    }
}

/* --------------------------------------------------------------- dials */

static void with_dialing(struct happening *h, struct dialing *d)
{
    h->dialing = d;
    d->references++;
}

static void end_dial(struct sim *s, struct dialing *d, uint64_t at_us,
                     enum link_end why, argus_RefuseCode code)
{
    struct happening *h = sim_schedule(s, at_us, WHAT_DIAL_END, d->node);
    h->life = d->life;
    h->why = why;
    h->code = code;
    with_dialing(h, d);
}

void simnet_dial(struct sim *s, struct sim_node *n, const struct action *a)
{
    struct dialing *d = sim_alloc(sizeof *d);
    uint32_t target = node_at(s, a->dial.address);

    d->node = n->index;
    d->life = n->life;
    d->target = target;
    d->dial = a->dial.dial;
    d->kind = a->dial.kind;
    if (a->dial.expected != NULL)
        d->expected = *a->dial.expected;
    d->end_us = s->now_us + SIM_DIAL_WAIT_US;
    end_dial(s, d, d->end_us, LINK_END_TIMEOUT, argus_RefuseCode_REFUSE_NONE);
    if (target == SIM_NOBODY || simnet_is_parted(s, n->index, target))
        return;
    /* SYN, SYN-ACK, Hello */
    struct happening *h =
        sim_schedule(s, s->now_us + 3 * latency(s), WHAT_CONNECT, target);
    h->life = SIM_NOBODY; /* whoever listens there then */
    with_dialing(h, d);
}

/* When `size` bytes have left the node: they queue at its one wire. */
static uint64_t departure(struct sim *s, uint32_t node, size_t size)
{
    struct sim_node *n = s->nodes[node];

    if (s->options.node_mbit == 0)
        return s->now_us;
    if (n->sent_us < s->now_us)
        n->sent_us = s->now_us;
    n->sent_us += 8 * (uint64_t)size / s->options.node_mbit;
    return n->sent_us;
}

static struct happening *send_packet(struct sim *s, struct cable *c, int to,
                                     enum what what, size_t size)
{
    uint64_t at = departure(s, c->side[!to].node, size) + latency(s);

    if (at <= c->side[to].last_us)
        at = c->side[to].last_us + 1;
    c->side[to].last_us = at;
    struct happening *h = sim_schedule(s, at, what, c->side[to].node);
    h->life = c->side[to].life;
    h->cable = c;
    c->references++;
    return h;
}

static void fill_peer(const struct sim_node *n, argus_LinkKind kind,
                      struct peer_info *out)
{
    memset(out, 0, sizeof *out);
    out->id = n->id;
    out->generation = n->generation;
    out->instance = n->instance;
    out->started_ms = (SIM_WALL_START_US + n->started_us) / 1000;
    out->kind = kind;
    (void)snprintf(out->name, sizeof out->name, "n%u", n->index);
    simnet_address(n->index, out->address);
}

static void link_up(struct sim *s, struct sim_node *n, struct cable *c,
                    int side, const struct dialing *d, uint32_t peer)
{
    struct peer_info info;
    struct event ev = {.type = EVENT_LINK_UP,
                       .link_up = {.link = link_at(c, side),
                                   .dial = side == 0 ? d->dial : 0,
                                   .peer = &info}};

    fill_peer(s->nodes[peer], d->kind, &info);
    sim_step(s, n, &ev);
}

static void on_connect(struct sim *s, struct sim_node *n, struct happening *h)
{
    struct dialing *d = h->dialing;
    struct sim_node *from = s->nodes[d->node];
    uint64_t back_us = s->now_us + latency(s);

    if (d->is_done || from->life != d->life ||
        simnet_is_parted(s, d->node, d->target) || n->is_unplugged)
        return;
    if (n->engine == NULL) {
        end_dial(s, d, back_us, LINK_END_REFUSED, argus_RefuseCode_REFUSE_NONE);
        return;
    }
    if (n == from || (!node_id_is_zero(&d->expected) &&
                      !node_id_is_equal(&d->expected, &n->id))) {
        end_dial(s, d, back_us, LINK_END_DENIED,
                 n == from ? argus_RefuseCode_REFUSE_SELF
                           : argus_RefuseCode_REFUSE_WRONG_ID);
        return;
    }
    struct cable *c = sim_alloc(sizeof *c);
    c->number = ++s->cables_made;
    c->kind = d->kind;
    c->references = 1;
    c->side[0].node = d->node;
    c->side[0].life = d->life;
    c->side[1].node = n->index;
    c->side[1].life = n->life;
    c->side[1].is_up = true;
    HASH_ADD(hh, s->cables, number, sizeof c->number, c);
    with_dialing(send_packet(s, c, 0, WHAT_UP, 0), d);
    link_up(s, n, c, 1, d, d->node);
}

static void on_up(struct sim *s, struct sim_node *n, struct happening *h)
{
    struct dialing *d = h->dialing;

    if (d->is_done) { /* waited too long, and hung up */
        simnet_cut(s, h->cable);
        return;
    }
    struct cable *c = h->cable;
    d->is_done = true;
    c->side[0].is_up = true;
    if (!c->side[1].is_up) { /* it has closed again; the FIN is coming */
        c->references++;
        HASH_ADD(hh, s->cables, number, sizeof c->number, c);
    }
    link_up(s, n, c, 0, d, d->target);
}

static void on_dial_end(struct sim *s, struct sim_node *n, struct happening *h)
{
    struct dialing *d = h->dialing;
    struct event ev = {
        .type = EVENT_DIAL_FAILED,
        .dial_failed = {.dial = d->dial, .why = h->why, .code = h->code}};
    if (d->is_done)
        return;
    d->is_done = true;
    sim_step(s, n, &ev);
}

/* -------------------------------------------------------------- frames */

void simnet_inject(struct sim *s, struct sim_node *n, struct cable *c, int side,
                   const argus_Frame *frame)
{
    static uint8_t buffer[FRAME_HEADER_SIZE + FRAME_BODY_MAX];
    struct argus_error err;

    int size =
        frame_encode(argus_Frame_fields, frame, buffer, sizeof buffer, &err);
    if (size < 0) {
        sim_fail(s, "n%u: frame %d: %s", n->index, frame->which_body, err.text);
        return;
    }
    if (s->options.cut_ppm > 0 &&
        prng_below(&s->prng, 1000000) < s->options.cut_ppm) {
        simnet_cut(s, c);
        return;
    }
    n->bytes_sent[c->kind & 7] += (uint64_t)size;
    struct happening *h = send_packet(s, c, !side, WHAT_FRAME, (size_t)size);
    h->bytes = sim_alloc((size_t)size);
    h->size = (uint32_t)size;
    memcpy(h->bytes, buffer, (size_t)size);
}

void simnet_send(struct sim *s, struct sim_node *n, const struct action *a)
{
    struct cable *c = find_cable(s, a->send.link);
    int side = (int)(a->send.link & 1);

    if (a->send.frame->hlc <= n->last_hlc)
        sim_fail(s, "n%u: its HLC went back", n->index);
    n->last_hlc = a->send.frame->hlc;
    if (c != NULL && c->side[side].is_up && !c->is_broken)
        simnet_inject(s, n, c, side, a->send.frame);
}

static void on_frame(struct sim *s, struct sim_node *n, struct happening *h,
                     int side)
{
    static argus_Frame frame;
    struct argus_error err;
    struct event ev = {
        .type = EVENT_FRAME,
        .frame = {.link = link_at(h->cable, side), .frame = &frame}};

    int body = frame_length(h->bytes, FRAME_BODY_MAX, &err);
    if (body < 0 || frame_decode(h->bytes + FRAME_HEADER_SIZE, (size_t)body,
                                 &frame, &err) != ARGUS_OK) {
        sim_fail(s, "n%u: %s", n->index, err.text);
        return;
    }
    s->frames++;
    sim_step(s, n, &ev);
}

/* ---------------------------------------------------------------- ends */

void simnet_close(struct sim *s, struct sim_node *n, const struct action *a)
{
    struct cable *c = find_cable(s, a->close.link);
    int side = (int)(a->close.link & 1);

    if (c == NULL || !c->side[side].is_up)
        return;
    if (a->close.code == argus_RefuseCode_REFUSE_QUARANTINE && !n->is_hostile &&
        !s->nodes[c->side[!side].node]->is_hostile)
        sim_fail(s, "n%u has n%u in quarantine: %s", n->index,
                 c->side[!side].node, a->close.text);
    if (!c->is_broken)
        send_packet(s, c, !side, WHAT_FIN, 0)->code = a->close.code;
    struct happening *h = sim_schedule(s, s->now_us + 1, WHAT_CLOSED, n->index);
    h->token = a->close.link;
    h->code = a->close.code;
    side_down(s, c, side);
}

static void link_down(struct sim *s, struct sim_node *n, link_id link,
                      enum link_end why, argus_RefuseCode code)
{
    struct event ev = {.type = EVENT_LINK_DOWN,
                       .link_down = {.link = link, .why = why, .code = code}};
    sim_step(s, n, &ev);
}

static void send_reset(struct sim *s, struct cable *c, int to)
{
    struct happening *h =
        sim_schedule(s, s->now_us + latency(s), WHAT_RESET, c->side[to].node);
    h->life = c->side[to].life;
    h->cable = c;
    c->references++;
}

void simnet_cut(struct sim *s, struct cable *c)
{
    if (c->is_broken)
        return;
    s->links_cut++;
    c->is_broken = true;
    send_reset(s, c, 0);
    send_reset(s, c, 1);
}

void simnet_end_node(struct sim *s, struct sim_node *n, bool with_reset)
{
    struct cable *c, *next;

    HASH_ITER(hh, s->cables, c, next)
    {
        for (int side = 0; side < 2; side++) {
            if (c->side[side].node != n->index || !c->side[side].is_up)
                continue;
            if (with_reset && !c->is_broken) {
                c->is_broken = true;
                send_reset(s, c, !side);
            }
            side_down(s, c, side);
            break;
        }
    }
}

/* ------------------------------------------------------------- arrivals */

static int side_of(const struct happening *h)
{
    return h->cable->side[0].node == h->node ? 0 : 1;
}

uint32_t simnet_peer_of(const struct happening *h)
{
    return h->cable->side[!side_of(h)].node;
}

static void on_cable(struct sim *s, struct sim_node *n, struct happening *h)
{
    struct cable *c = h->cable;
    int side = side_of(h);

    if (h->what != WHAT_RESET && c->is_broken)
        return;
    if (h->what == WHAT_UP) {
        on_up(s, n, h);
        return;
    }
    if (!c->side[side].is_up)
        return;
    if (h->what == WHAT_FRAME) {
        on_frame(s, n, h, side);
        return;
    }
    link_id link = link_at(c, side);
    side_down(s, c, side);
    link_down(s, n, link,
              h->what == WHAT_FIN ? LINK_END_CLOSED : LINK_END_RESET, h->code);
}

void simnet_arrive(struct sim *s, struct sim_node *n, struct happening *h)
{
    switch (h->what) {
    case WHAT_CONNECT: on_connect(s, n, h); break;
    case WHAT_DIAL_END: on_dial_end(s, n, h); break;
    case WHAT_CLOSED:
        link_down(s, n, h->token, LINK_END_CLOSED, h->code);
        break;
    default: on_cable(s, n, h); break;
    }
}

void simnet_free(struct sim *s)
{
    struct cable *c, *next;

    HASH_ITER(hh, s->cables, c, next)
    {
        HASH_DELETE(hh, s->cables, c);
        simnet_release(s, c);
    }
}
