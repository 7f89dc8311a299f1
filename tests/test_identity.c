#include "test.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include <pb_encode.h>

#include "folder.h"
#include "runtime/hash_tree.h"
#include "runtime/identity.h"

static argus_Statement statement, opened;
static uint8_t sealed[SEALED_SIZE_MAX];

static size_t seal_event(struct identity *identity, const char *message)
{
    struct seal seal = identity_seal(identity);

    memset(&statement, 0, sizeof statement);
    statement.which_body = argus_Statement_event_tag;
    statement.body.event.number = 7;
    (void)strcpy(statement.body.event.message, message);
    return seal.close(seal.context, &statement, sealed);
}

/* Goal: the key is made once, private, and is the same after a restart. */
static void test_identity_survives_restart(void)
{
    char dir[256], path[300];
    struct argus_error err = {{0}};
    struct identity *a, *b;
    struct stat st;

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(identity_open(dir, "prod", &a, &err), ARGUS_OK);
    (void)snprintf(path, sizeof path, "%s/identity.pem", dir);
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
    CU_ASSERT_FALSE(file_exists(dir, "identity.pem.new"));
    CU_ASSERT_EQUAL_FATAL(identity_open(dir, "prod", &b, &err), ARGUS_OK);
    CU_ASSERT_TRUE(node_id_is_equal(identity_id(a), identity_id(b)));
    CU_ASSERT_FALSE(node_id_is_zero(identity_id(a)));
    identity_free(a);
    identity_free(b);
    folder_remove(dir);
}

/* Goal: whoever holds no key of A can neither speak for A nor change a word,
 * and a statement of one cluster is worth nothing in another. */
