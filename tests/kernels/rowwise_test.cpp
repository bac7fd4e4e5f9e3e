// SPDX-License-Identifier: Apache-2.0
// Layer norm, addition, mask product, resize and argmax.
#include "kernel_fixture.hpp"

using namespace kernel_test;

namespace {

/// Runs `op(context)`, which returns floats, for every instruction set and 1 and 3 threads: near `expected`, and the same bits.
template <class Op>
void check(std::vector<double> const& expected, double tolerance, Op op) {
    std::vector<float> first;
    for (Isa isa : isas())
        for (int threads : {1, 3}) {
            CAPTURE(name(isa));
            CpuContext context(threads, isa);
            std::vector<float> const out = op(context);
            CHECK(largest_difference(out, expected) < tolerance);
            if (isa == Isa::portable) continue;
            if (first.empty()) first = out;
            CHECK(same_bits(out, first));
        }
}

}  // namespace

TEST_SUITE("kernels/rowwise") {
    TEST_CASE("layer_norm is the reference within rounding for any width, activation fused, mean and rstd kept, in place") {
        struct Case {
            int rows, width;
            Activation activation;
        };
        Random random(1);
        for (Case const& c :
             {Case{1, 1, Activation::none}, Case{7, 15, Activation::relu}, Case{3, 16, Activation::gelu}, Case{40, 100, Activation::none},
              Case{300, 768, Activation::none}, Case{33, 256, Activation::gelu}, Case{5, 1280, Activation::none}}) {
            std::size_t const count = std::size_t(c.rows) * c.width;
            auto x = random.vector(count, 3);
            for (float& v : x) v += 20;  // variance by the square of the mean would lose all digits
            auto const weight = random.vector(c.width), bias = random.vector(c.width);
            auto const run = [&](auto& context, auto const& x_, auto const& weight_, auto const& bias_) {
                using T = typename std::decay_t<decltype(context)>::Scalar;
                std::vector<T> out(x_.begin(), x_.end());
                out.resize(count + 2 * std::size_t(c.rows));
                kernels::LayerNormArgs<T> l{.rows = c.rows,
                                            .width = c.width,
                                            .x = out.data(),
                                            .weight = weight_.data(),
                                            .bias = bias_.data(),
                                            .out = out.data(),
                                            .activation = c.activation,
                                            .mean = out.data() + count,
                                            .rstd = out.data() + count + c.rows};
                if constexpr (std::is_same_v<T, float>)
                    run_planned(context, [&](CpuContext& y) { layer_norm(y, l); });
                else
                    layer_norm(context, l);
                return out;
            };
            ReferenceContext<double> reference;
            auto expected = run(reference, widened(x), widened(weight), widened(bias));
            if (c.width == 1) continue;  // rstd of a variance of zero is 1000, with rounding of its own
            check(expected, 5e-5, [&](CpuContext& context) { return run(context, x, weight, bias); });
        }
    }

    TEST_CASE("add repeats its second operand, in place, over pieces that end inside a period") {
        Random random(2);
        for (std::int64_t period : {1, 7, 64, 70001}) {
            std::int64_t const count = period * (280000 / period);
            auto const a = random.vector(std::size_t(count)), b = random.vector(std::size_t(period));
            std::vector<double> expected(a.begin(), a.end());
            for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = double(a[i] + b[i % std::size_t(period)]);
            check(expected, 1e-30, [&](CpuContext& context) {
                auto out = a;
                run_planned(context, [&](CpuContext& x) {
                    add(x, kernels::AddArgs<float>{count, period, out.data(), b.data(), out.data()});
                });
                return out;
            });
        }
    }

    TEST_CASE("mask_product is the reference within rounding for any number of masks, pixels and channels") {
        struct Case {
            int batch, masks, pixels, channels;
        };
        Random random(3);
        for (Case const& c : {Case{1, 1, 1, 1}, Case{2, 9, 100, 32}, Case{1, 4, 4096, 32}, Case{1, 30, 2100, 20}, Case{3, 15, 33, 8}}) {
            auto const hyper = random.vector(std::size_t(c.batch) * c.masks * c.channels);
            auto const pixels = random.vector(std::size_t(c.batch) * c.pixels * c.channels);
            std::vector<double> expected(std::size_t(c.batch) * c.masks * c.pixels);
            auto const hyper_d = widened(hyper), pixels_d = widened(pixels);
            kernels::reference::mask_product(
                kernels::MaskProductArgs<double>{c.batch, c.masks, c.pixels, c.channels, hyper_d.data(), pixels_d.data(), expected.data()});
            check(expected, 4e-6, [&](CpuContext& context) {
                std::vector<float> out(expected.size(), -7);
                kernels::MaskProductArgs<float> const a{c.batch, c.masks, c.pixels, c.channels, hyper.data(), pixels.data(), out.data()};
                run_planned(context, [&](CpuContext& x) { mask_product(x, a); });
                return out;
            });
        }
    }

    TEST_CASE("bilinear and argmax have the very bits of the float reference at any ratio") {
        struct Case {
            int batch, classes, in_height, in_width, out_height, out_width;
        };
        Random random(4);
        for (Case const& c : {Case{1, 1, 1, 1, 1, 1}, Case{2, 9, 16, 16, 64, 64}, Case{1, 3, 7, 5, 20, 33}, Case{1, 5, 20, 31, 9, 13},
                              Case{1, 2, 1, 40, 3, 17}, Case{1, 9, 32, 32, 128, 128}}) {
            auto const logits = random.vector(std::size_t(c.batch) * c.classes * c.in_height * c.in_width);
            std::size_t const pixels = std::size_t(c.out_height) * c.out_width;
            std::vector<float> resized(std::size_t(c.batch) * c.classes * pixels);
            std::vector<std::uint8_t> labels(std::size_t(c.batch) * pixels);
            kernels::BilinearArgs<float> r{c.batch * c.classes, c.in_height,   c.in_width,    c.out_height,
                                           c.out_width,         logits.data(), resized.data()};
            kernels::ArgmaxArgs<float> a{c.batch,      c.classes,   c.in_height,   c.in_width,
                                         c.out_height, c.out_width, logits.data(), labels.data()};
            kernels::reference::bilinear(r);
            kernels::reference::argmax(a);
            for (Isa isa : isas())
                for (int threads : {1, 3}) {
                    CAPTURE(name(isa));
                    CpuContext context(threads, isa);
                    std::vector<float> out(resized.size(), -7);
                    std::vector<std::uint8_t> found(labels.size(), 99);
                    r.out = out.data();
                    a.labels = found.data();
                    run_planned(context, [&](CpuContext& x) { bilinear(x, r); });
                    run_planned(context, [&](CpuContext& x) { argmax(x, a); });
                    if (isa == Isa::portable) {
                        for (std::size_t i = 0; i < out.size(); ++i) CHECK(out[i] == doctest::Approx(resized[i]).epsilon(1e-5));
                    } else {
                        CHECK(same_bits(out, resized));
                        CHECK(found == labels);
                    }
                }
        }
    }

    TEST_CASE("ties and NaN: argmax keeps the lower class, and a NaN of class 0 stays as in the reference") {
        std::vector<float> const logits = {1, 1, 2, 2, 1, 2, 1, 2, 1, 2, 2, 1};  // three classes of 2 x 2
        for (Isa isa : isas()) {
            CpuContext context(1, isa);
            std::vector<std::uint8_t> labels(4, 99);
            kernels::ArgmaxArgs<float> const a{1, 3, 2, 2, 2, 2, logits.data(), labels.data()};
            run_planned(context, [&](CpuContext& x) { argmax(x, a); });
            CHECK(labels == std::vector<std::uint8_t>{0, 1, 0, 0});
        }
    }
}
