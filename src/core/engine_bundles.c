/* engine_bundles.c - what an engine does about bundles, and what it answers. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/engine_impl.h"
#include "core/target.h"

/* --------------------------------------------------- what parts tell */

static void spread(void *context, const argus_SignedBundle *bundle)
{
    struct engine *e = context;
    argus_Statement s = {.which_body = argus_Statement_bundle_tag,
                         .body.bundle = *bundle};
    uint8_t packed[SEALED_SIZE_MAX];
    size_t size = e->options.seal.close(e->options.seal.context, &s, packed);

    if (size == 0) {
        e->stats.bundle_unsealed++;
        return;
    }
    (void)overlay_broadcast(e->overlay, packed, size);
}

static const char *member_address(void *context, const struct node_id *id)
{
    struct engine *e = context;
    const struct member *m = directory_find(e->directory, id);

    return m != NULL ? m->address : "";
}

static bool any_live_member(void *context, uint32_t pick, struct node_id *id)
{
    struct membership_peer peer;

    const struct membership_wish live = {.live = true};

    if (!engine_any_member(context, pick, live, &peer))
        return false;
    *id = peer.id;
    return true;
}

/* The operator who pushed here may have gone home: so it is said to all. */
static void push_lost(void *context, const struct bundle_version *loser,
                      const struct bundle_version *winner, bool is_certain)
{
    struct engine *e = context;
    argus_Event event = argus_Event_init_zero;
    uint64_t hlc, number;

    event.severity = argus_Severity_SEVERITY_WARNING;
    event.time = engine_cdtime(e->wall_us);
    text_copy(event.host, sizeof event.host, e->options.name);
    text_copy(event.plugin, sizeof event.plugin, "argus");
    text_copy(event.plugin_instance, sizeof event.plugin_instance, "apply");
    text_copy(event.type, sizeof event.type, "superseded");
    text_copy(event.type_instance, sizeof event.type_instance,
              loser->manifest.name);
    text_say(event.message, sizeof event.message,
             is_certain ? "version %u of %s, pushed at %s, lost against "
                          "another push: version %u is in force everywhere"
                        : "version %u of %s, pushed at %s, may have lost "
                          "against another push: version %u is in force",
             loser->manifest.version, loser->manifest.name, e->options.name,
             winner->manifest.version);
    actions_log(&e->out, LOG_LEVEL_WARNING, "%s", event.message);
    engine_notice(e, &event, true, &hlc, &number);
}

/* ------------------------------------------------------------------ life */

static bool is_meant_here(const struct engine *e, const argus_Manifest *m)
{
    const struct engine_options *o = &e->options;
    const struct target_node self = {o->name, o->zone, o->role, o->tags,
                                     o->tags_count};

    return !m->removed && target_matches(m->target, &self);
}

int engine_bundles_new(struct engine *e, uint64_t seed)
{
    struct engine_options options = e->options;
    struct bundles_listener bundles_up = {.context = e, .lost = push_lost};
    struct bundle_sync_listener sync_up = {.context = e,
                                           .broadcast = spread,
                                           .address = member_address,
                                           .any_member = any_live_member};

    options.seed = seed;
    e->bundle_cursor = calloc(1, sizeof *e->bundle_cursor);
    if (e->bundle_cursor == NULL)
        return ARGUS_ENOMEM;
    int rc = bundles_new(&options, &bundles_up, &e->bundles);
    if (rc == ARGUS_OK)
        rc = bundle_sync_new(&options, e->bundles, &sync_up, &e->bundle_sync);
    e->options.trusted_keys = NULL; /* the caller's */
    return rc;
}

void engine_bundles_free(struct engine *e)
{
    bundle_sync_free(e->bundle_sync);
    bundles_free(e->bundles);
    free(e->bundle_cursor);
}

/* ---------------------------------------------------------------- inputs */

enum plumtree_verdict engine_bundles_deliver(struct engine *e, link_id from,
                                             const argus_SignedBundle *bundle)
{
    const struct peer_info *peer = links_peer(e->links, from);
    struct bundle_slot *slot = NULL;

    switch (bundles_take(e->bundles, e->wall_us, bundle, &slot, &e->out)) {
    case BUNDLES_NEWS:
        bundle_sync_on_news(e->bundle_sync, e->now_ms, e->wall_us, slot,
                            peer != NULL ? &peer->id : NULL, &e->out);
        return PLUMTREE_NEWS;
    case BUNDLES_NO_ROOM: /* others may have it */ return PLUMTREE_NEWS;
    case BUNDLES_BAD: e->stats.statement_bad++; return PLUMTREE_BAD;
    case BUNDLES_KNOWN: break;
    }
    return PLUMTREE_STALE;
}

static int check_target(const struct engine *e, const argus_Manifest *m,
                        struct argus_error *err)
{
    const struct member *member;
    argus_NodeRecord record;
    char shown[sizeof m->target];

