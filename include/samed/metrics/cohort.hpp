// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <samed/metrics/summary.hpp>

namespace samed {

/// Scores of many cases: a mean over the cases for each class, then a mean over the classes, as SAMed's test prints them.
struct Cohort {
    struct Case {
        std::string name;
        Summary summary;
    };
    std::vector<Case> cases;

    /// Means over the cases, class by class. A case that was scored to a lower label has no voxel of the others on either side, and counts
    /// as `evaluate` counts that: means must not depend on the largest label of each case.
    Summary means() const {
        Summary out;
        std::size_t classes = 0;
        for (Case const& c : cases) classes = std::max(classes, c.summary.classes.size());
        std::vector<Score> authors_of_all, textbook_of_all;
        for (std::size_t k = 0; k < classes; ++k) {
            ClassScore mean;
            mean.label = static_cast<std::uint8_t>(k + 1);
            std::vector<Score> authors, textbook;
            for (Case const& c : cases) {
                ClassScore const score = k < c.summary.classes.size() ? c.summary.classes[k] : detail::one_sided_score(mean.label, 0, 0);
                mean.prediction_voxels += score.prediction_voxels;
                mean.reference_voxels += score.reference_voxels;
                authors.push_back(score.authors);
                textbook.push_back(score.textbook);
            }
            mean.authors = mean_score(authors);
            mean.textbook = mean_score(textbook);
            authors_of_all.push_back(mean.authors);
            textbook_of_all.push_back(mean.textbook);
            out.classes.push_back(mean);
        }
        out.authors_mean = mean_score(authors_of_all);
        out.textbook_mean = mean_score(textbook_of_all);
        return out;
    }
};

}  // namespace samed
