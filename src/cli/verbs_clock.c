/* verbs_clock.c - this node's clock, those that are wrong, and a new epoch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/json.h"
#include "cli/memory.h"
#include "cli/orders.h"
#include "cli/table.h"

/* ------------------------------------------------------------------ clock */

struct clocks {
    argus_ClockReply own;
    bool has_own;
    argus_ClockNodeReply *nodes;
    size_t count, room;
    argus_End end;
};

static bool keep_clock(void *context, const argus_Reply *row)
{
    struct clocks *all = context;

    if (row->which_body == argus_Reply_clock_tag) {
        all->own = row->body.clock;
        all->has_own = true;
    }
    if (row->which_body != argus_Reply_clock_node_tag)
        return true;
    all->nodes =
        memory_grow(all->nodes, all->count, &all->room, sizeof *all->nodes);
    all->nodes[all->count++] = row->body.clock_node;
    return true;
}

static int by_name(const void *a, const void *b)
{
    const argus_ClockNodeReply *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order != 0 ? order : memcmp(x->id, y->id, sizeof x->id);
}

static json_t *node_json(const argus_ClockNodeReply *n)
{
    return json_pack("{s:o, s:o, s:s, s:o, s:I}", "name", json_text(n->name),
                     "id", json_id(n->id), "state", member_state_text(n->state),
                     "offset_s", json_number(n->offset_s), "epoch",
                     (json_int_t)n->epoch);
}

static void print_json(const struct clocks *all)
{
    const argus_ClockReply *c = &all->own;
    json_t *nodes = json_array();

    for (size_t i = 0; i < all->count; i++)
        (void)json_array_append_new(nodes, node_json(&all->nodes[i]));
    json_print(json_pack(
        "{s:o, s:o, s:o, s:b, s:I, s:o, s:b, s:I, s:o, s:o, s:o, s:o}",
        "offset_s", json_number(c->offset_s), "uncertainty_s",
        json_number(c->uncertainty_s), "drift_ppm", json_number(c->drift_ppm),
        "drifting", (int)c->drifting, "samples", (json_int_t)c->samples,
        "state", json_text(c->state), "alarm", (int)c->alarm, "epoch",
        (json_int_t)c->epoch, "step_s", json_number(c->step_s), "steps",
        json_count(c->step_count), "alarmed", nodes, "coverage",
        json_coverage(&all->end.coverage)));
}

static void row(struct table *t, const char *name)
{
    table_cell(t, COLOR_FAINT, "%s", name);
}

static void own_table(const struct cli *cli, const argus_ClockReply *c)
{
    static const char *const titles[] = {"THIS NODE", "", NULL};
    struct table *t = table_new(titles);

    if (t == NULL)
        return;
    row(t, "state");
    table_cell(t,
               c->alarm                           ? COLOR_BAD
               : strcmp(c->state, "doubted") == 0 ? COLOR_WARN
                                                  : COLOR_PLAIN,
               "%s", c->state);
    row(t, "offset");
    if (isfinite(c->offset_s))
        table_cell(t, c->alarm ? COLOR_BAD : COLOR_PLAIN,
                   "%+.3f ms \xc2\xb1 %.3f ms against the mesh",
                   c->offset_s * 1e3, c->uncertainty_s * 1e3);
    else
        table_cell(t, COLOR_PLAIN, "not measured yet");
    row(t, "drift");
    if (isfinite(c->drift_ppm))
        table_cell(t, c->drifting ? COLOR_WARN : COLOR_PLAIN, "%+.1f ppm",
                   c->drift_ppm);
    else
        table_cell(t, COLOR_PLAIN, "not known yet");
    row(t, "samples");
    table_cell(t, COLOR_PLAIN, "%u nodes", c->samples);
    row(t, "epoch");
    table_cell(t, COLOR_PLAIN, "%u", c->epoch);
    if (c->step_count > 0) {
        row(t, "steps");
        table_cell(t, COLOR_WARN, "%llu, the last by %+.3f s",
                   (unsigned long long)c->step_count, c->step_s);
    }
    table_print(t, stdout, cli->width, cli->color);
    table_free(t);
}

static void alarmed_table(const struct cli *cli, const struct clocks *all)
{
    static const char *const titles[] = {"ALARMED", "STATE", "OFFSET", "EPOCH",
                                         NULL};
    struct table *t = table_new(titles);

    if (t == NULL)
        return;
    for (size_t i = 0; i < all->count; i++) {
        const argus_ClockNodeReply *n = &all->nodes[i];
        table_cell(t, COLOR_BAD, "%s", n->name);
        table_cell(t, COLOR_PLAIN, "%s", member_state_text(n->state));
        table_cell(t, COLOR_PLAIN, "%+.3f s", n->offset_s);
        table_cell(t, COLOR_PLAIN, "%u", n->epoch);
    }
    table_print(t, stdout, cli->width, cli->color);
    table_free(t);
}

