#include "runtime/transport_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void dial_forget(struct dial *d)
{
    if (d->lookup != NULL)
        resolve_cancel(d->lookup);
    if (d->link != NULL)
        d->link->dial = NULL;
    TAILQ_REMOVE(&d->owner->dials, d, next);
    d->owner->dials_count--;
    free(d);
}

/* What the dial as a whole will answer. One's own address among those of a
 * name says nothing of the others; and "nobody listens" holds only when it is
 * so at each of them. */
void dial_note(struct dial *d, enum link_end why, argus_RefuseCode code,
               const char *text)
{
    bool is_self = code == argus_RefuseCode_REFUSE_SELF;

    if (d->has_failed && (is_self || (why == LINK_END_REFUSED &&
                                      d->code != argus_RefuseCode_REFUSE_SELF)))
        return;
    d->has_failed = true;
    d->why = why;
    d->code = code;
    text_clean(d->text, sizeof d->text, text);
}

static void dial_fail(struct dial *d)
{
    struct transport *t = d->owner;

    t->stats.dials_failed++;
    TAILQ_REMOVE(&t->dials, d, next);
    t->dials_count--;
    TAILQ_INSERT_TAIL(&t->failed, d, next);
    conn_shared_wake(&t->shared);
}

static void dial_fail_with(struct dial *d, enum link_end why, const char *text)
{
    dial_note(d, why, argus_RefuseCode_REFUSE_NONE, text);
    dial_fail(d);
}

static void on_resolved(void *context, struct addrinfo *list,
                        const struct argus_error *err)
{
    struct dial *d = context;

    d->lookup = NULL;
    for (const struct addrinfo *a = list;
         a != NULL && d->to_count < DIAL_ADDRESSES_MAX; a = a->ai_next)
        if (a->ai_addrlen <= sizeof d->to[0])
            memcpy(&d->to[d->to_count++], a->ai_addr, a->ai_addrlen);
    if (list != NULL)
        freeaddrinfo(list);
    if (d->to_count == 0)
        dial_fail_with(d, LINK_END_LOCAL, err->text);
    else
        dial_next(d);
}

/* A literal needs no look-up. */
static bool literal_address(const char *host, const char *port,
                            struct sockaddr_storage *out)
{
    if (strspn(port, "0123456789") != strlen(port))
        return false;
    int number = atoi(port);
    return uv_ip4_addr(host, number, (struct sockaddr_in *)(void *)out) == 0 ||
           uv_ip6_addr(host, number, (struct sockaddr_in6 *)(void *)out) == 0;
}

static void dial_begin(struct dial *d)
{
    char host[ADDRESS_SIZE], port[32];
    struct argus_error err = {{0}};

    if (!text_split_address(d->address, host, sizeof host, port, sizeof port) ||
        host[0] == '\0') {
        dial_fail_with(d, LINK_END_LOCAL, "this is no host:port");
        return;
    }
    if (literal_address(host, port, &d->to[0])) {
        d->to_count = 1;
        dial_next(d);
        return;
    }
    if (resolve_start(d->owner->resolver, host, port, on_resolved, d,
                      &d->lookup, &err) != ARGUS_OK) {
        d->lookup = NULL;
        dial_fail_with(d, LINK_END_LOCAL, err.text);
    }
}

void transport_dial(struct transport *t, dial_id dial, argus_LinkKind kind,
                    const char *address, const struct node_id *expected)
{
    struct dial *d = calloc(1, sizeof *d);

    if (d == NULL || t->is_stopping) {
        free(d);
        t->stats.dials_failed++;
        if (!t->is_stopping && t->starved_count < STARVED_MAX) {
            t->starved[t->starved_count++] = dial;
            conn_shared_wake(&t->shared);
        }
        return;
    }
    d->owner = t;
    d->id = dial;
    d->kind = kind;
    (void)snprintf(d->address, sizeof d->address, "%s", address);
    if (expected != NULL) {
        d->has_expected = true;
        d->expected = *expected;
    }
    TAILQ_INSERT_TAIL(&t->dials, d, next);
    t->dials_count++;
    if (t->dials_count > t->options.dials_max)
        dial_fail_with(d, LINK_END_LOCAL, "too many dials are under way");
    else
        dial_begin(d);
}

static void report_starved(struct transport *t)
{
    dial_id starved[STARVED_MAX];
    unsigned count = t->starved_count;

    memcpy(starved, t->starved, count * sizeof starved[0]);
    t->starved_count = 0;
    for (unsigned i = 0; i < count; i++)
        t->listener.dial_failed(t->listener.context, starved[i], LINK_END_LOCAL,
                                argus_RefuseCode_REFUSE_NONE);
}

/* Only those that had failed before: whoever hears of one may dial again. */
void dial_report_failed(struct transport *t)
{
    struct dial_list failed = TAILQ_HEAD_INITIALIZER(failed);
    struct dial *d;

    report_starved(t);
    TAILQ_CONCAT(&failed, &t->failed, next);
    while ((d = TAILQ_FIRST(&failed)) != NULL) {
        TAILQ_REMOVE(&failed, d, next);
        if (d->why != LINK_END_DENIED)
            log_limited(&t->dial_limit, transport_now_ms(t), LOG_LEVEL_INFO,
                        "cannot reach %s: %s", d->address, d->text);
        t->listener.dial_failed(t->listener.context, d->id, d->why, d->code);
        free(d);
    }
}

void dial_next(struct dial *d)
{
    struct transport *t = d->owner;

    while (d->to_next < d->to_count) {
        const struct sockaddr *to =
            (const struct sockaddr *)(const void *)&d->to[d->to_next++];
        if (!guard_reaches_out(t) && !guard_is_loopback(to)) {
            dial_note(d, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                      "not on loopback; there is no key, and "
                      "Security/AllowPlaintext is not set");
            continue;
        }
        struct link *l =
            t->links_count < t->options.links_max ? link_new(t) : NULL;
        if (l == NULL) {
            dial_note(d, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                      "no room for a link");
            continue;
        }
        l->kind = d->kind;
        l->dial = d;
        l->dial_number = d->id;
        d->link = l;
        (void)conn_name_peer(&l->conn, to);
        conn_connect(&l->conn, to, t->options.connect_ms);
        return;
    }
    dial_fail(d);
}
