#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *argus_strstatus(int status)
{
    switch (status) {
#define ARGUS_STATUS_TEXT(name, code, text)                                    \
    case name: return text;
        ARGUS_STATUS_MAP(ARGUS_STATUS_TEXT)
#undef ARGUS_STATUS_TEXT
    }
    return "unknown status";
}

int argus_fail(struct argus_error *err, int status, const char *format, ...)
{
    if (err == NULL)
        return status;

    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(err->text, sizeof err->text, format, ap);
    va_end(ap);
    return status;
}

int argus_fail_errno(struct argus_error *err, const char *format, ...)
{
    int saved = errno;
    if (err == NULL)
        return ARGUS_EIO;

    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(err->text, sizeof err->text, format, ap);
    va_end(ap);

    size_t used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof err->text - used, ": %s",
                   strerror(saved));
    return ARGUS_EIO;
}
