#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "tree_net.h"

#define MS 1000u
#define S 1000000u

/* A local network: what daemons on a few machines see. */
static struct net *tree_net_of(int nodes, uint64_t seed)
{
    return tree_net_new(&(struct net_options){.seed = seed,
                                              .nodes = nodes,
                                              .degree = 5,
                                              .latency_min_us = 200,
                                              .latency_max_us = 2000,
                                              .jitter_us = 1000});
}

static int someone(struct net *net)
{
    int node;

    do
        node = (int)prng_below(&net->prng, (uint32_t)net->options.nodes);
    while (net->nodes[node].dead);
    return node;
}

static double duplicates(const struct net_sums *from, const struct net_sums *to)
{
    return (double)(to->duplicate - from->duplicate) /
           (double)(to->delivered - from->delivered);
}

/* ------------------------------------------------------- in the network */

/* Goal: one sender's broadcasts shape a tree: relative message redundancy
 * (m/(n-1) - 1, the paper's RMR) is 0 from the third on, and the last delivery
 * is few hops away.
 * Method: 200 nodes of degree 5, 20 broadcasts, one after the other. */
static void test_one_sender_redundancy_goes(void)
{
    struct net *net = tree_net_of(200, test_seed());
    double first = 0, later = 0;

    for (int i = 0; i < 20; i++) {
        struct net_sums before = tree_net_sums(net);
        (void)tree_net_broadcast(net, 0);
        tree_net_run(net, 500 * MS);
        struct net_sums after = tree_net_sums(net);
        double rmr =
            (double)(after.gossip_sent - before.gossip_sent) / 199.0 - 1.0;
        if (i == 0)
            first = rmr;
        if (i >= 3)
            later += rmr / 17;
    }
    printf("  RMR first %.2f, later %.3f; last hop %u\n", first, later,
           net_hops_max(net, 3));
    CU_ASSERT_TRUE(first > 1.0);
    CU_ASSERT_TRUE(later < 0.02);
    CU_ASSERT_TRUE(net_hops_max(net, 3) < 15);
    CU_ASSERT_EQUAL(tree_net_missed(net, 0), 0);
    CU_ASSERT_EQUAL(tree_net_repeated(net), 0);
    tree_net_free(net);
}

/* Goal: eight senders that begin at the same moment, on a mesh where nothing
 * was ever sent: nobody misses a message, and the tree settles.
 * Method: the figures: 32 nodes, 200 events of 8 origins, here in 25
 * bursts of 8 at once; after the first two bursts at most 5 % of what is
 * delivered comes twice, and p99 stays under 100 ms. */
static void test_eight_senders_at_once_settle(void)
{
    uint64_t seed = test_seed();
    double share = 0, p99 = 0;

    for (uint64_t run = 0; run < 5; run++) {
        struct net *net = tree_net_of(32, seed + run);
        struct net_sums begun = {0};

        for (int burst = 0; burst < 25; burst++) {
            if (burst == 2)
                begun = tree_net_sums(net);
            for (int origin = 0; origin < 32; origin += 4)
                (void)tree_net_broadcast(net, origin);
            tree_net_run(net, 100 * MS);
        }
        CU_ASSERT_TRUE(net_run_until_quiet(net, 10 * S));
        struct net_sums ended = tree_net_sums(net);
        share += duplicates(&begun, &ended) / 5;
        p99 += net_latency_ms(net, 0, .99) / 5;
        CU_ASSERT_EQUAL(tree_net_missed(net, 0), 0);
        CU_ASSERT_EQUAL(tree_net_repeated(net), 0);
        tree_net_free(net);
    }
    printf("  duplicates %.2f %%, p99 %.1f ms\n", 100 * share, p99);
    CU_ASSERT_TRUE(share < 0.05);
    CU_ASSERT_TRUE(p99 < 100);
}

/* Goal: the same in the worst way: all 200 at once, before any link can be
 * pruned, over links as slow and as different as those between continents. */
static void test_all_at_once_on_slow_links_none_missed(void)
{
    struct net *net =
        tree_net_new(&(struct net_options){.seed = test_seed(),
                                           .nodes = 100,
                                           .degree = 5,
                                           .latency_min_us = 5 * MS,
                                           .latency_max_us = 150 * MS,
                                           .jitter_us = 20 * MS});

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++)
            (void)tree_net_broadcast(net, i % 8);
        tree_net_run(net, 50 * MS);
    }
    CU_ASSERT_TRUE(net_run_until_quiet(net, 20 * S));
    CU_ASSERT_EQUAL(tree_net_missed(net, 0), 0);
    CU_ASSERT_EQUAL(tree_net_repeated(net), 0);
    tree_net_free(net);
}

/* Goal: what is sent while links break and are replaced reaches all, and once
 * they hold again the tree is as lean as before.
 * Method: 60 nodes; a broadcast each 20 ms for 4 s; a random link cut every
 * 100 ms and the overlay mended 50 ms later. No node dies, so no message may be
 * lost with its only holder. */
