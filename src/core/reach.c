#include "core/reach.h"

#include <string.h>

#include "base/text.h"

void reach_init(struct reach *r, const struct reach_options *options,
                const struct reach_listener *listener)
{
    memset(r, 0, sizeof *r);
    r->options = *options;
    r->listener = *listener;
    r->due_ms = UINT64_MAX;
    prng_seed(&r->prng, options->seed);
}

static bool is_dialable(const char *address)
{
    return address[0] != '\0' && address[0] != ':';
}

static void ask_in(struct reach *r, uint64_t now_ms, uint32_t ms)
{
    r->asked = 0;
    r->due_ms = now_ms + prng_jitter(&r->prng, ms);
}

/* From the beginning: own first. */
static void begin(struct reach *r, uint64_t now_ms, uint32_t ms)
{
    r->is_second = false;
    r->failures = 0;
    r->asked_id = (struct node_id){{0}};
    ask_in(r, now_ms, ms);
}

void reach_set_own(struct reach *r, uint64_t now_ms, const char *address)
{
    if (strcmp(r->own, address) == 0)
        return;
    text_copy(r->own, sizeof r->own, address);
    r->state = REACH_UNCHECKED;
    r->was_told = false;
    if (r->due_ms != UINT64_MAX)
        begin(r, now_ms, REACH_FIRST_MS);
}

/* What means something on one link only is no address for others. */
void reach_on_observed(struct reach *r, const char *ip)
{
    char port[8];

    if (r->options.listen_port == 0 || strncmp(ip, "fe80:", 5) == 0)
        return;
    text_say(port, sizeof port, "%u", r->options.listen_port);
    if (!text_join_address(r->observed, sizeof r->observed, ip, port))
        r->observed[0] = '\0';
}

void reach_neighbor_up(struct reach *r, uint64_t now_ms)
{
    if (r->options.is_on && r->due_ms == UINT64_MAX)
        begin(r, now_ms, REACH_FIRST_MS);
}

/* --------------------------------------------------------------- asking */

static void ask(struct reach *r, uint64_t now_ms, struct actions *out)
{
    const char *address = r->is_second ? r->observed : r->own;
    argus_Frame f;
    link_id link;

    if (!is_dialable(address) ||
        !r->listener.any_neighbor(r->listener.context,
                                  (uint32_t)prng_next(&r->prng), &r->asked_id,
                                  &link, &r->asked_id)) {
        ask_in(r, now_ms, REACH_RETRY_MS);
        return;
    }
    f.hlc = 0;
    f.which_body = argus_Frame_address_check_tag;
    f.body.address_check = (argus_AddressCheck){.number = ++r->number};
    text_copy(f.body.address_check.address, sizeof f.body.address_check.address,
              address);
    r->asked = link;
    r->due_ms = now_ms + REACH_ANSWER_MS;
    r->stats.asked++;
    actions_send(out, link, &f);
}

static void be_at(struct reach *r, const char *address, struct actions *out)
{
    r->listener.moved(r->listener.context, address, out);
}

static void on_good(struct reach *r, uint64_t now_ms, struct actions *out)
{
    enum reach_state before = r->state;

    r->stats.confirmed++;
    if (!r->is_second) {
        r->state = REACH_GOOD;
        if (before == REACH_ELSEWHERE)
            be_at(r, r->own, out);
        if (r->was_told)
            actions_log(out, LOG_LEVEL_NOTICE,
                        "other nodes can dial this node at %s now", r->own);
        r->was_told = false;
        begin(r, now_ms, REACH_GOOD_MS);
        return;
    }
    r->state = REACH_ELSEWHERE;
    if (before != REACH_ELSEWHERE)
        be_at(r, r->observed, out);
    if (!r->was_told)
        actions_log(out, LOG_LEVEL_WARNING,
                    "Advertise: other nodes cannot dial this node at %s (%s); "
                    "they are told %s in its place, where they can. Set "
                    "Advertise to that, or leave it out",
                    r->own, r->witness, r->observed);
    r->was_told = true;
    begin(r, now_ms, REACH_BAD_MS);
}

static void on_nowhere(struct reach *r, uint64_t now_ms, struct actions *out)
{
    bool has_second = r->is_second;

    if (r->state == REACH_ELSEWHERE)
        be_at(r, r->own, out);
    r->state = REACH_BAD;
    if (!r->was_told)
        actions_log(out, LOG_LEVEL_WARNING,
                    "Advertise: other nodes cannot dial this node at %s (%s)"
                    "%s%s: set Advertise to an address and port at which they "
                    "can, or open the port in the firewall",
                    r->own, r->witness, has_second ? ", nor at " : "",
                    has_second ? r->observed : "");
    r->was_told = true;
    begin(r, now_ms, REACH_BAD_MS);
}

/* Enough have failed at this address: the other one, if there is one. */
static void on_bad(struct reach *r, uint64_t now_ms, struct actions *out)
{
    struct node_id id;
    link_id link;

    r->stats.denied++;
    r->failures++;
    if (r->failures < REACH_WITNESSES &&
        r->listener.any_neighbor(r->listener.context, 0, &r->asked_id, &link,
                                 &id) &&
        !node_id_is_equal(&id, &r->asked_id)) {
        ask_in(r, now_ms, 100);
        return;
    }
    if (r->is_second || r->observed[0] == '\0' ||
        strcmp(r->observed, r->own) == 0) {
        on_nowhere(r, now_ms, out);
        return;
    }
    r->is_second = true;
    r->failures = 0;
    ask_in(r, now_ms, 100);
}

