// SPDX-License-Identifier: Apache-2.0
// What `samed segment` writes about a volume besides its labels: pictures, an HTML report, statistics, tables for viewers.
#pragma once

#include <array>
#include <string>
#include <vector>

#include <samed/any_model.hpp>
#include <samed/segment_volume.hpp>
#include <samed/volume/label_cleaning.hpp>
#include <samed/volume/label_statistics.hpp>
#include <samed/volume/label_table.hpp>

#include "display.hpp"

namespace samed::tool {

/// Slices for the contact sheet and the report, taken as they come.
class SlicePictures {
public:
    /// @param spacing_mm  of the voxel grid along x, y, z
    SlicePictures(SliceView const& view, int total, std::array<double, 3> const& spacing_mm, std::vector<Rgb> colours,
                  std::array<float, 2> window, bool for_sheet, bool for_report);

    /// @param image, labels  as stored, see `slice`
    /// @errors out_of_memory
    Result<void> add(int index, ImageView<float const> image, ImageView<std::uint8_t const> labels);

    std::vector<RgbImage> const& sheet() const { return sheet_; }

private:
    friend Result<std::string> report_html(struct ReportFacts const&, SlicePictures const&);
    struct Pair {
        int index;
        std::string grey, labels;  // PNG
    };
    Result<void> add_pair(int index, ImageView<float const> image, ImageView<std::uint8_t const> labels);

    SliceView view_;
    int total_;
    double aspect_ = 1;  // height over width of a pixel, turned
    std::vector<Rgb> colours_;
    std::array<float, 2> window_;
    std::vector<int> sheet_indices_, report_indices_;
    std::vector<RgbImage> sheet_;
    std::vector<Pair> pairs_;
};

/// What was done, for the report and the statistics files.
struct ReportFacts {
    std::string input, model, recipe, space, version;
    VolumeReport run;
    bool streamed = false;
    bool placed = true;              ///< the input says how large its voxels are; else there are no millilitres
    std::vector<std::string> names;  ///< by label, 0 = background
    std::vector<Rgb> colours;        ///< by label
    std::vector<LabelStatistics::Row> rows;
    CleaningReport largest, holes;
    bool kept_largest = false, filled_holes = false;
};

/// One page without references to other files: slice slider, class toggles, opacity, statistics.
/// @errors out_of_memory
Result<std::string> report_html(ReportFacts const& facts, SlicePictures const& pictures);

std::string statistics_csv(ReportFacts const& facts);
std::string statistics_json(ReportFacts const& facts);

/// Metadata for dcmqi's itkimage2segimage: labels, colours, codes of the DICOM standard's general terms.
std::string dcmqi_json(ReportFacts const& facts);

}  // namespace samed::tool
