#include "config.h"

#include <arpa/inet.h>
#include <pwd.h>
#include <unistd.h>

#include "base/text.h"
#include "core/actions.h"    /* ADDRESS_SIZE */
#include "core/content.h"    /* CONTENT_SIZE_MAX */
#include "core/membership.h" /* limits */
#include "runtime/operator_key.h"

_Static_assert(CONFIG_SEEDS_MAX < MEMBERSHIP_CONTACTS_MAX, "room to join");
_Static_assert(CONTENT_SIZE_MAX >= 32u << 20, "MaxSize fits into an index");

enum kind {
    KIND_FLAG,    /* bool */
    KIND_WHOLE,   /* uint32_t */
    KIND_SECONDS, /* uint32_t, milliseconds */
    KIND_MEBI,    /* uint64_t, bytes; the file has MiB */
    KIND_RATIO,   /* float */
    KIND_TEXT,    /* char[max + 1]; min and max are lengths */
    KIND_CHOICE,  /* enum; a list of words */
    KIND_OWN,     /* a function of its own */
    KIND_LATER,   /* known by name, not built yet */
};

struct choice {
    const char *word;
    int value;
};

struct row {
    const char *block; /* NULL: directly in <Plugin argus> */
    const char *name;
    enum kind kind;
    size_t field; /* where it goes: offset in struct config */
    double min, max, preset;
    const char *unit; /* after the numbers of a message, " s" */
    size_t given;     /* offset of a bool that says it was set; 0: none */
    const char *text; /* preset of a text */
    const struct choice *choices;
    int (*own)(struct config *c, const struct row *row,
               const oconfig_item_t *item, struct argus_error *err);
};

static const struct choice roles[] = {
    {"agent", argus_Role_ROLE_AGENT},
    {"aggregator", argus_Role_ROLE_AGGREGATOR},
    {NULL, 0},
};

static const struct choice strategies[] = {
    {"hyparview", MEMBERSHIP_HYPARVIEW},
    {"full", MEMBERSHIP_FULL},
    {"client-server", MEMBERSHIP_CLIENT_SERVER},
    {"static", MEMBERSHIP_STATIC},
    {NULL, 0},
};

static const struct choice severities[] = {
    {"OKAY", argus_Severity_SEVERITY_OKAY},
    {"WARNING", argus_Severity_SEVERITY_WARNING},
    {"FAILURE", argus_Severity_SEVERITY_FAILURE},
    {NULL, 0},
};

static int own_listen(struct config *c, const struct row *row,
                      const oconfig_item_t *item, struct argus_error *err);
static int own_advertise(struct config *c, const struct row *row,
                         const oconfig_item_t *item, struct argus_error *err);
static int own_seed(struct config *c, const struct row *row,
                    const oconfig_item_t *item, struct argus_error *err);
static int own_service(struct config *c, const struct row *row,
                       const oconfig_item_t *item, struct argus_error *err);
static int own_tag(struct config *c, const struct row *row,
                   const oconfig_item_t *item, struct argus_error *err);
static int own_zone(struct config *c, const struct row *row,
                    const oconfig_item_t *item, struct argus_error *err);
static int own_key(struct config *c, const struct row *row,
                   const oconfig_item_t *item, struct argus_error *err);
static int own_allow(struct config *c, const struct row *row,
                     const oconfig_item_t *item, struct argus_error *err);
static int own_deny(struct config *c, const struct row *row,
                    const oconfig_item_t *item, struct argus_error *err);
static int own_user(struct config *c, const struct row *row,
                    const oconfig_item_t *item, struct argus_error *err);

/** Longest NodeName, Zone or host, without its NUL. */
#define NAME_MAX_LENGTH (sizeof((struct runtime_options *)0)->name - 1)

#define FIELD(member) offsetof(struct config, options.member)
#define TEXT_MAX(member) (sizeof(((struct config *)0)->options.member) - 1)

#define NUMBER(block_, name_, kind_, member, min_, max_, preset_, unit_, ...)  \
    {                                                                          \
        .block = (block_), .name = (name_), .kind = (kind_),                   \
        .field = FIELD(member), .min = (min_), .max = (max_),                  \
        .preset = (preset_), .unit = (unit_), __VA_ARGS__                      \
    }
#define FLAG(block_, name_, member, preset_, ...)                              \
    {                                                                          \
        .block = (block_), .name = (name_), .kind = KIND_FLAG,                 \
        .field = FIELD(member), .preset = (preset_), __VA_ARGS__               \
    }
#define CHOICE(block_, name_, member, preset_, choices_)                       \
    {                                                                          \
        .block = (block_), .name = (name_), .kind = KIND_CHOICE,               \
        .field = FIELD(member), .preset = (preset_), .choices = (choices_)     \
    }
#define TEXT(name_, member, preset_)                                           \
    {                                                                          \
        .name = (name_), .kind = KIND_TEXT, .field = FIELD(member), .min = 1,  \
        .max = TEXT_MAX(member), .text = (preset_)                             \
    }
#define TEXT_IN(block_, name_, member)                                         \
    {                                                                          \
        .block = (block_), .name = (name_), .kind = KIND_TEXT,                 \
        .field = FIELD(member), .min = 1, .max = TEXT_MAX(member), .text = ""  \
    }
#define OWN(name_, own_)                                                       \
    {                                                                          \
        .name = (name_), .kind = KIND_OWN, .own = (own_)                       \
    }
#define OWN_IN(block_, name_, own_)                                            \
    {                                                                          \
        .block = (block_), .name = (name_), .kind = KIND_OWN, .own = (own_)    \
    }
#define LATER(block_, name_)                                                   \
    {                                                                          \
        .block = (block_), .name = (name_), .kind = KIND_LATER                 \
    }
