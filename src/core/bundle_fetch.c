#include "core/bundle_sync_impl.h"

#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------- the life of one */

static void fetch_free(struct bundle_sync *s, uint32_t at)
{
    free(s->fetches[at]->index);
    free(s->fetches[at]);
    s->fetches[at] = s->fetches[--s->fetches_count];
}

void fetch_close(struct bundle_sync *s)
{
    while (s->fetches_count > 0)
        fetch_free(s, s->fetches_count - 1);
}

static struct bundle_fetch *fetch_of(struct bundle_sync *s,
                                     const struct bundle_slot *slot)
{
    for (uint32_t i = 0; i < s->fetches_count; i++)
        if (s->fetches[i]->slot == slot)
            return s->fetches[i];
    return NULL;
}

void fetch_begin(struct bundle_sync *s, struct bundle_slot *slot,
                 const struct node_id *from)
{
    struct bundle_fetch *f = fetch_of(s, slot);

    if (!bundles_wants_content(s->bundles, slot))
        return;
    if (f == NULL) {
        f = calloc(1, sizeof *f);
        if (f == NULL) {
            s->stats.memory_refused++;
            return;
        }
        s->fetches[s->fetches_count++] = f;
    } else if (memcmp(f->hash, bundle_slot_head(slot)->hash, sizeof f->hash) ==
               0) {
        return; /* under way */
    }
    free(f->index);
    *f = (struct bundle_fetch){
        .slot = slot, .due_ms = s->now_ms, .backoff_ms = BUNDLE_BACKOFF_MIN_MS};
    memcpy(f->hash, bundle_slot_head(slot)->hash, sizeof f->hash);
    if (from != NULL)
        f->first = *from;
}

static bool is_overtaken(const struct bundle_fetch *f)
{
    return memcmp(f->hash, bundle_slot_head(f->slot)->hash, sizeof f->hash) !=
           0;
}

static const argus_Manifest *manifest_of(const struct bundle_fetch *f)
{
    return &bundle_slot_head(f->slot)->manifest;
}

/* ------------------------------------------------------------ whom to ask */

static bool was_tried(const struct bundle_fetch *f, const struct node_id *id)
{
    for (uint32_t i = 0; i < f->tried_count; i++)
        if (node_id_is_equal(&f->tried[i], id))
            return true;
    return false;
}

static void give_up_source(struct bundle_fetch *f)
{
    if (f->tried_count < BUNDLE_TRIED_MAX)
        f->tried[f->tried_count++] = f->source;
    f->source = (struct node_id){{0}};
    f->is_proven = false;
    f->cursor = 0;
}

static void pause_fetch(struct bundle_sync *s, struct bundle_fetch *f,
                        uint32_t ms)
{
    s->stats.fetches_paused++;
    f->due_ms = s->now_ms + prng_jitter(&s->prng, ms);
    f->tried_count = 0;
    f->source = (struct node_id){{0}};
    f->is_proven = false;
    f->cursor = 0;
}

/* Whoever told of the version, then the neighbors from a random one on. */
static bool choose_source(struct bundle_sync *s, struct bundle_fetch *f)
{
    uint32_t count = s->neighbors_count;

    if (f->tried_count == BUNDLE_TRIED_MAX)
        return false;
    if (!node_id_is_zero(&f->first) && !was_tried(f, &f->first)) {
        f->source = f->first;
        return true;
    }
    uint32_t start = count > 0 ? prng_below(&s->prng, count) : 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct bundle_neighbor *n = &s->neighbors[(start + i) % count];
        if (was_tried(f, &n->id))
            continue;
        f->source = n->id;
        return true;
    }
    return false;
}

/* @return a session that is up; NULL: not now. */
static struct bundle_session *source_session(struct bundle_sync *s,
                                             struct bundle_fetch *f,
                                             struct actions *out)
{
    while (!node_id_is_zero(&f->source) || choose_source(s, f)) {
        struct bundle_session *session =
            bundle_session_with(s, &f->source, out);
        if (session != NULL)
            return session->link != 0 ? session : NULL;
        give_up_source(f);
    }
    pause_fetch(s, f, f->backoff_ms);
    f->backoff_ms = f->backoff_ms > BUNDLE_BACKOFF_MAX_MS / 2
                        ? BUNDLE_BACKOFF_MAX_MS
                        : 2 * f->backoff_ms;
    return NULL;
}

/* -------------------------------------------------------------- asking */

