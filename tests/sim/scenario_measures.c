/* scenario_measures.c - what is asked of the mesh: predicates that come within
 * a time, measures that keep a bound, rows of figures. See scenario.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "argus.pb.h"
#include "sim/scenario_impl.h"

#define ROW_SIZE 1024 /* of a CSV file */

/* -------------------------------------------------------------- measures */

static struct sim_fates fates(struct play *p)
{
    struct sim_fates f;

    sim_fates(p->sim, &f);
    return f;
}

static struct sim_figures figures(struct play *p)
{
    struct sim_figures f;

    sim_figures(p->sim, &f);
    return f;
}

static struct sim_clocks clocks(struct play *p)
{
    struct sim_clocks c;

    sim_clocks(p->sim, &c);
    return c;
}

/* Of now, whoever asked last. */
static const struct sim_shape *shape(struct play *p)
{
    if (p->shape_at != sim_now_ms(p->sim) + 1) {
        sim_shape(p->sim, 200, &p->shape);
        p->shape_at = sim_now_ms(p->sim) + 1;
    }
    return &p->shape;
}

static struct sim_traffic traffic(struct play *p)
{
    struct sim_traffic t;

    sim_traffic(p->sim, &t);
    t.messages_all -= p->traffic.messages_all;
    t.bytes_all -= p->traffic.bytes_all;
    t.cross_messages -= p->traffic.cross_messages;
    t.cross_bytes -= p->traffic.cross_bytes;
    t.links -= p->traffic.links;
    t.messages[argus_Frame_ping_tag] -=
        p->traffic.messages[argus_Frame_ping_tag];
    return t;
}

static double reliability(struct play *p)
{
    return fates(p).reliability;
}

static double reliability_min(struct play *p)
{
    return fates(p).reliability_min;
}

static double complete(struct play *p)
{
    struct sim_fates f = fates(p);
    return f.count > 0 ? (double)f.complete / f.count : 0;
}

/* Of the broadcast that was sent first (last) of those followed. */
static double fate_of(struct play *p, uint32_t index, bool rmr)
{
    struct sim_fate f;

    if (!sim_fate(p->sim, index, &f)) {
        play_fail(p, "no broadcast is followed");
        return 0;
    }
    return rmr ? f.rmr : f.reliability;
}

static double first_reliability(struct play *p)
{
    return fate_of(p, 0, false);
}

static double last_reliability(struct play *p)
{
    return fate_of(p, fates(p).count - 1, false);
}

static double last_rmr(struct play *p)
{
    return fate_of(p, fates(p).count - 1, true);
}

static double rmr(struct play *p)
{
    return fates(p).rmr;
}

static double rmr_max(struct play *p)
{
    return fates(p).rmr_max;
}

static double last_hop(struct play *p)
{
    return fates(p).last_hop;
}

static double last_hop_max(struct play *p)
{
    return fates(p).last_hop_max;
}

static double latency_ms(struct play *p)
{
    return fates(p).last_ms;
}

static double cross_bytes_each(struct play *p)
{
    return fates(p).cross_bytes;
}

static double healing(struct play *p)
{
    return p->healing;
}

static double path(struct play *p)
{
    return shape(p)->path_mean;
}

static double hops_max(struct play *p)
{
    return shape(p)->hops_max_mean;
}

static double clustering(struct play *p)
{
    return shape(p)->clustering;
}

/* The two against a random graph of as many nodes and links: 1 is random. */
static double clustering_ratio(struct play *p)
{
    const struct sim_shape *s = shape(p);

    return s->degree_mean > 0 ? s->clustering * s->nodes / s->degree_mean : 0;
}

static double path_ratio(struct play *p)
{
    const struct sim_shape *s = shape(p);

    return s->nodes > 1 && s->degree_mean > 2
               ? s->path_mean * log(s->degree_mean - 1) / log(s->nodes)
               : 0;
}

static double islands(struct play *p)
{
    return shape(p)->islands;
}

static double largest(struct play *p)
{
    return shape(p)->largest;
}

static double one_sided(struct play *p)
{
    return shape(p)->one_sided;
}

static double degree_mean(struct play *p)
{
    return shape(p)->degree_mean;
}

static double cross_links(struct play *p)
{
    return shape(p)->cross_zone;
}

/* Share of the nodes that have as many links as the active view holds. */
static double full_share(struct play *p)
{
    const struct sim_shape *s = shape(p);
    uint32_t full = p->mesh.active_max == 0 ? 5 : p->mesh.active_max;

    return s->nodes == 0 ? 0 : (double)s->degree[full] / s->nodes;
}

