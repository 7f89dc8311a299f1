#include "test.h"

#include <string.h>

#include <pb_decode.h>

#include "sim/bundle_kit.h"

static struct kit_chunks chunks;
static argus_Manifest manifest;

static void set_up(uint32_t size, uint32_t file_size)
{
    argus_SignedBundle bundle;
    struct kit_spec spec = {.name = "x",
                            .version = 1,
                            .size = size,
                            .file_size = file_size,
                            .seed = 4711};

    kit_chunks_clear(&chunks);
    kit_pool_free(chunks.pool);
    chunks.pool = kit_pool_new();
    kit_make(&spec, &chunks, &bundle);
    pb_istream_t in =
        pb_istream_from_buffer(bundle.manifest.bytes, bundle.manifest.size);
    CU_ASSERT_TRUE_FATAL(pb_decode(&in, argus_Manifest_fields, &manifest));
}

static void tear_down(void)
{
    kit_chunks_clear(&chunks);
    kit_pool_free(chunks.pool);
    chunks.pool = NULL;
}

/* Goal: files come out as they went in, read in pieces of any size, across the
 * borders of chunks and files. */
static void test_content_reads_in_any_pieces(void)
{
    static const uint32_t sizes[][2] = {
        {1, 0},           {32768, 0},     {32769, 0},    {32767, 2},
        {100, 32768 * 3}, {1 << 20, 777}, {65536, 65536}};
    static uint8_t whole[(1 << 20) + 777], piece[100000];
    struct chunk_store store;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        set_up(sizes[i][0], sizes[i][1]);
        store = kit_store(&chunks);
        size_t size = sizes[i][0] + sizes[i][1], steps[] = {1000, 32768, 99999};
        uint8_t hash[32];

        CU_ASSERT_EQUAL(content_size(&manifest), size);
        CU_ASSERT_EQUAL(content_chunks(&manifest), (size + 32767) / 32768);
        CU_ASSERT_TRUE(content_is_complete(&store, &manifest, NULL));
        CU_ASSERT_EQUAL(content_read(&store, &manifest, 0, whole, size), size);
        kit_digest(whole, sizes[i][0], hash);
        CU_ASSERT_EQUAL(memcmp(hash, manifest.files[0].sha256, 32), 0);
        for (size_t k = 0; k < 3; k++) {
            size_t at = 0, n;
            while ((n = content_read(&store, &manifest, at, piece, steps[k])) >
                   0) {
                CU_ASSERT_EQUAL(memcmp(piece, whole + at, n), 0);
                at += n;
            }
            CU_ASSERT_EQUAL(at, size);
        }
        CU_ASSERT_EQUAL(content_read(&store, &manifest, size, piece, 1), 0);
    }
    tear_down();
}

/* Goal: what is missing is named, the index first, and nothing is read across
 * a gap. */
static void test_content_missing_is_named(void)
{
    static uint8_t index[CONTENT_CHUNK_SIZE], out[100000];
    uint8_t missing[32];

    set_up(100000, 0);
    struct chunk_store store = kit_store(&chunks);
    CU_ASSERT_TRUE(content_index(&store, &manifest, index));
    store.drop(store.context, index + 2 * 32);
    CU_ASSERT_FALSE(content_is_complete(&store, &manifest, missing));
    CU_ASSERT_EQUAL(memcmp(missing, index + 2 * 32, 32), 0);
    CU_ASSERT_EQUAL(content_read(&store, &manifest, 0, out, sizeof out), 65536);
    CU_ASSERT_EQUAL(content_read(&store, &manifest, 65536, out, 1), 0);
    CU_ASSERT_EQUAL(content_read(&store, &manifest, 98304, out, 9999), 1696);

    store.drop(store.context, manifest.index.bytes);
    CU_ASSERT_FALSE(content_is_complete(&store, &manifest, missing));
    CU_ASSERT_EQUAL(memcmp(missing, manifest.index.bytes, 32), 0);
    CU_ASSERT_EQUAL(content_read(&store, &manifest, 0, out, 1), 0);
    tear_down();
}

/* Goal: sizes that a signer made up lead nowhere. */
static void test_content_absurd_sizes(void)
{
    uint8_t out[64];

    set_up(100000, 10);
    struct chunk_store store = kit_store(&chunks);
    manifest.files[0].size = UINT32_MAX;
    manifest.files[1].size = UINT32_MAX;
    CU_ASSERT_EQUAL(content_size(&manifest), 2 * (uint64_t)UINT32_MAX);
    CU_ASSERT_EQUAL(content_chunks(&manifest), 1024);
    CU_ASSERT_FALSE(content_is_complete(&store, &manifest, NULL));
    CU_ASSERT_EQUAL(content_read(&store, &manifest, 0, out, sizeof out), 0);
    manifest.files[0].size = 40000; /* two chunks; the index has four */
    manifest.files[1].size = 10;
    CU_ASSERT_EQUAL(content_read(&store, &manifest, 0, out, sizeof out), 0);
    CU_ASSERT_FALSE(content_is_complete(&store, &manifest, NULL));
    tear_down();
}

CU_TestInfo suite_content[] = {
    {"content_reads_in_any_pieces", test_content_reads_in_any_pieces},
    {"content_missing_is_named", test_content_missing_is_named},
    {"content_absurd_sizes", test_content_absurd_sizes},
    CU_TEST_INFO_NULL,
};
