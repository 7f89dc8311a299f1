/* verbs_keygen.c - keys that people make. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/signer.h"
#include "cli/table.h"

static int fail_making(const struct cli *cli, int rc,
                       const struct argus_error *err)
{
    return cli_fail(cli, EXIT_BAD, rc == ARGUS_EBUSY ? "exists" : "failed",
                    "%s", err->text);
}

static int make_operator(const struct cli *cli, const char *path)
{
    char fingerprint[FINGERPRINT_SIZE];
    struct argus_error err = {{0}};

    int rc = signer_make(path, fingerprint, &err);
    if (rc != ARGUS_OK)
        return fail_making(cli, rc, &err);
    if (cli->json) {
        char public_path[4096];
        (void)snprintf(public_path, sizeof public_path, "%s.pub", path);
        json_print(json_pack("{s:o, s:o, s:s}", "private", json_text(path),
                             "public", json_text(public_path), "fingerprint",
                             fingerprint));
        return EXIT_DONE;
    }
    char *safe = table_escape(path);
    printf("%s      private: keep it with the operator, not on the nodes\n"
           "%s.pub  public: copy it to the nodes and name it as TrustedKey\n"
           "fingerprint %s\n",
           safe, safe, fingerprint);
    free(safe);
    return EXIT_DONE;
}

static int make_mesh(const struct cli *cli, const char *path)
{
    char id[MESH_KEY_NAME_SIZE];
    struct argus_error err = {{0}};

    int rc = signer_make_mesh(path, id, &err);
    if (rc != ARGUS_OK)
        return fail_making(cli, rc, &err);
    if (cli->json) {
        json_print(json_pack("{s:o, s:s}", "file", json_text(path), "id", id));
        return EXIT_DONE;
    }
    char *safe = table_escape(path);
    printf("%s  secret: copy it to every node, readable by collectd alone, "
           "and\nname it as KeyFile in <Security>\nid %s\n",
           safe, id);
    free(safe);
    return EXIT_DONE;
}

static int run_keygen(struct cli *cli, int argc, char **argv)
{
    static const struct cli_options options;
    int at = cli_parse(cli, argc, argv, &options);

    if (at < 0 || cli->help)
        return at < 0 ? EXIT_USAGE : EXIT_DONE;
    if (cli_refuse_watch(cli, "keygen"))
        return EXIT_USAGE;
    bool is_mesh = at < argc && strcmp(argv[at], "mesh") == 0;
    if (at < argc && !is_mesh && strcmp(argv[at], "operator") != 0)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "keygen makes no `%s`, only `mesh` and `operator`",
                        argv[at]);
    if (argc - at != 2)
        return cli_fail(cli, EXIT_USAGE, "usage",
                        "keygen takes `mesh` or `operator`, and one FILE");
    const char *path = argv[at + 1];
    if (path[0] == '\0' || strlen(path) > 4000)
        return cli_fail(cli, EXIT_USAGE, "usage", "FILE is no path");
    return is_mesh ? make_mesh(cli, path) : make_operator(cli, path);
}

const struct verb verb_keygen = {
    .name = "keygen",
    .arguments = "mesh|operator FILE",
    .help =
        "keygen mesh: make a keyring with one key of a mesh, which all its\n"
        "nodes name as KeyFile.\n"
        "keygen operator: make a key pair: FILE is the private key, FILE.pub\n"
        "the public one, which nodes name as TrustedKey.\n"
        "No file is ever overwritten.\n",
    .run = run_keygen,
};
