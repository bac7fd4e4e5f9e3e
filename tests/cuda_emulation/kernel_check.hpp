// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <functional>
#include <stdexcept>
#include <vector>

#include <doctest/doctest.h>

#include "emulated_context.hpp"

namespace samed_test {

/// How far a twin may lie from the reference, relative to the largest value: what its storage rounds.
template <class T>
constexpr float storage_error() {
    return std::is_same_v<T, float> ? 2e-6f : std::is_same_v<T, samed::Half> ? 2e-3f : 1.6e-2f;
}

/// `count` values in [-1, 1], rounded to T, and the same as f32.
template <class T>
struct Values {
    std::vector<T> stored;
    std::vector<float> f32;

    Values(std::size_t count, unsigned seed) : stored(count), f32(count) {
        std::mt19937 random(seed);
        std::uniform_real_distribution<float> uniform(-1, 1);
        for (std::size_t i = 0; i < count; ++i) {
            stored[i] = samed::simt::store<T>(uniform(random));
            f32[i] = samed::simt::load(stored[i]);
        }
    }
    T const* data() const { return stored.data(); }
};

/// max |found - expected| / max |expected|; NaN and infinity count as 1e30.
template <class T>
float relative_error(std::vector<T> const& found, std::vector<float> const& expected) {
    float worst = 0, scale = 1e-20f;
    for (float x : expected) scale = std::max(scale, std::abs(x));
    for (std::size_t i = 0; i < expected.size(); ++i) {
        float const d = std::abs(samed::simt::load(found[i]) - expected[i]);
        worst = std::max(worst, std::isfinite(d) ? d : 1e30f);
    }
    return worst / scale;
}

/// `run(emulation)` launches a kernel and returns its relative error. Passes in several orders of threads; and with any one of its
/// barriers removed, at least one of these orders fails or stops.
inline void check_every_barrier(float bound, std::function<float(Emulation&)> const& run, int orders = 4) {
    std::set<BarrierSite> sites;
    for (int seed = 1; seed <= orders; ++seed) {
        Emulation e{std::uint64_t(seed)};
        CHECK(run(e) <= bound);
        sites.insert(e.barriers.begin(), e.barriers.end());
    }
    for (BarrierSite const& site : sites) {
        bool seen = false;
        for (int seed = 1; seed <= 4 * orders && !seen; ++seed) {
            Emulation e{std::uint64_t(seed), site};
            try {
                seen = !(run(e) <= bound);
            } catch (std::runtime_error const&) {
                seen = true;
            }
        }
        INFO("without the barrier at ", site.first, ":", site.second);
        CHECK(seen);
    }
}

}  // namespace samed_test
