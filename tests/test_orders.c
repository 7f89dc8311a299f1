/* test_orders.c - shapes of orders, what they would do to a node, and how
 * revocations and orders count among the bundles of one node. What nodes do
 * together is in test_engine_orders.c. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include <pb_encode.h>

#include "base/prng.h"
#include "core/bundles.h"
#include "core/manifest.h"
#include "sim/bundle_kit.h"

#define WALL_US UINT64_C(1700000000000000)

static struct kit_chunks chunks;
static struct bundles *bundles;
static uint32_t lost;

static void on_lost(void *context, const struct bundle_version *loser,
                    const struct bundle_version *winner, bool is_certain)
{
    (void)context;
    (void)loser;
    (void)winner;
    (void)is_certain;
    lost++;
}

static void on_action(void *context, const struct action *a)
{
    (void)context;
    CU_ASSERT_EQUAL(a->type, ACTION_STORE);
}

static struct actions out = {.emit = on_action};

/* Operators 1 to `trusted` are named; 9 is a stranger. */
static void set_up(uint32_t trusted)
{
    struct engine_options o = {
        .seal = {.digest = kit_digest, .vouches = kit_vouches},
        .trusted_keys = kit_keys,
        .trusted_keys_count = trusted,
        .bundle_size_max = 1 << 20};
    struct bundles_listener listener = {.lost = on_lost};

    lost = 0;
    chunks = (struct kit_chunks){.pool = kit_pool_new()};
    o.chunks = kit_store(&chunks);
    CU_ASSERT_EQUAL_FATAL(bundles_new(&o, &listener, &bundles), ARGUS_OK);
    bundles_start(bundles, WALL_US);
}

static void tear_down(void)
{
    bundles_free(bundles);
    kit_chunks_clear(&chunks);
    kit_pool_free(chunks.pool);
}

static void hash_of(const argus_SignedBundle *b, uint8_t hash[32])
{
    kit_digest(b->manifest.bytes, b->manifest.size, hash);
}

static enum bundles_verdict take(const argus_SignedBundle *b)
{
    return bundles_take(bundles, WALL_US, b, NULL, &out);
}

static int push(const argus_SignedBundle *b, struct argus_error *err)
{
    argus_Manifest m;
    struct bundle_slot *slot;
    int rc = bundles_check_push(bundles, WALL_US, b, &m, err);

    return rc != ARGUS_OK ? rc
                          : bundles_push(bundles, WALL_US, b, &slot, &out, err);
}

/* An order by which `by` revokes those whose numbers are in `whom`. */
static argus_SignedBundle revocation(uint8_t by, const char *whom,
                                     uint32_t version,
                                     const argus_SignedBundle *before)
{
    argus_Order o = {.which_body = argus_Order_revoked_tag};
    argus_SignedBundle b;
    uint8_t hash[32];

    for (; *whom != '\0'; whom++)
        kit_operator_id((uint8_t)(*whom - '0'),
                        o.body.revoked.keys[o.body.revoked.keys_count++]);
    if (before != NULL)
        hash_of(before, hash);
    kit_order(by, &o, version, before != NULL ? hash : NULL, &b);
    return b;
}

static argus_SignedBundle bundle(uint8_t by, const char *name, uint32_t version,
                                 const argus_SignedBundle *before)
{
    struct kit_spec spec = {.operator_number = by,
                            .name = name,
                            .version = version,
                            .size = 100,
                            .seed = by};
    argus_SignedBundle b;
    uint8_t hash[32];

    if (before != NULL)
        hash_of(before, hash);
    spec.before = before != NULL ? hash : NULL;
    kit_make(&spec, &chunks, &b);
    return b;
}

static argus_SignedBundle keys_order(uint8_t by, uint32_t version, uint8_t dial,
                                     const argus_SignedBundle *before)
{
    argus_Order o = {.which_body = argus_Order_keys_tag};
    argus_SignedBundle b;
    uint8_t hash[32];

    o.body.keys.dial.size = 8;
    memset(o.body.keys.dial.bytes, dial, 8);
    if (before != NULL)
        hash_of(before, hash);
    kit_order(by, &o, version, before != NULL ? hash : NULL, &b);
    return b;
}

