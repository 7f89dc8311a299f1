#include "worker_up.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "worker_guard.h"

/** Less than that is worth waiting for more. */
#define UP_LITTLE ((size_t)16384)

struct buffer {
    uint8_t bytes[UP_SIZE]; /* pages are taken as they are touched */
    size_t used;
};

/* Apart from what is initialised, so that they are no bytes of the file. */
static struct buffer buffers[2];

static struct {
    int fd, event;
    pthread_mutex_t lock;
    pthread_cond_t room, sent;
    struct buffer *filled; /* the other one is being sent */
    struct buffer *sending;
    size_t done; /* of the one being sent */
    bool urgent, closed, has_sender;
    pthread_t sender;
} up = {
    .fd = -1,
    .event = -1,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .room = PTHREAD_COND_INITIALIZER,
    .sent = PTHREAD_COND_INITIALIZER,
    .filled = &buffers[0],
    .sending = &buffers[1],
};

bool up_open(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return false;
    up.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    up.fd = fd;
    return up.event >= 0;
}

int up_event(void)
{
    return up.event;
}

void up_wake(void)
{
    int saved = errno;
    uint64_t one = 1;

    if (write(up.event, &one, sizeof one) < 0 && errno == EBADF)
        guard_end_closed();
    errno = saved;
}

/* With the lock held. The thread that sends makes room itself. */
static void wait_for_room(void)
{
    struct pollfd p = {.fd = up.fd, .events = POLLOUT};

    if (!up.has_sender || !pthread_equal(up.sender, pthread_self())) {
        pthread_cond_wait(&up.room, &up.lock);
        return;
    }
    pthread_mutex_unlock(&up.lock);
    if (up_send())
        (void)poll(&p, 1, 100);
    pthread_mutex_lock(&up.lock);
}

bool up_add(enum up_kind kind, up_put put, const void *what)
{
    size_t kept = kind == UP_DATA ? UP_KEPT : 0, size = 0;

    pthread_mutex_lock(&up.lock);
    while (!up.closed) {
        struct buffer *b = up.filled;
        if (b->used < UP_SIZE - kept)
            size = put(b->bytes + b->used, UP_SIZE - kept - b->used, what);
        if (size > 0 || b->used == 0 || kind == UP_LINE)
            break;
        wait_for_room();
    }
    bool was_empty = up.filled->used == 0;
    bool was_urgent = up.urgent;
    up.filled->used += size;
    up.urgent |= size > 0 && kind == UP_STATE;
    if (size > 0 && (was_empty || up.urgent != was_urgent))
        up_wake();
    pthread_mutex_unlock(&up.lock);
    return size > 0;
}

bool up_may_wait(void)
{
    pthread_mutex_lock(&up.lock);
    bool may = !up.urgent && !up.closed && up.filled->used > 0 &&
               up.filled->used < UP_LITTLE && up.sending->used == 0;
    pthread_mutex_unlock(&up.lock);
    return may;
}

/* With the lock held. */
static void swap_buffers(void)
{
    struct buffer *b = up.filled;

    up.filled = up.sending;
    up.sending = b;
    up.done = 0;
    up.urgent = false;
    pthread_cond_broadcast(&up.room);
}

static void mark_sent(void)
{
    pthread_mutex_lock(&up.lock);
    up.sending->used = 0;
    if (up.filled->used == 0)
        pthread_cond_broadcast(&up.sent);
    pthread_mutex_unlock(&up.lock);
}

bool up_send(void)
{
    for (;;) {
        pthread_mutex_lock(&up.lock);
        up.sender = pthread_self();
        up.has_sender = true;
        if (up.sending->used == 0 && up.filled->used > 0)
            swap_buffers();
        bool idle = up.closed || up.sending->used == 0;
        pthread_mutex_unlock(&up.lock);
        if (idle)
            return false;

        ssize_t put = send(up.fd, up.sending->bytes + up.done,
                           up.sending->used - up.done, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (put < 0) {
            up_close();
            return false;
        }
        up.done += (size_t)put;
        if (up.done == up.sending->used)
            mark_sent();
    }
}

bool up_flush(unsigned timeout_ms)
{
    struct timespec until;
    int rc = 0;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&up.lock);
    up.urgent = true;
    up_wake();
    while (!up.closed && rc == 0 &&
           (up.filled->used > 0 || up.sending->used > 0))
        rc = pthread_cond_timedwait(&up.sent, &up.lock, &until);
    bool all = up.filled->used == 0 && up.sending->used == 0;
    pthread_mutex_unlock(&up.lock);
    return all;
}

void up_close(void)
{
    pthread_mutex_lock(&up.lock);
    up.closed = true;
    pthread_cond_broadcast(&up.room);
    pthread_cond_broadcast(&up.sent);
    pthread_mutex_unlock(&up.lock);
}
