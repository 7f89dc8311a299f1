/* config_push.c - what changes the configuration of the mesh: sign, push,
 * rollback, remove. Each makes the next version of a bundle, signs it with the
 * operator's key, here, and hands it to the daemon. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/config.h"
#include "cli/json.h"
#include "cli/parcel.h"
#include "cli/signer.h"
#include "cli/table.h"
#include "cli/when.h"
#include "core/target.h"

#define FILES_MAX 32
#define WAIT_MAX_S 86400.0

enum {
    OPTION_NAME = 1,
    OPTION_KEY,
    OPTION_FILE,
    OPTION_TARGET,
    OPTION_EXPIRES,
    OPTION_WAIT,
    OPTION_VERSION,
    OPTION_AFTER,
    OPTION_CLUSTER,
    OPTION_TO,
    OPTION_NOT_BUILT,
    OPTION_OUTPUT = 'o',
};

/* What was asked for. */
struct order {
    const char *name, *key, *target, *expires, *output, *cluster, *after;
    const char *files[FILES_MAX];
    size_t files_count;
    uint32_t version, to; /* 0: not given */
    bool is_waiting;
    double wait_s;
    uint64_t expires_ms;
};

/* What it takes to do it. */
struct work {
    const struct cli *cli;
    struct order order;
    struct signer *signer;
    struct parcel parcel;
    struct client client;
    bool is_connected;
    char cluster[64];
    uint8_t hash[CONTENT_HASH_SIZE]; /* of the manifest, once it is signed */
};

/* --------------------------------------------------------------- options */

#define OPTION(name, code)                                                     \
    {                                                                          \
        name, required_argument, NULL, code                                    \
    }

static const struct option sign_options[] = {
    OPTION("name", OPTION_NAME),
    OPTION("key", OPTION_KEY),
    OPTION("file", OPTION_FILE),
    OPTION("target", OPTION_TARGET),
    OPTION("expires", OPTION_EXPIRES),
    OPTION("version", OPTION_VERSION),
    OPTION("after", OPTION_AFTER),
    OPTION("cluster", OPTION_CLUSTER),
    OPTION("canary", OPTION_NOT_BUILT),
    OPTION("waves", OPTION_NOT_BUILT),
    OPTION("soak", OPTION_NOT_BUILT),
    OPTION("max-failures", OPTION_NOT_BUILT),
    {0},
};

static const struct option push_options[] = {
    OPTION("name", OPTION_NAME),
    OPTION("key", OPTION_KEY),
    OPTION("file", OPTION_FILE),
    OPTION("target", OPTION_TARGET),
    OPTION("expires", OPTION_EXPIRES),
    {"wait", optional_argument, NULL, OPTION_WAIT},
    OPTION("canary", OPTION_NOT_BUILT),
    OPTION("waves", OPTION_NOT_BUILT),
    OPTION("soak", OPTION_NOT_BUILT),
    OPTION("max-failures", OPTION_NOT_BUILT),
    {0},
};

static const struct option rollback_options[] = {
    OPTION("to", OPTION_TO),
    OPTION("key", OPTION_KEY),
    OPTION("expires", OPTION_EXPIRES),
    {"wait", optional_argument, NULL, OPTION_WAIT},
    {0},
};

static const struct option remove_options[] = {
    OPTION("key", OPTION_KEY),
    {"wait", optional_argument, NULL, OPTION_WAIT},
    {0},
};

static bool take_number(struct cli *cli, const char *option, const char *text,
                        uint32_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);

    if (errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' &&
        number > 0 && number < UINT32_MAX) {
        *out = (uint32_t)number;
        return true;
    }
    (void)cli_fail(cli, EXIT_USAGE, "usage", "%s %s: a version, from 1 on",
                   option, text);
    return false;
}

bool config_take_wait(struct cli *cli, const char *text, double *seconds)
{
    char *end = NULL;

    *seconds = 0;
    if (text == NULL)
        return true;
    *seconds = strtod(text, &end);
    if (end != text && *end == '\0' && *seconds > 0 && *seconds <= WAIT_MAX_S)
        return true;
    (void)cli_fail(cli, EXIT_USAGE, "usage",
                   "--wait=%s: seconds up to %g are allowed", text, WAIT_MAX_S);
    return false;
}

