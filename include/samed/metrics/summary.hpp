// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <samed/image/xtensor.hpp>
#include <samed/metrics/dice.hpp>
#include <samed/metrics/hausdorff.hpp>

namespace samed {

/// Scores of one class, or their means.
struct Score {
    double dice = 0;
    std::optional<double> hd95_voxels, hd95_mm, hd_mm, assd_mm;  ///< empty: there is no distance to a mask without voxels
    double nsd = 0;                                              ///< at the tolerance of the evaluation
};

/// One class under two conventions, which differ where a mask is empty.
///
/// | prediction | reference | authors (SAMed's test): DSC, NSD; distances | textbook: DSC, NSD; distances |
/// |------------|-----------|---------------------------------------------|-------------------------------|
/// | voxels     | voxels    | as measured                                 | as measured                   |
/// | voxels     | empty     | 1; 0                                        | 0; undefined                  |
/// | empty      | voxels    | 0; 0                                        | 0; undefined                  |
/// | empty      | empty     | 0; 0                                        | 1; 0                          |
struct ClassScore {
    std::uint8_t label = 0;
    std::uint64_t prediction_voxels = 0, reference_voxels = 0;
    Score authors, textbook;
};

struct Summary {
    std::vector<ClassScore> classes;    ///< labels 1..K
    Score authors_mean, textbook_mean;  ///< over the classes; the textbook's distances over those that have one
};

/// Mean of scores, a distance over those that have one.
inline Score mean_score(std::span<Score const> scores) {
    Score mean;
    for (Score const& s : scores) {
        mean.dice += s.dice / static_cast<double>(scores.size());
        mean.nsd += s.nsd / static_cast<double>(scores.size());
    }
    for (auto const distance : {&Score::hd95_voxels, &Score::hd95_mm, &Score::hd_mm, &Score::assd_mm}) {
        double sum = 0;
        int defined = 0;
        for (Score const& s : scores)
            if (s.*distance) sum += *(s.*distance), ++defined;
        if (defined > 0) mean.*distance = sum / defined;
    }
    return mean;
}

namespace detail {

/// A class that one mask alone has, or none, see ClassScore.
inline ClassScore one_sided_score(std::uint8_t label, std::uint64_t prediction_voxels, std::uint64_t reference_voxels) {
    ClassScore c{label, prediction_voxels, reference_voxels, {}, {}};
    double const one = prediction_voxels > 0 ? 1 : 0;
    c.authors = {one, 0.0, 0.0, 0.0, 0.0, one};
    if (prediction_voxels == reference_voxels) c.textbook = {1, 0.0, 0.0, 0.0, 0.0, 1};  // both empty
    return c;
}

inline Score mean_of(std::vector<ClassScore> const& classes, Score ClassScore::*convention) {
    std::vector<Score> scores;
    for (auto const& c : classes) scores.push_back(c.*convention);
    return mean_score(scores);
}

}  // namespace detail

/// Scores of the labels 1..classes.
/// @param prediction, reference  [z, y, x]
/// @param classes       without the background; 0 takes the largest label that either volume has
/// @param spacing_mm    edges of a voxel along x, y, z
/// @param tolerance_mm  of NSD
/// @errors shape_mismatch, invalid_argument (spacing, classes), out_of_memory
inline Result<Summary> evaluate(ViewN<std::uint8_t const, 3> prediction, ViewN<std::uint8_t const, 3> reference, int classes,
                                std::array<double, 3> const& spacing_mm, double tolerance_mm = 1) {
    if (classes < 0 || classes > 255) return fail(ErrorCode::invalid_argument, "classes", "0 to 255", text() << classes);
    if (!(tolerance_mm >= 0)) return fail(ErrorCode::invalid_argument, "tolerance", "0 mm or more", "less");
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
            SAMED_TRY(SurfaceScore const mm, surface_score(prediction, reference, c.label, spacing_mm, tolerance_mm));
            double voxels = mm.hd95;
            if (spacing_mm != std::array<double, 3>{1, 1, 1}) {
                SAMED_TRY(voxels, hd95(prediction, reference, c.label));
            }
            c.authors = c.textbook = {counts.dice(c.label), voxels, mm.hd95, mm.hd, mm.assd, mm.nsd};
        } else {
            c = detail::one_sided_score(c.label, c.prediction_voxels, c.reference_voxels);
        }
        summary.classes.push_back(c);
    }
    summary.authors_mean = detail::mean_of(summary.classes, &ClassScore::authors);
    summary.textbook_mean = detail::mean_of(summary.classes, &ClassScore::textbook);
    return summary;
}

/// The same on label tensors [z, y, x].
inline Result<Summary> evaluate(xt::xtensor<std::uint8_t, 3> const& prediction, xt::xtensor<std::uint8_t, 3> const& reference, int classes,
                                std::array<double, 3> const& spacing_mm, double tolerance_mm = 1) {
    auto const view = [](xt::xtensor<std::uint8_t, 3> const& t) {
        return ViewN<std::uint8_t const, 3>{t.data(), {t.shape()[0], t.shape()[1], t.shape()[2]}};
    };
    return evaluate(view(prediction), view(reference), classes, spacing_mm, tolerance_mm);
}

}  // namespace samed
