// SPDX-License-Identifier: Apache-2.0
#include "kernel_bench.hpp"

namespace kernel_bench {

namespace {

struct Shape {
    int m, n, k;
    kernels::Activation activation = kernels::Activation::none;
    bool residual = false;
    Precision precision = Precision::f32;
    std::string note{};
};

void add_shape(Shape const& s) {
    std::string const name = std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k) + s.note;
    add_benchmark("gemm", name, 2.0 * s.m * s.n * s.k, [s](CpuContext& c) {
        auto const a = std::make_shared<std::vector<float>>(numbers(std::size_t(s.m) * s.k));
        auto const out = std::make_shared<std::vector<float>>(std::size_t(s.m) * s.n);
        auto const bias = std::make_shared<std::vector<float>>(numbers(s.n));
        auto packed = std::make_shared<Buffer<std::byte>>();
        if (auto bytes = Buffer<std::byte>::allocate(c.packed_bytes(s.n, s.k, s.precision))) *packed = *std::move(bytes);
        c.pack_rows(packed->data(), s.n, s.k, s.precision, 0, s.n, numbers(std::size_t(s.n) * s.k).data());
        return [=](CpuContext& x) {
            kernels::GemmArgs<float, kernels::PackedMatrix> g;
            g.m = s.m;
            g.n = s.n;
            g.k = s.k;
            g.a = a->data();
            g.a_stride = s.k;
            g.weight = x.matrix(packed->data(), s.n, s.k, s.precision);
            g.bias = bias->data();
            g.residual = s.residual ? out->data() : nullptr;
            g.residual_stride = g.out_stride = s.n;
            g.out = out->data();
            g.activation = s.activation;
            gemm(x, g);
        };
    });
}

}  // namespace

void add_gemm() {
    using kernels::Activation;
    for (int tokens : {1024, 4096}) {  // ViT-B at 512 and 1024
        add_shape({tokens, 2304, 768, Activation::none, false, Precision::f32, "/qkv"});
        add_shape({tokens, 768, 768, Activation::none, true, Precision::f32, "/proj"});
        add_shape({tokens, 3072, 768, Activation::gelu, false, Precision::f32, "/lin1"});
        add_shape({tokens, 768, 3072, Activation::none, true, Precision::f32, "/lin2"});
    }
    add_shape({1024, 256, 768, Activation::none, false, Precision::f32, "/neck"});
    add_shape({1024, 2304, 768, Activation::none, false, Precision::bf16, "/qkv_bf16"});
    add_shape({1024, 2304, 768, Activation::none, false, Precision::f16, "/qkv_f16"});
    for (Precision p : {Precision::bf16_products, Precision::int8}) {
        add_shape({1024, 2304, 768, Activation::none, false, p, "/qkv_" + std::string(name(p))});
        add_shape({1024, 768, 768, Activation::none, true, p, "/proj_" + std::string(name(p))});
        add_shape({1024, 3072, 768, Activation::gelu, false, p, "/lin1_" + std::string(name(p))});
        add_shape({1024, 768, 3072, Activation::none, true, p, "/lin2_" + std::string(name(p))});
    }
    add_shape({10, 2048, 256, Activation::relu, false, Precision::f32, "/decoder_mlp"});
    add_shape({1024, 128, 256, Activation::none, false, Precision::f32, "/decoder_projection"});
}

}  // namespace kernel_bench
