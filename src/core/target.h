/* target.h - which nodes a bundle is for.
 *
 *   EXPR = ALL { ";" ALL }       any of them
 *   ALL  = TERM { "," TERM }     all of them; binds tighter
 *   TERM = "*"                   every node
 *        | "name=" GLOB          name of the node
 *        | "zone=" PREFIX        its zone or a zone above it: zone=eu1 means
 *                                eu1 and eu1/rack4, not eu10
 *        | "role=" agent|aggregator
 *        | "tag:" KEY "=" GLOB   one of its tags
 *   GLOB: "*" any text, "?" one character, "[a-z_]" one of these, "[!0-9]" one
 *   that is not. Case counts. Spaces around terms do not.
 *
 * Operators write expressions and strangers may, so the work is bounded: no
 * recursion, and a glob costs at most its length times that of the text. */
#ifndef ARGUS_CORE_TARGET_H
#define ARGUS_CORE_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/status.h"

/** @retval ARGUS_EINVAL  err names the term, its place and what is wrong. */
int target_check(const char *expression, struct argus_error *err);

/* What a target asks of a node. All borrowed. */
struct target_node {
    const char *name, *zone;
    argus_Role role;
    const argus_Tag *tags;
    uint32_t tags_count;
};

/** An expression that target_check() refuses matches nothing. */
bool target_matches(const char *expression, const struct target_node *node);
bool target_matches_record(const char *expression,
                           const argus_NodeRecord *record);

/** Does the text match the pattern as a whole? A "[" that is not closed stands
 *  for itself. */
bool target_glob(const char *pattern, const char *text);

#endif
