/* test_hyparview.c - one node by hand: each message and trap by itself. What
 * many nodes do together is in test_mesh.c. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/membership.h"

#define SELF 100

static struct {
    uint32_t dials, closes, ups, downs, accepts, rejects, disconnects, walks;
    uint32_t shuffles, shuffle_replies, learned;
    dial_id last_dial;
    char last_address[ADDRESS_SIZE];
    uint8_t last_expected;
    link_id closed, upped, downed, walked, disconnected;
    argus_RefuseCode closed_code, down_code;
    enum link_end down_why;
    bool high, leaving;
    uint32_t asks, joins;
    uint32_t peers_told;
    link_id used;     /* is_used() says so of this one, ... */
    bool all_used;    /* ... or of any */
    uint8_t live;     /* is_live() says so of this one */
    uint8_t left;     /* has_left() of this one */
    uint32_t members; /* any_member() has so many, from 150 on */
} seen;

static void on_send(const struct action *a)
{
    const argus_Frame *f = a->send.frame;

    switch (f->which_body) {
    case argus_Frame_join_tag: seen.joins++; break;
    case argus_Frame_neighbor_tag:
        seen.asks++;
        seen.high = f->body.neighbor.high;
        break;
    case argus_Frame_neighbor_reply_tag:
        seen.accepts += f->body.neighbor_reply.accepted;
        seen.rejects += !f->body.neighbor_reply.accepted;
        seen.peers_told = f->body.neighbor_reply.peers_count;
        break;
    case argus_Frame_disconnect_tag:
        seen.disconnects++;
        seen.disconnected = a->send.link;
        seen.leaving = f->body.disconnect.leaving;
        break;
    case argus_Frame_forward_join_tag:
        seen.walks++;
        seen.walked = a->send.link;
        break;
    case argus_Frame_shuffle_tag: seen.shuffles++; break;
    case argus_Frame_shuffle_reply_tag: seen.shuffle_replies++; break;
    }
}

