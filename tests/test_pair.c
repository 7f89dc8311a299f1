#include "test.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/prng.h"
#include "wire/pair.h"

static uint8_t bytes[PAIR_MESSAGE_MAX];
static char name_long[PAIR_NAME_SIZE + 1]; /* one more than fits */
static char name_full[PAIR_NAME_SIZE];

static void set_up(void)
{
    memset(bytes, 0xee, sizeof bytes);
    memset(name_long, 'n', sizeof name_long - 1);
    memset(name_full, 'n', sizeof name_full - 1);
}

static const uint64_t numbers[2] = {UINT64_MAX, 42};

static struct pair_value value_of(void)
{
    return (struct pair_value){
        .names = {"host", "df", "root", "df_complex", "free"},
        .time = 1000,
        .interval = 10,
        .count = 2,
        .numbers = (const uint8_t *)numbers,
        .metas_count = 5,
    };
}

static const struct pair_meta metas_of[5] = {
    {.key = "text", .type = PAIR_META_STRING, .text = ""},
    {.key = "signed", .type = PAIR_META_SIGNED, .bits = (uint64_t)-7},
    {.key = "", .type = PAIR_META_UNSIGNED, .bits = UINT64_MAX},
    {.key = "double", .type = PAIR_META_DOUBLE, .bits = 0x3ff0000000000000},
    {.key = "bool", .type = PAIR_META_BOOLEAN, .bits = 1},
};

static struct pair_message message_of(size_t size)
{
    struct pair_message m = {0};

    CU_ASSERT_TRUE_FATAL(size > 0);
    CU_ASSERT_EQUAL_FATAL(pair_next(bytes, size, &m), (int)size);
    return m;
}

static void check_metas(const uint8_t *metas, uint32_t size, uint32_t count)
{
    const uint8_t *at = metas;
    struct pair_meta meta;

    CU_ASSERT_EQUAL_FATAL(count, 5);
    for (uint32_t i = 0; i < count; i++) {
        at += pair_meta_next(at, &meta);
        CU_ASSERT_EQUAL(meta.type, metas_of[i].type);
        CU_ASSERT_STRING_EQUAL(meta.key, metas_of[i].key);
        CU_ASSERT_EQUAL(meta.bits, metas_of[i].bits);
    }
    CU_ASSERT_EQUAL(at - metas, size);
}

/* Goal: what one end writes of itself the other end reads. */
static void test_pair_states_arrive(void)
{
    struct pair_message m;
    struct pair_hello hello;
    struct pair_ready ready;
    enum pair_phase phase;
    uint32_t number;
    const char *text;

    set_up();
    m = message_of(
        pair_put_hello(bytes, sizeof bytes,
                       &(struct pair_hello){PAIR_PROTOCOL, 4711, "0.1.0"}));
    CU_ASSERT_EQUAL(m.type, PAIR_HELLO);
    CU_ASSERT_TRUE(pair_read_hello(&m, &hello));
    CU_ASSERT_EQUAL(hello.protocol, PAIR_PROTOCOL);
    CU_ASSERT_EQUAL(hello.pid, 4711);
    CU_ASSERT_STRING_EQUAL(hello.version, "0.1.0");

    m = message_of(pair_put_phase(bytes, sizeof bytes, PAIR_PHASE_READ));
    CU_ASSERT_TRUE(pair_read_phase(&m, &phase));
    CU_ASSERT_EQUAL(phase, PAIR_PHASE_READ);
    CU_ASSERT_STRING_EQUAL(pair_phase_word(phase), "first read");
    CU_ASSERT_STRING_EQUAL(pair_phase_word(99), "unknown");

    m = message_of(pair_put_text(bytes, sizeof bytes, PAIR_FAILED,
                                 PAIR_PHASE_INIT, "it broke"));
    CU_ASSERT_TRUE(pair_read_text(&m, &number, &text));
    CU_ASSERT_EQUAL(number, PAIR_PHASE_INIT);
    CU_ASSERT_STRING_EQUAL(text, "it broke");
    m = message_of(
        pair_put_text(bytes, sizeof bytes, PAIR_REFUSED, 99, "not here"));
    CU_ASSERT_TRUE(pair_read_text(&m, &number, &text));
    CU_ASSERT_STRING_EQUAL(text, "not here");

    m = message_of(pair_put_ready(bytes, sizeof bytes,
                                  &(struct pair_ready){.failed_inits = 1,
                                                       .failed_reads = 2,
                                                       .errors = 3,
                                                       .is_late = true,
                                                       .has_writers = true,
                                                       .text = "first"}));
    CU_ASSERT_TRUE(pair_read_ready(&m, &ready));
    CU_ASSERT_EQUAL(ready.failed_inits, 1);
    CU_ASSERT_EQUAL(ready.failed_reads, 2);
    CU_ASSERT_EQUAL(ready.errors, 3);
    CU_ASSERT_TRUE(ready.is_late);
    CU_ASSERT_FALSE(ready.has_reads);
    CU_ASSERT_TRUE(ready.has_writers);
    CU_ASSERT_STRING_EQUAL(ready.text, "first");

    m = message_of(pair_put_plain(bytes, sizeof bytes, PAIR_STOP));
    CU_ASSERT_EQUAL(m.type, PAIR_STOP);
    CU_ASSERT_EQUAL(m.size, 0);
}