static struct bundle_want *find_want(struct bundle_want *wants, uint32_t count,
                                     const uint8_t *hash)
{
    for (uint32_t i = 0; i < count; i++)
        if (memcmp(wants[i].hash, hash, CONTENT_HASH_SIZE) == 0)
            return &wants[i];
    return NULL;
}

/* @return false: the window is full. */
static bool ask(struct bundle_sync *s, struct bundle_session *session,
                const uint8_t *hash, struct actions *out)
{
    argus_Frame frame;

    if (find_want(session->wants, session->wants_count, hash) != NULL)
        return true;
    if (session->wants_count == BUNDLE_WINDOW)
        return false;
    struct bundle_want *w = &session->wants[session->wants_count++];
    memcpy(w->hash, hash, sizeof w->hash);
    w->since_ms = s->now_ms;
    session->active_ms = s->now_ms;
    frame.hlc = 0;
    frame.which_body = argus_Frame_chunk_want_tag;
    memcpy(frame.body.chunk_want.hash, hash, CONTENT_HASH_SIZE);
    actions_send(out, session->link, &frame);
    return true;
}

enum index_state { INDEX_HERE, INDEX_ABSENT, INDEX_BROKEN };

static enum index_state load_index(struct bundle_sync *s,
                                   struct bundle_fetch *f)
{
    const argus_Manifest *m = manifest_of(f);
    uint8_t index[CONTENT_CHUNK_SIZE];
    uint32_t chunks = content_chunks(m);

    if (f->index != NULL)
        return INDEX_HERE;
    if (!content_index(&s->chunks, m, index))
        return s->chunks.has(s->chunks.context, m->index.bytes) ? INDEX_BROKEN
                                                                : INDEX_ABSENT;
    f->index = malloc((size_t)chunks * CONTENT_HASH_SIZE);
    if (f->index == NULL) {
        s->stats.memory_refused++;
        return INDEX_BROKEN;
    }
    memcpy(f->index, index, (size_t)chunks * CONTENT_HASH_SIZE);
    f->chunks = chunks;
    return INDEX_HERE;
}

/* All that is missing is asked for, as far as the window goes; of a source that
 * may have nothing, one chunk. */
static void ask_chunks(struct bundle_sync *s, struct bundle_fetch *f,
                       struct bundle_session *session, struct actions *out)
{
    if (f->cursor == f->chunks && session->wants_count == 0)
        f->cursor = 0; /* something went astray */
    for (; f->cursor < f->chunks; f->cursor++) {
        const uint8_t *hash = f->index + (size_t)f->cursor * CONTENT_HASH_SIZE;
        if (s->chunks.has(s->chunks.context, hash))
            continue;
        if (!f->is_proven && session->wants_count > 0)
            return;
        if (!ask(s, session, hash, out))
            return;
    }
}

/* Where it was not to be had for a while, neighbors may be in a pause too: an
 * exchange tells them that there is somebody to ask. */
static void on_complete(struct bundle_sync *s, const struct bundle_fetch *f)
{
    bundles_completed(s->bundles, f->slot);
    s->stats.fetches_done++;
    if (f->backoff_ms == BUNDLE_BACKOFF_MIN_MS)
        return;
    for (uint32_t i = 0; i < s->neighbors_count; i++)
        s->neighbors[i].due_ms =
            s->now_ms + prng_below(&s->prng, BUNDLE_DELAY_MS);
}

/* @return true: nothing is left to do. */
static bool fetch_step(struct bundle_sync *s, struct bundle_fetch *f,
                       struct actions *out)
{
    if (is_overtaken(f) || !bundles_wants_content(s->bundles, f->slot))
        return true;
    if ((f->index == NULL || f->cursor == f->chunks) &&
        content_is_complete(&s->chunks, manifest_of(f), NULL)) {
        on_complete(s, f);
        return true;
    }
    if (s->now_ms < f->due_ms)
        return false;
    struct bundle_session *session = source_session(s, f, out);
    if (session == NULL)
        return false;
    switch (load_index(s, f)) {
    case INDEX_HERE: ask_chunks(s, f, session, out); return false;
    case INDEX_ABSENT:
        (void)ask(s, session, manifest_of(f)->index.bytes, out);
        return false;
    case INDEX_BROKEN: break;
    }
    return true; /* signed as it is, it never becomes whole */
}

void fetch_run(struct bundle_sync *s, struct actions *out)
{
    if (!s->is_started)
        return;
    for (uint32_t i = s->fetches_count; i-- > 0;)
        if (fetch_step(s, s->fetches[i], out))
            fetch_free(s, i);
}

