/* verbs_watch.c - the live view: `argusctl watch` takes the terminal over.
 *
 * A head tells how the mesh is; below it one pane at a time shows what a verb
 * answers, in that verb's own table. Only what is shown is asked for. */
#include "argus_config.h" /* GNU extensions */

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/capture.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/screen.h"
#include "cli/table.h"
#include "cli/when.h"

#define INTERVAL_DEFAULT_S 2.0
#define DAEMON_WAIT_S 2 /* then it is said that there is no answer */
/* So that a large mesh does not cost the daemon much, asking takes at most one
 * part in so many of the time. */
#define ASKING_SHARE 20

/* What a pane asks; an overview asks several things and leaves out those that
 * have no rows. */
struct question {
    const char *title; /* NULL: alone in its pane */
    const struct verb *verb;
    const char *words;
};

#define QUESTIONS_MAX 4

static const struct pane {
    const char *name;
    struct question questions[QUESTIONS_MAX];
    bool from_end; /* the newest is at the end: begin there */
} panes[] = {
    {"mesh",
     {{"Not here", &verb_offline, "offline"},
      {"Aggregators", &verb_members, "members --role aggregator"},
      {"Latest events", &verb_events, "events --limit 10"}},
     false},
    {"members", {{NULL, &verb_members, "members"}}, false},
    {"publishers", {{NULL, &verb_publishers, "publishers"}}, false},
    {"events", {{NULL, &verb_events, "events --limit 500"}}, true},
    {"peers", {{NULL, &verb_peers, "peers"}}, false},
    {"status", {{NULL, &verb_status, "status"}}, false},
};
#define PANES_COUNT ((int)(sizeof panes / sizeof panes[0]))

struct view {
    struct cli *cli;
    double interval_s;
    int pane;
    int top; /* first line shown of the body */
    bool at_end;
    char *body; /* what the pane's questions answered; NULL: nothing yet */
    argus_StatusReply now, before;
    double now_s, before_s; /* monotonic; 0: there is none */
    struct argus_error err; /* why there is no answer; empty: there is one */
    double asking_s;        /* what the last round took */
};

static double monotonic_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --------------------------------------------------------------- asking */

static void ask_status(struct view *v)
{
    static argus_Reply reply;
    const argus_Request request = {.which_body = argus_Request_status_tag};
    struct argus_error err = {{0}};
    argus_End end;

    reply.which_body = 0;
    int rc = client_ask(v->cli->socket, &request, false, cli_keep_row, &reply,
                        &end, &err);
    if (rc == ARGUS_EBUSY && v->err.text[0] != '\0')
        return; /* for a key: what is known of it stands */
    v->err = err;
    if (rc != ARGUS_OK)
        return;
    if (end.code[0] != '\0' || reply.which_body != argus_Reply_status_tag) {
        (void)snprintf(v->err.text, sizeof v->err.text, "%.200s",
                       end.code[0] != '\0' ? end.message : "no status");
        return;
    }
    v->before = v->now;
    v->before_s = v->now_s;
    v->now = reply.body.status;
    v->now_s = monotonic_s();
}

/* A table without rows is its titles alone. */
static bool has_rows(const char *text)
{
    const char *end = strchr(text, '\n');

    return end != NULL && end[1] != '\0';
}

static void ask_pane(struct view *v)
{
    const struct pane *pane = &panes[v->pane];
    size_t size;
    FILE *out = open_memstream(&v->body, &size);

    if (out == NULL) {
        v->body = NULL;
        return;
    }
    for (int i = 0; i < QUESTIONS_MAX && pane->questions[i].verb != NULL; i++) {
        const struct question *q = &pane->questions[i];
        struct capture c = capture_words(v->cli, q->verb, q->words, true);
        if (c.text != NULL && (q->title == NULL || has_rows(c.text))) {
            if (q->title != NULL)
                fprintf(out, "%s%s\n", ftell(out) > 0 ? "\n" : "", q->title);
            fputs(c.text, out);
        }
        free(c.text);
    }
    (void)fclose(out);
}

static void ask_all(struct view *v)
{
    double since = monotonic_s();

    v->cli->width = screen_size().columns;
    ask_status(v);
    free(v->body);
    v->body = NULL;
    if (v->err.text[0] == '\0')
        ask_pane(v);
    v->asking_s = monotonic_s() - since;
}

/* ----------------------------------------------------------------- head */

/* Words that flow: a new line begins where the next would not fit. */
struct flow {
    FILE *out;
    int width, used, lines;
};

