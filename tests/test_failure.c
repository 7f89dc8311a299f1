#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/prng.h"
#include "core/directory_state.h"
#include "directory_net.h"

#define ONLINE argus_MemberState_MEMBER_ONLINE
#define SUSPECT argus_MemberState_MEMBER_SUSPECT
#define OFFLINE argus_MemberState_MEMBER_OFFLINE

static struct net *mesh(uint32_t count, uint64_t seed)
{
    struct net *net = net_new(count, seed);

    for (uint32_t i = 0; i < count; i++)
        net_start(net, i);
    net_connect_all(net, 5);
    CU_ASSERT_NOT_EQUAL_FATAL(net_run_until(net, net_is_agreed, 5000),
                              UINT64_MAX);
    net_run(net, 3000);
    return net;
}

static const struct member *seen(const struct net *net, uint32_t by,
                                 uint32_t subject)
{
    return directory_find(net->nodes[by].d, &net->nodes[subject].id);
}

/* Goal: a killed node is offline everywhere within a moment, with at least one
 * witness; the dial that proves it is refused. */
static void test_reset_and_refused_is_offline_at_once(void)
{
    struct net *net = mesh(10, 1);

    net_kill(net, 3);
    uint64_t took_ms = net_run_until(net, net_is_agreed, 1000);
    CU_ASSERT_TRUE(took_ms <= 200);
    for (uint32_t i = 0; i < 10; i++) {
        if (i == 3)
            continue;
        CU_ASSERT_EQUAL(seen(net, i, 3)->state, OFFLINE);
        CU_ASSERT_TRUE(seen(net, i, 3)->report->witnesses_count >= 1);
    }
    net_free(net);
}

/* Goal: a link that breaks between two living nodes accuses nobody. */
static void test_reset_but_answered_accuses_nobody(void)
{
    struct net *net = mesh(6, 2);
    const struct directory *d = net->nodes[0].d;
    uint64_t answered = directory_stats(d)->probes_answered;

    directory_neighbor_lost(
        net->nodes[0].d, net->now_ms, net_wall_us(net), &net->nodes[1].id,
        LINK_END_RESET, argus_RefuseCode_REFUSE_NONE, net_out(&net->nodes[0]));
    net_run(net, 5000);
    CU_ASSERT_EQUAL(directory_stats(d)->probes_answered, answered + 1);
    CU_ASSERT_EQUAL(directory_stats(d)->reports_published, 0);
    CU_ASSERT_EQUAL(seen(net, 0, 1)->version, seen(net, 1, 1)->version);
    CU_ASSERT_TRUE(net_is_agreed(net));
    net_free(net);
}

/* Goal: a node that stands still is suspect at once and offline after
 * suspect_ms; when it runs again it accuses nobody and is online again. */
static void test_silence_is_suspect_then_offline_then_refuted(void)
{
    struct net *net = mesh(8, 3);
    uint64_t reports = 0;

    net->nodes[2].is_mute = true;
    net_break_sides(net);
    net_run(net, 3600);
    for (uint32_t i = 0; i < 8; i++)
        if (i != 2)
            CU_ASSERT_EQUAL(seen(net, i, 2)->state, SUSPECT);
    net_run(net, 3700);
    for (uint32_t i = 0; i < 8; i++)
        if (i != 2)
            CU_ASSERT_EQUAL(seen(net, i, 2)->state, OFFLINE);

    /* it wakes: all its neighbors seem silent to it */
    net_run(net, 5000);
    net->nodes[2].is_mute = false;
    reports = directory_stats(net->nodes[2].d)->reports_published;
    while (net->nodes[2].neighbors_count > 0) {
        uint32_t other = net->nodes[2].neighbors[0];
        net->nodes[2].neighbors[0] =
            net->nodes[2].neighbors[--net->nodes[2].neighbors_count];
        directory_neighbor_lost(net->nodes[2].d, net->now_ms, net_wall_us(net),
                                &net->nodes[other].id, LINK_END_TIMEOUT,
                                argus_RefuseCode_REFUSE_NONE,
                                net_out(&net->nodes[2]));
    }
    net_run(net, 100);
    CU_ASSERT_TRUE(directory_stats(net->nodes[2].d)->late_wakeups >= 1);
    CU_ASSERT_EQUAL(directory_stats(net->nodes[2].d)->reports_published,
                    reports);
    net_connect(net, 2, 5);
    CU_ASSERT_TRUE(net_run_until(net, net_is_agreed, 3000) <= 3000);
    CU_ASSERT_EQUAL(seen(net, 0, 2)->state, ONLINE);
    net_free(net);
}

