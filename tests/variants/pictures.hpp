// SPDX-License-Identifier: Apache-2.0
// An image's way into a network and a mask's way out, against a fixture.
#pragma once

#include "../network_stages.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <samed/image/preprocess.hpp>

namespace samed_test {

/// An 8-bit picture [H, W, 3] of a fixture, as floats.
struct Picture {
    int height = 0, width = 0;
    std::vector<float> values;

    Picture(samed::Safetensors const& file, std::string const& name) {
        auto const* info = file.find(name);
        REQUIRE_MESSAGE(info != nullptr, name);
        height = static_cast<int>(info->shape[0]);
        width = static_cast<int>(info->shape[1]);
        std::vector<std::uint8_t> bytes(static_cast<std::size_t>(info->count()));
        REQUIRE(file.read_raw(*info, 0, bytes.size(), bytes.data()).has_value());
        values.assign(bytes.begin(), bytes.end());
    }
    samed::ImageView<float const> view() const { return samed::interleaved<float const>(values.data(), height, width, 3); }
};

/// Largest and mean difference of the network's input from a fixture's.
struct InputError {
    double largest = 0, mean = 0;

    InputError(Picture const& picture, samed::Recipe const& recipe, int size, std::vector<float> const& expected) {
        samed::PreprocessScratch scratch;
        std::vector<float> input(static_cast<std::size_t>(3 * size * size));
        REQUIRE(samed::preprocess(picture.view(), recipe, size, false, input.data(), scratch).has_value());
        REQUIRE(input.size() == expected.size());
        for (std::size_t i = 0; i < input.size(); ++i) {
            double const d = std::fabs(double{input[i]} - double{expected[i]});
            largest = std::max(largest, d);
            mean += d / static_cast<double>(input.size());
        }
    }
};

/// Of two masks, the second given by where `expected` is above `threshold`.
inline double mask_iou(std::uint8_t const* mask, std::vector<float> const& expected, float threshold) {
    double both = 0, any = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        bool const wanted = expected[i] > threshold;
        both += mask[i] && wanted;
        any += mask[i] || wanted;
    }
    REQUIRE(any > 0);
    return both / any;
}

}  // namespace samed_test
