// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <samed/image/xtensor.hpp>
#include <samed/metrics/dice.hpp>
#include <samed/metrics/hausdorff.hpp>

namespace samed {

/// DSC and HD95 of one class, or their means.
struct Score {
    double dice = 0;
    std::optional<double> hd95_voxels, hd95_mm;  ///< empty: there is no distance to a mask without voxels
};

/// One class under two conventions, which differ where a mask is empty.
///
/// | prediction | reference | authors (SAMed's test)  | textbook             |
/// |------------|-----------|-------------------------|----------------------|
/// | voxels     | voxels    | DSC, HD95               | DSC, HD95            |
/// | voxels     | empty     | 1, 0                    | 0, undefined         |
/// | empty      | voxels    | 0, 0                    | 0, undefined         |
/// | empty      | empty     | 0, 0                    | 1, 0                 |
struct ClassScore {
    std::uint8_t label = 0;
    std::uint64_t prediction_voxels = 0, reference_voxels = 0;
    Score authors, textbook;
};

struct Summary {
    std::vector<ClassScore> classes;  ///< labels 1..K
    Score authors_mean, textbook_mean;  ///< over the classes; the textbook's HD95 over those that have one
};

namespace detail {

inline Score mean_score(std::vector<ClassScore> const& classes, Score ClassScore::*convention) {
    Score mean;
    double voxels = 0, mm = 0;
    int defined = 0;
    for (auto const& c : classes) {
        Score const& s = c.*convention;
        mean.dice += s.dice;
        if (!s.hd95_mm) continue;
        voxels += *s.hd95_voxels;
        mm += *s.hd95_mm;
        ++defined;
    }
    if (!classes.empty()) mean.dice /= static_cast<double>(classes.size());
    if (defined > 0) {
        mean.hd95_voxels = voxels / defined;
        mean.hd95_mm = mm / defined;
    }
    return mean;
}

}  // namespace detail

/// Scores of the labels 1..classes.
/// @param prediction, reference  [z, y, x]
/// @param classes     without the background; 0 takes the largest label that either volume has
/// @param spacing_mm  edges of a voxel along x, y, z
/// @errors shape_mismatch, invalid_argument (spacing, classes), out_of_memory
inline Result<Summary> evaluate(ViewN<std::uint8_t const, 3> prediction, ViewN<std::uint8_t const, 3> reference, int classes,
                                std::array<double, 3> const& spacing_mm) {
    if (classes < 0 || classes > 255) return fail(ErrorCode::invalid_argument, "classes", "0 to 255", text() << classes);
    SAMED_TRY(LabelCounts const counts, count_labels(prediction, reference));
    for (std::size_t k = 255; classes == 0 && k > 0; --k)
        if (counts.prediction[k] + counts.reference[k] > 0) classes = static_cast<int>(k);
    Summary summary;
    for (int k = 1; k <= classes; ++k) {
        ClassScore c;
        c.label = static_cast<std::uint8_t>(k);
        c.prediction_voxels = counts.prediction[c.label];
        c.reference_voxels = counts.reference[c.label];
        bool const predicted = c.prediction_voxels > 0, present = c.reference_voxels > 0;
        if (predicted && present) {
            c.authors.dice = counts.dice(c.label);
            SAMED_TRY(c.authors.hd95_voxels, hd95(prediction, reference, c.label));
            c.authors.hd95_mm = c.authors.hd95_voxels;
            if (spacing_mm != std::array<double, 3>{1, 1, 1}) {
                SAMED_TRY(c.authors.hd95_mm, hd95(prediction, reference, c.label, spacing_mm));
            }
            c.textbook = c.authors;
        } else {
            c.authors = {predicted ? 1.0 : 0.0, 0.0, 0.0};
            if (predicted == present) c.textbook = {1, 0.0, 0.0};
        }
        summary.classes.push_back(c);
    }
    summary.authors_mean = detail::mean_score(summary.classes, &ClassScore::authors);
    summary.textbook_mean = detail::mean_score(summary.classes, &ClassScore::textbook);
    return summary;
}

/// The same on label tensors [z, y, x].
inline Result<Summary> evaluate(xt::xtensor<std::uint8_t, 3> const& prediction, xt::xtensor<std::uint8_t, 3> const& reference, int classes,
                                std::array<double, 3> const& spacing_mm) {
    auto const view = [](xt::xtensor<std::uint8_t, 3> const& t) {
        return ViewN<std::uint8_t const, 3>{t.data(), {t.shape()[0], t.shape()[1], t.shape()[2]}};
    };
    return evaluate(view(prediction), view(reference), classes, spacing_mm);
}

}  // namespace samed
