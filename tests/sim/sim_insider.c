/* sim_insider.c - a node that has the mesh's key and misuses it: it does all
 * that a node does, and beside that fills its links with frames that are valid
 * and of no use. See sim.h. */
#include "sim/sim_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLOOD_PERIOD_US 1000

static void random_bytes(struct sim *s, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)prng_next(&s->prng);
}

static void random_peer(struct sim *s, argus_Peer *out)
{
    random_bytes(s, out->id, sizeof out->id);
    (void)snprintf(out->address, sizeof out->address, "10.250.%u.%u:%u",
                   prng_below(&s->prng, 256), prng_below(&s->prng, 256),
                   SIM_PORT);
    out->generation = 1;
}

static void put_statement(struct sim_node *n, const argus_Statement *st,
                          argus_Frame *f)
{
    argus_Gossip *g = &f->body.gossip;
    struct seal seal = sim_seal(n);

    f->which_body = argus_Frame_gossip_tag;
    g->round = 1;
    g->survey = false;
    g->payload.size = (pb_size_t)seal.close(seal.context, st, g->payload.bytes);
    if (g->payload.size == 0)
        abort();
}

static void put_event(struct sim *s, struct sim_node *n, argus_Frame *f)
{
    argus_Statement st = {.which_body = argus_Statement_event_tag};
    argus_Event *e = &st.body.event;

    e->generation = n->generation;
    e->number = 1000000 + n->flooded;
    e->hlc = sim_wall_us(s, n) / 1000 << 16;
    e->severity = argus_Severity_SEVERITY_FAILURE;
    (void)snprintf(e->node, sizeof e->node, "n%u", n->index);
    (void)snprintf(e->message, sizeof e->message, "nonsense");
    put_statement(n, &st, f);
}

/* The same old version again and again, under ever new content ids. */
static void put_stale_record(struct sim *s, struct sim_node *n, argus_Frame *f)
{
    argus_Statement st = {.which_body = argus_Statement_record_tag};
    argus_NodeRecord *r = &st.body.record;

    r->generation = n->generation;
    r->instance = n->instance;
    r->started_ms = n->flooded;
    r->hlc = sim_wall_us(s, n) / 1000 << 16;
    put_statement(n, &st, f);
}

/* A node that is not: signed by itself, so to speak. */
static void put_made_up(struct sim *s, struct sim_node *n, argus_Frame *f)
{
    struct sim_node other = *n;
    argus_Statement st = {.which_body = argus_Statement_record_tag};
    argus_NodeRecord *r = &st.body.record;

    random_bytes(s, other.id.bytes, 8);
    memset(other.id.bytes + 8, 0xff, 8);
    r->generation = r->version = 1;
    r->weight = 1;
    (void)snprintf(r->name, sizeof r->name, "x%llu",
                   (unsigned long long)n->flooded);
    (void)snprintf(r->address, sizeof r->address, "10.250.0.1:9");
    r->hlc = sim_wall_us(s, n) / 1000 << 16;
    put_statement(&other, &st, f);
}

static void put_ihave(struct sim *s, argus_Frame *f)
{
    f->which_body = argus_Frame_ihave_tag;
    f->body.ihave.announced_count = 64;
    for (int i = 0; i < 64; i++) {
        random_bytes(s, f->body.ihave.announced[i].id, CONTENT_ID_SIZE);
    }
}

static void put_shuffle(struct sim *s, argus_Frame *f)
{
    f->which_body = argus_Frame_shuffle_tag;
    random_peer(s, &f->body.shuffle.origin);
    f->body.shuffle.has_origin = true;
    f->body.shuffle.ttl = 6;
    f->body.shuffle.peers_count = 8;
    for (int i = 0; i < 8; i++)
        random_peer(s, &f->body.shuffle.peers[i]);
}

static void put_forward_join(struct sim *s, argus_Frame *f)
{
    f->which_body = argus_Frame_forward_join_tag;
    f->body.forward_join.has_joiner = true;
    random_peer(s, &f->body.forward_join.joiner);
    f->body.forward_join.ttl = 6;
}

static void put_nonsense(struct sim *s, struct sim_node *n,
                         enum sim_nonsense what, argus_Frame *f)
{
    memset(f, 0, sizeof *f);
    switch (what) {
    case NONSENSE_PING:
        f->which_body = argus_Frame_ping_tag;
        f->body.ping.number = (uint32_t)n->flooded;
        f->body.ping.has_standing = true;
        f->body.ping.standing.active = true;
        break;
    case NONSENSE_PONG: f->which_body = argus_Frame_pong_tag; break;
    case NONSENSE_IHAVE: put_ihave(s, f); break;
    case NONSENSE_GRAFT:
        f->which_body = argus_Frame_graft_tag;
        f->body.graft.id.size = CONTENT_ID_SIZE;
        random_bytes(s, f->body.graft.id.bytes, CONTENT_ID_SIZE);
        break;
    case NONSENSE_PRUNE: f->which_body = argus_Frame_prune_tag; break;
    case NONSENSE_SHUFFLE: put_shuffle(s, f); break;
    case NONSENSE_WALK: put_forward_join(s, f); break;
    case NONSENSE_EVENT: put_event(s, n, f); break;
    case NONSENSE_STALE: put_stale_record(s, n, f); break;
    case NONSENSE_MADE_UP: put_made_up(s, n, f); break;
    case NONSENSE_MISPLACED:
        f->which_body = argus_Frame_want_tag;
        f->body.want.last = true;
        break;
    case NONSENSE_ALL:
    case NONSENSE_KINDS:
        put_nonsense(s, n, (enum sim_nonsense)(n->flooded % NONSENSE_ALL), f);
        break;
    }
}

static void flood_link(struct sim *s, struct sim_node *n, struct cable *c,
                       int side)
{
    static argus_Frame f;

    for (uint32_t i = 0; i < n->flood_per_ms; i++) {
        n->flooded++;
        put_nonsense(s, n, n->nonsense, &f);
        simnet_inject(s, n, c, side, &f);
    }
}

void insider_on_flood(struct sim *s, struct sim_node *n)
{
    struct cable *next;

    for (struct cable *c = n->cables; c != NULL; c = next) {
        int side = simnet_side(c, n->index);
        next = c->of_node[side].next;
        if (c->side[side].is_up && c->kind == argus_LinkKind_LINK_MESH &&
            !c->is_broken)
            flood_link(s, n, c, side);
    }
    if (n->flood_per_ms > 0)
        (void)sim_schedule(s, s->now_us + FLOOD_PERIOD_US, WHAT_FLOOD,
                           n->index);
}

void sim_insider(struct sim *s, uint32_t node, enum sim_nonsense what,
                 uint32_t frames_per_ms)
{
    struct sim_node *n = s->nodes[node];
    bool was_flooding = n->flood_per_ms > 0;

    n->is_hostile = true;
    sim_count_alive(s, n);
    n->nonsense = what;
    n->flood_per_ms = frames_per_ms;
    if (!was_flooding && frames_per_ms > 0)
        (void)sim_schedule(s, s->now_us, WHAT_FLOOD, node);
}

uint64_t sim_flooded(const struct sim *s, uint32_t node)
{
    return s->nodes[node]->flooded;
}

bool sim_is_shut_out(struct sim *s)
{
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        const struct sim_node *n = s->nodes[i];
        if (!n->is_hostile)
            continue;
        for (const struct cable *c = n->cables; c != NULL;
             c = c->of_node[simnet_side(c, i)].next)
            if (c->side[0].is_up && c->side[1].is_up)
                return false;
    }
    return true;
}
