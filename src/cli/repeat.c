#include "argus_config.h" /* GNU extensions */

#include "cli/repeat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/capture.h"
#include "cli/json.h"
#include "cli/screen.h"
#include "cli/when.h"

static void sleep_s(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds,
                         .tv_nsec =
                             (long)((seconds - (double)(time_t)seconds) * 1e9)};
    (void)nanosleep(&t, NULL);
}

/* What is on the terminal. */
struct picture {
    struct screen_size size;
    int lines;
};

static void put_line(const struct cli *cli, const char *line)
{
    screen_put_line(stdout, line, screen_line_size(line), cli->width);
    fputc('\n', stdout);
}

/* The line above the answer says that it is alive. */
static void put_head(const struct cli *cli, const struct verb *verb, int code)
{
    char time[TIME_TEXT_SIZE], line[256];

    time_text(when_now_us(), time);
    int used = snprintf(line, sizeof line, "%.8sZ  argusctl %s, every %g s",
                        time + 11, verb->name, cli->watch_s);
    if (code != EXIT_DONE && used > 0 && (size_t)used < sizeof line)
        (void)snprintf(line + used, sizeof line - (size_t)used,
                       ", exit code %d", code);
    put_line(cli, line);
}

/* Over the picture before: from its first line, or, when the terminal got
 * another size and lines may have wrapped, from the top of a clear screen. */
static void paint(const struct cli *cli, struct picture *p,
                  const struct verb *verb, const struct capture *answer)
{
    struct screen_size now = screen_size();
    const char *line = answer->text != NULL ? answer->text : "";
    int left = 0;

    if (p->lines > 0 &&
        (now.rows != p->size.rows || now.columns != p->size.columns))
        fputs("\033[H\033[2J", stdout);
    else if (p->lines > 0)
        printf("\033[%dA\r", p->lines);
    p->size = now;
    put_head(cli, verb, answer->code);
    for (p->lines = 1; *line != '\0';
         line += screen_line_size(line), line += *line == '\n') {
        if (p->lines + 2 >= now.rows) {
            left++;
            continue;
        }
        put_line(cli, line);
        p->lines++;
    }
    if (left > 0) {
        char more[64];
        (void)snprintf(more, sizeof more, "... and %d more lines", left);
        put_line(cli, more);
        p->lines++;
    }
    fputs("\033[J", stdout);
}

static int repeat_on_terminal(struct cli *cli, const struct verb *verb,
                              int argc, char **argv)
{
    struct picture picture = {.lines = 0};

    for (;;) {
        cli->width = screen_size().columns;
        struct capture answer = capture_run(cli, verb, argc, argv, true);
        if (cli->help || answer.code == EXIT_USAGE || cli->watch_s <= 0) {
            fputs(answer.text != NULL ? answer.text : "",
                  answer.code == EXIT_USAGE ? stderr : stdout);
            free(answer.text);
            return answer.code;
        }
        paint(cli, &picture, verb, &answer);
        free(answer.text);
        if (fflush(stdout) != 0)
            return EXIT_BAD;
        sleep_s(cli->watch_s);
    }
}

int repeat_verb(struct cli *cli, const struct verb *verb, int argc, char **argv)
{
    if (!cli->json && isatty(STDOUT_FILENO))
        return repeat_on_terminal(cli, verb, argc, argv);
    for (;;) {
        int code = verb->run(cli, argc, argv);
        if (cli->help || code == EXIT_USAGE || cli->watch_s <= 0)
            return code;
        if (!cli->json)
            fputc('\n', stdout);
        if (fflush(stdout) != 0)
            return EXIT_BAD;
        sleep_s(cli->watch_s);
    }
}
