/* SPDX-License-Identifier: Apache-2.0
 *
 * The library for C, and for every language that calls C. One C++ file of the program holds the definitions:
 *
 *     #include <samed/samed_c_instance.hpp>
 *
 * Every function may be called from any thread; a model may be used by several at once. Pointers to errors may be null.
 */
#ifndef SAMED_C_H
#define SAMED_C_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum samed_status {
    SAMED_OK = 0,
    SAMED_IO_FAILURE,
    SAMED_TRUNCATED,
    SAMED_BAD_FORMAT,
    SAMED_UNSUPPORTED,
    SAMED_MISSING_TENSOR,
    SAMED_UNEXPECTED_TENSOR,
    SAMED_SHAPE_MISMATCH,
    SAMED_DTYPE_MISMATCH,
    SAMED_NOT_FINITE,
    SAMED_OUT_OF_RANGE,
    SAMED_TOO_LARGE,
    SAMED_BASE_MISMATCH,
    SAMED_INVALID_ARGUMENT,
    SAMED_UNKNOWN_NAME,
    SAMED_SELF_TEST_FAILED,
    SAMED_OUT_OF_MEMORY,
    SAMED_CANCELLED,
    SAMED_NO_DEVICE,
    SAMED_DEVICE_FAILURE
} samed_status;

/* What went wrong, in one line for a person: file, field, expected, found. Written only by a call that fails. */
typedef struct samed_error {
    char message[1024];
} samed_error;

typedef struct samed_model samed_model;

/* Opens a model file.
 *   threads  that one call uses; 0 = all cores
 *   model    receives the model; null after a failure */
samed_status samed_open(char const* path, int threads, samed_model** model, samed_error* error);

/* Opens an adapter file on the base that it was trained on. */
samed_status samed_open_adapter(char const* base, char const* adapter, int threads, samed_model** model, samed_error* error);

/* Null is allowed. */
void samed_free(samed_model* model);

/* Classes without the background; 0 for a model that needs prompts. */
int samed_class_count(samed_model const* model);

/* Name of class 1..count, which lives as long as the model; null outside that range. */
char const* samed_class_name(samed_model const* model, int label);

/* One label a pixel: 0 = background, k = the model's class k.
 *   pixels    [height, width, channels], row-major, in the units that the model was trained on (Hounsfield units, 0..255, ...)
 *   channels  1 or 3
 *   labels    [height, width], all written on success */
samed_status samed_segment(samed_model const* model, float const* pixels, int height, int width, int channels, uint8_t* labels,
                           samed_error* error);

/* The object in a box, for models that need prompts (SAM).
 *   box   x0, y0, x1, y1 in pixels of the image
 *   mask  [height, width] of 0 and 1, all written on success
 *   iou   receives the model's own estimate of the mask's quality, or null */
samed_status samed_segment_box(samed_model const* model, float const* pixels, int height, int width, int channels, float const box[4],
                               uint8_t* mask, float* iou, samed_error* error);

#ifdef __cplusplus
}
#endif

#endif
