#include "runtime/transport_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void dial_next(struct dial *d);

/* Beside the one that came up, or all of them: nobody hears of it. */
static void drop_attempts(struct dial *d)
{
    while (d->attempts_count > 0) {
        struct link *l = d->attempts[--d->attempts_count];
        l->dial = NULL;
        l->is_muted = true;
        conn_abort(&l->conn, LINK_END_CLOSED, argus_RefuseCode_REFUSE_BYE,
                   "another address was faster");
    }
}

void dial_forget(struct dial *d)
{
    if (d->lookup != NULL)
        resolve_cancel(d->lookup);
    drop_attempts(d);
    TAILQ_REMOVE(&d->owner->dials, d, next);
    d->owner->dials_count--;
    free(d->answer);
    free(d);
}

void dial_attempt_gone(struct link *l)
{
    struct dial *d = l->dial;

    for (unsigned i = 0; i < d->attempts_count; i++)
        if (d->attempts[i] == l)
            d->attempts[i] = d->attempts[--d->attempts_count];
    l->dial = NULL;
}

/* ------------------------------------------------------------ the outcome */

/* What the dial as a whole will answer. One's own address among those of a
 * name says nothing of the others; and "nobody listens" holds only when it is
 * so at each of them. */
static void dial_note(struct dial *d, enum link_end why, argus_RefuseCode code,
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

static char *find_unreached(struct transport *t, const char *address)
{
    for (unsigned i = 0; i < UNREACHED_MAX; i++)
        if (strcmp(t->unreached[i], address) == 0)
            return t->unreached[i];
    return NULL;
}

/* Dials go on for ever: of each address the log has one line. A name that
 * cannot be looked up has its own. */
static void log_failed(struct transport *t, const struct dial *d)
{
    if (d->why == LINK_END_DENIED || d->is_unresolved || d->is_search ||

        find_unreached(t, d->address) != NULL)
        return;
    text_copy(t->unreached[t->unreached_next], ADDRESS_SIZE, d->address);
    t->unreached_next = (t->unreached_next + 1) % UNREACHED_MAX;
    log_limited(&t->dial_limit, transport_now_ms(t), LOG_LEVEL_INFO,
                "cannot reach %s: %s", d->address, d->text);
}

void dial_succeed(struct link *l)
{
    struct dial *d = l->dial;
    char *told = find_unreached(d->owner, d->address);

    if (told != NULL)
        told[0] = '\0';
    dial_attempt_gone(l);
    dial_forget(d);
}

/* ------------------------------------------------------------- addresses */

/* While joined, a seed is dialed to find others than those we know. */
static void keep_strangers(struct dial *d, struct resolve_answer *answer)
{
    struct transport *t = d->owner;
    unsigned kept = 0;
    char ip[INET6_ADDRSTRLEN], address[ADDRESS_SIZE], port[8];

    for (unsigned i = 0; i < answer->count; i++) {
        const union resolve_address *a = &answer->to[i];
        bool is_v4 = a->any.sa_family == AF_INET;
        if (is_v4)
            (void)uv_ip4_name(&a->v4, ip, sizeof ip);
        else
            (void)uv_ip6_name(&a->v6, ip, sizeof ip);
        (void)snprintf(port, sizeof port, "%u",
                       ntohs(is_v4 ? a->v4.sin_port : a->v6.sin6_port));
        if (!text_join_address(address, sizeof address, ip, port) ||
            !t->listener.is_known(t->listener.context, address))
            answer->to[kept++] = *a;
    }
    answer->count = kept;
}

static void on_resolved(void *context, const struct resolve_answer *answer,
                        const struct argus_error *err)
{
    struct dial *d = context;

    d->lookup = NULL;
    d->is_unresolved = answer->count == 0;
    if (d->is_unresolved) {
        dial_fail_with(d, LINK_END_LOCAL, err->text);
        return;
    }
    d->answer = malloc(sizeof *d->answer);
    if (d->answer == NULL) {
        dial_fail_with(d, LINK_END_LOCAL, "out of memory");
        return;
    }
    *d->answer = *answer;
    if (d->is_search)
        keep_strangers(d, d->answer);
    dial_next(d);
}

/* A literal needs no look-up. */
static bool literal_address(const char *host, const char *port,
                            union resolve_address *out)
{
    if (strspn(port, "0123456789") != strlen(port))
        return false;
    int number = atoi(port);
    return uv_ip4_addr(host, number, &out->v4) == 0 ||
           uv_ip6_addr(host, number, &out->v6) == 0;
}

static void dial_literal(struct dial *d, const union resolve_address *to)
{
    d->answer = malloc(sizeof *d->answer);
    if (d->answer == NULL) {
        dial_fail_with(d, LINK_END_LOCAL, "out of memory");
        return;
    }
    d->answer->count = 1;
    d->answer->to[0] = *to;
    dial_next(d);
}

/* A service is of the configuration alone: who is dialed by what others say of
 * it is expected to be somebody. */
static void dial_begin(struct dial *d)
{
    char host[ADDRESS_SIZE], port[32];
    struct argus_error err = {{0}};
    union resolve_address literal;
    bool is_service = text_is_service(d->address) && !d->has_expected;

    if (is_service) {
        text_copy(host, sizeof host, d->address);
    } else if (!text_split_address(d->address, host, sizeof host, port,
                                   sizeof port) ||
               host[0] == '\0') {
        dial_fail_with(d, LINK_END_LOCAL, "this is no host:port");
        return;
    } else if (literal_address(host, port, &literal)) {
        dial_literal(d, &literal);
        return;
    }
    if (resolve_start(d->owner->resolver, host, is_service ? NULL : port,
                      on_resolved, d, &d->lookup, &err) != ARGUS_OK) {
        d->lookup = NULL;
        dial_fail_with(d, LINK_END_LOCAL, err.text);
    }
}

static void dial(struct transport *t, struct dial *d)
{
    d->owner = t;
    TAILQ_INSERT_TAIL(&t->dials, d, next);
    t->dials_count++;
    if (t->dials_count > t->options.dials_max)
        dial_fail_with(d, LINK_END_LOCAL, "too many dials are under way");
    else
        dial_begin(d);
}

static struct dial *dial_new(struct transport *t, dial_id id,
                             argus_LinkKind kind, const char *address)
{
    struct dial *d = t->is_stopping ? NULL : calloc(1, sizeof *d);

    if (d == NULL) {
        t->stats.dials_failed++;
        if (!t->is_stopping && t->starved_count < STARVED_MAX) {
            t->starved[t->starved_count++] = id;
            conn_shared_wake(&t->shared);
        }
        return NULL;
    }
    d->id = id;
    d->kind = kind;
    text_copy(d->address, sizeof d->address, address);
    return d;
}

void transport_dial(struct transport *t, dial_id id, argus_LinkKind kind,
                    const char *address, const struct node_id *expected)
{
    struct dial *d = dial_new(t, id, kind, address);

    if (d == NULL)
        return;
    if (expected != NULL) {
        d->has_expected = true;
        d->expected = *expected;
    }
    dial(t, d);
}

void transport_search(struct transport *t, dial_id id, argus_LinkKind kind,
                      const char *address)
{
    struct dial *d = dial_new(t, id, kind, address);

    if (d == NULL)
        return;
    d->is_search = true;
    dial(t, d);
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
        log_failed(t, d);
        t->listener.dial_failed(t->listener.context, d->id, d->why, d->code);
        free(d->answer);
        free(d);
    }
}

