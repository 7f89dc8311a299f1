#include "argus_config.h" /* GNU extensions */

#include "cli/when.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

uint64_t when_now_us(void)
{
    struct timeval tv;

    (void)gettimeofday(&tv, NULL);
    return (uint64_t)tv.tv_sec * 1000000 + (uint64_t)tv.tv_usec;
}

/* "90", "90s", "10m", "2h", "1d"; more than 64 bits hold is "very long". */
static bool parse_duration(const char *text, uint64_t *out_us)
{
    static const struct {
        const char *unit;
        uint64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    const uint64_t most = UINT64_MAX / 1000000;
    char *end = NULL;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long long count = strtoull(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0)
            continue;
        *out_us = errno != 0 || count > most / units[i].seconds
                      ? UINT64_MAX
                      : count * units[i].seconds * 1000000;
        return true;
    }
    return false;
}

bool when_past(const char *text, uint64_t *out_us)
{
    uint64_t now = when_now_us(), ago;

    if (!parse_duration(text, &ago))
        return false;
    /* before all: 0 would mean the same, but "unset" */
    *out_us = ago >= now ? 1 : now - ago;
    return true;
}

bool when_future(const char *text, uint64_t *out_us)
{
    uint64_t now = when_now_us(), ahead;

    if (text[0] != '+' || !parse_duration(text + 1, &ahead) ||
        ahead > WHEN_LAST_US - now)
        return false;
    *out_us = now + ahead;
    return true;
}

/* Offset of "Z" or "+hh:mm" in seconds. @return false: it is neither. */
static bool parse_zone(const char *text, long *out_s)
{
    int hours, minutes, used = 0;

    *out_s = 0;
    if ((text[0] == 'Z' || text[0] == 'z') && text[1] == '\0')
        return true;
    if ((text[0] != '+' && text[0] != '-') ||
        sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 ||
        used != 5 || text[6] != '\0')
        return false;
    *out_s = (hours * 3600L + minutes * 60L) * (text[0] == '-' ? -1 : 1);
    return true;
}

bool when_rfc3339(const char *text, uint64_t *out_us)
{
    struct tm tm = {0};
    long zone_s;
    uint64_t us = 0;

    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL)
        return false;
    if (*rest == '.') {
        uint64_t scale = 100000;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
            us += (uint64_t)(*rest - '0') * scale;
    }
    if (!parse_zone(rest, &zone_s))
        return false;
    time_t seconds = timegm(&tm) - zone_s;
    if (seconds < 0)
        return false;
    *out_us = (uint64_t)seconds * 1000000 + us;
    return true;
}
