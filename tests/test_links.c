/* test_links.c - pings, silence, round trips, bounds: by hand, one table. */
#include "test.h"

#include <string.h>

#include "base/status.h"
#include "core/links.h"

static struct {
    uint32_t pings, pongs, closes, silent, audits, floods;
    bool last_active, claimed;
    argus_Ping ping;
    argus_Pong pong;
    argus_RefuseCode code;
    link_id pinged, closed, silent_link;
} seen;

static void on_action(void *context, const struct action *a)
{
    (void)context;
    if (a->type == ACTION_CLOSE) {
        seen.closes++;
        seen.closed = a->close.link;
        seen.code = a->close.code;
    } else if (a->type == ACTION_SEND &&
               a->send.frame->which_body == argus_Frame_ping_tag) {
        seen.pings++;
        seen.pinged = a->send.link;
        seen.ping = a->send.frame->body.ping;
    } else if (a->type == ACTION_SEND &&
               a->send.frame->which_body == argus_Frame_pong_tag) {
        seen.pongs++;
        seen.pong = a->send.frame->body.pong;
    }
}

static struct actions out = {.emit = on_action};

static void on_silent(void *context, link_id link, const struct peer_info *peer,
                      struct actions *o)
{
    (void)context;
    (void)o;
    CU_ASSERT_EQUAL(peer->id.bytes[0], 1);
    seen.silent++;
    seen.silent_link = link;
}

static void on_standing(void *context, link_id link, argus_Standing *s)
{
    (void)context;
    (void)link;
    *s = (argus_Standing){0};
}

static void on_told(void *context, link_id link, const argus_Standing *s,
                    struct actions *o)
{
    (void)context;
    (void)link;
    (void)o;
    seen.audits++;
    seen.claimed = s->active;
}

static void on_flooded(void *context, link_id link,
                       const struct peer_info *peer, struct actions *o)
{
    (void)context;
    (void)link;
    (void)peer;
    (void)o;
    seen.floods++;
}

static struct links *new_links(uint32_t max)
{
    struct links_options o = {.ping_ms = 2000,
                              .suspect_ms = 3500,
                              .links_max = max,
                              .peer_links_max = 3};
    struct links_listener up = {.silent = on_silent,
                                .standing = on_standing,
                                .told = on_told,
                                .flooded = on_flooded};
    struct links *l = NULL;

    memset(&seen, 0, sizeof seen);
    CU_ASSERT_EQUAL_FATAL(links_new(&o, &up, &l), ARGUS_OK);
    return l;
}

static bool up(struct links *l, uint64_t now, link_id link, uint8_t who,
               argus_LinkKind kind)
{
    struct peer_info p;

    memset(&p, 0, sizeof p);
    p.id.bytes[0] = who;
    p.kind = kind;
    return links_on_link_up(l, now, link, 0, &p, &out);
}

static bool frame(struct links *l, uint64_t now, uint64_t wall, link_id link,
                  pb_size_t which, const argus_Pong *pong)
{
    static argus_Frame f;

    f.which_body = which;
    if (pong != NULL)
        f.body.pong = *pong;
    else
        f.body.ping = (argus_Ping){
            .number = 7, .has_standing = true, .standing = {.active = true}};
    return links_on_frame(l, now, wall, link, &f, &out);
}

/* Goal: an idle mesh link is pinged after ping_ms, a busy one is not, and no
 * answer for suspect_ms closes it and says so once. */
