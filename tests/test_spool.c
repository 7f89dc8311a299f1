/* The spool alone: aggregators by hand. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/spool.h"

/* What the spool asked for. */
static struct {
    uint32_t dials, closes, defs, batches, releases;
    dial_id dial;
    struct node_id expected;
    link_id link;
    argus_RefuseCode code;
    argus_SeriesDef def;    /* the last */
    argus_Batch batch;      /* the last */
    uint32_t values;        /* in all batches */
    uint64_t numbers[4096]; /* in the order sent */
    uint64_t times[4096];
    char released[128];
} got;

static uint32_t sources_of_set = 1;
static struct aggregator list[2];

static void take_batch(const argus_Batch *b)
{
    uint64_t number = b->first_number, time = b->first_time;

    got.batches++;
    got.batch = *b;
    for (uint32_t i = 0; i < b->series_count; i++) {
        number += b->number_step[i];
        time += (uint64_t)b->time_step[i];
        got.times[got.values % 4096] = time;
        got.numbers[got.values++ % 4096] = number;
    }
}

static void take_frame(link_id link, const argus_Frame *frame)
{
    got.link = link;
    switch (frame->which_body) {
    case argus_Frame_series_defs_tag:
        CU_ASSERT_TRUE_FATAL(frame->body.series_defs.series_count > 0);
        got.defs += frame->body.series_defs.series_count;
        got.def = frame->body.series_defs
                      .series[frame->body.series_defs.series_count - 1];
        break;
    case argus_Frame_batch_tag: take_batch(&frame->body.batch); break;
    case argus_Frame_release_tag:
        got.releases++;
        strcpy(got.released, frame->body.release.host);
        break;
    default: CU_FAIL("a frame that a spool does not send"); break;
    }
}

static void emit(void *context, const struct action *a)
{
    (void)context;
    switch (a->type) {
    case ACTION_DIAL:
        got.dials++;
        got.dial = a->dial.dial;
        got.expected = *a->dial.expected;
        CU_ASSERT_EQUAL(a->dial.kind, argus_LinkKind_LINK_METRICS);
        CU_ASSERT_EQUAL(a->dial.dial >> 56, SPOOL_DIAL_TAG);
        break;
    case ACTION_SEND: take_frame(a->send.link, a->send.frame); break;
    case ACTION_CLOSE:
        got.closes++;
        got.code = a->close.code;
        break;
    default: break;
    }
}

static struct actions *const out = &(struct actions){.emit = emit};

static void describe(const void *set, argus_SeriesDef *def)
{
    uint32_t count = set == NULL ? sources_of_set : *(const uint32_t *)set;

    def->sources_count = (pb_size_t)count;
    for (uint32_t i = 0; i < count; i++) {
        memset(&def->sources[i], 0, sizeof def->sources[i]);
        snprintf(def->sources[i].name, sizeof def->sources[i].name, "ds%u", i);
        def->sources[i].type = i % 2 == 0 ? argus_SourceType_SOURCE_GAUGE
                                          : argus_SourceType_SOURCE_COUNTER;
    }
}

static struct spool_options usual(void)
{
    sources_of_set = 1;
    return (struct spool_options){.seed = 1,
                                  .generation = 5,
                                  .zone = "",
                                  .bytes_max = 1u << 20,
                                  .write_order_known = true,
                                  .describe = describe};
}

/* Two aggregators: the first is nearer. */
static struct spool *spool_with(const struct spool_options *options)
{
    struct spool_options o = *options;
    struct spool *s;

    memset(&got, 0, sizeof got);
    memset(list, 0, sizeof list);
    o.zone = "eu";
    for (uint8_t i = 0; i < 2; i++) {
        list[i].id.bytes[0] = (uint8_t)(i + 1);
        list[i].weight = 1.0f;
        list[i].usable = true;
        strcpy(list[i].zone, i == 0 ? "eu" : "us");
    }
    CU_ASSERT_EQUAL_FATAL(spool_new(&o, &s), ARGUS_OK);
    return s;
}

static void publish(struct spool *s, uint64_t now, const char *instance,
                    uint64_t time)
{
    uint64_t numbers[SOURCES_MAX];
    struct value_input in = {.host = "h",
                             .plugin = "cpu",
                             .plugin_instance = "0",
                             .type = "cpu",
                             .type_instance = instance,
                             .time = time,
                             .interval = 10,
                             .numbers = numbers,
                             .count = sources_of_set};

    for (uint32_t i = 0; i < SOURCES_MAX; i++)
        numbers[i] = time + i;
    spool_on_values(s, now, &in, 1, out);
}