    if (m->removed || is_meant_here(e, m))
        return ARGUS_OK;
    for (uint32_t i = 0; (member = directory_member(e->directory, i)); i++)
        if (directory_record(member, &record) &&
            target_matches_record(m->target, &record))
            return ARGUS_OK;
    text_clean_word(shown, sizeof shown, m->target);
    return argus_fail(err, ARGUS_EDENIED,
                      "no known node is meant by the target "
                      "\"%s\"",
                      shown);
}

static int push(struct engine *e, const argus_SignedBundle *bundle,
                struct argus_error *err)
{
    argus_Manifest m;
    struct bundle_slot *slot;
    int rc = bundles_check_push(e->bundles, e->wall_us, bundle, &m, err);

    if (rc == ARGUS_OK)
        rc = m.has_order ? engine_orders_check(e, &m, err)
                         : check_target(e, &m, err);
    if (rc == ARGUS_OK)
        rc = bundles_push(e->bundles, e->wall_us, bundle, &slot, &e->out, err);
    if (rc != ARGUS_OK)
        return rc;
    spread(e, bundle);
    bundle_sync_on_news(e->bundle_sync, e->now_ms, e->wall_us, slot, NULL,
                        &e->out);
    return ARGUS_OK;
}

void engine_bundles_on_event(struct engine *e, const struct event *event)
{
    switch (event->type) {
    case EVENT_BUNDLE_ROW:
        (void)bundles_load(e->bundles, event->bundle_row.data,
                           event->bundle_row.size);
        break;
    case EVENT_BUNDLE_PUSH:
        *event->bundle_push.result =
            push(e, event->bundle_push.bundle, event->bundle_push.err);
        break;
    case EVENT_BUNDLE_STATES:
        directory_set_bundles(e->directory, e->now_ms, e->wall_us,
                              event->bundle_states.states,
                              event->bundle_states.count, &e->out);
        break;
    case EVENT_BUNDLES_KEPT:
        bundles_keep(e->bundles, event->bundles_kept.hashes,
                     event->bundles_kept.count);
        break;
    case EVENT_KEYS:
        directory_set_keys(e->directory, e->now_ms, e->wall_us,
                           event->keys.held, event->keys.count, &e->out);
        break;
    default: break;
    }
}

void engine_bundles_settle(struct engine *e)
{
    struct action a = {.type = ACTION_BUNDLES};

    if (bundles_take_changed(e->bundles))
        e->out.emit(e->out.context, &a);
}

/* --------------------------------------------------------------- questions */

static bool fill_view(const struct engine *e, const struct bundle_version *v,
                      uint64_t wall_us, struct bundle_view *out)
{
    if (v == NULL)
        return false;
    *out = (struct bundle_view){
        .bundle = &v->bundle,
        .manifest = &v->manifest,
        .is_head = bundles_is_in_force(e->bundles, v),
        .is_trusted = v->slot->is_trusted,
        .is_revoked = v->slot->is_revoked,
        .is_target = is_meant_here(e, &v->manifest),
        .is_complete = bundles_is_complete(e->bundles, v),
        .is_expired = v->manifest.expires_ms != 0 &&
                      v->manifest.expires_ms <= wall_us / 1000};
    memcpy(out->hash, v->hash, sizeof out->hash);
    memcpy(out->signer, v->slot->signer, sizeof out->signer);
    return true;
}

bool engine_order(const struct engine *e, enum order_kind kind,
                  struct bundle_view *out)
{
    return fill_view(e, bundles_order(e->bundles, kind), 0, out);
}

bool engine_bundle(const struct engine *e, uint32_t index, uint64_t wall_us,
                   struct bundle_view *out)
{
    return fill_view(e, bundles_in_force(e->bundles, index), wall_us, out);
}

bool engine_bundle_version(const struct engine *e, const char *name,
                           uint32_t version, uint64_t wall_us,
                           struct bundle_view *out)
{
    return fill_view(e, bundles_version(e->bundles, name, version), wall_us,
                     out);
}

bool engine_bundle_hash(const struct engine *e,
                        const uint8_t hash[CONTENT_HASH_SIZE], uint64_t wall_us,
                        struct bundle_view *out)
{
    return fill_view(e, bundles_by_hash(e->bundles, hash), wall_us, out);
}

static const argus_BundleState *find_state(const argus_NodeRecord *record,
                                           const char *name)
{
    for (pb_size_t i = 0; i < record->bundles_count; i++)
        if (strcmp(record->bundles[i].name, name) == 0)
            return &record->bundles[i];
    return NULL;
}

/* Does that state speak of this version, or of a later one? */
static bool is_current(const argus_BundleState *state,
                       const struct bundle_version *head)
{
    if (state == NULL || state->desired != head->manifest.version)
        return state != NULL && state->desired > head->manifest.version;
    return state->desired_hash.size == 0 ||
           memcmp(state->desired_hash.bytes, head->hash,
                  state->desired_hash.size) == 0;
}

