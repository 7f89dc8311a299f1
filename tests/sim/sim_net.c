/* sim_net.c - links: dials, frames, ends, partitions. See sim.h. */
#include "sim/sim_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** At most so many connections at a time. */
#define CABLE_SLOT_BITS 24

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

static char *put_number(char *at, uint32_t number)
{
    if (number >= 10)
        at = put_number(at, number / 10);
    *at = (char)('0' + number % 10);
    return at + 1;
}

/* "10.A.B.C:PORT", without stdio: nodes dial all the time. */
void simnet_address(uint32_t node, char out[ADDRESS_SIZE])
{
    char *at = put_number(out, 10);

    for (int shift = 16; shift >= 0; shift -= 8) {
        *at++ = '.';
        at = put_number(at, node >> shift & 255);
    }
    *at++ = ':';
    *put_number(at, SIM_PORT) = '\0';
}

uint32_t simnet_node_at(const struct sim *s, const char *address)
{
    uint32_t part[5] = {0}, at = 0;

    for (const char *c = address; *c != '\0'; c++) {
        if (*c >= '0' && *c <= '9' && part[at] <= SIM_PORT)
            part[at] = 10 * part[at] + (uint32_t)(*c - '0');
        else if (at < 4 && *c == (at < 3 ? '.' : ':'))
            at++;
        else
            return SIM_NOBODY;
    }
    if (at != 4 || part[0] != 10 || part[1] > 255 || part[2] > 255 ||
        part[3] > 255 || part[4] != SIM_PORT)
        return SIM_NOBODY;
    uint32_t node = part[1] << 16 | part[2] << 8 | part[3];
    return node < s->nodes_count ? node : SIM_NOBODY;
}

/* ------------------------------------------------------------- cables */

struct cable *simnet_find(const struct sim *s, link_id link)
{
    uint64_t number = link >> 1;
    uint32_t slot = (uint32_t)number & ((1u << CABLE_SLOT_BITS) - 1);
    struct cable *c = slot < s->cables_used ? s->cables[slot] : NULL;

    return c != NULL && c->number == number ? c : NULL;
}

int simnet_side(const struct cable *c, uint32_t node)
{
    return c->side[0].node == node ? 0 : 1;
}

link_id simnet_link(const struct cable *c, int side)
{
    return c->number << 1 | (unsigned)side;
}

static void add_to_node(struct sim *s, struct cable *c, int side)
{
    struct sim_node *n = s->nodes[c->side[side].node];
    struct cable *last = n->cables_last;

    c->of_node[side].next = NULL;
    c->of_node[side].previous = last;
    if (last == NULL)
        n->cables = c;
    else
        last->of_node[simnet_side(last, n->index)].next = c;
    n->cables_last = c;
}

static void remove_from_node(struct sim *s, struct cable *c, int side)
{
    struct sim_node *n = s->nodes[c->side[side].node];
    struct cable *next = c->of_node[side].next,
                 *previous = c->of_node[side].previous;

    if (previous == NULL)
        n->cables = next;
    else
        previous->of_node[simnet_side(previous, n->index)].next = next;
    if (next == NULL)
        n->cables_last = previous;
    else
        next->of_node[simnet_side(next, n->index)].previous = previous;
}

static uint32_t take_slot(struct sim *s)
{
    if (s->cables_free_count > 0)
        return s->cables_free[--s->cables_free_count];
    if (s->cables_used == s->cables_room) {
        uint32_t room = s->cables_room == 0 ? 1024 : 2 * s->cables_room;
        s->cables = realloc(s->cables, room * sizeof(struct cable *));
        s->cables_free = realloc(s->cables_free, room * sizeof(uint32_t));
        if (s->cables == NULL || s->cables_free == NULL ||
            room > 1u << CABLE_SLOT_BITS)
            abort();
        s->cables_room = room;
    }
    return s->cables_used++;
}

/* The table has one reference. A number is never used again. */
static void list(struct sim *s, struct cable *c)
{
    if (c->number == 0) {
        uint32_t slot = take_slot(s);
        c->number = ++s->cables_made << CABLE_SLOT_BITS | slot;
        s->cables[slot] = c;
    }
    c->is_listed = true;
    c->references++;
    add_to_node(s, c, 0);
    add_to_node(s, c, 1);
}

void simnet_release(struct sim *s, struct cable *c)
{
    if (--c->references > 0)
        return;
    uint32_t slot = (uint32_t)c->number & ((1u << CABLE_SLOT_BITS) - 1);
    s->cables[slot] = NULL;
    s->cables_free[s->cables_free_count++] = slot;
    free(c);
}

