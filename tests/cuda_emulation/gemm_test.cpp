// SPDX-License-Identifier: Apache-2.0
// The device twin of gemm: which products, which epilogue, and what may lie where.
#include <samed/kernels/gemm/gemm_simt.hpp>

#include <limits>

#include "twin_check.hpp"

using namespace samed;
using namespace samed_test;
using kernels::Activation;
using kernels::DenseMatrix;
using kernels::GemmArgs;

namespace {

enum class Residual { none, plain, repeated, out };  // `out`: in place

struct Shape {
    int m, n, k, extra;  ///< extra: between the rows of a, residual and out
};
struct Epilogue {
    bool bias;
    Residual residual;
    Activation activation;
    int rank;
};

/// The arguments for both: T stored, or f32.
template <class T>
GemmArgs<T, DenseMatrix<T>> arguments(Shape const& s, Epilogue const& e, T const* a, T const* w, T const* bias, T const* residual,
                                      T const* xa, T const* tail, T* out) {
    GemmArgs<T, DenseMatrix<T>> g;
    g.m = s.m;
    g.n = s.n;
    g.k = s.k;
    g.a = a;
    g.a_stride = s.k + s.extra;
    g.weight = {w, s.n, s.k};
    g.bias = e.bias ? bias : nullptr;
    if (e.residual != Residual::none) g.residual = e.residual == Residual::out ? out : residual;
    g.out_stride = s.n + s.extra;
    g.residual_stride = e.residual == Residual::out ? g.out_stride : s.n + 2 * s.extra;
    if (e.residual == Residual::repeated) g.residual_rows = s.m / 2 + 1;
    g.out = out;
    g.activation = e.activation;
    if (e.rank) g.tail = {xa, e.rank + s.extra, {tail, s.n, e.rank}, e.rank};
    return g;
}

template <class T>
void check(Shape const& s, Epilogue const& e, unsigned seed) {
    auto const rows = [&](int columns) { return std::size_t(s.m) * std::size_t(columns); };
    Values<T> const a(rows(s.k + s.extra), seed), w(std::size_t(s.n * s.k), seed + 1), bias(std::size_t(s.n), seed + 2);
    Values<T> const residual(rows(s.n + 2 * s.extra), seed + 3), xa(rows(e.rank + s.extra), seed + 4);
    Values<T> const tail(std::size_t(s.n * e.rank), seed + 5), before(rows(s.n + s.extra), seed + 6);

    std::vector<float> expected = before.f32;
    kernels::reference::gemm(arguments<float>(s, e, a.f32.data(), w.f32.data(), bias.f32.data(), residual.f32.data(), xa.f32.data(),
                                              tail.f32.data(), expected.data()));
    std::vector<T> out = before.stored;
    auto const g = arguments<T>(s, e, a.data(), w.data(), bias.data(), residual.data(), xa.data(), tail.data(), out.data());
    std::size_t const scratch = run_planned<T>([&](auto& c) { gemm(c, g); });

    CAPTURE(s.m);
    CAPTURE(s.n);
    CAPTURE(s.extra);
    CAPTURE(e.bias);
    CAPTURE(int(e.residual));
    CAPTURE(int(e.activation));
    CAPTURE(e.rank);
    CHECK(relative_error(out, expected) <= storage_error<T>());
    bool const apart = e.residual == Residual::out && e.activation != Activation::none;
    CHECK((scratch >= rows(s.n) * sizeof(T)) == apart);  // all else works where it writes
    CHECK((scratch == 0) == !apart);
    for (int i = 0; i < s.m; ++i)  // what lies between the rows of `out` is not its own
        for (int j = s.n; j < s.n + s.extra; ++j) {
            std::size_t const at = std::size_t(i) * std::size_t(s.n + s.extra) + std::size_t(j);
            CHECK(simt::load(out[at]) == before.f32[at]);
        }
}

/// Counts what a twin asks for.
struct Counting : EmulatedContext<float> {
    int products = 0, launches = 0;
    template <class Kernel>
    void launch(simt::Grid grid, typename Kernel::Args const& args) {
        launches += 1;
        EmulatedContext<float>::launch<Kernel>(grid, args);
    }
    void multiply(kernels::Product<float> const& p) {
        products += 1;
        EmulatedContext<float>::multiply(p);
    }
};

}  // namespace

TEST_SUITE("cuda_emulation/gemm") {
    TEST_CASE_TEMPLATE("every bias, residual, activation and tail together, in vectors and value by value, with strides", T, float, Half,
                       BFloat16) {
        unsigned seed = 1;
        for (Shape const& s :
             {Shape{1, 1, 1, 0}, Shape{5, 3, 7, 0}, Shape{12, 40, 33, 0}, Shape{9, 40, 33, 8}, Shape{9, 40, 16, 1}, Shape{31, 100, 20, 3}})
            for (bool bias : {false, true})
                for (Residual residual : {Residual::none, Residual::plain, Residual::repeated, Residual::out})
                    for (Activation activation : {Activation::none, Activation::relu, Activation::gelu})
                        for (int rank : {0, 4}) check<T>(s, {bias, residual, activation, rank}, seed += 10);
    }

    TEST_CASE("GELU of a product below f16 is zero, as it is in f32; a product above it stays infinite") {
        std::vector<Half> const a{to_f16(300), to_f16(300)}, w{to_f16(-300), to_f16(300)};
        std::vector<Half> out(2);
        GemmArgs<Half, DenseMatrix<Half>> g;
        g.m = g.k = 1;
        g.n = 2;
        g.a = a.data();
        g.a_stride = 1;
        g.weight = {w.data(), 2, 1};
        g.out = out.data();
        g.out_stride = 2;
        g.activation = Activation::gelu;
        run_planned<Half>([&](auto& c) { gemm(c, g); });
        CHECK(to_f32(out[0]) == 0);
        CHECK(to_f32(out[1]) == std::numeric_limits<float>::infinity());
    }

    TEST_CASE("a residual of as many rows as the product is a plain one: one product, nothing else is launched") {
        Values<float> const a(6, 1), w(8, 2), residual(12, 3);
        std::vector<float> out(12);
        auto g = arguments<float>({3, 4, 2, 0}, {false, Residual::plain, Activation::none, 0}, a.data(), w.data(), nullptr, residual.data(),
                                  nullptr, nullptr, out.data());
        g.residual_rows = g.m;
        Counting c;
        gemm(c, g);
        CHECK(c.products == 1);
        CHECK(c.launches == 0);
        g.residual_rows = 2;
        gemm(c, g);
        CHECK(c.products == 2);
        CHECK(c.launches == 1);
    }
}
