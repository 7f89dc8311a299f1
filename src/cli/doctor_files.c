#include "argus_config.h" /* GNU extensions */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "cli/doctor.h"

#define KEYRING_MAX 8    /* as in runtime/keyring.h */
#define KEY_TEXT_SIZE 44 /* 32 bytes in base64 */
#define EXPIRES_SOON_S (14 * 86400)
#define SPACE_MIN_BYTES (64ull << 20)
#define GROUPS_MAX 64

/* ---------------------------------------------------- what a user may do */

static bool is_in_group(uid_t uid, gid_t group)
{
    const struct passwd *user = getpwuid(uid);
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX;

    if (user == NULL)
        return false;
    if (getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
        count = count < GROUPS_MAX ? count : GROUPS_MAX;
    for (int i = 0; i < count; i++)
        if (groups[i] == group)
            return true;
    return false;
}

bool doctor_may(const struct doctor *d, const struct stat *st, int what)
{
    if (d->uid == 0)
        return true;
    if (d->uid == st->st_uid)
        return (((int)st->st_mode >> 6) & what) == what;
    if (is_in_group(d->uid, st->st_gid))
        return (((int)st->st_mode >> 3) & what) == what;
    return ((int)st->st_mode & what) == what;
}

static const char *user_name(uid_t uid)
{
    static char text[64];
    const struct passwd *user = getpwuid(uid);

    (void)snprintf(text, sizeof text, "%ld", (long)uid);
    if (user != NULL)
        (void)snprintf(text, sizeof text, "%s", user->pw_name);
    return text;
}

/* Is the file there, a regular one, and readable to the daemon? Complains.
 * @param is_secret  nobody else may read it. */
static bool check_file(struct doctor *d, const char *check, const char *path,
                       bool is_secret)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        bool is_hidden = errno == EACCES && geteuid() != 0;
        doctor_find(d, check, is_hidden ? DOCTOR_WARN : DOCTOR_BAD, "%s: %s",
                    path, strerror(errno));
        doctor_mend(d, is_hidden ? "run the doctor as root"
                                 : "put the file there, or name the right one");
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        doctor_find(d, check, DOCTOR_BAD, "%s is no regular file", path);
        doctor_mend(d, "name a file");
        return false;
    }
    if (is_secret && (st.st_mode & 0007) != 0) {
        doctor_find(d, check, DOCTOR_BAD,
                    "%s may be read or written by everyone (mode %03o)", path,
                    (unsigned)st.st_mode & 0777);
        doctor_mend(d,
                    "chmod 600 %s; everyone may have a copy: think of a new "
                    "key (argusctl keys add)",
                    path);
        return false;
    }
    if (!doctor_may(d, &st, R_OK)) {
        doctor_find(d, check, DOCTOR_BAD,
                    "the daemon's user, %s, may not read %s (mode %03o)",
                    user_name(d->uid), path, (unsigned)st.st_mode & 0777);
        doctor_mend(d, "chown %s %s", user_name(d->uid), path);
        return false;
    }
    return true;
}

/* ------------------------------------------------------------ the keyring */

static bool is_key_line(const char *text, size_t size)
{
    uint8_t secret[48];

    if (size != KEY_TEXT_SIZE)
        return false;
    int bytes = EVP_DecodeBlock(secret, (const uint8_t *)text, KEY_TEXT_SIZE);
    OPENSSL_cleanse(secret, sizeof secret);
    return bytes == 33 && text[KEY_TEXT_SIZE - 1] == '='; /* one padded */
}

/* @return keys in the file; -1: line *line is no key. */
static int count_keys(FILE *f, unsigned *line)
{
    char text[256];
    int count = 0;

    for (*line = 1; fgets(text, sizeof text, f) != NULL; ++*line) {
        char *begin = text + strspn(text, " \t\r");
        size_t size = strcspn(begin, " \t\r\n");
        if (size > 0 && begin[0] != '#') {
            if (!is_key_line(begin, size)) {
                OPENSSL_cleanse(text, sizeof text);
                return -1;
            }
            count++;
        }
    }
    OPENSSL_cleanse(text, sizeof text);
    return count;
}

