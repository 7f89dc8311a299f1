/* verbs_config.c - pushed configuration: what is known here, and which word of
 * `argusctl config` is meant. */
#include "argus_config.h" /* GNU extensions */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pb_decode.h>

#include "cli/config.h"
#include "cli/json.h"
#include "cli/signer.h"
#include "cli/table.h"
#include "core/manifest.h"

extern char **environ;

/* ------------------------------------------------------------ one version */

void config_hash_text(const uint8_t hash[CONTENT_HASH_SIZE],
                      char out[HASH_TEXT_SIZE])
{
    for (size_t i = 0; i < CONTENT_HASH_SIZE; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static json_t *json_hash(const uint8_t hash[CONTENT_HASH_SIZE])
{
    char text[HASH_TEXT_SIZE];

    config_hash_text(hash, text);
    return json_string(text);
}

bool config_name_is_sound(const struct cli *cli, const char *name)
{
    if (manifest_name_is_sound(name))
        return true;
    (void)cli_fail(cli, EXIT_USAGE, "usage",
                   "\"%s\" is no name of a bundle: 1 to 63 letters, digits, "
                   "\".\", \"_\" and \"-\", not \".\" or \"-\" first",
                   name);
    return false;
}

bool config_unpack(const struct cli *cli, const argus_BundleReply *reply,
                   argus_Manifest *out)
{
    struct argus_error err;

    if (manifest_open(&reply->bundle, out, &err) == ARGUS_OK)
        return true;
    (void)cli_fail(cli, EXIT_BAD, "failed",
                   "the daemon names a bundle that cannot be read: %s",
                   err.text);
    return false;
}

static bool keep_version(void *context, const argus_Reply *row)
{
    struct config_version *v = context;

    if (row->which_body == argus_Reply_bundle_tag)
        v->reply = row->body.bundle;
    return true;
}

int config_get(const struct cli *cli, struct client *c, const char *name,
               uint32_t version, struct config_version *out, bool *is_found)
{
    argus_Request request = {.which_body = argus_Request_bundle_get_tag};
    argus_BundleGetRequest *get = &request.body.bundle_get;
    struct argus_error err;
    argus_End end;

    (void)snprintf(get->name, sizeof get->name, "%s", name);
    get->version = version;
    memset(&out->reply, 0, sizeof out->reply);
    if (is_found == NULL) {
        int code = cli_next(cli, c, &request, keep_version, out, NULL);
        if (code != EXIT_DONE)
            return code;
    } else {
        if (client_next(c, &request, keep_version, out, &end, &err) != ARGUS_OK)
            return cli_fail(cli, EXIT_NO_DAEMON, "no-answer", "%s", err.text);
        *is_found = strcmp(end.code, "not-found") != 0;
        if (!*is_found)
            return EXIT_DONE;
        if (end.code[0] != '\0')
            return cli_fail(cli, EXIT_BAD, end.code, "%s", end.message);
    }
    if (!out->reply.has_bundle)
        return cli_fail(cli, EXIT_BAD, "no-answer",
                        "the daemon gave an answer to another question");
    return config_unpack(cli, &out->reply, &out->manifest) ? EXIT_DONE
                                                           : EXIT_BAD;
}

/* ------------------------------------------------------------------ list */

struct list {
    const struct cli *cli;
    json_t *rows;
    struct table *table;
    bool is_bad;
};

static json_t *version_json(const argus_BundleReply *b, const argus_Manifest *m)
{
    char fingerprint[FINGERPRINT_SIZE];

    fingerprint_of(b->bundle.key, fingerprint);
    return json_pack(
        "{s:o, s:I, s:o, s:o, s:o, s:s, s:b, s:o, s:o, s:b, s:b, s:b, s:I}",
        "name", json_text(m->name), "version", (json_int_t)m->version, "target",
        json_text(m->target), "state", json_text(b->state), "hash",
        json_hash(b->hash), "signer", fingerprint, "trusted", (int)b->trusted,
        "created", json_time(m->created_ms * 1000), "expires",
        json_time(m->expires_ms * 1000), "removed", (int)m->removed, "head",
        (int)b->head, "complete", (int)b->complete, "size",
        (json_int_t)content_size(m));
}

static enum table_color list_color(const char *state)
{
    if (strcmp(state, "applied") == 0)
        return COLOR_GOOD;
    if (strcmp(state, "pending") == 0 || strcmp(state, "applying") == 0)
        return COLOR_WARN;
    if (strcmp(state, "failed") == 0 || strcmp(state, "rolled-back") == 0 ||
        strcmp(state, "refused") == 0 || strcmp(state, "expired") == 0)
        return COLOR_BAD;
    return COLOR_FAINT;
}

static void cell_expires(struct table *t, uint64_t unix_ms)
{
    char text[TIME_TEXT_SIZE];

    if (unix_ms == 0) {
        table_cell(t, COLOR_PLAIN, "never");
        return;
    }
    time_text(unix_ms * 1000, text);
    table_cell(t, COLOR_PLAIN, "%.10s %.8sZ", text, text + 11);
}

static void list_row(struct table *t, const argus_BundleReply *b,
                     const argus_Manifest *m)
{
    char fingerprint[FINGERPRINT_SIZE];

    fingerprint_of(b->bundle.key, fingerprint);
    table_cell(t, COLOR_PLAIN, "%s", m->name);
    table_cell(t, COLOR_PLAIN, "%u", m->version);
    table_cell(t, list_color(b->state), "%s", b->state);
    table_cell(t, COLOR_PLAIN, "%s", m->removed ? "-" : m->target);
    table_cell(t, b->trusted ? COLOR_PLAIN : COLOR_WARN, "%s%s", fingerprint,
               b->trusted ? "" : " (not trusted here)");
    cell_expires(t, m->expires_ms);
    table_cell(t, COLOR_PLAIN, "%" PRIu64, content_size(m));
}

static bool on_listed(void *context, const argus_Reply *row)
{
    struct list *list = context;
    argus_Manifest manifest;

    if (row->which_body != argus_Reply_bundle_tag)
        return true;
    const argus_BundleReply *b = &row->body.bundle;
    if (!config_unpack(list->cli, b, &manifest)) {
        list->is_bad = true;
        return false;
    }
    if (list->rows != NULL)
        (void)json_array_append_new(list->rows, version_json(b, &manifest));
    else
        list_row(list->table, b, &manifest);
    return true;
}

static int config_list(struct cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"NAME",   "VERSION", "STATE",
                                         "TARGET", "SIGNER",  "EXPIRES",
                                         ">BYTES", NULL};
    static const struct cli_options options;
    const argus_Request request = {.which_body = argus_Request_bundle_list_tag};

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at < argc)
        return cli_fail(cli, EXIT_USAGE, "usage", "config list takes no `%s`",
                        argv[at]);
    struct list list = {.cli = cli,
                        .rows = cli->json ? json_array() : NULL,
                        .table = cli->json ? NULL : table_new(titles)};
    int code = cli_ask(cli, &request, false, on_listed, &list, NULL);
    if (code == EXIT_DONE && list.is_bad)
        code = EXIT_BAD;
    if (code == EXIT_DONE && cli->json)
        json_print(json_pack("{s:O}", "bundles", list.rows));
    else if (code == EXIT_DONE && table_rows(list.table) == 0)
        puts("No configuration was pushed.");
    else if (code == EXIT_DONE)
        table_print(list.table, stdout, cli->width, cli->color);
    json_decref(list.rows);
    table_free(list.table);
    return code;
}

