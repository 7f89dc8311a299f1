#include "argus_config.h" /* GNU extensions */

#include "cli/capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct capture capture_run(struct cli *cli, const struct verb *verb, int argc,
                           char **argv, bool errors)
{
    struct capture c = {.code = EXIT_BAD};
    FILE *out = open_memstream(&c.text, &c.size);
    FILE *nowhere = errors ? NULL : fopen("/dev/null", "w");
    FILE *own_out = stdout, *own_err = stderr;

    if (out == NULL || (!errors && nowhere == NULL)) {
        if (out != NULL)
            (void)fclose(out);
        free(c.text);
        c.text = NULL;
        return c;
    }
    (void)fflush(stdout);
    stdout = out; /* glibc has them as variables */
    stderr = errors ? out : nowhere;
    c.code = verb->run(cli, argc, argv);
    stdout = own_out;
    stderr = own_err;
    (void)fclose(out);
    if (nowhere != NULL)
        (void)fclose(nowhere);
    return c;
}

struct capture capture_words(struct cli *cli, const struct verb *verb,
                             const char *words, bool errors)
{
    char *argv[CAPTURE_WORDS_MAX + 1] = {NULL};
    char *copy = strdup(words);
    char *save = NULL;
    int argc = 0;

    if (copy == NULL)
        return (struct capture){.code = EXIT_BAD};
    for (char *word = strtok_r(copy, " ", &save);
         word != NULL && argc < CAPTURE_WORDS_MAX;
         word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    struct capture c = capture_run(cli, verb, argc, argv, errors);
    free(copy);
    return c;
}