static bool is_revoked(uint8_t operator_number)
{
    struct bundle_operator op;
    uint8_t id[16];

    kit_operator_id(operator_number, id);
    for (uint32_t i = 0; bundles_operator(bundles, i, &op); i++)
        if (op.is_revoked && memcmp(op.id, id, sizeof id) == 0)
            return true;
    return false;
}

/* ----------------------------------------------------------------- shapes */

static const uint8_t ids[4][8] = {{1}, {2}, {3}, {4}};

static void sound(argus_Manifest *m, enum order_kind kind)
{
    argus_Order *o = &m->order;

    *m = (argus_Manifest)argus_Manifest_init_zero;
    (void)snprintf(m->name, sizeof m->name, "%s", order_name(kind));
    m->version = 1;
    m->has_order = true;
    if (kind == ORDER_KEYS) {
        o->which_body = argus_Order_keys_tag;
        o->body.keys.added_count = 2;
        memcpy(o->body.keys.added[0].id, ids[0], 8);
        memcpy(o->body.keys.added[1].id, ids[1], 8);
        o->body.keys.dial.size = 8;
        memcpy(o->body.keys.dial.bytes, ids[0], 8);
        o->body.keys.removed_count = 2;
        memcpy(o->body.keys.removed[0], ids[2], 8);
        memcpy(o->body.keys.removed[1], ids[3], 8);
    } else if (kind == ORDER_FORGOTTEN) {
        o->which_body = argus_Order_forgotten_tag;
        o->body.forgotten.nodes_count = 2;
        o->body.forgotten.nodes[0].id[0] = 1;
    } else if (kind == ORDER_CLOCK) {
        o->which_body = argus_Order_clock_tag;
        o->body.clock.epoch = 1;
    } else {
        o->which_body = argus_Order_revoked_tag;
        o->body.revoked.keys_count = 2;
        o->body.revoked.keys[0][0] = 1;
    }
}

#define KEYS m.order.body.keys
#define FAULTS(X)                                                              \
    X(ORDER_KEYS, m.has_order = false)                                         \
    X(ORDER_KEYS, m.order.which_body = 0)                                      \
    X(ORDER_KEYS, m.order.which_body = argus_Order_revoked_tag)                \
    X(ORDER_REVOKED, (void)strcpy(m.name, "@forgotten"))                       \
    X(ORDER_REVOKED, (void)strcpy(m.name, "web"))                              \
    X(ORDER_REVOKED, (void)strcpy(m.name, "@revoke"))                          \
    X(ORDER_REVOKED, (void)strcpy(m.name, "@Revoked"))                         \
    X(ORDER_KEYS, m.version = 0)                                               \
    X(ORDER_KEYS, m.version = 2)                                               \
    X(ORDER_KEYS, m.version = UINT32_MAX)                                      \
    X(ORDER_KEYS, m.before.size = 32)                                          \
    X(ORDER_KEYS, m.removed = true)                                            \
    X(ORDER_KEYS, m.target[0] = '*')                                           \
    X(ORDER_KEYS, m.expires_ms = 1)                                            \
    X(ORDER_KEYS, m.index.size = 32)                                           \
    X(ORDER_KEYS, (m.files_count = 1, m.files[0].size = 1))                    \
    X(ORDER_KEYS, KEYS.dial.size = 7)                                          \
    X(ORDER_KEYS, memcpy(KEYS.dial.bytes, ids[2], 8))                          \
    X(ORDER_KEYS, memcpy(KEYS.added[1].id, ids[0], 8))                         \
    X(ORDER_KEYS, memcpy(KEYS.added[1].id, ids[3], 8))                         \
    X(ORDER_KEYS, memcpy(KEYS.removed[1], ids[2], 8))                          \
    X(ORDER_FORGOTTEN, m.order.body.forgotten.nodes[1].id[0] = 1)              \
    X(ORDER_REVOKED, m.order.body.revoked.keys[1][0] = 1)                      \
    X(ORDER_CLOCK, m.order.body.clock.epoch = 0)                               \
    X(ORDER_CLOCK, (void)strcpy(m.name, "@keys"))