/* ------------------------------------------------------------ attempts */

/* @return false: not this address; dial_note() knows why. */
static bool try_address(struct dial *d, const struct sockaddr *to)
{
    struct transport *t = d->owner;

    if (!guard_reaches_out(t) && !guard_is_loopback(to)) {
        dial_note(d, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                  "not on loopback; there is no key, and "
                  "Security/AllowPlaintext is not set");
        return false;
    }
    struct link *l = t->links_count < t->options.links_max ? link_new(t) : NULL;
    if (l == NULL) {
        dial_note(d, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                  "no room for a link");
        return false;
    }
    l->kind = d->kind;
    l->dial = d;
    l->dial_number = d->id;
    d->attempts[d->attempts_count++] = l;
    (void)conn_name_peer(&l->conn, to);
    conn_connect(&l->conn, to, t->options.connect_ms);
    return true;
}

static void on_stagger(uv_timer_t *timer);

static bool has_more(const struct dial *d)
{
    return d->answer != NULL && d->to_next < d->answer->count &&
           d->attempts_count < DIAL_ATTEMPTS_MAX;
}

static void arm_stagger(struct transport *t)
{
    uint64_t now = transport_now_ms(t), due = UINT64_MAX;
    struct dial *d;

    TAILQ_FOREACH(d, &t->dials, next)
    {
        if (has_more(d) && d->stagger_ms < due)
            due = d->stagger_ms;
    }
    if (due != UINT64_MAX && !uv_is_closing((uv_handle_t *)&t->stagger))
        (void)uv_timer_start(&t->stagger, on_stagger, due > now ? due - now : 0,
                             0);
}

static void dial_next(struct dial *d)
{
    struct transport *t = d->owner;
    bool tries = false;

    while (has_more(d) && !tries)
        tries = try_address(d, &d->answer->to[d->to_next++].any);
    if (d->attempts_count == 0 && !has_more(d)) {
        if (!d->has_failed)
            dial_note(d, LINK_END_LOCAL, argus_RefuseCode_REFUSE_NONE,
                      "nobody new is there");
        dial_fail(d);
        return;
    }
    d->stagger_ms = transport_now_ms(t) + DIAL_STAGGER_MS;
    if (has_more(d))
        arm_stagger(t);
}

void dial_attempt_ended(struct link *l, enum link_end why,
                        argus_RefuseCode code, const char *text)
{
    struct dial *d = l->dial;

    dial_attempt_gone(l);
    dial_note(d, why, code, text);
    dial_next(d);
}

/* One at a time: a dial that fails leaves the list. */
static struct dial *first_due(struct transport *t)
{
    struct dial *d;

    TAILQ_FOREACH(d, &t->dials, next)
    {
        if (has_more(d) && d->stagger_ms <= transport_now_ms(t))
            return d;
    }
    return NULL;
}

static void on_stagger(uv_timer_t *timer)
{
    struct transport *t = timer->data;
    struct dial *d;

    while ((d = first_due(t)) != NULL)
        dial_next(d);
    arm_stagger(t);
}

void dial_open(struct transport *t)
{
    (void)uv_timer_init(t->shared.loop, &t->stagger);
    t->stagger.data = t;
    t->handles++;
}

static void on_stagger_closed(uv_handle_t *handle)
{
    transport_one_handle_less(handle->data);
}

void dial_close(struct transport *t)
{
    uv_close((uv_handle_t *)&t->stagger, on_stagger_closed);
}
