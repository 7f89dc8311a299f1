#include "core/digest.h"

#include <math.h>
#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "base/text.h"

enum app_from { APP_NONE, APP_INSTANCE, APP_PLUGIN, APP_NAMED };

#define RATE_ONE 65 /* the code of one value a second */
#define RATE_CODE_MAX 200

uint32_t digest_rate_code(double rate)
{
    if (!(rate > 0))
        return 1;
    double code = RATE_ONE + 4 * log2(rate);
    return code < 2               ? 2
           : code > RATE_CODE_MAX ? RATE_CODE_MAX
                                  : (uint32_t)lround(code);
}

double digest_rate_of(uint32_t code)
{
    if (code <= 1)
        return 0;
    if (code > RATE_CODE_MAX)
        code = RATE_CODE_MAX;
    return exp2(((double)code - RATE_ONE) / 4);
}

/* ------------------------------------------------------------- writing */

void digest_begin(struct digest *d, const char *node, uint64_t started_ms,
                  uint8_t *out, size_t max)
{
    *d = (struct digest){.out = out, .max = max, .started_ms = started_ms};
    text_copy(d->before.host, sizeof d->before.host, node);
}

/* Seconds from the start on, and 1. */
static uint32_t second_of(const struct digest *d, uint64_t us)
{
    uint64_t start_us = d->started_ms * 1000;
    uint64_t seconds = us > start_us ? (us - start_us) / 1000000 : 0;

    return seconds < UINT32_MAX - 2 ? (uint32_t)seconds + 1 : UINT32_MAX - 1;
}

static uint32_t app_from(const struct digest_entry *e)
{
    if (e->app[0] == '\0')
        return APP_NONE;
    if (strcmp(e->app, e->plugin_instance) == 0)
        return APP_INSTANCE;
    return strcmp(e->app, e->plugin) == 0 ? APP_PLUGIN : APP_NAMED;
}

/* What is as before is left out. */
static void thin(argus_Publisher *p, const argus_Publisher *before)
{
    if (strcmp(p->host, before->host) == 0)
        p->host[0] = '\0';
    if (strcmp(p->plugin, before->plugin) == 0)
        p->plugin[0] = '\0';
    if (p->since == before->since)
        p->since = 0;
    if (p->rate == before->rate)
        p->rate = 0;
    if (p->silent == before->silent)
        p->silent = 0;
}

bool digest_put(struct digest *d, const struct digest_entry *e)
{
    argus_Publisher whole = argus_Publisher_init_zero, p;

    text_copy(whole.host, sizeof whole.host, e->host);
    text_copy(whole.plugin, sizeof whole.plugin, e->plugin);
    text_copy(whole.plugin_instance, sizeof whole.plugin_instance,
              e->plugin_instance);
    whole.app_from = app_from(e);
    if (whole.app_from == APP_NAMED)
        text_copy(whole.app, sizeof whole.app, e->app);
    whole.since = second_of(d, e->since_us);
    whole.rate = digest_rate_code(e->rate);
    whole.silent = e->silent_us == 0 ? 1 : second_of(d, e->silent_us) + 1;
    p = whole;
    thin(&p, &d->before);
    pb_ostream_t out =
        pb_ostream_from_buffer(d->out + d->size, d->max - d->size);
    if (!pb_encode_delimited(&out, argus_Publisher_fields, &p))
        return false;
    d->size += out.bytes_written;
    d->before = whole;
    return true;
}

/* ------------------------------------------------------------- reading */

void digest_open(struct digest_reader *r, const char *node, uint64_t started_ms,
                 const uint8_t *data, size_t size)
{
    *r = (struct digest_reader){
        .data = data, .size = size, .started_ms = started_ms};
    text_copy(r->p.host, sizeof r->p.host, node);
}

static uint64_t us_of(const struct digest_reader *r, uint32_t second)
{
    return r->started_ms * 1000 + (uint64_t)(second - 1) * 1000000;
}

static const char *app_of(const argus_Publisher *p)
{
    switch (p->app_from) {
    case APP_INSTANCE: return p->plugin_instance;
    case APP_PLUGIN: return p->plugin;
    case APP_NAMED: return p->app;
    }
    return "";
}

bool digest_next(struct digest_reader *r, struct digest_entry *out)
{
    argus_Publisher *p = &r->p;

    if (r->size == 0 || r->is_broken)
        return false;
    p->plugin_instance[0] = p->app[0] = '\0';
    p->app_from = APP_NONE;
    pb_istream_t in = pb_istream_from_buffer(r->data, r->size);
    if (!pb_decode_ex(&in, argus_Publisher_fields, p,
                      PB_DECODE_NOINIT | PB_DECODE_DELIMITED) ||
        p->host[0] == '\0' || p->plugin[0] == '\0' || p->since == 0 ||
        p->silent == 0) {
        r->is_broken = true;
        return false;
    }
    r->data += r->size - in.bytes_left;
    r->size = in.bytes_left;
    *out = (struct digest_entry){
        .host = p->host,
        .plugin = p->plugin,
        .plugin_instance = p->plugin_instance,
        .app = app_of(p),
        .since_us = us_of(r, p->since),
        .silent_us = p->silent == 1 ? 0 : us_of(r, p->silent - 1),
        .rate = digest_rate_of(p->rate)};
    return true;
}
