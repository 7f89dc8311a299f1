/* config.h - what the files of `argusctl config` share; orders use some of it.
 *   verbs_config.c   which of them is meant; list, show, diff
 *   config_push.c    sign, push, rollback, remove
 *   config_status.c  how the nodes are doing; waiting for them */
#ifndef ARGUS_CLI_CONFIG_H
#define ARGUS_CLI_CONFIG_H

#include "cli/cli.h"
#include "cli/signer.h"
#include "core/content.h"

/* argv[0] is the word behind `config`. */
int config_sign(struct cli *cli, int argc, char **argv);
int config_push(struct cli *cli, int argc, char **argv);
int config_rollback(struct cli *cli, int argc, char **argv);
int config_remove(struct cli *cli, int argc, char **argv);
int config_status(struct cli *cli, int argc, char **argv);

/** 64 hex digits and a NUL. */
#define HASH_TEXT_SIZE (2 * CONTENT_HASH_SIZE + 1)
void config_hash_text(const uint8_t hash[CONTENT_HASH_SIZE],
                      char out[HASH_TEXT_SIZE]);

/* A version as the daemon knows it. */
struct config_version {
    argus_BundleReply reply;
    argus_Manifest manifest; /* the same, unpacked */
};

/** @return EXIT_DONE; else complained about, as not-found too unless is_found
 *  takes that answer. */
int config_get(const struct cli *cli, struct client *c, const char *name,
               uint32_t version, struct config_version *out, bool *is_found);

/** Unpack; complains when it cannot be. */
bool config_unpack(const struct cli *cli, const argus_BundleReply *reply,
                   argus_Manifest *out);

/** Is it a name that a bundle can have? Complains. */
bool config_name_is_sound(const struct cli *cli, const char *name);

/** The operator's private key that --key names (NULL: complains too). */
int config_open_key(const struct cli *cli, const char *path,
                    struct signer **out);

/** --wait[=S]: *seconds is 0 without S. Complains. */
bool config_take_wait(struct cli *cli, const char *text, double *seconds);

/* What was pushed, and how long its nodes are waited for. */
struct config_wait {
    const char *name;
    uint32_t version;
    uint8_t hash[CONTENT_HASH_SIZE];
    bool is_removal;
    double seconds; /* 0: to the end */
};

/** Follow until every node that is not offline is through with it; prints the
 *  outcome. @return an exit code. */
int config_wait(const struct cli *cli, struct client *c,
                const struct config_wait *wait);

#endif
