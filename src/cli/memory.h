/* memory.h - memory in a program of one question: where there is none it says
 * so and ends with EXIT_FAILURE, so that no caller has to ask. */
#ifndef ARGUS_CLI_MEMORY_H
#define ARGUS_CLI_MEMORY_H

#include <stddef.h>

/** What malloc() and its like gave. @return the same, never NULL. */
void *memory_must(void *memory);

/** Room for one more element in an array of so many: where it is full, twice as
 *  much. @return the array. */
void *memory_grow(void *array, size_t count, size_t *room, size_t element_size);

#endif