static void answer(struct spool *s, uint64_t now, link_id link)
{
    struct peer_info peer = {.id = got.expected,
                             .kind = argus_LinkKind_LINK_METRICS};
    spool_on_link_up(s, now, link, got.dial, &peer, out);
}

static void ack(struct spool *s, uint64_t now, link_id link, uint64_t batch,
                uint32_t window)
{
    argus_Frame frame = {.which_body = argus_Frame_ack_tag};

    frame.body.ack.batch = batch;
    frame.body.ack.window = window;
    spool_on_frame(s, now, link, &frame, out);
}

static void pass(struct spool *s, uint64_t until)
{
    uint64_t due;

    while ((due = spool_deadline_ms(s)) <= until)
        spool_on_timeout(s, due, out);
}

/* A spool with one series, linked to the first aggregator as link 1, one
 * value under way. */
static struct spool *linked(const struct spool_options *options)
{
    struct spool *s = spool_with(options);

    spool_on_aggregators(s, 1000, list, 2, out);
    publish(s, 1000, "a", 10);
    answer(s, 1000, 1);
    CU_ASSERT_EQUAL_FATAL(got.batches, 1);
    return s;
}

/* Goal: a link is dialed for values only, a series is named before its first
 * value, contents are what was published. */
static void test_value_is_named_and_sent(void)
{
    struct spool_options o = usual();
    o.describe = describe;
    sources_of_set = 3;
    struct spool *s = spool_with(&o);

    spool_on_aggregators(s, 1000, list, 2, out);
    CU_ASSERT_EQUAL(got.dials, 0);
    publish(s, 1000, "a", 77);
    CU_ASSERT_EQUAL(got.dials, 1);
    CU_ASSERT_TRUE(node_id_is_equal(&got.expected, &list[0].id));
    CU_ASSERT_FALSE(spool_is_in_use(s, "h", &list[0].id));
    answer(s, 1001, 9);
    CU_ASSERT_EQUAL(got.link, 9);
    CU_ASSERT_EQUAL(got.defs, 1);
    CU_ASSERT_STRING_EQUAL(got.def.host, "h");
    CU_ASSERT_STRING_EQUAL(got.def.plugin_instance, "0");
    CU_ASSERT_STRING_EQUAL(got.def.type_instance, "a");
    CU_ASSERT_STRING_EQUAL(got.def.sources[2].name, "ds2");
    CU_ASSERT_EQUAL(got.def.sources[1].type, argus_SourceType_SOURCE_COUNTER);
    CU_ASSERT_EQUAL(got.def.interval, 10);
    CU_ASSERT_EQUAL(got.batch.number, 1);
    CU_ASSERT_EQUAL(got.batch.first_number, ((uint64_t)5 << 40) + 1);
    CU_ASSERT_EQUAL(got.batch.first_time, 77);
    CU_ASSERT_EQUAL(got.batch.series[0], got.def.index);
    CU_ASSERT_EQUAL(got.batch.gauges_count, 2);
    CU_ASSERT_EQUAL(got.batch.integers_count, 1);
    CU_ASSERT_EQUAL(got.batch.gauges[1], 79);
    CU_ASSERT_EQUAL(got.batch.integers[0], 78);
    CU_ASSERT_TRUE(spool_is_in_use(s, "h", &list[0].id));
    ack(s, 1002, 9, 1, 5000);
    CU_ASSERT_EQUAL(spool_pending(s), 0);
    CU_ASSERT_EQUAL(spool_stats(s)->values_acked, 1);
    CU_ASSERT_EQUAL(spool_stats(s)->bytes, 0);
    spool_free(s);
}

/* Goal: on an idle link a value goes at once, behind others it waits for more
 * company, and a stop waits for nothing. */
