#include "core/bundle_sync.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "core/bundle_sync_impl.h"

_Static_assert(sizeof((argus_BundleDigest *)0)->entries /
                           sizeof((argus_BundleDigest *)0)->entries[0] ==
                       BUNDLES_MAX &&
                   sizeof((argus_BundleWant *)0)->slots ==
                       BUNDLES_MAX * BUNDLE_SLOT_ID_SIZE,
               "all heads fit in one digest, all slots in one want");

/* ------------------------------------------------------------------ life */

int bundle_sync_new(const struct engine_options *node, struct bundles *bundles,
                    const struct bundle_sync_listener *listener,
                    struct bundle_sync **out)
{
    struct bundle_sync *s = calloc(1, sizeof *s);

    if (s == NULL)
        return ARGUS_ENOMEM;
    s->id = node->id;
    s->bundles = bundles;
    s->chunks = node->chunks;
    s->seal = node->seal;
    s->listener = *listener;
    s->due_ms = UINT64_MAX;
    prng_seed(&s->prng, node->seed ^ (uint64_t)BUNDLE_DIAL_TAG << 56);
    *out = s;
    return ARGUS_OK;
}

void bundle_sync_free(struct bundle_sync *s)
{
    if (s == NULL)
        return;
    fetch_close(s);
    free(s->sessions);
    free(s->unroomed);
    free(s->neighbors);
    free(s);
}

static void enter(struct bundle_sync *s, uint64_t now_ms, uint64_t wall_us)
{
    s->now_ms = now_ms;
    s->wall_us = wall_us;
}

static uint64_t after(struct bundle_sync *s, uint32_t period_ms)
{
    return s->now_ms + period_ms + prng_below(&s->prng, period_ms + 1);
}

static void sync_soon(struct bundle_sync *s)
{
    uint64_t when_ms = after(s, BUNDLE_SETTLE_MS);

    s->is_soon = true;
    if (when_ms < s->due_ms)
        s->due_ms = when_ms;
}

void bundle_sync_start(struct bundle_sync *s, uint64_t now_ms, uint64_t wall_us,
                       struct actions *out)
{
    enter(s, now_ms, wall_us);
    s->is_started = true;
    s->due_ms = after(s, BUNDLE_PERIOD_MS);
    for (uint32_t i = 0; i < bundles_slots_count(s->bundles); i++)
        fetch_begin(s, bundles_slot(s->bundles, i), NULL);
    fetch_run(s, out);
}

uint64_t bundle_sync_sum(const struct bundle_sync *s)
{
    struct bundle_slot *slot;
    uint64_t sum = 0;

    for (uint32_t i = 0; (slot = bundles_slot(s->bundles, i)) != NULL; i++) {
        const uint8_t *hash = bundle_slot_head(slot)->hash;
        uint64_t head = 0; /* the same on machines of either byte order */
        for (uint32_t k = 0; k < 8; k++)
            head = head << 8 | hash[k];
        sum += head;
    }
    return sum;
}

void bundle_sync_stop(struct bundle_sync *s)
{
    s->is_started = false;
    s->due_ms = UINT64_MAX;
}

/* -------------------------------------------------------- neighbors */

static struct bundle_neighbor *find_neighbor(const struct bundle_sync *s,
                                             const struct node_id *id)
{
    for (uint32_t i = 0; i < s->neighbors_count; i++)
        if (node_id_is_equal(&s->neighbors[i].id, id))
            return &s->neighbors[i];
    return NULL;
}

static struct bundle_neighbor *add_neighbor(struct bundle_sync *s)
{
    if (s->neighbors_count == s->neighbors_room) {
        uint32_t room = s->neighbors_room == 0 ? 8 : 2 * s->neighbors_room;
        if (room > BUNDLE_NEIGHBORS_MAX)
            return NULL;
        struct bundle_neighbor *list =
            realloc(s->neighbors, room * sizeof *list);
        if (list == NULL)
            return NULL;
        s->neighbors = list;
        s->neighbors_room = room;
    }
    return &s->neighbors[s->neighbors_count++];
}

void bundle_sync_neighbor_up(struct bundle_sync *s, uint64_t now_ms,
                             uint64_t wall_us, const struct peer_info *peer,
                             struct actions *out)
{
    struct bundle_neighbor *n = find_neighbor(s, &peer->id);