static void test_links_break_none_missed(void)
{
    struct net *net = tree_net_of(60, test_seed());

    for (int i = 0; i < 200; i++) {
        if (i % 5 == 0) {
            int a = someone(net);
            for (int l = 0; l < NET_DEGREE_MAX; l++)
                if (net->nodes[a].links[l].peer >= 0) {
                    tree_net_cut(net, a, &net->nodes[a].links[l]);
                    break;
                }
        }
        if (i % 5 == 3)
            tree_net_mend(net);
        (void)tree_net_broadcast(net, someone(net));
        tree_net_run(net, 20 * MS);
    }
    tree_net_mend(net);
    CU_ASSERT_TRUE(net_run_until_quiet(net, 20 * S));
    CU_ASSERT_EQUAL(tree_net_missed(net, 0), 0);
    CU_ASSERT_EQUAL(tree_net_repeated(net), 0);

    struct net_sums before = tree_net_sums(net);
    for (int i = 0; i < 20; i++) {
        (void)tree_net_broadcast(net, someone(net));
        tree_net_run(net, 200 * MS);
    }
    struct net_sums after = tree_net_sums(net);
    CU_ASSERT_EQUAL(tree_net_missed(net, 0), 0);
    CU_ASSERT_TRUE(duplicates(&before, &after) < 0.3);
    tree_net_free(net);
}

/* Goal: half of the nodes die at once; once the others are linked again, every
 * later message reaches all of them, as does what they had sent before. */
static void test_half_die_the_rest_go_on(void)
{
    struct net *net = tree_net_of(32, test_seed());

    for (int i = 0; i < 5; i++) {
        (void)tree_net_broadcast(net, someone(net));
        tree_net_run(net, 300 * MS);
    }
    for (int i = 1; i < 32; i += 2)
        tree_net_kill(net, i);
    tree_net_run(net, 5 * MS);
    uint32_t first = tree_net_broadcast(net, 0); /* while nobody has mended */
    tree_net_run(net, 500 * MS);
    tree_net_mend(net);
    for (int i = 0; i < 20; i++) {
        (void)tree_net_broadcast(net, someone(net));
        tree_net_run(net, 50 * MS);
    }
    CU_ASSERT_TRUE(net_run_until_quiet(net, 20 * S));
    CU_ASSERT_EQUAL(tree_net_missed(net, first), 0);
    tree_net_free(net);
}

/* Goal: two meshes that meet hear of what the other delivered lately. */
static void test_islands_meet_recent_is_repaired(void)
{
    struct net *net = tree_net_of(2, test_seed());

    tree_net_cut(net, 0, &net->nodes[0].links[0]);
    tree_net_run(net, 100 * MS);
    for (int i = 0; i < 100; i++)
        (void)tree_net_broadcast(net, i % 2);
    tree_net_run(net, 2 * S);
    CU_ASSERT_EQUAL(tree_net_missed(net, 0), 100);
    tree_net_mend(net);
    tree_net_run(net, 1 * S);
    CU_ASSERT_EQUAL(tree_net_missed(net, 0), 0);
    tree_net_free(net);
}

static void adjust_small(struct plumtree_options *o)
{
    o->seen_max = 100;
    o->seen_ms = 2000;
    o->cache_ms = 1000;
    o->recent_ms = 500;
    o->cache_bytes_max = SEALED_SIZE_MAX;
    o->missing_ms = 1000;
}

/* Goal: tables keep their bounds under load and are empty after a rest; what
 * was pushed out before its time is counted. */
static void test_tables_stay_bounded_and_empty(void)
{
    struct net *net =
        tree_net_new(&(struct net_options){.seed = test_seed(),
                                           .nodes = 20,
                                           .degree = 4,
                                           .latency_min_us = 100,
                                           .latency_max_us = 9000,
                                           .adjust = adjust_small});
    struct plumtree_usage u;

    for (int i = 0; i < 1000; i++) {
        (void)tree_net_broadcast(net, someone(net));
        tree_net_run(net, 2 * MS);
        plumtree_usage(net->nodes[i % 20].tree, &u);
        CU_ASSERT_TRUE(u.seen <= 100);
        CU_ASSERT_TRUE(u.cache_bytes <= SEALED_SIZE_MAX);
        CU_ASSERT_TRUE(u.eager <= u.neighbors);
    }
    tree_net_run(net, 10 * S);
    for (int i = 0; i < 20; i++) {
        plumtree_usage(net->nodes[i].tree, &u);
        CU_ASSERT_EQUAL(u.seen, 0);
        CU_ASSERT_EQUAL(u.missing, 0);
        CU_ASSERT_EQUAL(u.cache_bytes, 0);
        CU_ASSERT_EQUAL(plumtree_deadline_ms(net->nodes[i].tree), UINT64_MAX);
        const struct plumtree_stats *s = plumtree_stats(net->nodes[i].tree);
        CU_ASSERT_TRUE(s->seen_dropped > 0 && s->cache_dropped > 0);
    }
    tree_net_free(net);
}

