// SPDX-License-Identifier: Apache-2.0
#include "label_input.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "picture.hpp"
#include "segment_input.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

Result<LabelVolume> read_label_array(std::string const& path) {
    SAMED_TRY(NpyArray const array, read_named_array(path, "label"));
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

Result<LabelVolume> read_label_picture(std::string const& path) {
    SAMED_TRY(Picture const picture, read_picture(path));
    if (picture.channels != 1)
        return fail(ErrorCode::shape_mismatch, "channels", "one, whose values are the labels", text() << picture.channels).in(path);
    SAMED_TRY(LabelVolume labels, LabelVolume::allocate(1, picture.height, picture.width));
    std::copy(picture.pixels.begin(), picture.pixels.end(), labels.voxels().begin());
    return labels;
}

}  // namespace

std::string case_name(std::string const& path) {
    std::string name = std::filesystem::path(path).filename().string();
    if (has_extension(name, ".gz")) name.resize(name.size() - 3);
    return name.substr(0, name.rfind('.'));
}

Result<std::map<std::string, std::string>> files_by_case(std::string const& folder, std::function<bool(std::string const&)> const& wanted) {
    std::map<std::string, std::string> found;
    std::error_code code;
    std::filesystem::directory_iterator at(folder, code), end;
    for (; !code && at != end; at.increment(code)) {
        std::string const path = at->path().string(), name = at->path().filename().string();
        std::error_code ignored;  // a link to nothing is no file
        if (name[0] == '.' || !at->is_regular_file(ignored) || (wanted && !wanted(path))) continue;
        if (!found.emplace(case_name(name), path).second)
            return fail(ErrorCode::invalid_argument, case_name(name), "one file of this name", "two that differ in their extension")
                .in(folder);
    }
    if (code) return fail(ErrorCode::io_failure, "folder", {}, code.message()).in(folder);
    return found;
}

bool is_label_file(std::string const& path) {
    return VolumeReader::knows(path) || is_array(path) || has_extension(path, ".png");
}

Result<LabelVolume> read_label_volume(std::string const& path) {
    if (VolumeReader::knows(path)) return LabelVolume::read(path);
    if (is_array(path)) return read_label_array(path);
    if (has_extension(path, ".png")) return read_label_picture(path);
    return fail(ErrorCode::unsupported, "labels", ".npy, .npz, .h5, .png, .nii, .nii.gz, .nrrd or .mha", "another extension").in(path);
}

template <class A, class B>
Result<void> check_same_place(VolumeOf<A> const& found, VolumeOf<B> const& expected, std::string const& path, char const* what) {
    auto const a = found.voxels();
    auto const b = expected.voxels();
    auto const sizes = [](auto const& v) { return text() << v.size(0) << " x " << v.size(1) << " x " << v.size(2); };
    for (int axis = 0; axis < 3; ++axis)
        if (a.size(axis) != b.size(axis)) return fail(ErrorCode::shape_mismatch, what, sizes(b), sizes(a)).in(path);
    if (!found.header() || !expected.header()) return {};
    auto const& spacing = expected.geometry().spacing_mm;
    double const distance = largest_distance_mm(found.geometry(), expected.geometry(), {a.size(2), a.size(1), a.size(0)});
    if (!(distance <= 0.01 * std::min({spacing[0], spacing[1], spacing[2]}))) {
        char digits[48];
        std::snprintf(digits, sizeof digits, "%.3g mm away at a corner", distance);
        return fail(ErrorCode::shape_mismatch, "geometry", "the same place in space", digits).in(path);
    }
    return {};
}

template Result<void> check_same_place(LabelVolume const&, LabelVolume const&, std::string const&, char const*);
template Result<void> check_same_place(LabelVolume const&, Volume const&, std::string const&, char const*);

}  // namespace samed::tool
