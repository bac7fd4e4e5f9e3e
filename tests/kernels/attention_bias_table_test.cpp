// SPDX-License-Identifier: Apache-2.0
#include "kernel_fixture.hpp"

using namespace kernel_test;

namespace {

struct TableCase {
    int batch, height, width, heads, head_dim, window;
};
TableCase const cases[] = {{1, 1, 1, 1, 8, 2},    {2, 7, 7, 2, 8, 7},     {1, 9, 13, 3, 16, 4},
                           {1, 16, 10, 2, 32, 7}, {1, 15, 15, 1, 32, 14}, {1, 5, 6, 2, 8, 0}};

struct TableProblem {
    TableCase c;
    int rows, columns;
    std::vector<float> qkv, table, pad_key, pad_value;

    TableProblem(TableCase const& wanted, std::uint64_t seed) : c(wanted) {
        Random random(seed);
        rows = c.window ? c.window : c.height;
        columns = c.window ? c.window : c.width;
        int const width = c.heads * c.head_dim;
        qkv = random.vector(std::size_t(c.batch) * c.height * c.width * 3 * width, 2);
        table = random.vector(std::size_t(c.heads) * rows * columns, 3);
        pad_key = random.vector(width);
        pad_value = random.vector(width);
    }
    template <class C, class T>
    std::vector<T> run(C& context, std::vector<T> const& q, std::vector<T> const& bias, std::vector<T> const& key,
                       std::vector<T> const& value) const {
        std::vector<T> out(std::size_t(c.batch) * c.height * c.width * c.heads * c.head_dim);
        kernels::ImageAttentionArgs<T> a;
        a.batch = c.batch;
        a.height = c.height;
        a.width = c.width;
        a.heads = c.heads;
        a.head_dim = c.head_dim;
        a.window = c.window;
        a.qkv = q.data();
        a.bias_table = bias.data();
        a.pad_key = key.data();
        a.pad_value = value.data();
        a.scale = T(1) / std::sqrt(T(c.head_dim));
        a.out = out.data();
        if constexpr (std::is_same_v<C, CpuContext>)
            run_planned(context, [&](CpuContext& x) { image_attention(x, a); });
        else
            image_attention(context, a);
        return out;
    }
};

}  // namespace

TEST_SUITE("kernels/attention_bias_table") {
    TEST_CASE("a symmetric table of biases, whole and padded windows: within 2e-5 of the reference in double, the same bits with fma") {
        std::uint64_t seed = 40;
        for (TableCase const& c : cases) {
            TableProblem const p(c, ++seed);
            CAPTURE(seed);
            ReferenceContext<double> reference;
            auto const expected = p.run<ReferenceContext<double>, double>(reference, widened(p.qkv), widened(p.table), widened(p.pad_key),
                                                                          widened(p.pad_value));
            std::vector<float> first;
            for (Isa isa : isas()) {
                CAPTURE(name(isa));
                CpuContext context(2, isa);
                auto const out = p.run<CpuContext, float>(context, p.qkv, p.table, p.pad_key, p.pad_value);
                CHECK(largest_difference(out, expected) <= 2e-5);
                if (isa == Isa::portable) continue;
                if (first.empty()) first = out;
                CHECK(same_bits(out, first));
            }
        }
    }
}
