#include "worker_vet.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/text.h"

#define LINE_MAX_SIZE ((size_t)65536)

/** As long as a plugin's file name can be, for collectd. */
#define PLUGIN_NAME_MAX 64

#define ALLOWED_TOP                                                            \
    "LoadPlugin, Plugin, Chain, PreCacheChain, PostCacheChain, Interval, "     \
    "Timeout, TypesDB, ReadThreads, WriteThreads"

/* ---------------------------------------------------------------- texts */

/* An item as somebody could have written it, cut to fit. */
static void render(const oconfig_item_t *item, char *out, size_t size)
{
    char text[160];

    text_clean_word(text, 64, item->key);
    for (int i = 0; i < item->values_num; i++) {
        const oconfig_value_t *value = &item->values[i];
        size_t used = strlen(text);
        if (value->type == OCONFIG_TYPE_STRING) {
            char word[80];
            text_clean_word(word, sizeof word, value->value.string);
            (void)snprintf(text + used, sizeof text - used, " \"%s\"", word);
        } else if (value->type == OCONFIG_TYPE_NUMBER) {
            (void)snprintf(text + used, sizeof text - used, " %g",
                           value->value.number);
        } else {
            (void)snprintf(text + used, sizeof text - used, " %s",
                           value->value.boolean ? "true" : "false");
        }
    }
    text_copy(out, size, text);
}

static int refuse(const oconfig_item_t *item, struct argus_error *err,
                  const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(const oconfig_item_t *item, struct argus_error *err,
                  const char *format, ...)
{
    char line[160], why[320];
    va_list ap;

    render(item, line, sizeof line);
    va_start(ap, format);
    text_format(why, sizeof why, format, ap);
    va_end(ap);
    return argus_fail(err, ARGUS_EDENIED, "%s: %s", line, why);
}

/* Names in quotes with commas between, cut to fit. */
static void list_names(const char *const *names, size_t count, char *out,
                       size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(out);
        (void)snprintf(out + used, size - used, "%s\"%s\"", i > 0 ? ", " : "",
                       names[i]);
    }
}

/* --------------------------------------------------------------- values */

static const char *only_string(const oconfig_item_t *item)
{
    return item->values_num == 1 && item->values[0].type == OCONFIG_TYPE_STRING
               ? item->values[0].value.string
               : NULL;
}

/* collectd takes a number in quotes as well. */
static bool only_number(const oconfig_item_t *item, double *out)
{
    char *end;

    if (item->values_num != 1)
        return false;
    if (item->values[0].type == OCONFIG_TYPE_NUMBER) {
        *out = item->values[0].value.number;
        return true;
    }
    if (item->values[0].type != OCONFIG_TYPE_STRING)
        return false;
    *out = strtod(item->values[0].value.string, &end);
    return end != item->values[0].value.string && *end == '\0';
}

static int check_number(const oconfig_item_t *item, double min, double max,
                        bool whole, struct argus_error *err)
{
    double number;

    if (only_number(item, &number) && number >= min && number <= max &&
        (!whole || number == (double)(long)number))
        return ARGUS_OK;
    return refuse(item, err, "must be %s number from %g to %g",
                  whole ? "a whole" : "a", min, max);
}

/* -------------------------------------------------------------- plugins */

static bool is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

/* collectd's old name of a plugin; in this case alone it minds the case. */
static const char *name_loaded(const char *name)
{
    return strcmp(name, "libvirt") == 0 ? "virt" : name;
}

static bool is_own(const char *name)
{
    return strcasecmp(name, "argus") == 0 ||
           strcasecmp(name, "argus_worker") == 0;
}

/* As far as collectd's own plugins are named; no dot and no slash, so that a
 * name can be nothing but a file of the plugin folder. */
static bool name_is_sound(const char *name)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

    return name[size] == '\0' && size > 0 && size < PLUGIN_NAME_MAX;
}

