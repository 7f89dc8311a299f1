/* verbs_orders.c - operators and their keys; nodes that are gone for good. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/memory.h"
#include "cli/orders.h"
#include "cli/table.h"
#include "cli/when.h"

#define REVOKED_MAX (sizeof((argus_RevokedOrder *)0)->keys / OPERATOR_ID_SIZE)
#define FORGOTTEN_MAX                                                          \
    (sizeof((argus_ForgottenOrder *)0)->nodes /                                \
     sizeof((argus_ForgottenOrder *)0)->nodes[0])
/** Orders name at most so many keys, and a key may be named by each of them. */
#define OPERATORS_MAX 4096

/* ------------------------------------------------------ keys of operators */

struct operator_row {
    uint8_t id[OPERATOR_ID_SIZE];
    bool is_trusted, is_revoked;
};

struct operators {
    struct operator_row rows[OPERATORS_MAX];
    size_t count;
    argus_BundleReply *bundles; /* in force */
    size_t bundles_count, bundles_room;
};

static struct operator_row *operator_get(struct operators *o,
                                         const uint8_t id[OPERATOR_ID_SIZE])
{
    for (size_t i = 0; i < o->count; i++)
        if (memcmp(o->rows[i].id, id, OPERATOR_ID_SIZE) == 0)
            return &o->rows[i];
    if (o->count == OPERATORS_MAX)
        return NULL;
    struct operator_row *row = &o->rows[o->count++];
    memset(row, 0, sizeof *row);
    memcpy(row->id, id, OPERATOR_ID_SIZE);
    return row;
}

static void signer_id(const argus_BundleReply *b, uint8_t id[OPERATOR_ID_SIZE])
{
    uint8_t hash[CONTENT_HASH_SIZE];

    signer_digest(b->bundle.key, sizeof b->bundle.key, hash);
    memcpy(id, hash, OPERATOR_ID_SIZE);
}

static void keep_bundle(struct operators *o, const argus_BundleReply *b)
{
    uint8_t id[OPERATOR_ID_SIZE];

    signer_id(b, id);
    (void)operator_get(o, id);
    o->bundles = memory_grow(o->bundles, o->bundles_count, &o->bundles_room,
                             sizeof *o->bundles);
    o->bundles[o->bundles_count++] = *b;
}

static bool on_operator_row(void *context, const argus_Reply *row)
{
    struct operators *o = context;

    if (row->which_body == argus_Reply_bundle_tag)
        keep_bundle(o, &row->body.bundle);
    if (row->which_body != argus_Reply_operator_key_tag)
        return true;
    struct operator_row *key = operator_get(o, row->body.operator_key.id);
    if (key != NULL) {
        key->is_trusted |= row->body.operator_key.trusted;
        key->is_revoked |= row->body.operator_key.revoked;
    }
    return true;
}

/* Trusted, revoked, and whoever signed something that is in force. */
static int take_operators(const struct cli *cli, struct client *c,
                          struct operators *o)
{
    static argus_Request request;

    memset(o, 0, sizeof *o);
    request.which_body = argus_Request_operators_tag;
    int code = cli_next(cli, c, &request, on_operator_row, o, NULL);
    if (code != EXIT_DONE)
        return code;
    request.which_body = argus_Request_bundle_list_tag;
    return cli_next(cli, c, &request, on_operator_row, o, NULL);
}

/* ------------------------------------------------------- operators list */

/* Names of the bundles in force that it signed. */
static json_t *signed_by(const struct cli *cli, const struct operators *o,
                         const struct operator_row *key)
{
    static argus_Manifest m;
    json_t *names = json_array();
    uint8_t id[OPERATOR_ID_SIZE];

    for (size_t i = 0; i < o->bundles_count; i++) {
        signer_id(&o->bundles[i], id);
        if (memcmp(id, key->id, sizeof id) == 0 &&
            config_unpack(cli, &o->bundles[i], &m) && !m.removed)
            (void)json_array_append_new(names, json_text(m.name));
    }
    return names;
}

static const char *state_of(const struct operator_row *key)
{
    return key->is_revoked   ? "revoked"
           : key->is_trusted ? "trusted"
                             : "not trusted";
}

static json_t *operator_json(const struct cli *cli, const struct operators *o,
                             const struct operator_row *key)
{
    char id[2 * OPERATOR_ID_SIZE + 1], fingerprint[FINGERPRINT_SIZE];

    order_hex(key->id, sizeof key->id, id);
    order_hex(key->id, FINGERPRINT_BYTES, fingerprint);
    return json_pack("{s:s, s:s, s:b, s:b, s:o}", "fingerprint", fingerprint,
                     "id", id, "trusted",
                     (int)(key->is_trusted && !key->is_revoked), "revoked",
                     (int)key->is_revoked, "bundles", signed_by(cli, o, key));
}

