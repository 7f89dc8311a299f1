/* test_bundle_sync.c - one node's bundle links, with peers that the test plays:
 * what is promised on such a link, and what becomes of those who break it. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "core/bundle_sync_impl.h"
#include "core/manifest.h"
#include "sim/bundle_kit.h"

#define WALL_US UINT64_C(1700000000000000)
#define SENT_MAX 512

static struct kit_chunks chunks, elsewhere;
static struct bundles *bundles;
static struct bundle_sync *sync;
static uint64_t now;
static uint32_t broadcasts;

/* What the node asked for: frames by link, dials, closes. */
static struct {
    link_id link;
    argus_Frame frame;
} sent[SENT_MAX];
static uint32_t sent_count;
static dial_id dialed;
static struct node_id dialed_whom;
static uint32_t dials;
static link_id closed;
static argus_RefuseCode close_code;
static char close_text[128];

static void on_action(void *context, const struct action *a)
{
    (void)context;
    switch (a->type) {
    case ACTION_SEND:
        CU_ASSERT_TRUE_FATAL(sent_count < SENT_MAX);
        sent[sent_count].link = a->send.link;
        sent[sent_count++].frame = *a->send.frame;
        break;
    case ACTION_DIAL:
        CU_ASSERT_EQUAL(a->dial.kind, argus_LinkKind_LINK_BUNDLE);
        dialed = a->dial.dial;
        dialed_whom = *a->dial.expected;
        dials++;
        break;
    case ACTION_CLOSE:
        closed = a->close.link;
        close_code = a->close.code;
        (void)snprintf(close_text, sizeof close_text, "%s", a->close.text);
        break;
    default: break;
    }
}

static struct actions out = {.emit = on_action};

static void on_broadcast(void *context, const argus_SignedBundle *bundle)
{
    (void)context;
    (void)bundle;
    broadcasts++;
}

static const char *address(void *context, const struct node_id *id)
{
    (void)context;
    (void)id;
    return "n:1";
}

static bool no_member(void *context, uint32_t pick, struct node_id *id)
{
    (void)context;
    (void)pick;
    (void)id;
    return false;
}

static struct node_id node(uint8_t n)
{
    return (struct node_id){{n}};
}

static void set_up(void)
{
    struct bundles_listener none = {0};
    struct bundle_sync_listener listener = {
        .broadcast = on_broadcast, .address = address, .any_member = no_member};
    struct kit_pool *pool = kit_pool_new();

    chunks = (struct kit_chunks){.pool = pool};
    elsewhere = (struct kit_chunks){.pool = pool};
    struct engine_options o = {
        .seed = 4711,
        .id = node(100),
        .seal = {.digest = kit_digest, .vouches = kit_vouches},
        .chunks = kit_store(&chunks),
        .trusted_keys = kit_keys,
        .trusted_keys_count = 1,
        .bundle_size_max = 1 << 20};
    now = 1000;
    sent_count = dials = broadcasts = 0;
    closed = dialed = 0;
    CU_ASSERT_EQUAL_FATAL(bundles_new(&o, &none, &bundles), ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(bundle_sync_new(&o, bundles, &listener, &sync),
                          ARGUS_OK);
    bundles_start(bundles, WALL_US);
    bundle_sync_start(sync, now, WALL_US, &out);
}

static void tear_down(void)
{
    struct kit_pool *pool = chunks.pool;

    bundle_sync_free(sync);
    bundles_free(bundles);
    kit_chunks_clear(&chunks);
    kit_chunks_clear(&elsewhere);
    kit_pool_free(pool);
}

static void link_up(link_id link, dial_id dial, uint8_t who)
{
    struct peer_info peer = {.id = node(who),
                             .kind = argus_LinkKind_LINK_BUNDLE};
    bundle_sync_on_link_up(sync, now, WALL_US, link, dial, &peer, &out);
}

static void neighbor(uint8_t who)
{
    struct peer_info peer = {.id = node(who), .address = "n:1"};
    bundle_sync_neighbor_up(sync, now, WALL_US, &peer, &out);
}

static void receive(link_id link, const argus_Frame *frame)
{
    bundle_sync_on_frame(sync, now, WALL_US, link, frame, &out);
}

/* Time goes on to `until`, each timer at its time. */
static void run(uint64_t until)
{
    while (bundle_sync_deadline_ms(sync) <= until) {
        uint64_t due = bundle_sync_deadline_ms(sync);
        if (due > now)
            now = due;
        bundle_sync_on_timeout(sync, now, WALL_US, &out);
    }
    now = until;
}

static const argus_Frame *find_sent(link_id link, pb_size_t which)
{
    for (uint32_t i = 0; i < sent_count; i++)
        if (sent[i].link == link && sent[i].frame.which_body == which)
            return &sent[i].frame;
    return NULL;
}

static uint32_t count_sent(link_id link, pb_size_t which)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sent_count; i++)
        n += sent[i].link == link && sent[i].frame.which_body == which;
    return n;
}

