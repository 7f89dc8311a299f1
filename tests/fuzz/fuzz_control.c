/* fuzz_control.c - the control socket: a real control.c in a loop, and clients
 * that send whatever, in pieces, ask again before they have read, follow, read
 * late or leave. What comes back is whole replies, whatever was asked.
 *
 * Input: a byte of flavor, then operations, each a byte and its arguments. */
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/control.h"
#include "wire/frame.h"

#define CLIENTS 3
#define OPERATIONS_MAX 200

struct client {
    int fd; /* -1: not connected */
    size_t used;
    uint8_t bytes[2 * (FRAME_HEADER_SIZE + FRAME_BODY_MAX)];
};

static struct {
    uv_loop_t loop;
    struct control *control;
    struct client clients[CLIENTS];
    uint32_t rows, events; /* that the daemon behind it has */
    uint8_t flavor;
} at;

/* ------------------------------------------------------- the fake daemon */

static void name_it(char *out, size_t size, uint32_t index)
{
    (void)snprintf(out, size, "node-%u", index);
}

static void on_status(void *context, argus_StatusReply *out)
{
    (void)context;
    name_it(out->name, sizeof out->name, 0);
}

static bool on_member(void *context, uint32_t index, argus_MemberReply *out)
{
    (void)context;
    out->has_record = true;
    memset(out->record.zone, 'z', sizeof out->record.zone - 1);
    return index < at.rows;
}

static bool on_offline(void *context, uint32_t index, argus_OfflineReply *out)
{
    (void)context;
    memset(out->reason, 'r', sizeof out->reason - 1);
    return index < at.rows;
}

static bool on_publisher(void *context, uint32_t *index,
                         argus_PublisherReply *out)
{
    (void)context;
    name_it(out->node, sizeof out->node, *index);
    return *index < at.rows;
}

static bool on_peer(void *context, uint32_t index, argus_PeerReply *out)
{
    (void)context;
    name_it(out->name, sizeof out->name, index);
    return index < at.rows;
}

static bool on_route(void *context, const char *key, uint32_t index,
                     argus_RouteReply *out)
{
    (void)context;
    assert(strlen(key) < sizeof out->key);
    (void)snprintf(out->key, sizeof out->key, "%s", key);
    return index < at.rows;
}

static uint32_t on_events_count(void *context)
{
    (void)context;
    return at.events;
}

static void fill_event(uint32_t index, argus_Event *out)
{
    out->hlc = (uint64_t)(index + 1) << 16;
    out->number = index;
    out->severity = index % 3 == 0 ? argus_Severity_SEVERITY_FAILURE
                                   : argus_Severity_SEVERITY_OKAY;
    name_it(out->node, sizeof out->node, index % 2);
    memset(out->message, 'm', sizeof out->message - 1);
}

static bool on_event_place(void *context, uint32_t index,
                           struct timeline_place *out)
{
    (void)context;
    *out = (struct timeline_place){
        .hlc = (uint64_t)(index + 1) << 16, .origin = {{1}}, .number = index};
    return index < at.events;
}

static void on_event_order(void *context, uint32_t index, argus_EventReply *out)
{
    (void)context;
    out->concurrent = index % 2 == 0;
}

static bool on_event(void *context, uint32_t index, argus_EventReply *out)
{
    (void)context;
    if (index >= at.events)
        return false;
    out->has_event = true;
    fill_event(index, &out->event);
    out->origin[0] = 1;
    return true;
}

static void on_coverage(void *context, argus_Coverage *out)
{
    (void)context;
    out->known = out->contributed = at.rows;
}

static int refuse_sometimes(struct argus_error *err, int code)
{
    return at.flavor & 1 ? argus_fail(err, code, "not now") : ARGUS_OK;
}

static int on_notify(void *context, const argus_NotifyRequest *request,
                     argus_NotifyReply *out, struct argus_error *err)
{
    (void)context;
    assert(request->severity != argus_Severity_SEVERITY_NONE &&
           request->message[0] != '\0');
    out->hlc = 7;
    return refuse_sometimes(err, ARGUS_EFULL);
}

static int on_join(void *context, const char *address, struct argus_error *err)
{
    (void)context;
    assert(address[0] != '\0');
    return refuse_sometimes(err, ARGUS_EINVAL);
}

static int on_leave(void *context, struct argus_error *err)
{
    (void)context;
    return refuse_sometimes(err, ARGUS_EBUSY);
}

static bool on_bundle(void *context, uint32_t index, argus_BundleReply *out)
{
    (void)context;
    out->has_bundle = true;
    out->bundle.manifest.size = 3;
    out->hash[0] = (uint8_t)(index + 1);
    out->complete = index % 2 == 0;
    return index < at.rows;
}

