/* doctor.h - what the files of `argusctl doctor` share.
 *   verbs_doctor.c   the verb: looks, then tells
 *   doctor_conf.c    the configuration, which the rest goes by
 *   doctor_daemon.c  what the daemon says of itself and of the mesh
 *   doctor_files.c   keys, certificates, StateDir
 *   doctor_net.c     ports and seeds
 * Each looks and changes nothing; a look takes seconds at most. */
#ifndef ARGUS_CLI_DOCTOR_H
#define ARGUS_CLI_DOCTOR_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "argus.pb.h"
#include "cli/cli.h"

enum doctor_level {
    DOCTOR_OK,
    DOCTOR_WARN, /* it works, but not as well or as safely as it should */
    DOCTOR_BAD,
};

#define DOCTOR_FINDINGS_MAX 128
#define DOCTOR_TEXT_SIZE 512

struct doctor_finding {
    const char *check;
    enum doctor_level level;
    char text[DOCTOR_TEXT_SIZE];
    char mend[DOCTOR_TEXT_SIZE]; /* how; empty when there is nothing to do */
};

#define DOCTOR_LISTEN_MAX 8
#define DOCTOR_SEEDS_MAX 32
#define DOCTOR_TRUSTED_MAX 8
#define DOCTOR_PATH_SIZE 1024

struct doctor_address {
    char host[256], port[16];
};

/* What collectd.conf names. Empty: it names none. */
struct doctor_settings {
    bool is_known; /* the file was read to its end */
    bool loads_argus, has_block, allows_plaintext, uses_multicast;
    char file[DOCTOR_PATH_SIZE];
    char base_dir[DOCTOR_PATH_SIZE], plugin_dir[DOCTOR_PATH_SIZE];
    char log_file[DOCTOR_PATH_SIZE];
    char state_dir[DOCTOR_PATH_SIZE], control_group[64];
    char control_socket[DOCTOR_PATH_SIZE];
    char key_file[DOCTOR_PATH_SIZE], certificate[DOCTOR_PATH_SIZE];
    char private_key[DOCTOR_PATH_SIZE], ca[DOCTOR_PATH_SIZE];
    char crl[DOCTOR_PATH_SIZE];
    char trusted[DOCTOR_TRUSTED_MAX][DOCTOR_PATH_SIZE];
    char service[256];
    struct doctor_address listens[DOCTOR_LISTEN_MAX], seeds[DOCTOR_SEEDS_MAX];
    unsigned trusted_count, listens_count, seeds_count;
};

struct doctor {
    struct cli *cli;
    struct doctor_settings settings;

    bool answers; /* the daemon does; then: */
    argus_StatusReply status;
    argus_VersionReply version;
    pid_t pid; /* 0: not told */
    uid_t uid; /* whom it runs as; root when nothing else is known */

    struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
    unsigned count, dropped;
};

/** Add a finding. */
void doctor_find(struct doctor *d, const char *check, enum doctor_level level,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/** How the last finding is mended. */
void doctor_mend(struct doctor *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Ask the daemon, and find out who it is. Fills answers to uid. */
void doctor_meet_daemon(struct doctor *d);

/** Read the configuration: that file, or without one that of the daemon, or
 *  the usual one. */
void doctor_read_settings(struct doctor *d, const char *file);

void doctor_check_daemon(struct doctor *d);
void doctor_check_clock(struct doctor *d);
void doctor_check_settings(struct doctor *d);
void doctor_check_security(struct doctor *d);
void doctor_check_state_dir(struct doctor *d);
void doctor_check_ports(struct doctor *d);
void doctor_check_seeds(struct doctor *d);

/** May the daemon's user do that (R_OK, W_OK, X_OK)? */
bool doctor_may(const struct doctor *d, const struct stat *st, int what);

/** The daemon's log lines of argus that tell of trouble, the newest last; ""
 *  when its log is not known. */
void doctor_last_words(const struct doctor *d, char *out, size_t size);

/** All of it, for the verb and for the debug bundle. */
void doctor_look(struct doctor *d, const char *file);

#endif
