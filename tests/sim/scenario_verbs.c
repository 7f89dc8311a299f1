/* scenario_verbs.c - what happens to the mesh. See scenario.h.
 *
 * WHICH, of nodes: `17` or `40%` of the living, at random; `node 5`; `nodes 5
 * 90` (from, to); `zone 2`; `all`. */
#include <stdlib.h>
#include <string.h>

#include "sim/scenario_impl.h"

/** Seconds of real time between two words about a long run. */
#define TELL_S 10

/* -------------------------------------------------------------- selection */

struct chosen {
    uint32_t *nodes;
    uint32_t count;
};

static void choose_where(struct play *p, struct chosen *c, uint32_t from,
                         uint32_t to, uint32_t zone)
{
    for (uint32_t i = from; i <= to && i < sim_nodes(p->sim); i++)
        if (zone == UINT32_MAX || sim_zone(p->sim, i) == zone)
            c->nodes[c->count++] = i;
}

/* Of those that live (or do not), each as likely: the head of a shuffled list.
 */
static void choose_random(struct play *p, struct chosen *c, bool living)
{
    uint32_t all = 0;

    for (uint32_t i = 0; i < sim_nodes(p->sim); i++)
        if (sim_is_alive(p->sim, i) == living)
            c->nodes[all++] = i;
    uint32_t count = play_share(p, all);
    for (c->count = 0; c->count < count; c->count++) {
        uint32_t k = c->count + prng_below(&p->prng, all - c->count);
        uint32_t node = c->nodes[k];
        c->nodes[k] = c->nodes[c->count];
        c->nodes[c->count] = node;
    }
}

static struct chosen choose(struct play *p, bool living)
{
    struct chosen c = {.nodes = calloc(sim_nodes(p->sim), sizeof *c.nodes)};

    if (c.nodes == NULL)
        abort();
    if (play_is_word(p, "all")) {
        choose_where(p, &c, 0, UINT32_MAX - 1, UINT32_MAX);
    } else if (play_is_word(p, "node")) {
        uint32_t node = play_count(p);
        choose_where(p, &c, node, node, UINT32_MAX);
    } else if (play_is_word(p, "nodes")) {
        uint32_t from = play_count(p);
        choose_where(p, &c, from, play_count(p), UINT32_MAX);
    } else if (play_is_word(p, "zone")) {
        choose_where(p, &c, 0, UINT32_MAX - 1, play_count(p));
    } else {
        choose_random(p, &c, living);
    }
    if (p->is_broken)
        c.count = 0;
    return c;
}

/* The same for each of those that are meant. */
static void each(struct play *p, void (*verb)(struct sim *, uint32_t),
                 bool living)
{
    struct chosen c = choose(p, living);

    for (uint32_t i = 0; i < c.count; i++)
        if (sim_is_alive(p->sim, c.nodes[i]) == living)
            verb(p->sim, c.nodes[i]);
    free(c.nodes);
}

/* ------------------------------------------------------------------ verbs */

/* A long one shows now and then how far it is. */
static void do_run(struct play *p)
{
    uint32_t ms = play_ms(p);
    double told_s = play_wall_s();

    while (ms > 0 && sim_failure(p->sim) == NULL) {
        uint32_t piece = ms < 1000 ? ms : 1000;
        sim_run(p->sim, piece);
        ms -= piece;
        if (play_wall_s() - told_s > TELL_S) {
            told_s = play_wall_s();
            play_say(p, "%u nodes live, %u s to go", sim_alive_count(p->sim),
                     ms / 1000);
        }
    }
}

/* broadcast [COUNT [every TIME]] [from NODE] */
static void do_broadcast(struct play *p)
{
    uint32_t count = 1, gap_ms = 0, from = UINT32_MAX;

    if (play_has_word(p) && !play_is_word(p, "from"))
        count = play_count(p);
    else if (play_has_word(p))
        from = play_count(p);
    if (play_is_word(p, "every"))
        gap_ms = play_ms(p);
    if (play_is_word(p, "from"))
        from = play_count(p);
    for (uint32_t i = 0; i < count && sim_failure(p->sim) == NULL; i++) {
        uint32_t node = from == UINT32_MAX ? sim_random_alive(p->sim) : from;
        if (node == UINT32_MAX || !sim_is_alive(p->sim, node)) {
            play_fail(p, "nobody is there to send");
            return;
        }
        sim_broadcast(p->sim, node, "told by the scenario");
        if (gap_ms > 0)
            sim_run(p->sim, gap_ms);
    }
}

static void do_start(struct play *p)
{
    each(p, sim_start, false);
}

static void do_late(struct play *p)
{
    each(p, sim_late_disconnect, true);
}

static void do_restart(struct play *p)
{
    struct chosen c = choose(p, true);

    for (uint32_t i = 0; i < c.count; i++)
        sim_restart(p->sim, c.nodes[i]);
    free(c.nodes);
}

static void do_crash(struct play *p)
{
    each(p, sim_crash, true);
}

static void do_unplug(struct play *p)
{
    each(p, sim_unplug, true);
}

static void do_stop(struct play *p)
{
    each(p, sim_stop, true);
}

static void clone(struct sim *s, uint32_t node)
{
    (void)sim_clone(s, node);
}

static void do_clone(struct play *p)
{
    each(p, clone, true);
}

static void do_freeze(struct play *p)
{
    struct chosen c = choose(p, true);
    uint32_t ms = play_ms(p);

    for (uint32_t i = 0; i < c.count; i++)
        sim_freeze(p->sim, c.nodes[i], ms);
    free(c.nodes);
}

