/* worker.c - argus_worker: see worker.h. All that matters is an order.
 *
 * The config callback runs while collectd reads the daemon's file. In it,
 * before anything of the bundle is loaded: lines and crashes are caught, the
 * rights are given up, the text is copied to where nobody changes it, parsed
 * and vetted; then collectd reads it, from the same descriptor, inside this
 * callback. So the bundle is bytes that were vetted, and its failure is seen.
 *
 * departs: rights are dropped before the text is parsed, not after it was
 * vetted, and before there is a second thread. */
#include "worker.h"

#include "collectd.h"

#include "configfile.h"
#include "liboconfig/oconfig.h"
#include "plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "worker_drop.h"
#include "worker_guard.h"
#include "worker_life.h"
#include "worker_log.h"
#include "worker_options.h"
#include "worker_ready.h"
#include "worker_text.h"
#include "worker_up.h"
#include "worker_values.h"
#include "worker_vet.h"

static struct worker_options options;

/* ---------------------------------------------------------------- start */

static size_t put_hello(uint8_t *out, size_t room, const void *what)
{
    return pair_put_hello(out, room, what);
}

static void say_hello(void)
{
    (void)up_add(UP_STATE, put_hello,
                 &(struct pair_hello){.protocol = PAIR_PROTOCOL,
                                      .pid = (uint32_t)getpid(),
                                      .version = ARGUS_VERSION});
}

/* One heap for all threads: a worker's threads wait more than they allocate,
 * and each further heap costs memory that is never given back. */
static void save_memory(void)
{
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_TRIM_THRESHOLD, 65536);
}

/* From here on the daemon hears of what goes wrong. */
static void start(void)
{
    struct argus_error err;

    save_memory();
    if (!up_open(options.socket) ||
        fcntl(options.bundle, F_SETFD, FD_CLOEXEC) != 0) {
        ERROR("argus_worker: Socket and Bundle must be open descriptors");
        exit(1);
    }
    guard_install(options.socket);
    say_hello();
    int rc = drop_rights(options.user, options.processes, &err);
    if (!life_start(&(struct life_options){.socket = options.socket,
                                           .start_ms = options.start_ms,
                                           .late = ready_late,
                                           .stopped = ready_abandon})) {
        ERROR("argus_worker: no thread: %s", strerror(errno));
        exit(1);
    }
    if (rc != ARGUS_OK)
        life_fail("%s", err.text);
}

/* -------------------------------------------------------------- folders */

/* Where the bundle's user finds what the daemon found. */
struct folders {
    struct stat files;
    char files_spelled[PATH_MAX];
    int plugins; /* descriptor */
};

