#include "test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "folder.h"
#include "runtime/security.h"
#include "runtime/tls.h"

static char folder[256], path[300], last_line[LOG_LINE_SIZE];

static void keep_line(enum log_level level, const char *line)
{
    (void)level;
    (void)strcpy(last_line, line);
}

static struct keyring ring_of(const char *bytes)
{
    struct keyring ring = {.count = 0};
    uint8_t secret[MESH_KEY_SIZE];

    for (; *bytes != '\0'; bytes++) {
        memset(secret, *bytes, sizeof secret);
        mesh_key_of(secret, &ring.keys[ring.count++]);
    }
    return ring;
}

static bool is_ring(const struct keyring *ring, const char *bytes)
{
    if (ring == NULL || ring->count != strlen(bytes))
        return false;
    for (unsigned i = 0; i < ring->count; i++)
        if (ring->keys[i].secret[0] != (uint8_t)bytes[i])
            return false;
    return true;
}

static void write_ring(const char *bytes)
{
    struct keyring ring = ring_of(bytes);

    CU_ASSERT_EQUAL_FATAL(keyring_write(path, &ring, NULL), ARGUS_OK);
}

static struct security *begin(const char *bytes)
{
    const struct security_options options = {path, "", "", "", "", "a"};
    struct security *s = NULL;

    log_set_sink(keep_line);
    last_line[0] = '\0';
    folder_make(folder);
    (void)snprintf(path, sizeof path, "%s/ring", folder);
    write_ring(bytes);
    CU_ASSERT_EQUAL_FATAL(security_open(&options, &s, NULL), ARGUS_OK);
    return s;
}

static void end(struct security *s)
{
    security_close(s);
    folder_remove(folder);
    log_set_sink(NULL);
}

/* Goal: a new key in the file is in force without a restart; a broken file is
 * told once and changes nothing. */
static void test_security_reloads(void)
{
    struct security *s = begin("A");
    const struct tls_context *before = security_context(s);

    CU_ASSERT_FALSE(security_poll(s));
    write_ring("BA");
    CU_ASSERT_TRUE(security_poll(s));
    CU_ASSERT_TRUE(is_ring(security_keyring(s), "BA"));
    CU_ASSERT_PTR_NOT_EQUAL(security_context(s), before);
    CU_ASSERT_FALSE(security_poll(s));

    CU_ASSERT_TRUE(file_write(folder, "ring", "rubbish\n", 8));
    CU_ASSERT_FALSE(security_poll(s));
    CU_ASSERT_PTR_NOT_NULL(strstr(last_line, "line 1"));
    last_line[0] = '\0';
    CU_ASSERT_FALSE(security_poll(s));
    CU_ASSERT_STRING_EQUAL(last_line, "");
    CU_ASSERT_TRUE(is_ring(security_keyring(s), "BA"));
    CU_ASSERT_EQUAL(security_stats(s)->reloads_failed, 1);
    end(s);
}

static argus_KeyringOrder order_of(const char *by, char added, char dial,
                                   const char *removed)
{
    struct keyring ring = ring_of(by);
    argus_KeyringOrder order = {.added_count = added != '\0'};

    if (added != '\0') {
        struct keyring fresh = ring_of((char[]){added, '\0'});
        CU_ASSERT_EQUAL(keyring_wrap(&ring, &fresh.keys[0], &order.added[0]),
                        ARGUS_OK);
    }
    if (dial != '\0') {
        struct keyring first = ring_of((char[]){dial, '\0'});
        order.dial.size = MESH_KEY_ID_SIZE;
        memcpy(order.dial.bytes, first.keys[0].id, MESH_KEY_ID_SIZE);
    }
    struct keyring gone = ring_of(removed);
    for (unsigned i = 0; i < gone.count; i++)
        memcpy(order.removed[order.removed_count++], gone.keys[i].id,
               MESH_KEY_ID_SIZE);
    return order;
}

/* Goal: an order rewrites the file, and outranks a file that somebody puts back
 * later. */
static void test_security_obeys(void)
{
    struct security *s = begin("A");
    argus_KeyringOrder order = order_of("A", 'B', 'B', "A");
    struct keyring ring;

    CU_ASSERT_TRUE(security_obey(s, &order));
    CU_ASSERT_TRUE(is_ring(security_keyring(s), "B"));
    CU_ASSERT_EQUAL(keyring_read(path, &ring, NULL), ARGUS_OK);
    CU_ASSERT_TRUE(is_ring(&ring, "B"));
    CU_ASSERT_FALSE(security_poll(s)); /* our own writing is no change */
    CU_ASSERT_FALSE(security_obey(s, &order));

    write_ring("AC");
    CU_ASSERT_TRUE(security_poll(s));
    CU_ASSERT_TRUE(is_ring(security_keyring(s), "BC"));
    CU_ASSERT_EQUAL(keyring_read(path, &ring, NULL), ARGUS_OK);
    CU_ASSERT_TRUE(is_ring(&ring, "BC"));
    end(s);
}

/* Goal: where the file cannot be written, the order holds in memory, and that
 * is told. */
static void test_security_order_unwritten(void)
{
    struct security *s = begin("A");
    argus_KeyringOrder order = order_of("A", 'B', '\0', "");

    char blocked[320];
    (void)snprintf(blocked, sizeof blocked, "%s.new", path);
    CU_ASSERT_EQUAL(mkdir(blocked, 0700), 0); /* where the new file would be */
    CU_ASSERT_TRUE(security_obey(s, &order));
    CU_ASSERT_TRUE(is_ring(security_keyring(s), "AB"));
    CU_ASSERT_EQUAL(security_stats(s)->keyring_unwritten, 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(last_line, "cannot be written"));
    (void)remove(blocked);
    end(s);
}

/* Goal: without paths there is nothing, and asking for it is harmless. */
static void test_security_without_keys(void)
{
    const struct security_options options = {"", "", "", "", "", "a"};
    argus_KeyringOrder order = {.added_count = 0};
    struct security *s = (struct security *)1;

    CU_ASSERT_EQUAL(security_open(&options, &s, NULL), ARGUS_OK);
    CU_ASSERT_PTR_NULL(s);
    CU_ASSERT_PTR_NULL(security_context(s));
    CU_ASSERT_PTR_NULL(security_keyring(s));
    CU_ASSERT_FALSE(security_poll(s));
    CU_ASSERT_FALSE(security_obey(s, &order));
    CU_ASSERT_EQUAL(security_stats(s)->keys_reloaded, 0);
}

CU_TestInfo suite_security[] = {
    {"reloads", test_security_reloads},
    {"obeys", test_security_obeys},
    {"order_unwritten", test_security_order_unwritten},
    {"without_keys", test_security_without_keys},
    CU_TEST_INFO_NULL,
};