/* Goal: the same seed gives the same run, to the last frame. */
static void test_same_seed_same_run(void)
{
    uint64_t seed = test_seed(), sums[2];

    for (int run = 0; run < 2; run++) {
        struct net *net = tree_net_of(40, seed);
        for (int i = 0; i < 50; i++) {
            (void)tree_net_broadcast(net, someone(net));
            tree_net_run(net, 3 * MS);
        }
        tree_net_run(net, 1 * S);
        struct net_sums s = tree_net_sums(net);
        sums[run] = s.gossip_sent * 1000003 + s.grafts * 10007 +
                    s.prunes * 101 + net->sequence;
        tree_net_free(net);
    }
    CU_ASSERT_EQUAL(sums[0], sums[1]);
}

/* --------------------------------------------------- one tree, by itself */

#define SENT_MAX 4096

static struct {
    pb_size_t which;
    link_id link;
    uint8_t id[CONTENT_ID_SIZE];
} sent[SENT_MAX];
static uint32_t sent_count, closed_count, delivered_count;
static struct plumtree *reentered; /* by the listener; NULL: not at all */
static argus_RefuseCode closed_code;
static enum plumtree_verdict verdict;
static argus_Frame frame;

static void emit(void *context, const struct action *action);
static struct actions out = {.emit = emit};

static void emit(void *context, const struct action *action)
{
    (void)context;
    if (action->type == ACTION_CLOSE) {
        closed_count++;
        closed_code = action->close.code;
        return;
    }
    if (sent_count == SENT_MAX)
        abort();
    sent[sent_count].which = action->send.frame->which_body;
    sent[sent_count].link = action->send.link;
    if (action->send.frame->which_body == argus_Frame_graft_tag)
        memcpy(sent[sent_count].id, action->send.frame->body.graft.id.bytes,
               CONTENT_ID_SIZE);
    sent_count++;
}

static void hash_head(const uint8_t *data, size_t size,
                      uint8_t id[CONTENT_ID_SIZE])
{
    memset(id, 0, CONTENT_ID_SIZE);
    memcpy(id, data, size < CONTENT_ID_SIZE ? size : CONTENT_ID_SIZE);
}

static enum plumtree_verdict on_deliver(void *context, link_id from,
                                        const uint8_t *payload, size_t size,
                                        const uint8_t id[CONTENT_ID_SIZE])
{
    const uint8_t answer[] = "answer";

    (void)context;
    (void)payload;
    (void)size;
    (void)id;
    delivered_count++;
    if (reentered != NULL) {
        CU_ASSERT_TRUE(
            plumtree_broadcast(reentered, 1000, answer, sizeof answer, &out));
        plumtree_neighbor_down(reentered, 1000, from, &out);
    }
    return verdict;
}

static struct plumtree *tree_of(const struct plumtree_options *given)
{
    struct plumtree_options o;
    struct plumtree_listener listener = {.deliver = on_deliver};
    struct plumtree *p = NULL;

    plumtree_defaults(&o);
    if (given != NULL)
        o = *given;
    o.hash = hash_head;
    o.rank = 9;
    CU_ASSERT_EQUAL_FATAL(plumtree_new(&o, &listener, &p), ARGUS_OK);
    sent_count = closed_count = delivered_count = 0;
    verdict = PLUMTREE_NEWS;
    return p;
}

static uint32_t sent_of(pb_size_t which, link_id link)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < sent_count; i++)
        if (sent[i].which == which && (link == 0 || sent[i].link == link))
            count++;
    return count;
}

static void gossip(struct plumtree *p, uint64_t now_ms, link_id link,
                   uint32_t number)
{
    frame.which_body = argus_Frame_gossip_tag;
    frame.body.gossip.round = 1;
    frame.body.gossip.survey = true;
    frame.body.gossip.payload.size = sizeof number;
    memcpy(frame.body.gossip.payload.bytes, &number, sizeof number);
    plumtree_on_frame(p, now_ms, link, &frame, &out);
}

static void ihave(struct plumtree *p, uint64_t now_ms, link_id link,
                  uint32_t first, uint32_t count)
{
    frame.which_body = argus_Frame_ihave_tag;
    frame.body.ihave.announced_count = (pb_size_t)count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = first + i;
        argus_Announcement *a = &frame.body.ihave.announced[i];
        memset(a, 0, sizeof *a);
        memcpy(a->id, &number, sizeof number);
    }
    plumtree_on_frame(p, now_ms, link, &frame, &out);
}

static void graft(struct plumtree *p, uint64_t now_ms, link_id link,
                  uint32_t number, pb_size_t size)
{
    frame.which_body = argus_Frame_graft_tag;
    memset(frame.body.graft.id.bytes, 0, CONTENT_ID_SIZE);
    memcpy(frame.body.graft.id.bytes, &number, sizeof number);
    frame.body.graft.id.size = size;
    plumtree_on_frame(p, now_ms, link, &frame, &out);
}

