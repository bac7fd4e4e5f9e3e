// SPDX-License-Identifier: Apache-2.0
// Fixtures made by PyTorch (tools/golden): a model and the values of its stages.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <samed/weights/model_file.hpp>

namespace samed_test {

/// A named array of a fixture.
struct Stage {
    std::vector<int> shape;
    std::vector<float> values;

    int size(int axis) const { return shape[static_cast<std::size_t>(axis)]; }
};

inline Stage read_stage(samed::Safetensors const& file, std::string const& name) {
    auto const* info = file.find(name);
    REQUIRE_MESSAGE(info != nullptr, name);
    Stage s;
    s.shape.assign(info->shape.begin(), info->shape.end());
    s.values.resize(static_cast<std::size_t>(info->count()));
    if (info->dtype == samed::DType::i32) {
        std::vector<std::int32_t> integers(s.values.size());
        REQUIRE(file.read_raw(*info, 0, integers.size() * 4, integers.data()).has_value());
        std::transform(integers.begin(), integers.end(), s.values.begin(), [](std::int32_t i) { return static_cast<float>(i); });
    } else {
        REQUIRE(file.read_f32(*info, 0, info->count(), s.values.data()).has_value());
    }
    return s;
}

struct GoldenCase {
    samed::ModelFile model;
    samed::Safetensors stages;

    static GoldenCase open(std::string const& name) {
        std::string const folder = std::string(SAMED_TEST_DATA) + "/golden/" + name + "/";
        auto model = samed::ModelFile::open(folder + "model.safetensors");
        REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().message()));
        auto stages = samed::Safetensors::open(folder + "stages.safetensors");
        REQUIRE_MESSAGE(stages.has_value(), (stages ? "" : stages.error().message()));
        return {*std::move(model), *std::move(stages)};
    }
    Stage stage(std::string const& name) const { return read_stage(stages, name); }
};

/// [1, C, H, W] to [H, W, C]: features are channels-last in this library.
inline std::vector<float> channels_last(Stage const& s) {
    int const batch = s.size(0), channels = s.size(1), pixels = s.size(2) * s.size(3);
    std::vector<float> out(s.values.size());
    for (int b = 0; b < batch; ++b)
        for (int c = 0; c < channels; ++c)
            for (int p = 0; p < pixels; ++p)
                out[static_cast<std::size_t>((b * pixels + p) * channels + c)] = s.values[static_cast<std::size_t>((b * channels + c) * pixels + p)];
    return out;
}

/// max|a - b| / max|b|
template <class T>
double relative_error(T const* a, std::vector<float> const& b) {
    double largest = 0, error = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        largest = std::max(largest, std::fabs(double{b[i]}));
        double const difference = std::fabs(static_cast<double>(a[i]) - b[i]);
        if (!(difference <= error)) error = difference;  // NaN counts as an error
    }
    return error / largest;
}

}  // namespace samed_test
