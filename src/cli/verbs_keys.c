/* verbs_keys.c - the keys of the mesh: who holds which, and their rotation by
 * orders of operators: a new one is added, then used, then the old one removed.
 *
 * An order that would cut a living node off is refused here with the names of
 * all that stand in the way; the daemon refuses it too, by the same rules. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/json.h"
#include "cli/memory.h"
#include "cli/orders.h"
#include "cli/table.h"

#define ID_SIZE MESH_KEY_ID_BYTES
#define ID_TEXT_SIZE (2 * ID_SIZE + 1)
#define ADDED_MAX                                                              \
    (sizeof((argus_KeyringOrder *)0)->added /                                  \
     sizeof((argus_KeyringOrder *)0)->added[0])
#define REMOVED_MAX (sizeof((argus_KeyringOrder *)0)->removed / ID_SIZE)
#define HELD_MAX                                                               \
    (sizeof((argus_NodeRecord *)0)->keys /                                     \
     sizeof((argus_NodeRecord *)0)->keys[0])
#define POLL_MS 200

enum { OPTION_KEY = 1, OPTION_FILE, OPTION_WAIT };

/* ------------------------------------------------------- what is known */

/* A key that this node or the record of another one names. */
struct key_row {
    uint8_t id[ID_SIZE];
    bool is_held, is_dialing; /* here */
    uint32_t links;
};

struct survey {
    struct key_row *rows; /* those of this node first, in their order */
    size_t count, room;
    struct order_nodes nodes;
};

static struct key_row *row_get(struct survey *s, const uint8_t id[ID_SIZE])
{
    for (size_t i = 0; i < s->count; i++)
        if (memcmp(s->rows[i].id, id, ID_SIZE) == 0)
            return &s->rows[i];
    s->rows = memory_grow(s->rows, s->count, &s->room, sizeof *s->rows);
    struct key_row *row = &s->rows[s->count++];
    memset(row, 0, sizeof *row);
    memcpy(row->id, id, ID_SIZE);
    return row;
}

static bool on_key_row(void *context, const argus_Reply *row)
{
    const argus_KeyReply *k = &row->body.key;

    if (row->which_body != argus_Reply_key_tag)
        return true;
    struct key_row *key = row_get(context, k->id);
    key->is_held = true;
    key->is_dialing = k->dial;
    key->links = k->links;
    return true;
}

static void survey_free(struct survey *s)
{
    order_nodes_free(&s->nodes);
    free(s->rows);
    memset(s, 0, sizeof *s);
}

/* Complains. survey_free() in any case. */
static int survey_take(const struct cli *cli, struct client *c,
                       struct survey *s)
{
    const argus_Request request = {.which_body = argus_Request_keys_tag};

    memset(s, 0, sizeof *s);
    int code = cli_next(cli, c, &request, on_key_row, s, NULL);
    if (code == EXIT_DONE)
        code = order_nodes_take(cli, c, &s->nodes);
    for (size_t i = 0; code == EXIT_DONE && i < s->nodes.count; i++)
        for (uint32_t k = 0; k < s->nodes.nodes[i].keys_count; k++)
            (void)row_get(s, s->nodes.nodes[i].keys[k].id);
    return code;
}

static const argus_HeldKey *held_by(const struct order_node *n,
                                    const uint8_t id[ID_SIZE])
{
    for (uint32_t i = 0; i < n->keys_count; i++)
        if (memcmp(n->keys[i].id, id, ID_SIZE) == 0)
            return &n->keys[i];
    return NULL;
}

/* Links of a node that holds no key at all are not protected by keys. */
static bool is_concerned(const struct order_node *n)
{
    return n->keys_count > 0;
}

/* ------------------------------------------------------------------ list */

static json_t *missing_json(const struct survey *s, const uint8_t *id,
                            bool is_gone)
{
    json_t *names = json_array();

    for (size_t i = 0; i < s->nodes.count; i++) {
        const struct order_node *n = &s->nodes.nodes[i];
        if (is_concerned(n) && order_node_is_gone(n) == is_gone &&
            held_by(n, id) == NULL)
            (void)json_array_append_new(names, json_text(n->name));
    }
    return names;
}

