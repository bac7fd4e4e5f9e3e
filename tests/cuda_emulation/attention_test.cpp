// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include <samed/kernels/attention/attention_simt.hpp>
#include <samed/kernels/attention/image_attention_simt.hpp>

#include "kernel_check.hpp"

using namespace samed;
using namespace samed_test;

namespace {

template <class T>
std::vector<double> widened(Values<T> const& v) {
    return {v.f32.begin(), v.f32.end()};
}
template <class V>
auto* data_or_null(V& v, bool wanted) {
    return wanted ? v.data() : nullptr;
}

/// The storage's error, and what f32 scores as large as `largest` are off by: exp() makes of it the same in relative terms.
template <class T>
float bound(double largest) {
    return storage_error<T>() + 4 * 0x1p-24f * static_cast<float>(largest);
}

/// An op's results; NaN where it wrote nothing.
template <class T>
struct Written {
    std::vector<T> out, log_sum_exp;
    Written(std::size_t outs, std::size_t sums) : out(outs, nothing()), log_sum_exp(sums, nothing()) {}

    static T nothing() {
        if constexpr (std::is_same_v<T, double>)
            return std::nan("");
        else
            return simt::store<T>(std::nanf(""));
    }
    float error(Written<double> const& expected) const {
        auto const narrow = [](std::vector<double> const& x) { return std::vector<float>(x.begin(), x.end()); };
        return std::max(relative_error(out, narrow(expected.out)), relative_error(log_sum_exp, narrow(expected.log_sum_exp)));
    }
};

/// Of log_sum_exp: about the largest score.
template <class T>
double largest_of(std::vector<T> const& v) {
    double largest = 0;
    for (T x : v) largest = std::max(largest, std::abs(double(x)));
    return largest;
}

// The decoder's form -------------------------------------------------------------------------------------------------------------

struct Case {
    int batch, heads, head_dim, queries, keys;
    double factor = 1;  ///< of q
};

template <class T>
struct Problem {
    Case c;
    int q_stride, k_stride, v_stride;  // rows lie further apart than they are long, each matrix's in its own way
    Values<T> q, k, v;