#define GIVEN(member) .given = offsetof(struct config, member)

/* clang-format off: one option a line; numbers: least, most, default */
static const struct row rows[] = {
    CHOICE(NULL, "Role", role, argus_Role_ROLE_AGENT, roles),
    TEXT("Cluster", cluster, "default"),
    OWN("Listen", own_listen),
    OWN("Advertise", own_advertise),
    OWN("Seed", own_seed),
    OWN("SeedService", own_service),
    FLAG(NULL, "Multicast", multicast, false),
    TEXT("NodeName", name, ""),
    OWN("Zone", own_zone),
    OWN("Tag", own_tag),
    TEXT("StateDir", state_dir, ""),
    TEXT("ControlSocket", control_socket, ""),
    TEXT("ControlGroup", control_group, ""),

    TEXT_IN("Security", "KeyFile", key_file),
    TEXT_IN("Security", "Certificate", certificate),
    TEXT_IN("Security", "PrivateKey", private_key),
    TEXT_IN("Security", "CA", ca),
    TEXT_IN("Security", "CRL", crl),
    FLAG("Security", "AllowPlaintext", allow_plaintext, false),

    CHOICE("Membership", "Strategy", strategy, MEMBERSHIP_HYPARVIEW,
           strategies),
    NUMBER("Membership", "ActiveView", KIND_WHOLE, active_max, 2,
           MEMBERSHIP_ACTIVE_LIMIT, 5, "", GIVEN(active_is_set)),
    NUMBER("Membership", "PassiveView", KIND_WHOLE, passive_max, 0,
           MEMBERSHIP_PASSIVE_LIMIT, 30, "", GIVEN(passive_is_set)),
    FLAG("Membership", "ZoneBias", zone_bias, true, GIVEN(bias_is_set)),
    NUMBER("Membership", "ShuffleInterval", KIND_SECONDS, shuffle_ms, 0.1, 3600,
           10, " s", GIVEN(shuffle_is_set)),
    NUMBER("Membership", "PingInterval", KIND_SECONDS, ping_ms, 0.1, 3600, 2,
           " s"),
    NUMBER("Membership", "SuspectTimeout", KIND_SECONDS, suspect_ms, 0.2, 7200,
           3.5, " s"),
    NUMBER("Membership", "RetainOffline", KIND_WHOLE, retain_offline_s, 60,
           315360000, 604800, " s"),

    FLAG("Route", "Enable", route, true, GIVEN(route_is_set)),
    LATER("Route", "Placement"),
    LATER("Route", "Copies"),
    NUMBER("Route", "SpoolMemory", KIND_MEBI, spool_bytes_max, 1, 65536, 64,
           " MiB"),
    LATER("Route", "SpoolDisk"),
    NUMBER("Route", "Weight", KIND_RATIO, weight, 0.001, 1000, 1, "",
           GIVEN(weight_is_set)),
    LATER("Route", "Accept"),
    LATER("Route", "Dispatch"),

    FLAG("Apply", "Enable", apply, true),
    OWN_IN("Apply", "TrustedKey", own_key),
    OWN_IN("Apply", "Allow", own_allow),
    OWN_IN("Apply", "Deny", own_deny),
    OWN_IN("Apply", "User", own_user),
    NUMBER("Apply", "MaxWorkers", KIND_WHOLE, workers_max, 1, 16, 8, ""),
    NUMBER("Apply", "StartTimeout", KIND_SECONDS, start_timeout_ms, 1, 3600, 30,
           " s"),
    NUMBER("Apply", "Probation", KIND_SECONDS, probation_ms, 1, 86400, 30,
           " s"),
    NUMBER("Apply", "MaxSize", KIND_MEBI, bundle_size_max, 0.001, 32, 4,
           " MiB"),

    NUMBER("Clock", "MaxOffset", KIND_SECONDS, clock_max_offset_ms, 0.001, 3600,
           0.5, " s"),
    NUMBER("Clock", "AlarmOffset", KIND_SECONDS, clock_alarm_ms, 0.001, 3600,
           0.1, " s"),

    CHOICE("Events", "Forward", forward, argus_Severity_SEVERITY_WARNING,
           severities),
    NUMBER("Events", "Retain", KIND_WHOLE, retain_events, 1, 10000000, 100000,
           ""),
    NUMBER("Events", "RateLimit", KIND_WHOLE, event_rate, 1, 100000, 10, ""),
};
/* clang-format on */

#define ROWS (sizeof rows / sizeof rows[0])

static const char *const blocks[] = {"Security", "Membership", "Route",
                                     "Apply",    "Clock",      "Events"};

#define BLOCKS (sizeof blocks / sizeof blocks[0])

/* ------------------------------------------------------------ messages */