static void count_holders(const struct survey *s, const uint8_t *id,
                          uint32_t *holding, uint32_t *dialing)
{
    *holding = *dialing = 0;
    for (size_t i = 0; i < s->nodes.count; i++) {
        const argus_HeldKey *held = held_by(&s->nodes.nodes[i], id);
        if (held == NULL || order_node_is_gone(&s->nodes.nodes[i]))
            continue;
        ++*holding;
        *dialing += held->dial;
    }
}

static json_t *key_json(const struct survey *s, const struct key_row *key)
{
    char id[ID_TEXT_SIZE];
    uint32_t holding, dialing;

    order_hex(key->id, ID_SIZE, id);
    count_holders(s, key->id, &holding, &dialing);
    return json_pack("{s:s, s:b, s:b, s:I, s:I, s:I, s:o, s:o}", "id", id,
                     "held", (int)key->is_held, "dial", (int)key->is_dialing,
                     "links", (json_int_t)key->links, "nodes",
                     (json_int_t)holding, "dialing", (json_int_t)dialing,
                     "missing", missing_json(s, key->id, false),
                     "missing_offline", missing_json(s, key->id, true));
}

/* Living nodes that hold no key: their links are protected by other means. */
static json_t *without_json(const struct survey *s)
{
    json_t *names = json_array();

    for (size_t i = 0; i < s->nodes.count; i++) {
        const struct order_node *n = &s->nodes.nodes[i];
        if (!is_concerned(n) && !order_node_is_gone(n))
            (void)json_array_append_new(names, json_text(n->name));
    }
    return names;
}

static void print_names(const char *head, const char *id, json_t *names)
{
    const char *separator = " ";
    json_t *name;
    size_t i;

    if (json_array_size(names) == 0)
        return;
    printf("%s%s:", head, id);
    json_array_foreach(names, i, name)
    {
        char *safe = table_escape(json_string_value(name));
        printf("%s%s", separator, safe != NULL ? safe : "");
        free(safe);
        separator = ", ";
    }
    putchar('\n');
}

static void print_table(const struct cli *cli, const struct survey *s,
                        json_t *keys)
{
    static const char *const titles[] = {"KEY",    "HERE",     ">LINKS",
                                         ">NODES", ">DIALING", NULL};
    struct table *t = table_new(titles);
    json_t *key;
    size_t i;

    for (i = 0; t != NULL && i < s->count; i++) {
        const struct key_row *row = &s->rows[i];
        uint32_t holding, dialing;
        char id[ID_TEXT_SIZE];
        order_hex(row->id, ID_SIZE, id);
        count_holders(s, row->id, &holding, &dialing);
        table_cell(t, COLOR_PLAIN, "%s", id);
        table_cell(t, row->is_dialing ? COLOR_GOOD : COLOR_PLAIN, "%s",
                   row->is_dialing ? "dials"
                   : row->is_held  ? "held"
                                   : "-");
        table_cell(t, COLOR_PLAIN, "%u", row->links);
        table_cell(t, COLOR_PLAIN, "%u", holding);
        table_cell(t, COLOR_PLAIN, "%u", dialing);
    }
    if (t != NULL)
        table_print(t, stdout, cli->width, cli->color);
    table_free(t);
    json_array_foreach(keys, i, key)
    {
        const char *id = json_string_value(json_object_get(key, "id"));
        print_names("Missing on nodes, ", id, json_object_get(key, "missing"));
        print_names("Missing on nodes that are offline, ", id,
                    json_object_get(key, "missing_offline"));
    }
}

static void print_survey(const struct cli *cli, const struct survey *s)
{
    json_t *keys = json_array(), *without = without_json(s);

    for (size_t i = 0; i < s->count; i++)
        (void)json_array_append_new(keys, key_json(s, &s->rows[i]));
    if (cli->json) {
        json_print(json_pack("{s:o, s:o, s:o}", "keys", keys, "without",
                             without, "coverage",
                             json_coverage(&s->nodes.end.coverage)));
        return;
    }
    print_table(cli, s, keys);
    print_names("Nodes that hold no key", "", without);
    cli_print_coverage(cli, &s->nodes.end);
    json_decref(keys);
    json_decref(without);
}

static int keys_list(struct cli *cli, int argc, char **argv)
{
    struct survey s;
    struct client c;

    int code = cli_open_plain(cli, argc, argv, "keys list", &c);
    if (code != EXIT_DONE || cli->help)
        return code;
    code = survey_take(cli, &c, &s);
    client_close(&c);
    if (code == EXIT_DONE) {
        print_survey(cli, &s);
        code = cli_coverage_code(&s.nodes.end);
    }
    survey_free(&s);
    return code;
}