/* Whose record is of an older version, or says nothing, has yet to hear. */
static void fill_state(const argus_BundleState *state,
                       const struct bundle_version *head,
                       argus_BundleState *out)
{
    if (is_current(state, head)) {
        *out = *state;
        return;
    }
    text_copy(out->name, sizeof out->name, head->manifest.name);
    out->desired = head->manifest.version;
    out->desired_hash.size = sizeof out->desired_hash.bytes;
    memcpy(out->desired_hash.bytes, head->hash, out->desired_hash.size);
    out->running = state != NULL ? state->running : 0;
    out->phase = argus_BundlePhase_BUNDLE_PENDING;
}

static bool fill_node(const struct bundle_version *head, const struct member *m,
                      argus_BundleNodeReply *out)
{
    argus_NodeRecord record;

    if (m->has_left)
        return false;
    bool is_unheard = !directory_record(m, &record);
    const argus_BundleState *state =
        is_unheard ? NULL : find_state(&record, head->manifest.name);
    bool is_meant =
        !head->manifest.removed &&
        (is_unheard ? strcmp(head->manifest.target, "*") == 0
                    : target_matches_record(head->manifest.target, &record));
    if (!is_meant && (state == NULL || state->running == 0))
        return false;
    memset(out, 0, sizeof *out);
    text_copy(out->node, sizeof out->node, m->name);
    memcpy(out->id, m->id.bytes, NODE_ID_SIZE);
    out->member = (argus_MemberState)m->state;
    out->unheard = is_unheard;
    out->has_bundle = true;
    fill_state(state, head, &out->bundle);
    return true;
}

bool engine_bundle_node(const struct engine *e, const char *name,
                        uint32_t index, argus_BundleNodeReply *out)
{
    const struct bundle_version *head = bundles_version(e->bundles, name, 0);
    struct bundle_cursor *c = e->bundle_cursor;
    const struct member *m;
    uint32_t at = 0, row = 0;

    if (head == NULL || head->manifest.has_order)
        return false;
    if (c->step == e->steps && index > c->index && strcmp(c->name, name) == 0) {
        at = c->member + 1;
        row = c->index + 1;
    }
    for (; (m = directory_member(e->directory, at)) != NULL; at++)
        if (fill_node(head, m, out) && row++ == index) {
            *c = (struct bundle_cursor){
                .step = e->steps, .index = index, .member = at};
            text_copy(c->name, sizeof c->name, name);
            return true;
        }
    return false;
}

/* ---------------------------------------------------------- chunks in use */

struct chunk_set {
    uint32_t count, room;
    uint8_t (*hashes)[CONTENT_HASH_SIZE]; /* sorted */
};

static int compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, CONTENT_HASH_SIZE);
}

static bool set_add(struct chunk_set *set, const uint8_t *hashes,
                    uint32_t count)
{
    if (set->count + count > set->room) {
        uint32_t room = 2 * (set->count + count);
        void *grown = realloc(set->hashes, room * sizeof *set->hashes);
        if (grown == NULL)
            return false;
        set->hashes = grown;
        set->room = room;
    }
    memcpy(set->hashes[set->count], hashes, count * sizeof *set->hashes);
    set->count += count;
    return true;
}

static bool set_add_version(const struct engine *e, struct chunk_set *set,
                            const argus_Manifest *m)
{
    uint8_t index[CONTENT_CHUNK_SIZE];

    if (m->removed || m->has_order)
        return true;
    if (!set_add(set, m->index.bytes, 1))
        return false;
    return !content_index(&e->options.chunks, m, index) ||
           set_add(set, index, content_chunks(m));
}

struct chunk_set *engine_chunks_used(const struct engine *e)
{
    struct chunk_set *set = calloc(1, sizeof *set);
    struct bundle_slot *slot;

    if (set == NULL)
        return NULL;
    for (uint32_t i = 0; (slot = bundles_slot(e->bundles, i)) != NULL; i++)
        for (uint32_t k = 0; k < slot->count; k++)
            if (!set_add_version(e, set, &slot->versions[k]->manifest)) {
                chunk_set_free(set);
                return NULL;
            }
    if (set->count > 0)
        qsort(set->hashes, set->count, sizeof *set->hashes, compare_hashes);
    return set;
}

bool chunk_set_has(void *context, const uint8_t hash[CONTENT_HASH_SIZE])
{
    const struct chunk_set *set = context;

    return set->count > 0 &&
           bsearch(hash, set->hashes, set->count, sizeof *set->hashes,
                   compare_hashes) != NULL;
}

void chunk_set_free(struct chunk_set *set)
{
    if (set == NULL)
        return;
    free(set->hashes);
    free(set);
}