/* Goal: a value, its set and its meta data arrive bit by bit. */
static void test_pair_values_arrive(void)
{
    static struct pair_set set, got;
    struct pair_value v = value_of();
    struct pair_message m;

    set_up();
    m = message_of(pair_put_value(bytes, sizeof bytes, &v, metas_of));
    memset(&v, 0, sizeof v);
    CU_ASSERT_TRUE_FATAL(pair_read_value(&m, &v));
    CU_ASSERT_STRING_EQUAL(v.names[0], "host");
    CU_ASSERT_STRING_EQUAL(v.names[4], "free");
    CU_ASSERT_EQUAL(v.identity_size, sizeof "host\0df\0root\0df_complex\0free");
    CU_ASSERT_EQUAL(
        memcmp(v.identity, "host\0df\0root\0df_complex\0free", v.identity_size),
        0);
    CU_ASSERT_EQUAL(v.time, 1000);
    CU_ASSERT_EQUAL(v.interval, 10);
    CU_ASSERT_EQUAL(v.count, 2);
    CU_ASSERT_EQUAL(memcmp(v.numbers, numbers, sizeof numbers), 0);
    check_metas(v.metas, v.metas_size, v.metas_count);

    set = (struct pair_set){.type = "if_octets", .count = PAIR_SOURCES_MAX};
    for (uint32_t i = 0; i < set.count; i++)
        set.sources[i] =
            (struct pair_source){name_full, i % 4, -DBL_MAX, (double)NAN};
    m = message_of(pair_put_set(bytes, sizeof bytes, &set));
    CU_ASSERT_TRUE(pair_read_set(&m, &got));
    CU_ASSERT_STRING_EQUAL(got.type, "if_octets");
    CU_ASSERT_EQUAL_FATAL(got.count, PAIR_SOURCES_MAX);
    for (uint32_t i = 0; i < got.count; i++) {
        CU_ASSERT_STRING_EQUAL(got.sources[i].name, name_full);
        CU_ASSERT_EQUAL(got.sources[i].type, i % 4);
        CU_ASSERT_EQUAL(got.sources[i].min, -DBL_MAX);
        CU_ASSERT_TRUE(isnan(got.sources[i].max));
    }
}

/* Goal: the same for what goes beside values. */
static void test_pair_notices_arrive(void)
{
    struct pair_notification n = {
        .severity = 1,
        .time = 77,
        .names = {"h", "", "", "", "ti"},
        .message = "down",
        .metas_count = 5,
    };
    struct pair_flush flush;
    struct pair_message m;

    set_up();
    m = message_of(pair_put_notification(bytes, sizeof bytes, &n, metas_of));
    memset(&n, 0, sizeof n);
    CU_ASSERT_TRUE_FATAL(pair_read_notification(&m, &n));
    CU_ASSERT_EQUAL(n.severity, 1);
    CU_ASSERT_EQUAL(n.time, 77);
    CU_ASSERT_STRING_EQUAL(n.names[0], "h");
    CU_ASSERT_STRING_EQUAL(n.names[3], "");
    CU_ASSERT_STRING_EQUAL(n.message, "down");
    check_metas(n.metas, n.metas_size, n.metas_count);

    m = message_of(
        pair_put_flush(bytes, sizeof bytes, &(struct pair_flush){5, "h/df/x"}));
    CU_ASSERT_TRUE(pair_read_flush(&m, &flush));
    CU_ASSERT_EQUAL(flush.timeout, 5);
    CU_ASSERT_STRING_EQUAL(flush.identifier, "h/df/x");
}

