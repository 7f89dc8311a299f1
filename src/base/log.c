#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void to_stderr(enum log_level level, const char *line)
{
    (void)level;
    fprintf(stderr, "argus: %s\n", line);
}

static void (*log_sink)(enum log_level, const char *) = to_stderr;

void log_set_sink(void (*sink)(enum log_level, const char *))
{
    log_sink = sink != NULL ? sink : to_stderr;
}

/* Names from the network get into lines: a line stays one, and speaks to no
 * terminal. */
static void say(enum log_level level, char *line)
{
    text_clean(line, LOG_LINE_SIZE, line);
    log_sink(level, line);
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[LOG_LINE_SIZE];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    say(level, line);
}

void log_limited(struct log_limit *limit, uint64_t now_ms, enum log_level level,
                 const char *format, ...)
{
    if (now_ms - limit->period_start_ms >= limit->period_ms) {
        limit->period_start_ms = now_ms;
        limit->said = 0;
    }
    if (limit->said >= limit->burst) {
        limit->held++;
        return;
    }
    limit->said++;

    char line[LOG_LINE_SIZE];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(line, sizeof line, format, ap);
    va_end(ap);

    if (limit->held > 0) {
        size_t used = strlen(line);
        (void)snprintf(line + used, sizeof line - used,
                       " (and %u lines like it held back)", limit->held);
        limit->held = 0;
    }
    say(level, line);
}
