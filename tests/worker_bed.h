/* worker_bed.h - what tests of workers share: a loop, a StateDir, bundles whose
 * content is in memory, and the log. */
#ifndef ARGUS_TESTS_WORKER_BED_H
#define ARGUS_TESTS_WORKER_BED_H

#include <uv.h>

#include "core/content.h"

#define BED_BUNDLES_MAX 16

struct bed_bundle {
    argus_Manifest manifest;
    uint8_t hash[CONTENT_HASH_SIZE];
    char content[8192];
};

struct worker_bed {
    uv_loop_t loop;
    uv_timer_t beat; /* so that waiting looks again */
    char dir[256];
    struct bed_bundle bundles[BED_BUNDLES_MAX];
    unsigned bundles_count;
    struct chunk_store chunks;
    char log[16384]; /* all lines */
};

extern struct worker_bed wbed;

void bed_open(void);

/** Ends with the assertion that the loop has nothing left to do. */
void bed_close(void);

/** The script of fake_worker.c, and a file "x" if file is not NULL. */
struct bed_bundle *bed_bundle(const char *name, uint32_t version,
                              const char *script, const char *file);

/** Turn the loop until the condition holds; false: not within limit_ms. */
bool bed_wait(bool (*holds)(void), unsigned limit_ms);

/** Turn it for so long. */
void bed_turn(unsigned ms);

bool bed_logged(const char *text);

/** Entries in StateDir/workers. */
unsigned bed_folders(void);

/** Live processes that bear a mark of this test's workers. */
unsigned bed_processes(void);

#endif