/* --------------------------------------------------------------- content */

struct content {
    uint8_t *bytes;
    size_t size, most;
};

static bool on_content(void *context, const argus_Reply *row)
{
    struct content *c = context;

    if (row->which_body != argus_Reply_content_tag)
        return true;
    size_t size = row->body.content.data.size;
    if (size > c->most - c->size)
        size = c->most - c->size;
    memcpy(c->bytes + c->size, row->body.content.data.bytes, size);
    c->size += size;
    return true;
}

/* The text of a version, with a NUL behind it; free() it. */
static int get_text(const struct cli *cli, struct client *c,
                    const argus_Manifest *m, char **out, size_t *out_size)
{
    argus_Request request = {.which_body = argus_Request_bundle_content_tag};
    argus_BundleContentRequest *r = &request.body.bundle_content;
    struct content content = {.most = m->files[0].size};

    (void)snprintf(r->name, sizeof r->name, "%s", m->name);
    r->version = m->version;
    content.bytes = malloc(content.most + 1);
    if (content.bytes == NULL)
        return cli_fail(cli, EXIT_BAD, "failed", "out of memory");
    int code = cli_next(cli, c, &request, on_content, &content, NULL);
    if (code == EXIT_DONE && content.size != content.most)
        code = cli_fail(cli, EXIT_BAD, "failed",
                        "the daemon gave %zu of %zu bytes", content.size,
                        content.most);
    if (code != EXIT_DONE) {
        free(content.bytes);
        return code;
    }
    content.bytes[content.size] = '\0';
    *out = (char *)content.bytes;
    *out_size = content.size;
    return EXIT_DONE;
}