    enter(s, now_ms, wall_us);
    if (n == NULL && (n = add_neighbor(s)) == NULL) {
        s->stats.neighbors_refused++;
        return;
    }
    *n = (struct bundle_neighbor){.id = peer->id};
    text_copy(n->address, sizeof n->address, peer->address);
    bool is_ours = node_id_compare(&s->id, &peer->id) < 0;
    n->due_ms = now_ms + (is_ours ? 0 : BUNDLE_FALLBACK_MS) +
                prng_below(&s->prng, BUNDLE_DELAY_MS);
    fetch_wake(s);
    fetch_run(s, out);
}

void bundle_sync_neighbor_down(struct bundle_sync *s, const struct node_id *id)
{
    struct bundle_neighbor *n = find_neighbor(s, id);

    if (n == NULL)
        return;
    *n = s->neighbors[--s->neighbors_count];
    if (s->neighbors_count == 0)
        s->is_established = false;
}

void bundle_sync_on_summary(struct bundle_sync *s, uint64_t now_ms,
                            uint64_t wall_us, const struct node_id *neighbor,
                            uint64_t sum)
{
    struct bundle_neighbor *n = find_neighbor(s, neighbor);

    enter(s, now_ms, wall_us);
    if (n == NULL || !s->is_started || n->due_ms != UINT64_MAX ||
        s->now_ms < n->deaf_until_ms || sum == bundle_sync_sum(s))
        return;
    n->deaf_until_ms = s->now_ms + BUNDLE_SETTLE_MS;
    n->retries = 0;
    n->due_ms = s->now_ms;
}

/* ---------------------------------------------------------- sessions */

static struct bundle_session *find_link(struct bundle_sync *s, link_id link)
{
    for (uint32_t i = 0; i < s->sessions_count; i++)
        if (s->sessions[i].link == link)
            return &s->sessions[i];
    return NULL;
}

/* One that is up rather than one that is still dialed. */
static struct bundle_session *find_peer(struct bundle_sync *s,
                                        const struct node_id *peer)
{
    struct bundle_session *found = NULL;

    for (uint32_t i = 0; i < s->sessions_count; i++)
        if (node_id_is_equal(&s->sessions[i].peer, peer) &&
            (found == NULL || found->link == 0))
            found = &s->sessions[i];
    return found;
}

static const char *address_of(struct bundle_sync *s, const struct node_id *peer)
{
    const struct bundle_neighbor *n = find_neighbor(s, peer);
    const char *address = s->listener.address(s->listener.context, peer);

    if ((address[0] == '\0' || address[0] == ':') && n != NULL)
        address = n->address;
    return address[0] == ':' ? "" : address;
}

static void exchange_failed(struct bundle_sync *s, const struct node_id *peer)
{
    struct bundle_neighbor *n = find_neighbor(s, peer);

    s->stats.syncs_failed++;
    if (n != NULL && n->retries < BUNDLE_RETRIES) {
        n->retries++;
        n->due_ms = after(s, BUNDLE_SETTLE_MS);
    }
}

static void exchange_done(struct bundle_sync *s, const struct node_id *peer)
{
    struct bundle_neighbor *n = find_neighbor(s, peer);

    s->stats.syncs_done++;
    if (s->neighbors_count > 0)
        s->is_established = true;
    if (n != NULL)
        n->due_ms = UINT64_MAX;
}

static void remove_session(struct bundle_sync *s,
                           struct bundle_session *session)
{
    struct node_id peer = session->peer;
    bool has_failed = session->wants_digest || session->is_waiting;
    bool is_missed = session->wants_count > 0 || session->link == 0;

    if (session->dial != 0)
        s->dialed_count--;
    *session = s->sessions[--s->sessions_count];
    if (has_failed)
        exchange_failed(s, &peer);
    if (is_missed)
        fetch_on_session_end(s, &peer);
}

static void end_session(struct bundle_sync *s, struct bundle_session *session,
                        argus_RefuseCode code, const char *text,
                        struct actions *out)
{
    actions_close(out, session->link, code, text);
    remove_session(s, session);
}

static bool is_busy(const struct bundle_session *session)
{
    return session->link == 0 || session->wants_count > 0 ||
           session->asked_count > 0 || session->is_waiting;
}

