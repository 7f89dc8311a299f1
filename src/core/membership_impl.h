/* membership_impl.h - what the files of the membership share; nobody else
 * includes it.
 *   membership.c        links, handshake, active view: the same for all
 *   membership_views.c  passive view, lost, questions: the same for all
 *   membership_seek.c   whom to dial, and when: what most have in common
 *   hyparview.c, hyparview_near.c, full.c, client_server.c, static.c
 *                       a struct strategy each: where they differ */
#ifndef ARGUS_CORE_MEMBERSHIP_IMPL_H
#define ARGUS_CORE_MEMBERSHIP_IMPL_H

#include "base/prng.h"
#include "base/zone.h"
#include "core/callers.h"
#include "core/membership.h"
#include "core/peerlist.h"

/** Peers named in one message; as in argus.options. */
#define MESSAGE_PEERS 8

/** A peer that just parted is not asked again before. */
#define PARTED_MS 3000

enum hlink_state {
    HLINK_WAITING, /* accepted; the peer has not said what it wants */
    HLINK_ASKED,   /* dialed; Join or Neighbor sent, no reply yet */
    HLINK_ACTIVE,  /* the peer is in the active view by this link */
    HLINK_CLOSING, /* we asked the owner to close it */
};

/* Why a link was asked for, and so what it may do to the view. */
enum intent {
    INTENT_FILL, /* takes a free place */
    INTENT_SWAP, /* takes that of a random other */
    INTENT_NEAR, /* takes that of one further away */
};

struct hlink {
    link_id link;
    enum hlink_state state;
    enum intent intent; /* ASKED */
    bool is_dialed;
    bool is_joining; /* asked with Join */
    bool is_near;    /* ACTIVE: both ends chose it for their zones */
    bool is_meeting; /* WAITING; a shuffle was answered here */
    uint32_t audit_misses;
    uint64_t deadline_ms; /* WAITING, ASKED */
    uint64_t up_ms;       /* ACTIVE since */
    struct peer_info peer;
};

/* SEARCH: join whoever is new behind the name of a contact. */
enum dial_purpose { DIAL_JOIN, DIAL_NEIGHBOR, DIAL_REPLY, DIAL_SEARCH };

struct hdial {
    dial_id dial;
    enum dial_purpose purpose;
    enum intent intent;
    struct node_id peer; /* zero: whoever answers */
    int32_t contact;     /* index, or -1 */
    bool is_high;
    bool is_forced; /* join even who is known to be alive */
};

struct contact {
    struct node_id id; /* who answered there last; zero: nobody yet */
    bool is_self;      /* it was, at tried_ms */
    bool is_name;      /* there may be several nodes behind it */
    uint64_t tried_ms;
    uint64_t search_at_ms; /* of a name, while joined: is somebody new there? */
    uint32_t search_wait_ms;
    char address[ADDRESS_SIZE];
};

/* Where strategies differ. Nothing here is NULL. */
struct strategy {
    const char *name;

    /** Most neighbors at once. */
    uint32_t (*limit)(const struct membership_options *options);
    /** Entries of the passive view and of the lost. */
    uint32_t (*passive_max)(const struct membership_options *options);

    /** Is a node of that role one to ask by ourselves, hence worth keeping? */
    bool (*is_candidate)(const struct membership *v, argus_Role role);
    /** May it be a neighbor at all? */
    bool (*may_hold)(const struct membership *v, argus_Role role);

    /** Candidates to ask now, beside those that were. */
    uint32_t (*want)(const struct membership *v);
    /** Ask with priority? */
    bool (*insists)(const struct membership *v);
    /** Is there a place for one more of that role? */
    bool (*has_room)(const struct membership *v, argus_Role role);
    /** No place, and somebody insists: who goes? NULL: nobody. */
    struct hlink *(*victim)(struct membership *v, const struct hlink *newcomer);

    void (*start)(struct membership *v);
    /** A node joined here, and is a neighbor now. */
    void (*on_joined)(struct membership *v, struct hlink *hl,
                      struct actions *out);
    /** From an active neighbor, and not about this node. */
    void (*on_forward_join)(struct membership *v, struct hlink *from,
                            const argus_ForwardJoin *m, struct actions *out);
    /** Likewise; frame is a copy to be sent on. */
    void (*on_shuffle)(struct membership *v, struct hlink *from,
                       argus_Frame *frame, struct actions *out);
    /** Started, and not left. */
    void (*on_timeout)(struct membership *v, struct actions *out);
    uint64_t (*deadline_ms)(const struct membership *v);
};

