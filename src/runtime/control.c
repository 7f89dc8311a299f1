#include "argus_config.h" /* GNU extensions */

#include "runtime/control.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/answer.h"
#include "wire/frame.h"

/* Bytes of an answer that are written at a time; the longest reply fits. */
#define OUT_SIZE (48 * 1024)
/* What most requests need; a chunk of a bundle makes it grow for a while. */
#define IN_SIZE 1024
#define IN_SIZE_MAX (FRAME_HEADER_SIZE + CONTROL_REQUEST_MAX)
#define LISTEN_BACKLOG 16

_Static_assert(argus_Request_size <= CONTROL_REQUEST_MAX,
               "a request of the schema fits");
_Static_assert(argus_Reply_size + FRAME_HEADER_SIZE <= OUT_SIZE,
               "a reply of the schema fits");

enum client_state {
    CLIENT_FREE,
    CLIENT_ASKING,    /* a request is awaited */
    CLIENT_ANSWERING, /* rows go out */
    CLIENT_FOLLOWING, /* news go out until one side closes */
    CLIENT_LEAVING,   /* a last End goes out, then we close */
    CLIENT_CLOSING,   /* waits for the loop to close its handles */
};

struct client {
    struct control *control;
    enum client_state state;
    uv_pipe_t pipe;
    uv_timer_t timer; /* late, slow, or "go on" (see on_timer) */
    unsigned handles_open;

    uint8_t *in; /* NULL, IN_SIZE or IN_SIZE_MAX */
    size_t in_used, in_size;
    bool is_reading;
    uint64_t staged; /* bytes of chunks that it brought */
    bool is_owner;   /* root, or whom the daemon runs as */

    struct answer answer;
    uint8_t *out; /* OUT_SIZE */
    size_t out_used;
    bool is_writing;
    uv_write_t write;

    uint8_t *news; /* CONTROL_FOLLOW_BYTES_MAX; for a follower only */
    size_t news_used;

    const char *leave_code; /* the End still to be sent; else NULL */
    char leave_text[sizeof((argus_End *)0)->message];
};

struct control {
    struct control_hooks hooks;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    char collectd_version[32];
    uint32_t request_wait_ms;
    uint32_t write_wait_ms;
    dev_t device; /* of the socket file we made */
    ino_t inode;

    uv_loop_t *loop;
    uv_pipe_t listener;
    uv_idle_t news_idle; /* runs while news wait */
    uv_pipe_t spare;     /* for those who find the table full */
    bool spare_used;
    bool is_one_waiting; /* came while spare was in use */
    unsigned handles_open;
    bool is_closing;

    struct client clients[CONTROL_CLIENTS_MAX];
    struct timeline_place news[CONTROL_NEWS_MAX];
    uint32_t news_count;
    bool news_lost;

    argus_Request request; /* scratch of one callback */
    argus_Reply reply;
    struct control_stats stats;
};

static void client_pump(struct client *c);
static void accept_one(struct control *control);

/* -------------------------------------------------------------- closing */

static void control_release(struct control *control)
{
    if (control->is_closing && control->handles_open == 0)
        free(control);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct control *control = handle->data;

    control->handles_open--;
    control_release(control);
}

static void on_client_handle_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    struct control *control = c->control;

    control->handles_open--;
    if (--c->handles_open == 0) {
        free(c->in);
        free(c->out);
        free(c->news);
        memset(c, 0, sizeof *c);
        c->control = control;
    }
    control_release(control);
}

static void client_close(struct client *c)
{
    if (c->state == CLIENT_FREE || c->state == CLIENT_CLOSING)
        return;
    c->state = CLIENT_CLOSING;
    uv_close((uv_handle_t *)&c->pipe, on_client_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_client_handle_closed);
}

/* -------------------------------------------------------------- writing */

/* Append a reply to the bytes that go out next. The caller knows there is
 * room: OUT_SIZE holds the longest reply and out_used is checked. */
static void put_reply(struct client *c, const argus_Reply *reply)
{
    int size = frame_encode(argus_Reply_fields, reply, c->out + c->out_used,
                            OUT_SIZE - c->out_used, NULL);
    if (size > 0)
        c->out_used += (size_t)size;
}

