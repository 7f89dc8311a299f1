#include "fuzz_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/text.h"
#include "sim/bundle_kit.h"
#include "sim/sim_hash.h"
#include "wire/frame.h"

#define WALL_START_US UINT64_C(1700000000000000)
/** Timeouts at one and the same millisecond that mean an endless loop. */
#define STANDSTILL_MAX 2000
#define OWN_GENERATION 5
#define OWN_INSTANCE 77u

struct node_id world_id(uint8_t number)
{
    struct node_id id = {{9}};

    id.bytes[0] = (uint8_t)(9 + 16 * number); /* on both sides of our own */
    id.bytes[15] = number;
    return id;
}

/* ------------------------------------------------------------- the seal */

static argus_Signed closing;

/* As `closing` holds it, but for the author. */
static size_t pack(const struct node_id *author, uint8_t out[SEALED_SIZE_MAX])
{
    pb_ostream_t outer = pb_ostream_from_buffer(out, SEALED_SIZE_MAX);

    memcpy(closing.key, author->bytes, NODE_ID_SIZE);
    return pb_encode(&outer, argus_Signed_fields, &closing)
               ? outer.bytes_written
               : 0;
}

size_t world_seal(const struct node_id *author,
                  const argus_Statement *statement,
                  uint8_t out[SEALED_SIZE_MAX])
{
    pb_ostream_t inner = pb_ostream_from_buffer(closing.statement.bytes,
                                                sizeof closing.statement.bytes);

    if (!pb_encode(&inner, argus_Statement_fields, statement))
        return 0;
    closing.statement.size = (pb_size_t)inner.bytes_written;
    return pack(author, out);
}

static size_t seal_close(void *context, const argus_Statement *statement,
                         uint8_t out[SEALED_SIZE_MAX])
{
    const struct world *w = context;
    struct node_id own = world_id(w->who);

    return world_seal(&own, statement, out);
}

static bool seal_close_all(void *context, const struct seal_part *parts,
                           uint32_t count,
                           void (*take)(void *taker, uint32_t index,
                                        const uint8_t *data, size_t size),
                           void *taker)
{
    const struct world *w = context;
    struct node_id own = world_id(w->who);
    uint8_t packed[SEALED_SIZE_MAX];

    assert(count > 0 && count <= SEAL_BATCH_MAX);
    for (uint32_t i = 0; i < count; i++) {
        assert(parts[i].size <= sizeof closing.statement.bytes);
        memcpy(closing.statement.bytes, parts[i].statement, parts[i].size);
        closing.statement.size = (pb_size_t)parts[i].size;
        take(taker, i, packed, pack(&own, packed));
    }
    return true;
}

static bool seal_open(void *context, const uint8_t *data, size_t size,
                      argus_Statement *statement, struct node_id *author)
{
    static argus_Signed s;
    pb_istream_t outer = pb_istream_from_buffer(data, size);

    (void)context;
    if (!pb_decode(&outer, argus_Signed_fields, &s) || s.signature[0] == 0xff)
        return false;
    pb_istream_t inner =
        pb_istream_from_buffer(s.statement.bytes, s.statement.size);
    if (!pb_decode(&inner, argus_Statement_fields, statement) ||
        statement->which_body == 0)
        return false;
    *author = node_id_of(s.key);
    return true;
}

static void seal_hash(const uint8_t *data, size_t size,
                      uint8_t out[CONTENT_ID_SIZE])
{
    uint8_t whole[32];

    kit_digest(data, size, whole);
    memcpy(out, whole, CONTENT_ID_SIZE);
}

static bool seal_vouches(void *context, const argus_SignedBundle *bundle)
{
    (void)context;
    return bundle->signature[0] != 0xff;
}

/* -------------------------------------------------------------- actions */

static struct world_link *find_link(struct world *w, link_id id)
{
    for (uint32_t i = 0; i < WORLD_LINKS; i++)
        if (id != 0 && w->links[i].id == id)
            return &w->links[i];
    return NULL;
}