static void test_batches_linger(void)
{
    struct spool_options o = usual();
    struct spool *s = linked(&o);

    publish(s, 1005, "a", 20);
    publish(s, 1010, "b", 20);
    CU_ASSERT_EQUAL(got.batches, 1);
    CU_ASSERT_EQUAL(spool_deadline_ms(s), 1005 + SPOOL_LINGER_MS);
    pass(s, 1005 + SPOOL_LINGER_MS);
    CU_ASSERT_EQUAL(got.batches, 2);
    CU_ASSERT_EQUAL(got.values, 3);
    CU_ASSERT_EQUAL(got.defs, 2);
    publish(s, 1030, "a", 30);
    CU_ASSERT_EQUAL(got.batches, 2);
    spool_flush(s, 1031, out);
    CU_ASSERT_EQUAL(got.batches, 3);
    CU_ASSERT_EQUAL(spool_pending(s), 4);
    spool_free(s);
}

/* Goal: no more than the window is under way; an Ack opens and sizes it. */
static void test_window_bounds_what_is_under_way(void)
{
    struct spool_options o = usual();
    struct spool *s = linked(&o);

    for (uint64_t i = 2; i <= 3000; i++)
        publish(s, 1000, "a", 10 * i);
    pass(s, 5000);
    CU_ASSERT_EQUAL(spool_stats(s)->values_under_way, SPOOL_WINDOW_FIRST);
    ack(s, 5000, 1, 1, 100);
    ack(s, 5000, 1, got.batch.number, 100);
    CU_ASSERT_EQUAL(spool_stats(s)->values_under_way, 100);
    ack(s, 5000, 1, got.batch.number, UINT32_MAX);
    pass(s, 5100);
    CU_ASSERT_EQUAL(spool_stats(s)->values_under_way,
                    3000 - SPOOL_WINDOW_FIRST - 100);
    CU_ASSERT_EQUAL(got.values, 3000);
    spool_free(s);
}

/* Goal: what was under way when a link broke is sent again, in order, with the
 * numbers it had, before what came later. */
static void test_resend_keeps_numbers(void)
{
    struct spool_options o = usual();
    struct spool *s = linked(&o);
    uint64_t first = got.numbers[0];

    publish(s, 1001, "a", 20);
    pass(s, 1100); /* 10 and 20 are under way */
    CU_ASSERT_EQUAL(got.values, 2);
    spool_on_link_down(s, 1100, 1, LINK_END_RESET, argus_RefuseCode_REFUSE_NONE,
                       out);
    publish(s, 1101, "a", 30);
    CU_ASSERT_TRUE(node_id_is_equal(&got.expected, &list[1].id));
    got.defs = 0;
    answer(s, 1102, 2);
    pass(s, 1200);
    CU_ASSERT_EQUAL(got.defs, 1); /* a new link is told anew */
    CU_ASSERT_EQUAL_FATAL(got.values, 5);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(got.numbers[2 + i], first + i);
        CU_ASSERT_EQUAL(got.times[2 + i], 10 * (i + 1));
    }
    CU_ASSERT_EQUAL(spool_stats(s)->values_resent, 2);
    CU_ASSERT_EQUAL(spool_stats(s)->values_sent, 3);
    spool_free(s);
}

/* Goal: a lane goes to a better aggregator when that one's link is up and
 * nothing is under way, says so at the old one, whose link is closed later. */
static void test_lane_moves_to_the_better(void)
{
    struct spool_options o = usual();
    struct spool *s = spool_with(&o);

    spool_on_aggregators(s, 1000, list + 1, 1, out);
    publish(s, 1000, "a", 10);
    answer(s, 1000, 1);
    spool_on_aggregators(s, 1001, list, 2, out);
    CU_ASSERT_EQUAL(got.dials, 1); /* there is nothing to send */
    publish(s, 1002, "a", 20);
    CU_ASSERT_EQUAL(got.dials, 2);
    answer(s, 1003, 2);
    CU_ASSERT_EQUAL(got.releases, 0);
    CU_ASSERT_EQUAL(got.batches, 1); /* the old link still owes an Ack */
    ack(s, 1010, 1, 1, 1000);
    CU_ASSERT_EQUAL(got.releases, 1);
    CU_ASSERT_STRING_EQUAL(got.released, "h");
    CU_ASSERT_EQUAL(got.link, 2);
    CU_ASSERT_EQUAL(got.times[1], 20);
    CU_ASSERT_EQUAL(spool_stats(s)->lanes_moved, 1);
    ack(s, 1020, 2, 1, 1000);
    pass(s, 1010 + SPOOL_IDLE_MS - 1);
    CU_ASSERT_EQUAL(got.closes, 0);
    pass(s, 1010 + SPOOL_IDLE_MS);
    CU_ASSERT_EQUAL(got.closes, 1);
    CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_BYE);
    CU_ASSERT_EQUAL(spool_stats(s)->links_idle, 1);
    CU_ASSERT_EQUAL(spool_stats(s)->links, 1);
    spool_free(s);
}