static argus_SignedBundle make(const char *name, uint32_t version,
                               uint32_t size, struct kit_chunks *where)
{
    argus_SignedBundle b;
    static const uint8_t before[32] = {1};
    struct kit_spec spec = {.name = name,
                            .version = version,
                            .before = version > 1 ? before : NULL,
                            .size = size,
                            .seed = version};

    kit_make(&spec, where, &b);
    return b;
}

/* The node hears of a version, from a node or from nobody in particular. */
static struct bundle_slot *hear(const argus_SignedBundle *b, uint8_t from)
{
    struct bundle_slot *slot = NULL;
    struct node_id id = node(from);

    CU_ASSERT_EQUAL_FATAL(bundles_take(bundles, WALL_US, b, &slot, &out),
                          BUNDLES_NEWS);
    bundle_sync_on_news(sync, now, WALL_US, slot, from == 0 ? NULL : &id, &out);
    return slot;
}

static argus_Frame chunk_frame(const uint8_t *hash)
{
    argus_Frame f = {.which_body = argus_Frame_chunk_tag};
    struct chunk_store store = kit_store(&elsewhere);

    memcpy(f.body.chunk.hash, hash, 32);
    f.body.chunk.data.size =
        (pb_size_t)store.get(store.context, hash, f.body.chunk.data.bytes);
    return f;
}

/* Answer all that was asked for on a link. */
static void answer_all(link_id link)
{
    for (uint32_t i = 0; i < sent_count; i++) {
        if (sent[i].link != link ||
            sent[i].frame.which_body != argus_Frame_chunk_want_tag)
            continue;
        sent[i].link = 0;
        argus_Frame f = chunk_frame(sent[i].frame.body.chunk_want.hash);
        receive(link, &f);
    }
}

static void want(link_id link, const uint8_t *hash)
{
    argus_Frame f = {.which_body = argus_Frame_chunk_want_tag};
    memcpy(f.body.chunk_want.hash, hash, 32);
    receive(link, &f);
}

static void expect_malformed(link_id link, const char *text)
{
    CU_ASSERT_EQUAL(closed, link);
    CU_ASSERT_EQUAL(close_code, argus_RefuseCode_REFUSE_MALFORMED);
    CU_ASSERT_PTR_NOT_NULL(strstr(close_text, text));
    CU_ASSERT_EQUAL(bundle_sync_stats(sync)->malformed, 1);
}

/* -------------------------------------------------------------- content */

/* Goal: content is pulled from whoever told of it, within the window, and the
 * head is complete with the last chunk. */