static void kill_half(struct net *net, uint64_t seed, uint64_t gap_ms,
                      uint64_t mend_ms)
{
    struct prng prng;
    uint32_t last = UINT32_MAX, first = UINT32_MAX;

    prng_seed(&prng, seed);
    for (uint32_t killed = 0; killed < net->count / 2;) {
        uint32_t i = prng_below(&prng, net->count);
        if (!net->nodes[i].is_alive)
            continue;
        net_kill(net, i);
        net_run(net, gap_ms);
        killed++;
    }
    net_run(net, mend_ms);
    for (uint32_t i = 0; i < net->count; i++) {
        if (!net->nodes[i].is_alive)
            continue;
        if (last != UINT32_MAX)
            net_connect(net, last, i);
        else
            first = i;
        last = i;
    }
    net_connect(net, last, first);
}

/* Goal: half of 32 die at once, some with all their neighbors: the other half
 * counts 16 online within 6 s. Method: random victims, several seeds; in every
 * other run the deaths are spread over 30 ms, so that the dying still report on
 * each other; the survivors are one mesh again at once or after 1.5 s, as
 * HyParView would see to. */
static void test_half_of_32_killed_is_known_soon(void)
{
    uint64_t seed = test_seed(), worst_ms = 0;

    for (uint64_t run = 0; run < 16; run++) {
        struct net *net = mesh(32, seed + run);
        uint64_t mend_ms = run % 4 < 2 ? 0 : 1500;
        kill_half(net, seed + run, run % 2 == 0 ? 2 : 0, mend_ms);
        uint64_t took_ms = net_run_until(net, net_is_agreed, 12000);
        CU_ASSERT_NOT_EQUAL(took_ms, UINT64_MAX);
        took_ms += mend_ms; /* from the last death */
        CU_ASSERT_TRUE(took_ms <= 6000);
        if (took_ms > worst_ms)
            worst_ms = took_ms;
        net_run(net, 8000);
        CU_ASSERT_TRUE(net_is_agreed(net));
        net_free(net);
    }
    printf("  16 of 32 killed, 16 runs: known after %" PRIu64 " ms at most\n",
           worst_ms);
}

/* Goal: those nobody was a neighbor of any more are found too. Method: 6 nodes
 * that only know each other die together; the rest loses nobody it has a link
 * to, except three. */
static void test_island_that_dies_is_found_by_probes(void)
{
    struct net *net = net_new(24, 5);

    for (uint32_t i = 0; i < 24; i++)
        net_start(net, i);
    net_connect_all(net, 5);
    CU_ASSERT_NOT_EQUAL_FATAL(net_run_until(net, net_is_agreed, 5000),
                              UINT64_MAX);
    for (uint32_t i = 0; i < 24; i++) /* release what leads to the island */
        for (uint32_t k = net->nodes[i].neighbors_count; k-- > 0;) {
            uint32_t other = net->nodes[i].neighbors[k];
            if ((i < 6) == (other < 6))
                continue;
            net->nodes[i].neighbors[k] =
                net->nodes[i].neighbors[--net->nodes[i].neighbors_count];
            directory_neighbor_released(net->nodes[i].d, net->now_ms,
                                        net_wall_us(net), &net->nodes[other].id,
                                        net_out(&net->nodes[i]));
        }
    for (uint32_t i = 0; i < 9; i++)
        net_kill(net, i);
    CU_ASSERT_TRUE(net_run_until(net, net_is_agreed, 6000) <= 6000);
    uint64_t probes = 0;
    for (uint32_t i = 9; i < 24; i++)
        probes += directory_stats(net->nodes[i].d)->probes_sent;
    CU_ASSERT_TRUE(probes >= 6);
    net_free(net);
}

