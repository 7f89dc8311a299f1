#include "argus_config.h" /* GNU extensions */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cli/conf.h"
#include "cli/doctor.h"

#define CONF_DEFAULT "/etc/collectd/collectd.conf"
#define PORT_DEFAULT "25827"

static void keep(char *out, size_t size, const char *text)
{
    (void)snprintf(out, size, "%s", text);
}

/* -------------------------------------------------------------- options */

/* Host and port as two words, "host:port" or "[v6]:port". */
static void keep_address(struct doctor_address *out,
                         const struct conf_option *o)
{
    const char *text = o->values[0];
    const char *colon = strrchr(text, ':');
    const char *end = strchr(text, ']');
    bool has_port = text[0] == '['
                        ? end != NULL && end[1] == ':'
                        : colon != NULL && strchr(text, ':') == colon;

    keep(out->host, sizeof out->host, text);
    keep(out->port, sizeof out->port,
         o->count > 1 ? o->values[1] : PORT_DEFAULT);
    if (has_port && o->count == 1) {
        keep(out->port, sizeof out->port, colon + 1);
        out->host[(size_t)(colon - text) < sizeof out->host
                      ? (size_t)(colon - text)
                      : sizeof out->host - 1] = '\0';
    }
    size_t length = strlen(out->host);
    if (out->host[0] == '[' && out->host[length - 1] == ']') {
        out->host[length - 1] = '\0';
        memmove(out->host, out->host + 1, length - 1);
    }
}

static bool is_true(const char *word)
{
    return strcasecmp(word, "true") == 0 || strcasecmp(word, "yes") == 0 ||
           strcasecmp(word, "on") == 0;
}

/* Options that name one text, and where it is kept. */
static const struct {
    const char *path, *key;
    size_t at, size;
} texts[] = {
#define TEXT(path, key, field)                                                 \
    {                                                                          \
        path, key, offsetof(struct doctor_settings, field),                    \
            sizeof((struct doctor_settings *)NULL)->field                      \
    }
    TEXT("", "BaseDir", base_dir),
    TEXT("", "PluginDir", plugin_dir),
    TEXT("Plugin logfile", "File", log_file),
    TEXT("Plugin argus", "StateDir", state_dir),
    TEXT("Plugin argus", "ControlSocket", control_socket),
    TEXT("Plugin argus", "ControlGroup", control_group),
    TEXT("Plugin argus", "SeedService", service),
    TEXT("Plugin argus/Security", "KeyFile", key_file),
    TEXT("Plugin argus/Security", "Certificate", certificate),
    TEXT("Plugin argus/Security", "PrivateKey", private_key),
    TEXT("Plugin argus/Security", "CA", ca),
    TEXT("Plugin argus/Security", "CRL", crl),
#undef TEXT
};

static void on_argus_option(struct doctor_settings *s,
                            const struct conf_option *o)
{
    bool is_top = strcasecmp(o->path, "Plugin argus") == 0;
    bool is_apply = strcasecmp(o->path, "Plugin argus/Apply") == 0;
    bool is_security = strcasecmp(o->path, "Plugin argus/Security") == 0;

    if (is_top && strcasecmp(o->key, "Listen") == 0 &&
        s->listens_count < DOCTOR_LISTEN_MAX)
        keep_address(&s->listens[s->listens_count++], o);
    else if (is_top && strcasecmp(o->key, "Seed") == 0 &&
             s->seeds_count < DOCTOR_SEEDS_MAX)
        keep_address(&s->seeds[s->seeds_count++], o);
    else if (is_top && strcasecmp(o->key, "Multicast") == 0)
        s->uses_multicast = is_true(o->values[0]);
    else if (is_security && strcasecmp(o->key, "AllowPlaintext") == 0)
        s->allows_plaintext = is_true(o->values[0]);
    else if (is_apply && strcasecmp(o->key, "TrustedKey") == 0 &&
             s->trusted_count < DOCTOR_TRUSTED_MAX)
        keep(s->trusted[s->trusted_count++], DOCTOR_PATH_SIZE, o->values[0]);
}

static void on_option(void *context, const struct conf_option *o)
{
    struct doctor_settings *s = context;

    if (strncasecmp(o->path, "Plugin argus", 12) == 0)
        s->has_block = true;
    if (o->count == 0)
        return;
    if (strcasecmp(o->key, "LoadPlugin") == 0 &&
        strcasecmp(o->values[0], "argus") == 0)
        s->loads_argus = true;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcasecmp(o->path, texts[i].path) == 0 &&
            strcasecmp(o->key, texts[i].key) == 0)
            keep((char *)s + texts[i].at, texts[i].size, o->values[0]);
    on_argus_option(s, o);
}