static void flow_put(struct flow *f, const char *color, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void flow_put(struct flow *f, const char *color, const char *format, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    char *safe = table_escape(text);
    int columns = safe != NULL ? table_width(safe) : 0;
    if (f->used > 0 && f->used + 2 + columns > f->width) {
        fputc('\n', f->out);
        f->lines++;
        f->used = 0;
    }
    fprintf(f->out, "%s%s%s%s", f->used > 0 ? "  " : "", color,
            safe != NULL ? safe : "", color[0] != '\0' ? "\033[0m" : "");
    f->used += columns + (f->used > 0 ? 2 : 0);
    free(safe);
}

static void flow_break(struct flow *f)
{
    fputc('\n', f->out);
    f->lines++;
    f->used = 0;
}

static const char *paint_if(const struct view *v, bool wanted, const char *code)
{
    return v->cli->color && wanted ? code : "";
}

#define RED "\033[31m"
#define YELLOW "\033[33m"
#define GREEN "\033[32m"
#define FAINT "\033[2m"
#define INVERSE "\033[7m"

static uint64_t counter(const argus_StatusReply *s, const char *name)
{
    for (pb_size_t i = 0; i < s->counters_count; i++)
        if (strcmp(s->counters[i].name, name) == 0)
            return s->counters[i].value;
    return 0;
}

/* How fast counters grew between the last two answers; names end with NULL. */
static double rate(const struct view *v, const char *const *names)
{
    double seconds = v->now_s - v->before_s, sum = 0;

    for (; *names != NULL; names++) {
        uint64_t now = counter(&v->now, *names);
        uint64_t before = counter(&v->before, *names);
        sum += now > before ? (double)(now - before) : 0; /* it restarted */
    }
    return seconds > 0 ? sum / seconds : 0;
}

static void put_rates(const struct view *v, struct flow *f)
{
    static const struct {
        const char *name;
        const char *counters[3];
    } rates[] = {
        {"values out", {"values_acked", NULL}},
        {"values in", {"values_dispatched", NULL}},
        {"events", {"events_sent", "events_received", NULL}},
        {"gossip", {"gossip_delivered", NULL}},
        {"bytes out", {"transport_bytes_sent", NULL}},
        {"bytes in", {"transport_bytes_received", NULL}},
    };

    if (v->before_s <= 0)
        return; /* from the second answer on */
    flow_put(f, paint_if(v, true, FAINT), "a second:");
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        flow_put(f, "", "%s %.*f", rates[i].name, i < 4 ? 1 : 0,
                 rate(v, rates[i].counters));
    flow_break(f);
}

static void put_members(const struct view *v, struct flow *f)
{
    const argus_StatusReply *s = &v->now;

    flow_put(f, paint_if(v, true, GREEN), "%u online", s->online);
    flow_put(f, paint_if(v, s->suspect > 0, YELLOW), "%u suspect", s->suspect);
    flow_put(f, paint_if(v, s->offline > 0, RED), "%u offline", s->offline);
    flow_put(f, paint_if(v, true, FAINT), "%u left", s->left);
    flow_put(f, "", "views %u+%u", s->active, s->passive);
    if (isfinite(s->offset_s))
        flow_put(f, paint_if(v, s->clock_alarm, RED), "clock %+.3f ms",
                 s->offset_s * 1e3);
    flow_put(f, "", "queue %" PRIu64, (uint64_t)s->queue_values);
    if (s->aggregators_count > 0)
        flow_put(f, "", "to %s", s->aggregators[0]);
    flow_break(f);
}

static void put_head(const struct view *v, struct flow *f)
{
    const argus_StatusReply *s = &v->now;
    char time[TIME_TEXT_SIZE];
    bool is_bad = s->state == argus_NodeState_NODE_ISOLATED;

    time_text(when_now_us(), time);
    flow_put(f, "", "%.8sZ", time + 11);
    if (v->now_s > 0) {
        flow_put(f, "", "%s", s->name);
        flow_put(f, paint_if(v, true, is_bad ? RED : GREEN), "%s",
                 node_state_text(s->state));
        flow_put(f, "", "%s", role_text(s->role));
        if (s->zone[0] != '\0')
            flow_put(f, "", "%s", s->zone);
    }
    flow_break(f);
    if (v->err.text[0] != '\0') {
        flow_put(f, paint_if(v, true, RED), "%s", v->err.text);
        flow_break(f);
        return;
    }
    put_members(v, f);
    put_rates(v, f);
}

static void put_tabs(const struct view *v, struct flow *f)
{
    for (int i = 0; i < PANES_COUNT; i++)
        flow_put(f, i == v->pane ? INVERSE : "", "%s%s%s",
                 i == v->pane ? "[" : "", panes[i].name,
                 i == v->pane ? "]" : "");
    flow_break(f);
}

/* ----------------------------------------------------------------- frame */

static int count_lines(const char *text)
{
    int lines = 0;

    for (; *text != '\0'; lines++) {
        text += screen_line_size(text);
        text += *text == '\n';
    }
    return lines;
}

/* Up to `rows` lines of the text from line `top` on; then empty ones. */
static void put_body(FILE *out, const char *text, int top, int rows,
                     int columns)
{
    for (int line = 0; line < top && *text != '\0'; line++) {
        text += screen_line_size(text);
        text += *text == '\n';
    }
    for (int row = 0; row < rows; row++) {
        size_t size = screen_line_size(text);
        screen_put_line(out, text, size, columns);
        fputc('\n', out);
        text += size;
        text += *text == '\n';
    }
}

static void clamp_top(struct view *v, int lines, int rows)
{
    int last = lines > rows ? lines - rows : 0;

    if (v->at_end || v->top > last)
        v->top = last;
    if (v->top < 0)
        v->top = 0;
}

/* The whole picture in one write, so that nothing flickers. */
static int paint(struct view *v)
{
    struct screen_size size = screen_size();
    char *head = NULL, *frame = NULL;
    size_t head_size, frame_size;
    FILE *out = open_memstream(&head, &head_size);
    const char *body = v->body != NULL ? v->body : "";

    if (out == NULL)
        return 0;
    struct flow flow = {.out = out, .width = size.columns};
    put_head(v, &flow);
    put_tabs(v, &flow);
    (void)fclose(out);

    int head_rows = flow.lines < size.rows ? flow.lines : size.rows - 1;
    int rows = size.rows - head_rows - 1;
    out = open_memstream(&frame, &frame_size);
    if (out != NULL) {
        clamp_top(v, count_lines(body), rows);
        fputs("\033[H", out);
        put_body(out, head, 0, head_rows, size.columns);
        put_body(out, body, v->top, rows, size.columns);
        const char *help = "q quit, left/right pane, up/down scroll";
        screen_put_line(out, help, strlen(help), size.columns);
        (void)fclose(out);
        (void)fwrite(frame, 1, frame_size, stdout);
        (void)fflush(stdout);
    }
    free(frame);
    free(head);
    return rows;
}

/* ------------------------------------------------------------------ keys */

static void go_to_pane(struct view *v, int pane)
{
    v->pane = (pane + PANES_COUNT) % PANES_COUNT;
    v->top = 0;
    v->at_end = panes[v->pane].from_end;
}

/* @param rows  of the body. @return true: other lines must be asked for. */
static bool on_key(struct view *v, enum screen_key key, int rows)
{
    int page = rows > 1 ? rows - 1 : 1;

    switch (key) {
    case KEY_LEFT: go_to_pane(v, v->pane - 1); return true;
    case KEY_RIGHT: go_to_pane(v, v->pane + 1); return true;
    case KEY_UP: v->top--; break;
    case KEY_PAGE_UP: v->top -= page; break;
    case KEY_HOME: v->top = 0; break;
    case KEY_DOWN: v->top++; return false;
    case KEY_PAGE_DOWN: v->top += page; return false;
    case KEY_END: v->at_end = true; return false;
    case KEY_NONE:
    case KEY_QUIT:
    case KEY_OTHER: return false;
    }
    v->at_end = false;
    return false;
}

static void watch(struct view *v)
{
    for (;;) {
        bool must_ask = false;

        ask_all(v);
        double pause_s = v->interval_s;
        if (v->err.text[0] == '\0')
            pause_s = fmax(pause_s, ASKING_SHARE * v->asking_s);
        double next_s = monotonic_s() + pause_s;
        while (!must_ask) {
            int rows = paint(v);
            double left_s = next_s - monotonic_s();
            enum screen_key key =
                screen_key(left_s > 0 ? (int)(left_s * 1e3) + 1 : 0);
            if (key == KEY_QUIT || ferror(stdout) != 0)
                return;
            if (key == KEY_NONE && left_s <= 0)
                break;
            must_ask = on_key(v, key, rows) && v->err.text[0] == '\0';
        }
    }
}

static int run_watch(struct cli *cli, int argc, char **argv)
{
    static const struct cli_options options;
    static struct view view;

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < argc)
        return cli_fail(cli, EXIT_USAGE, "usage", "watch takes no `%s`",
                        argv[at]);
    if (cli->json)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "watch is for people; programs take --json --watch "
                        "with a verb");
    view.cli = cli;
    view.interval_s = cli->watch_s > 0 ? cli->watch_s : INTERVAL_DEFAULT_S;
    cli->watch_s = 0; /* this verb does it itself */
    client_set_wait(DAEMON_WAIT_S);
    ask_status(&view); /* what is wrong from the start is told as ever */
    if (view.err.text[0] != '\0')
        return cli_fail(cli, EXIT_NO_DAEMON, "no-daemon", "%s", view.err.text);
    if (!screen_begin())
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "watch needs a terminal; elsewhere take --watch with "
                        "a verb");
    client_stop_on_input(STDIN_FILENO);
    watch(&view);
    client_stop_on_input(-1);
    screen_end();
    free(view.body);
    return EXIT_DONE;
}

const struct verb verb_watch = {
    .name = "watch",
    .arguments = "",
    .help = "The mesh live, on the whole terminal, asked every 2 seconds\n"
            "(--watch=S: every S).\n"
            "\n"
            "  q                     quit\n"
            "  left, right, Tab      another pane: mesh, members,\n"
            "                        publishers, events, peers, status\n"
            "  up, down, PgUp, PgDn, Home, End\n"
            "                        scroll\n",
    .run = run_watch,
};
