/* test_bundles.c - versions, slots, trust, pushes. What nodes do together is in
 * test_mesh.c, the links between them in test_bundle_sync.c. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include <pb_encode.h>

#include "base/prng.h"
#include "core/bundles.h"
#include "core/manifest.h"
#include "sim/bundle_kit.h"

#define WALL_US UINT64_C(1700000000000000)
#define MINUTE_MS 60000

static struct kit_chunks chunks;
static struct bundles *bundles;
static uint32_t stored, dropped, lost, lost_certainly;

static void on_lost(void *context, const struct bundle_version *loser,
                    const struct bundle_version *winner, bool is_certain)
{
    (void)context;
    (void)winner;
    CU_ASSERT_EQUAL(loser->manifest.version, 1);
    lost++;
    lost_certainly += is_certain;
}

static void on_action(void *context, const struct action *a)
{
    (void)context;
    if (a->type != ACTION_STORE || a->store.what != STORE_BUNDLE)
        return;
    stored += a->store.size > 0;
    dropped += a->store.size == 0;
}

static struct actions out = {.emit = on_action};

static void make(uint32_t trusted)
{
    struct engine_options o = {
        .seal = {.digest = kit_digest, .vouches = kit_vouches},
        .chunks = kit_store(&chunks),
        .trusted_keys = kit_keys,
        .trusted_keys_count = trusted,
        .bundle_size_max = 1 << 20};
    struct bundles_listener listener = {.lost = on_lost};

    CU_ASSERT_EQUAL_FATAL(bundles_new(&o, &listener, &bundles), ARGUS_OK);
    bundles_start(bundles, WALL_US);
}

static void set_up(uint32_t trusted)
{
    chunks = (struct kit_chunks){.pool = kit_pool_new()};
    stored = dropped = lost = lost_certainly = 0;
    make(trusted);
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

/* The version that follows `before` (NULL: the first). */
static argus_SignedBundle next(uint8_t operator_number, const char *name,
                               const argus_SignedBundle *before,
                               uint32_t version, uint32_t size, uint64_t seed)
{
    argus_SignedBundle b;
    uint8_t hash[32];
    struct kit_spec spec = {.operator_number = operator_number,
                            .name = name,
                            .version = version,
                            .size = size,
                            .seed = seed};

    if (before != NULL) {
        hash_of(before, hash);
        spec.before = hash;
    }
    kit_make(&spec, &chunks, &b);
    return b;
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

static uint32_t in_force(const char *name)
{
    const struct bundle_version *v = bundles_version(bundles, name, 0);
    return v != NULL ? v->manifest.version : 0;
}

/* ------------------------------------------------------------- versions */

static void shuffle(struct prng *p, argus_SignedBundle *list, uint32_t count)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t k = prng_below(p, i);
        argus_SignedBundle held = list[k];
        list[k] = list[i - 1];
        list[i - 1] = held;
    }
}

/* Goal: in whatever order the same versions come, the same one is in force:
 * trusted before not trusted, the higher version, the lower hash; and of its
 * slot the last eight are kept. */