static void find_folders(struct folders *out)
{
    *out = (struct folders){
        .plugins = open(options.plugin_dir, O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (options.files != NULL)
        (void)stat(options.files, &out->files);
}

/* collectd opens the folder for each plugin it loads. A descriptor leads there
 * also when a folder above may not be entered any more. */
static void set_plugin_dir(int descriptor)
{
    char path[64];

    if (access(options.plugin_dir, R_OK | X_OK) == 0) {
        plugin_set_dir(options.plugin_dir);
        (void)close(descriptor);
        return;
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    plugin_set_dir(path);
}

static void spell_folders(struct folders *folders)
{
    set_plugin_dir(folders->plugins);
    if (options.files != NULL)
        text_spell_folder(options.files, &folders->files,
                          folders->files_spelled,
                          sizeof folders->files_spelled);
}

/* ----------------------------------------------------------- the bundle */

/* What the parser says goes to standard error alone. */
struct heard {
    int before, memory;
};

static void hear_begin(struct heard *h)
{
    h->memory = memfd_create("heard", MFD_CLOEXEC);
    h->before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (h->memory >= 0 && h->before >= 0)
        (void)dup2(h->memory, STDERR_FILENO);
}

static void hear_end(struct heard *h, char *out, size_t size)
{
    ssize_t got = 0;

    (void)fflush(stderr);
    if (h->before >= 0)
        (void)dup2(h->before, STDERR_FILENO);
    if (h->memory >= 0)
        got = pread(h->memory, out, size - 1, 0);
    out[got > 0 ? got : 0] = '\0';
    (void)close(h->before);
    (void)close(h->memory);
}

/* Parse error in file `/proc/self/fd/7', line 3 near `x': … has one line of
 * use, and speaks of a file that the operator knows by another name. */
static void tidy_parse_error(char *out, size_t size, const char *heard,
                             const char *path)
{
    const char *at = strstr(heard, path);
    int length = (int)strcspn(heard, "\n");

    if (at == NULL || at > heard + length) {
        (void)snprintf(out, size, "%.*s", length, heard);
        return;
    }
    (void)snprintf(out, size, "%.*s%s%.*s", (int)(at - heard), heard,
                   options.name, (int)(heard + length - at) - (int)strlen(path),
                   at + strlen(path));
}

/* Of the parser's scanner, in collectd. It counts on from file to file, and the
 * operator knows of one. */
extern void yyset_lineno(int line) __attribute__((weak));

static oconfig_item_t *parse(const char *path)
{
    char said[1024], text[512];
    struct heard heard;

    if (yyset_lineno != NULL)
        yyset_lineno(1);
    hear_begin(&heard);
    oconfig_item_t *root = oconfig_parse_file(path);
    hear_end(&heard, said, sizeof said);
    if (root != NULL)
        return root;
    tidy_parse_error(text, sizeof text, said, path);
    life_fail("%s", text[0] != '\0' ? text : "the text cannot be parsed");
}

/* @return a descriptor of the sealed text. */
static int take_text(const char *files)
{
    struct worker_text text;
    struct argus_error err;
    int rc, fd = -1;

    rc = text_read(options.bundle, options.text_max, &text, &err);
    (void)close(options.bundle);
    if (rc == ARGUS_OK)
        rc = text_replace(&text, files, options.text_max, &err);
    if (rc == ARGUS_OK)
        rc = vet_text(text.bytes, text.size, options.text_max, options.name,
                      &err);
    if (rc == ARGUS_OK) {
        fd = text_seal(&text, &err);
        text_free(&text);
    }
    if (rc == ARGUS_EDENIED)
        life_refuse(err.text);
    if (fd < 0)
        life_fail("%s", err.text);
    return fd;
}

static void vet(const char *path, const char *files, struct vet_found *out)
{
    struct argus_error err;
    struct vet_rules rules = {
        .allow = (const char *const *)options.allow.list,
        .allow_count = options.allow.count,
        .deny = (const char *const *)options.deny.list,
        .deny_count = options.deny.count,
        .loaded = (const char *const *)options.loaded.list,
        .loaded_count = options.loaded.count,
        .shares = (const char *const *)options.shares.list,
        .shares_count = options.shares.count,
        .files = files,
        .plugins_max = options.plugins_max,
    };
    oconfig_item_t *root = parse(path);

    if (vet_tree(root, &rules, out, &err) != ARGUS_OK)
        life_refuse(err.text);
    oconfig_free(root);
}

/* collectd's own reading, which also loads the plugins. */
static void configure(const char *path)
{
    struct log_found found;
    char text[512];

    if (cf_read(path) == 0)
        return;
    log_read(&found);
    text_copy(text, sizeof text, found.error);
    if (text[0] == '\0')
        log_first_warning(text, sizeof text);
    life_fail("%s", text[0] != '\0' ? text
                                    : "collectd does not take the text and "
                                      "gives no reason");
}

/* -------------------------------------------------------------- callbacks */

static int on_first_init(void)
{
    guard_hold_signals(); /* main has installed its own by now */
    life_phase(PAIR_PHASE_INIT);
    return 0;
}

static int on_last_init(void)
{
    bool has_writers = log_has_writers(); /* before ours is one of them */

    if (values_register() != 0)
        life_fail("out of memory");
    ready_begin(has_writers, options.read_ms);
    return 0;
}

static int on_config(oconfig_item_t *block)
{
    struct folders folders;
    struct vet_found found;
    struct argus_error err;
    char path[64];

    if (options_read(block, &options, &err) != ARGUS_OK) {
        ERROR("%s", err.text);
        return -1;
    }
    find_folders(&folders);
    start();
    life_phase(PAIR_PHASE_VET);
    spell_folders(&folders);
    int fd = take_text(folders.files_spelled);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    vet(path, folders.files_spelled, &found);

    life_phase(PAIR_PHASE_CONFIG);
    (void)plugin_register_init("argus_worker", on_first_init);
    if (values_watch_chain(found.pre_cache_chain) != 0)
        life_fail("out of memory");
    configure(path);
    (void)close(fd);
    (void)plugin_register_init("argus_worker/last", on_last_init);
    return 0;
}

__attribute__((visibility("default"))) void module_register(void)
{
    (void)log_open(life_ended);
    (void)plugin_register_complex_config("argus_worker", on_config);
}
