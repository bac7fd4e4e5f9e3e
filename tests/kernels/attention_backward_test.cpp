// SPDX-License-Identifier: Apache-2.0
#include "backward_ops.hpp"

using namespace kernel_test;

TEST_SUITE("kernels/attention_backward") {
    TEST_CASE("tokens among themselves, tokens to image, image to tokens, any head width") {
        Random random(1);
        for (TokenAttention const op : {TokenAttention{1, 1, 1, 1, 1}, TokenAttention{2, 4, 8, 10, 10}, TokenAttention{1, 2, 16, 7, 130},
                                        TokenAttention{2, 2, 20, 70, 11}, TokenAttention{1, 1, 80, 40, 33}}) {
            auto const array = [&](int rows) { return random.vector(std::size_t(op.batch) * rows * op.width(), 1.5f); };
            check_backward(op, {array(op.queries), array(op.keys), array(op.keys)}, 2e-5);
        }
    }
    TEST_CASE("windows with padding, windows larger than the grid, global; with and without relative position, learning or frozen") {
        Random random(2);
        for (ImageAttention op :
             {ImageAttention{1, 4, 4, 1, 8, 2}, ImageAttention{2, 6, 7, 2, 8, 4}, ImageAttention{1, 5, 3, 2, 16, 7},
              ImageAttention{1, 9, 8, 2, 20, 0}, ImageAttention{1, 6, 6, 1, 80, 4}, ImageAttention{1, 7, 7, 2, 8, 0, false},
              ImageAttention{1, 15, 15, 1, 64, 14}, ImageAttention{2, 3, 3, 2, 8, 2, false}}) {
            int const c = op.heads * op.head_dim, rows = op.window ? op.window : op.height, columns = op.window ? op.window : op.width;
            Arrays<float> const inputs = {random.vector(std::size_t(op.batch) * op.height * op.width * 3 * c, 1.2f),
                                          random.vector(std::size_t(2 * rows - 1) * op.head_dim, 0.5f),
                                          random.vector(std::size_t(2 * columns - 1) * op.head_dim, 0.5f), random.vector(c),
                                          random.vector(c)};
            check_backward(op, inputs, 2e-5);
            op.frozen = true;
            check_backward(op, inputs, 2e-5, 4);
        }
    }
    TEST_CASE("frozen tables and padded tokens are not touched, and change no bit of the gradient of qkv") {
        Random random(3);
        ImageAttention op{2, 6, 7, 2, 8, 4};
        Arrays<float> const inputs = {random.vector(2 * 6 * 7 * 48), random.vector(7 * 8), random.vector(7 * 8), random.vector(16),
                                      random.vector(16)};
        std::vector<float> const grad_out = random.vector(2 * 6 * 7 * 16);
        CpuContext context(2);
        REQUIRE(context.reserve(std::size_t{16} << 20));
        Arrays<float> const learning = gradients(context, op, inputs, grad_out);
        op.frozen = true;
        Arrays<float> const frozen = gradients(context, op, inputs, grad_out);
        CHECK(same_bits(learning[0], frozen[0]));
        for (std::size_t i = 1; i < inputs.size(); ++i) {
            CHECK(frozen[i] == std::vector<float>(inputs[i].size(), 1));
            CHECK(learning[i] != frozen[i]);
        }
    }
}
