#include "test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "folder.h"
#include "runtime/keyring.h"

/* Keys made of one byte each. */
static struct mesh_key key_of(uint8_t byte)
{
    uint8_t secret[MESH_KEY_SIZE];
    struct mesh_key key;

    memset(secret, byte, sizeof secret);
    mesh_key_of(secret, &key);
    return key;
}

static struct keyring ring_of(const char *bytes)
{
    struct keyring ring = {.count = 0};

    for (; *bytes != '\0'; bytes++)
        ring.keys[ring.count++] = key_of((uint8_t)*bytes);
    return ring;
}

/* The first bytes of the secrets, in order. */
static const char *text_of(const struct keyring *ring)
{
    static char text[KEYRING_MAX + 1];

    for (unsigned i = 0; i < ring->count; i++)
        text[i] = (char)ring->keys[i].secret[0];
    text[ring->count] = '\0';
    return text;
}

#define LINE_A "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define LINE_B "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="

/* Goal: comments, blanks and line ends of any kind do not matter; the order
 * does. */
static void test_keyring_text_is_parsed(void)
{
    static const char text[] = "# first\n\n  " LINE_B " # dials\r\n\t" LINE_A;
    struct argus_error err = {{0}};
    struct keyring ring;

    CU_ASSERT_EQUAL_FATAL(
        keyring_parse(text, sizeof text - 1, "x", &ring, &err), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(text_of(&ring), "BA");
    CU_ASSERT_PTR_NOT_NULL(keyring_find(&ring, key_of('A').id));
    CU_ASSERT_PTR_NULL(keyring_find(&ring, key_of('C').id));
}

/* Goal: what is no keyring is refused with the line, and no key is shown. */
static void test_keyring_bad_text_is_refused(void)
{
    static const struct {
        const char *text, *complaint;
    } cases[] = {
        {"", "holds no key"},
        {"# only words\n", "holds no key"},
        {"secret\n", "line 1 of x is no key"},
        {LINE_A "\n" LINE_A "\n", "line 2 of x holds a key that stands above"},
        {LINE_A LINE_B "\n", "line 1 of x is no key"},
        {"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB====\n", "is no key"},
        {"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB\n", "is no key"},
        {"\n\n!UFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=", "line 3"},
    };
    struct argus_error err;
    struct keyring ring = {.count = 7};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CU_ASSERT_EQUAL(keyring_parse(cases[i].text, strlen(cases[i].text), "x",
                                      &ring, &err),
                        ARGUS_ECORRUPT);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].complaint));
        CU_ASSERT_PTR_NULL(strstr(err.text, "QUFB"));
        CU_ASSERT_EQUAL(ring.count, 7); /* untouched */
    }
}

