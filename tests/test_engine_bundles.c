/* test_engine_bundles.c - bundles through the door of the engine: what a push,
 * a state and a question do in a small mesh. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "sim/sim_impl.h"

#define PENDING argus_BundlePhase_BUNDLE_PENDING
#define APPLIED argus_BundlePhase_BUNDLE_APPLIED

static struct sim *sim;

static bool is_known(struct sim *s)
{
    return sim_all_joined(s) && sim_all_known(s);
}

static void set_up(uint32_t nodes)
{
    sim = sim_new(&(struct sim_options){
        .seed = test_seed(), .nodes = nodes, .aggregators = 1});
    CU_ASSERT_PTR_NOT_NULL_FATAL(sim);
    CU_ASSERT_TRUE(sim_run_until(sim, is_known, 5000));
    sim_run(sim, 5000);
}

static void tear_down(void)
{
    if (sim_failure(sim) != NULL)
        printf("  %s\n", sim_failure(sim));
    CU_ASSERT_PTR_NULL(sim_failure(sim));
    sim_free(sim);
}

static const struct engine *engine(uint32_t node)
{
    return sim->nodes[node]->engine;
}

/* Push the next version of "web" at node 0. */
static int push(const char *target, uint32_t size, uint64_t expires_ms,
                struct argus_error *err)
{
    static uint64_t seed;
    argus_SignedBundle bundle;
    struct bundle_view head;
    bool has = engine_bundle_version(engine(0), "web", 0, 0, &head);
    struct kit_spec spec = {.name = "web",
                            .version = has ? head.manifest->version + 1 : 1,
                            .before = has ? head.hash : NULL,
                            .target = target,
                            .size = size,
                            .seed = ++seed,
                            .expires_ms = expires_ms};
    int result = ARGUS_OK;
    struct event ev = {.type = EVENT_BUNDLE_PUSH,
                       .bundle_push = {&bundle, &result, err}};

    kit_make(&spec, &sim->nodes[0]->chunks, &bundle);
    sim_step(sim, sim->nodes[0], &ev);
    sim_run(sim, 500);
    return result;
}

static void set_states(uint32_t node, const argus_BundleState *states,
                       uint32_t count)
{
    struct event ev = {.type = EVENT_BUNDLE_STATES,
                       .bundle_states = {states, count}};
    sim_step(sim, sim->nodes[node], &ev);
    sim_run(sim, 1000);
}

static argus_BundleState state(uint32_t desired, uint32_t running,
                               argus_BundlePhase phase)
{
    argus_BundleState s = argus_BundleState_init_zero;
    struct bundle_view v;

    (void)snprintf(s.name, sizeof s.name, "web");
    s.desired = desired;
    s.running = running;
    s.phase = phase;
    if (engine_bundle_version(engine(0), "web", desired, 0, &v)) {
        s.desired_hash.size = 16;
        memcpy(s.desired_hash.bytes, v.hash, 16);
    }
    return s;
}

/* What node `at` says of the only node that the bundle is on or for. */
static argus_BundleNodeReply only_row(uint32_t at)
{
    argus_BundleNodeReply row = argus_BundleNodeReply_init_zero, more;

    CU_ASSERT_TRUE(engine_bundle_node(engine(at), "web", 0, &row));
    CU_ASSERT_FALSE(engine_bundle_node(engine(at), "web", 1, &more));
    return row;
}

/* Goal: a target that no known node is meant by is refused; otherwise those it
 * means, and they alone, know that it is for them. */