static void on_action(void *context, const struct action *a)
{
    (void)context;
    if (a->type == ACTION_SEND) {
        on_send(a);
    } else if (a->type == ACTION_CLOSE) {
        seen.closes++;
        seen.closed = a->close.link;
        seen.closed_code = a->close.code;
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
    (void)context;
    (void)peer;
    (void)o;
    seen.ups++;
    seen.upped = link;
}

static void on_down(void *context, link_id link, const struct node_id *peer,
                    enum link_end why, argus_RefuseCode code, struct actions *o)
{
    (void)context;
    (void)peer;
    (void)o;
    seen.downs++;
    seen.downed = link;
    seen.down_why = why;
    seen.down_code = code;
}

static void on_learned(void *context, const struct node_id *peer,
                       const char *address, struct actions *o)
{
    (void)context;
    (void)peer;
    (void)o;
    seen.learned += address[0] != '\0';
}

static bool is_live_address(void *context, const char *address)
{
    (void)context;
    (void)address;
    return false;
}

static bool is_used(void *context, link_id link)
{
    (void)context;
    return seen.all_used || link == seen.used;
}

static bool is_live(void *context, const struct node_id *peer)
{
    (void)context;
    return seen.live != 0 && peer->bytes[0] == seen.live;
}

static bool has_left(void *context, const struct node_id *peer)
{
    (void)context;
    return seen.left != 0 && peer->bytes[0] == seen.left;
}

static struct node_id id_of(uint8_t who)
{
    struct node_id id = {{who}};
    return id;
}

static bool any_member(void *context, uint32_t pick,
                       struct membership_wish wish, struct membership_peer *o)
{
    static char address[16];

    (void)context;
    if (seen.members == 0 || (wish.live && seen.live == 0))
        return false;
    uint8_t who = (uint8_t)(150 + pick % seen.members);
    (void)snprintf(address, sizeof address, "n%u:1", who);
    *o = (struct membership_peer){
        .id = id_of(who), .generation = 1, .address = address};
    return true;
}

static struct membership *start_node(const struct membership_options *o)
{
    struct membership_listener up = {.neighbor_up = on_up,
                                     .neighbor_down = on_down,
                                     .learned_address = on_learned,
                                     .is_live_address = is_live_address,
                                     .is_used = is_used,
                                     .is_live = is_live,
                                     .has_left = has_left,
                                     .any_member = any_member};
    struct membership *h = NULL;

    memset(&seen, 0, sizeof seen);
    CU_ASSERT_EQUAL_FATAL(membership_new(o, &up, &h), ARGUS_OK);
    membership_start(h, 1000, &out);
    return h;
}

static struct membership_options options_of(uint32_t active_max)
{
    return (struct membership_options){.seed = test_seed(),
                                       .id = id_of(SELF),
                                       .generation = 3,
                                       .address = "self:1",
                                       .active_max = active_max,
                                       .passive_max = 8,
                                       .shuffle_ms = 10000,
                                       .answer_ms = 3500};
}

static struct membership *new_node(uint32_t active_max, const char *contact)
{
    const char *contacts[] = {contact};
    struct membership_options o = options_of(active_max);

    o.contacts = contacts;
    o.contacts_count = contact != NULL;
    return start_node(&o);
}

static void link_up(struct membership *h, uint64_t now, link_id link,
                    dial_id dial, uint8_t who, uint32_t generation)
{
    struct peer_info p;

    memset(&p, 0, sizeof p);
    p.id = id_of(who);
    p.generation = generation;
    p.kind = argus_LinkKind_LINK_MESH;
    (void)snprintf(p.address, sizeof p.address, "n%u:1", who);
    membership_on_link_up(h, now, link, dial, &p, &out);
}

static void offer(struct membership *h, uint64_t now, struct node_id id,
                  const char *address, uint32_t generation)
{
    const struct membership_peer p = {
        .id = id, .address = address, .generation = generation};

    membership_offer(h, now, &p, &out);
}

/* Let time pass to the next deadline; one that is overdue is now. */
static uint64_t tick(struct membership *h, uint64_t now)
{
    uint64_t due = membership_deadline_ms(h);

    CU_ASSERT_FATAL(due != UINT64_MAX);
    now = due > now ? due : now;
    membership_on_timeout(h, now, &out);
    return now;
}

static argus_Frame frame;

static void receive(struct membership *h, uint64_t now, link_id link,
                    pb_size_t which)
{
    frame.which_body = which;
    membership_on_frame(h, now, link, &frame, &out);
}

/* A peer that comes and asks to be a neighbor. */
static void asks(struct membership *h, uint64_t now, link_id link, uint8_t who,
                 uint32_t generation, bool high)
{
    link_up(h, now, link, 0, who, generation);
    frame.body.neighbor = (argus_Neighbor){.high = high};
    receive(h, now, link, argus_Frame_neighbor_tag);
}

static void joins(struct membership *h, uint64_t now, link_id link, uint8_t who)
{
    link_up(h, now, link, 0, who, 1);
    receive(h, now, link, argus_Frame_join_tag);
}

static void answers(struct membership *h, uint64_t now, link_id link,
                    bool accepted)
{
    memset(&frame.body.neighbor_reply, 0, sizeof frame.body.neighbor_reply);
    frame.body.neighbor_reply.accepted = accepted;
    receive(h, now, link, argus_Frame_neighbor_reply_tag);
}

static void fill_peer(argus_Peer *p, uint8_t who)
{
    memset(p, 0, sizeof *p);
    p->id[0] = who;
    p->generation = 1;
    (void)snprintf(p->address, sizeof p->address, "n%u:1", who);
}

/* Goal: a peer is active only once it has said yes. */
static void test_contact_active_after_its_reply(void)
{
    struct membership *h = new_node(5, "seed:1");

    CU_ASSERT_EQUAL(seen.dials, 1);
    CU_ASSERT_STRING_EQUAL(seen.last_address, "seed:1");
    CU_ASSERT_EQUAL(seen.last_dial >> 56, MEMBERSHIP_DIAL_TAG);
    link_up(h, 1010, 1, seen.last_dial, 7, 1);
    CU_ASSERT_EQUAL(seen.joins, 1);
    CU_ASSERT_EQUAL(membership_active_count(h), 0);
    answers(h, 1020, 1, true);
    CU_ASSERT_EQUAL(membership_active_count(h), 1);
    CU_ASSERT_EQUAL(seen.ups, 1);
    CU_ASSERT_EQUAL(seen.learned, 1);
    CU_ASSERT_TRUE(membership_is_active_link(h, 1));
    answers(h, 1030, 1, true); /* a second reply is out of turn */
    CU_ASSERT_EQUAL(membership_stats(h)->frame_stale, 1);
    membership_free(h);
}

/* Goal: a rejected joiner takes the peers it is told, and insists on one. */
static void test_rejected_joiner_tries_the_others(void)
{
    struct membership *h = new_node(5, "seed:1");

    link_up(h, 1010, 1, seen.last_dial, 7, 1);
    memset(&frame.body.neighbor_reply, 0, sizeof frame.body.neighbor_reply);
    frame.body.neighbor_reply.peers_count = 1;
    fill_peer(&frame.body.neighbor_reply.peers[0], 9);
    receive(h, 1020, 1, argus_Frame_neighbor_reply_tag);
    CU_ASSERT_EQUAL(seen.closed, 1);
    CU_ASSERT_EQUAL(membership_active_count(h), 0);
    CU_ASSERT_EQUAL(seen.dials, 2);
    CU_ASSERT_EQUAL(seen.last_expected, 9);
    link_up(h, 1040, 2, seen.last_dial, 9, 1);
    CU_ASSERT_EQUAL(seen.asks, 1);
    CU_ASSERT_TRUE(seen.high);
    membership_free(h);
}

/* Goal: while nobody answers, contacts are tried with a growing wait, up to
 * 5 s and for ever. */
static void test_contacts_are_tried_for_ever(void)
{
    struct membership *h = new_node(5, "seed:1");
    uint64_t now = 1000;
    uint32_t dials = 0;

    while (now < 601000) {
        membership_on_dial_failed(h, now, seen.last_dial, LINK_END_REFUSED,
                                  argus_RefuseCode_REFUSE_NONE, &out);
        for (dials = seen.dials; seen.dials == dials;)
            now = tick(h, now);
        CU_ASSERT_EQUAL(seen.dials, dials + 1);
    }
    CU_ASSERT_TRUE(seen.dials > 100 && seen.dials < 170);
    membership_free(h);
}

/* Goal: our own address among the contacts is found out and left alone; a name
 * is looked up again now and then, since others may come to stand behind it. */
static void test_own_address_is_no_contact(void)
{
    static const char *const contacts[] = {"127.0.0.1:1", "[::1]:1", "self:1"};

    for (size_t i = 0; i < 3; i++) {
        struct membership *h = new_node(5, contacts[i]);
        bool is_name = i == 2;
        uint64_t now = 1005;

        membership_on_dial_failed(h, now, seen.last_dial, LINK_END_DENIED,
                                  argus_RefuseCode_REFUSE_SELF, &out);
        while (now < 55000)
            now = tick(h, now);
        CU_ASSERT_EQUAL(seen.dials, 1);
        while (now < 70000)
            now = tick(h, now);
        CU_ASSERT_EQUAL(seen.dials, is_name ? 2 : 1);
        membership_free(h);
    }
}

/* Goal: full views reject low requests, with peers to try, and make room for
 * high ones; who is evicted hears of others before the Disconnect. */
static void test_full_view_rejects_low_evicts_for_high(void)
{
    struct membership *h = new_node(2, NULL);

    asks(h, 1000, 1, 1, 1, false);
    asks(h, 1001, 2, 2, 1, false);
    CU_ASSERT_EQUAL(seen.accepts, 2);
    asks(h, 1002, 3, 3, 1, false);
    CU_ASSERT_EQUAL(seen.rejects, 1);
    CU_ASSERT_EQUAL(seen.peers_told, 2);
    CU_ASSERT_EQUAL(seen.closed, 3);
    CU_ASSERT_EQUAL(membership_active_count(h), 2);
    asks(h, 5003, 4, 4, 1, true);
    CU_ASSERT_EQUAL(seen.accepts, 3);
    CU_ASSERT_EQUAL(membership_active_count(h), 2);
    CU_ASSERT_EQUAL(seen.disconnects, 1);
    CU_ASSERT_FALSE(seen.leaving);
    CU_ASSERT_EQUAL(seen.shuffle_replies, 1);
    CU_ASSERT_EQUAL(seen.downed, seen.disconnected);
    CU_ASSERT_EQUAL(seen.down_why, LINK_END_CLOSED);
    CU_ASSERT_TRUE(membership_is_active_link(h, 4));
    CU_ASSERT_EQUAL(membership_stats(h)->peer_evicted, 1);
    CU_ASSERT_EQUAL(membership_passive_count(h), 1); /* the evicted one */
    membership_free(h);
}

/* Goal: the neighbor by which broadcasts go stays while there is another to
 * make room; but one that has just come stays before it. */
static void test_used_link_is_evicted_last(void)
{
    static const struct {
        link_id used;
        uint64_t second_ms, asked_ms; /* when the second came, and the third */
        link_id evicted;
    } cases[] = {{1, 1000, 5000, 2}, {2, 1000, 5000, 1}, {1, 4000, 5000, 1}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct membership *h = new_node(2, NULL);

        seen.used = cases[i].used;
        asks(h, 1000, 1, 1, 1, false);
        asks(h, cases[i].second_ms, 2, 2, 1, false);
        asks(h, cases[i].asked_ms, 3, 3, 1, true);
        CU_ASSERT_EQUAL(seen.disconnects, 1);
        CU_ASSERT_EQUAL(seen.downed, cases[i].evicted);
        CU_ASSERT_TRUE(membership_is_active_link(h, 3));
        membership_free(h);
    }
}

/* Goal: nobody has to go who is needed only to mix the overlay: who asks for
 * that is rejected then, unlike who lacks neighbors. */
static void test_swap_is_declined_where_all_links_are_used(void)
{
    static const struct {
        bool swap, all_used, accepted;
    } cases[] = {{true, true, false}, {true, false, true}, {false, true, true}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct membership *h = new_node(2, NULL);

        asks(h, 1000, 1, 1, 1, false);
        asks(h, 1001, 2, 2, 1, false);
        seen.all_used = cases[i].all_used;
        link_up(h, 5000, 3, 0, 3, 1);
        frame.body.neighbor =
            (argus_Neighbor){.high = true, .swap = cases[i].swap};
        receive(h, 5000, 3, argus_Frame_neighbor_tag);
        CU_ASSERT_EQUAL(membership_is_active_link(h, 3), cases[i].accepted);
        CU_ASSERT_EQUAL(seen.rejects, !cases[i].accepted);
        CU_ASSERT_EQUAL(membership_active_count(h), 2);
        membership_free(h);
    }
}

/* Goal: a node exchanges a neighbor now and then to mix the overlay, but not
 * while broadcasts go by each. */
static void test_swap_waits_while_all_links_are_used(void)
{
    struct membership *h = new_node(2, NULL);
    uint64_t now = 5000;

    asks(h, 1000, 1, 1, 1, false);
    asks(h, 1001, 2, 2, 1, false);
    asks(h, 5000, 3, 3, 1, true); /* one is a candidate from here on */
    seen.all_used = true;
    while (now < 4 * 3600000)
        now = tick(h, now);
    CU_ASSERT_EQUAL(seen.dials, 0);
    seen.all_used = false;
    for (uint64_t end = now + 10000; now < end && seen.dials == 0;)
        now = tick(h, now);
    CU_ASSERT_EQUAL(seen.dials, 1);
    CU_ASSERT_EQUAL(membership_stats(h)->swap_sent, 1);
    membership_free(h);
}

/* Goal: who has several peers back from the lost, as after a split, exchanges
 * neighbors soon, and again if that fails; later as seldom as ever. */
static void test_swaps_go_on_after_a_split(void)
{
    struct membership *h = new_node(2, NULL);
    uint64_t now = 5000;

    asks(h, 1000, 1, 1, 1, false);
    asks(h, 1001, 2, 2, 1, false);
    for (uint8_t i = 3; i <= 8; i++) {
        struct node_id id = id_of(i);
        offer(h, now, id, "n:1", 1);
        membership_lose(h, now, &id, &out);
    }
    CU_ASSERT_EQUAL(membership_lost_count(h), 6);
    for (uint8_t i = 3; i <= 8; i++)
        offer(h, now, id_of(i), "n:1", 1);
    CU_ASSERT_EQUAL(membership_lost_count(h), 0);

    uint64_t swaps_by[] = {5000, 15000, 35000, 75000}; /* and jitter */
    for (size_t i = 0; i < sizeof swaps_by / sizeof swaps_by[0]; i++) {
        while (now < 6000 + swaps_by[i] * 3 / 2 && seen.dials <= i)
            now = tick(h, now);
        CU_ASSERT_EQUAL(membership_stats(h)->swap_sent, i + 1);
        membership_on_dial_failed(h, now, seen.last_dial, LINK_END_TIMEOUT,
                                  argus_RefuseCode_REFUSE_NONE, &out);
    }
    while (now < 24 * 3600000)
        now = tick(h, now);
    CU_ASSERT_TRUE(membership_stats(h)->swap_sent < 40);
    membership_free(h);
}

/* Goal: once the neighbors have been the same for a while, and are enough, a
 * node shuffles as much more seldom as its owner lets it. */
static void test_shuffles_rest_with_the_neighbors(void)
{
    for (uint32_t rest = 0; rest <= 4; rest += 2) {
        struct membership_options o = options_of(2);
        o.shuffle_rest = rest;
        struct membership *h = start_node(&o);
        uint64_t now = 1000;

        asks(h, now, 1, 1, 1, false);
        while (now < 400000)
            now = tick(h, now);
        uint32_t before = seen.shuffles; /* it lacks a neighbor */
        CU_ASSERT_TRUE(before >= 30);
        asks(h, now, 2, 2, 1, false);
        while (now < 800000)
            now = tick(h, now);
        uint32_t wanted = 40 / (rest > 0 ? rest : 1);
        CU_ASSERT_TRUE(seen.shuffles - before >= wanted * 3 / 4);
        CU_ASSERT_TRUE(seen.shuffles - before <= wanted * 5 / 4 + 3);
        membership_free(h);
    }
}

/* Goal: joins are throttled: a burst, then a rate; the rest is sent on. */
static void test_join_storm_is_throttled(void)
{
    struct membership *h = new_node(5, NULL);

    for (uint8_t i = 0; i < 40; i++)
        joins(h, 1000, 10 + i, (uint8_t)(i + 1));
    CU_ASSERT_EQUAL(membership_stats(h)->join_accepted, MEMBERSHIP_JOIN_BURST);
    CU_ASSERT_EQUAL(membership_stats(h)->join_throttled,
                    40 - MEMBERSHIP_JOIN_BURST);
    CU_ASSERT_EQUAL(seen.rejects, 40 - MEMBERSHIP_JOIN_BURST);
    CU_ASSERT_TRUE(seen.peers_told >= 4);
    joins(h, 1000 + 1000 / MEMBERSHIP_JOIN_RATE, 99, 99);
    CU_ASSERT_EQUAL(membership_stats(h)->join_accepted,
                    MEMBERSHIP_JOIN_BURST + 1);
    membership_free(h);
}

/* Goal: a Disconnect that comes late, on a link that was replaced, does not
 * end the new one (Partisan #15). */
static void test_late_disconnect_is_ignored(void)
{
    struct membership *h = new_node(5, NULL);

    asks(h, 1000, 1, 1, 1, false);
    asks(h, 1001, 2, 1, 1, false); /* it dialed anew: it knows best */
    CU_ASSERT_TRUE(membership_is_active_link(h, 2));
    CU_ASSERT_EQUAL(membership_active_count(h), 1);
    CU_ASSERT_EQUAL(seen.closed_code, argus_RefuseCode_REFUSE_REPLACED);
    frame.body.disconnect = (argus_Disconnect){.leaving = true};
    receive(h, 1002, 1, argus_Frame_disconnect_tag);
    membership_on_link_down(h, 1003, 1, LINK_END_RESET,
                            argus_RefuseCode_REFUSE_NONE, &out);
    CU_ASSERT_TRUE(membership_is_active_link(h, 2));
    CU_ASSERT_EQUAL(membership_active_count(h), 1);
    CU_ASSERT_TRUE(membership_stats(h)->frame_stale > 0);
    membership_free(h);
}

/* Goal: of two dials that cross, that of the lower id stays, seen from both
 * sides; its end with REPLACED is no failure. */
static void test_crossing_dials_lower_id_wins(void)
{
    struct membership *h = new_node(5, "n7:1");

    link_up(h, 1010, 1, seen.last_dial, 7, 1); /* we asked 7 < SELF */
    asks(h, 1011, 2, 7, 1, false);
    CU_ASSERT_TRUE(membership_is_active_link(h, 2));
    CU_ASSERT_EQUAL(seen.closed, 1);
    CU_ASSERT_EQUAL(seen.closed_code, argus_RefuseCode_REFUSE_REPLACED);
    membership_free(h);

    h = new_node(5, "n200:1");
    link_up(h, 1010, 1, seen.last_dial, 200, 1); /* we asked 200 > SELF */
    asks(h, 1011, 2, 200, 1, false);
    CU_ASSERT_EQUAL(seen.closed, 2);
    CU_ASSERT_EQUAL(membership_active_count(h), 0);
    answers(h, 1012, 1, true);
    CU_ASSERT_TRUE(membership_is_active_link(h, 1));
    CU_ASSERT_EQUAL(seen.downs, 0);
    membership_free(h);
}

/* Goal: a newer life of a neighbor ends the old link at once; an older one
 * cannot push out the new. */
static void test_newest_generation_wins(void)
{
    struct membership *h = new_node(5, NULL);

    asks(h, 1000, 1, 1, 5, false);
    link_up(h, 1001, 2, 0, 1, 6);
    CU_ASSERT_EQUAL(seen.downed, 1);
    CU_ASSERT_EQUAL(seen.down_code, argus_RefuseCode_REFUSE_REPLACED);
    frame.body.neighbor = (argus_Neighbor){.high = false};
    receive(h, 1002, 2, argus_Frame_neighbor_tag);
    CU_ASSERT_TRUE(membership_is_active_link(h, 2));
    asks(h, 1003, 3, 1, 5, true);
    CU_ASSERT_TRUE(membership_is_active_link(h, 2));
    CU_ASSERT_EQUAL(seen.closed, 3);
    membership_free(h);
}

/* Goal: one-sided links do not last, whichever side holds them. */
static void test_audit_ends_one_sided_links(void)
{
    struct membership *h = new_node(5, NULL);

    asks(h, 1000, 1, 1, 1, false);
    for (int i = 0; i < 2; i++)
        membership_on_audit(h, 1001, 1, false, &out);
    membership_on_audit(h, 1002, 1, true, &out); /* once is forgiven */
    for (int i = 0; i < 2; i++)
        membership_on_audit(h, 1003, 1, false, &out);
    CU_ASSERT_TRUE(membership_is_active_link(h, 1));
    membership_on_audit(h, 1004, 1, false, &out);
    CU_ASSERT_FALSE(membership_is_active_link(h, 1));
    CU_ASSERT_EQUAL(seen.disconnected, 1);

    link_up(h, 1005, 2, 0, 2, 1); /* it believes, we do not */
    membership_on_audit(h, 1006, 2, true, &out);
    CU_ASSERT_EQUAL(seen.disconnected, 2);
    CU_ASSERT_EQUAL(seen.closed, 2);
    CU_ASSERT_EQUAL(membership_stats(h)->audit_failed, 2);
    membership_free(h);
}

/* Goal: a candidate that does not answer steps back and is lost after three
 * times; one that refuses is lost at once; lost ones are probed for ever. */
static void test_candidates_step_back_before_they_are_lost(void)
{
    struct membership *h = new_node(5, NULL);
    struct node_id a = id_of(1), b = id_of(2);
    uint64_t now = 2000;

    offer(h, now, a, "n1:1", 1);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(membership_lost_count(h), 0);
        CU_ASSERT_EQUAL(membership_passive_count(h), 1);
        membership_on_dial_failed(h, now += 3000, seen.last_dial,
                                  LINK_END_TIMEOUT,
                                  argus_RefuseCode_REFUSE_NONE, &out);
        if (i < 2)
            now = tick(h, now);
    }
    CU_ASSERT_EQUAL(membership_lost_count(h), 1);
    CU_ASSERT_EQUAL(membership_passive_count(h), 0);
    offer(h, now, b, "n2:1", 1);
    membership_on_dial_failed(h, now, seen.last_dial, LINK_END_REFUSED,
                              argus_RefuseCode_REFUSE_NONE, &out);
    CU_ASSERT_EQUAL(membership_lost_count(h), 2);

    asks(h, now, 1, 3, 1, false);
    uint32_t before = seen.dials;
    for (uint64_t end = now + 120000; now < end;) {
        now = tick(h, now);
        membership_on_dial_failed(h, now, seen.last_dial, LINK_END_REFUSED,
                                  argus_RefuseCode_REFUSE_NONE, &out);
    }
    CU_ASSERT_TRUE(seen.dials - before >= 9 && seen.dials - before <= 16);
    CU_ASSERT_EQUAL(membership_lost_count(h), 2);

    offer(h, now, a, "n1:1", 1); /* it is back */
    CU_ASSERT_EQUAL(membership_lost_count(h), 1);
    CU_ASSERT_EQUAL(membership_stats(h)->peer_returned, 1);
    membership_free(h);
}

