#include "argus_config.h" /* GNU extensions */

#include "cli/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "cli/signer.h"
#include "core/manifest.h"

#define MAGIC_SIZE (sizeof PARCEL_MAGIC - 1)
#define LENGTH_SIZE 4
#define OVERHEAD_MAX (MAGIC_SIZE + LENGTH_SIZE + argus_SignedBundle_size)
#define READ_SIZE 65536

/* -------------------------------------------------------------- reading */

struct file {
    uint8_t *data;
    size_t size;
    mode_t mode;
};

static int fail_too_large(struct argus_error *err, const char *path)
{
    return argus_fail(err, ARGUS_ETOOLARGE,
                      "%s: larger than %llu MiB, which no bundle may be", path,
                      (unsigned long long)(CONTENT_SIZE_MAX >> 20));
}

/* Up to the end, or one byte beyond the bound. */
static int read_all(int fd, struct file *f, size_t most, const char *path,
                    struct argus_error *err)
{
    size_t room = 0;

    for (;;) {
        if (f->size == room) {
            room += READ_SIZE;
            uint8_t *data = realloc(f->data, room);
            if (data == NULL)
                return argus_fail(err, ARGUS_ENOMEM, "no memory for %s", path);
            f->data = data;
        }
        ssize_t n = read(fd, f->data + f->size, room - f->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return argus_fail_errno(err, "cannot read %s", path);
        if (n == 0)
            return ARGUS_OK;
        f->size += (size_t)n;
        if (f->size > most)
            return fail_too_large(err, path);
    }
}

/* f->data is the caller's to free in any case. */
static int read_file(const char *path, size_t most, struct file *f,
                     struct argus_error *err)
{
    struct stat st;
    bool is_input = strcmp(path, "-") == 0;
    int fd = is_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int rc;

    memset(f, 0, sizeof *f);
    if (fd < 0)
        return argus_fail_errno(err, "cannot read %s", path);
    if (fstat(fd, &st) != 0)
        rc = argus_fail_errno(err, "cannot read %s", path);
    else if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > most)
        rc = fail_too_large(err, path);
    else
        rc = read_all(fd, f, most, path, err);
    f->mode = st.st_mode;
    if (!is_input)
        (void)close(fd);
    return rc;
}

/* ------------------------------------------------------------- the text */

/* Control characters that no configuration has: what is given is no text. */
static bool is_binary(uint8_t c)
{
    return c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f';
}

static int check_text(const struct file *f, const char *path,
                      struct argus_error *err)
{
    unsigned line = 1;
    bool at_begin = true, has_statement = false;

    for (size_t i = 0; i < f->size; i++) {
        uint8_t c = f->data[i];
        if (is_binary(c))
            return argus_fail(err, ARGUS_EINVAL,
                              "%s: line %u holds the byte 0x%02x: this is no "
                              "text",
                              path, line, c);
        if (c == '\n') {
            line++;
            at_begin = true;
        } else if (at_begin && c > ' ') {
            has_statement |= c != '#';
            at_begin = false;
        }
    }
    return has_statement
               ? ARGUS_OK
               : argus_fail(err, ARGUS_EINVAL,
                            "%s: there is no statement in it (to take a "
                            "bundle away: argusctl config remove)",
                            path);
}

