#include "test.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include <pb_encode.h>

#include "core/directory_state.h"
#include "directory_net.h"

#define ONLINE argus_MemberState_MEMBER_ONLINE
#define SUSPECT argus_MemberState_MEMBER_SUSPECT
#define OFFLINE argus_MemberState_MEMBER_OFFLINE
#define LEFT argus_MemberState_MEMBER_LEFT

/* One directory and a scribe who writes statements in the name of others. */
struct desk {
    struct net *net;
    struct net_node *node;
    struct directory *d;
};

static struct desk desk_new(uint32_t others)
{
    struct desk desk = {.net = net_new(1 + others, 42)};

    desk.node = &desk.net->nodes[0];
    desk.d = desk.node->d;
    net_start(desk.net, 0);
    return desk;
}

static argus_NodeRecord record_of(const struct desk *desk, uint32_t i,
                                  uint32_t generation, uint32_t version)
{
    const struct engine_options *o = &desk->net->nodes[i].options;
    argus_NodeRecord r = argus_NodeRecord_init_zero;

    r.generation = generation;
    r.version = version;
    memcpy(r.name, o->name, sizeof r.name);
    memcpy(r.address, o->address, sizeof r.address);
    memcpy(r.zone, o->zone, sizeof r.zone);
    r.weight = 1;
    r.instance = o->instance + generation;
    r.started_ms = o->started_ms;
    r.hlc = net_wall_us(desk->net) / 1000 << 16;
    return r;
}

static enum directory_verdict say(struct desk *desk, const struct node_id *by,
                                  const argus_Statement *statement)
{
    uint8_t packed[SEALED_SIZE_MAX];
    struct node_id author = *by;
    size_t size = fake_close(&author, statement, packed);

    return directory_on_statement(desk->d, desk->net->now_ms,
                                  net_wall_us(desk->net), packed, size,
                                  statement, &author, net_out(desk->node));
}

static enum directory_verdict say_record(struct desk *desk, uint32_t i,
                                         const argus_NodeRecord *r)
{
    argus_Statement s = {.which_body = argus_Statement_record_tag,
                         .body.record = *r};
    return say(desk, &desk->net->nodes[i].id, &s);
}

static enum directory_verdict say_version(struct desk *desk, uint32_t i,
                                          uint32_t generation, uint32_t version)
{
    argus_NodeRecord r = record_of(desk, i, generation, version);
    return say_record(desk, i, &r);
}

static enum directory_verdict say_report(struct desk *desk, uint32_t witness,
                                         uint32_t subject, uint32_t generation,
                                         uint32_t version,
                                         argus_MemberState state)
{
    argus_Statement s = {.which_body = argus_Statement_report_tag};
    argus_Report *r = &s.body.report;

    memcpy(r->subject, desk->net->nodes[subject].id.bytes, NODE_ID_SIZE);
    r->generation = generation;
    r->version = version;
    r->state = state;
    r->hlc = (net_wall_us(desk->net) / 1000 << 16) + witness;
    return say(desk, &desk->net->nodes[witness].id, &s);
}

/* Statements of any bytes: those that our own structs cannot hold. */
struct raw {
    uint8_t bytes[SEALED_SIZE_MAX];
    size_t size;
};

static void raw_put(struct raw *raw, const void *bytes, size_t size)
{
    CU_ASSERT_TRUE_FATAL(raw->size + size <= sizeof raw->bytes);
    memcpy(raw->bytes + raw->size, bytes, size);
    raw->size += size;
}

static void raw_record(struct raw *raw, const argus_NodeRecord *r)
{
    pb_ostream_t stream = pb_ostream_from_buffer(raw->bytes, sizeof raw->bytes);

    CU_ASSERT_TRUE_FATAL(pb_encode(&stream, argus_NodeRecord_fields, r));
    raw->size = stream.bytes_written;
}

/* The record as the statement of an author; its size. */
static size_t raw_close(const struct raw *record, const struct node_id *author,
                        uint8_t out[SEALED_SIZE_MAX])
{
    struct raw statement = {.size = 0};
    const uint8_t head[] = {argus_Statement_record_tag << 3 | 2,
                            (uint8_t)(record->size & 127) | 128,
                            (uint8_t)(record->size >> 7)};

    CU_ASSERT_TRUE_FATAL(record->size >= 128 && record->size < 128 << 7);
    raw_put(&statement, head, sizeof head);
    raw_put(&statement, record->bytes, record->size);
    return fake_seal(author, statement.bytes, statement.size, out);
}

static const struct member *member(const struct desk *desk, uint32_t i)
{
    return directory_find(desk->d, &desk->net->nodes[i].id);
}

static void desk_free(struct desk *desk)
{
    net_free(desk->net);
}

/* Goal: of one node's records the newest by (generation, version) stands, in
 * whatever order they come. */
static void test_record_newest_version_stands(void)
{
    struct desk desk = desk_new(1);

    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 1), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 1), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 3), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 2), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(say_version(&desk, 1, 2, 1), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 9), DIRECTORY_STALE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(member(&desk, 1));
    CU_ASSERT_EQUAL(member(&desk, 1)->generation, 2);
    CU_ASSERT_EQUAL(member(&desk, 1)->version, 1);
    CU_ASSERT_EQUAL(member(&desk, 1)->state, ONLINE);
    CU_ASSERT_EQUAL(directory_count(desk.d, ONLINE), 2);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->records_stale, 3);
    desk_free(&desk);
}

/* Goal: what disk holds is believed only if it is sound and about the id under
 * which it was kept. */