static void print_operator(struct table *t, json_t *row, const char *state,
                           enum table_color color)
{
    json_t *names = json_object_get(row, "bundles"), *name;
    char text[256] = "";
    size_t i, used = 0;

    json_array_foreach(names, i, name)
    {
        int n = snprintf(text + used, sizeof text - used, "%s%s",
                         i > 0 ? ", " : "", json_string_value(name));
        used += n > 0 && (size_t)n < sizeof text - used ? (size_t)n : 0;
    }
    table_cell(t, COLOR_PLAIN, "%s",
               json_string_value(json_object_get(row, "fingerprint")));
    table_cell(t, color, "%s", state);
    table_cell(t, COLOR_PLAIN, "%s", text);
}

static void print_operators(const struct cli *cli, const struct operators *o)
{
    static const char *const titles[] = {"FINGERPRINT", "STATE", "BUNDLES",
                                         NULL};
    json_t *rows = json_array();
    struct table *t = table_new(titles);

    for (size_t i = 0; t != NULL && i < o->count; i++) {
        const struct operator_row *key = &o->rows[i];
        json_t *row = operator_json(cli, o, key);
        print_operator(t, row, state_of(key),
                       key->is_revoked   ? COLOR_BAD
                       : key->is_trusted ? COLOR_GOOD
                                         : COLOR_FAINT);
        (void)json_array_append_new(rows, row);
    }
    if (cli->json) {
        json_print(json_pack("{s:o}", "operators", rows));
    } else {
        if (o->count == 0)
            cli_say(cli, "No operator's key is trusted here (TrustedKey in "
                         "<Apply>).");
        else if (t != NULL)
            table_print(t, stdout, cli->width, cli->color);
        json_decref(rows);
    }
    table_free(t);
}

static int operators_list(struct cli *cli, int argc, char **argv)
{
    static struct operators all;
    struct client c;

    int code = cli_open_plain(cli, argc, argv, "operators list", &c);
    if (code != EXIT_DONE || cli->help)
        return code;
    code = take_operators(cli, &c, &all);
    client_close(&c);
    if (code == EXIT_DONE)
        print_operators(cli, &all);
    free(all.bundles);
    return code;
}

/* ----------------------------------------------------- operators revoke */

/* Whose key is meant: one that is known here by its first digits, or any by all
 * of them. */
static int find_operator(const struct cli *cli, const struct operators *all,
                         const char *text, struct operator_row *out)
{
    size_t found = 0;

    for (size_t i = 0; i < all->count; i++)
        if (order_hex_begins(text, all->rows[i].id, OPERATOR_ID_SIZE)) {
            *out = all->rows[i];
            found++;
        }
    if (found == 1)
        return EXIT_DONE;
    if (found > 1)
        return cli_fail(cli, EXIT_BAD, "ambiguous",
                        "%zu operators' keys begin with %s: give more digits",
                        found, text);
    memset(out, 0, sizeof *out);
    if (order_hex_parse(text, out->id, sizeof out->id))
        return EXIT_DONE;
    return cli_fail(cli, EXIT_BAD, "not-found",
                    "no operator's key that is known here begins with %s (see "
                    "argusctl operators list); of one that is not known give "
                    "all 32 digits",
                    text);
}

static bool revoke_one(argus_RevokedOrder *order,
                       const uint8_t id[OPERATOR_ID_SIZE])
{
    if (order_revokes(order, id))
        return true;
    if (order->keys_count == REVOKED_MAX)
        return false;
    memcpy(order->keys[order->keys_count++], id, OPERATOR_ID_SIZE);
    return true;
}

/* Whose key signs here, and whether anybody is left who may. */
static void warn_of_loss(const struct order_work *w,
                         const struct operators *all,
                         const struct operator_row *key)
{
    uint8_t own[SIGNER_KEY_SIZE], hash[CONTENT_HASH_SIZE];
    size_t left = 0;

    for (size_t i = 0; i < all->count; i++)
        left += all->rows[i].is_trusted && !all->rows[i].is_revoked &&
                memcmp(all->rows[i].id, key->id, sizeof key->id) != 0;
    if (left == 0)
        cli_note("warning: this was the last operator's key that is trusted "
                 "here");
    if (signer_key(w->signer, own) != ARGUS_OK)
        return;
    signer_digest(own, sizeof own, hash);
    if (memcmp(hash, key->id, sizeof key->id) == 0)
        cli_note("warning: this key revokes itself: nothing that it signs "
                 "counts from now on");
}

