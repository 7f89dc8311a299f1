/* test_overlay.c - links, membership and tree as one, with an owner that knows
 * nothing and cares for nothing: a light node of the simulator. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/overlay.h"

#define NODES 2
#define QUEUE_MAX 64

/* Node 0 waits, node 1 dials it. One link, number 1 at both ends. */
struct sent {
    uint32_t to;
    argus_Frame frame;
};

static struct {
    struct overlay *nodes[NODES];
    struct sent *queue[QUEUE_MAX];
    uint32_t queue_count;
    dial_id dial;
    uint32_t delivered[NODES], closes[NODES];
    uint64_t hlc; /* of the last frame sent by node 1 */
    uint64_t now_ms;
} bed;

static void on_action(void *context, const struct action *a)
{
    uint32_t from = (uint32_t)((struct overlay **)context - bed.nodes);

    if (a->type == ACTION_DIAL) {
        bed.dial = a->dial.dial;
    } else if (a->type == ACTION_CLOSE) {
        bed.closes[from]++;
    } else if (a->type == ACTION_SEND) {
        CU_ASSERT_FATAL(bed.queue_count < QUEUE_MAX);
        struct sent *s = malloc(sizeof *s);
        CU_ASSERT_PTR_NOT_NULL_FATAL(s);
        s->to = 1 - from;
        s->frame = *a->send.frame;
        bed.queue[bed.queue_count++] = s;
        if (from == 1) {
            CU_ASSERT_TRUE(s->frame.hlc > bed.hlc);
            bed.hlc = s->frame.hlc;
        }
    }
}

static enum plumtree_verdict deliver(void *context, link_id from,
                                     const uint8_t *payload, size_t size,
                                     const uint8_t id[CONTENT_ID_SIZE])
{
    uint32_t node = (uint32_t)((struct overlay **)context - bed.nodes);

    (void)id;
    CU_ASSERT_EQUAL(from, 1);
    CU_ASSERT_TRUE(size == 5 && memcmp(payload, "hello", 5) == 0);
    bed.delivered[node]++;
    return PLUMTREE_NEWS;
}

static void hash(const uint8_t *data, size_t size, uint8_t out[CONTENT_ID_SIZE])
{
    memset(out, 0, CONTENT_ID_SIZE);
    memcpy(out, data, size < CONTENT_ID_SIZE ? size : CONTENT_ID_SIZE);
}

static struct peer_info peer_of(uint32_t node, argus_LinkKind kind)
{
    struct peer_info p;

    memset(&p, 0, sizeof p);
    p.id.bytes[0] = (uint8_t)(node + 1);
    p.generation = 1;
    p.kind = kind;
    (void)snprintf(p.address, sizeof p.address, "n%u:1", node);
    return p;
}

static void advance(uint64_t ms)
{
    bed.now_ms += ms;
    for (uint32_t i = 0; i < NODES; i++)
        overlay_advance(bed.nodes[i], bed.now_ms,
                        1700000000000000ull + bed.now_ms * 1000);
}

static void carry_all(void)
{
    for (uint32_t i = 0; i < bed.queue_count; i++) {
        struct sent *s = bed.queue[i];
        overlay_on_frame(bed.nodes[s->to], 1, &s->frame);
        free(s);
    }
    bed.queue_count = 0;
}

static void set_up(void)
{
    const char *contacts[] = {"n0:1"};

    memset(&bed, 0, sizeof bed);
    for (uint32_t i = 0; i < NODES; i++) {
        struct overlay_options o = {.membership = {.seed = i + 1,
                                                   .id = {{(uint8_t)(i + 1)}},
                                                   .generation = 1,
                                                   .active_max = 5,
                                                   .passive_max = 30,
                                                   .shuffle_ms = 10000,
                                                   .contacts = contacts,
                                                   .contacts_count = i},
                                    .tree_seed = i + 1,
                                    .hash = hash,
                                    .ping_ms = 2000,
                                    .suspect_ms = 3500,
                                    .started_ms = 1700000000000ull,
                                    .clock_max_offset_ms = 500};
        struct overlay_listener l = {.context = &bed.nodes[i],
                                     .deliver = deliver};
        struct actions sink = {.emit = on_action, .context = &bed.nodes[i]};

        (void)snprintf(o.membership.address, sizeof o.membership.address,
                       "n%u:1", i);
        CU_ASSERT_EQUAL_FATAL(overlay_new(&o, &l, &sink, &bed.nodes[i]),
                              ARGUS_OK);
    }
    advance(1000);
    for (uint32_t i = 0; i < NODES; i++)
        overlay_start(bed.nodes[i]);
}