static void test_load_damaged_or_misfiled_is_refused(void)
{
    struct desk desk = desk_new(2);
    argus_Statement s = {.which_body = argus_Statement_record_tag,
                         .body.record = record_of(&desk, 1, 1, 1)};
    uint8_t packed[SEALED_SIZE_MAX];
    size_t size = fake_close(&desk.net->nodes[1].id, &s, packed);
    const struct node_id *id = &desk.net->nodes[1].id;

    CU_ASSERT_FALSE(directory_load(desk.d, 1000, NET_WALL_US,
                                   &desk.net->nodes[2].id, packed, size));
    packed[size - 3] ^= 1;
    CU_ASSERT_FALSE(
        directory_load(desk.d, 1000, NET_WALL_US, id, packed, size));
    packed[size - 3] ^= 1;
    CU_ASSERT_PTR_NULL(member(&desk, 1));
    CU_ASSERT_TRUE(directory_load(desk.d, 1000, NET_WALL_US, id, packed, size));
    CU_ASSERT_PTR_NOT_NULL_FATAL(member(&desk, 1));
    CU_ASSERT_TRUE(member(&desk, 1)->is_unheard);
    CU_ASSERT_EQUAL(member(&desk, 1)->state, OFFLINE);
    CU_ASSERT_EQUAL(member(&desk, 1)->since_us, NET_WALL_US);
    argus_Statement report = {.which_body = argus_Statement_report_tag};
    memcpy(report.body.report.subject, id->bytes, NODE_ID_SIZE);
    report.body.report.generation = report.body.report.version = 1;
    report.body.report.state = OFFLINE;
    report.body.report.hlc = (NET_WALL_US / 1000 - 5000) << 16;
    size = fake_close(&desk.net->nodes[2].id, &report, packed);
    CU_ASSERT_TRUE(directory_load(desk.d, 1000, NET_WALL_US, id, packed, size));
    CU_ASSERT_TRUE(member(&desk, 1)->is_unheard);
    CU_ASSERT_EQUAL(member(&desk, 1)->since_us, NET_WALL_US - 5000000);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->mass_deaths, 0);

    /* it lives */
    s.body.record.version = 2;
    CU_ASSERT_EQUAL(say_record(&desk, 1, &s.body.record), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(member(&desk, 1)->state, ONLINE);
    desk_free(&desk);
}

/* Goal: a record by a newer version, with a field and a role that nobody here
 * knows, counts as any other, and is handed on by anti-entropy byte by byte as
 * it was signed.
 * Method: the bytes of a record with a role 9 and a field 100 behind them. */
static void test_newer_record_is_handed_on_as_it_is(void)
{
    static const uint8_t newer[] = {5 << 3, 9, 0xa2, 0x06, 3, 'n', 'e', 'w'};
    struct desk desk = desk_new(2);
    const struct node_id *id = &desk.net->nodes[2].id;
    argus_NodeRecord r = record_of(&desk, 2, 1, 1), read;
    struct raw raw = {.size = 0};
    uint8_t packed[SEALED_SIZE_MAX];
    struct node_id author;
    argus_Statement s;

    memset(r.zone, 'z', sizeof r.zone - 1);
    memset(r.software, '9', sizeof r.software - 1);
    raw_record(&raw, &r);
    raw_put(&raw, newer, sizeof newer);
    size_t size = raw_close(&raw, id, packed);
    CU_ASSERT_TRUE_FATAL(fake_open(NULL, packed, size, &s, &author));
    CU_ASSERT_EQUAL_FATAL(
        directory_on_statement(desk.d, desk.net->now_ms, net_wall_us(desk.net),
                               packed, size, &s, &author, net_out(desk.node)),
        DIRECTORY_NEWS);
    net_start(desk.net, 1);
    net_connect(desk.net, 0, 1);
    net_run(desk.net, 3000);

    for (uint32_t i = 0; i < 2; i++) {
        const struct member *m = directory_find(desk.net->nodes[i].d, id);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        CU_ASSERT_EQUAL_FATAL(m->packed_size, size);
        CU_ASSERT_EQUAL(memcmp(m->packed, packed, size), 0);
        CU_ASSERT_STRING_EQUAL(m->name, "n2");
        CU_ASSERT_TRUE(directory_record(m, &read));
        CU_ASSERT_STRING_EQUAL(read.software, r.software);
        CU_ASSERT_EQUAL((int)read.role, 9);
    }
    desk_free(&desk);
}

/* Goal: a record with more tags than one may have is not believed, whoever
 * signed it; as many as there may be are. */
static void test_record_with_many_tags_is_refused(void)
{
    static const uint8_t tag[] = {7 << 3 | 2, 2, 10, 0}; /* an empty key */
    struct desk desk = desk_new(1);
    const struct node_id *id = &desk.net->nodes[1].id;
    const uint32_t counts[] = {16, 17, 200};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        argus_NodeRecord r = record_of(&desk, 1, 1, (uint32_t)i + 1);
        struct raw raw = {.size = 0};
        uint8_t packed[SEALED_SIZE_MAX];

        memset(r.zone, 'z', sizeof r.zone - 1);
        memset(r.software, '9', sizeof r.software - 1);
        raw_record(&raw, &r);
        for (uint32_t n = 0; n < counts[i]; n++)
            raw_put(&raw, tag, sizeof tag);
        size_t size = raw_close(&raw, id, packed);
        CU_ASSERT_EQUAL(
            directory_load(desk.d, 1000, NET_WALL_US, id, packed, size),
            counts[i] <= 16);
    }
    CU_ASSERT_EQUAL(member(&desk, 1)->version, 1);
    desk_free(&desk);
}

/* Goal: a report stands until the subject's record is newer than it. */
static void test_report_is_void_after_newer_record(void)
{
    struct desk desk = desk_new(2);

    (void)say_version(&desk, 1, 1, 1);
    (void)say_version(&desk, 2, 1, 5);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 2, 1, 4, OFFLINE), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(member(&desk, 2)->state, ONLINE);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 2, 1, 5, OFFLINE), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(member(&desk, 2)->state, OFFLINE);
    CU_ASSERT_EQUAL(say_version(&desk, 2, 1, 6), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(member(&desk, 2)->state, ONLINE);
    CU_ASSERT_PTR_NULL(member(&desk, 2)->report);

    /* a report that overtook the record it speaks of */
    CU_ASSERT_EQUAL(say_report(&desk, 1, 2, 1, 7, OFFLINE), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_version(&desk, 2, 1, 7), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(member(&desk, 2)->state, OFFLINE);
    desk_free(&desk);
}

/* Goal: of several reports the same one is in force everywhere: OFFLINE before
 * SUSPECT, the earlier stamp first; four witnesses are kept. */
static void test_reports_strongest_is_in_force(void)
{
    struct desk desk = desk_new(8);

    for (uint32_t i = 1; i <= 8; i++)
        (void)say_version(&desk, i, 1, 1);
    CU_ASSERT_EQUAL(say_report(&desk, 3, 8, 1, 1, OFFLINE), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 8, 1, 1, SUSPECT), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(member(&desk, 8)->state, OFFLINE);
    CU_ASSERT_EQUAL(say_report(&desk, 2, 8, 1, 1, OFFLINE), DIRECTORY_NEWS);
    CU_ASSERT_TRUE(node_id_is_equal(&member(&desk, 8)->report->author,
                                    &desk.net->nodes[2].id));
    CU_ASSERT_EQUAL(say_report(&desk, 4, 8, 1, 1, OFFLINE), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_report(&desk, 4, 8, 1, 1, OFFLINE), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(say_report(&desk, 5, 8, 1, 1, OFFLINE), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_report(&desk, 6, 8, 1, 1, OFFLINE), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(member(&desk, 8)->report->witnesses_count, WITNESSES_MAX);
    CU_ASSERT_TRUE(node_id_is_equal(&member(&desk, 8)->report->author,
                                    &desk.net->nodes[2].id));
    desk_free(&desk);
}

/* Goal: what no honest node says is refused, and changes nothing. */
static void test_report_absurd_is_refused(void)
{
    struct desk desk = desk_new(2);

    (void)say_version(&desk, 1, 1, 1);
    (void)say_version(&desk, 2, 1, 1);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 2, 1, 1, ONLINE), DIRECTORY_BAD);
    CU_ASSERT_EQUAL(say_report(&desk, 2, 2, 1, 1, SUSPECT), DIRECTORY_BAD);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 2, 1, UINT32_MAX, OFFLINE),
                    DIRECTORY_BAD);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 2, UINT32_MAX, 1, OFFLINE),
                    DIRECTORY_BAD);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 0, UINT32_MAX, 1, OFFLINE),
                    DIRECTORY_BAD);
    CU_ASSERT_EQUAL(member(&desk, 2)->state, ONLINE);
    argus_Statement event = {.which_body = argus_Statement_event_tag};
    CU_ASSERT_EQUAL(say(&desk, &desk.net->nodes[1].id, &event), DIRECTORY_BAD);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->reports_bad, 5);
    CU_ASSERT_EQUAL(directory_generation(desk.d), 1);
    desk_free(&desk);
}

