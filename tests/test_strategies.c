/* test_strategies.c - where strategies of membership differ: by hand, what a
 * node of each refuses, lets go and asks for; on the simulator, that each makes
 * one mesh and mends it, alone and mixed. What they have in common is in
 * test_hyparview.c. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "base/zone.h"
#include "core/membership.h"
#include "sim/sim_impl.h"

/* ------------------------------------------------------------- by hand */

static struct {
    uint32_t dials, accepts, rejects, disconnects, joins, walks, shuffles, logs;
    dial_id last_dial;
    uint8_t last_expected;
    char last_address[ADDRESS_SIZE];
    argus_Neighbor asked;
    argus_NeighborReply reply;
    argus_Disconnect disconnect;
    link_id disconnected;
    link_id closed;
    char log[256];
} seen;

static void on_send(const struct action *a)
{
    const argus_Frame *f = a->send.frame;

    switch (f->which_body) {
    case argus_Frame_join_tag: seen.joins++; break;
    case argus_Frame_neighbor_tag: seen.asked = f->body.neighbor; break;
    case argus_Frame_neighbor_reply_tag:
        seen.reply = f->body.neighbor_reply;
        seen.accepts += seen.reply.accepted;
        seen.rejects += !seen.reply.accepted;
        break;
    case argus_Frame_disconnect_tag:
        seen.disconnects++;
        seen.disconnected = a->send.link;
        seen.disconnect = f->body.disconnect;
        break;
    case argus_Frame_forward_join_tag: seen.walks++; break;
    case argus_Frame_shuffle_tag: seen.shuffles++; break;
    }
}

static void on_action(void *context, const struct action *a)
{
    (void)context;
    if (a->type == ACTION_SEND) {
        on_send(a);
    } else if (a->type == ACTION_CLOSE) {
        seen.closed = a->close.link;
    } else if (a->type == ACTION_LOG) {
        seen.logs++;
        (void)snprintf(seen.log, sizeof seen.log, "%s", a->log.line);
    } else if (a->type == ACTION_DIAL) {
        seen.dials++;
        seen.last_dial = a->dial.dial;
        seen.last_expected =
            a->dial.expected != NULL ? a->dial.expected->bytes[0] : 0;
        (void)snprintf(seen.last_address, sizeof seen.last_address, "%s",
                       a->dial.address);
    }
}

static struct actions out = {.emit = on_action};

static void on_up(void *context, link_id link, const struct peer_info *peer,
                  struct actions *o)
{
    (void)context, (void)link, (void)peer, (void)o;
}

static void on_down(void *context, link_id link, const struct node_id *peer,
                    enum link_end why, argus_RefuseCode code, struct actions *o)
{
    (void)context, (void)link, (void)peer, (void)why, (void)code, (void)o;
}

static void on_learned(void *context, const struct node_id *peer,
                       const char *address, struct actions *o)
{
    (void)context, (void)peer, (void)address, (void)o;
}

static bool knows_nobody(void *context, const struct node_id *peer)
{
    (void)context, (void)peer;
    return false;
}

static bool knows_no_address(void *context, const char *address)
{
    (void)context, (void)address;
    return false;
}

static bool needs_no_link(void *context, link_id link)
{
    (void)context, (void)link;
    return false;
}

static bool has_no_member(void *context, uint32_t pick,
                          struct membership_wish wish,
                          struct membership_peer *o)
{
    (void)context, (void)pick, (void)wish, (void)o;
    return false;
}

#define AGENT argus_Role_ROLE_AGENT
#define AGGREGATOR argus_Role_ROLE_AGGREGATOR

static struct membership *new_node(enum membership_strategy strategy,
                                   argus_Role role, const char *contact)
{
    const char *contacts[] = {contact};
    struct membership_options o = {.seed = test_seed(),
                                   .strategy = strategy,
                                   .id = {{0xff, 0xff}},
                                   .generation = 3,
                                   .role = role,
                                   .zone = zone_pack("eu/a"),
                                   .zone_bias = true,
                                   .address = "self:1",
                                   .active_max = 4,
                                   .passive_max = 8,
                                   .shuffle_ms = 10000,
                                   .answer_ms = 3500,
                                   .contacts = contacts,
                                   .contacts_count = contact != NULL};
    struct membership_listener up = {.neighbor_up = on_up,
                                     .neighbor_down = on_down,
                                     .learned_address = on_learned,
                                     .is_live_address = knows_no_address,
                                     .is_used = needs_no_link,
                                     .is_live = knows_nobody,
                                     .has_left = knows_nobody,
                                     .any_member = has_no_member};
    struct membership *v = NULL;

    memset(&seen, 0, sizeof seen);
    CU_ASSERT_EQUAL_FATAL(membership_new(&o, &up, &v), ARGUS_OK);
    membership_start(v, 1000, &out);
    return v;
}

