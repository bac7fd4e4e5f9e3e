// SPDX-License-Identifier: Apache-2.0
#include "gemm_fixture.hpp"

using namespace kernel_test;

namespace {

GemmCase const cases[] = {
    {1, 1, 1},
    {3, 1, 7},
    {1, 40, 100},
    {10, 33, 16, 0, 5, 3},
    {14, 32, 768},
    {29, 31, 33, 4},
    {100, 70, 130, 16, 1, 2, 0, true, Activation::gelu},
    {57, 96, 64, 3, 0, 0, 19, true, Activation::relu},
    {230, 160, 70, 0, 0, 0, -1, true, Activation::gelu},
    {16, 20, 3000},
};

GemmCase with(GemmCase c, Precision precision) {
    c.precision = precision;
    return c;
}

/// All four 8-bit terms of a word.
std::uint32_t word_of(int a, int b, int c, int d) {
    return std::uint32_t(a & 255) | std::uint32_t(b & 255) << 8 | std::uint32_t(c & 255) << 16 | std::uint32_t(d & 255) << 24;
}

/// One row of `words` words by 32 columns, as integers.
std::vector<std::int32_t> products(kernels::WordKernel kernel, int lanes, int words, std::vector<std::uint32_t> const& a,
                                   std::vector<std::uint32_t> const& b) {
    std::vector<std::int32_t> out;
    for (int first = 0; first < 32; first += lanes) {
        std::vector<std::int32_t> tile(static_cast<std::size_t>(lanes));
        kernel.multiply(1, words, a.data(), b.data() + first, reinterpret_cast<std::byte*>(tile.data()));
        out.insert(out.end(), tile.begin(), tile.end());
    }
    return out;
}

struct NamedKernel {
    char const* name;
    kernels::WordKernel kernel;
    int lanes;
};

/// Every set of byte products that this processor runs, the ones that it would not choose among them.
std::vector<NamedKernel> byte_kernels() {
    using namespace kernels;
    std::vector<NamedKernel> all = {{"portable", {portable::multiply_words<simd::portable::DotI8, 4, 1>, 0}, 16}};
#if defined(__x86_64__)
    if (supports(Isa::avx2)) all.push_back({"avx2", {avx2::multiply_words<simd::avx2::DotI8, 6, 1>, 0}, 16});
    if (supports(Dot::avx_vnni)) all.push_back({"avx_vnni", {avx_vnni::multiply_words<simd::avx_vnni::DotI8, 6, 1>, 0}, 16});
    if (supports(Isa::avx512)) all.push_back({"avx512", {avx512::multiply_words<simd::avx512::DotI8, 14, 2>, 0}, 32});
    if (supports(Dot::avx512_vnni)) all.push_back({"avx512_vnni", {avx512_vnni::multiply_words<simd::avx512_vnni::DotI8, 14, 2>, 0}, 32});
#elif defined(__aarch64__)
    all.push_back({"neon", {neon::multiply_words<simd::neon::DotI8, 6, 1>, 0}, 16});
#if defined(SAMED_TARGET_NEON_DOTPROD)
    if (supports(Dot::neon_dotprod))
        all.push_back({"neon_dotprod", {neon_dotprod::multiply_words<simd::neon_dotprod::DotI8, 6, 1>, 128}, 16});
#endif
#endif
    return all;
}

}  // namespace

