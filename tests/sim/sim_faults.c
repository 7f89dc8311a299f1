/* sim_faults.c - partitions, slow nodes, wall clocks, clones. See sim.h. */
#include "sim/sim_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/** TCP tries again so long after the way is free. */
#define RESEND_US 400000

/** Heals are numbered from 1 to this one, and again. */
#define HEALS (HEAL_NEEDLESS - 1)

/* ------------------------------------------------------------ partitions */

bool faults_is_parted(const struct sim *s, uint32_t from, uint32_t to)
{
    uint8_t a = s->nodes[from]->side, b = s->nodes[to]->side;

    return s->is_parted && a != b && (!s->is_one_way || a == 1);
}

static void hold_back(struct sim *s, struct happening *h)
{
    if (s->stuck_count == s->stuck_room) {
        s->stuck_room = s->stuck_room == 0 ? 256 : 2 * s->stuck_room;
        s->stuck =
            realloc(s->stuck, s->stuck_room * sizeof(struct happening *));
        if (s->stuck == NULL)
            abort();
    }
    s->stuck[s->stuck_count++] = h;
}

/* At that time, or in the place behind all that waits on that way. */
static void queue(struct sim *s, struct happening *h, uint64_t at_us)
{
    struct cable *c = h->cable;
    int to = simnet_side(c, h->node);

    if (at_us < c->behind_us[to])
        at_us = c->behind_us[to];
    c->behind_us[to] = at_us + 1;
    if (s->behind_us < at_us + 1)
        s->behind_us = at_us + 1;
    h->heal = c->side[to].heal;
    sim_schedule_again(s, h, at_us);
}

static void release(struct sim *s)
{
    s->is_parted = false;
    s->heal = s->heal == HEALS ? 1 : s->heal + 1;
    for (uint32_t i = 0; i < s->stuck_count; i++) {
        struct happening *h = s->stuck[i];
        h->cable->side[simnet_side(h->cable, h->node)].heal = s->heal;
        queue(s, h, s->now_us + RESEND_US);
    }
    s->stuck_count = 0;
}

/* What was sent while others before it were held back must not overtake them:
 * not when it would arrive before they do, and not when the next partition
 * holds back some or all of them. */
static bool queue_behind(struct sim *s, struct happening *h)
{
    const struct cable *c = h->cable;
    int to = simnet_side(c, h->node);

    if (c->behind_us[to] <= s->now_us || h->heal == c->side[to].heal)
        return false;
    queue(s, h, s->now_us);
    return true;
}

bool faults_hinder(struct sim *s, struct happening *h)
{
    if (h->heal == HEAL_NEEDLESS)
        return false;
    if (queue_behind(s, h))
        return true;
    if (!faults_is_parted(s, simnet_peer_of(h), h->node))
        return false;
    hold_back(s, h);
    return true;
}

void faults_check_order(struct sim *s, const struct happening *h)
{
    struct cable *c = h->cable;
    uint32_t *last = &c->arrived[simnet_side(c, h->node)];
    uint32_t sequence = (uint32_t)h->sequence;

    if (c->is_broken) /* a reset overtakes all, and nothing behind it counts */
        return;
    if (*last != 0 && (int32_t)(sequence - *last) < 0)
        sim_fail(s, "n%u: a packet of n%u came before one that was sent first",
                 h->node, simnet_peer_of(h));
    *last = sequence;
}

/* Another partition, or none, takes the place of the one there is. */
static void part(struct sim *s, bool is_one_way)
{
    s->fault_us = s->now_us;
    s->flap_at_us = UINT64_MAX;
    release(s);
    s->is_parted = true;
    s->is_one_way = is_one_way;
}

static void part_at(struct sim *s, uint32_t first)
{
    for (uint32_t i = 0; i < s->nodes_count; i++)
        s->nodes[i]->side = i >= first;
}

void sim_partition(struct sim *s, uint32_t first)
{
    part(s, false);
    part_at(s, first);
    if (s->line != NULL)
        sim_tell(s, SIM_NOBODY, "partition: below n%u and the others", first);
}

void sim_partition_one_way(struct sim *s, uint32_t first)
{
    part(s, true);
    part_at(s, first);
    if (s->line != NULL)
        sim_tell(s, SIM_NOBODY, "partition: from n%u on nobody is heard below",
                 first);
}

void sim_partition_zone(struct sim *s, uint32_t zone)
{
    part(s, false);
    for (uint32_t i = 0; i < s->nodes_count; i++)
        s->nodes[i]->side = s->nodes[i]->zone == zone;
    if (s->line != NULL)
        sim_tell(s, SIM_NOBODY, "partition: zone %u and the others", zone);
}

void sim_partition_flapping(struct sim *s, uint32_t first, uint32_t cut_ms,
                            uint32_t whole_ms)
{
    sim_partition(s, first);
    s->flap_cut_ms = cut_ms > 0 ? cut_ms : 1;
    s->flap_whole_ms = whole_ms > 0 ? whole_ms : 1;
    s->flap_at_us = s->now_us + (uint64_t)s->flap_cut_ms * 1000;
}

void faults_flap(struct sim *s)
{
    bool was_parted = s->is_parted;

    s->fault_us = s->now_us;
    if (was_parted)
        release(s);
    else
        s->is_parted = true;
    s->flap_at_us +=
        (uint64_t)(was_parted ? s->flap_whole_ms : s->flap_cut_ms) * 1000;
    if (s->line != NULL)
        sim_tell(s, SIM_NOBODY, was_parted ? "whole again" : "parted again");
}