/* Byte for byte into a file or pipe; what a terminal could take for a command
 * is made visible. */
static void put_text(const char *text, size_t size)
{
    if (!isatty(STDOUT_FILENO)) {
        (void)fwrite(text, 1, size, stdout);
        return;
    }
    while (size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t length = end != NULL ? (size_t)(end - text) : size;
        char *line = strndup(text, length);
        char *safe = line != NULL ? table_escape(line) : NULL;
        for (char *tab = safe; tab != NULL && (tab = strstr(tab, "\\x09"));) {
            *tab = '\t';
            memmove(tab + 1, tab + 4, strlen(tab + 4) + 1);
        }
        puts(safe != NULL ? safe : "out of memory");
        free(line);
        free(safe);
        length += end != NULL;
        text += length;
        size -= length;
    }
}

static int refuse_removal(const struct cli *cli, const argus_Manifest *m)
{
    return cli_fail(cli, EXIT_BAD, "removed",
                    "version %u of \"%s\" is its removal: it has no text; "
                    "earlier ones may (%s@%u)",
                    m->version, m->name, m->name, m->version - 1);
}

static json_t *files_json(const argus_Manifest *m)
{
    json_t *files = json_array();

    for (pb_size_t i = 1; i < m->files_count; i++)
        (void)json_array_append_new(
            files, json_pack("{s:o, s:I, s:o, s:b}", "name",
                             json_text(m->files[i].name), "size",
                             (json_int_t)m->files[i].size, "sha256",
                             json_hash(m->files[i].sha256), "executable",
                             (int)m->files[i].executable));
    return files;
}

/* ------------------------------------------------------------------ show */

static bool parse_version(const char *text, uint32_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long version = strtoul(text, &end, 10);

    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != '\0' ||
        version == 0 || version >= UINT32_MAX)
        return false;
    *out = (uint32_t)version;
    return true;
}

/* "NAME" or "NAME@VERSION". Complains. */
static bool split_version(const struct cli *cli, const char *text,
                          char name[64], uint32_t *version)
{
    const char *sign = strchr(text, '@');
    size_t length = sign != NULL ? (size_t)(sign - text) : strlen(text);

    *version = 0;
    if (sign != NULL && !parse_version(sign + 1, version)) {
        (void)cli_fail(cli, EXIT_USAGE, "usage",
                       "%s: NAME@VERSION, a number from 1", text);
        return false;
    }
    (void)snprintf(name, 64, "%.*s", (int)(length < 63 ? length : 63), text);
    return config_name_is_sound(cli, length < 64 ? name : text);
}