/* Goal: whoever is lost is probed within ten minutes, however many there are,
 * and in turn. Method: a full list of lost nodes, all silent; which of them was
 * dialed for how long stands in the time of its last dial. */
static void test_lost_are_all_probed_in_ten_minutes(void)
{
    struct membership *h = new_node(1, NULL);
    uint64_t now = 2000, dialed_ms[MEMBERSHIP_LOST_MAX + 1] = {0};

    for (uint8_t i = 1; i <= MEMBERSHIP_LOST_MAX; i++) {
        struct node_id id = id_of(i);
        char address[16];
        (void)snprintf(address, sizeof address, "n%u:1", i);
        offer(h, now, id, address, 1);
        membership_on_dial_failed(h, now, seen.last_dial, LINK_END_REFUSED,
                                  argus_RefuseCode_REFUSE_NONE, &out);
    }
    CU_ASSERT_EQUAL_FATAL(membership_lost_count(h), MEMBERSHIP_LOST_MAX);
    asks(h, now, 1, 90, 1, false);
    for (uint8_t i = 0; i <= MEMBERSHIP_LOST_MAX; i++)
        dialed_ms[i] = now;
    while (now < 3600000) {
        dial_id before = seen.last_dial;
        now = tick(h, now);
        if (seen.last_dial == before)
            continue;
        CU_ASSERT_TRUE(now - dialed_ms[seen.last_expected] <= 600000);
        dialed_ms[seen.last_expected] = now;
        membership_on_dial_failed(h, now, seen.last_dial, LINK_END_TIMEOUT,
                                  argus_RefuseCode_REFUSE_NONE, &out);
    }
    for (uint8_t i = 1; i <= MEMBERSHIP_LOST_MAX; i++)
        CU_ASSERT_TRUE(now - dialed_ms[i] <= 600000);
    CU_ASSERT_EQUAL(membership_lost_count(h), MEMBERSHIP_LOST_MAX);
    membership_free(h);
}