static bool on_bundle_version(void *context, const char *name, uint32_t version,
                              argus_BundleReply *out)
{
    return name[0] != '\0' && on_bundle(context, version, out);
}

static size_t on_content(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                         uint64_t offset, uint8_t *out, size_t size,
                         uint64_t *total)
{
    size_t count = 0;

    (void)context;
    *total = 40000;
    for (; count < size && offset + count < *total; count++)
        out[count] = hash[0];
    return at.flavor & 2 && offset > 0 ? 0 : count;
}

static int on_chunk(void *context, uint64_t staged, const uint8_t *data,
                    size_t size, struct argus_error *err)
{
    uint32_t sum = 0;

    (void)context;
    (void)staged;
    assert(size > 0 && size <= CONTENT_CHUNK_SIZE);
    for (size_t i = 0; i < size; i++)
        sum += data[i];
    return sum % 5 == 1 ? argus_fail(err, ARGUS_EFULL, "no room") : ARGUS_OK;
}

static int on_push(void *context, const argus_SignedBundle *bundle,
                   struct argus_error *err)
{
    (void)context;
    assert(bundle->manifest.size <= sizeof bundle->manifest.bytes);
    return refuse_sometimes(err, ARGUS_EDENIED);
}

static bool on_bundle_status(void *context, const char *name,
                             argus_BundleStatusReply *out)
{
    (void)context;
    out->version = 2;
    return name[0] != '\0';
}

static bool on_bundle_node(void *context, const char *name, uint32_t index,
                           argus_BundleNodeReply *out)
{
    (void)context;
    assert(name[0] != '\0');
    out->has_bundle = true;
    memset(out->bundle.error, 'e', sizeof out->bundle.error - 1);
    return index < at.rows;
}

static bool on_operator(void *context, uint32_t index, argus_OperatorReply *out)
{
    (void)context;
    out->trusted = true;
    return index < at.rows;
}

static int on_has_keyring(void *context, struct argus_error *err)
{
    (void)context;
    return refuse_sometimes(err, ARGUS_EDENIED);
}

static bool on_key(void *context, uint32_t index, argus_KeyReply *out)
{
    (void)context;
    out->links = index;
    return index < at.rows;
}

static int on_key_wrap(void *context, const uint8_t secret[32],
                       argus_WrappedKey *out, struct argus_error *err)
{
    (void)context;
    out->id[0] = secret[0];
    return refuse_sometimes(err, ARGUS_EINVAL);
}

static void on_clock(void *context, argus_ClockReply *out)
{
    (void)context;
    out->samples = at.rows;
}

static bool on_clock_node(void *context, uint32_t *index,
                          argus_ClockNodeReply *out)
{
    (void)context;
    out->epoch = *index;
    return *index < at.rows;
}

static const struct control_hooks hooks = {
    .status = on_status,
    .member = on_member,
    .offline = on_offline,
    .publisher = on_publisher,
    .publishers_coverage = on_coverage,
    .peer = on_peer,
    .route = on_route,
    .events_count = on_events_count,
    .event = on_event,
    .event_place = on_event_place,
    .event_order = on_event_order,
    .coverage = on_coverage,
    .notify = on_notify,
    .join = on_join,
    .leave = on_leave,
    .bundle = on_bundle,
    .bundle_version = on_bundle_version,
    .bundle_content = on_content,
    .bundle_chunk = on_chunk,
    .bundle_push = on_push,
    .bundle_status = on_bundle_status,
    .bundle_node = on_bundle_node,
    .operator_key = on_operator,
    .has_keyring = on_has_keyring,
    .key = on_key,
    .key_wrap = on_key_wrap,
    .clock = on_clock,
    .clock_node = on_clock_node,
};

/* --------------------------------------------------------------- clients */

static void turn(unsigned times)
{
    while (times-- > 0)
        (void)uv_run(&at.loop, UV_RUN_NOWAIT);
}

static void set_address(struct sockaddr_un *out)
{
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    (void)snprintf(out->sun_path, sizeof out->sun_path, "%s/control",
                   fuzz_folder());
}

static void client_connect(struct client *c)
{
    struct sockaddr_un address;

    if (c->fd >= 0)
        return;
    set_address(&address);
    c->used = 0;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 ||
        connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        abort();
    turn(1);
}