static struct node_id id_of(uint32_t who)
{
    struct node_id id = {{(uint8_t)who, (uint8_t)(who >> 8)}};
    return id;
}

static void link_up(struct membership *v, uint64_t now, link_id link,
                    dial_id dial, uint32_t who, argus_Role role,
                    const char *zone)
{
    struct peer_info p;

    memset(&p, 0, sizeof p);
    p.id = id_of(who);
    p.generation = 1;
    p.role = role;
    p.zone = zone_pack(zone);
    p.kind = argus_LinkKind_LINK_MESH;
    (void)snprintf(p.address, sizeof p.address, "n%u:1", who);
    membership_on_link_up(v, now, link, dial, &p, &out);
}

static argus_Frame frame; /* too large for the stack of each test */

static void neighbor(struct membership *v, uint64_t now, link_id link,
                     bool high, bool near)
{
    frame.which_body = argus_Frame_neighbor_tag;
    frame.body.neighbor = (argus_Neighbor){.high = high, .near = near};
    membership_on_frame(v, now, link, &frame, &out);
}

static void offer(struct membership *v, uint64_t now, uint32_t who,
                  argus_Role role, const char *zone)
{
    char address[16];
    struct membership_peer p = {.id = id_of(who),
                                .generation = 1,
                                .role = role,
                                .zone = zone_pack(zone),
                                .address = address};

    (void)snprintf(address, sizeof address, "n%u:1", who);
    membership_offer(v, now, &p, &out);
}

/* `who` dials us and is a neighbor. */
static void take(struct membership *v, uint64_t now, link_id link, uint32_t who,
                 argus_Role role, const char *zone)
{
    uint32_t accepts = seen.accepts;

    link_up(v, now, link, 0, who, role, zone);
    neighbor(v, now, link, false, false);
    CU_ASSERT_EQUAL(seen.accepts, accepts + 1);
}

/* Let time pass to the next deadline; one that is overdue is now. */
static uint64_t tick(struct membership *v, uint64_t now)
{
    uint64_t due = membership_deadline_ms(v);

    CU_ASSERT_FATAL(due != UINT64_MAX);
    now = due > now ? due : now;
    membership_on_timeout(v, now, &out);
    return now;
}

static void test_names_are_found(void)
{
    enum membership_strategy s = MEMBERSHIP_HYPARVIEW;

    CU_ASSERT_TRUE(membership_strategy_find("client-server", &s));
    CU_ASSERT_EQUAL(s, MEMBERSHIP_CLIENT_SERVER);
    CU_ASSERT_STRING_EQUAL(membership_strategy_name(s), "client-server");
    CU_ASSERT_FALSE(membership_strategy_find("ring", &s));
    CU_ASSERT_EQUAL(s, MEMBERSHIP_CLIENT_SERVER);
}

/* Goal: an agent of client-server asks aggregators alone, refuses agents but
 * names aggregators to them, and lets go an agent that took it. */