static const char *explain(argus_AddressOutcome outcome)
{
    switch (outcome) {
    case argus_AddressOutcome_ADDRESS_REFUSED: return "nothing listens there";
    case argus_AddressOutcome_ADDRESS_SILENT: return "nothing answers there";
    case argus_AddressOutcome_ADDRESS_OTHER:
        return "somebody else answers there";
    default: return "that address cannot be dialed";
    }
}

static void on_result(struct reach *r, uint64_t now_ms, const char *name,
                      const argus_AddressResult *m, struct actions *out)
{
    switch (m->outcome) {
    case argus_AddressOutcome_ADDRESS_REACHED: on_good(r, now_ms, out); break;
    case argus_AddressOutcome_ADDRESS_BUSY:
        ask_in(r, now_ms, REACH_RETRY_MS);
        break;
    default:
        if (!r->is_second)
            text_say(r->witness, sizeof r->witness, "%.128s says: %s", name,
                     explain(m->outcome));
        on_bad(r, now_ms, out);
    }
}

/* ------------------------------------------------------------- answering */

static void answer(struct reach_serve *s, argus_AddressOutcome outcome,
                   struct actions *out)
{
    argus_Frame f;

    f.hlc = 0;
    f.which_body = argus_Frame_address_result_tag;
    f.body.address_result =
        (argus_AddressResult){.number = s->number, .outcome = outcome};
    s->dial = 0;
    actions_send(out, s->link, &f);
}

static struct reach_serve *find_serve(struct reach *r, dial_id dial)
{
    for (unsigned i = 0; i < REACH_BURST; i++)
        if (r->serves[i].dial == dial)
            return &r->serves[i];
    return NULL;
}

static void on_check(struct reach *r, uint64_t now_ms, link_id link,
                     const struct node_id *peer, const argus_AddressCheck *m,
                     struct actions *out)
{
    struct reach_serve refused = {.link = link, .number = m->number};
    struct reach_serve *s = find_serve(r, 0);

    if (s == NULL || !is_dialable(m->address) ||
        !bucket_take(&r->bucket, now_ms, REACH_RATE, REACH_BURST, 1)) {
        r->stats.refused++;
        answer(&refused, argus_AddressOutcome_ADDRESS_BUSY, out);
        return;
    }
    *s = (struct reach_serve){.dial =
                                  (uint64_t)REACH_DIAL_TAG << 56 | ++r->dials,
                              .link = link,
                              .number = m->number};
    r->stats.served++;
    actions_dial(out, s->dial, argus_LinkKind_LINK_PROBE, m->address, peer);
}

void reach_on_frame(struct reach *r, uint64_t now_ms, link_id link,
                    const struct node_id *peer, const char *name,
                    const argus_Frame *frame, struct actions *out)
{
    if (frame->which_body == argus_Frame_address_check_tag)
        on_check(r, now_ms, link, peer, &frame->body.address_check, out);
    else if (link == r->asked && frame->body.address_result.number == r->number)
        on_result(r, now_ms, name, &frame->body.address_result, out);
}

void reach_on_dialed(struct reach *r, dial_id dial, struct actions *out)
{
    struct reach_serve *s = find_serve(r, dial);

    if (s != NULL)
        answer(s, argus_AddressOutcome_ADDRESS_REACHED, out);
}

/* An id that answers and has no room is there. */
static argus_AddressOutcome outcome_of(enum link_end why, argus_RefuseCode code)
{
    if (why == LINK_END_REFUSED)
        return argus_AddressOutcome_ADDRESS_REFUSED;
    if (why == LINK_END_LOCAL)
        return argus_AddressOutcome_ADDRESS_UNUSABLE;
    if (why == LINK_END_DENIED && code == argus_RefuseCode_REFUSE_BUSY)
        return argus_AddressOutcome_ADDRESS_BUSY;
    return why == LINK_END_DENIED ? argus_AddressOutcome_ADDRESS_OTHER
                                  : argus_AddressOutcome_ADDRESS_SILENT;
}

void reach_on_dial_failed(struct reach *r, dial_id dial, enum link_end why,
                          argus_RefuseCode code, struct actions *out)
{
    struct reach_serve *s = find_serve(r, dial);

    if (s != NULL)
        answer(s, outcome_of(why, code), out);
}

/* ---------------------------------------------------------------- timers */

void reach_on_timeout(struct reach *r, uint64_t now_ms, struct actions *out)
{
    if (now_ms < r->due_ms)
        return;
    if (r->asked != 0) { /* the link may be gone, with its answer */
        r->stats.unanswered++;
        ask_in(r, now_ms, REACH_RETRY_MS);
        return;
    }
    ask(r, now_ms, out);
}

uint64_t reach_deadline_ms(const struct reach *r)
{
    return r->due_ms;
}

const char *reach_state_name(const struct reach *r)
{
    switch (r->state) {
    case REACH_GOOD: return "reachable";
    case REACH_ELSEWHERE: return "elsewhere";
    case REACH_BAD: return "unreachable";
    case REACH_UNCHECKED: break;
    }
    return "unchecked";
}
