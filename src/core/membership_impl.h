/* membership_impl.h - what membership.c (links, active view, messages),
 * membership_views.c (passive view, lost, questions) and hyparview.c (whom
 * to dial, and when) share. Nobody else includes it. */
#ifndef ARGUS_CORE_MEMBERSHIP_IMPL_H
#define ARGUS_CORE_MEMBERSHIP_IMPL_H

#include "base/prng.h"
#include "core/membership.h"
#include "core/peerlist.h"

/** Peers named in one message; as in argus.options. */
#define MESSAGE_PEERS 8

enum hlink_state {
    HLINK_WAITING, /* accepted; the peer has not said what it wants */
    HLINK_ASKED,   /* dialed; Join or Neighbor sent, no reply yet */
    HLINK_ACTIVE,  /* the peer is in the active view by this link */
    HLINK_CLOSING, /* we asked the owner to close it */
};

struct hlink {
    link_id link;
    enum hlink_state state;
    bool is_dialed;
    bool is_joining;    /* asked with Join */
    bool is_displacing; /* once accepted, another makes room */
    bool is_meeting;    /* WAITING; a shuffle was answered here */
    uint32_t audit_misses;
    uint64_t deadline_ms; /* WAITING, ASKED */
    uint64_t up_ms;       /* ACTIVE since */
    struct peer_info peer;
};

enum dial_purpose { DIAL_JOIN, DIAL_NEIGHBOR, DIAL_REPLY };

struct hdial {
    dial_id dial;
    enum dial_purpose purpose;
    struct node_id peer; /* zero: whoever answers */
    int32_t contact;     /* index, or -1 */
    bool is_high, is_displacing;
    bool is_forced; /* join even who is known to be alive */
};

struct contact {
    struct node_id id; /* who answered there last; zero: nobody yet */
    bool is_self;      /* it was, at tried_ms */
    uint64_t tried_ms;
    char address[ADDRESS_SIZE];
};

struct membership {
    struct membership_options options;
    struct membership_listener listener;
    struct prng prng;
    uint64_t now_ms;
    uint64_t deadline_ms;
    bool is_started, has_left;

    struct hlink *links;
    uint32_t links_count, links_room;
    uint32_t active_count;
    struct peerlist passive, lost;
    struct contact *contacts;
    uint32_t contacts_count;
    struct hdial dials[MEMBERSHIP_DIALS_MAX];
    uint32_t dials_count;
    uint64_t dial_counter;

    struct node_id sent_ids[MESSAGE_PEERS]; /* in the last shuffle */
    uint32_t sent_ids_count;
    uint64_t shuffle_answer_until_ms; /* a ShuffleReply is expected */

    uint64_t shuffle_at_ms, swap_at_ms, probe_at_ms;
    uint64_t seek_at_ms; /* while without neighbors: next contact or lost */
    uint32_t seek_wait_ms;
    uint32_t contact_next;
    uint64_t fill_at_ms;   /* no low request before this */
    uint64_t refill_at_ms; /* the directory is not asked before this */
    uint32_t rejected_row;
    uint32_t returned_row; /* peers back from the lost within a window */
    uint64_t returned_since_ms;
    uint64_t join_tokens_milli, join_tokens_at_ms;
    struct membership_stats stats;
};

/** Can it be dialed? A node that does not know its host yet says ":port". */
static inline bool is_dialable(const char *address)
{
    return address[0] != '\0' && address[0] != ':';
}

/* membership.c */
struct hlink *membership_find_link(const struct membership *h, link_id link);
struct hlink *membership_link_of(const struct membership *h,
                                 const struct node_id *peer,
                                 enum hlink_state state);
void membership_close(struct hlink *hl, argus_RefuseCode code, const char *text,
                      struct actions *out);

/* membership_views.c */
struct hlink *membership_random_active(struct membership *h,
                                       const struct node_id *but,
                                       const struct node_id *nor);
void membership_add_passive(struct membership *h, const struct node_id *id,
                            const char *address, uint32_t generation);

/** The arguments may point into the entry of the passive view. */
void membership_add_lost(struct membership *h, const struct node_id *id,
                         const char *address, uint32_t generation);
void membership_take_in(struct membership *h, const argus_Peer *peers,
                        uint32_t count);
void membership_put_peer(argus_Peer *out, const struct node_id *id,
                         const char *address, uint32_t generation);

/** Random peers of both views, never `but`; so many of each at most. */
uint32_t membership_sample(struct membership *h, const struct node_id *but,
                           uint32_t actives, uint32_t passives,
                           argus_Peer peers[MESSAGE_PEERS]);
void membership_self(const struct membership *h, argus_Peer *out);

/* hyparview.c */

/** NULL: too many under way. */
struct hdial *membership_dial(struct membership *h, enum dial_purpose purpose,
                              const struct node_id *peer, const char *address,
                              struct actions *out);
bool membership_is_dialing(const struct membership *h,
                           const struct node_id *peer);
bool membership_take_dial(struct membership *h, dial_id dial,
                          struct hdial *out);

/** A candidate did not become a neighbor: when to try it again. */
void membership_postpone(struct membership *h, const struct node_id *id,
                         uint32_t wait_ms, bool failed);

/** Last thing in every input: dial whoever is missing, find the deadline. */
void membership_settle(struct membership *h, struct actions *out);
void membership_seek_start(struct membership *h);
void membership_seek_timeout(struct membership *h, struct actions *out);

/** The active view has just run empty or got its first member. */
void membership_seek_alone(struct membership *h);
void membership_seek_joined(struct membership *h);

/** A full peer said no; a peer came back from the lost; a node that had
 *  neighbors joined by another mesh's. */
void membership_seek_rejected(struct membership *h);
void membership_seek_bridged(struct membership *h);
void membership_seek_returned(struct membership *h);

#endif
