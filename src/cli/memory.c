#include "cli/memory.h"

#include <stdio.h>
#include <stdlib.h>

void *memory_must(void *memory)
{
    if (memory == NULL) {
        (void)fputs("argusctl: out of memory\n", stderr);
        exit(EXIT_FAILURE);
    }
    return memory;
}

void *memory_grow(void *array, size_t count, size_t *room, size_t element_size)
{
    if (count < *room)
        return array;
    *room = *room == 0 ? 16 : 2 * *room;
    return memory_must(realloc(array, *room * element_size));
}
