/* status.h - what a call answers, and the text that goes with a failure.
 *
 * One list gives the enum and argus_strstatus(). Codes are negative, so that a
 * count or an index can share the return value. The code tells the caller what
 * to do; the text in struct argus_error tells the operator. */
#ifndef ARGUS_BASE_STATUS_H
#define ARGUS_BASE_STATUS_H

#define ARGUS_STATUS_MAP(X)                                                    \
    X(ARGUS_OK, 0, "done")                                                     \
    X(ARGUS_EINVAL, -1, "invalid argument")                                    \
    X(ARGUS_ENOMEM, -2, "out of memory")                                       \
    X(ARGUS_EIO, -3, "input/output error")                                     \
    X(ARGUS_ECORRUPT, -4, "damaged data")                                      \
    X(ARGUS_EBUSY, -5, "in use by another")                                    \
    X(ARGUS_EFULL, -6, "a bound is reached")                                   \
    X(ARGUS_ENOENT, -7, "not found")                                           \
    X(ARGUS_EDENIED, -8, "refused")                                            \
    X(ARGUS_ETOOLARGE, -9, "too large")

enum argus_status {
#define ARGUS_STATUS_ENUM(name, code, text) name = (code),
    ARGUS_STATUS_MAP(ARGUS_STATUS_ENUM)
#undef ARGUS_STATUS_ENUM
};

/** Room for one sentence; longer texts are cut. */
#define ARGUS_ERROR_SIZE 512

struct argus_error {
    char text[ARGUS_ERROR_SIZE];
};

/** Text of a status code; "unknown status" for any other number. */
const char *argus_strstatus(int status);

/** Write a text into err (may be NULL) and return status. */
int argus_fail(struct argus_error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** The same with ": " and the text of errno behind; returns ARGUS_EIO. */
int argus_fail_errno(struct argus_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
