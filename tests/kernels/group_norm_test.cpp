// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <samed/backend/cpu_context.hpp>
#include <samed/backend/reference_context.hpp>

TEST_SUITE("kernels/group_norm") {
    TEST_CASE("[3, 1600, 12]: the CPU's is double precision's, the same bits for any number of threads, in place too") {
        samed::kernels::GroupNormArgs<float> g;
        g.batch = 3;
        g.pixels = 1600;
        g.channels = 12;
        std::vector<float> x(static_cast<std::size_t>(g.batch * g.pixels * g.channels)), weight(12), out(x.size());
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = 1000.0f + std::sin(0.37f * static_cast<float>(i)) * static_cast<float>(1 + i / 19200);
        for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = 0.5f + 0.1f * static_cast<float>(i);
        g.x = x.data();
        g.weight = weight.data();
        g.out = out.data();
        samed::CpuContext one(1), three(3);
        group_norm(one, g);

        std::size_t const image = x.size() / 3;
        for (std::size_t b = 0; b < 3; ++b) {
            long double mean = 0, variance = 0;
            for (std::size_t i = 0; i < image; ++i) mean += x[b * image + i];
            mean /= static_cast<long double>(image);
            for (std::size_t i = 0; i < image; ++i) variance += (x[b * image + i] - mean) * (x[b * image + i] - mean);
            variance /= static_cast<long double>(image);
            double worst = 0, largest = 0;
            for (std::size_t i = 0; i < image; ++i) {
                double const expected =
                    static_cast<double>((x[b * image + i] - mean) / std::sqrt(variance + 1e-5L)) * double{weight[i % 12]};
                worst = std::max(worst, std::fabs(expected - double{out[b * image + i]}));
                largest = std::max(largest, std::fabs(expected));
            }
            CHECK(worst <= 1e-4 * largest);  // values near 1000 carry 6e-5 of rounding
        }
        auto in_place = x;
        g.x = g.out = in_place.data();
        group_norm(three, g);
        CHECK(in_place == out);
        std::vector<double> wide(x.begin(), x.end()), scale(weight.begin(), weight.end());
        samed::kernels::GroupNormArgs<double> d{3, 1600, 12, wide.data(), scale.data(), 1e-5, wide.data()};
        samed::ReferenceContext<double> reference;
        group_norm(reference, d);
        double worst = 0;
        for (std::size_t i = 0; i < out.size(); ++i) worst = std::max(worst, std::fabs(wide[i] - double{out[i]}));
        CHECK(worst <= 2e-4);
    }
}