/* Links that only linger give way to one that is needed. */
static void make_room(struct bundle_sync *s, struct actions *out)
{
    struct bundle_session *oldest = NULL;

    for (uint32_t i = 0; i < s->sessions_count; i++) {
        struct bundle_session *session = &s->sessions[i];
        if (session->dial != 0 && !is_busy(session) &&
            (oldest == NULL || session->active_ms < oldest->active_ms))
            oldest = session;
    }
    if (oldest != NULL)
        end_session(s, oldest, argus_RefuseCode_REFUSE_BYE, "in sync", out);
}

/* @return NULL: no memory. */
static struct bundle_session *add_session(struct bundle_sync *s)
{
    if (s->sessions_count == s->sessions_room) {
        uint32_t room = s->sessions_room == 0 ? 4 : 2 * s->sessions_room;
        struct bundle_session *list = realloc(s->sessions, room * sizeof *list);
        if (list == NULL) {
            s->stats.memory_refused++;
            return NULL;
        }
        s->sessions = list;
        s->sessions_room = room;
    }
    return &s->sessions[s->sessions_count++];
}

static struct bundle_session *dial_session(struct bundle_sync *s,
                                           const struct node_id *peer,
                                           struct actions *out)
{
    const char *address = address_of(s, peer);

    if (address[0] == '\0' || !s->is_started)
        return NULL;
    if (s->dialed_count == BUNDLE_OUT_MAX)
        make_room(s, out);
    if (s->dialed_count == BUNDLE_OUT_MAX) {
        s->stats.links_refused++;
        return NULL;
    }
    struct bundle_session *session = add_session(s);
    if (session == NULL)
        return NULL;
    *session = (struct bundle_session){.dial = (uint64_t)BUNDLE_DIAL_TAG << 56 |
                                               ++s->dials,
                                       .peer = *peer,
                                       .started_ms = s->now_ms,
                                       .active_ms = s->now_ms};
    s->dialed_count++;
    actions_dial(out, session->dial, argus_LinkKind_LINK_BUNDLE, address, peer);
    return session;
}

struct bundle_session *bundle_session_with(struct bundle_sync *s,
                                           const struct node_id *peer,
                                           struct actions *out)
{
    struct bundle_session *session = find_peer(s, peer);

    return session != NULL ? session : dial_session(s, peer, out);
}

void bundle_session_malformed(struct bundle_sync *s,
                              struct bundle_session *session, const char *text,
                              struct actions *out)
{
    s->stats.malformed++;
    fetch_on_session_end(s, &session->peer);
    end_session(s, session, argus_RefuseCode_REFUSE_MALFORMED, text, out);
}

/* ------------------------------------------------------------ anti-entropy */

static void send_digest(struct bundle_sync *s, struct bundle_session *session,
                        struct actions *out)
{
    argus_Frame frame;
    argus_BundleDigest *d = &frame.body.bundle_digest;
    struct bundle_slot *slot;

    frame.hlc = 0;
    frame.which_body = argus_Frame_bundle_digest_tag;
    d->entries_count = 0;
    for (uint32_t i = 0; (slot = bundles_slot(s->bundles, i)) != NULL; i++) {
        const struct bundle_version *head = bundle_slot_head(slot);
        argus_BundleEntry *e = &d->entries[d->entries_count++];
        memcpy(e->slot, slot->id, sizeof e->slot);
        e->version = head->manifest.version;
        memcpy(e->hash, head->hash, sizeof e->hash);
    }
    session->wants_digest = false;
    session->is_digest_done = true;
    session->is_waiting = true;
    session->items_left = BUNDLES_MAX;
    session->active_ms = s->now_ms;
    s->stats.syncs_begun++;
    actions_send(out, session->link, &frame);
}

/* Begin an exchange with that peer. @return false: not now. */
static bool begin_exchange(struct bundle_sync *s, const struct node_id *peer,
                           struct actions *out)
{
    for (uint32_t i = 0; i < s->sessions_count; i++) {
        struct bundle_session *other = &s->sessions[i];
        if (other->dial == 0 || !node_id_is_equal(&other->peer, peer))
            continue;
        if (other->is_digest_done) /* once a link */
            return other->is_waiting;
        other->wants_digest = true;
        if (other->link != 0)
            send_digest(s, other, out);
        return true;
    }
    struct bundle_session *session = dial_session(s, peer, out);
    if (session != NULL)
        session->wants_digest = true;
    return session != NULL;
}