static void do_slow(struct play *p)
{
    struct chosen c = choose(p, true);
    int64_t us = play_us(p);

    for (uint32_t i = 0; i < c.count; i++)
        sim_slow(p->sim, c.nodes[i], (uint32_t)us);
    free(c.nodes);
}

/* partition SHARE | one-way SHARE | flapping SHARE CUT WHOLE | zone Z */
static void do_partition(struct play *p)
{
    uint32_t nodes = sim_nodes(p->sim);

    if (play_is_word(p, "one-way")) {
        sim_partition_one_way(p->sim, play_share(p, nodes));
    } else if (play_is_word(p, "flapping")) {
        uint32_t first = play_share(p, nodes), cut_ms = play_ms(p);
        sim_partition_flapping(p->sim, first, cut_ms, play_ms(p));
    } else if (play_is_word(p, "zone")) {
        sim_partition_zone(p->sim, play_count(p));
    } else {
        sim_partition(p->sim, play_share(p, nodes));
    }
}

/* mark: `since_s` counts from here; so it does from `heal` */
static void do_mark(struct play *p)
{
    p->mark_ms = sim_now_ms(p->sim);
}

static void do_heal(struct play *p)
{
    do_mark(p);
    sim_heal(p->sim);
}

/* clock offset|step|freeze WHICH TIME, clock drift WHICH PPM */
static void do_clock(struct play *p)
{
    const char *what = play_word(p);
    struct chosen c = choose(p, true);
    bool is_drift = strcmp(what, "drift") == 0;
    double ppm = is_drift ? play_number(p) : 0;
    int64_t us = is_drift ? 0 : play_us(p);

    for (uint32_t i = 0; i < c.count; i++) {
        if (is_drift)
            sim_clock_drift(p->sim, c.nodes[i], ppm);
        else if (strcmp(what, "offset") == 0)
            sim_clock_offset(p->sim, c.nodes[i], us);
        else if (strcmp(what, "step") == 0)
            sim_clock_step(p->sim, c.nodes[i], us);
        else if (strcmp(what, "freeze") == 0)
            sim_clock_freeze(p->sim, c.nodes[i], (uint32_t)(us / 1000));
        else
            play_fail(p, "clock offset, step, freeze or drift");
    }
    free(c.nodes);
}

static void do_cut(struct play *p)
{
    for (uint32_t i = play_count(p); i > 0; i--)
        sim_cut_random(p->sim);
}

/* meet NODE CONTACT: argusctl join */
static void do_meet(struct play *p)
{
    uint32_t node = play_count(p);

    sim_join(p->sim, node, play_count(p));
}

static void do_push(struct play *p)
{
    const char *name = play_word(p);

    (void)sim_push(p->sim, sim_random_alive(p->sim), name, play_count(p));
}

static void do_values(struct play *p)
{
    uint32_t series = play_count(p);

    sim_values(p->sim, series, series > 0 ? play_ms(p) : 0);
}

/* insider NODE KIND FRAMES_PER_MS; KIND: by number, see enum sim_nonsense */
static void do_insider(struct play *p)
{
    uint32_t node = play_count(p), kind = play_count(p);

    if (kind >= NONSENSE_KINDS)
        play_fail(p, "there are %d kinds of nonsense", NONSENSE_KINDS);
    else
        sim_insider(p->sim, node, (enum sim_nonsense)kind, play_count(p));
}

static void do_forget(struct play *p)
{
    sim_forget(p->sim);
}

/* healing PROBES MAX: measures it */
static void do_healing(struct play *p)
{
    uint32_t probes = play_count(p);

    p->healing = sim_healing(p->sim, probes, play_count(p));
}

/* shape [SOURCES]: measures the overlay, from so many nodes or all */
static void do_shape(struct play *p)
{
    sim_shape(p->sim, play_has_word(p) ? play_count(p) : 0, &p->shape);
    p->shape_at = sim_now_ms(p->sim) + 1;
}

/* count: `messages` and `bytes` are those sent from here on */
static void do_count(struct play *p)
{
    sim_traffic(p->sim, &p->traffic);
    p->count_ms = sim_now_ms(p->sim);
}

static void do_say(struct play *p)
{
    char text[1024] = "";
    size_t used = 0;

    while (play_has_word(p) && used + SCENARIO_WORD_SIZE + 1 < sizeof text) {
        const char *word = play_word(p);
        size_t size = strlen(word);
        if (used > 0)
            text[used++] = ' ';
        memcpy(text + used, word, size + 1);
        used += size;
    }
    play_say(p, "%s", text);
}

bool play_verb(struct play *p, const char *word)
{
    static const struct {
        const char *word;
        void (*verb)(struct play *p);
    } verbs[] = {
        {"run", do_run},
        {"broadcast", do_broadcast},
        {"forget", do_forget},
        {"start", do_start},
        {"restart", do_restart},
        {"crash", do_crash},
        {"late", do_late},
        {"unplug", do_unplug},
        {"stop", do_stop},
        {"clone", do_clone},
        {"freeze", do_freeze},
        {"slow", do_slow},
        {"partition", do_partition},
        {"heal", do_heal},
        {"clock", do_clock},
        {"cut", do_cut},
        {"meet", do_meet},
        {"push", do_push},
        {"values", do_values},
        {"insider", do_insider},
        {"healing", do_healing},
        {"shape", do_shape},
        {"count", do_count},
        {"say", do_say},
        {"chaos", play_chaos},
        {"peace", play_peace},
        {"demand", play_demand},
        {"row", play_row},
        {"mark", do_mark},
        {"fates", play_fates},
    };

    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(word, verbs[i].word) == 0) {
            verbs[i].verb(p);
            return true;
        }
    }
    return false;
}
