#include "argus_config.h"

#include "worker_bed.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "folder.h"
#include "test.h"

struct worker_bed wbed;

/* -------------------------------------------------------------- content */

static bool chunk_has(void *context, const uint8_t hash[CONTENT_HASH_SIZE])
{
    (void)context;
    return hash[1] < wbed.bundles_count;
}

static size_t chunk_get(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                        uint8_t out[CONTENT_CHUNK_SIZE])
{
    const struct bed_bundle *b = &wbed.bundles[hash[1]];
    size_t size = (size_t)content_size(&b->manifest);

    (void)context;
    if (hash[0] == 'i') { /* the index: one chunk */
        memset(out, 0, CONTENT_HASH_SIZE);
        out[0] = 'c';
        out[1] = hash[1];
        return CONTENT_HASH_SIZE;
    }
    memcpy(out, b->content, size);
    return size;
}

struct bed_bundle *bed_bundle(const char *name, uint32_t version,
                              const char *script, const char *file)
{
    CU_ASSERT_FATAL(wbed.bundles_count < BED_BUNDLES_MAX);
    struct bed_bundle *b = &wbed.bundles[wbed.bundles_count];
    argus_Manifest *m = &b->manifest;

    memset(b, 0, sizeof *b);
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    m->version = version;
    m->index.size = CONTENT_HASH_SIZE;
    m->index.bytes[0] = 'i';
    m->index.bytes[1] = (uint8_t)wbed.bundles_count;
    m->files_count = 1;
    m->files[0].size = (uint32_t)strlen(script);
    (void)snprintf(b->content, sizeof b->content, "%s%s", script,
                   file != NULL ? file : "");
    if (file != NULL) {
        m->files_count = 2;
        (void)snprintf(m->files[1].name, sizeof m->files[1].name, "x");
        m->files[1].size = (uint32_t)strlen(file);
        m->files[1].executable = true;
    }
    b->hash[0] = 'm';
    b->hash[1] = (uint8_t)++wbed.bundles_count;
    return b;
}

/* ------------------------------------------------------------------ loop */

static void on_beat(uv_timer_t *timer)
{
    (void)timer;
}

static void sink(enum log_level level, const char *line)
{
    size_t used = strlen(wbed.log);

    (void)level;
    (void)snprintf(wbed.log + used, sizeof wbed.log - used, "%s\n", line);
}

void bed_open(void)
{
    memset(&wbed, 0, sizeof wbed);
    folder_make(wbed.dir);
    wbed.chunks = (struct chunk_store){.has = chunk_has, .get = chunk_get};
    CU_ASSERT_EQUAL_FATAL(uv_loop_init(&wbed.loop), 0);
    (void)uv_timer_init(&wbed.loop, &wbed.beat);
    (void)uv_timer_start(&wbed.beat, on_beat, 5, 5);
    log_set_sink(sink);
}

void bed_close(void)
{
    char workers[300];

    uv_close((uv_handle_t *)&wbed.beat, NULL);
    (void)uv_run(&wbed.loop, UV_RUN_DEFAULT);
    CU_ASSERT_EQUAL(uv_loop_close(&wbed.loop), 0);
    CU_ASSERT_EQUAL(bed_folders(), 0);
    CU_ASSERT_EQUAL(bed_processes(), 0);
    (void)snprintf(workers, sizeof workers, "%s/workers", wbed.dir);
    (void)rmdir(workers);
    folder_remove(wbed.dir);
    log_set_sink(NULL);
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

bool bed_wait(bool (*holds)(void), unsigned limit_ms)
{
    uint64_t end_ms = now_ms() + limit_ms;

    while (!holds()) {
        if (now_ms() > end_ms)
            return false;
        (void)uv_run(&wbed.loop, UV_RUN_ONCE);
    }
    return true;
}

void bed_turn(unsigned ms)
{
    uint64_t end_ms = now_ms() + ms;

    while (now_ms() < end_ms)
        (void)uv_run(&wbed.loop, UV_RUN_ONCE);
}

bool bed_logged(const char *text)
{
    return strstr(wbed.log, text) != NULL;
}

/* -------------------------------------------------------------- what is left
 */

unsigned bed_folders(void)
{
    char workers[300];
    struct dirent *entry;
    unsigned count = 0;

    (void)snprintf(workers, sizeof workers, "%s/workers", wbed.dir);
    DIR *list = opendir(workers);
    while (list != NULL && (entry = readdir(list)) != NULL)
        count += entry->d_name[0] != '.';
    if (list != NULL)
        (void)closedir(list);
    return count;
}

static bool bears_mark(const char *pid, const char *mark)
{
    char path[64], text[8192];

    (void)snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text) : 0;
    if (fd >= 0)
        (void)close(fd);
    return size > 0 && memmem(text, (size_t)size, mark, strlen(mark)) != NULL;
}

unsigned bed_processes(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    char mark[64];
    unsigned count = 0;

    (void)snprintf(mark, sizeof mark, "ARGUS_WORKER=%d.", (int)getpid());
    while (proc != NULL && (entry = readdir(proc)) != NULL)
        count += isdigit((unsigned char)entry->d_name[0]) &&
                 bears_mark(entry->d_name, mark);
    if (proc != NULL)
        (void)closedir(proc);
    return count;
}