static bool take_expires(struct cli *cli, const char *text, struct order *o)
{
    uint64_t us = 0;

    o->expires = text;
    if (!when_future(text, &us) && !when_rfc3339(text, &us)) {
        (void)cli_fail(cli, EXIT_USAGE, "usage",
                       "--expires %s: such as 2026-01-31T12:00:00Z, or +30d, "
                       "+12h, +90s",
                       text);
        return false;
    }
    o->expires_ms = us / 1000;
    if (us > when_now_us())
        return true;
    (void)cli_fail(cli, EXIT_USAGE, "usage", "--expires %s: that is past",
                   text);
    return false;
}

static bool take_target(struct cli *cli, const char *text, struct order *o)
{
    struct argus_error err;

    o->target = text;
    if (strlen(text) >= sizeof((argus_Manifest *)0)->target) {
        (void)cli_fail(cli, EXIT_USAGE, "usage",
                       "--target: at most %zu bytes are allowed",
                       sizeof((argus_Manifest *)0)->target - 1);
        return false;
    }
    if (target_check(text, &err) == ARGUS_OK)
        return true;
    (void)cli_fail(cli, EXIT_USAGE, "usage", "--target %s: %s", text, err.text);
    return false;
}

static bool take_file(struct cli *cli, const char *text, struct order *o)
{
    if (o->files_count < FILES_MAX) {
        o->files[o->files_count++] = text;
        return true;
    }
    (void)cli_fail(cli, EXIT_USAGE, "usage", "--file: at most %d files",
                   FILES_MAX);
    return false;
}

static bool refuse_not_built(struct cli *cli)
{
    (void)cli_fail(cli, EXIT_USAGE, "not-built",
                   "--canary, --waves, --soak and --max-failures are not built "
                   "yet: a push goes to all targets at once");
    return false;
}

static bool on_option(struct cli *cli, void *context, int option,
                      const char *value)
{
    struct order *o = context;

    switch (option) {
    case OPTION_NAME: o->name = value; return config_name_is_sound(cli, value);
    case OPTION_KEY: o->key = value; return true;
    case OPTION_FILE: return take_file(cli, value, o);
    case OPTION_TARGET: return take_target(cli, value, o);
    case OPTION_EXPIRES: return take_expires(cli, value, o);
    case OPTION_WAIT:
        o->is_waiting = true;
        return config_take_wait(cli, value, &o->wait_s);
    case OPTION_VERSION:
        return take_number(cli, "--version", value, &o->version);
    case OPTION_AFTER: o->after = value; return true;
    case OPTION_CLUSTER: o->cluster = value; return true;
    case OPTION_TO: return take_number(cli, "--to", value, &o->to);
    case OPTION_OUTPUT: o->output = value; return true;
    default: return refuse_not_built(cli);
    }
}

/* Options, and the one operand. @return false: *code is the verb's. */
static bool begin(struct cli *cli, int argc, char **argv,
                  const struct option *own, const char *operand, struct work *w,
                  const char **out, int *code)
{
    const struct cli_options options = {.own = own,
                                        .shorts =
                                            own == sign_options ? "o:" : NULL,
                                        .on_option = on_option,
                                        .context = &w->order};

    memset(w, 0, sizeof *w);
    w->cli = cli;
    int at = cli_parse(cli, argc, argv, &options);
    *code = at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < 0 || cli->help)
        return false;
    *code = EXIT_USAGE;
    if (cli->watch_s > 0)
        *code = cli_fail(cli, EXIT_USAGE, "usage",
                         "config %s cannot be watched", argv[0]);
    else if (argc - at != 1)
        *code = cli_fail(cli, EXIT_USAGE, "usage", "config %s takes one %s",
                         argv[0], operand);
    else
        *out = argv[at];
    return *out != NULL;
}

/* -------------------------------------------------------- key and content */

