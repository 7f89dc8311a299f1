/* sim_disk.c - what a node keeps over a restart. See sim.h. */
#include "sim/sim_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Above this many nodes nothing is kept on their disks: N x N records. */
#define DISK_NODES_MAX 256

static struct stored *disk_find(struct sim_node *n, enum store_what what,
                                const struct node_id *id)
{
    for (uint32_t i = 0; i < n->disk_count; i++)
        if (n->disk[i].what == what && node_id_is_equal(&n->disk[i].id, id))
            return &n->disk[i];
    return NULL;
}

static void disk_drop(struct sim_node *n, enum store_what what,
                      const struct node_id *id)
{
    struct stored *d = disk_find(n, what, id);
    if (d == NULL)
        return;
    free(d->data);
    n->disk_count--;
    memmove(d, d + 1, (size_t)(n->disk + n->disk_count - d) * sizeof *d);
}

static void disk_put(struct sim_node *n, const struct action *a)
{
    struct stored *d = disk_find(n, a->store.what, &a->store.key);

    if (d == NULL) {
        if (n->disk_count == n->disk_room) {
            n->disk_room = n->disk_room == 0 ? 16 : 2 * n->disk_room;
            n->disk = realloc(n->disk, n->disk_room * sizeof *n->disk);
            if (n->disk == NULL)
                abort();
        }
        d = &n->disk[n->disk_count++];
        memset(d, 0, sizeof *d);
        d->id = a->store.key;
        d->what = a->store.what;
    }
    free(d->data);
    d->data = NULL;
    d->size = (uint32_t)a->store.size;
    if (a->store.size > 0) {
        d->data = sim_alloc(a->store.size);
        memcpy(d->data, a->store.data, a->store.size);
    }
    if (a->store.text != NULL)
        (void)snprintf(d->address, sizeof d->address, "%s", a->store.text);
}

bool disk_is_used(const struct sim *s)
{
    return !s->options.disks_off && s->nodes_count <= DISK_NODES_MAX;
}

void disk_on_store(struct sim *s, struct sim_node *n, const struct action *a)
{
    if (a->store.what == STORE_GENERATION)
        n->generation = (uint32_t)a->store.number;
    if (a->store.what == STORE_EPOCH) { /* its hybrid clock may go back, once */
        n->epoch = (uint32_t)a->store.number;
        n->last_hlc = 0;
    }
    if (!disk_is_used(s))
        return;
    switch (a->store.what) {
    case STORE_FORGET:
        disk_drop(n, STORE_RECORD, &a->store.key);
        disk_drop(n, STORE_REPORT, &a->store.key);
        break;
    case STORE_REPORT:
        if (a->store.size == 0) {
            disk_drop(n, STORE_REPORT, &a->store.key);
            break;
        }
        disk_put(n, a);
        break;
    case STORE_BUNDLE:
    case STORE_EVENT:
        if (a->store.size == 0) {
            disk_drop(n, a->store.what, &a->store.key);
            break;
        }
        disk_put(n, a);
        break;
    case STORE_RECORD:
    case STORE_ADDRESS: disk_put(n, a); break;
    case STORE_HLC:
    case STORE_EPOCH:
    case STORE_GENERATION: break;
    }
}

void disk_load(struct sim *s, struct sim_node *n)
{
    for (uint32_t i = 0; i < n->disk_count; i++) {
        const struct stored *d = &n->disk[i];
        struct event record = {
            .type = EVENT_RECORD,
            .record = {.id = d->id, .data = d->data, .size = d->size}};
        struct event address = {
            .type = EVENT_ADDRESS,
            .address = {.id = d->id, .address = d->address}};
        struct event bundle = {
            .type = EVENT_BUNDLE_ROW,
            .bundle_row = {.data = d->data, .size = d->size}};
        struct event row = {.type = EVENT_EVENT_ROW,
                            .event_row = {.data = d->data, .size = d->size}};
        sim_step(s, n,
                 d->what == STORE_ADDRESS  ? &address
                 : d->what == STORE_BUNDLE ? &bundle
                 : d->what == STORE_EVENT  ? &row
                                           : &record);
    }
}

void disk_clear(struct sim_node *n)
{
    for (uint32_t i = 0; i < n->disk_count; i++)
        free(n->disk[i].data);
    free(n->disk);
    n->disk = NULL;
    n->disk_count = n->disk_room = 0;
}

struct stored *disk_copy(const struct sim_node *n, uint32_t *count)
{
    struct stored *copy = sim_alloc((n->disk_count + 1) * sizeof *copy);

    for (uint32_t i = 0; i < n->disk_count; i++) {
        copy[i] = n->disk[i];
        copy[i].data = sim_alloc(n->disk[i].size + 1);
        if (n->disk[i].size > 0)
            memcpy(copy[i].data, n->disk[i].data, n->disk[i].size);
    }
    *count = n->disk_count;
    return copy;
}