/* Items on their way: sent when a frame is full. */
struct items {
    struct bundle_sync *s;
    link_id link;
    struct actions *out;
    size_t bytes;
    argus_Frame frame;
};

static void items_begin(struct items *it, struct bundle_sync *s, link_id link,
                        struct actions *out)
{
    it->s = s;
    it->link = link;
    it->out = out;
    it->bytes = 0;
    it->frame.hlc = 0;
    it->frame.which_body = argus_Frame_bundle_items_tag;
    it->frame.body.bundle_items.bundles_count = 0;
}

static void items_flush(struct items *it)
{
    argus_BundleItems *items = &it->frame.body.bundle_items;

    if (items->bundles_count == 0)
        return;
    it->s->stats.items_sent += items->bundles_count;
    actions_send(it->out, it->link, &it->frame);
    items->bundles_count = 0;
}

static void items_put(struct items *it, const struct bundle_slot *slot)
{
    argus_BundleItems *items = &it->frame.body.bundle_items;
    const argus_SignedBundle *bundle = &bundle_slot_head(slot)->bundle;

    if (it->bytes >= BUNDLE_ITEMS_BYTES)
        return;
    it->bytes += bundle->manifest.size + sizeof bundle->signature;
    items->bundles[items->bundles_count++] = *bundle;
    if (items->bundles_count == BUNDLE_ITEMS_MAX)
        items_flush(it);
}

static bool has_no_room(const struct bundle_sync *s, const uint8_t *slot)
{
    uint32_t count = s->unroomed_count < BUNDLE_UNROOMED_MAX
                         ? s->unroomed_count
                         : BUNDLE_UNROOMED_MAX;

    for (uint32_t i = 0; i < count; i++)
        if (memcmp(s->unroomed[i], slot, BUNDLE_SLOT_ID_SIZE) == 0)
            return true;
    return false;
}

static void remember_no_room(struct bundle_sync *s,
                             const argus_SignedBundle *bundle)
{
    uint8_t id[BUNDLE_SLOT_ID_SIZE];

    if (s->unroomed == NULL)
        s->unroomed = calloc(BUNDLE_UNROOMED_MAX, sizeof *s->unroomed);
    if (s->unroomed != NULL && bundles_slot_of(s->bundles, bundle, id) &&
        !has_no_room(s, id))
        memcpy(s->unroomed[s->unroomed_count++ % BUNDLE_UNROOMED_MAX], id,
               sizeof id);
}

/* The difference between a digest and what is known here, both in order. */
static void merge(struct bundle_sync *s, const argus_BundleDigest *theirs,
                  struct items *items, argus_BundleWant *want)
{
    uint32_t i = 0, k = 0;

    for (;;) {
        struct bundle_slot *slot = bundles_slot(s->bundles, i);
        const argus_BundleEntry *e =
            k < theirs->entries_count ? &theirs->entries[k] : NULL;
        if (slot == NULL && e == NULL)
            return;
        int side = slot == NULL ? 1
                   : e == NULL  ? -1
                                : memcmp(slot->id, e->slot, sizeof e->slot);
        int order = side;
        if (side == 0) {
            const struct bundle_version *head = bundle_slot_head(slot);
            order = -bundles_compare(head->manifest.version, head->hash,
                                     e->version, e->hash, sizeof e->hash);
        }
        if (order < 0)
            items_put(items, slot);
        else if (order > 0 && !has_no_room(s, e->slot))
            memcpy(want->slots[want->slots_count++], e->slot,
                   BUNDLE_SLOT_ID_SIZE);
        i += side <= 0;
        k += side >= 0;
    }
}

static bool digest_is_sound(const argus_BundleDigest *d)
{
    for (pb_size_t i = 0; i < d->entries_count; i++)
        if (d->entries[i].version == 0 ||
            (i > 0 && memcmp(d->entries[i - 1].slot, d->entries[i].slot,
                             BUNDLE_SLOT_ID_SIZE) >= 0))
            return false;
    return true;
}

