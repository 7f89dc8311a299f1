#include "core/pool.h"

#include <assert.h>
#include <stdlib.h>

static const size_t sizes[POOL_CLASSES] = POOL_SIZES;

/* What malloc adds to a block, as glibc does it. */
#define MALLOC_HEADER 8

static unsigned class_of(size_t size)
{
    unsigned class = 0;

    assert(size <= POOL_SIZE_MAX);
    while (sizes[class] < size)
        class ++;
    return class;
}

void *pool_take(struct pool *p, size_t size)
{
    unsigned class = class_of(size);
    struct pool_block *block = p->free[class];

    if (block != NULL) {
        p->free[class] = block->next;
        p->kept[class] -= sizes[class];
    } else {
        block = malloc(sizes[class]);
        if (block == NULL)
            return NULL;
    }
    p->used += sizes[class] + MALLOC_HEADER;
    return block;
}

void pool_give(struct pool *p, void *block, size_t size)
{
    unsigned class = class_of(size);
    struct pool_block *kept = block;

    p->used -= sizes[class] + MALLOC_HEADER;
    if (p->kept[class] + sizes[class] > POOL_KEEP_MAX) {
        free(block);
        return;
    }
    kept->next = p->free[class];
    p->free[class] = kept;
    p->kept[class] += sizes[class];
}

void pool_close(struct pool *p)
{
    for (unsigned class = 0; class < POOL_CLASSES; class ++) {
        while (p->free[class] != NULL) {
            struct pool_block *next = p->free[class]->next;
            free(p->free[class]);
            p->free[class] = next;
        }
        p->kept[class] = 0;
    }
}