static double alive(struct play *p)
{
    return sim_alive_count(p->sim);
}

static double messages(struct play *p)
{
    return (double)traffic(p).messages_all;
}

static double bytes(struct play *p)
{
    return (double)traffic(p).bytes_all;
}

/* As the kernel would count it: a frame leaves in a TLS record and a packet of
 * its own and is acknowledged by a packet, but for a ping, which its Pong
 * acknowledges. A link costs its handshakes, Hellos and ends. */
#define RECORD_BYTES 22 /* TLS 1.3: header, type, tag */
#define PACKET_BYTES 52 /* IPv4, and TCP with time stamps */
#define LINK_BYTES 3000 /* estimated: some 18 packets both ways */

static double ip_bytes(struct play *p)
{
    struct sim_traffic t = traffic(p);
    uint64_t packets = 2 * t.messages_all - t.messages[argus_Frame_ping_tag];

    return (double)(t.bytes_all + t.messages_all * RECORD_BYTES +
                    packets * PACKET_BYTES + t.links * LINK_BYTES);
}

/* Since `count`. */
static double ip_bytes_s(struct play *p)
{
    double seconds = (double)(sim_now_ms(p->sim) - p->count_ms) / 1e3;

    return seconds > 0 ? ip_bytes(p) / seconds / sim_alive_count(p->sim) : 0;
}

static double links(struct play *p)
{
    return (double)traffic(p).links;
}

static double cross_messages(struct play *p)
{
    return (double)traffic(p).cross_messages;
}

static double cross_bytes(struct play *p)
{
    return (double)traffic(p).cross_bytes;
}

static double frames(struct play *p)
{
    return (double)figures(p).frames;
}

static double hlc_ahead_ms(struct play *p)
{
    return (double)clocks(p).hlc_ahead_max / 1e3;
}

static double hlc_ahead_mean_ms(struct play *p)
{
    return clocks(p).hlc_ahead_mean / 1e3;
}

static double clock_false(struct play *p)
{
    return clocks(p).false_alarms;
}

static double clock_false_ever(struct play *p)
{
    return clocks(p).false_ever;
}

static double clock_missed(struct play *p)
{
    return clocks(p).missed;
}

static double clock_right(struct play *p)
{
    return clocks(p).right;
}

static double clock_wrong(struct play *p)
{
    return clocks(p).wrong;
}

static double clock_error_ms(struct play *p)
{
    return clocks(p).estimate_median / 1e3;
}

static double clock_error_p99_ms(struct play *p)
{
    return clocks(p).estimate_p99 / 1e3;
}

static double clock_stepped(struct play *p)
{
    return clocks(p).stepped;
}

static double clock_drifting(struct play *p)
{
    return clocks(p).drifting;
}

static double clock_drift_false(struct play *p)
{
    return clocks(p).drift_false;
}

static double now_s(struct play *p)
{
    return (double)sim_now_ms(p->sim) / 1e3;
}

static double since_s(struct play *p)
{
    return (double)(sim_now_ms(p->sim) - p->mark_ms) / 1e3;
}

static double wall_s(struct play *p)
{
    return play_wall_s() - p->started_s;
}

static double cpu_s(struct play *p)
{
    struct rusage r;

    (void)p;
    (void)getrusage(RUSAGE_SELF, &r);
    return (double)r.ru_utime.tv_sec + (double)r.ru_utime.tv_usec / 1e6 +
           (double)r.ru_stime.tv_sec + (double)r.ru_stime.tv_usec / 1e6;
}

static double frames_per_s(struct play *p)
{
    return frames(p) / cpu_s(p);
}

static double rss_mib(struct play *p)
{
    struct rusage r;

    (void)p;
    (void)getrusage(RUSAGE_SELF, &r);
    return (double)r.ru_maxrss / 1024;
}