static int give_revocation(struct order_work *w, struct operators *all,
                           const char *text)
{
    argus_RevokedOrder *order = &w->manifest.order.body.revoked;
    char fingerprint[FINGERPRINT_SIZE], id[2 * OPERATOR_ID_SIZE + 1];
    struct operator_row key;
    bool fits = true;

    int code = take_operators(w->cli, &w->client, all);
    if (code == EXIT_DONE)
        code = find_operator(w->cli, all, text, &key);
    if (code != EXIT_DONE)
        return code;
    order_hex(key.id, sizeof key.id, id);
    order_hex(key.id, FINGERPRINT_BYTES, fingerprint);
    if (key.is_revoked)
        return cli_fail(w->cli, EXIT_BAD, "revoked",
                        "the key %s is revoked already", fingerprint);
    for (size_t i = 0; i < all->count; i++)
        if (all->rows[i].is_revoked)
            fits &= revoke_one(order, all->rows[i].id);
    if (!revoke_one(order, key.id) || !fits)
        return cli_fail(w->cli, EXIT_BAD, "no-room",
                        "an order revokes at most %zu keys, and so many are "
                        "revoked already",
                        REVOKED_MAX);
    warn_of_loss(w, all, &key);
    code = order_give(w);
    if (code != EXIT_DONE)
        return code;
    if (w->cli->json)
        json_print(json_pack("{s:s, s:s, s:I}", "fingerprint", fingerprint,
                             "id", id, "version",
                             (json_int_t)w->manifest.version));
    else
        printf("The key %s is revoked: what it signed ends on every node.\n",
               fingerprint);
    return EXIT_DONE;
}

/* Options and the one operand of a verb that gives an order. @return the
 * operand; NULL: *code is the verb's. */
static const char *begin(struct cli *cli, int argc, char **argv,
                         const char *verb, const char *operand,
                         const char **key, int *code)
{
    int at = order_parse(cli, argc, argv, verb, key, code);

    if (at < 0)
        return NULL;
    if (argc - at == 1)
        return argv[at];
    *code =
        cli_fail(cli, EXIT_USAGE, "usage", "%s takes one %s", verb, operand);
    return NULL;
}

static int operators_revoke(struct cli *cli, int argc, char **argv)
{
    static struct operators all;
    static struct order_work w;
    const char *key = NULL;
    int code;

    const char *text =
        begin(cli, argc, argv, "operators revoke", "FINGERPRINT", &key, &code);
    if (text == NULL)
        return code;
    code = order_begin(cli, key, ORDER_REVOKED, &w);
    if (code == EXIT_DONE)
        code = give_revocation(&w, &all, text);
    order_finish(&w);
    free(all.bundles);
    return code;
}

static int run_operators(struct cli *cli, int argc, char **argv)
{
    int at = cli_parse(cli, argc, argv, NULL); /* up to the next word */

    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < argc && strcmp(argv[at], "list") == 0)
        return operators_list(cli, argc - at, argv + at);
    if (at < argc && strcmp(argv[at], "revoke") == 0)
        return operators_revoke(cli, argc - at, argv + at);
    return cli_fail(cli, EXIT_USAGE, "usage",
                    "operators list, or operators revoke FINGERPRINT; see "
                    "argusctl operators --help");
}

const struct verb verb_operators = {
    .name = "operators",
    .arguments = "list | revoke FINGERPRINT --key K",
    .help =
        "Keys of operators: whose bundles and orders count.\n"
        "\n"
        "  list                         trusted here (TrustedKey), revoked, "
        "and\n"
        "                               which bundles in force each signed\n"
        "  revoke FINGERPRINT --key K   never to be trusted again, anywhere: "
        "what\n"
        "                               it signed ends on every node. Digits\n"
        "                               enough to tell it apart suffice. The\n"
        "                               operator's private key K signs\n",
    .run = run_operators,
};

/* ----------------------------------------------------------------- forget */

static bool is_named(const struct order_node *n, const char *text)
{
    return strcmp(n->name, text) == 0 ||
           (strlen(text) >= 8 &&
            order_hex_begins(text, n->id.bytes, NODE_ID_SIZE));
}

static int fail_ambiguous(const struct cli *cli, const struct order_nodes *all,
                          const char *text)
{
    char ids[160] = "";
    size_t used = 0;

    for (size_t i = 0; i < all->count; i++) {
        char id[NODE_ID_TEXT_SIZE];
        if (!is_named(&all->nodes[i], text) || used + 48 > sizeof ids)
            continue;
        node_id_format(&all->nodes[i].id, id);
        used += (size_t)snprintf(ids + used, sizeof ids - used, "%s%.16s (%s)",
                                 used > 0 ? ", " : "", id,
                                 member_state_text(all->nodes[i].state));
    }
    return cli_fail(cli, EXIT_BAD, "ambiguous",
                    "several nodes are named %s: name one by its id: %s", text,
                    ids);
}

