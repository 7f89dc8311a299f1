/* test_beacon.c - calls on the local network: the datagram, and whom a call
 * makes dial. */
#include "test.h"

#include <string.h>

#include "base/prng.h"
#include "core/callers.h"
#include "core/membership.h"
#include "wire/beacon.h"

/* ------------------------------------------------------------ the datagram */

static const uint8_t own_key[BEACON_KEY_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8};

/* Every byte counts, by its place. Nobody else is to believe in it. */
static bool sum_mac(void *context, const uint8_t key[BEACON_KEY_SIZE],
                    const uint8_t *data, size_t size,
                    uint8_t out[BEACON_MAC_SIZE])
{
    (void)context;
    if (memcmp(key, own_key, BEACON_KEY_SIZE) != 0)
        return false;
    memset(out, 0, BEACON_MAC_SIZE);
    for (size_t i = 0; i < size; i++)
        out[i % BEACON_MAC_SIZE] =
            (uint8_t)(31 * out[i % BEACON_MAC_SIZE] + data[i] + 1);
    return true;
}

static const struct beacon_keys keyed = {.key = own_key, .mac = sum_mac};
static const struct beacon_keys plain = {.mac = sum_mac};

static argus_BeaconBody sample(void)
{
    argus_BeaconBody body = {.role = argus_Role_ROLE_AGGREGATOR,
                             .ip = {4, {10, 0, 0, 7}},
                             .port = 25827,
                             .time_ms = 1790000000000};

    memcpy(body.cluster, "cluster!", 8);
    memcpy(body.id, "0123456789abcdef", 16);
    return body;
}

/* Goal: what goes in comes out, at the largest size too, and a byte that is
 * changed anywhere is seen. */
static void test_beacon_is_authentic(void)
{
    uint8_t data[BEACON_SIZE_MAX], again[BEACON_SIZE_MAX];
    argus_BeaconBody body = sample(), out;

    body.ip.size = 16;
    body.time_ms = UINT64_MAX;
    body.port = 65535;
    size_t size = beacon_encode(&body, &keyed, data);
    CU_ASSERT_TRUE_FATAL(size > 0 && size <= BEACON_SIZE_MAX);
    CU_ASSERT_EQUAL(beacon_decode(data, size, &keyed, &out), BEACON_OK);
    CU_ASSERT_EQUAL(beacon_encode(&out, &keyed, again), size);
    CU_ASSERT_EQUAL(memcmp(data, again, size), 0);
    CU_ASSERT_EQUAL(out.port, 65535);
    CU_ASSERT_EQUAL(out.time_ms, UINT64_MAX);
    for (size_t i = 0; i < size; i++) {
        data[i] ^= 1;
        CU_ASSERT_NOT_EQUAL(beacon_decode(data, size, &keyed, &out), BEACON_OK);
        data[i] ^= 1;
    }
    for (size_t cut = 0; cut < size; cut++)
        CU_ASSERT_NOT_EQUAL(beacon_decode(data, cut, &keyed, &out), BEACON_OK);
}

/* Goal: with a key nothing is believed without a MAC, and the other way round;
 * what breaks a bound is no beacon, however authentic. */
static void test_beacon_of_others_is_refused(void)
{
    uint8_t data[BEACON_SIZE_MAX];
    argus_BeaconBody body = sample(), out;

    size_t size = beacon_encode(&body, &plain, data);
    CU_ASSERT_EQUAL(beacon_decode(data, size, &plain, &out), BEACON_OK);
    CU_ASSERT_EQUAL(beacon_decode(data, size, &keyed, &out), BEACON_FORGED);
    size = beacon_encode(&body, &keyed, data);
    CU_ASSERT_EQUAL(beacon_decode(data, size, &plain, &out), BEACON_FORGED);

    const uint32_t ports[] = {0, 65536, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        body.port = ports[i];
        size = beacon_encode(&body, &keyed, data);
        CU_ASSERT_EQUAL(beacon_decode(data, size, &keyed, &out),
                        BEACON_MALFORMED);
    }
    body = sample();
    body.ip.size = 5;
    size = beacon_encode(&body, &keyed, data);
    CU_ASSERT_EQUAL(beacon_decode(data, size, &keyed, &out), BEACON_MALFORMED);
    body = sample();
    body.role = (argus_Role)9;
    size = beacon_encode(&body, &keyed, data);
    CU_ASSERT_EQUAL(beacon_decode(data, size, &keyed, &out), BEACON_MALFORMED);
}

/* --------------------------------------------------------------- callers */

