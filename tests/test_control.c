/* The control socket against hooks that play a daemon of 10,000 members and a
 * long timeline. Server and client share the thread: the client's socket never
 * blocks, and the loop is turned until the client has what it waits for. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/actions.h"
#include "runtime/answer.h"
#include "runtime/control.h"
#include "wire/frame.h"

#define EVENTS_MAX 12000

/* ------------------------------------------------------- the fake daemon */

static struct {
    uint32_t members;
    uint32_t members_asked;
    argus_EventReply events[EVENTS_MAX];
    uint32_t events_count;
    argus_NotifyRequest notified;
    char joined[ADDRESS_SIZE];
    uint64_t staged; /* as the hook was told */
    uint64_t bundle_size_max;
    uint32_t chunks;
    int push_result;
    uint64_t content_size, content_here;
    bool has_keyring;
    uint32_t wrapped;
} fake;

static void fake_status(void *context, argus_StatusReply *out)
{
    (void)context;
    (void)snprintf(out->name, sizeof out->name, "node-1");
    out->online = fake.members;
}

static bool fake_member(void *context, uint32_t index, argus_MemberReply *out)
{
    (void)context;
    fake.members_asked++;
    if (index >= fake.members)
        return false;
    out->has_record = true;
    (void)snprintf(out->record.name, sizeof out->record.name, "node-%u", index);
    memset(out->record.zone, 'z', sizeof out->record.zone - 1);
    return true;
}

static bool fake_peer(void *context, uint32_t index, argus_PeerReply *out)
{
    (void)context;
    out->active = true;
    return index == 0;
}

static bool fake_route(void *context, const char *key, uint32_t index,
                       argus_RouteReply *out)
{
    (void)context;
    (void)snprintf(out->key, sizeof out->key, "%s", key);
    return index == 0;
}

static uint32_t fake_events_count(void *context)
{
    (void)context;
    return fake.events_count;
}

static bool fake_event(void *context, uint32_t index, argus_EventReply *out)
{
    (void)context;
    if (index >= fake.events_count)
        return false;
    *out = fake.events[index];
    return true;
}

static bool fake_event_place(void *context, uint32_t index,
                             struct timeline_place *out)
{
    (void)context;
    if (index >= fake.events_count)
        return false;
    const argus_EventReply *e = &fake.events[index];
    *out = (struct timeline_place){.epoch = e->event.epoch,
                                   .hlc = e->event.hlc,
                                   .origin = node_id_of(e->origin),
                                   .generation = e->event.generation,
                                   .number = e->event.number};
    return true;
}

static void fake_event_order(void *context, uint32_t index,
                             argus_EventReply *out)
{
    (void)context;
    out->uncertainty_s = index;
}

static void fake_coverage(void *context, argus_Coverage *out)
{
    (void)context;
    out->known = fake.members;
    out->contributed = fake.members;
}

static int fake_notify(void *context, const argus_NotifyRequest *request,
                       argus_NotifyReply *out, struct argus_error *err)
{
    (void)context;
    fake.notified = *request;
    if (strcmp(request->message, "storm") == 0)
        return argus_fail(err, ARGUS_EFULL, "too many events");
    out->hlc = 7;
    return ARGUS_OK;
}

static int fake_join(void *context, const char *address,
                     struct argus_error *err)
{
    (void)context;
    (void)err;
    (void)snprintf(fake.joined, sizeof fake.joined, "%s", address);
    return ARGUS_OK;
}

static int fake_leave(void *context, struct argus_error *err)
{
    (void)context;
    return argus_fail(err, ARGUS_EBUSY, "not now");
}

static bool fake_bundle(void *context, uint32_t index, argus_BundleReply *out)
{
    (void)context;
    out->has_bundle = true;
    out->bundle.manifest.size = 3;
    out->hash[0] = (uint8_t)(index + 1);
    out->complete = index == 0;
    return index < 2;
}

/* "base" in version 2 is whole, in version 1 it is not. */
static bool fake_bundle_version(void *context, const char *name,
                                uint32_t version, argus_BundleReply *out)
{
    if (strcmp(name, "base") != 0 || version > 2)
        return false;
    return fake_bundle(context, version == 1 ? 1 : 0, out);
}

