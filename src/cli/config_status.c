/* config_status.c - how the nodes are doing with a bundle, and waiting until
 * they are through. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/node_id.h"
#include "cli/config.h"
#include "cli/json.h"
#include "cli/memory.h"
#include "cli/table.h"
#include "cli/when.h"

#define POLL_MIN_US 200000u
/** The daemon ends a connection that asks nothing for ten seconds. */
#define POLL_MAX_US 5000000u
/** Asking costs the daemon; it may take one part in so many of its time. */
#define POLL_SHARE 10

/* ------------------------------------------------------- state of one node */

#define NODE_STATE_MAP(X)                                                      \
    X(NODE_PENDING, "pending")                                                 \
    X(NODE_APPLYING, "applying")                                               \
    X(NODE_APPLIED, "applied")                                                 \
    X(NODE_FAILED, "failed")                                                   \
    X(NODE_ROLLED_BACK, "rolled-back")                                         \
    X(NODE_REFUSED, "refused")                                                 \
    X(NODE_UNHEARD, "unheard")

enum node_phase {
#define NODE_STATE_ENUM(name, text) name,
    NODE_STATE_MAP(NODE_STATE_ENUM)
#undef NODE_STATE_ENUM
        NODE_STATE_COUNT
};

static const char *const phase_texts[] = {
#define NODE_STATE_TEXT(name, text) text,
    NODE_STATE_MAP(NODE_STATE_TEXT)
#undef NODE_STATE_TEXT
};

struct node {
    struct node_id id;
    argus_MemberState member;
    enum node_phase phase;
    uint32_t running;
    char name[128];
    char error[256];
    char warnings[2][160];
    uint32_t warnings_count;
};

/* One answer. */
struct survey {
    const struct cli *cli;
    argus_BundleStatusReply head;
    struct node *nodes;
    size_t count, room;
    uint32_t totals[NODE_STATE_COUNT];
    argus_End end;
};

/* Known to be gone: nobody waits for it, and it lowers no coverage. */
static bool is_gone(const struct node *n)
{
    return n->member == argus_MemberState_MEMBER_OFFLINE ||
           n->member == argus_MemberState_MEMBER_LEFT;
}

static bool is_bad(enum node_phase phase)
{
    return phase == NODE_FAILED || phase == NODE_ROLLED_BACK ||
           phase == NODE_REFUSED;
}

static bool is_open(enum node_phase phase)
{
    return phase == NODE_PENDING || phase == NODE_APPLYING ||
           phase == NODE_UNHEARD;
}

static bool is_removed(const struct survey *s)
{
    return strcmp(s->head.state, "removed") == 0;
}

/* Does the node speak of the version in question, or of one before? */
static bool is_of_head(const argus_BundleState *b,
                       const argus_BundleStatusReply *head)
{
    return b->desired == head->version &&
           (b->desired_hash.size == 0 ||
            memcmp(b->desired_hash.bytes, head->hash, b->desired_hash.size) ==
                0);
}

static enum node_phase phase_of(const argus_BundleNodeReply *row,
                                const struct survey *s)
{
    const argus_BundleState *b = &row->bundle;

    if (row->unheard || !row->has_bundle)
        return NODE_UNHEARD;
    if (is_removed(s))
        return b->running != 0 ? NODE_APPLYING : NODE_APPLIED;
    if (!is_of_head(b, &s->head))
        return NODE_PENDING;
    switch (b->phase) {
    case argus_BundlePhase_BUNDLE_NONE:
    case argus_BundlePhase_BUNDLE_PENDING: return NODE_PENDING;
    case argus_BundlePhase_BUNDLE_APPLYING: return NODE_APPLYING;
    case argus_BundlePhase_BUNDLE_APPLIED: return NODE_APPLIED;
    case argus_BundlePhase_BUNDLE_FAILED: return NODE_FAILED;
    case argus_BundlePhase_BUNDLE_ROLLED_BACK: return NODE_ROLLED_BACK;
    case argus_BundlePhase_BUNDLE_REFUSED: return NODE_REFUSED;
    }
    return NODE_PENDING;
}

static void add_node(struct survey *s, const argus_BundleNodeReply *row)
{
    s->nodes = memory_grow(s->nodes, s->count, &s->room, sizeof *s->nodes);
    struct node *n = &s->nodes[s->count++];
    memset(n, 0, sizeof *n);
    n->id = node_id_of(row->id);
    n->member = row->member;
    n->phase = phase_of(row, s);
    n->running = row->bundle.running;
    (void)snprintf(n->name, sizeof n->name, "%s", row->node);
    if (n->phase != NODE_PENDING) { /* else it is about an earlier version */
        (void)snprintf(n->error, sizeof n->error, "%s", row->bundle.error);
        n->warnings_count = row->bundle.warnings_count;
        memcpy(n->warnings, row->bundle.warnings, sizeof n->warnings);
    }
    s->totals[n->phase]++;
}