static void test_fetch_from_who_told(void)
{
    set_up();
    neighbor(3);
    argus_SignedBundle b = make("web", 1, 20 * 32768, &elsewhere);
    struct bundle_slot *slot = hear(&b, 7);
    struct node_id seven = node(7);

    CU_ASSERT_EQUAL(dials, 1);
    CU_ASSERT_TRUE(node_id_is_equal(&dialed_whom, &seven));
    link_up(70, dialed, 7);
    CU_ASSERT_EQUAL(count_sent(70, argus_Frame_chunk_want_tag), 1);
    CU_ASSERT_EQUAL(count_sent(70, argus_Frame_bundle_digest_tag), 0);
    argus_Frame index =
        chunk_frame(bundle_slot_head(slot)->manifest.index.bytes);
    receive(70, &index);
    CU_ASSERT_EQUAL(count_sent(70, argus_Frame_chunk_want_tag),
                    1 + BUNDLE_WINDOW);
    sent[0].link = 0;
    answer_all(70);
    CU_ASSERT_TRUE(bundle_slot_head(slot)->is_complete);
    CU_ASSERT_EQUAL(bundle_sync_fetches(sync), 0);
    CU_ASSERT_EQUAL(bundle_sync_stats(sync)->chunks_received, 21);
    CU_ASSERT_TRUE(bundles_take_changed(bundles));
    run(now + BUNDLE_LINGER_MS);
    CU_ASSERT_EQUAL(closed, 70);
    CU_ASSERT_EQUAL(close_code, argus_RefuseCode_REFUSE_BYE);
    tear_down();
}

/* Goal: whoever has it not, does not answer, or cannot be dialed is passed over
 * for the next neighbor; when all were asked there is a pause, which grows. */
static void test_fetch_goes_around(void)
{
    uint64_t first_pause, paused;

    set_up();
    for (uint8_t n = 1; n <= 3; n++)
        neighbor(n);
    argus_SignedBundle b = make("web", 1, 100, &elsewhere);
    struct bundle_slot *slot = hear(&b, 1);
    bundle_sync_on_dial_failed(sync, now, WALL_US, dialed, &out);
    CU_ASSERT_EQUAL(dials, 2);
    uint8_t second = dialed_whom.bytes[0];
    link_up(20, dialed, second);
    argus_Frame absent = {.which_body = argus_Frame_chunk_tag};
    memcpy(absent.body.chunk.hash, bundle_slot_head(slot)->manifest.index.bytes,
           32);
    receive(20, &absent);
    CU_ASSERT_EQUAL(dials, 3);
    CU_ASSERT_NOT_EQUAL(dialed_whom.bytes[0], second);
    link_up(30, dialed, dialed_whom.bytes[0]);
    paused = bundle_sync_stats(sync)->fetches_paused;
    CU_ASSERT_EQUAL(paused, 0);
    uint64_t asked = now;
    while (bundle_sync_stats(sync)->fetches_paused == 0)
        run(now + 1); /* no answer */
    CU_ASSERT_EQUAL(closed, 30);
    CU_ASSERT_EQUAL(close_code, argus_RefuseCode_REFUSE_SILENT);
    CU_ASSERT_EQUAL(now - asked, BUNDLE_ANSWER_MS);
    first_pause = sync->fetches[0]->due_ms - now;
    CU_ASSERT_TRUE(first_pause >= BUNDLE_BACKOFF_MIN_MS * 4 / 5);
    CU_ASSERT_TRUE(sync->fetches[0]->backoff_ms == 2 * BUNDLE_BACKOFF_MIN_MS);
    tear_down();
}

/* Goal: a chunk nobody asked for, one that is not what it is said to be, and
 * more wants than the window end the link, and nothing of it is kept. */
