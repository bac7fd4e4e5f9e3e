// SPDX-License-Identifier: Apache-2.0
// A variant on a backend behind AnyModel's interface; needs no third-party header, so that a .cu may include it.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <samed/any_model.hpp>
#include <samed/open_adapter_set.hpp>
#include <samed/prompted_open_model.hpp>
#include <samed/variants/efficient_sam/efficient_sam.hpp>
#include <samed/variants/lite_med_sam/lite_med_sam.hpp>
#include <samed/variants/med_sam/med_sam.hpp>
#include <samed/variants/mobile_sam/mobile_sam.hpp>
#include <samed/variants/sam/sam.hpp>
#include <samed/variants/samed/samed.hpp>
#include <samed/variants/samed_s/samed_s.hpp>

namespace samed {

struct AnyModel::Interface {
    ModelSummary summary;

    virtual ~Interface() = default;
    virtual Result<void> segment(ImageView<float const>, LabelMap, AnyCall const&) const = 0;
    virtual Result<void> segment_each(std::span<ImageView<float const> const>, std::span<LabelMap const>, Recipe const&, bool,
                                      std::span<int const>) const = 0;
    virtual int in_flight() const = 0;
    virtual std::size_t plan_segment(int, int, Recipe const&, bool) const = 0;
    virtual Result<AnyMasks> segment_masks(ImageView<float const>, bool, AnyCall const&) const = 0;
    virtual Result<void> encode(float const*, float*) const = 0;
    virtual Result<void> decode(float const*, std::uint8_t*, float*) const = 0;
    virtual std::shared_ptr<PromptedModel const> prompted() const = 0;
};

namespace detail {

/// One variant with every fact dynamic: opens any file of it.
template <Variant V, class C>
class AnyVariant final : public AnyModel::Interface {
public:
    explicit AnyVariant(OpenModel<V, C> model) : model_(std::move(model)) {
        auto const& m = model_.model();
        ModelHeader const& header = m.header();
        typename OpenModel<V, C>::Lease lease(model_);
        summary.variant = header.variant;
        summary.semantic = V::semantic;
        summary.image_size = m.image_size();
        summary.grid = m.grid();
        summary.mask_tokens = m.mask_tokens();
        summary.embedding_channels = m.config().encoder.neck_width;
        summary.rank = m.config().rank;
        summary.recipe = header.recipe;
        for (ClassInfo const& c : header.classes) {
            summary.class_names.push_back(c.name);
            summary.class_colours.push_back(c.colour);
        }
        summary.weight_bytes = m.weight_bytes();
        if constexpr (requires { lease.context().isa(); }) summary.isa = std::string(name(lease.context().isa()));
        if constexpr (requires { lease.context().device(); }) summary.device = lease.context().device().name;
        summary.threads = lease.context().executor().workers();
    }

    Result<void> segment(ImageView<float const> image, LabelMap labels, AnyCall const& call) const override {
        if constexpr (V::semantic) {
            SAMED_TRY(Recipe const recipe, recipe_for(image, call));
            typename OpenModel<V, C>::Lease lease(model_);
            return model_.model().segment(image, labels, lease.workspace(), recipe, call.prompts, call.slice_of_volume, {call.embedding, call.low_res_logits});
        } else {
            return needs_prompts();
        }
    }

    Result<void> segment_each(std::span<ImageView<float const> const> images, std::span<LabelMap const> labels, Recipe const& recipe,
                              bool slices_of_volume, std::span<int const> numbers) const override {
        if constexpr (V::semantic)
            return samed::segment_each(model_, images, labels, recipe, slices_of_volume, numbers);
        else
            return needs_prompts();
    }
    int in_flight() const override { return samed::in_flight(model_); }

    std::size_t plan_segment(int height, int width, Recipe const& recipe, bool slice_of_volume) const override {
        typename OpenModel<V, C>::Lease lease(model_);
        return model_.model().plan_segment(lease.context(), height, width, 1, recipe, slice_of_volume);
    }