    Problem(Case const& wanted, unsigned seed)
        : c(wanted),
          q_stride(c.heads * c.head_dim + 3),
          k_stride(q_stride + 1),
          v_stride(q_stride + 2),
          q(std::size_t(c.batch) * std::size_t(c.queries * q_stride), seed),
          k(std::size_t(c.batch) * std::size_t(c.keys * k_stride), seed + 1),
          v(std::size_t(c.batch) * std::size_t(c.keys * v_stride), seed + 2) {
        for (std::size_t i = 0; i < q.f32.size(); ++i) {
            q.stored[i] = simt::store<T>(float(c.factor) * q.f32[i]);
            q.f32[i] = simt::load(q.stored[i]);
        }
        for (std::size_t i = 0; i < k.f32.size(); ++i) {  // keys grow: the largest score comes late, in another chunk than the first
            auto const key = int(i) / k_stride % c.keys;
            k.stored[i] = simt::store<T>(k.f32[i] * (1 + 3 * float(key) / float(c.keys)) / 4);
            k.f32[i] = simt::load(k.stored[i]);
        }
    }
    template <class U>
    kernels::AttentionArgs<U> args(U const* q_, U const* k_, U const* v_, Written<U>& to, bool sums) const {
        kernels::AttentionArgs<U> a;
        a.batch = c.batch;
        a.heads = c.heads;
        a.head_dim = c.head_dim;
        a.queries = c.queries;
        a.keys = c.keys;
        a.q = q_;
        a.k = k_;
        a.v = v_;
        a.q_stride = q_stride;
        a.k_stride = k_stride;
        a.v_stride = v_stride;
        a.scale = kernels::attention_scale<U>(c.head_dim);
        a.out = to.out.data();
        a.log_sum_exp = data_or_null(to.log_sum_exp, sums);
        return a;
    }
    template <class U>
    Written<U> place(bool sums = true) const {
        std::size_t const rows = std::size_t(c.batch) * std::size_t(c.heads * c.queries);
        return {rows * std::size_t(c.head_dim), sums ? rows : 0};
    }
    Written<double> expected(bool sums = true) const {
        Written<double> e = place<double>(sums);
        kernels::reference::attention(args<double>(widened(q).data(), widened(k).data(), widened(v).data(), e, sums));
        return e;
    }
    /// `launch(args)`; returns the error.
    template <class Launch>
    float error(Launch&& launch, bool sums = true) const {
        Written<T> found = place<T>(sums);
        launch(args<T>(q.data(), k.data(), v.data(), found, sums));
        return found.error(expected(sums));
    }
    float allowed() const { return bound<T>(largest_of(expected().log_sum_exp)); }
};

template <class Kernel, class T>
float emulated(Emulation& e, Problem<T> const& p) {
    return p.error([&](kernels::AttentionArgs<T> const& a) { emulate<Kernel>(e, Kernel::grid(a), a); });
}

template <class T>
void check_both_forms(Problem<T> const& p) {
    CAPTURE(p.c.head_dim);
    CAPTURE(p.c.queries);
    CAPTURE(p.c.keys);
    float const allowed = p.allowed();
    Emulation e;
    CHECK(emulated<kernels::AttentionOfFewKernel<T>>(e, p) <= allowed);
    if (p.c.head_dim <= 16) CHECK(emulated<kernels::AttentionToFewKernel<T, 16>>(e, p) <= allowed);
    if (p.c.head_dim <= 32) CHECK(emulated<kernels::AttentionToFewKernel<T, 32>>(e, p) <= allowed);
    if (p.c.head_dim <= 64) CHECK(emulated<kernels::AttentionToFewKernel<T, 64>>(e, p) <= allowed);
    CHECK(emulated<kernels::AttentionToFewKernel<T, 128>>(e, p) <= allowed);
}

// The encoder's form -------------------------------------------------------------------------------------------------------------

enum class Bias { none, relative, table };

struct ImageCase {
    int batch, height, width, heads, head_dim, window;
    Bias bias = Bias::relative;
    bool log_sum_exp = true;
    double factor = 1;  ///< of q
};

template <class T>
struct ImageProblem {
    ImageCase c;
    int rows, columns, width;
    Values<T> qkv, rel_h, rel_w, table, pad_key, pad_value;

    ImageProblem(ImageCase const& wanted, unsigned seed)
        : c(wanted),
          rows(c.window ? c.window : c.height),
          columns(c.window ? c.window : c.width),
          width(c.heads * c.head_dim),
          qkv(std::size_t(c.batch) * std::size_t(c.height * c.width * 3 * width), seed),
          rel_h(std::size_t((2 * rows - 1) * c.head_dim), seed + 1),
          rel_w(std::size_t((2 * columns - 1) * c.head_dim), seed + 2),
          table(std::size_t(c.heads * rows * columns), seed + 3),
          pad_key(std::size_t(width), seed + 4),
          pad_value(std::size_t(width), seed + 5) {
        for (std::size_t i = 0; i < qkv.f32.size(); ++i) {
            if (int(i) / width % 3 != 0) continue;
            qkv.stored[i] = simt::store<T>(float(c.factor) * qkv.f32[i]);
            qkv.f32[i] = simt::load(qkv.stored[i]);
        }
    }
    bool padded() const { return c.height % rows != 0 || c.width % columns != 0; }

