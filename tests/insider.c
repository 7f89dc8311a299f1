/* insider.c - a hostile program with the key of a mesh: joins a daemon by a
 * proper Hello and fills the link with frames that are valid and of no use.
 *
 *   insider KEYFILE|- CLUSTER HOST:PORT KIND FRAMES_PER_S
 *
 * KIND: ping, ihave, graft, shuffle, walk, copy, event, stale on a mesh link;
 * names, window on a metrics link; digest on a sync link. KEYFILE "-": in the
 * clear. Ends when the daemon has cut the link and refused another one, or
 * after 10 s, and prints one line of JSON:
 *   {"id": ..., "cut_s": first frame to end of link or null, "frames": sent,
 *    "code": of the end, "again": code of the end of the second link}
 * Made for tests/e2e; never installed. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/hlc.h"
#include "runtime/identity.h"
#include "runtime/keyring.h"
#include "runtime/tls.h"
#include "runtime/transport.h"

#define LIMIT_MS 10000
#define QUEUED_MAX (512 * 1024)
#define SEALED_MAX 6000 /* statements made beforehand */
#define TURN_MAX 500    /* frames, then it looks whether it was cut off */

struct sealed {
    uint16_t size;
    uint8_t bytes[400];
};

static struct {
    uv_loop_t loop;
    uv_timer_t timer;
    struct transport *transport;
    struct identity *identity;
    struct node_id id;
    const char *kind, *address;
    argus_LinkKind link_kind;
    uint64_t rate, frames, frames_before, seed;
    uint64_t first_us, last_us, end_us, start_ms;
    link_id link;
    bool is_cut;
    argus_RefuseCode code, again;
    struct sealed *sealed;
    uint64_t sealed_count;
} it;

static argus_Frame frame;

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

static uint64_t wall_ms(void)
{
    uv_timeval64_t now;

    (void)uv_gettimeofday(&now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_usec / 1000;
}

static bool is_kind(const char *kind)
{
    return strcmp(it.kind, kind) == 0;
}

static void fill_random(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        it.seed = it.seed * 6364136223846793005u + 1442695040888963407u;
        out[i] = (uint8_t)(it.seed >> 56);
    }
}

static void fill_peer(argus_Peer *out)
{
    fill_random(out->id, sizeof out->id);
    (void)snprintf(out->address, sizeof out->address, "127.0.0.1:9");
    out->generation = 1;
}

/* ----------------------------------------------------------- statements */

static void fill_record(argus_Statement *s, uint64_t number)
{
    argus_NodeRecord *r = &s->body.record;

    memset(s, 0, sizeof *s);
    s->which_body = argus_Statement_record_tag;
    r->generation = 1;
    r->version = number == 0 ? 2 : 1;
    (void)snprintf(r->name, sizeof r->name, "insider");
    (void)snprintf(r->address, sizeof r->address, "127.0.0.1:9");
    r->weight = 1;
    r->instance = 1;
    r->started_ms = number;
    r->hlc = wall_ms() << 16;
}

static void fill_event(argus_Statement *s, uint64_t number)
{
    argus_Event *e = &s->body.event;

    memset(s, 0, sizeof *s);
    s->which_body = argus_Statement_event_tag;
    e->generation = 1;
    e->number = number;
    e->hlc = wall_ms() << 16 | (number & 0xffff);
    e->severity = argus_Severity_SEVERITY_OKAY;
    (void)snprintf(e->node, sizeof e->node, "insider");
    (void)snprintf(e->message, sizeof e->message, "nonsense");
}

/* The first is a record that makes this a member. */
static bool seal_all(void)
{
    static argus_Statement s;
    static uint8_t packed[SEALED_SIZE_MAX];
    struct seal seal = identity_seal(it.identity);

    it.sealed = calloc(SEALED_MAX, sizeof *it.sealed);
    if (it.sealed == NULL)
        return false;
    for (it.sealed_count = 0; it.sealed_count < SEALED_MAX; it.sealed_count++) {
        struct sealed *out = &it.sealed[it.sealed_count];
        if (it.sealed_count > 0 && is_kind("event"))
            fill_event(&s, it.sealed_count);
        else
            fill_record(&s, it.sealed_count);
        size_t size = seal.close(seal.context, &s, packed);
        if (size == 0 || size > sizeof out->bytes)
            return false;
        memcpy(out->bytes, packed, size);
        out->size = (uint16_t)size;
        if (!is_kind("event") && !is_kind("stale")) {
            it.sealed_count = 1;
            break;
        }
    }
    return true;
}

/* --------------------------------------------------------------- frames */

static void put_gossip(const struct sealed *s)
{
    argus_Gossip *g = &frame.body.gossip;

    frame.which_body = argus_Frame_gossip_tag;
    g->round = 1;
    g->survey = false;
    g->payload.size = s->size;
    memcpy(g->payload.bytes, s->bytes, s->size);
}

static void put_ihave(void)
{
    frame.which_body = argus_Frame_ihave_tag;
    frame.body.ihave.announced_count = 64;
    for (int i = 0; i < 64; i++) {
        fill_random(frame.body.ihave.announced[i].id, CONTENT_ID_SIZE);
    }
}