static void test_hostile_chunks(void)
{
    argus_SignedBundle b;
    argus_Manifest m;
    argus_Frame f;

    set_up();
    b = make("other", 1, 100, &elsewhere);
    link_up(9, 0, 9);
    CU_ASSERT_EQUAL(manifest_open(&b, &m, NULL), ARGUS_OK);
    f = chunk_frame(m.index.bytes);
    receive(9, &f);
    expect_malformed(9, "nobody asked for");
    CU_ASSERT_EQUAL(chunks.count, 0);
    tear_down();

    set_up();
    neighbor(1);
    neighbor(2);
    b = make("web", 1, 100, &elsewhere);
    struct bundle_slot *slot = hear(&b, 1);
    link_up(10, dialed, 1);
    f = chunk_frame(bundle_slot_head(slot)->manifest.index.bytes);
    f.body.chunk.data.bytes[0] ^= 1;
    receive(10, &f);
    expect_malformed(10, "not what it is said to be");
    CU_ASSERT_EQUAL(bundle_sync_stats(sync)->chunks_bad, 1);
    CU_ASSERT_EQUAL(chunks.count, 0);
    CU_ASSERT_EQUAL(dialed_whom.bytes[0], 2); /* the next one is asked */
    tear_down();

    set_up();
    b = make("web", 1, 100, &elsewhere);
    (void)hear(&b, 1); /* so that wants may wait */
    link_up(9, 0, 9);
    for (uint8_t i = 0; i <= BUNDLE_WINDOW; i++) {
        uint8_t hash[32] = {i};
        CU_ASSERT_NOT_EQUAL(closed, 9);
        want(9, hash);
    }
    expect_malformed(9, "more wants");
    tear_down();
}

/* Goal: a want waits for a chunk on its way here, for a while; a node that we
 * ask for it ourselves does not wait for us; what nobody expects is denied. */
static void test_wants_wait_for_their_chunk(void)
{
    set_up();
    uint8_t nothing[32] = {7};
    link_up(9, 0, 9);
    want(9, nothing);
    CU_ASSERT_EQUAL(find_sent(9, argus_Frame_chunk_tag)->body.chunk.data.size,
                    0);
    argus_SignedBundle b = make("web", 1, 100, &elsewhere);
    struct bundle_slot *slot = hear(&b, 1);
    const uint8_t *index = bundle_slot_head(slot)->manifest.index.bytes;
    link_up(10, dialed, 1);
    sent_count = 0;
    want(9, index);
    CU_ASSERT_EQUAL(sent_count, 0);
    want(10, index); /* who asks us is whom we ask */
    CU_ASSERT_EQUAL(find_sent(10, argus_Frame_chunk_tag)->body.chunk.data.size,
                    0);
    argus_Frame f = chunk_frame(index);
    receive(10, &f);
    const argus_Frame *served = find_sent(9, argus_Frame_chunk_tag);
    CU_ASSERT_PTR_NOT_NULL_FATAL(served);
    CU_ASSERT_EQUAL(served->body.chunk.data.size, 32);
    sent_count = 0;
    want(9, nothing);
    CU_ASSERT_EQUAL(sent_count, 0);
    run(now + BUNDLE_WAIT_MS);
    CU_ASSERT_EQUAL(find_sent(9, argus_Frame_chunk_tag)->body.chunk.data.size,
                    0);
    tear_down();
}

/* Goal: a store without room pauses the fetch, and it goes on later. */
static void test_full_store_pauses(void)
{
    set_up();
    neighbor(1);
    argus_SignedBundle b = make("web", 1, 100, &elsewhere);
    struct bundle_slot *slot = hear(&b, 1);
    link_up(10, dialed, 1);
    chunks.is_full = true;
    answer_all(10);
    CU_ASSERT_EQUAL(bundle_sync_stats(sync)->chunks_unstored, 1);
    CU_ASSERT_TRUE(sync->fetches[0]->due_ms - now > BUNDLE_BACKOFF_MAX_MS / 2);
    chunks.is_full = false;
    dials = 0;
    run(now + 2 * BUNDLE_BACKOFF_MAX_MS);
    CU_ASSERT_TRUE(dials > 0);
    link_up(11, dialed, 1);
    answer_all(11);
    CU_ASSERT_TRUE(bundle_slot_head(slot)->is_complete);
    tear_down();
}

/* Goal: a newer version stops the fetch of the older one, and what the store
 * lost of a complete one is fetched again. */
