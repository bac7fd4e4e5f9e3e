// SPDX-License-Identifier: Apache-2.0
#include "segment_input.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include <samed/image/preprocess.hpp>
#include <samed/io/npz.hpp>
#ifdef SAMED_TOOL_HDF5
#include <samed/io/hdf5.hpp>
#endif

#include "picture.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

Result<Input> read_picture_input(std::string const& path) {
    SAMED_TRY(Picture const picture, read_picture(path));
    Input in;
    in.kind = Input::Kind::picture;
    in.height = picture.height;
    in.width = picture.width;
    in.channels = picture.channels;
    SAMED_TRY(in.picture, Buffer<float>::allocate(picture.pixels.size()));
    std::copy(picture.pixels.begin(), picture.pixels.end(), in.picture.begin());
    return in;
}

Result<Input> read_array(std::string const& path) {
    SAMED_TRY(NpyArray const array, read_named_array(path, "image"));
    std::size_t const axes = array.shape.size();
    if (axes != 2 && axes != 3)
        return fail(ErrorCode::shape_mismatch, "shape", "[h, w] or [slices, h, w]", shape_text(array.shape)).in(path);
    for (std::int64_t n : array.shape)
        if (n < 1 || n > max_image_side)
            return fail(ErrorCode::out_of_range, "shape", text() << "sizes of 1 to " << max_image_side, shape_text(array.shape)).in(path);
    auto const values = array.to_f32();
    if (!values) return values.error().in(path);
    Input in;
    in.kind = axes == 2 ? Input::Kind::array : Input::Kind::volume_array;
    auto const size = [&](std::size_t from_end) { return static_cast<int>(array.shape[axes - from_end]); };
    SAMED_TRY(in.volume, Volume::allocate(axes == 3 ? size(3) : 1, size(2), size(1)));
    std::copy(values->begin(), values->end(), in.volume.voxels().begin());
    in.height = size(2);
    in.width = size(1);
    return in;
}

Result<VolumeReader> open_series(std::string const& folder, std::string const& series, DicomSeries& chosen) {
#ifdef SAMED_TOOL_DICOM
    SAMED_TRY(auto const list, list_dicom_series(folder));
    if (list.size() > 1 && series.empty()) {
        std::fprintf(stderr, "%s has %zu series; choose one with --series NUMBER or UID:\n", folder.c_str(), list.size());
        for (std::size_t i = 0; i < list.size(); ++i)
            std::fprintf(stderr, "%4zu  %-4s %5zu files  %s  %s\n", i + 1, list[i].modality.c_str(), list[i].files.size(),
                         list[i].uid.c_str(), list[i].description.c_str());
    }
    SAMED_TRY(chosen, choose_dicom_series(list, folder, series));
    return open_dicom_series(chosen, folder);
#else
    (void)series, (void)chosen;
    return fail(ErrorCode::unsupported, "input", "a file", "a folder: this build has no DICOM")
        .in(folder)
        .advise("install GDCM and build again");
#endif
}

}  // namespace

bool is_array(std::string const& path) {
    return has_extension(path, ".npy") || has_extension(path, ".npz") || has_extension(path, ".h5");
}

Result<NpyArray> read_named_array(std::string const& path, std::string const& name) {
    if (has_extension(path, ".npz")) return read_npz(path, name);
    if (!has_extension(path, ".h5")) return read_npy(path);
#ifdef SAMED_TOOL_HDF5
    return read_hdf5(path, name);
#else
    return fail(ErrorCode::unsupported, "input", ".npy or .npz", ".h5: this build has no HDF5").in(path);
#endif
}

bool is_nifti(std::string const& path) {
    return has_extension(path, ".nii") || has_extension(path, ".nii.gz");
}

Result<void> check_apart(std::string const& input, std::string const& output) {
    std::error_code code;
    bool same = std::filesystem::equivalent(input, output, code);
    if (std::filesystem::is_directory(input, code) && std::filesystem::exists(output, code)) {
        auto const folder = std::filesystem::canonical(input, code).string() + "/";
        same = std::filesystem::canonical(output, code).string().compare(0, folder.size(), folder) == 0;
    }
    if (same) return fail(ErrorCode::invalid_argument, "output", "another file than the input", "the input").in(output);
    return {};
}

Result<Input> read_input(std::string const& path, InputOptions const& options) {
    std::error_code code;
    bool const folder = std::filesystem::is_directory(path, code);
    if (!options.series.empty() && !folder) return fail(ErrorCode::invalid_argument, "--series", "a folder as input", path);
    if (folder || VolumeReader::knows(path)) {
        if (folder && options.number)
            return fail(ErrorCode::invalid_argument, "--volume", "a file with four dimensions", "a folder").in(path);
        Input in;
        SAMED_TRY(auto reader, folder ? open_series(path, options.series, in.series) : VolumeReader::open(path, options.number));
        in.kind = Input::Kind::volume;
        if (options.headers_alone) {
            in.reader.emplace(std::move(reader));
        } else {
            SAMED_TRY(in.volume, Volume::read(reader));
        }
        return in;
    }
    if (options.number) return fail(ErrorCode::invalid_argument, "--volume", "a file with four dimensions", path);
    if (is_array(path)) return read_array(path);
    for (char const* extension : {".png", ".jpg", ".jpeg", ".bmp"})
        if (has_extension(path, extension)) return read_picture_input(path);
    return fail(ErrorCode::unsupported, "input", ".png, .jpg, .bmp, .npy, .npz, .h5, .nii, .nrrd, .mha or a folder of DICOM files",
                "another extension")
        .in(path);
}

}  // namespace samed::tool