static int fail_input(const struct cli *cli, int status,
                      const struct argus_error *err)
{
    const char *code = status == ARGUS_ETOOLARGE ? "too-large"
                       : status == ARGUS_EINVAL  ? "invalid"
                                                 : "failed";
    return cli_fail(cli, EXIT_BAD, code, "%s", err->text);
}

int config_open_key(const struct cli *cli, const char *path,
                    struct signer **out)
{
    struct argus_error err;
    bool is_exposed = false;

    if (path == NULL)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "--key K is missing: the operator's private key signs");
    if (signer_open(path, out, &is_exposed, &err) != ARGUS_OK)
        return cli_fail(cli, EXIT_BAD, "key", "%s", err.text);
    if (is_exposed)
        cli_note("warning: others may read the key %s (chmod 600)", path);
    return EXIT_DONE;
}

static int open_key(struct work *w)
{
    return config_open_key(w->cli, w->order.key, &w->signer);
}

static int read_content(struct work *w, const char *path)
{
    struct argus_error err;

    int rc = parcel_read(&w->parcel, path, &err);
    for (size_t i = 0;
         rc == ARGUS_OK && !w->parcel.is_signed && i < w->order.files_count;
         i++)
        rc = parcel_add(&w->parcel, w->order.files[i], &err);
    if (rc != ARGUS_OK)
        return fail_input(w->cli, rc, &err);
    parcel_seal(&w->parcel);
    return EXIT_DONE;
}

/* All that can be known without the daemon. */
static int prepare(struct work *w)
{
    if (w->order.name == NULL)
        return cli_fail(w->cli, EXIT_USAGE, "usage",
                        "--name NAME is missing: which bundle is it?");
    argus_Manifest *m = &w->parcel.manifest;
    (void)snprintf(m->name, sizeof m->name, "%s", w->order.name);
    (void)snprintf(m->target, sizeof m->target, "%s",
                   w->order.target != NULL ? w->order.target : "*");
    m->expires_ms = w->order.expires_ms;
    return open_key(w);
}

static void finish(struct work *w)
{
    if (w->is_connected)
        client_close(&w->client);
    signer_close(w->signer);
    parcel_free(&w->parcel);
}

/* A verb from its options to its exit code; act() has the operand. */
static int run(struct cli *cli, int argc, char **argv, const struct option *own,
               const char *operand,
               int (*act)(struct work *w, const char *value))
{
    static struct work w;
    const char *value = NULL;
    int code;

    if (!begin(cli, argc, argv, own, operand, &w, &value, &code))
        return code;
    code = act(&w, value);
    finish(&w);
    return code;
}

/* ------------------------------------------------------------ the daemon */

static bool keep_cluster(void *context, const argus_Reply *row)
{
    struct work *w = context;

    if (row->which_body == argus_Reply_status_tag)
        (void)snprintf(w->cluster, sizeof w->cluster, "%s",
                       row->body.status.cluster);
    return true;
}

/* Connect, and learn what is signed with the rest: the cluster's name. */
static int connect_daemon(struct work *w)
{
    const argus_Request request = {.which_body = argus_Request_status_tag};

    int code = cli_connect(w->cli, &w->client);
    if (code != EXIT_DONE)
        return code;
    w->is_connected = true;
    return cli_next(w->cli, &w->client, &request, keep_cluster, w, NULL);
}

/* The version after the one in force here. */
static int follow_head(struct work *w, struct config_version *head)
{
    argus_Manifest *m = &w->parcel.manifest;
    bool is_found = false;

    int code = config_get(w->cli, &w->client, m->name, 0, head, &is_found);
    if (code != EXIT_DONE)
        return code;
    m->version = 1;
    m->before.size = 0;
    if (is_found) {
        m->version = head->manifest.version + 1;
        m->before.size = CONTENT_HASH_SIZE;
        memcpy(m->before.bytes, head->reply.hash, CONTENT_HASH_SIZE);
    }
    return EXIT_DONE;
}

static int sign(struct work *w)
{
    struct argus_error err;

    w->parcel.manifest.created_ms = when_now_us() / 1000;
    int rc = signer_seal(w->signer, w->cluster, &w->parcel.manifest,
                         &w->parcel.bundle, w->hash, &err);
    return rc == ARGUS_OK
               ? EXIT_DONE
               : cli_fail(w->cli, EXIT_BAD,
                          rc == ARGUS_ETOOLARGE ? "too-large" : "key", "%s",
                          err.text);
}

