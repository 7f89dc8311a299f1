/* fuzz_world.h - an engine and the world around it, for scripts of events.
 *
 * The world keeps an owner's promises (engine.h, actions.h): a link that the
 * engine closes goes down and brings no frame in between, a dial ends once, the
 * clock does not go back. It asserts the engine's: a frame that is sent
 * encodes, on a link that is up, with a stamp later than the one before; no
 * link is closed twice; tokens and series are known; a timeout that was due
 * does not stay due. Seals are open ones: what decodes is signed, unless its
 * signature begins with 0xff. */
#ifndef ARGUS_TESTS_FUZZ_WORLD_H
#define ARGUS_TESTS_FUZZ_WORLD_H

#include "core/engine.h"
#include "fuzz.h"

#define WORLD_LINKS 64  /* numbered links that a script can speak of */
#define WORLD_DIALS 256 /* under way */
#define WORLD_TOKENS 512

struct world_link {
    link_id id; /* 0: free */
    link_id to; /* its other end, with a twin; 0: the script is that */
    argus_LinkKind kind;
    bool is_dialed, is_closed; /* the engine asked for the latter */
    argus_Ping ping;           /* to be answered; number 0: none */
};

struct world_dial {
    dial_id id; /* 0: free */
    argus_LinkKind kind;
    bool has_expected;
    struct node_id expected;
    char address[ADDRESS_SIZE];
};

struct world {
    struct engine *engine;
    uint8_t who;
    bool answers_pings;  /* whoever the script is on the other end */
    struct world *other; /* a twin, see fuzz_twin.h; else NULL */
    /* What is said to it, and that a link to it is over. */
    void (*sent)(const struct world *from, const struct world_link *l,
                 const uint8_t *body, size_t size);
    void (*ended)(const struct world *from, const struct world_link *l,
                  argus_RefuseCode code);
    struct actions out;
    uint64_t now_ms, wall_us;
    struct world_link links[WORLD_LINKS];
    struct world_dial dials[WORLD_DIALS];
    link_id last_link;
    uint64_t tokens[WORLD_TOKENS]; /* dispatched; 0: free */
    uint64_t last_token, last_hlc;
    uint64_t event_key; /* of an event that the engine listed last */
    uint64_t sum;       /* of its records, as it said last */
    argus_Summary summary;
    uint32_t check; /* of an address, that it asked for last, and where */
    uint32_t check_slot;
    uint8_t announced[CONTENT_ID_SIZE]; /* a broadcast that it has */
    struct kit_pool *pool;
    struct kit_chunks *chunks;
    bool is_stopped;
};

/** @param flavor  bit 0: aggregator; 1: routes values; 2: small bounds; 3: has
 *                 contacts; 5: has an address; 6: others answer its pings.
 *  @param who     see world_id(). */
void world_open(struct world *w, uint8_t flavor, uint8_t who);
void world_step(struct world *w, struct event *event);
/** Time passes; whatever is due meanwhile happens on the way. */
void world_pass(struct world *w, uint32_t ms);
/** Ask every question. */
void world_ask(struct world *w, const char *name);
void world_close(struct world *w);

/** The ids that scripts speak of: few, so that they meet; 0 is the first
 *  node's own. */
struct node_id world_id(uint8_t number);

/** Sign and pack as the author. @return 0: too large. */
size_t world_seal(const struct node_id *author,
                  const argus_Statement *statement,
                  uint8_t out[SEALED_SIZE_MAX]);

void world_link_up(struct world *w, uint32_t slot, uint8_t who,
                   argus_LinkKind kind, dial_id dial);
void world_twin_link_up(struct world *w, uint32_t slot, uint8_t who,
                        argus_LinkKind kind, dial_id dial, link_id to);
void world_link_down(struct world *w, uint32_t slot, enum link_end why,
                     argus_RefuseCode code);
void world_dial_failed(struct world *w, uint32_t slot, enum link_end why,
                       argus_RefuseCode code);
/** A frame arrives, if that link is one that may bring it. */
void world_frame(struct world *w, uint32_t slot, argus_Frame *frame);

#endif