void fetch_on_session_end(struct bundle_sync *s, const struct node_id *peer)
{
    for (uint32_t i = 0; i < s->fetches_count; i++)
        if (node_id_is_equal(&s->fetches[i]->source, peer))
            give_up_source(s->fetches[i]);
}

void fetch_wake(struct bundle_sync *s)
{
    for (uint32_t i = 0; i < s->fetches_count; i++) {
        struct bundle_fetch *f = s->fetches[i];
        f->backoff_ms = BUNDLE_BACKOFF_MIN_MS;
        if (f->due_ms > s->now_ms + BUNDLE_BACKOFF_MIN_MS)
            f->due_ms = s->now_ms + BUNDLE_BACKOFF_MIN_MS;
    }
}

void fetch_ask_first(struct bundle_sync *s, const struct node_id *peer)
{
    for (uint32_t i = 0; i < s->fetches_count; i++) {
        struct bundle_fetch *f = s->fetches[i];
        f->first = *peer;
        f->tried_count = 0; /* what one could not give, it may now have */
        if (node_id_is_zero(&f->source))
            f->due_ms = s->now_ms;
    }
}

uint64_t fetch_deadline_ms(const struct bundle_sync *s)
{
    uint64_t deadline = UINT64_MAX;

    for (uint32_t i = 0; i < s->fetches_count; i++)
        if (node_id_is_zero(&s->fetches[i]->source) &&
            s->fetches[i]->due_ms < deadline)
            deadline = s->fetches[i]->due_ms;
    return deadline;
}

/* ---------------------------------------------------------------- answering */

static void send_chunk(struct bundle_session *session, argus_Frame *frame,
                       const uint8_t *hash, size_t size, struct actions *out)
{
    frame->hlc = 0;
    frame->which_body = argus_Frame_chunk_tag;
    memcpy(frame->body.chunk.hash, hash, CONTENT_HASH_SIZE);
    frame->body.chunk.data.size = (pb_size_t)size;
    actions_send(out, session->link, frame);
}

/* Sent when it is here. */
static bool serve(struct bundle_sync *s, struct bundle_session *session,
                  const uint8_t *hash, struct actions *out)
{
    argus_Frame frame;
    size_t size =
        s->chunks.get(s->chunks.context, hash, frame.body.chunk.data.bytes);

    if (size == 0)
        return false;
    s->stats.chunks_sent++;
    session->active_ms = s->now_ms;
    send_chunk(session, &frame, hash, size, out);
    return true;
}

static void deny(struct bundle_sync *s, struct bundle_session *session,
                 const uint8_t *hash, struct actions *out)
{
    argus_Frame frame;

    s->stats.chunks_denied++;
    send_chunk(session, &frame, hash, 0, out);
}

/* Did the store lose what was whole? Then it is fetched again. */
static void recheck(struct bundle_sync *s)
{
    if (s->now_ms < s->recheck_ms)
        return;
    s->recheck_ms = s->now_ms + BUNDLE_RECHECK_MS;
    bundles_recheck(s->bundles);
    for (uint32_t i = 0; i < bundles_slots_count(s->bundles); i++)
        fetch_begin(s, bundles_slot(s->bundles, i), NULL);
}

/* Do we wait for that very node to send it? Then it must not wait for us. */
static bool is_asked_of(struct bundle_sync *s, const struct node_id *peer,
                        const uint8_t *hash)
{
    for (uint32_t i = 0; i < s->sessions_count; i++) {
        struct bundle_session *session = &s->sessions[i];
        if (node_id_is_equal(&session->peer, peer) &&
            find_want(session->wants, session->wants_count, hash) != NULL)
            return true;
    }
    return false;
}

void chunk_on_want(struct bundle_sync *s, struct bundle_session *session,
                   const argus_ChunkWant *want, struct actions *out)
{
    if (session->asked_count == BUNDLE_WINDOW ||
        find_want(session->asked, session->asked_count, want->hash) != NULL) {
        bundle_session_malformed(s, session, "more wants than are allowed",
                                 out);
        return;
    }
    if (serve(s, session, want->hash, out))
        return;
    recheck(s);
    if (s->fetches_count == 0 || is_asked_of(s, &session->peer, want->hash)) {
        deny(s, session, want->hash, out);
        return;
    }
    struct bundle_want *w = &session->asked[session->asked_count++];
    memcpy(w->hash, want->hash, sizeof w->hash);
    w->since_ms = s->now_ms;
}