static void prune(struct plumtree *p, uint64_t now_ms, link_id link)
{
    frame.which_body = argus_Frame_prune_tag;
    plumtree_on_frame(p, now_ms, link, &frame, &out);
}

static uint64_t run_until(struct plumtree *p, uint64_t end_ms)
{
    uint64_t due_ms;

    while ((due_ms = plumtree_deadline_ms(p)) <= end_ms)
        plumtree_on_timeout(p, due_ms, &out);
    return end_ms;
}

/* Goal: nothing from a stranger has an effect. */
static void test_stranger_is_refused(void)
{
    struct plumtree *p = tree_of(NULL);

    plumtree_neighbor_up(p, 1000, 1, &out);
    gossip(p, 1000, 2, 7);
    ihave(p, 1000, 2, 8, 3);
    graft(p, 1000, 2, 7, CONTENT_ID_SIZE);
    prune(p, 1000, 2);
    CU_ASSERT_EQUAL(plumtree_stats(p)->frame_stranger, 4);
    CU_ASSERT_EQUAL(delivered_count, 0);
    CU_ASSERT_EQUAL(sent_count, 0);
    CU_ASSERT_EQUAL(plumtree_deadline_ms(p), UINT64_MAX);
    CU_ASSERT_TRUE(plumtree_is_eager(p, 1));
    CU_ASSERT_FALSE(plumtree_is_eager(p, 2));
    plumtree_free(p);
}

/* Goal: each verdict has its fate: news goes on, stale stays and is known, bad
 * is forgotten and its link closed. */
static void test_verdicts(void)
{
    struct plumtree *p = tree_of(NULL);

    for (link_id link = 1; link <= 3; link++)
        plumtree_neighbor_up(p, 1000, link, &out);
    gossip(p, 1000, 1, 100);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 0), 2);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 1), 0);

    verdict = PLUMTREE_STALE;
    gossip(p, 1001, 1, 101);
    gossip(p, 1002, 2, 101);
    CU_ASSERT_EQUAL(delivered_count, 2);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 0), 2);
    CU_ASSERT_EQUAL(plumtree_stats(p)->gossip_stale, 1);

    verdict = PLUMTREE_BAD;
    gossip(p, 1003, 3, 102);
    CU_ASSERT_EQUAL(closed_count, 1);
    CU_ASSERT_EQUAL(closed_code, argus_RefuseCode_REFUSE_MALFORMED);
    gossip(p, 1003, 3, 103); /* what it had sent behind: a stranger by now */
    CU_ASSERT_EQUAL(plumtree_stats(p)->frame_stranger, 1);
    gossip(p, 1004, 2, 102); /* not remembered, so judged again */
    CU_ASSERT_EQUAL(plumtree_stats(p)->gossip_bad, 2);
    CU_ASSERT_EQUAL(delivered_count, 4);
    plumtree_free(p);
}

/* Goal: the listener may answer with a broadcast and end the link: what came is
 * forwarded all the same. */
static void test_listener_may_answer_and_part(void)
{
    struct plumtree *p = tree_of(NULL);

    for (link_id link = 1; link <= 3; link++)
        plumtree_neighbor_up(p, 1000, link, &out);
    reentered = p;
    gossip(p, 1000, 1, 100);
    reentered = NULL;
    CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 1), 1); /* the answer */
    CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 2), 2);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 3), 2);
    CU_ASSERT_EQUAL(plumtree_stats(p)->gossip_delivered, 1);
    plumtree_free(p);
}

/* Goal: frames that break a bound close their link. */
static void test_malformed_closes_link(void)
{
    struct plumtree *p = tree_of(NULL);

    plumtree_neighbor_up(p, 1000, 1, &out);
    plumtree_neighbor_up(p, 1000, 2, &out);
    graft(p, 1000, 1, 5, 3);
    frame.which_body = argus_Frame_gossip_tag;
    frame.body.gossip.payload.size = 0;
    plumtree_on_frame(p, 1000, 2, &frame, &out);
    CU_ASSERT_EQUAL(closed_count, 2);
    CU_ASSERT_EQUAL(plumtree_stats(p)->frame_malformed, 2);

    uint8_t payload[SEALED_SIZE_MAX + 1] = {1};
    CU_ASSERT_FALSE(plumtree_broadcast(p, 1000, payload, 0, &out));
    CU_ASSERT_FALSE(plumtree_broadcast(p, 1000, payload, sizeof payload, &out));
    CU_ASSERT_TRUE(plumtree_broadcast(p, 1000, payload, 20, &out));
    CU_ASSERT_FALSE(plumtree_broadcast(p, 1000, payload, 20, &out));
    CU_ASSERT_EQUAL(plumtree_stats(p)->broadcast_refused, 3);
    plumtree_free(p);
}

/* Goal: what was announced and is then broadcast here is missed no longer, and
 * asked of nobody. */
