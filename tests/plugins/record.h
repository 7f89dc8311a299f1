/* record.h - one value in a ledger: what the test plugins write and
 * tests/e2e/check_ledgers.py reads. Little-endian, 32 bytes.
 *
 * A ledger is a file of records, appended to with one write(2) each or in small
 * batches, so that SIGKILL loses nothing that was written. A record of series 0
 * begins a life of the process: time is when, first is its pid. */
#ifndef ARGUS_TESTS_PLUGINS_RECORD_H
#define ARGUS_TESTS_PLUGINS_RECORD_H

#include "collectd.h"

#include "configfile.h"
#include "plugin.h"

struct record {
    uint64_t series; /* FNV-1a of the identifier; 0: a life begins */
    uint64_t time;   /* cdtime */
    uint64_t first;  /* bits of the first value */
    uint32_t count;  /* data sources */
    uint32_t sum;    /* FNV-1a of all values, folded */
};

_Static_assert(sizeof(struct record) == 32, "check_ledgers.py knows the size");

static inline uint64_t fnv1a(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

#define FNV1A_START 0xcbf29ce484222325u

static inline struct record record_of(const value_list_t *vl)
{
    char name[6 * DATA_MAX_NAME_LEN];
    struct record record = {.time = vl->time,
                            .count = (uint32_t)vl->values_len};

    int length =
        snprintf(name, sizeof name, "%s/%s-%s/%s-%s", vl->host, vl->plugin,
                 vl->plugin_instance, vl->type, vl->type_instance);
    record.series = fnv1a(FNV1A_START, name, (size_t)length);
    memcpy(&record.first, &vl->values[0], sizeof record.first);
    uint64_t sum =
        fnv1a(FNV1A_START, vl->values, vl->values_len * sizeof vl->values[0]);
    record.sum = (uint32_t)(sum ^ (sum >> 32));
    return record;
}

/** All or nothing: a short write is an error. */
static inline int records_append(int fd, const struct record *records,
                                 size_t count)
{
    ssize_t size = (ssize_t)(count * sizeof *records);

    return write(fd, records, (size_t)size) == size ? 0 : -1;
}

/** Open a ledger and begin a life in it; -1 with errno. */
static inline int ledger_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    struct record life = {.time = cdtime(), .first = (uint64_t)getpid()};

    if (fd >= 0 && records_append(fd, &life, 1) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

#endif
