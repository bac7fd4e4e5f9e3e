// SPDX-License-Identifier: Apache-2.0
// The stages of a network against a fixture of PyTorch's.
#pragma once

#include "golden_case.hpp"

#include <string>
#include <vector>

#include <samed/model.hpp>

namespace samed_test {

inline constexpr double bound = 1e-4;

template <class C>
void reserve(C& context) {
    REQUIRE(context.reserve(std::size_t{16} << 20).has_value());
}

/// One of the prompts of `sam_prompts`, as SAM's predictor was asked.
class GoldenPrompt {
public:
    /// @param name  "p0.", "p1.", ...
    GoldenPrompt(GoldenCase const& golden, std::string const& name) {
        if (golden.stages.find(name + "coords")) {
            Stage const coords = golden.stage(name + "coords"), labels = golden.stage(name + "labels");
            for (std::size_t i = 0; i < labels.values.size(); ++i)
                points_.push_back({coords.values[2 * i], coords.values[2 * i + 1], static_cast<int>(labels.values[i])});
            prompts_.points = points_;
        }
        if (golden.stages.find(name + "box")) {
            auto const b = golden.stage(name + "box").values;
            prompts_.box = samed::Box{b[0], b[1], b[2], b[3]};
        }
        if (golden.stages.find(name + "mask_input")) {
            mask_ = golden.stage(name + "mask_input").values;
            prompts_.mask = mask_;
        }
    }
    GoldenPrompt(GoldenPrompt const&) = delete;
    GoldenPrompt& operator=(GoldenPrompt const&) = delete;

    samed::Prompts const& prompts() const { return prompts_; }

private:
    std::vector<samed::Point> points_;
    std::vector<float> mask_;
    samed::Prompts prompts_;
};

template <class V, class C>
samed::Model<V, C> load(samed::ModelFile const& file, C& context, samed::LoadOptions options = {}) {
    auto model = samed::Model<V, C>::load(file, context, options);
    REQUIRE_MESSAGE(model.has_value(), (model ? "" : model.error().message()));
    return *std::move(model);
}

template <class C>
std::vector<typename C::Scalar> scalars(std::vector<float> const& values) {
    return {values.begin(), values.end()};
}

/// The fixture in this library's layout against `data`.
template <class T>
void check_stage(GoldenCase const& golden, std::string const& name, T const* data) {
    INFO(name);
    Stage const s = golden.stage(name);
    bool const nchw = s.shape.size() == 4 && (name == "neck" || name == "neck2" || name == "image_pe" || name == "upscaled");
    CHECK(relative_error(data, nchw ? channels_last(s) : s.values) <= bound);
}

/// From the image embedding to logits, without prompts.
template <class V, class C>
void check_decoder_stages(GoldenCase const& golden, samed::Model<V, C> const& model, C& context,
                          std::vector<typename C::Scalar> const& embedding) {
    using T = typename C::Scalar;
    int const neck_width = model.config().encoder.neck_width, m = model.mask_tokens();
    auto const& prompts = model.adapter().prompt_encoder();
    auto const& decoder = model.adapter().mask_decoder();
    check_stage(golden, "image_pe", prompts.image_pe());

    int const tokens = decoder.tokens(0), cells = model.grid() * model.grid();
    samed::sam::TwoWaySizes const sizes{1, tokens, cells};
    std::vector<T> query_pe(static_cast<std::size_t>(tokens * neck_width)), keys(model.embedding_count());
    decoder.assemble(context, 1, 0, nullptr, query_pe.data());
    auto queries = query_pe;
    auto const dense = prompts.no_mask();
    add(context,
        samed::kernels::AddArgs<T>{static_cast<std::int64_t>(keys.size()), dense.period, embedding.data(), dense.data, keys.data()});
    for (std::size_t i = 0; i < decoder.transformer().layers().size(); ++i) {
        decoder.transformer().layers()[i](context, sizes, queries.data(), keys.data(), query_pe.data(), prompts.image_pe(),
                                          decoder.adapters().layers[i]);
        check_stage(golden, "decoder.layer" + std::to_string(i) + ".queries", queries.data());
        check_stage(golden, "decoder.layer" + std::to_string(i) + ".keys", keys.data());
    }
    decoder.transformer().finish(context, sizes, queries.data(), keys.data(), query_pe.data(), prompts.image_pe(),
                                 decoder.adapters().final_attn);
    check_stage(golden, "decoder.queries", queries.data());

    std::vector<T> upscaled(static_cast<std::size_t>(16 * cells * neck_width / 8)), hyper(static_cast<std::size_t>(m * neck_width / 8));
    decoder.upscale(context, 1, model.grid(), keys.data(), upscaled.data());
    check_stage(golden, "upscaled", upscaled.data());
    decoder.hyper(context, 1, tokens, queries.data(), hyper.data());
    check_stage(golden, "hyper", hyper.data());

    std::vector<T> logits(model.low_res_count()), iou(static_cast<std::size_t>(m));
    REQUIRE(model.decode(context, 1, embedding.data(), {}, logits.data(), iou.data()).has_value());
    check_stage(golden, "low_res_logits", logits.data());
    check_stage(golden, "iou", iou.data());
}

/// Every stage of a semantic model on SAM's encoder.
template <class V, class C>
void check_stages(std::string const& name, samed::adapters::LoraMode lora) {
    using T = typename C::Scalar;
    GoldenCase const golden = GoldenCase::open(name);
    C context;
    reserve(context);
    samed::LoadOptions options;
    options.lora = lora;
    options.precision = samed::Precision::f32;  // merging into f16 rounds once more
    auto const model = load<V>(golden.model, context, options);
    auto const& encoder = model.base().encoder();
    auto const input = scalars<C>(golden.stage("input").values);
    auto const grid = encoder.grid(1);
    int const width = model.config().encoder.width;

    std::vector<T> x(static_cast<std::size_t>(grid.tokens() * width));
    encoder.patch_embed()(context, 1, input.data(), x.data());
    check_stage(golden, "pos_added", x.data());
    for (std::size_t i = 0; i < encoder.blocks().size(); ++i) {
        encoder.blocks()[i](context, grid, x.data(), model.adapter().blocks()[i]);
        check_stage(golden, "block" + std::to_string(i), x.data());
    }
    std::vector<T> embedding(model.embedding_count());
    encoder.neck()(context, grid, x.data(), embedding.data());
    check_stage(golden, "neck", embedding.data());

    check_decoder_stages(golden, model, context, embedding);
}

}  // namespace samed_test