/* Goal: a split and its end. Both halves take the other for offline; once the
 * network heals all are online again, at first by probes of the lost alone. */
static void test_split_heals_by_slow_probes(void)
{
    struct net *net = mesh(32, 6);

    for (uint32_t i = 16; i < 32; i++)
        net->nodes[i].side = 1;
    net_break_sides(net);
    net_run(net, 60000);
    CU_ASSERT_TRUE(net_is_agreed(net));
    CU_ASSERT_EQUAL(directory_count(net->nodes[0].d, ONLINE), 16);
    CU_ASSERT_EQUAL(directory_count(net->nodes[0].d, OFFLINE), 16);

    for (uint32_t i = 16; i < 32; i++)
        net->nodes[i].side = 0;
    uint64_t took_ms = net_run_until(net, net_is_agreed, 60000);
    printf("  split of 32 healed by probes after %" PRIu64 " ms\n", took_ms);
    CU_ASSERT_TRUE(took_ms <= 30000);
    net_free(net);
}

static void cut_off(struct net *net, uint32_t few)
{
    for (uint32_t i = 0; i < few; i++)
        net->nodes[i].side = 1;
    net_break_sides(net);
    for (uint32_t i = 0; i + 1 < few; i++) /* as HyParView would see to */
        net_connect(net, i, i + 1);
}

static bool few_know(struct net *net)
{
    uint32_t few = 0;

    while (net->nodes[few].side == 1)
        few++;
    for (uint32_t i = 0; i < few; i++)
        if (directory_count(net->nodes[i].d, ONLINE) != few ||
            directory_count(net->nodes[i].d, SUSPECT) != 0)
            return false;
    return true;
}

/* Goal: few that are cut off from the many find out soon, and one alone as soon
 * as it would of its neighbors. Before it was left to those who are not there
 * to look after most of them: three of 64 did not know after two minutes. */
static void test_few_cut_off_find_out_soon(void)
{
    static const struct {
        uint32_t count, few, limit_ms;
    } rows[] = {{32, 1, 7000},  {64, 1, 7000},  {32, 2, 20000}, {32, 4, 20000},
                {32, 8, 20000}, {64, 2, 30000}, {64, 4, 25000}, {64, 8, 20000}};
    uint64_t seed = test_seed();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct net *net = mesh(rows[i].count, seed + i);
        cut_off(net, rows[i].few);
        uint64_t took_ms = net_run_until(net, few_know, rows[i].limit_ms);
        CU_ASSERT_TRUE(took_ms <= rows[i].limit_ms);
        printf("  %u of %u cut off: known after %" PRIu64 " ms\n", rows[i].few,
               rows[i].count, took_ms);
        net_free(net);
    }
}

/* Goal: whoever is cut off alone says that it speaks from memory, and accuses
 * nobody: once it is back all is as before at once, and the others have nothing
 * to refute. */