/* Goal: who is reported and lives says so with a version above the report. */
static void test_report_on_self_is_refuted(void)
{
    struct desk desk = desk_new(1);

    (void)say_version(&desk, 1, 1, 1);
    net_run(desk.net, 1000);
    CU_ASSERT_EQUAL(member(&desk, 0)->version, 1);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 0, 1, 1, SUSPECT), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(member(&desk, 0)->version, 2);
    CU_ASSERT_EQUAL(desk.node->broadcasts, 2);

    /* at most one version each PUBLISH_GAP_MS */
    (void)say_report(&desk, 1, 0, 1, 7, OFFLINE);
    CU_ASSERT_EQUAL(desk.node->broadcasts, 2);
    net_run(desk.net, PUBLISH_GAP_MS);
    CU_ASSERT_EQUAL(desk.node->broadcasts, 3);
    CU_ASSERT_EQUAL(member(&desk, 0)->version, 8);

    /* of a life that is over */
    (void)say_report(&desk, 1, 0, 1, 7, OFFLINE);
    net_run(desk.net, 1000);
    CU_ASSERT_EQUAL(member(&desk, 0)->version, 8);
    CU_ASSERT_EQUAL(member(&desk, 0)->state, ONLINE);

    /* of a generation ahead of ours: a disk that was restored */
    (void)say_report(&desk, 1, 0, 5, 2, OFFLINE);
    CU_ASSERT_EQUAL(desk.node->raised, 6);
    CU_ASSERT_EQUAL(directory_generation(desk.d), 6);
    desk_free(&desk);
}

/* Goal: a suspicion that nobody refutes turns into offline by the own timer,
 * and no earlier. */
static void test_suspect_unrefuted_turns_offline(void)
{
    struct desk desk = desk_new(3);

    for (uint32_t i = 1; i <= 3; i++)
        (void)say_version(&desk, i, 1, 1);
    (void)say_report(&desk, 1, 2, 1, 1, SUSPECT);
    net_run(desk.net, 1000);
    (void)say_report(&desk, 1, 3, 1, 1, SUSPECT);
    net_run(desk.net, 1000);
    /* the earlier report of another witness takes over, time goes on */
    CU_ASSERT_EQUAL(say_report(&desk, 3, 2, 1, 1, SUSPECT), DIRECTORY_NEWS);
    net_run(desk.net, 400);
    CU_ASSERT_EQUAL(member(&desk, 2)->state, SUSPECT);
    net_run(desk.net, 200);
    CU_ASSERT_EQUAL(member(&desk, 2)->state, OFFLINE);
    CU_ASSERT_EQUAL(member(&desk, 3)->state, SUSPECT);
    (void)say_version(&desk, 3, 1, 2);
    CU_ASSERT_EQUAL(member(&desk, 3)->state, ONLINE);
    net_run(desk.net, 5000);
    CU_ASSERT_EQUAL(member(&desk, 3)->state, ONLINE);
    desk_free(&desk);
}

/* Goal: once two witnesses agree it is waited for a refutation half as long. */
static void test_second_witness_halves_the_wait(void)
{
    struct desk desk = desk_new(3);

    for (uint32_t i = 1; i <= 3; i++)
        (void)say_version(&desk, i, 1, 1);
    (void)say_report(&desk, 1, 2, 1, 1, SUSPECT);
    net_run(desk.net, 500);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 2, 1, 1, SUSPECT), DIRECTORY_STALE);
    net_run(desk.net, 500); /* the same one twice is no second */
    (void)say_report(&desk, 3, 2, 1, 1, SUSPECT);
    net_run(desk.net, 1150);
    CU_ASSERT_EQUAL(member(&desk, 2)->state, SUSPECT);
    net_run(desk.net, 150);
    CU_ASSERT_EQUAL(member(&desk, 2)->state, OFFLINE);
    desk_free(&desk);
}

/* Goal: a clean stop is known at once, needs no probe and is no death; a leave
 * is for good, unless it is taken back; a later life makes both void. */
