// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/simt_context.hpp>
#include <samed/core/simt_vector.hpp>
#include <samed/kernels/elementwise/elementwise.hpp>

namespace samed::kernels {

/// One thread n values.
template <class T, int n>
struct AddKernel {
    using Args = AddArgs<T>;
    static constexpr int threads = 256;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& e) {
        std::int64_t const i = (std::int64_t{s.block_x()} * threads + s.thread()) * n;
        if (i >= e.count) return;
        float a[n], b[n];
        simt::read(e.a + i, a);
        simt::read(e.b + i % e.period, b);
        for (int v = 0; v < n; ++v) a[v] = activate(e.activation, a[v] + b[v]);
        simt::write(a, e.out + i);
    }
};

template <SimtContext C>
void add(C& c, AddArgs<typename C::Scalar> const& a) {
    using T = typename C::Scalar;
    constexpr int n = simt::vector<T>;
    if (a.count == 0) return;
    if (simt::in_vectors<T>({a.count, a.period}, {a.a, a.b, a.out}))
        c.template launch<AddKernel<T, n>>(simt::blocks(a.count, AddKernel<T, n>::threads * n), a);
    else
        c.template launch<AddKernel<T, 1>>(simt::blocks(a.count, AddKernel<T, 1>::threads), a);
}

/// One thread a value: it runs once a pass, where values enter or leave the network.
template <class From, class To>
struct ConvertKernel {
    using Args = ConvertArgs<From, To>;
    static constexpr int threads = 256;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& e) {
        std::int64_t const i = std::int64_t{s.block_x()} * threads + s.thread();
        if (i < e.count) e.to[i] = simt::store<To>(simt::load(e.from[i]));
    }
};

template <SimtContext C, class From, class To>
void convert(C& c, ConvertArgs<From, To> const& e) {
    using Kernel = ConvertKernel<From, To>;
    if (e.count != 0) c.template launch<Kernel>(simt::blocks(e.count, Kernel::threads), e);
}

}  // namespace samed::kernels
