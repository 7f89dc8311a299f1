/* answer.h - the rows that answer one request of the control socket.
 *
 * No socket in here: the owner asks for the next row when it has room for one.
 * A step looks at no more than ANSWER_SCAN_MAX entries, so that a search
 * through 100,000 events does not hold up the loop. */
#ifndef ARGUS_RUNTIME_ANSWER_H
#define ARGUS_RUNTIME_ANSWER_H

#include "runtime/control.h"

#define ANSWER_SCAN_MAX 2048

enum answer_step {
    ANSWER_ROW,    /* out is a row; more may come */
    ANSWER_AGAIN,  /* nothing yet: ask again after a turn of the loop */
    ANSWER_END,    /* out is the End */
    ANSWER_FOLLOW, /* the past is told; new events come from the owner */
};

/* What is kept of a request while its answer goes out; a chunk, a push and a
 * mesh key are done with at once. */
union answer_request {
    argus_RouteRequest route;
    argus_EventsRequest events;
    argus_NotifyRequest notify;
    argus_JoinRequest join;
    argus_BundleGetRequest bundle_get;
    argus_BundleContentRequest bundle_content;
    argus_BundleStatusRequest bundle_status;
};

struct answer {
    const struct control_hooks *hooks;
    const char *collectd_version;
    pb_size_t verb; /* argus_Request_*_tag */
    union answer_request request;
    uint32_t index;
    int result; /* of a chunk, a push or a key that is to be sealed */
    struct argus_error result_err;
    uint8_t hash[CONTENT_HASH_SIZE]; /* of the version whose content is read */
    uint64_t offset, size;           /* in it */
    argus_WrappedKey wrapped;
    bool is_seeking; /* still looking for the newest `limit` events */
    bool has_place;  /* place says where the walk stands */
    struct timeline_place place;
    uint32_t matched; /* while seeking; then rows given */
};

/** @param is_owner  root asks, or whom the daemon runs as.
 *  @param staged    bytes of chunks that came by this connection before; added
 *                   to. */
void answer_begin(struct answer *a, const struct control_hooks *hooks,
                  const char *collectd_version, const argus_Request *request,
                  bool is_owner, uint64_t *staged);

/** Write the next row or the End into out (its former content is lost). */
enum answer_step answer_next(struct answer *a, argus_Reply *out);

/** Will the walk of a request with `follow` still come to that event? */
bool answer_is_ahead(const struct answer *a, const struct timeline_place *key);

/** Does an EventsRequest want that event? */
bool answer_wants(const argus_EventsRequest *request, const argus_Event *event);

/** Find an event by its place, with all there is to say of it. @return false:
 *  it is no longer kept. */
bool answer_find_event(const struct control_hooks *hooks,
                       const struct timeline_place *key, argus_EventReply *out);

/** Fill out with an End. */
void answer_end(argus_Reply *out, const char *code, const char *message);

/** The End code of a status: what a program may switch on. */
const char *answer_code(int status);

#endif
