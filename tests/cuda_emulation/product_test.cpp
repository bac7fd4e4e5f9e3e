// SPDX-License-Identifier: Apache-2.0
#include <samed/kernels/gemm/product_simt.hpp>

#include "kernel_check.hpp"

namespace {

using samed_test::EmulatedContext;
using samed_test::Emulation;
using samed_test::Values;

struct Case {
    int m, n, k;
    bool bias = true, addend = true, in_place = false;
    int a_pad = 0, addend_pad = 0, out_pad = 0;  // rows lie this much further apart than they are long
};

/// Relative error of the kernel, and of what lies between the rows of `out`.
template <class T>
float run(EmulatedContext<T>& context, Case const& c, unsigned seed) {
    std::int64_t const a_stride = c.k + c.a_pad, out_stride = c.n + c.out_pad;
    std::int64_t const addend_stride = c.in_place ? out_stride : c.n + c.addend_pad;
    Values<T> const a(std::size_t(c.m * a_stride), seed), weight(std::size_t(c.n) * c.k, seed + 1), bias(std::size_t(c.n), seed + 2);
    Values<T> addend(std::size_t(c.m * addend_stride), seed + 3), before(std::size_t(c.m * out_stride), seed + 4);
    Values<T>& first = c.in_place ? addend : before;
    std::vector<T> out = first.stored;
    std::vector<float> expected = first.f32;

    for (int i = 0; i < c.m; ++i)
        for (int j = 0; j < c.n; ++j) {
            double sum = 0;
            for (int p = 0; p < c.k; ++p) sum += double(a.f32[i * a_stride + p]) * weight.f32[std::int64_t{j} * c.k + p];
            if (c.bias) sum += bias.f32[j];
            if (c.addend) sum += addend.f32[i * addend_stride + j];
            expected[i * out_stride + j] = static_cast<float>(sum);
        }

    samed::kernels::Product<T> p{c.m, c.n, c.k, a.data(), a_stride, weight.data(), nullptr, nullptr, addend_stride, out.data(), out_stride};
    if (c.bias) p.bias = bias.data();
    if (c.addend) p.addend = c.in_place ? out.data() : addend.data();
    product(context, p);
    return samed_test::relative_error(out, expected);
}

}  // namespace

TEST_CASE_TEMPLATE("a product is the sum that it says, for every shape, stride and alignment", T, float, samed::Half, samed::BFloat16) {
    EmulatedContext<T> context;
    std::mt19937 random(11);
    auto const below = [&](int most) { return int(random() % unsigned(most)); };
    for (unsigned seed = 0; seed < 12; ++seed) {
        Case c{1 + below(140), 1 + below(140), below(50)};
        c.bias = below(2);
        c.addend = below(3) > 0;
        c.in_place = c.addend && below(2);
        c.a_pad = below(4);
        c.addend_pad = below(4);
        c.out_pad = below(4);
        INFO(c.m, " x ", c.n, " x ", c.k, ", bias ", c.bias, ", addend ", c.addend, ", in place ", c.in_place);
        CHECK(run(context, c, seed) <= samed_test::storage_error<T>());
    }
}

TEST_CASE("a product of nothing is bias and addend; one of no rows or columns does nothing") {
    EmulatedContext<float> context;
    CHECK(run(context, {5, 7, 0}, 1) == 0);
    CHECK(run(context, {0, 7, 3}, 1) == 0);
    CHECK(run(context, {5, 0, 3}, 1) == 0);
}

TEST_CASE("a product needs each of its barriers") {
    samed_test::check_every_barrier(2e-6f, [](Emulation& emulation) {
        EmulatedContext<float> context;
        context.emulation() = emulation;
        float const error = run(context, {70, 66, 37}, 3);
        emulation = context.emulation();
        return error;
    });
}