static size_t fake_content(void *context, const uint8_t hash[CONTENT_HASH_SIZE],
                           uint64_t offset, uint8_t *out, size_t size,
                           uint64_t *total)
{
    (void)context;
    CU_ASSERT_EQUAL(hash[0], 1);
    *total = fake.content_size;
    size_t count = 0;
    for (; count < size && offset + count < fake.content_here; count++)
        out[count] = (uint8_t)((offset + count) % 251);
    return count;
}

static int fake_chunk(void *context, uint64_t staged, const uint8_t *data,
                      size_t size, struct argus_error *err)
{
    (void)context;
    fake.staged = staged;
    if (staged + size > fake.bundle_size_max)
        return argus_fail(err, ARGUS_ETOOLARGE, "at most %d bytes",
                          (int)fake.bundle_size_max);
    for (size_t i = 0; i < size; i++)
        CU_ASSERT_EQUAL_FATAL(data[i], 'c');
    fake.chunks++;
    return ARGUS_OK;
}

static int fake_push(void *context, const argus_SignedBundle *bundle,
                     struct argus_error *err)
{
    (void)context;
    CU_ASSERT_EQUAL(bundle->manifest.size, sizeof bundle->manifest.bytes);
    return argus_fail(err, fake.push_result, "because");
}

static bool fake_bundle_status(void *context, const char *name,
                               argus_BundleStatusReply *out)
{
    (void)context;
    out->version = 2;
    return strcmp(name, "base") == 0;
}

static bool fake_bundle_node(void *context, const char *name, uint32_t index,
                             argus_BundleNodeReply *out)
{
    (void)context;
    (void)name;
    out->has_bundle = true;
    memset(out->bundle.error, 'e', sizeof out->bundle.error - 1);
    return index < fake.members;
}

static bool fake_operator(void *context, uint32_t index,
                          argus_OperatorReply *out)
{
    (void)context;
    out->id[0] = (uint8_t)(index + 1);
    out->revoked = index == 1;
    return index < 2;
}

static int fake_has_keyring(void *context, struct argus_error *err)
{
    (void)context;
    return fake.has_keyring
               ? ARGUS_OK
               : argus_fail(err, ARGUS_EDENIED, "there is no keyring");
}

static bool fake_key(void *context, uint32_t index, argus_KeyReply *out)
{
    (void)context;
    out->links = 7;
    return index == 0;
}

static int fake_wrap(void *context, const uint8_t secret[32],
                     argus_WrappedKey *out, struct argus_error *err)
{
    (void)context;
    (void)err;
    fake.wrapped++;
    out->id[0] = secret[31];
    return ARGUS_OK;
}

static const struct control_hooks hooks = {
    .status = fake_status,
    .member = fake_member,
    .peer = fake_peer,
    .route = fake_route,
    .events_count = fake_events_count,
    .event = fake_event,
    .event_place = fake_event_place,
    .event_order = fake_event_order,
    .coverage = fake_coverage,
    .notify = fake_notify,
    .join = fake_join,
    .leave = fake_leave,
    .bundle = fake_bundle,
    .bundle_version = fake_bundle_version,
    .bundle_content = fake_content,
    .bundle_chunk = fake_chunk,
    .bundle_push = fake_push,
    .bundle_status = fake_bundle_status,
    .bundle_node = fake_bundle_node,
    .operator_key = fake_operator,
    .has_keyring = fake_has_keyring,
    .key = fake_key,
    .key_wrap = fake_wrap,
};

/* The hlc of event i is (i + 1) ms; every third is a FAILURE. */
static void fake_event_add(void)
{
    argus_EventReply *e = &fake.events[fake.events_count];

    memset(e, 0, sizeof *e);
    e->has_event = true;
    e->event.hlc = (uint64_t)(fake.events_count + 1) << 16;
    e->event.number = fake.events_count;
    e->event.severity = fake.events_count % 3 == 0
                            ? argus_Severity_SEVERITY_FAILURE
                            : argus_Severity_SEVERITY_OKAY;
    (void)snprintf(e->event.node, sizeof e->event.node, "node-%u",
                   fake.events_count % 2);
    memset(e->event.message, 'm', sizeof e->event.message - 1);
    e->origin[0] = 1;
    fake.events_count++;
}

/* ------------------------------------------------------------- fixture */

static struct {
    uv_loop_t loop;
    struct control *control;
    char dir[64];
    char path[104];
} at;

static argus_Reply reply;
/* Long, for a machine that is busy with other things; short where a test waits
 * for the end of it. */
static uint32_t write_wait_ms = 500, request_wait_ms;

