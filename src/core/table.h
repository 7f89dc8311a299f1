/* table.h - uthash as the core uses it: hashed by XXH3, and a table that cannot
 * grow leaves the element out instead of ending the process. After HASH_ADD
 * ask table_has_taken(). Tables are walked in the order of insertion.
 *
 * Include it before any other header brings uthash in; in .c files only. */
#ifndef ARGUS_CORE_TABLE_H
#define ARGUS_CORE_TABLE_H

#include <stddef.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, length, hash)                                       \
    ((hash) = (unsigned)XXH3_64bits((key), (length)))
#include <uthash.h>

static inline int table_has_taken(const UT_hash_handle *hh)
{
    return hh->tbl != NULL;
}

#endif
