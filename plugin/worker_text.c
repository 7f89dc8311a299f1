#include "worker_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

int text_read(int fd, size_t size_max, struct worker_text *out,
              struct argus_error *err)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return argus_fail_errno(err, "the text of the bundle");
    if (status.st_size < 0 || (size_t)status.st_size > size_max)
        return argus_fail(err, ARGUS_EDENIED,
                          "the text has %lld bytes; at most %zu are allowed",
                          (long long)status.st_size, size_max);
    out->size = 0;
    out->bytes = malloc((size_t)status.st_size + 1);
    if (out->bytes == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "the text of the bundle");
    while (out->size < (size_t)status.st_size) {
        ssize_t got =
            pread(fd, out->bytes + out->size,
                  (size_t)status.st_size - out->size, (off_t)out->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            text_free(out);
            return argus_fail_errno(err, "the text of the bundle");
        }
        if (got == 0)
            break;
        out->size += (size_t)got;
    }
    out->bytes[out->size] = '\0';
    return ARGUS_OK;
}

static const char *find_word(const char *from, const char *end)
{
    return memmem(from, (size_t)(end - from), TEXT_BUNDLE_WORD,
                  strlen(TEXT_BUNDLE_WORD));
}

static size_t count_words(const struct worker_text *text)
{
    const char *at = text->bytes, *end = text->bytes + text->size;
    size_t count = 0;

    while ((at = find_word(at, end)) != NULL) {
        at += strlen(TEXT_BUNDLE_WORD);
        count++;
    }
    return count;
}

int text_replace(struct worker_text *text, const char *folder, size_t size_max,
                 struct argus_error *err)
{
    const size_t word = strlen(TEXT_BUNDLE_WORD), length = strlen(folder);
    size_t count = count_words(text);

    if (count == 0)
        return ARGUS_OK;
    if (length == 0)
        return argus_fail(err, ARGUS_EDENIED,
                          TEXT_BUNDLE_WORD " is named, but the bundle has no "
                                           "files");
    size_t size = text->size - count * word;
    if (count > size_max / length || size + count * length > size_max)
        return argus_fail(err, ARGUS_EDENIED,
                          "with " TEXT_BUNDLE_WORD " replaced the text has "
                          "more than the %zu bytes that are allowed",
                          size_max);
    size += count * length;

    char *bytes = malloc(size + 1), *to = bytes;
    if (bytes == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "the text of the bundle");
    const char *at = text->bytes, *end = text->bytes + text->size, *next;
    while ((next = find_word(at, end)) != NULL) {
        to = mempcpy(to, at, (size_t)(next - at));
        to = mempcpy(to, folder, length);
        at = next + word;
    }
    to = mempcpy(to, at, (size_t)(end - at));
    *to = '\0';
    free(text->bytes);
    *text = (struct worker_text){.bytes = bytes, .size = size};
    return ARGUS_OK;
}

int text_seal(const struct worker_text *text, struct argus_error *err)
{
    int fd = memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t done = 0;

    if (fd < 0) {
        (void)argus_fail_errno(err, "memory for the text");
        return -1;
    }
    while (done < text->size) {
        ssize_t put = write(fd, text->bytes + done, text->size - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            goto close_fd;
        done += (size_t)put;
    }
    if (fcntl(fd, F_ADD_SEALS,
              F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
        return fd;

close_fd:
    (void)argus_fail_errno(err, "memory for the text");
    (void)close(fd);
    return -1;
}

void text_free(struct worker_text *text)
{
    free(text->bytes);
    *text = (struct worker_text){0};
}

static bool is_same_folder(const char *path, const struct stat *wanted)
{
    struct stat status;

    return stat(path, &status) == 0 && status.st_dev == wanted->st_dev &&
           status.st_ino == wanted->st_ino;
}

void text_spell_folder(const char *folder, const struct stat *status, char *out,
                       size_t out_size)
{
    static const char *const ways[] = {"/proc/self/cwd/bundle",
                                       "/proc/self/cwd/../bundle"};

    text_copy(out, out_size, folder);
    if (is_same_folder(folder, status))
        return;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        if (is_same_folder(ways[i], status))
            text_copy(out, out_size, ways[i]);
}
