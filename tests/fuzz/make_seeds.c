/* make_seeds.c - writes the seeds: make_seeds FOLDER, which then holds a folder
 * for each target. Messages are filled field by field from the schema, so each
 * type of message is there once, and twice where it is short and long. The same
 * on each run. */
#include "seeds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <pb_common.h>
#include <pb_encode.h>

static const char *base;
struct prng prng;

/* ------------------------------------------------------------- the output */

static struct {
    uint8_t bytes[1 << 18];
    size_t used;
} out;

void put(const void *data, size_t size)
{
    if (size > sizeof out.bytes - out.used)
        abort();
    memcpy(out.bytes + out.used, data, size);
    out.used += size;
}

void put_number(uint64_t number, size_t size)
{
    for (size_t i = size; i > 0; i--) {
        uint8_t byte = (uint8_t)(number >> (8 * (i - 1)));
        put(&byte, 1);
    }
}

void put_part(const void *data, size_t size)
{
    put_number(size, 2);
    put(data, size);
}

void put_text(const char *text)
{
    put_part(text, strlen(text));
}

void write_seed(const char *target, const char *name)
{
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/%s", base, target);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        abort();
    (void)snprintf(path, sizeof path, "%s/%s/%s", base, target, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(out.bytes, 1, out.used, file) != out.used ||
        fclose(file) != 0)
        abort();
    out.used = 0;
}

/* ------------------------------------------------------ messages, filled */

static uint64_t small(void)
{
    return 1 + prng_below(&prng, 5);
}

static void fill_text(char *text, size_t size, bool is_long)
{
    static const char letters[] = "abcdefghij.-_/:=*0123456789 ";
    size_t length = is_long ? size - 1 : prng_below(&prng, 9);

    if (length >= size)
        length = size - 1;
    for (size_t i = 0; i < length; i++)
        text[i] = letters[prng_below(&prng, sizeof letters - 1)];
    text[length] = '\0';
}

static void fill_bytes(uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)prng_next(&prng);
}

static void fill_value(const pb_field_iter_t *field, void *value, bool is_long)
{
    uint64_t number = small();

    switch (PB_LTYPE(field->type)) {
    case PB_LTYPE_STRING: fill_text(value, field->data_size, is_long); break;
    case PB_LTYPE_FIXED_LENGTH_BYTES:
        fill_bytes(value, field->data_size);
        break;
    case PB_LTYPE_BYTES: {
        pb_bytes_array_t *array = value;
        size_t room = field->data_size - offsetof(pb_bytes_array_t, bytes);
        array->size = (pb_size_t)(is_long && room <= 64 ? room : room / 40);
        fill_bytes(array->bytes, array->size);
        break;
    }
    case PB_LTYPE_SUBMESSAGE:
    case PB_LTYPE_SUBMSG_W_CB:
        fill(field->submsg_desc, value, is_long, 0);
        break;
    default: memcpy(value, &number, field->data_size); break;
    }
}

static void fill_field(pb_field_iter_t *field, bool is_long)
{
    pb_size_t count = 1;

    if (PB_HTYPE(field->type) == PB_HTYPE_REPEATED) {
        count = (pb_size_t)(is_long ? 2 : prng_below(&prng, 3));
        if (count > field->array_size)
            count = field->array_size;
        *(pb_size_t *)field->pSize = count;
    } else if (PB_HTYPE(field->type) == PB_HTYPE_OPTIONAL &&
               field->pSize != NULL) {
        *(bool *)field->pSize = true;
    }
    for (pb_size_t i = 0; i < count; i++)
        fill_value(field, (char *)field->pData + i * field->data_size, is_long);
}

/* Of a oneof the field with that tag; 0: the first. */
void fill(const pb_msgdesc_t *fields, void *message, bool is_long,
          pb_size_t oneof_tag)
{
    pb_field_iter_t field;
    bool has_body = false;

    if (!pb_field_iter_begin(&field, fields, message))
        return;
    do {
        if (PB_HTYPE(field.type) == PB_HTYPE_ONEOF) {
            if (has_body || (oneof_tag != 0 && field.tag != oneof_tag))
                continue;
            has_body = true;
            *(pb_size_t *)field.pSize = field.tag;
            fill_value(&field, field.pData, is_long);
        } else {
            fill_field(&field, is_long);
        }
    } while (pb_field_iter_next(&field));
}

union seed_message m;
uint8_t bytes[1 << 16];

size_t pack(const pb_msgdesc_t *fields, uint8_t *to, size_t room)
{
    pb_ostream_t stream = pb_ostream_from_buffer(to, room);

    if (!pb_encode(&stream, fields, &m)) {
        fprintf(stderr, "cannot encode: %s\n", PB_GET_ERROR(&stream));
        abort();
    }
    return stream.bytes_written;
}

/* A batch must be even to be one. */
static void even_out(argus_Batch *b)
{
    b->number_step_count = b->time_step_count = b->series_count;
}

size_t make(const pb_msgdesc_t *fields, pb_size_t tag, bool is_long,
            uint8_t *to, size_t room)
{
    memset(&m, 0, sizeof m);
    fill(fields, &m, is_long, tag);
    if (fields == argus_Frame_fields && tag == argus_Frame_batch_tag)
        even_out(&m.frame.body.batch);
    return pack(fields, to, room);
}

int main(int argc, char **argv)
{
    static void (*const makers[])(void) = {
        seed_frame,        seed_pair,          seed_engine,
        seed_agent,        seed_aggregator,    seed_bundles,
        seed_members,      seed_control,       seed_conn,
        seed_rows,         seed_keys,          seed_vet,
        seed_orders,       seed_event_answers, seed_event_questions,
        seed_reach,        seed_sums,          seed_summaries,
        seed_events,       seed_twin_events,   seed_twin_values,
        seed_twin_bundles, seed_twin_members,  seed_membership,
        seed_statements,   seed_rules,         seed_bundle_rules,
        seed_key_files,    seed_tables,        seed_verbs,
        seed_vet_refusals, seed_handshakes,    seed_asked,
        seed_joins,        seed_reached,       seed_items,
        seed_event_items,  seed_event_keys,    seed_twin_pieces,
        seed_certificates, seed_hangups,       seed_reports};

    if (argc != 2) {
        fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    base = argv[1];
    if (mkdir(base, 0755) != 0 && errno != EEXIST) {
        perror(base);
        return 1;
    }
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        prng_seed(&prng, i); /* of its own: the others stay as they are */
        makers[i]();
    }
    return 0;
}