static void test_agent_holds_no_agent(void)
{
    struct membership *v = new_node(MEMBERSHIP_CLIENT_SERVER, AGENT, "n9:1");

    CU_ASSERT_EQUAL(seen.dials, 1); /* the contact, whoever that is */
    link_up(v, 1001, 1, seen.last_dial, 9, AGENT, "");
    CU_ASSERT_EQUAL(seen.joins, 1);
    offer(v, 1002, 1, AGENT, "");
    CU_ASSERT_EQUAL(membership_passive_count(v), 0);
    CU_ASSERT_EQUAL(seen.dials, 1);

    memset(&frame.body, 0, sizeof frame.body);
    frame.which_body = argus_Frame_neighbor_reply_tag;
    frame.body.neighbor_reply = (argus_NeighborReply){
        .accepted = true,
        .peers_count = 2,
        .peers = {{.id = {10}, .address = "n10:1", .role = AGENT},
                  {.id = {11}, .address = "n11:1", .role = AGGREGATOR}}};
    membership_on_frame(v, 1003, 1, &frame, &out);
    CU_ASSERT_EQUAL(membership_active_count(v), 0);
    CU_ASSERT_EQUAL(seen.disconnects, 1);
    CU_ASSERT_EQUAL(seen.closed, 1);
    CU_ASSERT_EQUAL(seen.dials, 2);
    CU_ASSERT_EQUAL(seen.last_expected, 11);

    offer(v, 1004, 12, AGGREGATOR, "");
    link_up(v, 1005, 2, 0, 13, AGENT, "");
    neighbor(v, 1005, 2, true, false);
    CU_ASSERT_EQUAL(seen.rejects, 1);
    CU_ASSERT_EQUAL(membership_stats(v)->unsuited, 2);
    CU_ASSERT_EQUAL_FATAL(seen.reply.peers_count, 2);
    CU_ASSERT_EQUAL(seen.reply.peers[0].role, AGGREGATOR);
    membership_free(v);
}

/* Goal: an aggregator keeps places for aggregators; an agent that insists takes
 * that of another agent, never that of an aggregator. And the log says so. */
static void test_aggregator_reserves_places(void)
{
    struct membership *v = new_node(MEMBERSHIP_CLIENT_SERVER, AGGREGATOR, NULL);
    uint32_t who = 0;

    take(v, 1000, 1000, 1000, AGGREGATOR, "");
    while (seen.rejects == 0 && who < MEMBERSHIP_NEIGHBORS_MAX) {
        who++;
        link_up(v, 1000, who, 0, who, AGENT, "");
        neighbor(v, 1000, who, false, false);
    }
    uint32_t full = membership_active_count(v);
    CU_ASSERT_EQUAL(full, MEMBERSHIP_NEIGHBORS_MAX - 32 + 1);
    CU_ASSERT_EQUAL(membership_stats(v)->limit_reached, 1);
    CU_ASSERT_EQUAL(seen.logs, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(seen.log, "client-server"));

    link_up(v, 4000, 2000, 0, 2000, AGENT, "");
    neighbor(v, 4000, 2000, true, false);
    CU_ASSERT_EQUAL(membership_active_count(v), full);
    CU_ASSERT_EQUAL(membership_stats(v)->peer_evicted, 1);
    CU_ASSERT_TRUE(membership_is_active(v, &(struct node_id){{0xe8, 3}}));
    CU_ASSERT_EQUAL(seen.logs, 1); /* one word an hour */

    for (uint32_t i = 0; i < 31; i++)
        take(v, 4001, 3000 + i, 3000 + i, AGGREGATOR, "");
    CU_ASSERT_EQUAL(membership_active_count(v), MEMBERSHIP_NEIGHBORS_MAX);
    membership_free(v);
}

/* Goal: full asks everyone it hears of, and stops at its bound. */
static void test_full_asks_everyone(void)
{
    struct membership *v = new_node(MEMBERSHIP_FULL, AGENT, NULL);

    for (uint32_t i = 1; i <= 12; i++)
        offer(v, 1000, i, AGENT, "");
    CU_ASSERT_EQUAL(seen.dials, 12);
    for (uint32_t i = 1; i <= MEMBERSHIP_NEIGHBORS_MAX; i++)
        take(v, 1001, 1000 + i, 1000 + i, AGENT, "");
    link_up(v, 1002, 2000, 0, 2000, AGENT, "");
    neighbor(v, 1002, 2000, false, false);
    CU_ASSERT_EQUAL(seen.rejects, 1);
    CU_ASSERT_EQUAL(seen.logs, 1);
    link_up(v, 5002, 2001, 0, 2001, AGENT, "");
    neighbor(v, 5002, 2001, true, false);
    CU_ASSERT_EQUAL(membership_active_count(v), MEMBERSHIP_NEIGHBORS_MAX);
    CU_ASSERT_TRUE(membership_is_active(v, &(struct node_id){{0xd1, 7}}));
    membership_free(v);
}

/* Goal: static knows its contacts alone: no offer, walk or reply makes it dial,
 * no contact is given up, and it does not ask to join. */