static void test_cut_off_alone_keeps_what_it_knew(void)
{
    struct net *net = mesh(32, 17);
    const struct directory *d = net->nodes[0].d;
    argus_Coverage c;
    uint64_t refutations = 0;

    cut_off(net, 1);
    net_run(net, 7000);
    CU_ASSERT_EQUAL(directory_stats(d)->cut_offs, 1);
    CU_ASSERT_EQUAL(directory_count(d, OFFLINE), 31);
    directory_coverage(d, net_wall_us(net), &c);
    CU_ASSERT_EQUAL(c.known, 32);
    CU_ASSERT_EQUAL(c.contributed, 1);
    for (uint32_t i = 1; i < 32; i++)
        CU_ASSERT_PTR_NULL(seen(net, 0, i)->report);
    net_run(net, 60000);
    CU_ASSERT_EQUAL(directory_stats(d)->cut_offs, 1);

    net->nodes[0].side = 0;
    net_connect(net, 0, 5);
    CU_ASSERT_EQUAL(seen(net, 0, 5)->state, ONLINE);
    CU_ASSERT_TRUE(net_run_until(net, net_is_agreed, 2000) <= 2000);
    net_run(net, 10000);
    CU_ASSERT_TRUE(net_is_agreed(net));
    for (uint32_t i = 1; i < 32; i++)
        refutations += directory_stats(net->nodes[i].d)->refutations;
    CU_ASSERT_TRUE(refutations <= 1); /* a dial that was under way when it came
                                         back may still fail */
    net_free(net);
}

/* Goal: neighbors lost are no cut as long as anybody is heard of, be it that
 * its host refuses a dial. */
static void test_a_sign_of_life_is_no_cut(void)
{
    for (uint32_t round = 0; round < 2; round++) {
        struct net *net = mesh(32, 18 + round);
        struct net_node *n = &net->nodes[0], *other = &net->nodes[20];
        cut_off(net, 1);
        net_run(net, 3600);
        if (round == 0) {
            directory_heard(n->d, net->now_ms, net_wall_us(net), &other->id);
        } else {
            other->side = 1;
            net_kill(net, 20);
            failure_probe(n->d, members_find(&n->d->members, &other->id),
                          PROBE_SLOW, net_out(n));
        }
        net_run(net, 3400);
        CU_ASSERT_EQUAL(directory_stats(n->d)->cut_offs, 0);
        net_free(net);
    }
}

static argus_Coverage coverage_of(const struct net *net, uint32_t by)
{
    argus_Coverage coverage;

    directory_coverage(net->nodes[by].d, net_wall_us(net), &coverage);
    return coverage;
}

/* Goal: a zone that is cut off lowers the coverage on either side, which names
 * it, until it is back; a zone that was killed does not, for its hosts refuse
 * dials: that is known. */
static void test_cut_off_zone_is_told_from_a_dead_one(void)
{
    struct net *net = mesh(24, 15);
    struct departures all;

    for (uint32_t i = 1; i < 24; i += 2) /* zone eu/1 */
        net->nodes[i].side = 1;
    net_break_sides(net);
    for (uint32_t i = 0; i < 22; i++) /* as HyParView would see to */
        net_connect(net, i, i + 2);
    net_run(net, 30000);
    for (uint32_t by = 0; by < 2; by++) {
        argus_Coverage c = coverage_of(net, by);
        CU_ASSERT_EQUAL(c.known, 24);
        CU_ASSERT_EQUAL(c.contributed, 12);
        CU_ASSERT_EQUAL(c.cut_off, 12);
        CU_ASSERT_EQUAL_FATAL(c.zones_count, 1);
        CU_ASSERT_STRING_EQUAL(c.zones[0], by == 0 ? "eu/1" : "eu/0");
    }
    for (uint32_t i = 1; i < 24; i += 2)
        net->nodes[i].side = 0;
    CU_ASSERT_TRUE(net_run_until(net, net_is_agreed, 60000) <= 60000);
    CU_ASSERT_EQUAL(coverage_of(net, 0).contributed, 24);
    net_connect_all(net, 5);
    net_run(net, 30000);

    for (uint32_t i = 1; i < 24; i += 2)
        net_kill(net, i);
    CU_ASSERT_TRUE(net_run_until(net, net_is_agreed, 20000) <= 20000);
    net_run(net, 60000); /* what was silence is proven by slow probes */
    for (uint32_t by = 0; by < 24; by += 2) {
        CU_ASSERT_TRUE_FATAL(directory_departures(net->nodes[by].d, &all));
        CU_ASSERT_EQUAL(all.count, 12);
        CU_ASSERT_EQUAL(all.groups_count, 1);
        departures_free(&all);
        CU_ASSERT_EQUAL(coverage_of(net, by).known, 12);
        CU_ASSERT_EQUAL(coverage_of(net, by).zones_count, 0);
    }
    net_free(net);
}