static void client_close(struct client *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

/* @return bytes of the replies at its front that are whole. */
static size_t whole_replies(const struct client *c)
{
    static argus_Reply reply;
    struct argus_error err = {{0}};
    size_t at_byte = 0;

    while (c->used - at_byte >= FRAME_HEADER_SIZE) {
        int length = frame_length(c->bytes + at_byte, FRAME_BODY_MAX, &err);
        assert(length >= 0);
        if (c->used - at_byte < FRAME_HEADER_SIZE + (size_t)length)
            break;
        int rc = reply_decode(c->bytes + at_byte + FRAME_HEADER_SIZE,
                              (size_t)length, &reply, &err);
        assert(rc == ARGUS_OK && "an answer decodes");
        at_byte += FRAME_HEADER_SIZE + (size_t)length;
    }
    return at_byte;
}

/* @return false: nothing came. */
static bool client_read(struct client *c)
{
    ssize_t got = c->fd < 0 ? 0
                            : recv(c->fd, c->bytes + c->used,
                                   sizeof c->bytes - c->used, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        client_close(c);
    if (got <= 0)
        return false;
    c->used += (size_t)got;
    size_t taken = whole_replies(c);
    memmove(c->bytes, c->bytes + taken, c->used - taken);
    c->used -= taken;
    return true;
}

static void client_send(struct client *c, const void *data, size_t size)
{
    client_connect(c);
    if (size > 0 && send(c->fd, data, size, MSG_NOSIGNAL) < 0 &&
        errno != EAGAIN)
        client_close(c);
}

/* ------------------------------------------------------------ operations */

static void op_send(struct client *c, struct fuzz_input *in)
{
    struct fuzz_input part = fuzz_part(in);

    client_send(c, part.data, part.size);
}

/* A frame whose length is right; its last bytes come later, as the cut says. */
static void op_ask(struct client *c, struct fuzz_input *in)
{
    static uint8_t bytes[FRAME_HEADER_SIZE + FRAME_BODY_MAX];
    uint8_t cut = fuzz_u8(in);
    struct fuzz_input part = fuzz_part(in);
    size_t size = FRAME_HEADER_SIZE + part.size;
    size_t late = cut % 8u < size ? cut % 8u : size;

    bytes[2] = (uint8_t)(part.size >> 8);
    bytes[3] = (uint8_t)part.size;
    if (part.size > 0)
        memcpy(bytes + FRAME_HEADER_SIZE, part.data, part.size);
    client_send(c, bytes, size - late);
    if (late == 0)
        return;
    turn(1);
    client_send(c, bytes + size - late, late);
}

static void op_event(struct fuzz_input *in)
{
    const struct node_id origin = {{1}};
    argus_Event event;

    for (unsigned n = fuzz_u8(in) % 8 + 1u; n > 0; n--) {
        memset(&event, 0, sizeof event);
        fill_event(at.events++, &event);
        control_on_event(at.control, &event, &origin);
    }
}

static void operate(struct fuzz_input *in)
{
    uint8_t what = fuzz_u8(in);
    struct client *c = &at.clients[(what >> 4) % CLIENTS];

    switch (what % 8) {
    case 0: op_send(c, in); break;
    case 1: op_ask(c, in); break;
    case 2: (void)client_read(c); break;
    case 3: op_event(in); break;
    case 4: client_close(c); break;
    case 5:
        if (c->fd >= 0)
            (void)shutdown(c->fd, SHUT_WR);
        break;
    default: turn(2); break;
    }
}

static void open_control(void)
{
    struct sockaddr_un address;
    struct argus_error err = {{0}};
    const struct control_options options = {.path = address.sun_path,
                                            .collectd_version = "5.12"};

    set_address(&address);
    if (uv_loop_init(&at.loop) != 0)
        abort();
    if (control_new(&at.loop, &options, &hooks, &at.control, &err) != ARGUS_OK)
        abort();
}

FUZZ_TARGET(control)
{
    struct fuzz_input in = {data, size};
    bool has_more = true;

    fuzz_quiet();
    at.flavor = fuzz_u8(&in);
    at.rows = at.flavor >> 4;
    at.events = at.flavor & 4 ? 3000 : 5;
    for (int i = 0; i < CLIENTS; i++)
        at.clients[i].fd = -1;
    open_control();
    for (int i = 0; in.size > 0 && i < OPERATIONS_MAX; i++)
        operate(&in);
    for (int i = 0; has_more && i < 200; i++) {
        turn(3);
        has_more = false;
        for (int k = 0; k < CLIENTS; k++)
            has_more |= client_read(&at.clients[k]);
    }
    for (int i = 0; i < CLIENTS; i++)
        client_close(&at.clients[i]);
    control_close(at.control);
    (void)uv_run(&at.loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&at.loop);
    assert(rc == 0 && "every handle goes");
    return 0;
}
