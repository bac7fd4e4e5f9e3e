// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <type_traits>

#include <samed/adapters/adapter.hpp>
#include <samed/config/model_config.hpp>

namespace samed {

namespace sam {

template <class V, Backend C>
class ImageEncoder;
template <Backend C>
class PromptEncoder;
struct SamDecoder;

/// What a system of the SAM family is unless it says otherwise: SAM itself, every fact from the file, no adapter in any slot.
struct Defaults {
    static constexpr ModelConfig config{};
    static constexpr bool semantic = false;  ///< masks are classes: labels by argmax, no prompt needed
    static constexpr bool relative_position = true;  ///< the image encoder's attentions have tables of it

    using Qkv = adapters::Identity;
    using AttnOut = adapters::Identity;
    using MlpOut = adapters::Identity;
    using DecoderAttention = adapters::Identity;

    /// The image encoder. Another one has the same members: `load`, `bind`, `Adapters` and the call.
    template <class V, class C>
    using Encoder = ImageEncoder<V, C>;

    /// The prompt encoder. Another one has the same members.
    template <class C>
    using PromptEncoder = sam::PromptEncoder<C>;

    /// What is different in the mask decoder: a type with SamDecoder's members.
    using Decoder = SamDecoder;
};

/// LoRA in the decoder leaves the transformer's own weights frozen: the base holds them for all adapters.
template <class V>
inline constexpr bool shares_transformer = !std::is_same_v<typename V::DecoderAttention, adapters::Identity>;

}  // namespace sam

// One concept a fact, checked at the door of Model and nowhere deeper.

template <class V> concept HasName = requires { { V::name } -> std::convertible_to<char const*>; };
template <class V> concept HasConfig = requires { { V::config } -> std::convertible_to<ModelConfig const&>; };
template <class V> concept SaysWhetherSemantic = requires { { V::semantic } -> std::convertible_to<bool>; };
template <class V> concept HasSlots = requires { typename V::Qkv; typename V::AttnOut; typename V::MlpOut; typename V::DecoderAttention; };
template <class V> concept ImageSizeFitsPatches =
    V::config.encoder.image_size == dynamic || V::config.encoder.image_size % V::config.encoder.patch_size == 0;
template <class V> concept HeadsDivideWidth =
    V::config.encoder.width == dynamic || V::config.encoder.heads == dynamic || V::config.encoder.width % V::config.encoder.heads == 0;

/// A system of the SAM family: a named struct of facts and aliases; see variants/README.md.
template <class V>
concept Variant = HasName<V> && HasConfig<V> && SaysWhetherSemantic<V> && HasSlots<V> && ImageSizeFitsPatches<V> && HeadsDivideWidth<V>;

}  // namespace samed