static void check_keyring(struct doctor *d, const char *path)
{
    unsigned line;

    if (!check_file(d, "key", path, true))
        return;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        doctor_find(d, "key", DOCTOR_WARN, "%s: %s", path, strerror(errno));
        doctor_mend(d, "run the doctor as root");
        return;
    }
    setvbuf(f, NULL, _IONBF, 0); /* no copy of a key stays behind */
    int count = count_keys(f, &line);
    (void)fclose(f);
    if (count < 0) {
        doctor_find(d, "key", DOCTOR_BAD, "%s, line %u is no key", path, line);
        doctor_mend(d,
                    "a key is a line of %d characters in base64; copy the "
                    "file of another node",
                    KEY_TEXT_SIZE);
    } else if (count == 0 || count > KEYRING_MAX) {
        doctor_find(d, "key", DOCTOR_BAD, "%s holds %d keys; 1 to %d may be",
                    path, count, KEYRING_MAX);
        doctor_mend(d, "copy the file of another node, or make one: argusctl "
                       "keygen mesh FILE");
    } else {
        doctor_find(d, "key", DOCTOR_OK, "%s holds %d key%s", path, count,
                    count > 1 ? "s" : "");
    }
}

/* ----------------------------------------------------------- certificates */

static X509 *read_certificate(const char *path)
{
    FILE *f = fopen(path, "re");
    X509 *certificate = f != NULL ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

    if (f != NULL)
        (void)fclose(f);
    ERR_clear_error();
    return certificate;
}

static int no_passphrase(char *out, int size, int is_writing, void *context)
{
    (void)out;
    (void)size;
    (void)is_writing;
    (void)context;
    return -1;
}

static EVP_PKEY *read_private(const char *path)
{
    FILE *f = fopen(path, "re");
    EVP_PKEY *key =
        f != NULL ? PEM_read_PrivateKey(f, NULL, no_passphrase, NULL) : NULL;

    if (f != NULL)
        (void)fclose(f);
    ERR_clear_error();
    return key;
}

static void check_dates(struct doctor *d, const char *path, X509 *certificate)
{
    time_t soon = time(NULL) + EXPIRES_SOON_S;

    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
        doctor_find(d, "certificate", DOCTOR_BAD, "%s has expired", path);
        doctor_mend(d, "renew it; argus reads it again by itself");
    } else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
        doctor_find(d, "certificate", DOCTOR_BAD, "%s is not valid yet", path);
        doctor_mend(d, "look at the clock of this machine, and at that of the "
                       "CA");
    } else if (X509_cmp_time(X509_get0_notAfter(certificate), &soon) < 0) {
        doctor_find(d, "certificate", DOCTOR_WARN, "%s expires within 14 days",
                    path);
        doctor_mend(d, "renew it; argus reads it again by itself");
    } else {
        doctor_find(d, "certificate", DOCTOR_OK, "%s is valid", path);
    }
}