/* Goal: who left for good is no candidate and is not probed, whoever speaks of
 * it; one that only stopped is. */
static void test_left_node_is_forgotten(void)
{
    struct membership *h = new_node(5, NULL);
    struct node_id a = id_of(1);

    seen.left = 1;
    for (uint8_t who = 1; who <= 2; who++) {
        asks(h, 1000, who, who, 1, false);
        frame.body.disconnect = (argus_Disconnect){.leaving = true};
        receive(h, 1000, who, argus_Frame_disconnect_tag);
    }
    CU_ASSERT_EQUAL(membership_lost_count(h), 1); /* the second */
    offer(h, 1002, a, "n1:1", 1);
    CU_ASSERT_EQUAL(membership_passive_count(h), 0);
    CU_ASSERT_EQUAL(seen.dials, 0);
    seen.left = 0; /* it came back */
    offer(h, 1003, a, "n1:1", 2);
    CU_ASSERT_EQUAL(seen.last_expected, 1);
    membership_free(h);
}

/* Goal: a passive view that runs dry is filled from the directory: with whom
 * it thinks alive, and without any neighbor with whoever has not left. */
static void test_dry_view_is_filled_from_the_directory(void)
{
    struct membership *h = new_node(3, NULL);
    uint64_t now = 1000;

    asks(h, now, 1, 1, 1, false);
    seen.members = 20;
    for (; now < 30000; now = tick(h, now))
        ;
    CU_ASSERT_EQUAL(seen.dials, 0); /* all of them are offline */
    seen.live = 1;
    for (; seen.dials == 0 && now < 60000; now = tick(h, now))
        ;
    CU_ASSERT_TRUE(seen.dials > 0 && seen.last_expected >= 150);
    CU_ASSERT_TRUE(membership_stats(h)->refilled > 0);
    membership_free(h);

    h = new_node(3, NULL);
    seen.members = 1;
    now = 1000 + 15000;
    membership_on_timeout(h, now, &out);
    CU_ASSERT_EQUAL(seen.dials, 1);
    CU_ASSERT_EQUAL(seen.last_expected, 150);
    membership_free(h);
}

