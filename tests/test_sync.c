#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "core/directory_state.h"
#include "directory_net.h"

#define ONLINE argus_MemberState_MEMBER_ONLINE
#define OFFLINE argus_MemberState_MEMBER_OFFLINE

static struct node_id id_number(uint32_t n)
{
    struct node_id id;
    struct prng prng;

    prng_seed(&prng, UINT64_C(1) << 40 | n);
    for (size_t i = 0; i < NODE_ID_SIZE; i++)
        id.bytes[i] = (uint8_t)prng_next(&prng);
    return id;
}

static void tell(struct net *net, uint32_t to, const argus_Statement *s,
                 struct node_id author)
{
    uint8_t packed[SEALED_SIZE_MAX];
    size_t size = fake_close(&author, s, packed);

    (void)directory_on_statement(net->nodes[to].d, net->now_ms,
                                 net_wall_us(net), packed, size, s, &author,
                                 net_out(&net->nodes[to]));
}

/* Node `to` hears of the made-up members [first, last). */
static void tell_members(struct net *net, uint32_t to, uint32_t first,
                         uint32_t last, uint32_t version)
{
    for (uint32_t n = first; n < last; n++) {
        argus_Statement s = {.which_body = argus_Statement_record_tag};
        argus_NodeRecord *r = &s.body.record;
        r->generation = 1;
        r->version = version;
        (void)snprintf(r->name, sizeof r->name, "m%u", n);
        (void)snprintf(r->address, sizeof r->address, "10.1.%u.%u:1", n >> 8,
                       n & 255);
        r->hlc = net_wall_us(net) / 1000 << 16;
        tell(net, to, &s, id_number(n));
    }
}

static void tell_report(struct net *net, uint32_t to, uint32_t n,
                        uint32_t version, uint32_t witness)
{
    argus_Statement s = {.which_body = argus_Statement_report_tag};
    argus_Report *r = &s.body.report;
    struct node_id id = id_number(n);

    memcpy(r->subject, id.bytes, NODE_ID_SIZE);
    r->generation = 1;
    r->version = version;
    r->state = OFFLINE;
    r->hlc = (net_wall_us(net) / 1000 << 16) + witness;
    tell(net, to, &s, id_number(witness));
}

static bool is_same(const struct member *a, const struct member *b)
{
    return node_id_is_equal(&a->id, &b->id) && a->version == b->version &&
           a->state == b->state && (a->report == NULL) == (b->report == NULL) &&
           (a->report == NULL ||
            node_id_is_equal(&a->report->author, &b->report->author));
}

static bool all_same(struct net *net)
{
    const struct members *first = &net->nodes[0].d->members;

    for (uint32_t k = 1; k < net->count; k++) {
        const struct members *other = &net->nodes[k].d->members;
        if (other->count != first->count)
            return false;
        for (uint32_t i = 0; i < first->count; i++)
            if (!is_same(first->sorted[i], other->sorted[i]))
                return false;
    }
    return true;
}

/* Goal: two nodes that know different parts, versions and reports know the same
 * after one session, and then exchange nothing more. */
static void test_two_different_become_equal(void)
{
    struct net *net = net_new(2, 1);

    net_start(net, 0);
    net_start(net, 1);
    tell_members(net, 0, 0, 300, 1);
    tell_members(net, 1, 200, 600, 1);
    tell_members(net, 1, 250, 260, 2);
    tell_members(net, 0, 260, 270, 3);
    tell_report(net, 0, 5, 1, 50);
    tell_report(net, 1, 300, 1, 51);
    tell_report(net, 0, 255, 1, 52); /* void: 1 knows version 2 */
    tell_report(net, 0, 280, 1, 53); /* two reports on one version */
    tell_report(net, 1, 280, 1, 54);
    net_connect(net, 0, 1);
    CU_ASSERT_TRUE(net_run_until(net, all_same, 3000) <= 3000);
    CU_ASSERT_EQUAL(directory_count(net->nodes[0].d, ONLINE), 599);
    CU_ASSERT_EQUAL(directory_count(net->nodes[0].d, OFFLINE), 3);

    net_run(net, 5000);
    uint64_t sent = directory_stats(net->nodes[0].d)->items_sent +
                    directory_stats(net->nodes[1].d)->items_sent;
    net_run(net, 65000);
    CU_ASSERT_TRUE(directory_stats(net->nodes[0].d)->syncs_done >= 2);
    CU_ASSERT_EQUAL(directory_stats(net->nodes[0].d)->items_sent +
                        directory_stats(net->nodes[1].d)->items_sent,
                    sent);
    net_free(net);
}

