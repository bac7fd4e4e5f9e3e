// SPDX-License-Identifier: Apache-2.0
#include "kernel_fixture.hpp"

using namespace kernel_test;

namespace {

struct ImageCase {
    int batch, height, width, heads, head_dim, window;
    bool relative = true, log_sum_exp = false;
};

struct ImageProblem {
    ImageCase c;
    int rows, columns;
    std::vector<float> qkv, rel_h, rel_w, pad_key, pad_value;

    ImageProblem(ImageCase const& wanted, std::uint64_t seed) : c(wanted) {
        Random random(seed);
        rows = c.window ? c.window : c.height;
        columns = c.window ? c.window : c.width;
        int const width = c.heads * c.head_dim;
        qkv = random.vector(std::size_t(c.batch) * c.height * c.width * 3 * width, 2);
        if (c.relative) {
            rel_h = random.vector(std::size_t(2 * rows - 1) * c.head_dim);
            rel_w = random.vector(std::size_t(2 * columns - 1) * c.head_dim);
        }
        pad_key = random.vector(width);
        pad_value = random.vector(width);
    }
    template <class T>
    struct Output {
        std::vector<T> out, log_sum_exp;
    };
    template <class C, class T>
    Output<T> run(C& context, std::vector<T> const& qkv_, std::vector<T> const& h, std::vector<T> const& w, std::vector<T> const& key,
                  std::vector<T> const& value) const {
        std::size_t const tokens = std::size_t(c.batch) * c.height * c.width;
        Output<T> o{std::vector<T>(tokens * c.heads * c.head_dim), std::vector<T>(tokens * c.heads)};
        kernels::ImageAttentionArgs<T> a;
        a.batch = c.batch;
        a.height = c.height;
        a.width = c.width;
        a.heads = c.heads;
        a.head_dim = c.head_dim;
        a.window = c.window;
        a.qkv = qkv_.data();
        a.rel_pos_h = data_or_null(h);
        a.rel_pos_w = data_or_null(w);
        if (c.height % rows || c.width % columns) {
            a.pad_key = key.data();
            a.pad_value = value.data();
        }
        a.scale = T(1) / std::sqrt(T(c.head_dim));
        a.out = o.out.data();
        a.log_sum_exp = c.log_sum_exp ? o.log_sum_exp.data() : nullptr;
        if constexpr (std::is_same_v<C, CpuContext>)
            run_planned(context, [&](CpuContext& x) { image_attention(x, a); });
        else
            image_attention(context, a);
        return o;
    }
    Output<float> run(CpuContext& context) const { return run<CpuContext, float>(context, qkv, rel_h, rel_w, pad_key, pad_value); }
    Output<double> expected() const {
        ReferenceContext<double> context;
        return run<ReferenceContext<double>, double>(context, widened(qkv), widened(rel_h), widened(rel_w), widened(pad_key),
                                                     widened(pad_value));
    }
};

ImageCase const image_cases[] = {
    {1, 1, 1, 1, 8, 0},
    {1, 5, 7, 2, 8, 0, true, true},
    {2, 8, 8, 3, 16, 0},
    {1, 9, 40, 1, 64, 0},
    {1, 16, 16, 2, 80, 0, false},
    {1, 4, 4, 1, 8, 14, true, true},
    {2, 16, 16, 2, 64, 14},
    {1, 28, 14, 2, 16, 14},
    {1, 7, 10, 3, 24, 4, true, true},
    {2, 10, 6, 1, 88, 3, false},
    {1, 6, 6, 2, 20, 5},
};

struct TokenCase {
    int batch, heads, head_dim, queries, keys;
    bool log_sum_exp = false;
};
struct TokenProblem {
    TokenCase c;
    std::vector<float> q, k, v;

