/* scenario.h - a run of the simulator, told by a short file.
 *
 * A line is a statement: a word, then arguments, apart by spaces; "#" begins a
 * comment. `nodes` and other settings stand before the first verb, which makes
 * the mesh. README of the language: tests/sim/scenarios/README.
 *
 *   nodes 1000
 *   light                          # overlay and trees alone
 *   join one-by-one 20ms
 *   run 50 cycles
 *   branch FAIL 10 50 90           # each from the same state (fork)
 *     unplug $FAIL%
 *     broadcast 1000 every 2ms
 *     run 2s
 *     row fig2 failed=$FAIL reliability=reliability
 *     demand reliability >= 0.99
 *   end
 *
 * What is demanded and does not come, and an invariant that breaks, end the
 * run; the line that replays it is printed. Bounds: SCENARIO_LINES_MAX lines of
 * SCENARIO_WORDS_MAX words. */
#ifndef ARGUS_TESTS_SCENARIO_H
#define ARGUS_TESTS_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

#define SCENARIO_LINES_MAX 512
#define SCENARIO_WORDS_MAX 24
#define SCENARIO_NAMES_MAX 32
#define SCENARIO_WORD_SIZE 64

struct scenario; /* opaque: a file that was read */

/* NAME=VALUE, for $NAME in the file. */
struct scenario_name {
    char name[SCENARIO_WORD_SIZE], value[SCENARIO_WORD_SIZE];
};

struct scenario_options {
    uint64_t seed;
    struct scenario_name names[SCENARIO_NAMES_MAX]; /* over the file's own */
    uint32_t names_count;
    const char *out; /* folder of the CSV files; NULL: rows are printed only */
    bool trace;      /* tell the story, a line each */
    bool quiet;      /* nothing but failures */
};

/** @retval ARGUS_EINVAL  it is none; err names the line.
 *  @retval ARGUS_EIO, ARGUS_ENOMEM */
int scenario_read(const char *path, struct scenario **out,
                  struct argus_error *err);
void scenario_free(struct scenario *sc);

/** @return false: something broke; it was told on standard output. */
bool scenario_run(const struct scenario *sc,
                  const struct scenario_options *options);

#endif
