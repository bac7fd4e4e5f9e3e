// SPDX-License-Identifier: Apache-2.0
// Device twins of layer norm, group norm, addition, conversion, mask product, resize and argmax.
#include <samed/kernels/argmax/argmax_simt.hpp>
#include <samed/kernels/elementwise/elementwise_simt.hpp>
#include <samed/kernels/group_norm/group_norm_simt.hpp>
#include <samed/kernels/layer_norm/layer_norm_simt.hpp>
#include <samed/kernels/mask_product/mask_product_simt.hpp>
#include <samed/kernels/resize/resize_simt.hpp>

#include "twin_check.hpp"

using namespace samed;
using namespace samed_test;
using kernels::Activation;

namespace {

std::vector<double> widened(std::vector<float> const& v) {
    return {v.begin(), v.end()};
}
std::vector<float> narrowed(std::vector<double> const& v) {
    return {v.begin(), v.end()};
}

/// Rows of x * scale + shift.
struct NormCase {
    int rows, width;
    float scale, shift;
    Activation activation = Activation::none;
    int offset = 0;  ///< of x in its array: 1 = no vector begins where it must
};

/// Normalises in place; mean and rstd behind the rows. The oracle is in double: a sum of f32 in one chain is worse than the twin's tree.
template <class T>
void check_layer_norm(NormCase const& n, unsigned seed) {
    std::size_t const offset = std::size_t(n.offset), count = std::size_t(n.rows) * std::size_t(n.width), rows = std::size_t(n.rows);
    Values<T> x(count + offset, seed);
    Values<T> const weight(std::size_t(n.width), seed + 1), bias(std::size_t(n.width), seed + 2);
    transform(x, n.scale, n.shift);

    std::vector<double> wide = widened(x.f32), mean(rows), rstd(rows);
    std::vector<double> const wide_weight = widened(weight.f32), wide_bias = widened(bias.f32);
    kernels::reference::layer_norm(kernels::LayerNormArgs<double>{n.rows, n.width, wide.data() + offset, wide_weight.data(),
                                                                  wide_bias.data(), 1e-6, wide.data() + offset, n.activation, mean.data(),
                                                                  rstd.data()});
    std::vector<T> out = x.stored, found_mean(rows), found_rstd(rows);
    kernels::LayerNormArgs<T> l{
        n.rows,       n.width,           out.data() + offset, weight.data(), bias.data(), 1e-6f, out.data() + offset,
        n.activation, found_mean.data(), found_rstd.data()};
    run_planned<T>([&](auto& c) { layer_norm(c, l); });
    CAPTURE(n.rows);
    CAPTURE(n.width);
    CHECK(relative_error(out, narrowed(wide)) <= storage_error<T>());
    CHECK(relative_error(found_mean, narrowed(mean)) <= storage_error<T>());
    CHECK(relative_error(found_rstd, narrowed(rstd)) <= storage_error<T>());

    std::vector<T> without = x.stored;  // nothing is written through a null pointer
    l.x = l.out = without.data() + offset;
    l.mean = l.rstd = nullptr;
    run_planned<T>([&](auto& c) { layer_norm(c, l); });
    CHECK(std::memcmp(without.data(), out.data(), out.size() * sizeof(T)) == 0);
}

/// Returns the relative error under the order of `e`.
template <class T>
float group_norm_error(kernels::GroupNormArgs<T> g, NormCase const& n, unsigned seed, Emulation& e) {
    std::size_t const offset = std::size_t(n.offset), count = std::size_t(g.batch) * std::size_t(g.pixels) * std::size_t(g.channels);
    Values<T> x(count + offset, seed);
    Values<T> const weight(std::size_t(g.channels), seed + 1);
    transform(x, n.scale, n.shift);
    std::vector<float> expected = x.f32;
    kernels::reference::group_norm(kernels::GroupNormArgs<float>{g.batch, g.pixels, g.channels, expected.data() + offset, weight.f32.data(),
                                                                 g.eps, expected.data() + offset});
    std::vector<T> out = x.stored;
    g.x = g.out = out.data() + offset;
    g.weight = weight.data();
    run_planned<T>(e, [&](auto& c) { group_norm(c, g); });
    return relative_error(out, expected);
}

template <class From, class To>
void check_convert(std::size_t count) {
    Values<From> const from(count, 3);
    std::vector<To> to(count);
    run_planned<From>([&](auto& c) { convert(c, kernels::ConvertArgs<From, To>{std::int64_t(count), from.data(), to.data()}); });
    CHECK(same_values(to, from.f32));
}

}  // namespace

