/* SPDX-License-Identifier: Apache-2.0
 * The C interface: load, segment, read the error, free. 07_c_interface_library.cpp holds its definitions. */
#include <samed/samed_c.h>

#include <stdio.h>
#include <stdlib.h>

enum { HEIGHT = 96, WIDTH = 128 };

int main(int argc, char** argv) {
    samed_model* model;
    samed_error error;
    if (argc != 2) return 2;

    /* Bad input is an answer, never a crash. */
    if (samed_open("no_such_file.safetensors", 0, &model, &error) != SAMED_IO_FAILURE) return 1;
    printf("as expected: %s\n", error.message);

    if (samed_open(argv[1], 0, &model, &error) != SAMED_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 2;
    }
    float* pixels = malloc(sizeof *pixels * HEIGHT * WIDTH);
    uint8_t* labels = malloc(HEIGHT * WIDTH);
    for (int i = 0; i < HEIGHT * WIDTH; ++i) pixels[i] = (float)(i % 256);

    samed_status status = samed_segment(model, pixels, HEIGHT, WIDTH, 1, labels, &error);
    if (status == SAMED_OK) {
        for (int label = 1; label <= samed_class_count(model); ++label) {
            int count = 0;
            for (int i = 0; i < HEIGHT * WIDTH; ++i) count += labels[i] == label;
            printf("%-28s %6d pixels\n", samed_class_name(model, label), count);
        }
    } else {
        fprintf(stderr, "%s\n", error.message);
    }
    free(labels);
    free(pixels);
    samed_free(model);
    return status;
}
