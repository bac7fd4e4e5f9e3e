// SPDX-License-Identifier: Apache-2.0
#include "gemm_fixture.hpp"

#include <Eigen/Core>

using namespace kernel_test;
using Case = GemmCase;
using Problem = RandomGemm;

namespace {

Case const cases[] = {
    {1, 1, 1},
    {3, 1, 7},
    {1, 40, 100},
    {10, 33, 16, 0, 5, 3},
    {14, 32, 768},
    {28, 48, 65, 0, 0, 1},
    {29, 31, 33, 4},
    {100, 70, 130, 16, 1, 2, 0, true, Activation::gelu},
    {57, 96, 64, 3, 0, 0, 19, true, Activation::relu},
    {150, 17, 31, 0, 0, 0, 0, false},
    {230, 160, 70, 0, 0, 0, -1, true, Activation::gelu},
    {300, 130, 200, 5, 0, 0, 100, false, Activation::relu},
    {33, 50, 40, 4, 0, 0, 0, true, Activation::gelu, Precision::f16},
    {33, 50, 100, 4, 0, 0, 0, true, Activation::none, Precision::bf16},
    {16, 20, 3000},
};

}  // namespace

TEST_SUITE("kernels/gemm") {
    TEST_CASE("every instruction set computes the reference within rounding: tails, strides, epilogues, f16 and bf16 weights") {
        std::uint64_t seed = 1;
        for (Case const& c : cases) {
            Problem const problem(c, seed++);
            auto const expected = problem.expected();
            for (Isa isa : isas()) {
                CAPTURE(name(isa));
                CAPTURE(c.m);
                CAPTURE(c.n);
                CAPTURE(c.k);
                CpuContext context(2, isa);
                CHECK(largest_difference(problem.run(context), expected) < 4e-6);
            }
        }
    }

    TEST_CASE("large shapes agree with Eigen's double product: 600 x 320 x 1280, several row blocks and depths") {
        Case const c{600, 320, 1280, 0, 0, 0, -1, false};
        Problem const problem(c, 30);
        using Dense = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
        Eigen::Map<Dense const> const a(problem.a.data(), c.m, c.k), w(problem.w.data(), c.n, c.k);
        Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> const product =
            a.cast<double>() * w.cast<double>().transpose();
        std::vector<double> const expected(product.data(), product.data() + product.size());
        for (Isa isa : isas()) {
            CpuContext context(2, isa);
            CHECK(largest_difference(problem.run(context), expected) < 1e-5);
        }
    }

    TEST_CASE("the same bits for 1, 2, 3 and 8 threads and for every instruction set with fused multiply-add") {
        check_same_bits(cases, Precision::f32, 40);
    }

    TEST_CASE("a fixed problem has these bits on every machine with fused multiply-add") {
        Problem const problem({50, 70, 130, 4, 0, 0, 0, true, Activation::gelu}, 77);
        for (Isa isa : fused_isas()) {
            CpuContext context(2, isa);
            CHECK(fingerprint(problem.run(context)) == 4703112343951426264u);
        }
    }

    TEST_CASE("a row's bits do not depend on the rows beside it") {
        Case const c{200, 64, 96, 0, 0, 0, -1, true, Activation::gelu};
        Problem const all(c, 9);
        Problem one = all;
        one.c.m = 1;
        CpuContext context(2);
        auto const out = all.run(context);
        for (int row : {0, 13, 14, 111, 199}) {
            one.a.assign(all.a.begin() + row * 96, all.a.begin() + (row + 1) * 96);
            CHECK(same_bits(one.run(context), std::vector<float>(out.begin() + row * 64, out.begin() + (row + 1) * 64)));
        }
    }

    TEST_CASE("the residual may be the output itself") {
        Case const c{70, 70, 50, 0, 0, 0, 0};
        Problem problem(c, 5);
        problem.residual.resize(70 * 70);
        for (Isa isa : isas()) {
            CpuContext context(3, isa);
            Weight<CpuContext> const weight(context, 70, 50, Precision::f32, problem.w);
            kernels::GemmArgs<float, kernels::PackedMatrix> g{
                .m = 70, .n = 70, .k = 50, .a = problem.a.data(), .a_stride = 50, .weight = weight.matrix(context)};
            std::vector<float> apart(70 * 70), in_place = problem.residual;
            g.residual_stride = g.out_stride = 70;
            g.residual = problem.residual.data();
            g.out = apart.data();
            run_planned(context, [&](CpuContext& x) { gemm(x, g); });
            g.residual = g.out = in_place.data();
            run_planned(context, [&](CpuContext& x) { gemm(x, g); });
            CHECK(same_bits(apart, in_place));
        }
    }

    TEST_CASE("weights are packed to the same bytes by every instruction set, in any pieces") {
        Random random(3);
        for (Precision precision : {Precision::f32, Precision::f16, Precision::bf16})
            for (int n : {1, 16, 17, 31, 32, 33, 95})
                for (int k : {1, 15, 16, 70}) {
                    auto const w = random.vector(std::size_t(n) * k, 100);
                    std::vector<std::byte> first;
                    for (Isa isa : isas()) {
                        CpuContext context(1, isa);
                        std::vector<std::byte> bytes(context.packed_bytes(n, k, precision), std::byte{0xee});
                        for (int row = 0; row < n; row += 32)
                            context.pack_rows(bytes.data(), n, k, precision, row, std::min(32, n - row), w.data() + row * k);
                        if (first.empty()) {
                            for (int row = 0; row < n; ++row)
                                for (int p = 0; p < k; ++p) {
                                    std::size_t const at = (std::size_t(row / 32) * k + p) * 32 + row % 32;
                                    float const x = w[std::size_t(row) * k + p];
                                    if (precision == Precision::f32)
                                        CHECK(reinterpret_cast<float const*>(bytes.data())[at] == x);
                                    else if (precision == Precision::f16)
                                        CHECK(reinterpret_cast<Half const*>(bytes.data())[at].bits == to_f16(x).bits);
                                    else
                                        CHECK(reinterpret_cast<BFloat16 const*>(bytes.data())[at].bits == to_bf16(x).bits);
                                }
                            first = bytes;
                        }
                        CHECK(bytes == first);
                    }
                }
    }
}