/* Tell the client why and close once it has read it. What is not yet under way
 * is dropped. code lives for ever. */
static void client_refuse(struct client *c, const char *code,
                          const char *message)
{
    if (c->state == CLIENT_LEAVING || c->state == CLIENT_CLOSING)
        return;
    c->state = CLIENT_LEAVING;
    c->news_used = 0;
    c->leave_code = code;
    (void)snprintf(c->leave_text, sizeof c->leave_text, "%.*s",
                   (int)sizeof c->leave_text - 1, message);
    client_pump(c);
}

static void refuse_request(struct client *c, const char *text)
{
    c->control->stats.requests_invalid++;
    client_refuse(c, "invalid", text);
}

/* One timer, and the state says what it means. */
static void on_timer(uv_timer_t *timer)
{
    struct client *c = timer->data;
    struct control *control = c->control;

    if (c->is_writing) {
        control->stats.clients_slow++;
        client_close(c);
    } else if (c->state == CLIENT_ANSWERING) {
        client_pump(c);
    } else if (c->state == CLIENT_ASKING) {
        control->stats.clients_late++;
        client_refuse(c, "late", "no whole request came in time");
    }
}

static void wait_for_request(struct client *c)
{
    c->state = CLIENT_ASKING;
    (void)uv_timer_start(&c->timer, on_timer, c->control->request_wait_ms, 0);
}

static void on_written(uv_write_t *write, int status)
{
    struct client *c = write->data;

    c->is_writing = false;
    c->out_used = 0;
    if (c->state == CLIENT_CLOSING)
        return;
    if (status != 0) {
        client_close(c);
        return;
    }
    (void)uv_timer_stop(&c->timer);
    if (c->state == CLIENT_ASKING)
        wait_for_request(c);
    client_pump(c);
}

static void start_write(struct client *c)
{
    uv_buf_t buf = uv_buf_init((char *)c->out, (unsigned)c->out_used);

    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->pipe, &buf, 1, on_written) !=
        0) {
        client_close(c);
        return;
    }
    c->is_writing = true;
    (void)uv_timer_start(&c->timer, on_timer, c->control->write_wait_ms, 0);
}

/* News go to the kernel at once while a follower reads on: a write that is
 * asked for costs the loop another turn. @return false: broken, and closed. */
static bool write_now(struct client *c)
{
    uv_buf_t buf = uv_buf_init((char *)c->out, (unsigned)c->out_used);
    int sent = uv_try_write((uv_stream_t *)&c->pipe, &buf, 1);

    if (sent == UV_EAGAIN)
        return true;
    if (sent < 0) {
        client_close(c);
        return false;
    }
    c->out_used -= (size_t)sent;
    memmove(c->out, c->out + sent, c->out_used);
    return true;
}

/* ------------------------------------------------------------ answering */

/* Fill the buffer with rows, up to the room for one more of the longest.
 * @return false: nothing to write yet, go on after a turn of the loop. */
static bool fill_with_rows(struct client *c)
{
    argus_Reply *reply = &c->control->reply;

    while (OUT_SIZE - c->out_used >= FRAME_HEADER_SIZE + argus_Reply_size) {
        switch (answer_next(&c->answer, reply)) {
        case ANSWER_ROW: put_reply(c, reply); break;
        case ANSWER_AGAIN: return c->out_used > 0;
        case ANSWER_END:
            put_reply(c, reply);
            c->control->stats.requests_answered++;
            wait_for_request(c);
            return true;
        case ANSWER_FOLLOW:
            c->state = CLIENT_FOLLOWING;
            (void)uv_timer_stop(&c->timer);
            return true;
        }
    }
    return true;
}

static void fill_with_news(struct client *c)
{
    size_t size = c->news_used < OUT_SIZE ? c->news_used : OUT_SIZE;

    if (size == 0)
        return;
    memcpy(c->out, c->news, size);
    memmove(c->news, c->news + size, c->news_used - size);
    c->news_used -= size;
    c->out_used = size;
}