/* Goal: nothing is written past the room, and what breaks a bound is not
 * written at all; sentences alone are cut. */
static void test_pair_writer_keeps_bounds(void)
{
    static char sentence[2 * PAIR_TEXT_SIZE];
    struct pair_value v = value_of();
    struct pair_message m;
    uint32_t number;
    const char *text;

    set_up();
    size_t size = pair_put_value(bytes, sizeof bytes, &v, metas_of);
    memset(bytes, 0xee, sizeof bytes);
    for (size_t room = 0; room < size; room++) {
        CU_ASSERT_EQUAL(pair_put_value(bytes, room, &v, metas_of), 0);
        CU_ASSERT_EQUAL(bytes[room], 0xee);
    }
    CU_ASSERT_EQUAL(pair_put_value(bytes, size, &v, metas_of), size);

    v.names[1] = name_full;
    CU_ASSERT_TRUE(pair_put_value(bytes, sizeof bytes, &v, metas_of) > 0);
    v.names[1] = name_long;
    CU_ASSERT_EQUAL(pair_put_value(bytes, sizeof bytes, &v, metas_of), 0);
    v = value_of();
    v.count = 0;
    CU_ASSERT_EQUAL(pair_put_value(bytes, sizeof bytes, &v, metas_of), 0);
    v.count = PAIR_SOURCES_MAX + 1;
    CU_ASSERT_EQUAL(pair_put_value(bytes, sizeof bytes, &v, metas_of), 0);
    v = value_of();
    v.metas_count = PAIR_METAS_MAX + 1;
    CU_ASSERT_EQUAL(pair_put_value(bytes, sizeof bytes, &v, metas_of), 0);
    v = value_of();
    v.names[3] = "";
    CU_ASSERT_EQUAL(pair_put_value(bytes, sizeof bytes, &v, metas_of), 0);

    memset(sentence, 's', sizeof sentence - 1);
    m = message_of(pair_put_text(bytes, sizeof bytes, PAIR_LOG, 3, sentence));
    CU_ASSERT_TRUE(pair_read_text(&m, &number, &text));
    CU_ASSERT_EQUAL(strlen(text), PAIR_TEXT_SIZE - 1);
    CU_ASSERT_EQUAL(
        pair_put_flush(bytes, sizeof bytes, &(struct pair_flush){5, sentence}),
        0);
}

/* Goal: a stretch of a stream is judged as soon as it can be. */
static void test_pair_stream_is_bounded(void)
{
    struct pair_message m;
    uint32_t follows;

    set_up();
    size_t one = pair_put_phase(bytes, sizeof bytes, PAIR_PHASE_RUN);
    size_t two = pair_put_plain(bytes + one, sizeof bytes - one, PAIR_BYE);
    for (size_t size = 0; size < one; size++)
        CU_ASSERT_EQUAL(pair_next(bytes, size, &m), 0);
    CU_ASSERT_EQUAL(pair_next(bytes, one + two, &m), (int)one);
    CU_ASSERT_EQUAL(pair_next(bytes + one, two, &m), (int)two);
    CU_ASSERT_EQUAL(m.type, PAIR_BYE);

    const uint32_t bad[] = {0, PAIR_MESSAGE_MAX - 3, PAIR_MESSAGE_MAX,
                            UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memcpy(bytes, &bad[i], sizeof bad[i]);
        CU_ASSERT_EQUAL(pair_next(bytes, sizeof bad[i], &m), -1);
    }
    follows = PAIR_MESSAGE_MAX - 4;
    memcpy(bytes, &follows, sizeof follows);
    bytes[4] = PAIR_VALUE;
    CU_ASSERT_EQUAL(pair_next(bytes, sizeof bytes - 1, &m), 0);
    CU_ASSERT_EQUAL(pair_next(bytes, sizeof bytes, &m), PAIR_MESSAGE_MAX);
    bytes[4] = 0;
    CU_ASSERT_EQUAL(pair_next(bytes, 5, &m), -1);
    bytes[4] = PAIR_STOP + 1;
    CU_ASSERT_EQUAL(pair_next(bytes, 5, &m), -1);
}

