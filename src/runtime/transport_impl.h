/* transport_impl.h - what the files of the transport share. Nobody else
 * includes it.
 *   transport.c         links that are up, frames, life
 *   transport_dial.c    dials: a name's addresses, one after the other
 *   transport_listen.c  listening, strangers and their bounds
 *   transport_guard.c   who may be at the other end: Hello, proofs, keys */
#ifndef ARGUS_RUNTIME_TRANSPORT_IMPL_H
#define ARGUS_RUNTIME_TRANSPORT_IMPL_H

#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/log.h"
#include "runtime/conn.h"
#include "runtime/resolve.h"
#include "runtime/transport.h"

#define LISTENERS_MAX 16
/** Addresses of one name that are tried at a time, and how long one has for
 *  itself before the next is tried beside it (RFC 8305): of a name with many
 *  addresses that drop what they get, the one that lives is found soon. */
#define DIAL_ATTEMPTS_MAX 8
#define DIAL_STAGGER_MS 250
/** Dials there was no memory for, until that is told; more than the core has
 *  under way. */
#define STARVED_MAX 64
/** Addresses remembered that could not be reached: of each the log has one
 *  line until it is reached, or until so many others have failed. */
#define UNREACHED_MAX 64

struct dial {
    TAILQ_ENTRY(dial) next;
    struct transport *owner;
    dial_id id;
    argus_LinkKind kind;
    char address[ADDRESS_SIZE];
    bool has_expected;
    struct node_id expected;
    bool is_search;
    bool is_unresolved; /* the resolver has told of it */

    struct lookup *lookup;
    struct resolve_answer *answer; /* NULL until it is there */
    unsigned to_next;
    struct link *attempts[DIAL_ATTEMPTS_MAX]; /* under way */
    unsigned attempts_count;
    uint64_t stagger_ms; /* the next address is tried then */
    bool has_failed;     /* why, code and text say how */
    enum link_end why;
    argus_RefuseCode code;
    char text[256];
};

TAILQ_HEAD(dial_list, dial);

/* A key of the mesh, and who has shown that he holds it. */
struct proven_key {
    uint8_t id[MESH_KEY_ID_SIZE];
    bool by_peer;
    uint8_t sent; /* times we have; at most GUARD_PROOFS_MAX */
};

/* One attempt, one stranger or one link. */
struct link {
    struct conn conn; /* first: a conn is its link */
    TAILQ_ENTRY(link) next;
    UT_hash_handle hh; /* by id, once it is up */
    struct transport *owner;
    link_id id;
    struct dial *dial; /* until it is up */
    dial_id dial_number;
    bool is_accepted, is_up;
    bool is_muted; /* the listener hears no more of it */
    argus_LinkKind kind;

    /* Keys of the mesh that were proven on this link, besides the one it began
     * with. */
    bool has_exported;
    uint8_t exported[TLS_EXPORT_SIZE];
    struct proven_key proven[KEYRING_MAX];
    unsigned proven_count;
};

TAILQ_HEAD(link_list, link);

struct listener {
    uv_tcp_t tcp;
    struct transport *owner;
    bool is_stalled; /* one waits to be accepted: no memory, or no turn */
};

struct transport {
    struct transport_options options;
    struct transport_listener listener;
    struct transport_stats stats;
    struct conn_shared shared;
    struct resolver *resolver;
    struct listener *listeners[LISTENERS_MAX];
    unsigned listeners_count;
    unsigned handles; /* listeners, idle, recheck, stagger and resolver not yet
                       * closed */

    struct link_list links;
    struct link *by_id; /* uthash */
    unsigned links_count, strangers_count;
    unsigned accepts; /* in this turn of the loop, which is at accepts_ms */
    uint64_t accepts_ms;
    struct dial_list dials;  /* under way */
    struct dial_list failed; /* over, not yet reported */
    unsigned dials_count;
    dial_id starved[STARVED_MAX];
    unsigned starved_count;
    link_id next_link;
    struct tls_context *protection; /* NULL: links are in the clear */
    uv_timer_t recheck;             /* links whose key was removed end then */
    uv_timer_t stagger;             /* dials that have a further address */
    char unreached[UNREACHED_MAX][ADDRESS_SIZE]; /* as the log knows */
    unsigned unreached_next;
    bool is_paused, is_stopping;
    struct log_limit refused_limit, denied_limit, broken_limit, dial_limit;
    void (*done)(void *context);
    void *done_context;
};

static inline struct link *link_of(struct conn *c)
{
    return (struct link *)c;
}

static inline uint64_t transport_now_ms(const struct transport *t)
{
    return uv_now(t->shared.loop);
}

/* ---- transport.c */

/** NULL: no memory. */
struct link *link_new(struct transport *t);

/** Both sides are who they say: tell the listener. */
void link_is_up(struct link *l, const argus_Hello *hello);

/** All handles may be closed: then done() is called. */
void transport_maybe_done(struct transport *t);
void transport_one_handle_less(struct transport *t);

/* ---- transport_dial.c */

/** One attempt ended so: try the next address, or give the dial up. */
void dial_attempt_ended(struct link *l, enum link_end why,
                        argus_RefuseCode code, const char *text);
/** One attempt is a link that is up: the dial is done. */
void dial_succeed(struct link *l);
/** The link is gone before it could end. */
void dial_attempt_gone(struct link *l);
void dial_forget(struct dial *d);
void dial_open(struct transport *t);
void dial_close(struct transport *t);
/** Tell the listener of dials that failed. */
void dial_report_failed(struct transport *t);

/* ---- transport_listen.c */

/** There is memory again: accept who waits. */
void listen_resume(struct transport *t);
/** The same, since the loop has been around. */
void listen_turn(struct transport *t);
void listen_close(struct transport *t);

/* ---- transport_guard.c */

bool guard_is_loopback(const struct sockaddr *address);

/** May links leave the host? */
bool guard_reaches_out(const struct transport *t);

/** @param expected  whom the dialer means to reach; NULL: anyone, or an
 *                   answer. */
void guard_say_hello(struct link *l, const struct node_id *expected);
void guard_on_hello(struct link *l, const argus_Hello *received);
void guard_on_key_proof(struct link *l, const argus_KeyProof *proof);

void guard_open(struct transport *t);
void guard_close(struct transport *t);

#endif