/* @return false when it was said already. */
static bool put_farewell(struct client *c)
{
    if (c->leave_code == NULL)
        return false;
    answer_end(&c->control->reply, c->leave_code, c->leave_text);
    c->leave_code = NULL;
    c->out_used = 0;
    put_reply(c, &c->control->reply);
    return true;
}

static bool take_request(struct client *c);

/* Move on with a client: parse what it asked, fill its buffer, write. */
static void client_pump(struct client *c)
{
    if (c->is_writing)
        return;
    if (c->state == CLIENT_LEAVING && !put_farewell(c)) {
        client_close(c);
        return;
    }
    if (c->state == CLIENT_ASKING && c->out_used == 0 && !take_request(c))
        return;
    if (c->state == CLIENT_ANSWERING && !fill_with_rows(c)) {
        (void)uv_timer_start(&c->timer, on_timer, 0, 0);
        return;
    }
    if (c->state == CLIENT_FOLLOWING && c->in_used > 0) {
        refuse_request(c, "a follower asks nothing more");
        return;
    }
    while (c->state == CLIENT_FOLLOWING && c->out_used == 0 &&
           c->news_used > 0) {
        fill_with_news(c);
        if (!write_now(c))
            return;
    }
    if (c->out_used > 0 && c->state != CLIENT_CLOSING)
        start_write(c);
}

/* -------------------------------------------------------------- reading */

static void grow_input(struct client *c)
{
    size_t size = c->in_size == 0 ? IN_SIZE : IN_SIZE_MAX;
    uint8_t *in = realloc(c->in, size);

    if (in == NULL)
        return; /* libuv reads nothing then, which ends the connection */
    c->in = in;
    c->in_size = size;
}

/* A client that asked something long, or nothing yet, keeps no buffer. */
static void shrink_input(struct client *c)
{
    if (c->in_used > 0 || c->in_size <= IN_SIZE)
        return;
    free(c->in);
    c->in = NULL;
    c->in_size = 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *c = handle->data;

    (void)suggested;
    if (c->in_used == c->in_size)
        grow_input(c);
    buf->base = (char *)c->in + c->in_used;
    buf->len = c->in_size - c->in_used;
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct client *c = stream->data;

    (void)buf;
    if (count == 0)
        return;
    if (count < 0) { /* end of file, reset */
        client_close(c);
        return;
    }
    c->in_used += (size_t)count;
    if (c->in_used == IN_SIZE_MAX) { /* until some of it is taken */
        (void)uv_read_stop(stream);
        c->is_reading = false;
    }
    client_pump(c);
}

static void client_read(struct client *c)
{
    if (c->is_reading || c->state == CLIENT_CLOSING)
        return;
    c->is_reading =
        uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) == 0;
    if (!c->is_reading)
        client_close(c);
}

/* @return true when a request was taken and its answer begins. */
static bool take_request(struct client *c)
{
    struct control *control = c->control;
    struct argus_error err = {{0}};

    if (c->in_used < FRAME_HEADER_SIZE)
        return false;
    int length = frame_length(c->in, CONTROL_REQUEST_MAX, &err);
    if (length < 0) {
        refuse_request(c, err.text);
        return false;
    }
    size_t whole = FRAME_HEADER_SIZE + (size_t)length;
    if (c->in_used < whole)
        return false;
    if (request_decode(c->in + FRAME_HEADER_SIZE, (size_t)length,
                       &control->request, &err) != ARGUS_OK) {
        refuse_request(c, err.text);
        return false;
    }
    explicit_bzero(c->in, whole); /* there may be a mesh key in it */
    memmove(c->in, c->in + whole, c->in_used - whole);
    c->in_used -= whole;
    shrink_input(c);
    client_read(c);
    if (c->state == CLIENT_CLOSING)
        return false;
    (void)uv_timer_stop(&c->timer);
    answer_begin(&c->answer, &control->hooks, control->collectd_version,
                 &control->request, c->is_owner, &c->staged);
    explicit_bzero(&control->request, sizeof control->request);
    c->state = CLIENT_ANSWERING;
    return true;
}

