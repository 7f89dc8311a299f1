#include "runtime/trim.h"

#include <features.h>
#include <time.h>

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33) /* mallinfo2() */
#include <malloc.h>

static bool is_worth_it(void)
{
    return mallinfo2().fordblks >= TRIM_FREE_MIN;
}

static void trim(void)
{
    (void)malloc_trim(0);
}
#else /* other allocators see to it themselves, or cannot */
static bool is_worth_it(void)
{
    return false;
}

static void trim(void)
{
}
#endif

static uint64_t thread_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint32_t trim_next_ms(uint64_t took_us)
{
    if (took_us >= TRIM_EVERY_MAX_MS * 1000ull / TRIM_SHARE)
        return TRIM_EVERY_MAX_MS;
    uint32_t wait_ms = (uint32_t)(took_us * TRIM_SHARE / 1000);
    return wait_ms > TRIM_EVERY_MS ? wait_ms : TRIM_EVERY_MS;
}

bool trim_tick(struct trim *t, uint64_t now_ms)
{
    if (t->due_ms == 0)
        t->due_ms = now_ms + TRIM_EVERY_MS;
    if (now_ms < t->due_ms)
        return false;

    uint64_t since_us = thread_us();
    bool is_so = is_worth_it();
    if (is_so)
        trim();
    t->due_ms = now_ms + trim_next_ms(thread_us() - since_us);
    return is_so;
}