static int open_control(const char *group, struct argus_error *err)
{
    return control_new(
        &at.loop,
        &(struct control_options){.path = at.path,
                                  .group = group,
                                  .collectd_version = "5.12",
                                  .request_wait_ms = request_wait_ms,
                                  .write_wait_ms = write_wait_ms},
        &hooks, &at.control, err);
}

static void begin(uint32_t members, uint32_t events)
{
    struct argus_error err;

    memset(&fake, 0, sizeof fake);
    memset(&at, 0, sizeof at);
    fake.members = members;
    for (uint32_t i = 0; i < events; i++)
        fake_event_add();
    (void)snprintf(at.dir, sizeof at.dir, "/tmp/argus-control-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(at.dir));
    (void)snprintf(at.path, sizeof at.path, "%s/control.sock", at.dir);
    CU_ASSERT_EQUAL_FATAL(uv_loop_init(&at.loop), 0);
    CU_ASSERT_EQUAL_FATAL(open_control(NULL, &err), ARGUS_OK);
}

static void finish(void)
{
    control_close(at.control);
    CU_ASSERT_EQUAL(uv_run(&at.loop, UV_RUN_DEFAULT), 0);
    CU_ASSERT_EQUAL(uv_loop_close(&at.loop), 0);
    CU_ASSERT_EQUAL(access(at.path, F_OK), -1);
    CU_ASSERT_EQUAL(rmdir(at.dir), 0);
}

static int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, at.path, strlen(at.path));
    CU_ASSERT_EQUAL_FATAL(
        connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void turn(void)
{
    (void)uv_run(&at.loop, UV_RUN_NOWAIT);
}

static void ask(int fd, const argus_Request *request)
{
    uint8_t bytes[FRAME_HEADER_SIZE + CONTROL_REQUEST_MAX];
    int size =
        frame_encode(argus_Request_fields, request, bytes, sizeof bytes, NULL);

    CU_ASSERT_TRUE_FATAL(size > 0);
    CU_ASSERT_EQUAL_FATAL(write(fd, bytes, (size_t)size), size);
}

static bool read_whole(int fd, uint8_t *out, size_t size)
{
    uint64_t end = uv_hrtime() + 5000000000u;
    size_t used = 0;

    while (used < size && uv_hrtime() < end) {
        turn();
        ssize_t got = read(fd, out + used, size - used);
        if (got > 0)
            used += (size_t)got;
        else if (got == 0)
            return false;
        else
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1);
    }
    return used == size;
}

/* The next reply of the stream, in `reply`; false at the end of the stream. */
static bool next_reply(int fd)
{
    static uint8_t body[FRAME_BODY_MAX];
    uint8_t header[FRAME_HEADER_SIZE];
    struct argus_error err;

    if (!read_whole(fd, header, sizeof header))
        return false;
    int length = frame_length(header, sizeof body, &err);
    return length >= 0 && read_whole(fd, body, (size_t)length) &&
           reply_decode(body, (size_t)length, &reply, &err) == ARGUS_OK;
}

static uint32_t rows_until_end(int fd)
{
    uint32_t rows = 0;

    while (next_reply(fd) && reply.which_body != argus_Reply_end_tag)
        rows++;
    CU_ASSERT_EQUAL_FATAL(reply.which_body, argus_Reply_end_tag);
    return rows;
}

static uint32_t ask_events(int fd, argus_EventsRequest request)
{
    argus_Request r = {.which_body = argus_Request_events_tag,
                       .body.events = request};
    ask(fd, &r);
    return rows_until_end(fd);
}

/* --------------------------------------------------------------- tests */

/* Goal: each verb answers, several on one connection, and ends with an End. */
static void test_verbs_answer_on_one_connection(void)
{
    begin(3, 0);
    int fd = dial();

    ask(fd, &(argus_Request){.which_body = argus_Request_status_tag});
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_STRING_EQUAL(reply.body.status.name, "node-1");
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);

    ask(fd, &(argus_Request){.which_body = argus_Request_members_tag});
    CU_ASSERT_EQUAL(rows_until_end(fd), 3);
    CU_ASSERT_EQUAL(reply.body.end.coverage.known, 3);
    ask(fd, &(argus_Request){.which_body = argus_Request_peers_tag});
    CU_ASSERT_EQUAL(rows_until_end(fd), 1);

    argus_Request route = {.which_body = argus_Request_route_tag};
    (void)snprintf(route.body.route.key, sizeof route.body.route.key,
                   "web/cpu");
    ask(fd, &route);
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_STRING_EQUAL(reply.body.route.key, "web/cpu");
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);

    ask(fd, &(argus_Request){.which_body = argus_Request_version_tag});
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_STRING_EQUAL(reply.body.version.collectd, "5.12");
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);

    argus_Request join = {.which_body = argus_Request_join_tag};
    (void)snprintf(join.body.join.address, sizeof join.body.join.address,
                   "seed:25827");
    ask(fd, &join);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "");
    CU_ASSERT_STRING_EQUAL(fake.joined, "seed:25827");

    ask(fd, &(argus_Request){.which_body = argus_Request_leave_tag});
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "busy");
    CU_ASSERT_STRING_EQUAL(reply.body.end.message, "not now");
    CU_ASSERT_EQUAL(control_stats(at.control)->requests_answered, 7);
    close(fd);
    finish();
}