/* ------------------------------------------------------------ followers */

static bool client_follows(const struct client *c)
{
    return (c->state == CLIENT_ANSWERING || c->state == CLIENT_FOLLOWING) &&
           c->answer.verb == argus_Request_events_tag &&
           c->answer.request.events.follow;
}

static void cut_slow(struct client *c, const char *message)
{
    c->control->stats.clients_slow++;
    client_refuse(c, "slow", message);
}

/* The reply is in control->reply, its place in key. */
static void give_news(struct client *c, const struct timeline_place *key)
{
    const argus_Reply *reply = &c->control->reply;

    if (!answer_wants(&c->answer.request.events, &reply->body.event.event))
        return;
    if (c->state == CLIENT_ANSWERING && answer_is_ahead(&c->answer, key))
        return; /* the walk will come to it */
    if (c->news == NULL)
        c->news = malloc(CONTROL_FOLLOW_BYTES_MAX);
    int size =
        c->news == NULL
            ? ARGUS_ENOMEM
            : frame_encode(argus_Reply_fields, reply, c->news + c->news_used,
                           CONTROL_FOLLOW_BYTES_MAX - c->news_used, NULL);
    if (size < 0) {
        cut_slow(c, "events came faster than they were read");
        return;
    }
    c->news_used += (size_t)size;
}

static void on_news(uv_idle_t *idle)
{
    struct control *control = idle->data;

    for (uint32_t i = 0; i < control->news_count; i++) {
        const struct timeline_place *key = &control->news[i];
        for (size_t k = 0; k < CONTROL_CLIENTS_MAX; k++) {
            struct client *c = &control->clients[k];
            if (!client_follows(c))
                continue;
            argus_Reply *reply = &control->reply;
            reply->which_body = argus_Reply_event_tag;
            if (answer_find_event(&control->hooks, key, &reply->body.event))
                give_news(c, key);
        }
    }
    for (size_t k = 0; k < CONTROL_CLIENTS_MAX; k++) {
        struct client *c = &control->clients[k];
        if (control->news_lost && client_follows(c))
            cut_slow(c, "too many events at once; ask again with --since");
        else if (c->state == CLIENT_FOLLOWING)
            client_pump(c);
    }
    control->news_count = 0;
    control->news_lost = false;
    (void)uv_idle_stop(idle);
}

static bool has_followers(const struct control *control)
{
    for (size_t k = 0; k < CONTROL_CLIENTS_MAX; k++)
        if (client_follows(&control->clients[k]))
            return true;
    return false;
}

void control_on_event(struct control *control, const argus_Event *event,
                      const struct node_id *origin)
{
    if (control->is_closing || !has_followers(control))
        return;
    if (control->news_count == CONTROL_NEWS_MAX)
        control->news_lost = true;
    else
        control->news[control->news_count++] =
            (struct timeline_place){.epoch = event->epoch,
                                    .hlc = event->hlc,
                                    .origin = *origin,
                                    .generation = event->generation,
                                    .number = event->number};
    (void)uv_idle_start(&control->news_idle, on_news);
}

/* ------------------------------------------------------------ accepting */

static struct client *client_free_slot(struct control *control)
{
    for (size_t k = 0; k < CONTROL_CLIENTS_MAX; k++)
        if (control->clients[k].state == CLIENT_FREE)
            return &control->clients[k];
    return NULL;
}

static void on_spare_closed(uv_handle_t *handle)
{
    struct control *control = handle->data;

    control->spare_used = false;
    control->handles_open--;
    if (control->is_one_waiting && !control->is_closing) {
        control->is_one_waiting = false;
        accept_one(control);
    }
    control_release(control);
}