static void on_dial(struct world *w, const struct action *a)
{
    assert(a->dial.dial != 0 && strlen(a->dial.address) < ADDRESS_SIZE);
    assert(a->dial.kind >= argus_LinkKind_LINK_MESH &&
           a->dial.kind <= argus_LinkKind_LINK_BUNDLE);
    for (uint32_t i = 0; i < WORLD_DIALS; i++)
        assert(w->dials[i].id != a->dial.dial);
    for (uint32_t i = 0; i < WORLD_DIALS; i++) {
        struct world_dial *d = &w->dials[i];
        if (d->id != 0)
            continue;
        *d = (struct world_dial){.id = a->dial.dial, .kind = a->dial.kind};
        d->has_expected = a->dial.expected != NULL;
        if (d->has_expected)
            d->expected = *a->dial.expected;
        text_copy(d->address, sizeof d->address, a->dial.address);
        return;
    }
    assert(false && "dials are bounded");
}

/* What a script could not know. */
static void note(struct world *w, const struct world_link *l,
                 const argus_Frame *f)
{
    switch (f->which_body) {
    case argus_Frame_event_keys_tag:
        if (f->body.event_keys.keys_count > 0)
            w->event_key = f->body.event_keys.keys[0];
        break;
    case argus_Frame_address_check_tag:
        w->check = f->body.address_check.number;
        w->check_slot = (uint32_t)(l - w->links);
        break;
    case argus_Frame_ihave_tag:
        memcpy(w->announced, f->body.ihave.announced[0].id,
               sizeof w->announced);
        break;
    case argus_Frame_summary_tag:
        w->summary = f->body.summary;
        w->sum = w->summary.records;
        break;
    case argus_Frame_sums_tag:
        if (f->body.sums.sums_count == 1)
            w->sum = f->body.sums.sums[0];
        break;
    default: break;
    }
}

static void on_send(struct world *w, const struct action *a)
{
    static uint8_t bytes[FRAME_HEADER_SIZE + FRAME_BODY_MAX];
    static argus_Frame back;
    struct argus_error err = {{0}};
    struct world_link *l = find_link(w, a->send.link);

    assert(l != NULL && !l->is_closed);
    assert(a->send.frame->hlc > w->last_hlc);
    note(w, l, a->send.frame);
    if (l->to == 0 && a->send.frame->which_body == argus_Frame_ping_tag)
        l->ping = a->send.frame->body.ping;
    w->last_hlc = a->send.frame->hlc;
    int size = frame_encode(argus_Frame_fields, a->send.frame, bytes,
                            sizeof bytes, &err);
    assert(size >= 0);
    size_t body_size = (size_t)size - FRAME_HEADER_SIZE;
    assert(frame_decode(bytes + FRAME_HEADER_SIZE, body_size, &back, &err) ==
           ARGUS_OK);
    if (l->to != 0)
        w->sent(w, l, bytes + FRAME_HEADER_SIZE, body_size);
}

static void on_dispatch(struct world *w, const struct value_ref *v)
{
    assert(v->token > w->last_token && v->series != 0);
    assert(v->count >= 1 && v->count <= SOURCES_MAX);
    w->last_token = v->token;
    w->tokens[v->token % WORLD_TOKENS] = v->token;
}

static void on_store(const struct action *a)
{
    assert(a->store.size <= SEALED_SIZE_MAX);
    assert(a->store.size == 0 || a->store.data != NULL);
    if (a->store.what == STORE_ADDRESS)
        assert(strlen(a->store.text) < ADDRESS_SIZE);
}

