/* bucket.h - a bucket of tokens: so many a second, and a burst of them at once.
 *
 * It counts what was taken and not yet made up for, so all zero is a full
 * bucket. A burst is at most BUCKET_BURST_MAX tokens. */
#ifndef ARGUS_CORE_BUCKET_H
#define ARGUS_CORE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define BUCKET_BURST_MAX 4000000u

struct bucket {
    uint64_t at_ms;
    uint32_t used_milli;
};

/** Tokens that come back after them. */
static inline void bucket_give(struct bucket *b, uint64_t tokens)
{
    uint64_t milli =
        tokens < BUCKET_BURST_MAX ? tokens * 1000 : BUCKET_BURST_MAX * 1000ull;

    b->used_milli = b->used_milli > milli ? b->used_milli - (uint32_t)milli : 0;
}

/** @param per_s  at least 1. now_ms never goes back. */
static inline void bucket_settle(struct bucket *b, uint64_t now_ms,
                                 uint32_t per_s)
{
    uint64_t passed_ms = now_ms - b->at_ms;

    if (passed_ms == 0)
        return;
    b->at_ms = now_ms;
    if (b->used_milli / per_s < passed_ms)
        b->used_milli = 0;
    else
        b->used_milli -= (uint32_t)(passed_ms * per_s);
}

/** Are there so many tokens? Call bucket_settle() first. */
static inline bool bucket_has(const struct bucket *b, uint32_t burst,
                              uint32_t tokens)
{
    return b->used_milli + tokens * 1000ull <= burst * 1000ull;
}

/** @return false: they are not there; nothing was taken. */
static inline bool bucket_take(struct bucket *b, uint64_t now_ms,
                               uint32_t per_s, uint32_t burst, uint32_t tokens)
{
    bucket_settle(b, now_ms, per_s);
    if (!bucket_has(b, burst, tokens))
        return false;
    b->used_milli += tokens * 1000;
    return true;
}

#endif