/* What every ping asks for comes first. */
struct membership {
    uint64_t now_ms;
    uint64_t deadline_ms;
    struct hlink *links;
    link_id *link_ids; /* theirs, side by side */
    uint32_t links_count, links_room;
    uint32_t active_count;
    uint32_t doubted; /* active links with audit_misses */
    bool is_started, has_left;

    struct membership_options options;
    struct membership_listener listener;
    const struct strategy *strategy;
    uint32_t limit;
    struct prng prng;
    struct peerlist passive, lost;
    struct contact *contacts;
    uint32_t contacts_count;
    struct callers callers;
    struct hdial dials[MEMBERSHIP_DIALS_MAX];
    uint32_t dials_count;
    uint64_t dial_counter;

    struct node_id sent_ids[MESSAGE_PEERS]; /* in the last shuffle */
    uint32_t sent_ids_count;
    uint64_t shuffle_answer_until_ms; /* a ShuffleReply is expected */

    uint64_t shuffle_at_ms, swap_at_ms, probe_at_ms;
    uint32_t swap_wait_ms;
    uint64_t changed_ms; /* when a neighbor came or went last */
    uint64_t seek_at_ms; /* while without neighbors: next contact or lost */
    uint32_t seek_wait_ms;
    uint32_t contact_next;
    uint64_t fill_at_ms;   /* no low request before this */
    uint64_t refill_at_ms; /* the directory is not asked before this */
    uint32_t rejected_row;
    uint32_t returned_row; /* peers back from the lost within a window */
    uint64_t returned_since_ms;
    uint64_t near_at_ms; /* next look for nearer neighbors */
    uint32_t near_wait_ms;
    uint64_t limit_told_ms; /* 0: the log has no word of it yet */
    uint64_t join_tokens_milli, join_tokens_at_ms;
    struct membership_stats stats;
};

/** Can it be dialed? A node that does not know its host yet says ":port". */
static inline bool is_dialable(const char *address)
{
    return address[0] != '\0' && address[0] != ':';
}

extern const struct strategy strategy_hyparview, strategy_full,
    strategy_client_server, strategy_static;

/* membership.c */
struct hlink *membership_find_link(const struct membership *v, link_id link);
struct hlink *membership_link_of(const struct membership *v,
                                 const struct node_id *peer,
                                 enum hlink_state state);
void membership_close(struct hlink *hl, argus_RefuseCode code, const char *text,
                      struct actions *out);

/** Do not ask again what is sure to be denied; the joiner's news to a neighbor.
 */
void membership_send_walk(link_id link, const argus_Peer *joiner, uint32_t ttl,
                          struct actions *out);

/** End a shuffle here: answer its origin with so many peers, take in its own.
 */
void membership_end_shuffle(struct membership *v, const argus_Shuffle *m,
                            struct actions *out);

/* membership_views.c */
struct membership_peer membership_peer_of(const argus_Peer *peer);
struct membership_peer membership_peer_at(const struct hlink *hl);
struct hlink *membership_random_active(struct membership *v,
                                       const struct node_id *but,
                                       const struct node_id *nor);
void membership_add_passive(struct membership *v,
                            const struct membership_peer *peer);

/** What peer points to may be the entry of the passive view. */
void membership_add_lost(struct membership *v,
                         const struct membership_peer *peer);
/** The same of an entry of the passive view. */
void membership_move_lost(struct membership *v, const struct peer_entry *e);
void membership_take_in(struct membership *v, const argus_Peer *peers,
                        uint32_t count);
void membership_put_peer(argus_Peer *out, const struct membership_peer *peer);

/** Random peers of both views, never `but`; so many of each at most. */
uint32_t membership_sample(struct membership *v, const struct node_id *but,
                           uint32_t actives, uint32_t passives,
                           argus_Peer peers[MESSAGE_PEERS]);
void membership_self(const struct membership *v, argus_Peer *out);

/* membership_seek.c */

/** NULL: too many under way. */
struct hdial *membership_dial(struct membership *v, enum dial_purpose purpose,
                              const struct node_id *peer, const char *address,
                              struct actions *out);
bool membership_is_dialing(const struct membership *v,
                           const struct node_id *peer);
bool membership_take_dial(struct membership *v, dial_id dial,
                          struct hdial *out);