static void on_action(void *context, const struct action *a)
{
    struct world *w = context;
    struct world_link *l;

    switch (a->type) {
    case ACTION_DIAL: on_dial(w, a); break;
    case ACTION_SEND: on_send(w, a); break;
    case ACTION_CLOSE:
        l = find_link(w, a->close.link);
        assert(l != NULL && !l->is_closed && a->close.text != NULL);
        l->is_closed = true;
        if (l->to != 0)
            w->ended(w, l, a->close.code);
        break;
    case ACTION_SERIES_BEGIN:
        assert(a->series_begin->series != 0);
        assert(a->series_begin->def->sources_count >= 1);
        break;
    case ACTION_DISPATCH: on_dispatch(w, a->value); break;
    case ACTION_NOTIFY:
    case ACTION_TIMELINE: assert(a->event.origin != NULL); break;
    case ACTION_STORE: on_store(a); break;
    case ACTION_ADDRESS: assert(strlen(a->address) < ADDRESS_SIZE); break;
    case ACTION_CALL: break;
    case ACTION_LOG: assert(strlen(a->log.line) < LOG_LINE_SIZE); break;
    case ACTION_SERIES_END:
    case ACTION_NEW_IDENTITY:
    case ACTION_BUNDLES:
    case ACTION_KEYS: break;
    }
}

/* ----------------------------------------------------------------- steps */

static void step(struct world *w, struct event *event)
{
    event->now_ms = w->now_ms;
    event->wall_us = w->wall_us;
    engine_step(w->engine, event, &w->out);
}

/* What the engine closed is down before anything else comes. */
static void settle(struct world *w)
{
    for (uint32_t i = 0; i < WORLD_LINKS; i++) {
        if (w->links[i].id == 0 || !w->links[i].is_closed)
            continue;
        struct event down = {.type = EVENT_LINK_DOWN,
                             .link_down = {w->links[i].id, LINK_END_CLOSED,
                                           argus_RefuseCode_REFUSE_BYE}};
        w->links[i].id = 0;
        step(w, &down);
    }
}

static void answer_pings(struct world *w)
{
    static argus_Frame pong;

    for (uint32_t i = 0; i < WORLD_LINKS; i++) {
        struct world_link *l = &w->links[i];
        if (l->id == 0 || l->ping.number == 0)
            continue;
        memset(&pong, 0, sizeof pong);
        pong.which_body = argus_Frame_pong_tag;
        pong.body.pong = (argus_Pong){.number = l->ping.number,
                                      .received_us = (int64_t)w->wall_us,
                                      .standing = l->ping.standing};
        l->ping.number = 0;
        struct event arrived = {.type = EVENT_FRAME, .frame = {l->id, &pong}};
        step(w, &arrived);
        settle(w);
    }
}

void world_step(struct world *w, struct event *event)
{
    step(w, event);
    settle(w);
    if (w->answers_pings)
        answer_pings(w);
}

static void advance(struct world *w, uint64_t to_ms)
{
    w->wall_us += (to_ms - w->now_ms) * 1000;
    w->now_ms = to_ms;
}

void world_pass(struct world *w, uint32_t ms)
{
    uint64_t until = w->now_ms + ms, last = 0;
    int still = 0;

    for (int steps = 0; steps < 64; steps++) {
        uint64_t due = engine_deadline_ms(w->engine);
        if (due > until)
            break;
        if (due > w->now_ms)
            advance(w, due);
        still = w->now_ms == last ? still + 1 : 0;
        assert(still < STANDSTILL_MAX);
        last = w->now_ms;
        struct event timeout = {.type = EVENT_TIMEOUT};
        world_step(w, &timeout);
        if (engine_deadline_ms(w->engine) <= w->now_ms)
            steps--; /* it has more to do right now */
    }
    if (until > w->now_ms)
        advance(w, until); /* and comes late to what was due */
    struct event timeout = {.type = EVENT_TIMEOUT};
    world_step(w, &timeout);
}

/* ----------------------------------------------------------------- links */

void world_link_up(struct world *w, uint32_t slot, uint8_t who,
                   argus_LinkKind kind, dial_id dial)
{
    world_twin_link_up(w, slot, who, kind, dial, 0);
}