static void test_order_does_not_matter(void)
{
    static argus_SignedBundle all[40];
    uint8_t best[32], other[32];
    struct prng prng;
    uint32_t n = 0;

    prng_seed(&prng, test_seed());
    for (int run = 0; run < 100; run++) {
        set_up(2);
        n = 0;
        for (uint32_t v = 1; v <= 12; v++) {
            all[n] = next(1, "web", v > 1 ? &all[n - 1] : NULL, v, 100, v);
            n++;
        }
        all[n++] = next(1, "web", &all[10], 12, 100, 99); /* a tie in a slot */
        all[n++] = next(2, "web", &all[10], 12, 100, 98); /* and of two */
        for (uint32_t v = 1; v <= 20; v++) { /* a stranger, ahead in vain */
            all[n] = next(9, "web", v > 1 ? &all[n - 1] : NULL, v, 100, v);
            n++;
        }
        hash_of(&all[11], best);
        for (uint32_t i = 12; i < 14; i++) {
            hash_of(&all[i], other);
            if (memcmp(other, best, 32) < 0)
                memcpy(best, other, 32);
        }
        shuffle(&prng, all, n);
        for (uint32_t i = 0; i < n; i++)
            (void)take(&all[i]);
        const struct bundle_version *v = bundles_version(bundles, "web", 0);
        CU_ASSERT_EQUAL(memcmp(v->hash, best, 32), 0);
        CU_ASSERT_TRUE(v->slot->is_trusted);
        CU_ASSERT_EQUAL(bundles_slots_count(bundles), 3);
        const struct bundle_slot *slot =
            bundles_version(bundles, "web", 11)->slot;
        CU_ASSERT_EQUAL(slot->count, 8);
        for (uint32_t i = 0; i < 8; i++)
            CU_ASSERT_EQUAL(slot->versions[i]->manifest.version, 12 - i);
        CU_ASSERT_PTR_NULL(bundles_in_force(bundles, 1));
        CU_ASSERT_PTR_NOT_NULL(bundles_by_hash(bundles, best));
        tear_down();
    }
}

