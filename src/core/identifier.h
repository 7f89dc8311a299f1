/* identifier.h - the five names of a series as one key: each with its NUL, in
 * the order host, plugin, plugin instance, type, type instance. */
#ifndef ARGUS_CORE_IDENTIFIER_H
#define ARGUS_CORE_IDENTIFIER_H

#include <stdint.h>
#include <string.h>

/** Longest name with its NUL; as in argus.options and in collectd. */
#define IDENTIFIER_PART_SIZE 128
#define IDENTIFIER_SIZE (5 * IDENTIFIER_PART_SIZE)

struct identifier {
    uint32_t size;
    char text[IDENTIFIER_SIZE];
};

/** @return 0 when a name is too long or the host is empty, else 1. */
static inline int identifier_make(struct identifier *out,
                                  const char *const parts[5])
{
    out->size = 0;
    for (int i = 0; i < 5; i++) {
        size_t length = strnlen(parts[i], IDENTIFIER_PART_SIZE);
        if (length == IDENTIFIER_PART_SIZE)
            return 0;
        memcpy(out->text + out->size, parts[i], length + 1);
        out->size += (uint32_t)length + 1;
    }
    return out->text[0] != '\0';
}

#endif