static uint64_t frames_of_session(struct net *net)
{
    uint64_t before = net->frames;

    sync_request(net->nodes[0].d,
                 members_find(&net->nodes[0].d->members, &net->nodes[1].id),
                 net_out(&net->nodes[0]));
    net_run(net, 500);
    return net->frames - before;
}

/* Goal: two that know the same 2000 find that out by one number, and a single
 * difference by sums and one page of a few entries. */
static void test_one_difference_among_many_is_cheap(void)
{
    struct net *net = net_new(2, 5);

    net_start(net, 0);
    net_start(net, 1);
    tell_members(net, 0, 0, 2000, 1);
    net_connect(net, 0, 1);
    CU_ASSERT_TRUE(net_run_until(net, all_same, 5000) <= 5000);
    net_run(net, 10000);
    net->frame_bytes_max = 0;
    CU_ASSERT_EQUAL(frames_of_session(net), 2); /* Sums, Want */
    CU_ASSERT_TRUE(net->frame_bytes_max < 64);

    tell_members(net, 1, 777, 778, 2);
    uint64_t items = directory_stats(net->nodes[1].d)->items_sent;
    CU_ASSERT_EQUAL(frames_of_session(net), 5); /* Sums x 2, page, item, Want */
    CU_ASSERT_TRUE(all_same(net));
    CU_ASSERT_EQUAL(directory_stats(net->nodes[1].d)->items_sent - items, 1);
    CU_ASSERT_TRUE(net->frame_bytes_max < 2500); /* 128 sums */
    net_free(net);
}

/* Goal: what one end of a chain knows reaches the other. */
static void test_three_in_a_chain_become_equal(void)
{
    struct net *net = net_new(3, 2);

    for (uint32_t i = 0; i < 3; i++)
        net_start(net, i);
    tell_members(net, 0, 0, 100, 1);
    tell_members(net, 1, 100, 400, 1);
    tell_members(net, 2, 300, 700, 2);
    net_connect(net, 0, 1);
    net_connect(net, 1, 2);
    CU_ASSERT_TRUE(net_run_until(net, all_same, 8000) <= 8000);
    CU_ASSERT_EQUAL(directory_count(net->nodes[0].d, ONLINE), 703);
    net_free(net);
}

/* Goal: a newcomer is filled in bounded pages, in either role, and does not
 * broadcast again what all others know; its own record is passed on. */
static void test_newcomer_is_filled_in_pages(void)
{
    uint32_t dialed = 0;

    for (uint32_t seed = 3; seed < 9; seed++) {
        struct net *net = net_new(2, seed);
        net_start(net, 0);
        net_start(net, 1);
        net_connect(net, 0, 1);
        net_run(net, 5000);
        tell_members(net, 0, 0, 3000, 1);
        tell_members(net, 1, 0, 3000, 1);
        CU_ASSERT_EQUAL(directory_count(net->nodes[1].d, ONLINE), 3002);

        net_make(net, 2, seed);
        dialed += node_id_compare(&net->nodes[2].id, &net->nodes[0].id) < 0;
        net_start(net, 2);
        net_connect(net, 0, 2);
        CU_ASSERT_TRUE(net_run_until(net, all_same, 6000) <= 6000);
        CU_ASSERT_EQUAL(directory_stats(net->nodes[2].d)->spread_again, 0);
        CU_ASSERT_TRUE(net->nodes[2].broadcasts <= 2);
        CU_ASSERT_TRUE(net->frame_bytes_max < 16384);
        CU_ASSERT_PTR_NOT_NULL(
            directory_find(net->nodes[1].d, &net->nodes[2].id));
        net_free(net);
    }
    CU_ASSERT_TRUE(dialed > 0 && dialed < 6); /* both roles were seen */
}

/* Goal: two established meshes that meet at one place know all of each other
 * soon: what is news to one side is passed on there. */
