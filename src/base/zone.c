#include "base/zone.h"

#include <string.h>

/* FNV-1a (Fowler, Noll, Vo), 32 bits, folded to 16; never 0. */
static uint64_t part_pack(const char *part, size_t size)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)part[i]) * 16777619u;
    uint16_t folded = (uint16_t)(hash ^ hash >> 16);
    return folded != 0 ? folded : 1;
}

uint64_t zone_pack(const char *zone)
{
    uint64_t packed = 0;

    for (int shift = 48; shift >= 0; shift -= 16) {
        size_t size = strcspn(zone, "/");
        if (size == 0)
            break;
        packed |= part_pack(zone, size) << shift;
        zone += size;
        if (*zone == '/')
            zone++;
    }
    return packed;
}

uint32_t zone_common(uint64_t a, uint64_t b)
{
    uint32_t parts = 0;

    for (int shift = 48; shift >= 0; shift -= 16) {
        uint16_t left = (uint16_t)(a >> shift), right = (uint16_t)(b >> shift);
        if (left == 0 || left != right)
            break;
        parts++;
    }
    return parts;
}