static void test_stop_and_leave_are_told_by_the_node(void)
{
    struct net *net = net_new(4, 7);

    for (uint32_t i = 0; i < 4; i++)
        net_start(net, i);
    net_connect_all(net, 4);
    CU_ASSERT_NOT_EQUAL(net_run_until(net, net_is_agreed, 3000), UINT64_MAX);
    uint64_t probes = directory_stats(net->nodes[0].d)->probes_sent;

    directory_stop(net->nodes[1].d, net->now_ms, net_wall_us(net),
                   net_out(&net->nodes[1]));
    directory_leave(net->nodes[2].d, net->now_ms, net_wall_us(net),
                    net_out(&net->nodes[2]));
    net_run(net, 50);
    const struct directory *d = net->nodes[0].d;
    const struct member *stopped = directory_find(d, &net->nodes[1].id);
    CU_ASSERT_EQUAL(stopped->state, OFFLINE);
    CU_ASSERT_EQUAL(stopped->report->witnesses_count, 1);
    CU_ASSERT_EQUAL(directory_find(d, &net->nodes[2].id)->state, LEFT);
    CU_ASSERT_EQUAL(directory_count(d, ONLINE), 2);
    CU_ASSERT_EQUAL(directory_stats(d)->probes_sent, probes);
    CU_ASSERT_FALSE(d->failure.has_lost);
    CU_ASSERT_EQUAL(directory_deadline_ms(net->nodes[1].d), UINT64_MAX);

    directory_return(net->nodes[2].d, net->now_ms, net_wall_us(net),
                     net_out(&net->nodes[2]));
    directory_return(net->nodes[1].d, net->now_ms, net_wall_us(net),
                     net_out(&net->nodes[1])); /* it never left */
    net_run(net, 50);
    CU_ASSERT_EQUAL(directory_find(d, &net->nodes[2].id)->state, ONLINE);
    CU_ASSERT_EQUAL(directory_find(d, &net->nodes[1].id)->state, OFFLINE);
    CU_ASSERT_EQUAL(directory_count(net->nodes[2].d, LEFT), 0);
    CU_ASSERT_NOT_EQUAL(directory_deadline_ms(net->nodes[2].d), UINT64_MAX);

    struct desk desk = {
        .net = net, .node = &net->nodes[0], .d = net->nodes[0].d};
    (void)say_version(&desk, 1, 2, 1);
    (void)say_version(&desk, 2, 2, 1);
    CU_ASSERT_EQUAL(directory_count(d, ONLINE), 4);
    net_free(net);
}

/* Goal: a reimaged host, a new id with the old name and address, takes the
 * place of the old one once that is offline; another name does not. */
static void test_reimaged_host_supersedes_old_id(void)
{
    struct desk desk = desk_new(6);

    (void)say_version(&desk, 1, 1, 1);
    (void)say_version(&desk, 2, 1, 1);
    (void)say_report(&desk, 2, 1, 1, 1, OFFLINE);

    argus_NodeRecord r = record_of(&desk, 3, 1, 1);
    memcpy(r.address, desk.net->nodes[1].options.address, sizeof r.address);
    (void)say_record(&desk, 3, &r); /* same place, other name */
    net_run(desk.net, 10);
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 1));

    memcpy(r.name, "n1", 3);
    r.version = 2;
    (void)say_record(&desk, 3, &r);
    net_run(desk.net, 10);
    CU_ASSERT_PTR_NULL(member(&desk, 1));
    CU_ASSERT_EQUAL(desk.node->forgotten, 1);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->members_superseded, 1);
    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 1), DIRECTORY_STALE);

    /* still believed online: looked up first */
    r = record_of(&desk, 4, 1, 1);
    memcpy(r.name, "n2", 3);
    memcpy(r.address, desk.net->nodes[2].options.address, sizeof r.address);
    r.started_ms++;
    desk.net->nodes[2].options.address[0] = 'x'; /* nobody there */
    (void)say_record(&desk, 4, &r);
    net_run(desk.net, 10);
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 2));
    net_run(desk.net, 200000);
    CU_ASSERT_PTR_NULL(member(&desk, 2));

    /* once it is found to be gone, here or by others, it goes at once */
    (void)say_version(&desk, 5, 1, 1);
    r = record_of(&desk, 6, 1, 1);
    memcpy(r.name, "n5", 3);
    memcpy(r.address, desk.net->nodes[5].options.address, sizeof r.address);
    r.started_ms++;
    (void)say_record(&desk, 6, &r);
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 5));
    net_run(desk.net, 5);
    (void)say_report(&desk, 3, 5, 1, 1, OFFLINE);
    net_run(desk.net, 10);
    CU_ASSERT_PTR_NULL(member(&desk, 5));
    desk_free(&desk);
}

/* Goal: neighbors are followed up to a bound; sessions dialed at a time too. */
static void test_neighbors_and_dials_are_bounded(void)
{
    struct desk desk = desk_new(8);
    struct peer_info peer = {.address = "nowhere:1"};

    for (uint32_t i = 0; i < DIRECTORY_NEIGHBORS_MAX + 3; i++) {
        peer.id = (struct node_id){{1, (uint8_t)(i >> 8), (uint8_t)i}};
        directory_neighbor_up(desk.d, desk.net->now_ms, net_wall_us(desk.net),
                              &peer, net_out(desk.node));
    }
    CU_ASSERT_EQUAL(desk.d->sync.neighbors_count, DIRECTORY_NEIGHBORS_MAX);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->neighbors_refused, 3);
    for (uint32_t i = 1; i <= 8; i++) {
        (void)say_version(&desk, i, 1, 1);
        sync_request(desk.d, member(&desk, i), net_out(desk.node));
    }
    CU_ASSERT_EQUAL(desk.d->sync.dialed_count, SYNC_OUT_MAX);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->syncs_refused, 8 - SYNC_OUT_MAX);
    desk_free(&desk);
}

/* Goal: what is offline is forgotten after its time and does not come back
 * through others who still know it; a newer life is welcome. */
static void test_offline_expires_and_leaves_tombstone(void)
{
    struct desk desk = desk_new(2);

    (void)say_version(&desk, 1, 1, 4);
    (void)say_version(&desk, 2, 1, 1);
    (void)say_report(&desk, 2, 1, 1, 4, OFFLINE);
    net_run(desk.net, 3500 * 1000);
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 1));
    net_run(desk.net, 200 * 1000);
    CU_ASSERT_PTR_NULL(member(&desk, 1));
    CU_ASSERT_TRUE(desk.node->forgotten >= 1);
    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 4), DIRECTORY_STALE);
    CU_ASSERT_PTR_NULL(member(&desk, 1));
    CU_ASSERT_EQUAL(say_version(&desk, 1, 2, 1), DIRECTORY_NEWS);
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 1));
    CU_ASSERT_PTR_NULL(
        members_tombstone(&desk.d->members, &desk.net->nodes[1].id));
    desk_free(&desk);
}

/* Goal: a full table has room for whoever is new, at the cost of whoever is
 * gone longest, else of one that is known by hearsay alone; nobody else goes,
 * and no more than so many in a row. */