/* Read a message as whatever it says it is, and look at all it points to. */
static bool read_any(const struct pair_message *m)
{
    static struct pair_set set;
    struct pair_hello hello;
    struct pair_ready ready;
    struct pair_value value;
    struct pair_notification notice;
    struct pair_flush flush;
    struct pair_meta meta;
    enum pair_phase phase;
    uint32_t number;
    const char *text;

    switch (m->type) {
    case PAIR_HELLO: return pair_read_hello(m, &hello);
    case PAIR_PHASE: return pair_read_phase(m, &phase);
    case PAIR_REFUSED:
    case PAIR_FAILED:
    case PAIR_LOG:
        return pair_read_text(m, &number, &text) &&
               strlen(text) < PAIR_TEXT_SIZE;
    case PAIR_READY: return pair_read_ready(m, &ready);
    case PAIR_SET: return pair_read_set(m, &set);
    case PAIR_FLUSH: return pair_read_flush(m, &flush);
    case PAIR_BYE:
    case PAIR_STOP: return m->size == 0;
    case PAIR_VALUE: {
        if (!pair_read_value(m, &value))
            return false;
        const uint8_t *at = value.metas;
        for (uint32_t i = 0; i < value.metas_count; i++)
            at += pair_meta_next(at, &meta);
        CU_ASSERT_EQUAL(at, value.metas + value.metas_size);
        return true;
    }
    case PAIR_NOTIFICATION: {
        if (!pair_read_notification(m, &notice))
            return false;
        const uint8_t *at = notice.metas;
        for (uint32_t i = 0; i < notice.metas_count; i++)
            at += pair_meta_next(at, &meta);
        CU_ASSERT_EQUAL(at, notice.metas + notice.metas_size);
        return true;
    }
    }
    return false;
}

/* One message of each shape, in turn. */
#define SHAPES 8
static size_t put_shape(uint8_t *out, uint32_t shape)
{
    struct pair_value v = value_of();
    struct pair_notification n = {
        .names = {"h", "p", "pi", "t", "ti"}, .message = "m", .metas_count = 5};
    static const struct pair_set set = {
        .type = "t", .count = 2, .sources = {{"rx", 1, 0, 1}, {"tx", 2, 0, 1}}};

    switch (shape % SHAPES) {
    case 0: return pair_put_value(out, PAIR_MESSAGE_MAX, &v, metas_of);
    case 1: return pair_put_notification(out, PAIR_MESSAGE_MAX, &n, metas_of);
    case 2: return pair_put_set(out, PAIR_MESSAGE_MAX, &set);
    case 3:
        return pair_put_hello(out, PAIR_MESSAGE_MAX,
                              &(struct pair_hello){1, 2, "0.1"});
    case 4:
        return pair_put_ready(out, PAIR_MESSAGE_MAX,
                              &(struct pair_ready){.text = "text"});
    case 5:
        return pair_put_flush(out, PAIR_MESSAGE_MAX,
                              &(struct pair_flush){5, "id"});
    case 6: return pair_put_text(out, PAIR_MESSAGE_MAX, PAIR_FAILED, 1, "text");
    default: return pair_put_phase(out, PAIR_MESSAGE_MAX, PAIR_PHASE_RUN);
    }
}

/* Goal: a body that ends early, or goes on, is not taken for one of its type.
 * Method: each shape, cut at every byte; then with one byte more. Copied to
 * memory of just that size, so that a sanitizer sees a read past its end. */
