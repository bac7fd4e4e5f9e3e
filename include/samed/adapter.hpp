// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <samed/base.hpp>

namespace samed {

/// The file is of variant V and says what V pins.
/// @errors invalid_argument, shape_mismatch
template <Variant V>
Result<void> check_variant(ModelFile const& file) {
    ModelHeader const& h = file.header();
    if (h.variant != V::name)
        return fail(ErrorCode::invalid_argument, "samed.variant", V::name, h.variant)
            .in(file.path())
            .advise("open the file with its own variant's type");
    auto pinned = check_pinned(V::config, h.config);
    if (!pinned) return pinned.error().in(file.path());
    return {};
}

/// A whole model without LoRA.
/// @errors base_mismatch, invalid_argument
inline Result<void> check_base(ModelFile const& base) {
    if (base.header().adapter) return fail(ErrorCode::invalid_argument, "samed.kind", "a base model", "an adapter").in(base.path());
    if (base.header().merged || base.header().config.rank > 0)
        return fail(ErrorCode::base_mismatch, "base", "a model without LoRA", "one that already has it")
            .in(base.path())
            .advise("convert the base without --adapter");
    return {};
}

/// The adapter was trained on this base.
/// @errors base_mismatch, invalid_argument
template <Variant V>
Result<void> check_pair(ModelFile const& base, ModelFile const& adapter) {
    auto const short_form = [](std::string const& s) { return s.size() > 12 ? s.substr(0, 12) + ".." : s; };
    if (!adapter.header().adapter) return fail(ErrorCode::invalid_argument, "samed.kind", "an adapter", "a whole model").in(adapter.path());
    SAMED_CHECK(check_base(base));
    VitConfig const &b = base.header().config.encoder, &a = adapter.header().config.encoder;
    if (b.width != a.width || b.depth != a.depth || b.heads != a.heads)
        return fail(ErrorCode::base_mismatch, "image encoder",
                    text() << "width " << a.width << ", depth " << a.depth << ", as the adapter was trained on",
                    text() << "width " << b.width << ", depth " << b.depth)
            .in(base.path());
    if (base.header().fingerprint != adapter.header().fingerprint)
        return fail(ErrorCode::base_mismatch, "samed.fingerprint", short_form(adapter.header().fingerprint),
                    short_form(base.header().fingerprint))
            .in(base.path())
            .advise("the adapter was trained on another base checkpoint");
    if (!(b == a))
        return fail(ErrorCode::base_mismatch, "image_size", text() << a.image_size, text() << b.image_size)
            .in(base.path())
            .advise("convert the base with the adapter's --image-size");
    if constexpr (sam::shares_transformer<V>) {
        DecoderConfig const &bd = base.header().config.decoder, &ad = adapter.header().config.decoder;
        if (bd.depth != ad.depth || bd.heads != ad.heads || bd.mlp_width != ad.mlp_width)
            return fail(ErrorCode::base_mismatch, "mask_decoder.transformer",
                        text() << ad.depth << " layers, " << ad.heads << " heads, width " << ad.mlp_width,
                        text() << bd.depth << " layers, " << bd.heads << " heads, width " << bd.mlp_width)
                .in(base.path());
    }
    return {};
}

/// What SAMed trains: LoRA, prompt encoder and mask decoder, with recipe and class names. Rank and class count are its facts. It
/// refers to memory of its base and is used together with it.
template <Variant V, Backend C>
class Adapter {
public:
    using Decoder = DecoderContext<C>;
    using PromptEncoder = typename V::template PromptEncoder<Decoder>;
    using MaskDecoder = sam::MaskDecoder<Decoder, typename V::DecoderAttention, typename V::Decoder>;
    using EncoderAdapters = typename Base<V, C>::Encoder::Adapters;

    /// @param base_file     what `base` was read from; the same file when that holds a whole model
    /// @param lora_in_base  the base's encoder already holds this file's LoRA
    /// @param options       `lora` merged: copies of q and v with LoRA added, in the adapter's own memory
    /// @param asked         collects the tensor names of `file`
    /// @errors as Base::load
    static Result<std::shared_ptr<Adapter const>> load(ModelFile const& file, ModelFile const& base_file, C& context,
                                                       Base<V, C> const& base, bool lora_in_base, LoadOptions const& options,
                                                       AskedTensors& asked) {
        ModelConfig const& config = file.header().config;
        int const width = config.encoder.neck_width, grid = config.encoder.grid();
        auto adapter = std::make_shared<Adapter>();
        adapter->header_ = file.header();
        Precisions const own = detail::precisions_of(file, options), of_base = detail::precisions_of(base_file, options);
        bool const merged = options.lora == adapters::LoraMode::merged;
        AskedTensors again;  // of weights that the base has read
        WeightLoader<C> blocks(context, file, adapter->memory_, own, asked), copies(context, base_file, adapter->memory_, of_base, again);
        SAMED_TRY(adapter->blocks_, base.encoder().bind(blocks, !lora_in_base, merged ? &copies : nullptr));
        Decoder& decoder = DecoderContextOf<C>::of(context);
        WeightLoader<Decoder> loader(decoder, file, adapter->decoder_memory_, own, asked);
        WeightLoader<Decoder> decoder_copies(decoder, base_file, adapter->decoder_memory_, of_base, again);
        SAMED_TRY(adapter->prompt_encoder_,
                  PromptEncoder::load(loader, config.encoder.image_size, grid, width, config.prompt.mask_channels, base.image_pe()));
        SAMED_TRY(adapter->mask_decoder_, MaskDecoder::load(loader, width, config.decoder, base.transformer(), merged ? &decoder_copies : nullptr));
        SAMED_CHECK(context.finish());  // before another context uses the weights
        return std::shared_ptr<Adapter const>(std::move(adapter));
    }

    ModelHeader const& header() const { return header_; }
    EncoderAdapters const& blocks() const { return blocks_; }
    PromptEncoder const& prompt_encoder() const { return prompt_encoder_; }
    MaskDecoder const& mask_decoder() const { return mask_decoder_; }
    std::size_t weight_bytes() const { return memory_.used_bytes() + decoder_memory_.used_bytes(); }

private:
    WeightMemory<C> memory_;
    WeightMemory<Decoder> decoder_memory_;
    ModelHeader header_;
    EncoderAdapters blocks_;
    PromptEncoder prompt_encoder_;
    MaskDecoder mask_decoder_;
};

}  // namespace samed