static void test_own_broadcast_ends_the_search(void)
{
    struct plumtree *p = tree_of(NULL);
    uint32_t number = 50;

    plumtree_neighbor_up(p, 1000, 1, &out);
    ihave(p, 1000, 1, number, 1);
    CU_ASSERT_TRUE(plumtree_broadcast(p, 1001, (const uint8_t *)&number,
                                      sizeof number, &out));
    run_until(p, 60000);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_graft_tag, 0), 0);
    CU_ASSERT_EQUAL(plumtree_stats(p)->missing_expired, 0);
    plumtree_free(p);
}

/* Goal: the last words of a node that goes are pushed over lazy links too. */
static void test_last_words_are_pushed(void)
{
    struct plumtree *p = tree_of(NULL);
    uint32_t number = 60;

    plumtree_neighbor_up(p, 1000, 1, &out);
    prune(p, 1000, 1);
    plumtree_hurry(p);
    CU_ASSERT_TRUE(plumtree_broadcast(p, 1001, (const uint8_t *)&number,
                                      sizeof number, &out));
    CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 1), 1);
    plumtree_free(p);
}

/* Goal: a graft waits, asks one announcer after the other, and is cancelled by
 * delivery. */
static void test_graft_waits_turns_and_is_cancelled(void)
{
    struct plumtree *p = tree_of(NULL);

    for (link_id link = 1; link <= 3; link++)
        plumtree_neighbor_up(p, 1000, link, &out);
    prune(p, 1000, 2);
    prune(p, 1000, 3);
    ihave(p, 1000, 2, 50, 1);
    ihave(p, 1001, 3, 50, 1);
    ihave(p, 1001, 2, 51, 1);
    run_until(p, 1075);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_graft_tag, 0), 0);
    gossip(p, 1075, 1, 51); /* the tree was only slow */
    run_until(p, 1125);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_graft_tag, 2), 1);
    CU_ASSERT_TRUE(plumtree_is_eager(p, 2));
    run_until(p, 1180);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_graft_tag, 0), 2);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_graft_tag, 3), 1);
    plumtree_neighbor_down(p, 1180, 3, &out); /* it dies; 2 is asked again */
    run_until(p, 1400);
    CU_ASSERT_TRUE(sent_of(argus_Frame_graft_tag, 2) >= 2);
    gossip(p, 1400, 2, 50);
    uint32_t before = sent_of(argus_Frame_graft_tag, 0);
    run_until(p, 60000);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_graft_tag, 0), before);
    CU_ASSERT_EQUAL(plumtree_stats(p)->missing_expired, 0);
    plumtree_free(p);
}

/* Goal: whoever was pruned on all sides does not wait for its graft. */
static void test_cut_off_grafts_at_once(void)
{
    struct plumtree *p = tree_of(NULL);

    plumtree_neighbor_up(p, 1000, 1, &out);
    plumtree_neighbor_up(p, 1000, 2, &out);
    prune(p, 1000, 1);
    prune(p, 1000, 2);
    ihave(p, 1010, 2, 50, 3);
    run_until(p, 1015);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_graft_tag, 2), 3);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_graft_tag, 1), 0);
    plumtree_free(p);
}

/* Goal: a peer that announces what it never delivers fills neither the table
 * nor the wire, and does not crowd out another's announcement. */
static void test_liar_is_bounded(void)
{
    struct plumtree *p = tree_of(NULL);
    struct plumtree_usage u;

    plumtree_neighbor_up(p, 1000, 1, &out);
    plumtree_neighbor_up(p, 1000, 2, &out);
    ihave(p, 1000, 2, 7000000, 1);
    for (uint32_t i = 0; i < 1000; i++)
        ihave(p, 1000, 1, 64 * i, 64);
    plumtree_usage(p, &u);
    CU_ASSERT_EQUAL(u.missing, 2048 + 1);
    CU_ASSERT_EQUAL(plumtree_stats(p)->missing_refused, 64000 - 2048);
    run_until(p, 1999);
    CU_ASSERT_TRUE(sent_of(argus_Frame_graft_tag, 1) <= 256);
    CU_ASSERT_TRUE(sent_of(argus_Frame_graft_tag, 2) >= 1);
    CU_ASSERT_TRUE(plumtree_stats(p)->graft_delayed > 0);
    sent_count = 0;
    for (uint64_t now_ms = 2000; now_ms < 40000; now_ms += 1000) {
        run_until(p, now_ms + 999);
        CU_ASSERT_TRUE(sent_of(argus_Frame_graft_tag, 1) <= 256);
        sent_count = 0;
    }
    plumtree_usage(p, &u);
    CU_ASSERT_EQUAL(u.missing, 0);
    CU_ASSERT_EQUAL(plumtree_stats(p)->missing_expired, 2049);
    plumtree_free(p);
}

/* Goal: the oldest of the missing go when there are too many. */
static void test_missing_full_oldest_go(void)
{
    struct plumtree_options o;
    struct plumtree_usage u;

    plumtree_defaults(&o);
    o.missing_max = 100;
    o.missing_link_max = 80;
    struct plumtree *p = tree_of(&o);
    plumtree_neighbor_up(p, 1000, 1, &out);
    plumtree_neighbor_up(p, 1000, 2, &out);
    ihave(p, 1000, 1, 0, 60);
    ihave(p, 1001, 2, 100, 60);
    plumtree_usage(p, &u);
    CU_ASSERT_EQUAL(u.missing, 100);
    CU_ASSERT_EQUAL(plumtree_stats(p)->missing_dropped, 20);
    plumtree_neighbor_down(p, 1002, 1, &out);
    plumtree_usage(p, &u);
    CU_ASSERT_EQUAL(u.missing, 60);
    plumtree_free(p);
}

