/* journal.c - a writer for the end-to-end tests that keeps what reaches it in
 * words: every value, notification and flush as one line of text, on disk
 * before the callback returns. Where a ledger (record.h) is for millions of
 * values, a journal says which series it was and when.
 *
 *   <Plugin journal>
 *     File   "/tmp/x/journal"
 *     Passes true   # a line for each read pass too; default false
 *   </Plugin>
 *
 * Fields are divided by tabs; times are cdtime_t as numbers:
 *   V  time  arrived  interval  host/plugin-instance/type-instance  v:v k=v,k=v
 *   N  time  severity  host/plugin-instance/type-instance  message  k=v,k=v
 *   F  timeout  identifier
 *   R  time */
#include "collectd.h"

#include "configfile.h"
#include "utils/metadata/meta_data.h"
#include "plugin.h"

/* Built twice, so that a bundle can have one beside the daemon's. */
#ifndef NAME
#define NAME "journal"
#endif

#define LINE_SIZE 8192

static char *path;
static bool has_passes;
static int journal = -1;

struct line {
    char text[LINE_SIZE];
    size_t size;
};

/* Too long a line is cut; its end stays. */
__attribute__((format(printf, 2, 3))) static void add(struct line *line,
                                                      const char *format, ...)
{
    size_t room = sizeof line->text - line->size - 1;
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(line->text + line->size, room, format, arguments);
    va_end(arguments);
    if (size > 0)
        line->size += (size_t)size < room ? (size_t)size : room - 1;
}

static int put(struct line *line)
{
    for (size_t i = 0; i < line->size; i++)
        if (line->text[i] == '\n')
            line->text[i] = ' ';
    line->text[line->size++] = '\n';
    return write(journal, line->text, line->size) == (ssize_t)line->size ? 0
                                                                         : -1;
}

static void add_identifier(struct line *line, const char *host,
                           const char *plugin, const char *plugin_instance,
                           const char *type, const char *type_instance)
{
    add(line, "%s/%s%s%s/%s%s%s", host, plugin,
        plugin_instance[0] != '\0' ? "-" : "", plugin_instance, type,
        type_instance[0] != '\0' ? "-" : "", type_instance);
}

static void add_meta(struct line *line, meta_data_t *meta, const char *key)
{
    char *text = NULL;
    int64_t number = 0;
    uint64_t natural = 0;
    double real = 0;
    bool flag = false;

    switch (meta_data_type(meta, key)) {
    case MD_TYPE_STRING:
        if (meta_data_get_string(meta, key, &text) == 0)
            add(line, "%s=%s", key, text);
        free(text);
        break;
    case MD_TYPE_SIGNED_INT:
        meta_data_get_signed_int(meta, key, &number);
        add(line, "%s=%" PRIi64, key, number);
        break;
    case MD_TYPE_UNSIGNED_INT:
        meta_data_get_unsigned_int(meta, key, &natural);
        add(line, "%s=%" PRIu64 "u", key, natural);
        break;
    case MD_TYPE_DOUBLE:
        meta_data_get_double(meta, key, &real);
        add(line, "%s=%.17g", key, real);
        break;
    case MD_TYPE_BOOLEAN:
        meta_data_get_boolean(meta, key, &flag);
        add(line, "%s=%s", key, flag ? "true" : "false");
        break;
    default: break;
    }
}

static void add_metas(struct line *line, meta_data_t *meta)
{
    char **keys = NULL;
    int count = meta != NULL ? meta_data_toc(meta, &keys) : 0;

    for (int i = 0; i < count; i++) {
        if (i > 0)
            add(line, ",");
        add_meta(line, meta, keys[i]);
        free(keys[i]);
    }
    free(keys);
}

static void add_number(struct line *line, int type, value_t value)
{
    switch (type) {
    case DS_TYPE_GAUGE: add(line, "%.17g", value.gauge); break;
    case DS_TYPE_DERIVE: add(line, "%" PRIi64, value.derive); break;
    default: add(line, "%" PRIu64, (uint64_t)value.absolute); break;
    }
}