static struct node_id id_of(unsigned who)
{
    return (struct node_id){{(uint8_t)(who >> 8), (uint8_t)who}};
}

/* Goal: callers are bounded; each has one dial in a while, all of them one in a
 * shorter while; who is alone begins with the lowest id. */
static void test_callers_are_bounded(void)
{
    struct callers c = {0};
    struct prng prng;
    struct node_id id;
    uint64_t now = 1000;
    unsigned dials = 0;

    prng_seed(&prng, test_seed());
    CU_ASSERT_EQUAL(callers_deadline_ms(&c), UINT64_MAX);
    for (unsigned i = CALLERS_MAX; i > 0; i--) {
        id = id_of(i);
        CU_ASSERT_EQUAL(callers_add(&c, now, &id, "a:1", 1, &prng),
                        CALLERS_KEPT);
        CU_ASSERT_EQUAL(callers_add(&c, now, &id, "b:1", 1, &prng),
                        CALLERS_KNOWN);
    }
    id = id_of(0);
    CU_ASSERT_EQUAL(callers_add(&c, now, &id, "a:1", 1, &prng), CALLERS_FULL);
    CU_ASSERT_PTR_NULL(callers_next(&c, now, true));

    uint64_t end = now + CALLERS_AGAIN_MS - 1;
    while (now < end && callers_deadline_ms(&c) < end) {
        now = callers_deadline_ms(&c);
        struct caller *caller = callers_next(&c, now, dials == 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(caller);
        CU_ASSERT_STRING_EQUAL(caller->address, "a:1");
        if (dials == 0) {
            id = id_of(1);
            CU_ASSERT_TRUE(node_id_is_equal(&caller->id, &id));
        }
        callers_dialed(&c, caller, now, &prng);
        CU_ASSERT_PTR_NULL(callers_next(&c, now, false));
        dials++;
    }
    CU_ASSERT_EQUAL(dials, CALLERS_MAX); /* each once */
    CU_ASSERT_EQUAL(callers_add(&c, now, &id, "a:1", 1, &prng), CALLERS_KNOWN);
    now += 2 * CALLERS_AGAIN_MS;
    CU_ASSERT_EQUAL(callers_add(&c, now, &id, "a:1", 1, &prng), CALLERS_KEPT);
    CU_ASSERT_EQUAL(c.count, 1); /* the others were forgotten */
    callers_close(&c);
}

/* Goal: the more could hear a call, the longer each waits, within a bound. */
static void test_many_wait_longer(void)
{
    const struct {
        uint32_t online, most_ms;
    } cases[] = {{0, 100},    {1, 100},      {50, 1000},
                 {499, 9980}, {1000, 10000}, {UINT32_MAX, 10000}};
    struct prng prng;
    struct node_id id = id_of(1);

    prng_seed(&prng, test_seed());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t longest = 0;
        for (int run = 0; run < 200; run++) {
            struct callers c = {0};
            (void)callers_add(&c, 5, &id, "a:1", cases[i].online, &prng);
            if (callers_deadline_ms(&c) - 5 > longest)
                longest = callers_deadline_ms(&c) - 5;
            callers_close(&c);
        }
        CU_ASSERT_TRUE(longest <= cases[i].most_ms);
        CU_ASSERT_TRUE(longest > cases[i].most_ms * 9 / 10);
    }
}

/* ------------------------------------------------------------ whom it dials */

static struct {
    unsigned calls, dials;
    struct node_id expected;
    bool is_member;
} seen;

static void on_action(void *context, const struct action *a)
{
    (void)context;
    seen.calls += a->type == ACTION_CALL;
    if (a->type != ACTION_DIAL)
        return;
    seen.dials++;
    CU_ASSERT_PTR_NOT_NULL_FATAL(a->dial.expected);
    seen.expected = *a->dial.expected;
}

static struct actions out = {.emit = on_action};

static bool is_member(void *context, const struct node_id *peer)
{
    (void)context;
    (void)peer;
    return seen.is_member;
}

static bool no_member(void *context, uint32_t pick, struct membership_wish wish,
                      struct membership_peer *o)
{
    (void)context, (void)pick, (void)wish, (void)o;
    return false;
}

static struct membership *alone(bool calls, enum membership_strategy strategy)
{
    struct membership_options o = {.seed = test_seed(),
                                   .strategy = strategy,
                                   .id = {{0xff}},
                                   .generation = 1,
                                   .address = "self:1",
                                   .active_max = 4,
                                   .passive_max = 8,
                                   .shuffle_ms = 10000,
                                   .answer_ms = 3500,
                                   .calls = calls};
    struct membership_listener up = {
        .is_live = is_member, .has_left = is_member, .any_member = no_member};
    struct membership *v = NULL;

