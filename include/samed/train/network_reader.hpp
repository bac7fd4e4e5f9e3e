// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <samed/train/layers.hpp>
#include <samed/train/parameters.hpp>
#include <samed/train/random.hpp>
#include <samed/weights/weight_loader.hpp>

namespace samed::train {

/// A tensor that is part of the adapter's file and does not learn.
struct KeptTensor {
    std::string name;
    std::vector<std::int64_t> shape;
    std::vector<float> values;
    bool always_f32 = false;  ///< whatever the file's type
};

/// What a network learns: LoRA, the empty prompt and the mask decoder; or the image encoder itself with these two.
enum class Learn { adapter, everything };

/// The memory of a network that trains.
template <TrainingBackend C>
struct NetworkMemory {
    using Scalar = typename C::Scalar;

    Parameters<Scalar> parameters;
    std::deque<std::vector<Scalar>> frozen;
    std::vector<KeptTensor> kept;
    std::vector<Linear<C>*> trained;  ///< to be packed after a step

    Scalar const* freeze(std::vector<float> const& values) { return frozen.emplace_back(values.begin(), values.end()).data(); }
};

/// Fills layers from a model file. Tensors that the start lacks are drawn as PyTorch draws them: LoRA's A and linear layers
/// uniform within 1 / sqrt(fan in), LoRA's B zero, mask tokens normal.
template <TrainingBackend C>
class NetworkReader {
public:
    using Scalar = typename C::Scalar;
    using Shape = std::initializer_list<int>;

    /// @param fresh_classes  mask tokens, hypernetworks and IoU head do not come from the file
    NetworkReader(C& context, ModelFile const& file, NetworkMemory<C>& memory, Learn learn, bool fresh_classes, std::uint64_t seed)
        : context_(context),
          loader_(context, file, packed_, Precisions{}, asked_),
          memory_(memory),
          learn_(learn),
          fresh_classes_(fresh_classes),
          seed_(seed) {}

    C& context() { return context_; }
    NetworkMemory<C>& memory() { return memory_; }
    Learn learn() const { return learn_; }

    /// @param fan_in  for tensors that are drawn
    Result<std::vector<float>> values(std::string const& name, Shape shape, int fan_in = 1) {
        bool const lora = name.find(".linear_") != std::string::npos;
        bool const of_classes = name.find("mask_tokens") != std::string::npos || name.find("output_hypernetworks") != std::string::npos ||
                                name.find("iou_prediction_head") != std::string::npos;
        if (!(fresh_classes_ && of_classes) && !(lora && !loader_.has(name))) return loader_.host(name, shape);
        std::size_t count = 1;
        for (int n : shape) count *= static_cast<std::size_t>(n);
        std::vector<float> drawn(count);
        if (name.find(".linear_b") != std::string::npos) return drawn;
        Random random(seed_, name);
        float const bound = 1 / std::sqrt(static_cast<float>(fan_in));
        bool const normal = name.find("mask_tokens") != std::string::npos;
        for (float& v : drawn) v = normal ? random.normal() : bound * (2 * random.uniform() - 1);
        return drawn;
    }

    /// A tensor that learns.
    Result<Leaf<Scalar>> learning(std::string const& name, Shape shape, int fan_in = 1, WeightLayout layout = WeightLayout::plain) {
        SAMED_TRY(std::vector<float> const read, values(name, shape, fan_in));
        std::vector<std::int64_t> const sizes(shape.begin(), shape.end());
        Parameter<Scalar>& p = memory_.parameters.add(name, sizes, layout, from_file<Scalar>(layout, sizes, read));
        return Leaf<Scalar>{p.value.data(), p.grad.data()};
    }
    /// A tensor of the base, which learns where everything does.
    Result<Leaf<Scalar>> base(std::string const& name, Shape shape) {
        if (learn_ == Learn::everything) return learning(name, shape);
        SAMED_TRY(std::vector<float> const read, values(name, shape));
        return Leaf<Scalar>{memory_.freeze(read), nullptr};
    }
    /// A tensor that the adapter's file has and the loss does not reach.
    Result<void> keep(std::string const& name, Shape shape, int fan_in = 1) {
        SAMED_TRY(std::vector<float> read, values(name, shape, fan_in));
        memory_.kept.push_back({name, {shape.begin(), shape.end()}, std::move(read), false});
        return {};
    }

    Result<void> trained_linear(Linear<C>& l, std::string const& name, int in, int out, bool bias = true) {
        SAMED_TRY(l.weight, learning(name + ".weight", {out, in}, in));
        if (bias) {
            SAMED_TRY(l.bias, learning(name + ".bias", {out}, in));
        }
        return allocate(l, out, in);
    }
    /// kernel 2, stride 2
    Result<void> trained_conv_transpose(Linear<C>& l, std::string const& name, int in, int out) {
        SAMED_TRY(l.weight, learning(name + ".weight", {in, out, 2, 2}, in, WeightLayout::conv_transpose));
        SAMED_TRY(l.bias, learning(name + ".bias", {out}, in));
        return allocate(l, 4 * out, in);
    }
    Result<void> trained_norm(LayerNorm<C>& l, std::string const& name, int width, double eps) { return norm(l, name, width, eps, true); }

    // Layers of the base.
    Result<void> base_norm(LayerNorm<C>& l, std::string const& name, int width, double eps) { return norm(l, name, width, eps, false); }
    Result<void> base_linear(Linear<C>& l, std::string const& name, int in, int out) {
        if (learn_ == Learn::everything) return trained_linear(l, name, in, out);
        SAMED_TRY(l.bias, base(name + ".bias", {out}));
        SAMED_TRY(std::vector<float> const read, values(name + ".weight", {out, in}));
        return pack(l.packed, out, in, read);
    }
    /// Without bias.
    Result<void> base_conv(Linear<C>& l, std::string const& name, int in, int out, int kernel) {
        int const k = kernel * kernel * in;
        Shape const shape = {out, in, kernel, kernel};
        if (learn_ == Learn::everything) {
            SAMED_TRY(l.weight, learning(name + ".weight", shape, k, WeightLayout::conv));
            return allocate(l, out, k);
        }
        SAMED_TRY(std::vector<float> const read, values(name + ".weight", shape));
        return pack(l.packed, out, k, from_file<float>(WeightLayout::conv, {out, in, kernel, kernel}, read));
    }
    /// A frozen matrix [n, k].
    Result<void> pack(PackedPair<C>& pair, int n, int k, std::vector<float> const& source) {
        SAMED_TRY(pair, PackedPair<C>::allocate(context_, n, k));
        std::vector<Scalar> const scalars(source.begin(), source.end());
        pair.renew(context_, scalars.data());
        return {};
    }

private:
    Result<void> norm(LayerNorm<C>& l, std::string const& name, int width, double eps, bool learns) {
        auto const leaf = [&](std::string const& of) { return learns ? learning(of, {width}) : base(of, {width}); };
        SAMED_TRY(l.weight, leaf(name + ".weight"));
        SAMED_TRY(l.bias, leaf(name + ".bias"));
        l.width = width;
        l.eps = static_cast<Scalar>(eps);
        return {};
    }
    Result<void> allocate(Linear<C>& l, int n, int k) {
        SAMED_TRY(l.packed, PackedPair<C>::allocate(context_, n, k));
        memory_.trained.push_back(&l);
        return {};
    }

    C& context_;
    WeightMemory<C> packed_;
    AskedTensors asked_;
    WeightLoader<C> loader_;
    NetworkMemory<C>& memory_;
    Learn learn_;
    bool fresh_classes_;
    std::uint64_t seed_;
};

}  // namespace samed::train