/* ------------------------------------------------- orders: what they share */

enum act { ACT_ADD, ACT_USE, ACT_REMOVE };

struct rotation {
    enum act act;
    const char *key, *file;
    bool is_waiting;
    double wait_s; /* 0: to the end */
    struct order_work work;
    struct survey survey;
    uint8_t id[ID_SIZE]; /* of the key that it is about */
    char text[ID_TEXT_SIZE];
};

static argus_KeyringOrder *order_of(struct rotation *r)
{
    return &r->work.manifest.order.body.keys;
}

/* Names of nodes for a sentence: as many as fit, then how many more. */
struct names {
    char text[700];
    uint32_t count, more;
};

static void names_add(struct names *n, const char *name, const char *why)
{
    size_t used = strlen(n->text);

    n->count++;
    if (used + strlen(name) + strlen(why) + 4 > sizeof n->text)
        n->more++;
    else
        (void)snprintf(n->text + used, sizeof n->text - used, "%s%s%s%s",
                       used > 0 ? ", " : "", name, why[0] != '\0' ? " " : "",
                       why);
}

static void names_end(struct names *n)
{
    char more[32];

    if (n->more == 0)
        return;
    (void)snprintf(more, sizeof more, ", and %u more", n->more);
    size_t room = sizeof n->text - strlen(more) - 1;
    n->text[strlen(n->text) < room ? strlen(n->text) : room] = '\0';
    (void)strncat(n->text, more, sizeof n->text - strlen(n->text) - 1);
}

/* The one known key that begins so. */
static int find_key(struct rotation *r, const char *text)
{
    const struct cli *cli = r->work.cli;
    size_t found = 0;

    for (size_t i = 0; i < r->survey.count; i++)
        if (order_hex_begins(text, r->survey.rows[i].id, ID_SIZE)) {
            memcpy(r->id, r->survey.rows[i].id, ID_SIZE);
            found++;
        }
    if (found > 1)
        return cli_fail(cli, EXIT_BAD, "ambiguous",
                        "%zu keys begin with %s: give more digits", found,
                        text);
    if (found == 0)
        return cli_fail(cli, EXIT_BAD, "not-found",
                        "no node that is known here holds a key that begins "
                        "with %s; see argusctl keys list",
                        text);
    order_hex(r->id, ID_SIZE, r->text);
    return EXIT_DONE;
}

static enum key_bar bar_of(struct rotation *r, const struct order_node *n)
{
    static argus_NodeRecord record;

    record.keys_count = (pb_size_t)n->keys_count;
    memcpy(record.keys, n->keys, sizeof record.keys);
    return order_keys_bar(&r->work.was.body.keys, order_of(r), &record);
}

/* Who would be cut off: the living stand in the way, of the others is warned.
 */
static int check_nodes(struct rotation *r)
{
    const struct order_nodes *all = &r->survey.nodes;
    struct names here = {{0}, 0, 0}, away = {{0}, 0, 0};

    for (size_t i = 0; i < all->count; i++) {
        const struct order_node *n = &all->nodes[i];
        enum key_bar bar = bar_of(r, n);
        if (bar != KEY_BAR_NONE)
            names_add(order_node_is_gone(n) ? &away : &here, n->name,
                      key_bar_text(bar));
    }
    names_end(&here);
    names_end(&away);
    if (here.count > 0)
        return cli_fail(r->work.cli, EXIT_BAD, "refused",
                        "the key %s cannot be %s yet: %s", r->text,
                        r->act == ACT_USE ? "used" : "removed", here.text);
    if (away.count > 0 && r->act == ACT_REMOVE)
        cli_note("warning: who is offline and comes back without another key "
                 "is locked out: %s",
                 away.text);
    return EXIT_DONE;
}

/* --------------------------------------------------------------- waiting */

static bool has_done(const struct rotation *r, const struct order_node *n)
{
    const argus_HeldKey *held = held_by(n, r->id);

    switch (r->act) {
    case ACT_ADD: return held != NULL;
    case ACT_USE: return held != NULL && held->dial;
    case ACT_REMOVE: return held == NULL;
    }
    return false;
}