/* Goal: nine keys are one too many. */
static void test_keyring_is_bounded(void)
{
    struct argus_error err;
    char folder[256], path[300], text[1024];
    struct keyring ring = ring_of("ABCDEFGH"), read;

    folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/ring", folder);
    CU_ASSERT_EQUAL(keyring_write(path, &ring, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(keyring_read(path, &read, &err), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(text_of(&read), "ABCDEFGH");
    long size = file_read(folder, "ring", text, sizeof text - 64);
    CU_ASSERT_FATAL(size > 0);
    (void)strcpy(text + size, "SUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlJSUk=");
    CU_ASSERT_EQUAL(keyring_parse(text, strlen(text), "x", &read, &err),
                    ARGUS_ECORRUPT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "one key too many"));
    folder_remove(folder);
}

/* Goal: a file that everyone may read is no secret; rewriting keeps the mode.
 */
static void test_keyring_file_modes(void)
{
    struct argus_error err;
    char folder[256], path[300];
    struct keyring ring = ring_of("A"), read;
    struct stat st;

    folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/ring", folder);
    CU_ASSERT_EQUAL(keyring_read(path, &read, &err), ARGUS_EIO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, path));
    CU_ASSERT_EQUAL(keyring_write(path, &ring, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
    CU_ASSERT_EQUAL(chmod(path, 0640), 0);
    CU_ASSERT_EQUAL(keyring_read(path, &read, &err), ARGUS_OK);
    ring = ring_of("BA");
    CU_ASSERT_EQUAL(keyring_write(path, &ring, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0640);
    CU_ASSERT_EQUAL(chmod(path, 0644), 0);
    CU_ASSERT_EQUAL(keyring_read(path, &read, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "chmod 600"));
    CU_ASSERT_EQUAL(keyring_read(folder, &read, &err), ARGUS_ECORRUPT);
    folder_remove(folder);
}

/* Goal: rotation, step by step, on a node that knows only the first key. */
static void test_keyring_rotates(void)
{
    struct keyring operator_ring = ring_of("A"), ring = ring_of("A");
    struct mesh_key fresh = key_of('B');
    argus_KeyringOrder order = {.added_count = 1};
    struct keyring_change change;

    CU_ASSERT_EQUAL(keyring_wrap(&operator_ring, &fresh, &order.added[0]),
                    ARGUS_OK);
    change = keyring_obey(&ring, &order);
    CU_ASSERT_TRUE(change.has_changed);
    CU_ASSERT_STRING_EQUAL(text_of(&ring), "AB");
    change = keyring_obey(&ring, &order); /* once more: nothing is new */
    CU_ASSERT_FALSE(change.has_changed);

    order.dial.size = MESH_KEY_ID_SIZE;
    memcpy(order.dial.bytes, fresh.id, MESH_KEY_ID_SIZE);
    CU_ASSERT_TRUE(keyring_obey(&ring, &order).has_changed);
    CU_ASSERT_STRING_EQUAL(text_of(&ring), "BA");

    order.removed_count = 1;
    memcpy(order.removed[0], key_of('A').id, MESH_KEY_ID_SIZE);
    CU_ASSERT_TRUE(keyring_obey(&ring, &order).has_changed);
    CU_ASSERT_STRING_EQUAL(text_of(&ring), "B");
    CU_ASSERT_FALSE(keyring_obey(&ring, &order).has_changed);

    /* Who slept through all of it does the three steps at once. */
    struct keyring late = ring_of("AX");
    CU_ASSERT_TRUE(keyring_obey(&late, &order).has_changed);
    CU_ASSERT_STRING_EQUAL(text_of(&late), "BX");
}

/* Goal: an order that cannot be done is told, and never leaves a node without
 * a key. Sealed by a key not held; damaged; under another id; no room; the last
 * key removed. */
static void test_keyring_order_that_fails(void)
{
    struct keyring stranger = ring_of("S"), ring = ring_of("A");
    struct mesh_key fresh = key_of('B');
    argus_KeyringOrder order = {.added_count = 1};

    CU_ASSERT_EQUAL(keyring_wrap(&stranger, &fresh, &order.added[0]), ARGUS_OK);
    CU_ASSERT_EQUAL(keyring_obey(&ring, &order).unknown, 1);
    CU_ASSERT_EQUAL(keyring_wrap(&ring, &fresh, &order.added[0]), ARGUS_OK);
    for (size_t i = 0; i < MESH_KEY_SEALED_SIZE; i++) {
        order.added[0].sealed[i] ^= 1;
        CU_ASSERT_EQUAL(keyring_obey(&ring, &order).unknown, 1);
        order.added[0].sealed[i] ^= 1;
    }
    order.added[0].id[3] ^= 1;
    CU_ASSERT_EQUAL(keyring_obey(&ring, &order).unknown, 1);
    order.added[0].id[3] ^= 1;
    CU_ASSERT_STRING_EQUAL(text_of(&ring), "A");

    struct keyring full = ring_of("ACDEFGHI");
    CU_ASSERT_EQUAL(keyring_obey(&full, &order).no_room, 1);
    CU_ASSERT_EQUAL(full.count, KEYRING_MAX);

    order = (argus_KeyringOrder){.removed_count = 1};
    memcpy(order.removed[0], key_of('A').id, MESH_KEY_ID_SIZE);
    order.dial.size = MESH_KEY_ID_SIZE;
    memcpy(order.dial.bytes, fresh.id, MESH_KEY_ID_SIZE);
    struct keyring_change change = keyring_obey(&ring, &order);
    CU_ASSERT_TRUE(change.is_last_kept);
    CU_ASSERT_TRUE(change.dial_unknown);
    CU_ASSERT_STRING_EQUAL(text_of(&ring), "A");
}

CU_TestInfo suite_keyring[] = {
    {"text_is_parsed", test_keyring_text_is_parsed},
    {"bad_text_is_refused", test_keyring_bad_text_is_refused},
    {"is_bounded", test_keyring_is_bounded},
    {"file_modes", test_keyring_file_modes},
    {"rotates", test_keyring_rotates},
    {"order_that_fails", test_keyring_order_that_fails},
    CU_TEST_INFO_NULL,
};