/* Goal: a joiner that is sent away because too many come at once keeps the
 * link that it has. */
static void test_throttled_join_ends_no_link(void)
{
    struct membership *h = new_node(30, NULL);

    for (uint8_t i = 0; i < MEMBERSHIP_JOIN_BURST; i++)
        joins(h, 1000, 10 + i, (uint8_t)(i + 1));
    joins(h, 1000, 50, 1); /* the first of them once more */
    CU_ASSERT_EQUAL(membership_stats(h)->join_throttled, 1);
    CU_ASSERT_EQUAL(seen.closed, 50);
    CU_ASSERT_TRUE(membership_is_active_link(h, 10));
    CU_ASSERT_EQUAL(seen.downs, 0);
    membership_free(h);
}

/* Goal: while joined a contact that is known to live is not joined again. */
static void test_live_contact_is_not_joined_twice(void)
{
    struct membership *h = new_node(5, "seed:1");

    asks(h, 1000, 1, 1, 1, false);
    seen.live = 7;
    link_up(h, 1010, 2, seen.last_dial, 7, 1);
    CU_ASSERT_EQUAL(seen.joins, 0);
    CU_ASSERT_EQUAL(seen.closed, 2);
    uint32_t dials = seen.dials;
    for (uint64_t now = 1010; now < 61000;)
        now = tick(h, now);
    CU_ASSERT_TRUE(seen.dials <= dials + 1); /* as a neighbor, not a contact */
    membership_free(h);
}