static int show(const struct cli *cli, struct client *c, const char *name,
                uint32_t version)
{
    static struct config_version v;
    char *text = NULL;
    size_t size = 0;

    int code = config_get(cli, c, name, version, &v, NULL);
    if (code != EXIT_DONE)
        return code;
    if (v.manifest.removed && !cli->json)
        return refuse_removal(cli, &v.manifest);
    if (!v.manifest.removed && (v.reply.complete || !cli->json))
        code = get_text(cli, c, &v.manifest, &text, &size);
    if (code != EXIT_DONE)
        return code;
    if (cli->json) {
        json_t *object = version_json(&v.reply, &v.manifest);
        (void)json_object_set_new(object, "files", files_json(&v.manifest));
        (void)json_object_set_new(object, "text",
                                  text != NULL ? json_text(text) : json_null());
        json_print(object);
    } else {
        put_text(text, size);
    }
    free(text);
    return EXIT_DONE;
}

static int config_show(struct cli *cli, int argc, char **argv)
{
    static const struct cli_options options;
    char name[64];
    uint32_t version;
    struct client c;

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (cli_refuse_watch(cli, "config show"))
        return EXIT_USAGE;
    if (argc - at != 1)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "config show takes one NAME[@VERSION]");
    if (!split_version(cli, argv[at], name, &version))
        return EXIT_USAGE;
    int code = cli_connect(cli, &c);
    if (code != EXIT_DONE)
        return code;
    code = show(cli, &c, name, version);
    client_close(&c);
    return code;
}

/* ------------------------------------------------------------------ diff */

/* One side of a comparison; a removal has no text and no files. */
struct side {
    struct config_version v;
    char *text;
    size_t size;
    char label[64 + 16];
    char path[64];
};

static int load_side(const struct cli *cli, struct client *c, const char *name,
                     uint32_t version, struct side *s)
{
    int code = config_get(cli, c, name, version, &s->v, NULL);

    if (code != EXIT_DONE)
        return code;
    (void)snprintf(s->label, sizeof s->label, "%s@%u", name, version);
    if (!s->v.manifest.removed)
        return get_text(cli, c, &s->v.manifest, &s->text, &s->size);
    s->text = calloc(1, 1);
    return s->text != NULL ? EXIT_DONE
                           : cli_fail(cli, EXIT_BAD, "failed", "out of memory");
}

static bool write_side(struct side *s, const char *folder, const char *name)
{
    (void)snprintf(s->path, sizeof s->path, "%s/%s", folder, name);
    FILE *file = fopen(s->path, "wxe");
    bool ok = file != NULL && fwrite(s->text, 1, s->size, file) == s->size;
    return file != NULL && fclose(file) == 0 && ok;
}

static char *read_pipe(int fd, size_t *size)
{
    size_t used = 0, room = 0;
    char *text = NULL;

    for (;;) {
        if (room - used < 2) {
            room = room == 0 ? 8192 : 2 * room;
            char *more = realloc(text, room);
            if (more == NULL)
                break;
            text = more;
        }
        ssize_t n = read(fd, text + used, room - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            text[used] = '\0';
            *size = used;
            return text;
        }
        used += (size_t)n;
    }
    free(text);
    return NULL;
}