static void test_fetch_follows_the_head(void)
{
    set_up();
    neighbor(1);
    argus_SignedBundle one = make("web", 1, 100000, &elsewhere);
    argus_SignedBundle two = make("web", 2, 200, &elsewhere);
    struct bundle_slot *slot = hear(&one, 1);
    link_up(10, dialed, 1);
    CU_ASSERT_PTR_EQUAL(hear(&two, 1), slot);
    answer_all(10);
    CU_ASSERT_TRUE(bundle_slot_head(slot)->is_complete);
    CU_ASSERT_EQUAL(bundle_slot_head(slot)->manifest.version, 2);
    CU_ASSERT_EQUAL(bundle_sync_fetches(sync), 0);

    struct chunk_store store = kit_store(&chunks);
    uint8_t index[32];
    memcpy(index, bundle_slot_head(slot)->manifest.index.bytes, 32);
    store.drop(store.context, index);
    link_up(9, 0, 9);
    want(9, index); /* so it is noticed */
    CU_ASSERT_FALSE(bundle_slot_head(slot)->is_complete);
    CU_ASSERT_EQUAL(bundle_sync_fetches(sync), 1);
    answer_all(10);
    CU_ASSERT_TRUE(bundle_slot_head(slot)->is_complete);
    CU_ASSERT_EQUAL(find_sent(9, argus_Frame_chunk_tag)->body.chunk.data.size,
                    32);
    tear_down();
}

/* ----------------------------------------------------------- anti-entropy */

static void add_entry(argus_BundleDigest *d, const uint8_t *slot,
                      uint32_t version)
{
    argus_BundleEntry *e = &d->entries[d->entries_count++];
    memcpy(e->slot, slot, 16);
    e->version = version;
    memset(e->hash, 1, sizeof e->hash);
}

/* Goal: a digest is answered with what is higher here and a want for what is
 * higher there. */
static void test_digest_is_answered(void)
{
    uint8_t low[16] = {0}, high[16];

    set_up();
    argus_SignedBundle a = make("a", 5, 0, NULL), b = make("b", 5, 0, NULL);
    struct bundle_slot *sa = hear(&a, 0), *sb = hear(&b, 0);
    const struct bundle_slot *first = bundles_slot(bundles, 0);
    const struct bundle_slot *second = first == sa ? sb : sa;
    memset(high, 0xff, sizeof high);

    argus_Frame f = {.which_body = argus_Frame_bundle_digest_tag};
    argus_BundleDigest *d = &f.body.bundle_digest;
    add_entry(d, low, 1);
    add_entry(d, first->id, 6);
    add_entry(d, second->id, 4);
    add_entry(d, high, 9);
    link_up(9, 0, 9);
    receive(9, &f);
    const argus_Frame *items = find_sent(9, argus_Frame_bundle_items_tag);
    const argus_Frame *w = find_sent(9, argus_Frame_bundle_want_tag);
    CU_ASSERT_PTR_NOT_NULL_FATAL(items);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT_EQUAL(items->body.bundle_items.bundles_count, 1);
    CU_ASSERT_EQUAL(w->body.bundle_want.slots_count, 3);
    CU_ASSERT_EQUAL(memcmp(w->body.bundle_want.slots[0], low, 16), 0);
    CU_ASSERT_EQUAL(memcmp(w->body.bundle_want.slots[1], first->id, 16), 0);
    CU_ASSERT_EQUAL(memcmp(w->body.bundle_want.slots[2], high, 16), 0);

    argus_Frame more = {.which_body = argus_Frame_bundle_items_tag};
    more.body.bundle_items.bundles_count = 4; /* three were asked for */
    receive(9, &more);
    expect_malformed(9, "nobody asked for");
    tear_down();
}

/* Goal: digests and wants out of order or turn, and frames of other links, end
 * the link. */
