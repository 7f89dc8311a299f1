#include "runtime/answer_impl.h"

#include <stdio.h>
#include <string.h>

#include "argus_config.h"
#include "wire/frame.h"

/* ------------------------------------------------------ ends and codes */

const char *answer_code(int status)
{
    switch (status) {
    case ARGUS_OK: return "";
    case ARGUS_EINVAL: return "invalid";
    case ARGUS_ENOMEM: return "no-memory";
    case ARGUS_EFULL: return "rate-limited";
    case ARGUS_EBUSY: return "busy";
    case ARGUS_ENOENT: return "not-found";
    case ARGUS_EDENIED: return "refused";
    case ARGUS_ETOOLARGE: return "too-large";
    default: return "failed";
    }
}

void answer_end(argus_Reply *out, const char *code, const char *message)
{
    memset(out, 0, sizeof *out);
    out->which_body = argus_Reply_end_tag;
    (void)snprintf(out->body.end.code, sizeof out->body.end.code, "%s", code);
    (void)snprintf(out->body.end.message, sizeof out->body.end.message, "%.*s",
                   (int)sizeof out->body.end.message - 1, message);
}

enum answer_step answer_end_covered(const struct answer *a, argus_Reply *out)
{
    answer_end(out, "", "");
    out->body.end.has_coverage = true;
    a->hooks->coverage(a->hooks->context, &out->body.end.coverage);
    return ANSWER_END;
}

enum answer_step answer_end_plain(argus_Reply *out)
{
    answer_end(out, "", "");
    return ANSWER_END;
}

enum answer_step answer_end_status(argus_Reply *out, int status,
                                   const struct argus_error *err)
{
    answer_end(out, answer_code(status), status == ARGUS_OK ? "" : err->text);
    return ANSWER_END;
}

void *answer_row_begin(argus_Reply *out, pb_size_t tag)
{
    memset(out, 0, sizeof *out);
    out->which_body = tag;
    return &out->body;
}

/* -------------------------------------------------------------- events */

static struct timeline_place place_of(const argus_EventReply *e)
{
    return (struct timeline_place){.epoch = e->event.epoch,
                                   .hlc = e->event.hlc,
                                   .origin = node_id_of(e->origin),
                                   .generation = e->event.generation,
                                   .number = e->event.number};
}

