/* pool.h - blocks of a few sizes, taken and given back all the time. Free ones
 * are kept for the next taker, up to a bound, so that a steady flow of values
 * takes no memory from the system, and a backlog, once gone, gives its back. */
#ifndef ARGUS_CORE_POOL_H
#define ARGUS_CORE_POOL_H

#include <stddef.h>
#include <stdint.h>

/* Cut for values (64 bytes and 8 for each data source): 1, 3, 9, 25 and 65
 * sources; each 8 short of a multiple of 16, where malloc has its header. */
#define POOL_SIZES                                                             \
    {                                                                          \
        72, 88, 136, 264, 584                                                  \
    }
#define POOL_CLASSES 5
#define POOL_SIZE_MAX 584

/** Bytes of free blocks that are kept in each class. */
#define POOL_KEEP_MAX (1024u * 1024u)

struct pool_block {
    struct pool_block *next;
};

/* All zero is an empty pool. */
struct pool {
    struct pool_block *free[POOL_CLASSES];
    size_t kept[POOL_CLASSES]; /* bytes */
    uint64_t used;             /* bytes that takers hold, malloc's included */
};

/** @param size  at most POOL_SIZE_MAX. @return NULL: out of memory. Not
 *  cleared. */
void *pool_take(struct pool *p, size_t size);

/** @param size  the one it was taken with. */
void pool_give(struct pool *p, void *block, size_t size);

/** Free what is kept; blocks still held are the holder's to give back first. */
void pool_close(struct pool *p);

#endif
