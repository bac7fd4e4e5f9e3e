// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "kernel_fixture.hpp"

namespace kernel_test {

struct GemmCase {
    int m, n, k, rank = 0, a_extra = 0, out_extra = 0, residual_rows = -1;  // -1: no residual
    bool bias = true;
    Activation activation = Activation::none;
    Precision precision = Precision::f32;
};

struct RandomGemm {
    GemmCase c;
    std::vector<float> a, w, bias, residual, xa, tail;

    explicit RandomGemm(GemmCase const& wanted, std::uint64_t seed) : c(wanted) {
        Random random(seed);
        a = random.vector(std::size_t(c.m) * (c.k + c.a_extra));
        w = random.vector(std::size_t(c.n) * c.k, 1 / std::sqrt(float(c.k)));
        if (c.bias) bias = random.vector(c.n);
        if (c.residual_rows >= 0) residual = random.vector(std::size_t(c.residual_rows ? c.residual_rows : c.m) * (c.n + 3));
        if (c.rank) {
            xa = random.vector(std::size_t(c.m) * (c.rank + 1));
            tail = random.vector(std::size_t(c.n) * c.rank);
        }
    }

    template <class C, class T>
    std::vector<T> run(C& context, std::vector<T> const& a_, std::vector<T> const& bias_, std::vector<T> const& residual_,
                       std::vector<T> const& xa_) const {
        Weight<C> const weight(context, c.n, c.k, c.precision, w),
            low_rank(context, c.n, c.rank, kernels::PackedMatrix::word_terms(c.precision) ? Precision::f32 : c.precision, tail);
        std::vector<T> out(std::size_t(c.m) * (c.n + c.out_extra), T(-7));
        kernels::GemmArgs<T, typename C::Matrix> g;
        g.m = c.m;
        g.n = c.n;
        g.k = c.k;
        g.a = a_.data();
        g.a_stride = c.k + c.a_extra;
        g.weight = weight.matrix(context);
        g.bias = data_or_null(bias_);
        g.residual = data_or_null(residual_);
        g.residual_stride = c.n + 3;
        g.residual_rows = c.residual_rows > 0 ? c.residual_rows : 0;
        g.out = out.data();
        g.out_stride = c.n + c.out_extra;
        g.activation = c.activation;
        if (c.rank) g.tail = {xa_.data(), c.rank + 1, low_rank.matrix(context), c.rank};
        if constexpr (std::is_same_v<C, CpuContext>)
            run_planned(context, [&](CpuContext& x) { gemm(x, g); });
        else
            gemm(context, g);
        return out;
    }
    std::vector<float> run(CpuContext& context) const { return run<CpuContext, float>(context, a, bias, residual, xa); }
    std::vector<double> expected() const {
        ReferenceContext<double> context;
        return run<ReferenceContext<double>, double>(context, widened(a), widened(bias), widened(residual), widened(xa));
    }
};

/// Every case has the same bits for 1, 2, 3 and 8 threads and every instruction set with fused multiply-add.
inline void check_same_bits(std::span<GemmCase const> cases, Precision precision, std::uint64_t seed) {
    for (GemmCase c : cases) {
        if (precision != Precision::f32) c.precision = precision;  // else each its own
        RandomGemm const problem(c, seed++);
        std::vector<float> first;
        for (Isa isa : fused_isas())
            for (int threads : {1, 2, 3, 8}) {
                CpuContext context(threads, isa);
                auto const out = problem.run(context);
                if (first.empty()) first = out;
                CHECK(same_bits(out, first));
            }
    }
}

}  // namespace kernel_test
