/* transport.h - links to other nodes: TCP, TLS, Hello, frames, bounded queues.
 *
 * With protection set every link is TLS, on loopback too, and each side proves
 * its id: it signs what TLS exports for the connection.
 *
 * A link is one connection on which both Hellos went well. Everything a peer
 * sends is bounded before it is believed: bytes before its Hello, length of a
 * frame, time without progress, links in all, strangers in all and from one
 * source. A peer that breaks a bound is told why, disconnected and counted.
 *
 * Calls into the listener come from the loop alone, never from within a call of
 * this header: an owner may send and close while it handles a frame, and hears
 * of the outcome later. Loop thread only. */
#ifndef ARGUS_RUNTIME_TRANSPORT_H
#define ARGUS_RUNTIME_TRANSPORT_H

#include <uv.h>

#include "base/status.h"
#include "core/actions.h"
#include "core/peer.h"
#include "runtime/keyring.h"
#include "runtime/resolve.h"
#include "wire/hello.h"

/** The port when none is named. */
#define ARGUS_PORT "25827"

struct identity;
struct tls_context;
struct transport;

struct transport_listener {
    void *context;
    void (*link_up)(void *context, link_id link, dial_id dial,
                    const struct peer_info *peer);
    /** Once for each link that came up. */
    void (*link_down)(void *context, link_id link, enum link_end why,
                      argus_RefuseCode code);
    /** Once for each dial that did not come up. */
    void (*dial_failed)(void *context, dial_id dial, enum link_end why,
                        argus_RefuseCode code);
    /** frame is the transport's scratch: borrowed for the call. */
    void (*frame)(void *context, link_id link, const argus_Frame *frame);
    /** The queue of a congested link fell below half its bound. */
    void (*drained)(void *context, link_id link);
    /** A peer sees us at this IP address. */
    void (*observed)(void *context, const char *host);
    /** Is that the address of a node that is known to live? */
    bool (*is_known)(void *context, const char *address);
};

/* Zero stands for the default in the comment. */
struct transport_options {
    struct hello_facts self;
    struct tls_context *protection;   /* held; NULL: links in the clear */
    const struct identity *identity;  /* proves the id under TLS */
    bool allow_plaintext;             /* clear links beyond loopback */
    uint32_t links_max;               /* in all states: 16384, and 3/4 of the
                                       * descriptors that the process may open */
    uint32_t strangers_max;           /* 256 accepted, Hello not yet seen */
    uint32_t strangers_source_max;    /* 64 of them from one IP address */
    uint32_t dials_max;               /* 256 under way */
    uint32_t connect_ms, hello_ms;    /* 3000 each, for each address */
    uint32_t stall_ms;                /* 10000 without progress: slow */
    uint32_t linger_ms;               /* 1000 to flush on close */
    uint32_t grace_ms;                /* 5000 from a key's removal to the end
                                       * of links that have shown no other */
    uint32_t queue_bytes_max;         /* 1 MiB, mesh, sync and probe */
    uint32_t queue_metrics_bytes_max; /* 4 MiB */
};

struct transport_stats {
    uint64_t links_accepted;
    uint64_t links_dialed;
    uint64_t dials_failed;
    uint64_t hellos_refused;    /* by us */
    uint64_t strangers_refused; /* for want of room */
    uint64_t accepts_put_off;   /* to the next turn of the loop */
    uint64_t handshakes_failed; /* of TLS */
    uint64_t links_rekeyed_out; /* ended: key removed, certificate revoked */
    uint64_t frames_received, frames_sent;
    uint64_t frames_malformed;
    uint64_t bytes_received, bytes_sent;
    uint64_t peers_expelled; /* slow */
    uint64_t links_now, links_max;
};

int transport_new(uv_loop_t *loop, const struct transport_options *options,
                  const struct transport_listener *listener,
                  struct transport **out, struct argus_error *err);

/**
 * Listen on every address of a host; repeatable. "::" means all interfaces,
 * IPv4 alone where there is no IPv6.
 * @param out_port  the port in use (port "0": one the system picked).
 * @retval ARGUS_EDENIED  not loopback, and plaintext is not allowed.
 * @retval ARGUS_EBUSY    the port is taken. ARGUS_EINVAL: no such host.
 */
int transport_listen(struct transport *t, const char *host, const char *port,
                     uint16_t *out_port, struct argus_error *err);

/** A new identity: what the next Hellos say. */
void transport_set_self(struct transport *t, const struct hello_facts *self);

/** What new links are protected by. Those that are up live on if their peer has
 *  shown a key that is still in the ring, or its certificate still passes; the
 *  others end after a few seconds. Not from plain to TLS or back. */
void transport_set_protection(struct transport *t,
                              struct tls_context *protection);

/** The port at which one of this host's addresses is listened at; 0: none.
 *  All interfaces are all but loopback. */
uint16_t transport_port_at(const struct transport *t,
                           const struct sockaddr *address);

/** Links that began with that key of the ring. */
uint32_t transport_links_of_key(const struct transport *t,
                                const uint8_t id[MESH_KEY_ID_SIZE]);

/** The addresses of a name are tried in turn, and soon beside each other: the
 *  first that answers is the one; see resolve.h. */
void transport_dial(struct transport *t, dial_id dial, argus_LinkKind kind,
                    const char *address, const struct node_id *expected);
/** The same, but for addresses that are known; see the listener. */
void transport_search(struct transport *t, dial_id dial, argus_LinkKind kind,
                      const char *address);
/** From the first to its release what is sent may wait, so that several frames
 *  to one peer leave in one write. Calls may nest. */
void transport_hold(struct transport *t);
void transport_release(struct transport *t);

void transport_send(struct transport *t, link_id link,
                    const argus_Frame *frame);
void transport_close(struct transport *t, link_id link, argus_RefuseCode code,
                     const char *text);

/** Close every link and dial; the listener hears no more of them. */
void transport_close_all(struct transport *t, argus_RefuseCode code,
                         const char *text);

/** Stop or go on reading metrics links: back-pressure by TCP. */
void transport_pause_metrics(struct transport *t, bool pause);

/** Bytes that wait to be sent; 0 for a link that is gone. */
size_t transport_queued_bytes(const struct transport *t, link_id link);

/** IP literal and port of a link's peer; false for a link that is gone. */
bool transport_peer(const struct transport *t, link_id link, char *out,
                    size_t out_size);

const struct transport_stats *transport_stats(const struct transport *t);
const struct resolve_stats *transport_resolve_stats(const struct transport *t);

/** Close all as above and give up listening; done() is called once no handle
 *  is left, and may call transport_free(). */
void transport_stop(struct transport *t, argus_RefuseCode code,
                    const char *text, void (*done)(void *context),
                    void *context);

/** After done(), or when no handle was ever opened by the loop's run. */
void transport_free(struct transport *t);

#endif
