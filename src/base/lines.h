/* lines.h - memory that begins with a cache line, for what is asked for so
 * often that it matters how many lines it lies in. */
#ifndef ARGUS_BASE_LINES_H
#define ARGUS_BASE_LINES_H

#include <stddef.h>

#define LINE_SIZE 64

/** All zero; to be given to free(). @return NULL: no memory. */
void *lines_alloc(size_t size);

#endif