/* Goal: notify's severity defaults to WARNING, and each refusal has a code. */
static void test_notify_is_checked(void)
{
    argus_Request r = {.which_body = argus_Request_notify_tag};

    begin(1, 0);
    int fd = dial();
    ask(fd, &r);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "invalid");

    (void)snprintf(r.body.notify.message, sizeof r.body.notify.message,
                   "storm");
    ask(fd, &r);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "rate-limited");
    CU_ASSERT_EQUAL(fake.notified.severity, argus_Severity_SEVERITY_WARNING);

    r.body.notify.severity = (argus_Severity)3;
    ask(fd, &r);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "invalid");

    r.body.notify.severity = argus_Severity_SEVERITY_OKAY;
    (void)snprintf(r.body.notify.message, sizeof r.body.notify.message, "fine");
    ask(fd, &r);
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_EQUAL(reply.body.notify.hlc, 7);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    close(fd);
    finish();
}

/* Goal: rows are made as the client reads: one that does not read costs a
 * buffer and not 10,000 members, and is cut after the wait. */
static void test_rows_wait_for_the_reader(void)
{
    begin(10000, 0);
    int fd = dial();

    ask(fd, &(argus_Request){.which_body = argus_Request_members_tag});
    for (int i = 0; i < 50; i++)
        turn();
    CU_ASSERT_TRUE(fake.members_asked > 0);
    CU_ASSERT_TRUE(fake.members_asked < 3000);
    CU_ASSERT_EQUAL(rows_until_end(fd), 10000);

    ask(fd, &(argus_Request){.which_body = argus_Request_members_tag});
    while (control_stats(at.control)->clients_slow == 0)
        (void)uv_run(&at.loop, UV_RUN_ONCE);
    CU_ASSERT_EQUAL(control_stats(at.control)->clients_slow, 1);
    close(fd);
    finish();
}

/* Goal: since, node, severity and limit choose the events they should, also
 * where a search takes several turns of the loop. */
static void test_events_are_filtered(void)
{
    begin(1, 10000);
    int fd = dial();

    CU_ASSERT_EQUAL(ask_events(fd, (argus_EventsRequest){0}), 10000);
    CU_ASSERT_EQUAL(
        ask_events(fd, (argus_EventsRequest){.since_us = 9990 * 1000}), 11);
    CU_ASSERT_EQUAL(
        ask_events(fd, (argus_EventsRequest){.since_us = 9990 * 1000 + 1}), 10);
    CU_ASSERT_EQUAL(ask_events(fd, (argus_EventsRequest){.node = "node-1"}),
                    5000);
    CU_ASSERT_EQUAL(ask_events(fd, (argus_EventsRequest){.node = "node-2"}), 0);
    CU_ASSERT_EQUAL(
        ask_events(
            fd,
            (argus_EventsRequest){.severity = argus_Severity_SEVERITY_WARNING}),
        3334);
    CU_ASSERT_EQUAL(ask_events(fd, (argus_EventsRequest){.limit = 20000}),
                    10000);
    CU_ASSERT_EQUAL(
        ask_events(
            fd,
            (argus_EventsRequest){.limit = 3000,
                                  .severity = argus_Severity_SEVERITY_FAILURE}),
        3000);
    close(fd);
    finish();
}

/* Goal: a limit gives the newest, oldest first. */
static void test_limit_gives_the_newest(void)
{
    begin(1, 100);
    int fd = dial();

    ask(fd, &(argus_Request){.which_body = argus_Request_events_tag,
                             .body.events.limit = 2});
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_EQUAL(reply.body.event.event.number, 98);
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_EQUAL(reply.body.event.event.number, 99);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    close(fd);
    finish();
}

