/* manifest.h - is a manifest one that may exist at all?
 *
 * Whoever holds an operator's key wrote it, and that may be a stranger: so its
 * shape is checked before a word of it is believed. What only this node minds
 * (trust, expiry, MaxSize) is not asked here: every node must agree on what a
 * version is. */
#ifndef ARGUS_CORE_MANIFEST_H
#define ARGUS_CORE_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "argus.pb.h"
#include "base/status.h"

/** 1 to 63 of A-Z a-z 0-9 . _ -, the first neither "." nor "-": of a bundle and
 *  of its files. */
bool manifest_name_is_sound(const char *name);

/**
 * Unpack and check. An order (core/orders.h) has no content, and exactly the
 * shape of its kind.
 * @retval ARGUS_EINVAL  err says what is wrong.
 */
int manifest_open(const argus_SignedBundle *bundle, argus_Manifest *out,
                  struct argus_error *err);

#endif