/* Goal: a clean stop is the node's own word: no dial makes it better known. */
static void test_own_word_is_not_outdone_by_a_refused_dial(void)
{
    struct net *net = mesh(6, 16);

    directory_stop(net->nodes[2].d, net->now_ms, net_wall_us(net),
                   net_out(&net->nodes[2]));
    net_run(net, 10);
    net_kill(net, 2);
    net_run(net, 120000);
    for (uint32_t i = 0; i < 6; i++)
        if (i != 2) {
            const struct member_report *r = seen(net, i, 2)->report;
            CU_ASSERT_TRUE(r->is_proven);
            CU_ASSERT_TRUE(node_id_is_equal(&r->author, &net->nodes[2].id));
        }
    net_free(net);
}

/* Goal: an address that lies (NAT) makes a living node suspect to nobody for
 * long, and the one who cannot dial it learns to keep quiet. */
static void test_undialable_member_is_not_accused_for_ever(void)
{
    struct net *net = mesh(6, 8);

    /* from now on dials to node 1 find a closed port, its links stay */
    (void)snprintf(net->nodes[1].options.address,
                   sizeof net->nodes[1].options.address, "moved");
    net_make(net, 6, 99);
    (void)snprintf(net->nodes[6].options.address,
                   sizeof net->nodes[6].options.address, "10.0.0.1:1");
    net_run(net, 600000);
    uint64_t published = 0;
    for (uint32_t i = 0; i < 6; i++)
        published += directory_stats(net->nodes[i].d)->reports_published;
    CU_ASSERT_TRUE(published >= 1 && published <= 6);
    net_run(net, 600000);
    uint64_t later = 0;
    for (uint32_t i = 0; i < 6; i++)
        later += directory_stats(net->nodes[i].d)->reports_published;
    CU_ASSERT_EQUAL(later, published);
    CU_ASSERT_EQUAL(seen(net, 3, 1)->state, ONLINE);
    net_free(net);
}

static void give_members(struct net *net, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        argus_Statement s = {.which_body = argus_Statement_record_tag};
        argus_NodeRecord *r = &s.body.record;
        uint8_t packed[SEALED_SIZE_MAX];
        r->generation = r->version = 1;
        memcpy(r->name, net->nodes[i].options.name, sizeof r->name);
        memcpy(r->address, net->nodes[i].options.address, sizeof r->address);
        size_t size = fake_close(&net->nodes[i].id, &s, packed);
        (void)directory_on_statement(
            net->nodes[0].d, net->now_ms, net_wall_us(net), packed, size, &s,
            &net->nodes[i].id, net_out(&net->nodes[0]));
    }
}

/* Goal: dials under way are bounded, wishes wait in a bounded queue, and what
 * does not fit is counted. */