/* Goal: an order has exactly the shape of its kind, else nobody takes it,
 * whoever signed it. */
static void test_hostile_shapes(void)
{
    argus_Manifest m, opened;
    argus_SignedBundle b;
    struct argus_error err;
    uint32_t bad = 0;

    set_up(1);
    for (int kind = ORDER_NONE + 1; kind < ORDER_KINDS; kind++) {
        sound(&m, (enum order_kind)kind);
        kit_pack(&m, &b);
        kit_sign(1, &b);
        CU_ASSERT_EQUAL(manifest_open(&b, &opened, &err), ARGUS_OK);
        CU_ASSERT_EQUAL((int)order_kind_of(m.name), kind);
        CU_ASSERT_FALSE(manifest_name_is_sound(m.name));
    }
#define FAULT_ROW(kind, change)                                                \
    sound(&m, kind);                                                           \
    change;                                                                    \
    kit_pack(&m, &b);                                                          \
    kit_sign(1, &b);                                                           \
    err.text[0] = '\0';                                                        \
    CU_ASSERT_EQUAL(manifest_open(&b, &opened, &err), ARGUS_EINVAL);           \
    CU_ASSERT_TRUE(err.text[0] != '\0');                                       \
    CU_ASSERT_EQUAL(take(&b), BUNDLES_BAD);                                    \
    bad++;
    FAULTS(FAULT_ROW)
    CU_ASSERT_EQUAL(bundles_stats(bundles)->bundles_bad, bad);
    CU_ASSERT_EQUAL(bundles_slots_count(bundles), 0);
    tear_down();
}

/* Goal: bits turned in a sound order, signed by operators and strangers, harm
 * nothing and fill nothing. */
static void test_noise_is_refused(void)
{
    struct prng prng;
    argus_Manifest m;
    argus_SignedBundle b;

    set_up(2);
    prng_seed(&prng, test_seed());
    for (uint32_t i = 0; i < 20000; i++) {
        sound(&m, (enum order_kind)(1 + i % (ORDER_KINDS - 1)));
        kit_pack(&m, &b);
        for (uint32_t k = prng_below(&prng, 8); k-- > 0;)
            b.manifest.bytes[prng_below(&prng, b.manifest.size)] ^=
                (uint8_t)(1u << prng_below(&prng, 8));
        b.manifest.size -= (pb_size_t)prng_below(&prng, 3);
        kit_sign((uint8_t)(1 + i / (ORDER_KINDS - 1) % 3), &b);
        (void)take(&b);
    }
    CU_ASSERT_TRUE(bundles_stats(bundles)->bundles_bad > 1000);
    for (int kind = ORDER_NONE + 1; kind < ORDER_KINDS; kind++)
        CU_ASSERT_PTR_NOT_NULL(bundles_order(bundles, (enum order_kind)kind));
    CU_ASSERT_TRUE(bundles_slots_count(bundles) <= BUNDLES_MAX);
    tear_down();
}

static void hold(argus_NodeRecord *r, const char *held)
{
    *r = (argus_NodeRecord)argus_NodeRecord_init_zero;
    for (; *held != '\0'; held++) {
        memcpy(r->keys[r->keys_count].id, ids[*held - '1'], 8);
        r->keys[r->keys_count].dial = r->keys_count == 0;
        r->keys_count++;
    }
}

/* Goal: what stands against the use or the removal of a key, for each way to
 * hold keys (the first is the one that dials); what was ordered before is not
 * asked again. */