static void event_happens(void)
{
    fake_event_add();
    const argus_EventReply *e = &fake.events[fake.events_count - 1];
    struct node_id origin = node_id_of(e->origin);
    control_on_event(at.control, &e->event, &origin);
}

/* Goal: a follower gets the past once, then each new event, filtered. */
static void test_follower_gets_news(void)
{
    begin(1, 10);
    int fd = dial();

    ask(fd, &(argus_Request){
                .which_body = argus_Request_events_tag,
                .body.events = {.follow = true, .limit = 1, .node = "node-1"}});
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_EQUAL(reply.body.event.event.number, 9);
    turn();
    event_happens(); /* 10: of node-0, not wanted */
    event_happens();
    event_happens();
    event_happens();
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_EQUAL(reply.body.event.event.number, 11);
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_EQUAL(reply.body.event.event.number, 13);
    close(fd);
    turn();
    event_happens();
    turn();
    finish();
}

/* Goal: a follower that does not read is cut, and told so if it reads again;
 * so is one that talks. */
static void test_bad_followers_are_cut(void)
{
    argus_Request follow = {.which_body = argus_Request_events_tag,
                            .body.events = {.follow = true}};

    write_wait_ms = CONTROL_WRITE_WAIT_MS; /* not the timer is tried here */
    begin(1, 0);
    write_wait_ms = 500;
    int slow = dial();
    int talker = dial();
    ask(slow, &follow);
    ask(talker, &follow);
    turn();
    ask(talker, &follow);
    CU_ASSERT_EQUAL(rows_until_end(talker), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "invalid");

    while (control_stats(at.control)->clients_slow == 0 &&
           fake.events_count < EVENTS_MAX) {
        event_happens();
        turn();
    }
    CU_ASSERT_EQUAL_FATAL(control_stats(at.control)->clients_slow, 1);
    uint32_t rows = rows_until_end(slow);
    CU_ASSERT_TRUE(rows > 0 && rows < fake.events_count);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "slow");
    CU_ASSERT_FALSE(next_reply(slow));
    close(slow);
    close(talker);
    finish();
}

/* Goal: more events in one turn than the table of news holds. */
static void test_flood_of_news_is_told(void)
{
    begin(1, 0);
    int fd = dial();

    ask(fd, &(argus_Request){.which_body = argus_Request_events_tag,
                             .body.events = {.follow = true}});
    turn();
    turn();
    for (int i = 0; i < CONTROL_NEWS_MAX + 1; i++)
        event_happens();
    (void)rows_until_end(fd);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "slow");
    close(fd);
    finish();
}

/* Goal: what is too long, does not parse, or does not come is refused with a
 * message; others are served. */
static void test_bad_requests_are_refused(void)
{
    static const uint8_t huge[] = {0, 0, 0xff, 0xff};
    static const uint8_t garbage[] = {0, 0, 0, 3, 0xf8, 0x7f, 0x01};

    request_wait_ms = 300;
    begin(1, 0);
    request_wait_ms = 0;
    int fd = dial();
    CU_ASSERT_EQUAL(write(fd, huge, sizeof huge), (ssize_t)sizeof huge);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "invalid");
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body.end.message, "65535"));
    close(fd);

    fd = dial();
    CU_ASSERT_EQUAL(write(fd, garbage, sizeof garbage),
                    (ssize_t)sizeof garbage);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "invalid");
    close(fd);

    fd = dial();
    CU_ASSERT_EQUAL(write(fd, huge, 2), 2); /* and never more */
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "late");
    close(fd);
    CU_ASSERT_EQUAL(control_stats(at.control)->requests_invalid, 2);
    CU_ASSERT_EQUAL(control_stats(at.control)->clients_late, 1);
    finish();
}

/* Goal: one client too many is told so, however many come, and the table is
 * usable again once others leave. */
static void test_clients_are_bounded(void)
{
    int fds[CONTROL_CLIENTS_MAX];

    begin(1, 0);
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        fds[i] = dial();
        turn();
    }
    int late[3];
    for (int i = 0; i < 3; i++)
        late[i] = dial();
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(rows_until_end(late[i]), 0);
        CU_ASSERT_STRING_EQUAL(reply.body.end.code, "busy");
        CU_ASSERT_FALSE(next_reply(late[i]));
        close(late[i]);
    }
    CU_ASSERT_EQUAL(control_stats(at.control)->clients_refused, 3);
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        close(fds[i]);
    turn();
    turn();

    int fd = dial();
    ask(fd, &(argus_Request){.which_body = argus_Request_status_tag});
    CU_ASSERT_EQUAL(rows_until_end(fd), 1);
    close(fd);
    finish();
}