static void test_full_table_makes_room_for_the_new(void)
{
    struct desk desk = desk_new(6);

    desk.d->members.max = 4;
    for (uint32_t i = 1; i <= 3; i++)
        CU_ASSERT_EQUAL(say_version(&desk, i, 1, 1), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_version(&desk, 4, 1, 1), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 2, 1, 1, OFFLINE), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_version(&desk, 4, 1, 1), DIRECTORY_NEWS);
    CU_ASSERT_PTR_NULL(member(&desk, 2));
    CU_ASSERT_EQUAL(say_version(&desk, 2, 1, 1), DIRECTORY_STALE); /* buried */

    struct member *hearsay =
        members_find(&desk.d->members, &desk.net->nodes[3].id);
    CU_ASSERT_PTR_NOT_NULL_FATAL(hearsay);
    hearsay->heard_us = 0;
    CU_ASSERT_EQUAL(say_version(&desk, 5, 1, 1), DIRECTORY_NEWS);
    CU_ASSERT_PTR_NULL(member(&desk, 3));
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 1));
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 4));
    CU_ASSERT_EQUAL(directory_stats(desk.d)->members_evicted, 2);

    CU_ASSERT_TRUE(bucket_take(&desk.d->evictions, desk.net->now_ms,
                               DIRECTORY_EVICT_RATE, DIRECTORY_EVICT_BURST,
                               DIRECTORY_EVICT_BURST - 3)); /* by others */
    members_find(&desk.d->members, &desk.net->nodes[4].id)->heard_us = 0;
    CU_ASSERT_EQUAL(say_version(&desk, 6, 1, 1), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->members_refused, 2);
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 4));
    CU_ASSERT_EQUAL(desk.d->members.count, 4);
    desk_free(&desk);
}

/* Goal: many that say they are at one address are not walked past for each. */
static void test_many_at_one_address_are_few_to_walk(void)
{
    struct desk desk = desk_new(2 * SAME_ADDRESS_MAX);
    uint32_t length = 0;

    for (uint32_t i = 1; i <= 2 * SAME_ADDRESS_MAX; i++) {
        argus_NodeRecord r = record_of(&desk, i, 1, 1);
        strcpy(r.address, "10.9.9.9:1");
        CU_ASSERT_EQUAL(say_record(&desk, i, &r), DIRECTORY_NEWS);
    }
    for (const struct member *m = members_at(&desk.d->members, "10.9.9.9:1");
         m != NULL; m = m->same_address)
        length++;
    CU_ASSERT_EQUAL(length, SAME_ADDRESS_MAX);
    for (uint32_t i = 1; i <= 2 * SAME_ADDRESS_MAX; i++)
        CU_ASSERT_EQUAL(say_version(&desk, i, 1, 2), DIRECTORY_NEWS);
    CU_ASSERT_PTR_NULL(members_at(&desk.d->members, "10.9.9.9:1"));
    desk_free(&desk);
}

static argus_ForgottenNode forgotten(const struct desk *desk, uint32_t i,
                                     uint32_t generation, uint32_t version)
{
    argus_ForgottenNode f = {.generation = generation, .version = version};

    memcpy(f.id, desk->net->nodes[i].id.bytes, NODE_ID_SIZE);
    return f;
}

static void forget(struct desk *desk, const argus_ForgottenNode *nodes,
                   uint32_t count)
{
    directory_set_forgotten(desk->d, desk->net->now_ms, net_wall_us(desk->net),
                            nodes, count, net_out(desk->node));
}

/* Goal: an order drops the records of nodes that are offline or have left, at
 * once or when they become so, and of nobody else; what comes later and is not
 * newer is not taken; a newer record is, and stays when its node is offline
 * again. */
static void test_order_forgets_who_is_gone(void)
{
    struct desk desk = desk_new(5);
    const struct directory_stats *stats = directory_stats(desk.d);
    argus_ForgottenNode f[5];

    for (uint32_t i = 1; i <= 4; i++)
        (void)say_version(&desk, i, 1, 4);
    argus_NodeRecord left = record_of(&desk, 3, 1, 5);
    left.left = true;
    (void)say_record(&desk, 3, &left);
    (void)say_report(&desk, 2, 1, 1, 4, OFFLINE);
    f[0] = forgotten(&desk, 1, 1, 4);
    f[1] = forgotten(&desk, 2, 1, 4); /* online: nothing happens yet */
    f[2] = forgotten(&desk, 3, 1, 5);
    f[3] = forgotten(&desk, 4, 1, 3); /* an earlier version: not this one */
    f[4] = forgotten(&desk, 5, 1, 9); /* not known yet */
    forget(&desk, f, 5);
    CU_ASSERT_PTR_NULL(member(&desk, 1));
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 2));
    CU_ASSERT_PTR_NULL(member(&desk, 3));
    CU_ASSERT_EQUAL(desk.node->forgotten, 2);
    CU_ASSERT_EQUAL(stats->members_ordered_away, 2);

    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 4), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(say_version(&desk, 5, 1, 9), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(say_version(&desk, 5, 1, 2), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(stats->records_forgotten, 3);
    CU_ASSERT_EQUAL(say_version(&desk, 5, 1, 10), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 5), DIRECTORY_NEWS);
    (void)say_report(&desk, 2, 1, 1, 5, OFFLINE);
    (void)say_report(&desk, 5, 2, 1, 4, OFFLINE);
    (void)say_report(&desk, 5, 4, 1, 4, OFFLINE);
    net_run(desk.net, 10);
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 1));
    CU_ASSERT_PTR_NULL(member(&desk, 2)); /* now it is gone */
    CU_ASSERT_PTR_NOT_NULL(member(&desk, 4));
    CU_ASSERT_EQUAL(stats->members_ordered_away, 3);

    forget(&desk, NULL, 0); /* the order was replaced: graves stay */
    CU_ASSERT_EQUAL(say_version(&desk, 2, 1, 4), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(say_version(&desk, 2, 1, 5), DIRECTORY_NEWS);
    desk_free(&desk);
}

/* Goal: a living node that an order forgets publishes a newer record, once; an
 * order about versions that it never had cannot use up its numbers. */