static int check_plugin(const oconfig_item_t *item, const char *name,
                        const struct vet_rules *rules, struct argus_error *err)
{
    char names[256];

    if (!name_is_sound(name))
        return refuse(item, err,
                      "a plugin's name is letters, digits, \"_\" and \"-\", at "
                      "most %d of them",
                      PLUGIN_NAME_MAX - 1);
    if (is_own(name))
        return refuse(item, err, "argus itself never runs in a worker");
    if (is_among(name, rules->deny, rules->deny_count) ||
        is_among(name_loaded(name), rules->deny, rules->deny_count)) {
        list_names(rules->deny, rules->deny_count, names, sizeof names);
        return refuse(item, err, "this node denies %s", names);
    }
    if (rules->allow_count == 0 ||
        is_among("*", rules->allow, rules->allow_count) ||
        is_among(name, rules->allow, rules->allow_count) ||
        is_among(name_loaded(name), rules->allow, rules->allow_count))
        return ARGUS_OK;
    list_names(rules->allow, rules->allow_count, names, sizeof names);
    return refuse(item, err, "this node allows %s", names);
}

/* ---------------------------------------------------------------- paths */

/* Where a path leads, all links followed; also when a folder above may not be
 * entered by this user, as long as the path itself can be opened. */
static bool resolve(const char *path, char out[PATH_MAX])
{
    char link[64];
    int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd < 0)
        return false;
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, out, PATH_MAX - 1);
    (void)close(fd);
    if (size <= 0)
        return false;
    out[size] = '\0';
    return true;
}

static bool is_below(const char *path, const char *folder)
{
    char whole[PATH_MAX];
    size_t size;

    if (folder[0] == '\0' || !resolve(folder, whole))
        return false;
    size = strlen(whole);
    return strncmp(path, whole, size) == 0 && path[size] == '/';
}

/* No "..", also where it would lead back: a refusal should not hang on what
 * happens to be on a disk. */
static bool has_parent_step(const char *path)
{
    for (const char *p = path; p != NULL && *p != '\0';
         p = strchr(p, '/') != NULL ? strchr(p, '/') + 1 : NULL)
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return true;
    return false;
}

/* The bundle's folder may be spelled with a ".." of ours (worker_text.h). */
static const char *past_folder(const char *path, const char *folder)
{
    size_t size = strlen(folder);

    return size > 0 && strncmp(path, folder, size) == 0 && path[size] == '/'
               ? path + size
               : path;
}

static int check_types_path(const oconfig_item_t *item, const char *path,
                            const struct vet_rules *rules,
                            struct argus_error *err)
{
    char whole[PATH_MAX], names[256];
    struct stat status;
    bool is_inside = false;

    if (path[0] == '/' && !has_parent_step(past_folder(path, rules->files)) &&
        resolve(path, whole)) {
        is_inside = is_below(whole, rules->files);
        for (size_t i = 0; i < rules->shares_count && !is_inside; i++)
            is_inside = is_below(whole, rules->shares[i]);
    }
    if (is_inside && stat(path, &status) == 0 && S_ISREG(status.st_mode))
        return ARGUS_OK;
    list_names(rules->shares, rules->shares_count, names, sizeof names);
    return refuse(item, err,
                  "must be a file that is there, below %s%s\"@BUNDLE@\"", names,
                  names[0] != '\0' ? " or " : "");
}

static int check_types(const oconfig_item_t *item,
                       const struct vet_rules *rules, struct argus_error *err)
{
    if (item->values_num < 1)
        return refuse(item, err, "needs the name of a file");
    for (int i = 0; i < item->values_num; i++) {
        if (item->values[i].type != OCONFIG_TYPE_STRING)
            return refuse(item, err, "needs names of files in quotes");
        int rc =
            check_types_path(item, item->values[i].value.string, rules, err);
        if (rc != ARGUS_OK)
            return rc;
    }
    return ARGUS_OK;
}

/* ------------------------------------------------------------ the levels */

/* What is the same at every level. collectd follows Include at the top alone;
 * it has no business deeper either. */