/* Goal: mode 0660; a live socket is not taken over, a stale one is, a file that
 * is no socket is left alone; a group that is not there is named. */
static void test_file_is_handled_with_care(void)
{
    struct argus_error err;
    struct stat st;

    begin(1, 0);
    struct control *first = at.control;
    CU_ASSERT_EQUAL_FATAL(stat(at.path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0660);
    CU_ASSERT_EQUAL(open_control(NULL, &err), ARGUS_EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, at.path));
    CU_ASSERT_EQUAL(open_control("no-such-group", &err), ARGUS_EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no-such-group"));

    /* What a killed daemon leaves: a file that nobody listens to. */
    CU_ASSERT_EQUAL(unlink(at.path), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, at.path, strlen(at.path));
    CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    CU_ASSERT_EQUAL_FATAL(open_control("root", &err), ARGUS_OK);
    control_close(first); /* must not remove what is not its own */
    turn();
    CU_ASSERT_EQUAL(access(at.path, F_OK), 0);
    finish();
}

static void test_other_files_are_left_alone(void)
{
    struct argus_error err;

    begin(1, 0);
    CU_ASSERT_EQUAL(unlink(at.path), 0);
    int fd = open(at.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CU_ASSERT_TRUE(fd >= 0);
    close(fd);
    struct control *first = at.control;
    CU_ASSERT_EQUAL(open_control(NULL, &err), ARGUS_EIO);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no socket"));
    at.control = first;
    CU_ASSERT_EQUAL(access(at.path, F_OK), 0);
    CU_ASSERT_EQUAL(unlink(at.path), 0);

    char path[200] = {0};
    memset(path, 'x', sizeof path - 1);
    struct control_options options = {.path = path, .collectd_version = ""};
    CU_ASSERT_EQUAL(control_new(&at.loop, &options, &hooks, &first, &err),
                    ARGUS_EINVAL);
    finish();
}

/* Goal: lists, versions and nodes of bundles come as rows, and what is not
 * there is said. */
static void test_bundles_are_answered(void)
{
    argus_Request get = {.which_body = argus_Request_bundle_get_tag};
    argus_Request status = {.which_body = argus_Request_bundle_status_tag};

    begin(3000, 0);
    int fd = dial();
    ask(fd, &(argus_Request){.which_body = argus_Request_bundle_list_tag});
    CU_ASSERT_EQUAL(rows_until_end(fd), 2);

    (void)strcpy(get.body.bundle_get.name, "base");
    get.body.bundle_get.version = 2;
    ask(fd, &get);
    CU_ASSERT_TRUE_FATAL(next_reply(fd));
    CU_ASSERT_EQUAL(reply.which_body, argus_Reply_bundle_tag);
    CU_ASSERT_EQUAL(reply.body.bundle.hash[0], 1);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    get.body.bundle_get.version = 9;
    ask(fd, &get);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "not-found");
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body.end.message, "version 9"));

    (void)strcpy(status.body.bundle_status.name, "base");
    ask(fd, &status);
    CU_ASSERT_EQUAL(rows_until_end(fd), 3001);
    CU_ASSERT_EQUAL(reply.body.end.coverage.known, 3000);
    (void)strcpy(status.body.bundle_status.name, "bass");
    ask(fd, &status);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "not-found");
    close(fd);
    finish();
}

/* Goal: content comes whole and in order; what is not wholly here says so, at
 * once or in the middle. */
static void test_content_is_read_in_rows(void)
{
    argus_Request r = {.which_body = argus_Request_bundle_content_tag};
    uint64_t size = 0;

    begin(1, 0);
    fake.content_size = fake.content_here = 100000;
    int fd = dial();
    (void)strcpy(r.body.bundle_content.name, "base");
    ask(fd, &r);
    while (next_reply(fd) && reply.which_body == argus_Reply_content_tag)
        for (pb_size_t i = 0; i < reply.body.content.data.size; i++)
            CU_ASSERT_EQUAL_FATAL(reply.body.content.data.bytes[i],
                                  size++ % 251);
    CU_ASSERT_EQUAL(size, 100000);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "");

    fake.content_here = 50000;
    ask(fd, &r);
    CU_ASSERT_EQUAL(rows_until_end(fd), 4);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "failed");
    r.body.bundle_content.version = 1;
    ask(fd, &r);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "not-found");
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body.end.message, "arrived"));
    close(fd);
    finish();
}