static void test_silent_link_is_closed_and_reported(void)
{
    struct links *l = new_links(64);

    CU_ASSERT_EQUAL(links_deadline_ms(l), UINT64_MAX);
    CU_ASSERT_TRUE(up(l, 1000, 1, 1, argus_LinkKind_LINK_MESH));
    CU_ASSERT_TRUE(up(l, 1000, 2, 2, argus_LinkKind_LINK_SYNC));
    CU_ASSERT_EQUAL(links_deadline_ms(l), 3000);
    (void)frame(l, 1900, 1, 1, argus_Frame_prune_tag, NULL);
    links_on_timeout(l, 3000, 1, &out);
    CU_ASSERT_EQUAL(seen.pings, 0); /* heard at 1900 */
    CU_ASSERT_EQUAL(links_deadline_ms(l), 3900);
    links_on_timeout(l, 3900, 1, &out);
    CU_ASSERT_EQUAL(seen.pings, 1);
    CU_ASSERT_EQUAL(seen.pinged, 1);
    CU_ASSERT_EQUAL(links_deadline_ms(l), 5400); /* 1900 + 3500 */
    links_on_timeout(l, 5399, 1, &out);
    CU_ASSERT_EQUAL(seen.silent, 0);
    links_on_timeout(l, 5400, 1, &out);
    CU_ASSERT_EQUAL(seen.silent, 1);
    CU_ASSERT_EQUAL(seen.silent_link, 1);
    CU_ASSERT_EQUAL(seen.code, argus_RefuseCode_REFUSE_SILENT);
    /* What still comes of it is not believed. */
    CU_ASSERT_FALSE(frame(l, 5500, 1, 1, argus_Frame_prune_tag, NULL));
    CU_ASSERT_FALSE(links_on_link_down(l, 1));
    CU_ASSERT_EQUAL(links_stats(l)->frame_unknown, 1);
    CU_ASSERT_EQUAL(links_deadline_ms(l), UINT64_MAX); /* SYNC has no pings */
    links_free(l);
}

/* Goal: who comes late to its own timer accuses nobody but asks again, and
 * accuses after a full fresh wait. */
static void test_late_timer_accuses_nobody(void)
{
    struct links *l = new_links(64);

    (void)up(l, 1000, 1, 1, argus_LinkKind_LINK_METRICS);
    links_on_timeout(l, 3000, 1, &out);
    CU_ASSERT_EQUAL(seen.pings, 1);
    links_on_timeout(l, 13000, 1, &out); /* stood still for 10 s */
    CU_ASSERT_EQUAL(seen.silent, 0);
    CU_ASSERT_EQUAL(seen.pings, 2);
    CU_ASSERT_EQUAL(links_stats(l)->timer_missed, 1);
    links_on_timeout(l, links_deadline_ms(l), 1, &out);
    links_on_timeout(l, links_deadline_ms(l), 1, &out);
    CU_ASSERT_EQUAL(seen.silent, 1);
    links_free(l);
}

/* Goal: links of the active view are pinged however busy, and say so; the
 * peer's word is handed on. */
static void test_active_link_is_audited(void)
{
    struct links *l = new_links(64);

    (void)up(l, 1000, 1, 1, argus_LinkKind_LINK_MESH);
    links_set_active(l, 1, true);
    (void)frame(l, 2900, 1, 1, argus_Frame_prune_tag, NULL);
    links_on_timeout(l, 3000, 1, &out);
    CU_ASSERT_EQUAL(seen.pings, 1);
    CU_ASSERT_TRUE(seen.ping.standing.active);
    (void)frame(l, 3300, 123, 1, argus_Frame_ping_tag, NULL);
    CU_ASSERT_EQUAL(seen.pongs, 1);
    CU_ASSERT_EQUAL(seen.pong.number, 7);
    CU_ASSERT_EQUAL(seen.pong.received_us, 123);
    CU_ASSERT_TRUE(seen.pong.standing.active);
    CU_ASSERT_EQUAL(seen.audits, 1);
    CU_ASSERT_TRUE(seen.claimed);
    links_free(l);
}

/* Goal: the two ends of an active link ping in turn, each every other time,
 * also when both began at once; when the peer leaves its turn out, it is ours.
 */
static void pong(struct links *l, uint64_t now)
{
    argus_Pong p = {.number = seen.ping.number, .received_us = 1};

    (void)frame(l, now, 1, 1, argus_Frame_pong_tag, &p);
}

static void run_until(struct links *l, uint64_t until)
{
    while (links_deadline_ms(l) <= until)
        links_on_timeout(l, links_deadline_ms(l), 1, &out);
}

static void test_ends_ping_in_turn(void)
{
    struct links *l = new_links(64);

    (void)up(l, 1000, 1, 1, argus_LinkKind_LINK_MESH);
    links_set_active(l, 1, true);
    run_until(l, 3000);
    CU_ASSERT_EQUAL(seen.pings, 1);
    (void)frame(l, 3251, 1, 1, argus_Frame_ping_tag, NULL); /* they crossed */
    pong(l, 3252);
    run_until(l, 5500); /* it dialed: its turn */
    CU_ASSERT_EQUAL(seen.pings, 1);
    uint64_t at = 5501;
    for (; at < 50000; at += 4000) {
        uint32_t before = seen.pings;
        (void)frame(l, at, 1, 1, argus_Frame_ping_tag, NULL);
        run_until(l, at + 1999);
        CU_ASSERT_EQUAL(seen.pings, before);
        run_until(l, at + 2000); /* ours */
        CU_ASSERT_EQUAL(seen.pings, before + 1);
        pong(l, at + 2001);
        run_until(l, at + 3999);
        CU_ASSERT_EQUAL(seen.pings, before + 1);
    }
    uint32_t before = seen.pings;
    run_until(l, at + 1000); /* it left its turn out */
    CU_ASSERT_EQUAL(seen.pings, before + 1);
    links_free(l);
}

