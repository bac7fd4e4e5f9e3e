// SPDX-License-Identifier: Apache-2.0
#include "kernel_bench.hpp"

#include <cmath>

namespace kernel_bench {

namespace {

/// FLOP counted: two products of every real query with all keys of its window, padded ones included.
void add_grid(std::string const& name, int side, int heads, int head_dim, int window) {
    double const keys = window ? double(window) * window : double(side) * side;
    add_benchmark("image_attention", name, 4.0 * side * side * keys * heads * head_dim, [=](CpuContext&) {
        int const width = heads * head_dim, size = window ? window : side;
        auto const qkv = std::make_shared<std::vector<float>>(numbers(std::size_t(side) * side * 3 * width));
        auto const out = std::make_shared<std::vector<float>>(std::size_t(side) * side * width);
        auto const table = std::make_shared<std::vector<float>>(numbers(std::size_t(2 * size - 1) * head_dim));
        auto const pad = std::make_shared<std::vector<float>>(numbers(width));
        return [=](CpuContext& c) {
            kernels::ImageAttentionArgs<float> a;
            a.height = a.width = side;
            a.heads = heads;
            a.head_dim = head_dim;
            a.window = window;
            a.qkv = qkv->data();
            a.rel_pos_h = a.rel_pos_w = table->data();
            a.pad_key = a.pad_value = pad->data();
            a.scale = 1 / std::sqrt(static_cast<float>(head_dim));
            a.out = out->data();
            image_attention(c, a);
        };
    });
}

void add_tokens(int queries, int keys, int head_dim) {
    int const heads = 8, width = heads * head_dim;
    add_benchmark("attention", std::to_string(queries) + "x" + std::to_string(keys) + "x" + std::to_string(head_dim),
                  4.0 * queries * keys * width, [=](CpuContext&) {
                      auto const q = std::make_shared<std::vector<float>>(numbers(std::size_t(queries) * width));
                      auto const k = std::make_shared<std::vector<float>>(numbers(std::size_t(keys) * width));
                      auto const out = std::make_shared<std::vector<float>>(std::size_t(queries) * width);
                      return [=](CpuContext& c) {
                          kernels::AttentionArgs<float> a;
                          a.heads = heads;
                          a.head_dim = head_dim;
                          a.queries = queries;
                          a.keys = keys;
                          a.q = q->data();
                          a.k = a.v = k->data();
                          a.q_stride = a.k_stride = a.v_stride = width;
                          a.scale = 0.25f;
                          a.out = out->data();
                          attention(c, a);
                      };
                  });
}

}  // namespace

void add_attention() {
    add_grid("vit_b_512/window", 32, 12, 64, 14);
    add_grid("vit_b_512/global", 32, 12, 64, 0);
    add_grid("vit_b_1024/window", 64, 12, 64, 14);
    add_grid("vit_b_1024/global", 64, 12, 64, 0);
    add_grid("vit_h_512/global", 32, 16, 80, 0);
    add_tokens(10, 1024, 16);
    add_tokens(1024, 10, 16);
    add_tokens(10, 10, 32);
}

}  // namespace kernel_bench
