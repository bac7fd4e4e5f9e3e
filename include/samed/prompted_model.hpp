// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

#include <samed/core/parallel.hpp>
#include <samed/embedding.hpp>
#include <samed/sam/prompts.hpp>

namespace samed {

/// A model that answers prompts, whatever its variant, precision and backend: what Predictor and AutomaticMaskGenerator stand on.
/// `prompted(model)` makes one of an OpenModel or an AnyModel. Immutable, shared by any number of threads.
class PromptedModel {
public:
    struct Facts {
        std::string variant;
        bool semantic = false;  ///< answers without a prompt too; masks 1.. are its classes
        int image_size = 0, grid = 0, channels = 0, mask_tokens = 0;
        Recipe recipe;
        PromptLimits limits;      ///< what its prompts may be
        std::string fingerprint;  ///< of the base checkpoint
        std::string identity;     ///< SHA-256 that also tells adapters and sizes apart: equal means equal embeddings

        int low_res_side() const { return 4 * grid; }
        std::size_t embedding_count() const { return std::size_t(grid) * grid * channels; }
        /// Logits of all mask tokens for one prompt.
        std::size_t low_res_count() const { return std::size_t(16) * grid * grid * mask_tokens; }
    };

    virtual ~PromptedModel() = default;

    Facts const& facts() const { return facts_; }

    /// @param recipe  percentiles resolved
    /// @errors those of Model::embed
    virtual Result<Embedding> embed(ImageView<float const> image, Recipe const& recipe) const = 0;

    /// One embedding, any number of prompts.
    /// @param prompts         in pixels of the model's input, checked
    /// @param low_res_logits  [prompts, mask_tokens, 4 grid, 4 grid]
    /// @param iou             [prompts, mask_tokens]
    /// @errors out_of_memory
    virtual Result<void> decode(Embedding const& embedding, std::span<Prompts const> prompts, float* low_res_logits, float* iou) const = 0;

    /// As Executor: the model's threads also serve what is done with its masks.
    virtual int workers() const = 0;
    virtual void run(int tasks, Executor::Task task, void* state) const = 0;

protected:
    Facts facts_;
};

}  // namespace samed
