#include "cli/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/node_id.h"
#include "cli/memory.h"

#define DUMP_FLAGS                                                             \
    (JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12))

void time_text(uint64_t unix_us, char out[TIME_TEXT_SIZE])
{
    /* 9999-12-31T23:59:59: beyond it the text would not fit, and is a lie. */
    const uint64_t last_s = 253402300799u;
    uint64_t seconds = unix_us / 1000000;
    time_t t = (time_t)(seconds < last_s ? seconds : last_s);
    struct tm tm;

    (void)gmtime_r(&t, &tm);
    size_t used = strftime(out, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + used, TIME_TEXT_SIZE - used, ".%06uZ",
                   (unsigned)(unix_us % 1000000));
}

uint64_t cdtime_to_us(uint64_t cdtime)
{
    uint64_t fraction = cdtime & ((1u << 30) - 1);
    return (cdtime >> 30) * 1000000 + ((fraction * 1000000) >> 30);
}

/* Bytes of the UTF-8 sequence at text; 0: none. Short checks are enough, since
 * jansson looks closer and refuses what is still wrong. */
static size_t sequence_size(const unsigned char *text)
{
    size_t size = text[0] < 0x80   ? 1
                  : text[0] < 0xc2 ? 0
                  : text[0] < 0xe0 ? 2
                  : text[0] < 0xf0 ? 3
                  : text[0] < 0xf5 ? 4
                                   : 0;
    for (size_t i = 1; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

json_t *json_text(const char *text)
{
    json_t *whole = json_string(text);
    if (whole != NULL)
        return whole;

    char mended[4096];
    size_t used = 0;
    for (const char *p = text; *p != '\0' && used + 5 < sizeof mended;) {
        size_t size = sequence_size((const unsigned char *)p);
        json_t *part = size > 0 ? json_stringn(p, size) : NULL;
        if (part != NULL) {
            memcpy(mended + used, p, size);
            used += size;
            p += size;
        } else {
            memcpy(mended + used, "\xef\xbf\xbd", 3);
            used += 3;
            p++;
        }
        json_decref(part);
    }
    return json_stringn(mended, used);
}

json_t *json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *json_count(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

json_t *json_time(uint64_t unix_us)
{
    char text[TIME_TEXT_SIZE];

    if (unix_us == 0)
        return json_null();
    time_text(unix_us, text);
    return json_string(text);
}

json_t *json_hlc(uint64_t hlc)
{
    char text[17];

    (void)snprintf(text, sizeof text, "%016" PRIx64, hlc);
    return json_string(text);
}

json_t *json_id(const uint8_t *bytes)
{
    struct node_id id = node_id_of(bytes);
    char text[NODE_ID_TEXT_SIZE];

    node_id_format(&id, text);
    return json_string(text);
}

json_t *json_coverage(const argus_Coverage *coverage)
{
    json_t *zones = json_array();

    for (pb_size_t i = 0; i < coverage->zones_count; i++)
        (void)json_array_append_new(zones, json_text(coverage->zones[i]));
    return json_pack(
        "{s:I, s:I, s:o, s:I, s:o, s:I}", "known", (json_int_t)coverage->known,
        "contributed", (json_int_t)coverage->contributed, "oldest_s",
        json_number(coverage->oldest_s), "cut_off",
        (json_int_t)coverage->cut_off, "zones", zones, "publishers_missing",
        (json_int_t)coverage->publishers_missing);
}

void json_print(json_t *object)
{
    (void)json_dumpf(object, stdout, DUMP_FLAGS);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
    json_decref(object);
}

static int add_text(const char *text, size_t size, void *context)
{
    struct json_rows *rows = context;

    if (rows->room - rows->used < size) {
        rows->room = 2 * rows->room + size + 4096;
        rows->text = memory_must(realloc(rows->text, rows->room));
    }
    memcpy(rows->text + rows->used, text, size);
    rows->used += size;
    return 0;
}

void json_rows_add(struct json_rows *rows, json_t *row)
{
    if (rows->used > 0)
        (void)add_text(",", 1, rows);
    (void)json_dump_callback(row, add_text, rows, DUMP_FLAGS);
    json_decref(row);
}

void json_rows_print(const struct json_rows *rows, const char *name,
                     const argus_Coverage *coverage)
{
    json_t *last = json_coverage(coverage);

    (void)printf("{\"%s\":[", name);
    if (rows->used > 0)
        (void)fwrite(rows->text, 1, rows->used, stdout);
    (void)fputs("],\"coverage\":", stdout);
    (void)json_dumpf(last, stdout, DUMP_FLAGS);
    (void)fputs("}\n", stdout);
    (void)fflush(stdout);
    json_decref(last);
}

void json_rows_free(struct json_rows *rows)
{
    free(rows->text);
    *rows = (struct json_rows){0};
}

const char *role_text(argus_Role role)
{
    switch (role) {
    case argus_Role_ROLE_AGENT: return "agent";
    case argus_Role_ROLE_AGGREGATOR: return "aggregator";
    }
    return "unknown"; /* of a newer version */
}

const char *node_state_text(argus_NodeState state)
{
    switch (state) {
    case argus_NodeState_NODE_ALONE: return "alone";
    case argus_NodeState_NODE_JOINED: return "joined";
    case argus_NodeState_NODE_ISOLATED: return "isolated";
    }
    return "unknown";
}

const char *member_state_text(argus_MemberState state)
{
    switch (state) {
    case argus_MemberState_MEMBER_UNKNOWN: return "unknown";
    case argus_MemberState_MEMBER_ONLINE: return "online";
    case argus_MemberState_MEMBER_SUSPECT: return "suspect";
    case argus_MemberState_MEMBER_OFFLINE: return "offline";
    case argus_MemberState_MEMBER_LEFT: return "left";
    }
    return "unknown";
}

const char *severity_text(argus_Severity severity)
{
    switch (severity) {
    case argus_Severity_SEVERITY_NONE: return "NONE";
    case argus_Severity_SEVERITY_FAILURE: return "FAILURE";
    case argus_Severity_SEVERITY_WARNING: return "WARNING";
    case argus_Severity_SEVERITY_OKAY: return "OKAY";
    }
    return "NONE";
}

bool severity_parse(const char *text, argus_Severity *out)
{
    static const argus_Severity all[] = {argus_Severity_SEVERITY_FAILURE,
                                         argus_Severity_SEVERITY_WARNING,
                                         argus_Severity_SEVERITY_OKAY};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcasecmp(text, severity_text(all[i])) == 0) {
            *out = all[i];
            return true;
        }
    return false;
}