static int refuse(const struct row *row, struct argus_error *err,
                  const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* `option "PingInterval" in <Membership>: ` and then the sentence. */
static int refuse(const struct row *row, struct argus_error *err,
                  const char *format, ...)
{
    char sentence[ARGUS_ERROR_SIZE];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(sentence, sizeof sentence, format, ap);
    va_end(ap);
    if (row->block == NULL)
        return argus_fail(err, ARGUS_EINVAL, "option \"%s\": %s", row->name,
                          sentence);
    return argus_fail(err, ARGUS_EINVAL, "option \"%s\" in <%s>: %s", row->name,
                      row->block, sentence);
}

/** Room for a value as messages show it; longer ones are cut. */
#define SHOWN_SIZE 160

static const char *show(const oconfig_value_t *value, char shown[SHOWN_SIZE])
{
    switch (value->type) {
    case OCONFIG_TYPE_NUMBER:
        (void)snprintf(shown, SHOWN_SIZE, "%.10g", value->value.number);
        break;
    case OCONFIG_TYPE_BOOLEAN:
        (void)snprintf(shown, SHOWN_SIZE, "%s",
                       value->value.boolean ? "true" : "false");
        break;
    default:
        (void)snprintf(shown, SHOWN_SIZE, "\"%.*s\"", SHOWN_SIZE - 8,
                       value->value.string);
    }
    return shown;
}

/* ----------------------------------------------------- kinds of values */

static void *field_of(struct config *c, size_t offset)
{
    return (char *)c + offset;
}

static void store_number(struct config *c, const struct row *row, double number)
{
    void *field = field_of(c, row->field);

    switch (row->kind) {
    case KIND_FLAG: *(bool *)field = number != 0; break;
    case KIND_WHOLE: *(uint32_t *)field = (uint32_t)number; break;
    case KIND_SECONDS:
        *(uint32_t *)field = (uint32_t)lround(number * 1000.0);
        break;
    case KIND_MEBI: *(uint64_t *)field = (uint64_t)(number * 1048576.0); break;
    case KIND_RATIO: *(float *)field = (float)number; break;
    case KIND_CHOICE: *(int *)field = (int)number; break;
    case KIND_TEXT:
    case KIND_OWN:
    case KIND_LATER: assert(0 && "not kept as a number");
    }
}

static int set_number(struct config *c, const struct row *row,
                      const oconfig_value_t *value, struct argus_error *err)
{
    char shown[SHOWN_SIZE];

    if (value->type != OCONFIG_TYPE_NUMBER)
        return refuse(row, err, "%s is no number; %g..%g%s is allowed",
                      show(value, shown), row->min, row->max, row->unit);

    double number = value->value.number;
    if (!(number >= row->min && number <= row->max)) /* also refuses NaN */
        return refuse(row, err, "%s is outside %.10g..%.10g%s",
                      show(value, shown), row->min, row->max, row->unit);
    if (row->kind == KIND_WHOLE && number != floor(number))
        return refuse(row, err,
                      "%s is not whole; a whole number from %.10g to %.10g%s "
                      "is allowed",
                      show(value, shown), row->min, row->max, row->unit);
    store_number(c, row, number);
    return ARGUS_OK;
}

/* collectd takes the words for its own flags too, quoted or not. */
static int set_flag(struct config *c, const struct row *row,
                    const oconfig_value_t *value, struct argus_error *err)
{
    static const struct choice words[] = {{"true", 1},  {"yes", 1}, {"on", 1},
                                          {"false", 0}, {"no", 0},  {"off", 0}};
    char shown[SHOWN_SIZE];

    if (value->type == OCONFIG_TYPE_BOOLEAN) {
        store_number(c, row, value->value.boolean);
        return ARGUS_OK;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (value->type == OCONFIG_TYPE_STRING &&
            strcasecmp(value->value.string, words[i].word) == 0) {
            store_number(c, row, words[i].value);
            return ARGUS_OK;
        }
    }
    return refuse(row, err, "%s is neither true nor false", show(value, shown));
}

static int set_choice(struct config *c, const struct row *row,
                      const oconfig_value_t *value, struct argus_error *err)
{
    char shown[SHOWN_SIZE], words[SHOWN_SIZE] = "";

    for (const struct choice *choice = row->choices; choice->word != NULL;
         choice++) {
        if (value->type == OCONFIG_TYPE_STRING &&
            strcasecmp(value->value.string, choice->word) == 0) {
            store_number(c, row, choice->value);
            return ARGUS_OK;
        }
        size_t used = strlen(words);
        (void)snprintf(words + used, sizeof words - used, "%s%s",
                       used > 0 ? ", " : "", choice->word);
    }
    return refuse(row, err, "%s is none of %s", show(value, shown), words);
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    return true;
}

/* A number is also a text: `NodeName 7` and `Tag "rack" 4` are meant so. */
static int text_of(const struct row *row, const oconfig_value_t *value,
                   size_t min, size_t max, char *out, struct argus_error *err)
{
    char shown[SHOWN_SIZE];
    const char *text = value->value.string;

    if (value->type == OCONFIG_TYPE_NUMBER)
        text = show(value, shown);
    else if (value->type != OCONFIG_TYPE_STRING)
        return refuse(row, err, "%s is no text", show(value, shown));

    size_t length = strlen(text);
    if (length < min)
        return refuse(row, err,
                      "\"\" is too short; %zu to %zu bytes are "
                      "allowed",
                      min, max);
    if (length > max)
        return refuse(row, err, "%s is %zu bytes long; %zu are allowed",
                      show(value, shown), length, max);
    if (!is_printable(text))
        return refuse(row, err,
                      "a control character is in the text; only "
                      "printable ones are allowed");
    memcpy(out, text, length + 1);
    return ARGUS_OK;
}

/* --------------------------------------------------- options of their own */

static int own_zone(struct config *c, const struct row *row,
                    const oconfig_item_t *item, struct argus_error *err)
{
    char zone[sizeof c->options.zone];

    if (item->values_num != 1)
        return refuse(row, err, "takes one path, such as \"eu1/rack4\"");
    int rc = text_of(row, &item->values[0], 0, sizeof zone - 1, zone, err);
    if (rc != ARGUS_OK)
        return rc;

    size_t length = strlen(zone);
    if (length > 0 && (zone[0] == '/' || zone[length - 1] == '/' ||
                       strstr(zone, "//") != NULL))
        return refuse(row, err,
                      "\"%s\" has an empty part; allowed is a path "
                      "such as \"eu1/rack4\"",
                      zone);
    memcpy(c->options.zone, zone, length + 1);
    return ARGUS_OK;
}

static int own_tag(struct config *c, const struct row *row,
                   const oconfig_item_t *item, struct argus_error *err)
{
    argus_Tag tag;
    uint32_t i;

    if (item->values_num != 2)
        return refuse(row, err, "takes a key and a value");
    int rc =
        text_of(row, &item->values[0], 1, sizeof tag.key - 1, tag.key, err);
    if (rc == ARGUS_OK)
        rc = text_of(row, &item->values[1], 0, sizeof tag.value - 1, tag.value,
                     err);
    if (rc != ARGUS_OK)
        return rc;

    /* A key has one value: the last. */
    for (i = 0; i < c->options.tags_count; i++)
        if (strcmp(c->options.tags[i].key, tag.key) == 0)
            break;
    uint32_t max = sizeof c->options.tags / sizeof c->options.tags[0];
    if (i == max)
        return refuse(row, err, "\"%s\" is one too many; %u tags are allowed",
                      tag.key, max);
    c->options.tags[i] = tag;
    if (i == c->options.tags_count)
        c->options.tags_count++;
    return ARGUS_OK;
}

/* ------------------------------------------------------------ addresses */

static bool is_ipv6(const char *host)
{
    struct in6_addr ignored;
    char plain[INET6_ADDRSTRLEN];
    size_t length = strcspn(host, "%"); /* without the scope, %eth0 */

    if (length >= sizeof plain)
        return false;
    memcpy(plain, host, length);
    plain[length] = '\0';
    return inet_pton(AF_INET6, plain, &ignored) == 1;
}

static int check_host(const struct row *row, const char *host,
                      struct argus_error *err)
{
    if (strchr(host, ':') != NULL && !is_ipv6(host))
        return refuse(row, err,
                      "\"%s\" is no IPv6 address; allowed are a "
                      "host, \"host:port\" and \"[v6]:port\"",
                      host);
    for (const char *at = host; *at != '\0'; at++)
        if (*at <= ' ' || *at == 0x7f || strchr("/[]\"", *at) != NULL)
            return refuse(row, err,
                          "\"%s\" is no host; a name or an IP "
                          "address is allowed",
                          host);
    return ARGUS_OK;
}

static int check_port(const struct row *row, const char *port,
                      struct argus_error *err)
{
    size_t digits = strspn(port, "0123456789");

    if (port[digits] == '\0') {
        unsigned long number = strtoul(port, NULL, 10);
        if (digits > 5 || number < 1 || number > 65535)
            return refuse(row, err, "port %s is outside 1..65535", port);
        return ARGUS_OK;
    }
    for (const char *at = port; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && *at != '-' && *at != '_')
            return refuse(row, err,
                          "\"%s\" is no port; 1..65535 or the name "
                          "of a service is allowed",
                          port);
    return ARGUS_OK;
}

/* "host", "host:port", "[v6]", "[v6]:port" or a bare v6, split in place.
 * *port is NULL when there is none. */
static int split_address(const struct row *row, char *text, char **host,
                         char **port, struct argus_error *err)
{
    *host = text;
    *port = NULL;
    if (text[0] == '[') {
        char *end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return refuse(row, err,
                          "\"%s\" is no address; \"[v6]:port\" is "
                          "allowed",
                          text);
        if (end[1] == ':')
            *port = end + 2;
        *end = '\0';
        *host = text + 1;
        if (!is_ipv6(*host))
            return refuse(row, err, "\"[%s]\" holds no IPv6 address", *host);
        return ARGUS_OK;
    }
    char *colon = strchr(text, ':');
    if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *colon = '\0';
        *port = colon + 1;
    }
    return ARGUS_OK;
}