static const struct {
    const char *name;
    double (*measure)(struct play *p);
} measures[] = {
    {"reliability", reliability},
    {"reliability_min", reliability_min},
    {"first_reliability", first_reliability},
    {"last_reliability", last_reliability},
    {"complete", complete},
    {"rmr", rmr},
    {"rmr_max", rmr_max},
    {"last_rmr", last_rmr},
    {"last_hop", last_hop},
    {"last_hop_max", last_hop_max},
    {"latency_ms", latency_ms},
    {"cross_bytes_each", cross_bytes_each},
    {"healing", healing},
    {"path", path},
    {"hops_max", hops_max},
    {"clustering", clustering},
    {"clustering_ratio", clustering_ratio},
    {"path_ratio", path_ratio},
    {"islands", islands},
    {"largest", largest},
    {"one_sided", one_sided},
    {"degree_mean", degree_mean},
    {"full_share", full_share},
    {"cross_links", cross_links},
    {"alive", alive},
    {"messages", messages},
    {"bytes", bytes},
    {"ip_bytes_s", ip_bytes_s},
    {"links", links},
    {"cross_messages", cross_messages},
    {"cross_bytes", cross_bytes},
    {"frames", frames},
    {"frames_per_s", frames_per_s},
    {"hlc_ahead_ms", hlc_ahead_ms},
    {"clock_false", clock_false},
    {"clock_false_ever", clock_false_ever},
    {"clock_missed", clock_missed},
    {"clock_right", clock_right},
    {"clock_wrong", clock_wrong},
    {"clock_error_ms", clock_error_ms},
    {"clock_error_p99_ms", clock_error_p99_ms},
    {"clock_stepped", clock_stepped},
    {"clock_drifting", clock_drifting},
    {"clock_drift_false", clock_drift_false},
    {"hlc_ahead_mean_ms", hlc_ahead_mean_ms},
    {"now_s", now_s},
    {"since_s", since_s},
    {"wall_s", wall_s},
    {"cpu_s", cpu_s},
    {"rss_mib", rss_mib},
};

/* degree:N: nodes with so many links; frame:NAME: frames of a type sent; any
 * other with a colon: count:NAME, a counter summed over the nodes. */
static bool measure_named(struct play *p, const char *name, double *out)
{
    char *end;

    if (strncmp(name, "degree:", 7) == 0) {
        unsigned long degree = strtoul(name + 7, &end, 10);
        if (*end != '\0' || degree >= SIM_DEGREES)
            return false;
        *out = shape(p)->in_degree[degree];
        return true;
    }
    if (strncmp(name, "count:", 6) == 0) {
        *out = (double)sim_counter(p->sim, name + 6);
        return true;
    }
    if (strncmp(name, "frame:", 6) == 0) {
        struct sim_traffic t;
        sim_traffic(p->sim, &t);
        for (uint32_t i = 0; i < SIM_FRAME_TYPES; i++) {
            const char *type = sim_frame_name(i);
            if (type == NULL || strcmp(type, name + 6) != 0)
                continue;
            *out = (double)(t.messages[i] - p->traffic.messages[i]);
            return true;
        }
    }
    return false;
}

static bool is_measure(struct play *p, const char *name, double *out)
{
    for (size_t i = 0; i < sizeof measures / sizeof measures[0]; i++) {
        if (strcmp(name, measures[i].name) != 0)
            continue;
        *out = measures[i].measure(p);
        return true;
    }
    return measure_named(p, name, out);
}

/* ---------------------------------------------------------------- demands */

/* What demand names, or NULL. */
static bool (*predicate_of(const char *name))(struct sim *)
{
    static const struct {
        const char *name;
        bool (*predicate)(struct sim *s);
    } predicates[] = {
        {"connected", sim_is_connected},   {"symmetric", sim_is_symmetric},
        {"joined", sim_all_joined},        {"known", sim_all_known},
        {"delivered", sim_all_delivered},  {"written", sim_all_written},
        {"identical", sim_all_identical},  {"bundles", sim_all_bundles},
        {"insiders-out", sim_is_shut_out}, {"timelines", sim_all_timelines},
    };

    for (size_t i = 0; i < sizeof predicates / sizeof predicates[0]; i++)
        if (strcmp(name, predicates[i].name) == 0)
            return predicates[i].predicate;
    return NULL;
}

static void demand_within(struct play *p, const char *name,
                          bool (*predicate)(struct sim *))
{
    uint64_t since_ms = sim_now_ms(p->sim);
    uint32_t ms = play_is_word(p, "within") ? play_ms(p) : 0;

    if (p->is_broken)
        return;
    if (ms == 0 ? !predicate(p->sim) : !sim_run_until(p->sim, predicate, ms)) {
        if (sim_failure(p->sim) != NULL)
            return; /* that is what is told */
        play_fail(p, "demand broken: not %s within %g s", name, ms / 1e3);
        return;
    }
    play_say(p, "%s after %.3f s", name,
             (double)(sim_now_ms(p->sim) - since_ms) / 1e3);
}

static bool holds(double value, const char *relation, double bound, bool *known)
{
    *known = true;
    if (strcmp(relation, "<") == 0)
        return value < bound;
    if (strcmp(relation, "<=") == 0)
        return value <= bound;
    if (strcmp(relation, "=") == 0)
        return !(value < bound) && !(value > bound);
    if (strcmp(relation, ">=") == 0)
        return value >= bound;
    if (strcmp(relation, ">") == 0)
        return value > bound;
    *known = false;
    return false;
}

