/* client.h - questions to the daemon over its control socket. Blocking. */
#ifndef ARGUS_CLI_CLIENT_H
#define ARGUS_CLI_CLIENT_H

#include <stdbool.h>

#include "argus.pb.h"
#include "base/status.h"

/** The daemon is taken for stuck when it says nothing for so long. */
#define CLIENT_WAIT_S 15

/** Be more impatient, from the next connection on. */
void client_set_wait(int seconds);

/** Give up waiting, ARGUS_EBUSY, once something can be read from fd (-1: no
 *  more) and the daemon has said nothing for CLIENT_AT_ONCE_MS. */
#define CLIENT_AT_ONCE_MS 200
void client_stop_on_input(int fd);

/** @return false: enough, stop reading. */
typedef bool (*client_on_row)(void *context, const argus_Reply *row);

/**
 * Connect, ask, and hand on every row up to the End.
 * @param follow  wait for the next row for ever.
 * @param end     filled on ARGUS_OK; zero when on_row stopped it.
 * @retval ARGUS_ENOENT   nobody answers at that path.
 * @retval ARGUS_EDENIED  the socket's mode does not let us in.
 * @retval ARGUS_EIO      the connection broke, or the daemon says nothing.
 * @retval ARGUS_EBUSY    see client_stop_on_input().
 * @retval ARGUS_ECORRUPT what came is no answer.
 */
int client_ask(const char *path, const argus_Request *request, bool follow,
               client_on_row on_row, void *context, argus_End *end,
               struct argus_error *err);

/* A connection for several questions, one after the other. */
struct client {
    int fd;
};

/** @retval ARGUS_ENOENT, ARGUS_EDENIED, ARGUS_EIO as above. */
int client_open(struct client *c, const char *path, struct argus_error *err);
void client_close(struct client *c);

/** As client_ask(). Once on_row stopped it, or it failed, nothing more may be
 *  asked on this connection. */
int client_next(struct client *c, const argus_Request *request,
                client_on_row on_row, void *context, argus_End *end,
                struct argus_error *err);

#endif