/** Ask a node to be a neighbor. @return NULL: too many dials under way. */
struct hdial *membership_ask(struct membership *v, const struct node_id *id,
                             const char *address, bool high, enum intent intent,
                             struct actions *out);

/** A candidate did not become a neighbor: when to try it again. */
void membership_postpone(struct membership *v, const struct node_id *id,
                         uint32_t wait_ms, bool failed);

/** Of those whose time has come the ones that failed least, and of these a
 *  random one. NULL: none. */
struct peer_entry *membership_candidate(struct membership *v,
                                        const struct peerlist *from);

/** Dialed or asked, and meant to take a free place in the active view. */
uint32_t membership_asking(const struct membership *v);

/** Last thing in every input: dial whoever is missing, find the deadline. */
void membership_settle(struct membership *v, struct actions *out);

/** Its address is set. */
void membership_new_contact(struct membership *v, struct contact *c);

/** Whether a contact is to be dialed: it is not ourselves, not dialed, not
 *  active. */
bool membership_is_contact_due(const struct membership *v, uint32_t i);

/** Dial the next of those who called. */
void membership_answer_calls(struct membership *v, struct actions *out);

/** The active view has just run empty or got its first member. */
void membership_seek_alone(struct membership *v);
void membership_seek_joined(struct membership *v);

/** A full peer said no; a peer came back from the lost; a node that had
 *  neighbors joined by another mesh's. */
void membership_seek_rejected(struct membership *v);
void membership_seek_bridged(struct membership *v);
void membership_seek_returned(struct membership *v);

/** ms times 2^times, at most max_ms. */
uint32_t membership_doubled(uint32_t ms, uint32_t times, uint32_t max_ms);
/** A random moment within the next ms. */
uint64_t membership_soon(struct membership *v, uint32_t ms);

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What strategies have in common; see struct strategy. */
bool membership_anyone(const struct membership *v, argus_Role role);
uint32_t membership_passive_max(const struct membership_options *options);
uint32_t membership_everyone(const struct membership_options *options);
uint32_t membership_neighbors_max(const struct membership_options *options);
bool membership_insists_alone(const struct membership *v);
bool membership_has_place(const struct membership *v, argus_Role role);
struct hlink *membership_nobody(struct membership *v,
                                const struct hlink *newcomer);
/** Who makes room for the newcomer: a random one of those whose loss costs
 *  least. Who was chosen for its zone stays, so that who comes by chance takes
 *  the place of who came by chance; then who has just come, since it is most
 *  likely to depend on us; then whom the broadcast tree goes by: its loss near
 *  the root bends the ways of hundreds, and if two parts of the mesh hang
 *  together by one link it is that. */
struct hlink *membership_random_victim(struct membership *v,
                                       const struct hlink *newcomer);
/** Is there a neighbor by which no broadcast goes? */
bool membership_has_spare(const struct membership *v);
/** All places that are free and not asked for. */
uint32_t membership_want_all(const struct membership *v);
void membership_start_timers(struct membership *v);
/** A neighbor came or went. */
void membership_shuffle_soon(struct membership *v);
/** Contacts and the lost: one after another quickly while alone, one now and
 *  then while joined; and shuffles. */
void membership_seek_timeout(struct membership *v, struct actions *out);
uint64_t membership_seek_ms(const struct membership *v);
/** A ForwardJoin to each other neighbor. */
void membership_tell_joined(struct membership *v, struct hlink *hl,
                            struct actions *out);
/** Keep the joiner as a candidate: whoever wants it will dial it. */
void membership_keep_joiner(struct membership *v, struct hlink *from,
                            const argus_ForwardJoin *m, struct actions *out);
/** Pass it on, a random way of bounded length; the last node answers. */
void membership_walk_shuffle(struct membership *v, struct hlink *from,
                             argus_Frame *frame, struct actions *out);
/** Answer at once, do not pass it on. */
void membership_stop_shuffle(struct membership *v, struct hlink *from,
                             argus_Frame *frame, struct actions *out);

/* hyparview_near.c */

/** May the newcomer take part in an exchange for nearer neighbors, and who
 *  makes room? @return false: nothing is gained by it. *victim is NULL where
 *  there is room. */
bool hyparview_near_gains(struct membership *v, const struct hlink *newcomer,
                          struct hlink **victim);
void hyparview_near_start(struct membership *v);
/** An exchange that this node asked for came about. */
void hyparview_near_gained(struct membership *v);
void hyparview_near_timeout(struct membership *v, struct actions *out);

#endif
