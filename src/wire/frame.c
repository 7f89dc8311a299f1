#include "wire/frame.h"

#include <limits.h>

#include <pb_decode.h>
#include <pb_encode.h>

int frame_length(const uint8_t header[FRAME_HEADER_SIZE], size_t body_max,
                 struct argus_error *err)
{
    uint32_t length = (uint32_t)header[0] << 24 | (uint32_t)header[1] << 16 |
                      (uint32_t)header[2] << 8 | (uint32_t)header[3];

    if (length > body_max)
        return argus_fail(err, ARGUS_EFULL,
                          "a frame of %u bytes, at most %zu are allowed",
                          length, body_max);
    return (int)length;
}

int frame_encode(const pb_msgdesc_t *fields, const void *message, uint8_t *out,
                 size_t out_size, struct argus_error *err)
{
    if (out_size < FRAME_HEADER_SIZE)
        return argus_fail(err, ARGUS_EFULL, "no room for a frame header");

    size_t room = out_size - FRAME_HEADER_SIZE;
    if (room > FRAME_BODY_MAX)
        room = FRAME_BODY_MAX;

    pb_ostream_t stream = pb_ostream_from_buffer(out + FRAME_HEADER_SIZE, room);
    if (!pb_encode(&stream, fields, message))
        return argus_fail(err, ARGUS_EFULL, "cannot encode: %s",
                          PB_GET_ERROR(&stream));

    uint32_t length = (uint32_t)stream.bytes_written;
    out[0] = (uint8_t)(length >> 24);
    out[1] = (uint8_t)(length >> 16);
    out[2] = (uint8_t)(length >> 8);
    out[3] = (uint8_t)length;
    return (int)(length + FRAME_HEADER_SIZE);
}

static int decode(const pb_msgdesc_t *fields, const uint8_t *body, size_t size,
                  void *message, struct argus_error *err)
{
    pb_istream_t stream = pb_istream_from_buffer(body, size);

    if (!pb_decode(&stream, fields, message))
        return argus_fail(err, ARGUS_ECORRUPT, "a frame of %zu bytes: %s", size,
                          PB_GET_ERROR(&stream));
    return ARGUS_OK;
}

/* The columns of a batch must agree in length; sums over data sources are
 * checked by whoever knows the series. */
static bool batch_is_even(const argus_Batch *b)
{
    return b->series_count == b->number_step_count &&
           b->series_count == b->time_step_count;
}

int frame_decode(const uint8_t *body, size_t size, argus_Frame *frame,
                 struct argus_error *err)
{
    int rc = decode(argus_Frame_fields, body, size, frame, err);
    if (rc != ARGUS_OK)
        return rc;
    if (frame->which_body == 0)
        return argus_fail(err, ARGUS_ECORRUPT,
                          "a frame of %zu bytes with no message known here",
                          size);
    if (frame->which_body == argus_Frame_batch_tag &&
        !batch_is_even(&frame->body.batch))
        return argus_fail(err, ARGUS_ECORRUPT,
                          "a batch with columns of unequal length");
    return ARGUS_OK;
}

int request_decode(const uint8_t *body, size_t size, argus_Request *request,
                   struct argus_error *err)
{
    int rc = decode(argus_Request_fields, body, size, request, err);
    if (rc == ARGUS_OK && request->which_body == 0)
        return argus_fail(err, ARGUS_ECORRUPT, "a verb not known here");
    return rc;
}

int reply_decode(const uint8_t *body, size_t size, argus_Reply *reply,
                 struct argus_error *err)
{
    int rc = decode(argus_Reply_fields, body, size, reply, err);
    if (rc == ARGUS_OK && reply->which_body == 0)
        return argus_fail(err, ARGUS_ECORRUPT, "an answer not known here");
    return rc;
}
