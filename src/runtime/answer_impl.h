/* answer_impl.h - what the files that answer share. Nobody else includes it.
 *   answer.c          who is there, what happened, how this node is
 *   answer_bundles.c  pushed configuration
 *   answer_orders.c   operators and mesh keys */
#ifndef ARGUS_RUNTIME_ANSWER_IMPL_H
#define ARGUS_RUNTIME_ANSWER_IMPL_H

#include "runtime/answer.h"

/** The body of a fresh row. */
void *answer_row_begin(argus_Reply *out, pb_size_t tag);

enum answer_step answer_end_plain(argus_Reply *out);
enum answer_step answer_end_covered(const struct answer *a, argus_Reply *out);

enum answer_step answer_end_status(argus_Reply *out, int status,
                                   const struct argus_error *err);

/* ---- answer_orders.c */
void answer_take_key(struct answer *a, const argus_KeyWrapRequest *wrap,
                     bool is_owner);
enum answer_step answer_next_order(struct answer *a, argus_Reply *out);

/* ---- answer_bundles.c */
void answer_take_chunk(struct answer *a, const argus_BundleChunkRequest *chunk,
                       uint64_t *staged);
void answer_take_push(struct answer *a, const argus_BundlePushRequest *push);
enum answer_step answer_next_bundle(struct answer *a, argus_Reply *out);

#endif
