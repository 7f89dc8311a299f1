/* ledger.c - a writer for the end-to-end tests: one record for each value that
 * reaches it, on disk before the callback returns.
 *
 *   <Plugin ledger>
 *     File "/tmp/x/ledger"
 *   </Plugin>
 */
#include "record.h"

static char *path;
static int ledger = -1;

static int on_write(const data_set_t *ds, const value_list_t *vl,
                    user_data_t *data)
{
    (void)ds;
    (void)data;
    struct record record = record_of(vl);

    return records_append(ledger, &record, 1);
}

static int on_config(oconfig_item_t *block)
{
    for (int i = 0; i < block->children_num; i++) {
        const oconfig_item_t *item = &block->children[i];
        if (strcasecmp(item->key, "File") != 0 || item->values_num != 1 ||
            item->values[0].type != OCONFIG_TYPE_STRING) {
            ERROR("ledger: option \"%s\" is unknown or no text", item->key);
            return -1;
        }
        free(path);
        path = strdup(item->values[0].value.string);
    }
    return 0;
}

/* Under -T the file of a live daemon is left alone. */
static bool is_test_run(void)
{
    const char *threads = global_option_get("ReadThreads");

    return threads != NULL && strcmp(threads, "-1") == 0;
}

static int on_init(void)
{
    if (is_test_run())
        return 0;
    ledger = path != NULL ? ledger_open(path) : -1;
    if (ledger < 0) {
        ERROR("ledger: cannot open File \"%s\": %s", path != NULL ? path : "",
              strerror(errno));
        return -1;
    }
    return plugin_register_write("ledger", on_write, NULL);
}

static int on_shutdown(void)
{
    if (ledger >= 0)
        close(ledger);
    ledger = -1;
    free(path);
    path = NULL;
    return 0;
}

__attribute__((visibility("default"))) void module_register(void)
{
    plugin_register_complex_config("ledger", on_config);
    plugin_register_init("ledger", on_init);
    plugin_register_shutdown("ledger", on_shutdown);
}
