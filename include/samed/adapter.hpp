// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <samed/base.hpp>
#include <samed/sam/mask_decoder.hpp>

namespace samed {

/// What SAMed trains: LoRA, prompt encoder and mask decoder, with recipe and class names. Rank and class count are its facts.
template <Variant V, Backend C>
class Adapter {
public:
    /// @param with_lora  false when the base already holds this file's LoRA, or when there is none
    /// @param asked      collects the tensor names
    /// @errors as Base::load
    static Result<std::shared_ptr<Adapter const>> load(ModelFile const& file, C& context, sam::ImageEncoder<V, C> const& encoder, bool with_lora,
                                                       LoadOptions const& options, AskedTensors& asked) {
        ModelConfig const& config = file.header().config;
        int const width = config.encoder.neck_width, grid = config.encoder.grid();
        auto adapter = std::make_shared<Adapter>();
        adapter->header_ = file.header();
        WeightLoader<C> loader(context, file, adapter->memory_, detail::storage_of(file, options), asked);
        for (int i = 0; i < static_cast<int>(encoder.blocks().size()); ++i) {
            SAMED_TRY(auto bound, sam::BlockAdapters<V, C>::bind(loader, encoder.block_info(i), with_lora));
            adapter->blocks_.push_back(std::move(bound));
        }
        SAMED_TRY(adapter->prompt_encoder_, sam::PromptEncoder<C>::load(loader, config.encoder.image_size, grid, width, config.prompt.mask_channels));
        SAMED_TRY(adapter->mask_decoder_, sam::MaskDecoder<C>::load(loader, width, config.decoder));
        return std::shared_ptr<Adapter const>(std::move(adapter));
    }

    ModelHeader const& header() const { return header_; }
    typename sam::ImageEncoder<V, C>::Adapters const& blocks() const { return blocks_; }
    sam::PromptEncoder<C> const& prompt_encoder() const { return prompt_encoder_; }
    sam::MaskDecoder<C> const& mask_decoder() const { return mask_decoder_; }
    std::size_t weight_bytes() const { return memory_.used_bytes(); }

private:
    WeightMemory<C> memory_;
    ModelHeader header_;
    typename sam::ImageEncoder<V, C>::Adapters blocks_;
    sam::PromptEncoder<C> prompt_encoder_;
    sam::MaskDecoder<C> mask_decoder_;
};

}  // namespace samed
