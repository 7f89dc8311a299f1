/* text.h - copying and cutting text; what strangers wrote among it. */
#ifndef ARGUS_BASE_TEXT_H
#define ARGUS_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Copy, cut to fit. NULL gives "". */
void text_copy(char *out, size_t out_size, const char *text);

/** vsnprintf(3), cut to fit, for those who must not know of files. */
void text_format(char *out, size_t out_size, const char *format, va_list ap)
    __attribute__((format(printf, 3, 0)));

void text_say(char *out, size_t out_size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** "2026-01-31T12:00:00.123Z"; what does not fit is cut. */
void text_time(char *out, size_t out_size, uint64_t unix_us);

/** Copy a sentence with control characters replaced by '?', so that a stranger
 *  cannot break a log line. Cut to fit. */
void text_clean(char *out, size_t out_size, const char *text);

/** The same for a word that will stand in quotes: those are replaced too. */
void text_clean_word(char *out, size_t out_size, const char *text);

/**
 * Split "host:port", "[v6]:port" or ":port". The port is a number from 1 to
 * 65535 or, in a configuration, a service name.
 * @return false: not of that form, or a part does not fit.
 */
bool text_split_address(const char *address, char *host, size_t host_size,
                        char *port, size_t port_size);

/** Is that the name of a DNS service, "_argus._tcp.example.org"? It stands
 * where "host:port" may, for SRV records name ports themselves. */
bool text_is_service(const char *address);

/** Join host and port, with brackets around an IPv6 literal. @return false:
 *  does not fit. */
bool text_join_address(char *out, size_t out_size, const char *host,
                       const char *port);

#endif