static void test_two_meshes_that_meet_tell_their_own(void)
{
    struct net *net = net_new(16, 6);

    for (uint32_t i = 0; i < 16; i++)
        net_start(net, i);
    for (uint32_t i = 0; i < 8; i++) {
        net_connect(net, i, (i + 1) % 8);
        net_connect(net, 8 + i, 8 + (i + 1) % 8);
    }
    net_run(net, 10000);
    CU_ASSERT_EQUAL(directory_count(net->nodes[0].d, ONLINE), 8);
    CU_ASSERT_EQUAL(directory_count(net->nodes[15].d, ONLINE), 8);
    net_connect(net, 3, 12);
    uint64_t took_ms = net_run_until(net, net_is_agreed, 5000);
    printf("  two meshes of 8 are one directory after %" PRIu64 " ms\n",
           took_ms);
    CU_ASSERT_TRUE(took_ms <= 3000);
    net_free(net);
}

/* Goal: a node that starts again hears anew about those it knew from disk, and
 * what nobody else has heard of is not handed on. */
static void test_restart_asks_anew_about_the_unheard(void)
{
    struct net *net = net_new(2, 7);

    net_start(net, 0);
    tell_members(net, 0, 0, 50, 1);
    for (uint32_t n = 0; n < 60; n++) {
        struct node_id id = id_number(n);
        argus_Statement s = {.which_body = argus_Statement_record_tag};
        uint8_t packed[SEALED_SIZE_MAX];
        s.body.record.generation = s.body.record.version = 1;
        size_t size = fake_close(&id, &s, packed);
        CU_ASSERT_TRUE(directory_load(net->nodes[1].d, net->now_ms,
                                      net_wall_us(net), &id, packed, size));
    }
    net_start(net, 1);
    CU_ASSERT_EQUAL(directory_count(net->nodes[1].d, OFFLINE), 60);
    net_connect(net, 0, 1);
    net_run(net, 3000);
    CU_ASSERT_EQUAL(directory_count(net->nodes[1].d, OFFLINE), 10);
    CU_ASSERT_EQUAL(directory_count(net->nodes[1].d, ONLINE), 52);
    CU_ASSERT_EQUAL(directory_count(net->nodes[0].d, ONLINE), 52);
    CU_ASSERT_EQUAL(directory_count(net->nodes[0].d, OFFLINE), 0);
    net_free(net);
}

/* ---- A hostile peer: node 0 has one accepted session, from a made-up id. */

static struct net *attacked(uint32_t peer, link_id link)
{
    struct net *net = net_new(1, 11);
    struct peer_info info = {.kind = argus_LinkKind_LINK_SYNC};

    net_start(net, 0);
    tell_members(net, 0, 0, 20, 1);
    info.id = id_number(peer);
    /* frames and closes to nobody go to node 0 itself, unread */
    net->link_room = 128;
    net->link = calloc(net->link_room, sizeof(struct net_link));
    net->links = 100;
    directory_on_link_up(net->nodes[0].d, net->now_ms, net_wall_us(net), link,
                         0, &info, net_out(&net->nodes[0]));
    return net;
}

static void attack(struct net *net, link_id link, const argus_Frame *frame)
{
    directory_on_frame(net->nodes[0].d, net->now_ms, net_wall_us(net), link,
                       frame, net_out(&net->nodes[0]));
}

static void fill_page(argus_Frame *frame, uint32_t entries)
{
    argus_Digest *page = &frame->body.digest;

    memset(frame, 0, sizeof *frame);
    frame->which_body = argus_Frame_digest_tag;
    memset(page->to, 0xff, NODE_ID_SIZE);
    page->entries_count = (pb_size_t)entries;
    for (uint32_t i = 0; i < entries; i++)
        page->entries[i].id[0] = (uint8_t)(i + 1);
    page->last = true;
}

/* Goal: whoever breaks the order of a session is told so, disconnected and
 * counted. */
