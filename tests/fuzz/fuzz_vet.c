/* fuzz_vet.c - what of a pushed text may stand there (plugin/worker_vet.h). The
 * text goes through collectd's own parser, as in a worker: the parser is in the
 * daemon's binary, which is loaded like a library. Where that cannot be done,
 * and half of the time where it can, the tree is made from the input itself.
 *
 * What is let in is judged once more here, by a simpler rule.
 *
 * Input: a byte of flavor, then a text or the making of a tree. */
#include "fuzz.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker_text.h"
#include "worker_vet.h"

#define TEXT_MAX 65536
#define PLUGINS_MAX 3
#define COLLECTD "/usr/sbin/collectd"

/* Of the address sanitizer, where it is built in. */
extern void __lsan_disable(void) __attribute__((weak));
extern void __lsan_enable(void) __attribute__((weak));

static struct {
    bool was_tried;
    oconfig_item_t *(*parse)(const char *path); /* NULL: not to be had */
    void (*release)(oconfig_item_t *item);
    void (*reset)(void); /* the scanner, which an error leaves in the middle */
} collectd;

/* ------------------------------------------------------- collectd's parser */

/* glibc loads no program as a library if it says that it is one. */
static void hide_program(uint8_t *image, size_t size)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)(void *)image;

    for (int i = 0; i < head->e_phnum; i++) {
        const Elf64_Phdr *part =
            (const Elf64_Phdr *)(void *)(image + head->e_phoff) + i;
        if (part->p_type != PT_DYNAMIC ||
            part->p_offset + part->p_filesz > size)
            continue;
        Elf64_Dyn *d = (Elf64_Dyn *)(void *)(image + part->p_offset);
        for (; d->d_tag != DT_NULL; d++)
            if (d->d_tag == DT_FLAGS_1)
                d->d_un.d_val &= ~(Elf64_Xword)DF_1_PIE;
    }
}

static void *load_program(const char *path)
{
    struct stat status;
    char name[64];
    void *library = NULL;
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = memfd_create("collectd", MFD_CLOEXEC);

    if (from >= 0 && to >= 0 && fstat(from, &status) == 0) {
        size_t size = (size_t)status.st_size;
        uint8_t *image =
            mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, from, 0);
        if (image != MAP_FAILED && size > sizeof(Elf64_Ehdr) &&
            memcmp(image, ELFMAG, SELFMAG) == 0 &&
            image[EI_CLASS] == ELFCLASS64) {
            hide_program(image, size);
            (void)snprintf(name, sizeof name, "/proc/self/fd/%d", to);
            if (write(to, image, size) == (ssize_t)size)
                library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
        }
        if (image != MAP_FAILED)
            (void)munmap(image, size);
    }
    if (from >= 0)
        (void)close(from);
    if (to >= 0)
        (void)close(to);
    return library;
}

static void find_parser(void)
{
    collectd.was_tried = true;
    void *library = load_program(COLLECTD);
    if (library == NULL) {
        fprintf(stderr, "# no parser of collectd: %s\n", dlerror());
        return;
    }
    *(void **)&collectd.parse = dlsym(library, "oconfig_parse_file");
    *(void **)&collectd.release = dlsym(library, "oconfig_free");
    *(void **)&collectd.reset = dlsym(library, "yylex_destroy");
    if (collectd.release == NULL || collectd.reset == NULL)
        collectd.parse = NULL;
}

/* It says what is wrong, and loses what it had by then. */
static oconfig_item_t *parse_quietly(const char *path)
{
    static int nowhere = -1;
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);

    if (nowhere < 0)
        nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)fflush(stdout);
    (void)dup2(nowhere, STDOUT_FILENO);
    (void)dup2(nowhere, STDERR_FILENO);
    if (__lsan_disable != NULL)
        __lsan_disable();
    oconfig_item_t *root = collectd.parse(path);
    if (__lsan_enable != NULL)
        __lsan_enable();
    collectd.reset();
    (void)fflush(stdout);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    (void)close(out);
    (void)close(err);
    return root;
}

/* ------------------------------------------------------------------ rules */