    memset(&seen, 0, sizeof seen);
    CU_ASSERT_EQUAL_FATAL(membership_new(&o, &up, &v), ARGUS_OK);
    membership_start(v, 1000, &out);
    return v;
}

/* @return the end. */
static uint64_t run(struct membership *v, uint64_t now, uint64_t ms)
{
    uint64_t end = now + ms;

    while (membership_deadline_ms(v) <= end) {
        if (membership_deadline_ms(v) > now)
            now = membership_deadline_ms(v);
        membership_on_timeout(v, now, &out);
    }
    return end;
}

static void call(struct membership *v, uint64_t now, unsigned who,
                 argus_Role role)
{
    struct membership_peer caller = {
        .id = id_of(who), .role = role, .address = "10.0.0.1:1"};

    membership_on_call(v, now, &caller, 1, &out);
}

/* Goal: who is alone calls, ever more seldom but for ever; one call that is
 * heard, however often, is one dial, and none of a member; without Multicast
 * nothing is sent and nothing is heard. */
static void test_calls_make_one_dial(void)
{
    struct membership *v = alone(true, MEMBERSHIP_HYPARVIEW);
    uint64_t now = run(v, 1000, 60000);

    CU_ASSERT_TRUE(seen.calls >= 12 && seen.calls <= 30);
    unsigned before = seen.calls;
    now = run(v, now, 60000);
    CU_ASSERT_TRUE(seen.calls >= before + 8 && seen.calls <= before + 20);

    for (int i = 0; i < 1000; i++)
        call(v, now, 7, argus_Role_ROLE_AGENT);
    now = run(v, now, 2000);
    CU_ASSERT_EQUAL(seen.dials, 1);
    CU_ASSERT_EQUAL(seen.expected.bytes[1], 7);
    for (int i = 0; i < 1000; i++)
        call(v, now, 7, argus_Role_ROLE_AGENT);
    call(v, now, 0xff00, argus_Role_ROLE_AGENT); /* we, by our own echo */
    now = run(v, now, 2000);
    CU_ASSERT_EQUAL(seen.dials, 1);

    call(v, now, 8, argus_Role_ROLE_AGENT);
    seen.is_member = true; /* somebody else was faster */
    now = run(v, now, 2000);
    call(v, now, 9, argus_Role_ROLE_AGENT);
    now = run(v, now, 2000);
    CU_ASSERT_EQUAL(seen.dials, 1);
    seen.is_member = false;
    for (unsigned i = 0; i < 1000; i++)
        call(v, now, 1000 + i, argus_Role_ROLE_AGENT);
    (void)run(v, now, 3000);
    CU_ASSERT_TRUE(seen.dials >= 5 && seen.dials <= 1 + 3000 / 200);
    CU_ASSERT_TRUE(membership_stats(v)->call_dropped >= 1000 - CALLERS_MAX);
    membership_free(v);

    v = alone(false, MEMBERSHIP_HYPARVIEW);
    call(v, 1500, 7, argus_Role_ROLE_AGENT);
    (void)run(v, 1500, 60000);
    CU_ASSERT_EQUAL(seen.calls + seen.dials, 0);
    membership_free(v);
}

/* Goal: an agent that holds aggregators alone does not dial an agent. */
static void test_unsuited_callers_are_left(void)
{
    struct membership *v = alone(true, MEMBERSHIP_CLIENT_SERVER);

    call(v, 1500, 7, argus_Role_ROLE_AGENT);
    (void)run(v, 1500, 1000);
    CU_ASSERT_EQUAL(seen.dials, 0);
    CU_ASSERT_EQUAL(membership_stats(v)->call_unsuited, 1);
    call(v, 2500, 8, argus_Role_ROLE_AGGREGATOR);
    (void)run(v, 2500, 1000);
    CU_ASSERT_EQUAL(seen.dials, 1);
    CU_ASSERT_TRUE(seen.calls > 0);
    membership_free(v);
}

CU_TestInfo suite_beacon[] = {
    {"is_authentic", test_beacon_is_authentic},
    {"of_others_is_refused", test_beacon_of_others_is_refused},
    {"callers_are_bounded", test_callers_are_bounded},
    {"many_wait_longer", test_many_wait_longer},
    {"calls_make_one_dial", test_calls_make_one_dial},
    {"unsuited_callers_are_left", test_unsuited_callers_are_left},
    CU_TEST_INFO_NULL,
};