static void test_hostile_digests(void)
{
    argus_Frame f = {.which_body = argus_Frame_bundle_digest_tag};
    argus_Frame w = {.which_body = argus_Frame_bundle_want_tag};
    argus_Frame items = {.which_body = argus_Frame_bundle_items_tag};
    argus_Frame ping = {.which_body = argus_Frame_gossip_tag};
    uint8_t one[16] = {1}, two[16] = {2};

    set_up();
    add_entry(&f.body.bundle_digest, two, 1);
    add_entry(&f.body.bundle_digest, one, 1);
    link_up(9, 0, 9);
    receive(9, &f);
    expect_malformed(9, "digest out of turn or order");
    CU_ASSERT_EQUAL(sent_count, 0);
    tear_down();

    set_up();
    f.body.bundle_digest.entries_count = 1;
    link_up(9, 0, 9);
    receive(9, &f);
    receive(9, &f); /* once a link */
    expect_malformed(9, "digest out of turn or order");
    tear_down();

    set_up();
    f.body.bundle_digest.entries[0].version = 0;
    link_up(9, 0, 9);
    receive(9, &f);
    expect_malformed(9, "digest out of turn or order");
    tear_down();

    set_up();
    link_up(9, 0, 9);
    receive(9, &w); /* who accepted wants nothing */
    expect_malformed(9, "want out of turn");
    tear_down();

    set_up();
    items.body.bundle_items.bundles_count = 1;
    link_up(9, 0, 9);
    receive(9, &items);
    expect_malformed(9, "nobody asked for");
    tear_down();

    set_up();
    link_up(9, 0, 9);
    receive(9, &ping);
    expect_malformed(9, "not a frame of a bundle link");
    receive(9, &ping); /* it was on its way: no harm */
    CU_ASSERT_EQUAL(bundle_sync_stats(sync)->frames_stranger, 1);
    tear_down();
}

/* An exchange that this node dialed, up to the digest it sent. */
static void begin_exchange(void)
{
    neighbor(1);
    neighbor(200); /* a higher id: ours to dial */
    run(now + BUNDLE_DELAY_MS);
    link_up(20, dialed, 200);
    CU_ASSERT_PTR_NOT_NULL(find_sent(20, argus_Frame_bundle_digest_tag));
}

/* Goal: what comes by a first exchange is taken, its content fetched over the
 * same link, and it is not broadcast again; by a later one it is. */
static void test_exchange_brings_bundles(void)
{
    argus_Frame items = {.which_body = argus_Frame_bundle_items_tag};
    argus_Frame w = {.which_body = argus_Frame_bundle_want_tag};

    set_up();
    begin_exchange();
    items.body.bundle_items.bundles_count = 2;
    items.body.bundle_items.bundles[0] = make("a", 3, 100, &elsewhere);
    items.body.bundle_items.bundles[1] = make("b", 1, 40000, &elsewhere);
    receive(20, &items);
    CU_ASSERT_EQUAL(bundles_slots_count(bundles), 2);
    answer_all(20);
    receive(20, &w);
    CU_ASSERT_EQUAL(bundle_sync_fetches(sync), 0);
    run(now + 100);
    CU_ASSERT_EQUAL(broadcasts, 0);
    CU_ASSERT_EQUAL(bundle_sync_stats(sync)->syncs_done, 1);

    argus_Frame digest = {.which_body = argus_Frame_bundle_digest_tag};
    uint8_t id[16];
    argus_SignedBundle c = make("c", 1, 100, &elsewhere);
    CU_ASSERT_TRUE(bundles_slot_of(bundles, &c, id));
    add_entry(&digest.body.bundle_digest, id, 1);
    link_up(9, 0, 9);
    receive(9, &digest);
    items.body.bundle_items.bundles_count = 1;
    items.body.bundle_items.bundles[0] = c;
    receive(9, &items);
    CU_ASSERT_EQUAL(bundles_slots_count(bundles), 3);
    run(now + 100);
    CU_ASSERT_EQUAL(broadcasts, 1);
    CU_ASSERT_EQUAL(bundle_sync_stats(sync)->syncs_done, 2);
    answer_all(9);
    CU_ASSERT_EQUAL(bundle_sync_fetches(sync), 0);
    tear_down();
}