static const char *const deny[] = {"exec", "python", "perl", "lua", "java"};
static const char *const loaded[] = {"memory"};
static const char *const some[] = {"df", "load", "virt", "snmp"};
static const char *const any[] = {"*"};

static struct vet_rules rules_of(uint8_t flavor)
{
    static const char *shares[1];
    bool is_narrow = (flavor & 2) != 0;

    shares[0] = fuzz_folder();
    return (struct vet_rules){
        .allow = is_narrow ? some : any,
        .allow_count = is_narrow ? 4 : 1,
        .deny = deny,
        .deny_count = 5,
        .loaded = loaded,
        .loaded_count = 1,
        .shares = shares,
        .shares_count = 1,
        .files = flavor & 4 ? shares[0] : "",
        .plugins_max = PLUGINS_MAX,
    };
}

/* -------------------------------------------------- what was let in, again */

static void judge_below(const oconfig_item_t *item, int depth)
{
    assert(depth <= VET_DEPTH_MAX);
    assert(strcasecmp(item->key, "Include") != 0);
    for (int i = 0; i < item->children_num; i++)
        judge_below(&item->children[i], depth + 1);
}

static void judge_plugin(const oconfig_item_t *item)
{
    assert(item->values_num > 0 && item->values[0].type == OCONFIG_TYPE_STRING);
    const char *name = item->values[0].value.string;
    assert(strchr(name, '/') == NULL && strchr(name, '.') == NULL);
    assert(strncasecmp(name, "argus", 5) != 0 || strlen(name) > 12 ||
           (name[5] != '\0' && strcasecmp(name, "argus_worker") != 0));
    for (size_t i = 0; i < sizeof deny / sizeof deny[0]; i++)
        assert(strcasecmp(name, deny[i]) != 0);
}

static void judge_tree(const oconfig_item_t *root)
{
    static const char *const tops[] = {
        "LoadPlugin", "Plugin",  "Chain",   "PreCacheChain", "PostCacheChain",
        "Interval",   "Timeout", "TypesDB", "ReadThreads",   "WriteThreads"};
    unsigned plugins = 0;

    for (int i = 0; i < root->children_num; i++) {
        const oconfig_item_t *item = &root->children[i];
        bool is_known = false;
        for (size_t k = 0; k < sizeof tops / sizeof tops[0]; k++)
            is_known |= strcasecmp(item->key, tops[k]) == 0;
        assert(is_known);
        judge_below(item, 1);
        if (strcasecmp(item->key, "LoadPlugin") == 0 ||
            strcasecmp(item->key, "Plugin") == 0)
            judge_plugin(item);
        plugins += strcasecmp(item->key, "LoadPlugin") == 0;
    }
    assert(plugins <= PLUGINS_MAX);
}

static void vet_whole(const oconfig_item_t *root, uint8_t flavor)
{
    struct vet_rules rules = rules_of(flavor);
    struct argus_error err = {{0}};
    struct vet_found found;
    int rc = vet_tree(root, &rules, &found, &err);

    if (rc == ARGUS_OK) {
        assert(found.pre_cache_chain[0] != '\0' &&
               strlen(found.pre_cache_chain) < DATA_MAX_NAME_LEN);
        judge_tree(root);
    } else {
        assert(rc == ARGUS_EDENIED && err.text[0] != '\0');
    }
}

/* And each line of it alone: a refusal ends the vetting. */
static void vet(const oconfig_item_t *root, uint8_t flavor)
{
    vet_whole(root, flavor);
    for (int i = 0; i < root->children_num; i++) {
        const oconfig_item_t one = {.children = &root->children[i],
                                    .children_num = 1};
        vet_whole(&one, flavor);
    }
}

/* ------------------------------------------------------- from a text */

