/* bench_link.c - from the dial to the link, on loopback: in the clear, with a
 * key, with certificates. Both ends are in one loop, so the time is that of
 * both sides' work. One line a case: median, 99 %, longest.
 *
 *   bench_link [COUNT]   dials in each case; 500
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs.h"
#include "folder.h"
#include "runtime/identity.h"
#include "runtime/tls.h"
#include "runtime/transport.h"

#define COUNT_MAX 100000

struct node {
    struct transport *transport;
    struct identity *identity;
    uint16_t port;
    link_id link;
    unsigned ups, downs, fails;
};

static uv_loop_t loop;
static struct node a, b;

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_link: %s\n", what);
    exit(1);
}

static void on_up(void *context, link_id link, dial_id dial,
                  const struct peer_info *peer)
{
    struct node *n = context;

    (void)dial;
    (void)peer;
    n->link = link;
    n->ups++;
}

static void on_down(void *context, link_id link, enum link_end why,
                    argus_RefuseCode code)
{
    (void)link;
    (void)why;
    (void)code;
    ((struct node *)context)->downs++;
}

static void on_failed(void *context, dial_id dial, enum link_end why,
                      argus_RefuseCode code)
{
    (void)dial;
    (void)why;
    (void)code;
    ((struct node *)context)->fails++;
}

static void on_frame(void *context, link_id link, const argus_Frame *frame)
{
    (void)context;
    (void)link;
    (void)frame;
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

static void open_node(struct node *n, const char *name,
                      struct tls_context *protection)
{
    const struct transport_listener listener = {
        n,        on_up,      on_down,     on_failed,
        on_frame, on_drained, on_observed, is_known};
    struct transport_options options = {.protection = protection};

    memset(n, 0, sizeof *n);
    must(identity_open(NULL, "bench", &n->identity, NULL) == ARGUS_OK, "key");
    options.identity = n->identity;
    options.self.id = *identity_id(n->identity);
    options.self.instance = (uint64_t)name[0];
    (void)snprintf(options.self.name, sizeof options.self.name, "%s", name);
    must(transport_new(&loop, &options, &listener, &n->transport, NULL) ==
                 ARGUS_OK &&
             transport_listen(n->transport, "127.0.0.1", "0", &n->port, NULL) ==
                 ARGUS_OK,
         "cannot listen on loopback");
    tls_context_release(protection);
}

static void on_done(void *context)
{
    struct node *n = context;

    transport_free(n->transport);
    identity_free(n->identity);
}

static int compare(const void *x, const void *y)
{
    const uint64_t *one = x, *two = y;

    return (*one > *two) - (*one < *two);
}

static uint64_t dial_once(const char *address)
{
    uint64_t since = uv_hrtime();
    unsigned wanted_a = a.ups + 1, wanted_b = b.ups + 1;

    transport_dial(a.transport, 1, argus_LinkKind_LINK_MESH, address, NULL);
    while (a.ups < wanted_a || b.ups < wanted_b) {
        (void)uv_run(&loop, UV_RUN_ONCE);
        must(a.fails == 0, "a dial failed");
    }
    uint64_t took = uv_hrtime() - since;
    unsigned down = a.downs + 1;
    transport_close(a.transport, a.link, argus_RefuseCode_REFUSE_BYE, "bye");
    while (a.downs < down || b.downs < down)
        (void)uv_run(&loop, UV_RUN_ONCE);
    return took;
}

static void bench(const char *what, unsigned count, struct tls_context *of_a,
                  struct tls_context *of_b)
{
    uint64_t *took = calloc(count, sizeof *took);
    char address[32];

    must(took != NULL && uv_loop_init(&loop) == 0, "no memory");
    open_node(&a, "a", of_a);
    open_node(&b, "b", of_b);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", b.port);
    for (unsigned i = 0; i < count; i++)
        took[i] = dial_once(address);
    qsort(took, count, sizeof *took, compare);
    printf("link %-12s %6u dials: median %.2f ms, 99 %% %.2f ms, longest "
           "%.2f ms\n",
           what, count, (double)took[count / 2] / 1e6,
           (double)took[(size_t)count * 99 / 100] / 1e6,
           (double)took[count - 1] / 1e6);
    free(took);
    transport_stop(a.transport, argus_RefuseCode_REFUSE_BYE, "bye", on_done,
                   &a);
    transport_stop(b.transport, argus_RefuseCode_REFUSE_BYE, "bye", on_done,
                   &b);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    must(uv_loop_close(&loop) == 0, "a handle is left");
}

static struct tls_context *with_key(void)
{
    const uint8_t secret[MESH_KEY_SIZE] = {1, 2, 3};
    struct keyring ring = {.count = 1};
    struct tls_context *context = NULL;

    mesh_key_of(secret, &ring.keys[0]);
    must(tls_context_of_keys(&ring, &context, NULL) == ARGUS_OK, "TLS");
    return context;
}

static struct tls_context *with_certificate(const char *folder,
                                            const char *name)
{
    char certificate[300], private_key[300], ca[300];
    const struct tls_files files = {certificate, private_key, ca, NULL, name};
    struct tls_context *context = NULL;

    (void)certs_make(name, name, 3600);
    (void)snprintf(certificate, sizeof certificate, "%s/%s.crt", folder, name);
    (void)snprintf(private_key, sizeof private_key, "%s/%s.pem", folder, name);
    (void)snprintf(ca, sizeof ca, "%s/ca.crt", folder);
    must(tls_context_of_files(&files, &context, NULL) == ARGUS_OK,
         "certificate");
    return context;
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 500;
    char folder[256];

    must(count > 0 && count <= COUNT_MAX, "COUNT is 1 to 100000");
    bench("in the clear", count, NULL, NULL);
    bench("key", count, with_key(), with_key());
    folder_make(folder);
    certs_open(folder);
    bench("certificates", count, with_certificate(folder, "a"),
          with_certificate(folder, "b"));
    certs_close();
    folder_remove(folder);
    return 0;
}