static int address_of(const struct row *row, const oconfig_item_t *item,
                      struct runtime_address *out, struct argus_error *err)
{
    char text[ADDRESS_SIZE], second[sizeof out->port];
    char *host, *port;
    int rc;

    if (item->values_num < 1 || item->values_num > 2)
        return refuse(row, err, "takes a host and an optional port");
    rc = text_of(row, &item->values[0], 1, sizeof text - 1, text, err);
    if (rc == ARGUS_OK)
        rc = split_address(row, text, &host, &port, err);
    if (rc != ARGUS_OK)
        return rc;
    if (item->values_num == 2) {
        if (port != NULL)
            return refuse(row, err,
                          "\"%s\" has its port twice; once is "
                          "allowed",
                          host);
        rc = text_of(row, &item->values[1], 1, sizeof second - 1, second, err);
        if (rc != ARGUS_OK)
            return rc;
        port = second;
    }
    if (port == NULL) {
        memcpy(second, CONFIG_PORT, sizeof CONFIG_PORT);
        port = second;
    }

    if (host[0] == '\0' || strlen(host) >= sizeof out->host ||
        port[0] == '\0' || strlen(port) >= sizeof out->port)
        return refuse(row, err,
                      "\"%s\" port \"%s\" is no address; a host of "
                      "1..%zu bytes and a port are allowed",
                      host, port, sizeof out->host - 1);
    rc = check_host(row, host, err);
    if (rc == ARGUS_OK)
        rc = check_port(row, port, err);
    if (rc != ARGUS_OK)
        return rc;
    memcpy(out->host, host, strlen(host) + 1);
    memcpy(out->port, port, strlen(port) + 1);
    return ARGUS_OK;
}

static int own_listen(struct config *c, const struct row *row,
                      const oconfig_item_t *item, struct argus_error *err)
{
    struct runtime_options *o = &c->options;
    struct runtime_address address;
    uint32_t max = sizeof o->listen / sizeof o->listen[0];

    int rc = address_of(row, item, &address, err);
    if (rc != ARGUS_OK)
        return rc;
    if (o->listen_count == max)
        return refuse(row, err, "\"%s\" is one too many; %u are allowed",
                      address.host, max);
    o->listen[o->listen_count++] = address;
    return ARGUS_OK;
}

static int own_advertise(struct config *c, const struct row *row,
                         const oconfig_item_t *item, struct argus_error *err)
{
    return address_of(row, item, &c->options.advertise, err);
}

