/* scenario_settings.c - what the mesh is like, before anything happens to it.
 * See scenario.h. */
#include <stddef.h>
#include <string.h>

#include "sim/scenario_impl.h"

static uint32_t us32(struct play *p)
{
    int64_t us = play_us(p);

    if (us < 0 || us > UINT32_MAX) {
        play_fail(p, "a time out of range");
        return 0;
    }
    return (uint32_t)us;
}

static bool on_or_off(struct play *p)
{
    if (play_is_word(p, "on"))
        return true;
    if (!play_is_word(p, "off"))
        play_fail(p, "on or off");
    return false;
}

/* latency uniform MIN MAX | log-normal MEDIAN SIGMA */
static void set_latency(struct play *p)
{
    if (play_is_word(p, "uniform")) {
        p->mesh.latency = SIM_UNIFORM;
        p->mesh.latency_min_us = us32(p);
        p->mesh.latency_max_us = us32(p);
    } else if (play_is_word(p, "log-normal")) {
        p->mesh.latency = SIM_LOG_NORMAL;
        p->mesh.latency_median_us = us32(p);
        p->mesh.latency_sigma = play_number(p);
    } else {
        play_fail(p, "latency uniform MIN MAX, or log-normal MEDIAN SIGMA");
    }
}

/* zones N FAR, or zones N T11 T12 ... TNN: from row to column, one way */
static void set_zones(struct play *p)
{
    p->mesh.zones = play_count(p);
    if (p->mesh.zones > SIM_ZONES_MAX) {
        play_fail(p, "at most %d zones", SIM_ZONES_MAX);
        return;
    }
    uint32_t first = us32(p);
    if (!play_has_word(p)) {
        p->mesh.zone_far_us = first;
        return;
    }
    p->zone_us[0] = first;
    for (uint32_t i = 1; i < p->mesh.zones * p->mesh.zones; i++)
        p->zone_us[i] = us32(p);
    p->mesh.zone_us = p->zone_us;
}

/* join at-once | spread TIME | one-by-one GAP | later */
static void set_join(struct play *p)
{
    p->mesh.join_gap_us = p->mesh.spread_ms = 0;
    if (play_is_word(p, "one-by-one"))
        p->mesh.join_gap_us = us32(p);
    else if (play_is_word(p, "spread"))
        p->mesh.spread_ms = play_ms(p);
    else if (play_is_word(p, "later"))
        p->mesh.quiet = true;
    else if (!play_is_word(p, "at-once"))
        play_fail(p, "join at-once, one-by-one GAP, spread TIME or later");
}

static void set_strategy(struct play *p)
{
    static const char *const known[] = {"hyparview", "full", "client-server",
                                        "static"};
    const char *word = play_word(p);

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(word, known[i]) == 0)
            p->mesh.strategy = known[i];
    if (p->mesh.strategy == NULL)
        play_fail(p, "there is no strategy \"%s\"", word);
}

static void set_bias(struct play *p)
{
    p->mesh.zone_bias = on_or_off(p);
}

static void set_light(struct play *p)
{
    p->mesh.overlay_only = true;
}

static void set_codec(struct play *p)
{
    p->mesh.pass_codec_by = !on_or_off(p);
}

static void set_disks(struct play *p)
{
    p->mesh.disks_off = !on_or_off(p);
}

static void set_clocks(struct play *p)
{
    if (play_is_word(p, "within"))
        p->mesh.offset_ms = play_ms(p);
    else if (play_is_word(p, "sigma"))
        p->mesh.offset_sigma_us = us32(p);
    else
        play_fail(p, "clocks within TIME, or clocks sigma TIME");
}

#define AT(field) offsetof(struct sim_options, field)

bool play_setting(struct play *p, const char *word)
{
    static const struct {
        const char *word;
        size_t at;
        uint32_t (*read)(struct play *p);
    } numbers[] = {
        {"nodes", AT(nodes), play_count},
        {"aggregators", AT(aggregators), play_count},
        {"active", AT(active_max), play_count},
        {"passive", AT(passive_max), play_count},
        {"retain", AT(retain_events), play_count},
        {"jitter", AT(jitter_pct), play_count},
        {"asymmetry", AT(asymmetry_pct), play_count},
        {"clock-peers", AT(clock_peers), play_count},
        {"bandwidth", AT(node_mbit), play_count},
        {"cuts", AT(cut_ppm), play_count},
        {"ping", AT(ping_ms), play_ms},
        {"suspect", AT(suspect_ms), play_ms},
        {"cycle", AT(shuffle_ms), play_ms},
        {"check", AT(check_ms), play_ms},
        {"retain-offline", AT(forget_ms), play_ms},
    };
    static const struct {
        const char *word;
        void (*read)(struct play *p);
    } others[] = {{"latency", set_latency},   {"zones", set_zones},
                  {"bias", set_bias},         {"join", set_join},
                  {"strategy", set_strategy}, {"light", set_light},
                  {"codec", set_codec},       {"disks", set_disks},
                  {"clocks", set_clocks}};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(word, numbers[i].word) != 0)
            continue;
        uint32_t value = numbers[i].read(p);
        memcpy((char *)&p->mesh + numbers[i].at, &value, sizeof value);
        return true;
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(word, others[i].word) != 0)
            continue;
        others[i].read(p);
        return true;
    }
    return false;
}