static void test_static_keeps_to_its_contacts(void)
{
    struct membership *v = new_node(MEMBERSHIP_STATIC, AGENT, "n9:1");
    uint64_t now = 1000;

    offer(v, now, 1, AGENT, "");
    CU_ASSERT_EQUAL(membership_passive_count(v), 0);
    CU_ASSERT_EQUAL(seen.dials, 1);
    for (uint32_t i = 0; i < 50; i++) { /* nobody is there */
        membership_on_dial_failed(v, now, seen.last_dial, LINK_END_REFUSED,
                                  argus_RefuseCode_REFUSE_NONE, &out);
        now = tick(v, now);
        CU_ASSERT_TRUE_FATAL(now < 1000 + (i + 1) * 6000u);
        CU_ASSERT_EQUAL(seen.dials, i + 2);
        CU_ASSERT_STRING_EQUAL(seen.last_address, "n9:1");
    }
    link_up(v, now, 1, seen.last_dial, 9, AGENT, "");
    CU_ASSERT_EQUAL(seen.joins, 0);
    CU_ASSERT_TRUE(seen.asked.high);
    frame.which_body = argus_Frame_neighbor_reply_tag;
    frame.body.neighbor_reply =
        (argus_NeighborReply){.accepted = true,
                              .peers_count = 1,
                              .peers = {{.id = {10}, .address = "n10:1"}}};
    membership_on_frame(v, now, 1, &frame, &out);
    CU_ASSERT_EQUAL(membership_active_count(v), 1);

    take(v, now, 2, 2, AGENT, ""); /* whoever dials us */
    frame.which_body = argus_Frame_forward_join_tag;
    frame.body.forward_join =
        (argus_ForwardJoin){.has_joiner = true,
                            .joiner = {.id = {77}, .address = "n77:1"},
                            .ttl = 3};
    membership_on_frame(v, now, 2, &frame, &out);
    CU_ASSERT_EQUAL(seen.walks, 1); /* passed on */
    membership_on_timeout(v, now + 60000, &out);
    CU_ASSERT_EQUAL(seen.dials, 51);
    CU_ASSERT_EQUAL(seen.shuffles, 0);

    membership_on_link_down(v, now + 60000, 1, LINK_END_TIMEOUT,
                            argus_RefuseCode_REFUSE_SILENT, &out);
    (void)tick(v, now + 60000);
    CU_ASSERT_EQUAL(seen.dials, 52);
    CU_ASSERT_STRING_EQUAL(seen.last_address, "n9:1");
    CU_ASSERT_FALSE(seen.asked.near);
    membership_free(v);
}

/* A full view of four: two of zone us, two of zone eu/b. */
static struct membership *new_near(void)
{
    struct membership *v = new_node(MEMBERSHIP_HYPARVIEW, AGENT, NULL);

    take(v, 1000, 1, 1, AGENT, "us/x");
    take(v, 1000, 2, 2, AGENT, "us/y");
    take(v, 1000, 3, 3, AGENT, "eu/b");
    take(v, 1000, 4, 4, AGENT, "eu/b");
    return v;
}

static uint32_t near_active(const struct membership *v, uint32_t *far)
{
    struct membership_peer p;
    uint32_t near = 0;

    *far = 0;
    for (uint32_t i = 0; membership_active(v, i, &p); i++) {
        near += p.is_near;
        *far += zone_common(p.zone, zone_pack("eu")) == 0;
    }
    return near;
}

/* Goal: who is asked for a near link takes it when it gains, gives up whoever
 * is furthest, and two places stay unbiased whatever comes. */
