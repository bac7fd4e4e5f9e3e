// SPDX-License-Identifier: Apache-2.0
#include "backward_fixture.hpp"

using namespace kernel_test;

namespace {

struct TokenAttention {  // inputs: q [B, queries, heads * head_dim], k, v [B, keys, ..]
    int batch, heads, head_dim, queries, keys;
    int width() const { return heads * head_dim; }
    template <class T>
    kernels::AttentionArgs<T> args(Arrays<T> const& in) const {
        T const scale = T(1) / std::sqrt(T(head_dim));
        return {batch, heads, head_dim, queries, keys, in[0].data(), in[1].data(), in[2].data(), width(), width(), width(), scale, nullptr, nullptr};
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(in[0].size());
        auto a = args(in);
        a.out = out.data();
        attention(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        std::vector<T> out(in[0].size()), lse(std::size_t(batch) * heads * queries);
        auto a = args(in);
        a.out = out.data();
        a.log_sum_exp = lse.data();
        attention(c, a);
        attention_backward(c, kernels::AttentionBackwardArgs<T>{a, grad_out.data(), grads[0].data(), grads[1].data(), grads[2].data()});
    }
};

struct ImageAttention {  // inputs: qkv [B, H, W, 3 * heads * head_dim]; fixed: rel_pos_h, rel_pos_w, pad_key, pad_value
    int batch, height, width, heads, head_dim, window;
    bool relative = true;
    template <class T>
    kernels::ImageAttentionArgs<T> args(Arrays<T> const& in) const {
        kernels::ImageAttentionArgs<T> a;
        a.batch = batch, a.height = height, a.width = width, a.heads = heads, a.head_dim = head_dim, a.window = window;
        a.qkv = in[0].data();
        if (relative) a.rel_pos_h = in[1].data(), a.rel_pos_w = in[2].data();
        a.pad_key = in[3].data(), a.pad_value = in[4].data();
        a.scale = T(1) / std::sqrt(T(head_dim));
        return a;
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(in[0].size() / 3);
        auto a = args(in);
        a.out = out.data();
        image_attention(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        std::vector<T> out(in[0].size() / 3), lse(std::size_t(batch) * heads * height * width);
        auto a = args(in);
        a.out = out.data();
        a.log_sum_exp = lse.data();
        image_attention(c, a);
        image_attention_backward(c, kernels::ImageAttentionBackwardArgs<T>{a, grad_out.data(), grads[0].data()});
    }
};

}  // namespace

TEST_SUITE("kernels/attention_backward") {
    TEST_CASE("tokens among themselves, tokens to image, image to tokens, any head width") {
        Random random(1);
        for (TokenAttention const op : {TokenAttention{1, 1, 1, 1, 1}, TokenAttention{2, 4, 8, 10, 10}, TokenAttention{1, 2, 16, 7, 130},
                                        TokenAttention{2, 2, 20, 70, 11}, TokenAttention{1, 1, 80, 40, 33}}) {
            auto const array = [&](int rows) { return random.vector(std::size_t(op.batch) * rows * op.width(), 1.5f); };
            check_backward(op, {array(op.queries), array(op.keys), array(op.keys)}, 2e-5);
        }
    }
    TEST_CASE("windows with padding, windows larger than the grid, global; with and without relative position") {
        Random random(2);
        for (ImageAttention const op :
             {ImageAttention{1, 4, 4, 1, 8, 2}, ImageAttention{2, 6, 7, 2, 8, 4}, ImageAttention{1, 5, 3, 2, 16, 7},
              ImageAttention{1, 9, 8, 2, 20, 0}, ImageAttention{1, 6, 6, 1, 80, 4}, ImageAttention{1, 7, 7, 2, 8, 0, false},
              ImageAttention{1, 15, 15, 1, 64, 14}}) {
            int const c = op.heads * op.head_dim, rows = op.window ? op.window : op.height, columns = op.window ? op.window : op.width;
            check_backward(op,
                           {random.vector(std::size_t(op.batch) * op.height * op.width * 3 * c, 1.2f),
                            random.vector(std::size_t(2 * rows - 1) * op.head_dim, 0.5f),
                            random.vector(std::size_t(2 * columns - 1) * op.head_dim, 0.5f), random.vector(c), random.vector(c)},
                           2e-5, 4);
        }
    }
}
