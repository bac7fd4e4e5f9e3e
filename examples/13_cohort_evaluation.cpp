// SPDX-License-Identifier: Apache-2.0
// Labels of several cases against their references: means over the cases with both conventions for empty masks.
//     13_cohort_evaluation prediction1.nii.gz reference1.nii.gz [prediction2 reference2 ..]
#include <cstdio>

#include <samed/metrics/cohort.hpp>
#include <samed/volume/volume.hpp>

namespace {

samed::Result<void> run(int count, char** paths) {
    samed::Cohort cohort;
    for (int i = 0; i < count; i += 2) {
        SAMED_TRY(auto const prediction, samed::LabelVolume::read(paths[i]));
        SAMED_TRY(auto const reference, samed::LabelVolume::read(paths[i + 1]));
        SAMED_TRY(auto summary, samed::evaluate(prediction.voxels(), reference.voxels(), 0, reference.geometry().spacing_mm, 1.0));
        cohort.cases.push_back({paths[i], std::move(summary)});
    }
    samed::Summary const means = cohort.means();
    std::printf("class    DSC  HD95 mm  ASSD mm  NSD at 1 mm\n");
    for (auto const& c : means.classes) {
        samed::Score const& s = c.textbook;  // c.authors: SAMed's convention
        std::printf("%5d %.4f %8.3f %8.3f %12.4f\n", c.label, s.dice, s.hd95_mm.value_or(-1), s.assd_mm.value_or(-1), s.nsd);
    }
    std::printf(" mean %.4f\n", means.textbook_mean.dice);
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3 || argc % 2 == 0) {
        std::fprintf(stderr, "usage: 13_cohort_evaluation PREDICTION REFERENCE ..\n");
        return 2;
    }
    if (auto const done = run(argc - 1, argv + 1); !done) {
        std::fprintf(stderr, "%s\n", done.error().message().c_str());
        return 2;
    }
}
