#include "cli/orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/memory.h"
#include "cli/when.h"

/* ------------------------------------------------------------ hex digits */

void order_hex(const uint8_t *bytes, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

bool order_hex_begins(const char *text, const uint8_t *bytes, size_t size)
{
    char digits[2 * 32 + 1];
    size_t length = strlen(text);

    if (size > 32 || length == 0 || length > 2 * size)
        return false;
    order_hex(bytes, size, digits);
    return strncasecmp(text, digits, length) == 0;
}

bool order_hex_parse(const char *text, uint8_t *out, size_t size)
{
    if (strlen(text) != 2 * size ||
        strspn(text, "0123456789abcdefABCDEF") != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return true;
}

/* ------------------------------------------------------------- the order */

enum { OPTION_KEY = 1 };

static const struct option key_options[] = {
    {"key", required_argument, NULL, OPTION_KEY},
    {0},
};

static bool on_key(struct cli *cli, void *context, int option,
                   const char *value)
{
    (void)cli;
    (void)option;
    *(const char **)context = value;
    return true;
}

int order_parse(struct cli *cli, int argc, char **argv, const char *verb,
                const char **key, int *code)
{
    const struct cli_options options = {
        .own = key_options, .on_option = on_key, .context = key};

    int at = cli_parse(cli, argc, argv, &options);
    *code = at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < 0 || cli->help)
        return -1;
    *code = EXIT_USAGE;
    return cli_refuse_watch(cli, verb) ? -1 : at;
}

static bool keep_status(void *context, const argus_Reply *row)
{
    struct order_work *w = context;

    if (row->which_body != argus_Reply_status_tag)
        return true;
    (void)snprintf(w->cluster, sizeof w->cluster, "%s",
                   row->body.status.cluster);
    w->retain_offline_s = row->body.status.retain_offline_s;
    return true;
}

static int connect_daemon(struct order_work *w)
{
    const argus_Request request = {.which_body = argus_Request_status_tag};

    int code = cli_connect(w->cli, &w->client);
    if (code != EXIT_DONE)
        return code;
    w->is_connected = true;
    return cli_next(w->cli, &w->client, &request, keep_status, w, NULL);
}

/* What is carried on is signed again, with this operator's name: nobody but an
 * operator may have written it, and if it was another one that is said. */
static int check_head(const struct order_work *w,
                      const struct config_version *head)
{
    const argus_SignedBundle *b = &head->reply.bundle;
    char fingerprint[FINGERPRINT_SIZE];
    uint8_t own[SIGNER_KEY_SIZE];

    if (!head->reply.trusted || !signer_vouches(b, w->cluster))
        return cli_fail(w->cli, EXIT_BAD, "failed",
                        "the daemon names an order in force that no operator "
                        "gave: nothing is signed on top of it");
    fingerprint_of(b->key, fingerprint);
    if (signer_key(w->signer, own) == ARGUS_OK &&
        memcmp(own, b->key, sizeof own) != 0)
        cli_note("carried on: version %u of %s, by operator %s",
                 head->manifest.version, head->manifest.name, fingerprint);
    return EXIT_DONE;
}

/* The next version begins as the one in force is. */
static int read_order(struct order_work *w)
{
    static struct config_version head;
    argus_Manifest *m = &w->manifest;
    bool is_found = false;

    int code = config_get(w->cli, &w->client, order_name(w->kind), 0, &head,
                          &is_found);
    if (code == EXIT_DONE && is_found)
        code = check_head(w, &head);
    if (code != EXIT_DONE)
        return code;
    (void)snprintf(m->name, sizeof m->name, "%s", order_name(w->kind));
    m->version = 1;
    m->has_order = true;
    m->order.which_body = w->kind == ORDER_KEYS ? argus_Order_keys_tag
                          : w->kind == ORDER_FORGOTTEN
                              ? argus_Order_forgotten_tag
                          : w->kind == ORDER_CLOCK ? argus_Order_clock_tag
                                                   : argus_Order_revoked_tag;
    if (is_found) {
        m->version = head.manifest.version + 1;
        m->before.size = CONTENT_HASH_SIZE;
        memcpy(m->before.bytes, head.reply.hash, CONTENT_HASH_SIZE);
        m->order = head.manifest.order;
    }
    w->was = m->order;
    return EXIT_DONE;
}

int order_begin(const struct cli *cli, const char *key, enum order_kind kind,
                struct order_work *w)
{
    memset(w, 0, sizeof *w);
    w->cli = cli;
    w->kind = kind;
    int code = config_open_key(cli, key, &w->signer);
    if (code == EXIT_DONE)
        code = connect_daemon(w);
    return code == EXIT_DONE ? read_order(w) : code;
}

int order_give(struct order_work *w)
{
    static argus_Request request;
    argus_BundlePushRequest *push = &request.body.bundle_push;
    struct argus_error err;

    request.which_body = argus_Request_bundle_push_tag;
    w->manifest.created_ms = when_now_us() / 1000;
    if (signer_seal(w->signer, w->cluster, &w->manifest, &push->bundle, w->hash,
                    &err) != ARGUS_OK)
        return cli_fail(w->cli, EXIT_BAD, "key", "%s", err.text);
    push->has_bundle = true;
    return cli_next(w->cli, &w->client, &request, cli_ignore_row, NULL, NULL);
}

void order_finish(struct order_work *w)
{
    if (w->is_connected)
        client_close(&w->client);
    signer_close(w->signer);
    w->is_connected = false;
    w->signer = NULL;
}

/* ----------------------------------------------------------------- nodes */

static bool add_node(void *context, const argus_Reply *row)
{
    struct order_nodes *all = context;
    const argus_MemberReply *m = &row->body.member;

    if (row->which_body != argus_Reply_member_tag)
        return true;
    all->nodes =
        memory_grow(all->nodes, all->count, &all->room, sizeof *all->nodes);
    struct order_node *n = &all->nodes[all->count++];
    memset(n, 0, sizeof *n);
    n->id = node_id_of(m->id);
    n->state = m->state;
    n->generation = m->record.generation;
    n->version = m->record.version;
    n->keys_count = m->record.keys_count;
    memcpy(n->keys, m->record.keys, sizeof n->keys);
    (void)snprintf(n->name, sizeof n->name, "%s", m->record.name);
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct order_node *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order != 0 ? order : node_id_compare(&x->id, &y->id);
}

int order_nodes_take(const struct cli *cli, struct client *c,
                     struct order_nodes *out)
{
    const argus_Request request = {.which_body = argus_Request_members_tag};

    memset(out, 0, sizeof *out);
    int code = cli_next(cli, c, &request, add_node, out, &out->end);
    if (code == EXIT_DONE && out->count > 1)
        qsort(out->nodes, out->count, sizeof out->nodes[0], by_name);
    return code;
}

void order_nodes_free(struct order_nodes *n)
{
    free(n->nodes);
    memset(n, 0, sizeof *n);
}
