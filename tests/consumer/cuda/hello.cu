// SPDX-License-Identifier: Apache-2.0
// As hello.cpp, on a device. Exit code 3 where there is none.
#include <cstdint>
#include <cstdio>
#include <vector>

#include <samed/cuda.cuh>
#include <samed/variants/samed/samed.hpp>

int main(int, char** argv) {
    auto const model = samed::open_cuda<samed::variants::Samed<>>(argv[1]);
    if (!model)
        return std::fprintf(stderr, "%s\n", model.error().message().c_str()), model.error().code == samed::ErrorCode::no_device ? 3 : 1;
    std::vector<float> const image(64 * 48, 0.5f);
    std::vector<std::uint8_t> labels(64 * 48);
    auto const done = samed::segment(*model, samed::planar(image.data(), 64, 48), {labels.data(), {64, 48}});
    if (!done) return std::fprintf(stderr, "%s\n", done.error().message().c_str()), 1;
    std::printf("%zu labels\n", labels.size());
}