static void put_shuffle(void)
{
    argus_Shuffle *s = &frame.body.shuffle;

    frame.which_body = argus_Frame_shuffle_tag;
    s->has_origin = true;
    fill_peer(&s->origin);
    s->ttl = 6;
    s->peers_count = 8;
    for (int i = 0; i < 8; i++)
        fill_peer(&s->peers[i]);
}

static void put_names(void)
{
    argus_SeriesDefs *d = &frame.body.series_defs;

    memset(d, 0, sizeof *d);
    frame.which_body = argus_Frame_series_defs_tag;
    d->series_count = 4;
    for (int i = 0; i < 4; i++) {
        argus_SeriesDef *def = &d->series[i];
        def->index = (uint32_t)(it.frames * 4) + (uint32_t)i + 1;
        (void)snprintf(def->host, sizeof def->host, "nobody");
        (void)snprintf(def->plugin, sizeof def->plugin, "none");
        (void)snprintf(def->type, sizeof def->type, "gauge");
        (void)snprintf(def->type_instance, sizeof def->type_instance, "%u",
                       def->index);
        def->interval = UINT64_C(1) << 30;
        def->sources_count = 1;
        (void)snprintf(def->sources[0].name, sizeof def->sources[0].name,
                       "value");
        def->sources[0].type = argus_SourceType_SOURCE_GAUGE;
    }
}

/* Batch after batch, never mind the window. */
static void put_window(void)
{
    argus_Batch *b = &frame.body.batch;

    if (it.frames == 0) {
        put_names();
        return;
    }
    frame.which_body = argus_Frame_batch_tag;
    b->number = it.frames;
    b->first_number = (UINT64_C(1) << 40) + it.frames * 1000;
    b->first_time = 1;
    b->series_count = b->number_step_count = b->time_step_count = 500;
    b->gauges_count = 500;
    b->integers_count = 0;
    for (int i = 0; i < 500; i++) {
        b->series[i] = 1;
        b->number_step[i] = 1;
        b->time_step[i] = 1;
        b->gauges[i] = 0;
    }
}

static void put_digest(void)
{
    argus_Digest *d = &frame.body.digest;

    memset(d, 0, sizeof *d);
    frame.which_body = argus_Frame_digest_tag;
    memset(d->to, 0xff, sizeof d->to);
    d->last = true;
}

static void put_frame(void)
{
    frame.hlc = 0;
    if (is_kind("ping")) {
        frame.which_body = argus_Frame_ping_tag;
        frame.body.ping = (argus_Ping){.number = (uint32_t)it.frames,
                                       .has_standing = true,
                                       .standing = {.active = true}};
    } else if (is_kind("ihave")) {
        put_ihave();
    } else if (is_kind("graft")) {
        frame.which_body = argus_Frame_graft_tag;
        frame.body.graft.id.size = CONTENT_ID_SIZE;
        fill_random(frame.body.graft.id.bytes, CONTENT_ID_SIZE);
    } else if (is_kind("shuffle")) {
        put_shuffle();
    } else if (is_kind("walk")) {
        frame.which_body = argus_Frame_forward_join_tag;
        frame.body.forward_join.has_joiner = true;
        fill_peer(&frame.body.forward_join.joiner);
        frame.body.forward_join.ttl = 6;
    } else if (is_kind("names")) {
        put_names();
    } else if (is_kind("window")) {
        put_window();
    } else if (is_kind("digest")) {
        put_digest();
    } else {
        put_gossip(&it.sealed[it.frames % it.sealed_count]);
    }
}

static void join(void)
{
    frame.hlc = 0;
    frame.which_body = argus_Frame_neighbor_tag;
    frame.body.neighbor.high = true;
    transport_send(it.transport, it.link, &frame);
    put_gossip(&it.sealed[0]);
    transport_send(it.transport, it.link, &frame);
}

/* ------------------------------------------------------------------ life */

static void on_done(void *context)
{
    (void)context;
}

static void finish(void)
{
    (void)uv_timer_stop(&it.timer);
    if (!uv_is_closing((uv_handle_t *)&it.timer))
        uv_close((uv_handle_t *)&it.timer, NULL);
    transport_stop(it.transport, argus_RefuseCode_REFUSE_BYE, "done", on_done,
                   NULL);
}

static void dial(void)
{
    static uint64_t dials;

    transport_dial(it.transport, ++dials, it.link_kind, it.address, NULL);
}

static void on_link_up(void *context, link_id link, dial_id number,
                       const struct peer_info *peer)
{
    (void)context;
    (void)number;
    (void)peer;
    it.link = link;
    it.first_us = it.first_us == 0 ? now_us() : it.first_us;
    it.last_us = now_us();
    if (it.link_kind == argus_LinkKind_LINK_MESH && !it.is_cut)
        join();
}