/* The table is full, or memory is. */
static void turn_away(struct control *control)
{
    uint8_t bytes[512];
    uv_pipe_t *spare = &control->spare;

    if (control->spare_used) { /* libuv keeps it until on_spare_closed() */
        control->is_one_waiting = true;
        return;
    }
    if (uv_pipe_init(control->loop, spare, 0) != 0)
        return;
    spare->data = control;
    control->spare_used = true;
    control->handles_open++;
    if (uv_accept((uv_stream_t *)&control->listener, (uv_stream_t *)spare) ==
        0) {
        control->stats.clients_refused++;
        answer_end(&control->reply, "busy",
                   "too many clients at the control socket");
        int size = frame_encode(argus_Reply_fields, &control->reply, bytes,
                                sizeof bytes, NULL);
        uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)size);
        if (size > 0)
            (void)uv_try_write((uv_stream_t *)spare, &buf, 1);
    }
    uv_close((uv_handle_t *)spare, on_spare_closed);
}

static bool client_open(struct client *c)
{
    struct control *control = c->control;

    c->out = malloc(OUT_SIZE);
    if (c->out == NULL)
        return false;
    if (uv_pipe_init(control->loop, &c->pipe, 0) != 0) {
        free(c->out);
        c->out = NULL;
        return false;
    }
    (void)uv_timer_init(control->loop, &c->timer); /* cannot fail */
    c->pipe.data = c;
    c->timer.data = c;
    c->handles_open = 2;
    control->handles_open += 2;
    return true;
}

/* As the kernel knew it at connect(). */
static bool is_owner(const uv_pipe_t *pipe)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    uv_os_fd_t fd;

    return uv_fileno((const uv_handle_t *)pipe, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void accept_one(struct control *control)
{
    struct client *c = client_free_slot(control);

    if (c == NULL || !client_open(c)) {
        turn_away(control);
        return;
    }
    wait_for_request(c);
    if (uv_accept((uv_stream_t *)&control->listener, (uv_stream_t *)&c->pipe) !=
        0) {
        client_close(c); /* nobody waited after all */
        return;
    }
    control->stats.clients_accepted++;
    c->is_owner = is_owner(&c->pipe);
    client_read(c);
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status == 0)
        accept_one(listener->data);
}

/* ------------------------------------------------------------ life */

static int make_address(const char *path, struct sockaddr_un *out,
                        struct argus_error *err)
{
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (path[0] == '\0' || strlen(path) >= sizeof out->sun_path)
        return argus_fail(err, ARGUS_EINVAL,
                          "ControlSocket \"%s\": a path of 1 to %zu bytes is "
                          "needed",
                          path, sizeof out->sun_path - 1);
    memcpy(out->sun_path, path, strlen(path));
    return ARGUS_OK;
}

/* A socket on which nobody answers is what a dead daemon left. A connect that
 * is refused is the only proof; any other outcome leaves the file alone. */
static int remove_stale(const struct sockaddr_un *address,
                        struct argus_error *err)
{
    struct stat st;
    const char *path = address->sun_path;

    if (lstat(path, &st) != 0)
        return errno == ENOENT
                   ? ARGUS_OK
                   : argus_fail_errno(err, "control socket %s", path);
    if (!S_ISSOCK(st.st_mode))
        return argus_fail(
            err, ARGUS_EIO,
            "control socket %s: there is a file that is no socket", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return argus_fail_errno(err, "control socket");
    int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int why = errno;
    close(fd);
    if (rc == 0 || why == EAGAIN)
        return argus_fail(err, ARGUS_EBUSY,
                          "control socket %s: another daemon answers there",
                          path);
    if (why != ECONNREFUSED || unlink(path) != 0) {
        errno = why != ECONNREFUSED ? why : errno;
        return argus_fail_errno(err, "control socket %s", path);
    }
    return ARGUS_OK;
}

static int find_group(const char *name, gid_t *out, struct argus_error *err)
{
    *out = (gid_t)-1;
    if (name == NULL || name[0] == '\0')
        return ARGUS_OK;
    struct group *group = getgrnam(name);
    if (group == NULL)
        return argus_fail(err, ARGUS_EINVAL,
                          "ControlGroup \"%s\": there is no such group", name);
    *out = group->gr_gid;
    return ARGUS_OK;
}

/* Nobody can connect before listen(), so mode and group are set in time. */
static int open_file(const struct sockaddr_un *address, gid_t group,
                     struct control *control, struct argus_error *err)
{
    const char *path = address->sun_path;
    struct stat st;
    int rc;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return argus_fail_errno(err, "control socket");
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        rc = argus_fail_errno(err, "control socket %s", path);
        goto close_fd;
    }
    if (chown(path, (uid_t)-1, group) != 0 || chmod(path, 0660) != 0 ||
        lstat(path, &st) != 0) {
        rc = argus_fail_errno(err, "control socket %s: mode and group", path);
        goto unlink_path;
    }
    control->device = st.st_dev;
    control->inode = st.st_ino;
    return fd;

unlink_path:
    (void)unlink(path);
close_fd:
    close(fd);
    return rc;
}