static void check_pair(struct doctor *d)
{
    const struct doctor_settings *s = &d->settings;
    X509 *certificate = read_certificate(s->certificate);
    EVP_PKEY *key = read_private(s->private_key);

    if (certificate == NULL) {
        doctor_find(d, "certificate", DOCTOR_BAD, "%s is no certificate in PEM",
                    s->certificate);
        doctor_mend(d, "name the certificate of this node");
    } else {
        check_dates(d, s->certificate, certificate);
    }
    if (key == NULL) {
        doctor_find(d, "private key", DOCTOR_BAD,
                    "%s is no private key in PEM without a passphrase",
                    s->private_key);
        doctor_mend(d, "name the private key that belongs to the certificate");
    } else if (certificate != NULL &&
               X509_check_private_key(certificate, key) != 1) {
        doctor_find(d, "private key", DOCTOR_BAD,
                    "%s does not belong to the certificate", s->private_key);
        doctor_mend(d, "name the private key that belongs to %s",
                    s->certificate);
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(certificate);
}

static void check_certificates(struct doctor *d)
{
    const struct doctor_settings *s = &d->settings;
    bool ok = check_file(d, "certificate", s->certificate, false);

    if (s->private_key[0] == '\0' || s->ca[0] == '\0') {
        doctor_find(d, "certificate", DOCTOR_BAD,
                    "Certificate is set without PrivateKey or CA");
        doctor_mend(d, "set all three");
        return;
    }
    ok &= check_file(d, "private key", s->private_key, true);
    ok &= check_file(d, "CA", s->ca, false);
    if (s->crl[0] != '\0')
        ok &= check_file(d, "CRL", s->crl, false);
    if (ok && access(s->private_key, R_OK) == 0)
        check_pair(d);
}

/* ------------------------------------------------------- operators' keys */

static void check_trusted(struct doctor *d, const char *path)
{
    if (!check_file(d, "trusted key", path, false))
        return;
    FILE *f = fopen(path, "re");
    EVP_PKEY *key = f != NULL ? PEM_read_PUBKEY(f, NULL, NULL, NULL) : NULL;
    if (f != NULL)
        (void)fclose(f);
    ERR_clear_error();
    if (f == NULL || (key != NULL && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519))
        doctor_find(d, "trusted key", f != NULL ? DOCTOR_OK : DOCTOR_WARN,
                    f != NULL ? "%s" : "%s may not be read by this user", path);
    else {
        doctor_find(d, "trusted key", DOCTOR_BAD,
                    "%s is no public Ed25519 key in PEM", path);
        doctor_mend(d, "name the FILE.pub that argusctl keygen operator made");
    }
    EVP_PKEY_free(key);
}

void doctor_check_security(struct doctor *d)
{
    const struct doctor_settings *s = &d->settings;

    if (!s->is_known)
        return;
    if (s->certificate[0] != '\0')
        check_certificates(d);
    if (s->key_file[0] != '\0')
        check_keyring(d, s->key_file);
    if (s->certificate[0] == '\0' && s->key_file[0] == '\0') {
        doctor_find(d, "key", DOCTOR_WARN,
                    s->allows_plaintext
                        ? "no KeyFile: links are not protected"
                        : "no KeyFile: argus stays on loopback");
        doctor_mend(d, "make one, argusctl keygen mesh FILE, copy it to every "
                       "node and name it as KeyFile");
    }
    for (unsigned i = 0; i < s->trusted_count; i++)
        check_trusted(d, s->trusted[i]);
    if (s->control_group[0] != '\0' && getgrnam(s->control_group) == NULL) {
        doctor_find(d, "control socket", DOCTOR_BAD,
                    "there is no group %s (ControlGroup)", s->control_group);
        doctor_mend(d, "addgroup --system %s, or name another",
                    s->control_group);
    }
}

/* --------------------------------------------------------------- StateDir */

static void check_space(struct doctor *d, const char *path)
{
    struct statvfs space;

    if (statvfs(path, &space) != 0)
        return;
    unsigned long long bytes =
        (unsigned long long)space.f_bavail * space.f_frsize;
    if (bytes < SPACE_MIN_BYTES || space.f_favail == 0) {
        doctor_find(d, "state", DOCTOR_BAD, "%s has %llu MiB left", path,
                    bytes >> 20);
        doctor_mend(d, "make room: what waits for an aggregator, and bundles, "
                       "are kept there");
    }
}

void doctor_check_state_dir(struct doctor *d)
{
    const char *path = d->settings.state_dir;
    struct stat st;

    if (!d->settings.is_known)
        return;
    if (stat(path, &st) != 0) {
        bool is_absent = errno == ENOENT && !d->answers;
        doctor_find(d, "state",
                    errno == EACCES || is_absent ? DOCTOR_WARN : DOCTOR_BAD,
                    "%s: %s", path, strerror(errno));
        doctor_mend(d, errno == EACCES ? "run the doctor as root"
                       : is_absent     ? "argus makes it at its first start"
                                       : "StateDir of the running daemon is "
                                         "gone: restart collectd");
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        doctor_find(d, "state", DOCTOR_BAD, "%s is no folder", path);
        doctor_mend(d, "name a folder as StateDir");
    } else if (!doctor_may(d, &st, R_OK | W_OK | X_OK)) {
        doctor_find(d, "state", DOCTOR_BAD,
                    "the daemon's user, %s, may not write to %s (mode %03o)",
                    user_name(d->uid), path, (unsigned)st.st_mode & 0777);
        doctor_mend(d, "chown -R %s %s", user_name(d->uid), path);
    } else if ((st.st_mode & 0002) != 0) {
        doctor_find(d, "state", DOCTOR_BAD,
                    "everyone may write to %s (mode %03o)", path,
                    (unsigned)st.st_mode & 0777);
        doctor_mend(d, "chmod 750 %s", path);
    } else {
        doctor_find(d, "state", DOCTOR_OK, "%s", path);
    }
    check_space(d, path);
}