/* A twin's facts are true ones. */
void world_twin_link_up(struct world *w, uint32_t slot, uint8_t who,
                        argus_LinkKind kind, dial_id dial, link_id to)
{
    struct world_link *l = &w->links[slot % WORLD_LINKS];
    struct peer_info peer;

    if (l->id != 0)
        return;
    memset(&peer, 0, sizeof peer);
    peer.id = world_id(who);
    peer.generation = to != 0 ? OWN_GENERATION : 1 + who / 64;
    peer.instance = (to != 0 ? OWN_INSTANCE : 100u) + who;
    peer.started_ms = WALL_START_US / 1000;
    peer.kind = kind;
    (void)snprintf(peer.name, sizeof peer.name, "n%u", who);
    if (who % 8 != 7)
        (void)snprintf(peer.address, sizeof peer.address, "10.0.0.%u:1", who);
    *l = (struct world_link){
        .id = ++w->last_link, .to = to, .kind = kind, .is_dialed = dial != 0};
    struct event up = {.type = EVENT_LINK_UP, .link_up = {l->id, dial, &peer}};
    world_step(w, &up);
}

void world_link_down(struct world *w, uint32_t slot, enum link_end why,
                     argus_RefuseCode code)
{
    struct world_link *l = &w->links[slot % WORLD_LINKS];
    struct event down = {.type = EVENT_LINK_DOWN,
                         .link_down = {l->id, why, code}};

    if (l->id == 0)
        return;
    if (l->to != 0)
        w->ended(w, l, code);
    l->id = 0;
    world_step(w, &down);
}

void world_dial_failed(struct world *w, uint32_t slot, enum link_end why,
                       argus_RefuseCode code)
{
    struct world_dial *d = &w->dials[slot % WORLD_DIALS];
    struct event failed = {.type = EVENT_DIAL_FAILED,
                           .dial_failed = {d->id, why, code}};

    if (d->id == 0)
        return;
    d->id = 0;
    world_step(w, &failed);
}

void world_frame(struct world *w, uint32_t slot, argus_Frame *frame)
{
    struct world_link *l = &w->links[slot % WORLD_LINKS];
    struct event arrived = {.type = EVENT_FRAME, .frame = {l->id, frame}};

    if (l->id == 0 || frame->which_body == argus_Frame_hello_tag ||
        frame->which_body == argus_Frame_refuse_tag)
        return; /* the transport keeps those */
    world_step(w, &arrived);
}

/* ------------------------------------------------------------- questions */

static void ask_bundles(const struct world *w, const char *name)
{
    static argus_BundleNodeReply node;
    struct bundle_view view;
    uint32_t i = 0;

    while (engine_bundle(w->engine, i, w->wall_us, &view)) {
        assert(view.bundle != NULL && view.manifest != NULL && view.is_head);
        i++;
    }
    (void)engine_bundle_version(w->engine, name, 0, w->wall_us, &view);
    if (engine_bundle_version(w->engine, name, 1, w->wall_us, &view))
        assert(engine_bundle_hash(w->engine, view.hash, w->wall_us, &view));
    for (i = 0; engine_bundle_node(w->engine, name, i, &node); i++)
        ;
    chunk_set_free(engine_chunks_used(w->engine));
}

void world_ask(struct world *w, const char *name)
{
    static argus_StatusReply status;
    static argus_MemberReply member;
    static argus_PeerReply peer;
    static argus_RouteReply route;
    static argus_EventReply event, before;
    static argus_Coverage coverage;
    struct engine_counter counters[256];
    link_id link;
    uint32_t i, count;

    engine_status(w->engine, w->now_ms, w->wall_us, &status);
    for (i = 0; engine_member(w->engine, i, w->now_ms, w->wall_us, &member);)
        i++;
    assert(i <= 4096);
    for (i = 0; engine_peer(w->engine, i, &peer, &link); i++)
        ;
    for (i = 0; engine_route(w->engine, name, i, &route); i++)
        ;
    count = engine_events_count(w->engine);
    for (i = 0; engine_event(w->engine, i, &event); i++) {
        assert(i == 0 || event.event.epoch > before.event.epoch ||
               (event.event.epoch == before.event.epoch &&
                event.event.hlc >= before.event.hlc));
        before = event;
    }
    assert(i == count);
    engine_coverage(w->engine, w->wall_us, &coverage);
    (void)engine_series_moved(w->engine, name, "cpu", "", "gauge", "");
    (void)engine_pending(w->engine);
    (void)engine_can_send(w->engine);
    count = engine_counters(w->engine, counters, 256);
    assert(count > 0 && count < 256);
    ask_bundles(w, name);
}