static void print_clocks(const struct cli *cli, const struct clocks *all)
{
    own_table(cli, &all->own);
    if (all->count > 0) {
        puts("");
        alarmed_table(cli, all);
    }
    cli_print_coverage(cli, &all->end);
}

/* A clock that is wrong on a node that can be asked, or here. */
static bool is_bad_news(const struct clocks *all)
{
    bool is_bad = all->own.alarm;

    for (size_t i = 0; i < all->count; i++)
        is_bad |= all->nodes[i].state == argus_MemberState_MEMBER_ONLINE ||
                  all->nodes[i].state == argus_MemberState_MEMBER_SUSPECT;
    return is_bad;
}

static int show(struct cli *cli)
{
    const argus_Request request = {.which_body = argus_Request_clock_tag};
    struct clocks all = {.has_own = false};

    int code = cli_ask(cli, &request, false, keep_clock, &all, &all.end);
    if (code == EXIT_DONE && !all.has_own)
        code = cli_fail(cli, EXIT_BAD, "failed",
                        "the daemon says nothing of its clock");
    if (code == EXIT_DONE) {
        if (all.count > 1)
            qsort(all.nodes, all.count, sizeof all.nodes[0], by_name);
        if (cli->json)
            print_json(&all);
        else
            print_clocks(cli, &all);
        code = is_bad_news(&all) ? EXIT_BAD : cli_coverage_code(&all.end);
    }
    free(all.nodes);
    return code;
}

/* ------------------------------------------------------------ clock reset */

/* The epoch follows the one in force, and the one that the node is in: an order
 * may be gone with the operator who gave it. */
static int give_epoch(struct order_work *w)
{
    const argus_Request request = {.which_body = argus_Request_clock_tag};
    argus_ClockOrder *order = &w->manifest.order.body.clock;
    struct clocks all = {.has_own = false};

    int code = cli_next(w->cli, &w->client, &request, keep_clock, &all, NULL);
    free(all.nodes);
    if (code != EXIT_DONE)
        return code;
    if (all.own.epoch > order->epoch)
        order->epoch = all.own.epoch;
    if (order->epoch == UINT32_MAX)
        return cli_fail(w->cli, EXIT_BAD, "no-room",
                        "the numbers of epochs are used up");
    order->epoch++;
    return order_give(w);
}

static int reset(struct cli *cli, int argc, char **argv)
{
    static struct order_work w;
    const char *key = NULL;
    int code;

    int at = order_parse(cli, argc, argv, "clock reset", &key, &code);
    if (at < 0)
        return code;
    if (argc != at)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "clock reset takes no arguments but --key");
    code = order_begin(cli, key, ORDER_CLOCK, &w);
    if (code == EXIT_DONE)
        code = give_epoch(&w);
    if (code == EXIT_DONE && cli->json)
        json_print(json_pack("{s:I, s:I}", "epoch",
                             (json_int_t)w.manifest.order.body.clock.epoch,
                             "version", (json_int_t)w.manifest.version));
    else if (code == EXIT_DONE)
        printf("Clock epoch %u begins.\n", w.manifest.order.body.clock.epoch);
    order_finish(&w);
    return code;
}

static int run_clock(struct cli *cli, int argc, char **argv)
{
    int at = cli_parse(cli, argc, argv, NULL); /* up to the next word */

    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at == argc)
        return show(cli);
    if (strcmp(argv[at], "reset") == 0)
        return reset(cli, argc - at, argv + at);
    return cli_fail(cli, EXIT_USAGE, "usage",
                    "clock, or clock reset --key K; see argusctl clock --help");
}

const struct verb verb_clock = {
    .name = "clock",
    .arguments = "[reset --key K]",
    .help =
        "This node's wall clock against the median of the others', and every\n"
        "node whose clock is alarmed. Exit code 1 when there is one.\n"
        "\n"
        "  reset --key K   begins a new epoch on every node that trusts the\n"
        "                  operator whose private key K is: what was measured\n"
        "                  before counts no more, and stamps that ran ahead "
        "go\n"
        "                  back to the time of the clocks. Set the clocks "
        "right\n"
        "                  first\n",
    .run = run_clock,
};