/* @return what diff(1) prints, or NULL with errno; *rc is how it ended. */
static char *run_diff(struct side *a, struct side *b, size_t *size, int *rc)
{
    char *args[] = {(char *)"diff", (char *)"-au",     (char *)"--label",
                    a->label,       (char *)"--label", b->label,
                    a->path,        b->path,           NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], status = 0;
    char *text = NULL;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return NULL;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        errno = ENOMEM;
        goto close_pipe;
    }
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    int code = posix_spawnp(&pid, "diff", &actions, NULL, args, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    ends[1] = -1;
    if (code == 0) {
        text = read_pipe(ends[0], size);
        (void)waitpid(pid, &status, 0);
        *rc = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    errno = code != 0 ? code : errno;

close_pipe:
    code = errno;
    (void)close(ends[0]);
    if (ends[1] >= 0)
        (void)close(ends[1]);
    errno = code;
    return text;
}

static int fail_diff(const struct cli *cli)
{
    if (errno == ENOENT)
        return cli_fail(cli, EXIT_BAD, "no-diff",
                        "the program diff is missing: install diffutils; "
                        "config show prints each version");
    return cli_fail(cli, EXIT_BAD, "failed", "diff: %s", strerror(errno));
}

static int diff_texts(const struct cli *cli, struct side *a, struct side *b,
                      char **out, size_t *size)
{
    char folder[] = "/tmp/argusctl-XXXXXX";
    int rc = -1;

    if (mkdtemp(folder) == NULL)
        return cli_fail(cli, EXIT_BAD, "failed", "%s: %s", folder,
                        strerror(errno));
    *out = NULL;
    if (write_side(a, folder, "a") && write_side(b, folder, "b"))
        *out = run_diff(a, b, size, &rc);
    int saved = errno;
    (void)unlink(a->path);
    (void)unlink(b->path);
    (void)rmdir(folder);
    errno = saved;
    if (*out == NULL)
        return fail_diff(cli);
    if (rc == 0 || rc == 1) /* no difference, or some */
        return EXIT_DONE;
    free(*out);
    *out = NULL;
    return cli_fail(cli, EXIT_BAD, "failed", "diff ended with %d", rc);
}

static const argus_BundleFile *find_file(const argus_Manifest *m,
                                         const char *name)
{
    for (pb_size_t i = 1; i < m->files_count; i++)
        if (strcmp(m->files[i].name, name) == 0)
            return &m->files[i];
    return NULL;
}

static json_t *change(const char *name, const char *what)
{
    return json_pack("{s:o, s:s}", "name", json_text(name), "change", what);
}

/* Files that differ, as JSON: the table is made from the same. */
static json_t *file_changes(const argus_Manifest *a, const argus_Manifest *b)
{
    json_t *rows = json_array();

    for (pb_size_t i = 1; i < a->files_count; i++) {
        const argus_BundleFile *old = &a->files[i];
        const argus_BundleFile *new = find_file(b, old->name);
        if (new == NULL)
            (void)json_array_append_new(rows, change(old->name, "removed"));
        else if (memcmp(old->sha256, new->sha256, sizeof old->sha256) != 0)
            (void)json_array_append_new(rows, change(old->name, "changed"));
        else if (old->executable != new->executable)
            (void)json_array_append_new(rows, change(old->name, "mode"));
    }
    for (pb_size_t i = 1; i < b->files_count; i++)
        if (find_file(a, b->files[i].name) == NULL)
            (void)json_array_append_new(rows,
                                        change(b->files[i].name, "added"));
    return rows;
}

static void print_diff(const struct cli *cli, const char *name,
                       const struct side *a, const struct side *b, char *text,
                       size_t size)
{
    json_t *files = file_changes(&a->v.manifest, &b->v.manifest);
    json_t *row;
    size_t i;

    if (cli->json) {
        json_print(json_pack("{s:o, s:I, s:I, s:o, s:o}", "name",
                             json_text(name), "a",
                             (json_int_t)a->v.manifest.version, "b",
                             (json_int_t)b->v.manifest.version, "diff",
                             json_text(text), "files", files));
        return;
    }
    put_text(text, size);
    json_array_foreach(files, i, row)
    {
        printf("File %s: %s\n", json_string_value(json_object_get(row, "name")),
               json_string_value(json_object_get(row, "change")));
    }
    if (strcmp(a->v.manifest.target, b->v.manifest.target) != 0) {
        char *from = table_escape(a->v.manifest.target);
        char *to = table_escape(b->v.manifest.target);
        printf("Target: %s -> %s\n", from, to);
        free(from);
        free(to);
    }
    json_decref(files);
}

static int diff(const struct cli *cli, struct client *c, const char *name,
                const uint32_t versions[2])
{
    static struct side a, b;
    char *text = NULL;
    size_t size = 0;

    int code = load_side(cli, c, name, versions[0], &a);
    if (code == EXIT_DONE)
        code = load_side(cli, c, name, versions[1], &b);
    if (code == EXIT_DONE)
        code = diff_texts(cli, &a, &b, &text, &size);
    if (code == EXIT_DONE)
        print_diff(cli, name, &a, &b, text, size);
    free(text);
    free(a.text);
    free(b.text);
    a.text = b.text = NULL;
    return code;
}

static int config_diff(struct cli *cli, int argc, char **argv)
{
    static const struct cli_options options;
    uint32_t versions[2];
    struct client c;

    int at = cli_parse(cli, argc, argv, &options);
    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (cli_refuse_watch(cli, "config diff"))
        return EXIT_USAGE;
    if (argc - at != 3)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "config diff takes NAME and two versions");
    if (!config_name_is_sound(cli, argv[at]))
        return EXIT_USAGE;
    for (int i = 0; i < 2; i++)
        if (!parse_version(argv[at + 1 + i], &versions[i]))
            return cli_fail(cli, EXIT_USAGE, "usage",
                            "`%s` is no version: a number from 1",
                            argv[at + 1 + i]);
    int code = cli_connect(cli, &c);
    if (code != EXIT_DONE)
        return code;
    code = diff(cli, &c, argv[at], versions);
    client_close(&c);
    return code;
}