static void test_probes_are_bounded(void)
{
    struct net *net = net_new(NET_NODES_MAX, 9);
    struct directory *d = net->nodes[0].d;

    net_start(net, 0);
    give_members(net, 1, NET_NODES_MAX);
    CU_ASSERT_EQUAL(directory_count(d, ONLINE), NET_NODES_MAX);
    for (uint32_t i = 1; i < NET_NODES_MAX; i++) {
        net->nodes[i].side = 1; /* dials hang */
        struct member *m = members_find(&d->members, &net->nodes[i].id);
        failure_probe(d, m, i % 2 ? PROBE_LOST : PROBE_MASS,
                      net_out(&net->nodes[0]));
    }
    CU_ASSERT_EQUAL(d->failure.probes_count, PROBES_MAX);
    CU_ASSERT_EQUAL(directory_stats(d)->probes_sent, PROBES_MAX);
    CU_ASSERT_TRUE(d->failure.queue_count > 0);
    CU_ASSERT_TRUE(directory_stats(d)->probes_dropped > 0);
    for (uint32_t k = 0; k < 4; k++) {
        struct member *m = members_find(&d->members, &net->nodes[63].id);
        while (d->failure.queue_count < PROBES_QUEUED_MAX)
            failure_probe(d, m, PROBE_LOST, net_out(&net->nodes[0]));
        failure_probe(d, m, PROBE_LOST, net_out(&net->nodes[0]));
        CU_ASSERT_EQUAL(d->failure.queue_count, PROBES_QUEUED_MAX);
    }
    /* none gets lost on the way: in the end all are judged */
    net_run(net, 600000);
    CU_ASSERT_EQUAL(directory_count(d, ONLINE), 1);
    CU_ASSERT_EQUAL(directory_count(d, OFFLINE), NET_NODES_MAX - 1);
    net_free(net);
}

/* Goal: a member whose record was not renewed for three leases is looked up,
 * and when it answers, asked for its newest record. */
static void test_missed_leases_are_looked_into(void)
{
    struct net *net = net_new(2, 14);
    struct directory *d = net->nodes[0].d;

    net->now_ms += 4 * LEASE_MIN_MS;
    net_start(net, 0);
    net_start(net, 1);
    give_members(net, 1, 2);
    struct member *m = members_find(&d->members, &net->nodes[1].id);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    own_publish(net->nodes[1].d, net_out(&net->nodes[1]));
    failure_check_leases(d, net_out(&net->nodes[0]));
    CU_ASSERT_EQUAL(directory_stats(d)->probes_sent, 0);
    m->renewed_ms = net->now_ms - LEASES_MISSED * LEASE_MIN_MS - 1;
    failure_check_leases(d, net_out(&net->nodes[0]));
    CU_ASSERT_EQUAL(directory_stats(d)->probes_sent, 1);
    net_run(net, 100);
    CU_ASSERT_EQUAL(m->version, 2);
    net_free(net);
}

/* Goal: each silent member has two probers, whoever is asked. */
static void test_rendezvous_picks_two(void)
{
    struct net *net = mesh(32, 10);

    for (uint32_t i = 0; i < 32; i++) {
        uint32_t probers = 0;
        for (uint32_t k = 0; k < 32; k++)
            if (k != i)
                probers += failure_is_prober(net->nodes[k].d, seen(net, k, i));
        CU_ASSERT_EQUAL(probers, PROBERS);
    }
    net_free(net);
}

#define ROW(name)                                                              \
    {                                                                          \
#name, name                                                            \
    }
CU_TestInfo suite_failure[] = {
    ROW(test_reset_and_refused_is_offline_at_once),
    ROW(test_reset_but_answered_accuses_nobody),
    ROW(test_silence_is_suspect_then_offline_then_refuted),
    ROW(test_half_of_32_killed_is_known_soon),
    ROW(test_island_that_dies_is_found_by_probes),
    ROW(test_split_heals_by_slow_probes),
    ROW(test_few_cut_off_find_out_soon),
    ROW(test_cut_off_alone_keeps_what_it_knew),
    ROW(test_a_sign_of_life_is_no_cut),
    ROW(test_cut_off_zone_is_told_from_a_dead_one),
    ROW(test_own_word_is_not_outdone_by_a_refused_dial),
    ROW(test_undialable_member_is_not_accused_for_ever),
    ROW(test_probes_are_bounded),
    ROW(test_missed_leases_are_looked_into),
    ROW(test_rendezvous_picks_two),
    CU_TEST_INFO_NULL,
};
