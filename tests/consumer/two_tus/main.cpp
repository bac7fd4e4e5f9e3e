// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "everything.hpp"

int main(int, char** argv) {
    auto const model = samed::open<samed::Samed>(argv[1]);
    if (!model) return std::puts(model.error().message().c_str()), 1;
    int const count = labelled_pixels(argv[1]);
    std::printf("model of %d pixels, %d pixels labelled\n", model->model().image_size(), count);
    return count < 0;
}