/* ------------------------------------------------------------------ life */

static void describe(const void *set, argus_SeriesDef *def)
{
    (void)set;
    def->sources_count = 1;
    memset(&def->sources[0], 0, sizeof def->sources[0]);
    (void)snprintf(def->sources[0].name, sizeof def->sources[0].name, "value");
    def->sources[0].type = argus_SourceType_SOURCE_GAUGE;
}

static void fill_options(struct engine_options *o, uint8_t flavor, uint8_t who)
{
    bool is_small = (flavor & 4) != 0;

    memset(o, 0, sizeof *o);
    o->seed = flavor;
    o->describe = describe;
    o->id = world_id(who);
    o->generation = OWN_GENERATION;
    o->instance = OWN_INSTANCE + who;
    o->started_ms = WALL_START_US / 1000;
    (void)snprintf(o->name, sizeof o->name, who == 0 ? "self" : "twin");
    (void)snprintf(o->address, sizeof o->address,
                   flavor & 32 ? "10.0.0.%u:1" : ":25827", who);
    (void)snprintf(o->zone, sizeof o->zone, "eu/1");
    (void)snprintf(o->software, sizeof o->software, "fuzz");
    o->role = flavor & 1 ? argus_Role_ROLE_AGGREGATOR : argus_Role_ROLE_AGENT;
    o->route = (flavor & 2) != 0;
    o->weight = 1;
    o->active_max = is_small ? 2 : 5;
    o->passive_max = is_small ? 4 : 30;
    o->shuffle_ms = 10000;
    o->calls = true;
    o->checks_address = true;
    o->listen_port = 25827;
    o->ping_ms = 2000;
    o->suspect_ms = 3500;
    o->retain_offline_s = 60;
    o->spool_bytes_max = is_small ? 4096 : 1 << 16;
    o->intake_queue_max = is_small ? 2 : 64;
    o->redispatch_max = is_small ? 3 : 0;
    o->clock_max_offset_ms = 500;
    o->forward = argus_Severity_SEVERITY_WARNING;
    o->retain_events = is_small ? 8 : 100;
    o->event_rate = 10;
    o->trusted_keys = kit_keys;
    o->trusted_keys_count = 2;
    o->bundle_size_max = 1 << 17;
}

void world_open(struct world *w, uint8_t flavor, uint8_t who)
{
    static const char *const contacts[] = {"10.0.0.1:1", "seed.example:1"};
    static struct engine_options o;

    memset(w, 0, sizeof *w);
    w->who = who;
    w->answers_pings = (flavor & 64) != 0;
    fill_options(&o, flavor, who);
    w->pool = kit_pool_new();
    w->chunks = calloc(1, sizeof *w->chunks);
    if (w->pool == NULL || w->chunks == NULL)
        abort();
    w->chunks->pool = w->pool;
    o.seal = (struct seal){.context = w,
                           .close = seal_close,
                           .close_all = seal_close_all,
                           .open = seal_open,
                           .hash = seal_hash,
                           .digest = kit_digest,
                           .vouches = seal_vouches};
    o.chunks = kit_store(w->chunks);
    o.contacts = contacts;
    o.contacts_count = flavor & 8 ? 2 : 0;
    w->out = (struct actions){.emit = on_action, .context = w};
    w->now_ms = 1000;
    w->wall_us = WALL_START_US;
    if (engine_new(&o, &w->engine) != ARGUS_OK)
        abort();
}

void world_close(struct world *w)
{
    engine_free(w->engine);
    kit_chunks_clear(w->chunks);
    kit_pool_free(w->pool);
    free(w->chunks);
}