static void exchange(struct links *l, uint64_t at_ms, int64_t there_us,
                     int64_t back_us, int64_t offset_us)
{
    uint64_t wall = 1000000000 + at_ms * 1000;

    links_on_timeout(l, at_ms, wall, &out);
    argus_Pong p = {.number = seen.ping.number, .took_us = 500};
    p.received_us = (int64_t)wall + there_us + offset_us;
    uint64_t took = (uint64_t)(there_us + back_us + 500);
    (void)frame(l, at_ms + took / 1000, wall + took, 1, argus_Frame_pong_tag,
                &p);
}

/* Goal: of the last eight round trips the shortest tells the offset. */
static void test_best_of_eight_tells_the_offset(void)
{
    struct links *l = new_links(64);
    int64_t rtt, offset;
    uint64_t at = 1000;

    (void)up(l, at, 1, 1, argus_LinkKind_LINK_MESH);
    links_set_active(l, 1, true);
    CU_ASSERT_FALSE(links_clock(l, 1, &rtt, &offset));
    exchange(l, at += 2750, 9000, 1000, 70000); /* lopsided: 4 ms wrong */
    CU_ASSERT_TRUE(links_clock(l, 1, &rtt, &offset));
    CU_ASSERT_EQUAL(rtt, 10000);
    CU_ASSERT_EQUAL(offset, 74000);
    exchange(l, at += 2750, 1000, 1000, 70000);
    CU_ASSERT_TRUE(links_clock(l, 1, &rtt, &offset));
    CU_ASSERT_EQUAL(rtt, 2000);
    CU_ASSERT_EQUAL(offset, 70000);
    for (int i = 0; i < 8; i++)
        exchange(l, at += 2750, 3000, 3000, 80000);
    CU_ASSERT_TRUE(links_clock(l, 1, &rtt, &offset));
    CU_ASSERT_EQUAL(offset, 80000); /* the good one is too old */
    CU_ASSERT_EQUAL(links_stats(l)->pong_received, 10);
    links_free(l);
}

/* Goal: pongs that cannot be are counted, not believed. */
static void test_false_pongs_are_refused(void)
{
    struct links *l = new_links(64);
    int64_t rtt, offset;

    (void)up(l, 1000, 1, 1, argus_LinkKind_LINK_MESH);
    argus_Pong p = {.number = 1, .received_us = 6, .took_us = 1};
    (void)frame(l, 1100, 9, 1, argus_Frame_pong_tag, &p); /* nothing asked */
    links_on_timeout(l, links_deadline_ms(l), 1000000, &out);
    p.number = seen.ping.number + 1; /* not sent so */
    p.received_us = 1005000;
    (void)frame(l, 3260, 1010000, 1, argus_Frame_pong_tag, &p);
    p.number = seen.ping.number;
    p.received_us = INT64_MIN;
    (void)frame(l, 3260, 1010000, 1, argus_Frame_pong_tag, &p);
    p.received_us = 1005000;
    p.took_us = UINT32_MAX; /* longer than it can have been */
    (void)frame(l, 3260, 1010000, 1, argus_Frame_pong_tag, &p);
    p.took_us = 0; /* our clock stepped by 10 s */
    (void)frame(l, 3260, 11010000, 1, argus_Frame_pong_tag, &p);
    CU_ASSERT_EQUAL(links_stats(l)->pong_refused, 5);
    CU_ASSERT_FALSE(links_clock(l, 1, &rtt, &offset));
    links_free(l);
}