static void unlist(struct sim *s, struct cable *c)
{
    c->is_listed = false;
    remove_from_node(s, c, 0);
    remove_from_node(s, c, 1);
    simnet_release(s, c);
}

void simnet_forget_dialing(struct dialing *d)
{
    if (d != NULL && --d->references == 0)
        free(d);
}

static void side_down(struct sim *s, struct cable *c, int side)
{
    c->side[side].is_up = false;
    if (c->is_listed && !c->side[0].is_up && !c->side[1].is_up)
        unlist(s, c);
}

/* --------------------------------------------------------------- dials */

static const char *end_word(uint8_t why)
{
    static const char *const words[] = {
        [LINK_END_CLOSED] = "closed",   [LINK_END_RESET] = "reset",
        [LINK_END_REFUSED] = "refused", [LINK_END_TIMEOUT] = "no answer",
        [LINK_END_DENIED] = "denied",   [LINK_END_BROKEN] = "broken",
        [LINK_END_LOCAL] = "local"};

    return why < sizeof words / sizeof words[0] ? words[why] : "?";
}

static void with_dialing(struct happening *h, struct dialing *d)
{
    h->dialing = d;
    d->references++;
}

static void end_dial(struct sim *s, struct dialing *d, uint64_t at_us,
                     enum link_end why, argus_RefuseCode code)
{
    struct happening *h =
        sim_schedule_in(s, at_us, WHAT_DIAL_END, d->node, d->life);
    h->why = (uint8_t)why;
    h->code = (uint8_t)code;
    with_dialing(h, d);
}

static uint32_t one_way(struct sim *s, uint32_t from, uint32_t to)
{
    return distance_vary(s, distance_between(s, from, to));
}

/* In either direction: then nobody gets through. */
static bool is_cut(const struct sim *s, uint32_t a, uint32_t b)
{
    return faults_is_parted(s, a, b) || faults_is_parted(s, b, a);
}

void simnet_dial(struct sim *s, struct sim_node *n, const struct action *a)
{
    struct dialing *d = sim_alloc(sizeof *d);
    uint32_t target = simnet_node_at(s, a->dial.address);

    d->node = n->index;
    d->life = n->life;
    d->target = target;
    d->dial = a->dial.dial;
    d->kind = a->dial.kind;
    if (a->dial.expected != NULL)
        d->expected = *a->dial.expected;
    d->end_us = s->now_us + SIM_DIAL_WAIT_US;
    end_dial(s, d, d->end_us, LINK_END_TIMEOUT, argus_RefuseCode_REFUSE_NONE);
    if (s->line != NULL)
        sim_tell(s, n->index, "dials %s", a->dial.address);
    if (target == SIM_NOBODY || is_cut(s, n->index, target))
        return;
    /* SYN, SYN-ACK, Hello */
    uint64_t arrival_us = s->now_us +
                          2 * (uint64_t)one_way(s, n->index, target) +
                          one_way(s, target, n->index);
    /* whoever listens there then */
    with_dialing(
        sim_schedule_in(s, arrival_us, WHAT_CONNECT, target, SIM_NOBODY), d);
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
    uint64_t at = departure(s, c->side[!to].node, size) +
                  distance_vary(s, c->side[to].distance_us);

    if (s->is_any_slow)
        at = faults_queue(s->nodes[c->side[to].node], at);
    if (at <= c->side[to].last_us)
        at = c->side[to].last_us + 1;
    c->side[to].last_us = at;
    struct happening *h =
        sim_schedule_in(s, at, what, c->side[to].node, c->side[to].life);
    h->cable = c;
    c->references++;
    return h;
}

void simnet_zone(const struct sim_node *n, char out[8])
{
    out[0] = '\0';
    if (n->sim->options.zones > 0)
        (void)snprintf(out, 8, "z%u", n->zone);
}

argus_Role simnet_role(const struct sim_node *n)
{
    return n->is_aggregator ? argus_Role_ROLE_AGGREGATOR
                            : argus_Role_ROLE_AGENT;
}

static void fill_peer(const struct sim_node *n, argus_LinkKind kind,
                      struct peer_info *out)
{
    char zone[8];

    memset(out, 0, sizeof *out);
    out->id = n->id;
    out->generation = n->generation;
    out->instance = n->instance;
    out->started_ms = n->started_wall_us / 1000;
    out->kind = kind;
    simnet_zone(n, zone);
    out->zone = zone_pack(zone);
    out->role = simnet_role(n);
    out->name[0] = 'n';
    *put_number(out->name + 1, n->index) = '\0';
    simnet_address(n->index, out->address);
}

