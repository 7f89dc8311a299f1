#include "runtime/transport_impl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/text.h"
#include "runtime/identity.h"

/** Proofs of one key that we send on a link: one when we get it, one in answer
 *  to a peer who got it later. */
#define GUARD_PROOFS_MAX 2

bool guard_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in =
            (const struct sockaddr_in *)(const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *a =
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(a))
            return a->s6_addr[12] == 127;
        return IN6_IS_ADDR_LOOPBACK(a);
    }
    return false;
}

bool guard_reaches_out(const struct transport *t)
{
    return t->protection != NULL || t->options.allow_plaintext;
}

/* ---------------------------------------------------------------- Hello */

/* 'D' who dialed, 'A' who accepted: no side's words can be sent back to it. */
static char own_side(const struct link *l)
{
    return l->is_accepted ? 'A' : 'D';
}

static char peer_side(const struct link *l)
{
    return l->is_accepted ? 'D' : 'A';
}

static bool exported_of(struct link *l)
{
    if (!l->has_exported && l->conn.tls != NULL)
        l->has_exported = tls_export(l->conn.tls, l->exported);
    return l->has_exported;
}

/* Over TLS the id is proven: it is the hash of the key that signs what only the
 * two ends of this connection know. */
static void prove(struct link *l, argus_Hello *hello)
{
    const struct identity *identity = l->owner->options.identity;

    if (l->conn.guard != GUARD_UP || identity == NULL || !exported_of(l))
        return;
    if (!identity_prove(identity, own_side(l), l->exported, hello->key.bytes,
                        hello->proof.bytes))
        return;
    hello->key.size = IDENTITY_KEY_SIZE;
    hello->proof.size = IDENTITY_PROOF_SIZE;
}

void guard_say_hello(struct link *l, const struct node_id *expected)
{
    argus_Frame *frame = l->owner->shared.refuse;

    memset(frame, 0, sizeof *frame);
    frame->which_body = argus_Frame_hello_tag;
    hello_build(&l->owner->options.self, l->kind, expected, l->conn.ip,
                &frame->body.hello);
    prove(l, &frame->body.hello);
    conn_send(&l->conn, frame, true);
}

static argus_RefuseCode check_proof(struct link *l, const argus_Hello *hello,
                                    char text[HELLO_TEXT_SIZE])
{
    char name[64]; /* cut, so that the sentence fits */

    if (l->conn.guard != GUARD_UP)
        return argus_RefuseCode_REFUSE_NONE;
    text_clean_word(name, sizeof name, hello->name);
    if (!tls_names_peer(l->conn.tls, hello->name)) {
        (void)snprintf(text, HELLO_TEXT_SIZE,
                       "the certificate of %s is not for \"%s\", as it names "
                       "itself",
                       l->conn.where, name);
        return argus_RefuseCode_REFUSE_KEY;
    }
    if (hello->key.size == IDENTITY_KEY_SIZE &&
        hello->proof.size == IDENTITY_PROOF_SIZE && exported_of(l) &&
        identity_is_proven(hello->id, peer_side(l), l->exported,
                           hello->key.bytes, hello->proof.bytes))
        return argus_RefuseCode_REFUSE_NONE;
    (void)snprintf(text, HELLO_TEXT_SIZE,
                   "\"%s\" at %s does not prove the id that it gives", name,
                   l->conn.where);
    return argus_RefuseCode_REFUSE_PROOF;
}

static void add_first_key(struct link *l)
{
    const uint8_t *id = l->conn.tls != NULL ? tls_key_id(l->conn.tls) : NULL;

    if (id == NULL)
        return;
    memcpy(l->proven[0].id, id, MESH_KEY_ID_SIZE);
    l->proven[0].by_peer = true;
    l->proven[0].sent = GUARD_PROOFS_MAX;
    l->proven_count = 1;
}

static void refuse(struct link *l, argus_RefuseCode code, const char *text)
{
    struct transport *t = l->owner;

    t->stats.hellos_refused++;
    if (code != argus_RefuseCode_REFUSE_SELF)
        log_limited(&t->refused_limit, transport_now_ms(t), LOG_LEVEL_WARNING,
                    "refused a link: %s", text);
    conn_close(&l->conn, code, text);
}

void guard_on_hello(struct link *l, const argus_Hello *received)
{
    struct transport *t = l->owner;
    char text[HELLO_TEXT_SIZE];
    argus_Hello hello = *received; /* the scratch is used to answer */

    if (l->is_accepted)
        l->kind = hello.kind;
    argus_RefuseCode code = check_proof(l, &hello, text);
    if (code == argus_RefuseCode_REFUSE_NONE)
        code = hello_check(&t->options.self, &hello, l->kind,
                           l->dial != NULL && l->dial->has_expected
                               ? &l->dial->expected
                               : NULL,
                           l->conn.where, text);
    if (code != argus_RefuseCode_REFUSE_NONE) {
        refuse(l, code, text);
        return;
    }
    if (l->is_accepted)
        guard_say_hello(l, NULL);
    if (l->conn.state != CONN_OPEN || l->conn.has_end)
        return;
    add_first_key(l);
    link_is_up(l, &hello);
}

/* ------------------------------------------------------- keys on the way */

static struct proven_key *find_proven(struct link *l,
                                      const uint8_t id[MESH_KEY_ID_SIZE])
{
    for (unsigned i = 0; i < l->proven_count; i++)
        if (memcmp(l->proven[i].id, id, MESH_KEY_ID_SIZE) == 0)
            return &l->proven[i];
    return NULL;
}

/* Of a key that is held here. There are as many places as a ring has keys, and
 * those of keys that are gone are given up first: so there is always one. */