/* As plugin/worker.c does it. */
static void try_text(const uint8_t *data, size_t size, uint8_t flavor)
{
    struct worker_text text;
    struct argus_error err = {{0}};
    char path[64];
    int from = memfd_create("text", MFD_CLOEXEC);
    int sealed = -1;

    if (from < 0 || write(from, data, size) != (ssize_t)size)
        abort();
    int rc = text_read(from, TEXT_MAX, &text, &err);
    (void)close(from);
    if (rc != ARGUS_OK)
        return;
    rc = text_replace(&text, fuzz_folder(), TEXT_MAX, &err);
    if (rc == ARGUS_OK)
        rc = vet_text(text.bytes, text.size, TEXT_MAX, "web", &err);
    if (rc == ARGUS_OK)
        sealed = text_seal(&text, &err);
    text_free(&text);
    if (sealed < 0) {
        assert(err.text[0] != '\0');
        return;
    }
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", sealed);
    oconfig_item_t *root = collectd.parse != NULL ? parse_quietly(path) : NULL;
    (void)close(sealed);
    if (root != NULL) {
        vet(root, flavor);
        collectd.release(root);
    }
}

/* ---------------------------------------------------- from the input itself */

/* Words that mean something, and the input's own. */
static char *word_of(struct fuzz_input *in)
{
    static const char *const words[] = {
        "LoadPlugin", "Plugin",       "Chain",          "PreCacheChain",
        "Interval",   "Timeout",      "TypesDB",        "ReadThreads",
        "Match",      "Target",       "Include",        "WriteThreads",
        "exec",       "df",           "libvirt",        "memory",
        "argus",      "argus_worker", "PostCacheChain", "Globals",
        "10",         "true",         "../types.db",    "EXEC"};
    const size_t count = sizeof words / sizeof words[0];
    char text[300];
    uint8_t which = fuzz_u8(in);

    if (which < count)
        return strdup(words[which]);
    if (which == 255)
        (void)snprintf(text, sizeof text, "%s/types.db", fuzz_folder());
    else
        fuzz_text(in, text, sizeof text);
    return strdup(text);
}

static void make_item(struct fuzz_input *in, oconfig_item_t *item, int depth,
                      unsigned *room)
{
    uint8_t shape = fuzz_u8(in);

    item->key = word_of(in);
    item->values_num = shape % 4;
    item->values = calloc(4, sizeof *item->values);
    item->children_num = depth < 20 ? (shape >> 2) % 4 : 0;
    item->children = calloc(4, sizeof *item->children);
    if (item->key == NULL || item->values == NULL || item->children == NULL)
        abort();
    for (int i = 0; i < item->values_num; i++) {
        uint8_t type = fuzz_u8(in) % 5;
        if (type == 0)
            item->values[i] = (oconfig_value_t){
                {.number = (double)(int16_t)fuzz_u16(in) / 100},
                OCONFIG_TYPE_NUMBER};
        else if (type == 1)
            item->values[i] = (oconfig_value_t){{.boolean = fuzz_u8(in) & 1},
                                                OCONFIG_TYPE_BOOLEAN};
        else
            item->values[i] =
                (oconfig_value_t){{.string = word_of(in)}, OCONFIG_TYPE_STRING};
    }
    for (int i = 0; i < item->children_num; i++) {
        if (in->size == 0 || *room == 0) {
            item->children_num = i;
            break;
        }
        --*room;
        item->children[i].parent = item;
        make_item(in, &item->children[i], depth + 1, room);
    }
}

static void free_item(oconfig_item_t *item)
{
    for (int i = 0; i < item->values_num; i++)
        if (item->values[i].type == OCONFIG_TYPE_STRING)
            free(item->values[i].value.string);
    for (int i = 0; i < item->children_num; i++)
        free_item(&item->children[i]);
    free(item->values);
    free(item->children);
    free(item->key);
}

static void try_tree(struct fuzz_input *in, uint8_t flavor)
{
    oconfig_item_t root = {.key = NULL};
    unsigned room = 200;

    make_item(in, &root, 0, &room);
    vet(&root, flavor);
    free_item(&root);
}

FUZZ_TARGET(vet)
{
    struct fuzz_input in = {data, size};
    uint8_t flavor = fuzz_u8(&in);

    if (!collectd.was_tried) {
        char path[256];
        find_parser();
        fuzz_write_file("types.db", "x", 1, path);
    }
    if ((flavor & 1) != 0)
        try_tree(&in, flavor);
    else if (in.size > 0)
        try_text(in.data, in.size, flavor);
    return 0;
}
