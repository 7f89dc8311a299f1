/* bench_routing.c - what routing costs: a spool and an intake in one process,
 * with and without the codec between them. One line for each case. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/intake.h"
#include "core/spool.h"
#include "wire/frame.h"

#define HOSTS 50
#define SERIES 100 /* of a host */
#define CYCLES 200 /* values of a series */
#define TOKENS_MAX 65536
#define PENDING_MAX 4096

static struct spool *spool;
static struct intake *intake;
static bool with_codec;
static uint64_t now_ms, bytes, spool_ns, intake_ns;
static uint64_t tokens[TOKENS_MAX];
static uint32_t tokens_count;

/* Frames on their way: core must not be called from within an action. */
static struct {
    uint8_t *data;
    int size;
    bool to_spool;
    argus_Frame *frame;
} pending[PENDING_MAX];
static uint32_t pending_count;
static dial_id dialed;

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void take_frame(const argus_Frame *frame)
{
    static uint8_t buffer[FRAME_HEADER_SIZE + FRAME_BODY_MAX];

    assert(pending_count < PENDING_MAX);
    pending[pending_count].to_spool = frame->which_body == argus_Frame_ack_tag;
    if (with_codec) {
        int size = frame_encode(argus_Frame_fields, frame, buffer,
                                sizeof buffer, NULL);
        assert(size > 0);
        bytes += (uint64_t)size;
        pending[pending_count].size = size;
        pending[pending_count].data = malloc((size_t)size);
        memcpy(pending[pending_count].data, buffer, (size_t)size);
    } else {
        pending[pending_count].frame = malloc(sizeof *frame);
        memcpy(pending[pending_count].frame, frame, sizeof *frame);
    }
    pending_count++;
}

static void emit(void *context, const struct action *a)
{
    (void)context;
    if (a->type == ACTION_DIAL)
        dialed = a->dial.dial;
    else if (a->type == ACTION_SEND)
        take_frame(a->send.frame);
    else if (a->type == ACTION_DISPATCH)
        tokens[tokens_count++] = a->value->token;
}

static struct actions *const out = &(struct actions){.emit = emit};

static void deliver(void)
{
    static argus_Frame decoded;

    for (uint32_t i = 0; i < pending_count; i++) {
        argus_Frame *frame = pending[i].frame;
        if (with_codec) {
            int rc = frame_decode(pending[i].data + FRAME_HEADER_SIZE,
                                  (size_t)pending[i].size - FRAME_HEADER_SIZE,
                                  &decoded, NULL);
            assert(rc == ARGUS_OK);
            frame = &decoded;
        }
        uint64_t start = clock_ns();
        if (pending[i].to_spool) {
            spool_on_frame(spool, now_ms, 1, frame, out);
            spool_ns += clock_ns() - start;
        } else {
            intake_on_frame(intake, now_ms, 1, frame, out);
            intake_ns += clock_ns() - start;
        }
        free(pending[i].data);
        free(pending[i].frame);
        pending[i].data = NULL;
        pending[i].frame = NULL;
    }
    pending_count = 0;
}

static void describe(const void *set, argus_SeriesDef *def)
{
    (void)set;
    def->sources_count = 1;
    memset(&def->sources[0], 0, sizeof def->sources[0]);
    strcpy(def->sources[0].name, "value");
    def->sources[0].type = argus_SourceType_SOURCE_GAUGE;
}

static bool is_online(void *context, const struct node_id *id)
{
    (void)context;
    (void)id;
    return true;
}

static void publish(uint32_t cycle)
{
    static char names[HOSTS * SERIES][2][24];
    struct value_input in[SERIES];
    uint64_t number = cycle;

    for (uint32_t h = 0; h < HOSTS; h++) {
        for (uint32_t s = 0; s < SERIES; s++) {
            char(*name)[24] = names[h * SERIES + s];
            if (cycle == 1) {
                snprintf(name[0], sizeof name[0], "host-%u.example", h);
                snprintf(name[1], sizeof name[1], "cpu-%u", s);
            }
            in[s] = (struct value_input){.host = name[0],
                                         .plugin = "cpu",
                                         .plugin_instance = "0",
                                         .type = "cpu",
                                         .type_instance = name[1],
                                         .time = ((uint64_t)cycle * 10) << 30,
                                         .interval = (uint64_t)10 << 30,
                                         .numbers = &number,
                                         .count = 1};
        }
        uint64_t start = clock_ns();
        spool_on_values(spool, now_ms, in, SERIES, out);
        spool_ns += clock_ns() - start;
    }
}

/* Let time pass until both sides rest. */
static void settle(void)
{
    for (int i = 0; i < 100 && (i == 0 || spool_pending(spool) > 0); i++) {
        deliver();
        now_ms += 5;
        uint64_t start = clock_ns();
        intake_on_seen(intake, now_ms, tokens, tokens_count, out);
        tokens_count = 0;
        intake_on_timeout(intake, now_ms, out);
        uint64_t middle = clock_ns();
        spool_on_timeout(spool, now_ms, out);
        intake_ns += middle - start;
        spool_ns += clock_ns() - middle;
    }
    assert(spool_pending(spool) == 0);
}

static void open_both(void)
{
    struct spool_options s = {.generation = 1,
                              .zone = "",
                              .bytes_max = 256u << 20,
                              .write_order_known = true,
                              .describe = describe};
    struct intake_options i = {.is_aggregator = true,
                               .queue_max = TOKENS_MAX,
                               .listener = {.is_online = is_online}};
    struct aggregator a = {.id = {{1}}, .weight = 1.0f, .usable = true};
    struct peer_info peer = {.id = {{1}},
                             .generation = 1,
                             .instance = 1,
                             .kind = argus_LinkKind_LINK_METRICS};

    now_ms = 1000;
    bytes = spool_ns = intake_ns = 0;
    if (spool_new(&s, &spool) != ARGUS_OK ||
        intake_new(&i, &intake) != ARGUS_OK)
        abort();
    spool_on_aggregators(spool, now_ms, &a, 1, out);
    intake_on_link_up(intake, now_ms, 1, &peer, out);
    publish(1);
    spool_on_link_up(spool, now_ms, 1, dialed, &peer, out);
    settle();
}

static void run(const char *name)
{
    open_both();
    bytes = spool_ns = intake_ns = 0;
    uint64_t start = clock_ns();
    for (uint32_t cycle = 2; cycle <= CYCLES; cycle++) {
        publish(cycle);
        settle();
    }
    uint64_t took = clock_ns() - start;
    uint64_t values = (uint64_t)HOSTS * SERIES * (CYCLES - 1);

    assert(intake_stats(intake)->values_seen == values + HOSTS * SERIES);
    printf("routing %-13s %9.0f values/s %6.0f ns/value (spool %.0f, intake "
           "%.0f), %.1f bytes/value\n",
           name, (double)values * 1e9 / (double)took,
           (double)took / (double)values, (double)spool_ns / (double)values,
           (double)intake_ns / (double)values, (double)bytes / (double)values);
    spool_free(spool);
    intake_free(intake);
}

int main(void)
{
    with_codec = false;
    run("without codec");
    with_codec = true;
    run("with codec");
    return 0;
}
