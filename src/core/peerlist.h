/* peerlist.h - a bounded list of nodes that are not neighbors: the passive
 * view, and the lost.
 *
 * Found by the first 8 bytes of the id in an array of their own, so that a
 * look-up among thousands stays in the cache. Removal moves the last entry into
 * the gap: indexes and pointers hold until the next removal or insertion. */
#ifndef ARGUS_CORE_PEERLIST_H
#define ARGUS_CORE_PEERLIST_H

#include "core/actions.h"

struct peer_entry {
    struct node_id id;
    uint32_t generation; /* 0: not known */
    uint32_t fails;      /* dials that failed in a row */
    argus_Role role;     /* as far as known */
    uint64_t zone;
    uint64_t next_try_ms;
    uint64_t since_ms;
    uint64_t probed_ms;
    char address[ADDRESS_SIZE];
};

/** Cut to fit, and padded with zeros. */
void address_copy(char out[ADDRESS_SIZE], const char *address);

struct peerlist {
    uint64_t *keys;
    struct peer_entry *entries;
    uint32_t count, room, max;
};

void peerlist_init(struct peerlist *l, uint32_t max);
void peerlist_close(struct peerlist *l);

/** NULL: not in it. */
struct peer_entry *peerlist_find(const struct peerlist *l,
                                 const struct node_id *id);

/** The id must not be in it. @return NULL: full, or out of memory. */
struct peer_entry *peerlist_add(struct peerlist *l, const struct node_id *id,
                                const char *address, uint32_t generation,
                                uint64_t now_ms);

/** @return false: it was not there. */
bool peerlist_remove(struct peerlist *l, const struct node_id *id);

#endif