/* Goal: grafts from a greedy peer are answered up to a bound, each second. */
static void test_greedy_peer_is_limited(void)
{
    struct plumtree *p = tree_of(NULL);

    plumtree_neighbor_up(p, 1000, 1, &out);
    plumtree_neighbor_up(p, 1000, 2, &out);
    gossip(p, 1000, 2, 7);
    sent_count = 0;
    for (int i = 0; i < 1000; i++)
        graft(p, 1500, 1, 7, CONTENT_ID_SIZE);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 1), 512);
    CU_ASSERT_EQUAL(plumtree_stats(p)->graft_limited, 1000 - 512);
    graft(p, 2000, 1, 7, CONTENT_ID_SIZE);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 1), 513);
    graft(p, 2000, 1, 8, CONTENT_ID_SIZE);
    CU_ASSERT_EQUAL(plumtree_stats(p)->graft_unanswered, 1);
    plumtree_free(p);
}

/* Goal: a redundant link is pruned once, not for each copy; a second copy over
 * the link that brought the first prunes nothing. */
static void test_duplicates_prune_once(void)
{
    struct plumtree *p = tree_of(NULL);
    uint64_t now_ms = 1000;

    plumtree_neighbor_up(p, now_ms, 1, &out);
    plumtree_neighbor_up(p, now_ms, 2, &out);
    for (uint32_t i = 0; i < 9; i++) {
        gossip(p, now_ms, 1, i);
        gossip(p, now_ms, 1, i);
        gossip(p, now_ms, 2, i);
        now_ms = run_until(p, now_ms + 5);
    }
    CU_ASSERT_EQUAL(sent_of(argus_Frame_prune_tag, 1), 0);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_prune_tag, 2), 1);
    CU_ASSERT_TRUE(plumtree_is_eager(p, 1));
    CU_ASSERT_FALSE(plumtree_is_eager(p, 2));
    CU_ASSERT_EQUAL(plumtree_stats(p)->gossip_duplicate, 18);
    CU_ASSERT_EQUAL(plumtree_stats(p)->gossip_delivered, 9);
    plumtree_free(p);
}

/* A neighbor 10 ms away tells of its place. */
static void stand(struct plumtree *p, uint64_t now_ms, link_id link,
                  uint32_t root, uint32_t distance_us, uint32_t age_ms)
{
    argus_Standing s = {
        .root = root, .distance_us = distance_us, .age_ms = age_ms};

    plumtree_on_standing(p, now_ms, link, &s, 19000, &out);
}

static argus_Standing standing(struct plumtree *p, uint64_t now_ms,
                               link_id link)
{
    argus_Standing s = {.root = 0};

    plumtree_standing(p, now_ms, link, &s);
    return s;
}

static struct plumtree *tree_of_three(uint64_t now_ms)
{
    struct plumtree *p = tree_of(NULL);

    for (link_id link = 1; link <= 3; link++)
        plumtree_neighbor_up(p, now_ms, link, &out);
    return p;
}

/* Goal: a node takes the least root that an eager link leads to for its own,
 * tells its distance to all but the one it has it from, and is its own root
 * when that link is gone. What is told of too far, or too long ago, is not
 * believed. */
static void test_standing_tells_of_the_root(void)
{
    struct plumtree *p = tree_of_three(1000);
    uint32_t own = standing(p, 1000, 1).root;

    CU_ASSERT_TRUE(own > 0x80000000u); /* seldom heard of */
    CU_ASSERT_EQUAL(standing(p, 1000, 1).distance_us, 0);
    stand(p, 1000, 1, 77, 5000, 300);
    stand(p, 1000, 2, 77, 50000, 300);
    stand(p, 1000, 3, own + 1, 0, 0);
    argus_Standing s = standing(p, 1500, 3);
    CU_ASSERT_EQUAL(s.root, 77);
    CU_ASSERT_EQUAL(s.distance_us, 15000);
    CU_ASSERT_TRUE(s.age_ms >= 800 && s.age_ms <= 820);
    CU_ASSERT_EQUAL(standing(p, 1500, 2).root, 77);
    CU_ASSERT_EQUAL(standing(p, 1500, 1).root, 0);
    plumtree_neighbor_down(p, 1600, 1, &out);
    CU_ASSERT_EQUAL(standing(p, 1600, 3).distance_us, 60000);
    CU_ASSERT_EQUAL(standing(p, 1600, 2).root, 0);

    stand(p, 1700, 2, 7, UINT32_MAX, 0);
    CU_ASSERT_EQUAL(standing(p, 1700, 3).root, own);
    stand(p, 1700, 2, 7, 1000, UINT32_MAX);
    CU_ASSERT_EQUAL(standing(p, 1700, 3).root, own);
    stand(p, 1700, 2, 7, 1000, 149000);
    CU_ASSERT_EQUAL(standing(p, 1700, 3).root, 7);
    CU_ASSERT_EQUAL(standing(p, 2800, 3).root, own);
    plumtree_free(p);
}