/* Goal: both bounds hold, and those refused are told BUSY. */
static void test_too_many_links_are_refused(void)
{
    struct links *l = new_links(LINKS_RESERVED + 5);
    struct peer_info p;

    for (link_id i = 1; i <= 3; i++)
        CU_ASSERT_TRUE(up(l, 1000, i, 1, argus_LinkKind_LINK_PROBE));
    CU_ASSERT_FALSE(up(l, 1000, 4, 1, argus_LinkKind_LINK_PROBE));
    CU_ASSERT_EQUAL(seen.code, argus_RefuseCode_REFUSE_BUSY);
    CU_ASSERT_EQUAL(seen.closed, 4);
    CU_ASSERT_TRUE(up(l, 1000, 5, 2, argus_LinkKind_LINK_PROBE));
    CU_ASSERT_TRUE(up(l, 1000, 6, 3, argus_LinkKind_LINK_PROBE));
    CU_ASSERT_FALSE(up(l, 1000, 7, 4, argus_LinkKind_LINK_PROBE));
    memset(&p, 0, sizeof p); /* our own dials have places of their own */
    CU_ASSERT_TRUE(links_on_link_up(l, 1000, 8, 99, &p, &out));
    CU_ASSERT_EQUAL(links_stats(l)->link_refused, 2);
    CU_ASSERT_EQUAL(links_count(l), 6);
    links_forget(l, 1);
    CU_ASSERT_TRUE(links_on_close(l, 2));
    CU_ASSERT_FALSE(links_on_close(l, 2));
    CU_ASSERT_FALSE(links_is_open(l, 2));
    CU_ASSERT_TRUE(links_is_open(l, 3));
    links_free(l);
}

/* Goal: a peer has one budget for all of its links, which comes back with time,
 * and does not come back with a new link. */
static void test_useless_frames_use_up_one_budget(void)
{
    struct links *l = new_links(64);
    uint32_t taken = 0;

    CU_ASSERT_TRUE(up(l, 1000, 1, 1, argus_LinkKind_LINK_MESH));
    CU_ASSERT_TRUE(up(l, 1000, 2, 1, argus_LinkKind_LINK_PROBE));
    CU_ASSERT_TRUE(up(l, 1000, 3, 2, argus_LinkKind_LINK_MESH));
    for (uint32_t i = 0; seen.floods == 0 && i < 100000; i++)
        taken += frame(l, 1000, 0, 1 + i % 2, argus_Frame_prune_tag, NULL);
    CU_ASSERT_EQUAL(taken, LINKS_BUDGET_BURST - 2 * LINKS_UP_COST);
    CU_ASSERT_EQUAL(links_stats(l)->peer_flooded, 1);
    CU_ASSERT_TRUE(frame(l, 1000, 0, 3, argus_Frame_prune_tag, NULL));

    links_forget(l, 1);
    links_forget(l, 2);
    CU_ASSERT_TRUE(up(l, 1010, 4, 1, argus_LinkKind_LINK_MESH));
    CU_ASSERT_EQUAL(seen.floods, 2); /* the link itself was too much */
    for (uint32_t i = 0, floods = seen.floods; i < 30; i++) {
        CU_ASSERT_TRUE(frame(l, 1100, 0, 4, argus_Frame_prune_tag, NULL));
        CU_ASSERT_EQUAL(seen.floods, floods);
    }
    links_free(l);
}

/* Goal: frames that brought news cost nothing, however many there are, and a
 * broadcast may come once by each link; but not for whoever brought it first.
 */
static void test_useful_frames_cost_nothing(void)
{
    struct links *l = new_links(64);

    CU_ASSERT_TRUE(up(l, 1000, 1, 1, argus_LinkKind_LINK_MESH));
    CU_ASSERT_TRUE(up(l, 1000, 2, 2, argus_LinkKind_LINK_MESH));
    for (uint32_t i = 0; i < 200000; i++) {
        CU_ASSERT_TRUE_FATAL(
            frame(l, 1000, 0, 1, argus_Frame_gossip_tag, NULL));
        links_refund(l, 1, 1);
        links_know(l, 1);
        CU_ASSERT_TRUE_FATAL(
            frame(l, 1000, 0, 2, argus_Frame_gossip_tag, NULL));
    }
    CU_ASSERT_EQUAL(seen.floods, 0);
    /* known, but no news */
    for (uint32_t i = 0; i <= LINKS_BUDGET_BURST + LINKS_COPIES_MAX; i++) {
        (void)frame(l, 1000, 0, 1, argus_Frame_gossip_tag, NULL);
        links_know(l, 1);
    }
    CU_ASSERT_TRUE(seen.floods > 0);
    links_free(l);
}

