/* parcel.h - what is pushed, in memory: the text and files of a version, and
 * the manifest that describes them.
 *
 * A signed bundle in a file is: a first line that says so (PARCEL_MAGIC), four
 * bytes, big endian, for the size of a packed SignedBundle, that, and then the
 * content up to the end of the file. */
#ifndef ARGUS_CLI_PARCEL_H
#define ARGUS_CLI_PARCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/status.h"
#include "core/content.h"

#define PARCEL_MAGIC "argus signed bundle 1\n"

struct parcel {
    argus_Manifest manifest;   /* files and index are filled in here */
    argus_SignedBundle bundle; /* once signed */
    bool is_signed;
    uint8_t *content; /* all files, one behind the other */
    size_t size;
    uint8_t index[CONTENT_CHUNK_SIZE];
    size_t index_size;
};

/**
 * Read the text of a bundle, or a signed bundle (is_signed says which, manifest
 * and bundle are then whole). parcel_free() it in any case.
 * @param path  "-": standard input.
 * @retval ARGUS_EIO       cannot read.
 * @retval ARGUS_EINVAL    empty, no text, or damaged; err says what and where.
 * @retval ARGUS_ETOOLARGE beyond CONTENT_SIZE_MAX; it is not read to its end.
 */
int parcel_read(struct parcel *p, const char *path, struct argus_error *err);

/** Add a file to an unsigned one: "PATH" or "PATH=NAME". The same answers. */
int parcel_add(struct parcel *p, const char *argument, struct argus_error *err);

/** All files are in: make the index. */
void parcel_seal(struct parcel *p);

/** The chunks to send, the index first. @return its size; 0: no more. */
size_t parcel_chunk(const struct parcel *p, uint32_t number,
                    const uint8_t **out);

/** Write a signed bundle; replaces what is there. */
int parcel_write(const struct parcel *p, const char *path,
                 struct argus_error *err);

void parcel_free(struct parcel *p);

#endif