static void test_frames_out_of_order_end_the_session(void)
{
    static argus_Frame frame;
    struct net *net;

    for (int what = 0; what < 8; what++) {
        net = attacked(1000, 1);
        fill_page(&frame, 3);
        switch (what) {
        case 0: frame.body.digest.entries[1].id[0] = 1; break; /* twice */
        case 1: frame.body.digest.last = false; break; /* to the end, and on */
        case 2: /* entries beyond the page */
            memset(frame.body.digest.to, 0, NODE_ID_SIZE);
            break;
        case 3: /* a want from the wrong side */
            memset(&frame, 0, sizeof frame);
            frame.which_body = argus_Frame_want_tag;
            break;
        case 4: /* nobody asked */
            memset(&frame, 0, sizeof frame);
            frame.which_body = argus_Frame_items_tag;
            frame.body.items.payloads_count = 1;
            break;
        case 5: /* sums of ranges are the other side's */
        case 6: /* no number of ranges */
            memset(&frame, 0, sizeof frame);
            frame.which_body = argus_Frame_sums_tag;
            frame.body.sums.sums_count = what == 5 ? 16 : 0;
            break;
        default: frame.which_body = argus_Frame_ping_tag; break;
        }
        attack(net, 1, &frame);
        CU_ASSERT_EQUAL(directory_stats(net->nodes[0].d)->syncs_malformed, 1);
        CU_ASSERT_EQUAL(net->nodes[0].d->sync.sessions_count, 0);
        CU_ASSERT_EQUAL(net->nodes[0].close_code,
                        argus_RefuseCode_REFUSE_MALFORMED);
        attack(net, 1, &frame);
        CU_ASSERT_EQUAL(directory_stats(net->nodes[0].d)->frames_stranger, 1);
        net_free(net);
    }
}

/* Goal: a record that its node did not sign is refused, and so is the peer that
 * hands it on; sound ones before it stay. */
static void test_forged_item_ends_the_session(void)
{
    static argus_Frame frame;
    struct net *net = attacked(1000, 1);
    struct node_id id = id_number(77);
    argus_Statement s = {.which_body = argus_Statement_record_tag};
    argus_Items *items = &frame.body.items;

    fill_page(&frame, 3); /* three unknown ids: it will be asked for them */
    attack(net, 1, &frame);
    CU_ASSERT_EQUAL(net->nodes[0].d->sync.sessions[0].items_left, 6);

    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_items_tag;
    items->payloads_count = 2;
    for (int i = 0; i < 2; i++) {
        s.body.record.generation = s.body.record.version = 1 + (uint32_t)i;
        items->payloads[i].size =
            (pb_size_t)fake_close(&id, &s, items->payloads[i].bytes);
    }
    items->payloads[1].bytes[40] ^= 1; /* in the signature */
    attack(net, 1, &frame);
    CU_ASSERT_EQUAL(directory_stats(net->nodes[0].d)->items_bad, 1);
    CU_ASSERT_EQUAL(net->nodes[0].d->sync.sessions_count, 0);
    const struct member *m = directory_find(net->nodes[0].d, &id);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL(m->version, 1);
    net_free(net);
}

/* Goal: sessions are bounded in number, one an accepted peer, and in time. */
static void test_sessions_are_bounded(void)
{
    struct net *net = attacked(1000, 1);
    struct directory *d = net->nodes[0].d;
    struct peer_info info = {.kind = argus_LinkKind_LINK_SYNC};

    info.id = id_number(1000);
    directory_on_link_up(d, net->now_ms, net_wall_us(net), 2, 0, &info,
                         net_out(&net->nodes[0]));
    CU_ASSERT_EQUAL(directory_stats(d)->syncs_refused, 1);
    for (uint32_t i = 1; i < SYNC_IN_MAX + 3; i++) {
        info.id = id_number(1000 + i);
        directory_on_link_up(d, net->now_ms, net_wall_us(net), 2 + i, 0, &info,
                             net_out(&net->nodes[0]));
    }
    CU_ASSERT_EQUAL(d->sync.sessions_count, SYNC_IN_MAX);
    CU_ASSERT_EQUAL(directory_stats(d)->syncs_refused, 4);
    net_run(net, SYNC_IDLE_MS + 1);
    CU_ASSERT_EQUAL(d->sync.sessions_count, 0);
    CU_ASSERT_EQUAL(directory_stats(d)->syncs_failed, SYNC_IN_MAX);
    net_free(net);
}

/* Goal: a neighbor that could not be reached for a sync is tried again, not for
 * ever; the other side begins when the lower id cannot. */