static int keep_seed(struct config *c, const struct row *row, const char *text,
                     struct argus_error *err)
{
    if (c->options.seeds_count == CONFIG_SEEDS_MAX)
        return refuse(row, err,
                      "\"%s\" is one too many; %u are allowed, Seed and "
                      "SeedService together",
                      text, CONFIG_SEEDS_MAX);
    char *copy = strdup(text);
    if (copy == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "out of memory for a %s",
                          row->name);
    c->seeds[c->options.seeds_count++] = copy;
    return ARGUS_OK;
}

static int own_seed(struct config *c, const struct row *row,
                    const oconfig_item_t *item, struct argus_error *err)
{
    struct runtime_address address;
    char text[ADDRESS_SIZE];

    int rc = address_of(row, item, &address, err);
    if (rc != ARGUS_OK)
        return rc;
    if (!text_join_address(text, sizeof text, address.host, address.port))
        return refuse(row, err, "\"%s\" with its port is longer than %zu bytes",
                      address.host, sizeof text - 1);
    return keep_seed(c, row, text, err);
}

/* What the records name is judged once they are looked up. */
static int own_service(struct config *c, const struct row *row,
                       const oconfig_item_t *item, struct argus_error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    char text[ADDRESS_SIZE];

    if (item->values_num != 1)
        return refuse(row, err, "takes the name of one service");
    int rc = text_of(row, &item->values[0], 1, sizeof text - 1, text, err);
    if (rc != ARGUS_OK)
        return rc;
    const char *protocol = strstr(text, "._");
    if (text[0] != '_' || protocol == NULL ||
        strchr(protocol + 1, '.') == NULL || strstr(text, "..") != NULL ||
        text[strspn(text, allowed)] != '\0')
        return refuse(row, err,
                      "\"%s\" is no name of a DNS service; one like "
                      "\"_argus._tcp.example.org\" is allowed",
                      text);
    return keep_seed(c, row, text, err);
}

/* -------------------------------------------------------------- <Apply> */

/* Read in config_resolve(): until then a relative path is relative to nothing
 * that is known. */
static int own_key(struct config *c, const struct row *row,
                   const oconfig_item_t *item, struct argus_error *err)
{
    char path[1024];

    if (item->values_num != 1)
        return refuse(row, err, "takes the name of one file");
    int rc = text_of(row, &item->values[0], 1, sizeof path - 1, path, err);
    if (rc != ARGUS_OK)
        return rc;
    if (c->key_files_count == CONFIG_KEYS_MAX)
        return refuse(row, err, "\"%s\" is one too many; %u are allowed", path,
                      CONFIG_KEYS_MAX);
    char *copy = strdup(path);
    if (copy == NULL)
        return argus_fail(err, ARGUS_ENOMEM, "out of memory for a TrustedKey");
    c->key_files[c->key_files_count++] = copy;
    return ARGUS_OK;
}

/** Plugins that Allow or Deny may name. */
#define PLUGINS_MAX                                                            \
    (sizeof((struct runtime_options *)0)->allow /                              \
     sizeof((struct runtime_options *)0)->allow[0])

/* Names add up, in one line or in several; "" alone is an empty list. */
static int add_plugins(const struct row *row, const oconfig_item_t *item,
                       char list[PLUGINS_MAX][64], uint32_t *count,
                       struct argus_error *err)
{
    char name[sizeof list[0]];

    if (item->values_num < 1)
        return refuse(row, err, "takes the names of plugins");
    for (int i = 0; i < item->values_num; i++) {
        int rc = text_of(row, &item->values[i], 0, sizeof name - 1, name, err);
        if (rc != ARGUS_OK)
            return rc;
        if (strpbrk(name, "/\"\\") != NULL)
            return refuse(row, err, "\"%s\" is no name of a plugin", name);
        if (name[0] == '\0')
            continue;
        if (*count == PLUGINS_MAX)
            return refuse(row, err, "\"%s\" is one too many; %zu are allowed",
                          name, PLUGINS_MAX);
        memcpy(list[(*count)++], name, sizeof name);
    }
    return ARGUS_OK;
}

static int own_allow(struct config *c, const struct row *row,
                     const oconfig_item_t *item, struct argus_error *err)
{
    return add_plugins(row, item, c->options.allow, &c->options.allow_count,
                       err);
}

static int own_deny(struct config *c, const struct row *row,
                    const oconfig_item_t *item, struct argus_error *err)
{
    c->deny_is_set = true;
    return add_plugins(row, item, c->options.deny, &c->options.deny_count, err);
}

static int own_user(struct config *c, const struct row *row,
                    const oconfig_item_t *item, struct argus_error *err)
{
    char *user = c->options.apply_user;

    if (item->values_num != 1)
        return refuse(row, err, "takes the name of one user");
    int rc = text_of(row, &item->values[0], 1, sizeof c->options.apply_user - 1,
                     user, err);
    if (rc != ARGUS_OK)
        return rc;
    c->user_is_set = true;
    return ARGUS_OK;
}

/* -------------------------------------------------------------- the walk */

static int set_row(struct config *c, const struct row *row,
                   const oconfig_item_t *item, struct argus_error *err)
{
    int rc;

    if (row->kind == KIND_LATER)
        return refuse(row, err, "not built yet");
    if (item->children_num > 0)
        return refuse(row, err, "is an option, not a block");
    if (row->kind == KIND_OWN)
        return row->own(c, row, item, err);
    if (item->values_num != 1)
        return refuse(row, err, "%d values; exactly one is allowed",
                      item->values_num);

    const oconfig_value_t *value = &item->values[0];
    switch (row->kind) {
    case KIND_FLAG: rc = set_flag(c, row, value, err); break;
    case KIND_CHOICE: rc = set_choice(c, row, value, err); break;
    case KIND_TEXT:
        rc = text_of(row, value, (size_t)row->min, (size_t)row->max,
                     field_of(c, row->field), err);
        break;
    default: rc = set_number(c, row, value, err);
    }
    if (rc == ARGUS_OK && row->given != 0)
        *(bool *)field_of(c, row->given) = true;
    return rc;
}