/* Goal: who sends steadily ranks before all who do not, until it is silent. */
static void test_who_sends_steadily_ranks_first(void)
{
    struct plumtree *p = tree_of_three(1000);

    for (uint32_t i = 0; i < 10; i++) {
        CU_ASSERT_TRUE(standing(p, 1000 + i, 1).root > 0x80000000u);
        CU_ASSERT_TRUE(plumtree_broadcast(p, 1000 + i, (const uint8_t *)&i,
                                          sizeof i, &out));
    }
    CU_ASSERT_TRUE(standing(p, 1010, 1).root < 0x80000000u);
    CU_ASSERT_TRUE(standing(p, 119000, 1).root < 0x80000000u);
    CU_ASSERT_TRUE(standing(p, 121000, 1).root > 0x80000000u);
    plumtree_free(p);
}

/* Goal: a lazy link that is nearer to the root by more than half of itself
 * takes the parent's place: it is asked for first, and the parent leaves when
 * both have brought what was under way; until then nothing is pushed over it,
 * and no copy prunes. Not when it gains less, nor when what it tells left the
 * root before our own place changed. */
static void test_shortcut_replaces_the_parent(void)
{
    static const struct {
        uint32_t distance_us, age_ms;
        bool is_taken;
    } cases[] = {{25000, 100, true}, {36000, 100, false}, {25000, 9000, false}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct plumtree *p = tree_of_three(1000);
        prune(p, 1000, 2);
        stand(p, 1000, 1, 77, 40000, 0); /* we are at 50 ms */
        stand(p, 1000, 3, 0, 0, 0);      /* behind us */
        run_until(p, 20000);
        stand(p, 20000, 1, 77, 40000, 0);
        stand(p, 20000, 2, 77, cases[i].distance_us,
              cases[i].age_ms == 9000 ? 19500 : 100);
        bool taken = cases[i].is_taken;
        CU_ASSERT_EQUAL(sent_of(argus_Frame_graft_tag, 2), taken);
        CU_ASSERT_FALSE(plumtree_is_eager(p, 2));
        CU_ASSERT_TRUE(plumtree_is_eager(p, 1));
        gossip(p, 20010, 2, 1); /* first by the shortcut: not back to 1 */
        CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 1), !taken);
        CU_ASSERT_EQUAL(sent_of(argus_Frame_gossip_tag, 3), 1);
        gossip(p, run_until(p, 20020), 1, 1);
        gossip(p, run_until(p, 20030), 1, 2);
        run_until(p, 21030);
        CU_ASSERT_EQUAL(sent_of(argus_Frame_prune_tag, 1), taken);
        CU_ASSERT_EQUAL(plumtree_is_eager(p, 1), !taken);
        CU_ASSERT_TRUE(!taken || plumtree_is_eager(p, 2));
        CU_ASSERT_EQUAL(plumtree_stats(p)->shortcut_taken, taken);
        plumtree_free(p);
    }
}

/* Goal: an eager link by which neither end has the root closes a cycle and
 * leaves the tree, also without any message; a copy over one by which one of
 * them has it prunes nothing. */
static void test_links_of_no_branch_leave(void)
{
    struct plumtree *p = tree_of_three(1000);

    stand(p, 1000, 1, 77, 10000, 0);
    stand(p, 2000, 3, 0, 0, 0);
    stand(p, 2000, 2, 77, 12000, 1500); /* told before we had a place */
    CU_ASSERT_TRUE(plumtree_is_eager(p, 2));
    gossip(p, 2500, 3, 1);
    gossip(p, 2501, 1, 1);
    run_until(p, 3000);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_prune_tag, 0), 0);
    stand(p, 4000, 2, 77, 12000, 100);
    CU_ASSERT_FALSE(plumtree_is_eager(p, 2));
    CU_ASSERT_EQUAL(sent_of(argus_Frame_prune_tag, 2), 1);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_prune_tag, 0), 1);
    CU_ASSERT_TRUE(plumtree_is_eager(p, 1) && plumtree_is_eager(p, 3));
    plumtree_free(p);
}

/* Goal: announcements are collected: many ids, few frames, and fewer while
 * message follows message. */