static int send_chunks(struct work *w)
{
    static argus_Request request;
    argus_BundleChunkRequest *r = &request.body.bundle_chunk;
    const uint8_t *data;
    size_t size;
    int code = EXIT_DONE;

    request.which_body = argus_Request_bundle_chunk_tag;
    for (uint32_t i = 0;
         code == EXIT_DONE && (size = parcel_chunk(&w->parcel, i, &data)) > 0;
         i++) {
        r->data.size = (pb_size_t)size;
        memcpy(r->data.bytes, data, size);
        code =
            cli_next(w->cli, &w->client, &request, cli_ignore_row, NULL, NULL);
    }
    return code;
}

static int push(struct work *w)
{
    argus_Request request = {.which_body = argus_Request_bundle_push_tag};

    request.body.bundle_push.has_bundle = true;
    request.body.bundle_push.bundle = w->parcel.bundle;
    return cli_next(w->cli, &w->client, &request, cli_ignore_row, NULL, NULL);
}

static void print_pushed(const struct work *w)
{
    const argus_Manifest *m = &w->parcel.manifest;
    char hash[HASH_TEXT_SIZE];

    config_hash_text(w->hash, hash);
    if (w->cli->json)
        json_print(json_pack("{s:o, s:I, s:s}", "name", json_text(m->name),
                             "version", (json_int_t)m->version, "hash", hash));
    else
        printf("Version %u of %s is on its way%s.\n", m->version, m->name,
               m->removed ? ": it removes the bundle" : "");
    (void)fflush(stdout);
}

static int push_and_report(struct work *w)
{
    const argus_Manifest *m = &w->parcel.manifest;
    struct config_wait wait = {.name = m->name,
                               .version = m->version,
                               .is_removal = m->removed,
                               .seconds = w->order.wait_s};

    int code = push(w);
    if (code != EXIT_DONE)
        return code;
    if (!w->order.is_waiting || !w->cli->json)
        print_pushed(w);
    if (!w->order.is_waiting)
        return EXIT_DONE;
    memcpy(wait.hash, w->hash, sizeof wait.hash);
    return config_wait(w->cli, &w->client, &wait);
}

/* ------------------------------------------------------------------ sign */

static int parse_hash(const struct work *w, uint8_t out[CONTENT_HASH_SIZE])
{
    const char *text = w->order.after;

    if (strlen(text) == 2 * CONTENT_HASH_SIZE &&
        strspn(text, "0123456789abcdefABCDEF") == 2 * CONTENT_HASH_SIZE) {
        for (size_t i = 0; i < CONTENT_HASH_SIZE; i++) {
            const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
            out[i] = (uint8_t)strtoul(digits, NULL, 16);
        }
        return EXIT_DONE;
    }
    return cli_fail(w->cli, EXIT_USAGE, "usage",
                    "--after %s: the 64 hex digits that config list --json "
                    "shows as hash",
                    text);
}

/* Number, predecessor and cluster as the caller says. */
static int place_by_hand(struct work *w)
{
    argus_Manifest *m = &w->parcel.manifest;
    const char *cluster =
        w->order.cluster != NULL ? w->order.cluster : "default";

    if (w->order.version == 0)
        return cli_fail(w->cli, EXIT_USAGE, "usage",
                        "--after goes with --version");
    if ((w->order.version == 1) != (w->order.after == NULL))
        return cli_fail(w->cli, EXIT_USAGE, "usage",
                        "version 1 follows none, every other one needs --after "
                        "HASH");
    if (strlen(cluster) >= sizeof w->cluster)
        return cli_fail(w->cli, EXIT_USAGE, "usage", "--cluster is too long");
    (void)snprintf(w->cluster, sizeof w->cluster, "%s", cluster);
    m->version = w->order.version;
    if (w->order.after == NULL)
        return EXIT_DONE;
    m->before.size = CONTENT_HASH_SIZE;
    return parse_hash(w, m->before.bytes);
}