TEST_SUITE("cuda_emulation/rowwise") {
    TEST_CASE_TEMPLATE("layer_norm: any width, in vectors and value by value, in place, with and without mean and rstd", T, float, Half,
                       BFloat16) {
        unsigned seed = 1;
        for (NormCase const& n : {NormCase{1, 1, 1, 0}, NormCase{9, 3, 1, 0, Activation::relu}, NormCase{3, 32, 1, 0, Activation::gelu},
                                  NormCase{17, 100, 2, 0}, NormCase{2, 768, 1.7f, 12}, NormCase{10, 768, 1, 0, Activation::gelu, 1},
                                  NormCase{8, 1280, 1, 0}, NormCase{1, 1284, 3, 0}, NormCase{25, 64, 1, 0.5f, Activation::none, 3}})
            check_layer_norm<T>(n, seed += 10);
    }

    TEST_CASE_TEMPLATE("layer_norm: eps counts where the variance is small or nothing", T, float, Half, BFloat16) {
        check_layer_norm<T>({4, 64, 1e-3f, 0}, 5);  // variance of a third of eps
        check_layer_norm<T>({4, 33, 1e-3f, 0}, 6);
        check_layer_norm<T>({5, 128, 0, 0.5f}, 7);  // equal values: the bias is left
        check_layer_norm<T>({5, 3, 0, 0.5f}, 8);
    }

    TEST_CASE_TEMPLATE("group_norm: images of one part and of many, in vectors and value by value; every barrier is needed", T, float, Half,
                       BFloat16) {
        struct Case {
            int batch, pixels, channels;
            NormCase values;
        };
        for (Case const& k : {Case{1, 1, 1, {0, 0, 1, 0}}, Case{2, 50, 7, {0, 0, 1, 0}}, Case{3, 90, 64, {0, 0, 1, 0.5f}},
                              Case{1, 700, 32, {0, 0, 2, 0, Activation::none, 1}}, Case{2, 333, 40, {0, 0, 1.7f, 12}},
                              Case{1, 60, 16, {0, 0, 1e-3f, 0}}, Case{1, 41, 3, {0, 0, 1e-3f, 0}}, Case{1, 64, 8, {0, 0, 0, 0.5f}}}) {
            CAPTURE(k.pixels);
            kernels::GroupNormArgs<T> g;
            g.batch = k.batch;
            g.pixels = k.pixels;
            g.channels = k.channels;
            Emulation e;
            CHECK(group_norm_error<T>(g, k.values, 11, e) <= storage_error<T>());
        }
        kernels::GroupNormArgs<T> g;
        g.batch = 2;
        g.pixels = 130;
        g.channels = 40;
        check_every_barrier(storage_error<T>(), [&](Emulation& e) { return group_norm_error<T>(g, {0, 0, 1, 0.25f}, 12, e); });
    }

    TEST_CASE("group_norm: more than 256 parts' worth of values") {
        kernels::GroupNormArgs<Half> g;
        g.pixels = 16500;
        g.channels = 64;
        Emulation e;
        CHECK(group_norm_error<Half>(g, {0, 0, 1, 0.25f}, 13, e) <= storage_error<Half>());
    }

    TEST_CASE_TEMPLATE("add: repeated, in place, in vectors and value by value, with activations", T, float, Half, BFloat16) {
        struct Case {
            int period, times, offset;
            Activation activation;
        };
        for (Case const& k : {Case{1, 1, 0, Activation::none}, Case{7, 100, 0, Activation::relu}, Case{64, 9, 0, Activation::none},
                              Case{1024, 3, 0, Activation::gelu}, Case{64, 9, 1, Activation::none}, Case{768, 1, 0, Activation::relu},
                              Case{4, 16, 0, Activation::none}, Case{7, 104, 0, Activation::none}}) {
            std::size_t const count = std::size_t(k.period * k.times), offset = std::size_t(k.offset);
            Values<T> const a(count + offset, 1), b(std::size_t(k.period), 2);
            std::vector<float> expected = a.f32;
            std::vector<T> out = a.stored;
            kernels::reference::add(kernels::AddArgs<float>{std::int64_t(count), k.period, expected.data() + offset, b.f32.data(),
                                                            expected.data() + offset, k.activation});
            run_planned<T>([&](auto& c) {
                add(c,
                    kernels::AddArgs<T>{std::int64_t(count), k.period, out.data() + offset, b.data(), out.data() + offset, k.activation});
            });
            CAPTURE(k.period);
            CHECK(relative_error(out, expected) <= storage_error<T>());
        }
    }

    TEST_CASE("convert: every storage to every other, rounded once") {
        for (std::size_t count : {1u, 256u, 1001u}) {
            check_convert<float, float>(count);
            check_convert<float, Half>(count);
            check_convert<float, BFloat16>(count);
            check_convert<Half, float>(count);
            check_convert<Half, BFloat16>(count);
            check_convert<BFloat16, float>(count);
            check_convert<BFloat16, Half>(count);
        }
    }

    TEST_CASE_TEMPLATE("mask_product: the reference's very chain, for any number of masks, pixels and channels", T, float, Half, BFloat16) {
        struct Case {
            int batch, masks, pixels, channels, offset;
        };
        for (Case const& k : {Case{1, 1, 1, 1, 0}, Case{2, 9, 100, 32, 0}, Case{1, 4, 300, 32, 1}, Case{1, 30, 257, 20, 0},
                              Case{3, 8, 33, 8, 0}, Case{1, 17, 40, 3, 0}}) {
            std::size_t const hypers = std::size_t(k.batch * k.masks * k.channels), pixels = std::size_t(k.batch * k.pixels * k.channels);
            std::size_t const offset = std::size_t(k.offset);
            Values<T> const hyper(hypers, 4), upscaled(pixels + offset, 5);
            std::vector<float> expected(std::size_t(k.batch * k.masks * k.pixels));
            std::vector<T> out(expected.size(), simt::store<T>(-7));
            kernels::reference::mask_product(kernels::MaskProductArgs<float>{k.batch, k.masks, k.pixels, k.channels, hyper.f32.data(),
                                                                             upscaled.f32.data() + offset, expected.data()});
            run_planned<T>([&](auto& c) {
                mask_product(c, kernels::MaskProductArgs<T>{k.batch, k.masks, k.pixels, k.channels, hyper.data(), upscaled.data() + offset,
                                                            out.data()});
            });
            CAPTURE(k.masks);
            CHECK(same_values(out, expected));
        }
    }

    TEST_CASE_TEMPLATE("bilinear and argmax: the reference's very values and labels at any ratio, ties too", T, float, Half, BFloat16) {
        struct Case {
            int batch, classes, in_height, in_width, out_height, out_width;
            bool ties;
        };
        for (Case const& k : {Case{1, 1, 1, 1, 1, 1, false}, Case{2, 9, 16, 16, 64, 64, false}, Case{1, 3, 7, 5, 20, 33, false},
                              Case{1, 5, 20, 31, 9, 13, false}, Case{3, 2, 1, 40, 3, 17, false}, Case{2, 4, 6, 7, 6, 7, true}}) {
            std::size_t const images = std::size_t(k.batch), pixels = std::size_t(k.out_height * k.out_width);
            Values<T> logits(images * std::size_t(k.classes * k.in_height * k.in_width), 6);
            if (k.ties)
                for (std::size_t i = 0; i < logits.f32.size(); ++i)
                    logits.stored[i] = simt::store<T>(logits.f32[i] = logits.f32[i] > 0 ? 1.0f : 0.0f);
            std::vector<float> expected(images * std::size_t(k.classes) * pixels);
            std::vector<T> out(expected.size(), simt::store<T>(-7));
            std::vector<std::uint8_t> labels(images * pixels), found(labels.size(), 99);
            int const planes = k.batch * k.classes;
            kernels::reference::bilinear(kernels::BilinearArgs<float>{planes, k.in_height, k.in_width, k.out_height, k.out_width,
                                                                      logits.f32.data(), expected.data()});
            kernels::reference::argmax(kernels::ArgmaxArgs<float>{k.batch, k.classes, k.in_height, k.in_width, k.out_height, k.out_width,
                                                                  logits.f32.data(), labels.data()});
            run_planned<T>([&](auto& c) {
                bilinear(c,
                         kernels::BilinearArgs<T>{planes, k.in_height, k.in_width, k.out_height, k.out_width, logits.data(), out.data()});
                argmax(c, kernels::ArgmaxArgs<T>{k.batch, k.classes, k.in_height, k.in_width, k.out_height, k.out_width, logits.data(),
                                                 found.data()});
            });
            CAPTURE(k.out_width);
            CHECK(same_values(out, expected));
            CHECK(found == labels);
        }
    }
}
