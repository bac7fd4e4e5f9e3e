// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

namespace samed::train {

/// Draws that depend on a seed and a stream alone, on no history: what a step draws is the same in a resumed run.
class Random {
public:
    Random(std::uint64_t seed, std::uint64_t stream) : state_(mix(seed) ^ mix(stream + 0x632BE59BD9B4E019u)) {}
    Random(std::uint64_t seed, std::string_view stream) : Random(seed, hash(stream)) {}

    std::uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15u); }
    /// In [0, 1), 24 bits.
    float uniform() { return static_cast<float>(next() >> 40) * 0x1p-24f; }
    /// In [0, n).
    int below(int n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
    /// Standard normal.
    float normal() {
        double const radius = std::sqrt(-2 * std::log(1 - static_cast<double>(uniform())));
        return static_cast<float>(radius * std::cos(6.283185307179586 * static_cast<double>(uniform())));
    }

private:
    static std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    static std::uint64_t hash(std::string_view s) {
        std::uint64_t h = 14695981039346656037u;
        for (char c : s) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
        return h;
    }

    std::uint64_t state_;
};

}  // namespace samed::train