static void test_order_about_self_is_outdone(void)
{
    struct desk desk = desk_new(1);
    const argus_NodeRecord *own = &desk.d->own.record;

    net_run(desk.net, 1000);
    uint32_t generation = own->generation, version = own->version;
    argus_ForgottenNode f = forgotten(&desk, 0, generation, version + 3);
    forget(&desk, &f, 1);
    net_run(desk.net, 1000);
    CU_ASSERT_EQUAL(own->generation, generation);
    CU_ASSERT_EQUAL(own->version, version + 4);
    forget(&desk, &f, 1);
    net_run(desk.net, 1000);
    CU_ASSERT_EQUAL(own->version, version + 4);
    f = forgotten(&desk, 0, generation + 2, 7);
    forget(&desk, &f, 1);
    net_run(desk.net, 1000);
    CU_ASSERT_EQUAL(own->generation, generation + 3);
    f = forgotten(&desk, 0, UINT32_MAX, UINT32_MAX);
    forget(&desk, &f, 1);
    net_run(desk.net, 1000);
    CU_ASSERT_EQUAL(own->generation, generation + 3);
    CU_ASSERT_TRUE(member(&desk, 0)->is_self);
    desk_free(&desk);
}

/* Goal: which keys are held is in the next record, and published only when it
 * has changed. */
static void test_keys_are_published(void)
{
    struct desk desk = desk_new(1);
    argus_HeldKey held[9] = {{{1}, true}, {{2}, false}};
    argus_NodeRecord r;

    net_run(desk.net, 1000);
    uint32_t version = member(&desk, 0)->version;
    for (int i = 0; i < 3; i++) {
        directory_set_keys(desk.d, desk.net->now_ms, net_wall_us(desk.net),
                           held, 2, net_out(desk.node));
        net_run(desk.net, 1000);
    }
    CU_ASSERT_EQUAL(member(&desk, 0)->version, version + 1);
    CU_ASSERT_TRUE(directory_record(member(&desk, 0), &r));
    CU_ASSERT_EQUAL(r.keys_count, 2);
    CU_ASSERT_EQUAL(r.keys[0].id[0], 1);
    CU_ASSERT_TRUE(r.keys[0].dial && !r.keys[1].dial);
    held[0].dial = false;
    held[1].dial = true;
    directory_set_keys(desk.d, desk.net->now_ms, net_wall_us(desk.net), held, 9,
                       net_out(desk.node));
    net_run(desk.net, 1000);
    CU_ASSERT_TRUE(directory_record(member(&desk, 0), &r));
    CU_ASSERT_EQUAL(r.keys_count, 8); /* as many as a record has room for */
    CU_ASSERT_TRUE(r.keys[1].dial);
    desk_free(&desk);
}

/* Goal: the table has a bound; beyond it members are refused and counted, and
 * known ones still change. Tombstones have one too. */
static void test_members_beyond_bound_are_refused(void)
{
    struct desk desk = desk_new(3);

    desk.d->members.max = 3;
    desk.d->members.tombstones_max = 1;
    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 1), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_version(&desk, 2, 1, 1), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_version(&desk, 3, 1, 1), DIRECTORY_STALE);
    CU_ASSERT_PTR_NULL(member(&desk, 3));
    CU_ASSERT_EQUAL(directory_stats(desk.d)->members_refused, 1);
    CU_ASSERT_EQUAL(say_version(&desk, 2, 1, 2), DIRECTORY_NEWS);
    CU_ASSERT_EQUAL(say_report(&desk, 1, 3, 1, 1, OFFLINE), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->reports_stranger, 1);

    statements_forget(desk.d,
                      members_find(&desk.d->members, &desk.net->nodes[1].id),
                      net_out(desk.node));
    statements_forget(desk.d,
                      members_find(&desk.d->members, &desk.net->nodes[2].id),
                      net_out(desk.node));
    CU_ASSERT_EQUAL(directory_stats(desk.d)->tombstones_dropped, 1);
    CU_ASSERT_EQUAL(say_version(&desk, 2, 1, 2), DIRECTORY_STALE);
    CU_ASSERT_EQUAL(say_version(&desk, 1, 1, 1), DIRECTORY_NEWS);
    desk_free(&desk);
}

/* Goal: the list of aggregators follows roles and states, keeps the order in
 * which they came, and its stamp tells of every change, but not of a lease. */
static void test_aggregators_follow_role_and_state(void)
{
    struct desk desk = desk_new(3);
    argus_NodeRecord r[4];

    for (uint32_t i = 1; i <= 3; i++) {
        r[i] = record_of(&desk, i, 1, 1);
        r[i].role = i == 2 ? argus_Role_ROLE_AGENT : argus_Role_ROLE_AGGREGATOR;
        (void)say_record(&desk, i, &r[i]);
    }
    CU_ASSERT_PTR_EQUAL(directory_aggregator(desk.d, 0), member(&desk, 1));
    CU_ASSERT_PTR_EQUAL(directory_aggregator(desk.d, 1), member(&desk, 3));
    CU_ASSERT_PTR_NULL(directory_aggregator(desk.d, 2));

    uint64_t stamp = directory_aggregators_stamp(desk.d);
    r[1].version = 2; /* a lease */
    (void)say_record(&desk, 1, &r[1]);
    CU_ASSERT_EQUAL(directory_aggregators_stamp(desk.d), stamp);
    r[1].version = 3;
    r[1].weight = 2;
    (void)say_record(&desk, 1, &r[1]);
    CU_ASSERT_NOT_EQUAL(directory_aggregators_stamp(desk.d), stamp);

    stamp = directory_aggregators_stamp(desk.d);
    (void)say_report(&desk, 2, 1, 1, 3, SUSPECT);
    CU_ASSERT_NOT_EQUAL(directory_aggregators_stamp(desk.d), stamp);
    CU_ASSERT_PTR_EQUAL(directory_aggregator(desk.d, 0), member(&desk, 1));
    (void)say_report(&desk, 2, 1, 1, 3, OFFLINE);
    CU_ASSERT_PTR_EQUAL(directory_aggregator(desk.d, 0), member(&desk, 3));
    r[1].version = 4;
    (void)say_record(&desk, 1, &r[1]);
    CU_ASSERT_PTR_EQUAL(directory_aggregator(desk.d, 0), member(&desk, 1));
    r[3].version = 2;
    r[3].role = argus_Role_ROLE_AGENT;
    (void)say_record(&desk, 3, &r[3]);
    CU_ASSERT_PTR_NULL(directory_aggregator(desk.d, 1));
    desk_free(&desk);
}

/* A second process with the id of node 0, alive at an address of its own. */
static argus_NodeRecord clone_of(struct desk *desk, int64_t started_later_ms)
{
    struct net_node *clone = &desk->net->nodes[1];

    clone->id = desk->node->id;
    clone->is_alive = true;
    argus_NodeRecord r = record_of(desk, 1, 1, 1);
    r.started_ms =
        (uint64_t)((int64_t)desk->node->options.started_ms + started_later_ms);
    return r;
}