static void test_near_is_taken_while_it_gains(void)
{
    struct membership *v = new_near();
    uint32_t far, rejects = 0;

    link_up(v, 4000, 5, 0, 5, AGENT, "us/x");
    neighbor(v, 4000, 5, false, true); /* nothing in common */
    CU_ASSERT_EQUAL(seen.rejects, ++rejects);
    link_up(v, 4000, 6, 0, 6, AGENT, "eu/a");
    neighbor(v, 4000, 6, false, true);
    CU_ASSERT_EQUAL(near_active(v, &far), 1);
    CU_ASSERT_EQUAL(far, 1);
    CU_ASSERT_TRUE(seen.reply.accepted && seen.reply.has_displaced);
    CU_ASSERT_TRUE(seen.reply.displaced.id[0] == 1 ||
                   seen.reply.displaced.id[0] == 2);
    CU_ASSERT_EQUAL(seen.disconnected, seen.reply.displaced.id[0]);
    link_up(v, 4000, 7, 0, 7, AGENT, "eu/c");
    neighbor(v, 4000, 7, false, true);
    CU_ASSERT_EQUAL(near_active(v, &far), 2);
    CU_ASSERT_EQUAL(far, 0);

    /* Both near places are taken: only one that is nearer still has a chance,
     * and takes that of the less near. */
    link_up(v, 4000, 8, 0, 8, AGENT, "eu/d");
    neighbor(v, 4000, 8, false, true);
    CU_ASSERT_EQUAL(seen.rejects, ++rejects);
    link_up(v, 4000, 9, 0, 9, AGENT, "eu/a");
    neighbor(v, 4000, 9, false, true);
    CU_ASSERT_EQUAL(seen.disconnected, 7);
    CU_ASSERT_EQUAL(near_active(v, &far), 2);
    CU_ASSERT_EQUAL(membership_active_count(v), 4);
    membership_free(v);
}

/* Goal: whoever comes by chance takes the place of one who came by chance. */
static void test_near_outlives_chance(void)
{
    struct membership *v = new_near();
    uint32_t far;

    for (link_id i = 6; i < 8; i++) {
        link_up(v, 4000, i, 0, (uint32_t)i, AGENT, "eu/a");
        neighbor(v, 4000, i, false, true);
    }
    for (link_id i = 20; i < 40; i++) {
        link_up(v, 4000 * i, i, 0, (uint32_t)i, AGENT, "us/z");
        neighbor(v, 4000 * i, i, true, false);
        CU_ASSERT_EQUAL(near_active(v, &far), 2);
    }
    CU_ASSERT_EQUAL(far, 2);
    membership_free(v);
}

/* Goal: a full view looks for nearer neighbors, tells the one that goes whom to
 * ask instead, and asks nobody by whom nothing is gained. */
static void test_near_is_looked_for(void)
{
    struct membership *v = new_near();
    uint64_t now = 5000;

    offer(v, now, 30, AGENT, "us/x");
    offer(v, now, 31, AGENT, "eu/a");
    CU_ASSERT_EQUAL(seen.dials, 0);
    while (seen.dials == 0 && now < 100000)
        now = tick(v, now);
    CU_ASSERT_EQUAL_FATAL(seen.last_expected, 31);
    CU_ASSERT_EQUAL(membership_stats(v)->near_sent, 1);
    link_up(v, now, 50, seen.last_dial, 31, AGENT, "eu/a");
    CU_ASSERT_TRUE(seen.asked.near && !seen.asked.high);
    memset(&frame.body, 0, sizeof frame.body);
    frame.which_body = argus_Frame_neighbor_reply_tag;
    frame.body.neighbor_reply.accepted = true;
    frame.body.neighbor_reply.has_displaced = true;
    frame.body.neighbor_reply.displaced =
        (argus_Peer){.id = {90}, .address = "n90:1"};
    membership_on_frame(v, now, 50, &frame, &out);
    CU_ASSERT_EQUAL(membership_stats(v)->near_gained, 1);
    CU_ASSERT_EQUAL(membership_active_count(v), 4);
    CU_ASSERT_TRUE(seen.disconnect.has_instead);
    CU_ASSERT_EQUAL(seen.disconnect.instead.id[0], 90);
    CU_ASSERT_TRUE(seen.disconnected == 1 || seen.disconnected == 2);
    membership_free(v);
}

/* Goal: who is let go asks the one named instead, at once and first. */
static void test_instead_is_asked_first(void)
{
    struct membership *v = new_near();

    for (uint32_t i = 60; i < 67; i++)
        offer(v, 5000, i, AGENT, "us/x");
    memset(&frame.body, 0, sizeof frame.body);
    frame.which_body = argus_Frame_disconnect_tag;
    frame.body.disconnect.has_instead = true;
    frame.body.disconnect.instead =
        (argus_Peer){.id = {90}, .address = "n90:1"};
    membership_on_frame(v, 5000, 1, &frame, &out);
    CU_ASSERT_EQUAL(seen.dials, 1);
    CU_ASSERT_EQUAL(seen.last_expected, 90);
    membership_free(v);
}

