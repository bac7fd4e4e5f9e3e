// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include <samed/io/checkpoint/pth.hpp>
#include <samed/io/npy.hpp>
#include <samed/samed.hpp>
#include <samed/samed_c_instance.hpp>
#if defined(WITH_IO)
#include <samed/io/image_file.hpp>
#include <samed/metrics/summary.hpp>
#include <samed/segment_volume.hpp>
#endif

int main(int, char** argv) {
    samed_model* model = nullptr;
    samed_error error;
    if (samed_open("absent.safetensors", 1, &model, &error) != SAMED_IO_FAILURE || model) return 1;
    std::puts(error.message);
    if (samed_open(argv[1], 1, &model, &error) != SAMED_OK) return std::puts(error.message), 1;
    float pixels[24 * 24] = {};
    std::uint8_t labels[24 * 24];
    samed_status const status = samed_segment(model, pixels, 24, 24, 1, labels, &error);
    samed_free(model);
#if defined(WITH_IO)
    if (samed::Volume::read("absent.nii.gz") || samed::read_image("absent.png") || samed::read_npy("absent.npy")) return 1;
#endif
    return status;
}
