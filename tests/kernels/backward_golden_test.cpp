// SPDX-License-Identifier: Apache-2.0
// Gradients of single layers against PyTorch's (tools/golden/make_train_fixtures.py).
#include "backward_ops.hpp"

#include "../golden_case.hpp"

#include <samed/train/parameters.hpp>

using namespace kernel_test;
using samed_test::channels_last;
using samed_test::read_stage;
using samed_test::Stage;

namespace {

class Layers {
public:
    Layers() : file_(Safetensors::open(std::string(SAMED_TEST_DATA) + "/golden/train/layers.safetensors").value()) {}

    /// Images with channels innermost, everything else as it is.
    std::vector<float> get(std::string const& name) const {
        Stage const s = read_stage(file_, name);
        return s.shape.size() == 4 && name.find("qkv") == std::string::npos ? channels_last(s) : s.values;
    }
    std::vector<float> weight(std::string const& name, train::WeightLayout layout) const {
        Stage const s = read_stage(file_, name);
        return train::from_file<float>(layout, {s.shape.begin(), s.shape.end()}, s.values);
    }
    /// [B, channels, pixels] with channels innermost.
    std::vector<float> pixels_first(std::string const& name) const {
        Stage s = read_stage(file_, name);
        s.shape.push_back(1);
        return channels_last(s);
    }

private:
    Safetensors file_;
};

template <class Op>
void check(Op const& op, Arrays<float> const& inputs, std::vector<float> const& grad_out, Arrays<float> const& expected) {
    for (Isa isa : isas()) {
        CAPTURE(name(isa));
        CpuContext context(2, isa);
        REQUIRE(context.reserve(std::size_t{16} << 20));
        Arrays<float> grads;
        for (auto const& v : inputs) grads.emplace_back(v.size(), 0.0f);
        op.backward(context, inputs, grad_out, grads);
        for (std::size_t i = 0; i < expected.size(); ++i) {
            CAPTURE(i);
            REQUIRE(expected[i].size() == grads[i].size());
            CHECK(samed_test::relative_error(grads[i].data(), expected[i]) < 1e-5);
        }
    }
}

}  // namespace

TEST_SUITE("kernels/backward_golden") {
    TEST_CASE("gradients of single layers are PyTorch's within 1e-5") {
        Layers const f;
        SUBCASE("layer_norm") {
            check(Norm{7, 24, Activation::none, 1e-6}, {f.get("layer_norm.x"), f.get("layer_norm.weight"), f.get("layer_norm.bias")},
                  f.get("layer_norm.grad_out"),
                  {f.get("layer_norm.grad.x"), f.get("layer_norm.grad.weight"), f.get("layer_norm.grad.bias")});
        }
        SUBCASE("LayerNorm2d and GELU") {
            std::string const n = "layer_norm2d_gelu.";
            check(Norm{12, 8, Activation::gelu, 1e-6}, {f.get(n + "x"), f.get(n + "weight"), f.get(n + "bias")}, f.get(n + "grad_out"),
                  {f.get(n + "grad.x"), f.get(n + "grad.weight"), f.get(n + "grad.bias")});
        }
        SUBCASE("linear and GELU") {
            std::string const n = "linear_gelu.";
            check(GemmActivated{9, 12, 20, Activation::gelu}, {f.get(n + "x"), f.get(n + "weight"), f.get(n + "bias")},
                  f.get(n + "grad_out"), {f.get(n + "grad.x"), f.get(n + "grad.weight"), f.get(n + "grad.bias")});
        }
        SUBCASE("conv2d") {
            auto const layout = train::WeightLayout::conv;
            check(Conv{2, 5, 4, 3, 6, 3, 1, 1}, {f.get("conv2d.x"), f.weight("conv2d.weight", layout), std::vector<float>(6)},
                  f.get("conv2d.grad_out"), {f.get("conv2d.grad.x"), f.weight("conv2d.grad.weight", layout)});
        }
        SUBCASE("conv_transpose2d") {
            auto const layout = train::WeightLayout::conv_transpose;
            std::string const n = "conv_transpose2d.";
            check(ConvTranspose{1, 3, 3, 6, 4}, {f.get(n + "x"), f.weight(n + "weight", layout), f.get(n + "bias")}, f.get(n + "grad_out"),
                  {f.get(n + "grad.x"), f.weight(n + "grad.weight", layout), f.get(n + "grad.bias")});
        }
        SUBCASE("mask_product") {
            check(MaskProduct{2, 3, 25, 8}, {f.get("mask_product.hyper"), f.pixels_first("mask_product.upscaled")},
                  f.get("mask_product.grad_out"), {f.get("mask_product.grad.hyper"), f.pixels_first("mask_product.grad.upscaled")});
        }
        SUBCASE("bilinear") {
            auto const planes = [&](char const* name) { return f.weight(name, train::WeightLayout::plain); };
            check(Bilinear{2, 4, 5, 12, 9}, {planes("bilinear.x")}, planes("bilinear.grad_out"), {planes("bilinear.grad.x")});
        }
        SUBCASE("attention") {
            check(TokenAttention{2, 2, 8, 5, 7}, {f.get("attention.q"), f.get("attention.k"), f.get("attention.v")},
                  f.get("attention.grad_out"), {f.get("attention.grad.q"), f.get("attention.grad.k"), f.get("attention.grad.v")});
        }
        SUBCASE("windows with padding, and global, with decomposed relative position") {
            for (bool window : {true, false}) {
                std::string const n = window ? "window_attention." : "global_attention.";
                auto const plain = [&](std::string const& name) { return f.weight(n + name, train::WeightLayout::plain); };
                auto const pad = f.get(n + "pad"), grad_pad = f.get(n + "grad.pad");
                Arrays<float> expected = {plain("grad.qkv"), f.get(n + "grad.rel_pos_h"), f.get(n + "grad.rel_pos_w")};
                if (window) {  // no other has padded tokens
                    expected.emplace_back(grad_pad.begin() + 16, grad_pad.begin() + 32);
                    expected.emplace_back(grad_pad.begin() + 32, grad_pad.end());
                }
                check(ImageAttention{1, 6, 6, 2, 8, window ? 4 : 0},
                      {plain("qkv"),
                       f.get(n + "rel_pos_h"),
                       f.get(n + "rel_pos_w"),
                       {pad.begin() + 16, pad.begin() + 32},
                       {pad.begin() + 32, pad.end()}},
                      plain("grad_out"), expected);
            }
        }
    }
}
