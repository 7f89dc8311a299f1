/* capture.h - what a verb prints, as text: for a screen, for a file. */
#ifndef ARGUS_CLI_CAPTURE_H
#define ARGUS_CLI_CAPTURE_H

#include <stddef.h>

#include "cli/cli.h"

struct capture {
    char *text; /* ends with a NUL; free() it. NULL: out of memory */
    size_t size;
    int code; /* of the verb */
};

/** Run a verb with its standard output, and its complaints too, collected.
 *  @param errors  false: complaints go nowhere. */
struct capture capture_run(struct cli *cli, const struct verb *verb, int argc,
                           char **argv, bool errors);

/** The same with the words as one text, split at spaces: "members --json". At
 *  most CAPTURE_WORDS_MAX words; the first is the verb's name. */
struct capture capture_words(struct cli *cli, const struct verb *verb,
                             const char *words, bool errors);
#define CAPTURE_WORDS_MAX 16

#endif