/* ---------------------------------------------------- on the simulator */

static struct sim *new_sim(const char *strategy, uint32_t nodes,
                           uint32_t aggregators)
{
    struct sim *s = sim_new(&(struct sim_options){.seed = test_seed(),
                                                  .nodes = nodes,
                                                  .aggregators = aggregators,
                                                  .spread_ms = 2000,
                                                  .strategy = strategy});
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    return s;
}

static void end(struct sim *s)
{
    if (sim_failure(s) != NULL)
        printf("\n  %s\n", sim_failure(s));
    CU_ASSERT_PTR_NULL(sim_failure(s));
    sim_free(s);
}

static const struct membership *views_of(const struct sim *s, uint32_t node)
{
    return s->nodes[node]->engine->membership;
}

static bool is_full_mesh(struct sim *s)
{
    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (sim_is_alive(s, i) &&
            membership_active_count(views_of(s, i)) + 1 != sim_alive_count(s))
            return false;
    return sim_is_symmetric(s);
}

static bool are_broadcasts_delivered(struct sim *s, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        sim_broadcast(s, sim_random_alive(s), "hello");
    return sim_run_until(s, sim_all_delivered, 10000);
}

/* Goal: full is full, loses one and half and a network, and is full again.
 * Method: 40 engines by one contact. */
