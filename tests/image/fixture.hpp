// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <samed/io/safetensors.hpp>

/// A file of tests/golden: image.safetensors, written by tools/golden/make_image_fixtures.py, or another.
class Fixtures {
public:
    explicit Fixtures(char const* name = "image.safetensors")
        : file_(samed::Safetensors::open(std::string(SAMED_TEST_DATA "/golden/") + name)) {
        REQUIRE(file_.has_value());
    }

    bool has(std::string const& name) const { return file_->find(name) != nullptr; }
    int size(std::string const& name, std::size_t axis) const { return static_cast<int>(info(name).shape.at(axis)); }

    /// Values in their stored type: float, double or std::uint8_t.
    template <class T>
    std::vector<T> get(std::string const& name) const {
        auto const& tensor = info(name);
        REQUIRE(samed::size_bytes(tensor.dtype) == static_cast<int>(sizeof(T)));
        std::vector<T> values(static_cast<std::size_t>(tensor.count()));
        REQUIRE(file_->read_raw(tensor, 0, values.size() * sizeof(T), values.data()).has_value());
        return values;
    }

private:
    samed::TensorInfo const& info(std::string const& name) const {
        auto const* tensor = file_->find(name);
        REQUIRE_MESSAGE(tensor != nullptr, name);
        return *tensor;
    }

    samed::Result<samed::Safetensors> file_;
};

/// Calls of operator new in this program so far; defined in allocation_test.cpp.
std::size_t allocation_count();

/// Number of values whose bits differ.
template <class T>
int differing(std::vector<T> const& a, std::vector<T> const& b) {
    REQUIRE(a.size() == b.size());
    int count = 0;
    for (std::size_t i = 0; i < a.size(); ++i) count += std::memcmp(&a[i], &b[i], sizeof(T)) != 0;
    return count;
}

/// The seeded image of the fixtures: splitmix64, 24 bits a pixel, in [0, 1).
inline std::vector<float> seeded_image(std::uint64_t seed, std::size_t count) {
    constexpr std::uint64_t golden = 0x9E3779B97F4A7C15u;
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        std::uint64_t x = seed * golden + i + golden;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
        x ^= x >> 31;
        values[i] = static_cast<float>(x >> 40) * 0x1p-24f;
    }
    return values;
}
