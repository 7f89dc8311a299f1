/* fuzz_twin.h - two engines that can dial each other. A script cannot know the
 * sums, hashes and keys that a long exchange is made of; an engine that keeps
 * the rules can, and the script alters what it says on the way.
 *
 * Each is a world of its own, with all that fuzz_world.h asserts. A link
 * between them keeps the order of its frames; what is sent to a link that is
 * gone is lost. */
#ifndef ARGUS_TESTS_FUZZ_TWIN_H
#define ARGUS_TESTS_FUZZ_TWIN_H

#include "fuzz_world.h"

#define TWIN_WHO 12

/** What happens to the frames that are carried: byte `at` of the frame with
 * that number, and of each `every` behind it (0: only of that one), is another.
 */
struct twin_fault {
    uint32_t frame, at, every;
    uint8_t change; /* 0: none */
};

/** Twin of a world that is open, at the same time of day. */
void twin_open(struct world *twin, struct world *own, uint8_t flavor);

/** Whatever they dial of each other comes up, and time passes in both. */
void twin_pass(struct world *own, uint32_t ms, const struct twin_fault *fault);

/** Both are closed; what was on its way is gone. */
void twin_close(struct world *own);

#endif
