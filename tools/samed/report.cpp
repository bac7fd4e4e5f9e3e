// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "picture.hpp"
#include "report_page.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

using Json = nlohmann::ordered_json;

constexpr int most_sheet_slices = 20, most_report_slices = 64, longest_report_side = 400;

std::string base64(std::string const& bytes) {
    constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        auto const byte = [&](std::size_t k) { return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u; };
        unsigned const three = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (int k = 0; k < 4; ++k) out += i + static_cast<std::size_t>(k) > bytes.size() ? '=' : digits[three >> (18 - 6 * k) & 63];
    }
    return out;
}

std::string hex(Rgb const& c) {
    char digits[8];
    std::snprintf(digits, sizeof digits, "#%02x%02x%02x", c[0], c[1], c[2]);
    return digits;
}

/// JSON that may stand inside a script element.
std::string script_json(Json const& json) {
    std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    for (std::size_t at = 0; (at = text.find('<', at)) != std::string::npos; at += 6) text.replace(at, 1, "\\u003c");
    return text;
}

Json rows_json(ReportFacts const& f) {
    Json rows = Json::array();
    for (std::size_t k = 1; k < f.rows.size(); ++k) {
        auto const& r = f.rows[k];
        if (k >= f.names.size() && r.voxels == 0) continue;
        Json row = {{"label", k},
                    {"name", k < f.names.size() ? f.names[k] : "label " + std::to_string(k)},
                    {"voxels", r.voxels},
                    {"ml", f.placed ? Json(r.volume_ml) : Json(nullptr)}};
        row["mean"] = r.voxels ? Json(r.mean) : Json(nullptr);
        row["sd"] = r.voxels ? Json(r.sd) : Json(nullptr);
        row["box_first"] = r.voxels ? Json(r.first) : Json(nullptr);
        row["box_last"] = r.voxels ? Json(r.last) : Json(nullptr);
        row["components"] = r.components;
        rows.push_back(row);
    }
    return rows;
}

Json run_json(ReportFacts const& f) {
    Json run = {{"input", f.input},       {"model", f.model},        {"recipe", f.recipe},     {"space", f.space},
                {"slices", f.run.slices}, {"air_slices", f.run.air}, {"streamed", f.streamed}, {"version", f.version}};
    if (f.kept_largest) run["removed_components"] = {{"components", f.largest.components}, {"voxels", f.largest.voxels}};
    if (f.filled_holes) run["filled_holes"] = {{"holes", f.holes.components}, {"voxels", f.holes.voxels}};
    return run;
}

}  // namespace

SlicePictures::SlicePictures(SliceView const& view, int total, std::array<double, 3> const& spacing_mm, std::vector<Rgb> colours,
                             std::array<float, 2> window, bool for_sheet, bool for_report)
    : view_(view), total_(total), colours_(std::move(colours)), window_(window) {
    double row = spacing_mm[view.frame.across == VoxelAxis::z ? 1 : 2], column = spacing_mm[view.frame.across == VoxelAxis::x ? 1 : 0];
    if (view.frame.transposed) std::swap(row, column);
    aspect_ = row / column;
    if (for_sheet) sheet_indices_ = shown_slices(total, most_sheet_slices);
    if (for_report) report_indices_ = shown_slices(total, most_report_slices);
}

Result<void> SlicePictures::add(int index, ImageView<float const> image, ImageView<std::uint8_t const> labels) {
    auto const has = [&](std::vector<int> const& list) { return std::binary_search(list.begin(), list.end(), index); };
    if (has(sheet_indices_)) sheet_.push_back(labelled_slice(image, labels, view_, colours_, window_));
    if (has(report_indices_)) return add_pair(index, turned(image, view_.frame), turned(labels, view_.frame));
    return {};
}