/* Goal: what was removed stays so, until a higher version says otherwise. */
static void test_removed_stays_removed(void)
{
    set_up(1);
    argus_SignedBundle one = next(1, "web", NULL, 1, 100, 1);
    argus_SignedBundle two = next(1, "web", &one, 2, 0, 2);
    argus_SignedBundle three = next(1, "web", &two, 3, 100, 3);

    CU_ASSERT_EQUAL(take(&two), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(take(&one), BUNDLES_KNOWN); /* history, no news */
    CU_ASSERT_EQUAL(take(&one), BUNDLES_KNOWN);
    CU_ASSERT_EQUAL(in_force("web"), 2);
    CU_ASSERT_TRUE(bundles_in_force(bundles, 0)->manifest.removed);
    CU_ASSERT_TRUE(bundles_in_force(bundles, 0)->is_complete);
    CU_ASSERT_PTR_NOT_NULL(bundles_version(bundles, "web", 1));
    CU_ASSERT_EQUAL(take(&three), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(in_force("web"), 3);
    CU_ASSERT_EQUAL(stored, 3);
    tear_down();
}

/* Goal: what this node may have to run again stays, however many versions come
 * after it, whatever their order; they take each other's place instead. */
static void test_kept_version_stays(void)
{
    static const uint32_t kept[] = {40, 35, 30, 29, 28, 27, 26, 3};
    argus_SignedBundle all[40];
    uint8_t good[1][32];

    set_up(1);
    for (uint32_t v = 1; v <= 40; v++)
        all[v - 1] = next(1, "web", v > 1 ? &all[v - 2] : NULL, v, 100, v);
    hash_of(&all[2], good[0]);
    for (uint32_t v = 1; v <= 30; v++) {
        CU_ASSERT_EQUAL(take(&all[v - 1]), BUNDLES_NEWS);
        bundles_keep(bundles, (const uint8_t(*)[32])good, 1);
    }
    CU_ASSERT_EQUAL(take(&all[39]), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(take(&all[34]), BUNDLES_KNOWN); /* late: history */
    CU_ASSERT_EQUAL(take(&all[9]), BUNDLES_KNOWN);  /* too late */
    const struct bundle_slot *slot = bundles_version(bundles, "web", 0)->slot;
    CU_ASSERT_EQUAL(slot->count, 8);
    for (uint32_t i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(slot->versions[i]->manifest.version, kept[i]);
    CU_ASSERT_EQUAL(stored - dropped, 8);
    bundles_keep(bundles, NULL, 0);
    CU_ASSERT_EQUAL(take(&all[35]), BUNDLES_KNOWN);
    CU_ASSERT_PTR_NULL(bundles_version(bundles, "web", 3));
    tear_down();
}

/* Goal: a stranger may neither take a name nor fill the table. */
static void test_strangers_are_bounded(void)
{
    char name[16];
    uint32_t refused = 0;

    set_up(1);
    argus_SignedBundle ours = next(1, "web", NULL, 1, 100, 1);
    CU_ASSERT_EQUAL(take(&ours), BUNDLES_NEWS);
    for (uint32_t i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, i == 0 ? "web" : "s%u", i);
        argus_SignedBundle b = next(7, name, NULL, 1, 100, i);
        refused += take(&b) == BUNDLES_NO_ROOM;
    }
    CU_ASSERT_EQUAL(refused, 100 - BUNDLES_UNTRUSTED_MAX);
    CU_ASSERT_TRUE(bundles_version(bundles, "web", 0)->slot->is_trusted);
    for (uint32_t i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        argus_SignedBundle b = next(1, name, NULL, 1, 100, i);
        refused += take(&b) == BUNDLES_NO_ROOM;
    }
    CU_ASSERT_EQUAL(bundles_slots_count(bundles),
                    BUNDLES_TRUSTED_MAX + BUNDLES_UNTRUSTED_MAX);
    CU_ASSERT_EQUAL(bundles_stats(bundles)->bundles_refused, refused);
    CU_ASSERT_EQUAL(refused,
                    100 - BUNDLES_UNTRUSTED_MAX + 301 - BUNDLES_TRUSTED_MAX);
    for (uint32_t i = 1; bundles_slot(bundles, i) != NULL; i++)
        CU_ASSERT_TRUE(memcmp(bundles_slot(bundles, i - 1)->id,
                              bundles_slot(bundles, i)->id, 16) < 0);
    for (uint32_t i = 1; bundles_in_force(bundles, i) != NULL; i++)
        CU_ASSERT_TRUE(strcmp(bundles_in_force(bundles, i - 1)->manifest.name,
                              bundles_in_force(bundles, i)->manifest.name) < 0);
    tear_down();
}

/* Goal: content of strangers is fetched up to a bound, and what is larger than
 * MaxSize here not at all; both are known all the same. */
static void test_content_that_is_wanted(void)
{
    uint32_t wanted = 0;
    char name[16];
    struct kit_pool *nowhere = kit_pool_new();

    set_up(1);
    kit_chunks_clear(&chunks);
    for (uint32_t i = 0; i < 64; i++) {
        struct kit_spec spec = {.operator_number = 7,
                                .name = name,
                                .version = 1,
                                .size = 1 << 20,
                                .seed = i};
        argus_SignedBundle b;
        struct kit_chunks elsewhere = {.pool = nowhere};
        (void)snprintf(name, sizeof name, "s%u", i);
        spec.size += i == 5; /* one byte too many */
        kit_make(&spec, &elsewhere, &b);
        kit_chunks_clear(&elsewhere);
        CU_ASSERT_EQUAL(take(&b), BUNDLES_NEWS);
    }
    for (uint32_t i = 0; i < 64; i++)
        wanted += bundles_wants_content(bundles, bundles_slot(bundles, i));
    CU_ASSERT_TRUE(wanted == 62 || wanted == 63); /* 64 MiB, one larger */
    argus_SignedBundle ours = next(1, "web", NULL, 1, 100, 1);
    kit_chunks_clear(&chunks);
    CU_ASSERT_EQUAL(take(&ours), BUNDLES_NEWS);
    CU_ASSERT_TRUE(bundles_wants_content(
        bundles, bundles_version(bundles, "web", 0)->slot));
    kit_pool_free(nowhere);
    tear_down();
}

/* Goal: the last version of each slot survives a restart, whatever the order of
 * rows; what is damaged on disk does not. */
static void test_disk_brings_all_back(void)
{
    static uint8_t packed[argus_SignedBundle_size];

    set_up(1);
    argus_SignedBundle all[3];
    all[0] = next(1, "web", NULL, 1, 100, 1);
    all[1] = next(1, "web", &all[0], 2, 40000, 2);
    all[2] = next(9, "web", NULL, 1, 100, 3);
    bundles_free(bundles);
    make(1);
    for (uint32_t i = 3; i-- > 0;) {
        pb_ostream_t stream = pb_ostream_from_buffer(packed, sizeof packed);
        CU_ASSERT_TRUE(pb_encode(&stream, argus_SignedBundle_fields, &all[i]));
        packed[stream.bytes_written - 1] ^= 1;
        CU_ASSERT_FALSE(bundles_load(bundles, packed, stream.bytes_written));
        packed[stream.bytes_written - 1] ^= 1;
        CU_ASSERT_TRUE(bundles_load(bundles, packed, stream.bytes_written));
        CU_ASSERT_FALSE(bundles_load(bundles, packed, 50));
    }
    bundles_start(bundles, WALL_US);
    CU_ASSERT_EQUAL(in_force("web"), 2);
    CU_ASSERT_EQUAL(bundles_slots_count(bundles), 2);
    CU_ASSERT_TRUE(bundles_in_force(bundles, 0)->is_complete);
    CU_ASSERT_TRUE(bundles_take_changed(bundles));
    CU_ASSERT_FALSE(bundles_take_changed(bundles));
    tear_down();
}

/* Goal: expiry is noticed in time, also when the clock jumps. */
static void test_expiry_is_noticed(void)
{
    argus_SignedBundle b;
    struct kit_spec spec = {.name = "web",
                            .version = 1,
                            .size = 100,
                            .expires_ms = WALL_US / 1000 + 5000};

    set_up(1);
    kit_make(&spec, &chunks, &b);
    CU_ASSERT_EQUAL(take(&b), BUNDLES_NEWS);
    (void)bundles_take_changed(bundles);
    bundles_on_timeout(bundles, 1000, WALL_US);
    CU_ASSERT_EQUAL(bundles_deadline_ms(bundles), 6000);
    CU_ASSERT_FALSE(bundles_take_changed(bundles));
    bundles_on_timeout(bundles, 6000, WALL_US + 5000000);
    CU_ASSERT_TRUE(bundles_take_changed(bundles));
    CU_ASSERT_TRUE(bundles_in_force(bundles, 0)->is_expired);
    CU_ASSERT_TRUE(bundles_deadline_ms(bundles) <= 6000 + MINUTE_MS);
    bundles_on_timeout(bundles, 6000 + MINUTE_MS, WALL_US); /* set back */
    CU_ASSERT_TRUE(bundles_take_changed(bundles));
    CU_ASSERT_FALSE(bundles_in_force(bundles, 0)->is_expired);
    tear_down();
}

/* --------------------------------------------------------------- manifests */

static void name_it(argus_Manifest *m, const char *name)
{
    (void)snprintf(m->name, sizeof m->name, "%s", name);
}

static void sound(argus_Manifest *m)
{
    *m = (argus_Manifest)argus_Manifest_init_zero;
    name_it(m, "web");
    m->version = 1;
    (void)snprintf(m->target, sizeof m->target, "*");
    m->index.size = 32;
    m->files_count = 2;
    m->files[0].size = 10;
    (void)snprintf(m->files[1].name, sizeof m->files[1].name, "a.py");
}

#define FAULTS(X)                                                              \
    X(name_it(&m, ""))                                                         \
    X(name_it(&m, ".x"))                                                       \
    X(name_it(&m, "-x"))                                                       \
    X(name_it(&m, "a/b"))                                                      \
    X(name_it(&m, "a b"))                                                      \
    X(name_it(&m, "@keys"))                                                    \
    X(name_it(&m, "@revoked"))                                                 \
    X(name_it(&m, "@web"))                                                     \
    X(m.has_order = true)                                                      \
    X((m.has_order = true, m.order.which_body = argus_Order_revoked_tag))      \
    X(name_it(&m, "\xc3\xa4"))                                                 \
    X(m.version = 0)                                                           \
    X(m.version = UINT32_MAX)                                                  \
    X(m.version = 2)                                                           \
    X(m.before.size = 32)                                                      \
    X((m.version = 2, m.before.size = 31))                                     \
    X(m.index.size = 0)                                                        \
    X(m.index.size = 31)                                                       \
    X(m.files_count = 0)                                                       \
    X(m.files[0].size = 0)                                                     \
    X(m.files[0].name[0] = 'x')                                                \
    X(m.files[1].name[0] = '\0')                                               \
    X(m.files[1].name[0] = '.')                                                \
    X(m.files[1].name[1] = '/')                                                \
    X((m.files_count = 3, m.files[2] = m.files[1]))                            \
    X(m.files[1].size = UINT32_MAX)                                            \
    X(m.removed = true)                                                        \
    X((m.removed = true, m.files_count = 0))                                   \
    X((m.removed = true, m.files_count = 0, m.index.size = 0))

/* Goal: a manifest that may not exist is refused whoever signed it, with a
 * text, and so is one that is no manifest or signed wrongly. */
static void test_hostile_manifests(void)
{
    argus_Manifest m, opened;
    argus_SignedBundle b;
    struct argus_error err;
    uint32_t bad = 0;

    set_up(1);
    sound(&m);
    kit_pack(&m, &b);
    kit_sign(1, &b);
    CU_ASSERT_EQUAL(manifest_open(&b, &opened, &err), ARGUS_OK);
#define FAULT_ROW(change)                                                      \
    sound(&m);                                                                 \
    change;                                                                    \
    kit_pack(&m, &b);                                                          \
    kit_sign(1, &b);                                                           \
    err.text[0] = '\0';                                                        \
    CU_ASSERT_EQUAL(manifest_open(&b, &opened, &err), ARGUS_EINVAL);           \
    CU_ASSERT_TRUE(err.text[0] != '\0');                                       \
    CU_ASSERT_EQUAL(take(&b), BUNDLES_BAD);                                    \
    bad++;
    FAULTS(FAULT_ROW)
    b.manifest.size = 0;
    kit_sign(1, &b);
    CU_ASSERT_EQUAL(take(&b), BUNDLES_BAD);
    b.manifest.size = 5888;
    memset(b.manifest.bytes, 0xff, 5888);
    kit_sign(1, &b);
    CU_ASSERT_EQUAL(take(&b), BUNDLES_BAD);
    sound(&m);
    kit_pack(&m, &b);
    kit_sign(1, &b);
    b.key[3] ^= 1;
    CU_ASSERT_EQUAL(take(&b), BUNDLES_BAD);
    CU_ASSERT_EQUAL(bundles_stats(bundles)->bundles_bad, bad + 3);
    CU_ASSERT_EQUAL(bundles_slots_count(bundles), 0);
    tear_down();
}

/* Goal: noise, and sound manifests with a few bits turned, harm nothing. */
static void test_noise_is_refused(void)
{
    struct prng prng;
    argus_Manifest m;
    argus_SignedBundle b;

    set_up(1);
    prng_seed(&prng, test_seed());
    for (uint32_t i = 0; i < 20000; i++) {
        sound(&m);
        kit_pack(&m, &b);
        for (uint32_t k = prng_below(&prng, 8); k-- > 0;)
            b.manifest.bytes[prng_below(&prng, b.manifest.size)] ^=
                (uint8_t)(1u << prng_below(&prng, 8));
        b.manifest.size -= (pb_size_t)prng_below(&prng, 3);
        kit_sign((uint8_t)(1 + i % 3), &b);
        (void)take(&b);
    }
    CU_ASSERT_TRUE(bundles_stats(bundles)->bundles_bad > 1000);
    CU_ASSERT_TRUE(bundles_slots_count(bundles) <= BUNDLES_MAX);
    tear_down();
}

/* ------------------------------------------------------------------ pushes */

static void refused(const argus_SignedBundle *b, int code, const char *text)
{
    struct argus_error err = {{0}};
    int rc = push(b, &err);
    bool says_so = strstr(err.text, text) != NULL;

    if (rc != code || !says_so)
        printf("  %d: %s\n", rc, err.text);
    CU_ASSERT_EQUAL(rc, code);
    CU_ASSERT_TRUE(says_so);
}

/* Goal: what cannot be right is refused at the push, with the reason. */
static void test_pushes_are_checked(void)
{
    struct kit_spec late = {.name = "late",
                            .version = 1,
                            .size = 9,
                            .expires_ms = WALL_US / 1000 - 60000};
    struct kit_spec odd = {
        .name = "odd", .version = 1, .size = 9, .target = "role=x"};
    argus_SignedBundle b;
    uint8_t id[16];
    char text[64];

    set_up(1);
    argus_SignedBundle one = next(1, "web", NULL, 1, 100, 1);
    CU_ASSERT_EQUAL(push(&one, NULL), ARGUS_OK);
    refused(&one, ARGUS_EBUSY, "version 1 of web was pushed already");
    b = next(1, "web", NULL, 1, 100, 5);
    refused(&b, ARGUS_EBUSY, "does not follow version 1 (");
    b = next(1, "web", &one, 3, 100, 5);
    refused(&b, ARGUS_EBUSY, "another push came before");
    b = next(1, "new", &one, 2, 100, 5);
    refused(&b, ARGUS_EBUSY, "no version of new is known here");
    b = next(1, "none", NULL, 1, 0, 5);
    refused(&b, ARGUS_EINVAL, "there is no none that could be removed");
    b = next(3, "web", &one, 2, 100, 5);
    kit_operator_id(3, id);
    (void)snprintf(text, sizeof text, "the key %02x%02x%02x%02x", id[0], id[1],
                   id[2], id[3]);
    refused(&b, ARGUS_EDENIED, text);
    refused(&b, ARGUS_EDENIED, "is not trusted here");
    b = next(1, "web", &one, 2, 100, 5);
    b.signature[0] ^= 1;
    refused(&b, ARGUS_EDENIED, "the signature on web is wrong");
    b = next(1, "big", NULL, 1, (1 << 20) + 1, 5);
    refused(&b, ARGUS_EINVAL, "holds 1048577 bytes, MaxSize here is 1048576");
    kit_make(&late, &chunks, &b);
    refused(&b, ARGUS_EDENIED, "expired 60 s ago");
    kit_make(&odd, &chunks, &b);
    refused(&b, ARGUS_EINVAL, "a role is agent or aggregator");
    b = next(1, "web", &one, 2, 100000, 6);
    kit_chunks_clear(&chunks);
    refused(&b, ARGUS_ENOENT, "was not sent before the push");
    b.manifest.size = 0;
    refused(&b, ARGUS_EINVAL, "there is no manifest");
    CU_ASSERT_EQUAL(in_force("web"), 1);
    CU_ASSERT_EQUAL(bundles_stats(bundles)->pushes_refused, 13);

    argus_SignedBundle two = next(1, "web", &one, 2, 0, 2);
    CU_ASSERT_EQUAL(push(&two, NULL), ARGUS_OK);
    b = next(1, "web", &two, 3, 0, 3);
    refused(&b, ARGUS_EINVAL, "web is removed already");
    tear_down();
}

/* Goal: where no key is trusted anybody's push is taken, to be stored. */
static void test_push_without_trusted_keys(void)
{
    set_up(0);
    argus_SignedBundle b = next(200, "web", NULL, 1, 100, 1);
    CU_ASSERT_EQUAL(push(&b, NULL), ARGUS_OK);
    CU_ASSERT_FALSE(bundles_in_force(bundles, 0)->slot->is_trusted);
    tear_down();
}

/* Goal: content that is not what its files' hashes say is refused at once, for
 * no node could lay it out. */
static void test_push_of_other_content(void)
{
    argus_Manifest m;
    argus_SignedBundle b;

    set_up(1);
    b = next(1, "web", NULL, 1, 100, 1);
    CU_ASSERT_EQUAL(manifest_open(&b, &m, NULL), ARGUS_OK);
    m.files[0].sha256[5] ^= 1;
    kit_pack(&m, &b);
    kit_sign(1, &b);
    refused(&b, ARGUS_EINVAL, "the content of the text is not what was signed");
    m.files[0].size = 40000; /* an index of one hash, as if it were two */
    kit_pack(&m, &b);
    kit_sign(1, &b);
    refused(&b, ARGUS_ENOENT, "was not sent");
    m.files[0].size = 90; /* the chunk is longer */
    kit_pack(&m, &b);
    kit_sign(1, &b);
    refused(&b, ARGUS_EINVAL, "the chunks do not make up");
    tear_down();
}

/* Goal: whoever pushed and lost is told, once; whoever was only built on is
 * not, even if the versions come in the wrong order. */
static void test_loser_is_told(void)
{
    set_up(2);
    argus_SignedBundle a = next(1, "web", NULL, 1, 100, 1);
    argus_SignedBundle b = next(1, "web", NULL, 1, 100, 2);
    argus_SignedBundle c = next(2, "web", NULL, 1, 100, 3);
    uint8_t ha[32], hb[32], hc[32];

    hash_of(&a, ha);
    hash_of(&b, hb);
    hash_of(&c, hc);
    argus_SignedBundle *high = memcmp(ha, hb, 32) > 0 ? &a : &b;
    argus_SignedBundle *low = high == &a ? &b : &a;
    CU_ASSERT_EQUAL(push(high, NULL), ARGUS_OK);
    CU_ASSERT_EQUAL(take(low), BUNDLES_NEWS);
    CU_ASSERT_EQUAL(lost, 1);
    CU_ASSERT_EQUAL(lost_certainly, 1);
    (void)take(&c); /* the one in force now was not pushed here */
    CU_ASSERT_EQUAL(lost, 1);
    tear_down();

    set_up(1);
    argus_SignedBundle one = next(1, "web", NULL, 1, 100, 1);
    argus_SignedBundle two = next(1, "web", &one, 2, 100, 2);
    argus_SignedBundle three = next(1, "web", &two, 3, 100, 3);
    CU_ASSERT_EQUAL(push(&one, NULL), ARGUS_OK);
    CU_ASSERT_EQUAL(take(&three), BUNDLES_NEWS);
    bundles_on_timeout(bundles, 1000, WALL_US);
    CU_ASSERT_EQUAL(take(&two), BUNDLES_KNOWN);
    bundles_on_timeout(bundles, bundles_deadline_ms(bundles), WALL_US);
    CU_ASSERT_EQUAL(lost, 0);
    tear_down();

    set_up(1);
    one = next(1, "web", NULL, 1, 100, 1);
    CU_ASSERT_EQUAL(push(&one, NULL), ARGUS_OK);
    CU_ASSERT_EQUAL(take(&three), BUNDLES_NEWS); /* and what is between? */
    bundles_on_timeout(bundles, 1000, WALL_US);
    bundles_on_timeout(bundles, bundles_deadline_ms(bundles), WALL_US);
    CU_ASSERT_EQUAL(lost, 1);
    CU_ASSERT_EQUAL(lost_certainly, 0);
    CU_ASSERT_EQUAL(bundles_deadline_ms(bundles), UINT64_MAX);
    tear_down();
}

CU_TestInfo suite_bundles[] = {
    {"order_does_not_matter", test_order_does_not_matter},
    {"removed_stays_removed", test_removed_stays_removed},
    {"kept_version_stays", test_kept_version_stays},
    {"strangers_are_bounded", test_strangers_are_bounded},
    {"content_that_is_wanted", test_content_that_is_wanted},
    {"disk_brings_all_back", test_disk_brings_all_back},
    {"expiry_is_noticed", test_expiry_is_noticed},
    {"hostile_manifests", test_hostile_manifests},
    {"noise_is_refused", test_noise_is_refused},
    {"pushes_are_checked", test_pushes_are_checked},
    {"push_without_trusted_keys", test_push_without_trusted_keys},
    {"push_of_other_content", test_push_of_other_content},
    {"loser_is_told", test_loser_is_told},
    CU_TEST_INFO_NULL,
};
