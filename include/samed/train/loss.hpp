// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <samed/core/parallel.hpp>

namespace samed::train {

/// What a batch cost.
struct Loss {
    double total = 0, cross_entropy = 0, dice = 0;
};

/// SAMed's loss on low-res logits: 0.2 cross entropy (mean over pixels) + 0.8 Dice (mean over all classes, background included, of
/// 1 - (2 sum(p t) + 1e-5) / (sum(p^2) + sum(t^2) + 1e-5), sums over the whole batch, p = softmax).
/// @param logits  [B, M, pixels]
/// @param labels  [B, pixels], below M
/// @param grads   [B, M, pixels], becomes scale * the gradient
/// @cost   two exponentials' worth of passes; sums in double over fixed pieces: the same bits for every thread count
/// @source SAMed (Zhang & Liu 2023), section 3.4, and the authors' trainer
template <class T>
Loss samed_loss(Executor& executor, int batch, int masks, int pixels, T const* logits, std::uint8_t const* labels, double scale, T* grads) {
    constexpr double smooth = 1e-5, cross_entropy_weight = 0.2, dice_weight = 0.8;
    constexpr int piece = 1024;
    int const pieces = (pixels + piece - 1) / piece;
    std::size_t const m = static_cast<std::size_t>(masks);
    // Of each piece: sums of p t, p^2 and t per class, then the cross entropy.
    std::vector<double> partial(static_cast<std::size_t>(batch) * static_cast<std::size_t>(pieces) * (3 * m + 1));
    auto const for_pixels = [&](auto&& body) {
        parallel_for(executor, batch * pieces, [&](int index, int) {
            int const image = index / pieces, first = index % pieces * piece, last = std::min(pixels, first + piece);
            double* const sums = partial.data() + static_cast<std::size_t>(index) * (3 * m + 1);
            for (int i = first; i < last; ++i)
                body(std::int64_t{image} * masks * pixels + i, labels[std::int64_t{image} * pixels + i], sums);
        });
    };
    for_pixels([&](std::int64_t at, int label, double* sums) {
        T largest = logits[at];
        for (int c = 1; c < masks; ++c) largest = std::max(largest, logits[at + std::int64_t{c} * pixels]);
        T total = 0;
        for (int c = 0; c < masks; ++c)
            total += grads[at + std::int64_t{c} * pixels] = std::exp(logits[at + std::int64_t{c} * pixels] - largest);
        for (int c = 0; c < masks; ++c) {
            T& p = grads[at + std::int64_t{c} * pixels];
            p /= total;
            auto const k = static_cast<std::size_t>(c);
            if (c == label) {
                sums[k] += static_cast<double>(p);
                sums[2 * m + k] += 1;
                sums[3 * m] += static_cast<double>(largest + std::log(total) - logits[at + std::int64_t{c} * pixels]);
            }
            sums[m + k] += static_cast<double>(p) * static_cast<double>(p);
        }
    });
    std::vector<double> sums(3 * m + 1);
    for (std::size_t i = 0; i < partial.size(); ++i) sums[i % sums.size()] += partial[i];

    double const count = static_cast<double>(batch) * pixels;
    Loss loss;
    loss.cross_entropy = sums[3 * m] / count;
    std::vector<double> of_target(m), of_p(m);  // derivative of the loss by p: of_target where t is 1, plus of_p times p
    for (std::size_t c = 0; c < m; ++c) {
        double const numerator = 2 * sums[c] + smooth, denominator = sums[m + c] + sums[2 * m + c] + smooth;
        loss.dice += (1 - numerator / denominator) / masks;
        of_target[c] = -dice_weight / masks * 2 / denominator;
        of_p[c] = dice_weight / masks * 2 * numerator / (denominator * denominator);
    }
    loss.total = cross_entropy_weight * loss.cross_entropy + dice_weight * loss.dice;

    for_pixels([&](std::int64_t at, int label, double*) {
        double mean = 0;
        for (int c = 0; c < masks; ++c) {
            double const p = static_cast<double>(grads[at + std::int64_t{c} * pixels]);
            auto const k = static_cast<std::size_t>(c);
            mean += p * (of_p[k] * p + (c == label ? of_target[k] : 0));
        }
        for (int c = 0; c < masks; ++c) {
            T& g = grads[at + std::int64_t{c} * pixels];
            double const p = static_cast<double>(g), t = c == label ? 1 : 0;
            auto const k = static_cast<std::size_t>(c);
            double const by_dice = p * (of_p[k] * p + t * of_target[k] - mean), by_cross_entropy = cross_entropy_weight * (p - t) / count;
            g = static_cast<T>(scale * (by_dice + by_cross_entropy));
        }
    });
    return loss;
}

}  // namespace samed::train
