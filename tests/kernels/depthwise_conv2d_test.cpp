// SPDX-License-Identifier: Apache-2.0
#include "kernel_fixture.hpp"

using namespace kernel_test;

namespace {

struct DepthwiseCase {
    int batch, height, width, channels, kernel, stride, padding;
    bool bias = true;
    Activation activation = Activation::none;
};
DepthwiseCase const cases[] = {
    {1, 1, 1, 1, 3, 1, 1},
    {2, 7, 5, 16, 3, 1, 1, true, Activation::gelu},
    {1, 9, 12, 35, 3, 2, 1, true, Activation::relu},
    {1, 8, 8, 64, 3, 2, 1, false},
    {2, 6, 4, 17, 5, 1, 2},
    {1, 5, 5, 48, 2, 1, 0, false, Activation::gelu},
};

template <class C, class T>
std::vector<T> convolve(C& context, DepthwiseCase const& c, std::vector<T> const& x, std::vector<T> const& weight,
                        std::vector<T> const& bias) {
    kernels::DepthwiseConv2dArgs<T> a;
    a.batch = c.batch;
    a.height = c.height;
    a.width = c.width;
    a.channels = c.channels;
    a.kernel = c.kernel;
    a.stride = c.stride;
    a.padding = c.padding;
    a.x = x.data();
    a.weight = weight.data();
    a.bias = c.bias ? bias.data() : nullptr;
    a.activation = c.activation;
    std::vector<T> out(std::size_t(c.batch) * a.out_height() * a.out_width() * c.channels);
    a.out = out.data();
    depthwise_conv2d(context, a);
    return out;
}

}  // namespace

TEST_SUITE("kernels/depthwise_conv2d") {
    TEST_CASE(
        "every instruction set is within 1e-5 of the reference in double; those with fma give the same bits on any number of threads") {
        std::uint64_t seed = 0;
        for (DepthwiseCase const& c : cases) {
            CAPTURE(seed);
            Random random(++seed);
            auto const x = random.vector(std::size_t(c.batch) * c.height * c.width * c.channels, 2);
            auto const weight = random.vector(std::size_t(c.kernel) * c.kernel * c.channels), bias = random.vector(c.channels);
            ReferenceContext<double> reference;
            auto const expected = convolve<ReferenceContext<double>, double>(reference, c, widened(x), widened(weight), widened(bias));
            std::vector<float> first;
            for (Isa isa : isas()) {
                CAPTURE(name(isa));
                CpuContext context(1, isa), three(3, isa);
                auto const out = convolve<CpuContext, float>(context, c, x, weight, bias);
                CHECK(largest_difference(out, expected) <= 1e-5);
                CHECK(same_bits(convolve<CpuContext, float>(three, c, x, weight, bias), out));
                if (isa == Isa::portable) continue;
                if (first.empty()) first = out;
                CHECK(same_bits(out, first));
            }
        }
    }
}
