#include "clock_meetings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/status.h"
#include "core/clock.h"

#define T0_US UINT64_C(1700000000000000)
#define WINDOW_MS 10000
#define BOOT_US UINT64_C(1000000000)

struct node {
    struct clock *clock;
    struct node_id id;
    int64_t off_us;
    int is_faulty;
    uint32_t alarmed_at; /* window; 0: not yet */
};

static double normal(struct prng *p)
{
    double u = prng_double(p), v = prng_double(p);

    return sqrt(-2 * log(1 - u)) * cos(2 * M_PI * v);
}

static struct clock_reading read_clocks(const struct node *n, uint32_t window)
{
    uint64_t at_us = (uint64_t)window * WINDOW_MS * 1000;

    return (struct clock_reading){.now_ms = at_us / 1000 + 1,
                                  .boot_us = BOOT_US + at_us,
                                  .wall_us =
                                      T0_US + at_us + (uint64_t)n->off_us};
}

static void ask(struct node *from, const struct node *to, uint32_t window,
                struct prng *p)
{
    double round_us = 20000 * exp(0.5 * normal(p));
    double skew = 0.35 * (2 * prng_double(p) - 1);
    struct clock_reading r = read_clocks(from, window);
    int64_t off_us = to->off_us - from->off_us + (int64_t)(round_us / 2 * skew);

    (void)clock_sample(from->clock, &r, &to->id, (int64_t)round_us, off_us);
}

static void meet_all(struct node *nodes, uint32_t count, uint32_t window,
                     struct prng *p)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = prng_below(p, count - 1);
        struct node *other = &nodes[k < i ? k : k + 1];
        ask(&nodes[i], other, window, p);
        ask(other, &nodes[i], window, p);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct clock_reading r = read_clocks(&nodes[i], window);
        if ((clock_tick(nodes[i].clock, &r) & CLOCK_NEWS_ALARM) &&
            nodes[i].alarmed_at == 0)
            nodes[i].alarmed_at = window;
    }
}

static struct node *make_nodes(const struct meetings_options *o, struct prng *p)
{
    const struct clock_options options = {
        .peers_max = o->peers, .window_ms = WINDOW_MS, .alarm_us = 100000};
    struct node *nodes = calloc(o->nodes, sizeof *nodes);

    if (nodes == NULL)
        abort();
    for (uint32_t i = 0; i < o->nodes; i++) {
        uint32_t number = i + 1;
        memcpy(nodes[i].id.bytes, &number, sizeof number);
        nodes[i].off_us = (int64_t)(5000 * normal(p));
        nodes[i].is_faulty = prng_below(p, 1000) < o->faulty;
        if (nodes[i].is_faulty)
            nodes[i].off_us += 5000000;
        if (clock_new(&options, &nodes[i].clock) != ARGUS_OK)
            abort();
    }
    return nodes;
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void judge(const struct node *n, uint32_t window, double *errors_us,
                  struct meetings_result *out)
{
    struct clock_reading r = read_clocks(n, window);
    struct clock_view v;

    clock_view(n->clock, &r, &v);
    if (n->is_faulty) {
        out->faulty++;
        out->missed += v.state != CLOCK_ALARMED;
        if (n->alarmed_at > out->alarm_windows_worst)
            out->alarm_windows_worst = n->alarmed_at;
        return;
    }
    errors_us[out->healthy++] = fabs((double)(v.offset_us - n->off_us));
    out->alarmed_ever += clock_stats(n->clock)->alarm_raised > 0;
}

void meetings_run(const struct meetings_options *o, struct meetings_result *out)
{
    struct prng p;
    double *errors_us = calloc(o->nodes, sizeof *errors_us);

    if (errors_us == NULL)
        abort();
    prng_seed(&p, o->seed);
    memset(out, 0, sizeof *out);
    struct node *nodes = make_nodes(o, &p);
    for (uint32_t w = 0; w < o->windows; w++)
        meet_all(nodes, o->nodes, w, &p);
    for (uint32_t i = 0; i < o->nodes; i++) {
        judge(&nodes[i], o->windows - 1, errors_us, out);
        clock_free(nodes[i].clock);
    }
    if (out->healthy > 0) {
        qsort(errors_us, out->healthy, sizeof *errors_us, by_value);
        out->error_median_us = errors_us[out->healthy / 2];
        out->error_p99_us = errors_us[out->healthy * 99 / 100];
    }
    free(nodes);
    free(errors_us);
}
