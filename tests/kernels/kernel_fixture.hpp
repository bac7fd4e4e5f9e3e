// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include <samed/backend/cpu_context.hpp>
#include <samed/backend/reference_context.hpp>

namespace kernel_test {

using namespace samed;
using kernels::Activation;

inline std::vector<Isa> isas() {
    std::vector<Isa> all;
    for (Isa isa : {Isa::portable, Isa::neon, Isa::avx2, Isa::avx512})
        if (supports(isa)) all.push_back(isa);
    return all;
}
inline std::vector<Isa> fused_isas() {
    std::vector<Isa> all = isas();
    all.erase(all.begin());
    return all;
}

class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed * 2654435761u + 88172645463325252u) {}
    std::uint64_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        return state_ ^= state_ << 17;
    }
    int below(int n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
    int between(int low, int high) { return low + below(high - low + 1); }
    float uniform(float scale = 1) { return scale * (static_cast<float>(next() >> 40) * 0x1p-23f - 1.0f); }
    std::vector<float> vector(std::size_t count, float scale = 1) {
        std::vector<float> v(count);
        for (float& x : v) x = uniform(scale);
        return v;
    }

private:
    std::uint64_t state_;
};

inline std::vector<double> widened(std::vector<float> const& v) {
    return {v.begin(), v.end()};
}
inline double const* data_or_null(std::vector<double> const& v) {
    return v.empty() ? nullptr : v.data();
}
inline float const* data_or_null(std::vector<float> const& v) {
    return v.empty() ? nullptr : v.data();
}

/// One weight as a context keeps it.
template <class C>
class Weight {
public:
    Weight(C& c, int n, int k, Precision precision, std::vector<float> const& source)
        : n_(n), k_(k), precision_(precision), bytes_(c.packed_bytes(n, k, precision)) {
        constexpr int block = C::row_block * 2;
        for (int row = 0; row < n; row += block) {
            int const rows = n - row < block ? n - row : block;
            c.pack_rows(bytes_.data(), n, k, precision, row, rows, source.data() + std::size_t(row) * std::size_t(k));
        }
    }
    typename C::Matrix matrix(C& c) const { return c.matrix(bytes_.data(), n_, k_, precision_); }

private:
    int n_, k_;
    Precision precision_;
    std::vector<std::byte> bytes_;
};

/// Plans the op, reserves exactly that, runs it, and checks that the run took what the plan said and gave all of it back.
template <class Op>
void run_planned(CpuContext& c, Op op) {
    std::size_t const bytes = c.plan([&] { op(c); });
    bool const fresh = c.arena().capacity_bytes() == 0;
    REQUIRE(c.reserve(bytes));
    op(c);
    CHECK(c.arena().peak_bytes() <= c.arena().capacity_bytes());
    if (fresh) CHECK(c.arena().peak_bytes() == bytes);
    CHECK(c.arena().used_bytes() == 0);
}

inline double largest_difference(std::vector<float> const& a, std::vector<double> const& b) {
    double largest = 0;
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        double const d = std::abs(double(a[i]) - b[i]);
        if (!(d <= largest)) largest = d;  // NaN counts as a difference
    }
    return largest;
}
inline bool same_bits(std::vector<float> const& a, std::vector<float> const& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// FNV-1a of the bits.
inline std::uint64_t fingerprint(std::vector<float> const& v) {
    std::uint64_t hash = 14695981039346656037u;
    for (float x : v) hash = (hash ^ std::bit_cast<std::uint32_t>(x)) * 1099511628211u;
    return hash;
}

}  // namespace kernel_test