    /// @param all  qkv, rel_pos_h, rel_pos_w, bias_table, pad_key, pad_value
    template <class U>
    kernels::ImageAttentionArgs<U> args(std::array<U const*, 6> const& all, Written<U>& to) const {
        kernels::ImageAttentionArgs<U> a;
        a.batch = c.batch;
        a.height = c.height;
        a.width = c.width;
        a.heads = c.heads;
        a.head_dim = c.head_dim;
        a.window = c.window;
        a.qkv = all[0];
        if (c.bias == Bias::relative) {
            a.rel_pos_h = all[1];
            a.rel_pos_w = all[2];
        }
        if (c.bias == Bias::table) a.bias_table = all[3];
        if (padded()) {
            a.pad_key = all[4];
            a.pad_value = all[5];
        }
        a.scale = kernels::attention_scale<U>(c.head_dim);
        a.out = to.out.data();
        a.log_sum_exp = data_or_null(to.log_sum_exp, c.log_sum_exp);
        return a;
    }
    template <class U>
    Written<U> place() const {
        std::size_t const rows_out = std::size_t(c.batch) * std::size_t(c.height * c.width * c.heads);
        return {rows_out * std::size_t(c.head_dim), c.log_sum_exp ? rows_out : 0};
    }
    Written<double> expected() const {
        Written<double> e = place<double>();
        kernels::reference::image_attention(args<double>({widened(qkv).data(), widened(rel_h).data(), widened(rel_w).data(),
                                                          widened(table).data(), widened(pad_key).data(), widened(pad_value).data()},
                                                         e));
        return e;
    }
    /// `launch(args)`; returns the error.
    template <class Launch>
    float error(Launch&& launch, Written<double> const& expected) const {
        Written<T> found = place<T>();
        launch(args<T>({qkv.data(), rel_h.data(), rel_w.data(), table.data(), pad_key.data(), pad_value.data()}, found));
        return found.error(expected);
    }
};

template <class T>
void check_image(ImageCase const& c, unsigned seed) {
    CAPTURE(c.height);
    CAPTURE(c.width);
    CAPTURE(c.head_dim);
    CAPTURE(c.window);
    CAPTURE(int(c.bias));
    ImageProblem<T> const p(c, seed);
    Written<double> const expected = p.expected();
    EmulatedContext<T> context;
    float const error = p.error([&](kernels::ImageAttentionArgs<T> const& a) { image_attention(context, a); }, expected);
    CHECK(error <= bound<T>(largest_of(expected.log_sum_exp)));
}

template <class Kernel, class T>
void check_image_barriers(ImageCase const& c) {
    ImageProblem<T> const p(c, 70);
    Written<double> const expected = p.expected();
    check_every_barrier(bound<T>(largest_of(expected.log_sum_exp)), [&](Emulation& e) {
        return p.error(
            [&](kernels::ImageAttentionArgs<T> const& a) { emulate<Kernel>(e, kernels::AttentionWindow<T>::grid(a, Kernel::queries), a); },
            expected);
    });
}

ImageCase const image_cases[] = {
    {1, 5, 7, 2, 32, 4},
    {2, 8, 8, 1, 64, 0},
    {1, 16, 12, 3, 16, 0, Bias::relative, false},
    {1, 16, 12, 1, 80, 0},
    {1, 16, 16, 1, 64, 14},
    {1, 20, 20, 1, 32, 14},
    {1, 9, 7, 2, 80, 3, Bias::none},
    {2, 7, 7, 2, 32, 7, Bias::table},
    {1, 10, 9, 3, 32, 7, Bias::table},
    {1, 5, 6, 2, 64, 4, Bias::table},
    {1, 3, 70, 1, 32, 0, Bias::table},
    {1, 15, 14, 1, 32, 14, Bias::table, false},
    {1, 4, 5, 1, 64, 14, Bias::none},
    {1, 1, 1, 1, 80, 0},
    {1, 2, 70, 1, 32, 0},
    {1, 9, 3, 1, 64, 0, Bias::none},
    {1, 6, 5, 1, 24, 4},
    {1, 6, 7, 2, 10, 4, Bias::relative, false},
    {1, 3, 9, 1, 128, 7},
};

}  // namespace

