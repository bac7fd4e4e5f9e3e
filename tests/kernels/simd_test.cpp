// SPDX-License-Identifier: Apache-2.0
#include "kernel_fixture.hpp"

#include <limits>

using namespace kernel_test;

#define SAMED_SIMD_FILE "../../../../tests/kernels/simd_functions.inc"  // seen from core/simd
#include <samed/core/simd/for_each_isa.hpp>

namespace {

std::vector<float> exp_of(Isa isa, std::vector<float> const& x) {
    std::vector<float> y(x.size());
    SAMED_ISA_CALL(isa, exp_all, x.data(), y.data(), static_cast<int>(x.size()));
    return y;
}
std::vector<float> gelu_of(Isa isa, std::vector<float> const& x) {
    std::vector<float> y(x.size());
    SAMED_ISA_CALL(isa, gelu_all, x.data(), y.data(), static_cast<int>(x.size()));
    return y;
}
std::vector<float> spread(float low, float high, int count) {
    std::vector<float> x(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) x[i] = low + (high - low) * static_cast<float>(i) / static_cast<float>(count - 1);
    return x;
}

}  // namespace

TEST_SUITE("core/simd") {
    TEST_CASE("exp is within 2 ulp of the exact value from -87.3 to 88, 2^-126 below, NaN for NaN") {
        auto const x = spread(-87.3f, 88, 1 << 16);
        std::vector<float> first;
        for (Isa isa : isas()) {
            auto const y = exp_of(isa, x);
            double largest = 0;
            for (std::size_t i = 0; i < x.size(); ++i) {
                double const exact = std::exp(double(x[i]));
                largest = std::max(largest, std::abs(double(y[i]) - exact) / exact);
            }
            CHECK(largest < 2 * 0x1p-23);
            if (isa == Isa::portable) continue;
            if (first.empty()) first = y;
            CHECK(same_bits(y, first));
        }
        float const inf = std::numeric_limits<float>::infinity();
        for (Isa isa : isas()) {
            float const odd_nan = std::bit_cast<float>(0x7fc00001u);
            auto const y = exp_of(isa, {0, -0.0f, -88, -1e30f, -inf, std::nanf(""), odd_nan, -std::nanf(""), 0, 0, 0, 0, 0, 0, 0, 0});
            CHECK(y[0] == 1.0f);
            CHECK(y[1] == 1.0f);
            for (int i : {2, 3, 4}) CHECK(y[i] == doctest::Approx(0x1p-126));
            for (int i : {5, 6, 7}) CHECK(std::isnan(y[i]));
        }
    }

    TEST_CASE("gelu is within 2e-7 |x| of the exact erf form") {
        auto const x = spread(-30, 30, 1 << 16);
        std::vector<float> first;
        for (Isa isa : isas()) {
            auto const y = gelu_of(isa, x);
            double largest = 0;
            for (std::size_t i = 0; i < x.size(); ++i) {
                double const v = x[i], exact = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
                largest = std::max(largest, std::abs(double(y[i]) - exact) / std::max(std::abs(v), 1e-3));
            }
            CHECK(largest < 2e-7);
            if (isa == Isa::portable) continue;
            if (first.empty()) first = y;
            CHECK(same_bits(y, first));
        }
    }

    TEST_CASE("partial loads and stores touch exactly their lanes; sums use one tree; transpose turns rows into columns") {
        for (Isa isa : isas()) {
            CAPTURE(name(isa));
            CHECK(SAMED_ISA_CALL(isa, lanes_are_right));
        }
    }
}