static const struct row *find_row(const char *block, const char *name)
{
    for (size_t i = 0; i < ROWS; i++) {
        bool same_block = block == NULL || rows[i].block == NULL
                              ? block == rows[i].block
                              : strcmp(block, rows[i].block) == 0;
        if (same_block && strcasecmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

static const char *find_block(const char *name)
{
    for (size_t i = 0; i < BLOCKS; i++)
        if (strcasecmp(blocks[i], name) == 0)
            return blocks[i];
    return NULL;
}

static int set_block(struct config *c, const char *block,
                     const oconfig_item_t *item, struct argus_error *err)
{
    if (item->values_num > 0)
        return argus_fail(err, ARGUS_EINVAL,
                          "block <%s> takes no value of "
                          "its own, only options",
                          block);
    for (int i = 0; i < item->children_num; i++) {
        const oconfig_item_t *child = &item->children[i];
        const struct row *row = find_row(block, child->key);
        if (row == NULL)
            return argus_fail(err, ARGUS_EINVAL,
                              "option \"%s\" in <%s> is unknown", child->key,
                              block);
        int rc = set_row(c, row, child, err);
        if (rc != ARGUS_OK)
            return rc;
    }
    return ARGUS_OK;
}

int config_block(struct config *c, const oconfig_item_t *block,
                 struct argus_error *err)
{
    for (int i = 0; i < block->children_num; i++) {
        const oconfig_item_t *item = &block->children[i];
        const struct row *row = find_row(NULL, item->key);
        const char *inner = find_block(item->key);
        int rc;

        if (row != NULL)
            rc = set_row(c, row, item, err);
        else if (inner != NULL)
            rc = set_block(c, inner, item, err);
        else
            rc = argus_fail(err, ARGUS_EINVAL, "option \"%s\" is unknown",
                            item->key);
        if (rc != ARGUS_OK)
            return rc;
    }
    return ARGUS_OK;
}

void config_init(struct config *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        if (row->kind == KIND_TEXT)
            memcpy(field_of(c, row->field), row->text, strlen(row->text) + 1);
        else if (row->kind != KIND_OWN && row->kind != KIND_LATER)
            store_number(c, row, row->preset);
    }
    (void)snprintf(c->options.collectd_version,
                   sizeof c->options.collectd_version, "%s", PACKAGE_VERSION);
}

void config_free(struct config *c)
{
    for (uint32_t i = 0; i < c->options.seeds_count; i++)
        free(c->seeds[i]);
    c->options.seeds_count = 0;
    for (uint32_t i = 0; i < c->key_files_count; i++)
        free(c->key_files[i]);
    c->key_files_count = 0;
}

/* ------------------------------------------------------- what init knows */

/* An address that is no literal is judged once it is resolved. */
static bool is_beyond_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) != 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return !IN6_IS_ADDR_LOOPBACK(&v6) &&
               !(IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    return false;
}

static int check_loopback(const struct config *c, struct argus_error *err)
{
    const struct runtime_options *o = &c->options;
    static const char why[] = "is beyond loopback, which needs a KeyFile or "
                              "certificates in <Security>, or there "
                              "\"AllowPlaintext true\"";

    if (o->allow_plaintext || config_protects(c))
        return ARGUS_OK;
    for (uint32_t i = 0; i < o->listen_count; i++)
        if (is_beyond_loopback(o->listen[i].host))
            return refuse(find_row(NULL, "Listen"), err, "\"%s\" %s",
                          o->listen[i].host, why);
    for (uint32_t i = 0; i < o->seeds_count; i++) {
        char host[ADDRESS_SIZE], *at, *port;
        if (text_is_service(c->seeds[i]))
            continue;
        (void)snprintf(host, sizeof host, "%s", c->seeds[i]);
        int rc = split_address(find_row(NULL, "Seed"), host, &at, &port, err);
        if (rc != ARGUS_OK)
            return rc;
        if (is_beyond_loopback(at))
            return refuse(find_row(NULL, "Seed"), err, "\"%s\" %s", at, why);
    }
    return ARGUS_OK;
}

bool config_protects(const struct config *c)
{
    return c->options.key_file[0] != '\0' || c->options.certificate[0] != '\0';
}

/* Either a keyring or certificates, and of those all that belongs together. */
static int check_security(const struct config *c, struct argus_error *err)
{
    const struct runtime_options *o = &c->options;
    const struct {
        const char *name, *value;
    } files[] = {{"Certificate", o->certificate},
                 {"PrivateKey", o->private_key},
                 {"CA", o->ca},
                 {"CRL", o->crl}};
    bool any = false;

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        any |= files[i].value[0] != '\0';
    if (any && o->key_file[0] != '\0')
        return refuse(find_row("Security", "KeyFile"), err,
                      "stands beside certificates: links are protected by one "
                      "or by the other");
    for (size_t i = 0; any && i < 3; i++)
        if (files[i].value[0] == '\0')
            return refuse(find_row("Security", files[i].name), err,
                          "is missing: Certificate, PrivateKey and CA go "
                          "together");
    if (config_protects(c) && o->allow_plaintext)
        return refuse(find_row("Security", "AllowPlaintext"), err,
                      "true contradicts %s: with a key every link is "
                      "protected",
                      any ? "Certificate" : "KeyFile");
    return ARGUS_OK;
}

/* What a strategy does not look at must not be given: it would do nothing. */
static int check_strategy(const struct config *c, struct argus_error *err)
{
    enum membership_strategy strategy = c->options.strategy;
    const struct {
        bool is_set;
        const char *name, *use;
    } options[] = {
        {c->active_is_set, "ActiveView", "is for Strategy hyparview alone"},
        {c->passive_is_set && c->options.passive_max != 0, "PassiveView",
         "is for Strategy hyparview alone; others keep everyone they may ask"},
        {c->bias_is_set, "ZoneBias", "is for Strategy hyparview alone"},
        {c->shuffle_is_set && strategy == MEMBERSHIP_STATIC, "ShuffleInterval",
         "says nothing with Strategy static, which exchanges no addresses"},
    };

    if (strategy == MEMBERSHIP_HYPARVIEW)
        return ARGUS_OK;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (options[i].is_set)
            return refuse(find_row("Membership", options[i].name), err, "%s",
                          options[i].use);
    return ARGUS_OK;
}

/* A call on the local network is authenticated by a key that all nodes hold. */
static int check_multicast(const struct config *c, struct argus_error *err)
{
    const struct runtime_options *o = &c->options;

    if (!o->multicast)
        return ARGUS_OK;
    if (o->certificate[0] != '\0')
        return refuse(
            find_row(NULL, "Multicast"), err,
            "true needs a KeyFile, whose key authenticates the calls; "
            "with certificates name a Seed or a SeedService");
    if (o->strategy == MEMBERSHIP_STATIC)
        return refuse(find_row(NULL, "Multicast"), err,
                      "true contradicts Strategy static, which knows its Seeds "
                      "and nobody else");
    return ARGUS_OK;
}

/* What options ask of each other. */
static int check_together(const struct config *c, struct argus_error *err)
{
    const struct runtime_options *o = &c->options;
    bool aggregator = o->role == argus_Role_ROLE_AGGREGATOR;

    if (o->suspect_ms <= o->ping_ms)
        return refuse(find_row("Membership", "SuspectTimeout"), err,
                      "%g s does not exceed PingInterval, %g s; it must",
                      o->suspect_ms / 1000.0, o->ping_ms / 1000.0);
    if (check_strategy(c, err) != ARGUS_OK ||
        check_multicast(c, err) != ARGUS_OK)
        return ARGUS_EINVAL;
    if (o->passive_max != 0 && o->passive_max < o->active_max)
        return refuse(find_row("Membership", "PassiveView"), err,
                      "%u is less than ActiveView, %u; allowed is 0, for "
                      "everyone known, or at least as much",
                      o->passive_max, o->active_max);
    if (aggregator && o->route)
        return refuse(find_row("Route", "Enable"), err,
                      "true is for agents; an aggregator writes locally and "
                      "forwards nothing");
    if (!aggregator && c->weight_is_set)
        return refuse(find_row("Route", "Weight"), err,
                      "%g is for aggregators alone; this node is an agent",
                      (double)o->weight);
    return check_loopback(c, err);
}

/* Join folder and name unless the name is absolute already. */
static int path_of(const struct row *row, const char *folder, const char *name,
                   char *out, size_t size, struct argus_error *err)
{
    size_t end = strlen(folder);
    int length;

    while (end > 1 && folder[end - 1] == '/')
        end--;
    if (name[0] == '/')
        length = snprintf(out, size, "%s", name);
    else
        length = snprintf(out, size, "%.*s%s%s", (int)end, folder,
                          end == 1 && folder[0] == '/' ? "" : "/", name);
    if (length < 0 || (size_t)length >= size)
        return refuse(row, err,
                      "the path %.*s%s%s is %d bytes long; %zu are "
                      "allowed",
                      name[0] == '/' ? 0 : (int)end, folder,
                      name[0] == '/' ? "" : "/", name, length, size - 1);
    return ARGUS_OK;
}

static int resolve_paths(struct config *c, const struct config_host *host,
                         struct argus_error *err)
{
    struct runtime_options *o = &c->options;
    const char *base = host->base_dir != NULL && host->base_dir[0] == '/'
                           ? host->base_dir
                           : host->work_dir;
    char state_dir[sizeof o->state_dir];
    char control_socket[sizeof o->control_socket];
    bool state_given = o->state_dir[0] != '\0';
    bool socket_given = o->control_socket[0] != '\0';

    int rc = path_of(
        find_row(NULL, "StateDir"), state_given ? host->work_dir : base,
        state_given ? o->state_dir : "argus", state_dir, sizeof state_dir, err);
    if (rc != ARGUS_OK)
        return rc;
    rc = path_of(find_row(NULL, "ControlSocket"),
                 socket_given ? host->work_dir : state_dir,
                 socket_given ? o->control_socket : "control.sock",
                 control_socket, sizeof control_socket, err);
    if (rc != ARGUS_OK)
        return rc;
    memcpy(o->state_dir, state_dir, sizeof state_dir);
    memcpy(o->control_socket, control_socket, sizeof control_socket);
    return ARGUS_OK;
}

/* Relative ones start where collectd's do. */
static int resolve_security(struct config *c, const struct config_host *host,
                            struct argus_error *err)
{
    struct runtime_options *o = &c->options;
    const struct {
        const char *name;
        char *path;
    } files[] = {{"KeyFile", o->key_file},
                 {"Certificate", o->certificate},
                 {"PrivateKey", o->private_key},
                 {"CA", o->ca},
                 {"CRL", o->crl}};
    char path[sizeof o->key_file];

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (files[i].path[0] == '\0')
            continue;
        int rc = path_of(find_row("Security", files[i].name), host->work_dir,
                         files[i].path, path, sizeof path, err);
        if (rc != ARGUS_OK)
            return rc;
        memcpy(files[i].path, path, sizeof path);
    }
    return ARGUS_OK;
}

