/* folder.h - a folder of its own for a test that needs files. */
#ifndef ARGUS_TESTS_FOLDER_H
#define ARGUS_TESTS_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

/** Make one under $TMPDIR; text of at most 256 bytes. */
void folder_make(char out[256]);

/** Remove it and the files in it (one level deep). */
void folder_remove(const char *folder);

bool file_exists(const char *folder, const char *name);
bool file_write(const char *folder, const char *name, const void *data,
                size_t size);

/** @return bytes read, at most size; -1: no such file. */
long file_read(const char *folder, const char *name, void *out, size_t size);

#endif