/* Has another order taken the place of this one? Complains. */
static int check_still_ours(struct rotation *r)
{
    static struct config_version head;
    const struct order_work *w = &r->work;
    bool is_found = false;

    int code = config_get(w->cli, &r->work.client, order_name(ORDER_KEYS), 0,
                          &head, &is_found);
    if (code != EXIT_DONE)
        return code;
    if (is_found && head.manifest.version == w->manifest.version &&
        memcmp(head.reply.hash, w->hash, sizeof w->hash) != 0)
        return cli_fail(w->cli, EXIT_BAD, "superseded",
                        "another order about keys won: version %u is in force, "
                        "and it is not this one",
                        head.manifest.version);
    return EXIT_DONE;
}

static double monotonic_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail_late(const struct rotation *r, struct names *late)
{
    names_end(late);
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr); /* below the line of progress */
    return cli_fail(r->work.cli, EXIT_BAD, "timeout",
                    "the time is up, and %u nodes have not followed: %s",
                    late->count, late->text);
}

/* One line to watch at a terminal; one for each change elsewhere. */
static void tell_late(unsigned count, unsigned *told)
{
    bool is_tty = isatty(STDERR_FILENO);

    if (count == *told)
        return;
    *told = count;
    fprintf(stderr,
            is_tty ? "\r\033[K%u nodes have not followed yet%s"
                   : "%u nodes have not followed yet%s",
            count, is_tty && count > 0 ? "" : "\n");
    (void)fflush(stderr);
}

static struct names find_late(const struct rotation *r)
{
    struct names late = {{0}, 0, 0};

    for (size_t i = 0; i < r->survey.nodes.count; i++) {
        const struct order_node *n = &r->survey.nodes.nodes[i];
        if (is_concerned(n) && !order_node_is_gone(n) && !has_done(r, n))
            names_add(&late, n->name, "");
    }
    return late;
}

/* Until every node that is not offline and holds keys has followed. */
static int wait_for_nodes(struct rotation *r)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
    double end_s = monotonic_s() + r->wait_s;
    unsigned told = 0;

    for (;;) {
        survey_free(&r->survey);
        int code = check_still_ours(r);
        if (code == EXIT_DONE)
            code = survey_take(r->work.cli, &r->work.client, &r->survey);
        if (code != EXIT_DONE)
            return code;
        struct names late = find_late(r);
        tell_late(late.count, &told);
        if (late.count == 0 &&
            cli_coverage_code(&r->survey.nodes.end) == EXIT_DONE)
            return EXIT_DONE;
        if (r->wait_s > 0 && monotonic_s() >= end_s)
            return fail_late(r, &late);
        (void)nanosleep(&pause, NULL);
    }
}

static void print_given(const struct rotation *r)
{
    const uint32_t version = r->work.manifest.version;

    switch (r->act) {
    case ACT_ADD:
        printf("The key %s goes to all nodes by version %u.\n", r->text,
               version);
        break;
    case ACT_USE:
        printf("All nodes dial with the key %s by version %u.\n", r->text,
               version);
        break;
    case ACT_REMOVE:
        printf("All nodes give up the key %s by version %u.\n", r->text,
               version);
        break;
    }
}

static int give(struct rotation *r)
{
    int code = order_give(&r->work);

    if (code == EXIT_DONE && r->is_waiting)
        code = wait_for_nodes(r);
    if (code != EXIT_DONE)
        return code;
    if (r->work.cli->json)
        json_print(json_pack("{s:s, s:I}", "id", r->text, "version",
                             (json_int_t)r->work.manifest.version));
    else
        print_given(r);
    return EXIT_DONE;
}

/* ------------------------------------------------------------------- add */

static bool keep_wrapped(void *context, const argus_Reply *row)
{
    if (row->which_body == argus_Reply_key_wrap_tag)
        *(argus_KeyWrapReply *)context = row->body.key_wrap;
    return true;
}

/* The daemon seals it with a key that all nodes have. */
static int wrap(struct rotation *r, const char *path, argus_WrappedKey *out)
{
    static argus_Request request;
    argus_KeyWrapReply reply = argus_KeyWrapReply_init_zero;
    const struct cli *cli = r->work.cli;
    struct argus_error err;
    bool is_exposed = false;

    request.which_body = argus_Request_key_wrap_tag;
    if (signer_read_mesh(path, request.body.key_wrap.secret, r->text,
                         &is_exposed, &err) != ARGUS_OK)
        return cli_fail(cli, EXIT_BAD, "key", "%s", err.text);
    if (is_exposed)
        cli_note("warning: others may read the key in %s (chmod 600)", path);
    int code =
        cli_next(cli, &r->work.client, &request, keep_wrapped, &reply, NULL);
    explicit_bzero(&request, sizeof request);
    if (code == EXIT_DONE && !reply.has_key)
        return cli_fail(cli, EXIT_BAD, "no-answer",
                        "the daemon gave an answer to another question");
    *out = reply.key;
    memcpy(r->id, reply.key.id, ID_SIZE);
    return code;
}