/* Goal: a dead neighbor is replaced from the passive view, with priority when
 * it was the last one; why it ended is told. */
static void test_dead_neighbor_is_replaced(void)
{
    struct membership *h = new_node(2, NULL);
    struct node_id c = id_of(3);

    asks(h, 1000, 1, 1, 1, false);
    asks(h, 1000, 2, 2, 1, false);
    offer(h, 1001, c, "n3:1", 1);
    CU_ASSERT_EQUAL(seen.dials, 0); /* full */
    membership_on_link_down(h, 1002, 1, LINK_END_RESET,
                            argus_RefuseCode_REFUSE_NONE, &out);
    CU_ASSERT_EQUAL(seen.down_why, LINK_END_RESET);
    CU_ASSERT_EQUAL(seen.last_expected, 3);
    membership_on_link_down(h, 1003, 2, LINK_END_TIMEOUT,
                            argus_RefuseCode_REFUSE_SILENT, &out);
    CU_ASSERT_EQUAL(membership_lost_count(h), 1); /* the silent one */
    link_up(h, 1004, 3, seen.last_dial, 3, 1);
    CU_ASSERT_EQUAL(seen.asks, 1);
    membership_free(h);
}

/* Goal: walks: forwarded while they may, kept at PRWL, ended at a lone node. */
static void test_forward_join_walks(void)
{
    struct membership *h = new_node(5, NULL);

    asks(h, 1000, 1, 1, 1, false);
    frame.body.forward_join =
        (argus_ForwardJoin){.has_joiner = true, .ttl = 4000000000u};
    fill_peer(&frame.body.forward_join.joiner, 9);
    receive(h, 1001, 1, argus_Frame_forward_join_tag);
    CU_ASSERT_EQUAL(seen.walks, 0); /* the sender is our only neighbor */
    CU_ASSERT_EQUAL(seen.last_expected, 9);

    asks(h, 1002, 2, 2, 1, false);
    fill_peer(&frame.body.forward_join.joiner, 10);
    frame.body.forward_join.has_joiner = true;
    frame.body.forward_join.ttl = HYPARVIEW_PRWL;
    uint32_t passive = membership_passive_count(h);
    receive(h, 1003, 1, argus_Frame_forward_join_tag);
    CU_ASSERT_EQUAL(seen.walks, 1);
    CU_ASSERT_EQUAL(seen.walked, 2);
    CU_ASSERT_TRUE(membership_passive_count(h) == passive + 1);
    membership_free(h);
}