static struct proven_key *need_proven(struct link *l,
                                      const uint8_t id[MESH_KEY_ID_SIZE])
{
    const struct keyring *ring = tls_context_keyring(l->owner->protection);
    struct proven_key *p = find_proven(l, id);

    for (unsigned i = 0; p == NULL && i < l->proven_count; i++)
        if (keyring_find(ring, l->proven[i].id) == NULL)
            p = &l->proven[i];
    if (p == NULL) {
        assert(l->proven_count < KEYRING_MAX);
        p = &l->proven[l->proven_count++];
    }
    if (memcmp(p->id, id, MESH_KEY_ID_SIZE) != 0) {
        memset(p, 0, sizeof *p);
        memcpy(p->id, id, MESH_KEY_ID_SIZE);
    }
    return p;
}

static const struct keyring *ring_of(const struct link *l)
{
    const struct transport *t = l->owner;

    return t->protection != NULL && l->conn.guard == GUARD_UP
               ? tls_context_keyring(t->protection)
               : NULL;
}

static void send_proof(struct link *l, const struct mesh_key *key)
{
    struct proven_key *p = need_proven(l, key->id);
    argus_Frame *frame = l->owner->shared.refuse;

    if (p->sent >= GUARD_PROOFS_MAX || !exported_of(l))
        return;
    memset(frame, 0, sizeof *frame);
    frame->which_body = argus_Frame_key_proof_tag;
    memcpy(frame->body.key_proof.key, key->id, MESH_KEY_ID_SIZE);
    if (!tls_key_mac(key, own_side(l), l->exported, frame->body.key_proof.mac))
        return;
    p->sent++;
    conn_send(&l->conn, frame, true);
}

/* A key not held here may be on its way to us: then the peer says it again in
 * answer to our own proof. */
void guard_on_key_proof(struct link *l, const argus_KeyProof *proof)
{
    const struct keyring *ring = ring_of(l);
    const struct mesh_key *key =
        ring != NULL ? keyring_find(ring, proof->key) : NULL;
    uint8_t mac[TLS_MAC_SIZE];

    if (key == NULL || !exported_of(l))
        return;
    if (!tls_key_mac(key, peer_side(l), l->exported, mac) ||
        CRYPTO_memcmp(mac, proof->mac, TLS_MAC_SIZE) != 0) {
        conn_malformed(&l->conn, "a proof of a key that is wrong");
        return;
    }
    need_proven(l, key->id)->by_peer = true;
    send_proof(l, key);
}

static bool has_valid_key(struct link *l, const struct keyring *ring)
{
    for (unsigned i = 0; i < l->proven_count; i++)
        if (l->proven[i].by_peer && keyring_find(ring, l->proven[i].id) != NULL)
            return true;
    return false;
}

/* @return NULL: it may go on. */
static const char *why_not(struct link *l)
{
    struct transport *t = l->owner;
    const struct keyring *ring = tls_context_keyring(t->protection);
    const char *why = NULL;

    if (ring != NULL)
        return has_valid_key(l, ring) ? NULL
                                      : "the only key that it has shown was "
                                        "removed from the keyring";
    return tls_passes(l->conn.tls, t->protection, &why) ? NULL : why;
}

static void on_recheck(uv_timer_t *timer)
{
    struct transport *t = timer->data;
    struct link *l;

    TAILQ_FOREACH(l, &t->links, next)
    {
        const char *why;
        if (!l->is_up || l->conn.has_end || l->conn.guard != GUARD_UP ||
            (why = why_not(l)) == NULL)
            continue;
        t->stats.links_rekeyed_out++;
        log_limited(&t->denied_limit, transport_now_ms(t), LOG_LEVEL_WARNING,
                    "link with %s ends: %s", l->conn.where, why);
        conn_close(&l->conn, argus_RefuseCode_REFUSE_KEY, why);
    }
}

/* Proofs may be under way when a key goes: hence the grace. */
void transport_set_protection(struct transport *t,
                              struct tls_context *protection)
{
    struct tls_context *before = t->protection;
    const struct keyring *ring = tls_context_keyring(protection);
    struct link *l;

    t->protection = tls_context_hold(protection);
    tls_context_release(before);
    TAILQ_FOREACH(l, &t->links, next)
    {
        if (!l->is_up || l->conn.guard != GUARD_UP || ring == NULL)
            continue;
        for (unsigned i = 0; i < ring->count; i++)
            if (find_proven(l, ring->keys[i].id) == NULL)
                send_proof(l, &ring->keys[i]);
    }
    (void)uv_timer_start(&t->recheck, on_recheck,
                         ring != NULL ? t->options.grace_ms : 0, 0);
}

uint32_t transport_links_of_key(const struct transport *t,
                                const uint8_t id[MESH_KEY_ID_SIZE])
{
    const struct link *l;
    uint32_t count = 0;

    TAILQ_FOREACH(l, &t->links, next)
    {
        const uint8_t *key =
            l->is_up && l->conn.tls != NULL ? tls_key_id(l->conn.tls) : NULL;
        count += key != NULL && memcmp(key, id, MESH_KEY_ID_SIZE) == 0;
    }
    return count;
}

/* ----------------------------------------------------------------- life */

void guard_open(struct transport *t)
{
    (void)uv_timer_init(t->shared.loop, &t->recheck);
    t->recheck.data = t;
    t->handles++;
    if (t->options.protection != NULL)
        t->protection = tls_context_hold(t->options.protection);
}

static void on_recheck_closed(uv_handle_t *handle)
{
    struct transport *t = handle->data;

    transport_one_handle_less(t);
}

void guard_close(struct transport *t)
{
    uv_close((uv_handle_t *)&t->recheck, on_recheck_closed);
}
