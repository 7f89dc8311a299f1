/* sim_hash.h - the cheap hash under the simulator's seals. */
#ifndef ARGUS_TESTS_SIM_HASH_H
#define ARGUS_TESTS_SIM_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t sim_hash64(const uint8_t *data, size_t size, uint64_t seed);

/** The content id of a broadcast, 16 bytes. */
void sim_content_hash(const uint8_t *data, size_t size, uint8_t out[16]);

#endif
