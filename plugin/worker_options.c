#include "worker_options.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum form {
    TEXT,    /* char * */
    NAMES,   /* struct option_names; repeatable */
    NUMBER,  /* int or uint32_t */
    SECONDS, /* uint32_t, in milliseconds */
};

#define AT(field) offsetof(struct worker_options, field)

static const struct {
    const char *key;
    enum form form;
    size_t at;
} known[] = {
    {"Socket", NUMBER, AT(socket)},
    {"Bundle", NUMBER, AT(bundle)},
    {"Name", TEXT, AT(name)},
    {"User", TEXT, AT(user)},
    {"Files", TEXT, AT(files)},
    {"PluginDir", TEXT, AT(plugin_dir)},
    {"Share", NAMES, AT(shares)},
    {"Allow", NAMES, AT(allow)},
    {"Deny", NAMES, AT(deny)},
    {"Loaded", NAMES, AT(loaded)},
    {"StartTimeout", SECONDS, AT(start_ms)},
    {"ReadTimeout", SECONDS, AT(read_ms)},
    {"Processes", NUMBER, AT(processes)},
    {"PluginsMax", NUMBER, AT(plugins_max)},
    {"TextMax", NUMBER, AT(text_max)},
};

static bool keep_text(char **out, const oconfig_value_t *value)
{
    if (value->type != OCONFIG_TYPE_STRING)
        return false;
    free(*out);
    *out = strdup(value->value.string);
    return *out != NULL;
}

static bool keep_name(struct option_names *names, const oconfig_value_t *value)
{
    if (names->count == OPTIONS_NAMES_MAX ||
        !keep_text(&names->list[names->count], value))
        return false;
    names->count++;
    return true;
}

static bool keep_number(uint32_t *out, const oconfig_value_t *value,
                        double factor)
{
    if (value->type != OCONFIG_TYPE_NUMBER || !(value->value.number >= 0) ||
        value->value.number * factor > INT32_MAX)
        return false;
    *out = (uint32_t)(value->value.number * factor);
    return true;
}

static bool keep(enum form form, void *at, const oconfig_value_t *value)
{
    switch (form) {
    case TEXT: return keep_text(at, value);
    case NAMES: return keep_name(at, value);
    case NUMBER: return keep_number(at, value, 1);
    case SECONDS: return keep_number(at, value, 1000);
    }
    return false;
}

static bool read_line(const oconfig_item_t *item, struct worker_options *out)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcasecmp(known[i].key, item->key) == 0)
            return item->values_num == 1 &&
                   keep(known[i].form, (char *)out + known[i].at,
                        &item->values[0]);
    return false;
}

int options_read(const oconfig_item_t *block, struct worker_options *out,
                 struct argus_error *err)
{
    *out = (struct worker_options){
        .socket = -1,
        .bundle = -1,
        .start_ms = 30000,
        .read_ms = 10000,
        .plugins_max = 64,
        .text_max = 1 << 20,
    };
    for (int i = 0; i < block->children_num; i++)
        if (!read_line(&block->children[i], out))
            return argus_fail(err, ARGUS_EINVAL,
                              "argus_worker: option \"%s\" is unknown or wrong",
                              block->children[i].key);
    if (out->socket < 0 || out->bundle < 0 || out->name == NULL ||
        out->plugin_dir == NULL)
        return argus_fail(err, ARGUS_EINVAL,
                          "argus_worker: Socket, Bundle, Name and PluginDir "
                          "must be given");
    return ARGUS_OK;
}
