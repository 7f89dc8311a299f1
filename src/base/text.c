#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void text_copy(char *out, size_t out_size, const char *text)
{
    (void)snprintf(out, out_size, "%s", text != NULL ? text : "");
}

void text_format(char *out, size_t out_size, const char *format, va_list ap)
{
    (void)vsnprintf(out, out_size, format, ap);
}

void text_say(char *out, size_t out_size, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    text_format(out, out_size, format, ap);
    va_end(ap);
}

void text_time(char *out, size_t out_size, uint64_t unix_us)
{
    time_t seconds = (time_t)(unix_us / 1000000);
    struct tm tm = {0};

    (void)gmtime_r(&seconds, &tm);
    text_say(out, out_size, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ",
             tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec, (unsigned)(unix_us % 1000000 / 1000));
}

static void clean(char *out, size_t out_size, const char *text, char quote)
{
    size_t i;

    if (out_size == 0)
        return;
    for (i = 0; i + 1 < out_size && text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];
        out[i] = c < 0x20 || c == 0x7f || (quote != '\0' && text[i] == quote)
                     ? '?'
                     : text[i];
    }
    out[i] = '\0';
}

void text_clean(char *out, size_t out_size, const char *text)
{
    clean(out, out_size, text, '\0');
}

void text_clean_word(char *out, size_t out_size, const char *text)
{
    clean(out, out_size, text, '"');
}

static bool copy_part(char *out, size_t out_size, const char *from, size_t size)
{
    if (size >= out_size)
        return false;
    memcpy(out, from, size);
    out[size] = '\0';
    return true;
}

/* A number must be a port; anything else is taken for a service name, which
 * has no sign, space or bracket in it. */
static bool port_is_sound(const char *port)
{
    if (strspn(port, "0123456789") == strlen(port)) {
        unsigned number = 0;
        for (const char *p = port; *p != '\0'; p++) {
            number = number * 10 + (unsigned)(*p - '0');
            if (number > 65535)
                return false;
        }
        return number > 0;
    }
    for (const char *p = port; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c <= 0x20 || c >= 0x7f || strchr("[]:/\"", c) != NULL)
            return false;
    }
    return true;
}

bool text_split_address(const char *address, char *host, size_t host_size,
                        char *port, size_t port_size)
{
    const char *colon = strrchr(address, ':');
    const char *end;

    if (colon == NULL || colon[1] == '\0')
        return false;
    if (address[0] == '[') {
        address++;
        end = strchr(address, ']');
        if (end == NULL || end + 1 != colon || end == address)
            return false;
    } else {
        end = colon;
        if (memchr(address, ':', (size_t)(end - address)) != NULL)
            return false; /* an IPv6 literal without its brackets */
    }
    for (const char *p = address; p < end; p++)
        if ((unsigned char)*p <= 0x20 || strchr("\x7f\"[]", *p) != NULL)
            return false;
    return copy_part(host, host_size, address, (size_t)(end - address)) &&
           copy_part(port, port_size, colon + 1, strlen(colon + 1)) &&
           port_is_sound(port);
}

bool text_is_service(const char *address)
{
    return address[0] == '_' && strchr(address, ':') == NULL;
}

bool text_join_address(char *out, size_t out_size, const char *host,
                       const char *port)
{
    const char *format = strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s";
    int size = snprintf(out, out_size, format, host, port);

    return size > 0 && (size_t)size < out_size;
}
