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
