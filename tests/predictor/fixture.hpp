// SPDX-License-Identifier: Apache-2.0
// What the public segment_anything package answered (tools/golden/make_predictor_fixtures.py).
#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <unistd.h>
#include <vector>

#include <samed/any_model.hpp>
#include <samed/image/image.hpp>
#include <samed/io/safetensors.hpp>
#include <samed/masks/rle.hpp>

namespace samed_test {

inline std::string golden(std::string const& name) { return std::string(SAMED_TEST_DATA) + "/golden/" + name; }

inline samed::AnyModel open_model(std::string const& name) {
    auto model = samed::AnyModel::open(golden(name), {.threads = 2, .precision = "f32", .live_lora = false});
    REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().message()));
    return *std::move(model);
}

/// The error of a call that must fail.
template <class T>
samed::Error error_of(samed::Result<T> const& result) {
    REQUIRE(!result.has_value());
    return result.error();
}

struct TemporaryFile {
    std::string path;
    explicit TemporaryFile(std::string const& name)
        : path((std::filesystem::temp_directory_path() / ("samed_predictor_test_" + std::to_string(::getpid()) + "_" + name)).string()) {}
    ~TemporaryFile() { std::filesystem::remove(path); }
};

template <class T>
struct Array {
    std::vector<std::int64_t> shape;
    std::vector<T> values;
};

class Fixture {
public:
    Fixture() : file_(samed::Safetensors::open(golden("predictor.safetensors"))) {
        REQUIRE_MESSAGE(file_.has_value(), (file_ ? "" : file_.error().message()));
    }

    template <class T>
    Array<T> read(std::string const& name) const {
        auto const* info = file_->find(name);
        REQUIRE_MESSAGE(info != nullptr, name);
        REQUIRE(static_cast<std::size_t>(samed::size_bytes(info->dtype)) == sizeof(T));
        Array<T> a{info->shape, std::vector<T>(static_cast<std::size_t>(info->count()))};
        REQUIRE(file_->read_raw(*info, 0, a.values.size() * sizeof(T), a.values.data()).has_value());
        return a;
    }
    std::string note(std::string const& key) const {
        REQUIRE_MESSAGE(file_->metadata().contains(key), key);
        return file_->metadata().find(key)->second;
    }

    /// `name`.runs and `name`.run_counts
    std::vector<samed::Rle> masks(std::string const& name, int height, int width) const {
        auto const runs = read<std::int32_t>(name + ".runs").values;
        std::vector<samed::Rle> out;
        auto at = runs.begin();
        for (std::int32_t count : read<std::int32_t>(name + ".run_counts").values) {
            out.push_back({height, width, {at, at + count}});
            at += count;
        }
        return out;
    }

private:
    samed::Result<samed::Safetensors> file_;
};

/// An image of the fixture, [H, W, channels].
struct Picture {
    Array<std::uint8_t> pixels;
    int height, width;

    Picture(Fixture const& fixture, std::string const& name)
        : pixels(fixture.read<std::uint8_t>(name)), height(static_cast<int>(pixels.shape[0])), width(static_cast<int>(pixels.shape[1])) {}
    samed::ImageView<std::uint8_t const> view() const {
        return samed::interleaved<std::uint8_t const>(pixels.values.data(), height, width, pixels.shape.size() == 3 ? 3 : 1);
    }
};

inline double iou(std::vector<std::uint8_t> const& a, std::uint8_t const* b) {
    double both = 0, any = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        both += a[i] && b[i];
        any += a[i] || b[i];
    }
    return any == 0 ? 1 : both / any;
}

inline std::vector<std::uint8_t> pixels_of(samed::Rle const& rle) {
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(rle.height) * static_cast<std::size_t>(rle.width));
    samed::masks::decode_rle(rle, mask.data());
    return mask;
}

}  // namespace samed_test
