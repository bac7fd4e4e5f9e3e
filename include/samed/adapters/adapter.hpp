// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <type_traits>

#include <samed/nn/attention.hpp>

namespace samed::adapters {

/// Tokens of a stage: `depth` slices of height x width cells, `batch` times. Two-dimensional systems have depth 1.
struct GridInfo {
    int batch = 1, depth = 1, height = 0, width = 0;
    int tokens() const { return batch * depth * height * width; }
};

/// The block that an adapter is bound to.
struct BlockInfo {
    int index = 0;
    bool global = false;
    int width = 0;  ///< C
};

/// The decoder attention that an adapter is bound to.
struct DecoderAttentionInfo {
    std::string name;          ///< as in the model file: "mask_decoder.transformer.layers.0.self_attn"
    int width = 0, inner = 0;  ///< of its inputs; of q, k and v
};

using nn::QkvPart;

/// Places in the network where a system may deviate from SAM.
namespace slot {
/// `void qkv(C&, QkvPart, GemmArgs&) const`: edits the projection of one part before it runs: another weight, a low-rank tail.
struct Qkv {
    static constexpr char name[] = "Qkv";
};
/// `void attn_out(C&, GridInfo, Scalar* y) const`: edits the attention's output [tokens, C] before the residual.
struct AttnOut {
    static constexpr char name[] = "AttnOut";
};
/// `void mlp_out(C&, GridInfo, Scalar const* normed, Scalar* x) const`: adds to the residual stream, parallel to the MLP; both [tokens, C].
struct MlpOut {
    static constexpr char name[] = "MlpOut";
};
/// `void qkv(C&, QkvPart, GemmArgs&) const`: as Qkv, for each attention of the two-way transformer. A system that fills it shares
/// the transformer's frozen weights: they belong to the base.
struct DecoderAttention {
    static constexpr char name[] = "DecoderAttention";
};
}  // namespace slot

/// What an adapter declares: `using slots = Slots<slot::Qkv>;`
template <class... S>
struct Slots {
    template <class T>
    static constexpr bool has = (std::is_same_v<T, S> || ...);
};

// An adapter is a type with `slots` and a template `Bound<C>`: its weights for one block in the memory of backend C, made by
//     static Result<Bound> bind(WeightLoader<C>&, BlockInfo const&);
// and called by the member functions that the slots name. In the DecoderAttention slot it is bound to a DecoderAttentionInfo. An
// adapter that can merge takes a third argument: the loader of the base's file, or null.

template <class A, class C>
concept CallsQkv = requires(typename A::template Bound<C> const& b, C& c, kernels::GemmArgs<typename C::Scalar, typename C::Matrix>& a) {
    b.qkv(c, QkvPart::q, a);
};
template <class A, class C>
concept CallsAttnOut = requires(typename A::template Bound<C> const& b, C& c, typename C::Scalar* y) {
    b.attn_out(c, GridInfo{}, y);
};
template <class A, class C>
concept CallsMlpOut = requires(typename A::template Bound<C> const& b, C& c, typename C::Scalar const* n, typename C::Scalar* x) {
    b.mlp_out(c, GridInfo{}, n, x);
};

/// Declared and callable, or neither: a misspelt member function must not be silently ignored.
template <class A, class C>
concept QkvDeclaredAsCalled = A::slots::template has<slot::Qkv> == CallsQkv<A, C>;
template <class A, class C>
concept AttnOutDeclaredAsCalled = A::slots::template has<slot::AttnOut> == CallsAttnOut<A, C>;
template <class A, class C>
concept MlpOutDeclaredAsCalled = A::slots::template has<slot::MlpOut> == CallsMlpOut<A, C>;

template <class A, class C>
concept Binds = requires(WeightLoader<C>& l, BlockInfo const& info) {
    { A::template Bound<C>::bind(l, info) } -> std::same_as<Result<typename A::template Bound<C>>>;
};

template <class A, class C>
concept BindsToDecoder = requires(WeightLoader<C>& l, DecoderAttentionInfo const& info) {
    { A::template Bound<C>::bind(l, info) } -> std::same_as<Result<typename A::template Bound<C>>>;
};
template <class A, class C>
concept DecoderAttentionDeclaredAsCalled = A::slots::template has<slot::DecoderAttention> == CallsQkv<A, C>;

/// What the DecoderAttention slot takes.
template <class A, class C>
concept DecoderAdapter = DecoderAttentionDeclaredAsCalled<A, C> && BindsToDecoder<A, C>;

/// What the slots of the encoder's blocks take.
template <class A, class C>
concept Adapter = QkvDeclaredAsCalled<A, C> && AttnOutDeclaredAsCalled<A, C> && MlpOutDeclaredAsCalled<A, C> && Binds<A, C>;

/// The default of every slot: nothing bound, nothing called.
struct Identity {
    using slots = Slots<>;
    template <class C>
    struct Bound {
        static Result<Bound> bind(WeightLoader<C>&, BlockInfo const&) { return Bound{}; }
        static Result<Bound> bind(WeightLoader<C>&, DecoderAttentionInfo const&) { return Bound{}; }
    };
};

/// A's weights at `where`; merged copies where `base` is given and A can merge.
template <class A, class C, class Where>
Result<typename A::template Bound<C>> bind(WeightLoader<C>& loader, Where const& where, WeightLoader<C>* base) {
    if constexpr (requires { A::template Bound<C>::bind(loader, where, base); })
        return A::template Bound<C>::bind(loader, where, base);
    else
        return A::template Bound<C>::bind(loader, where);
}

}  // namespace samed::adapters
