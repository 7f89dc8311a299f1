/* scenario_impl.h - what the files of the scenario language share:
 *   scenario.c           files, names, blocks, the run
 *   scenario_settings.c  what the mesh is like
 *   scenario_verbs.c     what happens to it
 *   scenario_chaos.c     faults at random, then peace
 *   scenario_measures.c  what is asked of it */
#ifndef ARGUS_TESTS_SCENARIO_IMPL_H
#define ARGUS_TESTS_SCENARIO_IMPL_H

#include "base/prng.h"
#include "sim/scenario.h"
#include "sim/sim.h"

struct line {
    uint32_t number; /* in the file, from 1 */
    uint32_t words_count;
    char words[SCENARIO_WORDS_MAX][SCENARIO_WORD_SIZE];
    uint32_t end; /* of a block: index of its `end` */
};

struct scenario {
    char path[512];
    struct line *lines;
    uint32_t count, room;
};

/* A run of one, at one of its lines. */
struct play {
    const struct scenario *scenario;
    const struct scenario_options *options;
    struct scenario_name names[SCENARIO_NAMES_MAX];
    uint32_t names_count;
    struct sim_options mesh;
    uint32_t zone_us[SIM_ZONES_MAX * SIM_ZONES_MAX];
    struct sim *sim;   /* NULL: still in the settings */
    struct prng prng;  /* of what happens; the simulator has its own */
    struct line now;   /* with its names put in */
    uint32_t word;     /* the next to be read */
    uint32_t healing;  /* cycles, as last measured */
    uint64_t mark_ms;  /* virtual, of the last `heal` or `mark` */
    uint64_t count_ms; /* of `count` */
    uint32_t in_branch;
    bool is_broken;    /* stop */
    double started_s;  /* wall clock */
    uint64_t shape_at; /* virtual ms of `shape`, plus one; 0: none */
    struct sim_shape shape;
    struct sim_traffic traffic; /* when `count` was said */
};

/* ---- scenario.c */

/** Something is wrong with the line or with what it demands: the run ends. */
void play_fail(struct play *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Real time, monotonic. */
double play_wall_s(void);

/** The words of the line, one after the other. Each fails the run and returns
 *  something harmless when it is not there or is none. */
const char *play_word(struct play *p);
bool play_has_word(const struct play *p);
/** The next word, if it is this one. */
bool play_is_word(struct play *p, const char *word);
uint32_t play_count(struct play *p);
double play_number(struct play *p);
/** "5ms", "2s", "3m", "1h", "200us"; or two words, "50 cycles". Microseconds.
 */
int64_t play_us(struct play *p);
uint32_t play_ms(struct play *p);
/** "17" or "40%" of `whole`. */
uint32_t play_share(struct play *p, uint32_t whole);

/** Text with a place and a time. */
void play_say(const struct play *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- @return false: there is no such word. */
bool play_setting(struct play *p, const char *word);
bool play_verb(struct play *p, const char *word);

/* ---- scenario_chaos.c */
void play_chaos(struct play *p);
void play_peace(struct play *p);

/* ---- scenario_measures.c */
void play_demand(struct play *p);
void play_row(struct play *p);
void play_fates(struct play *p);

#endif
