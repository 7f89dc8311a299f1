/* sim_seal.c - signing by a keyed hash: the author's id stands in the key, so
 * whoever changes a byte of statement or key is found out. No secret in it. */
#include "sim/sim_hash.h"
#include "sim/sim_impl.h"

#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t p =
        (__uint128_t)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xe7037ed1a0b428dbu);
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t sim_hash64(const uint8_t *data, size_t size, uint64_t seed)
{
    uint64_t h = mix(seed, size);

    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        h = mix(h, word);
    }
    uint64_t tail = 0;
    memcpy(&tail, data, size);
    return mix(mix(h, tail), seed);
}

void sim_content_hash(const uint8_t *data, size_t size,
                      uint8_t out[CONTENT_ID_SIZE])
{
    uint64_t a = sim_hash64(data, size, 1), b = sim_hash64(data, size, 2);
    memcpy(out, &a, 8);
    memcpy(out + 8, &b, 8);
}

static uint64_t signature(const argus_Signed *s)
{
    return sim_hash64(s->statement.bytes, s->statement.size,
                      sim_hash64(s->key, sizeof s->key, 3));
}

static size_t seal_close(void *context, const argus_Statement *statement,
                         uint8_t out[SEALED_SIZE_MAX])
{
    static argus_Signed s;
    const struct sim_node *n = context;

    memset(s.key, 0, sizeof s.key);
    memset(s.signature, 0, sizeof s.signature);
    memcpy(s.key, n->id.bytes, NODE_ID_SIZE);
    pb_ostream_t inner =
        pb_ostream_from_buffer(s.statement.bytes, sizeof s.statement.bytes);
    if (!pb_encode(&inner, argus_Statement_fields, statement))
        return 0;
    s.statement.size = (pb_size_t)inner.bytes_written;
    uint64_t sum = signature(&s);
    memcpy(s.signature, &sum, sizeof sum);
    pb_ostream_t outer = pb_ostream_from_buffer(out, SEALED_SIZE_MAX);
    if (!pb_encode(&outer, argus_Signed_fields, &s))
        return 0;
    if (statement->which_body == argus_Statement_event_tag)
        follow_sealed(n->sim, out, outer.bytes_written);
    return outer.bytes_written;
}

static bool seal_open(void *context, const uint8_t *data, size_t size,
                      argus_Statement *statement, struct node_id *author)
{
    static argus_Signed s;
    uint64_t sum;

    (void)context;
    pb_istream_t outer = pb_istream_from_buffer(data, size);
    if (!pb_decode(&outer, argus_Signed_fields, &s))
        return false;
    memcpy(&sum, s.signature, sizeof sum);
    if (sum != signature(&s))
        return false;
    pb_istream_t inner =
        pb_istream_from_buffer(s.statement.bytes, s.statement.size);
    if (!pb_decode(&inner, argus_Statement_fields, statement))
        return false;
    *author = node_id_of(s.key);
    return true;
}

struct seal sim_seal(struct sim_node *n)
{
    return (struct seal){.context = n,
                         .close = seal_close,
                         .open = seal_open,
                         .hash = sim_content_hash,
                         .digest = kit_digest,
                         .vouches = kit_vouches};
}