static int check_below(const oconfig_item_t *item, unsigned depth,
                       struct argus_error *err)
{
    const char *name = only_string(item);

    if (depth > VET_DEPTH_MAX)
        return refuse(item, err, "is nested deeper than %d blocks",
                      VET_DEPTH_MAX);
    if (strcasecmp(item->key, "Include") == 0)
        return refuse(item, err,
                      "a bundle includes no files; put it into the text");
    if ((strcasecmp(item->key, "Match") == 0 ||
         strcasecmp(item->key, "Target") == 0) &&
        name != NULL && is_own(name))
        return refuse(item, err, "argus itself never runs in a worker");
    for (int i = 0; i < item->children_num; i++) {
        int rc = check_below(&item->children[i], depth + 1, err);
        if (rc != ARGUS_OK)
            return rc;
    }
    return ARGUS_OK;
}

struct vetting {
    const struct vet_rules *rules;
    struct vet_found found;
    uint32_t plugins;
};

static int check_load(struct vetting *v, const oconfig_item_t *item,
                      struct argus_error *err)
{
    static const char *const known[] = {"Globals", "Interval", "FlushInterval",
                                        "FlushTimeout"};
    const size_t known_count = sizeof known / sizeof known[0];
    const char *name = only_string(item);

    if (name == NULL)
        return refuse(item, err, "needs the name of one plugin");
    if (++v->plugins > v->rules->plugins_max)
        return refuse(item, err, "is one plugin too many; %u are allowed",
                      (unsigned)v->rules->plugins_max);
    for (int i = 0; i < item->children_num; i++) {
        const oconfig_item_t *child = &item->children[i];
        if (!is_among(child->key, known, known_count))
            return refuse(child, err,
                          "allowed in a LoadPlugin block are Globals, "
                          "Interval, FlushInterval, FlushTimeout");
        if (strcasecmp(child->key, "Interval") == 0 &&
            check_number(child, 0.01, 86400 * 366.0, false, err) != ARGUS_OK)
            return ARGUS_EDENIED;
    }
    if (is_among(name, v->rules->loaded, v->rules->loaded_count) ||
        is_among(name_loaded(name), v->rules->loaded, v->rules->loaded_count))
        return refuse(item, err,
                      "this node's own configuration loads it, too, so that "
                      "its values would come twice");
    return check_plugin(item, name, v->rules, err);
}

static int check_block(struct vetting *v, const oconfig_item_t *item,
                       struct argus_error *err)
{
    if (item->values_num < 1 || item->values[0].type != OCONFIG_TYPE_STRING)
        return refuse(item, err, "needs the name of a plugin");
    return check_plugin(item, item->values[0].value.string, v->rules, err);
}

static int check_chain(struct vetting *v, const oconfig_item_t *item,
                       struct argus_error *err)
{
    (void)v;
    if (only_string(item) == NULL)
        return refuse(item, err, "needs one name");
    return ARGUS_OK;
}

static int check_chain_name(struct vetting *v, const oconfig_item_t *item,
                            struct argus_error *err)
{
    const char *name = only_string(item);

    if (name == NULL || name[0] == '\0' || strlen(name) >= DATA_MAX_NAME_LEN)
        return refuse(item, err, "needs the name of one chain");
    if (strcasecmp(item->key, "PreCacheChain") == 0)
        text_copy(v->found.pre_cache_chain, sizeof v->found.pre_cache_chain,
                  name);
    return ARGUS_OK;
}

static int check_interval(struct vetting *v, const oconfig_item_t *item,
                          struct argus_error *err)
{
    (void)v;
    return check_number(item, 0.01, 86400 * 366.0, false, err);
}

/* collectd ends for less than two. */
static int check_timeout(struct vetting *v, const oconfig_item_t *item,
                         struct argus_error *err)
{
    (void)v;
    return check_number(item, 2, 1000000, true, err);
}

static int check_types_line(struct vetting *v, const oconfig_item_t *item,
                            struct argus_error *err)
{
    return check_types(item, v->rules, err);
}