static void on_digest(struct bundle_sync *s, struct bundle_session *session,
                      const argus_BundleDigest *theirs, struct actions *out)
{
    struct items items;
    argus_Frame frame;
    argus_BundleWant *want = &frame.body.bundle_want;

    if (session->dial != 0 || session->is_digest_done ||
        !digest_is_sound(theirs)) {
        bundle_session_malformed(s, session, "digest out of turn or order",
                                 out);
        return;
    }
    frame.hlc = 0;
    frame.which_body = argus_Frame_bundle_want_tag;
    want->slots_count = 0;
    items_begin(&items, s, session->link, out);
    merge(s, theirs, &items, want);
    items_flush(&items);
    session->is_digest_done = true;
    session->items_left = want->slots_count;
    actions_send(out, session->link, &frame);
    fetch_ask_first(s, &session->peer);
    if (want->slots_count == 0)
        exchange_done(s, &session->peer);
}

static void on_want(struct bundle_sync *s, struct bundle_session *session,
                    const argus_BundleWant *want, struct actions *out)
{
    struct items items;
    bool is_sound = session->is_waiting;

    for (pb_size_t i = 1; i < want->slots_count; i++)
        is_sound &=
            memcmp(want->slots[i - 1], want->slots[i], BUNDLE_SLOT_ID_SIZE) < 0;
    if (!is_sound) {
        bundle_session_malformed(s, session, "want out of turn or order", out);
        return;
    }
    items_begin(&items, s, session->link, out);
    for (pb_size_t i = 0; i < want->slots_count; i++) {
        const struct bundle_slot *slot =
            bundles_find_slot(s->bundles, want->slots[i]);
        if (slot != NULL)
            items_put(&items, slot);
    }
    items_flush(&items);
    session->is_waiting = false;
    session->items_left = 0;
    exchange_done(s, &session->peer);
}

/* ------------------------------------------------------------------ news */

static void spread_again(struct bundle_sync *s, struct bundle_slot *slot)
{
    if (slot->is_spreading)
        return;
    slot->is_spreading = true;
    if (s->spreading_count++ == 0)
        s->spread_due_ms = s->now_ms;
}

static void spread_some(struct bundle_sync *s)
{
    struct bundle_slot *slot;
    uint32_t n = 0;

    for (uint32_t i = 0; n < BUNDLE_SPREAD_BURST &&
                         (slot = bundles_slot(s->bundles, i)) != NULL;
         i++) {
        if (!slot->is_spreading)
            continue;
        slot->is_spreading = false;
        s->spreading_count--;
        s->stats.spread_again++;
        s->listener.broadcast(s->listener.context,
                              &bundle_slot_head(slot)->bundle);
        n++;
    }
    s->spread_due_ms = s->now_ms + BUNDLE_SPREAD_MS;
}

void bundle_sync_on_news(struct bundle_sync *s, uint64_t now_ms,
                         uint64_t wall_us, struct bundle_slot *slot,
                         const struct node_id *from, struct actions *out)
{
    enter(s, now_ms, wall_us);
    fetch_begin(s, slot, from);
    sync_soon(s);
    fetch_run(s, out);
}

/* @return false: the peer hands on what it cannot have checked. */
static bool take_item(struct bundle_sync *s, const struct node_id *peer,
                      const argus_SignedBundle *bundle, struct actions *out)
{
    struct bundle_slot *slot = NULL;

    s->stats.items_received++;
    switch (bundles_take(s->bundles, s->wall_us, bundle, &slot, out)) {
    case BUNDLES_NEWS:
        fetch_begin(s, slot, peer);
        sync_soon(s);
        if (s->is_established)
            spread_again(s, slot);
        return true;
    case BUNDLES_KNOWN: return true;
    case BUNDLES_NO_ROOM: remember_no_room(s, bundle); return true;
    case BUNDLES_BAD: break;
    }
    return false;
}

static void on_items(struct bundle_sync *s, struct bundle_session *session,
                     const argus_BundleItems *items, struct actions *out)
{
    if (items->bundles_count > session->items_left) {
        bundle_session_malformed(s, session, "bundles nobody asked for", out);
        return;
    }
    session->items_left -= items->bundles_count;
    for (pb_size_t i = 0; i < items->bundles_count; i++)
        if (!take_item(s, &session->peer, &items->bundles[i], out)) {
            bundle_session_malformed(s, session,
                                     "a bundle that is damaged or "
                                     "signed wrongly",
                                     out);
            return;
        }
    if (session->dial == 0 && session->items_left == 0)
        exchange_done(s, &session->peer);
}

