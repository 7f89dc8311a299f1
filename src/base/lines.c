#include "base/lines.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *lines_alloc(size_t size)
{
    if (size > SIZE_MAX - LINE_SIZE)
        return NULL;
    size = (size + LINE_SIZE - 1) / LINE_SIZE * LINE_SIZE;
    void *p = aligned_alloc(LINE_SIZE, size);

    if (p != NULL)
        memset(p, 0, size);
    return p;
}