/* With -1 collectd would start no read threads at all. */
static int check_readers(struct vetting *v, const oconfig_item_t *item,
                         struct argus_error *err)
{
    (void)v;
    return check_number(item, 1, VET_READ_THREADS_MAX, true, err);
}

static int check_writers(struct vetting *v, const oconfig_item_t *item,
                         struct argus_error *err)
{
    (void)v;
    return check_number(item, 1, VET_WRITE_THREADS_MAX, true, err);
}

/* A block without lines is a statement for collectd, and the other way round
 * it would pass over what it does not expect. */
enum form { ANY_FORM, BLOCK, STATEMENT };

static int check_top(struct vetting *v, const oconfig_item_t *item,
                     struct argus_error *err)
{
    static const struct {
        const char *key;
        enum form form;
        int (*check)(struct vetting *v, const oconfig_item_t *item,
                     struct argus_error *err);
    } tops[] = {
        {"LoadPlugin", ANY_FORM, check_load},
        {"Plugin", ANY_FORM, check_block},
        {"Chain", BLOCK, check_chain},
        {"PreCacheChain", STATEMENT, check_chain_name},
        {"PostCacheChain", STATEMENT, check_chain_name},
        {"Interval", STATEMENT, check_interval},
        {"Timeout", STATEMENT, check_timeout},
        {"TypesDB", STATEMENT, check_types_line},
        {"ReadThreads", STATEMENT, check_readers},
        {"WriteThreads", STATEMENT, check_writers},
    };

    if (check_below(item, 1, err) != ARGUS_OK)
        return ARGUS_EDENIED;
    for (size_t i = 0; i < sizeof tops / sizeof tops[0]; i++) {
        if (strcasecmp(tops[i].key, item->key) != 0)
            continue;
        if (tops[i].form == BLOCK && item->children_num == 0)
            return refuse(item, err, "must be a block with lines in it");
        if (tops[i].form == STATEMENT && item->children_num > 0)
            return refuse(item, err, "must be a line, not a block");
        return tops[i].check(v, item, err);
    }
    return refuse(item, err,
                  "may not stand in a bundle; allowed at the top are "
                  "%s",
                  ALLOWED_TOP);
}

int vet_tree(const oconfig_item_t *root, const struct vet_rules *rules,
             struct vet_found *out, struct argus_error *err)
{
    struct vetting v = {.rules = rules,
                        .found = {.pre_cache_chain = "PreCache"}};

    if (root->children_num == 0)
        return argus_fail(err, ARGUS_EDENIED,
                          "there is nothing in it; allowed are %s",
                          ALLOWED_TOP);
    for (int i = 0; i < root->children_num; i++) {
        int rc = check_top(&v, &root->children[i], err);
        if (rc != ARGUS_OK)
            return rc;
    }
    *out = v.found;
    return ARGUS_OK;
}

static bool is_binary(char c)
{
    return ((unsigned char)c < 0x20 && strchr("\t\n\v\f\r", c) == NULL) ||
           c == 0x7f || c == '\0';
}

int vet_text(const char *text, size_t size, size_t size_max, const char *name,
             struct argus_error *err)
{
    size_t line = 1, start = 0;

    if (size > size_max)
        return argus_fail(err, ARGUS_EDENIED,
                          "the text of \"%s\" has %zu bytes; at most %zu are "
                          "allowed",
                          name, size, size_max);
    for (size_t i = 0; i < size; i++) {
        if (is_binary(text[i]))
            return argus_fail(err, ARGUS_EDENIED,
                              "line %zu of \"%s\" is no text: it has the byte "
                              "0x%02x",
                              line, name, (unsigned)(unsigned char)text[i]);
        if (i - start >= LINE_MAX_SIZE)
            return argus_fail(err, ARGUS_EDENIED,
                              "line %zu of \"%s\" is longer than %zu bytes",
                              line, name, LINE_MAX_SIZE);
        if (text[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    return ARGUS_OK;
}
