/* forgotten.h - records that are not kept: buried here, or ordered away.
 *
 * A part of the directory (see directory.h), not of its door. An operator's
 * order names nodes, each with the version of its record up to which it is
 * gone. Such a record is dropped where its node is offline or has left, when
 * that becomes so later too, and is not taken again from whoever has it still,
 * whenever it comes. A newer one is: the node lives. A node that finds itself
 * in the order publishes a newer one.
 *
 * Bound: as many as ForgottenOrder has room for. */
#ifndef ARGUS_CORE_FORGOTTEN_H
#define ARGUS_CORE_FORGOTTEN_H

#include "core/directory.h"

/** All that are ordered away; replaces those of before. */
void forgotten_set(struct directory *d, const argus_ForgottenNode *nodes,
                   uint32_t count, struct actions *out);
void forgotten_close(struct directory *d);

/** Is the record that is kept of it one of those? */
bool forgotten_has(const struct directory *d, const struct member *m);

/** Is that version of a node that is not known ordered away, or below what was
 *  forgotten here? Counts what is ordered away. */
bool forgotten_is_buried(struct directory *d, const struct node_id *id,
                         uint32_t generation, uint32_t version);

#endif
