/* node_id.h - who a node is: 16 bytes, the head of the SHA-256 of its public
 * key. Ordered as bytes; all zero means nobody. */
#ifndef ARGUS_BASE_NODE_ID_H
#define ARGUS_BASE_NODE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NODE_ID_SIZE 16
#define NODE_ID_TEXT_SIZE (2 * NODE_ID_SIZE + 1)

struct node_id {
    uint8_t bytes[NODE_ID_SIZE];
};

static inline int node_id_compare(const struct node_id *a,
                                  const struct node_id *b)
{
    return memcmp(a->bytes, b->bytes, NODE_ID_SIZE);
}

static inline bool node_id_is_equal(const struct node_id *a,
                                    const struct node_id *b)
{
    return node_id_compare(a, b) == 0;
}

static inline bool node_id_is_zero(const struct node_id *id)
{
    static const struct node_id zero;
    return node_id_compare(id, &zero) == 0;
}

static inline struct node_id node_id_of(const uint8_t *bytes)
{
    struct node_id id;
    memcpy(id.bytes, bytes, NODE_ID_SIZE);
    return id;
}

/** Eight bytes of it, from `at` on, as a number: the same on machines of either
 *  byte order. */
static inline uint64_t node_id_half(const struct node_id *id, size_t at)
{
    uint64_t x = 0;

    for (size_t i = 0; i < 8; i++)
        x = x << 8 | id->bytes[at + i];
    return x;
}

/** 32 lower-case hex digits and a NUL. */
void node_id_format(const struct node_id *id, char text[NODE_ID_TEXT_SIZE]);

#endif