/* Goal: a lane does not wait for a dial that gets no answer while another
 * aggregator takes its values. */
static void test_silent_dial_holds_up_nobody(void)
{
    struct spool_options o = usual();
    struct spool *s = linked(&o);

    spool_on_link_down(s, 1001, 1, LINK_END_TIMEOUT,
                       argus_RefuseCode_REFUSE_SILENT, out);
    CU_ASSERT_EQUAL(got.dials, 2); /* the next in line ... */
    CU_ASSERT_TRUE(node_id_is_equal(&got.expected, &list[1].id));
    dial_id slow = got.dial;
    pass(s, 1001 + SPOOL_BACKOFF_MIN_MS * 12 / 10);
    CU_ASSERT_EQUAL(got.dials, 3); /* ... and the best once more */
    CU_ASSERT_TRUE(node_id_is_equal(&got.expected, &list[0].id));
    got.dial = slow;
    got.expected = list[1].id;
    answer(s, 2000, 2);
    CU_ASSERT_EQUAL(got.batches, 2);
    CU_ASSERT_EQUAL(got.link, 2);
    spool_free(s);
}

/* Goal: an aggregator that does not answer is tried again, ever more slowly;
 * the next in line takes over meanwhile. */
static void test_failed_dials_back_off(void)
{
    struct spool_options o = usual();
    struct spool *s = spool_with(&o);
    uint64_t now = 1000, wait = 0;

    spool_on_aggregators(s, now, list, 1, out);
    publish(s, now, "a", 10);
    for (uint32_t i = 1; i <= 8; i++) {
        CU_ASSERT_EQUAL(got.dials, i);
        spool_on_dial_failed(s, now, got.dial, LINK_END_REFUSED,
                             argus_RefuseCode_REFUSE_NONE, out);
        wait = spool_deadline_ms(s) - now;
        CU_ASSERT_TRUE(wait >= SPOOL_BACKOFF_MIN_MS * 8 / 10 &&
                       wait <= SPOOL_BACKOFF_MAX_MS * 12 / 10);
        now += wait;
        pass(s, now);
    }
    CU_ASSERT_TRUE(wait >= SPOOL_BACKOFF_MAX_MS * 8 / 10);
    spool_on_dial_failed(s, now, got.dial, LINK_END_DENIED,
                         argus_RefuseCode_REFUSE_WRONG_ID, out);
    spool_on_aggregators(s, now, list, 2, out);
    CU_ASSERT_TRUE(node_id_is_equal(&got.expected, &list[1].id));
    spool_on_dial_failed(s, now, 12345, LINK_END_RESET,
                         argus_RefuseCode_REFUSE_NONE, out);
    CU_ASSERT_EQUAL(spool_stats(s)->links_failed, 9); /* not that of others */
    spool_free(s);
}

/* Goal: a link that acknowledges nothing for long is given up. */
static void test_link_without_acks_is_given_up(void)
{
    struct spool_options o = usual();
    struct spool *s = linked(&o);

    pass(s, 1000 + SPOOL_ACK_WAIT_MS - 1);
    CU_ASSERT_EQUAL(got.closes, 0);
    pass(s, 1000 + SPOOL_ACK_WAIT_MS);
    CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_SLOW);
    CU_ASSERT_EQUAL(spool_stats(s)->links_stuck, 1);
    CU_ASSERT_TRUE(node_id_is_equal(&got.expected, &list[1].id));
    spool_on_link_down(s, 40000, 1, LINK_END_CLOSED,
                       argus_RefuseCode_REFUSE_NONE, out); /* known already */
    CU_ASSERT_EQUAL(spool_stats(s)->links_failed, 1);
    answer(s, 40000, 2);
    CU_ASSERT_EQUAL(spool_stats(s)->values_resent, 1);
    spool_free(s);
}

/* Goal: an Ack of what was never sent closes the link; one of old is nothing.
 */