/* First index whose event stands at or behind a place. */
static uint32_t lower_bound(const struct control_hooks *hooks,
                            const struct timeline_place *place)
{
    uint32_t low = 0;
    uint32_t high = hooks->events_count(hooks->context);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct timeline_place at;
        if (!hooks->event_place(hooks->context, middle, &at))
            return low;
        if (timeline_place_compare(&at, place) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool answer_find_event(const struct control_hooks *hooks,
                       const struct timeline_place *place,
                       argus_EventReply *out)
{
    uint32_t index = lower_bound(hooks, place);

    memset(out, 0, sizeof *out);
    if (!hooks->event(hooks->context, index, out))
        return false;
    struct timeline_place at = place_of(out);
    if (timeline_place_compare(&at, place) != 0)
        return false;
    hooks->event_order(hooks->context, index, out);
    return true;
}

/* Stamps carry Unix milliseconds in their upper 48 bits. A limit between two
 * milliseconds means the later one, so that nothing older comes. */
static uint64_t since_hlc(const argus_EventsRequest *request)
{
    uint64_t ms = request->since_us / 1000 + (request->since_us % 1000 != 0);
    return ms > UINT64_MAX >> 16 ? UINT64_MAX : ms << 16;
}

bool answer_wants(const argus_EventsRequest *request, const argus_Event *event)
{
    if (event->hlc < since_hlc(request))
        return false;
    if (request->severity != argus_Severity_SEVERITY_NONE &&
        event->severity > request->severity)
        return false;
    return request->node[0] == '\0' || strcmp(request->node, event->node) == 0;
}

bool answer_is_ahead(const struct answer *a, const struct timeline_place *key)
{
    return a->is_seeking || !a->has_place ||
           timeline_place_compare(key, &a->place) > 0;
}

/* Back from the newest event until `limit` of them match. */
static enum answer_step seek_events(struct answer *a, argus_Reply *out)
{
    const argus_EventsRequest *request = &a->request.events;
    argus_EventReply *e = answer_row_begin(out, argus_Reply_event_tag);
    uint32_t index = a->has_place ? lower_bound(a->hooks, &a->place)
                                  : a->hooks->events_count(a->hooks->context);

    for (uint32_t scanned = 0; scanned < ANSWER_SCAN_MAX; scanned++) {
        memset(e, 0, sizeof *e);
        if (index == 0 || !a->hooks->event(a->hooks->context, index - 1, e) ||
            e->event.hlc < since_hlc(request) || a->matched == request->limit) {
            a->is_seeking = false;
            a->matched = 0;
            /* The walk goes on behind its place: stand one before the first. */
            a->has_place = index > 0;
            a->place = place_of(e);
            return ANSWER_AGAIN;
        }
        index--;
        a->place = place_of(e);
        a->has_place = true;
        a->matched += answer_wants(request, &e->event);
    }
    return ANSWER_AGAIN;
}

static uint32_t walk_start(struct answer *a)
{
    if (!a->has_place) {
        struct timeline_place since = {.hlc = since_hlc(&a->request.events)};
        return lower_bound(a->hooks, &since);
    }
    struct timeline_place behind = a->place;
    behind.number++;
    return lower_bound(a->hooks, &behind);
}

static enum answer_step walk_events(struct answer *a, argus_Reply *out)
{
    const argus_EventsRequest *request = &a->request.events;
    argus_EventReply *e = answer_row_begin(out, argus_Reply_event_tag);
    uint32_t index = walk_start(a);

    for (uint32_t scanned = 0; scanned < ANSWER_SCAN_MAX; scanned++, index++) {
        memset(e, 0, sizeof *e);
        bool is_full = !request->follow && request->limit > 0 &&
                       a->matched == request->limit;
        if (is_full || !a->hooks->event(a->hooks->context, index, e))
            return request->follow ? ANSWER_FOLLOW : answer_end_covered(a, out);
        a->place = place_of(e);
        a->has_place = true;
        if (answer_wants(request, &e->event)) {
            a->hooks->event_order(a->hooks->context, index, e);
            a->matched++;
            return ANSWER_ROW;
        }
    }
    return ANSWER_AGAIN;
}

static enum answer_step next_event(struct answer *a, argus_Reply *out)
{
    return a->is_seeking ? seek_events(a, out) : walk_events(a, out);
}

/* --------------------------------------------------- the other verbs */

static enum answer_step next_status(struct answer *a, argus_Reply *out)
{
    if (a->index++ > 0)
        return answer_end_plain(out);
    a->hooks->status(a->hooks->context,
                     answer_row_begin(out, argus_Reply_status_tag));
    return ANSWER_ROW;
}

static enum answer_step next_member(struct answer *a, argus_Reply *out)
{
    if (!a->hooks->member(a->hooks->context, a->index++,
                          answer_row_begin(out, argus_Reply_member_tag)))
        return answer_end_covered(a, out);
    return ANSWER_ROW;
}

static enum answer_step next_offline(struct answer *a, argus_Reply *out)
{
    if (!a->hooks->offline(a->hooks->context, a->index++,
                           answer_row_begin(out, argus_Reply_offline_tag)))
        return answer_end_covered(a, out);
    return ANSWER_ROW;
}

static enum answer_step next_publisher(struct answer *a, argus_Reply *out)
{
    if (a->hooks->publisher(a->hooks->context, &a->index,
                            answer_row_begin(out, argus_Reply_publisher_tag))) {
        a->index++;
        return ANSWER_ROW;
    }
    answer_end(out, "", "");
    out->body.end.has_coverage = true;
    a->hooks->publishers_coverage(a->hooks->context, &out->body.end.coverage);
    return ANSWER_END;
}

static enum answer_step next_peer(struct answer *a, argus_Reply *out)
{
    if (!a->hooks->peer(a->hooks->context, a->index++,
                        answer_row_begin(out, argus_Reply_peer_tag)))
        return answer_end_plain(out);
    return ANSWER_ROW;
}

static enum answer_step next_route(struct answer *a, argus_Reply *out)
{
    if (!a->hooks->route(a->hooks->context, a->request.route.key, a->index++,
                         answer_row_begin(out, argus_Reply_route_tag)))
        return answer_end_covered(a, out);
    return ANSWER_ROW;
}

static enum answer_step next_version(struct answer *a, argus_Reply *out)
{
    if (a->index++ > 0)
        return answer_end_plain(out);
    argus_VersionReply *v = answer_row_begin(out, argus_Reply_version_tag);
    (void)snprintf(v->argus, sizeof v->argus, "%s", ARGUS_VERSION);
    (void)snprintf(v->collectd, sizeof v->collectd, "%s", a->collectd_version);
    v->protocol = ARGUS_PROTOCOL;
    return ANSWER_ROW;
}

static int check_notify(argus_NotifyRequest *request, struct argus_error *err)
{
    switch (request->severity) {
    case argus_Severity_SEVERITY_NONE:
        request->severity = argus_Severity_SEVERITY_WARNING;
        break;
    case argus_Severity_SEVERITY_FAILURE:
    case argus_Severity_SEVERITY_WARNING:
    case argus_Severity_SEVERITY_OKAY: break;
    default:
        return argus_fail(err, ARGUS_EINVAL, "%d is no severity",
                          (int)request->severity);
    }
    if (request->message[0] == '\0')
        return argus_fail(err, ARGUS_EINVAL, "an event needs a message");
    return ARGUS_OK;
}

static enum answer_step next_notify(struct answer *a, argus_Reply *out)
{
    struct argus_error err = {{0}};
    int rc = ARGUS_OK;

    if (a->index++ > 0)
        return answer_end_plain(out);
    argus_NotifyReply *reply = answer_row_begin(out, argus_Reply_notify_tag);
    rc = check_notify(&a->request.notify, &err);
    if (rc == ARGUS_OK)
        rc = a->hooks->notify(a->hooks->context, &a->request.notify, reply,
                              &err);
    return rc == ARGUS_OK ? ANSWER_ROW : answer_end_status(out, rc, &err);
}

static enum answer_step next_join(struct answer *a, argus_Reply *out)
{
    struct argus_error err = {{0}};
    const char *address = a->request.join.address;

    int rc = address[0] == '\0'
                 ? argus_fail(&err, ARGUS_EINVAL, "join takes an address")
                 : a->hooks->join(a->hooks->context, address, &err);
    return answer_end_status(out, rc, &err);
}

static enum answer_step next_leave(struct answer *a, argus_Reply *out)
{
    struct argus_error err = {{0}};
    return answer_end_status(out, a->hooks->leave(a->hooks->context, &err),
                             &err);
}

/* The parts of a request are all small, but for those that are dealt with at
 * once. */
static void keep_request(struct answer *a, const argus_Request *request)
{
    a->verb = request->which_body;
    switch (a->verb) {
    case argus_Request_route_tag: a->request.route = request->body.route; break;
    case argus_Request_events_tag:
        a->request.events = request->body.events;
        a->is_seeking = request->body.events.limit > 0;
        break;
    case argus_Request_notify_tag:
        a->request.notify = request->body.notify;
        break;
    case argus_Request_join_tag: a->request.join = request->body.join; break;
    case argus_Request_bundle_get_tag:
        a->request.bundle_get = request->body.bundle_get;
        break;
    case argus_Request_bundle_content_tag:
        a->request.bundle_content = request->body.bundle_content;
        break;
    case argus_Request_bundle_status_tag:
        a->request.bundle_status = request->body.bundle_status;
        break;
    }
}

void answer_begin(struct answer *a, const struct control_hooks *hooks,
                  const char *collectd_version, const argus_Request *request,
                  bool is_owner, uint64_t *staged)
{
    memset(a, 0, sizeof *a);
    a->hooks = hooks;
    a->collectd_version = collectd_version;
    keep_request(a, request);
    if (a->verb == argus_Request_bundle_chunk_tag)
        answer_take_chunk(a, &request->body.bundle_chunk, staged);
    else if (a->verb == argus_Request_bundle_push_tag)
        answer_take_push(a, &request->body.bundle_push);
    else if (a->verb == argus_Request_key_wrap_tag)
        answer_take_key(a, &request->body.key_wrap, is_owner);
}

/* This node's row, then one for each alarmed node: index is that of the member,
 * and one more. */
static enum answer_step next_clock(struct answer *a, argus_Reply *out)
{
    if (a->index == 0) {
        a->index = 1;
        a->hooks->clock(a->hooks->context,
                        answer_row_begin(out, argus_Reply_clock_tag));
        return ANSWER_ROW;
    }
    uint32_t member = a->index - 1;
    if (!a->hooks->clock_node(
            a->hooks->context, &member,
            answer_row_begin(out, argus_Reply_clock_node_tag)))
        return answer_end_covered(a, out);
    a->index = member + 2;
    return ANSWER_ROW;
}

enum answer_step answer_next(struct answer *a, argus_Reply *out)
{
    switch (a->verb) {
    case argus_Request_status_tag: return next_status(a, out);
    case argus_Request_members_tag: return next_member(a, out);
    case argus_Request_offline_tag: return next_offline(a, out);
    case argus_Request_publishers_tag: return next_publisher(a, out);
    case argus_Request_peers_tag: return next_peer(a, out);
    case argus_Request_route_tag: return next_route(a, out);
    case argus_Request_events_tag: return next_event(a, out);
    case argus_Request_notify_tag: return next_notify(a, out);
    case argus_Request_join_tag: return next_join(a, out);
    case argus_Request_leave_tag: return next_leave(a, out);
    case argus_Request_version_tag: return next_version(a, out);
    case argus_Request_clock_tag: return next_clock(a, out);
    case argus_Request_bundle_list_tag:
    case argus_Request_bundle_get_tag:
    case argus_Request_bundle_content_tag:
    case argus_Request_bundle_chunk_tag:
    case argus_Request_bundle_push_tag:
    case argus_Request_bundle_status_tag: return answer_next_bundle(a, out);
    case argus_Request_operators_tag:
    case argus_Request_keys_tag:
    case argus_Request_key_wrap_tag: return answer_next_order(a, out);
    }
    answer_end(out, "unsupported", "this daemon does not know that verb");
    return ANSWER_END;
}