/* Removes the file only if it is still the one we made. */
static void remove_file(const struct control *control)
{
    struct stat st;

    if (lstat(control->path, &st) == 0 && st.st_dev == control->device &&
        st.st_ino == control->inode)
        (void)unlink(control->path);
}

static int start_listening(struct control *control, int fd,
                           struct argus_error *err)
{
    int rc = uv_pipe_open(&control->listener, fd);

    if (rc != 0)
        close(fd);
    else
        rc = uv_listen((uv_stream_t *)&control->listener, LISTEN_BACKLOG,
                       on_connection);
    if (rc != 0)
        return argus_fail(err, ARGUS_EIO, "control socket %s: %s",
                          control->path, uv_strerror(rc));
    return ARGUS_OK;
}

static int control_init_handles(struct control *control, uv_loop_t *loop,
                                struct argus_error *err)
{
    control->loop = loop;
    int rc = uv_pipe_init(loop, &control->listener, 0);
    if (rc != 0)
        return argus_fail(err, ARGUS_EIO, "control socket: %s",
                          uv_strerror(rc));
    (void)uv_idle_init(loop, &control->news_idle); /* cannot fail */
    control->listener.data = control;
    control->news_idle.data = control;
    control->handles_open = 2;
    for (size_t k = 0; k < CONTROL_CLIENTS_MAX; k++)
        control->clients[k].control = control;
    return ARGUS_OK;
}

int control_new(uv_loop_t *loop, const struct control_options *options,
                const struct control_hooks *hooks, struct control **out,
                struct argus_error *err)
{
    struct sockaddr_un address;
    gid_t group;
    int rc;

    if ((rc = make_address(options->path, &address, err)) != ARGUS_OK ||
        (rc = find_group(options->group, &group, err)) != ARGUS_OK ||
        (rc = remove_stale(&address, err)) != ARGUS_OK)
        return rc;

    struct control *control = calloc(1, sizeof *control);
    if (control == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "control socket");
    control->hooks = *hooks;
    control->request_wait_ms = options->request_wait_ms != 0
                                   ? options->request_wait_ms
                                   : CONTROL_REQUEST_WAIT_MS;
    control->write_wait_ms = options->write_wait_ms != 0
                                 ? options->write_wait_ms
                                 : CONTROL_WRITE_WAIT_MS;
    memcpy(control->path, address.sun_path, sizeof control->path);
    (void)snprintf(control->collectd_version, sizeof control->collectd_version,
                   "%s", options->collectd_version);

    int fd = open_file(&address, group, control, err);
    if (fd < 0) {
        free(control);
        return fd;
    }
    rc = control_init_handles(control, loop, err);
    if (rc != ARGUS_OK) {
        close(fd);
        remove_file(control);
        free(control);
        return rc;
    }
    rc = start_listening(control, fd, err);
    if (rc != ARGUS_OK) {
        control_close(control);
        return rc;
    }
    *out = control;
    return ARGUS_OK;
}

const struct control_stats *control_stats(const struct control *control)
{
    return &control->stats;
}

void control_close(struct control *control)
{
    if (control == NULL)
        return;
    control->is_closing = true;
    remove_file(control);
    for (size_t k = 0; k < CONTROL_CLIENTS_MAX; k++)
        client_close(&control->clients[k]);
    uv_close((uv_handle_t *)&control->listener, on_handle_closed);
    uv_close((uv_handle_t *)&control->news_idle, on_handle_closed);
}