static bool on_row(void *context, const argus_Reply *row)
{
    struct survey *s = context;

    if (row->which_body == argus_Reply_bundle_status_tag)
        s->head = row->body.bundle_status;
    else if (row->which_body == argus_Reply_bundle_node_tag)
        add_node(s, &row->body.bundle_node);
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct node *x = a, *y = b;
    int order = strcmp(x->name, y->name);

    return order != 0 ? order : node_id_compare(&x->id, &y->id);
}

static void survey_free(struct survey *s)
{
    free(s->nodes);
    memset(s, 0, sizeof *s);
}

static int survey_take(const struct cli *cli, struct client *c,
                       const char *name, struct survey *out)
{
    argus_Request request = {.which_body = argus_Request_bundle_status_tag};

    memset(out, 0, sizeof *out);
    out->cli = cli;
    (void)snprintf(request.body.bundle_status.name,
                   sizeof request.body.bundle_status.name, "%s", name);
    int code = cli_next(cli, c, &request, on_row, out, &out->end);
    if (code != EXIT_DONE)
        survey_free(out);
    else if (out->count > 1)
        qsort(out->nodes, out->count, sizeof out->nodes[0], by_name);
    return code;
}

static bool survey_is_settled(const struct survey *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (is_open(s->nodes[i].phase) && !is_gone(&s->nodes[i]))
            return false;
    return true;
}

static uint32_t survey_bad(const struct survey *s)
{
    return s->totals[NODE_FAILED] + s->totals[NODE_ROLLED_BACK] +
           s->totals[NODE_REFUSED];
}

/* Nodes that nothing is known of are missing in the answer. */
static void count_unheard(struct survey *s)
{
    argus_Coverage *c = &s->end.coverage;
    uint32_t unheard = 0;

    for (size_t i = 0; i < s->count; i++)
        unheard += s->nodes[i].phase == NODE_UNHEARD && !is_gone(&s->nodes[i]);
    c->contributed = c->contributed > unheard ? c->contributed - unheard : 0;
}

/* -------------------------------------------------------------- printing */

static const char *survey_state(const struct survey *s)
{
    if (is_removed(s))
        return "removed";
    return survey_is_settled(s) ? "complete" : "rolling";
}

static json_t *node_json(const struct node *n, const struct survey *s)
{
    json_t *warnings = json_array();

    for (uint32_t i = 0; i < n->warnings_count; i++)
        (void)json_array_append_new(warnings, json_text(n->warnings[i]));
    return json_pack(
        "{s:o, s:o, s:s, s:I, s:I, s:s, s:o, s:o}", "node", json_text(n->name),
        "id", json_id(n->id.bytes), "member", member_state_text(n->member),
        "desired", is_removed(s) ? (json_int_t)0 : (json_int_t)s->head.version,
        "running", (json_int_t)n->running, "state", phase_texts[n->phase],
        "error", json_text(n->error), "warnings", warnings);
}

static json_t *survey_json(const struct survey *s)
{
    json_t *totals = json_object();
    json_t *nodes = json_array();

    for (int i = 0; i < NODE_STATE_COUNT; i++)
        (void)json_object_set_new(totals, phase_texts[i],
                                  json_integer(s->totals[i]));
    for (size_t i = 0; i < s->count; i++)
        (void)json_array_append_new(nodes, node_json(&s->nodes[i], s));
    return json_pack("{s:o, s:I, s:s, s:n, s:o, s:o, s:o, s:o}", "name",
                     json_text(s->head.name), "version",
                     (json_int_t)s->head.version, "state", survey_state(s),
                     "wave", "reason", json_text(s->head.reason), "totals",
                     totals, "nodes", nodes, "coverage",
                     json_coverage(&s->end.coverage));
}

static enum table_color phase_color(enum node_phase phase)
{
    return phase == NODE_APPLIED ? COLOR_GOOD
           : is_bad(phase)       ? COLOR_BAD
           : is_open(phase)      ? COLOR_WARN
                                 : COLOR_PLAIN;
}

