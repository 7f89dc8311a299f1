/* fake_worker.h - what runs in place of a collectd in tests of workers: the
 * test program itself, started again. The text of the bundle is its script, one
 * word or line after the other (see fake_worker.c). */
#ifndef ARGUS_TESTS_FAKE_WORKER_H
#define ARGUS_TESTS_FAKE_WORKER_H

#include <stdbool.h>

/** Is this process one? */
bool fake_worker_is_wanted(const char *program);

/** Run the script; does not return. */
void fake_worker_run(void);

#endif