/* -------------------------------------------------------------- the words */

static const struct {
    const char *name;
    int (*run)(struct cli *cli, int argc, char **argv);
} words[] = {
    {"sign", config_sign},     {"push", config_push},
    {"list", config_list},     {"show", config_show},
    {"diff", config_diff},     {"status", config_status},
    {"remove", config_remove}, {"rollback", config_rollback},
};

static const char *const not_built[] = {"plan", "halt", "resume"};

static int run_config(struct cli *cli, int argc, char **argv)
{
    int at = cli_parse(cli, argc, argv, NULL); /* up to the next word */

    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (at == argc)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "config what? See argusctl config --help");
    for (size_t i = 0; i < sizeof not_built / sizeof not_built[0]; i++)
        if (strcmp(argv[at], not_built[i]) == 0)
            return cli_fail(cli, EXIT_USAGE, "not-built",
                            "`config %s` is not built yet", argv[at]);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(argv[at], words[i].name) == 0)
            return words[i].run(cli, argc - at, argv + at);
    return cli_fail(cli, EXIT_USAGE, "usage",
                    "there is no `config %s`; see argusctl config --help",
                    argv[at]);
}

const struct verb verb_config = {
    .name = "config",
    .arguments = "sign|push|list|show|diff|status|remove|rollback ...",
    .help =
        "Configuration that is pushed to the nodes of the mesh. Whoever "
        "changes\n"
        "it signs with an operator's private key (--key), which stays here.\n"
        "\n"
        "  push FILE --name NAME --key K   to every node that the target "
        "means\n"
        "  push FILE                       what was signed before\n"
        "  sign FILE --name NAME --key K -o OUT\n"
        "  remove NAME --key K             stop it everywhere\n"
        "  rollback NAME [--to V] --key K  an earlier content as a new "
        "version\n"
        "  list                            what is known, and how it is here\n"
        "  show NAME[@VERSION]             the text\n"
        "  diff NAME A B                   what changed between two versions\n"
        "  status NAME                     how each node is doing\n"
        "\n"
        "  --file PATH[=NAME]  a file beside the text, @BUNDLE@/NAME in it; "
        "may\n"
        "                      come often; an executable one stays so\n"
        "  --target EXPR       * (default), name=GLOB, zone=PREFIX, role=R,\n"
        "                      tag:K=V; joined by \",\" (and) and \";\" (or)\n"
        "  --expires T         not run from then on: 2026-01-31T12:00:00Z, or\n"
        "                      +30d, +12h, +90s from now\n"
        "  --wait[=S]          follow until every node is through, for at most "
        "S\n"
        "                      seconds; exit code 1 when one failed, or when\n"
        "                      another push won (superseded)\n"
        "  --version N --after HASH [--cluster C]\n"
        "                      sign without a daemon at hand: the number, and\n"
        "                      the hash of the version before (from 2 on)\n",
    .run = run_config,
};