static void link_up(struct sim *s, struct sim_node *n, struct cable *c,
                    int side, const struct dialing *d, uint32_t peer)
{
    struct peer_info info;
    struct event ev = {.type = EVENT_LINK_UP,
                       .link_up = {.link = simnet_link(c, side),
                                   .dial = side == 0 ? d->dial : 0,
                                   .peer = &info}};

    fill_peer(s->nodes[peer], d->kind, &info);
    if (s->line != NULL)
        sim_tell(s, n->index, "link %llu up: n%u, %s",
                 (unsigned long long)ev.link_up.link, peer,
                 side == 0 ? "dialed" : "accepted");
    sim_step(s, n, &ev);
}

/* What the Hellos say. @return REFUSE_NONE: the link may be. */
static argus_RefuseCode judge_hello(const struct dialing *d,
                                    const struct sim_node *from,
                                    const struct sim_node *n)
{
    if (n == from)
        return argus_RefuseCode_REFUSE_SELF;
    if (node_id_is_equal(&n->id, &from->id))
        return d->kind == argus_LinkKind_LINK_PROBE
                   ? argus_RefuseCode_REFUSE_NONE
                   : argus_RefuseCode_REFUSE_CLONE;
    if (!node_id_is_zero(&d->expected) &&
        !node_id_is_equal(&d->expected, &n->id))
        return argus_RefuseCode_REFUSE_WRONG_ID;
    return argus_RefuseCode_REFUSE_NONE;
}

static struct cable *new_cable(struct sim *s, const struct dialing *d,
                               const struct sim_node *n)
{
    struct cable *c = sim_alloc_lines(sizeof *c);

    c->kind = (uint8_t)d->kind;
    c->side[0].node = d->node;
    c->side[0].life = d->life;
    c->side[0].distance_us = distance_between(s, n->index, d->node);
    c->side[1].node = n->index;
    c->side[1].life = n->life;
    c->side[1].is_up = true;
    c->side[1].distance_us = distance_between(s, d->node, n->index);
    c->is_cross = s->nodes[d->node]->zone != n->zone;
    list(s, c);
    s->traffic.links++;
    return c;
}

static void on_connect(struct sim *s, struct sim_node *n, struct happening *h)
{
    struct dialing *d = h->dialing;
    struct sim_node *from = s->nodes[d->node];
    uint64_t back_us = s->now_us + one_way(s, n->index, d->node);

    if (d->is_done || from->life != d->life || is_cut(s, d->node, d->target) ||
        n->is_unplugged)
        return;
    if (!node_is_up(n)) {
        end_dial(s, d, back_us, LINK_END_REFUSED, argus_RefuseCode_REFUSE_NONE);
        return;
    }
    argus_RefuseCode code = judge_hello(d, from, n);
    if (code != argus_RefuseCode_REFUSE_NONE) {
        end_dial(s, d, back_us, LINK_END_DENIED, code);
        return;
    }
    struct cable *c = new_cable(s, d, n);
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
    if (!c->is_listed) /* the other side has closed again; the FIN is coming */
        list(s, c);
    link_up(s, n, c, 0, d, d->target);
}

static void on_dial_end(struct sim *s, struct sim_node *n, struct happening *h)
{
    struct dialing *d = h->dialing;
    struct event ev = {.type = EVENT_DIAL_FAILED,
                       .dial_failed = {.dial = d->dial,
                                       .why = (enum link_end)h->why,
                                       .code = (argus_RefuseCode)h->code}};
    if (d->is_done)
        return;
    d->is_done = true;
    if (s->line != NULL)
        sim_tell(s, n->index, "dial of n%u failed: %s", d->target,
                 end_word(h->why));
    sim_step(s, n, &ev);
}

/* -------------------------------------------------------------- frames */

void simnet_inject(struct sim *s, struct sim_node *n, struct cable *c, int side,
                   const argus_Frame *frame)
{
    struct happening packed;

    uint32_t size = frame_pack(s, n, frame, &packed);
    if (size == 0)
        return;
    if (s->options.cut_ppm > 0 &&
        prng_below(&s->prng, 1000000) < s->options.cut_ppm) {
        frame_free(s, &packed);
        simnet_cut(s, c);
        return;
    }
    n->bytes_sent[c->kind & 7] += size;
    frame_count(s, c, frame, size);
    struct happening *h = send_packet(s, c, !side, WHAT_FRAME, size);
    h->bytes = packed.bytes;
    h->size = packed.size;
    h->is_encoded = packed.is_encoded;
}

/* By a connection that its node knows nothing of any more, as a half-open one
 * that was resent at last. */