/* Goal: of two living holders of one id the later one gets a new identity. */
static void test_clone_later_one_yields(void)
{
    struct desk desk = desk_new(1);
    argus_NodeRecord r = clone_of(&desk, -1000);

    (void)say_record(&desk, 0, &r);
    net_run(desk.net, 50);
    CU_ASSERT_EQUAL(desk.node->new_identities, 1);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->clones_found, 1);
    CU_ASSERT_EQUAL(directory_deadline_ms(desk.d), UINT64_MAX);
    desk_free(&desk);

    desk = desk_new(1);
    r = clone_of(&desk, 1000);
    (void)say_record(&desk, 0, &r);
    net_run(desk.net, 50);
    CU_ASSERT_EQUAL(desk.node->new_identities, 0);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->clones_found, 1);
    net_run(desk.net, 1000);
    CU_ASSERT_EQUAL(desk.node->raised, 2);
    CU_ASSERT_EQUAL(member(&desk, 0)->generation, 2);

    /* the same again: one look an instance */
    uint64_t probes = directory_stats(desk.d)->probes_sent;
    (void)say_record(&desk, 0, &r);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->probes_sent, probes);
    desk_free(&desk);
}

/* Goal: an older life of our own is outrun, not fought; at our own address it
 * is not even dialed. */
static void test_own_older_life_is_outrun(void)
{
    struct desk desk = desk_new(1);
    argus_NodeRecord r = record_of(&desk, 0, 7, 3);

    net_run(desk.net, 1000);
    (void)say_record(&desk, 0, &r);
    CU_ASSERT_EQUAL(desk.node->raised, 8);
    CU_ASSERT_EQUAL(member(&desk, 0)->generation, 8);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->probes_sent, 0);

    r = record_of(&desk, 1, 20, 3); /* a dead one, elsewhere, and further */
    (void)say_record(&desk, 0, &r);
    CU_ASSERT_EQUAL(directory_stats(desk.d)->probes_sent, 1);
    net_run(desk.net, 1000);
    CU_ASSERT_EQUAL(desk.node->new_identities, 0);
    CU_ASSERT_EQUAL(member(&desk, 0)->generation, 21);
    CU_ASSERT_EQUAL(desk.node->raised, 21);

    /* one that answers back for ever is outrun ever more slowly */
    uint32_t before = desk.node->broadcasts;
    for (int i = 0; i < 600; i++) {
        r.generation = directory_generation(desk.d) + 1;
        (void)say_record(&desk, 0, &r);
        net_run(desk.net, 100);
    }
    CU_ASSERT_TRUE(desk.node->broadcasts - before < 20);
    CU_ASSERT_TRUE(desk.node->broadcasts - before > 3);
    desk_free(&desk);
}

/* Goal: from disk, a life of ours ahead of this one raises the generation of
 * the first record already. */
static void test_load_own_record_ahead_raises_generation(void)
{
    struct net *net = net_new(1, 3);
    struct desk desk = {
        .net = net, .node = &net->nodes[0], .d = net->nodes[0].d};
    argus_Statement s = {.which_body = argus_Statement_record_tag,
                         .body.record = record_of(&desk, 0, 4, 9)};
    uint8_t packed[SEALED_SIZE_MAX];
    size_t size = fake_close(&net->nodes[0].id, &s, packed);

    CU_ASSERT_TRUE(directory_load(desk.d, 1000, NET_WALL_US, &net->nodes[0].id,
                                  packed, size));
    CU_ASSERT_EQUAL(net->nodes[0].raised, 5);
    net_start(net, 0);
    CU_ASSERT_EQUAL(member(&desk, 0)->generation, 5);
    CU_ASSERT_EQUAL(member(&desk, 0)->version, 1);
    net_free(net);
}

/* Goal: the own record is published anew each lease, which grows with the mesh,
 * and at once when the address was learned. */
static void test_own_record_lease_and_address(void)
{
    struct desk desk = desk_new(NET_NODES_MAX - 1);

    net_run(desk.net, LEASE_MIN_MS * 12 / 10);
    CU_ASSERT_EQUAL(member(&desk, 0)->version, 2);
    CU_ASSERT_EQUAL(own_lease_ms(desk.d), LEASE_MIN_MS);
    for (uint32_t i = 1; i < NET_NODES_MAX; i++)
        (void)say_version(&desk, i, 1, 1);
    CU_ASSERT_EQUAL(own_lease_ms(desk.d), NET_NODES_MAX * LEASE_MEMBER_MS);

    /* the mesh has grown since the record was published: its lease counts */
    uint64_t due_ms = desk.d->own.due_ms = desk.net->now_ms;
    uint64_t end_ms = desk.d->own.published_ms + own_lease_ms(desk.d);
    uint32_t version = member(&desk, 0)->version;
    net_run(desk.net, 0);
    CU_ASSERT_EQUAL(member(&desk, 0)->version, version);
    CU_ASSERT_TRUE(desk.d->own.due_ms > due_ms);
    CU_ASSERT_TRUE(desk.d->own.due_ms <= end_ms);
    net_run(desk.net, end_ms - desk.net->now_ms);
    CU_ASSERT_TRUE(member(&desk, 0)->version > version);

    version = member(&desk, 0)->version;
    directory_set_address(desk.d, desk.net->now_ms, net_wall_us(desk.net),
                          "192.0.2.7:1", net_out(desk.node));
    net_run(desk.net, PUBLISH_GAP_MS);
    CU_ASSERT_EQUAL(member(&desk, 0)->version, version + 1);
    CU_ASSERT_STRING_EQUAL(member(&desk, 0)->address, "192.0.2.7:1");
    directory_set_address(desk.d, desk.net->now_ms, net_wall_us(desk.net),
                          "192.0.2.7:1", net_out(desk.node));
    net_run(desk.net, PUBLISH_GAP_MS);
    CU_ASSERT_EQUAL(member(&desk, 0)->version, version + 1);
    desk_free(&desk);
}

/* Goal: questions answer from what is known: by index, id, name, address; the
 * whole record; coverage. */
