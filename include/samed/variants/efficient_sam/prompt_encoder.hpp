// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <samed/sam/prompt_encoder.hpp>

namespace samed::variants::efficient_sam {

/// Six tokens, whatever the prompt: points and the corners of a box, the rest padding at (-1, -1), whose position counts too. Points
/// beside the object have a position and no embedding of their own, as in the authors' network. No mask prompt, nothing dense.
template <Backend C>
class PromptEncoder {
public:
    using Scalar = typename C::Scalar;
    static constexpr PromptLimits limits{.max_points = 6, .box_points = 2, .mask = false};

    /// Reads `prompt_encoder.*`.
    /// @param shared  used where its matrix is this file's
    static Result<PromptEncoder> load(WeightLoader<C>& loader, int image_size, int grid, int width, int,
                                      sam::ImagePe<C> const& shared = {}) {
        std::string const name = "prompt_encoder.";
        PromptEncoder p;
        p.image_size_ = image_size;
        p.width_ = width;
        SAMED_TRY(sam::ImagePe<C> pe, sam::ImagePe<C>::load(loader, grid, width, shared));
        p.image_pe_ = pe.values;
        p.position_ = nn::PositionEmbedding(std::move(pe.gaussian));
        SAMED_TRY(p.padding_, loader.host(name + "invalid_points.weight", {1, width}));
        SAMED_TRY(p.point_, loader.host(name + "point_embeddings.weight", {1, width}));
        SAMED_TRY(p.top_left_, loader.host(name + "bbox_top_left_embeddings.weight", {1, width}));
        SAMED_TRY(p.bottom_right_, loader.host(name + "bbox_bottom_right_embeddings.weight", {1, width}));
        SAMED_TRY(p.nothing_, loader.place(std::vector<float>(static_cast<std::size_t>(width))));
        return p;
    }

    Scalar const* image_pe() const { return image_pe_; }
    static int tokens(Prompts const& prompts) { return prompts.empty() ? 0 : static_cast<int>(limits.max_points); }

    /// [6, C], on the host.
    /// @param prompts  in model input pixels, within the limits
    std::vector<float> sparse(Prompts const& prompts) const {
        std::vector<float> out(std::size_t(tokens(prompts)) * width_);
        float* at = out.data();
        for (Point const& p : prompts.points)
            at = p.label < 0 ? encode(-1, -1, &padding_, at) : encode(p.x, p.y, p.label == 1 ? &point_ : nullptr, at);
        if (auto const& b = prompts.box) {
            at = encode(b->x0, b->y0, &top_left_, at);
            at = encode(b->x1, b->y1, &bottom_right_, at);
        }
        while (at != out.data() + out.size()) at = encode(-1, -1, &padding_, at);
        return out;
    }

    sam::DenseEmbedding<Scalar> no_mask() const { return {nothing_, width_}; }
    sam::DenseEmbedding<Scalar> dense(C&, Scalar const*, Scalar*) const { return no_mask(); }

private:
    float* encode(float x, float y, std::vector<float> const* type, float* out) const {
        position_.encode((double{x} + 0.5) / image_size_, (double{y} + 0.5) / image_size_, out);
        for (std::size_t c = 0; type && c < type->size(); ++c) out[c] += (*type)[c];
        return out + width_;
    }

    int image_size_ = 0, width_ = 0;
    nn::PositionEmbedding position_;
    std::vector<float> padding_, point_, top_left_, bottom_right_;
    Scalar const* nothing_ = nullptr;
    Scalar const* image_pe_ = nullptr;
};

}  // namespace samed::variants::efficient_sam