static void test_failed_sync_is_tried_again(void)
{
    struct net *net = net_new(2, 12);
    uint32_t low =
        node_id_compare(&net->nodes[0].id, &net->nodes[1].id) < 0 ? 0 : 1;

    net_start(net, 0);
    net_start(net, 1);
    /* the lower id knows the other one by a wrong address */
    struct peer_info info = {.id = net->nodes[1 - low].id,
                             .address = "nowhere:1"};
    directory_neighbor_up(net->nodes[low].d, net->now_ms, net_wall_us(net),
                          &info, net_out(&net->nodes[low]));
    info = (struct peer_info){.id = net->nodes[low].id};
    memcpy(info.address, net->nodes[low].options.address, sizeof info.address);
    directory_neighbor_up(net->nodes[1 - low].d, net->now_ms, net_wall_us(net),
                          &info, net_out(&net->nodes[1 - low]));
    CU_ASSERT_TRUE(net_run_until(net, all_same, 2500) <= 2500);
    CU_ASSERT_EQUAL(directory_count(net->nodes[low].d, ONLINE), 2);
    net_free(net);

    net = net_new(1, 13);
    net_start(net, 0);
    info.id = id_number(1);
    memcpy(info.address, "nowhere:1", 10);
    directory_neighbor_up(net->nodes[0].d, net->now_ms, net_wall_us(net), &info,
                          net_out(&net->nodes[0]));
    net_run(net, 28000);
    uint64_t begun = directory_stats(net->nodes[0].d)->syncs_begun;
    CU_ASSERT_TRUE(begun >= 2 && begun <= SYNC_RETRIES + 2);
    net_free(net);
}

/* Goal: a neighbor that keeps the same costs nothing; one that differs is
 * dialed, once, however often it says so; whoever is no neighbor says nothing.
 */
static void test_summaries_open_what_is_needed(void)
{
    struct net *net = net_new(2, 14);

    net_start(net, 0);
    net_start(net, 1);
    net_connect(net, 0, 1);
    net_run(net, 5000);
    struct directory *d = net->nodes[0].d;
    const struct directory_stats *stats = directory_stats(d);
    struct node_id stranger = id_number(7);
    uint64_t sum = directory_sum(net->nodes[1].d), begun = stats->syncs_begun;
    CU_ASSERT_EQUAL(directory_sum(d), sum);

    directory_on_summary(d, net->now_ms, net_wall_us(net), &net->nodes[1].id,
                         sum, true);
    directory_on_summary(d, net->now_ms, net_wall_us(net), &stranger, sum + 1,
                         true);
    CU_ASSERT_EQUAL(stats->summaries_same, 1);
    CU_ASSERT_EQUAL(stats->summaries_other, 0);
    net_run(net, 500);
    CU_ASSERT_EQUAL(stats->syncs_begun, begun);

    for (int i = 0; i < 100; i++)
        directory_on_summary(d, net->now_ms, net_wall_us(net),
                             &net->nodes[1].id, sum + 1, true);
    net_run(net, 500);
    CU_ASSERT_EQUAL(stats->summaries_other, 100);
    CU_ASSERT_EQUAL(stats->syncs_begun, begun + 1);
    directory_on_summary(d, net->now_ms, net_wall_us(net), &net->nodes[1].id,
                         sum,
                         false); /* events differ; it was dialed just now */
    net_run(net, 200);
    CU_ASSERT_EQUAL(stats->syncs_begun, begun + 1);
    net_run(net, SYNC_SETTLE_MS);
    directory_on_summary(d, net->now_ms, net_wall_us(net), &net->nodes[1].id,
                         sum, false);
    net_run(net, 500);
    CU_ASSERT_EQUAL(stats->syncs_begun, begun + 2);
    net_free(net);
}

#define ROW(name)                                                              \
    {                                                                          \
#name, name                                                            \
    }
CU_TestInfo suite_sync[] = {
    ROW(test_two_different_become_equal),
    ROW(test_one_difference_among_many_is_cheap),
    ROW(test_three_in_a_chain_become_equal),
    ROW(test_newcomer_is_filled_in_pages),
    ROW(test_two_meshes_that_meet_tell_their_own),
    ROW(test_restart_asks_anew_about_the_unheard),
    ROW(test_frames_out_of_order_end_the_session),
    ROW(test_forged_item_ends_the_session),
    ROW(test_sessions_are_bounded),
    ROW(test_failed_sync_is_tried_again),
    ROW(test_summaries_open_what_is_needed),
    CU_TEST_INFO_NULL,
};