static void test_questions_answer_what_is_known(void)
{
    struct desk desk = desk_new(3);
    argus_NodeRecord r = record_of(&desk, 1, 1, 1), back;
    argus_Coverage coverage;

    r.tags_count = 1;
    memcpy(r.tags[0].key, "service", 8);
    memcpy(r.tags[0].value, "db", 3);
    (void)say_record(&desk, 1, &r);
    (void)say_version(&desk, 2, 1, 1);
    CU_ASSERT_PTR_EQUAL(directory_member(desk.d, 1), member(&desk, 1));
    CU_ASSERT_PTR_NULL(directory_member(desk.d, 3));
    CU_ASSERT_STRING_EQUAL(directory_name(desk.d, &desk.net->nodes[2].id),
                           "n2");
    CU_ASSERT_STRING_EQUAL(directory_name(desk.d, &desk.net->nodes[3].id), "");
    CU_ASSERT_TRUE_FATAL(directory_record(member(&desk, 1), &back));
    CU_ASSERT_STRING_EQUAL(back.tags[0].value, "db");
    CU_ASSERT_PTR_EQUAL(directory_find_address(desk.d, "10.0.0.2:1"),
                        member(&desk, 2));
    (void)say_report(&desk, 1, 2, 1, 1, OFFLINE);
    CU_ASSERT_PTR_NULL(directory_find_address(desk.d, "10.0.0.2:1"));

    net_run(desk.net, 5000);
    directory_coverage(desk.d, net_wall_us(desk.net), &coverage);
    CU_ASSERT_EQUAL(coverage.known, 2);
    CU_ASSERT_EQUAL(coverage.contributed, 2);
    CU_ASSERT_DOUBLE_EQUAL(coverage.oldest_s, 5.0, 0.1);
    net_connect(desk.net, 0, 3); /* a neighbor whose record is not here yet */
    directory_coverage(desk.d, net_wall_us(desk.net), &coverage);
    CU_ASSERT_EQUAL(coverage.known, 3);
    CU_ASSERT_EQUAL(coverage.contributed, 2);
    desk_free(&desk);
}

static size_t cost_of(const struct directory *d)
{
    const struct members *t = &d->members;
    size_t bytes = sizeof *d + 2 * t->room * sizeof(struct member *);

    bytes += t->by_id->hh.tbl->num_buckets * sizeof(UT_hash_bucket);
    bytes +=
        t->by_address->hh_address.tbl->num_buckets * sizeof(UT_hash_bucket);
    for (uint32_t i = 0; i < t->count; i++)
        bytes += malloc_usable_size(t->list[i]) +
                 malloc_usable_size(t->list[i]->block) + 2 * sizeof(size_t);
    return bytes;
}

/* Goal: 10,000 ordinary records cost at most 8 MiB. */
static void test_ten_thousand_records_fit_in_8_mib(void)
{
    struct desk desk = desk_new(1);

    for (uint32_t i = 0; i < 10000; i++) {
        argus_NodeRecord r = record_of(&desk, 1, 1, 1);
        struct node_id id = {{1}};
        memcpy(id.bytes + 4, &i, sizeof i);
        (void)snprintf(r.name, sizeof r.name, "web-%05u.eu1.example.org", i);
        (void)snprintf(r.address, sizeof r.address, "10.%u.%u.%u:25827",
                       i >> 16, i >> 8 & 255, i & 255);
        (void)snprintf(r.zone, sizeof r.zone, "eu1/rack%02u", i % 100);
        (void)snprintf(r.software, sizeof r.software, "0.1.0");
        r.tags_count = 1;
        memcpy(r.tags[0].key, "service", 8);
        memcpy(r.tags[0].value, "db", 3);
        argus_Statement s = {.which_body = argus_Statement_record_tag,
                             .body.record = r};
        (void)say(&desk, &id, &s);
    }
    CU_ASSERT_EQUAL(directory_count(desk.d, ONLINE), 10001);
    size_t bytes = cost_of(desk.d);
    printf("  10000 records: %zu KiB\n", bytes / 1024);
    CU_ASSERT_TRUE(bytes <= 8 << 20);
    for (uint32_t i = 1; i < desk.d->members.count; i++)
        if (node_id_compare(&desk.d->members.sorted[i - 1]->id,
                            &desk.d->members.sorted[i]->id) >= 0)
            CU_FAIL_FATAL("not in order of ids");
    desk_free(&desk);
}

/* Goal: options out of range are refused. */
static void test_new_bad_options_are_refused(void)
{
    struct net *net = net_new(1, 1);
    struct engine_options o = net->nodes[0].options;
    struct directory_listener none = {0};
    struct directory *d = NULL;

    CU_ASSERT_EQUAL(directory_new(&o, 0, &none, &d), ARGUS_EINVAL);
    o.suspect_ms = 0;
    CU_ASSERT_EQUAL(directory_new(&o, 0, &net->nodes[0].d->listener, &d),
                    ARGUS_EINVAL);
    CU_ASSERT_PTR_NULL(d);
    net_free(net);
}

#define ROW(name)                                                              \
    {                                                                          \
#name, name                                                            \
    }
CU_TestInfo suite_directory[] = {
    ROW(test_record_newest_version_stands),
    ROW(test_load_damaged_or_misfiled_is_refused),
    ROW(test_newer_record_is_handed_on_as_it_is),
    ROW(test_record_with_many_tags_is_refused),
    ROW(test_report_is_void_after_newer_record),
    ROW(test_reports_strongest_is_in_force),
    ROW(test_report_absurd_is_refused),
    ROW(test_report_on_self_is_refuted),
    ROW(test_suspect_unrefuted_turns_offline),
    ROW(test_second_witness_halves_the_wait),
    ROW(test_stop_and_leave_are_told_by_the_node),
    ROW(test_reimaged_host_supersedes_old_id),
    ROW(test_full_table_makes_room_for_the_new),
    ROW(test_many_at_one_address_are_few_to_walk),
    ROW(test_neighbors_and_dials_are_bounded),
    ROW(test_offline_expires_and_leaves_tombstone),
    ROW(test_order_forgets_who_is_gone),
    ROW(test_order_about_self_is_outdone),
    ROW(test_keys_are_published),
    ROW(test_members_beyond_bound_are_refused),
    ROW(test_aggregators_follow_role_and_state),
    ROW(test_clone_later_one_yields),
    ROW(test_own_older_life_is_outrun),
    ROW(test_load_own_record_ahead_raises_generation),
    ROW(test_own_record_lease_and_address),
    ROW(test_questions_answer_what_is_known),
    ROW(test_ten_thousand_records_fit_in_8_mib),
    ROW(test_new_bad_options_are_refused),
    CU_TEST_INFO_NULL,
};