/* Whole, in lines that fit: what went wrong must not be cut off. */
static void print_wrapped(FILE *out, const struct cli *cli, const char *head,
                          const char *text)
{
    char *safe_head = table_escape(head);
    char *safe = table_escape(text);
    int width = cli->width > 24 ? cli->width - 4 : 0;

    fprintf(out, "%s:\n", safe_head != NULL ? safe_head : "");
    for (char *rest = safe; rest != NULL && *rest != '\0';) {
        size_t length = strlen(rest);
        if (width > 0 && length > (size_t)width) {
            length = (size_t)width;
            while (length > 0 && rest[length] != ' ')
                length--;
            if (length == 0) { /* one long word: never within a character */
                length = (size_t)width;
                while (length > 1 &&
                       ((unsigned char)rest[length] & 0xc0) == 0x80)
                    length--;
            }
        }
        fprintf(out, "    %.*s\n", (int)length, rest);
        rest += length;
        rest += strspn(rest, " ");
    }
    free(safe_head);
    free(safe);
}

static void print_texts(FILE *out, const struct cli *cli, const struct node *n)
{
    if (n->error[0] != '\0')
        print_wrapped(out, cli, n->name, n->error);
    for (uint32_t i = 0; i < n->warnings_count; i++) {
        char head[160];
        (void)snprintf(head, sizeof head, "%s, warning", n->name);
        print_wrapped(out, cli, head, n->warnings[i]);
    }
}

static void print_totals(FILE *out, const struct survey *s)
{
    const char *separator = ": ";

    fprintf(out, "%s %u, %s", s->head.name, s->head.version, survey_state(s));
    if (s->head.reason[0] != '\0') {
        char *safe = table_escape(s->head.reason);
        fprintf(out, " (%s)", safe != NULL ? safe : "");
        free(safe);
    }
    for (int i = 0; i < NODE_STATE_COUNT; i++) {
        if (s->totals[i] == 0)
            continue;
        fprintf(out, "%s%u %s", separator, s->totals[i], phase_texts[i]);
        separator = ", ";
    }
    if (s->count == 0)
        fprintf(out, "%s",
                is_removed(s) ? ": no node runs it any more"
                              : ": its target means no node known");
    fputc('\n', out);
}

static void print_table(const struct cli *cli, const struct survey *s)
{
    static const char *const titles[] = {"NODE",     "STATE", ">DESIRED",
                                         ">RUNNING", "",      NULL};
    struct table *t = table_new(titles);

    print_totals(stdout, s);
    if (t == NULL || s->count == 0) {
        table_free(t);
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct node *n = &s->nodes[i];
        table_cell(t, COLOR_PLAIN, "%s", n->name);
        table_cell(t, phase_color(n->phase), "%s", phase_texts[n->phase]);
        if (is_removed(s))
            table_cell(t, COLOR_PLAIN, "-");
        else
            table_cell(t, COLOR_PLAIN, "%u", s->head.version);
        if (n->running == 0)
            table_cell(t, COLOR_PLAIN, "-");
        else
            table_cell(t, COLOR_PLAIN, "%u", n->running);
        table_cell(t, COLOR_WARN, "%s",
                   n->member == argus_MemberState_MEMBER_ONLINE
                       ? ""
                       : member_state_text(n->member));
    }
    table_print(t, stdout, cli->width, cli->color);
    table_free(t);
    for (size_t i = 0; i < s->count; i++)
        print_texts(stdout, cli, &s->nodes[i]);
}

/* ---------------------------------------------------------------- status */

int config_status(struct cli *cli, int argc, char **argv)
{
    static const struct cli_options options;
    struct survey s;
    struct client c;

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (argc - at != 1)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "config status takes one NAME");
    if (!config_name_is_sound(cli, argv[at]))
        return EXIT_USAGE;
    int code = cli_connect(cli, &c);
    if (code != EXIT_DONE)
        return code;
    code = survey_take(cli, &c, argv[at], &s);
    client_close(&c);
    if (code != EXIT_DONE)
        return code;
    count_unheard(&s);
    if (cli->json) {
        json_print(survey_json(&s));
    } else {
        print_table(cli, &s);
        cli_print_coverage(cli, &s.end);
    }
    code = survey_bad(&s) > 0 ? EXIT_BAD : cli_coverage_code(&s.end);
    survey_free(&s);
    return code;
}

/* --------------------------------------------------------------- waiting */

struct watcher {
    const struct cli *cli;
    const struct config_wait *wait;
    struct survey last;
    bool has_bar; /* a line of progress stands on the terminal */
};

static const struct node *find_node(const struct survey *s,
                                    const struct node_id *id, size_t near)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct node *n = &s->nodes[(near + i) % s->count];
        if (node_id_is_equal(&n->id, id))
            return n;
    }
    return NULL;
}

static void clear_bar(struct watcher *w)
{
    if (w->has_bar)
        fputs("\r\033[K", stderr);
    w->has_bar = false;
}

/* One line for each change; at a terminal only for what went wrong. */
static void tell_change(struct watcher *w, const struct node *n, bool is_tty)
{
    if (is_tty && !is_bad(n->phase))
        return;
    clear_bar(w);
    char *safe = table_escape(n->name);
    fprintf(stderr, "%s: %s\n", safe != NULL ? safe : "",
            phase_texts[n->phase]);
    free(safe);
}