static void test_false_ack_closes_the_link(void)
{
    struct spool_options o = usual();
    struct spool *s = linked(&o);

    ack(s, 1001, 1, 0, 0);
    CU_ASSERT_EQUAL(got.closes, 0);
    ack(s, 1001, 77, 1, 9);
    CU_ASSERT_EQUAL(spool_pending(s), 1);
    ack(s, 1001, 1, 2, 1000);
    CU_ASSERT_EQUAL(got.code, argus_RefuseCode_REFUSE_MALFORMED);
    CU_ASSERT_EQUAL(spool_stats(s)->acks_bad, 1);
    CU_ASSERT_EQUAL(spool_pending(s), 1);
    spool_free(s);
}

/* Goal: a link that came up for nobody is closed. */
static void test_strange_link_is_closed(void)
{
    struct spool_options o = usual();
    struct spool *s = linked(&o);

    answer(s, 1001, 5);
    CU_ASSERT_EQUAL(got.closes, 1);
    CU_ASSERT_EQUAL(spool_stats(s)->links, 1);
    spool_free(s);
}

/* Goal: another interval or data set is named anew under the same index; values
 * from before keep theirs. */
static void test_changed_series_is_named_anew(void)
{
    static const uint32_t two = 2;
    struct spool_options o = usual();
    struct spool *s = linked(&o);
    uint64_t numbers[2] = {1, 2};
    struct value_input in = {"h", "cpu", "0",     "cpu", "a", &two,
                             20,  10,    numbers, 2,     NULL};

    publish(s, 1001, "a", 15);
    spool_on_values(s, 1001, &in, 1, out);
    pass(s, 1100);
    CU_ASSERT_EQUAL(got.values, 3);
    CU_ASSERT_EQUAL(got.defs, 2);
    CU_ASSERT_EQUAL(got.def.index, 1);
    CU_ASSERT_EQUAL(got.def.sources_count, 2);
    spool_free(s);
}

/* Goal: batches keep to the bounds of the schema, whatever the values. */
static void test_wide_values_split_batches(void)
{
    struct spool_options o = usual();
    struct spool *s = spool_with(&o);

    sources_of_set = SOURCES_MAX;
    for (uint64_t i = 1; i <= 100; i++)
        publish(s, 1000, "a", 10 * i);
    spool_on_aggregators(s, 1000, list, 2, out);
    answer(s, 1000, 1);
    pass(s, 1100);
    CU_ASSERT_EQUAL(got.values, 100);
    CU_ASSERT_TRUE(got.batches >= 2);
    CU_ASSERT_TRUE(got.batch.gauges_count <= 2048);
    sources_of_set = 1;
    spool_free(s);
}

/* Goal: wide values do not fill the transport's queue, however large the
 * window; room there lets more go. */
static void test_bytes_under_way_are_bounded(void)
{
    struct spool_options o = usual();
    o.bytes_max = 16u << 20;
    struct spool *s = linked(&o);

    ack(s, 1001, 1, 1, SPOOL_WINDOW_MAX);
    sources_of_set = SOURCES_MAX;
    for (uint64_t i = 1; i <= 5000; i++)
        publish(s, 1001, "wide", 10 * i);
    pass(s, 1500);
    uint64_t before = spool_stats(s)->values_under_way;
    CU_ASSERT_TRUE(before > 1000 && before * SOURCES_MAX * 9 < 2u << 20);
    spool_on_drained(s, 1500, 1, out);
    pass(s, 2000);
    CU_ASSERT_TRUE(spool_stats(s)->values_under_way > before + 500);
    CU_ASSERT_EQUAL(spool_stats(s)->values, 5000);
    sources_of_set = 1;
    spool_free(s);
}

/* Goal: the table of series is bounded; one with a value here stays. */
static void test_series_are_bounded(void)
{
    struct spool_options o = usual();
    o.series_max = 2;
    struct spool *s = linked(&o);

    publish(s, 1001, "b", 10);
    publish(s, 1001, "c", 10);
    CU_ASSERT_EQUAL(spool_stats(s)->values_refused, 1);
    pass(s, 1100);
    ack(s, 1100, 1, got.batch.number, 1000);
    publish(s, 1101, "c", 20);
    CU_ASSERT_EQUAL(spool_stats(s)->series_evicted, 1);
    CU_ASSERT_EQUAL(spool_stats(s)->series, 2);
    CU_ASSERT_STRING_EQUAL(got.def.type_instance, "c");
    CU_ASSERT_EQUAL(got.def.index, 1); /* in the place of the one that went */
    spool_free(s);
}