TEST_SUITE("cuda_emulation/attention") {
    TEST_CASE_TEMPLATE("attention: the reference's values in both forms", T, float, Half, BFloat16) {
        unsigned seed = 10;
        for (Case const& c : {Case{2, 2, 16, 1, 1}, Case{1, 3, 32, 9, 100}, Case{1, 2, 16, 9, 9}, Case{2, 1, 16, 33, 7},
                              Case{1, 1, 64, 3, 300}, Case{1, 1, 5, 7, 40}, Case{1, 1, 128, 2, 33}, Case{1, 1, 80, 40, 2}})
            check_both_forms(Problem<T>(c, seed += 3));
    }
    TEST_CASE_TEMPLATE("attention: large scores, more keys than a chunk", T, float, Half, BFloat16) {
        check_both_forms(Problem<T>({1, 2, 16, 5, 100, 30}, 1));
        check_both_forms(Problem<T>({1, 4, 16, 4, 32, 1000}, 3));  // exp() overflows with any but the largest score
        Problem<T> const p({1, 1, 16, 1, 2100, 30}, 2);
        Emulation e;
        CHECK(emulated<kernels::AttentionOfFewKernel<T>>(e, p) <= p.allowed());
    }
    TEST_CASE_TEMPLATE("attention: the form is chosen by the shape", T, float, Half, BFloat16) {
        EmulatedContext<T> context;
        for (Case const& c :
             {Case{1, 2, 16, 200, 7}, Case{1, 1, 32, 200, 300}, Case{1, 2, 48, 9, 9}, Case{1, 1, 128, 6, 6}, Case{1, 2, 32, 1, 300}})
            for (bool const sums : {true, false}) {
                Problem<T> const p(c, 20);
                CHECK(p.error([&](kernels::AttentionArgs<T> const& a) { attention(context, a); }, sums) <= p.allowed());
            }
    }
    TEST_CASE_TEMPLATE("attention: every barrier is needed", T, float, Half) {
        Problem<T> const few({1, 1, 16, 1, 2100}, 30), many({1, 1, 16, 9, 70}, 31);
        check_every_barrier(few.allowed(), [&](Emulation& e) { return emulated<kernels::AttentionOfFewKernel<T>>(e, few); });
        check_every_barrier(many.allowed(), [&](Emulation& e) { return emulated<kernels::AttentionToFewKernel<T, 16>>(e, many); });
    }
    TEST_CASE_TEMPLATE("image attention: the reference's values", T, float, Half, BFloat16) {
        unsigned seed = 40;
        for (ImageCase const& c : image_cases) check_image<T>(c, seed += 6);
    }
    TEST_CASE_TEMPLATE("image attention: large scores", T, float, Half, BFloat16) {
        check_image<T>({1, 9, 10, 1, 64, 7, Bias::relative, true, 30}, 1);
        check_image<T>({1, 9, 9, 1, 32, 0, Bias::none, true, 30}, 2);
    }
    TEST_CASE("image attention: every barrier is needed") {
        using namespace kernels;
        check_image_barriers<ImageAttentionFmaKernel<float, 32>, float>({1, 7, 12, 1, 32, 0});
        check_image_barriers<ImageAttentionMmaKernel<Half, 32>, Half>({1, 17, 12, 1, 32, 0});
        check_image_barriers<ImageAttentionMmaKernel<BFloat16, 32>, BFloat16>({1, 2, 70, 1, 32, 0});
    }
    TEST_CASE("image attention: tensor cores where they can, shared memory for every device") {
        using namespace kernels;
        auto const args = [](int height, int width, int head_dim, int window) {
            ImageAttentionArgs<Half> a;
            alignas(16) static Half const any[8] = {};
            a.height = height;
            a.width = width;
            a.heads = 1;
            a.head_dim = head_dim;
            a.window = window;
            a.qkv = a.rel_pos_h = a.rel_pos_w = any;
            return a;
        };
        using Kernel = ImageAttentionMmaKernel<Half, 80>;
        CHECK(Kernel::takes(args(64, 64, 80, 14)));
        CHECK(Kernel::takes(args(128, 128, 80, 0)));
        CHECK_FALSE(Kernel::takes(args(256, 256, 80, 0)));
        CHECK_FALSE(Kernel::takes(args(64, 64, 64, 0)));
        auto odd = args(64, 64, 80, 0);
        ++odd.qkv;
        CHECK_FALSE(Kernel::takes(odd));
        CHECK(ImageAttentionFmaKernel<Half, 128>::shared_bytes(args(256, 256, 128, 0)) <= std::size_t{99} << 10);
    }
}