static void test_target_means_nodes(void)
{
    struct argus_error err = {{0}};
    struct bundle_view v;

    set_up(8);
    CU_ASSERT_EQUAL(push("name=n9", 100, 0, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(err.text, "no known node is meant by the target \"name=n9\""));
    CU_ASSERT_EQUAL(push("name=n3,role=agent", 100, 0, NULL), ARGUS_OK);
    for (uint32_t i = 0; i < 8; i++) {
        CU_ASSERT_TRUE(engine_bundle(engine(i), 0, 0, &v));
        CU_ASSERT_FALSE(engine_bundle(engine(i), 1, 0, &v));
        CU_ASSERT_TRUE(v.is_head && v.is_trusted && v.is_complete);
        CU_ASSERT_EQUAL(v.is_target, i == 3);
        CU_ASSERT_TRUE(engine_bundle_hash(engine(i), v.hash, 0, &v));
        argus_BundleNodeReply row = only_row(i);
        CU_ASSERT_STRING_EQUAL(row.node, "n3");
        CU_ASSERT_EQUAL(row.member, argus_MemberState_MEMBER_ONLINE);
        CU_ASSERT_EQUAL(row.bundle.phase, PENDING);
        CU_ASSERT_EQUAL(row.bundle.desired, 1);
        CU_ASSERT_EQUAL(row.bundle.running, 0);
    }
    CU_ASSERT_EQUAL(push("role=aggregator", 100, 0, NULL), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(only_row(5).node, "n0");
    tear_down();
}

/* Goal: what a node says of a bundle is known everywhere soon; a newer version
 * makes it pending again; a removal leaves those that still run it; a node that
 * is down is listed as it was. */
static void test_states_are_known_everywhere(void)
{
    argus_BundleState s;

    set_up(8);
    CU_ASSERT_EQUAL(push("name=n3", 100, 0, NULL), ARGUS_OK);
    s = state(1, 1, APPLIED);
    (void)snprintf(s.warnings[0], sizeof s.warnings[0], "an unknown option");
    s.warnings_count = 1;
    set_states(3, &s, 1);
    for (uint32_t i = 0; i < 8; i++) {
        argus_BundleNodeReply row = only_row(i);
        CU_ASSERT_EQUAL(row.bundle.phase, APPLIED);
        CU_ASSERT_EQUAL(row.bundle.running, 1);
        CU_ASSERT_EQUAL(row.bundle.warnings_count, 1);
    }
    CU_ASSERT_EQUAL(push("name=n3", 100, 0, NULL), ARGUS_OK);
    CU_ASSERT_EQUAL(only_row(7).bundle.phase, PENDING);
    CU_ASSERT_EQUAL(only_row(7).bundle.desired, 2);
    CU_ASSERT_EQUAL(only_row(7).bundle.running, 1);
    s = state(2, 2, APPLIED);
    s.desired_hash.bytes[0] ^= 1; /* the loser of a tie */
    set_states(3, &s, 1);
    CU_ASSERT_EQUAL(only_row(7).bundle.phase, PENDING);
    CU_ASSERT_EQUAL(push("name=n4", 100, 0, NULL), ARGUS_OK); /* elsewhere */
    argus_BundleNodeReply row;
    CU_ASSERT_TRUE(engine_bundle_node(engine(6), "web", 0, &row));
    CU_ASSERT_TRUE(engine_bundle_node(engine(6), "web", 1, &row));
    CU_ASSERT_FALSE(engine_bundle_node(engine(6), "web", 2, &row));
    CU_ASSERT_EQUAL(push("", 0, 0, NULL), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(only_row(7).node, "n3");
    sim_stop(sim, 3);
    sim_run(sim, 2000);
    CU_ASSERT_EQUAL(only_row(7).member, argus_MemberState_MEMBER_OFFLINE);
    sim_start(sim, 3);
    sim_run(sim, 2000); /* its record says nothing of it now */
    CU_ASSERT_FALSE(engine_bundle_node(engine(7), "web", 0, &row));
    CU_ASSERT_FALSE(engine_bundle_node(engine(7), "none", 0, &row));
    tear_down();
}

/* Goal: rows come in order and once each, whatever the way they are read. */
static void test_rows_are_read_in_any_order(void)
{
    argus_BundleNodeReply first[24], row;

    set_up(24);
    CU_ASSERT_EQUAL(push("name=n*[02468]", 100, 0, NULL), ARGUS_OK);
    for (uint32_t i = 0; i < 12; i++)
        CU_ASSERT_TRUE(engine_bundle_node(engine(1), "web", i, &first[i]));
    CU_ASSERT_FALSE(engine_bundle_node(engine(1), "web", 12, &row));
    for (uint32_t i = 12; i-- > 0;) {
        CU_ASSERT_TRUE(engine_bundle_node(engine(1), "web", i, &row));
        CU_ASSERT_STRING_EQUAL(row.node, first[i].node);
        for (uint32_t k = 0; k < i; k++)
            CU_ASSERT_STRING_NOT_EQUAL(row.node, first[k].node);
    }
    CU_ASSERT_TRUE(engine_bundle_node(engine(1), "web", 2, &row));
    CU_ASSERT_TRUE(engine_bundle_node(engine(1), "web", 9, &row));
    CU_ASSERT_STRING_EQUAL(row.node, first[9].node);
    CU_ASSERT_TRUE(engine_bundle_node(engine(1), "web", 9, &row));
    CU_ASSERT_STRING_EQUAL(row.node, first[9].node);
    tear_down();
}

/* Goal: a record with more text than a statement takes is published all the
 * same, with names and versions whole. */
static void test_states_fit_the_record(void)
{
    static argus_BundleState states[17];
    argus_NodeRecord record;

    set_up(4);
    for (uint32_t i = 0; i < 17; i++) {
        argus_BundleState *s = &states[i];
        *s = state(1, 1, argus_BundlePhase_BUNDLE_FAILED);
        memset(s->name, 'a' + (int)i, sizeof s->name - 1);
        memset(s->error, 'e', sizeof s->error - 1);
        memset(s->warnings[0], 'w', sizeof s->warnings[0] - 1);
        memset(s->warnings[1], 'w', sizeof s->warnings[1] - 1);
        s->warnings_count = 2;
    }
    set_states(2, states, 17);
    const struct member *m =
        directory_find(engine(0)->directory, &sim->nodes[2]->id);
    CU_ASSERT_TRUE_FATAL(directory_record(m, &record));
    CU_ASSERT_EQUAL(record.bundles_count, 16);
    for (pb_size_t i = 0; i < record.bundles_count; i++) {
        CU_ASSERT_STRING_EQUAL(record.bundles[i].name, states[i].name);
        CU_ASSERT_EQUAL(record.bundles[i].phase,
                        argus_BundlePhase_BUNDLE_FAILED);
        CU_ASSERT_EQUAL(record.bundles[i].warnings_count, 0);
        CU_ASSERT_TRUE(strlen(record.bundles[i].error) >= 95);
    }
    CU_ASSERT_TRUE(sim_counter(sim, "records_trimmed") > 0);
    CU_ASSERT_EQUAL(sim_counter(sim, "bundle_states_cut"), 1);
    set_states(2, states, 1); /* now all fits */
    CU_ASSERT_TRUE_FATAL(directory_record(m, &record));
    CU_ASSERT_EQUAL(record.bundles_count, 1);
    CU_ASSERT_EQUAL(record.bundles[0].warnings_count, 2);
    tear_down();
}

/* Goal: the owner is told when a version expires. */
static void test_expiry_is_told(void)
{
    struct bundle_view v;
    struct sim_node *n;

    set_up(3);
    uint64_t wall_ms = sim_wall_us(sim, sim->nodes[0]) / 1000;
    CU_ASSERT_EQUAL(push("*", 100, wall_ms + 30000, NULL), ARGUS_OK);
    n = sim->nodes[2];
    uint64_t told = n->bundles_told;
    sim_run(sim, 20000);
    CU_ASSERT_EQUAL(n->bundles_told, told);
    CU_ASSERT_TRUE(engine_bundle(n->engine, 0, sim_wall_us(sim, n), &v));
    CU_ASSERT_FALSE(v.is_expired);
    sim_run(sim, 10000);
    CU_ASSERT_EQUAL(n->bundles_told, told + 1);
    CU_ASSERT_TRUE(engine_bundle(n->engine, 0, sim_wall_us(sim, n), &v));
    CU_ASSERT_TRUE(v.is_expired);
    tear_down();
}

/* Goal: what a sweep must spare: the chunks of every kept version, no others.
 */
static void test_chunks_in_use_are_known(void)
{
    uint8_t index[CONTENT_CHUNK_SIZE], nothing[32] = {9};
    struct bundle_view v;

    set_up(2);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(push("*", 100000, 0, NULL), ARGUS_OK);
    CU_ASSERT_EQUAL(push("*", 0, 0, NULL), ARGUS_OK);
    struct chunk_set *used = engine_chunks_used(engine(1));
    struct chunk_store store = kit_store(&sim->nodes[1]->chunks);
    CU_ASSERT_PTR_NOT_NULL_FATAL(used);
    CU_ASSERT_FALSE(chunk_set_has(used, nothing));
    for (uint32_t version = 1; version <= 3; version++) {
        CU_ASSERT_TRUE(engine_bundle_version(engine(1), "web", version, 0, &v));
        CU_ASSERT_TRUE(v.is_complete && !v.is_head);
        CU_ASSERT_TRUE(chunk_set_has(used, v.manifest->index.bytes));
        CU_ASSERT_TRUE(content_index(&store, v.manifest, index));
        for (uint32_t i = 0; i < 4; i++)
            CU_ASSERT_TRUE(chunk_set_has(used, index + 32 * i));
    }
    chunk_set_free(used);
    for (int i = 0; i < 7; i++)
        CU_ASSERT_EQUAL(push("*", 100, 0, NULL), ARGUS_OK);
    used = engine_chunks_used(engine(1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(used);
    CU_ASSERT_FALSE(chunk_set_has(used, index)); /* eight later ones came */
    CU_ASSERT_FALSE(engine_bundle_version(engine(1), "web", 3, 0, &v));
    chunk_set_free(used);
    tear_down();
}

CU_TestInfo suite_engine_bundles[] = {
    {"target_means_nodes", test_target_means_nodes},
    {"states_are_known_everywhere", test_states_are_known_everywhere},
    {"rows_are_read_in_any_order", test_rows_are_read_in_any_order},
    {"states_fit_the_record", test_states_fit_the_record},
    {"expiry_is_told", test_expiry_is_told},
    {"chunks_in_use_are_known", test_chunks_in_use_are_known},
    CU_TEST_INFO_NULL,
};