static void tell_changes(struct watcher *w, const struct survey *now)
{
    bool is_tty = isatty(STDERR_FILENO);

    for (size_t i = 0; i < now->count; i++) {
        const struct node *n = &now->nodes[i];
        const struct node *old = find_node(&w->last, &n->id, i);
        if (old == NULL || old->phase != n->phase)
            tell_change(w, n, is_tty);
    }
    if (!is_tty)
        return;
    clear_bar(w);
    fprintf(stderr, "%s %u: %u of %zu applied, %u on the way", now->head.name,
            now->head.version, now->totals[NODE_APPLIED], now->count,
            now->totals[NODE_PENDING] + now->totals[NODE_APPLYING] +
                now->totals[NODE_UNHEARD]);
    w->has_bar = true;
    (void)fflush(stderr);
}

/* Another push won when the head is no longer ours. */
static bool is_superseded(const struct survey *s, const struct config_wait *w)
{
    return s->head.version != w->version ||
           memcmp(s->head.hash, w->hash, sizeof w->hash) != 0;
}

static int report(const struct cli *cli, struct survey *s, const char *code,
                  const char *message)
{
    count_unheard(s);
    if (cli->json) {
        json_t *object = survey_json(s);
        if (code[0] != '\0')
            (void)json_object_set_new(object, "error",
                                      json_pack("{s:s, s:o}", "code", code,
                                                "message", json_text(message)));
        json_print(object);
    } else {
        print_totals(stdout, s);
        for (size_t i = 0; i < s->count; i++)
            print_texts(stdout, cli, &s->nodes[i]);
    }
    if (code[0] == '\0')
        return EXIT_DONE;
    fprintf(stderr, "argusctl: %s\n", message);
    return EXIT_BAD;
}

static int report_settled(const struct cli *cli, struct survey *s)
{
    char message[128];
    uint32_t bad = survey_bad(s);

    if (bad == 0)
        return report(cli, s, "", "");
    (void)snprintf(message, sizeof message, "%u of %zu nodes did not apply it",
                   bad, s->count);
    return report(cli, s, "failed", message);
}

static int report_superseded(const struct cli *cli, const struct survey *s,
                             const struct config_wait *w)
{
    return cli_fail(cli, EXIT_BAD, "superseded",
                    "another push of \"%s\" won: version %u is in force, and "
                    "it is not this one",
                    w->name, s->head.version);
}

static uint64_t monotonic_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void pause_us(uint64_t us)
{
    struct timespec t = {.tv_sec = (time_t)(us / 1000000),
                         .tv_nsec = (long)(us % 1000000) * 1000};
    (void)nanosleep(&t, NULL);
}

/* One look. @return true: it is over, *code is how. */
static bool look(struct watcher *w, struct client *c, uint64_t end_us,
                 int *code)
{
    struct survey now;

    *code = survey_take(w->cli, c, w->wait->name, &now);
    if (*code != EXIT_DONE)
        return true;
    bool is_over = true;
    tell_changes(w, &now);
    if (is_superseded(&now, w->wait)) {
        clear_bar(w);
        *code = report_superseded(w->cli, &now, w->wait);
    } else if (survey_is_settled(&now)) {
        clear_bar(w);
        *code = report_settled(w->cli, &now);
    } else if (end_us != 0 && monotonic_us() >= end_us) {
        clear_bar(w);
        *code = report(w->cli, &now, "timeout",
                       "the time is up, and some nodes are not through");
    } else {
        is_over = false;
    }
    survey_free(&w->last);
    w->last = now;
    return is_over;
}

int config_wait(const struct cli *cli, struct client *c,
                const struct config_wait *wait)
{
    struct watcher w = {.cli = cli, .wait = wait};
    uint64_t start_us = monotonic_us();
    uint64_t end_us =
        wait->seconds > 0 ? start_us + (uint64_t)(wait->seconds * 1e6) : 0;
    int code;

    for (;;) {
        uint64_t began_us = monotonic_us();
        if (look(&w, c, end_us, &code))
            break;
        uint64_t pause = POLL_SHARE * (monotonic_us() - began_us);
        pause = pause < POLL_MIN_US   ? POLL_MIN_US
                : pause > POLL_MAX_US ? POLL_MAX_US
                                      : pause;
        uint64_t now_us = monotonic_us();
        if (end_us != 0 && now_us + pause > end_us)
            pause = end_us > now_us ? end_us - now_us : 0;
        pause_us(pause);
    }
    survey_free(&w.last);
    return code;
}