static void test_full_mesh_mends(void)
{
    struct sim *s = new_sim("full", 40, 2);

    CU_ASSERT_TRUE(sim_run_until(s, is_full_mesh, 30000));
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_known, 10000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    sim_crash(s, 0); /* the contact of all */
    CU_ASSERT_TRUE(sim_run_until(s, is_full_mesh, 10000));
    sim_restart(s, 0);
    sim_crash_random(s, 10);
    CU_ASSERT_TRUE(sim_run_until(s, is_full_mesh, 30000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    sim_partition(s, 20);
    sim_run(s, 30000);
    sim_heal(s);
    CU_ASSERT_TRUE(sim_run_until(s, is_full_mesh, 120000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    CU_ASSERT_EQUAL(sim_counter(s, "view_limit_reached"), 0);
    end(s);
}

static bool is_client_server(struct sim *s)
{
    uint32_t aggregators = 0;

    for (uint32_t i = 0; i < s->options.aggregators; i++)
        aggregators += sim_is_alive(s, i);
    for (uint32_t i = 0; i < s->nodes_count; i++) {
        uint32_t of[2] = {0, 0};
        struct membership_peer p;
        if (!sim_is_alive(s, i))
            continue;
        for (uint32_t k = 0; membership_active(views_of(s, i), k, &p); k++)
            of[p.role == AGGREGATOR]++;
        uint32_t wanted =
            aggregators < CLIENT_SERVERS ? aggregators : CLIENT_SERVERS;
        if (s->nodes[i]->is_aggregator ? of[1] + 1 != aggregators
                                       : of[0] > 0 || of[1] != wanted)
            return false;
    }
    return sim_is_symmetric(s);
}

/* Goal: agents hold aggregators, and other ones when theirs die; what an agent
 * broadcasts reaches all.
 * Method: 5 aggregators, 35 agents; 3 aggregators die, then come back. */
static void test_client_server_falls_over(void)
{
    struct sim *s = new_sim("client-server", 40, 5);

    CU_ASSERT_TRUE(sim_run_until(s, is_client_server, 30000));
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_known, 10000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    for (uint32_t i = 1; i < 4; i++)
        sim_crash(s, i);
    CU_ASSERT_TRUE(sim_run_until(s, is_client_server, 10000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    for (uint32_t i = 1; i < 4; i++)
        sim_restart(s, i);
    CU_ASSERT_TRUE(sim_run_until(s, is_client_server, 60000));
    sim_partition(s, 20); /* five aggregators and fifteen agents | agents */
    sim_run(s, 30000);
    sim_heal(s);
    CU_ASSERT_TRUE(sim_run_until(s, is_client_server, 120000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    end(s);
}

static bool is_star(struct sim *s)
{
    for (uint32_t i = 1; i < s->nodes_count; i++)
        if (!sim_is_alive(s, i) ||
            membership_active_count(views_of(s, i)) != 1 ||
            !membership_is_active(views_of(s, i), &s->nodes[0]->id))
            return false;
    return sim_is_symmetric(s);
}

static bool is_alone(struct sim *s)
{
    for (uint32_t i = 1; i < s->nodes_count; i++)
        if (membership_active_count(views_of(s, i)) != 0)
            return false;
    return true;
}

/* Goal: static has the links that it was told, and no others, for good.
 * Method: 20 nodes, each with node 0 as its Seed: a star. Its center dies for
 * two minutes. */
static void test_static_redials(void)
{
    struct sim *s = new_sim("static", 20, 1);

    CU_ASSERT_TRUE(sim_run_until(s, is_star, 10000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    sim_crash(s, 0);
    sim_run(s, 120000);
    CU_ASSERT_TRUE(is_alone(s));
    sim_restart(s, 0);
    CU_ASSERT_TRUE(sim_run_until(s, is_star, 10000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    sim_run(s, 60000);
    CU_ASSERT_TRUE(is_star(s));
    CU_ASSERT_EQUAL(sim_counter(s, "shuffle_sent"), 0);
    end(s);
}

/* Goal: strategies mix: one mesh, at rest, whatever each node wants.
 * Method: 4 aggregators and 28 agents, eight nodes of each strategy; node 0,
 * the contact of all, is of hyparview. Then a quarter dies. At rest means:
 * hardly a link is given up in ten minutes. */
static void test_strategies_mix(void)
{
    struct sim *s = sim_new(&(struct sim_options){.seed = test_seed(),
                                                  .nodes = 32,
                                                  .aggregators = 4,
                                                  .strategy = "full",
                                                  .quiet = true});
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    for (uint32_t i = 0; i < 32; i++) {
        s->strategy = (enum membership_strategy)(i % MEMBERSHIP_STRATEGIES);
        sim_start(s, i);
        sim_run(s, 100);
    }
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 60000));
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_known, 60000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    sim_run(s, 120000);
    uint64_t evicted = sim_counter(s, "peer_evicted");
    sim_run(s, 600000);
    evicted = sim_counter(s, "peer_evicted") - evicted;
    printf("  %llu evictions in ten minutes\n", (unsigned long long)evicted);
    CU_ASSERT_TRUE(evicted <= 60);
    for (uint32_t i = 4; i < 32; i += 4)
        sim_crash(s, i);
    CU_ASSERT_TRUE(sim_run_until(s, sim_all_joined, 60000));
    CU_ASSERT_TRUE(are_broadcasts_delivered(s, 20));
    end(s);
}

/* Goal: PassiveView 0 means everyone known.
 * Method: 60 nodes; who is no neighbor is in reserve, on every node. */
static bool is_everyone_kept(struct sim *s)
{
    for (uint32_t i = 0; i < s->nodes_count; i++)
        if (!sim_is_alive(s, i) ||
            membership_active_count(views_of(s, i)) +
                    membership_passive_count(views_of(s, i)) + 1 !=
                s->nodes_count)
            return false;
    return true;
}

static void test_passive_view_of_zero_keeps_everyone(void)
{
    struct sim *s = new_sim("full", 60, 2);

    /* The simulator has a default of its own, and a bound for that. */
    s->strategy = MEMBERSHIP_HYPARVIEW;
    s->options.passive_max = 0;
    CU_ASSERT_TRUE(sim_run_until(s, is_everyone_kept, 60000));
    end(s);
}

CU_TestInfo suite_strategies[] = {
    {"names_are_found", test_names_are_found},
    {"agent_holds_no_agent", test_agent_holds_no_agent},
    {"aggregator_reserves_places", test_aggregator_reserves_places},
    {"full_asks_everyone", test_full_asks_everyone},
    {"static_keeps_to_its_contacts", test_static_keeps_to_its_contacts},
    {"near_is_taken_while_it_gains", test_near_is_taken_while_it_gains},
    {"near_outlives_chance", test_near_outlives_chance},
    {"near_is_looked_for", test_near_is_looked_for},
    {"instead_is_asked_first", test_instead_is_asked_first},
    {"full_mesh_mends", test_full_mesh_mends},
    {"client_server_falls_over", test_client_server_falls_over},
    {"static_redials", test_static_redials},
    {"strategies_mix", test_strategies_mix},
    {"passive_view_of_zero_keeps_everyone",
     test_passive_view_of_zero_keeps_everyone},
    CU_TEST_INFO_NULL,
};
