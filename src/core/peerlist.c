#include "core/peerlist.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void address_copy(char out[ADDRESS_SIZE], const char *address)
{
    size_t size = strnlen(address, ADDRESS_SIZE - 1);
    memmove(out, address, size);
    memset(out + size, 0, ADDRESS_SIZE - size);
}

void peerlist_init(struct peerlist *l, uint32_t max)
{
    memset(l, 0, sizeof *l);
    l->max = max;
}

void peerlist_close(struct peerlist *l)
{
    free(l->keys);
    free(l->entries);
    memset(l, 0, sizeof *l);
}

static uint64_t key_of(const struct node_id *id)
{
    uint64_t key;
    memcpy(&key, id->bytes, sizeof key);
    return key;
}

struct peer_entry *peerlist_find(const struct peerlist *l,
                                 const struct node_id *id)
{
    uint64_t key = key_of(id);

    for (uint32_t i = 0; i < l->count; i++)
        if (l->keys[i] == key && node_id_is_equal(&l->entries[i].id, id))
            return &l->entries[i];
    return NULL;
}

static bool grow(struct peerlist *l)
{
    uint32_t room = l->room == 0 ? 8 : 2 * l->room;
    if (room > l->max)
        room = l->max;

    uint64_t *keys = realloc(l->keys, room * sizeof *keys);
    if (keys == NULL)
        return false;
    l->keys = keys;
    struct peer_entry *entries = realloc(l->entries, room * sizeof *entries);
    if (entries == NULL)
        return false;
    l->entries = entries;
    l->room = room;
    return true;
}

struct peer_entry *peerlist_add(struct peerlist *l, const struct node_id *id,
                                const char *address, uint32_t generation,
                                uint64_t now_ms)
{
    assert(peerlist_find(l, id) == NULL);
    if (l->count == l->max || (l->count == l->room && !grow(l)))
        return NULL;

    struct peer_entry *e = &l->entries[l->count];
    memset(e, 0, sizeof *e);
    e->id = *id;
    e->generation = generation;
    e->since_ms = now_ms;
    address_copy(e->address, address);
    l->keys[l->count++] = key_of(id);
    return e;
}

bool peerlist_remove(struct peerlist *l, const struct node_id *id)
{
    struct peer_entry *e = peerlist_find(l, id);
    if (e == NULL)
        return false;

    uint32_t i = (uint32_t)(e - l->entries);
    l->count--;
    if (i != l->count) {
        l->entries[i] = l->entries[l->count];
        l->keys[i] = l->keys[l->count];
    }
    return true;
}