static int check_room(struct rotation *r)
{
    struct names full = {{0}, 0, 0};

    for (size_t i = 0; i < r->survey.nodes.count; i++) {
        const struct order_node *n = &r->survey.nodes.nodes[i];
        if (n->keys_count == HELD_MAX && held_by(n, r->id) == NULL &&
            !order_node_is_gone(n))
            names_add(&full, n->name, "");
    }
    names_end(&full);
    return full.count == 0
               ? EXIT_DONE
               : cli_fail(r->work.cli, EXIT_BAD, "no-room",
                          "nodes that hold %zu keys have no room for another, "
                          "remove one first: %s",
                          HELD_MAX, full.text);
}

static void drop_removed(argus_KeyringOrder *o, const uint8_t id[ID_SIZE])
{
    pb_size_t kept = 0;

    for (pb_size_t i = 0; i < o->removed_count; i++)
        if (memcmp(o->removed[i], id, ID_SIZE) != 0)
            memmove(o->removed[kept++], o->removed[i], ID_SIZE);
    o->removed_count = kept;
}

static int act_add(struct rotation *r, const char *path)
{
    argus_KeyringOrder *o = order_of(r);
    argus_WrappedKey wrapped;

    int code = wrap(r, path, &wrapped);
    if (code == EXIT_DONE)
        code = check_room(r);
    if (code != EXIT_DONE)
        return code;
    if (order_adds(o, r->id))
        return cli_fail(r->work.cli, EXIT_BAD, "known",
                        "the key %s was added already", r->text);
    if (o->added_count == ADDED_MAX)
        return cli_fail(r->work.cli, EXIT_BAD, "no-room",
                        "%zu keys were added and are not removed: remove one "
                        "first",
                        ADDED_MAX);
    drop_removed(o, r->id);
    o->added[o->added_count++] = wrapped;
    return give(r);
}

/* ----------------------------------------------------------- use, remove */

static int act_use(struct rotation *r, const char *text)
{
    argus_KeyringOrder *o = order_of(r);

    int code = find_key(r, text);
    if (code != EXIT_DONE)
        return code;
    if (o->dial.size != 0 && memcmp(o->dial.bytes, r->id, ID_SIZE) == 0)
        return cli_fail(r->work.cli, EXIT_BAD, "known",
                        "the key %s is the one to dial with already", r->text);
    drop_removed(o, r->id); /* somebody holds it all the same */
    o->dial.size = ID_SIZE;
    memcpy(o->dial.bytes, r->id, ID_SIZE);
    code = check_nodes(r);
    return code == EXIT_DONE ? give(r) : code;
}

static void drop_added(argus_KeyringOrder *o, const uint8_t id[ID_SIZE])
{
    pb_size_t kept = 0;

    for (pb_size_t i = 0; i < o->added_count; i++)
        if (memcmp(o->added[i].id, id, ID_SIZE) != 0)
            o->added[kept++] = o->added[i];
    o->added_count = kept;
}

/* Of a hundred rotations the last ones are remembered: a node that was away for
 * longer than that is not known any more. */
static void add_removed(argus_KeyringOrder *o, const uint8_t id[ID_SIZE])
{
    if (o->removed_count == REMOVED_MAX)
        memmove(o->removed[0], o->removed[1], --o->removed_count * ID_SIZE);
    memcpy(o->removed[o->removed_count++], id, ID_SIZE);
}

static int act_remove(struct rotation *r, const char *text)
{
    argus_KeyringOrder *o = order_of(r);

    int code = find_key(r, text);
    if (code != EXIT_DONE)
        return code;
    if (o->dial.size != 0 && memcmp(o->dial.bytes, r->id, ID_SIZE) == 0)
        return cli_fail(r->work.cli, EXIT_BAD, "refused",
                        "the key %s cannot be removed: it is the one to dial "
                        "with; say argusctl keys use ANOTHER first",
                        r->text);
    if (order_removes(o, r->id))
        return cli_fail(r->work.cli, EXIT_BAD, "known",
                        "the key %s was removed already", r->text);
    drop_added(o, r->id);
    add_removed(o, r->id);
    code = check_nodes(r);
    return code == EXIT_DONE ? give(r) : code;
}

