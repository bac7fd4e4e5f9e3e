// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <samed/config/facts.hpp>
#include <samed/sam/image_encoder.hpp>
#include <samed/variants/mobile_sam/tiny_vit_layers.hpp>

namespace samed::variants::mobile_sam {

/// One resolution: MBConvs in the first stage, attention blocks in the others; then, but for the last, patch merging.
template <TinyVitBackend C>
struct Stage {
    int width = 0;
    std::vector<Bottleneck<C>> convolutions;
    std::vector<TinyVitBlock<C>> blocks;
    std::optional<Bottleneck<C>> downsample;

    /// Blocks alone.
    /// @param x  [B, side, side, width], in and out
    void operator()(C& context, int batch, int side, typename C::Scalar* x) const {
        for (auto const& convolution : convolutions) convolution.residual(context, batch, side, x);
        for (auto const& block : blocks) block(context, {batch, 1, side, side}, x);
    }
};

/// MobileSAM's image encoder: TinyViT whose last merging keeps the resolution, and SAM's neck. Widths, depths, heads and windows are
/// those of the file's tensors; batch norms are inside the convolutions since `samed convert`.
/// @source Wu et al. 2022 (TinyViT); Zhang et al. 2023 (MobileSAM)
template <class V, TinyVitBackend C>
class TinyVit {
public:
    using Scalar = typename C::Scalar;
    static constexpr int stages = 4;

    /// TinyViT has no slots.
    struct Adapters {};

    static Result<TinyVit> load(WeightLoader<C>& loader, Facts<V::config> const& facts, WeightLoader<C>*) {
        TinyVit e;
        e.facts_ = facts;
        std::string const root = "image_encoder.";
        SAMED_TRY(e.stem_, Stem<C>::load(loader, root + "patch_embed"));
        int width = e.stem_.width();
        for (int i = 0; i < stages; ++i) {
            std::string const layer = root + "layers." + std::to_string(i) + ".";
            Stage<C> stage;
            stage.width = width;
            auto const block = [&](int j) { return layer + "blocks." + std::to_string(j); };
            if (i == 0) {
                for (int j = 0; j < VitConfig::max_depth && loader.has(block(j) + ".conv1.weight"); ++j) {
                    SAMED_TRY(auto convolution, Bottleneck<C>::load(loader, block(j), width, 1));
                    stage.convolutions.push_back(std::move(convolution));
                }
            } else {
                for (int j = 0; j < VitConfig::max_depth && loader.has(block(j) + ".attn.qkv.weight"); ++j) {
                    SAMED_TRY(auto attention, TinyVitBlock<C>::load(loader, block(j), width));
                    stage.blocks.push_back(std::move(attention));
                }
            }
            if (i + 1 < stages) {
                SAMED_TRY(auto merging, Bottleneck<C>::load(loader, layer + "downsample", width, i + 2 < stages ? 2 : 1));
                width = merging.out();
                stage.downsample = std::move(merging);
            }
            e.layers_.push_back(std::move(stage));
        }
        if (width != facts.width())
            return fail(ErrorCode::shape_mismatch, "samed.config.width", text() << width << ", as the last stage's tensors",
                        text() << facts.width())
                .in(loader.file().path());
        int const patch = e.stem_.out_side(4) == 1 ? 16 : 4;
        if (facts.patch_size() != patch)
            return fail(ErrorCode::shape_mismatch, "samed.config.patch_size", text() << patch << ", as the stem's tensors",
                        text() << facts.patch_size())
                .in(loader.file().path());
        SAMED_TRY(e.neck_, sam::Neck<C>::load(loader, width, facts.neck_width()));
        return e;
    }

    Result<Adapters> bind(WeightLoader<C>&, bool, WeightLoader<C>*) const { return Adapters{}; }

    Stem<C> const& stem() const { return stem_; }
    std::vector<Stage<C>> const& layers() const { return layers_; }
    sam::Neck<C> const& neck() const { return neck_; }

    /// @param image      [B, 3, S, S]
    /// @param embedding  [B, grid, grid, neck_width]; grid = S / 16, or S / 4 after a stem that keeps the sides
    void operator()(C& context, int batch, Scalar const* image, Scalar* embedding, Adapters const&) const {
        Arena& arena = context.arena();
        Arena::Frame frame(arena);
        auto const take = [&](int side, int width) { return arena.template take<Scalar>(std::size_t(batch) * side * side * width); };
        int side = stem_.out_side(facts_.image_size());
        Scalar* x = take(side, stem_.width());
        stem_(context, batch, facts_.image_size(), image, x);
        for (Stage<C> const& stage : layers_) {
            stage(context, batch, side, x);
            if (!stage.downsample) continue;
            int const smaller = stage.downsample->out_side(side);
            Scalar* merged = take(smaller, stage.downsample->out());
            (*stage.downsample)(context, batch, side, x, merged);
            side = smaller;
            x = merged;
        }
        neck_(context, {batch, 1, side, side}, x, embedding);
    }

private:
    Facts<V::config> facts_;
    Stem<C> stem_;
    std::vector<Stage<C>> layers_;
    sam::Neck<C> neck_;
};

}  // namespace samed::variants::mobile_sam