static void answer_askers(struct bundle_sync *s, const uint8_t *hash,
                          struct actions *out)
{
    for (uint32_t i = 0; i < s->sessions_count; i++) {
        struct bundle_session *session = &s->sessions[i];
        struct bundle_want *w =
            find_want(session->asked, session->asked_count, hash);
        if (w == NULL)
            continue;
        if (!serve(s, session, hash, out))
            deny(s, session, hash, out);
        *w = session->asked[--session->asked_count];
    }
}

void chunk_deny_late(struct bundle_sync *s, struct actions *out)
{
    for (uint32_t i = 0; i < s->sessions_count; i++) {
        struct bundle_session *session = &s->sessions[i];
        for (uint32_t k = session->asked_count; k-- > 0;) {
            struct bundle_want w = session->asked[k];
            if (s->now_ms - w.since_ms < BUNDLE_WAIT_MS)
                continue;
            session->asked[k] = session->asked[--session->asked_count];
            deny(s, session, w.hash, out);
        }
    }
}

uint64_t chunk_deadline_ms(const struct bundle_sync *s)
{
    uint64_t deadline = UINT64_MAX;

    for (uint32_t i = 0; i < s->sessions_count; i++) {
        const struct bundle_session *session = &s->sessions[i];
        for (uint32_t k = 0; k < session->asked_count; k++)
            if (session->asked[k].since_ms + BUNDLE_WAIT_MS < deadline)
                deadline = session->asked[k].since_ms + BUNDLE_WAIT_MS;
        for (uint32_t k = 0; k < session->wants_count; k++)
            if (session->wants[k].since_ms + BUNDLE_ANSWER_MS < deadline)
                deadline = session->wants[k].since_ms + BUNDLE_ANSWER_MS;
    }
    return deadline;
}

/* ------------------------------------------------------------------ answers */

static bool needs(const struct bundle_fetch *f, const uint8_t *hash)
{
    if (memcmp(manifest_of(f)->index.bytes, hash, CONTENT_HASH_SIZE) == 0)
        return true;
    for (uint32_t i = 0; f->index != NULL && i < f->chunks; i++)
        if (memcmp(f->index + (size_t)i * CONTENT_HASH_SIZE, hash,
                   CONTENT_HASH_SIZE) == 0)
            return true;
    return false;
}

static void on_absent(struct bundle_sync *s, const struct node_id *peer,
                      const uint8_t *hash)
{
    s->stats.chunks_absent++;
    for (uint32_t i = 0; i < s->fetches_count; i++)
        if (node_id_is_equal(&s->fetches[i]->source, peer) &&
            needs(s->fetches[i], hash))
            give_up_source(s->fetches[i]);
}

/* No room here: others are as little use. */
static void on_unstored(struct bundle_sync *s, const uint8_t *hash)
{
    s->stats.chunks_unstored++;
    for (uint32_t i = 0; i < s->fetches_count; i++)
        if (needs(s->fetches[i], hash))
            pause_fetch(s, s->fetches[i], BUNDLE_BACKOFF_MAX_MS);
}

void chunk_on_chunk(struct bundle_sync *s, struct bundle_session *session,
                    const argus_Chunk *chunk, struct actions *out)
{
    struct bundle_want *w =
        find_want(session->wants, session->wants_count, chunk->hash);
    uint8_t hash[CONTENT_HASH_SIZE];

    if (w == NULL) {
        bundle_session_malformed(s, session, "a chunk nobody asked for", out);
        return;
    }
    *w = session->wants[--session->wants_count];
    if (chunk->data.size == 0) {
        on_absent(s, &session->peer, chunk->hash);
        return;
    }
    s->seal.digest(chunk->data.bytes, chunk->data.size, hash);
    if (memcmp(hash, chunk->hash, sizeof hash) != 0) {
        s->stats.chunks_bad++;
        bundle_session_malformed(s, session,
                                 "a chunk that is not what it is "
                                 "said to be",
                                 out);
        return;
    }
    s->stats.chunks_received++;
    for (uint32_t i = 0; i < s->fetches_count; i++)
        s->fetches[i]->is_proven |=
            node_id_is_equal(&s->fetches[i]->source, &session->peer);
    if (s->chunks.put(s->chunks.context, hash, chunk->data.bytes,
                      chunk->data.size))
        answer_askers(s, hash, out);
    else
        on_unstored(s, hash);
}