static long number_or(const char *text, long otherwise)
{
    errno = 0;
    long number = text == NULL ? otherwise : strtol(text, NULL, 0);
    return errno != 0 ? otherwise : number;
}

/* As collectd itself reads its queue's options in plugin_init_all(). */
static void resolve_queue(struct runtime_options *o,
                          const struct config_host *host)
{
    long threads = number_or(host->write_threads, 5);
    long high = number_or(host->write_limit_high, 0);

    if (high < 0)
        high = 0;
    long low = number_or(host->write_limit_low, high / 2);
    if (low < 0)
        low = high / 2;
    if (low > high)
        low = high;
    o->write_threads =
        threads < 1 || threads > UINT32_MAX ? 5u : (uint32_t)threads;
    /* A low mark of 0 under a high one still drops: then any queue may. */
    o->write_limit = high == 0 ? 0 : low == 0 ? 1 : (uint64_t)low;
}

/* ------------------------------------------------------ <Apply> in init */

/* Without its trusted keys a node would silently run nothing. */
static int read_keys(struct config *c, const struct config_host *host,
                     struct argus_error *err)
{
    const struct row *row = find_row("Apply", "TrustedKey");
    char path[1024];
    struct argus_error why;

    c->options.trusted_keys_count = 0;
    for (uint32_t i = 0; i < c->key_files_count; i++) {
        int rc = path_of(row, host->work_dir, c->key_files[i], path,
                         sizeof path, err);
        if (rc != ARGUS_OK)
            return rc;
        rc = operator_key_read(
            path, c->options.trusted_keys[c->options.trusted_keys_count], &why);
        if (rc != ARGUS_OK)
            return refuse(row, err, "%.400s", why.text);
        c->options.trusted_keys_count++;
    }
    return ARGUS_OK;
}

