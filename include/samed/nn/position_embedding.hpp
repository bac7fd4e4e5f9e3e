// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace samed::nn {

/// Random Fourier code of positions: [sin(2 pi c G), cos(2 pi c G)] with c in [-1, 1]. Runs on the host, in double.
/// @source Tancik et al. 2020; segment-anything `PositionEmbeddingRandom`
class PositionEmbedding {
public:
    PositionEmbedding() = default;
    /// @param gaussian  [2, width / 2], from the checkpoint
    explicit PositionEmbedding(std::vector<float> gaussian) : gaussian_(std::move(gaussian)) {}

    int width() const { return static_cast<int>(gaussian_.size()); }

    /// @param x, y  in [0, 1] of the model's input image
    /// @param out   [width]
    void encode(double x, double y, float* out) const {
        constexpr double two_pi = 6.283185307179586476925286766559;
        std::size_t const half = gaussian_.size() / 2;
        for (std::size_t i = 0; i < half; ++i) {
            double const angle = two_pi * ((2 * x - 1) * gaussian_[i] + (2 * y - 1) * gaussian_[half + i]);
            out[i] = static_cast<float>(std::sin(angle));
            out[half + i] = static_cast<float>(std::cos(angle));
        }
    }

    /// Codes of the centres of a grid's cells: [grid, grid, width].
    std::vector<float> dense(int grid) const {
        std::vector<float> codes(std::size_t(grid) * grid * gaussian_.size());
        for (int y = 0; y < grid; ++y)
            for (int x = 0; x < grid; ++x)
                encode((x + 0.5) / grid, (y + 0.5) / grid, codes.data() + (std::size_t(y) * grid + x) * gaussian_.size());
        return codes;
    }

private:
    std::vector<float> gaussian_;
};

}  // namespace samed::nn