/* -------------------------------------------------------------- the words */

static const struct option rotation_options[] = {
    {"key", required_argument, NULL, OPTION_KEY},
    {"file", required_argument, NULL, OPTION_FILE},
    {"wait", optional_argument, NULL, OPTION_WAIT},
    {0},
};

static bool on_option(struct cli *cli, void *context, int option,
                      const char *value)
{
    struct rotation *r = context;

    switch (option) {
    case OPTION_KEY: r->key = value; return true;
    case OPTION_FILE:
        r->file = value;
        if (r->act == ACT_ADD)
            return true;
        (void)cli_fail(cli, EXIT_USAGE, "usage", "--file belongs to keys add");
        return false;
    default:
        r->is_waiting = true;
        return config_take_wait(cli, value, &r->wait_s);
    }
}

static int run_act(struct rotation *r, struct cli *cli, const char *operand)
{
    static int (*const acts[])(struct rotation *, const char *) = {
        [ACT_ADD] = act_add, [ACT_USE] = act_use, [ACT_REMOVE] = act_remove};

    int code = order_begin(cli, r->key, ORDER_KEYS, &r->work);
    if (code == EXIT_DONE)
        code = survey_take(cli, &r->work.client, &r->survey);
    if (code == EXIT_DONE)
        code = acts[r->act](r, operand);
    order_finish(&r->work);
    survey_free(&r->survey);
    return code;
}

static int keys_rotate(struct cli *cli, enum act act, int argc, char **argv)
{
    static struct rotation r;
    const struct cli_options options = {
        .own = rotation_options, .on_option = on_option, .context = &r};

    memset(&r, 0, sizeof r);
    r.act = act;
    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (cli_refuse_watch(cli, "keys"))
        return EXIT_USAGE;
    const char *operand = r.file != NULL ? r.file : argv[at];
    if (argc - at != (r.file == NULL))
        return cli_fail(
            cli, EXIT_USAGE, "usage", "keys %s takes one %s", argv[0],
            act == ACT_ADD ? "FILE with a key (keygen mesh)" : "ID of a key");
    return run_act(&r, cli, operand);
}

static int run_keys(struct cli *cli, int argc, char **argv)
{
    int at = cli_parse(cli, argc, argv, NULL); /* up to the next word */

    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < argc && strcmp(argv[at], "list") == 0)
        return keys_list(cli, argc - at, argv + at);
    if (at < argc && strcmp(argv[at], "add") == 0)
        return keys_rotate(cli, ACT_ADD, argc - at, argv + at);
    if (at < argc && strcmp(argv[at], "use") == 0)
        return keys_rotate(cli, ACT_USE, argc - at, argv + at);
    if (at < argc && strcmp(argv[at], "remove") == 0)
        return keys_rotate(cli, ACT_REMOVE, argc - at, argv + at);
    return cli_fail(cli, EXIT_USAGE, "usage",
                    "keys list, add, use or remove; see argusctl keys --help");
}

const struct verb verb_keys = {
    .name = "keys",
    .arguments = "list | add FILE | use ID | remove ID  (--key K)",
    .help =
        "The keys of the mesh, and their rotation: make a new one (keygen "
        "mesh),\n"
        "add it, use it, remove the old one. Each step is an order that the\n"
        "operator's private key K signs and that every node follows.\n"
        "\n"
        "  list                  which nodes hold which keys, and dial with "
        "them\n"
        "  add FILE --key K      give the key in FILE to all nodes, sealed by "
        "one\n"
        "                        that they have; as root, or as the user of "
        "the\n"
        "                        daemon (--file FILE is the same)\n"
        "  use ID --key K        dial with it; refused while a node that is "
        "not\n"
        "                        offline does not hold it\n"
        "  remove ID --key K     give it up; refused while such a node dials "
        "with\n"
        "                        it or holds no other\n"
        "\n"
        "  ID                    the first digits suffice\n"
        "  --wait[=S]            follow until every node that is not offline "
        "has\n"
        "                        done so, for at most S seconds; else exit "
        "code 1\n",
    .run = run_keys,
};