static void test_keys_bar(void)
{
    static const struct {
        const char *held;
        enum key_bar use, remove, both;
    } cases[] = {
        {"1", KEY_BAR_LACKS, KEY_BAR_DIALS, KEY_BAR_LACKS},
        {"12", KEY_BAR_NONE, KEY_BAR_DIALS, KEY_BAR_DIALS},
        {"21", KEY_BAR_NONE, KEY_BAR_NONE, KEY_BAR_NONE},
        {"2", KEY_BAR_NONE, KEY_BAR_NONE, KEY_BAR_NONE},
        {"31", KEY_BAR_LACKS, KEY_BAR_LAST, KEY_BAR_LACKS},
        {"3", KEY_BAR_LACKS, KEY_BAR_NONE, KEY_BAR_LACKS},
        {"", KEY_BAR_NONE, KEY_BAR_NONE, KEY_BAR_NONE},
    };
    argus_KeyringOrder was = argus_KeyringOrder_init_zero, use, remove, both;
    argus_NodeRecord r;

    was.removed_count = 1; /* key 3 went before */
    memcpy(was.removed[0], ids[2], 8);
    use = remove = was;
    use.dial.size = 8;
    memcpy(use.dial.bytes, ids[1], 8);
    remove.removed_count = 2;
    memcpy(remove.removed[1], ids[0], 8);
    both = remove;
    both.dial = use.dial;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hold(&r, cases[i].held);
        CU_ASSERT_EQUAL(order_keys_bar(&was, &use, &r), cases[i].use);
        CU_ASSERT_EQUAL(order_keys_bar(&was, &remove, &r), cases[i].remove);
        CU_ASSERT_EQUAL(order_keys_bar(&was, &both, &r), cases[i].both);
        CU_ASSERT_EQUAL(order_keys_bar(&use, &use, &r), KEY_BAR_NONE);
        CU_ASSERT_EQUAL(order_keys_bar(&both, &both, &r), KEY_BAR_NONE);
    }
    hold(&r, "3");
    CU_ASSERT_EQUAL(order_keys_bar(NULL, &was, &r), KEY_BAR_DIALS);
    for (int bar = KEY_BAR_LACKS; bar <= KEY_BAR_LAST; bar++)
        CU_ASSERT_TRUE(key_bar_text((enum key_bar)bar)[0] != '\0');
}

/* ------------------------------------------------------------- revocation */

/* Goal: what a revoked key signed counts no more, another operator's version
 * takes the name, and its pushes are refused; orders are in no list of bundles.
 */