/* Goal: whole chunks go through, several requests in one write too, and what
 * one client stages is counted for it alone. */
static void test_chunks_are_staged(void)
{
    static uint8_t bytes[3 * (FRAME_HEADER_SIZE + CONTROL_REQUEST_MAX)];
    argus_Request r = {.which_body = argus_Request_bundle_chunk_tag};
    size_t used = 0;

    begin(1, 0);
    fake.bundle_size_max = 3 * CONTENT_CHUNK_SIZE;
    r.body.bundle_chunk.data.size = CONTENT_CHUNK_SIZE;
    memset(r.body.bundle_chunk.data.bytes, 'c', CONTENT_CHUNK_SIZE);
    int fd = dial();
    for (int i = 0; i < 3; i++)
        used += (size_t)frame_encode(argus_Request_fields, &r, bytes + used,
                                     sizeof bytes - used, NULL);
    CU_ASSERT_EQUAL_FATAL(write(fd, bytes, used), (ssize_t)used);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(rows_until_end(fd), 0);
        CU_ASSERT_STRING_EQUAL(reply.body.end.code, "");
    }
    CU_ASSERT_EQUAL(fake.chunks, 3);
    CU_ASSERT_EQUAL(fake.staged, 2 * CONTENT_CHUNK_SIZE);
    ask(fd, &r);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "too-large");
    CU_ASSERT_STRING_EQUAL(reply.body.end.message, "at most 98304 bytes");

    int other = dial();
    ask(other, &r);
    CU_ASSERT_EQUAL(rows_until_end(other), 0);
    CU_ASSERT_EQUAL(fake.staged, 0);
    close(other);
    r.body.bundle_chunk.data.size = 0;
    ask(fd, &r);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "invalid");
    close(fd);
    finish();
}

/* Goal: each outcome of a push has its code; a push of nothing is refused. */
static void test_pushes_are_told_their_fate(void)
{
    static const struct {
        int result;
        const char *code;
    } cases[] = {
        {ARGUS_OK, ""},
        {ARGUS_EINVAL, "invalid"},
        {ARGUS_EBUSY, "superseded"},
        {ARGUS_ENOENT, "not-found"},
        {ARGUS_EDENIED, "refused"},
        {ARGUS_EFULL, "no-room"},
        {ARGUS_ETOOLARGE, "too-large"},
    };
    argus_Request r = {.which_body = argus_Request_bundle_push_tag};

    begin(1, 0);
    int fd = dial();
    ask(fd, &r);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "invalid");
    argus_SignedBundle *b = &r.body.bundle_push.bundle;
    r.body.bundle_push.has_bundle = true;
    b->manifest.size = sizeof b->manifest.bytes;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake.push_result = cases[i].result;
        ask(fd, &r);
        CU_ASSERT_EQUAL(rows_until_end(fd), 0);
        CU_ASSERT_STRING_EQUAL(reply.body.end.code, cases[i].code);
        CU_ASSERT_STRING_EQUAL(reply.body.end.message, i == 0 ? "" : "because");
    }
    close(fd);
    finish();
}

/* Goal: a request that is half a chunk, a frame whose inner lengths lie, and
 * names without an end cost one connection each and nothing else. */