static void test_identity_seal_is_checked(void)
{
    struct argus_error err = {{0}};
    struct identity *a, *b, *other;
    struct node_id author;

    CU_ASSERT_EQUAL_FATAL(identity_open(NULL, "prod", &a, &err), ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(identity_open(NULL, "prod", &b, &err), ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(identity_open(NULL, "test", &other, &err), ARGUS_OK);
    struct seal seal = identity_seal(b), elsewhere = identity_seal(other);

    size_t size = seal_event(a, "hello");
    CU_ASSERT_TRUE_FATAL(size > 0);
    CU_ASSERT_TRUE(seal.open(seal.context, sealed, size, &opened, &author));
    CU_ASSERT_TRUE(node_id_is_equal(&author, identity_id(a)));
    CU_ASSERT_EQUAL(opened.body.event.number, 7);
    CU_ASSERT_STRING_EQUAL(opened.body.event.message, "hello");
    CU_ASSERT_FALSE(
        elsewhere.open(elsewhere.context, sealed, size, &opened, &author));

    unsigned passed = 0;
    for (size_t i = 0; i < size; i++) { /* every byte, flipped or cut off */
        sealed[i] ^= 1;
        passed += seal.open(seal.context, sealed, size, &opened, &author) &&
                  node_id_is_equal(&author, identity_id(a));
        sealed[i] ^= 1;
        passed += seal.open(seal.context, sealed, i, &opened, &author);
    }
    CU_ASSERT_EQUAL(passed, 0);

    uint8_t one[CONTENT_ID_SIZE], two[CONTENT_ID_SIZE];
    seal.hash((const uint8_t *)"abc", 3, one);
    elsewhere.hash((const uint8_t *)"abc", 3, two);
    CU_ASSERT_EQUAL(memcmp(one, two, sizeof one), 0);
    CU_ASSERT_EQUAL(one[0], 0xba); /* SHA-256("abc") begins ba7816bf */
    CU_ASSERT_EQUAL(one[3], 0xbf);
    uint8_t whole[32]; /* ... and ends f20015ad */
    seal.digest((const uint8_t *)"abc", 3, whole);
    CU_ASSERT_EQUAL(memcmp(one, whole, sizeof one), 0);
    CU_ASSERT_EQUAL(whole[31], 0xad);
    identity_free(a);
    identity_free(b);
    identity_free(other);
}

struct batch {
    uint8_t packed[SEAL_BATCH_MAX][SEALED_SIZE_MAX];
    size_t size[SEAL_BATCH_MAX];
    uint32_t count;
};

static void keep_packed(void *context, uint32_t index, const uint8_t *data,
                        size_t size)
{
    struct batch *b = context;

    CU_ASSERT_EQUAL_FATAL(index, b->count);
    memcpy(b->packed[index], data, size);
    b->size[index] = size;
    b->count++;
}

static void seal_batch(struct identity *identity, uint32_t count,
                       struct batch *b)
{
    struct seal seal = identity_seal(identity);
    uint8_t encoded[SEAL_BATCH_MAX][64];
    struct seal_part parts[SEAL_BATCH_MAX];

    b->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        pb_ostream_t out = pb_ostream_from_buffer(encoded[i], 64);
        memset(&statement, 0, sizeof statement);
        statement.which_body = argus_Statement_event_tag;
        statement.body.event.number = i + 1;
        CU_ASSERT_TRUE(pb_encode(&out, argus_Statement_fields, &statement));
        parts[i] = (struct seal_part){encoded[i], out.bytes_written};
    }
    CU_ASSERT_TRUE(seal.close_all(seal.context, parts, count, keep_packed, b));
    CU_ASSERT_EQUAL(b->count, count);
}

/* Goal: of statements that share a signature each is checked by itself, in any
 * order, in its cluster alone, and none of its bytes can be changed. */
static void test_identity_batch_is_checked(void)
{
    static struct batch b;
    struct argus_error err = {{0}};
    struct identity *a, *reader, *other;
    struct node_id author;
    unsigned passed = 0;

    CU_ASSERT_EQUAL_FATAL(identity_open(NULL, "prod", &a, &err), ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(identity_open(NULL, "prod", &reader, &err), ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(identity_open(NULL, "test", &other, &err), ARGUS_OK);
    struct seal seal = identity_seal(reader), elsewhere = identity_seal(other);

    for (uint32_t count = 1; count <= SEAL_BATCH_MAX; count++) {
        seal_batch(a, count, &b);
        for (uint32_t i = count; i-- > 0;) {
            CU_ASSERT_TRUE(seal.open(seal.context, b.packed[i], b.size[i],
                                     &opened, &author));
            CU_ASSERT_EQUAL(opened.body.event.number, i + 1);
            CU_ASSERT_TRUE(node_id_is_equal(&author, identity_id(a)));
            CU_ASSERT_FALSE(elsewhere.open(elsewhere.context, b.packed[i],
                                           b.size[i], &opened, &author));
        }
        for (size_t i = 0; i < b.size[0]; i++) { /* its root is known by now */
            b.packed[0][i] ^= 1;
            passed += seal.open(seal.context, b.packed[0], b.size[0], &opened,
                                &author) &&
                      node_id_is_equal(&author, identity_id(a));
            b.packed[0][i] ^= 1;
        }
    }
    CU_ASSERT_EQUAL(passed, 0);
    identity_free(a);
    identity_free(reader);
    identity_free(other);
}

/* Goal: paths and places that no tree has are refused. */
static void test_identity_paths_are_bounded(void)
{
    uint8_t leaf[HASH_TREE_HASH] = {1}, root[HASH_TREE_HASH];
    uint8_t path[(HASH_TREE_LEVELS + 1) * HASH_TREE_HASH] = {0};

    CU_ASSERT_TRUE(hash_tree_climb(leaf, path, 64, 15, root));
    CU_ASSERT_FALSE(hash_tree_climb(leaf, path, 64, 16, root));
    CU_ASSERT_FALSE(hash_tree_climb(leaf, path, 63, 0, root));
    CU_ASSERT_FALSE(hash_tree_climb(leaf, path, 80, 0, root));
    CU_ASSERT_FALSE(hash_tree_climb(leaf, path, 0, 1, root));
    CU_ASSERT_TRUE(hash_tree_climb(leaf, path, 0, 0, root));
    CU_ASSERT_EQUAL(memcmp(leaf, root, sizeof leaf), 0);
}

/* Goal: a damaged key stops the start and is left for the operator; a renewed
 * one keeps the old file beside it and signs under the new id. */
static void test_identity_damaged_and_renewed(void)
{
    char dir[256], text[64];
    struct argus_error err = {{0}};
    struct identity *a, *again;
    struct node_id old, author;

    folder_make(dir);
    CU_ASSERT_TRUE(file_write(dir, "identity.pem", "no key", 6));
    CU_ASSERT_EQUAL(identity_open(dir, "prod", &a, &err), ARGUS_ECORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, dir));
    CU_ASSERT_EQUAL(file_read(dir, "identity.pem", text, sizeof text), 6);
    folder_remove(dir);

    folder_make(dir);
    CU_ASSERT_EQUAL_FATAL(identity_open(dir, "prod", &a, &err), ARGUS_OK);
    struct seal seal = identity_seal(a);
    for (int i = 0; i < 2; i++) {
        old = *identity_id(a);
        CU_ASSERT_EQUAL(identity_renew(a, &err), ARGUS_OK);
        CU_ASSERT_FALSE(node_id_is_equal(&old, identity_id(a)));
    }
    CU_ASSERT_TRUE(file_exists(dir, "identity.pem.cloned-1"));
    CU_ASSERT_TRUE(file_exists(dir, "identity.pem.cloned-2"));
    size_t size = seal_event(a, "me");
    CU_ASSERT_TRUE(seal.open(seal.context, sealed, size, &opened, &author));
    CU_ASSERT_TRUE(node_id_is_equal(&author, identity_id(a)));
    CU_ASSERT_EQUAL_FATAL(identity_open(dir, "prod", &again, &err), ARGUS_OK);
    CU_ASSERT_TRUE(node_id_is_equal(identity_id(a), identity_id(again)));
    identity_free(again);

    /* The folder is gone: a new identity all the same, in memory. */
    folder_remove(dir);
    old = *identity_id(a);
    CU_ASSERT_EQUAL(identity_renew(a, &err), ARGUS_EIO);
    CU_ASSERT_FALSE(node_id_is_equal(&old, identity_id(a)));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "identity.pem"));
    identity_free(a);
}

CU_TestInfo suite_identity[] = {
    {"survives_restart", test_identity_survives_restart},
    {"seal_is_checked", test_identity_seal_is_checked},
    {"batch_is_checked", test_identity_batch_is_checked},
    {"paths_are_bounded", test_identity_paths_are_bounded},
    {"damaged_and_renewed", test_identity_damaged_and_renewed},
    CU_TEST_INFO_NULL,
};