    Result<AnyMasks> segment_masks(ImageView<float const> image, bool multimask, AnyCall const& call) const override {
        SAMED_TRY(Recipe const recipe, recipe_for(image, call));
        typename OpenModel<V, C>::Lease lease(model_);
        SAMED_TRY(Embedding const embedding, model_.model().embed(image, lease.workspace(), recipe, call.slice_of_volume));
        if (call.embedding) std::copy(embedding.values.begin(), embedding.values.end(), call.embedding);
        auto masks = model_.model().decode(embedding, call.prompts, multimask ? MaskChoice::multi : MaskChoice::single, lease.workspace());
        if (!masks) return masks.error();
        return AnyMasks{masks->count, masks->height, masks->width, masks->low_res_side, std::move(masks->masks), std::move(masks->iou),
                        std::move(masks->low_res_logits)};
    }

    Result<void> encode(float const* input, float* embedding) const override {
        typename OpenModel<V, C>::Lease lease(model_);
        return model_.model().encode(lease.context(), 1, input, embedding);
    }

    Result<void> decode(float const* embedding, std::uint8_t* labels, float* low_res_logits) const override {
        typename OpenModel<V, C>::Lease lease(model_);
        if constexpr (V::semantic) {
            return model_.model().decode_labels(lease.context(), 1, embedding, labels, low_res_logits);
        } else {
            float const middle = static_cast<float>(summary.image_size) / 2;
            Point const point{middle, middle, 1};
            Prompts prompts;
            prompts.points = {&point, 1};
            return model_.model().decode(lease.context(), 1, embedding, prompts, low_res_logits, nullptr);
        }
    }

    std::shared_ptr<PromptedModel const> prompted() const override { return samed::prompted(model_); }

private:
    static Error needs_prompts() {
        return fail(ErrorCode::invalid_argument, "segment", "a model with classes", V::name)
            .advise("this model needs prompts: a point or a box");
    }
    Result<Recipe> recipe_for(ImageView<float const> image, AnyCall const& call) const {
        return resolve_intensity(call.recipe ? *call.recipe : summary.recipe, image);
    }

    OpenModel<V, C> model_;
};

/// A model for each adapter.
template <Variant V, class C>
Result<std::vector<AnyModel>> any_adapters(OpenAdapterSet<V, C>& set, std::vector<std::string> const& adapters, adapters::LoraMode lora) {
    std::vector<AnyModel> models;
    for (std::string const& path : adapters) {
        SAMED_CHECK(set.add(path, path, lora));
        SAMED_TRY(auto model, set.model(path));
        models.push_back(AnyModel(std::make_shared<AnyVariant<V, C> const>(std::move(model))));
    }
    return models;
}

/// `open.operator()<V>()` for the variant that the file at `path` names.
template <class Open>
auto open_named(std::string const& path, Open&& open) -> decltype(open.template operator()<variants::Samed<>>()) {
    SAMED_TRY(ModelFile const file, ModelFile::open(path));
    std::string const& variant = file.header().variant;
    if (variant == variants::Samed<>::name) return open.template operator()<variants::Samed<>>();
    if (variant == variants::SamedS<>::name) return open.template operator()<variants::SamedS<>>();
    if (variant == variants::Sam<>::name) return open.template operator()<variants::Sam<>>();
    if (variant == variants::MobileSam<>::name) return open.template operator()<variants::MobileSam<>>();
    if (variant == variants::EfficientSam<>::name) return open.template operator()<variants::EfficientSam<>>();
    if (variant == variants::MedSam<>::name) return open.template operator()<variants::MedSam<>>();
    if (variant == variants::LiteMedSam<>::name) return open.template operator()<variants::LiteMedSam<>>();
    return fail(ErrorCode::unknown_name, "samed.variant", "sam, samed, samed_s, mobile_sam, efficient_sam, med_sam or lite_med_sam", variant)
        .in(path);
}

}  // namespace detail

}  // namespace samed