static int append(struct parcel *p, const struct file *f, const char *name,
                  const char *path, struct argus_error *err)
{
    const size_t most = sizeof p->manifest.files / sizeof p->manifest.files[0];
    argus_BundleFile *row = &p->manifest.files[p->manifest.files_count];

    if (p->manifest.files_count == most)
        return argus_fail(err, ARGUS_EINVAL,
                          "a bundle holds at most %zu files beside its text",
                          most - 1);
    if (p->size + f->size > CONTENT_SIZE_MAX)
        return fail_too_large(err, path);
    uint8_t *content = realloc(p->content, p->size + f->size + 1);
    if (content == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for %s", path);
    if (f->size > 0)
        memcpy(content + p->size, f->data, f->size);
    p->content = content;
    p->size += f->size;
    (void)snprintf(row->name, sizeof row->name, "%s", name);
    row->size = (uint32_t)f->size;
    row->executable = name[0] != '\0' && (f->mode & 0111) != 0;
    signer_digest(f->data, f->size, row->sha256);
    p->manifest.files_count++;
    return ARGUS_OK;
}

/* ---------------------------------------------------------- what is signed */

static bool is_signed(const struct file *f)
{
    return f->size >= MAGIC_SIZE &&
           memcmp(f->data, PARCEL_MAGIC, MAGIC_SIZE) == 0;
}

static int fail_damaged(struct argus_error *err, const char *path,
                        const char *why)
{
    return argus_fail(err, ARGUS_EINVAL,
                      "%s is a signed bundle, but a damaged one: %s", path,
                      why);
}

/* Each file must be what the manifest says: the daemon would find out, but
 * only after all of it was sent. */
static int check_files(struct parcel *p, const char *path,
                       struct argus_error *err)
{
    uint8_t hash[CONTENT_HASH_SIZE];
    size_t offset = 0;

    if (content_size(&p->manifest) != p->size)
        return fail_damaged(err, path, "it is cut short, or too long");
    for (pb_size_t i = 0; i < p->manifest.files_count; i++) {
        const argus_BundleFile *f = &p->manifest.files[i];
        signer_digest(p->content + offset, f->size, hash);
        if (memcmp(hash, f->sha256, sizeof hash) != 0)
            return fail_damaged(err, path, "a file is not what was signed");
        offset += f->size;
    }
    parcel_seal(p);
    signer_digest(p->index, p->index_size, hash);
    if (!p->manifest.removed &&
        memcmp(hash, p->manifest.index.bytes, sizeof hash) != 0)
        return fail_damaged(err, path, "its index is not what was signed");
    return ARGUS_OK;
}

static int open_signed(struct parcel *p, const struct file *f, const char *path,
                       struct argus_error *err)
{
    const uint8_t *at = f->data + MAGIC_SIZE;
    size_t left = f->size - MAGIC_SIZE;
    struct argus_error why;

    if (left < LENGTH_SIZE)
        return fail_damaged(err, path, "it is cut short");
    size_t size =
        (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    at += LENGTH_SIZE;
    left -= LENGTH_SIZE;
    if (size > left)
        return fail_damaged(err, path, "it is cut short");
    pb_istream_t in = pb_istream_from_buffer(at, size);
    if (!pb_decode(&in, argus_SignedBundle_fields, &p->bundle))
        return fail_damaged(err, path, PB_GET_ERROR(&in));
    if (manifest_open(&p->bundle, &p->manifest, &why) != ARGUS_OK)
        return fail_damaged(err, path, why.text);
    p->is_signed = true;
    p->size = left - size;
    p->content = malloc(p->size + 1);
    if (p->content == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "no memory for %s", path);
    memcpy(p->content, at + size, p->size);
    return check_files(p, path, err);
}

int parcel_read(struct parcel *p, const char *path, struct argus_error *err)
{
    struct file f;

    memset(p, 0, sizeof *p);
    int rc = read_file(path, CONTENT_SIZE_MAX + OVERHEAD_MAX, &f, err);
    if (rc == ARGUS_OK && is_signed(&f)) {
        rc = open_signed(p, &f, path, err);
    } else if (rc == ARGUS_OK) {
        rc = check_text(&f, path, err);
        if (rc == ARGUS_OK)
            rc = append(p, &f, "", path, err);
    }
    free(f.data);
    return rc;
}

/* ------------------------------------------------------------- more files */

/* "PATH=NAME" unless there is a file of that whole name. */
static const char *split_name(const char *argument, char *path, size_t size)
{
    const char *equals = strrchr(argument, '=');
    const char *slash = strrchr(argument, '/');
    bool has_name = equals != NULL && (slash == NULL || slash < equals) &&
                    access(argument, F_OK) != 0;
    size_t length = has_name ? (size_t)(equals - argument) : strlen(argument);

    if (length == 0 || length >= size)
        return NULL;
    memcpy(path, argument, length);
    path[length] = '\0';
    if (has_name)
        return equals + 1;
    return slash != NULL ? slash + 1 : argument;
}

static bool has_file(const struct parcel *p, const char *name)
{
    for (pb_size_t i = 0; i < p->manifest.files_count; i++)
        if (strcmp(p->manifest.files[i].name, name) == 0)
            return true;
    return false;
}

int parcel_add(struct parcel *p, const char *argument, struct argus_error *err)
{
    char path[4096];
    const char *name = split_name(argument, path, sizeof path);
    struct file f;

    if (name == NULL)
        return argus_fail(err, ARGUS_EINVAL, "--file %s: that is no path",
                          argument);
    if (!manifest_name_is_sound(name))
        return argus_fail(err, ARGUS_EINVAL,
                          "--file %s: \"%s\" is no name in a bundle (1 to 63 "
                          "letters, digits, \".\", \"_\" and \"-\", not \".\" "
                          "or \"-\" first); say PATH=NAME",
                          argument, name);
    if (has_file(p, name))
        return argus_fail(err, ARGUS_EINVAL,
                          "two files are named \"%s\"; say PATH=NAME", name);
    int rc = read_file(path, CONTENT_SIZE_MAX, &f, err);
    if (rc == ARGUS_OK)
        rc = append(p, &f, name, path, err);
    free(f.data);
    return rc;
}

/* --------------------------------------------------------------- chunks */

static size_t stretch(const struct parcel *p, uint32_t number,
                      const uint8_t **out)
{
    size_t offset = (size_t)number * CONTENT_CHUNK_SIZE;

    if (offset >= p->size)
        return 0;
    *out = p->content + offset;
    return p->size - offset < CONTENT_CHUNK_SIZE ? p->size - offset
                                                 : CONTENT_CHUNK_SIZE;
}

void parcel_seal(struct parcel *p)
{
    const uint8_t *data;
    size_t size;

    p->index_size = 0;
    for (uint32_t i = 0; (size = stretch(p, i, &data)) > 0; i++) {
        signer_digest(data, size, p->index + p->index_size);
        p->index_size += CONTENT_HASH_SIZE;
    }
    if (p->is_signed)
        return; /* what it says was checked */
    p->manifest.index.size = CONTENT_HASH_SIZE;
    signer_digest(p->index, p->index_size, p->manifest.index.bytes);
}

size_t parcel_chunk(const struct parcel *p, uint32_t number,
                    const uint8_t **out)
{
    if (number > 0)
        return stretch(p, number - 1, out);
    *out = p->index;
    return p->index_size;
}

/* -------------------------------------------------------------- writing */

static int write_whole(FILE *file, const struct parcel *p)
{
    uint8_t packed[argus_SignedBundle_size], length[LENGTH_SIZE];
    pb_ostream_t stream = pb_ostream_from_buffer(packed, sizeof packed);

    if (!pb_encode(&stream, argus_SignedBundle_fields, &p->bundle)) {
        errno = EMSGSIZE;
        return -1;
    }
    size_t size = stream.bytes_written;
    for (int i = 0; i < LENGTH_SIZE; i++)
        length[i] = (uint8_t)(size >> (24 - 8 * i));
    return fputs(PARCEL_MAGIC, file) >= 0 &&
                   fwrite(length, 1, sizeof length, file) == sizeof length &&
                   fwrite(packed, 1, size, file) == size &&
                   fwrite(p->content, 1, p->size, file) == p->size
               ? 0
               : -1;
}

int parcel_write(const struct parcel *p, const char *path,
                 struct argus_error *err)
{
    bool is_output = strcmp(path, "-") == 0;
    FILE *file = is_output ? stdout : fopen(path, "wbe");

    if (file == NULL)
        return argus_fail_errno(err, "cannot write %s", path);
    int rc = write_whole(file, p) == 0 && fflush(file) == 0
                 ? ARGUS_OK
                 : argus_fail_errno(err, "cannot write %s", path);
    if (!is_output && fclose(file) != 0 && rc == ARGUS_OK)
        rc = argus_fail_errno(err, "cannot write %s", path);
    return rc;
}

void parcel_free(struct parcel *p)
{
    free(p->content);
    p->content = NULL;
}
