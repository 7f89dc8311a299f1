#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/log.h"

/* ------------------------------------------------------------ the input */

const uint8_t *fuzz_bytes(struct fuzz_input *in, size_t size, size_t *got)
{
    const uint8_t *bytes = in->data;

    *got = size < in->size ? size : in->size;
    in->data += *got;
    in->size -= *got;
    return bytes;
}

static uint64_t number(struct fuzz_input *in, size_t size)
{
    uint64_t n = 0;
    size_t got;
    const uint8_t *bytes = fuzz_bytes(in, size, &got);

    for (size_t i = 0; i < got; i++)
        n = n << 8 | bytes[i];
    return n;
}

uint8_t fuzz_u8(struct fuzz_input *in)
{
    return (uint8_t)number(in, 1);
}

uint16_t fuzz_u16(struct fuzz_input *in)
{
    return (uint16_t)number(in, 2);
}

uint32_t fuzz_u32(struct fuzz_input *in)
{
    return (uint32_t)number(in, 4);
}

uint64_t fuzz_u64(struct fuzz_input *in)
{
    return number(in, 8);
}

struct fuzz_input fuzz_part(struct fuzz_input *in)
{
    struct fuzz_input part;

    part.size = fuzz_u16(in);
    part.data = fuzz_bytes(in, part.size, &part.size);
    return part;
}

void fuzz_text(struct fuzz_input *in, char *out, size_t out_size)
{
    struct fuzz_input part = fuzz_part(in);
    size_t size = part.size < out_size ? part.size : out_size - 1;

    if (size > 0)
        memcpy(out, part.data, size);
    out[size] = '\0';
}

/* -------------------------------------------------------------- the rest */

static void swallow(enum log_level level, const char *line)
{
    (void)level;
    assert(strlen(line) < LOG_LINE_SIZE);
}

void fuzz_quiet(void)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as collectd does */
    log_set_sink(swallow);
}

static char folder[96];

static void remove_folder(void)
{
    char path[512];
    struct dirent *entry;
    DIR *dir = opendir(folder);

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        (void)remove(path);
    }
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(folder);
}

/* Short, for a socket has its name in it. */
const char *fuzz_folder(void)
{
    const char *base = getenv("TMPDIR");

    if (folder[0] != '\0')
        return folder;
    if (base == NULL || strlen(base) > sizeof folder - 32)
        base = "/tmp";
    (void)snprintf(folder, sizeof folder, "%s/argus-fuzz-XXXXXX", base);
    if (mkdtemp(folder) == NULL)
        abort();
    (void)atexit(remove_folder);
    return folder;
}

void fuzz_write_file(const char *name, const void *data, size_t size,
                     char path[256])
{
    (void)snprintf(path, 256, "%s/%s", fuzz_folder(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    (void)close(fd);
}

/* Whole messages, so large ones: as much as any frame, and then some. */
static uint8_t once[1 << 17], twice[1 << 17];

static size_t encode(const pb_msgdesc_t *fields, const void *message,
                     uint8_t *out, size_t size_max)
{
    pb_ostream_t stream = pb_ostream_from_buffer(out, size_max);
    bool is_sound = pb_encode(&stream, fields, message);

    assert(is_sound && "what decoded encodes");
    return stream.bytes_written;
}

void fuzz_encodes_again(const pb_msgdesc_t *fields, void *message,
                        size_t message_size, size_t size_max)
{
    assert(size_max <= sizeof once);
    size_t size = encode(fields, message, once, size_max);
    pb_istream_t stream = pb_istream_from_buffer(once, size);

    memset(message, 0x5a, message_size); /* nothing of before may show */
    bool is_sound = pb_decode(&stream, fields, message);
    assert(is_sound && "what was encoded decodes");
    assert(encode(fields, message, twice, size_max) == size);
    assert(memcmp(once, twice, size) == 0 && "and is the same");
}