void sim_late_disconnect(struct sim *s, uint32_t node)
{
    static argus_Frame frame;
    struct sim_node *n = s->nodes[node];
    struct sim_peer peer;

    uint32_t count = node_is_up(n) ? node_active_count(n) : 0;
    if (count == 0 || !node_active(n, prng_below(&s->prng, count), &peer))
        return;
    const struct cable *now = simnet_find(s, peer.link);
    if (now == NULL)
        return;
    struct sim_node *from = s->nodes[now->side[!(peer.link & 1)].node];
    struct dialing old = {.node = from->index,
                          .life = from->life,
                          .target = node,
                          .kind = argus_LinkKind_LINK_MESH};
    struct cable *c = new_cable(s, &old, n);
    link_up(s, n, c, 1, &old, from->index);
    frame.which_body = argus_Frame_disconnect_tag;
    simnet_inject(s, from, c, 0, &frame);
}

void simnet_send(struct sim *s, struct sim_node *n, const struct action *a)
{
    struct cable *c = simnet_find(s, a->send.link);
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
    const argus_Frame *frame = frame_unpack(s, h);
    struct event ev = {
        .type = EVENT_FRAME,
        .frame = {.link = simnet_link(h->cable, side), .frame = frame}};

    if (frame == NULL)
        return;
    s->frames++;
    s->hop = frame->which_body == argus_Frame_gossip_tag
                 ? frame->body.gossip.round + 1
                 : 0;
    sim_step(s, n, &ev);
}

/* ---------------------------------------------------------------- ends */

void simnet_close(struct sim *s, struct sim_node *n, const struct action *a)
{
    struct cable *c = simnet_find(s, a->close.link);
    int side = (int)(a->close.link & 1);

    if (c == NULL || !c->side[side].is_up)
        return;
    if (a->close.code == argus_RefuseCode_REFUSE_QUARANTINE && !n->is_hostile &&
        !s->nodes[c->side[!side].node]->is_hostile)
        sim_fail(s, "n%u has n%u in quarantine: %s", n->index,
                 c->side[!side].node, a->close.text);
    if (!c->is_broken)
        send_packet(s, c, !side, WHAT_FIN, 0)->code = (uint8_t)a->close.code;
    struct happening *h = sim_schedule(s, s->now_us + 1, WHAT_CLOSED, n->index);
    h->token = a->close.link;
    h->code = (uint8_t)a->close.code;
    if (s->line != NULL)
        sim_tell(s, n->index, "closes its link to n%u: %s", c->side[!side].node,
                 a->close.text);
    side_down(s, c, side);
}

static void link_down(struct sim *s, struct sim_node *n, link_id link,
                      enum link_end why, argus_RefuseCode code)
{
    if (s->line != NULL)
        sim_tell(s, n->index, "link %llu down: %s", (unsigned long long)link,
                 end_word((uint8_t)why));
    struct event ev = {.type = EVENT_LINK_DOWN,
                       .link_down = {.link = link, .why = why, .code = code}};
    sim_step(s, n, &ev);
}

static void send_reset(struct sim *s, struct cable *c, int to)
{
    struct happening *h = sim_schedule_in(
        s, s->now_us + distance_vary(s, c->side[to].distance_us), WHAT_RESET,
        c->side[to].node, c->side[to].life);
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
    struct cable *next;

    for (struct cable *c = n->cables; c != NULL; c = next) {
        int side = simnet_side(c, n->index);
        next = c->of_node[side].next;
        if (!c->side[side].is_up)
            continue;
        if (with_reset && !c->is_broken) {
            c->is_broken = true;
            send_reset(s, c, !side);
        }
        side_down(s, c, side);
    }
}

/* ------------------------------------------------------------- arrivals */

uint32_t simnet_peer_of(const struct happening *h)
{
    return h->cable->side[!simnet_side(h->cable, h->node)].node;
}

static void on_cable(struct sim *s, struct sim_node *n, struct happening *h)
{
    struct cable *c = h->cable;
    int side = simnet_side(c, h->node);

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
    link_id link = simnet_link(c, side);
    side_down(s, c, side);
    link_down(s, n, link,
              h->what == WHAT_FIN ? LINK_END_CLOSED : LINK_END_RESET,
              (argus_RefuseCode)h->code);
}

void simnet_arrive(struct sim *s, struct sim_node *n, struct happening *h)
{
    switch (h->what) {
    case WHAT_CONNECT: on_connect(s, n, h); break;
    case WHAT_DIAL_END: on_dial_end(s, n, h); break;
    case WHAT_CLOSED:
        link_down(s, n, h->token, LINK_END_CLOSED, (argus_RefuseCode)h->code);
        break;
    default: on_cable(s, n, h); break;
    }
}

void simnet_free(struct sim *s)
{
    for (uint32_t i = 0; i < s->cables_used; i++)
        free(s->cables[i]);
    free(s->cables);
    free(s->cables_free);
}
