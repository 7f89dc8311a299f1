#include "core/hlc.h"

/* Milliseconds that fit in 48 bits: year 10889. A wall clock beyond is cut, so
 * that it cannot wrap the stamps round. */
#define HLC_MS_MAX ((UINT64_C(1) << (64 - HLC_COUNTER_BITS)) - 1)

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t hlc_from_us(uint64_t wall_us)
{
    uint64_t ms = wall_us / 1000;

    return (ms < HLC_MS_MAX ? ms : HLC_MS_MAX) << HLC_COUNTER_BITS;
}

uint64_t hlc_to_us(uint64_t stamp)
{
    return (stamp >> HLC_COUNTER_BITS) * 1000;
}

void hlc_init(struct hlc *h, uint64_t mark, uint64_t wall_us,
              uint32_t max_offset_ms)
{
    *h = (struct hlc){
        .last = max_u64(mark, hlc_from_us(wall_us)),
        .max_offset_ms = max_offset_ms,
    };
}

uint64_t hlc_stamp(struct hlc *h, uint64_t wall_us)
{
    uint64_t next = h->last < UINT64_MAX ? h->last + 1 : UINT64_MAX;

    h->last = max_u64(next, hlc_from_us(wall_us));
    return h->last;
}

/* The receive step counts one further in the paper. Here a receipt makes no
 * stamp of its own, and the next one made is greater in any case. */
bool hlc_merge(struct hlc *h, uint64_t remote, uint64_t wall_us)
{
    uint64_t remote_ms = remote >> HLC_COUNTER_BITS;
    uint64_t wall_ms = hlc_from_us(wall_us) >> HLC_COUNTER_BITS;

    if (remote_ms > wall_ms && remote_ms - wall_ms > h->max_offset_ms) {
        h->stats.remote_refused++;
        return false;
    }
    h->stats.remote_merged++;
    h->last = max_u64(h->last, remote);
    return true;
}

void hlc_restart(struct hlc *h, uint64_t wall_us)
{
    h->last = hlc_from_us(wall_us);
}

uint64_t hlc_now(const struct hlc *h, uint64_t wall_us)
{
    return max_u64(h->last, hlc_from_us(wall_us));
}
