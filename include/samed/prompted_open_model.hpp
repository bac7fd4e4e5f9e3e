// SPDX-License-Identifier: Apache-2.0
// Lets Predictor and AutomaticMaskGenerator take an OpenModel.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <samed/io/sha256.hpp>
#include <samed/open_model.hpp>
#include <samed/prompted_model.hpp>

namespace samed {

namespace detail {

template <Variant V, class C>
class PromptedOpenModel final : public PromptedModel {
public:
    explicit PromptedOpenModel(OpenModel<V, C> model) : model_(std::move(model)) {
        auto const& m = model_.model();
        ModelHeader const& h = m.header();
        facts_ = {V::name,         V::semantic, m.image_size(),    m.grid(),      m.config().encoder.neck_width,
                  m.mask_tokens(), h.recipe,    m.prompt_limits(), h.fingerprint, {}};
        // Every training moves no_mask_embed: it tells apart adapters of one base without reading their weights.
        Metadata described = to_metadata(h);
        for (char const* key : {"samed.version", "samed.source", "samed.licence", "samed.merged"}) described.erase(key);
        Sha256 digest;
        for (auto const& [key, value] : described) digest.update(key + "=" + value + "\n");
        typename OpenModel<V, C>::Lease lease(model_);
        std::vector<float> const no_mask = m.no_mask(lease.context());
        digest.update(no_mask.data(), no_mask.size() * sizeof(float));
        facts_.identity = digest.finish_hex();
    }

    Result<Embedding> embed(ImageView<float const> image, Recipe const& recipe) const override {
        typename OpenModel<V, C>::Lease lease(model_);
        return model_.model().embed(image, lease.workspace(), recipe);
    }
    Result<void> decode(Embedding const& embedding, std::span<Prompts const> prompts, float* low_res_logits, float* iou) const override {
        typename OpenModel<V, C>::Lease lease(model_);
        auto const& m = model_.model();
        auto const alike = [&](Prompts const& p) { return p.mask.empty() && p.tokens() == prompts[0].tokens(); };
        if (prompts.size() > 1 && prompts[0].tokens() > 0 && std::all_of(prompts.begin(), prompts.end(), alike))
            return m.decode_each(lease.context(), embedding.values.data(), prompts, low_res_logits, iou);
        for (std::size_t i = 0; i < prompts.size(); ++i)
            SAMED_CHECK(m.decode(lease.context(), 1, embedding.values.data(), prompts[i], low_res_logits + i * m.low_res_count(),
                                 iou + i * static_cast<std::size_t>(m.mask_tokens())));
        return {};
    }
    int workers() const override {
        typename OpenModel<V, C>::Lease lease(model_);
        return lease.context().executor().workers();
    }
    void run(int tasks, Executor::Task task, void* state) const override {
        typename OpenModel<V, C>::Lease lease(model_);
        lease.context().executor().run(tasks, task, state);
    }

private:
    OpenModel<V, C> model_;
};

}  // namespace detail

/// The model as Predictor and AutomaticMaskGenerator take it; shares the weights.
template <Variant V, class C>
std::shared_ptr<PromptedModel const> prompted(OpenModel<V, C> const& model) {
    return std::make_shared<detail::PromptedOpenModel<V, C> const>(model);
}

}  // namespace samed