/* Goal: a stranger cannot fill the passive view with its friends. */
static void test_unasked_shuffle_reply_is_ignored(void)
{
    struct membership *h = new_node(5, NULL);

    link_up(h, 1000, 1, 0, 1, 1);
    frame.body.shuffle_reply.peers_count = 1;
    fill_peer(&frame.body.shuffle_reply.peers[0], 66);
    receive(h, 1001, 1, argus_Frame_shuffle_reply_tag);
    CU_ASSERT_EQUAL(membership_passive_count(h), 0);
    CU_ASSERT_EQUAL(membership_stats(h)->shuffle_unasked, 1);
    /* Nor can one that is no neighbor send walks or shuffles. */
    frame.body.shuffle.ttl = 1;
    frame.body.shuffle.has_origin = true;
    fill_peer(&frame.body.shuffle.origin, 66);
    frame.body.shuffle.peers_count = 0;
    receive(h, 1002, 1, argus_Frame_shuffle_tag);
    CU_ASSERT_EQUAL(seen.dials, 0);
    /* Who asks for nothing is shown out. */
    membership_on_timeout(h, membership_deadline_ms(h), &out);
    CU_ASSERT_EQUAL(seen.closed, 1);
    membership_free(h);
}

/* Goal: a shuffle ends here with an answer by a dial of its own to the origin,
 * and its peers enter the passive view, never ourselves. */
static void test_shuffle_is_answered_by_a_dial(void)
{
    struct membership *h = new_node(1, NULL);

    asks(h, 1000, 1, 1, 1, false);
    memset(&frame.body.shuffle, 0, sizeof frame.body.shuffle);
    frame.body.shuffle.ttl = 6;
    frame.body.shuffle.has_origin = true;
    fill_peer(&frame.body.shuffle.origin, 20);
    frame.body.shuffle.peers_count = 2;
    fill_peer(&frame.body.shuffle.peers[0], 21);
    fill_peer(&frame.body.shuffle.peers[1], SELF);
    receive(h, 1001, 1, argus_Frame_shuffle_tag);
    CU_ASSERT_EQUAL(seen.last_expected, 20);
    CU_ASSERT_EQUAL(membership_passive_count(h), 2);
    link_up(h, 1002, 2, seen.last_dial, 20, 1);
    CU_ASSERT_EQUAL(seen.shuffle_replies, 1);
    CU_ASSERT_EQUAL(seen.closed, 2);
    membership_free(h);
}

/* Goal: of two that lack a neighbor and meet by a shuffle the second asks the
 * first, unless they are neighbors of one neighbor. */
static void test_seeker_is_met_three_hops_away(void)
{
    struct membership *h = new_node(5, NULL);

    asks(h, 1000, 1, 1, 1, false);
    asks(h, 1000, 2, 2, 1, false);
    memset(&frame.body.shuffle, 0, sizeof frame.body.shuffle);
    frame.body.shuffle.ttl = HYPARVIEW_ARWL - 1;
    frame.body.shuffle.seeks = true;
    frame.body.shuffle.has_origin = true;
    fill_peer(&frame.body.shuffle.origin, 20);
    receive(h, 1001, 1, argus_Frame_shuffle_tag);
    CU_ASSERT_EQUAL(seen.dials, 0);
    CU_ASSERT_EQUAL(seen.shuffles, 1);
    frame.body.shuffle.ttl = HYPARVIEW_ARWL - 2;
    receive(h, 1002, 1, argus_Frame_shuffle_tag);
    CU_ASSERT_EQUAL(seen.dials, 1);
    CU_ASSERT_EQUAL(seen.last_expected, 20);
    CU_ASSERT_EQUAL(seen.shuffles, 2);
    membership_free(h);
}

