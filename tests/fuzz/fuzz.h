/* fuzz.h - what the fuzz targets share.
 *
 * A target is a function of bytes: it hands them to the code that a stranger
 * reaches, and asserts what must hold whatever they are. The same source is
 * built twice: with libFuzzer's main (make fuzz), and into tests/check_fuzz,
 * which runs the seeds once (make check; any compiler). A target takes its
 * input through struct fuzz_input and never keeps a state from one run to the
 * next that a replay would lack. */
#ifndef ARGUS_TESTS_FUZZ_H
#define ARGUS_TESTS_FUZZ_H

#include <assert.h> /* never compiled out: see AM_CFLAGS */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pb.h>

#ifdef FUZZ_REPLAY
#define FUZZ_TARGET(name)                                                      \
    int fuzz_##name(const uint8_t *data, size_t size);                         \
    int fuzz_##name(const uint8_t *data, size_t size)
#else
#define FUZZ_TARGET(name)                                                      \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);              \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
#endif

/* What is left of the input. Beyond its end everything is zero, empty. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

uint8_t fuzz_u8(struct fuzz_input *in);
uint16_t fuzz_u16(struct fuzz_input *in); /* big endian, as all here */
uint32_t fuzz_u32(struct fuzz_input *in);
uint64_t fuzz_u64(struct fuzz_input *in);

/** @return the next `size` bytes, or what is left; *got says how many. */
const uint8_t *fuzz_bytes(struct fuzz_input *in, size_t size, size_t *got);

/** A part with its length in front (16 bits; cut to what is left). */
struct fuzz_input fuzz_part(struct fuzz_input *in);

/** Such a part as text; bytes behind a NUL are lost. */
void fuzz_text(struct fuzz_input *in, char *out, size_t out_size);

/** Nothing of what the code logs is written, and a peer that is gone is no
 *  signal. */
void fuzz_quiet(void);

/** A folder of this process below TMPDIR or /tmp, made at the first call and
 *  removed with the files in it at exit; not after a crash. */
const char *fuzz_folder(void);

/** fuzz_folder()/name holds these bytes. */
void fuzz_write_file(const char *name, const void *data, size_t size,
                     char path[256]);

/**
 * A message that decoded encodes again, decodes from that and encodes to the
 * same. `message` is lost.
 * @param size_max  of the encoding
 */
void fuzz_encodes_again(const pb_msgdesc_t *fields, void *message,
                        size_t message_size, size_t size_max);

#endif
