#include "base/srv.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"

/** Longest DNS message. */
#define MESSAGE_SIZE 65536

/* The root as a target says that there is no such service. */
static bool is_host_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

    return name[0] != '\0' && name[0] != '.' && name[0] != '-' &&
           name[strspn(name, allowed)] == '\0';
}

static bool take_service(ns_msg *m, ns_rr *rr, struct dns_service *out)
{
    const uint8_t *data = ns_rr_rdata(*rr);

    if (ns_rr_type(*rr) != ns_t_srv || ns_rr_class(*rr) != ns_c_in ||
        ns_rr_rdlen(*rr) < 7)
        return false;
    out->priority = (uint16_t)ns_get16(data);
    out->weight = (uint16_t)ns_get16(data + 2);
    out->port = (uint16_t)ns_get16(data + 4);
    return ns_name_uncompress(ns_msg_base(*m), ns_msg_end(*m), data + 6,
                              out->target, sizeof out->target) > 0 &&
           out->port != 0 && is_host_name(out->target);
}

bool dns_parse_services(const uint8_t *message, size_t size,
                        struct dns_services *out)
{
    struct dns_service service;
    ns_msg m;
    ns_rr rr;

    memset(out, 0, sizeof *out);
    if (size > MESSAGE_SIZE || ns_initparse(message, (int)size, &m) != 0)
        return false;
    for (int i = 0; i < ns_msg_count(m, ns_s_an); i++) {
        if (ns_parserr(&m, ns_s_an, i, &rr) != 0)
            break; /* what came before it stands */
        if (!take_service(&m, &rr, &service))
            continue;
        if (out->count == DNS_SERVICES_MAX) {
            out->is_truncated = true;
            break;
        }
        out->list[out->count++] = service;
    }
    return out->count > 0;
}

static int by_priority(const void *a, const void *b)
{
    const struct dns_service *x = a, *y = b;

    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    return (x->weight != 0) - (y->weight != 0); /* RFC 2782: those of 0 first */
}

/* Move the one that was drawn to the front of those of its priority. */
static void draw_next(struct dns_service *list, unsigned count,
                      uint32_t (*draw)(void *context, uint32_t bound),
                      void *context)
{
    uint32_t sum = 0, reached = 0;
    unsigned i = 0;

    for (unsigned k = 0; k < count; k++)
        sum += list[k].weight;
    uint32_t drawn = draw(context, sum + 1);
    while (i + 1 < count && (reached += list[i].weight) < drawn)
        i++;
    struct dns_service chosen = list[i];
    memmove(&list[1], &list[0], i * sizeof list[0]);
    list[0] = chosen;
}

void dns_order_services(struct dns_services *s,
                        uint32_t (*draw)(void *context, uint32_t bound),
                        void *context)
{
    qsort(s->list, s->count, sizeof s->list[0], by_priority);
    for (unsigned i = 0; i < s->count; i++) {
        unsigned end = i;
        while (end < s->count && s->list[end].priority == s->list[i].priority)
            end++;
        draw_next(&s->list[i], end - i, draw, context);
    }
}

static uint32_t draw_random(void *context, uint32_t bound)
{
    uint64_t number = 0;

    (void)context;
    (void)getentropy(&number, sizeof number);
    return (uint32_t)(number % bound);
}

static const char *explain(int error)
{
    switch (error) {
    case HOST_NOT_FOUND: return "there is no such name";
    case NO_DATA: return "the name has no SRV record";
    case TRY_AGAIN: return "no name server answers";
    default: return "the name server refuses to say";
    }
}

bool dns_service(const char *name, struct dns_services *out, char *why,
                 size_t why_size)
{
    struct __res_state state;
    uint8_t *message = malloc(MESSAGE_SIZE);
    const char *text = "out of memory";
    bool found = false;

    memset(&state, 0, sizeof state);
    memset(out, 0, sizeof *out);
    if (message != NULL && res_ninit(&state) == 0) {
        int size =
            res_nquery(&state, name, ns_c_in, ns_t_srv, message, MESSAGE_SIZE);
        if (size < 0)
            text = explain(state.res_h_errno);
        else if (!dns_parse_services(message, (size_t)size, out))
            text = "its SRV records name no host and port to dial";
        else
            found = true;
        res_nclose(&state);
    }
    free(message);
    if (found)
        dns_order_services(out, draw_random, NULL);
    else
        text_copy(why, why_size, text);
    return found;
}