static int check_user(const struct config *c, const struct config_host *host,
                      struct argus_error *err)
{
    const struct row *row = find_row("Apply", "User");
    const char *user = c->options.apply_user;
    const struct passwd *entry = user[0] != '\0' ? getpwnam(user) : NULL;

    if (user[0] == '\0')
        return ARGUS_OK;
    if (entry == NULL)
        return refuse(row, err, "there is no user \"%s\"", user);
    if (!host->is_root && entry->pw_uid != geteuid())
        return refuse(row, err,
                      "\"%s\" is another user than this daemon's; only root "
                      "may name one",
                      user);
    return ARGUS_OK;
}

/* The data sets that come with collectd: beside its plugins, in share. */
static void find_types(struct runtime_options *o)
{
    static const char *const places[] = {
        "/usr/share/collectd/types.db", "/usr/local/share/collectd/types.db",
        "/opt/collectd/share/collectd/types.db"};
    char beside[sizeof o->plugin_dir + 64];

    (void)snprintf(beside, sizeof beside, "%s/../../share/collectd/types.db",
                   o->plugin_dir);
    const char *found = access(beside, R_OK) == 0 ? beside : NULL;
    for (size_t i = 0; found == NULL && i < sizeof places / sizeof places[0];
         i++)
        if (access(places[i], R_OK) == 0)
            found = places[i];
    char *path = found != NULL ? realpath(found, NULL) : NULL;
    (void)snprintf(o->types_db, sizeof o->types_db, "%s",
                   path != NULL ? path : places[0]);
    free(path);
}

static int resolve_apply(struct config *c, const struct config_host *host,
                         struct argus_error *err)
{
    static const char *const denied[] = {"exec", "python", "perl", "lua",
                                         "java"};
    struct runtime_options *o = &c->options;

    (void)snprintf(o->hostname, sizeof o->hostname, "%s", host->hostname);
    (void)snprintf(o->plugin_dir, sizeof o->plugin_dir, "%s",
                   host->plugin_dir != NULL ? host->plugin_dir : "");
    o->interval_s = host->interval_s > 0 ? host->interval_s : 10;
    find_types(o);
    for (size_t i = 0; !c->deny_is_set && i < sizeof denied / sizeof denied[0];
         i++)
        (void)snprintf(o->deny[o->deny_count++], sizeof o->deny[0], "%s",
                       denied[i]);
    c->deny_is_set = true;
    if (!c->user_is_set)
        (void)snprintf(o->apply_user, sizeof o->apply_user, "%s",
                       host->is_root ? "nobody" : "");
    int rc = c->user_is_set ? check_user(c, host, err) : ARGUS_OK;
    return rc == ARGUS_OK ? read_keys(c, host, err) : rc;
}

int config_resolve(struct config *c, const struct config_host *host,
                   struct argus_error *err)
{
    struct runtime_options *o = &c->options;

    if (!c->route_is_set)
        o->route = o->role == argus_Role_ROLE_AGENT;
    int rc = check_security(c, err);
    if (rc == ARGUS_OK)
        rc = check_together(c, err);
    if (rc != ARGUS_OK)
        return rc;
    if (o->name[0] == '\0') {
        size_t length = strlen(host->hostname);
        if (length == 0 || length > NAME_MAX_LENGTH)
            return refuse(find_row(NULL, "NodeName"), err,
                          "Hostname, its default, is \"%s\"; 1 to %zu bytes "
                          "are allowed",
                          host->hostname, NAME_MAX_LENGTH);
        memcpy(o->name, host->hostname, length + 1);
    }
    rc = resolve_paths(c, host, err);
    if (rc == ARGUS_OK)
        rc = resolve_security(c, host, err);
    if (rc != ARGUS_OK)
        return rc;
    resolve_queue(o, host);
    rc = resolve_apply(c, host, err);
    if (rc != ARGUS_OK)
        return rc;
    o->seeds = (const char *const *)c->seeds;
    return ARGUS_OK;
}
