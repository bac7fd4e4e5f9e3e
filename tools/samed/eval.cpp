// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <samed/io/npy.hpp>
#include <samed/metrics/summary.hpp>
#include <samed/volume/volume.hpp>

#include "segment_input.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
    std::string prediction, reference;
    std::vector<double> spacing;
    int classes = 0;
    bool json = false;
};

Result<LabelVolume> read_label_array(std::string const& path) {
    SAMED_TRY(NpyArray const array, read_npy(path));
    std::size_t const axes = array.shape.size();
    if (axes != 2 && axes != 3)
        return fail(ErrorCode::shape_mismatch, "shape", "[h, w] or [slices, h, w]", shape_text(array.shape)).in(path);
    for (std::int64_t n : array.shape)
        if (n < 1 || n > 32767) return fail(ErrorCode::out_of_range, "shape", "sizes of 1 to 32767", shape_text(array.shape)).in(path);
    auto const values = array.to_f32();
    if (!values) return values.error().in(path);
    auto const size = [&](std::size_t from_end) { return static_cast<int>(array.shape[axes - from_end]); };
    SAMED_TRY(LabelVolume labels, LabelVolume::allocate(axes == 3 ? size(3) : 1, size(2), size(1)));
    std::uint8_t* to = labels.voxels().begin();
    for (std::size_t i = 0; i < values->size(); ++i) {
        float const v = (*values)[i];
        if (!(v >= 0 && v <= 255 && v == std::floor(v)))
            return fail(ErrorCode::out_of_range, FixedText<96>("element ") << i, "a label, a whole number of 0 to 255").in(path);
        *to++ = static_cast<std::uint8_t>(v);
    }
    return labels;
}

Result<LabelVolume> read_label_volume(std::string const& path) {
    if (VolumeReader::knows(path)) return LabelVolume::read(path);
    if (has_extension(path, ".npy")) return read_label_array(path);
    return fail(ErrorCode::unsupported, "labels", ".npy, .nii, .nii.gz, .nrrd or .mha", "another extension").in(path);
}

/// Both volumes must lie at the same place: corresponding voxels may differ by a hundredth of a voxel.
Result<void> check_same_place(LabelVolume const& prediction, LabelVolume const& reference, std::string const& path) {
    auto const a = prediction.voxels(), b = reference.voxels();
    auto const sizes = [](auto const& v) { return text() << v.size(0) << " x " << v.size(1) << " x " << v.size(2); };
    for (int axis = 0; axis < 3; ++axis)
        if (a.size(axis) != b.size(axis)) return fail(ErrorCode::shape_mismatch, "prediction", sizes(b), sizes(a)).in(path);
    if (!prediction.header() || !reference.header()) return {};
    auto const& spacing = reference.geometry().spacing_mm;
    double const distance = largest_distance_mm(prediction.geometry(), reference.geometry(), {a.size(2), a.size(1), a.size(0)});
    if (!(distance <= 0.01 * std::min({spacing[0], spacing[1], spacing[2]}))) {
        char digits[48];
        std::snprintf(digits, sizeof digits, "%.3g mm away at a corner", distance);
        return fail(ErrorCode::shape_mismatch, "geometry", "the reference's place in space", digits).in(path);
    }
    return {};
}

Json number_or_null(std::optional<double> const& v) {
    return v ? Json(*v) : Json(nullptr);
}
Json score_json(Score const& s) {
    return {{"dice", s.dice}, {"hd95_voxels", number_or_null(s.hd95_voxels)}, {"hd95_mm", number_or_null(s.hd95_mm)}};
}

Json summary_json(Options const& o, Summary const& summary) {
    Json classes = Json::array();
    for (ClassScore const& c : summary.classes)
        classes.push_back({{"label", c.label},
                           {"prediction_voxels", c.prediction_voxels},
                           {"reference_voxels", c.reference_voxels},
                           {"authors", score_json(c.authors)},
                           {"textbook", score_json(c.textbook)}});
    return {{"prediction", o.prediction},
            {"reference", o.reference},
            {"classes", classes},
            {"mean", {{"authors", score_json(summary.authors_mean)}, {"textbook", score_json(summary.textbook_mean)}}}};
}

void print_row(std::string const& name, Score const& authors, Score const& textbook) {
    auto const number = [](std::optional<double> const& v) {
        char digits[32];
        if (!v) return std::string("-");
        std::snprintf(digits, sizeof digits, "%.3f", *v);
        return std::string(digits);
    };
    std::printf("%-8s | %8.4f %12s %10s | %8.4f %12s %10s\n", name.c_str(), authors.dice, number(authors.hd95_voxels).c_str(),
                number(authors.hd95_mm).c_str(), textbook.dice, number(textbook.hd95_voxels).c_str(), number(textbook.hd95_mm).c_str());
}

Result<void> run(Options const& o) {
    SAMED_TRY(LabelVolume const prediction, read_label_volume(o.prediction));
    SAMED_TRY(LabelVolume const reference, read_label_volume(o.reference));
    SAMED_CHECK(check_same_place(prediction, reference, o.prediction));
    std::array<double, 3> spacing = reference.geometry().spacing_mm;
    if (!o.spacing.empty()) spacing = {o.spacing[0], o.spacing[1], o.spacing[2]};
    SAMED_TRY(Summary const summary, evaluate(prediction.voxels(), reference.voxels(), o.classes, spacing));
    if (o.json) {
        std::printf("%s\n", summary_json(o, summary).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        return {};
    }
    std::printf("%-8s | %-32s | %-32s\n", "", "authors' table (SAMed's test)", "textbook");
    std::printf("%-8s | %8s %12s %10s | %8s %12s %10s\n", "class", "DSC", "HD95 voxels", "HD95 mm", "DSC", "HD95 voxels", "HD95 mm");
    for (ClassScore const& c : summary.classes) print_row(std::to_string(c.label), c.authors, c.textbook);
    print_row("mean", summary.authors_mean, summary.textbook_mean);
    return {};
}

}  // namespace

void add_eval(CLI::App& app, int& code) {
    auto const o = std::make_shared<Options>();
    CLI::App* const c = app.add_subcommand("eval", "Compare labels with reference labels: DSC and HD95 per class and on average");
    c->add_option("--prediction", o->prediction, "labels: .nii, .nii.gz, .nrrd, .mha or .npy")->required();
    c->add_option("--reference", o->reference, "reference labels of the same size and place")->required();
    c->add_option("--spacing", o->spacing, "edges of a voxel along x, y and z in mm, instead of the reference's (for .npy)")
        ->expected(3)
        ->check(CLI::PositiveNumber);
    c->add_option("--classes", o->classes, "how many, without the background (default: the largest label)")->check(CLI::Range(1, 255));
    c->add_flag("--json", o->json, "all figures as JSON on stdout");
    c->footer(
        "The two tables differ where a mask is empty: SAMed's test counts a false alarm as DSC 1, and a correct absence as 0;\n"
        "the textbook counts 0 and 1, with HD95 undefined against an empty mask.\n"
        "Example:\n  samed eval --prediction labels.nii.gz --reference truth.nii.gz");
    c->callback([o, &code] {
        auto const done = run(*o);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
