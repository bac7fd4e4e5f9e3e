// SPDX-License-Identifier: Apache-2.0
// Backward passes: the reference against finite differences in double, every twin against the reference.
#pragma once

#include "kernel_fixture.hpp"

#include <algorithm>

#include <samed/backend/cpu_training.hpp>
#include <samed/backend/reference_training.hpp>

namespace kernel_test {

template <class T>
using Arrays = std::vector<std::vector<T>>;

/// A weight of `source` [n, k], or of its transpose, as the context keeps it at run time.
template <class C, class T>
class RuntimeWeight {
public:
    RuntimeWeight(C& c, int n, int k, T const* source, bool transposed) : n_(n), k_(k), bytes_(c.packed_bytes(n, k, Precision::f32)) {
        pack(c, kernels::PackArgs<T>{n, k, source, transposed, n, bytes_.data()});
    }
    typename C::Matrix matrix(C& c) const { return c.matrix(bytes_.data(), n_, k_, Precision::f32); }

private:
    int n_, k_;
    std::vector<std::byte> bytes_;
};

inline Arrays<double> widened(Arrays<float> const& all) {
    Arrays<double> out;
    for (auto const& v : all) out.emplace_back(v.begin(), v.end());
    return out;
}

/// Gradients of `op` under `grad_out`, added to arrays of ones.
template <class T, class C, class Op>
Arrays<T> gradients(C& context, Op const& op, Arrays<T> const& inputs, std::vector<T> const& grad_out) {
    Arrays<T> grads;
    for (auto const& v : inputs) grads.emplace_back(v.size(), T(1));
    op.backward(context, inputs, grad_out, grads);
    return grads;
}

/// An op has `forward(context, inputs)`, which returns its output, and `backward(context, inputs, grad_out, grads)`, which adds to
/// the gradient of every input; `fixed` inputs at the end have none. Twins must be within `tolerance` of the largest gradient.
template <class Op>
void check_backward(Op const& op, Arrays<float> const& inputs, double tolerance, std::size_t fixed = 0) {
    ReferenceContext<double> reference;
    Random random(99);
    Arrays<double> exact = widened(inputs);
    auto const out = op.forward(reference, exact);
    std::vector<float> const narrow = random.vector(out.size());
    std::vector<double> const grad_out(narrow.begin(), narrow.end());
    Arrays<double> const expected = gradients(reference, op, exact, grad_out);

    auto const objective = [&] {
        auto const y = op.forward(reference, exact);
        double sum = 0;
        for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * grad_out[i];
        return sum;
    };
    for (std::size_t a = 0; a + fixed < exact.size(); ++a) {
        double largest = 1e-3;
        for (double g : expected[a]) largest = std::max(largest, std::abs(g - 1));
        for (std::size_t probe = 0; probe < std::min<std::size_t>(24, exact[a].size()); ++probe) {
            std::size_t const i = exact[a].size() <= 24 ? probe : random.next() % exact[a].size();
            double const at = exact[a][i], step = 1e-5;
            exact[a][i] = at + step;
            double const above = objective();
            exact[a][i] = at - step;
            double const below = objective();
            exact[a][i] = at;
            CAPTURE(a);
            CAPTURE(i);
            CHECK(std::abs((above - below) / (2 * step) + 1 - expected[a][i]) < 1e-6 * largest);
        }
    }
    Arrays<float> first;
    for (Isa isa : isas())
        for (int threads : {1, 3}) {
            CAPTURE(name(isa));
            CAPTURE(threads);
            CpuContext context(threads, isa);
            REQUIRE(context.reserve(std::size_t{64} << 20));
            Arrays<float> const found = gradients(context, op, inputs, narrow);
            for (std::size_t a = 0; a + fixed < found.size(); ++a) {
                CAPTURE(a);
                double largest = 1e-3;
                for (double g : expected[a]) largest = std::max(largest, std::abs(g));
                CHECK(largest_difference(found[a], expected[a]) < tolerance * largest);
                if (isa != Isa::portable && !first.empty()) CHECK(same_bits(found[a], first[a]));
            }
            if (isa != Isa::portable && first.empty()) first = found;
            CHECK(context.arena().used_bytes() == 0);
        }
}

}  // namespace kernel_test