static void test_announcements_are_collected(void)
{
    struct plumtree *p = tree_of(NULL);

    plumtree_neighbor_up(p, 1000, 1, &out);
    plumtree_neighbor_up(p, 1000, 2, &out);
    prune(p, 1000, 2);
    for (uint32_t i = 0; i < 100; i++)
        gossip(p, 1000, 1, i);
    ihave(p, 1001, 2, 64, 10); /* it has these: not worth announcing */
    CU_ASSERT_EQUAL(sent_of(argus_Frame_ihave_tag, 2), 1);
    CU_ASSERT_TRUE(plumtree_deadline_ms(p) >= 1030);
    CU_ASSERT_TRUE(plumtree_deadline_ms(p) <= 1090);
    run_until(p, 1090);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_ihave_tag, 2), 2);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_ihave_tag, 1), 0);
    CU_ASSERT_EQUAL(plumtree_stats(p)->ihave_sent, 90);

    /* One that follows on none waits less. */
    gossip(p, 1200, 1, 100);
    CU_ASSERT_TRUE(plumtree_deadline_ms(p) >= 1207);
    CU_ASSERT_TRUE(plumtree_deadline_ms(p) <= 1223);
    run_until(p, 1223);
    CU_ASSERT_EQUAL(sent_of(argus_Frame_ihave_tag, 2), 3);

    /* A new neighbor is told of all that is recent, and of nothing older. */
    plumtree_neighbor_up(p, 2000, 3, &out);
    CU_ASSERT_EQUAL(plumtree_stats(p)->ihave_sent, 192);
    run_until(p, 20000);
    plumtree_neighbor_up(p, 20000, 4, &out);
    CU_ASSERT_EQUAL(plumtree_stats(p)->ihave_sent, 192);
    plumtree_free(p);
}

/* Goal: neighbors are bounded, and bad options refused. */
static void test_bounds_of_options(void)
{
    struct plumtree_options o;
    struct plumtree_listener listener = {.deliver = on_deliver};
    struct plumtree *p = tree_of(NULL);

    for (link_id link = 1; link <= 262; link++)
        plumtree_neighbor_up(p, 1000, link, &out);
    plumtree_neighbor_up(p, 1000, 1, &out);
    CU_ASSERT_EQUAL(plumtree_stats(p)->neighbor_refused, 6);
    CU_ASSERT_FALSE(plumtree_is_eager(p, 257));
    plumtree_neighbor_down(p, 1000, 3, &out);
    plumtree_neighbor_up(p, 1000, 257, &out);
    CU_ASSERT_TRUE(plumtree_is_eager(p, 257));
    plumtree_free(p);

    p = NULL;
    plumtree_defaults(&o);
    CU_ASSERT_EQUAL(plumtree_new(&o, &listener, &p), ARGUS_EINVAL); /* hash */
    o.hash = hash_head;
    CU_ASSERT_EQUAL(plumtree_new(&o, &listener, &p), ARGUS_EINVAL); /* rank */
    o.rank = 9;
    o.neighbors_max = 257;
    CU_ASSERT_EQUAL(plumtree_new(&o, &listener, &p), ARGUS_EINVAL);
    o.neighbors_max = 5;
    o.cache_ms = o.seen_ms + 1;
    CU_ASSERT_EQUAL(plumtree_new(&o, &listener, &p), ARGUS_EINVAL);
    CU_ASSERT_PTR_NULL(p);
}

CU_TestInfo suite_plumtree[] = {
    {"one_sender_redundancy_goes", test_one_sender_redundancy_goes},
    {"eight_senders_at_once_settle", test_eight_senders_at_once_settle},
    {"all_at_once_on_slow_links_none_missed",
     test_all_at_once_on_slow_links_none_missed},
    {"links_break_none_missed", test_links_break_none_missed},
    {"half_die_the_rest_go_on", test_half_die_the_rest_go_on},
    {"islands_meet_recent_is_repaired", test_islands_meet_recent_is_repaired},
    {"tables_stay_bounded_and_empty", test_tables_stay_bounded_and_empty},
    {"same_seed_same_run", test_same_seed_same_run},
    {"stranger_is_refused", test_stranger_is_refused},
    {"verdicts", test_verdicts},
    {"listener_may_answer_and_part", test_listener_may_answer_and_part},
    {"malformed_closes_link", test_malformed_closes_link},
    {"own_broadcast_ends_the_search", test_own_broadcast_ends_the_search},
    {"last_words_are_pushed", test_last_words_are_pushed},
    {"graft_waits_turns_and_is_cancelled",
     test_graft_waits_turns_and_is_cancelled},
    {"cut_off_grafts_at_once", test_cut_off_grafts_at_once},
    {"liar_is_bounded", test_liar_is_bounded},
    {"missing_full_oldest_go", test_missing_full_oldest_go},
    {"greedy_peer_is_limited", test_greedy_peer_is_limited},
    {"duplicates_prune_once", test_duplicates_prune_once},
    {"announcements_are_collected", test_announcements_are_collected},
    {"standing_tells_of_the_root", test_standing_tells_of_the_root},
    {"who_sends_steadily_ranks_first", test_who_sends_steadily_ranks_first},
    {"shortcut_replaces_the_parent", test_shortcut_replaces_the_parent},
    {"links_of_no_branch_leave", test_links_of_no_branch_leave},
    {"bounds_of_options", test_bounds_of_options},
    CU_TEST_INFO_NULL,
};