Result<void> SlicePictures::add_pair(int index, ImageView<float const> image, ImageView<std::uint8_t const> labels) {
    int const step = (std::max(image.height, image.width) + longest_report_side - 1) / longest_report_side;
    int const height = (image.height + step - 1) / step, width = (image.width + step - 1) / step;
    ImageView<float const> small = image;
    small.height = height;
    small.width = width;
    small.row_stride *= step;
    small.column_stride *= step;
    std::size_t const pixels = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
    std::vector<std::uint8_t> grey(pixels), map(pixels);
    window_to_grey(small, window_[0], window_[1], grey.data());
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) map[static_cast<std::size_t>(y) * width + x] = labels(y * step, x * step);
    Pair pair;
    pair.index = index;
    SAMED_TRY(pair.grey, encode_picture(height, width, 1, grey.data()));
    SAMED_TRY(pair.labels, encode_picture(height, width, 1, map.data()));
    pairs_.push_back(std::move(pair));
    return {};
}

Result<std::string> report_html(ReportFacts const& f, SlicePictures const& pictures) {
    Json slices = Json::array();
    for (auto const& pair : pictures.pairs_)
        slices.push_back({{"index", pair.index}, {"grey", base64(pair.grey)}, {"labels", base64(pair.labels)}});
    Json colours = Json::array();
    for (Rgb const& c : f.colours) colours.push_back(hex(c));
    SliceView const& v = pictures.view_;
    auto const letter = [](char side) { return side == 0 ? std::string() : std::string(1, side); };
    Json const edges = {{"left", letter(v.left)},
                        {"right", letter(v.left == 0 ? '\0' : opposite(v.left))},
                        {"top", letter(v.top)},
                        {"bottom", letter(v.top == 0 ? '\0' : opposite(v.top))}};
    Json const data = {{"run", run_json(f)}, {"rows", rows_json(f)},       {"names", f.names},
                       {"colours", colours}, {"slices", slices},           {"total", pictures.total_},
                       {"edges", edges},     {"aspect", pictures.aspect_}, {"axis", name(v.frame.across)}};
    return std::string(report_page_start) + script_json(data) + report_page_end;
}

std::string statistics_json(ReportFacts const& f) {
    return Json{{"run", run_json(f)}, {"classes", rows_json(f)}}.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string statistics_csv(ReportFacts const& f) {
    std::string out = "label,name,voxels,ml,mean,sd,x_first,x_last,y_first,y_last,z_first,z_last,components\n";
    for (Json const& row : rows_json(f)) {
        auto const value = [](Json const& v) { return v.is_null() ? std::string() : v.dump(); };
        out += row["label"].dump() + "," + csv_quoted(row["name"]) + "," + row["voxels"].dump() + "," + value(row["ml"]);
        out += "," + value(row["mean"]) + "," + value(row["sd"]);
        for (std::size_t axis = 0; axis < 3; ++axis)
            for (char const* side : {"box_first", "box_last"}) out += "," + (row[side].is_null() ? std::string() : row[side][axis].dump());
        out += "," + row["components"].dump() + "\n";
    }
    return out;
}

std::string dcmqi_json(ReportFacts const& f) {
    auto const code = [](char const* value, char const* meaning) {
        return Json{{"CodeValue", value}, {"CodingSchemeDesignator", "SCT"}, {"CodeMeaning", meaning}};
    };
    Json segments = Json::array();
    for (std::size_t k = 1; k < f.names.size(); ++k)
        segments.push_back({{"labelID", k},
                            {"SegmentDescription", f.names[k].substr(0, 64)},
                            {"SegmentLabel", f.names[k].substr(0, 64)},
                            {"SegmentAlgorithmType", "AUTOMATIC"},
                            {"SegmentAlgorithmName", "samed"},
                            {"SegmentedPropertyCategoryCodeSequence", code("123037004", "Anatomical Structure")},
                            {"SegmentedPropertyTypeCodeSequence", code("85756007", "Tissue")},
                            {"recommendedDisplayRGBValue", {f.colours[k][0], f.colours[k][1], f.colours[k][2]}}});
    return Json{{"@schema", "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/seg-schema.json#"},
                {"ContentCreatorName", "samed"},
                {"SeriesDescription", "Segmentation by samed"},
                {"SeriesNumber", "300"},
                {"InstanceNumber", "1"},
                {"BodyPartExamined", ""},
                {"segmentAttributes", Json::array({segments})}}
               .dump(2, ' ', false, Json::error_handler_t::replace) +
           "\n";
}

}  // namespace samed::tool