static void test_pair_cut_bodies_are_refused(void)
{
    set_up();
    for (uint32_t shape = 0; shape < SHAPES; shape++) {
        struct pair_message whole = message_of(put_shape(bytes, shape));
        for (uint32_t size = 0; size <= whole.size + 1; size++) {
            uint8_t *body = malloc(size + 1);
            memcpy(body, whole.body, size);
            struct pair_message m = {whole.type, body, size};
            CU_ASSERT_EQUAL(read_any(&m), size == whole.size);
            free(body);
        }
    }
}

/* Goal: single fields out of range are refused. */
static void test_pair_fields_are_judged(void)
{
    struct pair_message m;

    set_up();
    m = message_of(put_shape(bytes, 7));
    bytes[PAIR_HEADER_SIZE] = PAIR_PHASE_STOP + 1;
    CU_ASSERT_FALSE(read_any(&m));
    m = message_of(put_shape(bytes, 6));
    bytes[PAIR_HEADER_SIZE] = PAIR_PHASE_STOP + 1;
    CU_ASSERT_FALSE(read_any(&m));
    m = message_of(pair_put_text(bytes, sizeof bytes, PAIR_LOG, 7, "debug"));
    CU_ASSERT_TRUE(read_any(&m));
    bytes[PAIR_HEADER_SIZE] = 8;
    CU_ASSERT_FALSE(read_any(&m));
    m = message_of(put_shape(bytes, 2)); /* SET: "t", NUL, count, type */
    bytes[PAIR_HEADER_SIZE + 3] = 4;
    CU_ASSERT_FALSE(read_any(&m));
    bytes[PAIR_HEADER_SIZE + 3] = 0;
    CU_ASSERT_TRUE(read_any(&m));
    bytes[PAIR_HEADER_SIZE + 2] = 0;
    CU_ASSERT_FALSE(read_any(&m));
    m = message_of(put_shape(bytes, 4)); /* READY: behind 12 bytes a bool */
    bytes[PAIR_HEADER_SIZE + 12] = 2;
    CU_ASSERT_FALSE(read_any(&m));
    m = message_of(put_shape(bytes, 0)); /* VALUE: behind 16 bytes the count */
    bytes[PAIR_HEADER_SIZE + 16] = 255;
    CU_ASSERT_FALSE(read_any(&m));
    m = message_of(put_shape(bytes, 0)); /* its last byte: a boolean's bits */
    CU_ASSERT_TRUE(read_any(&m));
    bytes[PAIR_HEADER_SIZE + m.size - 8] = 2;
    CU_ASSERT_FALSE(read_any(&m));
}

/* Goal: no bytes make a reader look outside the message.
 * Method: each shape with a few bytes changed, cut or grown at random; what is
 * then still read is sound to its last meta. The sanitizer judges the rest. */
static void test_pair_hostile_bytes(void)
{
    struct prng prng;
    unsigned sound = 0;

    set_up();
    prng_seed(&prng, test_seed());
    for (uint32_t round = 0; round < 40000; round++) {
        size_t size = put_shape(bytes, round);
        uint32_t body = (uint32_t)size - PAIR_HEADER_SIZE;
        if (prng_below(&prng, 3) == 0)
            body = prng_below(&prng, body + 1);
        uint8_t *copy = malloc(1 + body); /* the type, the body */
        memcpy(copy, bytes + PAIR_HEADER_SIZE - 1, 1 + body);
        for (uint32_t i = prng_below(&prng, 4); i > 0; i--)
            copy[prng_below(&prng, 1 + body)] = (uint8_t)prng_below(&prng, 256);
        struct pair_message m = {(enum pair_type)copy[0], copy + 1, body};
        sound += read_any(&m);
        free(copy);
    }
    CU_ASSERT_TRUE(sound > 100);
    CU_ASSERT_TRUE(sound < 40000);
}

CU_TestInfo suite_pair[] = {
    {"states arrive", test_pair_states_arrive},
    {"values arrive", test_pair_values_arrive},
    {"notices arrive", test_pair_notices_arrive},
    {"the writer keeps its bounds", test_pair_writer_keeps_bounds},
    {"the stream is bounded", test_pair_stream_is_bounded},
    {"cut bodies are refused", test_pair_cut_bodies_are_refused},
    {"fields are judged", test_pair_fields_are_judged},
    {"hostile bytes", test_pair_hostile_bytes},
    CU_TEST_INFO_NULL};