static int place(struct work *w)
{
    static struct config_version head;

    if (w->order.version != 0 || w->order.after != NULL)
        return place_by_hand(w);
    int code = connect_daemon(w);
    if (code == EXIT_DONE && w->order.cluster != NULL &&
        strcmp(w->order.cluster, w->cluster) != 0)
        code = cli_fail(w->cli, EXIT_USAGE, "usage",
                        "the daemon is of cluster \"%s\", not \"%s\"; without "
                        "it say --version too",
                        w->cluster, w->order.cluster);
    return code == EXIT_DONE ? follow_head(w, &head) : code;
}

static int write_signed(struct work *w)
{
    const argus_Manifest *m = &w->parcel.manifest;
    char hash[HASH_TEXT_SIZE], fingerprint[FINGERPRINT_SIZE];
    struct argus_error err;

    w->parcel.is_signed = true;
    if (parcel_write(&w->parcel, w->order.output, &err) != ARGUS_OK)
        return cli_fail(w->cli, EXIT_BAD, "failed", "%s", err.text);
    if (strcmp(w->order.output, "-") == 0)
        return EXIT_DONE;
    config_hash_text(w->hash, hash);
    fingerprint_of(w->parcel.bundle.key, fingerprint);
    if (w->cli->json)
        json_print(json_pack("{s:o, s:I, s:s, s:s, s:o, s:o}", "name",
                             json_text(m->name), "version",
                             (json_int_t)m->version, "hash", hash, "signer",
                             fingerprint, "cluster", json_text(w->cluster),
                             "file", json_text(w->order.output)));
    else
        printf("Signed version %u of %s with key %s.\n"
               "Its hash, for the one after: %s\n",
               m->version, m->name, fingerprint, hash);
    return EXIT_DONE;
}

static int do_sign(struct work *w, const char *path)
{
    if (w->order.output == NULL)
        return cli_fail(w->cli, EXIT_USAGE, "usage",
                        "-o OUT is missing: where does it go?");
    int code = read_content(w, path);
    if (code != EXIT_DONE)
        return code;
    if (w->parcel.is_signed)
        return cli_fail(w->cli, EXIT_BAD, "invalid", "%s is signed already",
                        path);
    code = prepare(w);
    if (code == EXIT_DONE)
        code = place(w);
    if (code == EXIT_DONE)
        code = sign(w);
    return code == EXIT_DONE ? write_signed(w) : code;
}

int config_sign(struct cli *cli, int argc, char **argv)
{
    return run(cli, argc, argv, sign_options, "FILE", do_sign);
}

/* ------------------------------------------------------------------ push */

/* What is signed cannot be changed any more. */
static int check_signed(const struct work *w, const char *path)
{
    const struct order *o = &w->order;

    if (o->target != NULL || o->expires != NULL || o->files_count > 0 ||
        o->key != NULL)
        return cli_fail(w->cli, EXIT_USAGE, "usage",
                        "%s is signed already: --key, --target, --expires and "
                        "--file belong to config sign",
                        path);
    if (o->name != NULL && strcmp(o->name, w->parcel.manifest.name) != 0)
        return cli_fail(w->cli, EXIT_BAD, "invalid",
                        "%s was signed as \"%s\", not as \"%s\"", path,
                        w->parcel.manifest.name, o->name);
    return EXIT_DONE;
}

static int push_signed(struct work *w, const char *path)
{
    const argus_SignedBundle *b = &w->parcel.bundle;

    int code = check_signed(w, path);
    signer_digest(b->manifest.bytes, b->manifest.size, w->hash);
    if (code == EXIT_DONE)
        code = connect_daemon(w);
    if (code == EXIT_DONE)
        code = send_chunks(w);
    return code == EXIT_DONE ? push_and_report(w) : code;
}

/* The chunks first: so little time goes by between looking at the head and
 * following it. */