/* A reimaged host has two ids: the one that is gone is meant. */
static int find_node(const struct cli *cli, const struct order_nodes *all,
                     const char *text, const struct order_node **out)
{
    const struct order_node *gone = NULL, *here = NULL;
    size_t gone_count = 0, here_count = 0;

    for (size_t i = 0; i < all->count; i++) {
        const struct order_node *n = &all->nodes[i];
        if (!is_named(n, text))
            continue;
        bool is_gone = order_node_is_gone(n);
        gone_count += is_gone;
        here_count += !is_gone;
        *(is_gone ? &gone : &here) = n;
    }
    if (gone_count > 1)
        return fail_ambiguous(cli, all, text);
    if (gone_count == 1) {
        *out = gone;
        return EXIT_DONE;
    }
    if (here_count == 0)
        return cli_fail(cli, EXIT_BAD, "not-found",
                        "no node \"%s\" is known here: name it as members "
                        "does, or by its id (8 digits at least)",
                        text);
    return cli_fail(cli, EXIT_BAD, "refused",
                    "%s is %s: only a node that is offline or has left can be "
                    "forgotten; stop its collectd first",
                    here->name, member_state_text(here->state));
}

/* What is longer away than nodes are remembered is forgotten anyway. */
static void drop_old(struct order_work *w, const struct node_id *id)
{
    argus_ForgottenOrder *order = &w->manifest.order.body.forgotten;
    uint64_t now_ms = when_now_us() / 1000;
    uint64_t keep_ms = (uint64_t)w->retain_offline_s * 1000;
    pb_size_t kept = 0;

    for (pb_size_t i = 0; i < order->nodes_count; i++) {
        const argus_ForgottenNode *n = &order->nodes[i];
        bool is_old = n->forgotten_ms + keep_ms <= now_ms;
        if (!is_old && memcmp(n->id, id->bytes, NODE_ID_SIZE) != 0)
            order->nodes[kept++] = *n;
    }
    order->nodes_count = kept;
}

static int add_forgotten(struct order_work *w, const struct order_node *node)
{
    argus_ForgottenOrder *order = &w->manifest.order.body.forgotten;

    drop_old(w, &node->id);
    if (order->nodes_count == FORGOTTEN_MAX)
        return cli_fail(w->cli, EXIT_BAD, "no-room",
                        "%zu nodes were forgotten within the last %u s "
                        "(RetainOffline): no more until one of them is "
                        "forgotten by everyone anyway",
                        FORGOTTEN_MAX, w->retain_offline_s);
    argus_ForgottenNode *f = &order->nodes[order->nodes_count++];
    memcpy(f->id, node->id.bytes, sizeof f->id);
    f->generation = node->generation;
    f->version = node->version;
    f->forgotten_ms = when_now_us() / 1000;
    return EXIT_DONE;
}

static int give_forget(struct order_work *w, struct order_nodes *all,
                       const char *text)
{
    const struct order_node *node = NULL;

    int code = order_nodes_take(w->cli, &w->client, all);
    if (code == EXIT_DONE)
        code = find_node(w->cli, all, text, &node);
    if (code == EXIT_DONE)
        code = add_forgotten(w, node);
    if (code == EXIT_DONE)
        code = order_give(w);
    if (code != EXIT_DONE)
        return code;
    if (w->cli->json) {
        json_print(json_pack("{s:o, s:o, s:I}", "name", json_text(node->name),
                             "id", json_id(node->id.bytes), "version",
                             (json_int_t)w->manifest.version));
    } else {
        char *safe = table_escape(node->name);
        printf("%s is forgotten; should it come back, it is known again.\n",
               safe != NULL ? safe : "");
        free(safe);
    }
    return EXIT_DONE;
}

static int run_forget(struct cli *cli, int argc, char **argv)
{
    static struct order_work w;
    struct order_nodes all = {0};
    const char *key = NULL;
    int code;

    const char *text = begin(cli, argc, argv, "forget", "NAME", &key, &code);
    if (text == NULL)
        return code;
    code = order_begin(cli, key, ORDER_FORGOTTEN, &w);
    if (code == EXIT_DONE)
        code = give_forget(&w, &all, text);
    order_finish(&w);
    order_nodes_free(&all);
    return code;
}

const struct verb verb_forget = {
    .name = "forget",
    .arguments = "NAME --key K",
    .help =
        "Drop the record of a node that is offline or has left, on every "
        "node.\n"
        "NAME is its name, or the first 8 digits of its id at least. The\n"
        "operator's private key K signs. Should the node live after all, it\n"
        "comes back by itself.\n",
    .run = run_forget,
};
