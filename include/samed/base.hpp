// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <samed/backend/host_memory.hpp>
#include <samed/sam/defaults.hpp>
#include <samed/sam/image_encoder.hpp>
#include <samed/sam/mask_decoder.hpp>

namespace samed {

struct LoadOptions {
    /// How weights are kept and multiplied: f32 is exact for any file; bf16_products and int8 concern the encoder's blocks, the rest
    /// stays as in the file. Nothing = as the file.
    std::optional<Precision> precision{};
    adapters::LoraMode lora = adapters::LoraMode::merged;
};

namespace detail {
inline Precisions precisions_of(ModelFile const& file, LoadOptions const& options) {
    auto const* pos = file.tensors().find("image_encoder.pos_embed");
    if (!pos) pos = file.tensors().find("mask_decoder.mask_tokens.weight");
    DType const dtype = pos ? pos->dtype : DType::f32;
    Precision const stored = dtype == DType::f16 ? Precision::f16 : dtype == DType::bf16 ? Precision::bf16 : Precision::f32;
    auto const* block = file.tensors().find("image_encoder.blocks.0.attn.qkv.weight");
    Precision const wanted = options.precision.value_or(block && block->dtype == DType::i8 ? Precision::int8 : stored);
    bool const narrow = wanted == Precision::int8 || wanted == Precision::bf16_products;
    return {narrow ? stored : wanted, wanted};
}
}  // namespace detail

/// What no adapter trains, packed once and shared by any number of adapters and threads: the image encoder and, for systems with
/// LoRA in the decoder, the two-way transformer.
template <Variant V, Backend C>
class Base {
public:
    using Encoder = typename V::template Encoder<V, C>;
    using Decoder = DecoderContext<C>;

    /// @param merge  a file whose LoRA is added to q and v while they are read; such a base serves that adapter alone
    /// @param asked, asked_of_merge  collect the tensor names read from either file
    /// @errors missing_tensor, unexpected_tensor, shape_mismatch, dtype_mismatch, not_finite, io_failure, out_of_memory
    static Result<std::shared_ptr<Base const>> load(ModelFile const& file, C& context, LoadOptions const& options, AskedTensors& asked,
                                                    ModelFile const* merge = nullptr, AskedTensors* asked_of_merge = nullptr) {
        ModelConfig config = file.header().config;
        if (merge) config.rank = merge->header().config.rank;
        auto base = std::make_shared<Base>();
        Precisions const precisions = detail::precisions_of(file, options);
        WeightLoader<C> loader(context, file, base->memory_, precisions, asked);
        WeightLoader<Decoder> of_decoder(DecoderContextOf<C>::of(context), file, base->decoder_memory_, precisions, asked);
        std::optional<WeightLoader<C>> lora;
        if (merge) lora.emplace(context, *merge, base->memory_, Precisions{}, *asked_of_merge);
        SAMED_TRY(base->encoder_, Encoder::load(loader, Facts<V::config>(config), lora ? &*lora : nullptr));
        int const width = config.encoder.neck_width;
        if (loader.has(sam::ImagePe<Decoder>::name)) {
            SAMED_TRY(base->image_pe_, sam::ImagePe<Decoder>::load(of_decoder, config.encoder.grid(), width));
        }
        if constexpr (sam::shares_transformer<V>) {
            DecoderConfig const& d = config.decoder;
            SAMED_TRY(base->transformer_, sam::TwoWayTransformer<Decoder>::load(of_decoder, sam::transformer_name, d.depth, width, d.heads,
                                                                                d.mlp_width, V::Decoder::two_way));
        }
        base->fingerprint_ = file.header().fingerprint;
        base->shareable_ = !merge && !file.header().merged;
        SAMED_CHECK(context.finish());  // before another context uses the weights
        return std::shared_ptr<Base const>(std::move(base));
    }

    Encoder const& encoder() const { return encoder_; }
    sam::ImagePe<Decoder> const& image_pe() const { return image_pe_; }
    /// Null where each adapter has its own.
    sam::TwoWayTransformer<Decoder> const* transformer() const { return transformer_ ? &*transformer_ : nullptr; }
    std::string const& fingerprint() const { return fingerprint_; }
    bool shareable() const { return shareable_; }
    std::size_t weight_bytes() const { return memory_.used_bytes() + decoder_memory_.used_bytes(); }

private:
    WeightMemory<C> memory_;
    WeightMemory<Decoder> decoder_memory_;
    Encoder encoder_;
    sam::ImagePe<Decoder> image_pe_;
    std::optional<sam::TwoWayTransformer<Decoder>> transformer_;
    std::string fingerprint_;
    bool shareable_ = true;
};

}  // namespace samed