TEST_SUITE("kernels/gemm_words") {
    TEST_CASE("int8 is the reference's: rows and channels rounded to levels, exact sums, then tail, bias, activation, residual") {
        std::uint64_t seed = 100;
        for (GemmCase const& c : cases) {
            RandomGemm const problem(with(c, Precision::int8), seed++);
            auto const expected = problem.expected();
            for (Isa isa : fused_isas()) {
                CAPTURE(name(isa));
                CAPTURE(c.k);
                CpuContext context(2, isa);
                CHECK(largest_difference(problem.run(context), expected) < 4e-6);
            }
            // Without fused multiply-add a value between two levels may fall to the other one.
            CpuContext context(1, Isa::portable);
            CHECK(largest_difference(problem.run(context), expected) < 1e-2);
        }
    }

    TEST_CASE("int8 has the same bits for 1, 2, 3 and 8 threads and for every instruction set with fused multiply-add") {
        check_same_bits(cases, Precision::int8, 140);
    }

    TEST_CASE("int8 of a wide product is within a hundredth of the exact one") {
        RandomGemm exact({64, 96, 768}, 8), narrow(with({64, 96, 768}, Precision::int8), 8);
        CpuContext context(2);
        double const difference = largest_difference(narrow.run(context), exact.expected());
        CHECK(difference > 1e-5);
        CHECK(difference < 1e-2);
    }

    TEST_CASE("every set of byte products gives the same integers, the largest ones too") {
        Random random(11);
        for (int words : {1, 3, 200}) {
            std::vector<std::uint32_t> a, b;
            for (int p = 0; p < words; ++p)
                a.push_back(p % 3 == 0 ? word_of(255, 255, 255, 255) : static_cast<std::uint32_t>(random.next()));
            for (int p = 0; p < words * 32; ++p)
                b.push_back(p % 5 == 0   ? word_of(-127, -127, -127, -127)
                            : p % 5 == 1 ? word_of(127, 127, 127, 127)
                                         : static_cast<std::uint32_t>(random.next()));
            for (NamedKernel const& k : byte_kernels()) {
                CAPTURE(k.name);
                auto const out = products(k.kernel, k.lanes, words, a, b);
                for (int j = 0; j < 32; ++j) {
                    std::int32_t sum = 0;
                    for (int p = 0; p < words; ++p)
                        for (int t = 0; t < 4; ++t)
                            sum += (static_cast<int>(a[std::size_t(p)] >> (8 * t) & 255) - k.kernel.offset) *
                                   static_cast<std::int8_t>(b[std::size_t(p * 32 + j)] >> (8 * t) & 255);
                    CHECK(out[std::size_t(j)] == sum);
                }
            }
        }
    }

    TEST_CASE("bf16 products are the reference's within rounding, where the processor has them") {
        std::uint64_t seed = 160;
        for (GemmCase const& c : cases) {
            RandomGemm const problem(with(c, Precision::bf16_products), seed), kept(with(c, Precision::bf16), seed);
            ++seed;
            for (Isa isa : isas()) {
                CAPTURE(name(isa));
                CpuContext context(2, isa);
                auto const out = problem.run(context);
                if (kernels::bf16_kernel(isa).multiply)
                    CHECK(largest_difference(out, problem.expected()) < 8e-6);
                else if (c.rank == 0)  // the tail of such a case is f32, of the other bf16
                    CHECK(same_bits(out, kept.run(context)));
            }
        }
    }

    TEST_CASE("rows are quantised as the reference does: constant, one-sided, tiny and huge ones") {
        Random random(5);
        std::vector<std::vector<float>> rows = {
            std::vector<float>(37, 0.0f),  std::vector<float>(16, 3.5f), std::vector<float>(5, -2.0f), std::vector<float>(20, 1e-38f),
            std::vector<float>(20, 3e38f), random.vector(100, 7),        random.vector(33, 1e-20f),    std::vector<float>(17, -1e-31f)};
        rows.push_back({-1.5f, 253.5f, 7});  // zero and highest level both round up, past 255
        for (float& x : rows.emplace_back(random.vector(64))) x = x < 0 ? -0.17f * x : 9 * x;
        for (auto const& x : rows) {
            int const k = static_cast<int>(x.size());
            std::vector<std::uint8_t> expected(x.size());
            kernels::RowLevels const e = kernels::reference::quantise_row(x.data(), k, expected.data());
            float largest = 0;
            for (int p = 0; p < k; ++p) {
                float const back = e.scale * static_cast<float>(expected[std::size_t(p)] - e.zero);
                largest = std::max(largest, std::fabs(back - x[std::size_t(p)]));
            }
            CHECK(largest <= std::max(0.5001f * e.scale, kernels::smallest_range));
            for (Isa isa : fused_isas()) {
                CAPTURE(name(isa));
                std::vector<std::byte> levels(x.size() + 16);
                kernels::RowLevels const r = [&] {
                    using namespace kernels;
                    return SAMED_ISA_CALL(isa, quantise_row, x.data(), k, levels.data());
                }();
                CHECK(r.scale == e.scale);
                CHECK(r.zero == e.zero);
                CHECK(std::memcmp(levels.data(), expected.data(), x.size()) == 0);
            }
        }
    }
}