void sim_heal(struct sim *s)
{
    s->fault_us = s->now_us;
    s->flap_at_us = UINT64_MAX;
    s->options.cut_ppm = 0;
    s->is_any_slow = false;
    for (uint32_t i = 0; i < s->nodes_count; i++)
        s->nodes[i]->slow_us = 0;
    release(s);
    if (s->line != NULL)
        sim_tell(s, SIM_NOBODY, "healed");
}

/* ----------------------------------------------------------- slow, frozen */

/* A slow node takes one frame after another, each in its time. */
uint64_t faults_queue(struct sim_node *n, uint64_t at_us)
{
    if (n->slow_us == 0)
        return at_us;
    n->work_us = (at_us > n->work_us ? at_us : n->work_us) + n->slow_us;
    return n->work_us;
}

void sim_slow(struct sim *s, uint32_t node, uint32_t us)
{
    s->fault_us = s->now_us;
    s->is_any_slow |= us > 0;
    s->nodes[node]->slow_us = us;
    if (s->line != NULL)
        sim_tell(s, node, "takes %u us for a frame", us);
}

void sim_freeze(struct sim *s, uint32_t node, uint32_t ms)
{
    uint64_t until_us = s->now_us + (uint64_t)ms * 1000;

    if (s->nodes[node]->frozen_until_us < until_us)
        s->nodes[node]->frozen_until_us = until_us;
    if (s->fault_us < until_us)
        s->fault_us = until_us;
    if (s->line != NULL)
        sim_tell(s, node, "stands still for %u ms", ms);
}

/* ----------------------------------------------------------- wall clocks */

uint64_t sim_wall_us(const struct sim *s, const struct sim_node *n)
{
    if (s->now_us < n->clock_frozen_until_us)
        return n->wall_us;
    uint64_t passed_us = s->now_us - n->clock_us;
    return n->wall_us + passed_us +
           (uint64_t)(int64_t)((double)passed_us * n->drift);
}

static uint64_t true_us(const struct sim *s)
{
    return SIM_WALL_START_US + s->now_us;
}

/* From here on it runs on from what it shows. */
static void set_clock(struct sim *s, struct sim_node *n, uint64_t wall_us)
{
    n->wall_us = wall_us;
    n->clock_us = s->now_us;
    n->clock_frozen_until_us = 0;
}

void sim_clock_offset(struct sim *s, uint32_t node, int64_t us)
{
    set_clock(s, s->nodes[node], true_us(s) + (uint64_t)us);
    if (s->line != NULL)
        sim_tell(s, node, "its clock is off by %lld us", (long long)us);
}

void sim_clock_step(struct sim *s, uint32_t node, int64_t us)
{
    struct sim_node *n = s->nodes[node];

    set_clock(s, n, sim_wall_us(s, n) + (uint64_t)us);
    if (s->line != NULL)
        sim_tell(s, node, "its clock steps by %lld us", (long long)us);
}

void sim_clock_drift(struct sim *s, uint32_t node, double ppm)
{
    struct sim_node *n = s->nodes[node];

    set_clock(s, n, sim_wall_us(s, n));
    n->drift = ppm / 1e6;
    if (s->line != NULL)
        sim_tell(s, node, "its clock drifts by %g ppm", ppm);
}

void sim_clock_freeze(struct sim *s, uint32_t node, uint32_t ms)
{
    struct sim_node *n = s->nodes[node];

    set_clock(s, n, sim_wall_us(s, n));
    n->clock_us = n->clock_frozen_until_us = s->now_us + (uint64_t)ms * 1000;
    if (s->line != NULL)
        sim_tell(s, node, "its clock stands still for %u ms", ms);
}

int64_t sim_clock_error(const struct sim *s, uint32_t node)
{
    return (int64_t)(sim_wall_us(s, s->nodes[node]) - true_us(s));
}

/* Of a normal distribution; the sum of twelve is near enough. */
static double draw_normal(struct sim *s)
{
    double sum = -6;

    for (int i = 0; i < 12; i++)
        sum += prng_double(&s->prng);
    return sum;
}

void faults_new_clock(struct sim *s, struct sim_node *n)
{
    int64_t us = 0, most = s->options.offset_ms;

    if (s->options.offset_sigma_us > 0)
        us = (int64_t)(draw_normal(s) * s->options.offset_sigma_us);
    else if (most > 0)
        us = (prng_below(&s->prng, (uint32_t)(2 * most + 1)) - most) * 1000;
    set_clock(s, n, true_us(s) + (uint64_t)us);
}

/* ---------------------------------------------------------------- clones */

uint32_t sim_clone(struct sim *s, uint32_t node)
{
    struct sim_node *of = s->nodes[node];

    if (s->options.overlay_only)
        return SIM_NOBODY;
    struct sim_node *n = sim_new_node(s, of->contact);
    n->id = of->id;
    n->generation = of->generation;
    n->last_hlc = 0;
    n->disk = disk_copy(of, &n->disk_count);
    n->disk_room = n->disk_count;
    s->fault_us = s->now_us;
    if (s->line != NULL)
        sim_tell(s, node, "is cloned: n%u", n->index);
    sim_start(s, n->index);
    return n->index;
}
