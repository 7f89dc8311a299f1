/* pair.h - what a worker and its daemon say to each other over a socket pair.
 *
 * Both ends are of one version (HELLO says so) and on one machine, so numbers
 * are native and lie unaligned. A message is a length of 4 bytes (of all that
 * follows), a type of 1 byte, and a body. A daemon believes nothing of it: a
 * worker runs what somebody pushed, so every length, count and text is checked
 * against the bytes that are there before it is used.
 *
 * No memory is taken. What is read points into the message; what is written
 * goes into a buffer of the caller's. */
#ifndef ARGUS_WIRE_PAIR_H
#define ARGUS_WIRE_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Number of this protocol; HELLO names it together with ARGUS_VERSION. */
#define PAIR_PROTOCOL 1

/** Longest message, its header included. */
#define PAIR_MESSAGE_MAX 65536
#define PAIR_HEADER_SIZE 5

/** As in collectd, with the NUL. Longest notification, longest log line. */
#define PAIR_NAME_SIZE 128
#define PAIR_TEXT_SIZE 1024
#define PAIR_SOURCES_MAX 64
#define PAIR_METAS_MAX 64

enum pair_type {
    /* up */
    PAIR_HELLO = 1, /* pair_hello; first of all */
    PAIR_PHASE,     /* u8: enum pair_phase */
    PAIR_REFUSED,   /* text: what of the bundle may not stand there; end */
    PAIR_FAILED,    /* u8: enum pair_phase in which; text; end */
    PAIR_READY,     /* pair_ready */
    PAIR_SET,       /* pair_set: a type, before the first value of it; down, one
                     * that is not in the stock types.db */
    PAIR_BYE,       /* an orderly end after STOP */
    PAIR_LOG,       /* u8: syslog severity; text */
    /* both ways */
    PAIR_VALUE,        /* pair_value */
    PAIR_NOTIFICATION, /* pair_notification */
    /* down */
    PAIR_FLUSH, /* pair_flush */
    PAIR_STOP,  /* drain what is queued for writers, then end */
};

/* How lines on a worker's standard error begin that tell why it ends without
 * BYE: a signal (with plugin, phase and, in the lines behind, a backtrace), or
 * exit() called by somebody. */
#define PAIR_CRASH_PREFIX "argus_worker: crash: "
#define PAIR_EXIT_PREFIX "argus_worker: exit: "

enum pair_phase {
    PAIR_PHASE_START,  /* until HELLO */
    PAIR_PHASE_VET,    /* the text is parsed and vetted */
    PAIR_PHASE_CONFIG, /* plugins are loaded and configured */
    PAIR_PHASE_INIT,
    PAIR_PHASE_READ, /* the two first read passes */
    PAIR_PHASE_RUN,
    PAIR_PHASE_STOP,
};

/** "vetting", "configuration", "init", "first read", ... for messages. */
const char *pair_phase_word(uint32_t phase);

struct pair_hello {
    uint32_t protocol;
    uint32_t pid;
    const char *version; /* ARGUS_VERSION */
};

struct pair_ready {
    uint32_t failed_inits, failed_reads; /* callbacks that answered non-zero */
    uint32_t errors;                     /* ERROR lines so far */
    bool is_late;   /* a first read had not returned in time */
    bool has_reads; /* it has dispatched a value of its own; what was silent in
                     * two read passes cannot be expected to publish */
    bool has_writers; /* it wants the daemon's values */
    const char *text; /* the first failed read or ERROR line; "" */
};

enum pair_meta_type { /* collectd's MD_TYPE_* */
                      PAIR_META_STRING = 1,
                      PAIR_META_SIGNED = 2,
                      PAIR_META_UNSIGNED = 3,
                      PAIR_META_DOUBLE = 4,
                      PAIR_META_BOOLEAN = 5,
};

struct pair_meta {
    const char *key;
    enum pair_meta_type type;
    const char *text; /* STRING */
    uint64_t bits;    /* the others; of a double its bits */
};

/* Names in the order host, plugin, plugin instance, type, type instance. */
struct pair_value {
    const char *names[5];
    /* the five names with their NULs, as they lie in the message: a key */
    const char *identity;
    uint32_t identity_size;
    uint64_t time, interval; /* cdtime */
    uint32_t count;          /* 1..PAIR_SOURCES_MAX */
    const uint8_t *numbers;  /* count * 8 bytes, unaligned */
    uint32_t metas_count;
    const uint8_t *metas; /* for pair_meta_next() */
    uint32_t metas_size;
};

struct pair_notification {
    int32_t severity; /* NOTIF_* */
    uint64_t time;
    const char *names[5];
    const char *message;
    uint32_t metas_count;
    const uint8_t *metas;
    uint32_t metas_size;
};

struct pair_source {
    const char *name;
    uint32_t type; /* DS_TYPE_* */
    double min, max;
};

struct pair_set {
    const char *type;
    uint32_t count;
    struct pair_source sources[PAIR_SOURCES_MAX];
};

struct pair_flush {
    uint64_t timeout;       /* cdtime */
    const char *identifier; /* "": all */
};

/* ---- writing: into `out`, which holds `room` bytes. Each returns the bytes of
 * the whole message, or 0 when it does not fit or breaks a bound. Where metas
 * are written, pass an array. */
size_t pair_put_plain(uint8_t *out, size_t room, enum pair_type type);
size_t pair_put_phase(uint8_t *out, size_t room, enum pair_phase phase);
/** REFUSED (number ignored), FAILED (a phase), LOG (a severity). Longer texts
 *  are cut. */
size_t pair_put_text(uint8_t *out, size_t room, enum pair_type type,
                     uint32_t number, const char *text);
size_t pair_put_hello(uint8_t *out, size_t room, const struct pair_hello *h);
size_t pair_put_ready(uint8_t *out, size_t room, const struct pair_ready *r);
size_t pair_put_set(uint8_t *out, size_t room, const struct pair_set *set);
size_t pair_put_flush(uint8_t *out, size_t room, const struct pair_flush *f);
/** v->identity, identity_size, metas and metas_size are not looked at. */
size_t pair_put_value(uint8_t *out, size_t room, const struct pair_value *v,
                      const struct pair_meta *metas);
size_t pair_put_notification(uint8_t *out, size_t room,
                             const struct pair_notification *n,
                             const struct pair_meta *metas);

/* ---- reading */

struct pair_message {
    enum pair_type type;
    const uint8_t *body;
    uint32_t size;
};

/**
 * The first message in a stretch of a stream.
 * @return bytes it takes; 0: not whole yet; -1: it breaks a bound.
 */
int pair_next(const uint8_t *data, size_t size, struct pair_message *out);

/* Each: false when the body is not what its type says. */
bool pair_read_phase(const struct pair_message *m, enum pair_phase *out);
bool pair_read_text(const struct pair_message *m, uint32_t *number,
                    const char **text);
bool pair_read_hello(const struct pair_message *m, struct pair_hello *out);
bool pair_read_ready(const struct pair_message *m, struct pair_ready *out);
bool pair_read_set(const struct pair_message *m, struct pair_set *out);
bool pair_read_flush(const struct pair_message *m, struct pair_flush *out);
bool pair_read_value(const struct pair_message *m, struct pair_value *out);
bool pair_read_notification(const struct pair_message *m,
                            struct pair_notification *out);

/** Walk metas: *at starts at metas. The message was read before, so all of it
 *  is sound. @return bytes taken. */
uint32_t pair_meta_next(const uint8_t *at, struct pair_meta *out);

#endif