/* ---------------------------------------------------------------- inputs */

static void on_dialed(struct bundle_sync *s, link_id link, dial_id dial,
                      struct actions *out)
{
    for (uint32_t i = 0; i < s->sessions_count; i++) {
        struct bundle_session *session = &s->sessions[i];
        if (session->dial != dial)
            continue;
        session->link = link;
        session->active_ms = s->now_ms;
        if (session->wants_digest)
            send_digest(s, session, out);
        fetch_run(s, out);
        return;
    }
    actions_close(out, link, argus_RefuseCode_REFUSE_BYE, "not needed");
}

/* Whoever dials anew has done with his former link, of whose end we have not
 * heard yet. */
static void replace_accepted(struct bundle_sync *s, const struct node_id *id,
                             struct actions *out)
{
    for (uint32_t i = 0; i < s->sessions_count; i++)
        if (s->sessions[i].dial == 0 &&
            node_id_is_equal(&s->sessions[i].peer, id)) {
            end_session(s, &s->sessions[i], argus_RefuseCode_REFUSE_REPLACED,
                        "a newer bundle link took over", out);
            return;
        }
}

void bundle_sync_on_link_up(struct bundle_sync *s, uint64_t now_ms,
                            uint64_t wall_us, link_id link, dial_id dial,
                            const struct peer_info *peer, struct actions *out)
{
    enter(s, now_ms, wall_us);
    if (dial != 0) {
        on_dialed(s, link, dial, out);
        return;
    }
    replace_accepted(s, &peer->id, out);
    struct bundle_session *session = NULL;
    if (s->sessions_count - s->dialed_count < BUNDLE_IN_MAX && s->is_started)
        session = add_session(s);
    if (session == NULL) {
        s->stats.links_refused++;
        actions_close(out, link, argus_RefuseCode_REFUSE_BUSY,
                      "enough bundle links for now");
        return;
    }
    *session = (struct bundle_session){.link = link,
                                       .peer = peer->id,
                                       .started_ms = now_ms,
                                       .active_ms = now_ms};
    s->stats.syncs_accepted++;
    fetch_run(s, out);
}

void bundle_sync_on_link_down(struct bundle_sync *s, uint64_t now_ms,
                              uint64_t wall_us, link_id link,
                              struct actions *out)
{
    struct bundle_session *session = find_link(s, link);

    enter(s, now_ms, wall_us);
    if (session == NULL)
        return;
    remove_session(s, session);
    fetch_run(s, out);
}

void bundle_sync_on_dial_failed(struct bundle_sync *s, uint64_t now_ms,
                                uint64_t wall_us, dial_id dial,
                                struct actions *out)
{
    enter(s, now_ms, wall_us);
    for (uint32_t i = 0; i < s->sessions_count; i++)
        if (s->sessions[i].dial == dial) {
            remove_session(s, &s->sessions[i]);
            fetch_run(s, out);
            return;
        }
}

void bundle_sync_on_frame(struct bundle_sync *s, uint64_t now_ms,
                          uint64_t wall_us, link_id link,
                          const argus_Frame *frame, struct actions *out)
{
    struct bundle_session *session = find_link(s, link);

    enter(s, now_ms, wall_us);
    if (session == NULL) { /* sent before our close reached the peer */
        s->stats.frames_stranger++;
        return;
    }
    session->active_ms = now_ms;
    switch (frame->which_body) {
    case argus_Frame_bundle_digest_tag:
        on_digest(s, session, &frame->body.bundle_digest, out);
        break;
    case argus_Frame_bundle_items_tag:
        on_items(s, session, &frame->body.bundle_items, out);
        break;
    case argus_Frame_bundle_want_tag:
        on_want(s, session, &frame->body.bundle_want, out);
        break;
    case argus_Frame_chunk_want_tag:
        chunk_on_want(s, session, &frame->body.chunk_want, out);
        break;
    case argus_Frame_chunk_tag:
        chunk_on_chunk(s, session, &frame->body.chunk, out);
        break;
    default:
        bundle_session_malformed(s, session, "not a frame of a bundle link",
                                 out);
    }
    fetch_run(s, out);
}

/* -------------------------------------------------------------- timers */

