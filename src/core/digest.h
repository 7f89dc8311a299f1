/* digest.h - what a node publishes, packed for its record.
 *
 * A run of Publisher messages (argus.proto), each behind its length, in which
 * what is as in the one before is left out: a machine of 64 processors costs
 * some 400 bytes. Rates are rounded to a quarter of a power of two, times to
 * seconds.
 *
 * Pure; no memory is taken. What comes from the wire is hostile: digest_next()
 * ends at the first thing that is wrong. */
#ifndef ARGUS_CORE_DIGEST_H
#define ARGUS_CORE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "argus.pb.h"

/** Bytes of NodeRecord.publishers. */
#define DIGEST_SIZE_MAX (sizeof((argus_NodeRecord *)0)->publishers.bytes)

/* One publisher. */
struct digest_entry {
    const char *host, *plugin, *plugin_instance;
    const char *app;    /* "": it is none of an application's */
    uint64_t since_us;  /* Unix */
    uint64_t silent_us; /* Unix, of the last value; 0: it publishes */
    double rate;        /* values a second */
};

struct digest {
    uint8_t *out; /* of the caller */
    size_t size, max;
    uint64_t started_ms;    /* of the record */
    argus_Publisher before; /* what the next one is told apart from */
};

/** Begin to write. @param node  name of the node. */
void digest_begin(struct digest *d, const char *node, uint64_t started_ms,
                  uint8_t *out, size_t max);

/** @return false: no room; nothing was written. */
bool digest_put(struct digest *d, const struct digest_entry *e);

struct digest_reader {
    const uint8_t *data;
    size_t size;
    uint64_t started_ms;
    bool is_broken;
    argus_Publisher p; /* the texts of an entry are in here */
};

void digest_open(struct digest_reader *r, const char *node, uint64_t started_ms,
                 const uint8_t *data, size_t size);

/** The texts in *out hold until the next call. @return false: at the end, or
 *  what follows is broken. */
bool digest_next(struct digest_reader *r, struct digest_entry *out);

/** Rates are told apart by so much: see Publisher.rate. 1 for 0. */
uint32_t digest_rate_code(double rate);
double digest_rate_of(uint32_t code);

#endif
