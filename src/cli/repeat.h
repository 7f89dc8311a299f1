/* repeat.h - --watch: a question asked again and again. */
#ifndef ARGUS_CLI_REPEAT_H
#define ARGUS_CLI_REPEAT_H

#include "cli/cli.h"

/** Run a verb every cli->watch_s seconds until the program is interrupted or
 *  nobody reads any more. On a terminal the answer is painted over the one
 *  before; else the answers follow each other (--json: an object a line). A
 *  daemon that does not answer is asked again too.
 *  @return an exit code: of a call that was wrong, or whose help was asked. */
int repeat_verb(struct cli *cli, const struct verb *verb, int argc,
                char **argv);

#endif
