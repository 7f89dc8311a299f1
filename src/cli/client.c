#include "cli/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire/frame.h"

static int wait_s = CLIENT_WAIT_S;

void client_set_wait(int seconds)
{
    wait_s = seconds;
}

static int input_fd = -1;

void client_stop_on_input(int fd)
{
    input_fd = fd;
}

/* Until there is something to read from the daemon: recv() knows how long that
 * may take. A daemon that is well answers at once, so keys that come meanwhile
 * wait for it. */
static int wait_or_stop(int fd, struct argus_error *err)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                            {.fd = input_fd, .events = POLLIN}};

    if (input_fd < 0 || poll(fds, 1, CLIENT_AT_ONCE_MS) != 0 ||
        poll(fds, 2, 1000 * wait_s) <= 0 || fds[0].revents != 0)
        return ARGUS_OK;
    return argus_fail(err, ARGUS_EBUSY, "the daemon has not answered yet");
}

static void set_wait(int fd, int option, int seconds)
{
    struct timeval wait = {.tv_sec = seconds};
    (void)setsockopt(fd, SOL_SOCKET, option, &wait, sizeof wait);
}

static int connect_to(const char *path, struct argus_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        return argus_fail(err, ARGUS_ENOENT,
                          "the socket path \"%s\" is too long", path);
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return argus_fail_errno(err, "socket");
    set_wait(fd, SO_SNDTIMEO, wait_s); /* a stuck daemon accepts nobody */
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        int code = errno == EACCES   ? ARGUS_EDENIED
                   : errno == EAGAIN ? ARGUS_EIO
                                     : ARGUS_ENOENT;
        (void)argus_fail_errno(err, "no daemon answers at %s", path);
        close(fd);
        return code;
    }
    return fd;
}

static int send_request(int fd, const argus_Request *request,
                        struct argus_error *err)
{
    uint8_t bytes[FRAME_HEADER_SIZE + argus_Request_size];
    int size =
        frame_encode(argus_Request_fields, request, bytes, sizeof bytes, err);

    if (size < 0)
        return size;
    for (int sent = 0; sent < size;) {
        ssize_t n = send(fd, bytes + sent, (size_t)(size - sent), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return argus_fail_errno(err, "control socket");
        sent += (int)n;
    }
    return ARGUS_OK;
}

static int read_whole(int fd, uint8_t *out, size_t size,
                      struct argus_error *err)
{
    for (size_t used = 0; used < size;) {
        int rc = wait_or_stop(fd, err);
        if (rc != ARGUS_OK)
            return rc;
        ssize_t n = recv(fd, out + used, size - used, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return argus_fail(err, ARGUS_EIO,
                              "the daemon has said nothing for %d s", wait_s);
        if (n < 0)
            return argus_fail_errno(err, "control socket");
        if (n == 0)
            return argus_fail(err, ARGUS_EIO,
                              "the daemon closed the control socket");
        used += (size_t)n;
    }
    return ARGUS_OK;
}

static int read_reply(int fd, argus_Reply *out, struct argus_error *err)
{
    static uint8_t body[FRAME_BODY_MAX];
    uint8_t header[FRAME_HEADER_SIZE];

    int rc = read_whole(fd, header, sizeof header, err);
    if (rc != ARGUS_OK)
        return rc;
    int length = frame_length(header, sizeof body, err);
    if (length < 0)
        return ARGUS_ECORRUPT;
    rc = read_whole(fd, body, (size_t)length, err);
    return rc != ARGUS_OK ? rc : reply_decode(body, (size_t)length, out, err);
}

static int read_rows(int fd, client_on_row on_row, void *context,
                     argus_End *end, struct argus_error *err)
{
    static argus_Reply reply;

    for (;;) {
        int rc = read_reply(fd, &reply, err);
        if (rc != ARGUS_OK)
            return rc;
        if (reply.which_body == argus_Reply_end_tag) {
            *end = reply.body.end;
            return ARGUS_OK;
        }
        if (!on_row(context, &reply))
            return ARGUS_OK;
    }
}

int client_open(struct client *c, const char *path, struct argus_error *err)
{
    int fd = connect_to(path, err);

    if (fd < 0)
        return fd;
    set_wait(fd, SO_RCVTIMEO, wait_s);
    c->fd = fd;
    return ARGUS_OK;
}

void client_close(struct client *c)
{
    (void)close(c->fd);
}

int client_next(struct client *c, const argus_Request *request,
                client_on_row on_row, void *context, argus_End *end,
                struct argus_error *err)
{
    memset(end, 0, sizeof *end);
    int rc = send_request(c->fd, request, err);
    /* A daemon that turns us away says why before it closes: read on. */
    if (rc == ARGUS_OK || rc == ARGUS_EIO)
        rc = read_rows(c->fd, on_row, context, end, err);
    return rc;
}

int client_ask(const char *path, const argus_Request *request, bool follow,
               client_on_row on_row, void *context, argus_End *end,
               struct argus_error *err)
{
    struct client c;

    memset(end, 0, sizeof *end);
    int rc = client_open(&c, path, err);
    if (rc != ARGUS_OK)
        return rc;
    if (follow)
        set_wait(c.fd, SO_RCVTIMEO, 0); /* for ever */
    rc = client_next(&c, request, on_row, context, end, err);
    client_close(&c);
    return rc;
}
