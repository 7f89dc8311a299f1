#include "cli/tar.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 512

/* The fields of a header that are not zero (POSIX.1-2017, pax, ustar). */
struct header {
    char name[TAR_NAME_SIZE];
    char mode[8], uid[8], gid[8], size[12], time[12], sum[8];
    char type;
    char link[100];
    char magic[6], version[2];
    char rest[BLOCK - 265];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is a block");

/* Digits as many as fit, and a NUL. */
static void put_octal(char *out, size_t size, uint64_t value)
{
    out[--size] = '\0';
    while (size > 0) {
        out[--size] = (char)('0' + value % 8);
        value /= 8;
    }
}

bool tar_add(FILE *out, const char *name, const void *data, size_t size,
             time_t time)
{
    static const char zeros[BLOCK];
    struct header h;
    unsigned sum = 0;

    if (strlen(name) >= sizeof h.name)
        return false;
    memset(&h, 0, sizeof h);
    memcpy(h.name, name, strlen(name));
    put_octal(h.mode, sizeof h.mode, 0600);
    put_octal(h.uid, sizeof h.uid, 0);
    put_octal(h.gid, sizeof h.gid, 0);
    put_octal(h.size, sizeof h.size, size);
    put_octal(h.time, sizeof h.time, time > 0 ? (uint64_t)time : 0);
    h.type = '0';
    memcpy(h.magic, "ustar", sizeof h.magic);
    memcpy(h.version, "00", sizeof h.version);
    memset(h.sum, ' ', sizeof h.sum);
    for (size_t i = 0; i < sizeof h; i++)
        sum += ((const unsigned char *)&h)[i];
    put_octal(h.sum, sizeof h.sum - 1, sum); /* and a space behind the NUL */
    size_t pad = (BLOCK - size % BLOCK) % BLOCK;
    return fwrite(&h, 1, sizeof h, out) == sizeof h &&
           fwrite(data, 1, size, out) == size &&
           fwrite(zeros, 1, pad, out) == pad;
}

bool tar_finish(FILE *out)
{
    static const char zeros[2 * BLOCK];

    return fwrite(zeros, 1, sizeof zeros, out) == sizeof zeros;
}