/* ---------------------------------------------------------------- the file */

/* The -C of the daemon's command line. @return false: it has none. */
static bool config_of_daemon(pid_t pid, char *out, size_t size)
{
    char path[64], words[4096];

    (void)snprintf(path, sizeof path, "/proc/%ld/cmdline", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, words, sizeof words - 1);
    (void)close(fd);
    if (length <= 0)
        return false;
    words[length] = '\0';
    const char *end = words + length;
    for (const char *w = words; w < end; w += strlen(w) + 1) {
        const char *next = w + strlen(w) + 1;
        const char *file = strcmp(w, "-C") == 0 && next < end ? next
                           : strncmp(w, "-C", 2) == 0         ? w + 2
                                                              : "";
        if (file[0] == '/') { /* else: where it was started, nobody knows */
            keep(out, size, file);
            return true;
        }
    }
    return false;
}

void doctor_read_settings(struct doctor *d, const char *file)
{
    struct doctor_settings *s = &d->settings;
    struct argus_error err = {{0}};

    if (file != NULL)
        keep(s->file, sizeof s->file, file);
    else if (d->pid == 0 || !config_of_daemon(d->pid, s->file, sizeof s->file))
        keep(s->file, sizeof s->file, CONF_DEFAULT);
    int rc = conf_read(s->file, on_option, s, &err);
    s->is_known = rc == ARGUS_OK;
    if (s->state_dir[0] == '\0')
        (void)snprintf(s->state_dir, sizeof s->state_dir, "%.1000s/argus",
                       s->base_dir[0] != '\0' ? s->base_dir
                                              : "/var/lib/collectd");
    if (rc == ARGUS_OK)
        return;
    doctor_find(d, "configuration", d->answers ? DOCTOR_WARN : DOCTOR_BAD, "%s",
                err.text);
    if (geteuid() != 0 && access(s->file, R_OK) != 0 && errno == EACCES)
        doctor_mend(d, "run the doctor as root");
    else
        doctor_mend(d, "mend the file, or name the right one with --config");
}

void doctor_check_settings(struct doctor *d)
{
    const struct doctor_settings *s = &d->settings;
    char module[DOCTOR_PATH_SIZE + 16];

    if (!s->is_known)
        return;
    if (!s->loads_argus) {
        doctor_find(d, "configuration", d->answers ? DOCTOR_WARN : DOCTOR_BAD,
                    "%s does not load argus", s->file);
        doctor_mend(d, "add `LoadPlugin argus`, or name the right file with "
                       "--config");
        return;
    }
    doctor_find(d, "configuration", DOCTOR_OK, "%s loads argus%s", s->file,
                s->has_block ? "" : ", without a <Plugin argus> block");
    if (d->answers) /* so it is loaded */
        return;
    (void)snprintf(module, sizeof module, "%s/argus.so",
                   s->plugin_dir[0] != '\0' ? s->plugin_dir : ARGUS_PLUGINDIR);
    if (access(module, F_OK) == 0) {
        doctor_find(d, "plugin", DOCTOR_OK, "%s is there", module);
    } else {
        doctor_find(d, "plugin", DOCTOR_BAD, "%s: %s", module, strerror(errno));
        doctor_mend(d, "install argus there (./configure --with-plugindir), or "
                       "set PluginDir");
    }
}

/* ------------------------------------------------------------- the log */

/* Log lines of argus begin with its name, behind time and severity. */
static bool is_trouble(const char *line)
{
    return strstr(line, "argus") != NULL && (strstr(line, "[error]") != NULL ||
                                             strstr(line, "[warning]") != NULL);
}

void doctor_last_words(const struct doctor *d, char *out, size_t size)
{
    char line[1024];
    FILE *f;

    out[0] = '\0';
    if (d->settings.log_file[0] != '/' ||
        (f = fopen(d->settings.log_file, "re")) == NULL)
        return;
    if (fseek(f, -65536, SEEK_END) != 0)
        rewind(f);
    while (fgets(line, sizeof line, f) != NULL)
        if (is_trouble(line)) {
            line[strcspn(line, "\n")] = '\0';
            keep(out, size, line);
        }
    (void)fclose(f);
}