static int on_write(const data_set_t *ds, const value_list_t *vl,
                    user_data_t *data)
{
    struct line line = {.size = 0};

    (void)data;
    add(&line, "V\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t", vl->time, cdtime(),
        vl->interval);
    add_identifier(&line, vl->host, vl->plugin, vl->plugin_instance, vl->type,
                   vl->type_instance);
    add(&line, "\t");
    for (size_t i = 0; i < vl->values_len; i++) {
        if (i > 0)
            add(&line, ":");
        add_number(&line, ds->ds[i].type, vl->values[i]);
    }
    add(&line, "\t");
    add_metas(&line, vl->meta);
    return put(&line);
}

static void add_notification_metas(struct line *line,
                                   const notification_meta_t *meta)
{
    for (const notification_meta_t *m = meta; m != NULL; m = m->next) {
        if (m != meta)
            add(line, ",");
        add(line, "%s=", m->name);
        switch (m->type) {
        case NM_TYPE_STRING: add(line, "%s", m->nm_value.nm_string); break;
        case NM_TYPE_SIGNED_INT:
            add(line, "%" PRIi64, m->nm_value.nm_signed_int);
            break;
        case NM_TYPE_UNSIGNED_INT:
            add(line, "%" PRIu64 "u", m->nm_value.nm_unsigned_int);
            break;
        case NM_TYPE_DOUBLE: add(line, "%.17g", m->nm_value.nm_double); break;
        case NM_TYPE_BOOLEAN:
            add(line, "%s", m->nm_value.nm_boolean ? "true" : "false");
            break;
        default: break;
        }
    }
}

static int on_notification(const notification_t *n, user_data_t *data)
{
    struct line line = {.size = 0};

    (void)data;
    add(&line, "N\t%" PRIu64 "\t%d\t", n->time, n->severity);
    add_identifier(&line, n->host, n->plugin, n->plugin_instance, n->type,
                   n->type_instance);
    add(&line, "\t%s\t", n->message);
    add_notification_metas(&line, n->meta);
    return put(&line);
}

static int on_flush(cdtime_t timeout, const char *identifier, user_data_t *data)
{
    struct line line = {.size = 0};

    (void)data;
    add(&line, "F\t%" PRIu64 "\t%s", timeout,
        identifier != NULL ? identifier : "");
    return put(&line);
}

static int on_read(void)
{
    struct line line = {.size = 0};

    add(&line, "R\t%" PRIu64, cdtime());
    return put(&line);
}

static int on_config(oconfig_item_t *block)
{
    for (int i = 0; i < block->children_num; i++) {
        oconfig_item_t *item = &block->children[i];
        int status = -1;
        if (strcasecmp(item->key, "File") == 0)
            status = cf_util_get_string(item, &path);
        else if (strcasecmp(item->key, "Passes") == 0)
            status = cf_util_get_boolean(item, &has_passes);
        if (status != 0) {
            ERROR(NAME ": option \"%s\" is unknown or malformed", item->key);
            return -1;
        }
    }
    return 0;
}

static int on_init(void)
{
    if (path != NULL)
        journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (journal < 0) {
        ERROR(NAME ": cannot open File \"%s\": %s", path != NULL ? path : "",
              strerror(errno));
        return -1;
    }
    plugin_register_write(NAME, on_write, NULL);
    plugin_register_notification(NAME, on_notification, NULL);
    plugin_register_flush(NAME, on_flush, NULL);
    return has_passes ? plugin_register_read(NAME, on_read) : 0;
}

static int on_shutdown(void)
{
    if (journal >= 0)
        close(journal);
    journal = -1;
    free(path);
    path = NULL;
    return 0;
}

__attribute__((visibility("default"))) void module_register(void)
{
    plugin_register_complex_config(NAME, on_config);
    plugin_register_init(NAME, on_init);
    plugin_register_shutdown(NAME, on_shutdown);
}