/* Goal: what has no place is refused and counted. */
static void test_impossible_values_are_refused(void)
{
    struct spool_options o = usual();
    struct spool *s = linked(&o);
    char longest[129];

    memset(longest, 'x', 128);
    longest[128] = '\0';
    publish(s, 1001, longest, 10);
    sources_of_set = 0;
    publish(s, 1001, "none", 10);
    sources_of_set = 1;
    CU_ASSERT_EQUAL(spool_stats(s)->values_refused, 2);
    CU_ASSERT_EQUAL(spool_pending(s), 1);
    longest[127] = '\0';
    publish(s, 1001, longest, 10);
    CU_ASSERT_EQUAL(spool_pending(s), 2);
    spool_free(s);
    o.describe = NULL;
    CU_ASSERT_EQUAL(spool_new(&o, &s), ARGUS_EINVAL);
}

/* Goal: with several write threads a value that may have a predecessor waits
 * 100 ms; three that come backwards leave forwards; one that comes later than
 * that is sent, and counted. */
static void test_overtaken_values_find_their_place(void)
{
    struct spool_options o = usual();
    o.write_order_known = false;
    struct spool *s = spool_with(&o);

    spool_on_aggregators(s, 1000, list, 1, out);
    publish(s, 1000, "a", 30);
    publish(s, 1010, "b", 10);
    publish(s, 1020, "a", 20);
    publish(s, 1030, "a", 10);
    answer(s, 1040, 1);
    CU_ASSERT_EQUAL(got.values, 0);
    CU_ASSERT_EQUAL(spool_deadline_ms(s), 1100);
    pass(s, 1110 + SPOOL_LINGER_MS);
    CU_ASSERT_EQUAL_FATAL(got.values, 4);
    for (uint32_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(got.times[i], 10 * (i + 1));
    CU_ASSERT_EQUAL(spool_stats(s)->values_reordered, 2);
    publish(s, 1200, "a", 40); /* the next: not held */
    pass(s, 1200 + SPOOL_LINGER_MS);
    CU_ASSERT_EQUAL(got.values, 5);
    publish(s, 1300, "a", 35);
    CU_ASSERT_EQUAL(spool_stats(s)->values_late, 1);
    pass(s, 1300 + SPOOL_HOLD_MS + SPOOL_LINGER_MS);
    CU_ASSERT_EQUAL(got.values, 6);
    spool_free(s);
}

/* Goal: a drop takes the oldest that waits, not what is under way. */
static void test_drop_spares_what_is_under_way(void)
{
    struct spool_options o = usual();
    o.bytes_max = 10 * 80;
    struct spool *s = linked(&o);

    for (uint64_t i = 2; i <= 20; i++)
        publish(s, 1001, "a", 10 * i);
    CU_ASSERT_TRUE(spool_stats(s)->bytes <= 800);
    CU_ASSERT_EQUAL(spool_stats(s)->values_dropped, 10);
    CU_ASSERT_EQUAL(spool_stats(s)->values_under_way, 1);
    pass(s, 1100);
    CU_ASSERT_EQUAL(got.times[1], 120);
    CU_ASSERT_EQUAL(got.times[9], 200);
    spool_free(s);
}

CU_TestInfo suite_spool[] = {
    {"value_is_named_and_sent", test_value_is_named_and_sent},
    {"batches_linger", test_batches_linger},
    {"window_bounds_what_is_under_way", test_window_bounds_what_is_under_way},
    {"resend_keeps_numbers", test_resend_keeps_numbers},
    {"lane_moves_to_the_better", test_lane_moves_to_the_better},
    {"silent_dial_holds_up_nobody", test_silent_dial_holds_up_nobody},
    {"failed_dials_back_off", test_failed_dials_back_off},
    {"link_without_acks_is_given_up", test_link_without_acks_is_given_up},
    {"false_ack_closes_the_link", test_false_ack_closes_the_link},
    {"strange_link_is_closed", test_strange_link_is_closed},
    {"changed_series_is_named_anew", test_changed_series_is_named_anew},
    {"wide_values_split_batches", test_wide_values_split_batches},
    {"bytes_under_way_are_bounded", test_bytes_under_way_are_bounded},
    {"series_are_bounded", test_series_are_bounded},
    {"impossible_values_are_refused", test_impossible_values_are_refused},
    {"overtaken_values_find_their_place",
     test_overtaken_values_find_their_place},
    {"drop_spares_what_is_under_way", test_drop_spares_what_is_under_way},
    CU_TEST_INFO_NULL,
};