/* demand PREDICATE [within TIME], or demand MEASURE < | <= | = | >= | > N */
void play_demand(struct play *p)
{
    const char *name = play_word(p);
    bool (*predicate)(struct sim *) = predicate_of(name), known;
    double value;

    if (predicate != NULL) {
        demand_within(p, name, predicate);
        return;
    }
    const char *relation = play_word(p);
    double bound = play_number(p);
    if (p->is_broken)
        return;
    if (!is_measure(p, name, &value)) {
        play_fail(p, "there is nothing called \"%s\"", name);
        return;
    }
    bool ok = holds(value, relation, bound, &known);
    if (!known)
        play_fail(p, "\"%s\" is none of < <= = >= >", relation);
    else if (!ok)
        play_fail(p, "demand broken: %s is %g, not %s %g", name, value,
                  relation, bound);
    else
        play_say(p, "%s is %g (%s %g)", name, value, relation, bound);
}

/* ------------------------------------------------------------------- rows */

static void append(struct play *p, const char *figure, const char *header,
                   const char *line)
{
    char path[1024];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/%s.csv", p->options->out, figure);
    bool is_new = stat(path, &st) != 0 || st.st_size == 0;
    FILE *file = fopen(path, "ae");
    if (file == NULL || fprintf(file, "%s%s%s\n", is_new ? header : "",
                                is_new ? "\n" : "", line) < 0) {
        play_fail(p, "cannot write %s", path);
    }
    if (file != NULL && fclose(file) != 0)
        play_fail(p, "cannot write %s", path);
}

/* NAME=MEASURE or NAME=NUMBER, to the end of the line. */
static bool read_columns(struct play *p, char header[ROW_SIZE], size_t *heads,
                         char line[ROW_SIZE], size_t *used)
{
    while (play_has_word(p) && !p->is_broken) {
        const char *word = play_word(p), *is = strchr(word, '=');
        double value;
        char *end;
        if (is == NULL) {
            play_fail(p, "\"%s\" is not NAME=MEASURE", word);
            return false;
        }
        value = strtod(is + 1, &end);
        if ((end == is + 1 || *end != '\0') && !is_measure(p, is + 1, &value)) {
            play_fail(p, "there is nothing called \"%s\"", is + 1);
            return false;
        }
        *heads += (size_t)snprintf(header + *heads, ROW_SIZE - *heads, ",%.*s",
                                   (int)(is - word), word);
        *used += (size_t)snprintf(line + *used, ROW_SIZE - *used, ",%g", value);
        if (*heads >= ROW_SIZE || *used >= ROW_SIZE) {
            play_fail(p, "a row of more than %d characters", ROW_SIZE);
            return false;
        }
    }
    return !p->is_broken;
}

/* row FIGURE NAME=MEASURE|NUMBER...: a line of a CSV file, with the seed */
void play_row(struct play *p)
{
    const char *figure = play_word(p);
    char header[ROW_SIZE] = "seed", line[ROW_SIZE];
    size_t heads = strlen(header), used;

    used = (size_t)snprintf(line, sizeof line, "%" PRIu64, p->options->seed);
    if (!read_columns(p, header, &heads, line, &used))
        return;
    play_say(p, "%s: %s", figure, header);
    play_say(p, "%s: %s", figure, line);
    if (p->options->out != NULL)
        append(p, figure, header, line);
}

/* fates FIGURE NAME=NUMBER...: a row for each broadcast that is followed */
void play_fates(struct play *p)
{
    const char *figure = play_word(p);
    char header[ROW_SIZE] = "seed", line[ROW_SIZE], row[ROW_SIZE + 128];
    struct sim_fate f;
    size_t heads = strlen(header), used;

    used = (size_t)snprintf(line, sizeof line, "%" PRIu64, p->options->seed);
    if (!read_columns(p, header, &heads, line, &used))
        return;
    (void)snprintf(header + heads, ROW_SIZE - heads,
                   ",i,reliability,rmr,last_hop,ms");
    for (uint32_t i = 0; sim_fate(p->sim, i, &f) && !p->is_broken; i++) {
        (void)snprintf(row, sizeof row, "%s,%u,%g,%g,%u,%" PRIu64, line, i + 1,
                       f.reliability, f.rmr, f.last_hop, f.last_ms);
        if (p->options->out != NULL)
            append(p, figure, header, row);
    }
}