/* Goal: full batches pay for the series they name; names alone, and batches of
 * a value each, are a flood. */
static void test_metrics_links_pay_for_names(void)
{
    struct links *l = new_links(64);
    static argus_Frame defs, batch;

    defs.which_body = argus_Frame_series_defs_tag;
    defs.body.series_defs.series_count = 4;
    batch.which_body = argus_Frame_batch_tag;
    CU_ASSERT_TRUE(up(l, 1000, 1, 1, argus_LinkKind_LINK_METRICS));
    for (uint32_t i = 0; i < 1000; i++) {
        for (uint32_t k = 0; k < 256; k++)
            CU_ASSERT_TRUE_FATAL(links_on_frame(l, 1000, 0, 1, &defs, &out));
        for (uint32_t k = 0; k < 2; k++) {
            batch.body.batch.series_count = 1024;
            CU_ASSERT_TRUE_FATAL(links_on_frame(l, 1000, 0, 1, &batch, &out));
        }
    }
    uint32_t named = 0;
    while (links_on_frame(l, 1000, 0, 1, &defs, &out))
        named += 4;
    CU_ASSERT_TRUE(named <= LINKS_BUDGET_BURST);
    CU_ASSERT_EQUAL(seen.floods, 1);
    batch.body.batch.series_count = 1;
    CU_ASSERT_FALSE(links_on_frame(l, 1000, 0, 1, &batch, &out));
    links_free(l);
}

/* Goal: strikes count within a minute, over several links of a peer. */
static void test_strikes_of_a_minute_count(void)
{
    struct links *l = new_links(64);

    CU_ASSERT_TRUE(up(l, 1000, 1, 1, argus_LinkKind_LINK_MESH));
    CU_ASSERT_EQUAL(links_strike(l, 1000, 1), 1);
    links_forget(l, 1);
    CU_ASSERT_TRUE(up(l, 2000, 2, 1, argus_LinkKind_LINK_MESH));
    CU_ASSERT_EQUAL(links_strike(l, 50000, 2), 2);
    CU_ASSERT_EQUAL(links_strike(l, 61000, 2), 1);
    CU_ASSERT_EQUAL(links_strike(l, 61000, 9), 0); /* no such link */
    CU_ASSERT_EQUAL(links_stats(l)->peer_struck, 3);
    links_free(l);
}

/* Goal: budgets of peers without links are few, the oldest goes, counted. */
static void test_budgets_of_absent_peers_are_bounded(void)
{
    struct links *l = new_links(64);
    struct peer_info p = {.kind = argus_LinkKind_LINK_MESH};

    for (uint32_t i = 1; i <= LINKS_ACCOUNTS_MAX + 10; i++) {
        memcpy(p.id.bytes, &i, sizeof i);
        CU_ASSERT_TRUE_FATAL(links_on_link_up(l, 1000, i, 0, &p, &out));
        links_forget(l, i);
    }
    CU_ASSERT_EQUAL(links_stats(l)->account_dropped, 10);
    CU_ASSERT_TRUE(links_on_link_up(l, 1000000, 9999, 0, &p, &out));
    links_forget(l, 9999);
    CU_ASSERT_EQUAL(links_stats(l)->account_dropped, 10); /* all had expired */
    links_free(l);
}

CU_TestInfo suite_links[] = {
    {"silent_link_is_closed_and_reported",
     test_silent_link_is_closed_and_reported},
    {"late_timer_accuses_nobody", test_late_timer_accuses_nobody},
    {"active_link_is_audited", test_active_link_is_audited},
    {"ends_ping_in_turn", test_ends_ping_in_turn},
    {"best_of_eight_tells_the_offset", test_best_of_eight_tells_the_offset},
    {"false_pongs_are_refused", test_false_pongs_are_refused},
    {"too_many_links_are_refused", test_too_many_links_are_refused},
    {"useless_frames_use_up_one_budget", test_useless_frames_use_up_one_budget},
    {"useful_frames_cost_nothing", test_useful_frames_cost_nothing},
    {"metrics_links_pay_for_names", test_metrics_links_pay_for_names},
    {"strikes_of_a_minute_count", test_strikes_of_a_minute_count},
    {"budgets_of_absent_peers_are_bounded",
     test_budgets_of_absent_peers_are_bounded},
    CU_TEST_INFO_NULL,
};