    TokenProblem(TokenCase const& wanted, std::uint64_t seed) : c(wanted) {
        Random random(seed);
        int const width = c.heads * c.head_dim;
        q = random.vector(std::size_t(c.batch) * c.queries * (width + 3), 2);
        k = random.vector(std::size_t(c.batch) * c.keys * (width + 1), 2);
        v = random.vector(std::size_t(c.batch) * c.keys * width, 2);
    }
    template <class C, class T>
    ImageProblem::Output<T> run(C& context, std::vector<T> const& q_, std::vector<T> const& k_, std::vector<T> const& v_) const {
        int const width = c.heads * c.head_dim;
        std::size_t const rows = std::size_t(c.batch) * c.queries;
        ImageProblem::Output<T> o{std::vector<T>(rows * width), std::vector<T>(rows * c.heads)};
        kernels::AttentionArgs<T> a{.batch = c.batch,
                                    .heads = c.heads,
                                    .head_dim = c.head_dim,
                                    .queries = c.queries,
                                    .keys = c.keys,
                                    .q = q_.data(),
                                    .k = k_.data(),
                                    .v = v_.data(),
                                    .q_stride = width + 3,
                                    .k_stride = width + 1,
                                    .v_stride = width,
                                    .scale = T(1) / std::sqrt(T(c.head_dim)),
                                    .out = o.out.data(),
                                    .log_sum_exp = c.log_sum_exp ? o.log_sum_exp.data() : nullptr};
        if constexpr (std::is_same_v<C, CpuContext>)
            run_planned(context, [&](CpuContext& x) { attention(x, a); });
        else
            attention(context, a);
        return o;
    }
    ImageProblem::Output<float> run(CpuContext& context) const { return run<CpuContext, float>(context, q, k, v); }
    ImageProblem::Output<double> expected() const {
        ReferenceContext<double> context;
        return run<ReferenceContext<double>, double>(context, widened(q), widened(k), widened(v));
    }
};

TokenCase const token_cases[] = {
    {1, 1, 8, 1, 1}, {2, 8, 16, 10, 256, true}, {2, 8, 16, 300, 10, true}, {1, 8, 32, 10, 10}, {3, 2, 12, 33, 70}, {1, 1, 64, 65, 300},
};

template <class Problem, class Cases>
void check_against_reference(Cases const& cases) {
    std::uint64_t seed = 1;
    for (auto const& c : cases) {
        Problem const problem(c, seed++);
        auto const expected = problem.expected();
        for (Isa isa : isas()) {
            CAPTURE(name(isa));
            CAPTURE(seed);
            CpuContext context(2, isa);
            auto const out = problem.run(context);
            CHECK(largest_difference(out.out, expected.out) < 1e-5);  // scores reach 20, values 2
            CHECK(largest_difference(out.log_sum_exp, expected.log_sum_exp) < 1e-5);
        }
    }
}
template <class Problem, class Cases>
void check_bits(Cases const& cases) {
    std::uint64_t seed = 50;
    for (auto const& c : cases) {
        Problem const problem(c, seed++);
        std::vector<float> first;
        for (Isa isa : fused_isas())
            for (int threads : {1, 2, 3, 8}) {
                CpuContext context(threads, isa);
                auto const out = problem.run(context).out;
                if (first.empty()) first = out;
                CHECK(same_bits(out, first));
            }
    }
}

}  // namespace

TEST_SUITE("kernels/attention") {
    TEST_CASE("image attention is the reference within rounding: any grid, window, head_dim and batch, padded keys, no relative position") {
        check_against_reference<ImageProblem>(image_cases);
    }
    TEST_CASE("decoder attention is the reference within rounding: 10 x many, many x 10, 10 x 10, strided rows") {
        check_against_reference<TokenProblem>(token_cases);
    }
    TEST_CASE("both give the same bits for 1, 2, 3 and 8 threads and every instruction set with fused multiply-add") {
        check_bits<ImageProblem>(image_cases);
        check_bits<TokenProblem>(token_cases);
    }
    TEST_CASE("a fixed problem has these bits on every machine with fused multiply-add") {
        ImageProblem const problem({1, 17, 15, 2, 16, 7}, 77);
        for (Isa isa : fused_isas()) {
            CpuContext context(2, isa);
            CHECK(fingerprint(problem.run(context).out) == 5399434967276601445u);
        }
    }

    TEST_CASE("an image's bits do not depend on its place in the batch") {
        ImageCase const c{3, 9, 10, 2, 16, 4};
        ImageProblem const all(c, 4);
        ImageProblem one = all;
        one.c.batch = 1;
        CpuContext context(2);
        auto const out = all.run(context).out;
        std::size_t const image = out.size() / 3, input = all.qkv.size() / 3;
        for (std::size_t b = 0; b < 3; ++b) {
            one.qkv.assign(all.qkv.begin() + b * input, all.qkv.begin() + (b + 1) * input);
            CHECK(same_bits(one.run(context).out, std::vector<float>(out.begin() + b * image, out.begin() + (b + 1) * image)));
        }
    }
    TEST_CASE("scores far apart neither overflow nor leave the softmax; NaN in a query reaches its output and no other") {
        ImageCase const c{1, 4, 4, 1, 16, 0};
        ImageProblem problem(c, 6);
        for (float& x : problem.qkv) x *= 1000;
        auto const expected = problem.expected();
        for (Isa isa : isas()) {
            CpuContext context(1, isa);
            CHECK(largest_difference(problem.run(context).out, expected.out) < 4e-3);
        }
        ImageProblem broken(c, 6);
        broken.qkv[5 * 3 * 16] = std::nanf("");
        for (Isa isa : isas()) {
            CpuContext context(1, isa);
            auto const out = broken.run(context).out;
            for (std::size_t i = 0; i < out.size(); ++i) CHECK(std::isnan(out[i]) == (i / 16 == 5));
        }
    }
}