/* Goal: leaving says goodbye to all and takes nobody in afterwards. */
static void test_leave_says_goodbye(void)
{
    struct membership *h = new_node(5, "seed:1");

    asks(h, 1000, 1, 1, 1, false);
    asks(h, 1000, 2, 2, 1, false);
    membership_leave(h, 1001, &out);
    CU_ASSERT_EQUAL(seen.disconnects, 2);
    CU_ASSERT_TRUE(seen.leaving);
    CU_ASSERT_EQUAL(membership_active_count(h), 0);
    asks(h, 1002, 3, 3, 1, true);
    CU_ASSERT_EQUAL(seen.rejects, 1);
    uint32_t dials = seen.dials;
    membership_on_timeout(h, 100000, &out);
    CU_ASSERT_EQUAL(seen.dials, dials);
    CU_ASSERT_EQUAL(membership_join(h, 100001, "n5:1", &out), ARGUS_OK);
    CU_ASSERT_TRUE(seen.dials > dials);
    membership_free(h);
}

/* Goal: bounds hold whatever comes: links, passive view, contacts. */
static void test_bounds_hold(void)
{
    struct membership *h = new_node(5, NULL);
    char address[32];

    for (link_id i = 1; i <= MEMBERSHIP_LINKS_MAX + 10; i++)
        link_up(h, 1000, i, 0, (uint8_t)(i % 90 + 1), 1);
    CU_ASSERT_EQUAL(membership_stats(h)->link_refused, 10);
    CU_ASSERT_EQUAL(seen.closed_code, argus_RefuseCode_REFUSE_BUSY);
    for (uint8_t i = 1; i < 60; i++) {
        struct node_id id = id_of(i);
        (void)snprintf(address, sizeof address, "n%u:1", i);
        offer(h, 1001, id, address, 1);
    }
    CU_ASSERT_EQUAL(membership_passive_count(h), 8);
    int rc = ARGUS_OK;
    for (int i = 0; i <= MEMBERSHIP_CONTACTS_MAX; i++) {
        (void)snprintf(address, sizeof address, "c%d:1", i);
        rc = membership_join(h, 1002, address, &out);
    }
    CU_ASSERT_EQUAL(rc, ARGUS_EFULL);
    CU_ASSERT_TRUE(membership_stats(h)->dial_refused > 0);
    CU_ASSERT_TRUE(seen.dials <= MEMBERSHIP_DIALS_MAX);
    membership_free(h);
}

CU_TestInfo suite_hyparview[] = {
    {"contact_active_after_its_reply", test_contact_active_after_its_reply},
    {"rejected_joiner_tries_the_others", test_rejected_joiner_tries_the_others},
    {"contacts_are_tried_for_ever", test_contacts_are_tried_for_ever},
    {"own_address_is_no_contact", test_own_address_is_no_contact},
    {"full_view_rejects_low_evicts_for_high",
     test_full_view_rejects_low_evicts_for_high},
    {"used_link_is_evicted_last", test_used_link_is_evicted_last},
    {"swap_is_declined_where_all_links_are_used",
     test_swap_is_declined_where_all_links_are_used},
    {"swap_waits_while_all_links_are_used",
     test_swap_waits_while_all_links_are_used},
    {"swaps_go_on_after_a_split", test_swaps_go_on_after_a_split},
    {"shuffles_rest_with_the_neighbors", test_shuffles_rest_with_the_neighbors},
    {"join_storm_is_throttled", test_join_storm_is_throttled},
    {"late_disconnect_is_ignored", test_late_disconnect_is_ignored},
    {"crossing_dials_lower_id_wins", test_crossing_dials_lower_id_wins},
    {"newest_generation_wins", test_newest_generation_wins},
    {"audit_ends_one_sided_links", test_audit_ends_one_sided_links},
    {"candidates_step_back_before_they_are_lost",
     test_candidates_step_back_before_they_are_lost},
    {"lost_are_all_probed_in_ten_minutes",
     test_lost_are_all_probed_in_ten_minutes},
    {"left_node_is_forgotten", test_left_node_is_forgotten},
    {"dry_view_is_filled_from_the_directory",
     test_dry_view_is_filled_from_the_directory},
    {"throttled_join_ends_no_link", test_throttled_join_ends_no_link},
    {"live_contact_is_not_joined_twice", test_live_contact_is_not_joined_twice},
    {"dead_neighbor_is_replaced", test_dead_neighbor_is_replaced},
    {"forward_join_walks", test_forward_join_walks},
    {"unasked_shuffle_reply_is_ignored", test_unasked_shuffle_reply_is_ignored},
    {"shuffle_is_answered_by_a_dial", test_shuffle_is_answered_by_a_dial},
    {"seeker_is_met_three_hops_away", test_seeker_is_met_three_hops_away},
    {"leave_says_goodbye", test_leave_says_goodbye},
    {"bounds_hold", test_bounds_hold},
    CU_TEST_INFO_NULL,
};