static void join(void)
{
    struct peer_info a = peer_of(0, argus_LinkKind_LINK_MESH);
    struct peer_info b = peer_of(1, argus_LinkKind_LINK_MESH);

    CU_ASSERT_NOT_EQUAL_FATAL(bed.dial, 0);
    CU_ASSERT_TRUE(overlay_on_link_up(bed.nodes[0], 1, 0, &b));
    CU_ASSERT_TRUE(overlay_on_link_up(bed.nodes[1], 1, bed.dial, &a));
    carry_all();
    for (uint32_t i = 0; i < NODES; i++)
        CU_ASSERT_EQUAL(
            membership_active_count(overlay_membership(bed.nodes[i])), 1);
}

static void tear_down(void)
{
    for (uint32_t i = 0; i < bed.queue_count; i++)
        free(bed.queue[i]);
    for (uint32_t i = 0; i < NODES; i++)
        overlay_free(bed.nodes[i]);
}

/* Goal: an owner without a directory has an overlay that works.
 * Method: join, broadcast from each side, let time pass over some pings. */
static void test_bare_owner_joins_and_delivers(void)
{
    set_up();
    join();
    CU_ASSERT_TRUE(
        overlay_broadcast(bed.nodes[1], (const uint8_t *)"hello", 5));
    CU_ASSERT_FALSE(
        overlay_broadcast(bed.nodes[1], (const uint8_t *)"hello", 5));
    carry_all();
    CU_ASSERT_EQUAL(bed.delivered[0], 1);
    CU_ASSERT_EQUAL(bed.delivered[1], 0);
    for (int i = 0; i < 20; i++) {
        advance(1000);
        for (uint32_t n = 0; n < NODES; n++)
            if (overlay_deadline_ms(bed.nodes[n]) <= bed.now_ms)
                overlay_on_timeout(bed.nodes[n]);
        carry_all();
    }
    CU_ASSERT_TRUE(links_stats(overlay_links(bed.nodes[0]))->pong_received > 2);
    CU_ASSERT_TRUE(overlay_hlc(bed.nodes[0])->stats.remote_merged > 2);
    CU_ASSERT_EQUAL(bed.closes[0] + bed.closes[1], 0);
    tear_down();
}

/* Goal: what the owner's own parts do passes the same gate. */
static void test_nothing_is_sent_on_a_closing_link(void)
{
    argus_Frame ping = {.which_body = argus_Frame_ping_tag};

    set_up();
    join();
    struct actions *out = overlay_actions(bed.nodes[1]);
    actions_close(out, 1, argus_RefuseCode_REFUSE_BYE, "");
    actions_close(out, 1, argus_RefuseCode_REFUSE_BYE, "");
    CU_ASSERT_EQUAL(bed.closes[1], 1);
    actions_send(out, 1, &ping);
    actions_send(out, 99, &ping);
    CU_ASSERT_EQUAL(bed.queue_count, 0);
    CU_ASSERT_EQUAL(overlay_stats(bed.nodes[1])->send_dropped, 2);
    overlay_on_link_down(bed.nodes[1], 1, LINK_END_CLOSED,
                         argus_RefuseCode_REFUSE_BYE);
    CU_ASSERT_EQUAL(membership_active_count(overlay_membership(bed.nodes[1])),
                    0);
    tear_down();
}

/* Goal: a link of a kind that nobody here serves does no harm. */
static void test_frames_of_other_kinds_are_counted(void)
{
    struct peer_info b = peer_of(1, argus_LinkKind_LINK_SYNC);
    argus_Frame digest = {.which_body = argus_Frame_digest_tag};

    set_up();
    CU_ASSERT_TRUE(overlay_on_link_up(bed.nodes[0], 7, 0, &b));
    overlay_on_frame(bed.nodes[0], 7, &digest);
    CU_ASSERT_EQUAL(overlay_stats(bed.nodes[0])->frame_misplaced, 1);
    /* Who reaches us is a candidate. */
    CU_ASSERT_EQUAL(membership_passive_count(overlay_membership(bed.nodes[0])) +
                            bed.dial !=
                        0,
                    1);
    overlay_on_link_down(bed.nodes[0], 7, LINK_END_RESET,
                         argus_RefuseCode_REFUSE_NONE);
    tear_down();
}

CU_TestInfo suite_overlay[] = {
    {"bare_owner_joins_and_delivers", test_bare_owner_joins_and_delivers},
    {"nothing_is_sent_on_a_closing_link",
     test_nothing_is_sent_on_a_closing_link},
    {"frames_of_other_kinds_are_counted",
     test_frames_of_other_kinds_are_counted},
    CU_TEST_INFO_NULL,
};
