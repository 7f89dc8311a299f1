#include "link_bed.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

uv_loop_t bed_loop;
struct side side_a, side_b;
char bed_log[16384];

static argus_Frame frame;

static void keep_line(enum log_level level, const char *line)
{
    (void)level;
    size_t used = strlen(bed_log);

    (void)snprintf(bed_log + used, sizeof bed_log - used, "%s\n", line);
}

static void on_up(void *context, link_id link, dial_id dial,
                  const struct peer_info *peer)
{
    struct side *s = context;
    s->ups++;
    s->link = link;
    s->dial = dial;
    s->peer = *peer;
}

static void on_down(void *context, link_id link, enum link_end why,
                    argus_RefuseCode code)
{
    struct side *s = context;
    (void)link;
    s->downs++;
    s->why = why;
    s->code = code;
}

static void on_failed(void *context, dial_id dial, enum link_end why,
                      argus_RefuseCode code)
{
    struct side *s = context;
    s->fails++;
    s->dial = dial;
    s->why = why;
    s->code = code;
}

void bed_ping(struct side *s, uint32_t number)
{
    memset(&frame, 0, sizeof frame);
    frame.which_body = argus_Frame_ping_tag;
    frame.body.ping.number = number;
    transport_send(s->transport, s->link, &frame);
}

static void on_frame(void *context, link_id link, const argus_Frame *received)
{
    struct side *s = context;
    s->frames++;
    s->last_frame = received->which_body;
    if (received->which_body == argus_Frame_ping_tag)
        s->last_number = received->body.ping.number;
    if (s->is_answering) { /* from within: must not come back to us here */
        s->is_answering = false;
        transport_close(s->transport, link, argus_RefuseCode_REFUSE_BYE, "bye");
        CU_ASSERT_EQUAL(s->downs, 0);
    }
}

static void on_drained(void *context, link_id link)
{
    (void)link;
    ((struct side *)context)->drains++;
}

static bool is_known(void *context, const char *address)
{
    (void)context;
    (void)address;
    return false;
}

static void on_observed(void *context, const char *host)
{
    struct side *s = context;
    s->observed++;
    (void)snprintf(s->observed_host, sizeof s->observed_host, "%s", host);
}

static void make_side(struct side *s, uint8_t id)
{
    const struct transport_listener listener = {
        s,        on_up,      on_down,     on_failed,
        on_frame, on_drained, on_observed, is_known};
    struct argus_error err = {{0}};

    if (node_id_is_zero(&s->options.self.id))
        s->options.self.id.bytes[0] = id;
    s->options.self.instance = id;
    if (s->options.hello_ms == 0)
        s->options.hello_ms = 500;
    s->options.connect_ms = 500;
    if (s->options.linger_ms == 0)
        s->options.linger_ms = 300;
    if (s->options.self.cluster[0] == '\0')
        (void)strcpy(s->options.self.cluster, "default");
    (void)strcpy(s->options.self.name, id == 1 ? "a" : "b");
    CU_ASSERT_EQUAL_FATAL(
        transport_new(&bed_loop, &s->options, &listener, &s->transport, &err),
        ARGUS_OK);
    CU_ASSERT_EQUAL_FATAL(
        transport_listen(s->transport, "127.0.0.1", "0", &s->port, &err),
        ARGUS_OK);
    (void)snprintf(s->options.self.address, sizeof s->options.self.address,
                   ":%u", s->port);
    transport_set_self(s->transport, &s->options.self);
}

void bed_start(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    bed_log[0] = '\0';
    log_set_sink(keep_line);
    CU_ASSERT_EQUAL_FATAL(uv_loop_init(&bed_loop), 0);
    make_side(&side_a, 1);
    make_side(&side_b, 2);
}

static void on_done(void *context)
{
    struct side *s = context;
    s->is_done = true;
    transport_free(s->transport);
}

/* Every handle must go: the loop closes with 0. */
void bed_stop(void)
{
    transport_stop(side_a.transport, argus_RefuseCode_REFUSE_BYE, "bye",
                   on_done, &side_a);
    transport_stop(side_b.transport, argus_RefuseCode_REFUSE_BYE, "bye",
                   on_done, &side_b);
    (void)uv_run(&bed_loop, UV_RUN_DEFAULT);
    CU_ASSERT_TRUE(side_a.is_done && side_b.is_done);
    CU_ASSERT_EQUAL(uv_loop_close(&bed_loop), 0);
    memset(&side_a, 0, sizeof side_a);
    memset(&side_b, 0, sizeof side_b);
    log_set_sink(NULL);
}

/* A timer that is due when the loop begins to turn fires before it waits for
 * events; without a stop it would wait without end. */
static void on_over(uv_timer_t *timer)
{
    ((struct bed_limit *)timer->data)->is_over = true;
    uv_stop(timer->loop);
}

void bed_limit_start(struct bed_limit *limit, uint64_t ms)
{
    limit->is_over = limit->is_closed = false;
    (void)uv_timer_init(&bed_loop, &limit->timer);
    limit->timer.data = limit;
    (void)uv_timer_start(&limit->timer, on_over, ms, 0);
}

static void on_limit_closed(uv_handle_t *handle)
{
    ((struct bed_limit *)handle->data)->is_closed = true;
}

void bed_limit_stop(struct bed_limit *limit)
{
    uv_close((uv_handle_t *)&limit->timer, on_limit_closed);
    while (!limit->is_closed)
        (void)uv_run(&bed_loop, UV_RUN_ONCE);
}

void bed_turn_ms(uint64_t ms)
{
    struct bed_limit limit;

    bed_limit_start(&limit, ms);
    while (!limit.is_over)
        (void)uv_run(&bed_loop, UV_RUN_ONCE);
    bed_limit_stop(&limit);
}

bool bed_wait_for(const unsigned *number, unsigned wanted)
{
    struct bed_limit limit;

    bed_limit_start(&limit, BED_LIMIT_MS);
    while (*number < wanted && !limit.is_over)
        (void)uv_run(&bed_loop, UV_RUN_ONCE);
    bed_limit_stop(&limit);
    return *number >= wanted;
}

bool bed_wait_stat(const uint64_t *number, uint64_t wanted)
{
    struct bed_limit limit;

    bed_limit_start(&limit, BED_LIMIT_MS);
    while (*number < wanted && !limit.is_over)
        (void)uv_run(&bed_loop, UV_RUN_ONCE);
    bed_limit_stop(&limit);
    return *number >= wanted;
}

void bed_dial(argus_LinkKind kind, const struct node_id *expected)
{
    char address[32];

    (void)snprintf(address, sizeof address, "127.0.0.1:%u", side_b.port);
    transport_dial(side_a.transport, 77, kind, address, expected);
}

void bed_link(argus_LinkKind kind)
{
    bed_dial(kind, NULL);
    CU_ASSERT_TRUE_FATAL(bed_wait_for(&side_a.ups, 1));
    CU_ASSERT_TRUE_FATAL(bed_wait_for(&side_b.ups, 1));
}
