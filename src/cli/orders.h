/* orders.h - what the verbs share by which operators give orders to the mesh.
 *
 * An order carries on what the one in force says. So it is read first, changed,
 * signed here with the operator's key, and handed to the daemon, which refuses
 * it when another one came in between. */
#ifndef ARGUS_CLI_ORDERS_H
#define ARGUS_CLI_ORDERS_H

#include "base/node_id.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "core/orders.h"

struct order_work {
    const struct cli *cli;
    struct signer *signer;
    struct client client;
    bool is_connected;
    char cluster[64];
    uint32_t retain_offline_s;
    enum order_kind kind;
    argus_Order was;         /* in force; empty: none */
    argus_Manifest manifest; /* version and predecessor set, order as before */
    uint8_t hash[CONTENT_HASH_SIZE]; /* of it, once it is given */
};

/**
 * Options of a verb that gives an order: the general ones, and --key.
 * @param key  out: where the operator's key is; unchanged without the option.
 * @return the place of the first operand; negative: *code is the verb's.
 */
int order_parse(struct cli *cli, int argc, char **argv, const char *verb,
                const char **key, int *code);

/** Open the key, connect, learn what is in force. Complains.
 *  order_finish() in any case. @return an exit code. */
int order_begin(const struct cli *cli, const char *key, enum order_kind kind,
                struct order_work *w);
/** Sign and push what w->manifest says now. Complains. */
int order_give(struct order_work *w);
void order_finish(struct order_work *w);

/* ---- nodes, for whoever asks about their records */

struct order_node {
    struct node_id id;
    argus_MemberState state;
    uint32_t generation, version; /* of its record */
    char name[128];
    argus_HeldKey keys[sizeof((argus_NodeRecord *)0)->keys /
                       sizeof((argus_NodeRecord *)0)->keys[0]];
    uint32_t keys_count;
};

struct order_nodes {
    struct order_node *nodes; /* in order of names */
    size_t count, room;
    argus_End end; /* with the coverage */
};

/** All nodes known. Complains. order_nodes_free() in any case. */
int order_nodes_take(const struct cli *cli, struct client *c,
                     struct order_nodes *out);
void order_nodes_free(struct order_nodes *n);

static inline bool order_node_is_gone(const struct order_node *n)
{
    return n->state == argus_MemberState_MEMBER_OFFLINE ||
           n->state == argus_MemberState_MEMBER_LEFT;
}

/* ---- hex digits */

/** 2*size digits and a NUL. */
void order_hex(const uint8_t *bytes, size_t size, char *out);
/** Does the text, 1 to 2*size hex digits of any case, begin the bytes? */
bool order_hex_begins(const char *text, const uint8_t *bytes, size_t size);
/** All of the bytes. @return false: it is something else. */
bool order_hex_parse(const char *text, uint8_t *out, size_t size);

#endif
