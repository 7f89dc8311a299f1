#include "core/forgotten.h"

#include <stdlib.h>
#include <string.h>

#include "core/directory_state.h"

static bool is_ordered(const struct directory *d, const struct node_id *id,
                       uint32_t generation, uint32_t version)
{
    for (uint32_t i = 0; i < d->forgotten_count; i++) {
        const argus_ForgottenNode *node = &d->forgotten[i];
        if (memcmp(node->id, id->bytes, NODE_ID_SIZE) == 0)
            return version_compare(generation, version, node->generation,
                                   node->version) <= 0;
    }
    return false;
}

bool forgotten_has(const struct directory *d, const struct member *m)
{
    return !m->is_self && is_ordered(d, &m->id, m->generation, m->version);
}

bool forgotten_is_buried(struct directory *d, const struct node_id *id,
                         uint32_t generation, uint32_t version)
{
    const struct tombstone *grave = members_tombstone(&d->members, id);

    if (is_ordered(d, id, generation, version)) {
        d->stats.records_forgotten++;
        return true;
    }
    return grave != NULL &&
           version_compare(generation, version, grave->generation,
                           grave->version) <= 0;
}

void forgotten_close(struct directory *d)
{
    free(d->forgotten);
    d->forgotten = NULL;
    d->forgotten_count = 0;
}

/* @return false: no memory; the order of before stands. */
static bool replace(struct directory *d, const argus_ForgottenNode *nodes,
                    uint32_t count)
{
    argus_ForgottenNode *copy = NULL;

    if (count > 0) {
        copy = malloc(count * sizeof *copy);
        if (copy == NULL) {
            d->stats.memory_refused++;
            return false;
        }
        memcpy(copy, nodes, count * sizeof *copy);
    }
    free(d->forgotten);
    d->forgotten = copy;
    d->forgotten_count = count;
    return true;
}

void forgotten_set(struct directory *d, const argus_ForgottenNode *nodes,
                   uint32_t count, struct actions *out)
{
    if (!replace(d, nodes, count))
        return;
    for (uint32_t i = 0; i < count; i++) {
        const struct node_id id = node_id_of(nodes[i].id);
        struct member *m = members_find(&d->members, &id);
        if (m == NULL)
            continue;
        if (m->is_self) {
            own_on_forgotten(d, nodes[i].generation, nodes[i].version, out);
        } else if (member_is_gone(m) && !m->is_neighbor &&
                   forgotten_has(d, m)) {
            d->stats.members_ordered_away++;
            statements_forget(d, m, out);
        }
    }
}