static void test_hostile_requests_are_survived(void)
{
    /* bundle_chunk, its data said to be 40,000 bytes long; a get with a name
     * of 200 bytes; a push whose key has 3 bytes */
    static const uint8_t longer[] = {0,    0,    0,    9,   0x6a, 0x07, 0x0a,
                                     0xc0, 0xb8, 0x02, 'c', 'c',  'c'};
    static const uint8_t push[] = {0,    0,    0,    9,   0x72, 0x07, 0x0a,
                                   0x05, 0x0a, 0x03, 'k', 'e',  'y'};
    uint8_t name[4 + 2 + 3 + 3 + 200] = {0,    0,    0,    205,  0x5a,
                                         0xcb, 0x01, 0x0a, 0xc8, 0x01};
    argus_Request half = {.which_body = argus_Request_bundle_chunk_tag};
    uint8_t bytes[FRAME_HEADER_SIZE + CONTROL_REQUEST_MAX];

    request_wait_ms = 300;
    begin(1, 0);
    request_wait_ms = 0;
    memset(name + 10, 'n', sizeof name - 10);
    const struct {
        const void *bytes;
        size_t size;
    } cases[] = {{longer, sizeof longer}, {push, sizeof push}, {name, 209}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = dial();
        CU_ASSERT_EQUAL(write(fd, cases[i].bytes, cases[i].size),
                        (ssize_t)cases[i].size);
        CU_ASSERT_EQUAL(rows_until_end(fd), 0);
        CU_ASSERT_STRING_EQUAL(reply.body.end.code, "invalid");
        CU_ASSERT_FALSE(next_reply(fd));
        close(fd);
    }
    CU_ASSERT_EQUAL(control_stats(at.control)->requests_invalid, 3);

    int fd = dial();
    half.body.bundle_chunk.data.size = CONTENT_CHUNK_SIZE;
    int size =
        frame_encode(argus_Request_fields, &half, bytes, sizeof bytes, NULL);
    CU_ASSERT_EQUAL(write(fd, bytes, (size_t)size / 2), size / 2);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "late");
    close(fd);
    CU_ASSERT_EQUAL(fake.chunks, 0);
    finish();
}

/* Goal: operators' keys and mesh keys are listed; a mesh key is sealed for root
 * or whom the daemon runs as, for nobody else, and never without a keyring. */
static void test_keys_are_for_the_owner(void)
{
    argus_Request request = {.which_body = argus_Request_operators_tag};
    struct answer a;
    uint64_t staged = 0;

    begin(1, 0);
    int fd = dial();
    ask(fd, &request);
    CU_ASSERT_EQUAL(rows_until_end(fd), 2);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "");
    request.which_body = argus_Request_keys_tag;
    ask(fd, &request);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "refused");
    request.which_body = argus_Request_key_wrap_tag;
    memset(request.body.key_wrap.secret, 9, 32);
    ask(fd, &request);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.message, "there is no keyring");
    fake.has_keyring = true;
    ask(fd, &request);
    CU_ASSERT_TRUE(next_reply(fd));
    CU_ASSERT_EQUAL(reply.which_body, argus_Reply_key_wrap_tag);
    CU_ASSERT_EQUAL(reply.body.key_wrap.key.id[0], 9);
    CU_ASSERT_EQUAL(rows_until_end(fd), 0);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "");
    CU_ASSERT_EQUAL(fake.wrapped, 1);
    answer_begin(&a, &hooks, "5.12", &request, false, &staged);
    CU_ASSERT_EQUAL(answer_next(&a, &reply), ANSWER_END);
    CU_ASSERT_STRING_EQUAL(reply.body.end.code, "refused");
    CU_ASSERT_PTR_NOT_NULL(strstr(reply.body.end.message, "root"));
    CU_ASSERT_EQUAL(fake.wrapped, 1);
    request.which_body = argus_Request_keys_tag;
    ask(fd, &request);
    CU_ASSERT_EQUAL(rows_until_end(fd), 1);
    close(fd);
    finish();
}

CU_TestInfo suite_control[] = {
    {"verbs_answer_on_one_connection", test_verbs_answer_on_one_connection},
    {"notify_is_checked", test_notify_is_checked},
    {"rows_wait_for_the_reader", test_rows_wait_for_the_reader},
    {"events_are_filtered", test_events_are_filtered},
    {"limit_gives_the_newest", test_limit_gives_the_newest},
    {"follower_gets_news", test_follower_gets_news},
    {"bad_followers_are_cut", test_bad_followers_are_cut},
    {"flood_of_news_is_told", test_flood_of_news_is_told},
    {"bad_requests_are_refused", test_bad_requests_are_refused},
    {"bundles_are_answered", test_bundles_are_answered},
    {"content_is_read_in_rows", test_content_is_read_in_rows},
    {"chunks_are_staged", test_chunks_are_staged},
    {"pushes_are_told_their_fate", test_pushes_are_told_their_fate},
    {"keys_are_for_the_owner", test_keys_are_for_the_owner},
    {"hostile_requests_are_survived", test_hostile_requests_are_survived},
    {"clients_are_bounded", test_clients_are_bounded},
    {"file_is_handled_with_care", test_file_is_handled_with_care},
    {"other_files_are_left_alone", test_other_files_are_left_alone},
    CU_TEST_INFO_NULL,
};
