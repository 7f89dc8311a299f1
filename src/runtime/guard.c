#include "runtime/guard.h"

#include <assert.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static __thread jmp_buf *way_out;

bool guard_run(void (*run)(void *context), void *context)
{
    jmp_buf here;
    jmp_buf *volatile outer = way_out;
    volatile bool is_sound = false;

    if (setjmp(here) == 0) {
        way_out = &here;
        run(context);
        is_sound = true;
    }
    way_out = outer;
    return is_sound;
}

#ifdef __GLIBC__
void __assert_fail(const char *assertion, const char *file, unsigned int line,
                   const char *function)
{
    const char *name = strrchr(file, '/');

    name = name != NULL ? name + 1 : file;
    if (way_out == NULL) {
        fprintf(stderr, "%s:%u: %s: assertion failed: %s\n", file, line,
                function, assertion);
        abort();
    }
    log_write(LOG_LEVEL_ERROR,
              "this is a bug of argus: %s:%u, %s(): %s does not hold. argus is "
              "out of service until collectd is restarted",
              name, line, function, assertion);
    longjmp(*way_out, 1);
}
#endif
