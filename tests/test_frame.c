#include "test.h"

#include <string.h>

#include "wire/frame.h"

static argus_Frame in, out;
static uint8_t bytes[FRAME_HEADER_SIZE + FRAME_BODY_MAX];

static int encode_batch(pb_size_t series, pb_size_t steps)
{
    memset(&in, 0, sizeof in);
    in.which_body = argus_Frame_batch_tag;
    in.body.batch.series_count = series;
    in.body.batch.number_step_count = steps;
    in.body.batch.time_step_count = series;
    in.body.batch.gauges_count = series;
    return frame_encode(argus_Frame_fields, &in, bytes, sizeof bytes, NULL);
}

/* Goal: what goes in comes out, at the largest size too. */
static void test_largest_batch_survives(void)
{
    int size = encode_batch(1024, 1024);

    CU_ASSERT_TRUE_FATAL(size > 0);
    CU_ASSERT_EQUAL(frame_length(bytes, FRAME_BODY_MAX, NULL),
                    size - FRAME_HEADER_SIZE);
    CU_ASSERT_EQUAL(frame_decode(bytes + FRAME_HEADER_SIZE,
                                 (size_t)size - FRAME_HEADER_SIZE, &out, NULL),
                    ARGUS_OK);
    CU_ASSERT_EQUAL(out.body.batch.series_count, 1024);
    CU_ASSERT_TRUE(argus_Frame_size <= FRAME_BODY_MAX);
    CU_ASSERT_TRUE(argus_Reply_size <= FRAME_BODY_MAX);
}

/* Goal: each broken bound is refused with a text. */
static void test_bad_frames_are_refused(void)
{
    struct argus_error err = {{0}};
    const uint8_t huge[4] = {0xff, 0, 0, 0};
    const uint8_t unknown[] = {0xf8, 0x7f, 0x01}; /* a field from the future */

    CU_ASSERT_EQUAL(frame_length(huge, FRAME_BODY_MAX, &err), ARGUS_EFULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "4278190080"));

    CU_ASSERT_EQUAL(frame_decode(unknown, sizeof unknown, &out, &err),
                    ARGUS_ECORRUPT);
    CU_ASSERT_EQUAL(frame_decode(bytes, 0, &out, &err), ARGUS_ECORRUPT);

    int size = encode_batch(10, 9);
    CU_ASSERT_TRUE_FATAL(size > 0);
    CU_ASSERT_EQUAL(frame_decode(bytes + FRAME_HEADER_SIZE,
                                 (size_t)size - FRAME_HEADER_SIZE, &out, &err),
                    ARGUS_ECORRUPT);

    /* Every truncation of a real frame fails or still makes a whole frame. */
    size = encode_batch(10, 10);
    for (int cut = FRAME_HEADER_SIZE; cut < size; cut++) {
        int rc = frame_decode(bytes + FRAME_HEADER_SIZE,
                              (size_t)(cut - FRAME_HEADER_SIZE), &out, &err);
        CU_ASSERT_EQUAL(rc, ARGUS_ECORRUPT);
    }
}

CU_TestInfo suite_frame[] = {
    {"largest_batch_survives", test_largest_batch_survives},
    {"bad_frames_are_refused", test_bad_frames_are_refused},
    CU_TEST_INFO_NULL,
};
