/* frame.h - bytes <-> messages: a length of 4 bytes, big endian, then one
 * nanopb message. Strict: a frame that is too long, does not parse, or leaves
 * the bounds of proto/argus.options is refused with a text that says which. */
#ifndef ARGUS_WIRE_FRAME_H
#define ARGUS_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include <pb.h>

#include "argus.pb.h"
#include "base/status.h"

/** Versions of the protocol this program speaks, lowest and highest. */
#define ARGUS_PROTOCOL_MIN 1
#define ARGUS_PROTOCOL 1

#define FRAME_HEADER_SIZE 4

/** Longest message of any type on a link or the control socket. */
#define FRAME_BODY_MAX 65535

/** Longest message that an unknown peer may send: a Hello. */
#define FRAME_HELLO_MAX 1024

/**
 * Length of the message that follows a header.
 * @retval ARGUS_EFULL  longer than body_max; err names both.
 * @return the length, >= 0.
 */
int frame_length(const uint8_t header[FRAME_HEADER_SIZE], size_t body_max,
                 struct argus_error *err);

/**
 * Encode header and message.
 * @param fields  such as argus_Frame_fields.
 * @return bytes written, or ARGUS_EFULL when they do not fit in out.
 */
int frame_encode(const pb_msgdesc_t *fields, const void *message, uint8_t *out,
                 size_t out_size, struct argus_error *err);

/**
 * Decode the message behind a header. Presence is checked (a Frame without a
 * body is refused) and so are ranges that .options cannot express.
 * @retval ARGUS_ECORRUPT  with nanopb's reason in err.
 */
int frame_decode(const uint8_t *body, size_t size, argus_Frame *frame,
                 struct argus_error *err);
int request_decode(const uint8_t *body, size_t size, argus_Request *request,
                   struct argus_error *err);
int reply_decode(const uint8_t *body, size_t size, argus_Reply *reply,
                 struct argus_error *err);

#endif