/* Goal: a bundle signed wrongly ends the exchange. */
static void test_exchange_of_forged_bundles(void)
{
    argus_Frame items = {.which_body = argus_Frame_bundle_items_tag};

    set_up();
    begin_exchange();
    items.body.bundle_items.bundles_count = 1;
    items.body.bundle_items.bundles[0] = make("a", 3, 100, &elsewhere);
    items.body.bundle_items.bundles[0].signature[1] ^= 1;
    receive(20, &items);
    expect_malformed(20, "signed wrongly");
    CU_ASSERT_EQUAL(bundles_slots_count(bundles), 0);
    CU_ASSERT_EQUAL(bundle_sync_stats(sync)->syncs_failed, 1);
    tear_down();
}

/* Goal: links are bounded; the newer of one node takes over; an idle one is
 * closed; a needed dial takes the place of one that only lingers. */
static void test_links_are_bounded(void)
{
    set_up();
    for (uint32_t i = 0; i < BUNDLE_IN_MAX + 3; i++) {
        closed = 0;
        link_up(100 + i, 0, (uint8_t)(1 + i));
        CU_ASSERT_EQUAL(closed != 0, i >= BUNDLE_IN_MAX);
    }
    CU_ASSERT_EQUAL(close_code, argus_RefuseCode_REFUSE_BUSY);
    CU_ASSERT_EQUAL(bundle_sync_stats(sync)->links_refused, 3);
    link_up(999, 0, 5);
    CU_ASSERT_EQUAL(closed, 104);
    CU_ASSERT_EQUAL(close_code, argus_RefuseCode_REFUSE_REPLACED);
    run(now + BUNDLE_IDLE_MS);
    CU_ASSERT_EQUAL(sync->sessions_count, 0);

    for (uint8_t i = 0; i < BUNDLE_OUT_MAX; i++) {
        neighbor((uint8_t)(101 + i));
        run(now + 10); /* the exchange is due within BUNDLE_DELAY_MS */
    }
    run(now + BUNDLE_DELAY_MS);
    CU_ASSERT_EQUAL(sync->dialed_count, BUNDLE_OUT_MAX);
    argus_SignedBundle b = make("web", 1, 100, &elsewhere);
    dials = 0;
    struct bundle_slot *slot = hear(&b, 50);
    CU_ASSERT_EQUAL(dials, 0); /* all are under way */
    CU_ASSERT_FALSE(bundle_slot_head(slot)->is_complete);
    tear_down();
}

/* Goal: after a stop nothing is dialed and nobody served. */
static void test_stop_is_quiet(void)
{
    set_up();
    neighbor(1);
    bundle_sync_stop(sync);
    argus_SignedBundle b = make("web", 1, 100, &elsewhere);
    (void)hear(&b, 1);
    link_up(9, 0, 9);
    CU_ASSERT_EQUAL(dials, 0);
    CU_ASSERT_EQUAL(closed, 9);
    CU_ASSERT_EQUAL(bundle_sync_deadline_ms(sync), UINT64_MAX);
    tear_down();
}

CU_TestInfo suite_bundle_sync[] = {
    {"fetch_from_who_told", test_fetch_from_who_told},
    {"fetch_goes_around", test_fetch_goes_around},
    {"hostile_chunks", test_hostile_chunks},
    {"wants_wait_for_their_chunk", test_wants_wait_for_their_chunk},
    {"full_store_pauses", test_full_store_pauses},
    {"fetch_follows_the_head", test_fetch_follows_the_head},
    {"digest_is_answered", test_digest_is_answered},
    {"hostile_digests", test_hostile_digests},
    {"exchange_brings_bundles", test_exchange_brings_bundles},
    {"exchange_of_forged_bundles", test_exchange_of_forged_bundles},
    {"links_are_bounded", test_links_are_bounded},
    {"stop_is_quiet", test_stop_is_quiet},
    CU_TEST_INFO_NULL,
};