/* A broken rule costs the link alone, so it takes three. */
static void on_link_down(void *context, link_id link, enum link_end why,
                         argus_RefuseCode code)
{
    (void)context;
    (void)link;
    (void)why;
    it.link = 0;
    if (it.is_cut) {
        it.again = code;
        finish();
        return;
    }
    it.code = code;
    it.end_us = now_us();
    it.is_cut = code == argus_RefuseCode_REFUSE_QUARANTINE;
    it.frames_before += it.frames;
    it.frames = 0;
    dial();
}

static void on_dial_failed(void *context, dial_id number, enum link_end why,
                           argus_RefuseCode code)
{
    (void)context;
    (void)number;
    (void)why;
    it.again = code;
    finish();
}

static void on_frame(void *context, link_id link, const argus_Frame *f)
{
    (void)context;
    (void)link;
    (void)f;
}

static void on_drained(void *context, link_id link)
{
    (void)context;
    (void)link;
}

static bool is_known(void *context, const char *address)
{
    (void)context;
    (void)address;
    return false;
}

static void on_observed(void *context, const char *host)
{
    (void)context;
    (void)host;
}

static void on_timer(uv_timer_t *timer)
{
    uint64_t now = now_us();

    (void)timer;
    if (uv_now(&it.loop) - it.start_ms > LIMIT_MS) {
        finish();
        return;
    }
    if (it.link == 0 || it.is_cut)
        return;
    uint64_t due = (now - it.last_us) * it.rate / 1000000;
    if (due > TURN_MAX)
        due = TURN_MAX;
    it.last_us += due * 1000000 / it.rate;
    for (uint64_t i = 0; i < due && it.link != 0; i++) {
        if (transport_queued_bytes(it.transport, it.link) > QUEUED_MAX)
            return;
        put_frame();
        it.frames++;
        transport_send(it.transport, it.link, &frame);
    }
}

static void report(void)
{
    char id[NODE_ID_TEXT_SIZE];

    node_id_format(&it.id, id);
    printf("{\"id\": \"%s\", \"frames\": %" PRIu64 ", \"cut_s\": ", id,
           it.frames_before + it.frames);
    if (it.is_cut)
        printf("%.3f", (double)(it.end_us - it.first_us) / 1e6);
    else
        printf("null");
    printf(", \"code\": %d, \"again\": %d}\n", (int)it.code, (int)it.again);
}

static void quiet(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static int fail(const struct argus_error *err)
{
    fprintf(stderr, "insider: %s\n", err->text);
    return 1;
}

static int open_transport(const char *key_file, const char *cluster,
                          struct argus_error *err)
{
    static struct keyring ring;
    const struct transport_listener listener = {
        NULL,     on_link_up, on_link_down, on_dial_failed,
        on_frame, on_drained, on_observed,  is_known};
    struct transport_options o = {.identity = it.identity};
    int rc = ARGUS_OK;

    if (strcmp(key_file, "-") != 0) {
        rc = keyring_read(key_file, &ring, err);
        if (rc == ARGUS_OK)
            rc = tls_context_of_keys(&ring, &o.protection, err);
    }
    if (rc != ARGUS_OK)
        return rc;
    (void)snprintf(o.self.cluster, sizeof o.self.cluster, "%s", cluster);
    (void)snprintf(o.self.name, sizeof o.self.name, "insider");
    (void)snprintf(o.self.address, sizeof o.self.address, "127.0.0.1:9");
    o.self.id = it.id;
    o.self.generation = 1;
    o.self.instance = 1;
    o.self.started_ms = wall_ms();
    rc = transport_new(&it.loop, &o, &listener, &it.transport, err);
    tls_context_release(o.protection);
    return rc;
}

int main(int argc, char **argv)
{
    struct argus_error err = {{0}};

    if (argc != 6) {
        fprintf(stderr, "usage: insider KEYFILE|- CLUSTER HOST:PORT KIND "
                        "FRAMES_PER_S\n");
        return 2;
    }
    it.address = argv[3];
    it.kind = argv[4];
    it.rate = strtoull(argv[5], NULL, 10);
    it.link_kind = is_kind("names") || is_kind("window")
                       ? argus_LinkKind_LINK_METRICS
                   : is_kind("digest") ? argus_LinkKind_LINK_SYNC
                                       : argus_LinkKind_LINK_MESH;
    log_set_sink(quiet);
    (void)signal(SIGPIPE, SIG_IGN);
    if (identity_open(NULL, argv[2], &it.identity, &err) != ARGUS_OK)
        return fail(&err);
    it.id = *identity_id(it.identity);
    if (!seal_all())
        return 1;
    (void)uv_loop_init(&it.loop);
    if (open_transport(argv[1], argv[2], &err) != ARGUS_OK)
        return fail(&err);
    it.start_ms = uv_now(&it.loop);
    (void)uv_timer_init(&it.loop, &it.timer);
    (void)uv_timer_start(&it.timer, on_timer, 1, 1);
    dial();
    (void)uv_run(&it.loop, UV_RUN_DEFAULT);
    report();
    transport_free(it.transport);
    identity_free(it.identity);
    free(it.sealed);
    return 0;
}