static void sync_neighbors(struct bundle_sync *s, struct actions *out)
{
    for (uint32_t i = 0; i < s->neighbors_count; i++) {
        struct bundle_neighbor *n = &s->neighbors[i];
        if (n->due_ms > s->now_ms)
            continue;
        n->due_ms = UINT64_MAX;
        if (!begin_exchange(s, &n->id, out) && n->retries++ < BUNDLE_RETRIES)
            n->due_ms = after(s, BUNDLE_SETTLE_MS);
    }
}

static void sync_somebody(struct bundle_sync *s, struct actions *out)
{
    bool is_neighbor = s->is_soon;
    struct node_id id;

    s->is_soon = false;
    s->due_ms = after(s, BUNDLE_PERIOD_MS);
    if (s->neighbors_count == 0)
        return;
    if (!is_neighbor) {
        if (s->listener.any_member(s->listener.context,
                                   (uint32_t)prng_next(&s->prng), &id))
            (void)begin_exchange(s, &id, out);
        return;
    }
    uint32_t at = prng_below(&s->prng, s->neighbors_count);
    s->neighbors[at].retries = 0;
    s->neighbors[at].due_ms = s->now_ms;
}

static bool wants_too_long(const struct bundle_sync *s,
                           const struct bundle_session *session)
{
    for (uint32_t i = 0; i < session->wants_count; i++)
        if (s->now_ms - session->wants[i].since_ms >= BUNDLE_ANSWER_MS)
            return true;
    return false;
}

static uint64_t idle_end_ms(const struct bundle_session *session)
{
    bool lingers = session->dial != 0 && !is_busy(session);

    return session->active_ms + (lingers ? BUNDLE_LINGER_MS : BUNDLE_IDLE_MS);
}

static void end_stale_sessions(struct bundle_sync *s, struct actions *out)
{
    for (uint32_t i = s->sessions_count; i-- > 0;) {
        struct bundle_session *session = &s->sessions[i];
        if (session->link == 0)
            continue;
        if (wants_too_long(s, session)) {
            s->stats.chunks_late++;
            end_session(s, session, argus_RefuseCode_REFUSE_SILENT,
                        "a chunk was neither sent nor denied in time", out);
        } else if (s->now_ms - session->started_ms >= BUNDLE_SESSION_MS) {
            end_session(s, session, argus_RefuseCode_REFUSE_BUSY,
                        "the bundle link was open for too long", out);
        } else if (idle_end_ms(session) <= s->now_ms) {
            bool is_orderly = session->dial != 0 && !is_busy(session);
            end_session(s, session,
                        is_orderly ? argus_RefuseCode_REFUSE_BYE
                                   : argus_RefuseCode_REFUSE_SILENT,
                        is_orderly ? "in sync" : "the bundle link is idle",
                        out);
        }
    }
}

void bundle_sync_on_timeout(struct bundle_sync *s, uint64_t now_ms,
                            uint64_t wall_us, struct actions *out)
{
    enter(s, now_ms, wall_us);
    if (!s->is_started)
        return;
    chunk_deny_late(s, out);
    end_stale_sessions(s, out);
    if (s->due_ms <= now_ms)
        sync_somebody(s, out);
    sync_neighbors(s, out);
    if (s->spreading_count > 0 && s->spread_due_ms <= now_ms)
        spread_some(s);
    fetch_run(s, out);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t bundle_sync_deadline_ms(const struct bundle_sync *s)
{
    uint64_t deadline = s->due_ms;

    if (!s->is_started)
        return UINT64_MAX;
    deadline = sooner(deadline, fetch_deadline_ms(s));
    deadline = sooner(deadline, chunk_deadline_ms(s));
    if (s->spreading_count > 0)
        deadline = sooner(deadline, s->spread_due_ms);
    for (uint32_t i = 0; i < s->neighbors_count; i++)
        deadline = sooner(deadline, s->neighbors[i].due_ms);
    for (uint32_t i = 0; i < s->sessions_count; i++)
        if (s->sessions[i].link != 0)
            deadline = sooner(deadline, sooner(idle_end_ms(&s->sessions[i]),
                                               s->sessions[i].started_ms +
                                                   BUNDLE_SESSION_MS));
    return deadline;
}

uint32_t bundle_sync_fetches(const struct bundle_sync *s)
{
    return s->fetches_count;
}

const struct bundle_sync_stats *bundle_sync_stats(const struct bundle_sync *s)
{
    return &s->stats;
}
