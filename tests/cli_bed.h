/* cli_bed.h - argusctl as scripts use it: the real program against a control
 * socket whose daemon is played by hooks. Both run in one loop. The program is
 * ./argusctl, or $ARGUSCTL. */
#ifndef ARGUS_TESTS_CLI_BED_H
#define ARGUS_TESTS_CLI_BED_H

#include <stdbool.h>

#include <jansson.h>

#include "runtime/control.h"

extern struct cli_bed {
    char dir[256];       /* a folder for files of the test */
    char *out;           /* what the last run printed, */
    char *err;           /* and complained */
    json_t *json;        /* out, if it is JSON */
    const char *columns; /* "COLUMNS=60" if nothing else is said */
    const char *path;    /* "PATH=...", or NULL: none is set */
    double took_ms;      /* the last run, from fork to exit */
} bed;

void bed_begin(const struct control_hooks *hooks);
void bed_finish(void);

/** Run argusctl with words split at spaces; "_" in a word stands for a space,
 *  "DIR/" for the folder of the test.
 *  @return its exit code. */
int run(const char *words);

bool prints(const char *text);
bool complains(const char *text);

/** A string in an object of JSON; "(none)" when it is not there. */
const char *text_at(json_t *object, const char *name);

/** names ends with NULL; prints what is missing. */
bool has_keys(json_t *object, const char *const *names);

#endif