static int do_push(struct work *w, const char *path)
{
    static struct config_version head;

    int code = read_content(w, path);
    if (code != EXIT_DONE)
        return code;
    if (w->parcel.is_signed)
        return push_signed(w, path);
    code = prepare(w);
    if (code == EXIT_DONE)
        code = connect_daemon(w);
    if (code == EXIT_DONE)
        code = send_chunks(w);
    if (code == EXIT_DONE)
        code = follow_head(w, &head);
    if (code == EXIT_DONE)
        code = sign(w);
    return code == EXIT_DONE ? push_and_report(w) : code;
}

int config_push(struct cli *cli, int argc, char **argv)
{
    return run(cli, argc, argv, push_options, "FILE", do_push);
}

/* -------------------------------------------------------------- rollback */

/* An earlier content under the next number: what was, whole, target and all. */
static int take_content(struct work *w, const struct config_version *old)
{
    argus_Manifest *m = &w->parcel.manifest;
    const argus_Manifest *from = &old->manifest;
    const uint32_t version = m->version;
    uint64_t now_ms = when_now_us() / 1000;

    if (from->removed)
        return cli_fail(w->cli, EXIT_BAD, "invalid",
                        "version %u of \"%s\" is its removal: say --to V, or "
                        "config remove",
                        from->version, from->name);
    if (!old->reply.complete)
        return cli_fail(w->cli, EXIT_BAD, "not-found",
                        "the content of version %u of \"%s\" is not here",
                        from->version, from->name);
    if (w->order.expires == NULL && from->expires_ms != 0 &&
        from->expires_ms <= now_ms)
        return cli_fail(w->cli, EXIT_BAD, "invalid",
                        "version %u of \"%s\" has expired: say --expires T",
                        from->version, from->name);
    argus_Manifest next = *from;
    next.before = m->before;
    next.version = version;
    if (w->order.expires != NULL)
        next.expires_ms = w->order.expires_ms;
    *m = next;
    return EXIT_DONE;
}

static int do_rollback(struct work *w, const char *name)
{
    static struct config_version head, old;
    argus_Manifest *m = &w->parcel.manifest;

    if (!config_name_is_sound(w->cli, name))
        return EXIT_USAGE;
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    int code = open_key(w);
    if (code == EXIT_DONE)
        code = connect_daemon(w);
    if (code == EXIT_DONE)
        code = follow_head(w, &head);
    if (code != EXIT_DONE)
        return code;
    uint32_t to = w->order.to != 0 ? w->order.to : m->version - 2;
    if (m->version < 3 && w->order.to == 0)
        return cli_fail(w->cli, EXIT_BAD, "not-found",
                        "there is no version of \"%s\" before the one in force",
                        name);
    if (to == m->version - 1)
        return cli_fail(w->cli, EXIT_BAD, "invalid",
                        "version %u of \"%s\" is the one in force", to, name);
    code = config_get(w->cli, &w->client, name, to, &old, NULL);
    if (code == EXIT_DONE)
        code = take_content(w, &old);
    if (code == EXIT_DONE)
        code = sign(w);
    return code == EXIT_DONE ? push_and_report(w) : code;
}

int config_rollback(struct cli *cli, int argc, char **argv)
{
    return run(cli, argc, argv, rollback_options, "NAME", do_rollback);
}

/* ---------------------------------------------------------------- remove */

static int do_remove(struct work *w, const char *name)
{
    static struct config_version head;
    argus_Manifest *m = &w->parcel.manifest;

    if (!config_name_is_sound(w->cli, name))
        return EXIT_USAGE;
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    int code = open_key(w);
    if (code == EXIT_DONE)
        code = connect_daemon(w);
    if (code == EXIT_DONE)
        code = follow_head(w, &head);
    if (code != EXIT_DONE)
        return code;
    if (m->version == 1)
        return cli_fail(w->cli, EXIT_BAD, "not-found",
                        "no bundle \"%s\" is known here", name);
    if (head.manifest.removed)
        return cli_fail(w->cli, EXIT_BAD, "removed",
                        "\"%s\" was removed already, by version %u", name,
                        head.manifest.version);
    m->removed = true;
    code = sign(w);
    return code == EXIT_DONE ? push_and_report(w) : code;
}

int config_remove(struct cli *cli, int argc, char **argv)
{
    return run(cli, argc, argv, remove_options, "NAME", do_remove);
}