static void test_revoked_key_counts_no_more(void)
{
    struct argus_error err = {{0}};

    set_up(2);
    argus_SignedBundle ours = bundle(1, "web", 1, NULL);
    argus_SignedBundle theirs = bundle(2, "web", 1, NULL);
    argus_SignedBundle later = bundle(2, "web", 2, &theirs);
    argus_SignedBundle only = bundle(2, "only", 1, NULL);
    CU_ASSERT_EQUAL(take(&ours), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(take(&theirs), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(take(&later), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(take(&only), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(bundles_version(bundles, "web", 0)->manifest.version, 2);
    (void)bundles_take_changed(bundles);

    argus_SignedBundle r = revocation(1, "2", 1, NULL);
    CU_ASSERT_EQUAL(push(&r, &err), ARGUS_OK);
    CU_ASSERT_TRUE(bundles_take_changed(bundles));
    CU_ASSERT_TRUE(bundles_take_order_changed(bundles, ORDER_REVOKED));
    CU_ASSERT_FALSE(bundles_take_order_changed(bundles, ORDER_REVOKED));
    CU_ASSERT_FALSE(bundles_take_order_changed(bundles, ORDER_KEYS));
    const struct bundle_version *v = bundles_version(bundles, "web", 0);
    CU_ASSERT_EQUAL(v->manifest.version, 1);
    CU_ASSERT_EQUAL(v->bundle.key[0], 1);
    v = bundles_version(bundles, "only", 0); /* known, for people */
    CU_ASSERT_TRUE(v->slot->is_revoked && !v->slot->is_trusted);
    CU_ASSERT_PTR_NOT_NULL(bundles_in_force(bundles, 1));
    CU_ASSERT_PTR_NULL(bundles_in_force(bundles, 2)); /* only, web */

    argus_SignedBundle next = bundle(2, "only", 2, &only);
    CU_ASSERT_EQUAL(push(&next, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "was revoked"));
    argus_SignedBundle k = keys_order(2, 1, 7, NULL);
    CU_ASSERT_EQUAL(push(&k, &err), ARGUS_EDENIED);
    CU_ASSERT_EQUAL(take(&k), BUNDLES_NEWS); /* from elsewhere: stored */
    CU_ASSERT_PTR_NULL(bundles_order(bundles, ORDER_KEYS));
    CU_ASSERT_TRUE(is_revoked(2));
    CU_ASSERT_FALSE(is_revoked(1));
    tear_down();
}

/* Goal: orders count where their operator is trusted, and nowhere else. */
static void test_stranger_orders_nothing(void)
{
    struct argus_error err = {{0}};

    set_up(1);
    argus_SignedBundle r = revocation(9, "1", 1, NULL);
    argus_SignedBundle k = keys_order(9, 1, 7, NULL);
    CU_ASSERT_EQUAL(push(&r, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "not trusted here"));
    CU_ASSERT_EQUAL(take(&r), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(take(&k), BUNDLES_NEWS);
    CU_ASSERT_FALSE(is_revoked(1));
    CU_ASSERT_PTR_NULL(bundles_order(bundles, ORDER_KEYS));
    CU_ASSERT_PTR_NULL(bundles_version(bundles, "@keys", 0));
    CU_ASSERT_PTR_NULL(bundles_in_force(bundles, 0));
    CU_ASSERT_FALSE(bundles_take_order_changed(bundles, ORDER_KEYS));
    tear_down();

    set_up(0); /* nothing is trusted: bundles are stored, orders refused */
    CU_ASSERT_EQUAL(push(&k, &err), ARGUS_EDENIED);
    argus_SignedBundle b = bundle(9, "web", 1, NULL);
    CU_ASSERT_EQUAL(push(&b, &err), ARGUS_OK);
    tear_down();
}

/* Goal: what was replayed, of another cluster or signed wrongly changes
 * nothing, and a version that drops a revocation is followed only where its own
 * operator gave it: it cannot take back what another one revoked. */
static void test_replays_change_nothing(void)
{
    struct argus_error err = {{0}};

    set_up(3);
    argus_SignedBundle one = revocation(1, "3", 1, NULL);
    argus_SignedBundle two = revocation(1, "39", 2, &one);
    CU_ASSERT_EQUAL(push(&one, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(push(&two, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(push(&one, &err), ARGUS_EBUSY); /* not the next */
    CU_ASSERT_EQUAL(take(&one), BUNDLES_KNOWN);
    CU_ASSERT_TRUE(is_revoked(3) && is_revoked(9));

    argus_SignedBundle foreign = revocation(1, "2", 3, &two);
    foreign.signature[0] ^= 1; /* so looks one that is signed for elsewhere */
    CU_ASSERT_EQUAL(take(&foreign), BUNDLES_BAD);
    CU_ASSERT_EQUAL(push(&foreign, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "for another cluster"));

    argus_SignedBundle other = revocation(2, "", 3, &two);
    CU_ASSERT_EQUAL(take(&other), BUNDLES_NEWS); /* in force by its number */
    CU_ASSERT_EQUAL(bundles_order(bundles, ORDER_REVOKED)->bundle.key[0], 2);
    CU_ASSERT_TRUE(is_revoked(3) && is_revoked(9));
    CU_ASSERT_FALSE(is_revoked(2));
    tear_down();
}

static void shuffle(struct prng *p, argus_SignedBundle *list, uint32_t count)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t k = prng_below(p, i);
        argus_SignedBundle held = list[k];
        list[k] = list[i - 1];
        list[i - 1] = held;
    }
}

/* What a node ends with, as one number. */
static uint64_t outcome(void)
{
    struct bundle_operator op;
    const struct bundle_version *v;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(bundles_operator(bundles, i, &op));
        sum = 2 * sum + op.is_revoked;
    }
    for (int kind = ORDER_NONE + 1; kind < ORDER_KINDS; kind++) {
        v = bundles_order(bundles, (enum order_kind)kind);
        sum = sum * 1000003 + (v != NULL ? v->hash[0] + 256u * v->hash[1] : 0);
    }
    for (uint32_t i = 0; (v = bundles_in_force(bundles, i)) != NULL; i++)
        sum =
            sum * 1000003 + v->hash[0] + 256 * v->hash[1] + v->slot->is_trusted;
    return sum;
}

/* Goal: in whatever order the same bundles, orders and revocations come, also
 * where two operators revoke each other, a node ends with the same trust, the
 * same orders and the same bundles in force. */
static void test_arrival_does_not_matter(void)
{
    static argus_SignedBundle all[16];
    struct prng prng;
    uint64_t first = 0;
    uint32_t n = 0;

    prng_seed(&prng, test_seed());
    set_up(3);
    all[n++] = bundle(1, "web", 1, NULL);
    all[n] = bundle(2, "web", 2, &all[n - 1]), n++;
    all[n++] = bundle(3, "web", 1, NULL);
    all[n++] = bundle(2, "db", 1, NULL);
    all[n++] = bundle(9, "db", 1, NULL);
    all[n++] = keys_order(1, 1, 5, NULL);
    all[n] = keys_order(2, 2, 6, &all[n - 1]), n++;
    all[n] = keys_order(1, 3, 7, &all[n - 1]), n++;
    all[n++] = revocation(1, "2", 1, NULL);
    all[n++] = revocation(2, "1", 1, NULL);
    all[n] = revocation(2, "19", 2, &all[n - 1]), n++;
    all[n++] = revocation(9, "3", 1, NULL);
    tear_down();
    for (int run = 0; run < 300; run++) {
        set_up(3);
        for (uint32_t i = 0; i < n; i++)
            CU_ASSERT_NOT_EQUAL(take(&all[i]), BUNDLES_BAD);
        CU_ASSERT_TRUE(is_revoked(1) && is_revoked(2));
        CU_ASSERT_FALSE(is_revoked(3));
        CU_ASSERT_EQUAL(bundles_version(bundles, "web", 0)->bundle.key[0], 3);
        CU_ASSERT_PTR_NULL(bundles_order(bundles, ORDER_KEYS));
        first = run == 0 ? outcome() : first;
        CU_ASSERT_EQUAL(outcome(), first);
        shuffle(&prng, all, n);
        tear_down();
    }
}

/* Goal: a table that a stolen key filled makes room once the key is revoked,
 * one slot for each bundle that is trusted; nothing else takes such a slot, and
 * orders fit in any case. */
static void test_stolen_key_filled_the_table(void)
{
    struct argus_error err = {{0}};
    char name[16];

    set_up(2);
    for (uint32_t i = 0; i < BUNDLES_TRUSTED_MAX; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        argus_SignedBundle b = bundle(2, name, 1, NULL);
        CU_ASSERT_EQUAL(take(&b), BUNDLES_NEWS);
    }
    argus_SignedBundle ours = bundle(1, "ours", 1, NULL);
    argus_SignedBundle more = bundle(2, "more", 1, NULL);
    CU_ASSERT_EQUAL(push(&ours, &err), ARGUS_EFULL);
    argus_SignedBundle r = revocation(1, "2", 1, NULL);
    CU_ASSERT_EQUAL(push(&r, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(take(&more), BUNDLES_NO_ROOM);
    CU_ASSERT_EQUAL(push(&ours, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(bundles_version(bundles, "ours", 0)->bundle.key[0], 1);
    CU_ASSERT_TRUE(bundles_version(bundles, "ours", 0)->slot->is_trusted);
    CU_ASSERT_EQUAL(bundles_stats(bundles)->slots_reclaimed, 1);
    CU_ASSERT_EQUAL(bundles_slots_count(bundles), BUNDLES_TRUSTED_MAX + 1);
    for (uint32_t i = 1; bundles_slot(bundles, i) != NULL; i++)
        CU_ASSERT_TRUE(memcmp(bundles_slot(bundles, i - 1)->id,
                              bundles_slot(bundles, i)->id, 16) < 0);
    uint32_t names = 0;
    for (uint32_t i = 0; bundles_in_force(bundles, i) != NULL; i++)
        names++;
    CU_ASSERT_EQUAL(names, BUNDLES_TRUSTED_MAX);
    CU_ASSERT_EQUAL(take(&more), BUNDLES_NO_ROOM);
    argus_SignedBundle k = keys_order(1, 1, 7, NULL);
    CU_ASSERT_EQUAL(push(&k, &err), ARGUS_OK);
    tear_down();
}

/* Goal: the order that wins tells the loser, and an order whose operators were
 * all revoked meanwhile ends no doubt badly. */
static void test_loser_is_told(void)
{
    struct argus_error err = {{0}};

    set_up(2);
    argus_SignedBundle one = keys_order(1, 1, 5, NULL);
    argus_SignedBundle two = keys_order(2, 1, 6, NULL);
    argus_SignedBundle four = keys_order(2, 4, 6, &two);
    CU_ASSERT_EQUAL(push(&one, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(take(&four), BUNDLES_NEWS); /* what is between? */
    bundles_on_timeout(bundles, 1000, WALL_US);
    argus_SignedBundle a = revocation(1, "12", 1, NULL);
    CU_ASSERT_EQUAL(take(&a), BUNDLES_NEWS);
    CU_ASSERT_PTR_NULL(bundles_order(bundles, ORDER_KEYS));
    bundles_on_timeout(bundles, bundles_deadline_ms(bundles), WALL_US);
    CU_ASSERT_EQUAL(lost, 0);
    tear_down();

    set_up(2);
    uint8_t h1[32], h2[32];
    hash_of(&one, h1);
    hash_of(&two, h2);
    bool is_first_lower = memcmp(h1, h2, 32) < 0;
    CU_ASSERT_EQUAL(push(is_first_lower ? &two : &one, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(take(is_first_lower ? &one : &two), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(lost, 1);
    tear_down();
}

/* Goal: from disk in any order the same trust comes back, before the start. */
static void test_disk_brings_revocations_back(void)
{
    static uint8_t packed[argus_SignedBundle_size];
    argus_SignedBundle all[3];

    set_up(2);
    all[0] = bundle(2, "web", 1, NULL);
    all[1] = revocation(1, "2", 1, NULL);
    all[2] = keys_order(2, 1, 7, NULL);
    tear_down();
    for (uint32_t first = 0; first < 3; first++) {
        set_up(2);
        for (uint32_t i = 0; i < 3; i++) {
            pb_ostream_t stream = pb_ostream_from_buffer(packed, sizeof packed);
            CU_ASSERT_TRUE(pb_encode(&stream, argus_SignedBundle_fields,
                                     &all[(first + i) % 3]));
            CU_ASSERT_TRUE(bundles_load(bundles, packed, stream.bytes_written));
        }
        CU_ASSERT_TRUE(is_revoked(2));
        CU_ASSERT_FALSE(bundles_version(bundles, "web", 0)->slot->is_trusted);
        CU_ASSERT_PTR_NULL(bundles_order(bundles, ORDER_KEYS));
        tear_down();
    }
}

#define ROW(name)                                                              \
    {                                                                          \
#name, test_##name                                                     \
    }
CU_TestInfo suite_orders[] = {
    ROW(hostile_shapes),
    ROW(noise_is_refused),
    ROW(keys_bar),
    ROW(revoked_key_counts_no_more),
    ROW(stranger_orders_nothing),
    ROW(replays_change_nothing),
    ROW(arrival_does_not_matter),
    ROW(stolen_key_filled_the_table),
    ROW(loser_is_told),
    ROW(disk_brings_revocations_back),
    CU_TEST_INFO_NULL,
};
